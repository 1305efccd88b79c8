"""Plots of a final model's scores: curves, calibration, confusion, errors of numbers, each cloud.

Report layer. Made from evaluation.json, in which nothing stands for a single row: counts of one to
four rows are no numbers there, and are drawn as what they are, few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from veilsum.report.drawing import GRID, INK, MUTED, PAPER, SERIES, no_ticks
from veilsum.report.measures import MISSING
from veilsum.report.run_files import RunFiles
from veilsum.run_names import CLASSES, NUMBER, YES_OR_NO

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Drawn: TypeAlias = tuple[str, tuple[float, float], "Callable[[Axes], str]"]
"""A figure: its name, its size in inches, and what draws it and says what it shows."""

MOST_CLASSES_NAMED = 6
MOST_CLASSES_COUNTED = 20
MOST_CLOUDS = 40
FEW = "1 to 4"
_FEW_ROWS = 2.5  # the middle of them

_LONG_NAME = 4  # characters: longer ones below an axis run into each other

_SIZE = (6.4, 4.6)
_GUESS: dict[str, Any] = {"color": MUTED, "linewidth": 1.1, "linestyle": (0, (1, 1.5))}


def score_figures(run: RunFiles) -> list[Drawn]:
    """Return the figures of a run's final model; none where it was not judged.

    Parameters
    ----------
    run : RunFiles
        The run.
    """
    details = run.evaluation.get("held_out") or {}
    kind = details.get("outcome", "")
    figures: list[Drawn] = []
    if kind == YES_OR_NO:
        curves = {"": details} if "roc" in details else {}
        areas = {"": run.final_encrypted.get("auc")}
        figures += _curve_figures(run, curves, areas)
        figures.append(("calibration", _SIZE, lambda axes: _draw_calibration(axes, run, details)))
    if kind == CLASSES:
        curves = {name: one for name, one in details["each_class"].items() if "roc" in one}
        areas = {one["name"]: one["auc"] for one in run.final_encrypted.get("classes", ())}
        figures += _curve_figures(run, curves, areas)
        if len(details["classes"]) <= MOST_CLASSES_COUNTED:
            side = min(8.0, 3.2 + 0.34 * len(details["classes"]))
            size = (max(6.4, side), max(4.6, side))
            figures.append(("confusion", size, lambda axes: _draw_confusion(axes, run, details)))
        figures.append(("calibration", _SIZE, lambda axes: _draw_calibration(axes, run, details)))
    if kind == NUMBER:
        if details["counts"]:
            figures.append(("predicted", _SIZE, lambda axes: _draw_predicted(axes, run, details)))
        if details["residuals"]:
            figures.append(("residuals", _SIZE, lambda axes: _draw_residuals(axes, run, details)))
    clouds = run.evaluation.get("clouds", ())
    if run.measures and 0 < len(clouds) <= MOST_CLOUDS:
        height = 1.6 + 0.3 * len(clouds)
        figures.append(("clouds", (6.4, height), lambda axes: _draw_clouds(axes, run, clouds)))
    return figures


def _curve_figures(
    run: RunFiles, curves: Mapping[str, Mapping[str, Any]], areas: Mapping[str, float | None]
) -> list[Drawn]:
    if not curves:
        return []
    return [
        ("roc", _SIZE, lambda axes: _draw_roc(axes, run, curves, areas)),
        ("precision_recall", _SIZE, lambda axes: _draw_precision(axes, run, curves)),
    ]


def _square(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", fontsize=11)


_DASHES: tuple[Any, ...] = (
    "-", (0, (5, 2)), ":", (0, (5, 1.5, 1, 1.5)), (0, (2, 1)), (0, (8, 2)),
)  # fmt: skip


def _named(
    curves: Mapping[str, Any], worth: Mapping[str, float | None], words: str
) -> list[tuple[str, str, dict[str, Any]]]:
    """Return each curve's name, label and style; of many, only the least good ones have a colour.

    A label stands for the first of those that are alike.
    """
    if len(curves) == 1 and "" in curves:
        label = f"{words} {_short(worth[''])}"
        return [("", label, {"color": SERIES[0], "linewidth": 2.2})]
    known = {name: value for name, value in worth.items() if value is not None}
    ordered = sorted(curves, key=lambda name: known.get(name, math.inf))
    coloured = (
        list(curves) if len(curves) <= MOST_CLASSES_NAMED else ordered[: MOST_CLASSES_NAMED - 1]
    )
    styled = []
    for i, name in enumerate(coloured):
        style = {"color": SERIES[i], "linewidth": 1.8, "linestyle": _DASHES[i]}
        styled.append((name, f"{name}: {words} {_short(worth.get(name))}", style))
    others = [name for name in ordered if name not in coloured]
    for i, name in enumerate(others):
        label = "" if i else f"{len(others)} other classes, as good or better"
        styled.append((name, label, {"color": MUTED, "linewidth": 1, "alpha": 0.6, "zorder": 1.5}))
    return styled


def _short(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"


def _draw_roc(
    axes: Axes,
    run: RunFiles,
    curves: Mapping[str, Mapping[str, Any]],
    areas: Mapping[str, float | None],
) -> str:
    several = "" not in curves
    for name, label, style in _named(curves, areas, "AUC"):
        axes.plot(curves[name]["roc"]["x"], curves[name]["roc"]["y"], label=label, **style)
    axes.plot((0, 1), (0, 1), label="guessing", **_GUESS)
    which = "of the class" if several else "with label 1"
    others = "of the others" if several else "with label 0"
    title = f"ROC {'curves of each class' if several else 'curve'} on held-out {run.rows_are}"
    _square(axes, f"share of those {others} taken for it", f"share of those {which} found", title)
    axes.legend(frameon=False, labelcolor=INK, fontsize=9, loc="lower right")
    listed = ", ".join(f"{name or 'AUC'} {_short(areas.get(name))}" for name in curves)
    return f"ROC {'curves; AUC of each class' if several else 'curve'}: {listed}."


def _draw_precision(axes: Axes, run: RunFiles, curves: Mapping[str, Mapping[str, Any]]) -> str:
    several = "" not in curves
    worth = {name: one["average_precision"] for name, one in curves.items()}
    for name, label, style in _named(curves, worth, "average precision"):
        curve = curves[name]["precision_recall"]
        axes.plot(curve["x"], curve["y"], label=label, **style)
    if not several:
        rows = run.evaluation["held_out"]["rows"]
        rate = curves[""]["positives"] / rows
        axes.axhline(rate, label=f"guessing {_short(rate)}", **_GUESS)
    title = f"Precision and recall {'of each class ' if several else ''}on held-out {run.rows_are}"
    _square(
        axes,
        f"recall: share of those {'of the class' if several else 'with label 1'} found",
        "precision: share of those found that are",
        title,
    )
    # Where the curves are not: they fall towards the right.
    axes.legend(frameon=False, labelcolor=INK, fontsize=9, loc="lower left")
    listed = ", ".join(f"{name or 'average'} {_short(worth[name])}" for name in curves)
    return f"Precision over recall; average precision: {listed}."


def _draw_calibration(axes: Axes, run: RunFiles, details: Mapping[str, Any]) -> str:
    bins = details["calibration"]
    axes.plot((0, 1), (0, 1), label="as often as said", **_GUESS)
    most = max((one["rows"] for one in bins), default=1)
    for one in bins:
        axes.bar(
            (one["low"] + one["high"]) / 2,
            0.18 * one["rows"] / most,
            width=0.9 * (one["high"] - one["low"]),
            bottom=-0.02,
            color=SERIES[2],
            alpha=0.35,
        )
    said, came = [one["predicted"] for one in bins], [one["observed"] for one in bins]
    axes.plot(said, came, "o-", color=SERIES[0], linewidth=1.8, markersize=6, label="the model")
    several = details["outcome"] == CLASSES
    _square(
        axes,
        "probability of the likeliest class" if several else "predicted probability of label 1",
        "share that is of it" if several else "share with label 1",
        f"Calibration on held-out {run.rows_are}",
    )
    axes.legend(frameon=False, labelcolor=INK, fontsize=9, loc="upper left")
    listed = ", ".join(
        f"{one['predicted']:.2f} came true in {one['observed']:.2f} of {one['rows']}"
        for one in bins
    )
    return f"Calibration, mean error {details['calibration_error']:.3f}: {listed}."


def _cell(axes: Axes, corner: tuple[float, float], size: tuple[float, float], share: float) -> None:
    from matplotlib.patches import Rectangle

    # A part of the series' colour: it is light on light paper and dark on dark paper.
    alpha = 0.08 + 0.62 * math.sqrt(share)
    axes.add_patch(Rectangle(corner, *size, facecolor=SERIES[0], alpha=alpha, linewidth=0))


def _draw_confusion(axes: Axes, run: RunFiles, details: Mapping[str, Any]) -> str:
    names, counted = details["classes"], details["confusion"]
    for i, row in enumerate(counted):
        sizes = [_FEW_ROWS if count is None else count for count in row]
        for j, count in enumerate(row):
            if count == 0:
                continue
            _cell(axes, (j - 0.48, i - 0.48), (0.96, 0.96), sizes[j] / sum(sizes))
            text = "<5" if count is None else f"{count:,}"
            axes.annotate(text, (j, i), ha="center", va="center", fontsize=9, color=INK)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    longest = max(len(name) for name in names)
    turned: dict[str, Any] = (
        {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if longest > 4 else {}
    )
    axes.set_xticks(range(len(names)), names, **turned)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelcolor=INK)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    axes.set_title(f"What was said of held-out {run.rows_are}", loc="left", fontsize=11)
    right = run.final_encrypted.get("accuracy", 0.0)
    return f"Confusion of {len(names)} classes: {right:.1%} of {details['rows']} right."


def _draw_predicted(axes: Axes, run: RunFiles, details: Mapping[str, Any]) -> str:
    edges, rows = details["counts"]["edges"], details["counts"]["rows"]
    most = max((count for row in rows for count in row if count), default=1)
    few: tuple[list[float], list[float]] = ([], [])
    for i, row in enumerate(rows):
        for j, count in enumerate(row):
            if count is None:
                few[0].append(_middle(edges, i, log=details["log"]))
                few[1].append(_middle(edges, j, log=details["log"]))
            elif count:
                size = (edges[i + 1] - edges[i], edges[j + 1] - edges[j])
                _cell(axes, (edges[i], edges[j]), size, count / most)
    ends = (edges[0], edges[-1])
    axes.plot(ends, ends, label="as predicted", **_GUESS)
    axes.plot(*few, ".", color=MUTED, markersize=3, label=f"{FEW} {run.rows_are}")
    parts = details["parts"]
    axes.plot(
        [one["observed"] for one in parts],
        [one["predicted"] for one in parts],
        "o-",
        color=SERIES[1],
        markersize=5,
        linewidth=1.4,
        label="means, by what was predicted",
    )
    if details["log"]:
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(_few_ticks(edges[-1] / edges[0]))
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_locator(no_ticks())
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    unit = f" ({details['unit']})" if details["unit"] else ""
    axes.set_xlabel(f"true{unit}")
    axes.set_ylabel(f"predicted{unit}")
    axes.set_title(f"Predicted and true, held-out {run.rows_are}", loc="left", fontsize=11)
    axes.legend(frameon=False, labelcolor=INK, fontsize=9, loc="upper left")
    return (
        f"Map of counts of {details['rows']} {run.rows_are} by what is true and what was "
        f"predicted, from {edges[0]:.4g} to {edges[-1]:.4g}{unit}."
    )


def _few_ticks(ratio: float) -> Any:
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0, 2.0, 5.0) if ratio < 1e3 else (1.0,))


def _middle(edges: Sequence[float], i: int, *, log: bool) -> float:
    low, high = edges[i], edges[i + 1]
    return math.sqrt(low * high) if log else (low + high) / 2


def _draw_residuals(axes: Axes, run: RunFiles, details: Mapping[str, Any]) -> str:
    edges, rows = details["residuals"]["edges"], details["residuals"]["rows"]
    for i, count in enumerate(rows):
        if count == 0:
            continue
        look: dict[str, Any] = {"facecolor": SERIES[0] if count else PAPER, "edgecolor": SERIES[0]}
        width = edges[i + 1] - edges[i]
        axes.bar(edges[i] + width / 2, count or _FEW_ROWS, width=0.9 * width, linewidth=1, **look)
    axes.axvline(0, **_GUESS)
    axes.set_xlim(edges[0], edges[-1])
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    unit = f" ({details['unit']})" if details["unit"] else ""
    axes.set_xlabel(f"predicted minus true{unit}")
    axes.set_ylabel(run.rows_are)
    axes.set_title(f"Errors on held-out {run.rows_are}", loc="left", fontsize=11)
    low = sum(count or 0 for count in rows[: len(rows) // 2])
    high = sum(count or 0 for count in rows[len(rows) // 2 :])
    return f"Histogram of errors: {low} {run.rows_are} predicted too low, {high} too high."


def _draw_clouds(axes: Axes, run: RunFiles, clouds: Sequence[Mapping[str, Any]]) -> str:
    measure = run.measures[0]
    for what, style in _CLOUD_MARKS.items():
        points = [
            (cloud[what]["scores"].get(measure.key), i)
            for i, cloud in enumerate(clouds)
            if (cloud.get(what) or {}).get("scores")
        ]
        known = [(x, i) for x, i in points if x is not None]
        if known:
            axes.plot(*zip(*known, strict=True), "o", color=SERIES[0], markersize=8, **style)
    guesses = [
        (_scores(cloud)[measure.guess], i)
        for i, cloud in enumerate(clouds)
        if measure.guess and _scores(cloud).get(measure.guess) is not None
    ]
    if guesses:
        guess: dict[str, Any] = {"color": MUTED, "markersize": 10, "label": measure.guess_name}
        axes.plot(*zip(*guesses, strict=True), "|", markeredgewidth=2, **guess)
    whole = run.final_encrypted.get(measure.key)
    if whole is not None:
        axes.axvline(whole, color=SERIES[1], linewidth=1.2, label=f"all held-out {run.rows_are}")
    axes.set_yticks(range(len(clouds)), [cloud["name"] for cloud in clouds])
    axes.set_ylim(len(clouds) - 0.5, -0.5)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.margins(x=0.12)
    unit = f" ({run.unit})" if run.unit and not measure.digits else ""
    axes.set_xlabel(f"{measure.name}{unit}")
    axes.set_title("The final model at each cloud", loc="left", fontsize=11)
    axes.legend(
        frameon=False, labelcolor=INK, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0)
    )
    listed = ", ".join(
        f"{cloud['name']} {measure.show(_scores(cloud).get(measure.key), run.unit)}"
        for cloud in clouds
    )
    return f"Dot chart of {measure.name} at each cloud: {listed}."


_CLOUD_MARKS: dict[str, dict[str, Any]] = {
    "trained_on": {"markerfacecolor": PAPER, "label": "rows it trained on"},
    "held_out": {"label": "its held-out rows"},
}


def _scores(cloud: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a cloud's scores: on rows held out where there are, else on those trained on."""
    for what in ("held_out", "trained_on"):
        found = (cloud.get(what) or {}).get("scores")
        if found:
            return dict(found)
    return {}
