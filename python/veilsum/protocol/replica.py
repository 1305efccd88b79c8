"""A participant's copy of the public state: global model, ranges, agreement, history.

Federated loop. Each cloud and the coordinator hold one, start from the same configuration, and
take in the same opened sums, so their copies stay identical; the aggregator holds none and never
sees the model. Who follows can check each proposed round, because its ranges follow from the state.

Ciphertexts can be altered without being read, so an aggregator could hand every cloud another sum:
clouds with models of its choice, whose updates it could tell apart in the next sum (Pasquini et
al., CCS 2022). So every sum that is taken in, of whatever purpose, becomes a record of the history
(`history.py`) together with the state that it led to, and every round names the history's head:
clouds that were told different things expect different rounds, and their updates never sum. All
that steers a cloud and came from outside is therefore kept here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import shown
from veilsum.errors import RoundError, WireFormatError
from veilsum.learning.server_optimisers import ServerOptimiser
from veilsum.learning.task import Parameters
from veilsum.protocol import shares
from veilsum.protocol.agreement import Agreement, stands_at
from veilsum.protocol.contribution import OpenedMean, decode, sum_layout, sum_limits
from veilsum.protocol.history import MASK, SHARES, UPDATES, History, Place, State, digest_state
from veilsum.protocol.hybrid import hybrid_layout
from veilsum.protocol.masks import MaskState
from veilsum.protocol.opened import OpenedSum, read_sum
from veilsum.protocol.ranges import RangePolicy
from veilsum.protocol.shares import SharePasses, Totals
from veilsum.protocol.weights import WeightRule
from veilsum.rounds import Round


class Replica:
    """The public state of a training run, as one participant has computed it.

    Parameters
    ----------
    history : History
        This participant's own, before the statistics.
    statistics : OpenedSum
        The pooled statistics, which inputs, weights and initial model follow from.
    place : Place
        What their round names.
    agreement : Agreement
        Of the rounds that sum updates.
    small_sums : Agreement
        Of the passes of agreeing on shares.
    parameters : mapping of str to ndarray
        The initial model.
    policy : RangePolicy
        This participant's own instance.
    optimiser : ServerOptimiser
        This participant's own instance.
    rule : WeightRule
        How clouds count.
    threads : int or None
        For decryption.
    masks : MaskState or None
        This participant's own instance where some values travel plain.

    Raises
    ------
    veilsum.RoundError
        When the statistics do not follow from the history.
    """

    def __init__(
        self,
        history: History,
        statistics: OpenedSum,
        place: Place,
        agreement: Agreement,
        small_sums: Agreement,
        parameters: Mapping[str, NDArray[np.float32]],
        policy: RangePolicy,
        optimiser: ServerOptimiser,
        rule: WeightRule,
        threads: int | None = None,
        masks: MaskState | None = None,
    ) -> None:
        self._history = history
        self._agreement = agreement
        self._small_sums = small_sums
        self._parameters: Parameters = dict(parameters)
        self._policy = policy
        self._optimiser = optimiser
        self._rule = rule
        self._threads = threads
        self._masks = masks
        self._passes = SharePasses(rule.cap)
        self._like = sum_layout(parameters)
        self._pooled = digest_state(statistics.sums)
        self._model = self._model_digest()
        # Of the last round that was read: its bytes, the place that it had to name.
        self._read: tuple[bytes, Place, Round] | None = None
        self._record(place, statistics)

    @property
    def parameters(self) -> Parameters:
        """The global model."""
        return self._parameters

    @property
    def value_bits(self) -> int:
        """Of the plan."""
        return self._agreement.plan.value_bits

    @property
    def limits(self) -> dict[str, float]:
        """Ranges of the next round, of everything that it sums."""
        return sum_limits(self._policy.limits(), self._rule.limit)

    @property
    def history(self) -> History:
        """All that was summed and skipped; only this replica adds to it."""
        return self._history

    @property
    def masks(self) -> MaskState | None:
        """What hybrid rounds have agreed; None where everything is encrypted."""
        return self._masks

    @property
    def passes(self) -> SharePasses:
        """What the present step's passes of agreeing on shares have come to."""
        return self._passes

    @property
    def state(self) -> State:
        """All that steers a participant and is the same for all, as its digest goes into records.

        Digests stand for what is large and seldom changes.
        """
        parts: dict[str, NDArray[Any]] = {
            "pooled": np.frombuffer(self._pooled, dtype=np.uint8),
            "model": np.frombuffer(self._model, dtype=np.uint8),
        }
        groups = {"ranges": self._policy.state, "shares": self._passes.state}
        if self._masks is not None:
            groups["masks"] = self._masks.state
        for group, state in groups.items():
            parts |= {f"{group}.{name}": array for name, array in state.items()}
        return parts

    def _model_digest(self) -> bytes:
        model = {f"parameters.{name}": array for name, array in self._parameters.items()}
        kept = {f"optimiser.{name}": array for name, array in self._optimiser.state.items()}
        return digest_state(model | kept)

    def marks(self) -> dict[str, NDArray[np.float64]]:
        """Return the empty tensors that bind an upload to the mask of a hybrid round."""
        return {} if self._masks is None else hybrid_layout(self._masks.mask)

    def propose_round(self) -> bytes:
        """Describe the next sum of updates; who coordinates does this.

        Raises
        ------
        veilsum.RoundError
            When shares or a mask are to be agreed on first.
        """
        place = self._update_place()
        rnd = self._agreement.make_round(*self._description, place)
        data = rnd.to_bytes()
        self._read = data, place, rnd
        return data

    def propose_shares(self) -> bytes:
        """Describe the next pass of agreeing on shares."""
        return shares.propose_round(self._small_sums, self._shares_place())

    def propose_mask(self) -> bytes:
        """Describe the sum of sensitivities that the present step is due.

        Raises
        ------
        veilsum.RoundError
            When none is due.
        """
        masks, place = self._mask_place()
        return masks.propose_round(place)

    @property
    def _description(self) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
        if self._masks is None:
            return self._like, self.limits
        mark = hybrid_layout(self._masks.mask)
        like = self._masks.encrypted_part(self._like) | mark
        return like, self.limits | dict.fromkeys(mark, 1.0)

    def _update_place(self) -> Place:
        """Where the next sum of updates stands, once all is agreed that it needs."""
        history = self._history
        if self._rule.agreed and not self._passes.settled:
            raise RoundError(f"shares of round {history.step} are not agreed on; they come first")
        due = self._masks is not None and self._masks.renews(history.step)
        if due and not history.had(MASK):
            raise RoundError(f"the mask of round {history.step} is not agreed on; it comes first")
        return history.place(UPDATES)

    def _shares_place(self) -> Place:
        if not self._rule.agreed:
            raise RoundError("no shares are agreed on in this training; no passes are due")
        if self._passes.settled:
            raise RoundError("the shares of this round are agreed on; no more passes are due")
        return self._history.place(SHARES)

    def _mask_place(self) -> tuple[MaskState, Place]:
        masks, step = self._masks, self._history.step
        if masks is None or not masks.renews(step):
            raise RoundError(f"sensitivities of round {step} are not due")
        return masks, self._history.place(MASK)

    def read_round(self, data: bytes) -> Round:
        """Read a proposed sum of updates, refusing one that does not follow from the state.

        The same bytes are read and checked once, as long as the state stays the same.

        Parameters
        ----------
        data : bytes
            The round.

        Raises
        ------
        veilsum.RoundError
            When the round differs from what was agreed.
        veilsum.WireFormatError
            When the bytes are malformed.
        """
        place = self._update_place()  # its head names the whole state
        if self._read is None or self._read[:2] != (data, place):
            checked = self._agreement.read_round(data, *self._description, place)
            self._read = data, place, checked
        return self._read[2]

    def read_shares(self, data: bytes) -> Round:
        """Read a proposed pass of agreeing on shares, refusing one that is not due.

        Parameters
        ----------
        data : bytes
            The round.
        """
        return shares.read_round(self._small_sums, data, self._shares_place())

    def read_mask(self, data: bytes) -> Round:
        """Read a proposed sum of sensitivities, refusing one that is not due.

        Parameters
        ----------
        data : bytes
            The round.
        """
        masks, place = self._mask_place()
        return masks.read_round(data, place)

    def advance(
        self, rnd: Round, aggregate: bytes, sum_key: bytes, plain: bytes = b""
    ) -> OpenedMean:
        """Decrypt a round's sum and take the global model one step on.

        Parameters
        ----------
        rnd : Round
            As `read_round` returned it.
        aggregate : bytes
            From the aggregator.
        sum_key : bytes
            From the authority.
        plain : bytes
            Sum of the plain parts, from the aggregator; empty where everything is encrypted.

        Raises
        ------
        veilsum.VeilsumError
            When one does not belong to the round, is malformed, or does not follow from the
            history.
        """
        place = _follows(rnd, self._update_place())
        total = self._read_sum(rnd, aggregate, sum_key)
        if self._masks is not None:
            count = self._masks.mask.size - self._masks.mask.count
            values = read_plain_sum(plain, rnd, count) if count else np.zeros(0)
            total = total.merged(self._masks.merge(total.sums, values))
        opened = decode(total.sums)
        self._parameters = self._optimiser.step(self._parameters, opened.update)
        self._policy.observe(opened.update, total.clipped, total.values)
        self._passes = SharePasses(self._rule.cap)
        self._model = self._model_digest()
        self._record(place, total)
        return opened

    def take_shares(
        self, rnd: Round, aggregate: bytes, sum_key: bytes
    ) -> tuple[Totals, tuple[int | None, ...]]:
        """Decrypt a pass of agreeing on shares and take it in; return it, and who is in it.

        Parameters
        ----------
        rnd : Round
            As `read_shares` returned it.
        aggregate : bytes
            From the aggregator.
        sum_key : bytes
            From the authority.

        Raises
        ------
        veilsum.VeilsumError
            When one does not belong to the pass, the pass to no honest clouds, or it does not
            follow from the history.
        """
        place = _follows(rnd, self._shares_place())
        opened = self._read_sum(rnd, aggregate, sum_key)
        totals = shares.totals_of(opened)
        self._passes.observe(totals)
        self._record(place, opened)
        return totals, opened.members

    def take_mask(self, rnd: Round, aggregate: bytes, sum_key: bytes) -> None:
        """Decrypt a sum of sensitivities and set the mask from it.

        Parameters
        ----------
        rnd : Round
            As `read_mask` returned it.
        aggregate : bytes
            From the aggregator.
        sum_key : bytes
            From the authority.

        Raises
        ------
        veilsum.VeilsumError
            When one does not belong to the round, or it does not follow from the history.
        """
        masks, place = self._mask_place()
        _follows(rnd, place)
        opened = self._read_sum(rnd, aggregate, sum_key)
        masks.observe(opened)
        self._record(place, opened)

    def skip(self, number: int) -> None:
        """Take note that a step ended without a sum of updates.

        Parameters
        ----------
        number : int
            The round.

        Raises
        ------
        veilsum.RoundError
            When it is not the one that is open.
        """
        if number != self._history.step:
            raise RoundError(
                f"told that round {shown(number)} is skipped, but the history has come to round "
                f"{self._history.step}"
            )
        self._passes = SharePasses(self._rule.cap)
        self._history.skip(digest_state(self.state))

    def _read_sum(self, rnd: Round, aggregate: bytes, sum_key: bytes) -> OpenedSum:
        agreed = self._agreement
        return read_sum(
            rnd, aggregate, sum_key, self._threads, agreed.group, agreed.read_certificate
        )

    def _record(self, place: Place, opened: OpenedSum) -> None:
        state = digest_state(self.state)
        self._history.append(
            place, opened.round_id, opened.manifest, digest_state(opened.sums), state
        )


