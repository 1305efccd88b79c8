"""From numbers to numbers: exact sums, clipping, weights, dtypes, what is refused."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from oracle import blocks  # noqa: E402
from parties import array_of, values_of  # noqa: E402

sealing = pytest.importorskip("veilsum.keys.sealing", reason="the package is not installed")
encrypt = functools.partial(core.encrypt, seal=sealing.seal)
open_sum = functools.partial(core.open_sum, open=sealing.open_sealed)

DTYPES = ("float32", "float64", "float16", "bfloat16")


@functools.cache
def keys_of(**arguments):
    return core.Plan(**arguments), *sealing.generate_key_pair()


def run(segments, updates, dtypes, *, plan=None, average=False, dtype="float64", **options):
    """Encrypt, sum, open, decrypt: (values, uploads)."""
    plan, secret, public = keys_of(**(plan or {"clients": 10, "value_bits": 16}))
    rnd = core.Round(plan, public, segments)
    uploads = []
    for update in updates:
        pieces, at = [], 0
        for (count, _), kind in zip(segments, dtypes, strict=True):
            pieces.append(array_of(update[at : at + count], kind))
            at += count
        uploads.append(encrypt(rnd, pieces, list(dtypes), **options))
    total = core.weighted_sum(rnd, uploads)
    key = open_sum(secret, rnd, total.opening_request())
    return core.decrypt(key, total, average=average, dtype=dtype), uploads


def signed_levels(values, limit, bits, weight=1.0, dtype="float64"):
    """Of values that the dtype holds, computed as their dtype, width and constants ask."""
    levels = blocks.levels_of(bits)
    in_float = blocks.quantises_in_float(dtype, weight, limit, levels)
    digits, clipped = blocks.quantise(values, weight, limit, bits, None, in_float)
    return [d - levels for d in digits], clipped


CAPACITY = 4096  # of a block: 10 clients at 16 bits, N = 2048, two digits


@pytest.mark.parametrize(
    "size", [1, 2, 3, 7, 8, 9, 15, 16, 17, 2047, 2048, 2049, CAPACITY - 1, CAPACITY, CAPACITY + 1,
             2 * CAPACITY - 1, 2 * CAPACITY, 2 * CAPACITY + 1, 100_003]
)  # fmt: skip
def test_sums_of_every_size_are_exact(active_level, size, rng):
    """The sum is the integer sum of the quantised values: not close to it, equal to it."""
    updates = [[rng.uniform(-1.2, 1.2) for _ in range(size)] for _ in range(2)]
    out, uploads = run([(size, 1.0)], updates, ["float64"])
    levels = [signed_levels(u, 1.0, 16) for u in updates]
    step = 1.0 / 32767
    expected = [sum(column) * step for column in zip(*(v for v, _ in levels), strict=True)]
    assert out.tolist() == expected
    assert [u.clipped for u in uploads] == [c for _, c in levels]


numbers = st.floats(-2.0, 2.0, allow_nan=False) | st.sampled_from(
    (0.0, -0.0, 1.0, -1.0, 5e-324, 1 / 32767, 0.5 / 32767, 1.5 / 32767, 1e300, -1e300)
)


@st.composite
def rounds(draw):
    """Segments with limits and dtypes, and the updates of several clients."""
    count = draw(st.integers(1, 4))
    segments = [
        (draw(st.integers(0, 40)), draw(st.sampled_from((1.0, 0.5, 3.0, 1e-3, 1e6))))
        for _ in range(count)
    ]
    if sum(c for c, _ in segments) == 0:
        segments[0] = (1, 1.0)
    clients = draw(st.integers(2, 6))
    updates = [
        [
            draw(numbers) * limit if abs(limit) < 1e3 else draw(st.floats(-2e6, 2e6))
            for length, limit in segments
            for _ in range(length)
        ]
        for _ in range(clients)
    ]
    dtypes = [draw(st.sampled_from(("float32", "float64"))) for _ in segments]
    return segments, updates, dtypes


@given(rounds(), st.sampled_from((2, 3, 8, 16, 24, 32)))
@settings(max_examples=60, deadline=None)
def test_homomorphism(case, bits):
    """Any number of clients, any layout, any width: decrypt(sum of encrypt) = sum of quantise."""
    segments, updates, dtypes = case
    plan = {"clients": 6, "value_bits": bits}
    largest = float(np.finfo(np.float32).max)
    finite = [[v if abs(v) <= largest else 1.0 for v in u] for u in updates]
    out, _ = run(segments, finite, dtypes, plan=plan)
    at = 0
    for (count, limit), dtype in zip(segments, dtypes, strict=True):
        levels = (1 << (bits - 1)) - 1
        held = [values_of(array_of(u[at : at + count], dtype), dtype) for u in finite]
        signed = [signed_levels(h, limit, bits, dtype=dtype)[0] for h in held]
        sums = [sum(column) for column in zip(*signed, strict=True)]
        assert out[at : at + count].tolist() == [s * (limit / levels) for s in sums]
        at += count


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=5),
    st.integers(1, 30),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_weighted_homomorphism(weights, size, choice):
    """Integer weights on ciphertexts: the weighted integer sum, and its mean."""
    plan, secret, public = keys_of(clients=5, value_bits=12, weight_bits=6)
    rnd = core.Round(plan, public, [(size, 0.25)])
    updates = [[choice.uniform(-0.3, 0.3) for _ in range(size)] for _ in weights]
    uploads = [encrypt(rnd, [np.array(u)], ["float64"]) for u in updates]
    total = core.weighted_sum(rnd, uploads, weights)
    assert total.total_weight == sum(weights)
    assert total.weights == weights
    key = open_sum(secret, rnd, total.opening_request())
    levels = [signed_levels(u, 0.25, 12)[0] for u in updates]
    sums = [
        sum(w * v for w, v in zip(weights, column, strict=True))
        for column in zip(*levels, strict=True)
    ]
    step = 0.25 / 2047
    for average, scale in ((False, step), (True, step / sum(weights))):
        out = core.decrypt(key, total, average=average, dtype="float64")
        assert out.tolist() == [s * scale for s in sums]


def test_the_order_of_uploads_does_not_matter(active_level, rng):
    plan, secret, public = keys_of(clients=10, value_bits=16)
    rnd = core.Round(plan, public, [(500, 1.0)])
    updates = [np.array([rng.uniform(-1, 1) for _ in range(500)]) for _ in range(5)]
    uploads = [encrypt(rnd, [u], ["float64"]) for u in updates]
    outs = []
    for order in (range(5), reversed(range(5)), (2, 0, 4, 1, 3)):
        total = core.weighted_sum(rnd, [uploads[k] for k in order])
        key = open_sum(secret, rnd, total.opening_request())
        outs.append(core.decrypt(key, total).tobytes())
    assert len(set(outs)) == 1


def test_a_streamed_sum_is_the_same_sum(active_level, rng):
    """One upload after another, in any order and on any level: the same blocks."""
    plan, _, public = keys_of(clients=10, value_bits=16)
    rnd = core.Round(plan, public, [(5000, 1.0)])
    updates = [np.array([rng.uniform(-1, 1) for _ in range(5000)]) for _ in range(7)]
    uploads = [encrypt(rnd, [u], ["float64"]) for u in updates]
    aggregator = core.Accumulator(rnd)
    for upload in uploads:
        aggregator.add(upload)
    assert aggregator.count == aggregator.total_weight == 7
    assert aggregator.finish().to_bytes() == core.weighted_sum(rnd, uploads).to_bytes()


def test_as_many_uploads_as_the_plan_holds_at_full_scale(active_level):
    """W clients all at the limit: the largest digits, and the smallest; digits never carry."""
    for signs in ([1.0] * 10, [-1.0] * 10, [1.0] * 5 + [-1.0] * 5):
        pattern = [1.0, -1.0, 0.0, 1.0] * 30
        updates = [[sign * p for p in pattern] for sign in signs]
        out, _ = run([(120, 1.0)], updates, ["float32"])
        assert out.tolist() == [sum(signs) * 32767 * p * (1 / 32767) for p in pattern]


def test_a_hundred_clients(active_level, rng):
    updates = [[rng.uniform(-1, 1) for _ in range(40)] for _ in range(100)]
    out, _ = run([(40, 1.0)], updates, ["float64"], plan={"clients": 100, "value_bits": 8})
    levels = [signed_levels(u, 1.0, 8)[0] for u in updates]
    assert out.tolist() == [sum(c) * (1 / 127) for c in zip(*levels, strict=True)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantisation_error_is_half_a_step(active_level, dtype, rng):
    """Nearest: at most half a step a client; the mean of K is as good as one.

    Narrow types are quantised in float, which adds levels * 2^-22 steps at most.
    """
    updates = [[rng.uniform(-1, 1) for _ in range(3000)] for _ in range(3)]
    held = np.array([values_of(array_of(u, dtype), dtype) for u in updates])
    out, _ = run([(3000, 1.0)], updates, [dtype], average=True)
    step = 1.0 / 32767
    in_float = 0.0 if dtype == "float64" else 32767 * 2.0**-22
    # Half a step, and what three roundings of doubles near one can add.
    assert np.abs(out - held.mean(axis=0)).max() <= step * (0.5 + in_float) + 4 * 2.0**-53


def test_stochastic_rounding_stays_within_a_step_and_keeps_the_mean(active_level, rng):
    """Small values that `nearest` would lose are there in the mean of many coordinates."""
    size = 50_000
    value = 0.3 / 32767
    nearest, _ = run([(size, 1.0)], [[value] * size] * 2, ["float64"], average=True)
    assert not nearest.any()
    out, _ = run(
        [(size, 1.0)], [[value] * size] * 2, ["float64"], average=True, rounding="stochastic"
    )
    levels = out * 32767
    assert np.abs(levels - 0.3).max() <= 1.0
    # Mean of 2 * size independent Bernoulli(0.3): Hoeffding, false alarm below 1e-11.
    tolerance = math.sqrt(math.log(2 / 1e-11) / (2 * 2 * size))
    assert abs(levels.mean() - 0.3) <= tolerance


@pytest.mark.parametrize("weight", [0.3, -1.0, 2.0, 0.0])
def test_clients_apply_their_weights(active_level, weight, rng):
    updates = [[rng.uniform(-0.6, 0.6) for _ in range(100)] for _ in range(2)]
    out, uploads = run([(100, 1.0)], updates, ["float64"], weight=weight)
    levels = [signed_levels(u, 1.0, 16, weight) for u in updates]
    assert out.tolist() == [sum(c) * (1 / 32767) for c in zip(*(v for v, _ in levels), strict=True)]
    assert [u.clipped for u in uploads] == [c for _, c in levels]


# --- clipping -------------------------------------------------------------------------------------


def test_clipped_values_are_counted_exactly(active_level):
    just_over = math.nextafter(1.0, 2.0)
    update = [1.0, -1.0, just_over, -just_over, 2.0, 1e300, -1e300, 0.0, 0.999]
    out, uploads = run([(9, 1.0)], [update] * 2, ["float64"])
    assert [u.clipped for u in uploads] == [5, 5]
    assert (out / 2).tolist() == pytest.approx([1, -1, 1, -1, 1, 1, -1, 0, 0.999], abs=1 / 32767)


def test_each_segment_has_its_limit(active_level):
    segments = [(2, 1.0), (2, 0.1), (2, 10.0)]
    _, uploads = run(segments, [[0.5, 1.5] * 3] * 2, ["float64"] * 3)
    assert [u.clipped for u in uploads] == [3, 3]


def test_clipping_as_an_error(active_level):
    plan, _, public = keys_of(clients=10, value_bits=16)
    rnd = core.Round(plan, public, [(5, 1.0)])
    good, bad = np.array([1.0, -1.0, 0.0, 0.5, 0.1]), np.array([1.0, -1.5, 0.0, 7.5, 0.1])
    encrypt(rnd, [good], ["float64"], on_clip="error")
    with pytest.raises(core.ParameterError, match="2 of 5"):
        encrypt(rnd, [bad], ["float64"], on_clip="error")
    assert encrypt(rnd, [bad], ["float64"], on_clip="count").clipped == 2


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_that_are_not_finite(active_level, bad, dtype):
    """The first index is named, wherever it is; it is a ValueError; nothing comes out."""
    plan, _, public = keys_of(clients=10, value_bits=16)
    size = 2 * CAPACITY + 100
    rnd = core.Round(plan, public, [(CAPACITY + 3, 1.0), (size - CAPACITY - 3, 1.0)])
    for places in ([0], [size - 1], [CAPACITY, 5000], [CAPACITY + 3], [17, 4095, 9000 % size]):
        values = [0.5] * size
        for place in places:
            values[place] = bad
        if dtype == "bfloat16":
            raw = np.array(values, dtype=np.float32).view(np.uint32) >> 16
            flat = raw.astype(np.uint16)
        else:
            flat = np.array(values, dtype=dtype)
        pieces = [flat[: CAPACITY + 3].copy(), flat[CAPACITY + 3 :].copy()]
        for threads in (1, 3):
            with pytest.raises(core.ParameterError, match=rf"\b{min(places)}\b") as caught:
                encrypt(rnd, pieces, [dtype] * 2, threads=threads)
            assert isinstance(caught.value, ValueError)


def test_weights_that_are_not_finite(active_level):
    plan, _, public = keys_of(clients=10, value_bits=16)
    rnd = core.Round(plan, public, [(3, 1.0)])
    update = np.array([0.1, 0.2, 0.3])
    for weight in (math.nan, math.inf, -math.inf):
        with pytest.raises(core.ParameterError, match="weight"):
            encrypt(rnd, [update], ["float64"], weight=weight)


def test_a_product_that_overflows_is_beyond_the_limit(active_level):
    """weight * value is infinite though both are finite: clipped and counted like any other."""
    plan, _, public = keys_of(clients=10, value_bits=16)
    rnd = core.Round(plan, public, [(20, 1.0)])
    update = np.array([0.1, 1e300, -1e300, 0.0] * 5)
    upload = encrypt(rnd, [update], ["float64"], weight=1e300)
    assert upload.clipped == 15
    with pytest.raises(core.ParameterError, match="15 of 20"):
        encrypt(rnd, [update], ["float64"], weight=1e300, on_clip="error")


@pytest.mark.parametrize(
    ("pieces", "dtypes"),
    [
        ([np.zeros(5)], ["float64"]),
        ([np.zeros(4), np.zeros(2)], ["float64", "float64"]),
        ([np.zeros(5), np.zeros(1), np.zeros(0)], ["float64"] * 3),
        ([np.zeros(5), np.zeros(1)], ["float64"]),
        ([np.zeros(5), np.zeros(1)], ["float32", "float64"]),
        ([np.zeros(5), np.zeros(1, dtype=">f8")], ["float64", "float64"]),
        ([np.zeros((5, 1)), np.zeros(1)], ["float64", "float64"]),
        ([np.zeros(10)[::2], np.zeros(1)], ["float64", "float64"]),
        ([np.zeros(5, dtype=np.int64), np.zeros(1)], ["float64", "float64"]),
        ([np.zeros(5, dtype=np.float16), np.zeros(1)], ["bfloat16", "float64"]),
        ([np.zeros(5, dtype=np.int16), np.zeros(1)], ["bfloat16", "float64"]),
        ([np.zeros(5, dtype=np.complex64), np.zeros(1)], ["float64", "float64"]),
        ([np.zeros(5), np.zeros(1)], ["double", "float64"]),
    ],
    ids=range(13),
)
def test_pieces_that_do_not_fit_the_round(pieces, dtypes):
    plan, _, public = keys_of(clients=10, value_bits=16)
    rnd = core.Round(plan, public, [(5, 1.0), (1, 1.0)])
    with pytest.raises(core.ParameterError):
        encrypt(rnd, pieces, dtypes)


def test_unaligned_pieces_are_refused_or_right():
    plan, secret, public = keys_of(clients=10, value_bits=16)
    rnd = core.Round(plan, public, [(5, 1.0)])
    raw = np.zeros(5 * 8 + 1, dtype=np.uint8)
    unaligned = raw[1:].view(np.float64)
    unaligned[:] = 0.5
    try:
        uploads = [encrypt(rnd, [unaligned], ["float64"]) for _ in range(2)]
    except core.ParameterError:
        return
    total = core.weighted_sum(rnd, uploads)
    key = open_sum(secret, rnd, total.opening_request())
    assert core.decrypt(key, total).tolist() == [0.5] * 5


def test_options_that_do_not_exist():
    plan, _, public = keys_of(clients=10, value_bits=16)
    rnd = core.Round(plan, public, [(3, 1.0)])
    update = [np.zeros(3)]
    for options, name in (
        ({"rounding": "up"}, "rounding"),
        ({"on_clip": "ignore"}, "on_clip"),
        ({"threads": -1}, "threads"),
        ({"threads": 5000}, "threads"),
    ):
        with pytest.raises(core.ParameterError, match=name):
            encrypt(rnd, update, ["float64"], **options)


@pytest.mark.parametrize(
    "segments",
    [[], [(0, 1.0)], [(0, 1.0), (0, 2.0)], [(3, 0.0)], [(3, -1.0)], [(3, math.nan)],
     [(3, math.inf)], [(3, 5e-324)], [(3, 1e-300)], [(3, 1.5e308)], [(2**40 + 1, 1.0)],
     [(2**39, 1.0), (2**39 + 1, 1.0)], [(2**63, 1.0), (2**63, 1.0)]],
    ids=str,
)  # fmt: skip
def test_rounds_that_sum_nothing_or_nonsense(segments):
    plan, _, public = keys_of(clients=10, value_bits=16)
    with pytest.raises(core.ParameterError):
        core.Round(plan, public, segments)


@pytest.mark.parametrize("limit", [1e-290, 1e290, 2.0**-149, 2.0**127])
def test_limits_at_the_edge_of_what_a_round_takes(active_level, limit, rng):
    updates = [[rng.uniform(-1.1, 1.1) * limit for _ in range(50)] for _ in range(2)]
    out, _ = run([(50, limit)], updates, ["float64"])
    levels = [signed_levels(u, limit, 16)[0] for u in updates]
    assert out.tolist() == [sum(c) * (limit / 32767) for c in zip(*levels, strict=True)]


# --- decryption's own arguments -------------------------------------------------------------------


@functools.cache
def opened():
    plan, secret, public = keys_of(clients=10, value_bits=16)
    rnd = core.Round(plan, public, [(100, 1.0)])
    uploads = [encrypt(rnd, [np.full(100, 0.25)], ["float64"]) for _ in range(2)]
    total = core.weighted_sum(rnd, uploads)
    return open_sum(secret, rnd, total.opening_request()), total


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_decrypting_into_a_given_array(dtype):
    key, total = opened()
    out = np.full(100, 7.0, dtype=dtype)
    made = core.decrypt(key, total, dtype=dtype, out=out)
    assert made is out
    assert out.tobytes() == core.decrypt(key, total, dtype=dtype).tobytes()


@pytest.mark.parametrize(
    "out",
    [np.zeros(99), np.zeros(101), np.zeros(100, dtype=np.float32), np.zeros((10, 10)),
     np.zeros(200)[::2], np.zeros(100, dtype=">f8"), np.zeros(100, dtype=np.int64)],
    ids=range(7),
)  # fmt: skip
def test_arrays_that_cannot_take_the_result(out):
    key, total = opened()
    with pytest.raises(core.ParameterError, match="out"):
        core.decrypt(key, total, dtype="float64", out=out)


def test_read_only_arrays_are_not_written():
    key, total = opened()
    out = np.zeros(100)
    out.flags.writeable = False
    with pytest.raises((core.ParameterError, ValueError)):
        core.decrypt(key, total, dtype="float64", out=out)
    assert not out.any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32", ""])
def test_dtypes_that_are_not_decrypted_to(dtype):
    key, total = opened()
    with pytest.raises(core.ParameterError, match="dtype"):
        core.decrypt(key, total, dtype=dtype)


def test_progress_is_reported_and_may_cancel():
    plan, secret, public = keys_of(clients=10, value_bits=16)
    size = (1 << 24) + 5
    rnd = core.Round(plan, public, [(size, 1.0)])
    update = np.zeros(size, dtype=np.float32)
    seen = []
    upload = encrypt(
        rnd, [update], ["float32"], progress=lambda done, total: seen.append((done, total))
    )
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)
    assert len(seen) >= 2

    class CancelledError(Exception):
        pass

    def cancel(done, total):
        raise CancelledError

    with pytest.raises(CancelledError):
        encrypt(rnd, [update], ["float32"], progress=cancel)
    total = core.weighted_sum(rnd, [upload, encrypt(rnd, [update], ["float32"])])
    key = open_sum(secret, rnd, total.opening_request())
    with pytest.raises(CancelledError):
        core.decrypt(key, total, progress=cancel)
