"""A run's folder, written by hand, so that reports are tested without training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from veilsum.run_names import CENTRALISED, ENCRYPTED, PLAINTEXT
from veilsum.training.config import TrainConfig

PHASES = ("train", "encrypt", "aggregate", "open", "decrypt", "evaluate")


def make_record(method: str, number: int) -> dict[str, Any]:
    encrypted = method == ENCRYPTED
    seconds = {phase: 0.001 * (i + number) for i, phase in enumerate(PHASES)}
    if encrypted:
        seconds["background"] = 0.002
    clouds = [{"client": i, "payload_bytes": 137_019, "clipped": i} for i in range(2)]
    return {
        "method": method,
        "round": number,
        "auc": 0.8 + number / 100,
        "auc_standard_error": 0.012,
        "accuracy": 0.75,
        "log_loss": 0.5 - number / 100,
        "train_loss": 0.45,
        "clipped": 1 if encrypted else 0,
        "clouds": clouds if encrypted else [],
        "bytes": {
            "round": 13_512,
            "upload": 137_019,
            "opening_request": 64_000,
            "sum_key": 8_288,
            "aggregate": 240_000,
        },
        "limits": {"update.0.weight": 0.25, "weight": 2.0} if encrypted else {},
        "entropy": [7.99, 7.98] if encrypted else [],
        "seconds": seconds | {"total": sum(seconds[phase] for phase in PHASES)},
    }


def make_summary(**changes: Any) -> dict[str, Any]:
    config = TrainConfig.from_mapping({"data": {"clouds": 2}, "training": {"rounds": 3}})
    rows = {"rows": 100, "positives": 20, "rate": 0.2}
    age = {"mean": 60.0, "low": 50.0, "high": 70.0}
    summary: dict[str, Any] = {
        "status": "finished",
        "started": "2025-01-01 00:00:00 +0000",
        "seconds": 95.2,
        "configuration": config.to_mapping(),
        "min_clients": 2,
        "environment": {"processor": "Some <Processor> & more", "veilsum": "0.1"},
        "study": {
            "name": "flchain",
            "title": "Title",
            "source": "Source",
            "outcome": "death during follow-up",
            "rows": 300,
            "left_out": [["futime", "known only after the outcome"]],
        },
        "inputs": [
            {
                "name": "age",
                "kind": "numeric",
                "unit": "years",
                "meaning": "age",
                "scale": "linear",
                "mean": 64.0,
                "deviation": 10.0,
            },
            {
                "name": "sex",
                "kind": "binary",
                "unit": "",
                "meaning": "1 for male",
                "scale": "linear",
                "mean": 0.5,
                "deviation": 0.5,
            },
        ],
        "clouds": [{"name": f"cloud {i}", **rows, "age": age} for i in (1, 2)],
        "held_out": {"name": "held out", **rows, "age": age},
        "pooled_rows": 200.0,
        "model": {"tensors": {"0.weight": [256, 9]}, "values": 35_585},
        "plan": {
            "explanation": "plan <explained>",
            "security": 128,
            "value_bits": 16,
            "ring_degree": 2048,
            "log2_modulus": 50.0,
            "bytes_per_value": 3.125,
            "fixed_bytes": 12_265,
            "id": "00" * 32,
        },
    }
    return summary | changes


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a run of some rounds and methods, and returns its folder."""

    def make(rounds: int = 3, methods: tuple[str, ...] = (ENCRYPTED,), **changes: Any) -> Path:
        folder = tmp_path / "a run & more"
        folder.mkdir()
        summary = make_summary(**changes)
        records = [make_record(method, i + 1) for method in methods for i in range(rounds)]
        (folder / "run.json").write_text(json.dumps(summary))
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / "metrics.jsonl").write_text(lines)
        (folder / "config.toml").write_text("# <config>\n")
        return folder

    return make


ALL = (ENCRYPTED, PLAINTEXT, CENTRALISED)
