"""`python -m veilsum` is the same as the command `veilsum`."""

import os
import sys

from veilsum_command import main, wait_passively

if __name__ == "__main__":
    # The package, and with it OpenMP's runtime, is loaded by now: begin anew.
    if wait_passively():
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves
    sys.exit(main())
