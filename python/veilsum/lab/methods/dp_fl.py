"""DP-FL: federated averaging with clipped updates and Gaussian noise, as a baseline.

Federated loop, methods. Client-level differential privacy (McMahan et al., ICLR 2018): each cloud
clips its update to an L2 norm, all count the same, and Gaussian noise goes onto the sum. "central":
the server adds it, after it has read every clipped update, so the clouds must trust it. "local":
each cloud adds all of it itself and the server reads only noisy updates; the mean of K clouds then
has K times the variance. Noise comes from the operating system's entropy; it is floating-point
Gaussian noise, whose low bits are known to leak (Mironov 2012): a baseline, no more. Veilsum's own
mechanism draws exact integers instead (`discrete_gaussian.py`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veilsum.learning.task import LocalResult
from veilsum.privacy.accountant import Accountant, PrivacyLoss, clip_to_norm, gaussian_rho
from veilsum.run_names import DP_FL
from veilsum.training.fedavg import FedAvg
from veilsum.training.plain import Tensors, from_float32, to_float32
from veilsum.training.setting import Setting
from veilsum.transport.conditions import Conditions


class DpFl(FedAvg):
    """Federated averaging with client-level differential privacy.

    Parameters
    ----------
    setting : Setting
        Data, inputs, initial model; its privacy section sizes clip and noise.
    conditions : Conditions, optional
        What fails on the way; nothing by default.

    Raises
    ------
    veilsum.BackendUnavailableError
        When opacus, which does the accounting, is not installed.
    """

    sends_loss = False  # a loss would be one more thing to account for

    def __init__(self, setting: Setting, conditions: Conditions | None = None) -> None:
        super().__init__(setting, conditions)
        self._options = setting.config.privacy
        self._accountant = Accountant(self._options.delta)
        self._central = self._options.baseline_noise == "central"

    @property
    def name(self) -> str:
        """Short name, as in the log."""
        return DP_FL

    def weigh(self, results: dict[int, LocalResult]) -> dict[int, float]:  # type: ignore[override]
        """Return 1 for every cloud: the noise is sized for clouds that count the same.

        Parameters
        ----------
        results : dict of int to LocalResult
            By cloud.
        """
        return dict.fromkeys(results, 1.0)

    def pack(self, update: Tensors, weight: float, client: int, number: int) -> bytes:
        """Return the clipped update, with noise where it is local.

        Parameters
        ----------
        update : mapping of str to ndarray
            Local minus global parameters.
        weight : float
            The cloud's.
        client, number : int
            Cloud and round.
        """
        del weight, client, number
        # float32 rounds each value by 2^-24 of it at most; the clip leaves room for that.
        clipped = clip_to_norm(update, self._options.clip * (1 - 2.0**-23))
        return to_float32(clipped if self._central else self._noisy(clipped))

    def combine(self, messages: Sequence[bytes], weights: Sequence[float], number: int) -> bytes:
        """Return the mean of the clipped updates, with noise where it is central.

        Parameters
        ----------
        messages : sequence of bytes
            Updates.
        weights : sequence of float
            1 each.
        number : int
            The round.
        """
        if not self._central:
            return super().combine(messages, weights, number)
        mean = from_float32(super().combine(messages, weights, number), self._shapes)
        total = {name: len(messages) * array for name, array in mean.items()}
        noisy = self._noisy(total)
        return to_float32({name: array / len(messages) for name, array in noisy.items()})

    def privacy(self, clouds: int) -> PrivacyLoss | None:
        """Account for an opened round and return the loss so far.

        Parameters
        ----------
        clouds : int
            How many are in the sum.
        """
        del clouds
        self._accountant.add(gaussian_rho(self._options.noise_multiplier))
        if self._central:
            return self._accountant.loss("central", "the server adds the noise and keeps no update")
        return self._accountant.loss("local", "nobody: each cloud adds all of its noise itself")

    def visible(self, message: bytes, weight: float) -> dict[str, NDArray[np.float64]]:
        """Return what the server reads: the clipped update, noisy only where noise is local.

        Parameters
        ----------
        message : bytes
            What `pack` made.
        weight : float
            The cloud's.
        """
        return super().visible(message, weight)

    def _noisy(self, tensors: Tensors) -> dict[str, NDArray[np.float64]]:
        deviation = self._options.noise_multiplier * self._options.clip
        # A fresh cryptographic seed each time; never the run's, which is public.
        generator = np.random.default_rng(secrets.randbits(256))
        return {
            name: array + generator.normal(0.0, deviation, array.shape)
            for name, array in tensors.items()
        }
