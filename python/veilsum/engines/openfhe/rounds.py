"""Rounds of the OpenFHE engine: the public description of one CKKS sum.

Layer: OpenFHE engine, over keys; the same fields and rules as a native round.
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from veilsum.arguments import shown
from veilsum.engines.base import refuse_mixture
from veilsum.engines.openfhe.keys import PublicKey
from veilsum.engines.openfhe.plan import Plan, PublicObject
from veilsum.engines.openfhe.wire import Buffer, Kind, Reader, digest
from veilsum.errors import KeyMismatchError, ParameterError
from veilsum.layout import Layout
from veilsum.roster import Roster, Signer
from veilsum.rounds import new_layout, roster_keys

__all__ = ["Round"]

PathLike: TypeAlias = str | os.PathLike[str]

_SEED_BYTES = 32
_KEY_BYTES = 32


class Round(PublicObject):
    """The public description of one sum: plan, public key, ranges, layout, clients.

    Attributes
    ----------
    plan : Plan
        The checked parameters.
    public : PublicKey
        The authority's public key.
    id : bytes
        32 bytes that name the round.
    min_clients : int
        The authority opens no sum of fewer uploads.
    roster : list of bytes
        The clients' verification keys; empty when anyone may upload.
    trust_aggregator : bool
        Whether the authority opens an aggregate without seeing the uploads.
    """

    __slots__ = (
        "_layout", "_payload", "_segments", "id", "min_clients", "plan", "public", "roster", "seed",
        "trust_aggregator",
    )  # fmt: skip

    _KIND = Kind.ROUND

    def __init__(
        self,
        plan: Plan,
        public: PublicKey,
        *,
        size: int | None = None,
        like: Any = None,
        limit: Any = 1.0,
        min_clients: int = 2,
        roster: Roster | Iterable[bytes | Signer] | None = None,
        trust_aggregator: bool = False,
    ) -> None:
        """Describe a new sum.

        Parameters
        ----------
        plan : Plan
            The parameters that `public` was made for.
        public : PublicKey
            The authority's public key; of several parties, the last one's.
        size : int, optional
            How many values an update has. Give this or `like`.
        like : array, tensor or mapping of str to array or tensor, optional
            An example update; sums come back with its names, shapes and dtypes.
        limit : float or mapping of str to float
            Values are clipped to ±limit, after the client's weight, and the clipped ones counted.
        min_clients : int
            The authority opens no sum of fewer uploads; from 2 to the plan's clients.
        roster : Roster or iterable of bytes, optional
            The clients' Ed25519 verification keys. With it every upload must be signed.
        trust_aggregator : bool
            Let the authority open an aggregate as it comes. By default it wants to see the uploads
            and sums them itself: CKKS has no small capsule to check an aggregate by.

        Raises
        ------
        ParameterError
            When an argument is out of range, or not just one of `size` and `like` is given.
        KeyMismatchError
            When `public` was made for another plan, or lacks parties.
        """
        layout = new_layout(size, like)
        refuse_mixture("openfhe", plan=plan, public_key=public)
        self._fill(
            plan,
            public,
            secrets.token_bytes(_SEED_BYTES),
            layout,
            layout.segments(limit),
            min_clients,
            roster_keys(roster),
            bool(trust_aggregator),
        )

    def _fill(
        self,
        plan: Plan,
        public: PublicKey,
        seed: bytes,
        layout: Layout,
        segments: list[tuple[int, float]],
        min_clients: int,
        roster: list[bytes],
        trust_aggregator: bool,
    ) -> None:
        if public.plan != plan:
            raise KeyMismatchError(
                f"public key {public.id.hex()} was made for another plan; make one with "
                f"keygen(plan)"
            )
        if len(public.chain) != plan.parties:
            raise KeyMismatchError(
                f"public key {public.id.hex()} is of {len(public.chain)} of the plan's "
                f"{plan.parties} parties; use the one that the last party made"
            )
        number: object = min_clients
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not whole or not 2 <= min_clients <= plan.clients:
            raise ParameterError(
                f"min_clients = {shown(min_clients)}; it must be from 2 to the plan's "
                f"{plan.clients} clients: the sum of one upload is that upload"
            )
        if roster:
            Roster(roster)  # here, where every round comes past
        if len(roster) > plan.clients:
            raise ParameterError(
                f"the roster lists {len(roster)} clients, the plan holds {plan.clients}"
            )
        if roster and len(roster) < min_clients:
            raise ParameterError(
                f"the roster lists {len(roster)} clients, fewer than min_clients = {min_clients}"
            )
        plan.upload_bytes(layout.size)  # refuses a size out of range
        self.plan = plan
        self.public = public
        self.seed = seed
        self.min_clients = min_clients
        self.roster = roster
        self.trust_aggregator = trust_aggregator
        self._layout = layout
        self._segments = segments
        described = layout.to_bytes()
        self._payload = b"".join(
            [
                plan.payload(),
                seed,
                struct.pack("<BII", trust_aggregator, min_clients, len(segments)),
                *(struct.pack("<Qd", count, limit) for count, limit in segments),
                struct.pack("<I", len(described)),
                described,
                struct.pack("<I", len(roster)),
                *roster,
                *(bytes(part) for part in public.pieces()),
            ]
        )
        self.id = digest("veilsum/1/openfhe/round", self._payload)

    @property
    def size(self) -> int:
        """How many values the round sums."""
        return self._layout.size

    @property
    def segments(self) -> list[tuple[int, float]]:
        """Count and limit of each tensor that holds any value."""
        return list(self._segments)

    @property
    def layout(self) -> bytes:
        """The layout as it travels."""
        return self._layout.to_bytes()

    @property
    def structure(self) -> Layout:
        """Names, shapes and dtypes of the values that the round sums."""
        return self._layout

    @property
    def blocks(self) -> int:
        """Blocks an upload."""
        return self.plan.blocks(self.size)

    def pieces(self) -> list[Buffer]:
        """Return the fields, in one piece."""
        return [self._payload]

    @classmethod
    def read(cls, reader: Reader) -> Round:
        """Read the fields.

        Parameters
        ----------
        reader : Reader
            Untrusted; holds one round.

        Raises
        ------
        WireFormatError
            When they are malformed.
        """
        plan_bytes = bytes(reader.take(16))
        seed = bytes(reader.take(_SEED_BYTES))
        trust = reader.flag()
        min_clients, count = reader.unpack("II")
        segments = [struct.unpack("<Qd", item) for item in reader.items(count, 16)]
        (length,) = reader.unpack("I")
        described = bytes(reader.take(length))
        (count,) = reader.unpack("I")
        roster = [bytes(item) for item in reader.items(count, _KEY_BYTES)]
        public = PublicKey.read(reader)
        reader.finish()
        if public.plan.payload() != plan_bytes:
            raise reader.error("its key is of another plan")
        layout = Layout.from_bytes(described, size=sum(values for values, _ in segments))
        counts = [tensor.size for tensor in layout.tensors if tensor.size]
        if [values for values, _ in segments] != counts or not all(
            0 < limit < float("inf") for _, limit in segments
        ):
            raise reader.error("its segments do not fit its layout")
        made = cls.__new__(cls)
        try:
            made._fill(public.plan, public, seed, layout, segments, min_clients, roster, trust)
        except (ParameterError, KeyMismatchError) as error:
            raise reader.error(str(error)) from None
        return made

    def __reduce__(self) -> tuple[Callable[[bytes], Round], tuple[bytes]]:
        return Round.from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Round) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<veilsum.Round openfhe {self.id.hex()[:16]}: {self.size} values>"
