"""Any module over clouds: opened means are plain means, killed runs go on, users' mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from veilsum.training.outcome import RoundOutcome
from veilsum.transport import files

torch = pytest.importorskip("torch")
nn = torch.nn


def network() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)
    )


def without_figures() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)
    )


def train(model: Any, data: Any, context: Any) -> Any:
    images, labels = data
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    for batch in torch.randperm(len(labels), generator=context.generator).split(16):
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss


def evaluate(model: Any, data: Any) -> dict[str, Any]:
    images, labels = data
    return {"accuracy": (model(images).argmax(1) == labels).float().mean()}


@pytest.fixture(scope="module")
def clouds() -> list[Any]:
    generator = torch.Generator().manual_seed(5)
    made = []
    for rows in (40, 60, 100):
        labels = torch.randint(3, (rows,), generator=generator)
        images = torch.randn(rows, 1, 8, 8, generator=generator) + labels[:, None, None, None]
        made.append((images, labels))
    return made


@pytest.fixture
def task() -> vs.Task:
    return vs.Task(model=network, train=train, evaluate=evaluate, device="cpu")


def plain_mean(
    task: vs.Task, clouds: list[Any], parameters: dict[str, Any], number: int
) -> dict[str, Any]:
    results = [
        task.local(data, cloud=i).begin({}).train(parameters, number)
        for i, data in enumerate(clouds)
    ]
    rows = sum(one.rows for one in results)
    return {name: sum(one.rows * one.update[name] for one in results) / rows for name in parameters}


@pytest.mark.parametrize("authority", ["clouds", "single"])
def test_each_opened_mean_is_the_plain_mean(
    task: vs.Task, clouds: list[Any], authority: str
) -> None:
    before = task.initial()
    bits = 16

    def check(record: dict[str, Any], outcome: RoundOutcome) -> None:
        nonlocal before
        plain = plain_mean(task, clouds, before, record["round"])
        assert record["clipped"] == 0
        for name, array in outcome.parameters.items():
            # protocol/contribution.py: K * e / S for stochastic rounding, and the weights' grid,
            # by which each update is multiplied; then the model's own float32.
            step = record["limits"][f"update.{name}"] / (2 ** (bits - 1) - 1)
            error = len(clouds) * step * (1 + 2.0**-7) / len(clouds)
            weight = len(clouds) / (2 ** (bits - 1) - 1)
            largest = max(np.abs(plain[name]).max(), np.abs(array - before[name]).max())
            error += len(clouds) * weight * 3 * largest
            error += 2.0**-23 * max(np.abs(array).max(), np.abs(before[name]).max())
            assert np.abs(array - before[name] - plain[name]).max() <= error, name
        before = outcome.parameters

    run = vs.federate(
        task,
        clouds,
        rounds=3,
        folder=None,
        threads=1,
        observe=check,
        encryption={"authority": authority, "value_bits": bits},
    )
    assert len(run.records) == 3
    assert run.folder is None


def test_integer_buffers_are_carried(task: vs.Task, clouds: list[Any]) -> None:
    run = vs.federate(task, clouds, rounds=2, folder=None, threads=1)
    steps = [-(-len(labels) // 16) for _, labels in clouds]
    weights = np.array([len(labels) for _, labels in clouds])
    tracked = run.model[1].num_batches_tracked
    assert tracked.dtype == torch.int64
    mean = float((weights * steps).sum() / weights.sum())
    # Each cloud counts on from the rounded mean of the first round.
    assert int(tracked) == round(round(mean) + mean)
    assert float(run.model[1].running_var.min()) > 0


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


class Killed(BaseException):
    """Stands for a signal that no code sees."""


def test_a_killed_run_goes_on_to_the_same_model(
    task: vs.Task, clouds: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go(**where: Any) -> Any:
        return vs.federate(
            task, clouds, rounds=2, held_out=clouds[0], threads=1, **where,
            aggregation={"server_optimiser": "fedadam"},
        )  # fmt: skip

    whole = go(folder=tmp_path / "whole")
    assert (whole.folder / "model.safetensors").is_file()
    assert not (whole.folder / "parties").exists()
    real, calls = files.write_whole, 0

    def write(path: Path, data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == 110:
            raise Killed
        real(path, data)

    monkeypatch.setattr(files, "write_whole", write)
    with pytest.raises(Killed):
        go(folder=tmp_path / "killed")
    (left,) = (tmp_path / "killed").iterdir()
    again = go(resume=left)
    assert again.folder == left
    assert same(again.parameters, whole.parameters)
    assert [one["accuracy"] for one in again.records] == [one["accuracy"] for one in whole.records]
    with pytest.raises(vs.ParameterError, match="one that has finished"):
        go(resume=left)
    with pytest.raises(vs.ParameterError, match="no run that can go on"):
        go(resume=tmp_path)


@pytest.mark.parametrize(
    "sections",
    [
        {"aggregation": {"weights": "dynamic", "max_share": 0.5}},
        {"hybrid": {"fraction": 0.5, "renew_every": 2}},
        {"privacy": {"distributed": True}, "aggregation": {"weights": "uniform"}},
        {"encryption": {"authority": "committee", "members": 4, "threshold": 3}},
        {"encryption": {"pads_ahead": False}, "aggregation": {"server_optimiser": "fedyogi"}},
    ],
    ids=["capped", "hybrid", "private", "committee", "optimiser"],
)
def test_options_of_training_are_options_here(
    task: vs.Task, clouds: list[Any], sections: dict[str, Any]
) -> None:
    if "privacy" in sections:
        pytest.importorskip("opacus")
        with pytest.raises(vs.ParameterError, match="GroupNorm in place of BatchNorm"):
            vs.federate(task, clouds, rounds=2, folder=None, **sections)
        task = vs.Task(model=without_figures, train=train, evaluate=evaluate, device="cpu")
    run = vs.federate(task, clouds, rounds=2, held_out=clouds[0], folder=None, **sections)
    assert len(run.records) == 2
    assert not any(record.get("skipped") for record in run.records)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "0 rounds; must be at least 1"),
        ({"rounds": "3"}, "rounds"),
        ({"encryption": {"bits": 8}}, r"unknown option encryption\.bits"),
        ({"learning_rate": {"x": 1}}, "unknown argument 'learning_rate'"),
        ({"aggregation": {"weights": "rows"}}, "aggregation.weights"),
        ({"participation": 0.0}, "participation is 0"),
    ],
)
def test_wrong_calls_say_what_to_do(
    task: vs.Task, clouds: list[Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(vs.ParameterError, match=message):
        vs.federate(task, clouds, folder=None, **{"rounds": 1, **change})


def test_one_cloud_and_no_task(task: vs.Task, clouds: list[Any]) -> None:
    with pytest.raises(vs.ParameterError, match="1 clouds; it takes at least 2"):
        vs.federate(task, clouds[:1], rounds=1, folder=None)
    wrong: Any = network
    with pytest.raises(vs.ParameterError, match=r"task must be a veilsum\.Task"):
        vs.federate(wrong, clouds, rounds=1, folder=None)
