"""A comparison's folder: what is in it, and how it is read back.

Comparison layer, bottom. Reports are made from these files alone, so they can be made again:

    config.toml     the common training configuration
    compare.json    what was compared, on what, and what each method came to
    metrics.jsonl   one record a round and method
    leakage.jsonl   one record an attacked round, method and attack
    sweep.jsonl     one record an encrypted share and attack, where the hybrid ran
    aes.jsonl       one record a case of the AES table
    *.csv, figures/, report.md, report.html     made from the files above
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veilsum.errors import ParameterError
from veilsum.run_names import CONFIG, METRICS
from veilsum.training.run_directory import write_whole

SUMMARY = "compare.json"
LEAKAGE = "leakage.jsonl"
AES = "aes.jsonl"
SWEEP = "sweep.jsonl"

Record = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """What a comparison left.

    Parameters
    ----------
    folder : Path
        Its folder.
    summary : dict
        compare.json.
    rounds, leaks, aes, sweep : tuple of dict
        The logs.
    config : str
        config.toml.
    """

    folder: Path
    summary: dict[str, Any]
    rounds: tuple[Record, ...]
    leaks: tuple[Record, ...]
    aes: tuple[Record, ...]
    sweep: tuple[Record, ...]
    config: str

    @property
    def synthetic(self) -> bool:
        """Whether the rows were made up."""
        return bool(self.summary["study"].get("synthetic", False))

    @property
    def methods(self) -> list[dict[str, Any]]:
        """What compare.json says of each contender, in the order of the page."""
        return list(self.summary["methods"])

    @property
    def ran(self) -> list[dict[str, Any]]:
        """The contenders with at least one round."""
        return [one for one in self.methods if self.records(one["key"])]

    def records(self, key: str) -> list[Record]:
        """Return one contender's rounds.

        Parameters
        ----------
        key : str
            The contender.
        """
        return [record for record in self.rounds if record["method"] == key]

    def attacks(self, key: str, attack: str) -> list[Record]:
        """Return one contender's records of one attack.

        Parameters
        ----------
        key : str
            The contender, or "chance".
        attack : str
            Such as "step-1".
        """
        return [one for one in self.leaks if one["method"] == key and one["attack"] == attack]

    @property
    def attack_names(self) -> list[str]:
        """The attacks, in the order in which they were run."""
        return list(dict.fromkeys(str(one["attack"]) for one in self.leaks))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file as a whole.

    Parameters
    ----------
    path : Path
        The file.
    content : mapping
        JSON values; numbers must be finite.
    """
    write_whole(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_comparison(folder: str | Path) -> Comparison:
    """Read a comparison's folder.

    Parameters
    ----------
    folder : str or Path
        A folder that `veilsum compare` made.

    Raises
    ------
    veilsum.ParameterError
        When a file is missing or no JSON; the message names it.
    """
    folder = Path(folder)
    texts: dict[str, str] = {}
    for name in (SUMMARY, METRICS, LEAKAGE, CONFIG):
        try:
            texts[name] = (folder / name).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ParameterError(
                f"{folder} is no folder of a comparison: it lacks {name}"
            ) from error
    for name in (AES, SWEEP):
        path = folder / name
        texts[name] = path.read_text(encoding="utf-8") if path.exists() else ""
    logs: dict[str, tuple[Record, ...]] = {}
    for name in (METRICS, LEAKAGE, AES, SWEEP):
        logs[name] = tuple(_read(folder, name, line) for line in texts[name].splitlines())
    return Comparison(
        folder,
        _read(folder, SUMMARY, texts[SUMMARY]),
        logs[METRICS],
        logs[LEAKAGE],
        logs[AES],
        logs[SWEEP],
        texts[CONFIG],
    )


def _read(folder: Path, name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ParameterError(f"{folder}: {name} is damaged: {error}") from error
