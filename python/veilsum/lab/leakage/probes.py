"""Probe records: the training rows whose recovery is counted.

Leakage layer, bottom. Probes are drawn from the clouds' own rows with the run's seed, the same for
every method, and grouped into batches that never mix clouds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import shown
from veilsum.errors import ParameterError


@dataclass(frozen=True)
class ProbeBatch:
    """Rows of one cloud that make one step together.

    Parameters
    ----------
    cloud : int
        Whose rows, from 0.
    inputs : ndarray, float32, shape (rows, columns)
        Preprocessed rows.
    labels : ndarray of int, shape (rows,)
        0 or 1.
    """

    cloud: int
    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def choose_probes(
    inputs: Sequence[NDArray[np.float32]],
    labels: Sequence[NDArray[np.int64]],
    probes: int,
    batch_size: int,
    generator: np.random.Generator,
) -> list[ProbeBatch]:
    """Draw probe records, in turn from each cloud.

    Parameters
    ----------
    inputs : sequence of ndarray
        Each cloud's preprocessed rows.
    labels : sequence of ndarray
        Their labels.
    probes : int
        Records in all; rounded up to whole batches.
    batch_size : int
        Rows of a batch.
    generator : numpy.random.Generator
        Draws them.

    Raises
    ------
    veilsum.ParameterError
        When no cloud has enough rows for its batches.
    """
    if probes < 1 or batch_size < 1:
        raise ParameterError(
            f"{shown(probes)} probes in batches of {shown(batch_size)}; both must be at least 1"
        )
    count = -(-probes // batch_size)
    orders = [generator.permutation(len(marks)) for marks in labels]
    taken = [0] * len(labels)
    batches: list[ProbeBatch] = []
    cloud = -1
    while len(batches) < count:
        room = [i for i, marks in enumerate(labels) if taken[i] + batch_size <= len(marks)]
        if not room:
            raise ParameterError(
                f"the clouds have no rows left for {shown(probes)} probes in batches of "
                f"{shown(batch_size)}; "
                "use fewer probes or smaller batches"
            )
        cloud = next((i for i in room if i > cloud), room[0])
        rows = orders[cloud][taken[cloud] : taken[cloud] + batch_size]
        taken[cloud] += batch_size
        batches.append(ProbeBatch(cloud, inputs[cloud][rows], labels[cloud][rows]))
    return batches
