"""Which stays the study takes in, what is known of each, and why the others are left out.

Data layer, part of the MIMIC-III loader. The rules are those of the benchmark (Harutyunyan et al.
2019): adults, the only stay of its admission, without a transfer between units or wards, of at
least 48 hours. Knows PATIENTS, ADMISSIONS and ICUSTAYS, no events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from veilsum.data.mimic3.cells import holds_something, read_times
from veilsum.data.mimic3.tables import FIRST_ROW, TableFile
from veilsum.errors import ParameterError, WireFormatError

HOURS: Final = 48
ADULT_YEARS: Final = 18
HIDDEN_YEARS: Final = 91.4
"""Stands for every age above 89: MIMIC-III moves those births 300 years back, and tells the median
age of those patients."""

_YEAR_DAYS: Final = 365.2425


@dataclass(frozen=True)
class Cohort:
    """The stays taken in, ordered by ICUSTAY_ID.

    Parameters
    ----------
    hadm, icustay : ndarray of int64
        HADM_ID and ICUSTAY_ID of each stay, to find its events; they go no further.
    patient : ndarray of int64
        Number of the patient, counted from 0; not SUBJECT_ID.
    intime : ndarray of int64
        INTIME in seconds.
    age, male : ndarray of float64
        Years at INTIME; 1 for GENDER M, 0 for F.
    unit : tuple of str
        FIRST_CAREUNIT.
    died : ndarray of int64
        HOSPITAL_EXPIRE_FLAG.
    left_out : tuple of (str, int)
        Rules in the order in which they were applied, with the stays that each left out.
    """

    hadm: NDArray[np.int64]
    icustay: NDArray[np.int64]
    patient: NDArray[np.int64]
    intime: NDArray[np.int64]
    age: NDArray[np.float64]
    male: NDArray[np.float64]
    unit: tuple[str, ...]
    died: NDArray[np.int64]
    left_out: tuple[tuple[str, int], ...]

    def __len__(self) -> int:
        return len(self.hadm)


def select_stays(
    files: dict[str, TableFile],
    patients: pl.DataFrame,
    admissions: pl.DataFrame,
    stays: pl.DataFrame,
) -> Cohort:
    """Apply the rules.

    Parameters
    ----------
    files : dict of TableFile
        For error messages.
    patients, admissions, stays : polars.DataFrame
        PATIENTS, ADMISSIONS and ICUSTAYS, as `read_small` returns them.

    Raises
    ------
    veilsum.ParameterError
        When no stay is left.
    veilsum.WireFormatError
        When a time cannot be read, or an id is there twice.
    """
    for name, frame, key in (
        ("PATIENTS", patients, "SUBJECT_ID"),
        ("ADMISSIONS", admissions, "HADM_ID"),
        ("ICUSTAYS", stays, "ICUSTAY_ID"),
    ):
        if frame[key].null_count() or frame[key].n_unique() < frame.height:
            raise WireFormatError(f"{files[name].path}: {key} is empty or there twice in some row")
    patients = _times(files["PATIENTS"], patients, "DOB")
    stays = _times(files["ICUSTAYS"], stays, "INTIME", "OUTTIME")
    # Counted over all stays, before any is left out: else a transferred stay would make its
    # admission's other one look like the only one.
    stays = stays.with_columns(pl.len().over("HADM_ID").alias("stays_of_admission"))
    table = stays.join(
        admissions.select("SUBJECT_ID", "HADM_ID", "HOSPITAL_EXPIRE_FLAG"),
        on=["SUBJECT_ID", "HADM_ID"],
        how="left",
    ).join(patients, on="SUBJECT_ID", how="left")
    years = (pl.col("INTIME") - pl.col("DOB")).dt.total_days() / _YEAR_DAYS
    hours = pl.coalesce(
        (pl.col("OUTTIME") - pl.col("INTIME")).dt.total_seconds() / 3600, pl.col("LOS") * 24
    )
    # By the calendar: 18 years of 365.2425 days may end a day after the birthday.
    of_age = pl.col("DOB").dt.offset_by(f"{ADULT_YEARS}y") <= pl.col("INTIME")
    table = table.with_columns(
        pl.when(years > 120).then(HIDDEN_YEARS).otherwise(years).alias("age"), hours.alias("hours")
    )
    rules = (
        (
            "of an unknown patient or admission",
            pl.col("HOSPITAL_EXPIRE_FLAG").is_not_null()
            & pl.col("DOB").is_not_null()
            & pl.col("INTIME").is_not_null(),
        ),
        (
            "with a move to another unit or ward",
            (pl.col("FIRST_CAREUNIT") == pl.col("LAST_CAREUNIT"))
            & (pl.col("FIRST_WARDID") == pl.col("LAST_WARDID")),
        ),
        ("not the only one of the admission", pl.col("stays_of_admission") == 1),
        (f"of patients younger than {ADULT_YEARS}", of_age),
        (f"shorter than {HOURS} hours", pl.col("hours") >= HOURS),
    )
    left_out = []
    for rule, keep in rules:
        kept = table.filter(keep.fill_null(False))
        left_out.append((rule, table.height - kept.height))
        table = kept
    if not table.height:
        counts = ", ".join(f"{count} {rule}" for rule, count in left_out)
        raise ParameterError(
            f"{files['ICUSTAYS'].path}: none of {stays.height} stays is left; left out: {counts}"
        )
    table = table.sort("ICUSTAY_ID")
    bad = ~table["HOSPITAL_EXPIRE_FLAG"].is_in([0, 1])
    if bad.any():
        raise WireFormatError(
            f"{files['ADMISSIONS'].path}, column HOSPITAL_EXPIRE_FLAG: must be 0 or 1, got "
            f"{table['HOSPITAL_EXPIRE_FLAG'].filter(bad)[0]}"
        )
    bad = ~table["GENDER"].is_in(["M", "F"]).fill_null(False)
    if bad.any():
        raise WireFormatError(
            f"{files['PATIENTS'].path}, column GENDER: must be M or F, got "
            f"{table['GENDER'].filter(bad)[0]!r}"
        )
    return Cohort(
        hadm=table["HADM_ID"].to_numpy(),
        icustay=table["ICUSTAY_ID"].to_numpy(),
        patient=np.unique(table["SUBJECT_ID"].to_numpy(), return_inverse=True)[1].astype(np.int64),
        intime=table["INTIME"].dt.epoch("s").to_numpy().astype(np.int64),
        age=table["age"].to_numpy().astype(np.float64),
        male=(table["GENDER"] == "M").to_numpy().astype(np.float64),
        unit=tuple(table["FIRST_CAREUNIT"].to_list()),
        died=table["HOSPITAL_EXPIRE_FLAG"].to_numpy().astype(np.int64),
        left_out=tuple(left_out),
    )


def _times(file: TableFile, frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    for column in columns:
        parsed = read_times(frame[column])
        bad = (parsed.is_null() & holds_something(frame[column])).arg_true()
        if len(bad):
            raise WireFormatError(
                f"{file.path}, row {FIRST_ROW + bad[0]}, column {column}: "
                f"{frame[column][bad[0]][:40]!r} is no time like 2101-10-20 19:08:00"
            )
        frame = frame.with_columns(parsed.alias(column))
    return frame
