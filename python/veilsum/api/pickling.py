"""Pickling and copying of the core's public objects, through their bytes.

Layer: Python API, over rounds. What is public travels between the processes of a pool, and is
copied with whatever holds it. Secrets refuse both, in the core. Uploads, whose bytes cannot be
checked without their round, say how they travel instead.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any, NoReturn

from veilsum import _core
from veilsum.api.rounds import Round

__all__ = ["register"]


def register() -> None:
    """Teach Python's pickle and copy how the core's objects travel."""
    copyreg.pickle(_core.PublicKey, _by_bytes)
    copyreg.pickle(_core.PublicIdentity, _by_bytes)
    copyreg.pickle(_core.Round, _core_round)
    copyreg.pickle(_core.Aggregate, _with_round)
    copyreg.pickle(_core.Upload, _refuse)
    copyreg.pickle(_core.OpeningRequest, _refuse)
    copyreg.pickle(_core.AggregateFile, _refuse_file)


def _by_bytes(thing: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return _read, (type(thing).__name__, thing.to_bytes())


def _core_round(rnd: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return Round.from_bytes, (rnd.to_bytes(),)


def _with_round(thing: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return _read, (type(thing).__name__, thing.to_bytes(), thing.round)


def _read(name: str, data: bytes, *rnd: Any) -> Any:
    # By name: pickle cannot find a static function of an extension class.
    return getattr(_core, name).from_bytes(data, *rnd)


def _refuse(thing: Any) -> NoReturn:
    name = type(thing).__name__
    raise TypeError(
        f"{name} objects cannot be pickled or copied, because they are read with their round; send "
        f"to_bytes(), and make it again with {name}.from_bytes(data, rnd)"
    )


def _refuse_file(thing: Any) -> NoReturn:
    del thing
    raise TypeError(
        "AggregateFile objects cannot be pickled or copied; send the file, and open it with "
        "AggregateFile(path, rnd)"
    )
