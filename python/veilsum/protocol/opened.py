"""An opened sum: what decryption gives, and what of it goes into the history.

Federated loop, over the core's sums. Every sum of a training is read here: statistics, passes of
shares, sensitivities and updates.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from veilsum._core import Aggregate, Answer, Certificate, SumKey
from veilsum.api.decrypting import decrypt
from veilsum.api.members import combine
from veilsum.api.rounds import Round
from veilsum.errors import RoundError, TamperedSumError, WireFormatError
from veilsum.keys.group import Group

_LENGTH = struct.Struct("<I")


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
        Sums over the clouds, by name.
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


def write_opening(certificate: bytes, answers: Sequence[bytes]) -> bytes:
    """Put together what opens a committee's sum for its readers.

    Parameters
    ----------
    certificate : bytes
        Of the sum.
    answers : sequence of bytes
        Of at least a threshold of members.
    """
    parts = (certificate, *answers)
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def read_opening(data: bytes) -> tuple[bytes, list[bytes]]:
    """Take it apart.

    Parameters
    ----------
    data : bytes
        What `write_opening` wrote.

    Raises
    ------
    veilsum.WireFormatError
        When a length does not fit.
    """
    parts: list[bytes] = []
    while data:
        if len(data) < _LENGTH.size or _LENGTH.unpack_from(data)[0] > len(data) - _LENGTH.size:
            raise WireFormatError(f"an opening of {len(data)} more bytes is cut off")
        end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        parts.append(data[_LENGTH.size : end])
        data = data[end:]
    if not parts:
        raise WireFormatError("an opening of 0 bytes")
    return parts[0], parts[1:]


def read_sum(
    rnd: Round,
    aggregate: bytes,
    sum_key: bytes,
    threads: int | None = None,
    group: Group | None = None,
    read_certificate: Callable[[bytes, Round], Certificate] = Certificate.from_bytes,
) -> OpenedSum:
    """Decrypt a sum.

    Parameters
    ----------
    rnd : Round
        The round.
    aggregate : bytes
        From the aggregator.
    sum_key : bytes
        From the authority: the sum key, or what `write_opening` put together.
    threads : int or None
        For decryption.
    group : Group or None
        The clients' keys, where a committee opens for them.
    read_certificate : callable
        Reads and checks a certificate; a member has done that before it answered.

    Raises
    ------
    veilsum.TamperedSumError
        When nothing of it opens the sum.
    veilsum.VeilsumError
        When either does not belong to the round, or is malformed.
    """
    total = Aggregate.from_bytes(aggregate, rnd)
    if rnd.committee is None:
        key = SumKey.from_bytes(sum_key, rnd)
    elif group is None:
        raise RoundError("a committee's sums are read by the clouds, who have the group's keys")
    else:
        certificate, answers = read_opening(sum_key)
        certified = read_certificate(certificate, rnd)
        read = [Answer.from_bytes(one, rnd) for one in answers]
        try:
            key = combine(rnd, certified, read, total, group=group)
        except RoundError as reason:
            # Too few of them can be read, or the sum is not the certified one: to a reader that is
            # no better than an answer that is wrong.
            raise TamperedSumError(str(reason)) from reason
    sums = decrypt(key, total, group=group, average=False, threads=threads)
    return OpenedSum(
        rnd.id,
        total.manifest_digest,
        sums,
        tuple(total.clients),
        sum(total.clipped),
        total.count * rnd.size,
    )
