"""The `plain` engine: a cipher that hides nothing, for tests alone.

IT ENCRYPTS NOTHING. An upload of this engine is the client's values, as integers, for anybody to
read. It is here to show that the rules of Veilsum (rounds, manifests, signatures, ledgers,
envelopes) depend on no cipher, and how little another engine has to write: docs/engines.md counts
its lines. It lies among the tests, which no release holds, and nothing registers it but they.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from veilsum import _core
from veilsum.engines.base import Cipher, CipherPlan, EncryptOptions, Opener, PlanRequest, Progress
from veilsum.errors import (
    KeyMismatchError,
    ParameterError,
    TamperedSumError,
    WireFormatError,
)

__all__ = ["CIPHER", "NAME", "NUMBER", "PlainCipher", "PlainPlan"]

NAME: Final = "plain"
NUMBER: Final = 255
#: Values of a block, and one random word, so that no two uploads are the same: values are added
#: modulo 2^64, and no plan's sum reaches 2^63.
_VALUES: Final = 64
_FIELDS: Final = struct.Struct("<BBBxI8x")  # engine, value bits, weight bits; clients


@dataclass(frozen=True)
class PlainPlan:
    """See `veilsum.engines.base.CipherPlan`."""

    clients: int
    value_bits: int
    weight_bits: int
    facts: _core.Cipher
    security: int = 0
    optimise: str = "speed"
    profile: str = "none"
    parties: int = 1
    ring_degree: int = _VALUES
    limbs: int = 1
    log2_modulus: int = 64
    digits: int = 1
    base: int = 0
    field_bits: int = 0
    delta: int = 1
    noise_bound: float = 0.0
    error_bound: float = 0.0
    bits_per_value: float = 64 * (_VALUES + 1) / _VALUES
    failure_probability: float = 0.0

    @property
    def max_weight(self) -> int:
        """Largest sum of the aggregator's integer weights."""
        return self.clients << self.weight_bits

    @property
    def largest(self) -> int:
        """What ±limit becomes."""
        return (1 << (self.value_bits - 1)) - 1

    def explain(self) -> str:
        """Say what there is to be said."""
        return f"engine     plain: nothing is encrypted; up to {self.clients} clients"


