"""A site's side: slips come in, the party does what they ask, replies stay on the site's disk.

Transport, Flower's. Flower starts a process for each message, so nothing is kept in memory from
one to the next, and nothing in `Context.state`, which the app can read and the SuperNode forgets:
the party is rebuilt from its folder (`transport.files.Desk`), as after a restart. A reply is made
once; whatever was lost on the way is read from the disk again, the same bytes.

What comes in is a stranger's: parts are taken in order only, so that a folder never holds more than
was sent, and a request is used when its digest is right.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from veilsum.arguments import shown
from veilsum.errors import RoundError, VeilsumError, WireFormatError
from veilsum.parties.messages import read_request
from veilsum.transport.files import (
    Desk,
    Mailbox,
    Replayable,
    read_refusal,
    write_refusal,
    write_whole,
)
from veilsum.transport.flower.slips import PART_BYTES, Slip, digest_of, file_digest

PARTY = "party"
"""What a request is about when it is for the party: requests as `join_requests` puts together."""

_LENGTH = struct.Struct("<Q")


def join_requests(requests: Sequence[bytes]) -> bytes:
    """Put requests together that a party gets one after another; the last one is replied to.

    Parameters
    ----------
    requests : sequence of bytes
        As `messages.write_request` wrote them.
    """
    return b"".join(piece for one in requests for piece in framed([one]))


def framed(pieces: Sequence[bytes]) -> list[bytes]:
    """Return one request as `join_requests` has it, in pieces.

    Parameters
    ----------
    pieces : sequence of bytes
        Of the request.
    """
    return [_LENGTH.pack(sum(map(len, pieces))), *pieces]


def cut_requests(data: bytes) -> list[bytes]:
    """Take them apart.

    Parameters
    ----------
    data : bytes
        From a stranger.

    Raises
    ------
    veilsum.WireFormatError
        When they are cut off, or none.
    """
    made, at = [], 0
    while at < len(data):
        start = at + _LENGTH.size
        if start > len(data) or _LENGTH.unpack_from(data, at)[0] > len(data) - start:
            raise WireFormatError(f"requests of {len(data)} bytes are cut off")
        at = start + _LENGTH.unpack_from(data, at)[0]
        made.append(data[start:at])
    if not made:
        raise WireFormatError("no request came")
    return made


Answer = Callable[[bytes], bytes]

__all__ = ["PARTY", "Post", "read_refusal"]


class Post:
    """A site's post for one training.

    Parameters
    ----------
    folder : Path
        The training's own, on the site's disk; made where it is missing, for its owner only.
    party : callable
        Makes the party, with the secrets that it had.
    others : mapping of str to callable
        Who answers requests that are about something else, by its name.
    most_bytes : int
        Largest request that is taken in.
    part_bytes : int
        Most bytes of a slip's data.
    """

    def __init__(
        self,
        folder: Path,
        party: Callable[[], Replayable],
        others: Mapping[str, Answer],
        *,
        most_bytes: int = 2**36,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._folder = folder
        self._party = party
        self._others = dict(others)
        self._most_bytes = most_bytes
        self._part_bytes = part_bytes
        for name in ("incoming", "replies", "messages"):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def handle(self, slip: Slip) -> Slip:
        """Do what a slip asks, and return the answer.

        Parameters
        ----------
        slip : Slip
            From the server.
        """
        with self._locked():
            try:
                if slip.kind == "put":
                    return self._put(slip)
                if slip.kind == "part":
                    return self._part(slip)
                if slip.kind == "ask":
                    return self._ask(slip)
                raise WireFormatError(f"a slip of the unknown kind {shown(slip.kind)}")
            except VeilsumError as error:
                return Slip("refused", {}, write_refusal(error))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time: Flower has one message of a node in work, but may restart it."""
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # A request comes in.

    def _incoming(self, digest: bytes) -> Path:
        return self._folder / "incoming" / digest.hex()

    def _put(self, slip: Slip) -> Slip:
        digest, offset = slip.digest("request"), slip.number("offset")
        size = slip.number("size")
        if size > self._most_bytes:
            raise WireFormatError(f"a request of {size} bytes; this site takes {self._most_bytes}")
        whole, growing = self._incoming(digest), self._incoming(digest).with_suffix(".part")
        if whole.exists() or self._known(digest):
            return Slip("have", {"have": size})
        have = growing.stat().st_size if growing.exists() else 0
        if offset == have and len(slip.data) <= min(size - have, self._part_bytes):
            _append(growing, slip.data)
            have += len(slip.data)
            if have == size:
                if file_digest(growing) != digest:
                    growing.unlink()
                    raise WireFormatError("the parts of a request are not those of its digest")
                growing.replace(whole)
        return Slip("have", {"have": have})

    def _ask(self, slip: Slip) -> Slip:
        digest = slip.digest("request")
        about = slip.name("about", (PARTY, *self._others))
        known = self._known(digest)
        if known is not None:
            return self._reply(known)
        request = slip.data
        if not request:
            path = self._incoming(digest)
            if not path.exists():
                growing = path.with_suffix(".part")
                have = growing.stat().st_size if growing.exists() else 0
                return Slip("have", {"have": have})
            request = path.read_bytes()
        if digest_of(request) != digest:
            raise WireFormatError("a request is not that of its digest")
        try:
            reply = self._of_party(request) if about == PARTY else self._of_other(about, request)
        finally:
            self._incoming(digest).unlink(missing_ok=True)
        self._index(digest, reply)
        return self._reply(reply)

    def _of_party(self, requests: bytes) -> Path:
        cut = [(one, read_request(one).verb) for one in cut_requests(requests)]
        desk = Desk(self._folder / "messages", self._party())
        for request, verb in cut:
            path = desk.mailbox.post(request, verb)
            desk.work()
            read = Mailbox.read(path)
            if read is None:
                raise RoundError("the party left a request without an answer")
            read.refused()
        return path.with_suffix(".reply")

    def _of_other(self, about: str, request: bytes) -> Path:
        path = self._folder / "replies" / f"{digest_of(request).hex()}.reply"
        write_whole(path, self._others[about](request))
        return path

    # A reply goes out.

    def _index(self, digest: bytes, reply: Path) -> None:
        entry = {"file": str(reply.relative_to(self._folder)), "digest": file_digest(reply).hex()}
        write_whole(self._folder / "replies" / f"{digest.hex()}.json", json.dumps(entry).encode())

    def _known(self, digest: bytes) -> Path | None:
        entry = self._folder / "replies" / f"{digest.hex()}.json"
        return self._folder / json.loads(entry.read_bytes())["file"] if entry.exists() else None

    def _reply(self, path: Path) -> Slip:
        size = path.stat().st_size
        data = path.read_bytes() if size <= self._part_bytes else b""
        digest = digest_of(data) if data or not size else file_digest(path)
        return Slip("reply", {"size": size, "digest": digest}, data)

    def _part(self, slip: Slip) -> Slip:
        path = self._known(slip.digest("request"))
        if path is None:
            raise RoundError("a part is asked for of a reply that this site has not made")
        with path.open("rb") as file:
            file.seek(slip.number("offset"))
            data = file.read(min(slip.number("length"), self._part_bytes))
        return Slip("part", {"offset": slip.number("offset")}, data)


def _append(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
