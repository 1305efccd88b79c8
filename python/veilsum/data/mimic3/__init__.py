"""MIMIC-III: in-hospital mortality from the first 48 hours of an intensive-care stay.

Data layer. `load_mimic3` reads the official directory of CSV files and returns a `Study` with one
row a stay. Importing this package is cheap: polars, the extra that reads the files, is loaded by
the loader. Nothing here knows of keys, rounds or networks.

The rows of MIMIC-III are not part of this package and may not be redistributed; docs/data.md says
how to get them. `veilsum.data.synthetic_mimic` writes a made-up directory in the same schema.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from veilsum.data.mimic3.made_up import SYNTHETIC_MARKER, SYNTHETIC_SUBJECTS
from veilsum.data.study import Study
from veilsum.errors import missing_extra

__all__ = ["SYNTHETIC_MARKER", "SYNTHETIC_SUBJECTS", "load_mimic3"]


def load_mimic3(
    directory: str | Path,
    *,
    cache: str | Path | None = "",
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Read a MIMIC-III directory, or the result of an earlier reading of the same files.

    Parameters
    ----------
    directory : str or Path
        With PATIENTS, ADMISSIONS, ICUSTAYS, CHARTEVENTS, LABEVENTS, D_ITEMS and D_LABITEMS, each
        as .csv or .csv.gz, names in upper or lower case.
    cache : str, Path or None
        Folder for the result; empty for the user's cache folder, None for no cache. The result
        holds derived patients' data: its files can be read by their owner only.
    progress : callable or None
        Called with (bytes read, bytes in all) while the two tables of events are read.

    Returns
    -------
    Study
        One row a stay that the cohort takes in; label 1 is death in hospital.

    Raises
    ------
    veilsum.BackendUnavailableError
        When polars is not installed.
    veilsum.ParameterError
        When the directory or one of its tables is missing, or no stay is left.
    veilsum.WireFormatError
        When a table lacks a column or holds what does not belong there.
    OSError
        When a file cannot be read, or the cache not be written.
    """
    try:
        import polars  # noqa: F401
    except ImportError as error:
        raise missing_extra("the MIMIC-III loader", "polars", "mimic") from error
    from veilsum.data.mimic3.loader import load

    return load(Path(directory).expanduser(), cache=cache, progress=progress)
