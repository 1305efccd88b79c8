"""Ways to OpenFHE: which is taken, what is said where there is none, threads that do not nest."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import veilsum as vs
from veilsum.engines.openfhe import backend


@pytest.fixture
def fresh(monkeypatch):
    backend._load.cache_clear()
    yield monkeypatch
    backend._load.cache_clear()


def test_without_openfhe_the_message_says_how_to_get_it(fresh):
    fresh.setitem(sys.modules, "veilsum._openfhe", None)
    fresh.delattr(vs, "_openfhe", raising=False)
    fresh.setitem(sys.modules, "openfhe", None)
    fresh.delitem(sys.modules, "veilsum.engines.openfhe.wheel", raising=False)
    fresh.delattr("veilsum.engines.openfhe.wheel", raising=False)
    with pytest.raises(vs.BackendUnavailableError) as caught:
        vs.Plan(clients=777, engine="openfhe")  # no context of it was made yet
    text = str(caught.value)
    assert "CMAKE_PREFIX_PATH" in text
    assert "native" in text
    if sys.version_info[:2] in ((3, 10), (3, 12)):
        assert "veilsum[openfhe]" in text
    else:
        assert "CPython 3.10 and 3.12" in text


def test_an_unknown_backend_is_refused(fresh):
    fresh.setenv("VEILSUM_OPENFHE_BACKEND", "gpu")
    with pytest.raises(vs.ParameterError, match="VEILSUM_OPENFHE_BACKEND"):
        backend.load()


def test_describe_names_the_version(available):
    assert available.startswith("OpenFHE ")
    assert backend.load().version in available


def test_errors_inside_a_parallel_loop_are_typed(parties):
    context = parties.plan.context
    bad = np.zeros(4 * parties.plan.slots)
    bad[parties.plan.slots + 7] = 1e300
    with pytest.raises(vs.VeilsumError, match="OpenFHE could not encrypt a block"):
        context.encrypt(parties.public.handle, bad, 2)
    residues = np.zeros(4 * parties.plan.words(2, rescaled=False), dtype=np.uint64)
    residues[-1] = 2**63
    with pytest.raises(vs.WireFormatError):
        context.read(parties.public.handle, residues, 2, False, 2)


def test_arrays_are_taken_as_they_are_or_refused(parties):
    if backend.load().name != "C++":
        pytest.skip("the Python package takes lists")
    context, key = parties.plan.context, parties.public.handle
    for wrong in (np.zeros(parties.plan.slots, np.float32), np.zeros(2 * parties.plan.slots)[::2]):
        with pytest.raises(TypeError):
            context.encrypt(key, wrong, 1)
    with pytest.raises(vs.ParameterError, match="whole blocks"):
        context.encrypt(key, np.zeros(5), 1)


def test_one_thread_means_one_thread(parties):
    """OpenFHE's inner regions are serial inside ours: one thread uses one core's time."""
    import time

    if backend.load().name != "C++":
        pytest.skip("the Python package has no say over its threads")
    values = np.zeros(24 * parties.plan.slots)
    parties.plan.context.encrypt(parties.public.handle, values, 1)
    wall, cpu = time.perf_counter(), time.process_time()
    parties.plan.context.encrypt(parties.public.handle, values, 1)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert cpu <= 1.2 * wall
