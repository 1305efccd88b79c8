"""docs/wire-format.md in Python: every object read from and written to bytes.

Writers take plain values, so that tests can also write objects that no honest party would. Readers
check structure with `assert` only: they are for well-formed bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

from . import identity, ring, scheme, sealed, streams
from .crc import crc32c
from .plans import OPTIMISE, RINGS, Plan

MAGIC = b"VSUM"
VERSION = 2
PLAN, PUBLIC_KEY, SECRET_KEY, ROUND, UPLOAD, AGGREGATE, OPENING_REQUEST, SUM_KEY = range(1, 9)
PUBLIC_IDENTITY = 10
HEADER_BYTES, TRAILER_BYTES = 16, 4
ENGINE_NATIVE = sealed.ENGINE_NATIVE
RING_NAMES = tuple(RINGS)
DIGEST_PIECE = 65536
KEY_BOUND = streams.CBD_WIDTH


def seal(kind: int, payload: bytes, version: int = VERSION) -> bytes:
    """Payload -> object."""
    total = HEADER_BYTES + len(payload) + TRAILER_BYTES
    body = MAGIC + struct.pack("<HHQ", version, kind, total) + payload
    return body + struct.pack("<I", crc32c(body))


OPENED_ROUNDS = 1


def ledger(kind: int, owner: bytes, records: list[bytes]) -> bytes:
    """The file of a ledger: whose it is, then records, each bound to where it stands."""
    out = b"VSLEDG1\n" + bytes([kind]) + bytes(3) + owner.ljust(32, b"\0")
    out += struct.pack("<I", crc32c(out))
    for record in records:
        length = struct.pack("<I", len(record))
        out += length + struct.pack("<I", crc32c(struct.pack("<Q", len(out)) + length))
        out += record + struct.pack("<I", crc32c(record))
    return out


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


def read_plan(reader: Reader) -> tuple[Plan, str]:
    engine, number, bits, weights, clients, security, optimise, digits, field_bits = (
        reader.number(letter) for letter in "BBBBIHBBB"
    )
    assert engine == ENGINE_NATIVE
    assert reader.raw(3) == bytes(3)
    plan = Plan(clients, bits, weights, security, RING_NAMES[number])
    assert (plan.digits, plan.field_bits) == (digits, field_bits)
    return plan, OPTIMISE[optimise]


# --- keys -----------------------------------------------------------------------------------------


def read_public_key(reader: Reader) -> tuple[int, list[bytes], bytes]:
    """(engine, ids of the parties before, body)."""
    engine, count = reader.number("B"), reader.number("B")
    parts = [reader.raw(16) for _ in range(count)]
    return engine, parts, reader.raw(reader.number("I"))


def read_native_key(reader: Reader) -> bytes:
    """The body of a public key of the native engine."""
    engine, parts, body = read_public_key(reader)
    assert (engine, parts, len(body)) == (ENGINE_NATIVE, [], sealed.PUBLIC_BYTES)
    return body


def secret_key_fields(secret: sealed.SecretKey) -> bytes:
    return sealed.public_fields(secret.public) + secret.mlkem_seed + secret.x25519_private


def read_secret_key(reader: Reader) -> sealed.SecretKey:
    public = read_native_key(reader)
    secret = sealed.SecretKey(reader.raw(64), reader.raw(32))
    assert public == secret.public
    return secret


# --- identities -----------------------------------------------------------------------------------


def read_identity(reader: Reader) -> bytes:
    """The fields of a public identity, as rosters list it."""
    kind = reader.raw(1)
    return kind + reader.raw(identity.FIELDS_BYTES[kind[0]] - 1)


# --- round ----------------------------------------------------------------------------------------


@dataclass
class Round:
    """A round's public contents."""

    plan: Plan
    seed: bytes
    segments: list[tuple[int, float]]
    public: bytes
    layout: bytes = b""
    min_clients: int = 2
    roster: list[bytes] = field(default_factory=list)
    optimise: str = "speed"
    upload_keys: int = 1
    trust_aggregator: int = 0
    engine: int = ENGINE_NATIVE
    parts: list[bytes] = field(default_factory=list)  # of the public key

    @property
    def size(self) -> int:
        return sum(count for count, _ in self.segments)

    def fields(self) -> bytes:
        out = self.plan.fields(self.optimise) + self.seed + bytes([self.trust_aggregator])
        out += struct.pack("<III", self.min_clients, self.upload_keys, len(self.segments))
        for count, limit in self.segments:
            out += struct.pack("<Qd", count, limit)
        out += struct.pack("<I", len(self.layout)) + self.layout
        out += struct.pack("<I", len(self.roster)) + b"".join(self.roster)
        return out + sealed.public_fields(self.public, self.engine, self.parts)

    @property
    def id(self) -> bytes:
        return streams.label_hash("veilsum/2/round", self.fields())

    def to_bytes(self) -> bytes:
        return seal(ROUND, self.fields())


