"""Clouds that open together: the same models, silent and lying members, what members refuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from altering import altered
from steps import answer, contribute, described, endorse, join, take
from steps import train as step_train
from veilsum import _core
from veilsum.cli import main
from veilsum.keys.sealing import seal
from veilsum.learning.task import LocalTask, Parameters
from veilsum.parties.client import Client
from veilsum.parties.coordinator import CloudRound, PlayedRound
from veilsum.parties.member import IndependentMember
from veilsum.parties.messages import Endorse, GiveShare, MakeGroup, Request
from veilsum.protocol.authority import read_authority, write_committee
from veilsum.protocol.history import UPDATES
from veilsum.protocol.opened import read_opening, write_opening
from veilsum.protocol.participation import participants
from veilsum.protocol.terms import Terms
from veilsum.report import write_report
from veilsum.training.config import TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.run import Federation, train
from veilsum.transport.base import drive
from veilsum.transport.conditions import Reliable

Make = Callable[..., TrainConfig]
Cloud = Callable[[int, LocalTask, Terms, "int | None"], Client]

AUTHORITIES = ("single", "clouds", "committee")


class Silent(Reliable):
    """Members who do not answer: (member, round); round 0 are the statistics."""

    def __init__(self, silent: Collection[tuple[int, int]]) -> None:
        self.silent = silent

    def answers(self, member: int, number: int) -> bool:
        return (member, number) not in self.silent


def plainly(kind: type[Client]) -> Cloud:
    """Makes clouds of a class."""

    def make(index: int, task: LocalTask, terms: Terms, threads: int | None) -> Client:
        return kind(index, task, terms, threads=threads)

    return make


def run(
    config: TrainConfig,
    federation: Federation,
    client: Cloud | None = None,
    conditions: Reliable | None = None,
) -> EncryptedAveraging:
    method = EncryptedAveraging(
        config, federation.clouds, plainly(Client) if client is None else client, conditions
    )
    for number in range(1, config.training.rounds + 1):
        assert not method.run_round(number).skipped
    return method


def same(one: Parameters, two: Parameters) -> bool:
    return one.keys() == two.keys() and all(
        one[name].tobytes() == two[name].tobytes() for name in one
    )


def everybody_has_it(method: EncryptedAveraging) -> None:
    assert len(set(heads(method))) == 1
    for client in method.clients:
        assert same(client.state.parameters, method.parameters)


def heads(method: EncryptedAveraging) -> list[bytes]:
    """Where each cloud's history has come to."""
    return [client.state.history.head for client in method.clients]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("training.participation=0.5", "encryption.rounding=nearest"),
        ("aggregation.weights=dynamic", "aggregation.max_share=0.4"),
    ],
    ids=["all clouds", "sampled", "dynamic and capped"],
)
def test_whoever_opens_the_model_is_the_same(
    make_config: Make, federation: Federation, options: Sequence[str]
) -> None:
    methods = [
        run(make_config(*options, f"encryption.authority={authority}"), federation)
        for authority in AUTHORITIES
    ]
    assert [len(method.members) for method in methods] == [0, 0, 4]
    for method in methods:
        everybody_has_it(method)
        assert same(method.parameters, methods[0].parameters)
        assert method.moments.to_mapping().keys() == methods[0].moments.to_mapping().keys()
        for name, array in method.moments.to_mapping().items():
            np.testing.assert_array_equal(array, methods[0].moments.to_mapping()[name])


@pytest.mark.parametrize("silent", [0, 1, 3])
def test_a_silent_cloud_does_no_harm(
    make_config: Make, federation: Federation, silent: int
) -> None:
    config = make_config("training.rounds=3")
    assert (config.terms.members, config.terms.threshold) == (4, 3)
    away = Silent({(silent, number) for number in (0, 1, 3)})
    method = EncryptedAveraging(config, federation.clouds, conditions=away)
    for number in (1, 2, 3):
        outcome = method.run_round(number)
        by = outcome.opened_by
        assert by is not None
        there = [k for k in range(4) if number == 2 or k != silent]
        assert by.endorsed == by.answered == tuple(there[:3])
        # Who is not needed is not asked.
        missed = number != 2 and silent < 3
        assert by.silent == ({silent: "not there"} if missed else {})
        sizes = outcome.message_bytes
        for cloud in outcome.clouds:
            opens = cloud.client in by.answered
            more = (sizes["endorsement"] + sizes["answer"]) * opens
            assert cloud.up_bytes == sizes["upload"] + more
            asked_for = (sizes["opening_request"] + sizes["certificate"]) * opens
            read = sizes["round"] + sizes["aggregate"] + len(by.data)
            assert cloud.down_bytes == read + asked_for
    everybody_has_it(method)
    assert same(method.parameters, run(config, federation).parameters)


