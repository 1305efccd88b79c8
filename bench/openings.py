"""Openings of sums whose uploads nobody has to make: heads and sealed shares alone.

Layer: benchmarks only. What a member sees of an upload does not hold its blocks, so a round of 10^9
values can be opened without any. The tests' oracle writes the uploads' heads; the product does what
is timed.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import veilsum as vs
from bench.measure import Reported
from bench.parties import endorse, member_step, people
from veilsum import _core

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "python"))

from oracle import committee, scheme, wire

__all__ = ["Opening"]


class Opening:
    """A committee's sum, without its blocks.

    Parameters
    ----------
    folder : path
        Where members keep their ledgers.
    values : int
        Of each update.
    clients, members : int
        How many there are.
    keys : int
        Keys of an upload: what a vector of 10^9 values has, and here a short one as well.
    """

    def __init__(
        self, folder: Path, values: int, *, clients: int = 10, members: int = 4, keys: int = 8
    ) -> None:
        self._folder, self.clients, self.members = folder, clients, members
        signers, self._judges = people(clients), people(clients + members)[clients:]
        roster = vs.Roster(signers)
        self._group = vs.Group.create(signers[0], roster, "benchmark")
        made = vs.Round(
            vs.Plan(clients=clients),
            vs.Committee(self._judges),
            size=values,
            roster=roster,
            group=self._group.commitment,
        )
        info = replace(wire.read_round(made.to_bytes()), upload_keys=keys)
        self.round = vs.Round.from_bytes(info.to_bytes())
        heads, dealt = [], []
        for client, signer in enumerate(signers):
            seed = os.urandom(32)
            drawn = [os.urandom(64) for _ in self._judges]
            # Members add tags up unseen: any will do.
            head = wire.make_head(info, seed, os.urandom(16), drawn, 0, client, (1, client))
            own = signer.sign(wire.signing_payload(info.id, client, head))
            heads.append((1, replace(head, signature=wire.Signature(client, b"", own))))
            dealt.append(scheme.upload_keys(info.plan, info.id, seed, keys))
        self.expected = scheme.sum_keys(dealt, [1] * clients)
        total = wire.Sum(info.id, heads, b"", forwards=True, tagged=True)
        requests = [committee.make_request(info, total, k) for k in range(members)]
        self._info, self._requests = info, [one.to_bytes() for one in requests]
        at_work = [self._member(k) for k in range(members)]
        words = [
            committee.read_endorsement(endorse(one, self.round, request).value, info)
            for one, request in zip(at_work, self._requests, strict=True)
        ]
        assert info.committee is not None
        needed = info.committee.threshold
        self._certificate = committee.certify(info, total, words).to_bytes()
        self._answers = [
            member_step(one, self.round, self._certificate, request).value
            for one, request in zip(at_work, self._requests[:needed], strict=False)
        ]
        word = len(words[0].to_bytes())
        #: What a member receives and sends.
        self.member_bytes = (
            sum(map(len, (self._requests[0], self._certificate, self._answers[0]))) + word
        )

    def _member(self, place: int) -> vs.Member:
        name = f"{len(list(self._folder.iterdir()))}.ledger"
        return vs.Member.create(self._judges[place], self._folder / name)

    def member_step(self) -> Reported:
        """Endorse and answer as a member that did neither before."""
        return member_step(self._member(0), self.round, self._certificate, self._requests[0])

    def check(self, answer: bytes) -> None:
        """Raise AssertionError unless it is, with others, the sum of the uploads' keys."""
        key, _ = _core.combine(
            vs.Certificate.from_bytes(self._certificate, self.round),
            [vs.Answer.from_bytes(one, self.round) for one in (answer, *self._answers[1:])],
            self._group.open_answer,
            vs.Roster.verify,
        )[0]
        assert wire.read_sum_key(key.to_bytes(), self._info).keys == self.expected
