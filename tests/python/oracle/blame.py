"""What members say of single uploads after a round was spoiled, and what it shows: from the words
of docs/wire-format.md and of SECURITY.md, by trying every set of members.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

from . import identity, sealed, shamir, sharing, streams
from .committee import Certificate, Request, _read_signature
from .wire import CHALLENGE_ANSWER, VERDICT, Reader, Round, payload_of, seal


def challenge(manifest: bytes, client: int) -> bytes:
    """What is asked of the shares of one client's upload."""
    return streams.label_hash("veilsum/2/challenge", manifest + struct.pack("<I", client))


@dataclass
class Combinations:
    """Of one member's share of one upload; without a share nothing but zeros."""

    opened: bool
    keys: list[int]
    tag: list[int]

    def to_bytes(self) -> bytes:
        words = [*self.keys, *self.tag]
        return bytes([self.opened]) + struct.pack(f"<{len(words)}Q", *words)


def tag_words(layout: sharing.Layout) -> int:
    return sharing.TAG_MASKS if layout.tag_prime else 0


def combine(layout: sharing.Layout, digest: bytes, share: sharing.Share | None) -> Combinations:
    if share is None:
        return Combinations(False, [0] * layout.masks, [0] * tag_words(layout))
    p, wide = layout.prime, layout.tag_prime

    def masked(words: list[int], masks: list[int], p: int) -> list[int]:
        return [(w + m) % p for w, m in zip(words, masks, strict=True)]

    keys = masked(shamir.combine_challenge(digest, share.keys, p), share.masks, p)
    if not wide:
        return Combinations(True, keys, [])
    of_tag = streams.label_hash("veilsum/2/tag-challenge", digest)
    tag = shamir.combine_challenge(of_tag, share.tag, wide, sharing.TAG_MASKS)
    return Combinations(True, keys, masked(tag, share.tag_masks, wide))


def open_challenges(rnd: Round, request: Request, secret: identity.Secret) -> bytes:
    """A member's combinations, by client."""
    own, out = identity.identity_id(secret.public), []
    manifest = request.total.manifest_digest()
    for (_, head), part in zip(request.total.entries, request.parts, strict=True):
        info = sealed.share_info(rnd.id, head.client, head.nonce, request.member, own)
        share = sharing.read_share(rnd.sharing, sealed.unseal(secret.kem, info, part))
        out.append((head.client, combine(rnd.sharing, challenge(manifest, head.client), share)))
    return b"".join(one.to_bytes() for _, one in sorted(out, key=lambda pair: pair[0]))


def challenge_payload(rnd: Round, member: int, certified: bytes, words: bytes) -> bytes:
    digest = streams.label_hash("veilsum/2/challenge-words", words)
    return b"veilsum/2/challenge-answer" + rnd.id + struct.pack("<I", member) + certified + digest


@dataclass
class ChallengeAnswer:
    """A member's combinations for all uploads of a sum, signed."""

    round_id: bytes
    certified: bytes
    member: int
    signature: bytes
    words: bytes

    def to_bytes(self) -> bytes:
        out = self.round_id + self.certified + struct.pack("<I", self.member)
        return seal(CHALLENGE_ANSWER, out + self.signature + self.words)


def answer(
    rnd: Round, member: int, secret: identity.Secret, certified: bytes, words: bytes
) -> ChallengeAnswer:
    signature = secret.sign(challenge_payload(rnd, member, certified, words))
    return ChallengeAnswer(rnd.id, certified, member, signature, words)


def read_combinations(layout: sharing.Layout, reader: Reader) -> Combinations:
    flag = reader.raw(1)[0]
    assert flag < 2
    keys = [reader.number("Q") for _ in range(layout.masks)]
    tag = [reader.number("Q") for _ in range(tag_words(layout))]
    assert all(word < layout.prime for word in keys)
    assert all(word < (layout.tag_prime or 0) for word in tag)
    assert flag or not any([*keys, *tag])
    return Combinations(bool(flag), keys, tag)


def combinations_bytes(layout: sharing.Layout) -> int:
    return 1 + 8 * (layout.masks + tag_words(layout))


def read_words(layout: sharing.Layout, words: bytes) -> list[Combinations]:
    reader, size = Reader(words), combinations_bytes(layout)
    assert len(words) % size == 0
    out = [read_combinations(layout, reader) for _ in range(len(words) // size)]
    reader.end()
    return out


def read_challenge_answer(data: bytes, rnd: Round) -> ChallengeAnswer:
    reader = payload_of(data, CHALLENGE_ANSWER)
    round_id, certified, member = reader.raw(32), reader.raw(32), reader.number("I")
    assert round_id == rnd.id
    signature = _read_signature(reader, rnd, member)
    words = reader.raw(len(reader.data) - reader.at)
    assert words
    read_words(rnd.sharing, words)
    return ChallengeAnswer(round_id, certified, member, signature, words)


def verdict_bytes(certificate: Certificate, answers: list[ChallengeAnswer]) -> bytes:
    """Of honest answers, each member's once."""
    inner = certificate.to_bytes()
    out = struct.pack("<Q", len(inner)) + inner + struct.pack("<I", len(answers))
    for one in sorted(answers, key=lambda a: a.member):
        out += struct.pack("<I", one.member) + one.signature + one.words
    return seal(VERDICT, out)


def assumed_dishonest(n: int, t: int) -> int:
    return max(1, 2 * t - n - 1, (n - t) // 2)


def _consistent(members: list[int], rows: list[list[int]], t: int, p: int) -> bool:
    points = [m + 1 for m in members[:t]]
    return all(
        shamir.interpolate(points, list(column[:t]), m + 1, p) == value
        for column in zip(*rows, strict=True)
        for m, value in zip(members[t:], column[t:], strict=True)
    )


@dataclass
class Finding:
    """Of one upload."""

    convicted: bool
    departing: list[int]
    placed: bool


def judge(
    t: int, f: int, members: list[int], words: list[Combinations], primes: tuple[int, int | None]
) -> Finding:
    """What one upload's combinations show: the least set without which the others are a sharing."""
    closed = [m for m, one in zip(members, words, strict=True) if not one.opened]
    rest = [(m, one) for m, one in zip(members, words, strict=True) if one.opened]
    p, wide = primes

    def explained(left: list[tuple[int, Combinations]]) -> bool:
        who = [m for m, _ in left]
        keys = _consistent(who, [one.keys for _, one in left], t, p)
        return keys and (not wide or _consistent(who, [one.tag for _, one in left], t, wide))

    least = next(
        [m for m, _ in away]
        for size in range(len(rest) + 1)
        for away in itertools.combinations(rest, size)
        if len(rest) - size <= t or explained([one for one in rest if one not in away])
    )
    if len(members) - t > f and len(closed) + len(least) > f:
        return Finding(True, [], False)
    if len(rest) <= t:
        return Finding(False, closed, False)
    if len(least) <= (len(rest) - t) // 2:
        return Finding(False, sorted(closed + least), True)
    return Finding(False, sorted(members), False)
