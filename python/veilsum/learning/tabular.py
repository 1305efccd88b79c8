"""A table of rows as a task: one cloud's study, and the trainer that its inputs come to.

Learning room. Sums of features stand in for rows, so that all clouds prepare their inputs alike
(`veilsum.data.preprocess`); the trainer is `LocalTrainer`. Knows no party and no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from veilsum.data import Moments, Preprocessor, Study, local_moments
from veilsum.data.preprocess import input_names
from veilsum.learning.local_training import LocalTrainer
from veilsum.learning.model import blank_network
from veilsum.learning.module_tensors import ModuleTensors, digest
from veilsum.learning.options import ModelOptions, TrainingOptions
from veilsum.learning.outcomes import Outcome


class TabularTask:
    """One cloud's rows of a study, as a `LocalTask`.

    Parameters
    ----------
    study : Study
        The cloud's own rows.
    model : ModelOptions
        The network.
    training : TrainingOptions
        Epochs, batches, optimiser.
    seed : int
        The run's seed.
    cloud : int
        The cloud's number, from 0.
    device : torch.device
        Where to train.
    """

    def __init__(
        self,
        study: Study,
        model: ModelOptions,
        training: TrainingOptions,
        *,
        seed: int,
        cloud: int,
        device: torch.device,
    ) -> None:
        self._study = study
        self._outcome = Outcome.of(study)
        self._model = model
        self._training = training
        self._seed = seed
        self._cloud = cloud
        self._device = device

    def statistics(self) -> dict[str, NDArray[np.float64]]:
        """Return the sums that preprocessing needs, and the number of rows.

        Raises
        ------
        veilsum.ParameterError
            When there are more than `veilsum.data.MAX_ROWS` rows.
        """
        return local_moments(self._study).to_mapping()

    def describe(self) -> dict[str, Any]:
        """Return the columns with their public ranges, as JSON holds them.

        Of an outcome that is not yes or no, its classes or its range; of a network of the user's
        own, its tensors and a digest of the whole initial one.
        """
        described: dict[str, Any] = {
            "features": [asdict(feature) for feature in self._study.features]
        }
        outcome = self._outcome
        if outcome.classes:
            described["classes"] = list(outcome.classes)
        if outcome.target is not None:
            described["target"] = asdict(outcome.target)
        if self._model.function:
            inputs = len(input_names(self._study.features))
            network = blank_network(
                self._model, inputs, torch.device("cpu"), outcome.outputs, self._seed
            )
            described["network"] = {
                "tensors": ModuleTensors(network).describe(),
                "initial": digest(network),
            }
        return described

    def begin(self, pooled: Mapping[str, NDArray[np.float64]]) -> LocalTrainer:
        """Prepare the rows and make their trainer.

        Parameters
        ----------
        pooled : mapping of str to ndarray
            The sums of `statistics` over all clouds.

        Raises
        ------
        veilsum.ParameterError
            When a feature has no value in any cloud.
        """
        moments = Moments.from_mapping(dict(pooled))
        preprocessor = Preprocessor.fit(self._study.features, moments)
        return LocalTrainer(
            preprocessor.transform(self._study),
            self._outcome.labels(self._study),
            self._model,
            self._training,
            seed=self._seed,
            cloud=self._cloud,
            device=self._device,
            outcome=self._outcome,
        )