def test_as_many_members_of_their_own_may_be_silent_as_it_does_not_take(
    make_config: Make, federation: Federation
) -> None:
    options = ("encryption.authority=committee", "encryption.members=5", "encryption.threshold=3")
    config = make_config(*options)
    method = run(config, federation, conditions=Silent({(0, 1), (3, 1), (2, 2), (4, 2)}))
    assert same(method.parameters, run(config, federation).parameters)
    with pytest.raises(vs.RoundError, match="2 members endorse the sum, and it takes 3"):
        run(config, federation, conditions=Silent({(0, 1), (3, 1), (4, 1)}))


class Counting(Client):
    """Counts the answers of all clouds."""

    answered = 0

    def ask(self, request: Request) -> bytes:
        Counting.answered += isinstance(request, GiveShare)
        return super().ask(request)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_too_few_members_are_named_and_nothing_is_opened(
    config: TrainConfig, federation: Federation, number: int
) -> None:
    Counting.answered = 0
    away = Silent({(0, number), (2, number)})
    error = (
        r"2 members endorse the sum, and it takes 3 \(member 1: not there; member 3: not there\); "
        "nothing was opened"
    )
    if number == 0:
        with pytest.raises(vs.RoundError, match=error):
            EncryptedAveraging(config, federation.clouds, plainly(Counting), away)
        assert Counting.answered == 0
        return
    method = EncryptedAveraging(config, federation.clouds, plainly(Counting), away)
    for earlier in range(1, number):
        method.run_round(earlier)
    before, head = method.parameters, heads(method)
    with pytest.raises(vs.RoundError, match=error):
        method.run_round(number)
    assert Counting.answered == 3 * number  # the statistics, and the rounds before
    assert heads(method) == head
    assert same(method.parameters, before)


Lie = Callable[["Liar", vs.Round, bytes, bytes], bytes]


class Liar(Client):
    """A cloud that opens the statistics like the others, and deviates as a member from then on."""

    step = ""
    lie: Lie

    def __init__(self, index: int, task: LocalTask, terms: Terms, threads: int | None) -> None:
        super().__init__(index, task, terms, threads=threads)
        self.earlier: dict[str, bytes] = {}

    def ask(self, request: Request) -> bytes:
        honest = super().ask(request)
        if not isinstance(request, (Endorse, GiveShare)):
            return honest
        rnd = vs.Round.from_bytes(request.description)
        assert rnd.step is not None
        lies = self.step == request.verb and rnd.step.number > 0
        told = type(self).lie(self, rnd, honest, request.request) if lies else honest
        self.earlier[request.verb] = honest
        return told


def _refuses(liar: Liar, rnd: vs.Round, honest: bytes, request: bytes) -> bytes:
    raise vs.RoundError("I will not")


def _cannot_write(liar: Liar, rnd: vs.Round, honest: bytes, request: bytes) -> bytes:
    raise OSError(28, "No space left on device", "ledger")


def _damaged(liar: Liar, rnd: vs.Round, honest: bytes, request: bytes) -> bytes:
    return honest[:60] + bytes([honest[60] ^ 1]) + honest[61:]


def _nothing(liar: Liar, rnd: vs.Round, honest: bytes, request: bytes) -> bytes:
    return b""


def _of_another_round(liar: Liar, rnd: vs.Round, honest: bytes, request: bytes) -> bytes:
    return liar.earlier[liar.step]


def _sealed(liar: Liar, rnd: vs.Round, request: bytes) -> bytes:
    shares = _core.open_shares(
        vs.MemberRequest.from_bytes(request, rnd), liar._own.member._open_share
    )
    return _core.seal_answer(shares, 1, seal)


