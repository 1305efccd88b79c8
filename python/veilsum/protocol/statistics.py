"""Preprocessing statistics as one encrypted sum.

Federated loop. Means and variances of the features, and the number of rows, are sums over rows; so
they are summed under encryption like updates, at 32 bits a value, and only the totals of all
clouds are opened. No row, and no cloud's own statistics, leaves it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veilsum.crypto import encrypt
from veilsum.data import MAX_ROWS, Moments, Study, local_moments
from veilsum.keys.group import Group
from veilsum.keys.identity import Identity
from veilsum.protocol.agreement import Agreement
from veilsum.protocol.history import Place
from veilsum.protocol.opened import OpenedSum, read_sum
from veilsum.protocol.rounding import Grid
from veilsum.rounds import Round

VALUE_BITS = 32


def _like_and_limits(study: Study) -> tuple[dict[str, object], dict[str, float]]:
    like = Moments.layout(len(study.features))
    # Every entry is a sum over rows of numbers within [-1, 1], so MAX_ROWS bounds all of them.
    return dict(like), dict.fromkeys(like, float(MAX_ROWS))


def propose_round(agreement: Agreement, study: Study, place: Place) -> bytes:
    """Describe the round that sums the statistics.

    Parameters
    ----------
    agreement : Agreement
        Of this sum.
    study : Study
        Only its features are looked at.
    place : Place
        Where in the training it stands.
    """
    return agreement.make_round(*_like_and_limits(study), place).to_bytes()


def read_round(agreement: Agreement, data: bytes, study: Study, place: Place) -> Round:
    """Read the proposed round, refusing one that is not as agreed.

    Parameters
    ----------
    agreement : Agreement
        Of this sum.
    data : bytes
        The round.
    study : Study
        Only its features are looked at.
    place : Place
        Where in the training it should stand.

    Raises
    ------
    veilsum.RoundError
        When the round is not as agreed.
    """
    return agreement.read_round(data, *_like_and_limits(study), place)


def upload(
    rnd: Round, study: Study, signer: Identity, threads: int | None, group: Group | None = None
) -> bytes:
    """Encrypt one cloud's statistics.

    Parameters
    ----------
    rnd : Round
        As `read_round` returned it.
    study : Study
        The cloud's own rows.
    signer : Identity
        The cloud's.
    threads : int or None
        For encryption.
    group : Group or None
        The clients' keys, where a committee opens for them.
    """
    parts = local_moments(study).to_mapping()
    encrypted = encrypt(rnd, parts, signer=signer, group=group, on_clip="error", threads=threads)
    return encrypted.to_bytes()


def read(
    rnd: Round, aggregate: bytes, sum_key: bytes, group: Group | None = None
) -> tuple[Moments, OpenedSum]:
    """Decrypt the pooled statistics; return them, and the sum as it was opened.

    Parameters
    ----------
    rnd : Round
        The round.
    aggregate : bytes
        From the aggregator.
    sum_key : bytes
        From the authority.
    group : Group or None
        The clients' keys, where a committee opens for them.

    Raises
    ------
    veilsum.VeilsumError
        When either does not belong to the round.
    """
    opened = read_sum(rnd, aggregate, sum_key, group=group)
    return Moments.from_mapping(opened.sums), opened


def pooled(clouds: Sequence[Study]) -> Moments:
    """Sum the clouds' statistics in the clear, with the rounding that the encrypted sum has.

    For methods without encryption, so that all of them prepare the same inputs.

    Parameters
    ----------
    clouds : sequence of Study
        Each cloud's own rows.
    """
    grid = Grid(float(MAX_ROWS), VALUE_BITS)
    totals: dict[str, np.ndarray] = {}
    for study in clouds:
        for name, values in local_moments(study).to_mapping().items():
            numbers = np.rint(values * (grid.levels / grid.limit))
            totals[name] = totals[name] + numbers if name in totals else numbers
    return Moments.from_mapping({name: array * grid.step for name, array in totals.items()})
