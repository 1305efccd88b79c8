"""Values to digits to packed blocks and back: quantising, digits, messages, fields.

Quantising has two forms. In double, Python's own floats are used: IEEE, one rounding an operation,
round() ties to even. In float, NumPy's float32 operations do the same with 24 bits. All the rest is
exact: integers, and fractions where a fused operation rounds once.

Functions that say `code` take anything with the numbers of a block's arithmetic: a plan, or the
`Code` below where a test needs numbers that no plan has.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from . import ring

FORMATS = {"float32": "<f", "float64": "<d", "float16": "<e"}
#: float's constants keep clear of where float ends, so that no product of them is subnormal.
FLOAT_CONSTANT_LEAST, FLOAT_CONSTANT_MOST = 2.0**-60, 2.0**60
FLOAT_LEVELS_MAX = (1 << 15) - 1


@dataclass(frozen=True)
class Code:
    """L digits in base t, in fields of B bits, over the first k primes."""

    limbs: int
    field_bits: int
    base: int
    digits: int

    @property
    def moduli(self) -> tuple[int, ...]:
        return ring.primes()[: self.limbs]

    @property
    def delta(self) -> int:
        return (1 << self.field_bits) // self.base**self.digits


# --- floating-point types -------------------------------------------------------------------------


def round_to_dtype(value: float, dtype: str) -> float:
    """The nearest value of the dtype (ties to even), as a double."""
    if dtype == "bfloat16":
        return bfloat16_value(bfloat16_bits(value))
    try:
        return struct.unpack(FORMATS[dtype], struct.pack(FORMATS[dtype], value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def bfloat16_value(bits: int) -> float:
    """A bfloat16 is the upper half of a float32."""
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def bfloat16_bits(value: float) -> int:
    """Nearest bfloat16 (ties to even) of a float32 value."""
    word = struct.unpack("<I", struct.pack("<f", value))[0]
    return (word + 0x7FFF + (word >> 16 & 1)) >> 16 & 0xFFFF


def float32_of(exact: Fraction) -> float:
    """The float32 nearest to a rational number, ties to even; within float32's normal range."""
    if exact == 0:
        return 0.0
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if size < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** (exponent - 23)  # of the binade [2^exponent, 2^(exponent + 1))
    rounded = float(round(size / step) * step)  # Fraction rounds ties to even; 24 bits are exact
    assert 2.0**-126 <= rounded < 2.0**128
    return math.copysign(rounded, exact)


# --- values and digits ----------------------------------------------------------------------------


def levels_of(value_bits: int) -> int:
    """Quantised values lie in [-levels, levels]."""
    return (1 << (value_bits - 1)) - 1


def is_float_constant(value: float) -> bool:
    """May this constant be rounded to float?"""
    return FLOAT_CONSTANT_LEAST <= abs(value) <= FLOAT_CONSTANT_MOST


def quantises_in_float(dtype: str, weight: float, limit: float, levels: int) -> bool:
    """Which of the two forms an update's values take."""
    constants = (weight, limit, levels / limit)
    return (
        dtype != "float64"
        and levels <= FLOAT_LEVELS_MAX
        and all(is_float_constant(c) for c in constants)
    )


def quantise_one(
    value: float, weight: float, limit: float, levels: int, random: int | None = None
) -> tuple[int, bool]:
    """(digit in [0, 2 levels], clipped?) of one finite value, in double."""
    y = weight * value
    clipped = abs(y) > limit
    if clipped:
        y = math.copysign(limit, y)
    t = y * (levels / limit)
    v = round(t) if random is None else math.floor(t + random * 2.0**-32)
    return max(-levels, min(levels, v)) + levels, clipped


def quantise_in_float(
    values: list[float], weight: float, limit: float, levels: int, random: list[int] | None = None
) -> tuple[list[int], int]:
    """Digits and the clip count of finite values that float32 holds, in float."""
    single = np.float32
    held = np.array(values, dtype=single)
    inverse_step = single(levels / limit)
    with np.errstate(over="ignore", under="ignore"):
        y = single(weight) * held
        clipped = np.abs(y) > single(limit)
        y = np.where(clipped, np.copysign(single(limit), y), y)
        t = y * inverse_step
        assert t.dtype == single
        if random is None:
            v = np.rint(t)
        else:
            below = np.floor(t)
            part = (np.array(random, dtype=np.uint64) >> np.uint64(8)).astype(single)
            up = part * single(2.0**-24) < t - below
            v = below + up.astype(single)
    digits = [max(-levels, min(levels, int(x))) + levels for x in v]
    return digits, int(clipped.sum())


