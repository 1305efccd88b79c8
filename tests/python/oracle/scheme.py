"""Upload keys, uploads, sums, decryption: the scheme as its equations read.

Nothing is optimised, nothing is constant time, nothing is wiped: this is for tests only. An update
is a list of doubles in runs; each run has a limit and the dtype that holds its values exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from . import blocks, ring, streams
from .plans import Plan

Rows = list[list[int]]


def upload_keys(plan: Plan, round_id: bytes, upload_seed: bytes, count: int) -> Rows:
    """r_0 ... r_(count - 1) of one upload."""
    key = streams.upload_key(round_id, upload_seed)
    return [
        streams.cbd(key, streams.stream_index(streams.UPLOAD_KEY, 0, i), plan.degree)
        for i in range(count)
    ]


def sum_keys(keys: list[Rows], weights: list[int]) -> Rows:
    """R_i = sum of weight * r_i over the uploads."""
    return [
        [
            sum(w * x for w, x in zip(weights, column, strict=True))
            for column in zip(*rs, strict=True)
        ]
        for rs in zip(*keys, strict=True)
    ]


@lru_cache(maxsize=64)
def matrix(plan: Plan, round_seed: bytes, number: int, limb: int) -> list[int]:
    """Slots of the public polynomial a_number, the same for all clients (not to be changed)."""
    return streams.uniform(
        streams.matrix_key(round_seed),
        streams.stream_index(streams.MATRIX, limb, number),
        plan.moduli[limb],
        plan.degree,
    )


@lru_cache(maxsize=64)
def key_slots(key: tuple[int, ...], q: int) -> list[int]:
    """Slots of an upload key (not to be changed)."""
    return ring.ntt([x % q for x in key], q)


def pad(plan: Plan, round_seed: bytes, block: int, keys: Rows) -> Rows:
    """a_(block div kappa) r_(block mod kappa): one row of coefficients a limb."""
    number, which = divmod(block, len(keys))
    rows = []
    for limb, q in enumerate(plan.moduli):
        slots = key_slots(tuple(keys[which]), q)
        a = matrix(plan, round_seed, number, limb)
        rows.append(ring.intt([x * y % q for x, y in zip(a, slots, strict=True)], q))
    return rows


def block_errors(key: bytes, block: int, coefficients: int) -> list[int]:
    """e of one block; `key` is the upload's."""
    index = streams.stream_index(streams.BLOCK_ERRORS, 0, block)
    return streams.cbd(key, index, coefficients)


def block_lengths(plan: Plan, size: int, checks: int) -> list[int]:
    """Coefficients of each block of an upload: value blocks, then check blocks.

    There is a check block for each key, or, where there are tags, none.
    """
    return [length for _, length in plan.block_sizes(size)] + [plan.degree] * checks


def split_blocks(plan: Plan, size: int, checks: int, data: bytes) -> list[bytes]:
    """An upload's blocks, packed, one after another."""
    out, at = [], 0
    for length in block_lengths(plan, size, checks):
        step = plan.block_bytes(length)
        out.append(data[at : at + step])
        at += step
    assert at == len(data)
    return out


@dataclass
class Run:
    """Consecutive values with one limit, of one dtype."""

    count: int
    limit: float
    dtype: str = "float64"


@dataclass
class Upload:
    """What an encryption produces, before it is framed."""

    blocks: list[bytes]
    keys: Rows
    clipped: int
    digits: list[int] = field(default_factory=list)


def rounding_words(plan: Plan, round_id: bytes, rounding_seed: bytes, size: int) -> list[int]:
    """The words of stochastic rounding, one a value: word i of block b's stream for its value i."""
    key = streams.rounding_key(round_id, rounding_seed)
    out = []
    for block, (count, _) in enumerate(plan.block_sizes(size)):
        out += streams.words32(key, streams.stream_index(streams.ROUNDING, 0, block), count)
    return out


def quantise(
    plan: Plan, runs: list[Run], values: list[float], weight: float, words: list[int] | None
) -> tuple[list[int], int]:
    """Digits of a whole update and its clip count."""
    digits, clipped, first = [], 0, 0
    for run in runs:
        part = slice(first, first + run.count)
        more, over = blocks.quantise(
            values[part],
            weight,
            run.limit,
            plan.value_bits,
            None if words is None else words[part],
            blocks.quantises_in_float(run.dtype, weight, run.limit, plan.levels),
        )
        digits += more
        clipped += over
        first += run.count
    assert first == len(values)
    return digits, clipped


