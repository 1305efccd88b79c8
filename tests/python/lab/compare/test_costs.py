"""Costs: measured work and bytes, modelled links."""

from __future__ import annotations

import pytest

import veilsum as vs
from veilsum.lab.compare.costs import BANDWIDTHS_BPS, RoundCost, round_cost, time_ratio


def record(number: int, *, scale: float = 1.0, skipped: str = "") -> dict:
    cost = {
        "round_s": 2.0 * scale,
        "train_s": 1.0 * scale,
        "protect_s": 0.5 * scale,
        "server_s": 0.25 * scale,
        "up_bytes": 1000,
        "down_bytes": 3000,
    }
    return {"round": number, "skipped": skipped, "cost": cost}


def test_the_bandwidths_run_from_10_mbit_to_10_gbit() -> None:
    assert BANDWIDTHS_BPS[0] == 10e6
    assert BANDWIDTHS_BPS[-1] == 10e9
    assert list(BANDWIDTHS_BPS) == sorted(BANDWIDTHS_BPS)


def test_a_transfer_takes_bits_over_bandwidth() -> None:
    cost = RoundCost(1.0, 0.5, 0.25, up_bytes=1000, down_bytes=3000, setup_bytes=1000)
    assert cost.bytes == 5000
    assert cost.transfer_s(10e6) == pytest.approx(0.004)
    assert cost.compute_s == 1.75
    assert cost.round_s(10e6) == pytest.approx(1.754)
    with pytest.raises(vs.ParameterError, match="above 0"):
        cost.transfer_s(0)


def test_the_first_round_warms_up_and_setup_is_spread() -> None:
    records = [record(1, scale=9), record(2), record(3, scale=3), record(4, scale=2)]
    cost = round_cost(records, setup_bytes=800)
    assert cost.train_s == 2.0  # the median of 1, 3 and 2
    assert cost.setup_bytes == 200
    assert round_cost([record(1, scale=9)], 0).train_s == 9


def test_skipped_rounds_cost_nothing_to_know() -> None:
    records = [record(1), record(2, scale=5), record(3, scale=50, skipped="too few")]
    assert round_cost(records, 0).train_s == 5
    with pytest.raises(vs.ParameterError, match="no round was finished"):
        round_cost([record(1, skipped="too few")], 0)


def test_ratios_pair_rounds_of_the_same_number() -> None:
    mine = [record(1, scale=100), record(2, scale=1.1), record(3, scale=2.4), record(4, scale=1.2)]
    theirs = [record(4), record(3, scale=2), record(2), record(1)]
    ratio = time_ratio(mine, theirs)
    assert ratio is not None
    assert ratio[0] == pytest.approx(1.2)
    assert ratio[1] <= ratio[0] <= ratio[2]
    assert time_ratio([record(1)], [record(1)]) is None
    assert time_ratio([record(2, scale=3)], [record(2)]) == (3.0, 3.0, 3.0)
