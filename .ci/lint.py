"""Run every linter over the tree: ruff, mypy, clang-format, clang-tidy.

All of them run even when an early one fails, so that one run shows everything. `--fix` formats
instead of checking. The linters come from the environment that runs this script (`make lint`).
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[1]
BIN = pathlib.Path(sys.executable).parent
TIDY_BUILD = ROOT / "build" / "lint"


def cpp_files(*suffixes: str) -> list[str]:
    """Return the C++ files of the project with one of the suffixes, sorted."""
    folders = (ROOT / "cpp", ROOT / "tests" / "cpp")
    return sorted(
        str(path.relative_to(ROOT))
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in suffixes
    )


def python_folders() -> list[str]:
    """Return the folders with Python files that exist."""
    return [
        name for name in ("python", "tests", "bench", "examples", ".ci") if (ROOT / name).is_dir()
    ]


def run(name: str, *command: str) -> bool:
    """Run one linter from the repository's root and say how it went."""
    start = time.monotonic()
    result = subprocess.run(command, cwd=ROOT, check=False)
    verdict = "ok" if result.returncode == 0 else f"FAILED (exit {result.returncode})"
    print(f"lint: {name}: {verdict}, {time.monotonic() - start:.1f} s", flush=True)
    return result.returncode == 0


def check_format(clang_format: str, sources: list[str]) -> bool:
    """Run clang-format without changing anything; name the files it would change, once each."""
    start = time.monotonic()
    result = subprocess.run(
        [clang_format, "--dry-run", "--Werror", *sources],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    marked = [line.split(":", 1)[0] for line in result.stderr.splitlines() if ": error: " in line]
    for name in dict.fromkeys(marked):
        print(f"{name}: not in clang-format's style; `make format` rewrites it")
    if result.returncode != 0 and not marked:
        print(result.stderr)
    verdict = "ok" if result.returncode == 0 else "FAILED"
    print(f"lint: clang-format: {verdict}, {time.monotonic() - start:.1f} s", flush=True)
    return result.returncode == 0


def tidy_one(source: str) -> tuple[str, float, str]:
    """Run clang-tidy on one source; return its path, the seconds and what it found."""
    start = time.monotonic()
    result = subprocess.run(
        [
            str(BIN / "clang-tidy"),
            "--quiet",
            f"-p={TIDY_BUILD}",
            "--extra-arg=-Wno-unknown-warning-option",
            source,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = result.stdout or result.stderr if result.returncode != 0 else ""
    return source, time.monotonic() - start, found


def tidy(only: list[str]) -> bool:
    """Run clang-tidy over the core's sources, with the flags that the build would give them.

    The C++ tests are left out: they take longest, and they run under asan and ubsan anyway.
    The build folder is configured, never built. It uses std::thread because clang-tidy has no
    OpenMP header of its own.
    """
    start = time.monotonic()
    configure = subprocess.run(
        ["cmake", "--preset", "lint", f"-DPython_EXECUTABLE={sys.executable}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if configure.returncode != 0:
        print(configure.stdout, configure.stderr, "lint: clang-tidy: FAILED, CMake", sep="\n")
        return False
    commands = json.loads((TIDY_BUILD / "compile_commands.json").read_text(encoding="utf-8"))
    core = str(ROOT / "cpp")
    sources = sorted({command["file"] for command in commands if command["file"].startswith(core)})
    sources = [name for name in sources if not only or any(part in name for part in only)]
    bad = 0
    times: list[tuple[float, str]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for source, seconds, found in pool.map(tidy_one, sources):
            times.append((seconds, pathlib.Path(source).name))
            if found:
                bad += 1
                print(found, flush=True)
    verdict = f"FAILED in {bad} of {len(sources)} files" if bad else f"ok, {len(sources)} files"
    elapsed = time.monotonic() - start
    slowest = ", ".join(f"{name} {seconds:.0f} s" for seconds, name in sorted(times)[-3:])
    print(f"lint: clang-tidy: {verdict}, {elapsed:.1f} s (slowest: {slowest})")
    return bad == 0


def main() -> int:
    """Run the linters; return 0 when all are content."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fix", action="store_true", help="format the files instead of checking")
    parser.add_argument("--no-tidy", action="store_true", help="leave out clang-tidy, the slow one")
    parser.add_argument(
        "--tidy", nargs="+", metavar="PART", help="only clang-tidy, only such files"
    )
    options = parser.parse_args()
    ruff, clang_format = str(BIN / "ruff"), str(BIN / "clang-format")
    sources = cpp_files(".h", ".cpp")
    if options.fix:
        results = [
            run("ruff check", ruff, "check", "--fix", *python_folders()),
            run("ruff format", ruff, "format", *python_folders()),
            run("clang-format", clang_format, "-i", *sources),
        ]
        return 0 if all(results) else 1
    if options.tidy:
        return 0 if tidy(options.tidy) else 1
    results = [
        run("ruff check", ruff, "check", *python_folders()),
        run("ruff format", ruff, "format", "--check", *python_folders()),
        run("mypy", sys.executable, "-m", "mypy"),
        check_format(clang_format, sources),
    ]
    if not options.no_tidy:
        results.append(tidy([]))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
