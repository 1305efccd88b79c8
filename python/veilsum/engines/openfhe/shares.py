"""Opening by several parties, each with a key of its own: shares, and the sum key they add up to.

Layer: OpenFHE engine, top. A share is a sum key in the core's eyes, and is opened under the same
rules: the ledger, min_clients, signatures, the sum of the uploads. Its body says that it is one
party's, and so nothing decrypts with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NoReturn, TypeAlias, final

import numpy as np

from veilsum import _core
from veilsum.engines.openfhe.keys import check_secret_key, plan_of
from veilsum.engines.openfhe.opening import WHOLE, Opened, open_blocks, words_of
from veilsum.engines.openfhe.plan import CkksPlan
from veilsum.errors import ParameterError, RoundError, WireFormatError
from veilsum.keys.roster import Roster

__all__ = ["DecryptionShare", "combine_shares", "open_share"]

PathLike: TypeAlias = str | os.PathLike[str]


@final
class DecryptionShare:
    """One party's share of opening an aggregate.

    Attributes
    ----------
    party : int
        The party's number, from 0.
    """

    __slots__ = ("_key", "_opened", "party")

    def __init__(self, key: _core.SumKey, opened: Opened) -> None:
        self._key = key
        self._opened = opened
        self.party = opened.role - 1

    @property
    def key(self) -> _core.SumKey:
        """The share as the core holds it."""
        return self._key

    @property
    def opened(self) -> Opened:
        """Its body."""
        return self._opened

    @property
    def round_id(self) -> bytes:
        """The round's id."""
        return self._key.round_id

    @property
    def count(self) -> int:
        """How many uploads the sum has."""
        return self._key.count

    @property
    def total_weight(self) -> int:
        """The sum of their weights."""
        return self._key.total_weight

    def to_bytes(self) -> bytes:
        """Return the share as bytes."""
        return self._key.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, rnd: _core.Round) -> DecryptionShare:
        """Read a share from untrusted bytes.

        Parameters
        ----------
        data : bytes-like
            What `to_bytes` wrote.
        rnd : Round
            The round it must belong to.

        Raises
        ------
        WireFormatError
            When they are malformed, or a whole sum key.
        RoundError
            When they are of another round.
        """
        return cls.of_key(_core.SumKey.from_bytes(data, rnd), rnd)

    @classmethod
    def of_key(cls, key: _core.SumKey, rnd: _core.Round) -> DecryptionShare:
        """Wrap what the core holds.

        Raises
        ------
        WireFormatError
            When it is malformed, or of no single party.
        """
        opened = Opened.read(plan_of(rnd.cipher), rnd.blocks, key.body)
        if opened.role == WHOLE:
            raise WireFormatError("this is a whole sum key, not one party's share")
        return cls(key, opened)

    def save(self, path: PathLike) -> None:
        """Write the share to a file of mode 0600.

        Parameters
        ----------
        path : str or path
            Its name; an existing file is replaced.
        """
        self._key.save(path)

    @classmethod
    def load(cls, path: PathLike, rnd: _core.Round) -> DecryptionShare:
        """Read a share from a file that nobody else can read.

        Parameters
        ----------
        path : str or path
            What `save` wrote.
        rnd : Round
            The round it must belong to.
        """
        return cls.of_key(_core.SumKey.load(path, rnd), rnd)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a DecryptionShare is a secret of whoever may read the sum and cannot be pickled or "
            "copied; use save(path)"
        )

    def __repr__(self) -> str:
        return (
            f"<DecryptionShare of party {self.party}: {self.count} uploads, round "
            f"{self.round_id.hex()[:16]}>"
        )


