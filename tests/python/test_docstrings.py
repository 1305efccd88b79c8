"""Public docstrings are numpydoc, and their parameters are those of the signature.

Walks every public module, class, method and function that Python code of the package defines. What
a docstring documents must be true everywhere; in the modules that users call (`COMPLETE`) it must
also be complete. The compiled classes are checked through their stub in test_public_api.py.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest

import veilsum

SECTIONS = (
    "Parameters", "Returns", "Yields", "Raises", "Attributes", "Notes", "References", "Examples",
    "See Also", "Warns", "Warnings",
)  # fmt: skip

# Packages with many optional dependencies: their modules are walked where they can be imported.
OPTIONAL = {
    "torch", "sksurv", "sklearn", "pandas", "matplotlib", "tensorboard", "rich", "tomli", "flwr",
    "scipy", "transformers", "peft", "tenseal", "opacus", "polars", "openfhe",
}  # fmt: skip

#: Where every parameter and every result has to be documented.
COMPLETE = re.compile(r"veilsum\.(cli|crypto|errors|files|keys|layout|rounds)(\.|$)")


def modules() -> Iterator[str]:
    yield "veilsum"
    for found in pkgutil.walk_packages(veilsum.__path__, "veilsum.", onerror=lambda _: None):
        parts = found.name.split(".")
        # A testing build has a shared library beside its extensions, which is no module.
        if not any(part.startswith(("_", "lib")) for part in parts):
            yield found.name


def sections(doc: str) -> dict[str, list[str]]:
    """Cut a docstring into its numpydoc sections; the text before the first is under ''."""
    out: dict[str, list[str]] = {"": []}
    name = ""
    lines = inspect.cleandoc(doc).splitlines()
    for index, line in enumerate(lines):
        if index + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[index + 1]):
            name = line
            assert name in SECTIONS, f"unknown section {name!r}"
            assert len(lines[index + 1]) == len(name), f"underline of {name!r}"
            assert name not in out, f"section {name!r} twice"
            out[name] = []
        elif not re.fullmatch(r"-{3,}", line):
            out[name].append(line)
    return out


def entries(lines: list[str]) -> dict[str, str]:
    """The names and descriptions of a Parameters, Attributes or Raises section."""
    out: dict[str, str] = {}
    current: list[str] = []
    for line in lines:
        if line and not line.startswith(" "):
            # "a, b : int" documents two parameters.
            current = [part.strip() for part in line.split(" : ")[0].split(",")]
            for name in current:
                assert name not in out, f"{name!r} twice"
                out[name] = ""
        else:
            for name in current:
                out[name] += line
    return out


def members(module_name: str) -> Iterator[tuple[str, object, bool]]:
    """Public things that the module itself defines: name, object, whether it takes parameters."""
    module = importlib.import_module(module_name)
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module_name:
            continue
        label = f"{module_name}.{name}"
        if inspect.isclass(thing):
            yield label, thing, False
            for inner, value in vars(thing).items():
                # Without a docstring of its own, __init__ is documented by its class.
                documented_init = inner == "__init__" and value.__doc__
                if inner.startswith("_") and not documented_init:
                    continue
                if isinstance(value, (staticmethod, classmethod)):
                    value = value.__func__
                if inspect.isfunction(value) and value.__module__ == module_name:
                    yield f"{label}.{inner}", value, True
                elif isinstance(value, property):
                    yield f"{label}.{inner}", value.fget, False
        elif inspect.isfunction(thing):
            yield label, thing, True


def collect() -> list:
    found = []
    for name in modules():
        try:
            for label, thing, callable_ in members(name):
                found.append(pytest.param(thing, callable_, id=label))
        except ModuleNotFoundError as missing:
            if (missing.name or "").split(".")[0] not in OPTIONAL:
                raise
            reason = f"{name} needs the optional package {missing.name}"
            found.append(pytest.param(None, False, id=name, marks=pytest.mark.skip(reason=reason)))
    return found


@pytest.mark.parametrize(("thing", "callable_"), collect())
def test_docstring(thing, callable_, request):
    label = request.node.callspec.id
    doc = thing.__doc__
    assert doc, f"{label} has no docstring"
    found = sections(doc)
    summary = inspect.cleandoc(doc).splitlines()[0]
    assert summary.endswith("."), f"{label}: the summary line does not end in a full stop"
    if not callable_ and not (inspect.isclass(thing) and "Parameters" in found):
        return
    signature = inspect.signature(thing)
    names = [name for name in signature.parameters if name not in ("self", "cls")]
    documented = entries(found.get("Parameters", []))
    complete = COMPLETE.match(label)
    if documented or complete:
        assert [name.lstrip("*") for name in documented] == names, label
    for name, text in documented.items():
        assert text.strip(), f"{label}: parameter {name!r} has no description"
    returns = signature.return_annotation
    gives = returns not in (None, "None", "NoReturn", inspect.Signature.empty)
    described = "Returns" in found or "Yields" in found
    if complete and names and gives and not inspect.isclass(thing):
        assert described, f"{label} returns {returns} but has no Returns section"
    assert not described or gives, f"{label} describes a result it does not give"
    for error, text in entries(found.get("Raises", [])).items():
        assert re.fullmatch(r"(veilsum\.)?\w+(Error|Interrupt)", error), f"{label}: {error!r}"
        assert text.strip(), f"{label}: {error} is not explained"


@pytest.mark.parametrize("name", list(modules()))
def test_each_module_opens_with_a_paragraph(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in OPTIONAL:
            raise
        pytest.skip(f"{name} needs the optional package {missing.name}")
    assert module.__doc__
    assert module.__doc__.strip()
