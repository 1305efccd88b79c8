"""The whole scheme, byte for byte: everything the core writes, the oracle writes too.

On every ISA level and with one, two and three threads.
"""

import functools
import random
from dataclasses import replace

import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from oracle import aes, plans, scheme, sealed, streams, wire  # noqa: E402
from parties import PLANS, Stage, floats_to_bytes, oracle_plan, seed_of, unseal  # noqa: E402

SLOW_RINGS = ("n8192", "n16384")


def plan_names():
    """The large rings only on the slow run: an oracle block takes seconds there."""
    return [
        pytest.param(name, marks=pytest.mark.slow) if name.startswith("n16384") else name
        for name in PLANS
    ]


@functools.cache
def stage_of(door, name, size, parts=1, upload_keys=1):
    """A round of `size` values in `parts` segments with different limits."""
    cuts = [size * i // parts for i in range(parts + 1)]
    segments = [(cuts[i + 1] - cuts[i], 1.0 / (i + 1)) for i in range(parts)]
    return Stage(
        door,
        PLANS[name],
        segments,
        name=f"{name}/{size}/{upload_keys}",
        layout=b"oracle",
        upload_keys=upload_keys,
    )


class Case:
    """One client's update with the bytes the oracle makes of it, computed once for all levels."""

    def __init__(self, stage, number, dtypes, options):
        self.stage, self.number, self.dtypes, self.options = stage, number, dtypes, options
        self.values = stage.update(random.Random(f"{stage.name}/{number}"))
        self.oracle = stage.oracle_encrypt(number, self.values, dtypes, **options)
        self.expected = stage.oracle_bytes(self.oracle)

    def encrypt(self, **more):
        return self.stage.encrypt(self.number, self.values, self.dtypes, **self.options, **more)


@functools.cache
def case_of(stage, number=0, dtypes=None, **options):
    return Case(stage, number, dtypes and list(dtypes), options)


@functools.cache
def sum_of(stage, count, weights=None):
    """(oracle aggregate, oracle sum key, summed digits)."""
    cases = [case_of(stage, k) for k in range(count)]
    total = stage.oracle_sum([case.oracle for case in cases], weights and list(weights))
    key = stage.oracle_key(total)
    return cases, total, key, stage.oracle_digits(total, key)


@pytest.mark.parametrize("name", plan_names())
def test_keys_and_rounds(door, active_level, name):
    stage = stage_of(door, name, 100, 3, 3)
    public = stage.oracle_secret.public
    secret = stage.fresh_secret()
    public_fields = sealed.public_fields(public)
    assert secret.public_key.to_bytes() == wire.seal(wire.PUBLIC_KEY, public_fields)
    assert secret.public_key.id == secret.id == sealed.key_id(public)
    fields = wire.secret_key_fields(stage.oracle_secret)
    assert secret.to_bytes() == wire.seal(wire.SECRET_KEY, fields)
    plan_fields = stage.oracle_plan.fields(stage.plan.optimise)
    assert stage.plan.fields == plan_fields
    assert stage.plan.id == plans.plan_id(plan_fields)
    assert stage.round.to_bytes() == stage.oracle_round.to_bytes()
    assert stage.round.id == stage.oracle_round.id


@pytest.mark.parametrize("name", plan_names())
@pytest.mark.parametrize("upload_keys", [1, 3, 256])
def test_upload_keys(door, active_level, name, upload_keys):
    """r_0, r_1, ... of a seed."""
    if upload_keys > 3 and name != "n2048":
        upload_keys = 5
    stage = stage_of(door, name, 100, 3, upload_keys)
    for number in range(2):
        keys = door.expand_keys(stage.round, stage.seeds(number)[0])
        assert keys.tolist() == stage.oracle_keys(number)


def sizes_of(plan):
    """Around one value, one group, one digit row, one block."""
    capacity = plan.block_capacity
    return [1, 2, 7, 8, 9, 65, capacity - 1, capacity, capacity + 1, 2 * capacity + 77]


@pytest.mark.parametrize("which", range(10))
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_uploads_of_every_size(door, active_level, which, rounding):
    size = sizes_of(plans.Plan(10, 16, 0, 128, "n2048"))[which]
    stage = stage_of(door, "n2048", size)
    case = case_of(stage, rounding=rounding)
    for threads in (1, 2, 3):
        upload = case.encrypt(threads=threads)
        assert upload.to_bytes() == case.expected
        assert upload.nbytes == len(case.expected) == stage.plan.upload_bytes(size)


@pytest.mark.parametrize("upload_keys", [2, 3, 8])
@pytest.mark.parametrize("blocks", [1, 2, 3, 5, 9])
def test_uploads_under_several_keys(door, active_level, upload_keys, blocks):
    """Block b, check blocks included, is under key b mod kappa and polynomial b div kappa."""
    name = "n2048-two-bits"
    size = (blocks - 1) * oracle_plan(core.Plan(**PLANS[name])).block_capacity + 100
    stage = stage_of(door, name, size, 1, upload_keys)
    assert (stage.round.value_blocks, stage.round.blocks) == (blocks, blocks + upload_keys)
    case = case_of(stage)
    for threads in (1, 2, 3):
        assert case.encrypt(threads=threads).to_bytes() == case.expected


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("name", plan_names())
def test_uploads_of_every_plan(door, active_level, name, rounding):
    """One block and a bit, in three segments whose borders cut lanes and groups of eight."""
    probe = oracle_plan(core.Plan(**PLANS[name]))
    size = 1003 if name.startswith(SLOW_RINGS) else probe.block_capacity + 13
    stage = stage_of(door, name, size, 3)
    dtypes = ("float32", "float64", "float16")
    case = case_of(stage, 1, dtypes, rounding=rounding, weight=0.75)
    assert case.encrypt(threads=2).to_bytes() == case.expected


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PLANS if name.startswith(SLOW_RINGS)])
def test_full_blocks_of_the_large_rings(door, active_level, name):
    probe = oracle_plan(core.Plan(**PLANS[name]))
    stage = stage_of(door, name, probe.block_capacity + 13, 3)
    case = case_of(stage, 1, rounding="stochastic")
    for threads in (1, 2, 3):
        assert case.encrypt(threads=threads).to_bytes() == case.expected


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_uploads_of_every_dtype(door, active_level, dtype):
    stage = stage_of(door, "n2048", 1000)
    for weight in (1.0, -0.3, 1e-3):
        case = case_of(stage, 2, (dtype,), weight=weight)
        upload = case.encrypt()
        assert upload.to_bytes() == case.expected
        assert upload.clipped == case.oracle.clipped


