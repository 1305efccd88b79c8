"""Rows, ratios and their file: what `make bench` keeps."""

from __future__ import annotations

import json

import pytest

from bench.results import Missing, Ratio, Results, Row, Section, quartiles


def row(**changes):
    fields = {
        "method": "Veilsum",
        "operation": "encrypt",
        "values": 1000,
        "threads": 1,
        "seconds": 0.002,
        "low": 0.001,
        "high": 0.003,
        "rounds": 5,
        "nbytes": 3200,
        "case": {"records": 1000},
        "note": "a note",
    }
    return Row(**{**fields, **changes})


def ratio(median, must, *, at_least=False):
    return Ratio("a / b", median, median, median, must=must, at_least=at_least)


def test_what_a_row_says():
    assert row().values_per_s == 500_000
    assert row().ns_per_value == pytest.approx(2000)
    assert row().bytes_per_value == 3.2
    assert row(nbytes=None).bytes_per_value is None


@pytest.mark.parametrize(
    ("median", "must", "at_least", "met"),
    [
        (0.45, 0.45, False, True),
        (0.4501, 0.45, False, False),
        (300.0, 300.0, True, True),
        (299.9, 300.0, True, False),
        (1.0, None, False, None),
    ],
)
def test_a_target_is_met_at_its_edge(median, must, at_least, met):
    assert ratio(median, must, at_least=at_least).met is met


def test_quartiles():
    assert quartiles([3.0]) == (3.0, 3.0, 3.0)
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
    assert quartiles([2.0, 1.0]) == (1.25, 1.5, 1.75)


def test_results_come_back_from_json(tmp_path):
    results = Results("some-cpu-2-cores")
    section = results.section("peers", {"isa": "scalar"})
    section.rows.append(row())
    section.ratios.append(ratio(0.3, 0.45))
    section.missing.append(Missing("a peer", "not installed"))
    path = tmp_path / "results.json"
    path.write_text(results.to_json(), encoding="utf-8")
    assert Results.load(path) == results


def test_another_format_is_refused():
    text = json.dumps({"format": 99, "machine": "m", "sections": {}})
    with pytest.raises(ValueError, match="format 99"):
        Results.from_json(text)


def test_a_run_replaces_only_the_sections_it_measured():
    old = Results("m", {"peers": Section({"date": "old"}), "kernels": Section({"date": "old"})})
    new = Results("m", {"kernels": Section({"date": "new"})})
    merged = new.merged_over(old)
    assert {name: section.terms["date"] for name, section in merged.sections.items()} == {
        "peers": "old",
        "kernels": "new",
    }
    with pytest.raises(ValueError, match="do not mix"):
        new.merged_over(Results("another machine"))
