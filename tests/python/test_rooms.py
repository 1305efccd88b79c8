"""The rooms of the package depend on each other one way only.

Reads the imports of python/veilsum, also those inside functions, and holds each against the arrows
of docs/architecture.md:

    cli -> training, lab -> transport -> parties -> protocol -> API -> engines -> _core

Learning, data and privacy know no party and no protocol; report knows what it is given, and who
gives it (training, lab, the command line) may know it. Imports for
type checkers alone count too: whoever names a thing knows it. The checker itself is run over trees
that are wrong on purpose. What test_layers.py is for C++.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "python" / "veilsum"
NAME = "veilsum"
FACADE = "the façade"
COMPILED = ("_core", "_core_testing", "_openfhe")

# What the files beside the rooms are. Errors and the words of errors are everybody's.
ERRORS = ("errors", "arguments")
# Options, where files go, rounding and names: what more than one room needs and none owns.
GROUND = ("options", "outputs", "rounding", "run_names")

_LOW = ("_core", "errors", "ground", "layout")
_API = (*_LOW, "keys", "engines", "api")

# From a room to the rooms that it may know; no room but the façade and the command line knows the
# façade.
ARROWS: dict[str, tuple[str, ...]] = {
    "_core": (),
    "errors": ("_core",),
    "ground": ("_core", "errors"),
    # Vectors and their files: no cryptography, and no round.
    "layout": _LOW,
    # Engines seal and check signatures, so keys stand below them.
    "keys": _LOW,
    "engines": (*_LOW, "keys"),
    "api": _API,
    "data": _LOW,
    "privacy": _LOW,
    "learning": (*_LOW, "data"),
    "protocol": (*_API, "data", "privacy", "learning"),
    "parties": (*_API, "privacy", "learning", "protocol"),
    # Flower's carrier checks who a node is.
    "transport": (*_LOW, "keys", "parties"),
    # The adapter for Flower: what `training` is for one process.
    "flower": (*_API, "data", "learning", "protocol", "parties", "transport", "training"),
    # What it says of clipped values and how it writes a file is on the ground; no run is above it.
    "report": ("errors", "ground", "layout"),
    "training": (
        *_API, "data", "privacy", "learning", "protocol", "parties", "transport", "report",
    ),
    "lab": (
        *_API, "data", "privacy", "learning", "protocol", "transport", "training", "report",
    ),
    FACADE: (*_API, "learning", "training"),
    # The one user of the library inside the package: it is written as others' programs are.
    "cli": (*_API, "data", "learning", "training", "lab", "report", FACADE),
}  # fmt: skip

# Circles that are known, with the reason; the test fails as well when one of them is gone.
CIRCLES = {
    # The interface, and one of two implementations, which it loads by name when it is asked for.
    frozenset({"veilsum.engines.openfhe.backend", "veilsum.engines.openfhe.wheel"}),
}


@dataclass(frozen=True)
class Import:
    """One module that another one names.

    Parameters
    ----------
    module, target : str
        Who names whom, in full.
    line : int
        Where.
    typing : bool
        Whether only type checkers see it.
    """

    module: str
    target: str
    line: int
    typing: bool = False


def modules_of(root: Path) -> dict[str, Path]:
    """Return the modules below a package's folder by name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = (NAME, *path.relative_to(root).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _typing_only(tree: ast.AST) -> set[ast.AST]:
    """Return what stands below `if TYPE_CHECKING`."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }


def imports_of(root: Path) -> Iterator[Import]:
    """Yield every import of the package's own modules."""
    modules = modules_of(root)
    known = set(modules) | {f"{NAME}.{one}" for one in COMPILED}
    for module, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        typing = _typing_only(tree)
        for node in ast.walk(tree):
            targets: list[str] = []
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                whole = node.module or ""
                if node.level:
                    is_package = path.name == "__init__.py"
                    base = module.split(".")[: -node.level + is_package or None]
                    whole = ".".join([*base, *([node.module] if node.module else [])])
                full = [f"{whole}.{alias.name}" for alias in node.names]
                targets = [one if one in known else whole for one in full]
            elif _by_name(node):
                assert isinstance(node, ast.Call)
                (first, *_) = node.args
                assert isinstance(first, ast.Constant)
                targets = [str(first.value)]
            for target in dict.fromkeys(targets):
                if target.split(".")[0] == NAME and target != module:
                    yield Import(module, target, getattr(node, "lineno", 0), node in typing)


