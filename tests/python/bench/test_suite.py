"""The whole benchmark suite at the size of a smoke run: every case runs and checks its result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.results import Results

ROOT = Path(__file__).resolve().parents[3]


def run_suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "bench", "-q", "-p", "no:cacheprovider", *arguments]
    # Where this test's own run is spread over processes, the inner one would time nothing.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=alone)


@pytest.mark.slow
def test_smoke_run(tmp_path):
    done = run_suite("--profile", "smoke", "--results", str(tmp_path))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    (path,) = tmp_path.glob("*.json")
    results = Results.load(path)
    assert {"ratios", "paper_table", "peers", "scaling", "files"} <= set(results.sections)
    names = [ratio.name for ratio in results.sections["ratios"].ratios]
    assert names[:5] == [
        "encrypt / AES-256-CBC of the same bytes",
        "encrypt / AES-256-GCM of the same bytes",
        "decrypt / encrypt",
        "encrypt from ready pads / AES-256-GCM of the same bytes",
        "encrypted FedAvg / plaintext FedAvg, wall time of a round",
    ]
    for name in names:
        assert name in done.stdout, "the ratios are printed at the end"
    methods = {row.method for row in results.sections["paper_table"].rows}
    assert {"AES-256-GCM bulk", "AES-256-CTR bulk", "AES-256-CBC per record"} <= methods
    assert "Veilsum, from ready pads" in methods
    for written in tmp_path.iterdir():
        if written.suffix != ".png":
            assert str(ROOT) not in written.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.long
def test_a_run_without_timing_still_checks():
    done = run_suite("--profile", "smoke", "--benchmark-disable", "-k", "ratios or threads")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
