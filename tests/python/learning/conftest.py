"""Small trainings for the tests of this room."""

from __future__ import annotations

from small_runs import config, federation, make_config, one_thread

__all__ = ["config", "federation", "make_config", "one_thread"]
