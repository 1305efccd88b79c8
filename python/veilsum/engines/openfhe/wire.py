"""Envelopes of the OpenFHE engine's objects, and checked reading of what is inside.

Layer: OpenFHE engine, bottom. The core writes and checks the envelope (docs/wire-format.md); the
high byte of the kind is 1, this engine's number. Everything inside is checked against the bytes at
hand before it is used or allocated for.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, TypeAlias

from veilsum import _core
from veilsum.errors import WireFormatError

__all__ = ["Buffer", "Kind", "Reader", "digest", "open_envelope", "seal"]

Buffer: TypeAlias = bytes | bytearray | memoryview


class Kind(IntEnum):
    """Kinds of objects; the numbers are the native ones plus 256."""

    PLAN = 257
    PUBLIC_KEY = 258
    SECRET_KEY = 259
    ROUND = 260
    UPLOAD = 261
    AGGREGATE = 262
    OPENING_REQUEST = 263
    SUM_KEY = 264
    DECRYPTION_SHARE = 265

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.name.lower().replace("_", " ")


def digest(label: str, *parts: Buffer) -> bytes:
    """Return SHA-256 of a label and what follows it.

    Parameters
    ----------
    label : str
        What the digest is for.
    *parts : bytes-like
        Its content.
    """
    hasher = hashlib.sha256(label.encode("ascii"))
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def seal(kind: Kind, parts: Sequence[Buffer]) -> list[Buffer]:
    """Put an envelope around a payload.

    Parameters
    ----------
    kind : Kind
        Of the object.
    parts : sequence of bytes-like
        The payload, in pieces.

    Returns
    -------
    list of bytes-like
        The pieces of the object, to be joined or written one after the other.
    """
    header, trailer = _core._frame_around(kind, parts)  # type: ignore[attr-defined]
    return [header, *parts, trailer]


def open_envelope(data: Buffer, kind: Kind) -> Reader:
    """Check an envelope and return a reader of its payload.

    Parameters
    ----------
    data : bytes-like
        Untrusted.
    kind : Kind
        What it must be.

    Raises
    ------
    WireFormatError
        Naming the first thing that is wrong.
    """
    payload = _core._open_envelope(data, kind)  # type: ignore[attr-defined]
    return Reader(payload, kind.title)


class Reader:
    """Reads a payload from the front; running out of bytes is a `WireFormatError`."""

    def __init__(self, view: memoryview, name: str) -> None:
        self._view = view
        self._name = name

    @property
    def left(self) -> int:
        """Bytes that are not read yet."""
        return self._view.nbytes

    def take(self, count: int) -> memoryview:
        """Return the next bytes.

        Parameters
        ----------
        count : int
            How many.

        Raises
        ------
        WireFormatError
            When there are fewer.
        """
        if not 0 <= count <= self._view.nbytes:
            raise self.error("it ends too early")
        taken, self._view = self._view[:count], self._view[count:]
        return taken

    def unpack(self, form: str) -> tuple[Any, ...]:
        """Return the next fields.

        Parameters
        ----------
        form : str
            As for `struct`; read as little-endian.

        Raises
        ------
        WireFormatError
            When there are too few bytes.
        """
        layout = struct.Struct("<" + form)
        return layout.unpack(self.take(layout.size))

    def items(self, count: int, size: int) -> Iterable[memoryview]:
        """Return a number of items of one size, having checked that they are all there.

        Parameters
        ----------
        count : int
            How many.
        size : int
            Bytes of each.

        Raises
        ------
        WireFormatError
            When there are too few bytes.
        """
        block = self.take(count * size)
        return (block[index * size : (index + 1) * size] for index in range(count))

    def flag(self) -> bool:
        """Return the next byte, which must be 0 or 1.

        Raises
        ------
        WireFormatError
            When it is neither, or missing.
        """
        (value,) = self.unpack("B")
        if value > 1:
            raise self.error(f"a flag is {value}")
        return bool(value)

    def positive(self) -> float:
        """Return the next double, which must be finite and above 0.

        Raises
        ------
        WireFormatError
            When it is not.
        """
        (value,) = self.unpack("d")
        if not (math.isfinite(value) and value > 0):
            raise self.error("a number is not finite and above 0")
        return float(value)

    def finish(self) -> None:
        """Check that nothing is left.

        Raises
        ------
        WireFormatError
            When something is.
        """
        if self._view.nbytes:
            raise self.error(f"{self._view.nbytes} bytes follow its last field")

    def error(self, what: str) -> WireFormatError:
        """Make the error for malformed content.

        Parameters
        ----------
        what : str
            What is wrong, as a clause.
        """
        return WireFormatError(f"the {self._name} is malformed: {what}")
