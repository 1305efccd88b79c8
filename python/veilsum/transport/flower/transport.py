"""The server's side: requests go to sites as slips, replies are fetched in parts and kept on disk.

Transport, Flower's. All sites are asked side by side, each by one message at a time and with few
large parts on the way at once, whatever their number: that bounds what server and SuperLink hold.
Whatever is lost (a message, a part, a site's process, the link) is asked for again; a site that is
gone for longer than it may be counts as not there. A reply is used when its digest is that of
its bytes, and a large one stays in a file: the sum reads it in portions.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from veilsum.errors import VeilsumError, WireFormatError
from veilsum.parties.asking import Ask, Party, Reply
from veilsum.parties.messages import (
    Contribute,
    Introduce,
    Train,
    request_parts,
    write_request,
)
from veilsum.transport.files import read_refusal
from veilsum.transport.flower.post import PARTY, framed, join_requests
from veilsum.transport.flower.slips import PART_BYTES, Slip, digest_of, file_digest

LOG = logging.getLogger("veilsum.flower")

INLINE_AT_ONCE = 3
"""How many slips with a part of something large may be on the way at once."""

_PAUSE_S, _LONGEST_S = 2.0, 600.0
"""After a failure, and between copies of a message that is not answered, at most."""

_TRIES = 3
"""How often a site may fail at one slip before it counts as not there."""


@dataclass(frozen=True)
class Failed:
    """A message that got no slip back.

    Parameters
    ----------
    reason : str
        Why, as the framework says.
    away : bool
        Whether the site was not reached; else its app failed.
    """

    reason: str
    away: bool


def printable(said: object) -> str:
    """Return what a stranger said, for a log: one line, and not a long one.

    Parameters
    ----------
    said : object
        An error, or its words.
    """
    return "".join(one if one.isprintable() else " " for one in str(said)[:400])


class Carrier(Protocol):
    """Carries slips to sites; the framework's side of it."""

    def send(self, party: Party, slip: Slip) -> str | None:
        """Send a slip and return the message's name; None where the site is not there.

        Parameters
        ----------
        party : Party
            Whom to.
        slip : Slip
            What.
        """
        ...

    def collect(self, names: Sequence[str]) -> Mapping[str, Slip | Failed]:
        """Return what came back so far, by the message's name.

        Parameters
        ----------
        names : sequence of str
            Of messages that were sent.
        """
        ...

    def identity(self, party: Party) -> bytes:
        """Return the public identity that a site proved to have; empty before it did.

        Parameters
        ----------
        party : Party
            The site's.
        """
        ...

    def away_s(self, party: Party) -> float:
        """Return for how many seconds the framework has not known the site; 0 when it does.

        Parameters
        ----------
        party : Party
            The site's.
        """
        ...


@dataclass
class Patience:
    """How long things may take.

    Parameters
    ----------
    reply_s : float
        Without any slip from the site, training included.
    away_s : float
        With the site gone.
    again_s : float
        After so long a message counts as lost and is sent again; longer each time.
    poll_s : float
        Between two looks for replies.
    """

    reply_s: float = 3600.0
    away_s: float = 120.0
    again_s: float = 60.0
    poll_s: float = 0.2


@dataclass
class Traffic:
    """What was counted on the way, for whoever watches.

    Parameters
    ----------
    up_bytes, down_bytes : int
        Data of slips from and to sites.
    slips, again, refused : int
        How many were sent, sent again, and refused.
    """

    up_bytes: int = 0
    down_bytes: int = 0
    slips: int = 0
    again: int = 0
    refused: int = 0


@dataclass(frozen=True)
class _Request:
    """A request's bytes: in memory, or in a file."""

    digest: bytes
    size: int
    data: bytes = field(default=b"", repr=False)
    path: Path | None = None

    def part(self, offset: int, length: int) -> bytes:
        """Return some of them."""
        if self.path is None:
            return self.data[offset : offset + length]
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)