def _other_signature(liar: Liar, rnd: vs.Round, honest: bytes, request: bytes) -> bytes:
    member, total = 1, vs.MemberRequest.from_bytes(request, rnd).sum
    signature = liar._own.identity.sign(b"something else")
    if liar.step == "endorse":
        return vs.Endorsement(rnd, member, total, signature).to_bytes()
    return vs.Answer(rnd, member, total, _sealed(liar, rnd, request), signature).to_bytes()


def _of_another_sum(liar: Liar, rnd: vs.Round, honest: bytes, request: bytes) -> bytes:
    other = bytes(32)
    if liar.step == "endorse":
        signature = liar._own.identity.sign(_core.endorsement_payload(rnd, 1, other))
        return vs.Endorsement(rnd, 1, other, signature).to_bytes()
    sealed = _sealed(liar, rnd, request)
    signature = liar._own.identity.sign(_core.answer_payload(rnd, 1, other, sealed))
    return vs.Answer(rnd, 1, other, sealed, signature).to_bytes()


def _as_another_member(liar: Liar, rnd: vs.Round, honest: bytes, request: bytes) -> bytes:
    """Its own word, signed as member 3's."""
    total = vs.MemberRequest.from_bytes(request, rnd).sum
    if liar.step == "endorse":
        signature = liar._own.identity.sign(_core.endorsement_payload(rnd, 2, total))
        return vs.Endorsement(rnd, 2, total, signature).to_bytes()
    sealed = _sealed(liar, rnd, request)
    signature = liar._own.identity.sign(_core.answer_payload(rnd, 2, total, sealed))
    return vs.Answer(rnd, 2, total, sealed, signature).to_bytes()


LIES: dict[str, tuple[Lie, str]] = {
    "refuses": (_refuses, "I will not"),
    "disk full": (_cannot_write, "ledger: No space left on device"),
    "damaged": (_damaged, "checksum"),
    "nothing": (_nothing, "truncated|bytes"),
    "of another round": (_of_another_round, "belongs to|round"),
    "another signature": (_other_signature, "does not hold|signature"),
    "of another sum": (_of_another_sum, "another sum|other sum"),
    "as another member": (_as_another_member, "of member 3"),
}


def liars(step: str, lie: Lie) -> Cloud:
    """Clouds whose second one deviates."""

    class One(Liar):
        pass

    One.step, One.lie = step, staticmethod(lie)  # type: ignore[assignment]

    def make(index: int, task: LocalTask, terms: Terms, threads: int | None) -> Client:
        if index == 1:
            return One(index, task, terms, threads)
        return Client(index, task, terms, threads=threads)

    return make


@pytest.mark.parametrize("step", ["endorse", "answer"])
@pytest.mark.parametrize("name", LIES)
def test_a_member_that_deviates_is_named_and_the_others_open(
    make_config: Make, federation: Federation, step: str, name: str
) -> None:
    lie, why = LIES[name]
    config = make_config("training.rounds=1")
    method = EncryptedAveraging(config, federation.clouds, liars(step, lie))
    by = method.run_round(1).opened_by
    assert by is not None
    assert list(by.silent) == [1]
    assert re.search(why, by.silent[1]), by.silent
    assert by.answered == (0, 2, 3)
    assert by.endorsed == ((0, 2, 3) if step == "endorse" else (0, 1, 2))
    everybody_has_it(method)
    assert same(method.parameters, run(config, federation).parameters)


@pytest.mark.parametrize("step", ["endorse", "answer"])
def test_another_member_s_word_stands_for_nobody_else_s(
    make_config: Make, federation: Federation, step: str
) -> None:
    """A copy of what member 1 signed, so that its signature holds."""
    said: list[bytes] = []

    def copied(liar: Liar, rnd: vs.Round, honest: bytes, request: bytes) -> bytes:
        return said[-1]

    class Watched(Client):
        def ask(self, request: Request) -> bytes:
            reply = super().ask(request)
            if isinstance(request, (Endorse, GiveShare)):
                said.append(reply)
            return reply

    others = liars(step, copied)

    def make(index: int, task: LocalTask, terms: Terms, threads: int | None) -> Client:
        make_one = plainly(Watched) if index == 0 else others
        return make_one(index, task, terms, threads)

    config = make_config("training.rounds=1")
    method = EncryptedAveraging(config, federation.clouds, make)
    by = method.run_round(1).opened_by
    assert by is not None
    assert by.silent.keys() == {1}
    assert "of member 1" in by.silent[1]
    assert same(method.parameters, run(config, federation).parameters)


