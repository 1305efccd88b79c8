"""Where an output goes: through links to a regular file, whose rights the new file keeps.

Layer: Python API, bottom, beside errors; under files. It does in Python what find_destination and
give_rights of cpp/src/base do for the core's files. It knows paths and rights, never content.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from veilsum.errors import ParameterError

__all__ = ["Destination", "find_destination", "give_rights", "open_input"]

PathLike: TypeAlias = str | os.PathLike[str]

_MOST_LINKS: Final = 40  # as many as Linux follows


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an output goes.

    Attributes
    ----------
    path : Path
        Links followed; temporary files stand in its folder.
    before : os.stat_result or None
        Of the file that will be replaced; None when there is none.
    """

    path: Path
    before: os.stat_result | None


def find_destination(path: PathLike) -> Destination:
    """Follow links to where an output goes.

    Parameters
    ----------
    path : str or path
        The output's name.

    Returns
    -------
    Destination
        A regular file, or a name that is free.

    Raises
    ------
    ParameterError
        When a device, a pipe or a socket is there, which cannot hold an output that appears whole
        or not at all; and for a link that another user put into a folder that all can write to.
    OSError
        When a folder is there, or it cannot be looked at.
    """
    name = os.fspath(path)
    # Asked first: what /dev/stdout leads to may be a pipe, which has no name to follow.
    named = _stat_or_none(name)
    if named is not None and stat.S_ISDIR(named.st_mode):
        raise IsADirectoryError(errno.EISDIR, "Is a directory; give the name of a file", name)
    if named is not None and not stat.S_ISREG(named.st_mode):
        raise ParameterError(
            f"the output {name} is a device, a pipe or a socket; outputs are files, which appear "
            f"whole or not at all: write to a file, and copy it there"
        )
    at = Path(name)
    for _ in range(_MOST_LINKS + 1):
        try:
            found = os.lstat(at)
        except (FileNotFoundError, NotADirectoryError):
            if named is not None:
                break
            return Destination(at, None)
        if not stat.S_ISLNK(found.st_mode):
            # A link of /proc can lead to a file whose name is gone, or is another file's now.
            if named is None or not os.path.samestat(found, named):
                break
            return Destination(at, found)
        _refuse_planted(at, found)
        at = at.parent / at.readlink()
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    raise OSError(errno.ESTALE, "is a link to a file that has no name any more", name)


def give_rights(descriptor: int, target: Destination) -> None:
    """Give a finished file the rights of the file that it replaces.

    Where the group cannot be kept, the rights of the group fall to those of others: they must not
    become another group's. A file that replaces none keeps those it was made with.

    Parameters
    ----------
    descriptor : int
        The finished file.
    target : Destination
        Where it goes.

    Raises
    ------
    OSError
        When its mode cannot be set.
    """
    before = target.before
    if before is None:
        return
    mine = os.fstat(descriptor)
    mode = before.st_mode & 0o777
    if (mine.st_uid, mine.st_gid) != (before.st_uid, before.st_gid) and not (
        _chown(descriptor, before.st_uid, before.st_gid)
        or mine.st_gid == before.st_gid
        or _chown(descriptor, -1, before.st_gid)
    ):
        mode = mode & 0o707 | (mode & 0o007) << 3
    os.fchmod(descriptor, mode)


def open_input(path: PathLike) -> BinaryIO:
    """Open a regular file for reading, without waiting for what is none.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    binary file
        At its beginning.

    Raises
    ------
    ParameterError
        When it is a device, a pipe or a socket.
    OSError
        When it is a folder, or cannot be opened.
    """
    name = os.fspath(path)
    # Not blocking: a pipe in the file's place is refused below instead of waited for.
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory; give the name of a file", name)
        if not stat.S_ISREG(mode):
            raise ParameterError(f"{name} is not a regular file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _stat_or_none(name: str) -> os.stat_result | None:
    try:
        return Path(name).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as reason:
        if reason.errno == errno.ELOOP:
            return None  # the walk along the links says it
        raise


def _refuse_planted(path: Path, found: os.stat_result) -> None:
    """Refuse what Linux refuses to open (fs.protected_symlinks); links are followed by hand."""
    folder = path.parent.stat()
    everybody = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
    if everybody and found.st_uid not in (os.geteuid(), folder.st_uid):
        raise ParameterError(
            f"the output {path} is a link that another user made in a folder that everybody can "
            f"write to; give the output another name"
        )


def _chown(descriptor: int, owner: int, group: int) -> bool:
    try:
        os.fchown(descriptor, owner, group)
    except OSError:
        return False
    return True
