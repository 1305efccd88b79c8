"""What a run ran on, so that its numbers can be read with their terms.

Federated loop, bottom. Processor, threads, instruction set and versions; no host or user names,
because reports are passed on.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import torch

from veilsum._core import build_info, isa_level, isa_levels

_PACKAGES = ("numpy", "torch", "scikit-learn", "scikit-survival", "cryptography", "matplotlib")


def processor_name() -> str:
    """Return the processor's model name, or its architecture where none is told."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe(device: torch.device, threads: int) -> dict[str, str]:
    """Return the terms of a run's numbers, by name, for people.

    Parameters
    ----------
    device : torch.device
        Where models train.
    threads : int
        That encryption uses.
    """
    build = build_info()
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    trained_on = str(device)
    if device.type == "cuda":
        trained_on = f"{device} ({torch.cuda.get_device_name(device)})"
    return {
        "processor": processor_name(),
        "cores usable": str(usable_cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "model trained on": trained_on,
        "encryption kernels": f"{isa_level()} (this machine has {', '.join(isa_levels())})",
        "encryption threads": str(threads),
        "pytorch threads": str(torch.get_num_threads()),
        "veilsum": f"{build['version']}, {build.get('compiler', 'unknown compiler')}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
