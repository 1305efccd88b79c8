"""Data sets for the training loop, with every column's meaning and public range.

Above the crypto API and below the federated loop: loaders return a `Study`, splits turn it into
held-out rows and clouds, and preprocessing turns each cloud's rows into a model's inputs with
statistics that come from sums alone. Nothing here knows of keys, rounds or networks.
"""

from __future__ import annotations

from collections.abc import Callable

from veilsum.data.preprocess import MAX_ROWS, Moments, Preprocessor, local_moments
from veilsum.data.splits import held_out_rows, imbalanced_shares, rows_by_order, rows_of_clouds
from veilsum.data.study import Feature, Study

__all__ = [
    "MAX_ROWS",
    "Feature",
    "Moments",
    "Preprocessor",
    "Study",
    "held_out_rows",
    "imbalanced_shares",
    "load",
    "local_moments",
    "rows_by_order",
    "rows_of_clouds",
]


def _flchain() -> Study:
    from veilsum.data.flchain import load_flchain

    return load_flchain()


_LOADERS: dict[str, Callable[[], Study]] = {"flchain": _flchain}


def load(name: str) -> Study:
    """Load a study by name.

    Parameters
    ----------
    name : str
        "flchain".

    Returns
    -------
    Study
        The whole study, all rows.

    Raises
    ------
    veilsum.ParameterError
        When no study has this name.
    veilsum.BackendUnavailableError
        When the package that ships the study is not installed.
    """
    from veilsum import ParameterError

    if name not in _LOADERS:
        raise ParameterError(f"no study is called {name!r}; known are {', '.join(_LOADERS)}")
    return _LOADERS[name]()
