"""Quantise and dequantise kernels of every level against IEEE arithmetic, float and double."""

import math
import struct
from fractions import Fraction

import numpy as np
import pytest

from oracle import blocks

LENGTHS = [*range(36), 63, 64, 65, 127, 128, 129, 1000]
DTYPES = ["float32", "float64", "float16", "bfloat16"]
#: (dtype, computed in float?)
FORMS = [
    ("float32", False),
    ("float32", True),
    ("float64", False),
    ("float16", False),
    ("float16", True),
    ("bfloat16", False),
    ("bfloat16", True),
]
TINY = {"float32": 2.0**-149, "float64": 5e-324, "float16": 2.0**-24, "bfloat16": 2.0**-133}


def to_bytes(values, dtype):
    if dtype == "bfloat16":
        return b"".join(struct.pack("<H", blocks.bfloat16_bits(v)) for v in values)
    return b"".join(struct.pack(blocks.FORMATS[dtype], v) for v in values)


def from_bytes(data, dtype):
    if dtype == "bfloat16":
        return [blocks.bfloat16_value(bits) for bits in struct.unpack(f"<{len(data) // 2}H", data)]
    letter = blocks.FORMATS[dtype]
    return [v[0] for v in struct.iter_unpack(letter, data)]


def held(values, dtype):
    """The values as the dtype holds them."""
    return from_bytes(to_bytes(values, dtype), dtype)


def check(door, level, values, form, *, weight=1.0, limit=1.0, bits=16, random=None):
    dtype, in_float = form
    expected, clipped = blocks.quantise(held(values, dtype), weight, limit, bits, random, in_float)
    out, out_clipped, finite = door.quantise(
        level,
        to_bytes(values, dtype),
        dtype,
        weight,
        limit,
        bits,
        None if random is None else np.array(random, dtype=np.uint32),
        in_float,
    )
    assert finite
    assert out.tolist() == expected
    assert out_clipped == clipped
    return expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stochastic", [False, True])
def test_quantise_of_every_length(door, isa_level, form, stochastic, rng):
    for count in LENGTHS:
        values = [rng.uniform(-1.3, 1.3) for _ in range(count)]
        random = [rng.getrandbits(32) for _ in range(count)] if stochastic else None
        check(door, isa_level, values, form, random=random)


@pytest.mark.parametrize("form", FORMS)
def test_quantise_at_the_edges(door, isa_level, form, rng):
    """Around +-limit, at ties, at zero, at the smallest numbers; each limit and width in turn."""
    dtype, in_float = form
    for bits in (2, 3, 4, 8, 15, 16) if in_float else (2, 3, 4, 8, 15, 16, 17, 24, 31, 32):
        levels = blocks.levels_of(bits)
        for limit in (1.0, 0.5, 3.0, 0.1, 1e-3, 1000.0):
            step = limit / levels
            values = [0.0, -0.0, limit, -limit, TINY[dtype], -TINY[dtype]]
            for anchor in (limit, -limit, limit - step / 2, step / 2, 1.5 * step, 2.5 * step):
                values += [math.nextafter(anchor, math.inf), anchor, math.nextafter(anchor, -9)]
                single = blocks.round_to_dtype(anchor, dtype)
                values += [single, single * (1 + 2.0**-10), single * (1 - 2.0**-10)]
                values += [single * (1 + 2.0**-23), single * (1 - 2.0**-23)]
            values += [k * step / 2 for k in (-5, -3, -1, 1, 3, 5)]
            values += [rng.uniform(-2, 2) * limit for _ in range(20)]
            check(door, isa_level, values, form, limit=limit, bits=bits)
            for word in (0, 1, 255, 256, 2**31, 2**32 - 257, 2**32 - 256, 2**32 - 1):
                random = [word] * len(values)
                check(door, isa_level, values, form, limit=limit, bits=bits, random=random)


@pytest.mark.parametrize("limit", [1e-290, 1e-300, 1e-30, 1e30, 1e300, 1.7976931348623157e308])
def test_quantise_with_extreme_limits(door, isa_level, limit, rng):
    """Wherever levels / limit is finite; rounds admit less (1e-290 ... 1e290)."""
    values = [limit * rng.uniform(-1, 1) for _ in range(40)] + [limit, -limit, 0.0]
    check(door, isa_level, values, ("float64", False), limit=limit)


@pytest.mark.parametrize("exponent", [-60, -44, -30, 30, 45, 60])
def test_quantise_in_float_at_the_ends_of_its_constants(door, isa_level, exponent, rng):
    """Limits, weights and steps of 2^-60 ... 2^60, values over all of float32."""
    scale = 2.0**exponent
    wide = [math.ldexp(rng.uniform(-1, 1), rng.randrange(-140, 127)) for _ in range(200)]
    near = [scale * rng.uniform(-2, 2) for _ in range(200)]
    for weight in (1.0, 2.0**-60, -(2.0**60), 0.3, 1 / scale):
        for bits in (2, 16):
            if not all(
                blocks.is_float_constant(c) for c in (weight, scale, blocks.levels_of(bits) / scale)
            ):
                continue
            for values in (wide, near, [v / weight for v in near if abs(v / weight) < 1e38]):
                form = ("float32", True)
                check(door, isa_level, values, form, limit=scale, bits=bits, weight=weight)
                random = [rng.getrandbits(32) for _ in values]
                check(
                    door, isa_level, values, form, limit=scale, bits=bits, weight=weight,
                    random=random,
                )  # fmt: skip


