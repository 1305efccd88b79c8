"""Print the requirements of the core and of the named extras, one a line.

Run by the Makefile, so that `.venv` gets an extra's packages without building Veilsum for it.
Reads pyproject.toml and nothing else.
"""

from __future__ import annotations

import pathlib
import re
import sys

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10: pip carries its own copy
    from pip._vendor import tomli as tomllib

SELF = re.compile(r"^veilsum\[(?P<extras>[^\]]+)\]$")


def requirements(project: dict[str, object], extras: list[str]) -> list[str]:
    """Return the core's requirements and those of `extras`, extras of extras included.

    Parameters
    ----------
    project : dict
        The `[project]` table.
    extras : list of str
        Names of extras; `core` stands for none.

    Raises
    ------
    SystemExit
        If an extra is not declared.
    """
    declared: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    found: dict[str, None] = dict.fromkeys(project["dependencies"])  # type: ignore[call-overload]
    waiting = [extra for extra in extras if extra != "core"]
    while waiting:
        extra = waiting.pop(0)
        if extra not in declared:
            raise SystemExit(f"no extra '{extra}' in pyproject.toml; there are {sorted(declared)}")
        for requirement in declared[extra]:
            if match := SELF.match(requirement):
                waiting.extend(match["extras"].split(","))
            else:
                found[requirement] = None
    return list(found)


if __name__ == "__main__":
    text = (pathlib.Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    print("\n".join(requirements(tomllib.loads(text)["project"], sys.argv[1:])))
