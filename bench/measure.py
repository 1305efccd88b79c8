"""Timing through pytest-benchmark: one case at a time, or several interleaved for a ratio.

A case that runs in another process (a peer, a team of AES workers) brings its own seconds, taken
there, so that the pipe between the processes is not counted: its function returns `Reported`, and
`clock` hands those seconds to pytest-benchmark.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest

from bench.profiles import Profile
from bench.results import Missing, Ratio, Row, Section, quartiles

__all__ = ["Measure", "Reported", "clock"]

SHORT_S = 1e-3  # a call below this is repeated within a round


@dataclass(frozen=True)
class Reported:
    """A result whose time was taken elsewhere.

    Attributes
    ----------
    seconds : float
        What the work took where it ran.
    value : object
        Its result.
    """

    seconds: float
    value: Any = None


class _Clock:
    """A clock for pytest-benchmark: real time, or the sum of reported seconds while one runs."""

    def __init__(self) -> None:
        self._reported: float | None = None

    def __call__(self) -> float:
        return time.perf_counter() if self._reported is None else self._reported

    def counting(self, function: Callable[[], Reported]) -> Callable[[], Reported]:
        """Return `function`, adding its reported seconds to this clock, which it switches over."""
        self._reported = 0.0

        def counted() -> Reported:
            result = function()
            self._reported = (self._reported or 0.0) + result.seconds
            return result

        return counted

    def release(self) -> None:
        """Go back to real time."""
        self._reported = None


clock = _Clock()


class Measure:
    """Times cases through pytest-benchmark and files their rows in a section of the results.

    The fixture must run on `clock` (conftest.py marks every benchmark so).
    """

    def __init__(self, benchmark: Any, section: Section, profile: Profile) -> None:
        self._benchmark = benchmark
        self._section = section
        self._profile = profile

    def row(
        self,
        function: Callable[[], Any],
        *,
        method: str,
        operation: str,
        values: int,
        threads: int,
        nbytes: int | Callable[[Any], int] | None = None,
        case: Mapping[str, Any] | None = None,
        note: str = "",
        scale: float = 1.0,
    ) -> Any:
        """Time `function` and file a row.

        Parameters
        ----------
        function : callable
            The case. Called once before anything is timed. When it returns `Reported`, those
            seconds count.
        method, operation, values, threads, case, note
            See `Row`.
        nbytes : int or callable, optional
            Bytes that travel; a callable gets the result.
        scale : float
            The row's seconds are so many times what was measured; `note` must say so.

        Returns
        -------
        object
            The result of the last call, for the test to check.
        """
        if scale != 1.0 and "scaled" not in note:
            raise ValueError("a scaled row must say so in its note")
        start = time.perf_counter()
        result = function()
        elapsed = time.perf_counter() - start
        rounds, iterations = self._repetitions(elapsed)
        if isinstance(result, Reported):  # took care of its own repetitions
            function, iterations = clock.counting(function), 1
        del result
        try:
            result = self._benchmark.pedantic(function, rounds=rounds, iterations=iterations)
        finally:
            clock.release()
        if isinstance(result, Reported):
            result = result.value
        if self._benchmark.stats is None:  # --benchmark-disable: only the assertions count
            return result
        times = [seconds * scale for seconds in self._benchmark.stats.stats.data]
        low, middle, high = quartiles(times)
        found = Row(
            method=method,
            operation=operation,
            values=values,
            threads=threads,
            seconds=middle,
            low=low,
            high=high,
            rounds=rounds,
            nbytes=nbytes(result) if callable(nbytes) else nbytes,
            case=dict(case or {}),
            note=note,
        )
        self._benchmark.extra_info.update(
            values=values,
            threads=threads,
            values_per_s=found.values_per_s,
            bytes_per_value=found.bytes_per_value,
            note=note,
            **found.case,
        )
        self._section.rows.append(found)
        return result

    def interleaved(
        self, functions: Mapping[str, Callable[[], Any]], rounds: int
    ) -> dict[str, list[float]]:
        """Time functions in turn, A B C A B C ..., so that a disturbance hits all of them.

        Each is called once before anything is timed. A result is freed outside the timing.

        Returns
        -------
        dict of str to list of float
            Seconds of each round, by name. Empty lists under --benchmark-disable.
        """
        times: dict[str, list[float]] = {name: [] for name in functions}
        for function in functions.values():
            function()

        def step() -> None:
            for name, function in functions.items():
                start = time.perf_counter()
                result = function()
                elapsed = time.perf_counter() - start
                times[name].append(result.seconds if isinstance(result, Reported) else elapsed)
                del result

        self._benchmark.pedantic(step, rounds=rounds)
        measured = rounds if self._benchmark.stats is not None else 0
        return {name: seconds[:measured] for name, seconds in times.items()}

    def ratio(
        self,
        name: str,
        numerator: list[float],
        denominator: list[float],
        *,
        must: float | None,
        goal: float | None = None,
        at_least: bool = False,
        scale: float = 1.0,
        note: str = "",
    ) -> Ratio | None:
        """File the ratio of two interleaved series: the median of the rounds' ratios.

        Parameters
        ----------
        name, must, goal, at_least, note
            See `Ratio`.
        numerator, denominator : list of float
            From `interleaved`.
        scale : float
            Multiplies every ratio, for series that handle unequal amounts.

        Returns
        -------
        Ratio or None
            None when nothing was measured (--benchmark-disable).
        """
        if not numerator:
            return None
        pairs = zip(numerator, denominator, strict=True)
        low, middle, high = quartiles([scale * a / b for a, b in pairs])
        found = Ratio(
            name=name,
            median=middle,
            low=low,
            high=high,
            must=must,
            goal=goal,
            at_least=at_least,
            rounds=len(numerator),
            numerator_s=quartiles(numerator)[1],
            denominator_s=quartiles(denominator)[1],
            note=note,
        )
        self.add_ratio(found)
        return found

    def add_ratio(self, ratio: Ratio) -> None:
        """File a ratio that was found in another way, such as a size."""
        self._benchmark.extra_info[ratio.name] = ratio.median
        self._section.ratios.append(ratio)

    def missing(self, what: str, reason: str) -> None:
        """File a case that cannot be measured here."""
        found = Missing(what, reason)
        if found not in self._section.missing:
            self._section.missing.append(found)

    def skip(self, what: str, reason: str) -> NoReturn:
        """File a case as missing and skip the test."""
        self.missing(what, reason)
        pytest.skip(f"{what}: {reason}")

    def _repetitions(self, elapsed: float) -> tuple[int, int]:
        """Return rounds, and calls in a round, for a function that took `elapsed` seconds."""
        profile = self._profile
        iterations = max(1, math.ceil(SHORT_S / max(elapsed, 1e-9))) if elapsed < SHORT_S else 1
        iterations = min(iterations, 10_000)
        spent = max(elapsed * iterations, 1e-9)
        rounds = int(profile.budget_s / spent)
        return min(max(rounds, profile.min_rounds), profile.max_rounds), iterations
