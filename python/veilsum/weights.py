"""Weights of a sum: the client's own, and the aggregator's as integers that a plan can hold.

Layer: Python API, bottom, under crypto. It knows numbers and plans, never uploads.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from veilsum.arguments import check_number
from veilsum.errors import HeadroomError, ParameterError, VeilsumWarning

__all__ = ["check_client_weight", "fit_weights"]

#: No upload's share of a sum may differ from what was asked for by more, without a warning.
SHARE_ERROR = 0.01


def check_client_weight(weight: Any) -> float:
    """Check the weight that a client multiplies its update by.

    Parameters
    ----------
    weight : object
        A finite number above 0.

    Returns
    -------
    float
        The number.

    Raises
    ------
    ParameterError
        When it is anything else.
    """
    number = check_number("weight", weight)
    if isinstance(weight, bool) or not (math.isfinite(number) and number > 0):
        raise ParameterError(
            "the client's weight is 0, below 0 or not finite; it must be finite and above 0: a "
            "client that is not to count takes no part in the round"
        )
    return number


def fit_weights(plan: Any, given: Sequence[int | float], integers: Sequence[int]) -> None:
    """Check what became of the aggregator's weights: used as they are, or close to it.

    Parameters
    ----------
    plan : Plan
        Of the round.
    given : sequence of int or float
        The weights, finite and above 0.
    integers : sequence of int
        What they became for this plan.

    Raises
    ------
    HeadroomError
        When the plan holds unit weights only and the weights are not all the same.
    """
    if plan.weight_bits == 0 and (len(set(given)) > 1 or set(integers) - {1}):
        raise HeadroomError(
            "the weights are not all 1, but this plan holds unit weights only; let clients apply "
            "their weights (encrypt(..., weight=...), or RowMean to weigh by rows), or plan with "
            "weight_bits >= 1"
        )
    if list(given) == list(integers):
        return
    # Exact: the sum of weights, or one that is whole, may be beyond any float.
    shares = [Fraction(wanted) for wanted in given]
    whole, total = sum(shares), sum(integers)
    off = float(
        max(
            abs(Fraction(used, total) - wanted / whole)
            for used, wanted in zip(integers, shares, strict=True)
        )
    )
    if off > SHARE_ERROR:
        warnings.warn(
            f"the plan's {plan.weight_bits}-bit weights cannot hold these proportions: an "
            f"upload's share of the sum is off by {off:.1%} of the whole; plan with more "
            f"weight_bits, or let clients apply their weights (encrypt(..., weight=...))",
            VeilsumWarning,
            stacklevel=4,  # of who sums: this, plan_weights, the sum
        )
