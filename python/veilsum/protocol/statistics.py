"""Pooled statistics: sums over all clouds' rows, as one exact encrypted sum.

Protocol. Means and variances of the features, and the number of rows, are sums over rows; so they
are summed under encryption like updates, at 32 bits a value, and only the totals of all clouds are
opened. No row, and no cloud's own statistics, leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from veilsum.data import MAX_ROWS
from veilsum.protocol.history import STATISTICS
from veilsum.protocol.secure_sum import SecureSum
from veilsum.rounding import Grid

VALUE_BITS = 32
"""Of the plan of counts."""

_GRID = Grid(float(MAX_ROWS), VALUE_BITS)


def statistics_sum(like: Mapping[str, NDArray[np.float64]]) -> SecureSum:
    """Define the sum.

    Parameters
    ----------
    like : mapping of str to ndarray
        What a cloud's task counts; only names and shapes are looked at.
    """
    # Every entry is a sum over rows of numbers within [-1, 1], so MAX_ROWS bounds all of them.
    shapes = {name: np.zeros(array.shape) for name, array in like.items()}
    return SecureSum(STATISTICS, shapes, dict.fromkeys(like, float(MAX_ROWS)), exact=True)


def pooled(clouds: Sequence[Mapping[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    """Sum clouds' statistics in the clear, with the rounding that the encrypted sum has.

    For methods without encryption, so that all of them prepare the same inputs.

    Parameters
    ----------
    clouds : sequence of mapping of str to ndarray
        Each cloud's own.
    """
    totals: dict[str, NDArray[np.float64]] = {}
    for counted in clouds:
        for name, values in counted.items():
            numbers = np.rint(values * (_GRID.levels / _GRID.limit))
            totals[name] = totals[name] + numbers if name in totals else numbers
    return {name: array * _GRID.step for name, array in totals.items()}
