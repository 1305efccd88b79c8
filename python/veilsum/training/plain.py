"""The frame of the methods that Veilsum is compared with: train, send, combine, step.

Federated loop, methods. A subclass says what a cloud's message is, what the server makes of the
messages, and what a cloud reads from the answer; all messages are real bytes. Weights, drawing of
clouds, failures and server optimisers are the same as Veilsum's, in the clear.
"""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import check_whole
from veilsum.errors import WireFormatError
from veilsum.learning.task import LocalResult, Parameters
from veilsum.parties.client import configured_weights
from veilsum.parties.coordinator import too_few
from veilsum.privacy.accountant import PrivacyLoss
from veilsum.protocol.participation import participants
from veilsum.protocol.server_step import server_optimiser
from veilsum.protocol.weights import (
    REFERENCE_BANDWIDTH_BPS,
    LocalFacts,
    capped,
    normalised,
)
from veilsum.training.outcome import CloudRound, RoundOutcome, Stopwatch
from veilsum.training.setting import Setting
from veilsum.transport.conditions import Conditions, Reliable

Tensors = Mapping[str, NDArray[np.float64]]

_HEAD = struct.Struct("<dd")
"""Weight and training loss, in front of every upload."""


class PlainMethod(ABC):
    """A federated method whose server is told every weight and loss.

    Parameters
    ----------
    setting : Setting
        Data, inputs, initial model.
    conditions : Conditions, optional
        What fails on the way; nothing by default.
    """

    sends_loss = True
    encrypts = False

    def __init__(self, setting: Setting, conditions: Conditions | None = None) -> None:
        self._setting = setting
        self._config = setting.config
        self._conditions = Reliable() if conditions is None else conditions
        clouds = len(setting.federation.clouds)
        self._trainers = [setting.trainer(i) for i in range(clouds)]
        self._rule = configured_weights(setting.config.terms, setting.moments.rows)
        self._parameters: Parameters = setting.initial_parameters()
        self._shapes = {name: array.shape for name, array in self._parameters.items()}
        self._optimiser = server_optimiser(setting.config.aggregation)

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name, as in the log."""

    @property
    def parameters(self) -> Parameters:
        """The global model."""
        return self._parameters

    @property
    def setup_bytes(self) -> int:
        """What each cloud exchanged once, before the first round."""
        return 0

    @abstractmethod
    def pack(self, update: Tensors, weight: float, client: int, number: int) -> bytes:
        """Return what a cloud sends of its update.

        Parameters
        ----------
        update : mapping of str to ndarray
            Local minus global parameters.
        weight : float
            The cloud's.
        client, number : int
            Cloud and round.
        """

    @abstractmethod
    def combine(self, messages: Sequence[bytes], weights: Sequence[float], number: int) -> bytes:
        """Return the server's answer to the clouds.

        Parameters
        ----------
        messages : sequence of bytes
            What `pack` made, of the clouds in the sum.
        weights : sequence of float
            Theirs.
        number : int
            The round.
        """

    @abstractmethod
    def unpack(self, answer: bytes, weights: Sequence[float]) -> dict[str, NDArray[np.float64]]:
        """Return the mean update that a cloud reads from the answer.

        Parameters
        ----------
        answer : bytes
            What `combine` made.
        weights : sequence of float
            Of the clouds in the sum.
        """

    def visible(self, message: bytes, weight: float) -> dict[str, NDArray[np.float64]]:
        """Return what the server reads of one cloud's update; nothing by default.

        Parameters
        ----------
        message : bytes
            What `pack` made.
        weight : float
            The cloud's.
        """
        del message, weight
        return {}

    def privacy(self, clouds: int) -> PrivacyLoss | None:
        """Account for an opened round and return the loss so far; None for no privacy.

        Parameters
        ----------
        clouds : int
            How many are in the sum.
        """
        del clouds
        return None

    def weigh(self, results: Mapping[int, LocalResult]) -> dict[int, float]:
        """Return the clouds' weights: mean 1 where they are shares, as the protocol has them.

        Parameters
        ----------
        results : mapping of int to LocalResult
            By cloud.
        """
        links = self._config.aggregation.bandwidths_bps
        raw = [
            self._rule.weight(
                LocalFacts(one.rows, one.loss, links[i] if links else REFERENCE_BANDWIDTH_BPS)
            )
            for i, one in results.items()
        ]
        if self._rule.agreed:
            made = capped(raw, self._rule.cap) if self._rule.cap < 1 else normalised(raw)
            raw = [len(made) * share for share in made]
        return dict(zip(results, raw, strict=True))

    def run_round(self, number: int) -> RoundOutcome:
        """Run a round, from 1 on, in order.

        Parameters
        ----------
        number : int
            The round.

        Raises
        ------
        veilsum.VeilsumError
            When training diverges.
        """
        watch = Stopwatch()
        clouds = [CloudRound(i, state="not sampled") for i in range(len(self._trainers))]
        results: dict[int, LocalResult] = {}
        for i in participants(self._config.terms, number):
            if not self._conditions.trains(i, number):
                clouds[i].state = "absent"
                continue
            with watch.phase("train", clouds[i]):
                results[i] = self._trainers[i].train(self._parameters, number)
            if self.sends_loss:
                clouds[i].loss = results[i].loss
        least = max(self._config.terms.min_clients, math.ceil(1 / self._rule.cap - 1e-9))
        weights = self.weigh(results) if len(results) >= least else {}
        arrived: dict[int, bytes] = {}
        for i, weight in weights.items():
            with watch.phase("encrypt", clouds[i]):
                message = _HEAD.pack(weight, results[i].loss if self.sends_loss else 0.0)
                message += self.pack(results[i].update, weight, i, number)
            clouds[i].up_bytes = len(message)
            clouds[i].state = self._deliver(clouds[i], number, message, arrived)
            clouds[i].weight = weight if clouds[i].state == "summed" else 0.0
        outcome = RoundOutcome(
            parameters=self._parameters,
            train_loss=None,
            seconds=watch.seconds,
            clouds=clouds,
            encrypted_fraction=float(self.encrypts),
        )
        if len(arrived) < self._config.terms.min_clients:
            left = len(arrived) if weights else len(results)
            outcome.skipped = too_few(clouds, left, least)
            for i in results:
                summed = clouds[i].state in ("summed", "not sampled")
                clouds[i].state = "round skipped" if summed else clouds[i].state
                clouds[i].weight = 0.0
            return outcome
        self._step(number, arrived, outcome, watch)
        return outcome

    def _deliver(
        self, cloud: CloudRound, number: int, message: bytes, arrived: dict[int, bytes]
    ) -> str:
        received = self._conditions.delivers(cloud.client, number, message)
        if received is None:
            return "lost"
        spent = sum(cloud.seconds.values()) + self._conditions.delay_s(cloud.client, number)
        if self._config.training.deadline_s and spent > self._config.training.deadline_s:
            return "late"
        if len(received) != len(message):
            return "damaged"
        arrived[cloud.client] = received
        return "summed"

    def _step(
        self, number: int, arrived: Mapping[int, bytes], outcome: RoundOutcome, watch: Stopwatch
    ) -> None:
        heads = [_HEAD.unpack_from(message) for message in arrived.values()]
        weights = [float(weight) for weight, _ in heads]
        bodies = [message[_HEAD.size :] for message in arrived.values()]
        with watch.phase("aggregate"):
            answer = self.combine(bodies, weights, number)
        means = []
        for cloud in outcome.clouds:
            # Each cloud reads the answer itself, as in a real network; one of them counts.
            if cloud.state != "absent" and self._conditions.receives(cloud.client, number):
                with watch.phase("decrypt", cloud):
                    means.append(self.unpack(answer, weights))
                cloud.down_bytes += len(answer)
        mean = means[0] if means else self.unpack(answer, weights)
        with watch.phase("decrypt"):
            self._parameters = self._optimiser.step(self._parameters, mean)
        outcome.parameters = self._parameters
        if self.sends_loss:
            outcome.train_loss = sum(w * loss for w, loss in heads) / sum(weights)
        outcome.message_bytes = {
            "upload": max(len(message) for message in arrived.values()),
            "aggregate": len(answer),
        }
        for i, body in zip(arrived, bodies, strict=True):
            seen = self.visible(body, outcome.clouds[i].weight)
            if seen:
                outcome.visible[i] = seen
        outcome.privacy = self.privacy(len(arrived))


def to_float32(tensors: Tensors) -> bytes:
    """Return an update as float32 values, tensor after tensor.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        The update.
    """
    return b"".join(array.astype("<f4").tobytes() for array in tensors.values())


def from_float32(
    data: bytes, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float64]]:
    """Read an update from float32 values.

    Parameters
    ----------
    data : bytes
        What `to_float32` made.
    shapes : mapping of str to tuple of int
        Names and shapes of the tensors.

    Raises
    ------
    veilsum.WireFormatError
        When the length is wrong, or a value is not finite.
    """
    sizes = {
        name: math.prod(check_whole("extent", extent) for extent in shape)
        for name, shape in shapes.items()
    }
    wanted = 4 * sum(sizes.values())
    if len(data) != wanted:
        raise WireFormatError(f"a message of {len(data)} bytes came; the model has {wanted}")
    values = np.frombuffer(data, dtype="<f4").astype(np.float64)
    if not np.isfinite(values).all():
        raise WireFormatError("a message has values that are not finite")
    parts = np.split(values, np.cumsum(list(sizes.values()))[:-1])
    return {name: part.reshape(shapes[name]) for name, part in zip(sizes, parts, strict=True)}
