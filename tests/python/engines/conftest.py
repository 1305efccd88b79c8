"""An OpenFHE round to work with; tests of the engine are skipped where OpenFHE is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from veilsum.engines import openfhe


@pytest.fixture(scope="session", autouse=True)
def available() -> str:
    try:
        return openfhe.describe()
    except vs.BackendUnavailableError:
        pytest.skip("OpenFHE is not available here; `make test-openfhe` has it from a wheel")


@dataclass
class Parties:
    plan: Any
    secret: Any
    public: Any

    def round(self, size: int | None = 5000, **options: Any) -> Any:
        if "like" in options:
            size = None
        return vs.Round(self.plan, self.public, size=size, **options)


@pytest.fixture(scope="session")
def parties(available: str) -> Parties:
    plan = vs.Plan(clients=10, engine="openfhe")
    return Parties(plan, *vs.keygen(plan))


@pytest.fixture(scope="session")
def weighing(available: str) -> Parties:
    """A plan with weights of the aggregator, which takes two primes."""
    plan = vs.Plan(clients=10, weight_bits=8, engine="openfhe")
    return Parties(plan, *vs.keygen(plan))


def uniform(size: int, seed: int = 0, limit: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-limit, limit, size).astype(np.float32)
