"""Are the samplers' distributions the ones the security argument needs?

Keys come fresh from the operating system, so that every run is a new experiment. False-alarm rate
of each test: at most 1e-9 on all levels together (`oracle.statistics.FALSE_ALARM` a comparison).
"""

import itertools
import os

import numpy as np
import pytest

from oracle import ring
from oracle import statistics as stats

SAMPLES = 1 << 20


def fresh_keys(door, key_bytes):
    return door.aes_round_keys(os.urandom(key_bytes))


def count_bins(values, bins):
    return [int(np.isin(values, group).sum()) for group in bins]


def cbd_samples(door, level):
    round_keys = fresh_keys(door, 32)
    parts = [door.sample_cbd(level, round_keys, index, SAMPLES // 8) for index in range(8)]
    return np.concatenate(parts)


def test_centred_binomial_against_exact_probabilities(door, isa_level):
    exact = stats.binomial_probabilities(8)
    samples = cbd_samples(door, isa_level)
    assert abs(samples).max() <= 8
    bins = stats.bins_with_merged_tails(exact, 1000 / SAMPLES)
    stats.assert_distribution(
        count_bins(samples, bins), [sum(exact[v] for v in group) for group in bins]
    )


def test_neighbouring_errors_are_independent(door, isa_level):
    """Disjoint pairs, by the signs of both."""
    exact = stats.binomial_probabilities(8)
    by_sign = {-1: sum(exact[k] for k in range(-8, 0)), 0: exact[0]}
    by_sign[1] = by_sign[-1]
    signs = np.sign(cbd_samples(door, isa_level)).reshape(-1, 2)
    counts, probabilities = [], []
    for first in (-1, 0, 1):
        for second in (-1, 0, 1):
            counts.append(int(((signs[:, 0] == first) & (signs[:, 1] == second)).sum()))
            probabilities.append(by_sign[first] * by_sign[second])
    stats.assert_distribution(counts, probabilities)


def test_bits_of_both_halves_are_independent(door, isa_level):
    """Samples of neighbouring places never share a bit: equal as often as by chance."""
    exact = stats.binomial_probabilities(8)
    agree = sum(p * p for p in exact.values())
    samples = cbd_samples(door, isa_level).reshape(-1, 2)
    same = int((samples[:, 0] == samples[:, 1]).sum())
    assert stats.within_chernoff(same, len(samples), agree)
    opposite = int((samples[:, 0] == -samples[:, 1]).sum())
    assert stats.within_chernoff(opposite, len(samples), agree)


def equal_slices(q, slices):
    """Probability of each slice [ceil(i q / slices), ceil((i + 1) q / slices)) of [0, q)."""
    edges = [-(-i * q // slices) for i in range(slices + 1)]
    return edges, [(b - a) / q for a, b in itertools.pairwise(edges)]


def residues(door, level, q):
    round_keys = fresh_keys(door, 16)
    parts = [
        door.expand_uniform(level, round_keys, index, q, 16384) for index in range(SAMPLES // 16384)
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("limb", [0, 1, 2, 3, None])
def test_residues_are_uniform(door, isa_level, limb):
    """The four primes, and a number that rejects half of all words."""
    q = (1 << 47) + 12345 if limb is None else ring.primes()[limb]
    values = residues(door, isa_level, q)
    assert int(values.max()) < q
    edges, probabilities = equal_slices(q, 512)
    counts = np.histogram(values, bins=np.array(edges, dtype=np.uint64))[0]
    stats.assert_distribution(counts.tolist(), probabilities)
    low = np.bincount((values & np.uint64(511)).astype(np.int64), minlength=512)
    # Each low pattern occurs floor or ceil of q / 512 times among the residues.
    exact = [((q - 1 - r) // 512 + 1) / q for r in range(512)]
    stats.assert_distribution(low.tolist(), exact)


@pytest.mark.parametrize("value", [0.0, 0.125, 0.5, -0.3, 0.9999, 1 / 3, -0.7501])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_stochastic_rounding_is_unbiased(door, isa_level, value, dtype):
    """A value t levels up is rounded up with probability t - floor(t).

    To within 2^-32 in double, and in float, where t is a float and the fraction exact unless t
    lies just below zero, to within 2^-24: far less than 2^18 samples can show.
    """
    bits, count = 16, 1 << 18
    levels = (1 << (bits - 1)) - 1
    held = np.full(count, value, dtype=dtype)
    t = float(held[0] * held.dtype.type(levels))
    words = np.frombuffer(os.urandom(4 * count), dtype=np.uint32)
    digits, _, _ = door.quantise(
        isa_level, held.tobytes(), dtype, 1.0, 1.0, bits, words, dtype == "float32"
    )
    digits = digits.astype(np.int64)
    below = int(np.floor(t))
    ups = int((digits == below + 1 + levels).sum())
    downs = int((digits == below + levels).sum())
    assert ups + downs == count
    assert stats.within_chernoff(ups, count, t - below)
