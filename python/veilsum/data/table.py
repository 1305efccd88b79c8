"""A .csv file as rows of cells, and what is wrong with it by row.

Data layer, bottom. Text in, text out: nothing of what cells mean. What a file holds is not trusted:
an early end, a row of another length or bytes that are no text are a `WireFormatError` with file
and row. Rows are counted as a spreadsheet does, from 1, the header's.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from veilsum.errors import ParameterError, WireFormatError

FIRST_ROW = 2
"""The first one with data."""


class Table:
    """A table that is open; made by `open_table`.

    Parameters
    ----------
    path : Path
        The file, for messages.
    text : file
        Its text.

    Raises
    ------
    veilsum.WireFormatError
        When it has no header, or a column twice.
    """

    def __init__(self, path: Path, text: IO[str]) -> None:
        self._path = path
        self._reader = csv.reader(text, strict=True)
        with self._named(1):
            header = next(self._reader, None)
        if not header:
            raise WireFormatError(f"{path} has no header: its first row must name the columns")
        self.columns = tuple(cell.strip() for cell in header)
        if len(self.columns) == 1 and any(sign in self.columns[0] for sign in ";\t|"):
            raise WireFormatError(
                f"{path} has one column, {self.columns[0][:40]!r}; its cells must be separated by "
                "commas"
            )
        twice = {name for name in self.columns if name and self.columns.count(name) > 1}
        if twice:
            raise WireFormatError(f"{path} has column {min(twice)} twice")

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row's number and its cells, without the spaces around them.

        Raises
        ------
        veilsum.WireFormatError
            When a row has more or fewer cells than there are columns, or the file ends early.
        """
        row = FIRST_ROW
        while True:
            with self._named(row):
                cells = next(self._reader, None)
            if cells is None:
                return
            if cells:  # an empty line is no row, but counts as one
                if len(cells) != len(self.columns):
                    raise WireFormatError(
                        f"{self._path}, row {row} has {len(cells)} cells; the header has "
                        f"{len(self.columns)}"
                    )
                yield row, [cell.strip() for cell in cells]
            row += 1

    @contextmanager
    def _named(self, row: int) -> Iterator[None]:
        try:
            yield
        except csv.Error as error:
            raise WireFormatError(
                f"{self._path}, row {row} is no row of a CSV file ({error}); a quotation mark is "
                "missing there, or one too many"
            ) from None
        except UnicodeDecodeError:
            raise WireFormatError(
                f"{self._path}, row {row} or later: bytes that are not UTF-8; save the file with "
                "that encoding"
            ) from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise WireFormatError(f"{self._path} is not a whole .gz file ({error})") from None


@contextmanager
def open_table(path: str | Path) -> Iterator[Table]:
    """Open a table and read its header.

    Parameters
    ----------
    path : str or Path
        A .csv or .csv.gz file.

    Yields
    ------
    Table
        To be read once.

    Raises
    ------
    veilsum.ParameterError
        When there is no such file.
    veilsum.WireFormatError
        When it is no table.
    OSError
        When it cannot be read.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise ParameterError(f"{path} {what}; give a .csv or .csv.gz file")
    packed = path.suffix.lower() == ".gz"
    with (
        gzip.open(path, "rb") if packed else path.open("rb") as data,
        # Some programs put a byte order mark before UTF-8.
        io.TextIOWrapper(data, encoding="utf-8-sig", newline="") as text,
    ):
        yield Table(path, text)


def table_header(path: str | Path) -> tuple[str, ...]:
    """Return a table's columns.

    Parameters
    ----------
    path : str or Path
        As for `open_table`, which also says what is raised.
    """
    with open_table(path) as table:
        return table.columns
