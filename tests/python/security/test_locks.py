"""What Python code may do while the core has called it: ask, be refused, never wait for itself.

A lock that is held around a callback is waited for by whatever the callback asks, and in a forked
child by everybody for ever. Each of these runs in a process of its own, which is ended if it hangs.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from security.stages import PRELUDE

_ROUND = (
    PRELUDE
    + """
import os, threading
import numpy as np
plan = vs.Plan(3)
secret, public = vs.keygen(plan)
people = [vs.Identity.generate() for _ in range(3)]
rnd = vs.Round(plan, public, size=10, roster=people)
uploads = [vs.encrypt(rnd, np.zeros(10, np.float32), signer=one) for one in people]
"""
)


def run(body: str, *, timeout_s: int = 60) -> list[str]:
    """Run a child; return its lines."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", body], capture_output=True, text=True, timeout=timeout_s,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.fail("the child waits for itself")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_verifier_may_ask_and_use_the_accumulator():
    lines = run(
        _ROUND
        + """
inside = []
def verify(*what):
    if not inside:
        inside.append((sums.count, sums.total_weight))
        sums.add(uploads[1])
        print(*inside[0], sums.count)
        arriving = sums.receive(uploads[2].nbytes)
        arriving.write(0, uploads[2].to_bytes())
        arriving.finish()
    return vs.Roster.verify(*what)
sums = vs._core.Accumulator(rnd, verify)
sums.add(uploads[0])
print(sums.count, sums.total_weight, sums.finish().count)
print(sums.count, sums.total_weight)
"""
    )
    assert lines == ["0 0 1", "3 3 3", "0 0"]


def test_a_verifier_that_finishes_the_sum_is_too_early_for_its_own_upload():
    lines = run(
        _ROUND
        + """
def verify(*what):
    if sums.count == 2:
        print(sums.finish().count)
    return vs.Roster.verify(*what)
sums = vs._core.Accumulator(rnd, verify)
sums.add(uploads[0]), sums.add(uploads[1])
try:
    sums.add(uploads[2])
except vs.RoundError as error:
    print(error)
"""
    )
    assert lines == ["2", "this accumulator is finished and takes no more uploads"]


def test_a_child_that_was_forked_while_a_thread_adds():
    """It may look, and nobody tells it that half an upload is a sum."""
    lines = run(
        _ROUND
        + """
holding, go = threading.Event(), threading.Event()
def verify(*what):
    if threading.current_thread() is thread:
        holding.set()
        go.wait(60)
    return vs.Roster.verify(*what)
sums = vs._core.Accumulator(rnd, verify)
thread = threading.Thread(target=sums.add, args=(uploads[0],))
sums.add(uploads[1])
thread.start()
holding.wait(60)
child = os.fork()
if child == 0:
    print(sums.count, sums.total_weight, flush=True)
    sums.add(uploads[2])
    print(sums.count, sums.finish().count, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
go.set()
thread.join()
print(sums.count)
"""
    )
    assert lines == ["1 1", "2 2", "2"]


def test_an_opener_that_opens_with_the_same_key():
    lines = run(
        PRELUDE
        + """
import numpy as np
plan = vs.Plan(3, engine="plain")
key, public = vs.keygen(plan)
def sum_():
    rnd = vs.Round(plan, public, size=5, trust_aggregator=True)
    return rnd, vs.weighted_sum(rnd, [vs.encrypt(rnd, np.zeros(5, np.float32)) for _ in range(2)])
one, other = sum_(), sum_()
inner = plain_cipher.CIPHER.opener(one[0], plan)
def open_(secret, blocks):
    try:
        vs.open_sum(key, *other)
    except vs.RoundError as error:
        print(error)
    return inner(secret, blocks)
vs._core.open_sum(key, one[0], one[1].opening_request(), open=open_)
print(vs.open_sum(key, *other).count)
"""
    )
    assert len(lines) == 2
    assert "from within that" in lines[0]
    assert lines[1] == "2"
