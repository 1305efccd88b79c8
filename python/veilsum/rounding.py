"""The grid of values that a round can carry, and seeded stochastic rounding onto it.

Layer: Python API, bottom. The core rounds stochastically with the operating system's entropy, which
no seed can repeat. A training run that must repeat therefore rounds here, before encryption, with
numbers from its own seed, and has the core round to nearest, which maps each point of the grid to
itself.

Why it does, in double arithmetic (`Quantise` of the core's kernels): with L levels a side and limit
a, a grid point is x = fl(v * fl(a / L)), |v| <= L < 2^31, and the core computes
rint(fl(x * fl(L / a))). Four roundings, each by a factor within 1 + 2^-53, leave the argument
within |v| * 4.01 * 2^-53 < 2^-19 of v, so rint returns v. x is bounded to the limit, so that the
last grid point is not counted as clipped when fl(L * fl(a / L)) exceeds a by a rounding.

The noise is no secret and need not be: what hides an update is the encryption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLIPPED_SHARE", "Grid", "dither"]

CLIPPED_SHARE: Final = 0.01
"""A larger share of clipped values, in an update or in one of its tensors, is warned about."""


@dataclass(frozen=True)
class Grid:
    """The values that the core represents exactly within one range.

    Parameters
    ----------
    limit : float
        The range's end, in the unit of the values.
    value_bits : int
        Of the plan.
    """

    limit: float
    value_bits: int

    @property
    def levels(self) -> int:
        """Grid points on each side of zero."""
        return int(2 ** (self.value_bits - 1)) - 1

    @property
    def step(self) -> float:
        """Distance of neighbouring grid points."""
        return self.limit / self.levels

    def _points(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(numbers * self.step, -self.limit, self.limit)

    def nearest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Round to the nearest grid point, ties to even; values beyond the range to its end.

        Parameters
        ----------
        values : ndarray
            Any shape, finite.
        """
        numbers = np.rint(np.clip(values, -self.limit, self.limit) * (self.levels / self.limit))
        return self._points(np.clip(numbers, -self.levels, self.levels))

    def dither(
        self, values: NDArray[np.float64], generator: np.random.Generator
    ) -> NDArray[np.float64]:
        """Round stochastically: up with the probability of the distance from below, so unbiased.

        Parameters
        ----------
        values : ndarray
            Any shape, finite.
        generator : numpy.random.Generator
            Gives one number a value, also for clipped ones.

        Returns
        -------
        ndarray
            Grid points. Values beyond the range stay as they are: the core clips and counts them.
        """
        return dither({"": values}, {"": self}, generator)[""]

    def kept(
        self, values: NDArray[np.float64], numbers: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return numbers of grid points as values; what is beyond the range stays as it is.

        Parameters
        ----------
        values : ndarray
            What was rounded.
        numbers : ndarray
            Its grid points' numbers, from 0 in the middle.
        """
        rounded = self._points(np.clip(numbers, -self.levels, self.levels))
        return np.where(np.abs(values) > self.limit, values, rounded)

    def error_bound(self, rounding: str) -> float:
        """Return how far an unclipped value can be from its grid point.

        Parameters
        ----------
        rounding : str
            "nearest" or "stochastic".
        """
        # Values of up to 32 bits are quantised in float32 where the plan has up to 16 bits: a value
        # is then off by up to 2^-22 of the limit before it is rounded (isa/kernels.h).
        share = 0.5 if rounding == "nearest" else 1.0
        return share * self.step + self.limit * 2.0**-22


def dither(
    parts: Mapping[str, NDArray[np.float64]],
    grids: Mapping[str, Grid],
    generator: np.random.Generator,
) -> dict[str, NDArray[np.float64]]:
    """Round several arrays stochastically, each onto its own grid.

    The numbers are drawn and floored for all of them at once: most tensors of a network are so
    small that the calls would cost more than the work.

    Parameters
    ----------
    parts : mapping of str to ndarray
        Arrays by name, finite.
    grids : mapping of str to Grid
        Of each array, all with the same number of bits.
    generator : numpy.random.Generator
        Gives one number a value, array after array, also for clipped ones.

    Returns
    -------
    dict of str to ndarray
        As `Grid.dither` returns them, one array after another.
    """
    numbers = generator.random(sum(values.size for values in parts.values()))
    views, start = {}, 0
    for name, values in parts.items():
        grid = grids[name]
        views[name] = numbers[start : start + values.size].reshape(values.shape)
        start += values.size
        views[name] += values * (grid.levels / grid.limit)
    np.floor(numbers, out=numbers)
    levels = min(grid.levels for grid in grids.values())
    # Two points from either end nothing is cut or beyond a range, whatever the roundings.
    if max(numbers.max(initial=0.0), -numbers.min(initial=0.0)) < levels - 2:
        for name, view in views.items():
            view *= grids[name].step
        return views
    return {name: grids[name].kept(parts[name], view) for name, view in views.items()}
