"""Veilsum's steps, one at a time, over data whose sum is known.

Comparison layer, bottom; the benchmark suite imports it too. It uses the public API of `veilsum`
as a user would.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from veilsum._core import Aggregate, SumKey, Upload
from veilsum.api.decrypting import decrypt
from veilsum.api.encrypting import encrypt
from veilsum.api.opening import keygen, open_sum
from veilsum.api.pads import PadStore
from veilsum.api.plans import Plan
from veilsum.api.rounds import Round
from veilsum.api.summing import weighted_sum
from veilsum.arguments import check_whole
from veilsum.errors import VeilsumError

__all__ = ["LIMIT", "Sum", "check_mean", "make_update"]

LIMIT = 1.0
PATTERN = 1 << 20  # longer updates repeat a random pattern: only speed depends on nothing but size
CHUNK = 1 << 24

Floats = npt.NDArray[np.float32]


def make_update(size: int, seed: int = 0) -> Floats:
    """Return `size` float32 values in [-1, 1), the same for the same seed."""
    rng = np.random.default_rng(check_whole("seed", seed))
    pattern = rng.random(min(check_whole("size", size), PATTERN), dtype=np.float32) * np.float32(
        2
    ) - np.float32(1)
    return pattern if size <= PATTERN else np.resize(pattern, size)


def check_mean(mean: Floats, updates: list[Floats], plan: Plan, limit: float = LIMIT) -> None:
    """Make sure that `mean` is the mean of `updates` within what quantising allows.

    The integer sum is exact, so the mean is off by at most the mean of the updates' quantisation
    errors, half a step each and 2^-22 of the limit for arithmetic in float32, plus two roundings to
    float32 of values up to `limit`.

    Raises
    ------
    veilsum.VeilsumError
        When it is not.
    """
    step = limit / (2 ** (plan.value_bits - 1) - 1)
    bound = step / 2 + limit * (2.0**-22 + 2.0**-23)
    if any(mean.shape != update.shape for update in updates):
        raise VeilsumError(f"the mean has shape {mean.shape}, the updates another one")
    for start in range(0, mean.size, CHUNK):
        part = slice(start, start + CHUNK)
        wanted = np.mean([update[part] for update in updates], axis=0, dtype=np.float64)
        error = float(np.abs(mean[part] - wanted).max())
        if not error <= bound:
            raise VeilsumError(f"the opened mean is off by {error:g}; must be within {bound:g}")


class Sum:
    """One round in the making: its plan, keys and updates.

    Parameters
    ----------
    size : int
        Values of an update.
    clients : int
        What the plan is made for.
    updates : int
        How many distinct updates there are; the round sums this many.
    plan : dict, optional
        More of the plan's parameters.
    """

    def __init__(self, size: int, *, clients: int = 10, updates: int = 2, **plan: Any) -> None:
        self.size = size
        self.plan = Plan(clients=clients, **plan)
        self.secret, self.public = keygen(self.plan)
        self.updates = [make_update(size, seed) for seed in range(updates)]
        self.round = Round(self.plan, self.public, size=size, limit=LIMIT)
        self.uploads: list[Upload] = []
        self.total: Aggregate | None = None
        self.key: SumKey | None = None

    def encrypt(self, index: int = 0, threads: int | None = 1) -> Upload:
        """Encrypt one update."""
        return encrypt(self.round, self.updates[index], threads=threads)

    def encrypt_from_ready_pads(
        self, index: int = 0, threads: int | None = 1
    ) -> tuple[float, Upload]:
        """Return the upload of one update from pads that are all ready, and the seconds it took.

        Making the pads is not timed.
        """
        with PadStore(self.round, budget_bytes=self.round.pad_bytes) as pads:
            if not pads.wait():
                raise VeilsumError("the pads were not made")
            start = time.perf_counter()
            upload = encrypt(self.round, self.updates[index], threads=threads, pads=pads)
            return time.perf_counter() - start, upload

    def upload_all(self, threads: int | None = 1) -> list[Upload]:
        """Encrypt every update; keeps the uploads."""
        self.uploads = [self.encrypt(index, threads) for index in range(len(self.updates))]
        if any(upload.clipped for upload in self.uploads):
            raise VeilsumError("values were clipped; the sum is not that of the updates")
        return self.uploads

    def sum(self, threads: int | None = 1) -> Aggregate:
        """Sum the uploads."""
        return weighted_sum(self.round, self.uploads, threads=threads)

    def open(self, threads: int | None = 1) -> None:
        """Sum the uploads and open the sum, so that `decrypt` can run; frees the uploads."""
        if not self.uploads:
            self.upload_all(threads)
        self.total = self.sum(threads)
        self.uploads = []
        self.key = open_sum(self.secret, self.round, self.total)

    def decrypt(self, threads: int | None = 1) -> Floats:
        """Decrypt the opened sum's mean."""
        if self.key is None or self.total is None:
            raise RuntimeError("the sum is not opened yet")
        mean: Floats = decrypt(self.key, self.total, threads=threads)
        return mean

    def check(self, mean: Floats) -> None:
        """Make sure that `mean` is right, as `check_mean` does."""
        check_mean(mean, self.updates, self.plan)
