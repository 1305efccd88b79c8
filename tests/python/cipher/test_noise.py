"""Errors and roundings driven to their extremes: no sum that a plan admits is decoded wrongly.

The core cannot be asked for such sums, since it draws errors and keys, so they are built: each
client's u lies at the edge of a rounding interval, its error is +-8, and `lift` errs to the same
side (worst_cases.py). They go through the oracle, and through the kernels of every level.
"""

import functools
import random
from fractions import Fraction

import numpy as np
import pytest

import worst_cases
from oracle import blocks, plans, ring

#: Every profile, W from 2 to the most, with and without weights, both kinds of digits.
PLANS = {
    "n2048, 2 clients": (2, 16, 0, 128, "n2048"),
    "n2048, 10 clients": (10, 16, 0, 128, "n2048"),
    "n2048, 3 clients, 2 bits": (3, 2, 0, 128, "n2048"),
    "n2048, 1000 clients, 20 bits": (1000, 20, 0, 128, "n2048"),
    "n2048, weights": (8, 8, 10, 128, "n2048"),
    "n2048, most clients": (1 << 20, 2, 0, 128, "n2048"),
    "n4096, 2 clients": (2, 32, 0, 128, "n4096"),
    "n4096, 10 clients": (10, 16, 0, 128, "n4096"),
    "n4096, weights": (5, 16, 12, 128, "n4096"),
    "n4096, 100 clients, 32 bits": (100, 32, 0, 128, "n4096"),
    "n4096, most clients": (1 << 20, 16, 0, 128, "n4096"),
    "n8192, 2 clients": (2, 8, 0, 128, "n8192"),
    "n8192, 10 clients": (10, 16, 0, 128, "n8192"),
    "n8192, weights": (4, 8, 16, 128, "n8192"),
    "n8192, most clients, 32 bits": (1 << 20, 32, 0, 128, "n8192"),
    "n4096q48, 10 clients": (10, 16, 0, 192, "n4096q48"),
    "n4096q48, weights": (4, 4, 8, 256, "n4096q48"),
    "n8192q96, 10 clients": (10, 16, 0, 256, "n8192q96"),
    "n8192q96, weights": (3, 8, 14, 192, "n8192q96"),
    "n16384q192, 10 clients": (10, 16, 0, 256, "n16384q192"),
    "n16384q192, most clients": (1 << 16, 16, 4, 192, "n16384q192"),
}
COEFFICIENTS = 24


@functools.cache
def plan_of(name):
    return plans.Plan(*PLANS[name])


@pytest.fixture(params=PLANS)
def plan(request):
    return plan_of(request.param)


def full_weights(plan):
    """All of W: one weight a client where they are few, else nearly all of it in one."""
    if plan.max_weight <= 16:
        return [1] * plan.max_weight
    return [plan.max_weight - 1, 1]


@functools.cache
def cases_of(plan, kind):
    """COEFFICIENTS cases, the same for all levels."""
    choice = random.Random(repr((plan, kind)))
    weights, top = full_weights(plan), 2 * plan.levels
    if kind == "random":
        return [worst_cases.random_case(plan, top, weights, choice) for _ in range(COEFFICIENTS)]
    sign = {"up": 1, "down": -1, "zeros up": 1, "zeros down": -1}[kind]
    return [
        worst_cases.worst_case(plan, top, weights, sign, choice, zeros=kind.startswith("zeros"))
        for _ in range(COEFFICIENTS)
    ]


KINDS = ["up", "down", "zeros up", "zeros down", "random"]


@pytest.mark.parametrize("kind", KINDS)
def test_noise_stays_within_the_bound_and_reaches_for_it(plan, kind):
    """At most noise; built cases come within the spacing of integers below it.

    In units of 2^B / q, a built rounding may miss its end by 2 and, among the k truncated fractions
    of several limbs, by k more; a built `lift` by 1, and again by 1 where messages are zero or the
    side is the one it never errs to. Times W, and one for a sum of integers.
    """
    noise = [case.noise(plan) for case in cases_of(plan, kind)]
    assert max(map(abs, noise)) <= plan.noise_bound
    if kind == "random":
        return
    spacing = Fraction(1 << plan.field_bits, plan.big_q)
    sign = 1 if kind.endswith("up") else -1
    missing = plan.noise - max(sign * x for x in noise)
    assert missing <= (4 + plan.limbs) * plan.max_weight * spacing + 1


