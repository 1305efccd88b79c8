"""A site's Flower train function as a task of Veilsum's parties.

Flower's adapter. The function gets a train message as Flower would send it and replies as it
always does; what it trained becomes an update, and goes to the encrypting client alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import check_whole, shown
from veilsum.data import MAX_ROWS
from veilsum.errors import ParameterError, RoundError
from veilsum.learning.task import ROWS, LocalResult, Parameters, Tensors

_FIGURES = ("running_mean", "running_var", "num_batches_tracked")
_WHOLE = 4096.0
"""Range of what a round adds to a number that is no float, such as a count of batches."""


class FlowerTask:
    """One site's part of a training; both a `LocalTask` and its `Learner`.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        The initial model.
    digest : bytes
        Of all that the server began the training with.
    rows : callable
        Returns how many rows the site trains on.
    train : callable
        `train(arrays, round)` returns the trained arrays, the number of rows and the loss.
    given : callable or None
        `given(round)` returns a model that the server gave for a round, and its digest; None where
        models follow at the sites.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        digest: bytes,
        rows: Callable[[], int],
        train: Callable[
            [Mapping[str, NDArray[Any]], int], tuple[Mapping[str, NDArray[Any]], int, float]
        ],
        given: Callable[[int], tuple[Mapping[str, NDArray[Any]], bytes]] | None = None,
    ) -> None:
        self._arrays = dict(arrays)
        self._digest = digest
        self._count = rows
        self._train = train
        self._given = given
        #: The round that a request is about; whoever hands requests on says it.
        self.step = 0

    def statistics(self) -> dict[str, NDArray[np.float64]]:
        """Return the number of rows, the only sum that is pooled."""
        return {ROWS: np.array([self._rows()], dtype=np.float64)}

    def _rows(self) -> int:
        number = check_whole("rows", self._count())
        if not 0 < number <= MAX_ROWS:
            raise ParameterError(f"rows is {shown(number)}; must be 1 to {MAX_ROWS}")
        return number

    def describe(self) -> dict[str, Any]:
        """Return the digest of what the server began with."""
        return {"flower": self._digest.hex()}

    def begin(self, pooled: Mapping[str, NDArray[np.float64]]) -> FlowerTask:
        """Return the learner, which is the task itself.

        Parameters
        ----------
        pooled : mapping of str to ndarray
            Not needed.
        """
        del pooled
        return self

    @property
    def tensors(self) -> Tensors:
        """What the parameters are: numbers that are no floats, and running figures, are averaged.

        Their means are taken as they are; what is no float is rounded at each site.
        """
        averaged = frozenset(
            name
            for name, array in self._arrays.items()
            if array.dtype.kind != "f" or name.rpartition(".")[2] in _FIGURES
        )
        given = None if self._given is None else self._digest_given
        whole = {name: _WHOLE for name, one in self._arrays.items() if one.dtype.kind != "f"}
        return Tensors(averaged, first_limits=whole, least_limits=whole, given=given)

    def _digest_given(self) -> bytes:
        if self._given is None:
            raise RoundError("no models are given in this training")
        return self._given(self.step)[1]

    def initial(self) -> Parameters:
        """Return the initial model in float32."""
        return {name: np.array(array, np.float32) for name, array in self._arrays.items()}

    def typed(self, parameters: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return parameters in the model's own types.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            In float32.
        """
        made: dict[str, NDArray[Any]] = {}
        for name, array in self._arrays.items():
            value = np.asarray(parameters[name])
            whole = array.dtype.kind != "f"
            made[name] = (np.rint(value) if whole else value).astype(array.dtype)
        return made

    def train(self, parameters: Mapping[str, NDArray[np.float32]], number: int) -> LocalResult:
        """Have the site's function train.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model; not used where the server gave one.
        number : int
            The round, from 1.

        Raises
        ------
        veilsum.ParameterError
            When the function returns other arrays than it got, or values that are not finite.
        """
        start = self.typed(parameters) if self._given is None else dict(self._given(number)[0])
        trained, rows, loss = self._train(start, number)
        if set(trained) != set(start):
            raise ParameterError("the train function returned other arrays than it was given")
        expected = self._rows()
        if rows != expected:
            raise ParameterError(
                "the train function's num-examples is another number than rows() gave when the "
                "training began; clouds count by the latter"
            )
        update: dict[str, NDArray[np.float64]] = {}
        for name, before in start.items():
            after = np.asarray(trained[name])
            if after.shape != before.shape:
                raise ParameterError(
                    f"the train function returned {name} of shape {after.shape}; it was "
                    f"{before.shape}"
                )
            moved = after.astype(np.float64)
            moved -= before
            if not np.isfinite(moved).all():
                index = int(np.flatnonzero(~np.isfinite(moved))[0])
                raise ParameterError(
                    f"{name} is not finite at value {index}; nothing was encrypted"
                )
            update[name] = moved
        return LocalResult(update, loss, expected)

    def sensitivity(
        self, kind: str, parameters: Mapping[str, NDArray[np.float32]], result: LocalResult
    ) -> NDArray[np.float64]:
        """Refuse: every value is encrypted here.

        Parameters
        ----------
        kind : str
            Not used.
        parameters : mapping of str to ndarray
            Not used.
        result : LocalResult
            Not used.
        """
        del kind, parameters, result
        raise RoundError("every value is encrypted over Flower; nothing has a sensitivity")
