"""HE-FL: federated averaging under CKKS by TenSEAL, tensor by tensor, as people do it today.

Federated loop, methods. The parameters are NVFLARE's: degree 8192, moduli of 60, 40 and 40 bits
(128-bit security), scale 2^40; each tensor is a `ckks_vector` of its own, in pieces of 4096
values. All clouds share one secret key and the server holds the public context, as there. Weights
are applied by the clouds in the clear, and the server is told them, as there.

Agreement with plaintext averaging: with K uploads, weights that sum to S, an entry of the mean is
within K * `ERROR_BOUND` / S of the exact one, with overwhelming probability.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.errors import WireFormatError, missing_extra
from veilsum.run_names import HE_FL
from veilsum.training.plain import PlainMethod, Tensors
from veilsum.training.setting import Setting
from veilsum.transport.conditions import Conditions

DEGREE = 8192
MODULI_BITS = (60, 40, 40)
SCALE_BITS = 40
SLOTS = DEGREE // 2
"""Values of one ciphertext; TenSEAL cuts longer vectors just so, but warns each time."""

_SIGMA = 3.2
ERROR_BOUND = (
    8 * math.sqrt(2) * _SIGMA * DEGREE
    + 6 * _SIGMA * math.sqrt(DEGREE)
    + 16 * _SIGMA * math.sqrt(2 * DEGREE / 3 * DEGREE)
) / 2**SCALE_BITS
"""Error of one fresh ciphertext's values: B_clean of Cheon et al. (Asiacrypt 2017, lemma 1) with a
ternary secret of two thirds weight, over the scale. Encoding adds less than a thousandth of it."""

_LENGTH = struct.Struct("<I")


def load_tenseal() -> ModuleType:
    """Import TenSEAL.

    Raises
    ------
    veilsum.BackendUnavailableError
        When it is not installed.
    """
    try:
        import tenseal  # its package ships no types
    except ModuleNotFoundError as error:
        raise missing_extra("the method he-fl", "tenseal", "he") from error
    return tenseal  # type: ignore[no-any-return]


class HeFl(PlainMethod):
    """Federated averaging under CKKS by TenSEAL.

    Parameters
    ----------
    setting : Setting
        Data, inputs, initial model.
    conditions : Conditions, optional
        What fails on the way; nothing by default.

    Raises
    ------
    veilsum.BackendUnavailableError
        When TenSEAL is not installed.
    """

    encrypts = True

    def __init__(self, setting: Setting, conditions: Conditions | None = None) -> None:
        super().__init__(setting, conditions)
        self._tenseal = load_tenseal()
        context = self._tenseal.context(
            self._tenseal.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=list(MODULI_BITS)
        )
        context.global_scale = 2.0**SCALE_BITS
        self._clients_context = context
        public = context.serialize(save_secret_key=False)
        self._server_context = self._tenseal.context_from(public)
        self._vectors = sum(-(-math.prod(shape) // SLOTS) for shape in self._shapes.values())
        # Every cloud receives the context with the secret key, as in NVFLARE's provisioning.
        self._setup_bytes = len(context.serialize(save_secret_key=True))

    @property
    def name(self) -> str:
        """Short name, as in the log."""
        return HE_FL

    @property
    def setup_bytes(self) -> int:
        """The context with the key that each cloud receives once."""
        return self._setup_bytes

    def pack(self, update: Tensors, weight: float, client: int, number: int) -> bytes:
        """Return the weighted update, one encrypted vector a tensor.

        Parameters
        ----------
        update : mapping of str to ndarray
            Local minus global parameters.
        weight : float
            The cloud's; applied here.
        client, number : int
            Cloud and round.
        """
        del client, number
        return _join(
            [
                self._tenseal.ckks_vector(self._clients_context, part).serialize()
                for array in update.values()
                for part in np.split((weight * array).ravel(), range(SLOTS, array.size, SLOTS))
            ]
        )

    def combine(self, messages: Sequence[bytes], weights: Sequence[float], number: int) -> bytes:
        """Return the sum of the encrypted vectors.

        Parameters
        ----------
        messages : sequence of bytes
            Uploads.
        weights : sequence of float
            Theirs; already applied.
        number : int
            The round.
        """
        del weights, number
        totals: list[Any] = []
        for message in messages:
            vectors = [
                self._tenseal.ckks_vector_from(self._server_context, part)
                for part in _cut(message, self._vectors)
            ]
            totals = (
                [total + one for total, one in zip(totals, vectors, strict=True)]
                if totals
                else vectors
            )
        return _join([total.serialize() for total in totals])

    def unpack(self, answer: bytes, weights: Sequence[float]) -> dict[str, NDArray[np.float64]]:
        """Decrypt the sum and divide it by the weights.

        Parameters
        ----------
        answer : bytes
            What `combine` made.
        weights : sequence of float
            Of the clouds in the sum.
        """
        parts = iter(_cut(answer, self._vectors))
        mean: dict[str, NDArray[np.float64]] = {}
        for name, shape in self._shapes.items():
            values = [
                self._tenseal.ckks_vector_from(self._clients_context, next(parts)).decrypt()
                for _ in range(-(-math.prod(shape) // SLOTS))
            ]
            mean[name] = np.concatenate(values).reshape(shape) / sum(weights)
        return mean


def _join(parts: Sequence[bytes]) -> bytes:
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def _cut(data: bytes, count: int) -> list[bytes]:
    parts: list[bytes] = []
    offset = 0
    for _ in range(count):
        if offset + _LENGTH.size > len(data):
            raise WireFormatError("a message ends before its last tensor")
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size
        if length > len(data) - offset:
            raise WireFormatError("a message ends within a tensor")
        parts.append(data[offset : offset + length])
        offset += length
    if offset != len(data):
        raise WireFormatError("a message goes on after its last tensor")
    return parts
