"""Server optimisers against their published recursions, and FedProx's pull."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veilsum.learning.local_training import LocalTrainer
from veilsum.learning.model import initial_parameters
from veilsum.learning.options import ModelOptions, TrainingOptions
from veilsum.learning.server_optimisers import (
    AdaptiveFederated,
    FederatedMomentum,
)
from veilsum.protocol.options import AggregationOptions
from veilsum.protocol.server_step import server_optimiser


def means(rounds: int) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(5)
    return [{"w": 0.1 * generator.standard_normal((3, 2))} for _ in range(rounds)]


@pytest.mark.parametrize("kind", ["fedadam", "fedyogi"])
def test_adaptive_optimisers_follow_algorithm_2(kind: str) -> None:
    options = AggregationOptions(
        server_optimiser=kind, server_learning_rate=0.05, server_momentum=0.8,
        server_second_moment=0.95, server_adaptivity=0.01,
    )  # fmt: skip
    optimiser = server_optimiser(options)
    parameters = {"w": np.ones((3, 2), dtype=np.float32)}
    # Number by number, with plain floats.
    x = [1.0] * 6
    m, v = [0.0] * 6, [0.01**2] * 6
    for mean in means(6):
        parameters = optimiser.step(parameters, mean)
        for i, d in enumerate(mean["w"].ravel().tolist()):
            m[i] = 0.8 * m[i] + 0.2 * d
            if kind == "fedadam":
                v[i] = 0.95 * v[i] + 0.05 * d * d
            else:
                sign = (v[i] > d * d) - (v[i] < d * d)
                v[i] = v[i] - 0.05 * d * d * sign
            x[i] += 0.05 * m[i] / (v[i] ** 0.5 + 0.01)
        # The model is float32 after each round; each rounding is within 2^-24 of values below 2.
        np.testing.assert_allclose(parameters["w"].ravel(), x, atol=6 * 2.0**-23)
    assert parameters["w"].dtype == np.float32


def test_the_two_adaptive_optimisers_differ() -> None:
    one = AdaptiveFederated()
    other = AdaptiveFederated(yogi=True)
    parameters = {"w": np.zeros((3, 2), dtype=np.float32)}
    a, b = dict(parameters), dict(parameters)
    for mean in means(4):
        a, b = one.step(a, mean), other.step(b, mean)
    assert not np.array_equal(a["w"], b["w"])


def test_momentum_adds_up() -> None:
    optimiser = FederatedMomentum(1.0, 0.5)
    parameters = {"w": np.zeros(1, dtype=np.float32)}
    for expected in (1.0, 2.5, 4.25):  # steps of 1, 1.5, 1.75
        parameters = optimiser.step(parameters, {"w": np.ones(1)})
        assert parameters["w"][0] == expected
    plain = FederatedMomentum(1.0, 0.0).step(parameters, {"w": np.ones(1)})
    assert plain["w"][0] == 5.25


@pytest.mark.parametrize(
    ("kind", "rate"), [("fedavg", 1.0), ("fedavgm", 1.0), ("fedadam", 0.01), ("fedyogi", 0.01)]
)
def test_a_learning_rate_of_zero_means_the_optimiser_s_own(kind: str, rate: float) -> None:
    made = server_optimiser(AggregationOptions(server_optimiser=kind))
    same = server_optimiser(AggregationOptions(server_optimiser=kind, server_learning_rate=rate))
    parameters = {"w": np.ones((3, 2), dtype=np.float32)}
    for mean in means(2):
        np.testing.assert_array_equal(
            made.step(parameters, mean)["w"], same.step(parameters, mean)["w"]
        )


def trainer(proximal: float, **options: object) -> LocalTrainer:
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((64, 5)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    settings = TrainingOptions(
        **({"optimiser": "sgd", "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0,
            "batch_size": 64, "epochs": 2, "proximal": proximal} | options)  # type: ignore[arg-type]
    )  # fmt: skip
    model = ModelOptions(hidden=(4,), dropout=0.0)
    return LocalTrainer(
        inputs, labels, model, settings, seed=1, cloud=0, device=torch.device("cpu")
    )


def test_the_proximal_term_is_its_gradient() -> None:
    # Two full-batch steps of plain SGD: the first is at the anchor, where the term has no gradient;
    # the second is shortened by learning rate * mu * (what the first step moved).
    parameters = initial_parameters(ModelOptions(hidden=(4,), dropout=0.0), 5, 1)
    first = trainer(0.0, epochs=1).train(parameters, 1).update
    free = trainer(0.0).train(parameters, 1).update
    pulled = trainer(0.7).train(parameters, 1).update
    for name in parameters:
        np.testing.assert_allclose(pulled[name], free[name] - 0.1 * 0.7 * first[name], atol=2e-7)


def test_a_strong_pull_keeps_the_model_in_place() -> None:
    parameters = initial_parameters(ModelOptions(hidden=(4,), dropout=0.0), 5, 1)

    def length(mu: float) -> float:
        update = trainer(mu, epochs=20).train(parameters, 1).update
        return float(sum(np.square(array).sum() for array in update.values()))

    lengths = [length(mu) for mu in (0.0, 1.0, 5.0)]
    assert lengths[0] > lengths[1] > lengths[2] > 0
