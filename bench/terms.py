"""The terms of a run: processor, instruction set, threads, versions, commit, date, load.

Never a host name, a user or a path: results files are committed.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import veilsum

__all__ = ["collect", "machine_slug", "memory_available", "openssl_version", "other_load"]

ROOT = Path(__file__).resolve().parents[1]
# What a number depends on.
SOURCES = ("cpp", "python", "cmake", "bench", ":!bench/results")


def collect(profile: str) -> dict[str, Any]:
    """Return what a reader needs to judge or repeat a run's numbers."""
    cpu = _cpu_info()
    build = veilsum.build_info()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "profile": profile,
        "cpu": _cpu_name(cpu),
        "cpu_id": _cpu_id(cpu),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(_meminfo("MemTotal") / 2**30, 1),
        "load_at_start": other_load(),
        "system": f"{platform.system()} {platform.machine()}",
        "isa": veilsum.isa_level(),
        "isa_present": list(veilsum.isa_levels()),
        "isa_forced": bool(os.environ.get("VEILSUM_ISA")),
        "max_threads": veilsum.max_threads(),
        "veilsum": veilsum.__version__,
        "compiler": str(build["compiler"]),
        "openmp": bool(build["openmp"]),
        "testing_build": bool(build.get("testing")),
        "commit": _commit(),
        "python": platform.python_version(),
        "numpy": importlib.metadata.version("numpy"),
        "cryptography": importlib.metadata.version("cryptography"),
        "openssl": openssl_version(),
        "pytest_benchmark": importlib.metadata.version("pytest-benchmark"),
    }


def machine_slug(terms: dict[str, Any]) -> str:
    """Return the name of a machine's results file: its processor and cores, nothing personal."""
    name = re.sub(r"\((r|tm)\)|\bcpu\b|@.*", " ", str(terms["cpu"]).lower())
    words = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    cores = int(terms["cores"])
    return f"{words or 'unknown'}-{cores}-core{'s' if cores != 1 else ''}"


def openssl_version() -> str:
    """Return the version of the OpenSSL that `cryptography` brings."""
    from cryptography.hazmat.backends.openssl import backend

    return backend.openssl_version_text()


def memory_available() -> int:
    """Return the bytes that can be allocated without swapping; 0 when unknown."""
    return _meminfo("MemAvailable")


def other_load(seconds: float = 0.5) -> float | None:
    """Return how many cores are busy while this process sleeps; None where nothing tells.

    A load average would also count the benchmarks that ran until now.
    """
    before = _busy_ticks()
    time.sleep(seconds)
    after = _busy_ticks()
    if before is None or after is None:
        return None
    return round((after - before) / os.sysconf("SC_CLK_TCK") / seconds, 2)


def _busy_ticks() -> int | None:
    """Return the clock ticks that all cores worked for; time taken by other machines included."""
    try:
        words = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, words[1:9])
    return user + nice + system + irq + softirq + steal


def _cpu_info() -> dict[str, str]:
    """Return the fields of the first processor from the Linux kernel; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cpu_name(cpu: dict[str, str]) -> str:
    return cpu.get("model name") or platform.processor() or platform.machine() or "unknown"


def _cpu_id(cpu: dict[str, str]) -> str:
    """Return family, model and stepping: virtual machines often hide the model's name."""
    fields = [(name, cpu.get(name)) for name in ("cpu family", "model", "stepping")]
    return ", ".join(f"{name.removeprefix('cpu ')} {value}" for name, value in fields if value)


def _meminfo(name: str) -> int:
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return 0
    match = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _commit() -> str:
    """Return the commit of this working tree, with what the working tree adds to it."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", *SOURCES)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head} with local changes" if changed else head


def _git(*arguments: str) -> str:
    result = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()
