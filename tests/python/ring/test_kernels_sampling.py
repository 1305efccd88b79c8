"""Expansion and sampling of every level against the oracle, rejection included."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from oracle import ring, streams

VECTORS = Path(__file__).parents[2] / "vectors" / "v2"
DEGREES = [8, 16, 24, 40, 64, 72, 128, 1024, 2048, 4096, 8192, 16384, 32768]
WORD_MASK = (1 << 52) - 1


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
    """Replacements of replacements, many in one vector: no prime in use gives them.

    The expansion compares words with q and asks nothing else of it, so a q far below the kernels'
    range shows the order in which spare words are handed out.
    """
    q = (1 << 47) + 12345
    key = rng.randbytes(16)
    index = rng.getrandbits(64)
    out = door.expand_uniform(isa_level, door.aes_round_keys(key), index, q, n)
    assert out.tolist() == streams.uniform(key, index, q, n)


def rejections():
    return json.loads((VECTORS / "uniform_rejections.json").read_text())["cases"]


@pytest.mark.parametrize("case", rejections(), ids=lambda c: f"limb{c['limb']}-word{c['word']}")
def test_uniform_rejects_words_of_the_real_primes(door, isa_level, case):
    """Frozen streams in which a word is >= q: about one word in 2^30 to 2^26."""
    q = ring.primes()[case["limb"]]
    key = bytes.fromhex(case["key"])
    words = streams.words48(key, case["index"], case["n"])
    assert [j for j, w in enumerate(words) if w >= q] == [case["word"]]
    round_keys = door.aes_round_keys(key)
    out = door.expand_uniform(isa_level, round_keys, case["index"], q, case["n"])
    assert out.tolist() == streams.uniform(key, case["index"], q, case["n"])


@pytest.mark.parametrize("n", DEGREES)
def test_multiply_slots(door, isa_level, n, rng):
    """Any word of 52 bits by any slot below q, out of place and in place."""
    for q in (*ring.primes(), ring.smallest_prime()):
        edges = (0, 1, q - 1, q, 2 * q - 1, WORD_MASK)
        a = [rng.choice((*edges, rng.getrandbits(52))) for _ in range(n)]
        for slots in (
            [0] * n,
            [1] * n,
            [q - 1] * n,
            [rng.choice((0, 1, q - 1, rng.randrange(q))) for _ in range(n)],
        ):
            factors = np.array(slots, dtype=np.uint64)
            words = np.array(a, dtype=np.uint64)
            expected = [x * y % q for x, y in zip(a, slots, strict=True)]
            for in_place in (False, True):
                out = door.multiply_slots(isa_level, words, factors, q, in_place)
                out = (out & np.uint64(WORD_MASK)).tolist()
                assert max(out) < 2 * q
                assert [x % q for x in out] == expected


@pytest.mark.parametrize("key_bytes", [16, 32])
def test_centred_binomial_of_any_length(door, isa_level, key_bytes, rng):
    key = rng.randbytes(key_bytes)
    round_keys = door.aes_round_keys(key)
    for n in [0, *range(8, 200, 8), 1024, 2048, 2056, 16384]:
        index = rng.getrandbits(64)
        out = door.sample_cbd(isa_level, round_keys, index, n)
        assert out.tolist() == streams.cbd(key, index, n)


def test_centred_binomial_from_bytes():
    assert streams.cbd_from_bytes(0, 0) == 0
    assert streams.cbd_from_bytes(0xFF, 0) == 8
    assert streams.cbd_from_bytes(0, 0xFF) == -8
    assert streams.cbd_from_bytes(0xFF, 0xFF) == 0
    assert streams.cbd_from_bytes(0b10110000, 0b1) == 2


@functools.cache
def keys_with_extremes(place):
    """Keys whose sample `place` of stream 5 is +8 and -8: one sample in 2^16 does either."""
    wanted = {8, -8}
    found = []
    for number in range(1 << 22):
        key = number.to_bytes(16, "little")
        sample = streams.cbd_from_bytes(*streams.stream_bytes(key, 5, 2 * place, 2))
        if sample in wanted:
            found.append(key)
            wanted.discard(sample)
            if not wanted:
                return found
    pytest.fail("no key found")


@pytest.mark.parametrize("place", [0, 7, 31, 64])
def test_centred_binomial_reaches_both_ends(door, isa_level, place):
    ends = []
    for key in keys_with_extremes(place):
        out = door.sample_cbd(isa_level, door.aes_round_keys(key), 5, 136)
        assert out.tolist() == streams.cbd(key, 5, 136)
        ends.append(int(out[place]))
    assert sorted(ends) == [-8, 8]
