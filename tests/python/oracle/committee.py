"""What a committee's members, aggregator and reader exchange: requests, endorsements, certificates
and answers. As `wire`, which has the objects of both kinds of authority.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

from . import identity, sealed, sharing, streams, tree
from .wire import (
    ANSWER,
    CERTIFICATE,
    ENDORSEMENT,
    MEMBER_REQUEST,
    Reader,
    Round,
    Sum,
    SumKey,
    blocks_digest,
    payload_of,
    read_manifest,
    seal,
)


def sum_digest(rnd: Round, manifest: bytes, named_blocks: bytes) -> bytes:
    """What members give their word for; the blocks are named where there are no tags."""
    assert len(named_blocks) == (0 if rnd.tagged else 32)
    return streams.label_hash("veilsum/2/certified-sum", rnd.id, manifest, named_blocks)


@dataclass
class Request:
    """What one member is asked: a manifest, its own sealed share of each upload, their paths."""

    total: Sum
    named_blocks: bytes
    member: int
    parts: list[bytes]
    paths: list[list[bytes]]

    def sum_digest(self, rnd: Round) -> bytes:
        return sum_digest(rnd, self.total.manifest_digest(), self.named_blocks)

    def to_bytes(self) -> bytes:
        out = self.total.manifest() + self.named_blocks + struct.pack("<I", self.member)
        for part, beside in zip(self.parts, self.paths, strict=True):
            out += part + b"".join(beside)
        return seal(MEMBER_REQUEST, out)


def named_blocks(rnd: Round, total: Sum) -> bytes:
    """The digest of an aggregate's blocks, where members certify it."""
    assert total.blocks is not None
    return b"" if rnd.tagged else blocks_digest(total.blocks)


def make_request(rnd: Round, total: Sum, member: int) -> Request:
    """What an honest aggregator asks."""
    heads = [head for _, head in total.entries]
    return Request(
        replace(total, blocks=None),
        named_blocks(rnd, total),
        member,
        [head.shares[member] for head in heads],
        [tree.path(head.shares, member) for head in heads],
    )


def _read_named(reader: Reader, rnd: Round) -> bytes:
    return reader.raw(0 if rnd.tagged else 32)


def read_request(data: bytes, rnd: Round) -> Request:
    assert rnd.committee
    reader = payload_of(data, MEMBER_REQUEST)
    total = read_manifest(reader, rnd)
    out = Request(total, _read_named(reader, rnd), reader.number("I"), [], [])
    count = len(rnd.committee.members)
    for _, head in total.entries:
        part = reader.raw(rnd.sealed_share_bytes)
        beside = [reader.raw(32) for _ in range(tree.path_length(count, out.member))]
        assert tree.root_of_path(part, beside, count, out.member) == head.part
        out.parts.append(part)
        out.paths.append(beside)
    reader.end()
    return out


def open_shares(rnd: Round, request: Request, secret: identity.Secret) -> sharing.Share:
    """A member's share of the sum."""
    shares = []
    for (_, head), part in zip(request.total.entries, request.parts, strict=True):
        own = identity.identity_id(secret.public)
        info = sealed.share_info(rnd.id, head.client, head.nonce, request.member, own)
        shares.append(sharing.read_share(rnd.sharing, sealed.unseal(secret.kem, info, part)))
    return sharing.add(rnd.sharing, shares)


def endorsement_payload(rnd: Round, member: int, certified: bytes) -> bytes:
    return b"veilsum/2/endorsement" + rnd.id + struct.pack("<I", member) + certified


@dataclass
class Endorsement:
    """One member's signed word."""

    round_id: bytes
    certified: bytes
    member: int
    signature: bytes

    def to_bytes(self) -> bytes:
        out = self.round_id + self.certified + struct.pack("<I", self.member)
        return seal(ENDORSEMENT, out + self.signature)


def endorse(rnd: Round, member: int, secret: identity.Secret, certified: bytes) -> Endorsement:
    signature = secret.sign(endorsement_payload(rnd, member, certified))
    return Endorsement(rnd.id, certified, member, signature)


def _read_signature(reader: Reader, rnd: Round, member: int) -> bytes:
    assert rnd.committee
    return reader.raw(identity.SIGNATURE_BYTES[rnd.committee.members[member][0]])


def read_endorsement(data: bytes, rnd: Round) -> Endorsement:
    reader = payload_of(data, ENDORSEMENT)
    round_id, certified, member = reader.raw(32), reader.raw(32), reader.number("I")
    out = Endorsement(round_id, certified, member, _read_signature(reader, rnd, member))
    reader.end()
    return out


