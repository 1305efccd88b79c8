"""The evaluator of networks on tables, for each kind of outcome, behind `metrics.Evaluator`.

Learning room. Runs a network on held-out rows; `predictions` scores what it says. Knows no party
and no round.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from veilsum.arguments import check_type
from veilsum.data import Study
from veilsum.data.preprocess import from_unit
from veilsum.errors import ParameterError
from veilsum.learning.metrics import Evaluator, Record
from veilsum.learning.model import blank_network
from veilsum.learning.module_tensors import ModuleTensors
from veilsum.learning.options import ModelOptions
from veilsum.learning.outcomes import Outcome
from veilsum.learning.predictions import Predictions

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


class TabularEvaluator:
    """Scores a network on a table's rows, whatever their outcome is.

    Parameters
    ----------
    predictor : Predictor
        The network on held-out rows.
    study : Study
        The same rows, for their outcomes.
    """

    def __init__(self, predictor: Predictor, study: Study) -> None:
        self._predictor = predictor
        self._study = study

    def predictions(self, parameters: Mapping[str, NDArray[np.float32]]) -> Predictions:
        """Return what a model says of the rows, beside what is true.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.

        Raises
        ------
        veilsum.ParameterError
            When predictions are no finite numbers.
        """
        said, study = self._predictor(parameters), self._study
        if study.classes:
            return Predictions.classes(
                study.labels, _finite(torch.softmax(said, dim=1)), study.classes
            )
        if study.target is not None and study.numbers is not None:
            # What is said beyond the public range is taken for its end, as rows beyond it are.
            on_scale = np.clip(_finite(said[:, 0]), -1.0, 1.0)
            target, numbers = study.target, study.numbers
            log = target.log and bool(numbers.min() > 0)
            return Predictions.numbers(numbers, from_unit(target, on_scale), target.unit, log=log)
        return Predictions.yes_or_no(study.labels, _finite(torch.sigmoid(said[:, 0])))

    def evaluate(self, parameters: Mapping[str, NDArray[np.float32]]) -> Record:
        """Return the scores of the outcome's kind by name.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.

        Raises
        ------
        veilsum.ParameterError
            When predictions are no finite numbers.
        """
        return self.predictions(parameters).scores()

    def details(self, parameters: Mapping[str, NDArray[np.float32]]) -> Record:
        """Return curves, calibration, confusion or binned counts.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        """
        return self.predictions(parameters).details()


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
    predictor = Predictor(inputs, model, Outcome.of(study).outputs, seed, device)
    return TabularEvaluator(predictor, study)


def _finite(said: torch.Tensor) -> NDArray[np.float64]:
    predicted: NDArray[np.float64] = said.numpy()
    if not np.isfinite(predicted).all():
        raise ParameterError(
            "the global model predicts numbers that are not finite; training diverged: lower "
            "training.learning_rate or aggregation.server_learning_rate"
        )
    return predicted
