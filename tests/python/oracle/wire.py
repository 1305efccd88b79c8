"""docs/wire-format.md in Python: every object read from and written to bytes.

Writers take plain values, so that tests can also write objects that no honest party would. Readers
check structure with `assert` only: they are for well-formed bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

from . import identity, ring, scheme, sealed, sharing, streams, tag, tree
from .crc import crc32c
from .plans import OPTIMISE, RINGS, Plan

MAGIC = b"VSUM"
VERSION = 2
PLAN, PUBLIC_KEY, SECRET_KEY, ROUND, UPLOAD, AGGREGATE, OPENING_REQUEST, SUM_KEY = range(1, 9)
PUBLIC_IDENTITY, MEMBER_REQUEST, ENDORSEMENT, CERTIFICATE, ANSWER, GROUP = range(10, 16)
CHALLENGE_ANSWER, VERDICT = 16, 17
HEADER_BYTES, TRAILER_BYTES = 16, 4
ENGINE_NATIVE = sealed.ENGINE_NATIVE
RING_NAMES = tuple(RINGS)
DIGEST_PIECE = 65536
KEY_BOUND = streams.CBD_WIDTH
#: The client's number where a round has no roster.
NO_CLIENT = 2**32 - 1
KEY_HOLDER, COMMITTEE = 1, 2
NOBODY_NAMED, GROUP_READS, ONE_READS = 0, 1, 2
TAG_BYTES = 8 * tag.EVALUATIONS


def seal(kind: int, payload: bytes, version: int = VERSION) -> bytes:
    """Payload -> object."""
    total = HEADER_BYTES + len(payload) + TRAILER_BYTES
    body = MAGIC + struct.pack("<HHQ", version, kind, total) + payload
    return body + struct.pack("<I", crc32c(body))


OPENED_ROUNDS, MEMBER_SIGNED = 1, 2


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


@dataclass(frozen=True)
class Committee:
    """The members' public identities, and how many of them open."""

    members: tuple[bytes, ...]
    threshold: int

    @property
    def id(self) -> bytes:
        """32 bytes that name it."""
        fields = struct.pack("<I", self.threshold) + b"".join(self.members)
        return streams.label_hash("veilsum/2/committee-id", fields)


@dataclass(frozen=True)
class Step:
    """Where a round stands in a training."""

    training: bytes
    step: int
    purpose: bytes
    history: bytes

    def fields(self) -> bytes:
        lead = self.training + struct.pack("<QB", self.step, len(self.purpose))
        return lead + self.purpose + self.history


