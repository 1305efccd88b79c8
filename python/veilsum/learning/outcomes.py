"""What a network says of a row, by the kind of outcome: a yes or no, a class, a number.

Learning room. One place for what kinds differ in: what labels are to PyTorch, and the loss. A
number is learned on the scale [-1, 1] of its public range, so that losses of any unit are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from veilsum.data import Feature, Study
from veilsum.data.preprocess import to_unit


@dataclass(frozen=True)
class Outcome:
    """The kind of a study's outcome.

    Parameters
    ----------
    classes : tuple of str
        Names of the classes where there are three or more; empty for yes or no, and for a number.
    target : Feature or None
        The number, with its public range, where it is one.
    """

    classes: tuple[str, ...] = ()
    target: Feature | None = None

    @classmethod
    def of(cls, study: Study) -> Outcome:
        """Return the kind of a study's outcome.

        Parameters
        ----------
        study : Study
            Only its public part is looked at.
        """
        return cls(study.classes, study.target)

    @property
    def outputs(self) -> int:
        """Numbers that a network says of a row."""
        return len(self.classes) or 1

    def labels(self, study: Study) -> NDArray[Any]:
        """Return what a network is to say of a study's rows.

        Parameters
        ----------
        study : Study
            Of this kind.
        """
        if self.target is None or study.numbers is None:
            return study.labels
        return to_unit(self.target, study.numbers)

    def tensor(self, labels: NDArray[Any]) -> torch.Tensor:
        """Return labels as the loss takes them.

        Parameters
        ----------
        labels : ndarray, shape (rows,)
            As `labels` returned them.
        """
        return torch.from_numpy(labels.astype(np.int64 if self.classes else np.float32))

    def loss(
        self, said: torch.Tensor, labels: torch.Tensor, reduction: str = "mean"
    ) -> torch.Tensor:
        """Return the loss: cross-entropy, or the squared error of a number.

        Parameters
        ----------
        said : torch.Tensor, shape (rows, outputs)
            The network's.
        labels : torch.Tensor, shape (rows,)
            As `tensor` returned them.
        reduction : str
            "mean", "sum" or "none", over rows.
        """
        if self.classes:
            return nn.functional.cross_entropy(said, labels, reduction=reduction)
        if self.target is not None:
            return nn.functional.mse_loss(said[:, 0], labels, reduction=reduction)
        return nn.functional.binary_cross_entropy_with_logits(
            said[:, 0], labels, reduction=reduction
        )


YES_OR_NO = Outcome()
