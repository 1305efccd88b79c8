"""The plots of a machine's results: log axes, AES and peers beside Veilsum.

Colours are fixed for a method, from a palette that colour-blind readers can tell apart (Okabe and
Ito); Veilsum's is always the same blue, and thicker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from bench.results import Results, Row, Section

__all__ = ["draw"]

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#6B6B6B"
METHOD_COLOURS = {
    "Veilsum": BLUE,
    "Veilsum, from ready pads": SKY,
    "AES-256-CBC per record": RED,
    "AES-256-GCM per record": ORANGE,
    "AES-256-CBC bulk": PURPLE,
    "AES-256-CTR bulk": GREY,
    "AES-256-GCM bulk": GREEN,
}
OPERATION_COLOURS = {"encrypt": BLUE, "decrypt": ORANGE}
LEVEL_COLOURS = {"scalar": GREY, "avx2": ORANGE, "avx512": BLUE}
# Keeps a number readable where a target's line runs through it.
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85}
STYLE: dict[Any, Any] = {
    "figure.dpi": 120,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "veilsum",
}


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw every section that has something to draw.

    Returns
    -------
    list of Path
        The PNG files, each named for the machine and the section.
    """
    drawers: dict[str, Callable[[Section], Any]] = {
        "ratios": _ratios,
        "paper_table": _paper_table,
        "peers": _peers,
        "scaling": _scaling,
        "kernels": _kernels,
    }
    written = []
    with plt.rc_context(STYLE):
        for name, drawer in drawers.items():
            section = results.sections.get(name)
            if section is None or not (section.rows or section.ratios):
                continue
            figure = drawer(section)
            path = folder / f"{results.machine}-{name}.png"
            figure.text(
                0.995,
                0.004,
                _caption(section),
                ha="right",
                va="bottom",
                fontsize=6.5,
                color=GREY,
            )
            figure.savefig(path, metadata={"Software": None})
            plt.close(figure)
            written.append(path)
    return written


def _layout() -> ConstrainedLayoutEngine:
    """Return a layout that leaves a line for the caption."""
    return ConstrainedLayoutEngine(rect=(0, 0.03, 1, 0.97))


def _caption(section: Section) -> str:
    terms = section.terms
    return (
        f"{terms['cpu']}, {terms['cores']} cores, {terms['isa']}; veilsum {terms['veilsum']} "
        f"({terms['commit']}); {terms['openssl']}; {terms['date']}"
    )


def _ratios(section: Section) -> Any:
    """Each ratio as a part of its target: left of 1 is met."""
    ratios = [ratio for ratio in section.ratios if ratio.must]
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(ratios) + 1.4), layout=_layout())
    places = range(len(ratios), 0, -1)
    for place, ratio in zip(places, ratios, strict=True):
        assert ratio.must is not None
        part = [value / ratio.must for value in (ratio.low, ratio.median, ratio.high)]
        if ratio.at_least:
            part = [1 / value for value in reversed(part)]
        axes.barh(place, part[1], height=0.55, color=BLUE if part[1] <= 1 else RED)
        axes.plot([part[0], part[2]], [place, place], color="black", linewidth=1)
        sign = "≥" if ratio.at_least else "≤"
        axes.annotate(
            f"{ratio.median:.3g}  (must {sign} {ratio.must:g})",
            (max(part[1], part[2]), place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            zorder=4,
            bbox=LABEL_BOX,
        )
        if ratio.goal:
            goal = ratio.goal / ratio.must
            axes.plot(
                [1 / goal if ratio.at_least else goal] * 2,
                [place - 0.3, place + 0.3],
                color="black",
                linewidth=1.5,
                linestyle=":",
            )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(list(places), [ratio.name for ratio in ratios])
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, max(1.5, axes.get_xlim()[1] * 1.35))
    axes.set_xlabel("part of the target (solid line: must; dotted: goal); shorter is better")
    axes.set_title("The project's targets, one thread", loc="left")
    return figure


