"""Central differential privacy without a trusted server: noise shares inside the encrypted sum.

Federated loop. The distributed discrete Gaussian of Kairouz, Liu and Steinke (ICML 2021): each
cloud clips its update to an L2 norm, rounds it to integers, adds a discrete Gaussian share, and
encrypts; only the sum, with all shares in it, is ever opened. Sums are exact, so they need no
modular wrap-around here.

- Rounding to nearest moves each of d values by half a step at most: the integers' L2 norm is at
  most clip / step + sqrt(d) / 2, whatever the update. No randomness of the rounding is relied on.
- The shares of the honest clouds must suffice: each is sized so that `min_clients - colluders` of
  them are the whole noise. Whoever drops takes a share away; rounds of fewer than `min_clients` are
  not opened, and each opened round is accounted with the number of shares that were in it.
- A sum of discrete Gaussians is no discrete Gaussian, but near to one: proposition 14 there bounds
  the difference (`concentrated_loss`).
- Codec ranges have room for `tail` standard deviations beside the clipped value. A noisy value
  beyond it would be cut, which is another mechanism; its probability is accounted as a failure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import shown
from veilsum.errors import ParameterError
from veilsum.privacy.accountant import clip_to_norm
from veilsum.privacy.discrete_gaussian import MAX_VARIANCE, discrete_gaussian
from veilsum.rounding import Grid

Tensors = Mapping[str, NDArray[np.float64]]

_SMALLEST_DEVIATION = 2.0
"""Of one share, in steps: above it, sums of shares are discrete Gaussians but for 10^-17."""


@dataclass(frozen=True)
class NoisePlan:
    """Range, step and noise of a run, the same at every cloud; public.

    Parameters
    ----------
    clip : float
        Largest L2 norm of an update.
    values : int
        Number of values of an update.
    value_bits : int
        Of the sums' plan.
    limit : float
        Range of every value; the step is limit / (2^(value_bits - 1) - 1).
    variance : int
        Of one cloud's share, in steps squared.
    tail : float
        Standard deviations of a share that the range has room for.
    """

    clip: float
    values: int
    value_bits: int
    limit: float
    variance: int
    tail: float

    @classmethod
    def make(
        cls,
        *,
        clip: float,
        noise_multiplier: float,
        values: int,
        value_bits: int,
        honest: int,
        tail: float,
    ) -> NoisePlan:
        """Size range and noise.

        Parameters
        ----------
        clip : float
            Largest L2 norm of an update; above 0.
        noise_multiplier : float
            Standard deviation of `honest` shares together, over the largest norm; above 0.
        values : int
            Number of values of an update.
        value_bits : int
            Of the sums' plan.
        honest : int
            How many shares must suffice; at least 1.
        tail : float
            Standard deviations of a share that the range has room for.

        Raises
        ------
        veilsum.ParameterError
            When the values have too few bits for rounding not to count, or too many for the
            sampler.
        """
        levels = Grid(1.0, value_bits).levels
        limit = clip * (1 + tail * noise_multiplier / math.sqrt(honest))
        variance = 1
        for _ in range(100):
            step = limit / levels
            sensitivity = clip / step + math.sqrt(values) / 2
            variance = math.ceil((noise_multiplier * sensitivity) ** 2 / honest)
            # Half a step for the rounding, and one for the last bits of this arithmetic.
            wanted = clip + (1.5 + tail * math.sqrt(variance)) * step
            if wanted <= limit:
                break
            limit = wanted * (1 + 2.0**-20)
        plan = cls(clip, values, value_bits, limit, variance, tail)
        if wanted > limit or math.sqrt(values) / 2 > clip / step:
            raise ParameterError(
                f"rounding {shown(values)} values to {value_bits} bits adds more to an update's "
                f"norm than its clip of {shown(clip)}; use more encryption.value_bits"
            )
        if math.sqrt(variance) < _SMALLEST_DEVIATION:
            raise ParameterError(
                f"a noise share has a standard deviation of {math.sqrt(variance):.2g} steps; must "
                f"be at least {_SMALLEST_DEVIATION:g}: use more encryption.value_bits or a larger "
                "privacy.noise_multiplier"
            )
        if variance > MAX_VARIANCE:
            raise ParameterError(
                f"a noise share has a variance of {variance} steps squared, beyond the sampler's "
                f"{MAX_VARIANCE}; use fewer encryption.value_bits (16 are enough)"
            )
        return plan

    @property
    def step(self) -> float:
        """Distance of neighbouring integers, in the unit of the values."""
        return Grid(self.limit, self.value_bits).step

    @property
    def sensitivity(self) -> float:
        """Largest L2 norm of a cloud's integers."""
        return self.clip / self.step + math.sqrt(self.values) / 2

    def integers(self, update: Tensors) -> dict[str, NDArray[np.int64]]:
        """Clip and round an update; no noise yet.

        Parameters
        ----------
        update : mapping of str to ndarray
            Local minus global parameters.

        Raises
        ------
        veilsum.ParameterError
            When the norm of the integers exceeds the sensitivity: never, but for a bug.
        """
        clipped = clip_to_norm(update, self.clip)
        numbers = {n: np.rint(array / self.step).astype(np.int64) for n, array in clipped.items()}
        squared = sum(int(np.vdot(array, array)) for array in numbers.values())
        if squared > self.sensitivity**2:
            raise ParameterError("an update's integers are longer than the sensitivity says")
        return numbers

    def private(self, update: Tensors) -> dict[str, NDArray[np.float64]]:
        """Return what a cloud encrypts: its clipped update on the grid, with its share of noise.

        Parameters
        ----------
        update : mapping of str to ndarray
            Local minus global parameters.

        Returns
        -------
        dict of str to ndarray
            Points of the codec's grid, which rounding to nearest leaves as they are.
        """
        numbers = self.integers(update)
        grid = Grid(self.limit, self.value_bits)
        noise = discrete_gaussian(self.variance, self.values)
        made: dict[str, NDArray[np.float64]] = {}
        start = 0
        for name, array in numbers.items():
            share = noise[start : start + array.size].reshape(array.shape)
            start += array.size
            total = np.clip(array + share, -grid.levels, grid.levels)
            made[name] = np.clip(total * grid.step, -grid.limit, grid.limit)
            array.fill(0)
            total.fill(0)
        # Whoever had noise and upload's integers would have the update.
        noise.fill(0)
        return made

    def loss(self, shares: int) -> float:
        """Return the zero-concentrated loss of a round with so many honest shares.

        Parameters
        ----------
        shares : int
            Noise shares that nobody can subtract; at least 1.
        """
        return concentrated_loss(self.sensitivity, self.variance, shares, self.values)

    def failure(self, clients: int) -> float:
        """Return a bound of the probability that any noisy value of a round was cut.

        A discrete Gaussian is as concentrated as the continuous one: P(|x| > t s) is at most
        2 exp(-t^2 / 2).

        Parameters
        ----------
        clients : int
            How many took part.
        """
        return min(2.0 * clients * self.values * math.exp(-(self.tail**2) / 2), 0.999)


