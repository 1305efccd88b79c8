"""`vs.FederatedAverager`: encrypted averaging for people who have a training loop of their own.

Training. `average` plays all parties in one process; `AveragingCloud` and `AveragingServer` are the
same for processes and hosts of their own: bytes in, bytes out, over whatever carries them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import check_whole, counted, shown, type_name
from veilsum.errors import ParameterError, RoundError
from veilsum.keys.identity import Identity
from veilsum.layout.structures import flatten, is_nested, path_name, unflatten
from veilsum.layout.tensors import Layout
from veilsum.learning.provided import ProvidedTask
from veilsum.learning.task import COUNT_LIMIT, FLAG_LIMIT
from veilsum.parties.asking import Ask, Party, Reply
from veilsum.parties.client import Client
from veilsum.parties.coordinator import Coordinator, PlayedRound
from veilsum.parties.key_holder import KeyHolder
from veilsum.parties.member import IndependentMember
from veilsum.parties.messages import write_request
from veilsum.protocol.terms import Terms, read_sections
from veilsum.transport.base import drive
from veilsum.transport.conditions import Reliable
from veilsum.transport.in_process import InProcess

_ROUNDS = 2**31
"""An averager has no last round; privacy with distributed noise needs one, and says so."""


def averaging_terms(
    clouds: int,
    *,
    limit: float = 1.0,
    weigh_by_rows: bool = True,
    seed: int = 0,
    **sections: Mapping[str, Any],
) -> Terms:
    """Return terms for averaging updates: no participation by draw, no server optimiser.

    Parameters
    ----------
    clouds : int
        How many there are.
    limit : float
        Largest absolute value of an update in the first round; above 0. Later ranges follow the
        means that were opened.
    weigh_by_rows : bool
        Clouds count by the rows that they say in each round: one more small encrypted sum a round.
        Otherwise all count the same.
    seed : int
        Of stochastic rounding.
    **sections : mapping
        `aggregation`, `encryption`, `hybrid`, `privacy`: options as `veilsum train` has them.

    Raises
    ------
    veilsum.ParameterError
        When an option is unknown, out of range, or contradicts another.
    """
    made: dict[str, Any] = {name: dict(given) for name, given in sections.items()}
    if "weights" in made.get("aggregation", {}):
        raise ParameterError("aggregation.weights is what weigh_by_rows says; leave it out")
    if made.get("privacy", {}).get("distributed"):
        raise ParameterError(
            "privacy.distributed is accounted for by training rounds, of which an averager knows "
            "nothing; use veilsum.federate or veilsum train"
        )
    if "limit" in made.get("encryption", {}):
        raise ParameterError("encryption.limit follows from limit; give that instead")
    if not 0 < limit < _LARGEST:
        raise ParameterError(f"limit is {shown(limit)}; it must be above 0 and finite")
    # What is encrypted is the update times its weight, which is 1 on average and at most `clouds`.
    first = float(limit) * (clouds if weigh_by_rows else 1)
    made["encryption"] = {**made.get("encryption", {}), "limit": first}
    # Relative weights that clouds turn into shares of each round, by rows alone.
    weights = {"weights": "dynamic", "bandwidth_exponent": 0.0} if weigh_by_rows else {}
    made["aggregation"] = {"weights": "uniform", **made.get("aggregation", {}), **weights}
    return Terms(clouds=clouds, rounds=_ROUNDS, seed=seed, **read_sections(made))


_LARGEST = 1e200


class _Shape:
    """What an update looks like, and the way between it and named float64 arrays.

    Whole numbers and booleans (BatchNorm's counters in a state_dict) are summed as numbers; their
    mean is rounded to the nearest, ties to even, so a boolean is its weighted majority.
    """

    def __init__(self, example: Any) -> None:
        self._whole: dict[str, Any] = {}  # names of whole numbers, with a leaf of their type
        self.layout = Layout.like(self._as_floats(example, note=True))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {_name(one.name): one.shape for one in self.layout.tensors}

    def task(self) -> ProvidedTask:
        """Return the task of one cloud."""
        flags = {name for name, leaf in self._whole.items() if _is_flag(leaf)}
        ranges = {name: FLAG_LIMIT if name in flags else COUNT_LIMIT for name in self._whole}
        return ProvidedTask(self.shapes, ranges)

    def flat(self, update: Any) -> dict[str, NDArray[np.float64]]:
        floats = self._as_floats(update)
        self.layout.check(floats)
        return {
            _name(spec.name): np.asarray(_numpy(leaf), dtype=np.float64).reshape(spec.shape)
            for spec, leaf in zip(self.layout.tensors, self.layout.leaves(floats), strict=True)
        }

    def like(self, mean: Mapping[str, NDArray[np.float64]]) -> Any:
        parts = [mean[_name(spec.name)].ravel() for spec in self.layout.tensors]
        return self._map(self.layout.assemble(np.concatenate(parts)), self._as_whole)

    def _as_floats(self, update: Any, note: bool = False) -> Any:
        """Replace whole numbers and booleans by what the layout has in their place."""

        def convert(name: str, leaf: Any) -> Any:
            if note and _is_whole(leaf):
                self._whole[name] = leaf
            # Whoever agreed on floats is told of whole numbers by the layout's own check.
            return _doubled(leaf) if name in self._whole and _is_number(leaf) else leaf

        return self._map(update, convert)

    def _as_whole(self, name: str, leaf: Any) -> Any:
        example = self._whole.get(name)
        if example is None:
            return leaf
        if _is_flag(example):
            return leaf > 0.5
        return (
            leaf.round().to(example.dtype) if _torch(leaf) else np.rint(leaf).astype(example.dtype)
        )

    @staticmethod
    def _map(update: Any, change: Callable[[str, Any], Any]) -> Any:
        """Apply a function of name and leaf to each leaf, in a structure like the update's."""
        if isinstance(update, Mapping) or is_nested(update):
            named = flatten(update)
            paths = [path for path, _ in named]
            return unflatten(paths, [change(path_name(path), leaf) for path, leaf in named])
        return change("update", update)


def _torch(leaf: Any) -> bool:
    return hasattr(leaf, "is_floating_point")


def _is_number(leaf: Any) -> bool:
    """Return whether it is an array of real numbers."""
    if _torch(leaf):
        return not leaf.is_complex()
    return isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind in "biuf"


def _is_whole(leaf: Any) -> bool:
    if _torch(leaf):
        return not (leaf.is_floating_point() or leaf.is_complex())
    return isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind in "biu"


def _is_flag(leaf: Any) -> bool:
    return str(leaf.dtype).removeprefix("torch.") == "bool"


def _doubled(leaf: Any) -> Any:
    return leaf.double() if _torch(leaf) else np.asarray(leaf, dtype=np.float64)


def _name(name: str) -> str:
    return name or "update"


def _numpy(leaf: Any) -> Any:
    return leaf.detach().cpu().double().numpy() if hasattr(leaf, "detach") else leaf


class FederatedAverager:
    """Averages updates under encryption, with all parties in one process.

    Clouds are the committee, sums carry tags, updates are signed: what `veilsum train` does with
    its own training, for any other. Ranges adapt to the means that were opened.

    Parameters
    ----------
    example : object
        An update, or arrays of its names, shapes and types: a state_dict, NumPy arrays, a list or
        nested mapping of them. Its values are not looked at. Means of whole numbers are rounded to
        the nearest (a change of up to 8,192 a round), booleans become their weighted majority.
    clouds : int
        How many there are: at least 2.
    limit : float
        Largest absolute value of an update in the first round; above 0. Later ranges follow the
        means that were opened.
    weigh_by_rows : bool
        Whether clouds count by their rows.
    seed : int
        Of stochastic rounding.
    **sections : mapping
        Options by section, as `veilsum train` has them:
        `encryption={"authority": "single"}`, `aggregation={"min_clients": 3}`.

    Raises
    ------
    veilsum.ParameterError
        When an option is unknown, out of range, or contradicts another.

    Examples
    --------
    >>> averager = vs.FederatedAverager({"w": np.zeros(3)}, clouds=3)
    >>> updates = [{"w": np.full(3, value)} for value in (0.1, 0.2, 0.3)]
    >>> averager.average(updates, rows=[10, 10, 20])["w"].round(3)
    array([0.225, 0.225, 0.225])
    """

    def __init__(
        self,
        example: Any,
        clouds: int,
        *,
        limit: float = 1.0,
        weigh_by_rows: bool = True,
        seed: int = 0,
        **sections: Mapping[str, Any],
    ) -> None:
        count = check_whole("clouds", clouds)
        terms = averaging_terms(
            count, limit=limit, weigh_by_rows=weigh_by_rows, seed=seed, **sections
        )
        self._terms = terms
        self._shape = _Shape(example)
        self._by_rows = weigh_by_rows
        self._tasks = [self._shape.task() for _ in range(count)]
        self._clients = [Client(i, task, terms) for i, task in enumerate(self._tasks)]
        parties = {Party("cloud", i): one.handle for i, one in enumerate(self._clients)}
        if terms.encryption.authority == "single":
            parties[Party("key holder", 0)] = KeyHolder().handle
        elif terms.encryption.authority == "committee":
            for i in range(terms.members):
                parties[Party("member", i)] = IndependentMember().handle
        self._away = _Away()
        self._transport = InProcess(parties, self._away)
        self._coordinator = Coordinator(terms, time.perf_counter)
        drive(self._coordinator.begin(), self._transport)

    def average(self, updates: Sequence[Any], rows: Sequence[int] | None = None) -> Any:
        """Return the mean of updates, weighted by rows.

        Parameters
        ----------
        updates : sequence
            One a cloud; None for a cloud that is away in this round.
        rows : sequence of int, optional
            Rows of each cloud, at least 1; all count the same by default.

        Returns
        -------
        object
            Like the example: its names, shapes and types.

        Raises
        ------
        veilsum.ParameterError
            When updates or rows are too many or too few, or do not look like the example.
        veilsum.RoundError
            When too few clouds are there, or a party refuses.
        """
        counts = self._counts(updates, rows)
        self._away.clouds = frozenset(i for i, one in enumerate(updates) if one is None)
        for task, update, count in zip(self._tasks, updates, counts, strict=True):
            if update is not None:
                task.provide(self._shape.flat(update), count)
        played = self.last = drive(
            self._coordinator.round(self._coordinator.played + 1), self._transport
        )
        if played.skipped:
            raise RoundError(f"nothing was averaged: {played.skipped}")
        reader = max(self._clients, key=lambda one: one.state.history.taken)
        mean = reader.state.last
        if mean is None:
            raise RoundError("nothing was averaged: no cloud took the sum in")
        return self._shape.like(mean.update)

    def _counts(self, updates: Sequence[Any], rows: Sequence[int] | None) -> Sequence[int]:
        clouds = self._terms.clouds
        if isinstance(updates, Mapping) or len(updates) != clouds:
            raise ParameterError(
                f"updates is {type_name(updates)} of length {shown(len(updates))}; "
                f"give one update for each of the {clouds} clouds, None for one that is away"
            )
        if rows is None:
            return [1] * clouds
        if not self._by_rows:
            raise ParameterError("rows were given, but the averager has weigh_by_rows=False")
        if len(rows) != clouds:
            raise ParameterError(
                f"{counted(len(rows), 'number')} of rows for {clouds} clouds; give one each"
            )
        return rows


class _Away(Reliable):
    """Clouds without an update do not train; they open and take in sums all the same."""

    clouds: frozenset[int] = frozenset()

    def trains(self, client: int, number: int) -> bool:
        """Return whether the cloud has an update.

        Parameters
        ----------
        client, number : int
            Cloud and round.
        """
        del number
        return client not in self.clouds


class AveragingCloud:
    """One cloud of an averager whose clouds are processes of their own.

    Parameters
    ----------
    example : object
        As in `FederatedAverager`; the same at every cloud.
    terms : Terms
        What `averaging_terms` returned; the same everywhere.
    cloud : int
        Its number, from 0.
    identity : Identity, optional
        Its own; a fresh one by default.

    Raises
    ------
    veilsum.ParameterError
        When the cloud's number is not one of the terms'.
    """

    def __init__(
        self, example: Any, terms: Terms, cloud: int, *, identity: Identity | None = None
    ) -> None:
        number = check_whole("cloud", cloud)
        if not 0 <= number < terms.clouds:
            raise ParameterError(f"cloud is {shown(number)}; the terms have {terms.clouds}, from 0")
        self._shape = _Shape(example)
        self._task = self._shape.task()
        self._client = Client(number, self._task, terms, identity=identity)

    def contribute(self, update: Any, rows: int = 1) -> None:
        """Say what the next round sums of this cloud; nothing leaves it yet.

        Parameters
        ----------
        update : object
            Like the example.
        rows : int
            Rows that it comes from; at least 1.

        Raises
        ------
        veilsum.ParameterError
            When it does not look like the example, or a value is not finite.
        """
        self._task.provide(self._shape.flat(update), rows)

    def handle(self, request: bytes) -> bytes:
        """Do what the server asks, and return the reply.

        Parameters
        ----------
        request : bytes
            From the server.

        Raises
        ------
        veilsum.VeilsumError
            When the request is malformed or not as agreed; nothing has changed then.
        """
        return self._client.handle(request)

    def receive(self) -> Any:
        """Return the last mean that was opened, like the example.

        Raises
        ------
        veilsum.RoundError
            When none was.
        """
        mean = self._client.state.last
        if mean is None:
            raise RoundError("no mean was opened yet")
        return self._shape.like(mean.update)


class AveragingServer:
    """The server of an averager whose clouds are processes of their own: it reads nothing.

    Parameters
    ----------
    terms : Terms
        What `averaging_terms` returned; the same everywhere.
    carry : callable
        `carry(party, request)` brings a request to a party (`str(party)` is "cloud 1" and so on)
        and returns its reply, or None when the party is not there. Errors that the party raised may
        be raised again.
    """

    def __init__(self, terms: Terms, carry: Callable[[Party, bytes], bytes | None]) -> None:
        self._coordinator = Coordinator(terms, time.perf_counter)
        self._carry = carry
        drive(self._coordinator.begin(), self)

    def round(self) -> PlayedRound:
        """Play the next round; each cloud that takes part has said what it contributes.

        Returns
        -------
        PlayedRound
            Who was in the sum, bytes and seconds; `skipped` says why there was none.

        Raises
        ------
        veilsum.VeilsumError
            When a party refuses what another sends.
        """
        return drive(self._coordinator.round(self._coordinator.played + 1), self)

    def deliver(self, asks: Sequence[Ask]) -> list[Reply]:
        """Carry requests, one after another.

        Parameters
        ----------
        asks : sequence of Ask
            Requests.
        """
        replies = []
        for ask in asks:
            start = time.perf_counter()
            data = self._carry(ask.party, write_request(ask.request))
            replies.append(Reply(data, seconds=time.perf_counter() - start))
        return replies
