"""What a run finds: rows, ratios and what could not be measured, by section, as JSON.

A section is one test file's results together with the terms they were measured under. A run
replaces the sections it measures and leaves the others in the file, each with its own terms.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Missing", "Ratio", "Results", "Row", "Section", "quartiles"]

FORMAT = 1


@dataclass(frozen=True)
class Row:
    """One measured case.

    Attributes
    ----------
    method : str
        What was measured, as a reader would name it.
    operation : str
        "encrypt", "decrypt", "add", "sum" or a kernel's name.
    values : int
        How many values one repetition handles (for kernels: coefficients).
    threads : int
        Threads, or processes where the note says so.
    seconds, low, high : float
        Median and quartiles of one repetition.
    rounds : int
        Repetitions measured.
    nbytes : int, optional
        Bytes of the ciphertext, everything that travels included.
    case : dict
        What else names the case: records, clients, ISA level, ring.
    note : str
        What a reader must know to read the number.
    """

    method: str
    operation: str
    values: int
    threads: int
    seconds: float
    low: float
    high: float
    rounds: int
    nbytes: int | None = None
    case: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def values_per_s(self) -> float:
        """Values a second, by the median."""
        return self.values / self.seconds if self.seconds else float("inf")

    @property
    def ns_per_value(self) -> float:
        """Nanoseconds a value, by the median."""
        return self.seconds / self.values * 1e9

    @property
    def bytes_per_value(self) -> float | None:
        """Bytes that travel for a value; None where nothing does."""
        return None if self.nbytes is None else self.nbytes / self.values


@dataclass(frozen=True)
class Ratio:
    """One of DESIGN.md's targets (section 8), measured in interleaved rounds of one run.

    Attributes
    ----------
    name : str
        Numerator / denominator.
    median, low, high : float
        Of the rounds' ratios; the three are equal where nothing is timed.
    must, goal : float, optional
        DESIGN.md's two columns.
    at_least : bool
        Whether the targets are lower bounds.
    rounds : int
        Interleaved rounds.
    numerator_s, denominator_s : float, optional
        Medians of the two times.
    note : str
        Terms that belong to this ratio alone.
    """

    name: str
    median: float
    low: float
    high: float
    must: float | None
    goal: float | None = None
    at_least: bool = False
    rounds: int = 0
    numerator_s: float | None = None
    denominator_s: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median meets `must`; None when there is none."""
        if self.must is None:
            return None
        return self.median >= self.must if self.at_least else self.median <= self.must


@dataclass(frozen=True)
class Missing:
    """A case that was not measured, and why."""

    what: str
    reason: str


@dataclass
class Section:
    """One test file's results and the terms they were measured under."""

    terms: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


@dataclass
class Results:
    """The sections of one machine."""

    machine: str
    sections: dict[str, Section] = field(default_factory=dict)

    def section(self, name: str, terms: dict[str, Any]) -> Section:
        """Return the section `name`, made with `terms` when it is new."""
        return self.sections.setdefault(name, Section(terms))

    def merged_over(self, earlier: Results) -> Results:
        """Return `earlier` with this run's sections in place of its own of the same names."""
        if earlier.machine != self.machine:
            raise ValueError(f"results of {earlier.machine} and {self.machine} do not mix")
        return Results(self.machine, {**earlier.sections, **self.sections})

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        sections = {
            name: {
                "terms": section.terms,
                "ratios": [asdict(ratio) for ratio in section.ratios],
                "rows": [asdict(row) for row in section.rows],
                "missing": [asdict(missing) for missing in section.missing],
            }
            for name, section in sorted(self.sections.items())
        }
        content = {"format": FORMAT, "machine": self.machine, "sections": sections}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Read what `to_json` wrote."""
        content = json.loads(text)
        if content.get("format") != FORMAT:
            raise ValueError(f"results of format {content.get('format')}, expected {FORMAT}")
        sections = {
            name: Section(
                entry["terms"],
                [Row(**row) for row in entry["rows"]],
                [Ratio(**ratio) for ratio in entry["ratios"]],
                [Missing(**missing) for missing in entry["missing"]],
            )
            for name, entry in content["sections"].items()
        }
        return cls(content["machine"], sections)

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a results file."""
        return cls.from_json(path.read_text(encoding="utf-8"))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile of at least one value."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
