"""Events of 330 million rows into a grid of hours, in memory that does not grow with the rows.

Data layer, part of the MIMIC-III loader. For each stay and variable: the last value of each of the
48 hours, and the lowest and highest value of all. So repeated rows change nothing, minutes of dense
charting weigh no more than others, and memory is stays x 17 x 48 cells, whatever the tables' size.

Of two values at the same second of the same hour the later row counts, CHARTEVENTS before
LABEVENTS.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from veilsum.data.mimic3.cells import holds_something, read_times
from veilsum.data.mimic3.cohort import HOURS, Cohort
from veilsum.data.mimic3.harmonise import (
    BOUNDED,
    IMPOSSIBLE,
    ITEM_FRAME,
    UNREADABLE,
    harmonise,
)
from veilsum.data.mimic3.tables import FIRST_ROW
from veilsum.data.mimic3.variables import VARIABLE_INDEX, VARIABLES

_SECONDS: Final = HOURS * 3600
_BLOCK: Final = 1024

UNREADABLE_TIMES: Final = 0.01
UNREADABLE_VALUES: Final = 0.5
"""Shares above which cells that cannot be read are a fault of the table and no longer typing
errors: of a table's rows for times, of a table's rows of one variable for values. Values have
remarks among them ("Other/Remarks", "see comment"), times have not."""

_FEWEST: Final = 10  # so many unreadable cells at least: of fewer, a share says nothing
SUMMARIES: Final = ("mean", "min", "max", "last")
"""What becomes of a variable's hours: the mean of the hours, lowest and highest, the last value."""


@dataclass
class _Legible:
    """How many cells of a column hold something, how many of them cannot be read, the first."""

    cells: int = 0
    unreadable: int = 0
    row: int = 0
    cell: str = ""


