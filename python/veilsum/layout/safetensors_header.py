"""The header of .safetensors files: a length, a JSON object, and which bytes belong to what.

Layer: Python API, under files. What the format's own reader refuses is refused here as well, so
that every file that Veilsum takes or writes can be read by the next tool. The writer and the reader
are our own because the usual package copies every tensor and gives NumPy users no bfloat16.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np

from veilsum.arguments import shown
from veilsum.errors import ParameterError, WireFormatError
from veilsum.layout.tensors import BFLOAT16
from veilsum.outputs import open_input

__all__ = ["Entry", "Header", "make_header", "read_header"]

#: Names of dtypes. Eight-bit floats are missing: NumPy cannot hold them.
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": BFLOAT16,
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_METADATA: Final = "__metadata__"
_MAX_HEADER: Final = 100_000_000  # the format's own limit


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a file: its name, dtype and shape, and its first byte after the header."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int

    @property
    def nbytes(self) -> int:
        """How many bytes its values take."""
        return self.dtype.itemsize * math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself: where its data begin, how many bytes they are, and whose."""

    start: int
    room: int
    entries: tuple[Entry, ...]
    metadata: dict[str, str]


class _HeaderError(ValueError):
    """What is wrong with a header, in words."""


def read_header(path: Path) -> Header:
    """Read a file's header, and check it against the bytes that are there.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Header
        Its tensors in the header's order.

    Raises
    ------
    WireFormatError
        When it is malformed.
    ParameterError
        When it holds a tensor that Veilsum cannot sum.
    OSError
        When it cannot be read.
    """
    with open_input(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            raise WireFormatError(f"{path} is not a .safetensors file: it ends inside its header")
        raw = file.read(length)
    room = size - 8 - length
    try:
        fields = _parse(raw)
        metadata = _metadata(fields.pop(_METADATA, None))
        entries = tuple(_entry(path, name, entry) for name, entry in fields.items())
        _check_places(entries, room)
    except _HeaderError as reason:
        raise WireFormatError(f"{path} is not a .safetensors file: {reason}") from None
    return Header(8 + length, room, entries, metadata)


def make_header(
    tensors: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]],
    metadata: Mapping[str, str] | None = None,
) -> tuple[bytes, dict[str, int]]:
    """Make a header.

    Parameters
    ----------
    tensors : mapping of str to (dtype, tuple of int)
        Dtype and shape of each.
    metadata : mapping of str to str, optional
        What the file says of itself; frameworks look for "format" there.

    Returns
    -------
    header : bytes
        The file's beginning.
    offsets : dict of str to int
        Where each tensor's values begin, counted from the header's end, in ascending order.

    Raises
    ------
    ParameterError
        When the format has no place for a dtype or a name.
    """
    names = {dtype: kind for kind, dtype in _DTYPES.items()}
    # Widest items first keeps every tensor aligned to its own item size.
    order = sorted(tensors, key=lambda name: (-tensors[name][0].itemsize, name))
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    offsets: dict[str, int] = {}
    offset = 0
    for name in order:
        dtype, shape = tensors[name]
        dtype = BFLOAT16 if dtype.name == "bfloat16" else dtype.newbyteorder("<")
        if dtype not in names:
            raise ParameterError(f"tensor {name!r} has dtype {dtype}, which .safetensors lacks")
        if name == _METADATA:
            raise ParameterError(f"a .safetensors file cannot hold a tensor of the name {name!r}")
        nbytes = dtype.itemsize * math.prod(shape)
        header[name] = {
            "dtype": names[dtype],
            "shape": list(shape),
            "data_offsets": [offset, offset + nbytes],
        }
        offsets[name] = offset
        offset += nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, offsets


def _parse(raw: bytes) -> dict[str, Any]:
    # The format says that a header begins so; white space may only follow.
    if not raw.startswith(b"{"):
        raise _HeaderError("bad header")
    try:
        fields = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_pairs,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_no_number,
        )
    except _HeaderError:
        raise
    except (ValueError, RecursionError):
        raise _HeaderError("bad header") from None
    if not isinstance(fields, dict):
        raise _HeaderError("bad header")
    return fields


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        for text in (key, value):
            if isinstance(text, str) and not _is_unicode(text):
                raise _HeaderError(f"its header has half a character in {shown(text)}")
        if key in made:
            raise _HeaderError(f"its header has {key!r} twice")
        made[key] = value
    return made


def _is_unicode(text: str) -> bool:
    """Whether it has no lone surrogate: JSON's escapes can write one, UTF-8 cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _integer(text: str) -> int:
    number = int(text)
    # The format's reader takes "-0" for a real number, and knows none beyond a double's range.
    if text == "-0":
        _no_number(text)
    _number(text)
    return number


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _no_number(text)
    return number


def _no_number(text: str) -> NoReturn:
    raise _HeaderError(f"its header has the number {text[:20]}, which has no place there")


def _metadata(found: object) -> dict[str, str]:
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _HeaderError(f"its {_METADATA} are not texts")
    return found


def _entry(path: Path, name: str, entry: object) -> Entry:
    """Check one tensor of a header by itself."""
    bad = _HeaderError(f"bad header entry {name!r}")
    if not isinstance(entry, dict):
        raise bad
    shape, offsets, kind = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
    if not (isinstance(shape, list) and isinstance(offsets, list) and isinstance(kind, str)):
        raise bad
    if len(offsets) != 2 or len(shape) > 64:
        raise bad
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in shape + offsets):
        raise bad
    dtype = _DTYPES.get(kind)
    if dtype is None:
        raise ParameterError(
            f"{path}: tensor {name!r} has dtype {kind}, which Veilsum cannot sum; leave it out or "
            f"convert it to F32, F16 or BF16"
        )
    made = Entry(name, dtype, tuple(shape), offsets[0])
    if offsets[1] - offsets[0] != made.nbytes:
        raise bad
    return made


def _check_places(entries: tuple[Entry, ...], room: int) -> None:
    """Each byte of the data belongs to exactly one tensor."""
    end = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.nbytes)):
        if entry.begin != end:
            what = "overlap" if entry.begin < end else "leave a hole"
            name = entry.name
            raise _HeaderError(f"bad header entry {name!r}: its bytes {what}")
        end += entry.nbytes
    if end > room:
        raise _HeaderError("it ends inside its data")
    if end < room:
        raise _HeaderError(f"{room - end} byte(s) at its end belong to no tensor")
