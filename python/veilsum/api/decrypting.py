"""The reader's step: an opened sum becomes what the updates were.

Layer: Python API, over rounds and the core.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from veilsum import _core
from veilsum.api import cautions
from veilsum.api.rounds import tag_key_of
from veilsum.api.threads import core_threads
from veilsum.api.weights import refuse_row_mean
from veilsum.arguments import (
    check_callback,
    check_flag,
    check_type,
    shown,
    type_name,
)
from veilsum.engines.base import Progress
from veilsum.errors import (
    ParameterError,
)
from veilsum.keys.group import Group
from veilsum.layout.tensors import Layout, dtype_name

__all__ = [
    "decrypt",
    "decrypt_sum",
    "output_choice",
]


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
