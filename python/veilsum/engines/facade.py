"""The public classes of all engines under one name each: `veilsum.Plan`, `veilsum.Round`, ...

Layer: Python API, above rounds and crypto. Calling such a class makes an object of the engine that
the arguments belong to, reading bytes one of the engine that the bytes name, and `isinstance` holds
for every engine's. Whatever else is asked of the class is asked of the native one. Engines beside
the native one are imported when they are first needed.
"""

from __future__ import annotations

import importlib
import os
import re
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from veilsum import _core
from veilsum.arguments import check_whole, shown, type_name
from veilsum.crypto import Aggregator as NativeAggregator
from veilsum.engines.base import EngineObject, engine_name
from veilsum.errors import ParameterError, WireFormatError
from veilsum.files import named_errors
from veilsum.outputs import open_input
from veilsum.rounds import Round as NativeRound
from veilsum.sealing import generate_key_pair

__all__ = [
    "Aggregate",
    "Aggregator",
    "OpeningRequest",
    "Plan",
    "PublicKey",
    "Round",
    "SecretKey",
    "SumKey",
    "Upload",
    "keygen",
]

PathLike: TypeAlias = str | os.PathLike[str]

#: The high byte of an envelope's kind names the engine: docs/wire-format.md.
_ENGINES = {0: "native", 1: "openfhe"}
_HEADER = struct.Struct("<4sHBB")
#: The low byte of an envelope's kind.
_KINDS = dict(
    enumerate(
        (
            "Plan",
            "PublicKey",
            "SecretKey",
            "Round",
            "Upload",
            "Aggregate",
            "OpeningRequest",
            "SumKey",
        ),
        start=1,
    )
)
_PLAN_OPTIONS = {
    "clients",
    "value_bits",
    "weight_bits",
    "security",
    "optimise",
    "profile",
    "engine",
    "parties",
}


def _engine_module(engine: str) -> Any:
    return importlib.import_module(f"veilsum.engines.{engine}")


def _engine_of_bytes(data: Any) -> str:
    """Name the engine of an envelope; "native", whose reader knows the words, for odd bytes."""
    try:
        head = bytes(memoryview(data)[: _HEADER.size])
    except TypeError:
        return "native"  # whose reader refuses what is no bytes
    if len(head) < _HEADER.size:
        return "native"
    magic, _, _, engine = _HEADER.unpack(head)
    return _ENGINES.get(engine, "native") if magic == b"VSUM" else "native"


