"""Updates that somebody else's training loop made, as a task.

Learning room. For people who have their own loop: before each round they say what their cloud has,
and the round sums it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import check_whole, counted, shown
from veilsum.data import MAX_ROWS
from veilsum.errors import ParameterError, RoundError
from veilsum.learning.task import ROWS, LocalResult, Parameters, Tensors

_TYPICAL_ROWS = 256


class ProvidedTask:
    """One cloud's updates, as its owner provides them; both a `LocalTask` and its `Learner`.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Names and shapes of an update's arrays.
    whole : mapping of str to float
        Names of those that hold whole numbers or booleans, with the range of their changes, which
        stays: their mean may stand still for many rounds and then move.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], whole: Mapping[str, float] | None = None
    ) -> None:
        self._shapes = dict(shapes)
        limits = dict(whole or {})
        self.tensors = Tensors(frozenset(limits), limits, limits)
        self._next: list[LocalResult] = []

    def provide(self, update: Mapping[str, NDArray[np.floating[Any]]], rows: int) -> None:
        """Say what the cloud has for the next round.

        Parameters
        ----------
        update : mapping of str to ndarray
            Of the task's names and shapes.
        rows : int
            Rows that it comes from; at least 1.

        Raises
        ------
        veilsum.ParameterError
            When names or shapes are others, or a value is not finite.
        """
        if set(update) != set(self._shapes):
            missing = sorted(set(self._shapes) - set(update))
            more = sorted(set(update) - set(self._shapes))
            raise ParameterError(
                f"the update has other arrays than agreed: missing {', '.join(missing) or 'none'}; "
                f"unknown {', '.join(more) or 'none'}"
            )
        made: dict[str, NDArray[np.float64]] = {}
        for name, shape in self._shapes.items():
            array = np.asarray(update[name], dtype=np.float64)
            if array.shape != shape:
                raise ParameterError(f"{name} has shape {array.shape}; it must be {shape}")
            if not np.isfinite(array).all():
                index = int(np.flatnonzero(~np.isfinite(array))[0])
                raise ParameterError(
                    f"{name} is not finite at value {index}; nothing was encrypted"
                )
            made[name] = array
        self._next = [LocalResult(made, 1.0, _check_rows(rows))]

    def statistics(self) -> dict[str, NDArray[np.float64]]:
        """Return a number of rows that stands for all: theirs are said round by round.

        Relative weights are rows over this number: up to 4,096 for the most rows, and for a single
        row still 2,000 steps of their grid (`protocol.shares`).
        """
        return {ROWS: np.array([_TYPICAL_ROWS], dtype=np.float64)}

    def describe(self) -> dict[str, Any]:
        """Return names, shapes and ranges of their own, as JSON holds them."""
        return {
            "shapes": {name: list(shape) for name, shape in self._shapes.items()},
            "limits": dict(self.tensors.first_limits),
        }

    def begin(self, pooled: Mapping[str, NDArray[np.float64]]) -> ProvidedTask:
        """Return the learner, which is the task itself.

        Parameters
        ----------
        pooled : mapping of str to ndarray
            Not needed.
        """
        del pooled
        return self

    def initial(self) -> Parameters:
        """Return zeros: the sum of all means so far is kept here, and nobody needs it."""
        return {name: np.zeros(shape, np.float32) for name, shape in self._shapes.items()}

    def train(self, parameters: Mapping[str, NDArray[np.float32]], number: int) -> LocalResult:
        """Return what was provided, once.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            Not needed.
        number : int
            The round.

        Raises
        ------
        veilsum.RoundError
            When nothing was provided since the last round.
        """
        del parameters
        if not self._next:
            raise RoundError(f"no update was provided for round {shown(number)}")
        return self._next.pop()

    def sensitivity(
        self, kind: str, parameters: Mapping[str, NDArray[np.float32]], result: LocalResult
    ) -> NDArray[np.float64]:
        """Return the magnitudes, relative to the largest.

        Parameters
        ----------
        kind : str
            "magnitude".
        parameters : mapping of str to ndarray
            Not needed.
        result : LocalResult
            What was provided.

        Raises
        ------
        veilsum.ParameterError
            When it is another kind.
        """
        del parameters
        if kind != "magnitude":
            raise ParameterError(
                f'sensitivity is {shown(kind)}; of updates alone there is only "magnitude"'
            )
        scores = np.concatenate([np.abs(array).ravel() for array in result.update.values()])
        largest = float(scores.max(initial=0.0))
        return scores / largest if largest > 0 else scores


def _check_rows(rows: int) -> int:
    number = check_whole("rows", rows)
    if not 1 <= number <= MAX_ROWS:
        raise ParameterError(f"{counted(number, 'row')}; must be 1 to {MAX_ROWS}")
    return number
