"""Sums of the OpenFHE engine: aggregates, their manifests, and the aggregator.

Layer: OpenFHE engine, over uploads. No key enters here. An aggregate made in this process remembers
its uploads, because the authority wants to sum them itself; one that came as bytes does not.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from veilsum.arguments import shown
from veilsum.engines.base import engine_name, refuse_mixture
from veilsum.engines.openfhe.backend import Blocks
from veilsum.engines.openfhe.blocks import blocks_digest, read_blocks, write_blocks
from veilsum.engines.openfhe.plan import PlanObject
from veilsum.engines.openfhe.rounds import Round
from veilsum.engines.openfhe.uploads import (
    RoundObject,
    Upload,
    check_round_id,
    check_signature,
    take_blocks,
)
from veilsum.engines.openfhe.wire import Buffer, Kind, Reader, digest
from veilsum.errors import HeadroomError, ParameterError, RoundError

__all__ = ["Aggregate", "Aggregator", "Entry", "Manifest", "sum_blocks", "weighted_sum"]

PathLike: TypeAlias = str | os.PathLike[str]

#: An upload that weighs less than this part of the heaviest one counts for nothing in the sum, but
#: would count as a client.
_LEAST_SHARE = 2.0**-20
_SIGNATURE_BYTES = 64
_ENTRY_BYTES = 32 + 8 + 8 + 1


@dataclass(frozen=True)
class Entry:
    """What a manifest says of one upload."""

    blocks: bytes
    weight: float
    clipped: int
    client: int | None
    signature: bytes


class Manifest:
    """Who is in a sum, and how much each counts; checked against the round's rules when made.

    Parameters
    ----------
    rnd : Round
        The round.
    entries : sequence of Entry
        One for each upload.

    Raises
    ------
    RoundError
        When an upload or a client is there twice, or a signature is missing or wrong.
    HeadroomError
        When there are more than the plan holds, or its precision does not allow the weights.
    ParameterError
        When a weight is out of range.
    """

    def __init__(self, rnd: Round, entries: Sequence[Entry]) -> None:
        if not entries:
            raise ParameterError("there are no uploads to sum")
        if len(entries) > rnd.plan.clients:
            raise HeadroomError(
                f"{len(entries)} uploads, but the plan holds {rnd.plan.clients} clients; plan with "
                f"clients = {len(entries)}"
            )
        seen: set[bytes] = set()
        clients: set[int] = set()
        for entry in entries:
            if entry.blocks in seen:
                raise RoundError("an upload is in the sum twice; each counts once")
            seen.add(entry.blocks)
            if entry.client is not None:
                if entry.client in clients:
                    raise RoundError(f"client {entry.client} is in the sum twice; the first counts")
                clients.add(entry.client)
            check_signature(rnd, entry.client, entry.clipped, entry.blocks, entry.signature)
        weights = [entry.weight for entry in entries]
        for index, weight in enumerate(weights):
            if not (math.isfinite(weight) and weight > 0):
                raise ParameterError(
                    f"weight {index} is {shown(weight)}; weights are finite and above 0: leave an "
                    f"upload that is not to count out of the sum"
                )
        if min(weights) < _LEAST_SHARE * max(weights):
            raise ParameterError(
                f"the smallest weight, {min(weights):g}, is less than 2^-20 of the largest, "
                f"{max(weights):g}: the sum would show the others alone"
            )
        self.round = rnd
        self.entries = tuple(entries)
        if self.weighted:
            rnd.plan.check_weighted()

    @property
    def weighted(self) -> bool:
        """Whether the ciphertexts are multiplied by weights: not when those are all the same."""
        return len({entry.weight for entry in self.entries}) > 1

    @property
    def total(self) -> float:
        """The sum of the weights."""
        return math.fsum(entry.weight for entry in self.entries)

    def factors(self) -> list[float]:
        """Return what the ciphertexts are multiplied by: weights that sum to 1, or nothing."""
        return [entry.weight / self.total for entry in self.entries] if self.weighted else []

    def scale(self) -> tuple[float, float]:
        """Return what the decrypted values are multiplied by for the mean, and for the sum."""
        if self.weighted:
            return 1.0, self.total
        return 1 / len(self.entries), self.entries[0].weight

    def payload(self) -> bytes:
        """Return the fields."""
        out = [struct.pack("<I", len(self.entries))]
        for entry in self.entries:
            out.append(entry.blocks + struct.pack("<dQ", entry.weight, entry.clipped))
            out.append(bytes([entry.client is not None]))
            if entry.client is not None:
                out.append(struct.pack("<I", entry.client) + entry.signature)
        return b"".join(out)

    @classmethod
    def read(cls, reader: Reader, rnd: Round) -> Manifest:
        """Read the fields, and check them against the round's rules.

        Parameters
        ----------
        reader : Reader
            Untrusted.
        rnd : Round
            The round.

        Raises
        ------
        WireFormatError
            When they are malformed.
        RoundError
            When they break a rule of the round.
        """
        (count,) = reader.unpack("I")
        if not 1 <= count <= min(rnd.plan.clients, reader.left // _ENTRY_BYTES):
            raise reader.error(f"it lists {count} uploads; the plan holds {rnd.plan.clients}")
        entries = []
        for _ in range(count):
            blocks = bytes(reader.take(32))
            weight = reader.positive()
            (clipped,) = reader.unpack("Q")
            client, signature = None, b""
            if reader.flag():
                (client,) = reader.unpack("I")
                signature = bytes(reader.take(_SIGNATURE_BYTES))
            entries.append(Entry(blocks, weight, clipped, client, signature))
        try:
            return cls(rnd, entries)
        except (ParameterError, HeadroomError) as error:
            raise reader.error(str(error)) from None


class Aggregate(RoundObject):
    """An encrypted sum, with what the authority needs to open it.

    Attributes
    ----------
    manifest : Manifest
        Who is in it.
    uploads : tuple of Upload
        What it was summed from; empty when it came as bytes.
    """

    __slots__ = ("_blocks", "_digest", "manifest", "uploads")

    _KIND = Kind.AGGREGATE

    def __init__(self, manifest: Manifest, blocks: Blocks, uploads: Sequence[Upload] = ()) -> None:
        self.manifest = manifest
        self.uploads = tuple(uploads)
        self._blocks = blocks
        self._digest: bytes | None = None

    @property
    def round(self) -> Round:
        """The round."""
        return self.manifest.round

    @property
    def handle(self) -> Blocks:
        """OpenFHE's ciphertexts."""
        return self._blocks

    @property
    def count(self) -> int:
        """How many uploads."""
        return len(self.manifest.entries)

    @property
    def total_weight(self) -> float:
        """The sum of the weights."""
        return self.manifest.total

    @property
    def weights(self) -> list[float]:
        """The weight of each upload."""
        return [entry.weight for entry in self.manifest.entries]

    @property
    def clients(self) -> list[int | None]:
        """The client of each upload."""
        return [entry.client for entry in self.manifest.entries]

    @property
    def clipped(self) -> list[int]:
        """The clipped values of each upload, as the client says."""
        return [entry.clipped for entry in self.manifest.entries]

    @property
    def digest(self) -> bytes:
        """32 bytes that name the sum: who is in it, and the ciphertexts."""
        if self._digest is None:
            label = "veilsum/1/openfhe/aggregate"
            blocks = blocks_digest(self.round.plan, self._blocks)
            self._digest = digest(label, self.round.id, self.manifest.payload(), blocks)
        return self._digest

    @property
    def nbytes(self) -> int:
        """Bytes on the wire."""
        words = self.round.plan.words(2, rescaled=self.manifest.weighted)
        head = 16 + 32 + len(self.manifest.payload()) + 4
        return head + len(self._blocks) * 8 * words + 4

    def openfhe_blocks(self) -> Iterator[bytes]:
        """Return each block in OpenFHE's own binary format, context and all.

        With `round.public.openfhe_bytes()` this is what it takes to go on computing on the sum with
        OpenFHE. A slot holds value / limit / 2; in a weighted sum that of the mean.
        """
        context = self.round.plan.context
        return (context.block_bytes(self._blocks, index) for index in range(len(self._blocks)))

    def opening_request(self) -> Any:
        """Return what the authority needs to see.

        Unlike the native engine's few kilobytes this is large: all uploads, for the authority to
        sum them itself, or the aggregate alone in a round that trusts its aggregator.
        """
        from veilsum.engines.openfhe.opening import OpeningRequest

        return OpeningRequest(self, self.uploads)

    def payload(self) -> list[Buffer]:
        """Return the fields, in pieces."""
        head = self.round.id + self.manifest.payload() + struct.pack("<I", len(self._blocks))
        return [head, *write_blocks(self.round.plan, self._blocks)]

    @classmethod
    def read(cls, reader: Reader, rnd: Round) -> Aggregate:
        """Read the fields.

        Parameters
        ----------
        reader : Reader
            Untrusted; holds one aggregate.
        rnd : Round
            The round it must belong to.

        Raises
        ------
        WireFormatError
            When they are malformed.
        RoundError
            When they are of another round, or break one of its rules.
        """
        check_round_id(bytes(reader.take(32)), rnd, "aggregate")
        manifest = Manifest.read(reader, rnd)
        rescaled = manifest.weighted
        data = take_blocks(reader, rnd, 8 * rnd.plan.words(2, rescaled=rescaled))
        reader.finish()
        return cls(manifest, read_blocks(rnd.plan, rnd.public.handle, data, 2, rescaled))

    def __repr__(self) -> str:
        return f"<veilsum.Aggregate openfhe of {self.count} uploads>"


