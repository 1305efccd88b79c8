"""The training run: data, parties, rounds, yardsticks, and what is written about them.

Training, top. `train` puts the parts together; each of them can be used without it. Whoever
wants to watch passes an `Observer`; the terminal view and TensorBoard are observers.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from veilsum.data import Study
from veilsum.data.preprocess import from_unit
from veilsum.errors import ParameterError
from veilsum.layout.files import write_update
from veilsum.learning.evaluators import tabular_evaluator
from veilsum.learning.metrics import Evaluator, Record
from veilsum.learning.model import choose_device
from veilsum.learning.predictions import Predictions
from veilsum.run_names import CONFIG, METRICS, MODEL, PARTIES
from veilsum.training.centralised import Centralised
from veilsum.training.config import TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.evaluation import (
    PRIVATE,
    CloudRows,
    Rows,
    evaluate_finally,
    write_evaluation,
)
from veilsum.training.fedavg import FedAvg
from veilsum.training.federation import Federation, spread
from veilsum.training.metrics_log import MetricsLog
from veilsum.training.outcome import Method
from veilsum.training.parties_kept import forget
from veilsum.training.rounds import play, quiet_ranges, reproducible
from veilsum.training.run_directory import create_run_directory, write_summary, write_whole
from veilsum.training.setting import Setting
from veilsum.training.summary import conclusion, describe_run
from veilsum.training.threads import choose_threads

__all__ = ["Federation", "Observer", "TrainingRun", "resume", "spread", "train"]


class Observer(Protocol):
    """Watches a run; all methods are called from the thread that trains."""

    def run_started(self, folder: Path, summary: Mapping[str, Any]) -> None:
        """Hear that the parties exist and rounds are about to begin.

        Parameters
        ----------
        folder : Path
            The run's folder.
        summary : mapping
            As run.json has it so far.
        """
        ...

    def round_finished(self, record: Record) -> None:
        """Hear that a round was evaluated.

        Parameters
        ----------
        record : dict
            As metrics.jsonl has it.
        """
        ...

    def run_ended(self, summary: Mapping[str, Any]) -> None:
        """Hear that the run is over; also after an interrupt or an error.

        Parameters
        ----------
        summary : mapping
            As run.json has it.
        """
        ...


@dataclass
class TrainingRun:
    """What `train` returns.

    Parameters
    ----------
    folder : Path
        The run's folder.
    summary : dict
        As run.json has it.
    records : list of dict
        As metrics.jsonl has them.
    parameters : dict of str to ndarray
        The final global model; empty when no round was finished.
    """

    folder: Path
    summary: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    parameters: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt ended the run early."""
        return bool(self.summary["status"] == "interrupted")


def train(
    config: TrainConfig,
    observers: Sequence[Observer] = (),
    progress: Callable[[int, int], None] | None = None,
) -> TrainingRun:
    """Train a model over clouds whose updates are only ever summed under encryption.

    Everything about the run is written to a new folder as it happens. An interrupt (Ctrl-C) ends
    the run after the last whole record and is reported in the result, not raised.

    Parameters
    ----------
    config : TrainConfig
        Every choice.
    observers : sequence of Observer
        Who watches.
    progress : callable or None
        As in `spread`.

    Returns
    -------
    TrainingRun
        Folder, summary, records and final model.

    Raises
    ------
    veilsum.VeilsumError
        When a choice cannot be held, a party refuses what another sends, or training diverges.
    OSError
        When the folder cannot be written.
    """
    return _run(config, observers, progress, None)


def resume(
    folder: Path,
    observers: Sequence[Observer] = (),
    progress: Callable[[int, int], None] | None = None,
) -> TrainingRun:
    """Go on with a run that was killed or interrupted, to the same result.

    The round that was not finished is played again from its start; clouds that had uploaded give
    the same bytes. Yardsticks are trained anew.

    Parameters
    ----------
    folder : Path
        The run's.
    observers : sequence of Observer
        Who watches.
    progress : callable or None
        As in `spread`.

    Returns
    -------
    TrainingRun
        As `train` returns it, with all records.

    Raises
    ------
    veilsum.ParameterError
        When the folder has no run that can go on.
    veilsum.VeilsumError
        As `train`.
    OSError
        When the folder cannot be read or written.
    """
    if not (folder / CONFIG).is_file():
        raise ParameterError(f"{folder} has no {CONFIG}; it is no folder of veilsum train")
    if not (folder / PARTIES).is_dir():
        raise ParameterError(
            f"{folder} has no {PARTIES}/: the run has finished, or was made with "
            "run.resumable = false; it cannot go on"
        )
    return _run(TrainConfig.load(folder / CONFIG), observers, progress, folder)


