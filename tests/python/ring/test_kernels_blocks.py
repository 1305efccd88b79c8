"""Block kernels of every level: encrypt, decrypt, check, sum, pack, against Python integers."""

import functools

import numpy as np
import pytest

from oracle import blocks, ring, streams

# limbs, B, t, L of the plans that use them, and extremes: the narrowest and the widest fields, the
# smallest base, bases beyond 32 bits, one to eight planes, rows that end in one bit and in 52.
SHAPES = {
    "n2048, 10 clients, 16 bits": (1, 43, 655351, 2),
    "n2048, 10 clients, 8 bits": (1, 38, 2551, 3),
    "n2048, 3 clients, 4 bits": (1, 42, 46, 7),
    "n2048, one digit, narrow": (1, 26, 655351, 1),
    "n2048, one digit of 40 bits": (1, 45, (1 << 40) - 87, 1),
    "1 limb, narrowest field": (1, 8, 7, 1),
    "1 limb, B = 27": (1, 27, 46, 3),
    "1 limb, widest field": (1, 46, 3, 26),
    "1 limb, Delta = 1": (1, 45, 1 << 15, 3),
    "n4096, 10 clients, 16 bits": (2, 81, 655351, 4),
    "n4096, 1000 clients, 24 bits": (2, 83, 16777215001, 2),
    "2 limbs, fields of one word": (2, 50, 2551, 4),
    "2 limbs, B = 52": (2, 52, 655351, 2),
    "2 limbs, B = 53": (2, 53, 655351, 2),
    "2 limbs, widest field": (2, 94, 46, 15),
    "2 limbs, digits of 44 bits": (2, 94, (1 << 44) - 17, 2),
    "2 limbs, one digit of 52 bits": (2, 66, (1 << 52) - 47, 1),
    "n8192, 10 clients, 16 bits": (4, 178, 655351, 9),
    "4 limbs, widest field": (4, 190, 46, 33),
    "4 limbs, three words": (4, 156, 2551, 13),
    "4 limbs, B = 157": (4, 157, 2551, 13),
    "4 limbs, eight planes": (4, 190, 4187593114, 5),
    "4 limbs, digits of 49 bits": (4, 188, (1 << 49) - 81, 3),
    "4 limbs, 96 digits": (4, 190, 3, 96),
}
LENGTHS = [8, 16, 24, 32, 40, 48, 56, 64, 72, 128, 136]
LAZY_FACTOR = 8
WORD_BITS = 52


@functools.cache
def arithmetic_of(door, limbs, field_bits, base, digits):
    return door.Arithmetic(limbs, field_bits, base, digits)


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def code(request):
    return blocks.Code(*request.param)


def arithmetic(door, code):
    return arithmetic_of(door, code.limbs, code.field_bits, code.base, code.digits)


def words(value, count=4):
    return [value >> WORD_BITS * i & (1 << WORD_BITS) - 1 for i in range(count)]


def u64(rows):
    return np.array(rows, dtype=np.uint64)


def u32(rows):
    return np.array(rows, dtype=np.uint32)


# --- constants ------------------------------------------------------------------------------------


