"""docs/wire-format.md in Python: every object read from and written to bytes.

Writers take plain values, so that tests can also write objects that no honest party would. Readers
check structure with `assert` only: they are for well-formed bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

from . import ring, scheme, streams
from .crc import crc32c
from .plans import RINGS, Plan

MAGIC = b"VSUM"
VERSION = 1
PLAN, PUBLIC_KEY, SECRET_KEY, ROUND, UPLOAD, AGGREGATE, OPENING_REQUEST, SUM_KEY = range(1, 9)
HEADER_BYTES, TRAILER_BYTES = 16, 4
ENGINE_NATIVE = 1
RING_NAMES = tuple(RINGS)
DIGEST_PIECE = 65536


def seal(kind: int, payload: bytes, version: int = VERSION) -> bytes:
    """Payload -> object."""
    total = HEADER_BYTES + len(payload) + TRAILER_BYTES
    body = MAGIC + struct.pack("<HHQ", version, kind, total) + payload
    return body + struct.pack("<I", crc32c(body))


def reseal(data: bytes) -> bytes:
    """The same bytes with the checksum that fits them."""
    return data[:-TRAILER_BYTES] + struct.pack("<I", crc32c(data[:-TRAILER_BYTES]))


def unseal(data: bytes) -> tuple[int, bytes]:
    """Object -> (kind, payload)."""
    assert data[:4] == MAGIC
    version, kind, total = struct.unpack("<HHQ", data[4:16])
    assert version == VERSION
    assert total == len(data)
    assert struct.unpack("<I", data[-4:])[0] == crc32c(data[:-4])
    return kind, data[16:-4]


class Reader:
    """Fields one after another."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def raw(self, size: int) -> bytes:
        out = self.data[self.at : self.at + size]
        assert len(out) == size
        self.at += size
        return out

    def number(self, letter: str):
        return struct.unpack("<" + letter, self.raw(struct.calcsize("<" + letter)))[0]

    def end(self) -> None:
        assert self.at == len(self.data)


def payload_of(data: bytes, kind: int) -> Reader:
    found, payload = unseal(data)
    assert found == kind
    return Reader(payload)


# --- plan -----------------------------------------------------------------------------------------


def plan_fields(plan: Plan, optimise: str = "speed") -> bytes:
    return struct.pack(
        "<BBBBIHBBBBH",
        ENGINE_NATIVE,
        RING_NAMES.index(plan.ring_name),
        plan.value_bits,
        plan.weight_bits,
        plan.clients,
        plan.security,
        {"speed": 0, "size": 1}[optimise],
        plan.lanes,
        plan.lane_bits,
        plan.capsule.lanes,
        0,
    )


def plan_id(fields: bytes) -> bytes:
    return streams.label_hash("veilsum/1/plan", fields)


def read_plan(reader: Reader) -> tuple[Plan, str]:
    engine, number, bits, weights, clients, security, optimise, lanes, lane_bits, capsule_lanes = (
        reader.number(letter) for letter in "BBBBIHBBBB"
    )
    assert engine == ENGINE_NATIVE
    assert reader.number("H") == 0
    plan = Plan(clients, bits, weights, security, RING_NAMES[number])
    assert (plan.lanes, plan.lane_bits, plan.capsule.lanes) == (lanes, lane_bits, capsule_lanes)
    return plan, ("speed", "size")[optimise]


# --- keys -----------------------------------------------------------------------------------------


def public_key_fields(plan: Plan, public_seed: bytes, public: scheme.PublicKey) -> bytes:
    capsule = plan.capsule
    head = struct.pack("<II", capsule.degree, capsule.limbs) + public_seed
    return head + b"".join(ring.pack(row) for row in public.b)


def public_key_id(fields: bytes) -> bytes:
    return streams.label_hash("veilsum/1/public-key-id", fields)[:16]


