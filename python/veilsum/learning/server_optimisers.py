"""Server optimisers: from the mean update to a step of the global model.

Federated loop. Every participant runs the same optimiser on the same opened means, in NumPy on the
CPU, so all hold bit-identical global models without anyone sending the model around.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from veilsum.learning.task import Parameters


class ServerOptimiser(Protocol):
    """Applies a mean update to the global parameters."""

    @property
    def state(self) -> Mapping[str, NDArray[Any]]:
        """What it keeps from step to step, for the history; empty where it keeps nothing."""
        ...

    def step(
        self, parameters: Mapping[str, NDArray[np.float32]], mean: Mapping[str, NDArray[np.float64]]
    ) -> Parameters:
        """Return the new parameters.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            Global parameters before the round.
        mean : mapping of str to ndarray
            Weighted mean update of the round.
        """
        ...


class FederatedAveraging:
    """Adds the mean update (McMahan et al., AISTATS 2017), times a learning rate.

    Parameters
    ----------
    learning_rate : float
        1 is plain federated averaging.
    """

    def __init__(self, learning_rate: float = 1.0) -> None:
        self._learning_rate = learning_rate

    @property
    def state(self) -> Mapping[str, NDArray[Any]]:
        """Nothing."""
        return {}

    def step(
        self, parameters: Mapping[str, NDArray[np.float32]], mean: Mapping[str, NDArray[np.float64]]
    ) -> Parameters:
        """Return the new parameters.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            Global parameters before the round.
        mean : mapping of str to ndarray
            Weighted mean update of the round.
        """
        made: Parameters = {}
        for name, array in parameters.items():
            moved = self._learning_rate * mean[name]
            moved += array
            made[name] = _float32(moved)
        return made


class FederatedMomentum:
    """Steps along a moving sum of mean updates (FedAvgM: Hsu et al., 2019).

    Parameters
    ----------
    learning_rate : float
        Factor on the step.
    momentum : float
        What remains of the last step; 0 is federated averaging.
    """

    def __init__(self, learning_rate: float = 1.0, momentum: float = 0.9) -> None:
        self._learning_rate = learning_rate
        self._momentum = momentum
        self._velocity: dict[str, NDArray[np.float64]] = {}

    @property
    def state(self) -> Mapping[str, NDArray[Any]]:
        """The moving sum."""
        return {f"velocity.{name}": array for name, array in self._velocity.items()}

    def step(
        self, parameters: Mapping[str, NDArray[np.float32]], mean: Mapping[str, NDArray[np.float64]]
    ) -> Parameters:
        """Return the new parameters.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            Global parameters before the round.
        mean : mapping of str to ndarray
            Weighted mean update of the round.
        """
        made: Parameters = {}
        for name, array in parameters.items():
            velocity = self._momentum * self._velocity.get(name, np.zeros(array.shape)) + mean[name]
            self._velocity[name] = velocity
            made[name] = _float32(array + self._learning_rate * velocity)
        return made


class AdaptiveFederated:
    """FedAdam and FedYogi (Reddi et al., "Adaptive Federated Optimization", ICLR 2021).

    With the mean update d: m = b1 m + (1 - b1) d; v = b2 v + (1 - b2) d^2 for Adam,
    v = v - (1 - b2) d^2 sign(v - d^2) for Yogi; x = x + eta m / (sqrt(v) + tau). Both start
    at m = 0, v = tau^2, without bias correction, as algorithm 2 there. Only the mean update is
    needed, so it makes no difference that the mean was summed under encryption.

    Parameters
    ----------
    learning_rate : float
        eta.
    momentum : float
        b1.
    second_moment : float
        b2.
    adaptivity : float
        tau.
    yogi : bool
        FedYogi instead of FedAdam.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        second_moment: float = 0.99,
        adaptivity: float = 0.001,
        *,
        yogi: bool = False,
    ) -> None:
        self._learning_rate = learning_rate
        self._momentum = momentum
        self._second_moment = second_moment
        self._adaptivity = adaptivity
        self._yogi = yogi
        self._first: dict[str, NDArray[np.float64]] = {}
        self._second: dict[str, NDArray[np.float64]] = {}

    @property
    def state(self) -> Mapping[str, NDArray[Any]]:
        """Both moments."""
        first = {f"first.{name}": array for name, array in self._first.items()}
        return first | {f"second.{name}": array for name, array in self._second.items()}

    def step(
        self, parameters: Mapping[str, NDArray[np.float32]], mean: Mapping[str, NDArray[np.float64]]
    ) -> Parameters:
        """Return the new parameters.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            Global parameters before the round.
        mean : mapping of str to ndarray
            Weighted mean update of the round.
        """
        made: Parameters = {}
        for name, array in parameters.items():
            first = self._first.get(name, np.zeros(array.shape))
            second = self._second.get(name, np.full(array.shape, self._adaptivity**2))
            squared = np.square(mean[name])
            first = self._momentum * first + (1 - self._momentum) * mean[name]
            change = (1 - self._second_moment) * (
                np.sign(squared - second) * squared if self._yogi else squared - second
            )
            second = second + change
            self._first[name], self._second[name] = first, second
            step = self._learning_rate * first / (np.sqrt(second) + self._adaptivity)
            made[name] = _float32(array + step)
        return made


def _float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    # Too large for float32 is infinite, without a warning: the evaluation says that it diverged.
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
