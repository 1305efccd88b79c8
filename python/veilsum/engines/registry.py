"""The engines by name and by number, each imported when it is first asked for.

Layer: engines, over base. `register` is how a test adds a cipher of its own; what is not registered
is refused, whether a user names it or bytes do.
"""

from __future__ import annotations

import importlib
from typing import Final

from veilsum.arguments import shown
from veilsum.engines.base import Cipher
from veilsum.errors import ParameterError, WireFormatError

__all__ = ["cipher_by_number", "cipher_named", "engine_names", "register"]

#: Module and number of the engines of this package. Each module has its cipher as `CIPHER`.
_ENGINES: Final = {
    "native": ("veilsum.engines.native", 1),
    "openfhe": ("veilsum.engines.openfhe.cipher", 2),
}
_added: dict[str, Cipher] = {}


def engine_names() -> list[str]:
    """Return the names of all engines, whether or not they are available here."""
    return [*_ENGINES, *_added]


def cipher_named(name: str) -> Cipher:
    """Return an engine's cipher.

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
    found: Cipher = importlib.import_module(_ENGINES[name][0]).CIPHER
    return found


def cipher_by_number(number: int) -> Cipher:
    """Return the cipher that a plan's bytes name.

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
            return cipher_named(name)
    for cipher in _added.values():
        if number == cipher.number:
            return cipher
    raise WireFormatError(f"plan: engine number {shown(number)} is unknown")


def register(cipher: Cipher) -> None:
    """Add an engine to this process.

    Parameters
    ----------
    cipher : Cipher
        Of a name and a number that no other engine has; the same one may come again.

    Raises
    ------
    ParameterError
        When its name or number is taken.
    """
    numbers = {number for _, number in _ENGINES.values()}
    others = [other for other in _added.values() if other is not cipher]
    if (
        cipher.name in _ENGINES
        or cipher.number in numbers
        or any(cipher.name == other.name or cipher.number == other.number for other in others)
    ):
        raise ParameterError(
            f"engine {shown(cipher.name)} of number {shown(cipher.number)} would stand in "
            f"another's place"
        )
    _added[cipher.name] = cipher
