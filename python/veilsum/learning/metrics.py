"""What is measured of predictions: scores, curves and calibration.

Learning room. NumPy alone: nothing here knows a network (`evaluators.py` runs them).

Beside each kind of score stands what guessing without a model gives, on the same rows: always the
commonest label, or always the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import check_type, shown
from veilsum.errors import ParameterError

Record = dict[str, Any]


class Evaluator(Protocol):
    """Scores a global model on rows that it was not trained on."""

    def evaluate(self, parameters: Mapping[str, NDArray[np.float32]]) -> Record:
        """Return the model's scores by name, for a round's record.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        """
        ...

    def details(self, parameters: Mapping[str, NDArray[np.float32]]) -> Record:
        """Return curves, calibration and the like, for a report; empty where there is none.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        """
        ...


def scores_by_cloud(
    evaluators: Mapping[str, Evaluator], parameters: Mapping[str, NDArray[np.float32]]
) -> dict[str, Record]:
    """Score one model on the rows of each cloud, for whoever plays all of them in one process.

    Parameters
    ----------
    evaluators : mapping of str to Evaluator
        Each cloud's name, and what scores on its rows.
    parameters : mapping of str to ndarray
        The global model.
    """
    return {name: one.evaluate(parameters) for name, one in evaluators.items()}


@dataclass(frozen=True)
class Scores:
    """Quality of probabilities of a yes-or-no outcome.

    Parameters
    ----------
    auc : float or None
        Area under the ROC curve; None where only one label is there.
    accuracy : float
        At threshold 0.5.
    log_loss : float
        Mean negative log-likelihood, natural logarithm.
    auc_standard_error : float or None
        Of the AUC, from the number of rows.
    majority : float
        Accuracy of always saying these rows' commoner label.
    """

    auc: float | None
    accuracy: float
    log_loss: float
    auc_standard_error: float | None
    majority: float


def scores(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Scores:
    """Score predicted probabilities.

    Parameters
    ----------
    labels : ndarray of int, shape (rows,)
        0 or 1.
    probabilities : ndarray, shape (rows,)
        Of label 1.

    Raises
    ------
    veilsum.ParameterError
        When there are no rows, or the two do not fit each other.
    """
    _check_binary("scores(labels, probabilities)", labels, probabilities)
    positives = int(labels.sum())
    negatives = len(labels) - positives
    # In single precision, 1 - p would be another number than what 0 was given.
    probabilities = probabilities.astype(np.float64)
    area = auc(labels, probabilities)
    return Scores(
        auc=area,
        accuracy=float(((probabilities >= 0.5) == labels).mean()),
        log_loss=_log_loss(np.where(labels == 1, probabilities, 1 - probabilities)),
        auc_standard_error=None if area is None else auc_standard_error(area, positives, negatives),
        majority=max(positives, negatives) / len(labels),
    )


def auc(labels: NDArray[np.int64], values: NDArray[np.float64]) -> float | None:
    """Return the area under the ROC curve: how often a 1 has the higher value than a 0.

    Parameters
    ----------
    labels : ndarray of int, shape (rows,)
        0 or 1.
    values : ndarray, shape (rows,)
        Higher for what is likelier 1; a tie counts half.

    Returns
    -------
    float or None
        From 0 to 1; None where only one label is there.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return None
    _, of_value, counts = np.unique(values, return_inverse=True, return_counts=True)
    ones = np.bincount(of_value, weights=labels, minlength=len(counts))
    zeros = counts - ones
    # Whole numbers and halves of them, below 2^53 for 10^7 rows of each label: exact.
    won = float((ones * (np.cumsum(zeros) - zeros / 2)).sum())
    return won / (positives * negatives)


def auc_standard_error(auc: float, positives: int, negatives: int) -> float:
    """Return the standard error of an AUC (Hanley and McNeil, Radiology 143, 1982).

    Parameters
    ----------
    auc : float
        From 0 to 1.
    positives, negatives : int
        Rows of each label, at least 1.
    """
    if positives < 1 or negatives < 1:
        raise ParameterError("an AUC needs rows of both labels")
    both_positive = auc / (2 - auc)
    both_negative = 2 * auc * auc / (1 + auc)
    variance = (
        auc * (1 - auc)
        + (positives - 1) * (both_positive - auc * auc)
        + (negatives - 1) * (both_negative - auc * auc)
    ) / (positives * negatives)
    return float(np.sqrt(max(variance, 0.0)))


@dataclass(frozen=True)
class OneClass:
    """How one class of several is told from the others.

    Parameters
    ----------
    name : str
        The class.
    rows : int
        Of the class.
    recall : float or None
        Share of its rows that are found; None where it has none.
    precision : float or None
        Share of the rows said to be of it that are; None where none is said to be.
    auc : float or None
        Of its probability, against all others; None where it has no rows, or all.
    auc_standard_error : float or None
        Of the AUC, from the number of rows.
    """

    name: str
    rows: int
    recall: float | None
    precision: float | None
    auc: float | None
    auc_standard_error: float | None