def read_public_key(reader: Reader) -> tuple[bytes, scheme.PublicKey]:
    """(public seed, key)."""
    degree, limbs = reader.number("I"), reader.number("I")
    seed = reader.raw(32)
    key = streams.public_matrix_key(seed)
    a_rows, b_rows = [], []
    for limb, q in enumerate(ring.primes()[:limbs]):
        a_rows.append(streams.uniform(key, streams.stream_index(streams.PUBLIC, limb), q, degree))
        b_rows.append(ring.unpack(reader.raw(degree * 50 // 8)))
        assert all(x < q for x in b_rows[-1])
    return seed, scheme.PublicKey(a_rows, b_rows)


def secret_key_fields(plan: Plan, key_seed: bytes, public_seed: bytes) -> bytes:
    capsule = plan.capsule
    return struct.pack("<II", capsule.degree, capsule.limbs) + key_seed + public_seed


# --- round ----------------------------------------------------------------------------------------


@dataclass
class Round:
    """A round's public contents."""

    plan: Plan
    seed: bytes
    segments: list[tuple[int, float]]
    public_seed: bytes
    public: scheme.PublicKey
    layout: bytes = b""
    min_clients: int = 2
    roster: list[bytes] = field(default_factory=list)
    optimise: str = "speed"

    @property
    def size(self) -> int:
        return sum(count for count, _ in self.segments)

    def fields(self) -> bytes:
        out = plan_fields(self.plan, self.optimise) + self.seed
        out += struct.pack("<II", self.min_clients, len(self.segments))
        for count, limit in self.segments:
            out += struct.pack("<Qd", count, limit)
        out += struct.pack("<I", len(self.layout)) + self.layout
        out += struct.pack("<I", len(self.roster)) + b"".join(self.roster)
        return out + public_key_fields(self.plan, self.public_seed, self.public)

    @property
    def id(self) -> bytes:
        return streams.label_hash("veilsum/1/round", self.fields())

    def to_bytes(self) -> bytes:
        return seal(ROUND, self.fields())


def read_round(data: bytes) -> Round:
    reader = payload_of(data, ROUND)
    plan, optimise = read_plan(reader)
    seed = reader.raw(32)
    min_clients = reader.number("I")
    segments = [(reader.number("Q"), reader.number("d")) for _ in range(reader.number("I"))]
    layout = reader.raw(reader.number("I"))
    roster = [reader.raw(32) for _ in range(reader.number("I"))]
    public_seed, public = read_public_key(reader)
    reader.end()
    return Round(plan, seed, segments, public_seed, public, layout, min_clients, roster, optimise)


# --- uploads --------------------------------------------------------------------------------------


@dataclass
class Signature:
    """Who signed, over which blocks."""

    client: int
    blocks_digest: bytes
    signature: bytes


@dataclass
class Head:
    """What travels of an upload besides its blocks."""

    capsule: bytes
    clipped: int = 0
    signature: Signature | None = None

    def fields(self) -> bytes:
        out = struct.pack("<BQ", self.signature is not None, self.clipped)
        if self.signature:
            out += struct.pack("<I", self.signature.client)
            out += self.signature.blocks_digest + self.signature.signature
        return out + self.capsule

    @property
    def digest(self) -> bytes:
        return streams.label_hash("veilsum/1/capsule-digest", self.capsule)


def read_head(reader: Reader, plan: Plan) -> Head:
    flag, clipped = reader.number("B"), reader.number("Q")
    signature = None
    if flag:
        signature = Signature(reader.number("I"), reader.raw(32), reader.raw(64))
    return Head(reader.raw(plan.capsule.total_bytes), clipped, signature)


def blocks_digest(blocks: bytes) -> bytes:
    pieces = [blocks[i : i + DIGEST_PIECE] for i in range(0, len(blocks), DIGEST_PIECE)]
    return streams.label_hash(
        "veilsum/1/blocks-digest", *(streams.hashlib.sha256(p).digest() for p in pieces)
    )


def signing_payload(round_id: bytes, client: int, head: Head, digest: bytes) -> bytes:
    return (
        b"veilsum/1/upload-signature"
        + round_id
        + struct.pack("<IQ", client, head.clipped)
        + head.digest
        + digest
    )


def upload_bytes(round_id: bytes, head: Head, blocks: bytes) -> bytes:
    return seal(UPLOAD, round_id + head.fields() + struct.pack("<Q", len(blocks)) + blocks)


def read_upload(data: bytes, plan: Plan) -> tuple[bytes, Head, bytes]:
    """(round id, head, blocks)."""
    reader = payload_of(data, UPLOAD)
    round_id = reader.raw(32)
    head = read_head(reader, plan)
    blocks = reader.raw(reader.number("Q"))
    reader.end()
    return round_id, head, blocks


def split_blocks(plan: Plan, size: int, blocks: bytes) -> list[bytes]:
    out, at = [], 0
    for _, coefficients in plan.block_sizes(size):
        out.append(blocks[at : at + plan.block_bytes(coefficients)])
        at += plan.block_bytes(coefficients)
    assert at == len(blocks)
    return out


# --- sums -----------------------------------------------------------------------------------------


@dataclass
class Sum:
    """An aggregate, or (without blocks) an opening request."""

    round_id: bytes
    entries: list[tuple[int, Head]]
    capsule_sum: bytes
    blocks: bytes | None = None

    @property
    def total_weight(self) -> int:
        return sum(weight for weight, _ in self.entries)

    def manifest_digest(self) -> bytes:
        rows = sorted((head.digest, weight) for weight, head in self.entries)
        return streams.label_hash(
            "veilsum/1/manifest", self.round_id, *(d + struct.pack("<Q", w) for d, w in rows)
        )

    def to_bytes(self) -> bytes:
        out = self.round_id + struct.pack("<I", len(self.entries))
        for weight, head in self.entries:
            out += struct.pack("<Q", weight) + head.fields()
        out += self.capsule_sum
        if self.blocks is None:
            return seal(OPENING_REQUEST, out)
        return seal(AGGREGATE, out + struct.pack("<Q", len(self.blocks)) + self.blocks)

    def request(self) -> Sum:
        return replace(self, blocks=None)


def read_sum(data: bytes, plan: Plan) -> Sum:
    kind, payload = unseal(data)
    assert kind in (AGGREGATE, OPENING_REQUEST)
    reader = Reader(payload)
    round_id = reader.raw(32)
    entries = [(reader.number("Q"), read_head(reader, plan)) for _ in range(reader.number("I"))]
    out = Sum(round_id, entries, reader.raw(plan.capsule.total_bytes))
    if kind == AGGREGATE:
        out.blocks = reader.raw(reader.number("Q"))
    reader.end()
    return out


def make_sum(
    plan: Plan, round_id: bytes, uploads: list[tuple[Head, list[bytes]]], weights: list[int]
) -> Sum:
    """What an honest aggregator writes."""
    capsule = plan.capsule
    rows = capsule.moduli * 2 * capsule.ciphertexts
    heads = [head for head, _ in uploads]
    blocks = b"".join(
        scheme.weighted_sum_rows(list(row), weights, plan.moduli)
        for row in zip(*(blocks for _, blocks in uploads), strict=True)
    )
    capsule_sum = scheme.weighted_sum_rows([head.capsule for head in heads], weights, rows)
    return Sum(round_id, list(zip(weights, heads, strict=True)), capsule_sum, blocks)


@dataclass
class SumKey:
    """R and the sum it belongs to."""

    round_id: bytes
    manifest: bytes
    count: int
    total_weight: int
    coefficients: list[int]

    def to_bytes(self) -> bytes:
        out = self.round_id + self.manifest + struct.pack("<IQ", self.count, self.total_weight)
        return seal(SUM_KEY, out + struct.pack(f"<{len(self.coefficients)}i", *self.coefficients))


def read_sum_key(data: bytes, plan: Plan) -> SumKey:
    reader = payload_of(data, SUM_KEY)
    key = SumKey(
        reader.raw(32),
        reader.raw(32),
        reader.number("I"),
        reader.number("Q"),
        [reader.number("i") for _ in range(plan.degree)],
    )
    reader.end()
    return key
