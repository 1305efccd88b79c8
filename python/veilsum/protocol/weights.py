"""Client weights: how much a cloud's update counts in the mean.

Federated loop. A weight is computed and applied by the cloud itself, before its update is rounded
and encrypted (SECURITY.md, rule 3: weights that the aggregator applies could reveal single
ephemeral keys). The weight travels inside the encrypted upload too, so that the opened sum of
weights normalises the opened sum of weighted updates (equation 6): nobody learns a single cloud's
weight, and the mean stays right when a cloud is missing.

Every rule names a public limit that its weights never exceed: the codec's range for them. Rules
whose weights mean something only relative to each other (`agreed`) are first turned into shares
through small encrypted sums: `shares.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from veilsum.arguments import shown
from veilsum.errors import ParameterError

REFERENCE_BANDWIDTH_BPS = 1e9
"""Bandwidths count relative to this public one; shares do not depend on it."""


@dataclass(frozen=True)
class LocalFacts:
    """What a cloud knows of its own round.

    Parameters
    ----------
    rows : int
        Its training rows.
    loss : float
        Mean training loss over the round's last epoch.
    bandwidth_bps : float
        Of its link, in bits a second.
    """

    rows: int
    loss: float
    bandwidth_bps: float = REFERENCE_BANDWIDTH_BPS


def dynamic_weight(
    loss: float, rows: float, bandwidth_bps: float, exponent: float, form: str = "text"
) -> float:
    """Return the dynamic weight of equation 5, not yet normalised.

    The paper prints L / (|D| B^alpha) and says under it that a lower loss, more data and a wider
    link give more weight, which is the reciprocal. The text's meaning is the default.

    Parameters
    ----------
    loss : float
        Local training loss L; above 0, finite.
    rows : float
        Data size |D|; above 0, finite.
    bandwidth_bps : float
        Bandwidth B; above 0, finite.
    exponent : float
        alpha; finite, at least 0. With 0 the bandwidth has no effect.
    form : {"text", "printed"}
        |D| B^alpha / L, or L / (|D| B^alpha).

    Raises
    ------
    veilsum.ParameterError
        When an argument is out of range, or the weight is no finite number above 0.
    """
    for name, value in (("loss", loss), ("rows", rows), ("bandwidth_bps", bandwidth_bps)):
        if not (math.isfinite(value) and value > 0):
            raise ParameterError(
                f"{name} is {shown(value)}; a dynamic weight needs a finite number above 0"
            )
    if not (math.isfinite(exponent) and exponent >= 0):
        raise ParameterError(f"alpha is {shown(exponent)}; must be finite and at least 0")
    if form not in ("text", "printed"):
        raise ParameterError(f'form is {shown(form)}; must be "text" or "printed"')
    try:
        weight = float(rows * bandwidth_bps**exponent / loss)
        weight = weight if form == "text" else 1 / weight
    except (OverflowError, ZeroDivisionError):
        weight = math.inf
    if not (math.isfinite(weight) and weight > 0):
        raise ParameterError(
            f"the dynamic weight of the cloud's loss, rows and bandwidth with alpha "
            f"{shown(exponent)} is no finite number above 0; use a smaller alpha"
        )
    return weight


def normalised(weights: Sequence[float]) -> list[float]:
    """Return shares that sum to 1 (equation 6).

    Parameters
    ----------
    weights : sequence of float
        Finite, above 0, at least one.

    Raises
    ------
    veilsum.ParameterError
        When a weight is not.
    """
    for index, weight in enumerate(weights):
        if not (math.isfinite(weight) and weight > 0):
            raise ParameterError(f"weight {index} is {weight}; weights are finite and above 0")
    if not weights:
        raise ParameterError("there are no weights; a mean needs at least one")
    largest = max(weights)  # dividing by it first keeps the sum from overflowing
    total = math.fsum(weight / largest for weight in weights)
    return [weight / largest / total for weight in weights]


def check_cap(cap: float, clients: int) -> None:
    """Refuse a cap that so many clouds cannot keep.

    Parameters
    ----------
    cap : float
        Largest share of one cloud.
    clients : int
        How many clouds there are.

    Raises
    ------
    veilsum.ParameterError
        When the cap is below 1 / clients (somebody has to exceed it), above 1, or no number.
    """
    if not (0 < cap <= 1) or cap * clients < 1 - 1e-9:
        raise ParameterError(
            f"the largest share of a cloud is {shown(cap)}; with {shown(clients)} clouds it must "
            f"be at least 1/{shown(clients)} and at most 1"
        )


def capped(weights: Sequence[float], cap: float) -> list[float]:
    """Return shares of which none exceeds the cap, by water-filling.

    Whoever would exceed the cap gets exactly the cap; what they give up goes to the others in
    proportion, so the others keep their ratios; again, until nobody exceeds it.

    Parameters
    ----------
    weights : sequence of float
        Finite, above 0; not necessarily normalised.
    cap : float
        From 1 / len(weights) to 1.

    Returns
    -------
    list of float
        They sum to 1.

    Raises
    ------
    veilsum.ParameterError
        When a weight or the cap is out of range.
    """
    shares = normalised(weights)
    check_cap(cap, len(shares))
    held: set[int] = set()
    while True:
        free = math.fsum(share for index, share in enumerate(shares) if index not in held)
        factor = max(1 - cap * len(held), 0.0) / free if free > 0 else 0.0
        over = {
            index
            for index, share in enumerate(shares)
            if index not in held and exceeds(share * factor, cap)
        }
        if not over:
            return [
                cap if index in held else min(share * factor, cap)
                for index, share in enumerate(shares)
            ]
        held |= over


def exceeds(share: float, cap: float) -> bool:
    """Return whether a share is beyond the cap by more than rounding.

    Parameters
    ----------
    share, cap : float
        From 0 to 1.
    """
    return share > cap * (1 + 1e-9)


class WeightRule(Protocol):
    """Turns a cloud's facts into its weight."""

    @property
    def limit(self) -> float:
        """No weight that enters a sum of updates exceeds this; public."""
        ...

    @property
    def agreed(self) -> bool:
        """Whether weights are relative and become shares through an encrypted sum first."""
        ...

    @property
    def cap(self) -> float:
        """No cloud's share exceeds this; 1 without a cap."""
        ...

    def weight(self, facts: LocalFacts) -> float:
        """Return the weight, above 0; at most `limit` where it is not `agreed`.

        Parameters
        ----------
        facts : LocalFacts
            Of the cloud's round.
        """
        ...


