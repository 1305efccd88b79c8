"""Bounds for statistical tests, each with the false-alarm rate it is called with.

`within_chernoff` is exact for every sample size: for X ~ Binomial(n, p), each tail beyond x has a
probability of at most exp(-n KL(x / n || p)) (Chernoff). `chi_square_limit` bounds the chi-square
distribution (Laurent and Massart 2000, lemma 1); the statistic itself is chi-square only in the
limit, so callers keep expected counts of at least a thousand.
"""

from __future__ import annotations

from math import comb, exp, log, sqrt

FALSE_ALARM = 1e-11


def relative_entropy(x: float, p: float) -> float:
    """KL divergence of Bernoulli(x) from Bernoulli(p), 0 < p < 1, in nats."""
    total = 0.0
    if x > 0:
        total += x * log(x / p)
    if x < 1:
        total += (1 - x) * log((1 - x) / (1 - p))
    return total


def within_chernoff(count: int, n: int, p: float, false_alarm: float = FALSE_ALARM) -> bool:
    """False only with a probability of at most `false_alarm` for count ~ Binomial(n, p)."""
    if p in (0.0, 1.0):
        return count == n * p
    return 2 * exp(-n * relative_entropy(count / n, p)) > false_alarm


def chi_square(counts: list[int], probabilities: list[float]) -> float:
    n = sum(counts)
    return sum((c - n * p) ** 2 / (n * p) for c, p in zip(counts, probabilities, strict=True))


def chi_square_limit(degrees: int, false_alarm: float = FALSE_ALARM) -> float:
    """P(chi-square with `degrees` degrees of freedom > limit) <= false_alarm."""
    x = -log(false_alarm)
    return degrees + 2 * sqrt(degrees * x) + 2 * x


def assert_distribution(
    counts: list[int], probabilities: list[float], false_alarm: float = FALSE_ALARM
) -> None:
    """Each bin by Chernoff (together at most `false_alarm`), then all of them by chi-square.

    Together they alarm falsely with a probability of at most 2 * false_alarm.
    """
    assert abs(sum(probabilities) - 1) < 1e-12
    n = sum(counts)
    for place, (count, p) in enumerate(zip(counts, probabilities, strict=True)):
        assert within_chernoff(count, n, p, false_alarm / len(counts)), (place, count, n * p)
    assert min(n * p for p in probabilities) >= 1000
    statistic = chi_square(counts, probabilities)
    assert statistic <= chi_square_limit(len(counts) - 1, false_alarm), statistic


def binomial_probabilities(width: int) -> dict[int, float]:
    """P(k) of a centred binomial: C(2 width, width + k) / 4^width, exact."""
    return {k: comb(2 * width, width + k) / 4**width for k in range(-width, width + 1)}


def bins_with_merged_tails(probabilities: dict[int, float], least: float) -> list[list[int]]:
    """Values grouped so that each group has at least probability `least`: tails are merged."""
    values = sorted(probabilities)
    low = [values[0]]
    while sum(probabilities[v] for v in low) < least:
        low.append(low[-1] + 1)
    high = [-v for v in low]
    middle = [[v] for v in values if v not in low and v not in high]
    return [low, *middle, high]
