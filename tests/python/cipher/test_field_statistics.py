"""Do packed fields look uniform, whatever they hide?

Blocks of zeros and of the largest values, made by the kernels of each level from fresh keys: the
public polynomial expanded, the key sampled and transformed, multiplied, back, error, message,
rounding, packing. Keys come from the operating system, so every run is a new experiment; a test
alarms falsely with a probability below 1e-9 on all levels together.
"""

import os

import numpy as np
import pytest

from oracle import plans, ring
from oracle import statistics as stats

#: plan, blocks made of it: some half a million fields each.
PLANS = {
    "n2048": (plans.Plan(10, 16, 0, 128, "n2048"), 256),
    "n2048, many digits": (plans.Plan(3, 4, 0, 128, "n2048"), 256),
    "n4096": (plans.Plan(10, 16, 0, 128, "n4096"), 128),
    "n8192": (plans.Plan(10, 16, 0, 128, "n8192"), 64),
}
BYTES = 256


def random_key(door, size):
    return door.aes_round_keys(os.urandom(size))


def key_slots(door, level, plan, coefficients):
    """Slots of a small polynomial, 1 / N inside, one row a limb."""
    rows = []
    for q in plan.moduli:
        residues = np.array([int(c) % q for c in coefficients], dtype=np.uint64)
        slots = door.ntt_forward(level, residues, q)
        scale = pow(plan.degree, -1, q)
        rows.append(np.array([int(s) * scale % q for s in slots], dtype=np.uint64))
    return rows


def upload(door, level, plan, blocks, digit):
    """Packed blocks of one upload with one key, every digit `digit`; fresh everything."""
    numbers = door.Arithmetic(plan.limbs, plan.field_bits, plan.base, plan.digits)
    matrix, secret = random_key(door, 16), random_key(door, 32)
    slots = key_slots(door, level, plan, door.sample_cbd(level, secret, 1, plan.degree))
    digits = np.full((plan.digits, plan.degree), digit, dtype=np.uint32)
    out = []
    for block in range(blocks):
        pads = []
        for limb, q in enumerate(plan.moduli):
            a = door.expand_uniform(level, matrix, block * 4 + limb, q, plan.degree)
            product = door.multiply_slots(level, a, slots[limb], q)
            pads.append(door.ntt_inverse_lazy(level, product, q))
        out.append(
            door.encrypt_block(
                level, numbers, np.array(pads), digits, secret, 1000 + block, plan.degree
            )
        )
    return out


def split_rows(door, level, plan, packed):
    """One array of words a row of the block."""
    groups, at, rows = plan.degree // 8, 0, []
    for width in ring.row_widths(plan.field_bits):
        rows.append(door.unpack_fields(level, packed[at : at + groups * width], width))
        at += groups * width
    return rows


def assert_uniform_bytes(values):
    counts = np.bincount(np.asarray(values).astype(np.int64), minlength=BYTES)
    stats.assert_distribution(counts.tolist(), [1 / BYTES] * BYTES)


@pytest.fixture(params=PLANS)
def case(request):
    return PLANS[request.param]


@pytest.mark.parametrize("content", ["zero", "largest"])
def test_fields_are_uniform(door, isa_level, case, content):
    """Low and high bits of every row, pairs of neighbours, and the packed bytes themselves.

    A field is the image of about q / 2^B values of u, as many as any other up to one: among 2^B
    fields with the same byte that is a bias below 2^-20, where half a million samples see 2^-8.
    """
    plan, blocks = case
    digit = 0 if content == "zero" else 2 * plan.levels
    packed = upload(door, isa_level, plan, blocks, digit)
    assert_uniform_bytes(np.frombuffer(b"".join(packed), dtype=np.uint8))
    rows = [split_rows(door, isa_level, plan, block) for block in packed]
    for place, width in enumerate(ring.row_widths(plan.field_bits)):
        words = np.concatenate([row[place] for row in rows])
        if width >= 8:
            assert_uniform_bytes(words & np.uint64(0xFF))
            assert_uniform_bytes(words >> np.uint64(width - 8))
        if width >= 4:
            top = (words >> np.uint64(width - 4)).reshape(-1, 2)
            pairs = top[:, 0] << np.uint64(4) | top[:, 1]
            counts = np.bincount(pairs.astype(np.int64), minlength=BYTES)
            stats.assert_distribution(counts.tolist(), [1 / BYTES] * BYTES)


def test_zeros_and_largest_values_differ_by_something_uniform(door, isa_level, case):
    """Two uploads, also of the same content: fields modulo 2^B tell nothing of each other."""
    plan, blocks = case
    first = upload(door, isa_level, plan, blocks, 0)
    for digit in (0, 2 * plan.levels):
        second = upload(door, isa_level, plan, blocks, digit)
        numbers = door.Arithmetic(plan.limbs, plan.field_bits, plan.base, plan.digits)
        apart = [
            door.sum_fields(isa_level, numbers, [a, b], None, True)
            for a, b in zip(first, second, strict=True)
        ]
        assert_uniform_bytes(np.frombuffer(b"".join(apart), dtype=np.uint8))
        rows = [split_rows(door, isa_level, plan, block)[-1] for block in apart]
        width = ring.row_widths(plan.field_bits)[-1]
        assert_uniform_bytes(np.concatenate(rows) >> np.uint64(width - 8))


def test_neighbouring_blocks_of_one_key_are_unrelated(door, isa_level, case):
    """One key, two public polynomials: the difference of two blocks is uniform."""
    plan, blocks = case
    packed = upload(door, isa_level, plan, blocks, 2 * plan.levels)
    numbers = door.Arithmetic(plan.limbs, plan.field_bits, plan.base, plan.digits)
    apart = [
        door.sum_fields(isa_level, numbers, [packed[b], packed[b + 1]], None, True)
        for b in range(0, blocks, 2)
    ]
    assert_uniform_bytes(np.frombuffer(b"".join(apart), dtype=np.uint8))


def test_the_statistics_see_a_bias(door, isa_level):
    """Fields rounded without their pads are far from uniform: the tests above could fail."""
    plan, _ = PLANS["n2048"]
    numbers = door.Arithmetic(plan.limbs, plan.field_bits, plan.base, plan.digits)
    zero = np.zeros((plan.limbs, 2048), dtype=np.uint64)
    packed = b"".join(
        door.encrypt_block(isa_level, numbers, zero, None, random_key(door, 32), block, 2048)
        for block in range(128)
    )
    with pytest.raises(AssertionError):
        assert_uniform_bytes(np.frombuffer(packed, dtype=np.uint8))
