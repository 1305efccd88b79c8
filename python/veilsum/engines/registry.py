"""The engines by name and by number, each imported when it is first asked for.

Layer: engines, over base. `register` is how a test adds a cipher of its own; what is not registered
is refused, whether a user names it or bytes do.
"""

from __future__ import annotations

import importlib
import re
from typing import Final, NamedTuple, cast

from veilsum.arguments import shown, type_name
from veilsum.engines.base import Cipher
from veilsum.errors import ParameterError, WireFormatError

__all__ = ["Engine", "engine_by_number", "engine_named", "engine_names", "register"]

#: Module and number of the engines of this package. Each module has its cipher as `CIPHER`.
_ENGINES: Final = {
    "native": ("veilsum.engines.native", 1),
    "openfhe": ("veilsum.engines.openfhe.cipher", 2),
}
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_STEPS: Final = (
    "plan",
    "read_plan",
    "keygen",
    "check_public_key",
    "encrypt",
    "opener",
    "decrypt",
)


class Engine(NamedTuple):
    """An engine as it was registered: what its cipher says of itself later changes nothing."""

    name: str  #: what users call it
    number: int  #: what it is on the wire
    cipher: Cipher


_added: dict[str, Engine] = {}


def engine_names() -> list[str]:
    """Return the names of all engines, whether or not they are available here."""
    return [*_ENGINES, *_added]


def engine_named(name: str) -> Engine:
    """Return an engine.

    Parameters
    ----------
    name : str
        Such as "native".

    Raises
    ------
    ParameterError
        When there is no such engine.
    """
    if name in _added:
        return _added[name]
    if name not in _ENGINES:
        known = " or ".join(f"'{engine}'" for engine in engine_names())
        raise ParameterError(f"engine {shown(name)} is unknown; use {known}")
    module, number = _ENGINES[name]
    return Engine(name, number, importlib.import_module(module).CIPHER)


def engine_by_number(number: int) -> Engine:
    """Return the engine that a plan's bytes name.

    Parameters
    ----------
    number : int
        The first byte of a plan's fields.

    Raises
    ------
    WireFormatError
        When there is no such engine.
    """
    for name, (_, known) in _ENGINES.items():
        if number == known:
            return engine_named(name)
    for engine in _added.values():
        if number == engine.number:
            return engine
    raise WireFormatError(f"plan: engine number {shown(number)} is unknown")


def register(cipher: Cipher) -> None:
    """Add an engine to this process.

    Parameters
    ----------
    cipher : Cipher
        Of a name (small letters, digits and underscores, a letter first) and a number (1 to 255)
        that no other engine has; the same one may come again.

    Raises
    ------
    ParameterError
        When it is no cipher, or its name or number is malformed or taken.
    """
    new = _checked(cipher)
    numbers = {number for _, number in _ENGINES.values()}
    others = [other for other in _added.values() if other.cipher is not cipher]
    before = [other for other in _added.values() if other.cipher is cipher]
    if (
        new.name in _ENGINES
        or new.number in numbers
        or any(new.name == other.name or new.number == other.number for other in others)
        or any(new != other for other in before)
    ):
        raise ParameterError(
            f"engine {shown(new.name)} of number {shown(new.number)} would stand in another's place"
        )
    _added[new.name] = new


def _checked(cipher: object) -> Engine:
    """Read what a cipher says of itself, once: it might say something else the next time."""
    missing = [step for step in _STEPS if not callable(getattr(cipher, step, None))]
    if missing:
        raise ParameterError(
            f"cipher is {type_name(cipher)}, which is no engine: it has no {', '.join(missing)}; "
            f"veilsum.engines.base.Cipher says what one has"
        )
    name, number = getattr(cipher, "name", None), getattr(cipher, "number", None)
    if type(name) is not str or not _NAME.fullmatch(name):
        raise ParameterError(
            f"the engine's name is {shown(name)}; it must be 1 to 32 small letters, digits and "
            f"underscores, a letter first"
        )
    if type(number) is not int or not 1 <= number <= 255:
        raise ParameterError(
            f"the number of engine {shown(name)} is {shown(number)}; it must be a whole number "
            f"from 1 to 255"
        )
    return Engine(name, number, cast(Cipher, cipher))
