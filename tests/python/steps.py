"""The steps of parties in short, for tests: what a transport would ask, one call each."""

from __future__ import annotations

from typing import Any

from veilsum.parties.client import Client
from veilsum.parties.member import IndependentMember
from veilsum.parties.messages import (
    Contribute,
    Endorse,
    GiveShare,
    Join,
    Skip,
    Take,
    Train,
    write_request,
)


def train(client: Client, number: int, description: bytes = b"") -> None:
    assert client.ask(Train(number, description)) == b""


def contribute(client: Client, description: bytes) -> bytes:
    return client.ask(Contribute(description))


def take(
    client: Client, description: bytes, aggregate: bytes, opening: bytes, plain: bytes = b""
) -> None:
    assert client.ask(Take(description, aggregate, opening, plain)) == b""


def skip(client: Client, number: int) -> None:
    assert client.ask(Skip(number)) == b""


def endorse(member: Client | IndependentMember, description: bytes, request: bytes) -> bytes:
    return member.handle(write_request(Endorse(description, request)))


def answer(
    member: Client | IndependentMember, description: bytes, certificate: bytes, request: bytes
) -> bytes:
    return member.handle(write_request(GiveShare(description, certificate, request)))


def join(
    client: Client,
    training: bytes,
    exact: tuple[bytes, bytes],
    updates: tuple[bytes, bytes],
    roster: list[bytes],
    group: bytes = b"",
) -> None:
    assert client.ask(Join(training, *exact, *updates, tuple(roster), group)) == b""


def described(method: Any, cloud: int = 0) -> bytes:
    """The round that is due, as a cloud proposes it."""
    data: bytes = method.clients[cloud].state.propose().to_bytes()
    return data
