"""Numbers of threads: as configured, one for small networks, all for large ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from veilsum.training.config import TrainConfig
from veilsum.training.environment import usable_cores
from veilsum.training.run import train
from veilsum.training.threads import Threads, choose_threads


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["run.threads=3"], Threads(3, 3)),
        (["run.threads=0"], Threads(1, 1)),
        (["run.threads=0", "model.hidden=[4096, 4096]"], Threads(usable_cores(), 0)),
    ],
)
def test_threads_follow_the_network(
    make_config: Callable[..., TrainConfig], settings: list[str], expected: Threads
) -> None:
    assert choose_threads(make_config(*settings), 9) == expected


def test_any_number_of_threads_gives_the_same_sums(
    make_config: Callable[..., TrainConfig],
) -> None:
    one, two = (
        train(make_config(f"run.threads={threads}", "training.rounds=1")) for threads in (1, 2)
    )
    assert one.summary["environment"]["encryption threads"] == "1"
    assert two.summary["environment"]["encryption threads"] == "2"
    # PyTorch itself may add in another order; networks this small it never splits.
    assert one.records[0]["auc"] == pytest.approx(two.records[0]["auc"], abs=1e-4)
