"""The paper's AES table: AES-256 against Veilsum for 100 k, 1 M and 10 M records.

Comparison layer. A record is one float32 value (4 bytes) or a row of 32 (128 bytes). AES comes from
OpenSSL through `cryptography`: once per record, which is how tables are conventionally encrypted,
and over all records in one call. Veilsum's rows do more than AES's, because its ciphertexts can be
summed without a key, and the rows where AES wins stay in. Everything starts from plaintext in
memory and ends with ciphertext in memory, or the other way round, and every case checks its result.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from veilsum.lab.compare.aes import BULK_MODES, RECORD_MODES, PerRecord, Pieces
from veilsum.lab.compare.sums import Sum, make_update

__all__ = ["CLIENTS", "VALUES_OF", "AesRow", "Sizes", "cut", "measure_aes_table"]

VALUES_OF = {"value": 1, "row of 32": 32}
"""What a record is: float32 values in it, by kind."""

CLIENTS = 10
"""What Veilsum's plan is made for."""

_LEAST_RUNS, _MOST_RUNS = 3, 25


@dataclass(frozen=True)
class AesRow:
    """One measured case.

    Parameters
    ----------
    method : str
        Such as "AES-256-GCM per record".
    operation : str
        "encrypt" or "decrypt".
    kind : str
        What a record is, a key of `VALUES_OF`.
    records : int
        How many.
    threads : int
        Threads that worked.
    seconds : float
        Median of the runs.
    low, high : float
        Quickest and slowest run.
    runs : int
        How many.
    nbytes : int
        Of the ciphertext of all records.
    measured : int
        Records that were measured; where fewer than `records`, seconds and bytes are scaled.
    """

    method: str
    operation: str
    kind: str
    records: int
    threads: int
    seconds: float
    low: float
    high: float
    runs: int
    nbytes: int
    measured: int


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Parameters
    ----------
    tables : sequence of (str, int)
        Kind and number of records of each table.
    per_record_most : int
        Per-record AES is measured on at most so many records, and scaled.
    budget_s : float
        For the runs of one case, beyond the first three.
    """

    tables: Sequence[tuple[str, int]]
    per_record_most: int
    budget_s: float


FULL = Sizes(
    (
        ("value", 100_000),
        ("value", 1_000_000),
        ("value", 10_000_000),
        ("row of 32", 100_000),
        ("row of 32", 1_000_000),
    ),
    per_record_most=100_000,
    budget_s=1.0,
)
QUICK = Sizes(
    (("value", 100_000), ("value", 1_000_000), ("value", 10_000_000)),
    per_record_most=5_000,
    budget_s=0.1,
)


def measure_aes_table(sizes: Sizes, threads: int) -> Iterator[AesRow]:
    """Measure all cases, one after another.

    Parameters
    ----------
    sizes : Sizes
        How much.
    threads : int
        For Veilsum's rows with blocks in parallel; all other rows use one thread.

    Yields
    ------
    AesRow
        As each is done.

    Raises
    ------
    veilsum.VeilsumError
        When a result is wrong.
    """
    for kind, records in sizes.tables:
        values = records * VALUES_OF[kind]
        measured = min(records, sizes.per_record_most)
        data = make_update(measured * VALUES_OF[kind]).data.cast("B")
        plain = [bytes(part) for part in cut(data, 4 * VALUES_OF[kind])]
        for mode in RECORD_MODES:
            each = PerRecord(mode, plain)
            name = f"AES-256-{mode} per record"
            yield from _both(each, name, kind, records, measured, sizes.budget_s)
        del plain, data
        for mode in BULK_MODES:
            bulk = Pieces(mode, make_update(values).data)
            name = f"AES-256-{mode} in bulk"
            yield from _both(bulk, name, kind, records, records, sizes.budget_s)
        yield from _veilsum(kind, records, sorted({1, threads}), sizes.budget_s)


def cut(data: memoryview, length: int) -> list[memoryview]:
    """Return the pieces of a message.

    Parameters
    ----------
    data : memoryview
        The message.
    length : int
        Bytes of a piece.
    """
    return [data[start : start + length] for start in range(0, len(data), length)]


def _both(
    work: PerRecord | Pieces, method: str, kind: str, records: int, measured: int, budget_s: float
) -> Iterator[AesRow]:
    scale = records / measured
    for operation, function in (("encrypt", work.encrypt), ("decrypt", work.decrypt)):
        times = [seconds * scale for seconds in _times(function, budget_s)]
        yield _row(times, method, operation, kind, records, 1, round(work.nbytes * scale), measured)
    work.check()


def _veilsum(kind: str, records: int, threads: Sequence[int], budget_s: float) -> Iterator[AesRow]:
    values = records * VALUES_OF[kind]
    work = Sum(values, clients=CLIENTS, updates=2)
    nbytes = work.plan.upload_bytes(values)
    for count in threads:
        times = _times(lambda count=count: work.encrypt(threads=count), budget_s)  # type: ignore[misc]
        yield _row(times, _name(count), "encrypt", kind, records, count, nbytes, records)
    work.open(threads=None)
    for count in threads:
        times = _times(lambda count=count: work.decrypt(threads=count), budget_s)  # type: ignore[misc]
        yield _row(times, _name(count), "decrypt", kind, records, count, nbytes, records)
    work.check(work.decrypt(threads=None))


def _name(threads: int) -> str:
    return "Veilsum, blocks in series" if threads == 1 else "Veilsum, blocks in parallel"


def _times(function: Callable[[], Any], budget_s: float) -> list[float]:
    """Return wall times of at least three calls after one that does not count."""
    result = function()
    times: list[float] = []
    while len(times) < _LEAST_RUNS or (sum(times) < budget_s and len(times) < _MOST_RUNS):
        # The last result is freed outside the timing.
        del result
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return times


def _row(
    times: list[float],
    method: str,
    operation: str,
    kind: str,
    records: int,
    threads: int,
    nbytes: int,
    measured: int,
) -> AesRow:
    return AesRow(
        method,
        operation,
        kind,
        records,
        threads,
        statistics.median(times),
        min(times),
        max(times),
        len(times),
        nbytes,
        measured,
    )
