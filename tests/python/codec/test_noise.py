"""Errors driven to their extremes: no sum that a plan admits is ever decoded wrongly.

The core cannot be asked for such errors, since it draws them, so the oracle makes the uploads: with
real capsules (made from a seed, or the authority would refuse them) and with every error at +-21.
"""

import functools
import random

import numpy as np
import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from oracle import codec, ring, scheme, wire  # noqa: E402
from oracle import statistics as stats  # noqa: E402
from parties import PLANS, Stage, seed_of  # noqa: E402

SIZE = 24
NAMES = [
    pytest.param(n, marks=pytest.mark.slow) if n.startswith(("n16384", "n8192")) else n
    for n in PLANS
]


@functools.cache
def stage_of(door, name):
    return Stage(door, PLANS[name], [(SIZE, 1.0)], name=f"noise/{name}")


@functools.cache
def extreme_uploads(door, name, clients):
    """(bare uploads without errors, their digits): pads and messages, errors to be added."""
    stage = stage_of(door, name)
    plan = stage.oracle_plan
    ((_, coefficients),) = plan.block_sizes(SIZE)
    made = []
    choice = random.Random(name)
    for number in range(clients):
        seed = seed_of("noise", name, number)
        capsule, r = door.make_capsule(stage.round, seed)
        pads = scheme.pad(plan, stage.oracle_round.seed, 0, r.tolist())
        # The same extreme digit for all clients at a place, so that sums reach both ends.
        digits = [(0, 2 * plan.levels, plan.levels)[(place + 1) % 3] for place in range(SIZE)]
        if number == 0:
            digits = [choice.choice((0, 2 * plan.levels)) for _ in range(SIZE)]
        made.append((capsule, pads, digits))
    return made, coefficients


def extreme_sum(door, name, weights, error_of):
    """The core's values and the oracle's digits of a sum with errors error_of(client, place)."""
    stage = stage_of(door, name)
    plan = stage.oracle_plan
    bare, coefficients = extreme_uploads(door, name, len(weights))
    uploads = []
    for number, (capsule, pads, digits) in enumerate(bare):
        messages = codec.encode_block(digits, plan, coefficients)
        errors = [error_of(number, place) for place in range(coefficients)]
        blocks = scheme.encrypt_message_block(plan, pads, errors, messages)
        data = wire.upload_bytes(stage.round.id, wire.Head(capsule), blocks)
        uploads.append(core.Upload.from_bytes(data, stage.round))
    total = stage.sum_of(uploads, weights)
    key = stage.open(total, export=True)
    expected = [
        sum(w * d for w, d in zip(weights, column, strict=True))
        for column in zip(*(digits for _, _, digits in bare), strict=True)
    ]
    values = stage.oracle_values(expected, sum(weights), average=False, dtype="float64")
    out = core.decrypt(key, total, average=False, dtype="float64")
    return out.tolist(), values


def full_weights(plan):
    """Weights that use all of W, with few uploads where the plan allows weights."""
    if plan.weight_bits:
        return [plan.max_weight - 1, 1]
    return [1] * min(plan.max_weight, 10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["all +21", "all -21", "alternating", "random"])
