"""Connections that send little: an upload on its way takes the memory of what has come of it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

import veilsum as vs
from security.stages import MEASURING, PRELUDE

only_linux = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="this system does not say what a process has"
)


def grown_kib(what: str) -> int:
    """Resident KiB that 200 uploads of a megabyte take, each with some of its bytes here."""
    body = (
        PRELUDE
        + MEASURING
        + f"""
plan = vs.Plan(1000)
secret, public = vs.keygen(plan)
rnd = vs.Round(plan, public, size=270_000)
size = rnd.cipher.upload_bytes(rnd.size)
assert 1 << 19 < size <= 1 << 20, size
sums = vs.Accumulator(rnd)
before = kib()
arriving = [sums.receive(size) for _ in range(200)]
for one in arriving:
    {what}
print(kib() - before)
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", body], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@only_linux
@pytest.mark.parametrize(
    "what, most_kib",
    [
        ("pass", 4_000),
        ("one.write(0, b'x')", 8_000),  # a page of 4 KiB and a list of pages each
        ("one.write(size - 1, b'x')", 8_000),
        ("one.write(5000, bytes(100_000))", 40_000),
    ],
)
def test_memory_comes_with_the_bytes(what, most_kib):
    assert grown_kib(what) < most_kib


@only_linux
def test_the_measure_sees_what_comes():
    """Half a megabyte each is there."""
    assert grown_kib("one.write(0, bytes(1 << 19))") > 80_000


@pytest.mark.parametrize("order", ["forward", "backward", "odd first"])
def test_pieces_across_pages(stage, order):
    """Pieces that begin and end beside the pages' borders."""
    rnd = stage.round(size=6000)
    first, second = stage.uploads(rnd, 2)
    expected = vs.weighted_sum(rnd, [first, second]).to_bytes()
    data = first.to_bytes()
    assert len(data) > 3 * 4096
    cuts = sorted({0, 1, 4095, 4096, 4097, 8191, 8200, 12288, len(data) - 1, len(data)})
    pieces = list(itertools.pairwise(cuts))
    if order == "backward":
        pieces.reverse()
    elif order == "odd first":
        pieces = pieces[1::2] + pieces[::2]
    sums = vs.Accumulator(rnd)
    arriving = sums.receive(len(data))
    for begin, end in pieces:
        arriving.write(begin, data[begin:end])
        arriving.write(begin, data[begin:end])  # again: compared with what is here
    with pytest.raises(vs.WireFormatError, match="twice with different bytes"):
        arriving.write(4000, bytes(b ^ 1 for b in data[4000:4200]))
    arriving.finish()
    sums.add(second)
    assert sums.finish().to_bytes() == expected
