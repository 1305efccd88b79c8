"""The sum tag's hash: the kernel of every level, and the ring layer, against Python integers.

Then what changes of a sum do to it, and how often a forgery succeeds over a prime so small that
some do.
"""

import itertools

import numpy as np
import pytest

from oracle import plans, streams, tag

P50, P61 = tag.PRIMES
STEP = 256
KEY = bytes(range(32))

# t, digits of a word, prime: plans' words, the smallest base, the ends of what levels cut or join,
# words up to P - 1 and up to 2^52 - 1.
KERNEL_SHAPES = [
    (655351, 2, P50),
    (655351, 1, P50),
    (2551, 3, P50),
    (46, 7, P50),
    (3, 31, P50),
    (2, 49, P50),
    (2048, 4, P50),
    (2049, 4, P50),
    (1 << 22, 2, P50),
    ((1 << 22) + 1, 2, P50),
    ((1 << 25) - 1, 2, P50),
    (1 << 32, 1, P50),
    ((1 << 32) + 1, 1, P50),
    (P50, 1, P50),
    (P50, 1, P61),
    (1 << 52, 1, P61),
]
KERNEL_LENGTHS = [8, 16, 24, 32, 40, 248, 256, 264, 272, 512, 520, 1024, 2040, 2048]
BLOCK_LENGTHS = [8, 16, 24, 256, 264, 2040, 2048, 2056, 4096, 4104]


def array(rows, wide):
    return np.array(rows, dtype=np.uint64 if wide else np.uint32)


def digits_like(rng, count, base, kind):
    if kind == "edges":
        return [rng.choice((0, 1, base - 2, base - 1)) % base for _ in range(count)]
    if kind == "largest":
        return [base - 1] * count
    return [rng.randrange(base) for _ in range(count)]


