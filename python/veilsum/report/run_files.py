"""A finished or interrupted run, read back from its folder.

Report layer, bottom. Checks that the files are there and whole enough to report on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veilsum.errors import ParameterError
from veilsum.run_names import CENTRALISED, CONFIG, ENCRYPTED, METRICS, PLAINTEXT, SUMMARY

Record = dict[str, Any]

METHOD_TITLES = {
    ENCRYPTED: "encrypted sums",
    PLAINTEXT: "plaintext averaging",
    CENTRALISED: "all rows at one place",
}


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
        config.toml.
    """

    folder: Path
    summary: dict[str, Any]
    records: tuple[Record, ...]
    config: str

    @property
    def synthetic(self) -> bool:
        """Whether the rows were made up; whoever shows the run must show that."""
        return bool(self.summary["study"].get("synthetic", False))

    @property
    def rows_are(self) -> str:
        """What a row of the study is, in the plural."""
        return str(self.summary["study"].get("rows_are", "patients"))

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
    def plaintext_difference(self) -> float | None:
        """AUC of the encrypted run above the plaintext one's; None when either is incomplete."""
        final = self.final
        if not {ENCRYPTED, PLAINTEXT} <= final.keys():
            return None
        mine, other = final[ENCRYPTED], final[PLAINTEXT]
        return float(mine["auc"] - other["auc"]) if mine["round"] == other["round"] else None

    def series(self, method: str, key: str) -> list[float]:
        """Return one number a round.

        Parameters
        ----------
        method : str
            As in `methods`.
        key : str
            A number's name in the records.
        """
        return [float(record[key]) for record in self.rounds(method)]


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
    texts = {}
    for name in (SUMMARY, METRICS, CONFIG):
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
    except json.JSONDecodeError as error:
        raise ParameterError(f"{folder}: {SUMMARY} or {METRICS} is damaged: {error}") from error
    if not isinstance(summary, dict) or not all(isinstance(one, dict) for one in records):
        raise ParameterError(f"{folder}: {SUMMARY} or {METRICS} is damaged: not made of objects")
    return RunFiles(folder, summary, records, texts[CONFIG])
