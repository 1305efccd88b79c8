"""The experiment: all methods take turns round by round, are attacked, and are written down.

Comparison layer. Methods run in turn within each round, in an order drawn anew, so that a
disturbance of the machine hits all of them, and ratios pair rounds of the same minute. Attacks and
checks run between the rounds and are in nobody's time. Every record is on disk before the next
begins; an interrupt ends the experiment after the last whole record, and the report is made of what
there is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.errors import BackendUnavailableError, ParameterError
from veilsum.lab.compare import aes_table, agreement
from veilsum.lab.compare.contenders import (
    CENTRALISED,
    HYBRID,
    Contender,
    choose,
    configuration,
    configuration_settings,
)
from veilsum.lab.compare.files import AES, LEAKAGE, SUMMARY, SWEEP, write_json
from veilsum.lab.compare.options import CompareOptions
from veilsum.lab.compare.sweep import leakage_by_share
from veilsum.lab.compare.views import Aggregator
from veilsum.lab.leakage import (
    TOLERANCE,
    LeakageRate,
    ProbeBatch,
    Victim,
    View,
    attack,
    choose_probes,
    leakage_rate,
    membership,
    random_guesses,
)
from veilsum.lab.leakage.measure import NOTHING
from veilsum.lab.methods.registry import make_method
from veilsum.learning.metrics import Evaluator, Record
from veilsum.learning.outcomes import YES_OR_NO
from veilsum.learning.seeds import numpy_generator
from veilsum.learning.task import Parameters
from veilsum.run_names import METRICS
from veilsum.training import environment
from veilsum.training.config import TrainConfig
from veilsum.training.metrics_log import MetricsLog
from veilsum.training.outcome import Method, RoundOutcome
from veilsum.training.rounds import play, reproducible
from veilsum.training.run_directory import create_run_directory
from veilsum.training.setting import Setting, prepare
from veilsum.training.threads import choose_threads

Say = Callable[[str], None]

CHANCE = "chance"
"""Name of the null control in the records of attacks."""

WHOLE_ROUND = "round"
"""Name of the attack on real updates; those on probes are named "step-" and the batch size."""


@dataclass
class _Running:
    """A contender at work."""

    contender: Contender
    config: TrainConfig
    method: Method
    aggregator: Aggregator
    rounds: Iterator[tuple[Record, RoundOutcome]]
    last: RoundOutcome | None = None
    agreements: list[dict[str, Any]] = field(default_factory=list)
    unchecked: str = ""


class Experiment:
    """One comparison, from data to raw records.

    Parameters
    ----------
    config : TrainConfig
        What all methods have in common.
    options : CompareOptions
        What is measured.
    say : callable
        Told what happens, line by line.

    Raises
    ------
    veilsum.VeilsumError
        When a choice cannot be held.
    """

    def __init__(self, config: TrainConfig, options: CompareOptions, say: Say) -> None:
        self._config = config
        self._options = options
        self._say = say
        self._contenders = choose(options.methods)
        self._setting: Setting = prepare(config)
        if self._setting.outcome != YES_OR_NO:
            raise ParameterError(
                f"study {self._setting.federation.study.name} has classes or a number to learn; "
                "methods are compared on an outcome of yes or no"
            )
        self._evaluator: Evaluator = self._setting.evaluator()
        self._running: list[_Running] = []
        self._missing: dict[str, str] = {}
        for one in self._contenders:
            try:
                mine = configuration(config, one)
                method = make_method(one.method, mine, setting=self._setting)
            except (BackendUnavailableError, ParameterError) as error:
                # The common configuration is right; what is wrong is what this one adds to it,
                # such as plain parts beside distributed noise.
                self._missing[one.key] = str(error)
                say(f"{one.title}: not run: {error}")
            else:
                rounds = play(method, range(1, config.training.rounds + 1), self._evaluator)
                self._running.append(_Running(one, mine, method, Aggregator(method, mine), rounds))
        if not self._running:
            raise ParameterError(
                "none of the methods can run here: "
                + "; ".join(f"{key}: {reason}" for key, reason in self._missing.items())
            )
        self._probes = self._choose_probes()
        self._held_out = self._setting.preprocessor.transform(self._setting.federation.held_out)

    def _choose_probes(self) -> dict[int, list[ProbeBatch]]:
        """Return batches by size; small clouds of a large batch are left out, not shrunk."""
        return {
            size: choose_probes(
                self._setting.inputs,
                self._setting.labels,
                self._options.probes,
                size,
                numpy_generator(self._config.run.seed, "probes", size),
            )
            for size in self._options.batch_sizes
        }

    def run(self) -> Path:
        """Run everything and return the folder with the raw records.

        An interrupt (Ctrl-C) is written down as the status, not raised.

        Raises
        ------
        veilsum.VeilsumError
            When a party refuses what another sends, or training diverges.
        OSError
            When the folder cannot be written.
        """
        threads = choose_threads(self._config, len(self._setting.preprocessor.names))
        folder = create_run_directory(
            self._config, f"compare-{self._setting.federation.study.name}"
        )
        started = time.time()
        summary = self._describe(threads.core, started)
        write_json(folder / SUMMARY, summary)
        try:
            with (
                reproducible(threads.pytorch),
                MetricsLog(folder / METRICS) as rounds,
                MetricsLog(folder / LEAKAGE) as leaks,
            ):
                self._rounds(rounds, leaks, folder)
            if self._options.aes:
                self._aes(folder)
            summary["status"] = "finished"
        except KeyboardInterrupt:
            summary["status"] = "interrupted"
        except BaseException as error:
            summary["status"] = "failed"
            summary["error"] = f"{type(error).__name__}: {error}"
            raise
        finally:
            summary["methods"] = self._results()
            summary["seconds"] = time.time() - started
            write_json(folder / SUMMARY, summary)
        return folder

    def _rounds(self, rounds: MetricsLog, leaks: MetricsLog, folder: Path) -> None:
        attacked = self._options.rounds_to_attack(self._config.training.rounds)
        for number in range(1, self._config.training.rounds + 1):
            before = {one.contender.key: one.method.parameters for one in self._running}
            aucs = {}
            for one in self._turns(number):
                record, one.last = next(one.rounds)
                record |= _costs(one, one.last)
                rounds.append(record)
                aucs[one.contender.key] = record["auc"]
                if record["skipped"]:
                    self._say(f"round {number}: {one.contender.key} skipped: {record['skipped']}")
            said = [f"{one.contender.key} {aucs[one.contender.key]:.4f}" for one in self._running]
            self._say(f"round {number}: AUC {', '.join(said)}")
            if number not in attacked:
                continue
            guesses: dict[str, int] = {}
            for one in self._running:
                key = one.contender.key
                for attacked_one in self._attack(one, before[key], number, number == attacked[-1]):
                    leaks.append(attacked_one)
                    name = attacked_one["attack"]
                    guesses[name] = max(guesses.get(name, 0), attacked_one["most_guesses"])
            for record in self._chance(number, guesses):
                leaks.append(record)
            self._say(f"round {number}: attacked")
            hybrid = next((one for one in self._running if one.contender.key == HYBRID), None)
            if hybrid is not None and number == attacked[-1]:
                model = before[HYBRID]
                with MetricsLog(folder / SWEEP) as log:
                    for record in leakage_by_share(
                        self._setting, hybrid.config, model, number, self._probes
                    ):
                        log.append(record)

    def _turns(self, number: int) -> list[_Running]:
        """Return the methods in the round's order: what runs before a method may slow it down."""
        generator = numpy_generator(self._config.run.seed, "turns", number)
        return [self._running[i] for i in generator.permutation(len(self._running))]

    def _attack(self, one: _Running, before: Parameters, number: int, last: bool) -> list[Record]:
        """Attack one method's round, and check its mean on the way."""
        outcome = one.last
        if outcome is None:
            return []
        config, key = one.config, one.contender.key
        victim = Victim(config.model, before)
        rate = config.training.learning_rate
        found: list[Record] = []
        for size, batches in self._probes.items():
            generator = numpy_generator(config.run.seed, "attack", key, size, number)
            total, most, readable, optimised = NOTHING, 0, 0.0, 0
            for i, batch in enumerate(batches):
                if key == CENTRALISED:
                    guesses, share = batch.inputs.astype(np.float64), 1.0
                else:
                    update = victim.one_step(batch.inputs, batch.labels, rate)
                    view = one.aggregator.view(update, batch.cloud, number, outcome)
                    share = view.readable
                    result = attack(
                        victim,
                        view.scaled(-1 / rate),
                        size,
                        generator,
                        optimise=last and i < self._options.optimised_batches,
                    )
                    guesses = result.guesses
                    optimised += result.optimised
                total += leakage_rate(batch.inputs, guesses)
                most = max(most, len(guesses))
                readable += share / len(batches)
            found.append(_leak(key, number, f"step-{size}", total, most, readable, optimised))
        found.append(self._whole_round(one, victim, before, number, outcome))
        return found

    def _whole_round(
        self,
        one: _Running,
        victim: Victim,
        before: Parameters,
        number: int,
        outcome: RoundOutcome,
    ) -> Record:
        """Attack the real updates of a round: many steps over all of a cloud's rows."""
        config, key = one.config, one.contender.key
        probes = self._probes[1]
        if key == CENTRALISED:
            rows = np.concatenate([batch.inputs for batch in probes])
            return _leak(
                key, number, WHOLE_ROUND, leakage_rate(rows, rows.astype(np.float64)), 0, 1.0, 0
            )
        updates = agreement.replay(self._setting, before, number, outcome)
        one.unchecked = agreement.checkable(config, key, outcome)
        if not one.unchecked:
            checked = agreement.check(config, key, before, updates, outcome)
            one.agreements.append({"round": number, **asdict(checked)})
        total, most, readable = NOTHING, 0, 0.0
        generator = numpy_generator(config.run.seed, "attack", key, WHOLE_ROUND, number)
        for cloud, update in updates.items():
            view = one.aggregator.real_view(update, cloud, number, outcome)
            guesses = _guess(victim, view, config, generator)
            readable += view.readable / len(updates)
            most = max(most, len(guesses))
            mine = [batch.inputs for batch in probes if batch.cloud == cloud]
            if mine:
                total += leakage_rate(np.concatenate(mine), guesses)
        return _leak(key, number, WHOLE_ROUND, total, most, readable, 0)

    def _chance(self, number: int, guesses: dict[str, int]) -> list[Record]:
        """Guess as often as the busiest attack, from the held-out rows: the null control."""
        found: list[Record] = []
        for name, most in guesses.items():
            size = int(name.removeprefix("step-")) if name != WHOLE_ROUND else 1
            generator = numpy_generator(self._config.run.seed, "chance", name, number)
            total = NOTHING
            for batch in self._probes[size]:
                total += leakage_rate(
                    batch.inputs, random_guesses(self._held_out, max(most, 1), generator)
                )
            found.append(_leak(CHANCE, number, name, total, most, 0.0, 0))
        return found

    def _aes(self, folder: Path) -> None:
        self._say("measuring AES and Veilsum on records")
        sizes = aes_table.QUICK if self._options.quick else aes_table.FULL
        with MetricsLog(folder / AES) as log:
            for row in aes_table.measure_aes_table(sizes, environment.usable_cores()):
                log.append(asdict(row))

    def _results(self) -> list[dict[str, Any]]:
        """Return what each contender came to."""
        running = {one.contender.key: one for one in self._running}
        found = []
        for contender in self._contenders:
            described: dict[str, Any] = {
                "key": contender.key,
                "title": contender.title,
                "seen": contender.seen,
                "settings": list(configuration_settings(self._config, contender)),
            }
            one = running.get(contender.key)
            if one is None:
                described |= {"status": "not run", "reason": self._missing[contender.key]}
            else:
                described |= {"status": "ran", **self._outcome(one)}
            found.append(described)
        return found

    def _outcome(self, one: _Running) -> dict[str, Any]:
        privacy = one.last.privacy if one.last else None
        described: dict[str, Any] = {
            "setup_bytes": one.method.setup_bytes,
            "privacy": asdict(privacy) if privacy else None,
            "agreement": one.agreements,
            "unchecked": one.unchecked,
        }
        if one.last is not None:
            victim = Victim(one.config.model, one.method.parameters)
            held_out = self._setting.federation.held_out
            described["membership"] = asdict(
                membership(
                    victim.losses(
                        np.concatenate(self._setting.inputs), np.concatenate(self._setting.labels)
                    ),
                    victim.losses(self._held_out, held_out.labels),
                )
            )
        return described

    def _describe(self, threads: int, started: float) -> dict[str, Any]:
        setting, config = self._setting, self._config
        study = setting.federation.study
        return {
            "status": "running",
            "started": time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(started)),
            "quick": self._options.quick,
            "options": asdict(self._options),
            "configuration": config.to_mapping(),
            "environment": environment.describe(setting.device, threads),
            "study": {
                "name": study.name,
                "title": study.title,
                "source": study.source,
                "outcome": study.outcome,
                "rows": len(study),
                # Made-up rows are marked on everything that is made of them.
                "synthetic": bool(getattr(study, "synthetic", False)),
            },
            "clouds": [len(one) for one in setting.federation.clouds],
            "held_out": len(setting.federation.held_out),
            "inputs": list(setting.preprocessor.names),
            "model_values": sum(array.size for array in setting.initial_parameters().values()),
            "tolerance": TOLERANCE,
            "attacked": self._options.rounds_to_attack(config.training.rounds),
            "methods": [],
        }


