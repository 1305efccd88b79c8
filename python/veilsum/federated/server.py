"""Server optimisers: from the mean update to a step of the global model.

Federated loop. Every participant runs the same optimiser on the same opened means, in NumPy on the
CPU, so all hold bit-identical global models without anyone sending the model around.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from veilsum.federated.config import AggregationOptions

Parameters = dict[str, NDArray[np.float32]]


class ServerOptimiser(Protocol):
    """Applies a mean update to the global parameters."""

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
        return {
            name: (array + self._learning_rate * mean[name]).astype(np.float32)
            for name, array in parameters.items()
        }


def server_optimiser(options: AggregationOptions) -> ServerOptimiser:
    """Make the optimiser that a configuration asks for.

    Parameters
    ----------
    options : AggregationOptions
        The configuration's section.
    """
    return FederatedAveraging(options.server_learning_rate)
