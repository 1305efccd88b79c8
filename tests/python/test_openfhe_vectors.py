"""What OpenFHE made, checked in Python integers: runs where OpenFHE is missing, too.

tests/vectors/openfhe/cpp.json and wheel.json hold keys, ciphertexts, a sum with integer weights and
a share of it for a small ring, made by the two ways to OpenFHE, and the values that went in. The
oracle's decryption, the sum modulo the primes, and an average by the native engine must all agree
with them. Where OpenFHE is there, it must open what the other way made, and make what that opens.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import veilsum as vs
from oracle import ckks

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "openfhe"
FILES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}
CASES = {
    f"{name}-{setting['primes']}": {**setting, **{k: v for k, v in file.items() if k != "settings"}}
    for name, file in FILES.items()
    for setting in file["settings"]
}


@pytest.fixture(params=sorted(CASES))
def record(request):
    return CASES[request.param]


def add(*polynomials, weights, moduli):
    """Add residue rows times weights; row r is modulo prime r mod len(moduli)."""
    return [
        [
            sum(weight * value for weight, value in zip(weights, column, strict=True))
            % moduli[index % len(moduli)]
            for column in zip(*rows, strict=True)
        ]
        for index, rows in enumerate(zip(*polynomials, strict=True))
    ]


def phase(cipher, record):
    """c0 + c1 * s, as centred coefficients."""
    moduli, primes = record["moduli"], record["primes"]
    rows = [
        [(a + b * s) % q for a, b, s in zip(c0, c1, key, strict=True)]
        for c0, c1, key, q in zip(
            cipher[:primes], cipher[primes:], record["secret"], moduli, strict=True
        )
    ]
    return ckks.centred(rows, moduli, record["roots"])


def error(slots, values) -> float:
    return float(np.abs(np.array(slots) - np.asarray(values)).max())


def scale(record) -> float:
    return 2.0 ** record["scale_bits"]


def flooded(record, parties=1) -> float:
    """Eight deviations of a share's noise in a slot; the sum's own is far below."""
    return 8 * math.sqrt(record["degree"] * parties) * record["deviation"] / scale(record)


def exact(record):
    return np.tensordot(record["weights"], np.array(record["values"]), 1)


def test_the_files_are_small_and_their_rings_are_what_they_say(record):
    assert all(path.stat().st_size < 50_000 for path in FOLDER.glob("*.json"))
    for prime, root in zip(record["moduli"], record["roots"], strict=True):
        assert prime % (2 * record["degree"]) == 1
        assert pow(root, record["degree"], prime) == prime - 1


def test_both_ways_take_the_same_primes_and_roots():
    for primes in (1, 2):
        same = [case for name, case in CASES.items() if name.endswith(f"-{primes}")]
        for key in ("moduli", "roots", "values"):
            assert all(case[key] == same[0][key] for case in same)


def test_uploads_hold_their_values(record):
    degree = record["degree"]
    # As in plan.py: v * e + e0 + e1 * s with ternary v and s.
    deviation = 3.19 * math.sqrt(1 + 4 / 3 * degree)
    bound = 8 * math.sqrt(degree) * deviation / scale(record) + 2.0**-50
    for upload, values in zip(record["uploads"], record["values"], strict=True):
        assert error(ckks.slots(phase(upload, record), scale(record)), values) < bound


def test_the_sum_is_the_sum_of_the_residues(record):
    expected = add(*record["uploads"], weights=record["weights"], moduli=record["moduli"])
    assert expected == record["sum"]


def test_the_share_opens_the_sum_with_noise_as_wide_as_asked_for(record):
    """A share is s * c1 and noise; with c0 it gives the sum, within eight deviations."""
    moduli, roots = record["moduli"], record["roots"]
    rows = add(record["sum"][: record["primes"]], record["share"], weights=(1, 1), moduli=moduli)
    opened = ckks.centred(rows, moduli, roots)
    clean = phase(record["sum"], record)
    noise = np.array(opened, dtype=np.float64) - np.array(clean, dtype=np.float64)
    # 32 samples of a Gaussian: a factor of 2 either way has a probability below 2^-19.
    assert record["deviation"] / 2 < noise.std() < record["deviation"] * 2
    assert error(ckks.slots(opened, scale(record)), exact(record)) < flooded(record)


def test_the_native_engine_gives_the_same_average(record):
    """Within OpenFHE's noise and half a step of the native engine's grid."""
    plan = vs.Plan(clients=3, value_bits=24, weight_bits=3)
    secret, public = vs.keygen(plan)
    values = np.array(record["values"])
    rnd = vs.Round(plan, public, size=values.shape[1])
    uploads = [vs.encrypt(rnd, row) for row in values]
    total = vs.weighted_sum(rnd, uploads, record["weights"])
    native = vs.decrypt(vs.open_sum(secret, rnd, total), total, dtype="float64")
    moduli, roots = record["moduli"], record["roots"]
    rows = add(record["sum"][: record["primes"]], record["share"], weights=(1, 1), moduli=moduli)
    weight = sum(record["weights"])
    theirs = np.real(ckks.slots(ckks.centred(rows, moduli, roots), scale(record))) / weight
    assert np.abs(theirs - native).max() < flooded(record) / weight + 0.5 / (2**23 - 1)


def test_openfhe_opens_what_the_other_way_made_and_makes_what_opens(record):
    from veilsum.engines.openfhe.backend import ContextRequest, context_for, load

    try:
        load()
    except vs.BackendUnavailableError:
        pytest.skip("OpenFHE is not available here")
    sizes = (record["primes"], record["first_bits"], record["scale_bits"])
    context = context_for(ContextRequest(record["degree"], 0, *sizes))
    assert context.moduli == record["moduli"]
    assert context.roots == record["roots"]

    def words(rows):
        return np.array(rows, dtype=np.uint64).reshape(-1)

    public, secret, total = (words(record[name]) for name in ("public", "secret", "sum"))
    bound = flooded(record)
    for share in (words(record["share"]), context.share(secret, total, record["deviation"])):
        assert error(context.decrypt(total, share), exact(record)) < bound
    for upload, values in zip(record["uploads"], record["values"], strict=True):
        # Theirs and ours, under their key: opened by us, and by the oracle.
        for blocks in (words(upload), context.encrypt(public, np.array(values))):
            opened = context.decrypt(blocks, context.share(secret, blocks, record["deviation"]))
            assert error(opened, values) < bound
            rows = [[int(word) for word in row] for row in blocks.reshape(-1, record["degree"])]
            assert error(ckks.slots(phase(rows, record), scale(record)), values) < bound