def _wrong_share(liar: Liar, rnd: vs.Round, honest: bytes, request: bytes) -> bytes:
    """Another share, sealed and signed as it should be: only readers can see it."""
    asked = vs.MemberRequest.from_bytes(request, rnd)
    shares = _core.open_shares(asked, liar._own.member._open_share)
    real = bytearray()

    def sealing(key: bytes, info: bytes, secret: bytes) -> bytes:
        real.extend(secret)
        changed = bytes([secret[0] ^ 1]) + secret[1:]
        return seal(key, info, changed)

    sealed = _core.seal_answer(shares, 1, sealing)
    assert real
    signature = liar._own.identity.sign(_core.answer_payload(rnd, 1, asked.sum, sealed))
    return vs.Answer(rnd, 1, asked.sum, sealed, signature).to_bytes()


def _unreadable(liar: Liar, rnd: vs.Round, honest: bytes, request: bytes) -> bytes:
    """Signed as it should be, and sealed to nobody."""
    asked = vs.MemberRequest.from_bytes(request, rnd)
    sealed = bytearray(_sealed(liar, rnd, request))
    sealed[len(sealed) // 2] ^= 1
    signature = liar._own.identity.sign(_core.answer_payload(rnd, 1, asked.sum, bytes(sealed)))
    return vs.Answer(rnd, 1, asked.sum, bytes(sealed), signature).to_bytes()


READERS_SEE: dict[str, Lie] = {"wrong": _wrong_share, "unreadable": _unreadable}


@pytest.mark.parametrize("name", READERS_SEE)
def test_a_bad_share_under_a_right_signature_gives_no_model_where_all_must_answer(
    make_config: Make, federation: Federation, name: str
) -> None:
    """What an answer holds only its readers see: the tag tells them, and the round is lost.

    Who signed what nobody can read is convicted; a wrong share among as few as it takes is
    nobody's.
    """
    config = make_config("encryption.threshold=4")
    method = EncryptedAveraging(config, federation.clouds, liars("answer", READERS_SEE[name]))
    before = method.parameters
    lost = method.run_round(1).lost
    assert lost is not None
    assert (lost.clouds, lost.suspects, lost.opened) == ((), (), (0, 1, 2, 3))
    assert lost.members == ((1,) if name == "unreadable" else ())
    assert lost.sentence == (
        "member 2 answered wrongly" if name == "unreadable" else "nobody can be named"
    )
    assert same(method.parameters, before)
    assert len(set(heads(method))) == 1


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("aggregation.weights=dynamic", "aggregation.max_share=0.4"),
        ("hybrid.fraction=0.5", "hybrid.renew_every=1"),
    ],
    ids=["updates", "shares", "hybrid"],
)
@pytest.mark.parametrize("name", READERS_SEE)
def test_a_bad_share_under_a_right_signature_is_made_up_for_by_another_member(
    make_config: Make, federation: Federation, name: str, options: Sequence[str]
) -> None:
    """Readers refuse the sum with three answers; the fourth is asked for, and all take it in."""
    config = make_config(*options)
    method = EncryptedAveraging(config, federation.clouds, liars("answer", READERS_SEE[name]))
    honest = EncryptedAveraging(config, federation.clouds)
    for number in (1, 2):
        outcome, usual = method.run_round(number), honest.run_round(number)
        assert not outcome.skipped
        by = outcome.opened_by
        assert by is not None
        assert by.endorsed == (0, 1, 2)
        assert by.answered == (0, 1, 2, 3)
        assert by.silent == {}
        # What the fourth sent and received for that counts.
        sizes = outcome.message_bytes
        fourth, before = outcome.clouds[3], usual.clouds[3]
        assert fourth.up_bytes >= before.up_bytes + sizes["answer"]
        more = sizes["opening_request"] + sizes["certificate"] + sizes["answer"]
        assert fourth.down_bytes >= before.down_bytes + more
    everybody_has_it(method)
    assert same(method.parameters, honest.parameters)


