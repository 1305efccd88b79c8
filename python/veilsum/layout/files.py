"""Updates on disk: .npy and .safetensors, read by memory map and written all or nothing.

Layer: Python API, beside layout; it knows arrays and paths, never rounds or keys. Files come from
other people, so every length and offset in a header is checked against the file before use. A model
of any size is mapped, and needs no package beyond NumPy.
"""

from __future__ import annotations

import errno
import io
import math
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from veilsum import _core
from veilsum.errors import ParameterError, WireFormatError, named_failures
from veilsum.layout.safetensors_header import make_header, read_header
from veilsum.layout.tensors import BFLOAT16, NamedTensors
from veilsum.outputs import find_destination, give_rights, open_input

__all__ = [
    "StoredArray",
    "atomic_file",
    "check_apart",
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

_UPDATES: Final = (".npy", ".safetensors")
_NO_MAGIC: Final = re.compile(r"not a Veilsum object \(magic missing\)$")
_NPY_MAGIC: Final = b"\x93NUMPY"


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
    suffix = _suffix(path)
    if suffix == ".npy":
        array = _read_npy(path)
        ordered = bool(array.flags.c_contiguous and array.dtype.isnative)
        # A memory map knows where it begins; arrays without values have nowhere to begin.
        offset = int(getattr(array, "offset", 0))
        return StoredArray(array.dtype, tuple(array.shape), offset, ordered)
    if suffix == ".safetensors":
        header = read_header(path)
        return {
            entry.name: StoredArray(
                entry.dtype, entry.shape, header.start + entry.begin, entry.dtype.isnative
            )
            for entry in header.entries
        }
    raise _unknown_suffix(path)


def output_header(
    tensors: Sequence[tuple[str, str, tuple[int, ...]]],
    *,
    mapping: bool,
    metadata: Mapping[str, str] | None = None,
) -> tuple[bytes, list[int], int]:
    """Lay out a file that is to be filled with values.

    Parameters
    ----------
    tensors : sequence of (str, str, tuple of int)
        Name, dtype and shape of each; for .npy exactly one.
    mapping : bool
        Whether the file is .safetensors and not .npy.
    metadata : mapping of str to str, optional
        What a .safetensors file is to say of itself.

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
        header, places = make_header(
            {name: (dtype, shape) for (name, _, shape), dtype in zip(tensors, dtypes, strict=True)},
            metadata,
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


def read_update(path: PathLike) -> Array | NamedTensors:
    """Map an update from a file; values are read from disk only when they are used.

    Parameters
    ----------
    path : str or path
        A .npy or .safetensors file.

    Returns
    -------
    ndarray or NamedTensors
        Read-only. bfloat16 tensors have the dtype `veilsum.layout.tensors.BFLOAT16`.

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
    suffix = _suffix(path)
    if suffix == ".npy":
        return _read_npy(path)
    if suffix == ".safetensors":
        return _read_safetensors(path)
    raise _unknown_suffix(path)


def write_update(
    path: PathLike,
    update: Array | Mapping[str, Array],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write an update so that the file is there whole or the old one stays.

    Parameters
    ----------
    path : str or path
        A .npy file for an array, a .safetensors file for a mapping.
    update : ndarray or mapping of str to ndarray
        C-contiguous or not; bfloat16 as `veilsum.layout.tensors.BFLOAT16`.
    metadata : mapping of str to str, optional
        What a .safetensors file is to say of itself; by default what the update's own file said.

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
            if metadata is None and isinstance(update, NamedTensors):
                metadata = update.metadata
            _write_safetensors(file, update, metadata or {})
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
    found = _suffix(path)
    if found not in _UPDATES:
        raise _unknown_suffix(path)
    if mapping != (found == ".safetensors"):
        what, suffix = ("named tensors", ".safetensors") if mapping else ("one array", ".npy")
        raise ParameterError(
            f"cannot write {what} to {path}; give the output a name that ends in {suffix}"
        )


def check_output(target: PathLike, inputs: Iterable[PathLike]) -> None:
    """Refuse to write over what is being read, what cannot be made again, or what is no file.

    Parameters
    ----------
    target : str or path
        What is about to be written.
    inputs : iterable of str or path
        What it is made from. Missing ones are somebody else's error.

    Raises
    ------
    ParameterError
        When the output is one of the inputs, a secret key, the ledger of one, the journal of an
        unfinished run, a folder, a device or a pipe.
    """
    target = Path(target)
    if target.is_dir():
        raise ParameterError(f"the output {target} is a folder; give the name of a file")
    _core.refuse_kept(target)
    check_apart(target, inputs)


def check_apart(target: PathLike, inputs: Iterable[PathLike]) -> None:
    """Refuse to write over what is being read.

    Parameters
    ----------
    target : str or path
        What is about to be written.
    inputs : iterable of str or path
        What it is made from. Missing ones are somebody else's error.

    Raises
    ------
    ParameterError
        When the output, or a file that is made on the way to it, is one of the inputs.
    """
    found = find_destination(target)
    # Large files grow under a name of their own, beside a journal, before they take the target's.
    names = [found.path, *(Path(f"{found.path}{end}") for end in (".part", ".journal"))]
    written = [name for name in names if name.exists()]
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
    ParameterError
        When a device, a pipe or a socket is there.
    OSError
        When no file can be made in its folder.
    """
    temporary = _beside(find_destination(path).path)
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
        if _NO_MAGIC.search(str(reason)) and _suffix(Path(name)) in _UPDATES:
            kind = str(reason).partition(":")[0]
            raise WireFormatError(
                f"{name}: this is an update, but a {kind} is needed; are two arguments swapped?"
            ) from None
        raise WireFormatError(f"{name}: {reason}") from None


@contextmanager
def atomic_file(path: PathLike) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only when it is complete and on disk.

    Parameters
    ----------
    path : str or path
        The final name; a link is followed. The temporary file stands in the same folder, and takes
        over the rights of a file that it replaces.

    Yields
    ------
    binary file
        Readable and writable. When the body raises, nothing is left behind.

    Raises
    ------
    ParameterError
        When a device, a pipe or a socket is there, or what cannot be made again: a secret key, the
        ledger of one, the journal of an unfinished run.
    OSError
        When it cannot be written.
    """
    target = find_destination(path)
    _core.refuse_kept(path)
    temporary = _beside(target.path)
    descriptor = _create(temporary, path, 0o666 if target.before is None else 0o600)
    try:
        with named_failures(path), os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            target = find_destination(path)  # the body may have taken long
            give_rights(file.fileno(), target)
            os.fsync(file.fileno())
        temporary.replace(target.path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.path.parent)


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
    with open_input(path) as file:
        status = os.fstat(file.fileno())
        if public is not None and file.read(len(public)) == public:
            raise WireFormatError(
                f"{os.fspath(path)} holds a public identity, not the secret one; give the file "
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
        Whether a file of that name may be replaced; a link is then followed.

    Raises
    ------
    FileExistsError
        When the file exists and `overwrite` is false.
    ParameterError
        When a device, a pipe or a socket is to be overwritten.
    OSError
        When it cannot be written.
    """
    path = Path(path)
    if overwrite:
        path = find_destination(path).path
    temporary = _beside(path)
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


def _beside(path: Path) -> Path:
    """Name a temporary file in the same folder."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def _create(temporary: Path, path: PathLike, mode: int) -> int:
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


def _suffix(path: Path) -> str:
    """Return how a name ends, in small letters: some systems write A.NPY."""
    return path.suffix.lower()


def _unknown_suffix(path: Path) -> ParameterError | OSError:
    if path.is_dir():
        return IsADirectoryError(
            errno.EISDIR,
            "Is a directory; give a .npy or .safetensors file in it",
            os.fspath(path),
        )
    ends = f"ends in {path.suffix!r}" if path.suffix else "has no suffix"
    how = {
        ".npz": "; take one array out of it, and save it with numpy.save",
        ".pt": "; save the state_dict with safetensors.torch.save_file",
        ".pth": "; save the state_dict with safetensors.torch.save_file",
        ".bin": "; save the state_dict with safetensors.torch.save_file",
    }.get(_suffix(path), "")
    return ParameterError(
        f"{path} {ends}; Veilsum reads and writes .npy and .safetensors files{how}"
    )


def _read_npy(path: Path) -> Array:
    with open_input(path) as file:  # raises the operating system's own reason, before NumPy's
        short = _npy_shortage(file)
    if short is not None:
        raise WireFormatError(f"{path} is not a .npy file of numbers: {short}")
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, MemoryError):
        raise
    except Exception as reason:
        # NumPy parses the header as Python source: a damaged one fails in many ways.
        raise WireFormatError(f"{path} is not a .npy file of numbers: {reason}") from None


def _npy_shortage(file: BinaryIO) -> str | None:
    """Say what NumPy would say in its own terms: nothing there, cut short, or Python objects."""
    size = os.fstat(file.fileno()).st_size
    magic = file.read(len(_NPY_MAGIC) + 2)
    if not magic:
        return "it is empty"
    if not _NPY_MAGIC.startswith(magic[: len(_NPY_MAGIC)]):
        return "it does not begin as one; is it of another format?"
    inside_header = "it is cut short: it ends inside its header"
    if len(magic) < len(_NPY_MAGIC) + 2:
        return inside_header
    wide = 2 if magic[-2] == 1 else 4
    length = file.read(wide)
    if len(length) < wide or file.tell() + int.from_bytes(length, "little") > size:
        return inside_header
    try:
        file.seek(0)
        version = np.lib.format.read_magic(file)
        read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        shape, _, dtype = read[version[0]](file)
    except Exception:
        return None  # what is wrong with the header, or a third version, is NumPy's to say
    if dtype.hasobject:
        return (
            "it holds Python objects, which only pickle can read; save an array of floats "
            "(array.astype(numpy.float32))"
        )
    if size - file.tell() < dtype.itemsize * math.prod(shape):
        return "it is cut short: it ends inside its data"
    return None


def _read_safetensors(path: Path) -> NamedTensors:
    header = read_header(path)
    data = None
    if header.room:
        data = np.memmap(path, np.uint8, mode="r", offset=header.start, shape=(header.room,))
    tensors = NamedTensors(header.metadata)
    for entry in header.entries:
        count = math.prod(entry.shape)
        if count == 0 or data is None:
            tensors[entry.name] = np.empty(entry.shape, entry.dtype)
        else:
            # Not data.view(): the offset need not be a multiple of the item size.
            array = np.frombuffer(data, entry.dtype, count, entry.begin)
            tensors[entry.name] = array.reshape(entry.shape)
    return tensors


def _write_safetensors(
    file: BinaryIO, tensors: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    header, offsets = make_header(
        {name: (array.dtype, tuple(array.shape)) for name, array in tensors.items()}, metadata
    )
    file.write(header)
    for name in offsets:
        array = tensors[name]
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        file.write(little.reshape(-1).view(np.uint8).data)
