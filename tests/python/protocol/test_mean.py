"""Each round's opened mean is the plaintext mean, within the derived quantisation bound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from veilsum.learning.task import LocalTask
from veilsum.parties.client import Client
from veilsum.parties.messages import Request, Train
from veilsum.protocol import averaging
from veilsum.protocol.contribution import Contribution
from veilsum.protocol.terms import Terms
from veilsum.rounding import Grid
from veilsum.training.config import TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.run import spread


@pytest.fixture
def contributions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Contribution, float]]:
    """What the clouds encrypt, in the clear, with each weight as rounded."""
    caught: list[tuple[Contribution, float]] = []
    encode = averaging.encode

    def watch(contribution, limits, value_bits, dither):  # type: ignore[no-untyped-def]
        parts = encode(contribution, limits, value_bits, dither)
        caught.append((contribution, float(parts["weight"][0])))
        return parts

    monkeypatch.setattr(averaging, "encode", watch)
    return caught


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
@pytest.mark.parametrize("value_bits", [8, 16, 32])
@pytest.mark.parametrize("weights", ["samples", "uniform"])
def test_opened_means_are_within_the_bound(
    make_config: Callable[..., TrainConfig],
    contributions: list[tuple[Contribution, float]],
    rounding: str,
    value_bits: int,
    weights: str,
) -> None:
    config = make_config(
        f"encryption.value_bits={value_bits}",
        f"encryption.rounding={rounding}",
        f"aggregation.weights={weights}",
        "data.clouds=3",
    )
    method = EncryptedAveraging(config, spread(config).clouds)
    for number in (1, 2, 3):
        contributions.clear()
        before = method.parameters
        outcome = method.run_round(number)
        assert len(contributions) == 3
        total = sum(weight for _, weight in contributions)
        clipped = sum(upload.clipped for upload in outcome.uploads)
        assert clipped == 0
        for name, after in outcome.parameters.items():
            exact = sum(weight * one.update[name] for one, weight in contributions) / total
            grid = Grid(outcome.limits["update." + name], value_bits)
            bound = 3 * grid.error_bound(rounding) / total
            # The model itself is float32: adding the mean rounds once more.
            last = np.abs(after).max() * 2.0**-24
            assert np.abs(after - (before[name] + exact)).max() <= bound + last
        loss = sum(weight * one.loss for one, weight in contributions) / total
        loss_grid = Grid(outcome.limits["weighted_loss"], value_bits)
        assert abs(outcome.train_loss - loss) <= 3 * loss_grid.error_bound("nearest") / total


def test_sample_weights_reach_the_sum(
    make_config: Callable[..., TrainConfig], contributions: list[tuple[Contribution, float]]
) -> None:
    config = make_config()
    clouds = spread(config).clouds
    EncryptedAveraging(config, clouds).run_round(1)
    weights = np.array([weight for _, weight in contributions])
    rows = np.array([len(study) for study in clouds])
    step = 4 / (2**15 - 1)
    np.testing.assert_allclose(weights, 4 * rows / rows.sum(), atol=step / 2)


def test_clipped_values_are_counted_and_logged(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config("encryption.range=fixed", "encryption.limit=1e-6")
    method = EncryptedAveraging(config, spread(config).clouds)
    outcome = method.run_round(1)
    assert all(upload.clipped > 0 for upload in outcome.uploads)
    for name, after in outcome.parameters.items():
        limit = outcome.limits["update." + name]
        assert limit == 1e-6
        # No cloud can move the mean by more than its clipped range.
        assert np.abs(after).max() < 10


def test_clipping_can_be_an_error(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config(
        "encryption.range=fixed", "encryption.limit=1e-6", "encryption.on_clip=error"
    )
    method = EncryptedAveraging(config, spread(config).clouds)
    with pytest.raises(ValueError, match="clip"):
        method.run_round(1)


def test_adaptive_ranges_recover_from_a_bad_start(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config("encryption.limit=1e-5")
    method = EncryptedAveraging(config, spread(config).clouds)
    clipped = [
        sum(upload.clipped for upload in method.run_round(number).uploads)
        for number in range(1, 16)
    ]
    assert clipped[0] > 100
    assert clipped[-1] == 0


def test_a_watched_client_is_a_client(config: TrainConfig) -> None:
    made: list[int] = []

    class Watched(Client):
        def ask(self, request: Request) -> bytes:
            if isinstance(request, Train):
                made.append(request.step)
            return super().ask(request)

    def make(index: int, task: LocalTask, terms: Terms, threads: int | None) -> Client:
        return Watched(index, task, terms, threads=threads)

    EncryptedAveraging(config, spread(config).clouds, make).run_round(1)
    assert made == [1] * 4
