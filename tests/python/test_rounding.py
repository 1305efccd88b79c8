"""The grid: its points survive the core's own quantisation, and dithering onto it is unbiased."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import veilsum as vs
from veilsum.rounding import Grid, dither

LIMITS = st.floats(1e-12, 1e12)
BITS = st.integers(2, 32)


def core_levels(values: np.ndarray, limit: float, value_bits: int) -> np.ndarray:
    """The core's quantisation as its contract states it, in NumPy doubles."""
    levels = 2 ** (value_bits - 1) - 1
    bounded = np.clip(values, -limit, limit)
    return np.clip(np.rint(bounded * (levels / limit)), -levels, levels)


@given(limit=LIMITS, value_bits=BITS, seed=st.integers(0, 2**32))
def test_grid_points_map_to_themselves(limit: float, value_bits: int, seed: int) -> None:
    grid = Grid(limit, value_bits)
    generator = np.random.default_rng(seed)
    numbers = np.concatenate(
        [
            [-grid.levels, -grid.levels + 1, -1, 0, 1, grid.levels - 1, grid.levels],
            generator.integers(-grid.levels, grid.levels, 200, endpoint=True),
        ]
    ).astype(np.float64)
    points = grid._points(numbers)
    assert (np.abs(points) <= limit).all()
    np.testing.assert_array_equal(core_levels(points, limit, value_bits), numbers)
    np.testing.assert_array_equal(grid.nearest(points), points)
    # Dithering leaves them too, but for the last rounding of a double, which may tip a floor over.
    moved = core_levels(grid.dither(points, generator), limit, value_bits) - numbers
    assert np.abs(moved).max() <= 1
    assert np.count_nonzero(moved) <= 2


@given(limit=LIMITS, value_bits=BITS, seed=st.integers(0, 2**32))
def test_rounded_values_are_within_the_error_bound(
    limit: float, value_bits: int, seed: int
) -> None:
    grid = Grid(limit, value_bits)
    generator = np.random.default_rng(seed)
    values = generator.uniform(-limit, limit, 300)
    nearest = np.abs(grid.nearest(values) - values).max()
    dithered = np.abs(grid.dither(values, generator) - values).max()
    assert nearest <= grid.error_bound("nearest")
    assert dithered <= grid.error_bound("stochastic")


@settings(max_examples=10, deadline=None)
@given(limit=st.floats(1e-6, 1e6), value_bits=st.sampled_from([2, 4, 8, 12, 16, 24, 32]))
def test_the_real_core_sums_grid_points_exactly(limit: float, value_bits: int) -> None:
    plan = vs.Plan(clients=2, value_bits=value_bits)
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, like=np.zeros(300), limit=limit)
    grid = Grid(limit, value_bits)
    generator = np.random.default_rng(value_bits)
    updates = [grid.dither(generator.uniform(-limit, limit, 300), generator) for _ in range(2)]
    uploads = [vs.encrypt(rnd, update, rounding="nearest") for update in updates]
    assert [upload.clipped for upload in uploads] == [0, 0]
    total = vs.weighted_sum(rnd, uploads)
    opened = vs.decrypt(vs.open_sum(secret, rnd, total), total, average=False)
    numbers = sum(core_levels(update, limit, value_bits) for update in updates)
    np.testing.assert_array_equal(opened, numbers * (limit / grid.levels))


def test_values_beyond_the_range_stay_for_the_core_to_count() -> None:
    grid = Grid(1.0, 8)
    values = np.array([-2.0, -1.0, 1.0, np.nextafter(1.0, 2.0), 3.5])
    rounded = grid.dither(values, np.random.default_rng(1))
    np.testing.assert_array_equal(rounded, values)
    np.testing.assert_array_equal(grid.nearest(values), [-1, -1, 1, 1, 1])


@given(
    value_bits=BITS,
    seed=st.integers(0, 2**32),
    limits=st.lists(LIMITS, min_size=1, max_size=4),
    reach=st.sampled_from([0.01, 0.5, 1.0, 1.5]),
)
def test_all_arrays_at_once_give_what_one_after_another_gives(
    value_bits: int, seed: int, limits: list[float], reach: float
) -> None:
    generator = np.random.default_rng(seed)
    parts = {
        str(i): reach * limit * generator.uniform(-1, 1, generator.integers(0, 9, 2))
        for i, limit in enumerate(limits)
    }
    grids = {str(i): Grid(limit, value_bits) for i, limit in enumerate(limits)}
    made = dither(parts, grids, np.random.default_rng(seed))
    again = np.random.default_rng(seed)
    for name, grid in grids.items():
        values = parts[name]
        # The definition, step by step.
        scaled = values * (grid.levels / grid.limit)
        numbers = np.clip(np.floor(scaled + again.random(values.shape)), -grid.levels, grid.levels)
        points = np.clip(numbers * grid.step, -grid.limit, grid.limit)
        wanted = np.where(np.abs(values) > grid.limit, values, points)
        np.testing.assert_array_equal(made[name], wanted)


def test_dithering_is_unbiased() -> None:
    # The mean of n dithered values has a standard error below step / (2 sqrt(n)); six of them
    # leave a false alarm rate below 2e-9.
    grid = Grid(1.0, 4)
    count = 200_000
    generator = np.random.default_rng(7)
    for value in (-0.93, -0.5, 0.013, 0.3, 0.77):
        mean = grid.dither(np.full(count, value), generator).mean()
        assert abs(mean - value) < 6 * grid.step / (2 * math.sqrt(count))


def test_the_same_seed_dithers_the_same() -> None:
    grid = Grid(0.1, 16)
    values = np.random.default_rng(1).normal(0, 0.01, (17, 5))
    one, two = (grid.dither(values, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, grid.dither(values, np.random.default_rng(6)))


@pytest.mark.parametrize("value_bits", [2, 16, 32])
def test_levels_and_step(value_bits: int) -> None:
    grid = Grid(3.0, value_bits)
    assert grid.levels == 2 ** (value_bits - 1) - 1
    assert grid.step * grid.levels == pytest.approx(3.0)
