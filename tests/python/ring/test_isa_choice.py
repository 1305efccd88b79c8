"""VEILSUM_ISA: one level a process, the best by default; a level that is not there is an error."""

import os
import subprocess
import sys

import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

ALL_LEVELS = ("scalar", "avx2", "avx512")
PROGRAM = """
import veilsum._core as core
try:
    print(core.isa_level(), *core.isa_levels())
except core.VeilsumError as error:
    print(type(error).__name__, error)
"""


def run(level):
    """What a process says whose VEILSUM_ISA is `level` (None: not set)."""
    environment = {k: v for k, v in os.environ.items() if k != "VEILSUM_ISA"}
    if level is not None:
        environment["VEILSUM_ISA"] = level
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_the_highest_level_is_the_default():
    expected = f"{core.isa_levels()[-1]} {' '.join(core.isa_levels())}"
    assert run(None) == expected
    assert run("") == expected
    assert core.isa_levels()[0] == "scalar"
    assert [level for level in ALL_LEVELS if level in core.isa_levels()] == core.isa_levels()


@pytest.mark.parametrize("level", ALL_LEVELS)
def test_a_forced_level_is_used_or_refused(level):
    answer = run(level)
    if level in core.isa_levels():
        assert answer.split()[0] == level
    else:
        assert answer.startswith("BackendUnavailableError")
        assert level in answer


@pytest.mark.parametrize("level", ["avx", "AVX512", "scalar ", "sse4", "0"])
def test_an_unknown_level_is_refused(level):
    answer = run(level)
    assert answer.startswith("ParameterError")
    assert all(name in answer for name in ALL_LEVELS)
