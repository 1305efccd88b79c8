"""Membership inference on the released model: telling training rows from others.

Leakage layer. The loss-threshold attack (Yeom et al., IEEE CSF 2018): rows the model was trained on
have lower losses. Its area under the ROC curve over all thresholds is reported: 0.5 is guessing.
The model is public to all clouds whatever encrypted the updates, so encryption does not change this
number; only differential privacy bounds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilsum.errors import ParameterError


@dataclass(frozen=True)
class Membership:
    """Result of the attack.

    Parameters
    ----------
    auc : float
        Probability that a member's loss is below a non-member's, ties counting half.
    standard_error : float
        Of the AUC where membership does not matter (Mann and Whitney, 1947).
    members, others : int
        Rows of each kind.
    """

    auc: float
    standard_error: float
    members: int
    others: int


def membership(members: NDArray[np.float64], others: NDArray[np.float64]) -> Membership:
    """Compare losses of training rows with those of held-out rows.

    Parameters
    ----------
    members : ndarray, shape (rows,)
        Losses of rows that the model was trained on.
    others : ndarray, shape (rows,)
        Losses of rows of the same kind that it was not.

    Raises
    ------
    veilsum.ParameterError
        When either is empty or not finite.
    """
    if not len(members) or not len(others):
        raise ParameterError("membership inference needs losses of members and of others")
    if not (np.isfinite(members).all() and np.isfinite(others).all()):
        raise ParameterError("a loss is not finite; the released model cannot be scored")
    ordered = np.sort(others)
    below = np.searchsorted(ordered, members, side="left")
    up_to = np.searchsorted(ordered, members, side="right")
    # Others with a higher loss, and half of those with the same.
    wins = len(others) - (below + up_to) / 2
    n, m = len(members), len(others)
    return Membership(
        auc=float(wins.mean() / m),
        standard_error=float(np.sqrt((n + m + 1) / (12 * n * m))),
        members=n,
        others=m,
    )
