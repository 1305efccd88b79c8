"""Scores, curves and calibration: by hand, at their edges, and against scikit-learn."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import veilsum as vs
from veilsum.learning import metrics

ROUNDING = 1e-12
"""Both sides add up at most some hundred doubles of order 1."""


def test_scores_by_hand() -> None:
    result = metrics.scores(np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9]))
    assert result.auc == 0.75
    assert result.accuracy == result.majority == 0.5
    expected = -np.mean(np.log([0.9, 0.4, 0.4, 0.9]))
    assert result.log_loss == pytest.approx(expected)


def test_auc_standard_error() -> None:
    # Hanley and McNeil's own example: 51 abnormal and 58 normal images, AUC 0.893, SE 0.032.
    assert metrics.auc_standard_error(0.893, 51, 58) == pytest.approx(0.032, abs=6e-4)
    assert metrics.auc_standard_error(1.0, 10, 10) == 0
    with pytest.raises(vs.ParameterError, match="both labels"):
        metrics.auc_standard_error(0.5, 0, 10)


def test_one_label_has_no_auc_but_an_accuracy() -> None:
    result = metrics.scores(np.ones(3, dtype=int), np.array([0.2, 0.7, 0.9]))
    assert result.auc is None
    assert result.auc_standard_error is None
    assert result.majority == 1.0
    assert result.accuracy == pytest.approx(2 / 3)
    json.dumps(asdict(result), allow_nan=False)


# Few different probabilities, so that ties are common; both ends are among them.
ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 8).map(lambda eighths: eighths / 8)),
    min_size=2,
    max_size=60,
).filter(lambda rows: len({label for label, _ in rows}) == 2)


@given(ROWS)
def test_an_auc_is_how_often_a_1_is_above_a_0(rows: list[tuple[int, float]]) -> None:
    ones = [value for label, value in rows if label]
    zeros = [value for label, value in rows if not label]
    won = sum((one > zero) + (one == zero) / 2 for one in ones for zero in zeros)
    labels, values = (np.array(part) for part in zip(*rows, strict=True))
    assert metrics.auc(labels, values) == won / (len(ones) * len(zeros))


@settings(deadline=None)  # the first call imports scikit-learn
@given(ROWS)
def test_binary_scores_and_curves_are_scikit_learn_s(rows: list[tuple[int, float]]) -> None:
    oracle = pytest.importorskip("sklearn.metrics")
    labels, values = (np.array(part) for part in zip(*rows, strict=True))
    found = metrics.scores(labels, values)
    assert found.auc == pytest.approx(oracle.roc_auc_score(labels, values), abs=ROUNDING)
    assert found.accuracy == pytest.approx(oracle.accuracy_score(labels, values >= 0.5))
    assert found.log_loss == pytest.approx(
        oracle.log_loss(labels, values, labels=[0, 1]), abs=ROUNDING, rel=ROUNDING
    )
    roc = metrics.roc_curve(labels, values)
    false, true, thresholds = oracle.roc_curve(labels, values, drop_intermediate=False)
    np.testing.assert_allclose(roc.x, false, atol=ROUNDING)
    np.testing.assert_allclose(roc.y, true, atol=ROUNDING)
    np.testing.assert_array_equal(roc.thresholds, thresholds)
    curve = metrics.precision_recall_curve(labels, values)
    precision, recall, thresholds = oracle.precision_recall_curve(labels, values)
    np.testing.assert_allclose(curve.x, recall[::-1], atol=ROUNDING)
    np.testing.assert_allclose(curve.y, precision[::-1], atol=ROUNDING)
    np.testing.assert_array_equal(curve.thresholds[1:], thresholds[::-1])
    assert metrics.average_precision(curve) == pytest.approx(
        oracle.average_precision_score(labels, values), abs=ROUNDING
    )


@settings(deadline=None)  # the first call imports scikit-learn
@given(ROWS, st.integers(1, 12))
def test_calibration_is_scikit_learn_s(rows: list[tuple[int, float]], bins: int) -> None:
    oracle = pytest.importorskip("sklearn.calibration")
    labels, values = (np.array(part) for part in zip(*rows, strict=True))
    found = metrics.calibration(labels, values, bins)
    observed, predicted = oracle.calibration_curve(labels, values, n_bins=bins)
    np.testing.assert_allclose([one.observed for one in found], observed, atol=ROUNDING)
    np.testing.assert_allclose([one.predicted for one in found], predicted, atol=ROUNDING)
    assert sum(one.rows for one in found) == len(rows)
    for one in found:
        assert one.low <= one.predicted <= one.high


def test_calibration_error_weighs_bins_by_rows() -> None:
    # Three rows said to be 0.2 of which one comes true, one said to be 0.9 that does.
    labels, values = np.array([1, 0, 0, 1]), np.array([0.2, 0.2, 0.2, 0.9])
    found = metrics.calibration(labels, values, 2)
    assert metrics.calibration_error(found) == pytest.approx((3 * (1 / 3 - 0.2) + 0.1) / 4)


def test_curves_can_be_thinned() -> None:
    labels = np.arange(1000) % 2
    curve = metrics.roc_curve(labels, np.linspace(0, 1, 1000))
    few = curve.thinned(50)
    assert len(few.x) == 50
    assert (few.x[0], few.y[0], few.x[-1], few.y[-1]) == (0, 0, 1, 1)
    assert set(few.x) <= set(curve.x)
    assert (np.diff(few.x) >= 0).all()
    assert curve.thinned(5000) is curve
    assert len(few.to_record()["x"]) == 50
    with pytest.raises(vs.ParameterError, match="points is 1; a curve has at least 2"):
        curve.thinned(1)


def classes(seed: int, rows: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, count, rows)
    raw = generator.random((rows, count)) + np.eye(count)[labels]
    return labels, raw / raw.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("count", [3, 10])
def test_class_scores_are_scikit_learn_s(count: int) -> None:
    oracle = pytest.importorskip("sklearn.metrics")
    labels, probabilities = classes(1, 300, count)
    names = [f"class {i}" for i in range(count)]
    found = metrics.class_scores(labels, probabilities, names)
    said = probabilities.argmax(axis=1)
    area = oracle.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert found.auc == pytest.approx(area, abs=ROUNDING)
    assert found.accuracy == oracle.accuracy_score(labels, said)
    assert found.log_loss == pytest.approx(oracle.log_loss(labels, probabilities))
    first = found.classes[0]
    alone = metrics.scores((labels == 0).astype(int), probabilities[:, 0])
    assert (first.auc, first.auc_standard_error) == (alone.auc, alone.auc_standard_error)
    errors = [one.auc_standard_error for one in found.classes]
    assert found.auc_standard_error == pytest.approx(np.mean(errors))
    precision, recall, _, rows = oracle.precision_recall_fscore_support(labels, said)
    assert [one.rows for one in found.classes] == rows.tolist()
    np.testing.assert_allclose([one.precision for one in found.classes], precision)
    np.testing.assert_allclose([one.recall for one in found.classes], recall)
    assert found.majority == rows.max() / 300
    np.testing.assert_array_equal(
        metrics.confusion(labels, said, count), oracle.confusion_matrix(labels, said)
    )


def test_a_class_without_rows_has_no_scores_and_spoils_none() -> None:
    labels, probabilities = np.array([0, 0, 1]), np.array([[0.8, 0.1, 0.1]] * 3)
    found = metrics.class_scores(labels, probabilities, ["a", "b", "c"])
    a, b, c = found.classes
    assert (c.rows, c.recall, c.precision, c.auc) == (0, None, None, None)
    assert (b.recall, b.precision, b.auc) == (0.0, None, 0.5)
    assert (a.recall, a.precision) == (1.0, pytest.approx(2 / 3))
    assert found.auc == 0.5
    json.dumps(asdict(found), allow_nan=False)


def test_number_scores_are_scikit_learn_s() -> None:
    oracle = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(2)
    numbers = 50 + 10 * generator.standard_normal(200)
    predicted = numbers + generator.standard_normal(200)
    found = metrics.number_scores(numbers, predicted)
    assert found.mae == pytest.approx(oracle.mean_absolute_error(numbers, predicted))
    assert found.rmse**2 == pytest.approx(oracle.mean_squared_error(numbers, predicted))
    assert found.r2 == pytest.approx(oracle.r2_score(numbers, predicted))
    assert found.mean_rmse == pytest.approx(numbers.std())


def test_numbers_that_are_all_the_same_have_no_variance_to_predict() -> None:
    found = metrics.number_scores(np.full(4, 2.5), np.array([2.5, 2.5, 3.5, 1.5]))
    assert (found.mae, found.r2, found.mean_rmse) == (0.5, None, 0.0)
    json.dumps(asdict(found), allow_nan=False)


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.scores(np.zeros(0, dtype=int), np.zeros(0)),
        lambda: metrics.scores(np.zeros(2, dtype=int), np.zeros(3)),
        lambda: metrics.calibration(np.zeros(2, dtype=int), np.zeros(3)),
        lambda: metrics.class_scores(np.zeros(2, dtype=int), np.ones((2, 3)) / 3, ["a", "b"]),
        lambda: metrics.number_scores(np.zeros(2), np.zeros(3)),
        lambda: metrics.number_scores(np.zeros(0), np.zeros(0)),
    ],
)
def test_what_does_not_fit_is_refused(call: object) -> None:
    with pytest.raises(vs.ParameterError, match="do not fit"):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("curve", [metrics.roc_curve, metrics.precision_recall_curve])
def test_a_curve_needs_both_labels(curve: object) -> None:
    with pytest.raises(vs.ParameterError, match="needs rows of both labels"):
        curve(np.ones(3, dtype=int), np.ones(3))  # type: ignore[operator]


def test_scores_of_each_cloud_are_its_own() -> None:
    class Fixed:
        def __init__(self, score: float) -> None:
            self.score = score

        def evaluate(self, parameters: object) -> metrics.Record:
            return {"accuracy": self.score}

        def details(self, parameters: object) -> metrics.Record:
            return {}

    found = metrics.scores_by_cloud({"cloud 1": Fixed(0.5), "cloud 2": Fixed(0.75)}, {})
    assert found == {"cloud 1": {"accuracy": 0.5}, "cloud 2": {"accuracy": 0.75}}
