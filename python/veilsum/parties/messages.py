"""What parties are asked: one frozen class a request, and their bytes.

Parties, bottom. A request is a verb and its arguments; a reply is bytes that the verb's own party
defines (an upload, an endorsement, or nothing). Whoever carries requests need not understand them.
Everything that is read here may come from a stranger: lengths are checked before they are used.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from veilsum.arguments import shown
from veilsum.errors import WireFormatError

_MAGIC = b"VSRQ\x01"
_LENGTH = struct.Struct("<Q")
_NUMBER = struct.Struct("<q")


@dataclass(frozen=True)
class Introduce:
    """Say who you are; the reply is a public identity."""

    verb: ClassVar[str] = "introduce"


@dataclass(frozen=True)
class MakeGroup:
    """Make the keys that only the clouds of a training have; the reply has them, sealed to each.

    Parameters
    ----------
    training : bytes
        32 bytes that name the training.
    roster : tuple of bytes
        Public identities of all clouds, in order.
    """

    verb: ClassVar[str] = "make_group"
    training: bytes
    roster: tuple[bytes, ...]


@dataclass(frozen=True)
class Join:
    """Fix plans, authority and roster for the whole training; nothing is replied.

    Parameters
    ----------
    training : bytes
        32 bytes that name the training.
    exact_plan, exact_authority, updates_plan, updates_authority : bytes
        Plans, and who opens sums under each.
    roster : tuple of bytes
        Public identities of all clouds, in order.
    group : bytes
        The clouds' shared keys, sealed; empty where one key holder opens.
    """

    verb: ClassVar[str] = "join"
    training: bytes
    exact_plan: bytes
    exact_authority: bytes
    updates_plan: bytes
    updates_authority: bytes
    roster: tuple[bytes, ...]
    group: bytes


@dataclass(frozen=True)
class Propose:
    """Describe the sum that is due; the reply is a `Proposal`.

    Parameters
    ----------
    step : int
        The training round; 0 for the statistics.
    sums : int
        How many sums of this step were opened before: a second request of one step is another one.
    """

    verb: ClassVar[str] = "propose"
    step: int
    sums: int


@dataclass(frozen=True)
class Train:
    """Train on your own rows; nothing is replied.

    Parameters
    ----------
    step : int
        The training round.
    description : bytes
        The round of the updates, if it is known yet, to prepare encryption meanwhile; or empty.
    """

    verb: ClassVar[str] = "train"
    step: int
    description: bytes = b""


@dataclass(frozen=True)
class Contribute:
    """Encrypt your part of a sum; the reply is an upload.

    Parameters
    ----------
    description : bytes
        The round.
    """

    verb: ClassVar[str] = "contribute"
    description: bytes


@dataclass(frozen=True)
class Take:
    """Take in an opened sum; nothing is replied.

    Parameters
    ----------
    description, aggregate, opening : bytes
        The round, the encrypted sum, and what opens it.
    plain : bytes
        Sum of the plain parts; empty where everything is encrypted.
    """

    verb: ClassVar[str] = "take"
    description: bytes
    aggregate: bytes = field(repr=False)
    opening: bytes = field(repr=False)
    plain: bytes = field(default=b"", repr=False)

    @property
    def size(self) -> int:
        """Bytes that travel."""
        parts = (self.description, self.aggregate, self.opening, self.plain)
        return sum(len(part) for part in parts)


@dataclass(frozen=True)
class Skip:
    """Take note that a step ended without a sum; nothing is replied.

    Parameters
    ----------
    step : int
        The training round.
    """

    verb: ClassVar[str] = "skip"
    step: int


@dataclass(frozen=True)
class Enrol:
    """Fix whose sums you open; nothing is replied. For members that are no clouds, and key holders.

    Parameters
    ----------
    training : bytes
        32 bytes that name the training.
    roster : tuple of bytes
        The clouds' public identities, in order.
    min_clients : int
        Fewest clouds whose sum may be opened, at least 2.
    """

    verb: ClassVar[str] = "enrol"
    training: bytes
    roster: tuple[bytes, ...]
    min_clients: int


@dataclass(frozen=True)
class Endorse:
    """Give your word for a sum; the reply is an endorsement.

    Parameters
    ----------
    description, request : bytes
        The round, and the member's request.
    """

    verb: ClassVar[str] = "endorse"
    description: bytes
    request: bytes


@dataclass(frozen=True)
class GiveShare:
    """Give your share of a certified sum's key; the reply is an answer.

    Parameters
    ----------
    description, certificate, request : bytes
        The round, the certificate, and the member's request.
    """

    verb: ClassVar[str] = "answer"
    description: bytes
    certificate: bytes
    request: bytes


@dataclass(frozen=True)
class OpenChallenges:
    """Open the challenges of a spoiled sum's uploads; the reply is a challenge answer.

    Parameters
    ----------
    description, certificate, request : bytes
        The round, the certificate, and the member's request.
    """

    verb: ClassVar[str] = "open_challenges"
    description: bytes
    certificate: bytes
    request: bytes


@dataclass(frozen=True)
class Lose:
    """Take note that a certified sum was lost, and what its verdict says.

    A cloud's reply names the members that the answers convict (`write_convicted`); that of a member
    that is no cloud, who cannot read answers, is empty.

    Parameters
    ----------
    description, verdict : bytes
        The round, and the verdict, which contains the certificate.
    answers : tuple of bytes
        What members answered, for those who read.
    """

    verb: ClassVar[str] = "lose"
    description: bytes
    verdict: bytes
    answers: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Bytes that travel."""
        return len(self.description) + len(self.verdict) + sum(map(len, self.answers))