def endorsed(rnd: Round, one: Endorsement) -> bool:
    """Whether the signature holds."""
    assert rnd.committee
    payload = endorsement_payload(rnd, one.member, one.certified)
    return identity.verify(rnd.committee.members[one.member], one.signature, payload)


@dataclass
class Certificate:
    """A manifest, with the word of t members for it."""

    total: Sum
    named_blocks: bytes
    words: list[tuple[int, bytes]] = field(default_factory=list)  # member, signature

    def sum_digest(self, rnd: Round) -> bytes:
        return sum_digest(rnd, self.total.manifest_digest(), self.named_blocks)

    def to_bytes(self) -> bytes:
        out = self.total.manifest() + self.named_blocks
        for member, signature in self.words:
            out += struct.pack("<I", member) + signature
        return seal(CERTIFICATE, out)


def certify(rnd: Round, total: Sum, endorsements: list[Endorsement]) -> Certificate:
    """Of the first t endorsements."""
    assert rnd.committee
    words = [(one.member, one.signature) for one in endorsements[: rnd.committee.threshold]]
    return Certificate(replace(total, blocks=None), named_blocks(rnd, total), words)


def read_certificate(data: bytes, rnd: Round) -> Certificate:
    assert rnd.committee
    reader = payload_of(data, CERTIFICATE)
    total = read_manifest(reader, rnd)
    out = Certificate(total, _read_named(reader, rnd))
    certified = out.sum_digest(rnd)
    for _ in range(rnd.committee.threshold):
        member = reader.number("I")
        signature = _read_signature(reader, rnd, member)
        assert endorsed(rnd, Endorsement(rnd.id, certified, member, signature))
        out.words.append((member, signature))
    reader.end()
    assert len({member for member, _ in out.words}) == rnd.committee.threshold
    return out


def answer_payload(rnd: Round, member: int, certified: bytes, sealed_answer: bytes) -> bytes:
    digest = streams.label_hash("veilsum/2/sealed-answer-digest", sealed_answer)
    return b"veilsum/2/answer" + rnd.id + struct.pack("<I", member) + certified + digest


@dataclass
class Answer:
    """A member's share of a sum, sealed to the round's reader and signed."""

    round_id: bytes
    certified: bytes
    member: int
    signature: bytes
    sealed: bytes

    def to_bytes(self) -> bytes:
        out = self.round_id + self.certified + struct.pack("<I", self.member)
        return seal(ANSWER, out + self.signature + self.sealed)


def answer(
    rnd: Round,
    member: int,
    secret: identity.Secret,
    certified: bytes,
    share: sharing.Share,
    randomness: bytes,
) -> Answer:
    info = sealed.answer_info(rnd.id, certified, member)
    made = sealed.seal(rnd.reading_key, info, share.answer(rnd.sharing), randomness)
    signature = secret.sign(answer_payload(rnd, member, certified, made))
    return Answer(rnd.id, certified, member, signature, made)


def read_answer(data: bytes, rnd: Round) -> Answer:
    reader = payload_of(data, ANSWER)
    round_id, certified, member = reader.raw(32), reader.raw(32), reader.number("I")
    signature = _read_signature(reader, rnd, member)
    out = Answer(
        round_id,
        certified,
        member,
        signature,
        reader.raw(sealed.SEAL_BYTES + rnd.sharing.answer_bytes),
    )
    reader.end()
    return out


def open_answer(rnd: Round, one: Answer, secret: sealed.SecretKey) -> sharing.Share:
    """By the reader; the signature has to hold."""
    assert rnd.committee
    payload = answer_payload(rnd, one.member, one.certified, one.sealed)
    assert identity.verify(rnd.committee.members[one.member], one.signature, payload)
    info = sealed.answer_info(rnd.id, one.certified, one.member)
    return sharing.read_answer(rnd.sharing, sealed.unseal(secret, info, one.sealed))


def combine(
    rnd: Round, certificate: Certificate, answers: list[Answer], secret: sealed.SecretKey
) -> SumKey:
    """The sum key that the first t answers give."""
    assert rnd.committee
    certified, total = certificate.sum_digest(rnd), certificate.total
    assert all(one.certified == certified for one in answers)
    used = answers[: rnd.committee.threshold]
    shares = [open_answer(rnd, one, secret) for one in used]
    keys, found = sharing.reconstruct(rnd.sharing, [one.member for one in used], shares)
    degree = rnd.plan.degree
    return SumKey(
        rnd.id,
        total.manifest_digest(),
        len(total.entries),
        total.total_weight,
        [keys[i : i + degree] for i in range(0, len(keys), degree)],
        found,
        certificate.named_blocks,
    )


def reader_id(rnd: Round) -> bytes:
    """What members' ledgers call the reader."""
    return streams.label_hash("veilsum/2/reader-id", rnd.reading_key)
