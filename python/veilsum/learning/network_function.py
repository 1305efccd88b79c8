"""`model.function`: a network from a user's own module, imported by name.

Learning room, bottom. Imports what the configuration names, from the folder that the command runs
in or from what is installed; knows nothing of networks.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

from veilsum.arguments import type_name
from veilsum.errors import ParameterError

_FOLDERS: dict[str, str] = {}
"""Where a network's module was asked for last, by its first name."""


def import_function(name: str) -> Callable[..., Any]:
    """Import a function.

    Parameters
    ----------
    name : str
        "module:function", both may have dots.

    Returns
    -------
    callable
        The function, or class.

    Raises
    ------
    veilsum.ParameterError
        When the module cannot be imported or has no such function.
    """
    module_name, _, function_name = name.partition(":")
    here = str(Path.cwd())
    # A command's own folder is not where Python looks for modules; the user's is, while it looks.
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    _forget_others(module_name.partition(".")[0], here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name and not module_name.startswith(f"{error.name}."):
            raise ParameterError(
                f"model.function is {name}, but {module_name} cannot be imported: it needs the "
                f"module {error.name}, which is not installed here"
            ) from error
        raise ParameterError(
            f"model.function is {name}, but there is no module {module_name}, neither in {here} "
            f"nor among what is installed; run the command in the folder of "
            f"{module_name.partition('.')[0]}.py"
        ) from error
    except Exception as error:
        raise ParameterError(
            f"model.function is {name}, but {module_name} cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(here)
    try:
        function = reduce(getattr, function_name.split("."), module)
    except AttributeError:
        offered = ", ".join(key for key, one in vars(module).items() if _is_own(one, module_name))
        raise ParameterError(
            f"model.function is {name}, but {module_name} has no {function_name}; it has "
            f"{offered or 'no function'}"
        ) from None
    if not callable(function):
        raise ParameterError(
            f"model.function is {name}, which is {type_name(function)} and no function"
        )
    found: Callable[..., Any] = function
    return found


def _is_own(thing: object, module: str) -> bool:
    return callable(thing) and getattr(thing, "__module__", None) == module


def _forget_others(name: str, here: str) -> None:
    """Forget a module of this name that was imported for another folder in this process."""
    if _FOLDERS.setdefault(name, here) != here:
        _FOLDERS[name] = here
        for one in [other for other in sys.modules if other.split(".")[0] == name]:
            del sys.modules[one]