@pytest.mark.parametrize("weight", [0.0, -0.0, -1.0, 0.3, 1 / 3, 1e-200, 1e200, 5e-324])
def test_quantise_with_weights(door, isa_level, weight, rng):
    values = [rng.uniform(-2, 2) for _ in range(50)]
    check(door, isa_level, values, ("float32", False), weight=weight)
    check(door, isa_level, values, ("float64", False), weight=weight, bits=32)
    if blocks.is_float_constant(weight):
        check(door, isa_level, values, ("float32", True), weight=weight)


def test_quantise_when_the_product_overflows(door, isa_level):
    """An infinite weight * value of finite factors lies beyond the limit: clipped, counted."""
    form = ("float64", False)
    values = [1e300, -1e300, 0.0, -0.0, 1e-300, 1.7e308, -1.7e308, 5e-324] * 5
    check(door, isa_level, values, form, weight=1e300)
    check(door, isa_level, values, form, weight=-1e300, random=[2**32 - 1] * 40)
    check(door, isa_level, values, form, weight=1e300, limit=1e290)
    values = [3e38, -3e38, 0.0, -0.0, 2.0**-149, 1e30, -1e30, 1.0] * 5
    check(door, isa_level, values, ("float32", True), weight=2.0**60)
    check(door, isa_level, values, ("float32", True), weight=-(2.0**60), random=[0] * 40)


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_float_is_within_its_bound_of_the_exact_quotient(door, isa_level, stochastic, bits, rng):
    """levels * 2^-22 steps: four roundings of 2^-24 (weight, limit or product, step, quotient).

    Against rationals, with weights and limits that float does not hold; values near the ties, where
    the error decides, included.
    """
    levels = blocks.levels_of(bits)
    slack = Fraction(levels, 1 << 22)
    assert slack < Fraction(8, 1000)
    half = Fraction(1) if stochastic else Fraction(1, 2)
    for _ in range(60):
        limit = math.ldexp(rng.uniform(0.5, 1), rng.randrange(-20, 20))
        weight = rng.choice((1.0, rng.uniform(-2, 2), 1 / 3))
        exact_step = Fraction(limit) / levels
        values = [rng.uniform(-1, 1) * limit / weight for _ in range(200)]
        values += [
            (k + 0.5) * limit / levels / weight for k in rng.sample(range(-levels, levels), 50)
        ]
        values = held(values, "float32")
        random = [rng.getrandbits(32) for _ in values] if stochastic else None
        digits = check(
            door, isa_level, values, ("float32", True), weight=weight, limit=limit, bits=bits,
            random=random,
        )  # fmt: skip
        for value, digit in zip(values, digits, strict=True):
            exact = Fraction(weight) * Fraction(value) / exact_step
            exact = max(Fraction(-levels), min(Fraction(levels), exact))
            assert abs(digit - levels - exact) <= half + slack


