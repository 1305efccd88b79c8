"""The command `veilsum`.

Layer: above the whole Python API. `main` is the entry point; each module of `veilsum.cli.commands`
is one command and is imported only when it is asked for.
"""

from __future__ import annotations

from veilsum.cli.dispatch import main

__all__ = ["main"]
