"""Pieces of an HTML page that needs no other file: style, tables, figures, tiles.

Report layer, bottom. The page loads nothing: styles and figures are inside it, and there is no
script. Colours of series are variables, so that figures follow light and dark mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --muted: #5c6670;
  --grid: #d9dee3; --panel: #f4f6f8; --series-1: #0072b2; --series-2: #d55e00;
  --series-3: #8a939c; --series-4: #009e73; --series-5: #b0588f; --series-6: #4aa8dc;
  --good: #10703c; --bad: #a8321f; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181c; --ink: #e6e9ec; --muted: #9aa5b0;
  --grid: #343c44; --panel: #1d2329; --series-1: #56b4e9; --series-2: #f0904a;
  --series-3: #8a939c; --series-4: #2fc79c; --series-5: #d98cbd; --series-6: #a8dcff;
  --good: #5fc98c; --bad: #f08a78; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p, ul { max-width: 46rem; } .lead { font-size: 1.05rem; }
.note, figcaption, .terms { color: var(--muted); font-size: .9rem; }
.status { display: inline-block; padding: 0 .6rem; border-radius: 1rem; font-size: .85rem;
  border: 1px solid currentColor; vertical-align: .2rem; margin-left: .5rem; }
.warning { border-left: .25rem solid var(--bad); padding: .1rem 0 .1rem .9rem; }
.synthetic { border: 2px solid var(--bad); border-radius: .5rem; padding: .6rem 1rem;
  font-weight: 600; }
.finished { color: var(--good); } .interrupted, .failed, .running { color: var(--bad); }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.4rem 0; }
.tile { flex: 1 1 17rem; background: var(--panel); border-radius: .5rem; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.3; }
.tile span { color: var(--muted); font-size: .85rem; display: block; line-height: 1.35; }
.figures { display: grid; gap: 1.2rem;
  grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); }
figure { margin: 0; max-width: 44rem; } figure svg { width: 100%; height: auto; display: block; }
figure.wide { max-width: none; margin: 1rem 0; }
/* A shade at an edge says that a wide table goes on there; it goes when the end is reached. */
.table { overflow-x: auto; margin: .6rem 0 1rem; background:
  linear-gradient(90deg, var(--paper) 40%, transparent) 0 0 / 2.4rem 100% no-repeat local,
  linear-gradient(-90deg, var(--paper) 40%, transparent) 100% 0 / 2.4rem 100% no-repeat local,
  linear-gradient(90deg, var(--grid), transparent) 0 0 / 1rem 100% no-repeat scroll,
  linear-gradient(-90deg, var(--grid), transparent) right 1px top 0 / 1rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); font-size: .9rem; padding-bottom: .3rem; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--grid);
  vertical-align: top; }
th { font-weight: 600; color: var(--muted); }
td.n, th.n { text-align: right; } td.n { white-space: nowrap; } th { vertical-align: bottom; }
pre { background: var(--panel); border-radius: .5rem; padding: .8rem 1rem; overflow-x: auto;
  font-size: .85rem; line-height: 1.45; }
code { font-size: .92em; }
details { margin: .6rem 0; } summary { cursor: pointer; font-weight: 600; }
@media (max-width: 40rem) { .figures { grid-template-columns: 1fr; }
  main { padding: 1.2rem .9rem 3rem; } .status { margin-left: .3rem; }
  figure.wide { overflow-x: auto; } figure.wide svg { min-width: 34rem; }
  figcaption { position: sticky; left: 0; }
  table { font-size: .82rem; line-height: 1.4; } th, td { padding-right: .6rem; }
  th:first-child, td:first-child { min-width: 5.5rem; } }
"""


def whole_page(title: str, parts: Iterable[str]) -> str:
    """Return a page.

    Parameters
    ----------
    title : str
        As the browser shows it; plain text.
    parts : iterable of str
        Its content, as HTML.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "", text: int = 1
) -> str:
    """Return a table as HTML.

    Parameters
    ----------
    columns : sequence of str
        Heads.
    rows : iterable of sequence
        Cells, as plain text.
    caption : str
        Above it.
    text : int
        The first so many columns are words, the others numbers.
    """

    def cell(tag: str, i: int, value: Any) -> str:
        kind = "" if i < text else ' class="n"'
        # A number and its sign stay on one line.
        shown = escape(str(value)).replace(" %", "\u00a0%").replace(" ×", "\u00a0×")
        return f"<{tag}{kind}>{shown}</{tag}>"

    head = "".join(cell("th", i, name) for i, name in enumerate(columns))
    body = "\n".join(
        "<tr>" + "".join(cell("td", i, value) for i, value in enumerate(row)) + "</tr>"
        for row in rows
    )
    described = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="table"><table>{described}<thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def figure(svg: str, caption: str) -> str:
    """Return a figure as HTML.

    Parameters
    ----------
    svg : str
        An <svg> element.
    caption : str
        Below it; plain text.
    """
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def tile(value: str, label: str) -> str:
    """Return a number with its meaning, as HTML.

    Parameters
    ----------
    value : str
        Large.
    label : str
        Small, below it.
    """
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
