"""Weights: equation 5 in both forms, normalising, the cap, and agreeing on shares by sums alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import veilsum as vs
from veilsum.protocol.shares import LIMIT, OwnShare, SharePasses, Totals
from veilsum.protocol.statistics import VALUE_BITS
from veilsum.protocol.weights import (
    LocalFacts,
    capped,
    check_cap,
    dynamic_weight,
    normalised,
    weight_rule,
)

weights_lists = st.lists(st.floats(1e-2, 1e3), min_size=1, max_size=12)


def test_the_text_s_form_rewards_low_loss_many_rows_and_a_wide_link() -> None:
    base = dynamic_weight(0.5, 1000, 1e9, 0.5)
    assert base == 1000 * 1e9**0.5 / 0.5
    assert dynamic_weight(0.25, 1000, 1e9, 0.5) == pytest.approx(2 * base)
    assert dynamic_weight(0.5, 2000, 1e9, 0.5) == pytest.approx(2 * base)
    assert dynamic_weight(0.5, 1000, 4e9, 0.5) == pytest.approx(2 * base)
    assert dynamic_weight(0.5, 1000, 4e9, 0.0) == 2000


def test_the_printed_form_is_the_reciprocal() -> None:
    for facts in ((0.5, 1000, 1e9, 0.5), (3.0, 7, 1e6, 2.0)):
        assert dynamic_weight(*facts, form="printed") == pytest.approx(1 / dynamic_weight(*facts))
    assert dynamic_weight(2.0, 4, 8.0, 1.0, "printed") == 2.0 / (4 * 8.0)


@pytest.mark.parametrize("bad", [0, 0.0, -1.0, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_zero_and_non_finite_facts_are_errors(bad: float, place: int) -> None:
    facts: list[float] = [0.5, 100, 1e9]
    facts[place] = bad
    name = ("loss", "rows", "bandwidth_bps")[place]
    with pytest.raises(vs.ParameterError, match=f"{name} is"):
        dynamic_weight(facts[0], facts[1], facts[2], 0.5)  # type: ignore[arg-type]


def test_a_weight_that_leaves_the_doubles_is_an_error() -> None:
    with pytest.raises(vs.ParameterError, match="smaller alpha"):
        dynamic_weight(1e-300, 1000, 1e12, 2.0)
    with pytest.raises(vs.ParameterError, match="smaller alpha"):
        dynamic_weight(0.5, 1000, 1e12, 50.0)
    with pytest.raises(vs.ParameterError, match="alpha is"):
        dynamic_weight(0.5, 1000, 1e12, -1.0)
    with pytest.raises(vs.ParameterError, match="form"):
        dynamic_weight(0.5, 1000, 1e12, 1.0, "other")


@given(weights_lists)
def test_normalised_weights_sum_to_one_and_keep_ratios(weights: list[float]) -> None:
    shares = normalised(weights)
    assert math.fsum(shares) == pytest.approx(1, abs=1e-12)
    for share, weight in zip(shares, weights, strict=True):
        assert share / shares[0] == pytest.approx(weight / weights[0], rel=1e-12)


def test_normalising_needs_weights() -> None:
    with pytest.raises(vs.ParameterError, match="no weights"):
        normalised([])
    with pytest.raises(vs.ParameterError, match="weight 1 is 0"):
        normalised([1.0, 0.0])
    assert normalised([1e308, 1e308]) == [0.5, 0.5]


@given(weights_lists, st.floats(0, 1))
def test_no_share_exceeds_the_cap_and_the_rest_keep_their_ratios(
    weights: list[float], where: float
) -> None:
    cap = 1 / len(weights) + where * (1 - 1 / len(weights))
    shares = capped(weights, cap)
    assert max(shares) <= cap
    assert math.fsum(shares) == pytest.approx(1, abs=1e-8)
    free = [i for i, share in enumerate(shares) if share < cap * (1 - 1e-8)]
    for i in free:
        assert shares[i] / shares[free[0]] == pytest.approx(weights[i] / weights[free[0]], rel=1e-8)
    # Whoever is held at the cap weighs at least as much as anyone who is not.
    held = [weights[i] for i in range(len(weights)) if i not in free]
    if free and held:
        assert min(held) >= max(weights[i] for i in free) * (1 - 1e-6)


def test_water_filling_needs_more_than_one_pass() -> None:
    # 0.4 is below the cap at first, and above it once the largest has given up its surplus.
    assert capped([90, 6, 4], 0.45) == pytest.approx([0.45, 0.33, 0.22])
    assert capped([50, 40, 10], 0.42) == pytest.approx([0.42, 0.42, 0.16])
    assert capped([97, 1, 1, 1], 0.25) == pytest.approx([0.25] * 4)


def test_a_cap_that_cannot_hold_is_an_error() -> None:
    with pytest.raises(vs.ParameterError, match="at least 1/4"):
        capped([1, 1, 1, 1], 0.24)
    for cap in (0.0, -1.0, 1.5, math.nan):
        with pytest.raises(vs.ParameterError):
            check_cap(cap, 4)
    with pytest.raises(vs.ParameterError, match="1/3"):
        weight_rule("samples", 3, 100, max_share=0.3)


def agree(weights: Sequence[float], cap: float) -> tuple[list[float], int]:
    """Run the passes with sums as the encrypted rounds open them; shares and number of passes."""
    clouds = [OwnShare(weight, cap) for weight in weights]
    public = SharePasses(cap)
    passes = 0
    while not public.settled:
        parts = [cloud.contribution() for cloud in clouds]
        totals = Totals(
            math.fsum(float(part["relative"][0]) for part in parts),
            round(sum(float(part["held"][0]) for part in parts)),
            len(clouds),
        )
        public.observe(totals)
        for cloud in clouds:
            cloud.observe(totals)
        passes += 1
        assert passes <= 1 / cap + 2
    return [cloud.weight / len(clouds) for cloud in clouds], passes


@settings(deadline=None)
@given(weights_lists, st.floats(0, 1))
def test_passes_of_sums_come_to_the_same_shares(weights: list[float], where: float) -> None:
    cap = 1 / len(weights) + where * (1 - 1 / len(weights))
    shares, _ = agree(weights, cap)
    assert max(shares) <= cap * (1 + 1e-9)
    # Each weight is rounded by half a step of the 32-bit grid; a cloud within that of the cap may
    # end on its other side, which moves shares by no more.
    step = LIMIT / (2 ** (VALUE_BITS - 1) - 1)
    slack = 4 * len(weights) * step / min(weights) + 1e-8
    assert shares == pytest.approx(capped(weights, cap), rel=slack, abs=1e-9)


def test_without_a_cap_one_pass_is_enough() -> None:
    shares, passes = agree([1.0, 2.0, 5.0], 1.0)
    assert passes == 1
    assert shares == pytest.approx([1 / 8, 2 / 8, 5 / 8], rel=1e-5)
    assert agree([1.0, 1.1, 0.9], 0.5)[1] == 2
    assert agree([8.0, 1.0, 1.0], 0.5)[1] == 3


def test_impossible_totals_are_refused() -> None:
    with pytest.raises(vs.RoundError, match="too few for a largest share"):
        SharePasses(0.3).observe(Totals(1.0, 0, 3))
    with pytest.raises(vs.RoundError, match="does not follow"):
        SharePasses(0.5).observe(Totals(1.0, 3, 4))
    passes = SharePasses(0.4)
    passes.observe(Totals(3.0, 0, 4))
    passes.observe(Totals(2.0, 1, 4))
    with pytest.raises(vs.RoundError, match="does not follow"):
        passes.observe(Totals(3.0, 0, 4))
    with pytest.raises(vs.RoundError, match="left while"):
        passes.observe(Totals(2.0, 1, 3))


@pytest.mark.parametrize("relative", [0.0, -1.0, LIMIT * 1.01, 1e-9, math.nan])
def test_relative_weights_beyond_the_public_bound_are_errors(relative: float) -> None:
    with pytest.raises(vs.ParameterError, match="relative weight"):
        OwnShare(relative, 1.0)


def test_a_weight_is_not_used_before_shares_are_agreed() -> None:
    own = OwnShare(1.0, 0.5)
    with pytest.raises(vs.RoundError, match="not agreed yet"):
        _ = own.weight


def test_dynamic_rules_use_rows_relative_to_the_mean() -> None:
    rule = weight_rule("dynamic", 4, 4000)
    assert rule.agreed
    assert rule.weight(LocalFacts(1000, 0.5, 1e9)) == pytest.approx(2.0)
    printed = weight_rule("dynamic", 4, 4000, form="printed")
    assert printed.weight(LocalFacts(1000, 0.5, 1e9)) == pytest.approx(0.5)
    held = weight_rule("samples", 4, 4000, max_share=0.4)
    assert held.agreed
    assert held.limit == pytest.approx(1.6)
