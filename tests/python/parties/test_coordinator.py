"""The coordinator: who may be missing at which request, and what then becomes of the round."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from veilsum.learning.provided import ProvidedTask
from veilsum.learning.task import LocalResult, Parameters
from veilsum.parties.asking import Ask, Party, Reply
from veilsum.parties.client import Client
from veilsum.parties.coordinator import Coordinator, PlayedRound
from veilsum.parties.key_holder import KeyHolder
from veilsum.parties.member import IndependentMember
from veilsum.parties.messages import Contribute, Introduce, Skip, Take, write_request
from veilsum.protocol.terms import Terms, read_sections
from veilsum.transport.base import drive
from veilsum.transport.in_process import InProcess

CLOUDS = 4
SHAPES = {"w": (12,), "b": (3,)}
ROUNDS = 3

SETTINGS: dict[str, dict[str, Mapping[str, Any]]] = {
    "clouds": {"encryption": {"authority": "clouds", "threshold": 3}},
    "committee": {"encryption": {"authority": "committee", "members": 4, "threshold": 3}},
    "single": {"encryption": {"authority": "single"}},
    "agreed": {
        "aggregation": {"weights": "dynamic", "max_share": 0.45},
        "hybrid": {"fraction": 0.5, "sensitivity": "magnitude", "renew_every": 1},
    },
}


def make_terms(name: str, least: int = 3) -> Terms:
    sections = {key: dict(value) for key, value in SETTINGS[name].items()}
    sections["aggregation"] = {"weights": "uniform", "min_clients": least} | dict(
        sections.get("aggregation", {})
    )
    sections["encryption"] = {"limit": 4.0, "pads_ahead": False} | dict(
        sections.get("encryption", {})
    )
    return Terms(clouds=CLOUDS, rounds=ROUNDS, **read_sections(sections))


class Own(ProvidedTask):
    """A cloud whose update depends on its number and the round alone."""

    def __init__(self, cloud: int) -> None:
        super().__init__(SHAPES)
        self.cloud = cloud
        self.trained: list[int] = []

    def train(self, parameters: Parameters, number: int) -> LocalResult:
        self.trained.append(number)
        self.provide(update(self.cloud, number), 100 + 50 * self.cloud)
        return super().train(parameters, number)


def update(cloud: int, number: int) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng((cloud, number))
    return {name: numbers.uniform(-0.5, 0.5, shape) for name, shape in SHAPES.items()}


Lose = Callable[[int, Ask], str]
"""From the place of a request and the request to "", "request" or "reply": what is lost."""


def nothing(place: int, ask: Ask) -> str:
    return ""


class Lossy:
    """Loses requests or replies, and remembers who was asked what."""

    def __init__(self, parties: Mapping[Party, Callable[[bytes], bytes]], lose: Lose) -> None:
        self._inner = InProcess(parties)
        self._lose = lose
        self.asked: list[Ask] = []

    def deliver(self, asks: Sequence[Ask]) -> list[Reply]:
        return [self._one(ask) for ask in asks]

    def _one(self, ask: Ask) -> Reply:
        what = self._lose(len(self.asked), ask)
        self.asked.append(ask)
        if what == "request":
            return Reply()
        (reply,) = self._inner.deliver([ask])
        return Reply() if what == "reply" and reply.error is None else reply


class Together:
    """All parties of a training, and the way between them."""

    def __init__(self, name: str, lose: Lose = nothing, least: int = 3) -> None:
        self.terms = make_terms(name, least)
        self.tasks = [Own(i) for i in range(CLOUDS)]
        self.clients = [Client(i, task, self.terms, threads=1) for i, task in enumerate(self.tasks)]
        parties = {Party("cloud", i): one.handle for i, one in enumerate(self.clients)}
        parties[Party("key holder", 0)] = KeyHolder().handle
        self.members = [IndependentMember() for _ in range(4)]
        parties |= {Party("member", i): one.handle for i, one in enumerate(self.members)}
        self.transport = Lossy(parties, lose)
        self.coordinator = Coordinator(self.terms, time.perf_counter)
        self.played: list[PlayedRound] = []

    def begin(self) -> Together:
        drive(self.coordinator.begin(), self.transport)
        return self

    def run(self) -> Together:
        self.begin()
        for number in range(1, ROUNDS + 1):
            self.played.append(drive(self.coordinator.round(number), self.transport))
        return self

    def heads(self) -> list[bytes]:
        return [one.state.history.head for one in self.clients]

    def check(self, *skipped: int) -> None:
        """Whoever was in a sum is in the mean, everybody has it, and nobody trained twice.

        But for the rounds that are named, all were summed.
        """
        # Of round 1 to 3 the last sum may still be on its way to who lost word of it.
        (ahead,) = {one.state.history.step for one in self._furthest()}
        assert ahead == ROUNDS + 1
        assert len({one.state.history.head for one in self._furthest()}) == 1
        model = {name: np.zeros(shape) for name, shape in SHAPES.items()}
        for played in self.played:
            assert bool(played.skipped) == (played.number in skipped)
            if played.skipped:
                continue
            there = [one.client for one in played.uploads]
            assert there == [one.client for one in played.clouds if one.state == "summed"]
            for name in model:
                model[name] = model[name] + self._mean(name, there, played.number)
        found = self._furthest()[0].state.parameters
        for name, array in model.items():
            # Three rounds of at most four values a sum, each rounded to a step of 4 / 32767 for
            # stochastic rounding, and weights of 4 / 32767 by values of at most 1/2.
            bound = ROUNDS * 4 * (4 + 2) / 32767
            assert np.abs(found[name] - array).max() < bound if self._uniform else True
        for task in self.tasks:
            assert task.trained == sorted(set(task.trained))

    def _furthest(self) -> list[Client]:
        most = max(one.state.history.taken for one in self.clients)
        return [one for one in self.clients if one.state.history.taken == most]

    @property
    def _uniform(self) -> bool:
        return self.terms.aggregation.weights == "uniform"

    def _mean(self, name: str, there: Sequence[int], number: int) -> np.ndarray:
        return np.mean([update(i, number)[name] for i in there], axis=0)


def verb_and_purpose(ask: Ask) -> tuple[str, str]:
    """A request's verb, and what its round is for where it has one."""
    step = None
    if isinstance(ask.request, (Contribute, Take)):
        step = vs.Round.from_bytes(ask.request.description).step
    return ask.request.verb, "" if step is None else step.purpose