@dataclass
class Round:
    """A round's public contents."""

    plan: Plan
    seed: bytes
    segments: list[tuple[int, float]]
    public: bytes  # of the one key holder
    layout: bytes = b""
    min_clients: int = 2
    roster: list[bytes] = field(default_factory=list)
    optimise: str = "speed"
    upload_keys: int = 1
    trust_aggregator: int = 0
    engine: int = ENGINE_NATIVE
    parts: list[bytes] = field(default_factory=list)  # of the public key
    committee: Committee | None = None  # in the place of the key holder
    group: tuple[bytes, bytes] | None = None  # the tag key's commitment, the reading key
    reader: bytes | None = None  # a public identity
    step: Step | None = None

    @property
    def size(self) -> int:
        return sum(count for count, _ in self.segments)

    @property
    def tagged(self) -> bool:
        return self.group is not None

    @property
    def check_blocks(self) -> int:
        return 0 if self.tagged else self.upload_keys

    @property
    def part_bytes(self) -> int:
        """Of the cipher's part of the native engine."""
        if self.committee:
            return 32
        return sealed.SEALED_BYTES + (TAG_BYTES if self.tagged else 0)

    @property
    def sharing(self) -> sharing.Layout:
        """What a committee's members hold of an upload."""
        assert self.committee
        n, t = len(self.committee.members), self.committee.threshold
        return sharing.layout_of(self.plan, self.upload_keys, n, t, self.tagged)

    @property
    def sealed_share_bytes(self) -> int:
        return sealed.SEAL_BYTES + self.sharing.share_bytes

    @property
    def shares_bytes(self) -> int:
        """Of all sealed shares of an upload."""
        return len(self.committee.members) * self.sealed_share_bytes if self.committee else 0

    @property
    def reading_key(self) -> bytes:
        """What answers are sealed to."""
        if self.group:
            return self.group[1]
        assert self.reader
        return identity.kem_key(self.reader)

    def split(self, blocks: bytes) -> list[bytes]:
        """An upload's blocks, one by one."""
        return scheme.split_blocks(self.plan, self.size, self.check_blocks, blocks)

    def sums_fields(self) -> bytes:
        """What is summed, and by whom: up to the roster."""
        out = self.plan.fields(self.optimise) + self.seed + bytes([self.trust_aggregator])
        out += struct.pack("<III", self.min_clients, self.upload_keys, len(self.segments))
        for count, limit in self.segments:
            out += struct.pack("<Qd", count, limit)
        out += struct.pack("<I", len(self.layout)) + self.layout
        return out + struct.pack("<I", len(self.roster)) + b"".join(self.roster)

    def authority_fields(self) -> bytes:
        if not self.committee:
            return bytes([KEY_HOLDER]) + sealed.public_fields(self.public, self.engine, self.parts)
        members = self.committee.members
        if list(members) == list(self.roster):  # not listed twice
            members = ()
        out = bytes([COMMITTEE]) + struct.pack("<II", self.committee.threshold, len(members))
        return out + b"".join(members)

    def reader_fields(self) -> bytes:
        if self.group:
            return bytes([GROUP_READS]) + self.group[0] + self.group[1]
        return bytes([ONE_READS]) + self.reader if self.reader else bytes([NOBODY_NAMED])

    def step_fields(self) -> bytes:
        return b"\x01" + self.step.fields() if self.step else b"\x00"

    def fields(self) -> bytes:
        return (
            self.sums_fields() + self.authority_fields() + self.reader_fields() + self.step_fields()
        )

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
    out = Round(plan, seed, segments, b"", layout, min_clients, roster, optimise, upload_keys)
    authority = reader.number("B")
    assert authority in (KEY_HOLDER, COMMITTEE)
    if authority == KEY_HOLDER:
        out.public = read_native_key(reader)
    else:
        threshold, count = reader.number("I"), reader.number("I")
        members = [read_identity(reader) for _ in range(count)]
        assert members != roster
        out.committee = Committee(tuple(members or roster), threshold)
    reads = reader.number("B")
    assert reads in (NOBODY_NAMED, GROUP_READS, ONE_READS)
    if reads == GROUP_READS:
        out.group = (reader.raw(32), reader.raw(sealed.PUBLIC_BYTES))
    elif reads == ONE_READS:
        out.reader = read_identity(reader)
    if reader.number("B"):
        training, step = reader.raw(32), reader.number("Q")
        purpose = reader.raw(reader.number("B"))
        out.step = Step(training, step, purpose, reader.raw(32))
    reader.end()
    return out


# --- uploads --------------------------------------------------------------------------------------


@dataclass
class Signature:
    """Who signed, over which blocks."""

    client: int
    blocks_digest: bytes  # empty where the round has tags
    signature: bytes

    @property
    def kind(self) -> int:
        (kind,) = (k for k, n in identity.SIGNATURE_BYTES.items() if n == len(self.signature))
        return kind


@dataclass
class Head:
    """What travels of an upload besides its blocks."""

    nonce: bytes
    part: bytes  # the cipher's: a sealed key, a root of sealed shares, or a digest of the blocks
    clipped: int = 0
    signature: Signature | None = None
    shares: list[bytes] = field(default_factory=list)  # sealed, one a member; no field of the head

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

    def facts(self, client: int, digest: bytes) -> bytes:
        """What is said of an upload, by a client with that digest of the blocks."""
        return struct.pack("<IQ", client, self.clipped) + self.nonce + self.digest + digest

    @property
    def client(self) -> int:
        return self.signature.client if self.signature else NO_CLIENT

    @property
    def head_digest(self) -> bytes:
        """Of all that the head says but its signature."""
        digest = self.signature.blocks_digest if self.signature else b""
        return streams.label_hash("veilsum/2/head", self.facts(self.client, digest))


