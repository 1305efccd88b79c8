"""The public names, and the typed stubs against the extensions as they are built."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import veilsum

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "veilsum"

PUBLIC = {
    "Accumulator", "Aggregate", "AggregateFile", "Answer", "BackendUnavailableError",
    "BadSharesError", "Certificate", "ChallengeAnswer", "Committee", "Endorsement",
    "FederatedAverager", "Group", "HeadroomError", "Identity", "KeyMismatchError", "Layout",
    "Member", "MemberRequest", "OpeningRequest", "PadStore", "ParameterError", "Plan",
    "Predictions", "PublicIdentity", "PublicKey", "Roster", "Round", "RoundError", "RowMean",
    "SecretKey", "SumKey", "TamperedSumError", "Task", "TrainingStep", "Upload", "UploadFile",
    "VeilsumError", "VeilsumWarning", "Verdict", "WireFormatError", "__version__", "blame",
    "build_info", "certify", "combine", "decrypt", "decrypt_file", "encrypt", "encrypt_file",
    "federate", "isa_level", "isa_levels", "keygen", "max_threads", "open_sum", "request_for",
    "sum_files", "weighted_sum",
}  # fmt: skip


def test_the_public_names_are_these():
    """A name that appears or goes is a decision, to be made here and in the changelog."""
    assert set(veilsum.__all__) == PUBLIC
    assert sorted(veilsum.__all__) == veilsum.__all__
    for name in veilsum.__all__:
        assert hasattr(veilsum, name)


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_public_names_are_documented(name):
    doc = inspect.getdoc(getattr(veilsum, name))
    assert doc
    assert doc.strip()


def test_the_version_is_that_of_the_project():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = re.findall(r'^version = "([^"]+)"', text, re.M)
    assert veilsum.__version__ == version
    assert veilsum.build_info()["version"] == version


def test_no_seed_can_be_injected_through_the_public_extension():
    """The door is in _core_testing alone: nothing in _core takes a seed."""
    core = importlib.import_module("veilsum._core")
    for name in dir(core):
        assert "seed" not in name.lower()
        assert "_seed" not in (getattr(core, name).__doc__ or "")
    assert "seed" not in (veilsum.encrypt.__doc__ or "").split("Parameters")[1].split("Returns")[0]


def test_modules_list_what_they_define():
    for path in sorted(PACKAGE.glob("*.py")):
        if path.stem.startswith("_") and path.stem != "__init__":
            continue
        name = "veilsum" if path.stem == "__init__" else f"veilsum.{path.stem}"
        module = importlib.import_module(name)
        for public in module.__all__:
            assert hasattr(module, public), f"{name}.{public}"


def test_typed_marker_ships():
    installed = Path(veilsum.__file__).parent
    assert (installed / "py.typed").exists()
    assert (installed / "_core.pyi").exists()


# --- stubs against the real thing ----------------------------------------------------------------


def stub(name: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{name}.pyi").read_text(encoding="utf-8"))


def stub_functions(body: list[ast.stmt]) -> dict[str, list[ast.FunctionDef]]:
    found: dict[str, list[ast.FunctionDef]] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
    return found


def stub_parameters(node: ast.FunctionDef) -> list[str]:
    arguments = [*node.args.posonlyargs, *node.args.args]
    names = [argument.arg for argument in arguments if argument.arg != "self"]
    if node.args.kwonlyargs:
        names += ["*", *(argument.arg for argument in node.args.kwonlyargs)]
    return names


def real_parameters(name: str, doc: str) -> list[list[str]]:
    """The parameters of each overload, from the signature line that pybind11 writes."""
    found = []
    for line in doc.splitlines():
        match = re.match(rf"(?:\d+\. )?{re.escape(name)}\((.*)\) -> ", line)
        if not match:
            continue
        depth, start, parts = 0, 0, []
        text = match[1]
        for at, character in enumerate(text):
            depth += (character in "[({") - (character in "])}")
            if character == "," and depth == 0:
                parts.append(text[start:at])
                start = at + 1
        parts.append(text[start:])
        names = [re.split(r"[:=]", part)[0].strip() for part in parts if part.strip()]
        found.append([part for part in names if part != "self"])
    return found


def check_functions(stubs: dict[str, list[ast.FunctionDef]], owner: object, where: str) -> None:
    for name, nodes in stubs.items():
        thing = getattr(owner, name, None)
        assert thing is not None, f"{where}.{name} is in the stub only"
        if any(isinstance(d, ast.Name) and d.id == "property" for d in nodes[0].decorator_list):
            assert isinstance(inspect.getattr_static(owner, name), property), f"{where}.{name}"
            continue
        if name in ("__eq__", "__hash__"):
            continue
        real = real_parameters(name, thing.__doc__ or "")
        assert real == [stub_parameters(node) for node in nodes], f"{where}.{name}"


def public_names(owner: object) -> set[str]:
    return {name for name in vars(owner) if not name.startswith("_")}


@pytest.mark.parametrize("name", ["_core", "_core_testing"])
def test_the_stub_is_true(name):
    importlib.import_module("veilsum._core")
    try:
        module = importlib.import_module(f"veilsum.{name}")
    except ModuleNotFoundError:
        assert name == "_core_testing"
        pytest.skip("veilsum._core_testing is not built (configure with -DVEILSUM_TESTING=ON)")
    tree = stub(name)
    functions = stub_functions(tree.body)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    check_functions(functions, module, name)
    named = {known for known in functions if not known.startswith("_")} | classes.keys()
    assert public_names(module) - {"annotations"} == named
    for class_name, node in classes.items():
        real = getattr(module, class_name)
        inner = stub_functions(node.body)
        where = f"{name}.{class_name}"
        if issubclass(real, Exception):
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            assert [base.__name__ for base in real.__bases__] == bases, where
            continue
        check_functions(inner, real, where)
        missing = public_names(real) - inner.keys()
        assert not missing, f"{where}: {sorted(missing)} are not in the stub"


@pytest.mark.parametrize("name", ["Plan"])
def test_compiled_docstrings_name_the_parameters_of_the_stub(name):
    """The compiled side of test_docstrings.py: a Parameters section names what the stub names."""
    doc = inspect.cleandoc(getattr(veilsum._core, name).__doc__)
    if "Parameters\n---" not in doc:
        pytest.xfail("the binding has no numpydoc docstring yet")
    text = doc.split("Parameters\n----------\n")[1].split("\n\n")[0]
    documented = re.findall(r"^(\w+) : ", text, re.M)
    (node,) = [
        node
        for node in ast.walk(stub("_core"))
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name
    ]
    if isinstance(node, ast.ClassDef):
        (node,) = stub_functions(node.body)["__init__"]
    assert documented == [part for part in stub_parameters(node) if part != "*"]


@pytest.mark.slow
def test_the_package_passes_mypy_strict():
    if shutil.which("mypy", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("mypy is not installed here (extra 'lint'); `make lint` runs it")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml",
         *PACKAGE.glob("*.py"), PACKAGE / "cli"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_completion_offers_public_names_only():
    assert dir(veilsum) == sorted(veilsum.__all__)