def names(asked: Sequence[Ask]) -> Iterator[tuple[int, str]]:
    """Each request with how often its like was made before."""
    seen: dict[tuple[Party, str], int] = {}
    for place, ask in enumerate(asked):
        key = ask.party, ask.request.verb
        seen[key] = seen.get(key, 0) + 1
        yield place, f"{ask.party} {ask.request.verb} {seen[key]}"


@pytest.mark.parametrize("name", SETTINGS)
def test_nothing_is_lost(name: str) -> None:
    made = Together(name).run()
    made.check()
    assert len(set(made.heads())) == 1
    assert all(cloud.state == "summed" for played in made.played for cloud in played.clouds)
    assert made.coordinator._told == []


@pytest.mark.parametrize("name", ["clouds", "committee", "single"])
def test_no_training_begins_without_everybody(name: str) -> None:
    """Each request before the first round is lost once; only members that open may be missing."""
    whole = Together(name).begin().transport.asked
    verbs = {ask.request.verb for ask in whole}
    assert {"introduce", "join", "propose", "contribute", "take"} <= verbs
    for place, ask in enumerate(whole):
        made = Together(name, lambda at, one, place=place: "request" if at == place else "")
        if ask.request.verb in ("endorse", "answer"):
            made.begin()
            assert len(set(made.heads())) == 1
            continue
        with pytest.raises(vs.RoundError) as caught:
            made.begin()
        assert str(ask.party) in str(caught.value)
        assert made.coordinator.played == -1


