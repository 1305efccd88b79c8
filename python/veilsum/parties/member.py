"""The committee: members who open a training's sums together, and only together.

Federated loop. It asks each member in two steps, as `veilsum.members` says, and carries bytes: what
it hands to the clouds opens for them alone. The clouds themselves may be the members; members of
their own are `MemberService` objects. A member that is silent, lost or refuses does no harm as long
as enough others answer.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from veilsum._core import Certificate, MemberRequest
from veilsum.arguments import shown
from veilsum.errors import ParameterError, RoundError, VeilsumError, one_line
from veilsum.keys.identity import Identity, PublicIdentity
from veilsum.keys.roster import Roster
from veilsum.members import Member
from veilsum.parties.aggregator import AggregatorServer
from veilsum.protocol.opened import write_opening
from veilsum.rounds import Round


class CommitteeMember(Protocol):
    """What a committee asks of a member; a `Client` has it."""

    def endorse(self, round_description: bytes, request: bytes) -> bytes:
        """Give the member's word for a sum.

        Parameters
        ----------
        round_description, request : bytes
            The round, and what the aggregator asks.
        """
        ...

    def answer(self, round_description: bytes, certificate: bytes, request: bytes) -> bytes:
        """Give the member's share of a certified sum's key.

        Parameters
        ----------
        round_description, certificate, request : bytes
            The round, the certificate, and what the aggregator asks.
        """
        ...


def ledger_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder for the ledger of a member whose identity is in this process alone.

    What a member records has to last as long as its identity: here, until the process ends. So it
    may lie in memory, where the system has such a folder, and members need not wait for a disk.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the folder made in it is the user's own
    there = memory.is_dir() and os.access(memory, os.W_OK)
    return tempfile.TemporaryDirectory(prefix="veilsum-member-", dir=memory if there else None)


class MemberService:
    """A member that is no cloud: it opens sums of the roster that it was told, and sees none."""

    def __init__(self) -> None:
        self._identity = Identity.generate()
        self._folder = ledger_folder()
        self._ledger = Path(self._folder.name) / "ledger"
        self._member = Member.create(self._identity, self._ledger)
        self._roster: tuple[PublicIdentity, ...] = ()
        self._training = b""

    @property
    def public_identity(self) -> bytes:
        """Public half of the member's identity."""
        return self._identity.public.to_bytes()

    def enrol(self, training: bytes, roster: Sequence[bytes], min_clients: int) -> None:
        """Fix whose sums the member opens.

        Parameters
        ----------
        training : bytes
            32 bytes that name the training.
        roster : sequence of bytes
            The clients' public identities, in order.
        min_clients : int
            Fewest clients whose sum may be opened, at least 2.

        Raises
        ------
        veilsum.RoundError
            When a roster was fixed before.
        """
        if self._roster:
            raise RoundError("the member has a roster already; it is fixed for the run")
        clients = tuple(Roster([PublicIdentity.from_bytes(one) for one in roster]))
        if not 2 <= min_clients <= len(clients):
            raise ParameterError(f"min_clients must be from 2 to the {len(clients)} clients")
        self._roster, self._training = clients, training
        self._member = Member(self._identity, self._ledger, min_clients=min_clients)

    def endorse(self, round_description: bytes, request: bytes) -> bytes:
        """Give the member's word for a sum.

        Parameters
        ----------
        round_description, request : bytes
            The round, and what the aggregator asks.

        Raises
        ------
        veilsum.RoundError
            When the round is of another roster or training, or the sum is none that a member
            endorses.
        """
        rnd = self._agreed(round_description)
        return self._member.endorse(rnd, MemberRequest.from_bytes(request, rnd)).to_bytes()

    def answer(self, round_description: bytes, certificate: bytes, request: bytes) -> bytes:
        """Give the member's share of a certified sum's key, sealed to the clouds.

        Parameters
        ----------
        round_description, certificate, request : bytes
            The round, the certificate, and what the aggregator asks.

        Raises
        ------
        veilsum.RoundError
            As `endorse`, and when the certificate is for another sum.
        """
        rnd = self._agreed(round_description)
        made = self._member.answer(
            rnd, Certificate.from_bytes(certificate, rnd), MemberRequest.from_bytes(request, rnd)
        )
        return made.to_bytes()

    def _agreed(self, round_description: bytes) -> Round:
        rnd = Round.from_bytes(round_description)
        step = rnd.step
        if rnd.roster != self._roster or step is None or step.training != self._training:
            raise RoundError(
                f"round {rnd.id.hex()[:16]} is of another roster or training than this member was "
                "told; it opens none of it"
            )
        return rnd


