"""What all participants of a series of rounds agree on before the first one.

Federated loop. A round's description comes from outside, so every cloud holds it against what was
agreed before it encrypts anything: another public key, a roster with strangers, a lower number of
clients or odd ranges would each let somebody read single updates or spoil the sum. It is held
against the cloud's own history as well (`history.py`), which every round names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from veilsum._core import PublicKey
from veilsum.arguments import shown
from veilsum.errors import ParameterError, RoundError
from veilsum.federated.history import Place, is_place
from veilsum.keys.identity import PublicIdentity
from veilsum.keys.roster import Roster
from veilsum.layout import Layout, TensorSpec
from veilsum.plans import Plan
from veilsum.rounds import Round


class Agreement:
    """Plan, public key, roster and least number of clients, fixed for a series of rounds.

    Parameters
    ----------
    plan : bytes
        The plan.
    public_key : bytes
        The authority's key for it, received over a channel that participants trust.
    roster : sequence of bytes
        Public identities of all clients, in order.
    min_clients : int
        Fewest clients whose sum may be opened.

    Raises
    ------
    veilsum.WireFormatError
        When plan, key or an identity are malformed.
    veilsum.ParameterError
        When the numbers do not fit each other.
    """

    def __init__(
        self, plan: bytes, public_key: bytes, roster: Sequence[bytes], min_clients: int
    ) -> None:
        self._plan = Plan.from_bytes(plan)
        self._public = PublicKey.from_bytes(public_key)
        self._roster = Roster([PublicIdentity.from_bytes(one) for one in roster])
        self._min_clients = min_clients
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
            self._public,
            like={**like, **place.tensors},
            limit={**limits, place.name: 1.0},
            min_clients=self._min_clients,
            roster=self._roster,
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
        layout = Layout.like({**like, **place.tensors})
        same = proposed.layout == layout
        placed = stands_at(proposed, place)
        agreed = {
            "plan": proposed.plan == self._plan,
            "public key": proposed.public.to_bytes() == self._public.to_bytes(),
            "roster": proposed.roster == tuple(self._roster),
            "least number of clients": proposed.min_clients == self._min_clients,
            # A place is part of the layout; the error tells which of the two differs.
            "history": placed,
            "layout": same or (not placed and _unplaced(proposed.layout) == _unplaced(layout)),
            "ranges": proposed.segments == layout.segments({**limits, place.name: 1.0}),
        }
        wrong = [name for name, holds in agreed.items() if not holds]
        if wrong:
            raise RoundError(
                f"round {proposed.id.hex()[:16]} has another {', '.join(wrong)} than was agreed; "
                "nothing was encrypted for it"
            )
        return proposed


def stands_at(rnd: Round, place: Place) -> bool:
    """Return whether a round names a place of the history.

    Parameters
    ----------
    rnd : Round
        The round.
    place : Place
        Where it should stand.
    """
    return any(tensor.name == place.name for tensor in rnd.layout.tensors)


def _unplaced(layout: Layout) -> list[TensorSpec]:
    return [tensor for tensor in layout.tensors if not is_place(tensor.name)]