@dataclass
class _Errand:
    """One request on its way to one site, and its reply on the way back."""

    party: Party
    about: str
    request: _Request
    digest: bytes
    start: float
    heard: float  # when the site last sent anything
    slip: Slip | None = None  # on the way
    names: list[str] = field(default_factory=list)  # messages that it went in
    times: int = 0  # how often it was sent
    due: float = 0.0  # when it is to be sent, or counts as lost
    have: int = 0  # bytes of the request that the site has
    told: int = 0  # slips that failed
    idle: int = 0  # answers that led nowhere
    reply_digest: bytes = b""
    reply_size: int = -1
    spool: Path = Path()
    done: Reply | None = None

    @property
    def large(self) -> bool:
        """Whether the slip that is on the way, or its answer, has a part of something large."""
        return self.slip is not None and self.slip.kind in ("put", "part")


class FlowerTransport:
    """Asks parties at their sites.

    Parameters
    ----------
    carrier : Carrier
        Carries slips.
    folder : Path
        Where replies are kept that are too large for memory; made where it is missing.
    patience : Patience
        How long things may take.
    part_bytes : int
        Most bytes of a slip's data.
    most_bytes : int
        Largest reply that is fetched; a site that announces more is refused.
    clock : callable
        Seconds.
    sleep : callable
        Waits so many seconds.
    """

    def __init__(
        self,
        carrier: Carrier,
        folder: Path,
        patience: Patience | None = None,
        *,
        part_bytes: int = PART_BYTES,
        most_bytes: int = 2**36,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.traffic = Traffic()
        self.most_bytes = most_bytes
        self._carrier = carrier
        self._folder = folder
        self._patience = Patience() if patience is None else patience
        self._part_bytes = part_bytes
        self._clock = clock
        self._sleep = sleep
        self._before: dict[Party, bytes] = {}

    def deliver(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        """Bring requests to their parties, side by side, and return the replies in order.

        Parameters
        ----------
        asks : sequence of Ask
            Requests that do not depend on each other.
        """
        known: dict[int, Reply] = {}
        errands: dict[int, _Errand] = {}
        shared: dict[tuple[int, bytes], _Request] = {}
        for at, ask in enumerate(asks):
            before = self._before.pop(ask.party, None)
            if isinstance(ask.request, Introduce):
                # It was proved when the site was found.
                known[at] = Reply(self._carrier.identity(ask.party) or None)
            elif isinstance(ask.request, Train):
                # It says nothing back, and a message takes seconds: it goes with the next one.
                self._before[ask.party] = write_request(ask.request)
                known[at] = Reply(b"" if self._carrier.away_s(ask.party) == 0 else None)
            else:
                pairs = before is not None and isinstance(ask.request, Contribute)
                first = join_requests([before]) if pairs and before else b""
                # A sum is told to all with the same bytes: one copy of them, on the disk.
                key = id(ask.request), first
                if key not in shared:
                    shared[key] = self._kept([first, *framed(request_parts(ask.request))])
                errands[at] = self._errand(ask.party, PARTY, shared[key])
        self._run(list(errands.values()))
        for at, ask in enumerate(asks):
            if at in known:
                yield known[at]
                continue
            reply = self._taken(errands[at])
            # Only uploads are added in portions.
            if reply.file is not None and ask.occasion not in ("upload", "contribute"):
                reply = replace(reply, data=reply.file.read_bytes(), file=None)
            yield reply

    def call(self, about: str, requests: Mapping[Party, bytes]) -> dict[Party, Reply]:
        """Ask sites about something that is no request to a party.

        Parameters
        ----------
        about : str
            What.
        requests : mapping of Party to bytes
            Whom, and what.
        """
        kept = {id(data): self._kept([data]) for data in requests.values()}
        errands = [self._errand(party, about, kept[id(data)]) for party, data in requests.items()]
        self._run(errands)
        return {one.party: self._taken(one) for one in errands}

    def forget(self) -> None:
        """Remove the replies that were kept: their round is over."""
        for path in self._folder.iterdir():
            path.unlink()

    def _taken(self, errand: _Errand) -> Reply:
        return errand.done if errand.done is not None else Reply()

    def _kept(self, pieces: Sequence[bytes]) -> _Request:
        """Return a request, kept on the disk where it is larger than a part."""
        size, whole = sum(map(len, pieces)), hashlib.sha256()
        for piece in pieces:
            whole.update(piece)
        digest = whole.digest()
        if size <= self._part_bytes:
            return _Request(digest, size, b"".join(pieces))
        path = self._folder / f"{digest.hex()}.request"
        with path.open("wb") as file:
            file.writelines(pieces)
        return _Request(digest, size, b"", path)

    def _errand(self, party: Party, about: str, request: _Request) -> _Errand:
        now = self._clock()
        return _Errand(party, about, request, request.digest, now, now)

    # The loop.

    def _run(self, errands: Sequence[_Errand]) -> None:
        """Play errands until each is done."""
        while left := [one for one in errands if one.done is None]:
            for one in left:
                self._step(one, sum(other.large for other in left))
            names = {name: one for one in left for name in one.names}
            found = self._carrier.collect(list(names)) if names else {}
            for name, answer in found.items():
                errand = names[name]
                if name in errand.names:  # else a copy of it was answered in this very look
                    self._answered(errand, name, answer)
            if not found:
                self._sleep(self._patience.poll_s)

    def _step(self, errand: _Errand, large: int) -> None:
        """Send what is due, unless it is on the way or too much is."""
        now, patience = self._clock(), self._patience
        away = self._carrier.away_s(errand.party)
        if away > patience.away_s:
            self._give_up(errand, f"has been away for {away:.0f} s")
        elif now - errand.heard > patience.reply_s:
            self._give_up(errand, f"has sent nothing for {patience.reply_s:.0f} s")
        elif away > 0:
            errand.due = min(errand.due, now)  # asked as soon as it is back
        elif now >= errand.due:
            slip = errand.slip if errand.slip is not None else self._due(errand)
            if errand.slip is None and slip.kind != "ask" and large >= INLINE_AT_ONCE:
                return
            again = errand.slip is not None
            name = self._carrier.send(errand.party, slip)
            errand.slip = slip
            if name is None:
                errand.due = now + _PAUSE_S
                return
            errand.names.append(name)
            self.traffic.slips += 1
            self.traffic.again += again
            self.traffic.down_bytes += len(slip.data)
            # Later each time: a site that trains for an hour need not answer sixty copies.
            errand.due = now + min(_LONGEST_S, patience.again_s * 2.0**errand.times)
            errand.times += 1

    def _due(self, errand: _Errand) -> Slip:
        size, part, digest = errand.request.size, self._part_bytes, errand.digest
        if errand.reply_size >= 0:
            offset = errand.spool.stat().st_size if errand.spool.exists() else 0
            return Slip("part", {"request": digest, "offset": offset, "length": part})
        if size <= part:
            data = errand.request.part(0, size)
            return Slip("ask", {"request": digest, "about": errand.about}, data)
        if errand.have < size:
            data = errand.request.part(errand.have, part)
            return Slip("put", {"request": digest, "offset": errand.have, "size": size}, data)
        return Slip("ask", {"request": digest, "about": errand.about})

    def _answered(self, errand: _Errand, name: str, answer: Slip | Failed) -> None:
        if isinstance(answer, Failed):
            errand.names.remove(name)
            self._failed(errand, answer)
            return
        errand.heard, errand.due, errand.times, errand.told = self._clock(), 0.0, 0, 0
        sent, errand.slip, errand.names = errand.slip, None, []
        self.traffic.up_bytes += len(answer.data)
        try:
            self._take(errand, answer, sent)
        except VeilsumError as reason:
            self._refuse(errand, reason)

    def _take(self, errand: _Errand, answer: Slip, sent: Slip | None) -> None:
        if answer.kind == "have" and sent is not None and sent.kind in ("put", "ask"):
            have = answer.number("have")
            if have > errand.request.size:
                raise WireFormatError("a site says that it has more than it was sent")
            self._progress(errand, forward=have > errand.have)
            errand.have = have
        elif answer.kind == "refused":
            self._refuse(errand, read_refusal(answer.data))
        elif answer.kind == "reply" and sent is not None and sent.kind == "ask":
            self._begin_reply(errand, answer)
        elif answer.kind == "part" and errand.reply_size >= 0:
            self._add_part(errand, answer)
        else:
            raise WireFormatError("a site answered something else than it was asked")

    def _progress(self, errand: _Errand, *, forward: bool) -> None:
        """Refuse a site whose answers lead nowhere; a copy may come late, or a disk be emptied."""
        errand.idle = 0 if forward else errand.idle + 1
        if errand.idle > _TRIES:
            raise WireFormatError("a site's answers lead nowhere")

    def _begin_reply(self, errand: _Errand, answer: Slip) -> None:
        size, digest = answer.number("size"), answer.digest("digest")
        if size > self.most_bytes:
            raise WireFormatError(
                f"a site announces a reply of {size} bytes; at most {self.most_bytes} can be right"
            )
        if size <= self._part_bytes:
            if len(answer.data) != size or digest_of(answer.data) != digest:
                raise WireFormatError("a reply has other bytes than its site says")
            errand.done = self._reply(errand, data=answer.data)
            return
        errand.reply_size, errand.reply_digest = size, digest
        errand.spool = self._folder / f"{errand.party.number}-{digest.hex()}.part"
        kept = errand.spool.with_suffix(".reply")
        if kept.exists():  # fetched before the server was restarted
            kept.replace(errand.spool)
        self._complete(errand)

    def _add_part(self, errand: _Errand, answer: Slip) -> None:
        have = errand.spool.stat().st_size if errand.spool.exists() else 0
        self._progress(errand, forward=answer.number("offset") == have)
        if answer.number("offset") != have:
            return  # a part that was asked for again came twice
        if not 0 < len(answer.data) <= min(self._part_bytes, errand.reply_size - have):
            raise WireFormatError("a part of a reply is longer or shorter than it was asked for")
        with errand.spool.open("ab") as file:
            file.write(answer.data)
        self._complete(errand)

    def _complete(self, errand: _Errand) -> None:
        """End an errand whose reply is there as a whole."""
        have = errand.spool.stat().st_size if errand.spool.exists() else 0
        if have < errand.reply_size:
            return
        if have > errand.reply_size or file_digest(errand.spool) != errand.reply_digest:
            errand.spool.unlink()
            raise WireFormatError("the parts of a reply are not those of its digest")
        kept = errand.spool.with_suffix(".reply")
        errand.spool.replace(kept)
        errand.done = self._reply(errand, file=kept)

    def _reply(self, errand: _Errand, data: bytes | None = None, file: Path | None = None) -> Reply:
        return Reply(data, seconds=self._clock() - errand.start, file=file)

    # What goes wrong.

    def _failed(self, errand: _Errand, failure: Failed) -> None:
        """Have what the framework gave up sent again after a while, a few times."""
        # Other copies of it stay in sight: a site that comes back may answer those.
        errand.due = self._clock() + _PAUSE_S * 2.0 ** min(5, errand.times)
        if not failure.away:
            errand.told += 1
            LOG.warning("%s failed: %s", errand.party, printable(failure.reason))
            if errand.told >= _TRIES:
                self._give_up(errand, f"failed {_TRIES} times")

    def _refuse(self, errand: _Errand, reason: VeilsumError) -> None:
        self.traffic.refused += 1
        LOG.warning("%s: %s", errand.party, printable(reason))
        errand.done = Reply(error=reason, seconds=self._clock() - errand.start)

    def _give_up(self, errand: _Errand, why: str) -> None:
        LOG.warning("%s %s; it counts as not there", errand.party, why)
        errand.done = Reply(seconds=self._clock() - errand.start)
