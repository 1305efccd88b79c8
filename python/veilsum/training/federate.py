"""`vs.federate`: train any module over clouds whose updates are only ever summed under encryption.

Training. All parties in one process; what `veilsum train` does for its studies, for a `vs.Task`.
Clouds open sums together, sums carry tags, uploads are signed, weights are rows, ranges adapt, a
run that is killed goes on, and a report says what came of it: all of it without being asked for.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from veilsum._core import max_threads
from veilsum.arguments import check_whole
from veilsum.errors import ParameterError, VeilsumWarning, one_line
from veilsum.layout.files import write_update
from veilsum.learning.metrics import Evaluator, Record
from veilsum.learning.module_task import Task
from veilsum.learning.task import LocalTask, Parameters
from veilsum.protocol.terms import Terms, read_sections
from veilsum.report import write_report
from veilsum.run_names import METRICS, MODEL, PARTIES
from veilsum.training.encrypted import EncryptedRounds
from veilsum.training.evaluation import (
    PRIVATE,
    CloudRows,
    Rows,
    evaluate_finally,
    write_evaluation,
)
from veilsum.training.metrics_log import MetricsLog
from veilsum.training.outcome import RoundOutcome
from veilsum.training.parties_kept import forget
from veilsum.training.rounds import play, quiet_ranges, reproducible
from veilsum.training.run_directory import fresh_folder, write_summary, write_whole
from veilsum.training.summary import conclusion, describe_run

if TYPE_CHECKING:
    from torch import nn

Observe: TypeAlias = Callable[[Record, RoundOutcome], None]
"""Hears of each round: its record, and what it was made from."""


@dataclass
class FederatedRun:
    """What `federate` returns.

    Parameters
    ----------
    task : Task
        What was trained.
    parameters : dict of str to ndarray
        The final global model.
    records : list of dict
        One a round: scores, bytes, seconds, who was in the sum and who opened it.
    folder : Path or None
        Where the run was written.
    terms : Terms
        What all parties agreed on.
    report : Path or None
        The report's page; None where none was asked for or could be made.
    """

    task: Task
    terms: Terms = field(repr=False)
    parameters: Parameters = field(repr=False)
    records: list[dict[str, Any]] = field(default_factory=list, repr=False)
    folder: Path | None = None
    report: Path | None = None

    @property
    def model(self) -> nn.Module:
        """A new module with the final parameters, in evaluation mode."""
        return self.task.module(self.parameters)


class _NoScores:
    """Judges nothing: there are no rows to judge on."""

    def evaluate(self, parameters: Mapping[str, Any]) -> Record:
        """Return nothing.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        """
        del parameters
        return {}

    def details(self, parameters: Mapping[str, Any]) -> Record:
        """Return nothing.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        """
        del parameters
        return {}


class _Folder:
    """A run's folder: its log, and the parties at work in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = path / PARTIES
        self.keep_messages = False

    @classmethod
    def of(cls, parent: str | Path, task: Task) -> _Folder:
        """Make the folder of a new run."""
        return cls(fresh_folder(Path(parent), type(task.module(task.initial())).__name__.lower()))

    @classmethod
    def again(cls, path: str | Path) -> _Folder:
        """Return the folder of a run that is to go on."""
        found = cls(Path(path))
        if not found.home.is_dir():
            raise ParameterError(
                f"{path} has no {PARTIES}/: it is no run that can go on, or one that has finished"
            )
        return found

    def begin(self, played: int) -> list[Record]:
        """Return the records of rounds that are over, and take all others out of the log."""
        path = self.path / METRICS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [one for one in map(json.loads, lines) if one["round"] <= played]
        write_whole(path, "".join(json.dumps(one, allow_nan=False) + "\n" for one in kept))
        return kept

    def finish(self, parameters: Parameters) -> None:
        """Keep the model; forget the parties' keys and messages unless they are wanted."""
        write_update(self.path / MODEL, parameters, {"format": "pt"})
        if not self.keep_messages:
            forget(self.home)


