"""Finds, and on request makes, the interpreters that the peers run in.

`python -m bench.peers.environments` makes a virtual environment for each peer in .venv-peers and
installs the peer there; what fails is reported and left out. The benchmarks only look: in
$VEILSUM_BENCH_<PEER> (an interpreter), then .venv-peers, then in the interpreter they run in.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PEERS", "VERSION_01", "Peer", "find", "install"]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-peers"
PROBE_TIMEOUT_S = 120


@dataclass(frozen=True)
class Peer:
    """One peer.

    Attributes
    ----------
    name : str
        Of its environment and of its runner script.
    title : str
        What tables call it.
    module : str
        What must import.
    requirements : tuple of str
        What pip installs.
    settings : dict of str to str
        The runner's settings, with what tables call them.
    tolerance : float
        Largest error of twice a value in [-1, 1].
    pythons : tuple of str
        Minor versions that the peer has wheels for, best first; empty for any.
    probe : str
        What must run in the peer's interpreter; by default the module's import.
    """

    name: str
    title: str
    module: str
    requirements: tuple[str, ...]
    settings: dict[str, str]
    tolerance: float
    pythons: tuple[str, ...] = ()
    probe: str = ""

    @property
    def imports(self) -> str:
        """The statement that shows that an interpreter has the peer."""
        return self.probe or f"import {self.module}"

    @property
    def runner(self) -> Path:
        """The script that runs in the peer's interpreter."""
        return Path(__file__).resolve().parent / f"{self.name}_runner.py"


PEERS = (
    Peer(
        name="openfhe",
        title="OpenFHE CKKS",
        module="openfhe",
        requirements=(
            "numpy",
            "openfhe==1.6.1.0.22.4; python_version == '3.10'",
            "openfhe==1.6.1.0.24.4; python_version != '3.10'",
        ),
        settings={"adds": "sums only", "weight": "room for one weight"},
        tolerance=1e-5,
        pythons=("3.10", "3.12"),
    ),
    Peer(
        name="tenseal",
        title="TenSEAL CKKS",
        module="tenseal",
        requirements=("numpy", "tenseal"),
        settings={"nvflare": "NVFLARE's parameters"},
        tolerance=1e-4,
    ),
    Peer(
        name="paillier",
        title="python-paillier",
        module="phe",
        requirements=("numpy", "phe", "gmpy2"),
        settings={"per value": "one ciphertext a value"},
        tolerance=1e-5,
    ),
    Peer(
        name="flower",
        title="Flower SecAgg+ masking",
        module="flwr",
        requirements=("numpy", "flwr>=1.11"),
        settings={"2": "2 neighbours", "9": "9 neighbours"},
        tolerance=2 * 2.0 / 2**16 + 1e-6,
    ),
)

VERSION_01 = Peer(
    name="version_01",
    title="Veilsum 0.1",
    module="veilsum",
    requirements=("numpy", f"git+file://{ROOT}@8f5e572"),
    settings={},
    tolerance=1e-4,
    probe="import veilsum; veilsum.Plan(clients=2).lanes",
)
"""The version before this one, from the repository's own history."""


def find(peer: Peer) -> tuple[str | None, str]:
    """Return an interpreter that imports the peer, or None; and what was found or why not."""
    candidates = []
    if given := os.environ.get(f"VEILSUM_BENCH_{peer.name.upper()}"):
        candidates.append(given)
    candidates += [str(FOLDER / peer.name / "bin" / "python"), sys.executable]
    reason = ""
    for python in candidates:
        if not Path(python).exists():
            continue
        ok, reason = _try([python, "-c", peer.imports])
        if ok:
            return python, "found"
    return None, f"no interpreter here imports {peer.module} ({reason}); see bench/README.md"


def install(peer: Peer) -> tuple[bool, str]:
    """Make the peer's environment; return whether it imports, and why not."""
    home = FOLDER / peer.name
    python = str(home / "bin" / "python")
    if Path(python).exists() and _try([python, "-c", peer.imports])[0]:
        return True, "there already"
    bases = _interpreters(peer.pythons)
    if not bases:
        return False, f"needs CPython {' or '.join(peer.pythons)}, and none is on this machine"
    reason = ""
    for base in bases:
        shutil.rmtree(home, ignore_errors=True)
        for command in (
            [base, "-m", "venv", str(home)],
            [python, "-m", "pip", "install", "--quiet", *peer.requirements],
            [python, "-c", peer.imports],
        ):
            ok, reason = _try(command, timeout_s=900)
            if not ok:
                break
        else:
            return True, "installed"
    shutil.rmtree(home, ignore_errors=True)
    return False, reason


def _interpreters(versions: tuple[str, ...]) -> list[str]:
    """Return working interpreters of these minor versions; this one when any will do."""
    if not versions:
        return [sys.executable]
    found = []
    for version in versions:
        names = [shutil.which(f"python{version}")]
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        names += [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python"))]
        for name in names:
            if name and _try([name, "-c", "import venv"])[0]:
                found.append(name)
                break
    return found


def _try(command: list[str], timeout_s: float = PROBE_TIMEOUT_S) -> tuple[bool, str]:
    """Run a command quietly; return whether it worked, and the last line it wrote if not."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, type(error).__name__
    if result.returncode == 0:
        return True, ""
    lines = result.stderr.strip().splitlines()
    last = lines[-1] if lines else f"exit status {result.returncode}"
    return False, re.sub(r"(/[\w.+-]+)+/", "", last)  # results files name no machine's folders


def main() -> int:
    """Make every environment that can be made; a peer that fails is only reported."""
    for peer in (*PEERS, VERSION_01):
        ok, reason = install(peer)
        print(f"peer {peer.title}: {reason if ok else 'left out: ' + reason}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
