"""Slips between server and site: parts, losses, copies, lies; without Flower."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from veilsum.errors import BackendUnavailableError, RoundError, WireFormatError
from veilsum.parties.asking import Ask, Party, Reply
from veilsum.parties.messages import Contribute, Introduce, write_request
from veilsum.transport.flower.carrier import flower
from veilsum.transport.flower.post import Post
from veilsum.transport.flower.slips import Slip, digest_of
from veilsum.transport.flower.transport import Failed, FlowerTransport, Patience

PART = 100


class Echo:
    """A party that says a request's description again, so many times; it counts how often."""

    def __init__(self, times: int = 1) -> None:
        self.times = times
        self.made: list[bytes] = []
        self.told: list[bytes] = []

    def handle(self, request: bytes) -> bytes:
        self.made.append(request)
        if b"no" in request[-2:]:
            raise RoundError("not as agreed")
        return request * self.times + bytes([len(self.made)])

    def replay(self, request: bytes) -> None:
        self.told.append(request)

    def notes(self) -> bytes:
        return b""

    def recall(self, notes: bytes) -> None:
        pass


Way = Callable[[str, int, Slip], Slip | Failed | None]


class Sites:
    """A carrier to posts in this process; `way` decides what arrives of each slip and answer."""

    def __init__(self, folder: Path, party: Any, way: Way | None = None, sites: int = 1) -> None:
        self.posts = {
            k: Post(folder / f"site-{k}", lambda: party, {"begin": lambda one: one[::-1]},
                    part_bytes=PART)
            for k in range(sites)
        }  # fmt: skip
        self.way: Way = way or (lambda direction, at, slip: slip)
        self.log: list[tuple[int, str]] = []
        self.most_waiting = 0
        self.away = 0.0
        self._numbers = itertools.count()
        self._waiting: dict[str, tuple[int, Slip]] = {}

    def send(self, party: Party, slip: Slip) -> str | None:
        name = str(next(self._numbers))
        self.log.append((party.number, slip.kind))
        self._waiting[name] = party.number, slip
        large = [one for _, one in self._waiting.values() if one.kind in ("put", "part")]
        self.most_waiting = max(self.most_waiting, len(large))
        return name

    def collect(self, names: Sequence[str]) -> dict[str, Slip | Failed]:
        found: dict[str, Slip | Failed] = {}
        for name in [one for one in names if one in self._waiting]:
            site, slip = self._waiting.pop(name)
            at = int(name)
            came = self.way("down", at, slip)
            if isinstance(came, Slip):
                came = self.way("up", at, self.posts[site].handle(came))
            if came is not None:
                found[name] = came
        return found

    def identity(self, party: Party) -> bytes:
        return b"me"

    def away_s(self, party: Party) -> float:
        return self.away


