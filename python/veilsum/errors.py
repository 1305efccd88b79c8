"""The one error tree of Veilsum, re-exported from the core, and the words of errors for people.

Layer: Python API, bottom. Every error that Veilsum raises on purpose is a `VeilsumError`; its
message names the thing, the value received, the rule and the remedy, and never secret material.
This module must not know of rounds, files or commands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from veilsum._core import (
    BackendUnavailableError,
    HeadroomError,
    KeyMismatchError,
    ParameterError,
    RoundError,
    TamperedSumError,
    VeilsumError,
    WireFormatError,
)

__all__ = [
    "BackendUnavailableError",
    "BadSharesError",
    "HeadroomError",
    "KeyMismatchError",
    "ParameterError",
    "RoundError",
    "TamperedSumError",
    "VeilsumError",
    "VeilsumWarning",
    "WireFormatError",
    "about_update",
    "install_advice",
    "missing_extra",
    "named_failures",
    "named_update",
    "one_line",
]


class VeilsumWarning(UserWarning):
    """What is allowed and was done, but is hardly what was meant; the message says what helps."""


class BadSharesError(RoundError):
    """Clients whose sealed share a member cannot open: nothing was signed.

    Attributes
    ----------
    clients : tuple of int
        Their numbers in the round's roster. The aggregator sums again without them.
    """

    def __init__(self, clients: Iterable[int]) -> None:
        """Name the clients.

        Parameters
        ----------
        clients : iterable of int
            Their numbers.
        """
        self.clients = tuple(clients)
        named = ", ".join(map(str, self.clients))
        super().__init__(
            f"the share that client{'s' if len(self.clients) > 1 else ''} {named} sealed to this "
            f"member cannot be opened, or is none; nothing was signed: sum without "
            f"{'them' if len(self.clients) > 1 else 'it'}"
        )


BadSharesError.__module__ = "veilsum"  # as the core's errors have it


def missing_extra(feature: str, package: str, extra: str) -> BackendUnavailableError:
    """Make the error for a feature whose optional package is not installed.

    Parameters
    ----------
    feature : str
        What the user asked for, as the subject of a sentence.
    package : str
        The import name of the package that is missing.
    extra : str
        The extra of Veilsum that installs it.

    Returns
    -------
    BackendUnavailableError
        To be raised by the caller, `from` the `ImportError` when there was one.
    """
    return BackendUnavailableError(
        f"{feature} needs the Python package {package!r}, which is not installed here; "
        f"{install_advice(extra)}"
    )


def install_advice(extra: str) -> str:
    """Say how an extra is installed: from the repository, since no package index has Veilsum.

    Parameters
    ----------
    extra : str
        Its name in pyproject.toml.

    Returns
    -------
    str
        The end of a sentence.
    """
    return f"install it with: pip install '.[{extra}]' in Veilsum's repository"


def about_update(message: str) -> ParameterError:
    """Make the error for an update that does not fit; who read it from a file can name the file.

    Parameters
    ----------
    message : str
        What does not fit.

    Returns
    -------
    ParameterError
        To be raised by the caller.
    """
    error = ParameterError(message)
    error.about_update = True  # type: ignore[attr-defined]
    return error


@contextmanager
def named_update(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file that an update was read from, in errors about the update.

    Parameters
    ----------
    path : str or path
        As the user knows it.

    Yields
    ------
    None
        While the update is looked at.

    Raises
    ------
    ParameterError
        Of the body; one about the update has the file's name in front.
    """
    try:
        yield
    except ParameterError as reason:
        if not getattr(reason, "about_update", False):
            raise
        raise ParameterError(f"{os.fspath(path)}: {reason}") from None


@contextmanager
def named_failures(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file that is being written in errors that name none, such as that of a full disk.

    Parameters
    ----------
    path : str or path
        As the user knows it.

    Yields
    ------
    None
        While it is written.

    Raises
    ------
    OSError
        Of the body, with the name.
    """
    try:
        yield
    except OSError as reason:
        if reason.filename is None and reason.errno is not None:
            reason.filename = os.fspath(path)
        raise


_OUT_OF_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory", re.IGNORECASE)


def one_line(error: BaseException) -> str:
    """Return what a user reads of an error: one line, and whether it is a bug.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    str
        The message of Veilsum's own errors; name and reason of the operating system's; of any
        other its type, and the wish to hear of it.
    """
    if isinstance(error, VeilsumError):
        text = str(error)
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        text = f"{where}{error.strerror or error}"
    elif isinstance(error, MemoryError) or (
        # As PyTorch says it.
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error))
    ):
        text = "out of memory"
    else:
        text = (
            f"unexpected {type(error).__name__}: {error} (a bug: please report it, with what "
            "--traceback shows)"
        )
    return re.sub(r"\s*\n\s*", " ", text.strip())
