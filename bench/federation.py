"""The same federated training twice, encrypted and in the clear, round by round.

Layer: benchmarks only. Needs PyTorch and the data set (extra veilsum[train]); imported where used.
"""

from __future__ import annotations

import numpy as np
import torch

from veilsum.federated import TrainConfig
from veilsum.federated.config import with_overrides
from veilsum.federated.loop import spread
from veilsum.federated.methods import EncryptedAveraging, PlaintextAveraging
from veilsum.federated.model import choose_device, initial_parameters
from veilsum.federated.server import server_optimiser
from veilsum.federated.threads import choose_threads
from veilsum.federated.training import LocalTrainer
from veilsum.federated.weights import weight_rule

__all__ = ["Pair"]


class Pair:
    """Encrypted and plaintext averaging from the same model, over the same rows and batches.

    Parameters
    ----------
    epochs : int
        Passes over each cloud's rows in a round; the rest is the default of `veilsum train`.
    """

    def __init__(self, epochs: int) -> None:
        config = TrainConfig.from_mapping(
            with_overrides({}, [f"training.epochs={epochs}", "run.device=cpu"])
        )
        federation = spread(config)
        self._threads = choose_threads(config, len(federation.study.features))
        self._config = config
        self._encrypted = EncryptedAveraging(config, federation.clouds)
        preprocessor = self._encrypted.preprocessor
        clouds = [
            LocalTrainer(
                preprocessor.transform(rows),
                rows.labels,
                config.model,
                config.training,
                seed=config.run.seed,
                cloud=index,
                device=choose_device(config.run.device),
            )
            for index, rows in enumerate(federation.clouds)
        ]
        self._plaintext = PlaintextAveraging(
            "plaintext",
            clouds,
            weight_rule(config.aggregation.weights, len(clouds), self._encrypted.moments.rows),
            initial_parameters(config.model, len(preprocessor.names), config.run.seed),
            server_optimiser(config.aggregation),
        )
        self._done = {"encrypted": 0, "plaintext": 0}
        if self._threads.pytorch:
            torch.set_num_threads(self._threads.pytorch)

    def encrypted_round(self) -> None:
        """Run the next round of encrypted averaging."""
        self._done["encrypted"] += 1
        self._last = self._encrypted.run_round(self._done["encrypted"])

    def plaintext_round(self) -> None:
        """Run the next round of plaintext averaging."""
        self._done["plaintext"] += 1
        self._clear = self._plaintext.run_round(self._done["plaintext"])

    def check(self) -> None:
        """Raise AssertionError unless both went the same way, up to the rounding of updates."""
        assert self._done["encrypted"] == self._done["plaintext"]
        moved = 0.0
        apart = 0.0
        start = initial_parameters(
            self._config.model, len(self._encrypted.preprocessor.names), self._config.run.seed
        )
        for name, array in self._clear.parameters.items():
            moved += float(np.square(array - start[name]).sum())
            apart += float(np.square(array - self._last.parameters[name]).sum())
        assert apart < 0.01 * moved

    def describe(self) -> str:
        """Return the terms of the times, for people."""
        values = sum(array.size for array in self._encrypted.parameters.values())
        config = self._config
        return (
            f"{values:,} parameters, {config.data.clouds} clouds of {config.data.study} one after "
            f"another in one process, {config.training.epochs} epochs a round on the CPU, "
            f"{self._threads.core} thread(s) and pads ahead on one more; all of the round but the "
            "evaluation: training, encrypting, signing, summing, opening, and a decryption for "
            "each cloud and the coordinator"
        )
