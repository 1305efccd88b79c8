"""What clouds encrypt together was steered by the same: runs played again, reordered and altered.

Rule 8 (DESIGN, section 3) as a property of bytes: whatever a cloud is told, in whatever order and
however often, what it encrypts for a round of the honest run is what it encrypted there. A cloud
that was told something else has another history, and no round is common to both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import veilsum as vs
from altering import altered, renamed
from replay import Player, Transcript, record
from veilsum.parties.messages import Contribute, Request, Take, Train
from veilsum.protocol.history import MASK, SHARES, STATISTICS, UPDATES
from veilsum.training.config import TrainConfig
from veilsum.training.run import Federation, spread
from veilsum.transport.conditions import Reliable

Make = Callable[..., TrainConfig]

TINY = (
    "data.clouds=3",
    "data.imbalance=0.3",
    "model.hidden=[2]",
    "training.rounds=3",
    "encryption.pads_ahead=false",
    "encryption.authority=single",
    "aggregation.min_clients=2",
)
EVERYTHING = (
    "aggregation.weights=dynamic",
    "aggregation.max_share=0.5",
    "aggregation.server_optimiser=fedavgm",
    "hybrid.fraction=0.4",
    "hybrid.renew_every=2",
)


class Away(Reliable):
    """Cloud 0 misses the sum of round 1; in round 2 too few are left."""

    def trains(self, client: int, number: int) -> bool:
        return not (number == 2 and client > 0)

    def receives(self, client: int, number: int) -> bool:
        return not (number == 1 and client == 0)


# With one key holder sums have no tag, so that histories alone tell clouds apart.
RUNS = {
    "plain": ((), None),
    "everything": (EVERYTHING, None),
    "skipped": (EVERYTHING, Away()),
    "sampled": (("training.participation=0.6", "aggregation.weights=dynamic"), None),
    "clouds": ((*EVERYTHING, "encryption.authority=clouds"), None),
}


def small(federation: Federation) -> Federation:
    """As many rows as the messages of a run need."""
    some = [study.subset(np.arange(0, len(study), 12)) for study in federation.clouds]
    return replace(federation, clouds=tuple(some))


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Transcript]]:
    made = {}
    for name, (options, conditions) in RUNS.items():
        config = _config(str(tmp_path_factory.mktemp("runs")), *options)
        made[name] = record(config, small(spread(config)), 0, conditions)
    yield made


def _config(folder: str, *options: str) -> TrainConfig:
    from veilsum.training.config import with_overrides

    base = [f'run.directory="{folder}"', "run.device=cpu", "run.threads=1", "run.live=off",
            "training.epochs=1", "training.batch_size=256"]  # fmt: skip
    return TrainConfig.from_mapping(with_overrides({}, [*base, *TINY, *options]))


@pytest.fixture(params=RUNS)
def transcript(request: pytest.FixtureRequest, transcripts: dict[str, Transcript]) -> Transcript:
    return transcripts[request.param]


def clashes(
    transcript: Transcript, honest: dict[bytes, str], messages: Sequence[Request]
) -> list[int]:
    """Rounds of the honest run for which the cloud encrypts something else."""
    made = Player(transcript).play(messages)
    order = list(honest)
    return [order.index(rnd) for rnd in honest if made.get(rnd, honest[rnd]) != honest[rnd]]


@pytest.fixture
def honest(transcript: Transcript) -> dict[bytes, str]:
    return Player(transcript).play(transcript.messages)


def test_played_again_a_run_encrypts_the_same(
    transcript: Transcript, honest: dict[bytes, str]
) -> None:
    player = Player(transcript)
    assert player.play(transcript.messages) == honest
    assert player.refused == []
    assert len(honest) > 2
    for name, array in transcript.method.parameters.items():
        if isinstance(transcript.messages[-1], Take):
            np.testing.assert_array_equal(player.client.state.parameters[name], array)


def single_edits(transcript: Transcript) -> Iterator[tuple[str, list[Request]]]:
    """Withhold, alter, repeat, replace and move each message of a run."""
    told = list(transcript.messages)
    for at, one in enumerate(told):
        where = f"{one.verb} {at}"
        rest = told[:at] + told[at + 1 :]
        yield f"{where} withheld", rest
        for to in range(len(told)):
            if to != at:
                yield f"{where} moved to {to}", [*rest[:to], one, *rest[to:]]
            if to > at:
                yield f"{where} repeated at {to}", [*told[:to], one, *told[to:]]
        if not isinstance(one, Take):
            continue
        other = transcript.alter(one)
        yield f"{where} altered", [*told[:at], other, *told[at + 1 :]]
        yield f"{where} altered, then right", [*told[:at], other, *told[at:]]
        yield f"{where} right, then altered", [*told[: at + 1], other, *told[at + 1 :]]
        for to in range(at + 1, len(told)):
            yield f"{where} altered, moved to {to}", [*rest[:to], other, *rest[to:]]


MOST_EDITS = 700
"""More replays than these take a run over committees ten minutes: `long` makes all of them."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.long)])
def test_no_single_change_of_what_a_cloud_is_told_changes_what_it_adds_to_a_common_sum(
    transcript: Transcript, honest: dict[bytes, str], whole: bool
) -> None:
    edits = list(single_edits(transcript))
    # Neighbouring edits are of one message: each message is met in some of its places.
    stride = 1 if whole else 1 + 2 * (len(edits) // (2 * MOST_EDITS))
    found = {
        edit: wrong
        for edit, messages in edits[::stride]
        if (wrong := clashes(transcript, honest, messages))
    }
    assert found == {}


def test_messages_that_come_twice_do_no_harm(
    transcript: Transcript, honest: dict[bytes, str]
) -> None:
    told = transcript.messages
    twice = [one for message in told for one in (message, message)]
    assert Player(transcript).play(twice) == honest
    for back in (2, 3, len(told)):
        late = [one for at in range(len(told)) for one in (told[at], told[max(at - back, 0)])]
        assert Player(transcript).play(late) == honest


@pytest.mark.slow
@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_changes_of_what_a_cloud_is_told_change_what_it_adds_to_a_common_sum(
    transcript: Transcript, honest: dict[bytes, str], data: st.DataObject
) -> None:
    """Several edits at once, which single ones cannot stand for."""
    told = list(transcript.messages)
    for _ in range(data.draw(st.integers(2, 5), "edits")):
        # Early messages steer most; the first is what makes a cloud a party at all.
        at = data.draw(st.integers(1, len(told) - 1), "at")
        one = told[at]
        edit = data.draw(st.sampled_from(["move", "drop", "repeat", "alter"]), "edit")
        if edit in ("move", "drop"):
            del told[at]
        if edit == "alter" and isinstance(one, Take):
            told[at] = transcript.alter(one)
        if edit in ("move", "repeat"):
            told.insert(data.draw(st.integers(1, len(told)), "to"), one)
    assert clashes(transcript, honest, told) == []


# The three attacks that led here, by name; each of them worked on version 0.1.


def _told(transcript: Transcript, kind: type[Request], purpose: str = "", count: int = 0) -> int:
    """Place of a message of a kind, of a sum for a purpose."""
    return [
        at
        for at, one in enumerate(transcript.messages)
        if isinstance(one, kind) and (not purpose or transcript.purpose(one) == purpose)
    ][count]


def _common(*made: dict[bytes, str]) -> set[bytes]:
    return set.intersection(*(set(one) for one in made))


def test_an_altered_total_of_rows_leaves_no_common_round(
    transcripts: dict[str, Transcript],
) -> None:
    """Told of many more rows, a cloud counts for nothing beside one that was told the truth."""
    transcript = transcripts["plain"]
    told = list(transcript.messages)
    at = _told(transcript, Take, STATISTICS)
    taken = told[at]
    assert isinstance(taken, Take)
    told[at] = transcript.alter(taken)
    player = Player(transcript)
    made = player.play(told)
    # It takes the statistics: nothing tells it that they are not everybody's.
    assert told[at] not in [message for message, _ in player.refused]
    rule = player.client.state.rule
    assert rule.total_rows > 100 * transcript.method.moments.rows  # type: ignore[attr-defined]
    victim = Player(transcript).play(transcript.messages)
    # The statistics themselves are encrypted before anything is opened.
    statistics_round = next(iter(victim))
    assert _common(made, victim) == {statistics_round}


@pytest.mark.parametrize("altered_first", [False, True])
def test_a_pass_is_taken_in_once_and_first_or_last_makes_a_difference(
    transcripts: dict[str, Transcript], altered_first: bool
) -> None:
    """Two sums of one pass, taken in in either order, were the same history."""
    transcript = transcripts["everything"]
    told = list(transcript.messages)
    at = _told(transcript, Take, SHARES)
    honest = told[at]
    assert isinstance(honest, Take)
    other = transcript.alter(honest)
    first, second = (other, honest) if altered_first else (honest, other)
    made = []
    for both in ([first, second], [second, first]):
        player = Player(transcript)
        made.append(player.play([*told[:at], *both, *told[at + 1 :]]))
        assert both[1] in [message for message, _ in player.refused]
    # What stood before the pass was opened is common; of what comes after, nothing.
    one, two = made
    before = sorted(list(one).index(rnd) for rnd in _common(one, two))
    assert before == list(range(len(before))) == [0, 1]


def test_an_update_is_of_no_use_under_a_history_that_it_was_not_trained_under(
    transcripts: dict[str, Transcript],
) -> None:
    """Told to train before the sum of the round before, a cloud would start from another model."""
    transcript = transcripts["plain"]
    told = list(transcript.messages)
    train, taken = _told(transcript, Train, count=1), _told(transcript, Take, UPDATES)
    assert taken < train
    early = [*told[:taken], told[train], *told[taken:train], *told[train + 1 :]]
    player = Player(transcript)
    made = player.play(early)
    assert told[train] in [message for message, _ in player.refused]
    # It has no part in round 2, follows it, and is there again in round 3.
    honest = list(Player(transcript).play(transcript.messages))
    assert [honest.index(rnd) for rnd in made] == [0, 1, 3]
    # Nor does a result that is there already outlive the sum: it names the model that it is of.
    player = Player(transcript)
    upload = _told(transcript, Contribute, UPDATES)
    player.play(told[:upload])
    player.play([told[taken]])
    assert not player.tell(told[_told(transcript, Contribute, UPDATES, 1)])
    assert isinstance(player.refused[-1][1], vs.RoundError)
    assert "has not trained since its last upload" in str(player.refused[-1][1])


def test_an_altered_sum_decrypts_as_if_nothing_had_happened(
    transcripts: dict[str, Transcript],
) -> None:
    """What the other tests alter is not refused by itself: only histories tell clouds apart."""
    for transcript in transcripts.values():
        player = Player(transcript)
        for message in transcript.messages:
            if not isinstance(message, Take):
                player.tell(message)
                continue
            fresh = Player(transcript)
            before = list(transcript.messages[: transcript.messages.index(message)])
            fresh.play(before)
            changed = transcript.alter(message)
            assert changed != message
            if transcript.config.encryption.authority == "clouds":
                # The tag finds it; the right sum is still taken in afterwards.
                assert not fresh.tell(changed)
                assert isinstance(fresh.refused[-1][1], vs.TamperedSumError)
                assert fresh.tell(message), fresh.refused
                assert player.tell(message)
                continue
            assert fresh.tell(changed), (message.verb, fresh.refused)
            assert player.tell(message)
            one, two = fresh.client.state, player.client.state
            assert one.history.head != two.history.head


def test_a_round_for_another_step_or_purpose_is_refused(
    transcripts: dict[str, Transcript],
) -> None:
    """A cloud is asked for each sum with the description of each other one."""
    transcript = transcripts["everything"]
    kinds = (SHARES, MASK, UPDATES)
    asked = [
        one
        for one in transcript.messages
        if isinstance(one, Contribute) and transcript.purpose(one) in kinds
    ]
    for at, message in enumerate(transcript.messages):
        if message not in asked:
            continue
        for other in asked:
            if other == message:
                continue
            player = Player(transcript)
            player.play(transcript.messages[:at])
            assert not player.tell(other)
            assert player.tell(message), player.refused


def test_altering_adds_what_it_says(transcripts: dict[str, Transcript]) -> None:
    transcript = transcripts["plain"]
    message = transcript.messages[_told(transcript, Take, STATISTICS)]
    assert isinstance(message, Take)
    aggregate, sum_key = message.aggregate, message.opening
    rnd = vs.Round.from_bytes(message.description)

    def rows(data: bytes) -> float:
        key = vs.SumKey.from_bytes(renamed(sum_key, data), rnd)
        return float(vs.decrypt(key, vs.Aggregate.from_bytes(data, rnd), average=False)["rows"][0])

    step = (rows(altered(aggregate, rnd, 1000)) - rows(aggregate)) / 1000
    assert step > 0
    assert rows(altered(aggregate, rnd, -5)) == pytest.approx(rows(aggregate) - 5 * step)
