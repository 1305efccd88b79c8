"""Exact samples of the discrete Gaussian, from the operating system's entropy.

Federated loop, bottom. P(x) is proportional to exp(-x^2 / (2 variance)) over the integers. The
algorithms are 1 to 3 of Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential
Privacy" (NeurIPS 2020): rejection from a discrete Laplace, with coins of probability exp(-a/b) made
from uniform integers (von Neumann). All arithmetic is in integers and no floating-point number
decides anything, so there is no rounding for an adversary to use (Mironov 2012). Vectorised in
64-bit words; the few candidates that do not fit go through Python's integers.

The noise protects a client, so it is as secret as the update: it never comes from a run's seed or a
statistical generator. Rejection takes a time that depends on the noise, over the whole vector.
"""

from __future__ import annotations

import math
import os
import secrets

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import check_whole, shown
from veilsum.errors import ParameterError

MAX_VARIANCE = 1 << 28
"""Larger ones would leave 64-bit words in every step."""

_WORD = 1 << 64
_LARGEST_BOUND = 1 << 62

Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]


def uniform_below(bound: int, count: int) -> Words:
    """Return uniform integers from 0 to bound - 1, exactly.

    Parameters
    ----------
    bound : int
        From 1 to 2^62.
    count : int
        How many.
    """
    if not 1 <= bound <= _LARGEST_BOUND:
        raise ParameterError(f"bound is {shown(bound)}; must be from 1 to 2^62")
    made = np.empty(check_whole("count", count), dtype=np.uint64)
    # Words at or above the largest multiple of the bound would favour small remainders.
    last = np.uint64(_WORD // bound * bound - 1)
    have = 0
    while have < count:
        words = np.frombuffer(os.urandom(8 * (count - have)), dtype=np.uint64)
        good = words[words <= last]
        made[have : have + good.size] = good % np.uint64(bound)
        have += good.size
    return made


def coins(numerators: Words, denominator: int) -> Flags:
    """Return coins that come up with probability exp(-numerator / denominator), exactly.

    Parameters
    ----------
    numerators : ndarray of uint64
        One a coin, from 0 to the denominator.
    denominator : int
        From 1 to 2^57.
    """
    result = np.zeros(numerators.size, dtype=np.bool_)
    alive = np.arange(numerators.size)
    step = 1
    while alive.size:
        bound = denominator * step
        if bound > _LARGEST_BOUND:  # about once in 10^35 coins
            for place in alive:
                result[place] = _slow_coin(int(numerators[place]), denominator, step)
            break
        goes_on = uniform_below(bound, alive.size) < numerators[alive]
        result[alive[~goes_on]] = bool(step % 2)
        alive = alive[goes_on]
        step += 1
    return result


def _slow_coin(numerator: int, denominator: int, step: int = 1) -> bool:
    """Return one such coin, for integers of any size."""
    while secrets.randbelow(denominator * step) < numerator:
        step += 1
    return bool(step % 2)


def _unit_coins(count: int) -> Flags:
    return coins(np.ones(count, dtype=np.uint64), 1)


def discrete_laplace(scale: int, count: int) -> NDArray[np.int64]:
    """Return samples with probability proportional to exp(-|x| / scale).

    Parameters
    ----------
    scale : int
        From 1 to 2^15.
    count : int
        How many.
    """
    made: list[NDArray[np.int64]] = []
    have = 0
    while have < count:
        low = uniform_below(scale, (count - have) * 2 + 16)
        low = low[coins(low, scale)]
        high = np.zeros(low.size, dtype=np.int64)
        alive = np.arange(low.size)
        while alive.size:
            alive = alive[_unit_coins(alive.size)]
            high[alive] += 1
        size = low.astype(np.int64) + scale * high
        negative = uniform_below(2, size.size) == 1
        kept = ~(negative & (size == 0))  # or 0 would come twice as often
        made.append(np.where(negative, -size, size)[kept][: count - have])
        have += made[-1].size
    return np.concatenate(made) if made else np.zeros(0, dtype=np.int64)


def discrete_gaussian(variance: int, count: int) -> NDArray[np.int64]:
    """Return samples with probability proportional to exp(-x^2 / (2 variance)).

    Parameters
    ----------
    variance : int
        From 1 to `MAX_VARIANCE`. (The samples' variance is a little below it when it is small.)
    count : int
        How many.

    Raises
    ------
    veilsum.ParameterError
        When an argument is out of range.
    """
    if not 1 <= variance <= MAX_VARIANCE:
        raise ParameterError(f"the noise's variance is {shown(variance)}; must be from 1 to 2^28")
    if check_whole("count", count) < 0:
        raise ParameterError(f"{shown(count)} samples were asked for")
    scale = math.isqrt(variance) + 1
    denominator = 2 * variance * scale * scale
    made = np.empty(count, dtype=np.int64)
    have = 0
    while have < count:
        candidates = discrete_laplace(scale, int((count - have) * 1.4) + 16)
        # Accept with probability exp(-(|y| - variance/scale)^2 / (2 variance)), as one fraction.
        offset = np.abs(candidates) * scale - variance
        accepted = _accept(offset, denominator)
        good = candidates[accepted][: count - have]
        made[have : have + good.size] = good
        have += good.size
    return made


def _accept(offset: NDArray[np.int64], denominator: int) -> Flags:
    """Return coins of probability exp(-offset^2 / denominator)."""
    fits = np.abs(offset) < (1 << 31)
    squares = np.where(fits, offset, 0).astype(np.uint64) ** np.uint64(2)
    whole, rest = np.divmod(squares, np.uint64(denominator))
    accepted = np.array(coins(rest, denominator))
    alive = np.flatnonzero(accepted & (whole > 0))
    used = np.uint64(0)
    while alive.size:  # exp(-whole) is that many coins of exp(-1)
        good = _unit_coins(alive.size)
        accepted[alive[~good]] = False
        used += np.uint64(1)
        alive = alive[good]
        alive = alive[whole[alive] > used]
    for place in np.flatnonzero(~fits):
        accepted[place] = _slow_accept(int(offset[place]) ** 2, denominator)
    return accepted


def _slow_accept(numerator: int, denominator: int) -> bool:
    whole, rest = divmod(numerator, denominator)
    for _ in range(whole):
        if not _slow_coin(1, 1):
            return False
    return _slow_coin(rest, denominator)
