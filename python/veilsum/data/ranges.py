"""What is public of a table's columns: kind, range and levels, from a file that people write.

Data layer. Ranges must come from knowledge, not from rows: whatever was read off the rows would
tell of them. So nothing here looks at a row; `template` reads a table's header alone.

A file of ranges is TOML, a table a column::

    [age]
    low = 0
    high = 120

or CSV, a row a column, with the same words as columns (`column,kind,low,high,log,missing,levels,
unit,meaning`), yes or no in `log` and `missing`, and levels separated by "|".

    python -m veilsum.data.ranges rows.csv > ranges.csv     # a template with the table's columns
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veilsum.arguments import shown, type_name
from veilsum.data.table import open_table, table_header
from veilsum.errors import ParameterError, WireFormatError
from veilsum.options import read_toml

KINDS = ("numeric", "binary", "categorical", "ignore")

_FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": False}


@dataclass(frozen=True)
class Column:
    """One column of a table, as its owners describe it.

    Parameters
    ----------
    column : str
        Its name.
    kind : {"numeric", "binary", "categorical", "ignore"}
        A number; 0 or 1; one of `levels`; or nothing that a model should see.
    low, high : float or None
        Of a number: its plausible range, in its own unit.
    log : bool
        Whether a model sees its logarithm; needs low > 0.
    missing : bool
        Whether cells may be empty.
    levels : tuple of str
        Of a categorical column: everything that a cell may say.
    unit : str
        Of a number; empty for none.
    meaning : str
        One line for reports.
    """

    column: str
    kind: str = "numeric"
    low: float | None = None
    high: float | None = None
    log: bool = False
    missing: bool = False
    levels: tuple[str, ...] = ()
    unit: str = ""
    meaning: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ParameterError(
                f"column {self.column}: kind is {shown(self.kind)}; must be one of "
                f"{', '.join(KINDS)}"
            )
        if self.kind == "numeric":
            self._check_range()
        elif self.low is not None or self.high is not None or self.log:
            raise ParameterError(
                f'column {self.column} is {self.kind}; low, high and log are for kind = "numeric"'
            )
        if self.kind == "categorical":
            if len(self.levels) < 2 or len(set(self.levels)) < len(self.levels):
                raise ParameterError(
                    f"column {self.column} has {len(self.levels)} levels, or one twice; a "
                    "categorical column needs two different ones at least: all that a cell may say"
                )
        elif self.levels:
            raise ParameterError(
                f'column {self.column} is {self.kind}; levels are for kind = "categorical"'
            )

    @property
    def ends(self) -> tuple[float, float]:
        """The range of a number; 0 and 1 of anything else."""
        low, high = self.low, self.high
        return (0.0, 1.0) if low is None or high is None else (low, high)

    def _check_range(self) -> None:
        low, high = self.low, self.high
        if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
            raise ParameterError(
                f"column {self.column} has no range: fill in low and high, plausible ends from "
                "general knowledge and not from the rows"
            )
        if not low < high:
            raise ParameterError(
                f"column {self.column}: range {shown(low)} to {shown(high)} is empty"
            )
        if self.log and low <= 0:
            raise ParameterError(
                f"column {self.column}: a logarithm needs a range above 0, got low = {shown(low)}"
            )


_FIELDS = tuple(field.name for field in dataclasses.fields(Column))


def read_ranges(path: str | Path) -> dict[str, Column]:
    """Read a file of ranges.

    Parameters
    ----------
    path : str or Path
        A .toml or .csv file.

    Returns
    -------
    dict of str to Column
        Each column by its name, in the file's order.

    Raises
    ------
    veilsum.ParameterError
        When an entry is not as the module says; the message names file and column.
    veilsum.WireFormatError
        When the file is no table.
    OSError
        When it cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() == ".toml":
        entries = [_from_toml(path, *item) for item in read_toml(path).items()]
    else:
        entries = _csv_entries(path)
    found: dict[str, Column] = {}
    for entry in entries:
        name = entry["column"]
        if name in found:
            raise ParameterError(f"{path}: column {name} is there twice")
        try:
            found[name] = Column(**entry)
        except ParameterError as reason:
            raise ParameterError(f"{path}: {reason}") from None
    return found


def template(columns: Iterable[str]) -> str:
    """Return a file of ranges to fill in, as CSV.

    Parameters
    ----------
    columns : iterable of str
        A table's columns.
    """
    blank = "numeric" + "," * (len(_FIELDS) - 2)
    return "\n".join([",".join(_FIELDS), *(f"{_quoted(name)},{blank}" for name in columns), ""])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\r\n') else name


def _from_toml(path: Path, name: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise ParameterError(
            f"{path}: {name} stands outside of the columns; write [{name}] and its range below it"
        )
    entry: dict[str, Any] = {"column": name}
    for key, value in values.items():
        if key not in _FIELDS[1:]:
            raise ParameterError(
                f"{path}: column {name} has an unknown entry {key}; known are "
                f"{', '.join(_FIELDS[1:])}"
            )
        entry[key] = _converted(f"{path}: column {name}: {key}", key, value)
    return entry


def _converted(where: str, key: str, value: Any) -> Any:
    if key in ("low", "high"):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ParameterError(f"{where} is {shown(value)}; must be a number")
        return float(value)
    if key in ("log", "missing"):
        if not isinstance(value, bool):
            raise ParameterError(f"{where} is {shown(value)}; must be true or false")
        return value
    if key == "levels":
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ParameterError(f"{where} is {type_name(value)}; must be a list of texts")
        return tuple(value)
    if not isinstance(value, str):
        raise ParameterError(f"{where} is {shown(value)}; must be a text")
    return value


def _csv_entries(path: Path) -> list[dict[str, Any]]:
    entries = []
    with open_table(path) as table:
        unknown = [name for name in table.columns if name and name not in _FIELDS]
        if unknown or "column" not in table.columns:
            raise ParameterError(
                f"{path} is no file of ranges: it has columns {', '.join(table.columns)}; must be "
                f"of {', '.join(_FIELDS)}"
            )
        for row, cells in table.rows():
            given = dict(zip(table.columns, cells, strict=True))
            entry: dict[str, Any] = {"column": given["column"]}
            if not entry["column"]:
                raise ParameterError(f"{path}, row {row}: column is empty; it must name a column")
            for key, cell in given.items():
                where = f"{path}, row {row}, column {key}"
                if key in ("low", "high") and cell:
                    entry[key] = _number(where, cell)
                elif key in ("log", "missing"):
                    if cell.lower() not in _FLAGS:
                        raise ParameterError(f"{where}: {cell[:40]!r} is neither yes nor no")
                    entry[key] = _FLAGS[cell.lower()]
                elif key == "levels":
                    entry[key] = tuple(one.strip() for one in cell.split("|")) if cell else ()
                elif key in ("kind", "unit", "meaning") and cell:
                    entry[key] = cell
            entries.append(entry)
    return entries


def _number(where: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ParameterError(f"{where}: {cell[:40]!r} is not a number") from None


def main(arguments: list[str]) -> int:
    """Print a template for a table's columns.

    Parameters
    ----------
    arguments : list of str
        The table's file.

    Returns
    -------
    int
        0, or 2 when there is no such table.
    """
    if len(arguments) != 1:
        print("usage: python -m veilsum.data.ranges TABLE.csv > ranges.csv", file=sys.stderr)
        return 2
    try:
        print(template(name for name in table_header(arguments[0]) if name), end="")
    except (WireFormatError, ParameterError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
