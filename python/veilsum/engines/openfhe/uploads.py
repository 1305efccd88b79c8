"""Uploads of the OpenFHE engine: a client's encrypted update.

Layer: OpenFHE engine, over rounds and blocks.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from veilsum import files
from veilsum.arguments import shown
from veilsum.cautions import warn_about_update
from veilsum.engines.base import refuse_mixture
from veilsum.engines.openfhe.backend import Blocks
from veilsum.engines.openfhe.blocks import blocks_digest, read_blocks, write_blocks
from veilsum.engines.openfhe.plan import HALVING, PlanObject
from veilsum.engines.openfhe.rounds import Round
from veilsum.engines.openfhe.wire import Buffer, Kind, Reader, open_envelope, seal
from veilsum.errors import ParameterError, RoundError, WireFormatError
from veilsum.roster import Roster, Signer
from veilsum.weights import check_client_weight

__all__ = ["RoundObject", "Upload", "encrypt"]

PathLike: TypeAlias = str | os.PathLike[str]
Progress: TypeAlias = Callable[[int, int], None]

_SIGNATURE_BYTES = 64
_CHUNK_BLOCKS = 64


Made = TypeVar("Made", bound="RoundObject")


class RoundObject(PlanObject):
    """What belongs to one round and travels: as bytes and in files.

    A subclass gives its kind, its payload in pieces, and how a payload is read.
    """

    __slots__ = ()

    _KIND: ClassVar[Kind]

    @property
    def round(self) -> Round:
        """The round."""
        raise NotImplementedError

    @property
    def round_id(self) -> bytes:
        """The round's id."""
        return self.round.id

    def __reduce__(self) -> tuple[Callable[..., RoundObject], tuple[bytes, Round]]:
        return type(self).from_bytes, (self.to_bytes(), self.round)

    def payload(self) -> list[Buffer]:
        """Return the content in pieces, to be put in an envelope."""
        raise NotImplementedError

    @classmethod
    def read(cls: type[Made], reader: Reader, rnd: Round) -> Made:
        """Read the content.

        Parameters
        ----------
        reader : Reader
            Untrusted.
        rnd : Round
            The round that the object must belong to.
        """
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """Return the object as bytes."""
        return b"".join(seal(self._KIND, self.payload()))

    @classmethod
    def from_bytes(cls: type[Made], data: Buffer, rnd: Round) -> Made:
        """Read an object from untrusted bytes.

        Parameters
        ----------
        data : bytes-like
            What `to_bytes` wrote.
        rnd : Round
            The round it must belong to.

        Raises
        ------
        WireFormatError
            When they are malformed.
        RoundError
            When they are of another round, or break one of its rules.
        """
        refuse_mixture("openfhe", round=rnd)
        return cls.read(open_envelope(data, cls._KIND), rnd)

    def save(self, path: PathLike) -> None:
        """Write the object to a file.

        Parameters
        ----------
        path : str or path
            Its name; an existing file is replaced.
        """
        with files.atomic_file(path) as file:
            for piece in seal(self._KIND, self.payload()):
                file.write(piece)

    @classmethod
    def load(cls: type[Made], path: PathLike, rnd: Round) -> Made:
        """Read an object from a file.

        Parameters
        ----------
        path : str or path
            What `save` wrote.
        rnd : Round
            The round it must belong to.
        """
        return cls.from_bytes(Path(path).read_bytes(), rnd)


