"""Warnings about sums that hold no longer what went in: values clipped at the limit, or lost in it.

Layer: Python API, under crypto; both engines' steps come by here. A warning tells which tensor, how
many values and what helps; it never shows a value or a weight, which are the client's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from veilsum.errors import HeadroomError, VeilsumWarning
from veilsum.layout.tensors import Layout, TensorSpec
from veilsum.rounding import CLIPPED_SHARE

__all__ = [
    "ZEROED_SHARE",
    "Values",
    "check_reach",
    "warn_about_result",
    "warn_about_sum",
    "warn_about_update",
]

Array = npt.NDArray[Any]


class Values(Protocol):
    """A vector of numbers, in memory or in a file, of which pieces are looked at."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, part: slice, /) -> Any:
        """Return some that follow each other, as an array."""
        ...


#: A larger share of values that are not 0 and become 0 by rounding is warned about.
ZEROED_SHARE: Final = 0.5

_SAMPLE: Final = 1 << 14  # values of a tensor that are looked at, where something seems wrong
_GLANCE: Final = 512  # and where nothing does, of so many tensors at most:
_GLANCE_TENSORS: Final = 8
_LARGEST: Final = {
    "float16": 65504.0,
    "bfloat16": 3.3895313892515355e38,
    "float32": 3.4028234663852886e38,
    "float64": 1.7976931348623157e308,
}


def warn_about_update(
    rnd: Any,
    layout: Layout,
    pieces: Sequence[Values],
    dtypes: Sequence[str],
    *,
    weight: float,
    rounding: str,
    clipped: int,
    stacklevel: int = 3,
) -> None:
    """Warn a client whose update does not fit the round's limit.

    Parameters
    ----------
    rnd : Round
        Of either engine.
    layout : Layout
        Of the round.
    pieces : sequence of Values
        The update's tensors that hold any value; bfloat16 as bits.
    dtypes : sequence of str
        Of the pieces.
    weight : float
        The client's.
    rounding : {"nearest", "stochastic"}
        The client's.
    clipped : int
        How many values the encryption clipped.
    stacklevel : int
        Of the warning.

    Warns
    -----
    VeilsumWarning
        When more than `CLIPPED_SHARE` of all values, or of one tensor's, were clipped; and when
        more than `ZEROED_SHARE` of those that are not 0 are rounded to 0 (with stochastic rounding,
        which loses nothing on average: when all are below half a step).
    """
    specs = [tensor for tensor in layout.tensors if tensor.size]
    limits = [limit for _, limit in rnd.segments]
    if clipped:
        shares = [
            _share(np.abs(values) > limit)
            for values, limit in zip(_samples(pieces, dtypes, weight), limits, strict=True)
        ]
        worst = int(np.argmax(shares))
        if clipped > CLIPPED_SHARE * rnd.size or shares[worst] > CLIPPED_SHARE:
            where = _where(specs, worst, shares[worst])
            _warn(
                f"{clipped:,} of {rnd.size:,} values ({clipped / rnd.size:.1%}){where} are beyond "
                f"the round's limit and were clipped, so the sum will not be that of the updates; "
                f"make the round with a limit that holds them{_by_name(layout, specs[worst])}"
                + ("" if weight <= 1 else ", which the weight counts towards (see RowMean)"),
                stacklevel,
            )
    step = 2 ** (rnd.plan.value_bits - 1) - 1
    tolerated = ZEROED_SHARE if rounding == "nearest" else 1 - 1e-9
    if _zeroed(_glances(pieces, dtypes, weight), limits, step) > tolerated:
        zeroed = _zeroed(enumerate(_samples(pieces, dtypes, weight)), limits, step)
        if zeroed > tolerated:
            low, high = min(limits) / step, max(limits) / step
            by_chance = "" if rounding == "nearest" else ", or by chance a whole step"
            steps = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
            _warn(
                f"about {zeroed:.0%} of the update's values that are not 0 are smaller than half a "
                f"step and become 0{by_chance}: a step is {steps}, limit / (2^(value_bits - 1) - "
                f"1); make the round with a smaller limit, or a plan with more value_bits",
                stacklevel,
            )


def warn_about_sum(total: Any, stacklevel: int = 3) -> None:
    """Warn whoever decrypts a sum of uploads that were clipped.

    Parameters
    ----------
    total : Aggregate or AggregateFile
        Of either engine.
    stacklevel : int
        Of the warning.

    Warns
    -----
    VeilsumWarning
        When the uploads say that more than `CLIPPED_SHARE` of their values were clipped.
    """
    clipped, values = sum(total.clipped), total.count * total.round.size
    if clipped > CLIPPED_SHARE * values:
        _warn(
            f"{clipped:,} of the {values:,} values in the {total.count} uploads "
            f"({clipped / values:.1%}) were clipped to the round's limit, so this is not the sum "
            f"of the updates; make the next round with a larger limit",
            stacklevel,
        )