def read_round(data: bytes) -> Round:
    reader = payload_of(data, ROUND)
    plan, optimise = read_plan(reader)
    seed = reader.raw(32)
    assert reader.number("B") == 0  # trust_aggregator is for other engines
    min_clients, upload_keys = reader.number("I"), reader.number("I")
    segments = [(reader.number("Q"), reader.number("d")) for _ in range(reader.number("I"))]
    layout = reader.raw(reader.number("I"))
    roster = [read_identity(reader) for _ in range(reader.number("I"))]
    public = read_native_key(reader)
    reader.end()
    return Round(plan, seed, segments, public, layout, min_clients, roster, optimise, upload_keys)


# --- uploads --------------------------------------------------------------------------------------


@dataclass
class Signature:
    """Who signed, over which blocks."""

    client: int
    blocks_digest: bytes
    signature: bytes

    @property
    def kind(self) -> int:
        (kind,) = (k for k, n in identity.SIGNATURE_BYTES.items() if n == len(self.signature))
        return kind


@dataclass
class Head:
    """What travels of an upload besides its blocks."""

    nonce: bytes
    part: bytes  # the cipher's: a sealed key, or the digest of the blocks
    clipped: int = 0
    signature: Signature | None = None

    def fields(self) -> bytes:
        out = struct.pack("<BQ", self.signature.kind if self.signature else 0, self.clipped)
        if self.signature:
            out += struct.pack("<I", self.signature.client)
            out += self.signature.blocks_digest + self.signature.signature
        return out + self.nonce + self.part

    @property
    def digest(self) -> bytes:
        """What names the upload."""
        return streams.label_hash("veilsum/2/cipher-part", self.part)


def make_head(
    rnd: Round, upload_seed: bytes, nonce: bytes, randomness: bytes, clipped: int = 0
) -> Head:
    """Seal an upload's seed to the round's key holder."""
    info = sealed.key_info(rnd.id, nonce, sealed.key_id(rnd.public))
    return Head(nonce, sealed.seal(rnd.public, info, upload_seed, randomness), clipped)


def open_head(rnd: Round, secret: sealed.SecretKey, head: Head) -> bytes:
    """The upload seed."""
    info = sealed.key_info(rnd.id, head.nonce, sealed.key_id(rnd.public))
    return sealed.unseal(secret, info, head.part)


def read_head(reader: Reader, part_bytes: int = sealed.SEALED_BYTES) -> Head:
    flag, clipped = reader.number("B"), reader.number("Q")
    signature = None
    if flag:
        size = identity.SIGNATURE_BYTES[flag]
        signature = Signature(reader.number("I"), reader.raw(32), reader.raw(size))
    return Head(reader.raw(16), reader.raw(part_bytes), clipped, signature)


def blocks_digest(blocks: bytes) -> bytes:
    pieces = [blocks[i : i + DIGEST_PIECE] for i in range(0, len(blocks), DIGEST_PIECE)]
    return streams.label_hash(
        "veilsum/2/blocks-digest", *(streams.hashlib.sha256(p).digest() for p in pieces)
    )


def signing_payload(round_id: bytes, client: int, head: Head, digest: bytes) -> bytes:
    return (
        b"veilsum/2/upload-signature"
        + round_id
        + struct.pack("<IQ", client, head.clipped)
        + head.nonce
        + head.digest
        + digest
    )


def upload_bytes(round_id: bytes, head: Head, blocks: bytes) -> bytes:
    return seal(UPLOAD, round_id + head.fields() + struct.pack("<Q", len(blocks)) + blocks)


def read_upload(data: bytes) -> tuple[bytes, Head, bytes]:
    """(round id, head, blocks)."""
    reader = payload_of(data, UPLOAD)
    round_id = reader.raw(32)
    head = read_head(reader)
    blocks = reader.raw(reader.number("Q"))
    reader.end()
    return round_id, head, blocks