def encrypt_digits(
    plan: Plan,
    round_id: bytes,
    round_seed: bytes,
    digits: list[int],
    upload_seed: bytes,
    keys: Rows,
    tagged: bool = False,
) -> list[bytes]:
    """All blocks of an upload, check blocks included where there is no tag."""
    key = streams.upload_key(round_id, upload_seed)
    out, first = [], 0
    checks = 0 if tagged else len(keys)
    sizes = plan.block_sizes(len(digits)) + [(0, plan.degree)] * checks
    for number, (count, coefficients) in enumerate(sizes):
        messages = blocks.encode_block(digits[first : first + count], plan, coefficients)
        fields = blocks.encrypt_block(
            plan,
            pad(plan, round_seed, number, keys),
            block_errors(key, number, coefficients),
            messages,
        )
        out.append(ring.pack_rows(fields, plan.field_bits))
        first += count
    return out


def encrypt(
    plan: Plan,
    round_id: bytes,
    round_seed: bytes,
    runs: list[Run],
    values: list[float],
    *,
    key_count: int,
    upload_seed: bytes,
    rounding_seed: bytes,
    weight: float = 1.0,
    rounding: str = "nearest",
    tagged: bool = False,
) -> Upload:
    """A whole upload from its seeds."""
    words = None
    if rounding == "stochastic":
        words = rounding_words(plan, round_id, rounding_seed, len(values))
    digits, clipped = quantise(plan, runs, values, weight, words)
    keys = upload_keys(plan, round_id, upload_seed, key_count)
    made = encrypt_digits(plan, round_id, round_seed, digits, upload_seed, keys, tagged)
    return Upload(made, keys, clipped, digits)


def sum_blocks(packed: list[bytes], weights: list[int], bits: int) -> bytes:
    """Sum of weight * field modulo 2^bits, for one block of each upload."""
    columns = zip(*(ring.unpack_rows(block, bits) for block in packed), strict=True)
    return ring.pack_rows(
        [sum(w * x for w, x in zip(weights, c, strict=True)) % (1 << bits) for c in columns], bits
    )


def sum_uploads(plan: Plan, uploads: list[list[bytes]], weights: list[int]) -> list[bytes]:
    """The aggregate's blocks."""
    return [
        sum_blocks(list(packed), weights, plan.field_bits) for packed in zip(*uploads, strict=True)
    ]


class WrongKeyError(Exception):
    """A check block or a digit string says that the key does not belong to the blocks."""


def check_blocks(plan: Plan, round_seed: bytes, packed: list[bytes], keys: Rows) -> None:
    """Each coefficient of the check blocks lies within the noise bound."""
    first = len(packed) - len(keys)
    for number in range(first, len(packed)):
        fields = ring.unpack_rows(packed[number], plan.field_bits)
        noise = blocks.noise_of_block(plan, pad(plan, round_seed, number, keys), fields)
        if any(abs(x) > plan.noise_bound for x in noise):
            raise WrongKeyError(f"check block {number - first}")


def decrypt_digits(
    plan: Plan,
    round_seed: bytes,
    packed: list[bytes],
    keys: Rows,
    size: int,
    tagged: bool = False,
) -> list[int]:
    """Summed digits of every value; whether a tag holds is the caller's to check."""
    if not tagged:
        check_blocks(plan, round_seed, packed, keys)
    out: list[int] = []
    for number, (count, _) in enumerate(plan.block_sizes(size)):
        fields = ring.unpack_rows(packed[number], plan.field_bits)
        messages = blocks.decrypt_block(plan, pad(plan, round_seed, number, keys), fields)
        if messages is None:
            raise WrongKeyError(f"block {number}")
        out += blocks.decode_block(messages, plan, count)
    return out


def dequantise(
    plan: Plan,
    segments: list[tuple[int, float]],
    digits: list[int],
    total_weight: int,
    *,
    average: bool = True,
    dtype: str = "float32",
) -> list[float]:
    """(digit - weight * levels) * step, the step divided by the weight for an average."""
    offset = total_weight * plan.levels
    out, first = [], 0
    for count, limit in segments:
        scale = limit / plan.levels
        if average:
            scale /= total_weight
        in_float = blocks.dequantises_in_float(dtype, plan.base, scale)
        for digit in digits[first : first + count]:
            out.append(blocks.dequantise_one(digit, offset, scale, dtype, in_float))
        first += count
    return out
