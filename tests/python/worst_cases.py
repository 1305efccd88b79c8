"""Sums built so that their noise comes as close to the planner's bound as sums can.

A client's field errs most where u + lift(Delta m) is the first integer of a rounding interval, or
the last one, where `lift` errs to the same side, and where the error is at its end. All clients are
built that way; the sum's own rounding then adds what is left. Pads need not come from keys for
that: any integers modulo q do.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction
from math import prod

from oracle import blocks, ring

ERROR_BOUND = 8


def modulus(code) -> int:
    return prod(code.moduli)


def residues(code, u: int) -> tuple[int, ...]:
    return tuple(u % q for q in code.moduli)


def rounded(code, u: int) -> int:
    return ring.round_residues(residues(code, u), code.moduli, code.field_bits)


def lift_error(code, x: int) -> Fraction:
    """lift(x) - x q / 2^B, in units of one."""
    exact = Fraction(x * modulus(code), 1 << code.field_bits)
    return ring.lift(x, code.moduli, code.field_bits) - exact


def step_near(code, field: int) -> int:
    """A u that rounds to `field` where u - 1 rounds to the field below."""
    q, size = modulus(code), 1 << code.field_bits
    middle = -(-(2 * field - 1) * q // (2 * size))
    low, high = middle - 2 * code.limbs - 8, middle + 2 * code.limbs + 8
    while high - low > 1:
        at = (low + high) // 2
        reached = (rounded(code, at % q) - field) % size < size // 2
        low, high = (low, at) if reached else (at, high)
    return high


@dataclass
class Client:
    """One coefficient of one client: its weight, u in [0, q), its error, digits and field."""

    weight: int
    u: int
    error: int
    digits: list[int]

    def message(self, code) -> int:
        return sum(d * code.base**place for place, d in enumerate(self.digits))

    def field(self, code) -> int:
        return blocks.encrypt_coefficient(code, residues(code, self.u), self.message(code))


@dataclass
class Case:
    """One coefficient of a sum."""

    clients: list[Client]

    def pad(self, code) -> int:
        """sum of weight * (u - e) mod q: what the key of the sum gives."""
        return sum(c.weight * (c.u - c.error) for c in self.clients) % modulus(code)

    def field(self, code) -> int:
        return sum(c.weight * c.field(code) for c in self.clients) % (1 << code.field_bits)

    def digits(self, code) -> list[int]:
        return [
            sum(c.weight * c.digits[place] for c in self.clients) for place in range(code.digits)
        ]

    def noise(self, code) -> int:
        message = sum(c.weight * c.message(code) for c in self.clients)
        phase = blocks.difference(code, self.field(code), residues(code, self.pad(code)))
        return blocks.centred(phase - code.delta * message, code.field_bits)


def extreme_digits(code, top: int, choice: random.Random, sign: int, tries: int) -> list[int]:
    """Digits in [0, top] whose message `lift` errs most to the side of `sign`; ends included."""
    candidates = [[0] * code.digits, [top] * code.digits]
    candidates += [
        [choice.choice((0, top, choice.randint(0, top))) for _ in range(code.digits)]
        for _ in range(tries)
    ]
    return max(
        candidates,
        key=lambda digits: (
            sign
            * lift_error(
                code, code.delta * sum(d * code.base**place for place, d in enumerate(digits))
            )
        ),
    )


def worst_case(
    code, top: int, weights: list[int], sign: int, choice: random.Random, zeros: bool = False
) -> Case:
    """A case whose noise is as far on the side of `sign` as this construction goes.

    `top` is a client's largest digit; with `zeros` the messages are zero, as in a check block.
    """
    size, q = 1 << code.field_bits, modulus(code)
    clients = []
    for weight in weights:
        digits = [0] * code.digits if zeros else extreme_digits(code, top, choice, sign, 60)
        lifted = ring.lift(
            code.delta * sum(d * code.base**place for place, d in enumerate(digits)),
            code.moduli,
            code.field_bits,
        )
        start = step_near(code, choice.randrange(1, size))
        u = (start - (sign < 0) - lifted) % q
        clients.append(Client(weight, u, sign * ERROR_BOUND, digits))
    return Case(clients)


def random_case(code, top: int, weights: list[int], choice: random.Random) -> Case:
    """Uniform u, errors at either end, any digits."""
    return Case(
        [
            Client(
                weight,
                choice.randrange(modulus(code)),
                choice.choice((-ERROR_BOUND, ERROR_BOUND)),
                [choice.choice((0, top, choice.randint(0, top))) for _ in range(code.digits)],
            )
            for weight in weights
        ]
    )
