"""Which server optimiser a training's terms ask for."""

from __future__ import annotations

from veilsum.learning.server_optimisers import (
    AdaptiveFederated,
    FederatedAveraging,
    FederatedMomentum,
    ServerOptimiser,
)
from veilsum.protocol.options import AggregationOptions


def server_optimiser(options: AggregationOptions) -> ServerOptimiser:
    """Make the optimiser that a configuration asks for.

    Parameters
    ----------
    options : AggregationOptions
        The configuration's section.
    """
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