class Upload(RoundObject):
    """A client's ciphertexts for one round.

    Attributes
    ----------
    round : Round
        The round it was made for.
    clipped : int
        How many values were clipped.
    client : int or None
        The client's place in the roster.
    """

    __slots__ = ("_blocks", "_digest", "_signature", "client", "clipped", "round")

    _KIND = Kind.UPLOAD

    round: Round

    def __init__(
        self,
        rnd: Round,
        blocks: Blocks,
        clipped: int,
        client: int | None = None,
        signature: bytes = b"",
    ) -> None:
        self.round = rnd
        self.clipped = clipped
        self.client = client
        self._blocks = blocks
        self._signature = signature
        self._digest: bytes | None = None

    @property
    def handle(self) -> Blocks:
        """OpenFHE's ciphertexts."""
        return self._blocks

    @property
    def signed(self) -> bool:
        """Whether there is a signature."""
        return bool(self._signature)

    @property
    def signature(self) -> bytes:
        """The signature, or nothing."""
        return self._signature

    @property
    def blocks_digest(self) -> bytes:
        """32 bytes that name the ciphertexts."""
        if self._digest is None:
            self._digest = blocks_digest(self.round.plan, self._blocks)
        return self._digest

    @property
    def nbytes(self) -> int:
        """Bytes on the wire."""
        return 16 + self._head_bytes() + len(self._blocks) * self.round.plan.block_bytes + 4

    def _head_bytes(self) -> int:
        return 32 + 1 + 8 + 4 + (4 + _SIGNATURE_BYTES if self._signature else 0)

    def openfhe_blocks(self) -> Iterator[bytes]:
        """Return each block in OpenFHE's own binary format, context and all."""
        context = self.round.plan.context
        return (context.block_bytes(self._blocks, index) for index in range(len(self._blocks)))

    def signing_payload(self, rnd: Round, client: int, threads: int = 0) -> bytes:
        """Return what a client signs.

        Parameters
        ----------
        rnd : Round
            The upload's round.
        client : int
            The signer's place in the roster.
        threads : int
            Has no effect.
        """
        _ = threads
        return signing_payload(rnd.id, client, self.clipped, self.blocks_digest)

    def attach_signature(self, client: int, signature: bytes, threads: int = 0) -> None:
        """Put a signature on the upload.

        Parameters
        ----------
        client : int
            The signer's place in the roster.
        signature : bytes
            64 bytes.
        threads : int
            Has no effect.

        Raises
        ------
        ParameterError
            When the signature has another length.
        """
        _ = threads
        if len(signature) != _SIGNATURE_BYTES:
            raise ParameterError(f"a signature of {len(signature)} bytes; Ed25519 gives 64")
        self.client = client
        self._signature = bytes(signature)

    def payload(self) -> list[Buffer]:
        """Return the fields, in pieces."""
        head = self.round.id + struct.pack("<BQ", self.signed, self.clipped)
        if self._signature:
            head += struct.pack("<I", self.client) + self._signature
        head += struct.pack("<I", len(self._blocks))
        return [head, *write_blocks(self.round.plan, self._blocks)]

    @classmethod
    def read(cls, reader: Reader, rnd: Round) -> Upload:
        """Read the fields.

        Parameters
        ----------
        reader : Reader
            Untrusted; holds one upload.
        rnd : Round
            The round that the upload must belong to.

        Raises
        ------
        WireFormatError
            When they are malformed.
        RoundError
            When they are of another round.
        """
        check_round_id(bytes(reader.take(32)), rnd, "upload")
        signed = reader.flag()
        (clipped,) = reader.unpack("Q")
        client, signature = None, b""
        if signed:
            (client,) = reader.unpack("I")
            signature = bytes(reader.take(_SIGNATURE_BYTES))
        if clipped > rnd.size:
            raise reader.error(f"it says that {clipped} of {rnd.size} values were clipped")
        data = take_blocks(reader, rnd, rnd.plan.block_bytes)
        reader.finish()
        blocks = read_blocks(rnd.plan, rnd.public.handle, data, 2, False)
        return cls(rnd, blocks, clipped, client, signature)

    def __repr__(self) -> str:
        return f"<veilsum.Upload openfhe: {len(self._blocks)} blocks for {self.round!r}>"