def _follows(rnd: Round, place: Place) -> Place:
    """Return the place that a sum takes, if its round, which may have been read long ago, names it.

    Whoever passes sums on could bring them late, twice or in another order otherwise.
    """
    if not stands_at(rnd, place):
        raise RoundError(
            f"round {rnd.id.hex()[:16]} does not follow from the history: something else was taken "
            "in since it was read; nothing of it was used"
        )
    return place


def write_plain_sum(rnd: Round, total: NDArray[np.float64]) -> bytes:
    """Return the message with the sum of plain parts: the round's id, then float32 values.

    Parameters
    ----------
    rnd : Round
        The round.
    total : ndarray
        The sum.
    """
    return rnd.id + total.astype("<f4").tobytes()


def read_plain_sum(data: bytes, rnd: Round, count: int) -> NDArray[np.float64]:
    """Read the sum of plain parts.

    Parameters
    ----------
    data : bytes
        From the aggregator.
    rnd : Round
        The round.
    count : int
        How many values it must have.

    Raises
    ------
    veilsum.WireFormatError
        When the length is wrong or a value is not finite.
    veilsum.RoundError
        When it belongs to another round.
    """
    if len(data) != 32 + 4 * count:
        raise WireFormatError(
            f"a sum of plain parts has {len(data)} bytes; {shown(count)} values have "
            f"{shown(32 + 4 * count)}"
        )
    if data[:32] != rnd.id:
        raise RoundError("the sum of plain parts belongs to another round")
    values = np.frombuffer(data[32:], dtype="<f4").astype(np.float64)
    if not np.isfinite(values).all():
        raise WireFormatError("a sum of plain parts has values that are not finite")
    return values
