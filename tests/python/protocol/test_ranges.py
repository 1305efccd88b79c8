"""Range policies use public information only, keep up with updates, and recover from clipping."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from veilsum.protocol.ranges import AdaptiveRange, FixedRange, power_of_two_above, range_policy
from veilsum.training.config import TrainConfig, with_overrides

NAMES = {"a": None, "b": None}


def opened(a: float, b: float) -> dict[str, np.ndarray]:
    return {"a": np.array([a / 2, -a]), "b": np.array([b])}


def test_fixed_ranges_never_move() -> None:
    policy = FixedRange(NAMES, 0.5)
    policy.observe(opened(100, 100), 99, 100)
    assert policy.limits() == {"a": 0.5, "b": 0.5}


def test_adaptive_ranges_follow_the_mean_as_powers_of_two() -> None:
    policy = AdaptiveRange(NAMES, 1.0, 4.0, 0.0)
    assert policy.limits() == {"a": 1.0, "b": 1.0}
    policy.observe(opened(0.3, 0.1), 0, 100)
    assert policy.limits() == {"a": 2.0, "b": 0.5}


def test_ranges_fall_by_half_a_round_at_most_and_rise_at_once() -> None:
    policy = AdaptiveRange(NAMES, 1.0, 4.0, 0.0)
    policy.observe(opened(0.001, 0.001), 0, 100)
    assert policy.limits() == {"a": 0.5, "b": 0.5}
    policy.observe(opened(8.0, 8.0), 0, 100)
    assert policy.limits() == {"a": 32.0, "b": 32.0}


def test_a_tensor_whose_mean_cancels_keeps_a_share_of_the_widest_range() -> None:
    policy = AdaptiveRange(NAMES, 1.0, 4.0, 0.0)
    for _ in range(50):
        policy.observe(opened(1.0, 0.0), 0, 100)
    assert policy.limits() == {"a": 4.0, "b": 0.5}


def test_a_model_that_stands_still_keeps_a_range() -> None:
    policy = AdaptiveRange(NAMES, 1.0, 4.0, 0.0)
    for _ in range(100):
        policy.observe(opened(0.0, 0.0), 0, 100)
    assert set(policy.limits().values()) == {2.0**-20}


def test_clipping_doubles_all_ranges_up_to_an_end_and_quiet_takes_it_back() -> None:
    policy = AdaptiveRange(NAMES, 1.0, 1.0, 0.01)
    policy.observe(opened(1.0, 1.0), 1, 100)  # tolerated
    assert policy.limits() == {"a": 1.0, "b": 1.0}
    for expected in (2.0, 4.0, 8.0):
        policy.observe(opened(1.0, 1.0), 2, 100)
        assert policy.limits() == {"a": expected, "b": expected}
    # A dishonest client that claims clipping for ever does not destroy the resolution.
    for _ in range(100):
        policy.observe(opened(1.0, 1.0), 100, 100)
    assert policy.limits() == {"a": 256.0, "b": 256.0}
    for _ in range(5 * 8 + 8):
        policy.observe(opened(1.0, 1.0), 0, 100)
    assert policy.limits() == {"a": 1.0, "b": 1.0}


def test_two_participants_with_the_same_information_agree() -> None:
    generator = np.random.default_rng(1)
    options = TrainConfig().encryption
    one, two = range_policy(options, NAMES), range_policy(options, NAMES)
    for _ in range(30):
        mean = opened(*generator.lognormal(-5, 3, 2))
        clipped = int(generator.integers(0, 3))
        one.observe(mean, clipped, 1000)
        two.observe(mean, clipped, 1000)
        assert one.limits() == two.limits()


def test_the_configuration_chooses() -> None:
    fixed = TrainConfig.from_mapping(
        with_overrides({}, ["encryption.range=fixed", "encryption.limit=0.125"])
    )
    assert range_policy(fixed.encryption, NAMES).limits() == {"a": 0.125, "b": 0.125}
    assert isinstance(range_policy(TrainConfig().encryption, NAMES), AdaptiveRange)


@given(st.floats(1e-300, 1e300))
def test_power_of_two_above(value: float) -> None:
    power = power_of_two_above(value)
    assert power / 2 < value <= power
    assert math.frexp(power)[0] == 0.5


def test_power_of_two_above_zero() -> None:
    assert power_of_two_above(0.0) == 0.0