def _by_name(node: ast.AST) -> bool:
    """Return whether a call loads a module by a name that stands there."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("importlib.import_module", "import_module", "__import__")
        and bool(node.args)
        and isinstance(node.args[0], ast.Constant)
    )


def room_of(module: str, root: Path) -> str | None:
    """Return the room that a module is in; None for none."""
    parts = module.split(".")
    if len(parts) == 1:
        return FACADE
    first = parts[1]
    if first in COMPILED:
        return "_core"
    for room, files in (("errors", ERRORS), ("ground", GROUND)):
        if first in files and not (root / first).is_dir():
            return room
    if first == "__main__":
        return "cli"
    return first if first in ARROWS and (root / first).is_dir() else None


def violations(root: Path) -> list[str]:
    """Return one line for each import that goes against the arrows."""
    found = [
        f"{module}: belongs to no room"
        for module in modules_of(root)
        if room_of(module, root) is None
    ]
    for one in imports_of(root):
        room, other = room_of(one.module, root), room_of(one.target, root)
        where = f"{one.module}:{one.line}: {one.target}"
        if room is None:
            continue
        if other is None:
            found.append(f"{where}: names no room")
        elif other != room and other not in ARROWS[room]:
            found.append(f"{where}: {room} may not know {other}")
    return found


def circles(root: Path) -> set[frozenset[str]]:
    """Return the groups of modules that import each other, whoever loads them and when.

    What only type checkers see loads nothing.
    """
    graph: dict[str, set[str]] = {module: set() for module in modules_of(root)}
    for one in imports_of(root):
        if not one.typing and one.target in graph:
            graph[one.module].add(one.target)
    reached = {module: _reached(module, graph) for module in graph}
    return {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in graph
        if module in reached[module]
    }


def _reached(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    left = [start]
    while left:
        for target in graph[left.pop()] - seen:
            seen.add(target)
            left.append(target)
    return seen


def test_the_package_keeps_to_the_arrows() -> None:
    assert len(modules_of(PACKAGE)) > 150
    assert violations(PACKAGE) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(PACKAGE) == CIRCLES


def test_the_arrows_have_no_circle() -> None:
    """Room by room: whoever may be known knows nobody who knows it."""
    graph = {room: set(others) - {room} for room, others in ARROWS.items()}
    assert {room for others in graph.values() for room in others} <= graph.keys()
    for room in graph:
        assert room not in _reached(room, graph), room


def test_every_room_and_file_of_the_lists_is_there() -> None:
    rooms = {room_of(module, PACKAGE) for module in modules_of(PACKAGE)}
    assert rooms == set(ARROWS) - {"_core"}
    for name in (*ERRORS, *GROUND):
        assert (PACKAGE / f"{name}.py").is_file(), name


def make_tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


GOOD = {
    "__init__.py": "from veilsum.api.encrypting import encrypt\nfrom veilsum import _core\n",
    "errors.py": "from veilsum._core import RoundError\n",
    "outputs.py": "import veilsum.errors\n",
    "layout/__init__.py": "",
    "layout/files.py": "from veilsum.outputs import open_input\n",
    "api/__init__.py": "",
    "api/encrypting.py": "from veilsum import _core\nfrom veilsum.layout import files\n"
    "from veilsum.keys import identity\n",
    "keys/__init__.py": "",
    "keys/identity.py": "from veilsum.layout import files\nfrom veilsum.errors import RoundError\n",
    "protocol/__init__.py": "",
    "protocol/terms.py": "from veilsum.api.encrypting import encrypt\n",
    "parties/__init__.py": "",
    "parties/client.py": "from veilsum.protocol.terms import Terms\nimport numpy\n",
    "report/__init__.py": "from veilsum.errors import RoundError\n",
    "training/__init__.py": "",
    "training/run.py": "def f():\n    from veilsum.parties.client import Client\n",
    "cli/__init__.py": "import veilsum\nfrom veilsum.training.run import train\n",
    "__main__.py": "from veilsum.cli import main\n",
}


def test_a_right_tree_has_no_violations(tmp_path: Path) -> None:
    tree = make_tree(tmp_path, GOOD)
    assert violations(tree) == []
    assert circles(tree) == set()


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("errors.py", "import veilsum.layout.files", "errors may not know layout"),
        ("outputs.py", "import veilsum.layout.files", "ground may not know layout"),
        ("layout/files.py", "from veilsum.api import encrypting", "layout may not know api"),
        ("keys/identity.py", "from veilsum.api import encrypting", "keys may not know api"),
        ("api/encrypting.py", "from veilsum.protocol import terms", "api may not know protocol"),
        ("api/encrypting.py", "from ..protocol import terms", "api may not know protocol"),
        ("api/encrypting.py", "from .. import protocol", "api may not know protocol"),
        ("keys/identity.py", "from ..api import encrypting", "keys may not know api"),
        ("protocol/terms.py", "from ..parties.client import Client", "protocol may not know part"),
        (
            "protocol/terms.py",
            "import veilsum.parties.client as c",
            "protocol may not know parties",
        ),
        ("protocol/terms.py", "def f():\n    import veilsum.training.run", "may not know training"),
        (
            "protocol/terms.py",
            "import importlib\nimportlib.import_module('veilsum.parties.client')",
            "protocol may not know parties",
        ),
        (
            "protocol/terms.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
            "    from veilsum.parties.client import Client",
            "protocol may not know parties",
        ),
        ("parties/client.py", "import veilsum", f"parties may not know {FACADE}"),
        ("parties/client.py", "from veilsum import encrypt", f"parties may not know {FACADE}"),
        ("parties/client.py", "import veilsum as vs, json", f"parties may not know {FACADE}"),
        ("parties/__init__.py", "from veilsum import Round", f"parties may not know {FACADE}"),
        (
            "report/__init__.py",
            "from veilsum.training.run import f",
            "report may not know training",
        ),
        ("report/__init__.py", "from veilsum.api import encrypting", "report may not know api"),
        ("training/run.py", "from veilsum.cli import main", "training may not know cli"),
        ("training/run.py", "from veilsum import _core_testing, cli", "training may not know cli"),
        ("extras.py", "", "belongs to no room"),
        ("extras/__init__.py", "", "belongs to no room"),
        ("api/encrypting.py", "import veilsum.nothing", "names no room"),
    ],
)
def test_a_wrong_tree_is_reported(tmp_path: Path, file: str, text: str, reason: str) -> None:
    tree = make_tree(tmp_path, {**GOOD, file: text + "\n"})
    found = violations(tree)
    assert len(found) == 1, found
    assert reason in found[0]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("from veilsum.parties.b import f", "from veilsum.parties.a import g"),
        ("from veilsum.parties import b", "def f():\n    from veilsum.parties import a"),
        ("import veilsum.parties.b", "from .a import g"),
        ("import veilsum.parties.b", "__import__('veilsum.parties.a')"),
    ],
)
def test_a_circle_is_reported(tmp_path: Path, one: str, two: str) -> None:
    tree = make_tree(tmp_path, {**GOOD, "parties/a.py": one, "parties/b.py": two})
    assert circles(tree) == {frozenset({"veilsum.parties.a", "veilsum.parties.b"})}


def test_a_circle_of_three_is_one(tmp_path: Path) -> None:
    files = {f"parties/{x}.py": f"import veilsum.parties.{y}\n" for x, y in ("ab", "bc", "ca")}
    tree = make_tree(tmp_path, {**GOOD, **files})
    assert circles(tree) == {frozenset(f"veilsum.parties.{one}" for one in "abc")}


def test_names_for_type_checkers_make_no_circle(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import veilsum.parties.a\n"
    files = {"parties/a.py": "import veilsum.parties.b\n", "parties/b.py": text}
    assert circles(make_tree(tmp_path, {**GOOD, **files})) == set()
