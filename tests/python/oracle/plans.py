"""What a plan's numbers must be: the security table, the noise, digits and fields, block geometry.

Everything is exact: Python integers, and fractions where DESIGN's formulas divide. Every number of
digits and every width of a field is tried; nothing is estimated first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from math import prod

from . import ring, streams

PRIME_BITS = 48
#: |e| of a coefficient: centred binomial of width 8.
ERROR_BOUND = 8
#: What `lift` may be off by, in units of q / 2^B.
LIFT_BOUND = 1
#: Sums of weights are kept below this, for every ring: the kernels' sums are sized for it.
TOTAL_WEIGHT_MAX = 1 << 20
DIGITS_MAX = 96
PLANES_MAX, PLANE_MAX = 8, 1 << 48

#: (security, ring degree) -> largest log2 q allowed with a ternary secret: the stricter of the
#: HE Standard (2018) and Bossuat et al. (ePrint 2024/463), classical.
SECURITY_TABLE = {
    128: {1024: 26, 2048: 53, 4096: 106, 8192: 214, 16384: 430},
    192: {2048: 36, 4096: 73, 8192: 147, 16384: 297},
    256: {2048: 27, 4096: 56, 8192: 114, 16384: 230},
}

#: name -> (ring degree, limbs); the place in this list is the number on the wire
RINGS = {
    "n2048": (2048, 1),
    "n4096": (4096, 2),
    "n8192": (8192, 4),
    "n4096q48": (4096, 1),
    "n8192q96": (8192, 2),
    "n16384q192": (16384, 4),
}

#: security -> the rings offered, fewest limbs first
RINGS_OF = {
    128: ("n2048", "n4096", "n8192"),
    192: ("n4096q48", "n8192q96", "n16384q192"),
    256: ("n4096q48", "n8192q96", "n16384q192"),
}

OPTIMISE = ("speed", "size")


def moduli(limbs: int) -> tuple[int, ...]:
    return ring.primes()[:limbs]


@cache
def rounding_error(limbs: int, field_bits: int) -> Fraction:
    """DESIGN's eps: how far `round` falls short beyond one half."""
    two = Fraction(2)
    if limbs > 1:
        return limbs * two ** (field_bits - PRIME_BITS * limbs)
    (q,) = moduli(1)
    delta = 2**PRIME_BITS - q
    assert 0 < delta < 2**24
    each = Fraction(delta, 2**27) + Fraction(delta**2, 2**48) * (1 + two**-23)
    return each * two ** (field_bits - PRIME_BITS)


@cache
def noise_of(max_weight: int, limbs: int, field_bits: int) -> Fraction:
    """DESIGN's noise: what |C - round(a R) - Delta m| cannot exceed, not floored."""
    eps, half = rounding_error(limbs, field_bits), Fraction(1, 2)
    scaled = (ERROR_BOUND + LIFT_BOUND) * Fraction(2**field_bits, prod(moduli(limbs)))
    return max_weight * (half + eps + scaled) + half + eps


def decodes(max_weight: int, limbs: int, base: int, digits: int, field_bits: int) -> bool:
    """The inequality that every plan rests on."""
    return 2**field_bits // base**digits >= 2 * noise_of(max_weight, limbs, field_bits) + 1


