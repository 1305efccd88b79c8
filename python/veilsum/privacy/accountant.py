"""Differential privacy: clipping, what noise costs, and the accounting of rounds.

Federated loop. The unit of privacy is one cloud's whole contribution to a round, present or
replaced by zero ("zero-out" adjacency). Losses are added up as Renyi divergences of all orders and
turned into (epsilon, delta) by the accountant of opacus, a maintained library. No amplification by
sampling is claimed: everybody sees who takes part.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import shown
from veilsum.errors import ParameterError, missing_extra

Tensors = Mapping[str, NDArray[np.float64]]

_ORDERS = tuple(1 + x / 10 for x in range(1, 100)) + tuple(float(x) for x in range(11, 512))
"""Renyi orders that are tried; the best one counts."""


@dataclass(frozen=True)
class PrivacyLoss:
    """What is claimed, and under which assumptions.

    Parameters
    ----------
    epsilon, delta : float
        After all rounds so far.
    rounds : int
        How many rounds were opened.
    model : str
        "central" (a trusted server adds the noise), "local" (each cloud adds all of it itself), or
        "distributed" (the noise of the honest clouds adds up inside the encrypted sum).
    unit : str
        Whose presence is hidden.
    covers : str
        What the numbers are about, and what they leave out.
    assumes : str
        What must hold for them.
    """

    epsilon: float
    delta: float
    rounds: int
    model: str
    unit: str
    covers: str
    assumes: str


UNIT = "one cloud's contribution to a round, present or replaced by zero"
COVERS = (
    "the opened updates of all rounds so far; not the pooled statistics of preprocessing, which "
    "are opened once and exactly"
)


class Accountant:
    """Adds up the privacy loss of Gaussian rounds.

    Parameters
    ----------
    delta : float
        Above 0, below 1: the probability with which epsilon may fail.

    Raises
    ------
    veilsum.BackendUnavailableError
        When opacus is not installed.
    """

    def __init__(self, delta: float) -> None:
        _analysis()
        self._delta = delta
        self._rho = 0.0
        self._failure = 0.0
        self._rounds = 0

    @property
    def rounds(self) -> int:
        """How many rounds were added."""
        return self._rounds

    def add(self, rho: float, failure: float = 0.0) -> None:
        """Add a round.

        Parameters
        ----------
        rho : float
            Its zero-concentrated privacy loss: the Renyi divergence of order a is at most a * rho.
            A Gaussian of noise multiplier z has 1 / (2 z**2).
        failure : float
            Probability that the round's mechanism differs from the one that `rho` describes.
        """
        if not (math.isfinite(rho) and rho > 0 and 0 <= failure < 1):
            raise ParameterError(
                f"a round's privacy loss is rho {shown(rho)}, failure probability "
                f"{shown(failure)}; rho must be finite and above 0, the probability at least 0 "
                "and below 1"
            )
        self._rho += rho
        self._failure += failure
        self._rounds += 1

    def epsilon(self) -> float:
        """Return epsilon at this accountant's delta; 0 before the first round.

        A mechanism that differs from the accounted one with probability f is (epsilon,
        delta + (1 + exp(epsilon)) * f) private when that one is (epsilon, delta) private; the delta
        left for the accounted one shrinks accordingly.

        Raises
        ------
        veilsum.ParameterError
            When failures alone exceed delta.
        """
        if not self._rounds:
            return 0.0
        analysis = _analysis()
        orders = list(_ORDERS)
        divergences = np.array([order * self._rho for order in orders])
        delta = self._delta
        for _ in range(32):
            if delta <= 0:
                break
            with warnings.catch_warnings():
                # It warns when the best order is the first or last; the bound holds all the same.
                warnings.simplefilter("ignore")
                spent = analysis.get_privacy_spent(orders=orders, rdp=divergences, delta=delta)
            epsilon = float(spent[0])
            left = self._delta - (1 + math.exp(min(epsilon, 700.0))) * self._failure
            if left >= delta * (1 - 1e-9):
                return epsilon
            delta = left * 0.999
        raise ParameterError(
            f"the rounds' noise exceeds its range with probability {self._failure:.2g}, too much "
            f"for delta {self._delta:g}; use a larger privacy.noise_tail"
        )

    def loss(self, model: str, assumes: str, covers: str = COVERS) -> PrivacyLoss:
        """Return what the rounds so far have spent.

        Parameters
        ----------
        model : str
            As `PrivacyLoss` has it.
        assumes : str
            What must hold for the numbers.
        covers : str
            What the numbers are about.
        """
        return PrivacyLoss(self.epsilon(), self._delta, self._rounds, model, UNIT, covers, assumes)


def _analysis() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from opacus.accountants.analysis import rdp
    except ModuleNotFoundError as error:
        raise missing_extra("accounting of differential privacy", "opacus", "dp") from error
    return rdp


def gaussian_rho(noise_multiplier: float) -> float:
    """Return the zero-concentrated loss of one Gaussian round.

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation of the noise over the sensitivity of the sum; above 0.
    """
    if not (math.isfinite(noise_multiplier) and noise_multiplier > 0):
        raise ParameterError(f"the noise multiplier is {shown(noise_multiplier)}; must be above 0")
    return 1 / (2 * noise_multiplier**2)


def norm(tensors: Tensors) -> float:
    """Return the L2 norm of all tensors together.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        An update.
    """
    return math.sqrt(sum(float(np.vdot(array, array)) for array in tensors.values()))


def clip_to_norm(tensors: Tensors, bound: float) -> dict[str, NDArray[np.float64]]:
    """Scale an update down to an L2 norm, if it is longer.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        The update; finite.
    bound : float
        The largest norm; above 0.

    Returns
    -------
    dict of str to ndarray
        Norm at most `bound`: the factor is rounded down so that no rounding goes beyond it.
    """
    length = norm(tensors)
    if not math.isfinite(length):
        raise ParameterError("the update to clip has values that are not finite")
    # One part in 2^40 covers the roundings of the norm and of the products.
    factor = min(1.0, bound / length * (1 - 2.0**-40)) if length > 0 else 1.0
    return {name: array * factor for name, array in tensors.items()}
