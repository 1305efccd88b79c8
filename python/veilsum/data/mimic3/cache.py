"""The prepared table on disk, so that a second run does not read 35 GB again.

Data layer, part of the MIMIC-III loader: arrays and text in, the same out, nothing of their
meaning. A file's name is a digest of what went into it: the loader's version, and each table's
name, size, time of change and the bytes at its two ends. So a changed file is read again, a moved
directory is not, and two versions of the loader never mix.

The table is derived from patients' data: folder and file can be read by their owner only. A file
that cannot be read is made again, not trusted: no pickles, and a checksum over the content.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from veilsum.data.mimic3.tables import TableFile
from veilsum.layout.files import write_secret

_END_BYTES: Final = 1 << 16
_DIGEST: Final = 32

Prepared = tuple[dict[str, NDArray[Any]], dict[str, Any]]
"""Named arrays, and a JSON object that describes them."""


def user_folder() -> Path:
    """Return the user's cache folder for Veilsum."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The convention: a path that is not absolute counts as unset.
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "veilsum"


def key_of(version: str, tables: dict[str, TableFile], synthetic: bool) -> str:
    """Return the key of what would be made from these files.

    Parameters
    ----------
    version : str
        The loader's.
    tables : dict of TableFile
        The files.
    synthetic : bool
        Whether the directory is marked as made up.

    Raises
    ------
    OSError
        When a file cannot be read.
    """
    digest = hashlib.sha256(json.dumps([version, synthetic]).encode())
    for name in sorted(tables):
        path = tables[name].path
        status = path.stat()
        described = [name, path.suffix.lower(), status.st_size, status.st_mtime_ns]
        digest.update(json.dumps(described).encode())
        with path.open("rb") as file:
            digest.update(file.read(_END_BYTES))
            file.seek(max(0, status.st_size - _END_BYTES))
            digest.update(file.read(_END_BYTES))
    return digest.hexdigest()


def read(folder: Path, key: str) -> Prepared | None:
    """Read a prepared table.

    Parameters
    ----------
    folder : Path
        The cache.
    key : str
        As `key_of` returned it.

    Returns
    -------
    tuple or None
        None when there is none, or what is there is damaged or open to others.
    """
    try:
        with _path(folder, key).open("rb") as file:
            status = os.fstat(file.fileno())
            # Somebody else's file, in a folder that is shared, is not our result.
            if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
                return None
            data = file.read()
    except OSError:
        return None
    body = data[_DIGEST:]
    if hashlib.sha256(key.encode() + body).digest() != data[:_DIGEST]:
        return None
    with np.load(io.BytesIO(body), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    described = json.loads(arrays.pop("described").tobytes())
    return arrays, described


def make_folder(folder: Path) -> None:
    """Make the cache's folder, for its owner only, unless it is there.

    Parameters
    ----------
    folder : Path
        The cache.

    Raises
    ------
    OSError
        When it cannot be made, or not be written to.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, "the cache cannot be written to", str(folder))


def write(folder: Path, key: str, prepared: Prepared) -> Path:
    """Write a prepared table, all or nothing.

    Parameters
    ----------
    folder : Path
        The cache.
    key : str
        As `key_of` returned it.
    prepared : tuple
        Arrays and their description.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    arrays, described = prepared
    text = np.frombuffer(json.dumps(described).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    named: dict[str, Any] = {"described": text, **arrays}
    np.savez_compressed(buffer, **named)
    body = buffer.getvalue()
    path = _path(folder, key)
    write_secret(path, hashlib.sha256(key.encode() + body).digest() + body, overwrite=True)
    return path


def _path(folder: Path, key: str) -> Path:
    return folder / f"mimic3-{key[:32]}.table"
