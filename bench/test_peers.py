"""Other ways to sum encrypted values, on the same values: values a second, bytes a value.

Every peer runs in its own interpreter with one thread and is timed there, Veilsum here with one
thread. `add` adds one upload to another; `decrypt` opens a sum. A peer that cannot be installed is
a missing row, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bench.measure import Measure
from bench.peers import environments
from bench.peers.environments import PEERS, Peer
from bench.peers.worker import Worker, WorkerError
from bench.profiles import Profile
from veilsum.lab.compare.sums import Sum, make_update

CLIENTS = 10
STEPS = ("encrypt", "add", "decrypt")


def values_of(peer: Peer, profile: Profile) -> int:
    """Return how many values the peer gets; python-paillier takes milliseconds for each."""
    return profile.paillier_values if peer.name == "paillier" else profile.peer_values


@pytest.fixture(scope="module")
def workers(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Started peers by (name, setting), filled by `start`; ended after the last test."""
    folder = tmp_path_factory.mktemp("peers")
    np.save(folder / "values.npy", make_update(profile.peer_values))
    started: dict[str, Any] = {"path": str(folder / "values.npy")}
    yield started
    for worker in started.values():
        if isinstance(worker, Worker):
            worker.close()


def start(
    workers: dict[str, Any], measure: Measure, peer: Peer, setting: str, values: int
) -> tuple[Worker, dict[str, str]]:
    """Return the peer's worker, ready to add and decrypt, and what it says about itself."""
    name = f"{peer.name} {setting}"
    if name not in workers:
        python, reason = environments.find(peer)
        if python is None:
            measure.skip(f"{peer.title}: {peer.settings[setting]}", reason)
        worker = Worker(python, peer.runner, threads=1)
        workers[name] = worker
        try:
            about = worker.call("setup", path=workers["path"], values=values, setting=setting).value
            for step in STEPS:
                worker.call(step)
            found = worker.call("check").value
        except WorkerError as error:
            worker.close()
            workers[name] = str(error)
        else:
            assert found["error"] <= peer.tolerance, f"{name} is off by {found['error']}"
            workers[f"{name} about"] = {**about, "nbytes": found["nbytes"]}
    if isinstance(workers[name], str):
        measure.skip(f"{peer.title}: {peer.settings[setting]}", workers[name])
    return workers[name], workers[f"{name} about"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("peer", "setting"),
    [
        pytest.param(peer, setting, id=f"{peer.name}-{setting}")
        for peer in PEERS
        for setting in peer.settings
    ],
)
def test_peer(
    measure: Measure,
    profile: Profile,
    workers: dict[str, Any],
    peer: Peer,
    setting: str,
    step: str,
) -> None:
    values = values_of(peer, profile)
    worker, about = start(workers, measure, peer, setting, values)
    measure.row(
        lambda: worker.call(step),
        method=f"{peer.title}: {peer.settings[setting]}",
        operation=step,
        values=values,
        threads=1,
        nbytes=int(about["nbytes"]) if step == "encrypt" else None,
        case={"peer": peer.name},
        note=f"{about['version']}: {about['parameters']}",
    )
    assert worker.call("check").value["error"] <= peer.tolerance


@pytest.fixture(scope="module")
def ours(profile: Profile) -> Sum:
    """Veilsum on the same values, its uploads made and its sum open."""
    made = Sum(profile.peer_values, clients=CLIENTS, updates=2)
    made.updates[1] = made.updates[0]
    made.open()
    made.upload_all()
    return made


@pytest.mark.parametrize("step", STEPS)
def test_veilsum(measure: Measure, ours: Sum, step: str) -> None:
    functions = {
        "encrypt": lambda: ours.encrypt(threads=1),
        "add": lambda: ours.sum(threads=1),
        "decrypt": lambda: ours.decrypt(threads=1),
    }
    result = measure.row(
        functions[step],
        method=f"Veilsum: {ours.plan.profile}",
        operation=step,
        values=ours.size,
        threads=1,
        nbytes=ours.plan.upload_bytes(ours.size) if step == "encrypt" else None,
        case={"peer": "veilsum"},
        note=f"{ours.plan.value_bits} bits, {CLIENTS} clients",
    )
    if step == "decrypt":
        ours.check(result)
    elif step == "add":
        assert result.count == len(ours.updates)
    else:
        assert result.nbytes == ours.plan.upload_bytes(ours.size)
