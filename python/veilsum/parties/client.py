"""A cloud: the only place where its rows, its updates and its signing key exist.

Federated loop. Everything that enters and leaves is bytes: public descriptions and encrypted sums
come in; signed uploads go out. A cloud checks each proposed round against what was agreed before
it encrypts for it, and encrypts once a round.

What steers it comes from four places only: the configuration, what it agreed to, its replica, whose
history every round names, and its own facts (rows, what training them gave, its link). What it
keeps of a step beside the replica is in one `_Work`, which belongs to the history that it began
under and is of no use under another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from veilsum._core import MemberRequest
from veilsum.arguments import shown
from veilsum.crypto import encrypt
from veilsum.data import Feature, Preprocessor, Study
from veilsum.errors import ParameterError, RoundError
from veilsum.keys.committee import Committee
from veilsum.keys.group import Group
from veilsum.keys.identity import Identity, PublicIdentity
from veilsum.keys.roster import Roster
from veilsum.learning.local_training import LocalTrainer
from veilsum.learning.model import choose_device, initial_parameters
from veilsum.learning.seeds import numpy_generator
from veilsum.learning.task import LocalResult
from veilsum.members import Member
from veilsum.pads import PadStore
from veilsum.parties.aggregator import join_parts
from veilsum.parties.member import ledger_folder
from veilsum.privacy.distributed_noise import NoisePlan
from veilsum.protocol import shares, statistics
from veilsum.protocol.agreement import Agreement
from veilsum.protocol.authority import read_authority
from veilsum.protocol.contribution import UPDATE, Contribution, encode, private_parts
from veilsum.protocol.history import (
    MASK,
    SHARES,
    STATISTICS,
    Genesis,
    History,
    Place,
    digest_state,
)
from veilsum.protocol.hybrid import PlainPart, noisy
from veilsum.protocol.masks import MaskState
from veilsum.protocol.opened import OpenedSum
from veilsum.protocol.participation import participants
from veilsum.protocol.ranges import FixedRange, range_policy
from veilsum.protocol.replica import Replica
from veilsum.protocol.server_step import server_optimiser
from veilsum.protocol.weights import (
    REFERENCE_BANDWIDTH_BPS,
    LocalFacts,
    WeightRule,
    exceeds,
    weight_rule,
)
from veilsum.rounds import Round
from veilsum.training.config import TrainConfig
from veilsum.training.threads import choose_threads

_T = TypeVar("_T")


def _made(value: _T | None, step: str) -> _T:
    """Return what an earlier step made, or say which step is missing."""
    if value is None:
        raise RoundError(f"a cloud's steps are out of order: {step} comes first")
    return value


@dataclass
class _Work:
    """What a cloud made in one step: of no use under another history than it began under.

    Parameters
    ----------
    base : bytes
        The history's head whose model was trained.
    number : int
        The step.
    result : LocalResult
        Of the training.
    share : OwnShare or None
        Where weights are agreed on: from the first pass on.
    encrypted : set of str
        Purposes that the cloud has encrypted for; each once.
    """

    base: bytes
    number: int
    result: LocalResult = field(repr=False)
    share: shares.OwnShare | None = field(default=None, repr=False)
    encrypted: set[str] = field(default_factory=set)

    def claim(self, place: Place) -> None:
        """Note that the cloud encrypts for a place, before anything leaves it; once."""
        # Two sums of the same over different clouds would give away their difference, one cloud's
        # own; a history that moved on in between is no excuse.
        if place.purpose in self.encrypted:
            raise RoundError(
                f"the {place.purpose} of round {self.number} was encrypted before; a retry sends "
                "the same bytes"
            )
        self.encrypted.add(place.purpose)


class Client:
    """One cloud.

    Parameters
    ----------
    index : int
        Its number, from 0; its place in the roster.
    study : Study
        Its own rows.
    config : TrainConfig
        The run's public configuration.
    """

    def __init__(self, index: int, study: Study, config: TrainConfig) -> None:
        self._index = index
        self._study = study
        self._config = config
        self._identity = Identity.generate()
        self._threads = choose_threads(config, len(study.features)).core
        self._statistics: Agreement | None = None
        self._updates: Agreement | None = None
        self._round: Round | None = None
        self._trainer: LocalTrainer | None = None
        self._weights: WeightRule | None = None
        self._replica: Replica | None = None
        self._work: _Work | None = None
        self._loss: float | None = None
        self._pads: PadStore | None = None
        self._background_seconds = 0.0
        self._history: History | None = None
        self._group: Group | None = None
        # A cloud of a run lives as long as its process, and so does what it endorsed.
        self._ledger = ledger_folder()
        self._member = Member.create(
            self._identity, Path(self._ledger.name) / "ledger", min_clients=config.terms.min_clients
        )
        self._share_round: Round | None = None
        self._weight: float | None = None
        self._mean_rows = 1.0
        self._counted = False
        self._number = 0
        configured = config.aggregation.bandwidths_bps
        self._bandwidth_bps = configured[index] if configured else REFERENCE_BANDWIDTH_BPS

    @property
    def loss(self) -> float | None:
        """Training loss of the last training; stays with the cloud (a simulation may log it)."""
        return self._loss

    @property
    def weight(self) -> float | None:
        """Weight of the last upload; stays with the cloud (a simulation may log it)."""
        return self._weight

    def measure_bandwidth(self, bits_per_second: int) -> None:
        """Take in a measured bandwidth of the cloud's link, in place of the configured one.

        Parameters
        ----------
        bits_per_second : int
            Above 0.
        """
        if bits_per_second <= 0:
            raise ParameterError(
                f"a measured bandwidth is {shown(bits_per_second)} bit/s; must be above 0"
            )
        self._bandwidth_bps = float(bits_per_second)

    @property
    def background_seconds(self) -> float:
        """Processor time that the last upload's pads took in the background."""
        return self._background_seconds

    @property
    def public_identity(self) -> bytes:
        """Public half of the cloud's identity."""
        return self._identity.public.to_bytes()

    def agree(
        self,
        training: bytes,
        statistics_plan: bytes,
        statistics_key: bytes,
        updates_plan: bytes,
        updates_key: bytes,
        roster: Sequence[bytes],
        group: bytes = b"",
    ) -> None:
        """Fix plans, authority and roster for the whole run, and begin its history.

        Parameters
        ----------
        training : bytes
            32 bytes that name the training, drawn by whoever calls it together.
        statistics_plan, statistics_key : bytes
            Of the sum of preprocessing statistics; with the key of its key holder, or who is in the
            committee.
        updates_plan, updates_key : bytes
            Of the sums of updates.
        roster : sequence of bytes
            Public identities of all clouds, in order.
        group : bytes
            The clouds' shared keys, sealed, where a committee opens; from the cloud that made them.

        Raises
        ------
        veilsum.RoundError
            When the roster has another identity at this cloud's place, the cloud has agreed
            before, or the authority is of another kind than the configuration says.
        veilsum.KeyMismatchError
            When the group's keys are of another training or roster.
        """
        # Another key or roster in the middle of a run would hand its updates to somebody else.
        if self._updates is not None:
            raise RoundError(
                "the cloud has agreed on plans, keys and roster; they are fixed for the run"
            )
        if len(roster) <= self._index or roster[self._index] != self.public_identity:
            raise RoundError(
                f"the roster has another identity than cloud {self._index + 1}'s own at its place"
            )
        least = self._config.terms.min_clients
        shared = None
        if group:
            clouds = Roster([PublicIdentity.from_bytes(one) for one in roster])
            shared = Group.open(self._identity, group, clouds, training)
        agreed = Agreement(statistics_plan, statistics_key, roster, least, training, shared)
        updates = Agreement(updates_plan, updates_key, roster, least, training, shared)
        for one in (agreed, updates):
            check_authority(self._config, one)
        keys = ((statistics_plan, statistics_key), (updates_plan, updates_key))
        self._history = new_history(
            self._config, training, roster, keys, self._study.features, shared
        )
        self._updates, self._statistics, self._group = updates, agreed, shared

    def make_group(self, training: bytes, roster: Sequence[bytes]) -> bytes:
        """Make the keys that the clouds of a training share, sealed to each; one cloud does this.

        Parameters
        ----------
        training : bytes
            32 bytes that name the training.
        roster : sequence of bytes
            Public identities of all clouds, in order.
        """
        clouds = Roster([PublicIdentity.from_bytes(one) for one in roster])
        return Group.create(self._identity, clouds, training).sealed

    @property
    def group(self) -> Group | None:
        """The clouds' shared keys; None where one key holder opens."""
        return self._group

    def endorse(self, round_description: bytes, request: bytes) -> bytes:
        """Give the cloud's word for a sum, as a member of the committee.

        Parameters
        ----------
        round_description : bytes
            The round, which has to follow from the cloud's own history.
        request : bytes
            What the aggregator asks.

        Raises
        ------
        veilsum.RoundError
            When the round is not as agreed or not of the cloud's history, or the sum is none that a
            member endorses.
        """
        rnd = self._opens(round_description)
        return self._member.endorse(rnd, MemberRequest.from_bytes(request, rnd)).to_bytes()

    def answer(self, round_description: bytes, certificate: bytes, request: bytes) -> bytes:
        """Give the cloud's share of a certified sum's key, sealed to the clouds.

        Parameters
        ----------
        round_description : bytes
            The round, which has to follow from the cloud's own history.
        certificate : bytes
            Of a threshold of members.
        request : bytes
            What the aggregator asks.

        Raises
        ------
        veilsum.RoundError
            As `endorse`, and when the certificate is for another sum.
        """
        rnd = self._opens(round_description)
        certified = _made(self._updates, "agree").read_certificate(certificate, rnd)
        return self._member.answer(
            rnd, certified, MemberRequest.from_bytes(request, rnd)
        ).to_bytes()

    def _opens(self, round_description: bytes) -> Round:
        """Read a round that the cloud is asked to open, refusing what was not agreed."""
        agreement = _made(self._updates, "agree")
        rnd = Round.from_bytes(round_description)
        history = _made(self._history, "agree")
        head = history.head if self._replica is None else self._replica.history.head
        if rnd.step is None or rnd.step.history != head:
            raise RoundError(
                f"round {rnd.id.hex()[:16]} does not follow from this cloud's history; it opens "
                "none of it"
            )
        agreement.check_opening(rnd)
        return rnd

    def statistics_upload(self, round_description: bytes) -> bytes:
        """Encrypt the sums over the cloud's own rows that preprocessing needs.

        Parameters
        ----------
        round_description : bytes
            The round that sums them.

        Raises
        ------
        veilsum.RoundError
            When the round is not as agreed, or the statistics were encrypted before.
        """
        agreement = _made(self._statistics, "agree")
        # Two sums of the same statistics over different clouds would give away their difference.
        if self._counted:
            raise RoundError("the statistics were encrypted before; a retry sends the same bytes")
        place = _made(self._history, "agree").place(STATISTICS)
        self._round = statistics.read_round(agreement, round_description, self._study, place)
        self._counted = True
        return statistics.upload(
            self._round, self._study, self._identity, self._threads, self._group
        )

    def receive_statistics(self, aggregate: bytes, sum_key: bytes) -> None:
        """Decrypt the pooled statistics and prepare rows and model.

        Parameters
        ----------
        aggregate : bytes
            From the aggregator.
        sum_key : bytes
            From the authority.

        Raises
        ------
        veilsum.RoundError
            When there are no statistics to receive, or they were received before.
        """
        # Again, they would put rows, weights and the model back to where a run begins.
        if self._replica is not None:
            raise RoundError("the statistics were received before; they are fixed for the run")
        agreement, small_sums = _made(self._updates, "agree"), _made(self._statistics, "agree")
        rnd = _made(self._round, "statistics_upload")
        moments, opened = statistics.read(rnd, aggregate, sum_key, self._group)
        config = self._config
        preprocessor = Preprocessor.fit(self._study.features, moments)
        weights = configured_weights(config, moments.rows)
        replica = new_replica(
            config,
            agreement,
            small_sums,
            _made(self._history, "agree"),
            opened,
            len(preprocessor.names),
            weights,
        )
        self._round = None
        self._trainer = LocalTrainer(
            preprocessor.transform(self._study),
            self._study.labels,
            config.model,
            config.training,
            seed=config.run.seed,
            cloud=self._index,
            device=choose_device(config.run.device),
        )
        self._weights = weights
        self._mean_rows = moments.rows / agreement.clients
        self._replica = replica

    def prepare(self, round_description: bytes) -> None:
        """Begin to prepare the upload in the background, as far as the configuration says.

        Optional: without, `upload` does everything itself.

        Parameters
        ----------
        round_description : bytes
            The round that `upload` will be asked for.

        Raises
        ------
        veilsum.RoundError
            When the round is not as agreed.
        """
        options = self._config.encryption
        self._drop_pads()
        if options.pads_ahead and options.engine == "native":
            rnd = _made(self._replica, "receive_statistics").read_round(round_description)
            self._pads = PadStore(rnd, budget_bytes=options.pad_budget_mib << 20)

    def _drop_pads(self) -> None:
        """Wipe pads that nothing was encrypted with."""
        if self._pads is not None:
            self._pads.close()
        self._pads = None

    def train(self, number: int) -> None:
        """Train on the cloud's own rows, from its copy of the global model.

        Parameters
        ----------
        number : int
            The round, from 1; higher than that of the last training.

        Raises
        ------
        veilsum.RoundError
            When the cloud has trained for this round or a later one, its history has not come to
            the round, the cloud was not drawn for it, or with distributed noise it has trained for
            as many rounds as were agreed.
        """
        replica = _made(self._replica, "receive_statistics")
        # Training again would give the same update, and two sums of it over different clouds would
        # give away their difference, one cloud's own.
        if number <= self._number:
            raise RoundError(
                f"asked to train for round {shown(number)} after round {self._number}; each is "
                "trained once, and in order"
            )
        most = self._config.training.rounds
        if self._config.privacy.distributed and number > most:
            raise RoundError(
                f"asked to train for round {shown(number)}; the privacy that was agreed on is of "
                f"{most} rounds"
            )
        history = replica.history
        if number != history.step:
            raise RoundError(
                f"asked to train for round {shown(number)}, but the history has come to round "
                f"{history.step}: the sums of the rounds before, or word that they were skipped, "
                "come first"
            )
        # Whoever could ask other clouds than those drawn would choose whose updates are summed.
        if self._index not in participants(self._config.terms, number):
            raise RoundError(f"the cloud was not drawn for round {number}")
        self._share_round = None
        self._work = None
        self._number = number
        trainer = _made(self._trainer, "receive_statistics")
        result = trainer.train(replica.parameters, number)
        self._loss = result.loss
        self._work = _Work(history.base, number, result)

    def _trained(self, replica: Replica) -> _Work:
        """Return what training gave, if the model that it began from is still the history's."""
        work = _made(self._work, "train")
        if work.base != replica.history.base:
            raise RoundError(
                f"the update of round {work.number} belongs to another history: a sum was taken in "
                "since, and the model is another one; train comes first"
            )
        return work

    def weight_upload(self, round_description: bytes) -> bytes:
        """Encrypt the cloud's relative weight for one pass of agreeing on shares.

        Parameters
        ----------
        round_description : bytes
            The round of the pass.

        Raises
        ------
        veilsum.ParameterError
            When loss, rows or bandwidth give no weight.
        veilsum.RoundError
            When `train` gave no update since the last upload, the round is not as agreed, or
            shares are.
        """
        replica = _made(self._replica, "receive_statistics")
        work = self._trained(replica)
        if self._share_round is not None:
            raise RoundError("the last pass of agreeing on shares was not opened for this cloud")
        rnd = replica.read_shares(round_description)
        place = replica.history.place(SHARES)
        if work.share is None and replica.history.passes:
            raise RoundError("the cloud had no part in the first pass; it has no share to agree on")
        rule = _made(self._weights, "receive_statistics")
        if work.share is None:
            facts = LocalFacts(work.result.rows, work.result.loss, self._bandwidth_bps)
            work.share = shares.OwnShare(rule.weight(facts), rule.cap)
        work.claim(place)
        self._share_round = rnd
        return encrypt(
            rnd,
            work.share.contribution(),
            signer=self._identity,
            group=self._group,
            on_clip="error",
            threads=self._threads,
        ).to_bytes()

    def receive_weights(self, aggregate: bytes, sum_key: bytes) -> None:
        """Decrypt a pass and see whether the cloud's share has to be held at the cap.

        Parameters
        ----------
        aggregate : bytes
            From the aggregator.
        sum_key : bytes
            From the authority.

        Raises
        ------
        veilsum.VeilsumError
            When either does not belong to the pass, the pass to no honest clouds, or it does not
            follow from the history.
        """
        self._take_shares(_made(self._share_round, "weight_upload"), aggregate, sum_key)

    def follow_weights(self, round_description: bytes, aggregate: bytes, sum_key: bytes) -> None:
        """Take in a pass of agreeing on shares that the cloud had no part in, or missed the sum of.

        Parameters
        ----------
        round_description : bytes
            The round of the pass.
        aggregate : bytes
            From the aggregator.
        sum_key : bytes
            From the authority.

        Raises
        ------
        veilsum.VeilsumError
            When the round does not follow from the history, or the others do not belong to it.
        """
        replica = _made(self._replica, "receive_statistics")
        self._take_shares(replica.read_shares(round_description), aggregate, sum_key)

    def _take_shares(self, rnd: Round, aggregate: bytes, sum_key: bytes) -> None:
        replica = _made(self._replica, "receive_statistics")
        purpose = replica.history.place(SHARES).purpose
        totals, members = replica.take_shares(rnd, aggregate, sum_key)
        self._share_round = None
        work = self._work
        if work is None or work.share is None:
            return
        # Beside a sum that its weight is not in, it would count more than its share.
        if purpose in work.encrypted and self._index in members:
            work.share.observe(totals)
        else:
            work.share = None

    def sensitivity_upload(self, round_description: bytes) -> bytes:
        """Encrypt how sensitive each coordinate is at this cloud, to agree on a mask.

        Parameters
        ----------
        round_description : bytes
            The round that sums sensitivities.

        Raises
        ------
        veilsum.RoundError
            When there is no hybrid aggregation, no update, the round is not as agreed or due, or
            sensitivities of this training were encrypted before.
        """
        replica = _made(self._replica, "receive_statistics")
        masks = _made(replica.masks, "hybrid aggregation")
        work = self._trained(replica)
        rnd = replica.read_mask(round_description)
        place = replica.history.place(MASK)
        work.claim(place)
        trainer = _made(self._trainer, "receive_statistics")
        options, result = self._config.hybrid, work.result
        parts = masks.contribution(
            trainer.sensitivity(options.sensitivity, replica.parameters, result),
            loss=result.loss,
            rows=result.rows,
            mean_rows=self._mean_rows,
            bandwidth_bps=self._bandwidth_bps,
        )
        return encrypt(
            rnd,
            parts,
            signer=self._identity,
            group=self._group,
            on_clip="error",
            threads=self._threads,
        ).to_bytes()

    def follow_mask(self, round_description: bytes, aggregate: bytes, sum_key: bytes) -> None:
        """Take in an opened sum of sensitivities and set the mask from it.

        Parameters
        ----------
        round_description : bytes
            The round.
        aggregate : bytes
            From the aggregator.
        sum_key : bytes
            From the authority.

        Raises
        ------
        veilsum.VeilsumError
            When one does not belong to the round, or the round is not as agreed.
        """
        replica = _made(self._replica, "receive_statistics")
        replica.take_mask(replica.read_mask(round_description), aggregate, sum_key)

    def upload(self, round_description: bytes, number: int) -> bytes:
        """Weigh, round, encrypt and sign the update of the last training.

        Parameters
        ----------
        round_description : bytes
            The round that sums the updates.
        number : int
            The round's number, from 1.

        Raises
        ------
        veilsum.RoundError
            When `train` gave no update since the last upload, the round is not as agreed, or the
            cloud's weight is a larger share of the opened total than it is willing to be.
        """
        replica = _made(self._replica, "receive_statistics")
        # Rule 1: an update is encrypted once; a retry sends the same bytes again.
        work = self._trained(replica)
        result = work.result
        if number != work.number:
            raise RoundError(f"the cloud has trained for round {work.number}, and no other")
        rnd = replica.read_round(round_description)
        marks = replica.marks()
        if self._config.privacy.distributed:
            return self._private_upload(rnd, result, marks)
        weight = self._own_weight(work)
        contribution = Contribution(result.update, weight, result.loss)
        options = self._config.encryption
        pads = self._pads
        if pads is not None and pads.round_id != rnd.id:
            pads = None  # the round was proposed anew since
        dither = None
        if options.rounding == "stochastic":
            dither = numpy_generator(self._config.run.seed, "dither", self._index, number)
        values = encode(contribution, replica.limits, options.value_bits, dither)
        masks = replica.masks
        encrypted = values if masks is None else masks.encrypted_part(values)
        upload = encrypt(
            rnd,
            {**encrypted, **marks},
            rounding="nearest",
            signer=self._identity,
            group=self._group,
            on_clip=options.on_clip,
            threads=self._threads,
            pads=pads,
        )
        self._background_seconds = 0.0 if pads is None else pads.background_seconds
        self._drop_pads()
        self._weight = weight
        self._work = None
        self._round = rnd
        if masks is None or masks.mask.count == masks.mask.size:
            return upload.to_bytes()
        # With the weight as it was rounded and encrypted: both parts are divided by its sum.
        scale = float(values["weight"][0])
        whole = {UPDATE + name: scale * array for name, array in result.update.items()}
        plain, hybrid = masks.plain_part(whole), self._config.hybrid
        if hybrid.plain_noise_multiplier:
            plain = noisy(plain, hybrid.plain_clip, hybrid.plain_noise_multiplier)
        part = PlainPart.seal(rnd, self._index, plain, hybrid.plain_dtype, self._identity)
        return join_parts(upload.to_bytes(), part)

    def _own_weight(self, work: _Work) -> float:
        """Return the cloud's weight, 1 on average; refuse to be nearly all of a sum."""
        rule = _made(self._weights, "receive_statistics")
        if rule.agreed:
            share = _made(work.share, "weight_upload")
            weight, clients = share.weight, share.clients
        else:
            facts = LocalFacts(work.result.rows, work.result.loss, self._bandwidth_bps)
            weight = rule.weight(facts)
            clients = _made(self._updates, "agree").clients
        most = self._config.aggregation.refuse_above
        if exceeds(weight / clients, most):
            raise RoundError(
                f"the cloud would count more than {most:g} of the opened total of weights, and the "
                "sum would be nearly its own update: nothing was encrypted. Use uniform weights or "
                "a lower aggregation.max_share; or a higher aggregation.refuse_above, where all "
                "clouds agree to that"
            )
        return weight

    def _private_upload(
        self, rnd: Round, result: LocalResult, marks: dict[str, NDArray[np.float64]]
    ) -> bytes:
        """Clip, round, add the cloud's share of noise, encrypt and sign."""
        values = sum(array.size for array in result.update.values())
        private = noise_plan(self._config, values).private(result.update)
        # The loss stays at the cloud: opening it would be one more thing to account for. Ranges
        # hold every point of the grid, so the public count of clipped values is 0 for all.
        upload = encrypt(
            rnd,
            private_parts(private) | marks,
            rounding="nearest",
            signer=self._identity,
            group=self._group,
            on_clip="error",
            threads=self._threads,
        )
        self._weight = 1.0
        self._work = None
        self._round = rnd
        return upload.to_bytes()

    def receive(self, aggregate: bytes, sum_key: bytes, plain: bytes = b"") -> None:
        """Decrypt the round's sum and take the cloud's copy of the global model one step on.

        Parameters
        ----------
        aggregate : bytes
            From the aggregator.
        sum_key : bytes
            From the authority.
        plain : bytes
            Sum of the plain parts, from the aggregator; empty where everything is encrypted.

        Raises
        ------
        veilsum.VeilsumError
            When one does not belong to the round.
        """
        replica = _made(self._replica, "receive_statistics")
        replica.advance(_made(self._round, "upload"), aggregate, sum_key, plain)
        self._round = None

    def follow(
        self, round_description: bytes, aggregate: bytes, sum_key: bytes, plain: bytes = b""
    ) -> None:
        """Take in the sum of a round that the cloud has no part in, or whose sum it missed.

        Parameters
        ----------
        round_description : bytes
            The round; held against the cloud's own copy of the public state like any other.
        aggregate : bytes
            From the aggregator.
        sum_key : bytes
            From the authority.
        plain : bytes
            Sum of the plain parts, from the aggregator; empty where everything is encrypted.

        Raises
        ------
        veilsum.VeilsumError
            When the round does not follow from the public state, or the others not from it.
        """
        replica = _made(self._replica, "receive_statistics")
        replica.advance(replica.read_round(round_description), aggregate, sum_key, plain)
        self._round = None

    def skip(self, number: int) -> None:
        """Take note that a round ended without a sum; what was trained for it is of no use.

        Parameters
        ----------
        number : int
            The round.

        Raises
        ------
        veilsum.RoundError
            When it is not the one that is open.
        """
        _made(self._replica, "receive_statistics").skip(number)
        self._round = None


