"""What is measured each round, and the log that keeps it.

Federated loop. A record is one JSON object. Everything in it follows from the configuration and the
machine, except what stands under "seconds" and "entropy" (of ciphertexts, which no seed repeats)
and the reasons of members that refused a sum, which may name its round: two runs with the same
seed differ only there.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from veilsum.arguments import check_type
from veilsum.errors import ParameterError, missing_extra, named_failures
from veilsum.learning.model import blank_network, write_parameters
from veilsum.learning.options import ModelOptions

Record = dict[str, Any]


@dataclass(frozen=True)
class Scores:
    """Quality of predictions on held-out rows.

    Parameters
    ----------
    auc : float
        Area under the ROC curve.
    accuracy : float
        At threshold 0.5.
    log_loss : float
        Mean negative log-likelihood, natural logarithm.
    auc_standard_error : float
        Of the AUC, from the number of rows.
    """

    auc: float
    accuracy: float
    log_loss: float
    auc_standard_error: float


def scores(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Scores:
    """Score predicted probabilities.

    Parameters
    ----------
    labels : ndarray of int, shape (rows,)
        0 or 1, both present.
    probabilities : ndarray, shape (rows,)
        Of label 1.

    Raises
    ------
    veilsum.BackendUnavailableError
        When scikit-learn is not installed.
    """
    try:
        from sklearn import metrics
    except ImportError as error:
        raise missing_extra("evaluation", "sklearn", "train") from error
    call = "scores(labels, probabilities)"
    check_type(call, "labels", labels, np.ndarray)
    check_type(call, "probabilities", probabilities, np.ndarray)
    auc = float(metrics.roc_auc_score(labels, probabilities))
    positives = int(labels.sum())
    return Scores(
        auc=auc,
        accuracy=float(metrics.accuracy_score(labels, probabilities >= 0.5)),
        log_loss=float(metrics.log_loss(labels, probabilities)),
        auc_standard_error=auc_standard_error(auc, positives, len(labels) - positives),
    )


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


class Evaluator:
    """Scores a model on held-out rows.

    Parameters
    ----------
    inputs : ndarray, float32, shape (rows, columns)
        Preprocessed held-out rows.
    labels : ndarray of int, shape (rows,)
        0 or 1, both present.
    model : ModelOptions
        The network.
    device : torch.device
        Where to evaluate.
    """

    def __init__(
        self,
        inputs: NDArray[np.float32],
        labels: NDArray[np.int64],
        model: ModelOptions,
        device: torch.device,
    ) -> None:
        check_type("Evaluator(inputs, labels, model, device)", "device", device, torch.device)
        self._inputs = torch.from_numpy(inputs).to(device)
        self._labels = labels
        self._network = blank_network(model, inputs.shape[1], device)

    def evaluate(self, parameters: Mapping[str, NDArray[np.float32]]) -> Scores:
        """Score the model with these parameters.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.

        Raises
        ------
        veilsum.ParameterError
            When predictions are no finite numbers.
        """
        write_parameters(self._network, parameters)
        self._network.eval()
        with torch.no_grad():
            logits = self._network(self._inputs)[:, 0].double()
            probabilities = torch.sigmoid(logits).cpu().numpy()
        if not np.isfinite(probabilities).all():
            raise ParameterError(
                "the global model predicts numbers that are not finite; training diverged: lower "
                "training.learning_rate or aggregation.server_learning_rate"
            )
        return scores(self._labels, probabilities)


class MetricsLog:
    """Appends records to a JSON Lines file, each whole or not at all.

    Parameters
    ----------
    path : Path
        The file; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, record: Record) -> None:
        """Write one record and have it on disk before returning.

        Parameters
        ----------
        record : dict
            JSON values; numbers must be finite.

        Raises
        ------
        OSError
            When the disk is full; it names the file, which ends with the last whole record.
        """
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        end = os.fstat(self._descriptor).st_size
        # One system call a line: an interrupt comes before or after it, never inside a record.
        with named_failures(self._path):
            if os.write(self._descriptor, line) != len(line):
                os.ftruncate(self._descriptor, end)
                raise OSError(errno.ENOSPC, "no space left for a whole record of metrics")
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
