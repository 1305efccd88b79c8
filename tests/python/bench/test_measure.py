"""Timing: interleaving, reported seconds, scaled rows."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from bench.measure import Measure, Reported, clock
from bench.profiles import PROFILES
from bench.results import Section


class FakeBenchmark:
    """What Measure uses of pytest-benchmark's fixture, on the same clock."""

    def __init__(self):
        self.extra_info = {}
        self.stats = None

    def pedantic(self, function, rounds, iterations=1):
        times = []
        for _ in range(rounds):
            start = clock()
            for _ in range(iterations):
                function()
            times.append((clock() - start) / iterations)
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=times))
        return function()


@pytest.fixture
def section():
    return Section({})


@pytest.fixture
def measure(section):
    return Measure(FakeBenchmark(), section, PROFILES["smoke"])


def test_functions_take_turns(measure):
    calls = []

    def call(name):
        calls.append(name)
        return Reported({"a": 2.0, "b": 0.5}[name])

    times = measure.interleaved({"a": lambda: call("a"), "b": lambda: call("b")}, rounds=3)
    assert times == {"a": [2.0] * 3, "b": [0.5] * 3}
    assert calls[:8] == ["a", "b"] * 4  # a warm-up and three rounds
    found = measure.ratio("a / b", times["a"], times["b"], must=3.0)
    assert (found.median, found.rounds, found.met) == (4.0, 3, False)


def test_a_ratio_is_the_median_of_the_rounds_ratios(measure, section):
    found = measure.ratio("r", [1.0, 9.0, 4.0], [1.0, 3.0, 2.0], must=2.5, goal=1.0, scale=10.0)
    assert (found.low, found.median, found.high) == (15.0, 20.0, 25.0)
    assert section.ratios == [found]


def test_reported_seconds_count_and_the_clock_goes_back(measure, section):
    result = measure.row(
        lambda: Reported(3.0, "value"), method="m", operation="o", values=6, threads=1
    )
    assert result == "value"
    assert section.rows[0].seconds == 3.0
    assert section.rows[0].values_per_s == 2.0
    before = time.perf_counter()
    assert clock() >= before


def test_the_clock_goes_back_after_a_failure(measure):
    answers = iter([Reported(1.0)])
    with pytest.raises(StopIteration):
        measure.row(lambda: next(answers), method="m", operation="o", values=1, threads=1)
    before = time.perf_counter()
    assert clock() >= before


def test_a_scaled_row_must_say_so(measure, section):
    case = {"method": "m", "operation": "o", "values": 1, "threads": 1, "scale": 10.0}
    with pytest.raises(ValueError, match="say so"):
        measure.row(lambda: None, **case)
    measure.row(lambda: Reported(2.0), note="measured on 1, scaled by 10", **case)
    assert section.rows[0].seconds == 20.0


def test_bytes_of_a_row_may_come_from_its_result(measure, section):
    measure.row(lambda: b"12345", method="m", operation="o", values=5, threads=1, nbytes=len)
    assert section.rows[0].bytes_per_value == 1.0


def test_a_missing_case_is_filed_once(measure, section):
    for _ in range(2):
        with pytest.raises(pytest.skip.Exception, match="not here"):
            measure.skip("a peer", "not here")
    assert len(section.missing) == 1
