"""Asking parties: who, what, and what came back; no I/O.

Parties, bottom. A coordinator is a generator that yields lists of `Ask` and is sent a `Reply` for
each; whoever drives it brings requests to parties in whatever way, or says that it could not.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from veilsum.errors import VeilsumError
from veilsum.parties.messages import Request

Occasion = Literal["setup", "train", "contribute", "upload", "open", "distribute"]
"""What a request is part of: where a transport may find that somebody is not there."""


class Party(NamedTuple):
    """Whom to ask.

    Parameters
    ----------
    kind : {"cloud", "member", "key holder"}
        A member is one that is no cloud.
    number : int
        From 0.
    """

    kind: Literal["cloud", "member", "key holder"]
    number: int

    def __str__(self) -> str:
        return self.kind if self.kind == "key holder" else f"{self.kind} {self.number + 1}"


@dataclass(frozen=True)
class Ask:
    """One request on its way.

    Parameters
    ----------
    party : Party
        Whom it is for.
    request : Request
        What is asked.
    round : int
        The training round; 0 before the first.
    occasion : str
        What it is part of.
    phase : str
        What its time is counted as.
    """

    party: Party
    request: Request = field(repr=False)
    round: int
    occasion: Occasion
    phase: str


@dataclass(frozen=True)
class Reply:
    """What became of one request.

    Parameters
    ----------
    data : bytes or None
        The reply; None when there is none, and where it lies in a file.
    error : VeilsumError, OSError or None
        Why the party refused, where it did.
    seconds : float
        How long the party worked.
    delay_s : float
        How long the reply was on its way, beyond that.
    file : Path or None
        Where a reply lies that is not read into memory: an upload, of which the sum needs one
        portion after another.
    """

    data: bytes | None = field(default=None, repr=False)
    error: VeilsumError | OSError | None = None
    seconds: float = 0.0
    delay_s: float = 0.0
    file: Path | None = None

    def refused(self) -> Reply:
        """Return the reply, or raise what the party refused with."""
        if self.error is not None:
            raise self.error
        return self


_T = TypeVar("_T")

Steps: TypeAlias = Generator[list[Ask], Iterable[Reply], _T]
"""A protocol as a generator: yields requests, is sent their replies, returns what it came to.

Replies are read once and in order: they may be made, or fetched, while they are read, so that no
more than one upload need be in memory.
"""