@pytest.mark.parametrize("form", [f for f in FORMS if f[0] in ("float16", "bfloat16")])
def test_quantise_every_16_bit_number(door, isa_level, form):
    dtype, in_float = form
    data = b"".join(struct.pack("<H", bits) for bits in range(1 << 16))
    values = from_bytes(data, dtype)
    finite = [i for i, v in enumerate(values) if math.isfinite(v)]
    kept = b"".join(data[2 * i : 2 * i + 2] for i in finite)
    for limit in (1.0, 1e-4, 60000.0):
        expected, clipped = blocks.quantise(
            [values[i] for i in finite], 1.0, limit, 16, None, in_float
        )
        out = door.quantise(isa_level, kept, dtype, 1.0, limit, 16, None, in_float)
        assert out[0].tolist() == expected
        assert out[1:] == (clipped, True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_quantise_reports_every_non_finite_place(door, isa_level, form, bad, rng):
    dtype, in_float = form
    for count in (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40):
        values = held([rng.uniform(-2, 2) for _ in range(count)], dtype)
        width = len(to_bytes(values, dtype)) // count
        for place in range(count):
            data = bytearray(to_bytes(values, dtype))
            if dtype == "bfloat16":
                word = struct.unpack("<I", struct.pack("<f", bad))[0] >> 16
                item = struct.pack("<H", word)
            else:
                item = struct.pack(blocks.FORMATS[dtype], bad)
            data[width * place : width * (place + 1)] = item
            for random in (None, np.zeros(count, dtype=np.uint32)):
                for weight in (1.0, 2.0**-60):
                    out = door.quantise(
                        isa_level, bytes(data), dtype, weight, 1.0, 16, random, in_float
                    )
                    assert out[2] is False


@pytest.mark.parametrize("in_float", [False, True])
def test_signalling_nan_is_not_finite(door, isa_level, in_float):
    for dtype, item in [
        ("float32", struct.pack("<I", 0x7F800001)),
        ("float64", struct.pack("<Q", 0x7FF0000000000001)),
        ("float16", struct.pack("<H", 0x7C01)),
        ("bfloat16", struct.pack("<H", 0x7F81)),
    ]:
        if in_float and dtype == "float64":
            continue
        for count in (1, 9, 17):
            out = door.quantise(isa_level, item * count, dtype, 1.0, 1.0, 16, None, in_float)
            assert out[2] is False


# --- back -----------------------------------------------------------------------------------------


def check_back(door, level, digits, offset, scale, dtype, in_float=False, wide=False):
    out = door.dequantise(
        level,
        np.array(digits, dtype=np.uint64 if wide else np.uint32),
        offset,
        scale,
        dtype,
        in_float,
    )
    assert out == b"".join(
        struct.pack(blocks.FORMATS[dtype], blocks.dequantise_one(d, offset, scale, dtype, in_float))
        for d in digits
    )


SCALES = (1.0, 1 / 3, 1e-7, 0.1 / 32767, 1.0 / 3e9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("wide", [False, True])
def test_dequantise_in_double(door, isa_level, dtype, wide, rng):
    for count in LENGTHS:
        top = 1 << rng.choice((33, 40, 48, 52) if wide else (2, 16, 20, 32))
        digits = [rng.choice((0, top - 1, top // 2, rng.randrange(top))) for _ in range(count)]
        offset = rng.choice((0, 1, top // 2, top - 1, (1 << 52) - 1))
        check_back(door, isa_level, digits, offset, rng.choice(SCALES), dtype, wide=wide)


def test_dequantise_in_float(door, isa_level, rng):
    """One fused operation and one product, where |digit - offset| < 2^24."""
    for count in LENGTHS:
        offset = rng.choice((0, 1, 1 << 15, 327670, (1 << 24) - 1))
        top = min(2 * offset, offset + (1 << 24) - 1) if offset else (1 << 24) - 1
        digits = [rng.choice((0, top, offset, rng.randrange(top + 1))) for _ in range(count)]
        digits = [d for d in digits if abs(d - offset) < 1 << 24]
        scale = rng.choice((*SCALES, 2.0**-60, 2.0**60, math.ldexp(rng.uniform(1, 2), -17)))
        check_back(door, isa_level, digits, offset, scale, "float32", in_float=True)


def test_dequantise_in_float_is_the_nearest_but_for_a_few_in_2_24(door, isa_level, rng):
    """What two floats of scale are for: a single float would be wrong for one result in three."""
    count, wrong, single = 6000, 0, 0
    offset = (1 << 23) - 1
    for _ in range(5):
        scale = math.ldexp(rng.uniform(1, 2), -20)
        digits = [rng.randrange(1 << 24) for _ in range(count)]
        out = door.dequantise(
            isa_level, np.array(digits, dtype=np.uint32), offset, scale, "float32", True
        )
        values = np.frombuffer(out, dtype=np.float32)
        high = blocks.round_to_dtype(scale, "float32")
        for digit, value in zip(digits, values.tolist(), strict=True):
            nearest = blocks.float32_of((digit - offset) * Fraction(scale))
            wrong += value != nearest
            single += blocks.float32_of((digit - offset) * Fraction(high)) != nearest
    assert wrong <= 1
    assert single > 5 * count / 100


def test_dequantise_rounds_to_float32_once(door, isa_level):
    """Products that lie on, just above and just below a tie between two float32 numbers."""
    digits = [(1 << 24) + 1, (1 << 24) + 3, (1 << 25) + 2, (1 << 25) + 6, 1, 3]
    for scale in (1.0, math.nextafter(1.0, 2.0), math.nextafter(1.0, 0.0), 2.0**-126, 2.0**-149):
        for wide in (np.uint32, np.uint64):
            out = door.dequantise(
                isa_level, np.array(digits * 3, dtype=wide), 0, scale, "float32", False
            )
            expected = [np.float32(float(p) * scale) for p in digits * 3]
            assert out == np.array(expected, dtype=np.float32).tobytes()


def test_quantised_sums_come_back_exactly(door, isa_level, rng):
    """dequantise(sum of digits) with scale 1 is the integer sum of the signed levels."""
    bits, clients, count = 16, 10, 100
    levels = blocks.levels_of(bits)
    total = [0] * count
    for _ in range(clients):
        values = [rng.uniform(-1, 1) for _ in range(count)]
        digits = check(door, isa_level, values, ("float32", True), bits=bits)
        total = [a + b for a, b in zip(total, digits, strict=True)]
    for dtype, in_float in (("float64", False), ("float32", False), ("float32", True)):
        out = door.dequantise(
            isa_level, np.array(total, dtype=np.uint32), clients * levels, 1.0, dtype, in_float
        )
        signed = [d - clients * levels for d in total]
        assert [v[0] for v in struct.iter_unpack(blocks.FORMATS[dtype], out)] == signed
