"""What all participants of a series of rounds agree on before the first one.

Protocol. A round's description comes from outside, so every cloud holds it against what was
agreed before it encrypts anything: another public key, a roster with strangers, a lower number of
clients or odd ranges would each let somebody read single updates or spoil the sum. It is held
against the cloud's own history as well (`history.py`), which every round names.
"""

from __future__ import annotations

from collections.abc import Sequence

from veilsum._core import Certificate, PublicKey
from veilsum.api.plans import Plan
from veilsum.api.rounds import Round, TrainingStep
from veilsum.arguments import shown
from veilsum.errors import ParameterError, RoundError
from veilsum.keys.committee import Committee
from veilsum.keys.group import Group
from veilsum.keys.identity import PublicIdentity
from veilsum.keys.roster import Roster
from veilsum.layout.tensors import Layout
from veilsum.protocol.authority import read_authority
from veilsum.protocol.history import Place
from veilsum.protocol.secure_sum import SecureSum


class Agreement:
    """Plans, authority, roster and least number of clients, fixed for a whole training.

    Parameters
    ----------
    exact, updates : tuple of (bytes, bytes)
        The plan of counts, and that of updates; each with who opens its sums: the key holder's
        public key for it, or the committee (`protocol.authority`), received over a channel that
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
        When a plan, a key or an identity is malformed.
    veilsum.ParameterError
        When the numbers do not fit each other.
    """

    def __init__(
        self,
        exact: tuple[bytes, bytes],
        updates: tuple[bytes, bytes],
        roster: Sequence[bytes],
        min_clients: int,
        training: bytes,
        group: Group | None = None,
    ) -> None:
        self._opened_under = {
            is_exact: (Plan.from_bytes(plan), read_authority(authority))
            for is_exact, (plan, authority) in ((True, exact), (False, updates))
        }
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
        """The plan of updates."""
        return self._opened_under[False][0]

    @property
    def group(self) -> Group | None:
        """The clients' keys; None where one key holder opens."""
        return self._group

    @property
    def authorities(self) -> tuple[PublicKey | Committee, ...]:
        """Who opens sums under either plan: one committee, or a key for each."""
        return tuple(authority for _, authority in self._opened_under.values())

    @property
    def clients(self) -> int:
        """How many clients the roster has."""
        return len(self._roster)

    def propose(self, what: SecureSum, place: Place) -> Round:
        """Describe a sum as a new round.

        Parameters
        ----------
        what : SecureSum
            The sum.
        place : Place
            Where in the training it stands.
        """
        plan, authority = self._opened_under[what.exact]
        return Round(
            plan,
            authority,
            like=dict(what.like),
            limit=dict(what.limits),
            min_clients=self._min_clients,
            roster=self._roster,
            group=self._commitment,
            step=self._step(place),
        )

    def read(self, what: SecureSum, data: bytes, place: Place) -> Round:
        """Read a round that somebody proposes, and refuse one that was not agreed on.

        Parameters
        ----------
        what : SecureSum
            The sum that is due.
        data : bytes
            The round.
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
        layout = Layout.like(dict(what.like))
        plan, authority = self._opened_under[what.exact]
        agreed = {
            "plan": proposed.plan == plan,
            "authority": _is(authority, proposed),
            "group": proposed.group == self._commitment,
            "roster": proposed.roster == tuple(self._roster),
            "least number of clients": proposed.min_clients == self._min_clients,
            "history": proposed.step == self._step(place),
            "layout": proposed.layout == layout,
            "ranges": proposed.segments == layout.segments(dict(what.limits)),
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
        return all(
            isinstance(one, Committee) and one.members == tuple(self._roster)
            for one in self.authorities
        )

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
            any(_is(one, rnd) for one in self.authorities)
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


def _is(authority: PublicKey | Committee, rnd: Round) -> bool:
    """Return whether a round's sums are opened by an authority."""
    if rnd.committee is not None or isinstance(authority, Committee):
        return rnd.committee == authority
    return bool(rnd.public.to_bytes() == authority.to_bytes())


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
