"""What a plan's numbers must be: the security table, hard bounds, lanes, planes, block geometry.

Everything is exact integer arithmetic; a ceil(log2 x) is a bit length, never a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from . import ring

ERROR_BOUND = 21
PLANE_BITS_MAX = 48
#: Sums of weights are kept below this, for every ring: the kernels' sums are sized for it.
TOTAL_WEIGHT_MAX = 1 << 20

#: (security, ring degree) -> largest log2 q allowed with a ternary secret: the stricter of the
#: HE Standard (2018) and Bossuat et al. (ePrint 2024/463), classical.
SECURITY_TABLE = {
    128: {1024: 26, 2048: 53, 4096: 106, 8192: 214, 16384: 430},
    192: {2048: 36, 4096: 73, 8192: 147, 16384: 297},
    256: {2048: 27, 4096: 56, 8192: 114, 16384: 230},
}

#: name -> (ring degree, limbs)
RINGS = {
    "n2048": (2048, 1),
    "n4096": (4096, 2),
    "n8192": (8192, 4),
    "n4096q50": (4096, 1),
    "n8192q100": (8192, 2),
    "n16384q200": (16384, 4),
}

#: security -> the rings offered, smallest (fastest) first
RINGS_OF = {
    128: ("n2048", "n4096", "n8192"),
    192: ("n4096q50", "n8192q100", "n16384q200"),
    256: ("n4096q50", "n8192q100", "n16384q200"),
}

CAPSULE_RINGS = {
    128: ((2048, 1), (4096, 2)),
    192: ((4096, 1), (8192, 2)),
    256: ((4096, 1), (8192, 2)),
}


def ceil_log2(x: int) -> int:
    """The smallest k with 2^k >= x."""
    assert x >= 1
    return (x - 1).bit_length()


def moduli(limbs: int) -> tuple[int, ...]:
    return ring.primes()[:limbs]


@dataclass(frozen=True)
class Capsule:
    """Geometry of the encryption of the ephemeral key."""

    degree: int
    limbs: int
    lanes: int
    lane_bits: int
    ciphertexts: int
    delta: int

    @property
    def moduli(self) -> tuple[int, ...]:
        return moduli(self.limbs)

    @property
    def big_q(self) -> int:
        return prod(self.moduli)

    @property
    def message_bits(self) -> int:
        return self.lanes * self.lane_bits + 1

    @property
    def ciphertext_bytes(self) -> int:
        return 2 * self.limbs * self.degree * 50 // 8

    @property
    def total_bytes(self) -> int:
        return self.ciphertexts * self.ciphertext_bytes


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
    def moduli(self) -> tuple[int, ...]:
        return moduli(self.limbs)

    @cached_property
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
    def lane_bits(self) -> int:
        return ceil_log2(self.max_weight * ((1 << self.value_bits) - 1) + 1)

    def delta_for(self, lanes: int) -> int:
        return self.big_q >> lanes * self.lane_bits

    @cached_property
    def lanes(self) -> int:
        """As many as leave Delta >= 2 B W + 1; zero when not even one fits."""
        needed = 2 * ERROR_BOUND * self.max_weight + 1
        lanes = 0
        while self.delta_for(lanes + 1) >= needed:
            lanes += 1
        return lanes

    @property
    def fits(self) -> bool:
        return (
            self.max_weight <= TOTAL_WEIGHT_MAX
            and self.lane_bits <= PLANE_BITS_MAX
            and self.lanes >= 1
            and self.capsule_or_none is not None
        )

    @property
    def delta(self) -> int:
        return self.delta_for(self.lanes)

    @property
    def error_bound(self) -> int:
        return ERROR_BOUND * self.max_weight

    @property
    def lanes_per_plane(self) -> int:
        return min(self.lanes, PLANE_BITS_MAX // self.lane_bits)

    @property
    def plane_bits(self) -> int:
        return self.lanes_per_plane * self.lane_bits

    @property
    def planes(self) -> int:
        return -(-self.lanes // self.lanes_per_plane)

    @property
    def block_capacity(self) -> int:
        return self.degree * self.lanes

    def block_sizes(self, size: int) -> list[tuple[int, int]]:
        """(values, coefficients) of each block of an update of `size` values."""
        out = []
        for first in range(0, size, self.block_capacity):
            values = min(self.block_capacity, size - first)
            if values == self.block_capacity:
                out.append((values, self.degree))
            else:
                per_lane = -(-values // self.lanes)
                out.append((values, min(self.degree, 8 * -(-per_lane // 8))))
        return out

    def block_bytes(self, coefficients: int) -> int:
        return self.limbs * coefficients * 50 // 8

    @property
    def bits_per_value(self) -> float:
        return self.limbs * 50 / self.lanes

    @cached_property
    def capsule_or_none(self) -> Capsule | None:
        for degree, limbs in CAPSULE_RINGS[self.security]:
            capsule = self._capsule_in(degree, limbs)
            if capsule is not None:
                return capsule
        return None

    @property
    def capsule(self) -> Capsule:
        assert self.capsule_or_none is not None
        return self.capsule_or_none

    def _capsule_in(self, degree: int, limbs: int) -> Capsule | None:
        big_q = prod(moduli(limbs))
        lane_bits = ceil_log2(2 * ERROR_BOUND * self.max_weight + 1)
        noise = 2 * degree * ERROR_BOUND * ERROR_BOUND + ERROR_BOUND
        best = 0
        for lanes in range(1, -(-self.degree // degree) + 1):
            bits = lanes * lane_bits + 1
            if big_q >> bits >= 2 * self.max_weight * (noise + (1 << bits)) + 1:
                best = lanes
        if best == 0:
            return None
        return Capsule(
            degree=degree,
            limbs=limbs,
            lanes=best,
            lane_bits=lane_bits,
            ciphertexts=-(-self.degree // (degree * best)),
            delta=big_q >> (best * lane_bits + 1),
        )

    @property
    def secure(self) -> bool:
        """Both rings within the table; a product of k primes below 2^50 has at most 50 k bits."""
        table = SECURITY_TABLE[self.security]
        rings = [(self.degree, self.limbs), (self.capsule.degree, self.capsule.limbs)]
        return all(50 * limbs <= table.get(degree, 0) for degree, limbs in rings)


def candidates(clients: int, value_bits: int, weight_bits: int, security: int) -> list[Plan]:
    """Plans that hold the request, fastest ring first."""
    plans = [Plan(clients, value_bits, weight_bits, security, name) for name in RINGS_OF[security]]
    return [p for p in plans if p.fits]


def choose(
    clients: int,
    value_bits: int,
    weight_bits: int = 0,
    security: int = 128,
    optimise: str = "speed",
) -> Plan:
    """The fastest ring that holds the request, or the one with the fewest bits a value."""
    found = candidates(clients, value_bits, weight_bits, security)
    assert found, "no plan holds this"
    if optimise == "speed":
        return found[0]
    return min(found, key=lambda p: (p.bits_per_value, found.index(p)))