@dataclass(frozen=True)
class Opening:
    """What opened a sum, and what that took.

    Members are asked until a threshold of them gave what holds; whoever is not named was not asked.

    Parameters
    ----------
    data : bytes
        For the clouds: certificate and answers.
    endorsed, answered : tuple of int
        Members whose endorsements are in the certificate, and whose answers were taken.
    silent : dict of int to str
        Members who were asked in vain, or are not there, and why.
    members : int
        Of the committee.
    request_bytes, endorsement_bytes, certificate_bytes, answer_bytes : int
        Of one message of each kind.
    """

    data: bytes = field(repr=False)
    endorsed: tuple[int, ...]
    answered: tuple[int, ...]
    silent: dict[int, str]
    members: int
    request_bytes: int
    endorsement_bytes: int
    certificate_bytes: int
    answer_bytes: int


def open_together(
    members: Sequence[CommitteeMember | None],
    threshold: int,
    description: bytes,
    aggregator: AggregatorServer,
) -> Opening:
    """Have the aggregator's closed round opened by its committee.

    Parameters
    ----------
    members : sequence of CommitteeMember or None
        In the committee's order; None is not there.
    threshold : int
        How many it takes.
    description : bytes
        The round.
    aggregator : AggregatorServer
        Whose round was closed.

    Raises
    ------
    veilsum.RoundError
        When fewer than a threshold of members endorse or answer; it names the others.
    """
    requests = aggregator.member_requests()
    silent: dict[int, str] = {k: "not there" for k, one in enumerate(members) if one is None}

    def ask(
        order: Sequence[int], what: Callable[[int, CommitteeMember], bytes]
    ) -> dict[int, bytes]:
        """Ask members one after another until a threshold of them gave something that holds."""
        given: dict[int, bytes] = {}
        for k in order:
            member = members[k]
            if member is None or len(given) == threshold:
                continue
            try:
                given[k] = what(k, member)
            except (VeilsumError, OSError) as reason:  # its ledger may be out of space
                silent[k] = one_line(reason)
        return given

    def endorse(k: int, member: CommitteeMember) -> bytes:
        word = member.endorse(description, requests[k])
        aggregator.check_endorsement(k, word)
        return word

    everybody = range(len(members))
    words = ask(everybody, endorse)
    _enough(len(words), threshold, "endorse", silent)
    certificate = aggregator.certify(list(words.values()))

    def answer(k: int, member: CommitteeMember) -> bytes:
        share = member.answer(description, certificate, requests[k])
        aggregator.check_answer(k, share)
        return share

    # Those who endorsed first; the certificate moves members that have not, where some are lost.
    answers = ask(sorted(everybody, key=lambda k: k not in words), answer)
    _enough(len(answers), threshold, "answer", silent)
    return Opening(
        write_opening(certificate, list(answers.values())),
        tuple(words),
        tuple(sorted(answers)),
        silent,
        len(members),
        max(map(len, requests)),
        max(map(len, words.values())),
        len(certificate),
        max(map(len, answers.values())),
    )


def _enough(count: int, threshold: int, what: str, silent: dict[int, str]) -> None:
    if count < threshold:
        missing = "; ".join(f"member {k + 1}: {reason}" for k, reason in sorted(silent.items()))
        raise RoundError(
            f"{count} members {what} the sum, and it takes {shown(threshold)} ({missing}); nothing "
            "was opened"
        )
