"""How many threads a step may take.

Layer: Python API, bottom.
"""

from __future__ import annotations

import operator
from typing import Any, Final, cast

from veilsum.arguments import (
    shown,
)
from veilsum.errors import (
    ParameterError,
)

MOST_THREADS: Final = 4096  # what the core takes (bindings/conversions.h)

__all__ = ["core_threads"]


def core_threads(threads: object) -> int:
    """Check a number of threads.

    Parameters
    ----------
    threads : int or None
        What the caller of a public function gave.

    Returns
    -------
    int
        What the core takes: 0 for all cores.

    Raises
    ------
    ParameterError
        When it is not a whole number from 1 to 4096.
    """
    if threads is None:
        return 0
    try:
        number = 0 if isinstance(threads, bool) else operator.index(cast(Any, threads))
    except TypeError:
        number = 0
    if not 1 <= number <= MOST_THREADS:
        raise ParameterError(
            f"threads is {shown(threads)}; it must be a whole number of at least 1, and at most "
            f"{MOST_THREADS}"
        )
    return number
