"""Local training: what one cloud does with its own rows in a round.

Federated loop. From the global parameters to an update (local minus global), with PyTorch, the same
for every method of aggregation. Batches and dropout follow from the run's seed, the cloud's number
and the round's, so the same seed gives the same update on the same machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from veilsum.errors import ParameterError
from veilsum.learning.model import blank_network, initial_parameters
from veilsum.learning.module_tensors import ModuleTensors
from veilsum.learning.options import ModelOptions, TrainingOptions
from veilsum.learning.outcomes import YES_OR_NO, Outcome
from veilsum.learning.seeds import torch_seed
from veilsum.learning.task import LocalResult, Parameters, Tensors


class LocalTrainer:
    """Trains the network on one cloud's rows: the `Learner` of a table.

    Parameters
    ----------
    inputs : ndarray, float32, shape (rows, columns)
        Preprocessed rows.
    labels : ndarray, shape (rows,)
        As `Outcome.labels` returns them: 0 or 1, a class's index, or a number in [-1, 1].
    model : ModelOptions
        The network.
    options : TrainingOptions
        Epochs, batches, optimiser.
    seed : int
        The run's seed.
    cloud : int
        The cloud's number, for its random streams and messages.
    device : torch.device
        Where to train.
    outcome : Outcome
        What the network learns.
    """

    def __init__(
        self,
        inputs: NDArray[np.float32],
        labels: NDArray[Any],
        model: ModelOptions,
        options: TrainingOptions,
        *,
        seed: int,
        cloud: int,
        device: torch.device,
        outcome: Outcome = YES_OR_NO,
    ) -> None:
        self._inputs = torch.from_numpy(inputs).to(device)
        self._labels = outcome.tensor(labels).to(device)
        self._outcome = outcome
        self._network = blank_network(model, inputs.shape[1], device, outcome.outputs, seed)
        self._tensors = ModuleTensors(self._network)
        self._normalises = any(
            isinstance(one, nn.modules.batchnorm._NormBase) for one in self._network.modules()
        )
        self._model = model
        self._columns = inputs.shape[1]
        self._options = options
        self._seed = seed
        self._cloud = cloud
        self._device = device

    @property
    def rows(self) -> int:
        """Number of training rows."""
        return len(self._labels)

    @property
    def tensors(self) -> Tensors:
        """What the parameters are; weights alone but for a network of the user's own."""
        return self._tensors.tensors

    def initial(self) -> Parameters:
        """Return the parameters that every cloud starts from."""
        return initial_parameters(self._model, self._columns, self._seed, self._outcome.outputs)

    def train(self, parameters: Mapping[str, NDArray[np.float32]], number: int) -> LocalResult:
        """Train from the global parameters.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        number : int
            The round, from 1.

        Raises
        ------
        veilsum.ParameterError
            When the loss or the update is no finite number any more.
        """
        self._tensors.write(self._network, parameters)
        optimiser = self._optimiser()
        order = torch.Generator().manual_seed(
            torch_seed(self._seed, "batches", self._cloud, number)
        )
        mu = self._options.proximal
        anchors = [one.detach().clone() for one in self._network.parameters()] if mu else []
        cuda = [self._device] if self._device.type == "cuda" else []
        self._network.train()
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(torch_seed(self._seed, "dropout", self._cloud, number))
            for _ in range(self._options.epochs):
                # Losses are added on the device: reading each one would wait for it.
                total = torch.zeros((), dtype=torch.float64, device=self._device)
                shuffled = torch.randperm(self.rows, generator=order).to(self._device)
                for batch in self._batches(shuffled):
                    optimiser.zero_grad(set_to_none=True)
                    said = self._network(self._inputs[batch])
                    loss: Any = self._outcome.loss(said, self._labels[batch])
                    loss.backward()
                    for one, anchor in zip(self._network.parameters(), anchors, strict=False):
                        # The gradient of FedProx's term, mu / 2 * |w - global|^2 (Li et al., 2020).
                        if one.grad is not None:
                            one.grad.add_(one.detach() - anchor, alpha=mu)
                    optimiser.step()
                    total += loss.detach().double() * len(batch)
        mean_loss = float(total) / self.rows
        if not math.isfinite(mean_loss):
            raise self._diverged(number, f"the loss is {mean_loss}")
        update = self._tensors.difference(self._network, parameters)
        if not all(np.isfinite(array).all() for array in update.values()):
            # The last step may spoil the weights when no loss shows it any more.
            raise self._diverged(number, "the update has numbers that are not finite")
        return LocalResult(update, mean_loss, self.rows)

    def _batches(self, rows: torch.Tensor) -> list[torch.Tensor]:
        batches = list(torch.split(rows, self._options.batch_size))
        # Batch normalisation has no deviation of a single row, which joins the batch before.
        if self._normalises and len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches

    def _diverged(self, number: int, how: str) -> ParameterError:
        return ParameterError(
            f"training diverged at cloud {self._cloud + 1} in round {number}: {how}; lower "
            f"training.learning_rate (now {self._options.learning_rate:g}), or "
            "aggregation.server_learning_rate where that is set"
        )

    def sensitivity(
        self, kind: str, parameters: Mapping[str, NDArray[np.float32]], result: LocalResult
    ) -> NDArray[np.float64]:
        """Return how much each coordinate tells of the rows, relative to the largest.

        Parameters
        ----------
        kind : str
            "magnitude": of the update. "gradient": of the loss's gradient over all rows, at the
            global parameters (the root of its square). "fisher": root of the empirical Fisher
            diagonal there, the mean over single rows of squared gradients, of at most 512 rows.
        parameters : mapping of str to ndarray
            The global model that `result` was trained from.
        result : LocalResult
            Of the round.

        Returns
        -------
        ndarray, float64, shape (values,)
            From 0 to 1, tensor after tensor. Roots and magnitudes have the same order as squares,
            and fewer orders of magnitude to fit into the sum's bits.
        """
        if kind == "magnitude":
            parts = [np.abs(array).ravel() for array in result.update.values()]
        else:
            self._tensors.write(self._network, parameters)
            self._network.eval()
            found = self._gradients() if kind == "gradient" else self._fisher()
            # Running figures and counts have no gradient.
            parts = [
                found[name].ravel() if name in found else np.zeros(parameters[name].size)
                for name in result.update
            ]
        scores = np.concatenate(parts).astype(np.float64)
        largest = float(scores.max())
        return scores / largest if largest > 0 else scores

    def _gradients(self) -> dict[str, NDArray[Any]]:
        self._network.zero_grad(set_to_none=True)
        for rows in torch.split(torch.arange(self.rows, device=self._device), 4096):
            said = self._network(self._inputs[rows])
            loss: Any = self._outcome.loss(said, self._labels[rows], "sum")
            loss.backward()
        return {
            name: np.abs(one.grad.cpu().numpy())
            for name, one in self._network.named_parameters()
            if one.grad is not None
        }

    def _fisher(self) -> dict[str, NDArray[Any]]:
        weights = {
            name: one.detach()
            for name, one in self._network.named_parameters()
            if one.requires_grad
        }

        def loss(values: dict[str, torch.Tensor], row: torch.Tensor, label: torch.Tensor) -> Any:
            said = torch.func.functional_call(self._network, values, (row[None],))
            return self._outcome.loss(said, label[None])

        each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
        totals = {name: torch.zeros_like(one) for name, one in weights.items()}
        count = min(self.rows, 512)
        for rows in torch.split(torch.arange(count, device=self._device), 64):
            for name, gradient in each(weights, self._inputs[rows], self._labels[rows]).items():
                totals[name] += gradient.square().sum(dim=0)
        return {
            name: np.sqrt(total.cpu().numpy().astype(np.float64)) for name, total in totals.items()
        }

    def _optimiser(self) -> torch.optim.Optimizer:
        options = self._options
        parameters = self._network.parameters()
        if options.optimiser == "sgd":
            return torch.optim.SGD(
                parameters,
                lr=options.learning_rate,
                momentum=options.momentum,
                weight_decay=options.weight_decay,
            )
        return torch.optim.Adam(
            parameters, lr=options.learning_rate, weight_decay=options.weight_decay
        )
