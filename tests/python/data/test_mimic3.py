"""MIMIC-III as a study: cohort rules one by one, summaries against plain Python, cache, marks."""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import stat
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from veilsum import data
from veilsum.data import Study
from veilsum.data.mimic3 import SYNTHETIC_MARKER, cache, load_mimic3
from veilsum.data.mimic3.loader import NAME, SYNTHETIC_NAME, VERSION
from veilsum.data.mimic3.tables import find_tables
from veilsum.data.mimic3.variables import ITEMS, VARIABLE_INDEX, VARIABLES
from veilsum.data.synthetic_mimic import write_synthetic_mimic

Make = Callable[..., Any]


def taken_in(folder: Path) -> Study:
    return load_mimic3(folder, cache=None)


def summary(study: Study, variable: str, row: int = 0) -> list[float]:
    return [study.column(f"{variable} {part}")[row] for part in ("mean", "min", "max", "last")]


# The cohort.


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"dob": "2132-03-02 00:00:00"}, "1 of patients younger than 18"),
        ({"hours": 47.9}, "1 shorter than 48 hours"),
        ({"hours": None, "los": 1.9}, "1 shorter than 48 hours"),
        ({"hours": None}, "1 shorter than 48 hours"),
        ({"last_unit": "SICU"}, "1 with a move to another unit or ward"),
        ({"last_ward": 8}, "1 with a move to another unit or ward"),
        ({"subject": 77, "admission": 77}, ""),
    ],
)
def test_a_rule_leaves_a_stay_out(changes: dict[str, Any], rule: str, make_mimic: Make) -> None:
    directory = make_mimic()
    directory.stay(3, **changes)
    hadm = 100_000 + changes.get("admission", 3)
    directory.chart(3, 211, 1.0, 90, hadm=hadm)
    study = taken_in(directory.write())
    assert len(study) == (2 if rule else 3)
    assert rule in study.notes[0]
    assert f"{len(study)} of 3 stays are taken in" in study.notes[0]


def test_the_edges_of_the_rules_are_inside(make_mimic: Make) -> None:
    directory = make_mimic()
    directory.stay(3, dob="2132-03-01 00:00:00", hours=48.0)
    directory.stay(4, hours=None, los=2.0)
    for number in (3, 4):
        directory.chart(number, 211, 1.0, 90)
    study = taken_in(directory.write())
    assert len(study) == 4
    assert study.column("age")[2] == pytest.approx(18, abs=0.01)


def test_all_stays_of_an_admission_with_several_go(make_mimic: Make) -> None:
    directory = make_mimic()
    directory.stay(3)
    # A stay that is left out for another reason still counts for its admission.
    directory.stay(4, subject=3, admission=3, last_unit="SICU", starts=100)
    directory.chart(3, 211, 1.0, 90)
    study = taken_in(directory.write())
    assert len(study) == 2
    assert "1 with a move" in study.notes[0]
    assert "1 not the only one of the admission" in study.notes[0]


def test_stays_of_unknown_patients_go(make_mimic: Make) -> None:
    directory = make_mimic(stays=4)
    directory.rows["PATIENTS"].pop()
    directory.rows["ADMISSIONS"].pop(0)
    study = taken_in(directory.write())
    assert len(study) == 2
    assert "2 of an unknown patient or admission" in study.notes[0]


def test_several_admissions_of_a_patient_stay_and_are_told_apart(make_mimic: Make) -> None:
    directory = make_mimic()
    directory.stay(3, subject=1, starts=1000)
    directory.chart(3, 211, 1001, 90)
    study = taken_in(directory.write())
    assert study.patients is not None
    assert study.patients.tolist() == [0, 1, 0]


def test_ages_above_89_are_not_300(make_mimic: Make) -> None:
    directory = make_mimic()
    directory.stay(3, dob="1850-03-01 00:00:00")
    directory.chart(3, 211, 1.0, 90)
    study = taken_in(directory.write())
    assert study.column("age").tolist() == pytest.approx([60, 60, 91.4], abs=0.01)


def test_labels_sex_and_units(make_mimic: Make) -> None:
    directory = make_mimic()
    directory.stay(3, gender="M", unit="CCU")
    directory.chart(3, 211, 1.0, 90)
    study = taken_in(directory.write())
    assert study.labels.tolist() == [1, 0, 0]
    assert study.column("male").tolist() == [0, 0, 1]
    assert study.site_names == ("CCU", "MICU")
    assert study.sites is not None
    assert study.sites.tolist() == [1, 1, 0]


