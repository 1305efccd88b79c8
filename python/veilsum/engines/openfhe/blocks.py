"""Runs of blocks on their way to and from bytes, a few megabytes at a time.

Layer: OpenFHE engine, over plan. A block travels as the residues of OpenFHE's binary ciphertext, in
its order; the rest of that format is the same for every block and comes from the round's context.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from veilsum.arguments import type_name
from veilsum.engines.openfhe.backend import Blocks, Key, Words
from veilsum.engines.openfhe.plan import Plan
from veilsum.engines.openfhe.wire import Buffer
from veilsum.errors import ParameterError

__all__ = ["as_bytes", "blocks_digest", "read_blocks", "write_blocks"]

#: Blocks that are converted at once: 8 MiB at N = 8192.
_CHUNK = 32


def as_bytes(words: Words) -> memoryview:
    """Return residues as they travel.

    Parameters
    ----------
    words : ndarray of uint64
        Residues.
    """
    if not isinstance(words, np.ndarray):
        raise ParameterError(f"words is {type_name(words)}; it must be an array of residues")
    return memoryview(np.ascontiguousarray(words, dtype="<u8").view(np.uint8).data)


def write_blocks(plan: Plan, blocks: Blocks, threads: int = 0) -> Iterator[memoryview]:
    """Return the blocks' bytes, in pieces.

    Parameters
    ----------
    plan : Plan
        Theirs.
    blocks : Blocks
        What to write.
    threads : int
        0 for all cores.
    """
    for first in range(0, len(blocks), _CHUNK):
        count = min(_CHUNK, len(blocks) - first)
        words = plan.context.write(blocks, first, count, threads)
        yield as_bytes(words)


def read_blocks(
    plan: Plan, key: Key, data: Buffer, elements: int, rescaled: bool, threads: int = 0
) -> Blocks:
    """Read blocks from bytes, checking each residue against its prime.

    Parameters
    ----------
    plan : Plan
        Theirs.
    key : Key
        The public key that they are made for.
    data : bytes-like
        Untrusted; a whole number of blocks, at least one.
    elements : int
        2, or 1 for shares.
    rescaled : bool
        Whether they have one prime.
    threads : int
        0 for all cores.

    Raises
    ------
    WireFormatError
        When a residue is not below its prime.
    """
    view = memoryview(data).cast("B")
    size = 8 * plan.words(elements, rescaled=rescaled) * _CHUNK
    parts = []
    for start in range(0, view.nbytes, size):
        # A copy: aligned, and what was checked is what is used.
        words = np.frombuffer(view[start : start + size], dtype="<u8").astype(np.uint64)
        parts.append(plan.context.read(key, words, elements, rescaled, threads))
    return parts[0] if len(parts) == 1 else plan.context.join(parts)


def blocks_digest(plan: Plan, blocks: Blocks, threads: int = 0) -> bytes:
    """Return the digest that names blocks.

    Parameters
    ----------
    plan : Plan
        Theirs.
    blocks : Blocks
        What to name.
    threads : int
        0 for all cores.
    """
    hasher = hashlib.sha256(b"veilsum/1/openfhe/blocks")
    for piece in write_blocks(plan, blocks, threads):
        hasher.update(piece)
    return hasher.digest()
