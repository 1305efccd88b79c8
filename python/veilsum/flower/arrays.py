"""Models on the wire between server and site: a header in JSON, then the arrays' bytes.

Flower's adapter, bottom. Flower's own records would do, but what is signed for and compared by
digest must be the same bytes on both sides.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.errors import ParameterError, WireFormatError

_LENGTH = struct.Struct("<Q")
_KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


@dataclass(frozen=True)
class Packed:
    """A header and named arrays.

    Parameters
    ----------
    header : mapping
        As JSON holds it.
    arrays : mapping of str to ndarray
        In an order that is kept.
    """

    header: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return its bytes: the same for the same header and arrays.

        Raises
        ------
        veilsum.ParameterError
            When an array's type cannot travel.
        """
        shapes, parts = [], []
        for name, array in self.arrays.items():
            kind = array.dtype.str[1:]
            if kind not in _KINDS:
                raise ParameterError(
                    f"array {name} is of type {array.dtype}; numbers of 1 to 8 bytes can travel"
                )
            shapes.append([name, kind, list(array.shape)])
            flat = np.ascontiguousarray(array).astype(f"<{kind}", copy=False)
            parts.append(flat.tobytes())
        header = json.dumps([dict(self.header), shapes], sort_keys=True, allow_nan=False).encode()
        return b"".join([_LENGTH.pack(len(header)), header, *parts])

    @classmethod
    def from_bytes(cls, data: bytes) -> Packed:
        """Read it.

        Parameters
        ----------
        data : bytes
            From a stranger.

        Raises
        ------
        veilsum.WireFormatError
            When it is malformed.
        """
        try:
            (length,) = _LENGTH.unpack_from(data)
            if length > len(data) - _LENGTH.size:
                raise ValueError("length")
            at = _LENGTH.size + length
            header, shapes = json.loads(data[_LENGTH.size : at])
            arrays: dict[str, NDArray[Any]] = {}
            for name, kind, shape in shapes:
                if kind not in _KINDS or not isinstance(name, str) or name in arrays:
                    raise ValueError("name")
                dtype = np.dtype(f"<{kind}")
                count = 1
                for extent in shape:
                    if type(extent) is not int or extent < 0:
                        raise ValueError("shape")
                    count *= extent
                if count * dtype.itemsize > len(data) - at:
                    raise ValueError("cut off")
                arrays[name] = np.frombuffer(data, dtype, count, at).reshape(shape)
                at += count * dtype.itemsize
            if at != len(data) or not isinstance(header, dict):
                raise ValueError("end")
        except (ValueError, TypeError, RecursionError, struct.error) as reason:
            raise WireFormatError(f"{len(data)} bytes are no packed arrays") from reason
        return cls(header, arrays)
