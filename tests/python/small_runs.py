"""Small federations for the tests of the loop: real patients, tiny networks, few rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from veilsum.training.config import TrainConfig, with_overrides
from veilsum.training.run import Federation, spread


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks train on one thread, as the loop has it; several would only wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., TrainConfig]:
    """A function from settings to a small, quick configuration."""

    def make(*settings: str) -> TrainConfig:
        small = [
            f'run.directory="{tmp_path / "runs"}"',
            "run.device=cpu",
            "run.threads=1",
            "run.live=off",
            "run.tensorboard=false",
            "model.hidden=[8]",
            "training.rounds=2",
            "training.epochs=1",
            "training.batch_size=256",
            "training.learning_rate=0.005",
        ]
        return TrainConfig.from_mapping(with_overrides({}, [*small, *settings]))

    return make


@pytest.fixture
def config(make_config: Callable[..., TrainConfig]) -> TrainConfig:
    return make_config()


@pytest.fixture
def federation(config: TrainConfig) -> Federation:
    return spread(config)
