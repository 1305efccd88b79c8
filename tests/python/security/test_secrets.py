"""No secret stands in a text, a pickle, a copy, an error or a file that others can read.

Of every engine: keys and sum keys. (Rule 6. That native secrets are wiped, and that the core takes
no seeds, is in scheme/test_secrets.py; what errors show of arguments, in
test_secrets_in_errors.py; identities, in keys/test_identity.py.)
"""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import os
import pickle
import stat
import subprocess
import sys
import traceback

import numpy as np
import pytest

import veilsum as vs
from security import forging
from security.stages import PRELUDE, SIZE

NAMES = ("SecretKey", "SumKey")


@functools.cache
def things(stage):
    """Round, aggregate and its request, and the secrets, each with its secret bytes."""
    rnd = stage.round()
    uploads = stage.uploads(rnd, 2)
    total = vs.weighted_sum(rnd, uploads)
    secret, key = stage.fresh_secret(), stage.open(rnd, total, uploads)
    public = len(secret.public_key.to_bytes()) - 20
    private = secret.to_bytes()[16:-4]
    body = private[public:]  # the public half leads
    assert len(body) == {"native": 96, "plain": 32}.get(stage.engine, len(body))
    return rnd, total, stage.request(total, uploads), {
        "SecretKey": (secret, body),
        # After the ids, the digest that leads other engines' bodies, and a byte.
        "SumKey": (key, key.to_bytes()[16 + 76 + (33 if stage.engine == "openfhe" else 0) : -4]),
    }  # fmt: skip


def secret_of(stage, name):
    return things(stage)[3][name]


def fragments_of(data):
    """Every way a run of four bytes of a secret could be printed."""
    for start in range(0, min(len(data), 4096) - 4, 4):
        part = data[start : start + 4]
        if part in (bytes(4), b"\xff" * 4):
            continue
        yield part.hex()
        yield repr(part)[2:-1]
        yield str(int.from_bytes(part, "little"))
        yield str(list(part))[1:-1]


def assert_silent(text, *secrets):
    for secret in secrets:
        for fragment in fragments_of(secret):
            if len(fragment) >= 8:
                assert fragment not in text, fragment


@pytest.mark.parametrize("name", NAMES)
def test_texts_show_no_secret(stage, name):
    made, private = secret_of(stage, name)
    for text in (repr(made), str(made), f"{made}", format(made), repr([made])):
        assert_silent(text, private)
        assert len(text) < 200
        assert name in text


@pytest.mark.parametrize("name", NAMES)
def test_attributes_show_no_secret(stage, name):
    """What is there to write the key gives its bytes, and a sum key's `body`, to its engine."""
    made, private = secret_of(stage, name)
    for attribute in dir(made):
        value = getattr(made, attribute)
        if callable(value) or attribute == "body":
            continue
        if isinstance(value, bytes):
            assert private[:8] not in value
        assert_silent(repr(value), private)
    assert not hasattr(made, "__dict__")


@pytest.mark.parametrize("name", NAMES)
def test_secrets_are_not_pickled_or_copied(stage, name):
    made, _ = secret_of(stage, name)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=name):
            pickle.dumps(made, protocol)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=name):
            duplicate(made)
    with pytest.raises(TypeError, match=name):
        pickle.dumps({"state": [made]})


