"""The metrics log: whole lines, on disk at once, and nothing that is no number."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from veilsum.training.metrics_log import MetricsLog


def test_records_are_lines_and_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        for number in range(3):
            log.append({"round": number, "text": "ä\n"})
            assert len(path.read_text().splitlines()) == number + 1
    assert [json.loads(line)["round"] for line in path.read_text().splitlines()] == [0, 1, 2]
    log.close()


def test_an_existing_log_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for number in range(2):
        with MetricsLog(path) as log:
            log.append({"round": number})
    assert len(path.read_text().splitlines()) == 2


def test_numbers_must_be_finite(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log, pytest.raises(ValueError, match="JSON"):
        log.append({"auc": float("nan")})
    assert path.read_bytes() == b""


def test_a_full_disk_leaves_the_last_whole_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    write = os.write
    with MetricsLog(path) as log:
        log.append({"round": 1})
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
        with pytest.raises(OSError, match="no space"):
            log.append({"round": 2})
        monkeypatch.undo()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"round": 1}]