def check_authority(config: TrainConfig, agreement: Agreement) -> None:
    """Refuse an authority of another kind than the one that was configured.

    Parameters
    ----------
    config : TrainConfig
        The run's public configuration.
    agreement : Agreement
        What was proposed.

    Raises
    ------
    veilsum.RoundError
        When somebody else is to open than the configuration says.
    """
    options, committee = config.encryption, agreement.committee
    if options.authority == "single":
        fits = committee is None and agreement.group is None
    else:
        fits = (
            committee is not None
            and agreement.group is not None
            and committee.threshold == config.terms.threshold
            and len(committee) == config.terms.members
            and (options.authority == "committee" or agreement.opened_by_clients)
        )
    if not fits:
        raise RoundError(
            f"the sums are to be opened by another authority than was configured "
            f"(encryption.authority={options.authority}): nothing was agreed on"
        )


def configured_weights(config: TrainConfig, total_rows: float) -> WeightRule:
    """Make the weight rule of a run.

    Parameters
    ----------
    config : TrainConfig
        The run's public configuration.
    total_rows : float
        Rows of all clouds together.
    """
    options = config.aggregation
    return weight_rule(
        options.weights,
        config.data.clouds,
        total_rows,
        exponent=options.bandwidth_exponent,
        form=options.dynamic_form,
        max_share=options.max_share,
    )


