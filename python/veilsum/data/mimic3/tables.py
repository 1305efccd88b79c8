"""The tables of a MIMIC-III directory: found, checked, and read in pieces of bounded size.

Data layer, bottom of the MIMIC-III loader: files, columns and cells, nothing of what they mean.
CHARTEVENTS has 330 million rows (35 GB unpacked), so a table is never held as a whole: one piece of
text is unpacked ahead, in a second thread, while another is parsed. polars' own readers hold all of
an unpacked .gz file.

What a file holds is not trusted: a wrong column, cell or an early end is a `WireFormatError` that
names file, row and column.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl

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

PIECE_BYTES: Final = 16 << 20
_LONGEST_QUOTE: Final = 4  # pieces that one quoted cell may span
_KIND: Final[dict[pl.DataType, str]] = {INT: "a whole number", REAL: "a number"}


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
            raise WireFormatError(
                f"{path} has no column {column}; MIMIC-III 1.4 has it in {name}, this file has "
                f"{', '.join(columns) if text else 'no header'}"
            )
    if len(set(columns)) < len(columns):
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
    header = ",".join(f'"{column}"' for column in table.columns).encode() + b"\n"
    row = 2  # as an editor counts the first row of data
    with _open(table.path) as file, ThreadPoolExecutor(1) as reader:
        texts = _texts(table.path, file, size or PIECE_BYTES, len(table.columns))
        ahead = reader.submit(next, texts, None)
        while (text := ahead.result()) is not None:
            done = _position(file)
            ahead = reader.submit(next, texts, None)
            frame = _parse(table, header, text, row)
            row += frame.height
            yield frame
            if progress is not None:
                progress(done)


def _texts(path: Path, file: BinaryIO, size: int, columns: int) -> Iterator[bytes]:
    """Cut a file behind its header into texts that end where a row does."""
    _guard(path, lambda: file.readline(1 << 16))
    rest = b""
    while True:
        data = _guard(path, lambda: file.read(size))
        if not data:
            break
        rest += data
        end = _last_row_end(rest)
        if end:
            yield rest[:end]
            rest = rest[end:]
        elif len(rest) > _LONGEST_QUOTE * size:
            raise WireFormatError(
                f"{path}: no row ends within {len(rest)} bytes; the file is no CSV, or a quotation "
                "mark is never closed"
            )
    if rest.strip():
        if _last_row_end(rest + b"\n") == 0:
            raise WireFormatError(f"{path} ends inside a quoted cell: it is not whole")
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


def _parse(table: TableFile, header: bytes, text: bytes, row: int) -> pl.DataFrame:
    wanted = COLUMNS[table.name]
    try:
        frame = pl.read_csv(
            header + text,
            columns=list(wanted),
            schema_overrides=wanted,
            infer_schema_length=0,
            encoding="utf8-lossy",
            raise_if_empty=False,
        )
    except pl.exceptions.PolarsError as error:
        raise _explain(table, header, text, row) or WireFormatError(
            f"{table.path}, rows from {row}: {str(error).splitlines()[0]}"
        ) from None
    return frame.select(list(wanted))


def _explain(table: TableFile, header: bytes, text: bytes, row: int) -> WireFormatError | None:
    """Find the cell that could not be parsed, reading it all as text once more."""
    wanted = COLUMNS[table.name]
    try:
        frame = pl.read_csv(
            header + text,
            columns=list(wanted),
            infer_schema_length=0,
            encoding="utf8-lossy",
            truncate_ragged_lines=True,
        )
    except pl.exceptions.PolarsError:
        return None
    for column, kind in wanted.items():
        if kind == TEXT:
            continue
        bad = frame[column].is_not_null() & frame[column].cast(kind, strict=False).is_null()
        if bad.any():
            where = bad.arg_max() or 0
            # A cell of a patient table is shown shortened: it is the user's own file.
            return WireFormatError(
                f"{table.path}, row {row + where}, column {column}: {frame[column][where][:40]!r} "
                f"is not {_KIND[kind]}"
            )
    return None


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
