"""Who holds which rows: the held-out rows, and the clouds.

Data layer. A split stands for how patients happen to be spread over hospitals, so it may look at
all rows at once; the training protocol that comes after it may not. Functions take a NumPy
generator and give the same rows for the same generator state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import shown
from veilsum.errors import ParameterError

SMALLEST_CLOUD = 10
"""Fewest rows that a Dirichlet split gives a cloud."""

_DRAWS = 1000


def held_out_rows(
    labels: NDArray[np.int64],
    fraction: float,
    generator: np.random.Generator,
    patients: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split rows into training and held-out ones, the same share of each label.

    Where patients have several rows, patients are split and their rows follow: a model must not be
    tested on a patient it was trained on. A patient counts for the highest label of its rows.

    Parameters
    ----------
    labels : ndarray of int, shape (rows,)
        What to stratify by.
    fraction : float
        Share held out, of each label, rounded to whole rows.
    generator : numpy.random.Generator
        Source of randomness.
    patients : ndarray of int, shape (rows,), or None
        Number of the patient each row is of; None where each row is another patient's.

    Returns
    -------
    training, held_out : ndarray of int
        Sorted row numbers, disjoint, together all rows.

    Raises
    ------
    veilsum.ParameterError
        When either part would lack a label.
    """
    if patients is not None:
        names, of_row = np.unique(patients, return_inverse=True)
        highest = np.full(len(names), labels.min(initial=0))
        np.maximum.at(highest, of_row, labels)
        chosen = held_out_rows(highest, fraction, generator)[1]
        inside = np.isin(of_row, chosen)
        return np.flatnonzero(~inside), np.flatnonzero(inside)
    held_out: list[NDArray[np.intp]] = []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        count = round(fraction * len(rows))
        if not 0 < count < len(rows):
            raise ParameterError(
                f"holding out {shown(fraction)} of {len(rows)} rows with label {label} leaves one "
                "side without any; choose another fraction"
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


def rows_of_sites(
    sites: NDArray[np.int64], names: Sequence[str], clouds: int, places: str = "care units"
) -> tuple[tuple[NDArray[np.intp], ...], tuple[str, ...]]:
    """Make each site a cloud.

    Parameters
    ----------
    sites : ndarray of int, shape (rows,)
        Index of each row's site.
    names : sequence of str
        The sites' names.
    clouds : int
        How many clouds are expected.
    places : str
        What sites are, for messages.

    Returns
    -------
    rows : tuple of ndarray of int
        Each cloud's rows, sorted; disjoint, together all.
    cloud_names : tuple of str
        The name of each cloud's site.

    Raises
    ------
    veilsum.ParameterError
        When there are more or fewer sites with rows than clouds.
    """
    present = np.unique(sites)
    if len(present) != clouds:
        listed = ", ".join(f"{names[site]} ({(sites == site).sum()})" for site in present)
        raise ParameterError(
            f"data.clouds is {shown(clouds)}, but the rows come from {len(present)} {places}: "
            f"{listed}; set data.clouds = {len(present)} to make each a cloud, or choose "
            "another data.split"
        )
    rows = tuple(np.flatnonzero(sites == site) for site in present)
    return rows, tuple(names[site] for site in present)


def rows_by_dirichlet(
    classes: NDArray[np.int64],
    clouds: int,
    alpha: float,
    generator: np.random.Generator,
    smallest: int = SMALLEST_CLOUD,
) -> tuple[NDArray[np.intp], ...]:
    """Spread each class over the clouds in proportions drawn from a Dirichlet distribution.

    The usual benchmark of heterogeneity (Hsu et al., "Measuring the effects of non-identical data
    distribution for federated visual classification", 2019): small `alpha` gives each class to few
    clouds, large `alpha` makes clouds alike. Draws that leave a cloud too few rows are thrown away.

    Parameters
    ----------
    classes : ndarray of int, shape (rows,)
        What differs between clouds: labels, or sites.
    clouds : int
        How many.
    alpha : float
        Concentration, above 0.
    generator : numpy.random.Generator
        Source of randomness.
    smallest : int
        Fewest rows of a cloud.

    Returns
    -------
    tuple of ndarray of int
        Each cloud's rows, sorted; disjoint, together all.

    Raises
    ------
    veilsum.ParameterError
        When no draw gives every cloud enough rows.
    """
    parts = [generator.permutation(np.flatnonzero(classes == c)) for c in np.unique(classes)]
    for _ in range(_DRAWS if len(classes) >= clouds * smallest else 0):
        found: list[list[NDArray[np.intp]]] = [[] for _ in range(clouds)]
        for part in parts:
            shares = generator.dirichlet(np.full(clouds, alpha))
            ends = np.rint(np.cumsum(shares)[:-1] * len(part)).astype(np.intp)
            for cloud, rows in zip(found, np.split(part, ends), strict=True):
                cloud.append(rows)
        if min(sum(map(len, cloud)) for cloud in found) >= smallest:
            return tuple(np.sort(np.concatenate(cloud)) for cloud in found)
    raise ParameterError(
        f"{len(classes)} rows of {len(parts)} classes cannot be spread over {shown(clouds)} clouds "
        f"with data.dirichlet_alpha = {shown(alpha)} so that each gets {shown(smallest)}; use a "
        "larger alpha or fewer clouds"
    )
