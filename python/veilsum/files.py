"""Updates on disk: .npy and .safetensors, read by memory map and written all or nothing.

Layer: Python API, beside layout; it knows arrays and paths, never rounds or keys. Files come from
other people, so every length and offset in a header is checked against the file before use.

The .safetensors reader and writer are our own because the format is a length, a JSON header and raw
bytes, while the usual package copies every tensor and gives NumPy users no bfloat16: here a model
of any size is mapped, and needs no package beyond NumPy.
"""

from __future__ import annotations

import io
import json
import math
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from veilsum.errors import ParameterError, WireFormatError, named_failures
from veilsum.layout import BFLOAT16

__all__ = [
    "StoredArray",
    "atomic_file",
    "check_output",
    "check_writable",
    "locate_update",
    "named_errors",
    "npy_output",
    "output_header",
    "read_secret",
    "read_update",
    "write_secret",
    "write_update",
]

PathLike: TypeAlias = str | os.PathLike[str]
Array: TypeAlias = npt.NDArray[Any]

_PRIVATE_PEM: Final = b"-----BEGIN PRIVATE KEY-----"
_SECRET_KEYS: Final = (b"\x03\x00", b"\x03\x01")  # kinds of secret keys, of either engine

#: Safetensors names of dtypes. Eight-bit floats are missing: NumPy cannot hold them.
_SAFETENSORS: Final[dict[str, np.dtype[Any]]] = {
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
_MAX_HEADER: Final = 100_000_000  # the format's own limit


@dataclass(frozen=True, slots=True)
class StoredArray:
    """Where an array lies in a file.

    Attributes
    ----------
    dtype : dtype
        Of its values.
    shape : tuple of int
        Its extents.
    offset : int
        Its first byte in the file.
    streamable : bool
        Whether its values lie in C order and the machine's byte order, one after the other.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    streamable: bool

    def stand_in(self) -> Array:
        """Make an array of this dtype and shape that takes no memory.

        Returns
        -------
        ndarray
            Read-only zeros.
        """
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)


def locate_update(path: PathLike) -> StoredArray | dict[str, StoredArray]:
    """Say where the values of an update lie in its file.

    Parameters
    ----------
    path : str or path
        A .npy or .safetensors file.

    Returns
    -------
    StoredArray or dict of str to StoredArray
        One, or one for each name. The file is long enough for them.

    Raises
    ------
    ParameterError
        When the name ends in neither.
    WireFormatError
        When the content is not what the name says.
    OSError
        When the file cannot be read.
    """
    path = Path(path)
    if path.suffix == ".npy":
        array = _read_npy(path)
        ordered = bool(array.flags.c_contiguous and array.dtype.isnative)
        # A memory map knows where it begins; arrays without values have nowhere to begin.
        offset = int(getattr(array, "offset", 0))
        return StoredArray(array.dtype, tuple(array.shape), offset, ordered)
    if path.suffix == ".safetensors":
        start, _, entries = _safetensors_entries(path)
        return {
            name: StoredArray(dtype, shape, start + begin, dtype.isnative)
            for name, dtype, shape, begin in entries
        }
    raise _unknown_suffix(path)


def output_header(
    tensors: Sequence[tuple[str, str, tuple[int, ...]]], *, mapping: bool
) -> tuple[bytes, list[int], int]:
    """Lay out a file that is to be filled with values.

    Parameters
    ----------
    tensors : sequence of (str, str, tuple of int)
        Name, dtype and shape of each; for .npy exactly one.
    mapping : bool
        Whether the file is .safetensors and not .npy.

    Returns
    -------
    header : bytes
        The file's beginning.
    offsets : list of int
        Where each tensor's values begin.
    size : int
        The file's size.
    """
    dtypes = [BFLOAT16 if kind == "bfloat16" else np.dtype(kind) for _, kind, _ in tensors]
    if mapping:
        header, places = _safetensors_header(
            {name: (dtype, shape) for (name, _, shape), dtype in zip(tensors, dtypes, strict=True)}
        )
        offsets = [len(header) + places[name] for name, _, _ in tensors]
    else:
        (dtype,) = dtypes
        with io.BytesIO() as text:
            fields = {
                "shape": tensors[0][2],
                "fortran_order": False,
                "descr": np.lib.format.dtype_to_descr(dtype),
            }
            np.lib.format.write_array_header_1_0(text, fields)
            header = text.getvalue()
        offsets = [len(header)]
    values = sum(
        dtype.itemsize * math.prod(shape)
        for (_, _, shape), dtype in zip(tensors, dtypes, strict=True)
    )
    return header, offsets, len(header) + values


def read_update(path: PathLike) -> Array | dict[str, Array]:
    """Map an update from a file; values are read from disk only when they are used.

    Parameters
    ----------
    path : str or path
        A .npy or .safetensors file.

    Returns
    -------
    ndarray or dict of str to ndarray
        Read-only. bfloat16 tensors have the dtype `veilsum.layout.BFLOAT16`.

    Raises
    ------
    ParameterError
        When the name ends in neither.
    WireFormatError
        When the content is not what the name says.
    OSError
        When the file cannot be read.
    """
    path = Path(path)
    if path.suffix == ".npy":
        return _read_npy(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    raise _unknown_suffix(path)


def write_update(path: PathLike, update: Array | Mapping[str, Array]) -> None:
    """Write an update so that the file is there whole or the old one stays.

    Parameters
    ----------
    path : str or path
        A .npy file for an array, a .safetensors file for a mapping.
    update : ndarray or mapping of str to ndarray
        C-contiguous or not; bfloat16 as `veilsum.layout.BFLOAT16`.

    Raises
    ------
    ParameterError
        When the name does not fit what is written.
    OSError
        When it cannot be written.
    """
    path = Path(path)
    check_suffix(path, mapping=isinstance(update, Mapping))
    with atomic_file(path) as file:
        if isinstance(update, Mapping):
            _write_safetensors(file, update)
        else:
            np.lib.format.write_array(file, np.asarray(update), allow_pickle=False)


def check_suffix(path: PathLike, *, mapping: bool) -> None:
    """Refuse a file name that does not fit what would be written to it.

    Parameters
    ----------
    path : str or path
        The name.
    mapping : bool
        Whether named tensors will be written, which only .safetensors holds.

    Raises
    ------
    ParameterError
        When it does not fit.
    """
    path = Path(path)
    if path.suffix not in (".npy", ".safetensors"):
        raise _unknown_suffix(path)
    if mapping != (path.suffix == ".safetensors"):
        what, suffix = ("named tensors", ".safetensors") if mapping else ("one array", ".npy")
        raise ParameterError(
            f"cannot write {what} to {path}; give the output a name that ends in {suffix}"
        )


def check_output(target: PathLike, inputs: Iterable[PathLike]) -> None:
    """Refuse to write over what is being read, over a secret key, or over a folder.

    Parameters
    ----------
    target : str or path
        What is about to be written.
    inputs : iterable of str or path
        What it is made from. Missing ones are somebody else's error.

    Raises
    ------
    ParameterError
        When the output is one of the inputs, a secret key, or a folder.
    """
    target = Path(target)
    if target.is_dir():
        raise ParameterError(f"the output {target} is a folder; give the name of a file")
    if target.is_file():
        with target.open("rb") as file:
            head = file.read(len(_PRIVATE_PEM))
        if head == _PRIVATE_PEM or (head[:4] == b"VSUM" and head[6:8] in _SECRET_KEYS):
            raise ParameterError(
                f"the output {target} is a secret key, which cannot be made again; give the output "
                f"another name"
            )
    # Large files grow under a name of their own before they take the target's.
    written = [name for name in (target, Path(f"{target}.part")) if name.exists()]
    for path in inputs:
        if Path(path).exists() and any(name.samefile(path) for name in written):
            raise ParameterError(
                f"the output {target} is also an input, which it would overwrite; give the output "
                f"another name"
            )


def check_writable(path: PathLike) -> None:
    """Find out now whether a file can be made, for work that cannot be done twice.

    Parameters
    ----------
    path : str or path
        What is to be written later.

    Raises
    ------
    OSError
        When no file can be made in its folder.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    os.close(_create(temporary, path, 0o600))
    temporary.unlink()


@contextmanager
def named_errors(path: PathLike) -> Iterator[None]:
    """Name the file in an error about its content.

    Parameters
    ----------
    path : str or path
        What is being read.

    Yields
    ------
    None
        While it is read.

    Raises
    ------
    WireFormatError
        Of the body, with the file's name in front.
    """
    try:
        yield
    except WireFormatError as reason:
        name = os.fspath(path)
        if str(reason).startswith(name):
            raise
        raise WireFormatError(f"{name}: {reason}") from None


@contextmanager
def atomic_file(path: PathLike) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only when it is complete and on disk.

    Parameters
    ----------
    path : str or path
        The final name. The temporary file stands in the same folder.

    Yields
    ------
    binary file
        Readable and writable. When the body raises, nothing is left behind.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    descriptor = _create(temporary, path, 0o666)
    try:
        with named_failures(path), os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextmanager
def npy_output(path: PathLike, shape: tuple[int, ...], dtype: str) -> Iterator[Array]:
    """Make a .npy file whose values are filled in place, through a memory map.

    Parameters
    ----------
    path : str or path
        The final name; it appears when the body ends without an error.
    shape : tuple of int
        Extents of the array.
    dtype : str
        NumPy dtype of the array.

    Yields
    ------
    ndarray
        Writable, of that shape and dtype.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    with atomic_file(path) as file:
        header = {
            "shape": shape,
            "fortran_order": False,
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        }
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        size = math.prod(shape) * np.dtype(dtype).itemsize
        # Allocate now: a full disk must be an error here, not a SIGBUS in the map.
        _allocate(file, start, size)
        array = np.memmap(file, dtype=dtype, mode="r+", offset=start, shape=shape)
        yield array
        array.flush()


def read_secret(path: PathLike, *, public: bytes | None = None) -> bytes:
    """Read a secret file, refusing one that others can access.

    Parameters
    ----------
    path : str or path
        A regular file of mode 0600 or less.
    public : bytes, optional
        What the public counterpart of such a file begins with: a likely mistake, which is no leak.

    Returns
    -------
    bytes
        Its content.

    Raises
    ------
    ParameterError
        When group or others have any right on it.
    WireFormatError
        When it is the public counterpart.
    OSError
        When it cannot be read.
    """
    with Path(path).open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ParameterError(f"{os.fspath(path)} is not a regular file")
        if public is not None and file.read(len(public)) == public:
            raise WireFormatError(
                f"{os.fspath(path)} holds no Ed25519 private key but a public one; give the file "
                f"that ends in .key"
            )
        file.seek(0)
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise ParameterError(
                f"{os.fspath(path)} holds a secret but others can access it (mode {mode:04o}); run "
                f"chmod 600 on it, and replace the key if it may have been read"
            )
        return file.read()


def write_secret(path: PathLike, data: bytes, *, overwrite: bool = False) -> None:
    """Write a secret file of mode 0600, all or nothing, whatever the umask.

    Parameters
    ----------
    path : str or path
        Its name.
    data : bytes
        Its content.
    overwrite : bool
        Whether a file of that name may be replaced.

    Raises
    ------
    FileExistsError
        When the file exists and `overwrite` is false.
    OSError
        When it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    descriptor = _create(temporary, path, 0o600)
    try:
        with named_failures(path), os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            # A link, unlike a rename, fails when the name is taken, with no gap to race through.
            try:
                os.link(temporary, path)
            except FileExistsError as reason:
                raise FileExistsError(reason.errno, "file exists", os.fspath(path)) from None
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _create(temporary: Path, path: Path, mode: int) -> int:
    try:
        return os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    except OSError as reason:
        # The user knows the final name, not the temporary one.
        raise type(reason)(reason.errno, reason.strerror, os.fspath(path)) from None


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, on systems that can sync a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _allocate(file: BinaryIO, start: int, size: int) -> None:
    file.flush()
    if hasattr(os, "posix_fallocate") and size:
        os.posix_fallocate(file.fileno(), start, size)
    else:
        file.truncate(start + size)


def _unknown_suffix(path: Path) -> ParameterError:
    ends = f"ends in {path.suffix!r}" if path.suffix else "has no suffix"
    how = {
        ".npz": "; take one array out of it, and save it with numpy.save",
        ".pt": "; save the state_dict with safetensors.torch.save_file",
        ".pth": "; save the state_dict with safetensors.torch.save_file",
        ".bin": "; save the state_dict with safetensors.torch.save_file",
    }.get(path.suffix, "")
    return ParameterError(
        f"{path} {ends}; Veilsum reads and writes .npy and .safetensors files{how}"
    )


def _read_npy(path: Path) -> Array:
    path.open("rb").close()  # raises the operating system's own reason, before NumPy's
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, MemoryError):
        raise
    except Exception as reason:
        # NumPy parses the header as Python source: a damaged one fails in many ways.
        raise WireFormatError(f"{path} is not a .npy file of numbers: {reason}") from None