def test_a_bad_share_and_nobody_else_to_ask(make_config: Make, federation: Federation) -> None:
    """The fourth member is away: no reader takes anything in, and the round is lost."""
    method = EncryptedAveraging(
        make_config(), federation.clouds, liars("answer", _wrong_share), Silent({(3, 1)})
    )
    before = method.parameters
    outcome = method.run_round(1)
    assert outcome.lost is not None
    assert outcome.lost.silent == {3: "not there"}
    assert outcome.lost.sentence == "nobody can be named"
    assert "no answers open its sum of updates" in outcome.skipped
    assert same(method.parameters, before)


def test_members_that_endorsed_may_be_lost_before_they_answer(
    make_config: Make, federation: Federation
) -> None:
    """More than one may be lost in all, as long as enough are there for each step."""
    config = make_config("training.rounds=1", "data.clouds=5", "encryption.threshold=3")

    class Lost(Client):
        def ask(self, request: Request) -> bytes:
            if isinstance(request, GiveShare) and self._own.index < 2:
                step = vs.Round.from_bytes(request.description).step
                if step is not None and step.number > 0:
                    raise vs.RoundError("lost")
            return super().ask(request)

    from veilsum.training.run import spread

    clouds = spread(config)
    method = EncryptedAveraging(config, clouds.clouds, plainly(Lost))
    by = method.run_round(1).opened_by
    assert by is not None
    assert by.endorsed == (0, 1, 2)
    assert by.answered == (2, 3, 4)
    assert by.silent == {0: "lost", 1: "lost"}
    assert same(method.parameters, run(config, clouds).parameters)


class Behind(Reliable):
    """Cloud 4 misses the sum of round 1 and trains in no round after it; it opens all the same."""

    def trains(self, client: int, number: int) -> bool:
        return client != 3 or number == 1

    def receives(self, client: int, number: int) -> bool:
        return client != 3 or number != 1


def test_a_cloud_takes_in_what_it_missed_before_it_opens(
    make_config: Make, federation: Federation
) -> None:
    config = make_config("encryption.threshold=4", "aggregation.min_clients=3", "training.rounds=3")
    method = EncryptedAveraging(config, federation.clouds, conditions=Behind())
    for number in (1, 2, 3):
        outcome = method.run_round(number)
        assert outcome.opened_by is not None
        assert outcome.opened_by.answered == (0, 1, 2, 3)
        assert outcome.clouds[3].state == ("summed" if number == 1 else "absent")
        # It has the sum of the round before, not this one.
        assert method.clients[3].state.history.step == number
        assert method.clients[0].state.history.step == number + 1
    assert outcome.clouds[3].down_bytes > outcome.message_bytes["aggregate"]


def test_clouds_that_were_not_drawn_open_too(make_config: Make, federation: Federation) -> None:
    config = make_config(
        "training.participation=0.5", "encryption.threshold=4", "training.rounds=3"
    )
    method = EncryptedAveraging(config, federation.clouds)
    for number in (1, 2, 3):
        outcome = method.run_round(number)
        assert len(participants(config.terms, number)) == 2
        assert outcome.opened_by is not None
        assert outcome.opened_by.answered == (0, 1, 2, 3)
    everybody_has_it(method)


@pytest.fixture(params=["clouds", "committee"])
def opening(
    request: pytest.FixtureRequest, make_config: Make, federation: Federation
) -> EncryptedAveraging:
    config = make_config(f"encryption.authority={request.param}", "aggregation.min_clients=2")
    return EncryptedAveraging(config, federation.clouds)


def members(method: EncryptedAveraging) -> Sequence[Client | IndependentMember]:
    """Who opens."""
    return method.members or method.clients


def asked(
    method: EncryptedAveraging, leave_out: int = 0, **changes: Any
) -> tuple[bytes, list[bytes]]:
    """A round as the agreement has it, but for the changes, and what its members are asked."""
    state = method.clients[0].state
    agreed = state.agreement
    signers = [client._own.identity for client in method.clients]
    group = agreed.group
    options: dict[str, Any] = {
        "size": 8,
        "min_clients": 2,
        "roster": [one.public for one in signers],
        "group": agreed._commitment,
        "step": agreed._step(state.history.place(UPDATES)),
    }
    options |= changes
    signers = options.pop("signers", signers)
    group = options.pop("keys", group)
    rnd = vs.Round(agreed.plan, options.pop("authority", agreed.authorities[1]), **options)
    made = [
        vs.encrypt(rnd, np.full(8, 0.5), signer=signer, group=group)
        for signer in signers[leave_out:]
    ]
    total = vs.weighted_sum(rnd, made)
    members = rnd.committee.members if rnd.committee else ()
    return rnd.to_bytes(), [vs.request_for(total, member).to_bytes() for member in members]


