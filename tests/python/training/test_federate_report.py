"""`vs.federate` with each kind of outcome, to its report: whose numbers are scikit-learn's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from veilsum.cli import main
from veilsum.learning.predictions import FEWEST_ROWS
from veilsum.training import federate as module

torch = pytest.importorskip("torch")
nn = torch.nn
metrics = pytest.importorskip("sklearn.metrics")

LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "binary": lambda said, y: nn.functional.binary_cross_entropy_with_logits(said[:, 0], y.float()),
    "classes": nn.functional.cross_entropy,
    "number": lambda said, y: nn.functional.mse_loss(said[:, 0], y),
}


def rows_of(kind: str, rows: int, seed: int) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=generator)
    truth = x @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 0.5 * torch.randn(rows, generator=generator)
    labels = {"binary": (truth > 0).long(), "number": truth}
    return x, labels.get(kind, torch.bucketize(truth, torch.tensor([-1.0, 1.0])))


def said_of(kind: str, model: Any, x: Any) -> Any:
    said = model(x)
    return {"binary": torch.sigmoid(said), "number": said}.get(kind, said.softmax(1))


def evaluate_as(kind: str) -> Callable[[Any, Any], vs.Predictions]:
    def evaluate(model: Any, data: Any) -> vs.Predictions:
        x, y = data
        said = said_of(kind, model, x)
        if kind == "binary":
            return vs.Predictions.yes_or_no(y, said)
        if kind == "classes":
            return vs.Predictions.classes(y, said, ("low", "middle", "high"))
        return vs.Predictions.numbers(y, said, "mmol/l")

    return evaluate


def task_of(kind: str, evaluate: Any = None) -> vs.Task:
    def train(model: Any, data: Any, context: Any) -> Any:
        x, y = data
        optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
        for batch in torch.randperm(len(y), generator=context.generator).split(32):
            loss = LOSSES[kind](model(x[batch]), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return loss

    def network() -> Any:
        return nn.Linear(4, 3 if kind == "classes" else 1)

    return vs.Task(model=network, train=train, evaluate=evaluate, device="cpu")


def clouds_of(kind: str) -> list[Any]:
    return [rows_of(kind, rows, seed) for seed, rows in enumerate((120, 80, 160))]


def check_scores(kind: str, scores: dict[str, Any], model: Any, data: Any) -> None:
    """Whether scores are what scikit-learn says of a model's own predictions."""
    x, y = data
    with torch.no_grad():
        said = said_of(kind, model, x).double().numpy()
    true = y.numpy()
    # The model's sigmoid and softmax are single precision, and so are sums over them here.
    near: dict[str, float] = {"rel": 1e-6}
    if kind == "number":
        said = said[:, 0]
        assert scores["mae"] == pytest.approx(metrics.mean_absolute_error(true, said), **near)
        assert scores["rmse"] ** 2 == pytest.approx(metrics.mean_squared_error(true, said), **near)
        assert scores["r2"] == pytest.approx(metrics.r2_score(true, said), **near)
        return
    chosen = said.argmax(axis=1) if kind == "classes" else said[:, 0] >= 0.5
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(true, chosen), **near)
    of_true = said[np.arange(len(true)), true] if kind == "classes" else said[:, 0]
    loss = -np.log(of_true).mean() if kind == "classes" else metrics.log_loss(true, said[:, 0])
    assert scores["log_loss"] == pytest.approx(loss, rel=1e-5)
    assert scores["majority"] == np.bincount(true).max() / len(true)
    if kind == "binary":
        assert scores["auc"] == pytest.approx(metrics.roc_auc_score(true, said[:, 0]), **near)
    else:
        area = metrics.roc_auc_score(true, said, multi_class="ovr")
        # scikit-learn wants rows that sum to 1 and makes them so.
        assert scores["auc"] == pytest.approx(area, abs=1e-3)


@pytest.mark.parametrize("kind", ["binary", "classes", "number"])
def test_a_run_of_each_kind_to_its_report(kind: str, tmp_path: Path) -> None:
    clouds, held_out = clouds_of(kind), rows_of(kind, 150, 9)
    apart = [rows_of(kind, rows, 20 + rows) for rows in (60, 4, 90)]
    run = vs.federate(
        task_of(kind, evaluate_as(kind)), clouds, rounds=3, threads=1,
        held_out=held_out, held_out_by_cloud=apart, folder=tmp_path,
    )  # fmt: skip
    assert run.folder is not None
    assert run.folder.parent == tmp_path
    assert run.report == run.folder / "report.html"
    check_scores(kind, run.records[-1], run.model, held_out)
    summary = json.loads((run.folder / "run.json").read_text())
    assert summary["status"] == "finished"
    assert summary["final"]["veilsum"]["round"] == 3
    evaluation = json.loads((run.folder / "evaluation.json").read_text())
    for cloud, trained_on, theirs in zip(evaluation["clouds"], clouds, apart, strict=True):
        check_scores(kind, cloud["trained_on"]["scores"], run.model, trained_on)
        if len(theirs[1]) < FEWEST_ROWS:
            assert cloud["held_out"]["scores"] is None
        else:
            check_scores(kind, cloud["held_out"]["scores"], run.model, theirs)
    page = run.report.read_text()
    figures = {
        "binary": ("ROC curve", "Precision and recall", "Calibration"),
        "classes": ("ROC curves of each class", "What was said", "Calibration", "average prec"),
        "number": ("Predicted and true", "Errors on", "mean true, mmol/l"),
    }[kind]
    always = (
        "Who opened", "clouds who endorsed", "What travels", "Where the time goes",
        "Ranges of all tensors", "Scores at each cloud", "vs.federate", "by all 3 clouds together",
        "its held-out rows", "where it has 1 to 4", "Linear",
    )  # fmt: skip
    for words in (*figures, *always):
        assert words in page, words
    names = {one.name for one in (run.folder / "plots").iterdir()}
    expected = {
        "binary": {"auc.png", "roc.png", "precision_recall.svg", "calibration.png"},
        "classes": {"accuracy.png", "roc.png", "confusion.png", "calibration.svg"},
        "number": {"rmse.png", "r2.png", "predicted.png", "residuals.svg"},
    }[kind]
    assert expected | {"clouds.png", "bytes.png", "seconds.png"} <= names


