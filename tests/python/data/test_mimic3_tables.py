"""MIMIC-III's files: found in any case, read in pieces, and refused by file, row and column."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import veilsum as vs
from veilsum.data.mimic3 import load_mimic3, tables
from veilsum.data.mimic3.tables import find_tables, pieces, read_small

Make = Callable[..., Any]


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(vs.ParameterError, match=r"nowhere does not exist; give the directory"):
        load_mimic3(tmp_path / "nowhere", cache=None)
    (tmp_path / "file").write_text("x")
    with pytest.raises(vs.ParameterError, match="is a file, not a directory"):
        load_mimic3(tmp_path / "file", cache=None)
    with pytest.raises(vs.ParameterError, match=r"no table PATIENTS .* it has none"):
        load_mimic3(tmp_path, cache=None)


@pytest.mark.parametrize("name", tables.COLUMNS)
def test_a_missing_table_is_named(name: str, make_mimic: Make) -> None:
    folder = make_mimic().write()
    (folder / f"{name}.csv").unlink()
    with pytest.raises(vs.ParameterError, match=rf"has no table {name} \(looked for {name}\.csv"):
        load_mimic3(folder, cache=None)


@pytest.mark.parametrize(
    ("name", "column"),
    [(name, column) for name, columns in tables.COLUMNS.items() for column in columns],
)
def test_a_missing_column_is_named(name: str, column: str, make_mimic: Make) -> None:
    folder = make_mimic().write()
    path = folder / f"{name}.csv"
    header, _, rest = path.read_text().partition("\n")
    path.write_text(header.replace(f'"{column}"', '"OTHER"') + "\n" + rest)
    with pytest.raises(vs.WireFormatError, match=rf"{name}\.csv has no column {column}; MIMIC"):
        load_mimic3(folder, cache=None)


def test_an_empty_file_and_a_header_alone(make_mimic: Make) -> None:
    folder = make_mimic().write()
    path = folder / "PATIENTS.csv"
    header = path.read_text().splitlines()[0]
    path.write_text("")
    with pytest.raises(vs.WireFormatError, match=r"PATIENTS.csv has no column SUBJECT_ID.*no head"):
        load_mimic3(folder, cache=None)
    path.write_text(header + "\n")
    with pytest.raises(vs.WireFormatError, match=r"PATIENTS\.csv has a header but no rows"):
        load_mimic3(folder, cache=None)
    path.write_text(header + ',"GENDER"\n')
    with pytest.raises(vs.WireFormatError, match="has a column twice"):
        load_mimic3(folder, cache=None)


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("CHARTEVENTS", ",211,", ",heart,", r"row 2, column ITEMID: 'heart' is not a whole number"),
        ("CHARTEVENTS", ",80,80,", ",80,eighty,", r"row 2, column VALUENUM: 'eighty' is not a num"),
        ("CHARTEVENTS", "2,2,100002", "2,2,1e5", r"row 3, column HADM_ID: '1e5' is not a whole"),
        (
            "ICUSTAYS",
            "2,2,100002",
            "2,2,1,100002",
            r"row 3, column FIRST_WARDID: 'MICU' is not a wh",
        ),
        ("PATIENTS", "2090-03-01 00:00:00", "1 March", r"column DOB: '1 March' is no time like"),
        ("ICUSTAYS", "2150-03-04 00:00:00", "later", r"column OUTTIME: 'later' is no time"),
        ("PATIENTS", "2,2,F", "2,1,F", "SUBJECT_ID is empty or there twice"),
        ("ADMISSIONS", ",100002,", ",,", "HADM_ID is empty or there twice"),
        ("PATIENTS", "2,2,F", "2,2,Q", r"column GENDER: must be M or F, got 'Q'"),
        ("ADMISSIONS", "x,0,1\n", "x,7,1\n", "HOSPITAL_EXPIRE_FLAG: must be 0 or 1, got 7"),
    ],
)
def test_a_wrong_cell_is_named(
    table: str, old: str, new: str, message: str, make_mimic: Make
) -> None:
    folder = make_mimic().write()
    path = folder / f"{table}.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(vs.WireFormatError, match=message) as caught:
        load_mimic3(folder, cache=None)
    assert f"{table}.csv" in str(caught.value)


def test_a_damaged_archive_is_named(make_mimic: Make) -> None:
    folder = make_mimic(stays=200).write(packed=("CHARTEVENTS",))
    path = folder / "CHARTEVENTS.csv.gz"
    whole = path.read_bytes()
    for damaged in (
        whole[:-200],
        whole[: len(whole) // 2],
        whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:],
        b"SUBJECT_ID,HADM_ID\n1,2\n",
        whole[:100] + bytes(50) + whole[150:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(vs.WireFormatError, match=r"CHARTEVENTS\.csv\.gz"):
            load_mimic3(folder, cache=None)


def test_a_quote_that_is_never_closed(make_mimic: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = make_mimic(stays=50)
    folder = directory.write()
    path = folder / "CHARTEVENTS.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:5], lines[5].replace(",80,", ',"80,', 1), *lines[6:]]))
    with pytest.raises(vs.WireFormatError, match="ends inside a quoted cell"):
        load_mimic3(folder, cache=None)
    # A file of any size is refused before it is held as a whole.
    table = find_tables(folder)["CHARTEVENTS"]
    with pytest.raises(vs.WireFormatError, match="no row ends within"):
        list(pieces(table, size=256))


@pytest.mark.parametrize("size", [64, 100, 1000, 1 << 20])
@pytest.mark.parametrize("packed", [False, True])
def test_rows_do_not_depend_on_the_pieces(size: int, packed: bool, make_mimic: Make) -> None:
    directory = make_mimic(stays=20)
    texts = ['two\nlines, "quoted"', "a,b", '"', "\n", "plain", '""', "line\r\nend"] * 5
    for i, text in enumerate(texts):
        directory.chart(1, 211, 2 + i / 10, None, text=text)
    folder = directory.write(packed=("CHARTEVENTS",) if packed else ())
    table = find_tables(folder)["CHARTEVENTS"]
    done: list[int] = []
    frames = list(pieces(table, done.append, size=size))
    assert pl.concat(frames)["VALUE"].to_list() == ["80"] * 20 + texts
    assert (len(frames) > 3) == (size <= 1000)
    assert done == sorted(done)
    assert done[-1] <= table.path.stat().st_size
    assert len(done) == len(frames)


def test_a_last_line_without_an_end(make_mimic: Make) -> None:
    folder = make_mimic().write()
    path = folder / "D_ITEMS.csv"
    rows = read_small(find_tables(folder)["D_ITEMS"]).height
    path.write_text(path.read_text().rstrip("\n"))
    assert read_small(find_tables(folder)["D_ITEMS"]).height == rows
    # The end of an interrupted copy: a row cut off in VALUENUM would be read as another number.
    path = folder / "CHARTEVENTS.csv"
    whole = path.read_text()
    path.write_text(whole[: whole.rindex(",80,80,") + 5])
    with pytest.raises(vs.WireFormatError, match=r"CHARTEVENTS\.csv ends inside a row: 10 cells"):
        load_mimic3(folder, cache=None)


def test_archives_in_several_members_and_windows_lines(make_mimic: Make) -> None:
    folder = make_mimic().write()
    plain = load_mimic3(folder, cache=None)
    path = folder / "CHARTEVENTS.csv"
    lines = path.read_text().splitlines()
    path.unlink()
    packed = folder / "CHARTEVENTS.csv.gz"
    packed.write_bytes(b"".join(gzip.compress(f"{line}\r\n".encode()) for line in lines))
    assert (load_mimic3(folder, cache=None).values == plain.values)[:, :2].all()
    assert load_mimic3(folder, cache=None).column("heart rate mean").tolist() == [80.0, 80.0]


def test_lower_case_as_in_the_demo(make_mimic: Make) -> None:
    folder = make_mimic().write(lower_case=True)
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.lower())
    path = folder / "patients.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    study = load_mimic3(folder, cache=None)
    assert len(study) == 2
    assert study.column("heart rate max").tolist() == [80.0, 80.0]


def test_the_unpacked_file_is_preferred(make_mimic: Make) -> None:
    folder = make_mimic().write()
    (folder / "CHARTEVENTS.csv.gz").write_bytes(b"no archive")
    assert len(load_mimic3(folder, cache=None)) == 2
