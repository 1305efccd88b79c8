"""Evaluators of networks on tables: one for each kind of outcome, behind `metrics.Evaluator`.

Learning room. Runs a network on held-out rows and has `metrics` score what it says. Knows no party
and no round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from veilsum.arguments import check_type
from veilsum.data import Feature, Study
from veilsum.data.preprocess import from_unit
from veilsum.errors import ParameterError
from veilsum.learning import metrics
from veilsum.learning.metrics import Evaluator, Record
from veilsum.learning.model import blank_network
from veilsum.learning.module_tensors import ModuleTensors
from veilsum.learning.options import ModelOptions
from veilsum.learning.outcomes import Outcome

CURVE_POINTS = 200
"""Of a curve in a report; more are not told apart on a screen."""

_ROWS_AT_ONCE = 1 << 16


class Predictor:
    """A network on rows: what it says of them, for any parameters.

    Parameters
    ----------
    inputs : ndarray, float32, shape (rows, columns)
        Preprocessed rows.
    model : ModelOptions
        The network.
    outputs : int
        Numbers that it says of a row.
    seed : int
        The run's seed.
    device : torch.device
        Where to run it.
    """

    def __init__(
        self,
        inputs: NDArray[np.float32],
        model: ModelOptions,
        outputs: int,
        seed: int,
        device: torch.device,
    ) -> None:
        call = "Predictor(inputs, model, outputs, seed, device)"
        check_type(call, "device", device, torch.device)
        self._inputs = torch.from_numpy(inputs).to(device)
        self._network = blank_network(model, inputs.shape[1], device, outputs, seed)
        self._tensors = ModuleTensors(self._network)

    def __call__(self, parameters: Mapping[str, NDArray[np.float32]]) -> torch.Tensor:
        """Return what the network says, shape (rows, outputs), in double precision.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        """
        self._tensors.write(self._network, parameters)
        self._network.eval()
        with torch.no_grad():
            said = torch.cat(
                [self._network(rows).double() for rows in torch.split(self._inputs, _ROWS_AT_ONCE)]
            )
        return said.cpu()


class YesOrNoEvaluator:
    """Scores probabilities of a yes-or-no outcome.

    Parameters
    ----------
    predictor : Predictor
        The network on held-out rows.
    labels : ndarray of int, shape (rows,)
        0 or 1.
    """

    def __init__(self, predictor: Predictor, labels: NDArray[np.int64]) -> None:
        self._predictor = predictor
        self._labels = labels

    def _probabilities(self, parameters: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        return _finite(torch.sigmoid(self._predictor(parameters)[:, 0]))

    def evaluate(self, parameters: Mapping[str, NDArray[np.float32]]) -> Record:
        """Return `metrics.Scores` by name.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.

        Raises
        ------
        veilsum.ParameterError
            When predictions are no finite numbers.
        """
        return asdict(metrics.scores(self._labels, self._probabilities(parameters)))

    def details(self, parameters: Mapping[str, NDArray[np.float32]]) -> Record:
        """Return ROC and precision-recall curves and calibration.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        """
        return _of_yes_or_no(self._labels, self._probabilities(parameters))


class ClassEvaluator:
    """Scores probabilities of several classes.

    Parameters
    ----------
    predictor : Predictor
        The network on held-out rows.
    labels : ndarray of int, shape (rows,)
        Indices into the names.
    names : tuple of str
        The classes.
    """

    def __init__(
        self, predictor: Predictor, labels: NDArray[np.int64], names: tuple[str, ...]
    ) -> None:
        self._predictor = predictor
        self._labels = labels
        self._names = names

    def _probabilities(self, parameters: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        return _finite(torch.softmax(self._predictor(parameters), dim=1))

    def evaluate(self, parameters: Mapping[str, NDArray[np.float32]]) -> Record:
        """Return `metrics.ClassScores` by name.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.

        Raises
        ------
        veilsum.ParameterError
            When predictions are no finite numbers.
        """
        probabilities = self._probabilities(parameters)
        return asdict(metrics.class_scores(self._labels, probabilities, self._names))

    def details(self, parameters: Mapping[str, NDArray[np.float32]]) -> Record:
        """Return the confusion of classes, each class's curves against all others, calibration.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        """
        probabilities = self._probabilities(parameters)
        said = probabilities.argmax(axis=1)
        bins = metrics.calibration(
            (said == self._labels).astype(np.int64), probabilities.max(axis=1)
        )
        return {
            "classes": list(self._names),
            "confusion": metrics.confusion(self._labels, said, len(self._names)).tolist(),
            "each_class": {
                name: _of_yes_or_no((self._labels == i).astype(np.int64), probabilities[:, i])
                for i, name in enumerate(self._names)
            },
            # Of the likeliest class: how sure the model is, and how often it is right.
            "calibration": [asdict(one) for one in bins],
            "calibration_error": metrics.calibration_error(bins),
        }


