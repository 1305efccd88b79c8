"""Quantise and dequantise kernels of every level against IEEE double arithmetic in Python."""

import math
import struct

import numpy as np
import pytest

from oracle import codec

LENGTHS = [*range(36), 63, 64, 65, 127, 128, 129, 1000]
DTYPES = ["float32", "float64", "float16", "bfloat16"]


def to_bytes(values, dtype):
    if dtype == "bfloat16":
        return b"".join(struct.pack("<H", codec.bfloat16_bits(v)) for v in values)
    return b"".join(struct.pack(codec.FORMATS[dtype], v) for v in values)


def from_bytes(data, dtype):
    if dtype == "bfloat16":
        return [codec.bfloat16_value(bits) for bits in struct.unpack(f"<{len(data) // 2}H", data)]
    letter = codec.FORMATS[dtype]
    return [v[0] for v in struct.iter_unpack(letter, data)]


def held(values, dtype):
    """The values as the dtype holds them."""
    return from_bytes(to_bytes(values, dtype), dtype)


def check(door, level, values, dtype, *, weight=1.0, limit=1.0, bits=16, shift=0, plane=None,
          random=None):  # fmt: skip
    expected, clipped = codec.quantise(held(values, dtype), weight, limit, bits, random)
    expected = [digit << shift for digit in expected]
    if plane is not None:
        expected = [p | e for p, e in zip(plane, expected, strict=True)]
    out, out_clipped, finite = door.quantise(
        level,
        to_bytes(values, dtype),
        dtype,
        weight,
        limit,
        bits,
        shift,
        None if plane is None else np.array(plane, dtype=np.uint64),
        None if random is None else np.array(random, dtype=np.uint32),
    )
    assert finite
    assert out.tolist() == expected
    assert out_clipped == clipped


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stochastic", [False, True])
def test_quantise_of_every_length(door, isa_level, dtype, stochastic, rng):
    for count in LENGTHS:
        values = [rng.uniform(-1.3, 1.3) for _ in range(count)]
        random = [rng.getrandbits(32) for _ in range(count)] if stochastic else None
        check(door, isa_level, values, dtype, random=random)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantise_at_the_edges(door, isa_level, dtype, rng):
    """Around +-limit, at ties, at zero, at the smallest numbers; each limit and width in turn."""
    tiny = {"float32": 2.0**-149, "float64": 5e-324, "float16": 2.0**-24, "bfloat16": 2.0**-133}
    for bits in (2, 3, 4, 8, 15, 16, 17, 24, 31, 32):
        levels = (1 << (bits - 1)) - 1
        for limit in (1.0, 0.5, 3.0, 0.1, 1e-3, 1000.0):
            step = limit / levels
            values = [0.0, -0.0, limit, -limit, tiny[dtype], -tiny[dtype]]
            for anchor in (limit, -limit, limit - step / 2, step / 2, 1.5 * step, 2.5 * step):
                values += [math.nextafter(anchor, math.inf), anchor, math.nextafter(anchor, -9)]
                single = codec.round_to_dtype(anchor, dtype)
                values += [single, single * (1 + 2.0**-10), single * (1 - 2.0**-10)]
            values += [k * step / 2 for k in (-5, -3, -1, 1, 3, 5)]
            values += [rng.uniform(-2, 2) * limit for _ in range(20)]
            check(door, isa_level, values, dtype, limit=limit, bits=bits)
            for word in (0, 1, 2**31, 2**32 - 1):
                random = [word] * len(values)
                check(door, isa_level, values, dtype, limit=limit, bits=bits, random=random)


@pytest.mark.parametrize("limit", [1e-290, 1e-300, 1e-30, 1e30, 1e300, 1.7976931348623157e308])
def test_quantise_with_extreme_limits(door, isa_level, limit, rng):
    """Wherever levels / limit is finite; rounds admit less (1e-290 ... 1e290)."""
    values = [limit * rng.uniform(-1, 1) for _ in range(40)] + [limit, -limit, 0.0]
    check(door, isa_level, values, "float64", limit=limit)


@pytest.mark.parametrize("weight", [0.0, -0.0, -1.0, 0.3, 1 / 3, 1e-200, 1e200, 5e-324])
def test_quantise_with_weights(door, isa_level, weight, rng):
    values = [rng.uniform(-2, 2) for _ in range(50)]
    check(door, isa_level, values, "float32", weight=weight)
    check(door, isa_level, values, "float64", weight=weight, bits=32)


def test_quantise_when_the_product_overflows(door, isa_level):
    """An infinite weight * value of finite factors lies beyond the limit: clipped, counted."""
    values = [1e300, -1e300, 0.0, -0.0, 1e-300, 1.7e308, -1.7e308, 5e-324] * 5
    check(door, isa_level, values, "float64", weight=1e300)
    check(door, isa_level, values, "float64", weight=-1e300, random=[2**32 - 1] * 40)
    check(door, isa_level, values, "float64", weight=1e300, limit=1e290)


