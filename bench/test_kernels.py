"""Kernels by themselves: nanoseconds a coefficient on every ISA level and ring size.

Needs the testing build (veilsum._core_testing), whose `time_kernel` loops over a kernel in C++: a
call from Python takes longer than a kernel does. One limb, data in the cache. What the kernels
compute is checked here in passing (the tests hold them against an oracle).
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from bench.measure import Measure, Reported
from bench.profiles import Profile

SIZES = (2048, 4096, 8192, 16384)
# What else a block passes through; the ring size changes nothing for these.
OTHERS = {
    "aes_ctr": "AES-256-CTR keystream, 8 bytes",
    "sample_cbd": "error sampler (CBD, width 8)",
    "quantise": "quantise a float32, in float",
    "quantise_double": "quantise a float32, in double",
    "dequantise": "dequantise to a float32, in float",
    "dequantise_double": "dequantise to a float32, in double",
    "encrypt_block": "sample, add the message, round, pack",
    "make_pad": "sample, add to the pad, pack",
    "encrypt_from_pad": "unpack, add the message, round, pack",
    "decrypt_block": "unpack, subtract the rounded pad, decode",
    "tag_run": "hash for the sum tag, both evaluations, a word of two digits",
    "pack_fields": "pack 43 bits",
    "unpack_fields": "unpack 43 bits",
    "sum_fields_10": "sum 10 packed blocks",
}
RING = {
    "ntt_forward": "NTT forward",
    "ntt_inverse": "NTT inverse (lazy)",
    "expand_uniform": "expand uniform slots",
    "multiply_slots": "multiply slots by the key",
    "multiply_inverse": "multiply slots by the key, NTT inverse (lazy)",
}
LEVELS = ("scalar", "avx2", "avx512")
NOT_BUILT = "needs the testing build (make install-testing)"
Cases = tuple[str, list[Any]]


def door() -> Any:
    """Return veilsum._core_testing, or None."""
    try:
        importlib.import_module("veilsum._core")
        return importlib.import_module("veilsum._core_testing")
    except ImportError:
        return None


def cases_of_test_kernel(_profile: Profile) -> Cases:
    return "level,kernel,n", [
        (level, kernel, n)
        for level in LEVELS
        for kernel in (*RING, *OTHERS)
        for n in (SIZES if kernel in RING else SIZES[:1])
    ]


def test_kernel(measure: Measure, profile: Profile, level: str, kernel: str, n: int) -> None:
    core = door()
    if core is None or not hasattr(core, "time_kernel"):
        measure.skip("kernels", NOT_BUILT)
    if level not in core.levels():
        measure.skip(f"kernels, level {level}", "not in this build, or not on this processor")
    check(core, level, n)
    once = min(core.time_kernel(level, kernel, n, 1) for _ in range(3))
    repeats = max(1, min(100_000, int(profile.kernel_s / max(once, 1e-7))))

    def run() -> Reported:
        return Reported(core.time_kernel(level, kernel, n, repeats) / repeats)

    measure.row(
        run,
        method={**RING, **OTHERS}[kernel],
        operation=kernel,
        values=n,
        threads=1,
        case={"level": level, "n": n},
        note=f"mean of {repeats:,} calls in a round" if repeats > 1 else "",
    )


def check(core: Any, level: str, n: int) -> None:
    """Raise AssertionError unless the level's kernels agree with each other and with scalar."""
    q = core.primes()[0]
    keys = core.expander_round_keys("bench", b"", bytes(32), 32)
    residues = core.expand_uniform(level, keys, 1, q, n)
    assert np.array_equal(residues, core.expand_uniform("scalar", keys, 1, q, n))
    assert residues.max() < q
    back = core.ntt_inverse_lazy(level, core.ntt_forward(level, residues, q), q)
    back &= np.uint64((1 << 52) - 1)
    assert all(int(b) % q == int(a) * n % q for a, b in zip(residues, back, strict=True))
    packed = core.pack_fields(level, residues, 48)
    assert np.array_equal(core.unpack_fields(level, packed, 48), residues)
    samples = core.sample_cbd(level, keys, 2, n)
    assert np.array_equal(samples, core.sample_cbd("scalar", keys, 2, n))
