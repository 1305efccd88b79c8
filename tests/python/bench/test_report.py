"""The page, the summary and the plots, from results made up to touch every branch."""

from __future__ import annotations

import getpass
import platform
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import bench
from bench import report, tables, terms
from bench.results import Missing, Ratio, Results, Row

MACHINE = "some-cpu-4-cores"


def row(method, operation, seconds, threads=1, values=1000, nbytes=None, note="", **case):
    return Row(method, operation, values, threads, seconds, seconds, seconds, 3, nbytes, case, note)


@pytest.fixture(scope="module")
def made() -> Results:
    about = {**terms.collect("full"), "load_at_start": 0.1, "cores": 4, "isa": "avx512"}
    results = Results(MACHINE)
    results.section("ratios", about).ratios.extend(
        [
            Ratio("encrypt / AES", 0.4, 0.39, 0.41, 0.45, 0.25, rounds=9, numerator_s=0.01),
            Ratio("rate / peer", 200.0, 190.0, 210.0, 300.0, 600.0, at_least=True),
            Ratio("no target", 1.0, 1.0, 1.0, None),
        ]
    )
    paper = results.section("paper_table", about)
    for records in (1000, 10_000):
        for threads in (1, 4):
            for step in ("encrypt", "decrypt"):
                size = 3200 if step == "encrypt" else None
                case = {"record": "value", "records": records}
                how = "series" if threads == 1 else "parallel"
                ours = f"Veilsum, blocks in {how}"
                paper.rows += [
                    row("AES-256-GCM bulk", step, 1e-5, threads, nbytes=size, **case),
                    row(ours, step, 2e-5, threads, nbytes=size, **case),
                    row("AES-256-CBC per record", step, 9.0, threads,
                        note="measured on 10 records, scaled by 100", nbytes=size, **case),
                ]  # fmt: skip
    paper.missing.append(Missing("from ready pads", "not built"))
    peers = results.section("peers", about)
    for step in ("encrypt", "add", "decrypt"):
        peers.rows.append(row("Veilsum: n2048", step, 1e-6, nbytes=3200, peer="veilsum"))
        peers.rows.append(row("Slow", step, 10.0, nbytes=768_000, peer="slow", note="slow 1.0"))
    scaling = results.section("scaling", about)
    for step in ("encrypt", "decrypt"):
        for size in (1000, 100_000):
            for threads in (1, 4):
                scaling.rows.append(
                    row("Veilsum, n2048", step, size * 1e-9, threads, size, 3 * size,
                        axis="size", clients=10, optimise="speed")
                )  # fmt: skip
        scaling.rows += [
            row("v", step, 1e-3 / count, count, axis="threads", clients=10, optimise="speed")
            for count in (1, 2, 4)
        ]
    for goal in ("speed", "size"):
        for step in ("encrypt", "sum of two"):
            scaling.rows += [
                row("v", step, 1e-6, nbytes=3200, axis="clients", clients=count, optimise=goal)
                for count in (2, 1000)
            ]
    scaling.rows += [
        row(
            "Veilsum, n2048", step, 1e-3, nbytes=3490, axis="committee", clients=10, members=members
        )
        for members in (4, 100)
        for step in ("endorse", "combine")
    ]
    scaling.rows += [
        row("8 keys an upload", "endorse and answer", 4e-3, values=size, nbytes=200_000,
            axis="model", clients=10, members=4)
        for size in (10, 10**9)
    ]  # fmt: skip
    kernels = results.section("kernels", about)
    for level, seconds in (("scalar", 1e-4), ("avx512", 1e-6)):
        kernels.rows += [
            row("NTT forward", "ntt_forward", seconds * n / 2048, values=n, level=level, n=n)
            for n in (2048, 4096)
        ]
    return results


