"""A cloud that is rebuilt from its requests stands where it stood, and gives nothing away twice.

A run's requests are told again, as many as there were at each moment; then the rebuilt cloud goes
on with the rest. What it must never do is encrypt a second time what has left already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import veilsum as vs
from replay import Recorder, record
from veilsum.parties import client as client_module
from veilsum.parties.client import Client
from veilsum.parties.messages import (
    Contribute,
    Endorse,
    GiveShare,
    Introduce,
    Join,
    MakeGroup,
    Propose,
    Request,
    Skip,
    Take,
    Train,
    write_request,
)
from veilsum.training.config import TrainConfig, with_overrides
from veilsum.training.run import spread
from veilsum.transport.conditions import Reliable

TINY = (
    "data.clouds=3",
    "model.hidden=[2]",
    "training.rounds=3",
    "training.epochs=1",
    "training.batch_size=256",
    "run.device=cpu",
    "run.threads=1",
    "encryption.pads_ahead=false",
    "aggregation.min_clients=2",
)
AGREED = (
    "aggregation.weights=dynamic",
    "aggregation.max_share=0.5",
    "aggregation.server_optimiser=fedavgm",
    "hybrid.fraction=0.4",
    "hybrid.renew_every=2",
)


class TooFewInRoundTwo(Reliable):
    """Round 2 is skipped."""

    def trains(self, client: int, number: int) -> bool:
        return not (number == 2 and client > 0)


RUNS: dict[str, tuple[tuple[str, ...], Reliable | None]] = {
    "single": (("encryption.authority=single",), None),
    "clouds": (AGREED, None),
    "skipped": (AGREED, TooFewInRoundTwo()),
}


@pytest.fixture(scope="module")
def runs() -> dict[str, Recorder]:
    """The first cloud of each run, which remembers what it was asked."""
    made = {}
    for name, (options, conditions) in RUNS.items():
        config = TrainConfig.from_mapping(with_overrides({}, [*TINY, *options]))
        federation = spread(config)
        few = tuple(one.subset(np.arange(0, len(one), 12)) for one in federation.clouds)
        made[name] = record(config, replace(federation, clouds=few), 0, conditions).client
    return made


@pytest.fixture(params=RUNS)
def cloud(request: pytest.FixtureRequest, runs: dict[str, Recorder]) -> Recorder:
    return runs[request.param]


class Rebuilt:
    """A fresh cloud with the secrets of another one, watched for what it does."""

    def __init__(self, cloud: Recorder, folder: Path) -> None:
        own = cloud._own
        self.encrypted: list[bytes] = []
        self.trained: list[int] = []
        self.client = Client(
            own.index,
            _Watched(own.task, self.trained),
            own.terms,
            threads=1,
            identity=own.identity,
            ledger=folder / f"ledger-{id(self)}",
        )

    def replay(self, requests: Sequence[Request]) -> Rebuilt:
        with self.watched():
            for one in requests:
                self.client.replay(write_request(one))
        return self

    def ask(self, request: Request) -> bytes:
        with self.watched():
            return self.client.ask(request)

    def watched(self) -> Any:
        real = vs.encrypt

        def encrypt(rnd: vs.Round, values: Any, **options: Any) -> vs.Upload:
            self.encrypted.append(rnd.id)
            return real(rnd, values, **options)

        return mock.patch.object(client_module, "encrypt", encrypt)

    @property
    def stands(self) -> str:
        return type(self.client._stage).__name__


class _Watched:
    """A task that says when it is trained."""

    def __init__(self, task: Any, trained: list[int]) -> None:
        self._task, self._trained = task, trained

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def begin(self, pooled: Any) -> Any:
        learner, trained = self._task.begin(pooled), self._trained

        class Learner:
            def __getattr__(self, name: str) -> Any:
                return getattr(learner, name)

            def train(self, parameters: Any, number: int) -> Any:
                trained.append(number)
                return learner.train(parameters, number)

        return Learner()


def head(client: Client) -> bytes:
    stage: Any = client._stage
    return stage.history.head if hasattr(stage, "history") else b""


def moments(cloud: Recorder) -> Iterator[tuple[int, list[Request], list[Request]]]:
    """Each place in a run: what the cloud was asked before it, and what after."""
    told = list(cloud.messages)
    for at in range(len(told) + 1):
        yield at, told[:at], told[at:]


def lived(cloud: Recorder, folder: Path, told: Sequence[Request]) -> Rebuilt:
    """A cloud that was really asked."""
    made = Rebuilt(cloud, folder)
    for one in told:
        made.ask(one)
    return made


def test_a_run_has_requests_of_all_kinds(runs: dict[str, Recorder]) -> None:
    kinds = {type(one) for cloud in runs.values() for one in cloud.messages}
    assert kinds == {
        Introduce, MakeGroup, Join, Propose, Train, Contribute, Take, Skip, Endorse, GiveShare,
    }  # fmt: skip


def test_a_rebuilt_cloud_stands_where_it_stood(cloud: Recorder, tmp_path: Path) -> None:
    """After every request of a run: the same stage, history, state and claims."""
    real = Rebuilt(cloud, tmp_path)
    for at, before, after in moments(cloud):
        made = Rebuilt(cloud, tmp_path).replay(before)
        assert made.stands == real.stands, at
        assert head(made.client) == head(real.client), at
        assert made.encrypted == [], at
        one, two = (it.client._stage for it in (made, real))
        if hasattr(two, "state"):
            assert made.client.state.state.keys() == real.client.state.state.keys()
            for name, array in real.client.state.state.items():
                np.testing.assert_array_equal(made.client.state.state[name], array)
            for name, array in real.client.state.parameters.items():
                np.testing.assert_array_equal(made.client.state.parameters[name], array)
        if hasattr(two, "work"):
            assert one.work.claimed == two.work.claimed, at
            assert len(one.work.share) == len(two.work.share), at
            if two.work.share:
                mine, real_one = (it.work.share[0].contribution() for it in (one, two))
                assert mine == real_one, at
        assert getattr(one, "_last", None) == getattr(two, "_last", None), at
        if after:
            real.ask(after[0])


def test_what_was_contributed_is_not_contributed_again(cloud: Recorder, tmp_path: Path) -> None:
    """Neither for the same round nor for another one of the same place."""
    seen = 0
    for _, before, _ in moments(cloud):
        if not before or not isinstance(before[-1], Contribute):
            continue
        made = Rebuilt(cloud, tmp_path).replay(before)
        seen += 1
        with pytest.raises(vs.RoundError):
            made.ask(before[-1])
        rnd = vs.Round.from_bytes(before[-1].description)
        stage: Any = made.client._stage
        if hasattr(stage, "state"):
            again = stage.state.propose()
            assert again.id != rnd.id
            with pytest.raises(vs.RoundError):
                made.ask(Contribute(again.to_bytes()))
        assert made.encrypted == []
    assert seen >= 4


def test_a_round_is_not_trained_again(cloud: Recorder, tmp_path: Path) -> None:
    for _, before, _ in moments(cloud):
        done = [one.step for one in before if isinstance(one, Train)]
        if not done:
            continue
        made = Rebuilt(cloud, tmp_path).replay(before)
        for step in done:
            with pytest.raises(vs.RoundError):
                made.ask(Train(step))


def test_a_rebuilt_cloud_goes_on_as_the_first_did(cloud: Recorder, tmp_path: Path) -> None:
    """From each moment: it takes all the rest, encrypts for the same rounds, and ends alike."""
    whole = lived(cloud, tmp_path, cloud.messages)
    for at, before, after in moments(cloud):
        made = Rebuilt(cloud, tmp_path).replay(before)
        for one in after:
            made.ask(one)
        assert head(made.client) == head(whole.client), at
        left = sum(isinstance(one, Contribute) for one in after)
        assert made.encrypted == whole.encrypted[len(whole.encrypted) - left :], at
        assert len(set(made.encrypted)) == len(made.encrypted)


def test_nothing_is_trained_that_is_not_needed(cloud: Recorder, tmp_path: Path) -> None:
    """What was summed, or skipped, is over; an update that is still to be summed is made again."""
    over = Rebuilt(cloud, tmp_path).replay(cloud.messages)
    needed = set()  # where a weight or mask depends on training, it is made again for them
    if cloud._own.terms.aggregation.weights == "dynamic":
        needed = {one.step for one in cloud.messages if isinstance(one, Train)}
    assert set(over.trained) <= needed
    at = next(i for i, one in enumerate(cloud.messages) if isinstance(one, Train))
    made = Rebuilt(cloud, tmp_path).replay(cloud.messages[: at + 1])
    assert made.trained == []
    for one in cloud.messages[at + 1 :]:
        made.ask(one)
        if isinstance(one, Contribute):
            break
    assert made.trained == [1]


def test_what_the_cloud_noted_comes_back(cloud: Recorder, tmp_path: Path) -> None:
    real = lived(cloud, tmp_path, cloud.messages)
    made = Rebuilt(cloud, tmp_path).replay(cloud.messages)
    notes = real.client.notes()
    made.client.recall(notes)
    assert made.client.log == real.client.log
    assert made.client.notes() == notes
    assert json.loads(notes).keys() == {"loss", "weight", "background_seconds"}


def test_requests_that_were_altered_are_refused_in_a_replay(
    runs: dict[str, Recorder], tmp_path: Path
) -> None:
    """What is told again is checked as it was the first time."""
    told = list(runs["clouds"].messages)
    for at, one in enumerate(told):
        if not isinstance(one, Take):
            continue
        changed = bytearray(one.aggregate)
        changed[len(changed) // 2] ^= 1
        made = Rebuilt(runs["clouds"], tmp_path).replay(told[:at])
        before = head(made.client)
        with pytest.raises(vs.VeilsumError):
            made.client.replay(write_request(replace(one, aggregate=bytes(changed))))
        assert head(made.client) == before
        made.client.replay(write_request(one))
        assert head(made.client) != before
