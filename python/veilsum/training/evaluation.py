"""The final model's scores for the report: curves on held-out rows, and each cloud's own scores.

Training. Every number here is known because one process plays all parties: in a deployment, each
cloud scores the model on its own rows, and nobody else sees that. What is written holds no single
row's prediction (`veilsum.learning.predictions`), and no scores of a cloud of very few rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from veilsum.learning.metrics import Evaluator, Record
from veilsum.learning.predictions import FEWEST_ROWS
from veilsum.learning.task import Parameters
from veilsum.run_names import EVALUATION
from veilsum.training.run_directory import write_whole


@dataclass(frozen=True)
class Rows:
    """Rows that a model is scored on.

    Parameters
    ----------
    rows : int
        How many.
    judge : Evaluator
        Scores on them.
    """

    rows: int
    judge: Evaluator

    def scores(self, parameters: Parameters) -> Record:
        """Return the number of rows and the scores; None for those where rows are too few.

        Parameters
        ----------
        parameters : dict of str to ndarray
            The model.
        """
        enough = self.rows >= FEWEST_ROWS
        return {"rows": self.rows, "scores": self.judge.evaluate(parameters) if enough else None}


@dataclass(frozen=True)
class CloudRows:
    """A cloud's own rows.

    Parameters
    ----------
    name : str
        The cloud's.
    trained_on : Rows or None
        Its training rows; None where they are not to be scored.
    held_out : Rows or None
        Rows of it that nobody trained on; None where there are none.
    """

    name: str
    trained_on: Rows | None = None
    held_out: Rows | None = None


def evaluate_finally(
    number: int,
    parameters: Parameters,
    judge: Evaluator,
    clouds: Sequence[CloudRows],
    why_not: str = "",
) -> Record:
    """Judge the final model, for a report.

    Parameters
    ----------
    number : int
        The round after which it is the model.
    parameters : dict of str to ndarray
        The final model.
    judge : Evaluator
        Of the rows held out from all clouds.
    clouds : sequence of CloudRows
        Each cloud's own.
    why_not : str
        Why there are no scores of clouds, or not those of training rows; a sentence.
    """
    by_cloud: list[Record] = []
    for cloud in clouds:
        parts = {"trained_on": cloud.trained_on, "held_out": cloud.held_out}
        found = {what: rows.scores(parameters) for what, rows in parts.items() if rows is not None}
        if found:
            by_cloud.append({"name": cloud.name, **found})
    return {
        "round": number,
        "held_out": judge.details(parameters),
        "clouds": by_cloud,
        "why_not": why_not,
    }


def write_evaluation(folder: Path, evaluation: Record) -> None:
    """Write evaluation.json.

    Parameters
    ----------
    folder : Path
        The run's folder.
    evaluation : dict
        As `evaluate_finally` returned it.
    """
    write_whole(folder / EVALUATION, json.dumps(evaluation, allow_nan=False) + "\n")


PRIVATE = (
    "Scores on training rows follow from single rows without any noise, so a run that claims "
    "differential privacy leaves them out."
)
"""Why, where privacy is distributed."""
