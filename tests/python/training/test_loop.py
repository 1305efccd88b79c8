"""Whole runs: reproducible, close to plaintext, never overwriting, whole after an interrupt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import veilsum as vs
from veilsum.layout.files import read_update
from veilsum.training.config import TrainConfig
from veilsum.training.run import spread, train


def repeatable(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("seconds", "entropy")}


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class Stopper:
    """Interrupts a run after some rounds, as Ctrl-C does."""

    def __init__(self, after: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.left = after
        self.error = error
        self.ended: list[str] = []

    def run_started(self, folder: Path, summary: Mapping[str, Any]) -> None:
        assert summary["status"] == "running"

    def round_finished(self, record: dict[str, Any]) -> None:
        self.left -= 1
        if not self.left:
            raise self.error("stop")

    def run_ended(self, summary: Mapping[str, Any]) -> None:
        self.ended.append(summary["status"])


def test_the_same_seed_gives_the_same_model_and_metrics(
    make_config: Callable[..., TrainConfig],
) -> None:
    config = make_config("training.rounds=3", "training.batch_size=64")
    one, two = train(config), train(config)
    assert one.folder != two.folder
    assert [repeatable(r) for r in one.records] == [repeatable(r) for r in two.records]
    assert (one.folder / "model.safetensors").read_bytes() == (
        two.folder / "model.safetensors"
    ).read_bytes()
    other = train(make_config("training.rounds=3", "training.batch_size=64", "run.seed=8"))
    assert other.records[-1]["auc"] != one.records[-1]["auc"]


def test_the_written_configuration_repeats_the_run(
    make_config: Callable[..., TrainConfig],
) -> None:
    one = train(make_config("run.seed=42", "data.clouds=2", "aggregation.weights=uniform"))
    two = train(TrainConfig.load(one.folder / "config.toml"))
    assert [repeatable(r) for r in one.records] == [repeatable(r) for r in two.records]


def test_a_run_leaves_what_it_says(config: TrainConfig) -> None:
    run = train(config)
    assert run.summary["status"] == "finished"
    assert json.loads((run.folder / "run.json").read_text()) == run.summary
    assert logged(run.folder) == run.records
    assert [record["round"] for record in run.records] == [1, 2]
    model = read_update(run.folder / "model.safetensors")
    assert model.keys() == run.parameters.keys()
    for name, array in run.parameters.items():
        np.testing.assert_array_equal(model[name], array)
    for record in run.records:
        assert 0 <= record["auc"] <= 1
        assert record["log_loss"] > 0
        assert record["clipped"] == sum(cloud["clipped"] for cloud in record["clouds"])
        phases = ["train", "encrypt", "aggregate", "open", "decrypt", "evaluate"]
        assert set(record["seconds"]) == {*phases, "background", "total"}
        assert record["seconds"]["background"] > 0
        parts = sum(record["seconds"][phase] for phase in phases)
        assert parts <= record["seconds"]["total"]
        assert len(record["clouds"]) == 4
        assert {cloud["payload_bytes"] for cloud in record["clouds"]} == {record["bytes"]["upload"]}


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
def test_pads_made_ahead_change_nothing_but_times(
    make_config: Callable[..., TrainConfig], rounding: str
) -> None:
    settings = [f"encryption.rounding={rounding}", "training.rounds=3"]
    ahead = train(make_config(*settings))
    assert all(record["seconds"]["background"] > 0 for record in ahead.records)
    behind = train(make_config(*settings, "encryption.pads_ahead=false"))
    assert [repeatable(r) for r in ahead.records] == [repeatable(r) for r in behind.records]
    assert (ahead.folder / "model.safetensors").read_bytes() == (
        behind.folder / "model.safetensors"
    ).read_bytes()
    assert all("background" not in record["seconds"] for record in behind.records)


def test_uploads_have_the_length_that_the_plan_says(
    make_config: Callable[..., TrainConfig],
) -> None:
    run = train(make_config("encryption.authority=single"))
    plan = vs.Plan(clients=4, value_bits=16)
    values = run.summary["model"]["values"] + 2  # and the weight, and the weighted loss
    for record in run.records:
        assert abs(record["bytes"]["upload"] - plan.upload_bytes(values)) <= 256
    # For a committee, shares for its members stand for one sealed key and the check block; DESIGN,
    # section 9, allows each member 3.6 kB.
    together = train(make_config())
    blocks = values * plan.bytes_per_value
    for record in together.records:
        assert 0 < record["bytes"]["upload"] - blocks <= 4 * 3600


def _leaves(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)


def test_no_secret_and_no_row_is_written(config: TrainConfig) -> None:
    run = train(config)
    names = {path.name for path in run.folder.rglob("*") if path.is_file()}
    # What evaluation.json may hold is tests/python/report's business and test_predictions'.
    assert names == {
        "config.toml", "evaluation.json", "run.json", "metrics.jsonl", "model.safetensors",
    }  # fmt: skip
    # Keys are kilobytes; the longest string there is a sentence, the longest list the columns'.
    for value in _leaves([run.summary, *run.records]):
        assert not isinstance(value, str) or len(value) < 2000
        assert not isinstance(value, list) or len(value) < 20


def test_the_clouds_differ_by_age_and_size(federation: Any) -> None:
    sizes = [len(study) for study in federation.clouds]
    assert sizes == [2520, 1889, 1260, 630]
    assert len(federation.held_out) == 1575
    rates = [study.outcome_rate for study in federation.clouds]
    assert rates == sorted(rates)
    assert rates[0] < 0.15
    assert rates[-1] > 0.6
    assert federation.held_out.outcome_rate == pytest.approx(
        federation.study.outcome_rate, abs=0.001
    )
    ages = [study.column("age") for study in federation.clouds]
    assert [age.mean() for age in ages] == sorted(age.mean() for age in ages)
    # Neighbouring clouds overlap: age alone does not say where a patient is.
    assert ages[0].max() > ages[1].min()
    everyone = np.concatenate([study.values for study in [*federation.clouds, federation.held_out]])
    np.testing.assert_array_equal(
        np.sort(everyone, axis=0), np.sort(federation.study.values, axis=0)
    )


def test_random_clouds_are_alike(make_config: Callable[..., TrainConfig]) -> None:
    federation = spread(make_config("data.split=random", "data.imbalance=0"))
    rates = [study.outcome_rate for study in federation.clouds]
    assert max(rates) - min(rates) < 0.08
    assert max(map(len, federation.clouds)) - min(map(len, federation.clouds)) <= 1


def test_the_held_out_rows_follow_the_seed_alone(make_config: Callable[..., TrainConfig]) -> None:
    one = spread(make_config())
    two = spread(make_config("data.clouds=7", "data.split=random", "training.rounds=9"))
    np.testing.assert_array_equal(one.held_out.values, two.held_out.values)


def test_columns_can_be_left_out_even_the_one_that_splits(
    make_config: Callable[..., TrainConfig],
) -> None:
    federation = spread(make_config('data.leave_out=["age", "sample.yr"]'))
    assert [f.name for f in federation.study.features][:2] == ["sex", "kappa"]
    rates = [study.outcome_rate for study in federation.clouds]
    assert rates == sorted(rates)
    run = train(make_config('data.leave_out=["age", "sample.yr"]'))
    assert "age" not in run.summary["clouds"][0]


def test_a_named_run_is_never_overwritten(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config("run.name=mine", "training.rounds=1")
    run = train(config)
    before = (run.folder / "metrics.jsonl").read_bytes()
    with pytest.raises(vs.ParameterError, match="never overwritten"):
        train(config)
    assert (run.folder / "metrics.jsonl").read_bytes() == before


def test_runs_without_a_name_never_meet(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config("training.rounds=1")
    folders = {train(config).folder for _ in range(3)}
    assert len(folders) == 3


def test_an_interrupt_leaves_whole_records_and_the_last_model(
    make_config: Callable[..., TrainConfig],
) -> None:
    stopper = Stopper(after=2)
    run = train(make_config("training.rounds=5"), [stopper])
    assert run.interrupted
    assert stopper.ended == ["interrupted"]
    assert json.loads((run.folder / "run.json").read_text())["status"] == "interrupted"
    assert [record["round"] for record in logged(run.folder)] == [1, 2]
    assert run.summary["final"]["veilsum"]["round"] == 2
    assert (run.folder / "model.safetensors").exists()


def test_an_interrupt_before_the_first_round_ended(
    make_config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    from veilsum.training.encrypted import EncryptedAveraging

    def interrupted(self: object, number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(EncryptedAveraging, "run_round", interrupted)
    run = train(make_config())
    assert run.interrupted
    assert run.records == []
    assert (run.folder / "metrics.jsonl").read_bytes() == b""
    assert "final" not in run.summary


def test_a_failure_is_written_and_raised(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config("run.name=bad", "training.optimiser=sgd", "training.learning_rate=1e30")
    with pytest.raises(vs.VeilsumError, match="diverged"):
        train(config)
    summary = json.loads((Path(config.run.directory) / "bad" / "run.json").read_text())
    assert summary["status"] == "failed"
    assert "diverged" in summary["error"]


def test_torch_settings_are_restored(config: TrainConfig) -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    train(config)
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before


def test_the_yardsticks_start_alike_and_stay_close(make_config: Callable[..., TrainConfig]) -> None:
    run = train(make_config("run.baseline=true", "training.rounds=3"))
    methods = {record["method"] for record in run.records}
    assert methods == {"veilsum", "fedavg", "centralised"}
    final = run.summary["final"]
    assert abs(final["veilsum"]["auc"] - final["fedavg"]["auc"]) < 0.005
    assert 0.5 < run.summary["logistic_regression"]["auc"] < 1
    clear = [record for record in run.records if record["method"] == "fedavg"]
    assert clear[0]["clouds"] == []
    values = run.summary["model"]["values"]
    # float32, and with an upload its weight and its loss.
    assert clear[0]["bytes"] == {"upload": 4 * values + 16, "aggregate": 4 * values}


@pytest.mark.slow
def test_the_default_run_is_good_quick_and_as_good_as_plaintext(tmp_path: Path) -> None:
    config = TrainConfig.from_mapping(
        {"run": {"directory": str(tmp_path), "baseline": True, "device": "cpu"}}
    )
    run = train(config)
    final = run.summary["final"]
    assert final["veilsum"]["auc"] > 0.84
    assert abs(final["veilsum"]["auc"] - final["fedavg"]["auc"]) < 0.005
    assert final["veilsum"]["auc"] > run.summary["logistic_regression"]["auc"] - 0.01
    encrypted = [record for record in run.records if record["method"] == "veilsum"]
    assert sum(record["seconds"]["total"] for record in encrypted) < 120
    assert sum(record["clipped"] for record in encrypted) < 1e-4 * 25 * 4 * 35_585


def test_a_run_on_the_openfhe_engine_follows_plaintext_averaging(
    make_config: Callable[..., TrainConfig],
) -> None:
    """The same calls end to end, and clouds that stay in step: CKKS decrypts alike for all."""
    from veilsum.engines import openfhe

    try:
        openfhe.describe()
    except vs.BackendUnavailableError:
        pytest.skip("OpenFHE is not available here")
    run = train(make_config("encryption.engine=openfhe", "encryption.authority=single"))
    native = train(make_config())
    assert run.records[-1]["auc"] == pytest.approx(native.records[-1]["auc"], abs=1e-3)
