"""Parties in processes of their own, which have nothing in common but folders."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

import veilsum as vs
from veilsum.learning.provided import ProvidedTask
from veilsum.parties.asking import Ask, Party
from veilsum.parties.client import Client
from veilsum.parties.coordinator import Coordinator
from veilsum.parties.messages import Introduce, read_request
from veilsum.training.averager import averaging_terms
from veilsum.training.parties_kept import identity_at, party_folder
from veilsum.transport.base import drive
from veilsum.transport.files import Desk, Files, Mailbox, requests_at, serve

CLOUDS = 3
SHAPES = {"w": (20,)}


def update(cloud: int, number: int) -> dict[str, np.ndarray]:
    return {"w": np.linspace(-0.5, 0.5, 20) * (cloud + 1) / (number + 1)}


class Trains(ProvidedTask):
    """Its own update in each round, so that its process needs to be told nothing."""

    def __init__(self, cloud: int) -> None:
        super().__init__(SHAPES)
        self._cloud = cloud

    def train(self, parameters, number):
        self.provide(update(self._cloud, number), 1)
        return super().train(parameters, number)


def make_client(home: Path, cloud: int) -> Client:
    identity, ledger = identity_at(party_folder(home, Party("cloud", cloud)))
    terms = averaging_terms(CLOUDS, weigh_by_rows=False)
    return Client(cloud, Trains(cloud), terms, identity=identity, ledger=ledger, threads=1)


def work(home: str, cloud: int) -> None:
    """A cloud's whole process."""
    at = Path(home)
    desk = Desk(party_folder(at, Party("cloud", cloud)), make_client(at, cloud))
    serve(desk, (at / "over").exists)


def wanted(number: int) -> np.ndarray:
    return np.mean([update(cloud, number)["w"] for cloud in range(CLOUDS)], axis=0)


def test_clouds_in_processes_of_their_own_one_of_which_is_killed(tmp_path: Path) -> None:
    terms = averaging_terms(CLOUDS, weigh_by_rows=False)
    spawn = multiprocessing.get_context("spawn")
    processes = [
        spawn.Process(target=work, args=(str(tmp_path), cloud), daemon=True)
        for cloud in range(CLOUDS)
    ]
    for process in processes:
        process.start()
    try:
        transport = Files(tmp_path, lambda party: None, patience_s=60)
        coordinator = Coordinator(terms, time.perf_counter)
        drive(coordinator.begin(), transport)
        assert not drive(coordinator.round(1), transport).skipped
        # A cloud that starts again reads in its folder where it stood.
        processes[1].kill()
        processes[1].join()
        processes[1] = spawn.Process(target=work, args=(str(tmp_path), 1), daemon=True)
        processes[1].start()
        assert not drive(coordinator.round(2), transport).skipped
    finally:
        (tmp_path / "over").touch()
        for process in processes:
            process.join(30)
    assert [process.exitcode for process in processes] == [0] * CLOUDS
    # An auditor at any cloud comes to what that cloud came to.
    for cloud in range(CLOUDS):
        auditor = make_client(tmp_path, cloud)
        for _, request in requests_at(party_folder(tmp_path, Party("cloud", cloud))):
            auditor.replay(request)
        mean = auditor.state.last
        assert mean is not None
        # The range of the first round is 1, and a step of stochastic rounding 1 / 32767.
        assert mean.update["w"] == pytest.approx(wanted(2), abs=CLOUDS * 2 / 32767)
        model = auditor.state.parameters["w"]
        assert model == pytest.approx(wanted(1) + wanted(2), abs=CLOUDS * 4 / 32767)


def test_a_party_that_is_not_at_work_is_not_there(tmp_path: Path) -> None:
    transport = Files(tmp_path, lambda party: None, patience_s=0.05)
    ask = Ask(Party("cloud", 0), Introduce(), 0, "setup", "setup")
    (reply,) = transport.deliver([ask])
    assert reply.data is None
    assert reply.error is None
    # Its request waits for it.
    Desk(tmp_path / "cloud-1", make_client(tmp_path, 0)).work()
    (reply,) = transport.deliver([ask])
    assert reply.data is not None
    assert vs.PublicIdentity.from_bytes(reply.data)