def concentrated_loss(sensitivity: float, variance: float, shares: int, values: int) -> float:
    """Return rho of a sum of discrete Gaussian shares (Kairouz, Liu and Steinke 2021, prop. 14).

    The Renyi divergence of order a is at most a * e^2 / 2 with
    e^2 = min(D^2 / (n s^2) + 2 t d, (D / (sqrt(n) s) + t sqrt(d))^2),
    t = 10 * sum over k < n of exp(-2 pi^2 s^2 k / (k + 1)). (The first bound there has t d outside
    the factor a, which is at least 1.)

    Parameters
    ----------
    sensitivity : float
        D, in steps.
    variance : float
        s^2 of one share, in steps squared; at least 1/4.
    shares : int
        n.
    values : int
        d.

    Raises
    ------
    veilsum.ParameterError
        When there is no share, or the variance is below 1/4.
    """
    if shares < 1 or variance < 0.25:
        raise ParameterError(
            f"{shown(shares)} noise shares of variance {shown(variance)} protect nothing; at "
            "least one share, of variance 1/4 or more"
        )
    closeness = 10 * math.fsum(
        math.exp(-2 * math.pi**2 * variance * k / (k + 1)) for k in range(1, shares)
    )
    ratio = sensitivity / math.sqrt(shares * variance)
    squared = min(ratio**2 + 2 * closeness * values, (ratio + closeness * math.sqrt(values)) ** 2)
    return squared / 2
