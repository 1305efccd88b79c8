"""Rounds whose sum opens for nobody: who is named, and what the next round holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest

import veilsum as vs
from oracle import wire
from veilsum.engines import native
from veilsum.keys.sealing import seal
from veilsum.learning.task import Parameters
from veilsum.parties import client as client_module
from veilsum.parties.messages import Lose, read_convicted, write_convicted
from veilsum.report import write_report
from veilsum.training.config import TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.run import spread, train
from veilsum.transport.conditions import Reliable

Make = Callable[..., TrainConfig]


def same(one: Parameters, two: Parameters) -> bool:
    return one.keys() == two.keys() and all(
        one[name].tobytes() == two[name].tobytes() for name in one
    )


def heads(method: EncryptedAveraging) -> list[bytes]:
    """Where each cloud's history has come to."""
    return [client.state.history.head for client in method.clients]


def everybody_has_it(method: EncryptedAveraging) -> None:
    assert len(set(heads(method))) == 1
    for client in method.clients:
        assert same(client.state.parameters, method.parameters)


Moved = dict[int, int]
"""By member: what is added to one element of its share."""


def with_element(secret: bytes, prime: int, change: int) -> bytes:
    """The bytes of a share with its first element changed."""
    bits = prime.bit_length()
    row = int.from_bytes(secret[:bits], "little")  # eight fields
    first = row % (1 << bits)
    row += (first + change) % prime - first
    return row.to_bytes(bits, "little") + secret[bits:]


@contextmanager
def dealing_badly(cloud: int, moved: Moved, *steps: tuple[int, str]) -> Iterator[None]:
    """Has one cloud deal bad shares of its uploads for some steps and purposes."""
    honest = client_module.encrypt

    def encrypt(rnd: vs.Round, update: Any, *, signer: vs.Identity, **more: Any) -> Any:
        step = rnd.step
        assert step is not None
        place = step.number, step.purpose.partition(".")[0]
        if rnd.roster.index(signer.public) != cloud or place not in steps:
            return honest(rnd, update, signer=signer, **more)
        assert rnd.committee is not None
        members = iter(range(len(rnd.committee)))
        prime = wire.read_round(rnd.to_bytes()).sharing.prime

        def badly(key: bytes, info: bytes, secret: bytes) -> bytes:
            change = moved.get(next(members), 0)
            return seal(key, info, with_element(bytes(secret), prime, change))

        with mock.patch.object(native, "seal", badly):
            return honest(rnd, update, signer=signer, **more)

    with mock.patch.object(client_module, "encrypt", encrypt):
        yield


#: No three of them are on one polynomial with those of honest shares.
EVERYBODY = {k: k**4 + 1 for k in range(5)}
FIVE = ("data.clouds=5", "encryption.threshold=3", "aggregation.min_clients=3")


class Absent(Reliable):
    """Clouds that do not train: (cloud, round)."""

    def __init__(self, *away: tuple[int, int]) -> None:
        self.away = away

    def trains(self, client: int, number: int) -> bool:
        return (client, number) not in self.away


@pytest.mark.parametrize("authority", ["clouds", "committee"])
@pytest.mark.parametrize("kept", [False, True], ids=["in process", "files"])
def test_a_cloud_that_deals_bad_shares_is_convicted_and_left_out(
    make_config: Make, tmp_path: Any, authority: str, kept: bool
) -> None:
    more = ("encryption.members=5",) if authority == "committee" else ()
    config = make_config(*FIVE, f"encryption.authority={authority}", "training.rounds=3", *more)
    home = tmp_path / "home" if kept else None
    method = EncryptedAveraging(config, spread(config).clouds, home=home)
    method.run_round(1)
    before, head = method.parameters, heads(method)
    with dealing_badly(2, EVERYBODY, (2, "updates")):
        outcome = method.run_round(2)
    method.keep()
    lost = outcome.lost
    assert lost is not None
    assert (lost.purpose, lost.clouds, lost.members, lost.suspects) == ("updates", (2,), (), ())
    assert lost.opened == (0, 1, 2, 3, 4)
    assert "cloud 3 dealt shares that are none of a sharing" in outcome.skipped
    assert same(method.parameters, before)
    assert {cloud.state for cloud in outcome.clouds} == {"round lost"}
    assert len(set(heads(method))) == 1
    assert heads(method) != head
    if kept:  # another process goes on
        method = EncryptedAveraging(config, spread(config).clouds, home=home)
    outcome = method.run_round(3)
    assert not outcome.skipped
    states = [cloud.state for cloud in outcome.clouds]
    assert states == ["summed", "summed", "convicted", "summed", "summed"]
    everybody_has_it(method)


