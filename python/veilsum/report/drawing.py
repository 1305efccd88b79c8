"""Drawing: the style of all figures, as PNG and SVG files and as SVG to put into a page.

Report layer, bottom. Knows no run. Colours are told apart by people with colour vision deficiencies
(Okabe and Ito 2008) and lines by their dashes too. The SVG inside a page takes its colours from the
page's style, so that it follows light and dark mode.
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The page maps each colour to a variable of its style; the values here are for the files.
INK, MUTED, GRID, PAPER = "#1b1f24", "#5c6670", "#d9dee3", "#fefefe"
SERIES = ("#0072b2", "#d55e00", "#8a939c", "#009e73", "#b0588f", "#4aa8dc")
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
    **{colour: f"var(--series-{i})" for i, colour in enumerate(SERIES, 1)},
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


def require_matplotlib() -> Any:
    """Return the package, or say how to get it.

    Raises
    ------
    veilsum.BackendUnavailableError
        When matplotlib is not installed.
    """
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
    matplotlib = require_matplotlib()
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


def whole_numbers() -> Any:
    """Return a locator of ticks at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True)


def no_ticks() -> Any:
    """Return a locator of no ticks."""
    from matplotlib.ticker import NullLocator

    return NullLocator()
