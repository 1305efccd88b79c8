"""The tables of a MIMIC-III directory: found, checked, and read in pieces of bounded size.

Data layer, bottom of the MIMIC-III loader: files, columns and cells, nothing of what they mean.
CHARTEVENTS has 330 million rows (35 GB unpacked), so a table is never held as a whole: one piece of
text is unpacked ahead, in a second thread, while another is parsed. polars' own readers hold all of
an unpacked .gz file.

What a file holds is not trusted: a wrong column, cell or an early end is a `WireFormatError` that
names file, row and column. Tables that another program saved once ("0.0" for 0, NULL for nothing)
mean the same and are read.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl

from veilsum.data.mimic3.cells import holds_something
from veilsum.data.missing import MISSING_TEXT
from veilsum.errors import ParameterError, WireFormatError

INT: Final[pl.DataType] = pl.Int64()
REAL: Final[pl.DataType] = pl.Float64()
TEXT: Final[pl.DataType] = pl.String()

#: Columns that are read, of each table.
COLUMNS: Final[dict[str, dict[str, pl.DataType]]] = {
    "PATIENTS": {"SUBJECT_ID": INT, "GENDER": TEXT, "DOB": TEXT},
    "ADMISSIONS": {"SUBJECT_ID": INT, "HADM_ID": INT, "HOSPITAL_EXPIRE_FLAG": INT},
    "ICUSTAYS": {
        "SUBJECT_ID": INT,
        "HADM_ID": INT,
        "ICUSTAY_ID": INT,
        "FIRST_CAREUNIT": TEXT,
        "LAST_CAREUNIT": TEXT,
        "FIRST_WARDID": INT,
        "LAST_WARDID": INT,
        "INTIME": TEXT,
        "OUTTIME": TEXT,
        "LOS": REAL,
    },
    "CHARTEVENTS": {
        "HADM_ID": INT,
        "ICUSTAY_ID": INT,
        "ITEMID": INT,
        "CHARTTIME": TEXT,
        "VALUE": TEXT,
        "VALUENUM": REAL,
        "VALUEUOM": TEXT,
        "ERROR": INT,
    },
    "LABEVENTS": {
        "HADM_ID": INT,
        "ITEMID": INT,
        "CHARTTIME": TEXT,
        "VALUE": TEXT,
        "VALUENUM": REAL,
        "VALUEUOM": TEXT,
    },
    "D_ITEMS": {"ITEMID": INT, "LABEL": TEXT},
    "D_LABITEMS": {"ITEMID": INT, "LABEL": TEXT},
}

EVENTS: Final = ("CHARTEVENTS", "LABEVENTS")
"""The tables of more rows than can be held."""

PIECE_BYTES: Final = 16 << 20
_LONGEST_QUOTE: Final = 4  # pieces that one quoted cell may span
FIRST_ROW: Final = 2  # of data, as an editor counts: behind the header
_KIND: Final[dict[pl.DataType, str]] = {INT: "a whole number", REAL: "a number"}
_WHOLE: Final = r"^([+-]?\d+)(?:\.0*)?$"
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True)
class TableFile:
    """One table of the directory.

    Parameters
    ----------
    name : str
        In upper case, without a suffix.
    path : Path
        The file.
    columns : tuple of str
        The file's columns, in upper case, in order.
    """

    name: str
    path: Path
    columns: tuple[str, ...]


def find_tables(directory: Path) -> dict[str, TableFile]:
    """Find every table and check its columns, before anything slow begins.

    Parameters
    ----------
    directory : Path
        The MIMIC-III directory.

    Raises
    ------
    veilsum.ParameterError
        When it is no directory or lacks a table.
    veilsum.WireFormatError
        When a table lacks a column.
    OSError
        When a file cannot be read.
    """
    if not directory.is_dir():
        what = "is a file, not a directory" if directory.exists() else "does not exist"
        raise ParameterError(
            f"{directory} {what}; give the directory with MIMIC-III's CSV files "
            "(docs/data.md says how to get it)"
        )
    files = {entry.name.upper(): entry for entry in sorted(directory.iterdir()) if entry.is_file()}
    found = {}
    for name in COLUMNS:
        # The unpacked file wins: it is read faster, and whoever has both unpacked it.
        path = files.get(f"{name}.CSV") or files.get(f"{name}.CSV.GZ")
        if path is None:
            there = [table for table in COLUMNS if {f"{table}.CSV", f"{table}.CSV.GZ"} & set(files)]
            raise ParameterError(
                f"{directory} has no table {name} (looked for {name}.csv and {name}.csv.gz, in "
                f"upper or lower case); of MIMIC-III's tables it has {', '.join(there) or 'none'}"
            )
        found[name] = TableFile(name, path, _header(name, path))
    return found


def _header(name: str, path: Path) -> tuple[str, ...]:
    with _open(path) as file:
        line = _guard(path, lambda: file.readline(1 << 16))
    text = line.decode("utf-8-sig", errors="replace").strip()
    columns = tuple(cell.strip().strip('"').upper() for cell in text.split(","))
    for column in COLUMNS[name]:
        if column not in columns:
            how = "; its cells must be separated by commas" if len(columns) == 1 and text else ""
            raise WireFormatError(
                f"{path} has no column {column}; MIMIC-III 1.4 has it in {name}, this file has "
                f"{', '.join(columns) if text else 'no header'}{how}"
            )
    # Only of those that are read: other programs put numbers of rows into columns without a name.
    if any(columns.count(column) > 1 for column in COLUMNS[name]):
        raise WireFormatError(f"{path} has a column twice: {', '.join(columns)}")
    return columns


def read_small(table: TableFile) -> pl.DataFrame:
    """Read a whole table; for the tables of patients, stays and items.

    Parameters
    ----------
    table : TableFile
        The table.

    Raises
    ------
    veilsum.WireFormatError, OSError
        As `pieces`.
    """
    frames = list(pieces(table))
    if not frames:
        raise WireFormatError(f"{table.path} has a header but no rows")
    return pl.concat(frames)


def pieces(
    table: TableFile, progress: Callable[[int], None] | None = None, size: int | None = None
) -> Iterator[pl.DataFrame]:
    """Read a table's columns of interest in pieces of whole rows.

    Parameters
    ----------
    table : TableFile
        The table.
    progress : callable or None
        Called after each piece with the bytes of the file that were read so far.
    size : int or None
        Bytes of unpacked text a piece, about; `PIECE_BYTES` by default.

    Yields
    ------
    polars.DataFrame
        With the columns of `COLUMNS`, in order.

    Raises
    ------
    veilsum.WireFormatError
        When a row or cell is not what it should be, or the file ends early.
    OSError
        When the file cannot be read.
    """
    header = ",".join(f'"{column}"' for column in _names(table)).encode() + b"\n"
    row, quickly = FIRST_ROW, True
    with _open(table.path) as file, ThreadPoolExecutor(1) as reader:
        texts = _texts(table.path, file, size or PIECE_BYTES, len(table.columns))
        ahead = reader.submit(next, texts, None)
        while (text := ahead.result()) is not None:
            done = _position(file)
            ahead = reader.submit(next, texts, None)
            frame = _parse_quickly(table, header, text) if quickly else None
            if frame is None:
                # What one piece needs, the others need too.
                quickly = False
                frame = _parse_slowly(table, header, text, row)
            _refuse_swallowed_rows(table, text, row, frame.height)
            row += frame.height
            yield frame
            if progress is not None:
                progress(done)


def _texts(path: Path, file: BinaryIO, size: int, columns: int) -> Iterator[bytes]:
    """Cut a file behind its header into texts that end where a row does."""
    _guard(path, lambda: file.readline(1 << 16))
    rest, row = b"", FIRST_ROW
    while True:
        data = _guard(path, lambda: file.read(size))
        if not data:
            break
        rest += data
        end = _last_row_end(rest)
        if end:
            yield rest[:end]
            row += rest.count(b"\n", 0, end)
            rest = rest[end:]
        elif len(rest) > _LONGEST_QUOTE * size:
            raise WireFormatError(
                f"{path}, from row {row}: no row ends within {len(rest)} bytes; the file is no "
                "CSV, or a quotation mark is never closed"
            )
    if rest.strip():
        if _last_row_end(rest + b"\n") == 0:
            raise WireFormatError(
                f"{path} ends inside a quoted cell, which begins in row {row} or later: the file "
                "is not whole, or a quotation mark too much is in it"
            )
        # Pieces end where rows do, so this is one row whose line is not ended: whole, or cut off.
        cells = len(next(csv.reader(io.StringIO(rest.decode(errors="replace"), newline=""))))
        if cells < columns:
            raise WireFormatError(
                f"{path} ends inside a row: {cells} cells of {columns}; it is not whole"
            )
        yield rest


def _last_row_end(text: bytes) -> int:
    """Return where the last whole row of a text ends, that begins with a row; 0 for nowhere."""
    end = text.rfind(b"\n") + 1
    while end and text.count(b'"', 0, end) % 2:
        # Inside quotes: the row ends before the quotation mark that opened them.
        end = text.rfind(b"\n", 0, text.rfind(b'"', 0, end)) + 1
    return end


def _names(table: TableFile) -> list[str]:
    """Return the table's columns with a name of its own for each that is not read."""
    wanted = COLUMNS[table.name]
    return [column if column in wanted else f"unread {i}" for i, column in enumerate(table.columns)]