def warn_about_result(total: Any, arrays: Sequence[Values], stacklevel: int = 3) -> None:
    """Warn whoever decrypts a sum that is 0 everywhere.

    Parameters
    ----------
    total : Aggregate or AggregateFile
        Of either engine.
    arrays : sequence of Values
        The decrypted values.
    stacklevel : int
        Of the warning.

    Warns
    -----
    VeilsumWarning
        When there is no other value.
    """
    if not all(_is_zero(array) for array in arrays):
        return
    limits = [limit for _, limit in total.round.segments]
    step = max(limits) / (2 ** (total.round.plan.value_bits - 1) - 1)
    _warn(
        f"all values of the sum are 0: either every update was, or the round's limit is too wide "
        f"for them (values below half a step, {step / 2:.3g}, become 0); make the next round with "
        f"a limit near the largest value of an update",
        stacklevel,
    )


def check_reach(total: Any, layout: Layout, dtype: str | None, *, average: bool) -> None:
    """Refuse a dtype that ends below what a sum may come to.

    Decided by the round's limits and the total weight, not by the values: so it does not pass in
    some rounds and fail in others.

    Parameters
    ----------
    total : Aggregate or AggregateFile
        Of either engine.
    layout : Layout
        Of its round.
    dtype : str or None
        One dtype for all values instead of the layout's.
    average : bool
        Whether the mean is wanted instead of the sum.

    Raises
    ------
    HeadroomError
        When a tensor's dtype would turn possible values into infinity.
    """
    factor = 1.0 if average else float(total.total_weight)
    specs = [tensor for tensor in layout.tensors if tensor.size]
    for spec, (_, limit) in zip(specs, total.round.segments, strict=True):
        kind = dtype or spec.dtype
        if limit * factor <= _LARGEST[kind]:
            continue
        wider = "float64" if limit * factor > _LARGEST["float32"] else "float32"
        where = f"tensor {spec.name!r}" if spec.name else "the result"
        times = "" if average else f", the total weight {total.total_weight:g} times"
        remedy = f"decrypt with dtype={wider!r} (--dtype {wider})"
        raise HeadroomError(
            f"{where} is {kind}, which ends at {_LARGEST[kind]:.5g}, but may come to "
            f"{limit * factor:.5g}: the round's limit{times}; {remedy}"
            + ("" if average else ", or take the mean")
            + ("" if kind != "float64" else " of a round with a smaller limit")
        )


def _warn(text: str, stacklevel: int) -> None:
    warnings.warn(text, VeilsumWarning, stacklevel=stacklevel + 1)


def _where(specs: Sequence[TensorSpec], index: int, share: float) -> str:
    return f", of tensor {specs[index].name!r} {share:.0%}," if specs[index].name else ""


def _by_name(layout: Layout, spec: TensorSpec) -> str:
    return f", such as limit={{{spec.name!r}: ...}} for this tensor" if layout.named else ""


def _share(found: npt.NDArray[np.bool_]) -> float:
    return float(found.mean()) if found.size else 0.0


def _zeroed(samples: Iterator[tuple[int, Array]], limits: Sequence[float], levels: int) -> float:
    """Return the share of values that are not 0 and below half a step."""
    alive = lost = 0
    for index, values in samples:
        sizes = np.abs(values)
        present = int(np.count_nonzero(sizes))
        alive += present
        # Half a step goes to the even neighbour, which is 0.
        small = int(np.count_nonzero(sizes <= limits[index] / levels / 2))
        lost += small - (sizes.size - present)
    return lost / alive if alive else 0.0


def _glances(
    pieces: Sequence[Values], dtypes: Sequence[str], weight: float
) -> Iterator[tuple[int, Array]]:
    """Yield some values of some tensors: next to nothing beside an encryption."""
    every = -(-len(pieces) // _GLANCE_TENSORS)
    for index in range(0, len(pieces), every):
        flat = pieces[index]
        start = max(flat.size // 2 - _GLANCE // 2, 0)
        yield index, _real(flat[start : start + _GLANCE], dtypes[index], weight)


def _samples(pieces: Sequence[Values], dtypes: Sequence[str], weight: float) -> Iterator[Array]:
    """Yield each tensor's values times the weight; of long ones, evenly spread runs."""
    for piece, dtype in zip(pieces, dtypes, strict=True):
        flat = piece[0 : min(piece.size, _SAMPLE)]
        if piece.size > _SAMPLE:
            run = 256
            runs = _SAMPLE // run
            starts = np.linspace(0, piece.size - run, runs).astype(np.int64)
            flat = np.concatenate([piece[start : start + run] for start in starts])
        yield _real(flat, dtype, weight)


def _real(values: Array, dtype: str, weight: float) -> Array:
    if dtype == "bfloat16":
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(over="ignore"):  # then it is clipped, as it is in the core
        made: Array = values.astype(np.float64) * weight
    return made


def _is_zero(values: Values) -> bool:
    """Whether all values are 0: in an ordinary sum the first piece says no, at next to no cost."""
    start, length = 0, _GLANCE
    while start < values.size:
        piece = values[start : start + length]
        if piece.dtype.itemsize == 2:  # bfloat16 is unknown to NumPy; a sign alone is no value
            piece = piece.view(np.uint16) & np.uint16(0x7FFF)
        if piece.any():
            return False
        start, length = start + length, _SAMPLE
    return True
