"""Test the OpenFHE engine through the Python package `openfhe`, in an environment of its own.

`make test-openfhe` and `make test` run this. The package has wheels for CPython 3.10 and 3.12 on
Linux x86-64 only, and the project's own environment need not be one of them. Where there is none,
or the package does not install, this says so and succeeds: the engine is optional. A test that
fails is a failure, and so is a build that breaks where the package is there.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".venv-openfhe"
PACKAGES = {"3.10": "openfhe==1.6.1.0.22.4", "3.12": "openfhe==1.6.1.0.24.4"}
NEEDS = (
    "numpy>=1.23.5",
    "cryptography>=48",
    "pytest>=8.0",
    "pytest-timeout>=2.3",
    "pytest-benchmark>=5.0",
)
TESTS = (
    "tests/python/engines",
    "tests/python/security",
    "tests/python/test_openfhe_vectors.py",
)
INSTALL_TIMEOUT_S = 300
BUILD_TIMEOUT_S = 1200


def run(*command: str, timeout_s: float) -> tuple[bool, str]:
    """Run a command; return whether it worked, and the end of what it wrote."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, env=environment,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"{type(error).__name__} in {command[0]}"
    return done.returncode == 0, (done.stdout + done.stderr).strip()[-2000:]


def interpreters() -> list[tuple[str, str]]:
    """Return the version and path of each Python that the package has a wheel for."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = []
    for version in PACKAGES:
        paths = [
            shutil.which(f"python{version}"),
            *map(str, sorted(pyenv.glob(f"{version}.*/bin/python"))),
        ]
        for path in paths:
            # A shim may exist for a version that is not installed, so ask it.
            probe = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
            if path and run(path, "-c", probe, timeout_s=60) == (True, version):
                found.append((version, path))
                break
    return found


def prepare() -> tuple[str | None, str]:
    """Make or find the environment; return its Python, or None and the reason."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None, "the package openfhe exists for Linux on x86-64 only"
    python = str(HOME / "bin" / "python")
    if run(python, "-c", "import openfhe, pytest, cryptography", timeout_s=120)[0]:
        return python, ""
    reason = f"no CPython {' or '.join(PACKAGES)} on this machine"
    for version, base in interpreters():
        shutil.rmtree(HOME, ignore_errors=True)
        pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet",
               "--only-binary=:all:", "--timeout=20", "--retries=2")  # fmt: skip
        for command in (
            (base, "-m", "venv", str(HOME)),
            (*pip, "--upgrade", "pip>=24"),
            (
                *pip,
                PACKAGES[version],
                *NEEDS,
                "-c",
                "constraints.txt",
                "scikit-build-core",
                "pybind11",
            ),
            (python, "-c", "import openfhe"),
        ):
            worked, text = run(*command, timeout_s=INSTALL_TIMEOUT_S)
            if not worked:
                reason = (
                    f"CPython {version}: {text.splitlines()[-1] if text else 'no reason given'}"
                )
                break
        else:
            return python, ""
    shutil.rmtree(HOME, ignore_errors=True)
    return None, reason


def main() -> int:
    """Prepare, build, test; return the exit status."""
    python, reason = prepare()
    if python is None:
        print(f"test-openfhe: left out: {reason}", flush=True)
        return 0
    worked, text = run(
        python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps",
        "--no-build-isolation", "--force-reinstall", "-Cbuild-dir=build/{wheel_tag}-openfhe",
        "-Ccmake.define.VEILSUM_OPENFHE=OFF", ".", timeout_s=BUILD_TIMEOUT_S,
    )  # fmt: skip
    if not worked:
        print(text, "test-openfhe: FAILED: Veilsum did not build", sep="\n", flush=True)
        return 1
    # This is the build that users get. With CI set, tests/python/conftest.py asks for the testing
    # build instead, which the project's own environment has.
    left_out = ("PYTHONPATH", "CI")
    environment = {key: value for key, value in os.environ.items() if key not in left_out}
    environment["VEILSUM_OPENFHE_BACKEND"] = "wheel"
    tests = subprocess.run(
        [python, "-m", "pytest", "-q", "-m", "not slow", *TESTS, *sys.argv[1:]],
        cwd=ROOT, env=environment, check=False,
    )  # fmt: skip
    return tests.returncode


if __name__ == "__main__":
    sys.exit(main())
