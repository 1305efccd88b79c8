"""Veilsum's own method: updates are only ever summed under encryption.

Training. All parties in one process, over the transport of the simulator. What is known here of
single clouds (weights, losses, who failed and how) goes into the log only because one process plays
all parties.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilsum.api.plans import Plan
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
from veilsum.privacy.accountant import Accountant, PrivacyLoss, gaussian_rho
from veilsum.protocol.contribution import OpenedMean
from veilsum.protocol.terms import Terms
from veilsum.run_names import ENCRYPTED
from veilsum.training.config import TrainConfig
from veilsum.training.outcome import CloudRound, RoundOutcome
from veilsum.training.parties_kept import (
    KeptParties,
    identity_at,
    kept_coordinator,
    party_folder,
)
from veilsum.training.threads import choose_threads
from veilsum.transport.base import Transport, drive
from veilsum.transport.conditions import Conditions
from veilsum.transport.in_process import InProcess

MakeClient = Callable[[int, LocalTask, Terms, int | None], Client]
"""Makes a cloud from its number, task, terms and threads."""


def _client(index: int, task: LocalTask, terms: Terms, threads: int | None) -> Client:
    return Client(index, task, terms, threads=threads)


def _own_members(terms: Terms) -> int:
    return terms.members if terms.encryption.authority == "committee" else 0


class EncryptedRounds:
    """Federated averaging of any task, whose updates are only ever summed under encryption.

    Parameters
    ----------
    terms : Terms
        What all clouds agree on.
    tasks : sequence of LocalTask
        Each cloud's.
    threads : int or None
        For encryption and decryption.
    client : callable, optional
        Makes a cloud; tests pass one that they watch.
    conditions : Conditions, optional
        What fails on the way; nothing by default.
    home : Path, optional
        Folder in which all parties' secrets and messages stay, so that the training goes on there
        when it was killed; by default they go with the object. Nothing fails on the way then, and
        clouds are plain ones.
    keep_uploads : bool
        With a home: keep uploads of rounds that are over, for auditors.

    Raises
    ------
    veilsum.VeilsumError
        When terms and tasks do not fit, or a party refuses what another sends.
    """

    name = ENCRYPTED

    def __init__(
        self,
        terms: Terms,
        tasks: Sequence[LocalTask],
        *,
        threads: int | None = None,
        client: MakeClient = _client,
        conditions: Conditions | None = None,
        home: Path | None = None,
        keep_uploads: bool = False,
    ) -> None:
        self._terms = terms
        self._kept: list[KeptParties] = []
        if home is None:
            self.clients = [client(i, task, terms, threads) for i, task in enumerate(tasks)]
            self.members = [IndependentMember() for _ in range(_own_members(terms))]
            self.key_holder = KeyHolder()
        else:
            self._at(home, tasks, terms, threads)
        parties: dict[Party, Client | IndependentMember | KeyHolder] = {
            Party("key holder", 0): self.key_holder
        }
        parties |= {Party("cloud", i): one for i, one in enumerate(self.clients)}
        parties |= {Party("member", i): one for i, one in enumerate(self.members)}
        # Made now where it is needed, so that a missing package is found before any training.
        noisy = terms.privacy.distributed or terms.hybrid.plain_noise_multiplier
        self._accountants = [Accountant(terms.privacy.delta)] if noisy else []
        before = b"" if home is None else kept_coordinator(home)
        self.coordinator = (
            Coordinator.from_bytes(terms, time.perf_counter, before)
            if before
            else Coordinator(terms, time.perf_counter)
        )
        self._transport: Transport
        if home is None:
            handlers = {party: one.handle for party, one in parties.items()}
            self._transport = InProcess(handlers, conditions)
        else:
            kept = KeptParties(home, parties, keep_uploads=keep_uploads)
            self._kept = [kept]
            self._transport = kept.transport
        if not before:
            self.keep()
        if self.coordinator.played < 0:
            drive(self.coordinator.begin(), self._transport)
            self.keep()

    def _at(
        self, home: Path, tasks: Sequence[LocalTask], terms: Terms, threads: int | None
    ) -> None:
        """Make the parties with the secrets that are in their folders."""
        self.clients = []
        for i, task in enumerate(tasks):
            identity, ledger = identity_at(party_folder(home, Party("cloud", i)))
            made = Client(i, task, terms, threads=threads, identity=identity, ledger=ledger)
            self.clients.append(made)
        self.members = [
            IndependentMember(*identity_at(party_folder(home, Party("member", i))))
            for i in range(_own_members(terms))
        ]
        holder = party_folder(home, Party("key holder", 0))
        holder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.key_holder = KeyHolder(holder)

    def keep(self) -> None:
        """Have a run that is killed from now on go on after the last round."""
        for kept in self._kept:
            kept.save(self.coordinator)

    @property
    def played(self) -> int:
        """The last round that was played."""
        return self.coordinator.played

    def account_again(self, clouds: Sequence[int]) -> None:
        """Account for rounds that were played before the run was killed.

        Parameters
        ----------
        clouds : sequence of int
            How many clouds were in each round's sum, of those that were opened.
        """
        outcome = RoundOutcome(parameters=self.parameters, train_loss=None)
        for count in clouds:
            if self._terms.privacy.distributed:
                self._account(outcome, count)
            else:
                self._plain_privacy()

    @property
    def plan(self) -> Plan:
        """The plan of updates."""
        return self.coordinator.plan

    @property
    def aggregator(self) -> Aggregator:
        """The server."""
        return self.coordinator.aggregator

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
            lost=played.lost,
        )
        if not played.skipped and after.last is not None:
            self._look_at(played, after.last, outcome)
        elif played.lost is not None and played.uploads:
            # Answers left for the readers, who may have seen what honest ones do not use.
            outcome.uploads = played.uploads
            outcome.opened_by = played.opening
            if self._terms.privacy.distributed:
                self._account(outcome, len(outcome.uploads))
            elif played.plain_values:
                outcome.privacy = self._plain_privacy()
        return outcome

    def _clouds(self, played: PlayedRound) -> list[CloudRound]:
        """Add to what the coordinator knows what a process that plays all parties knows."""
        made = []
        for cloud in played.clouds:
            log = self.clients[cloud.client].log
            # A log that claims privacy must not show losses, not even as a simulation.
            loss = None if self._terms.privacy.distributed else log.loss
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
        if self._terms.privacy.distributed:
            self._account(outcome, len(outcome.uploads))
        if played.plain_values:
            size = sum(array.size for array in mean.update.values())
            outcome.encrypted_fraction = 1 - played.plain_values / size
            outcome.visible = self._visible()
            outcome.privacy = self._plain_privacy()

    def _account(self, outcome: RoundOutcome, clients: int) -> None:
        """Add an opened round with distributed noise; its loss was not sent."""
        options = self._terms.privacy
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
        multiplier = self._terms.hybrid.plain_noise_multiplier
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


class EncryptedAveraging(EncryptedRounds):
    """The same over a study's rows, as a configuration says.

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
    home : Path, optional
        As in `EncryptedRounds`.
    threads : int, optional
        For encryption and decryption; chosen as for a run by default.
    """

    def __init__(
        self,
        config: TrainConfig,
        clouds: Sequence[Study],
        client: MakeClient = _client,
        conditions: Conditions | None = None,
        home: Path | None = None,
        threads: int | None = None,
    ) -> None:
        if threads is None:
            threads = choose_threads(config, len(clouds[0].features)).core
        device = choose_device(config.run.device)
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
        super().__init__(
            config.terms,
            tasks,
            threads=threads,
            client=client,
            conditions=conditions,
            home=home,
            keep_uploads=config.run.keep_messages,
        )
        self._moments = Moments.from_mapping(dict(self.clients[0].state.pooled))
        self._preprocessor = Preprocessor.fit(clouds[0].features, self._moments)

    @property
    def moments(self) -> Moments:
        """The opened statistics of all clouds together."""
        return self._moments

    @property
    def preprocessor(self) -> Preprocessor:
        """As every participant computes it from the opened statistics."""
        return self._preprocessor
