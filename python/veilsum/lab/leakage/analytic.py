"""Records from the gradient of a first linear layer, without any optimisation.

Leakage layer. For a layer a = W x + b the gradient of a batch is dL/dW_i = sum_r d_ir x_r and
dL/db_i = sum_r d_ir, so the row of a unit that only record r activates, divided by its bias entry,
is x_r itself (Phong et al., IEEE TIFS 13, 2018; Geiping et al., NeurIPS 2020; for batches, with
the passive part of Boenisch et al., "When the curious abandon honesty", 2023: units that fire for
a single record give it away, and a batch of one is given away by every unit). Where coordinates
are missing, units that agree in what both have are taken together. Where there is noise, a batch
of one is the rank-one factor that fits all units best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MOST_UNITS = 512
"""Units with the largest bias gradients that are looked at."""

_AGREEMENT = 1e-3
"""How far apart two units' quotients may be, relative to 1 + their size, to be one record's; more
where the numbers themselves are less precise."""

_PLAUSIBLE = 100.0
"""Standardised features beyond this are no record of anyone; such guesses are dropped."""


def first_layer_guesses(weight: Floats, bias: Floats, precision: float = 2.0**-23) -> Floats:
    """Return guesses of records, the best supported first.

    Parameters
    ----------
    weight : ndarray, shape (units, columns)
        Gradient of the first layer's weights, up to a common factor; NaN where not readable.
    bias : ndarray, shape (units,)
        Gradient of its biases, up to the same factor; NaN where not readable.
    precision : float
        Relative precision of both.

    Returns
    -------
    ndarray, shape (guesses, columns)
        At most one for each unit and one for all of them together. Missing columns are 0, the
        mean of a standardised feature.
    """
    found = [_joint_guess(weight, bias), _unit_guesses(weight, bias, precision)]
    guesses = np.nan_to_num(np.concatenate(found), nan=0.0, posinf=np.inf, neginf=-np.inf)
    plausible: Floats = guesses[(np.abs(guesses) <= _PLAUSIBLE).all(axis=1)]
    return plausible


def _unit_guesses(weight: Floats, bias: Floats, precision: float) -> Floats:
    """Return the quotient of each unit, or of each group of units that agree."""
    size = np.abs(np.nan_to_num(bias, nan=0.0))
    units = np.argsort(-size, kind="stable")[:_MOST_UNITS]
    # A unit that no record activates has a gradient of exactly 0.
    units = units[(size[units] > 0) & np.isfinite(weight[units]).any(axis=1)]
    quotients = weight[units] / bias[units, None]
    guesses: list[tuple[int, Floats]] = []
    left = np.ones(len(units), dtype=bool)
    for i in range(len(units)):
        if not left[i]:
            continue
        both = np.isfinite(quotients[i]) & np.isfinite(quotients)
        # Two quotients of rounded numbers: four roundings.
        scale = max(_AGREEMENT, 4 * precision) * (1 + np.abs(quotients[i]))
        apart = (np.abs(quotients - quotients[i]) > scale) & both
        # Two units of one record agree in every column that both have; sharing most columns keeps
        # chance from joining two records.
        enough = both.sum(axis=1) >= max(1, (weight.shape[1] + 1) // 2)
        group = left & ((enough & ~apart.any(axis=1)) | (np.arange(len(units)) == i))
        left &= ~group
        members = quotients[group]
        seen = np.isfinite(members).any(axis=0)
        merged = np.full(weight.shape[1], np.nan)
        merged[seen] = np.nanmedian(members[:, seen], axis=0)
        guesses.append((int(group.sum()), merged))
    guesses.sort(key=lambda pair: -pair[0])
    if not guesses:
        return np.empty((0, weight.shape[1]))
    return np.array([guess for _, guess in guesses])


def _joint_guess(weight: Floats, bias: Floats, steps: int = 20) -> Floats:
    """Return the record of the rank-one factor that fits the readable entries best.

    Alternating least squares on [dW | db] = d (x, 1)^T with gaps (for a batch of one, exact; with
    noise of equal size everywhere, the maximum-likelihood estimate).
    """
    matrix = np.column_stack([weight, bias])
    known = np.isfinite(matrix)
    filled = np.where(known, matrix, 0.0)
    has_bias = known[:, -1]
    if not has_bias.any() or not filled.any():
        return np.empty((0, weight.shape[1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        # Start from the least-squares quotients of the units whose bias entry is there.
        start = filled[has_bias].T @ filled[has_bias, -1]
        factor = start / (known[has_bias].T @ np.square(filled[has_bias, -1]))
        factor = np.nan_to_num(factor, nan=0.0, posinf=0.0, neginf=0.0)
        for _ in range(steps):
            units = (filled @ factor) / (known @ np.square(factor))
            units = np.nan_to_num(units, nan=0.0, posinf=0.0, neginf=0.0)
            factor = (filled.T @ units) / (known.T @ np.square(units))
            factor = np.nan_to_num(factor, nan=0.0, posinf=0.0, neginf=0.0)
            if not factor[-1]:
                return np.empty((0, weight.shape[1]))
            factor = factor / factor[-1]
    return np.asarray(factor[None, :-1], dtype=np.float64)
