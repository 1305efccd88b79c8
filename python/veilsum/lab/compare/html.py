"""The comparison as one HTML page that needs no other file.

Comparison layer. Renders `document.sections` with the pieces and the style of all reports.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from veilsum.lab.compare import document
from veilsum.lab.compare.document import Figure
from veilsum.lab.compare.files import Comparison
from veilsum.lab.compare.tables import Table, claims, over_rounds, percent
from veilsum.layout.files import atomic_file
from veilsum.report.drawing import Plot
from veilsum.report.page import figure, table, tile, whole_page


def write_html(run: Comparison, plots: dict[str, Plot]) -> Path:
    """Write report.html into a comparison's folder.

    Parameters
    ----------
    run : Comparison
        The comparison.
    plots : dict of str to Plot
        Its figures.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    name = run.folder.resolve().name
    status = escape(run.summary["status"])
    above = document.warning(run)
    marked = f'<p class="synthetic">{escape(above)}</p>\n' if above else ""
    title = f"Veilsum comparison {name}" + (" (synthetic data)" if above else "")
    parts = [
        f'<h1>Comparison: {escape(name)}<span class="status {status}">{status}</span></h1>\n'
        f"{marked}"
        f'<p class="lead">{escape(document.headline(run))}</p>',
        _tiles(run),
    ]
    for section in document.sections(run):
        parts.append(f"<h2>{escape(section.title)}</h2>")
        parts += [f"<p>{escape(text)}</p>" for text in section.text]
        for block in section.blocks:
            if isinstance(block, Figure):
                parts.append(_figure(block, plots))
            else:
                parts.append(_table(block))
    parts.append(
        f"<details><summary>Configuration</summary>\n<pre>{escape(run.config)}</pre></details>"
    )
    path = run.folder / "report.html"
    with atomic_file(path) as file:
        file.write(whole_page(title, parts).encode())
    return path


def _figure(block: Figure, plots: dict[str, Plot]) -> str:
    if block.name not in plots:
        return ""
    made = figure(plots[block.name].svg, block.caption)
    # Figures here are wide: they use the whole page.
    return made.replace("<figure>", '<figure class="wide">', 1)


def _table(block: Table) -> str:
    notes = "".join(f'<p class="terms">{escape(note)}</p>' for note in block.notes)
    if not block.columns:
        return notes
    return table(block.columns, block.rows, block.caption, block.text) + notes


def _tiles(run: Comparison) -> str:
    found = []
    for key, text in (
        ("fedavg", "of the probes recovered from plaintext FedAvg, one step on a batch of one"),
        ("veilsum", "recovered from Veilsum's ciphertexts by the same attack"),
    ):
        probes, _, rate = over_rounds(run.attacks(key, "step-1"))
        if probes:
            found.append(tile(percent(rate), text))
    checks = claims(run)
    for start, text in (
        (
            "Veilsum: time of a round",
            "time of Veilsum's round over plaintext FedAvg's, the median of paired rounds"
            + ("; a quick run is too short to judge it" if run.summary["quick"] else ""),
        ),
        ("HE-FL by TenSEAL: upload over Veilsum's", "bytes of HE-FL's upload over Veilsum's"),
    ):
        for one in checks:
            if one.text.startswith(start):
                found.append(tile(one.measured.split(" (")[0], text))
    held = [one for one in checks if one.holds is not None]
    if held:
        good = sum(bool(one.holds) for one in held)
        found.append(tile(f"{good} of {len(held)}", "claims that were checked hold; see below"))
    return '<div class="tiles">' + "".join(found) + "</div>"