def planes_of(base: int, digits: int) -> int:
    """In how many numbers of at most 48 bits a message is handled (a larger digit stands alone)."""
    per_plane = 1
    while base ** (per_plane + 1) <= PLANE_MAX:
        per_plane += 1
    return -(-digits // per_plane)


@cache
def shapes(max_weight: int, limbs: int, base: int) -> tuple[tuple[int, int], ...]:
    """(L, B) for every L that fits, B the smallest."""
    found = []
    for digits in range(1, DIGITS_MAX + 1):
        if limbs > 1 and planes_of(base, digits) > PLANES_MAX:
            break
        least = (base**digits).bit_length() - 1  # below it Delta is zero
        for field_bits in range(least, PRIME_BITS * limbs - 2 + 1):
            if decodes(max_weight, limbs, base, digits, field_bits):
                found.append((digits, field_bits))
                break
    return tuple(found)


@dataclass(frozen=True)
class Plan:
    """The numbers that follow from (clients, value_bits, weight_bits, security, ring)."""

    clients: int
    value_bits: int
    weight_bits: int
    security: int
    ring_name: str

    @property
    def degree(self) -> int:
        return RINGS[self.ring_name][0]

    @property
    def limbs(self) -> int:
        return RINGS[self.ring_name][1]

    @property
    def log2_modulus(self) -> int:
        return PRIME_BITS * self.limbs

    @property
    def moduli(self) -> tuple[int, ...]:
        return moduli(self.limbs)

    @property
    def big_q(self) -> int:
        return prod(self.moduli)

    @property
    def max_weight(self) -> int:
        """W, the largest sum of integer weights."""
        return self.clients << self.weight_bits

    @property
    def levels(self) -> int:
        return (1 << (self.value_bits - 1)) - 1

    @property
    def base(self) -> int:
        """t: no sum of values reaches it."""
        return self.max_weight * (2**self.value_bits - 1) + 1

    @property
    def fits(self) -> bool:
        return self.max_weight <= TOTAL_WEIGHT_MAX and bool(
            shapes(self.max_weight, self.limbs, self.base)
        )

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(L, B): fewest bits a value, then the larger L."""
        assert self.fits
        found = shapes(self.max_weight, self.limbs, self.base)
        return min(found, key=lambda shape: (Fraction(shape[1], shape[0]), -shape[0]))

    @property
    def digits(self) -> int:
        return self.shape[0]

    @property
    def field_bits(self) -> int:
        return self.shape[1]

    @property
    def delta(self) -> int:
        return 2**self.field_bits // self.base**self.digits

    @property
    def noise(self) -> Fraction:
        return noise_of(self.max_weight, self.limbs, self.field_bits)

    @property
    def noise_bound(self) -> int:
        """Of noise, which is an integer."""
        return self.noise.numerator // self.noise.denominator

    @property
    def block_capacity(self) -> int:
        return self.degree * self.digits

    def block_sizes(self, size: int) -> list[tuple[int, int]]:
        """(values, coefficients) of each value block of an update of `size` values."""
        out = []
        for first in range(0, size, self.block_capacity):
            values = min(self.block_capacity, size - first)
            out.append((values, 8 * -(-values // (8 * self.digits))))
        return out

    def block_bytes(self, coefficients: int) -> int:
        return coefficients // 8 * self.field_bits

    @property
    def check_block_bytes(self) -> int:
        return self.block_bytes(self.degree)

    @property
    def bits_per_value(self) -> Fraction:
        return Fraction(self.field_bits, self.digits)

    @property
    def secure(self) -> bool:
        """Within the table; a product of k primes below 2^48 has at most 48 k bits."""
        return self.log2_modulus <= SECURITY_TABLE[self.security].get(self.degree, 0)

    def fields(self, optimise: str = "speed") -> bytes:
        """The plan as it stands inside other objects."""
        return struct.pack(
            "<BBBBIHBBBBH",
            1,  # the native engine
            tuple(RINGS).index(self.ring_name),
            self.value_bits,
            self.weight_bits,
            self.clients,
            self.security,
            OPTIMISE.index(optimise),
            self.digits,
            self.field_bits,
            0,
            0,
        )


def plan_id(fields: bytes) -> bytes:
    return streams.label_hash("veilsum/2/plan", fields)


def candidates(clients: int, value_bits: int, weight_bits: int, security: int) -> list[Plan]:
    """Plans that hold the request, fewest limbs first."""
    plans = [Plan(clients, value_bits, weight_bits, security, name) for name in RINGS_OF[security]]
    return [p for p in plans if p.fits]
