"""The HTML page and the plots: whole, self-contained, and right about unfinished runs."""

from __future__ import annotations

import io
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import veilsum as vs
from veilsum.report import plots, read_run, write_report
from veilsum.report.drawing import Plot
from veilsum.report.live import LinesView
from veilsum.report.units import format_bytes, format_seconds
from veilsum.run_names import CENTRALISED, ENCRYPTED, PLAINTEXT

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


@pytest.mark.parametrize(
    ("engine", "seen", "never"),
    [
        ("native", "the sealed keys and heads of all uploads: 64.0 kB", "blocks, and so any"),
        ("openfhe", "all uploads, which it sums again: 64.0 kB", "it could decrypt an update"),
    ],
)
def test_what_the_authority_sees(
    make_run: Callable[..., Path], engine: str, seen: str, never: str
) -> None:
    folder = make_run()
    summary = json.loads((folder / "run.json").read_text())
    summary["configuration"]["encryption"]["engine"] = engine
    (folder / "run.json").write_text(json.dumps(summary))
    text = write_report(folder).read_text()
    assert seen in text
    assert never in text
    assert "with check blocks" not in text


def of_committee(folder: Path, kind: str, members: int, threshold: int) -> Path:
    """Make a run one that a committee opened: what the loop writes then."""
    summary = json.loads((folder / "run.json").read_text())
    summary["authority"] = {"kind": kind, "members": members, "threshold": threshold}
    (folder / "run.json").write_text(json.dumps(summary))
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        if record["method"] != ENCRYPTED:
            continue
        del record["bytes"]["sum_key"]
        record["bytes"] |= {"endorsement": 152, "certificate": 792, "answer": 3_352}
        record["opened_by"] = {
            "members": members,
            "endorsed": list(range(threshold)),
            "answered": list(range(members - threshold, members)),
            "silent": [{"member": 0, "reason": "lost <its> ledger"}] if members > threshold else [],
        }
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    return folder


@pytest.mark.parametrize(
    ("kind", "members", "threshold", "expected", "absent"),
    [
        (
            "clouds",
            4,
            3,
            (
                "by 3 of 4 clouds together",
                "who opens: 3 of 4 clouds",
                "another cloud&#x27;s upload; and 2 of them together: any key",
                "conspires with 2 of the clouds can have two sums",
                "Up to 1 of the clouds may be silent",
                "clouds who endorsed",
                "cloud 1: lost &lt;its&gt; ledger",
                "sealed shares for 4 clouds, 25.8 kB that do not grow",
                "the shares sealed to it",
            ),
            ("must answer", "members of their own"),
        ),
        (
            "committee",
            5,
            3,
            (
                "by 3 of 5 members together",
                "conspires with one of the members can have two sums",
                "Up to 2 of the members may be silent",
                "member 1: lost &lt;its&gt; ledger",
                "sealed shares for 5 members",
                "blocks; and 2 of them together: any key",
            ),
            ("must answer", "the shares sealed to it"),
        ),
        (
            "clouds",
            2,
            2,
            (
                "by all 2 clouds together",
                "another cloud&#x27;s upload; and one alone: any key",
                "All 2 clouds must answer here",
            ),
            ("may be silent", "lost &lt;its&gt; ledger"),
        ),
    ],
)
def test_a_run_that_a_committee_opened(
    make_run: Callable[..., Path],
    kind: str,
    members: int,
    threshold: int,
    expected: tuple[str, ...],
    absent: tuple[str, ...],
) -> None:
    text = write_report(of_committee(make_run(), kind, members, threshold)).read_text()
    always = ("Who opened", "endorsement", "certificate", "answer", "Whoever has the group keys")
    for words in (*expected, *always):
        assert words in text, words
    for words in (*absent, "sum key", "check block", "one key holder", "coordinator reads"):
        assert words not in text, words
    assert Page(text).open == []


