"""Clinics that are clients and members at once, for the tests of this folder."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import veilsum as vs


@functools.cache
def people(count: int) -> tuple[vs.Identity, ...]:
    """Identities, every third of them post-quantum. Made once: rosters may differ in length."""
    return tuple(vs.Identity.generate(post_quantum=k % 3 == 2) for k in range(count))


@dataclass
class Clinics:
    """n clients of which all are members, with a group, and one open round."""

    folder: Path
    count: int = 4
    threshold: int | None = None
    size: int = 500
    group_reads: bool = True
    plan: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.people = people(self.count)
        self.roster = vs.Roster(self.people)
        self.group = vs.Group.create(self.people[0], self.roster, "a test")
        self.committee = vs.Committee(self.roster, self.threshold)
        self.members = [
            vs.Member.create(person, self.folder / f"{k}.ledger")
            for k, person in enumerate(self.people)
        ]
        self.server = people(self.count + 1)[-1]
        self.round = self.new_round()

    def new_round(self, **more: Any) -> vs.Round:
        reads = {"group": self.group.commitment} if self.group_reads else {"reader": self.server}
        return vs.Round(
            vs.Plan(**{"clients": self.count, "value_bits": 16, **self.plan}),
            self.committee,
            size=self.size,
            limit=1.0,
            roster=self.roster,
            **{**reads, **self.options, **more},
        )

    def updates(self, seed: int = 1) -> np.ndarray:
        shape = (self.count, self.size)
        return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)

    def upload(self, client: int, values: np.ndarray, rnd: vs.Round | None = None) -> vs.Upload:
        rnd = rnd or self.round
        group = self.group if rnd.tagged else None
        return vs.encrypt(rnd, values, signer=self.people[client], group=group)

    def uploads(self, rnd: vs.Round | None = None, clients: Any = None) -> list[vs.Upload]:
        updates = self.updates()
        chosen = range(self.count) if clients is None else clients
        return [self.upload(k, updates[k], rnd) for k in chosen]

    def total(self, rnd: vs.Round | None = None, clients: Any = None) -> vs.Aggregate:
        return vs.weighted_sum(rnd or self.round, self.uploads(rnd, clients))

    def endorse(self, total: vs.Aggregate, members: Any = None) -> list[vs.Endorsement]:
        chosen = range(self.count) if members is None else members
        return [
            self.members[k].endorse(total.round, vs.request_for(total, self.people[k]))
            for k in chosen
        ]

    def certify(self, total: vs.Aggregate, members: Any = None) -> vs.Certificate:
        return vs.certify(total.round, total, self.endorse(total, members))

    def answers(
        self, certificate: vs.Certificate, total: vs.Aggregate, members: Any = None
    ) -> list[vs.Answer]:
        chosen = range(self.count) if members is None else members
        return [
            self.members[k].answer(total.round, certificate, vs.request_for(total, self.people[k]))
            for k in chosen
        ]

    @property
    def reads(self) -> dict[str, Any]:
        return {"group": self.group} if self.group_reads else {"reader": self.server}

    def combine(
        self, certificate: vs.Certificate, answers: list[vs.Answer], total: vs.Aggregate
    ) -> vs.SumKey:
        return vs.combine(total.round, certificate, answers, total, **self.reads)

    def decrypt(self, key: vs.SumKey, total: vs.Aggregate, **more: Any) -> Any:
        group = self.group if total.round.tagged else None
        return vs.decrypt(key, total, group=group, **more)