class Clock:
    """Seconds that pass when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def transport(sites: Sites, folder: Path, **options: Any) -> FlowerTransport:
    clock = Clock()
    return FlowerTransport(
        sites,
        folder / "server",
        Patience(reply_s=500, away_s=100, again_s=10, poll_s=1),
        part_bytes=PART,
        clock=clock,
        sleep=clock.sleep,
        **options,
    )


def contribute(text: bytes, sites: int = 1) -> list[Ask]:
    return [
        Ask(Party("cloud", k), Contribute(text + bytes([k])), 1, "upload", "encrypt")
        for k in range(sites)
    ]


def content(reply: Reply) -> bytes:
    assert reply.error is None
    if reply.file is not None:
        assert reply.data is None
        return reply.file.read_bytes()
    assert reply.data is not None
    return reply.data


@pytest.mark.parametrize("length", [1, 30, PART - 40, PART, PART + 1, 4 * PART, 1234])
@pytest.mark.parametrize("times", [1, 3, 40])
def test_requests_and_replies_of_any_length_arrive(tmp_path: Path, length: int, times: int) -> None:
    party = Echo(times)
    sites = Sites(tmp_path, party)
    text = bytes(range(256)) * 8
    (ask,) = contribute(text[:length])
    (reply,) = transport(sites, tmp_path).deliver([ask])
    request = write_request(ask.request)
    assert content(reply) == request * times + b"\1"
    assert (reply.file is not None) == (len(request) * times + 1 > PART)
    assert len(party.made) == 1


def test_an_introduction_needs_no_message(tmp_path: Path) -> None:
    sites = Sites(tmp_path, Echo())
    (reply,) = transport(sites, tmp_path).deliver(
        [Ask(Party("cloud", 0), Introduce(), 0, "setup", "setup")]
    )
    assert reply.data == b"me"
    assert not sites.log


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("failure", [None, Failed("gone", away=True), Failed("crash", away=False)])
def test_each_slip_that_is_lost_is_asked_for_again(
    tmp_path: Path, direction: str, failure: Failed | None
) -> None:
    """One after another, each slip of the exchange is lost once; nothing is made twice."""
    whole = Sites(tmp_path / "whole", Echo(5))
    list(transport(whole, tmp_path / "whole").deliver(contribute(b"x" * 350)))
    slips = len(whole.log)
    assert slips > 20  # four puts, the request, and parts of the reply
    for lost in range(slips):
        party, folder = Echo(5), tmp_path / f"{lost}"

        def way(which: str, at: int, slip: Slip, lost: int = lost) -> Slip | Failed | None:
            return failure if which == direction and at == lost else slip

        sites = Sites(folder, party, way)
        made = transport(sites, folder)
        (reply,) = made.deliver(contribute(b"x" * 350))
        assert content(reply) == party.made[0] * 5 + b"\1"
        assert len(party.made) == 1
        assert len(sites.log) == slips + 1
        assert made.traffic.again == 1


def test_a_reply_is_the_same_bytes_after_both_sides_restarted(tmp_path: Path) -> None:
    party = Echo(40)
    asks = contribute(b"hello")
    first = [content(one) for one in transport(Sites(tmp_path, party), tmp_path).deliver(asks)]
    again = Echo(40)
    sites = Sites(tmp_path, again)
    second = [content(one) for one in transport(sites, tmp_path).deliver(asks)]
    assert first == second
    assert not again.made  # nothing was made, nor was the party rebuilt
    assert [kind for _, kind in sites.log] == ["ask"]  # what had arrived is still there


def test_a_fetch_goes_on_where_the_server_was_killed(tmp_path: Path) -> None:
    party = Echo(40)
    asks = contribute(b"hello")

    def stop(which: str, at: int, slip: Slip) -> Slip:
        if at == 8:
            raise KeyboardInterrupt
        return slip

    with pytest.raises(KeyboardInterrupt):
        list(transport(Sites(tmp_path, party, stop), tmp_path).deliver(asks))
    sites = Sites(tmp_path, party)
    (reply,) = transport(sites, tmp_path).deliver(asks)
    request = write_request(asks[0].request)
    assert content(reply) == request * 40 + b"\1"
    parts = sum(kind == "part" for _, kind in sites.log)
    assert parts == -(-len(request * 40 + b"\1") // PART) - 7


def test_few_parts_are_on_the_way_at_once(tmp_path: Path) -> None:
    sites = Sites(tmp_path, Echo(20), sites=9)
    replies = list(transport(sites, tmp_path).deliver(contribute(b"y" * 300, 9)))
    assert all(reply.file is not None for reply in replies)
    assert sites.most_waiting <= 3


def test_a_refusal_is_an_error_and_may_be_asked_again(tmp_path: Path) -> None:
    party = Echo()
    sites = Sites(tmp_path, party)
    ask = Ask(Party("cloud", 0), Contribute(b"no"), 1, "upload", "encrypt")
    for _ in range(2):
        (reply,) = transport(sites, tmp_path).deliver([ask])
        assert isinstance(reply.error, RoundError)
        assert str(reply.error) == "not as agreed"
    assert len(party.made) == 2


def test_who_is_gone_or_silent_counts_as_not_there(tmp_path: Path) -> None:
    silent = Sites(tmp_path / "a", Echo(), lambda which, at, slip: None)
    (reply,) = transport(silent, tmp_path / "a").deliver(contribute(b"z"))
    assert (reply.data, reply.error, reply.file) == (None, None, None)
    assert 4 < len(silent.log) < 12  # asked again, and again later each time
    gone = Sites(tmp_path / "b", Echo())
    gone.away = 101.0
    (reply,) = transport(gone, tmp_path / "b").deliver(contribute(b"z"))
    assert reply.data is None
    assert not gone.log
    broken = Sites(tmp_path / "c", Echo(), lambda which, at, slip: Failed("bug", away=False))
    (reply,) = transport(broken, tmp_path / "c").deliver(contribute(b"z"))
    assert reply.data is None
    assert len(broken.log) == 3


def test_a_site_that_comes_back_is_asked_at_once(tmp_path: Path) -> None:
    """Three copies were lost; the next one's turn would be eighty seconds after the third."""
    sites = Sites(tmp_path, Echo(), lambda which, at, slip: None if at < 3 else slip)
    made = transport(sites, tmp_path)
    clock = made._clock
    # Sent at 0, 10 and 30 s; gone from 35 to 45 s.
    sites.away_s = lambda party: max(0.0, clock() - 35) * (clock() < 45)  # type: ignore[method-assign]
    (reply,) = made.deliver(contribute(b"z"))
    assert reply.data is not None
    assert len(sites.log) == 4
    assert clock() < 50


