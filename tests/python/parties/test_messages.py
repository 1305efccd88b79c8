"""Requests as bytes: each comes back as it was, and nothing else is one."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import struct
import tracemalloc
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import veilsum as vs
from veilsum.parties import messages
from veilsum.parties.messages import (
    Contribute,
    Endorse,
    Enrol,
    GiveShare,
    Introduce,
    IssueKey,
    Join,
    Lose,
    MakeGroup,
    Open,
    OpenChallenges,
    Proposal,
    Propose,
    Request,
    Skip,
    Take,
    Train,
    read_request,
    write_request,
)

ID = bytes(range(32))
EXAMPLES: tuple[Request, ...] = (
    Introduce(),
    MakeGroup(ID, (b"one", b"two")),
    Join(ID, b"plan", b"key", b"other plan", b"other key", (b"one", b"", b"three"), b"sealed"),
    Propose(3, 1),
    Train(1, b"round"),
    Train(2),
    Contribute(b"round"),
    Take(b"round", b"sum", b"key", b"plain"),
    Take(b"round", b"sum", b"key"),
    Skip(7),
    Enrol(ID, (b"one", b"two"), 2),
    Endorse(b"round", b"request"),
    GiveShare(b"round", b"certificate", b"request"),
    OpenChallenges(b"round", b"certificate", b"request"),
    Lose(b"round", b"verdict", (b"one", b"two")),
    Lose(b"round", b"verdict", ()),
    IssueKey(b"plan"),
    Open(b"round", b"request"),
)
KINDS = get_args(Request)

VALUES = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "bytes": st.binary(max_size=40),
    "tuple[bytes, ...]": st.lists(st.binary(max_size=8), max_size=5).map(tuple),
}


def any_request() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(kind, **{item.name: VALUES[item.type] for item in dataclasses.fields(kind)})
        for kind in KINDS
    )


def test_each_kind_has_an_example_and_a_verb_of_its_own() -> None:
    assert {type(one) for one in EXAMPLES} == set(KINDS)
    assert len({kind.verb for kind in KINDS}) == len(KINDS)
    assert {kind.verb: kind for kind in KINDS} == messages._KINDS


@pytest.mark.parametrize("request_", EXAMPLES, ids=lambda one: one.verb)
def test_a_request_comes_back(request_: Request) -> None:
    data = write_request(request_)
    assert read_request(data) == request_
    assert write_request(read_request(data)) == data


@given(any_request())
def test_any_request_comes_back(request_: Request) -> None:
    assert read_request(write_request(request_)) == request_


@given(st.lists(any_request(), min_size=2, max_size=2))
def test_other_requests_are_other_bytes(two: list[Request]) -> None:
    one, other = two
    assert (write_request(one) == write_request(other)) == (one == other)


@pytest.mark.parametrize("request_", EXAMPLES, ids=lambda one: one.verb)
def test_a_request_that_is_cut_off_or_goes_on_is_refused(request_: Request) -> None:
    data = write_request(request_)
    for end in range(len(data)):
        with pytest.raises(vs.WireFormatError):
            read_request(data[:end])
    for more in (b"\0", b"\0" * 8, data):
        with pytest.raises(vs.WireFormatError, match="goes on after its last argument"):
            read_request(data + more)


@pytest.mark.parametrize("request_", EXAMPLES, ids=lambda one: one.verb)
def test_a_changed_byte_gives_another_request_or_none(request_: Request) -> None:
    data = write_request(request_)
    for at in range(len(data)):
        for change in (0x01, 0x20, 0x80, 0xFF):
            other = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
            try:
                read = read_request(other)
            except vs.WireFormatError:
                continue
            # There is one way to write a request, so that equal requests are equal bytes.
            assert write_request(read) == other
            assert read != request_


def test_bytes_of_a_length_are_never_more_than_there_are() -> None:
    """No number that a stranger writes is trusted: what is made is no larger than what came."""
    lengths = (0, 1, 2**16, 2**31, 2**32, 2**61, 2**63 - 1, 2**63, 2**64 - 1)
    for example in EXAMPLES:
        data = write_request(example)
        tracemalloc.start()
        try:
            for at in range(5, len(data) - 7):
                for length in lengths:
                    other = data[:at] + struct.pack("<Q", length) + data[at + 8 :]
                    with contextlib.suppress(vs.WireFormatError):
                        assert write_request(read_request(other)) == other
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < 1 << 20, example.verb


def test_a_roster_of_too_many_is_refused_before_it_is_read() -> None:
    """A count is held against the bytes that are there: an entry has its own length at least."""
    head = write_request(MakeGroup(ID, ()))[:-8]
    fits = head + struct.pack("<Q", 3) + bytes(24)
    assert read_request(fits) == MakeGroup(ID, (b"", b"", b""))
    for count in (4, 2**40, 2**61, 2**64 - 1):
        with pytest.raises(vs.WireFormatError, match="cut off"):
            read_request(head + struct.pack("<Q", count) + bytes(24))
    with pytest.raises(vs.WireFormatError, match="goes on"):
        read_request(head + struct.pack("<Q", 2) + bytes(24))


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32), st.sampled_from(EXAMPLES))
def test_mutants_are_requests_or_refused(seed: int, example: Request) -> None:
    numbers = random.Random(seed)
    data = bytearray(write_request(example))
    for _ in range(numbers.randint(1, 6)):
        at = numbers.randrange(len(data) + 1)
        what = numbers.choice(["change", "insert", "remove", "copy"])
        if what == "change" and at < len(data):
            data[at] = numbers.randrange(256)
        elif what == "insert":
            data[at:at] = numbers.randbytes(numbers.randint(1, 9))
        elif what == "remove":
            del data[at : at + numbers.randint(1, 9)]
        else:
            data[at:at] = data[at : at + numbers.randint(1, 16)]
    try:
        read = read_request(bytes(data))
    except vs.WireFormatError:
        return
    assert write_request(read) == bytes(data)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_request_are_refused(data: bytes) -> None:
    for start in (b"", b"VSRQ\x01", b"VSRQ\x02"):
        try:
            read = read_request(start + data)
        except vs.WireFormatError:
            continue
        assert write_request(read) == start + data


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "cut off"),
        (b"VSRQ", "cut off"),
        (b"VSRQ\x02" + bytes(8), "no request to a party, or of another version"),
        (b"VSUP\x01" + bytes(8), "no request to a party, or of another version"),
        (b"VSRQ\x01" + bytes(8), "unknown verb ''"),
        (b"VSRQ\x01" + struct.pack("<Q", 6) + b"uplaod", "unknown verb 'uplaod'"),
        (b"VSRQ\x01" + struct.pack("<Q", 7) + b"__doc__", "unknown verb '__doc__'"),
        (b"VSRQ\x01" + struct.pack("<Q", 2) + b"\xff\xfe", "unknown verb"),
    ],
)
def test_why_a_request_is_refused(data: bytes, error: str) -> None:
    with pytest.raises(vs.WireFormatError, match=error):
        read_request(data)


def test_an_unknown_verb_is_shown_in_short() -> None:
    verb = b"x" * 100_000
    with pytest.raises(vs.WireFormatError) as caught:
        read_request(b"VSRQ\x01" + struct.pack("<Q", len(verb)) + verb)
    assert len(str(caught.value)) < 300


@given(st.binary(max_size=60), st.integers(0, 2**63 - 1))
def test_a_proposal_comes_back(description: bytes, values: int) -> None:
    proposal = Proposal(description, values)
    assert Proposal.from_bytes(proposal.to_bytes()) == proposal


@pytest.mark.parametrize("data", [b"", bytes(7), b"\xff" * 8, b"\0" * 7 + b"\x80"])
def test_a_malformed_proposal_is_refused(data: bytes) -> None:
    with pytest.raises(vs.WireFormatError, match=f"proposal of {len(data)} bytes is malformed"):
        Proposal.from_bytes(data)


def test_sums_and_what_opens_them_stay_out_of_logs() -> None:
    asked = Take(b"round", b"encrypted sum", b"what opens it", b"plain sum")
    for part in (asked.aggregate, asked.opening, asked.plain):
        assert repr(part) not in repr(asked)
    assert asked.size == len(b"roundencrypted sumwhat opens itplain sum")
