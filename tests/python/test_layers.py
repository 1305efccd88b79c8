"""The layers of the C++ core depend on each other one way only.

Reads the include lines of cpp/ and reports every one that goes against the chain
bindings > openfhe > aggregate, cipher > scheme > ring > isa > base; the two in one place do not
include each other. The checker itself is run over
trees that are wrong on purpose. That a layer also links without those above it is checked by
tests/cpp/CMakeLists.txt.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "cpp"

# Lowest first. OpenFHE's engine sits on top of the native core; only the bindings, which offer
# engines to the user, may know it.
LAYERS = (
    ("base",),
    ("isa",),
    ("ring",),
    ("scheme",),
    ("cipher", "aggregate"),
    ("openfhe",),
    ("bindings",),
)
RANK = {layer: rank for rank, layers in enumerate(LAYERS) for layer in layers}

# Other people's headers and constructs that belong to one layer.
ONLY_IN = (
    (re.compile(r"^\s*#\s*pragma\s+omp\b"), "base", "OpenMP pragmas"),
    (re.compile(r"^\s*#\s*include\s*[<\"]omp\.h[>\"]"), "base", "omp.h"),
    (re.compile(r"^\s*#\s*include\s*[<\"](pybind11/|Python\.h)"), "bindings", "pybind11"),
    (re.compile(r"^\s*#\s*include\s*(<openfhe|\"openfhe\.h)"), "openfhe", "OpenFHE"),
)
INCLUDE = re.compile(r"^\s*#\s*include\b\s*(?P<what>.*)$")
TARGET = re.compile(r"^[<\"](?P<path>[^>\"]+)[>\"]")
DECLARED_LAYER = re.compile(r"Layer:\s*(?P<layer>\w+)")


def sources(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix in {".h", ".hpp", ".cpp", ".inc"})


def public_layer(header: Path) -> str | None:
    """Return the layer that a public header declares in its opening paragraph."""
    match = DECLARED_LAYER.search(header.read_text(encoding="utf-8")[:400])
    return match["layer"] if match and match["layer"] in RANK else None


def layer_of(file: Path, root: Path) -> str | None:
    if file.is_relative_to(root / "src"):
        layer = file.relative_to(root / "src").parts[0]
        return layer if layer in RANK else None
    return public_layer(file)


def check_include(file: Path, layer: str, target: str, root: Path) -> str | None:
    """Return what is wrong with `#include "target"` in `file`, or None."""
    first = target.split("/", 1)[0]
    if ".." in target.split("/"):
        return "leaves its folder by '..'; write the path from cpp/src"
    if first == "veilsum":
        header = root / "include" / target
        if not header.is_file():
            return "names a public header that does not exist"
        other = public_layer(header)
        if other is None:
            return "includes a public header that does not declare its layer"
    elif first in RANK and "/" in target:
        if file.is_relative_to(root / "include"):
            return "is a private header, included by a public one"
        other = first
    else:
        return None
    if RANK[other] > RANK[layer] or (RANK[other] == RANK[layer] and other != layer):
        return f"layer {layer} may not include layer {other}"
    if other == "openfhe" and layer not in {"openfhe", "bindings"}:
        return f"layer {layer} may not include layer openfhe"
    return None


def violations(root: Path) -> list[str]:
    """Return one line for each breach of the layer rule below `root` (the folder cpp)."""
    found = []
    for file in [*sources(root / "src"), *sources(root / "include")]:
        name = file.relative_to(root)
        layer = layer_of(file, root)
        if layer is None:
            found.append(f"{name}: belongs to no layer")
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            where = f"{name}:{number}: {line.strip()}"
            found += [
                f"{where}: {thing} belong to layer {owner}"
                for pattern, owner, thing in ONLY_IN
                if pattern.match(line) and layer != owner
            ]
            include = INCLUDE.match(line)
            if not include:
                continue
            target = TARGET.match(include["what"])
            if not target:
                found.append(f"{where}: an include the checker cannot read")
            elif wrong := check_include(file, layer, target["path"], root):
                found.append(f"{where}: {wrong}")
    return found


def test_the_core_keeps_to_the_chain() -> None:
    assert sources(ROOT / "src"), f"no C++ sources under {ROOT}"
    assert violations(ROOT) == []


def make_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


GOOD = {
    "include/veilsum/errors.h": "// Layer: base (public).\n#include <string>\n",
    "include/veilsum/plan.h": '// Layer: scheme (public).\n#include "veilsum/errors.h"\n',
    "src/base/wipe.h": '#include "veilsum/errors.h"\n#include <cstddef>\n',
    "src/base/parallel.h": "#include <omp.h>\n  #pragma omp parallel for\n",
    "src/isa/kernels.h": '#include "base/wipe.h"\n',
    "src/isa/avx512/ntt.cpp": '#include <immintrin.h>\n#include "isa/kernels.h"\n',
    "src/ring/ring.cpp": '#include "isa/kernels.h"\n#include "ring/ring.h"\n#include "ring.h"\n',
    "src/scheme/plan.cpp": '#include "veilsum/plan.h"\n// #include "cipher/digits.h"\n',
    "src/openfhe/engine.cpp": '#include <openfhe.h>\n#include "aggregate/sum.h"\n',
    "src/bindings/module.cpp": '#include <pybind11/numpy.h>\n#include "openfhe/engine.h"\n',
    "src/bindings/testing/door.cpp": '#include "scheme/keys.h"\n',
}


def test_a_right_tree_has_no_violations(tmp_path: Path) -> None:
    assert violations(make_tree(tmp_path, GOOD)) == []


@pytest.mark.parametrize(
    ("file", "line", "reason"),
    [
        ("src/base/bad.h", '#include "isa/kernels.h"', "base may not include layer isa"),
        ("src/base/bad.h", "#include <ring/ring.h>", "base may not include layer ring"),
        ("src/isa/avx512/bad.cpp", '  #  include "ring/ring.h"', "isa may not include layer ring"),
        ("src/ring/bad.cpp", '#include "scheme/plan.h"  // why', "ring may not include layer"),
        ("src/scheme/bad.cpp", '#include "cipher/digits.h"', "scheme may not include layer cipher"),
        ("src/cipher/bad.cpp", '#include "aggregate/sum.h"', "cipher may not include layer"),
        (
            "src/aggregate/bad.cpp",
            '#include "cipher/pads.h"',
            "aggregate may not include layer cipher",
        ),
        ("src/aggregate/bad.cpp", '#include "bindings/array.h"', "aggregate may not include"),
        ("src/aggregate/bad.cpp", '#include "openfhe/engine.h"', "may not include layer openfhe"),
        ("src/ring/bad.cpp", '#include "../scheme/plan.h"', "by '..'"),
        ("src/ring/bad.cpp", '#include "ring/../scheme/plan.h"', "by '..'"),
        ("src/ring/bad.cpp", '#include "veilsum/plan.h"', "ring may not include layer scheme"),
        ("src/ring/bad.cpp", '#include "veilsum/none.h"', "does not exist"),
        ("src/ring/bad.cpp", "#include HEADER", "cannot read"),
        ("include/veilsum/bad.h", "// Layer: scheme.\n#include <scheme/plan.h>", "private header"),
        ("include/veilsum/bad.h", '// Layer: base.\n#include "veilsum/plan.h"', "layer scheme"),
        ("include/veilsum/bad.h", "#pragma once", "belongs to no layer"),
        ("src/extras/bad.h", "#pragma once", "belongs to no layer"),
        ("src/scheme/bad.cpp", "#pragma omp parallel", "OpenMP pragmas belong to layer base"),
        ("src/scheme/bad.cpp", "#include <omp.h>", "omp.h belong to layer base"),
        ("src/cipher/bad.cpp", "#include <pybind11/numpy.h>", "belong to layer bindings"),
        ("src/scheme/bad.cpp", "#include <openfhe.h>", "belong to layer openfhe"),
        ("src/bindings/bad.cpp", '#include "openfhe.h"', "belong to layer openfhe"),
    ],
)
def test_a_wrong_tree_is_reported(tmp_path: Path, file: str, line: str, reason: str) -> None:
    tree = make_tree(tmp_path, {**GOOD, file: f"{line}\n"})
    found = violations(tree)
    assert len(found) == 1, found
    assert file.removeprefix("cpp/") in found[0]
    assert reason in found[0]


def test_the_package_imports_nothing_that_is_not_installed_with_it():
    """bench/ and tests/ import the package, never the other way round."""
    foreign = re.compile(r"^\s*(?:from|import)\s+(bench|tests|parties|oracle)\b", re.MULTILINE)
    package = ROOT.parent / "python" / "veilsum"
    found = [str(path) for path in package.rglob("*.py") if foreign.search(path.read_text("utf-8"))]
    assert found == []
