"""Quantising, lanes and planes.

Floats here are Python floats: IEEE double, one rounding an operation, round() ties to even, which
is the arithmetic the format prescribes.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from .plans import Plan

FORMATS = {"float32": "<f", "float64": "<d", "float16": "<e"}


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


@dataclass(frozen=True)
class Step:
    """The numbers of one segment: limit and its quantisation step."""

    limit: float
    levels: int

    @property
    def inverse(self) -> float:
        return self.levels / self.limit


def quantise_one(
    value: float, weight: float, step: Step, random: int | None = None
) -> tuple[int, bool]:
    """(digit in [0, 2 levels], clipped?) of one finite value."""
    y = weight * value
    clipped = abs(y) > step.limit
    if clipped:
        y = math.copysign(step.limit, y)
    t = y * step.inverse
    v = round(t) if random is None else math.floor(t + random * 2.0**-32)
    v = max(-step.levels, min(step.levels, v))
    return v + step.levels, clipped


def quantise(
    values: list[float],
    weight: float,
    limit: float,
    value_bits: int,
    random: list[int] | None = None,
) -> tuple[list[int], int]:
    """Digits and the clip count."""
    step = Step(limit, (1 << (value_bits - 1)) - 1)
    out, clipped = [], 0
    for i, value in enumerate(values):
        digit, over = quantise_one(value, weight, step, None if random is None else random[i])
        out.append(digit)
        clipped += over
    return out, clipped


def dequantise_one(digit: int, offset: int, scale: float, dtype: str) -> float:
    return round_to_dtype(float(digit - offset) * scale, dtype)


def place_of(index: int, coefficients: int) -> tuple[int, int]:
    """(lane, coefficient) of value `index` of a block: lane-major."""
    return index // coefficients, index % coefficients


def encode_block(digits: list[int], plan: Plan, coefficients: int) -> list[int]:
    """Digits of one block -> message coefficients m. Places without a value carry digit 0."""
    assert len(digits) <= coefficients * plan.lanes
    messages = [0] * coefficients
    for index, digit in enumerate(digits):
        lane, coefficient = place_of(index, coefficients)
        messages[coefficient] += digit << lane * plan.lane_bits
    return messages


def decode_block(messages: list[int], plan: Plan, count: int) -> list[int]:
    """Message coefficients -> the first `count` (summed) digits."""
    mask = (1 << plan.lane_bits) - 1
    out = []
    for index in range(count):
        lane, coefficient = place_of(index, len(messages))
        out.append(messages[coefficient] >> lane * plan.lane_bits & mask)
    return out


def planes_of(messages: list[int], plan: Plan) -> list[list[int]]:
    """Messages cut into planes of whole lanes, lowest first."""
    mask = (1 << plan.plane_bits) - 1
    return [[m >> p * plan.plane_bits & mask for m in messages] for p in range(plan.planes)]