def test_a_copy_that_is_answered_late_counts(tmp_path: Path) -> None:
    """The framework gives a copy up; the site answers the one before it."""
    late: dict[str, Slip] = {}
    sites = Sites(tmp_path, Echo())
    real = sites.collect

    def collect(names: Sequence[str]) -> dict[str, Slip | Failed]:
        found = real(names)
        if "0" in found:
            late["0"] = found.pop("0")  # type: ignore[assignment]
        elif "1" in found:
            return {"1": Failed("gone", away=True)}
        elif list(names) == ["0"] and len(sites.log) == 2:
            return dict(late)
        return found

    sites.collect = collect  # type: ignore[method-assign]
    (reply,) = transport(sites, tmp_path).deliver(contribute(b"z"))
    assert reply.data is not None
    assert len(sites.log) == 2


def _garbled(slip: Slip) -> Slip:
    return Slip(slip.kind, slip.fields, slip.data[:-1] + bytes([slip.data[-1] ^ 1]))


LIES: dict[str, Callable[[Slip], Slip]] = {
    "garbage": lambda slip: Slip("what", {}),
    "no fields": lambda slip: Slip(slip.kind, {}),
    "other bytes": _garbled,
    "too long": lambda slip: Slip(slip.kind, slip.fields, slip.data + bytes(2 * PART)),
    "huge": lambda slip: Slip("reply", {**slip.fields, "size": 2**50, "digest": bytes(32)}),
    "no number": lambda slip: Slip("reply", {"size": True, "digest": bytes(32)}),
    "a refusal of nothing": lambda slip: Slip("refused", {}, b"{}"),
    "a refusal of another kind": lambda slip: Slip("refused", {}, b'{"kind":"exit","why":""}'),
    "has more": lambda slip: Slip("have", {"have": 2**40}),
    "has nothing": lambda slip: Slip("have", {"have": 0}),
}


@pytest.mark.parametrize("lie", list(LIES))
@pytest.mark.parametrize("times", [0, 40])
def test_a_site_that_lies_is_refused(tmp_path: Path, lie: str, times: int) -> None:
    """At the first answer, and at a part."""

    def way(which: str, at: int, slip: Slip) -> Slip:
        due = slip.kind == ("part" if times else "reply") and which == "up"
        return LIES[lie](slip) if due else slip

    sites = Sites(tmp_path, Echo(times), way)
    (reply,) = transport(sites, tmp_path, most_bytes=10**6).deliver(contribute(b"w"))
    assert isinstance(reply.error, WireFormatError), reply
    kept = sum(one.stat().st_size for one in (tmp_path / "server").iterdir())
    assert kept < 10**4


def slip_of(kind: str, request: bytes = b"r", data: bytes = b"", **fields: Any) -> Slip:
    return Slip(kind, {"request": digest_of(request), **fields}, data)


STRANGE = {
    "kind": slip_of("burn"),
    "about": slip_of("ask", about="everything", data=b"r"),
    "digest": Slip("ask", {"request": b"short", "about": "party"}, b"r"),
    "other request": slip_of("ask", about="begin", data=b"another"),
    "part of nothing": slip_of("part", offset=0, length=5),
    "a size beyond all": slip_of("put", offset=0, size=2**60, data=b"r"),
    "an offset that is none": slip_of("put", offset=-1, size=5, data=b"r"),
    "no request": slip_of("ask", about="party", data=b"r"),
}


@pytest.mark.parametrize("name", list(STRANGE))
def test_a_site_refuses_what_is_no_slip(tmp_path: Path, name: str) -> None:
    post = Post(tmp_path, Echo, {"begin": lambda one: one}, part_bytes=PART)
    answer = post.handle(STRANGE[name])
    assert answer.kind == "refused"
    assert b"Error" in answer.data


def test_a_site_takes_parts_in_order_and_no_more_than_was_said(tmp_path: Path) -> None:
    post = Post(tmp_path, Echo, {"begin": lambda one: one}, part_bytes=PART)
    request = bytes(250)

    def put(offset: int, data: bytes) -> int:
        return post.handle(slip_of("put", request, data, offset=offset, size=250)).number("have")

    assert put(100, bytes(100)) == 0
    assert put(0, bytes(101)) == 0
    assert put(0, bytes(100)) == 100
    assert put(0, bytes(100)) == 100
    assert put(100, bytes(100)) == 200
    assert put(200, bytes(51)) == 200
    assert post.handle(slip_of("ask", request, about="begin")).number("have") == 200
    assert put(200, bytes(50)) == 250
    assert post.handle(slip_of("ask", request, about="begin")).number("size") == 250


def test_parts_of_another_request_are_thrown_away(tmp_path: Path) -> None:
    post = Post(tmp_path, Echo, {"begin": lambda one: one}, part_bytes=PART)
    answer = post.handle(slip_of("put", b"right", b"wrong", offset=0, size=5))
    assert answer.kind == "refused"
    assert not list((tmp_path / "incoming").iterdir())


def test_without_flower_an_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flwr", "flwr.app"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailableError, match=r"Python 3\.11 or newer.*flower"):
        flower()
