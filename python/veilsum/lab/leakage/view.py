"""What the aggregator can read of one upload, as an attack takes it.

Leakage layer, bottom. A view is made from what crosses the network, never from what a client keeps:
whoever makes one decides what is readable, and this module only keeps numbers and gaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from veilsum.errors import ParameterError

Arrays = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class View:
    """Numbers of one client's upload, by tensor.

    Parameters
    ----------
    values : mapping of str to ndarray, float64
        One array a tensor of the model, of its shape: local minus global parameters as the
        aggregator would read them; NaN where it holds no number for a coordinate.
    precision : float
        Relative precision of the numbers, which the attacker knows from their type on the wire.
    """

    values: Arrays
    precision: float = 2.0**-23

    def __post_init__(self) -> None:
        for name, array in self.values.items():
            if np.isinf(array).any():
                raise ParameterError(f"the view of tensor {name} has infinite values")

    @property
    def readable(self) -> float:
        """Share of the coordinates that hold a number."""
        size = sum(array.size for array in self.values.values())
        known = sum(int(np.isfinite(array).sum()) for array in self.values.values())
        return known / size if size else 0.0

    def scaled(self, factor: float) -> View:
        """Return the view with every number multiplied.

        Parameters
        ----------
        factor : float
            Finite, such as -1 over the learning rate: from an update of one step to a gradient.
        """
        return replace(self, values={name: factor * a for name, a in self.values.items()})

    def hidden(self, masks: Mapping[str, NDArray[np.bool_]]) -> View:
        """Return the view without the coordinates that a mask marks.

        Parameters
        ----------
        masks : mapping of str to ndarray of bool
            True where the coordinate cannot be read.
        """
        gaps = {name: np.where(masks[name], np.nan, array) for name, array in self.values.items()}
        return replace(self, values=gaps)
