"""A transport over folders: each party has one, in which its requests and its replies stay.

Transport. `FOLDER/0007-contribute.request` is asked, `0007-contribute.reply` answers it, or
`0007-contribute.refusal`. Folders may lie on a file server or be carried about; whoever works at a
`Desk` needs nothing else. What stays there is also how a run goes on after it was killed, and how
it can be audited: a party that is told its requests again stands where it stood.

A request that was answered is answered with the same bytes ever after, whatever the party's own
state is by then: an update is never encrypted twice for one round.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from veilsum import errors
from veilsum.arguments import shown
from veilsum.errors import BadSharesError, RoundError, VeilsumError, WireFormatError
from veilsum.parties.asking import Ask, Party, Reply
from veilsum.parties.messages import Contribute, read_request, write_request

_REQUEST, _REPLY, _REFUSAL, _NOTES = ".request", ".reply", ".refusal", ".notes"
_LEFT_OUT = b"\0left out"
"""Stands for the reply of a round that is over, where only what a party needs is kept."""


class Replayable(Protocol):
    """A party that can be told its requests again."""

    def handle(self, request: bytes) -> bytes:
        """Do what a request asks, and return the reply.

        Parameters
        ----------
        request : bytes
            As `messages.write_request` wrote it.
        """
        ...

    def replay(self, request: bytes) -> None:
        """Come to where a request led before, when its reply has left already.

        Parameters
        ----------
        request : bytes
            In the order in which requests came the first time.
        """
        ...

    def notes(self) -> bytes:
        """Return what the party noted for itself; it stays in its own folder."""
        ...

    def recall(self, notes: bytes) -> None:
        """Take the notes back.

        Parameters
        ----------
        notes : bytes
            What `notes` returned.
        """
        ...


class Mailbox:
    """One party's folder, as whoever asks the party uses it.

    Parameters
    ----------
    folder : Path
        The folder; made where it is missing, for its owner only.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._known = {hashlib.sha256(path.read_bytes()).digest(): path for path in self.requests()}

    def requests(self) -> list[Path]:
        """Return all requests, in order."""
        return sorted(self.folder.glob(f"*{_REQUEST}"))

    def post(self, request: bytes, verb: str) -> Path:
        """Put a request there, unless it is there already; one that was refused is asked again.

        Parameters
        ----------
        request : bytes
            As `messages.write_request` wrote it.
        verb : str
            For the file's name.

        Returns
        -------
        Path
            The request.
        """
        digest = hashlib.sha256(request).digest()
        if digest not in self._known:
            path = self.folder / f"{len(self._known) + 1:06d}-{verb}{_REQUEST}"
            write_whole(path, request)
            self._known[digest] = path
        # What was refused changed nothing, and may be possible by now.
        self._known[digest].with_suffix(_REFUSAL).unlink(missing_ok=True)
        return self._known[digest]

    @staticmethod
    def read(request: Path) -> Reply | None:
        """Return the reply to a request; None when there is none yet.

        Parameters
        ----------
        request : Path
            As `post` returned it.

        Raises
        ------
        veilsum.RoundError
            When the reply was left out when its round was over.
        veilsum.WireFormatError
            When a refusal is malformed.
        """
        try:
            data = request.with_suffix(_REPLY).read_bytes()
        except FileNotFoundError:
            pass
        else:
            if data == _LEFT_OUT:
                raise RoundError(
                    f"the reply to {request.name} was left out when its round was over"
                )
            return Reply(data)
        try:
            return Reply(error=read_refusal(request.with_suffix(_REFUSAL).read_bytes()))
        except FileNotFoundError:
            return None


class Desk:
    """A party at work on its folder.

    Parameters
    ----------
    folder : Path
        The party's; requests that were answered before are told to the party again.
    party : Replayable
        A fresh one, with the secrets that it had.
    """

    def __init__(self, folder: Path, party: Replayable) -> None:
        self.mailbox = Mailbox(folder)
        self._party = party
        for path in self.mailbox.requests():
            if path.with_suffix(_REPLY).exists():
                party.replay(path.read_bytes())
                notes = path.with_suffix(_NOTES)
                if notes.exists():
                    party.recall(notes.read_bytes())

    def work(self) -> int:
        """Answer all requests that wait, in order; return how many there were."""
        waiting = [path for path in self.mailbox.requests() if not _answered(path)]
        for path in waiting:
            request = path.read_bytes()
            try:
                reply = self._party.handle(request)
            except VeilsumError as error:
                write_whole(path.with_suffix(_REFUSAL), write_refusal(error))
                continue
            # Before the reply, so that nothing has left of which the party knows less.
            write_whole(path.with_suffix(_NOTES), self._party.notes())
            write_whole(path.with_suffix(_REPLY), reply)
        return len(waiting)


