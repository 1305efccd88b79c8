"""A small known model and rows, for attacks that must succeed and attacks that must fail."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from veilsum.lab.leakage import Victim
from veilsum.learning.model import initial_parameters
from veilsum.learning.options import ModelOptions

COLUMNS = 9


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def rows(generator: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Standardised features, one of them binary, and labels."""
    inputs = generator.standard_normal((64, COLUMNS)).astype(np.float32)
    inputs[:, 1] = generator.integers(0, 2, 64)
    return inputs, generator.integers(0, 2, 64)


@pytest.fixture
def model() -> ModelOptions:
    return ModelOptions(hidden=(64, 16))


@pytest.fixture
def victim(model: ModelOptions) -> Victim:
    return Victim(model, initial_parameters(model, COLUMNS, seed=3))