# --- sums -----------------------------------------------------------------------------------------


#: What a request shows of the blocks: nothing, of the native engine.
NO_EVIDENCE = b"\x00"


def evidence_of(blocks: bytes, uploads: list[bytes] | None = None) -> bytes:
    """The aggregate's blocks, or those of the uploads that it is the sum of."""
    kind, shown = (1, blocks) if uploads is None else (2, b"".join(uploads))
    return bytes([kind]) + blocks_digest(blocks) + shown


@dataclass
class Sum:
    """An aggregate, or (without blocks) an opening request."""

    round_id: bytes
    entries: list[tuple[int, Head]]
    blocks: bytes | None = None
    evidence: bytes = NO_EVIDENCE  # of a request

    @property
    def total_weight(self) -> int:
        return sum(weight for weight, _ in self.entries)

    def manifest_digest(self) -> bytes:
        rows = sorted((head.digest, weight) for weight, head in self.entries)
        return streams.label_hash(
            "veilsum/2/manifest", self.round_id, *(d + struct.pack("<Q", w) for d, w in rows)
        )

    def to_bytes(self) -> bytes:
        out = self.round_id + struct.pack("<I", len(self.entries))
        for weight, head in self.entries:
            out += struct.pack("<Q", weight) + head.fields()
        if self.blocks is None:
            return seal(OPENING_REQUEST, out + self.evidence)
        return seal(AGGREGATE, out + struct.pack("<Q", len(self.blocks)) + self.blocks)

    def request(self) -> Sum:
        return replace(self, blocks=None)


def read_sum(data: bytes) -> Sum:
    kind, payload = unseal(data)
    assert kind in (AGGREGATE, OPENING_REQUEST)
    reader = Reader(payload)
    round_id = reader.raw(32)
    entries = [(reader.number("Q"), read_head(reader)) for _ in range(reader.number("I"))]
    out = Sum(round_id, entries)
    if kind == AGGREGATE:
        out.blocks = reader.raw(reader.number("Q"))
    else:
        out.evidence = reader.raw(1)
        assert out.evidence == NO_EVIDENCE
    reader.end()
    return out


def make_sum(
    plan: Plan, round_id: bytes, uploads: list[tuple[Head, list[bytes]]], weights: list[int]
) -> Sum:
    """What an honest aggregator writes."""
    heads = [head for head, _ in uploads]
    blocks = scheme.sum_uploads(plan, [blocks for _, blocks in uploads], weights)
    return Sum(round_id, list(zip(weights, heads, strict=True)), b"".join(blocks))


def open_sum(rnd: Round, secret: sealed.SecretKey, total: Sum) -> SumKey:
    """What an honest key holder answers."""
    keys = [
        scheme.upload_keys(rnd.plan, rnd.id, open_head(rnd, secret, head), rnd.upload_keys)
        for _, head in total.entries
    ]
    return SumKey(
        rnd.id,
        total.manifest_digest(),
        len(total.entries),
        total.total_weight,
        scheme.sum_keys(keys, [weight for weight, _ in total.entries]),
    )


@dataclass
class SumKey:
    """R_0 ... R_(kappa - 1) and the sum they belong to."""

    round_id: bytes
    manifest: bytes
    count: int
    total_weight: int
    keys: list[list[int]]

    @property
    def field_bits(self) -> int:
        return (2 * KEY_BOUND * self.total_weight).bit_length()

    def to_bytes(self) -> bytes:
        out = self.round_id + self.manifest + struct.pack("<IQ", self.count, self.total_weight)
        offset = KEY_BOUND * self.total_weight
        fields = [c + offset for key in self.keys for c in key]
        return seal(SUM_KEY, out + ring.pack(fields, self.field_bits))


def read_sum_key(data: bytes, rnd: Round) -> SumKey:
    reader = payload_of(data, SUM_KEY)
    key = SumKey(reader.raw(32), reader.raw(32), reader.number("I"), reader.number("Q"), [])
    degree = rnd.plan.degree
    fields = ring.unpack(reader.raw(rnd.upload_keys * degree // 8 * key.field_bits), key.field_bits)
    reader.end()
    offset = KEY_BOUND * key.total_weight
    assert max(fields) <= 2 * offset
    key.keys = [
        [f - offset for f in fields[i * degree : (i + 1) * degree]] for i in range(rnd.upload_keys)
    ]
    return key
