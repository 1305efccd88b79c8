"""Figures 1 to 3 of the paper, from a comparison's records.

Comparison layer. Each method has one colour and one place in the order everywhere. Where methods
coincide, wider lines lie under narrower ones so that each is seen, and one label names them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from veilsum.arguments import shown
from veilsum.errors import ParameterError
from veilsum.lab.compare.contenders import CENTRALISED, DP_FL, FEDAVG, HE_FL, HYBRID, VEILSUM
from veilsum.lab.compare.costs import BANDWIDTHS_BPS, RoundCost, round_cost
from veilsum.lab.compare.files import Comparison
from veilsum.report.drawing import GRID, INK, MUTED, SERIES, SYNTHETIC, Plot, draw_plot, plain_axes
from veilsum.report.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class _Style(NamedTuple):
    colour: str
    width: float
    marker: str
    dashes: Any


_STYLES = {
    CENTRALISED: _Style(SERIES[2], 6.4, "s", "-"),
    FEDAVG: _Style(SERIES[1], 4.8, "o", "-"),
    DP_FL: _Style(SERIES[4], 1.9, "^", (0, (4, 2))),
    HE_FL: _Style(SERIES[3], 3.2, "D", "-"),
    HYBRID: _Style(SERIES[5], 2.2, "v", (0, (3, 1.2))),
    VEILSUM: _Style(SERIES[0], 1.5, "o", "-"),
}
_LAYERS = {key: i for i, key in enumerate((CENTRALISED, FEDAVG, HE_FL, DP_FL, HYBRID, VEILSUM))}

ATTACKS = {
    "round": "the real update of a round",
}


class _Label(NamedTuple):
    height: float
    text: str
    colour: str


def attack_title(name: str) -> str:
    """Return an attack's name for people.

    Parameters
    ----------
    name : str
        As in the records.
    """
    if name in ATTACKS:
        return ATTACKS[name]
    size = int(name.removeprefix("step-")) if re.fullmatch(r"step-\d{1,9}", name) else 0
    if not size:
        raise ParameterError(f"no attack is called {shown(name)}")
    return "one step, a batch of one" if size == 1 else f"one step, a batch of {size}"


def costs(run: Comparison) -> dict[str, RoundCost]:
    """Return the typical round of each method that finished one.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    found = {}
    for one in run.ran:
        records = run.records(one["key"])
        if any(not record["skipped"] for record in records):
            found[one["key"]] = round_cost(records, float(one["setup_bytes"]))
    return found


def write_figures(run: Comparison) -> dict[str, Plot]:
    """Draw all figures into the folder `figures`.

    Parameters
    ----------
    run : Comparison
        The comparison.

    Returns
    -------
    dict of str to Plot
        By name; those without data are left out.

    Raises
    ------
    veilsum.BackendUnavailableError
        When matplotlib is not installed.
    """
    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    wanted: list[tuple[str, tuple[float, float], Callable[[Figure, Comparison], str]]] = []
    if run.leaks:
        width = 3.2 * len(run.attack_names) + 0.6
        wanted.append(("figure-1-leakage", (width, 3.9), _leakage))
    if run.sweep:
        wanted.append(("leakage-by-share", (8.2, 3.4), _by_share))
    if costs(run):
        wanted.append(("figure-2-communication", (8.2, 4.2), _communication))
        wanted.append(("figure-3-computation", (8.2, 4.2), _computation))
    if run.rounds:
        wanted.append(("accuracy", (8.2, 3.6), _accuracy))

    def make(
        name: str, size: tuple[float, float], draw: Callable[[Figure, Comparison], str]
    ) -> Plot:
        mark = SYNTHETIC if run.synthetic else ""
        return draw_plot(folder, name, size, lambda figure: draw(figure, run), mark)

    return {name: make(name, size, draw) for name, size, draw in wanted}


def _titles(run: Comparison) -> dict[str, str]:
    return {one["key"]: one["title"] for one in run.methods}


def _bottom_up(run: Comparison) -> list[str]:
    return sorted((one["key"] for one in run.ran), key=lambda key: _LAYERS[key])


def _line(axes: Axes, key: str, x: Sequence[float], y: Sequence[float], title: str) -> Any:
    style = _STYLES[key]
    return axes.plot(
        x,
        y,
        color=style.colour,
        linewidth=style.width,
        linestyle=style.dashes,
        marker=style.marker if len(x) < 12 else None,
        markersize=style.width + 2.6,
        markeredgewidth=0,
        label=title,
        zorder=3 + _LAYERS[key],
        clip_on=False,
        solid_capstyle="round",
    )[0]


