"""The steps of one encrypted sum: encrypt, sum, open, decrypt.

Layer: Python API, over rounds and the core. This module turns arrays and tensors into what the core
takes and back; the cryptography itself is the core's. Everything long releases the GIL.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from fractions import Fraction
from numbers import Real
from os import PathLike as OsPathLike
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from veilsum import _core
from veilsum.api import cautions
from veilsum.api.plans import Plan
from veilsum.api.rounds import Round, verifier_of
from veilsum.api.weights import check_client_weight, fit_weights, refuse_row_mean
from veilsum.arguments import (
    check_callback,
    check_flag,
    check_type,
    check_whole,
    counted,
    shown,
    type_name,
)
from veilsum.engines.base import EncryptOptions, Progress
from veilsum.errors import (
    HeadroomError,
    KeyMismatchError,
    ParameterError,
    RoundError,
    about_update,
)
from veilsum.keys.group import Group
from veilsum.keys.identity import PublicIdentity, Signer
from veilsum.layout.tensors import Layout

__all__ = [
    "Accumulator",
    "Progress",
    "decrypt",
    "encrypt",
    "integer_weights",
    "keygen",
    "open_sum",
    "weighted_sum",
]


PathLike: TypeAlias = str | OsPathLike[str]

MOST_THREADS: Final = 4096  # what the core takes (bindings/conversions.h)


def keygen(plan: Plan) -> tuple[_core.SecretKey, _core.PublicKey]:
    """Make a key holder's key pair for a plan, from the operating system's entropy.

    Parameters
    ----------
    plan : Plan
        The parameters; they choose the engine.

    Returns
    -------
    (SecretKey, PublicKey)
        The first stays with the key holder, the second goes into rounds.

    Raises
    ------
    ParameterError
        When `plan` is no plan, or one for several parties, who make their keys in turn.
    """
    check_type("keygen(plan)", "plan", plan, Plan)
    return plan.cipher.keygen(plan.parameters)


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


def weighted_sum(
    rnd: Round,
    uploads: Iterable[_core.Upload],
    weights: Sequence[float] | None = None,
    *,
    threads: int | None = None,
) -> _core.Aggregate:
    """Sum uploads without decrypting them; needs no key.

    Parameters
    ----------
    rnd : Round
        The round of the uploads.
    uploads : iterable of Upload
        At least one, each at most once. With a roster, their signatures are checked.
    weights : sequence of int or float, optional
        Homomorphic (server-side) weights, one for each upload, in a plan made with weight_bits.
        Integers are used as they are. Floats are proportions, turned into integers that fill the
        plan's headroom (see `integer_weights`; a `VeilsumWarning` says when a share is off by more
        than 1 % of the whole); equal floats become 1 each. The sum key of a
        weighted sum may go only to parties that do not hold the single uploads: prefer
        ``encrypt(..., weight=...)``, which has no such rule.
    threads : int, optional
        How many threads to use; all cores by default.

    Returns
    -------
    Aggregate
        The encrypted sum, with what the authority needs to open it.

    Raises
    ------
    ParameterError
        When a weight is not a number, not finite or not above 0, or there are not as many weights
        as uploads.
    HeadroomError
        When the weights are more than the plan holds; the message names a plan that would do.
    RoundError
        When an upload is of another round, is given twice, or is not signed as the roster asks.
    """
    call = "weighted_sum(rnd, [upload, upload, ...])"
    check_type(call, "rnd", rnd, Round)
    if not isinstance(uploads, Iterable):
        raise ParameterError(f"uploads is {type_name(uploads)}, but must be a list: call {call}")
    items = list(uploads)
    for index, item in enumerate(items):
        check_type(call, f"upload {index}", item, _core.Upload)
    integers = None if weights is None else plan_weights(rnd.plan, weights, len(items))
    return _core.weighted_sum(
        rnd, items, integers, verify=verifier_of(rnd), threads=core_threads(threads)
    )


class Accumulator(_core.Accumulator):
    """Sums uploads as they arrive, in any order, from any thread; needs no key.

    It holds one aggregate, whatever the number of clients. `add` takes an upload, `add_file` a
    file, `receive` prepares for an upload that arrives in pieces. An upload that turns out to be
    damaged leaves the sum as it was.

    Attributes
    ----------
    count : int
        How many uploads were added.
    total_weight : int
        The sum of their weights.
    """

    def __init__(self, rnd: Round) -> None:
        """Start an empty sum.

        Parameters
        ----------
        rnd : Round
            The round to sum. With a roster, each upload's signature is checked when it is added.
        """
        check_type("Accumulator(rnd)", "rnd", rnd, Round)
        super().__init__(rnd, verify=verifier_of(rnd))
        self._round_id = rnd.id

    def __repr__(self) -> str:
        name = self._round_id.hex()[:16]
        return f"<veilsum.Accumulator of round {name}: {counted(self.count, 'upload')}>"

    def add(self, upload: _core.Upload, weight: int = 1, threads: int | None = None) -> None:
        """Add an upload to the sum.

        Parameters
        ----------
        upload : Upload
            Of this round. Each counts once.
        weight : int
            A homomorphic weight, in a plan made with weight_bits.
        threads : int, optional
            How many threads to use; all cores by default.

        Raises
        ------
        ParameterError
            When `upload` is no upload, or another argument is out of range.
        HeadroomError
            When the weights are more than the plan holds.
        RoundError
            When the upload is of another round, was added before, or is not signed as the roster
            asks.
        """
        check_type("add(upload)", "upload", upload, _core.Upload)
        super().add(upload, check_whole("weight", weight), threads)

    def add_file(self, path: PathLike, weight: int = 1, threads: int | None = None) -> None:
        """Add an upload from a file, in portions.

        Parameters
        ----------
        path : str or path
            An upload of this round.
        weight : int
            A homomorphic weight, in a plan made with weight_bits.
        threads : int, optional
            How many threads to use; all cores by default.

        Raises
        ------
        WireFormatError
            When the file is damaged; the sum is then as it was.
        ParameterError, HeadroomError, RoundError
            As `add`.
        OSError
            When the file cannot be read.
        """
        super().add_file(path, check_whole("weight", weight), threads)


def open_sum(
    secret: _core.SecretKey,
    rnd: Round,
    total: _core.Aggregate | _core.AggregateFile | _core.OpeningRequest,
    *,
    export: bool = False,
    uploads: Iterable[Any] | None = None,
) -> _core.SumKey:
    """Open an aggregate: the authority's one step.

    The authority opens every upload's sealed key, which shows that it was made for this round and
    in no other context, and adds the keys up; it sees no values. A round is opened once: the same
    aggregate again gives the same key, another aggregate of the round is refused, since the
    difference of two sums could be a single client's update.

    Parameters
    ----------
    secret : SecretKey
        The authority's key.
    rnd : Round
        The round of the aggregate.
    total : Aggregate, AggregateFile or OpeningRequest
        What the aggregator made; ``total.opening_request()`` is the small part that opening needs.
    export : bool
        Whether the key of a sum with weights other than 1 may be written out. Such a key can
        reveal single updates to whoever also holds the single uploads: say yes only when it goes to
        parties that do not.
    uploads : iterable of Upload or path, optional
        For the OpenFHE engine, which needs it unless the round says ``trust_aggregator=True``: what
        `total` was summed from, in its order. The native engine takes none of it.

    Returns
    -------
    SumKey
        Decrypts this aggregate and nothing else.

    Raises
    ------
    KeyMismatchError
        When the round was made for another key.
    RoundError
        When the aggregate sums fewer than the round's min_clients, holds an upload twice, a sealed
        key that was not made for this round, or a bad signature, or when the round was opened for
        another aggregate. The blocks are not looked at: what notices
        a changed sum is the tag, when it is decrypted.
    """
    call = "open_sum(secret, rnd, total)"
    check_type(call, "secret", secret, _core.SecretKey)
    check_type(call, "rnd", rnd, Round)
    check_type(call, "total", total, _core.Aggregate, _core.AggregateFile, _core.OpeningRequest)
    plan = rnd.plan
    return _core.open_sum(
        secret,
        rnd,
        opening_request(rnd, total, uploads),
        open=plan.cipher.opener(rnd, plan.parameters),
        verify=verifier_of(rnd),
        export=check_flag("export", export),
    )


def opening_request(
    rnd: Round,
    total: _core.Aggregate | _core.AggregateFile | _core.OpeningRequest,
    uploads: Iterable[_core.Upload | PathLike] | None = None,
) -> _core.OpeningRequest:
    """Make what the key holder needs to open a sum.

    Parameters
    ----------
    rnd : Round
        Of the sum.
    total : Aggregate, AggregateFile or OpeningRequest
        What the aggregator made.
    uploads : iterable of Upload or path, optional
        What was summed, in its order, where the key holder has to sum it again.

    Returns
    -------
    OpeningRequest
        `total`, when it is one.

    Raises
    ------
    ParameterError
        When there are uploads where none are needed.
    RoundError
        When they are missing, or are not the sum's.
    """
    if isinstance(total, _core.OpeningRequest):
        if uploads is not None:
            raise ParameterError("total is an OpeningRequest, which has all that opening needs")
        return total
    if rnd.plan.engine == "native":
        if uploads is not None:
            raise ParameterError(
                "uploads is for the OpenFHE engine; the native one opens the manifest's sealed keys"
            )
        return total.opening_request()
    if isinstance(total, _core.AggregateFile):
        total = _core.Aggregate.load(total.path, rnd)
    items = [
        item if isinstance(item, _core.Upload) else _core.Upload.load(item, rnd)
        for item in uploads or ()
    ]
    return total.opening_request(items)


def decrypt(
    key: _core.SumKey,
    total: _core.Aggregate,
    *,
    group: Group | None = None,
    average: bool = True,
    dtype: Any = None,
    output: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    out: npt.NDArray[Any] | None = None,
) -> Any:
    """Decrypt a sum.

    The integer sum is exact; the only error is the clients' quantisation, at most half a step each
    (one step with stochastic rounding), with step = limit / (2^(value_bits - 1) - 1).

    Parameters
    ----------
    key : SumKey
        What `open_sum` gave for this aggregate.
    total : Aggregate
        The encrypted sum.
    group : Group, optional
        The clients' keys; needed when the round was made for a group, whose tag the sum must have.
    average : bool
        Divide by the total weight: by the number of uploads when the aggregator used no weights.
    dtype : {"float32", "float64"} or the dtype itself, optional
        One dtype for all values. By default those of the round's layout, or float32 for a round
        made with size=.
    output : {"numpy", "torch"}, optional
        What to make. By default what the round's layout was made from.
    threads : int, optional
        How many threads to use; all cores by default. The same bytes for any number.
    progress : callable, optional
        Called with (values done, values in all) on this thread; an exception in it cancels.
    out : ndarray, optional
        For a sum of a single array: where to put the values, C-contiguous and writable, float32 or
        float64, with as many values as the round. It decides the dtype, and is returned.

    Returns
    -------
    ndarray, torch.Tensor, or dict or list of them
        With the names, shapes and dtypes of the round's layout; tensors are on the CPU. Entries
        that need no conversion are views of one vector.

    Raises
    ------
    KeyMismatchError
        When `key` was made for another aggregate.
    TamperedSumError
        When the blocks cannot be the sum that `key` opens; no value is given out, `out` is zeros.
        Not every change is noticed: check blocks find wrong keys, and authenticate nothing.
    ParameterError
        When `dtype`, `output` or `out` does not fit, or `RowMean` made the round: its sums are
        decrypted by ``RowMean(rnd).decrypt(key, total)``.
    HeadroomError
        When a dtype, such as float16, ends below what the sum may come to.
    BackendUnavailableError
        When torch tensors are to be made and torch is not installed.

    Warns
    -----
    VeilsumWarning
        When more than 1 % of the uploads' values were clipped, or all values of the sum are 0.
    """
    if isinstance(total, (_core.Aggregate, _core.AggregateFile)):
        refuse_row_mean(total.round.layout, "call RowMean(rnd).decrypt(key, total)")
    return decrypt_sum(
        key,
        total,
        group=group,
        average=average,
        dtype=dtype,
        output=output,
        threads=threads,
        progress=progress,
        out=out,
    )


def decrypt_sum(
    key: _core.SumKey,
    total: _core.Aggregate,
    *,
    group: Group | None = None,
    average: bool,
    dtype: Any,
    output: str | None,
    threads: int | None,
    progress: Progress | None,
    out: npt.NDArray[Any] | None = None,
) -> Any:
    """Decrypt the sum of a round of any kind, of which the caller knows what it holds.

    Parameters
    ----------
    key, total, group, average, dtype, output, threads, progress, out
        As in `decrypt`. Warnings are for the caller's caller.

    Returns
    -------
    ndarray, torch.Tensor, or dict or list of them
        As in `decrypt`.
    """
    dtype = dtype_name(dtype)
    average = check_flag("average", average)
    check_callback("progress", progress)
    call = "decrypt(key, total)"
    check_type(call, "key", key, _core.SumKey)
    if isinstance(total, _core.AggregateFile):
        raise ParameterError(
            "total is an AggregateFile, whose values stay on disk: decrypt_file(key, total, path)"
        )
    check_type(call, "total", total, _core.Aggregate)
    rnd = total.round
    layout = rnd.layout
    flat_out, made = output_choice(layout, dtype, output, out)
    _core.check_sum_key(key, total)
    tag_key = tag_key_of(rnd, group)
    cautions.check_reach(total, layout, dtype if out is None else made, average=average)
    values = rnd.plan.cipher.decrypt(
        key,
        total,
        rnd.plan.parameters,
        average=average,
        dtype=made,
        threads=core_threads(threads),
        progress=progress,
        out=flat_out,
        tag_key=tag_key,
    )
    cautions.warn_about_sum(total, stacklevel=4)
    cautions.warn_about_result(total, [values], stacklevel=4)
    if out is not None:
        return out
    return layout.assemble(values, dtype=dtype, library=output)


def integer_weights(weights: Sequence[float], capacity: int) -> list[int]:
    """Turn weights into the integers that an encrypted sum can apply.

    Parameters
    ----------
    weights : sequence of int or float
        Finite and above 0. If all are integers, they are returned as they are; if not, they are
        proportions.
    capacity : int
        What proportions are made to sum to: the plan's max_weight.

    Returns
    -------
    list of int
        Equal proportions become 1 each, which keeps the sum an unweighted one. Others are scaled to
        sum to `capacity` by the largest-remainder method (Hamilton), each at least 1: within 1 of
        its exact share, unless a share below 1 was raised.

    Raises
    ------
    ParameterError
        When a weight is not a number, not finite or not above 0.
    HeadroomError
        When an integer is far more than any plan holds.
    """
    numbers = check_weights(weights)
    if all(isinstance(number, int) for number in numbers):
        for index, number in enumerate(numbers):
            if number >= 2**63:  # more than the core takes; what else is too much, it says itself
                raise HeadroomError(
                    f"weight {index} is {shown(number)}, above this plan's total of {capacity}; a "
                    f"plan with more clients or weight_bits would hold more"
                )
        return cast("list[int]", numbers)
    if len(set(numbers)) == 1:
        return [1] * len(numbers)
    shares = [Fraction(number) for number in numbers]
    result = [1] * len(shares)
    room = capacity
    # Shares below 1 stay at 1 and are set aside; that leaves less for the others, so look again.
    rest = list(range(len(shares)))
    while rest:
        whole = sum((shares[index] for index in rest), Fraction(0))
        large = [index for index in rest if shares[index] * room >= whole]
        room -= len(rest) - len(large)
        if len(large) == len(rest):
            break
        rest = large
    for index in rest:
        result[index] = math.floor(shares[index] * room / whole)
    left = room - sum(result[index] for index in rest)
    lacking = {index: shares[index] * room / whole - result[index] for index in rest}
    for index in sorted(rest, key=lambda index: (-lacking[index], index))[: max(left, 0)]:
        result[index] += 1
    return result


def plan_weights(plan: Plan, weights: Sequence[float], uploads: int) -> list[int]:
    """Turn the aggregator's weights into integers that a plan holds.

    Parameters
    ----------
    plan : Plan
        Of the round.
    weights : sequence of int or float
        As for `weighted_sum`.
    uploads : int
        How many there are.

    Returns
    -------
    list of int
        As `integer_weights` makes them.

    Raises
    ------
    ParameterError
        When a weight is not a number, not finite or not above 0, or there are not as many weights
        as uploads.
    HeadroomError
        When the plan holds unit weights only and the weights are not all the same, or an integer
        is far more than any plan holds.

    Warns
    -----
    VeilsumWarning
        When a share is off by more than 1 % of the whole.
    """
    given = check_weights(weights)
    integers = integer_weights(given, plan.max_weight)
    uploads = check_whole("uploads", uploads)
    if len(integers) != uploads:
        raise ParameterError(
            f"weights has {counted(len(integers), 'number')} for {shown(uploads)} "
            f"{'upload' if uploads == 1 else 'uploads'}; give one for each"
        )
    fit_weights(plan, given, integers)
    return integers


def check_weights(weights: Sequence[float]) -> list[int | float]:
    """Check the aggregator's weights, of whichever engine.

    Parameters
    ----------
    weights : sequence of int or float
        Finite and above 0.

    Returns
    -------
    list of int or float
        The same numbers, of Python's own types.

    Raises
    ------
    ParameterError
        When a weight is not a number, not finite or not above 0.
    """
    return [check_weight(weight, index) for index, weight in enumerate(_listed(weights))]


def _listed(weights: Any) -> list[Any]:
    if hasattr(weights, "tolist"):  # NumPy arrays and torch tensors
        weights = weights.tolist()
    try:
        return list(weights)
    except TypeError:
        raise ParameterError(
            f"weights is {type_name(weights)}; give one number for each upload"
        ) from None


def check_weight(weight: object, index: int) -> int | float:
    """Check one weight of an upload.

    Parameters
    ----------
    weight : object
        Finite and above 0.
    index : int
        The upload's place, for the message.

    Returns
    -------
    int or float
        The same number, of Python's own types.

    Raises
    ------
    ParameterError
        When it is not a number, not finite or not above 0.
    """
    if isinstance(weight, (bool, np.bool_)) or not isinstance(weight, Real):
        raise ParameterError(f"weight {index} is {shown(weight)}; it must be a number")
    number: int | float
    try:
        number = operator.index(cast(Any, weight))
    except TypeError:
        try:
            number = float(weight)
        except OverflowError:  # a fraction, say
            number = math.inf
    # A whole number may be beyond any float.
    if number <= 0 or (isinstance(number, float) and not math.isfinite(number)):
        raise ParameterError(
            f"weight {index} is {shown(number)}; weights are finite and above 0: leave an upload "
            f"that is not to count out of the sum"
        )
    return number


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


def core_threads(threads: object) -> int:
    """Check a number of threads.

    Parameters
    ----------
    threads : int or None
        What the caller of a public function gave.

    Returns
    -------
    int
        What the core takes: 0 for all cores.

    Raises
    ------
    ParameterError
        When it is not a whole number from 1 to 4096.
    """
    if threads is None:
        return 0
    try:
        number = 0 if isinstance(threads, bool) else operator.index(cast(Any, threads))
    except TypeError:
        number = 0
    if not 1 <= number <= MOST_THREADS:
        raise ParameterError(
            f"threads is {shown(threads)}; it must be a whole number of at least 1, and at most "
            f"{MOST_THREADS}"
        )
    return number


def dtype_name(dtype: Any) -> str | None:
    """Name a dtype that may be given as the dtype itself, NumPy's or torch's.

    Parameters
    ----------
    dtype : str, dtype or None
        What the caller of a public function gave.

    Returns
    -------
    str or None
        Such as "float32"; None for None.

    Raises
    ------
    ParameterError
        When it names no dtype.
    """
    if dtype is None or isinstance(dtype, str):
        return dtype
    if isinstance(dtype, (int, float)):
        raise ParameterError(f"dtype is {shown(dtype)}; it must be 'float32' or 'float64'")
    text = str(dtype)
    if text.startswith("torch."):
        return text.removeprefix("torch.")
    try:
        return str(np.dtype(dtype))
    except TypeError:
        raise ParameterError(
            f"dtype is {type_name(dtype)}; it must be 'float32' or 'float64'"
        ) from None


def output_choice(
    layout: Layout, dtype: str | None, output: str | None, out: Any
) -> tuple[npt.NDArray[Any] | None, str]:
    """Check where the values of a sum go, whichever engine decrypts it.

    Parameters
    ----------
    layout : Layout
        Of the round.
    dtype, output, out
        As `decrypt` takes them.

    Returns
    -------
    (ndarray or None, str)
        `out` as a flat vector, and the dtype of the values that are to be made.

    Raises
    ------
    ParameterError
        When one does not fit.
    """
    if dtype not in (None, "float32", "float64"):
        raise ParameterError(f"dtype is {shown(dtype)}; it must be 'float32' or 'float64'")
    if output not in (None, "numpy", "torch"):
        raise ParameterError(f"output is {shown(output)}; it must be 'numpy' or 'torch'")
    if out is not None:
        flat = _check_out(out, layout.size, layout.kind, dtype, output)
        return flat, str(flat.dtype)
    wide = any(tensor.dtype == "float64" for tensor in layout.tensors)
    return None, dtype if dtype is not None else "float64" if wide else "float32"


def _check_out(
    out: object, size: int, kind: str, dtype: str | None, output: str | None
) -> npt.NDArray[Any]:
    if not isinstance(out, np.ndarray):
        raise ParameterError(f"out is {type_name(out)}; it must be a NumPy array")
    if kind not in ("flat", "array"):
        raise ParameterError("out is for a sum of a single array; this one has named tensors")
    if output == "torch" or dtype not in (None, str(out.dtype)):
        raise ParameterError("out is given with another dtype or output; it decides both itself")
    if str(out.dtype) not in ("float32", "float64"):
        raise ParameterError(f"out has dtype {out.dtype}; it must be float32 or float64")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ParameterError("out must be C-contiguous and writable")
    if out.size != size:
        raise ParameterError(f"out has {out.size} values, but the round sums {size}")
    return out.reshape(-1)
