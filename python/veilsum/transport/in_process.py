"""Veilsum's own method: updates are only ever summed under encryption.

Federated loop, methods. It moves bytes between the parties; it is the network of a run that happens
in one process, and is the only code that talks to all of them. What it knows of single clouds
(weights, losses, who failed and how) goes into the log only because one process plays all parties.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from veilsum.data import Moments, Preprocessor, Study
from veilsum.errors import WireFormatError
from veilsum.keys.committee import Committee
from veilsum.keys.identity import PublicIdentity
from veilsum.learning.task import Parameters
from veilsum.parties.aggregator import AggregatorServer
from veilsum.parties.client import (
    Client,
    configured_weights,
    new_history,
    new_replica,
    noise_plan,
)
from veilsum.parties.key_holder import AuthorityService
from veilsum.parties.member import (
    CommitteeMember,
    MemberService,
    Opening,
    open_together,
)
from veilsum.plans import Plan
from veilsum.privacy.accountant import Accountant, PrivacyLoss, gaussian_rho
from veilsum.protocol import statistics
from veilsum.protocol.agreement import Agreement
from veilsum.protocol.authority import write_committee
from veilsum.protocol.history import STATISTICS, TRAINING_BYTES, History
from veilsum.protocol.opened import OpenedSum
from veilsum.protocol.participation import participants
from veilsum.protocol.replica import Replica
from veilsum.rounds import Round
from veilsum.training.config import TrainConfig
from veilsum.training.outcome import CloudRound, RoundOutcome, Stopwatch, too_few
from veilsum.training.run_directory import ENCRYPTED
from veilsum.transport.conditions import Conditions, Reliable


@dataclass(frozen=True)
class _Opened:
    """The messages from which a cloud follows a round; or only its number, where it was skipped."""

    description: bytes = b""
    aggregate: bytes = b""
    sum_key: bytes = b""
    plain: bytes = b""
    of_sensitivities: bool = False
    of_shares: bool = False
    skipped: int = 0

    @property
    def size(self) -> int:
        parts = (self.description, self.aggregate, self.sum_key, self.plain)
        return sum(len(part) for part in parts)


class _Skip(Exception):  # noqa: N818 - no error: the round is skipped and the run goes on
    """Too few clouds are left in the round."""


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
    conditions : Conditions, optional
        What fails on the way; nothing by default.
    """

    name = ENCRYPTED

    def __init__(
        self,
        config: TrainConfig,
        clouds: Sequence[Study],
        client: Callable[[int, Study, TrainConfig], Client] = Client,
        conditions: Conditions | None = None,
    ) -> None:
        self._config = config
        self._conditions = Reliable() if conditions is None else conditions
        options = config.encryption
        plan = Plan(
            clients=len(clouds),
            value_bits=options.value_bits,
            security=options.security,
            optimise=options.optimise,
            profile=options.profile,
            engine=options.engine,
        )
        # Statistics are counts and moments, which must be exact: always the native engine.
        statistics_plan = Plan(
            clients=len(clouds), value_bits=statistics.VALUE_BITS, security=options.security
        )
        self.plan = plan
        self.authority = AuthorityService()
        self.aggregator = AggregatorServer()
        self.clients = [client(i, study, config) for i, study in enumerate(clouds)]
        roster = [one.public_identity for one in self.clients]
        training = secrets.token_bytes(TRAINING_BYTES)
        plans = (statistics_plan.to_bytes(), plan.to_bytes())
        #: Who opens together, in the committee's order; empty with one key holder.
        self.members: list[CommitteeMember] = []
        sealed = b""
        if options.authority == "single":
            keys = [(one, self.authority.issue_key(one)) for one in plans]
            self.authority.enrol(roster, config.terms.min_clients)
        else:
            committee = self._form_committee(training, roster)
            keys = [(one, committee) for one in plans]
            sealed = self.clients[0].make_group(training, roster)
        (statistics_bytes, statistics_key), (plan_bytes, plan_key) = keys
        for one in self.clients:
            one.agree(
                training, statistics_bytes, statistics_key, plan_bytes, plan_key, roster, sealed
            )
        agreed = (training, statistics_bytes, statistics_key, plan_bytes, plan_key, *roster, sealed)
        self._setup_bytes = sum(len(part) for part in agreed)
        # The coordinator reads what the clouds read: it stands with the first of them.
        group, least = self.clients[0].group, config.terms.min_clients
        self._updates = Agreement(plan_bytes, plan_key, roster, least, training, group)
        self._small_sums = Agreement(
            statistics_bytes, statistics_key, roster, least, training, group
        )
        history = new_history(config, training, roster, keys, clouds[0].features, group)
        self._request_bytes = 0
        self._opening: Opening | None = None
        self._moments, pooled = self._sum_statistics(history, clouds[0])
        self._preprocessor = Preprocessor.fit(clouds[0].features, self._moments)
        self._weights = weights = configured_weights(config, self._moments.rows)
        # Sums that some cloud has not taken in yet, oldest first, and how many each has.
        self._opened: list[_Opened] = []
        self._followed = [0] * len(self.clients)
        # Made now where it is needed, so that a missing package is found before any training.
        self._accountant = Accountant(config.privacy.delta) if config.privacy.distributed else None
        # The coordinator's own copy of the public state: it proposes rounds and evaluates.
        self._replica: Replica = new_replica(
            config,
            self._updates,
            self._small_sums,
            history,
            pooled,
            len(self._preprocessor.names),
            weights,
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

    def _form_committee(self, training: bytes, roster: Sequence[bytes]) -> bytes:
        """Say who opens together: the clouds, or members of their own."""
        identities = list(roster)
        self.members = list(self.clients)
        if self._config.encryption.authority == "committee":
            services = [MemberService() for _ in range(self._config.terms.members)]
            for service in services:
                service.enrol(training, roster, self._config.terms.min_clients)
            identities = [service.public_identity for service in services]
            self.members = list(services)
        public = [PublicIdentity.from_bytes(one) for one in identities]
        return write_committee(Committee(public, self._config.terms.threshold))

    def _sum_statistics(self, history: History, study: Study) -> tuple[Moments, OpenedSum]:
        place = history.place(STATISTICS)
        description = statistics.propose_round(self._small_sums, study, place)
        self.aggregator.open_round(description)
        for one in self.clients:
            self.aggregator.receive(one.statistics_upload(description))
        request = self.aggregator.close_round()
        sum_key = self._open_sum(description, request, 0)
        aggregate = self.aggregator.aggregate
        upload = max(one.payload_bytes for one in self.aggregator.seen)
        self._setup_bytes += len(description) + upload + len(aggregate) + len(sum_key)
        for one in self.clients:
            one.receive_statistics(aggregate, sum_key)
        group = self.clients[0].group
        return statistics.read(Round.from_bytes(description), aggregate, sum_key, group)

    def _open_sum(self, description: bytes, request: bytes, number: int) -> bytes:
        """Have a closed round opened; return what its readers need."""
        if not self.members:
            self._request_bytes = len(request)
            return self.authority.open(description, request)
        there: list[CommitteeMember | None] = [
            one if self._conditions.answers(k, number) else None
            for k, one in enumerate(self.members)
        ]
        self._opening = open_together(
            there, self._config.terms.threshold, description, self.aggregator
        )
        self._request_bytes = self._opening.request_bytes
        return self._opening.data

    @property
    def setup_bytes(self) -> int:
        """Bytes that each cloud exchanged once: plans, keys, roster, the sum of statistics."""
        return self._setup_bytes

    def run_round(self, number: int) -> RoundOutcome:
        """Run a round, from 1 on, in order.

        A cloud that drops, or whose upload arrives damaged or late, is left out; the mean is that
        of the others. With fewer than `min_clients` the round is skipped: nothing is opened, and
        the model stays as it was.

        Parameters
        ----------
        number : int
            The round.

        Raises
        ------
        veilsum.VeilsumError
            When a party refuses what another sends, or training diverges.
        """
        watch = Stopwatch()
        clouds = [CloudRound(i, state="not sampled") for i in range(len(self.clients))]
        outcome = RoundOutcome(
            parameters=self.parameters,
            train_loss=None,
            limits=self._replica.limits,
            seconds=watch.seconds,
            clouds=clouds,
            encrypted_fraction=1.0,
        )
        try:
            # Proposed before training, so that clouds can prepare their encryptions meanwhile;
            # after it where something is agreed on in between, which the round then names.
            renews = self._replica.masks is not None and self._replica.masks.renews(number)
            description = None if renews or self._weights.agreed else self._propose(watch)
            there = self._train(number, description, clouds, watch)
            if self._weights.agreed:
                self._agree_on_shares(there, clouds, watch)
            if renews:
                self._agree_on_mask(there, clouds, watch)
            if description is None:
                description = self._propose(watch)
            self._sum_updates(number, description, there, clouds, watch, outcome)
        except _Skip as reason:
            outcome.skipped = str(reason)
            for cloud in clouds:
                cloud.state = "round skipped" if cloud.state == "summed" else cloud.state
                cloud.weight = 0.0
            # Everybody takes note of it, those who are away now when they are back.
            self._replica.skip(number)
            self._opened.append(_Opened(skipped=number))
        return outcome

    def _propose(self, watch: Stopwatch) -> bytes:
        with watch.phase("aggregate"):
            return self._replica.propose_round()

    def _train(
        self, number: int, description: bytes | None, clouds: list[CloudRound], watch: Stopwatch
    ) -> list[int]:
        """Have the round's clouds train, after those that missed sums have caught up."""
        there: list[int] = []
        for i in participants(self._config.terms, number):
            if not self._conditions.trains(i, number):
                clouds[i].state = "absent"
                continue
            self._catch_up(clouds[i], watch)
            if description is not None:
                with watch.phase("encrypt", clouds[i]):
                    self.clients[i].prepare(description)
            with watch.phase("train", clouds[i]):
                self.clients[i].train(number)
            # A log that claims privacy must not show losses, not even as a simulation.
            if not self._config.privacy.distributed:
                clouds[i].loss = self.clients[i].loss
            clouds[i].state = "summed"
            there.append(i)
        self._require(len(there), clouds)
        if len(there) * self._weights.cap < 1 - 1e-9:
            raise _Skip(
                f"{len(there)} clouds are left, too few for a largest share of "
                f"{self._weights.cap:g} (aggregation.max_share)"
            )
        return there

    def _require(self, count: int, clouds: Sequence[CloudRound]) -> None:
        if count < self._config.terms.min_clients:
            raise _Skip(too_few(clouds, count, self._config.terms.min_clients))

    def _agree_on_shares(
        self, there: Sequence[int], clouds: list[CloudRound], watch: Stopwatch
    ) -> None:
        while not self._replica.passes.settled:
            with watch.phase("aggregate"):
                description = self._replica.propose_shares()
                self.aggregator.open_round(description)
            for i in there:
                with watch.phase("encrypt", clouds[i]):
                    upload = self.clients[i].weight_upload(description)
                clouds[i].up_bytes += len(upload)
                with watch.phase("aggregate"):
                    self.aggregator.receive(upload)
            opened = replace(self._open(description, clouds, watch), of_shares=True)
            self._opened.append(opened)
            for i in there:
                with watch.phase("decrypt", clouds[i]):
                    self.clients[i].receive_weights(opened.aggregate, opened.sum_key)
                clouds[i].down_bytes += opened.size
                self._followed[i] = len(self._opened)
            rnd = self._replica.read_shares(description)
            self._replica.take_shares(rnd, opened.aggregate, opened.sum_key)

    def _agree_on_mask(
        self, there: Sequence[int], clouds: list[CloudRound], watch: Stopwatch
    ) -> None:
        replica = self._replica
        with watch.phase("aggregate"):
            description = replica.propose_mask()
            self.aggregator.open_round(description)
        for i in there:
            with watch.phase("encrypt", clouds[i]):
                upload = self.clients[i].sensitivity_upload(description)
            clouds[i].up_bytes += len(upload)
            with watch.phase("aggregate"):
                self.aggregator.receive(upload)
        opened = replace(self._open(description, clouds, watch), of_sensitivities=True)
        with watch.phase("decrypt"):
            replica.take_mask(replica.read_mask(description), opened.aggregate, opened.sum_key)
        self._opened.append(opened)
        for i in there:
            self._catch_up(clouds[i], watch)

    def _open(self, description: bytes, clouds: Sequence[CloudRound], watch: Stopwatch) -> _Opened:
        if self.members and self._config.encryption.authority == "clouds":
            # Members open what follows from their own history: whoever was not drawn, or was away,
            # takes in first what it missed.
            for cloud in clouds:
                if self._conditions.answers(cloud.client, self._replica.history.step):
                    self._catch_up(cloud, watch)
        with watch.phase("aggregate"):
            request = self.aggregator.close_round()
            aggregate = self.aggregator.aggregate
        with watch.phase("open"):
            number = self._replica.history.step
            sum_key = self._open_sum(description, request, number)
        by = self._opening
        if by is not None and self._config.encryption.authority == "clouds":
            for k in {*by.endorsed, *by.answered}:
                clouds[k].down_bytes += by.request_bytes
            for k in by.endorsed:
                clouds[k].up_bytes += by.endorsement_bytes
            for k in by.answered:
                clouds[k].down_bytes += by.certificate_bytes
                clouds[k].up_bytes += by.answer_bytes
        return _Opened(description, aggregate, sum_key)

    def _sum_updates(
        self,
        number: int,
        description: bytes,
        there: Sequence[int],
        clouds: list[CloudRound],
        watch: Stopwatch,
        outcome: RoundOutcome,
    ) -> None:
        replica = self._replica
        mask = None if replica.masks is None else replica.masks.mask
        with watch.phase("aggregate"):
            self.aggregator.open_round(description, 0 if mask is None else mask.size - mask.count)
        for i in there:
            cloud = clouds[i]
            with watch.phase("encrypt", cloud):
                upload = self.clients[i].upload(description, number)
            if self.clients[i].background_seconds:
                watch.add("background", self.clients[i].background_seconds)
            cloud.weight = self.clients[i].weight or 0.0
            cloud.up_bytes += len(upload)
            cloud.state = self._deliver(cloud, number, upload, watch)
            if cloud.state != "summed":
                cloud.weight = 0.0
        self._require(len(self.aggregator.seen), clouds)
        opened = self._open(description, clouds, watch)
        if mask is not None and mask.count < mask.size:
            opened = replace(opened, plain=self.aggregator.plain_sum)
            outcome.encrypted_fraction = mask.fraction
            outcome.visible = self._visible()
            outcome.privacy = self._plain_privacy()
        with watch.phase("decrypt"):
            read = replica.advance(
                replica.read_round(description), opened.aggregate, opened.sum_key, opened.plain
            )
        self._opened.append(opened)
        for cloud in clouds:
            # Clouds that were not drawn follow too: everybody's model stays the same.
            if cloud.state != "absent" and self._conditions.receives(cloud.client, number):
                self._catch_up(cloud, watch)
        self._forget()
        outcome.parameters = replica.parameters
        outcome.train_loss = read.loss
        outcome.zeroed = sum(int((array == 0).sum()) for array in read.update.values())
        if self._config.privacy.distributed:
            self._account(outcome)
        outcome.uploads = list(self.aggregator.seen)
        outcome.message_bytes = {
            "round": len(description),
            "upload": max(one.payload_bytes for one in self.aggregator.seen),
            "opening_request": self._request_bytes,
            "sum_key": len(opened.sum_key),
            "aggregate": len(opened.aggregate),
        }
        if self._opening is not None:
            outcome.opened_by = self._opening
            del outcome.message_bytes["sum_key"]
            outcome.message_bytes |= {
                "endorsement": self._opening.endorsement_bytes,
                "certificate": self._opening.certificate_bytes,
                "answer": self._opening.answer_bytes,
            }
        if opened.plain:
            outcome.message_bytes["plain_sum"] = len(opened.plain)

    def _deliver(self, cloud: CloudRound, number: int, upload: bytes, watch: Stopwatch) -> str:
        """Bring an upload to the aggregator; return what became of it."""
        arrived = self._conditions.delivers(cloud.client, number, upload)
        if arrived is None:
            return "lost"
        deadline = self._config.training.deadline_s
        spent = sum(cloud.seconds.values()) + self._conditions.delay_s(cloud.client, number)
        if deadline and spent > deadline:
            return "late"
        try:
            with watch.phase("aggregate"):
                self.aggregator.receive(arrived)
        except WireFormatError:
            # Cut off or damaged on the way; a wrong signature or round is an attack, and raised.
            return "damaged"
        return "summed"

    def _catch_up(self, cloud: CloudRound, watch: Stopwatch) -> None:
        """Bring a cloud all sums that it has not taken in."""
        i = cloud.client
        for opened in self._opened[self._followed[i] :]:
            with watch.phase("decrypt", cloud):
                one = self.clients[i]
                if opened.skipped:
                    one.skip(opened.skipped)
                elif opened.of_sensitivities:
                    one.follow_mask(opened.description, opened.aggregate, opened.sum_key)
                elif opened.of_shares:
                    one.follow_weights(opened.description, opened.aggregate, opened.sum_key)
                else:
                    one.follow(opened.description, opened.aggregate, opened.sum_key, opened.plain)
            cloud.down_bytes += opened.size
            self._followed[i] += 1

    def _account(self, outcome: RoundOutcome) -> None:
        """Add an opened round with distributed noise; its loss was not sent."""
        options, clients = self._config.privacy, len(self.aggregator.seen)
        plan = noise_plan(self._config, sum(one.size for one in self.parameters.values()))
        if self._accountant is None:
            self._accountant = Accountant(options.delta)
        self._accountant.add(plan.loss(clients - options.colluders), plan.failure(clients))
        outcome.train_loss = None
        outcome.privacy = self._accountant.loss(
            "distributed",
            f"at most {options.colluders} of a sum's clouds tell others their noise; the authority "
            "opens sums only",
        )

    def _visible(self) -> dict[int, Mapping[str, NDArray[np.float64]]]:
        """Return what the aggregator reads: plain values of weighted updates, NaN elsewhere."""
        masks = self._replica.masks
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
        if self._accountant is None:
            self._accountant = Accountant(self._config.privacy.delta)
        self._accountant.add(gaussian_rho(multiplier))
        return self._accountant.loss(
            "local",
            "nobody: each cloud adds all of the noise of its plain part itself",
            "the plain parts of all rounds so far; not the encrypted parts, whose sums are opened "
            "exactly, nor the choice of coordinates, nor the pooled statistics",
        )

    def _forget(self) -> None:
        """Drop the sums that all clouds have."""
        least = min(self._followed)
        del self._opened[:least]
        self._followed = [count - least for count in self._followed]