def sum_blocks(manifest: Manifest, uploads: Sequence[Upload], threads: int = 0) -> Blocks:
    """Sum uploads as a manifest says; the same ciphertexts whoever does it.

    Parameters
    ----------
    manifest : Manifest
        Who is in the sum.
    uploads : sequence of Upload
        In the manifest's order.
    threads : int
        0 for all cores.
    """
    handles = [upload.handle for upload in uploads]
    return manifest.round.plan.context.sum(handles, manifest.factors(), threads)


def _entry(rnd: Round, upload: object, weight: float) -> Entry:
    if engine_name(upload) != "openfhe":
        refuse_mixture("openfhe", upload=upload)
    if not isinstance(upload, Upload):
        raise ParameterError(f"an upload is a {type(upload).__qualname__}")
    check_round_id(upload.round_id, rnd, "upload")
    return Entry(upload.blocks_digest, weight, upload.clipped, upload.client, upload.signature)


def weighted_sum(
    rnd: Round,
    uploads: Iterable[Upload],
    weights: Sequence[float] | None = None,
    *,
    threads: int | None = None,
) -> Aggregate:
    """Sum uploads without decrypting them; as `veilsum.weighted_sum`.

    Parameters
    ----------
    rnd : Round
        The round of the uploads.
    uploads : iterable of Upload
        At least one, each at most once. With a roster, their signatures are checked.
    weights : sequence of int or float, optional
        Real and above 0, one for each upload. Floats that are all the same become 1 each.
    threads : int, optional
        How many threads to use; all cores by default.

    Returns
    -------
    Aggregate
        The encrypted sum.

    Raises
    ------
    ParameterError
        When a weight is out of range, or there are not as many as uploads.
    HeadroomError
        When the plan holds fewer clients, or its precision does not allow the weights.
    RoundError
        When an upload is of another round or engine, is given twice, or is not signed as the roster
        asks.
    """
    from veilsum.crypto import check_weights, core_threads

    items = list(uploads)
    numbers = [1.0] * len(items)
    if weights is not None:
        given = check_weights(weights)
        if len(given) != len(items):
            raise ParameterError(
                f"there are {len(given)} weights for {len(items)} uploads; give one for each"
            )
        equal = len(set(given)) == 1 and any(isinstance(number, float) for number in given)
        numbers = [1.0 if equal else float(number) for number in given]
    entries = [_entry(rnd, item, number) for item, number in zip(items, numbers, strict=True)]
    manifest = Manifest(rnd, entries)
    return Aggregate(manifest, sum_blocks(manifest, items, core_threads(threads)), items)