def _legend(figure: Figure, run: Comparison, handles: dict[str, Any]) -> None:
    shown = [one["key"] for one in run.ran if one["key"] in handles]
    titles = _titles(run)
    figure.legend(
        [handles[key] for key in shown],
        [titles[key] for key in shown],
        loc="outside lower center",
        ncols=len(shown),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=2.2,
        columnspacing=1.4,
    )


def _leakage(figure: Figure, run: Comparison) -> str:
    names = run.attack_names
    handles: dict[str, Any] = {}
    described = []
    titles = _titles(run)
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        plain_axes(axes)
        for key in _bottom_up(run):
            records = run.attacks(key, name)
            if not records:
                continue
            x = [float(one["round"]) for one in records]
            y = [100 * float(one["rate"]) for one in records]
            handles[key] = _line(axes, key, x, y, titles[key])
            described.append(f"{titles[key]}, {attack_title(name)}: {y[-1]:.0f} % at the end")
        chance = run.attacks("chance", name)
        if chance:
            axes.plot(
                [one["round"] for one in chance],
                [100 * one["rate"] for one in chance],
                color=MUTED,
                linewidth=0.9,
                linestyle=(0, (1, 2)),
                zorder=20,
                clip_on=False,
            )
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_ylim(0, 104)
        axes.set_title(attack_title(name), loc="left", fontsize=10, color=INK)
        axes.set_xlabel("round")
        axes.xaxis.set_major_locator(_whole_numbers())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
        last = max(float(one["round"]) for one in run.leaks)
        axes.set_xlim(1 - 0.03 * last, last * 1.03)
    panels[0].set_ylabel("data leakage rate")
    figure.set_layout_engine("constrained", wspace=0.06)
    _legend(figure, run, handles)
    return "Line charts of the data leakage rate a round. " + "; ".join(described) + "."


def _by_share(figure: Figure, run: Comparison) -> str:
    axes = figure.add_subplot()
    plain_axes(axes)
    described = []
    names = list(dict.fromkeys(str(one["attack"]) for one in run.sweep))
    for name, marker, dashes in zip(
        names, "os^vD", ("-", (0, (4, 2)), ":", "-.", "--"), strict=False
    ):
        chosen = [one for one in run.sweep if one["attack"] == name]
        x = [100 * float(one["encrypted_share"]) for one in chosen]
        y = [100 * float(one["rate"]) for one in chosen]
        axes.plot(
            x,
            y,
            color=SERIES[5],
            linewidth=2,
            linestyle=dashes,
            marker=marker,
            markersize=5,
            clip_on=False,
        )
        # Named where the line is highest above the others: at the middle of the axis.
        middle = min(range(len(x)), key=lambda i: abs(x[i] - 45))
        axes.annotate(
            attack_title(name),
            (x[middle], y[middle]),
            xytext=(6, 7),
            textcoords="offset points",
            fontsize=9,
            color=INK,
        )
        described.append(f"{attack_title(name)}: {y[0]:.0f} % with nothing encrypted")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_ylim(0, 108)
    axes.set_xlim(-1, 101)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    axes.set_xlabel("share of the coordinates that is encrypted, the most sensitive first")
    axes.set_title("Data leakage rate of a hybrid upload", loc="left", fontsize=11)
    return "Line chart of the leakage rate against the encrypted share. " + "; ".join(described)


def _communication(figure: Figure, run: Comparison) -> str:
    found = costs(run)
    axes = figure.add_subplot()
    plain_axes(axes)
    handles: dict[str, Any] = {}
    titles = _titles(run)
    labels = []
    for key in _bottom_up(run):
        if key not in found:
            continue
        cost = found[key]
        y = [cost.transfer_s(bandwidth) for bandwidth in BANDWIDTHS_BPS]
        handles[key] = _line(axes, key, BANDWIDTHS_BPS, y, titles[key])
        labels.append(_Label(y[-1], f"{titles[key]}  {format_bytes(cost.bytes)}", _colour(key)))
    _bandwidth_axes(axes)
    axes.set_ylabel("transfer time of a round, one cloud's link")
    axes.set_title("Communication cost a round against bandwidth", loc="left", fontsize=11)
    _right_labels(axes, labels)
    return "Line chart of transfer times against bandwidth. " + "; ".join(
        f"{titles[key]}: {format_seconds(cost.transfer_s(BANDWIDTHS_BPS[0]))} at 10 Mbit/s, "
        f"{format_bytes(cost.bytes)} a round"
        for key, cost in found.items()
    )


