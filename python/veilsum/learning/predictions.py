"""`vs.Predictions`: what a model said of rows, and what was true; scores and a report come of it.

Learning room. NumPy alone; torch tensors are taken as they are. One class for the three kinds of
outcome (yes or no, several classes, a number), so that `veilsum train` and a `Task` are judged
alike.

What `details` returns goes into reports, which are passed on. So nothing in it stands for a single
row: groups of fewer than `FEWEST_ROWS` rows are left out or not told apart, points of curves are
at least that many rows from each other, and where axes end the few lowest and highest numbers have
no say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import counted, shown, type_name
from veilsum.errors import ParameterError
from veilsum.learning import metrics
from veilsum.learning.metrics import Record
from veilsum.run_names import CLASSES, NUMBER, YES_OR_NO

__all__ = ["FEWEST_ROWS", "Predictions"]

FEWEST_ROWS = 5
"""Of a group in a report: what is said of a smaller one would be said of its rows."""

CURVE_POINTS = 200
"""Of a curve in a report, at most; more are not told apart on a screen."""

_SUM_ERROR = 1e-2
"""Probabilities of a row sum to 1 this closely: bfloat16 has eight bits."""

_MOST_BINS = 20
_PART_ROWS = 20
_RESIDUAL_SPAN = 3.0
"""Residuals are shown up to so many times their root mean square."""


@dataclass(frozen=True)
class Predictions:
    """What a model said of rows, beside what was true: an evaluation may return it.

    Made by `yes_or_no`, `classes` or `numbers`. Where a `Task`'s `evaluate` returns one, records
    hold its scores, with what guessing without a model gives, and the report has its curves.

    Parameters
    ----------
    outcome : str
        "yes_or_no", "classes" or "number".
    truth : ndarray, shape (rows,)
        Labels, or numbers.
    said : ndarray, shape (rows,), or (rows, classes)
        Probabilities, or numbers.
    names : tuple of str
        Names of the classes; empty otherwise.
    unit : str
        Of numbers.
    log : bool
        Whether numbers are shown on a logarithmic scale.

    Examples
    --------
    >>> import veilsum as vs
    >>> said = vs.Predictions.yes_or_no([0, 1, 1], [0.2, 0.4, 0.9])
    >>> said.scores()["auc"]
    1.0
    """

    outcome: str
    truth: NDArray[Any] = field(repr=False)
    said: NDArray[np.float64] = field(repr=False)
    names: tuple[str, ...] = ()
    unit: str = ""
    log: bool = False

    @classmethod
    def yes_or_no(cls, labels: Any, probabilities: Any) -> Predictions:
        """Judge probabilities of a yes.

        Parameters
        ----------
        labels : array or tensor, shape (rows,)
            0 or 1.
        probabilities : array or tensor, shape (rows,) or (rows, 1)
            Of label 1, from 0 to 1: `torch.sigmoid` of what a network says.

        Raises
        ------
        veilsum.ParameterError
            When there are no rows, or one is something else.
        """
        said = _column("probabilities", probabilities)
        _check_probabilities(said, "torch.sigmoid")
        return cls(YES_OR_NO, _labels(labels, len(said), 2), said)

    @classmethod
    def classes(cls, labels: Any, probabilities: Any, names: Sequence[str] = ()) -> Predictions:
        """Judge probabilities of several classes.

        Parameters
        ----------
        labels : array or tensor, shape (rows,)
            Which class each row is of, from 0.
        probabilities : array or tensor, shape (rows, classes)
            Each row from 0 to 1 and 1 in sum: `model(inputs).softmax(1)`.
        names : sequence of str
            The classes' names; their numbers by default.

        Raises
        ------
        veilsum.ParameterError
            When there are no rows, or one is something else.
        """
        said = _numbers("probabilities", probabilities)
        if said.ndim != 2 or said.shape[1] < 2:
            raise ParameterError(
                f"probabilities have shape {said.shape}; they must be (rows, classes)"
            )
        _check_probabilities(said, "softmax")
        if np.abs(said.sum(axis=1) - 1).max() > _SUM_ERROR:
            raise ParameterError(
                "probabilities of a row do not sum to 1; take the softmax of what the model says"
            )
        named = tuple(str(name) for name in names) or tuple(map(str, range(said.shape[1])))
        if len(named) != said.shape[1] or len(set(named)) != len(named):
            raise ParameterError(
                f"{len(named)} names do not fit {said.shape[1]} classes; each needs one of its own"
            )
        return cls(CLASSES, _labels(labels, len(said), len(named)), said, named)

    @classmethod
    def numbers(
        cls, numbers: Any, predicted: Any, unit: str = "", *, log: bool = False
    ) -> Predictions:
        """Judge predicted numbers.

        Parameters
        ----------
        numbers : array or tensor, shape (rows,) or (rows, 1)
            What is true.
        predicted : array or tensor, shape (rows,) or (rows, 1)
            What was said.
        unit : str
            Of both, for reports.
        log : bool
            Show them on a logarithmic scale; all must be above 0 then. Scores stay as they are.

        Raises
        ------
        veilsum.ParameterError
            When there are no rows, or one is something else.
        """
        truth, said = _column("numbers", numbers), _column("predicted", predicted)
        if truth.shape != said.shape:
            raise ParameterError(f"{len(said)} predictions do not fit {len(truth)} numbers")
        if log and min(truth.min(), said.min()) <= 0:
            raise ParameterError("log=True needs numbers above 0; leave it out")
        return cls(NUMBER, truth, said, unit=unit, log=log)

    def __len__(self) -> int:
        return len(self.truth)

    def scores(self) -> Record:
        """Return the scores by name, as `veilsum.learning.metrics` has them, and "outcome"."""
        found: Any
        if self.outcome == YES_OR_NO:
            found = metrics.scores(self.truth, self.said)
        elif self.outcome == CLASSES:
            found = metrics.class_scores(self.truth, self.said, self.names)
        else:
            found = metrics.number_scores(self.truth, self.said)
        return {"outcome": self.outcome} | asdict(found)

    def details(self) -> Record:
        """Return curves, calibration, confusion or binned counts, for a report."""
        if self.outcome == YES_OR_NO:
            found = _of_yes_or_no(self.truth, self.said)
        elif self.outcome == CLASSES:
            found = self._of_classes()
        else:
            found = self._of_numbers()
        return {"outcome": self.outcome, "rows": len(self)} | found

    def _of_classes(self) -> Record:
        said = self.said.argmax(axis=1)
        counted = metrics.confusion(self.truth, said, len(self.names))
        return {
            "classes": list(self.names),
            "confusion": [_rounded_off(row) for row in counted],
            "each_class": {
                name: _of_yes_or_no((self.truth == i).astype(np.int64), self.said[:, i])
                for i, name in enumerate(self.names)
            },
            # Of the likeliest class: how sure the model is, and how often it is right.
            **_calibration((said == self.truth).astype(np.int64), self.said.max(axis=1)),
        }

    def _of_numbers(self) -> Record:
        order = np.argsort(self.said, kind="stable")
        parts = np.array_split(order, min(10, max(1, len(order) // _PART_ROWS)))
        enough = len(order) >= FEWEST_ROWS
        return {
            "unit": self.unit,
            "log": self.log,
            "parts": [
                {
                    "rows": len(part),
                    "predicted": float(self.said[part].mean()),
                    "observed": float(self.truth[part].mean()),
                }
                for part in parts
                if enough
            ],
            "counts": self._counts() if enough else None,
            "residuals": self._residuals() if enough else None,
        }

    def _counts(self) -> Record:
        """Count rows by what is true (first index) and by what was said of them (second)."""
        both = np.concatenate([self.truth, self.said])
        # Ends follow from the fifth number from below and above, rounded: outliers have no say.
        beyond = max(0.005, FEWEST_ROWS / len(both))
        low, high = np.quantile(both, [min(beyond, 0.5), max(1 - beyond, 0.5)])
        low, high = _round_ends(float(low), float(high), self.log)
        bins = min(_MOST_BINS, max(4, len(self) // 15))
        edges = np.geomspace(low, high, bins + 1) if self.log else np.linspace(low, high, bins + 1)
        inner = edges[1:-1]
        of_truth, of_said = np.searchsorted(inner, self.truth), np.searchsorted(inner, self.said)
        counted = metrics.confusion(of_truth, of_said, bins)
        return {"edges": edges.tolist(), "rows": [_rounded_off(row) for row in counted]}

    def _residuals(self) -> Record | None:
        """Count rows by how much too high what was said is."""
        errors = self.said - self.truth
        span = _RESIDUAL_SPAN * float(np.sqrt(np.square(errors).mean()))
        if not span > 0:
            return None
        bins = 24 if len(errors) >= 480 else 12 if len(errors) >= 60 else 6
        edges = np.linspace(-span, span, bins + 1)
        counted = np.bincount(np.searchsorted(edges[1:-1], errors), minlength=bins)
        return {"edges": edges.tolist(), "rows": _rounded_off(counted)}


def _rounded_off(counted: NDArray[np.int64]) -> list[int | None]:
    """Return counts, None for those that are above 0 and would tell of single rows."""
    return [None if 0 < count < FEWEST_ROWS else int(count) for count in counted]


def _round_ends(low: float, high: float, log: bool) -> tuple[float, float]:
    """Move both ends of an axis outwards to numbers of two digits."""
    if log:
        return _outwards(low, abs(low), math.floor), _outwards(high, abs(high), math.ceil)
    if not low < high:
        around = abs(low) or 1.0
        low, high = low - around / 2, high + around / 2
    span = high - low
    return _outwards(low, span, math.floor), _outwards(high, span, math.ceil)


def _outwards(value: float, scale: float, way: Any) -> float:
    step = 10.0 ** (math.floor(math.log10(scale)) - 1)
    # Two ends at one number would be no axis; on a logarithmic scale, 0 is never reached.
    moved = float(way(value / step) * step)
    if moved == value:
        moved += step if way is math.ceil else -step
    return moved


def _calibration(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Record:
    bins = metrics.calibration(labels, probabilities)
    kept = [one for one in bins if one.rows >= FEWEST_ROWS]
    return {
        "calibration": [asdict(one) for one in kept],
        "calibration_left_out": sum(one.rows for one in bins) - sum(one.rows for one in kept),
        # Of all rows, those left out above too.
        "calibration_error": metrics.calibration_error(bins),
    }


def _of_yes_or_no(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Record:
    found = _calibration(labels, probabilities)
    found["positives"] = int(labels.sum())
    if labels.min() < labels.max():
        precision = metrics.precision_recall_curve(labels, probabilities)
        roc = metrics.roc_curve(labels, probabilities)
        found["roc"] = _thinned(roc).to_record()
        found["precision_recall"] = _thinned(precision).to_record()
        found["average_precision"] = metrics.average_precision(precision)
    return found


def _thinned(curve: metrics.Curve) -> metrics.Curve:
    """Return a curve whose points are at least `FEWEST_ROWS` rows from each other."""
    # A threshold has one row or more.
    return curve.thinned(min(CURVE_POINTS, max(2, (len(curve.x) - 1) // FEWEST_ROWS + 1)))


def _numbers(name: str, value: Any) -> NDArray[np.float64]:
    if hasattr(value, "detach"):
        # In double precision on the CPU: NumPy has no bfloat16.
        value = value.detach().cpu().double().numpy()
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ParameterError(f"{name} is {type_name(value)}; it must be numbers") from None
    if array.ndim == 0 or not len(array):
        raise ParameterError(f"{name} has no rows")
    if not np.isfinite(array).all():
        raise ParameterError(f"{name} has numbers that are not finite; training diverged")
    return array


def _column(name: str, value: Any) -> NDArray[np.float64]:
    array = _numbers(name, value)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ParameterError(f"{name} has shape {array.shape}; it must be one number a row")
    return array


def _labels(value: Any, rows: int, classes: int) -> NDArray[np.int64]:
    array = _column("labels", value)
    if len(array) != rows:
        raise ParameterError(
            f"{counted(rows, 'row')} of probabilities for {counted(len(array), 'label')}"
        )
    labels = array.astype(np.int64)
    if (labels != array).any() or labels.min() < 0 or labels.max() >= classes:
        raise ParameterError(f"labels must be whole numbers from 0 to {shown(classes - 1)}")
    return labels


def _check_probabilities(said: NDArray[np.float64], function: str) -> None:
    if said.min() < 0 or said.max() > 1:
        raise ParameterError(
            f"probabilities must be from 0 to 1; take the {function} of what the model says"
        )
