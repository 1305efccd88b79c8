"""Data sets for the training loop, with every column's meaning and public range.

Above the crypto API and below the federated loop: loaders return a `Study`, splits turn it into
held-out rows and clouds, and preprocessing turns each cloud's rows into a model's inputs with
statistics that come from sums alone. Nothing here knows of keys, rounds or networks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from veilsum.arguments import shown
from veilsum.data.preprocess import MAX_ROWS, Moments, Preprocessor, local_moments
from veilsum.data.splits import (
    held_out_rows,
    imbalanced_shares,
    rows_by_dirichlet,
    rows_by_order,
    rows_of_clouds,
    rows_of_sites,
)
from veilsum.data.study import Feature, Study

__all__ = [
    "MAX_ROWS",
    "STUDIES",
    "Feature",
    "Moments",
    "Preprocessor",
    "Study",
    "held_out_rows",
    "imbalanced_shares",
    "load",
    "local_moments",
    "rows_by_dirichlet",
    "rows_by_order",
    "rows_of_clouds",
    "rows_of_sites",
]


STUDIES = ("flchain", "mimic3", "csv")
"""Names that `load` knows."""


def load(
    name: str,
    *,
    directory: str | Path = "",
    cache: str | Path | None = "",
    progress: Callable[[int, int], None] | None = None,
    path: str | Path = "",
    label: str = "",
    site: str = "",
    ranges: str | Path = "",
) -> Study:
    """Load a study by name.

    Parameters
    ----------
    name : str
        "flchain", "mimic3" or "csv".
    directory : str or Path
        For mimic3: the folder with MIMIC-III's CSV files.
    cache : str, Path or None
        For mimic3: folder for the prepared table; empty for the user's cache folder, None for no
        cache.
    progress : callable or None
        For mimic3: called with (bytes read, bytes in all).
    path : str or Path
        For csv: the table.
    label : str
        For csv: the outcome's column.
    site : str
        For csv: the column that says where each row comes from; empty for none.
    ranges : str or Path
        For csv: the file of the columns' public ranges.

    Returns
    -------
    Study
        The whole study, all rows.

    Raises
    ------
    veilsum.ParameterError
        When no study has this name, or the directory or a table of it is missing.
    veilsum.WireFormatError
        When a table is not what it should be.
    veilsum.BackendUnavailableError
        When a package that the study needs is not installed.
    OSError
        When a file cannot be read or written.
    """
    from veilsum.errors import ParameterError

    if name == "flchain":
        from veilsum.data.flchain import load_flchain

        return load_flchain()
    if name == "mimic3":
        from veilsum.data.mimic3 import load_mimic3

        return load_mimic3(directory, cache=cache, progress=progress)
    if name == "csv":
        from veilsum.data.csv_study import load_csv

        return load_csv(path, label=label, site=site, ranges=ranges)
    raise ParameterError(f"no study is called {shown(name)}; known are {', '.join(STUDIES)}")
