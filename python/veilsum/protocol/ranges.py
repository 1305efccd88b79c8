"""Range policies: which values a tensor's updates may take in the next round.

Protocol. A policy decides from public information only: what the last rounds opened to
everyone, and how many values the uploads say were clipped. Every participant runs the same policy
on the same information, so that each can check the ranges of a round that it is offered.

What the ranges give away: they stand in the round, which the aggregator reads. With the adaptive
policy, the aggregator, which never sees an opened mean, learns for each tensor a power of two
near its largest entry, and no more (that is why ranges are rounded up to powers of two). With the
fixed policy it learns nothing. Clip counts are public in every upload: a cloud with unusually
large updates shows it. A wide margin keeps them at zero at the cost of a bit or two of resolution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from veilsum.learning.task import Tensors
from veilsum.protocol.history import State
from veilsum.protocol.options import EncryptionOptions

_SMALLEST_FRACTION = 2.0**-20
"""No range falls below this fraction of the first round's: a model that stood still may move."""

_TENSOR_FRACTION = 1 / 8
"""No tensor's range falls below this fraction of the widest. Clouds that differ pull some tensors
(an output bias, say) in opposite directions; their mean is then near zero while no update is."""

_LARGEST_BOOST = 2.0**8
"""Clip counts come from the clients, so a dishonest one could widen all ranges; this ends it."""

_QUIET_ROUNDS = 5
"""After so many rounds without too much clipping, the boost halves."""


class RangePolicy(Protocol):
    """Decides the ranges of a round."""

    def limits(self) -> dict[str, float]:
        """Return each tensor's limit for the next round."""
        ...

    @property
    def state(self) -> State:
        """All that later ranges follow from, for the history."""
        ...

    def observe(self, mean: Mapping[str, NDArray[np.float64]], clipped: int, values: int) -> None:
        """Take in what a round made public.

        Parameters
        ----------
        mean : mapping of str to ndarray
            The opened mean of each tensor.
        clipped : int
            How many values all uploads clipped.
        values : int
            How many values all uploads held.
        """
        ...


class FixedRange:
    """The same range for all tensors and rounds.

    Parameters
    ----------
    names : iterable of str
        The tensors.
    limit : float
        Their range's end.
    """

    def __init__(self, names: Mapping[str, object], limit: float) -> None:
        self._limits = dict.fromkeys(names, limit)

    @property
    def state(self) -> State:
        """All that later ranges follow from, for the history."""
        return _limits_state(self._limits)

    def limits(self) -> dict[str, float]:
        """Return each tensor's limit for the next round."""
        return dict(self._limits)

    def observe(self, mean: Mapping[str, NDArray[np.float64]], clipped: int, values: int) -> None:
        """Take in what a round made public: nothing changes.

        Parameters
        ----------
        mean : mapping of str to ndarray
            The opened mean of each tensor.
        clipped : int
            How many values all uploads clipped.
        values : int
            How many values all uploads held.
        """


