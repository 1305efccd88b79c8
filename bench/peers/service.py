"""The inside of a worker process: takes commands from stdin as JSON lines, answers with timings.

Imported by the runner scripts as a neighbour file, under interpreters from Python 3.10 on and
without this repository on their path.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Handler = Callable[..., Any]


def serve(handlers: dict[str, Handler]) -> None:
    """Answer commands until stdin ends.

    A request is {"command": name, "arguments": {...}}; the answer holds what the handler returned,
    and when it began and ended on the system's monotonic clock, which all processes share. What
    libraries print goes to stderr.

    Parameters
    ----------
    handlers : dict
        A function for each command; it returns something JSON can hold.
    """
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            handler = handlers[request["command"]]
            began = time.monotonic()
            value = handler(**request.get("arguments", {}))
            ended = time.monotonic()
            answer = {"ok": True, "began": began, "ended": ended, "value": value}
        except Exception as error:  # whatever a peer raises is the parent's to report
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        channel.write(json.dumps(answer) + "\n")
        channel.flush()
