"""The hash tree over an upload's sealed shares, from the root down.

A tree of n leaves has the largest power of two below n on its left: that is what joining
neighbours level by level gives, where one that is left over goes up as it is.
"""

from __future__ import annotations

import struct

from . import streams


def leaf(member: int, part: bytes) -> bytes:
    return streams.label_hash("veilsum/2/sealed-share-leaf", struct.pack("<I", member), part)


def node(left: bytes, right: bytes) -> bytes:
    return streams.label_hash("veilsum/2/sealed-share-node", left, right)


def _left(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def root(parts: list[bytes], first: int = 0) -> bytes:
    """`first` is the number of the first part's member."""
    if len(parts) == 1:
        return leaf(first, parts[0])
    cut = _left(len(parts))
    return node(root(parts[:cut], first), root(parts[cut:], first + cut))


def path(parts: list[bytes], member: int, first: int = 0) -> list[bytes]:
    """The digests beside the way from a member's leaf up to the root."""
    if len(parts) == 1:
        return []
    cut = _left(len(parts))
    if member < cut:
        return [*path(parts[:cut], member, first), root(parts[cut:], first + cut)]
    return [*path(parts[cut:], member - cut, first + cut), root(parts[:cut], first)]


def path_length(count: int, member: int) -> int:
    if count == 1:
        return 0
    cut = _left(count)
    below = path_length(cut, member) if member < cut else path_length(count - cut, member - cut)
    return 1 + below


def root_of_path(part: bytes, beside: list[bytes], count: int, member: int, first: int = 0):
    """The root that a part and its path lead to."""
    if count == 1:
        assert not beside
        return leaf(first, part)
    cut = _left(count)
    if member < cut:
        return node(root_of_path(part, beside[:-1], cut, member, first), beside[-1])
    below = root_of_path(part, beside[:-1], count - cut, member - cut, first + cut)
    return node(beside[-1], below)