def _run(
    config: TrainConfig,
    observers: Sequence[Observer],
    progress: Callable[[int, int], None] | None,
    before: Path | None,
) -> TrainingRun:
    device = choose_device(config.run.device)
    federation = spread(config, progress)
    threads = choose_threads(config, len(federation.study.features))
    with reproducible(threads.pytorch), quiet_ranges():
        started = time.time()
        folder = create_run_directory(config, federation.study.name) if before is None else before
        home = folder / PARTIES if config.run.resumable or before is not None else None
        try:
            method = EncryptedAveraging(config, federation.clouds, home=home, threads=threads.core)
        except Exception:
            if before is None:
                shutil.rmtree(folder, ignore_errors=True)  # nothing happened in it
            raise
        evaluator = tabular_evaluator(
            method.preprocessor.transform(federation.held_out),
            federation.held_out,
            config.model,
            seed=config.run.seed,
            device=device,
        )
        summary = _describe(config, federation, method, device, threads.core, started)
        run = TrainingRun(folder, summary, _kept_records(folder, method))
        write_summary(folder, summary)
        with MetricsLog(folder / METRICS) as log:
            try:
                for observer in observers:
                    observer.run_started(folder, summary)
                # A record is written before its round counts as over: a run that is killed between
                # the two plays the round again, and writes the record anew.
                left = range(method.played + 1, config.training.rounds + 1)
                _rounds(method, left, evaluator, run, log, observers, method.keep)
                if config.run.baseline:
                    _yardsticks(config, federation, method, evaluator, run, log, observers, device)
                summary["status"] = "finished"
                if home is not None and not config.run.keep_messages:
                    forget(home)
            except KeyboardInterrupt:
                summary["status"] = "interrupted"
            except BaseException as error:
                summary["status"] = "failed"
                summary["error"] = f"{type(error).__name__}: {error}"
                raise
            finally:
                _conclude(run, method.parameters)
                summary["seconds"] = time.time() - started
                write_summary(folder, summary)
                for observer in observers:
                    observer.run_ended(summary)
        if run.records:
            # The run is whole: an interrupt from here on costs the report's curves alone.
            with suppress(KeyboardInterrupt):
                found = _evaluation(config, federation, method, evaluator, device)
                write_evaluation(folder, found)
    return run


def _kept_records(folder: Path, method: EncryptedAveraging) -> list[Record]:
    """Return the records of rounds that are over, and take all others out of the log."""
    path = folder / METRICS
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    kept = [
        one for one in records if one["method"] == method.name and one["round"] <= method.played
    ]
    write_whole(path, "".join(json.dumps(one, allow_nan=False) + "\n" for one in kept))
    method.account_again([len(one["clouds"]) for one in kept if one["clouds"]])
    return kept


def _rounds(
    method: Method,
    numbers: Iterable[int],
    evaluator: Evaluator,
    run: TrainingRun,
    log: MetricsLog,
    observers: Sequence[Observer],
    keep: Callable[[], None] = lambda: None,
) -> None:
    for record, _ in play(method, numbers, evaluator):
        log.append(record)
        keep()
        run.records.append(record)
        for observer in observers:
            observer.round_finished(record)


def _yardsticks(
    config: TrainConfig,
    federation: Federation,
    method: EncryptedAveraging,
    evaluator: Evaluator,
    run: TrainingRun,
    log: MetricsLog,
    observers: Sequence[Observer],
    device: torch.device,
) -> None:
    """Train again in the clear, over the clouds and on all rows at one place."""
    setting = Setting(config, federation, method.moments, device)
    inputs = setting.preprocessor.transform(federation.held_out)
    name, found = _linear_model(setting, federation, inputs)
    run.summary[name] = found
    numbers = range(1, config.training.rounds + 1)
    for yardstick in (FedAvg(setting), Centralised(setting)):
        _rounds(yardstick, numbers, evaluator, run, log, observers)


