"""Arguments that do not fit, in the user's words, and never with a value that may be a secret.

Layer: Python API, bottom, beside errors. A message that repeated its argument would put an update,
or the bytes of a key, into logs. So every message of the package that shows what it was given does
it through `shown`; the core does the same (base/shown.h, bindings/guards.h). This module must not
know what it checks.
"""

from __future__ import annotations

import math
import operator
import os
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.errors import ParameterError

__all__ = [
    "check_callback",
    "check_flag",
    "check_number",
    "check_path",
    "check_type",
    "check_values",
    "check_whole",
    "counted",
    "shown",
    "type_name",
]

#: What no key, seed or value of an update is: the limits of base/shown.h, and of numbers those that
#: people write, such as 0.5 or 1e300, not those that are measured.
_SHOWN_BITS = 48
_SHOWN_WORD = re.compile(r"[A-Za-z0-9_. -]{0,16}")
_SHOWN_DIGITS = 5


def check_type(call: str, name: str, thing: object, *kinds: type) -> None:
    """Refuse an argument that is something else than its place asks for.

    Parameters
    ----------
    call : str
        How the function is called, such as "encrypt(rnd, update)": shows swapped arguments.
    name : str
        Of the parameter.
    thing : object
        What was given.
    *kinds : type
        What it may be.

    Raises
    ------
    ParameterError
        When it is none of them.
    """
    if not isinstance(thing, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        article = "an" if wanted[0] in "AEIOU" else "a"
        raise ParameterError(
            f"{name} is {type_name(thing)}, but must be {article} {wanted}: call {call}"
        )


def check_flag(name: str, flag: object) -> bool:
    """Refuse what is neither true nor false; a text such as "no" would count as true.

    Parameters
    ----------
    name : str
        Of the parameter.
    flag : object
        What was given.

    Returns
    -------
    bool
        The truth value.

    Raises
    ------
    ParameterError
        When it is something else than a truth value, 0 or 1.
    """
    if isinstance(flag, (bool, np.bool_, int, np.integer)) and flag in (0, 1):
        return bool(flag)
    raise ParameterError(f"{name} is {shown(flag)}; it must be True or False")


def check_callback(name: str, callback: object) -> None:
    """Refuse what cannot be called.

    Parameters
    ----------
    name : str
        Of the parameter.
    callback : object
        What was given; None for none.

    Raises
    ------
    ParameterError
        When it is something else.
    """
    if callback is not None and not callable(callback):
        raise ParameterError(
            f"{name} is {shown(callback)}; it must be a function of (values done, values in all), "
            f"or None"
        )


def check_path(call: str, name: str, path: object, remedy: str = "") -> str:
    """Refuse what is no path.

    Parameters
    ----------
    call : str
        How the function is called.
    name : str
        Of the parameter.
    path : object
        What was given.
    remedy : str
        What takes such a thing, as the end of the sentence.

    Returns
    -------
    str
        The path.

    Raises
    ------
    ParameterError
        When it is neither a text nor a path object of text.
    """
    found = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(found, str):
        raise ParameterError(
            f"{name} is {type_name(path)}, but must be the path of a file: call {call}{remedy}"
        )
    return found


def check_whole(name: str, number: object) -> int:
    """Refuse what is not a whole number, or one that no place here could hold.

    Parameters
    ----------
    name : str
        Of the parameter.
    number : object
        What was given.

    Returns
    -------
    int
        The number.

    Raises
    ------
    ParameterError
        When it is no whole number, or has more than 63 bits.
    """
    try:
        if isinstance(number, bool):
            raise TypeError
        whole = operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        raise ParameterError(f"{name} is {shown(number)}; it must be a whole number") from None
    if not -(2**63) <= whole < 2**63:
        raise ParameterError(f"{name} = {shown(whole)} is far outside of what Veilsum can hold")
    return whole


def check_number(name: str, number: Any) -> float:
    """Refuse what is not a number; a NumPy scalar or a tensor of one value is one.

    Parameters
    ----------
    name : str
        Of the parameter.
    number : object
        What was given.

    Returns
    -------
    float
        The number, which need not be finite.

    Raises
    ------
    ParameterError
        When it is no number.
    """
    try:
        if isinstance(number, (str, bytes, bytearray)):
            raise TypeError
        return float(number)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        # Its type alone: it may be an update in the wrong place.
        raise ParameterError(f"{name} is {type_name(number)}; it must be one number") from None


def check_values(name: str, values: Any) -> NDArray[np.float64]:
    """Refuse what is no array of numbers; NumPy's own error would show what it is instead.

    Parameters
    ----------
    name : str
        Of the parameter.
    values : array_like
        What was given.

    Returns
    -------
    ndarray of float64
        The numbers, which need not be finite.

    Raises
    ------
    ParameterError
        When they are no numbers, or of different lengths.
    """
    try:
        if isinstance(values, (str, bytes, bytearray)):
            raise TypeError
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ParameterError(
            f"{name} is {type_name(values)}; it must be an array of numbers"
        ) from None


def type_name(thing: object) -> str:
    """Name the type of an argument, with an article.

    Parameters
    ----------
    thing : object
        The argument.

    Returns
    -------
    str
        Such as "an ndarray", "a Round" or "None".
    """
    if thing is None:
        return "None"
    if type(thing) is bytes:
        return "bytes"
    name = type(thing).__qualname__
    return f"{'an' if name[0].lower() in 'aeiou' or name.startswith('nd') else 'a'} {name}"


def shown(value: object) -> str:
    """Say what was given, with its value only where that cannot be a secret.

    Parameters
    ----------
    value : object
        An argument, for the message that refuses it.

    Returns
    -------
    str
        The value of None, a truth value, a whole number of at most 48 bits, a number of few digits
        and a short word; of anything else its type, and its size where that is public.
    """
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, (int, np.integer)):
        whole = int(value)
        bits = whole.bit_length()
        return f"{whole}" if bits <= _SHOWN_BITS else f"a whole number of {bits} bits"
    if isinstance(value, (float, np.floating)):
        number = float(value)
        text = repr(number)
        short = not math.isfinite(number) or len(text) <= _SHOWN_DIGITS
        return text if short else type_name(value)
    if isinstance(value, str):
        # Of the plain text: a class derived from str may have a repr of its own.
        text = str.__str__(value)
        return repr(text) if _SHOWN_WORD.fullmatch(text) else f"a text of {len(text)} characters"
    return type_name(value)


def counted(number: int, thing: str) -> str:
    """Write a number and what it counts.

    Parameters
    ----------
    number : int
        How many.
    thing : str
        One of them.

    Returns
    -------
    str
        Such as "1 value" or "7 values".
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"
