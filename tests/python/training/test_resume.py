"""A run that is killed goes on to the same result, bit for bit; what it left can be audited.

The run is killed at each write of a message or a reply, which is every point at which something
could have left a party or not: before and after each request of each kind. A process that is really
killed is tested as well, once.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import veilsum as vs
from veilsum.learning.tabular import TabularTask
from veilsum.learning.task import Parameters
from veilsum.parties.client import Client
from veilsum.parties.messages import Take, read_request
from veilsum.training import run as run_module
from veilsum.training.config import TrainConfig
from veilsum.training.federation import Federation
from veilsum.training.run import TrainingRun, resume, train
from veilsum.transport import files
from veilsum.transport.files import Desk, requests_at


class Killed(BaseException):
    """Stands for a signal that no code sees."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], list[str]]]:
    """A function that has the run end at its n-th write, and returns the names of all writes."""
    real = files.write_whole
    names: list[str] = []
    limit = [-1]

    def write(path: Path, data: bytes) -> None:
        names.append(path.name)
        if len(names) == limit[0]:
            raise Killed
        real(path, data)

    def set_limit(number: int) -> list[str]:
        names.clear()
        limit[0] = number
        return names

    monkeypatch.setattr(files, "write_whole", write)
    yield set_limit


def same(one: Parameters, other: Parameters) -> bool:
    return list(one) == list(other) and all(
        np.array_equal(one[name], other[name]) and one[name].dtype == other[name].dtype
        for name in one
    )


def killed_and_resumed(config: TrainConfig, folder: Path) -> TrainingRun | None:
    """Train until the kill, then go on; None where the run was over before it."""
    before = set(folder.iterdir()) if folder.is_dir() else set()
    try:
        train(config)
    except Killed:
        (left,) = set(folder.iterdir()) - before
        return resume(left)
    return None


OPTIONS = {
    "clouds": (),
    "committee": ("encryption.authority=committee",),
    "single": ("encryption.authority=single",),
    "shares": ("aggregation.weights=dynamic", "aggregation.max_share=0.4"),
    "hybrid": ("hybrid.fraction=0.5", "hybrid.renew_every=2"),
    "optimiser": ("aggregation.server_optimiser=fedadam", "training.participation=0.75"),
}


def check_kills(
    config: TrainConfig,
    kill_at: Callable[[int], list[str]],
    kills: Callable[[list[str]], Iterator[int]],
) -> None:
    names = kill_at(-1)
    whole = train(config)
    writes = list(names)
    for number in kills(writes):
        names = kill_at(number)
        again = killed_and_resumed(config, Path(config.run.directory))
        assert again is not None, writes[number - 1]
        kill_at(-1)
        assert same(again.parameters, whole.parameters), writes[number - 1]
        assert [record["round"] for record in again.records] == [1, 2]
        assert [record["auc"] for record in again.records] == [
            record["auc"] for record in whole.records
        ]
        log = (again.folder / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["round"] for line in log] == [1, 2]
        assert again.summary["status"] == "finished"


def kinds(name: str) -> str:
    return name.split("-")[-1]


def one_of_each(writes: list[str]) -> Iterator[int]:
    """The last write of each kind: in the second round, for all that a round has."""
    last = {kinds(name): number for number, name in enumerate(writes, 1)}
    yield from sorted(set(last.values()))


def test_killed_at_each_kind_of_message(
    make_config: Callable[..., TrainConfig], kill_at: Callable[[int], list[str]]
) -> None:
    check_kills(make_config(), kill_at, one_of_each)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_killed_anywhere(
    make_config: Callable[..., TrainConfig],
    kill_at: Callable[[int], list[str]],
    options: tuple[str, ...],
) -> None:
    check_kills(make_config(*options), kill_at, lambda writes: iter(range(2, len(writes) + 1, 17)))


