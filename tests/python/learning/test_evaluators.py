"""Tables of every kind of outcome: trained with the perceptron or a network of the user's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import veilsum as vs
from veilsum.data import Feature, Preprocessor, Study, local_moments
from veilsum.learning import metrics
from veilsum.learning.evaluators import tabular_evaluator
from veilsum.learning.model import build_network
from veilsum.learning.network_function import import_function
from veilsum.learning.options import ModelOptions, TrainingOptions
from veilsum.learning.tabular import TabularTask
from veilsum.options import check_section

CPU = torch.device("cpu")
FEATURES = tuple(Feature(name, "numeric", -4, 4) for name in "abc")
TARGET = Feature("weight", "numeric", 1, 1000, log=True, unit="kg")
SEED = 3

NETWORK = """
from torch import nn

def make(inputs, outputs):
    return nn.Sequential(nn.BatchNorm1d(inputs), nn.Linear(inputs, 16), nn.ReLU(),
                         nn.Linear(16, outputs))

def frozen(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 8).requires_grad_(False), nn.Tanh(),
                         nn.Linear(8, outputs))

def words(inputs, outputs):
    return "no network"

number = 3
"""


def study(kind: str, rows: int = 401) -> Study:
    generator = np.random.default_rng(1)
    values = generator.standard_normal((rows, 3)).clip(-4, 4)
    truth = values @ np.array([1.0, -2.0, 0.5])
    given: dict[str, Any] = {
        "name": kind, "title": kind, "source": "made up", "features": FEATURES, "values": values,
        "labels": (truth > 0).astype(np.int64), "outcome": "what was drawn",
    }  # fmt: skip
    if kind == "classes":
        given["labels"] = np.digitize(truth, [-1, 1])
        given["classes"] = ("low", "middle", "high")
    if kind == "number":
        given |= {"labels": np.zeros(rows, np.int64), "target": TARGET}
        given["numbers"] = np.exp(3.5 + 0.4 * truth)
    return Study(**given)


@pytest.fixture
def own_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModelOptions]:
    """Options that name a function of a module in the working folder."""
    (tmp_path / "my_network.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_network", raising=False)

    def options(function: str) -> ModelOptions:
        return ModelOptions(function=f"my_network:{function}")

    return options


def trained(
    rows: Study, model: ModelOptions, rounds: int = 1, **options: Any
) -> tuple[Any, metrics.Evaluator, dict[str, np.ndarray]]:
    """One cloud alone: its learner, its judge and what it has learned."""
    settings = TrainingOptions(**({"learning_rate": 0.02, "epochs": 8} | options))
    task = TabularTask(rows, model, settings, seed=SEED, cloud=0, device=CPU)
    learner = task.begin(task.statistics())
    parameters = learner.initial()
    for number in range(1, rounds + 1):
        update = learner.train(parameters, number).update
        parameters = {
            name: (array + update[name]).astype(np.float32) for name, array in parameters.items()
        }
    inputs = Preprocessor.fit(rows.features, local_moments(rows)).transform(rows)
    judge = tabular_evaluator(inputs, rows, model, seed=SEED, device=CPU)
    return learner, judge, parameters


PERCEPTRON = ModelOptions(hidden=(16,), dropout=0.0)


def test_classes_are_learned() -> None:
    learner, judge, parameters = trained(study("classes"), PERCEPTRON, rounds=3)
    assert parameters["2.bias"].shape == (3,)
    before, after = judge.evaluate(learner.initial()), judge.evaluate(parameters)
    assert after["accuracy"] > 0.9 > after["majority"]
    assert after["log_loss"] < before["log_loss"]
    assert [one["name"] for one in after["classes"]] == ["low", "middle", "high"]
    details = judge.details(parameters)
    assert [details["confusion"][i][i] for i in range(3)] == [
        round(one["recall"] * one["rows"]) for one in after["classes"]
    ]
    assert details["each_class"]["low"]["average_precision"] > 0.9
    json.dumps([after, details], allow_nan=False)


def test_numbers_are_learned_in_their_own_unit() -> None:
    rows = study("number")
    learner, judge, parameters = trained(rows, PERCEPTRON, rounds=3)
    scores = judge.evaluate(parameters)
    assert scores["r2"] > 0.9
    assert scores["rmse"] < 0.3 * scores["mean_rmse"]
    # The loss is of the scale [-1, 1]: whatever the unit, a guess in range costs at most 4.
    assert learner.train(learner.initial(), 1).loss < 4
    details = judge.details(parameters)
    parts = details["parts"]
    assert len(parts) == 10
    assert sum(one["rows"] for one in parts) == 401
    assert parts[0]["observed"] < 10 < 100 < parts[-1]["observed"]
    json.dumps([scores, details], allow_nan=False)


def test_a_yes_or_no_has_curves_and_calibration() -> None:
    _, judge, parameters = trained(study("binary"), PERCEPTRON, rounds=3)
    scores, details = judge.evaluate(parameters), judge.details(parameters)
    assert scores["accuracy"] > 0.95 > scores["majority"]
    roc = details["roc"]
    assert len(roc["x"]) <= 200
    x, y = np.array(roc["x"]), np.array(roc["y"])
    assert (np.diff(x) * (y[1:] + y[:-1]) / 2).sum() == pytest.approx(scores["auc"], abs=0.01)
    assert details["calibration_error"] < 0.1
    json.dumps([scores, details], allow_nan=False)


def test_what_is_not_yes_or_no_is_part_of_what_clouds_must_describe_alike() -> None:
    options = TrainingOptions()

    def describe(rows: Study, model: ModelOptions = PERCEPTRON) -> dict[str, Any]:
        task = TabularTask(rows, model, options, seed=SEED, cloud=0, device=CPU)
        return json.loads(json.dumps(task.describe()))

    assert set(describe(study("binary"))) == {"features"}
    assert describe(study("classes"))["classes"] == ["low", "middle", "high"]
    assert describe(study("number"))["target"]["high"] == 1000


def test_a_network_of_one_s_own_trains_with_its_batch_norm(
    own_network: Callable[[str], ModelOptions],
) -> None:
    # 401 rows in batches of 40 leave one over, which batch normalisation could do nothing with.
    model = own_network("make")
    learner, judge, parameters = trained(study("classes"), model, rounds=2, batch_size=40)
    assert parameters["0.num_batches_tracked"].tolist() == [2 * 8 * 10]
    assert learner.tensors.averaged == {
        "0.running_mean", "0.running_var", "0.num_batches_tracked",
    }  # fmt: skip
    assert judge.evaluate(parameters)["accuracy"] > 0.8
    result = learner.train(parameters, 3)
    for kind in ("magnitude", "gradient", "fisher"):
        scores = learner.sensitivity(kind, parameters, result)
        assert scores.shape == (sum(array.size for array in parameters.values()),)
        assert scores.max() == 1.0


def test_what_a_network_froze_is_the_same_everywhere(
    own_network: Callable[[str], ModelOptions],
) -> None:
    model, rows = own_network("frozen"), study("binary")
    _, judge, parameters = trained(rows, model, rounds=4)
    assert list(parameters) == ["2.weight", "2.bias"]
    # The judge made a network of its own: with other frozen weights it would see noise.
    assert judge.evaluate(parameters)["accuracy"] > 0.85
    task = TabularTask(rows, model, TrainingOptions(), seed=SEED, cloud=0, device=CPU)
    other = TabularTask(rows, model, TrainingOptions(), seed=SEED + 1, cloud=0, device=CPU)
    assert task.describe() == task.describe() != other.describe()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "no_such_module:make",
            r"there is no module no_such_module, neither in .* run the command",
        ),
        ("my_network:none", r"my_network has no none; it has make, frozen, words"),
        ("my_network:number", "which is an int and no function"),
        ("broken:make", r"broken cannot be imported: ZeroDivisionError: division by zero"),
        ("needy:make", r"it needs the module no_such_thing, which is not installed here"),
    ],
)
def test_a_function_that_cannot_be_had_is_a_sentence(
    own_network: Callable[[str], ModelOptions], tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "needy.py").write_text("import no_such_thing\n")
    path = list(sys.path)
    with pytest.raises(vs.ParameterError, match=words):
        import_function(name)
    assert sys.path == path


def test_each_folder_has_its_own_module_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two projects in one process: the second must not train the first one's network."""
    for number in (1, 2, 1):
        folder = tmp_path / str(number)
        folder.mkdir(exist_ok=True)
        (folder / "net_of_a_project.py").write_text(f"def make(a, b):\n    return {number}\n")
        monkeypatch.chdir(folder)
        assert import_function("net_of_a_project:make")(1, 1) == number


def test_a_function_that_makes_no_network_is_refused(
    own_network: Callable[[str], ModelOptions],
) -> None:
    with pytest.raises(vs.ParameterError, match=r"my_network:words returned a str; it must return"):
        build_network(own_network("words"), 3)


@pytest.mark.parametrize("name", ["my_network", "my_network:", ":make", "my network:make", "a:b:c"])
def test_a_function_is_named_with_its_module(name: str) -> None:
    with pytest.raises(vs.ParameterError, match=r'model\.function is .*must be "module:function"'):
        check_section("model", ModelOptions(function=name))
    check_section("model", ModelOptions(function="a.b:C.make"))


def test_a_model_that_predicts_no_numbers_has_diverged() -> None:
    for kind in ("binary", "classes", "number"):
        _, judge, parameters = trained(study(kind), PERCEPTRON)
        parameters["0.weight"] = np.full_like(parameters["0.weight"], np.nan)
        with pytest.raises(vs.ParameterError, match="not finite; training diverged"):
            judge.evaluate(parameters)
