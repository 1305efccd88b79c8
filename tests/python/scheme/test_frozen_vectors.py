"""Compatibility: what version 1 wrote must be read, and written, for ever.

The files in tests/vectors are the oracle's (generate.py there); these tests use no oracle, so they
also stand when both implementations are changed together. A failure means that the format changed.
"""

import functools
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

VECTORS = Path(__file__).parents[2] / "vectors"


@functools.cache
def load(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


def rows(name, label):
    return [pytest.param(row, id=str(label(row))) for row in load(name)["rows"]]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def words_sha256(values):
    return sha256(np.array(values, dtype=np.int64).astype("<i8").tobytes())


@pytest.mark.parametrize("row", rows("ring", lambda r: f"{r['n']}-limb{r['limb']}"))
def test_ring(door, isa_level, row):
    n, q = row["n"], row["q"]
    assert door.primes()[row["limb"]] == q
    assert door.primitive_root_of_unity(q, n) == row["psi"]
    a = np.array([(0x9E3779B97F4A7C15 * (i + 1) + i * i) % q for i in range(n)], dtype=np.uint64)
    slots = door.ntt_forward(isa_level, a, q)
    assert slots[:4].tolist() == row["first_slots"]
    assert words_sha256(slots) == row["slots_sha256"]
    back = door.ntt_inverse_lazy(isa_level, slots, q).tolist()
    assert [x * pow(n, -1, q) % q for x in back] == a.tolist()


@pytest.mark.parametrize("row", rows("streams", lambda r: r["label"]))
def test_streams(door, isa_level, row):
    vectors = load("streams")
    seed, round_id = bytes.fromhex(vectors["seed"]), bytes.fromhex(vectors["round_id"])
    key = bytes.fromhex(row["key"])
    context = round_id if row["label"].split("/")[2] in ("capsule", "errors", "rounding") else b""
    round_keys = door.expander_round_keys(row["label"], context, seed, len(key))
    assert round_keys == door.aes_round_keys(key)
    assert door.aes_ctr(isa_level, round_keys, row["index"], 0, 4).hex() == row["keystream"]
    small = door.sample_cbd(isa_level, round_keys, row["index"], 2048)
    assert small[:24].tolist() == row["small"]
    assert words_sha256(small.view(np.uint8)) == row["small_sha256"]
    uniform = door.expand_uniform(isa_level, round_keys, row["index"], door.primes()[0], 2048)
    assert words_sha256(uniform) == row["uniform_sha256"]


@pytest.mark.parametrize(
    "row", rows("plans", lambda r: f"{r['profile']}-{r['clients']}-{r['value_bits']}")
)
def test_plans(row):
    wanted = {
        name: row[name]
        for name in ("clients", "value_bits", "weight_bits", "security", "profile", "optimise")
    }
    plan = core.Plan(**wanted)
    assert {name: getattr(plan, name) for name in wanted} == wanted
    for name in ("lanes", "lane_bits", "capsule_degree", "capsule_limbs", "capsule_bytes"):
        assert getattr(plan, name) == row[name]
    assert str(plan.delta) == row["delta"]
    assert plan.id.hex() == row["id"]
    assert plan.to_bytes().hex() == row["bytes"]
    assert core.Plan.from_bytes(bytes.fromhex(row["bytes"])) == plan


def test_codec(door, isa_level):
    vectors = load("codec")
    values = np.array([float.fromhex(v) for v in vectors["values"]])
    for row in vectors["rows"]:
        random = row["random"] and np.array(row["random"], dtype=np.uint32)
        digits, clipped, finite = door.quantise(
            isa_level,
            values.tobytes(),
            "float64",
            float.fromhex(row["weight"]),
            float.fromhex(row["limit"]),
            row["value_bits"],
            0,
            None,
            random,
        )
        assert finite
        assert digits.tolist() == row["digits"]
        assert clipped == row["clipped"]


def floats(texts):
    return [float.fromhex(text) for text in texts]


@pytest.mark.parametrize("row", rows("scheme", lambda r: r["name"]))
def test_scheme(door, active_level, row):
    """Every object from its seeds, then the values."""
    vectors = load("scheme")
    segments = [(count, float.fromhex(limit)) for count, limit in vectors["segments"]]
    plan = core.Plan(**row["plan"])
    secret, public = door.keygen_seeded(
        plan, bytes.fromhex(row["key_seed"]), bytes.fromhex(row["public_seed"])
    )
    rnd = door.round_seeded(
        plan, public, segments, row["layout"].encode(), 2, [], bytes.fromhex(row["round_seed"])
    )
    assert rnd.id.hex() == row["round_id"]
    made = {"plan": plan, "public_key": public, "secret_key": secret, "round": rnd}
    uploads = []
    for client, update in enumerate(vectors["updates"]):
        facts, values, pieces = row["uploads"][client], floats(update), []
        for count, _ in segments:
            pieces.append(np.array(values[:count]))
            values = values[count:]
        seeds = {
            k: bytes.fromhex(facts[k]) for k in ("capsule_seed", "error_seed", "rounding_seed")
        }
        upload = door.encrypt_seeded(
            rnd, pieces, ["float64"] * len(pieces), rounding=facts["rounding"], **seeds
        )
        assert upload.clipped == facts["clipped"]
        assert upload.capsule_digest.hex() == facts["capsule_digest"]
        uploads.append(upload)
        made[f"upload_{client}"] = upload
    total = core.weighted_sum(rnd, uploads, row["weights"])
    made["aggregate"] = total
    made["opening_request"] = total.opening_request()
    key = core.open_sum(secret, rnd, total.opening_request(), export=True)
    made["sum_key"] = key
    assert {name: sha256(thing.to_bytes()) for name, thing in made.items()} == row["sha256"]
    assert core.decrypt(key, total).tolist() == floats(row["mean_float32"])
    out = core.decrypt(key, total, average=False, dtype="float64")
    assert out.tolist() == floats(row["sum_float64"])


def test_objects_are_read_and_written_back():
    """The bytes themselves, without the door: this also runs on a release build."""
    folder = VECTORS / "objects"
    (row,) = [r for r in load("scheme")["rows"] if r["name"] == "n2048"]
    data = {path.stem: path.read_bytes() for path in folder.glob("*.bin")}
    assert {name: sha256(content) for name, content in data.items()} == row["sha256"]
    rnd = core.Round.from_bytes(data["round"])
    read = {
        "plan": core.Plan.from_bytes(data["plan"]),
        "public_key": core.PublicKey.from_bytes(data["public_key"]),
        "secret_key": core.SecretKey.from_bytes(data["secret_key"]),
        "round": rnd,
        "upload_0": core.Upload.from_bytes(data["upload_0"], rnd),
        "upload_1": core.Upload.from_bytes(data["upload_1"], rnd),
        "aggregate": core.Aggregate.from_bytes(data["aggregate"], rnd),
        "opening_request": core.OpeningRequest.from_bytes(data["opening_request"], rnd),
        "sum_key": core.SumKey.from_bytes(data["sum_key"], rnd),
    }
    assert {name: thing.to_bytes() for name, thing in read.items()} == data
    total = core.weighted_sum(rnd, [read["upload_0"], read["upload_1"]])
    assert total.to_bytes() == data["aggregate"]
    key = core.open_sum(read["secret_key"], rnd, read["opening_request"])
    assert key.to_bytes() == data["sum_key"]
    for made in (key, read["sum_key"]):
        out = core.decrypt(made, read["aggregate"])
        assert out.tolist() == floats(row["mean_float32"])


@pytest.mark.slow
def test_the_oracle_still_generates_them():
    result = subprocess.run(
        [sys.executable, str(VECTORS / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
