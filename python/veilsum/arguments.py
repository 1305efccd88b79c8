"""Arguments of a wrong type, in the user's words, and never with their values.

Layer: Python API, bottom, beside errors. When a call does not fit, pybind11 prints every argument
into the error: an update, or the bytes of a key, would stand in logs. So public functions look at
types first, and go to the core through `call_core`. This module must not know what it checks.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar

from veilsum.errors import ParameterError

__all__ = ["call_core", "check_number", "check_type", "check_whole", "type_name"]

T = TypeVar("T")

#: Where pybind11's message goes on with the values of all arguments.
_VALUES = "\nInvoked with: "


def call_core(what: str, function: Callable[..., T], /, *arguments: Any, **options: Any) -> T:
    """Call the core, and keep the values of the arguments out of the error of a call that misfits.

    Parameters
    ----------
    what : str
        What the user called, for the message.
    function : callable
        The core's.
    *arguments : object
        For it.
    **options : object
        For it.

    Returns
    -------
    object
        What it returns.

    Raises
    ------
    ParameterError
        When an argument has a type that the core does not take.
    """
    try:
        return function(*arguments, **options)
    except TypeError as reason:
        if _VALUES not in str(reason):
            raise
    # Not in the except clause: the message with the values must not hang on as the context.
    given = [type_name(thing) for thing in arguments]
    given += [f"{name}={type_name(thing)}" for name, thing in options.items()]
    raise ParameterError(
        f"{what} does not take arguments of these types: {', '.join(given) or 'none'}; "
        f"help() on it says which it takes"
    )


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
        raise ParameterError(f"{name} is {number!r}; it must be a whole number") from None
    if not -(2**63) <= whole < 2**63:
        raise ParameterError(f"{name} = {whole} is far outside of what Veilsum can hold")
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
    name = type(thing).__qualname__
    return f"{'an' if name[0].lower() in 'aeiou' or name.startswith('nd') else 'a'} {name}"