def make_head(
    rnd: Round,
    upload_seed: bytes,
    nonce: bytes,
    randomness: bytes | list[bytes],
    clipped: int = 0,
    client: int = NO_CLIENT,
    own_tag: tuple[int, ...] | None = None,
) -> Head:
    """Seal an upload's seed to the round's key holder, or shares to its members, and its tag.

    `randomness` is the sender's, of a committee's round for each member.
    """
    assert (own_tag is not None) == rnd.tagged
    if not rnd.committee:
        info = sealed.key_info(rnd.id, client, nonce, sealed.key_id(rnd.public))
        secret = upload_seed + struct.pack(f"<{len(own_tag or ())}Q", *(own_tag or ()))
        return Head(nonce, sealed.seal(rnd.public, info, secret, randomness), clipped)
    keys = scheme.upload_keys(rnd.plan, rnd.id, upload_seed, rnd.upload_keys)
    dealt = sharing.deal(rnd.sharing, rnd.id, upload_seed, keys, own_tag)
    shares = [
        sealed.seal(
            identity.kem_key(member),
            sealed.share_info(rnd.id, client, nonce, number, identity.identity_id(member)),
            share.to_bytes(rnd.sharing),
            drawn,
        )
        for number, (member, share, drawn) in enumerate(
            zip(rnd.committee.members, dealt, randomness, strict=True)
        )
    ]
    return Head(nonce, tree.root(shares), clipped, shares=shares)


def open_head(rnd: Round, secret: sealed.SecretKey, head: Head) -> bytes:
    """The upload seed, and the tag where there is one."""
    info = sealed.key_info(rnd.id, head.client, head.nonce, sealed.key_id(rnd.public))
    return sealed.unseal(secret, info, head.part)


def read_head(reader: Reader, part_bytes: int = sealed.SEALED_BYTES, tagged: bool = False) -> Head:
    flag, clipped = reader.number("B"), reader.number("Q")
    signature = None
    if flag:
        size = identity.SIGNATURE_BYTES[flag]
        client, digest = reader.number("I"), reader.raw(0 if tagged else 32)
        signature = Signature(client, digest, reader.raw(size))
    return Head(reader.raw(16), reader.raw(part_bytes), clipped, signature)


def read_round_head(reader: Reader, rnd: Round | None) -> Head:
    """The head of an upload of this round; without one, of a plain round of one key holder."""
    return read_head(reader, rnd.part_bytes, rnd.tagged) if rnd else read_head(reader)


def read_shares(reader: Reader, rnd: Round, head: Head) -> None:
    """The sealed shares, which are those that the head names."""
    assert rnd.committee
    head.shares = [reader.raw(rnd.sealed_share_bytes) for _ in rnd.committee.members]
    assert tree.root(head.shares) == head.part


def blocks_digest(blocks: bytes) -> bytes:
    pieces = [blocks[i : i + DIGEST_PIECE] for i in range(0, len(blocks), DIGEST_PIECE)]
    return streams.label_hash(
        "veilsum/2/blocks-digest", *(streams.hashlib.sha256(p).digest() for p in pieces)
    )


def signing_payload(round_id: bytes, client: int, head: Head, digest: bytes = b"") -> bytes:
    """What a client signs; without a digest of the blocks where there are tags."""
    return b"veilsum/2/upload-signature" + round_id + head.facts(client, digest)


def sign(rnd: Round, client: int, secret: identity.Secret, head: Head, blocks: bytes) -> Head:
    """The head, signed."""
    digest = b"" if rnd.tagged else blocks_digest(blocks)
    made = secret.sign(signing_payload(rnd.id, client, head, digest))
    return replace(head, signature=Signature(client, digest, made))


def upload_bytes(round_id: bytes, head: Head, blocks: bytes) -> bytes:
    lead = round_id + head.fields() + b"".join(head.shares)
    return seal(UPLOAD, lead + struct.pack("<Q", len(blocks)) + blocks)


