"""A finished or interrupted run, read back from its folder.

Report layer, bottom. Checks that the files are there and whole enough to report on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from veilsum.errors import ParameterError
from veilsum.report.measures import Measure, kind_of, measures_of
from veilsum.run_names import (
    CENTRALISED,
    CONFIG,
    ENCRYPTED,
    EVALUATION,
    METRICS,
    PLAINTEXT,
    SUMMARY,
)

Record = dict[str, Any]

METHOD_TITLES = {
    ENCRYPTED: "encrypted sums",
    PLAINTEXT: "plaintext averaging",
    CENTRALISED: "all rows at one place",
}
LINEAR_MODELS = {
    "logistic_regression": "logistic regression, all rows at one place",
    "linear_regression": "linear regression, all rows at one place",
}
"""Names in run.json of scikit-learn's yardsticks, and what they are called."""


@dataclass(frozen=True)
class RunFiles:
    """What a run left.

    Parameters
    ----------
    folder : Path
        The run's folder.
    summary : dict
        run.json.
    records : tuple of dict
        metrics.jsonl.
    config : str
        config.toml; empty for a run of `vs.federate`, which is called and not configured.
    evaluation : dict
        evaluation.json: the final model's curves, and scores by cloud; empty where it is missing or
        of an earlier round.
    """

    folder: Path
    summary: dict[str, Any]
    records: tuple[Record, ...]
    config: str
    evaluation: dict[str, Any] = field(default_factory=dict)

    @property
    def study(self) -> dict[str, Any] | None:
        """What the rows are; None for a task, of whose data nothing is known."""
        found = self.summary.get("study")
        return None if found is None and "task" in self.summary else dict(found or {})

    @property
    def synthetic(self) -> bool:
        """Whether the rows were made up; whoever shows the run must show that."""
        return bool((self.study or {}).get("synthetic", False))

    @property
    def rows_are(self) -> str:
        """What a row of the study is, in the plural."""
        return "rows" if self.study is None else str(self.study.get("rows_are", "patients"))

    @property
    def kind(self) -> str:
        """The kind of outcome; empty where scores are the user's own, or none."""
        return kind_of(self.records[-1]) if self.records else ""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The scores of the run's records, the most telling first."""
        return measures_of(self.records[-1]) if self.records else ()

    @property
    def unit(self) -> str:
        """Of an outcome that is a number."""
        details = self.evaluation.get("held_out", {})
        return str((self.study or {}).get("unit") or details.get("unit") or "")

    @property
    def committee(self) -> dict[str, Any] | None:
        """Kind, members and threshold of those who opened together; None for one key holder."""
        authority = self.summary.get("authority", {"kind": "single"})
        return None if authority["kind"] == "single" else dict(authority)

    @property
    def methods(self) -> list[str]:
        """Names of the methods with at least one round, in the order in which they ran."""
        return list(dict.fromkeys(str(record["method"]) for record in self.records))

    def rounds(self, method: str) -> list[Record]:
        """Return one method's records.

        Parameters
        ----------
        method : str
            As in `methods`.
        """
        return [record for record in self.records if record["method"] == method]

    def opened(self, method: str) -> list[Record]:
        """Return one method's records of rounds whose sum was opened, without skipped ones.

        Parameters
        ----------
        method : str
            As in `methods`.
        """
        return [record for record in self.rounds(method) if not record.get("skipped")]

    @property
    def privacy(self) -> dict[str, Any] | None:
        """What the encrypted run claims of differential privacy; None for nothing."""
        spent = [record["privacy"] for record in self.rounds(ENCRYPTED) if "privacy" in record]
        return spent[-1] if spent else None

    @property
    def final(self) -> dict[str, Record]:
        """Each method's last record."""
        return {method: self.rounds(method)[-1] for method in self.methods}

    @property
    def final_encrypted(self) -> Record:
        """The encrypted method's last record; empty where there is none."""
        return self.final.get(ENCRYPTED, {})

    @property
    def plaintext_difference(self) -> float | None:
        """First score of the encrypted run above the plaintext one's; None when incomplete."""
        return plaintext_difference(self.final, self.measures)

    def series(self, method: str, key: str) -> list[float]:
        """Return one number a round.

        Parameters
        ----------
        method : str
            As in `methods`.
        key : str
            A number's name in the records.
        """
        values = (record.get(key) for record in self.rounds(method))
        return [float("nan") if value is None else float(value) for value in values]


def plaintext_difference(
    final: Mapping[str, Mapping[str, Any]], measures: Sequence[Measure]
) -> float | None:
    """Return the encrypted run's first score above the plaintext one's; None when incomplete.

    Parameters
    ----------
    final : mapping of str to mapping
        Each method's last record, or the scores and the round of it.
    measures : sequence of Measure
        Of the run.
    """
    if not {ENCRYPTED, PLAINTEXT} <= final.keys() or not measures:
        return None
    mine, other = final[ENCRYPTED], final[PLAINTEXT]
    one, two = mine.get(measures[0].key), other.get(measures[0].key)
    if mine["round"] != other["round"] or one is None or two is None:
        return None
    return float(one - two)


def phase_seconds(record: Record, phase: str) -> float:
    """Return what a phase of a round took: 0 where the round had no such phase.

    Rounds differ in their phases: pads are not made ahead where a round's form comes late, a
    skipped round ends early, and clouds may be idle.

    Parameters
    ----------
    record : dict
        A round's, as metrics.jsonl has it.
    phase : str
        Its name.
    """
    return float(record["seconds"].get(phase, 0.0))


def read_run(folder: str | Path) -> RunFiles:
    """Read a run's folder.

    Parameters
    ----------
    folder : str or Path
        A folder that `veilsum train` made.

    Raises
    ------
    veilsum.ParameterError
        When a file is missing or no JSON; the message names it.
    OSError
        When a file cannot be read.
    """
    folder = Path(folder)
    texts: dict[str, str] = {}
    for name in (SUMMARY, METRICS, CONFIG, EVALUATION):
        if name == EVALUATION and not (folder / name).exists():
            continue
        if name == CONFIG and not (folder / name).exists() and _of_a_task(texts[SUMMARY]):
            continue
        try:
            texts[name] = (folder / name).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ParameterError(
                f"{folder} is no folder of a training run: it lacks {name}"
            ) from error
        except UnicodeDecodeError as error:
            raise ParameterError(f"{folder}: {name} is damaged: {error}") from error
    try:
        summary = json.loads(texts[SUMMARY])
        lines = texts[METRICS].splitlines()
        records = tuple(json.loads(line) for line in lines)
        evaluation = json.loads(texts.get(EVALUATION, "{}"))
    except json.JSONDecodeError as error:
        raise ParameterError(
            f"{folder}: {SUMMARY}, {METRICS} or {EVALUATION} is damaged: {error}"
        ) from error
    objects = (summary, evaluation, *records)
    if not all(isinstance(one, dict) for one in objects):
        raise ParameterError(f"{folder}: {SUMMARY} or {METRICS} is damaged: not made of objects")
    mine = [record for record in records if record.get("method") == ENCRYPTED]
    if not mine or evaluation.get("round") != mine[-1].get("round"):
        evaluation = {}  # made when the run was interrupted, before it went on
    return RunFiles(folder, summary, records, texts.get(CONFIG, ""), evaluation)


def _of_a_task(summary: str) -> bool:
    """Whether run.json, which may be damaged, is of `vs.federate`."""
    try:
        return "task" in json.loads(summary)
    except (json.JSONDecodeError, TypeError):
        return False
