"""Rounds of which both the core and the oracle know everything, seeds included.

A `Stage` holds one plan, key pair and round twice: as the core's objects (made through the testing
door) and as the oracle's. Tests ask it for uploads of either kind.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag

import veilsum._core as core
from oracle import blocks, group, identity, plans, scheme, sealed, tag, wire
from oracle.streams import label_hash

#: Arguments of veilsum.Plan that together use every ring, one and several digits, narrow and wide.
PLANS = {
    "n2048": {"clients": 10, "value_bits": 16},
    "n2048-two-bits": {"clients": 3, "value_bits": 2, "profile": "n2048"},
    "n2048-one-digit": {"clients": 1000, "value_bits": 20, "profile": "n2048"},
    "n4096": {"clients": 10, "value_bits": 16, "profile": "n4096"},
    "n4096-weighted": {"clients": 5, "value_bits": 16, "weight_bits": 12, "profile": "n4096"},
    "n4096-32-bits": {"clients": 100, "value_bits": 32, "profile": "n4096"},
    "n8192-size": {"clients": 10, "value_bits": 16, "optimise": "size"},
    "n8192-weighted": {"clients": 4, "value_bits": 8, "weight_bits": 16, "profile": "n8192"},
    "n4096q48": {"clients": 10, "value_bits": 16, "security": 192, "profile": "n4096q48"},
    "n8192q96": {"clients": 10, "value_bits": 16, "security": 256, "profile": "n8192q96"},
    "n8192q96-weighted": {
        "clients": 3,
        "value_bits": 8,
        "weight_bits": 14,
        "security": 192,
        "profile": "n8192q96",
    },
    "n16384q192": {"clients": 10, "value_bits": 16, "security": 256, "profile": "n16384q192"},
}


def seed_of(*parts: object) -> bytes:
    """32 bytes that depend on the parts: fixed seeds for tests."""
    return label_hash("veilsum tests", repr(parts).encode())


def oracle_plan(plan: core.Plan) -> plans.Plan:
    return plans.Plan(plan.clients, plan.value_bits, plan.weight_bits, plan.security, plan.profile)


def values_of(array: np.ndarray, dtype: str) -> list[float]:
    """The doubles an update's elements are."""
    if dtype == "bfloat16":
        return [blocks.bfloat16_value(int(bits)) for bits in array]
    return [float(v) for v in array]


def array_of(values: list[float], dtype: str) -> np.ndarray:
    """Values as the core takes them; a bfloat16 travels as its 16 bits."""
    if dtype == "bfloat16":
        return np.array([blocks.bfloat16_bits(v) for v in values], dtype=np.uint16)
    return np.array(values, dtype=dtype)


def floats_to_bytes(values: list[float], dtype: str) -> bytes:
    letter = "f" if dtype == "float32" else "d"
    return struct.pack(f"<{len(values)}{letter}", *values)