def test_a_process_that_is_killed(tmp_path: Path, make_config: Callable[..., TrainConfig]) -> None:
    config = make_config("training.rounds=6", "training.epochs=4", "run.name=killed")
    (tmp_path / "config.toml").write_text(config.to_toml())
    code = (
        "from pathlib import Path; import sys;"
        "from veilsum.training.config import TrainConfig; from veilsum.training.run import train;"
        "train(TrainConfig.load(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "config.toml")]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        log = Path(config.run.directory) / "killed" / "metrics.jsonl"
        end = time.monotonic() + 60
        while time.monotonic() < end and not (log.exists() and log.read_text().count("\n") >= 2):
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    again = resume(log.parent)
    assert [record["round"] for record in again.records] == [1, 2, 3, 4, 5, 6]
    whole = train(make_config("training.rounds=6", "training.epochs=4", "run.name=whole"))
    assert same(again.parameters, whole.parameters)


def test_a_failure_can_be_gone_on_from(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(config)
    real, calls = files.write_whole, 0

    def full(path: Path, data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == 90:
            raise OSError(28, "No space left on device", str(path))
        real(path, data)

    monkeypatch.setattr(files, "write_whole", full)
    with pytest.raises(OSError, match="No space left"):
        train(config)
    (failed,) = (
        one
        for one in Path(config.run.directory).iterdir()
        if json.loads((one / "run.json").read_text())["status"] == "failed"
    )
    assert same(resume(failed).parameters, whole.parameters)


def test_secrets_stay_with_their_owner_and_go_when_the_run_has_finished(
    config: TrainConfig, kill_at: Callable[[int], list[str]]
) -> None:
    kill_at(100)
    with pytest.raises(Killed):
        train(config)
    (left,) = Path(config.run.directory).iterdir()
    parties = left / "parties"
    for path in parties.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.name != "coordinator.json":
            assert mode & 0o077 == 0, path
    kill_at(-1)
    resume(left)
    assert not parties.exists()
    with pytest.raises(vs.ParameterError, match="has finished"):
        resume(left)


def test_uploads_of_rounds_that_are_over_are_left_out(
    config: TrainConfig, kill_at: Callable[[int], list[str]]
) -> None:
    names = kill_at(-1)
    train(config)
    kill_at(len(names) - 3)
    with pytest.raises(Killed):
        train(config)
    left = max(Path(config.run.directory).iterdir(), key=lambda one: one.stat().st_mtime_ns)
    replies = sorted((left / "parties" / "cloud-1").glob("*-contribute.reply"))
    sizes = [path.stat().st_size for path in replies]
    assert len(sizes) >= 2
    assert sizes[0] < 32  # the statistics were pooled


def test_an_auditor_at_a_cloud_comes_to_the_same_model(
    make_config: Callable[..., TrainConfig], federation: Federation
) -> None:
    config = make_config("run.keep_messages=true", "aggregation.server_optimiser=fedyogi")
    whole = train(config)
    at = whole.folder / "parties" / "cloud-2"
    identity = vs.Identity.load(at / "identity.key")
    import torch

    task = TabularTask(
        federation.clouds[1],
        config.model,
        config.training,
        seed=config.run.seed,
        cloud=1,
        device=torch.device("cpu"),
    )
    auditor = Client(1, task, config.terms, identity=identity, threads=1)
    for _, request in requests_at(at):
        auditor.replay(request)
    assert same(auditor.state.parameters, whole.parameters)
    # A sum that was changed on the way is found at the place where it was handed over.
    other = Client(1, task, config.terms, identity=identity, threads=1)
    told = [request for verb, request in requests_at(at)]
    take = next(one for one in reversed(told) if isinstance(read_request(one), Take))
    changed = bytearray(take)
    changed[len(changed) // 2] ^= 1
    with pytest.raises(vs.VeilsumError):
        for request in told:
            other.replay(bytes(changed) if request is take else request)


def test_what_was_answered_is_answered_with_the_same_bytes(
    config: TrainConfig, kill_at: Callable[[int], list[str]]
) -> None:
    """An upload that may have left is never made again, whoever asks and however often."""
    names = kill_at(-1)
    train(config)
    number = max(i for i, name in enumerate(names, 1) if name.endswith("contribute.notes"))
    kill_at(number + 2)  # its reply is there, and may have left
    with pytest.raises(Killed):
        train(config)
    kill_at(-1)
    left = max(Path(config.run.directory).iterdir(), key=lambda one: one.stat().st_mtime_ns)
    boxes = [files.Mailbox(path) for path in (left / "parties").iterdir() if path.is_dir()]
    before = {path: path.read_bytes() for box in boxes for path in box.folder.glob("*.reply")}
    method = run_module.EncryptedAveraging(
        config, run_module.spread(config).clouds, home=left / "parties"
    )
    method.run_round(2)
    assert all(path.read_bytes() == data for path, data in before.items())


def test_a_desk_answers_only_what_its_party_can(tmp_path: Path) -> None:
    class Party:
        def handle(self, request: bytes) -> bytes:
            raise vs.RoundError("not now")

        def replay(self, request: bytes) -> None:
            raise AssertionError("nothing was answered")

        def notes(self) -> bytes:
            return b""

        def recall(self, notes: bytes) -> None:
            raise AssertionError("nothing was noted")

    desk = Desk(tmp_path / "desk", Party())
    path = desk.mailbox.post(b"anything", "take")
    assert desk.work() == 1
    reply = desk.mailbox.read(path)
    assert reply is not None
    assert isinstance(reply.error, vs.RoundError)
    assert str(reply.error) == "not now"
    assert desk.work() == 0
    Desk(tmp_path / "desk", Party())  # a refusal changes nothing, so there is nothing to replay


@pytest.mark.parametrize(
    "refusal", [b"", b"{}", b"[]", b'{"kind": "SystemExit", "why": "x"}', b'{"kind": 1, "why": 2}']
)
def test_a_malformed_refusal(tmp_path: Path, refusal: bytes) -> None:
    box = files.Mailbox(tmp_path)
    path = box.post(b"anything", "take")
    assert box.read(path) is None
    path.with_suffix(".refusal").write_bytes(refusal)
    with pytest.raises(vs.WireFormatError, match="refusal"):
        box.read(path)
