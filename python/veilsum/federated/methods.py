"""Ways to get from one global model to the next, behind one interface.

Federated loop. A method runs one round: every cloud trains, and the updates become one mean. The
encrypted method moves bytes between the parties; it is the network of a run that happens in one
process, and is the only code that talks to all of them. Plaintext averaging is the yardstick: the
same data, model, seeds and rounds, with updates in the clear.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import veilsum as vs
from veilsum.data import Moments, Preprocessor, Study
from veilsum.federated import statistics
from veilsum.federated.aggregator import AggregatorServer, SeenUpload
from veilsum.federated.agreement import Agreement
from veilsum.federated.authority import AuthorityService
from veilsum.federated.client import Client, new_replica
from veilsum.federated.config import TrainConfig
from veilsum.federated.replica import Replica
from veilsum.federated.run_directory import ENCRYPTED
from veilsum.federated.server import Parameters, ServerOptimiser
from veilsum.federated.training import LocalTrainer
from veilsum.federated.weights import LocalFacts, WeightRule, weight_rule


@dataclass
class RoundOutcome:
    """What a method's round gives.

    Parameters
    ----------
    parameters : dict of str to ndarray
        The new global model.
    train_loss : float
        Weighted mean of the clouds' training losses.
    uploads : list of SeenUpload
        One a cloud; empty where nothing is uploaded.
    message_bytes : dict of str to int
        Bytes of one message of each kind that travels in the round.
    limits : dict of str to float
        Range of each tensor; empty without a codec.
    seconds : dict of str to float
        Wall time of each phase, all clouds together, one after another; and under "background",
        where encryptions are prepared while clouds train, the processor time that takes.
    """

    parameters: Parameters
    train_loss: float
    uploads: list[SeenUpload] = field(default_factory=list)
    message_bytes: dict[str, int] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Method(Protocol):
    """One way to train."""

    @property
    def name(self) -> str:
        """Short name, as in the log."""
        ...

    def run_round(self, number: int) -> RoundOutcome:
        """Run a round, from 1 on, in order.

        Parameters
        ----------
        number : int
            The round.
        """
        ...


class _Stopwatch:
    """Adds up wall time by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