def quantise(
    values: list[float],
    weight: float,
    limit: float,
    value_bits: int,
    random: list[int] | None = None,
    in_float: bool = False,
) -> tuple[list[int], int]:
    """Digits and the clip count."""
    levels = levels_of(value_bits)
    if in_float:
        return quantise_in_float(values, weight, limit, levels, random)
    words: list[int | None] = list(random) if random is not None else [None] * len(values)
    pairs = [
        quantise_one(value, weight, limit, levels, word)
        for value, word in zip(values, words, strict=True)
    ]
    return [digit for digit, _ in pairs], sum(clipped for _, clipped in pairs)


def dequantises_in_float(dtype: str, base: int, scale: float) -> bool:
    """Which of the two forms summed digits take: a float holds every digit below 2^24."""
    return dtype == "float32" and base <= 1 << 24 and is_float_constant(scale)


def dequantise_one(
    digit: int, offset: int, scale: float, dtype: str, in_float: bool = False
) -> float:
    """(digit - offset) * scale, rounded once (double) or as one fused operation allows (float)."""
    v = digit - offset
    if not in_float:
        return round_to_dtype(float(v) * scale, dtype)
    assert dtype == "float32"
    assert abs(v) < 1 << 24
    high = round_to_dtype(scale, dtype)
    low = round_to_dtype(scale - high, dtype)
    small = round_to_dtype(float(v) * low, dtype)  # 24 bits by 24 bits: exact in double
    return float32_of(v * Fraction(high) + Fraction(small))


# --- digits and messages --------------------------------------------------------------------------


def place_of(index: int, coefficients: int) -> tuple[int, int]:
    """(digit, coefficient) of value `index` of a block."""
    return index // coefficients, index % coefficients


def encode_block(digits: list[int], code, coefficients: int) -> list[int]:
    """Digits of one block -> messages m below t^L. Places without a value carry digit 0."""
    assert len(digits) <= coefficients * code.digits
    messages = [0] * coefficients
    for index, digit in enumerate(digits):
        assert 0 <= digit < code.base
        place, coefficient = place_of(index, coefficients)
        messages[coefficient] += digit * code.base**place
    return messages


def decode_block(messages: list[int], code, count: int) -> list[int]:
    """Messages -> the first `count` (summed) digits."""
    out = []
    for index in range(count):
        place, coefficient = place_of(index, len(messages))
        out.append(messages[coefficient] // code.base**place % code.base)
    return out


# --- messages and fields --------------------------------------------------------------------------


def centred(value: int, bits: int) -> int:
    """The representative modulo 2^bits in [-2^(bits - 1), 2^(bits - 1))."""
    half = 1 << (bits - 1)
    return (value + half) % (1 << bits) - half


def masked(code, pads: tuple[int, ...], error: int) -> tuple[int, ...]:
    """u = a r + e, its residues in [0, q_i)."""
    return tuple((p + error) % q for p, q in zip(pads, code.moduli, strict=True))


def encrypt_coefficient(code, u: tuple[int, ...], message: int) -> int:
    """round((u + lift(Delta m)) mod q)."""
    lifted = ring.lift(code.delta * message, code.moduli, code.field_bits)
    shifted = tuple((x + lifted) % q for x, q in zip(u, code.moduli, strict=True))
    return ring.round_residues(shifted, code.moduli, code.field_bits)


def difference(code, field: int, pads: tuple[int, ...]) -> int:
    """field - round(pad) modulo 2^B: Delta m and the noise."""
    pad = tuple(p % q for p, q in zip(pads, code.moduli, strict=True))
    return (field - ring.round_residues(pad, code.moduli, code.field_bits)) % (1 << code.field_bits)


def message_of(code, phase: int) -> int | None:
    """The message nearest to a difference; None when it is out of range (t^L or more)."""
    m = (phase + code.delta // 2) % (1 << code.field_bits) // code.delta
    return m if m < code.base**code.digits else None


def encrypt_block(
    code, pad_rows: list[list[int]], errors: list[int], messages: list[int]
) -> list[int]:
    """Fields of a block's first len(messages) coefficients; one row of pads a limb."""
    pads = list(zip(*(row[: len(messages)] for row in pad_rows), strict=True))
    return [
        encrypt_coefficient(code, masked(code, pad, e), m)
        for pad, e, m in zip(pads, errors, messages, strict=True)
    ]


def decrypt_block(code, pad_rows: list[list[int]], fields: list[int]) -> list[int] | None:
    """Messages of a block, or None when one is out of range."""
    pads = zip(*(row[: len(fields)] for row in pad_rows), strict=True)
    messages = [
        message_of(code, difference(code, f, pad)) for f, pad in zip(fields, pads, strict=True)
    ]
    return None if None in messages else [m for m in messages if m is not None]


def noise_of_block(code, pad_rows: list[list[int]], fields: list[int]) -> list[int]:
    """The centred differences of a block of zeros."""
    pads = zip(*(row[: len(fields)] for row in pad_rows), strict=True)
    return [
        centred(difference(code, f, pad), code.field_bits)
        for f, pad in zip(fields, pads, strict=True)
    ]
