"""Federated averaging with every update in the clear: the yardstick, no protection at all.

Federated loop, methods. McMahan et al., AISTATS 2017. Updates and means travel as float32, as
frameworks send them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veilsum.run_names import PLAINTEXT
from veilsum.training.plain import PlainMethod, Tensors, from_float32, to_float32


class FedAvg(PlainMethod):
    """Federated averaging in plaintext."""

    @property
    def name(self) -> str:
        """Short name, as in the log."""
        return PLAINTEXT

    def pack(self, update: Tensors, weight: float, client: int, number: int) -> bytes:
        """Return the update as float32.

        Parameters
        ----------
        update : mapping of str to ndarray
            Local minus global parameters.
        weight : float
            The cloud's; the server applies it.
        client, number : int
            Cloud and round.
        """
        del weight, client, number
        return to_float32(update)

    def combine(self, messages: Sequence[bytes], weights: Sequence[float], number: int) -> bytes:
        """Return the weighted mean as float32.

        Parameters
        ----------
        messages : sequence of bytes
            Updates.
        weights : sequence of float
            Theirs.
        number : int
            The round.
        """
        del number
        total: dict[str, NDArray[np.float64]] = {}
        for message, weight in zip(messages, weights, strict=True):
            for name, array in from_float32(message, self._shapes).items():
                total[name] = total[name] + weight * array if name in total else weight * array
        return to_float32({name: array / sum(weights) for name, array in total.items()})

    def unpack(self, answer: bytes, weights: Sequence[float]) -> dict[str, NDArray[np.float64]]:
        """Return the mean update.

        Parameters
        ----------
        answer : bytes
            What `combine` made.
        weights : sequence of float
            Of the clouds in the sum.
        """
        del weights
        return from_float32(answer, self._shapes)

    def visible(self, message: bytes, weight: float) -> dict[str, NDArray[np.float64]]:
        """Return the whole update: the server reads everything.

        Parameters
        ----------
        message : bytes
            What `pack` made.
        weight : float
            The cloud's.
        """
        del weight
        return from_float32(message, self._shapes)