class Grid:
    """Collects events of the cohort's stays.

    Parameters
    ----------
    cohort : Cohort
        The stays.
    """

    def __init__(self, cohort: Cohort) -> None:
        self._stays = len(cohort)
        cells = self._stays * len(VARIABLES) * HOURS
        self._value = np.full(cells, np.nan, dtype=np.float32)
        self._second = np.full(cells, -1, dtype=np.int16)  # within the hour
        self._low = np.full(self._stays * len(VARIABLES), np.inf, dtype=np.float32)
        self._high = np.full(self._stays * len(VARIABLES), -np.inf, dtype=np.float32)
        number = np.arange(self._stays, dtype=np.int64)
        self._admissions = pl.DataFrame({"HADM_ID": cohort.hadm, "stay_of_admission": number})
        self._icustays = pl.DataFrame({"ICUSTAY_ID": cohort.icustay, "stay_of_unit": number})
        self._intime = cohort.intime
        self._wanted = ITEM_FRAME["ITEMID"]
        self.counts: Counter[str] = Counter()
        """How many rows were read, used, and dropped for which reason."""
        self.of_variable: dict[str, Counter[str]] = {
            variable.name: Counter() for variable in VARIABLES
        }
        """The same, of each variable: "used", "bounded", "impossible", "unreadable"."""
        self._legible: dict[tuple[str, str], _Legible] = {}

    def add(self, table: str, events: pl.DataFrame, row: int = FIRST_ROW) -> None:
        """Take in some rows of a table.

        Parameters
        ----------
        table : {"CHARTEVENTS", "LABEVENTS"}
            Whose rows they are.
        events : polars.DataFrame
            As `tables.pieces` yields them.
        row : int
            Number of the first one in its file, for `fault`.
        """
        self.counts[f"{table} rows"] += events.height
        events = events.with_row_index("row", offset=row)
        # The cheap test first: it drops most of the table.
        events = events.filter(pl.col("ITEMID").is_in(self._wanted.to_list()))
        events = self._of_stays(events)
        if "ERROR" in events.columns:
            wrong = (pl.col("ERROR") == 1).fill_null(False)
            self.counts["marked as an error"] += events.filter(wrong).height
            events = events.filter(~wrong)
        times = read_times(events["CHARTTIME"])
        self._note(table, "CHARTTIME", events, "CHARTTIME", times.is_null())
        self.counts["without a time that can be read"] += times.null_count()
        events = events.with_columns(times.dt.epoch("s").alias("second"))
        events = events.filter(pl.col("second").is_not_null())
        stay = events["stay"].to_numpy()
        second = events["second"].to_numpy() - self._intime[stay]
        inside = (second >= 0) & (second < _SECONDS)
        self.counts[f"before or after the first {HOURS} hours"] += int((~inside).sum())
        events = harmonise(events.filter(pl.Series(inside)))
        self._count(table, events)
        used = (events["outcome"] >= BOUNDED).to_numpy()
        self._put(
            stay[inside][used],
            events["variable"].to_numpy()[used],
            second[inside][used],
            events["value"].to_numpy()[used].astype(np.float32),
        )

    def _of_stays(self, events: pl.DataFrame) -> pl.DataFrame:
        """Find each row's stay: by its admission, by its stay where it names no admission."""
        events = events.join(self._admissions, on="HADM_ID", how="left")
        stay = pl.col("stay_of_admission")
        if "ICUSTAY_ID" in events.columns:
            events = events.join(self._icustays, on="ICUSTAY_ID", how="left")
            of_unit = pl.col("stay_of_unit")
            # A row that names both must mean the same stay by both.
            other = stay.is_not_null() & pl.col("ICUSTAY_ID").is_not_null()
            other &= of_unit.is_null() | (of_unit != stay)
            self.counts["named another stay than its admission's"] += events.filter(other).height
            events = events.filter(~other)
            stay = pl.coalesce(
                stay, pl.when(pl.col("HADM_ID").is_null()).then(of_unit).otherwise(None)
            )
        else:
            self.counts["laboratory rows outside of any admission"] += events[
                "HADM_ID"
            ].null_count()
        events = events.with_columns(stay.alias("stay")).filter(pl.col("stay").is_not_null())
        self.counts["of the cohort's stays and the 17 variables"] += events.height
        return events

    def fault(self, table: str, *, any_at_all: bool = False) -> str:
        """Say which column of a table holds more unreadable cells than a sound table does.

        Parameters
        ----------
        table : {"CHARTEVENTS", "LABEVENTS"}
            All of whose rows were added.
        any_at_all : bool
            Name what could not be read also where it is little: when nothing else was there.

        Returns
        -------
        str
            Row, column, value and the share; empty where there is no such column.
        """
        for (name, column), seen in self._legible.items():
            most = UNREADABLE_TIMES if column == "CHARTTIME" else UNREADABLE_VALUES
            many = seen.unreadable >= _FEWEST and seen.unreadable > most * seen.cells
            if name != table or not (many or (any_at_all and seen.unreadable)):
                continue
            of, form = "", "a time like 2101-10-20 19:08:00"
            if column != "CHARTTIME":
                of, form = f" of {column}", "a number with a decimal point, or one of its words"
            return (
                f"row {seen.row}, column {'VALUE' if of else column}: {seen.cell[:40]!r} cannot be "
                f"read, and nor can {seen.unreadable:,} of {seen.cells:,} such cells{of} (at most "
                f"{most:.0%} may be wrong); each must be {form}"
            )
        return ""

    def _note(
        self, table: str, what: str, events: pl.DataFrame, column: str, bad: pl.Series
    ) -> None:
        """Count the cells that hold something, and those of them that could not be read."""
        something = holds_something(events[column])
        rows = (something & bad).arg_true()
        seen = self._legible.setdefault((table, what), _Legible())
        if len(rows) and not seen.unreadable:
            seen.row, seen.cell = events["row"][rows[0]], events[column][rows[0]]
        seen.unreadable += len(rows)
        seen.cells += int(something.sum())

    def _count(self, table: str, events: pl.DataFrame) -> None:
        for (variable,), rows in events.partition_by("variable", as_dict=True).items():
            name = VARIABLES[variable].name
            self._note(table, name, rows, "VALUE", rows["outcome"] == UNREADABLE)
        counted = events.group_by("variable", "outcome").agg(pl.len().alias("rows"))
        for variable, outcome, rows in counted.iter_rows():
            name = {UNREADABLE: "unreadable", IMPOSSIBLE: "impossible"}.get(outcome, "used")
            mine = self.of_variable[VARIABLES[variable].name]
            mine[name] += rows
            self.counts[name] += rows
            if outcome == BOUNDED:
                mine["bounded"] += rows
                self.counts["bounded"] += rows

    def _put(
        self,
        stay: NDArray[np.int64],
        variable: NDArray[np.int64],
        second: NDArray[np.int64],
        value: NDArray[np.float32],
    ) -> None:
        if not len(value):
            return
        series = stay * len(VARIABLES) + variable
        order = np.argsort(series, kind="stable")
        starts = np.flatnonzero(np.diff(series[order], prepend=-1))
        rows = series[order][starts]
        self._low[rows] = np.minimum(self._low[rows], np.minimum.reduceat(value[order], starts))
        self._high[rows] = np.maximum(self._high[rows], np.maximum.reduceat(value[order], starts))
        cell = series * HOURS + second // 3600
        within = (second % 3600).astype(np.int16)
        # Last of each cell: by second, then by row (lexsort is stable).
        order = np.lexsort((within, cell))
        last = order[np.flatnonzero(np.diff(cell[order], append=-1))]
        newer = last[within[last] >= self._second[cell[last]]]
        self._value[cell[newer]] = value[newer]
        self._second[cell[newer]] = within[newer]

    def summaries(self) -> NDArray[np.float64]:
        """Return the stays' summaries.

        Returns
        -------
        ndarray, float64, shape (stays, 17 * 4)
            For each of `VARIABLES`, the `SUMMARIES`; NaN where a stay has no value.
        """
        # In blocks of stays, so that the wider numbers of only a block are held.
        blocks = range(0, self._stays, _BLOCK)
        return np.concatenate([self._summaries(start, start + _BLOCK) for start in blocks])

    def _summaries(self, start: int, end: int) -> NDArray[np.float64]:
        def shaped(array: NDArray[np.float32], *last: int) -> NDArray[np.float64]:
            whole = array.reshape(self._stays, len(VARIABLES), *last)
            return whole[start:end].astype(np.float64)

        hours, low, high = shaped(self._value, HOURS), shaped(self._low), shaped(self._high)
        charted = VARIABLE_INDEX["gcs total"]
        total = _total_scale(hours)
        known = ~np.isnan(total)
        hours[:, charted] = np.where(known, total, hours[:, charted])
        low[:, charted] = np.minimum(low[:, charted], np.where(known, total, np.inf).min(axis=1))
        high[:, charted] = np.maximum(high[:, charted], np.where(known, total, -np.inf).max(axis=1))

        present = ~np.isnan(hours)
        count = present.sum(axis=2)
        sums = np.where(present, hours, 0.0).sum(axis=2)
        mean = sums / np.maximum(count, 1)
        last_hour = HOURS - 1 - np.argmax(present[:, :, ::-1], axis=2)
        last = np.take_along_axis(hours, last_hour[:, :, None], axis=2)[:, :, 0]
        parts = np.stack([mean, low, high, last], axis=2)
        parts[count == 0] = np.nan
        return parts.reshape(len(parts), len(VARIABLES) * len(SUMMARIES))


def _total_scale(hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Glasgow total of hours that have all three parts and no total of their own."""
    parts = [hours[:, VARIABLE_INDEX[f"gcs {part}"]] for part in ("eye", "motor", "verbal")]
    total = np.sum(parts, axis=0)
    return np.where(np.isnan(hours[:, VARIABLE_INDEX["gcs total"]]), total, np.nan)
