"""What steered a training so far, as one digest that every round names.

Protocol, bottom. Clouds encrypt together only where all that steers them was the same, in
the order in which it took effect. So each keeps a chain of digests, h_(i+1) = H(h_i, record), with
one record an opened sum or skipped step; a round names the head (`Place`), and a cloud
encrypts only for a round that names its own. Two clouds that were told different things, or the
same in another order, have different heads from then on: no round is common to both, and their
uploads never sum. What is in a record is computed here from bytes and arrays; this module knows
no model, no round and no key.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import shown
from veilsum.errors import ParameterError, RoundError

State: TypeAlias = Mapping[str, NDArray[Any]]
"""What steers a participant, or a part of it: named arrays, numbers as arrays of one."""

STATISTICS = "statistics"
"""Purpose of the one sum of step 0: preprocessing statistics."""

SHARES = "shares"
"""Purpose of a pass of agreeing on shares is this, a dot and the pass's number in its step."""

MASK = "mask"
"""Purpose of a sum of sensitivities."""

UPDATES = "updates"
"""Purpose of the sum of updates, which ends a step."""

SKIPPED = "skipped"
"""Stands in a record for the manifest of a step that ended without a sum."""

TRAINING_BYTES = 32
"""Length of a training's id."""

_CHAIN = b"veilsum/2/training-history"
_STATE = b"veilsum/2/training-state"
_LOST = b"veilsum/2/training-lost"
_NOTHING = bytes(32)
_LENGTH = struct.Struct("<Q")


def _digest(label: bytes, *parts: bytes | memoryview) -> bytes:
    """SHA-256 of parts, each with its length before it, so that no two lists read the same."""
    whole = hashlib.sha256()
    for part in (label, *parts):
        whole.update(_LENGTH.pack(len(part)))
        whole.update(part)
    return whole.digest()


def digest_state(state: State) -> bytes:
    """Return the digest of named arrays: names, types, shapes and every bit of every value.

    Parameters
    ----------
    state : mapping of str to ndarray
        In any order; names differ.
    """
    parts: list[bytes | memoryview] = []
    for name in sorted(state):
        array = np.asarray(state[name])
        flat = np.ascontiguousarray(array.reshape(-1), dtype=array.dtype.newbyteorder("<"))
        parts += [name.encode(), flat.dtype.str.encode(), repr(array.shape).encode()]
        parts.append(flat.view(np.uint8).data)
    return _digest(_STATE, *parts)


@dataclass(frozen=True)
class Genesis:
    """What is fixed before the first sum; its digest is the first head.

    Parameters
    ----------
    training : bytes
        32 bytes that name the training, drawn by whoever calls it together.
    configuration : mapping
        What all participants configured alike, as JSON can hold it.
    roster : sequence of bytes
        Verification keys of all clouds, in order.
    plans, authority : sequence of bytes
        Plans of the sums, and the public keys that they are opened under, in the same order.
    threshold : int
        How many of the authority must agree to open: 1 for a key holder.
    min_clients : int
        Fewest clouds whose sum may be opened.
    group : sequence of bytes
        Commitments to keys that only the clouds have; empty without any.
    initial : bytes
        Digest of what each starts from.
    """

    training: bytes
    configuration: Mapping[str, Any]
    roster: Sequence[bytes]
    plans: Sequence[bytes]
    authority: Sequence[bytes]
    threshold: int
    min_clients: int
    group: Sequence[bytes]
    initial: bytes

    def __post_init__(self) -> None:
        if len(self.training) != TRAINING_BYTES:
            raise ParameterError(
                f"a training's id has {shown(len(self.training))} bytes; it is {TRAINING_BYTES} "
                "random bytes, the same for all clouds"
            )

    @property
    def digest(self) -> bytes:
        """32 bytes: the head before anything was summed."""
        lists = (self.roster, self.plans, self.authority, self.group)
        numbers = struct.pack("<QQ", self.threshold, self.min_clients)
        text = json.dumps(self.configuration, sort_keys=True, separators=(",", ":"))
        return _digest(
            _CHAIN,
            self.training,
            text.encode(),
            *(_digest(_CHAIN, *items) for items in lists),
            numbers,
            self.initial,
        )


@dataclass(frozen=True)
class Record:
    """One link: what was summed, skipped or lost, what it opened, and what everybody holds since.

    Parameters
    ----------
    step : int
        The training round, from 1; 0 for the statistics before it.
    purpose : str
        Of the sum.
    round_id : bytes
        Of the sum; zeros for a skipped step.
    manifest : bytes
        Digest of who is in the sum and what they declared; `SKIPPED` for a skipped step.
    opened : bytes
        Digest of what the sum opened to, or of the verdict on one that was lost; zeros for a
        skipped step.
    state : bytes
        Digest of the state after it.
    """

    step: int
    purpose: str
    round_id: bytes
    manifest: bytes
    opened: bytes
    state: bytes

    def after(self, head: bytes) -> bytes:
        """Return the head that this record makes of the one before it.

        Parameters
        ----------
        head : bytes
            Before the record.
        """
        return _digest(
            _CHAIN,
            head,
            _LENGTH.pack(self.step),
            self.purpose.encode(),
            self.round_id,
            self.manifest,
            self.opened,
            self.state,
        )