def _costs(one: _Running, outcome: RoundOutcome) -> Record:
    """Return what a record says besides: whose it is, and what the slowest cloud spent."""
    slowest = max(outcome.clouds, key=lambda cloud: sum(cloud.seconds.values()))
    train = slowest.seconds.get("train", 0.0)
    everything = sum(outcome.seconds.values())
    clouds = sum(sum(cloud.seconds.values()) for cloud in outcome.clouds)
    return {
        "method": one.contender.key,
        "skipped": outcome.skipped,
        "cost": {
            "round_s": everything,
            "train_s": train,
            "protect_s": sum(slowest.seconds.values()) - train,
            "server_s": max(0.0, everything - clouds),
            "up_bytes": max(cloud.up_bytes for cloud in outcome.clouds),
            "down_bytes": max(cloud.down_bytes for cloud in outcome.clouds),
        },
    }


def _guess(
    victim: Victim, view: View, config: TrainConfig, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Attack an update of many steps as if it were one step's."""
    gradient = view.scaled(-1 / config.training.learning_rate)
    return attack(victim, gradient, 1, generator, optimise=False).guesses


def _leak(
    key: str,
    number: int,
    name: str,
    total: LeakageRate,
    most: int,
    readable: float,
    optimised: int,
) -> Record:
    return {
        "method": key,
        "round": number,
        "attack": name,
        "rate": total.rate,
        "probes": total.probes,
        "recovered": total.recovered,
        "feature_share": total.feature_share,
        "guesses": total.guesses,
        "most_guesses": most,
        "readable": readable,
        "optimised": optimised,
    }
