"""Rounds of which both the core and the oracle know everything, seeds included.

A `Stage` holds one plan, key pair and round twice: as the core's objects (made through the testing
door) and as the oracle's. Tests ask it for uploads of either kind.
"""

from __future__ import annotations

import struct

import numpy as np

import veilsum._core as core
from oracle import codec, plans, scheme, wire
from oracle.streams import label_hash

#: Arguments of veilsum.Plan that together use every ring, capsule shape and number of planes.
PLANS = {
    "n2048": {"clients": 10, "value_bits": 16},
    "n2048-two-bits": {"clients": 3, "value_bits": 2, "profile": "n2048"},
    "n2048-one-lane": {"clients": 1000, "value_bits": 24, "profile": "n2048"},
    "n4096": {"clients": 10, "value_bits": 16, "profile": "n4096"},
    "n4096-weighted": {"clients": 5, "value_bits": 16, "weight_bits": 12},
    "n4096-32-bits": {"clients": 100, "value_bits": 32, "profile": "n4096"},
    "n8192-size": {"clients": 10, "value_bits": 16, "optimise": "size"},
    "n8192-weighted": {"clients": 4, "value_bits": 8, "weight_bits": 16, "profile": "n8192"},
    "n4096q50": {"clients": 10, "value_bits": 16, "security": 192, "profile": "n4096q50"},
    "n8192q100": {"clients": 10, "value_bits": 16, "security": 256, "profile": "n8192q100"},
    "n8192q100-weighted": {
        "clients": 3,
        "value_bits": 8,
        "weight_bits": 14,
        "security": 192,
        "profile": "n8192q100",
    },
    "n16384q200": {"clients": 10, "value_bits": 16, "security": 256, "profile": "n16384q200"},
}


def seed_of(*parts: object) -> bytes:
    """32 bytes that depend on the parts: fixed seeds for tests."""
    return label_hash("veilsum tests", repr(parts).encode())


def oracle_plan(plan: core.Plan) -> plans.Plan:
    return plans.Plan(plan.clients, plan.value_bits, plan.weight_bits, plan.security, plan.profile)


def values_of(array: np.ndarray, dtype: str) -> list[float]:
    """The doubles an update's elements are."""
    if dtype == "bfloat16":
        return [codec.bfloat16_value(int(bits)) for bits in array]
    return [float(v) for v in array]


def array_of(values: list[float], dtype: str) -> np.ndarray:
    """Values as the core takes them; a bfloat16 travels as its 16 bits."""
    if dtype == "bfloat16":
        return np.array([codec.bfloat16_bits(v) for v in values], dtype=np.uint16)
    return np.array(values, dtype=dtype)


def floats_to_bytes(values: list[float], dtype: str) -> bytes:
    letter = "f" if dtype == "float32" else "d"
    return struct.pack(f"<{len(values)}{letter}", *values)


class Stage:
    """One round, for the core and for the oracle."""

    def __init__(
        self,
        door,
        arguments,
        segments,
        *,
        name="",
        layout=b"",
        min_clients=2,
        roster=(),
    ):
        self.door = door
        self.name = name
        self.plan = core.Plan(**arguments)
        self.segments = list(segments)
        key_seed, self.public_seed = seed_of("key", name), seed_of("public", name)
        self.key_seed = key_seed
        self.secret, self.public = door.keygen_seeded(self.plan, key_seed, self.public_seed)
        self.round = door.round_seeded(
            self.plan,
            self.public,
            self.segments,
            layout,
            min_clients,
            list(roster),
            seed_of("round", name),
        )
        self.oracle_plan = oracle_plan(self.plan)
        self.oracle_keys = scheme.keygen(self.oracle_plan, key_seed, self.public_seed)
        self.oracle_round = wire.Round(
            self.oracle_plan,
            seed_of("round", name),
            self.segments,
            self.public_seed,
            self.oracle_keys.public,
            layout,
            min_clients,
            list(roster),
            self.plan.optimise,
        )

    @property
    def size(self):
        return self.oracle_round.size

    def fresh_secret(self):
        """The same key without a memory of rounds it opened."""
        return self.door.keygen_seeded(self.plan, self.key_seed, self.public_seed)[0]

    def seeds(self, number):
        return {
            "capsule_seed": seed_of("capsule", self.name, number),
            "error_seed": seed_of("errors", self.name, number),
            "rounding_seed": seed_of("rounding", self.name, number),
        }

    def update(self, rng, spread=1.1):
        """Random doubles, a few of them beyond their limit."""
        return [
            rng.uniform(-spread, spread) * limit
            for count, limit in self.segments
            for _ in range(count)
        ]

    def pieces(self, values, dtypes):
        out, at = [], 0
        for (count, _), dtype in zip(self.segments, dtypes, strict=True):
            out.append(array_of(values[at : at + count], dtype))
            at += count
        return out

    def encrypt(self, number, values, dtypes=None, **options):
        """The core's upload of client `number`."""
        dtypes = dtypes or ["float64"] * len(self.segments)
        pieces = self.pieces(values, dtypes)
        return self.door.encrypt_seeded(self.round, pieces, dtypes, **self.seeds(number), **options)

    def oracle_encrypt(self, number, values, dtypes=None, **options):
        """The oracle's upload of the same client: same seeds, same values after the dtype."""
        dtypes = dtypes or ["float64"] * len(self.segments)
        held = [
            v
            for piece, dtype in zip(self.pieces(values, dtypes), dtypes, strict=True)
            for v in values_of(piece, dtype)
        ]
        return scheme.encrypt(
            self.oracle_plan,
            self.oracle_keys.public,
            self.oracle_round.id,
            self.oracle_round.seed,
            self.segments,
            held,
            **self.seeds(number),
            **options,
        )

    def oracle_bytes(self, upload, signature=None):
        """An oracle upload as it travels."""
        head = wire.Head(upload.capsule, upload.clipped, signature)
        return wire.upload_bytes(self.oracle_round.id, head, b"".join(upload.blocks))

    def oracle_sum(self, uploads, weights=None):
        weights = weights or [1] * len(uploads)
        heads = [(wire.Head(u.capsule, u.clipped), u.blocks) for u in uploads]
        return wire.make_sum(self.oracle_plan, self.oracle_round.id, heads, weights)

    def oracle_key(self, total):
        """The oracle's sum key of an oracle sum."""
        coefficients = scheme.open_capsule_sum(
            self.oracle_plan, self.oracle_keys.secret, total.capsule_sum, total.total_weight
        )
        return wire.SumKey(
            self.oracle_round.id,
            total.manifest_digest(),
            len(total.entries),
            total.total_weight,
            coefficients,
        )

    def oracle_digits(self, total, key):
        blocks = wire.split_blocks(self.oracle_plan, self.size, total.blocks)
        return scheme.decrypt_digits(
            self.oracle_plan, self.oracle_round.seed, blocks, key.coefficients, self.size
        )

    def oracle_values(self, digits, total_weight, **options):
        return scheme.dequantise(self.oracle_plan, self.segments, digits, total_weight, **options)

    def sum_of(self, uploads, weights=None, **options):
        return core.weighted_sum(self.round, uploads, weights, **options)

    def open(self, total, secret=None, **options):
        """The core's sum key, from a key that has opened nothing yet."""
        secret = secret or self.fresh_secret()
        return core.open_sum(secret, self.round, total.opening_request(), **options)
