"""MIMIC-III's tables after another program saved them, and faults of a whole column."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import veilsum as vs
from veilsum.data import Study
from veilsum.data.mimic3 import load_mimic3
from veilsum.data.mimic3.cells import MISSING, holds_something, read_times
from veilsum.data.mimic3.grid import UNREADABLE_TIMES, UNREADABLE_VALUES

Make = Callable[..., Any]
Change = Callable[[str, str], str]

TIMES = ("DOB", "INTIME", "OUTTIME", "CHARTTIME", "ADMITTIME", "DISCHTIME", "STORETIME")


def rewrite(folder: Path, change: Change, tables: tuple[str, ...] = ()) -> None:
    """Write tables again with each cell changed; the function gets column and cell."""
    for path in folder.glob("*.csv"):
        if tables and path.stem not in tables:
            continue
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
            header = list(rows[0])
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows([change(name, row[name]) for name in header] for row in rows)


def same(one: Study, other: Study) -> None:
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.site_names == other.site_names


@pytest.fixture
def folder(make_mimic: Make) -> Path:
    """Stays with enough rows of each kind for a share to say something."""
    directory = make_mimic(stays=12)
    for number in range(1, 13):
        directory.chart(number, 223761, 2.5, 98.6)
        directory.chart(number, 220739, 3.0, None, text="None")
        directory.chart(number, 723, 3.0, 1.0, text="1.0 ET/Trach")
        directory.lab(number, 50820, 4.0, 7.35)
        directory.lab(number, 50931, 4.0, 120)
    return Path(directory.write())


# Times.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2150-03-01 12:30:05", (12, 30, 5)),
        ("2150-03-01T12:30:05", (12, 30, 5)),
        ("2150-03-01 12:30:05.000", (12, 30, 5)),
        ("2150-03-01T12:30:05.999999", (12, 30, 5)),
        ("2150-03-01T12:30:05,5", (12, 30, 5)),
        ("2150-03-01T12:30:05Z", (12, 30, 5)),
        ("2150-03-01 12:30:05+00:00", (12, 30, 5)),
        ("2150-03-01 12:30:05 UTC", (12, 30, 5)),
        (" 2150-03-01 12:30 ", (12, 30, 0)),
        ("2150-03-01", (0, 0, 0)),
        ("2150-03-01T12:30:05+01:00", None),
        ("01/03/2150 12:30:05", None),
        ("2150-02-30T12:30:05", None),
        ("2150-03-01T25:30:05", None),
        ("2150-03-01 12:30:05 or so", None),
        ("", None),
        (None, None),
        *[(word, None) for word in MISSING],
    ],
)
def test_forms_of_a_time(text: str | None, expected: tuple[int, int, int] | None) -> None:
    # Among others, as it stands in a table.
    column = pl.Series(["2150-01-01 00:00:00", text, "2150-01-02 00:00:00"], dtype=pl.String)
    times = read_times(column)
    assert times.to_list() == [
        datetime(2150, 1, 1),
        None if expected is None else datetime(2150, 3, 1, *expected),
        datetime(2150, 1, 2),
    ]
    missing = text is None or text in MISSING
    assert holds_something(column).to_list() == [True, not missing, True]


@pytest.mark.parametrize(
    "form", ["{0}T{1}", "{0} {1}.000", "{0}T{1}.123Z", "{0} {1}+00:00", "{0} {1} UTC"]
)
def test_tables_with_another_form_of_time_are_the_same(form: str, folder: Path) -> None:
    plain = load_mimic3(folder, cache=None)

    def change(name: str, cell: str) -> str:
        return form.format(*cell.split(" ")) if " " in cell and name in TIMES else cell

    rewrite(folder, change)
    same(load_mimic3(folder, cache=None), plain)


def test_a_column_of_other_times_is_an_error(folder: Path) -> None:
    def change(name: str, cell: str) -> str:
        return cell.replace("-", "/") if name == "CHARTTIME" else cell

    rewrite(folder, change, ("LABEVENTS",))
    with pytest.raises(
        vs.WireFormatError,
        match=r"LABEVENTS\.csv, row 3, column CHARTTIME: '2150/03/01 16:00:00' cannot be read, and "
        r"nor can 24 of 24 such cells \(at most 1% may be wrong\); each must be a time like 2101",
    ):
        load_mimic3(folder, cache=None)


def test_a_time_of_a_stay_is_named_with_its_row(folder: Path) -> None:
    seen = iter(range(100))

    def change(name: str, cell: str) -> str:
        return "soon" if name == "INTIME" and next(seen) == 4 else cell

    rewrite(folder, change, ("ICUSTAYS",))
    with pytest.raises(vs.WireFormatError, match=r"ICUSTAYS\.csv, row 6, column INTIME: 'soon' is"):
        load_mimic3(folder, cache=None)


@pytest.mark.parametrize("more", [0, 1])
def test_the_edge_of_the_share_of_times(make_mimic: Make, more: int) -> None:
    directory = make_mimic(stays=1)
    bad = 10 + more
    for i in range(round(10 / UNREADABLE_TIMES) - 10 - 1):
        directory.chart(1, 211, 1 + i / 100, 80)
    for _ in range(bad):
        directory.chart(1, 211, 1, 80, time="then")
    # Missing is not unreadable.
    for _ in range(50):
        directory.chart(1, 211, 1, 80, time="NULL")
    folder = directory.write()
    if not more:
        assert "60 without a time that can be read" in load_mimic3(folder, cache=None).notes[2]
        return
    with pytest.raises(vs.WireFormatError, match=r"'then' cannot be read, and nor can 11 of 1,001"):
        load_mimic3(folder, cache=None)


# Values.


def test_decimal_commas_are_an_error_that_names_one(folder: Path) -> None:
    def change(name: str, cell: str) -> str:
        return cell.replace(".", ",") if name == "VALUE" else "" if name == "VALUENUM" else cell

    rewrite(folder, change, ("LABEVENTS",))
    with pytest.raises(
        vs.WireFormatError,
        match=r"LABEVENTS\.csv, row 3, column VALUE: '7,35' cannot be read, and nor can 12 of 12 "
        r"such cells of ph \(at most 50% may be wrong\); each must be a number with a decimal poi",
    ):
        load_mimic3(folder, cache=None)


def test_a_decimal_comma_in_a_column_of_numbers(folder: Path) -> None:
    rewrite(folder, lambda name, cell: cell.replace(".", ",") if name == "VALUENUM" else cell)
    with pytest.raises(
        vs.WireFormatError,
        match=r"CHARTEVENTS\.csv, row 14, column VALUENUM: '98,6' is not a number \(a decimal comm",
    ):
        load_mimic3(folder, cache=None)


@pytest.mark.parametrize("more", [0, 1])
def test_the_edge_of_the_share_of_values(make_mimic: Make, more: int) -> None:
    directory = make_mimic(stays=1)
    good = round(20 * UNREADABLE_VALUES) - more
    for i in range(good - 1):  # beside the one that the stay begins with
        directory.chart(1, 211, 1 + i / 100, 80)
    for _ in range(10):
        directory.chart(1, 211, 1, None, text="fast")
    for _ in range(50):
        directory.chart(1, 211, 1, None)
    folder = directory.write()
    if not more:
        assert "heart rate 60 unreadable" in load_mimic3(folder, cache=None).notes[3]
        return
    with pytest.raises(vs.WireFormatError, match=r"'fast' cannot be read, and nor can 10 of 19 "):
        load_mimic3(folder, cache=None)


def test_a_few_unreadable_rows_are_named_when_nothing_is_left(make_mimic: Make) -> None:
    directory = make_mimic(stays=0)
    directory.stay(1)
    directory.stay(2)
    directory.lab(0, 50931, 0, 100)
    directory.chart(1, 211, 1, 80, time="at noon")
    with pytest.raises(
        vs.WireFormatError, match=r"CHARTEVENTS\.csv, row 2, column CHARTTIME: 'at noon'"
    ):
        load_mimic3(directory.write(), cache=None)


# Tables that pandas or a database saved.


def _floats(name: str, cell: str) -> str:
    whole = name.endswith(("_ID", "WARDID", "FLAG")) or name in ("ITEMID", "ERROR")
    return f"{cell}.0" if whole and cell else cell


def _nulls(word: str) -> Change:
    # VALUE stays: "None" is a word of the Glasgow coma scale.
    return lambda name, cell: cell or (word if name != "VALUE" else "")


@pytest.mark.parametrize(
    "change",
    [_floats, *[_nulls(word) for word in ("NULL", "\\N")]],
    ids=["floats", "NULL", "backslash N"],
)
def test_tables_saved_once_are_the_same(change: Change, folder: Path) -> None:
    plain = load_mimic3(folder, cache=None)
    rewrite(folder, change)
    same(load_mimic3(folder, cache=None), plain)


@pytest.mark.parametrize("word", [word for word in MISSING if word])
def test_words_for_missing_numbers_and_times(word: str, folder: Path) -> None:
    plain = load_mimic3(folder, cache=None)

    def change(name: str, cell: str) -> str:
        numeric = name in ("ERROR", "VALUENUM", "OUTTIME")
        return word if numeric and not cell else cell

    rewrite(folder, change)
    same(load_mimic3(folder, cache=None), plain)


def test_tables_from_a_data_frame_with_its_index(folder: Path) -> None:
    """What `DataFrame.to_csv` writes: an unnamed column, floats for columns with missing cells."""
    plain = load_mimic3(folder, cache=None)
    rewrite(folder, _floats)
    for path in folder.glob("*.csv"):
        header, *rows = path.read_text().splitlines()
        # Saved twice: two columns without a name.
        lines = [f",,{header}", *[f"{i},{i}.0,{row}" for i, row in enumerate(rows)]]
        path.write_text("\n".join(lines) + "\n")
    same(load_mimic3(folder, cache=None), plain)


def test_a_fraction_is_no_id(folder: Path) -> None:
    rewrite(folder, lambda name, cell: f"{cell}.5" if name == "ITEMID" else cell, ("D_ITEMS",))
    with pytest.raises(vs.WireFormatError, match=r"row 2, column ITEMID: '\d+\.5' is not a whole"):
        load_mimic3(folder, cache=None)


def test_semicolons_are_not_commas(folder: Path) -> None:
    path = folder / "PATIENTS.csv"
    path.write_text(path.read_text().replace(",", ";"))
    with pytest.raises(vs.WireFormatError, match="its cells must be separated by commas"):
        load_mimic3(folder, cache=None)


# Stray quotation marks.


def _stray(lines: list[str], first: int, last: int, old: str, new: tuple[str, str]) -> list[str]:
    changed = list(lines)
    for where, text in zip((first, last), new, strict=True):
        assert old in changed[where]
        changed[where] = changed[where].replace(old, text, 1)
    return changed


@pytest.mark.parametrize("apart", [1, 2, 50, 20_000])
@pytest.mark.parametrize(
    "new",
    [
        (',"80,80,', ',80",80,'),  # valid CSV: nothing but what is inside tells
        (',"80,80,', ',"80,80,'),
        (',80",80,', ',80",80,'),
        (',8"0,80,', ',8"0,80,'),
    ],
)
def test_two_stray_quotation_marks(make_mimic: Make, apart: int, new: tuple[str, str]) -> None:
    folder = make_mimic(stays=2).write()
    path = folder / "CHARTEVENTS.csv"
    header, row, *_ = path.read_text().splitlines(keepends=True)
    rows = [row] * (apart + 40)
    lines = [header, *_stray(rows, 20, 20 + apart, ",80,80,", new)]
    path.write_text("".join(lines))
    with pytest.raises(vs.WireFormatError, match=r"CHARTEVENTS\.csv, row 2[12]") as caught:
        load_mimic3(folder, cache=None)
    assert "quotation mark" in str(caught.value)


def test_stray_quotation_marks_in_a_column_that_is_not_read(make_mimic: Make) -> None:
    directory = make_mimic(stays=40)
    folder = directory.write()
    path = folder / "ADMISSIONS.csv"
    lines = path.read_text().splitlines(keepends=True)
    lines[11] = lines[11].replace(",x,", ',"x,', 1)
    lines[31] = lines[31].replace(",x,", ',x",', 1)
    path.write_text("".join(lines))
    with pytest.raises(vs.WireFormatError, match=r"ADMISSIONS\.csv, row 12: the quoted cell that"):
        load_mimic3(folder, cache=None)


def test_lines_in_a_cell_are_no_fault(make_mimic: Make) -> None:
    directory = make_mimic(stays=2)
    directory.chart(1, 211, 2, 90, text='two\nlines, "quoted"\r\nand a third')
    study = load_mimic3(directory.write(), cache=None)
    assert study.column("heart rate max")[0] == 90
