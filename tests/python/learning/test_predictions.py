"""What models said, for reports: every number is scikit-learn's, and none is of a single row."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import veilsum as vs
from veilsum.learning.predictions import FEWEST_ROWS

metrics = pytest.importorskip("sklearn.metrics")


def binary(rows: int = 300, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=rows)
    labels[:2] = 0, 1
    return labels, np.clip(0.3 * labels + 0.7 * generator.random(rows), 0, 1)


def on_curve(points: dict[str, Any], x: np.ndarray, y: np.ndarray) -> None:
    """Whether each point is one of the whole curve's."""
    whole = np.stack([x, y])
    for point in zip(points["x"], points["y"], strict=True):
        assert np.abs(whole - np.array(point)[:, None]).max(axis=0).min() < 1e-12


def test_a_yes_or_no() -> None:
    labels, said = binary()
    made = vs.Predictions.yes_or_no(labels, said)
    scores, details = made.scores(), made.details()
    assert scores["outcome"] == details["outcome"] == "yes_or_no"
    assert scores["auc"] == pytest.approx(metrics.roc_auc_score(labels, said))
    assert scores["majority"] == max(labels.mean(), 1 - labels.mean())
    false, true, _ = metrics.roc_curve(labels, said, drop_intermediate=False)
    on_curve(details["roc"], false, true)
    precision, recall, _ = metrics.precision_recall_curve(labels, said)
    on_curve(details["precision_recall"], recall, precision)
    assert details["average_precision"] == pytest.approx(
        metrics.average_precision_score(labels, said)
    )
    calibration_curve = pytest.importorskip("sklearn.calibration").calibration_curve
    observed, predicted = calibration_curve(labels, said, n_bins=10)
    assert [one["observed"] for one in details["calibration"]] == pytest.approx(list(observed))
    assert [one["predicted"] for one in details["calibration"]] == pytest.approx(list(predicted))
    assert details["calibration_left_out"] == 0
    json.dumps([scores, details], allow_nan=False)


def test_classes() -> None:
    generator = np.random.default_rng(2)
    labels = generator.integers(3, size=200)
    said = generator.dirichlet(np.ones(3), 200) * 0.5 + 0.5 * np.eye(3)[labels]
    made = vs.Predictions.classes(labels, said, ["a", "b", "c"])
    details, chosen = made.details(), said.argmax(axis=1)
    whole = metrics.confusion_matrix(labels, chosen)
    for mine, theirs in zip(details["confusion"], whole, strict=True):
        assert mine == [None if 0 < count < FEWEST_ROWS else count for count in theirs]
    for i, name in enumerate("abc"):
        false, true, _ = metrics.roc_curve(labels == i, said[:, i], drop_intermediate=False)
        on_curve(details["each_class"][name]["roc"], false, true)
        area = metrics.roc_auc_score(labels == i, said[:, i])
        assert made.scores()["classes"][i]["auc"] == pytest.approx(area)
    assert made.scores()["accuracy"] == pytest.approx(metrics.accuracy_score(labels, chosen))
    assert vs.Predictions.classes(labels, said).names == ("0", "1", "2")


@pytest.mark.parametrize("log", [False, True])
def test_numbers(log: bool) -> None:
    generator = np.random.default_rng(3)
    truth = np.exp(generator.normal(2, 1, 700))
    said = truth * np.exp(generator.normal(0, 0.4, 700))
    made = vs.Predictions.numbers(truth, said, "days", log=log)
    scores, details = made.scores(), made.details()
    assert scores["mae"] == pytest.approx(metrics.mean_absolute_error(truth, said))
    assert scores["rmse"] == pytest.approx(np.sqrt(metrics.mean_squared_error(truth, said)))
    assert scores["r2"] == pytest.approx(metrics.r2_score(truth, said))
    edges = np.array(details["counts"]["edges"])
    inside = [np.clip(one, edges[0], edges[-1]) for one in (truth, said)]
    counted, _, _ = np.histogram2d(*inside, bins=[edges, edges])
    residuals = np.array(details["residuals"]["edges"])
    assert residuals[-1] == pytest.approx(3 * scores["rmse"])
    errors, _ = np.histogram(np.clip(said - truth, residuals[0], residuals[-1]), bins=residuals)
    for mine, theirs in [
        *zip(details["counts"]["rows"], counted, strict=True),
        (details["residuals"]["rows"], errors),
    ]:
        assert mine == [None if 0 < count < FEWEST_ROWS else count for count in theirs]
    assert len(details["parts"]) == 10
    means = [part["observed"] for part in details["parts"]]
    order = np.argsort(said, kind="stable")
    assert means == pytest.approx([truth[part].mean() for part in np.array_split(order, 10)])
    json.dumps([scores, details], allow_nan=False)


