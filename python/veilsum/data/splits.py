"""Who holds which rows: the held-out rows, and the clouds.

Data layer. A split stands for how patients happen to be spread over hospitals, so it may look at
all rows at once; the training protocol that comes after it may not. Functions take a NumPy
generator and give the same rows for the same generator state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veilsum import ParameterError


def held_out_rows(
    labels: NDArray[np.int64], fraction: float, generator: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split rows into training and held-out ones, the same share of each label.

    Parameters
    ----------
    labels : ndarray of int, shape (rows,)
        What to stratify by.
    fraction : float
        Share held out, of each label, rounded to whole rows.
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    training, held_out : ndarray of int
        Sorted row numbers, disjoint, together all rows.

    Raises
    ------
    veilsum.ParameterError
        When either part would lack a label.
    """
    held_out: list[NDArray[np.intp]] = []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        count = round(fraction * len(rows))
        if not 0 < count < len(rows):
            raise ParameterError(
                f"holding out {fraction:g} of {len(rows)} rows with label {label} leaves one side "
                "without any; choose another fraction"
            )
        held_out.append(rows[:count])
    test = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), test, assume_unique=True), test


def imbalanced_shares(clouds: int, imbalance: float) -> tuple[float, ...]:
    """Return shares proportional to (clouds - k) ** imbalance for k = 0, 1, ...

    Parameters
    ----------
    clouds : int
        How many.
    imbalance : float
        0 for equal shares; 1 gives four clouds 40, 30, 20 and 10 percent.
    """
    sizes = np.arange(clouds, 0, -1, dtype=np.float64) ** imbalance
    return tuple(float(share) for share in sizes / sizes.sum())


def rows_by_order(
    order: NDArray[np.float64], overlap: float, generator: np.random.Generator
) -> NDArray[np.intp]:
    """Return row numbers sorted by a column, with noise so that neighbouring clouds overlap.

    Parameters
    ----------
    order : ndarray, shape (rows,)
        What to sort by, ascending.
    overlap : float
        Standard deviation of the normal noise added before sorting, in standard deviations of
        `order`; infinity is not needed, use a permutation instead.
    generator : numpy.random.Generator
        Source of randomness.
    """
    noise = overlap * order.std() * generator.standard_normal(len(order))
    return np.argsort(order + noise, kind="stable")


def rows_of_clouds(
    order: NDArray[np.intp], shares: Sequence[float]
) -> tuple[NDArray[np.intp], ...]:
    """Cut an order of rows into consecutive clouds.

    Parameters
    ----------
    order : ndarray of int
        Row numbers.
    shares : sequence of float
        Each cloud's share, summing to 1.

    Returns
    -------
    tuple of ndarray of int
        Each cloud's rows, sorted; disjoint, together all of `order`.

    Raises
    ------
    veilsum.ParameterError
        When a cloud would get no row.
    """
    # Rounding the running total keeps every size within one row of its share.
    ends = np.rint(np.cumsum(shares) / np.sum(shares) * len(order)).astype(np.intp)
    clouds = tuple(np.sort(part) for part in np.split(order, ends[:-1]))
    for i, part in enumerate(clouds):
        if not len(part):
            raise ParameterError(
                f"cloud {i + 1} of {len(shares)} would get none of {len(order)} rows; "
                "use fewer clouds or more even shares"
            )
    return clouds
