"""Shamir's sharing over GF(p), and decoding by looking at every subset, in Python integers.

A vector is a list with one element a coefficient; shares are a list of such rows, member k's at the
point k + 1. A polynomial is a list of rows: row i holds the coefficients of x^i.
"""

from __future__ import annotations

import itertools

from . import ring, streams

NARROW_END = 1 << 27
CHALLENGE_LABEL = "veilsum/2/challenge-combination"

Vector = list[int]


def sharing_prime(total_weight: int, members: int) -> int:
    """The smallest prime above 32 W and n."""
    p = max(32 * total_weight, members) + 1
    while not ring.is_prime(p):
        p += 1
    return p


def uniform(key: bytes, index: int, p: int, count: int) -> Vector:
    """Words of the stream below the largest multiple of p, modulo p; others are replaced."""
    width = 4 if p < NARROW_END else 8
    end = 2 ** (8 * width) // p * p

    def word(i: int) -> int:
        return int.from_bytes(streams.stream_bytes(key, index, width * i, width), "little")

    data = streams.stream_bytes(key, index, 0, width * count) if count else b""
    out = [int.from_bytes(data[i : i + width], "little") for i in range(0, len(data), width)]
    spare = count
    for j, value in enumerate(out):
        while value >= end:
            value = word(spare)
            spare += 1
        out[j] = value % p
    return out


def evaluate(polynomial: list[Vector], members: int, p: int) -> list[Vector]:
    out = []
    for k in range(members):
        powers = [pow(k + 1, i, p) for i in range(len(polynomial))]
        out.append(
            [
                sum(c * power for c, power in zip(column, powers, strict=True)) % p
                for column in zip(*polynomial, strict=True)
            ]
        )
    return out


def share(secret: Vector, threshold: int, members: int, p: int, key: bytes, index: int):
    """Shares whose other coefficients are the stream's elements, row by row."""
    n = len(secret)
    drawn = uniform(key, index, p, (threshold - 1) * n)
    rows = [drawn[i * n : (i + 1) * n] for i in range(threshold - 1)]
    return evaluate([[c % p for c in secret], *rows], members, p)


def interpolate(points: list[int], values: Vector, x: int, p: int) -> int:
    """Value at x of the polynomial of least degree through the points (Lagrange)."""
    total = 0
    for i, (at, value) in enumerate(zip(points, values, strict=True)):
        term = value
        for m, other in enumerate(points):
            if m != i:
                term = term * (x - other) * pow(at - other, -1, p) % p
        total += term
    return total % p


def reconstruct(members: list[int], rows: list[Vector], p: int) -> Vector:
    points = [k + 1 for k in members]
    unit = [[int(i == k) for i in range(len(points))] for k in range(len(points))]
    weights = [interpolate(points, row, 0, p) for row in unit]
    return [
        sum(w * x for w, x in zip(weights, column, strict=True)) % p
        for column in zip(*rows, strict=True)
    ]


def centred(x: int, p: int) -> int:
    return x if x <= p // 2 else x - p


def nearest(members: list[int], rows: list[Vector], threshold: int, p: int):
    """Sharings with the fewest departing members: (how many, {(secret, departing members)}).

    Every sharing that agrees with t members is met; with fewer members no other one agrees more.
    """
    best, found = len(members) + 1, set()
    for subset in itertools.combinations(range(len(members)), threshold):
        points = [members[i] + 1 for i in subset]
        wrong, secret = [], []
        for column in zip(*rows, strict=True):
            values = [column[i] for i in subset]
            secret.append(interpolate(points, values, 0, p))
            wrong += [
                k
                for k, value in zip(members, column, strict=True)
                if interpolate(points, values, k + 1, p) != value
            ]
        departing = tuple(sorted(set(wrong)))
        if len(departing) < best:
            best, found = len(departing), set()
        if len(departing) == best:
            found.add((tuple(secret), departing))
    return best, found


def packed(elements: Vector, p: int) -> bytes:
    bits = p.bit_length()
    whole = sum(x << (bits * i) for i, x in enumerate(elements))
    return whole.to_bytes(len(elements) * bits // 8, "little")


def challenge_elements(p: int) -> int:
    m = 0
    while p**m < 2**128:
        m += 1
    return m


def combine_challenge(digest: bytes, vector: Vector, p: int, count: int | None = None) -> Vector:
    key = streams.label_hash(CHALLENGE_LABEL, digest)
    return [
        sum(c * x for c, x in zip(uniform(key, i, p, len(vector)), vector, strict=True)) % p
        for i in range(challenge_elements(p) if count is None else count)
    ]