class EncryptedAveraging:
    """Federated averaging whose updates are only ever summed under encryption.

    Parameters
    ----------
    config : TrainConfig
        The run's configuration.
    clouds : sequence of Study
        Each cloud's own rows.
    client : callable, optional
        Makes a cloud from its number, rows and configuration; tests pass a `Client` that they
        watch.
    """

    name = ENCRYPTED

    def __init__(
        self,
        config: TrainConfig,
        clouds: Sequence[Study],
        client: Callable[[int, Study, TrainConfig], Client] = Client,
    ) -> None:
        options = config.encryption
        plan = vs.Plan(
            clients=len(clouds),
            value_bits=options.value_bits,
            security=options.security,
            optimise=options.optimise,
            profile=options.profile,
            engine=options.engine,
        )
        statistics_plan = vs.Plan(
            clients=len(clouds),
            value_bits=statistics.VALUE_BITS,
            security=options.security,
            engine=options.engine,
        )
        self.plan = plan
        self._pads_ahead = options.pads_ahead
        self.authority = AuthorityService()
        self.aggregator = AggregatorServer()
        self.clients = [client(i, study, config) for i, study in enumerate(clouds)]
        keys = [
            (one.to_bytes(), self.authority.issue_key(one.to_bytes()))
            for one in (statistics_plan, plan)
        ]
        (statistics_bytes, statistics_key), (plan_bytes, plan_key) = keys
        roster = [one.verification_key for one in self.clients]
        self.authority.enrol(roster, config.min_clients)
        for one in self.clients:
            one.agree(statistics_bytes, statistics_key, plan_bytes, plan_key, roster)
        self._updates = Agreement(plan_bytes, plan_key, roster, config.min_clients)
        self._moments = self._sum_statistics(
            Agreement(statistics_bytes, statistics_key, roster, config.min_clients), clouds[0]
        )
        self._preprocessor = Preprocessor.fit(clouds[0].features, self._moments)
        weights = weight_rule(config.aggregation.weights, len(clouds), self._moments.rows)
        # The coordinator's own copy of the public state: it proposes rounds and evaluates.
        self._replica: Replica = new_replica(
            config, self._updates, len(self._preprocessor.names), weights.limit
        )

    @property
    def moments(self) -> Moments:
        """The opened statistics of all clouds together."""
        return self._moments

    @property
    def preprocessor(self) -> Preprocessor:
        """As every participant computes it from the opened statistics."""
        return self._preprocessor

    @property
    def parameters(self) -> Parameters:
        """The global model."""
        return self._replica.parameters

    def _sum_statistics(self, agreement: Agreement, study: Study) -> Moments:
        description = statistics.propose_round(agreement, study)
        self.aggregator.open_round(description)
        for one in self.clients:
            self.aggregator.receive(one.statistics_upload(description))
        sum_key = self.authority.open(description, self.aggregator.close_round())
        aggregate = self.aggregator.aggregate
        for one in self.clients:
            one.receive_statistics(aggregate, sum_key)
        return statistics.read(vs.Round.from_bytes(description), aggregate, sum_key)

    def run_round(self, number: int) -> RoundOutcome:
        """Run a round, from 1 on, in order.

        Parameters
        ----------
        number : int
            The round.

        Raises
        ------
        veilsum.VeilsumError
            When a party refuses what another sends, or training diverges.
        """
        watch = _Stopwatch()
        replica = self._replica
        limits = replica.limits
        with watch.phase("aggregate"):
            description = replica.propose_round()
            self.aggregator.open_round(description)
        for one in self.clients:
            with watch.phase("encrypt"):
                one.prepare(description)
            with watch.phase("train"):
                one.train(number)
            with watch.phase("encrypt"):
                upload = one.upload(description, number)
            if self._pads_ahead:
                watch.add("background", one.background_seconds)
            with watch.phase("aggregate"):
                self.aggregator.receive(upload)
        with watch.phase("aggregate"):
            request = self.aggregator.close_round()
            aggregate = self.aggregator.aggregate
        with watch.phase("open"):
            sum_key = self.authority.open(description, request)
        with watch.phase("decrypt"):
            for one in self.clients:
                one.receive(aggregate, sum_key)
            opened = replica.advance(replica.read_round(description), aggregate, sum_key)
        return RoundOutcome(
            parameters=replica.parameters,
            train_loss=opened.loss,
            uploads=list(self.aggregator.seen),
            message_bytes={
                "round": len(description),
                "upload": max(one.payload_bytes for one in self.aggregator.seen),
                "opening_request": len(request),
                "sum_key": len(sum_key),
                "aggregate": len(aggregate),
            },
            limits=limits,
            seconds=watch.seconds,
        )


class PlaintextAveraging:
    """Federated averaging with every update in the clear: the yardstick, no protection at all.

    Parameters
    ----------
    name : str
        Short name, as in the log.
    trainers : sequence of LocalTrainer
        One a cloud, seeded like the encrypted run's.
    weights : WeightRule
        Weighs the updates.
    parameters : mapping of str to ndarray
        The initial model.
    optimiser : ServerOptimiser
        Applies the mean.
    """

    def __init__(
        self,
        name: str,
        trainers: Sequence[LocalTrainer],
        weights: WeightRule,
        parameters: Mapping[str, NDArray[np.float32]],
        optimiser: ServerOptimiser,
    ) -> None:
        self._name = name
        self._trainers = trainers
        self._weights = weights
        self._parameters: Parameters = dict(parameters)
        self._optimiser = optimiser

    @property
    def name(self) -> str:
        """Short name, as in the log."""
        return self._name

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
        watch = _Stopwatch()
        with watch.phase("train"):
            results = [one.train(self._parameters, number) for one in self._trainers]
        with watch.phase("aggregate"):
            weights = [self._weights.weight(LocalFacts(one.rows, one.loss)) for one in results]
            total = sum(weights)
            mean: dict[str, NDArray[np.float64]] = {}
            for name in self._parameters:
                parts = (w * one.update[name] for w, one in zip(weights, results, strict=True))
                mean[name] = np.asarray(sum(parts), dtype=np.float64) / total
            self._parameters = self._optimiser.step(self._parameters, mean)
        values = sum(array.size for array in self._parameters.values())
        uploads = {"upload": 4 * values} if len(self._trainers) > 1 else {}
        return RoundOutcome(
            parameters=self._parameters,
            train_loss=sum(w * one.loss for w, one in zip(weights, results, strict=True)) / total,
            message_bytes=uploads,
            seconds=watch.seconds,
        )