def _computation(figure: Figure, run: Comparison) -> str:
    found = costs(run)
    axes = figure.add_subplot()
    plain_axes(axes)
    titles = _titles(run)
    labels = []
    for key in _bottom_up(run):
        if key not in found:
            continue
        cost = found[key]
        y = [cost.round_s(bandwidth) for bandwidth in BANDWIDTHS_BPS]
        _line(axes, key, BANDWIDTHS_BPS, y, titles[key])
        axes.axhline(
            cost.compute_s, color=_colour(key), linewidth=1.1, linestyle=(0, (1, 2)), zorder=2
        )
        text = f"{titles[key]}  {format_seconds(y[-1])}"
        labels.append(_Label(y[-1], text, _colour(key)))
    _bandwidth_axes(axes)
    axes.set_ylabel("time of a round, computing and waiting")
    axes.set_title(
        "Computation cost a round against bandwidth (dotted: computing alone)",
        loc="left",
        fontsize=11,
    )
    _right_labels(axes, labels)
    return "Line chart of round times against bandwidth. " + "; ".join(
        f"{titles[key]}: {format_seconds(cost.round_s(BANDWIDTHS_BPS[0]))} at 10 Mbit/s, "
        f"{format_seconds(cost.compute_s)} of computing"
        for key, cost in found.items()
    )


def _accuracy(figure: Figure, run: Comparison) -> str:
    axes = figure.add_subplot()
    plain_axes(axes)
    titles = _titles(run)
    labels = []
    for key in _bottom_up(run):
        records = run.records(key)
        x = [float(record["round"]) for record in records]
        y = [float(record["auc"]) for record in records]
        _line(axes, key, x, y, titles[key])
        labels.append(_Label(y[-1], f"{titles[key]}  {y[-1]:.4f}", _colour(key)))
    last = max(float(record["round"]) for record in run.rounds)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_xlim(1 - 0.02 * last, last * 1.02)
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(_whole_numbers())
    axes.set_title("AUC on held-out rows", loc="left", fontsize=11)
    _right_labels(axes, labels)
    return "Line chart of the AUC a round. " + "; ".join(
        f"{titles[one['key']]}: {run.records(one['key'])[-1]['auc']:.4f}" for one in run.ran
    )


def _colour(key: str) -> str:
    return _STYLES[key].colour


def _bandwidth_axes(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(BANDWIDTHS_BPS[0] * 0.9, BANDWIDTHS_BPS[-1] * 1.1)
    axes.set_xticks([10e6, 100e6, 1e9, 10e9], ["10 Mbit/s", "100 Mbit/s", "1 Gbit/s", "10 Gbit/s"])
    axes.xaxis.set_minor_locator(_no_ticks())
    axes.yaxis.set_minor_locator(_no_ticks())
    low, high = axes.get_ylim()
    if high / low < 1000:  # few decades: whole powers of ten alone would leave the axis bare
        axes.yaxis.set_major_locator(_log_ticks())
    axes.yaxis.set_major_formatter(lambda value, _: format_seconds(value).replace(".0 ", " "))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_xlabel("bandwidth of a cloud's link")


def _right_labels(axes: Axes, labels: Sequence[_Label], gap: float = 0.062) -> None:
    """Name lines at their right ends, pushed apart where they would overlap."""
    import math

    low, high = axes.get_ylim()
    log = axes.get_yscale() == "log"

    def share(value: float) -> float:
        if log:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    places = sorted(((share(label.height), label) for label in labels), key=lambda pair: pair[0])
    heights = [place for place, _ in places]
    # Pushed up in turn, then the whole stack down again where it leaves the axes.
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    for i in range(len(heights) - 1, -1, -1):
        most = 1.0 - gap * (len(heights) - 1 - i)
        heights[i] = min(heights[i], most)
    for (_, label), height in zip(places, heights, strict=True):
        axes.annotate(
            label.text,
            (1.0, height),
            xycoords="axes fraction",
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=label.colour,
            annotation_clip=False,
        )


def _whole_numbers() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True)


def _log_ticks() -> Any:
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0, 2.0, 5.0))


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()
