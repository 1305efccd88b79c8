"""Reports: what people see of a training run, in the terminal, as plots and as one HTML page.

Above the run's folder and nothing else: a report is made from the files that a run left, so it can
be made again, also of a run that was interrupted. It never touches keys, rounds or models.
"""

from __future__ import annotations

from pathlib import Path

from veilsum.report.run_files import RunFiles, read_run

__all__ = ["RunFiles", "read_run", "write_report"]


def write_report(folder: str | Path) -> Path:
    """Make plots and report.html from a run's folder.

    Parameters
    ----------
    folder : str or Path
        A folder that `veilsum train` made.

    Returns
    -------
    Path
        The HTML page; it needs no other file.

    Raises
    ------
    veilsum.ParameterError
        When the folder holds no run.
    veilsum.BackendUnavailableError
        When matplotlib is not installed.
    """
    from veilsum.report.html import write_html
    from veilsum.report.plots import write_plots

    run = read_run(folder)
    return write_html(run, write_plots(run))
