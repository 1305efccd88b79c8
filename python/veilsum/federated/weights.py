"""Client weights: how much a cloud's update counts in the mean.

Federated loop. A weight is computed and applied by the cloud itself, before its update is rounded
and encrypted (rule 3 of the design: weights that the aggregator applies could reveal single
ephemeral keys). The weight travels inside the encrypted upload too, so that the opened sum of
weights normalises the opened sum of weighted updates: nobody learns a single cloud's weight, and
the mean stays right when a cloud is missing.

Every rule names a public limit that its weights never exceed: the codec's range for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class LocalFacts:
    """What a cloud knows of its own round.

    Parameters
    ----------
    rows : int
        Its training rows.
    loss : float
        Mean training loss over the round's last epoch.
    """

    rows: int
    loss: float


class WeightRule(Protocol):
    """Turns a cloud's facts into its weight."""

    @property
    def limit(self) -> float:
        """No weight exceeds this; public."""
        ...

    def weight(self, facts: LocalFacts) -> float:
        """Return the weight, above 0 and at most `limit`.

        Parameters
        ----------
        facts : LocalFacts
            Of the cloud's round.
        """
        ...


@dataclass(frozen=True)
class UniformWeights:
    """Every cloud counts the same."""

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


def weight_rule(name: str, clients: int, total_rows: float) -> WeightRule:
    """Make the rule that a configuration asks for.

    Parameters
    ----------
    name : str
        "samples" or "uniform".
    clients : int
        How many clouds there are.
    total_rows : float
        Rows of all clouds together.
    """
    return SampleWeights(clients, total_rows) if name == "samples" else UniformWeights()