def encrypt(
    rnd: Round,
    update: Any,
    *,
    weight: float = 1.0,
    rounding: str = "nearest",
    signer: Signer | None = None,
    on_clip: str = "count",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Upload:
    """Encrypt one client's update for a round; as `veilsum.encrypt`.

    CKKS takes real values, so nothing is rounded to a grid: `rounding` is accepted and has no
    effect.

    Parameters
    ----------
    rnd : Round
        The round to take part in.
    update : array, tensor or mapping of str to array or tensor
        Finite values, laid out as the round says.
    weight : float
        Finite and above 0. The values are multiplied by it before they are clipped.
    rounding : {"nearest", "stochastic"}
        Without effect.
    signer : Identity, optional
        Signs the upload; needed when the round has a roster.
    on_clip : {"count", "error"}
        Whether values beyond ±limit are clipped and counted, or refused.
    threads : int, optional
        How many threads to use; all cores by default.
    progress : callable, optional
        Called with (values done, values in all) on this thread; an exception in it cancels.

    Returns
    -------
    Upload
        To be sent to the aggregator.

    Raises
    ------
    ParameterError
        When the update does not fit the round or holds a NaN or an infinity.
    RoundError
        When the round has a roster and there is no signer.
    KeyMismatchError
        When the signer is not in the round's roster.
    """
    # What both engines say about arguments lies with the native calls, which come before this
    # module is loaded.
    from veilsum.crypto import _first_not_finite, client_number, core_threads

    client = client_number(rnd.roster, signer)
    number = core_threads(threads)
    if rounding not in ("nearest", "stochastic"):
        raise ParameterError(
            f"rounding = {shown(rounding)} is unknown; use 'nearest' or 'stochastic'"
        )
    if on_clip not in ("count", "error"):
        raise ParameterError(f"on_clip = {shown(on_clip)} is unknown; use 'count' or 'error'")
    weight = check_client_weight(weight)
    pieces, dtypes = rnd.structure.pieces(update)
    index = _first_not_finite(pieces, dtypes)
    if index is not None:
        raise ParameterError(
            f"{rnd.structure.locate(index)} is not finite (value {index} of the whole update); "
            f"Veilsum sums finite values, and nothing was encrypted"
        )
    plan = rnd.plan
    chunk = _CHUNK_BLOCKS * plan.slots
    clipped = 0
    parts = []
    for start in range(0, rnd.size, chunk):
        stop = min(start + chunk, rnd.size)
        values = np.zeros(plan.blocks(stop - start) * plan.slots)
        clipped += _fill(values, rnd, pieces, dtypes, start, stop, float(weight))
        if clipped and on_clip == "error":
            raise ParameterError(
                f"{clipped} values or more lie beyond ±limit; raise the round's limit, or count "
                f"them with on_clip='count'. Nothing was encrypted"
            )
        parts.append(plan.context.encrypt(rnd.public.handle, values, number))
        if progress is not None:
            progress(stop, rnd.size)
    blocks = parts[0] if len(parts) == 1 else plan.context.join(parts)
    upload = Upload(rnd, blocks, clipped)
    if signer is not None:
        upload.attach_signature(client, signer.sign(upload.signing_payload(rnd, client)))
    warn_about_update(
        rnd,
        rnd.structure,
        pieces,
        dtypes,
        weight=weight,
        rounding=rounding,
        clipped=clipped,
        stacklevel=4,
    )
    return upload


def _fill(
    out: npt.NDArray[np.float64],
    rnd: Round,
    pieces: list[npt.NDArray[Any]],
    dtypes: list[str],
    start: int,
    stop: int,
    weight: float,
) -> int:
    """Put weight * x / limit * HALVING for values start ... stop into `out`; count the clipped."""
    clipped = 0
    first = 0
    limits = iter(rnd.segments)
    for piece, dtype in zip(pieces, dtypes, strict=True):
        if not piece.size:
            continue
        _, limit = next(limits)
        low, high = max(start, first), min(stop, first + piece.size)
        if low < high:
            part = piece[low - first : high - first]
            if dtype == "bfloat16":
                part = (part.astype(np.uint32) << np.uint32(16)).view(np.float32)
            place = out[low - start : high - start]
            np.multiply(part, weight, out=place)
            clipped += int(np.count_nonzero(np.abs(place) > limit))
            np.clip(place, -limit, limit, out=place)
            place *= HALVING / limit
        first += piece.size
    return clipped


def signing_payload(round_id: bytes, client: int, clipped: int, blocks: bytes) -> bytes:
    """Return what a client signs.

    Parameters
    ----------
    round_id : bytes
        Of the round.
    client : int
        Place in the roster.
    clipped : int
        How many values were clipped.
    blocks : bytes
        Digest of the blocks.
    """
    label = b"veilsum/1/openfhe/upload-signature"
    return label + round_id + struct.pack("<IQ", client, clipped) + blocks


def check_signature(
    rnd: Round, client: int | None, clipped: int, blocks: bytes, signature: bytes
) -> None:
    """Check an upload's signature as the round's roster asks.

    Parameters
    ----------
    rnd : Round
        The round.
    client : int or None
        Place in the roster.
    clipped : int
        How many values were clipped, as the client says.
    blocks : bytes
        Digest of the blocks.
    signature : bytes
        Empty when there is none.

    Raises
    ------
    RoundError
        When it is missing or wrong, or the round has no roster to check it with.
    """
    if not rnd.roster:
        if signature:
            raise RoundError("an upload is signed, but the round has no roster to check it with")
        return
    if client is None or not signature:
        raise RoundError(
            f"an upload is not signed, and the round has a roster of {len(rnd.roster)} clients"
        )
    if client >= len(rnd.roster):
        raise RoundError(f"an upload is of client {client}; the roster has {len(rnd.roster)}")
    message = signing_payload(rnd.id, client, clipped, blocks)
    if not Roster.verify(rnd.roster[client], signature, message):
        raise RoundError(
            f"the signature of client {client} is wrong: the upload was changed, or somebody else "
            f"made it"
        )


def check_round_id(found: bytes, rnd: Round, what: str) -> None:
    """Refuse bytes of another round.

    Parameters
    ----------
    found : bytes
        The round that they name.
    rnd : Round
        The round that they must belong to.
    what : str
        What they are.

    Raises
    ------
    RoundError
        When they are of another round.
    """
    if found != rnd.id:
        raise RoundError(
            f"the {what} is of round {found.hex()[:16]}, not of round {rnd.id.hex()[:16]}; only "
            f"uploads of one round can be summed"
        )


def take_blocks(reader: Reader, rnd: Round, size: int) -> memoryview:
    """Read the number of blocks, check it, and return their bytes.

    Parameters
    ----------
    reader : Reader
        At the number.
    rnd : Round
        Whose vector the blocks hold.
    size : int
        Bytes a block.

    Raises
    ------
    WireFormatError
        When there are not as many as the round has.
    """
    (count,) = reader.unpack("I")
    if count != rnd.blocks:
        raise WireFormatError(f"there are {count} blocks; the round's vector has {rnd.blocks}")
    return reader.take(count * size)
