"""The OpenFHE engine as a cipher: CKKS blocks of real values.

Layer: OpenFHE engine, over opening; the interface is `veilsum.engines.base.Cipher`. Values are
scaled to [-1, 1] and encrypted as they are: nothing is rounded to a grid. Sums are the core's,
which adds residues.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from veilsum import _core
from veilsum.arguments import shown, type_name
from veilsum.engines.base import Cipher, CipherPlan, EncryptOptions, Opener, PlanRequest, Progress
from veilsum.engines.openfhe import keys
from veilsum.engines.openfhe.backend import ComplexValues, Values, drawn
from veilsum.engines.openfhe.opening import Opened, chunks, decrypted, open_blocks
from veilsum.engines.openfhe.plan import NAME, NUMBER, CkksPlan, make_plan, read_plan
from veilsum.errors import ParameterError, TamperedSumError

__all__ = ["CIPHER", "OpenFheCipher"]


class OpenFheCipher:
    """CKKS on OpenFHE; see `veilsum.engines.base.Cipher`."""

    name: Final = NAME
    number: Final = NUMBER

    def plan(self, request: PlanRequest) -> CkksPlan:
        """Check a request and choose parameters; see `make_plan`."""
        return make_plan(request)

    def read_plan(self, fields: bytes) -> CkksPlan:
        """Read a plan's 16 bytes; see `veilsum.engines.openfhe.plan.read_plan`."""
        return read_plan(fields)

    def keygen(self, plan: CipherPlan) -> tuple[_core.SecretKey, _core.PublicKey]:
        """Make a key pair for one key holder."""
        return keys.keygen(_own(plan))

    def check_public_key(self, plan: CipherPlan, public: _core.PublicKey) -> None:
        """Refuse a key that was not made for this plan, or that parties still have to join."""
        keys.check_public_key(_own(plan), public)

    def encrypt(
        self,
        rnd: _core.Round,
        plan: CipherPlan,
        pieces: list[npt.NDArray[Any]],
        dtypes: list[str],
        options: EncryptOptions,
        pads: _core.PadStore | None,
    ) -> _core.Upload:
        """Encrypt one vector for each segment of the round; `rounding` has no effect.

        Raises
        ------
        ParameterError
            When a value is not finite, or clipped though `on_clip` is "error", or there are pads.
        """
        own = _own(plan)
        if pads is not None:
            raise ParameterError("pads are the native engine's; CKKS has none to make ahead")
        key = keys.public_words(own, rnd.public)
        filled = [item for item in zip(pieces, dtypes, strict=True) if item[0].size]
        count = own.blocks(rnd.size)
        out = np.empty((count, 2 * own.polynomial), dtype="<u8")
        clipped = 0
        for first, last in chunks(count):
            start, stop = first * own.slots, min(last * own.slots, rnd.size)
            values = np.zeros((last - first) * own.slots)
            for part in _parts(rnd, start, stop):
                piece, dtype = filled[part.segment]
                place = values[part.low - start : part.high - start]
                place[:] = _floats(piece[part.low - part.begin : part.high - part.begin], dtype)
                clipped += _scale(place, part.limit, options.weight)
            if clipped and options.on_clip == "error":
                raise ParameterError(
                    f"{clipped} values or more lie beyond ±limit; raise the round's limit, or "
                    f"count them with on_clip='count'. Nothing was encrypted"
                )
            _drop_dust(values.reshape(-1, own.slots), own)
            words = drawn(own.context.encrypt, key, values, options.threads)
            out[first:last] = words.reshape(last - first, -1)
            if options.progress is not None:
                options.progress(stop, rnd.size)
        return _core.make_upload(rnd, clipped, out.data.cast("B"))

    def opener(self, rnd: _core.Round, plan: CipherPlan) -> Opener:
        """Return what makes the body of a sum key.

        Raises
        ------
        ParameterError
            When several parties share the key.
        """
        del rnd
        own = _own(plan)
        if own.parties != 1:
            raise ParameterError(
                f"{own.parties} parties share this key: each calls "
                f"veilsum.engines.openfhe.open_share, and combine_shares joins what they give"
            )
        return lambda secret, blocks: open_blocks(own, secret, blocks)

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
        """Decrypt a sum, within `error_bound` times the limit.

        Raises
        ------
        KeyMismatchError
            When `key` was made for another aggregate.
        TamperedSumError
            When the blocks hold no sum of clipped real values; no value is given out.
        """
        del tag_key  # the core refuses rounds of this engine that have tags
        own = _own(plan)
        rnd = total.round
        opened = Opened.read(own, rnd.blocks, key.body)
        values: npt.NDArray[Any] = np.empty(rnd.size, dtype=dtype) if out is None else out
        scale = 1 / total.total_weight if average else 1.0
        start = 0
        try:
            for slots in decrypted(own, opened, total.blocks, threads):
                stop = min(start + slots.size, rnd.size)
                _check_slots(slots, own, total.total_weight, start)
                for part in _parts(rnd, start, stop):
                    found = slots.real[part.low - start : part.high - start]
                    values[part.low : part.high] = found * (part.limit * scale)
                start = stop
                if progress is not None:
                    progress(stop, rnd.size)
        except BaseException:
            values.fill(0)
            raise
        return values


