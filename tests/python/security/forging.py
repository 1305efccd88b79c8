"""Uploads, aggregates and requests of any engine as no honest party would write them.

docs/wire-format.md in a few lines: the heads are the same for all engines but for the length of the
cipher's part. The checksum always fits: it finds accidents, not liars.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field, replace

import veilsum as vs
from veilsum import _core

PLAN, PUBLIC_KEY, SECRET_KEY, ROUND, UPLOAD, AGGREGATE, OPENING_REQUEST, SUM_KEY = range(1, 9)
NATIVE_PART_BYTES, PART_BYTES = 1168, 32
SIGNATURE_BYTES = {1: 64, 2: 64 + 3309}
NO_EVIDENCE, AGGREGATE_SHOWN, UPLOADS_SHOWN = range(3)


def seal(kind: int, payload: bytes) -> bytes:
    """Payload -> object."""
    header, trailer = _core._frame_around(kind, [payload])
    return bytes(header) + payload + bytes(trailer)


def reseal(data: bytes | bytearray) -> bytes:
    """Fit length and checksum to a payload that was changed."""
    return seal(int.from_bytes(data[6:8], "little"), bytes(data[16:-4]))


def part_bytes(rnd: vs.Round) -> int:
    return NATIVE_PART_BYTES if rnd.plan.engine == "native" else PART_BYTES


@dataclass(frozen=True)
class Signature:
    """Who signed, over which blocks."""

    client: int
    blocks_digest: bytes
    signature: bytes


@dataclass(frozen=True)
class Head:
    """What travels of an upload besides its blocks."""

    clipped: int
    signature: Signature | None
    nonce: bytes
    part: bytes

    def to_bytes(self) -> bytes:
        kind = 0
        if self.signature:
            kind = 1 if len(self.signature.signature) == SIGNATURE_BYTES[1] else 2
        out = struct.pack("<BQ", kind, self.clipped)
        if self.signature:
            out += struct.pack("<I", self.signature.client)
            out += self.signature.blocks_digest + self.signature.signature
        return out + self.nonce + self.part


def _read_head(rnd: vs.Round, data: bytes, at: int) -> tuple[Head, int]:
    flag, clipped = struct.unpack_from("<BQ", data, at)
    at += 9
    signature = None
    if flag:
        (client,) = struct.unpack_from("<I", data, at)
        start, end = at + 36, at + 36 + SIGNATURE_BYTES[flag]
        signature = Signature(client, data[at + 4 : start], data[start:end])
        at = end
    end = at + 16 + part_bytes(rnd)
    return Head(clipped, signature, data[at : at + 16], data[at + 16 : end]), end


@dataclass(frozen=True)
class RawUpload:
    """An upload in parts."""

    round_id: bytes
    head: Head
    blocks: bytes

    @classmethod
    def of(cls, upload: vs.Upload, rnd: vs.Round) -> RawUpload:
        data = upload.to_bytes()[16:-4]
        head, at = _read_head(rnd, data, 32)
        return cls(data[:32], head, data[at + 8 :])

    def to_bytes(self) -> bytes:
        body = self.head.to_bytes() + struct.pack("<Q", len(self.blocks)) + self.blocks
        return seal(UPLOAD, self.round_id + body)

    def read(self, rnd: vs.Round) -> vs.Upload:
        return vs.Upload.from_bytes(self.to_bytes(), rnd)

    def with_head(self, **changes: object) -> RawUpload:
        return replace(self, head=replace(self.head, **changes))

    def with_signature(self, **changes: object) -> RawUpload:
        assert self.head.signature is not None
        return self.with_head(signature=replace(self.head.signature, **changes))


def renamed(raw: RawUpload) -> RawUpload:
    """Let the head name the blocks at hand, where that is what the cipher's part is."""
    if len(raw.head.part) != PART_BYTES:
        return raw
    return raw.with_head(part=digest_of(raw.blocks))


def digest_of(blocks: bytes) -> bytes:
    """Return the digest that a signature, or a head, has of blocks."""
    hasher = hashlib.sha256(b"veilsum/2/blocks-digest")
    for at in range(0, len(blocks), 65536):
        hasher.update(hashlib.sha256(blocks[at : at + 65536]).digest())
    return hasher.digest()


@dataclass(frozen=True)
class RawSum:
    """An aggregate or, without blocks, an opening request, that nobody has checked."""

    round_id: bytes
    entries: list[tuple[int, Head]]
    blocks: bytes
    shown: list[bytes] = field(default_factory=list)  #: blocks of uploads, in a request

    @classmethod
    def of(cls, total: vs.Aggregate, rnd: vs.Round) -> RawSum:
        data = total.to_bytes()[16:-4]
        (count,) = struct.unpack_from("<I", data, 32)
        at, entries = 36, []
        for _ in range(count):
            (weight,) = struct.unpack_from("<Q", data, at)
            head, at = _read_head(rnd, data, at + 8)
            entries.append((weight, head))
        return cls(data[:32], entries, data[at + 8 :])

    @classmethod
    def made(cls, rnd: vs.Round, uploads: list[vs.Upload], blocks: bytes = b"") -> RawSum:
        """Of any uploads, with blocks of zeros if none are given."""
        raw = [RawUpload.of(upload, rnd) for upload in uploads]
        return cls(
            rnd.id, [(1, one.head) for one in raw], blocks or bytes(len(raw[0].blocks)),
            [one.blocks for one in raw],
        )  # fmt: skip

    def _manifest(self) -> bytes:
        out = self.round_id + struct.pack("<I", len(self.entries))
        return out + b"".join(struct.pack("<Q", w) + head.to_bytes() for w, head in self.entries)

    def to_bytes(self) -> bytes:
        body = struct.pack("<Q", len(self.blocks)) + self.blocks
        return seal(AGGREGATE, self._manifest() + body)

    def read(self, rnd: vs.Round) -> vs.Aggregate:
        return vs.Aggregate.from_bytes(self.to_bytes(), rnd)

    def request_bytes(self, rnd: vs.Round) -> bytes:
        """Return the request that shows what the engine's key holder has to see."""
        evidence = bytes([NO_EVIDENCE])
        if rnd.plan.engine != "native":
            evidence = bytes([UPLOADS_SHOWN]) + digest_of(self.blocks) + b"".join(self.shown)
        else:
            evidence += digest_of(self.blocks)  # the key names the blocks
        return seal(OPENING_REQUEST, self._manifest() + evidence)

    def request(self, rnd: vs.Round) -> vs.OpeningRequest:
        return vs.OpeningRequest.from_bytes(self.request_bytes(rnd), rnd)
