"""Slips as Flower's messages: which node is which party, and sending and pulling single messages.

Transport, Flower's; the one file of it that imports Flower. A node's number is no identity: nodes
come and go, and whoever runs the SuperLink hands them out. So each node is asked who it is with a
fresh challenge, and a node is a party's when the party's own key signed that challenge, this node
and this training. A node that lies can only be silent.

Replies are pulled by message, as they come; Flower's own loop waits three seconds between looks.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from veilsum.arguments import shown
from veilsum.errors import RoundError, VeilsumError, WireFormatError, missing_extra
from veilsum.keys.identity import PublicIdentity
from veilsum.parties.asking import Party
from veilsum.transport.files import read_refusal
from veilsum.transport.flower.slips import Slip
from veilsum.transport.flower.transport import Failed, printable

if TYPE_CHECKING:
    from flwr.app import Message, RecordDict
    from flwr.serverapp import Grid

LOG = logging.getLogger("veilsum.flower")

ACTION = "query.veilsum"
PART_ACTION = "query.veilsum_part"
HELLO_ACTION = "query.veilsum_hello"

_FIELDS, _DATA = "veilsum", "veilsum-data"
_HELLO = b"veilsum/flower/hello"
_AWAY = (3, 4, 5, 8)
"""Flower's error codes of messages and nodes that are unavailable, or whose app was killed."""


def flower() -> Any:
    """Return Flower's module of messages.

    Raises
    ------
    veilsum.BackendUnavailableError
        When it is not installed.
    """
    try:
        import flwr.app
    except ImportError as reason:
        raise missing_extra("Federation on Flower (Python 3.11 or newer)", "flwr", "flower") from (
            reason
        )
    return flwr.app


def write_slip(slip: Slip) -> RecordDict:
    """Return a slip as a message's content; data goes as an array, which Flower sends in chunks.

    Parameters
    ----------
    slip : Slip
        Any.
    """
    app = flower()
    records: dict[str, Any] = {
        _FIELDS: app.ConfigRecord({"kind": slip.kind, **slip.fields}),
    }
    if slip.data:
        array = app.Array(
            dtype="uint8", shape=(len(slip.data),), stype="numpy.ndarray.raw", data=slip.data
        )
        records[_DATA] = app.ArrayRecord({"data": array})
    made: RecordDict = app.RecordDict(records)
    return made


def read_slip(content: RecordDict) -> Slip:
    """Read a slip out of a message's content.

    Parameters
    ----------
    content : RecordDict
        From a stranger.

    Raises
    ------
    veilsum.WireFormatError
        When it has none.
    """
    if _FIELDS not in content.config_records:
        raise WireFormatError("a message has no slip of Veilsum's")
    fields = dict(content.config_records[_FIELDS])
    kind = fields.pop("kind", None)
    if not isinstance(kind, str):
        raise WireFormatError("a slip has no kind")
    data = b""
    if _DATA in content.array_records:
        array = content.array_records[_DATA].get("data")
        if array is None or array.dtype != "uint8" or array.shape != (len(array.data),):
            raise WireFormatError("a slip's data are no bytes")
        data = array.data
    plain = {name: value for name, value in fields.items() if isinstance(value, (int, str, bytes))}
    return Slip(kind, plain, data)


def hello_message(challenge: bytes, training: bytes, node: int, cloud: int) -> bytes:
    """Return what a site signs to say that a node is its own.

    Parameters
    ----------
    challenge : bytes
        32 fresh bytes of the server's.
    training : bytes
        32 bytes that name the training.
    node : int
        As Flower numbers it.
    cloud : int
        The cloud's number that it claims.
    """
    numbers = node.to_bytes(16, "little") + cloud.to_bytes(8, "little")
    return _HELLO + challenge + training + numbers