def _paper_table(section: Section) -> Any:
    kinds = list(dict.fromkeys(row.case["record"] for row in section.rows))
    figure, grid = plt.subplots(
        len(kinds),
        2,
        figsize=(11, 3.6 * len(kinds) + 0.6),
        layout=_layout(),
        squeeze=False,
        sharey="row",
    )
    for kind, line in zip(kinds, grid, strict=True):
        for operation, axes in zip(("encrypt", "decrypt"), line, strict=True):
            rows = [
                row
                for row in section.rows
                if row.case["record"] == kind and row.operation == operation
            ]
            for method, colour in METHOD_COLOURS.items():
                for threads in sorted({row.threads for row in rows}):
                    chosen = [
                        row
                        for row in rows
                        if _contender(row.method) == method and row.threads == threads
                    ]
                    _line(
                        axes,
                        [(row.case["records"], row.seconds) for row in chosen],
                        colour=colour,
                        label=f"{method}, {threads} core{'s' if threads > 1 else ''}",
                        dashed=threads > 1,
                        thick=method.startswith("Veilsum"),
                    )
            _log(axes, x="records", y="time")
            axes.yaxis.set_major_formatter(FuncFormatter(_seconds))
            axes.set_title(f"{operation}: a record is one {_plain(kind)}", loc="left")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=7.5)
    return figure


def _contender(method: str) -> str:
    """Return the line that a method is a point of: blocks in series and in parallel are one."""
    return "Veilsum" if method.startswith("Veilsum, blocks") else method


def _plain(kind: str) -> str:
    return {"value": "fp32 value", "row of 32": "row of 32 fp32 values"}.get(kind, kind)


def _peers(section: Section) -> Any:
    methods = list(dict.fromkeys(row.method for row in section.rows))
    methods.sort(key=lambda method: _value(section.rows, method, "encrypt") or 0.0)
    figure, grid = plt.subplots(
        1, 4, figsize=(12, 0.42 * len(methods) + 1.6), layout=_layout(), sharey=True
    )
    panels = ("encrypt", "add", "decrypt", "bytes")
    rates = [row.values_per_s for row in section.rows]
    limits = (10 ** math.floor(math.log10(min(rates)) - 0.3), max(rates) * 30)
    for panel, axes in zip(panels, grid, strict=True):
        for place, method in enumerate(methods):
            value = _value(section.rows, method, panel)
            if value is None:
                continue
            axes.barh(place, value, height=0.6, color=BLUE if "Veilsum" in method else GREY)
            text = f" {value:.3g}" if panel == "bytes" else f" {_si(value)}"
            axes.annotate(
                text,
                (value, place),
                va="center",
                fontsize=7.5,
                bbox=LABEL_BOX if panel == "bytes" else None,
            )
        axes.set_xscale("log")
        axes.set_xlim(*((1, 5000) if panel == "bytes" else limits))
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _si(value)))
        axes.grid(visible=False, axis="y")
        if panel == "bytes":
            axes.axvline(4, color="black", linewidth=1, linestyle=":")
            axes.set_title("bytes a value (dotted: fp32)", loc="left")
        else:
            axes.set_title(f"{panel}, values a second", loc="left")
    grid[0].set_yticks(range(len(methods)), methods)
    return figure


def _scaling(section: Section) -> Any:
    figure, grid = plt.subplots(2, 3, figsize=(12.5, 6.4), layout=_layout())
    rows = section.rows
    _scaling_size(grid[0][0], grid[0][1], rows)
    over_threads = grid[0][2]
    for operation, colour in OPERATION_COLOURS.items():
        chosen = _where(rows, axis="threads", operation=operation)
        _line(
            over_threads,
            [(row.threads, row.values_per_s / 1e6) for row in chosen],
            colour=colour,
            label=operation,
        )
    over_threads.set(xlabel="threads", ylabel="million values a second")
    over_threads.set_ylim(bottom=0)
    over_threads.xaxis.get_major_locator().set_params(integer=True)
    over_threads.set_title("throughput over threads", loc="left")
    _scaling_clients(grid[1], rows)
    for axes in grid.flat:
        axes.legend(fontsize=7.5)
    return figure


def _scaling_size(over_time: Any, over_bytes: Any, rows: list[Row]) -> None:
    for operation, colour in OPERATION_COLOURS.items():
        chosen = _where(rows, axis="size", operation=operation)
        for threads in sorted({row.threads for row in chosen}):
            _line(
                over_time,
                [(row.values, row.ns_per_value) for row in chosen if row.threads == threads],
                colour=colour,
                label=f"{operation}, {threads} thread{'s' if threads > 1 else ''}",
                dashed=threads > 1,
            )
    sizes = {row.values: row.bytes_per_value for row in _where(rows, axis="size") if row.nbytes}
    _line(over_bytes, sorted(sizes.items()), colour=BLUE, label="upload")
    over_bytes.axhline(4, color="black", linewidth=1, linestyle=":", label="fp32")
    _log(over_time, x="values", y="ns a value")
    over_time.set_title("time over length, 10 clients", loc="left")
    _log(over_bytes, x="values", y="bytes a value")
    over_bytes.set_ylim(2, 60)
    over_bytes.set_yticks([3, 5, 10, 20, 50], ["3", "5", "10", "20", "50"])
    over_bytes.set_title("size over length, 10 clients", loc="left")


