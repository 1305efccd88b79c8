"""`vs.federate`: train any module over clouds whose updates are only ever summed under encryption.

Training. All parties in one process; what `veilsum train` does for its studies, for a `vs.Task`.
Clouds open sums together, sums carry tags, uploads are signed, weights are rows, ranges adapt, and
a run that is killed goes on: all of it without being asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from veilsum.arguments import check_whole
from veilsum.errors import ParameterError
from veilsum.layout.files import write_update
from veilsum.learning.metrics import Evaluator, MetricsLog, Record
from veilsum.learning.module_task import Task
from veilsum.learning.task import LocalTask, Parameters
from veilsum.protocol.terms import Terms, read_sections
from veilsum.run_names import METRICS, MODEL, PARTIES
from veilsum.training.encrypted import EncryptedRounds
from veilsum.training.outcome import RoundOutcome
from veilsum.training.parties_kept import forget
from veilsum.training.rounds import play, quiet_ranges, reproducible
from veilsum.training.run_directory import fresh_folder, write_whole

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
    """

    task: Task
    parameters: Parameters = field(repr=False)
    records: list[dict[str, Any]] = field(default_factory=list, repr=False)
    folder: Path | None = None

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
        """Keep the model, and forget the parties' keys and messages."""
        write_update(self.path / MODEL, parameters, {"format": "pt"})
        forget(self.home)


def federate(
    task: Task,
    clouds: Sequence[Any],
    *,
    rounds: int,
    held_out: Any = None,
    seed: int = 7,
    participation: float = 1.0,
    threads: int = 0,
    folder: str | Path | None = "runs",
    resume: str | Path | None = None,
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
        Data that the global model is evaluated on after each round, if the task has an evaluation.
    seed : int
        Of draws of clouds and of rounding; the task has its own for the model.
    participation : float
        Share of the clouds drawn for each round, above 0 and at most 1.
    threads : int
        For encryption and decryption; 0 for the library's choice.
    folder : str or path, optional
        Collects runs: a folder below it gets the records, the model and a report; None writes
        nothing.
    resume : str or path, optional
        A run's folder, to go on with it after it was killed; with the same task, data and options.
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
    tasks = [task.local(data, cloud=i) for i, data in enumerate(clouds)]
    judge: Evaluator = _NoScores() if held_out is None else task.evaluator(held_out)
    if resume is not None:
        return _in_folder(_Folder.again(resume), task, tasks, terms, judge, threads, observe)
    if folder is not None:
        at = _Folder.of(folder, task)
        return _in_folder(at, task, tasks, terms, judge, threads, observe)
    with reproducible(0), quiet_ranges():
        method = EncryptedRounds(terms, tasks, threads=threads or None)
        run = FederatedRun(task, method.parameters)
        for record, outcome in play(method, range(1, rounds + 1), judge):
            run.records.append(record)
            _tell(observe, record, outcome)
        run.parameters = method.parameters
    return run


def _in_folder(
    at: _Folder,
    task: Task,
    tasks: Sequence[LocalTask],
    terms: Terms,
    judge: Evaluator,
    threads: int,
    observe: Observe | None,
) -> FederatedRun:
    """Run with everything that happens written as it happens."""
    with reproducible(0), quiet_ranges():
        method = EncryptedRounds(terms, tasks, threads=threads or None, home=at.home)
        run = FederatedRun(task, method.parameters, at.begin(method.played), at.path)
        method.account_again([len(one["clouds"]) for one in run.records if "skipped" not in one])
        with MetricsLog(at.path / METRICS) as log:
            left = range(method.played + 1, terms.rounds + 1)
            for record, outcome in play(method, left, judge):
                # Before its round counts as over: see `training.run`.
                log.append(record)
                method.keep()
                run.records.append(record)
                _tell(observe, record, outcome)
        run.parameters = method.parameters
    at.finish(run.parameters)
    return run


def _tell(observe: Observe | None, record: Record, outcome: RoundOutcome) -> None:
    if observe is not None:
        observe(record, outcome)


def _with_limit(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Modules of any kind move further in their first round than the network of `veilsum train`."""
    given = dict(sections)
    given["encryption"] = {"limit": 1.0, **given.get("encryption", {})}
    return given
