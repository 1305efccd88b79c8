"""Veilsum's own method: updates are only ever summed under encryption.

Training. All parties in one process, over the transport of the simulator. What is known here of
single clouds (weights, losses, who failed and how) goes into the log only because one process plays
all parties.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from veilsum.data import Moments, Preprocessor, Study
from veilsum.learning.model import choose_device
from veilsum.learning.tabular import TabularTask
from veilsum.learning.task import LocalTask, Parameters
from veilsum.parties.aggregator import Aggregator
from veilsum.parties.asking import Party
from veilsum.parties.client import Client, noise_plan
from veilsum.parties.coordinator import Coordinator, PlayedRound
from veilsum.parties.key_holder import KeyHolder
from veilsum.parties.member import IndependentMember
from veilsum.plans import Plan
from veilsum.privacy.accountant import Accountant, PrivacyLoss, gaussian_rho
from veilsum.protocol.contribution import OpenedMean
from veilsum.protocol.terms import Terms
from veilsum.training.config import TrainConfig
from veilsum.training.outcome import CloudRound, RoundOutcome
from veilsum.training.run_directory import ENCRYPTED
from veilsum.training.threads import choose_threads
from veilsum.transport.base import drive
from veilsum.transport.conditions import Conditions
from veilsum.transport.in_process import Handler, InProcess

MakeClient = Callable[[int, LocalTask, Terms, int], Client]
"""Makes a cloud from its number, task, terms and threads."""


def _client(index: int, task: LocalTask, terms: Terms, threads: int) -> Client:
    return Client(index, task, terms, threads=threads)


class EncryptedAveraging:
    """Federated averaging whose updates are only ever summed under encryption.

    Parameters
    ----------
    config : TrainConfig
        The run's configuration.
    clouds : sequence of Study
        Each cloud's own rows.
    client : callable, optional
        Makes a cloud; tests pass one that they watch.
    conditions : Conditions, optional
        What fails on the way; nothing by default.
    """

    name = ENCRYPTED

    def __init__(
        self,
        config: TrainConfig,
        clouds: Sequence[Study],
        client: MakeClient = _client,
        conditions: Conditions | None = None,
    ) -> None:
        self._config = config
        self._terms = terms = config.terms
        device = choose_device(config.run.device)
        threads = choose_threads(config, len(clouds[0].features)).core
        tasks = [
            TabularTask(
                study,
                config.model,
                config.training,
                seed=config.run.seed,
                cloud=i,
                device=device,
            )
            for i, study in enumerate(clouds)
        ]
        self.clients = [client(i, task, terms, threads) for i, task in enumerate(tasks)]
        self.members = (
            [IndependentMember() for _ in range(terms.members)]
            if terms.encryption.authority == "committee"
            else []
        )
        self.key_holder = KeyHolder()
        self.coordinator = Coordinator(terms, time.perf_counter)
        parties: dict[Party, Handler] = {Party("key holder", 0): self.key_holder.handle}
        parties |= {Party("cloud", i): one.handle for i, one in enumerate(self.clients)}
        parties |= {Party("member", i): one.handle for i, one in enumerate(self.members)}
        self._transport = InProcess(parties, conditions)
        # Made now where it is needed, so that a missing package is found before any training.
        noisy = config.privacy.distributed or config.hybrid.plain_noise_multiplier
        self._accountants = [Accountant(config.privacy.delta)] if noisy else []
        drive(self.coordinator.begin(), self._transport)
        self._moments = Moments.from_mapping(dict(self.clients[0].state.pooled))
        self._preprocessor = Preprocessor.fit(clouds[0].features, self._moments)

    @property
    def plan(self) -> Plan:
        """The plan of updates."""
        return self.coordinator.plan

    @property
    def aggregator(self) -> Aggregator:
        """The server."""
        return self.coordinator.aggregator

    @property
    def moments(self) -> Moments:
        """The opened statistics of all clouds together."""
        return self._moments

    @property
    def preprocessor(self) -> Preprocessor:
        """As every participant computes it from the opened statistics."""
        return self._preprocessor

    @property
    def _furthest(self) -> Client:
        """A cloud that has taken in the most: its copy of the model is the training's."""
        return max(self.clients, key=lambda one: one.state.history.taken)

    @property
    def parameters(self) -> Parameters:
        """The global model."""
        return self._furthest.state.parameters

    @property
    def setup_bytes(self) -> int:
        """Bytes that each cloud exchanged once: plans, keys, roster, the sum of statistics."""
        return self.coordinator.setup_bytes

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
        state = self._furthest.state
        limits = state.averaging.limits
        for one in self.clients:
            one.log.forget()
        played = drive(self.coordinator.round(number), self._transport)
        after = self._furthest.state
        outcome = RoundOutcome(
            parameters=after.parameters,
            train_loss=None,
            limits=limits,
            seconds=played.seconds,
            clouds=self._clouds(played),
            encrypted_fraction=1.0,
            skipped=played.skipped,
        )
        if not played.skipped and after.last is not None:
            self._look_at(played, after.last, outcome)
        return outcome

    def _clouds(self, played: PlayedRound) -> list[CloudRound]:
        """Add to what the coordinator knows what a process that plays all parties knows."""
        made = []
        for cloud in played.clouds:
            log = self.clients[cloud.client].log
            # A log that claims privacy must not show losses, not even as a simulation.
            loss = None if self._config.privacy.distributed else log.loss
            weight = (log.weight or 0.0) if cloud.state == "summed" else 0.0
            made.append(CloudRound(**vars(cloud), weight=weight, loss=loss))
            if log.background_seconds:
                background = played.seconds.get("background", 0.0) + log.background_seconds
                played.seconds["background"] = background
        return made

    def _look_at(self, played: PlayedRound, mean: OpenedMean, outcome: RoundOutcome) -> None:
        outcome.train_loss = mean.loss
        outcome.zeroed = sum(int((array == 0).sum()) for array in mean.update.values())
        outcome.uploads = played.uploads
        outcome.message_bytes = played.message_bytes
        if self.coordinator.terms.encryption.authority != "single":
            outcome.opened_by = played.opening
        if self._config.privacy.distributed:
            self._account(outcome)
        if played.plain_values:
            size = sum(array.size for array in mean.update.values())
            outcome.encrypted_fraction = 1 - played.plain_values / size
            outcome.visible = self._visible()
            outcome.privacy = self._plain_privacy()

    def _account(self, outcome: RoundOutcome) -> None:
        """Add an opened round with distributed noise; its loss was not sent."""
        options, clients = self._config.privacy, len(outcome.uploads)
        plan = noise_plan(self._terms, sum(one.size for one in outcome.parameters.values()))
        (accountant,) = self._accountants
        accountant.add(plan.loss(clients - options.colluders), plan.failure(clients))
        outcome.train_loss = None
        outcome.privacy = accountant.loss(
            "distributed",
            f"at most {options.colluders} of a sum's clouds tell others their noise; the authority "
            "opens sums only",
        )

    def _visible(self) -> dict[int, Mapping[str, NDArray[np.float64]]]:
        """Return what the aggregator reads: plain values of weighted updates, NaN elsewhere."""
        masks = self._furthest.state.masks
        if masks is None:
            return {}
        hidden = np.full(masks.mask.count, np.nan)
        return {
            client: masks.tensors(masks.mask.merge(hidden, values))
            for client, values in self.aggregator.plain_parts.items()
        }

    def _plain_privacy(self) -> PrivacyLoss | None:
        """Account for noisy plain parts."""
        multiplier = self._config.hybrid.plain_noise_multiplier
        if not multiplier:
            return None
        (accountant,) = self._accountants
        accountant.add(gaussian_rho(multiplier))
        return accountant.loss(
            "local",
            "nobody: each cloud adds all of the noise of its plain part itself",
            "the plain parts of all rounds so far; not the encrypted parts, whose sums are opened "
            "exactly, nor the choice of coordinates, nor the pooled statistics",
        )
