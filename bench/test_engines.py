"""The OpenFHE engine beside the native one: values a second for each step, bytes, precision.

For N = 4096 and 8192 in one prime, and for a plan with weights of the aggregator, which takes two;
on one thread and on all. OpenFHE's steps are those of its context, on residues in memory: digests,
signatures and envelopes are left out on both sides of a comparison. `decrypt` is a decryption share
and the fusion, which is what opening costs. Adding is the core's for both.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from bench.measure import Measure
from bench.profiles import Profile
from veilsum.engines import openfhe
from veilsum.lab.compare.sums import Sum, make_update

CORES = os.cpu_count() or 1
CLIENTS = 10
#: Options of a plan, by the name of the row.
PLANS: dict[str, dict[str, Any]] = {
    "n4096": {"profile": "n4096"},
    "n8192": {"profile": "n8192"},
    "n8192, 2 primes": {"weight_bits": 8},
}
SMALLEST = "n4096"
STEPS = ("encrypt", "share", "decrypt")
EFFICIENCY = 0.85  # issue: of the block loop, on two cores
NATIVE = "native"


class OpenFheSum:
    """A CKKS sum in the making, over values whose sum is known."""

    def __init__(self, name: str, size: int) -> None:
        self.plan = vs.Plan(clients=CLIENTS, engine="openfhe", **PLANS[name])
        self.parameters: Any = self.plan.parameters
        self.context = self.parameters.context
        self.secret, self.public = self.context.keygen(np.empty(0, dtype=np.uint64))
        blocks = max(2, self.parameters.blocks(size))
        self.size = blocks * self.parameters.slots
        self.values = make_update(self.size).astype(np.float64)
        self.upload = self.encrypt(CORES)

    def encrypt(self, threads: int) -> Any:
        return self.context.encrypt(self.public, self.values, threads)

    def share(self, threads: int) -> Any:
        deviation = self.parameters.flooding_deviation
        return self.context.share(self.secret, self.upload, deviation, threads)

    def decrypt(self, threads: int) -> Any:
        return self.context.decrypt(self.upload, self.share(threads), threads)

    def error(self) -> float:
        """Of one upload, in units of the limit; within the plan's bound."""
        found = float(np.abs(self.decrypt(CORES).real - self.values).max())
        assert found <= self.plan.error_bound
        return found


@pytest.fixture(scope="module")
def sums() -> dict[str, OpenFheSum]:
    return {}


def made(sums: dict[str, OpenFheSum], measure: Measure, name: str, size: int) -> OpenFheSum:
    try:
        about = openfhe.describe()
    except vs.BackendUnavailableError as reason:
        measure.skip("engine openfhe", str(reason))
    if name not in sums:
        sums[name] = OpenFheSum(name, size)
        sums[name].about = about  # type: ignore[attr-defined]
    return sums[name]


@pytest.mark.parametrize("threads", sorted({1, CORES}))
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", PLANS)
def test_openfhe(
    measure: Measure,
    profile: Profile,
    sums: dict[str, OpenFheSum],
    name: str,
    step: str,
    threads: int,
) -> None:
    work = made(sums, measure, name, profile.peer_values)
    function = getattr(work, step)
    precision = -math.log2(work.error())
    measure.row(
        lambda: function(threads),
        method=f"openfhe: {name}",
        operation=step,
        values=work.size,
        threads=threads,
        nbytes=int(work.size * work.plan.bytes_per_value) if step == "encrypt" else None,
        case={"engine": "openfhe"},
        note=f"{work.about}, "  # type: ignore[attr-defined]
        f"{work.parameters.statistical_bits} statistical bits, right to {precision:.1f} bits",
    )
    work.error()


@pytest.fixture(scope="module")
def native(profile: Profile) -> Sum:
    work = Sum(profile.peer_values, clients=CLIENTS, updates=2)
    work.open()
    work.upload_all()
    return work


@pytest.mark.parametrize("threads", sorted({1, CORES}))
@pytest.mark.parametrize("step", ["encrypt", "add", "decrypt"])
def test_native(measure: Measure, native: Sum, step: str, threads: int) -> None:
    steps = {"encrypt": native.encrypt, "add": native.sum, "decrypt": native.decrypt}
    function = steps[step]
    result = measure.row(
        lambda: function(threads=threads),
        method=f"{NATIVE}: {native.plan.profile}",
        operation=step,
        values=native.size,
        threads=threads,
        nbytes=native.plan.upload_bytes(native.size) if step == "encrypt" else None,
        case={"engine": NATIVE},
        note=f"{native.plan.value_bits} bits, exact",
    )
    if step == "decrypt":
        native.check(result)


@pytest.mark.parametrize("step", ["encrypt", "decrypt"])
def test_native_against_openfhe(
    measure: Measure, profile: Profile, sums: dict[str, OpenFheSum], native: Sum, step: str
) -> None:
    """Values a second, one thread each, in turn; OpenFHE on the ring that it takes by itself."""
    work = made(sums, measure, SMALLEST, profile.peer_values)
    ours, theirs = getattr(native, step), getattr(work, step)
    times = measure.interleaved(
        {NATIVE: lambda: ours(threads=1), "openfhe": lambda: theirs(1)},
        rounds=max(3, min(profile.ratio_rounds, 9)),
    )
    measure.ratio(
        f"{step}, values a second: native / openfhe engine, per thread",
        times["openfhe"],
        times[NATIVE],
        must=None,
        at_least=True,
        scale=native.size / work.size,
    )
    work.error()


@pytest.mark.parametrize("step", ["encrypt", "decrypt"])
def test_parallel_efficiency(
    measure: Measure, profile: Profile, sums: dict[str, OpenFheSum], step: str
) -> None:
    """Time on one thread over twice the time on two, of the loop over blocks."""
    if CORES < 2:
        measure.skip("parallel efficiency", "there is one core")
    work = made(sums, measure, SMALLEST, profile.peer_values)
    function = getattr(work, step)
    times = measure.interleaved(
        {"one": lambda: function(1), "two": lambda: function(2)},
        rounds=max(3, min(profile.ratio_rounds, 9)),
    )
    measure.ratio(
        f"openfhe {step}: parallel efficiency on two cores",
        times["one"],
        times["two"],
        must=EFFICIENCY,
        at_least=True,
        scale=0.5,
    )
    work.error()
