"""What one upload carries besides the bare update, and how a sum of uploads is read.

Federated loop. An upload holds weight * update for every tensor, the weight, and weight * training
loss. The three sums give the weighted mean update and the weighted mean loss of whoever took part;
no cloud's own weight or loss is ever in the clear.

Error bound. Sums are exact, so with K uploads, weights w_k on the grid, S = sum w_k and a tensor's
grid error e (`Grid.error_bound`), an entry of the opened mean is within K * e / S of
sum(w_k * update_k) / S, unless values were clipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilsum.errors import RoundError
from veilsum.rounding import Grid, dither

UPDATE = "update."
"""Prefix of the names of updates among what an upload holds."""

_WEIGHT = "weight"
_LOSS = "weighted_loss"

LOSS_LIMIT = 8.0
"""Public bound of a training loss; a larger one (worse than 1 in 2,900 a row) is cut to it."""

Tensors = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Contribution:
    """One cloud's part of a round, in the clear; it never leaves the cloud.

    Parameters
    ----------
    update : mapping of str to ndarray, float64
        Local minus global parameters.
    weight : float
        From the weight rule.
    loss : float
        Mean training loss.
    """

    update: Tensors
    weight: float
    loss: float


@dataclass(frozen=True)
class OpenedMean:
    """What a round makes public.

    Parameters
    ----------
    update : dict of str to ndarray, float64
        Weighted mean update.
    weight : float
        Sum of the weights of those who took part.
    loss : float
        Weighted mean training loss, coarse: it has the codec's resolution.
    """

    update: dict[str, NDArray[np.float64]]
    weight: float
    loss: float


def sum_layout(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float64]]:
    """Return an example of what uploads hold, for the round.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        Arrays of the model's shapes.
    """
    layout = {UPDATE + name: np.zeros(array.shape) for name, array in tensors.items()}
    return layout | {_WEIGHT: np.zeros(1), _LOSS: np.zeros(1)}


def sum_limits(limits: Mapping[str, float], weight_limit: float) -> dict[str, float]:
    """Return the ranges of what uploads hold, for the round.

    Parameters
    ----------
    limits : mapping of str to float
        Range of each tensor's weighted updates.
    weight_limit : float
        Of the weight rule.
    """
    ranges = {UPDATE + name: limit for name, limit in limits.items()}
    return ranges | {_WEIGHT: weight_limit, _LOSS: weight_limit * LOSS_LIMIT}


def encode(
    contribution: Contribution,
    limits: Mapping[str, float],
    value_bits: int,
    numbers: np.random.Generator | None,
) -> dict[str, NDArray[np.float64]]:
    """Return what is to be encrypted, with rounding to nearest.

    The weight is rounded to its grid first and used rounded, so that the opened sum of weights is
    exactly the sum of the weights that the updates were multiplied by.

    Parameters
    ----------
    contribution : Contribution
        The cloud's part.
    limits : mapping of str to float
        As `sum_limits` returned them.
    value_bits : int
        Of the plan.
    numbers : numpy.random.Generator or None
        Stochastic rounding of the updates with its numbers; None leaves them as they are.

    Raises
    ------
    veilsum.RoundError
        When the weight is too small to be told from 0 with so few bits.
    """
    weight = float(Grid(limits[_WEIGHT], value_bits).nearest(np.array([contribution.weight]))[0])
    if weight <= 0:
        raise RoundError(
            f"a cloud's weight vanishes next to the largest possible, {limits[_WEIGHT]:g}, at "
            f"{value_bits} bits; use more value_bits or uniform weights"
        )
    parts = {UPDATE + name: weight * array for name, array in contribution.update.items()}
    if numbers is not None:
        grids = {name: Grid(limits[name], value_bits) for name in parts}
        parts = dither(parts, grids, numbers)
    parts[_WEIGHT] = np.array([weight])
    parts[_LOSS] = np.array([weight * min(max(contribution.loss, 0.0), LOSS_LIMIT)])
    return parts


def private_parts(update: Tensors) -> dict[str, NDArray[np.float64]]:
    """Return what is to be encrypted of an update with noise: weight 1, and no loss.

    Parameters
    ----------
    update : mapping of str to ndarray
        On the codec's grid.
    """
    parts = {UPDATE + name: np.asarray(array) for name, array in update.items()}
    return parts | {_WEIGHT: np.ones(1), _LOSS: np.zeros(1)}


def decode(sums: Mapping[str, NDArray[np.float64]]) -> OpenedMean:
    """Turn opened sums into means.

    Parameters
    ----------
    sums : mapping of str to ndarray
        Sums over the uploads, as `sum_layout` names them.

    Raises
    ------
    veilsum.RoundError
        When the weights do not sum to anything above 0.
    """
    weight = float(sums[_WEIGHT][0])
    if not weight > 0:
        raise RoundError(f"the weights of the round sum to {weight:g}; must be above 0")
    return OpenedMean(
        update={
            name[len(UPDATE) :]: np.asarray(total, dtype=np.float64) / weight
            for name, total in sums.items()
            if name.startswith(UPDATE)
        },
        weight=weight,
        loss=float(sums[_LOSS][0]) / weight,
    )
