"""Which server optimiser a training's terms ask for.

Protocol. Running figures (BatchNorm's means and variances) are no weights: an optimiser that scales
or carries steps on would move them where no cloud has ever seen them, so their mean is taken as it
is, whatever the optimiser.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.learning.server_optimisers import (
    AdaptiveFederated,
    FederatedAveraging,
    FederatedMomentum,
    ServerOptimiser,
)
from veilsum.learning.task import Parameters
from veilsum.protocol.options import AggregationOptions


class _WeightsOnly:
    """An optimiser for weights; running figures take their mean as it is."""

    def __init__(self, optimiser: ServerOptimiser, averaged: frozenset[str]) -> None:
        self._optimiser = optimiser
        self._averaged = averaged
        self._mean = FederatedAveraging()

    @property
    def state(self) -> Mapping[str, NDArray[Any]]:
        """What the optimiser keeps."""
        return self._optimiser.state

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
        weights = {n: array for n, array in parameters.items() if n not in self._averaged}
        figures = {n: array for n, array in parameters.items() if n in self._averaged}
        moved = self._optimiser.step(weights, mean) | self._mean.step(figures, mean)
        return {name: moved[name] for name in parameters}


def server_optimiser(
    options: AggregationOptions, averaged: frozenset[str] = frozenset()
) -> ServerOptimiser:
    """Make the optimiser that a configuration asks for.

    Parameters
    ----------
    options : AggregationOptions
        The configuration's section.
    averaged : frozenset of str
        Parameters that are running figures.
    """
    optimiser = _optimiser(options)
    return _WeightsOnly(optimiser, averaged) if averaged else optimiser


def _optimiser(options: AggregationOptions) -> ServerOptimiser:
    rate, kind = options.server_learning_rate, options.server_optimiser
    if kind == "fedavg":
        return FederatedAveraging(rate or 1.0)
    if kind == "fedavgm":
        return FederatedMomentum(rate or 1.0, options.server_momentum)
    return AdaptiveFederated(
        rate or 0.01,
        options.server_momentum,
        options.server_second_moment,
        options.server_adaptivity,
        yogi=kind == "fedyogi",
    )
