"""A busy machine: default threads against one, while other processes keep every core busy.

Training keeps cores busy. A call that starts threads there waits for a processor for each of them,
and OpenMP's threads spin while they wait for each other. So short calls stay on one thread, and the
command line asks for a passive wait; a library's user sets OMP_WAIT_POLICY=passive (README.md).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.measure import Measure
from bench.profiles import Profile
from veilsum.lab.compare.sums import Sum

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
BUSY = "while True: pass"


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep `count` processes computing."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("size", SIZES)
def test_default_threads(measure: Measure, profile: Profile, size: int) -> None:
    work = Sum(min(size, profile.ratio_values), updates=2)
    work.open()
    work.upload_all()
    count = os.cpu_count() or 1
    with busy_processes(count):
        times = measure.interleaved(
            {
                "encrypt": lambda: work.encrypt(0, threads=None),
                "encrypt, one thread": lambda: work.encrypt(0, threads=1),
                "the uploads into the cache": lambda: work.sum(threads=1),
                "sum": lambda: work.sum(threads=None),
                "sum, one thread": lambda: work.sum(threads=1),
                "decrypt": lambda: work.decrypt(threads=None),
                "decrypt, one thread": lambda: work.decrypt(threads=1),
            },
            2 * profile.ratio_rounds,
        )
    work.check(work.decrypt())
    for step in ("encrypt", "sum", "decrypt"):
        measure.ratio(
            f"busy machine: {step} of {work.size:,} values, default threads / one thread",
            times[step],
            times[f"{step}, one thread"],
            must=1.5,
            note=f"{count} busy processes beside it on {count} cores; OMP_WAIT_POLICY="
            f"{os.environ.get('OMP_WAIT_POLICY', 'unset')}",
        )
