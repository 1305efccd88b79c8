"""Pads made ahead, from Python: the same uploads, the rules of use, and what happens at the end."""

from __future__ import annotations

import copy
import gc
import hashlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import veilsum as vs
from oracle import sealed, wire
from veilsum import _core
from veilsum.api import pads as pads_module

SIZE = 30_000
LONG_S = 300.0


def make_round(size: int = SIZE, **plan) -> tuple[vs.SecretKey, vs.Round]:
    plan = vs.Plan(clients=4, **plan)
    secret, public = vs.keygen(plan)
    return secret, vs.Round(plan, public, size=size, limit=1.0)


@pytest.fixture(scope="module")
def secret_and_round():
    return make_round()


@pytest.fixture
def rnd(secret_and_round):
    return secret_and_round[1]


@pytest.fixture
def update():
    return np.random.default_rng(5).uniform(-1, 1, SIZE).astype(np.float32)


def payload_of(rnd: vs.Round) -> int:
    store = vs.PadStore(rnd, budget_bytes=1 << 40)
    with store:
        return store.planned_bytes


def sealer(key: bytes, info: bytes, secret: bytes) -> bytes:
    """Stand in for the sealing, which would give other bytes at every call."""
    return hashlib.shake_256(key + info + secret).digest(sealed.SEALED_BYTES)


def ready(rnd: vs.Round, **options) -> vs.PadStore:
    store = vs.PadStore(rnd, **{"budget_bytes": 1 << 26, **options})
    assert store.wait(LONG_S)
    return store


@pytest.mark.filterwarnings("ignore::veilsum.VeilsumWarning")  # clipped on purpose
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize(
    "plan",
    [{}, {"profile": "n4096"}, {"value_bits": 9, "optimise": "size"}],
    ids=["n2048", "n4096", "n8192"],
)
def test_seeded_uploads_are_the_same_bytes(door, active_level, plan, rounding, rng):
    _, rnd = make_round(20_001, **plan)
    values = np.array([rng.uniform(-1.2, 1.2) for _ in range(rnd.size)], dtype=np.float32)
    # Of the upload, of its rounding, and the nonce.
    seeds = [(rng.randbytes(32), rng.randbytes(32), rng.randbytes(16)) for _ in range(2)]
    store = door.pad_store_seeded(rnd, budget_bytes=1 << 26, uploads=2, threads=2, seeds=seeds)
    assert store.wait(LONG_S)
    assert store.ready_bytes == store.planned_bytes > 0
    for k in range(2):
        one = _core.encrypt(
            rnd, [values], ["float32"], rounding=rounding, weight=0.9, threads=2, pads=store,
            seal=sealer,
        )  # fmt: skip
        other = door.encrypt_seeded(
            rnd, [values], ["float32"], seeds[k], sealer, rounding=rounding, weight=0.9
        )
        assert one.to_bytes() == other.to_bytes()
        assert one.clipped == other.clipped > 0
    assert store.ready_bytes == store.planned_bytes == 0


def test_a_sum_of_such_uploads_opens_to_the_mean(secret_and_round, rng):
    secret, rnd = secret_and_round
    generator = np.random.default_rng(1)
    updates = [generator.uniform(-1, 1, SIZE).astype(np.float32) for _ in range(4)]
    # Ready, half ready at best, too small a budget, and none.
    stores = [
        ready(rnd),
        vs.PadStore(rnd, budget_bytes=1 << 26),
        vs.PadStore(rnd, budget_bytes=1 << 14),
        None,
    ]
    uploads = [vs.encrypt(rnd, u, pads=p) for u, p in zip(updates, stores, strict=True)]
    total = vs.weighted_sum(rnd, uploads)
    mean = vs.decrypt(vs.open_sum(secret, rnd, total), total)
    step = 1.0 / (2**15 - 1)
    # Half a step, and the rounding of the mean to float32.
    assert np.abs(mean - np.mean(updates, axis=0, dtype=np.float64)).max() <= step / 2 + 2.0**-23
    assert len({upload.digest for upload in uploads}) == 4


