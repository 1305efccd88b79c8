"""Ways to OpenFHE: which is taken, what is said where there is none, what it takes and refuses."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

import veilsum as vs
from veilsum.engines.openfhe import backend
from veilsum.engines.openfhe.keys import public_words

NONE = np.empty(0, dtype=np.uint64)


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
        assert "pip install '.[openfhe]' in Veilsum's repository" in text
    else:
        assert "CPython 3.10 and 3.12" in text


def test_an_unknown_backend_is_refused(fresh):
    fresh.setenv("VEILSUM_OPENFHE_BACKEND", "gpu")
    with pytest.raises(vs.ParameterError, match="VEILSUM_OPENFHE_BACKEND"):
        backend.load()


def test_describe_names_the_version(available):
    assert available.startswith("OpenFHE ")
    assert backend.load().version in available


def words_of(parties):
    """The round's public key, and a secret key that is not its."""
    plan = parties.plan.parameters
    return public_words(plan, parties.public), plan.context.keygen(NONE)[0]


def test_errors_inside_a_parallel_loop_are_typed(parties):
    plan = parties.plan.parameters
    public, secret = words_of(parties)
    bad = np.zeros(4 * plan.slots)
    bad[plan.slots + 7] = 1e300
    with pytest.raises(vs.VeilsumError, match="OpenFHE could not encrypt a block"):
        plan.context.encrypt(public, bad, 2)
    blocks = np.zeros(4 * 2 * plan.polynomial, dtype=np.uint64)
    blocks[-1] = 2**63
    with pytest.raises(vs.WireFormatError, match="not below"):
        plan.context.share(secret, blocks, 2.0**30, 2)


@pytest.mark.parametrize(("name", "row"), [("parties", 0), ("weighing", 0), ("weighing", 1)])
@pytest.mark.parametrize("excess", [0, 2**63])
def test_residues_are_checked_wherever_they_enter(request, name, row, excess):
    some = request.getfixturevalue(name)
    plan = some.plan.parameters
    context, size = plan.context, plan.polynomial
    public, secret = words_of(some)
    block = context.encrypt(public, np.zeros(plan.slots))
    share = context.share(secret, block, 2.0**30)
    last = (row + 1) * plan.ring_degree - 1

    def wrong(words, place=last):
        changed = words.copy()
        changed[place] = context.moduli[row] + excess
        return changed

    for call in (
        lambda: context.encrypt(wrong(public), np.zeros(plan.slots)),
        lambda: context.keygen(wrong(public)),
        lambda: context.share(wrong(secret), block, 2.0**30),
        lambda: context.share(secret, wrong(block, size + last), 2.0**30),
        lambda: context.decrypt(wrong(block), share),
        lambda: context.decrypt(block, wrong(share)),
        lambda: context.block_bytes(wrong(block), "0" * 32),
        lambda: context.public_bytes(wrong(public), "0" * 32),
    ):
        with pytest.raises(vs.WireFormatError, match="not below"):
            call()


def test_lengths_that_do_not_fit_are_refused(parties):
    plan = parties.plan.parameters
    public, secret = words_of(parties)
    block = plan.context.encrypt(public, np.zeros(plan.slots))
    share = plan.context.share(secret, block, 2.0**30)
    for call in (
        lambda: plan.context.encrypt(public, np.zeros(5)),
        lambda: plan.context.encrypt(public[:-1], np.zeros(plan.slots)),
        lambda: plan.context.keygen(public[:-1]),
        lambda: plan.context.share(secret[:-1], block, 2.0**30),
        lambda: plan.context.share(secret, block[:-1], 2.0**30),
        lambda: plan.context.share(secret, block, 0.0),
        lambda: plan.context.share(secret, block, 2.0**57),
        lambda: plan.context.decrypt(block, share[:-1]),
        lambda: plan.context.decrypt(block, np.concatenate([share, share])),
    ):
        with pytest.raises(vs.ParameterError):
            call()


def test_arrays_are_taken_as_they_are_or_refused(parties):
    if backend.load().name != "C++":
        pytest.skip("the Python package takes lists")
    plan = parties.plan.parameters
    public, _ = words_of(parties)
    for wrong in (np.zeros(plan.slots, np.float32), np.zeros(2 * plan.slots)[::2]):
        with pytest.raises(vs.ParameterError, match="arguments of these types"):
            plan.context.encrypt(public, wrong, 1)


def test_one_thread_means_one_thread(parties):
    """OpenFHE's inner regions are serial inside ours: one thread uses one core's time."""
    if backend.load().name != "C++":
        pytest.skip("the Python package has no say over its threads")
    plan = parties.plan.parameters
    public, _ = words_of(parties)
    values = np.zeros(24 * plan.slots)
    plan.context.encrypt(public, values, 1)
    wall, cpu = time.perf_counter(), time.process_time()
    plan.context.encrypt(public, values, 1)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert cpu <= 1.2 * wall


def test_noise_of_the_package_is_gaussian_and_as_wide_as_asked_for(available):
    """Slots of a ring whose coefficients are looked at one by one, by the encoder's own inverse."""
    if backend.load().name == "C++":
        pytest.skip("the C++ engine has OpenFHE's own sampler, whose width the vectors show")
    context = backend.load().make(backend.ContextRequest(4096, 128, 1, 60, 55))
    deviation = 2.0**31
    slots = np.concatenate([context._noise(deviation) for _ in range(20)]) * 2.0**55
    scaled = slots / (deviation * np.sqrt(2048))
    parts = np.concatenate([scaled.real, scaled.imag])  # standard Gaussian, 81,920 of them
    # Six deviations of the sample's mean, variance and fourth moment; and the tail.
    count = parts.size
    assert abs(parts.mean()) < 6 / np.sqrt(count)
    assert abs(parts.var() - 1) < 6 * np.sqrt(2 / count)
    assert abs((parts**4).mean() - 3) < 6 * np.sqrt(96 / count)
    assert abs((scaled.real * scaled.imag).mean()) < 6 / np.sqrt(count / 2)
    assert 3.5 < np.abs(parts).max() < 7