class NumberEvaluator:
    """Scores predicted numbers, in their own unit.

    Parameters
    ----------
    predictor : Predictor
        The network on held-out rows.
    numbers : ndarray, shape (rows,)
        What is true.
    target : Feature
        The outcome's public range, which the network's numbers stand for.
    """

    def __init__(self, predictor: Predictor, numbers: NDArray[np.float64], target: Feature) -> None:
        self._predictor = predictor
        self._numbers = numbers
        self._target = target

    def evaluate(self, parameters: Mapping[str, NDArray[np.float32]]) -> Record:
        """Return `metrics.NumberScores` by name.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.

        Raises
        ------
        veilsum.ParameterError
            When predictions are no finite numbers.
        """
        return asdict(metrics.number_scores(self._numbers, self._predicted(parameters)))

    def details(self, parameters: Mapping[str, NDArray[np.float32]]) -> Record:
        """Return the mean of what came true, for tenths of the rows by what was said of them.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        """
        predicted = self._predicted(parameters)
        parts = np.array_split(np.argsort(predicted, kind="stable"), 10)
        return {
            "unit": self._target.unit,
            "tenths": [
                {
                    "rows": len(part),
                    "predicted": float(predicted[part].mean()),
                    "observed": float(self._numbers[part].mean()),
                }
                for part in parts
                if len(part)
            ],
        }

    def _predicted(self, parameters: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        # What is said beyond the public range is taken for its end, as rows beyond it are.
        said = np.clip(_finite(self._predictor(parameters)[:, 0]), -1.0, 1.0)
        return from_unit(self._target, said)


def tabular_evaluator(
    inputs: NDArray[np.float32],
    study: Study,
    model: ModelOptions,
    *,
    seed: int,
    device: torch.device,
) -> Evaluator:
    """Return the evaluator of a study's kind of outcome.

    Parameters
    ----------
    inputs : ndarray, float32, shape (rows, columns)
        The rows, preprocessed.
    study : Study
        The same rows, for their outcomes.
    model : ModelOptions
        The network.
    seed : int
        The run's seed.
    device : torch.device
        Where to evaluate.
    """
    outcome = Outcome.of(study)
    predictor = Predictor(inputs, model, outcome.outputs, seed, device)
    if outcome.classes:
        return ClassEvaluator(predictor, study.labels, outcome.classes)
    if outcome.target is not None and study.numbers is not None:
        return NumberEvaluator(predictor, study.numbers, outcome.target)
    return YesOrNoEvaluator(predictor, study.labels)


def _finite(said: torch.Tensor) -> NDArray[np.float64]:
    predicted: NDArray[np.float64] = said.numpy()
    if not np.isfinite(predicted).all():
        raise ParameterError(
            "the global model predicts numbers that are not finite; training diverged: lower "
            "training.learning_rate or aggregation.server_learning_rate"
        )
    return predicted


def _of_yes_or_no(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    bins = metrics.calibration(labels, probabilities)
    found: dict[str, Any] = {
        "calibration": [asdict(one) for one in bins],
        "calibration_error": metrics.calibration_error(bins),
    }
    if labels.min() < labels.max():
        precision = metrics.precision_recall_curve(labels, probabilities)
        found["roc"] = metrics.roc_curve(labels, probabilities).thinned(CURVE_POINTS).to_record()
        found["precision_recall"] = precision.thinned(CURVE_POINTS).to_record()
        found["average_precision"] = metrics.average_precision(precision)
    return found
