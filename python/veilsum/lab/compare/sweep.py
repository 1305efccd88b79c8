"""What hybrid encryption leaks, against the share of coordinates that is encrypted.

Comparison layer. One global model, one set of probes, every share from nothing to everything: which
coordinates are encrypted follows from the clouds' sensitivities just as a hybrid round agrees on
them, only without the encryption of the agreement. Attacks are the analytic ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from veilsum.lab.leakage import ProbeBatch, Victim, View, attack, leakage_rate
from veilsum.lab.leakage.measure import NOTHING
from veilsum.learning.seeds import numpy_generator
from veilsum.learning.task import Parameters
from veilsum.protocol.hybrid import top_fraction
from veilsum.training.config import TrainConfig
from veilsum.training.setting import Setting

SHARES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Shares of the coordinates that are encrypted."""


def leakage_by_share(
    setting: Setting,
    config: TrainConfig,
    parameters: Parameters,
    number: int,
    probes: Mapping[int, Sequence[ProbeBatch]],
) -> Iterator[dict[str, Any]]:
    """Attack one-step updates of which some coordinates are missing.

    Parameters
    ----------
    setting : Setting
        Data and trainers.
    config : TrainConfig
        Of the hybrid contender: what sensitivity means.
    parameters : dict of str to ndarray
        The global model before the round.
    number : int
        The round.
    probes : mapping of int to sequence of ProbeBatch
        Batches by their size.

    Yields
    ------
    dict
        One record a share and size of batch.
    """
    victim = Victim(config.model, parameters)
    rate = config.training.learning_rate
    scores = np.zeros(sum(array.size for array in parameters.values()))
    for cloud in range(len(setting.inputs)):
        trainer = setting.trainer(cloud)
        result = trainer.train(parameters, number)
        scores += trainer.sensitivity(config.hybrid.sensitivity, parameters, result)
    for share in SHARES:
        hidden = np.zeros(scores.size, dtype=bool)
        if share:
            hidden = top_fraction(scores, share).encrypted
        cuts = np.cumsum([array.size for array in parameters.values()])[:-1]
        masks = {
            name: part.reshape(array.shape)
            for (name, array), part in zip(parameters.items(), np.split(hidden, cuts), strict=True)
        }
        for size, batches in probes.items():
            total = NOTHING
            generator = numpy_generator(config.run.seed, "sweep", size)
            for batch in batches:
                update = victim.one_step(batch.inputs, batch.labels, rate)
                view = View(update).hidden(masks).scaled(-1 / rate)
                found = attack(victim, view, size, generator, optimise=False)
                total += leakage_rate(batch.inputs, found.guesses)
            yield {
                "round": number,
                "encrypted_share": share,
                "attack": f"step-{size}",
                "rate": total.rate,
                "probes": total.probes,
                "recovered": total.recovered,
                "feature_share": total.feature_share,
            }
