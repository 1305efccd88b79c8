"""The same federated training twice, encrypted and in the clear, round by round.

Layer: benchmarks only. Needs PyTorch and the data set (extra veilsum[train]); imported where used.
"""

from __future__ import annotations

import numpy as np
import torch

from veilsum.lab.methods.registry import make_method
from veilsum.run_names import PLAINTEXT
from veilsum.training.config import TrainConfig, with_overrides
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.run import spread
from veilsum.training.threads import choose_threads

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
        self._start = self._encrypted.parameters
        self._plaintext = make_method(PLAINTEXT, config, federation)
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
        for name, array in self._clear.parameters.items():
            moved += float(np.square(array - self._start[name]).sum())
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
            "evaluation: training, encrypting, signing, summing, opening by "
            f"{config.terms.who_opens}, and a decryption for each cloud"
        )