# --- the kernel -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["random", "edges", "largest"])
@pytest.mark.parametrize(("base", "digits", "prime"), KERNEL_SHAPES)
def test_run(door, isa_level, rng, base, digits, prime, kind):
    """Tables of any numbers, not only of powers: P - 1 everywhere is the largest a sum can be."""
    scale = [base**i for i in range(digits)]
    for length in KERNEL_LENGTHS:
        powers = [digits_like(rng, STEP, prime, kind) for _ in range(2)]
        steps = [digits_like(rng, tag.RUN // STEP, prime, kind) for _ in range(2)]
        rows = [digits_like(rng, length, base, kind) for _ in range(digits)]
        words = [
            sum(d * s for d, s in zip(each, scale, strict=True)) for each in zip(*rows, strict=True)
        ]
        assert max(words) < min(prime, 1 << 52)
        expected = [
            sum(w * powers[e][j % STEP] * steps[e][j // STEP] for j, w in enumerate(words)) % prime
            for e in range(2)
        ]
        for wide in (True,) if base > 1 << 32 else (False, True):
            got = door.tag_run(
                isa_level,
                array(rows, wide),
                base,
                np.array(scale, dtype=np.uint64),
                prime,
                np.array(powers, dtype=np.uint64),
                np.array(steps, dtype=np.uint64),
            )
            assert got == expected


def test_what_a_sum_wraps_to(door, isa_level):
    """Words and powers chosen so that sums are 0, 1 and P - 1 modulo P after many products."""
    length = tag.RUN
    ones = np.ones((2, STEP), dtype=np.uint64)
    steps = np.ones((2, tag.RUN // STEP), dtype=np.uint64)
    scale = np.ones(1, dtype=np.uint64)
    powers = (P50 - 1) * ones  # each product is minus a word
    for target in (0, 1, P50 - 1):
        words = [P50 - 1] * (length - 1)
        words.append((-target - sum(words)) % P50)
        rows = array([words], wide=True)
        assert door.tag_run(isa_level, rows, P50, scale, P50, powers, steps) == [target] * 2


# --- field and keys -------------------------------------------------------------------------------


def test_field(door):
    assert P50 == 2**50 - 27 and not any(plans.ring.is_prime(n) for n in range(P50 + 1, 2**50))
    for base in [2, 3, 46, 2551, 655351, 2**25 - 1, 2**25, 2**32, P50 - 1, P50, P50 + 1, 2**52]:
        prime = tag.prime_of(base)
        assert plans.ring.is_prime(prime)
        assert door.tag_field(base) == (prime, tag.digits_per_word(base, prime))
    for base in (0, 1, 2**52 + 1):
        with pytest.raises(ValueError, match="base"):
            door.tag_field(base)


@pytest.mark.parametrize("base", [655351, 2**51])
def test_arithmetic(door, rng, base):
    prime = tag.prime_of(base)
    edges = [0, 1, 2, prime // 2, prime - 2, prime - 1]
    pairs = list(itertools.product(edges, edges))
    pairs += [(rng.randrange(prime), rng.randrange(prime)) for _ in range(2000)]
    for a, b in pairs:
        expected = ((a + b) % prime, (a - b) % prime, a * b % prime)
        assert door.tag_arithmetic(base, a, b) == expected


@pytest.mark.parametrize("base", [655351, 2**51])
def test_elements(door, rng, base):
    prime = tag.prime_of(base)
    end = 1 << prime.bit_length()
    words = [0, 1, prime - 1, prime, end - 1, end, end + prime - 1, end + prime, 2**64 - 1]
    blocks = [a.to_bytes(8, "little") + b.to_bytes(8, "little") for a in words for b in words]
    blocks += [rng.randbytes(16) for _ in range(500)]
    for block in blocks:
        got = door.tag_element(base, block)
        assert got == tag.element(block, prime) and got < prime


def test_keys_and_masks(door, rng):
    for base in (655351, 2**51):
        prime = tag.prime_of(base)
        for _ in range(20):
            round_id, group, nonce = rng.randbytes(32), rng.randbytes(32), rng.randbytes(16)
            client = rng.choice((0, 1, 255, 256, 2**32 - 1))
            key = door.tag_round_key(round_id, group)
            assert key == tag.round_key(round_id, group)
            mask = door.Tags(base, 2, key).mask(client, nonce)
            assert tuple(mask) == tag.mask(prime, key, client, nonce)
    with pytest.raises(ValueError, match="32 bytes"):
        door.tag_round_key(bytes(32), bytes(31))


# --- the hash of a block --------------------------------------------------------------------------

# t, L: of plans (DESIGN section 3), and words that do not divide L.
CODES = [(655351, 2), (655351, 4), (655351, 9), (2551, 3), (46, 7), (3, 96), (2**45, 2), (2**51, 3)]


def hash_of(door, base, rows, number=0, key=KEY):
    rows = np.asarray(rows)
    return tuple(door.Tags(base, len(rows), key).block(number, rows, rows.shape[1]))


@pytest.mark.parametrize(("base", "digits"), CODES)
def test_block(door, active_level, rng, base, digits):
    prime = tag.prime_of(base)
    oracle = tag.Hash(base, KEY, prime)
    made = door.Tags(base, digits, KEY)
    assert made.words_per_coefficient == -(-digits // tag.digits_per_word(base, prime))
    for length in BLOCK_LENGTHS if digits < 10 else (8, 2056):
        number = rng.choice((0, 1, 2**30, 2**48 - 1))
        rows = [
            digits_like(rng, length, base, rng.choice(("random", "edges"))) for _ in range(digits)
        ]
        expected = oracle.block(number, rows)
        for wide in (True,) if base > 1 << 32 else (False, True):
            longer = [[*row, 7, 7, 7] for row in rows]  # what stands behind c is not read
            assert tuple(made.block(number, array(longer, wide), length)) == expected


def test_a_block_of_the_largest_ring(door, active_level, rng):
    """N = 16384: eight parts of two words each, more runs than multipliers are made at once."""
    base, length = 655351, 16384
    rows = [digits_like(rng, length, base, "random") for _ in range(18)]
    assert hash_of(door, base, array(rows, False), 5) == tag.Hash(base, KEY, P50).block(5, rows)


def test_numbers_out_of_range_are_refused(door):
    made = door.Tags(655351, 1, KEY)
    rows = np.zeros((1, (1 << 15) + 8), dtype=np.uint32)
    for number, coefficients in ((1 << 48, 8), (0, 12), (0, (1 << 15) + 8)):
        with pytest.raises(ValueError, match="block"):
            made.block(number, rows, coefficients)
    for digits in (0, 97):
        with pytest.raises(ValueError, match="digits"):
            door.Tags(655351, digits, KEY)


# --- what changes of a sum do ---------------------------------------------------------------------


def test_linear_with_weights(door, active_level, rng):
    """A tag is hash and mask; the tags' weighted sum, less the masks', is the sum's hash."""
    base, digits, length = 17 * 255 + 1, 5, 264
    made = door.Tags(base, digits, KEY)
    total, tags, masks = np.zeros((digits, length), dtype=np.uint32), (0, 0), (0, 0)
    for client, weight in enumerate((1, 3, 13)):
        rows = np.array([digits_like(rng, length, 256, "edges") for _ in range(digits)], np.uint32)
        total += weight * rows
        mask = made.mask(client, bytes(16))
        upload = made.combine(made.block(3, rows, length), mask, 1, (0, 0))
        tags = made.combine(tags, upload, weight, (0, 0))
        masks = made.combine(masks, mask, weight, (0, 0))
    assert total.max() == base - 1
    assert made.combine(tags, (0, 0), 0, masks) == made.block(3, total, length)


def test_zero_hashes_to_zero(door, active_level):
    """So a tag of nothing is its mask alone."""
    for base, digits in CODES:
        rows = np.zeros((digits, 2056), dtype=np.uint64)
        assert hash_of(door, base, rows, 9) == (0, 0)


def differ(a, b):
    """In both evaluations: 2^-39 that a right one fails here."""
    return all(x != y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("security", [128, 192, 256])
def test_a_constant_added_to_one_digit_everywhere(door, active_level, rng, security):
    """The change an aggregator would like best, on every profile."""
    requests = [(10, 16, 0), (10, 8, 0), (3, 4, 0), (1000, 24, 0), (1 << 10, 32, 9)]
    seen = set()
    for request in requests:
        for plan in plans.candidates(*request, security):
            seen.add(plan.ring_name)
            wide = plan.base > 1 << 32
            rows = np.array(
                [
                    [rng.randrange(min(plan.base - 1, 1 << 16)) for _ in range(plan.degree)]
                    for _ in range(plan.digits)
                ],
                dtype=np.uint64 if wide else np.uint32,
            )
            made = door.Tags(plan.base, plan.digits, KEY)
            before = made.block(0, rows, plan.degree)
            for digit in range(plan.digits):
                changed = rows.copy()
                changed[digit] += 1
                assert differ(before, made.block(0, changed, plan.degree))
            assert differ(before, made.block(0, rows + rows.dtype.type(1), plan.degree))
    assert seen == set(plans.RINGS_OF[security])


def test_any_single_digit(door, active_level, rng):
    base, digits, length = 655351, 5, 2072
    rows = np.array(
        [digits_like(rng, length, base - 1, "random") for _ in range(digits)], np.uint32
    )
    made = door.Tags(base, digits, KEY)
    before = made.block(0, rows, length)
    places = [(d, i) for d in range(digits) for i in (0, 1, 7, 8, 255, 256, 2047, 2048, 2071)]
    for digit, coefficient in places:
        changed = rows.copy()
        changed[digit, coefficient] += rng.choice((1, base - 1 - rows[digit, coefficient]))
        assert differ(before, made.block(0, changed, length))


def test_exchanged_words_coefficients_parts_and_blocks(door, active_level, rng):
    base, digits, length = 655351, 4, 4096
    rows = np.array([digits_like(rng, length, base, "random") for _ in range(digits)], np.uint32)
    before = hash_of(door, base, rows)
    for order in ([1, 0, 2, 3], [0, 1, 3, 2], [2, 3, 0, 1]):  # digits in a word; words
        assert differ(before, hash_of(door, base, rows[order]))
    for a, b in ((0, 1), (0, 8), (0, 256), (0, 2048), (2047, 2048)):
        changed = rows.copy()
        changed[:, [a, b]] = changed[:, [b, a]]
        assert differ(before, hash_of(door, base, changed))
    parts = np.concatenate((rows[:, 2048:], rows[:, :2048]), axis=1)
    assert differ(before, hash_of(door, base, parts))
    assert differ(before, hash_of(door, base, rows, number=1))
    # The same change in two blocks, of opposite signs, does not cancel.
    first, second = hash_of(door, base, rows, 0), hash_of(door, base, rows, 1)
    up, down = rows.copy(), rows.copy()
    up[0, 5], down[0, 5] = 1, 0
    rows[0, 5] = 1
    lower = tag.add(P50, hash_of(door, base, up, 0), hash_of(door, base, down, 1))
    upper = tag.add(P50, hash_of(door, base, down, 0), hash_of(door, base, up, 1))
    assert differ(lower, upper) and first != second


def test_a_carry_is_no_way_out(door, active_level):
    """t in one digit is one in the next, as a message counts, but never for a digit below t: words
    tell (t - 1, 0) from (0, 1), and the next word has no part of this one's overflow."""
    base, digits = 655351, 4
    seen = set()
    for d in range(digits):
        for value in (1, base - 1):
            rows = np.zeros((digits, 8), dtype=np.uint32)
            rows[d, 3] = value
            seen.add(hash_of(door, base, rows))
        # all that stands below digit d at its largest: one less than digit d's one
        rows = np.zeros((digits, 8), dtype=np.uint32)
        rows[:d, 3] = base - 1
        seen.add(hash_of(door, base, rows))
    # (the all-zero one for d = 0, and for d = 1 the largest digit 0 once more)
    assert len(seen) == 3 * digits - 1


def test_one_constant_added_to_whole_messages(door, active_level, rng):
    """Of 178 bits: adding c to every m changes digits of all words where it carries."""
    base, digits, length = 655351, 9, 64
    top = base**digits
    messages = [rng.randrange(top // 2) for _ in range(length)]

    def rows_of(values):
        return array([[v // base**d % base for v in values] for d in range(digits)], False)

    before = hash_of(door, base, rows_of(messages))
    for constant in (1, base, base**2, base**8, P50, P50 * P50, P50 * base**4):
        after = hash_of(door, base, rows_of([m + constant for m in messages]))
        assert differ(before, after)


# --- forgery over a small prime -------------------------------------------------------------------

SMALL = 251
SMALL_BASE = 15  # two digits a word: 225 < 251, so any difference modulo 251 is one of two words


def polynomial(roots):
    """Coefficients of prod (x - r) modulo SMALL, lowest first."""
    out = [1]
    for root in roots:
        out = [(a - root * b) % SMALL for a, b in zip([0, *out], [*out, 0], strict=True)]
    return out


def test_the_bound_counted_out():
    """Every point and every multiplier, for the differences of n words with the most roots."""
    n = 32
    values = [tag.run_value(polynomial(range(1, n)), x, SMALL) for x in range(SMALL)]
    assert values.count(0) == n - 1
    for guess in (0, 1, 77):
        wins = sum(m * v % SMALL == guess for v in values for m in range(SMALL))
        # At a root no multiplier, or every one, does; elsewhere exactly one. Claimed: n of P^2 / P.
        assert wins == (n - 1) * SMALL * (guess == 0) + SMALL - (n - 1)
        assert wins <= n * SMALL
    # With differences in a second run, only common roots are left.
    second = polynomial(range(n // 2, n // 2 + n - 1))
    others = [tag.run_value(second, x, SMALL) for x in range(SMALL)]
    assert sum(v == w == 0 for v, w in zip(values, others, strict=True)) == n // 2
    multipliers = range(SMALL)
    for x in (0, 1, n // 2, n - 1, n, 100):
        v, w = values[x], others[x]
        wins = sum((m * v + k * w) % SMALL == 0 for m in multipliers for k in multipliers)
        assert wins == (SMALL**2 if v == w == 0 else SMALL)


def test_how_often_a_forgery_succeeds():
    """Keys drawn as the core draws them. False alarm below 1e-6 a count (five sigma)."""
    n, keys = 32, 6000
    difference = polynomial(range(100, 100 + n - 1))
    largest = SMALL_BASE**2 - 1
    honest = [0 if c <= largest else SMALL - c for c in difference]
    forged = [(h + c) % SMALL for h, c in zip(honest, difference, strict=True)]

    def rows_of(words):
        return [[w % SMALL_BASE for w in words], [w // SMALL_BASE for w in words]]

    won, both = [0, 0], 0
    for i in range(keys):
        key = streams.label_hash("test/tag", i.to_bytes(4, "little"))
        hashed = tag.Hash(SMALL_BASE, key, SMALL)
        same = [
            a == b
            for a, b in zip(
                hashed.block(0, rows_of(honest)), hashed.block(0, rows_of(forged)), strict=True
            )
        ]
        won = [w + s for w, s in zip(won, same, strict=True)]
        both += all(same)
    exact = (n - 1) / SMALL + (1 - (n - 1) / SMALL) / SMALL
    assert exact < n / SMALL
    for count, p in ((won[0], exact), (won[1], exact), (both, exact**2)):
        assert abs(count - keys * p) <= 5 * (keys * p * (1 - p)) ** 0.5
    assert both <= keys * (n / SMALL) ** 2 + 5 * (keys * exact**2) ** 0.5
