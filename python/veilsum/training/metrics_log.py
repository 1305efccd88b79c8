"""The log of a run: one record a round and method, each whole on disk before the next begins.

Training, bottom. A record is one JSON object. Everything in it follows from the configuration and
the machine, except what stands under "seconds" and "entropy" (of ciphertexts, which no seed
repeats) and the reasons of members that refused a sum, which may name its round: two runs with the
same seed differ only there.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import TracebackType

from veilsum.errors import named_failures
from veilsum.learning.metrics import Record


class MetricsLog:
    """Appends records to a JSON Lines file, each whole or not at all.

    Parameters
    ----------
    path : Path
        The file; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, record: Record) -> None:
        """Write one record and have it on disk before returning.

        Parameters
        ----------
        record : dict
            JSON values; numbers must be finite.

        Raises
        ------
        OSError
            When the disk is full; it names the file, which ends with the last whole record.
        """
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        end = os.fstat(self._descriptor).st_size
        # One system call a line: an interrupt comes before or after it, never inside a record.
        with named_failures(self._path):
            if os.write(self._descriptor, line) != len(line):
                os.ftruncate(self._descriptor, end)
                raise OSError(errno.ENOSPC, "no space left for a whole record of metrics")
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
