"""Progress of long work on a terminal: a bar by the package rich when there is one, else one line.

Layer: command line, under the commands. The core calls back with (values done, values in all) from
the calling thread; that also lets Ctrl-C through, so commands pass a `Progress` even when nothing
is shown.
"""

from __future__ import annotations

import argparse
import sys
import time
from types import TracebackType
from typing import Any

__all__ = ["Progress"]

_INTERVAL_S = 0.1


class Progress:
    """A callback for the core, and a context manager around the work.

    Shows something only when standard error is a terminal and the command is not quiet, and only
    from the second call on, so that short work stays silent.
    """

    def __init__(self, args: argparse.Namespace, label: str, unit: str = "values") -> None:
        """Prepare to show progress.

        Parameters
        ----------
        args : Namespace
            The parsed options, for --quiet and --json.
        label : str
            What is being done.
        unit : str
            What is counted.
        """
        quiet = bool(args.quiet or getattr(args, "json", False))
        self._shown = not quiet and sys.stderr.isatty()
        self._label = label
        self._unit = unit
        self._start_s = 0.0
        self._last_s = 0.0
        self._bar: Any = None
        self._task: Any = None
        self._dirty = False

    def __enter__(self) -> Progress:
        self._start_s = self._last_s = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._dirty:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __call__(self, done: int, total: int) -> None:
        """Show how far the work is.

        Parameters
        ----------
        done : int
            How much is done.
        total : int
            How much there is.
        """
        if not self._shown:
            return
        now_s = time.monotonic()
        if now_s - self._last_s < _INTERVAL_S:
            return
        self._last_s = now_s
        if self._bar is None and not self._dirty:
            self._begin(total)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
            return
        share = 100 * done // max(total, 1)
        rate = done / max(now_s - self._start_s, 1e-9)
        sys.stderr.write(f"\r\x1b[K{self._label}: {share}% ({rate:,.0f} {self._unit}/s)")
        sys.stderr.flush()

    def _begin(self, total: int) -> None:
        try:
            from rich import progress
            from rich.console import Console
        except ImportError:
            self._dirty = True
            return
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(self._label, total=total)
        self._bar.start()
