"""A participant's copy of the public state: global model, ranges, agreement.

Federated loop. Each cloud and the coordinator hold one, start from the same configuration, and
take in the same opened sums, so their copies stay identical; the aggregator holds none and never
sees the model. Who follows can check each proposed round, because its ranges follow from the state.

Ciphertexts can be altered without being read, so an aggregator could hand every cloud another sum:
clouds with models of its choice, whose updates it could tell apart in the next sum (Pasquini et
al., CCS 2022). So each round's layout names the digest of all messages that led to it: clouds that
were handed different ones expect different rounds, and their updates never sum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from veilsum._core import Aggregate, SumKey
from veilsum.arguments import shown
from veilsum.crypto import decrypt
from veilsum.errors import RoundError, WireFormatError
from veilsum.federated.agreement import Agreement
from veilsum.federated.contribution import OpenedMean, decode, sum_layout, sum_limits
from veilsum.federated.masks import MaskState
from veilsum.federated.ranges import RangePolicy
from veilsum.federated.server import Parameters, ServerOptimiser
from veilsum.hybrid import hybrid_layout
from veilsum.layout import Layout
from veilsum.rounds import Round

_LABEL = b"veilsum/1/training-history"


class Replica:
    """The public state of a training run, as one participant has computed it.

    Parameters
    ----------
    agreement : Agreement
        Of the rounds that sum updates.
    parameters : mapping of str to ndarray
        The initial model.
    policy : RangePolicy
        This participant's own instance.
    optimiser : ServerOptimiser
        This participant's own instance.
    weight_limit : float
        Of the weight rule.
    threads : int or None
        For decryption.
    masks : MaskState or None
        This participant's own instance where some values travel plain.
    """

    def __init__(
        self,
        agreement: Agreement,
        parameters: Mapping[str, NDArray[np.float32]],
        policy: RangePolicy,
        optimiser: ServerOptimiser,
        weight_limit: float,
        threads: int | None = None,
        masks: MaskState | None = None,
    ) -> None:
        self._masks = masks
        self._agreement = agreement
        self._parameters: Parameters = dict(parameters)
        self._policy = policy
        self._optimiser = optimiser
        self._weight_limit = weight_limit
        self._threads = threads
        self._like = sum_layout(parameters)
        self._history = hashlib.sha256(_LABEL).digest()
        # Of the last round that was read: its bytes, the names of the marks it had to have.
        self._read: tuple[bytes, tuple[str, ...], Round] | None = None

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
        return sum_limits(self._policy.limits(), self._weight_limit)

    def propose_round(self) -> bytes:
        """Describe the next round; who coordinates does this."""
        rnd = self._agreement.make_round(*self._description)
        data = rnd.to_bytes()
        self._read = data, tuple(self.marks), rnd
        return data

    @property
    def masks(self) -> MaskState | None:
        """What hybrid rounds have agreed; None where everything is encrypted."""
        return self._masks

    @property
    def marks(self) -> dict[str, NDArray[np.float64]]:
        """Empty tensors that bind a round and its uploads to the public state."""
        history = {f"history.{self._history.hex()}": np.zeros(0)}
        return history if self._masks is None else history | hybrid_layout(self._masks.mask)

    @property
    def _description(self) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
        like = self._like if self._masks is None else self._masks.encrypted_part(self._like)
        return like | self.marks, self.limits | dict.fromkeys(self.marks, 1.0)

    def read_round(self, data: bytes) -> Round:
        """Read a proposed round, refusing one that does not follow from the public state.

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
        marks = tuple(self.marks)  # they name the whole state: history and mask
        if self._read is None or self._read[:2] != (data, marks):
            like, limits = self._description
            checked = self._agreement.read_round(data, Layout.like(like), limits)
            self._read = data, marks, checked
        return self._read[2]

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
            When one does not belong to the round, or is malformed.
        """
        total = Aggregate.from_bytes(aggregate, rnd)
        key = SumKey.from_bytes(sum_key, rnd)
        sums = decrypt(key, total, average=False, threads=self._threads)
        if self._masks is not None:
            count = self._masks.mask.size - self._masks.mask.count
            values = read_plain_sum(plain, rnd, count) if count else np.zeros(0)
            sums = self._masks.merge(sums, values)
        opened = decode(sums)
        self._parameters = self._optimiser.step(self._parameters, opened.update)
        self.note(rnd, aggregate, sum_key, plain)
        self._policy.observe(opened.update, sum(total.clipped), total.count * rnd.size)
        return opened

    def note(self, rnd: Round, *messages: bytes) -> None:
        """Take a round's messages into the history that later rounds name.

        Parameters
        ----------
        rnd : Round
            The round.
        *messages : bytes
            What was opened of it, as it was received.
        """
        digests = [hashlib.sha256(message).digest() for message in messages]
        self._history = hashlib.sha256(b"".join([_LABEL, self._history, rnd.id, *digests])).digest()


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
