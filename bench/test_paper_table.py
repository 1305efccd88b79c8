"""The paper's table: AES against Veilsum for 100 k, 1 M and 10 M records, encrypt and decrypt.

A record is one float32 value (4 bytes), or a row of 32 float32 features (128 bytes). AES-256 comes
from OpenSSL through `cryptography`: once per record, the conventional way, and over all records in
one call. Veilsum's rows do more than AES's: its ciphertexts can be summed. All rows start from
plaintext in memory and end with ciphertext in memory, and the other way round.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from bench.measure import Measure, Reported
from bench.peers.worker import FOLDER, team
from bench.profiles import Profile
from bench.terms import memory_available
from veilsum.lab.compare.aes import BULK_MODES, RECORD_MODES, PerRecord, Pieces
from veilsum.lab.compare.aes_table import CLIENTS, VALUES_OF, cut
from veilsum.lab.compare.sums import Sum, make_update

CORES = os.cpu_count() or 1
OPERATIONS = ("encrypt", "decrypt")
Cases = tuple[str, list[Any]]


def tables(profile: Profile) -> list[tuple[str, int]]:
    """Return (kind of record, number of records) of every table."""
    return [("value", count) for count in profile.records] + [
        ("row of 32", count) for count in profile.row_records
    ]


def teams() -> list[str]:
    """Return "one" and, where there are more cores than one, "all"."""
    return ["one", "all"] if CORES > 1 else ["one"]


def cases_of_test_aes_per_record(profile: Profile) -> Cases:
    return "mode,kind,records,cores,operation", [
        (mode, kind, records, cores, operation)
        for kind, records in tables(profile)
        for mode in RECORD_MODES
        for cores in teams()
        for operation in OPERATIONS
    ]


def test_aes_per_record(
    measure: Measure,
    profile: Profile,
    mode: str,
    kind: str,
    records: int,
    cores: str,
    operation: str,
) -> None:
    measured = records if records <= profile.per_record_limit else profile.per_record_sample
    values = VALUES_OF[kind]
    scale = records / measured
    notes = []
    if scale != 1.0:
        notes.append(f"measured on {measured:,} records, scaled by {scale:g}")
    if cores == "one":
        data = make_update(measured * values).data.cast("B")
        work = PerRecord(mode, [bytes(part) for part in cut(data, 4 * values)])
        file_row(measure, work, f"AES-256-{mode} per record", kind, records, 1, operation, notes)
        work.check()
    else:
        aes_on_all_cores(measure, mode, "per record", kind, records, measured, operation, notes)


def cases_of_test_aes_bulk(profile: Profile) -> Cases:
    return "mode,kind,records,cores,operation", [
        (mode, kind, records, cores, operation)
        for kind, records in tables(profile)
        for mode in BULK_MODES
        for cores in teams()
        for operation in OPERATIONS
    ]


def test_aes_bulk(
    measure: Measure, mode: str, kind: str, records: int, cores: str, operation: str
) -> None:
    values = VALUES_OF[kind]
    require_memory(
        measure, f"AES-256-{mode} bulk, {records:,} records ({kind})", 16 * records * values
    )
    if cores == "one":
        work = Pieces(mode, make_update(records * values).data)
        file_row(measure, work, f"AES-256-{mode} bulk", kind, records, 1, operation, [])
        work.check()
    else:
        aes_on_all_cores(measure, mode, "bulk", kind, records, records, operation, [])


def cases_of_test_veilsum_encrypt(profile: Profile) -> Cases:
    return "kind,records,cores", [
        (kind, records, cores) for kind, records in tables(profile) for cores in teams()
    ]


def test_veilsum_encrypt(measure: Measure, kind: str, records: int, cores: str) -> None:
    values = records * VALUES_OF[kind]
    require_memory(measure, f"Veilsum, {records:,} records ({kind})", 20 * values)
    threads = 1 if cores == "one" else CORES
    work = Sum(values, clients=CLIENTS, updates=1)
    upload = measure.row(
        lambda: work.encrypt(threads=threads),
        method=f"Veilsum, blocks in {'series' if cores == 'one' else 'parallel'}",
        operation="encrypt",
        values=values,
        threads=threads,
        nbytes=work.plan.upload_bytes(values),
        case={"record": kind, "records": records},
    )
    assert upload.nbytes == work.plan.upload_bytes(values)
    assert upload.clipped == 0


cases_of_test_veilsum_decrypt = cases_of_test_veilsum_encrypt


def test_veilsum_decrypt(measure: Measure, kind: str, records: int, cores: str) -> None:
    values = records * VALUES_OF[kind]
    require_memory(measure, f"Veilsum, {records:,} records ({kind})", 20 * values)
    threads = 1 if cores == "one" else CORES
    work = Sum(values, clients=CLIENTS, updates=2)
    work.open(threads=None)
    mean = measure.row(
        lambda: work.decrypt(threads=threads),
        method=f"Veilsum, blocks in {'series' if cores == 'one' else 'parallel'}",
        operation="decrypt",
        values=values,
        threads=threads,
        case={"record": kind, "records": records},
        note="of the sum of two uploads",
    )
    work.check(mean)


cases_of_test_veilsum_ready_pads = cases_of_test_veilsum_encrypt


def test_veilsum_ready_pads(measure: Measure, kind: str, records: int, cores: str) -> None:
    values = records * VALUES_OF[kind]
    require_memory(measure, f"Veilsum, {records:,} records ({kind})", 20 * values)
    threads = 1 if cores == "one" else CORES
    work = Sum(values, clients=CLIENTS, updates=1)
    upload = measure.row(
        lambda: Reported(*work.encrypt_from_ready_pads(threads=threads)),
        method="Veilsum, from ready pads",
        operation="encrypt",
        values=values,
        threads=threads,
        nbytes=work.plan.upload_bytes(values),
        case={"record": kind, "records": records},
        note="making the pads ahead is not timed",
    )
    assert upload.nbytes == work.plan.upload_bytes(values)
    assert upload.clipped == 0


def file_row(
    measure: Measure,
    work: PerRecord | Pieces,
    method: str,
    kind: str,
    records: int,
    threads: int,
    operation: str,
    notes: list[str],
) -> None:
    """Time one of the two operations of `work` in this process and file its row."""
    counted = len(work.records) if isinstance(work, PerRecord) else records
    scale = records / counted
    if operation == "decrypt":
        work.encrypt()
    measure.row(
        work.encrypt if operation == "encrypt" else work.decrypt,
        method=method,
        operation=operation,
        values=records * VALUES_OF[kind],
        threads=threads,
        nbytes=round(work.nbytes * scale) if operation == "encrypt" else None,
        case={"record": kind, "records": records},
        note="; ".join(notes),
        scale=scale,
    )


def aes_on_all_cores(
    measure: Measure,
    mode: str,
    style: str,
    kind: str,
    records: int,
    measured: int,
    operation: str,
    notes: list[str],
) -> None:
    """Share the records out to one process a core; each encrypts or decrypts its own."""
    shares = [measured * (index + 1) // CORES - measured * index // CORES for index in range(CORES)]
    scale = records / measured
    with team(sys.executable, FOLDER / "aes_runner.py", CORES) as workers:
        common = {"mode": mode, "style": style, "record_bytes": 4 * VALUES_OF[kind]}
        loaded = workers.call(
            "load",
            [{**common, "records": share, "seed": seed} for seed, share in enumerate(shares)],
        )
        workers.call("encrypt")
        measure.row(
            lambda: workers.call(operation),
            method=f"AES-256-{mode} {style}",
            operation=operation,
            values=records * VALUES_OF[kind],
            threads=CORES,
            nbytes=round(sum(loaded.value) * scale) if operation == "encrypt" else None,
            case={"record": kind, "records": records},
            note="; ".join([*notes, f"{CORES} processes, results stay apart"]),
            scale=scale,
        )
        assert all(workers.call("check").value)


def require_memory(measure: Measure, what: str, nbytes: int) -> None:
    """Skip the test when `nbytes` are not free, with room to spare."""
    available = memory_available()
    if available and nbytes * 1.25 > available:
        measure.skip(what, f"needs {nbytes / 2**30:.1f} GiB of free memory")
