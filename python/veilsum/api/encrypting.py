"""A client's step: an array, tensor or structure becomes an upload.

Layer: Python API, over rounds and the core. This module turns what a user has into what the core
takes; the cryptography itself is the core's. Everything long releases the GIL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from veilsum import _core
from veilsum.api import cautions
from veilsum.api.rounds import Round, tag_key_of
from veilsum.api.threads import core_threads
from veilsum.api.weights import check_client_weight, refuse_row_mean
from veilsum.arguments import (
    check_callback,
    check_type,
    shown,
    type_name,
)
from veilsum.engines.base import EncryptOptions, Progress
from veilsum.errors import (
    KeyMismatchError,
    ParameterError,
    RoundError,
    about_update,
)
from veilsum.keys.group import Group
from veilsum.keys.identity import PublicIdentity, Signer

__all__ = [
    "check_signature",
    "client_number",
    "encrypt",
    "encrypt_update",
]


def encrypt(
    rnd: Round,
    update: Any,
    *,
    weight: float = 1.0,
    rounding: str = "nearest",
    signer: Signer | None = None,
    group: Group | None = None,
    on_clip: str = "count",
    threads: int | None = None,
    progress: Progress | None = None,
    pads: _core.PadStore | None = None,
) -> _core.Upload:
    """Encrypt one client's update for a round.

    Every value x is replaced by round(clip(weight * x, ±limit) / step), with the round's limit and
    step = limit / (2^(value_bits - 1) - 1), and the integers are encrypted. Each call draws a
    fresh key from the operating system: encrypting twice gives unrelated uploads.

    Parameters
    ----------
    rnd : Round
        The round to take part in.
    update : array, tensor, mapping of str to array or tensor, or nested lists and mappings
        float32, float64, float16 or bfloat16 values, all finite, NumPy or torch, laid out as the
        round says; for a round made with size=, any shape with that many values. C-contiguous
        arrays and CPU tensors are read in place; strided, byte-swapped and CUDA ones are copied
        once.
    weight : float
        Finite and above 0. The values are multiplied by it before they are clipped. Weights that
        sum to the number of uploads make ``decrypt(..., average=True)`` their weighted mean;
        weights that sum to 1 do the same with ``average=False``, but use less of the range ±limit.
        `RowMean` weighs by rows without any of this.
    rounding : {"nearest", "stochastic"}
        Ties to even, or unbiased by random numbers of the operating system's entropy (better for
        training: small values are not lost on average).
    signer : Identity, optional
        Signs the upload; needed when the round has a roster.
    group : Group, optional
        The clients' keys; needed when the round was made for a group.
    on_clip : {"count", "error"}
        Whether values beyond ±limit are clipped and counted in the upload's `clipped`, or refused.
    threads : int, optional
        How many threads to use; all cores by default. The same for any number.
    progress : callable, optional
        Called with (values done, values in all) on this thread; an exception in it cancels.
    pads : PadStore, optional
        Pads of this round that were made ahead: encrypting with them takes a fraction of the time.
        One upload's pads are used up, also when the encryption fails.

    Returns
    -------
    Upload
        To be sent to the aggregator.

    Raises
    ------
    ParameterError
        When the update does not fit the round, holds a NaN or an infinity (the message says where),
        another argument is out of range, or `RowMean` made the round: its uploads are made by
        ``RowMean(rnd).encrypt(update, rows=...)``. Nothing is encrypted then.
    RoundError
        When the round has a roster and there is no signer, or the pads are of another round or of
        the process that this one was forked from.
    KeyMismatchError
        When the signer is not in the round's roster, or the round was made for another group.

    Warns
    -----
    VeilsumWarning
        When many values were clipped, or became 0 by rounding: more than 1 % of all or of one
        tensor's, or half of those that are not 0.
    """
    check_type("encrypt(rnd, update)", "rnd", rnd, Round)
    refuse_row_mean(rnd.layout, "call RowMean(rnd).encrypt(update, rows=...)")
    return encrypt_update(
        rnd,
        update,
        weight=weight,
        rounding=rounding,
        signer=signer,
        group=group,
        on_clip=on_clip,
        threads=threads,
        progress=progress,
        pads=pads,
    )


def encrypt_update(
    rnd: Round,
    update: Any,
    *,
    weight: float,
    rounding: str,
    signer: Signer | None,
    group: Group | None,
    on_clip: str,
    threads: int | None,
    progress: Progress | None,
    pads: _core.PadStore | None,
) -> _core.Upload:
    """Encrypt for a round of any kind, of which the caller knows that it is the right one.

    Parameters
    ----------
    rnd, update, weight, rounding, signer, group, on_clip, threads, progress, pads
        As in `encrypt`; `rnd` is a round. Warnings are for the caller's caller.

    Returns
    -------
    Upload
        As in `encrypt`.
    """
    factor = check_client_weight(weight)
    if pads is not None:
        check_type("encrypt(rnd, update, pads=...)", "pads", pads, _core.PadStore)
    if rounding not in ("nearest", "stochastic"):
        raise ParameterError(
            f"rounding = {shown(rounding)} is unknown; use 'nearest' or 'stochastic'"
        )
    if on_clip not in ("count", "error"):
        raise ParameterError(f"on_clip = {shown(on_clip)} is unknown; use 'count' or 'error'")
    check_callback("progress", progress)
    client = client_number(rnd.roster, signer)
    pieces, dtypes = rnd.layout.pieces(update)
    plan = rnd.plan
    options = EncryptOptions(
        factor,
        rounding,
        on_clip,
        core_threads(threads),
        progress,
        client=client if rnd.roster else None,
        tag_key=tag_key_of(rnd, group),
    )
    try:
        upload = plan.cipher.encrypt(rnd, plan.parameters, pieces, dtypes, options, pads)
    except ParameterError:
        # The core knows no names: if it met a NaN or an infinity, say where in the user's terms.
        index = _first_not_finite(pieces, dtypes)
        if index is None:
            raise
        raise about_update(
            f"{rnd.layout.locate(index)} is not finite (value {index} of the whole update); "
            f"Veilsum sums finite values, and nothing was encrypted"
        ) from None
    if signer is not None:
        payload = upload.signing_payload(rnd, client, core_threads(threads))
        signature = check_signature(signer, signer.sign(payload))
        upload.attach_signature(client, signature, core_threads(threads))
    cautions.warn_about_update(
        rnd,
        rnd.layout,
        pieces,
        dtypes,
        weight=factor,
        rounding=rounding,
        clipped=upload.clipped,
        stacklevel=4,
    )
    return upload


def client_number(roster: Sequence[PublicIdentity], signer: Signer | None) -> int:
    """Find the signer in the round's roster.

    Parameters
    ----------
    roster : sequence of PublicIdentity
        The round's clients; empty for a round without a roster.
    signer : Identity or None
        Who signs.

    Returns
    -------
    int
        Its place; 0 when there is neither roster nor signer.

    Raises
    ------
    ParameterError
        When there is a signer but no roster.
    RoundError
        When there is a roster but no signer.
    KeyMismatchError
        When the signer is not in the roster.
    """
    if not roster:
        if signer is not None:
            raise ParameterError(
                "a signer is given, but the round has no roster to check signatures with; make the "
                "round with a roster (roster=, --roster), or leave the signer out"
            )
        return 0
    if signer is None:
        raise RoundError(
            f"the round has a roster of {len(roster)} clients, so every upload must be signed; "
            f"pass signer=Identity.load(path), or --identity KEY on the command line"
        )
    if not isinstance(signer, Signer):
        raise ParameterError(
            f"signer is {type_name(signer)}; pass an Identity: Identity.load(path)"
        )
    public = signer.public
    check_type("signer=Identity.load(path)", "signer.public", public, PublicIdentity)
    if public not in roster:
        raise KeyMismatchError(
            f"the signer's identity {public.id.hex()[:16]}... is not one of the {len(roster)} in "
            f"the round's roster; ask whoever made the round to list it"
        )
    return roster.index(public)


def check_signature(signer: Signer, signature: object) -> bytes:
    """Refuse what a signer gave when it cannot be a signature of its identity.

    Parameters
    ----------
    signer : Signer
        Who signed.
    signature : object
        What its `sign` gave.

    Returns
    -------
    bytes
        The signature; whether it holds, whoever receives it checks.

    Raises
    ------
    ParameterError
        When it is no bytes, or of another length than the identity's signatures.
    """
    due = signer.public.signature_bytes
    if not isinstance(signature, (bytes, bytearray)):
        raise ParameterError(f"sign() of the signer gave {type_name(signature)}, not bytes")
    if len(signature) != due:
        raise ParameterError(
            f"sign() of the signer gave {len(signature)} bytes; signatures of its identity have "
            f"{due}"
        )
    return bytes(signature)


def _first_not_finite(pieces: list[npt.NDArray[Any]], dtypes: list[str]) -> int | None:
    """Find the first NaN or infinity; only errors pay for this."""
    start = 0
    for piece, dtype in zip(pieces, dtypes, strict=True):
        for offset in range(0, piece.size, 1 << 20):
            part = piece[offset : offset + (1 << 20)]
            # bfloat16 comes as bits: eight of exponent, all ones for what is not finite.
            bad = part & 0x7F80 == 0x7F80 if dtype == "bfloat16" else ~np.isfinite(part)
            if bad.any():
                return start + offset + int(np.argmax(bad))
        start += piece.size
    return None
