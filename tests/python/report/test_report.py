"""The HTML page and the plots: whole, self-contained, and right about unfinished runs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

import veilsum as vs
from veilsum.federated.run_directory import CENTRALISED, ENCRYPTED, PLAINTEXT
from veilsum.report import read_run, write_report
from veilsum.report.units import format_bytes, format_seconds

ALL = (ENCRYPTED, PLAINTEXT, CENTRALISED)
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Checks nesting and collects what a browser would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self._attributes(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._attributes(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def _attributes(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "srcset", "data", "action", "poster", "background"):
                self.loads.append(value or "")
            if name.endswith("href"):
                (self.links if (value or "").startswith("#") else self.loads).append(value or "")


def test_the_page_needs_nothing_else(make_run: Callable[..., Path]) -> None:
    text = write_report(make_run(methods=ALL)).read_text()
    page = Page(text)
    assert page.open == []
    assert page.loads == []
    assert not page.tags & {"script", "link", "iframe", "img", "object", "embed"}
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert not re.search(r"https?://", text)
    # What figures refer to is inside the page, once.
    assert len(page.ids) == len(set(page.ids))
    used = set(re.findall(r"url\(#([\w-]+)\)", text)) | {link[1:] for link in page.links}
    assert used <= set(page.ids)


def test_the_page_says_what_it_must(make_run: Callable[..., Path]) -> None:
    text = write_report(
        make_run(methods=ALL, logistic_regression={"auc": 0.81, "accuracy": 0.7, "log_loss": 0.5})
    ).read_text()
    for expected in (
        "What protects the updates",
        "What the aggregator saw",
        "plan &lt;explained&gt;",
        "Some &lt;Processor&gt; &amp; more",
        "a run &amp; more",
        "What this does not show or protect against",
        "+0.00000",
        "plaintext averaging",
        "logistic regression",
        "# &lt;config&gt;",
        "1 min 35 s",
        "all 2 clouds",
        "futime",
        "hidden behind training",
        "pads, made while training",
    ):
        assert expected in text, expected
    assert text.count("<svg") == 4
    assert text.count('role="img"') == 4


def test_plots_are_files_too(make_run: Callable[..., Path]) -> None:
    folder = make_run(methods=ALL)
    write_report(folder)
    for name in ("auc", "loss", "bytes", "seconds"):
        assert (folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        ElementTree.fromstring((folder / "plots" / f"{name}.svg").read_text())


def test_a_run_without_yardsticks(make_run: Callable[..., Path]) -> None:
    text = write_report(make_run()).read_text()
    assert "run with --baseline" in text
    assert "compared with plaintext" not in text


def test_a_run_without_pads_ahead(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    text = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(text.replace(', "background": 0.002', ""))
    page = write_report(folder).read_text()
    assert "hidden behind training" not in page
    assert "made while training" not in page


def test_an_interrupted_run(make_run: Callable[..., Path]) -> None:
    folder = make_run(rounds=1, methods=(ENCRYPTED,), status="interrupted")
    assert "interrupted after 1 of 3 rounds" in write_report(folder).read_text()


def test_a_run_killed_in_the_middle_of_a_yardstick(make_run: Callable[..., Path]) -> None:
    folder = make_run(methods=(ENCRYPTED, PLAINTEXT), status="running")
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:-1]))
    text = write_report(folder).read_text()
    # Round 3 of one is not compared with round 2 of the other.
    assert "compared with plaintext averaging of the same run" not in text
    assert read_run(folder).plaintext_difference is None


def test_a_run_without_any_round(make_run: Callable[..., Path]) -> None:
    folder = make_run(rounds=0, status="failed", error="VeilsumError: <reason>")
    text = write_report(folder).read_text()
    assert "ended before its first round" in text
    assert "VeilsumError: &lt;reason&gt;" in text
    assert not (folder / "plots").exists()
    assert Page(text).open == []


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "config.toml"])
def test_a_missing_file_is_named(make_run: Callable[..., Path], name: str) -> None:
    folder = make_run()
    (folder / name).unlink()
    with pytest.raises(vs.ParameterError, match=f"lacks {name}"):
        write_report(folder)


def test_a_damaged_file_is_named(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    (folder / "metrics.jsonl").write_text("{")
    with pytest.raises(vs.ParameterError, match="is damaged"):
        read_run(folder)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (13_512, "13.5 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (2.5e9, "2.5 GB"),
        (5e12, "5.0 TB"),
        (9.9995e14, "1000 TB"),
    ],
)
def test_format_bytes(size: float, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (4.4e-6, "4.4 µs"),
        (0.00099949, "999 µs"),
        (0.001, "1.0 ms"),
        (0.0996, "100 ms"),
        (0.31, "310 ms"),
        (1, "1.0 s"),
        (9.96, "10 s"),
        (89, "89 s"),
        (90, "1 min 30 s"),
        (119.7, "2 min 0 s"),
    ],
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
