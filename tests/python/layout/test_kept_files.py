"""What nobody can make again stays: no save() replaces a secret key, a ledger or a journal."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import veilsum as vs
from veilsum.layout import files


@pytest.fixture(scope="module")
def things() -> dict[str, object]:
    """One of everything that can be saved."""
    plan = vs.Plan(3)
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=10)
    uploads = [vs.encrypt(rnd, np.zeros(10, np.float32)) for _ in range(2)]
    total = vs.weighted_sum(rnd, uploads)
    return {
        "plan": plan,
        "public": public,
        "round": rnd,
        "upload": uploads[0],
        "total": total,
        "request": total.opening_request(),
        "sum key": vs.open_sum(secret, rnd, total),
        "another secret": vs.keygen(plan)[0],
        "public identity": vs.Identity.generate().public,
    }


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, Path]:
    """Files of each kind, which were used."""
    plan = vs.Plan(3)
    secret, public = vs.keygen(plan)
    secret.save(tmp_path / "key")
    rnd = vs.Round(plan, public, size=10)
    uploads = [vs.encrypt(rnd, np.zeros(10, np.float32)) for _ in range(2)]
    vs.open_sum(secret, rnd, vs.weighted_sum(rnd, uploads))
    vs.Identity.generate().save(tmp_path / "me.key")
    vs.Identity.generate(post_quantum=True).save(tmp_path / "we.key")
    (tmp_path / "run.journal").write_bytes(b"VSJRNL1\n")
    (tmp_path / "link").symlink_to(tmp_path / "key")
    return {
        "a secret key": tmp_path / "key",
        "the ledger": tmp_path / "key.opened",
        "a link to a key": tmp_path / "link",
        "an identity": tmp_path / "me.key",
        "an identity of two keys": tmp_path / "we.key",
        "a journal": tmp_path / "run.journal",
    }


def test_nothing_that_is_saved_replaces_them(things, kept):
    for what, path in kept.items():
        before = path.read_bytes()
        for name, thing in things.items():
            with pytest.raises(vs.ParameterError, match="cannot be made again"):
                thing.save(path)
            assert path.read_bytes() == before, (what, name)
        with pytest.raises(vs.ParameterError, match="cannot be made again"):
            files.atomic_file(path).__enter__()
    assert not list(kept["a journal"].parent.glob("*.tmp"))


def test_a_key_is_saved_again_where_it_is(tmp_path):
    secret, _ = vs.keygen(vs.Plan(3))
    secret.save(tmp_path / "key")
    secret.save(tmp_path / "key")
    assert vs.SecretKey.load(tmp_path / "key").to_bytes() == secret.to_bytes()


def test_other_files_are_replaced(things, tmp_path):
    """Also those that only begin alike."""
    for before in (
        b"",
        b"VSUM",
        b"VSUM\2\0\4\0" + bytes(20),
        b"-----BEGIN PUBLIC KEY-----",
        b"a" * 130,
    ):
        path = tmp_path / "out"
        path.write_bytes(before)
        for name, thing in things.items():
            if name != "another secret":
                thing.save(path)
                assert path.stat().st_size > 0
        path.unlink()


def test_what_cannot_be_read_may_be_one(things, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("the superuser reads everything")
    path = tmp_path / "out"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(PermissionError):
        things["plan"].save(path)
