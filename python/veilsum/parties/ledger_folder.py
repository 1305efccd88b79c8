"""Where a member records what it endorsed, when its identity is in this process alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def ledger_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder for the ledger of a member whose identity is in this process alone.

    What a member records has to last as long as its identity: here, until the process ends. So it
    may lie in memory, where the system has such a folder, and members need not wait for a disk.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the folder made in it is the user's own
    there = memory.is_dir() and os.access(memory, os.W_OK)
    return tempfile.TemporaryDirectory(prefix="veilsum-member-", dir=memory if there else None)
