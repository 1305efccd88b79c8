"""Scaling: over the length of the vector, over threads, over clients. Both should stay flat.

Time and bytes for a value at 10^3 ... 10^9 values (10^9 is marked slow and needs the memory), at 1
... all threads, and for 2 ... 1,000 clients. What a committee costs each party, up to 1,000 clients
and 100 members; and that opening does not ask how many values there are.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from bench.measure import Measure, Reported
from bench.openings import Opening
from bench.parties import Parties, answer, endorse, member_step
from bench.profiles import Profile
from bench.terms import memory_available
from veilsum.lab.compare.sums import LIMIT, Sum, check_mean, make_update

CORES = os.cpu_count() or 1
OPERATIONS = ("encrypt", "decrypt")
# Update, upload, aggregate and result: 4 + 3.2 + 3.2 + 4 bytes a value, and another upload while
# the sum is made.
PEAK_BYTES = 18
Cases = tuple[str, list[Any]]


def cases_of_test_size(profile: Profile) -> Cases:
    threads = sorted({1, CORES})
    fast = [(size, count) for size in profile.scaling_values for count in threads]
    slow = [
        pytest.param(size, count, marks=pytest.mark.slow)
        for size in profile.slow_values
        for count in threads
    ]
    return "size,threads", [*fast, *slow]


def test_size(measure: Measure, size: int, threads: int) -> None:
    """Encrypting, over the length of the vector."""
    encrypt_row(measure, size, threads, "size", optimise="speed")


cases_of_test_size_decrypt = cases_of_test_size


def test_size_decrypt(measure: Measure, size: int, threads: int) -> None:
    """Decrypting, over the length of the vector."""
    require_memory(measure, size)
    work = Sum(size, updates=1)
    # The same update twice: a sum has two uploads, and memory for one of them is enough.
    total = vs.Accumulator(work.round)
    for _ in range(2):
        total.add(work.encrypt(threads=None))
    work.total = total.finish()
    work.key = vs.open_sum(work.secret, work.round, work.total)
    decrypt_row(measure, work, threads, "size")


def cases_of_test_threads(_profile: Profile) -> Cases:
    counts = sorted({1, CORES, *(2**k for k in range(1, 12) if 2**k <= CORES)})
    return "operation,threads", [(step, count) for step in OPERATIONS for count in counts]


def test_threads(measure: Measure, profile: Profile, operation: str, threads: int) -> None:
    """One vector over the number of threads; the bytes do not depend on it."""
    if operation == "encrypt":
        encrypt_row(measure, profile.threads_values, threads, "threads", optimise="speed")
        return
    work = Sum(profile.threads_values)
    work.open(threads=None)
    decrypt_row(measure, work, threads, "threads")


def cases_of_test_clients(profile: Profile) -> Cases:
    return "clients,optimise", [
        (count, goal) for goal in ("speed", "size") for count in profile.scaling_clients
    ]


def test_clients_encrypt(measure: Measure, profile: Profile, clients: int, optimise: str) -> None:
    """Encrypting for more and more clients: lanes grow by a bit whenever their number doubles."""
    encrypt_row(measure, profile.clients_values, 1, "clients", clients=clients, optimise=optimise)


def test_clients_add(measure: Measure, profile: Profile, clients: int, optimise: str) -> None:
    """A whole sum of so many uploads: the time of one more, and the mean of all."""
    work = Sum(profile.clients_values, clients=clients, updates=1, optimise=optimise)
    other = make_update(work.size, seed=1)
    total = vs.Accumulator(work.round)
    mine = clients - clients // 2
    for index in range(clients - 1):
        update = work.updates[0] if index < mine else other
        total.add(vs.encrypt(work.round, update), threads=1)
    last = vs.encrypt(work.round, work.updates[0] if clients - 1 < mine else other)
    # An aggregator takes an upload once, so the timed ones are sums of two.
    pair = [last, vs.encrypt(work.round, other)]
    result = measure.row(
        lambda: vs.weighted_sum(work.round, pair, threads=1),
        method=method_of(work.plan),
        operation="sum of two",
        values=work.size,
        threads=1,
        case={"axis": "clients", "clients": clients, "optimise": optimise},
    )
    assert result.count == 2
    total.add(last, threads=1)
    aggregate = total.finish()
    assert aggregate.count == clients
    key = vs.open_sum(work.secret, work.round, aggregate)
    mean = vs.decrypt(key, aggregate)
    updates = [work.updates[0]] * mine + [other] * (clients - mine)
    share = np.float64(mine / clients)
    wanted = share * updates[0].astype(np.float64) + (1 - share) * updates[-1]
    step = LIMIT / (2 ** (work.plan.value_bits - 1) - 1)
    assert np.abs(mean - wanted).max() <= step / 2 + LIMIT * 2.0**-23


cases_of_test_clients_encrypt = cases_of_test_clients
cases_of_test_clients_add = cases_of_test_clients


class Committee:
    """A sum that a committee is about to open: a thousand values, so that keys are what costs."""

    def __init__(self, clients: int, members: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="veilsum-bench-")
        self.work = work = Parties(
            Path(self._folder.name), 1000, clients=clients, members=members, updates=2
        )
        self.total = work.sum()
        self.threshold = work.round.committee.threshold if work.round.committee else 0
        self.first = self.request(0)
        self.members = [work.member(k) for k in range(self.threshold)]
        self.words = [
            endorse(one, work.round, self.request(k)).value for k, one in enumerate(self.members)
        ]
        self.certificate = work.certify(self.total, self.words)

    def request(self, place: int) -> bytes:
        """What one member is asked."""
        return vs.request_for(self.total, self.work.members[place]).to_bytes()

    @functools.cached_property
    def answers(self) -> list[bytes]:
        """Of as many members as it takes."""
        return [
            answer(member, self.work.round, self.certificate, self.request(k)).value
            for k, member in enumerate(self.members)
        ]


@functools.lru_cache(maxsize=1)  # the cases of one committee follow each other
def committee_of(clients: int, members: int) -> Committee:
    return Committee(clients, members)


STEPS = ("encrypt", "request", "endorse", "endorse and answer", "combine")


def cases_of_test_committee(profile: Profile) -> Cases:
    return "clients,members,step", [(*one, step) for one in profile.committees for step in STEPS]


def test_committee(measure: Measure, clients: int, members: int, step: str) -> None:
    """Seconds and bytes of each party's steps, from bytes to bytes, ledgers on disk."""
    case = committee_of(clients, members)
    work = case.work

    def both() -> Reported:
        return member_step(work.member(0), work.round, case.certificate, case.first)

    # What is timed, what travels for it, and what the row says of that.
    calls: dict[str, tuple[Callable[[], Any], int | Callable[[Any], int], str]] = {
        "encrypt": (work.encrypt, lambda upload: upload.nbytes, "the upload"),
        "request": (lambda: case.request(0), len, "to each member"),
        "endorse": (
            lambda: endorse(work.member(0), work.round, case.first),
            len,
            "the endorsement, from a member",
        ),
        "endorse and answer": (both, len, "the answer, from a member"),
        "combine": (
            lambda: work.combine(case.certificate, case.answers, case.total.without_shares()),
            len(case.certificate) + sum(map(len, case.answers)),
            "certificate and answers, to each reader",
        ),
    }
    function, nbytes, note = calls[step]
    result = measure.row(
        function,
        method=method_of(work.plan),
        operation=step,
        values=work.size,
        threads=1,
        nbytes=nbytes,
        case={"axis": "committee", "clients": clients, "members": members},
        note=note,
    )
    if step == "combine":
        work.check(work.decrypt(result, case.total))
    elif step == "request":
        assert result == case.first
    elif step == "endorse":
        assert work.certify(case.total, [result, *case.words[1:]])
    elif step == "endorse and answer":
        key = work.combine(case.certificate, [result, *case.answers[1:]], case.total)
        work.check(work.decrypt(key, case.total))
    else:
        assert result.clipped == 0


