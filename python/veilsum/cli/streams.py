"""Standard output and error for commands: what cannot be shown never undoes work that is done.

Layer: command line, under dispatch. A character that the terminal's encoding lacks is shown as its
number. A reader that leaves early, as `head` does, has all it wanted: the rest goes nowhere. Other
failures, such as a full disk behind `>`, are errors that name the stream.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

__all__ = ["steady_streams"]


class _Steady:
    """A text stream that outlives its reader; everything else is the stream's own."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._guarded():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._guarded():
            self._stream.flush()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self._to_nowhere()
        except OSError as error:
            self._to_nowhere()
            raise OSError(error.errno, error.strerror, self._name) from None

    def _to_nowhere(self) -> None:
        """Lead what is still to come, also from the interpreter's own end, to the null device."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def steady_streams() -> Iterator[None]:
    """Make standard output and error steady, and put them back afterwards.

    Yields
    ------
    None
        While a command runs.
    """
    before = sys.stdout, sys.stderr
    with contextlib.ExitStack() as stack:
        sys.stdout = _steady(sys.stdout, "standard output", stack)
        sys.stderr = _steady(sys.stderr, "standard error", stack)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def _steady(stream: TextIO | None, name: str, stack: contextlib.ExitStack) -> TextIO:
    if stream is None:  # closed before the program began
        nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - the stack closes it
        stream = stack.enter_context(nowhere)
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        errors = getattr(stream, "errors", None) or "strict"
        reconfigure(errors="backslashreplace")
        stack.callback(_restore, reconfigure, errors)
    return cast(TextIO, _Steady(stream, name))


def _restore(reconfigure: Any, errors: str) -> None:
    # A closed stream, or one whose disk is full, keeps what it has.
    with contextlib.suppress(OSError, ValueError):
        reconfigure(errors=errors)
