"""Options: their defaults, their rules, the check of a section of them, and TOML.

Bottom of the package. A section is a frozen dataclass whose fields are made by `option`; the room
that obeys a section declares it, and `training/config.py` reads all of them from TOML.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from veilsum.arguments import shown
from veilsum.errors import ParameterError, missing_extra

__all__ = [
    "LARGEST",
    "Rule",
    "above",
    "at_least",
    "below",
    "between",
    "check_section",
    "convert",
    "each",
    "one_of",
    "option",
    "share",
    "strictly_between",
    "up_to",
]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Rule:
    """What an option's value must satisfy, in words and as a function.

    Parameters
    ----------
    text : str
        The rule as it appears in an error message after "must be".
    accepts : callable
        Returns whether a value, already of the right type, satisfies the rule.
    """

    text: str
    accepts: Callable[[Any], bool]


def at_least(low: float) -> Rule:
    """Return the rule of values from `low` on."""
    return Rule(f"at least {low}", lambda value: bool(value >= low))


def above(low: float) -> Rule:
    """Return the rule of values above `low`."""
    return Rule(f"above {low}", lambda value: bool(value > low))


def between(low: float, high: float) -> Rule:
    """Return the rule of values from `low` to `high`."""
    return Rule(f"between {low} and {high}", lambda value: bool(low <= value <= high))


def below(low: float, high: float) -> Rule:
    """Return the rule of values from `low` on and below `high`."""
    return Rule(f"at least {low} and below {high}", lambda value: bool(low <= value < high))


LARGEST = 1e30  # of what PyTorch takes as float32, with room for its own factors


def up_to(high: float) -> Rule:
    """Return the rule of values above 0 and up to `high`."""
    return Rule(f"above 0 and at most {high:g}", lambda value: bool(0 < value <= high))


def share() -> Rule:
    """Return the rule of values above 0 and up to 1."""
    return Rule("above 0 and at most 1", lambda value: bool(0 < value <= 1))


def strictly_between(low: float, high: float) -> Rule:
    """Return the rule of values between `low` and `high`, without these."""
    return Rule(f"above {low} and below {high}", lambda value: bool(low < value < high))


def one_of(*choices: Any) -> Rule:
    """Return the rule of values that are among `choices`."""
    return Rule(
        "one of " + ", ".join(json.dumps(choice) for choice in choices),
        lambda value: value in choices,
    )


def each(rule: Rule) -> Rule:
    """Return the rule of lists whose values keep another rule."""
    return Rule(
        f"a list of values, each {rule.text}",
        lambda values: all(rule.accepts(value) for value in values),
    )


def option(default: _T, text: str, rule: Rule | None = None) -> _T:
    """Declare one option: its default, its line of help and its rule."""
    # The dataclass decorator replaces the Field; the attribute then has the default's type.
    return field(default=default, metadata={"help": text, "rule": rule})


_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


def convert(wanted: Any, value: Any, where: str) -> Any:
    """Return `value` as `wanted`; only int -> float and list -> tuple are conversions."""
    if get_origin(wanted) is tuple:
        inner = get_args(wanted)[0]
        if not isinstance(value, (list, tuple)):
            raise ParameterError(
                f"{where} is {shown(value)}; must be a list, each {_TYPE_NAMES[inner]}"
            )
        return tuple(convert(inner, item, f"{where}[{i}]") for i, item in enumerate(value))
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ParameterError(f"{where} is {shown(value)}; must be finite") from None
    # bool is a subclass of int, so an exact comparison keeps `true` out of whole numbers.
    if type(value) is not wanted:
        kind = _TYPE_NAMES.get(wanted, "of another type")
        raise ParameterError(f"{where} is {shown(value)}; must be {kind}")
    return value


def check_section(section: str, options: Any) -> None:
    """Hold a section's options against their types and rules.

    Parameters
    ----------
    section : str
        Its name, for messages.
    options : object
        A dataclass whose fields `option` made; whole numbers become floats where those are wanted.

    Raises
    ------
    veilsum.ParameterError
        When an option is of the wrong type or breaks its rule.
    """
    types = get_type_hints(type(options))
    for item in dataclasses.fields(options):
        name = f"{section}.{item.name}"
        value = getattr(options, item.name)
        converted = convert(types[item.name], value, name)
        if converted != value or type(converted) is not type(value):
            object.__setattr__(options, item.name, converted)
        flat = converted if isinstance(converted, tuple) else (converted,)
        if any(isinstance(number, float) and not math.isfinite(number) for number in flat):
            raise ParameterError(f"{name} is {shown(value)}; must be finite")
        if any(isinstance(text, str) and not _is_text(text) for text in flat):
            # Bytes that are no UTF-8, as a shell may pass them on; TOML could not hold them.
            raise ParameterError(f"{name} is {shown(value)}; must be text that UTF-8 can hold")
        rule: Rule | None = item.metadata["rule"]
        if rule is not None and not rule.accepts(converted):
            given = ", ".join(map(_given, flat))
            if isinstance(converted, tuple):
                given = f"[{given}]"
            raise ParameterError(f"{name} is {given}; must be {rule.text}")


def _given(value: object) -> str:
    """Say what was given as a configuration file writes it, where it can be shown."""
    text = shown(value)
    return json.dumps(value) if text == repr(value) else text


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def toml_reader() -> Any:
    """Return the standard library's TOML reader, or its twin before Python 3.11."""
    try:
        return importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ModuleNotFoundError as error:
        raise missing_extra("a TOML configuration", "tomli", "train") from error


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file into nested dictionaries.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    ParameterError
        When it is no TOML; the message has line and column.
    OSError
        When it cannot be read.
    """
    toml = toml_reader()
    data = Path(path).read_bytes()
    try:
        # Some editors put a byte order mark before UTF-8, which TOML does not know.
        values: dict[str, Any] = toml.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ParameterError(
            f"{path}: not valid TOML: {error}; TOML is UTF-8: save the file with that encoding"
        ) from error
    except toml.TOMLDecodeError as error:
        raise ParameterError(f"{path}: not valid TOML: {error}") from error
    return values