@pytest.mark.parametrize(
    ("name", "reached"),
    [("n2048, 10 clients", 8), ("n4096, 10 clients", 5), ("n8192, 10 clients", 5)],
)
def test_the_bound_is_met_where_it_can_be(name, reached):
    """DESIGN's first three plans: the largest integer that the bound allows occurs."""
    plan = plan_of(name)
    assert reached == plan.noise_bound
    assert max(abs(c.noise(plan)) for kind in KINDS for c in cases_of(plan, kind)) == reached


def test_delta_leaves_no_more_room_than_the_bound_needs(plan):
    """One bit less and the bound would not fit: the reach above is what the width is for."""
    narrower = plans.noise_of(plan.max_weight, plan.limbs, plan.field_bits - 1)
    delta = (1 << plan.field_bits - 1) // plan.base**plan.digits
    assert plan.delta >= 2 * plan.noise + 1
    assert delta < 2 * narrower + 1


# --- through the kernels --------------------------------------------------------------------------


class KernelSum:
    """The cases as blocks: one upload a client, encrypted, summed, and the pads of the sum."""

    def __init__(self, door, level, plan, cases):
        self.door, self.level, self.cases = door, level, cases
        self.numbers = door.Arithmetic(plan.limbs, plan.field_bits, plan.base, plan.digits)
        self.wide = plan.base > 1 << 32
        clients = list(zip(*(case.clients for case in cases), strict=True))
        self.uploads = [self.encrypt(plan, column) for column in clients]
        weights = [column[0].weight for column in clients]
        self.total = door.sum_fields(level, self.numbers, self.uploads, weights)
        self.pads = np.array(
            [[case.pad(plan) % q for case in cases] for q in plan.moduli], dtype=np.uint64
        )

    def encrypt(self, plan, column):
        pad = b"".join(ring.pack([c.u % q for c in column], 48) for q in plan.moduli)
        digits = np.array(
            [[c.digits[place] for c in column] for place in range(plan.digits)], dtype=np.uint32
        )
        return self.door.encrypt_from_pad(self.level, self.numbers, pad, digits)

    def decrypt(self):
        return self.door.decrypt_block(self.level, self.numbers, self.total, self.pads, self.wide)

    def noise_in_bounds(self, bound):
        return self.door.noise_in_bounds(self.level, self.numbers, self.total, self.pads, bound)


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_decode_every_case(door, isa_level, plan, kind):
    cases = cases_of(plan, kind)
    summed = KernelSum(door, isa_level, plan, cases)
    fields = ring.unpack_rows(summed.total, plan.field_bits)
    assert fields == [case.field(plan) for case in cases]
    in_range, digits = summed.decrypt()
    assert in_range
    assert digits.T.tolist() == [case.digits(plan) for case in cases]


@pytest.mark.parametrize("kind", ["zeros up", "zeros down"])
def test_check_blocks_pass_at_the_bound_and_fail_below_their_noise(door, isa_level, plan, kind):
    cases = cases_of(plan, kind)
    worst = max(abs(case.noise(plan)) for case in cases)
    summed = KernelSum(door, isa_level, plan, cases)
    assert summed.noise_in_bounds(plan.noise_bound)
    assert summed.noise_in_bounds(worst)
    assert not summed.noise_in_bounds(worst - 1)


def test_kernels_decode_wrongly_beyond_half_of_delta(door, isa_level, plan):
    """The tests above could fail: noise of Delta / 2 and one more changes a digit."""
    cases = cases_of(plan, "random")
    summed = KernelSum(door, isa_level, plan, cases)
    size = 1 << plan.field_bits
    for sign in (1, -1):
        fields = [
            (case.field(plan) + sign * (plan.delta // 2 + 1) - case.noise(plan)) % size
            for case in cases
        ]
        summed.total = ring.pack_rows(fields, plan.field_bits)
        in_range, digits = summed.decrypt()
        expected = [case.digits(plan) for case in cases]
        assert not in_range or digits.T.tolist() != expected


@pytest.mark.slow
def test_a_million_random_sums_stay_within_the_bound(plan):
    """u uniform, errors at their ends: what a real sum's noise can look like at its worst."""
    choice = random.Random(repr(plan))
    weights = full_weights(plan)
    for _ in range(1_000_000 // len(PLANS) // len(weights) // plan.limbs // 16):
        case = worst_cases.random_case(plan, 2 * plan.levels, weights, choice)
        assert abs(case.noise(plan)) <= plan.noise_bound
        assert blocks.message_of(
            plan,
            blocks.difference(plan, case.field(plan), worst_cases.residues(plan, case.pad(plan))),
        ) == sum(c.weight * c.message(plan) for c in case.clients)
