"""The key holder's steps: keys, and the key of one sum.

Layer: Python API, over rounds and the core. A committee's steps are in `members`.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike as OsPathLike
from typing import Any, TypeAlias

from veilsum import _core
from veilsum.api.plans import Plan
from veilsum.api.rounds import Round, verifier_of
from veilsum.arguments import (
    check_flag,
    check_type,
)
from veilsum.errors import (
    ParameterError,
)

PathLike: TypeAlias = str | OsPathLike[str]

__all__ = [
    "keygen",
    "open_sum",
    "opening_request",
]


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

    In a round without tags the key decrypts these blocks and no others. Of an Aggregate or an
    AggregateFile it is bound to a keyed hash of the blocks, which is made here in one pass and
    checked by `decrypt` as it goes. An OpeningRequest names their SHA-256 digest, which whoever
    decrypts has to compute: as long again as decrypting, and a file is read twice.

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
        another aggregate: without a tag, other blocks for the same uploads are another. A sum that
        was opened from its aggregate is not opened again from its request, nor the reverse. With a
        tag the blocks are not looked at: it notices a changed sum when that is decrypted.
    WireFormatError
        When the file of an AggregateFile is damaged.
    """
    call = "open_sum(secret, rnd, total)"
    check_type(call, "secret", secret, _core.SecretKey)
    check_type(call, "rnd", rnd, Round)
    check_type(call, "total", total, _core.Aggregate, _core.AggregateFile, _core.OpeningRequest)
    plan = rnd.plan
    in_hand = plan.engine == "native" and uploads is None  # the blocks, unless it is a request
    return _core.open_sum(
        secret,
        rnd,
        total if in_hand else opening_request(rnd, total, uploads),
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
