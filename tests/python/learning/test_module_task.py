"""A user's own model, data and training as a task; and what is said when one keeps not its side."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import veilsum as vs
from veilsum.learning.module_task import Context, count_rows
from veilsum.learning.server_optimisers import FederatedAveraging
from veilsum.learning.task import ROWS, Learner, LocalTask, Parameters

Rows = tuple[torch.Tensor, torch.Tensor]


def make_model() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.1), nn.Linear(128, 10),
    )  # fmt: skip


def train(model: nn.Module, rows: Rows, context: Context) -> torch.Tensor:
    images, labels = (part.to(context.device) for part in rows)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    total = torch.zeros(())
    for batch in torch.randperm(len(images), generator=context.generator).split(32):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        loss.backward()
        optimiser.step()
        total += loss.detach() * len(batch)
    return total / len(images)


def evaluate(model: nn.Module, rows: Rows) -> dict[str, Any]:
    assert not model.training
    assert not torch.is_grad_enabled()
    images, labels = rows
    return {"accuracy": (model(images).argmax(1) == labels).double().mean()}


def digits() -> tuple[list[Rows], Rows]:
    """Five clouds of unequal numbers of rows, and held-out rows."""
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(3).permutation(len(images))
    whole = torch.from_numpy(images[order] / 16).float(), torch.from_numpy(labels[order])
    ends = [0, 500, 850, 1100, 1250, 1350, len(images)]
    parts = [tuple(part[low:high] for part in whole) for low, high in itertools.pairwise(ends)]
    return parts[:5], parts[5]  # type: ignore[return-value]


def linear(**options: Any) -> vs.Task:
    """A task so small that each of its faults is easily made."""
    given: dict[str, Any] = {
        "model": lambda: nn.Linear(2, 1),
        "train": lambda _model, _data, _context: 0.5,
        "device": "cpu",
    }
    return vs.Task(**(given | options))


ROW = torch.zeros(3, 2)


def begin(task: vs.Task, data: Any = ROW, cloud: int = 0) -> Learner:
    local: LocalTask = task.local(data, cloud=cloud)
    return local.begin(local.statistics())


def run(task: vs.Task, data: Any = ROW) -> Any:
    return begin(task, data).train(task.initial(), 1)


def average(learners: list[Learner], parameters: Parameters, number: int) -> Parameters:
    results = [one.train(parameters, number) for one in learners]
    rows = sum(result.rows for result in results)
    mean = {
        name: sum(result.rows / rows * result.update[name] for result in results)
        for name in parameters
    }
    return FederatedAveraging().step(parameters, mean)  # type: ignore[arg-type]


def test_clouds_train_a_network_with_batch_norm_on_digits() -> None:
    clouds, held_out = digits()
    task = vs.Task(make_model, train, evaluate=evaluate, seed=1, device="cpu")
    learners = [begin(task, rows, i) for i, rows in enumerate(clouds)]
    judge = task.evaluator(held_out)
    parameters = task.initial()
    before = judge.evaluate(parameters)["accuracy"]
    for number in range(1, 9):
        parameters = average(learners, parameters, number)
    assert judge.evaluate(parameters)["accuracy"] >= 0.96 > before
    # Batches of 32: the mean of 16, 11, 8, 5 and 4 steps a round, weighted by rows.
    steps = sum(len(rows[0]) * -(-len(rows[0]) // 32) for rows in clouds) / 1350
    counted = float(parameters["2.num_batches_tracked"][0])
    # It is rounded whenever it is written, so each round is the same steps on from a whole number.
    assert abs(counted - 8 * steps) <= 8 * 0.5
    assert parameters["2.running_var"].min() > 0
    model = task.module(parameters)
    assert not model.training
    with torch.no_grad():
        assert evaluate(model, held_out)["accuracy"] >= 0.96


def test_a_round_repeats_and_leaves_the_caller_s_random_numbers_alone() -> None:
    def noisy(model: nn.Module, data: torch.Tensor, context: Context) -> float:
        with torch.no_grad():
            model.weight += torch.rand(()) + np.random.rand() + random.random()  # noqa: NPY002
            model.bias += torch.rand((), generator=context.generator)
        return float(context.seed % 1000)

    task = linear(train=noisy)
    parameters = task.initial()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    first = begin(task).train(parameters, 3)
    np.testing.assert_array_equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    learner = begin(linear(train=noisy))
    other_round = learner.train(parameters, 4)
    again = learner.train(parameters, 3)
    other_cloud = begin(task, cloud=1).train(parameters, 3)
    for name in parameters:
        assert first.update[name].tobytes() == again.update[name].tobytes()
        assert not np.array_equal(first.update[name], other_round.update[name])
        assert not np.array_equal(first.update[name], other_cloud.update[name])
    assert (first.loss, first.rows) == (again.loss, 3)


def test_training_is_told_where_and_when_it_is() -> None:
    seen: list[Context] = []

    def look(model: nn.Module, data: object, context: Context) -> float:
        assert model.training
        seen.append(context)
        return 1.0

    begin(linear(train=look), cloud=4).train(linear().initial(), 9)
    assert (seen[0].round, seen[0].cloud, seen[0].device) == (9, 4, torch.device("cpu"))


def test_every_cloud_starts_from_the_same_model() -> None:
    torch.manual_seed(1)
    one = linear(seed=3)
    torch.manual_seed(2)
    other, different = linear(seed=3), linear(seed=4)
    assert one.describe() == other.describe() == one.local(ROW, cloud=0).describe()
    assert json.loads(json.dumps(one.describe())) == one.describe()
    assert one.describe()["initial"] != different.describe()["initial"]
    for name, array in one.initial().items():
        assert array.tobytes() == other.initial()[name].tobytes()
    # What a caller does to its copy stays with it.
    one.initial()["weight"].fill(7.0)
    assert one.initial()["weight"].max() < 7


def test_adapters_travel_without_their_base() -> None:
    def adapted(scale: float) -> nn.Module:
        base = nn.Linear(2, 2).requires_grad_(False)
        with torch.no_grad():
            base.weight *= scale
        return nn.Sequential(base, nn.Linear(2, 1))

    def fit(model: nn.Module, data: torch.Tensor, context: Context) -> torch.Tensor:
        optimiser = torch.optim.Adam(model.parameters(), weight_decay=0.1)
        loss = model(data).sum()
        loss.backward()
        optimiser.step()
        return loss

    task = linear(model=lambda: adapted(1.0), train=fit)
    assert list(task.initial()) == list(run(task).update) == ["1.weight", "1.bias"]
    assert run(task).update["1.bias"].any()
    # The base is no part of the update, but clouds of different bases do not begin.
    assert task.describe() != linear(model=lambda: adapted(2.0), train=fit).describe()


def test_a_base_that_training_changes_is_refused() -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 1))

    def unfreeze(model: nn.Module, data: object, context: Context) -> float:
        with torch.no_grad():
            model[0].bias += 1
        return 0.0

    def restore(model: nn.Module, data: object, context: Context) -> float:
        model.load_state_dict(model.state_dict())  # as early stopping does: written, and the same
        return 0.0

    with pytest.raises(vs.ParameterError, match=r"train changed 0\.bias, which does not travel"):
        run(linear(model=model, train=unfreeze))
    run(linear(model=model, train=restore))


class Counting(nn.Module):
    """A model whose factory draws from something that nobody seeds."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        Counting.calls += 1
        self.weight = nn.Parameter(torch.full((2,), float(Counting.calls)))


