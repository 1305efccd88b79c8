"""The history: what its digest covers, what follows what, and that all state is in it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import veilsum as vs
from veilsum.learning.task import Tensors
from veilsum.protocol.agreement import Agreement, stands_at
from veilsum.protocol.history import (
    MASK,
    SHARES,
    STATISTICS,
    UPDATES,
    Genesis,
    History,
    Place,
    Record,
    digest_state,
)
from veilsum.protocol.options import AggregationOptions, EncryptionOptions
from veilsum.protocol.ranges import AdaptiveRange, FixedRange, SeparateRanges, range_policy
from veilsum.protocol.secure_sum import SecureSum
from veilsum.protocol.server_step import server_optimiser
from veilsum.protocol.shares import SharePasses, Totals
from veilsum.protocol.terms import Terms
from veilsum.training.config import LOCAL_OPTIONS, TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.run import Federation

Make = Callable[..., TrainConfig]

GENESIS = Genesis(
    training=bytes(range(32)),
    configuration={"run": {"seed": 7}},
    roster=[b"a" * 32, b"b" * 32],
    plans=[b"plan", b"other plan"],
    authority=[b"key", b"other key"],
    threshold=1,
    min_clients=2,
    group=[],
    initial=bytes(32),
)
OTHERS: dict[str, list[Any]] = {
    "training": [bytes(32)],
    "configuration": [{"run": {"seed": 8}}, {"run": {"seed": 7, "name": ""}}, {}],
    "roster": [[b"b" * 32, b"a" * 32], [b"a" * 32], [b"a" * 32 + b"b" * 32]],
    "plans": [[b"other plan", b"plan"], [b"planother plan"]],
    "authority": [[b"key", b"other kex"], [b"key", b"other key", b"third"]],
    "threshold": [2],
    "min_clients": [3],
    "group": [[b""], [b"commitment"]],
    "initial": [b"\1" + bytes(31)],
}


def test_the_first_head_depends_on_each_thing_that_is_fixed() -> None:
    assert OTHERS.keys() == {item.name for item in fields(Genesis)}
    heads = {GENESIS.digest}
    made = 1
    for name, values in OTHERS.items():
        for value in values:
            heads.add(replace(GENESIS, **{name: value}).digest)
            made += 1
    assert len(heads) == made
    assert replace(GENESIS).digest == GENESIS.digest


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_training_s_id_is_32_bytes(length: int) -> None:
    with pytest.raises(vs.ParameterError, match=f"id has {length} bytes"):
        replace(GENESIS, training=bytes(length))


def test_a_head_depends_on_each_part_of_a_record_and_on_the_one_before() -> None:
    record = Record(1, UPDATES, b"r" * 32, b"m" * 32, b"o" * 32, b"s" * 32)
    other: dict[str, Any] = {
        "step": 2, "purpose": MASK, "round_id": b"R" * 32, "manifest": b"skipped",
        "opened": b"O" * 32, "state": b"S" * 32,
    }  # fmt: skip
    assert other.keys() == {item.name for item in fields(Record)}
    heads = {record.after(bytes(32)), record.after(b"\1" * 32)}
    heads |= {replace(record, **{name: value}).after(bytes(32)) for name, value in other.items()}
    assert len(heads) == 2 + len(other)


def link(history: History, purpose: str, opened: bytes = b"o") -> Place:
    place = history.place(purpose)
    history.append(place, b"r", b"m", opened, b"s")
    return place


def test_steps_follow_each_other() -> None:
    history = History(GENESIS)
    for early in (UPDATES, SHARES, MASK):
        with pytest.raises(vs.RoundError, match="statistics come first"):
            history.place(early)
    with pytest.raises(vs.RoundError, match="cannot be skipped"):
        history.skip(b"s")
    with pytest.raises(vs.RoundError, match="statistics are lost is over"):
        history.lose(b"r", b"m", b"v", b"s")
    link(history, STATISTICS)
    with pytest.raises(vs.RoundError, match="statistics come first, and once"):
        history.place(STATISTICS)
    assert history.step == 1
    assert history.base == history.head
    base = history.head
    assert link(history, SHARES).purpose == "shares.1"
    assert link(history, SHARES).purpose == "shares.2"
    link(history, MASK)
    assert (history.step, history.passes, history.base) == (1, 2, base)
    assert history.had(MASK)
    with pytest.raises(vs.RoundError, match="sum 'mask' of round 1 was taken in before"):
        history.place(MASK)
    link(history, UPDATES)
    assert (history.step, history.passes, history.had(MASK)) == (2, 0, False)
    assert history.base == history.head != base
    history.skip(b"s")
    assert history.step == 3
    link(history, SHARES)
    history.lose(b"r", b"m", b"v", b"s")  # any sum of the step
    assert (history.step, history.passes, history.base) == (4, 0, history.head)


def test_a_sum_of_another_place_is_refused() -> None:
    history = History(GENESIS)
    place = link(history, STATISTICS)
    with pytest.raises(vs.RoundError):
        history.append(place, b"r", b"m", b"o", b"s")
    pass_one = history.place(SHARES)
    for wrong in (
        replace(pass_one, head=bytes(32)),
        replace(pass_one, step=2),
        replace(pass_one, purpose="shares.2"),
    ):
        with pytest.raises(vs.RoundError, match="another history"):
            history.append(wrong, b"r", b"m", b"o", b"s")
    before = history.place(UPDATES)
    link(history, SHARES)
    with pytest.raises(vs.RoundError, match="another history"):
        history.append(before, b"r", b"m", b"o", b"s")


events = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([SHARES, MASK, UPDATES]), st.sampled_from([b"A", b"B"])),
        st.just(("skip", b"")),
        st.tuples(st.just("lose"), st.sampled_from([b"A", b"B"])),  # verdicts
    ),
    max_size=8,
)


@settings(deadline=None)
@given(events, events)
def test_equal_heads_mean_equal_histories(one: list[Any], two: list[Any]) -> None:
    def run(happened: list[Any]) -> tuple[bytes, list[Any]]:
        history = History(GENESIS)
        link(history, STATISTICS)
        taken = []
        for purpose, opened in happened:
            if purpose == "skip":
                history.skip(b"s")
            elif purpose == "lose":
                history.lose(b"r", b"m", opened, b"s")
            elif history.had(purpose):
                continue
            else:
                link(history, purpose, opened)
            taken.append((purpose, opened))
        return history.head, taken

    (first, had), (second, others) = run(one), run(two)
    assert (first == second) == (had == others)


def test_a_round_names_all_of_its_place() -> None:
    plan = vs.Plan(clients=2)
    signers = [vs.Identity.generate().public.to_bytes() for _ in range(2)]
    training = bytes(range(32))
    key = vs.keygen(plan)[1].to_bytes()
    pair = plan.to_bytes(), key
    agreement = Agreement(pair, pair, signers, 2, training)
    place = Place(3, "shares.2", b"\xab" * 32)
    like, limits = {"weight": np.zeros(1)}, {"weight": 1.0}
    what = SecureSum("shares", like, limits)
    rnd = agreement.propose(what, place)
    assert rnd.step == vs.TrainingStep(training, 3, "shares.2", b"\xab" * 32)
    data = rnd.to_bytes()
    assert stands_at(agreement.read(what, data, place), place)
    others = (
        replace(place, step=4),
        replace(place, purpose="shares.1"),
        replace(place, head=b"\xab" * 31 + b"\xac"),
    )
    for other in others:
        assert not stands_at(rnd, other)
        with pytest.raises(vs.RoundError, match="another history than was agreed"):
            agreement.read(what, data, other)
    # The same place of another training, and a round that stands in none, are no rounds of it.
    elsewhere = Agreement(pair, pair, signers, 2, bytes(32))
    stray = vs.Round(
        plan,
        vs.PublicKey.from_bytes(key),
        like=like,
        limit=limits,
        roster=[vs.PublicIdentity.from_bytes(one) for one in signers],
    )
    assert not stands_at(stray, place)
    for foreign in (elsewhere.propose(what, place), stray):
        with pytest.raises(vs.RoundError, match="another history than was agreed"):
            agreement.read(what, foreign.to_bytes(), place)


def arrays() -> dict[str, np.ndarray]:
    return {"b": np.arange(6.0).reshape(2, 3), "a": np.array([True, False]), "c": np.float64(1.5)}


def test_a_state_s_digest_covers_names_types_shapes_and_bits() -> None:
    state = arrays()
    others: list[dict[str, Any]] = [
        state | {"b": state["b"].astype(np.float32)},
        state | {"b": state["b"].reshape(3, 2)},
        state | {"b": np.nextafter(state["b"], 9)},
        state | {"a": np.array([1, 0], dtype=np.uint8)},
        state | {"c": np.array([1.5])},
        state | {"c": np.float64(-1.5)},
        state | {"d": np.zeros(0)},
        {name + "x": array for name, array in state.items()},
        {"a": state["a"], "c": state["c"]},
        {},
    ]
    digests = {digest_state(one) for one in [state, *others]}
    assert len(digests) == 1 + len(others)
    assert digest_state({"z": np.array([0.0])}) != digest_state({"z": np.array([-0.0])})


def test_a_state_s_digest_knows_no_order_stride_or_byte_order() -> None:
    state = arrays()
    same = dict(reversed(state.items()))
    same["b"] = np.asfortranarray(state["b"].astype(">f8"))
    assert digest_state(same) == digest_state(state)
    strided = np.repeat(state["b"], 2, axis=1)[:, ::2]
    assert digest_state(state | {"b": strided}) == digest_state(state)


NAMES = {"w": np.zeros(3)}
MEAN = {"w": np.array([0.25, -0.5, 0.125])}


def _ranges() -> Iterator[tuple[Any, Callable[[Any], None]]]:
    yield AdaptiveRange(NAMES, 1.0, 8.0, 0.0), lambda it: it.observe(MEAN, 1, 3)
    yield AdaptiveRange(NAMES, 1.0, 8.0, 0.0), lambda it: it.observe(MEAN, 0, 3)
    yield FixedRange(NAMES, 1.0), lambda it: it.observe(MEAN, 1, 3)
    two = {"w": np.zeros(3), "count": np.zeros(1)}
    separate = range_policy(EncryptionOptions(), two, Tensors(first_limits={"count": 4096.0}))
    assert isinstance(separate, SeparateRanges)
    yield separate, lambda it: it.observe(MEAN | {"count": np.array([20.0])}, 1, 4)


def _optimisers() -> Iterator[tuple[Any, Callable[[Any], None]]]:
    for kind in ("fedavg", "fedavgm", "fedadam", "fedyogi"):
        made = server_optimiser(AggregationOptions(server_optimiser=kind))
        yield made, lambda it: it.step({"w": np.zeros(3, np.float32)}, MEAN)
        figures = server_optimiser(
            AggregationOptions(server_optimiser=kind), frozenset({"running_mean"})
        )
        both = {"w": np.zeros(3, np.float32), "running_mean": np.zeros(3, np.float32)}
        means = {**MEAN, "running_mean": MEAN["w"]}
        yield figures, lambda it, both=both, means=means: it.step(both, means)


def _passes() -> Iterator[tuple[Any, Callable[[Any], None]]]:
    yield SharePasses(0.5), lambda it: it.observe(Totals(3.0, 0, 4))
    yield SharePasses(1.0), lambda it: it.observe(Totals(3.0, 0, 4))


def seen(value: Any) -> str:
    """What an attribute holds; a part that is itself made of state is what that state is."""
    if isinstance(value, tuple):
        return "".join(map(seen, value))
    return (
        repr({name: seen(one) for name, one in vars(value).items()})
        if hasattr(value, "state")
        else repr(value)
    )


@pytest.mark.parametrize(
    ("thing", "observe"), [*_ranges(), *_optimisers(), *_passes()], ids=lambda it: type(it).__name__
)
def test_whatever_a_sum_changes_in_a_part_is_in_its_state(
    thing: Any, observe: Callable[[Any], None]
) -> None:
    """Each attribute that observing changed is put back alone: the digest must see it."""
    before = copy.deepcopy(thing)
    observe(thing)
    after = digest_state(thing.state)
    changed = [
        name for name, value in vars(thing).items() if seen(value) != seen(getattr(before, name))
    ]
    for name in changed:
        partly = copy.deepcopy(thing)
        setattr(partly, name, getattr(before, name))
        assert digest_state(partly.state) != after, name
    assert bool(changed) == (digest_state(before.state) != after)


def test_what_steers_a_replica_is_in_its_state(make_config: Make, federation: Federation) -> None:
    config = make_config(
        "aggregation.weights=dynamic", "aggregation.server_optimiser=fedavgm", "hybrid.fraction=0.5"
    )
    method = EncryptedAveraging(config, federation.clouds)
    replica = method.clients[0].state
    digests = [digest_state(replica.state)]
    parts = [dict(replica.state)]
    for number in (1, 2):
        method.run_round(number)
        digests.append(digest_state(replica.state))
        parts.append(dict(replica.state))
    assert len(set(digests)) == 3
    assert {name.partition(".")[0] for name in parts[0]} == {
        "pooled", "model", "ranges", "shares", "masks",
    }  # fmt: skip
    assert parts[0]["model"].tobytes() != parts[1]["model"].tobytes()
    assert parts[0]["masks.mask"].tobytes() != parts[1]["masks.mask"].tobytes()
    assert parts[0]["pooled"].tobytes() == parts[2]["pooled"].tobytes()
    # The model's digest is kept, not computed each time: it must be that of what is there.
    assert replica._model_digest() == replica._model
    # Every participant comes to the same head by itself.
    for client in method.clients:
        assert client.state.history.head == replica.history.head
        assert digest_state(client.state.state) == digests[-1]


def test_runs_of_the_same_configuration_have_histories_of_their_own(
    config: TrainConfig, federation: Federation
) -> None:
    one, two = (EncryptedAveraging(config, federation.clouds) for _ in range(2))
    heads = [made.clients[0].state.history.head for made in (one, two)]
    assert heads[0] != heads[1]


def test_only_options_that_steer_nobody_may_differ_between_clouds(make_config: Make) -> None:
    base = make_config()
    for section, options in LOCAL_OPTIONS.items():
        assert set(options) <= base.to_mapping()[section].keys()
        assert not set(options) & base.agreed()[section].keys()
    local = make_config("run.threads=3", "encryption.pads_ahead=false")
    assert local.agreed() == base.agreed()
    assert local.terms.agreed() == base.terms.agreed()
    for changed in (
        "run.seed=8",
        "training.epochs=3",
        "aggregation.refuse_above=0.9",
        "hybrid.fraction=0.5",
        "data.leave_out=['mgus']",
    ):
        assert make_config(changed).agreed() != base.agreed(), changed
        # What the parties put into their histories is the terms.
        assert make_config(changed).terms.agreed() != base.terms.agreed(), changed


def test_a_cloud_with_another_configuration_encrypts_nothing(
    make_config: Make, federation: Federation
) -> None:
    from veilsum.parties.client import Client

    other = make_config("training.epochs=3")

    def make(index: int, task: Any, terms: Terms, threads: int | None) -> Client:
        return Client(index, task, other.terms if index == 1 else terms, threads=threads)

    with pytest.raises(vs.RoundError, match="another history than was agreed"):
        EncryptedAveraging(make_config(), federation.clouds, make)


def rows_of(federation: Federation, *counts: int) -> list[Any]:
    return [
        study.subset(np.arange(count))
        for study, count in zip(federation.clouds, counts, strict=False)
    ]


@pytest.mark.parametrize("weights", ["samples", "dynamic"])
def test_a_cloud_refuses_to_be_nearly_all_of_a_sum(
    make_config: Make, federation: Federation, weights: str
) -> None:
    clouds = rows_of(federation, 600, 60)
    two = ("data.clouds=2", f"aggregation.weights={weights}", "aggregation.min_clients=2")
    with pytest.raises(vs.RoundError, match=r"count more than 0\.8 of the opened total"):
        EncryptedAveraging(make_config(*two), clouds).run_round(1)
    for more in ("aggregation.refuse_above=1", "aggregation.max_share=0.7"):
        assert not EncryptedAveraging(make_config(*two, more), clouds).run_round(1).skipped
    # Both edges, by rows: 8 of 10 are what it takes, and one more is too many.
    at = make_config("data.clouds=2", "aggregation.weights=samples", "aggregation.min_clients=2")
    assert not EncryptedAveraging(at, rows_of(federation, 400, 100)).run_round(1).skipped
    with pytest.raises(vs.RoundError, match="nothing was encrypted"):
        EncryptedAveraging(at, rows_of(federation, 401, 100)).run_round(1)
