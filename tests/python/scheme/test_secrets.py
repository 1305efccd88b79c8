"""Rule 6: secrets stay out of texts, pickles and readable files, and are wiped when freed."""

import contextlib
import copy
import functools
import logging
import os
import pickle
import stat
import subprocess
import sys

import numpy as np
import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from oracle import scheme, streams, wire  # noqa: E402
from parties import PLANS, Stage, unseal  # noqa: E402
from veilsum import sealing  # noqa: E402

SIZE = 40


@functools.cache
def stage_of(door):
    return Stage(door, PLANS["n2048"], [(SIZE, 1.0)], name="secrets")


@functools.cache
def sum_key(door):
    stage = stage_of(door)
    return stage.open(total_of(door))


@functools.cache
def total_of(door):
    stage = stage_of(door)
    return stage.sum_of([stage.encrypt(k, [0.1] * SIZE) for k in range(2)])


def private_key(door):
    """The secret bytes of the round's key: both seeds of ML-KEM, and X25519's."""
    own = stage_of(door).oracle_secret
    return own.mlkem_seed + own.x25519_private


def secret_objects(door):
    return {"SecretKey": stage_of(door).fresh_secret(), "SumKey": sum_key(door)}


def fragments_of(data: bytes):
    """Every way a run of four bytes of a secret could be printed."""
    for start in range(0, len(data) - 4, 4):
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


@pytest.mark.parametrize("name", ["SecretKey", "SumKey"])
def test_texts_show_no_secret(door, name):
    made = secret_objects(door)[name]
    private = private_key(door) if name == "SecretKey" else made.to_bytes()[16 + 76 :]
    for text in (repr(made), str(made), f"{made}", format(made)):
        assert_silent(text, private)
        assert len(text) < 200
        assert name in text


@pytest.mark.parametrize("name", ["SecretKey", "SumKey"])
def test_attributes_show_no_secret(door, name):
    """Only methods that exist to write the key give its bytes."""
    made = secret_objects(door)[name]
    private = private_key(door) if name == "SecretKey" else made.to_bytes()[16 + 76 :][:64]
    for attribute in dir(made):
        value = getattr(made, attribute)
        if callable(value):
            continue
        if isinstance(value, bytes):
            assert private[:8] not in value
        assert_silent(repr(value), private)
    assert not hasattr(made, "__dict__")


@pytest.mark.parametrize("name", ["SecretKey", "SumKey"])
def test_secrets_are_not_pickled_or_copied(door, name):
    made = secret_objects(door)[name]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=name):
            pickle.dumps(made, protocol)
    with pytest.raises(TypeError, match=name):
        copy.copy(made)
    with pytest.raises(TypeError, match=name):
        copy.deepcopy(made)
    with pytest.raises(TypeError, match=name):
        pickle.dumps({"state": [made]})


def test_exceptions_show_no_secret(door, tmp_path):
    stage = stage_of(door)
    other, _ = sealing.generate_key_pair()
    request = total_of(door).opening_request()
    texts = []

    def note(call, *arguments):
        with pytest.raises(Exception) as caught:
            call(*arguments)
        texts.append(f"{caught.value!r} {caught.value} {caught.value.__cause__!r}")

    secret = stage.fresh_secret()
    data = secret.to_bytes()
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        note(core.SecretKey.from_bytes, damaged)
    note(core.SecretKey.from_bytes, data[:-1])
    note(core.SecretKey.from_bytes, data + b"x")
    note(core.PublicKey.from_bytes, data)
    for opener in (unseal, sealing.open_sealed):
        note(functools.partial(core.open_sum, open=opener), other, stage.round, request)
    path = tmp_path / "key"
    secret.save(str(path))
    path.chmod(0o644)
    note(core.SecretKey.load, str(path))
    key = sum_key(door)
    private = key.to_bytes()
    for place in range(76, 200):
        damaged = bytearray(private)
        damaged[16 + place] ^= 0x40
        note(lambda data: core.SumKey.from_bytes(data, stage.round), damaged)
        # A field beyond its bound is refused; any other is a key that opens nothing.
        with contextlib.suppress(core.VeilsumError):
            read = core.SumKey.from_bytes(wire.reseal(bytes(damaged)), stage.round)
            note(core.decrypt, read, total_of(door))
    for text in texts:
        assert_silent(text, private_key(door), private[16 + 76 :][:128])
        assert len(text) < 1500