class AdaptiveRange:
    """Follows the largest entry of each tensor's last opened mean.

    The range is `margin` times that entry (or an eighth of the largest tensor's, if that is more),
    rounded up to a power of two, and at least half the last range. All ranges double when more
    than the tolerated share of values was clipped, and after five rounds without that they take
    one doubling back.

    Parameters
    ----------
    names : mapping
        Its keys are the tensors.
    first : float
        Range of the first round.
    margin : float
        Factor over the largest entry: single updates exceed their mean.
    tolerance : float
        Share of clipped values above which all ranges double.
    least : float
        No range falls below this; 0 for none but the policy's own.
    """

    def __init__(
        self,
        names: Mapping[str, object],
        first: float,
        margin: float,
        tolerance: float,
        least: float = 0.0,
    ) -> None:
        self._first = first
        self._least = max(least, first * _SMALLEST_FRACTION)
        self._margin = margin
        self._tolerance = tolerance
        self._boost = 1.0
        self._quiet = 0
        self._limits = dict.fromkeys(names, first)

    @property
    def state(self) -> State:
        """All that later ranges follow from, for the history."""
        return _limits_state(self._limits) | {
            "boost": np.float64(self._boost),
            "quiet": np.int64(self._quiet),
        }

    def limits(self) -> dict[str, float]:
        """Return each tensor's limit for the next round."""
        return dict(self._limits)

    def observe(self, mean: Mapping[str, NDArray[np.float64]], clipped: int, values: int) -> None:
        """Take in what a round made public.

        Parameters
        ----------
        mean : mapping of str to ndarray
            The opened mean of each tensor.
        clipped : int
            How many values all uploads clipped.
        values : int
            How many values all uploads held.
        """
        if clipped > self._tolerance * values:
            self._boost = min(self._boost * 2, _LARGEST_BOOST)
            self._quiet = 0
        else:
            self._quiet += 1
            if self._quiet >= _QUIET_ROUNDS:
                self._boost = max(self._boost / 2, 1.0)
                self._quiet = 0
        largest = {name: float(np.abs(mean[name]).max(initial=0.0)) for name in self._limits}
        common = max(largest.values()) * _TENSOR_FRACTION
        for name, last in self._limits.items():
            wanted = max(largest[name], common) * self._margin * self._boost
            self._limits[name] = max(power_of_two_above(wanted), last / 2, self._least)


def _limits_state(limits: Mapping[str, float]) -> dict[str, NDArray[Any]]:
    return {f"limit.{name}": np.asarray(limit) for name, limit in limits.items()}


def power_of_two_above(value: float) -> float:
    """Return the smallest power of two that is at least `value`, and 0 for 0.

    Parameters
    ----------
    value : float
        At least 0, finite.
    """
    if value == 0:
        return 0.0
    mantissa, exponent = math.frexp(value)  # value = mantissa * 2**exponent, mantissa in [0.5, 1)
    return math.ldexp(1.0, exponent - 1 if mantissa == 0.5 else exponent)


class SeparateRanges:
    """Several policies, each for tensors of its own, so that one kind does not widen another's.

    Parameters
    ----------
    policies : sequence of RangePolicy
        Of different tensors.
    """

    def __init__(self, policies: Sequence[RangePolicy]) -> None:
        self._policies = tuple(policies)

    @property
    def state(self) -> State:
        """All that later ranges follow from, for the history."""
        return {
            f"{number}.{name}": array
            for number, policy in enumerate(self._policies)
            for name, array in policy.state.items()
        }

    def limits(self) -> dict[str, float]:
        """Return each tensor's limit for the next round."""
        return {name: limit for policy in self._policies for name, limit in policy.limits().items()}

    def observe(self, mean: Mapping[str, NDArray[np.float64]], clipped: int, values: int) -> None:
        """Take in what a round made public.

        Parameters
        ----------
        mean : mapping of str to ndarray
            The opened mean of each tensor.
        clipped : int
            How many values all uploads clipped.
        values : int
            How many values all uploads held.
        """
        for policy in self._policies:
            policy.observe(mean, clipped, values)


def range_policy(
    options: EncryptionOptions, names: Mapping[str, object], tensors: Tensors | None = None
) -> RangePolicy:
    """Make the policy that a configuration asks for.

    Parameters
    ----------
    options : EncryptionOptions
        The configuration's section.
    names : mapping
        Its keys are the tensors.
    tensors : Tensors, optional
        Which of them move by other amounts than weights do: each of those has a range of its own.
    """
    kinds = Tensors() if tensors is None else tensors

    def one(first: float, least: float, *members: str) -> RangePolicy:
        mine = dict.fromkeys(members)
        if options.range == "fixed":
            return FixedRange(mine, first)
        margin, tolerance = options.range_margin, options.clip_tolerance
        return AdaptiveRange(mine, first, margin, tolerance, least)

    weights = [name for name in names if name not in kinds.first_limits]
    policies = [one(options.limit, 0.0, *weights)] if weights else []
    for name in names:
        if name in kinds.first_limits:
            least = kinds.least_limits.get(name, 0.0)
            policies.append(one(kinds.first_limits[name], least, name))
    return policies[0] if len(policies) == 1 else SeparateRanges(policies)
