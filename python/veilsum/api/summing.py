"""The aggregator's step: uploads become one, whole or as they arrive.

Layer: Python API, over rounds and the core; no key is ever here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike as OsPathLike
from typing import TypeAlias

from veilsum import _core
from veilsum.api.rounds import Round, verifier_of
from veilsum.api.threads import core_threads
from veilsum.api.weights import (
    plan_weights,
)
from veilsum.arguments import (
    check_type,
    check_whole,
    counted,
    type_name,
)
from veilsum.errors import (
    ParameterError,
)

PathLike: TypeAlias = str | OsPathLike[str]

__all__ = [
    "Accumulator",
    "weighted_sum",
]


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
