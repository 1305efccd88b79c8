"""`python -m veilsum` is the same as the command `veilsum`."""

import sys

from veilsum.cli import main

if __name__ == "__main__":
    sys.exit(main())