def read_upload(data: bytes, rnd: Round | None = None) -> tuple[bytes, Head, bytes]:
    """(round id, head, blocks)."""
    reader = payload_of(data, UPLOAD)
    round_id = reader.raw(32)
    head = read_round_head(reader, rnd)
    if rnd and rnd.committee:
        read_shares(reader, rnd, head)
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


#: What binds the key of a sum without tags, of one key holder, to the aggregate's blocks.
BY_DIGEST, BY_CHECK = b"\x01", b"\x02"


@dataclass
class Sum:
    """An aggregate, or (without blocks) an opening request."""

    round_id: bytes
    entries: list[tuple[int, Head]]
    blocks: bytes | None = None
    evidence: bytes = NO_EVIDENCE  # of a request
    forwards: bool | None = None  # of a committee: whether the sealed shares are there
    tagged: bool = False

    @property
    def total_weight(self) -> int:
        return sum(weight for weight, _ in self.entries)

    def manifest_digest(self) -> bytes:
        rows = sorted((head.digest, head.head_digest, weight) for weight, head in self.entries)
        return streams.label_hash(
            "veilsum/2/manifest",
            self.round_id,
            *(d + named + struct.pack("<Q", w) for d, named, w in rows),
        )

    def manifest(self) -> bytes:
        """Round, heads and weights, as all that contain a manifest have them."""
        out = self.round_id + struct.pack("<I", len(self.entries))
        for weight, head in self.entries:
            out += struct.pack("<Q", weight) + head.fields()
        return out

    def to_bytes(self) -> bytes:
        out = self.manifest()
        if self.blocks is None:
            return seal(OPENING_REQUEST, out + self.evidence)
        if self.forwards is not None:
            out += bytes([self.forwards])
            if self.forwards:
                out += b"".join(part for _, head in self.entries for part in head.shares)
        return seal(AGGREGATE, out + struct.pack("<Q", len(self.blocks)) + self.blocks)

    def request(self) -> Sum:
        """To a key holder of the native engine."""
        assert self.blocks is not None
        named = b"" if self.tagged else blocks_digest(self.blocks)
        return replace(self, blocks=None, evidence=NO_EVIDENCE + named)


def read_manifest(reader: Reader, rnd: Round | None = None) -> Sum:
    round_id = reader.raw(32)
    entries = [
        (reader.number("Q"), read_round_head(reader, rnd)) for _ in range(reader.number("I"))
    ]
    return Sum(round_id, entries, tagged=bool(rnd and rnd.tagged))


def read_sum(data: bytes, rnd: Round | None = None) -> Sum:
    kind, payload = unseal(data)
    assert kind in (AGGREGATE, OPENING_REQUEST)
    reader = Reader(payload)
    out = read_manifest(reader, rnd)
    if kind == AGGREGATE:
        if rnd and rnd.committee:
            flag = reader.number("B")
            assert flag in (0, 1)
            out.forwards = flag == 1
            for _, head in out.entries if out.forwards else []:
                read_shares(reader, rnd, head)
        out.blocks = reader.raw(reader.number("Q"))
    else:
        out.evidence = reader.raw(1)
        assert out.evidence == NO_EVIDENCE
        out.evidence += reader.raw(0 if out.tagged else 32)
    reader.end()
    return out


def make_sum(rnd: Round, uploads: list[tuple[Head, list[bytes]]], weights: list[int]) -> Sum:
    """What an honest aggregator writes."""
    heads = [head for head, _ in uploads]
    blocks = scheme.sum_uploads(rnd.plan, [blocks for _, blocks in uploads], weights)
    return Sum(
        rnd.id,
        list(zip(weights, heads, strict=True)),
        b"".join(blocks),
        forwards=True if rnd.committee else None,
        tagged=rnd.tagged,
    )


def check_blocks(rnd: Round, secret: sealed.SecretKey, total: Sum) -> bytes:
    """What binds the key of a key holder that has the blocks in hand: the hash's key and value."""
    own = secret.mlkem_seed + secret.x25519_private
    key = streams.label_hash("veilsum/2/blocks-check-key", rnd.id, total.manifest_digest(), own)
    blocks = scheme.split_blocks(rnd.plan, rnd.size, rnd.upload_keys, total.blocks)
    return BY_CHECK + key + struct.pack("<QQ", *tag.blocks_value(key, blocks))


