"""Folders of comparisons that nobody ran, and small configurations for those that run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

KEYS = ("centralised", "fedavg", "he-fl", "dp-fl", "hybrid", "veilsum")
TITLES = {
    "centralised": "Centralised",
    "fedavg": "FedAvg",
    "he-fl": "HE-FL (CKKS)",
    "dp-fl": "DP-FL",
    "hybrid": "Veilsum hybrid",
    "veilsum": "Veilsum",
}
RATES = {"centralised": 1.0, "fedavg": 0.95, "he-fl": 0.0, "dp-fl": 0.9, "hybrid": 0.5}
SENT = {"centralised": 0, "fedavg": 4000, "he-fl": 120_000, "dp-fl": 4000}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def round_record(key: str, number: int) -> dict[str, Any]:
    seconds = {"train": 0.2, "encrypt": 0.01, "aggregate": 0.004, "total": 0.3, "evaluate": 0.05}
    return {
        "method": key,
        "round": number,
        "skipped": "",
        "auc": 0.8 + 0.001 * number,
        "auc_standard_error": 0.012,
        "accuracy": 0.79,
        "log_loss": 0.4,
        "train_loss": 0.41,
        "clipped": 0,
        "encrypted_fraction": 1.0 if key == "veilsum" else 0.0,
        "seconds": seconds,
        "cost": {
            "round_s": 0.22 if key == "veilsum" else 0.2 + 0.01 * (number % 2),
            "train_s": 0.05,
            "protect_s": 0.003,
            "server_s": 0.002,
            "up_bytes": SENT.get(key, 3900),
            "down_bytes": SENT.get(key, 3900),
        },
    }


def leak_record(key: str, number: int, attack: str) -> dict[str, Any]:
    rate = RATES.get(key, 0.0)
    return {
        "method": key,
        "round": number,
        "attack": attack,
        "rate": rate,
        "probes": 40,
        "recovered": round(40 * rate),
        "feature_share": 0.7,
        "guesses": 400,
        "most_guesses": 200,
        "readable": 1.0,
        "optimised": 0,
    }


def aes_record(method: str, operation: str, threads: int, seconds: float) -> dict[str, Any]:
    return {
        "method": method,
        "operation": operation,
        "kind": "value",
        "records": 100_000,
        "threads": threads,
        "seconds": seconds,
        "low": seconds,
        "high": seconds,
        "runs": 3,
        "nbytes": 400_000,
        "measured": 5_000 if "per record" in method else 100_000,
    }


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the files of a comparison."""

    def make(
        rounds: int = 3,
        keys: tuple[str, ...] = KEYS,
        missing: dict[str, str] | None = None,
        aes: bool = True,
        **changes: Any,
    ) -> Path:
        from veilsum.training.config import TrainConfig

        missing = missing or {}
        folder = tmp_path / "a comparison & <more>"
        folder.mkdir()
        ran = [key for key in keys if key not in missing]
        methods = []
        for key in keys:
            one: dict[str, Any] = {"key": key, "title": TITLES[key], "seen": f"seen by {key}"}
            if key in missing:
                one |= {"status": "not run", "reason": missing[key]}
            else:
                one |= {
                    "status": "ran",
                    "setup_bytes": 3000,
                    "privacy": None,
                    "agreement": []
                    if key in ("centralised", "dp-fl")
                    else [{"round": 1, "error": 1e-6, "bound": 2e-6, "share": 0.5}],
                    "unchecked": "noise is added on purpose" if key == "dp-fl" else "",
                    "membership": {
                        "auc": 0.51,
                        "standard_error": 0.008,
                        "members": 100,
                        "others": 50,
                    },
                }
            methods.append(one)
        config = TrainConfig()
        summary = {
            "status": "finished",
            "started": "2026-01-02 03:04:05 +0000",
            "quick": False,
            "seconds": 12.0,
            "options": {"probes": 40, "optimised_batches": 2, "batch_sizes": [1, 8]},
            "configuration": config.to_mapping(),
            "environment": {"processor": "Some <Processor> & more"},
            "study": {
                "name": "study",
                "title": "A <study>",
                "source": "somewhere",
                "outcome": "an outcome",
                "rows": 1000,
            },
            "clouds": [500, 300],
            "held_out": 200,
            "inputs": ["age", "sex"],
            "model_values": 1000,
            "tolerance": 0.1,
            "attacked": [1, rounds],
            "methods": methods,
        } | changes
        (folder / "compare.json").write_text(json.dumps(summary))
        (folder / "config.toml").write_text(config.to_toml())
        lines = [round_record(key, n) for n in range(1, rounds + 1) for key in ran]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        leaks = [
            leak_record(key, n, attack)
            for n in sorted({1, rounds} if rounds else set())
            for key in (*ran, "chance")
            for attack in ("step-1", "step-8", "round")
        ]
        (folder / "leakage.jsonl").write_text("".join(json.dumps(one) + "\n" for one in leaks))
        if aes:
            rows = [
                aes_record(method, operation, threads, seconds)
                for method, threads, seconds in (
                    ("AES-256-CBC per record", 1, 1.0),
                    ("AES-256-CBC in bulk", 1, 0.4e-3),
                    ("AES-256-GCM in bulk", 1, 0.04e-3),
                    ("Veilsum, blocks in series", 1, 0.2e-3),
                )
                for operation in ("encrypt", "decrypt")
            ]
            (folder / "aes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
        return folder

    return make