def test_each_pad_is_used_once(rnd, update):
    payload = payload_of(rnd)
    assert payload == rnd.pad_bytes
    store = ready(rnd, uploads=3, budget_bytes=2 * payload)
    assert store.ready_bytes == 2 * payload
    uploads = []
    for left in (payload, 0, 0):  # the third is made on the spot
        uploads.append(vs.encrypt(rnd, update, pads=store))
        assert store.ready_bytes == left
    # Check blocks lie last; a pad used twice would show in them, as in any block.
    assert len({wire.read_upload(upload.to_bytes())[2][-1000:] for upload in uploads}) == 3
    assert len({upload.digest for upload in uploads}) == 3


def test_a_failed_encryption_uses_its_pads_up(rnd, update):
    payload = payload_of(rnd)
    store = ready(rnd, uploads=4)

    def stop(done: int, total: int) -> None:
        raise RuntimeError("stop")

    bad = update.copy()
    bad[17] = np.nan
    with pytest.raises(vs.ParameterError, match="value 17"):
        vs.encrypt(rnd, bad, pads=store)
    assert store.ready_bytes == 3 * payload
    with pytest.raises(vs.ParameterError, match="on_clip"):
        vs.encrypt(rnd, update, weight=100.0, on_clip="error", pads=store)
    assert store.ready_bytes == 2 * payload
    with pytest.raises(RuntimeError, match="stop"):
        vs.encrypt(rnd, update, progress=stop, pads=store)
    assert store.ready_bytes == payload
    with pytest.raises(vs.ParameterError):
        vs.encrypt(rnd, update[1:], pads=store)  # does not fit the round: nothing is used up
    assert store.ready_bytes == payload


def test_pads_of_another_round_are_refused(rnd, update):
    _, other = make_round()
    store = ready(other)
    with pytest.raises(vs.RoundError, match=rnd.id.hex()[:8]):
        vs.encrypt(rnd, update, pads=store)
    assert store.ready_bytes == store.planned_bytes


def test_signed_uploads(update):
    plan = vs.Plan(clients=2)
    secret, public = vs.keygen(plan)
    identities = [vs.Identity.generate() for _ in range(2)]
    rnd = vs.Round(plan, public, size=SIZE, limit=1.0, roster=identities)
    uploads = [vs.encrypt(rnd, update, signer=one, pads=ready(rnd)) for one in identities]
    total = vs.weighted_sum(rnd, uploads)
    mean = vs.decrypt(vs.open_sum(secret, rnd, total), total)
    assert np.abs(mean - update).max() <= 0.5 / (2**15 - 1) + 2.0**-23


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget_bytes": 0}, "holds no block"),
        ({"budget_bytes": -1}, "budget_bytes = -1"),
        ({"budget_bytes": 12_287}, "12288 bytes"),
        ({"budget_bytes": 1 << 20, "uploads": 0}, "uploads = 0"),
        ({"budget_bytes": 1 << 20, "uploads": -2}, "uploads = -2"),
        ({"budget_bytes": 1 << 20, "threads": 0}, "threads = 0"),
        ({"budget_bytes": 1 << 20, "threads": 1 << 40}, "outside 1"),
    ],
)
def test_arguments_are_checked(rnd, options, message):
    with pytest.raises(vs.ParameterError, match=message):
        vs.PadStore(rnd, **options)


def test_waiting(rnd):
    store = ready(rnd)
    assert store.wait(0)
    assert store.wait()
    for bad in (-1.0, float("nan")):
        with pytest.raises(vs.ParameterError, match="timeout_s"):
            store.wait(bad)
    _, large = make_round(40_000_000)
    with vs.PadStore(large, budget_bytes=1 << 40) as slow:
        assert not slow.wait(0.001)
        assert slow.ready_bytes < slow.planned_bytes


