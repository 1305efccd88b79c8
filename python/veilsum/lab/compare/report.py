"""Everything that is made from a comparison's records: figures, page, Markdown, CSV.

Comparison layer. Reads the folder and nothing else, so reports can be made again, also of a
comparison that was interrupted.
"""

from __future__ import annotations

from pathlib import Path

from veilsum.lab.compare.figures import write_figures
from veilsum.lab.compare.files import read_comparison
from veilsum.lab.compare.html import write_html
from veilsum.lab.compare.markdown import write_markdown
from veilsum.lab.compare.raw import write_csv


def write_report(folder: str | Path) -> Path:
    """Make figures, report.html, report.md and the CSV files.

    Parameters
    ----------
    folder : str or Path
        A folder that `veilsum compare` made.

    Returns
    -------
    Path
        The HTML page; it needs no other file.

    Raises
    ------
    veilsum.ParameterError
        When the folder holds no comparison.
    veilsum.BackendUnavailableError
        When matplotlib is not installed.
    """
    run = read_comparison(folder)
    write_csv(run)
    plots = write_figures(run)
    write_markdown(run, plots)
    return write_html(run, plots)
