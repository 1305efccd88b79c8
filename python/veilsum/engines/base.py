"""What every engine beside the native one shares: how its objects are recognised.

Layer: Python API, bottom, beside errors. The native engine's objects are the core's classes; those
of another engine derive from `EngineObject`, which names the module that implements the steps
(`encrypt`, `weighted_sum`, `open_sum`, `decrypt`) for them. This module must not know any engine.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from veilsum.errors import RoundError

__all__ = ["EngineObject", "Steps", "engine_name", "refuse_mixture"]


class Steps(Protocol):
    """What an engine implements; the arguments are those of the functions in veilsum.crypto."""

    encrypt: Any
    weighted_sum: Any
    open_sum: Any
    decrypt: Any


class EngineObject:
    """Base of the plans, keys, rounds, uploads and sums of an engine beside the native one."""

    __slots__ = ()

    engine: ClassVar[str]

    @property
    def steps(self) -> Steps:
        """The module with this engine's steps."""
        raise NotImplementedError


def engine_name(thing: object) -> str:
    """Name the engine that an object belongs to.

    Parameters
    ----------
    thing : object
        A plan, key, round, upload or sum.

    Returns
    -------
    str
        "native" for everything that is not an `EngineObject`.
    """
    return thing.engine if isinstance(thing, EngineObject) else "native"


def refuse_mixture(engine: str, **things: object) -> None:
    """Refuse objects of another engine than the round's.

    Parameters
    ----------
    engine : str
        The round's engine.
    **things : object
        What is to be used with it, by the name a message calls it.

    Raises
    ------
    RoundError
        When one belongs to another engine.
    """
    for name, thing in things.items():
        other = engine_name(thing)
        if other != engine:
            raise RoundError(
                f"the {name.replace('_', ' ')} is of engine {other!r}, but the round is of engine "
                f"{engine!r}; a round has one engine, which its plan chooses"
            )
