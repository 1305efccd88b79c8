"""The AES table measures every row it names, and says where it scaled."""

from __future__ import annotations

import pytest

from veilsum.lab.compare import aes_table
from veilsum.lab.compare.aes_table import Sizes, cut, measure_aes_table

TINY = Sizes((("value", 4096), ("row of 32", 64)), per_record_most=512, budget_s=0.0)


def test_every_row_is_there() -> None:
    rows = list(measure_aes_table(TINY, threads=2))
    for kind, records in TINY.tables:
        chosen = [row for row in rows if (row.kind, row.records) == (kind, records)]
        found = {(row.method, row.threads, row.operation) for row in chosen}
        assert len(found) == len(chosen) == 14
        methods = {row.method for row in chosen}
        assert methods == {
            "AES-256-GCM per record",
            "AES-256-CBC per record",
            "AES-256-CBC in bulk",
            "AES-256-CTR in bulk",
            "AES-256-GCM in bulk",
            "Veilsum, blocks in series",
            "Veilsum, blocks in parallel",
        }
        for row in chosen:
            assert 0 < row.low <= row.seconds <= row.high
            assert row.runs >= 3
            assert row.nbytes > 0
            scaled = "per record" in row.method and records > TINY.per_record_most
            assert row.measured == (TINY.per_record_most if scaled else records)


def test_with_one_thread_blocks_are_in_series_only() -> None:
    sizes = Sizes((("value", 256),), 256, 0.0)
    assert not [row for row in measure_aes_table(sizes, 1) if "parallel" in row.method]


def test_the_papers_sizes_are_measured() -> None:
    for sizes in (aes_table.FULL, aes_table.QUICK):
        values = [records for kind, records in sizes.tables if kind == "value"]
        assert values == [100_000, 1_000_000, 10_000_000]


def test_a_message_is_cut_into_records() -> None:
    assert [bytes(part) for part in cut(memoryview(b"abcdef"), 2)] == [b"ab", b"cd", b"ef"]


def test_the_benchmarks_use_the_same_code() -> None:
    paper_table = pytest.importorskip("bench.test_paper_table", reason="no benchmarks here")
    assert paper_table.CLIENTS is aes_table.CLIENTS
    assert paper_table.cut is aes_table.cut
