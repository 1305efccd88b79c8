"""docs/committee.md, run as it is printed: the shell blocks in a row, and the Python block."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "committee.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_five_folders(tmp_path):
    """What four clinics and an aggregator type gives each clinic the mean."""
    updates = np.random.default_rng(3).uniform(-1, 1, (4, 1000)).astype(np.float32)
    for clinic, update in zip("abcd", updates, strict=True):
        (tmp_path / clinic).mkdir()
        np.save(tmp_path / clinic / "update.npy", update)
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "veilsum").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m veilsum "$@"\n')
    (commands / "veilsum").chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(blocks("sh"))],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    exact = updates.astype(np.float64).mean(axis=0)
    for clinic in "abcd":
        mean = np.load(tmp_path / clinic / "mean.npy")
        # Half a step each, and the rounding to float32.
        assert np.abs(mean - exact).max() <= 0.5 / 32767 + 1e-7
        assert (tmp_path / clinic / "sum.key").stat().st_mode & 0o077 == 0


def test_python_block(tmp_path, monkeypatch):
    """The Python block gives what its comment says."""
    monkeypatch.chdir(tmp_path)
    (source,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(source, str(PAGE), "exec"), names)
    assert names["mean"] == pytest.approx(np.full(1000, 0.15), abs=1 / 32767)