@dataclass(frozen=True)
class UniformWeights:
    """Every cloud counts the same."""

    agreed = False
    cap = 1.0

    @property
    def limit(self) -> float:
        """No weight exceeds this; public."""
        return 1.0

    def weight(self, facts: LocalFacts) -> float:  # noqa: ARG002
        """Return 1.

        Parameters
        ----------
        facts : LocalFacts
            Of the cloud's round.
        """
        return 1.0


@dataclass(frozen=True)
class SampleWeights:
    """A cloud counts by its rows, as in federated averaging.

    Weights have mean 1 over all clouds, so that weighted updates use the same range as plain ones.

    Parameters
    ----------
    clients : int
        How many clouds there are.
    total_rows : float
        Rows of all clouds together, from an encrypted sum.
    """

    clients: int
    total_rows: float

    agreed = False
    cap = 1.0

    @property
    def limit(self) -> float:
        """No weight exceeds this; public."""
        return float(self.clients)

    def weight(self, facts: LocalFacts) -> float:
        """Return the cloud's rows over the mean rows of a cloud.

        Parameters
        ----------
        facts : LocalFacts
            Of the cloud's round.
        """
        return self.clients * facts.rows / self.total_rows


@dataclass(frozen=True)
class DynamicWeights:
    """A cloud counts by loss, rows and bandwidth: equation 5.

    Rows count relative to the mean rows of a cloud and bandwidths relative to
    `REFERENCE_BANDWIDTH_BPS`; both are public, and neither changes a share.

    Parameters
    ----------
    clients : int
        How many clouds there are.
    total_rows : float
        Rows of all clouds together, from an encrypted sum.
    exponent : float
        alpha.
    form : str
        "text" or "printed", as `dynamic_weight` has it.
    """

    clients: int
    total_rows: float
    exponent: float = 0.5
    form: str = "text"

    agreed = True
    cap = 1.0

    @property
    def limit(self) -> float:
        """No weight that enters a sum of updates exceeds this; public."""
        return float(self.clients)

    def weight(self, facts: LocalFacts) -> float:
        """Return the weight relative to other clouds'.

        Parameters
        ----------
        facts : LocalFacts
            Of the cloud's round.

        Raises
        ------
        veilsum.ParameterError
            When a fact is zero or not finite.
        """
        return dynamic_weight(
            facts.loss,
            self.clients * facts.rows / self.total_rows,
            facts.bandwidth_bps / REFERENCE_BANDWIDTH_BPS,
            self.exponent,
            self.form,
        )


@dataclass(frozen=True)
class CappedWeights:
    """Another rule, with no share above a cap.

    Parameters
    ----------
    rule : WeightRule
        The weights before the cap.
    cap : float
        Largest share, below 1.
    clients : int
        Most clouds that a sum may have.
    """

    rule: WeightRule
    cap: float
    clients: int

    agreed = True

    @property
    def limit(self) -> float:
        """No weight that enters a sum of updates exceeds this; public."""
        return self.clients * self.cap

    def weight(self, facts: LocalFacts) -> float:
        """Return the weight relative to other clouds', before the cap.

        Parameters
        ----------
        facts : LocalFacts
            Of the cloud's round.
        """
        return self.rule.weight(facts)


def weight_rule(
    name: str,
    clients: int,
    total_rows: float,
    *,
    exponent: float = 0.5,
    form: str = "text",
    max_share: float = 1.0,
) -> WeightRule:
    """Make the rule that a configuration asks for.

    Parameters
    ----------
    name : str
        "samples", "uniform" or "dynamic".
    clients : int
        How many clouds there are.
    total_rows : float
        Rows of all clouds together.
    exponent : float
        alpha of dynamic weights.
    form : str
        Of dynamic weights.
    max_share : float
        No cloud's share exceeds it; 1 for no cap.

    Raises
    ------
    veilsum.ParameterError
        When so many clouds cannot keep the cap.
    """
    rule: WeightRule = UniformWeights()
    if name == "samples":
        rule = SampleWeights(clients, total_rows)
    elif name == "dynamic":
        rule = DynamicWeights(clients, total_rows, exponent, form)
    if max_share >= 1:
        return rule
    check_cap(max_share, clients)
    return CappedWeights(rule, max_share, clients)