def federate(
    task: Task,
    clouds: Sequence[Any],
    *,
    rounds: int,
    held_out: Any = None,
    held_out_by_cloud: Sequence[Any] | None = None,
    seed: int = 7,
    participation: float = 1.0,
    threads: int = 0,
    folder: str | Path | None = "runs",
    report: bool = True,
    resume: str | Path | None = None,
    keep_messages: bool = False,
    observe: Observe | None = None,
    **sections: Mapping[str, Any],
) -> FederatedRun:
    """Train a task over clouds, each with data of its own.

    Parameters
    ----------
    task : Task
        Model, training and evaluation.
    clouds : sequence
        Each cloud's data; it goes to the task's functions as it is.
    rounds : int
        How often updates are summed.
    held_out : object, optional
        Data that the global model is evaluated on after each round, as the task does.
    held_out_by_cloud : sequence, optional
        Data of each cloud, in the order of `clouds`, that nobody trains on: the final model is
        evaluated on each, for the report. Without it, and unless privacy is distributed, the report
        has scores on the rows that each cloud trained on.
    seed : int
        Of draws of clouds and of rounding; the task has its own for the model.
    participation : float
        Share of the clouds drawn for each round, above 0 and at most 1.
    threads : int
        For encryption and decryption; 0 for the library's choice.
    folder : str or path, optional
        Collects runs: a new folder below it, named after the model and the time, gets the records,
        the model and the report; None writes nothing.
    report : bool
        Whether to make plots and report.html in that folder. Needs matplotlib; a report that cannot
        be made is a warning. `veilsum train --report FOLDER` makes it again.
    resume : str or path, optional
        A run's folder, to go on with it after it was killed; with the same task, data and options.
    keep_messages : bool
        With a folder: keep what each party was asked and replied, and its keys, in a folder of its
        own. Whoever is given one cloud's folder can replay the run; the whole must not leave you.
    observe : callable, optional
        Called after each round with its record and outcome.
    **sections : mapping
        Options by section, as `veilsum train` has them: `encryption={"authority": "single"}`,
        `aggregation={"weights": "uniform"}`, `privacy={"distributed": True}`.

    Returns
    -------
    FederatedRun
        The model, records and folder.

    Raises
    ------
    veilsum.ParameterError
        When an argument or option is out of range, or a function of the task does not keep its
        side.
    veilsum.VeilsumError
        When a party refuses what another sends.
    OSError
        When the folder cannot be written.
    """
    if not isinstance(task, Task):
        raise ParameterError("task must be a veilsum.Task; what makes the model goes into it")
    terms = Terms(
        clouds=len(clouds),
        rounds=check_whole("rounds", rounds),
        seed=seed,
        participation=participation,
        task=task.describe(),
        **read_sections(_with_limit(sections)),
    )
    if held_out_by_cloud is not None and len(held_out_by_cloud) != len(clouds):
        raise ParameterError(
            f"held_out_by_cloud has {len(held_out_by_cloud)} parts for {len(clouds)} clouds; it "
            "needs one for each"
        )
    tasks = [task.local(data, cloud=i) for i, data in enumerate(clouds)]
    judge: Evaluator = _NoScores() if held_out is None else task.evaluator(held_out)
    if resume is None and folder is None:
        if keep_messages:
            raise ParameterError("keep_messages needs a folder to keep them in")
        with reproducible(0), quiet_ranges():
            method = EncryptedRounds(terms, tasks, threads=threads or None)
            run = FederatedRun(task, terms, method.parameters)
            for record, outcome in play(method, range(1, rounds + 1), judge):
                run.records.append(record)
                _tell(observe, record, outcome)
            run.parameters = method.parameters
        return run
    at = _Folder.again(resume) if resume is not None else _Folder.of(folder or "runs", task)
    at.keep_messages = keep_messages
    run = _in_folder(at, task, tasks, terms, judge, threads, observe, _rows(task, clouds, held_out))
    try:
        with reproducible(0):
            evaluation = _evaluation(run, judge, clouds, held_out_by_cloud, terms)
            write_evaluation(at.path, evaluation)
        run.report = write_report(at.path) if report else None
    except Exception as error:
        # Model and records are whole: what a report lacks is no reason to lose them.
        warnings.warn(
            f"the run in {at.path} is whole, but its report could not be made: {one_line(error)}; "
            f"veilsum train --report {at.path} makes it from what is there",
            VeilsumWarning,
            stacklevel=2,
        )
    return run


