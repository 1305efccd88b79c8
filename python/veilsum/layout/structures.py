"""Nested updates: dictionaries of dictionaries and lists of arrays, taken apart and put together.

Layer: Python API, bottom, under layout. Flax keeps parameters in nested dictionaries, Flower hands
them over as a list of arrays. Such an update is a tree whose leaves are arrays; a leaf is found by
its path, the keys and indices from the top. This module moves leaves and never looks at values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias

from veilsum.arguments import shown
from veilsum.errors import ParameterError

__all__ = ["TreePath", "check_paths", "flatten", "is_nested", "path_name", "unflatten"]

TreePath: TypeAlias = tuple[str | int, ...]

MAX_DEPTH: Final = 64


def is_nested(update: object) -> bool:
    """Say whether an update is a list of arrays, or holds lists or dictionaries.

    Parameters
    ----------
    update : object
        What the user gave.

    Returns
    -------
    bool
        False for one array, a state_dict, and lists of plain numbers, which are no arrays yet.
    """
    if isinstance(update, Mapping):
        return any(isinstance(item, (Mapping, list, tuple)) for item in update.values())
    return isinstance(update, (list, tuple)) and any(not _is_number(item) for item in update)


def flatten(update: object) -> list[tuple[TreePath, Any]]:
    """Take a nested update apart.

    Parameters
    ----------
    update : object
        As `is_nested` recognises it, or a mapping of names.

    Returns
    -------
    list of (tuple of str or int, object)
        Path and leaf, in the order of the containers.

    Raises
    ------
    ParameterError
        When a key is no name, a container is empty, or two leaves have the same name.
    """
    found: list[tuple[TreePath, Any]] = []
    _walk(update, (), found)
    names: set[str] = set()
    for path, _ in found:
        name = path_name(path)
        if name in names:
            raise ParameterError(
                f"the update has two arrays of the name {name!r}; use keys without a slash"
            )
        names.add(name)
    return found


def unflatten(paths: Sequence[TreePath], leaves: Sequence[Any]) -> Any:
    """Put leaves back where they were.

    Parameters
    ----------
    paths : sequence of tuple of str or int
        As `flatten` gave them, or `check_paths` accepted them.
    leaves : sequence of object
        One for each path.

    Returns
    -------
    dict or list
        Nested; tuples come back as lists.
    """
    top: Any = [] if paths and isinstance(paths[0][0], int) else {}
    for path, leaf in zip(paths, leaves, strict=True):
        at = top
        for step, following in pairwise(path):
            known = step < len(at) if isinstance(step, int) else step in at
            if not known:
                _put(at, step, [] if isinstance(following, int) else {})
            at = at[step]
        _put(at, path[-1], leaf)
    return top


def check_paths(paths: Sequence[TreePath]) -> bool:
    """Say whether paths from an untrusted source are those of one tree, in its order.

    Parameters
    ----------
    paths : sequence of tuple of str or int
        Each not empty.

    Returns
    -------
    bool
        True when `unflatten` can follow them and `flatten` would give them again.
    """
    if not all(0 < len(path) <= MAX_DEPTH for path in paths):
        return False
    # Containers that were seen, by their path: the last index of a list, or None for a dictionary.
    seen: dict[TreePath, int | None] = {}
    leaves: set[TreePath] = set()
    current: TreePath = ()
    for path in paths:
        # A container's leaves follow each other: those that the last path left are complete.
        for depth in range(len(current), 0, -1):
            if path[:depth] != current[:depth] and current[:depth] in seen:
                leaves.add(current[:depth])
        for depth, step in enumerate(path):
            at = path[:depth]
            if at in leaves:
                return False
            last = seen.setdefault(at, -1 if isinstance(step, int) else None)
            if isinstance(step, int) != (last is not None):
                return False
            if isinstance(step, int) and last is not None:
                if step not in (last, last + 1):
                    return False
                seen[at] = step
        if path in leaves or path in seen:
            return False
        leaves.add(path)
        current = path
    return len({path_name(path) for path in paths}) == len(paths)


def path_name(path: TreePath) -> str:
    """Name a leaf, for messages, limits and .safetensors files.

    Parameters
    ----------
    path : tuple of str or int
        From the top.

    Returns
    -------
    str
        Such as "params/Dense_0/kernel".
    """
    return "/".join(str(step) for step in path)


def _walk(thing: object, path: TreePath, found: list[tuple[TreePath, Any]]) -> None:
    if len(path) > MAX_DEPTH:
        raise ParameterError(f"the update is nested deeper than {MAX_DEPTH} levels")
    items: list[tuple[Any, object]]
    if isinstance(thing, Mapping):
        for key in thing:
            if not isinstance(key, str) or not key:
                raise ParameterError(
                    f"the update has a key {shown(key)}; names of tensors are non-empty strings"
                )
        items = list(thing.items())
    elif is_nested(thing) or (isinstance(thing, (list, tuple)) and not thing):
        items = list(enumerate(thing))  # type: ignore[arg-type]
    else:
        found.append((path, thing))
        return
    if not items and path:
        name = path_name(path)
        raise ParameterError(
            f"tensor {name!r} is an empty {type(thing).__name__}, which holds nothing "
            f"to sum; leave it out"
        )
    for key, item in items:
        _walk(item, (*path, key), found)


def _put(at: Any, step: str | int, thing: object) -> None:
    if isinstance(step, int):
        at.append(thing)
    else:
        at[step] = thing


def _is_number(thing: object) -> bool:
    return isinstance(thing, (int, float, complex))