def _read_safetensors(path: Path) -> dict[str, Array]:
    start, room, entries = _safetensors_entries(path)
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=start, shape=(room,)) if room else None
    tensors: dict[str, Array] = {}
    for name, dtype, shape, begin in entries:
        count = math.prod(shape)
        if count == 0 or data is None:
            tensors[name] = np.empty(shape, dtype)
        else:
            # Not data.view(): the offset need not be a multiple of the item size.
            tensors[name] = np.frombuffer(data, dtype, count, begin).reshape(shape)
    return tensors


def _safetensors_entries(
    path: Path,
) -> tuple[int, int, list[tuple[str, np.dtype[Any], tuple[int, ...], int]]]:
    """Read a header: where the data begin, how many bytes they are, and what lies where in them."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            raise WireFormatError(f"{path} is not a .safetensors file: it ends inside its header")
        raw = file.read(length)
    try:
        header = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise WireFormatError(f"{path} is not a .safetensors file: bad header") from None
    if not isinstance(header, dict):
        raise WireFormatError(f"{path} is not a .safetensors file: bad header")
    header.pop("__metadata__", None)
    start, room = 8 + length, size - 8 - length
    return start, room, [(name, *_entry(path, name, entry, room)) for name, entry in header.items()]


def _entry(
    path: Path, name: str, entry: object, room: int
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Check one tensor of a .safetensors header against the bytes that are there."""
    bad = WireFormatError(f"{path} is not a .safetensors file: bad header entry {name!r}")
    if not isinstance(entry, dict):
        raise bad
    shape, offsets, kind = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
    if not (isinstance(shape, list) and isinstance(offsets, list) and isinstance(kind, str)):
        raise bad
    if len(offsets) != 2 or len(shape) > 64:
        raise bad
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in shape + offsets):
        raise bad
    dtype = _SAFETENSORS.get(kind)
    if dtype is None:
        raise ParameterError(
            f"{path}: tensor {name!r} has dtype {kind}, which Veilsum cannot sum; leave it out or "
            f"convert it to F32, F16 or BF16"
        )
    begin, end = offsets
    if begin > end or end > room or end - begin != math.prod(shape) * dtype.itemsize:
        raise bad
    return dtype, tuple(shape), begin


def _safetensors_header(
    tensors: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]],
) -> tuple[bytes, dict[str, int]]:
    """Make a header; the offsets count from its end, in the order in which data are written."""
    names = {dtype: kind for kind, dtype in _SAFETENSORS.items()}
    # Widest items first keeps every tensor aligned to its own item size.
    order = sorted(tensors, key=lambda name: (-tensors[name][0].itemsize, name))
    header: dict[str, Any] = {}
    offsets: dict[str, int] = {}
    offset = 0
    for name in order:
        dtype, shape = tensors[name]
        dtype = BFLOAT16 if dtype.name == "bfloat16" else dtype.newbyteorder("<")
        if dtype not in names:
            raise ParameterError(f"tensor {name!r} has dtype {dtype}, which .safetensors lacks")
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


def _write_safetensors(file: BinaryIO, tensors: Mapping[str, Array]) -> None:
    header, offsets = _safetensors_header(
        {name: (array.dtype, tuple(array.shape)) for name, array in tensors.items()}
    )
    file.write(header)
    for name in sorted(offsets, key=offsets.__getitem__):
        array = tensors[name]
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        file.write(little.reshape(-1).view(np.uint8).data)