@pytest.mark.parametrize("what", ["request", "reply"])
@pytest.mark.parametrize("name", SETTINGS)
def test_any_request_of_a_round_may_be_lost_once(name: str, what: str) -> None:
    """Whoever does not reply is left out, or told again; the training goes on."""
    whole = Together(name).run().transport.asked
    first = next(place for place, ask in enumerate(whole) if ask.round == 1)
    last = next(place for place, ask in enumerate(whole) if ask.round == 2)
    tried = set()
    for place, which in list(names(whole))[first:last]:
        ask = whole[place]
        if ask.party.kind == "key holder":
            continue
        made = Together(name, lambda at, one, place=place: what if at == place else "").run()
        lost = made.transport.asked[place]
        assert (lost.party, lost.request.verb) == (ask.party, ask.request.verb), which
        states = {cloud.client: cloud.state for cloud in made.played[0].clouds}
        missed = {"train": "absent", "contribute": "lost"}.get(ask.request.verb)
        if ask.request.verb == "take" and ask.occasion == "contribute":
            missed = "lost"
        if missed is not None:
            assert states.pop(ask.party.number) == missed, which
        if (verb_and_purpose(ask)) in (("take", "shares.1"), ("contribute", "shares.2")):
            # Nobody could take in totals of fewer clouds than in the pass before.
            made.check(1)
            cloud = ask.party.number + 1
            assert made.played[0].skipped == (
                f"3 of 4 clouds are left (lost: cloud {cloud}); shares are agreed on by the same "
                "clouds to the end"
            )
            assert set(states.values()) == {"round skipped"}
        else:
            made.check()
            assert set(states.values()) == {"summed"}, which
        # It is there again in the next round.
        assert all(cloud.state == "summed" for cloud in made.played[1].clouds), which
        assert len(set(made.heads())) == 1, which
        tried.add(ask.request.verb)
    opened = {"endorse", "answer"} if name != "single" else set()
    assert tried == {"propose", "train", "contribute", "take"} | opened


@pytest.mark.parametrize("what", ["request", "reply"])
def test_a_key_holder_that_does_not_reply_opens_nothing(what: str) -> None:
    made = Together(
        "single", lambda at, one: what if one.request.verb == "open" and one.round else ""
    )
    made.begin()
    before = made.heads()
    with pytest.raises(vs.RoundError, match="key holder did not reply; nothing was opened"):
        drive(made.coordinator.round(1), made.transport)
    assert made.heads() == before
    assert made.coordinator.played == 0


