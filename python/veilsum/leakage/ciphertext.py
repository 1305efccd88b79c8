"""Reading a ciphertext as if it hid nothing: what an attack on encrypted uploads starts from.

Leakage layer. An aggregator without a key still holds numbers: the residues of each block. This
module reads them the way decryption does (docs/wire-format.md, "Blocks"), only without taking the
pad off, so every value comes out as whatever the ciphertext says in its place. Were the pads ever
missing, the values would be the update's own, and the attacks would succeed; so a leakage of zero
is measured and not assumed. Ciphertexts of other libraries are read as plain bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import veilsum as vs
from veilsum.errors import ParameterError
from veilsum.leakage.view import View

_PRIMES = (1125899904679937, 1125899903991809, 1125899903827969, 1125899903795201)
"""Moduli of the limbs, in order (docs/wire-format.md)."""

_RESIDUE_BITS = 50
_CRC_BYTES = 4


def read_upload(data: bytes, rnd: vs.Round) -> dict[str, NDArray[np.float64]]:
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
    vs.Upload.from_bytes(data, rnd)
    return read_blocks(data[: len(data) - _CRC_BYTES], rnd)


def read_blocks(data: bytes, rnd: vs.Round) -> dict[str, NDArray[np.float64]]:
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
    row_bytes = [count * _RESIDUE_BITS // 8 for _, count in sizes]
    total = plan.limbs * sum(row_bytes)
    if len(data) < total:
        raise ParameterError(f"{len(data)} bytes are too few for blocks of {total} bytes")
    packed = np.frombuffer(data, dtype=np.uint8)[len(data) - total :]
    digits = np.empty(rnd.size)
    at = first = 0
    for (values, _), length in zip(sizes, row_bytes, strict=True):
        rows = [_unpack(packed[at + i * length : at + (i + 1) * length]) for i in range(plan.limbs)]
        at += plan.limbs * length
        lanes = _lanes(rows, plan)
        # Value v sits in lane v / coefficients of coefficient v mod coefficients.
        digits[first : first + values] = lanes.reshape(-1)[:values]
        first += values
    levels = 2 ** (plan.value_bits - 1) - 1
    limits = np.concatenate([np.full(count, limit) for count, limit in rnd.segments])
    values_read = np.clip(digits - levels, -levels, levels) * (limits / levels)
    read: dict[str, NDArray[np.float64]] = rnd.structure.assemble(
        values_read, dtype="float64", library="numpy"
    )
    return read


def view_of_upload(
    data: bytes, rnd: vs.Round, tensors: Mapping[str, NDArray[np.generic]], prefix: str = ""
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


def _block_sizes(plan: vs.Plan, size: int) -> list[tuple[int, int]]:
    """Return values and coefficients of each block."""
    full = plan.ring_degree * plan.lanes
    counts = [full] * (size // full) + ([size % full] if size % full else [])
    return [
        (count, min(plan.ring_degree, 8 * math.ceil(math.ceil(count / plan.lanes) / 8)))
        for count in counts
    ]


def _unpack(row: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the residues of one packed row."""
    bits = np.unpackbits(row, bitorder="little").reshape(-1, _RESIDUE_BITS)
    powers = np.left_shift(np.int64(1), np.arange(_RESIDUE_BITS, dtype=np.int64))
    return np.asarray(bits.astype(np.int64) @ powers, dtype=np.int64)


def _lanes(rows: list[NDArray[np.int64]], plan: vs.Plan) -> NDArray[np.float64]:
    """Return the digit in each lane of each coefficient, rounded as decryption rounds."""
    if plan.limbs == 1:
        coefficients: Any = rows[0]
    else:
        moduli = _PRIMES[: plan.limbs]
        product = math.prod(moduli)
        joined = np.zeros(len(rows[0]), dtype=object)
        for row, prime in zip(rows, moduli, strict=True):
            other = product // prime
            joined = joined + row.astype(object) * (other * pow(other, -1, prime))
        coefficients = joined % product
    digits = (coefficients + plan.delta // 2) // plan.delta
    mask = (1 << plan.lane_bits) - 1
    lanes = [(digits >> (plan.lane_bits * lane)) & mask for lane in range(plan.lanes)]
    return np.array(lanes, dtype=np.float64)