def noise_plan(config: TrainConfig, values: int) -> NoisePlan:
    """Size range and noise of a run with distributed noise.

    Parameters
    ----------
    config : TrainConfig
        The run's public configuration.
    values : int
        Number of the model's values.
    """
    options = config.privacy
    return NoisePlan.make(
        clip=options.clip,
        noise_multiplier=options.noise_multiplier,
        values=values,
        value_bits=config.encryption.value_bits,
        honest=config.terms.min_clients - options.colluders,
        tail=options.noise_tail,
    )


def new_history(
    config: TrainConfig,
    training: bytes,
    roster: Sequence[bytes],
    keys: Sequence[tuple[bytes, bytes]],
    features: Sequence[Feature],
    group: Group | None = None,
) -> History:
    """Begin a participant's history: what is fixed before the first sum.

    Parameters
    ----------
    config : TrainConfig
        The run's public configuration.
    training : bytes
        32 bytes that name the training.
    roster : sequence of bytes
        Verification keys of all clouds, in order.
    keys : sequence of (bytes, bytes)
        Each plan, and the public key that its sums are opened under.
    features : sequence of Feature
        What the rows' columns are, with their public ranges.
    group : Group or None
        The clouds' shared keys, where a committee opens.
    """
    authority = read_authority(keys[0][1])
    described = json.dumps([asdict(feature) for feature in features], sort_keys=True)
    return History(
        Genesis(
            training=training,
            configuration=config.agreed(),
            roster=roster,
            plans=[plan for plan, _ in keys],
            authority=[key for _, key in keys],
            threshold=authority.threshold if isinstance(authority, Committee) else 1,
            min_clients=config.terms.min_clients,
            group=() if group is None else group.commitment,
            # The model follows from the configuration and the statistics, whose record has it.
            initial=digest_state({"features": np.frombuffer(described.encode(), dtype=np.uint8)}),
        )
    )