def test_nobody_left_is_an_error_with_the_reasons(make_mimic: Make) -> None:
    directory = make_mimic(stays=0)
    directory.stay(1, hours=10)
    directory.stay(2, last_unit="SICU")
    directory.chart(1, 211, 1, 80)
    with pytest.raises(vs.ParameterError, match=r"none of 2 stays is left.*1 with a move.*1 short"):
        taken_in(directory.write())


def test_stays_without_a_value_go(make_mimic: Make) -> None:
    directory = make_mimic()
    directory.stay(3)
    directory.chart(3, 5820, 1.0, 85)  # an alarm's limit, not a measurement
    study = taken_in(directory.write())
    assert len(study) == 2
    assert "1 without a value in the first 48 hours" in study.notes[0]
    directory = make_mimic(stays=0, name="other")
    directory.stay(1)
    directory.chart(2, 211, 1.0, 85)
    directory.lab(0, 50931, 0, 100)
    with pytest.raises(vs.ParameterError, match=r"no value of any of the 1 stays"):
        taken_in(directory.write())


# Events.


def test_summaries_of_the_hours(make_mimic: Make) -> None:
    directory = make_mimic(stays=1)
    # Hour 1 has 80 already; the last value of an hour counts for the mean, all for the extremes.
    for hour, value in ((1.9, 100), (1.5, 200), (3.0, 60), (47.99, 70), (1.2, 40)):
        directory.chart(1, 211, hour, value)
    study = taken_in(directory.write())
    assert summary(study, "heart rate") == pytest.approx([(100 + 60 + 70) / 3, 40, 200, 70])
    assert np.isnan(summary(study, "weight")).all()


def test_the_window_is_the_first_48_hours(make_mimic: Make) -> None:
    directory = make_mimic(stays=1)
    directory.chart(1, 211, -1 / 3600, 150)
    directory.chart(1, 211, 0, 90)
    directory.chart(1, 211, 48, 151)
    study = taken_in(directory.write())
    assert summary(study, "heart rate") == [85, 80, 90, 80]
    assert "2 before or after the first 48 hours" in study.notes[2]


def test_repeated_rows_change_nothing(make_mimic: Make) -> None:
    directory = make_mimic(stays=1)
    directory.chart(1, 211, 5.0, 100)
    once = taken_in(directory.write())
    for _ in range(7):
        directory.chart(1, 211, 5.0, 100)
    again = taken_in(directory.write())
    np.testing.assert_array_equal(once.values, again.values)


def test_of_two_values_at_one_time_the_later_row_counts(make_mimic: Make) -> None:
    directory = make_mimic(stays=1)
    directory.chart(1, 807, 5.0, 100)
    directory.chart(1, 811, 5.0, 140)
    assert summary(taken_in(directory.write()), "glucose") == [140, 100, 140, 140]
    directory.lab(1, 50931, 5.0, 120)  # laboratory after charts
    assert summary(taken_in(directory.write()), "glucose") == [120, 100, 140, 120]


def test_errors_and_times_that_cannot_be_read_are_dropped_and_counted(make_mimic: Make) -> None:
    directory = make_mimic(stays=1)
    directory.chart(1, 220045, 2, 90, error=1)
    directory.chart(1, 220045, 3, 100, error=0)
    directory.chart(1, 220045, 3, 110, time="yesterday")
    directory.chart(1, 220045, 3, 110, time="")
    study = taken_in(directory.write())
    assert summary(study, "heart rate") == [90, 80, 100, 100]
    assert "1 marked as an error, 2 without a time that can be read" in study.notes[2]


