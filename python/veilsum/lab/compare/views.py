"""What the aggregator holds of an update, for each method, made by the method's own code.

Comparison layer. A probe's update goes through the same packing or encryption as a real one, and
what comes out on the aggregator's side is what the attack gets. Where a ciphertext is all there is,
the ciphertext is read as if it hid nothing (`veilsum.lab.leakage.ciphertext`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from veilsum._core import PublicKey
from veilsum.api.encrypting import encrypt
from veilsum.api.opening import keygen
from veilsum.api.rounds import Round
from veilsum.lab.leakage import View
from veilsum.lab.leakage.ciphertext import view_of_bytes, view_of_upload
from veilsum.protocol.hybrid import noisy
from veilsum.training.config import TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.outcome import Method, RoundOutcome
from veilsum.training.plain import PlainMethod

Arrays = Mapping[str, NDArray[np.float64]]

_PREFIX = "update."


class Aggregator:
    """The aggregator of one method, as the attacker sits in it.

    Parameters
    ----------
    method : Method
        As it trains; never given to the attack.
    config : TrainConfig
        The method's.
    """

    def __init__(self, method: Method, config: TrainConfig) -> None:
        self._method = method
        self._config = config
        self._public: PublicKey | None = None
        if isinstance(method, EncryptedAveraging):
            # Probes are encrypted for a key of their own; nobody keeps its secret half.
            _, self._public = keygen(method.plan)

    def view(self, update: Arrays, cloud: int, number: int, outcome: RoundOutcome) -> View:
        """Return what the aggregator reads of an update that a cloud sends.

        Parameters
        ----------
        update : mapping of str to ndarray
            Local minus global parameters.
        cloud, number : int
            Who sends it in which round.
        outcome : RoundOutcome
            Of that round: its ranges, and which coordinates were in the clear.
        """
        method = self._method
        if isinstance(method, EncryptedAveraging):
            if outcome.visible:
                return self._plain_part(update, outcome)
            return self._ciphertext(update, outcome)
        if not isinstance(method, PlainMethod):
            raise TypeError(f"the method {method.name} has no aggregator that receives updates")
        message = method.pack(update, 1.0, cloud, number)
        seen = method.visible(message, 1.0)
        if seen:
            return View(seen)
        return view_of_bytes(message, update, _size(update))

    def real_view(self, update: Arrays, cloud: int, number: int, outcome: RoundOutcome) -> View:
        """Return what the aggregator read of a cloud's real upload of the round.

        Parameters
        ----------
        update : mapping of str to ndarray
            The cloud's update, to encrypt again where only a ciphertext was seen: the upload
            itself is gone, and another encryption of the same update tells as much.
        cloud, number : int
            Who sent it in which round.
        outcome : RoundOutcome
            Of the round.
        """
        if cloud in outcome.visible:
            return View(outcome.visible[cloud], self._precision())
        return self.view(update, cloud, number, outcome)

    def _precision(self) -> float:
        """Return the relative precision of the numbers that the aggregator reads."""
        hybrid = isinstance(self._method, EncryptedAveraging) and self._config.terms.is_hybrid
        return 2.0**-8 if hybrid and self._config.hybrid.plain_dtype == "bfloat16" else 2.0**-23

    def _plain_part(self, update: Arrays, outcome: RoundOutcome) -> View:
        """Return what a hybrid round shows: the same coordinates as in the real uploads."""
        options = self._config.hybrid
        # The mask is the same for all clouds of a round.
        gaps = {n: np.isnan(array) for n, array in next(iter(outcome.visible.values())).items()}
        flat = np.concatenate([update[name].ravel() for name in update])
        readable = ~np.concatenate([gaps[name].ravel() for name in update])
        plain = flat[readable]
        if options.plain_noise_multiplier:
            plain = noisy(plain, options.plain_clip, options.plain_noise_multiplier)
        single = torch.from_numpy(plain.astype(np.float32))
        if options.plain_dtype == "bfloat16":
            single = single.bfloat16().float()
        flat = np.full(len(flat), np.nan)
        flat[readable] = single.numpy()
        parts = np.split(flat, np.cumsum([array.size for array in update.values()])[:-1])
        shaped = zip(update.items(), parts, strict=True)
        return View(
            {name: part.reshape(array.shape) for (name, array), part in shaped}, self._precision()
        )

    def _ciphertext(self, update: Arrays, outcome: RoundOutcome) -> View:
        if self._public is None or not isinstance(self._method, EncryptedAveraging):
            raise TypeError("only Veilsum's own method encrypts uploads of a round")
        limits = {name: outcome.limits[_PREFIX + name] for name in update}
        rnd = Round(self._method.plan, self._public, like=dict(update), limit=limits)
        return view_of_upload(encrypt(rnd, dict(update)).to_bytes(), rnd, update)


def _size(update: Arrays) -> float:
    """Return an update's largest entry: what the attacker takes for the size of one."""
    return max(float(np.abs(array).max()) for array in update.values()) or 1.0
