"""What all methods of a comparison share: data, inputs, initial model, trainers.

Federated loop, methods. Same rows, same preprocessing, same seeds: two methods differ only in how
updates become a mean. It knows no method.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from veilsum.data import Moments, Preprocessor, local_moments
from veilsum.learning.evaluators import tabular_evaluator
from veilsum.learning.local_training import LocalTrainer
from veilsum.learning.metrics import Evaluator
from veilsum.learning.model import choose_device, initial_parameters
from veilsum.learning.outcomes import Outcome
from veilsum.learning.task import Parameters
from veilsum.protocol import statistics
from veilsum.training.config import TrainConfig
from veilsum.training.federation import Federation, spread


@dataclass(frozen=True)
class Setting:
    """A study spread over clouds, with the inputs that every cloud derives.

    Parameters
    ----------
    config : TrainConfig
        The run's configuration.
    federation : Federation
        The rows.
    moments : Moments
        Pooled statistics of preprocessing.
    device : torch.device
        Where models train.
    """

    config: TrainConfig
    federation: Federation
    moments: Moments
    device: torch.device

    @cached_property
    def preprocessor(self) -> Preprocessor:
        """As every cloud computes it."""
        return Preprocessor.fit(self.federation.study.features, self.moments)

    @cached_property
    def inputs(self) -> tuple[NDArray[np.float32], ...]:
        """Each cloud's inputs."""
        return tuple(self.preprocessor.transform(one) for one in self.federation.clouds)

    @property
    def outcome(self) -> Outcome:
        """What the network learns."""
        return Outcome.of(self.federation.study)

    @property
    def labels(self) -> tuple[NDArray[Any], ...]:
        """What the network is to say of each cloud's rows."""
        return tuple(self.outcome.labels(one) for one in self.federation.clouds)

    def trainer(self, cloud: int) -> LocalTrainer:
        """Make a cloud's trainer, with the same random streams in every method.

        Parameters
        ----------
        cloud : int
            Its number.
        """
        return self._trainer(self.inputs[cloud], self.labels[cloud], cloud)

    def pooled_trainer(self) -> LocalTrainer:
        """Make a trainer with all rows at one place."""
        return self._trainer(
            np.concatenate(self.inputs), np.concatenate(self.labels), len(self.inputs)
        )

    def _trainer(
        self, inputs: NDArray[np.float32], labels: NDArray[Any], cloud: int
    ) -> LocalTrainer:
        return LocalTrainer(
            inputs,
            labels,
            self.config.model,
            self.config.training,
            seed=self.config.run.seed,
            cloud=cloud,
            device=self.device,
            outcome=self.outcome,
        )

    def initial_parameters(self) -> Parameters:
        """Return the model that every method starts from."""
        return initial_parameters(
            self.config.model,
            len(self.preprocessor.names),
            self.config.run.seed,
            self.outcome.outputs,
        )

    def evaluator(self) -> Evaluator:
        """Make the judge of all methods: the held-out rows."""
        held_out = self.federation.held_out
        return tabular_evaluator(
            self.preprocessor.transform(held_out),
            held_out,
            self.config.model,
            seed=self.config.run.seed,
            device=self.device,
        )


def prepare(config: TrainConfig, federation: Federation | None = None) -> Setting:
    """Load the data and compute the pooled statistics, exactly as the encrypted sum gives them.

    Parameters
    ----------
    config : TrainConfig
        The run's configuration.
    federation : Federation, optional
        The rows; loaded and spread as the configuration says by default.
    """
    federation = spread(config) if federation is None else federation
    pooled = statistics.pooled([local_moments(one).to_mapping() for one in federation.clouds])
    moments = Moments.from_mapping(pooled)
    return Setting(config, federation, moments, choose_device(config.run.device))
