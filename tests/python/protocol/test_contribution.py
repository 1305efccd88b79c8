"""What an upload carries gives the weighted mean, also when a cloud is missing."""

from __future__ import annotations

import numpy as np
import pytest

import veilsum as vs
from veilsum.protocol.contribution import (
    LOSS_LIMIT,
    Contribution,
    decode,
    encode,
    sum_layout,
    sum_limits,
)
from veilsum.protocol.weights import LocalFacts, SampleWeights, UniformWeights, weight_rule

SHAPES = {"w": np.zeros((3, 2), dtype=np.float32), "b": np.zeros(2, dtype=np.float32)}


def make(seed: int, weight: float, loss: float = 0.5) -> Contribution:
    generator = np.random.default_rng(seed)
    return Contribution(
        {n: generator.normal(0, 0.1, a.shape) for n, a in SHAPES.items()}, weight, loss
    )


def added(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: sum(part[name] for part in parts) for name in parts[0]}


def test_names_and_limits_cover_the_same_things() -> None:
    limits = sum_limits({"w": 1.0, "b": 2.0}, 4.0)
    assert limits.keys() == sum_layout(SHAPES).keys()
    assert limits["weight"] == 4.0
    assert limits["weighted_loss"] == 4.0 * LOSS_LIMIT


@pytest.mark.parametrize("present", [(0, 1, 2), (0, 2), (1,)])
def test_the_mean_is_that_of_those_who_took_part(present: tuple[int, ...]) -> None:
    limits = sum_limits({"w": 4.0, "b": 4.0}, 3.0)
    everyone = [make(0, 1.8, 0.4), make(1, 0.9, 0.7), make(2, 0.3, 1.2)]
    some = [everyone[i] for i in present]
    mean = decode(added([encode(one, limits, 32, None) for one in some]))
    total = sum(one.weight for one in some)
    for name in SHAPES:
        expected = sum(one.weight * one.update[name] for one in some) / total
        np.testing.assert_allclose(mean.update[name], expected, rtol=1e-8)
    assert mean.weight == pytest.approx(total)
    assert mean.loss == pytest.approx(sum(one.weight * one.loss for one in some) / total)


def test_the_weight_is_used_as_it_is_rounded() -> None:
    limits = sum_limits({"w": 4.0, "b": 4.0}, 3.0)
    one = make(0, 1.234567, 0.5)
    parts = encode(one, limits, 6, None)
    weight = float(parts["weight"][0])
    assert weight != one.weight
    assert weight == pytest.approx(one.weight, abs=3.0 / 31 / 2)
    np.testing.assert_array_equal(parts["update.w"], weight * one.update["w"])
    np.testing.assert_allclose(decode(parts).update["w"], one.update["w"], rtol=1e-12)


def test_a_vanishing_weight_is_refused() -> None:
    with pytest.raises(vs.RoundError, match="vanishes next to the largest possible"):
        encode(make(0, 0.01), sum_limits({"w": 1.0, "b": 1.0}, 4.0), 4, None)


@pytest.mark.parametrize(("loss", "kept"), [(-1.0, 0.0), (100.0, LOSS_LIMIT)])
def test_losses_are_cut_to_their_public_bound(loss: float, kept: float) -> None:
    parts = encode(make(0, 1.0, loss), sum_limits({"w": 1.0, "b": 1.0}, 1.0), 16, None)
    assert parts["weighted_loss"][0] == pytest.approx(kept)


def test_a_sum_without_weight_is_refused() -> None:
    with pytest.raises(vs.RoundError, match="sum to 0"):
        decode({"update.w": np.zeros(1), "weight": np.zeros(1), "weighted_loss": np.zeros(1)})


def test_dithering_needs_its_generator_only() -> None:
    limits = sum_limits({"w": 1.0, "b": 1.0}, 1.0)
    one, two = (encode(make(0, 1.0), limits, 8, np.random.default_rng(3)) for _ in range(2))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_sample_weights_have_mean_one_and_respect_their_limit() -> None:
    rows = [2520, 1889, 1260, 630]
    rule = weight_rule("samples", 4, sum(rows))
    weights = [rule.weight(LocalFacts(count, 0.5)) for count in rows]
    assert np.mean(weights) == pytest.approx(1.0)
    assert np.array(weights) / sum(weights) == pytest.approx(np.array(rows) / sum(rows))
    assert max(weights) <= rule.limit
    # Even a cloud that has everything stays within the public range.
    assert SampleWeights(4, 100).weight(LocalFacts(100, 0.5)) <= rule.limit


def test_uniform_weights() -> None:
    rule = weight_rule("uniform", 4, 100)
    assert isinstance(rule, UniformWeights)
    assert rule.weight(LocalFacts(1, 9.0)) == rule.limit == 1.0
