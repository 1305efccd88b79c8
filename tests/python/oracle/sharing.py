"""What members of a committee hold of an upload: sharings of its keys, its tag and their masks.

A share is the keys' coefficients and uniform masks, packed, then the words of tag and masks where
there is a tag. All that is random comes from the upload's seed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

from . import ring, shamir, streams, tag
from .plans import Plan

KEY_POLYNOMIALS, MASK_VALUES, TAG_POLYNOMIALS, TAG_MASK_VALUES = range(4)
TAG_MASKS = tag.EVALUATIONS


@dataclass(frozen=True)
class Layout:
    """The sharings of one round: of `columns` coefficients among members, t of which open."""

    members: int
    threshold: int
    prime: int
    columns: int
    tag_prime: int | None

    @cached_property
    def masks(self) -> int:
        """Uniform values beside the keys."""
        return shamir.challenge_elements(self.prime)

    @property
    def width(self) -> int:
        """Places of a packed share: masks are filled up to a multiple of eight."""
        return self.columns + -(-self.masks // 8) * 8

    @property
    def share_bytes(self) -> int:
        words = tag.EVALUATIONS + TAG_MASKS if self.tag_prime else 0
        return self.width * self.prime.bit_length() // 8 + 8 * words

    @property
    def answer_bytes(self) -> int:
        words = tag.EVALUATIONS if self.tag_prime else 0
        return self.columns * self.prime.bit_length() // 8 + 8 * words


def layout_of(plan: Plan, keys: int, members: int, threshold: int, tagged: bool) -> Layout:
    return Layout(
        members,
        threshold,
        shamir.sharing_prime(plan.max_weight, members),
        plan.degree * keys,
        tag.prime_of(plan.base) if tagged else None,
    )


@dataclass(frozen=True)
class Share:
    """One member's, of an upload or of a sum of uploads."""

    keys: list[int]
    masks: list[int]
    tag: list[int]
    tag_masks: list[int]

    def to_bytes(self, layout: Layout) -> bytes:
        """As it is sealed."""
        filled = [0] * (layout.width - len(self.keys) - len(self.masks))
        words = [*self.tag, *self.tag_masks]
        packed = shamir.packed([*self.keys, *self.masks, *filled], layout.prime)
        return packed + struct.pack(f"<{len(words)}Q", *words)

    def answer(self, layout: Layout) -> bytes:
        """As it is answered: without the masks."""
        words = struct.pack(f"<{len(self.tag)}Q", *self.tag)
        return shamir.packed(self.keys, layout.prime) + words


def deal(
    layout: Layout, round_id: bytes, seed: bytes, keys: list[list[int]], own_tag: tuple | None
) -> list[Share]:
    """An upload's shares; `keys` are its r_0, r_1, ..., and `own_tag` is its tag."""
    stream = streams.label_hash("veilsum/2/sharing", round_id, seed)
    p, n, t = layout.prime, layout.members, layout.threshold
    masks = shamir.uniform(stream, MASK_VALUES, p, layout.masks)
    secret = [c for row in keys for c in row] + masks
    assert len(secret) == layout.columns + layout.masks
    # Places that fill up take part in the dealing, and their shares are not kept.
    secret += [0] * (layout.width - len(secret))
    shares = shamir.share(secret, t, n, p, stream, KEY_POLYNOMIALS)
    words: list[list[int]] = [[] for _ in range(n)]
    assert (own_tag is None) == (layout.tag_prime is None)
    if own_tag is not None:
        masks = shamir.uniform(stream, TAG_MASK_VALUES, layout.tag_prime, TAG_MASKS)
        words = shamir.share([*own_tag, *masks], t, n, layout.tag_prime, stream, TAG_POLYNOMIALS)
    end = layout.columns + layout.masks
    return [
        Share(row[: layout.columns], row[layout.columns : end], more[:2], more[2:])
        for row, more in zip(shares, words, strict=True)
    ]


def _unpacked(data: bytes, count: int, p: int) -> list[int]:
    elements = ring.unpack(data[: count * p.bit_length() // 8], p.bit_length())
    assert len(elements) == count
    assert all(x < p for x in elements)
    return elements


def _words(data: bytes, p: int | None) -> list[int]:
    words = list(struct.unpack(f"<{len(data) // 8}Q", data))
    assert all(p is not None and w < p for w in words)
    return words


def read_share(layout: Layout, data: bytes) -> Share:
    assert len(data) == layout.share_bytes
    packed = layout.width * layout.prime.bit_length() // 8
    elements = _unpacked(data, layout.width, layout.prime)
    words = _words(data[packed:], layout.tag_prime)
    end = layout.columns + layout.masks
    assert not any(elements[end:])
    return Share(elements[: layout.columns], elements[layout.columns : end], words[:2], words[2:])


def read_answer(layout: Layout, data: bytes) -> Share:
    assert len(data) == layout.answer_bytes
    packed = layout.columns * layout.prime.bit_length() // 8
    elements = _unpacked(data, layout.columns, layout.prime)
    return Share(elements, [], _words(data[packed:], layout.tag_prime), [])


def add(layout: Layout, shares: list[Share]) -> Share:
    """The share of a sum."""

    def columns(rows: list[list[int]], p: int | None) -> list[int]:
        return [sum(column) % (p or 1) for column in zip(*rows, strict=True)]

    return Share(
        columns([s.keys for s in shares], layout.prime),
        columns([s.masks for s in shares], layout.prime),
        columns([s.tag for s in shares], layout.tag_prime),
        columns([s.tag_masks for s in shares], layout.tag_prime),
    )


def reconstruct(
    layout: Layout, members: list[int], shares: list[Share]
) -> tuple[list[int], tuple[int, ...] | None]:
    """Coefficients, with their sign, and the tag: from t members' shares of a sum."""
    assert len(members) == layout.threshold
    keys = shamir.reconstruct(members, [s.keys for s in shares], layout.prime)
    found = None
    if layout.tag_prime:
        found = tuple(shamir.reconstruct(members, [s.tag for s in shares], layout.tag_prime))
    return [shamir.centred(c, layout.prime) for c in keys], found
