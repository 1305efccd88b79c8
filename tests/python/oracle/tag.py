"""The sum tag's hash and masks, and the keyed hash of blocks, by their definition, in integers.

The prime is a parameter: the core has two, and a test that measures how often a forgery succeeds
takes one so small that it often does. Nothing is accumulated lazily and no power stands in a table.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

from . import streams
from .plans import Plan

TAG_POINT, TAG_MULTIPLIER, TAG_MASK = 5, 6, 7
EVALUATIONS = 2
RUN = 2048
PRIMES = (2**50 - 27, 2**61 - 1)


def prime_of(base: int) -> int:
    """Of the plans with base t."""
    return PRIMES[0] if base < PRIMES[0] else PRIMES[1]


def digits_per_word(base: int, prime: int) -> int:
    """The largest g with t^g < P."""
    g = 1
    while base ** (g + 1) < prime:
        g += 1
    assert base**g < prime
    return g


def element(block: bytes, prime: int) -> int:
    """What one AES block stands for: the first of its two words that is below P."""
    bits = prime.bit_length()
    first, second = (word & (1 << bits) - 1 for word in struct.unpack("<QQ", block))
    return first if first < prime else second - (prime if second >= prime else 0)


def round_key(round_id: bytes, group_tag_key: bytes) -> bytes:
    return streams.label_hash("veilsum/2/tag-round", round_id, group_tag_key)


def mask(prime: int, key: bytes, client: int, nonce: bytes) -> tuple[int, ...]:
    """What an upload adds to its hash."""
    aes = streams.label_hash("veilsum/2/tag-mask", struct.pack("<I", client), nonce, key)
    data = streams.keystream(aes, streams.stream_index(TAG_MASK), 0, EVALUATIONS)
    return tuple(element(data[16 * e : 16 * e + 16], prime) for e in range(EVALUATIONS))


def words_of(rows: list[list[int]], base: int, prime: int) -> list[list[int]]:
    """rows[d][i] is digit d of coefficient i -> [p][i], word p of coefficient i."""
    g = digits_per_word(base, prime)
    return [
        [
            sum(d * base**k for k, d in enumerate(digits))
            for digits in zip(*rows[at : at + g], strict=True)
        ]
        for at in range(0, len(rows), g)
    ]


def run_value(words: list[int], point: int, prime: int) -> int:
    """Horner's rule, reduced at every word."""
    value = 0
    for word in reversed(words):
        value = (value * point + word) % prime
    return value


@dataclass(frozen=True)
class Hash:
    """The hash of one round. A block is its rows of digits; block b is number b of the vector."""

    base: int
    key: bytes
    prime: int

    @cached_property
    def aes(self) -> bytes:
        return streams.label_hash("veilsum/2/tag-hash", self.key)

    def elements(self, domain: int, block: int, count: int) -> list[int]:
        data = streams.keystream(self.aes, streams.stream_index(domain, 0, block), 0, count)
        return [element(data[16 * i : 16 * i + 16], self.prime) for i in range(count)]

    @cached_property
    def points(self) -> list[int]:
        return self.elements(TAG_POINT, 0, EVALUATIONS)

    def block(self, number: int, rows: list[list[int]]) -> tuple[int, ...]:
        words = words_of(rows, self.base, self.prime)
        runs = [row[at : at + RUN] for row in words for at in range(0, len(row), RUN)]
        multipliers = self.elements(TAG_MULTIPLIER, number, EVALUATIONS * len(runs))
        return tuple(
            sum(
                multipliers[EVALUATIONS * r + e] * run_value(run, self.points[e], self.prime)
                for r, run in enumerate(runs)
            )
            % self.prime
            for e in range(EVALUATIONS)
        )

    def vector(self, blocks: list[list[list[int]]]) -> tuple[int, ...]:
        return add(self.prime, *(self.block(b, rows) for b, rows in enumerate(blocks)))


def digit_rows(plan: Plan, digits: list[int]) -> list[list[list[int]]]:
    """Digits of a vector -> [block][d][i], digit d of coefficient i; filled up with zeros."""
    out, first = [], 0
    for count, coefficients in plan.block_sizes(len(digits)):
        row = digits[first : first + count] + [0] * (coefficients * plan.digits - count)
        out.append([row[at : at + coefficients] for at in range(0, len(row), coefficients)])
        first += count
    return out


def hash_of(plan: Plan, round_id: bytes, group_key: bytes, digits: list[int]) -> tuple[int, ...]:
    """h of all digits of a vector, in a round of a group."""
    made = Hash(plan.base, round_key(round_id, group_key), prime_of(plan.base))
    return made.vector(digit_rows(plan, digits))


def blocks_value(key: bytes, blocks: list[bytes]) -> tuple[int, ...]:
    """The keyed hash of packed blocks: words of 48 bits, the rest behind eights of them a run."""
    prime, made, totals = PRIMES[0], Hash(2**48, key, PRIMES[0]), [0] * EVALUATIONS
    for number, block in enumerate(blocks):
        whole = len(block) // 48 * 48
        parts = [block[at : min(at + 6 * RUN, whole)] for at in range(0, whole, 6 * RUN)]
        if whole < len(block):
            parts.append(block[whole:] + bytes(-len(block) % 48))
        multipliers = made.elements(TAG_MULTIPLIER, number, EVALUATIONS * len(parts))
        for r, part in enumerate(parts):
            words = [int.from_bytes(part[j : j + 6], "little") for j in range(0, len(part), 6)]
            for e in range(EVALUATIONS):
                value = run_value(words, made.points[e], prime)
                totals[e] += multipliers[EVALUATIONS * r + e] * value
    return tuple(total % prime for total in totals)


def tag_of(
    plan: Plan, round_id: bytes, group_key: bytes, digits: list[int], client: int, nonce: bytes
) -> tuple[int, ...]:
    """What an upload's client seals: h of its digits, masked."""
    prime, key = prime_of(plan.base), round_key(round_id, group_key)
    own = mask(prime, key, client, nonce)
    return add(prime, hash_of(plan, round_id, group_key, digits), own)


def add(prime: int, *sums: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sum(values) % prime for values in zip((0,) * EVALUATIONS, *sums, strict=True))


def subtract(prime: int, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((x - y) % prime for x, y in zip(a, b, strict=True))
