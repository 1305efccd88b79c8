"""`data.study = "csv"`: a study from a table of the user's own.

Data layer. The label's column says whether the outcome is yes or no (0 and 1), one of several
classes (a categorical column) or a number; a site's column which cloud each row is of. What is
public of the columns comes from a file of ranges (`ranges.py`), and a column that has none is an
error. A cell that is not what its column says is one too, with file, row and value.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from veilsum.data.missing import MISSING, MISSING_TEXT
from veilsum.data.ranges import Column, read_ranges
from veilsum.data.study import Feature, Study
from veilsum.data.table import open_table
from veilsum.errors import ParameterError, WireFormatError

_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+")
_YES_NO: Final = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}
_NAN: Final = float("nan")

#: From a cell to its number; raises ValueError with the end of a sentence.
_Reader = Callable[[str], float]


def load_csv(path: str | Path, *, label: str, ranges: str | Path, site: str = "") -> Study:
    """Read a table and the file of its columns' ranges.

    Parameters
    ----------
    path : str or Path
        A .csv or .csv.gz file with a header.
    label : str
        The outcome's column. It is 0 or 1 unless the ranges say otherwise: kind "categorical" makes
        a class of each level, "numeric" a number of it.
    ranges : str or Path
        The file of ranges. Every column of the table must be in it, but for the site's; kind
        "ignore" leaves one out.
    site : str
        The column that says where each row comes from; empty for none.

    Returns
    -------
    Study
        One row a row. A categorical column is a column a level, and one for missing cells where
        there may be any.

    Raises
    ------
    veilsum.ParameterError
        When a file, a column or a range is missing.
    veilsum.WireFormatError
        When a cell is not what its column says, or the file is no table.
    OSError
        When a file cannot be read.
    """
    path = Path(path).expanduser()
    with open_table(path) as table:
        _check_columns(path, table.columns, label, site)
        known = _ranges(path, ranges, table.columns, label, site)
        outcome = known.pop(label)
        features: list[Feature] = []
        readers: list[tuple[int, Column, _Reader]] = []
        for column in known.values():
            if column.kind != "ignore":
                features += _features(column)
                readers.append((table.columns.index(column.column), column, _reader(column)))
        _check_features(path, features)
        read_outcome, outcome_at = _reader(outcome), table.columns.index(label)
        site_at = table.columns.index(site) if site else None
        columns = [array("d") for _ in readers]
        outcomes = array("d")
        places: list[str] = []
        for row, cells in table.rows():
            for values, (at, column, read) in zip(columns, readers, strict=True):
                values.append(_read(path, row, column, cells[at], read))
            outcomes.append(_read(path, row, outcome, cells[outcome_at], read_outcome))
            if site_at is not None:
                if not cells[site_at]:
                    raise WireFormatError(f"{path}, row {row}, column {site}: the site is empty")
                places.append(cells[site_at])
    if not outcomes:
        raise WireFormatError(f"{path} has a header but no rows")
    known_values = [
        (column, np.array(values)) for (_, column, _), values in zip(readers, columns, strict=True)
    ]
    site_names = tuple(sorted(set(places)))
    numbers = np.array(outcomes)
    number = outcome.kind == "numeric"
    return Study(
        name=re.sub(r"[^A-Za-z0-9_-]+", "-", path.name.partition(".")[0]) or "table",
        title=f"{label}, from {path.name}",
        source=path.name,
        features=tuple(features),
        values=np.column_stack([part for one in known_values for part in _parts(*one)]),
        labels=np.zeros(len(numbers), np.int64) if number else numbers.astype(np.int64),
        outcome=_meaning(outcome),
        left_out=tuple(
            (column.column, 'kind = "ignore" in the file of ranges')
            for column in known.values()
            if column.kind == "ignore"
        ),
        rows_are="rows",
        notes=tuple(note for one in known_values for note in _beyond(*one)),
        sites=np.searchsorted(site_names, places).astype(np.int64) if site else None,
        site_names=site_names,
        classes=outcome.levels if len(outcome.levels) > 2 else (),
        target=_features(outcome)[0] if number else None,
        numbers=numbers if number else None,
    )


def _meaning(outcome: Column) -> str:
    said = outcome.meaning or outcome.column
    return f"{said}: {outcome.levels[1]}" if len(outcome.levels) == 2 else said


def _check_columns(path: Path, columns: tuple[str, ...], label: str, site: str) -> None:
    for option, name in (("data.label", label), ("data.site", site)):
        if name and name not in columns:
            raise ParameterError(
                f"{option} is {name!r}, but {path} has no such column; it has "
                f"{', '.join(column for column in columns if column)}"
            )
    if label == site:
        raise ParameterError(f"data.label and data.site are both {label!r}; give two columns")


def _ranges(
    path: Path, ranges: str | Path, columns: tuple[str, ...], label: str, site: str
) -> dict[str, Column]:
    """Return the description of each column but the site's, the label's among them."""
    help_ = (
        "ranges come from general knowledge, not from the rows; a template with the table's "
        f"columns: python -m veilsum.data.ranges {path}"
    )
    ranges = Path(ranges).expanduser()
    if not ranges.is_file():
        raise ParameterError(f"the file of ranges {ranges} does not exist: {help_}")
    known = read_ranges(ranges)
    # Other programs put row numbers into a column without a name.
    named = [column for column in columns if column and column != site]
    lacking = [column for column in named if column not in known and column != label]
    if lacking:
        raise ParameterError(
            f"{ranges} has no range of {', '.join(lacking)}, which {path} has: {help_}"
        )
    strange = [column for column in known if column not in columns]
    if strange:
        raise ParameterError(f"{ranges} describes {', '.join(strange)}, which {path} does not have")
    found = {column: known.get(column) or Column(column, "binary") for column in named}
    if found[label].kind == "ignore":
        raise ParameterError(f'{ranges}: the label {label} cannot be of kind "ignore"')
    if found[label].missing:
        raise ParameterError(
            f"{ranges}: the label {label} may not be missing; leave such rows out of the table"
        )
    return found


def _features(column: Column) -> list[Feature]:
    """Return what a model sees of a column."""
    if column.kind == "categorical":
        meaning = column.meaning or column.column
        levels = [
            Feature(f"{column.column}={level}", "binary", 0, 1, meaning=f"1: {meaning} is {level}")
            for level in column.levels
        ]
        if column.missing:
            levels.append(
                Feature(
                    f"{column.column} missing", "binary", 0, 1, meaning=f"1: {meaning} is not known"
                )
            )
        return levels
    return [
        Feature(
            column.column,
            "binary" if column.kind == "binary" else "numeric",
            *column.ends,
            log=column.log,
            may_be_missing=column.missing,
            unit=column.unit,
            meaning=column.meaning,
        )
    ]


def _check_features(path: Path, features: list[Feature]) -> None:
    names = [feature.name for feature in features]
    if not names:
        raise ParameterError(f"{path} has no column that a model could learn from")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ParameterError(
            f"{path}: the levels of a column and another column both make an input called "
            f"{min(twice)}; rename one of them"
        )


def _parts(column: Column, values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the values of `_features`."""
    if column.kind != "categorical":
        return [values]
    levels = [(values == i).astype(np.float64) for i in range(len(column.levels))]
    return [*levels, np.isnan(values).astype(np.float64)] if column.missing else levels


