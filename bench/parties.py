"""Rounds with a roster, a group and a committee, one step at a time.

Layer: benchmarks only. Identities are of Ed25519 alone, as DESIGN.md's rows for fixed bytes ask,
and made once: rosters of different lengths are parts of one list. Each party's steps are calls of
their own, so that a benchmark can time one and take the others for granted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import veilsum as vs
from bench.measure import Reported
from veilsum.lab.compare.sums import LIMIT, check_mean, make_update

__all__ = ["Parties", "answer", "endorse", "member_step", "people"]


_people: list[vs.Identity] = []


def people(count: int) -> list[vs.Identity]:
    """As many identities, the same ones each time."""
    while len(_people) < count:
        _people.append(vs.Identity.generate())
    return _people[:count]


def endorse(member: vs.Member, rnd: vs.Round, request: bytes) -> Reported:
    """What a member does first, from a request's bytes to those of its word."""
    start = time.perf_counter()
    word = member.endorse(rnd, vs.MemberRequest.from_bytes(request, rnd)).to_bytes()
    return Reported(time.perf_counter() - start, word)


def answer(member: vs.Member, rnd: vs.Round, certificate: bytes, request: bytes) -> Reported:
    """What it does next, from the certificate's bytes to those of its answer."""
    start = time.perf_counter()
    given = member.answer(
        rnd,
        vs.Certificate.from_bytes(certificate, rnd),
        vs.MemberRequest.from_bytes(request, rnd),
    ).to_bytes()
    return Reported(time.perf_counter() - start, given)


def member_step(member: vs.Member, rnd: vs.Round, certificate: bytes, request: bytes) -> Reported:
    """All that a member does for a sum: both steps. The value is the answer's bytes."""
    first = endorse(member, rnd, request)
    second = answer(member, rnd, certificate, request)
    return Reported(first.seconds + second.seconds, second.value)


class Parties:
    """A tagged round: signed uploads of a roster, opened by one key holder or by a committee.

    Parameters
    ----------
    folder : path
        Where members keep their ledgers.
    size : int
        Values of an update.
    clients : int
        How many there are; all of them sign.
    members : int
        Of the committee, the first of another list of identities; 0: one key holder opens.
    updates : int
        How many distinct updates there are; clients take them in turn.
    """

    def __init__(
        self, folder: Path, size: int, *, clients: int, members: int = 0, updates: int = 2
    ) -> None:
        self.folder, self.size = folder, size
        folder.mkdir(exist_ok=True)
        self.clients = people(clients)
        self.members = people(clients + members)[clients:]
        self.plan = vs.Plan(clients=clients)
        roster = vs.Roster(self.clients)
        self.group = vs.Group.create(self.clients[0], roster, "benchmark")
        self.secret, public = vs.keygen(self.plan)
        self.round = vs.Round(
            self.plan,
            vs.Committee(self.members) if members else public,
            size=size,
            limit=LIMIT,
            roster=roster,
            group=self.group.commitment,
        )
        self.updates = [make_update(size, seed) for seed in range(updates)]
        self._ledgers = 0

    def update(self, client: int) -> np.ndarray:
        """What a client encrypts."""
        return self.updates[client % len(self.updates)]

    def encrypt(self, client: int = 0, threads: int | None = 1) -> vs.Upload:
        """Encrypt, tag, seal and sign a client's update."""
        return vs.encrypt(
            self.round,
            self.update(client),
            signer=self.clients[client],
            group=self.group,
            threads=threads,
        )

    def sum(self) -> vs.Aggregate:
        """Every client's upload, added as it arrives."""
        total = vs.Accumulator(self.round)
        for client in range(len(self.clients)):
            total.add(self.encrypt(client))
        return total.finish()

    def open(self, total: vs.Aggregate) -> vs.SumKey:
        """Open as the one key holder, who has opened nothing yet."""
        fresh = vs.SecretKey.from_bytes(self.secret.to_bytes())
        return vs.open_sum(fresh, self.round, total)

    def key_holder(self) -> vs.SecretKey:
        """The one key holder, from a file of its own, whose ledger is empty."""
        self._ledgers += 1
        path = self.folder / f"{self._ledgers}.key"
        self.secret.save(path)
        return vs.SecretKey.load(path)

    def member(self, place: int) -> vs.Member:
        """A member whose ledger is empty."""
        self._ledgers += 1
        return vs.Member.create(self.members[place], self.folder / f"{self._ledgers}.ledger")

    def certify(self, total: vs.Aggregate, words: Sequence[bytes]) -> bytes:
        """Put the words of members together."""
        read = [vs.Endorsement.from_bytes(word, self.round) for word in words]
        return vs.certify(self.round, total, read).to_bytes()

    def combine(
        self, certificate: bytes, answers: Sequence[bytes], total: vs.Aggregate
    ) -> vs.SumKey:
        """What a reader does, from bytes to the sum's key."""
        return vs.combine(
            self.round,
            vs.Certificate.from_bytes(certificate, self.round),
            [vs.Answer.from_bytes(answer, self.round) for answer in answers],
            total,
            group=self.group,
        )

    def decrypt(self, key: vs.SumKey, total: vs.Aggregate, threads: int | None = 1) -> np.ndarray:
        """Decrypt the mean; the tag has to hold."""
        mean: np.ndarray = vs.decrypt(key, total, group=self.group, threads=threads)
        return mean

    def check(self, mean: np.ndarray) -> None:
        """Raise unless it is the mean of all clients' updates."""
        if len(self.clients) % len(self.updates) == 0:
            check_mean(mean, self.updates, self.plan)
            return
        check_mean(mean, [self.update(k) for k in range(len(self.clients))], self.plan)