def _in_folder(
    at: _Folder,
    task: Task,
    tasks: Sequence[LocalTask],
    terms: Terms,
    judge: Evaluator,
    threads: int,
    observe: Observe | None,
    rows: dict[str, Any],
) -> FederatedRun:
    """Run with everything that happens written as it happens."""
    started = time.time()
    with reproducible(0), quiet_ranges():
        method = EncryptedRounds(
            terms, tasks, threads=threads or None, home=at.home, keep_uploads=at.keep_messages
        )
        options = terms.agreed()
        configuration = {name: options[name] for name in ("aggregation", "hybrid", "privacy")} | {
            "run": {"seed": terms.seed, "baseline": False},
            "training": {name: options[name] for name in ("rounds", "participation", "deadline_s")},
            "encryption": asdict(terms.encryption),
        }
        used = threads or max_threads()
        summary = describe_run(method, terms, configuration, task.device, used, started) | rows
        run = FederatedRun(task, terms, method.parameters, at.begin(method.played), at.path)
        method.account_again([len(one["clouds"]) for one in run.records if one["clouds"]])
        write_summary(at.path, summary)
        try:
            with MetricsLog(at.path / METRICS) as log:
                left = range(method.played + 1, terms.rounds + 1)
                for record, outcome in play(method, left, judge):
                    # Before its round counts as over: see `training.run`.
                    log.append(record)
                    method.keep()
                    run.records.append(record)
                    _tell(observe, record, outcome)
            summary["status"] = "finished"
        except KeyboardInterrupt:
            summary["status"] = "interrupted"
            raise
        except BaseException as error:
            summary |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
            raise
        finally:
            summary |= conclusion(run.records) | {"seconds": time.time() - started}
            write_summary(at.path, summary)
        run.parameters = method.parameters
    at.finish(run.parameters)
    return run


def _rows(task: Task, clouds: Sequence[Any], held_out: Any) -> dict[str, Any]:
    """Say what was trained, and how many rows there are."""
    rows = [task.count_rows(data) for data in clouds]
    try:
        judged = None if held_out is None else task.count_rows(held_out)
    except ParameterError:
        judged = None  # held-out data may be of another kind than clouds' is
    return {
        "task": {"model": type(task.module(task.initial())).__name__},
        "clouds": [{"name": f"cloud {i + 1}", "rows": count} for i, count in enumerate(rows)],
        "held_out": {"name": "held out", "rows": judged},
    }


def _evaluation(
    run: FederatedRun,
    judge: Evaluator,
    clouds: Sequence[Any],
    held_out: Sequence[Any] | None,
    terms: Terms,
) -> Record:
    """Judge the final model, on the rows held out and at each cloud."""
    task, number = run.task, len(run.records)
    if not task.can_evaluate:
        return evaluate_finally(number, run.parameters, judge, (), "The task has no evaluation.")

    def judged(data: Any) -> Rows:
        return Rows(task.count_rows(data), task.evaluator(data))

    names = [f"cloud {i + 1}" for i in range(len(clouds))]
    apart = [None] * len(names) if held_out is None else [judged(data) for data in held_out]
    without = [CloudRows(*one) for one in zip(names, [None] * len(names), apart, strict=True)]
    if terms.privacy.distributed:
        return evaluate_finally(number, run.parameters, judge, without, PRIVATE)
    trained_on = [judged(data) for data in clouds]
    whole = [CloudRows(*one) for one in zip(names, trained_on, apart, strict=True)]
    try:
        return evaluate_finally(number, run.parameters, judge, whole)
    except Exception as error:
        # A cloud's training data may be of another kind than what `evaluate` was written for.
        why_not = (
            f"The task's evaluation failed ({type(error).__name__}) on what clouds train on; "
            "held_out_by_cloud gives it other rows."
        )
        return evaluate_finally(number, run.parameters, judge, without, why_not)


def _tell(observe: Observe | None, record: Record, outcome: RoundOutcome) -> None:
    if observe is not None:
        observe(record, outcome)


def _with_limit(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Modules of any kind move further in their first round than the network of `veilsum train`."""
    given = dict(sections)
    given["encryption"] = {"limit": 1.0, **given.get("encryption", {})}
    return given
