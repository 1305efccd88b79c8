"""A MIMIC-III directory written row by row, so that a test says exactly what is in it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from veilsum.data.mimic3.variables import ITEMS
from veilsum.data.synthetic_mimic import HEADERS, write_table

START = datetime(2150, 3, 1, 12, 0, 0)


def clock(hours: float) -> str:
    """A time so many hours after the stays begin."""
    return (START + timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M:%S")


class MimicDirectory:
    """Rows to come; `write` puts them into a folder. Adults with one stay of 60 hours, so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, list[list[object]]] = {name: [] for name in HEADERS}
        for item in ITEMS:
            if item.table == "CHARTEVENTS":
                row = [item.itemid, item.label, None, item.system.lower(), "chartevents"]
                self.rows["D_ITEMS"].append([*row, None, None, None, None])
            else:
                self.rows["D_LABITEMS"].append([item.itemid, item.label, "Blood", "x", None])

    def stay(
        self,
        number: int,
        *,
        subject: int | None = None,
        admission: int | None = None,
        dob: str = "2090-03-01 00:00:00",
        gender: str = "F",
        died: object = 0,
        unit: str = "MICU",
        last_unit: str = "",
        last_ward: int = 7,
        hours: float | None = 60.0,
        los: float | None = None,
        starts: float = 0.0,
    ) -> None:
        """Add a stay (ICUSTAY_ID 200000 + number), and its patient and admission if new."""
        subject = number if subject is None else subject
        hadm = 100_000 + (number if admission is None else admission)
        if subject not in [row[0] for row in self.rows["PATIENTS"]]:
            self.rows["PATIENTS"].append([subject, gender, dob, None, None, None, 0])
        if hadm not in [row[1] for row in self.rows["ADMISSIONS"]]:
            row = [subject, hadm, clock(starts - 5), clock(starts + 90), None, *["x"] * 11, died, 1]
            self.rows["ADMISSIONS"].append(row)
        end = None if hours is None else clock(starts + hours)
        los = los if hours is None else hours / 24
        row = [subject, hadm, 200_000 + number, "carevue", unit, last_unit or unit, 7, last_ward]
        self.rows["ICUSTAYS"].append([*row, clock(starts), end, los])

    def chart(
        self,
        number: int,
        itemid: int,
        hour: float,
        value: object,
        *,
        text: str | None = None,
        uom: str | None = None,
        error: object = None,
        hadm: object = "",
        icustay: object = "",
        time: str | None = None,
    ) -> None:
        """Add a row of CHARTEVENTS of a stay."""
        hadm = 100_000 + number if hadm == "" else hadm
        icustay = 200_000 + number if icustay == "" else icustay
        when = clock(hour) if time is None else time
        shown = text if text is not None else value
        row = [number, hadm, icustay, itemid, when, when, 1, shown, value, uom]
        self.rows["CHARTEVENTS"].append([*row, None, error, None, None])

    def lab(self, number: int, itemid: int, hour: float, value: object, hadm: object = "") -> None:
        """Add a row of LABEVENTS of a stay."""
        hadm = 100_000 + number if hadm == "" else hadm
        row = [number, hadm, itemid, clock(hour), value, value, "x", None]
        self.rows["LABEVENTS"].append(row)

    def write(self, *, lower_case: bool = False, packed: tuple[str, ...] = ()) -> Path:
        self.folder.mkdir(exist_ok=True)
        for name, rows in self.rows.items():
            if name in packed:
                with gzip.open(self.folder / f"{name}.csv.gz", "wt", encoding="utf-8") as file:
                    write_table(file, name, rows, lower_case=lower_case)
            else:
                with (self.folder / f"{name}.csv").open("w", encoding="utf-8") as file:
                    write_table(file, name, rows, lower_case=lower_case)
        return self.folder


@pytest.fixture
def make_mimic(tmp_path: Path) -> Callable[..., MimicDirectory]:
    """A function that begins a directory with some plain stays, each with a heart rate of 80."""

    def make(stays: int = 2, name: str = "mimic") -> MimicDirectory:
        directory = MimicDirectory(tmp_path / name)
        for number in range(1, stays + 1):
            directory.stay(number, died=number % 2)
            directory.chart(number, 211, 1.0, 80)
        # Tables of the real thing are never empty.
        directory.lab(0, 50931, 0, 100)
        return directory

    return make
