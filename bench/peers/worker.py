"""The outside of a worker process: starts a runner script and asks it to do things."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.measure import Reported

__all__ = ["FOLDER", "Team", "Worker", "WorkerError"]

FOLDER = Path(__file__).resolve().parent
# Libraries with threads of their own obey these.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerError(RuntimeError):
    """A worker died, timed out, or its library raised."""


class Worker:
    """A runner script in a process of its own.

    Parameters
    ----------
    python : str
        The interpreter.
    script : Path
        The runner.
    threads : int
        What OpenMP and BLAS may use inside.
    timeout_s : float
        Longest time for one command.
    """

    def __init__(
        self, python: str, script: Path, *, threads: int = 1, timeout_s: float = 600.0
    ) -> None:
        self._timeout_s = timeout_s
        self._name = script.stem
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        if python != sys.executable:
            environment.pop("PYTHONPATH", None)  # another interpreter's packages would not fit
        self._process = subprocess.Popen(
            [python, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )

    def send(self, command: str, **arguments: Any) -> None:
        """Ask for something, without waiting."""
        request = json.dumps({"command": command, "arguments": arguments}) + "\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request.encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(f"{self._name} died: {self._last_words()}") from None

    def receive(self) -> dict[str, Any]:
        """Return the answer to the last `send`."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], self._timeout_s)
        if not ready:
            self._process.kill()
            raise WorkerError(f"{self._name} took longer than {self._timeout_s:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"{self._name} died: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            raise WorkerError(f"{self._name}: {answer['error']}")
        return answer

    def call(self, command: str, **arguments: Any) -> Reported:
        """Ask for something and wait; the seconds are the worker's own."""
        self.send(command, **arguments)
        answer = self.receive()
        return Reported(answer["ended"] - answer["began"], answer["value"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace").strip()
        return text.splitlines()[-1] if text else f"exit status {self._process.returncode}"


class Team:
    """Several workers that do the same thing at once, each on its own share."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = list(workers)

    def call(self, command: str, shares: Sequence[dict[str, Any]] | None = None) -> Reported:
        """Ask all of them; the seconds run from the first one's start to the last one's end."""
        arguments = shares if shares is not None else [{}] * len(self._workers)
        for worker, share in zip(self._workers, arguments, strict=True):
            worker.send(command, **share)
        answers = [worker.receive() for worker in self._workers]
        began = min(answer["began"] for answer in answers)
        ended = max(answer["ended"] for answer in answers)
        return Reported(ended - began, [answer["value"] for answer in answers])

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()


@contextlib.contextmanager
def team(python: str, script: Path, size: int) -> Iterator[Team]:
    """Give a team of `size` single-threaded workers, ended on the way out."""
    group = Team([Worker(python, script) for _ in range(size)])
    try:
        yield group
    finally:
        group.close()
