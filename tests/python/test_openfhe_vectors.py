"""What OpenFHE made, checked in Python integers: runs where OpenFHE is missing, too.

tests/vectors/openfhe/sum.json holds keys, ciphertexts, sums and shares of a small ring, and the
values that went in. The oracle's decryption, the sums modulo the primes, and an average by the
native engine must all agree with it. Where OpenFHE is there, it must read them and say the same.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import veilsum as vs
from oracle import ckks

FILE = Path(__file__).resolve().parents[1] / "vectors" / "openfhe" / "sum.json"
SCALE = 2.0**59


@pytest.fixture(scope="module")
def record():
    return json.loads(FILE.read_text(encoding="utf-8"))


def add(*polynomials, moduli):
    """Add residue rows; row r is modulo prime r mod len(moduli)."""
    return [
        [sum(column) % moduli[index % len(moduli)] for column in zip(*rows, strict=True)]
        for index, rows in enumerate(zip(*polynomials, strict=True))
    ]


def phase(cipher, secret, moduli, roots):
    """c0 + c1 * s, as centred coefficients."""
    primes = len(moduli)
    rows = [
        [(a + b * s) % q for a, b, s in zip(c0, c1, key, strict=True)]
        for c0, c1, key, q in zip(cipher[:primes], cipher[primes:], secret, moduli, strict=False)
    ]
    return ckks.centred(rows, moduli, roots)


def error(slots, values) -> float:
    return float(np.abs(np.array(slots) - np.asarray(values)).max())


def upload_deviation(degree):
    """As in plan.py: v * e + e0 + e1 * s with ternary v and s."""
    return 3.19 * math.sqrt(1 + 4 / 3 * degree)


def test_the_file_is_small_and_its_ring_is_what_it_says(record):
    assert FILE.stat().st_size < 100_000
    for prime, root in zip(record["moduli"], record["roots"], strict=True):
        assert prime % (2 * record["degree"]) == 1
        assert pow(root, record["degree"], prime) == prime - 1


def test_uploads_hold_their_values(record):
    moduli, roots, degree = record["moduli"], record["roots"], record["degree"]
    bound = 8 * math.sqrt(degree) * upload_deviation(degree) / SCALE
    for upload, values in zip(record["uploads"], record["values"], strict=True):
        found = ckks.slots(phase(upload, record["secret"], moduli, roots), SCALE)
        assert error(found, values) < bound + 2.0**-50


def test_the_sum_is_the_sum_of_the_residues(record):
    assert add(*record["uploads"], moduli=record["moduli"]) == record["sum"]


def test_shares_open_the_sums_with_noise_as_wide_as_planned(record):
    """A share is s * c1 and noise; with c0 it gives the sum, within eight deviations."""
    for name, share, primes, expected in (
        ("sum", "sum_share", 2, np.sum(record["values"], axis=0)),
        ("mean", "mean_share", 1, np.average(record["values"], axis=0, weights=record["weights"])),
    ):
        moduli, roots = record["moduli"][:primes], record["roots"][:primes]
        c0 = record[name][:primes]
        opened = ckks.centred(add(c0, record[share], moduli=moduli), moduli, roots)
        clean = phase(record[name], record["secret"], moduli, roots)
        noise = np.array(opened, dtype=np.float64) - np.array(clean, dtype=np.float64)
        # 32 samples of a Gaussian: a factor of 2 either way has a probability below 2^-19.
        assert record["deviation"] / 2 < noise.std() < record["deviation"] * 2
        # 8 deviations of the noise in a slot; the sum's own is far below.
        bound = 8 * math.sqrt(record["degree"]) * record["deviation"] / SCALE
        assert error(ckks.slots(opened, SCALE), expected) < bound


def test_the_native_engine_gives_the_same_average(record):
    """Within OpenFHE's noise and half a step of the native engine's grid."""
    plan = vs.Plan(clients=3, value_bits=24)
    secret, public = vs.keygen(plan)
    values = np.array(record["values"])
    rnd = vs.Round(plan, public, size=values.shape[1])
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, row) for row in values])
    native = vs.decrypt(vs.open_sum(secret, rnd, total), total, dtype="float64")
    moduli, roots = record["moduli"], record["roots"]
    opened = add(record["sum"][:2], record["sum_share"], moduli=moduli)
    theirs = np.real(ckks.slots(ckks.centred(opened, moduli, roots), SCALE)) / len(values)
    bound = 8 * math.sqrt(record["degree"]) * record["deviation"] / SCALE / len(values)
    assert np.abs(theirs - native).max() < bound + 0.5 / (2**23 - 1)


def test_openfhe_reads_what_it_wrote(record):
    from veilsum.engines.openfhe.backend import ContextRequest, context_for, load

    try:
        load()
    except vs.BackendUnavailableError:
        pytest.skip("OpenFHE is not available here")
    request = ContextRequest(record["degree"], 0, True, record["noise_bits"], 60, 59)
    context = context_for(request)
    assert context.moduli == record["moduli"]
    assert context.roots == record["roots"]
    assert context.flooding_deviation == pytest.approx(record["deviation"])

    def words(rows):
        return np.array(rows, dtype=np.uint64).reshape(-1)

    public = context.read_public(words(record["public"]), record["tag"])
    secret = context.read_secret(words(record["secret"]), record["tag"])
    uploads = [context.read(public, words(one), 2, False) for one in record["uploads"]]
    total, mean = context.sum(uploads, []), context.sum(uploads, record["weights"])
    assert (context.write(total, 0, 1) == words(record["sum"])).all()
    assert (context.write(mean, 0, 1) == words(record["mean"])).all()
    expected = {False: np.sum(record["values"], axis=0),
                True: np.average(record["values"], axis=0, weights=record["weights"])}  # fmt: skip
    bound = 8 * math.sqrt(record["degree"]) * record["deviation"] / SCALE
    for blocks, name in ((total, "sum_share"), (mean, "mean_share")):
        for share in (
            context.read(public, words(record[name]), 1, blocks.rescaled),
            context.share(secret, blocks),
        ):
            assert error(context.decrypt(blocks, share), expected[blocks.rescaled]) < bound