def test_who_opened_many_rounds_is_folded(make_run: Callable[..., Path]) -> None:
    text = write_report(of_committee(make_run(rounds=12), "clouds", 4, 3)).read_text()
    assert "All 12 rounds; in 12 of them some were silent or refused" in text


def test_one_key_holder_is_no_committee(make_run: Callable[..., Path]) -> None:
    text = write_report(make_run()).read_text()
    assert "Who opened" not in text
    assert "The authority is one key holder here" in text
    assert "a sealed key and a check block, 12.3 kB that do not grow" in text
    assert "endorsement" not in text


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


def _leaves(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """What a round may lack: each phase, message and range, and what only some methods write."""
    inner = [(key, name) for key in ("seconds", "bytes", "limits") for name in record[key]]
    return [*inner, ("entropy",), ("encrypted_fraction",), ("simulation",), ("train_loss",)]


@pytest.fixture
def quick_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the figures, but write none: rendering takes nearly all of a report's time."""
    from matplotlib.figure import Figure

    def draw(_: Path, name: str, __: object, draw: Callable[[Figure], str], *___: object) -> Plot:
        return Plot(name, draw(Figure()), "<svg></svg>")

    monkeypatch.setattr(plots, "draw_plot", draw)


@pytest.mark.usefixtures("quick_plots")
@pytest.mark.parametrize("where", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_no_field_is_assumed_of_every_round(
    make_run: Callable[..., Path], where: tuple[int, ...]
) -> None:
    """A report is made whatever single field some rounds lack, and so are the views."""
    folder = make_run()
    path = folder / "metrics.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        record |= {
            "encrypted_fraction": 0.5,
            "simulation": [{"client": 0, "state": "summed", "weight": 1.0}],
        }
        record["bytes"]["plain_sum"] = 90_000
    for leaf in _leaves(records[0]):
        changed = json.loads(json.dumps(records))
        for number in where:
            holder = changed[number] if len(leaf) == 1 else changed[number][leaf[0]]
            del holder[leaf[-1]]
        path.write_text("".join(json.dumps(record) + "\n" for record in changed))
        text = write_report(folder).read_text()
        assert Page(text).open == [], leaf
        if leaf != ("bytes", "plain_sum") or 2 not in where:
            assert "sum of the plain parts" in text
        stream = io.StringIO()
        view = LinesView(stream)
        view.run_started(folder, json.loads((folder / "run.json").read_text()))
        for record in changed:
            record.setdefault("train_loss", None)  # always there, None where none was opened
            view.round_finished(record)


def test_rounds_without_a_phase_count_as_nothing(make_run: Callable[..., Path]) -> None:
    """As a hybrid run has it: no pads ahead in the rounds that choose the coordinates anew."""
    folder = make_run()
    path = folder / "metrics.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    del records[0]["seconds"]["background"]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    page = write_report(folder).read_text()
    row = re.search(r"<tr><td>pads, made while training</td>(.*?)</tr>", page)
    assert row is not None
    assert re.findall(r">([^<]+)</td>", row[1]) == ["0 s", "1.3 ms", "2.0 ms", "0.004 s"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.json", "[]"),
        ("run.json", "{}"),
        ("metrics.jsonl", "3\n"),
        ("metrics.jsonl", '{"method": "veilsum", "round": 1}\n'),
    ],
)
def test_a_folder_of_something_else_is_no_bug(
    make_run: Callable[..., Path], name: str, text: str
) -> None:
    folder = make_run()
    (folder / name).write_text(text)
    with pytest.raises(vs.ParameterError, match=r"a run & more: run\.json (or|and) metrics"):
        write_report(folder)


def test_bytes_that_are_no_text_are_damage(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    (folder / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(vs.ParameterError, match=r"config\.toml is damaged"):
        write_report(folder)


def test_a_folder_whose_name_is_no_text(make_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_run().rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    assert "Training report: &#56575;" in write_report(folder).read_text()


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
