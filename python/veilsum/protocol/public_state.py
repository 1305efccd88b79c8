"""A participant's copy of the public state: global model, ranges, weights agreed on, history.

Protocol. Each cloud holds one, starts from the same terms, and takes in the same opened sums, so
their copies stay identical; the aggregator holds none and never sees the model. Whoever holds one
knows which sum is due (`due`), can propose its round and can check a round that somebody else
proposes.

Ciphertexts can be altered without being read, so an aggregator could hand every cloud another sum:
clouds with models of its choice, whose updates it could tell apart in the next sum (Pasquini et
al., CCS 2022). So every sum that is taken in, of whatever purpose, becomes a record of the history
(`history.py`) together with the state that it led to, and every round names the history's head:
clouds that were told different things expect different rounds, and their updates never sum. All
that steers a cloud and came from outside is therefore kept here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum._core import Verdict
from veilsum.api.rounds import Round
from veilsum.arguments import shown
from veilsum.errors import RoundError, TamperedSumError, WireFormatError
from veilsum.learning.server_optimisers import ServerOptimiser
from veilsum.learning.task import Parameters
from veilsum.protocol import shares
from veilsum.protocol.agreement import Agreement, stands_at
from veilsum.protocol.averaging import Averaging
from veilsum.protocol.contribution import OpenedMean
from veilsum.protocol.history import (
    MASK,
    SHARES,
    UPDATES,
    History,
    Place,
    State,
    digest_state,
)
from veilsum.protocol.masks import MaskState
from veilsum.protocol.opened import OpenedSum, read_sum
from veilsum.protocol.secure_sum import SecureSum
from veilsum.protocol.shares import SharePasses, Totals
from veilsum.protocol.weights import WeightRule


class Beginning:
    """What a participant knows before the statistics were opened: no model yet.

    Parameters
    ----------
    agreement : Agreement
        What was agreed on.
    history : History
        Its own.
    statistics : SecureSum
        The sum that is due.
    threads : int or None
        For decryption.
    """

    def __init__(
        self,
        agreement: Agreement,
        history: History,
        statistics: SecureSum,
        threads: int | None = None,
    ) -> None:
        self.agreement = agreement
        self.history = history
        self._due = statistics
        self._threads = threads

    def propose(self) -> Round:
        """Describe the sum of statistics."""
        return self.agreement.propose(self._due, self._place)

    def read(self, data: bytes) -> Round:
        """Read the proposed round, refusing one that is not as agreed.

        Parameters
        ----------
        data : bytes
            The round.
        """
        return self.agreement.read(self._due, data, self._place)

    def open(self, rnd: Round, aggregate: bytes, opening: bytes) -> OpenedSum:
        """Decrypt the statistics.

        Parameters
        ----------
        rnd : Round
            As `read` returned it.
        aggregate : bytes
            From the aggregator.
        opening : bytes
            From the authority.
        """
        return _open(self.agreement, rnd, aggregate, opening, self._threads)

    @property
    def _place(self) -> Place:
        return self.history.place(self._due.purpose)

    def state(
        self,
        opened: OpenedSum,
        parameters: Mapping[str, NDArray[np.float32]],
        averaging: Averaging,
        optimiser: ServerOptimiser,
        rule: WeightRule,
        masks: MaskState | None = None,
    ) -> PublicState:
        """Return the state before the first round; the statistics are its history's first record.

        Parameters
        ----------
        opened : OpenedSum
            The statistics, which inputs, weights and initial model follow from.
        parameters : mapping of str to ndarray
            The initial model.
        averaging : Averaging
            This participant's own instance.
        optimiser : ServerOptimiser
            This participant's own instance.
        rule : WeightRule
            How clouds count.
        masks : MaskState or None
            What `averaging` takes masks from, where some values travel plain.
        """
        return PublicState(
            self.agreement,
            self.history,
            opened,
            self._place,
            parameters,
            averaging,
            optimiser,
            rule,
            masks,
            self._threads,
        )


@dataclass(frozen=True)
class Taken:
    """What a participant learned from a sum that it took in.

    Parameters
    ----------
    purpose : str
        Of the sum.
    members : tuple of int or None
        Which clouds are in it.
    totals : Totals or None
        Of a pass of agreeing on shares.
    mean : OpenedMean or None
        Of a sum of updates, which ended its step.
    """

    purpose: str
    members: tuple[int | None, ...]
    totals: Totals | None = None
    mean: OpenedMean | None = field(default=None, repr=False)


class PublicState:
    """The public state of a training, as one participant has computed it; `Beginning` makes it."""

    def __init__(
        self,
        agreement: Agreement,
        history: History,
        statistics: OpenedSum,
        place: Place,
        parameters: Mapping[str, NDArray[np.float32]],
        averaging: Averaging,
        optimiser: ServerOptimiser,
        rule: WeightRule,
        masks: MaskState | None,
        threads: int | None,
    ) -> None:
        self.agreement = agreement
        self.history = history
        self._parameters: Parameters = dict(parameters)
        self._averaging = averaging
        self._optimiser = optimiser
        self._rule = rule
        self._masks = masks
        self._threads = threads
        self._passes = SharePasses(rule.cap)
        self._statistics = statistics
        self._pooled = digest_state(statistics.sums)
        self._last: OpenedMean | None = None
        self._owed: set[int] = set()
        self._convicted: set[int] = set()
        self._lost = b""  # the last round that was lost
        self._model = self._model_digest()
        # Of the last round that was read: its bytes, the place that it had to name.
        self._read: tuple[bytes, Place, Round] | None = None
        self._record(place, statistics)

    @property
    def parameters(self) -> Parameters:
        """The global model."""
        return self._parameters

    @property
    def pooled(self) -> Mapping[str, NDArray[np.float64]]:
        """The opened statistics of all clouds together."""
        return self._statistics.sums

    @property
    def last(self) -> OpenedMean | None:
        """The last mean that was taken in; None before the first."""
        return self._last

    @property
    def owed(self) -> frozenset[int]:
        """Clouds of lost sums that the next sum of updates must hold, whoever is drawn."""
        return frozenset(self._owed)

    @property
    def convicted(self) -> frozenset[int]:
        """Clouds that verdicts convict: no sum needs them any more."""
        return frozenset(self._convicted)

    @property
    def averaging(self) -> Averaging:
        """From updates to sums and back."""
        return self._averaging

    @property
    def rule(self) -> WeightRule:
        """How clouds count."""
        return self._rule

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
        shared = {f"shares.{name}": array for name, array in self._passes.state.items()}
        for name, clouds in (("owed", self._owed), ("convicted", self._convicted)):
            if clouds:  # who is to be drawn follows from it
                shared[name] = np.array(sorted(clouds), dtype=np.int64)
        return {**parts, **shared, **self._averaging.state}

    def _model_digest(self) -> bytes:
        model = {f"parameters.{name}": array for name, array in self._parameters.items()}
        kept = {f"optimiser.{name}": array for name, array in self._optimiser.state.items()}
        return digest_state(model | kept)

    @property
    def due(self) -> SecureSum:
        """The sum that comes next: shares, then a mask, then updates, as far as the step needs."""
        history, masks = self.history, self._masks
        if self._rule.agreed and not self._passes.settled:
            return shares.share_sum(history.passes + 1)
        if masks is not None and masks.renews(history.step) and not history.had(MASK):
            return masks.sum
        return self._averaging.sum

    def propose(self) -> Round:
        """Describe the sum that is due as a new round."""
        due = self.due
        place = self.history.place(_kind(due.purpose))
        rnd = self.agreement.propose(due, place)
        self._read = rnd.to_bytes(), place, rnd
        return rnd

    def read(self, data: bytes) -> Round:
        """Read a proposed round, refusing one of a sum that is not due or not as agreed.

        The same bytes are read and checked once, as long as the state stays the same.

        Parameters
        ----------
        data : bytes
            The round.

        Raises
        ------
        veilsum.RoundError
            When the round differs from what was agreed, or something else is due.
        veilsum.TamperedSumError
            When it was lost.
        veilsum.WireFormatError
            When the bytes are malformed.
        """
        if data == self._lost:
            raise TamperedSumError("the round was lost: no answers open its sum")
        due = self.due
        place = self.history.place(_kind(due.purpose))  # its head names the whole state
        if self._read is None or self._read[:2] != (data, place):
            self._read = data, place, self.agreement.read(due, data, place)
        return self._read[2]

    def take(self, rnd: Round, aggregate: bytes, opening: bytes, plain: bytes = b"") -> Taken:
        """Decrypt a sum and take it in: after one of updates, the model is a step further.

        Parameters
        ----------
        rnd : Round
            As `read` returned it.
        aggregate : bytes
            From the aggregator.
        opening : bytes
            From the authority.
        plain : bytes
            Sum of the plain parts, from the aggregator; empty where everything is encrypted.

        Raises
        ------
        veilsum.VeilsumError
            When one does not belong to the round, is malformed, or does not follow from the
            history; nothing is changed then.
        """
        place = _follows(rnd, self.history.place(_kind(self.due.purpose)))
        opened = _open(self.agreement, rnd, aggregate, opening, self._threads)
        if place.purpose == UPDATES:
            count = self._averaging.plain_values()
            values = read_plain_sum(plain, rnd, count) if count else None
            return self._step(place, self._averaging.merged(opened, values))
        if place.purpose == MASK and self._masks is not None:
            self._masks.observe(opened)
            taken = Taken(place.purpose, opened.members)
        else:
            totals = shares.totals_of(opened)
            self._passes.observe(totals)
            taken = Taken(place.purpose, opened.members, totals=totals)
        self._record(place, opened)
        return taken

    def _step(self, place: Place, whole: OpenedSum) -> Taken:
        mean = self._averaging.mean(whole)
        self._parameters = self._optimiser.step(self._parameters, mean.update)
        self._passes = SharePasses(self._rule.cap)
        self._model = self._model_digest()
        self._last = mean
        if self._owed.issubset(whole.members):
            self._owed.clear()
        self._record(place, whole)
        return Taken(place.purpose, whole.members, mean=mean)

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
        if number != self.history.step:
            raise RoundError(
                f"told that round {shown(number)} is skipped, but the history has come to round "
                f"{self.history.step}"
            )
        self._passes = SharePasses(self._rule.cap)
        self.history.skip(digest_state(self.state))

    def lose(self, rnd: Round, verdict: Verdict) -> None:
        """Take note that a sum was lost: its step ends, and the next holds all of its clouds.

        Whether it can be opened is for those to find out who tell of it: a false word costs a
        round, and nothing else.

        Parameters
        ----------
        rnd : Round
            As `read` returned it.
        verdict : Verdict
            On the sum; clouds that it convicts may be left out.

        Raises
        ------
        veilsum.RoundError
            When the sum does not follow from the history, or the verdict is on another one.
        """
        _follows(rnd, self.history.place(_kind(self.due.purpose)))
        if verdict.round.id != rnd.id:
            raise RoundError("the verdict is on a sum of another round")
        self._convicted |= set(verdict.clients)
        self._owed = (self._owed | set(verdict.certificate.clients)) - self._convicted
        self._passes = SharePasses(self._rule.cap)
        self._lost = rnd.to_bytes()
        self.history.lose(rnd.id, verdict.sum, verdict.to_bytes(), digest_state(self.state))

    def _record(self, place: Place, opened: OpenedSum) -> None:
        state = digest_state(self.state)
        self.history.append(
            place, opened.round_id, opened.manifest, digest_state(opened.sums), state
        )


def _kind(purpose: str) -> str:
    """Return the purpose without the number of a pass."""
    return SHARES if purpose.startswith(SHARES) else purpose


def _open(
    agreement: Agreement, rnd: Round, aggregate: bytes, opening: bytes, threads: int | None
) -> OpenedSum:
    return read_sum(rnd, aggregate, opening, threads, agreement.group, agreement.read_certificate)


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
