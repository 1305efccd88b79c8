"""The entry point of the command `veilsum`.

Above the package, because it must act before the package is imported: OpenMP's runtime reads how
its threads wait when it is loaded, and by default they spin. On a machine whose cores are busy
training, that turns fractions of a millisecond into tens of them.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main", "wait_passively"]

_WAIT_POLICY = "OMP_WAIT_POLICY"


def wait_passively() -> bool:
    """Ask OpenMP's threads to sleep while they wait, unless the user has chosen.

    Returns
    -------
    bool
        Whether it was this call that chose.
    """
    if _WAIT_POLICY in os.environ or "GOMP_SPINCOUNT" in os.environ:
        return False
    os.environ[_WAIT_POLICY] = "passive"
    return True


def main() -> int:
    """Run the command line of the arguments that the process was started with.

    Returns
    -------
    int
        The exit code.
    """
    wait_passively()
    from veilsum.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