def cases_of_test_opening(_profile: Profile) -> Cases:
    return "values", [10, 10**9]


def test_opening(measure: Measure, values: int) -> None:
    """A member's whole work for ten clients' sum under eight keys, whatever the model's size."""
    with tempfile.TemporaryDirectory(prefix="veilsum-bench-") as folder:
        opening = Opening(Path(folder), values)
        given = measure.row(
            opening.member_step,
            method=f"{opening.round.upload_keys} keys an upload",
            operation="endorse and answer",
            values=values,
            threads=1,
            nbytes=opening.member_bytes,
            case={"axis": "model", "clients": opening.clients, "members": opening.members},
            note="all that a member receives and sends",
        )
        opening.check(given)


def method_of(plan: vs.Plan) -> str:
    """Return what tables call a plan."""
    return f"Veilsum, {plan.profile}, {plan.digits} digits in {plan.field_bits} bits"


def encrypt_row(
    measure: Measure, size: int, threads: int, axis: str, clients: int = 10, optimise: str = "speed"
) -> None:
    """Time encrypting one update and file it under `axis`."""
    require_memory(measure, size)
    work = Sum(size, clients=clients, updates=1, optimise=optimise)
    upload = measure.row(
        lambda: work.encrypt(threads=threads),
        method=method_of(work.plan),
        operation="encrypt",
        values=size,
        threads=threads,
        nbytes=work.plan.upload_bytes(size),
        case={"axis": axis, "clients": clients, "optimise": optimise},
    )
    assert upload.nbytes == work.plan.upload_bytes(size)
    assert upload.clipped == 0


def decrypt_row(measure: Measure, work: Sum, threads: int, axis: str) -> None:
    """Time decrypting an open sum and file it under `axis`."""
    mean = measure.row(
        lambda: work.decrypt(threads=threads),
        method=method_of(work.plan),
        operation="decrypt",
        values=work.size,
        threads=threads,
        case={"axis": axis, "clients": work.plan.clients, "optimise": work.plan.optimise},
    )
    check_mean(mean, work.updates, work.plan)


def require_memory(measure: Measure, size: int) -> None:
    """Skip the test when a vector of `size` values does not fit, with room to spare."""
    needed = PEAK_BYTES * size
    available = memory_available()
    if available and needed > available * 0.9:
        measure.skip(f"{size:,} values", f"needs {needed / 2**30:.1f} GiB of free memory")
