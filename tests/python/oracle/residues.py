"""An engine that lives elsewhere, as the rules see it: blocks are rows of 64-bit words, each row
modulo a number of its own, and the digest of an upload's blocks is its cipher's part."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from . import wire


@dataclass(frozen=True)
class Plan:
    """What the wire format and sums need of such a plan; 0 stands for 2^64."""

    plan_fields: bytes
    block_values: int
    moduli: tuple[int, ...]
    row_words: int

    def fields(self, optimise: str = "speed") -> bytes:
        """The payload; what it is optimised for is the engine's to say."""
        del optimise
        return self.plan_fields

    @property
    def block_bytes(self) -> int:
        return 8 * len(self.moduli) * self.row_words

    def payload_bytes(self, size: int) -> int:
        return -(-size // self.block_values) * self.block_bytes

    def sum(self, uploads: list[bytes], weights: list[int]) -> bytes:
        """Word by word, in Python's integers."""
        count = len(uploads[0]) // 8
        words = [struct.unpack(f"<{count}Q", blocks) for blocks in uploads]
        out = []
        for at, column in enumerate(zip(*words, strict=True)):
            modulus = self.moduli[at // self.row_words % len(self.moduli)] or 1 << 64
            out.append(sum(w * x for w, x in zip(weights, column, strict=True)) % modulus)
        return struct.pack(f"<{count}Q", *out)


def make_head(nonce: bytes, blocks: bytes, clipped: int = 0) -> wire.Head:
    """The head of an upload whose part is the digest of its blocks."""
    return wire.Head(nonce, wire.blocks_digest(blocks), clipped)


def read_upload(data: bytes) -> tuple[bytes, wire.Head, bytes]:
    """(round id, head, blocks)."""
    reader = wire.payload_of(data, wire.UPLOAD)
    round_id = reader.raw(32)
    head = wire.read_head(reader, 32)
    blocks = reader.raw(reader.number("Q"))
    reader.end()
    return round_id, head, blocks


def sum_key_bytes(total: wire.Sum, body: bytes) -> bytes:
    """A sum key as it travels: the body is its engine's."""
    lead = struct.pack("<IQ", len(total.entries), total.total_weight)
    return wire.seal(wire.SUM_KEY, total.round_id + total.manifest_digest() + lead + body)