@functools.cache
def odd_stage(door, counts):
    segments = [(count, 0.5 + i) for i, count in enumerate(counts)]
    return Stage(door, PLANS["n2048"], segments, name=f"segments{counts}")


@pytest.mark.parametrize("counts", [(0, 5, 0), (1, 1, 1), (3, 0, 4093), (4095, 1, 1), (100, 4200)])
def test_uploads_with_odd_segments(door, active_level, counts):
    """Empty segments, segments of one value, borders at and near the edge of a block."""
    dtypes = ("float32", "float16", "float64")[: len(counts)]
    case = case_of(odd_stage(door, counts), 0, dtypes, rounding="stochastic")
    assert case.encrypt(threads=2).to_bytes() == case.expected


def weights_for(plan, count):
    """None for a plan of unit weights, else weights that use all of it."""
    if not plan.weight_bits:
        return None
    first = (1,) * (count - 2)
    rest = plan.max_weight - len(first)
    return (*first, rest // 2, rest - rest // 2)


@pytest.mark.parametrize("name", plan_names())
def test_sums_keys_and_values(door, active_level, name):
    """Three uploads: aggregate, opening request, sum key and values, all equal to the oracle's."""
    stage = stage_of(door, name, 1003, 3, 2)
    weights = weights_for(stage.plan, 3)
    cases, expected, oracle_key, digits = sum_of(stage, 3, weights)
    uploads = [case.encrypt() for case in cases]
    for threads in (1, 2, 3):
        total = stage.sum_of(uploads, weights, threads=threads)
        assert total.to_bytes() == expected.to_bytes()
    request = total.opening_request()
    assert request.to_bytes() == expected.request().to_bytes()
    asked = core.open_sum(stage.fresh_secret(), stage.round, request, open=unseal, export=True)
    assert asked.to_bytes() == stage.oracle_key(expected.request()).to_bytes()
    for threads in (1, 3):
        key = stage.open(total, export=True, threads=threads)
        assert door.sum_key_coefficients(key).tolist() == oracle_key.keys
        assert key.to_bytes() == oracle_key.to_bytes()
    assert core.decrypt(asked, total).tobytes() == core.decrypt(key, total).tobytes()
    assert digits == [
        sum(w * d for w, d in zip(weights or [1] * 3, column, strict=True))
        for column in zip(*(case.oracle.digits for case in cases), strict=True)
    ]
    for dtype in ("float32", "float64"):
        for average in (True, False):
            values = stage.oracle_values(
                digits, expected.total_weight, average=average, dtype=dtype
            )
            for threads in (1, 2, 3):
                out = core.decrypt(key, total, average=average, dtype=dtype, threads=threads)
                assert out.tobytes() == floats_to_bytes(values, dtype)


@pytest.mark.parametrize("upload_keys", [1, 2, 4])
def test_values_of_full_blocks(door, active_level, upload_keys):
    """Decryption across several full blocks and a partial one, under more keys than blocks."""
    stage = stage_of(door, "n2048", 2 * 4096 + 77, 1, upload_keys)
    cases, expected, _, digits = sum_of(stage, 2)
    total = stage.sum_of([case.encrypt() for case in cases])
    assert total.to_bytes() == expected.to_bytes()
    key = stage.open(total)
    values = stage.oracle_values(digits, 2)
    for threads in (1, 2, 3):
        out = core.decrypt(key, total, threads=threads)
        assert out.tobytes() == floats_to_bytes(values, "float32")


def test_oracle_bytes_are_read_by_the_core(door, active_level):
    """The other direction: objects the oracle wrote, through the core to values."""
    stage = stage_of(door, "n2048", 200)
    cases, expected, oracle_key, digits = sum_of(stage, 3)
    rnd = core.Round.from_bytes(stage.oracle_round.to_bytes())
    uploads = [core.Upload.from_bytes(case.expected, rnd) for case in cases]
    total = core.weighted_sum(rnd, uploads)
    fields = wire.secret_key_fields(stage.oracle_secret)
    secret = core.SecretKey.from_bytes(wire.seal(wire.SECRET_KEY, fields))
    request = core.OpeningRequest.from_bytes(expected.request().to_bytes(), rnd)
    opened = core.open_sum(secret, rnd, request, open=unseal)
    asked = wire.open_sum(stage.oracle_round, stage.oracle_secret, expected.request())
    assert opened.to_bytes() == asked.to_bytes()
    key = core.SumKey.from_bytes(oracle_key.to_bytes(), rnd)
    out = core.decrypt(key, core.Aggregate.from_bytes(expected.to_bytes(), rnd))
    assert out.tobytes() == core.decrypt(key, total).tobytes()
    assert out.tobytes() == floats_to_bytes(stage.oracle_values(digits, 3), "float32")


def test_derived_keys(door, active_level):
    """Every label: the round keys the core expands are those of the oracle's key."""
    context, seed = seed_of("context"), seed_of("seed")
    for label, key, parts in [
        ("veilsum/2/matrix", streams.matrix_key(seed), (b"", seed)),
        ("veilsum/2/upload", streams.upload_key(context, seed), (context, seed)),
        ("veilsum/2/rounding", streams.rounding_key(context, seed), (context, seed)),
    ]:
        round_keys = door.expander_round_keys(label, *parts, len(key))
        assert round_keys == aes.expand_key(key)


def test_what_the_package_seals_the_oracle_opens(door):
    """The package's HPKE and the oracle's, both ways, through a whole sum."""
    sealing = pytest.importorskip("veilsum.keys.sealing", reason="the package is not installed")
    stage = stage_of(door, "n2048", 200)
    case = case_of(stage)
    uploads = [
        core.encrypt(stage.round, stage.pieces(case.values, ["float64"]), ["float64"], seal=seal)
        for seal in (sealing.seal, stage.sealer(1))
    ]
    total = stage.sum_of(uploads)
    read = wire.read_sum(total.to_bytes())
    seeds = [wire.open_head(stage.oracle_round, stage.oracle_secret, h) for _, h in read.entries]
    assert len(set(seeds)) == 2
    oracle_key = wire.open_sum(stage.oracle_round, stage.oracle_secret, read)
    for opener in (sealing.open_sealed, unseal):
        key = core.open_sum(stage.fresh_secret(), stage.round, total, open=opener)
        assert key.to_bytes() == oracle_key.to_bytes()
    digits = [2 * d for d in case.oracle.digits]
    assert stage.oracle_digits(read, oracle_key) == digits


def test_a_wrong_key_is_found_by_the_check_blocks(door, active_level):
    """Every upload key by its own check block: one wrong coefficient of one key is enough."""
    stage = stage_of(door, "n2048", 200, 1, 3)
    _, expected, oracle_key, _ = sum_of(stage, 2)
    total = core.Aggregate.from_bytes(expected.to_bytes(), stage.round)
    for which in range(3):
        wrong = [list(row) for row in oracle_key.keys]
        wrong[which][17] += 1 if wrong[which][17] < 0 else -1
        bad = replace(oracle_key, keys=wrong)
        key = core.SumKey.from_bytes(bad.to_bytes(), stage.round)
        with pytest.raises(core.TamperedSumError):
            core.decrypt(key, total)
        packed = scheme.split_blocks(stage.oracle_plan, 200, 3, expected.blocks)
        with pytest.raises(scheme.WrongKeyError, match=f"check block {(which - 1) % 3}"):
            scheme.check_blocks(stage.oracle_plan, stage.oracle_round.seed, packed, wrong)
