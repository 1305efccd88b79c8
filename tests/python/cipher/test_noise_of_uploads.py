"""Noise through the whole core: uploads with every error at its end, and uploads as they are drawn.

The core draws errors itself, so the oracle makes the extreme uploads: errors of +-8, under keys
from real seeds, or nobody could open them. Roundings are then as the keys have them: sums that are
built to reach for the bound are in test_noise.py.
"""

import functools
import random
from dataclasses import replace

import numpy as np
import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from oracle import blocks, ring, scheme, wire  # noqa: E402
from oracle import statistics as stats  # noqa: E402
from parties import PLANS, OracleUpload, Stage  # noqa: E402

sealing = pytest.importorskip("veilsum.keys.sealing", reason="the package is not installed")

COEFFICIENTS = 8
ERROR_BOUND = 8
LARGE = (pytest.mark.slow, pytest.mark.long)
NAMES = [pytest.param(n, marks=LARGE) if n.startswith(("n16384", "n8192")) else n for n in PLANS]


@functools.cache
def stage_of(door, name):
    probe = Stage(door, PLANS[name], [(1, 1.0)], name="probe").oracle_plan
    size = COEFFICIENTS * probe.digits
    return Stage(door, PLANS[name], [(size, 1.0)], name=f"noise/{name}")


def full_weights(plan):
    """Weights that use all of W, with few uploads where the plan allows weights."""
    return [plan.max_weight - 1, 1] if plan.weight_bits else [1] * min(plan.max_weight, 10)


@functools.cache
def extreme_uploads(door, name, sign):
    """(uploads, their digits): one block of COEFFICIENTS coefficients and the check block."""
    stage = stage_of(door, name)
    plan = stage.oracle_plan
    choice = random.Random(f"{name}/{sign}")
    uploads = []
    for number in range(len(full_weights(stage.plan))):
        keys = stage.oracle_keys(number)
        digits = [
            choice.choice((0, 2 * plan.levels, choice.randint(0, 2 * plan.levels)))
            for _ in range(stage.size)
        ]
        contents = (blocks.encode_block(digits, plan, COEFFICIENTS), [0] * plan.degree)
        packed = []
        for block, messages in enumerate(contents):
            pads = scheme.pad(plan, stage.oracle_round.seed, block, keys)
            errors = [sign * ERROR_BOUND] * len(messages)
            fields = blocks.encrypt_block(plan, pads, errors, messages)
            packed.append(ring.pack_rows(fields, plan.field_bits))
        made = scheme.Upload(packed, keys, 0, digits)
        uploads.append(OracleUpload(made, stage.head(number)))
    return uploads


@functools.cache
def extreme_sum(door, name, sign):
    """The oracle's sum of them, its key, and the noise on every coefficient of each block."""
    stage = stage_of(door, name)
    plan, weights = stage.oracle_plan, full_weights(stage.plan)
    uploads = extreme_uploads(door, name, sign)
    total = stage.oracle_sum(uploads, weights)
    key = stage.oracle_key(total)
    digits = [
        sum(w * d for w, d in zip(weights, column, strict=True))
        for column in zip(*(u.digits for u in uploads), strict=True)
    ]
    messages = blocks.encode_block(digits, plan, COEFFICIENTS)
    packed = scheme.split_blocks(plan, stage.size, 1, total.blocks)
    noise = []
    for number, expected in enumerate((messages, [0] * plan.degree)):
        fields = ring.unpack_rows(packed[number], plan.field_bits)
        shifted = [f - plan.delta * m for f, m in zip(fields, expected, strict=True)]
        pads = scheme.pad(plan, stage.oracle_round.seed, number, key.keys)
        noise.append(
            blocks.noise_of_block(plan, pads, [x % (1 << plan.field_bits) for x in shifted])
        )
    return total, key, digits, noise


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [1, -1])
def test_extreme_uploads_decrypt_exactly(door, active_level, name, sign):
    """Errors of +-8 on every place of values and check blocks."""
    stage = stage_of(door, name)
    total, oracle_key, digits, noise = extreme_sum(door, name, sign)
    bound = stage.oracle_plan.noise_bound
    assert all(abs(x) <= bound for row in noise for x in row)
    weight = total.total_weight
    if stage.plan.weight_bits:
        # One client has nearly all the weight: among the N roundings of its check block the worst
        # is within a hundredth of its end, but for a chance of 0.99^N.
        spacing = (1 << stage.oracle_plan.field_bits) / stage.oracle_plan.big_q
        assert max(sign * x for x in noise[1]) >= bound - weight * (0.01 + 6 * spacing) - 1
    uploads = [
        core.Upload.from_bytes(stage.oracle_bytes(upload), stage.round)
        for upload in extreme_uploads(door, name, sign)
    ]
    summed = stage.sum_of(uploads, full_weights(stage.plan))
    assert summed.to_bytes() == total.to_bytes()
    key = stage.open(summed, export=True)
    assert key.to_bytes() == oracle_key.to_bytes()
    out = core.decrypt(key, summed, average=False, dtype="float64")
    values = stage.oracle_values(digits, weight, average=False, dtype="float64")
    assert out.tolist() == values