def _beyond(column: Column, values: NDArray[np.float64]) -> list[str]:
    """Say how many values are outside of the public range: they are taken for its ends."""
    if column.kind != "numeric":
        return []
    low, high = column.ends
    count = int(((values < low) | (values > high)).sum())
    if not count:
        return []
    return [
        f"{column.column}: {count} of {len(values)} values are beyond the public range "
        f"{low:g} to {high:g} and taken for its ends"
    ]


def _read(path: Path, row: int, column: Column, cell: str, read: _Reader) -> float:
    try:
        return read(cell)
    except ValueError as reason:
        # A cell of a patient table is shown shortened: it is the user's own file.
        raise WireFormatError(
            f"{path}, row {row}, column {column.column}: {cell[:40]!r} {reason}"
        ) from None


def _reader(column: Column) -> _Reader:
    if column.kind == "categorical":
        numbers = {level: float(i) for i, level in enumerate(column.levels)}
        for word in ("", *MISSING_TEXT):
            numbers.setdefault(word, _NAN)
        said = ", ".join(column.levels)
    elif column.kind == "binary":
        numbers, said = _YES_NO | dict.fromkeys(MISSING, _NAN), ""
    else:
        numbers, said = dict.fromkeys(MISSING, _NAN), ""

    def read(cell: str) -> float:
        found = numbers.get(cell)
        if found is None:
            if column.kind == "categorical":
                raise ValueError(f"is none of its levels ({said}); add it to them")
            if column.kind == "binary":
                found = _YES_NO.get(cell.lower())
                if found is None:
                    raise ValueError(
                        "is neither 0 nor 1; of a column with other words, the kind is "
                        '"categorical", of one with other numbers, "numeric"'
                    )
                return found
            return _number(cell)
        if math.isnan(found) and not column.missing:
            raise ValueError(
                "stands for a missing value; allow it with missing = true in the file of ranges, "
                "or leave the row out"
            )
        return found

    return read


def _number(cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        comma = (
            " (a decimal comma: save the table with decimal points)"
            if _DECIMAL_COMMA.fullmatch(cell)
            else ""
        )
        raise ValueError(f"is not a number{comma}") from None
    # Python reads 1_000 as a number, which no table means.
    if "_" in cell or not math.isfinite(number):
        raise ValueError("is not a finite number")
    return number
