"""What a cell of a table may hold besides its value: words for "missing", and forms of a time.

Data layer, bottom of the MIMIC-III loader. MIMIC-III writes nothing for missing and one form of a
time; a table that was saved once by another program has that program's forms. Knows columns of
text and nothing of what they mean.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from veilsum.data.missing import MISSING

_TIME: Final = "%Y-%m-%d %H:%M:%S"

#: ISO 8601, extended: date; "T" or a space; hours and minutes; seconds and their fraction; UTC.
_ISO: Final = (
    r"^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(?::(\d{2})(?:[.,]\d+)?)?)?"
    r"(?: ?(?:[Zz]|UTC|[+-]00:?00))?$"
)


def holds_something(column: pl.Series) -> pl.Series:
    """Say of each cell whether it is neither empty nor a word for "missing".

    Parameters
    ----------
    column : polars.Series of String
        The cells.
    """
    return column.is_not_null() & ~column.str.strip_chars().is_in(list(MISSING)).fill_null(True)


def read_times(column: pl.Series) -> pl.Series:
    """Read times: MIMIC-III's form, other ISO forms, a date alone as its midnight.

    Fractions of a second are cut off. Times have no zone, as MIMIC-III's; "Z" and "+00:00" add
    nothing to that, and any other offset is no such time.

    Parameters
    ----------
    column : polars.Series of String
        The cells.

    Returns
    -------
    polars.Series of Datetime
        Null where there is no time.
    """
    times = column.str.to_datetime(_TIME, time_unit="us", strict=False)
    left = (times.is_null() & column.is_not_null()).arg_true()
    if not len(left):
        return times
    # Only the others, because nearly all cells of nearly all tables have the one form.
    others = pl.DataFrame({"cell": column.gather(left).str.strip_chars()})
    date, minutes, seconds = (pl.col("cell").str.extract(_ISO, group) for group in (1, 2, 3))
    whole = pl.concat_str(
        date, pl.lit(" "), minutes.fill_null("00:00"), pl.lit(":"), seconds.fill_null("00")
    )
    read = others.select(whole.str.to_datetime(_TIME, time_unit="us", strict=False)).to_series()
    return times.scatter(left, read)