def _read_csv(table: TableFile, text: bytes, **how: Any) -> pl.DataFrame:
    return pl.read_csv(
        text,
        columns=list(COLUMNS[table.name]),
        infer_schema_length=0,
        encoding="utf8-lossy",
        raise_if_empty=False,
        **how,
    ).select(list(COLUMNS[table.name]))


def _parse_quickly(table: TableFile, header: bytes, text: bytes) -> pl.DataFrame | None:
    """Parse a piece as MIMIC-III writes it; None where it holds anything else."""
    try:
        frame = _read_csv(table, header + text, schema_overrides=COLUMNS[table.name])
    except pl.exceptions.PolarsError:
        return None
    return _without_missing_texts(table, frame)


def _parse_slowly(table: TableFile, header: bytes, text: bytes, row: int) -> pl.DataFrame:
    """Parse a piece as text, and then each cell; the first that is wrong is named."""
    try:
        return _without_missing_texts(table, _numbers(table, _read_csv(table, header + text), row))
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
    stray = _stray_quote(text, len(table.columns))
    if stray is not None:
        raise _quotation_mark(table, row + stray[0], stray[1])
    with contextlib.suppress(pl.exceptions.PolarsError):
        # A row with a cell too many: its cells stand under wrong names, which shows in some column.
        _numbers(table, _read_csv(table, header + text, truncate_ragged_lines=True), row)
    raise WireFormatError(f"{table.path}, rows from {row}: {reason}")


