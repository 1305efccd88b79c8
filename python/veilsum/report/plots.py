"""Plots of a run: one figure a question. Scores round by round, messages and times.

Report layer. `score_plots` has those of the final model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from veilsum.report.drawing import (
    GRID,
    INK,
    MUTED,
    PAPER,
    SERIES,
    SYNTHETIC,
    Plot,
    draw_plot,
    no_ticks,
    one_axes,
    require_matplotlib,
    whole_numbers,
)
from veilsum.report.measures import ACCURACY, AUC, LOSS, R2, RMSE, Measure
from veilsum.report.run_files import LINEAR_MODELS, METHOD_TITLES, RunFiles, phase_seconds
from veilsum.report.score_plots import Drawn, score_figures
from veilsum.report.units import format_bytes, format_seconds
from veilsum.run_names import CENTRALISED, CLASSES, ENCRYPTED, NUMBER, PLAINTEXT, YES_OR_NO

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHOD_COLOURS = {ENCRYPTED: SERIES[0], PLAINTEXT: SERIES[1], CENTRALISED: SERIES[2]}
METHOD_DASHES: dict[str, Any] = {ENCRYPTED: "-", PLAINTEXT: (0, (5, 2)), CENTRALISED: ":"}

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

MOST_MEASURES = 4
"""Figures of scores round by round, where a user's evaluation has many."""


def measure_plots(run: RunFiles) -> dict[str, Measure]:
    """Return the scores that are drawn round by round, by the names of their figures.

    Parameters
    ----------
    run : RunFiles
        The run.
    """
    if run.kind == YES_OR_NO:
        return {"auc": AUC, "loss": LOSS}
    if run.kind == CLASSES:
        return {"accuracy": ACCURACY, "loss": LOSS}
    if run.kind == NUMBER:
        return {"rmse": RMSE, "r2": R2}
    # A user's names may be no names of files.
    return {f"score-{i}": one for i, one in enumerate(run.measures[:MOST_MEASURES], 1)}


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
        require_matplotlib()
        return {}
    folder = run.folder / "plots"
    folder.mkdir(exist_ok=True)
    figures: list[Drawn] = [
        (name, (6.4, 3.6), partial(_draw_curves, run=run, measure=measure))
        for name, measure in measure_plots(run).items()
    ]
    figures += score_figures(run)
    figures += [
        (
            "bytes",
            (6.4, 2.9 if run.committee is None else 3.5),
            lambda axes: _draw_bytes(axes, run),
        ),
        ("seconds", (6.4, 2.9), lambda axes: _draw_seconds(axes, run)),
    ]

    def make(name: str, size: tuple[float, float], draw: Callable[[Axes], str]) -> Plot:
        mark = SYNTHETIC if run.synthetic else ""
        return draw_plot(folder, name, size, lambda figure: draw(one_axes(figure)), mark)

    return {name: make(name, size, draw) for name, size, draw in figures}


def _draw_curves(axes: Axes, run: RunFiles, measure: Measure) -> str:
    # Yardsticks first, so that the encrypted run lies on top.
    for method in sorted(run.methods, key=lambda name: name == ENCRYPTED):
        rounds = run.series(method, "round")
        values = run.series(method, measure.key)
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
    unit = f" ({run.unit})" if run.unit and measure.guess and not measure.digits else ""
    title = f"{measure.name[0].upper()}{measure.name[1:]}{unit} on held-out {run.rows_are}"
    axes.set_title(title, loc="left", fontsize=11)
    axes.xaxis.set_major_locator(whole_numbers())
    last = max(run.series(method, "round")[-1] for method in run.methods)
    axes.set_xlim(1 - 0.02 * last, last * 1.02)
    titles = [METHOD_TITLES[method] for method in run.methods]
    guess = run.final[ENCRYPTED].get(measure.guess)
    if guess is not None:
        axes.axhline(guess, color=MUTED, linewidth=1.1, linestyle=(0, (1, 1.5)))
        axes.get_lines()[-1].set_label(measure.guess_name)
        titles.append(measure.guess_name)
    for key, name in LINEAR_MODELS.items():
        score = (run.summary.get(key) or {}).get(measure.key)
        if score is not None:
            axes.axhline(score, color=MUTED, linewidth=0.9)
            axes.get_lines()[-1].set_label(name)
            titles.append(name)
    if len(titles) > 1:
        # In the order of the table: the encrypted run first, though it was drawn last.
        lines = {line.get_label(): line for line in axes.get_lines()}
        handles = [lines[title] for title in titles]
        axes.legend(handles, titles, frameon=False, labelcolor=INK, fontsize=9)
    first, final = (run.rounds(ENCRYPTED)[i].get(measure.key) for i in (0, -1))
    return (
        f"Line chart: {measure.name} on held-out {run.rows_are} a round, from "
        f"{measure.show(first, run.unit)} to {measure.show(final, run.unit)}."
    )


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
    axes.xaxis.set_minor_locator(no_ticks())
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