def test_suspects_are_pairs_and_the_next_sum_holds_all(make_config: Make) -> None:
    """Four clouds of which three open convict nobody; who is away then costs a round."""
    config = make_config("training.rounds=4", "aggregation.min_clients=3")
    federation = spread(config)
    method = EncryptedAveraging(config, federation.clouds, conditions=Absent((3, 2), (1, 4)))
    with dealing_badly(1, EVERYBODY, (1, "updates")):
        lost = method.run_round(1).lost
    assert lost is not None
    assert (lost.clouds, lost.members) == ((), ())
    assert lost.suspects == tuple((1, k) for k in range(4))
    assert lost.sentence == ("cloud 2 dealt bad shares, or members 1, 2, 3, 4 said so wrongly")
    missing = method.run_round(2)
    assert missing.lost is None
    assert "missing of a lost round: cloud 4" in missing.skipped
    assert not method.run_round(3).skipped
    # Since then whoever is away may be.
    last = method.run_round(4)
    assert not last.skipped
    assert last.clouds[1].state == "absent"
    assert len({head for i, head in enumerate(heads(method)) if i != 1}) == 1


def test_members_refuse_the_next_sum_without_a_lost_cloud(make_config: Make) -> None:
    """What the coordinator may not ask for, members do not sign, whoever asks."""
    config = make_config("training.rounds=2", "aggregation.min_clients=3")
    method = EncryptedAveraging(config, spread(config).clouds, conditions=Absent((3, 2)))
    with dealing_badly(1, EVERYBODY, (1, "updates")):
        assert method.run_round(1).lost
    method.coordinator._owed.clear()
    with pytest.raises(vs.RoundError, match="lacks 1 client"):
        method.run_round(2)


def test_clouds_of_a_lost_round_are_drawn_again(make_config: Make) -> None:
    config = make_config(
        "data.clouds=6", "training.participation=0.5", "training.rounds=4", "encryption.threshold=4"
    )
    method = EncryptedAveraging(config, spread(config).clouds)
    first = method.run_round(1)
    drawn = [cloud.client for cloud in first.clouds if cloud.state == "summed"]
    usual = EncryptedAveraging(config, spread(config).clouds)
    usual.run_round(1)
    expected = [
        {cloud.client for cloud in usual.run_round(number).clouds if cloud.state == "summed"}
        for number in (2, 3, 4)
    ]
    assert len(drawn) == 3
    bad = min(expected[0])
    with dealing_badly(bad, {0: 1, 1: 17, 2: 82, 3: 9}, (2, "updates")):
        lost = method.run_round(2)
    assert lost.lost is not None
    left = expected[0] - set(lost.lost.clouds)
    for expect in (left | (expected[1] - set(lost.lost.clouds)), expected[2]):
        number = method.played + 1
        outcome = method.run_round(number)
        states = {cloud.client for cloud in outcome.clouds if cloud.state == "summed"}
        assert states == expect - set(lost.lost.clouds)
        assert not outcome.skipped
    everybody_has_it(method)


@pytest.mark.parametrize(
    ("options", "purpose"),
    [
        (("aggregation.weights=dynamic", "aggregation.max_share=0.4"), "shares"),
        (("hybrid.fraction=0.5", "hybrid.renew_every=1"), "mask"),
        (("hybrid.fraction=0.5", "hybrid.renew_every=1"), "updates"),
    ],
)
def test_any_sum_of_a_round_may_be_lost(
    make_config: Make, options: tuple[str, ...], purpose: str
) -> None:
    config = make_config(*FIVE, *options)
    method = EncryptedAveraging(config, spread(config).clouds)
    with dealing_badly(4, EVERYBODY, (1, purpose)):
        lost = method.run_round(1).lost
    assert lost is not None
    assert lost.purpose.partition(".")[0] == purpose
    assert lost.clouds == (4,)
    assert not method.run_round(2).skipped
    everybody_has_it(method)


