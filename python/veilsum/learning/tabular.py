"""A study's rows as a task: pooled preprocessing, then the network of the configuration.

Learning room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from veilsum.data import Moments, Preprocessor, Study, local_moments
from veilsum.learning.local_training import LocalTrainer
from veilsum.learning.options import ModelOptions, TrainingOptions


class TabularTask:
    """One cloud's rows of a study.

    Parameters
    ----------
    study : Study
        The cloud's own rows.
    model : ModelOptions
        The network.
    options : TrainingOptions
        Epochs, batches, optimiser.
    seed : int
        The run's seed.
    cloud : int
        The cloud's number.
    device : torch.device
        Where to train.
    """

    def __init__(
        self,
        study: Study,
        model: ModelOptions,
        options: TrainingOptions,
        *,
        seed: int,
        cloud: int,
        device: torch.device,
    ) -> None:
        self._study = study
        self._model = model
        self._options = options
        self._seed = seed
        self._cloud = cloud
        self._device = device

    def statistics(self) -> dict[str, NDArray[np.float64]]:
        """Return the sums over the cloud's rows that preprocessing needs."""
        return local_moments(self._study).to_mapping()

    def describe(self) -> Mapping[str, Any]:
        """Return the features with their public ranges."""
        return {"features": [asdict(feature) for feature in self._study.features]}

    def begin(self, pooled: Mapping[str, NDArray[np.float64]]) -> LocalTrainer:
        """Prepare the rows with all clouds' statistics, and make the trainer.

        Parameters
        ----------
        pooled : mapping of str to ndarray
            All clouds' sums.
        """
        preprocessor = Preprocessor.fit(self._study.features, Moments.from_mapping(dict(pooled)))
        return LocalTrainer(
            preprocessor.transform(self._study),
            self._study.labels,
            self._model,
            self._options,
            seed=self._seed,
            cloud=self._cloud,
            device=self._device,
        )
