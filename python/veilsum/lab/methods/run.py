"""Running one method by its name, without a run's folder: for comparisons and notebooks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from veilsum.lab.methods.registry import make_method
from veilsum.learning.metrics import Record
from veilsum.learning.task import Parameters
from veilsum.training.config import TrainConfig
from veilsum.training.federation import Federation
from veilsum.training.outcome import RoundOutcome
from veilsum.training.rounds import play, quiet_ranges, reproducible
from veilsum.training.setting import Setting, prepare
from veilsum.training.threads import choose_threads
from veilsum.transport.conditions import Conditions


@dataclass
class MethodRun:
    """What `run_method` returns.

    Parameters
    ----------
    name : str
        The method.
    records : list of dict
        One a round, as metrics.jsonl has them.
    parameters : dict of str to ndarray
        The final global model.
    setup_bytes : int
        What each cloud exchanged once, before the first round.
    setup_seconds : float
        How long that took, with keys and contexts.
    """

    name: str
    records: list[Record] = field(default_factory=list)
    parameters: Parameters = field(default_factory=dict)
    setup_bytes: int = 0
    setup_seconds: float = 0.0


def run_method(
    name: str,
    config: TrainConfig,
    *,
    federation: Federation | None = None,
    setting: Setting | None = None,
    conditions: Conditions | None = None,
    observe: Callable[[Record, RoundOutcome], None] | None = None,
) -> MethodRun:
    """Run one method over the same data, inputs, seeds and rounds as any other.

    Parameters
    ----------
    name : str
        One of `methods.METHODS`.
    config : TrainConfig
        The run's configuration.
    federation : Federation, optional
        The rows; loaded and spread as the configuration says by default.
    setting : Setting, optional
        What `methods.prepare` made, to prepare the inputs once for several methods.
    conditions : Conditions, optional
        What fails on the way; nothing by default.
    observe : callable, optional
        Called after each round with its record and outcome (which holds what the aggregator could
        read, `outcome.visible`).

    Returns
    -------
    MethodRun
        Records and final model.

    Raises
    ------
    veilsum.VeilsumError
        When the method is unknown, its extra is missing, a party refuses what another sends, or
        training diverges.
    """
    if setting is None:
        setting = prepare(config, federation)
    threads = choose_threads(config, len(setting.federation.study.features))
    with reproducible(threads.pytorch), quiet_ranges():
        start = time.perf_counter()
        method = make_method(name, config, setting=setting, conditions=conditions)
        run = MethodRun(name, setup_seconds=time.perf_counter() - start)
        run.setup_bytes = method.setup_bytes
        for record, outcome in play(
            method, range(1, config.training.rounds + 1), setting.evaluator()
        ):
            run.records.append(record)
            if observe is not None:
                observe(record, outcome)
        run.parameters = method.parameters
    return run
