"""Encrypting twice gives unrelated uploads, in whatever process and on whatever thread.

Two uploads under the same randomness give away the difference of what they hold. (Rule 1. That
native keys and errors come from seeds that are drawn anew is in aggregate/test_rules.py; that pads
are used once, in test_pads.py.)
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading

import numpy as np
import pytest

import veilsum as vs
from security import forging
from security.stages import in_child

VALUES = 500
fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
forked = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def raw_upload(rnd):
    """Head and blocks of an upload of zeros."""
    return forging.RawUpload.of(vs.encrypt(rnd, np.zeros(rnd.size, np.float32)), rnd)


def unrelated(stage, uploads):
    """No two uploads have a nonce, a sealed key or a part of their blocks in common."""
    assert len({one.head.nonce for one in uploads}) == len(uploads)
    assert len({one.head.part for one in uploads}) == len(uploads)
    assert len({one.blocks for one in uploads}) == len(uploads)
    if not stage.encrypts:
        return
    for one, other in itertools.combinations(uploads, 2):
        a, b = (np.frombuffer(each.blocks, np.uint8) for each in (one, other))
        same = np.count_nonzero(a == b)
        # Random bytes agree at 1 in 256; the top bytes of OpenFHE's words, of 53 bits, always do.
        if stage.engine == "openfhe":
            a, b = (np.frombuffer(each.blocks, "<u8") for each in (one, other))
            assert np.count_nonzero(a == b) <= 3
        else:
            assert same < a.size / 256 + 6 * np.sqrt(a.size / 256) + 1


def test_encrypting_twice_gives_unrelated_uploads(stage, tmp_path):
    rnd = stage.round(VALUES)
    np.save(tmp_path / "a.npy", np.zeros(VALUES, np.float32))
    uploads = [raw_upload(rnd) for _ in range(8)]
    for name in ("a", "b"):
        vs.encrypt_file(rnd, tmp_path / "a.npy", tmp_path / name)
        uploads.append(forging.RawUpload.of(vs.Upload.load(tmp_path / name, rnd), rnd))
    unrelated(stage, uploads)


def test_threads_give_unrelated_uploads(stage):
    rnd = stage.round(VALUES)
    uploads = []
    threads = [threading.Thread(target=lambda: uploads.append(raw_upload(rnd))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(uploads) == len(threads)
    unrelated(stage, uploads)


@fork
@forked
def test_forked_processes_give_unrelated_uploads(stage):
    """Found with OpenFHE, whose generator a fork copies: its children drew the same numbers."""
    rnd = stage.round(VALUES)
    uploads = [raw_upload(rnd)]

    def child():
        own = [raw_upload(rnd) for _ in range(2)]
        theirs = in_child(lambda: raw_upload(rnd).to_bytes())  # and a child of the child
        return b"".join([one.to_bytes() for one in own] + [theirs])

    size = vs.encrypt(rnd, np.zeros(VALUES)).nbytes
    for _ in range(3):
        made = in_child(child)
        assert len(made) == 3 * size
        uploads += [
            forging.RawUpload.of(vs.Upload.from_bytes(made[at : at + size], rnd), rnd)
            for at in range(0, len(made), size)
        ]
    uploads.append(raw_upload(rnd))
    unrelated(stage, uploads)


def pool_upload(data):
    rnd = vs.Round.from_bytes(data)
    return vs.encrypt(rnd, np.zeros(rnd.size, np.float32)).to_bytes()


@fork
@forked
def test_a_pool_of_workers_gives_unrelated_uploads(stage):
    """What people use: multiprocessing's default on Linux, before Python 3.14."""
    rnd = stage.round(VALUES)
    raw_upload(rnd)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        made = pool.map(pool_upload, [rnd.to_bytes()] * 6, chunksize=1)
    unrelated(stage, [forging.RawUpload.of(vs.Upload.from_bytes(data, rnd), rnd) for data in made])


@fork
@forked
def test_forked_processes_make_other_keys(stage):
    vs.keygen(stage.plan)
    keys = [in_child(lambda: vs.keygen(stage.plan)[0].to_bytes()) for _ in range(3)]
    keys.append(vs.keygen(stage.plan)[0].to_bytes())
    secrets = [vs.SecretKey.from_bytes(key) for key in keys]
    assert len({secret.id for secret in secrets}) == len(keys)
    assert len({key[-64:] for key in keys}) == len(keys)


@fork
@forked
def test_forked_processes_open_with_noise_of_their_own(stage):
    """Two openings of one aggregate that are alike in noise would be one; alike in part, worse."""
    rnd = stage.round(VALUES, trust_aggregator=stage.sums_again)
    uploads = [vs.encrypt(rnd, np.zeros(VALUES)) for _ in range(2)]
    total = vs.weighted_sum(rnd, uploads)
    if stage.engine != "openfhe":
        pytest.skip("only OpenFHE's keys of sums hold noise")

    def opened():  # a copy of the key, which no ledger knows of: as somebody who copies key files
        return vs.open_sum(stage.fresh_secret(), rnd, total).to_bytes()

    opened()
    bodies = [np.frombuffer(in_child(opened)[16 + 76 + 33 : -4], "<u8") for _ in range(3)]
    for one, other in itertools.combinations(bodies, 2):
        assert np.count_nonzero(one == other) <= 3


def test_rounds_and_keys_are_never_the_same_twice(stage):
    rounds = [stage.round() for _ in range(20)]
    assert len({rnd.id for rnd in rounds}) == len({rnd.seed for rnd in rounds}) == 20
    keys = [vs.keygen(stage.plan)[0] for _ in range(5)]
    assert len({secret.id for secret in keys}) == 5
    bodies = [secret.to_bytes()[:-4] for secret in keys]
    # Of native keys: the seeds of ML-KEM, and X25519's half.
    for begin, end in (
        ((-96, -64), (-64, -32), (-32, None)) if stage.engine == "native" else ((-32, None),)
    ):
        assert len({body[begin:end] for body in bodies}) == 5
