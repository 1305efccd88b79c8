"""The model under attack, and the gradients it gives for records.

Leakage layer. The attacker knows the model: architecture, and in each round the global parameters
that clients start from. The same code computes what a client would upload after one step, and what
the attacker compares its guesses with.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import functional_call, grad, vmap

from veilsum.errors import ParameterError
from veilsum.learning.model import blank_network
from veilsum.learning.options import ModelOptions

Tensors = dict[str, torch.Tensor]


class Victim:
    """A network with fixed parameters whose gradients can be computed for any records.

    Dropout is off: the attacker does not have to guess which units were left out, which is in its
    favour. Everything is in double precision on the CPU, so that a residual is the guess's fault.

    Parameters
    ----------
    model : ModelOptions
        The architecture.
    parameters : mapping of str to ndarray
        The global model at the start of the round.
    """

    def __init__(self, model: ModelOptions, parameters: Mapping[str, NDArray[np.float32]]) -> None:
        self.names = tuple(parameters)
        weights = [name for name in self.names if parameters[name].ndim == 2]
        if not weights or weights[0].replace("weight", "bias") not in self.names:
            raise ParameterError(
                f"the model's tensors {list(self.names)} do not begin with a linear layer with a "
                "bias; the attack of the first layer needs one"
            )
        self.first_weight = weights[0]
        self.first_bias = weights[0].replace("weight", "bias")
        self.last_bias = self.names[-1]
        self.inputs = int(parameters[self.first_weight].shape[1])
        self._network = blank_network(model, self.inputs, torch.device("cpu")).double().eval()
        self._parameters: Tensors = {
            name: torch.from_numpy(np.asarray(array, dtype=np.float64))
            for name, array in parameters.items()
        }

    def losses(self, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the loss of each row.

        Parameters
        ----------
        inputs : ndarray, shape (rows, columns)
            Preprocessed rows.
        labels : ndarray of int, shape (rows,)
            0 or 1.
        """
        with torch.no_grad():
            logits = functional_call(
                self._network, self._parameters, (torch.from_numpy(inputs).double(),)
            )[:, 0]
            found = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, torch.from_numpy(labels).double(), reduction="none"
            )
        return np.asarray(found.numpy(), dtype=np.float64)

    def gradients(self, inputs: torch.Tensor, labels: torch.Tensor) -> Tensors:
        """Return the gradient of the mean loss of each batch; differentiable in both arguments.

        Parameters
        ----------
        inputs : Tensor, float64, shape (batches, rows, columns)
            Preprocessed rows.
        labels : Tensor, float64, shape (batches, rows)
            From 0 to 1.

        Returns
        -------
        dict of str to Tensor
            One tensor a parameter, with a leading axis of batches.
        """

        def loss(parameters: Tensors, rows: torch.Tensor, marks: torch.Tensor) -> torch.Tensor:
            logits = functional_call(self._network, parameters, (rows,))[:, 0]
            return torch.nn.functional.binary_cross_entropy_with_logits(logits, marks)

        found: Tensors = vmap(grad(loss), in_dims=(None, 0, 0))(self._parameters, inputs, labels)
        return found

    def one_step(
        self, inputs: NDArray[np.float32], labels: NDArray[np.int64], learning_rate: float
    ) -> dict[str, NDArray[np.float64]]:
        """Return the update of one step of plain gradient descent on one batch.

        Parameters
        ----------
        inputs : ndarray, shape (rows, columns)
            Preprocessed rows.
        labels : ndarray of int, shape (rows,)
            0 or 1.
        learning_rate : float
            Of the step.
        """
        found = self.gradients(
            torch.from_numpy(inputs).double()[None], torch.from_numpy(labels).double()[None]
        )
        return {name: -learning_rate * found[name][0].numpy() for name in self.names}
