"""An opened sum: what decryption gives, and what of it goes into the history.

Federated loop, over the core's sums. Every sum of a training is read here: statistics, passes of
shares, sensitivities and updates.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from veilsum._core import Aggregate, SumKey
from veilsum.crypto import decrypt
from veilsum.federated.history import is_place
from veilsum.rounds import Round


@dataclass(frozen=True)
class OpenedSum:
    """What a round opened.

    Parameters
    ----------
    round_id : bytes
        Of the round.
    manifest : bytes
        Digest of who is in the sum and what they declared: clip counts too.
    sums : dict of str to ndarray
        Sums over the clouds, by name; without the empty tensors that only name something.
    members : tuple of int or None
        Which clouds are in it, by their place in the roster; None for one without a place.
    clipped : int
        How many values they clipped, as they say.
    values : int
        How many values they hold together.
    """

    round_id: bytes
    manifest: bytes
    sums: dict[str, NDArray[np.float64]] = field(repr=False)
    members: tuple[int | None, ...]
    clipped: int
    values: int

    def merged(self, sums: dict[str, NDArray[np.float64]]) -> OpenedSum:
        """Return it with the sums of plain parts put in.

        Parameters
        ----------
        sums : dict of str to ndarray
            Both parts.
        """
        return replace(self, sums=sums)


def read_sum(rnd: Round, aggregate: bytes, sum_key: bytes, threads: int | None = None) -> OpenedSum:
    """Decrypt a sum.

    Parameters
    ----------
    rnd : Round
        The round.
    aggregate : bytes
        From the aggregator.
    sum_key : bytes
        From the authority.
    threads : int or None
        For decryption.

    Raises
    ------
    veilsum.VeilsumError
        When either does not belong to the round, or is malformed.
    """
    total = Aggregate.from_bytes(aggregate, rnd)
    key = SumKey.from_bytes(sum_key, rnd)
    sums = decrypt(key, total, average=False, threads=threads)
    return OpenedSum(
        rnd.id,
        total.manifest_digest,
        {name: array for name, array in sums.items() if not is_place(name)},
        tuple(total.clients),
        sum(total.clipped),
        total.count * rnd.size,
    )