def test_nothing_is_printed_or_logged(door, capfd, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    secret, public = sealing.generate_key_pair()
    secret.save(str(tmp_path / "key"))
    rnd = core.Round(core.Plan(clients=3), public, [(SIZE, 1.0)])
    update = np.full(SIZE, 0.5, dtype=np.float32)
    uploads = [core.encrypt(rnd, [update], ["float32"], seal=sealing.seal) for _ in range(2)]
    total = core.weighted_sum(rnd, uploads)
    request = total.opening_request()
    core.decrypt(core.open_sum(secret, rnd, request, open=sealing.open_sealed), total)
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


def savers(door):
    stage = stage_of(door)
    return {
        "secret key": (stage.fresh_secret(), core.SecretKey.load),
        "sum key": (sum_key(door), lambda path: core.SumKey.load(path, stage.round)),
    }


@pytest.mark.parametrize("name", ["secret key", "sum key"])
def test_secret_files_are_for_their_owner(door, tmp_path, open_umask, name):
    made, load = savers(door)[name]
    path = tmp_path / "secret"
    made.save(str(path))
    assert mode_of(path) == 0o600
    assert load(str(path)).to_bytes() == made.to_bytes()
    # Written over a file that others could read: that mode must not be kept.
    loose = tmp_path / "loose"
    loose.write_bytes(b"old")
    loose.chmod(0o666)
    made.save(str(loose))
    assert mode_of(loose) == 0o600
    for other in tmp_path.iterdir():
        assert mode_of(other) & 0o077 == 0, other


@pytest.mark.parametrize("name", ["secret key", "sum key"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o660, 0o644, 0o666, 0o610, 0o601])
def test_secret_files_that_others_can_open_are_refused(door, tmp_path, name, mode):
    made, load = savers(door)[name]
    path = tmp_path / "secret"
    made.save(str(path))
    path.chmod(mode)
    with pytest.raises(core.ParameterError, match=r"chmod|600"):
        load(str(path))
    path.chmod(0o600)
    load(str(path))


def test_public_files_are_public(door, tmp_path, open_umask):
    stage = stage_of(door)
    for made in (stage.plan, stage.public, stage.round, total_of(door)):
        path = tmp_path / type(made).__name__
        made.save(str(path))
        assert mode_of(path) & 0o444 == 0o444
        assert path.read_bytes() == made.to_bytes()


def test_a_failed_save_leaves_the_old_file_whole(door, tmp_path):
    made = stage_of(door).fresh_secret()
    with pytest.raises(OSError, match="missing"):
        made.save(str(tmp_path / "missing" / "key"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "folder").mkdir()
    with pytest.raises((OSError, core.VeilsumError)):
        made.save(str(tmp_path / "folder"))
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


FILE_SIZE_LIMIT = """
import resource, signal, sys
import veilsum._core as core
made = core.Round.load(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    made.save(sys.argv[2])
    print("saved")
except OSError as error:
    print("refused")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses RLIMIT_FSIZE")
def test_a_full_disk_leaves_the_old_file_whole(door, tmp_path):
    stage_of(door).round.save(str(tmp_path / "round"))
    target = tmp_path / "target"
    target.write_bytes(b"old and whole")
    out = subprocess.run(
        [sys.executable, "-c", FILE_SIZE_LIMIT, str(tmp_path / "round"), str(target)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert out.stdout.strip() == "refused"
    assert target.read_bytes() == b"old and whole"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["round", "target"]


# --- memory ---------------------------------------------------------------------------------------

# A process that uses secrets and then looks for them in all of its own memory. The patterns come in
# masked, and are compared masked, so that the search itself never holds them.
SEARCHER = r"""
import gc, sys
import numpy as np
import veilsum._core as core
from veilsum.sealing import seal

def ask(question):
    print(question, flush=True)
    return sys.stdin.readline().strip()

MASK = np.uint64(0x5DEECE66D5DEECE6)

def count(masked_hex):
    words = [np.uint64(int(w, 16)) for w in masked_hex.split()]
    found = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps.read().splitlines():
            fields = line.split()
            if not fields[1].startswith("rw") or "[vvar" in line:
                continue
            start, end = (int(x, 16) for x in fields[0].split("-"))
            try:
                memory.seek(start)
                chunk = memory.read(end - start)
            except OSError:
                continue
            for offset in range(0, 8, 4):
                usable = (len(chunk) - offset) // 8 * 8
                if usable <= 0:
                    continue
                data = np.frombuffer(chunk, dtype=np.uint64, count=usable // 8, offset=offset)
                hits = np.flatnonzero((data ^ MASK) == words[0])
                hits = hits[hits + len(words) <= len(data)]
                for place, word in enumerate(words):
                    hits = hits[(data[hits + place] ^ MASK) == word]
                found += len(hits)
            del chunk
    return found

folder = sys.argv[1]
rnd = core.Round.load(folder + "/round")
secret = core.SecretKey.load(folder + "/key")
seed = ask("seed")
print(count(seed))
del secret
gc.collect()
print(count(seed))

key = core.SumKey.load(folder + "/sum.key", rnd)
total = core.Aggregate.load(folder + "/total", rnd)
core.decrypt(key, total, threads=1)
coefficients = ask("sum key")
print(count(coefficients))
del key
gc.collect()
print(count(coefficients))

update = np.full(rnd.size, 0.5, dtype=np.float32)
def encrypt():
    return core.encrypt(
        rnd, [update], ["float32"], rounding="stochastic", threads=1, seal=seal)
encrypt().save(folder + "/upload")
encrypt()
for _ in range(6):
    print(count(ask("ephemeral")))
"""


def masked(data: bytes) -> str:
    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]
    return " ".join(f"{w ^ 0x5DEECE66D5DEECE6:x}" for w in words)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/mem")
def test_freed_secrets_are_wiped(door, tmp_path):
    """A key is in memory while it lives, and nowhere after; nothing of an encryption stays."""
    stage = stage_of(door)
    stage.fresh_secret().save(str(tmp_path / "key"))
    stage.round.save(str(tmp_path / "round"))
    key = sum_key(door)
    key.save(str(tmp_path / "sum.key"))
    total_of(door).save(str(tmp_path / "total"))
    coefficients = door.sum_key_coefficients(key)
    with subprocess.Popen(
        [sys.executable, "-c", SEARCHER, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip

        def line():
            return process.stdout.readline().strip()

        def answer(question, pattern):
            assert line() == question
            process.stdin.write(masked(pattern) + "\n")
            process.stdin.flush()

        answer("seed", private_key(door))
        alive, freed = int(line()), int(line())
        assert alive >= 1
        assert freed == 0
        answer("sum key", np.ascontiguousarray(coefficients[0][:8], dtype=np.int64).tobytes())
        alive, freed = int(line()), int(line())
        assert alive >= 1
        assert freed == 0
        patterns = {}
        for wanted in ("seed", "stream key", "r", "narrow r", "last r", "narrow last r"):
            assert line() == "ephemeral"
            if not patterns:
                plan, info = stage.oracle_plan, stage.oracle_round
                head = wire.read_upload((tmp_path / "upload").read_bytes())[1]
                seed = wire.open_head(info, stage.oracle_secret, head)
                r = scheme.upload_keys(plan, info.id, seed, stage.upload_keys)[0]
                patterns = {
                    "seed": seed,
                    "stream key": streams.upload_key(info.id, seed),
                    "r": np.array(r[:8], dtype=np.int64).tobytes(),
                    "narrow r": np.array(r[:32], dtype=np.int8).tobytes(),
                    "last r": np.array(r[-8:], dtype=np.int64).tobytes(),
                    "narrow last r": np.array(r[-32:], dtype=np.int8).tobytes(),
                }
            process.stdin.write(masked(patterns[wanted]) + "\n")
            process.stdin.flush()
            assert int(line()) == 0, wanted


# --- release builds -------------------------------------------------------------------------------


def test_the_public_api_takes_no_seeds():
    """The door is another extension: veilsum._core has neither its functions nor its arguments."""
    names = [name for name in dir(core) if "seed" in name.lower()]
    assert names == []
    for name in ("encrypt", "open_sum", "decrypt", "weighted_sum"):
        signature = getattr(core, name).__doc__.splitlines()[0]
        assert "seed" not in signature, signature
        assert "door" not in signature
    for kind in (core.Round, core.SecretKey, core.PublicKey, core.Upload, core.Plan):
        assert "seed" not in (kind.__init__.__doc__ or "")
        assert [n for n in dir(kind) if "seed" in n.lower()] in ([], ["seed"])
    rnd = core.Round
    assert rnd.seed.fset is None  # a round's seed is public, and read-only


def test_the_door_is_closed_unless_asked_for(pytestconfig):
    """What a plain `pip install .` builds: the option is off by default and pip leaves it alone."""
    root = pytestconfig.rootpath
    cmake = root / "CMakeLists.txt"
    if not cmake.exists():
        pytest.skip("the sources are not here")
    (line,) = [text for text in cmake.read_text().splitlines() if "option(VEILSUM_TESTING" in text]
    assert line.rstrip().endswith("OFF)")
    assert "VEILSUM_TESTING" not in (root / "pyproject.toml").read_text()
    sources = [
        path
        for path in (root / "cpp" / "src").rglob("*")
        if path.is_file() and "testing" not in path.parts
    ]
    assert sources
    for path in sources:
        assert "bindings/testing" not in path.read_text(), path