@dataclass(frozen=True)
class ClassScores:
    """Quality of probabilities of several classes.

    Parameters
    ----------
    auc : float or None
        Mean of the classes' own AUCs, each against all others; None where no class has one.
    auc_standard_error : float or None
        At most that: the mean of the classes' own, as if all erred together.
    accuracy : float
        Of the likeliest class.
    log_loss : float
        Mean negative log-likelihood, natural logarithm.
    majority : float
        Accuracy of always saying these rows' commonest class.
    classes : tuple of OneClass
        Each class.
    """

    auc: float | None
    auc_standard_error: float | None
    accuracy: float
    log_loss: float
    majority: float
    classes: tuple[OneClass, ...]


def class_scores(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], names: Sequence[str]
) -> ClassScores:
    """Score predicted probabilities of classes.

    Parameters
    ----------
    labels : ndarray of int, shape (rows,)
        Indices into `names`.
    probabilities : ndarray, shape (rows, classes)
        Each row sums to 1.
    names : sequence of str
        The classes.

    Raises
    ------
    veilsum.ParameterError
        When there are no rows, or the three do not fit each other.
    """
    call = "class_scores(labels, probabilities, names)"
    check_type(call, "labels", labels, np.ndarray)
    check_type(call, "probabilities", probabilities, np.ndarray)
    if not len(labels) or probabilities.shape != (len(labels), len(names)):
        raise ParameterError(
            f"probabilities {probabilities.shape} do not fit {len(labels)} labels of {len(names)} "
            "classes, or there are no rows"
        )
    said = probabilities.argmax(axis=1)
    found = []
    for i, name in enumerate(names):
        of_class = labels == i
        rows = int(of_class.sum())
        area = auc(of_class.astype(np.int64), probabilities[:, i])
        error = None if area is None else auc_standard_error(area, rows, len(labels) - rows)
        recall, precision = _share((said == i)[of_class]), _share(of_class[said == i])
        found.append(OneClass(name, rows, recall, precision, area, error))
    return ClassScores(
        auc=_mean([one.auc for one in found]),
        auc_standard_error=_mean([one.auc_standard_error for one in found]),
        accuracy=float((said == labels).mean()),
        log_loss=_log_loss(probabilities[np.arange(len(labels)), labels]),
        majority=max(one.rows for one in found) / len(labels),
        classes=tuple(found),
    )


@dataclass(frozen=True)
class NumberScores:
    """Quality of predicted numbers.

    Parameters
    ----------
    mae : float
        Mean absolute error, in the outcome's unit.
    rmse : float
        Root of the mean squared error, in the outcome's unit.
    r2 : float or None
        Share of the outcome's variance that is predicted; None where all rows have the same.
    mean_rmse : float
        The `rmse` of always saying these rows' mean.
    """

    mae: float
    rmse: float
    r2: float | None
    mean_rmse: float


def number_scores(numbers: NDArray[np.float64], predicted: NDArray[np.float64]) -> NumberScores:
    """Score predicted numbers.

    Parameters
    ----------
    numbers : ndarray, shape (rows,)
        What is true.
    predicted : ndarray, shape (rows,)
        What was said.

    Raises
    ------
    veilsum.ParameterError
        When there are no rows, or the two do not fit each other.
    """
    call = "number_scores(numbers, predicted)"
    check_type(call, "numbers", numbers, np.ndarray)
    check_type(call, "predicted", predicted, np.ndarray)
    if not len(numbers) or numbers.shape != predicted.shape:
        raise ParameterError(
            f"{predicted.shape} predictions do not fit {numbers.shape} numbers, or there are none"
        )
    errors = predicted - numbers
    squared = float(np.square(errors).mean())
    spread = float(np.square(numbers - numbers.mean()).mean())
    return NumberScores(
        mae=float(np.abs(errors).mean()),
        rmse=float(np.sqrt(squared)),
        r2=None if spread == 0 else 1 - squared / spread,
        mean_rmse=float(np.sqrt(spread)),
    )