def open_sum(rnd: Round, secret: sealed.SecretKey, total: Sum) -> SumKey:
    """What an honest key holder makes of an aggregate, or answers to a request."""
    keys, sums = [], (0,) * tag.EVALUATIONS
    prime = tag.prime_of(rnd.plan.base)
    for _, head in total.entries:
        opened = open_head(rnd, secret, head)
        keys.append(scheme.upload_keys(rnd.plan, rnd.id, opened[:32], rnd.upload_keys))
        if rnd.tagged:
            sums = tag.add(prime, sums, struct.unpack("<QQ", opened[32:]))
    bound = b""
    if not rnd.tagged:
        if total.blocks is None:
            bound = BY_DIGEST + total.evidence[1:]
        else:
            bound = check_blocks(rnd, secret, total)
    return SumKey(
        rnd.id,
        total.manifest_digest(),
        len(total.entries),
        total.total_weight,
        scheme.sum_keys(keys, [weight for weight, _ in total.entries]),
        sums if rnd.tagged else None,
        bound,
    )


@dataclass
class SumKey:
    """R_0 ... R_(kappa - 1) and the sum they belong to."""

    round_id: bytes
    manifest: bytes
    count: int
    total_weight: int
    keys: list[list[int]]
    tag: tuple[int, ...] | None = None  # the sum of the uploads' tags
    bound: bytes = b""  # what binds it to blocks, where there is no tag

    @property
    def field_bits(self) -> int:
        return (2 * KEY_BOUND * self.total_weight).bit_length()

    def to_bytes(self) -> bytes:
        out = self.round_id + self.manifest + struct.pack("<IQ", self.count, self.total_weight)
        out += self.bound + struct.pack(f"<{len(self.tag or ())}Q", *(self.tag or ()))
        offset = KEY_BOUND * self.total_weight
        fields = [c + offset for key in self.keys for c in key]
        return seal(SUM_KEY, out + ring.pack(fields, self.field_bits))


def read_sum_key(data: bytes, rnd: Round) -> SumKey:
    reader = payload_of(data, SUM_KEY)
    key = SumKey(reader.raw(32), reader.raw(32), reader.number("I"), reader.number("Q"), [])
    if rnd.committee is not None and not rnd.tagged:
        key.bound = reader.raw(32)
    elif not rnd.tagged:
        key.bound = reader.raw(1)
        assert key.bound in (BY_DIGEST, BY_CHECK)
        key.bound += reader.raw(32 if key.bound == BY_DIGEST else 32 + TAG_BYTES)
        if key.bound[:1] == BY_CHECK:
            assert max(struct.unpack("<QQ", key.bound[-TAG_BYTES:])) < tag.PRIMES[0]
    if rnd.tagged:
        key.tag = struct.unpack("<QQ", reader.raw(TAG_BYTES))
        assert all(value < tag.prime_of(rnd.plan.base) for value in key.tag)
    degree = rnd.plan.degree
    fields = ring.unpack(reader.raw(rnd.upload_keys * degree // 8 * key.field_bits), key.field_bits)
    reader.end()
    offset = KEY_BOUND * key.total_weight
    assert max(fields) <= 2 * offset
    key.keys = [
        [f - offset for f in fields[i * degree : (i + 1) * degree]] for i in range(rnd.upload_keys)
    ]
    return key


def tag_holds(rnd: Round, key: SumKey, total: Sum, group_key: bytes, digits: list[int]) -> bool:
    """Whether the digits of a decrypted sum are what its clients encrypted."""
    assert key.tag
    prime, own = tag.prime_of(rnd.plan.base), tag.round_key(rnd.id, group_key)
    masks = [tag.mask(prime, own, head.client, head.nonce) for _, head in total.entries]
    expected = tag.subtract(prime, key.tag, tag.add(prime, *masks))
    return expected == tag.hash_of(rnd.plan, rnd.id, group_key, digits)
