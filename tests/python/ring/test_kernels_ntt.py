"""Transforms of every level against the oracle, with every table the core makes for them."""

import numpy as np
import pytest

from oracle import ring

DEGREES = [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768]
WORD_MASK = (1 << 52) - 1
LAZY_FACTOR = 8


def u64(values):
    return np.array(values, dtype=np.uint64)


def companion(w, q):
    return (w << 52) // q


def inputs(rng, n, bound):
    """Edges first: zeros, ones, the largest value, single coefficients, a mix, random."""
    yield [0] * n
    yield [1] * n
    yield [bound - 1] * n
    for place in (0, 1, n // 2, n - 1):
        yield [bound - 1 if i == place else 0 for i in range(n)]
    yield [rng.choice((0, 1, bound - 1)) for _ in range(n)]
    yield [rng.randrange(bound) for _ in range(n)]


def test_primes(door):
    assert tuple(door.primes()) == ring.primes()


def test_is_prime(door, rng):
    numbers = [*range(300), *(rng.getrandbits(rng.randrange(2, 64)) for _ in range(300))]
    numbers += [2**61 - 1, 2**64 - 59, 3215031751, 3825123056546413051, 2**64 - 1]
    for n in numbers:
        assert door.is_prime(n) == ring.is_prime(n), n


@pytest.mark.parametrize("n", DEGREES)
def test_roots_of_unity(door, n):
    for q in (*ring.primes(), ring.smallest_prime()):
        assert door.primitive_root_of_unity(q, n) == ring.psi(q, n)


@pytest.mark.parametrize("n", [64, 2048, 16384, 32768])
@pytest.mark.parametrize("limb", range(4))
def test_tables(door, n, limb):
    q = ring.primes()[limb]
    tables = door.ntt_tables(n, q)
    bits = n.bit_length() - 1
    root = ring.psi(q, n)
    powers = ring._powers(root, q, 2 * n)
    roots = [powers[ring.bit_reverse(i, bits)] for i in range(n)]
    inverses = [powers[-ring.bit_reverse(i, bits) % (2 * n)] for i in range(n)]
    assert tables["roots"].tolist()[1:] == roots[1:]
    assert tables["inverse_roots"].tolist()[1:] == inverses[1:]
    for name, values in (("roots", roots), ("inverse_roots", inverses)):
        companions = [companion(w, q) for w in values]
        assert tables[f"{name}_shoup"].tolist()[1:] == companions[1:]
    assert tables["delta"] == 2**48 - q
    # The last three stages, in the order kernels.h gives: the factor of element e of block b in
    # the stage with distance t belongs to group (16 b + e) // (2 t) of n / (2 t) groups.
    elements = {
        4: [0, 1, 2, 3, 8, 9, 10, 11],
        2: [0, 1, 4, 5, 8, 9, 12, 13],
        1: [0, 2, 4, 6, 8, 10, 12, 14],
    }
    for name, values in (("tail", roots), ("inverse_tail", inverses)):
        expected = []
        for block in range(n // 16):
            for t, places in elements.items():
                factors = [values[n // (2 * t) + (16 * block + e) // (2 * t)] for e in places]
                expected += factors + [companion(w, q) for w in factors]
        assert tables[name].tolist() == expected


@pytest.mark.parametrize("n", DEGREES)
def test_forward(door, isa_level, n, rng):
    for limb, q in enumerate(ring.primes()):
        for case, a in enumerate(inputs(rng, n, q)):
            if n > 2048 and case != 2 and (case + limb) % 4 != 0:
                continue  # every case at every degree up to 2048, a quarter of them above
            assert door.ntt_forward(isa_level, u64(a), q).tolist() == ring.ntt(a, q)


def with_leftovers(rng, words):
    """The same lazy residues with anything above bit 52."""
    return [x | rng.getrandbits(12) << 52 for x in words]


@pytest.mark.parametrize("n", DEGREES)
def test_inverse_takes_and_gives_lazy_residues(door, isa_level, n, rng):
    """Low 52 bits below 2 q in, below 8 q out; what stands above means nothing."""
    for limb, q in enumerate(ring.primes()):
        for case, slots in enumerate(inputs(rng, n, 2 * q)):
            if n > 2048 and case != 2 and (case + limb) % 4 != 0:
                continue
            words = with_leftovers(rng, slots) if case % 2 else slots
            out = door.ntt_inverse_lazy(isa_level, u64(words), q) & np.uint64(WORD_MASK)
            assert int(out.max()) < LAZY_FACTOR * q
            expected = [x * n % q for x in ring.intt([x % q for x in slots], q)]
            assert [x % q for x in out.tolist()] == expected


@pytest.mark.parametrize("n", DEGREES)
def test_inverse_of_what_grows_most(door, isa_level, n, rng):
    """Slots in two-valued patterns that drive one stage after another to its extremes.

    Blocks of equal signs of every length: sums of a stage meet the largest summands, differences
    the largest distance.
    """
    q = ring.primes()[0]
    for span in (1 << k for k in range(n.bit_length() - 1)):
        if n > 2048 and span not in (1, 8, 64, n // 2):
            continue
        low = rng.choice((0, 1))
        slots = [2 * q - 1 if i // span % 2 else low for i in range(n)]
        out = door.ntt_inverse_lazy(isa_level, u64(slots), q) & np.uint64(WORD_MASK)
        assert int(out.max()) < LAZY_FACTOR * q
        expected = [x * n % q for x in ring.intt([x % q for x in slots], q)]
        assert [x % q for x in out.tolist()] == expected


@pytest.mark.parametrize("n", DEGREES)
def test_multiply_inverse(door, isa_level, n, rng):
    """The product of slots and the way back in one: what multiply_slots and the inverse make.

    In place and apart, with and without memory to ask for ahead, at the largest words.
    """
    edges = (0, 1, WORD_MASK)
    for limb, q in enumerate(ring.primes()):
        for case, kind in enumerate(("largest", "edges", "random")):
            if n > 2048 and (case + limb) % 4 != 0:
                continue
            if kind == "largest":
                a, slots = [WORD_MASK] * n, [q - 1] * n
            elif kind == "edges":
                a = [rng.choice((*edges, q - 1, 2 * q - 1)) for _ in range(n)]
                slots = [rng.choice((0, 1, q - 1)) for _ in range(n)]
            else:
                a = [rng.getrandbits(52) for _ in range(n)]
                slots = [rng.randrange(q) for _ in range(n)]
            products = [x * y % q for x, y in zip(a, slots, strict=True)]
            expected = [x * n % q for x in ring.intt(products, q)]
            for in_place in (False, True):
                for ahead in (False, True):
                    out = door.multiply_inverse(isa_level, u64(a), u64(slots), q, in_place, ahead)
                    out &= np.uint64(WORD_MASK)
                    assert int(out.max()) < LAZY_FACTOR * q
                    assert [x % q for x in out.tolist()] == expected


def test_smallest_modulus(door, isa_level, rng):
    """The bounds of the kernels hold for any 2^48 - 2^24 < q < 2^48."""
    q = ring.smallest_prime()
    for n in (64, 1024, 32768):
        for a in inputs(rng, n, q):
            if n < 32768 or a[0] == q - 1:
                assert door.ntt_forward(isa_level, u64(a), q).tolist() == ring.ntt(a, q)
                lazy = [2 * x for x in a]
                out = door.ntt_inverse_lazy(isa_level, u64(lazy), q) & np.uint64(WORD_MASK)
                assert int(out.max()) < LAZY_FACTOR * q
                expected = [x * n % q for x in ring.intt([x % q for x in lazy], q)]
                assert [x % q for x in out.tolist()] == expected


def test_slots_multiply_as_polynomials(door, isa_level, rng):
    q, n = ring.primes()[2], 256
    a = [rng.randrange(q) for _ in range(n)]
    b = [rng.choice((0, 1, q - 1)) for _ in range(n)]
    slots_a = door.ntt_forward(isa_level, u64(a), q).tolist()
    slots_b = door.ntt_forward(isa_level, u64(b), q).tolist()
    product = u64([x * y % q for x, y in zip(slots_a, slots_b, strict=True)])
    out = door.ntt_inverse_lazy(isa_level, product, q) & np.uint64(WORD_MASK)
    scale = pow(n, -1, q)
    assert [x * scale % q for x in out.tolist()] == ring.multiply_by_definition(a, b, q)


def test_secret_companions(door, rng):
    for q in (*ring.primes(), ring.smallest_prime()):
        edges = [0, 1, 2, q // 2, q - 2, q - 1]
        for w in edges + [rng.randrange(q) for _ in range(2000)]:
            assert door.shoup_companion_secret(w, q) == companion(w, q)