@dataclass(frozen=True)
class IssueKey:
    """Make a key for a plan; the reply is its public half.

    Parameters
    ----------
    plan : bytes
        The plan.
    """

    verb: ClassVar[str] = "issue_key"
    plan: bytes


@dataclass(frozen=True)
class Open:
    """Open a sum; the reply is its sum key.

    Parameters
    ----------
    description, request : bytes
        The round, and the opening request.
    """

    verb: ClassVar[str] = "open"
    description: bytes
    request: bytes


Request: TypeAlias = (
    Introduce
    | MakeGroup
    | Join
    | Propose
    | Train
    | Contribute
    | Take
    | Skip
    | Enrol
    | Endorse
    | GiveShare
    | OpenChallenges
    | Lose
    | IssueKey
    | Open
)

_KINDS: dict[str, type[Any]] = {
    kind.verb: kind
    for kind in (
        Introduce,
        MakeGroup,
        Join,
        Propose,
        Train,
        Contribute,
        Take,
        Skip,
        Enrol,
        Endorse,
        GiveShare,
        OpenChallenges,
        Lose,
        IssueKey,
        Open,
    )
}


@dataclass(frozen=True)
class Proposal:
    """A proposed round, and what the aggregator must know of it that is not in its description.

    Parameters
    ----------
    description : bytes
        The round.
    plain_values : int
        How many values of each upload travel in the clear.
    """

    description: bytes
    plain_values: int = 0

    def to_bytes(self) -> bytes:
        """Return its bytes."""
        return _NUMBER.pack(self.plain_values) + self.description

    @classmethod
    def from_bytes(cls, data: bytes) -> Proposal:
        """Read it.

        Parameters
        ----------
        data : bytes
            From a client.

        Raises
        ------
        veilsum.WireFormatError
            When it is too short, or the number is below 0.
        """
        if len(data) < _NUMBER.size or (values := _NUMBER.unpack_from(data)[0]) < 0:
            raise WireFormatError(f"a proposal of {len(data)} bytes is malformed")
        return cls(data[_NUMBER.size :], values)


_MEMBER = struct.Struct("<I")


def write_convicted(members: Sequence[int]) -> bytes:
    """Return the bytes of a cloud's reply to `Lose`.

    Parameters
    ----------
    members : sequence of int
        Members that the answers convict, ascending.
    """
    return b"".join(_MEMBER.pack(member) for member in members)


def read_convicted(data: bytes, members: int) -> tuple[int, ...]:
    """Read it.

    Parameters
    ----------
    data : bytes
        From a cloud.
    members : int
        How many the committee has.

    Raises
    ------
    veilsum.WireFormatError
        When it is cut off, or names somebody twice, in no order, or beyond the committee.
    """
    if len(data) % _MEMBER.size:
        raise WireFormatError(f"a list of members of {len(data)} bytes is cut off")
    named = tuple(number for (number,) in _MEMBER.iter_unpack(data))
    if list(named) != sorted(set(named)) or (named and named[-1] >= members):
        raise WireFormatError(
            f"a list of members is not of a committee of {shown(members)}, in order"
        )
    return named


def write_request(request: Request) -> bytes:
    """Return a request's bytes: verb, then each argument, with lengths before them.

    Parameters
    ----------
    request : Request
        Any of this module's requests.
    """
    return b"".join(request_parts(request))


def request_parts(request: Request) -> list[bytes]:
    """Return a request's bytes in pieces, of which the large ones are the request's own.

    Parameters
    ----------
    request : Request
        Any of this module's requests.
    """
    parts = [_MAGIC, *_counted(request.verb.encode())]
    for item in dataclasses.fields(request):
        value = getattr(request, item.name)
        if isinstance(value, int):
            parts.append(_NUMBER.pack(value))
        elif isinstance(value, tuple):
            parts.append(_LENGTH.pack(len(value)))
            for one in value:
                parts += _counted(one)
        else:
            parts += _counted(value)
    return parts


def _counted(data: bytes) -> Iterator[bytes]:
    yield _LENGTH.pack(len(data))
    yield data


def read_request(data: bytes) -> Request:
    """Read a request.

    Parameters
    ----------
    data : bytes
        What `write_request` wrote.

    Raises
    ------
    veilsum.WireFormatError
        When it is malformed, or of no known verb.
    """
    reader = _Reader(data)
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise WireFormatError("these bytes are no request to a party, or of another version")
    verb = reader.counted().decode("ascii", "replace")
    kind = _KINDS.get(verb)
    if kind is None:
        raise WireFormatError(f"a request has the unknown verb {shown(verb)}")
    values: list[Any] = []
    for item in dataclasses.fields(kind):
        if item.type == "int":
            values.append(_NUMBER.unpack(reader.take(_NUMBER.size))[0])
        elif item.type == "bytes":
            values.append(reader.counted())
        else:
            # Each entry has its length at least, so a count beyond the bytes ends early.
            values.append(tuple(reader.counted() for _ in range(reader.length(_LENGTH.size))))
    reader.end()
    made: Request = kind(*values)
    return made


class _Reader:
    """Takes bytes apart, refusing what is longer than they are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise WireFormatError(f"a request of {len(self._data)} bytes is cut off")
        start, self._at = self._at, self._at + count
        return self._data[start : self._at]

    def length(self, width: int = 1) -> int:
        count: int = _LENGTH.unpack(self.take(_LENGTH.size))[0]
        if count * width > len(self._data) - self._at:
            raise WireFormatError(f"a request of {len(self._data)} bytes is cut off")
        return count

    def counted(self) -> bytes:
        return self.take(self.length())

    def end(self) -> None:
        if self._at != len(self._data):
            raise WireFormatError("a request goes on after its last argument")