def test_errors_show_no_secret(stage, tmp_path):
    """Of damaged keys, wrong keys, and files that others can read."""
    rnd, total, request, secrets = things(stage)
    (secret, private), (key, summed) = secrets["SecretKey"], secrets["SumKey"]
    texts = []

    def note(call, *arguments):
        with pytest.raises(Exception) as caught:
            call(*arguments)
        error = caught.value
        texts.append(f"{error!r} {error} {error.__cause__!r} {error.__context__!r}")
        texts.append("".join(traceback.format_exception_only(error)))

    data = secret.to_bytes()
    for place in [
        *range(0, len(data), max(1, len(data) // 300)),
        *range(len(data) - 40, len(data)),
    ]:
        damaged = bytearray(data)
        damaged[place] ^= 1
        note(vs.SecretKey.from_bytes, damaged)
    for wrong in (data[:-1], data + b"x"):
        note(vs.SecretKey.from_bytes, wrong)
    for other in (vs.PublicKey, vs.Plan, vs.Round):
        note(other.from_bytes, data)
    stranger, _ = vs.keygen(stage.plan)
    note(vs.open_sum, stranger, rnd, request)
    # The round's name on another secret: of any length, of a length that no key has, and none.
    for body in (bytes(range(96)), private[:-1] if stage.sums_again else bytes(96), private[::-1]):
        with contextlib.suppress(vs.VeilsumError):
            wrong = vs.SecretKey(body, secret.public_key)
            texts.append(repr(wrong))
            made = vs.open_sum(wrong, rnd, request)
            note(vs.decrypt, made, total) if stage.encrypts else vs.decrypt(made, total)
    path = tmp_path / "key"
    for made, load in ((secret, vs.SecretKey.load), (key, lambda p: vs.SumKey.load(p, rnd))):
        path.unlink(missing_ok=True)
        made.save(path)
        path.chmod(0o644)
        note(load, path)
        path.chmod(0o600)
    note(vs.PublicKey.load, path)
    data = key.to_bytes()
    for place in range(16 + 76, 16 + 76 + min(160, len(data) - 100), 2):
        damaged = bytearray(data)
        damaged[place] ^= 0x40
        note(lambda data: vs.SumKey.from_bytes(data, rnd), damaged)
        # Beyond its bound it is refused; any other is a key that opens nothing, or almost the sum.
        with contextlib.suppress(vs.VeilsumError):
            read = vs.SumKey.from_bytes(forging.reseal(damaged), rnd)
            try:
                vs.decrypt(read, total)
            except vs.VeilsumError as error:
                texts.append(f"{error!r} {error.__cause__!r} {error.__context__!r}")
    for text in texts:
        assert_silent(text, private[:256], summed[:256])
        assert len(text) < 2000


def test_nothing_is_printed_or_logged(stage, capfd, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    secret, public = vs.keygen(stage.plan)
    secret.save(tmp_path / "key")
    rnd = vs.Round(stage.plan, public, size=SIZE, roster=stage.people)
    uploads = stage.uploads(rnd, 2)
    total = vs.weighted_sum(rnd, uploads)
    vs.decrypt(vs.open_sum(secret, rnd, total, **stage.shown(uploads)), total)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


# --- files ----------------------------------------------------------------------------------------


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask():
    """The umask that would let everybody read."""
    before = os.umask(0)
    yield
    os.umask(before)


def saved(stage, name):
    made, _ = secret_of(stage, name)
    rnd = things(stage)[0]
    return made, (vs.SecretKey.load if name == "SecretKey" else lambda p: vs.SumKey.load(p, rnd))


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize("name", NAMES)
def test_secret_files_are_for_their_owner(stage, tmp_path, name):
    made, load = saved(stage, name)
    path = tmp_path / "secret"
    made.save(path)
    assert mode_of(path) == 0o600
    assert load(path).to_bytes() == made.to_bytes()
    # Written over a file that others could read: that mode must not be kept.
    loose = tmp_path / "loose"
    loose.write_bytes(b"old")
    loose.chmod(0o666)
    made.save(loose)
    assert mode_of(loose) == 0o600
    for other in tmp_path.iterdir():
        assert mode_of(other) & 0o077 == 0, other


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o660, 0o644, 0o666, 0o610, 0o601])
def test_secret_files_that_others_can_open_are_refused(stage, tmp_path, name, mode):
    made, load = saved(stage, name)
    path = tmp_path / "secret"
    made.save(path)
    path.chmod(mode)
    with pytest.raises(vs.ParameterError, match="chmod 600"):
        load(path)
    path.chmod(0o600)
    load(path)


@pytest.mark.usefixtures("open_umask")
def test_public_files_are_public(stage, tmp_path):
    rnd, total, request, _ = things(stage)
    for made in (stage.plan, stage.public, rnd, total, request):
        path = tmp_path / type(made).__name__
        made.save(path)
        assert mode_of(path) & 0o444 == 0o444
        assert path.read_bytes() == made.to_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_failed_save_leaves_nothing(stage, tmp_path, name):
    made, _ = saved(stage, name)
    with pytest.raises(OSError, match="missing"):
        made.save(tmp_path / "missing" / "key")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "folder").mkdir()
    with pytest.raises((OSError, vs.VeilsumError)):
        made.save(tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


FULL_DISK = """
import resource, signal
rnd = vs.Round.load(sys.argv[1])
key = vs.SecretKey.load(sys.argv[2])
total = vs.Aggregate.load(sys.argv[3], rnd)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))
for made in (rnd, key, total, rnd.plan if len(rnd.plan.to_bytes()) > 60 else rnd):
    try:
        made.save(sys.argv[4])
        print("saved")
    except OSError as error:
        print("refused")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses RLIMIT_FSIZE")
def test_a_full_disk_leaves_the_old_file_whole(stage, tmp_path):
    rnd, total, _, secrets = things(stage)
    paths = [tmp_path / name for name in ("round", "key", "total")]
    for made, path in zip((rnd, secrets["SecretKey"][0], total), paths, strict=True):
        made.save(path)
    target = tmp_path / "target"
    target.write_bytes(b"old and whole")
    before = sorted(p.name for p in tmp_path.iterdir())
    out = subprocess.run(
        [sys.executable, "-c", PRELUDE + FULL_DISK, *map(str, [*paths, target])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert out.stdout.split() == ["refused"] * 4
    assert target.read_bytes() == b"old and whole"
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_updates_are_not_kept(stage):
    """An update is read and not changed, nor held on to."""
    rnd = stage.round()
    update = stage.update(0)
    before, count = update.copy(), sys.getrefcount(update)
    update.flags.writeable = False
    vs.encrypt(rnd, update)
    np.testing.assert_array_equal(update, before)
    assert sys.getrefcount(update) == count
