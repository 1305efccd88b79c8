"""The steps from file to file: peak memory, throughput, and the sum against reading its inputs.

Files stand in pytest's temporary folder, and in the page cache: the disk is not what is measured,
but for the sync at the end of each output, which is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import veilsum as vs
from bench.measure import Measure, Reported
from bench.peak import STEPS, peak_bytes
from bench.profiles import Profile
from bench.results import Ratio
from veilsum.lab.compare.sums import LIMIT, check_mean, make_update

CORES = os.cpu_count() or 1
UPLOADS = 10
MIB = 1 << 20
MOST_MIB = 64


@pytest.fixture(scope="module")
def work(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Everything that the steps read, for a vector of the profile's size."""
    folder = tmp_path_factory.mktemp("files")
    plan = vs.Plan(clients=UPLOADS)
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=profile.file_values, limit=LIMIT)
    rnd.save(folder / "round.vs")
    update = make_update(rnd.size)
    np.save(folder / "in.npy", update)
    for name in ("a", "b"):
        vs.encrypt_file(rnd, folder / "in.npy", folder / f"{name}.up")
    total = vs.sum_files(rnd, [folder / "a.up", folder / "b.up"], folder / "total.vs")
    key = vs.open_sum(secret, rnd, total)
    key.save(folder / "sum.key")
    yield SimpleNamespace(
        folder=folder, plan=plan, round=rnd, total=total, key=key, update=update, secret=secret
    )
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize("step", STEPS)
def test_peak_memory(measure: Measure, work: SimpleNamespace, step: str) -> None:
    """DESIGN.md section 9: at most 64 MiB of extra memory at any size."""
    if not Path("/proc/self/clear_refs").exists():
        measure.skip(f"peak extra memory: {step}", "peaks are read from Linux's /proc")
    found: list[int] = []
    measure.interleaved({"peak": lambda: found.append(peak_bytes(step, work.folder))}, 1)
    peak = max(found) / MIB
    assert peak <= MOST_MIB
    measure.add_ratio(
        Ratio(
            f"peak extra memory from file to file: {step}, MiB",
            peak,
            peak,
            peak,
            must=float(MOST_MIB),
            note=f"{work.round.size:,} values, {CORES} threads, a process of its own; no timing",
        )
    )


def cases_of_test_throughput(_profile: Profile) -> tuple[str, list[tuple[str, int]]]:
    threads = sorted({1, CORES})
    return "step,threads", [(step, n) for step in ("encrypt", "sum", "decrypt") for n in threads]


def test_throughput(measure: Measure, work: SimpleNamespace, step: str, threads: int) -> None:
    """Time from file to file, output synced to disk."""
    folder, rnd = work.folder, work.round
    uploads = [folder / "a.up", folder / "b.up"]
    steps = {
        "encrypt": lambda: vs.encrypt_file(
            rnd, folder / "in.npy", folder / "x.up", threads=threads
        ),
        "sum": lambda: vs.sum_files(rnd, uploads, folder / "x.vs", threads=threads),
        "decrypt": lambda: vs.decrypt_file(work.key, work.total, folder / "x.npy", threads=threads),
    }
    measure.row(
        steps[step],
        method="Veilsum, files",
        operation=f"{step} of two" if step == "sum" else step,
        values=rnd.size,
        threads=threads,
        nbytes=work.plan.upload_bytes(rnd.size),
    )
    if step == "encrypt":
        assert vs.Upload.load(folder / "x.up", rnd).clipped == 0
    elif step == "sum":
        assert (folder / "x.vs").read_bytes() == (folder / "total.vs").read_bytes()
    else:
        mean = np.load(folder / "x.npy", mmap_mode="r")
        check_mean(mean, [work.update, work.update], work.plan)
    (folder / {"encrypt": "x.up", "sum": "x.vs", "decrypt": "x.npy"}[step]).unlink()


def of_processor(function: Callable[[], object]) -> Callable[[], Reported]:
    """Time `function` by this thread's processor time: what waits for the disk does not count."""

    def timed() -> Reported:
        start = time.thread_time()
        result = function()
        return Reported(time.thread_time() - start, result)

    return timed


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_sum_against_reading(
    measure: Measure, profile: Profile, tmp_path: Path, signed: bool
) -> None:
    """Ten files summed and checked, against reading the same files once into a buffer."""
    plan = vs.Plan(clients=UPLOADS)
    _, public = vs.keygen(plan)
    signers = [vs.Identity.generate() if signed else None for _ in range(UPLOADS)]
    roster = vs.Roster([signer for signer in signers if signer is not None]) if signed else None
    rnd = vs.Round(plan, public, size=profile.ratio_values, limit=LIMIT, roster=roster)
    np.save(tmp_path / "in.npy", make_update(rnd.size))
    paths = [tmp_path / f"{index}.up" for index in range(UPLOADS)]
    for path, signer in zip(paths, signers, strict=True):
        vs.encrypt_file(rnd, tmp_path / "in.npy", path, signer=signer)
    buffer = memoryview(bytearray(1 << 20))  # stays in the cache: the fastest way to read a file
    size = sum(path.stat().st_size for path in paths)

    def read() -> None:
        done = 0
        for path in paths:
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    done += count
        assert done == size

    def to_file() -> vs.AggregateFile:
        return vs.sum_files(rnd, paths, tmp_path / "total.vs", threads=1)

    def accumulate() -> vs.Aggregate:
        aggregator = vs.Accumulator(rnd)
        for path in paths:
            aggregator.add_file(path, threads=1)
        return aggregator.finish()

    times = measure.interleaved(
        {
            "sum": to_file,
            "read": read,
            "accumulate": accumulate,
            "sum, processor": of_processor(to_file),
            "read, processor": of_processor(read),
        },
        profile.ratio_rounds,
    )
    assert accumulate().to_bytes() == (tmp_path / "total.vs").read_bytes()
    files = f"{UPLOADS} {'signed ' if signed else ''}files"
    goal = None if signed else 1.3
    checks = f"every residue and checksum{' and the SHA-256 of every block' if signed else ''}"
    note = (
        f"{size:,} bytes in the page cache, read by read(2) into 1 MiB; the sum also checks "
        f"{checks}"
    )
    measure.ratio(
        f"sum of {files} to a file / reading them once",
        times["sum"],
        times["read"],
        must=None,
        goal=goal,
        note=f"{note}, and writes and syncs its output",
    )
    measure.ratio(
        f"sum of {files} to a file / reading them once, processor time",
        times["sum, processor"],
        times["read, processor"],
        must=None,
        goal=goal,
        note=f"{note}, and writes its output; waiting for the disk is left out, which is the sync",
    )
    measure.ratio(
        f"streaming accumulator of {files} / reading them once",
        times["accumulate"],
        times["read"],
        must=None,
        goal=goal,
        note=note,
    )
