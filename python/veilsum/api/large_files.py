"""The steps of one encrypted sum on files, in portions: vectors larger than memory.

Layer: Python API, beside crypto, over rounds, files and the core. The results are the bytes that
the steps in memory give. This module decides where in a file which values lie; reading, encrypting,
summing and writing are the core's. Everything here can be resumed, see docs/large-vectors.md.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from veilsum import _core
from veilsum.api import cautions
from veilsum.api.decrypting import decrypt
from veilsum.api.encrypting import check_signature, client_number, encrypt
from veilsum.api.rounds import Round, tag_key_of, verifier_of
from veilsum.api.threads import core_threads
from veilsum.api.weights import check_client_weight, plan_weights, refuse_row_mean
from veilsum.arguments import check_callback, check_flag, check_path, check_type, shown, type_name
from veilsum.engines.base import Progress
from veilsum.errors import ParameterError, named_update
from veilsum.keys.group import Group
from veilsum.keys.identity import Signer
from veilsum.keys.sealing import seal
from veilsum.layout import files
from veilsum.layout.tensors import BFLOAT16, dtype_name
from veilsum.outputs import find_destination

__all__ = [
    "UploadFile",
    "aggregate_file",
    "decrypt_file",
    "encrypt_file",
    "journal_path",
    "sum_files",
]

PathLike: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class UploadFile:
    """What is public about an upload that was written to a file.

    Attributes
    ----------
    path : str
        The file.
    round_id : bytes
        The round it was made for.
    nbytes : int
        Its size.
    clipped : int
        How many values lay beyond the round's limit.
    client : int or None
        The signer's place in the roster, for a signed upload.
    digest : bytes
        32 bytes that name the upload: SHA-256 of its sealed key.
    """

    path: str
    round_id: bytes
    nbytes: int
    clipped: int
    client: int | None
    digest: bytes

    def __repr__(self) -> str:
        who = "unsigned" if self.client is None else f"client {self.client}"
        name = self.round_id.hex()[:16]
        return f"<veilsum.UploadFile of round {name}: {self.nbytes} bytes, {who}, in {self.path}>"

    @property
    def signed(self) -> bool:
        """Whether it carries a signature."""
        return self.client is not None


def encrypt_file(
    rnd: Round,
    source: PathLike,
    target: PathLike,
    *,
    weight: float = 1.0,
    rounding: str = "nearest",
    signer: Signer | None = None,
    group: Group | None = None,
    on_clip: str = "count",
    threads: int | None = None,
    progress: Progress | None = None,
    resume: bool = False,
) -> UploadFile:
    """Encrypt an update in a file to an upload in a file, in portions.

    Parameters
    ----------
    rnd : Round
        The round to take part in.
    source : str or path
        A .npy or .safetensors file, laid out as the round says. An array in Fortran order, or of
        another byte order, is read whole, into memory.
    target : str or path
        The upload. It appears when it is complete, or not at all.
    weight : float
        As in `encrypt`.
    rounding : {"nearest", "stochastic"}
        As in `encrypt`.
    signer : Identity, optional
        Signs the upload; needed when the round has a roster.
    group : Group, optional
        The clients' keys; needed when the round was made for a group.
    on_clip : {"count", "error"}
        As in `encrypt`.
    threads : int, optional
        How many threads to use; all cores by default. The same for any number.
    progress : callable, optional
        Called with (values done, values in all) on this thread; an exception in it stops the work.
    resume : bool
        Keep a journal beside `target`, with which the same call continues a run that was stopped.
        The journal holds the upload's secret seeds: see SECURITY.md.

    Returns
    -------
    UploadFile
        What is public about the upload.

    Raises
    ------
    ParameterError
        When the update does not fit the round, holds a NaN or an infinity, changed since the run
        that is to be continued, or another argument is out of range; and when `RowMean` made the
        round: its uploads are made in memory.
    RoundError
        When the round has a roster and there is no signer.
    KeyMismatchError
        When the signer is not in the round's roster.
    WireFormatError
        When `source` is not what its name says.
    OSError
        When a file cannot be read or written.

    Warns
    -----
    VeilsumWarning
        As in `encrypt`.
    """
    check_type("encrypt_file(rnd, source, target)", "rnd", rnd, Round)
    refuse_row_mean(
        rnd.layout, "call RowMean(rnd).encrypt(update, rows=...), and save(path) of what it returns"
    )
    call = "encrypt_file(rnd, source, target)"
    check_path(call, "source", source, "; encrypt(rnd, update) takes what is in memory")
    check_path(call, "target", target)
    check_callback("progress", progress)
    resume = check_flag("resume", resume)
    with named_update(source):
        return _encrypt_file(
            rnd, source, target, weight, rounding, signer, group, on_clip, threads, progress, resume
        )


def _encrypt_file(
    rnd: Round,
    source: PathLike,
    target: PathLike,
    weight: float,
    rounding: str,
    signer: Signer | None,
    group: Group | None,
    on_clip: str,
    threads: int | None,
    progress: Progress | None,
    resume: bool,
) -> UploadFile:
    """Do what `encrypt_file` says; errors about the update do not name its file."""
    factor = check_client_weight(weight)
    files.check_output(target, [source])
    client = client_number(rnd.roster, signer)
    tag_key = tag_key_of(rnd, group)
    if rnd.plan.engine != "native":
        upload = _whole(
            resume,
            target,
            lambda: encrypt(
                rnd,
                files.read_update(source),
                weight=weight,
                rounding=rounding,
                signer=signer,
                group=group,
                on_clip=on_clip,
                threads=threads,
                progress=progress,
            ),
        )
        upload.save(target)
        number = None if signer is None else client
        return UploadFile(
            os.fspath(target), rnd.id, upload.nbytes, upload.clipped, number, upload.digest
        )
    layout = rnd.layout
    stored = files.locate_update(source)
    if isinstance(stored, dict):
        found = layout.check({name: item.stand_in() for name, item in stored.items()})
        places = [stored[tensor.name] for tensor in found]
    else:
        found = layout.check(stored.stand_in())
        places = [stored]
    if not all(place.streamable for place in places):
        if resume:
            raise ParameterError(
                f"{os.fspath(source)} holds an array in Fortran order or of another byte order, "
                f"which is read whole and not resumed; save a C-contiguous one "
                f"(numpy.ascontiguousarray), or leave out resume"
            )
        _refuse_journal(target)
        upload = encrypt(
            rnd,
            files.read_update(source),
            weight=weight,
            rounding=rounding,
            signer=signer,
            group=group,
            on_clip=on_clip,
            threads=threads,
            progress=progress,
        )
        upload.save(target)
        nbytes, clipped, digest = upload.nbytes, upload.clipped, upload.digest
    else:
        sources = [
            (os.fspath(source), place.offset, tensor.dtype, tensor.size)
            for place, tensor in zip(places, found, strict=True)
            if tensor.size
        ]
        nbytes, clipped, digest = _core.encrypt_file(
            rnd,
            sources,
            os.fspath(target),
            weight=factor,
            rounding=rounding,
            on_clip=on_clip,
            threads=core_threads(threads),
            progress=progress,
            resume=resume,
            seal=seal,
            client=None if signer is None else client,
            sign=None if signer is None else partial(_sign, signer),
            tag_key=tag_key,
            locate=lambda index: (
                f"{os.fspath(source)}: {layout.locate(index)} is not finite (value {index} of the "
                f"whole update); Veilsum sums finite values, and nothing was encrypted"
            ),
        )
        cautions.warn_about_update(
            rnd,
            layout,
            _stored_values(source, places),
            [kind for _, _, kind, _ in sources],
            weight=factor,
            rounding=rounding,
            clipped=clipped,
            stacklevel=4,
        )
    number = None if signer is None else client
    return UploadFile(os.fspath(target), rnd.id, nbytes, clipped, number, digest)


def sum_files(
    rnd: Round,
    uploads: Sequence[PathLike],
    target: PathLike,
    weights: Sequence[float] | None = None,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    resume: bool = False,
) -> _core.AggregateFile:
    """Sum uploads in files to a file, in one pass over them; needs no key.

    Parameters
    ----------
    rnd : Round
        The round of the uploads.
    uploads : sequence of str or path
        At least one, each at most once. With a roster, their signatures are checked.
    target : str or path
        The sum. It appears when it is complete and everything was checked, or not at all.
    weights : sequence of int or float, optional
        As in `weighted_sum`.
    threads : int, optional
        How many threads to use; all cores by default. The same bytes for any number.
    progress : callable, optional
        Called with (values done, values in all) on this thread; an exception in it stops the work.
    resume : bool
        Keep a journal beside `target`, with which the same call continues a run that was stopped.

    Returns
    -------
    AggregateFile
        The encrypted sum, whose values stay in the file.

    Raises
    ------
    ParameterError
        When a weight is not a number, not finite or not above 0, there are not as many weights as
        uploads, or the run cannot be continued.
    HeadroomError
        When the weights are more than the plan holds.
    RoundError
        When an upload is of another round, is given twice, or is not signed as the roster asks.
    WireFormatError
        When an upload is damaged; the message names the file.
    OSError
        When a file cannot be read or written.
    """
    call = "sum_files(rnd, [path, path, ...], target)"
    check_type(call, "rnd", rnd, Round)
    if isinstance(uploads, (str, bytes, os.PathLike)) or not isinstance(uploads, Iterable):
        raise ParameterError(
            f"uploads is {type_name(uploads)}, but must be a list of paths: call {call}"
        )
    remedy = "; weighted_sum(rnd, uploads) takes what is in memory"
    paths = [
        check_path(call, f"upload {index}", path, remedy) for index, path in enumerate(uploads)
    ]
    check_path(call, "target", target)
    check_callback("progress", progress)
    resume = check_flag("resume", resume)
    files.check_output(target, paths)
    integers = None if weights is None else plan_weights(rnd.plan, weights, len(paths))
    _core.sum_files(
        rnd,
        paths,
        os.fspath(target),
        integers,
        verify=verifier_of(rnd),
        threads=core_threads(threads),
        progress=progress,
        resume=resume,
    )
    return _core.AggregateFile(os.fspath(target), rnd)


def decrypt_file(
    key: _core.SumKey,
    total: _core.AggregateFile,
    target: PathLike,
    *,
    group: Group | None = None,
    average: bool = True,
    dtype: Any = None,
    threads: int | None = None,
    progress: Progress | None = None,
    resume: bool = False,
) -> None:
    """Decrypt a sum in a file to a .npy or .safetensors file, in portions.

    Parameters
    ----------
    key : SumKey
        What `open_sum` gave for this aggregate.
    total : AggregateFile
        The encrypted sum.
    target : str or path
        A .npy file for a sum of a single array, a .safetensors file for named tensors. It appears
        when it is complete and the sum's file was found undamaged, or not at all.
    group : Group, optional
        The clients' keys; needed when the round was made for a group, whose tag the sum must have.
    average : bool
        Divide by the total weight: by the number of uploads when the aggregator used no weights.
    dtype : {"float32", "float64"} or the dtype itself, optional
        One dtype for all values. By default those of the round's layout, or float32 for a round
        made with size=.
    threads : int, optional
        How many threads to use; all cores by default. The same bytes for any number.
    progress : callable, optional
        Called with (values done, values in all) on this thread; an exception in it stops the work.
    resume : bool
        Keep a journal beside `target`, with which the same call continues a run that was stopped.

    Raises
    ------
    KeyMismatchError
        When `key` was made for another aggregate.
    ParameterError
        When `target` or `dtype` does not fit, the run cannot be continued, or `RowMean` made the
        round: its sums are decrypted in memory.
    HeadroomError
        When a dtype, such as float16, ends below what the sum may come to.
    WireFormatError
        When the sum's file is damaged.
    OSError
        When a file cannot be read or written.

    Warns
    -----
    VeilsumWarning
        As in `decrypt`.
    """
    dtype = dtype_name(dtype)
    call = "decrypt_file(key, AggregateFile(path, rnd), target)"
    average = check_flag("average", average)
    check_callback("progress", progress)
    resume = check_flag("resume", resume)
    check_type(call, "key", key, _core.SumKey)
    check_type(call, "total", total, _core.AggregateFile)
    check_path(call, "target", target)
    refuse_row_mean(
        total.round.layout,
        "call RowMean(rnd).decrypt(key, total), with total = Aggregate.load(path, rnd)",
    )
    files.check_output(target, [total.path])
    rnd = total.round
    layout = rnd.layout
    if rnd.plan.engine != "native":
        files.check_suffix(target, mapping=layout.named)
        mean = _whole(
            resume,
            target,
            lambda: decrypt(
                key,
                _core.Aggregate.load(total.path, rnd),
                average=average,
                dtype=dtype,
                output="numpy",
                threads=threads,
                progress=progress,
            ),
        )
        named = layout.by_name(mean) if layout.named else mean
        files.write_update(target, named, layout.file_metadata)
        return
    if dtype not in (None, "float32", "float64"):
        raise ParameterError(f"dtype is {shown(dtype)}; it must be 'float32' or 'float64'")
    named = layout.named
    files.check_suffix(target, mapping=named)
    cautions.check_reach(total, layout, dtype, average=average)
    wide = any(tensor.dtype == "float64" for tensor in layout.tensors)
    made = dtype if dtype is not None else "float64" if wide else "float32"
    tensors = [(tensor.name, dtype or tensor.dtype, tensor.shape) for tensor in layout.tensors]
    if layout.kind == "flat":
        tensors = [("", made, (layout.size,))]
    prefix, offsets, size = files.output_header(
        tensors, mapping=named, metadata=layout.file_metadata
    )
    places = [
        (offset, kind, tensor.size)
        for offset, (_, kind, _), tensor in zip(offsets, tensors, layout.tensors, strict=True)
        if tensor.size
    ]
    _core.decrypt_file(
        key,
        total,
        os.fspath(target),
        prefix,
        places,
        size,
        average=average,
        dtype=made,
        threads=core_threads(threads),
        progress=progress,
        resume=resume,
        tag_key=tag_key_of(total.round, group),
    )
    cautions.warn_about_sum(total)
    made_places = files.locate_update(target)
    written = list(made_places.values()) if isinstance(made_places, dict) else [made_places]
    cautions.warn_about_result(total, _stored_values(target, written))


def aggregate_file(path: PathLike, rnd: Round) -> _core.AggregateFile:
    """Open a sum in a file for `open_sum` and `decrypt_file`.

    Parameters
    ----------
    path : str or path
        What `sum_files` wrote.
    rnd : Round
        Its round.

    Returns
    -------
    AggregateFile
        The blocks stay in the file.

    Raises
    ------
    RoundError
        When the sum is of another round.
    WireFormatError
        When the file is damaged.
    OSError
        When it cannot be read.
    """
    with files.named_errors(path):
        return _core.AggregateFile(os.fspath(path), rnd)


def journal_path(target: PathLike) -> Path:
    """Say where the journal of a resumable output stands.

    Parameters
    ----------
    target : str or path
        The output.

    Returns
    -------
    Path
        Present while a run with resume=True is unfinished: beside the file that a link leads to.
    """
    return Path(f"{find_destination(target).path}.journal")


def _sign(signer: Signer, message: bytes) -> bytes:
    return check_signature(signer, signer.sign(message))


def _whole(resume: bool, target: PathLike, work: Callable[[], Any]) -> Any:
    """Work in memory, for an engine that cannot work in portions."""
    if resume:
        raise ParameterError(
            "only the native engine's work on files can be resumed; leave out resume"
        )
    _refuse_journal(target)
    return work()


@dataclass(frozen=True, slots=True)
class _StoredValues:
    """An array in a file, of which pieces are read: a map would count as memory."""

    path: PathLike
    dtype: np.dtype[Any]
    offset: int
    size: int

    def __getitem__(self, part: slice) -> npt.NDArray[Any]:
        start, stop, _ = part.indices(self.size)
        offset = self.offset + start * self.dtype.itemsize
        return np.fromfile(self.path, self.dtype, stop - start, offset=offset)


def _stored_values(path: PathLike, places: Sequence[files.StoredArray]) -> list[_StoredValues]:
    """Stand in for the arrays in a file that hold any value; bfloat16 as bits."""
    bits = np.dtype("<u2")
    return [
        _StoredValues(
            path,
            bits if place.dtype == BFLOAT16 else place.dtype,
            place.offset,
            math.prod(place.shape),
        )
        for place in places
        if math.prod(place.shape)
    ]


def _refuse_journal(target: PathLike) -> None:
    journal = journal_path(target)
    if os.path.lexists(journal):
        raise ParameterError(
            f"{journal} is left of a run that was interrupted; delete it and the unfinished "
            f"{journal.with_suffix('.part')} to start again"
        )