def _own(plan: CipherPlan) -> CkksPlan:
    if not isinstance(plan, CkksPlan):
        raise ParameterError(f"the plan is {type_name(plan)}, another engine's")
    return plan


class _Part(NamedTuple):
    """The part of a segment that lies in a run of values; places count from the first of all."""

    segment: int
    begin: int  #: of the segment
    low: int
    high: int
    limit: float


def _parts(rnd: _core.Round, start: int, stop: int) -> Iterator[_Part]:
    """Yield the segments' parts of values start ... stop."""
    begin = 0
    for segment, (count, limit) in enumerate(rnd.segments):
        low, high = max(start, begin), min(stop, begin + count)
        if low < high:
            yield _Part(segment, begin, low, high, limit)
        begin += count


def _floats(piece: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    if dtype != "bfloat16":
        return piece
    bits: npt.NDArray[Any] = piece.astype(np.uint32) << np.uint32(16)
    return bits.view(np.float32)


def _scale(values: Values, limit: float, weight: float) -> int:
    """Turn values into weight * x / limit, clipped to ±1; return how many were clipped."""
    if not np.isfinite(values).all():
        raise ParameterError("the update holds a value that is not finite; nothing was encrypted")
    with np.errstate(over="ignore"):
        values *= weight
    clipped = int(np.count_nonzero(np.abs(values) > limit))
    np.clip(values, -limit, limit, out=values)
    values /= limit
    return clipped


def _drop_dust(blocks: Values, plan: CkksPlan) -> None:
    """Let blocks be zeros of which nothing would be left.

    OpenFHE's encoder refuses them ("Scaling factor too small") when every coefficient is below
    half, though not all are 0. The largest of N coefficients is at least sqrt(2) / N * 2^p times
    the length of the slots, so those that are longer than N / 2^1.5 / 2^p pass; a value that is
    dropped is below slots / 2^p, 2^-17 of the error's bound or less.
    """
    blocks[np.linalg.norm(blocks, axis=1) < plan.slots / plan.delta] = 0


def _check_slots(slots: ComplexValues, plan: CkksPlan, weight: int, at: int) -> None:
    """Refuse what no sum of clipped real values can decrypt to.

    Real values went in, so what is imaginary is error, and as wide as that of the real part.
    """
    error = float(np.abs(slots.imag).max())
    if error > plan.error_bound:
        raise TamperedSumError(
            f"the sum is off by more than {plan.error_bound:.3g} of the limit near value "
            f"{shown(at)}, which is the most that N = {plan.ring_degree}, a modulus of "
            f"{plan.log2_modulus} bits and noise for {plan.clients} clients give: an upload was "
            f"made up, or a share is of another key. No value is given out"
        )
    beyond = np.abs(slots.real) > weight + plan.error_bound
    if beyond.any():
        index = at + int(np.argmax(beyond))
        raise TamperedSumError(
            f"value {shown(index)} of the sum lies beyond what clipped updates of weight "
            f"{shown(weight)} can give: an upload was made up, or a share is wrong. No value is "
            f"given out"
        )


CIPHER: Final[Cipher] = OpenFheCipher()
