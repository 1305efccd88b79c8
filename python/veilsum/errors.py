"""The one error tree of Veilsum, re-exported from the core, and the words for a missing extra.

Layer: Python API, bottom. Every error that Veilsum raises on purpose is a `VeilsumError`; its
message names the thing, the value received, the rule and the remedy, and never secret material.
This module must not know of rounds, files or commands.
"""

from __future__ import annotations

from veilsum._core import (
    BackendUnavailableError,
    HeadroomError,
    KeyMismatchError,
    ParameterError,
    RoundError,
    VeilsumError,
    WireFormatError,
)

__all__ = [
    "BackendUnavailableError",
    "HeadroomError",
    "KeyMismatchError",
    "ParameterError",
    "RoundError",
    "VeilsumError",
    "WireFormatError",
    "missing_extra",
]


def missing_extra(feature: str, package: str, extra: str) -> BackendUnavailableError:
    """Make the error for a feature whose optional package is not installed.

    Parameters
    ----------
    feature : str
        What the user asked for, as the subject of a sentence.
    package : str
        The import name of the package that is missing.
    extra : str
        The extra of Veilsum that installs it.

    Returns
    -------
    BackendUnavailableError
        To be raised by the caller, `from` the `ImportError` when there was one.
    """
    return BackendUnavailableError(
        f"{feature} needs the Python package {package!r}, which is not installed here; "
        f"install it with: pip install 'veilsum[{extra}]'"
    )