def apart(points: dict[str, Any], steps: tuple[int, int]) -> list[int]:
    """How many rows lie between each two points of a ROC curve."""
    x, y = np.array(points["x"]), np.array(points["y"])
    return [round(rows) for rows in np.diff(x) * steps[0] + np.diff(y) * steps[1]]


@settings(max_examples=150)
@given(rows=st.integers(2, 120), seed=st.integers(0, 2**32), ties=st.booleans())
def test_nothing_stands_for_a_single_row(rows: int, seed: int, ties: bool) -> None:
    labels, said = binary(rows, seed)
    said = said.round(1) if ties else said
    details = vs.Predictions.yes_or_no(labels, said).details()
    positives = int(labels.sum())
    between = apart(details["roc"], (rows - positives, positives))
    assert sum(between) == rows
    assert min(between) >= FEWEST_ROWS or len(between) == 1
    assert all(one["rows"] >= FEWEST_ROWS for one in details["calibration"])
    left = details["calibration_left_out"] + sum(one["rows"] for one in details["calibration"])
    assert left == rows
    numbers = vs.Predictions.numbers(said + labels, said)
    details = numbers.details()
    assert all(part["rows"] >= FEWEST_ROWS for part in details["parts"])
    if rows < FEWEST_ROWS:
        assert details["counts"] is details["residuals"] is None
        return
    # Whatever the four lowest and the four highest numbers are, the axes end at the same places.
    both = np.concatenate([numbers.truth, numbers.said])
    order = np.argsort(both)
    both[order[:4]] -= 1000
    both[order[-4:]] += 1000
    other = vs.Predictions.numbers(both[:rows], both[rows:]).details()
    assert other["counts"]["edges"] == details["counts"]["edges"]
    for row in [*details["counts"]["rows"], (details["residuals"] or {}).get("rows", [])]:
        assert not {1, 2, 3, 4} & set(row)


@pytest.mark.parametrize("log", [False, True])
def test_numbers_that_are_all_alike_have_axes(log: bool) -> None:
    details = vs.Predictions.numbers([3.0] * 9, [3.0] * 9, log=log).details()
    low, *_, high = details["counts"]["edges"]
    assert low < 3 < high
    assert details["residuals"] is None


def test_tensors_are_taken_as_they_are() -> None:
    torch = pytest.importorskip("torch")
    said = torch.tensor([[0.25], [0.75]], dtype=torch.bfloat16, requires_grad=True)
    made = vs.Predictions.yes_or_no(torch.tensor([0, 1]), said)
    assert made.said.tolist() == [0.25, 0.75]
    # A softmax of half precision sums to 1 only nearly.
    rows = torch.randn(50, 30, dtype=torch.bfloat16).softmax(1)
    assert len(vs.Predictions.classes(torch.zeros(50, dtype=torch.int32), rows)) == 50


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: vs.Predictions.yes_or_no([0, 1], [-3.0, 2.0]), r"take the torch\.sigmoid"),
        (lambda: vs.Predictions.yes_or_no([0, 2], [0.1, 0.2]), "whole numbers from 0 to 1"),
        (lambda: vs.Predictions.yes_or_no([0, 0.5], [0.1, 0.2]), "whole numbers from 0 to 1"),
        (lambda: vs.Predictions.yes_or_no([0], [0.1, 0.2]), "2 rows of probabilities for 1 label"),
        (lambda: vs.Predictions.yes_or_no([], []), "has no rows"),
        (lambda: vs.Predictions.yes_or_no([0], [[0.1, 0.2]]), "must be one number a row"),
        (lambda: vs.Predictions.yes_or_no([0], "x"), "probabilities is a str"),
        (lambda: vs.Predictions.yes_or_no([0], [np.nan]), "not finite; training diverged"),
        (lambda: vs.Predictions.classes([0, 1], [0.1, 0.9]), r"must be \(rows, classes\)"),
        (lambda: vs.Predictions.classes([0], [[4.0, -1.0]]), "take the softmax"),
        (lambda: vs.Predictions.classes([0], [[0.4, 0.1]]), "do not sum to 1"),
        (lambda: vs.Predictions.classes([2], [[0.5, 0.5]]), "whole numbers from 0 to 1"),
        (lambda: vs.Predictions.classes([0], [[0.5, 0.5]], ["a"]), "1 names do not fit 2"),
        (lambda: vs.Predictions.classes([0], [[0.5, 0.5]], ["a", "a"]), "needs one of its own"),
        (lambda: vs.Predictions.numbers([1.0], [1.0, 2.0]), "2 predictions do not fit 1"),
        (lambda: vs.Predictions.numbers([0.0], [1.0], log=True), "needs numbers above 0"),
    ],
)
def test_what_is_no_prediction_is_refused(make: Any, words: str) -> None:
    with pytest.raises(vs.ParameterError, match=words):
        make()