@pytest.mark.parametrize("name", ["n2048", "n2048-two-bits", "n4096", "n4096-weighted"])
def test_check_blocks_accept_the_bound_and_refuse_one_more(door, active_level, name):
    """One coefficient of the check block moved to the bound, on either side, and beyond it."""
    stage = stage_of(door, name)
    plan = stage.oracle_plan
    total, oracle_key, _, noise = extreme_sum(door, name, 1)
    value_block, check_block = scheme.split_blocks(plan, stage.size, 1, total.blocks)
    fields = ring.unpack_rows(check_block, plan.field_bits)
    for place in (0, 1, 1000, plan.degree - 1):
        for target in (plan.noise_bound, -plan.noise_bound):
            for beyond in (0, 1):
                moved = list(fields)
                wanted = target + (beyond if target > 0 else -beyond)
                moved[place] = (fields[place] + wanted - noise[1][place]) % (1 << plan.field_bits)
                data = value_block + ring.pack_rows(moved, plan.field_bits)
                changed = wire.Sum(total.round_id, total.entries, data)
                read = core.Aggregate.from_bytes(changed.to_bytes(), stage.round)
                # It is not what binds the key to its blocks that refuses.
                named = wire.BY_DIGEST + changed.request().evidence[1:]
                same = replace(oracle_key, bound=named)
                key = core.SumKey.from_bytes(same.to_bytes(), stage.round)
                if beyond:
                    with pytest.raises(core.TamperedSumError):
                        core.decrypt(key, read)
                else:
                    core.decrypt(key, read)


def test_digits_out_of_range_are_refused(door, active_level):
    """A value block moved past t^L, though its check block is fine."""
    stage = stage_of(door, "n2048")
    plan = stage.oracle_plan
    total, oracle_key, digits, _ = extreme_sum(door, "n2048", 1)
    value_block, check_block = scheme.split_blocks(plan, stage.size, 1, total.blocks)
    message = blocks.encode_block(digits, plan, COEFFICIENTS)[3]
    fields = ring.unpack_rows(value_block, plan.field_bits)
    fields[3] = (fields[3] + plan.delta * (plan.base**plan.digits - message)) % (
        1 << plan.field_bits
    )
    data = ring.pack_rows(fields, plan.field_bits) + check_block
    changed = wire.Sum(total.round_id, total.entries, data)
    read = core.Aggregate.from_bytes(changed.to_bytes(), stage.round)
    bound = wire.BY_DIGEST + wire.blocks_digest(data)  # it is not that which refuses
    key = core.SumKey.from_bytes(replace(oracle_key, bound=bound).to_bytes(), stage.round)
    with pytest.raises(core.TamperedSumError):
        core.decrypt(key, read)


# --- uploads as the core really draws them --------------------------------------------------------


@functools.cache
def production_sample(door):
    """Uploads whose seeds the system drew; the secret key gives the seeds back."""
    size = 16 * 4096
    stage = Stage(door, PLANS["n2048"], [(size, 1.0)], name="noise/production")
    values = np.linspace(-1, 1, size)
    samples = []
    for _ in range(2):
        upload = core.encrypt(stage.round, [values], ["float64"], seal=sealing.seal).to_bytes()
        _, head, packed = wire.read_upload(upload)
        seed = wire.open_head(stage.oracle_round, stage.oracle_secret, head)
        samples.append((seed, scheme.split_blocks(stage.oracle_plan, size, 1, packed)))
    digits, _ = blocks.quantise(values.tolist(), 1.0, 1.0, 16)
    return stage, samples, digits


