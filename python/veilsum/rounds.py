"""Rounds: the public description of one sum, with the layout of the values it sums.

Layer: Python API, over layout, roster and the core. The core's round knows counts and ranges; the
one here also knows names, shapes and dtypes, which travel inside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TypeAlias

from veilsum import _core
from veilsum.arguments import check_type, check_whole
from veilsum.engines.base import refuse_mixture
from veilsum.errors import ParameterError, WireFormatError
from veilsum.layout import Layout
from veilsum.roster import Roster, Signer

__all__ = ["Round", "layout_of", "new_layout", "roster_keys", "verifier_of"]

PathLike: TypeAlias = str | os.PathLike[str]


class Round(_core.Round):
    """The public description of one sum: plan, public key, random seed, ranges, layout, clients.

    Whoever organises a round makes one and hands it to every client, the aggregator and the
    authority. It holds no secret. One round yields one sum; a new sum needs a new round, whose seed
    is drawn anew.

    Attributes
    ----------
    plan : Plan
        The checked parameters.
    public : PublicKey
        The authority's public key.
    id : bytes
        32 bytes that name the round.
    size : int
        How many values the round sums.
    segments : list of (int, float)
        Count and limit of each tensor that holds any value.
    min_clients : int
        The authority opens no sum of fewer uploads.
    roster : list of bytes
        The clients' verification keys; empty when anyone may upload.
    upload_keys, value_blocks, blocks : int
        How many keys an upload has, its blocks of values, and all blocks, with those that only
        check.
    pad_bytes : int
        Bytes of the pads of one upload, when they are made ahead.
    """

    def __init__(
        self,
        plan: _core.Plan,
        public: _core.PublicKey,
        *,
        size: int | None = None,
        like: Any = None,
        limit: Any = 1.0,
        min_clients: int = 2,
        roster: Roster | Iterable[bytes | Signer] | None = None,
    ) -> None:
        """Describe a new sum.

        Parameters
        ----------
        plan : Plan
            The parameters that `public` was made for.
        public : PublicKey
            The authority's public key.
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
        roster : Roster or iterable of bytes, optional
            The clients' Ed25519 verification keys. With it every upload must be signed by one of
            them; without it the aggregator is trusted not to invent clients.

        Raises
        ------
        ParameterError
            When an argument is out of range, or not just one of `size` and `like` is given.
        RoundError
            When plan and key are of different engines.
        """
        layout = new_layout(size, like)
        refuse_mixture("native", plan=plan, public_key=public)
        call = "Round(plan, public, size=...)"
        check_type(call, "plan", plan, _core.Plan)
        check_type(call, "public", public, _core.PublicKey)
        super().__init__(
            plan,
            public,
            layout.segments(limit),
            layout.to_bytes(),
            check_whole("min_clients", min_clients),
            roster_keys(roster),
        )
        self._structure = layout

    @property
    def structure(self) -> Layout:
        """Names, shapes and dtypes of the values that the round sums."""
        return self._structure

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
        return cls._wrap(_core.Round.from_bytes(data))

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
        return cls._wrap(_core.Round.load(path))

    @classmethod
    def _wrap(cls, core: _core.Round) -> Round:
        layout = layout_of(core)
        made = cls.__new__(cls)
        _core.Round.__init__(made, core)
        made._structure = layout
        return made

    def __reduce__(self) -> tuple[Callable[[bytes], Round], tuple[bytes]]:
        return Round.from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _core.Round) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        parts = len(self._structure.tensors)
        what = f" in {parts} tensors" if self._structure.named else ""
        return f"<veilsum.Round {self.id.hex()[:16]}: {self.size} values{what}>"


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
        given = "neither" if size is None else "both"
        raise ParameterError(
            f"a round needs either size (a flat vector) or like (an example update), and "
            f"{given} is given"
        )
    if isinstance(like, Layout):
        return like
    return Layout.flat(size) if size is not None else Layout.like(like)


def roster_keys(roster: Roster | Iterable[bytes | Signer] | None) -> list[bytes]:
    """List the verification keys of a new round, of whichever engine.

    Parameters
    ----------
    roster : Roster or iterable of bytes or Signer, or None
        The clients' keys; None where anyone may upload.

    Returns
    -------
    list of bytes
        In the roster's order; empty for None.

    Raises
    ------
    ParameterError
        When a key is malformed or there twice.
    """
    if roster is None:
        return []
    return list(roster if isinstance(roster, Roster) else Roster(roster))


def layout_of(rnd: _core.Round) -> Layout:
    """Read the layout out of any round, checked against the core's counts.

    Parameters
    ----------
    rnd : Round
        A round of this package, or one of the core's.

    Returns
    -------
    Layout
        Names, shapes and dtypes.

    Raises
    ------
    WireFormatError
        When the round's layout is malformed or does not fit its counts.
    """
    if isinstance(rnd, Round):
        return rnd.structure
    layout = _parse_layout(rnd.layout, rnd.size)
    counts = [count for count, _ in rnd.segments]
    if counts != [tensor.size for tensor in layout.tensors if tensor.size]:
        raise WireFormatError("the round's layout does not fit its segments")
    return layout


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
