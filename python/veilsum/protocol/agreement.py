"""What all participants of a series of rounds agree on before the first one.

Federated loop. A round's description comes from outside, so every cloud holds it against what was
agreed before it encrypts anything: another public key, a roster with strangers, a lower number of
clients or odd ranges would each let somebody read single updates or spoil the sum. It is held
against the cloud's own history as well (`history.py`), which every round names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from veilsum._core import Certificate, PublicKey
from veilsum.arguments import shown
from veilsum.errors import ParameterError, RoundError
from veilsum.keys.committee import Committee
from veilsum.keys.group import Group
from veilsum.keys.identity import PublicIdentity
from veilsum.keys.roster import Roster
from veilsum.layout import Layout
from veilsum.plans import Plan
from veilsum.protocol.authority import read_authority
from veilsum.protocol.history import Place
from veilsum.rounds import Round, TrainingStep


class Agreement:
    """Plan, authority, roster and least number of clients, fixed for a series of rounds.

    Parameters
    ----------
    plan : bytes
        The plan.
    authority : bytes
        The key holder's public key for it, or the committee, received over a channel that
        participants trust.
    roster : sequence of bytes
        Public identities of all clients, in order.
    min_clients : int
        Fewest clients whose sum may be opened.
    training : bytes
        32 bytes that name the training.
    group : Group or None
        The clients' keys, where a committee opens for them.

    Raises
    ------
    veilsum.WireFormatError
        When plan, key or an identity are malformed.
    veilsum.ParameterError
        When the numbers do not fit each other.
    """

    def __init__(
        self,
        plan: bytes,
        authority: bytes,
        roster: Sequence[bytes],
        min_clients: int,
        training: bytes,
        group: Group | None = None,
    ) -> None:
        self._plan = Plan.from_bytes(plan)
        self._authority: PublicKey | Committee = read_authority(authority)
        self._training = training
        self._group = group
        self._roster = Roster([PublicIdentity.from_bytes(one) for one in roster])
        self._min_clients = min_clients
        self._certificate: tuple[bytes, bytes, Certificate] | None = None
        if not 2 <= min_clients <= len(self._roster):
            raise ParameterError(
                f"min_clients is {shown(min_clients)}; must be from 2 to the {len(self._roster)} "
                "clients of the roster"
            )

    @property
    def plan(self) -> Plan:
        """The plan of every round."""
        return self._plan

    @property
    def group(self) -> Group | None:
        """The clients' keys; None where one key holder opens."""
        return self._group

    @property
    def committee(self) -> Committee | None:
        """Who opens together; None where one key holder does."""
        return self._authority if isinstance(self._authority, Committee) else None

    @property
    def clients(self) -> int:
        """How many clients the roster has."""
        return len(self._roster)

    def make_round(
        self, like: Mapping[str, Any], limits: Mapping[str, float], place: Place
    ) -> Round:
        """Describe a new round.

        Parameters
        ----------
        like : mapping of str to array
            Names and shapes of what is summed.
        limits : mapping of str to float
            Range of each.
        place : Place
            Where in the training it stands.
        """
        return Round(
            self._plan,
            self._authority,
            like=dict(like),
            limit=dict(limits),
            min_clients=self._min_clients,
            roster=self._roster,
            group=self._commitment,
            step=self._step(place),
        )

    def read_round(
        self, data: bytes, like: Mapping[str, Any], limits: Mapping[str, float], place: Place
    ) -> Round:
        """Read a round that somebody proposes, and refuse one that was not agreed on.

        Parameters
        ----------
        data : bytes
            The round.
        like : mapping of str to array
            Names and shapes of what it should sum.
        limits : mapping of str to float
            Ranges that it should have.
        place : Place
            Where in the training it should stand.

        Raises
        ------
        veilsum.WireFormatError
            When the bytes are malformed.
        veilsum.RoundError
            When the round differs from the agreement.
        """
        proposed = Round.from_bytes(data)
        layout = Layout.like(dict(like))
        agreed = {
            "plan": proposed.plan == self._plan,
            "authority": self._opens(proposed),
            "group": proposed.group == self._commitment,
            "roster": proposed.roster == tuple(self._roster),
            "least number of clients": proposed.min_clients == self._min_clients,
            "history": proposed.step == self._step(place),
            "layout": proposed.layout == layout,
            "ranges": proposed.segments == layout.segments(dict(limits)),
        }
        wrong = [name for name, holds in agreed.items() if not holds]
        if wrong:
            raise RoundError(
                f"round {proposed.id.hex()[:16]} has another {', '.join(wrong)} than was agreed; "
                "nothing was encrypted for it"
            )
        return proposed

    @property
    def opened_by_clients(self) -> bool:
        """Whether the committee is the clients themselves."""
        committee = self.committee
        return committee is not None and committee.members == tuple(self._roster)

    def check_opening(self, rnd: Round) -> None:
        """Refuse to open a round that was not agreed on; its layout and ranges are not looked at.

        Parameters
        ----------
        rnd : Round
            Of the sum.

        Raises
        ------
        veilsum.RoundError
            When it differs from the agreement.
        """
        step = rnd.step
        holds = (
            self._opens(rnd)
            and rnd.roster == tuple(self._roster)
            and rnd.min_clients == self._min_clients
            and rnd.group == self._commitment
            and step is not None
            and step.training == self._training
        )
        if not holds:
            raise RoundError(
                f"round {rnd.id.hex()[:16]} is not of this training as it was agreed; nothing of "
                "it is opened"
            )

    def read_certificate(self, data: bytes, rnd: Round) -> Certificate:
        """Read and check a certificate; the last one again costs nothing.

        A cloud sees it twice: as a member before it answers, and as a reader.

        Parameters
        ----------
        data : bytes
            From the aggregator.
        rnd : Round
            The round.

        Raises
        ------
        veilsum.VeilsumError
            When it is malformed, of another round, or a signature in it does not hold.
        """
        if self._certificate is None or self._certificate[:2] != (rnd.id, data):
            self._certificate = rnd.id, data, Certificate.from_bytes(data, rnd)
        return self._certificate[2]

    @property
    def _commitment(self) -> tuple[bytes, bytes] | None:
        return None if self._group is None else self._group.commitment

    def _step(self, place: Place) -> TrainingStep:
        return TrainingStep(self._training, place.step, place.purpose, place.head)

    def _opens(self, proposed: Round) -> bool:
        if proposed.committee is not None or isinstance(self._authority, Committee):
            return proposed.committee == self._authority
        return bool(proposed.public.to_bytes() == self._authority.to_bytes())


def stands_at(rnd: Round, place: Place) -> bool:
    """Return whether a round names a place of the history.

    Parameters
    ----------
    rnd : Round
        The round.
    place : Place
        Where it should stand.
    """
    step = rnd.step
    named = (place.step, place.purpose, place.head)
    return step is not None and (step.number, step.purpose, step.history) == named