@dataclass(frozen=True)
class Curve:
    """Points of a curve, one for each threshold, from the highest on.

    Parameters
    ----------
    x, y : ndarray, shape (points,)
        Coordinates, from 0 to 1.
    thresholds : ndarray, shape (points,)
        From where on a value counts as yes; infinite for the first point, where none does.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    thresholds: NDArray[np.float64]

    def thinned(self, points: int) -> Curve:
        """Return at most so many of the points, evenly chosen, both ends among them.

        Parameters
        ----------
        points : int
            At least 2.
        """
        if points < 2:
            raise ParameterError(f"points is {shown(points)}; a curve has at least 2")
        if len(self.x) <= points:
            return self
        chosen = np.rint(np.linspace(0, len(self.x) - 1, points)).astype(np.intp)
        return Curve(self.x[chosen], self.y[chosen], self.thresholds[chosen])

    def to_record(self) -> Record:
        """Return the coordinates as JSON holds them."""
        return {"x": self.x.tolist(), "y": self.y.tolist()}


def roc_curve(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Curve:
    """Return the share of 1s found (y) over the share of 0s taken for 1s (x).

    Parameters
    ----------
    labels : ndarray of int, shape (rows,)
        0 or 1, both present.
    probabilities : ndarray, shape (rows,)
        Of label 1.

    Raises
    ------
    veilsum.ParameterError
        When a label is missing, or the two do not fit each other.
    """
    thresholds, true, false = _counts("roc_curve", labels, probabilities)
    return Curve(false / false[-1], true / true[-1], thresholds)


def precision_recall_curve(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Curve:
    """Return the share of 1s among those taken for 1s (y) over the share of 1s found (x).

    Parameters
    ----------
    labels : ndarray of int, shape (rows,)
        0 or 1, both present.
    probabilities : ndarray, shape (rows,)
        Of label 1.

    Raises
    ------
    veilsum.ParameterError
        When a label is missing, or the two do not fit each other.
    """
    thresholds, true, false = _counts("precision_recall_curve", labels, probabilities)
    # Where nothing is taken for a 1, nothing is wrong.
    precision = np.ones(len(true))
    np.divide(true, true + false, out=precision, where=true + false > 0)
    return Curve(true / true[-1], precision, thresholds)


def average_precision(curve: Curve) -> float:
    """Return the precision averaged over recall, as steps, without interpolation.

    Parameters
    ----------
    curve : Curve
        As `precision_recall_curve` returned it, not thinned.
    """
    return float((np.diff(curve.x) * curve.y[1:]).sum())


@dataclass(frozen=True)
class CalibrationBin:
    """Rows of like probability, and how often they come true.

    Parameters
    ----------
    low, high : float
        Probabilities above low, to high; the first bin has its low too.
    rows : int
        At least 1.
    predicted : float
        Their mean probability.
    observed : float
        Share of them with label 1.
    """

    low: float
    high: float
    rows: int
    predicted: float
    observed: float


def calibration(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], bins: int = 10
) -> tuple[CalibrationBin, ...]:
    """Hold probabilities against what came true, in bins of equal width; empty bins are left out.

    Parameters
    ----------
    labels : ndarray of int, shape (rows,)
        0 or 1.
    probabilities : ndarray, shape (rows,)
        Of label 1, from 0 to 1.
    bins : int
        How many, at least 1.

    Raises
    ------
    veilsum.ParameterError
        When there are no rows, or the two do not fit each other.
    """
    _check_binary("calibration(labels, probabilities)", labels, probabilities)
    if bins < 1:
        raise ParameterError(f"bins is {shown(bins)}; must be at least 1")
    edges = np.linspace(0.0, 1.0, bins + 1)
    of_row = np.searchsorted(edges[1:-1], probabilities)
    return tuple(
        CalibrationBin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            rows=int((of_row == i).sum()),
            predicted=float(probabilities[of_row == i].mean()),
            observed=float(labels[of_row == i].mean()),
        )
        for i in range(bins)
        if (of_row == i).any()
    )


def calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Return the mean distance of predicted and observed shares, each row counting the same.

    Parameters
    ----------
    bins : sequence of CalibrationBin
        As `calibration` returned them.
    """
    rows = sum(one.rows for one in bins)
    return sum(one.rows * abs(one.predicted - one.observed) for one in bins) / rows


def confusion(
    labels: NDArray[np.int64], said: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Count rows by class (first index) and by what was said of them (second).

    Parameters
    ----------
    labels, said : ndarray of int, shape (rows,)
        From 0 to classes - 1.
    classes : int
        How many.
    """
    flat = np.bincount(labels * classes + said, minlength=classes * classes)
    return flat.reshape(classes, classes)


def _check_binary(call: str, labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> None:
    check_type(call, "labels", labels, np.ndarray)
    check_type(call, "probabilities", probabilities, np.ndarray)
    if not len(labels) or labels.shape != probabilities.shape:
        raise ParameterError(
            f"{probabilities.shape} probabilities do not fit {labels.shape} labels, or there are "
            "none"
        )


def _counts(
    function: str, labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return thresholds from the highest on, and how many 1s and 0s reach each."""
    _check_binary(f"{function}(labels, probabilities)", labels, probabilities)
    if labels.min() == labels.max():
        raise ParameterError(f"{function} needs rows of both labels")
    values, of_row, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    ones = np.bincount(of_row, weights=labels, minlength=len(counts))[::-1]
    true = np.concatenate([[0.0], np.cumsum(ones)])
    false = np.concatenate([[0.0], np.cumsum(counts[::-1] - ones)])
    return np.concatenate([[np.inf], values[::-1]]), true, false


def _log_loss(of_the_true: NDArray[np.float64]) -> float:
    # A probability of exactly 0 or 1 is a rounding: the loss stays finite.
    tiny = np.finfo(np.float64).eps
    return float(-np.log(np.clip(of_the_true, tiny, 1 - tiny)).mean())


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _share(hits: NDArray[np.bool_]) -> float | None:
    return float(hits.mean()) if len(hits) else None
