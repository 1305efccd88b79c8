"""Sharing, sums of shares, decoding and challenges of the core against the oracle."""

import itertools
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle import ring, shamir
from oracle import statistics as stats
from veilsum.errors import ParameterError, WireFormatError

MAX_WEIGHT, MAX_MEMBERS = 1 << 20, 1 << 10
TAG_PRIME, WIDE_TAG_PRIME = (1 << 50) - 27, (1 << 61) - 1
NARROW_END = (1 << 27) - 39


def prime_above(x):
    return next(p for p in itertools.count(x + 1) if ring.is_prime(p))


# Words hold these 32 and 8 times and a half: one word in 65 and in 17 is rejected, and without
# rejection the smaller half of the elements would come too often by 1/32 and 1/8.
NARROW_REJECTING, REJECTING = prime_above(2**33 // 65), prime_above(2**65 // 17)
NARROW = (5, 7, 37, 331, 33554467, NARROW_REJECTING, NARROW_END)
WIDE = (prime_above(1 << 27), TAG_PRIME, REJECTING, WIDE_TAG_PRIME)
MODULI = (*NARROW, *WIDE)

examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def words(values):
    return np.array(values, dtype=np.uint64)


@st.composite
def schemes(draw, most_members=9):
    p = draw(st.sampled_from(MODULI))
    n = draw(st.integers(1, min(most_members, p - 1)))
    return p, n, draw(st.integers(1, n))


def elements(p):
    return st.one_of(st.sampled_from((0, 1, p - 1)), st.integers(0, p - 1))


def vectors(p, size):
    return st.lists(elements(p), min_size=size, max_size=size)


@pytest.mark.parametrize("p", MODULI)
def test_the_moduli_are_primes(p):
    assert ring.is_prime(p)


def test_tag_primes(door):
    assert door.tag_primes() == (TAG_PRIME, WIDE_TAG_PRIME)
    assert not any(ring.is_prime(p) for p in range(TAG_PRIME + 1, 1 << 50))


def test_sharing_primes(door):
    weights = [*range(1, 200), *(1 << k for k in range(21)), MAX_WEIGHT - 1]
    for total_weight in weights:
        for n in (1, 31, 32, 33, 36, 37, 100, 1000, MAX_MEMBERS):
            p = shamir.sharing_prime(total_weight, n)
            assert door.sharing_prime(total_weight, n) == p
            # Its margin: sums of 8 W are less than half of it, and all points differ from 0.
            assert 16 * total_weight < p / 2
            assert n < p < 1 << 26


@pytest.mark.parametrize("bad", [(0, 1), (MAX_WEIGHT + 1, 1), (1, 0), (1, MAX_MEMBERS + 1)])
def test_sharing_prime_refuses(door, bad):
    with pytest.raises(ParameterError):
        door.sharing_prime(*bad)


@pytest.mark.parametrize(
    "bad",
    [
        (9, 1, 1),
        (2, 1, 1),
        (prime_above(1 << 61), 1, 1),
        (331, 0, 0),
        (331, 3, 0),
        (331, 3, 4),
        (5, 5, 1),
        (1031, 1025, 2),
    ],
)
def test_scheme_refuses(door, bad):
    with pytest.raises(ParameterError):
        door.Shamir(*bad)


@pytest.mark.parametrize("p", MODULI)
def test_uniform_elements(door, active_level, p, rng):
    for count in (0, 1, 2, 3, 4, 5, 8, 500):
        key, index = rng.randbytes(32), rng.getrandbits(64)
        out = door.uniform_elements(p, door.aes_round_keys(key), index, count)
        assert out.tolist() == shamir.uniform(key, index, p, count)


@pytest.mark.parametrize("p", [5, 7, 331, NARROW_REJECTING, REJECTING])
def test_uniform_elements_are_uniform(door, p):
    """A fresh key each run. False alarms: at most 2 * stats.FALSE_ALARM = 2e-11 a prime.

    16 equal slices of [0, p), or every element of a smaller field. A reduction without rejection
    would be seen in the two fields whose names say so.
    """
    count = 1 << 20
    out = door.uniform_elements(p, door.aes_round_keys(os.urandom(32)), 0, count)
    slices = min(p, 16)
    edges = [-(-i * p // slices) for i in range(slices + 1)]
    bins = np.searchsorted(words(edges), out, side="right") - 1
    counts = np.bincount(bins, minlength=slices).tolist()
    assert len(counts) == slices
    stats.assert_distribution(counts, [(b - a) / p for a, b in itertools.pairwise(edges)])


@examples
@given(data=st.data())
def test_shares_are_polynomials_and_any_t_reconstruct(door, data):
    p, n, t = data.draw(schemes())
    columns = data.draw(st.integers(1, 5))
    polynomial = [data.draw(vectors(p, columns)) for _ in range(t)]
    scheme = door.Shamir(p, n, t)
    shares = scheme.evaluate(words(polynomial))
    assert shares.tolist() == shamir.evaluate(polynomial, n, p)
    members = data.draw(st.permutations(range(n)))[:t]
    secret = scheme.reconstruct(members, shares[members])
    assert secret.tolist() == polynomial[0]
    assert secret.tolist() == shamir.reconstruct(members, shares[members].tolist(), p)


@examples
@given(data=st.data())
def test_sharing_draws_from_the_stream(door, data):
    p, n, t = data.draw(schemes())
    key = data.draw(st.binary(min_size=32, max_size=32))
    index = data.draw(st.integers(0, 2**64 - 1))
    limit = min(8, p - 1)
    signed = data.draw(st.lists(st.integers(-limit, limit), max_size=9))
    scheme, round_keys = door.Shamir(p, n, t), door.aes_round_keys(key)
    expected = shamir.share(signed, t, n, p, key, index)
    out = scheme.share_signed(np.array(signed, dtype=np.int64), round_keys, index)
    assert out.tolist() == expected
    out = scheme.share(words([c % p for c in signed]), round_keys, index)
    assert out.tolist() == expected


@pytest.mark.parametrize(
    ("total_weight", "n", "t"),
    [
        (1, 1, 1),
        (10, 4, 3),
        (100, 100, 67),
        (1000, 1000, 1000),
        (MAX_WEIGHT, 1000, 501),
        (MAX_WEIGHT, 5, 1),
    ],
)
def test_extreme_sums_reconstruct(door, active_level, total_weight, n, t, rng):
    """W weights of one, all coefficients 8 or -8; the first upload holds the other W - 1."""
    p = door.sharing_prime(total_weight, n)
    scheme = door.Shamir(p, n, t)
    signs = np.array([rng.choice((-8, 8)) for _ in range(16)], dtype=np.int64)
    total = scheme.share_signed(signs * (total_weight - 1), aes_key(door, rng), 0).reshape(-1)
    last = scheme.share_signed(signs, aes_key(door, rng), 0).reshape(-1)
    total = door.add_elements(p, total, last).reshape(n, 16)
    members = rng.sample(range(n), t)
    if n > 1:
        members = [n - 1, *(k for k in members if k != n - 1)][:t]  # the largest point too
    out = door.centred_elements(p, scheme.reconstruct(members, total[members]))
    assert out.tolist() == (signs * total_weight).tolist()
    assert door.all_within(out, 8 * total_weight)
    assert not door.all_within(out, 8 * total_weight - 1)


def aes_key(door, rng):
    return door.aes_round_keys(rng.randbytes(32))


@examples
@given(data=st.data())
def test_sums_of_shares_reconstruct_to_sums(door, data):
    p, n, t = data.draw(schemes())
    scheme = door.Shamir(p, n, t)
    total, expected = words([0] * (3 * n)), [0] * 3
    for upload in range(data.draw(st.integers(1, 4))):
        secret = data.draw(vectors(p, 3))
        key = door.aes_round_keys(bytes([upload] * 32))
        total = door.add_elements(p, total, scheme.share(words(secret), key, 7).reshape(-1))
        expected = [(a + b) % p for a, b in zip(expected, secret, strict=True)]
    members = data.draw(st.permutations(range(n)))[:t]
    out = scheme.reconstruct(members, total.reshape(n, 3)[members])
    assert out.tolist() == expected
    assert door.centred_elements(p, out).tolist() == [shamir.centred(x, p) for x in expected]


@pytest.mark.parametrize(("p", "n", "t"), [(5, 4, 2), (5, 4, 3), (7, 6, 2), (7, 6, 3), (5, 4, 4)])
def test_t_minus_one_shares_say_nothing(door, p, n, t):
    """All polynomials: whatever the secret, each value of any t - 1 shares comes exactly once."""
    scheme = door.Shamir(p, n, t)
    rest = list(zip(*itertools.product(range(p), repeat=t - 1), strict=True))
    for secret in range(p):
        shares = scheme.evaluate(words([[secret] * p ** (t - 1), *rest])).tolist()
        for members in itertools.combinations(range(n), t - 1):
            seen = set(zip(*(shares[k] for k in members), strict=True))
            assert len(seen) == p ** (t - 1)


@pytest.mark.parametrize("p", [p for p in MODULI if p.bit_length() <= 52])
def test_packing(door, active_level, p, rng):
    for count in (0, 8, 48):
        values = [rng.choice((0, p - 1, rng.randrange(p))) for _ in range(count)]
        data = door.pack_elements(p, words(values))
        assert data == shamir.packed(values, p)
        assert door.unpack_elements(p, data, count).tolist() == values
        for wrong in (data + b"\0", data[1:]) if count else ():
            with pytest.raises(WireFormatError):
                door.unpack_elements(p, wrong, count)
        for word in (p, 2 ** p.bit_length() - 1) if count else ():
            values[rng.randrange(count)] = word
            with pytest.raises(WireFormatError):
                door.unpack_elements(p, shamir.packed(values, p), count)
    with pytest.raises(ParameterError):
        door.pack_elements(p, words([0] * 9))


def test_wide_fields_are_not_packed(door):
    with pytest.raises(ParameterError):
        door.pack_elements(WIDE_TAG_PRIME, words([0] * 8))


@st.composite
def tampered(draw):
    """Answers of some members, of which any number are wrong."""
    p, n, t = draw(schemes(most_members=7))
    columns = draw(st.integers(1, 3))
    polynomial = [draw(vectors(p, columns)) for _ in range(t)]
    answering = draw(st.permutations(range(n)))[: draw(st.integers(t, n))]
    rows = [shamir.evaluate(polynomial, n, p)[k] for k in answering]
    for i in draw(st.sets(st.integers(0, len(answering) - 1))):
        rows[i] = draw(vectors(p, columns))
    return p, n, t, answering, rows


@examples
@given(case=tampered())
def test_decoding_is_exact(door, case):
    """Within the radius the nearest sharing and who departs from it; beyond it, undecodable."""
    p, n, t, members, rows = case
    secret, wrong = door.Shamir(p, n, t).decode(members, words(rows))
    best, found = shamir.nearest(members, rows, t, p)
    if 2 * best <= len(members) - t:
        ((expected, departing),) = found
        assert tuple(secret.tolist()) == expected
        assert tuple(wrong) == departing
    else:
        assert secret is None
        assert wrong == []


@examples
@given(case=tampered())
def test_distance_is_exact(door, case):
    p, n, t, members, rows = case
    scheme = door.Shamir(p, n, t)
    best, found = shamir.nearest(members, rows, t, p)
    for f in range(len(members) - t):
        verdict, differing = scheme.distance(members, words(rows), f)
        assert verdict == ("within" if best <= f else "farther")
        if best <= f:
            assert tuple(differing) in {departing for _, departing in found}
    with pytest.raises(ParameterError):
        scheme.distance(members, words(rows), len(members) - t)


def test_every_error_pattern_of_a_small_committee_is_corrected(door, rng):
    p, n, t = 331, 7, 3
    scheme = door.Shamir(p, n, t)
    shares = scheme.share(words([1, 2, 330]), aes_key(door, rng), 0)
    for size in range((n - t) // 2 + 1):
        for wrong in itertools.combinations(range(n), size):
            for columns in ([0], [2], [0, 1, 2]):
                bad = shares.copy()
                for k in wrong:
                    for j in columns:
                        bad[k, j] = (int(bad[k, j]) + rng.randrange(1, p)) % p
                secret, named = scheme.decode(list(range(n)), bad)
                assert secret.tolist() == [1, 2, 330]
                assert tuple(named) == wrong


def test_a_subset_beyond_the_radius_gives_the_secret(door, rng):
    """Four wrong of nine answers, t = 5: decoding gives up; one of the subsets is honest."""
    p, n, t = 331, 9, 5
    scheme = door.Shamir(p, n, t)
    shares = scheme.share(words(range(20)), aes_key(door, rng), 0)
    for wrong in ((0, 1, 2), (3, 5, 7), (6, 7, 8)):
        bad = shares.copy()
        for k in wrong:
            bad[k] = [rng.randrange(p) for _ in range(20)]
        assert scheme.decode(list(range(n)), bad) == (None, [])
        subsets = door.trial_subsets(n, t)
        assert len(subsets) == 64
        found = [scheme.reconstruct(s, bad[s]).tolist() == list(range(20)) for s in subsets]
        assert any(found)


@pytest.mark.parametrize(("n", "t"), [(1, 1), (5, 3), (8, 5), (9, 2), (64, 63)])
def test_few_subsets_are_all_subsets(door, n, t):
    assert door.trial_subsets(n, t) == [list(s) for s in itertools.combinations(range(n), t)]


@pytest.mark.parametrize(
    ("members", "rows"),
    [
        ([0, 1, 1], 3),  # twice
        ([0, 1, 5], 3),  # out of range
        ([0, 1], 2),  # too few
        ([], 0),
        ([0, 1, 2], 2),  # rows and members differ: 8 words for 3
    ],
)
def test_answers_that_are_none(door, members, rows):
    scheme = door.Shamir(331, 5, 3)
    given = words([[1] * 4] * rows)
    with pytest.raises(ParameterError):
        scheme.reconstruct(members, given)
    with pytest.raises(ParameterError):
        scheme.decode(members, given)


@pytest.mark.parametrize("p", MODULI)
def test_number_of_challenge_elements(door, p):
    assert door.challenge_elements(p) == shamir.challenge_elements(p)


@examples
@given(data=st.data())
def test_challenges_are_linear_and_commute_with_sharing(door, data):
    p, n, t = data.draw(schemes())
    digest = data.draw(st.binary(min_size=32, max_size=32))
    secret = data.draw(st.integers(0, 6).flatmap(lambda size: vectors(p, size)))
    other = data.draw(vectors(p, len(secret)))

    def combine(vector):
        return door.combine_challenge(p, digest, words(vector)).tolist()

    assert combine(secret) == shamir.combine_challenge(digest, secret, p)
    sums = [(a + b) % p for a, b in zip(secret, other, strict=True)]
    added = door.add_elements(p, words(combine(secret)), words(combine(other)))
    assert combine(sums) == added.tolist()
    scheme = door.Shamir(p, n, t)
    shares = scheme.share(words(secret), door.aes_round_keys(digest), 0)
    members = data.draw(st.permutations(range(n)))[:t]
    combined = [combine(shares[k]) for k in members]
    assert scheme.reconstruct(members, words(combined)).tolist() == combine(secret)
