"""Reading a ciphertext as if it hid nothing: what an attack on encrypted uploads starts from.

Leakage layer. An aggregator without a key still holds numbers: the fields of each block. This
module reads them the way decryption does (docs/wire-format.md, "Blocks"), only without taking the
pad off, so every value comes out as whatever the ciphertext says in its place. Were the pads ever
missing, the values would be the update's own, and the attacks would succeed; so a leakage of zero
is measured and not assumed. Ciphertexts of other libraries are read as plain bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from veilsum._core import Upload
from veilsum.api.plans import Plan
from veilsum.api.rounds import Round
from veilsum.errors import ParameterError
from veilsum.lab.leakage.view import View

_WORD_BITS = 52
"""Most bits of a row of fields (docs/wire-format.md)."""

_CRC_BYTES = 4


def read_upload(data: bytes, rnd: Round) -> dict[str, NDArray[np.float64]]:
    """Return the values that an upload would hold if its pads were zero.

    Parameters
    ----------
    data : bytes
        The upload, as the aggregator received it.
    rnd : Round
        Its round, of a mapping of tensors.

    Returns
    -------
    dict of str to ndarray
        One array a tensor of the round, within its range.

    Raises
    ------
    veilsum.WireFormatError
        When the upload is malformed.
    """
    Upload.from_bytes(data, rnd)
    return read_blocks(data[: len(data) - _CRC_BYTES], rnd)


def read_blocks(data: bytes, rnd: Round) -> dict[str, NDArray[np.float64]]:
    """Return the same from any bytes that end with the blocks.

    Parameters
    ----------
    data : bytes
        Its last bytes are the blocks of an upload of the round.
    rnd : Round
        A round of a mapping of tensors.

    Raises
    ------
    veilsum.ParameterError
        When there are fewer bytes than the blocks have.
    """
    plan = rnd.plan
    sizes = _block_sizes(plan, rnd.size)
    check_bytes = rnd.upload_keys * plan.ring_degree * plan.field_bits // 8
    lengths = [count * plan.field_bits // 8 for _, count in sizes]
    total = sum(lengths) + check_bytes
    if len(data) < total:
        raise ParameterError(f"{len(data)} bytes are too few for blocks of {total} bytes")
    packed = np.frombuffer(data, dtype=np.uint8)[len(data) - total :]
    digits = np.empty(rnd.size)
    at = first = 0
    for (values, coefficients), length in zip(sizes, lengths, strict=True):
        fields = _fields(packed[at : at + length], coefficients, plan.field_bits)
        at += length
        # Value v is digit v / coefficients of coefficient v mod coefficients.
        digits[first : first + values] = _digits(fields, plan).reshape(-1)[:values]
        first += values
    levels = 2 ** (plan.value_bits - 1) - 1
    limits = np.concatenate([np.full(count, limit) for count, limit in rnd.segments])
    values_read = np.clip(digits - levels, -levels, levels) * (limits / levels)
    read: dict[str, NDArray[np.float64]] = rnd.layout.assemble(
        values_read, dtype="float64", library="numpy"
    )
    return read


def view_of_upload(
    data: bytes, rnd: Round, tensors: Mapping[str, NDArray[np.generic]], prefix: str = ""
) -> View:
    """Return what an attack on an encrypted upload has to work with.

    Parameters
    ----------
    data : bytes
        The upload.
    rnd : Round
        Its round.
    tensors : mapping of str to ndarray
        Arrays of the model's shapes: which tensors to take out of the round.
    prefix : str
        What the round's names of the model's tensors begin with.
    """
    read = read_upload(data, rnd)
    return View({name: read[prefix + name] for name in tensors})


def view_of_bytes(
    data: bytes, tensors: Mapping[str, NDArray[np.generic]], magnitude: float
) -> View:
    """Return a foreign ciphertext's bytes as numbers, one 32-bit word a value.

    Parameters
    ----------
    data : bytes
        The ciphertext, as it travelled.
    tensors : mapping of str to ndarray
        Arrays of the model's shapes.
    magnitude : float
        Words are spread over plus and minus this: the attacker's idea of an update's size.
    """
    size = sum(array.size for array in tensors.values())
    words = np.frombuffer(data[: len(data) // 4 * 4], dtype="<u4").astype(np.float64)
    if not words.size:
        return View({name: np.full(array.shape, np.nan) for name, array in tensors.items()})
    # The middle of the message: headers are at its start.
    start = max(0, (words.size - size) // 2)
    taken = np.resize(words[start : start + size], size)
    numbers = magnitude * (taken / 2.0**31 - 1)
    cuts = np.cumsum([array.size for array in tensors.values()])[:-1]
    return View(
        {
            name: part.reshape(array.shape)
            for (name, array), part in zip(tensors.items(), np.split(numbers, cuts), strict=True)
        }
    )


def _block_sizes(plan: Plan, size: int) -> list[tuple[int, int]]:
    """Return values and coefficients of each block of values."""
    full = plan.ring_degree * plan.digits
    counts = [full] * (size // full) + ([size % full] if size % full else [])
    return [
        (count, min(plan.ring_degree, 8 * math.ceil(math.ceil(count / plan.digits) / 8)))
        for count in counts
    ]


def _fields(block: NDArray[np.uint8], coefficients: int, bits: int) -> NDArray[np.object_]:
    """Return the field of each coefficient, whose words lie in rows of at most 52 bits."""
    fields = np.zeros(coefficients, dtype=object)
    at = 0
    for low in range(0, bits, _WORD_BITS):
        width = min(_WORD_BITS, bits - low)
        row = block[at : at + coefficients * width // 8]
        at += row.size
        set_bits = np.unpackbits(row, bitorder="little").reshape(-1, width)
        words = set_bits.astype(np.int64) @ np.left_shift(np.int64(1), np.arange(width))
        fields = fields + words.astype(object) * (1 << low)
    return fields


def _digits(fields: NDArray[np.object_], plan: Plan) -> NDArray[np.float64]:
    """Return each digit of each coefficient, rounded as decryption rounds."""
    message = (fields + plan.delta // 2) % (1 << plan.field_bits) // plan.delta
    digits = [message // plan.base**digit % plan.base for digit in range(plan.digits)]
    return np.array(digits, dtype=np.float64)
