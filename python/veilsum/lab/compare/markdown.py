"""The comparison as Markdown, for papers and pull requests.

Comparison layer. Renders the same `document.sections` as the page.
"""

from __future__ import annotations

from pathlib import Path

from veilsum.lab.compare import document
from veilsum.lab.compare.document import Figure
from veilsum.lab.compare.files import Comparison
from veilsum.lab.compare.tables import Table
from veilsum.report.drawing import Plot
from veilsum.training.run_directory import write_whole


def write_markdown(run: Comparison, plots: dict[str, Plot]) -> Path:
    """Write report.md into a comparison's folder.

    Parameters
    ----------
    run : Comparison
        The comparison.
    plots : dict of str to Plot
        Its figures.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    blocks = [
        f"# Veilsum comparison {run.folder.resolve().name} ({run.summary['status']})",
    ]
    if document.warning(run):
        blocks.append(f"**{document.warning(run)}**")
    blocks.append(document.headline(run))
    for section in document.sections(run):
        blocks.append(f"## {section.title}")
        blocks += section.text
        for block in section.blocks:
            if isinstance(block, Table):
                blocks += _table(block)
            elif block.name in plots:
                blocks += _figure(block)
    path = run.folder / "report.md"
    write_whole(path, "\n\n".join(blocks) + "\n")
    return path


def _figure(block: Figure) -> list[str]:
    return [f"![{block.caption.split('.')[0]}](figures/{block.name}.svg)", f"*{block.caption}*"]


def _table(block: Table) -> list[str]:
    if not block.columns:
        return list(block.notes)
    marks = [":--" if i < block.text else "--:" for i in range(len(block.columns))]
    lines = [block.columns, marks, *block.rows]
    text = "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)
    title = [f"**{block.caption}**"] if block.caption else []
    return [*title, text, *block.notes]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
