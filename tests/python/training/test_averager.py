"""Averages of updates that other people's loops made, in one process and across several."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from veilsum.training.averager import (
    AveragingCloud,
    AveragingServer,
    FederatedAverager,
    averaging_terms,
)

pytestmark = pytest.mark.filterwarnings("error::veilsum.VeilsumWarning")


def bound(limit: float, clouds: int, weights: float) -> float:
    """How far an opened mean may be from the plain one (protocol/contribution.py).

    Stochastic rounding moves each weighted update by less than a step of the range; the range of
    the first round holds `limit` times the largest weight. Weights are on the grid of their range
    (clouds / 32767) before they are used, and shares of rows on that of 32 bits.
    """
    step = limit * clouds / 32767
    weight_step = clouds / 32767
    return clouds * (step * (1 + 2**-10) + limit * weight_step) / weights


@pytest.mark.parametrize("authority", ["clouds", "committee", "single"])
def test_the_mean_is_that_of_the_updates(authority: str) -> None:
    generator = np.random.default_rng(3)
    clouds = 4
    averager = FederatedAverager(
        {"w": np.zeros((3, 5)), "b": np.zeros(7)}, clouds, encryption={"authority": authority}
    )
    for _ in range(3):
        updates = [
            {"w": generator.uniform(-1, 1, (3, 5)), "b": generator.uniform(-1, 1, 7)}
            for _ in range(clouds)
        ]
        rows = [int(count) for count in generator.integers(50, 200, clouds)]
        mean = averager.average(updates, rows=rows)
        for name in ("w", "b"):
            plain = sum(count * one[name] for count, one in zip(rows, updates, strict=True))
            plain = plain / sum(rows)
            # Ranges after the first round are at most 8 * 2 times the largest mean entry.
            assert np.abs(mean[name] - plain).max() <= bound(16.0, clouds, clouds)


def test_uniform_weights_and_a_cloud_that_is_away() -> None:
    averager = FederatedAverager(
        np.zeros(5, np.float32), 4, weigh_by_rows=False, aggregation={"min_clients": 2}
    )
    updates: list[Any] = [np.full(5, value, np.float32) for value in (0.0, 0.25, 0.5, 0.75)]
    updates[2] = None
    mean = averager.average(updates)
    assert mean.dtype == np.float32
    assert mean == pytest.approx((0.25 + 0.75) / 3, abs=bound(1.0, 1, 3) * 3)
    # Who was away follows all the same, and is in the next sum.
    everybody = [np.full(5, 0.5, np.float32)] * 4
    assert averager.average(everybody) == pytest.approx(0.5, abs=bound(8.0, 1, 4) * 4)
    with pytest.raises(vs.RoundError, match=r"1 of 4 clouds is left.*needs 2"):
        averager.average([everybody[0], None, None, None])
    assert averager.average(everybody) == pytest.approx(0.5, abs=bound(8.0, 1, 4) * 4)


def test_a_state_dict_goes_in_and_comes_out() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2, bias=False))
    example = module.state_dict()
    averager = FederatedAverager(example, 2)
    mean = averager.average([example, {n: torch.zeros_like(t) for n, t in example.items()}])
    assert list(mean) == list(example)
    for name, tensor in mean.items():
        assert tensor.dtype == torch.float32
        assert torch.allclose(tensor, example[name] / 2, atol=bound(1.0, 2, 2))


def test_across_processes_only_bytes_pass() -> None:
    terms = averaging_terms(3, limit=1.0)
    clouds = [AveragingCloud(np.zeros(4), terms, number) for number in range(3)]
    seen: list[bytes] = []

    def carry(party: Any, request: bytes) -> bytes:
        assert isinstance(request, bytes)
        reply = clouds[party.number].handle(copy.copy(request))
        seen.append(reply)
        return reply

    server = AveragingServer(terms, carry)
    with pytest.raises(vs.RoundError, match="no mean was opened"):
        clouds[0].receive()
    for number, cloud in enumerate(clouds):
        cloud.contribute(np.full(4, 0.1 * number), rows=number + 1)
    assert not server.round().skipped
    wanted = (0.1 * 2 + 0.2 * 3) / 6
    for cloud in clouds:
        assert cloud.receive() == pytest.approx(wanted, abs=bound(1.0, 3, 3))
    assert all(isinstance(reply, bytes) for reply in seen)
    with pytest.raises(vs.RoundError, match="no update was provided for round 2"):
        server.round()


def test_wrong_calls_say_what_to_do() -> None:
    averager = FederatedAverager({"w": np.zeros(3)}, 2)
    right = {"w": np.zeros(3)}
    with pytest.raises(vs.ParameterError, match="one update for each of the 2 clouds"):
        averager.average([right])
    with pytest.raises(vs.ParameterError, match="one update for each"):
        averager.average(right)
    with pytest.raises(vs.ParameterError, match="shape"):
        averager.average([right, {"w": np.zeros(4)}])
    with pytest.raises(vs.ParameterError, match="w is not finite at value 1"):
        averager.average([right, {"w": np.array([0.0, np.nan, 0.0])}])
    with pytest.raises(vs.ParameterError, match="give one each"):
        averager.average([right, right], rows=[1])
    with pytest.raises(vs.ParameterError, match="rows"):
        averager.average([right, right], rows=[1, 0])
    with pytest.raises(vs.ParameterError, match=r"unknown option encryption\.bits; known are"):
        FederatedAverager(right, 2, encryption={"bits": 8})
    with pytest.raises(vs.ParameterError, match="unknown argument 'encrypt'"):
        FederatedAverager(right, 2, encrypt={})
    with pytest.raises(vs.ParameterError, match="weigh_by_rows=False"):
        FederatedAverager(right, 2, weigh_by_rows=False).average([right, right], rows=[1, 1])
    with pytest.raises(vs.ParameterError, match="accounted for by training rounds"):
        FederatedAverager(right, 2, privacy={"distributed": True})
    with pytest.raises(vs.ParameterError, match="limit is -1"):
        FederatedAverager(right, 2, limit=-1)
    # Nothing of that left anything behind.
    assert averager.average([right, right], rows=[1, 1])["w"] == pytest.approx(0.0, abs=1e-3)


def test_a_cloud_that_is_nearly_the_whole_sum_refuses() -> None:
    averager = FederatedAverager(np.zeros(2), 3)
    with pytest.raises(vs.RoundError, match=r"more than 0\.8 of the opened total"):
        averager.average([np.zeros(2)] * 3, rows=[1, 1, 1000])


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_whole_numbers_and_flags_of_a_state_dict(library: str) -> None:
    def made(seen: int, flag: bool, weight: float) -> dict[str, Any]:
        arrays = {
            "norm.weight": np.full(3, weight, np.float32),
            "norm.seen": np.array(seen, np.int64),
            "flags": np.array([flag, not flag]),
        }
        if library == "numpy":
            return arrays
        torch = pytest.importorskip("torch")
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    averager = FederatedAverager(made(0, False, 0.0), 3)
    counts, flags = (100, 2000, 7), (True, False, True)
    for _ in range(2):
        updates = [made(*one, 0.1) for one in zip(counts, flags, strict=True)]
        mean = averager.average(updates, rows=[20, 10, 10])
        assert list(mean) == ["norm.weight", "norm.seen", "flags"]
        assert mean["norm.seen"].dtype == updates[0]["norm.seen"].dtype
        assert tuple(mean["norm.seen"].shape) == ()
        # Three uploads within a step of the range, weights that sum to three and are within half a
        # step of theirs (protocol/contribution.py), then the nearest whole number.
        error = 3 * (2**13 / 32767) / 3 + 2 * 3 * (1.5 / 32767) * 2000 / 3 + 0.5
        assert abs(int(mean["norm.seen"]) - (100 * 20 + 2000 * 10 + 7 * 10) / 40) <= error
        assert mean["flags"].dtype == updates[0]["flags"].dtype
        assert mean["flags"].tolist() == [True, False]
    wrong = updates[0] | {"norm.weight": updates[0]["norm.seen"]}
    with pytest.raises(vs.ParameterError):
        averager.average([wrong, *updates[1:]])