class FlowerCarrier:
    """Carries slips over a grid of nodes.

    Parameters
    ----------
    grid : Grid
        Flower's.
    training : bytes
        32 bytes that name the training.
    clouds : int
        How many take part.
    known : mapping of int to bytes
        Public identities of clouds that took part before the server was restarted.
    pause_s : float
        Between two looks at which nodes there are.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        grid: Grid,
        training: bytes,
        clouds: int,
        known: Mapping[int, bytes] | None = None,
        *,
        pause_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._grid = grid
        self._training = training
        self._clouds = clouds
        self._identities = dict(known or {})
        self._nodes: dict[int, int] = {}  # cloud -> node
        self._last: dict[int, float] = {}  # cloud -> when its node was last known
        self._asked: dict[str, tuple[int, bytes]] = {}  # message -> node, challenge
        self._greeted: dict[int, float] = {}  # node -> when it was asked who it is
        self._strangers: dict[int, str] = {}  # node -> why it is no cloud
        self._looked = -1e9
        self._pause_s = pause_s
        self._clock = clock
        self._begun = clock()

    @property
    def identities(self) -> dict[int, bytes]:
        """The clouds' public identities, as far as they proved them."""
        return dict(self._identities)

    def identity(self, party: Party) -> bytes:
        """Return the public identity that a site proved to have; empty before it did.

        Parameters
        ----------
        party : Party
            The site's.
        """
        return self._identities.get(party.number, b"")

    def gather(self, patience_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """Wait until every cloud's node is known.

        Parameters
        ----------
        patience_s : float
            How long at most.
        sleep : callable
            Waits so many seconds.

        Raises
        ------
        veilsum.RoundError
            When some are missing then; it names them.
        """
        while len(self._nodes) < self._clouds:
            self._look()
            if len(self._nodes) == self._clouds:
                return
            if self._clock() - self._begun > patience_s:
                missing = [str(k + 1) for k in range(self._clouds) if k not in self._nodes]
                said = [f"; node {node}: {why}" for node, why in self._strangers.items()]
                raise RoundError(
                    f"no node said that it is cloud {', '.join(missing)} within "
                    f"{shown(patience_s)} s ({len(self._nodes)} of {self._clouds} are there); no "
                    f"training begins without all of them{''.join(said[:8])}"
                )
            sleep(0.3)

    def away_s(self, party: Party) -> float:
        """Return for how many seconds Flower has not known the site's node; 0 when it does.

        Parameters
        ----------
        party : Party
            The site's.
        """
        self._look()
        if party.number in self._nodes:
            return 0.0
        return self._clock() - self._last.get(party.number, self._begun)

    def send(self, party: Party, slip: Slip) -> str | None:
        """Send a slip and return the message's name; None where the site is not there.

        Parameters
        ----------
        party : Party
            Whom to.
        slip : Slip
            What.
        """
        node = self._nodes.get(party.number)
        if node is None:
            return None
        kind = PART_ACTION if slip.kind == "part" else ACTION
        return self._push(node, kind, slip)

    def collect(self, names: Sequence[str]) -> dict[str, Slip | Failed]:
        """Return what came back so far, by the message's name.

        Parameters
        ----------
        names : sequence of str
            Of messages that were sent.
        """
        self._look()
        found: dict[str, Slip | Failed] = {}
        for message in self._pull(names):
            found[message.metadata.reply_to_message_id] = _answer(message)
        return found

    def _push(self, node: int, kind: str, slip: Slip) -> str | None:
        content = write_slip(
            Slip(slip.kind, {**slip.fields, "training": self._training}, slip.data)
        )
        message = flower().Message(content, dst_node_id=node, message_type=kind)
        names = list(self._grid.push_messages([message]))
        return names[0] if names else None

    def _pull(self, names: Sequence[str]) -> list[Message]:
        return list(self._grid.pull_messages(names)) if names else []

    # Who is who.

    def _look(self) -> None:
        """Find nodes that came and went, and ask new ones who they are."""
        now = self._clock()
        self._hear()
        if now - self._looked < self._pause_s:
            return
        self._looked = now
        there = set(self._grid.get_node_ids())
        for cloud, node in list(self._nodes.items()):
            if node in there:
                self._last[cloud] = now
            else:
                del self._nodes[cloud]
                LOG.warning("cloud %d: its node is gone", cloud + 1)
        for node in there - set(self._nodes.values()):
            if now - self._greeted.get(node, -_HELLO_AGAIN_S) < _HELLO_AGAIN_S:
                continue
            challenge = secrets.token_bytes(32)
            slip = Slip("hello", {"challenge": challenge, "clouds": self._clouds})
            name = self._push(node, HELLO_ACTION, slip)
            if name is not None:
                self._asked[name] = (node, challenge)
                self._greeted[node] = now

    def _hear(self) -> None:
        for message in self._pull(list(self._asked)):
            node, challenge = self._asked.pop(message.metadata.reply_to_message_id)
            answer = _answer(message)
            try:
                if isinstance(answer, Failed):
                    raise RoundError(answer.reason)
                self._introduced(node, challenge, answer)
            except VeilsumError as reason:
                self._strangers[node] = printable(reason)
                LOG.warning("node %d is no cloud: %s", node, self._strangers[node])

    def _introduced(self, node: int, challenge: bytes, answer: Slip) -> None:
        if answer.kind == "refused":
            raise read_refusal(answer.data)
        if answer.kind != "hello":
            raise WireFormatError("it does not say who it is")
        cloud, identity = answer.number("cloud"), answer.fields.get("identity")
        signature = answer.fields.get("signature")
        if not isinstance(identity, bytes) or not isinstance(signature, bytes):
            raise WireFormatError("it proves no identity")
        if cloud >= self._clouds:
            raise RoundError(f"it says that it is cloud {cloud + 1} of {self._clouds}")
        signed = hello_message(challenge, self._training, node, cloud)
        if not PublicIdentity.from_bytes(identity).verify(signature, signed):
            raise RoundError("the signature of its identity does not hold")
        if self._identities.setdefault(cloud, identity) != identity:
            raise RoundError(f"it says that it is cloud {cloud + 1}, whose identity is another")
        self._nodes[cloud] = node
        self._last[cloud] = self._clock()
        LOG.info("cloud %d is node %d", cloud + 1, node)


_HELLO_AGAIN_S = 45.0


def _answer(message: Message) -> Slip | Failed:
    if message.has_error():
        error = message.error
        return Failed(str(error.reason), error.code in _AWAY)
    try:
        return read_slip(message.content)
    except WireFormatError as reason:
        return Failed(str(reason), away=False)