def test_a_request_has_one_place_and_one_reply(tmp_path: Path) -> None:
    box = Mailbox(tmp_path / "box")
    first, again = box.post(b"same", "take"), Mailbox(tmp_path / "box").post(b"same", "take")
    assert first == again
    assert box.post(b"other", "take") != first
    assert [path.name for path in box.requests()] == [
        "000001-take.request",
        "000002-take.request",
    ]


def test_what_was_refused_may_be_asked_again(tmp_path: Path) -> None:
    class Party:
        ready = False

        def handle(self, request: bytes) -> bytes:
            if not self.ready:
                raise vs.RoundError("not yet")
            return b"done"

        def replay(self, request: bytes) -> None: ...

        def notes(self) -> bytes:
            return b""

        def recall(self, notes: bytes) -> None: ...

    party = Party()
    desk = Desk(tmp_path / "desk", party)
    path = desk.mailbox.post(b"anything", "take")
    desk.work()
    party.ready = True
    assert desk.work() == 0  # nobody has asked again
    assert desk.mailbox.post(b"anything", "take") == path
    assert desk.work() == 1
    reply = desk.mailbox.read(path)
    assert reply is not None
    assert reply.data == b"done"


def test_bytes_that_are_no_request_are_refused_and_leave_the_party_alone(tmp_path: Path) -> None:
    client = make_client(tmp_path, 0)
    desk = Desk(tmp_path / "cloud-1", client)
    path = desk.mailbox.post(b"VSRQ\x01 and nothing that fits", "take")
    assert desk.work() == 1
    reply = desk.mailbox.read(path)
    assert reply is not None
    assert isinstance(reply.error, vs.WireFormatError)
    with pytest.raises(vs.WireFormatError):
        read_request(b"VSRQ\x01 and nothing that fits")


REFUSALS = (
    vs.VeilsumError("why"),
    vs.ParameterError("why"),
    vs.HeadroomError("why"),
    vs.KeyMismatchError("why"),
    vs.TamperedSumError("why"),
    vs.WireFormatError("why"),
    vs.RoundError("why"),
    vs.BackendUnavailableError("why"),
    vs.BadSharesError([2, 5]),
)


def _kinds(kind: type[vs.VeilsumError]) -> set[type[vs.VeilsumError]]:
    return {kind}.union(*(_kinds(one) for one in kind.__subclasses__()))


@pytest.mark.parametrize("error", REFUSALS, ids=lambda one: type(one).__name__)
def test_a_refusal_comes_back_as_what_the_party_raised(tmp_path: Path, error: Exception) -> None:
    class Party:
        def handle(self, request: bytes) -> bytes:
            raise error

        def replay(self, request: bytes) -> None:
            raise AssertionError("nothing was answered")

        def notes(self) -> bytes:
            return b""

        def recall(self, notes: bytes) -> None:
            raise AssertionError("nothing was noted")

    desk = Desk(tmp_path, Party())
    path = desk.mailbox.post(b"anything", "endorse")
    desk.work()
    reply = desk.mailbox.read(path)
    assert reply is not None
    assert type(reply.error) is type(error)
    assert str(reply.error) == str(error)
    assert getattr(reply.error, "clients", None) == getattr(error, "clients", None)


def test_all_kinds_of_refusals_are_tried() -> None:
    ours = {kind for kind in _kinds(vs.VeilsumError) if kind.__module__ == "veilsum"}
    assert {type(one) for one in REFUSALS} == ours


@pytest.mark.parametrize("clients", ["", ', "clients": 3', ', "clients": ["1"]'])
def test_a_refusal_of_bad_shares_names_clients(tmp_path: Path, clients: str) -> None:
    box = Mailbox(tmp_path)
    path = box.post(b"anything", "endorse")
    refusal = f'{{"kind": "BadSharesError", "why": "x"{clients}}}'
    path.with_suffix(".refusal").write_text(refusal)
    with pytest.raises(vs.WireFormatError, match="does not name the clients"):
        box.read(path)
