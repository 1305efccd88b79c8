"""Writes a run's files: <machine>.json, <machine>.md and plots; and makes the last two anew.

`python -m bench.report bench/results/<machine>.json` renders the page and the plots from the
numbers and prints the summary.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench import tables
from bench.results import Results

__all__ = ["render", "write"]


def write(results: Results, folder: Path, *, keep_other_sections: bool) -> list[Path]:
    """Write the files of a run.

    Parameters
    ----------
    results : Results
        This run's sections.
    folder : Path
        Made when missing.
    keep_other_sections : bool
        Whether sections of an earlier file that this run did not measure stay in it.

    Returns
    -------
    list of Path
        What was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{results.machine}.json"
    if keep_other_sections and path.exists():
        results = results.merged_over(Results.load(path))
    _replace(path, results.to_json())
    return [path, *render(results, folder)]


def render(results: Results, folder: Path) -> list[Path]:
    """Write the page and, where matplotlib is installed, the plots; return their paths."""
    try:
        from bench import plots
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        print("plots are left out: matplotlib is not installed", file=sys.stderr)
        pictures = []
    else:
        pictures = plots.draw(results, folder)
    page = folder / f"{results.machine}.md"
    _replace(page, tables.markdown(results, [picture.name for picture in pictures]))
    return [page, *pictures]


def _replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one."""
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def main(arguments: list[str]) -> int:
    """Render the results files that are named."""
    for name in arguments:
        path = Path(name)
        results = Results.load(path)
        render(results, path.parent)
        print("\n".join(tables.summary(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
