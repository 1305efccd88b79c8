"""From a MIMIC-III directory to a `Study`: files, cohort, events, summaries, cache.

Data layer, top of the MIMIC-III loader. The parts below it do the work; this module puts them in
order and says in the study's notes what was read, used and dropped.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from veilsum.data.mimic3 import cache as stored
from veilsum.data.mimic3.cohort import HIDDEN_YEARS, HOURS, Cohort, select_stays
from veilsum.data.mimic3.grid import SUMMARIES, Grid
from veilsum.data.mimic3.made_up import SYNTHETIC_MARKER, SYNTHETIC_SUBJECTS
from veilsum.data.mimic3.tables import (
    EVENTS,
    FIRST_ROW,
    TableFile,
    find_tables,
    pieces,
    read_bytes,
    read_small,
)
from veilsum.data.mimic3.variables import ITEMS, VARIABLES
from veilsum.data.study import Feature, Study
from veilsum.errors import ParameterError, WireFormatError

VERSION: Final = "2"
"""Raised whenever the same files would give another study."""

NAME: Final = "mimic3"
SYNTHETIC_NAME: Final = "mimic3-synthetic"
_SOURCE: Final = (
    "Johnson et al., Scientific Data 3:160035 (2016), MIMIC-III Clinical Database on PhysioNet; "
    "cohort and variables after Harutyunyan et al., Scientific Data 6:96 (2019)"
)
_SUMMARY_WORDS: Final = {
    "mean": "mean of the hours' last values",
    "min": "lowest value",
    "max": "highest value",
    "last": "last value",
}


def features() -> tuple[Feature, ...]:
    """Return the study's features: age, sex, and each variable's summaries of the first 48 hours.

    A variable that was never measured lacks all four of its summaries, so they share an indicator.
    """
    found = [
        Feature(
            "age",
            "numeric",
            18,
            100,
            unit="years",
            meaning=f"age at the start of the stay; {HIDDEN_YEARS} stands for all above 89",
        ),
        Feature("male", "binary", 0, 1, meaning="1 for male"),
    ]
    for variable in VARIABLES:
        first = f"{variable.name} {SUMMARIES[0]}"
        found += [
            Feature(
                f"{variable.name} {summary}",
                "numeric",
                *variable.plausible,
                log=variable.log,
                may_be_missing=True,
                unit=variable.unit,
                meaning=f"{variable.meaning}: {_SUMMARY_WORDS[summary]}",
                missing_with="" if summary == SUMMARIES[0] else first,
            )
            for summary in SUMMARIES
        ]
    return tuple(found)


def load(
    directory: Path, *, cache: str | Path | None, progress: Callable[[int, int], None] | None
) -> Study:
    """Do what `veilsum.data.mimic3.load_mimic3` says.

    Parameters
    ----------
    directory : Path
        As there.
    cache : str, Path or None
        As there.
    progress : callable or None
        As there.
    """
    tables = find_tables(directory)
    marked = (directory / SYNTHETIC_MARKER).exists()
    if cache is None:
        return _study(_prepare(tables, marked, progress))
    folder = Path(cache).expanduser() if str(cache) else stored.user_folder()
    key = stored.key_of(VERSION, tables, marked)
    prepared = stored.read(folder, key)
    if prepared is None:
        # Before the minutes of reading, not after them.
        stored.make_folder(folder)
        prepared = _prepare(tables, marked, progress)
        try:
            stored.write(folder, key, prepared)
        except OSError as error:
            # A full disk must not cost the result as well.
            prepared[1]["notes"].append(
                f"The prepared table could not be kept in the cache: {error.strerror or error}."
            )
    return _study(prepared)


def _prepare(
    tables: dict[str, TableFile], marked: bool, progress: Callable[[int, int], None] | None
) -> stored.Prepared:
    """Read the files; this is what takes minutes and is kept."""
    started = time.monotonic()
    notes = _check_items(tables)
    patients = read_small(tables["PATIENTS"])
    stays = read_small(tables["ICUSTAYS"])
    cohort = select_stays(tables, patients, read_small(tables["ADMISSIONS"]), stays)
    first = patients["SUBJECT_ID"].min()
    made_up = marked or (isinstance(first, int) and first >= SYNTHETIC_SUBJECTS)
    grid = Grid(cohort)
    events = [tables[name] for name in EVENTS]
    total, before = read_bytes(events), 0
    for table in events:

        def report(done: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        row = FIRST_ROW
        for piece in pieces(table, report):
            grid.add(table.name, piece, row)
            row += piece.height
        # A fault of a whole column must not become a note about dropped rows.
        fault = grid.fault(table.name)
        if fault:
            raise WireFormatError(f"{table.path}, {fault}")
        before += read_bytes([table])
    names = sorted(set(cohort.unit))
    number = {name: i for i, name in enumerate(names)}
    summaries = grid.summaries()
    arrays = {
        "values": np.column_stack([cohort.age, cohort.male, summaries]),
        "labels": cohort.died,
        "patients": cohort.patient,
        "sites": np.array([number[unit] for unit in cohort.unit], dtype=np.int64),
    }
    # The benchmark leaves out stays without any value in these hours.
    some = ~np.isnan(summaries).all(axis=1)
    if not some.any():
        for table in events:
            fault = grid.fault(table.name, any_at_all=True)
            if fault:
                raise WireFormatError(f"{table.path}, {fault}")
        raise ParameterError(
            f"{tables['CHARTEVENTS'].path} and {tables['LABEVENTS'].path} hold no value of any of "
            f"the {len(cohort)} stays: do all tables come from one release?"
        )
    arrays = {name: array[some] for name, array in arrays.items()}
    seconds = time.monotonic() - started
    described = {
        "site_names": names,
        "synthetic": made_up,
        "notes": [
            _about_stays(stays.height, cohort, int((~some).sum())),
            *_about_events(grid, seconds),
            *notes,
        ],
    }
    return arrays, described


def _study(prepared: stored.Prepared) -> Study:
    arrays, described = prepared
    synthetic = bool(described["synthetic"])
    return Study(
        name=SYNTHETIC_NAME if synthetic else NAME,
        title=(
            "SYNTHETIC data in the schema of MIMIC-III: made-up numbers, no patient is in it"
            if synthetic
            else "In-hospital mortality from the first 48 hours of intensive care"
        ),
        source=(
            "SYNTHETIC: written by veilsum.data.synthetic_mimic; results say nothing about medicine"
            if synthetic
            else _SOURCE
        ),
        features=features(),
        values=arrays["values"],
        labels=arrays["labels"],
        outcome="death in hospital" + (" (synthetic)" if synthetic else ""),
        rows_are="synthetic stays" if synthetic else "intensive-care stays",
        synthetic=synthetic,
        notes=tuple(described["notes"]),
        patients=arrays["patients"],
        sites=arrays["sites"],
        site_names=tuple(described["site_names"]),
        left_out=(
            ("diagnoses, procedures, notes", "known or written after the first 48 hours"),
            ("length of stay", "known only after the outcome"),
            ("ethnicity, insurance, marital status, religion, language", "not among the variables"),
        ),
    )


def _check_items(tables: dict[str, TableFile]) -> list[str]:
    """Hold our table of items against the directory's own; differences become notes."""
    notes = []
    for name, events in (("D_ITEMS", "CHARTEVENTS"), ("D_LABITEMS", "LABEVENTS")):
        frame = read_small(tables[name])
        labels = dict(frame.select("ITEMID", "LABEL").iter_rows())
        mine = [item for item in ITEMS if item.table == events]
        unknown = [item for item in mine if item.itemid not in labels]
        if len(unknown) == len(mine):
            raise ParameterError(
                f"{tables[name].path}, column ITEMID: none of the {len(mine)} items that the 17 "
                "variables are made of is there; this is not MIMIC-III 1.4"
            )
        if unknown:
            listed = ", ".join(f"{item.itemid} ({item.label})" for item in unknown)
            notes.append(f"{name} does not know these items, so they add nothing: {listed}.")
        renamed = [
            f"{item.itemid} is {labels[item.itemid]!r} and not {item.label!r}"
            for item in mine
            if item.itemid in labels and _plain(labels[item.itemid]) != _plain(item.label)
        ]
        if renamed:
            notes.append(
                f"{name} names some items in other words; check that they mean the same: "
                + "; ".join(renamed)
                + "."
            )
    return notes


