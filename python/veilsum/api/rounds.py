"""Rounds: the public description of one sum, with the layout of the values it sums.

Layer: Python API, over layout, keys and the core. The core's round knows counts and ranges; the
one here also knows names, shapes and dtypes, which travel inside it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from veilsum import _core
from veilsum.api.plans import Plan
from veilsum.arguments import check_type, check_whole
from veilsum.errors import ParameterError, RoundError, WireFormatError
from veilsum.keys.committee import Committee
from veilsum.keys.group import Group
from veilsum.keys.identity import PublicIdentity, Signer
from veilsum.keys.roster import Roster, public_identity
from veilsum.layout.files import named_errors
from veilsum.layout.tensors import Layout
from veilsum.outputs import open_input

__all__ = ["Round", "TrainingStep", "identities_of", "new_layout", "verifier_of"]

PathLike: TypeAlias = str | os.PathLike[str]

#: Rounds of this process by id, which names all that is in them: so an upload's, a sum's and a
#: key's round are the one that was made or read.
_known: WeakValueDictionary[bytes, Round] = WeakValueDictionary()
#: The same by the digest of the bytes that they were read from: a party reads its round at each
#: step, and all that they say was checked the first time, a roster key by key.
_read: WeakValueDictionary[bytes, Round] = WeakValueDictionary()


class TrainingStep(NamedTuple):
    """Where in a training a round stands.

    A client uploads once, and a member endorses one sum, for each (training, step, purpose).
    """

    training: bytes  #: 32 bytes that name the training
    number: int  #: from 0
    purpose: str  #: what is summed: "update", "statistics", ...; 1 to 64 printable ASCII
    history: bytes  #: 32 bytes: a hash of everything that has steered the clients so far


class Round(_core.Round):
    """The public description of one sum: plan, authority, random seed, ranges, layout, clients.

    Whoever organises a round makes one and hands it to every client, the aggregator and the
    authority. It holds no secret. One round yields one sum; a new sum needs a new round, whose seed
    is drawn anew.

    Attributes
    ----------
    plan : Plan
        The checked parameters.
    public : PublicKey
        The key holder's public key; a `RoundError` where a committee opens.
    committee : Committee or None
        The members, where a committee opens.
    group : (bytes, bytes) or None
        The commitment of the clients' group: the sum has a tag then (`tagged`).
    reader : PublicIdentity or None
        To whom a committee seals its answers, where that is no group.
    step : TrainingStep or None
        Where in a training it stands.
    id : bytes
        32 bytes that name the round.
    size : int
        How many values the round sums.
    segments : list of (int, float)
        Count and limit of each tensor that holds any value.
    min_clients : int
        The authority opens no sum of fewer uploads.
    roster : tuple of PublicIdentity
        The clients; empty when anyone may upload.
    upload_keys, value_blocks, blocks : int
        How many keys an upload has, its blocks of values, and all blocks, with those that only
        check.
    pad_bytes : int
        Bytes of the pads of one upload, when they are made ahead.
    """

    def __init__(
        self,
        plan: Plan,
        authority: _core.PublicKey | Committee,
        *,
        size: int | None = None,
        like: Any = None,
        limit: Any = 1.0,
        min_clients: int = 2,
        roster: Roster | Iterable[PublicIdentity | Signer] | None = None,
        trust_aggregator: bool = False,
        group: tuple[bytes, bytes] | None = None,
        reader: PublicIdentity | Signer | None = None,
        step: TrainingStep | None = None,
    ) -> None:
        """Describe a new sum.

        Parameters
        ----------
        plan : Plan
            The parameters; a public key was made for them.
        authority : PublicKey or Committee
            Who can open the sum: one key holder, by its public key, or the members of a committee,
            which needs a roster, and a reader: `group` or `reader`.
        size : int, optional
            How many values an update has; they come back as a flat vector. Give this or `like`.
        like : array, tensor, mapping of str to array or tensor, or nested lists and mappings
            An example update; sums come back with its names, shapes and dtypes. Only those are
            read: the values stay out of the round. Or a `Layout`.
        limit : float, mapping of str to float, or nested like the update
            Values are clipped to ±limit, after the client's weight, and the clipped ones counted.
            One number, or one for each tensor by name. Finite, above 0, in the unit of the values:
            one step of the quantised values is limit / (2^(value_bits - 1) - 1).
        min_clients : int
            The authority opens no sum of fewer uploads; from 2 to the plan's clients.
        roster : Roster or iterable of PublicIdentity or Identity, optional
            The clients. With it every upload must be signed by one of them; without it the
            aggregator is trusted not to invent clients.
        trust_aggregator : bool
            Engine "openfhe" only: let the authority open an aggregate as it comes. By default it
            wants to see the uploads and sums them itself.
        group : (bytes, bytes), optional
            ``group.commitment`` of the clients' `Group`: the sum gets a tag, and a committee's
            answers are sealed to the clients. Weights are the clients' own then.
        reader : PublicIdentity or Identity, optional
            Of a committee's round without a group: who reads the sum.
        step : TrainingStep, optional
            Where in a training the round stands. Members endorse one sum for each.

        Raises
        ------
        ParameterError
            When an argument is out of range, or not just one of `size` and `like` is given.
        RoundError
            When plan and key are of different engines, or authority, group, reader and weights do
            not go together.
        KeyMismatchError
            When a public key was made for another plan, or lacks parties.
        """
        layout = new_layout(size, like)
        call = "Round(plan, public, size=...)"
        check_type(call, "plan", plan, Plan)
        check_type(call, "authority", authority, _core.PublicKey, _core.Committee)
        super().__init__(
            plan.facts,
            authority,
            layout.segments(limit),
            layout.to_bytes(),
            check_whole("min_clients", min_clients),
            identities_of(roster),
            trust_aggregator=bool(trust_aggregator),
            group=group,
            reader=None if reader is None else public_identity(reader, "reader"),
            step=_step_fields(step),
        )
        if isinstance(authority, _core.PublicKey):
            plan.cipher.check_public_key(plan.parameters, authority)
        self._plan = plan
        self._layout = layout
        self._roster: tuple[PublicIdentity, ...] | None = None
        self._committee: tuple[Committee | None] | None = None
        _known[self.id] = self

    @property
    def plan(self) -> Plan:
        """The checked parameters."""
        return self._plan

    @property
    def layout(self) -> Layout:
        """Names, shapes and dtypes of the values that the round sums."""
        return self._layout

    @property
    def roster(self) -> tuple[PublicIdentity, ...]:
        """The clients, in order; empty when anyone may upload."""
        if self._roster is None:
            self._roster = tuple(PublicIdentity.of_core(one) for one in super().roster)
        return self._roster

    @property
    def committee(self) -> Committee | None:
        """The members, where a committee opens; None where one key holder does."""
        if self._committee is None:
            core = super().committee
            self._committee = (None if core is None else Committee.of_core(core),)
        return self._committee[0]

    @property
    def reader(self) -> PublicIdentity | None:
        """To whom a committee seals its answers; None where that is a group, or nobody."""
        core = super().reader
        return None if core is None else PublicIdentity.of_core(core)

    @property
    def step(self) -> TrainingStep | None:
        """Where in a training the round stands."""
        fields = super().step
        return None if fields is None else TrainingStep(*fields)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Round:
        """Read a round from untrusted bytes.

        Parameters
        ----------
        data : bytes-like
            What `to_bytes` wrote.

        Returns
        -------
        Round
            Equal to the one that was written: the same id.

        Raises
        ------
        WireFormatError
            When the bytes are malformed.
        """
        if type(data) is not bytes:
            return cls.of_core(_core._read_round(data, _facts))
        digest = hashlib.sha256(data).digest()
        found = _read.get(digest)
        if found is None:
            found = _read[digest] = cls.of_core(_core._read_round(data, _facts))
        return found

    @classmethod
    def load(cls, path: PathLike) -> Round:
        """Read a round from a file.

        Parameters
        ----------
        path : str or path
            What `save` wrote.

        Returns
        -------
        Round
            Equal to the one that was saved.

        Raises
        ------
        WireFormatError
            When the content is malformed.
        OSError
            When the file cannot be read.
        """
        with named_errors(path), open_input(path) as file:
            return cls.from_bytes(file.read())

    @classmethod
    def of_core(cls, core: _core.Round) -> Round:
        """Find the round that a core's object belongs to.

        Parameters
        ----------
        core : _core.Round
            As uploads, sums and sum keys have them.

        Returns
        -------
        Round
            The same round, with its plan and layout; itself, when it has them.

        Raises
        ------
        WireFormatError
            When the layout is malformed or does not fit the counts.
        """
        if isinstance(core, cls):
            return core
        known = _known.get(core.id)
        if known is not None:
            return known
        layout = _parse_layout(core.layout_bytes, core.size)
        counts = [count for count, _ in core.segments]
        if counts != [tensor.size for tensor in layout.tensors if tensor.size]:
            raise WireFormatError("the round's layout does not fit its segments")
        plan = Plan.of_facts(core.cipher)
        if core.committee is None:
            plan.cipher.check_public_key(plan.parameters, core.public)
        made = cls.__new__(cls)
        _core.Round.__init__(made, core)
        made._plan = plan
        made._layout = layout
        made._roster = None
        made._committee = None
        _known[made.id] = made
        return made

    def __setattr__(self, name: str, value: object) -> None:
        # A limit or a size that is set would change nothing: they stand in the core's round.
        if not name.startswith("_"):
            raise AttributeError(
                f"a round does not change, so {name} cannot be set; make a new one"
            )
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Callable[[bytes], Round], tuple[bytes]]:
        return Round.from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _core.Round) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        parts = len(self._layout.tensors)
        what = f" in {parts} tensors" if self._layout.named else ""
        return f"<veilsum.Round {self.id.hex()[:16]}: {self.size} values{what}>"


def _step_fields(step: TrainingStep | None) -> tuple[bytes, int, str, bytes] | None:
    return None if step is None else (step.training, step.number, step.purpose, step.history)


def new_layout(size: int | None, like: Any) -> Layout:
    """Lay out a new round, of whichever engine, by its size or by an example.

    Parameters
    ----------
    size : int or None
        How many values an update has.
    like : array, tensor, mapping of str to array or tensor, nested lists and mappings, or None
        An example update, or a `Layout`.

    Returns
    -------
    Layout
        Of the values that the round sums.

    Raises
    ------
    ParameterError
        When not just one of the two is given, or it is out of range.
    """
    if (size is None) == (like is None):
        given = "neither is" if size is None else "both are"
        raise ParameterError(
            f"a round needs either size (a flat vector) or like (an example update), and "
            f"{given} given"
        )
    if isinstance(like, Layout):
        return like
    return Layout.flat(size) if size is not None else Layout.like(like)


def identities_of(
    roster: Roster | Iterable[PublicIdentity | Signer] | None,
) -> list[PublicIdentity]:
    """List the clients of a new round, of whichever engine.

    Parameters
    ----------
    roster : Roster or iterable of PublicIdentity or Signer, or None
        The clients; None where anyone may upload.

    Returns
    -------
    list of PublicIdentity
        In the roster's order; empty for None.

    Raises
    ------
    ParameterError
        When one is no identity, or two have a key in common.
    """
    if roster is None:
        return []
    return list(roster if isinstance(roster, Roster) else Roster(roster))


def _facts(fields: bytes) -> _core.Cipher:
    return Plan.of_fields(fields).facts


@lru_cache(maxsize=16)
def _parse_layout(data: bytes, size: int) -> Layout:
    return Layout.from_bytes(data, size=size)


def verifier_of(rnd: _core.Round) -> Callable[[bytes, bytes, bytes], bool] | None:
    """Choose what the core is to check signatures with.

    Parameters
    ----------
    rnd : Round
        The round.

    Returns
    -------
    callable or None
        `Roster.verify` for a round with a roster, else None.
    """
    return Roster.verify if rnd.roster else None


_core._set_round_type(Round.of_core)
_core._set_signature_check(Roster.verify)


def tag_key_of(rnd: Round, group: Group | None) -> bytes | None:
    """Take the tag key that a round needs from its clients' group.

    Parameters
    ----------
    rnd : Round
        The round.
    group : Group or None
        The clients' keys.

    Returns
    -------
    bytes or None
        Secret; None where the round has no tags.

    Raises
    ------
    ParameterError
        When there is a group and the round has none.
    RoundError
        When the round has a group and there is none.
    KeyMismatchError
        When the round was made for another group.
    """
    if group is not None:
        check_type("group=Group.open(identity, sealed, roster)", "group", group, Group)
    if not rnd.tagged:
        if group is not None:
            raise ParameterError(
                "a group is given, but the round was made without one; make the round with "
                "group=group.commitment, or leave the group out"
            )
        return None
    if group is None:
        raise RoundError(
            "the round has tags, which take its group's keys; pass group=Group.open(identity, "
            "sealed, roster)"
        )
    return group.tag_key_for(rnd)