def test_sums_with_every_error_at_its_bound(door, active_level, name, kind):
    choice = random.Random(f"{name}/{kind}")
    signs = {
        "all +21": lambda client, place: 21,
        "all -21": lambda client, place: -21,
        "alternating": lambda client, place: 21 if place % 2 else -21,
        "random": lambda client, place: choice.choice((-21, 21)),
    }[kind]
    out, values = extreme_sum(door, name, full_weights(stage_of(door, name).plan), signs)
    assert out == values


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [1, -1])
def test_noise_of_B_W_on_one_sum(door, active_level, name, sign):  # noqa: N802
    """Two uploads whose errors together are all that W of them may have: B W on every place.

    (W uploads cannot be made for every plan here; the sum does not know how the noise came about.)
    """
    stage = stage_of(door, name)
    bound = stage.plan.error_bound
    weights = full_weights(stage.plan)[:2]
    if stage.plan.weight_bits:
        out, values = extreme_sum(door, name, weights, lambda client, place: sign * 21)
    else:
        out, values = extreme_sum(
            door,
            name,
            weights,
            lambda client, place: sign * (bound // 2 if client else bound - bound // 2),
        )
    assert out == values


@pytest.mark.parametrize("name", ["n2048", "n4096", "n2048-one-lane"])
def test_the_margin_is_really_used(door, name):
    """Noise of Delta / 2 and a little decodes wrongly: the tests above could fail."""
    stage = stage_of(door, name)
    beyond = stage.plan.delta // 2 + 1
    out, values = extreme_sum(
        door, name, [1, 1], lambda client, place: beyond if client == 0 else 0
    )
    assert out != values


# --- errors as the core really draws them ---------------------------------------------------------


@functools.cache
def production_sample(door):
    """Errors and residues of an upload whose seeds the system drew; the key recovers r."""
    size = 16 * 4096
    stage = Stage(door, PLANS["n2048"], [(size, 1.0)], name="noise/production")
    plan = stage.oracle_plan
    values = np.linspace(-1, 1, size)
    pairs = []
    for _ in range(2):
        upload = core.encrypt(stage.round, [values], ["float64"]).to_bytes()
        _, head, blocks = wire.read_upload(upload, plan)
        seed = scheme.open_capsule_seed(plan, stage.oracle_keys.secret, head.capsule)
        r = scheme.ephemeral_key(plan, stage.round.id, seed)
        pairs.append((r, wire.split_blocks(plan, size, blocks)))
    digits, _ = codec.quantise(values.tolist(), 1.0, 1.0, 16)
    return stage, pairs, digits


def errors_of(stage, r, blocks, digits):
    plan = stage.oracle_plan
    (q,) = plan.moduli
    out = []
    for number, block in enumerate(blocks):
        chunk = digits[number * plan.block_capacity : (number + 1) * plan.block_capacity]
        messages = codec.encode_block(chunk, plan, plan.degree)
        (pads,) = scheme.pad(plan, stage.oracle_round.seed, number, r)
        out += [
            ring.centred(c - p - plan.delta * m, q)
            for c, p, m in zip(ring.unpack(block), pads, messages, strict=True)
        ]
    return out


def test_errors_of_real_uploads_are_centred_binomials(door):
    """Drawn by the core with the system's entropy, recovered with the key; false alarm < 1e-9."""
    stage, pairs, digits = production_sample(door)
    exact = stats.binomial_probabilities(21)
    sample = []
    for r, blocks in pairs:
        errors = errors_of(stage, r, blocks, digits)
        assert max(map(abs, errors)) <= 21
        sample += errors
    bins = stats.bins_with_merged_tails(exact, 1000 / len(sample))
    stats.assert_distribution(
        [sum(e in group for e in sample) for group in bins],
        [sum(exact[v] for v in group) for group in bins],
    )


def test_two_encryptions_of_one_update_are_unrelated(door):
    """Their difference is uniform modulo q, their keys and errors agree as often as by chance."""
    stage, ((r0, blocks0), (r1, blocks1)), digits = production_sample(door)
    (q,) = stage.oracle_plan.moduli
    difference = [
        (a - b) % q
        for x, y in zip(blocks0, blocks1, strict=True)
        for a, b in zip(ring.unpack(x), ring.unpack(y), strict=True)
    ]
    bins = 31
    counts = [0] * bins
    for d in difference:
        counts[d * bins // q] += 1
    stats.assert_distribution(counts, [1 / bins] * bins)
    exact = stats.binomial_probabilities(21)
    agree = sum(p * p for p in exact.values())
    for x, y in (
        (r0, r1),
        (errors_of(stage, r0, blocks0, digits), errors_of(stage, r1, blocks1, digits)),
    ):
        same = sum(a == b for a, b in zip(x, y, strict=True))
        assert stats.within_chernoff(same, len(x), agree)


def test_errors_and_keys_of_one_upload_are_unrelated(door):
    """Different streams: the error of a block is not r, nor the error of another block."""
    stage, ((r, blocks), _), digits = production_sample(door)
    errors = errors_of(stage, r, blocks, digits)
    n = stage.oracle_plan.degree
    exact = stats.binomial_probabilities(21)
    agree = sum(p * p for p in exact.values())
    rows = [errors[i * n : (i + 1) * n] for i in range(len(blocks))]
    for other in (rows[0], *rows[2:]):
        same = sum(a == b for a, b in zip(rows[1], other, strict=True))
        assert stats.within_chernoff(same, n, agree)
    same = sum(a == b for a, b in zip(rows[0], r, strict=True))
    assert stats.within_chernoff(same, n, agree)


def test_stochastic_rounding_of_real_uploads_is_unbiased(door):
    """The words the core draws, seen through the digits: P(up) is the fraction."""
    size = 4 * 4096
    stage = Stage(door, PLANS["n2048"], [(size, 1.0)], name="noise/rounding")
    value = 0.4321
    t = value * 32767
    below = int(t // 1)
    total = core.weighted_sum(
        stage.round,
        [
            core.encrypt(stage.round, [np.full(size, v)], ["float64"], rounding="stochastic")
            for v in (value, 0.0)
        ],
    )
    out = core.decrypt(stage.open(total), total, average=False, dtype="float64") * 32767
    levels = np.rint(out).astype(int)
    ups = int((levels == below + 1).sum())
    assert ups + int((levels == below).sum()) == size
    assert stats.within_chernoff(ups, size, t - below)


def test_capsule_seeds_are_fresh_and_balanced(door):
    """Seeds of real uploads, recovered with the key; false alarm below 1e-9."""
    stage = stage_of(door, "n2048")
    plan, secret = stage.oracle_plan, stage.oracle_keys.secret
    seeds = set()
    for _ in range(20):
        upload = core.encrypt(stage.round, [np.zeros(SIZE)], ["float64"]).to_bytes()
        _, head, _ = wire.read_upload(upload, plan)
        seeds.add(scheme.open_capsule_seed(plan, secret, head.capsule))
    assert len(seeds) == 20
    bits = sum(int.from_bytes(seed, "little").bit_count() for seed in seeds)
    assert stats.within_chernoff(bits, 20 * 256, 0.5)