@dataclass
class OracleUpload:
    """An upload of the oracle's: blocks, keys, digits, and its head without a signature."""

    made: scheme.Upload
    head: wire.Head

    @property
    def blocks(self) -> list[bytes]:
        return self.made.blocks

    @property
    def digits(self) -> list[int]:
        return self.made.digits

    @property
    def clipped(self) -> int:
        return self.made.clipped


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
        upload_keys=1,
    ):
        self.door = door
        self.name = name
        self.plan = core.Plan(**arguments)
        self.segments = list(segments)
        self.oracle_plan = oracle_plan(self.plan)
        self.oracle_secret = sealed.SecretKey(
            seed_of("d", name) + seed_of("z", name), seed_of("x25519", name)
        )
        self.secret = self.fresh_secret()
        self.public = self.secret.public_key
        self.round = door.round_seeded(
            self.plan,
            self.public,
            self.segments,
            layout,
            min_clients,
            list(roster),
            upload_keys,
            seed_of("round", name),
        )
        self.oracle_round = wire.Round(
            self.oracle_plan,
            seed_of("round", name),
            self.segments,
            self.oracle_secret.public,
            layout,
            min_clients,
            list(roster),
            self.plan.optimise,
            upload_keys,
        )

    @property
    def size(self):
        return self.oracle_round.size

    @property
    def upload_keys(self):
        return self.oracle_round.upload_keys

    def fresh_secret(self):
        """The same key without a memory of rounds it opened."""
        own = self.oracle_secret
        public = core.PublicKey(wire.ENGINE_NATIVE, own.public)
        return core.SecretKey(own.mlkem_seed + own.x25519_private, public)

    def seeds(self, number):
        """(upload seed, rounding seed, nonce) of client `number`."""
        return (
            seed_of("upload", self.name, number),
            seed_of("rounding", self.name, number),
            seed_of("nonce", self.name, number)[:16],
        )

    def sealer(self, number):
        """Seals with fixed randomness, as core.encrypt wants it."""
        randomness = seed_of("m", self.name, number) + seed_of("ephemeral", self.name, number)
        return lambda key, info, secret: sealed.seal(key, info, secret, randomness)

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
        return self.door.encrypt_seeded(
            self.round,
            self.pieces(values, dtypes),
            dtypes,
            self.seeds(number),
            self.sealer(number),
            client=self.client(number),
            **options,
        )

    def client(self, number):
        """Who uploads, where anybody knows clients by number."""
        return number if self.oracle_round.roster else None

    def head(self, number, clipped=0, client=None):
        """The oracle's head of an upload, unsigned; sealed as `client`'s, by default its own."""
        upload_seed, _, nonce = self.seeds(number)
        randomness = seed_of("m", self.name, number) + seed_of("ephemeral", self.name, number)
        client = self.client(number) if client is None else client
        return wire.make_head(
            self.oracle_round,
            upload_seed,
            nonce,
            randomness,
            clipped,
            wire.NO_CLIENT if client is None else client,
        )

    def oracle_keys(self, number):
        """r_0, r_1, ... of client `number`."""
        return scheme.upload_keys(
            self.oracle_plan, self.oracle_round.id, self.seeds(number)[0], self.upload_keys
        )

    def oracle_encrypt(self, number, values, dtypes=None, **options):
        """The oracle's upload of the same client: same seeds, same values after the dtype."""
        dtypes = dtypes or ["float64"] * len(self.segments)
        held = [
            v
            for piece, dtype in zip(self.pieces(values, dtypes), dtypes, strict=True)
            for v in values_of(piece, dtype)
        ]
        runs = [
            scheme.Run(count, limit, dtype)
            for (count, limit), dtype in zip(self.segments, dtypes, strict=True)
        ]
        upload_seed, rounding_seed, _ = self.seeds(number)
        made = scheme.encrypt(
            self.oracle_plan,
            self.oracle_round.id,
            self.oracle_round.seed,
            runs,
            held,
            key_count=self.upload_keys,
            upload_seed=upload_seed,
            rounding_seed=rounding_seed,
            **options,
        )
        return OracleUpload(made, self.oracle_head(number, made))

    def oracle_head(self, number, made):
        """The head of an upload that the oracle made, unsigned."""
        return self.head(number, made.clipped)

    def oracle_bytes(self, upload):
        """An oracle upload as it travels."""
        return wire.upload_bytes(self.oracle_round.id, upload.head, b"".join(upload.blocks))

    def oracle_sum(self, uploads, weights=None):
        weights = weights or [1] * len(uploads)
        pairs = [(u.head, u.blocks) for u in uploads]
        return wire.make_sum(self.oracle_round, pairs, weights)

    def oracle_key(self, total):
        """The oracle's sum key of an oracle sum."""
        return wire.open_sum(self.oracle_round, self.oracle_secret, total)

    def oracle_digits(self, total, key):
        packed = scheme.split_blocks(self.oracle_plan, self.size, self.upload_keys, total.blocks)
        return scheme.decrypt_digits(
            self.oracle_plan, self.oracle_round.seed, packed, key.keys, self.size
        )

    def oracle_values(self, digits, total_weight, **options):
        return scheme.dequantise(self.oracle_plan, self.segments, digits, total_weight, **options)

    def sum_of(self, uploads, weights=None, **options):
        return core.weighted_sum(self.round, uploads, weights, **options)

    def open(self, total, secret=None, **options):
        """The core's sum key, from a key that has opened nothing yet."""
        secret = secret or self.fresh_secret()
        return core.open_sum(secret, self.round, total, open=unseal, **options)


@functools.cache
def person_of(*name, post_quantum=False):
    """A party's secret keys."""
    parts = [seed_of("person", *name, part) for part in range(5)]
    lattice = parts[4] if post_quantum else b""
    return identity.Secret(parts[0], parts[1] + parts[2], parts[3], lattice)