def _check_plan(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Check types here, where a message can name the parameter; ranges are the planner's."""
    if len(arguments) > 2 or not (arguments or "clients" in options):
        raise ParameterError(
            "a plan is made by Plan(clients, value_bits=16, ...); the other parameters have names"
        )
    given = {**dict(zip(("clients", "value_bits"), arguments, strict=False)), **options}
    for name in ("clients", "value_bits", "weight_bits", "security", "parties"):
        if name in given:
            check_whole(name, given[name])
    for name in ("optimise", "profile", "engine"):
        if name in given and not isinstance(given[name], str):
            raise ParameterError(f"{name} is {shown(given[name])}; it must be a text")
    unknown = sorted(set(given) - _PLAN_OPTIONS)
    if unknown:
        raise ParameterError(
            f"a plan has no parameter {shown(unknown[0])}; it has "
            f"{', '.join(sorted(_PLAN_OPTIONS))}"
        )


def _check_round(name: str, call: str, more: tuple[Any, ...]) -> None:
    """Ask for the round where an object is nothing without it."""
    if name in ("Upload", "Aggregate", "OpeningRequest", "SumKey") and (
        len(more) != 1 or not isinstance(more[0], Round)
    ):
        given = ", ".join(type_name(thing) for thing in more) or "nothing"
        raise ParameterError(
            f"{_words(name)} is read with its round, and {given} is given: call {name}.{call}"
        )


def _refuse_other_kind(name: str, engine: str, data: Any) -> None:
    """Refuse an object of another kind than the class reads, which the header tells.

    Where another engine has a part, its reader's message, which names engines too, is the better.
    """
    try:
        head = bytes(memoryview(data)[: _HEADER.size])
    except TypeError:
        raise ParameterError(f"data is {type_name(data)}; pass bytes") from None
    if len(head) < _HEADER.size or head[:4] != b"VSUM":
        return
    if engine != "native" or _engine_of_bytes(head) != "native":
        return
    found = _KINDS.get(_HEADER.unpack(head)[2])
    if found is not None and found != name:
        raise WireFormatError(
            f"this is {_words(found)}, but {_words(name)} is needed; are two arguments swapped?"
        )


def _words(name: str) -> str:
    words = re.sub("(?<!^)(?=[A-Z])", " ", name).lower()
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


class _AnyEngine(type):
    """Metaclass of the classes here; see the module."""

    _native: type

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        _core.isa_level()  # a wrong VEILSUM_ISA is an error here; deeper it would end the process
        engine = None
        if cls.__name__ == "Plan":
            engine = options.get("engine")
            _check_plan(arguments, options)
        for thing in (*arguments[:1], *options.values()):
            if isinstance(thing, EngineObject):
                engine = thing.engine
        if engine is None or engine == "native" or engine not in _ENGINES.values():
            return cls._native(*arguments, **options)
        return getattr(_engine_module(engine), cls.__name__)(*arguments, **options)

    def __instancecheck__(cls, thing: object) -> bool:
        if isinstance(thing, cls._native):
            return True
        if not isinstance(thing, EngineObject):
            return False
        return isinstance(thing, getattr(_engine_module(thing.engine), cls.__name__))

    def __getattr__(cls, name: str) -> Any:
        # Also the descriptors of methods and properties, for help() and for tests.
        return getattr(cls._native, name)

    def __dir__(cls) -> list[str]:
        return dir(cls._native)

    def _read(cls, data: Any, more: tuple[Any, ...]) -> Any:
        """Call from_bytes of the engine that the round, or else the bytes, belong to."""
        engine = engine_name(more[0]) if more else _engine_of_bytes(data)
        _core.isa_level()
        _check_round(cls.__name__, "from_bytes(data, rnd)", more)
        _refuse_other_kind(cls.__name__, engine, data)
        return cls._of(engine).from_bytes(data, *more)

    def _open(cls, path: Any, more: tuple[Any, ...]) -> Any:
        _core.isa_level()
        _check_round(cls.__name__, "load(path, rnd)", more)
        with open_input(path) as file:
            head = file.read(_HEADER.size)
        engine = engine_name(more[0]) if more else _engine_of_bytes(head)
        with named_errors(path):
            # Before the file's mode is looked at: a public key in a secret one's place is no leak.
            _refuse_other_kind(cls.__name__, engine, head)
            return cls._of(engine).load(path, *more)

    def _of(cls, engine: str) -> Any:
        if engine == "native":
            return cls._native
        return getattr(_engine_module(engine), cls.__name__)


def _only_round(named: dict[str, Any]) -> tuple[Any, ...]:
    """Take the round out of keyword arguments; there is no other."""
    rest = sorted(named.keys() - {"round"})
    if rest:
        raise TypeError(f"unexpected keyword argument {shown(rest[0])}")
    return tuple(named.values())


def _facade(name: str, native: type, *, reads: bool = True) -> Any:
    members: dict[str, Any] = {
        "_native": native,
        "__doc__": native.__doc__,
        "__module__": native.__module__,
    }
    if reads:
        # Static functions of their own, so that the native ones keep their documentation.
        made: dict[str, Callable[..., Any]] = {}

        def from_bytes(data: Any, *more: Any, **named: Any) -> Any:
            return made["class"]._read(data, (*more, *_only_round(named)))  # type: ignore[attr-defined]

        def load(path: PathLike, *more: Any, **named: Any) -> Any:
            return made["class"]._open(path, (*more, *_only_round(named)))  # type: ignore[attr-defined]

        from_bytes.__doc__ = native.from_bytes.__doc__  # type: ignore[attr-defined]
        load.__doc__ = native.load.__doc__  # type: ignore[attr-defined]
        members["from_bytes"] = staticmethod(from_bytes)
        members["load"] = staticmethod(load)
        cls = _AnyEngine(name, (), members)
        made["class"] = cls
        return cls
    return _AnyEngine(name, (), members)


Plan = _facade("Plan", _core.Plan)
PublicKey = _facade("PublicKey", _core.PublicKey)
SecretKey = _facade("SecretKey", _core.SecretKey)
Round = _facade("Round", NativeRound)
Upload = _facade("Upload", _core.Upload)
Aggregate = _facade("Aggregate", _core.Aggregate)
OpeningRequest = _facade("OpeningRequest", _core.OpeningRequest)
SumKey = _facade("SumKey", _core.SumKey)
Aggregator = _facade("Aggregator", NativeAggregator, reads=False)


def keygen(plan: Any) -> tuple[Any, Any]:
    """Make the authority's key pair for a plan, from the operating system's entropy.

    Parameters
    ----------
    plan : Plan
        The parameters; they choose the engine.

    Returns
    -------
    (SecretKey, PublicKey)
        The first stays with the authority, the second goes into rounds.

    Raises
    ------
    ParameterError
        When `plan` is no plan, or one for several parties, who make their keys in turn.
    """
    if isinstance(plan, EngineObject):
        return _engine_module(plan.engine).keygen(plan)  # type: ignore[no-any-return]
    if not isinstance(plan, _core.Plan):
        raise ParameterError(f"plan is {type_name(plan)}; make one with Plan(clients=...)")
    return generate_key_pair()
