"""Say what this machine and this build of Veilsum can do.

Versions, instruction sets, threads, engines, GPU. Exits with 0 also when optional parts are
missing: it only tells.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

import veilsum
from veilsum.cli.common import add_json, print_table
from veilsum.engines import openfhe
from veilsum.errors import VeilsumError, install_advice

__all__ = ["add_arguments", "run"]

#: What the extra `train` brings, by the names of distributions; a test compares pyproject.toml.
_TRAIN = (
    "torch",
    "scikit-survival",
    "scikit-learn",
    "matplotlib",
    "tensorboard",
    "rich",
    "safetensors",
    *(("tomli",) if sys.version_info < (3, 11) else ()),
)
_OPTIONAL = (*_TRAIN, "polars", "tenseal", "opacus")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Parameters
    ----------
    args : Namespace
        The parsed options.

    Returns
    -------
    int
        0.
    """
    facts = _collect()
    if args.json:
        import json

        print(json.dumps(facts, indent=2))
    elif not args.quiet:
        print_table(_rows(facts))
    return 0


def _collect() -> dict[str, Any]:
    build = dict(veilsum.build_info())
    optional = {name: _version(name) for name in _OPTIONAL}
    level, wrong = _isa_level()
    return {
        "veilsum": veilsum.__version__,
        "build": {key: value for key, value in build.items() if key != "version"},
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cryptography": _version("cryptography"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "isa_level": level,
        "isa_levels": list(veilsum.isa_levels()),
        "isa_forced": os.environ.get("VEILSUM_ISA") or None,
        "isa_error": wrong,
        "aes": _aes(),
        "threads": veilsum.max_threads(),
        "engines": _engines(build),
        "gpu": _gpu(),
        "train_lacks": [name for name in _TRAIN if optional[name] is None],
        "optional": optional,
    }


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    build = facts["build"]
    forced = f" (forced by VEILSUM_ISA={facts['isa_forced']})" if facts["isa_forced"] else ""
    rows = [
        ("veilsum", facts["veilsum"]),
        ("python", f"{facts['python']}, numpy {facts['numpy']}"),
        ("", f"cryptography {facts['cryptography'] or 'missing'}"),
        ("compiler", f"{build.get('compiler', 'unknown')}"),
        ("openmp", str(build.get("openmp") or "not in this build")),
        ("machine", f"{facts['system']}, {facts['processor']}"),
        ("isa", facts["isa_error"] or f"{facts['isa_level']} active{forced}"),
        ("", f"present: {', '.join(facts['isa_levels'])}"),
        ("aes", facts["aes"]),
        ("threads", str(facts["threads"])),
    ]
    for index, (name, state) in enumerate(facts["engines"].items()):
        rows.append(("engines" if index == 0 else "", f"{name}: {state}"))
    for index, line in enumerate(facts["gpu"]["lines"]):
        rows.append(("gpu" if index == 0 else "", line))
    lacks = ", ".join(facts["train_lacks"])
    ready = f"lacks {lacks}; {install_advice('train')}" if lacks else "has all that it needs"
    rows.append(("train", ready))
    for index, (name, version) in enumerate(facts["optional"].items()):
        rows.append(("optional" if index == 0 else "", f"{name} {version or 'not installed'}"))
    if build.get("testing"):
        rows.append(("note", "built with VEILSUM_TESTING: seeds can be injected; not for use"))
    return rows


def _isa_level() -> tuple[str | None, str | None]:
    """Return the level in use, or what is wrong with VEILSUM_ISA: other commands end by it."""
    try:
        return veilsum.isa_level(), None
    except VeilsumError as reason:
        return None, f"{reason}; unset it, or no other command will work"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_info(field: str) -> str:
    """Read one field of the first processor from the Linux kernel; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _processor() -> str:
    return _cpu_info("model name") or platform.processor() or "unknown processor"


def _aes() -> str:
    flags = set(_cpu_info("flags").split())
    if not flags:
        return "unknown on this system"
    if "vaes" in flags:
        return "instructions present (AES-NI, VAES)"
    if "aes" in flags:
        return "instructions present (AES-NI)"
    return "no instructions: a slower constant-time fallback gives the same bytes"


def _engines(build: dict[str, Any]) -> dict[str, str]:
    engines = dict.fromkeys(build.get("engines", ["native"]), "built in")
    try:
        engines["openfhe"] = openfhe.describe()
    except VeilsumError as reason:
        engines["openfhe"] = str(reason).removeprefix("engine 'openfhe' is ")
    return engines


def _gpu() -> dict[str, Any]:
    if importlib.util.find_spec("torch") is None:
        return {
            "torch": None,
            "cuda": False,
            "lines": ["none: torch is not installed"],
        }
    try:
        import torch

        devices = []
        if torch.cuda.is_available():
            devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        lines = devices or [f"none that torch {torch.__version__} can use"]
        return {"torch": str(torch.__version__), "cuda": bool(devices), "lines": lines}
    except Exception as reason:  # a broken torch or driver must not stop the doctor
        return {"torch": None, "cuda": False, "lines": [f"torch fails to load: {reason}"]}