def test_a_member_opens_a_round_of_its_own_history_roster_and_training_only(
    opening: EncryptedAveraging,
) -> None:
    method, member = opening, members(opening)[0]
    state = method.clients[0].state
    agreed, place = state.agreement, state.history.place(UPDATES)
    right = agreed._step(place)
    training = agreed._training
    committee = agreed.authorities[1]
    assert isinstance(committee, vs.Committee)
    strangers = [vs.Identity.generate() for _ in range(4)]
    foreign = vs.Group.create(strangers[0], vs.Roster(strangers))
    mine = [client._own.identity for client in method.clients]
    wrong: dict[str, dict[str, Any]] = {
        "training": {"step": vs.TrainingStep(bytes(32), right.number, UPDATES, place.head)},
        "no step": {"step": None},
        "roster": {
            "roster": [one.public for one in strangers],
            "signers": strangers,
            "group": foreign.commitment,
            "keys": foreign,
        },
        # One cloud, and clients that somebody made up: their sum is that cloud's update.
        "sybils": {
            "roster": [mine[1].public, *(one.public for one in strangers[1:])],
            "signers": [mine[1], *strangers[1:]],
        },
    }
    if isinstance(member, Client):
        other = vs.Group.create(mine[0], vs.Roster(mine), training)
        wrong |= {
            "history": {"step": vs.TrainingStep(training, right.number, UPDATES, bytes(32))},
            "min_clients": {"min_clients": 3},
            "group": {"group": other.commitment, "keys": other},
            "threshold": {"authority": vs.Committee(committee.members, 4)},
        }
    for name, changes in wrong.items():
        description, requests = asked(method, **changes)
        with pytest.raises(vs.RoundError, match=r"opens none of it|nothing of it is opened"):
            endorse(member, description, requests[0])
        with pytest.raises(vs.RoundError, match=r"opens none of it|nothing of it is opened"):
            answer(member, description, b"", requests[0])
        assert name
    description, requests = asked(method)
    assert endorse(member, description, requests[0])


def test_a_member_gives_its_word_for_one_sum_of_a_step(opening: EncryptedAveraging) -> None:
    member = members(opening)[1]
    description, requests = asked(opening)
    word = endorse(member, description, requests[1])
    assert endorse(member, description, requests[1]) == word
    # Another sum over fewer clouds, of the same round and of another one for the same step.
    rnd = vs.Round.from_bytes(description)
    group = opening.clients[0].state.agreement.group
    fewer = vs.weighted_sum(
        rnd,
        [
            vs.encrypt(rnd, np.full(8, 0.5), signer=client._own.identity, group=group)
            for client in opening.clients[1:]
        ],
    )
    assert rnd.committee is not None
    with pytest.raises(vs.RoundError):
        other = vs.request_for(fewer, rnd.committee.members[1]).to_bytes()
        endorse(member, description, other)
    again, others = asked(opening, leave_out=1)
    assert again != description
    with pytest.raises(vs.RoundError):
        endorse(member, again, others[1])
    # A round that asks for fewer clouds than the member's own policy.
    assert endorse(member, description, requests[1]) == word


def test_an_altered_sum_is_refused_by_every_reader(
    config: TrainConfig, federation: Federation
) -> None:
    """Sums of a committee have a tag: what the history alone finds with one key holder."""
    method = EncryptedAveraging(config, federation.clouds)
    description = described(method)
    method.aggregator.open_round(description)
    for client in method.clients:
        step_train(client, 1)
        method.aggregator.receive(contribute(client, description))
    played = PlayedRound(1, [CloudRound(i) for i in range(4)])
    told, _ = drive(method.coordinator._open(description, played), method._transport)
    honest = method.aggregator.aggregate
    assert told.aggregate == honest
    other = altered(honest, vs.Round.from_bytes(description))
    for client in method.clients:
        before = client.state.history.head
        with pytest.raises(vs.TamperedSumError):
            take(client, description, other, told.opening)
        assert client.state.history.head == before
        take(client, description, honest, told.opening)
        assert client.state.history.head != before


