"""What a cloud does with its own rows: the only code of a training that sees them.

Learning room. A party asks a `LocalTask` for sums over the cloud's rows, then for a `Learner`, and
that for updates; everything secret about summing them happens outside. Rows, losses and updates
leave this room through the encrypting client alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Parameters: TypeAlias = dict[str, NDArray[np.float32]]
"""A model: named arrays, in an order that is the same everywhere."""

ROWS = "rows"
"""Name of the number of rows among the sums that clouds pool; every task has it."""


@dataclass(frozen=True)
class LocalResult:
    """What local training gives.

    Parameters
    ----------
    update : dict of str to ndarray, float64
        Local minus global parameters, in the order of the global ones.
    loss : float
        Mean training loss over the last epoch, natural unit of the task.
    rows : int
        Training rows.
    """

    update: dict[str, NDArray[np.float64]] = field(repr=False)
    loss: float = field(repr=False)
    rows: int = field(repr=False)


COUNT_LIMIT = 2.0**13
"""First range of the change of whole numbers: 8,192 training steps of a cloud that weighs 1."""

FLAG_LIMIT = 4.0
"""That of booleans: a flip is a change of 1, and a cloud may weigh 4 times the average."""


@dataclass(frozen=True)
class Tensors:
    """What the parameters are, beside their values: the same at every cloud.

    Parameters
    ----------
    averaged : frozenset of str
        Those that are no weights but running figures (BatchNorm's means and variances) and
        counts: a server optimiser leaves them alone, their mean is taken as it is.
    first_limits : mapping of str to float
        Ranges of their updates in the first round, where they differ from the configured one.
    least_limits : mapping of str to float
        What those ranges must not fall below later on. The mean of a running figure may stand still
        while clouds that differ move it in opposite directions, and a flag that nobody changed for
        many rounds may flip in the next.
    given : callable or None
        Where somebody outside gives the model of each round (a framework's server): the digest of
        what was given for the round that is due. Clouds sum only where it is the same.
    """

    averaged: frozenset[str] = frozenset()
    first_limits: Mapping[str, float] = field(default_factory=dict)
    least_limits: Mapping[str, float] = field(default_factory=dict)
    given: Callable[[], bytes] | None = None


class Learner(Protocol):
    """Trains a model on one cloud's rows, once the clouds' sums are known."""

    @property
    def tensors(self) -> Tensors:
        """What the parameters are."""
        ...

    def initial(self) -> Parameters:
        """Return the parameters that every cloud starts from: the same bytes at each."""
        ...

    def train(self, parameters: Mapping[str, NDArray[np.float32]], number: int) -> LocalResult:
        """Train from the global parameters; the same again for the same parameters and round.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        number : int
            The round, from 1.
        """
        ...

    def sensitivity(
        self, kind: str, parameters: Mapping[str, NDArray[np.float32]], result: LocalResult
    ) -> NDArray[np.float64]:
        """Return how much each coordinate tells of the rows, from 0 to 1, tensor after tensor.

        Parameters
        ----------
        kind : str
            "magnitude" of the update; other kinds where the task has them.
        parameters : mapping of str to ndarray
            The global model that `result` was trained from.
        result : LocalResult
            Of the round.
        """
        ...


class LocalTask(Protocol):
    """One cloud's part of a task, before its learner can exist."""

    def statistics(self) -> dict[str, NDArray[np.float64]]:
        """Return sums over the cloud's rows: `ROWS`, and whatever the inputs are prepared with.

        Each entry is from -MAX_ROWS to MAX_ROWS (`veilsum.data`); names and shapes are the same at
        every cloud.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return what is public and must be the same at every cloud, as JSON holds it."""
        ...

    def begin(self, pooled: Mapping[str, NDArray[np.float64]]) -> Learner:
        """Make the learner.

        Parameters
        ----------
        pooled : mapping of str to ndarray
            The sums of `statistics` over all clouds, as their encrypted sum gave them.
        """
        ...