def _numbers(table: TableFile, frame: pl.DataFrame, row: int) -> pl.DataFrame:
    for column, kind in COLUMNS[table.name].items():
        if kind == TEXT:
            continue
        cells = frame[column].str.strip_chars()
        digits = cells.str.extract(_WHOLE) if kind == INT else cells
        numbers = digits.cast(kind, strict=False)
        bad = (numbers.is_null() & holds_something(cells)).arg_true()
        if len(bad):
            # A cell of a patient table is shown shortened: it is the user's own file.
            cell = cells[bad[0]][:40]
            comma = " (a decimal comma: save the table with decimal points)"
            raise WireFormatError(
                f"{table.path}, row {row + bad[0]}, column {column}: {cell!r} is not {_KIND[kind]}"
                f"{comma if _DECIMAL_COMMA.fullmatch(cell) else ''}"
            )
        frame = frame.with_columns(numbers.alias(column))
    return frame


def _without_missing_texts(table: TableFile, frame: pl.DataFrame) -> pl.DataFrame:
    # What events hold is judged cell by cell later on; there are too many of them to do it twice.
    if table.name in EVENTS:
        return frame
    texts = [column for column, kind in COLUMNS[table.name].items() if kind == TEXT]
    return frame.with_columns(
        pl.when(~pl.col(column).is_in(list(MISSING_TEXT))).then(pl.col(column)).alias(column)
        for column in texts
    )


def _refuse_swallowed_rows(table: TableFile, text: bytes, row: int, height: int) -> None:
    """Find rows that a stray quotation mark made part of a cell: valid CSV, but not the table."""
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    if height >= lines:
        return
    # Some cell holds the end of a line; that alone is no fault.
    stray = _stray_quote(text, len(table.columns))
    if stray is not None:
        raise _quotation_mark(table, row + stray[0], stray[1])


def _stray_quote(text: bytes, columns: int) -> tuple[int, str] | None:
    """Find the first cell over several lines that is none: its line, and how it begins.

    Such a cell holds enough commas for a whole row, or its quotation marks do not stand at the ends
    of a cell.
    """
    line = at = 0
    for found in re.finditer(rb'"[^"]*"', text):
        cell = found[0]
        if b"\n" not in cell:
            continue
        before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
        whole = before in (b"", b",", b"\n", b'"') and after in (b"", b",", b"\r", b"\n", b'"')
        if not whole or cell.count(b",") >= columns - 1:
            line += text.count(b"\n", at, found.start())
            return line, cell[:40].decode(errors="replace")
        line, at = line + text.count(b"\n", at, found.end()), found.end()
    return None


def _quotation_mark(table: TableFile, row: int, cell: str) -> WireFormatError:
    return WireFormatError(
        f"{table.path}, row {row}: the quoted cell that begins with {cell!r} holds whole rows; a "
        "quotation mark is missing there, or one too many"
    )


def read_bytes(tables: list[TableFile]) -> int:
    """Return the size of some tables' files, the total that `pieces` reports progress towards.

    Parameters
    ----------
    tables : list of TableFile
        The tables.
    """
    return sum(table.path.stat().st_size for table in tables)


def _open(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


def _position(file: BinaryIO) -> int:
    """Return how far a file was read, packed bytes for a packed one."""
    packed = getattr(file, "fileobj", None)
    return int((packed or file).tell())


def _guard(path: Path, read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise WireFormatError(
            f"{path} is not a whole .gz file ({error}); download it again and compare its "
            "checksum with SHA256SUMS.txt"
        ) from None