@dataclass(frozen=True)
class Place:
    """Where in a training a sum stands: all that its round names of the history.

    Parameters
    ----------
    step : int
        The training round; 0 for the statistics.
    purpose : str
        Of the sum.
    head : bytes
        Of the history, 32 bytes.
    """

    step: int
    purpose: str
    head: bytes


class History:
    """One participant's chain, and where in the training it has come to.

    Step 0 ends with the statistics. Each later step has any number of passes of shares, at most
    one mask, and ends with a sum of updates or is skipped. Each purpose occurs once a step.

    Parameters
    ----------
    start : Genesis
        What is fixed before the first sum.
    """

    def __init__(self, start: Genesis) -> None:
        self._head = self._base = start.digest
        self._step = 0
        self._done: set[str] = set()
        self._taken = 0

    @property
    def taken(self) -> int:
        """How many sums were taken in or skipped since the training began."""
        return self._taken

    @property
    def head(self) -> bytes:
        """32 bytes that name all that was summed and skipped so far, and what came of it."""
        return self._head

    @property
    def base(self) -> bytes:
        """The head when the present step began: the model that its training starts from."""
        return self._base

    @property
    def step(self) -> int:
        """The step that is open: 0 before the statistics, then the training round."""
        return self._step

    @property
    def passes(self) -> int:
        """How many passes of shares the present step has had."""
        return sum(purpose.startswith(SHARES) for purpose in self._done)

    @property
    def sums(self) -> int:
        """How many sums the present step has had."""
        return len(self._done)

    def had(self, purpose: str) -> bool:
        """Return whether the present step has had a sum.

        Parameters
        ----------
        purpose : str
            Of the sum.
        """
        return purpose in self._done

    def place(self, purpose: str) -> Place:
        """Return what the round of the next sum names.

        Parameters
        ----------
        purpose : str
            Of the sum; `SHARES` stands for the next pass.

        Raises
        ------
        veilsum.RoundError
            When the present step has none of it, or has had it.
        """
        if purpose == SHARES:
            purpose = f"{SHARES}.{self.passes + 1}"
        if (purpose == STATISTICS) != (self._step == 0):
            raise RoundError(
                f"the training has come to round {self._step}, which sums no {shown(purpose)}; "
                "statistics come first, and once"
            )
        if purpose in self._done:
            raise RoundError(
                f"the sum {shown(purpose)} of round {self._step} was taken in before; once is all"
            )
        return Place(self._step, purpose, self._head)

    def append(
        self, place: Place, round_id: bytes, manifest: bytes, opened: bytes, state: bytes
    ) -> None:
        """Take an opened sum in.

        Parameters
        ----------
        place : Place
            What its round names.
        round_id, manifest, opened, state : bytes
            As in `Record`.

        Raises
        ------
        veilsum.RoundError
            When the sum does not follow from this history.
        """
        if place != self.place(SHARES if place.purpose.startswith(SHARES) else place.purpose):
            raise RoundError("the sum belongs to another history than the cloud's own")
        self._link(Record(place.step, place.purpose, round_id, manifest, opened, state))

    def skip(self, state: bytes) -> None:
        """Take note that the present step ended without a sum of updates.

        Parameters
        ----------
        state : bytes
            Digest of the state after it.

        Raises
        ------
        veilsum.RoundError
            When no training round is open: statistics cannot be skipped.
        """
        if self._step == 0:
            raise RoundError("the statistics come before any round; they cannot be skipped")
        skipped = SKIPPED.encode()
        self._link(Record(self._step, UPDATES, _NOTHING, skipped, _NOTHING, state))

    def lose(self, round_id: bytes, manifest: bytes, verdict: bytes, state: bytes) -> None:
        """Take note that the present step ended with a sum that no answers open.

        Parameters
        ----------
        round_id, manifest : bytes
            As in `Record`; the sum may be any of the step.
        verdict : bytes
            The verdict on the sum: who was told another one goes another way.
        state : bytes
            As in `Record`.

        Raises
        ------
        veilsum.RoundError
            When no training round is open: a training whose statistics are lost is over.
        """
        if self._step == 0:
            raise RoundError(
                "the statistics come before any round, and are encrypted once; a training whose "
                "statistics are lost is over"
            )
        lost = _digest(_LOST, verdict)
        self._link(Record(self._step, UPDATES, round_id, manifest, lost, state))

    def _link(self, record: Record) -> None:
        self._head = record.after(self._head)
        self._taken += 1
        self._done.add(record.purpose)
        if record.purpose in (STATISTICS, UPDATES):
            self._step += 1
            self._base = self._head
            self._done = set()
