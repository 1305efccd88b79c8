"""Reports: what people see of a training run, in the terminal, as plots and as one HTML page.

Above the run's folder and nothing else: a report is made from the files that a run left, so it can
be made again, also of a run that was interrupted. It never touches keys, rounds or models.
"""

from __future__ import annotations

from pathlib import Path

from veilsum.errors import ParameterError
from veilsum.report.run_files import RunFiles, read_run
from veilsum.run_names import METRICS, SUMMARY

__all__ = ["RunFiles", "read_run", "write_report"]


def write_report(folder: str | Path) -> Path:
    """Make plots and report.html from a run's folder.

    Parameters
    ----------
    folder : str or Path
        A folder that `veilsum train` or `vs.federate` made.

    Returns
    -------
    Path
        The HTML page; it needs no other file.

    Raises
    ------
    veilsum.ParameterError
        When the folder holds no run, or lacks what a report needs.
    veilsum.BackendUnavailableError
        When matplotlib is not installed.
    """
    from veilsum.report.html import write_html
    from veilsum.report.plots import write_plots

    run = read_run(folder)
    try:
        return write_html(run, write_plots(run))
    except (KeyError, TypeError, AttributeError) as error:
        raise ParameterError(
            f"{folder}: {SUMMARY} and {METRICS} lack what a report needs "
            f"({type(error).__name__}: {error}); are they of another version, or damaged? If "
            "neither, it is a bug: please report it, with what --traceback shows"
        ) from error