class Aggregator(PlanObject):
    """Takes uploads one at a time, as they arrive, and sums them at the end; needs no key.

    It keeps the uploads, which the authority will want to see.

    Parameters
    ----------
    rnd : Round
        The round to sum.
    """

    __slots__ = ("_entries", "_round", "_uploads")

    def __init__(self, rnd: Round) -> None:
        refuse_mixture("openfhe", round=rnd)
        self._round = rnd
        self._uploads: list[Upload] = []
        self._entries: list[Entry] = []

    def add(self, upload: Upload, weight: float = 1, threads: int = 0) -> None:
        """Check an upload and add it.

        Parameters
        ----------
        upload : Upload
            Of this round, not added before.
        weight : float
            Above 0.
        threads : int
            Has no effect.

        Raises
        ------
        RoundError
            When it breaks a rule of the round; the sum is as it was.
        """
        from veilsum.crypto import check_weight

        _ = threads
        # Signatures of the earlier ones were checked when they came.
        entry = _entry(self._round, upload, float(check_weight(weight, self.count)))
        Manifest(self._round, [entry])
        for earlier in self._entries:
            if earlier.blocks == entry.blocks or (
                entry.client is not None and earlier.client == entry.client
            ):
                raise RoundError("this upload's client is in the sum already; the first counts")
        if self.count == self._round.plan.clients:
            raise HeadroomError(
                f"{self.count + 1} uploads, but the plan holds {self._round.plan.clients} clients"
            )
        self._uploads.append(upload)
        self._entries.append(entry)

    @property
    def count(self) -> int:
        """How many uploads were added."""
        return len(self._uploads)

    @property
    def total_weight(self) -> float:
        """The sum of their weights."""
        return math.fsum(entry.weight for entry in self._entries)

    def finish(self) -> Aggregate:
        """Sum what was added.

        Returns
        -------
        Aggregate
            The encrypted sum.

        Raises
        ------
        ParameterError
            When nothing was added.
        """
        manifest = Manifest(self._round, self._entries)
        return Aggregate(manifest, sum_blocks(manifest, self._uploads), self._uploads)