def test_closing(rnd, update):
    with ready(rnd) as store:
        assert not store.closed
    assert store.closed
    assert store.ready_bytes == 0
    assert not store.wait()
    store.close()
    with pytest.raises(vs.ParameterError, match="closed"):
        vs.encrypt(rnd, update, pads=store)


def test_the_text_shows_numbers_only(rnd):
    store = ready(rnd)
    text = (
        f"<veilsum.PadStore of round {rnd.id.hex()[:16]}: {store.ready_bytes} of "
        f"{store.budget_bytes} bytes ready>"
    )
    assert repr(store) == str(store) == text


def test_a_store_is_not_pickled_or_copied(rnd):
    store = ready(rnd)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="PadStore"):
            pickle.dumps(store, protocol)
    for function in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="PadStore"):
            function(store)


def test_background_threads_do_not_hold_the_lock(rnd):
    """Python goes on while pads are made; and they are made while Python runs."""
    _, large = make_round(4_000_000)
    with vs.PadStore(large, budget_bytes=1 << 40) as store:
        until = time.monotonic() + LONG_S
        while store.ready_bytes < store.planned_bytes and time.monotonic() < until:
            sum(range(1000))
        assert store.ready_bytes == store.planned_bytes
        assert store.background_seconds > 0


def test_many_threads_of_python(rnd, update):
    store = vs.PadStore(rnd, budget_bytes=1 << 30, uploads=12, threads=2)
    digests = []

    def work() -> None:
        for _ in range(3):
            digests.append(vs.encrypt(rnd, update, threads=1, pads=store).digest)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(digests)) == 12
    assert store.planned_bytes == 0


def test_a_forgotten_store_goes(rnd):
    before = len(pads_module._open)
    store = vs.PadStore(rnd, budget_bytes=1 << 26)
    assert len(pads_module._open) == before + 1
    del store
    gc.collect()
    assert len(pads_module._open) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_gets_none(rnd, update):
    store = ready(rnd)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            vs.encrypt(rnd, update, pads=store)
        except vs.RoundError:
            # Its own encryptions and its own store work; ending does not wait for the parent's.
            with vs.PadStore(rnd, budget_bytes=1 << 26) as own:
                vs.encrypt(rnd, update, threads=1, pads=own)
            store.close()
            status = 0 if store.ready_bytes == 0 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.ready_bytes == store.planned_bytes
    vs.encrypt(rnd, update, pads=store)


ENDINGS = {
    "left alone": "",
    "an error": "raise SystemExit(7)",
    "a forked child that ends": (
        "pid = os.fork()\nif pid == 0: sys.exit(0)\n"
        "code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\nassert code == 0, code"
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_interpreter_ends_at_once_with_a_store_at_work(ending):
    """Gigabytes of pads are still to be made; nothing hangs and nothing crashes."""
    script = (
        "import os, sys, warnings\nimport veilsum as vs\n"
        "warnings.simplefilter('ignore')\n"
        "plan = vs.Plan(clients=4)\nsecret, public = vs.keygen(plan)\n"
        "rnd = vs.Round(plan, public, size=20_000_000, limit=1.0)\n"
        "store = vs.PadStore(rnd, budget_bytes=1 << 33, uploads=50, threads=2)\n"
        "sys.modules['kept'] = store\n" + ENDINGS[ending]
    )
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        timeout=LONG_S,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.stderr == b""
    assert done.returncode == (7 if ending == "an error" else 0)
    assert time.monotonic() - start < LONG_S


def test_an_interrupt_is_heard_while_waiting():
    _, large = make_round(100_000_000)
    with vs.PadStore(large, budget_bytes=1 << 40) as store:
        timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            for _ in range(100):
                store.wait(LONG_S)
                time.sleep(0.05)  # on a fast machine the pads may be ready before the interrupt
        timer.join()
