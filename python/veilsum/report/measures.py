"""What scores are called and how they are written, for each kind of outcome.

Report layer, bottom. A record's "outcome" says the kind; without one, scores are numbers by names
that a user chose, and nothing is known of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from veilsum.run_names import CLASSES, NUMBER, YES_OR_NO

FIELDS = {
    "method", "round", "train_loss", "clipped", "clouds", "simulation", "bytes", "limits",
    "encrypted_fraction", "entropy", "opened_by", "zeroed", "skipped", "privacy", "seconds",
    "outcome",
}  # fmt: skip
"""Of records, beside scores."""

MISSING = "–"


@dataclass(frozen=True)
class Measure:
    """One score of a record.

    Parameters
    ----------
    key : str
        Its name in records.
    name : str
        For people.
    note : str
        What it is, and which way is better.
    digits : int
        After the point; 0 for four significant ones, and the outcome's unit after them.
    share : bool
        Whether a tile shows it as a percentage.
    guess : str
        Name in records of what guessing without a model gives; empty for none.
    guess_name : str
        For people.
    """

    key: str
    name: str
    note: str = ""
    digits: int = 0
    share: bool = False
    guess: str = ""
    guess_name: str = ""

    def show(self, value: Any, unit: str = "") -> str:
        """Write a score for people; a dash where there is none.

        Parameters
        ----------
        value : float or None
            The score.
        unit : str
            Of numbers.
        """
        if value is None:
            return MISSING
        if self.digits:
            return f"{value:.{self.digits}f}"
        text = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
        return f"{text} {unit}" if unit and self.key in _IN_UNIT else text


_IN_UNIT = ("rmse", "mae", "mean_rmse")

ACCURACY = Measure(
    "accuracy",
    "accuracy",
    "share of rows that are right; higher is better",
    4,
    share=True,
    guess="majority",
    guess_name="always the commonest label",
)
LOSS = Measure(
    "log_loss", "log loss", "mean negative log-likelihood, natural logarithm; lower is better", 4
)
AUC = Measure("auc", "AUC", "area under the ROC curve; higher is better, 0.5 is guessing", 4)
CLASS_AUC = Measure(
    "auc",
    "AUC",
    "mean over the classes, each against all others; higher is better, 0.5 is guessing",
    4,
)
RMSE = Measure(
    "rmse",
    "RMSE",
    "root of the mean squared error; lower is better",
    guess="mean_rmse",
    guess_name="always the mean",
)
MAE = Measure("mae", "MAE", "mean absolute error; lower is better")
R2 = Measure(
    "r2", "R²", "share of the variance that is predicted; higher is better, 0 is guessing", 4
)

MEASURES: dict[str, tuple[Measure, ...]] = {
    YES_OR_NO: (AUC, ACCURACY, LOSS),
    CLASSES: (ACCURACY, CLASS_AUC, LOSS),
    NUMBER: (RMSE, MAE, R2),
}
"""By kind of outcome; the first is the one that a run is told by."""


def kind_of(record: Mapping[str, Any]) -> str:
    """Return the kind of a record's outcome; empty where scores are a user's own, or none.

    Parameters
    ----------
    record : mapping
        As metrics.jsonl has it.
    """
    # Before version 0.2 only a yes or no was reported, and its records do not say so.
    old = {"auc", "accuracy", "log_loss"} <= record.keys()
    return str(record.get("outcome", YES_OR_NO if old else ""))


def measures_of(record: Mapping[str, Any]) -> tuple[Measure, ...]:
    """Return the scores that a record has, the most telling first.

    Parameters
    ----------
    record : mapping
        As metrics.jsonl has it.
    """
    known = MEASURES.get(kind_of(record))
    if known is not None:
        return known
    own = (name for name, value in record.items() if isinstance(value, (int, float)))
    return tuple(Measure(name, name.replace("_", " ")) for name in own if name not in FIELDS)


def signed(measure: Measure, difference: float, unit: str = "") -> str:
    """Write a difference of two scores; one that rounds to nothing has no minus.

    Parameters
    ----------
    measure : Measure
        The score.
    difference : float
        Of two of its values.
    unit : str
        Of an outcome that is a number.
    """
    text = f"{difference:+.5f}" if measure.digits else f"{difference:+.3g}"
    text = text.replace("-0.00000", "+0.00000")
    return f"{text} {unit}" if unit and measure.key in _IN_UNIT else text
