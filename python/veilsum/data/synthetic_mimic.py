"""Writes a made-up directory in the schema of MIMIC-III, to try the loader without the real one.

Data layer; `python -m veilsum.data.synthetic_mimic DIRECTORY` for users, `write_synthetic_mimic`
for tests. Needs NumPy only. No number in it comes from a patient: severities are drawn, vital signs
follow them, and death follows them too, so that there is something to learn.

It has what makes the real tables laborious: two charting systems with their own item ids, mixed
units, scores in words, values typed wrong, rows marked as errors, repeated rows, missing variables,
stays that the cohort's rules leave out, ages moved by 300 years. A marker file and SUBJECT_IDs far
above the real ones make the loader call it synthetic everywhere.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from veilsum.arguments import shown
from veilsum.data.mimic3 import SYNTHETIC_MARKER, SYNTHETIC_SUBJECTS
from veilsum.data.mimic3.variables import ITEMS, LEFT_OUT_ITEMS, Item
from veilsum.errors import ParameterError, named_failures, one_line

HEADERS: Final[dict[str, str]] = {
    "PATIENTS": "ROW_ID,SUBJECT_ID,GENDER,DOB,DOD,DOD_HOSP,DOD_SSN,EXPIRE_FLAG",
    "ADMISSIONS": (
        "ROW_ID,SUBJECT_ID,HADM_ID,ADMITTIME,DISCHTIME,DEATHTIME,ADMISSION_TYPE,"
        "ADMISSION_LOCATION,DISCHARGE_LOCATION,INSURANCE,LANGUAGE,RELIGION,MARITAL_STATUS,"
        "ETHNICITY,EDREGTIME,EDOUTTIME,DIAGNOSIS,HOSPITAL_EXPIRE_FLAG,HAS_CHARTEVENTS_DATA"
    ),
    "ICUSTAYS": (
        "ROW_ID,SUBJECT_ID,HADM_ID,ICUSTAY_ID,DBSOURCE,FIRST_CAREUNIT,LAST_CAREUNIT,"
        "FIRST_WARDID,LAST_WARDID,INTIME,OUTTIME,LOS"
    ),
    "CHARTEVENTS": (
        "ROW_ID,SUBJECT_ID,HADM_ID,ICUSTAY_ID,ITEMID,CHARTTIME,STORETIME,CGID,VALUE,VALUENUM,"
        "VALUEUOM,WARNING,ERROR,RESULTSTATUS,STOPPED"
    ),
    "LABEVENTS": "ROW_ID,SUBJECT_ID,HADM_ID,ITEMID,CHARTTIME,VALUE,VALUENUM,VALUEUOM,FLAG",
    "D_ITEMS": (
        "ROW_ID,ITEMID,LABEL,ABBREVIATION,DBSOURCE,LINKSTO,CATEGORY,UNITNAME,PARAM_TYPE,CONCEPTID"
    ),
    "D_LABITEMS": "ROW_ID,ITEMID,LABEL,FLUID,CATEGORY,LOINC_CODE",
}
"""Columns of MIMIC-III 1.4, in its order."""

CARE_UNITS: Final = ("MICU", "SICU", "CCU", "CSRU", "TSICU")
_UNIT_SHARES: Final = (0.38, 0.19, 0.14, 0.17, 0.12)
#: How sick the units' patients are on average, in standard deviations.
_UNIT_SEVERITY: Final = (0.5, 0.0, 0.1, -0.8, -0.2)

#: Mean, change with severity, spread between hours, in the variables' own units.
_COURSE: Final[dict[str, tuple[float, float, float]]] = {
    "diastolic bp": (60, -5, 8),
    "fio2": (0.45, 0.09, 0.05),
    "glucose": (135, 16, 25),
    "heart rate": (85, 9, 7),
    "height": (169, 0, 0),
    "mean bp": (78, -6, 8),
    "oxygen saturation": (97, -1.0, 1.2),
    "respiratory rate": (19, 2.4, 3),
    "systolic bp": (118, -10, 11),
    "temperature": (37.0, 0.15, 0.4),
    "weight": (82, 0, 0.6),
    "ph": (7.39, -0.04, 0.03),
}
_EVERY_HOURS: Final[dict[str, int]] = {
    "capillary refill": 8, "fio2": 4, "gcs eye": 4, "gcs motor": 4, "gcs verbal": 4,
    "gcs total": 4, "glucose": 6, "height": 48, "weight": 24, "temperature": 4, "ph": 8,
}  # fmt: skip
_NEVER: Final[dict[str, float]] = {
    "capillary refill": 0.3, "fio2": 0.3, "height": 0.35, "ph": 0.25, "weight": 0.1,
}  # fmt: skip
_WORDS: Final[dict[tuple[str, bool], tuple[str, ...]]] = {
    # By variable and whether CareVue: the words of the scores 1, 2, ...
    ("gcs eye", True): ("1 No Response", "2 To pain", "3 To speech", "4 Spontaneously"),
    ("gcs eye", False): ("None", "To Pain", "To Speech", "Spontaneously"),
    ("gcs motor", True): (
        "1 No Response", "2 Abnorm extensn", "3 Abnorm flexion", "4 Flex-withdraws",
        "5 Localizes Pain", "6 Obeys Commands",
    ),
    ("gcs motor", False): (
        "No response", "Abnormal extension", "Abnormal Flexion", "Flex-withdraws",
        "Localizes Pain", "Obeys Commands",
    ),
    ("gcs verbal", True): (
        "1.0 ET/Trach", "2 Incomp sounds", "3 Inapprop words", "4 Confused", "5 Oriented",
    ),
    ("gcs verbal", False): (
        "No Response-ETT", "Incomprehensible sounds", "Inappropriate Words", "Confused",
        "Oriented",
    ),
}  # fmt: skip
_UOM: Final[dict[str, str]] = {
    "mmHg": "mmHg", "mg/dl": "mg/dL", "beats/min": "bpm", "breaths/min": "insp/min", "%": "%",
    "°C": "?C", "°F": "?F", "in": "Inch", "cm": "cm", "kg": "kg",
}  # fmt: skip


@dataclass(frozen=True)
class _Stay:
    subject: int
    hadm: int
    icustay: int
    carevue: bool
    unit: str
    last_unit: str
    ward: int
    last_ward: int
    intime: datetime
    hours: float
    severity: float
    died: bool


def write_synthetic_mimic(
    directory: str | Path,
    *,
    stays: int = 600,
    seed: int = 1,
    compressed: bool = True,
    lower_case: bool = False,
) -> Path:
    """Write the seven tables and the marker file.

    Parameters
    ----------
    directory : str or Path
        An empty folder, or one that does not exist yet.
    stays : int
        Stays in ICUSTAYS; the cohort's rules leave out about a quarter of them.
    seed : int
        The same seed writes the same rows.
    compressed : bool
        Whether to write .csv.gz, as MIMIC-III is distributed, or .csv.
    lower_case : bool
        Whether columns have lower-case names, as in the open demo.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    veilsum.ParameterError
        When the folder is not empty, or there would be fewer than 20 stays.
    OSError
        When a file cannot be written.
    """
    directory = Path(directory)
    if stays < 20:
        raise ParameterError(
            f"stays is {shown(stays)}; must be at least 20, to have every kind of them"
        )
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise ParameterError(
            f"{directory} is not empty; synthetic tables are never written among other files"
        )
    # First, so that no moment exists in which tables stand there unmarked.
    (directory / SYNTHETIC_MARKER).write_text(
        "SYNTHETIC. These tables were made up by veilsum.data.synthetic_mimic\n"
        f"(stays = {stays}, seed = {seed}). No patient is in them. Veilsum calls every study made\n"
        "from this folder synthetic because this file is here. Do not mix with real tables.\n",
        encoding="utf-8",
    )
    generator = np.random.default_rng(seed)
    made = _make_stays(stays, generator)
    charted, measured = _split(_events(made, generator))
    tables: dict[str, Iterable[Sequence[object]]] = {
        "PATIENTS": _patients(made, generator),
        "ADMISSIONS": _admissions(made),
        "ICUSTAYS": _icustays(made),
        "D_ITEMS": _d_items(),
        "D_LABITEMS": _d_labitems(),
        "CHARTEVENTS": charted,
        "LABEVENTS": measured,
    }
    for name, rows in tables.items():
        path = directory / f"{name}.csv{'.gz' if compressed else ''}"
        with named_failures(path), _open(path) as file:
            write_table(file, name, rows, lower_case=lower_case)
    return directory


def write_table(
    file: TextIO, name: str, rows: Iterable[Sequence[object]], *, lower_case: bool = False
) -> None:
    """Write one table as MIMIC-III does: quoted text, bare numbers, nothing for missing.

    Parameters
    ----------
    file : text file
        Where to.
    name : str
        The table's name.
    rows : iterable of sequence
        Its rows without ROW_ID, None for missing.
    lower_case : bool
        Whether columns have lower-case names.
    """
    header = HEADERS[name].lower() if lower_case else HEADERS[name]
    # The demo's header is bare; the release's is quoted.
    file.write((header if lower_case else ",".join(f'"{c}"' for c in header.split(","))) + "\n")
    writer = csv.writer(file, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
    for number, row in enumerate(rows, 1):
        writer.writerow([number, *("" if cell is None else cell for cell in row)])


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        # Without name and time in the header, the same rows are the same bytes.
        packed = gzip.GzipFile(path, "wb", compresslevel=6, mtime=0)
        return io.TextIOWrapper(packed, encoding="utf-8", newline="")
    return path.open("w", encoding="utf-8", newline="")


def _make_stays(count: int, generator: np.random.Generator) -> list[_Stay]:
    made: list[_Stay] = []
    subject = SYNTHETIC_SUBJECTS
    hadm, icustay = 100_000, 200_000
    while len(made) < count:
        # One in eight is another admission of the last patient, one in twelve another stay of the
        # last admission.
        again = len(made) > 0 and not made[-1].died and generator.random() < 1 / 8
        same_admission = len(made) > 0 and not again and generator.random() < 1 / 12
        if not same_admission:
            hadm += 1
            subject += 0 if again else 1
        icustay += 1
        which = int(generator.choice(len(CARE_UNITS), p=_UNIT_SHARES))
        unit = CARE_UNITS[which]
        severity = _UNIT_SEVERITY[which] + float(generator.standard_normal())
        moved = generator.random() < 1 / 20
        last = CARE_UNITS[(which + 1) % len(CARE_UNITS)] if moved else unit
        ward = 10 + which
        start = datetime(2101 + int(generator.integers(0, 99)), 1, 1) + timedelta(
            seconds=int(generator.integers(0, 365 * 86400))
        )
        if again or same_admission:
            start = made[-1].intime + timedelta(hours=made[-1].hours + 24)
        short = generator.random() < 1 / 9
        hours = float(generator.uniform(4, 47) if short else 49 + generator.exponential(60))
        chance = 1 / (1 + np.exp(-(1.6 * severity - 2.6)))
        made.append(
            _Stay(
                subject=subject,
                hadm=hadm,
                icustay=icustay,
                carevue=bool(generator.random() < 0.55),
                unit=unit,
                last_unit=last,
                ward=ward,
                last_ward=ward + 30 if generator.random() < 1 / 40 else ward,
                intime=start,
                hours=hours,
                severity=severity,
                died=bool(generator.random() < chance),
            )
        )
    return made


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S")


def _patients(stays: list[_Stay], generator: np.random.Generator) -> Iterator[list[object]]:
    seen: set[int] = set()
    for stay in stays:
        if stay.subject in seen:
            continue
        seen.add(stay.subject)
        age = float(np.clip(generator.normal(63 + 5 * stay.severity, 15), 19, 89))
        kind = generator.random()
        if kind < 0.05:
            age = 300.0  # older than 89
        elif kind < 0.08:
            age = 0.01  # newborn
        elif kind < 0.1:
            age = 15.0
        dob = (stay.intime - timedelta(days=age * 365.2425)).replace(hour=0, minute=0, second=0)
        gender = "M" if generator.random() < 0.56 else "F"
        yield [stay.subject, gender, _time(dob), None, None, None, int(stay.died)]


def _admissions(stays: list[_Stay]) -> Iterator[list[object]]:
    of_admission: dict[int, list[_Stay]] = {}
    for stay in stays:
        of_admission.setdefault(stay.hadm, []).append(stay)
    for hadm, its in of_admission.items():
        first, last = its[0], its[-1]
        end = last.intime + timedelta(hours=last.hours + 12)
        yield [
            first.subject, hadm, _time(first.intime - timedelta(hours=6)), _time(end),
            _time(end) if last.died else None, "EMERGENCY", "EMERGENCY ROOM ADMIT",
            "DEAD/EXPIRED" if last.died else "HOME", "Private", "ENGL", None, None,
            "UNKNOWN/NOT SPECIFIED", None, None, "SYNTHETIC, MADE UP", int(last.died), 1,
        ]  # fmt: skip


def _icustays(stays: list[_Stay]) -> Iterator[list[object]]:
    for stay in stays:
        yield [
            stay.subject, stay.hadm, stay.icustay, "carevue" if stay.carevue else "metavision",
            stay.unit, stay.last_unit, stay.ward, stay.last_ward, _time(stay.intime),
            _time(stay.intime + timedelta(hours=stay.hours)), round(stay.hours / 24, 4),
        ]  # fmt: skip


def _d_items() -> Iterator[list[object]]:
    for item in ITEMS:
        if item.table == "CHARTEVENTS":
            yield [
                item.itemid, item.label, None, item.system.lower(), "chartevents", None,
                _UOM.get(item.unit), "Numeric", None,
            ]  # fmt: skip
    yield [5820, "SpO2 Alarm [Low]", None, "carevue", "chartevents", None, None, None, None]


def _d_labitems() -> Iterator[list[object]]:
    for item in ITEMS:
        if item.table == "LABEVENTS":
            yield [item.itemid, item.label, "Blood", "Chemistry", None]
    for itemid, label, _ in LEFT_OUT_ITEMS:
        if itemid >= 50000:
            yield [itemid, label, "Urine", "Chemistry", None]


Event = tuple[str, list[object]]


def _split(events: Iterable[Event]) -> tuple[list[list[object]], list[list[object]]]:
    charted: list[list[object]] = []
    measured: list[list[object]] = []
    for table, row in events:
        (charted if table == "CHARTEVENTS" else measured).append(row)
    return charted, measured


def _events(stays: list[_Stay], generator: np.random.Generator) -> Iterator[Event]:
    # Of each variable and system, a few of its items, so that all units occur.
    chartable: dict[tuple[str, str], list[Item]] = {}
    for item in ITEMS:
        chartable.setdefault((item.variable, item.system), []).append(item)
    for stay in stays:
        system = "CareVue" if stay.carevue else "MetaVision"
        until = min(stay.hours, 60.0)
        for variable in dict.fromkeys(item.variable for item in ITEMS):
            if generator.random() < _NEVER.get(variable, 0.02):
                continue
            items = list(chartable.get((variable, system), []))
            items += chartable.get((variable, "laboratory"), [])
            if not items:
                continue
            # A patient's height does not change from hour to hour.
            own = float(generator.standard_normal())
            hour = float(generator.uniform(0, 1))
            while hour < until:
                item = items[int(generator.integers(len(items)))]
                yield from _chart(stay, item, own, hour, generator)
                hour += _EVERY_HOURS.get(variable, 1) * float(generator.uniform(0.8, 1.2))
        yield "CHARTEVENTS", _row(stay, 5820, 1.0, "85", 85.0, "%")


def _chart(
    stay: _Stay, item: Item, own: float, hour: float, generator: np.random.Generator
) -> Iterator[Event]:
    """Make one event, now and then wrong in one of the ways that charts are."""
    value, number, unit = _value(stay, item, own, generator)
    if item.table == "LABEVENTS":
        hadm = stay.hadm if generator.random() > 0.03 else None
        when = _time(stay.intime + timedelta(hours=hour))
        yield "LABEVENTS", [stay.subject, hadm, item.itemid, when, value, number, unit, None]
        return
    chance = generator.random()
    error = None
    if chance < 0.005:  # typed wrong
        value, number = "99999", 99999.0
    elif chance < 0.01:
        error = 1
    elif chance < 0.013:
        value, number = "ERROR", None
    row = _row(stay, item.itemid, hour, value, number, unit, error)
    yield "CHARTEVENTS", row
    if 0.02 < chance < 0.05:
        yield "CHARTEVENTS", list(row)


def _row(
    stay: _Stay,
    itemid: int,
    hour: float,
    value: str,
    number: float | None,
    unit: str | None,
    error: int | None = None,
) -> list[object]:
    when = stay.intime + timedelta(hours=hour)
    # MetaVision marks errors with 0 or 1, CareVue leaves the column empty.
    flag = error if stay.carevue or error else 0
    return [
        stay.subject, stay.hadm, stay.icustay, itemid, _time(when),
        _time(when + timedelta(minutes=20)), 17525, value, number, unit,
        None if stay.carevue else 0, flag, None, "NotStopd" if stay.carevue else None,
    ]  # fmt: skip


def _value(
    stay: _Stay, item: Item, own: float, generator: np.random.Generator
) -> tuple[str, float | None, str | None]:
    """Return VALUE, VALUENUM and VALUEUOM of one event."""
    noise = float(generator.standard_normal())
    sick = stay.severity + 0.6 * noise
    if item.variable == "capillary refill":
        slow = sick > 1.3
        if item.system == "CareVue":
            return ("Delayed" if slow else "Brisk"), None, None
        return ("Abnormal >3 Seconds" if slow else "Normal <3 Seconds"), None, None
    if item.variable.startswith("gcs"):
        if item.variable == "gcs total":
            total = int(np.clip(round(14 - 2.2 * sick), 3, 15))
            return str(total), float(total), "points"
        words = _WORDS[item.variable, item.system == "CareVue"]
        score = int(np.clip(round(len(words) - 0.7 * max(sick, 0.0)), 1, len(words)))
        return words[score - 1], float(score) if item.system == "CareVue" else None, None
    mean, change, spread = _COURSE[item.variable]
    between = {"height": 9.0, "weight": 14.0}.get(item.variable, spread)
    value = mean + change * stay.severity + between * own + spread * noise
    if item.variable == "oxygen saturation":
        value = min(value, 100.0)
    elif item.variable == "fio2":
        value = float(np.clip(value, 0.21, 1.0))
    value = _in_charted_unit(item, value, generator)
    value = round(value, 3 if item.variable in ("fio2", "ph") else 1)
    return f"{value:g}", value, _UOM.get(item.unit)


def _in_charted_unit(item: Item, value: float, generator: np.random.Generator) -> float:
    if item.unit == "°F":
        return value * 9 / 5 + 32
    if item.unit == "lb":
        return value / 0.45359237
    if item.unit == "in":
        return value / 2.54
    if item.variable == "fio2":
        return value if generator.random() < 0.5 else value * 100
    if item.variable == "oxygen saturation" and generator.random() < 0.01:
        return value / 100
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Write a directory from the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m veilsum.data.synthetic_mimic",
        description="Write a made-up directory in the schema of MIMIC-III.",
    )
    parser.add_argument("directory", type=Path, help="an empty folder, or one to be made")
    parser.add_argument("--stays", type=int, default=600, help="rows of ICUSTAYS (default: 600)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="write .csv instead of .csv.gz")
    options = parser.parse_args(argv)
    # A folder's name may have characters that the terminal's encoding lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        folder = write_synthetic_mimic(
            options.directory, stays=options.stays, seed=options.seed, compressed=not options.plain
        )
    except (ParameterError, OSError) as error:
        print(f"synthetic_mimic: error: {one_line(error)}", file=sys.stderr)
        return 3 if isinstance(error, ParameterError) else 4
    print(f"SYNTHETIC tables in the schema of MIMIC-III: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