@pytest.mark.parametrize("bits", [2, 16, 24, 32])
def test_quantise_into_a_lane(door, isa_level, bits, rng):
    """Shifted, or-ed into lanes that are there already, and overwriting."""
    for shift in {0, 1, 16, 20, 48 - bits}:
        for count in (1, 7, 8, 9, 33):
            values = [rng.uniform(-1, 1) for _ in range(count)]
            mask = ((1 << bits) - 1) << shift
            plane = [rng.getrandbits(48) & ~mask for _ in range(count)]
            check(door, isa_level, values, "float32", bits=bits, shift=shift, plane=plane)
            check(door, isa_level, values, "float32", bits=bits, shift=shift)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_quantise_every_16_bit_number(door, isa_level, dtype):
    data = b"".join(struct.pack("<H", bits) for bits in range(1 << 16))
    values = from_bytes(data, dtype)
    finite = [i for i, v in enumerate(values) if math.isfinite(v)]
    kept = b"".join(data[2 * i : 2 * i + 2] for i in finite)
    for limit in (1.0, 1e-4, 60000.0):
        expected, clipped = codec.quantise([values[i] for i in finite], 1.0, limit, 16)
        out = door.quantise(isa_level, kept, dtype, 1.0, limit, 16, 0, None, None)
        assert out[0].tolist() == expected
        assert out[1:] == (clipped, True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_quantise_reports_every_non_finite_place(door, isa_level, dtype, bad, rng):
    for count in (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40):
        values = held([rng.uniform(-2, 2) for _ in range(count)], dtype)
        width = len(to_bytes(values, dtype)) // count
        for place in range(count):
            data = bytearray(to_bytes(values, dtype))
            if dtype == "bfloat16":
                word = struct.unpack("<I", struct.pack("<f", bad))[0] >> 16
                item = struct.pack("<H", word)
            else:
                item = struct.pack(codec.FORMATS[dtype], bad)
            data[width * place : width * (place + 1)] = item
            for random in (None, np.zeros(count, dtype=np.uint32)):
                out = door.quantise(isa_level, bytes(data), dtype, 1.0, 1.0, 16, 0, None, random)
                assert out[2] is False


def test_signalling_nan_is_not_finite(door, isa_level):
    for dtype, item in [
        ("float32", struct.pack("<I", 0x7F800001)),
        ("float64", struct.pack("<Q", 0x7FF0000000000001)),
        ("float16", struct.pack("<H", 0x7C01)),
        ("bfloat16", struct.pack("<H", 0x7F81)),
    ]:
        for count in (1, 9, 17):
            out = door.quantise(isa_level, item * count, dtype, 1.0, 1.0, 16, 0, None, None)
            assert out[2] is False


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dequantise(door, isa_level, dtype, rng):
    for count in LENGTHS:
        lane_bits = rng.choice((2, 16, 20, 33, 48))
        shift = rng.randrange(49 - lane_bits)
        mask = (1 << lane_bits) - 1
        plane = [rng.getrandbits(50) for _ in range(count)]
        for i in range(min(count, 3)):
            plane[i] = (0, mask, mask >> 1)[i] << shift
        offset = rng.choice((0, 1, mask >> 1, mask, (1 << 52) - 1))
        scale = rng.choice((1.0, 1 / 3, 1e-7, 0.1 / 32767, 1.0 / 3e9))
        out = door.dequantise(
            isa_level, np.array(plane, dtype=np.uint64), shift, mask, offset, scale, dtype
        )
        expected = b"".join(
            struct.pack(
                codec.FORMATS[dtype],
                codec.dequantise_one(p >> shift & mask, offset, scale, dtype),
            )
            for p in plane
        )
        assert out == expected


def test_dequantise_rounds_to_float32_once(door, isa_level):
    """Products that lie on, just above and just below a tie between two float32 numbers."""
    plane = [(1 << 24) + 1, (1 << 24) + 3, (1 << 25) + 2, (1 << 25) + 6, 1, 3]
    for scale in (1.0, math.nextafter(1.0, 2.0), math.nextafter(1.0, 0.0), 2.0**-126, 2.0**-149):
        out = door.dequantise(
            isa_level,
            np.array(plane * 3, dtype=np.uint64),
            0,
            (1 << 48) - 1,
            0,
            scale,
            "float32",
        )
        expected = np.array([np.float32(float(p) * scale) for p in plane * 3], dtype=np.float32)
        assert out == expected.tobytes()


def test_quantised_sums_come_back_exactly(door, isa_level, rng):
    """dequantise(sum of digits) with scale 1 is the integer sum of the signed levels."""
    bits, clients, count = 16, 10, 100
    levels = (1 << (bits - 1)) - 1
    total = [0] * count
    signed = [0] * count
    for _ in range(clients):
        values = held([rng.uniform(-1, 1) for _ in range(count)], "float32")
        digits, _ = codec.quantise(values, 1.0, 1.0, bits)
        out, _, _ = door.quantise(
            isa_level, to_bytes(values, "float32"), "float32", 1.0, 1.0, bits, 0, None, None
        )
        assert out.tolist() == digits
        total = [a + b for a, b in zip(total, digits, strict=True)]
        signed = [a + b - levels for a, b in zip(signed, digits, strict=True)]
    out = door.dequantise(
        isa_level,
        np.array(total, dtype=np.uint64),
        0,
        (1 << 20) - 1,
        clients * levels,
        1.0,
        "float64",
    )
    assert [v[0] for v in struct.iter_unpack("<d", out)] == signed
