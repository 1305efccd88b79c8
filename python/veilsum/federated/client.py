"""A cloud: the only place where its rows, its updates and its signing key exist.

Federated loop. Everything that enters and leaves is bytes: public descriptions and encrypted sums
come in; signed uploads go out. A cloud checks each proposed round against what was agreed before
it encrypts for it, and encrypts once a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from veilsum.arguments import shown
from veilsum.crypto import encrypt
from veilsum.data import Preprocessor, Study
from veilsum.errors import ParameterError, RoundError
from veilsum.federated import shares, statistics
from veilsum.federated.aggregator import join_parts
from veilsum.federated.agreement import Agreement
from veilsum.federated.config import TrainConfig
from veilsum.federated.contribution import UPDATE, Contribution, encode, private_parts
from veilsum.federated.distributed_noise import NoisePlan
from veilsum.federated.masks import MaskState
from veilsum.federated.model import choose_device, initial_parameters
from veilsum.federated.ranges import FixedRange, range_policy
from veilsum.federated.replica import Replica
from veilsum.federated.seeds import numpy_generator
from veilsum.federated.server import server_optimiser
from veilsum.federated.threads import choose_threads
from veilsum.federated.training import LocalResult, LocalTrainer
from veilsum.federated.weights import (
    REFERENCE_BANDWIDTH_BPS,
    LocalFacts,
    WeightRule,
    weight_rule,
)
from veilsum.hybrid import PlainPart, noisy
from veilsum.keys.identity import Identity
from veilsum.pads import PadStore
from veilsum.rounds import Round

_T = TypeVar("_T")


def _made(value: _T | None, step: str) -> _T:
    """Return what an earlier step made, or say which step is missing."""
    if value is None:
        raise RoundError(f"a cloud's steps are out of order: {step} comes first")
    return value


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
        self._result: LocalResult | None = None
        self._pads: PadStore | None = None
        self._background_seconds = 0.0
        self._share: shares.OwnShare | None = None
        self._share_round: Round | None = None
        self._weight: float | None = None
        self._mean_rows = 1.0
        self._sensed = False
        self._counted = False
        self._number = 0
        configured = config.aggregation.bandwidths_bps
        self._bandwidth_bps = configured[index] if configured else REFERENCE_BANDWIDTH_BPS

    @property
    def loss(self) -> float | None:
        """Training loss of the last training; stays with the cloud (a simulation may log it)."""
        return None if self._result is None else self._result.loss

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
        statistics_plan: bytes,
        statistics_key: bytes,
        updates_plan: bytes,
        updates_key: bytes,
        roster: Sequence[bytes],
    ) -> None:
        """Fix plans, public keys and roster for the whole run.

        Parameters
        ----------
        statistics_plan, statistics_key : bytes
            Of the sum of preprocessing statistics.
        updates_plan, updates_key : bytes
            Of the sums of updates.
        roster : sequence of bytes
            Public identities of all clouds, in order.

        Raises
        ------
        veilsum.RoundError
            When the roster has another identity at this cloud's place, or the cloud has agreed
            before.
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
        least = self._config.min_clients
        agreed = Agreement(statistics_plan, statistics_key, roster, least)
        self._updates = Agreement(updates_plan, updates_key, roster, least)
        self._statistics = agreed

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
        self._round = statistics.read_round(agreement, round_description, self._study)
        upload = statistics.upload(self._round, self._study, self._identity, self._threads)
        self._counted = True
        return upload

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
        agreement = _made(self._updates, "agree")
        moments = statistics.read(_made(self._round, "statistics_upload"), aggregate, sum_key)
        self._round = None
        config = self._config
        preprocessor = Preprocessor.fit(self._study.features, moments)
        self._trainer = LocalTrainer(
            preprocessor.transform(self._study),
            self._study.labels,
            config.model,
            config.training,
            seed=config.run.seed,
            cloud=self._index,
            device=choose_device(config.run.device),
        )
        self._weights = configured_weights(config, moments.rows)
        self._mean_rows = moments.rows / agreement.clients
        self._replica = new_replica(config, agreement, len(preprocessor.names), self._weights.limit)

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
            When the cloud has trained for this round or a later one, or with distributed noise for
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
        self._share = None
        self._share_round = None
        self._sensed = False
        self._number = number
        self._result = _made(self._trainer, "receive_statistics").train(replica.parameters, number)

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
        agreement = _made(self._statistics, "agree")
        result = _made(self._result, "train")
        # Two sums of the same weights over different clouds would give away their difference.
        if self._share_round is not None:
            raise RoundError("the last pass of agreeing on shares was not opened for this cloud")
        if self._share is not None and self._share.settled:
            raise RoundError("the shares of this round are agreed on; no more passes are due")
        rule = _made(self._weights, "receive_statistics")
        if self._share is None:
            facts = LocalFacts(result.rows, result.loss, self._bandwidth_bps)
            self._share = shares.OwnShare(rule.weight(facts), rule.cap)
        self._share_round = shares.read_round(agreement, round_description)
        return encrypt(
            self._share_round,
            self._share.contribution(),
            signer=self._identity,
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
            When either does not belong to the pass, or the pass to no honest clouds.
        """
        rnd = _made(self._share_round, "weight_upload")
        _made(self._share, "weight_upload").observe(shares.read(rnd, aggregate, sum_key))
        _made(self._replica, "receive_statistics").note(rnd, aggregate, sum_key)
        self._share_round = None

    def follow_weights(self, round_description: bytes, aggregate: bytes, sum_key: bytes) -> None:
        """Take note of a pass of agreeing on shares that the cloud had no part in.

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
        veilsum.RoundError
            When the round is not as agreed.
        """
        rnd = shares.read_round(_made(self._statistics, "agree"), round_description)
        _made(self._replica, "receive_statistics").note(rnd, aggregate, sum_key)

    def sensitivity_upload(self, round_description: bytes) -> bytes:
        """Encrypt how sensitive each coordinate is at this cloud, to agree on a mask.

        Parameters
        ----------
        round_description : bytes
            The round that sums sensitivities.

        Raises
        ------
        veilsum.RoundError
            When there is no hybrid aggregation, no update, or the round is not as agreed.
        """
        replica = _made(self._replica, "receive_statistics")
        masks = _made(replica.masks, "hybrid aggregation")
        result = _made(self._result, "train")
        # Once a training, in rounds that are due: two sums of the same sensitivities over different
        # clouds would give away their difference, one cloud's own.
        if self._sensed or not masks.renews(self._number):
            raise RoundError(
                f"sensitivities of round {self._number} were encrypted before, or are not due"
            )
        self._sensed = True
        trainer = _made(self._trainer, "receive_statistics")
        options = self._config.hybrid
        rnd = masks.read_round(round_description)
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
        masks = _made(_made(self._replica, "receive_statistics").masks, "hybrid aggregation")
        masks.observe(masks.read_round(round_description), aggregate, sum_key)

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
            When `train` gave no update since the last upload, or the round is not as agreed.
        """
        replica = _made(self._replica, "receive_statistics")
        # Rule 1: an update is encrypted once; a retry sends the same bytes again.
        result = _made(self._result, "train")
        rnd = replica.read_round(round_description)
        rule = _made(self._weights, "receive_statistics")
        if rule.agreed:
            weight = _made(self._share, "weight_upload").weight
        else:
            weight = rule.weight(LocalFacts(result.rows, result.loss, self._bandwidth_bps))
        if self._config.privacy.distributed:
            return self._private_upload(rnd, result, replica)
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
            {**encrypted, **replica.marks},
            rounding="nearest",
            signer=self._identity,
            on_clip=options.on_clip,
            threads=self._threads,
            pads=pads,
        )
        self._background_seconds = 0.0 if pads is None else pads.background_seconds
        self._drop_pads()
        self._weight = weight
        self._result = None
        self._share = None
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

    def _private_upload(self, rnd: Round, result: LocalResult, replica: Replica) -> bytes:
        """Clip, round, add the cloud's share of noise, encrypt and sign."""
        values = sum(array.size for array in result.update.values())
        private = noise_plan(self._config, values).private(result.update)
        # The loss stays at the cloud: opening it would be one more thing to account for. Ranges
        # hold every point of the grid, so the public count of clipped values is 0 for all.
        upload = encrypt(
            rnd,
            private_parts(private) | replica.marks,
            rounding="nearest",
            signer=self._identity,
            on_clip="error",
            threads=self._threads,
        )
        self._weight = 1.0
        self._result = None
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
        honest=config.min_clients - options.colluders,
        tail=options.noise_tail,
    )


def new_replica(
    config: TrainConfig, agreement: Agreement, inputs: int, weight_limit: float
) -> Replica:
    """Make a participant's copy of the public state, as it is before the first round.

    Parameters
    ----------
    config : TrainConfig
        The run's public configuration.
    agreement : Agreement
        Of the rounds that sum updates.
    inputs : int
        Number of the model's input columns.
    weight_limit : float
        Of the weight rule.
    """
    parameters = initial_parameters(config.model, inputs, config.run.seed)
    policy = range_policy(config.encryption, parameters)
    if config.privacy.distributed:
        values = sum(array.size for array in parameters.values())
        policy = FixedRange(parameters, noise_plan(config, values).limit)
    return Replica(
        agreement,
        parameters,
        policy,
        server_optimiser(config.aggregation),
        weight_limit,
        choose_threads(config, inputs).core,
        MaskState(
            config.hybrid, {name: array.shape for name, array in parameters.items()}, agreement
        )
        if config.is_hybrid
        else None,
    )
