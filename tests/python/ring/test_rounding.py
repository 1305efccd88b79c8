"""`round` and `lift`: their error bounds in exact fractions, and every level at every kind of edge.

The bounds are the ones the planner counts on. Kernels show `round` alone (a message of zeros) and
`lift` through it: a sum that lies on the first integer of a rounding interval, or one before it,
tells which of the two integers `lift` gave.
"""

import functools
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from oracle import blocks, ring

#: limbs, B, t, L with t^L = 2^B, so that every difference of two fields shows in the digits.
CODES = [
    (1, 8, 2, 8),
    (1, 10, 2, 10),
    (1, 26, 2, 26),
    (1, 27, 2, 27),
    (1, 28, 2, 28),
    (1, 43, 2, 43),
    (1, 46, 2, 46),
    (2, 10, 2, 10),
    (2, 47, 2, 47),
    (2, 52, 2, 52),
    (2, 81, 2, 81),
    (2, 94, 2, 94),
    (4, 48, 2, 48),
    (4, 96, 2, 96),
    (4, 104, 4, 52),
    (4, 156, 4, 78),
    (4, 178, 4, 89),
    (4, 190, 4, 95),
]
DELTA = (1 << 48) - ring.primes()[0]
#: epsilon of DESIGN for one limb, in units of 2^(B - 48).
EPSILON_ONE = Fraction(DELTA, 1 << 27) + Fraction(DELTA**2, 1 << 48) * (1 + Fraction(1, 1 << 23))


def name_of(numbers):
    return f"{numbers[0]} limbs, B = {numbers[1]}"


@pytest.fixture(params=CODES, ids=name_of)
def code(request):
    return blocks.Code(*request.param)


@pytest.fixture(params=[c for c in CODES if c[0] == 1], ids=name_of)
def one_limb(request):
    return blocks.Code(*request.param)


@pytest.fixture(params=[c for c in CODES if c[0] > 1], ids=name_of)
def several_limbs(request):
    return blocks.Code(*request.param)


@functools.cache
def arithmetic_of(door, code):
    return door.Arithmetic(code.limbs, code.field_bits, code.base, code.digits)


def modulus(code):
    q = 1
    for p in code.moduli:
        q *= p
    return q


def epsilon(code):
    if code.limbs == 1:
        return EPSILON_ONE * Fraction(2) ** (code.field_bits - 48)
    return code.limbs * Fraction(2) ** (code.field_bits - 48 * code.limbs)


def residues(code, u):
    return tuple(u % p for p in code.moduli)


def rounded(code, u):
    return ring.round_residues(residues(code, u), code.moduli, code.field_bits)


def spread(rng, count, end):
    """Numbers below `end`: both ends, around the powers of two, at random."""
    out = {*range(min(count, end)), *range(max(0, end - count), end)}
    out |= {(1 << k) + nudge for k in range(end.bit_length()) for nudge in (-1, 0, 1)}
    out |= {end - (1 << k) for k in range(end.bit_length())}
    out |= {rng.randrange(end) for _ in range(count)}
    return sorted(x for x in out if 0 <= x < end)