def test_a_factory_that_makes_other_models_is_refused() -> None:
    with pytest.raises(vs.ParameterError, match="other initial values than before"):
        begin(linear(model=Counting))
    sizes = iter([1, 2])
    with pytest.raises(vs.ParameterError, match="other names, shapes or types than before"):
        begin(linear(model=lambda: nn.Linear(2, next(sizes))))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train": lambda *_: None}, "train returned nothing; it must return the mean"),
        ({"train": lambda *_: float("nan")}, r"diverged at cloud 1 in round 1: the loss is nan"),
        ({"train": lambda *_: torch.tensor(float("inf"))}, "the loss is inf; lower the"),
        ({"train": lambda *_: {"loss": 1.0}}, "train returned a dict; it must return the mean"),
        ({"train": lambda *_: torch.zeros(2)}, "train returned a Tensor; it must return"),
        ({"train": lambda *_: "0.5"}, "train returned a str"),
        ({"model": lambda: 3}, r"model\(\) returned an int; it must return a torch"),
        ({"model": nn.ReLU}, "nothing to average"),
        ({"rows": lambda _: 0}, "cloud 1 has 0 rows; must be 1 to 1048576"),
        ({"rows": lambda _: 2**20 + 1}, "cloud 1 has 1048577 rows"),
        ({"rows": lambda _: 2.5}, r"rows\(data\) is 2\.5; it must be a whole number"),
        ({"model": nn.Linear(2, 1)}, r"model is a module; .*Task\(model=Linear"),
        ({"train": None}, "train is None; it must be a function"),
        ({"evaluate": 3}, "evaluate is an int; it must be a function, or None"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"device": "gpu"}, 'device is .gpu.; use "auto", "cpu"'),
        ({"device": 3}, 'device is an int; it must be "auto"'),
    ],
)
def test_a_task_that_cannot_be_trained_says_why(options: dict[str, Any], words: str) -> None:
    with pytest.raises(vs.ParameterError, match=words):
        run(linear(**options))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_a_round_repeats_from_the_same_initial_model() -> None:
    clouds, _ = digits()
    task = vs.Task(make_model, train, seed=1, device="cuda")
    parameters = task.initial()
    assert task.describe() == vs.Task(make_model, train, seed=1, device="cpu").describe()
    learner = begin(task, clouds[0])
    before = torch.cuda.get_rng_state()
    results = [learner.train(parameters, 1) for _ in range(2)]
    assert torch.equal(torch.cuda.get_rng_state(), before)
    for name in parameters:
        np.testing.assert_array_equal(results[0].update[name], results[1].update[name])