def test_members_meet_the_clouds_once(federation: Federation) -> None:
    member = IndependentMember()
    keys = [vs.Identity.generate().public.to_bytes() for _ in range(3)]
    member.enrol(bytes(32), keys, 2)
    with pytest.raises(vs.RoundError, match="fixed for the run"):
        member.enrol(bytes(32), keys, 2)


def test_the_aggregator_asks_whom_the_round_names(
    make_config: Make, federation: Federation
) -> None:
    single = EncryptedAveraging(make_config("encryption.authority=single"), federation.clouds)
    with pytest.raises(vs.RoundError, match="has one key holder"):
        single.aggregator.member_requests()
    method = EncryptedAveraging(make_config(), federation.clouds)
    method.aggregator.open_round(described(method))
    with pytest.raises(vs.RoundError, match="no sum was certified"):
        type(method.aggregator)().check_answer(0, b"")
    with pytest.raises(vs.RoundError, match="no round was closed"):
        type(method.aggregator)().certify([])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"{", "malformed"),
        (b"{}", "malformed"),
        (b'{"members": ["zz"], "threshold": 2}', "malformed"),
        (b'{"members": 3, "threshold": 2}', "malformed"),
        (b'{"members": [], "threshold": 2}', "description of a committee"),
        (b'{"members": [], "threshold": "2"}', "description of a committee"),
        (b"no key", "magic missing"),
    ],
)
def test_an_authority_that_is_none_is_refused(data: bytes, error: str) -> None:
    with pytest.raises(vs.WireFormatError, match=error):
        read_authority(data)


def test_an_authority_is_read_back() -> None:
    committee = vs.Committee([vs.Identity.generate() for _ in range(5)], 4)
    assert read_authority(write_committee(committee)) == committee
    key = vs.keygen(vs.Plan(2))[1]
    read = read_authority(key.to_bytes())
    assert isinstance(read, vs.PublicKey)
    assert read.id == key.id


def test_an_opening_is_taken_apart_as_it_was_put_together() -> None:
    parts = [b"certificate", b"", b"answer"]
    data = write_opening(parts[0], parts[1:])
    assert read_opening(data) == (parts[0], parts[1:])
    for length in range(len(data)):
        if length in (15, 19):  # whole parts
            continue
        with pytest.raises(vs.WireFormatError):
            read_opening(data[:length])


@pytest.mark.parametrize("authority", AUTHORITIES)
def test_a_cloud_agrees_to_the_authority_that_was_configured(
    make_config: Make, federation: Federation, authority: str
) -> None:
    plan = vs.Plan(4).to_bytes()
    config = make_config(f"encryption.authority={authority}")
    task = EncryptedAveraging(config, federation.clouds).clients[0]._own.task
    client = Client(0, task, config.terms)
    others = [vs.Identity.generate() for _ in range(3)]
    roster = [client.public_identity, *(one.public.to_bytes() for one in others)]
    public = [vs.PublicIdentity.from_bytes(one) for one in roster]
    strangers = [vs.Identity.generate() for _ in range(5)]
    training = bytes(range(32))
    sealed = client.ask(MakeGroup(training, tuple(roster)))
    offers = {
        "single": (vs.keygen(vs.Plan.from_bytes(plan))[1].to_bytes(), b""),
        "clouds": (write_committee(vs.Committee(public, 3)), sealed),
        "committee": (write_committee(vs.Committee(strangers[:4], 3)), sealed),
        "no group": (write_committee(vs.Committee(public, 3)), b""),
        "group without committee": (vs.keygen(vs.Plan.from_bytes(plan))[1].to_bytes(), sealed),
        "other threshold": (write_committee(vs.Committee(public, 4)), sealed),
        "other number": (write_committee(vs.Committee(strangers, 3)), sealed),
    }
    for name, (opens, group) in offers.items():
        if name == authority or (name == "clouds" and authority == "committee"):
            continue
        with pytest.raises(vs.RoundError, match="another authority than was configured"):
            join(client, training, (plan, opens), (plan, opens), roster, group)
    opens, group = offers[authority]
    # The same for both sums.
    with pytest.raises(vs.RoundError, match="another authority than was configured"):
        join(client, training, (plan, opens), (plan, offers["no group"][0]), roster, b"")
    join(client, training, (plan, opens), (plan, opens), roster, group)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("encryption.engine=openfhe",), 'say encryption.authority = "single"'),
        (
            ("encryption.engine=openfhe", "encryption.authority=committee"),
            'say encryption.authority = "single"',
        ),
        (("encryption.threshold=2",), "threshold is 2 of 4 members; it must be more than half"),
        (("encryption.threshold=5",), "threshold is 5 of 4 members"),
        (("encryption.members=3",), "members is 3 with authority 'clouds'"),
        (("encryption.authority=single", "encryption.members=3"), "it is for authority"),
        (("encryption.authority=single", "encryption.threshold=1"), "one key holder opens alone"),
        (
            ("encryption.authority=committee", "encryption.members=1"),
            "members at least 2",
        ),
        (
            (
                "encryption.authority=committee",
                "encryption.members=5",
                "encryption.threshold=2",
            ),
            "threshold is 2 of 5 members",
        ),
        (("encryption.authority=nobody",), "authority"),
        (("encryption.threshold=-1",), "threshold"),
        (("encryption.members=1025",), "members"),
    ],
)
def test_committees_that_cannot_be_are_refused(
    make_config: Make, options: Sequence[str], error: str
) -> None:
    with pytest.raises(vs.ParameterError, match=error):
        make_config(*options)