def first_of(code, field):
    """A u that rounds to `field`, not to 0, where u - 1 rounds to the field below.

    The first such u for one limb; several limbs may step back and forth among a few neighbours.
    """
    q, size = modulus(code), 1 << code.field_bits
    middle = -(-(2 * field - 1) * q // (2 * size))  # where exact rounding would begin
    low, high = max(0, middle - 2 * code.limbs - 8), min(q - 1, middle + 2 * code.limbs + 8)

    def reached(u):
        return (rounded(code, u) - field) % size < size // 2

    assert not reached(low)
    assert reached(high)
    while high - low > 1:
        at = (low + high) // 2
        low, high = (low, at) if reached(at) else (at, high)
    return high


def every_field(code, rng, count=60):
    """All of them where they are few."""
    size = 1 << code.field_bits
    return range(size) if code.field_bits <= 10 else spread(rng, count, size)


def edges(code, rng, count=60):
    """u in [0, q) around every kind of edge that `round` has."""
    q = modulus(code)
    out = set(spread(rng, count, q))
    starts = {first_of(code, f) for f in every_field(code, rng, count) if f}
    if code.limbs == 1:  # the correction steps where u >> 21 does
        starts |= {step << 21 for step in spread(rng, count, q >> 21)}
    reach = 2 if code.limbs == 1 else code.limbs + 1
    for start in starts:
        out |= {start + nudge for nudge in range(-reach, reach + 1)}
    return sorted(u for u in out if 0 <= u < q)


# --- bounds ---------------------------------------------------------------------------------------


def test_round_errs_within_its_bound(code, rng):
    """round(u) - u 2^B / q lies in [-1/2 - epsilon, 1/2] modulo 2^B."""
    q, size = modulus(code), 1 << code.field_bits
    worst_low, worst_high = Fraction(0), Fraction(0)
    for u in edges(code, rng):
        exact = Fraction(u * size, q)
        error = rounded(code, u) - exact
        error -= round(error / size) * size
        worst_low, worst_high = min(worst_low, error), max(worst_high, error)
        assert -Fraction(1, 2) - epsilon(code) <= error <= Fraction(1, 2)
    # Both ends are met to within the spacing of u.
    spacing = Fraction(size, q)
    assert worst_high > Fraction(1, 2) - 2 * spacing - epsilon(code)
    assert worst_low < -Fraction(1, 2) + 2 * spacing


def test_round_never_falls_with_one_limb(one_limb, rng):
    """Along u = 0 ... q - 1 fields grow by at most one at a time, and wrap once, at the end.

    (The truncated fractions of several limbs may step back by one.)
    """
    size = 1 << one_limb.field_bits
    fields = [(u, rounded(one_limb, u)) for u in edges(one_limb, rng)]
    for (u, f), (v, g) in pairwise(fields):
        if v == u + 1:
            assert (g - f) % size in (0, 1)
    assert fields[0][1] == 0
    assert fields[-1][1] == 0


def lift_edges(code, rng, count=60):
    """x in [0, 2^B): the correction of one limb steps where x >> (B - 27) does."""
    size, bits = 1 << code.field_bits, code.field_bits
    out = set(spread(rng, count, size))
    if code.limbs == 1 and bits > 27:
        steps = {k << bits - 27 for k in spread(rng, count, 1 << 27)}
        out |= {x + nudge for x in steps for nudge in (-1, 0, 1)}
    return sorted(x for x in out if 0 <= x < size)


def test_lift_errs_within_its_bound(code, rng):
    """lift(x) - x q / 2^B: [0, 1 + delta / 2^27) for one limb, (-1, 0] for several."""
    q, size = modulus(code), 1 << code.field_bits
    for x in lift_edges(code, rng):
        error = ring.lift(x, code.moduli, code.field_bits) - Fraction(x * q, size)
        if code.limbs == 1:
            assert 0 <= error < 1 + Fraction(DELTA, 1 << 27)
        else:
            assert -1 < error <= 0


def test_the_residues_of_lift_are_those_of_the_format(several_limbs, rng):
    """-(x q mod 2^B) 2^-B mod q_i, as docs/wire-format.md also writes it."""
    code = several_limbs
    q, size = modulus(code), 1 << code.field_bits
    for x in lift_edges(code, rng):
        lifted = ring.lift(x, code.moduli, code.field_bits)
        for p in code.moduli:
            assert lifted % p == -(x * q % size) * pow(size, -1, p) % p


# --- kernels --------------------------------------------------------------------------------------


def groups_of(items, rng):
    """Whole groups of eight, filled up at random."""
    items = list(items)
    return items + [rng.choice(items) for _ in range(-len(items) % 8)]


def packed_pad(code, values):
    return b"".join(ring.pack([u % p for u in values], 48) for p in code.moduli)


def test_kernels_round_at_every_edge(door, isa_level, code, rng):
    """On the way in: the field of a message of zeros."""
    values = groups_of(edges(code, rng), rng)
    out = door.encrypt_from_pad(
        isa_level, arithmetic_of(door, code), packed_pad(code, values), None
    )
    assert ring.unpack_rows(out, code.field_bits) == [rounded(code, u) for u in values]


def test_kernels_round_pads_at_every_edge(door, isa_level, code, rng):
    """On the way back: pads are lazy residues, and fields of zero show -round(pad)."""
    values = groups_of(edges(code, rng), rng)
    pads = np.array(
        [[u % p + rng.randrange(8) * p for u in values] for p in code.moduli], dtype=np.uint64
    )
    packed = bytes(len(values) // 8 * code.field_bits)
    in_range, digits = door.decrypt_block(isa_level, arithmetic_of(door, code), packed, pads)
    assert in_range
    size = 1 << code.field_bits
    shown = [
        sum(int(d) * code.base**place for place, d in enumerate(column)) for column in digits.T
    ]
    assert shown == [-rounded(code, u) % size for u in values]


def test_kernels_lift_at_every_edge(door, isa_level, code, rng):
    """u puts u + lift(x) on the first integer of a rounding interval, and on the one before it."""
    q = modulus(code)
    fields = [f for f in every_field(code, rng, 20) if f]
    pairs = []
    for x in lift_edges(code, rng, 30):
        lifted = ring.lift(x, code.moduli, code.field_bits)
        for f in rng.sample(fields, 3):
            start = first_of(code, f)
            pairs += [((start - lifted) % q, x), ((start - 1 - lifted) % q, x)]
        pairs += [((q - 1 - lifted) % q, x), ((-lifted) % q, x), (q - 1, x), (0, x)]
    pairs = groups_of(pairs, rng)
    digits = np.array(
        [[x // code.base**d % code.base for _, x in pairs] for d in range(code.digits)],
        dtype=np.uint32,
    )
    out = door.encrypt_from_pad(
        isa_level, arithmetic_of(door, code), packed_pad(code, [u for u, _ in pairs]), digits
    )
    assert code.delta == 1
    expected = [blocks.encrypt_coefficient(code, residues(code, u), x) for u, x in pairs]
    assert ring.unpack_rows(out, code.field_bits) == expected