def test_losses_may_be_tensors() -> None:
    for loss in (1, np.float32(1), torch.tensor(1.0, requires_grad=True), torch.ones(1)):
        assert run(linear(train=lambda *_, loss=loss: loss)).loss == 1.0


def test_an_update_that_is_not_finite_is_named() -> None:
    def spoil(model: nn.Module, data: object, context: Context) -> float:
        with torch.no_grad():
            model.bias.fill_(float("inf"))
        return 0.5

    with pytest.raises(vs.ParameterError, match=r"diverged at cloud 1 .* update of bias"):
        run(linear(train=spoil))


def test_a_model_that_training_replaces_or_moves_is_refused() -> None:
    def move(model: nn.Module, data: object, context: Context) -> float:
        model.to("meta")
        return 0.5

    def halve(model: nn.Module, data: object, context: Context) -> float:
        model.half()
        return 0.5

    with pytest.raises(vs.ParameterError, match=r"is on meta; .*use context\.device in train"):
        run(linear(train=move))
    with pytest.raises(vs.ParameterError, match="change the model that it is given in place"):
        run(linear(train=halve))


def test_clouds_are_counted_from_0() -> None:
    with pytest.raises(vs.ParameterError, match="cloud is -1; clouds are counted from 0"):
        linear().local(ROW, cloud=-1)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (0.9, "evaluate returned a float; it must return numbers by name"),
        ({1: 0.9}, "evaluate returned a dict"),
        ({"auc": float("nan")}, "evaluate's auc is nan; it must be finite"),
        ({"auc": [0.9, 0.8]}, "evaluate's auc is a list; it must be one number"),
    ],
)
def test_an_evaluation_that_gives_no_numbers_says_so(returned: object, words: str) -> None:
    task = linear(evaluate=lambda _model, _data: returned)
    with pytest.raises(vs.ParameterError, match=words):
        task.evaluator(ROW).evaluate(task.initial())


def test_without_an_evaluation_there_is_no_evaluator() -> None:
    with pytest.raises(vs.ParameterError, match=r"no evaluate; give one: Task\(evaluate"):
        linear().evaluator(ROW)


def test_sensitivity_is_the_update_s_magnitude() -> None:
    def step(model: nn.Module, data: object, context: Context) -> float:
        with torch.no_grad():
            model.weight += torch.tensor([[-2.0, 0.5]])
        return 0.5

    task = linear(train=step)
    learner = begin(task)
    result = learner.train(task.initial(), 1)
    np.testing.assert_allclose(
        learner.sensitivity("magnitude", task.initial(), result), [1, 0.25, 0], atol=1e-6
    )
    with pytest.raises(vs.ParameterError, match=r"sensitivity is .fisher., which needs"):
        learner.sensitivity("fisher", task.initial(), result)


def test_statistics_are_the_number_of_rows() -> None:
    sums = linear().local(ROW, cloud=0).statistics()
    assert list(sums) == [ROWS]
    assert sums[ROWS].tolist() == [3.0]


def test_rows_are_counted_where_they_can_be() -> None:
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.zeros(10, 2)), batch_size=4
    )
    part = torch.utils.data.DataLoader(
        loader.dataset, batch_size=4, sampler=torch.utils.data.SubsetRandomSampler([1, 5, 6])
    )
    columns = (np.zeros((7, 2)), torch.zeros(7))
    assert [count_rows(one) for one in (loader, part, columns)] == [10, 3, 7]
    assert count_rows({"x": columns[0], "y": columns[1]}) == 7
    assert count_rows(columns[0]) == 7
    assert count_rows(["a text", "another"]) == 2
    # The columns of a table, or its rows: two rows and seven rows are not the same weight.
    for doubtful in (list(columns), (np.zeros(3), np.zeros(4)), (), 5, iter([1])):
        with pytest.raises(vs.ParameterError, match=r"cannot be told; say it: Task\(rows="):
            count_rows(doubtful)


def test_veilsum_is_there_without_pytorch_and_a_task_says_what_is_missing() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import veilsum as vs\n"
        "try: vs.Task(model=None, train=None)\n"
        "except vs.BackendUnavailableError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "a Task needs the Python package 'torch'" in done.stdout
    assert "pip install '.[train]'" in done.stdout