def serve(desk: Desk, over: Callable[[], bool], pause_s: float = 0.01) -> None:
    """Answer requests as they come, for a party in a process of its own.

    Parameters
    ----------
    desk : Desk
        The party's.
    over : callable
        Returns whether to stop; asked between requests.
    pause_s : float
        Between two looks at the folder, in seconds.
    """
    while not over():
        if not desk.work():
            time.sleep(pause_s)


class Files:
    """Asks parties through their folders.

    Parameters
    ----------
    folder : Path
        Has a folder a party.
    at_work : callable
        Called after requests were put there, with the party; for parties in this process it is
        their desk's `work`. Others work by themselves.
    patience_s : float
        How long a reply is waited for; then the party counts as not there.
    """

    def __init__(
        self, folder: Path, at_work: Callable[[Party], object], patience_s: float = 0.0
    ) -> None:
        self._folder = folder
        self._at_work = at_work
        self._patience_s = patience_s
        self._boxes: dict[Party, Mailbox] = {}

    def deliver(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        """Put all requests there, and read the replies, each when it is asked for.

        Parameters
        ----------
        asks : sequence of Ask
            Requests.
        """
        posted = []
        for ask in asks:
            box = self._boxes.setdefault(ask.party, Mailbox(self._folder / folder_name(ask.party)))
            posted.append(box.post(write_request(ask.request), ask.request.verb))
        return map(self._reply, asks, posted)

    def _reply(self, ask: Ask, path: Path) -> Reply:
        start = time.perf_counter()
        reply = Mailbox.read(path)
        if reply is None:
            self._at_work(ask.party)
        while (reply := Mailbox.read(path)) is None:
            if time.perf_counter() - start > self._patience_s:
                return Reply(seconds=time.perf_counter() - start)
            time.sleep(0.01)
        return Reply(reply.data, reply.error, time.perf_counter() - start)


def folder_name(party: Party) -> str:
    """Return the name of a party's folder.

    Parameters
    ----------
    party : Party
        The party.
    """
    return str(party).replace(" ", "-")


def leave_out_uploads(folder: Path, parties: Sequence[Party]) -> None:
    """Forget the uploads of rounds that are over: only their clouds' having made them still counts.

    Parameters
    ----------
    folder : Path
        As `Files` has it.
    parties : sequence of Party
        Whose.
    """
    for party in parties:
        for path in (folder / folder_name(party)).glob(f"*-{Contribute.verb}{_REPLY}"):
            if path.stat().st_size > len(_LEFT_OUT):
                write_whole(path, _LEFT_OUT)


def _answered(request: Path) -> bool:
    return any(request.with_suffix(kind).exists() for kind in (_REPLY, _REFUSAL))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file as a whole, for its owner only; a process that is killed leaves none or all.

    It need not be on disk: a machine that fails loses a round's messages, and what must outlive
    that, members' ledgers, is written through.

    Parameters
    ----------
    path : Path
        The file.
    data : bytes
        All of it.
    """
    temporary = path.with_name(f".{path.name}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)


def write_refusal(error: VeilsumError) -> bytes:
    """Return what a party refused with, as bytes.

    Parameters
    ----------
    error : VeilsumError
        Its kind and words travel.
    """
    refusal: dict[str, object] = {"kind": type(error).__name__, "why": str(error)}
    if isinstance(error, BadSharesError):  # made from clients, not from words
        refusal["clients"] = error.clients
    return json.dumps(refusal).encode()


def read_refusal(data: bytes) -> VeilsumError:
    """Return what a party refused with.

    Parameters
    ----------
    data : bytes
        What `write_refusal` wrote.

    Raises
    ------
    veilsum.WireFormatError
        When it is malformed.
    """
    try:
        found: Mapping[str, object] = json.loads(data)
        kind, why = found["kind"], found["why"]
    except (ValueError, KeyError, TypeError, RecursionError) as reason:
        raise WireFormatError(f"a refusal of {len(data)} bytes is malformed") from reason
    made = getattr(errors, kind, None) if isinstance(kind, str) else None
    if not (isinstance(made, type) and issubclass(made, VeilsumError)) or not isinstance(why, str):
        raise WireFormatError(f"a refusal is of the unknown kind {shown(kind)}")
    if issubclass(made, BadSharesError):
        clients = found.get("clients")
        if not isinstance(clients, list) or not all(type(one) is int for one in clients):
            raise WireFormatError("a refusal of bad shares does not name the clients")
        return made(clients)
    return made(why)


def requests_at(folder: Path) -> list[tuple[str, bytes]]:
    """Return what a party was asked, in order: each request's verb and bytes.

    Parameters
    ----------
    folder : Path
        The party's.

    Raises
    ------
    veilsum.WireFormatError
        When a file is no request.
    """
    found = [path.read_bytes() for path in Mailbox(folder).requests()]
    return [(read_request(data).verb, data) for data in found]
