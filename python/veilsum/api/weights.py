"""Weights of a sum: the client's own, the aggregator's as integers that a plan can hold, and rows.

Layer: Python API, under the steps of a sum. It knows numbers, plans and layouts, never uploads.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Sequence
from fractions import Fraction
from numbers import Real
from typing import Any, Final, cast

import numpy as np

from veilsum.api.plans import Plan
from veilsum.arguments import check_number, check_whole, counted, shown, type_name
from veilsum.errors import HeadroomError, ParameterError, VeilsumWarning
from veilsum.layout.tensors import Layout

__all__ = [
    "MOST_ROWS",
    "ROWS",
    "check_client_weight",
    "check_weight",
    "check_weights",
    "fit_weights",
    "integer_weights",
    "most_rows_of",
    "plan_weights",
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


def integer_weights(weights: Sequence[float], capacity: int) -> list[int]:
    """Turn weights into the integers that an encrypted sum can apply.

    Parameters
    ----------
    weights : sequence of int or float
        Finite and above 0. If all are integers, they are returned as they are; if not, they are
        proportions.
    capacity : int
        What proportions are made to sum to: the plan's max_weight.

    Returns
    -------
    list of int
        Equal proportions become 1 each, which keeps the sum an unweighted one. Others are scaled to
        sum to `capacity` by the largest-remainder method (Hamilton), each at least 1: within 1 of
        its exact share, unless a share below 1 was raised.

    Raises
    ------
    ParameterError
        When a weight is not a number, not finite or not above 0.
    HeadroomError
        When an integer is far more than any plan holds.
    """
    numbers = check_weights(weights)
    if all(isinstance(number, int) for number in numbers):
        for index, number in enumerate(numbers):
            if number >= 2**63:  # more than the core takes; what else is too much, it says itself
                raise HeadroomError(
                    f"weight {index} is {shown(number)}, above this plan's total of {capacity}; a "
                    f"plan with more clients or weight_bits would hold more"
                )
        return cast("list[int]", numbers)
    if len(set(numbers)) == 1:
        return [1] * len(numbers)
    shares = [Fraction(number) for number in numbers]
    result = [1] * len(shares)
    room = capacity
    # Shares below 1 stay at 1 and are set aside; that leaves less for the others, so look again.
    rest = list(range(len(shares)))
    while rest:
        whole = sum((shares[index] for index in rest), Fraction(0))
        large = [index for index in rest if shares[index] * room >= whole]
        room -= len(rest) - len(large)
        if len(large) == len(rest):
            break
        rest = large
    for index in rest:
        result[index] = math.floor(shares[index] * room / whole)
    left = room - sum(result[index] for index in rest)
    lacking = {index: shares[index] * room / whole - result[index] for index in rest}
    for index in sorted(rest, key=lambda index: (-lacking[index], index))[: max(left, 0)]:
        result[index] += 1
    return result


def plan_weights(plan: Plan, weights: Sequence[float], uploads: int) -> list[int]:
    """Turn the aggregator's weights into integers that a plan holds.

    Parameters
    ----------
    plan : Plan
        Of the round.
    weights : sequence of int or float
        As for `weighted_sum`.
    uploads : int
        How many there are.

    Returns
    -------
    list of int
        As `integer_weights` makes them.

    Raises
    ------
    ParameterError
        When a weight is not a number, not finite or not above 0, or there are not as many weights
        as uploads.
    HeadroomError
        When the plan holds unit weights only and the weights are not all the same, or an integer
        is far more than any plan holds.

    Warns
    -----
    VeilsumWarning
        When a share is off by more than 1 % of the whole.
    """
    given = check_weights(weights)
    integers = integer_weights(given, plan.max_weight)
    uploads = check_whole("uploads", uploads)
    if len(integers) != uploads:
        raise ParameterError(
            f"weights has {counted(len(integers), 'number')} for {shown(uploads)} "
            f"{'upload' if uploads == 1 else 'uploads'}; give one for each"
        )
    fit_weights(plan, given, integers)
    return integers


def check_weights(weights: Sequence[float]) -> list[int | float]:
    """Check the aggregator's weights, of whichever engine.

    Parameters
    ----------
    weights : sequence of int or float
        Finite and above 0.

    Returns
    -------
    list of int or float
        The same numbers, of Python's own types.

    Raises
    ------
    ParameterError
        When a weight is not a number, not finite or not above 0.
    """
    return [check_weight(weight, index) for index, weight in enumerate(_listed(weights))]


def _listed(weights: Any) -> list[Any]:
    if hasattr(weights, "tolist"):  # NumPy arrays and torch tensors
        weights = weights.tolist()
    try:
        return list(weights)
    except TypeError:
        raise ParameterError(
            f"weights is {type_name(weights)}; give one number for each upload"
        ) from None


def check_weight(weight: object, index: int) -> int | float:
    """Check one weight of an upload.

    Parameters
    ----------
    weight : object
        Finite and above 0.
    index : int
        The upload's place, for the message.

    Returns
    -------
    int or float
        The same number, of Python's own types.

    Raises
    ------
    ParameterError
        When it is not a number, not finite or not above 0.
    """
    if isinstance(weight, (bool, np.bool_)) or not isinstance(weight, Real):
        raise ParameterError(f"weight {index} is {shown(weight)}; it must be a number")
    number: int | float
    try:
        number = operator.index(cast(Any, weight))
    except TypeError:
        try:
            number = float(weight)
        except OverflowError:  # a fraction, say
            number = math.inf
    # A whole number may be beyond any float.
    if number <= 0 or (isinstance(number, float) and not math.isfinite(number)):
        raise ParameterError(
            f"weight {index} is {shown(number)}; weights are finite and above 0: leave an upload "
            f"that is not to count out of the sum"
        )
    return number
