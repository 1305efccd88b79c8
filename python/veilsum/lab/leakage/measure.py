"""How much an attack recovered: the data leakage rate, and what chance alone would give.

Leakage layer, bottom. A record counts as recovered when every one of its standardised features is
within a tolerance of one of the attack's guesses. With features standardised over all clouds, the
default of a tenth of a standard deviation means: age to about one year, a concentration to a few
percent, and every yes-or-no column right. Which of several guesses is right is not asked, so the
rate is an upper bound on what the attacker knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import shown
from veilsum.errors import ParameterError

Floats = NDArray[np.float64]

TOLERANCE = 0.1
"""Largest error of a standardised feature, in standard deviations, of a recovered record."""


@dataclass(frozen=True)
class LeakageRate:
    """What was recovered of some probe records.

    Parameters
    ----------
    probes : int
        Records that were looked for.
    recovered : int
        Those with all features within the tolerance of one guess.
    feature_share : float
        Share of the probes' features within the tolerance, in each probe's nearest guess.
    guesses : int
        Guesses that were made.
    """

    probes: int
    recovered: int
    feature_share: float
    guesses: int

    @property
    def rate(self) -> float:
        """The data leakage rate, from 0 to 1."""
        return self.recovered / self.probes if self.probes else 0.0

    def __add__(self, other: LeakageRate) -> LeakageRate:
        probes = self.probes + other.probes
        features = self.feature_share * self.probes + other.feature_share * other.probes
        return LeakageRate(
            probes,
            self.recovered + other.recovered,
            features / probes if probes else 0.0,
            self.guesses + other.guesses,
        )


NOTHING = LeakageRate(0, 0, 0.0, 0)
"""Of no probes; the start of a sum."""


def leakage_rate(
    records: NDArray[np.float32] | Floats, guesses: Floats, tolerance: float = TOLERANCE
) -> LeakageRate:
    """Count the records that are among the guesses.

    Parameters
    ----------
    records : ndarray, shape (records, columns)
        Standardised features.
    guesses : ndarray, shape (guesses, columns)
        Of the attack; may be empty.
    tolerance : float
        Largest error of each feature.

    Raises
    ------
    veilsum.ParameterError
        When the columns differ or the tolerance is not above 0.
    """
    if records.ndim != 2 or guesses.ndim != 2 or records.shape[1] != guesses.shape[1]:
        raise ParameterError(
            f"records {records.shape} and guesses {guesses.shape} must be tables of equal columns"
        )
    if not tolerance > 0:
        raise ParameterError(f"the tolerance is {shown(tolerance)}; must be above 0")
    if not len(guesses) or not len(records):
        return LeakageRate(len(records), 0, 0.0, len(guesses))
    errors = np.abs(guesses[None] - records[:, None].astype(np.float64))
    close: NDArray[np.bool_] = errors <= tolerance
    return LeakageRate(
        probes=len(records),
        recovered=int(np.any(np.all(close, axis=2), axis=1).sum()),
        feature_share=float(close.mean(axis=2).max(axis=1).mean()),
        guesses=len(guesses),
    )


def random_guesses(
    population: NDArray[np.float32], count: int, generator: np.random.Generator
) -> Floats:
    """Return guesses that know the population but no upload: the null control.

    Parameters
    ----------
    population : ndarray, shape (rows, columns)
        Standardised features of people who are no probes.
    count : int
        How many guesses; rows are drawn with replacement.
    generator : numpy.random.Generator
        Draws them.
    """
    return population[generator.integers(0, len(population), count)].astype(np.float64)