def test_whose_row_it_is(make_mimic: Make) -> None:
    directory = make_mimic()
    directory.chart(1, 211, 2, 100, icustay=200_002)  # says two stays
    directory.chart(1, 211, 2, 101, icustay=299_999)  # a stay that is not taken in
    directory.chart(1, 211, 3, 90, icustay=None)
    directory.chart(1, 211, 4, 70, hadm=None)
    directory.chart(1, 211, 5, 102, hadm=None, icustay=None)
    directory.chart(1, 211, 6, 103, hadm=199_999)
    directory.lab(1, 50931, 2, 150)
    directory.lab(2, 50931, 2, 160, hadm=None)
    study = taken_in(directory.write())
    assert summary(study, "heart rate") == [80, 70, 90, 70]
    assert summary(study, "heart rate", 1) == [80, 80, 80, 80]
    assert summary(study, "glucose") == [150] * 4
    assert np.isnan(summary(study, "glucose", 1)).all()
    assert "2 named another stay than its admission's" in study.notes[2]


def test_the_glasgow_total_of_metavision_is_computed(make_mimic: Make) -> None:
    directory = make_mimic(stays=2)
    for hour, eye, motor, verbal in ((2, "To Pain", "Obeys Commands", "Confused"),):
        directory.chart(1, 220739, hour, None, text=eye)
        directory.chart(1, 223901, hour, None, text=motor)
        directory.chart(1, 223900, hour, None, text=verbal)
    directory.chart(1, 220739, 9, None, text="Spontaneously")  # alone: no total
    directory.chart(2, 198, 2, 7)
    directory.chart(2, 184, 2, 4, text="4 Spontaneously")
    directory.chart(2, 454, 2, 6, text="6 Obeys Commands")
    directory.chart(2, 723, 2, 5, text="5 Oriented")
    study = taken_in(directory.write())
    assert summary(study, "gcs total") == [12] * 4
    assert summary(study, "gcs total", 1) == [7] * 4  # as charted


def test_items_the_directory_does_not_know_are_named(make_mimic: Make) -> None:
    directory = make_mimic()
    items = directory.rows["D_ITEMS"]
    items[:] = [row for row in items if row[0] != 763]
    next(row for row in items if row[0] == 211)[1] = "Hat size"
    study = taken_in(directory.write())
    assert "D_ITEMS does not know these items, so they add nothing: 763 (Daily Weight)." in (
        study.notes
    )
    assert any("211 is 'Hat size' and not 'Heart Rate'" in note for note in study.notes)
    directory.rows["D_LABITEMS"] = [[1, "x", "Blood", "x", None]]
    with pytest.raises(vs.ParameterError, match=r"D_LABITEMS\.csv, column ITEMID: none of the 4"):
        taken_in(directory.write())


# The whole against plain Python.


def plain_value(item: Any, text: str, number: str, uom: str) -> float | None:
    """What one charted value means, written once more and differently than in the package."""
    variable = VARIABLES[VARIABLE_INDEX[item.variable]]
    value: float | None = None
    if number:
        value = float(number)
    else:
        try:
            value = float(text)
        except ValueError:
            value = None
    if variable.scale:
        words = text.lower()
        if words[:1].isdigit() and " " in words:
            words = words.split(" ", 1)[1]
        if item.variable == "capillary refill":
            value = None
        value = variable.scale.get(words, value)
    if value is None:
        return None
    if item.variable == "temperature" and (
        value >= 79 or ("Fahrenheit" in item.label or "[F]" in item.label or " F" in item.label)
    ):
        value = (value - 32) / 1.8
    if item.variable == "weight" and "lb" in item.label:
        value *= 0.45359237
    if item.variable == "height" and uom == "Inch":
        value *= 2.54 if value <= 108 else 1
    if item.variable == "fio2" and value > 1:
        value = value / 100 if value >= 20 else math.nan
    if item.variable == "oxygen saturation" and 0 < value <= 1:
        value *= 100
    if math.isnan(value) or not variable.possible[0] <= value <= variable.possible[1]:
        return None
    return min(max(value, variable.plausible[0]), variable.plausible[1])


