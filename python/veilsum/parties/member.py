"""A member of a committee that is no cloud: it opens sums of one roster, and sees none.

Parties. The clouds may be the members themselves; then a `client.Client` does what is done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from veilsum._core import Certificate, MemberRequest, Verdict
from veilsum.api.members import Member
from veilsum.api.rounds import Round
from veilsum.errors import ParameterError, RoundError
from veilsum.keys.identity import Identity, PublicIdentity
from veilsum.keys.roster import Roster
from veilsum.parties.ledger_folder import ledger_folder
from veilsum.parties.messages import (
    Endorse,
    Enrol,
    GiveShare,
    Introduce,
    Lose,
    OpenChallenges,
    read_request,
)


class IndependentMember:
    """A member that is no cloud: it opens sums of the roster that it was told, and sees none.

    Parameters
    ----------
    identity : Identity, optional
        Its own; a fresh one by default.
    ledger : Path, optional
        Where it records what it endorsed; by default in a folder that lasts as long as the object,
        as a fresh identity does.
    """

    def __init__(self, identity: Identity | None = None, ledger: Path | None = None) -> None:
        self._identity = Identity.generate() if identity is None else identity
        if ledger is None:
            self._folder = ledger_folder()  # goes with the object
            ledger = Path(self._folder.name) / "ledger"
        self._ledger = ledger
        opened = Member if ledger.exists() else Member.create
        self._member = opened(self._identity, ledger)
        self._roster: tuple[PublicIdentity, ...] = ()
        self._training = b""

    @property
    def public_identity(self) -> bytes:
        """Public half of the member's identity."""
        return self._identity.public.to_bytes()

    def handle(self, request: bytes) -> bytes:
        """Do what a request asks, and return the reply.

        Parameters
        ----------
        request : bytes
            As `messages.write_request` wrote it: to introduce itself, enrol, endorse, answer, open
            challenges, or note a loss.

        Raises
        ------
        veilsum.VeilsumError
            When the request is malformed, or as the methods say.
        """
        asked = read_request(request)
        if isinstance(asked, Introduce):
            return self.public_identity
        if isinstance(asked, Enrol):
            self.enrol(asked.training, asked.roster, asked.min_clients)
            return b""
        if isinstance(asked, Endorse):
            return self.endorse(asked.description, asked.request)
        if isinstance(asked, GiveShare):
            return self.answer(asked.description, asked.certificate, asked.request)
        if isinstance(asked, OpenChallenges):
            return self.open_challenges(asked.description, asked.certificate, asked.request)
        if isinstance(asked, Lose):
            self.lose(asked.description, asked.verdict)
            return b""
        raise RoundError(f"a member is not asked to {asked.verb.replace('_', ' ')}")

    def replay(self, request: bytes) -> None:
        """Come to where a request led before, when its reply has left already.

        Parameters
        ----------
        request : bytes
            In the order in which requests came the first time.
        """
        asked = read_request(request)
        if isinstance(asked, Enrol):
            self.handle(request)

    def notes(self) -> bytes:
        """Return nothing: all that counts is in the ledger."""
        return b""

    def recall(self, notes: bytes) -> None:
        """Take nothing back.

        Parameters
        ----------
        notes : bytes
            What `notes` returned.
        """

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

    def open_challenges(
        self, round_description: bytes, certificate: bytes, request: bytes
    ) -> bytes:
        """Say what the member's shares of a spoiled sum's uploads are checked by.

        Parameters
        ----------
        round_description, certificate, request : bytes
            The round, the certificate, and what the aggregator asks.

        Raises
        ------
        veilsum.RoundError
            As `answer`.
        """
        rnd = self._agreed(round_description)
        made = self._member.open_challenge(
            rnd, Certificate.from_bytes(certificate, rnd), MemberRequest.from_bytes(request, rnd)
        )
        return made.to_bytes()

    def lose(self, round_description: bytes, verdict: bytes) -> None:
        """Note that a certified sum was lost: the next holds its clouds, but convicted ones.

        Parameters
        ----------
        round_description, verdict : bytes
            The round, and the verdict on its sum.

        Raises
        ------
        veilsum.RoundError
            When the round is of another roster or training, or a signature in the verdict does not
            hold.
        """
        rnd = self._agreed(round_description)
        read = Verdict.from_bytes(verdict, rnd)
        self._member.record_lost(rnd, read.certificate, read)

    def _agreed(self, round_description: bytes) -> Round:
        rnd = Round.from_bytes(round_description)
        step = rnd.step
        if rnd.roster != self._roster or step is None or step.training != self._training:
            raise RoundError(
                f"round {rnd.id.hex()[:16]} is of another roster or training than this member was "
                "told; it opens none of it"
            )
        return rnd
