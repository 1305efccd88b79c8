"""The report of a comparison: made from files alone, whole, honest about what is missing."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

import veilsum as vs
from veilsum.lab.compare import document
from veilsum.lab.compare.files import read_comparison
from veilsum.lab.compare.report import write_report
from veilsum.lab.compare.tables import claims, percent

pytest.importorskip("matplotlib")

FIGURES = ("figure-1-leakage", "figure-2-communication", "figure-3-computation", "accuracy")
VOID = {"meta", "br", "path", "use", "image"}


class Page(HTMLParser):
    """Tags that were opened and not closed, and everything the page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name == "src" or (name == "href" and not (value or "").startswith("#")):
                self.loads.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(make_folder: Callable[..., Path]) -> None:
    text = write_report(make_folder()).read_text()
    page = Page(text)
    assert page.open == []
    assert page.loads == []
    assert not page.tags & {"script", "link", "iframe", "img", "object", "embed"}
    assert not re.search(r"https?://|@import", text)
    assert len(page.ids) == len(set(page.ids))
    assert text.count("<svg") == len(FIGURES)
    assert "Some &lt;Processor&gt; &amp; more" in text
    assert "A &lt;study&gt;" in text


def test_all_files_are_made(make_folder: Callable[..., Path]) -> None:
    folder = make_folder()
    write_report(folder)
    for name in FIGURES:
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        ElementTree.fromstring((folder / "figures" / f"{name}.svg").read_text())
    rows = {
        name: list(csv.DictReader((folder / f"{name}.csv").open()))
        for name in ("rounds", "leakage", "costs", "aes")
    }
    assert len(rows["rounds"]) == 3 * 6
    assert len(rows["leakage"]) == 2 * 7 * 3
    assert len(rows["costs"]) == 6 * 7
    assert len(rows["aes"]) == 8
    he = next(row for row in rows["costs"] if row["method"] == "he-fl")
    assert float(he["transfer_s"]) == pytest.approx(
        8 * float(he["bytes_a_round"]) / float(he["bandwidth_bps"])
    )


def test_markdown_says_what_the_page_says(make_folder: Callable[..., Path]) -> None:
    folder = make_folder()
    write_report(folder)
    text = (folder / "report.md").read_text()
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {line.replace("\\|", "").count("|") for line in block.splitlines()}
        assert len(widths) == 1, block
    for name in FIGURES:
        assert f"(figures/{name}.svg)" in text
    for expected in ("AES-256-CBC per record", "AES-256-GCM in bulk", "10 Gbit/s", "95 %"):
        assert expected in text, expected


def test_the_rows_where_aes_wins_stay(make_folder: Callable[..., Path]) -> None:
    folder = make_folder()
    write_report(folder)
    line = next(
        line for line in (folder / "report.md").read_text().splitlines() if "GCM in bulk" in line
    )
    assert "40 µs" in line
    assert "0.1 ×" in line


def test_what_did_not_run_is_shown_with_its_reason(make_folder: Callable[..., Path]) -> None:
    folder = make_folder(missing={"he-fl": "needs the package 'tenseal'"})
    for text in (write_report(folder).read_text(), (folder / "report.md").read_text()):
        assert "HE-FL (CKKS)" in text
        assert text.count("tenseal") >= 2


def test_an_interrupted_comparison(make_folder: Callable[..., Path]) -> None:
    folder = make_folder(rounds=2, aes=False, status="interrupted")
    text = write_report(folder).read_text()
    assert "interrupted after 2 of 25 rounds" in text
    assert "AES and Veilsum" not in text


def test_a_comparison_without_any_round(make_folder: Callable[..., Path]) -> None:
    folder = make_folder(rounds=0, aes=False, status="failed", error="VeilsumError: <why>")
    text = write_report(folder).read_text()
    assert "VeilsumError: &lt;why&gt;" in text
    assert Page(text).open == []


def test_synthetic_rows_are_marked_everywhere(make_folder: Callable[..., Path]) -> None:
    folder = make_folder()
    summary = json.loads((folder / "compare.json").read_text())
    assert "ynthetic data" not in write_report(folder).read_text()
    summary["study"]["synthetic"] = True
    (folder / "compare.json").write_text(json.dumps(summary))
    text = write_report(folder).read_text()
    assert "(synthetic data)</title>" in text
    assert 'class="synthetic">Synthetic data. The rows were made up' in text
    assert text.count(">synthetic data</text>") == len(FIGURES)
    assert "**Synthetic data." in (folder / "report.md").read_text()


