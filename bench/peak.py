"""The peak of extra memory of one step on files, in a process of its own.

`python -m bench.peak STEP FOLDER` runs encrypt, sum or decrypt on the files of a FOLDER that
bench/test_files.py made, and prints the bytes by which the process grew at its highest. The peak is
what the kernel counted (VmHWM): anonymous memory and mapped files; the page cache is not the
process's.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import veilsum as vs

__all__ = ["peak_bytes"]

STEPS = ("encrypt", "encrypt-resumable", "sum", "decrypt")


def peak_bytes(step: str, folder: Path) -> int:
    """Run a step in a fresh process.

    Parameters
    ----------
    step : str
        One of STEPS.
    folder : path
        With round.vs, in.npy, a.up, b.up, total.vs and sum.key.

    Returns
    -------
    int
        Bytes of memory beyond what the process had before the step.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.peak", step, str(folder)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    return int(done.stdout)


def _field(name: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(f"{name}:")[1].split()[0]) * 1024


def _main(step: str, folder: Path) -> None:
    rnd = vs.Round.load(folder / "round.vs")
    key = vs.SumKey.load(folder / "sum.key", rnd) if step == "decrypt" else None
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
    before = _field("VmRSS")
    if key is not None:
        vs.decrypt_file(key, vs.AggregateFile(folder / "total.vs", rnd), folder / "peak.npy")
    elif step == "sum":
        vs.sum_files(rnd, [folder / "a.up", folder / "b.up"], folder / "peak.vs")
    else:
        resume = step == "encrypt-resumable"
        vs.encrypt_file(rnd, folder / "in.npy", folder / "peak.up", resume=resume)
    print(max(_field("VmHWM") - before, 0))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