def _plain(label: str | None) -> str:
    return re.sub(r"[^a-z0-9#]+", " ", (label or "").lower()).strip()


def _about_stays(all_stays: int, cohort: Cohort, empty: int) -> str:
    reasons = [f"{count:,} {name}" for name, count in cohort.left_out]
    reasons.append(f"{empty:,} without a value in the first {HOURS} hours")
    return (
        f"{len(cohort) - empty:,} of {all_stays:,} stays are taken in; left out, in this order: "
        f"{', '.join(reasons)}."
    )


def _about_events(grid: Grid, seconds: float) -> list[str]:
    counts = grid.counts
    rows = counts["CHARTEVENTS rows"] + counts["LABEVENTS rows"]
    dropped = (
        "named another stay than its admission's",
        "laboratory rows outside of any admission",
        "marked as an error",
        "without a time that can be read",
        f"before or after the first {HOURS} hours",
        "unreadable",
        "impossible",
    )
    notes = [
        f"{counts['CHARTEVENTS rows']:,} rows of CHARTEVENTS and {counts['LABEVENTS rows']:,} of "
        f"LABEVENTS were read in {seconds:,.0f} s ({rows / max(seconds, 1e-9) / 1e6:.2g} million "
        f"rows a second); {counts['used']:,} values were used, {counts['bounded']:,} of them set "
        "to the end of their plausible range.",
        "Values dropped: " + ", ".join(f"{counts[name]:,} {name}" for name in dropped) + ".",
    ]
    odd = [
        f"{name} {', '.join(f'{mine[what]:,} {what}' for what in _ODD if mine[what])}"
        for name, mine in grid.of_variable.items()
        if any(mine[what] for what in _ODD)
    ]
    if odd:
        notes.append("Of each variable: " + "; ".join(odd) + ".")
    return notes


_ODD: Final = ("unreadable", "impossible", "bounded")
