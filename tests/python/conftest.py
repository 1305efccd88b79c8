"""Fixtures every test may use: ISA levels, the testing door, the oracle on the import path.

`isa_level` runs a test once on each level this machine has; `active_level` also makes it the level
the whole core runs on. Without `veilsum._core_testing` (a release build) such tests are skipped,
except in CI, where a build without it is an error: nothing may be skipped there by accident.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `import oracle`

ALL_LEVELS = ("scalar", "avx2", "avx512")
NOT_BUILT = "veilsum._core_testing is not built (configure with -DVEILSUM_TESTING=ON)"

try:
    importlib.import_module("veilsum._core")  # registers the classes the door takes and gives
    _door = importlib.import_module("veilsum._core_testing")
except ImportError as error:  # a release build, or none
    _door = None
    _door_error = str(error)
else:
    _door_error = ""

LEVELS = tuple(_door.levels()) if _door else ()


def pytest_report_header():
    if _door is None:
        return f"veilsum: {NOT_BUILT}; kernel and oracle tests are skipped ({_door_error})"
    absent = [level for level in ALL_LEVELS if level not in LEVELS]
    return (
        f"veilsum: ISA levels tested: {', '.join(LEVELS)}"
        f"; not on this machine or not in this build: {', '.join(absent) or 'none'}"
        f"; active: {_door.active_level()}"
    )


def pytest_configure(config):
    if _door is None and os.environ.get("CI"):
        raise pytest.UsageError(f"{NOT_BUILT}: {_door_error}")
    # A shell starts jobs in the background with SIGINT ignored, and so would be this process and
    # its children. Tests send it to themselves and to those.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc):
    for name in ("isa_level", "active_level"):
        if name in metafunc.fixturenames:
            levels = LEVELS or [pytest.param("none", marks=pytest.mark.skip(reason=NOT_BUILT))]
            metafunc.parametrize(name, levels, indirect=name == "active_level")


@pytest.fixture(scope="session")
def door():
    """veilsum._core_testing."""
    if _door is None:
        pytest.skip(NOT_BUILT)
    return _door


@pytest.fixture
def active_level(request, door):
    """The level the core runs on during this test."""
    before = door.active_level()
    door.set_level(request.param)
    yield request.param
    door.set_level(before)


@pytest.fixture
def rng(request):
    """A random.Random of its own for each test, the same in every run."""
    return random.Random(request.node.nodeid)
