"""Does an encrypted mean agree with the plaintext one? Checked on real rounds, against a bound.

Comparison layer. Local training repeats bit for bit from the same global model and seeds, so a
round can be trained again after it, its mean computed in double precision in the clear, and held
against the step that the method took. Each method's bound is derived, not measured: quantisation
for Veilsum, the CKKS error of a fresh ciphertext for HE-FL, float32 for plaintext messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilsum.lab.methods.he_fl import ERROR_BOUND
from veilsum.learning.task import Parameters
from veilsum.rounding import Grid
from veilsum.training.config import TrainConfig
from veilsum.training.outcome import RoundOutcome
from veilsum.training.setting import Setting

Updates = Mapping[int, Mapping[str, NDArray[np.float64]]]

_FLOAT32 = 2.0**-24
"""Largest relative error of rounding to float32."""

_BFLOAT16 = 2.0**-8
"""Largest relative error of rounding to bfloat16, as the plain part of a hybrid round may be."""


@dataclass(frozen=True)
class Agreement:
    """How far a round's mean is from the plaintext mean of the same updates.

    Parameters
    ----------
    error : float
        Largest difference of an entry.
    bound : float
        What was allowed for that entry.
    share : float
        Largest difference over its own bound, of all entries; at most 1 when they agree.
    """

    error: float
    bound: float
    share: float


def replay(
    setting: Setting, parameters: Parameters, number: int, outcome: RoundOutcome
) -> dict[int, dict[str, NDArray[np.float64]]]:
    """Train a round's clouds again and return their updates.

    Parameters
    ----------
    setting : Setting
        Of the method.
    parameters : dict of str to ndarray
        The global model before the round.
    number : int
        The round.
    outcome : RoundOutcome
        What the round gave: which clouds are in its sum.
    """
    return {
        cloud.client: setting.trainer(cloud.client).train(parameters, number).update
        for cloud in outcome.clouds
        if cloud.state == "summed"
    }


def checkable(config: TrainConfig, key: str, outcome: RoundOutcome) -> str:
    """Return why a round cannot be checked; empty when it can.

    Parameters
    ----------
    config : TrainConfig
        Of the contender.
    key : str
        The contender.
    outcome : RoundOutcome
        Of the round.
    """
    if key == "centralised":
        return "nothing is aggregated"
    if outcome.skipped:
        return "the round was skipped"
    if outcome.privacy is not None:
        return "noise is added on purpose"
    if config.aggregation.server_optimiser != "fedavg":
        return f"{config.aggregation.server_optimiser} does not take the mean as its step"
    if sum(upload.clipped for upload in outcome.uploads):
        return "values were clipped"
    return ""


def check(
    config: TrainConfig,
    key: str,
    before: Parameters,
    updates: Updates,
    outcome: RoundOutcome,
) -> Agreement:
    """Compare the step of a round with the plaintext mean of its updates.

    Parameters
    ----------
    config : TrainConfig
        Of the contender.
    key : str
        The contender.
    before : dict of str to ndarray
        The global model before the round.
    updates : mapping of int to mapping of str to ndarray
        From `replay`.
    outcome : RoundOutcome
        Of the round.
    """
    rate = config.aggregation.server_learning_rate or 1.0
    weights = {i: outcome.clouds[i].weight for i in updates}
    total = sum(weights.values())
    worst = Agreement(0.0, 0.0, 0.0)
    for name, after in outcome.parameters.items():
        exact = np.asarray(sum(weights[i] * updates[i][name] for i in updates)) / total
        wanted = before[name].astype(np.float64) + rate * exact
        error = np.abs(after.astype(np.float64) - wanted)
        # The model itself is float32: taking the step rounds once more.
        step = np.abs(wanted) * _FLOAT32 * 1.01
        allowed = rate * _mean_bound(config, key, name, weights, updates, exact, outcome) + step
        share = error / np.maximum(allowed, np.finfo(np.float64).tiny)
        place = int(share.argmax())
        if share.flat[place] > worst.share:
            worst = Agreement(
                float(error.flat[place]), float(allowed.flat[place]), float(share.flat[place])
            )
    return worst


def _mean_bound(
    config: TrainConfig,
    key: str,
    name: str,
    weights: Mapping[int, float],
    updates: Updates,
    exact: NDArray[np.float64],
    outcome: RoundOutcome,
) -> NDArray[np.float64]:
    """Return how far each entry of the mean may be off."""
    total = sum(weights.values())
    clouds = len(weights)
    sent = np.asarray(sum(weights[i] * np.abs(updates[i][name]) for i in updates)) / total
    plain: NDArray[np.float64] = np.asarray((sent + np.abs(exact)) * _FLOAT32 * 1.01)
    if key == "he-fl":
        return np.asarray(plain + clouds * ERROR_BOUND / total)
    if key not in ("veilsum", "hybrid"):
        return plain
    options = config.encryption
    grid = Grid(outcome.limits["update." + name], options.value_bits)
    # Weights are on a grid as well: half a step of each moves the mean towards or off its cloud.
    weight_step = Grid(outcome.limits["weight"], options.value_bits).step
    moved = np.asarray(sum(np.abs(updates[i][name] - exact) for i in updates))
    quantised = clouds * grid.error_bound(options.rounding) / total
    bound = plain + quantised + 0.5 * weight_step * moved / total
    if outcome.visible and config.hybrid.plain_dtype == "bfloat16":
        in_clear = np.isfinite(next(iter(outcome.visible.values()))[name])
        bound = bound + in_clear * sent * _BFLOAT16 * 1.01
    return np.asarray(bound)