def test_a_report_can_be_left_out_and_made_again(tmp_path: Path) -> None:
    task = task_of("number", evaluate_as("number"))
    run = vs.federate(task, clouds_of("number"), rounds=1, folder=tmp_path, report=False)
    assert run.folder is not None
    assert run.report is None
    assert not (run.folder / "report.html").exists()
    assert main(["train", "--report", str(run.folder)]) == 0
    page = (run.folder / "report.html").read_text()
    # No rows were held out; the clouds' own are scored.
    assert "no rows were held out" in page
    assert "the rows it trained on" in page
    assert "RMSE" in page


def test_scores_of_a_user_s_own(tmp_path: Path) -> None:
    def evaluate(model: Any, data: Any) -> dict[str, Any]:
        return {"worst/error": (model(data[0])[:, 0] - data[1]).abs().max(), "bias": 0.25}

    run = vs.federate(
        task_of("number", evaluate), clouds_of("number"), rounds=2, folder=tmp_path,
        held_out=rows_of("number", 30, 9),
    )  # fmt: skip
    assert run.report is not None
    page = run.report.read_text()
    for words in (f"{run.records[-1]['worst/error']:.4g}", "worst/error", "bias", "cloud 3"):
        assert words in page
    assert "How good the final model is" not in page
    names = {one.name for one in (run.report.parent / "plots").iterdir()}
    assert {"score-1.png", "score-2.png"} <= names


def test_a_task_without_an_evaluation(tmp_path: Path) -> None:
    run = vs.federate(task_of("number"), clouds_of("number"), rounds=1, folder=tmp_path)
    assert run.report is not None
    assert "None were made. The task has no evaluation." in run.report.read_text()


def test_an_evaluation_that_does_not_take_what_clouds_train_on(tmp_path: Path) -> None:
    def evaluate(model: Any, data: Any) -> vs.Predictions:
        return evaluate_as("number")(model, (data["x"], data["y"]))

    x, y = rows_of("number", 40, 9)
    run = vs.federate(
        task_of("number", evaluate), clouds_of("number"), rounds=1, folder=tmp_path,
        held_out={"x": x, "y": y}, held_out_by_cloud=[{"x": x, "y": y}] * 3,
    )  # fmt: skip
    assert run.report is not None
    page = run.report.read_text()
    assert "evaluation failed (TypeError) on what clouds train on" in page
    assert "its held-out rows" in page
    assert "rows it trained on" not in page


def test_a_run_that_claims_privacy_scores_no_training_rows(tmp_path: Path) -> None:
    pytest.importorskip("opacus")
    run = vs.federate(
        task_of("binary", evaluate_as("binary")), clouds_of("binary"), rounds=1, folder=tmp_path,
        held_out=rows_of("binary", 60, 9), aggregation={"weights": "uniform"},
        privacy={"distributed": True},
    )  # fmt: skip
    assert run.folder is not None
    evaluation = json.loads((run.folder / "evaluation.json").read_text())
    assert evaluation["clouds"] == []
    assert "without any noise" in evaluation["why_not"]
    assert evaluation["held_out"]["rows"] == 60


def test_a_report_that_cannot_be_made_costs_the_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> Path:
        raise vs.BackendUnavailableError("no matplotlib here")

    monkeypatch.setattr(module, "write_report", fail)
    with pytest.warns(vs.VeilsumWarning, match="is whole, but its report could not be made: no ma"):
        run = vs.federate(task_of("number"), clouds_of("number"), rounds=1, folder=tmp_path)
    assert run.folder is not None
    assert (run.folder / "model.safetensors").exists()
    assert run.report is None


def test_a_run_that_fails_says_so_in_its_folder(tmp_path: Path) -> None:
    def evaluate(model: Any, data: Any) -> dict[str, Any]:
        raise ZeroDivisionError("no rows")

    with pytest.raises(ZeroDivisionError):
        vs.federate(
            task_of("number", evaluate), clouds_of("number"), rounds=1, folder=tmp_path,
            held_out=rows_of("number", 40, 9),
        )  # fmt: skip
    (folder,) = tmp_path.iterdir()
    summary = json.loads((folder / "run.json").read_text())
    assert summary["status"] == "failed"
    assert "ZeroDivisionError" in summary["error"]


def test_wrong_calls_say_what_to_do(tmp_path: Path) -> None:
    clouds = clouds_of("number")
    with pytest.raises(vs.ParameterError, match="has 1 parts for 3 clouds; it needs one for each"):
        vs.federate(task_of("number"), clouds, rounds=1, held_out_by_cloud=clouds[:1])

    def evaluate(model: Any, data: Any) -> dict[str, Any]:
        return {"seconds": 1.0}

    with pytest.raises(vs.ParameterError, match="by the name seconds, which is a field of every"):
        vs.federate(
            task_of("number", evaluate), clouds, rounds=1, held_out=clouds[0], folder=tmp_path
        )