@pytest.mark.parametrize(
    ("options", "members", "threshold"),
    [
        ((), 4, 3),
        (("data.clouds=2",), 2, 2),
        (("data.clouds=3",), 3, 3),
        (("data.clouds=10",), 10, 7),
        (("encryption.threshold=4",), 4, 4),
        (("encryption.authority=single",), 1, 1),
        (("encryption.authority=committee",), 4, 3),
        (("encryption.authority=committee", "encryption.members=7"), 7, 5),
        (
            ("encryption.authority=committee", "encryption.members=7", "encryption.threshold=4"),
            7,
            4,
        ),
    ],
)
def test_members_and_threshold(
    make_config: Make, options: Sequence[str], members: int, threshold: int
) -> None:
    config = make_config(*options)
    assert (config.terms.members, config.terms.threshold) == (members, threshold)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "any 3 of 4 clouds together"),
        (("data.clouds=3",), "all 3 clouds together: every one of them must answer"),
        (
            ("encryption.authority=committee", "encryption.members=5"),
            "any 4 of 5 members of their own together",
        ),
        (("encryption.authority=single",), "one key holder, who could open every upload"),
    ],
)
def test_a_run_says_at_its_start_who_opens(
    make_config: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: Sequence[str],
    words: str,
) -> None:
    settings = [
        f'run.directory="{tmp_path}"', "run.device=cpu", "run.threads=1", "model.hidden=[2]",
        "run.tensorboard=false", "training.rounds=1", "training.epochs=1", *options,
    ]  # fmt: skip
    assert main(["train", *(word for one in settings for word in ("--set", one))]) == 0
    assert f"sums are opened by {words}\n" in capsys.readouterr().err


WHOLE_RUNS = {
    "sampled": ("training.participation=0.5",),
    "hybrid": ("hybrid.fraction=0.5",),
    "distributed noise": ("privacy.distributed=true", "aggregation.weights=uniform"),
    "dynamic and capped": ("aggregation.weights=dynamic", "aggregation.max_share=0.4"),
    "members of their own": ("encryption.authority=committee", "encryption.members=3"),
}


@pytest.mark.parametrize("name", WHOLE_RUNS)
def test_every_way_to_train_ends_with_a_report(make_config: Make, name: str) -> None:
    if name == "distributed noise":
        pytest.importorskip("opacus")
    config = make_config(*WHOLE_RUNS[name])
    made = train(config)
    assert made.summary["status"] == "finished"
    for record in made.records:
        assert not record.get("skipped")
        assert record["opened_by"]["members"] == config.terms.members
        assert len(record["opened_by"]["answered"]) == config.terms.threshold
        assert {"endorsement", "certificate", "answer", "opening_request"} <= record["bytes"].keys()
    page = Path(write_report(made.folder)).read_text(encoding="utf-8")
    assert "Who opened" in page
    assert "one key holder here" not in page