@pytest.mark.parametrize("what", ["request", "reply"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_cloud_that_is_away_for_a_whole_round_is_back_in_the_next(name: str, what: str) -> None:
    for away in range(CLOUDS):
        made = Together(
            name,
            lambda at, one, away=away: (
                what if one.round == 1 and one.party == Party("cloud", away) else ""
            ),
        ).run()
        made.check()
        assert made.played[0].clouds[away].state == "absent"
        assert all(cloud.state == "summed" for cloud in made.played[1].clouds)
        assert len(set(made.heads())) == 1
        assert made.coordinator._told == []


@pytest.mark.parametrize("name", SETTINGS)
def test_word_of_a_skipped_round_that_is_lost_comes_again(name: str) -> None:
    """In round 1 too few are there; a cloud that loses word of that is told in round 2."""
    lost: list[Ask] = []

    def lose(at: int, ask: Ask) -> str:
        if ask.round == 1 and ask.request.verb == "train" and ask.party.number > 1:
            return "request"
        if isinstance(ask.request, Skip) and ask.party.number == 0 and not lost:
            lost.append(ask)
            return "reply"
        return ""

    made = Together(name, lose)
    made.begin()
    for number in (1, 2, 3):
        made.played.append(drive(made.coordinator.round(number), made.transport))
    assert "2 of 4 clouds are left" in made.played[0].skipped
    assert {cloud.state for cloud in made.played[0].clouds} == {"absent", "round skipped"}
    assert lost
    # Without word of the skip it is behind in round 2, hence absent; then it is told again.
    assert made.played[1].clouds[0].state == "absent"
    assert [cloud.state for cloud in made.played[2].clouds] == ["summed"] * CLOUDS
    assert len(set(made.heads())) == 1


def test_nobody_left_to_propose_skips_the_round() -> None:
    made = Together(
        "clouds", lambda at, one: "request" if one.round and one.request.verb == "propose" else ""
    ).begin()
    played = drive(made.coordinator.round(1), made.transport)
    assert "0 of 4 clouds are left" in played.skipped


@pytest.mark.parametrize("count", [1, 2])
def test_clouds_that_are_lost_while_shares_are_agreed_on_count_as_missing(count: int) -> None:
    """With two lost a round is skipped, before any update is encrypted."""
    made = Together(
        "agreed",
        lambda at, one: (
            "request"
            if one.round == 1 and one.request.verb == "contribute" and one.party.number < count
            else ""
        ),
    ).begin()
    played = drive(made.coordinator.round(1), made.transport)
    states = [cloud.state for cloud in played.clouds]
    assert states[:count] == ["lost"] * count
    if count == 1:
        assert not played.skipped
        assert [one.client for one in played.uploads] == [1, 2, 3]
    else:
        assert played.skipped == "2 of 4 clouds are left (lost: clouds 1, 2); a sum needs 3"
        assert played.uploads == []
        occasions = {ask.occasion for ask in made.transport.asked if ask.round == 1}
        assert "upload" not in occasions
    following = drive(made.coordinator.round(2), made.transport)
    assert [cloud.state for cloud in following.clouds] == ["summed"] * CLOUDS


@pytest.mark.parametrize("name", ["agreed", "single"])
def test_a_damaged_part_leaves_its_cloud_out(name: str) -> None:
    """Whatever it is a part of: shares, sensitivities or updates."""
    whole = Together(name).run().transport.asked
    places = [
        place
        for place, ask in enumerate(whole)
        if ask.round == 1 and ask.request.verb == "contribute" and ask.party.number == 2
    ]
    assert len(places) >= (3 if name == "agreed" else 1)
    for place in places:
        made = Together(name)
        real = made.transport._inner.deliver

        def deliver(asks: Sequence[Ask], real: Any = real, made: Any = made, place: int = place):
            (reply,) = real(asks)
            if len(made.transport.asked) - 1 != place:
                return [reply]
            return [Reply(reply.data[: len(reply.data) // 2])]

        made.transport._inner.deliver = deliver  # type: ignore[method-assign]
        made.run()
        others = "summed"
        if verb_and_purpose(whole[place]) == ("contribute", "shares.2"):
            assert "(damaged: cloud 3); shares are agreed on" in made.played[0].skipped
            others = "round skipped"
            made.check(1)
        else:
            made.check()
        states = [cloud.state for cloud in made.played[0].clouds]
        assert states == [others, others, "damaged", others]


def test_what_a_cloud_refuses_ends_the_training() -> None:
    """A refusal is no dropout: somebody deviates, or terms differ."""
    made = Together("clouds").begin()
    made.clients[1].ask(Skip(1))
    with pytest.raises(vs.RoundError):
        drive(made.coordinator.round(1), made.transport)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_coordinator_that_is_read_back_goes_on(name: str) -> None:
    """Between any two rounds; also when some cloud has sums still to take in."""
    lose: Lose = lambda at, one: (  # noqa: E731
        "request"
        if isinstance(one.request, Take) and one.round == 1 and one.party == Party("cloud", 3)
        and one.occasion == "distribute"
        else ""
    )  # fmt: skip
    made = Together(name, lose).begin()
    for number in range(1, ROUNDS + 1):
        made.played.append(drive(made.coordinator.round(number), made.transport))
        data = made.coordinator.to_bytes()
        assert (len(made.coordinator._told) > 0) == (number == 1)
        made.coordinator = Coordinator.from_bytes(made.terms, time.perf_counter, data)
        assert made.coordinator.to_bytes() == data
    made.check()
    assert len(set(made.heads())) == 1


def test_what_a_coordinator_kept_is_checked() -> None:
    made = Together("single").begin()
    data = made.coordinator.to_bytes()
    other = Terms(clouds=3, rounds=2)
    with pytest.raises(vs.WireFormatError, match="of another training"):
        Coordinator.from_bytes(other, time.perf_counter, data)
    for wrong in (
        b"", b"{}", b"[]", data[:-3], data.replace(b'"told": []', b'"told": ["00"]'),
        data.replace(b'"told": []', f'"told": ["{write_request(Introduce()).hex()}"]'.encode()),
        data.replace(b"[0, 0, 0, 0]", b"[0, 0, 0, 1]"),
        data.replace(b"[0, 0, 0, 0]", b"[0, 0, 0, -1]"),
        data.replace(b"[0, 0, 0, 0]", b"[0, 0, 0]"),
    ):  # fmt: skip
        assert wrong != data
        with pytest.raises(vs.WireFormatError):
            Coordinator.from_bytes(made.terms, time.perf_counter, wrong)
