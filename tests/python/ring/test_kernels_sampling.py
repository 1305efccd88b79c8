"""Expansion and sampling of every level against the oracle, rejection included."""

import json
from pathlib import Path

import numpy as np
import pytest

from oracle import ring, streams

VECTORS = Path(__file__).parents[2] / "vectors"
DEGREES = [64, 128, 1024, 2048, 4096, 8192, 16384]


@pytest.mark.parametrize("key_bytes", [16, 32])
@pytest.mark.parametrize("n", DEGREES)
def test_uniform(door, isa_level, n, key_bytes, rng):
    for q in ring.primes():
        key = rng.randbytes(key_bytes)
        index = rng.getrandbits(64)
        out = door.expand_uniform(isa_level, door.aes_round_keys(key), index, q, n)
        assert out.tolist() == streams.uniform(key, index, q, n)


@pytest.mark.parametrize("n", DEGREES)
def test_uniform_when_half_of_all_words_are_rejected(door, isa_level, n, rng):
    """q just above 2^49 exercises the replacement words; with the real primes they are rare."""
    q = ring.small_test_prime()
    key = rng.randbytes(16)
    index = rng.getrandbits(64)
    out = door.expand_uniform(isa_level, door.aes_round_keys(key), index, q, n)
    assert out.tolist() == streams.uniform(key, index, q, n)


def rejections():
    return json.loads((VECTORS / "uniform_rejections.json").read_text())["cases"]


@pytest.mark.parametrize("case", rejections(), ids=lambda c: f"limb{c['limb']}-word{c['word']}")
def test_uniform_rejects_words_of_the_real_primes(door, isa_level, case):
    """Frozen streams in which a word is >= q: about one word in 2^30 to 2^28."""
    q = ring.primes()[case["limb"]]
    key = bytes.fromhex(case["key"])
    words = streams.words64(key, case["index"], case["n"])
    rejected = [j for j, w in enumerate(words) if w & streams.RESIDUE_MASK >= q]
    assert rejected == [case["word"]]
    expected = streams.uniform(key, case["index"], q, case["n"])
    round_keys = door.aes_round_keys(key)
    out = door.expand_uniform(isa_level, round_keys, case["index"], q, case["n"])
    assert out.tolist() == expected
    ones = np.ones(case["n"], dtype=np.uint64)
    product = door.expand_multiply(isa_level, round_keys, case["index"], q, ones)
    assert [x % q for x in product.tolist()] == expected


@pytest.mark.parametrize("n", DEGREES)
def test_multiply(door, isa_level, n, rng):
    for q in (*ring.primes(), ring.small_test_prime()):
        key = rng.randbytes(16)
        index = rng.getrandbits(64)
        residues = streams.uniform(key, index, q, n)
        for slots in (
            [0] * n,
            [1] * n,
            [q - 1] * n,
            [rng.randrange(q) for _ in range(n)],
        ):
            factors = np.array(slots, dtype=np.uint64)
            out = door.expand_multiply(isa_level, door.aes_round_keys(key), index, q, factors)
            out = out.tolist()
            assert max(out) < 2 * q
            assert [x % q for x in out] == [x * y % q for x, y in zip(residues, slots, strict=True)]


@pytest.mark.parametrize("key_bytes", [16, 32])
def test_centred_binomial_of_any_length(door, isa_level, key_bytes, rng):
    key = rng.randbytes(key_bytes)
    round_keys = door.aes_round_keys(key)
    for n in [0, *range(8, 200, 8), 1024, 2048, 2056, 16384]:
        index = rng.getrandbits(64)
        out = door.sample_cbd(isa_level, round_keys, index, n)
        assert out.tolist() == streams.cbd(key, index, n)


def test_centred_binomial_from_words():
    assert streams.cbd_from_word(0) == 0
    assert streams.cbd_from_word((1 << 21) - 1) == 21
    assert streams.cbd_from_word(((1 << 21) - 1) << 21) == -21
    assert streams.cbd_from_word((1 << 64) - 1) == 0
    assert streams.cbd_from_word(~0 << 42 & (1 << 64) - 1) == 0