def open_share(
    secret: _core.SecretKey,
    rnd: _core.Round,
    total: _core.Aggregate | _core.OpeningRequest,
    *,
    uploads: Iterable[_core.Upload] | None = None,
) -> DecryptionShare:
    """Check an aggregate and make one party's share of opening it.

    Parameters
    ----------
    secret : SecretKey
        The party's key.
    rnd : Round
        The round of the aggregate.
    total : Aggregate or OpeningRequest
        What the aggregator made.
    uploads : iterable of Upload, optional
        What the aggregate was summed from, in its order; not needed with an opening request that
        has them, or in a round that trusts its aggregator.

    Returns
    -------
    DecryptionShare
        Of this aggregate. A second call gives the same share; after a restart it is refused,
        because two shares of one aggregate would let their noise be averaged away.

    Raises
    ------
    ParameterError
        When the round's key has one holder.
    KeyMismatchError
        When the party's key is no part of the round's, or was made for another plan.
    RoundError
        When a rule of the round is broken; see `veilsum.open_sum`.
    """
    plan = plan_of(rnd.cipher)
    if plan.parties == 1:
        raise ParameterError("the round's key has one holder, who opens with veilsum.open_sum")
    if isinstance(total, _core.OpeningRequest):
        request = total
    else:
        request = total.opening_request(None if uploads is None else list(uploads))
    check_secret_key(plan, secret)
    parties = [*rnd.public.parts, rnd.public.id]
    # A key that is no part of the round's is the core's to refuse.
    party = parties.index(secret.id) if secret.id in parties else 0
    key = _core.open_sum(
        secret,
        rnd,
        request,
        open=lambda body, blocks: open_blocks(plan, body, blocks, 1 + party),
        verify=Roster.verify if rnd.roster else None,
    )
    return DecryptionShare.of_key(key, rnd)


def combine_shares(rnd: _core.Round, shares: Iterable[DecryptionShare]) -> _core.SumKey:
    """Join all parties' shares of one aggregate into its sum key.

    Parameters
    ----------
    rnd : Round
        The round.
    shares : iterable of DecryptionShare
        One of each party.

    Returns
    -------
    SumKey
        Decrypts the aggregate.

    Raises
    ------
    RoundError
        When a party is missing or there twice, or the shares are of different aggregates or of
        another round, or do not say the same count and weight.
    WireFormatError
        When a residue is not below its prime.
    """
    plan = plan_of(rnd.cipher)
    items = sorted(shares, key=lambda share: share.party)
    if [share.party for share in items] != list(range(plan.parties)):
        raise RoundError(
            f"shares of parties {[share.party for share in items]}; a sum key takes one of each of "
            f"the {plan.parties}"
        )
    first = items[0]
    for share in items:
        if share.round_id != rnd.id:
            raise RoundError(
                f"the share of party {share.party} is of round {share.round_id.hex()[:16]}, not of "
                f"round {rnd.id.hex()[:16]}"
            )
        if _named(share) != _named(first):
            raise RoundError(
                "the shares are of different aggregates, or do not say the same of one; open one "
                "and the same"
            )
    body = Opened(first.opened.digest, WHOLE, _add(plan, [share.opened for share in items]))
    return _core.make_sum_key(
        rnd, first.key.manifest, first.count, first.total_weight, body.to_bytes()
    )


def _named(share: DecryptionShare) -> tuple[bytes, int, int, bytes]:
    """Say what a share opens, as far as it tells."""
    key = share.key
    return key.manifest, key.count, key.total_weight, share.opened.digest


def _add(plan: CkksPlan, shares: list[Opened]) -> memoryview:
    """Add residues, each below its prime of at most 60 bits."""
    primes = np.array(plan.context.moduli, dtype=np.uint64)[None, :, None]
    total = np.zeros(1, dtype=np.uint64)
    for share in shares:
        rows = words_of(share.words).reshape(-1, plan.limbs, plan.ring_degree)
        if (rows >= primes).any():
            raise WireFormatError(
                f"the share of party {share.role - 1} is malformed: a residue is not below its "
                f"prime"
            )
        total = (total + rows) % primes
    return memoryview(total.astype("<u8", copy=False).tobytes())