class RosterStage(Stage):
    """A round with a roster: of a committee or of one key holder, with tags or without.

    Every third client and member signs with ML-DSA-65 as well. The round of the core is read from
    the oracle's bytes.
    """

    def __init__(
        self,
        door,
        arguments,
        segments,
        *,
        name="",
        clients=3,
        members=None,
        threshold=2,
        tagged=True,
        upload_keys=1,
        step=None,
        layout=b"",
    ):
        self.people = [person_of("client", k, post_quantum=k % 3 == 2) for k in range(clients)]
        super().__init__(
            door,
            arguments,
            segments,
            name=name,
            layout=layout,
            roster=[one.public for one in self.people],
            upload_keys=upload_keys,
        )
        rnd = self.oracle_round
        rnd.step = step
        self.members = []
        if members is not None:
            # As many as the clients: they are the members.
            own = [person_of("member", k, post_quantum=k % 3 == 1) for k in range(members)]
            self.members = self.people if members == clients else own
            rnd.committee = wire.Committee(tuple(one.public for one in self.members), threshold)
            rnd.public = b""
        self.group = None
        self.server = person_of("server")
        if tagged:
            reading = sealed.SecretKey(seed_of("d", "g") + seed_of("z", "g"), seed_of("x", "g"))
            self.group = group.Secret(seed_of("tag key", name), reading)
            rnd.group = self.group.commitment
        elif rnd.committee:
            rnd.reader = self.server.public
        self.round = core.Round.from_bytes(rnd.to_bytes())

    @property
    def reader(self):
        """What opens answers."""
        return self.group.reading if self.group else self.server.kem

    def randomness(self, number, key):
        """What client `number` seals to a key with."""
        return seed_of("m", self.name, number, key) + seed_of("ephemeral", self.name, number, key)

    def sealer(self, number):
        return lambda key, info, secret: sealed.seal(
            key, info, secret, self.randomness(number, bytes(key))
        )

    def encrypt(self, number, values, dtypes=None, **options):
        """The core's upload of client `number`, unsigned."""
        if not self.group:
            return super().encrypt(number, values, dtypes, **options)
        dtypes = dtypes or ["float64"] * len(self.segments)
        upload, found = self.door.encrypt_tagged(
            self.round,
            self.round,
            self.group.tag_key,
            self.pieces(values, dtypes),
            dtypes,
            self.sealer(number),
            seeds=self.seeds(number),
            client=number,
            **options,
        )
        assert len(found) == tag.EVALUATIONS
        return upload

    def oracle_encrypt(self, number, values, dtypes=None, **options):
        return super().oracle_encrypt(number, values, dtypes, tagged=self.tagged, **options)

    @property
    def tagged(self):
        return self.oracle_round.tagged

    def oracle_head(self, number, made):
        """The head of an upload that the oracle made, unsigned."""
        rnd, (seed, _, nonce) = self.oracle_round, self.seeds(number)
        own = None
        if self.group:
            own = tag.tag_of(
                self.oracle_plan, rnd.id, self.group.tag_key, made.digits, number, nonce
            )
        if rnd.committee:
            keys = [identity.kem_key(member) for member in rnd.committee.members]
            randomness = [self.randomness(number, key) for key in keys]
        else:
            randomness = self.randomness(number, rnd.public)
        return wire.make_head(rnd, seed, nonce, randomness, made.clipped, number, own)

    def sign(self, number, upload):
        """The same head, signed by its client."""
        data = b"".join(upload.blocks)
        head = wire.sign(self.oracle_round, number, self.people[number], upload.head, data)
        return OracleUpload(upload.made, head)

    def oracle_digits(self, total, key):
        digits = scheme.decrypt_digits(
            self.oracle_plan,
            self.oracle_round.seed,
            self.oracle_round.split(total.blocks),
            key.keys,
            self.size,
            self.tagged,
        )
        if self.group:
            assert wire.tag_holds(self.oracle_round, key, total, self.group.tag_key, digits)
        return digits


def unseal(key, info, data):
    """A secret, or None: what core.open_sum calls."""
    holder = sealed.SecretKey(key[:64], key[64:])
    try:
        return sealed.unseal(holder, info, data)
    except (InvalidTag, ValueError):  # of the AEAD, and of a curve point of low order
        return None