def rows_of(folder: Path, table: str) -> list[dict[str, str]]:
    with gzip.open(folder / f"{table}.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


def oracle(folder: Path) -> dict[int, dict[str, list[float]]]:
    """Stay -> variable -> mean, min, max, last, from loops over rows."""
    known = {item.itemid: item for item in ITEMS}
    stays = {int(row["HADM_ID"]): row for row in rows_of(folder, "ICUSTAYS")}

    def time(text: str) -> datetime:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S")

    hours: dict[Any, dict[int, tuple[float, float]]] = defaultdict(dict)
    extremes: dict[Any, list[float]] = defaultdict(list)
    for table in ("CHARTEVENTS", "LABEVENTS"):
        for row in rows_of(folder, table):
            item = known.get(int(row["ITEMID"]))
            if item is None or not row["HADM_ID"] or row.get("ERROR") == "1":
                continue
            stay = stays[int(row["HADM_ID"])]
            if "ICUSTAY_ID" in row and row["ICUSTAY_ID"] != stay["ICUSTAY_ID"]:
                continue
            second = (time(row["CHARTTIME"]) - time(stay["INTIME"])).total_seconds()
            value = plain_value(item, row["VALUE"], row["VALUENUM"], row["VALUEUOM"])
            if value is None or not 0 <= second < 48 * 3600:
                continue
            key = (int(stay["ICUSTAY_ID"]), item.variable)
            extremes[key].append(value)
            hour = int(second // 3600)
            if hour not in hours[key] or second >= hours[key][hour][0]:
                hours[key][hour] = (second, value)
    found: dict[int, dict[str, list[float]]] = defaultdict(dict)
    stays_with = {stay for stay, _ in hours}
    for stay in stays_with:
        parts = [hours[stay, f"gcs {part}"] for part in ("eye", "motor", "verbal")]
        for hour in set(parts[0]) & set(parts[1]) & set(parts[2]):
            total = hours[stay, "gcs total"]
            if hour not in total:
                total[hour] = (0.0, sum(part[hour][1] for part in parts))
                extremes[stay, "gcs total"].append(total[hour][1])
    for (stay, variable), of_hours in hours.items():
        if of_hours:
            last = [of_hours[hour][1] for hour in sorted(of_hours)]
            every = extremes[stay, variable]
            found[stay][variable] = [sum(last) / len(last), min(every), max(every), last[-1]]
    return found


def test_a_whole_directory_agrees_with_plain_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_synthetic_mimic(tmp_path / "made", stays=60, seed=11)
    # Small pieces, so that stays and hours are spread over several of them.
    monkeypatch.setattr("veilsum.data.mimic3.tables.PIECE_BYTES", 1 << 17)
    study = taken_in(folder)
    expected = oracle(folder)
    stays = rows_of(folder, "ICUSTAYS")
    several = defaultdict(int)
    for row in stays:
        several[row["HADM_ID"]] += 1
    died = {row["HADM_ID"]: row["HOSPITAL_EXPIRE_FLAG"] for row in rows_of(folder, "ADMISSIONS")}
    born = {row["SUBJECT_ID"]: row["DOB"] for row in rows_of(folder, "PATIENTS")}
    kept = []
    for row in stays:
        age = int(row["INTIME"][:4]) - int(born[row["SUBJECT_ID"]][:4])
        alone = several[row["HADM_ID"]] == 1
        unmoved = row["FIRST_CAREUNIT"] == row["LAST_CAREUNIT"]
        unmoved &= row["FIRST_WARDID"] == row["LAST_WARDID"]
        # No synthetic age lies so near to 18 that the year alone could be wrong.
        if alone and unmoved and age >= 18 and float(row["LOS"]) >= 2:
            kept.append(row)
    assert 25 < len(kept) < 60
    assert len(study) == len(kept)
    np.testing.assert_array_equal(study.labels, [int(died[row["HADM_ID"]]) for row in kept])
    for i, row in enumerate(kept):
        mine = expected[int(row["ICUSTAY_ID"])]
        for variable in VARIABLES:
            found = summary(study, variable.name, i)
            # Values are kept as float32 (relative 2**-24 each); a mean of at most 48 adds nothing.
            np.testing.assert_allclose(
                found, mine.get(variable.name, [math.nan] * 4), rtol=2**-23, err_msg=variable.name
            )


def test_the_numbers_do_not_depend_on_the_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_synthetic_mimic(tmp_path / "made", stays=40, seed=5)
    whole = taken_in(folder)
    monkeypatch.setattr("veilsum.data.mimic3.tables.PIECE_BYTES", 5000)
    np.testing.assert_array_equal(taken_in(folder).values, whole.values)


# Cache.


def test_the_second_reading_comes_from_the_cache(make_mimic: Make, tmp_path: Path) -> None:
    folder = make_mimic().write()
    before = {path.name for path in folder.iterdir()}
    calls: list[tuple[int, int]] = []
    first = load_mimic3(folder, cache=tmp_path / "kept", progress=lambda *args: calls.append(args))
    assert calls[-1] == (calls[-1][1], calls[-1][1])
    count = len(calls)
    again = load_mimic3(folder, cache=tmp_path / "kept", progress=lambda *args: calls.append(args))
    assert len(calls) == count
    np.testing.assert_array_equal(first.values, again.values)
    assert again.notes == first.notes
    assert again.site_names == first.site_names
    for name in ("labels", "patients", "sites"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    # Nothing is written beside the patients' tables; what is written is for the owner only.
    assert {path.name for path in folder.iterdir()} == before
    (kept,) = (tmp_path / "kept").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700


def test_the_default_cache_is_the_users(
    make_mimic: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_mimic().write()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of the user"))
    load_mimic3(folder)
    assert len(list((tmp_path / "of the user" / "veilsum").iterdir())) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.user_folder() == tmp_path / "home" / ".cache" / "veilsum"


def test_changed_files_are_read_again(make_mimic: Make, tmp_path: Path) -> None:
    directory = make_mimic()
    folder, kept = directory.write(), tmp_path / "kept"
    keys = {cache.key_of(VERSION, find_tables(folder), synthetic=False)}
    load_mimic3(folder, cache=kept)
    directory.chart(1, 211, 2, 120)
    directory.write()
    assert load_mimic3(folder, cache=kept).column("heart rate max")[0] == 120
    assert len(list(kept.iterdir())) == 2
    keys.add(cache.key_of(VERSION, find_tables(folder), synthetic=False))
    # The same size and time, another content.
    path = folder / "CHARTEVENTS.csv"
    times = path.stat()
    path.write_text(path.read_text().replace(",120,120,", ",121,121,"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert load_mimic3(folder, cache=kept).column("heart rate max")[0] == 121
    keys.add(cache.key_of(VERSION, find_tables(folder), synthetic=False))
    keys.add(cache.key_of("another", find_tables(folder), synthetic=False))
    keys.add(cache.key_of(VERSION, find_tables(folder), synthetic=True))
    assert len(keys) == 5
    moved = folder.rename(tmp_path / "moved")
    assert cache.key_of(VERSION, find_tables(moved), synthetic=False) in keys


def test_the_middle_of_a_large_file_is_known_by_time_and_size(make_mimic: Make) -> None:
    folder = make_mimic().write()
    path = folder / "CHARTEVENTS.csv"
    header, first, *_ = path.read_text().splitlines(keepends=True)
    lines = [header, *[first] * 10_000]

    def key(middle: str, time_ns: int) -> str:
        path.write_text("".join([*lines[:5000], middle, *lines[5000:]]))
        os.utime(path, ns=(time_ns, time_ns))
        return cache.key_of(VERSION, find_tables(folder), synthetic=False)

    once = key(first, 10**18)
    assert path.stat().st_size > 300_000
    assert key(first, 10**18) == once
    assert key(first.replace(",80,", ",81,"), 10**18 + 1) != once
    assert key(first + first, 10**18) != once


def test_a_damaged_cache_is_made_again(make_mimic: Make, tmp_path: Path) -> None:
    folder, kept = make_mimic().write(), tmp_path / "kept"
    study = load_mimic3(folder, cache=kept)
    (path,) = kept.iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (b"", whole[:40], whole[:-1], bytes(flipped), whole + b"x"):
        path.write_bytes(damaged)
        np.testing.assert_array_equal(load_mimic3(folder, cache=kept).values, study.values)
        assert path.read_bytes() != damaged
    # A table kept under another key is not taken for this one.
    other = make_mimic(stays=3, name="other").write()
    theirs = (
        kept / f"mimic3-{cache.key_of(VERSION, find_tables(other), synthetic=False)[:32]}.table"
    )
    theirs.write_bytes(whole)
    assert len(load_mimic3(other, cache=kept)) == 3


def test_a_cache_that_others_could_have_written_is_not_used(
    make_mimic: Make, tmp_path: Path
) -> None:
    folder, kept = make_mimic().write(), tmp_path / "kept"
    load_mimic3(folder, cache=kept)
    key = cache.key_of(VERSION, find_tables(folder), synthetic=False)
    assert cache.read(kept, key) is not None
    (path,) = kept.iterdir()
    path.chmod(0o620)
    assert cache.read(kept, key) is None
    load_mimic3(folder, cache=kept)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_cache_that_cannot_be_is_said_before_the_reading(
    make_mimic: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_mimic().write()
    (tmp_path / "file").write_text("x")
    calls: list[int] = []
    with pytest.raises(OSError, match="file"):
        load_mimic3(folder, cache=tmp_path / "file", progress=lambda *_: calls.append(1))
    with pytest.raises(OSError, match="sub"):
        load_mimic3(folder, cache=tmp_path / "file" / "sub", progress=lambda *_: calls.append(1))
    assert not calls

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_secret", full)
    study = load_mimic3(folder, cache=tmp_path / "kept")
    assert study.notes[-1] == (
        "The prepared table could not be kept in the cache: No space left on device."
    )


def test_an_interrupted_reading_leaves_nothing(make_mimic: Make, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_mimic3(make_mimic().write(), cache=tmp_path / "kept", progress=stop)
    assert not (tmp_path / "kept").exists() or not list((tmp_path / "kept").iterdir())


# Marks, and what may be missing.


def test_synthetic_rows_are_called_so(tmp_path: Path, make_mimic: Make) -> None:
    folder = write_synthetic_mimic(tmp_path / "made", stays=40)
    study = taken_in(folder)
    assert study.synthetic
    assert study.name == SYNTHETIC_NAME
    for text in (study.title, study.source):
        assert "SYNTHETIC" in text
    assert "synthetic" in study.outcome
    assert "synthetic" in study.rows_are
    # Without the marker, the SUBJECT_IDs still tell.
    (folder / SYNTHETIC_MARKER).unlink()
    assert taken_in(folder).synthetic
    # Real-looking ids: only the marker tells.
    real = make_mimic().write()
    assert taken_in(real).name == NAME
    assert not taken_in(real).synthetic
    (real / SYNTHETIC_MARKER).touch()
    assert taken_in(real).synthetic


def test_without_polars_the_extra_is_named(make_mimic: Make) -> None:
    folder = make_mimic().write()
    code = (
        "import sys; sys.modules['polars'] = None\n"
        "import veilsum as vs; from veilsum import data\n"
        f"try: data.load('mimic3', directory={str(folder)!r})\n"
        "except vs.BackendUnavailableError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install '.[mimic]' in Veilsum's repository" in said.stdout


def test_unknown_studies_are_named() -> None:
    with pytest.raises(vs.ParameterError, match="known are flchain, mimic3"):
        data.load("mimic2")


# Memory.

MEASURE = """
import json, re, sys
from pathlib import Path
from veilsum.data.mimic3 import load_mimic3
study = load_mimic3(sys.argv[1], cache=None)
# Not ru_maxrss, which begins with the size of the process that this one was started from.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps([int(peak[1]), study.notes[1]]))
"""


def peak_mib(folder: Path) -> tuple[float, str]:
    """Peak memory of a process that loads a directory, and what it says of it."""
    said = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder)], check=True, capture_output=True, text=True
    )
    kib, note = json.loads(said.stdout)
    return kib / 1024, note


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is a number of Linux")
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    folder = write_synthetic_mimic(tmp_path / "made", stays=500, seed=2)
    path = folder / "CHARTEVENTS.csv.gz"
    header, _, block = gzip.decompress(path.read_bytes()).partition(b"\n")
    rows, member = block.count(b"\n"), gzip.compress(block)

    def repeat(times: int) -> tuple[float, str]:
        with path.open("wb") as file:
            file.write(gzip.compress(header + b"\n"))
            for _ in range(times):
                file.write(member)
        return peak_mib(folder)

    few, _ = repeat(3)
    times = math.ceil(10e6 / rows)
    many, note = repeat(times)
    assert f"{rows * times:,} rows of CHARTEVENTS" in note
    # The text alone of the many is above 1 GB; a piece of it is 16 MiB, three of which exist at
    # once, and allocators keep some more.
    assert rows * times >= 10_000_000
    assert len(block) * times > 1e9
    assert many < few + 128
    assert many < 700
    print(f"\npeak {few:.0f} MiB for {rows * 3:,} rows, {many:.0f} MiB; {note}")