def _scaling_clients(line: Any, rows: list[Row]) -> None:
    over_time, over_bytes, over_sum = line
    for goal, colour in (("speed", BLUE), ("size", GREEN)):
        chosen = [row for row in _where(rows, axis="clients") if row.case["optimise"] == goal]
        encrypt = [row for row in chosen if row.operation == "encrypt"]
        for axes, points in (
            (over_time, [(row.case["clients"], row.ns_per_value) for row in encrypt]),
            (over_bytes, [(row.case["clients"], row.bytes_per_value) for row in encrypt]),
            (
                over_sum,
                [
                    (row.case["clients"], row.ns_per_value)
                    for row in chosen
                    if row.operation != "encrypt"
                ],
            ),
        ):
            _line(axes, points, colour=colour, label=f"optimise={goal!r}")
    _log(over_time, x="clients", y="ns a value", axis="x")
    over_time.set_title("encrypt over clients, one thread", loc="left")
    _log(over_bytes, x="clients", y="bytes a value", axis="x")
    over_bytes.axhline(4, color="black", linewidth=1, linestyle=":", label="fp32")
    over_bytes.set_title("size over clients", loc="left")
    _log(over_sum, x="clients", y="ns a value", axis="x")
    over_sum.set_title("sum of two uploads, one thread", loc="left")
    for axes in line:
        axes.set_ylim(bottom=0)


def _kernels(section: Section) -> Any:
    names = list(dict.fromkeys((row.method, row.case["n"]) for row in section.rows))
    levels = list(dict.fromkeys(row.case["level"] for row in section.rows))
    figure, axes = plt.subplots(figsize=(9, 0.36 * len(names) + 1.4), layout=_layout())
    thickness = 0.8 / len(levels)
    for index, level in enumerate(levels):
        found = {
            (row.method, row.case["n"]): row.ns_per_value
            for row in section.rows
            if row.case["level"] == level
        }
        places = [
            len(names) - names.index(name) + 0.4 - thickness * (index + 0.5) for name in found
        ]
        axes.barh(places, list(found.values()), thickness, color=LEVEL_COLOURS[level], label=level)
        for place, value in zip(places, found.values(), strict=True):
            axes.annotate(f" {_si(value, 2)}", (value, place), va="center", fontsize=6.5)
    axes.set_yticks(
        [len(names) - index for index in range(len(names))],
        [f"{method}, n = {n}" for method, n in names],
    )
    _log(axes, x="ns a coefficient (shorter is better)", y="", axis="x")
    axes.grid(visible=False, axis="y")
    axes.set_ylim(0.4, len(names) + 0.6)
    axes.set_xlim(right=axes.get_xlim()[1] * 1.5)
    axes.legend(loc="lower right")
    axes.set_title("kernels, one limb, data in the cache", loc="left")
    return figure


def _line(
    axes: Any,
    points: Iterable[tuple[float, float | None]],
    *,
    colour: str,
    label: str,
    dashed: bool = False,
    thick: bool = False,
) -> None:
    kept = sorted((x, y) for x, y in points if y is not None)
    if not kept:
        return
    axes.plot(
        [x for x, _ in kept],
        [y for _, y in kept],
        color=colour,
        label=label,
        linestyle="--" if dashed else "-",
        linewidth=2.4 if thick else 1.4,
        marker="o",
        markersize=4 if thick else 3,
    )


def _log(axes: Any, *, x: str, y: str, axis: str = "xy") -> None:
    for letter, side, label in (("x", axes.xaxis, x), ("y", axes.yaxis, y)):
        side.set_label_text(label)
        if letter in axis:
            getattr(axes, f"set_{letter}scale")("log")
            side.set_minor_formatter(NullFormatter())
            side.set_major_formatter(FuncFormatter(lambda value, _: _si(value)))


def _where(rows: Iterable[Row], axis: str, operation: str | None = None) -> list[Row]:
    return [row for row in rows if row.case["axis"] == axis and operation in (None, row.operation)]


def _value(rows: Iterable[Row], method: str, panel: str) -> float | None:
    """Return a method's rate in a step, or its bytes a value."""
    for row in rows:
        if row.method == method and row.operation == ("encrypt" if panel == "bytes" else panel):
            return row.bytes_per_value if panel == "bytes" else row.values_per_s
    return None


def _si(value: float, digits: int = 3) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}" if value >= 100 else f"{value:.{digits}g}"


def _seconds(value: float, _: int) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size * 0.999:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"
