"""The attack: everything that is tried on one view, in order of cost.

Leakage layer. First the analytic attack. For a batch of one the attacker can check a guess by
computing its gradient; when a guess explains what was seen, it is done, and otherwise it optimises.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilsum.lab.leakage.analytic import first_layer_guesses
from veilsum.lab.leakage.optimised import match_gradient, residual
from veilsum.lab.leakage.victim import Victim
from veilsum.lab.leakage.view import View

Floats = NDArray[np.float64]

EXPLAINED = 1e-4
"""Residual below which a guess of a batch of one is taken to be the record."""


@dataclass(frozen=True)
class Attack:
    """What an attack on one view returned.

    Parameters
    ----------
    guesses : ndarray, shape (guesses, columns)
        Standardised features, the best supported first.
    optimised : bool
        Whether the optimisation ran.
    """

    guesses: Floats
    optimised: bool


def attack(
    victim: Victim,
    gradient: View,
    rows: int,
    generator: np.random.Generator,
    *,
    optimise: bool = True,
) -> Attack:
    """Guess the records behind one upload.

    Parameters
    ----------
    victim : Victim
        The model, which the attacker knows.
    gradient : View
        The upload as a gradient of the mean loss: an update over minus the learning rate. An
        update of many steps goes in the same way; the attack then treats it as one step's.
    rows : int
        Records in the batch.
    generator : numpy.random.Generator
        For random starts.
    optimise : bool
        Whether to optimise where the analytic attack does not explain what was seen.
    """
    guesses = first_layer_guesses(
        np.asarray(gradient.values[victim.first_weight], dtype=np.float64),
        np.asarray(gradient.values[victim.first_bias], dtype=np.float64),
        gradient.precision,
    )
    if not optimise:
        return Attack(guesses, optimised=False)
    starts: list[Floats] = []
    if rows == 1:
        for guess in guesses[:2]:
            if residual(victim, gradient, guess) < EXPLAINED:
                return Attack(guess[None], optimised=False)
            starts.append(guess[None])
    elif len(guesses):
        starts.append(np.resize(guesses, (rows, victim.inputs)))
    match = match_gradient(victim, gradient, rows, generator, starts)
    return Attack(np.concatenate([match.guesses, guesses]), optimised=True)
