"""The sampler: exact coins, distributions against their probability functions, and its edges.

Statistical tests compare counts with exact probabilities by chi-square. Each fails by chance with
probability at most 10^-6 (`FALSE_ALARM`); there are fewer than 40 of them.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import veilsum as vs
from veilsum.privacy import discrete_gaussian as sampler
from veilsum.privacy.discrete_gaussian import (
    MAX_VARIANCE,
    coins,
    discrete_gaussian,
    discrete_laplace,
    uniform_below,
)

FALSE_ALARM = 1e-6


def chi_square_is_plausible(observed: np.ndarray, probabilities: np.ndarray) -> None:
    """Merge cells until each expects 10 or more, then compare with the chi-square distribution."""
    from scipy import stats

    expected = probabilities * observed.sum()
    cells: list[tuple[float, float]] = []
    count = mass = 0.0
    for one, other in zip(observed, expected, strict=True):
        count, mass = count + one, mass + other
        if mass >= 10:
            cells.append((count, mass))
            count = mass = 0.0
    if cells:
        cells[-1] = (cells[-1][0] + count, cells[-1][1] + mass)
    statistic = sum((o - e) ** 2 / e for o, e in cells)
    assert stats.chi2.sf(statistic, len(cells) - 1) > FALSE_ALARM


def histogram(samples: np.ndarray, reach: int) -> np.ndarray:
    """Counts of -reach … reach, with everything beyond in the cells at both ends."""
    cut = np.clip(samples, -reach - 1, reach + 1) + reach + 1
    return np.bincount(cut, minlength=2 * reach + 3)


def with_tails(density: np.ndarray, total: float) -> np.ndarray:
    """Probabilities of the cells of `histogram`."""
    inner = density / total
    tail = (1 - inner.sum()) / 2
    return np.concatenate([[tail], inner, [tail]])


def test_uniform_integers_are_uniform_and_below_their_bound() -> None:
    for bound in (1, 2, 3, 7, 100):
        values = uniform_below(bound, 60_000)
        assert values.max() < bound
        if bound > 1:
            counts = np.bincount(values.astype(np.int64), minlength=bound)
            chi_square_is_plausible(counts, np.full(bound, 1 / bound))
    huge = uniform_below(1 << 62, 1000)
    assert huge.max() > 1 << 60
    # 3 * 2^60 does not divide 2^64: a plain remainder would favour the lower part by a quarter.
    skewed = uniform_below(3 << 60, 60_000)
    parts = np.bincount((skewed >> np.uint64(60)).astype(np.int64), minlength=3)
    chi_square_is_plausible(parts, np.full(3, 1 / 3))
    for bound in (0, -1, (1 << 62) + 1):
        with pytest.raises(vs.ParameterError, match="bound"):
            uniform_below(bound, 1)


@pytest.mark.parametrize("fraction", [Fraction(0), Fraction(1, 7), Fraction(2, 3), Fraction(1)])
@pytest.mark.parametrize("scale", [1, 1 << 50])
def test_coins_have_exponential_probabilities(fraction: Fraction, scale: int) -> None:
    a, b = fraction.numerator * scale, fraction.denominator * scale
    up = int(coins(np.full(100_000, a, dtype=np.uint64), b).sum())
    probability = math.exp(-float(fraction))
    if fraction == 0:
        assert up == 100_000
    else:
        chi_square_is_plausible(
            np.array([up, 100_000 - up]), np.array([probability, 1 - probability])
        )


def test_the_slow_coin_is_the_same_coin() -> None:
    up = sum(sampler._slow_coin(2 << 80, 3 << 80) for _ in range(20_000))
    p = math.exp(-2 / 3)
    chi_square_is_plausible(np.array([up, 20_000 - up]), np.array([p, 1 - p]))


@pytest.mark.parametrize("scale", [1, 2, 5, 40])
def test_the_discrete_laplace_has_its_distribution(scale: int) -> None:
    samples = discrete_laplace(scale, 100_000)
    assert samples.size == 100_000
    reach = 12 * scale
    x = np.arange(-reach, reach + 1)
    q = math.exp(-1 / scale)
    chi_square_is_plausible(
        histogram(samples, reach), with_tails(q ** np.abs(x), (1 + q) / (1 - q))
    )


@pytest.mark.parametrize("variance", [1, 2, 3, 9, 100, 12_345])
def test_the_discrete_gaussian_has_its_distribution(variance: int) -> None:
    samples = discrete_gaussian(variance, 200_000)
    assert samples.size == 200_000
    reach = 6 * math.isqrt(variance) + 2
    far = np.arange(-40 * reach, 40 * reach + 1, dtype=np.float64)
    total = math.fsum(np.exp(-(far**2) / (2 * variance)))
    x = np.arange(-reach, reach + 1, dtype=np.float64)
    probabilities = with_tails(np.exp(-(x**2) / (2 * variance)), total)
    chi_square_is_plausible(histogram(samples, reach), np.maximum(probabilities, 0))


def test_the_chi_square_would_notice_another_variance() -> None:
    samples = discrete_gaussian(9, 200_000)
    x = np.arange(-20, 21, dtype=np.float64)
    density = np.exp(-(x**2) / (2 * 9.3))
    with pytest.raises(AssertionError):
        chi_square_is_plausible(histogram(samples, 20), with_tails(density, density.sum()))


@pytest.mark.parametrize("variance", [10_000_000, MAX_VARIANCE])
def test_large_variances_take_the_same_steps(variance: int) -> None:
    samples = discrete_gaussian(variance, 100_000)
    deviation = math.sqrt(variance)
    # Sample mean and variance, within 5 standard errors.
    assert abs(samples.mean()) < 5 * deviation / math.sqrt(100_000)
    assert abs(samples.var() / variance - 1) < 5 * math.sqrt(2 / 100_000)
    # Cells of half a deviation against the continuous Gaussian: cells hold thousands of integers.
    from scipy import stats

    edges = np.arange(-4, 4.1, 0.5)
    counts = np.histogram(samples / deviation, np.concatenate([[-np.inf], edges, [np.inf]]))[0]
    chi_square_is_plausible(counts, np.diff(np.concatenate([[0], stats.norm.cdf(edges), [1]])))


def test_large_candidates_are_decided_in_python_s_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    slow = sampler._slow_accept

    def watch(numerator: int, denominator: int) -> bool:
        seen.append(numerator)
        return slow(numerator, denominator)

    monkeypatch.setattr(sampler, "_slow_accept", watch)
    discrete_gaussian(MAX_VARIANCE, 50_000)
    # A candidate of 8 scales and more is beyond 2^31: e^-8 of 70,000.
    assert seen
    assert min(seen) >= 1 << 62


def test_both_paths_accept_alike() -> None:
    # exp(-9/4): through words, and through Python's integers.
    denominator = 4 << 40
    offset = np.full(50_000, 3 << 20, dtype=np.int64)
    fast = int(sampler._accept(offset, denominator).sum())
    slow = sum(sampler._slow_accept((3 << 20) ** 2, denominator) for _ in range(20_000))
    p = math.exp(-9 / 4)
    chi_square_is_plausible(np.array([fast, 50_000 - fast]), np.array([p, 1 - p]))
    chi_square_is_plausible(np.array([slow, 20_000 - slow]), np.array([p, 1 - p]))


def test_samples_are_independent_of_numpy_s_generator() -> None:
    np.random.seed(1)  # noqa: NPY002 - the point is that the global generator has no say
    one = discrete_gaussian(10_000, 1000)
    np.random.seed(1)  # noqa: NPY002
    assert not np.array_equal(one, discrete_gaussian(10_000, 1000))


@pytest.mark.parametrize("variance", [0, -1, MAX_VARIANCE + 1])
def test_variances_out_of_range_are_refused(variance: int) -> None:
    with pytest.raises(vs.ParameterError, match="variance"):
        discrete_gaussian(variance, 10)


def test_no_samples_are_no_samples() -> None:
    assert discrete_gaussian(5, 0).size == 0
    with pytest.raises(vs.ParameterError, match="-1 samples"):
        discrete_gaussian(5, -1)
