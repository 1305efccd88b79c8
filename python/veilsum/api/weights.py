"""Weights of a sum: the client's own, the aggregator's as integers that a plan can hold, and rows.

Layer: Python API, bottom, under crypto. It knows numbers, plans and layouts, never uploads.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

from veilsum.arguments import check_number
from veilsum.errors import HeadroomError, ParameterError, VeilsumWarning
from veilsum.layout.tensors import Layout

__all__ = [
    "MOST_ROWS",
    "ROWS",
    "check_client_weight",
    "fit_weights",
    "most_rows_of",
    "refuse_row_mean",
]

#: What the layout of a round that weighs by rows says of itself, and the name of its last tensor.
MOST_ROWS: Final = "veilsum.most_rows"
ROWS: Final = "rows"

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


def most_rows_of(layout: Layout) -> int | None:
    """Return the most rows of a client, where a round weighs by rows.

    Parameters
    ----------
    layout : Layout
        Of the round.

    Returns
    -------
    int or None
        None for every other round.
    """
    text = dict(layout.metadata).get(MOST_ROWS, "")
    fits = layout.named and len(layout.tensors) > 1 and layout.tensors[-1].name == ROWS
    if not fits or not (text.isascii() and text.isdecimal() and len(text) <= 16):
        return None
    number = int(text)
    return number if 1 <= number < 2**53 else None


def refuse_row_mean(layout: Layout, remedy: str) -> None:
    """Refuse a round that weighs by rows where nothing would weigh, and the mean would be wrong.

    Parameters
    ----------
    layout : Layout
        Of the round.
    remedy : str
        What to call instead.

    Raises
    ------
    ParameterError
        When `RowMean` made the round.
    """
    if most_rows_of(layout) is not None:
        raise ParameterError(f"the round weighs by rows, which this call does not do; {remedy}")
