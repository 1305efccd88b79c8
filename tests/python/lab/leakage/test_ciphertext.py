"""The reading of ciphertexts would see everything if encryption hid nothing, and sees nothing."""

from __future__ import annotations

import numpy as np
import pytest

import veilsum as vs
from oracle import blocks, ring
from parties import PLANS, oracle_plan
from veilsum.lab.leakage import View, attack, ciphertext, leakage_rate
from veilsum.lab.leakage.measure import NOTHING

LIMITS = {"first": 0.5, "second": 2.0}


def make_round(name: str) -> vs.Round:
    plan = vs.Plan(**PLANS[name])
    _, public = vs.keygen(plan)
    shapes = {"first": np.zeros((40, 25)), "second": np.zeros(333)}
    return vs.Round(plan, public, like=shapes, limit=LIMITS)


def make_update(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "first": generator.uniform(-0.5, 0.5, (40, 25)),
        "second": generator.uniform(-2, 2, 333),
    }


def without_pads(rnd: vs.Round, update: dict[str, np.ndarray]) -> bytes:
    """The blocks that an encryption with zero pads and zero errors would make, by the oracle."""
    plan = oracle_plan(rnd.plan)
    flat = np.concatenate([update[key].ravel() for key in update]).tolist()
    digits: list[int] = []
    for count, limit in rnd.segments:
        part = flat[len(digits) : len(digits) + count]
        digits += blocks.quantise(part, 1.0, limit, plan.value_bits, None, False)[0]
    out, first = b"", 0
    for count, coefficients in [*plan.block_sizes(rnd.size), *[(0, plan.degree)] * rnd.upload_keys]:
        messages = blocks.encode_block(digits[first : first + count], plan, coefficients)
        nothing = [[0] * coefficients for _ in range(plan.limbs)]
        fields = blocks.encrypt_block(plan, nothing, [0] * coefficients, messages)
        out += ring.pack_rows(fields, plan.field_bits)
        first += count
    return out


@pytest.mark.parametrize("name", [key for key in PLANS if not key.startswith("n16384")])
def test_without_pads_everything_is_read(name: str) -> None:
    rnd = make_round(name)
    update = make_update(1)
    read = ciphertext.read_blocks(b"anything before" + without_pads(rnd, update), rnd)
    levels = 2 ** (rnd.plan.value_bits - 1) - 1
    for key, limit in LIMITS.items():
        bound = limit / levels * 0.5 + limit * 1e-12
        assert np.abs(read[key] - update[key]).max() <= bound


@pytest.mark.parametrize("name", ["n2048", "n4096"])
def test_an_upload_reads_as_noise(name: str) -> None:
    rnd = make_round(name)
    update = make_update(2)
    read = ciphertext.read_upload(vs.encrypt(rnd, update).to_bytes(), rnd)
    again = ciphertext.read_upload(vs.encrypt(rnd, update).to_bytes(), rnd)
    flat = np.concatenate([read[key].ravel() / LIMITS[key] for key in read])
    other = np.concatenate([again[key].ravel() / LIMITS[key] for key in again])
    truth = np.concatenate([update[key].ravel() / LIMITS[key] for key in update])
    n = len(flat)
    # Correlations of independent values are below 5 / sqrt(n) but for one in 1.7 million.
    for one, two in ((flat, truth), (other, truth), (flat, other)):
        assert abs(np.corrcoef(one, two)[0, 1]) < 5 / np.sqrt(n)


def test_a_malformed_upload_is_refused() -> None:
    rnd = make_round("n2048")
    data = bytearray(vs.encrypt(rnd, make_update(3)).to_bytes())
    data[-100] ^= 1
    with pytest.raises(vs.WireFormatError):
        ciphertext.read_upload(bytes(data), rnd)


def test_too_few_bytes_are_refused() -> None:
    with pytest.raises(vs.ParameterError, match="too few"):
        ciphertext.read_blocks(b"short", make_round("n2048"))


def test_foreign_bytes_become_numbers_within_the_magnitude() -> None:
    tensors = {"a": np.zeros((3, 4)), "b": np.zeros(5)}
    view = ciphertext.view_of_bytes(np.random.default_rng(1).bytes(400), tensors, 0.25)
    assert {name: array.shape for name, array in view.values.items()} == {"a": (3, 4), "b": (5,)}
    flat = np.concatenate([array.ravel() for array in view.values.values()])
    assert np.abs(flat).max() <= 0.25
    assert len(set(flat.tolist())) == 17


def test_no_bytes_give_no_numbers() -> None:
    assert ciphertext.view_of_bytes(b"", {"a": np.zeros(3)}, 1.0).readable == 0


def test_the_attack_succeeds_where_the_pads_are_missing(victim, rows, generator) -> None:
    """The same reading and the same attack, on blocks that nothing hides: the record is found."""
    plan = vs.Plan(clients=4, value_bits=16)
    _, public = vs.keygen(plan)
    found = NOTHING
    for i in range(8):
        update = victim.one_step(rows[0][i : i + 1], rows[1][i : i + 1], 0.25)
        rnd = vs.Round(plan, public, like=update, limit=0.25)
        read = ciphertext.read_blocks(without_pads(rnd, update), rnd)
        view = View(read).scaled(-4)
        result = attack(victim, view, 1, generator)
        found += leakage_rate(rows[0][i : i + 1], result.guesses)
    assert found.rate >= 0.9
