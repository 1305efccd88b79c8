"""Plots of a run: one figure a question, as PNG and SVG files and as SVG to put into a page.

Report layer. Colours are told apart by people with colour vision deficiencies (Okabe and Ito 2008)
and lines by their dashes too. The SVG inside a page takes its colours from the page's style, so
that it follows light and dark mode.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veilsum.arguments import check_type
from veilsum.errors import missing_extra, named_failures
from veilsum.report.run_files import METHOD_TITLES, RunFiles, phase_seconds
from veilsum.report.units import format_bytes, format_seconds
from veilsum.run_names import CENTRALISED, ENCRYPTED, PLAINTEXT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The page maps each colour to a variable of its style; the values here are for the files.
INK, MUTED, GRID, PAPER = "#1b1f24", "#5c6670", "#d9dee3", "#fefefe"
SERIES = ("#0072b2", "#d55e00", "#8a939c", "#009e73", "#b0588f", "#4aa8dc")
METHOD_COLOURS = {ENCRYPTED: SERIES[0], PLAINTEXT: SERIES[1], CENTRALISED: SERIES[2]}
METHOD_DASHES: dict[str, Any] = {ENCRYPTED: "-", PLAINTEXT: (0, (5, 2)), CENTRALISED: ":"}
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
    **{colour: f"var(--series-{i})" for i, colour in enumerate(SERIES, 1)},
}

PHASES = {
    "train": "local training",
    "background": "pads, made while training",
    "encrypt": "encrypting and signing",
    "aggregate": "checking and summing",
    "open": "opening",
    "decrypt": "decrypting",
    "evaluate": "evaluation",
}
MESSAGES = {
    "round": "round description",
    "upload": "upload",
    "opening_request": "opening request",
    "endorsement": "endorsement",
    "certificate": "certificate",
    "answer": "answer",
    "sum_key": "sum key",
    "aggregate": "encrypted sum",
    "plain_sum": "sum of the plain parts",
}


@dataclass(frozen=True)
class Plot:
    """One figure.

    Parameters
    ----------
    name : str
        File name without suffix.
    description : str
        What it shows, for those who cannot see it.
    svg : str
        An <svg> element to put into a page.
    """

    name: str
    description: str
    svg: str


def write_plots(run: RunFiles) -> dict[str, Plot]:
    """Draw all plots of a run into its folder `plots`.

    Parameters
    ----------
    run : RunFiles
        The run.

    Returns
    -------
    dict of str to Plot
        By name; empty when no round was finished.

    Raises
    ------
    veilsum.BackendUnavailableError
        When matplotlib is not installed.
    """
    if not run.opened(ENCRYPTED):
        _matplotlib()
        return {}
    folder = run.folder / "plots"
    folder.mkdir(exist_ok=True)
    figures: list[tuple[str, Callable[[Axes, RunFiles], str], tuple[float, float]]] = [
        ("auc", _draw_auc, (6.4, 3.6)),
        ("loss", _draw_loss, (6.4, 3.6)),
        ("bytes", _draw_bytes, (6.4, 2.9 if run.committee is None else 3.5)),
        ("seconds", _draw_seconds, (6.4, 2.9)),
    ]

    def make(name: str, draw: Callable[[Axes, RunFiles], str], size: tuple[float, float]) -> Plot:
        mark = SYNTHETIC if run.summary["study"].get("synthetic") else ""
        return draw_plot(folder, name, size, lambda figure: draw(one_axes(figure), run), mark)

    return {name: make(name, draw, size) for name, draw, size in figures}


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise missing_extra("the report", "matplotlib", "train") from error
    return matplotlib


SYNTHETIC = "synthetic data"
"""The mark on figures of made-up rows."""


def draw_plot(
    folder: Path,
    name: str,
    size: tuple[float, float],
    draw: Callable[[Figure], str],
    mark: str = "",
) -> Plot:
    """Draw one figure in the style of all reports, into PNG and SVG files and for a page.

    Parameters
    ----------
    folder : Path
        Where the files go; must exist.
    name : str
        File name without suffix.
    size : (float, float)
        Width and height in inches.
    draw : callable
        Draws on an empty figure and returns a description for those who cannot see it.
    mark : str
        Above the figure, at the right: a picture travels without its page.

    Returns
    -------
    Plot
        The figure.

    Raises
    ------
    veilsum.BackendUnavailableError
        When matplotlib is not installed.
    OSError
        When a file cannot be written.
    """
    check_type("draw_plot(folder, name, size, draw)", "size", size, tuple)
    matplotlib = _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": f"veilsum-{name}",
        "font.size": 10.0,
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "axes.edgecolor": GRID,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "figure.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "savefig.facecolor": PAPER,
    }
    with matplotlib.rc_context(style):
        # No pyplot: it would keep global state and may look for a display.
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        description = draw(figure)
        if mark:
            figure.suptitle(mark, x=0.995, ha="right", fontsize=9, color=MUTED)
            description += f" {mark[0].upper()}{mark[1:]}."
        with named_failures(folder / f"{name}.png"):
            figure.savefig(folder / f"{name}.png", dpi=160)
        svg = _svg(figure)
    with named_failures(folder / f"{name}.svg"):
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    return Plot(name, description, inline_svg(svg, description))


def one_axes(figure: Figure) -> Axes:
    """Return plain axes that fill a figure.

    Parameters
    ----------
    figure : Figure
        Empty.
    """
    axes = figure.add_subplot()
    plain_axes(axes)
    return axes


def plain_axes(axes: Axes) -> None:
    """Take away what no reader needs: frame and tick marks.

    Parameters
    ----------
    axes : Axes
        Of any figure.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_axisbelow(True)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def inline_svg(svg: str, description: str) -> str:
    """Turn a matplotlib SVG file into an element for a page.

    Parameters
    ----------
    svg : str
        The file.
    description : str
        For screen readers.

    Returns
    -------
    str
        One <svg> element: no prologue, no metadata, no addresses of other hosts, colours and fonts
        from the page.
    """
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    # The page's parser knows no xlink prefix without its declaration; plain href is SVG 2.
    text = text.replace("xlink:href=", "href=")
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    text = re.sub(r'\s+id="([^"]+)"', lambda found: found[0] if found[1] in used else "", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", text, count=1)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()


def _draw_curves(axes: Axes, run: RunFiles, key: str, label: str) -> None:
    # Yardsticks first, so that the encrypted run lies on top.
    for method in sorted(run.methods, key=lambda name: name == ENCRYPTED):
        rounds = run.series(method, "round")
        values = run.series(method, key)
        axes.plot(
            rounds,
            values,
            color=METHOD_COLOURS[method],
            linestyle=METHOD_DASHES[method],
            linewidth=2.2 if method == ENCRYPTED else 1.8,
            marker="o" if len(values) == 1 else None,
            label=METHOD_TITLES[method],
            zorder=3 if method == ENCRYPTED else 4 if method == PLAINTEXT else 2,
        )
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_xlabel("round")
    axes.set_title(label, loc="left", fontsize=11)
    axes.xaxis.set_major_locator(_whole_numbers())
    last = max(run.series(method, "round")[-1] for method in run.methods)
    axes.set_xlim(1 - 0.02 * last, last * 1.02)
    if len(run.methods) > 1:
        # In the order of the table: the encrypted run first, though it was drawn last.
        lines = {line.get_label(): line for line in axes.get_lines()}
        titles = [METHOD_TITLES[method] for method in run.methods]
        handles = [lines[title] for title in titles]
        axes.legend(handles, titles, frameon=False, labelcolor=INK, fontsize=9)


def _draw_auc(axes: Axes, run: RunFiles) -> str:
    _draw_curves(axes, run, "auc", "AUC on held-out patients")
    first, last = run.series(ENCRYPTED, "auc")[0], run.series(ENCRYPTED, "auc")[-1]
    regression = run.summary.get("logistic_regression")
    if regression:
        axes.axhline(regression["auc"], color=MUTED, linewidth=0.9)
        axes.annotate(
            "logistic regression, all rows at one place",
            (1.0, regression["auc"]),
            xycoords=("axes fraction", "data"),
            xytext=(0, -4),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=8.5,
            color=MUTED,
        )
    return f"Line chart: AUC on held-out patients a round, from {first:.3f} to {last:.4f}."


def _draw_loss(axes: Axes, run: RunFiles) -> str:
    _draw_curves(axes, run, "log_loss", "Log loss on held-out patients")
    first, last = run.series(ENCRYPTED, "log_loss")[0], run.series(ENCRYPTED, "log_loss")[-1]
    return f"Line chart: log loss on held-out patients a round, from {first:.3f} to {last:.4f}."


def _bars(axes: Axes, names: list[str], values: list[float], texts: list[str]) -> None:
    colour = METHOD_COLOURS[ENCRYPTED]
    axes.barh(names, values, color=colour, height=0.62)
    axes.invert_yaxis()
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_xlim(0, max(values) * 1.22)
    for i, text in enumerate(texts):
        axes.annotate(
            text,
            (values[i], i),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )


def _draw_bytes(axes: Axes, run: RunFiles) -> str:
    last = run.opened(ENCRYPTED)[-1]["bytes"]
    clear = 4 * int(run.summary["model"]["values"])
    names = [title for key, title in MESSAGES.items() if key in last]
    sizes = [float(last[key]) for key in MESSAGES if key in last]
    _bars(
        axes,
        [*names, "the update in clear fp32"],
        [*sizes, float(clear)],
        [format_bytes(size) for size in [*sizes, clear]],
    )
    axes.patches[-1].set_facecolor(METHOD_COLOURS[CENTRALISED])
    axes.set_title("One message of each kind", loc="left", fontsize=11)
    listed = ", ".join(f"{n} {format_bytes(s)}" for n, s in zip(names, sizes, strict=True))
    return f"Bar chart of message sizes: {listed}; the update in clear fp32 {format_bytes(clear)}."


def _draw_seconds(axes: Axes, run: RunFiles) -> str:
    means = mean_seconds(run)
    names = [PHASES[key] for key in means]
    values = list(means.values())
    axes.set_xscale("log")
    floor = min(values) / 3
    axes.hlines(range(len(values)), floor, values, color=GRID, linewidth=1.2)
    colour = METHOD_COLOURS[ENCRYPTED]
    for i, phase in enumerate(means):
        # Hollow: beside the phase above it, and no part of the round's time.
        face = PAPER if phase == "background" else colour
        axes.plot(values[i], i, "o", color=colour, markerfacecolor=face, markersize=8)
    axes.set_yticks(range(len(values)), names)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.invert_yaxis()
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlim(floor, max(values) * 6)
    axes.xaxis.set_major_formatter(lambda value, _: format_seconds(value).replace(".0 ", " "))
    axes.xaxis.set_minor_locator(_no_ticks())
    axes.set_xlabel("mean of the rounds, all clouds together, logarithmic scale")
    for i, value in enumerate(values):
        axes.annotate(
            format_seconds(value),
            (value, i),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_title("Time of a round", loc="left", fontsize=11)
    listed = ", ".join(f"{n} {format_seconds(v)}" for n, v in zip(names, values, strict=True))
    return f"Dot chart of mean seconds a round on a logarithmic scale: {listed}."


def _whole_numbers() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True)


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def mean_seconds(run: RunFiles) -> dict[str, float]:
    """Return the encrypted run's mean time of each phase, without those that never were.

    Parameters
    ----------
    run : RunFiles
        With at least one round.
    """
    records = run.opened(ENCRYPTED)
    totals = {phase: sum(phase_seconds(one, phase) for one in records) for phase in PHASES}
    return {phase: total / len(records) for phase, total in totals.items() if total > 0}