class PlainCipher:
    """See `veilsum.engines.base.Cipher`."""

    name: Final = NAME
    number: Final = NUMBER

    def plan(self, request: PlanRequest) -> PlainPlan:
        """Take the numbers that are asked for; the core checks most of them."""
        if not 2 <= request.value_bits <= 32 or request.parties != 1:
            raise ParameterError("value_bits is outside of 2 ... 32, or there are several parties")
        if not 2 <= request.clients <= 1 << 20 or not 0 <= request.weight_bits <= 20:
            raise ParameterError("clients or weight_bits is out of range")
        facts = _core.ResidueCipher(
            engine=NUMBER,
            fields=_FIELDS.pack(NUMBER, request.value_bits, request.weight_bits, request.clients),
            clients=request.clients,
            weight_bits=request.weight_bits,
            max_weight=request.clients << request.weight_bits,
            block_values=_VALUES,
            moduli=[0],
            row_words=_VALUES + 1,
        )
        return PlainPlan(request.clients, request.value_bits, request.weight_bits, facts)

    def read_plan(self, fields: bytes) -> PlainPlan:
        """Read what `plan` would have written."""
        if len(fields) != _FIELDS.size:
            raise WireFormatError(f"a plan has {_FIELDS.size} bytes, not {len(fields)}")
        _, value_bits, weight_bits, clients = _FIELDS.unpack(fields)
        try:
            made = self.plan(PlanRequest(clients, value_bits, weight_bits))
        except ParameterError as error:
            raise WireFormatError(f"the plan is malformed: {error}") from None
        if bytes(made.facts.fields) != fields:
            raise WireFormatError("the plan is malformed: this version would not have made it")
        return made

    def keygen(self, plan: CipherPlan) -> tuple[_core.SecretKey, _core.PublicKey]:
        """Make a pair that only has an id."""
        secret = os.urandom(32)
        body = plan.facts.fields + hashlib.sha256(secret).digest()
        public = _core.PublicKey(NUMBER, body)
        return _core.SecretKey(secret, public), public

    def check_public_key(self, plan: CipherPlan, public: _core.PublicKey) -> None:
        """Refuse a key of another plan."""
        if public.body[: _FIELDS.size] != plan.facts.fields or public.parts:
            raise KeyMismatchError("the public key was made for another plan")
        if len(public.body) != _FIELDS.size + 32:
            raise WireFormatError(f"the public key is malformed: it has {len(public.body)} bytes")

    def encrypt(
        self,
        rnd: _core.Round,
        plan: CipherPlan,
        pieces: list[npt.NDArray[Any]],
        dtypes: list[str],
        options: EncryptOptions,
        pads: _core.PadStore | None,
    ) -> _core.Upload:
        """Round to integers. They are not encrypted."""
        if pads is not None:
            raise ParameterError("pads are the native engine's")
        filled = [item for item in zip(pieces, dtypes, strict=True) if item[0].size]
        values, clipped = [], 0
        for (piece, dtype), (_, limit) in zip(filled, rnd.segments, strict=True):
            if dtype == "bfloat16":
                piece = (piece.astype(np.uint32) << np.uint32(16)).view(np.float32)
            if not np.isfinite(piece).all():
                raise ParameterError("the update holds a value that is not finite")
            with np.errstate(over="ignore"):
                scaled = piece.astype(np.float64) * options.weight
            clipped += int(np.count_nonzero(np.abs(scaled) > limit))
            values.append(np.rint(np.clip(scaled / limit, -1, 1) * _own(plan).largest))
        if clipped and options.on_clip == "error":
            raise ParameterError(f"{clipped} of {rnd.size} values lie beyond ±limit")
        if options.progress is not None:
            options.progress(rnd.size, rnd.size)
        blocks = np.zeros((rnd.blocks, _VALUES + 1), dtype="<i8")
        places = np.zeros(rnd.blocks * _VALUES)
        places[: rnd.size] = np.concatenate(values)
        blocks[:, :_VALUES] = places.reshape(-1, _VALUES)
        blocks[:, _VALUES] = np.frombuffer(os.urandom(8 * rnd.blocks), dtype="<i8")
        return _core.make_upload(rnd, clipped, blocks.data.cast("B"))

    def opener(self, rnd: _core.Round, plan: CipherPlan) -> Opener:
        """Return what names the aggregate's blocks: that is all that a key of this engine does."""
        del rnd, plan
        return lambda secret, blocks: hashlib.sha256(blocks).digest()

    def decrypt(
        self,
        key: _core.SumKey,
        total: _core.Aggregate,
        plan: CipherPlan,
        *,
        average: bool,
        dtype: str,
        threads: int,
        progress: Progress | None,
        out: npt.NDArray[Any] | None,
        tag_key: bytes | None,
    ) -> npt.NDArray[Any]:
        """Read the sum, which everybody can, but only for who has its key."""
        del threads, tag_key
        rnd, own = total.round, _own(plan)
        values: npt.NDArray[Any] = np.zeros(rnd.size, dtype=dtype) if out is None else out
        values.fill(0)
        if key.body != hashlib.sha256(total.blocks).digest():
            raise KeyMismatchError("the sum key was made for other blocks than this aggregate's")
        words = np.frombuffer(total.blocks, dtype="<i8").reshape(-1, _VALUES + 1)
        flat = words[:, :_VALUES].reshape(-1)[: rnd.size]
        bound = total.total_weight * own.largest
        if not ((flat >= -bound) & (flat <= bound)).all():
            raise TamperedSumError("a value is beyond what clipped updates can sum to")
        limits = np.repeat([limit for _, limit in rnd.segments], [n for n, _ in rnd.segments])
        if progress is not None:  # which may cancel: then zeros are left
            progress(rnd.size, rnd.size)
        values[:] = flat * (limits / own.largest / (total.total_weight if average else 1))
        return values


def _own(plan: CipherPlan) -> PlainPlan:
    if not isinstance(plan, PlainPlan):
        raise ParameterError(f"the plan is a {type(plan).__qualname__}, another engine's")
    return plan


CIPHER: Final[Cipher] = PlainCipher()
