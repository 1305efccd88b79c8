"""Running any method round by round, and looking at it: records, scores, privacy.

Federated loop. `train` plays the rounds of a whole run through `play`; `run_method` runs one method
and returns everything, without a run's folder, for comparisons and notebooks.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import torch

from veilsum.errors import ParameterError, VeilsumWarning
from veilsum.learning.metrics import Evaluator, Record
from veilsum.training.outcome import Method, RoundOutcome


def play(
    method: Method, numbers: Iterable[int], evaluator: Evaluator
) -> Iterator[tuple[Record, RoundOutcome]]:
    """Run a method's rounds, one at a time as they are asked for.

    Parameters
    ----------
    method : Method
        A fresh one.
    numbers : iterable of int
        The rounds, in order.
    evaluator : Evaluator
        Judges the global model after each.

    Yields
    ------
    tuple of dict and RoundOutcome
        The round's record, and what it was made from.
    """
    for number in numbers:
        start = time.perf_counter()
        outcome = method.run_round(number)
        evaluation = time.perf_counter()
        result = evaluator.evaluate(outcome.parameters)
        end = time.perf_counter()
        record = _record(method.name, number, outcome)
        taken = sorted(FIELDS & set(result))
        if taken:
            raise ParameterError(
                f"evaluate returned a number by the name {taken[0]}, which is a field of every "
                "record; call it something else"
            )
        record |= result
        record["seconds"] = outcome.seconds | {"evaluate": end - evaluation, "total": end - start}
        yield record, outcome


FIELDS = {
    "method", "round", "train_loss", "clipped", "clouds", "simulation", "bytes", "limits",
    "encrypted_fraction", "entropy", "opened_by", "zeroed", "skipped", "privacy", "seconds",
}  # fmt: skip
"""Of records, beside scores."""


def _record(method: str, number: int, outcome: RoundOutcome) -> Record:
    record: Record = {
        "method": method,
        "round": number,
        "train_loss": outcome.train_loss,
        "clipped": sum(upload.clipped for upload in outcome.uploads),
        "clouds": [
            {
                "client": upload.client,
                "payload_bytes": upload.payload_bytes,
                "clipped": upload.clipped,
            }
            for upload in outcome.uploads
        ],
        # Weights and losses of single clouds are known here only because one process plays all
        # parties; in a deployment nobody but the cloud itself sees them.
        "simulation": [
            {
                "client": cloud.client,
                "state": cloud.state,
                "weight": cloud.weight,
                "loss": cloud.loss,
                "up_bytes": cloud.up_bytes,
                "down_bytes": cloud.down_bytes,
            }
            for cloud in outcome.clouds
        ],
        "bytes": outcome.message_bytes,
        "limits": outcome.limits,
        "encrypted_fraction": outcome.encrypted_fraction,
        "entropy": [upload.entropy for upload in outcome.uploads],
    }
    if outcome.opened_by is not None:
        by = outcome.opened_by
        record["opened_by"] = {
            "members": by.members,
            "endorsed": list(by.endorsed),
            "answered": list(by.answered),
            "silent": [
                {"member": member, "reason": reason} for member, reason in sorted(by.silent.items())
            ],
        }
    if outcome.zeroed is not None:
        record["zeroed"] = outcome.zeroed
    if outcome.skipped:
        record["skipped"] = outcome.skipped
    if outcome.lost is not None:
        record["lost"] = {
            "purpose": outcome.lost.purpose,
            "convicted_clouds": list(outcome.lost.clouds),
            "convicted_members": list(outcome.lost.members),
            "suspects": [
                {"cloud": cloud, "member": member} for cloud, member in outcome.lost.suspects
            ],
            "opened": list(outcome.lost.opened),
            "silent": [
                {"member": member, "reason": reason}
                for member, reason in sorted(outcome.lost.silent.items())
            ],
        }
    if outcome.privacy is not None:
        record["privacy"] = asdict(outcome.privacy)
    return record


@contextmanager
def quiet_ranges() -> Iterator[None]:
    """Leave out the warnings about single uploads: records and report tell of whole runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VeilsumWarning)
        yield


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Have PyTorch use algorithms that give the same bits each time; restored afterwards.

    Parameters
    ----------
    threads : int
        For training on the CPU; 0 for PyTorch's own choice.
    """
    before = bool(torch.are_deterministic_algorithms_enabled())
    threads_before = torch.get_num_threads()
    # cuBLAS reads it when it starts; without it, its results may differ between runs.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.set_num_threads(threads_before)
