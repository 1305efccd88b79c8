"""Every way in which uploads become a sum: what one of them refuses, all must refuse."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import veilsum as vs

#: In memory at once, from files at once, and one after the other: as objects, files and pieces.
WAYS = ("weighted_sum", "sum_files", "add", "add_file", "receive")
ONE_BY_ONE = ("add", "add_file", "receive")
_numbers = itertools.count()


def saved(upload: vs.Upload, folder: Path) -> Path:
    """Save an upload under a name of its own."""
    path = folder / f"{next(_numbers)}.up"
    upload.save(path)
    return path


def add_to(
    accumulator: vs.Accumulator, way: str, upload: vs.Upload, folder: Path, weight: int = 1
) -> None:
    """Add one upload, as an object, from a file or in pieces."""
    if way == "add":
        accumulator.add(upload, weight)
    elif way == "add_file":
        accumulator.add_file(saved(upload, folder), weight)
    else:
        data = upload.to_bytes()
        arriving = accumulator.receive(len(data), folder)
        middle = len(data) // 2
        arriving.write(middle, data[middle:])
        arriving.write(0, data[:middle])
        arriving.finish(weight)


def sum_by(
    way: str,
    rnd: vs.Round,
    uploads: Sequence[vs.Upload],
    folder: Path,
    weights: Sequence[int] | None = None,
) -> vs.Aggregate:
    """Sum uploads in one of the ways; all give the same bytes."""
    if way == "weighted_sum":
        return vs.weighted_sum(rnd, uploads, weights)
    if way == "sum_files":
        target = folder / f"{next(_numbers)}.sum"
        try:
            vs.sum_files(rnd, [saved(upload, folder) for upload in uploads], target, weights)
        except BaseException:
            assert not target.exists()
            raise
        return vs.Aggregate.load(target, rnd)
    accumulator = vs.Accumulator(rnd)
    for upload, weight in zip(uploads, weights or [1] * len(uploads), strict=True):
        add_to(accumulator, way, upload, folder, weight)
    return accumulator.finish()