def _linear_model(
    setting: Setting, federation: Federation, inputs: NDArray[np.float32]
) -> tuple[str, Record]:
    """Score scikit-learn's logistic or linear regression on all rows at one place."""
    from sklearn.linear_model import LinearRegression, LogisticRegression

    rows, labels = np.concatenate(setting.inputs), np.concatenate(setting.labels)
    outcome, held_out = setting.outcome, federation.held_out
    if outcome.target is not None and held_out.numbers is not None:
        linear = LinearRegression().fit(rows.astype(np.float64), labels)
        # As the network's numbers: on the scale of the public range, and never beyond it.
        said = from_unit(outcome.target, np.clip(linear.predict(inputs), -1.0, 1.0))
        return "linear_regression", Predictions.numbers(held_out.numbers, said).scores()
    logistic = LogisticRegression(max_iter=1000).fit(rows, labels)
    if outcome.classes:
        # A class that no cloud has rows of is one that it never says.
        said = np.zeros((len(inputs), len(outcome.classes)))
        said[:, logistic.classes_] = logistic.predict_proba(inputs)
        found = Predictions.classes(held_out.labels, said, outcome.classes)
    else:
        found = Predictions.yes_or_no(held_out.labels, logistic.predict_proba(inputs)[:, 1])
    return "logistic_regression", found.scores()


def _describe(
    config: TrainConfig,
    federation: Federation,
    method: EncryptedAveraging,
    device: torch.device,
    threads: int,
    started: float,
) -> dict[str, Any]:
    """Collect what is known of a run before its first round."""
    study = federation.study
    described = describe_run(method, config.terms, config.to_mapping(), device, threads, started)
    return described | {
        "study": {
            "name": study.name,
            "title": study.title,
            "source": study.source,
            "outcome": study.outcome,
            "unit": "" if study.target is None else study.target.unit,
            "rows": len(study),
            "rows_are": study.rows_are,
            "synthetic": study.synthetic,
            "notes": list(study.notes),
            "left_out": [list(pair) for pair in study.left_out],
        },
        "inputs": method.preprocessor.describe(),
        # Known here only because one process plays all parties; see the report's limitations.
        "clouds": [
            _describe_rows(name, rows)
            for name, rows in zip(federation.names, federation.clouds, strict=True)
        ],
        "held_out": _describe_rows("held out", federation.held_out),
        "pooled_rows": method.moments.rows,
    }


def _describe_rows(name: str, study: Study) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "rows": len(study)}
    if study.classes:
        counted = np.bincount(study.labels, minlength=len(study.classes))
        described["classes"] = dict(zip(study.classes, counted.tolist(), strict=True))
    elif study.numbers is not None:
        described["outcome"] = {
            "mean": float(study.numbers.mean()),
            "deviation": float(study.numbers.std()),
        }
    else:
        described |= {"positives": int((study.labels == 1).sum()), "rate": study.outcome_rate}
    if any(feature.name == "age" for feature in study.features):
        ages = study.column("age")
        ages = ages[~np.isnan(ages)]
        if len(ages):
            described["age"] = {
                "mean": float(ages.mean()),
                "low": float(np.quantile(ages, 0.05)),
                "high": float(np.quantile(ages, 0.95)),
            }
    return described


def _conclude(run: TrainingRun, parameters: dict[str, NDArray[np.float32]]) -> None:
    """Keep the model of the last opened round, and each method's last scores."""
    if not run.records:
        return
    run.parameters = parameters
    # Loaders of PyTorch models ask a file for its format.
    write_update(run.folder / MODEL, parameters, {"format": "pt"})
    run.summary |= conclusion(run.records)


def _evaluation(
    config: TrainConfig,
    federation: Federation,
    method: EncryptedAveraging,
    judge: Evaluator,
    device: torch.device,
) -> Record:
    """Judge the final model, on the rows held out and at each cloud."""

    def judged(study: Study) -> Rows:
        inputs = method.preprocessor.transform(study)
        made = tabular_evaluator(inputs, study, config.model, seed=config.run.seed, device=device)
        return Rows(len(study), made)

    private = config.privacy.distributed
    by_site = config.data.split == "care_unit" or bool(config.data.site)
    clouds = []
    for name, rows in zip(federation.names, federation.clouds, strict=True):
        theirs = None
        if by_site and rows.sites is not None and federation.held_out.sites is not None:
            of_site = np.flatnonzero(federation.held_out.sites == rows.sites[0])
            theirs = judged(federation.held_out.subset(of_site)) if len(of_site) else None
        clouds.append(CloudRows(name, None if private else judged(rows), theirs))
    why_not = PRIVATE if private else ""
    return evaluate_finally(method.played, method.parameters, judge, clouds, why_not)
