"""Hybrid aggregation: masks, plain parts on the wire, the scalar form, budgets."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import veilsum as vs
from veilsum.protocol.hybrid import (
    Mask,
    PlainPart,
    blend,
    budget_fraction,
    hybrid_layout,
    named_coordinates,
    noisy,
    top_fraction,
)

scores_lists = hnp.arrays(
    np.float64, st.integers(1, 60), elements=st.floats(0, 1, allow_subnormal=False)
)


@given(scores_lists, st.floats(1e-3, 1))
def test_the_top_fraction_is_what_sorting_says(scores: np.ndarray, fraction: float) -> None:
    mask = top_fraction(scores, fraction)
    count = math.ceil(fraction * scores.size - 1e-9)
    assert mask.count == count
    # Largest first, and of equal ones the lower index.
    order = sorted(range(scores.size), key=lambda i: (-scores[i], i))[:count]
    assert set(np.flatnonzero(mask.encrypted)) == set(order)


def test_ties_go_to_the_lower_index() -> None:
    mask = top_fraction(np.zeros(10), 0.3)
    assert list(np.flatnonzero(mask.encrypted)) == [0, 1, 2]


def test_always_and_never_override_the_scores() -> None:
    scores = np.arange(10.0)
    always = np.zeros(10, dtype=bool)
    never = np.zeros(10, dtype=bool)
    always[[0, 1]] = True
    never[[9]] = True
    mask = top_fraction(scores, 0.4, always=always, never=never)
    assert list(np.flatnonzero(mask.encrypted)) == [0, 1, 7, 8]
    # Always goes beyond the fraction; never limits it.
    assert top_fraction(scores, 0.1, always=always).count == 2
    assert top_fraction(scores, 1.0, never=never).count == 9
    with pytest.raises(vs.ParameterError, match=r"coordinate 0 .* always and never"):
        top_fraction(scores, 0.5, always=always, never=always)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, math.nan])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(vs.ParameterError, match="fraction"):
        top_fraction(np.ones(4), fraction)


@pytest.mark.parametrize("scores", [[1.0, math.nan], [math.inf], [], [[1.0]]])
def test_scores_must_be_finite_numbers(scores: list) -> None:
    with pytest.raises(vs.ParameterError, match="sensitivities"):
        top_fraction(np.array(scores), 0.5)


@given(st.lists(st.booleans(), min_size=1, max_size=80))
def test_split_and_merge_are_inverse(bits: list[bool]) -> None:
    mask = Mask(np.array(bits))
    vector = np.arange(len(bits)) + 0.5
    encrypted, plain = mask.split(vector)
    assert len(encrypted) == mask.count
    np.testing.assert_array_equal(mask.merge(encrypted, plain), vector)


def test_masks_are_checked_compared_and_immutable() -> None:
    one = Mask(np.array([True, False, True]))
    assert one == Mask(np.array([True, False, True]))
    # The size is part of the digest: trailing plain coordinates pack into the same byte.
    assert one != Mask(np.array([True, False, True, False]))
    assert one.digest != Mask(np.array([True, True, False])).digest
    with pytest.raises(ValueError, match="read-only"):
        one.encrypted[0] = False
    with pytest.raises(vs.ParameterError, match="truth values"):
        Mask(np.array([1, 0]))
    with pytest.raises(vs.ParameterError, match="shape"):
        one.split(np.zeros(4))
    with pytest.raises(vs.ParameterError, match="the mask takes 2 and 1"):
        one.merge(np.zeros(1), np.zeros(2))


def test_patterns_name_tensors() -> None:
    sizes = {"0.weight": 3, "0.bias": 1, "2.weight": 2}
    assert list(named_coordinates(sizes, ["0.*"])) == [True] * 4 + [False] * 2
    assert list(named_coordinates(sizes, ["*.bias", "2.weight"])) == [False] * 3 + [True] * 3
    assert not named_coordinates(sizes, []).any()
    with pytest.raises(vs.ParameterError, match=r"'1\.\*' matches no tensor; tensors are 0.weight"):
        named_coordinates(sizes, ["1.*"])


@pytest.fixture
def signers() -> list[vs.Identity]:
    return [vs.Identity.generate() for _ in range(3)]


def make_round(mask: Mask, signers: list[vs.Identity]) -> vs.Round:
    plan = vs.Plan(clients=3)
    _, public = vs.keygen(plan)
    like = {"update": np.zeros(mask.count)} | hybrid_layout(mask)
    return vs.Round(plan, public, like=like, roster=signers)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_hybrid_sum_is_the_mean(signers: list[vs.Identity], dtype: str) -> None:
    generator = np.random.default_rng(3)
    updates = generator.uniform(-1, 1, (3, 500))
    mask = top_fraction(np.abs(updates).sum(axis=0), 0.1)
    plan = vs.Plan(clients=3)
    secret, public = vs.keygen(plan)
    like = {"update": np.zeros(mask.count)} | hybrid_layout(mask)
    rnd = vs.Round(plan, public, like=like, roster=signers)
    uploads, plains = [], []
    for i, update in enumerate(updates):
        hidden, plain = mask.split(update)
        values = {"update": hidden} | hybrid_layout(mask)
        uploads.append(vs.encrypt(rnd, values, signer=signers[i]))
        sealed = PlainPart.seal(rnd, i, plain, dtype, signers[i])
        assert len(sealed) == 52 + 64 + len(plain) * (4 if dtype == "float32" else 2)
        plains.append(PlainPart.from_bytes(sealed, rnd, mask.size - mask.count).values)
    total = vs.weighted_sum(rnd, uploads)
    sums = vs.decrypt(vs.open_sum(secret, rnd, total), total, average=False)
    mean = mask.merge(sums["update"], np.sum(plains, axis=0)) / 3
    exact = updates.mean(axis=0)
    step = 1 / (2**15 - 1)
    assert np.abs(mean - exact)[mask.encrypted].max() <= step / 2 * 1.001 + 2.0**-24
    unit = 2.0**-24 if dtype == "float32" else 2.0**-8
    assert np.abs(mean - exact)[~mask.encrypted].max() <= unit


def test_uploads_of_different_masks_never_sum(signers: list[vs.Identity]) -> None:
    one = Mask(np.array([True, False, True]))
    two = Mask(np.array([True, True, False]))
    plan = vs.Plan(clients=3)
    _, public = vs.keygen(plan)

    def rnd(mask: Mask) -> vs.Round:
        like = {"update": np.zeros(2)} | hybrid_layout(mask)
        return vs.Round(plan, public, like=like, roster=signers)

    a = rnd(one)
    assert one.digest.hex() in a.layout.to_bytes().decode()
    values = {"update": np.zeros(2)} | hybrid_layout(two)
    with pytest.raises(vs.ParameterError):
        vs.encrypt(a, values, signer=signers[0])
    b = rnd(two)
    upload = vs.encrypt(b, values, signer=signers[0])
    with pytest.raises(vs.VeilsumError):
        vs.Upload.from_bytes(upload.to_bytes(), a)


def test_bfloat16_rounds_to_nearest_even(signers: list[vs.Identity]) -> None:
    mask = Mask(np.array([True] + [False] * 6))
    rnd = make_round(mask, signers)
    # 1 + 2^-8 lies halfway between 1 and 1 + 2^-7; 1 + 3 * 2^-8 halfway to 1 + 2^-6.
    values = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, -1.5, 0.0, 3.3895e38, 1e-30])
    sealed = PlainPart.seal(rnd, 0, values, "bfloat16", signers[0])
    got = PlainPart.from_bytes(sealed, rnd, 6).values
    largest = struct.unpack("<f", b"\x00\x00\x7f\x7f")[0]
    assert list(got[:5]) == [1.0, 1 + 2.0**-6, -1.5, 0.0, largest]
    assert got[5] == pytest.approx(1e-30, rel=2.0**-8)


def test_plain_parts_are_checked(signers: list[vs.Identity]) -> None:
    mask = Mask(np.array([True, False, False, False]))
    rnd = make_round(mask, signers)
    sealed = PlainPart.seal(rnd, 1, np.array([1.0, 2.0, 3.0]), "float32", signers[1])
    assert PlainPart.from_bytes(sealed, rnd, 3).client == 1
    for length in range(len(sealed)):
        with pytest.raises(vs.WireFormatError):
            PlainPart.from_bytes(sealed[:length], rnd, 3)
    with pytest.raises(vs.WireFormatError):
        PlainPart.from_bytes(sealed + b"\0", rnd, 3)
    with pytest.raises(vs.WireFormatError, match="the mask leaves 4"):
        PlainPart.from_bytes(sealed, rnd, 4)
    for place in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[place] ^= 1
        with pytest.raises((vs.WireFormatError, vs.RoundError)):
            PlainPart.from_bytes(bytes(damaged), rnd, 3)
    with pytest.raises(vs.RoundError, match="belongs to round"):
        PlainPart.from_bytes(sealed, make_round(mask, signers), 3)
    forged = PlainPart.seal(rnd, 1, np.zeros(3), "float32", signers[0])
    with pytest.raises(vs.RoundError, match="signature of client 1"):
        PlainPart.from_bytes(forged, rnd, 3)
    for bad in (math.nan, math.inf, 1e39):
        with pytest.raises(vs.ParameterError, match="not finite"):
            PlainPart.seal(rnd, 1, np.array([bad, 0, 0]), "float32", signers[1])
    with pytest.raises(vs.ParameterError, match="dtype is 'int8'"):
        PlainPart.seal(rnd, 1, np.zeros(3), "int8", signers[1])


def test_the_scalar_form_refuses_a_plain_part_that_gives_everything_away() -> None:
    update = np.array([1.0, -2.0, 3.0])
    with pytest.raises(vs.ParameterError, match="hands over the whole update"):
        blend(update, 0.9)
    with pytest.raises(vs.ParameterError, match="omega is"):
        blend(update, 1.5, public=True)
    hidden, plain = blend(update, 1.0)
    np.testing.assert_array_equal(hidden, update)
    np.testing.assert_array_equal(plain, np.zeros(3))
    hidden, plain = blend(update, 0.25, public=True)
    np.testing.assert_allclose(hidden + plain, update)
    # As printed: sums of both parts over sum(omega + 1 - omega) = K are the mean.
    parts = [blend(k * update, w, public=True) for k, w in ((1, 0.3), (2, 0.9), (3, 0.5))]
    np.testing.assert_allclose(sum(h + p for h, p in parts) / 3, 2 * update)
    assert np.abs(blend(update, 0.5, clip=1.0, noise_multiplier=3.0)[1] - update / 2).max() > 1e-6


def test_noise_on_plain_parts_has_its_size_and_is_never_the_same() -> None:
    values = np.full(20_000, 0.01)
    one, two = noisy(values, 0.5, 2.0), noisy(values, 0.5, 2.0)
    assert not np.array_equal(one, two)
    # Standard deviation 1 within 5 standard errors; the clipped signal is 0.5 / sqrt(20000) each.
    assert abs(one.std() - 1.0) < 5 / math.sqrt(2 * 20_000)
    for clip, noise in ((0.0, 1.0), (1.0, 0.0), (math.nan, 1.0), (1.0, math.inf)):
        with pytest.raises(vs.ParameterError):
            noisy(values, clip, noise)


def test_a_budget_turns_into_a_fraction() -> None:
    sizes = {"encrypted_bytes": 3.125, "plain_bytes": 2.0, "fixed_bytes": 25_600.0}
    fraction = budget_fraction(100_000, 20e6, 0.12, **sizes)
    used = 25_600 + 100_000 * (3.125 * fraction + 2.0 * (1 - fraction))
    assert used * 8 / 20e6 == pytest.approx(0.12)
    assert budget_fraction(100_000, 1e9, 0.12, **sizes) == 1.0
    assert budget_fraction(100_000, 1e6, 0.12, **sizes) == 0.0
    # float32 in the clear is larger than an encrypted value: there is nothing to save.
    assert budget_fraction(100_000, 1e3, 0.1, encrypted_bytes=3.125, plain_bytes=4.0) == 1.0
    for name in ("bandwidth_bps", "budget_s"):
        with pytest.raises(vs.ParameterError, match=name):
            arguments = {"bandwidth_bps": 1e6, "budget_s": 1.0} | {name: 0.0}
            budget_fraction(10, **arguments, encrypted_bytes=3.0, plain_bytes=2.0)
