"""Native secrets are wiped when they are freed, and the core takes no seeds.

Texts, pickles, errors and files are tested for all engines in security/test_secrets.py.
"""

import functools
import subprocess
import sys

import numpy as np
import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from oracle import scheme, streams, wire  # noqa: E402
from parties import PLANS, Stage  # noqa: E402

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


# --- memory ---------------------------------------------------------------------------------------

# A process that uses secrets and then looks for them in all of its own memory. The patterns come in
# masked, and are compared masked, so that the search itself never holds them.
SEARCHER = r"""
import gc, sys
import numpy as np
import veilsum._core as core
from veilsum.keys.sealing import seal

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