def new_replica(
    config: TrainConfig,
    agreement: Agreement,
    small_sums: Agreement,
    history: History,
    pooled: OpenedSum,
    inputs: int,
    weights: WeightRule,
) -> Replica:
    """Make a participant's copy of the public state, as it is before the first round.

    Parameters
    ----------
    config : TrainConfig
        The run's public configuration.
    agreement, small_sums : Agreement
        Of the rounds that sum updates, and of all others.
    history : History
        The participant's own, before the statistics.
    pooled : OpenedSum
        The statistics.
    inputs : int
        Number of the model's input columns.
    weights : WeightRule
        How clouds count.
    """
    parameters = initial_parameters(config.model, inputs, config.run.seed)
    policy = range_policy(config.encryption, parameters)
    if config.privacy.distributed:
        values = sum(array.size for array in parameters.values())
        policy = FixedRange(parameters, noise_plan(config, values).limit)
    return Replica(
        history,
        pooled,
        history.place(STATISTICS),
        agreement,
        small_sums,
        parameters,
        policy,
        server_optimiser(config.aggregation),
        weights,
        choose_threads(config, inputs).core,
        MaskState(
            config.hybrid, {name: array.shape for name, array in parameters.items()}, agreement
        )
        if config.terms.is_hybrid
        else None,
    )
