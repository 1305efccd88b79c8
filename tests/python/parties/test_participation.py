"""Sampling, dropouts before, during and after upload, stragglers, and rounds that are skipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import steps
import veilsum as vs
from veilsum.lab.methods.run import run_method
from veilsum.protocol.participation import participants
from veilsum.report import write_report
from veilsum.rounding import Grid
from veilsum.training.config import TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.fedavg import FedAvg
from veilsum.training.outcome import Method
from veilsum.training.run import train
from veilsum.training.setting import prepare
from veilsum.transport.conditions import Reliable

Make = Callable[..., TrainConfig]


class Scripted(Reliable):
    """Fails as told: (cloud, round) -> "before", "lost", "cut", "flipped", "slow" or "after"."""

    def __init__(self, script: dict[tuple[int, int], str]) -> None:
        self.script = script

    def trains(self, client: int, number: int) -> bool:
        return self.script.get((client, number)) != "before"

    def delivers(self, client: int, number: int, upload: bytes) -> bytes | None:
        what = self.script.get((client, number))
        if what == "lost":
            return None
        if what == "cut":
            return upload[: len(upload) // 2]
        if what == "flipped":
            return upload[:-100] + bytes([upload[-100] ^ 1]) + upload[-99:]
        return upload

    def delay_s(self, client: int, number: int) -> float:
        return 1e6 if self.script.get((client, number)) == "slow" else 0.0

    def receives(self, client: int, number: int) -> bool:
        return self.script.get((client, number)) != "after"


def exact_mean(config: TrainConfig, taking_part: list[int], number: int = 1) -> dict:
    setting = prepare(config)
    start = setting.initial_parameters()
    results = {i: setting.trainer(i).train(start, number) for i in taking_part}
    weights = {i: len(setting.inputs[i]) for i in taking_part}
    total = sum(weights.values())
    return {
        name: sum(weights[i] * one.update[name] for i, one in results.items()) / total
        for name in start
    }


@pytest.mark.parametrize(
    ("failure", "state", "summed"),
    [
        ("before", "absent", False),
        ("lost", "lost", False),
        ("cut", "damaged", False),
        ("flipped", "damaged", False),
        ("slow", "late", False),
        ("after", "summed", True),
    ],
)
def test_the_mean_is_right_for_whoever_took_part(
    make_config: Make, failure: str, state: str, summed: bool
) -> None:
    config = make_config("aggregation.min_clients=3", "training.deadline_s=1000")
    method = EncryptedAveraging(
        config, prepare(config).federation.clouds, conditions=Scripted({(1, 1): failure})
    )
    before = method.parameters
    outcome = method.run_round(1)
    assert outcome.skipped == ""
    assert [cloud.state for cloud in outcome.clouds] == ["summed", state, "summed", "summed"]
    assert (outcome.clouds[1].weight > 0) is summed
    there = [0, 1, 2, 3] if summed else [0, 2, 3]
    assert [upload.client for upload in outcome.uploads] == there
    rows = np.array([len(one) for one in prepare(config).federation.clouds])
    total = 4 * rows[there].sum() / rows.sum()
    for name, exact in exact_mean(config, there).items():
        grid = Grid(outcome.limits["update." + name], 16)
        weight_step = Grid(outcome.limits["weight"], 16).step
        bound = len(there) * (grid.error_bound("stochastic") + weight_step) / total
        moved = outcome.parameters[name] - before[name].astype(np.float64)
        last = np.abs(outcome.parameters[name]).max() * 2.0**-24
        assert np.abs(moved - exact).max() <= bound + last
    # Whoever missed the sum catches up when it is back, and everyone holds the same model.
    again = method.run_round(2)
    assert [cloud.state for cloud in again.clouds] == ["summed"] * 4
    for client in method.clients:
        for name, array in method.parameters.items():
            np.testing.assert_array_equal(client.state.parameters[name], array)


@pytest.mark.parametrize("authority", ["single", "committee"])
def test_a_cloud_that_is_away_for_rounds_takes_all_missed_sums_in(
    make_config: Make, authority: str
) -> None:
    # Where the clouds open themselves, they take sums in to do so: test_committee.py.
    config = make_config(
        "aggregation.min_clients=2", "training.rounds=5", f"encryption.authority={authority}"
    )
    script = {(0, n): "before" for n in (1, 2, 3)} | {(2, 2): "after", (2, 3): "before"}
    method = EncryptedAveraging(
        config, prepare(config).federation.clouds, conditions=Scripted(script)
    )
    for number in (1, 2, 3):
        method.run_round(number)
    # Three sums wait for cloud 1; what all the others have is kept for it alone.
    assert len(method.coordinator._told) == 3
    outcome = method.run_round(4)
    assert outcome.clouds[0].down_bytes > 3 * outcome.message_bytes["aggregate"]
    assert method.coordinator._told == []
    for client in method.clients:
        for name, array in method.parameters.items():
            np.testing.assert_array_equal(client.state.parameters[name], array)


@pytest.mark.parametrize("make", [
    lambda config, script: EncryptedAveraging(
        config, prepare(config).federation.clouds, conditions=script),
    lambda config, script: FedAvg(prepare(config), script),
])  # fmt: skip
@pytest.mark.parametrize("failure", ["before", "lost", "cut"])
def test_a_round_of_too_few_is_skipped_and_says_so(
    config: TrainConfig, make: Callable[..., Method], failure: str
) -> None:
    # By default all four must be in the sum.
    method = make(config, Scripted({(3, 1): failure}))
    before = method.parameters
    outcome = method.run_round(1)
    what = {"before": "absent", "lost": "lost", "cut": "damaged"}[failure]
    assert outcome.skipped == f"3 of 4 clouds are left ({what}: cloud 4); a sum needs 4"
    assert outcome.train_loss is None
    assert outcome.uploads == []
    assert all(cloud.weight == 0 for cloud in outcome.clouds)
    for name, array in method.parameters.items():
        np.testing.assert_array_equal(array, before[name])
    assert method.run_round(2).skipped == ""


def test_nothing_of_a_skipped_round_can_be_opened(config: TrainConfig) -> None:
    method = EncryptedAveraging(
        config, prepare(config).federation.clouds, conditions=Scripted({(3, 1): "lost"})
    )
    method.run_round(1)
    with pytest.raises(vs.RoundError, match="3 clients uploaded; the round needs 4"):
        method.aggregator.close_round()


def test_a_wrong_signature_is_an_attack_and_no_dropout(config: TrainConfig) -> None:
    class Swapped(Reliable):
        def delivers(self, client: int, number: int, upload: bytes) -> bytes | None:
            self.last = upload if client == 0 else self.last
            return self.last  # cloud 1's upload replaced by a second copy of cloud 0's

    method = EncryptedAveraging(config, prepare(config).federation.clouds, conditions=Swapped())
    with pytest.raises(vs.RoundError):
        method.run_round(1)


def test_sampling_is_seeded_fair_and_at_least_two(make_config: Make) -> None:
    config = make_config("data.clouds=10", "training.participation=0.3")
    assert config.terms.participants == 3
    assert config.terms.min_clients == 3
    drawn = [participants(config.terms, number) for number in range(1, 401)]
    assert drawn == [participants(config.terms, number) for number in range(1, 401)]
    assert all(len(set(one)) == 3 and list(one) == sorted(one) for one in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=10)
    # 400 rounds, each cloud with probability 0.3: within 5 standard deviations of 120.
    assert np.abs(counts - 120).max() < 5 * np.sqrt(400 * 0.3 * 0.7)
    assert make_config("training.participation=0.1").terms.participants == 2
    assert make_config("data.clouds=3", "training.participation=1.0").terms.participants == 3
    other = make_config("data.clouds=10", "training.participation=0.3", "run.seed=8")
    assert [participants(other.terms, number) for number in range(1, 401)] != drawn


def test_participation_and_least_numbers_must_fit(make_config: Make) -> None:
    with pytest.raises(vs.ParameterError, match="draws 2 a round"):
        make_config("training.participation=0.5", "aggregation.min_clients=3")
    with pytest.raises(vs.ParameterError, match=r"max_share is 0\.3"):
        make_config("training.participation=0.5", "aggregation.max_share=0.3")
    with pytest.raises(vs.ParameterError, match="bandwidths_bps has 2 entries"):
        make_config("aggregation.bandwidths_bps=[1e9, 1e9]")


def test_sampled_rounds_train_and_everyone_follows(make_config: Make) -> None:
    config = make_config("training.participation=0.5", "training.rounds=4")
    setting = prepare(config)
    method = EncryptedAveraging(config, setting.federation.clouds)
    for number in range(1, 5):
        outcome = method.run_round(number)
        states = [cloud.state for cloud in outcome.clouds]
        assert [i for i, state in enumerate(states) if state == "summed"] == list(
            participants(config.terms, number)
        )
        assert set(states) == {"summed", "not sampled"}
    for client in method.clients:
        for name, array in method.parameters.items():
            np.testing.assert_array_equal(client.state.parameters[name], array)


def test_capped_and_dynamic_weights_survive_dropouts(make_config: Make) -> None:
    config = make_config(
        "aggregation.weights=dynamic", "aggregation.max_share=0.4", "aggregation.min_clients=3"
    )
    run = run_method("veilsum", config, conditions=Scripted({(0, 1): "before", (1, 2): "lost"}))
    first, second = run.records
    assert [cloud["state"] for cloud in first["simulation"]] == ["absent"] + ["summed"] * 3
    weights = [cloud["weight"] for cloud in first["simulation"][1:]]
    assert max(weights) / sum(weights) <= 0.4 + 1e-4
    assert second["simulation"][1]["state"] == "lost"
    # Too few for the cap: refused, not silently exceeded.
    strict = make_config(
        "aggregation.weights=dynamic", "aggregation.max_share=0.3", "aggregation.min_clients=3"
    )
    skipped = run_method("veilsum", strict, conditions=Scripted({(0, 1): "before"})).records[0]
    assert "largest share" in skipped["skipped"]


def test_a_run_with_skipped_rounds_has_a_report(
    make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from veilsum.training import run as loop

    def failing(
        config: TrainConfig, clouds: object, home: object, threads: int
    ) -> EncryptedAveraging:
        assert home is None  # between parties that have a folder nothing fails on the way
        return EncryptedAveraging(
            config,
            clouds,
            conditions=Scripted({(0, 1): "before", (0, 3): "lost"}),
            threads=threads,
        )

    monkeypatch.setattr(loop, "EncryptedAveraging", failing)
    run = train(make_config("training.rounds=3", "run.resumable=false"))
    assert [bool(record.get("skipped")) for record in run.records] == [True, False, True]
    page = Path(write_report(run.folder)).read_text()
    assert "It summed 1 of 3 rounds and skipped the others" in page
    assert "2 of 3 rounds were skipped and left the model as it was: 1, 3." in page
    assert (
        "3 of 4 clouds are left (lost: cloud 1); a sum needs 4. aggregation.min_clients = 0" in page
    )
    assert "here 4. A lower number" in page


def test_a_cloud_answers_one_pass_at_a_time(make_config: Make) -> None:
    method = EncryptedAveraging(
        make_config("aggregation.weights=dynamic"),
        prepare(make_config()).federation.clouds,
    )
    client = method.clients[0]
    steps.train(client, 1)
    steps.contribute(client, steps.described(method))
    with pytest.raises(vs.RoundError, match=r"shares\.1 of round 1 was encrypted before"):
        steps.contribute(client, steps.described(method))


def test_a_measured_bandwidth_replaces_the_configured_one(make_config: Make) -> None:
    config = make_config("aggregation.weights=dynamic", "aggregation.bandwidth_exponent=1.0")
    clouds = prepare(config).federation.clouds

    def weights(measured: dict[int, int]) -> list[float]:
        method = EncryptedAveraging(config, clouds)
        for i, bandwidth in measured.items():
            method.clients[i].measure_bandwidth(bandwidth)
        return [cloud.weight for cloud in method.run_round(1).clouds]

    before, after = weights({}), weights({0: 4_000_000_000})
    # Four times the bandwidth, relative to each of the others.
    for i in (1, 2, 3):
        assert after[0] / after[i] == pytest.approx(4 * before[0] / before[i], rel=1e-3)
    assert sum(after) == pytest.approx(4)
    with pytest.raises(vs.ParameterError, match="must be above 0"):
        EncryptedAveraging(config, clouds).clients[0].measure_bandwidth(0)
