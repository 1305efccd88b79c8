"""A participant's copy of the public state: global model, ranges, agreement.

Federated loop. Each cloud and the coordinator hold one, start from the same configuration, and
take in the same opened sums, so their copies stay identical; the aggregator holds none and never
sees the model. Who follows can check each proposed round, because its ranges follow from the state.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

import veilsum as vs
from veilsum.federated.agreement import Agreement
from veilsum.federated.contribution import OpenedMean, decode, sum_layout, sum_limits
from veilsum.federated.ranges import RangePolicy
from veilsum.federated.server import Parameters, ServerOptimiser


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
    """

    def __init__(
        self,
        agreement: Agreement,
        parameters: Mapping[str, NDArray[np.float32]],
        policy: RangePolicy,
        optimiser: ServerOptimiser,
        weight_limit: float,
        threads: int | None = None,
    ) -> None:
        self._agreement = agreement
        self._parameters: Parameters = dict(parameters)
        self._policy = policy
        self._optimiser = optimiser
        self._weight_limit = weight_limit
        self._threads = threads
        self._layout = sum_layout(parameters)

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
        return self._agreement.make_round(self._layout, self.limits).to_bytes()

    def read_round(self, data: bytes) -> vs.Round:
        """Read a proposed round, refusing one that does not follow from the public state.

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
        return self._agreement.read_round(data, self._layout, self.limits)

    def advance(self, rnd: vs.Round, aggregate: bytes, sum_key: bytes) -> OpenedMean:
        """Decrypt a round's sum and take the global model one step on.

        Parameters
        ----------
        rnd : Round
            As `read_round` returned it.
        aggregate : bytes
            From the aggregator.
        sum_key : bytes
            From the authority.

        Raises
        ------
        veilsum.VeilsumError
            When either does not belong to the round, or is malformed.
        """
        total = vs.Aggregate.from_bytes(aggregate, rnd)
        key = vs.SumKey.from_bytes(sum_key, rnd)
        sums = vs.decrypt(key, total, average=False, threads=self._threads)
        opened = decode(sums)
        self._parameters = self._optimiser.step(self._parameters, opened.update)
        self._policy.observe(opened.update, sum(total.clipped), total.count * rnd.size)
        return opened