def test_real_uploads_are_what_their_seed_says(door):
    """Drawn by the core with the system's entropy, opened by the oracle: keys, errors, blocks."""
    stage, samples, digits = production_sample(door)
    for seed, packed in samples:
        keys = scheme.upload_keys(stage.oracle_plan, stage.round.id, seed, 1)
        assert packed == scheme.encrypt_digits(
            stage.oracle_plan, stage.round.id, stage.oracle_round.seed, digits, seed, keys
        )


def test_two_encryptions_of_one_update_are_unrelated(door):
    """Fields differ by something uniform, keys and errors agree as often as by chance."""
    stage, ((seed0, packed0), (seed1, packed1)), _ = production_sample(door)
    plan = stage.oracle_plan
    size, bins = 1 << plan.field_bits, 31
    counts = [0] * bins
    for a, b in zip(packed0, packed1, strict=True):
        fields = (ring.unpack_rows(x, plan.field_bits) for x in (a, b))
        for x, y in zip(*fields, strict=True):
            counts[(x - y) % size * bins // size] += 1
    stats.assert_distribution(counts, [1 / bins] * bins)
    exact = stats.binomial_probabilities(8)
    agree = sum(p * p for p in exact.values())
    keys = [scheme.upload_keys(plan, stage.round.id, s, 1)[0] for s in (seed0, seed1)]
    errors = [
        scheme.block_errors(scheme.streams.upload_key(stage.round.id, s), 0, plan.degree)
        for s in (seed0, seed1)
    ]
    for x, y in (keys, errors, (keys[0], errors[0])):
        same = sum(a == b for a, b in zip(x, y, strict=True))
        assert stats.within_chernoff(same, plan.degree, agree)


def test_errors_of_neighbouring_blocks_are_unrelated(door):
    stage, ((seed, _), _), _ = production_sample(door)
    key = scheme.streams.upload_key(stage.round.id, seed)
    n = stage.oracle_plan.degree
    rows = [scheme.block_errors(key, block, n) for block in range(6)]
    agree = sum(p * p for p in stats.binomial_probabilities(8).values())
    for other in rows[1:]:
        same = sum(a == b for a, b in zip(rows[0], other, strict=True))
        assert stats.within_chernoff(same, n, agree)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stochastic_rounding_of_real_uploads_is_unbiased(door, dtype):
    """The words the core draws, seen through the digits: P(up) is the fraction."""
    size = 4 * 4096
    stage = Stage(door, PLANS["n2048"], [(size, 1.0)], name="noise/rounding")
    value = np.dtype(dtype).type(0.4321)
    t = float(value * value.dtype.type(32767))
    below = int(t // 1)
    total = core.weighted_sum(
        stage.round,
        [
            core.encrypt(
                stage.round,
                [np.full(size, v, dtype=dtype)],
                [dtype],
                rounding="stochastic",
                seal=sealing.seal,
            )
            for v in (value, 0.0)
        ],
    )
    out = core.decrypt(stage.open(total), total, average=False, dtype="float64") * 32767
    levels = np.rint(out).astype(int)
    ups = int((levels == below + 1).sum())
    assert ups + int((levels == below).sum()) == size
    assert stats.within_chernoff(ups, size, t - below)


def test_seeds_and_nonces_are_fresh_and_balanced(door):
    """Of real uploads, recovered with the key; false alarm below 1e-9."""
    stage = stage_of(door, "n2048")
    values = np.zeros(stage.size)
    drawn = []
    for _ in range(20):
        upload = core.encrypt(stage.round, [values], ["float64"], seal=sealing.seal).to_bytes()
        _, head, _ = wire.read_upload(upload)
        drawn.append((wire.open_head(stage.oracle_round, stage.oracle_secret, head), head.nonce))
    for column in zip(*drawn, strict=True):
        assert len(set(column)) == 20
        bits = sum(int.from_bytes(seed, "little").bit_count() for seed in column)
        assert stats.within_chernoff(bits, 20 * 8 * len(column[0]), 0.5)