def test_the_summary_prints_ratios_with_their_targets(made):
    text = "\n".join(tables.summary(made))
    assert "encrypt / AES" in text
    assert "≤ 0.45" in text
    assert "≥ 300" in text
    assert text.count("MISSED") == 1
    assert "from ready pads: not built" in text
    assert "busy" not in text


def test_a_busy_machine_is_named_as_such(made):
    busy = Results(MACHINE, {
        name: replace(section, terms={**section.terms, "load_at_start": 3.0})
        for name, section in made.sections.items()
    })  # fmt: skip
    assert "no measurement" in "\n".join(tables.summary(busy))
    assert "no measurement" in tables.markdown(busy)


def test_the_page_shows_every_method_and_marks_scaled_rows(made):
    page = tables.markdown(made)
    for text in (
        "| AES-256-GCM bulk | 0.01 | 0.01 | 0.01 | 0.01 | 3.2 |",
        "| AES-256-CBC per record | 9,000* | 9,000* | 9,000* | 9,000* | 3.2 |",
        "AES-256-CBC per record: measured on 10 records, scaled by 100",
        "| Veilsum | 0.02 | 0.02 | 0.02 | 0.02 | 3.2 |",
        "10,000,000 ×",
        "| combine | 1,000 | 10 | 100 | n2048 | 1 ms | 3,490 |",
        "| endorse and answer | 1,000,000,000 | 10 | 4 | 8 keys an upload | 4 ms | 200,000 |",
        "| NTT forward | 4096 | 48.8 | 0.488 |",
        "from ready pads: not built",
    ):
        assert text in page, text


def test_tables_are_rectangular(made):
    block: list[int] = []
    for line in [*tables.markdown(made).splitlines(), ""]:
        if line.startswith("|"):
            block.append(line.count("|"))
        else:
            assert len(set(block)) <= 1
            block = []


def test_files_are_written_and_sections_kept(made, tmp_path):
    pytest.importorskip("matplotlib")
    written = report.write(made, tmp_path, keep_other_sections=True)
    assert {path.suffix for path in written} == {".json", ".md", ".png"}
    assert all(path.stat().st_size > 100 for path in written)
    part = Results(MACHINE, {"kernels": made.sections["kernels"]})
    report.write(part, tmp_path, keep_other_sections=True)
    assert set(Results.load(tmp_path / f"{MACHINE}.json").sections) == set(made.sections)
    page = (tmp_path / f"{MACHINE}.md").read_text(encoding="utf-8")
    for picture in tmp_path.glob("*.png"):
        assert f"({picture.name})" in page
    report.write(part, tmp_path, keep_other_sections=False)
    assert set(Results.load(tmp_path / f"{MACHINE}.json").sections) == {"kernels"}


def test_without_matplotlib_there_is_still_a_page(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "bench.plots", raising=False)
    monkeypatch.delattr(bench, "plots", raising=False)
    assert [path.suffix for path in report.render(made, tmp_path)] == [".md"]
    assert "matplotlib is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cpu", "cores", "slug"),
    [
        ("Intel(R) Xeon(R) Processor", 2, "intel-xeon-processor-2-cores"),
        ("AMD Ryzen 9 9950X 16-Core Processor", 32, "amd-ryzen-9-9950x-16-core-processor-32-cores"),
        ("Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz", 1, "intel-core-i7-8650u-1-core"),
        ("", 1, "unknown-1-core"),
    ],
)
def test_machine_slug(cpu, cores, slug):
    assert terms.machine_slug({"cpu": cpu, "cores": cores}) == slug


def test_terms_name_no_host_no_user_and_no_folder():
    found = terms.collect("full")
    text = repr(found)
    assert str(Path.home()) not in text
    assert str(Path(__file__).resolve().parents[3]) not in text
    for secret in (socket.gethostname(), platform.node()):
        assert len(secret) < 4 or secret not in text
    if len(getpass.getuser()) > 4:
        assert getpass.getuser() not in text
    for name in ("isa", "max_threads", "commit", "openssl", "date", "cpu", "cryptography"):
        assert found[name]