def test_lost_statistics_end_a_training(make_config: Make) -> None:
    """They are the same every time: a second sum with one cloud less would give that one away."""
    config = make_config(*FIVE)
    with (
        dealing_badly(3, EVERYBODY, (0, "statistics")),
        pytest.raises(vs.TamperedSumError, match=r"cloud 4 dealt shares .* training is over"),
    ):
        EncryptedAveraging(config, spread(config).clouds)


def test_members_that_were_away_are_told_before_they_endorse(make_config: Make) -> None:
    config = make_config(
        "encryption.authority=committee",
        "encryption.members=7",
        "encryption.threshold=4",
        "aggregation.min_clients=3",
        "training.rounds=3",
    )

    class Away(Reliable):
        def answers(self, member: int, number: int) -> bool:
            return (member, number) != (1, 1)

    method = EncryptedAveraging(config, spread(config).clouds, conditions=Away())
    with dealing_badly(2, EVERYBODY, (1, "updates")):
        lost = method.run_round(1).lost
    assert lost is not None
    assert (lost.clouds, lost.opened) == ((2,), (0, 2, 3, 4, 5, 6))
    assert lost.silent == {1: "not there"}
    assert [len(some) for some in method.coordinator._untold] == [0, 1, 0, 0, 0, 0, 0]
    assert not method.run_round(2).skipped
    assert not any(method.coordinator._untold)


def test_a_cloud_that_was_away_hears_of_the_loss_later(make_config: Make) -> None:
    class Away(Reliable):
        def receives(self, client: int, number: int) -> bool:
            return (client, number) != (4, 1)

    config = make_config(*FIVE)
    method = EncryptedAveraging(config, spread(config).clouds, conditions=Away())
    with dealing_badly(2, EVERYBODY, (1, "updates")):
        assert method.run_round(1).lost
    assert len(set(heads(method))) == 2
    assert not method.run_round(2).skipped
    everybody_has_it(method)


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("cloud", [0, 3])
def test_a_run_that_is_killed_while_it_loses_a_round(
    make_config: Make, tmp_path: Any, cloud: int
) -> None:
    """It loses the same round again, with the same verdict; nothing is opened twice."""
    config = make_config(*FIVE)
    method = EncryptedAveraging(config, spread(config).clouds, home=tmp_path / "home")
    honest = client_module._Ready.lose

    def killed(stage: Any, asked: Lose) -> Any:
        if stage._own.index == cloud:
            raise Killed
        return honest(stage, asked)

    with dealing_badly(2, EVERYBODY, (1, "updates")):
        with mock.patch.object(client_module._Ready, "lose", killed), pytest.raises(Killed):
            method.run_round(1)
        again = EncryptedAveraging(config, spread(config).clouds, home=tmp_path / "home")
        lost = again.run_round(1).lost
    assert lost is not None
    assert lost.clouds == (2,)
    again.keep()
    assert not again.run_round(2).skipped
    everybody_has_it(again)


def test_the_log_and_the_report_say_it(make_config: Make) -> None:
    config = make_config(*FIVE, "training.rounds=3")
    with dealing_badly(2, EVERYBODY, (2, "updates")):
        run = train(config)
    records = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [bool(one.get("skipped")) for one in records] == [False, True, False]
    assert records[1]["lost"] == {
        "purpose": "updates",
        "convicted_clouds": [2],
        "convicted_members": [],
        "suspects": [],
        "opened": [0, 1, 2, 3, 4],
        "silent": [],
    }
    page = write_report(run.folder).read_text(encoding="utf-8")
    assert "cloud 3 dealt shares that are none of a sharing" in page


@pytest.mark.parametrize("named", [(), (0,), (1, 4)])
def test_who_is_convicted_travels_as_numbers(named: tuple[int, ...]) -> None:
    assert read_convicted(write_convicted(named), 5) == named


@pytest.mark.parametrize("data", [b"\0", b"\0" * 7, b"\0" * 8, b"\5\0\0\0", b"\1\0\0\0\0\0\0\0"])
def test_what_is_no_list_of_members_is_refused(data: bytes) -> None:
    with pytest.raises(vs.WireFormatError, match="a list of members"):
        read_convicted(data, 5)
