"""Opening a CKKS sum: what the authority checks, decryption shares, sum keys, decryption.

Layer: OpenFHE engine, top. A share is s * c1 + noise for each block of one aggregate, with noise
far wider than the sum's own; a sum key is the sum of all parties' shares. It decrypts that
aggregate and nothing else: without its c0 it says nothing, and no other aggregate has that c1.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from veilsum import files
from veilsum.cautions import check_reach, warn_about_sum
from veilsum.engines.base import refuse_mixture
from veilsum.engines.openfhe.backend import Blocks
from veilsum.engines.openfhe.blocks import read_blocks, write_blocks
from veilsum.engines.openfhe.keys import SecretKey
from veilsum.engines.openfhe.plan import HALVING
from veilsum.engines.openfhe.rounds import Round
from veilsum.engines.openfhe.sums import Aggregate, Manifest, sum_blocks
from veilsum.engines.openfhe.uploads import RoundObject, Upload, check_round_id, take_blocks
from veilsum.engines.openfhe.wire import Buffer, Kind, Reader
from veilsum.errors import HeadroomError, KeyMismatchError, ParameterError, RoundError

__all__ = [
    "DecryptionShare",
    "OpeningRequest",
    "SumKey",
    "combine_shares",
    "decrypt",
    "open_share",
    "open_sum",
]

PathLike: TypeAlias = str | os.PathLike[str]
Progress: TypeAlias = Callable[[int, int], None]
Made = TypeVar("Made", bound="_Shares")


class OpeningRequest(RoundObject):
    """What an aggregator sends to the authority: an aggregate, and the uploads it was summed from.

    Parameters
    ----------
    total : Aggregate
        What is to be opened.
    uploads : sequence of Upload
        In the order of the aggregate's manifest; none in a round that trusts its aggregator.

    Raises
    ------
    RoundError
        When there are none, and the round does not trust its aggregator.
    """

    __slots__ = ("total", "uploads")

    _KIND = Kind.OPENING_REQUEST

    def __init__(self, total: Aggregate, uploads: Sequence[Upload]) -> None:
        if not uploads and not total.round.trust_aggregator:
            raise RoundError(
                "this aggregate came as bytes, without the uploads it was summed from, and the "
                "authority can only check a CKKS sum by summing the uploads itself: pass them "
                "(open_sum(..., uploads=[...]); veilsum open --uploads ...), or "
                "make the round with trust_aggregator=True"
            )
        self.total = total
        self.uploads = () if total.round.trust_aggregator else tuple(uploads)

    @property
    def round(self) -> Round:
        """The round."""
        return self.total.round

    @property
    def count(self) -> int:
        """How many uploads the sum has."""
        return self.total.count

    @property
    def total_weight(self) -> float:
        """The sum of their weights."""
        return self.total.total_weight

    @property
    def weights(self) -> list[float]:
        """The weight of each upload."""
        return self.total.weights

    @property
    def clients(self) -> list[int | None]:
        """The client of each upload."""
        return self.total.clients

    @property
    def clipped(self) -> list[int]:
        """The clipped values of each upload."""
        return self.total.clipped

    def payload(self) -> list[Buffer]:
        """Return the fields, in pieces: the uploads, or else the aggregate."""
        if not self.uploads:
            return [b"\x00", *self.total.payload()]
        pieces: list[Buffer] = [
            b"\x01" + self.round.id,
            self.total.manifest.payload(),
            struct.pack("<I", len(self.total.handle)),
        ]
        for upload in self.uploads:
            pieces += write_blocks(self.round.plan, upload.handle)
        return pieces

    @classmethod
    def read(cls, reader: Reader, rnd: Round) -> OpeningRequest:
        """Read the fields; the aggregate is summed here, from the uploads.

        Parameters
        ----------
        reader : Reader
            Untrusted.
        rnd : Round
            The round it must belong to.

        Raises
        ------
        WireFormatError
            When they are malformed.
        RoundError
            When they are of another round, or break one of its rules.
        """
        if not reader.flag():
            return cls(Aggregate.read(reader, rnd), ())
        check_round_id(bytes(reader.take(32)), rnd, "opening request")
        manifest = Manifest.read(reader, rnd)
        (count,) = reader.unpack("I")
        if count != rnd.blocks:
            raise reader.error(f"there are {count} blocks; the round's vector has {rnd.blocks}")
        size = count * rnd.plan.block_bytes
        uploads = []
        for entry, data in zip(
            manifest.entries, reader.items(len(manifest.entries), size), strict=True
        ):
            blocks = read_blocks(rnd.plan, rnd.public.handle, data, 2, False)
            uploads.append(Upload(rnd, blocks, entry.clipped, entry.client, entry.signature))
        reader.finish()
        return cls(Aggregate(manifest, sum_blocks(manifest, uploads), uploads), uploads)

    def __repr__(self) -> str:
        return f"<veilsum.OpeningRequest openfhe of {self.count} uploads>"


class _Shares(RoundObject):
    """Shares of one aggregate, one a block: what a party's share and a sum key have in common."""

    __slots__ = ("_blocks", "aggregate", "count", "round", "total_weight")

    round: Round

    def __init__(
        self,
        rnd: Round,
        aggregate: bytes,
        blocks: Blocks,
        count: int,
        total_weight: float,
    ) -> None:
        self.round = rnd
        self.aggregate = aggregate
        self.count = count
        self.total_weight = total_weight
        self._blocks = blocks

    @property
    def handle(self) -> Blocks:
        """OpenFHE's shares."""
        return self._blocks

    def _more(self) -> bytes:
        """Return what a subclass adds to the fields."""
        return b""

    @classmethod
    def _read_more(cls, reader: Reader, rnd: Round) -> tuple[Any, ...]:  # noqa: ARG003
        """Read it: the further arguments of the subclass."""
        return ()

    def payload(self) -> list[Buffer]:
        """Return the fields, in pieces."""
        head = self.round.id + self.aggregate + struct.pack("<Id", self.count, self.total_weight)
        head += self._more() + struct.pack("<BI", self._blocks.rescaled, len(self._blocks))
        return [head, *write_blocks(self.round.plan, self._blocks)]

    @classmethod
    def read(cls: type[Made], reader: Reader, rnd: Round) -> Made:
        """Read the fields.

        Parameters
        ----------
        reader : Reader
            Untrusted.
        rnd : Round
            The round they must belong to.

        Raises
        ------
        WireFormatError
            When they are malformed.
        RoundError
            When they are of another round.
        """
        check_round_id(bytes(reader.take(32)), rnd, cls._KIND.title)
        aggregate = bytes(reader.take(32))
        (count,) = reader.unpack("I")
        if not rnd.min_clients <= count <= rnd.plan.clients:
            raise reader.error(f"it is of a sum of {count} uploads")
        weight = reader.positive()
        more = cls._read_more(reader, rnd)
        rescaled = reader.flag()
        data = take_blocks(reader, rnd, 8 * rnd.plan.words(1, rescaled=rescaled))
        reader.finish()
        blocks = read_blocks(rnd.plan, rnd.public.handle, data, 1, rescaled)
        return cls(rnd, aggregate, blocks, count, weight, *more)

    def save(self, path: PathLike) -> None:
        """Write it to a file of mode 0600: with the aggregate, it shows the sum.

        Parameters
        ----------
        path : str or path
            Its name; an existing file is replaced.
        """
        files.write_secret(path, self.to_bytes(), overwrite=True)

    @classmethod
    def load(cls: type[Made], path: PathLike, rnd: Round) -> Made:
        """Read it from a file that nobody else can read.

        Parameters
        ----------
        path : str or path
            What `save` wrote.
        rnd : Round
            The round it must belong to.
        """
        return cls.from_bytes(files.read_secret(path), rnd)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} is a secret of whoever may read the sum and cannot be "
            f"pickled or copied; use save(path)"
        )

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<veilsum.{name} openfhe of {self.count} uploads, round {self.round.id.hex()[:16]}>"