def divider(value):
    shift = (value - 1).bit_length()
    return (value, -(-(1 << 50 + shift) // value), shift)


def test_constants(door, code):
    made = arithmetic(door, code).constants()
    q, bits, t = 1, code.field_bits, code.base
    for p in code.moduli:
        q *= p
    assert made["moduli"] == [(p, (1 << 48) - p) for p in code.moduli]
    assert made["row_bits"] == ring.row_widths(bits)
    assert made["words"] == len(made["row_bits"])
    assert made["residue_bits"] == 48
    assert made["half_delta"] == words(code.delta // 2)
    assert made["limit"] == words(code.delta * t**code.digits)
    group, planes = made["digits_per_plane"], made["planes"]
    assert planes == -(-code.digits // group)
    scale = code.delta if code.limbs == 1 else 1
    assert made["digit_scales"] == [scale * t**d for d in range(group)]
    for p in range(planes):
        divisor = code.delta * t ** (group * p)
        assert made["divisors"][p] == words(divisor)
        assert made["plane_scales"][p] == words(divisor * q % (1 << bits))
        # 1 / D computed from the nearest double of D: within two roundings of the true value.
        assert abs(made["reciprocals"][p] - 1 / divisor) <= 2.0**-51 / divisor
    if group > 1:
        assert made["base"] == divider(t)
    if code.limbs == 1:
        assert (group, planes) == (code.digits, 1)
        assert made["delta"] == divider(code.delta)
        return
    assert t**group <= 1 << WORD_BITS
    fraction_bits = 48 * (code.limbs + 1)
    for limb, p in enumerate(code.moduli):
        inverse = pow(q // p, -1, p)
        assert made["hat_inverses"][limb] == inverse
        assert made["hat_inverse_companions"][limb] == (inverse << WORD_BITS) // p
        assert made["fractions"][limb] == words((1 << fraction_bits) // p)
        scales = [-(pow(2, WORD_BITS * w, p) * pow(2, -bits, p)) % p for w in range(4)]
        assert made["lift_scales"][limb] == scales
        assert made["lift_companions"][limb] == [(s << WORD_BITS) // p for s in scales]


@pytest.mark.parametrize(
    ("limbs", "bits", "base", "digits"),
    [
        (1, 7, 3, 1),
        (1, 47, 3, 1),
        (2, 95, 3, 1),
        (4, 191, 3, 1),
        (3, 100, 3, 1),
        (1, 43, 1, 2),
        (2, 90, (1 << 52) + 1, 1),
        (1, 43, 655351, 0),
        (1, 43, 655351, 3),
        (4, 190, 2, 97),
        (2, 39, 655351, 3),
    ],
)
def test_numbers_that_do_not_fit_together_are_refused(door, limbs, bits, base, digits):
    with pytest.raises(ValueError, match="digits in base"):
        door.Arithmetic(limbs, bits, base, digits)


# --- encryption -----------------------------------------------------------------------------------


def lazy(rng, moduli, length, kind):
    """Pads as kernels take them: low 52 bits in [0, 8 q), anything above."""
    choose = {
        "zero": lambda q: 0,
        "largest": lambda q: LAZY_FACTOR * q - 1,
        "edges": lambda q: (
            rng.randrange(LAZY_FACTOR) * q + rng.choice((0, 1, 7, 8, 9, q - 9, q - 8, q - 1))
        ),
        "random": lambda q: rng.randrange(LAZY_FACTOR * q),
    }[kind]
    leftover = (lambda: 0) if kind in ("zero", "largest") else (lambda: rng.getrandbits(12))
    return [[choose(q) | leftover() << WORD_BITS for _ in range(length)] for q in moduli]


def value_of(row):
    """Lazy residues -> the numbers they stand for."""
    return [x & (1 << WORD_BITS) - 1 for x in row]


def digit_rows(rng, code, length, kind="random"):
    """What one client sends: digits below t and below 2^32."""
    top = min(code.base, 1 << 32) - 1
    choose = {
        "zero": lambda: 0,
        "largest": lambda: top,
        "edges": lambda: rng.choice((0, 1, top, top // 2)),
        "random": lambda: rng.choice((0, 1, top, rng.randrange(top + 1), rng.randrange(top + 1))),
    }[kind]
    return [[choose() for _ in range(length)] for _ in range(code.digits)]


def messages_of(code, rows, length):
    return [sum(rows[d][j] * code.base**d for d in range(code.digits)) for j in range(length)]


KINDS = ("random", "edges", "largest", "zero")


def cases(rng):
    """(length, kind of pads, kind of digits, two strides)."""
    for turn, length in enumerate([*LENGTHS, 520]):
        strides = [length + rng.choice((0, 8, 64)) for _ in range(2)]
        yield length, KINDS[turn % 4], KINDS[(turn + turn // 4) % 4], *strides


def test_encrypt_block(door, isa_level, code, rng):
    numbers = arithmetic(door, code)
    for length, pad_kind, digit_kind, pad_stride, digit_stride in cases(rng):
        pads = lazy(rng, code.moduli, pad_stride, pad_kind)
        digits = digit_rows(rng, code, digit_stride, digit_kind)
        key, index = rng.randbytes(32), rng.getrandbits(64)
        errors = streams.cbd(key, index, length)
        round_keys = door.aes_round_keys(key)
        for rows in (digits, None):
            out = door.encrypt_block(
                isa_level,
                numbers,
                u64(pads),
                None if rows is None else u32(rows),
                round_keys,
                index,
                length,
            )
            messages = [0] * length if rows is None else messages_of(code, rows, length)
            fields = blocks.encrypt_block(code, [value_of(r) for r in pads], errors, messages)
            assert out == ring.pack_rows(fields, code.field_bits)


def test_pads_ahead(door, isa_level, code, rng):
    """make_pad gives u in [0, q), packed; encrypt_from_pad then what encrypt_block gives."""
    numbers = arithmetic(door, code)
    for length, pad_kind, digit_kind, pad_stride, digit_stride in cases(rng):
        pads = u64(lazy(rng, code.moduli, pad_stride, pad_kind))
        digits = u32(digit_rows(rng, code, digit_stride, digit_kind))
        key, index = rng.randbytes(32), rng.getrandbits(64)
        errors = streams.cbd(key, index, length)
        round_keys = door.aes_round_keys(key)
        pad = door.make_pad(isa_level, numbers, pads, round_keys, index, length)
        assert pad == b"".join(
            ring.pack([(x + e) % q for x, e in zip(value_of(row), errors, strict=False)], 48)
            for row, q in zip(pads.tolist(), code.moduli, strict=True)
        )
        for rows in (digits, None):
            at_once = door.encrypt_block(isa_level, numbers, pads, rows, round_keys, index, length)
            assert door.encrypt_from_pad(isa_level, numbers, pad, rows) == at_once


def test_encrypt_from_any_residues(door, isa_level, code, rng):
    """At 0, 1 and q - 1 in every combination of limbs."""
    numbers = arithmetic(door, code)
    for length in (*LENGTHS, 520):
        residues = [
            [rng.choice((0, 1, q - 2, q - 1, rng.randrange(q))) for _ in range(length)]
            for q in code.moduli
        ]
        digits = digit_rows(rng, code, length + 8)
        pad = b"".join(ring.pack(row, 48) for row in residues)
        fields = [
            blocks.encrypt_coefficient(code, u, m)
            for u, m in zip(
                zip(*residues, strict=True), messages_of(code, digits, length), strict=True
            )
        ]
        out = door.encrypt_from_pad(isa_level, numbers, pad, u32(digits))
        assert out == ring.pack_rows(fields, code.field_bits)


# --- decryption -----------------------------------------------------------------------------------


def interesting_phases(code, rng, length):
    """Differences in range, in [0, 2^B), around every place where the division could slip."""
    size, delta, half = 1 << code.field_bits, code.delta, code.delta // 2
    top = code.base**code.digits
    edges = [0, 1, half, half + 1, (top - 1) * delta, top * delta - half - 1]
    quotients = [1, 2, top - 1, top // 2, rng.randrange(1, top)]
    quotients += [code.base**d * k for d in range(code.digits) for k in (1, code.base - 1)]
    for quotient in quotients:
        edges += [quotient * delta - half + nudge for nudge in (-1, 0, 1)]
    edges = [x % size for x in edges if blocks.message_of(code, x) is not None]
    while len(edges) < length:
        near = rng.randrange(top) * delta - half + rng.choice((-1, 0, 1, delta - 1))
        for x in (near, rng.randrange(top * delta) - half):
            if blocks.message_of(code, x) is not None:
                edges.append(x % size)
    rng.shuffle(edges)
    return edges[:length]


def pack_phases(code, phases, pads):
    """Fields that are `phases` above the rounded pads."""
    fields = []
    for x, residues in zip(phases, zip(*(value_of(r) for r in pads), strict=True), strict=False):
        pad = tuple(r % q for r, q in zip(residues, code.moduli, strict=True))
        rounded = ring.round_residues(pad, code.moduli, code.field_bits)
        fields.append((x + rounded) % (1 << code.field_bits))
    return ring.pack_rows(fields, code.field_bits)


def digits_of(code, message):
    return [message // code.base**d % code.base for d in range(code.digits)]


def expected_digits(code, phases):
    return [digits_of(code, blocks.message_of(code, x)) for x in phases]


def widths(code):
    """Digit rows of 64 bits hold any base, of 32 bits those up to 2^32."""
    return (True,) if code.base > 1 << 32 else (False, True)


def test_decrypt_block_divides_exactly(door, isa_level, code, rng):
    """Every x in range, not only honest ones: digit by digit what floor division gives."""
    numbers = arithmetic(door, code)
    for length, pad_kind, _, stride, _ in cases(rng):
        phases = interesting_phases(code, rng, length)
        pads = lazy(rng, code.moduli, stride, pad_kind)
        packed = pack_phases(code, phases, pads)
        for wide in widths(code):
            in_range, out = door.decrypt_block(isa_level, numbers, packed, u64(pads), wide)
            assert in_range
            assert out.T.tolist() == expected_digits(code, phases)


def test_decrypt_block_says_when_a_string_of_digits_is_out_of_range(door, isa_level, code, rng):
    """One coefficient of t^L or more anywhere, by one or by much (none if Delta t^L = 2^B)."""
    size, top = 1 << code.field_bits, code.base**code.digits
    half = code.delta // 2
    beyond = [x for x in (top * code.delta, size - 1) if top * code.delta <= x < size]
    numbers = arithmetic(door, code)
    for length in (8, 24):
        for place in range(length):
            pads = lazy(rng, code.moduli, length, KINDS[place % 4])
            phases = interesting_phases(code, rng, length)
            for x in beyond:
                phases[place] = (x - half) % size
                packed = pack_phases(code, phases, pads)
                for wide in widths(code):
                    assert not door.decrypt_block(isa_level, numbers, packed, u64(pads), wide)[0]
            phases[place] = (top * code.delta - 1 - half) % size
            packed = pack_phases(code, phases, pads)
            assert door.decrypt_block(isa_level, numbers, packed, u64(pads), True)[0]


def test_decrypt_block_of_any_bytes(door, isa_level, code, rng):
    """No field is invalid: the answer is that of the definition, whatever the bytes."""
    numbers = arithmetic(door, code)
    for turn in range(40):
        length = rng.choice(LENGTHS)
        size = length // 8 * code.field_bits
        packed = rng.choice((rng.randbytes(size), b"\xff" * size, bytes(size)))
        pads = lazy(rng, code.moduli, length, KINDS[turn % 4])
        fields = ring.unpack_rows(packed, code.field_bits)
        messages = blocks.decrypt_block(code, [value_of(r) for r in pads], fields)
        in_range, out = door.decrypt_block(isa_level, numbers, packed, u64(pads), True)
        assert in_range == (messages is not None)
        if messages is not None:
            assert out.T.tolist() == [digits_of(code, m) for m in messages]


@pytest.mark.slow
def test_decrypt_block_divides_exactly_a_million_times(door, isa_level, code, rng):
    numbers = arithmetic(door, code)
    zero = [[0] * 1024 for _ in code.moduli]
    for _ in range(1_000_000 // 1024 // len(SHAPES)):
        phases = interesting_phases(code, rng, 1024)
        packed = ring.pack_rows(phases, code.field_bits)
        in_range, out = door.decrypt_block(isa_level, numbers, packed, u64(zero), True)
        assert in_range
        assert out.T.tolist() == expected_digits(code, phases)


def test_the_largest_noise_is_still_decoded(door, isa_level, code, rng):
    """+-floor((Delta - 1) / 2) on every place; one more is not: the bound is tight."""
    numbers = arithmetic(door, code)
    limit = (code.delta - 1) // 2
    top = code.base**code.digits - 1
    length = 64
    pads = [[0] * length for _ in code.moduli]
    messages = [rng.choice((1, top - 1, rng.randrange(1, top))) for _ in range(length)]
    expected = [digits_of(code, m) for m in messages]

    def decode(noise):
        phases = [(code.delta * m + noise) % (1 << code.field_bits) for m in messages]
        packed = ring.pack_rows(phases, code.field_bits)
        return door.decrypt_block(isa_level, numbers, packed, u64(pads), True)[1].T.tolist()

    assert decode(limit) == expected
    assert decode(-limit) == expected
    assert decode(limit + 1) != expected
    even = code.delta % 2 == 0  # then -Delta / 2 still rounds up
    assert decode(-limit - 1 - even) != expected


BOUNDS = [0, 1, 8, 1000, (1 << 40) - 1]


def test_noise_in_bounds(door, isa_level, code, rng):
    """At the bound, one beyond it, on either side, at every place, and half a modulus away."""
    numbers = arithmetic(door, code)
    size = 1 << code.field_bits
    for turn, bound in enumerate(b for b in BOUNDS if 2 * b + 2 < size):
        length = (8, 16, 24, 72, 136)[turn]
        pads = lazy(rng, code.moduli, length, KINDS[turn % 4])
        rounded = ring.unpack_rows(pack_phases(code, [0] * length, pads), code.field_bits)

        def check(noise, pads=pads, rounded=rounded, bound=bound):
            fields = [(x + f) % size for x, f in zip(noise, rounded, strict=True)]
            packed = ring.pack_rows(fields, code.field_bits)
            return door.noise_in_bounds(isa_level, numbers, packed, u64(pads), bound)

        noise = [rng.choice((bound, -bound, 0, rng.randint(-bound, bound))) for _ in range(length)]
        assert check(noise)
        for place in range(length) if length <= 24 else (0, 1, 63, 64, length - 1):
            beyond = rng.randint(bound + 1, size - bound - 1)
            for bad in (bound + 1, -bound - 1, size // 2, beyond):
                assert not check([*noise[:place], bad, *noise[place + 1 :]])


# --- sums -----------------------------------------------------------------------------------------


def random_blocks(rng, code, count, length, kind="random"):
    size = length // 8 * code.field_bits
    return [b"\xff" * size if kind == "largest" else rng.randbytes(size) for _ in range(count)]


def expected_sum(code, sources, factors):
    bits = code.field_bits
    columns = zip(*(ring.unpack_rows(s, bits) for s in sources), strict=True)
    return ring.pack_rows(
        [sum(w * x for w, x in zip(factors, c, strict=True)) % (1 << bits) for c in columns], bits
    )


SUM_COUNTS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65]


def random_weights(rng, count):
    weights = [rng.randrange(1 << 20) // count for _ in range(count)]
    weights[rng.randrange(count)] = rng.choice((0, 1, (1 << 20) // count))
    return weights


@pytest.mark.parametrize("weighted", [False, True])
def test_sum_fields(door, isa_level, code, weighted, rng):
    numbers = arithmetic(door, code)
    for turn, count in enumerate(SUM_COUNTS):
        length = rng.choice(LENGTHS)
        sources = random_blocks(rng, code, count, length, ("random", "largest")[turn % 3 == 1])
        weights = random_weights(rng, count) if weighted else None
        in_place = rng.choice((None, 0, count - 1))
        out = door.sum_fields(isa_level, numbers, sources, weights, False, in_place)
        assert out == expected_sum(code, sources, weights or [1] * count)


@pytest.mark.parametrize("weighted", [False, True])
def test_sum_fields_subtracts(door, isa_level, code, weighted, rng):
    """source_0 minus the weighted others: how an upload leaves an aggregate."""
    numbers = arithmetic(door, code)
    for turn, count in enumerate([1, 2, 3, 9, 64]):
        length = rng.choice(LENGTHS)
        sources = random_blocks(rng, code, count, length, ("random", "largest")[turn % 3 == 1])
        weights = [1, *random_weights(rng, count - 1)] if weighted and count > 1 else None
        out = door.sum_fields(isa_level, numbers, sources, weights, True, rng.choice((None, 0)))
        factors = weights or [1] * count
        assert out == expected_sum(code, sources, [factors[0], *(-w for w in factors[1:])])


@pytest.mark.parametrize("length", [*LENGTHS, 2048, 2056])
def test_sum_fields_of_every_length(door, isa_level, length, rng):
    for shape in ("n2048, 10 clients, 16 bits", "4 limbs, B = 157"):
        code = blocks.Code(*SHAPES[shape])
        sources = random_blocks(rng, code, 3, length)
        for weights in (None, [3, 0, 1 << 19]):
            out = door.sum_fields(isa_level, arithmetic(door, code), sources, weights)
            assert out == expected_sum(code, sources, weights or [1, 1, 1])


@pytest.mark.parametrize("count", [1000, pytest.param(4096, marks=pytest.mark.slow)])
def test_sum_fields_of_many_largest_fields(door, isa_level, code, count):
    (source,) = random_blocks(None, code, 1, 16, "largest")
    out = door.sum_fields(isa_level, arithmetic(door, code), [source] * count, None)
    total = -count % (1 << code.field_bits)
    assert out == ring.pack_rows([total] * 16, code.field_bits)


@pytest.mark.parametrize(
    "weights", [[1 << 20], [1 << 19, 1 << 19], [(1 << 20) - 1, 1], [1024] * 1024]
)
def test_sum_fields_of_the_largest_weights(door, isa_level, code, weights):
    (source,) = random_blocks(None, code, 1, 8, "largest")
    out = door.sum_fields(isa_level, arithmetic(door, code), [source] * len(weights), weights)
    total = -sum(weights) % (1 << code.field_bits)
    assert out == ring.pack_rows([total] * 8, code.field_bits)


# --- packing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 53))
def test_pack_and_unpack_fields(door, isa_level, bits, rng):
    """Every width: all zeros, all ones, single bits, random; lengths around the vectors."""
    for length in [*LENGTHS, 1024]:
        for kind in ("random", "ones", "zeros", "one bit"):
            fields = {
                "random": [rng.getrandbits(bits) for _ in range(length)],
                "ones": [(1 << bits) - 1] * length,
                "zeros": [0] * length,
                "one bit": [1 << rng.randrange(bits) for _ in range(length)],
            }[kind]
            packed = door.pack_fields(isa_level, u64(fields), bits)
            assert packed == ring.pack(fields, bits)
            assert door.unpack_fields(isa_level, packed, bits).tolist() == fields