@pytest.mark.parametrize("name", ["compare.json", "metrics.jsonl", "leakage.jsonl", "config.toml"])
def test_a_missing_file_is_named(make_folder: Callable[..., Path], name: str) -> None:
    folder = make_folder()
    (folder / name).unlink()
    with pytest.raises(vs.ParameterError, match=f"lacks {name}"):
        write_report(folder)


@pytest.mark.parametrize("name", ["compare.json", "metrics.jsonl", "aes.jsonl"])
def test_a_damaged_file_is_named(make_folder: Callable[..., Path], name: str) -> None:
    folder = make_folder()
    (folder / name).write_text("{")
    with pytest.raises(vs.ParameterError, match=f"{name} is damaged"):
        read_comparison(folder)


def verdicts(folder: Path) -> dict[str, bool | None]:
    return {one.text: one.holds for one in claims(read_comparison(folder))}


def test_claims_that_hold(make_folder: Callable[..., Path]) -> None:
    found = verdicts(make_folder())
    assert all(holds is not False for holds in found.values())
    assert found["Veilsum: time of a round over plaintext FedAvg's"] is True
    assert sum("within the derived bound" in text for text in found) == 5


def test_claims_that_do_not_hold_are_said(make_folder: Callable[..., Path]) -> None:
    folder = make_folder()
    summary = json.loads((folder / "compare.json").read_text())
    for one in summary["methods"]:
        if one["key"] == "veilsum":
            one["agreement"][0]["share"] = 1.01
    (folder / "compare.json").write_text(json.dumps(summary))
    lines = [json.loads(line) for line in (folder / "leakage.jsonl").read_text().splitlines()]
    for one in lines:
        if one["method"] in ("veilsum", "chance"):
            one["recovered"] = 1
        if one["method"] == "fedavg":
            one["recovered"] = 35
        if one["method"] == "hybrid":
            one["recovered"] = 40
    (folder / "leakage.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    rounds = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for one in rounds:
        if one["method"] == "veilsum":
            one["cost"]["round_s"] = 0.5
        if one["method"] == "he-fl":
            one["cost"]["up_bytes"] = 50_000
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rounds))
    found = verdicts(folder)
    wrong = {text for text, holds in found.items() if holds is False}
    assert wrong == {
        "Veilsum: a round's mean is the plaintext mean, within the derived bound",
        "Veilsum: time of a round over plaintext FedAvg's",
        "HE-FL by TenSEAL: upload over the plaintext update in float32",
        "HE-FL by TenSEAL: upload over Veilsum's",
        "Plaintext, one step on a batch of one: the attack recovers the probes",
        "Veilsum's ciphertext: the same attacks recover nothing",
        "Veilsum hybrid, one step, a batch of 8: leakage between encrypted and plaintext",
        "Null control: as many guesses drawn from the held-out rows",
    }
    assert write_report(folder).read_text().count("DOES NOT HOLD") == len(wrong)


def test_skipped_rounds_are_said(make_folder: Callable[..., Path]) -> None:
    folder = make_folder()
    assert "skipped" not in document.headline(read_comparison(folder))
    path = folder / "metrics.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        if record["method"] == "veilsum" and record["round"] == 2:
            record["skipped"] = "3 of 4 clouds are left (late: cloud 2); a sum needs 4"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    text = document.headline(read_comparison(folder))
    assert "Veilsum skipped 1 round, which" in text
    assert "round 2: 3 of 4 clouds are left (late: cloud 2); a sum needs 4 (see" in text


def test_a_quick_run_does_not_judge_times(make_folder: Callable[..., Path]) -> None:
    folder = make_folder(quick=True)
    assert verdicts(folder)["Veilsum: time of a round over plaintext FedAvg's"] is None
    assert "quick run" in write_report(folder).read_text()


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.5, "50 %"),
        (0.1234, "12.3 %"),
        (0.0004, "0.040%"),
        (0.9999, "99.990%"),
    ],
)
def test_percent_does_not_round_to_nothing(share: float, text: str) -> None:
    assert percent(share).replace(" ", "") == text.replace(" ", "")