class SumKey(_Shares):
    """Decrypts one aggregate and nothing else."""

    __slots__ = ()

    _KIND = Kind.SUM_KEY

    @property
    def exportable(self) -> bool:
        """Always true: it holds nothing of any single upload, whatever the weights."""
        return True


class DecryptionShare(_Shares):
    """One party's share of opening an aggregate.

    Attributes
    ----------
    party : int
        The party's number, from 0.
    """

    __slots__ = ("party",)

    _KIND = Kind.DECRYPTION_SHARE

    def __init__(
        self, rnd: Round, aggregate: bytes, blocks: Blocks, count: int, weight: float, party: int
    ) -> None:
        super().__init__(rnd, aggregate, blocks, count, weight)
        self.party = party

    def _more(self) -> bytes:
        return bytes([self.party])

    @classmethod
    def _read_more(cls, reader: Reader, rnd: Round) -> tuple[Any, ...]:
        (party,) = reader.unpack("B")
        if party >= rnd.plan.parties:
            raise reader.error(f"it is of party {party}; the plan has {rnd.plan.parties}")
        return (party,)


def open_share(
    secret: SecretKey,
    rnd: Round,
    total: Aggregate | OpeningRequest,
    *,
    uploads: Iterable[Upload | PathLike] | None = None,
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
    uploads : iterable of Upload or path, optional
        What the aggregate was summed from, where `total` came as bytes; in its order.

    Returns
    -------
    DecryptionShare
        Of this aggregate. A second call gives the same share; after a restart it is refused,
        because two shares of one aggregate would let their noise be averaged away.

    Raises
    ------
    KeyMismatchError
        When the round was made for another key.
    RoundError
        When the aggregate sums fewer than the round's min_clients, is not the sum of the uploads,
        has a bad signature, or when the round was opened before.
    """
    refuse_mixture("openfhe", round=rnd, secret_key=secret, aggregate=total)
    if not isinstance(secret, SecretKey):
        raise ParameterError(f"secret is a {type(secret).__qualname__}; pass a SecretKey")
    secret.check(rnd.public)
    request = total
    if isinstance(total, Aggregate):
        given = total.uploads if uploads is None else _read_uploads(rnd, uploads)
        request = OpeningRequest(total, given)
    if not isinstance(request, OpeningRequest):
        raise ParameterError(f"total is a {type(total).__qualname__}; pass an Aggregate")
    aggregate = request.total
    check_round_id(aggregate.round_id, rnd, "aggregate")
    if aggregate.count < rnd.min_clients:
        raise RoundError(
            f"the aggregate sums {aggregate.count} uploads; the round asks for at least "
            f"{rnd.min_clients}"
        )
    if not rnd.trust_aggregator:
        _check_sum(aggregate, request.uploads)

    def make() -> DecryptionShare:
        blocks = rnd.plan.context.share(secret.handle, aggregate.handle)
        return DecryptionShare(
            rnd, aggregate.digest, blocks, aggregate.count, aggregate.total_weight, secret.party
        )

    share: DecryptionShare = secret.open_once(rnd.id, aggregate.digest, make)
    return share


def _read_uploads(rnd: Round, uploads: Iterable[Upload | PathLike]) -> list[Upload]:
    return [item if isinstance(item, Upload) else Upload.load(item, rnd) for item in uploads]


def _check_sum(total: Aggregate, uploads: Sequence[Upload]) -> None:
    """Refuse an aggregate that is not the sum of these uploads as its manifest says."""
    entries = total.manifest.entries
    if [entry.blocks for entry in entries] != [upload.blocks_digest for upload in uploads]:
        raise RoundError(
            f"the {len(uploads)} uploads are not the {len(entries)} that the aggregate lists, in "
            f"its order; nothing was opened"
        )
    again = Aggregate(total.manifest, sum_blocks(total.manifest, uploads))
    if again.digest != total.digest:
        raise RoundError(
            "the aggregate is not the sum of its uploads: it was damaged, or the aggregator lies; "
            "nothing was opened"
        )


def combine_shares(rnd: Round, shares: Iterable[DecryptionShare]) -> SumKey:
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
        When a party is missing or there twice, or the shares are of different aggregates.
    """
    items = sorted(shares, key=lambda share: share.party)
    if [share.party for share in items] != list(range(rnd.plan.parties)):
        raise RoundError(
            f"shares of parties {[share.party for share in items]}; a sum key takes one of each of "
            f"the {rnd.plan.parties}"
        )
    first = items[0]
    for share in items:
        check_round_id(share.round_id, rnd, "decryption share")
        if share.aggregate != first.aggregate:
            raise RoundError("the shares are of different aggregates; open one and the same")
    blocks = rnd.plan.context.add_shares([share.handle for share in items])
    return SumKey(rnd, first.aggregate, blocks, first.count, first.total_weight)


def open_sum(
    secret: SecretKey,
    rnd: Round,
    total: Aggregate | OpeningRequest,
    *,
    export: bool = False,
    uploads: Iterable[Upload | PathLike] | None = None,
) -> SumKey:
    """Open an aggregate, for an authority of one party; as `veilsum.open_sum`.

    Parameters
    ----------
    secret : SecretKey
        The authority's key.
    rnd : Round
        The round of the aggregate.
    total : Aggregate or OpeningRequest
        What the aggregator made.
    export : bool
        Without effect: this engine's sum keys hold nothing of single uploads.
    uploads : iterable of Upload or path, optional
        What the aggregate was summed from, where `total` came as bytes.

    Returns
    -------
    SumKey
        Decrypts this aggregate and nothing else.

    Raises
    ------
    ParameterError
        When the key is shared by several parties.
    KeyMismatchError
        When the round was made for another key.
    RoundError
        When a rule of the round is broken; see `open_share`.
    """
    _ = export
    refuse_mixture("openfhe", round=rnd, secret_key=secret, aggregate=total)
    if rnd.plan.parties != 1:
        raise ParameterError(
            f"{rnd.plan.parties} parties share this key: each calls "
            f"veilsum.engines.openfhe.open_share, and combine_shares joins what they give"
        )
    return combine_shares(rnd, [open_share(secret, rnd, total, uploads=uploads)])


def decrypt(
    key: SumKey,
    total: Aggregate,
    *,
    average: bool = True,
    dtype: str | None = None,
    output: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    out: npt.NDArray[Any] | None = None,
) -> Any:
    """Decrypt a sum; as `veilsum.decrypt`.

    CKKS is approximate: the error is at most `plan.error_bound` times the limit for a sum, divided
    by the number of uploads for their mean, and `plan.weighted_error` times the limit for a mean
    with weights of the aggregator's. Everybody who decrypts with one sum key gets the same values.

    Parameters
    ----------
    key : SumKey
        What `open_sum` gave for this aggregate.
    total : Aggregate
        The encrypted sum.
    average : bool
        Divide by the total weight.
    dtype : {"float32", "float64"}, optional
        One dtype for all values.
    output : {"numpy", "torch"}, optional
        What to make.
    threads : int, optional
        How many threads to use; all cores by default.
    progress : callable, optional
        Called with (values done, values in all) on this thread; an exception in it cancels.
    out : ndarray, optional
        For a sum of a single array: where to put the values.

    Returns
    -------
    ndarray, torch.Tensor or dict of str to ndarray or torch.Tensor
        With the names, shapes and dtypes of the round's layout.

    Raises
    ------
    KeyMismatchError
        When `key` was made for another aggregate.
    HeadroomError
        When the approximation error is too high, naming the parameters.
    RoundError
        When the values lie where no sum of clipped values can lie.
    ParameterError
        When `dtype`, `output` or `out` does not fit.
    """
    from veilsum.crypto import core_threads, output_choice

    refuse_mixture("openfhe", aggregate=total, sum_key=key)
    rnd = total.round
    layout = rnd.structure
    flat_out, made = output_choice(layout, dtype, output, out)
    if key.round_id != rnd.id or key.aggregate != total.digest:
        raise KeyMismatchError(
            "the sum key was made for another aggregate; it decrypts that one and nothing else"
        )
    check_reach(total, layout, dtype if out is None else made, average=average)
    values = flat_out if flat_out is not None else np.empty(rnd.size, dtype=made)
    _decrypt_into(values, key, total, average, core_threads(threads), progress)
    warn_about_sum(total, stacklevel=4)
    if out is not None:
        return out
    return layout.assemble(values, dtype=dtype, library=output)


def _decrypt_into(
    values: npt.NDArray[Any],
    key: SumKey,
    total: Aggregate,
    average: bool,
    threads: int,
    progress: Progress | None,
) -> None:
    rnd = total.round
    plan = rnd.plan
    mean, whole = total.manifest.scale()
    # Clipped values sum to at most their number, and a mean of weights that sum to 1 to at most 1.
    most = 1.0 if total.manifest.weighted else float(total.count)
    bound = plan.weighted_error if total.manifest.weighted else plan.error_bound
    slots = plan.context.decrypt(total.handle, key.handle, threads)
    slots /= HALVING
    # Real values went in: what is imaginary is error, and as wide as that of the real part.
    error = float(np.abs(slots.imag).max())
    if error > bound:
        raise HeadroomError(
            f"the approximation error is too high: {error:.3g} of the limit, where N = "
            f"{plan.ring_degree}, a modulus of {plan.log2_modulus} bits and noise for "
            f"{plan.clients} clients give at most {bound:.3g}. An upload was made up, or a share "
            f"is of another key"
        )
    decrypted = np.ascontiguousarray(slots.real[: rnd.size])
    most += bound
    beyond = np.abs(decrypted) > most
    if beyond.any():
        raise RoundError(
            f"value {int(np.argmax(beyond))} of the sum lies beyond what {total.count} clipped "
            f"updates can give; an upload was made up, or a share is wrong"
        )
    start = 0
    for count, limit in rnd.segments:
        part = decrypted[start : start + count]
        np.multiply(part, limit * (mean if average else whole), out=part)
        start += count
    values[:] = decrypted
    if progress is not None:
        progress(rnd.size, rnd.size)
