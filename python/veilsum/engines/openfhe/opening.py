"""What a key holder makes of an aggregate's blocks, and how its owner decrypts with it.

Layer: OpenFHE engine, over keys. A share is s * c1 + noise for each block of one aggregate, with
noise far wider than the sum's own; the sum of all parties' shares is the body of a sum key. Without
that aggregate's c0 it says nothing, and no other aggregate has that c1: the digest of the blocks
leads the body. The rules of opening are the core's, which calls `open_blocks` when they hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from veilsum.engines.openfhe.backend import ComplexValues, Words, drawn
from veilsum.engines.openfhe.keys import secret_words
from veilsum.engines.openfhe.plan import CkksPlan
from veilsum.errors import KeyMismatchError, WireFormatError

__all__ = ["WHOLE", "Opened", "chunks", "decrypted", "digest_of", "open_blocks", "words_of"]

Buffer: TypeAlias = bytes | bytearray | memoryview

#: The role of what all parties' shares add up to; a party's share has the party's number from 1.
WHOLE = 0

_DIGEST_BYTES = 32
_HEAD_BYTES = _DIGEST_BYTES + 1
#: Blocks that are converted at once: 4 MiB at N = 4096.
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Opened:
    """The body of a sum key, or of one party's share of it."""

    digest: bytes  #: of the aggregate's blocks
    role: int  #: `WHOLE`, or 1 + the party's number
    words: memoryview  #: one polynomial a block

    def to_bytes(self) -> bytes:
        """Return the body."""
        return b"".join((self.digest, bytes([self.role]), self.words))

    @classmethod
    def read(cls, plan: CkksPlan, blocks: int, body: bytes) -> Opened:
        """Read a body for a round of so many blocks.

        Raises
        ------
        WireFormatError
            When it is malformed.
        """
        if len(body) != _HEAD_BYTES + 8 * plan.polynomial * blocks:
            raise WireFormatError("the sum key is malformed: its length is not its round's")
        if body[_DIGEST_BYTES] > plan.parties:
            raise WireFormatError(
                f"the sum key is malformed: it is of party {body[_DIGEST_BYTES] - 1}, and the plan "
                f"has {plan.parties}"
            )
        words = memoryview(body)[_HEAD_BYTES:]
        return cls(bytes(body[:_DIGEST_BYTES]), body[_DIGEST_BYTES], words)


def digest_of(blocks: Buffer) -> bytes:
    """Return the digest that names an aggregate's blocks in what was made of them."""
    hasher = hashlib.sha256(b"veilsum/2/openfhe/opened")
    hasher.update(blocks)
    return hasher.digest()


def words_of(raw: Buffer) -> Words:
    """Return little-endian words: a copy, aligned, so that what is checked is what is used."""
    return np.frombuffer(raw, dtype="<u8").astype(np.uint64)


def chunks(count: int) -> Iterator[tuple[int, int]]:
    """Cut `count` blocks into runs that are worked on at once: (first, end) of each."""
    return ((first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK))


def open_blocks(plan: CkksPlan, secret: bytes, blocks: memoryview, role: int = WHOLE) -> bytes:
    """Make the body of a sum key of an aggregate's blocks, or of a share for another role.

    Raises
    ------
    WireFormatError
        When a residue is not below its prime.
    """
    each = 8 * plan.polynomial
    key = secret_words(plan, secret)
    parts = []
    for first, last in chunks(blocks.nbytes // (2 * each)):
        words = words_of(blocks[2 * each * first : 2 * each * last])
        share = drawn(plan.context.share, key, words, plan.flooding_deviation)
        parts.append(share.astype("<u8", copy=False).tobytes())
    key.fill(0)
    return Opened(digest_of(blocks), role, memoryview(b"".join(parts))).to_bytes()


def decrypted(
    plan: CkksPlan, opened: Opened, blocks: memoryview, threads: int
) -> Iterator[ComplexValues]:
    """Decrypt an aggregate, some blocks at a time: the sums of value / limit in their slots.

    Raises
    ------
    KeyMismatchError
        When the body is of another aggregate, or of one party.
    WireFormatError
        When a residue is not below its prime.
    """
    if opened.role != WHOLE:
        raise KeyMismatchError(
            f"this is the share of party {opened.role - 1} of {plan.parties}, and decrypts nothing "
            f"alone; veilsum.engines.openfhe.combine_shares makes the sum key of all shares"
        )
    if opened.digest != digest_of(blocks):
        raise KeyMismatchError(
            "the sum key was made for other blocks than this aggregate's; it decrypts those and "
            "nothing else"
        )
    each = 8 * plan.polynomial
    for first, last in chunks(blocks.nbytes // (2 * each)):
        yield plan.context.decrypt(
            words_of(blocks[2 * each * first : 2 * each * last]),
            words_of(opened.words[each * first : each * last]),
            threads,
        )
