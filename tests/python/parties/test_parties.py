"""The parties: what each holds, what each refuses, and that only bytes pass between them."""

from __future__ import annotations

import gc
import inspect
import math
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import veilsum as vs
from altering import altered, renamed
from steps import contribute, described, join, skip, take, train
from veilsum.data import Study
from veilsum.learning.local_training import LocalTrainer
from veilsum.learning.tabular import TabularTask
from veilsum.parties.aggregator import Aggregator, byte_entropy
from veilsum.parties.client import Client
from veilsum.parties.key_holder import KeyHolder
from veilsum.parties.member import IndependentMember
from veilsum.parties.messages import MakeGroup, Proposal, Propose
from veilsum.protocol import statistics
from veilsum.protocol.agreement import Agreement
from veilsum.protocol.authority import write_committee
from veilsum.protocol.history import UPDATES
from veilsum.protocol.opened import read_sum
from veilsum.protocol.participation import participants
from veilsum.protocol.public_state import PublicState
from veilsum.training.config import TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.run import Federation

SECRETS = (
    vs.SecretKey,
    vs.SumKey,
    vs.Identity,
    vs.Group,
    vs.Member,
    Client,
    KeyHolder,
    IndependentMember,
    PublicState,
    LocalTrainer,
    Study,
    torch.Tensor,
    torch.nn.Module,
    np.ndarray,
)


def reachable(root: object) -> Iterator[object]:
    """Everything that an object holds: attributes, containers, closures, defaults, owners.

    Modules, classes and the globals of functions are what every party's code shares; they are not
    followed.
    """
    seen: set[int] = set()
    stack: list[object] = [root]
    while stack:
        thing = stack.pop()
        if id(thing) in seen or isinstance(thing, (types.ModuleType, type)):
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, types.FunctionType):
            stack += [cell.cell_contents for cell in thing.__closure__ or ()]
            stack += [thing.__defaults__, thing.__kwdefaults__, thing.__dict__]
        else:
            stack += gc.get_referents(thing)


def secrets_in(root: object) -> set[str]:
    return {type(thing).__name__ for thing in reachable(root) if isinstance(thing, SECRETS)}


@pytest.fixture
def method(config: TrainConfig, federation: Federation) -> EncryptedAveraging:
    """The clouds open together."""
    return EncryptedAveraging(config, federation.clouds)


@pytest.fixture
def single(make_config: Callable[..., TrainConfig], federation: Federation) -> EncryptedAveraging:
    """One key holder opens."""
    return EncryptedAveraging(make_config("encryption.authority=single"), federation.clouds)


@pytest.fixture(params=["single", "clouds", "committee"])
def any_method(
    request: pytest.FixtureRequest,
    make_config: Callable[..., TrainConfig],
    federation: Federation,
) -> EncryptedAveraging:
    """Whoever opens."""
    config = make_config(f"encryption.authority={request.param}")
    return EncryptedAveraging(config, federation.clouds)


def uploads(method: EncryptedAveraging, description: bytes, number: int = 1) -> list[bytes]:
    made = []
    for client in method.clients:
        train(client, number)
        made.append(contribute(client, description))
    return made


def test_the_aggregator_holds_no_key_no_update_and_no_model(any_method: EncryptedAveraging) -> None:
    method = any_method
    assert secrets_in(method.aggregator) == set()
    description = described(method)
    method.aggregator.open_round(description)
    for upload in uploads(method, description):
        method.aggregator.receive(upload)
        assert secrets_in(method.aggregator) == set()
    method.aggregator.close_round()
    assert secrets_in(method.aggregator) == set()
    for one in method.clients:
        skip(one, 1)
    method.run_round(2)
    assert secrets_in(method.aggregator) == set()
    # Nor does whoever stands with it and asks everybody.
    assert secrets_in(method.coordinator) == set()


def test_a_round_is_read_once_for_one_public_state(method: EncryptedAveraging) -> None:
    state = method.clients[0].state
    first, second = described(method), described(method)
    rnd = state.read(first)
    assert state.read(bytes(bytearray(first))) is rnd
    assert state.read(second).id != rnd.id
    # What one cloud proposes every cloud reads back.
    assert method.clients[1].state.read(second).to_bytes() == second
    method.run_round(1)
    for stale in (first, second):
        with pytest.raises(vs.RoundError, match="ranges"):
            state.read(stale)


def test_the_walk_finds_what_is_there(
    method: EncryptedAveraging, single: EncryptedAveraging
) -> None:
    # The other way round: the same walk does find the secrets of those who have some.
    assert "SecretKey" in secrets_in(single.key_holder)
    assert "SecretKey" not in secrets_in(method.key_holder)
    assert {
        "Identity", "Group", "Member", "LocalTrainer", "PublicState", "Tensor", "Study",
    } <= secrets_in(method.clients[0])  # fmt: skip
    assert "Group" not in secrets_in(single.clients[0])
    assert "Identity" in secrets_in(IndependentMember())

    class Leaky(Aggregator):
        def __init__(self, client: Client) -> None:
            super().__init__()
            self.callback = lambda: client

    assert "Identity" in secrets_in(Leaky(method.clients[0]))


def test_the_authority_holds_no_update_and_no_model(single: EncryptedAveraging) -> None:
    single.run_round(1)
    assert secrets_in(single.key_holder) - {"KeyHolder"} == {"SecretKey"}


def test_members_of_their_own_hold_no_update_no_model_and_no_group(
    make_config: Callable[..., TrainConfig], federation: Federation
) -> None:
    config = make_config("encryption.authority=committee", "encryption.members=3")
    method = EncryptedAveraging(config, federation.clouds)
    method.run_round(1)
    assert len(method.members) == 3
    for member in method.members:
        assert secrets_in(member) - {"IndependentMember"} == {"Identity", "Member"}


def test_clouds_share_nothing_but_public_things(method: EncryptedAveraging) -> None:
    method.run_round(1)
    own = [
        {id(thing) for thing in reachable(client) if isinstance(thing, SECRETS)}
        for client in method.clients
    ]
    assert not own[0] & own[1]


@pytest.mark.parametrize("party", [Aggregator, KeyHolder, IndependentMember, Client])
def test_parties_take_and_give_bytes(party: type) -> None:
    for name, member in inspect.getmembers(party, inspect.isfunction):
        # `ask` is `handle` after reading; what a cloud's owner does is not a message.
        if name.startswith("_") or name == "ask":
            continue
        signature = inspect.signature(member)
        kinds = {p.annotation for n, p in signature.parameters.items() if n != "self"}
        # A large upload's bytes lie in a file; a transport may know who sent them.
        allowed = {"bytes", "int", "Sequence[bytes]", "bytes | Path", "int | None"}
        assert kinds <= allowed, name
        assert signature.return_annotation in {"bytes", "list[bytes]", "None", "Round"}, name


def test_all_clouds_end_with_the_same_model(method: EncryptedAveraging) -> None:
    method.run_round(1)
    method.run_round(2)
    for client in method.clients:
        for name, array in method.parameters.items():
            np.testing.assert_array_equal(client.state.parameters[name], array)


def test_an_update_is_encrypted_once(method: EncryptedAveraging) -> None:
    description = described(method)
    client = method.clients[0]
    train(client, 1)
    contribute(client, description)
    with pytest.raises(vs.RoundError, match="has not trained since its last upload"):
        contribute(client, description)


def test_a_round_is_trained_once_and_the_statistics_are_encrypted_once(
    method: EncryptedAveraging,
) -> None:
    # Twice the same update, or the same statistics, in sums of different clouds would give away one
    # cloud's own by their difference, wherever min_clients leaves room for that.
    client = method.clients[0]
    train(client, 1)
    contribute(client, described(method))
    with pytest.raises(vs.RoundError, match="train for round 1 after round 1"):
        train(client, 1)
    # A round begins where the last one ended for this cloud: with its sum, or word of a skip.
    with pytest.raises(vs.RoundError, match="the history has come to round 1"):
        train(client, 2)
    with pytest.raises(vs.RoundError, match="told that round 2 is skipped, but"):
        skip(client, 2)
    skip(client, 1)
    with pytest.raises(vs.RoundError, match="train for round 1 after round 1"):
        train(client, 1)
    with pytest.raises(vs.RoundError, match="the history has come to round 2"):
        train(client, 3)
    train(client, 2)
    # A cloud that has contributed its statistics has no step that would do it again.
    counted = _counted(method)
    with pytest.raises(vs.RoundError, match=r"waits for their sum cannot contribute"):
        contribute(counted, b"")


def _counted(method: EncryptedAveraging) -> Client:
    """A cloud that has joined a training of its own and contributed its statistics."""
    clouds = [Client(i, one._own.task, one._own.terms) for i, one in enumerate(method.clients)]
    roster = [one.public_identity for one in clouds]
    committee = write_committee(
        vs.Committee([vs.PublicIdentity.from_bytes(one) for one in roster], 3)
    )
    exact = vs.Plan(4, value_bits=statistics.VALUE_BITS).to_bytes()
    group = clouds[0].ask(MakeGroup(bytes(32), tuple(roster)))
    plans = (exact, committee), (vs.Plan(4).to_bytes(), committee)
    for one in clouds:
        join(one, bytes(32), *plans, roster, group)
    proposal = Proposal.from_bytes(clouds[0].ask(Propose(0, 0)))
    contribute(clouds[0], proposal.description)
    return clouds[0]


def test_a_cloud_trains_only_where_it_was_drawn(
    make_config: Callable[..., TrainConfig], federation: Federation
) -> None:
    config = make_config("training.participation=0.5")
    method = EncryptedAveraging(config, federation.clouds)
    drawn = participants(config.terms, 1)
    for index, client in enumerate(method.clients):
        if index in drawn:
            train(client, 1)
        else:
            with pytest.raises(vs.RoundError, match="was not drawn for round 1"):
                train(client, 1)


def test_clouds_that_were_handed_different_sums_encrypt_for_no_common_round(
    single: EncryptedAveraging,
) -> None:
    # With one key holder sums have no tag: whoever passes the key on can name other blocks in it.
    # test_committee.py has the others.
    method = single
    description = described(method)
    method.aggregator.open_round(description)
    for upload in uploads(method, description):
        method.aggregator.receive(upload)
    key = method.key_holder.open(description, method.aggregator.close_round())
    rnd, honest = vs.Round.from_bytes(description), method.aggregator.aggregate
    other = altered(honest, rnd)
    sums = [
        vs.decrypt(vs.SumKey.from_bytes(renamed(key, one), rnd), vs.Aggregate.from_bytes(one, rnd))
        for one in (honest, other)
    ]
    changed = sum(int((sums[0][name] != sums[1][name]).sum()) for name in sums[0])
    assert changed == 1  # it decrypts, to a model of the aggregator's choice
    for index, client in enumerate(method.clients):
        told = (other, renamed(key, other)) if index == 0 else (honest, key)
        take(client, description, *told)
        train(client, 2)
    description = described(method, 1)
    with pytest.raises(vs.RoundError, match="another history than was agreed"):
        contribute(method.clients[0], description)
    for client in method.clients[1:]:
        contribute(client, description)


def test_clouds_that_were_handed_different_sums_of_weights_encrypt_for_no_common_round(
    make_config: Callable[..., TrainConfig], federation: Federation
) -> None:
    # Told a large sum, all clouds but one would count for next to nothing.
    method = EncryptedAveraging(
        make_config(
            "aggregation.weights=dynamic",
            "encryption.pads_ahead=false",
            "encryption.authority=single",
        ),
        federation.clouds,
    )
    description = described(method)
    method.aggregator.open_round(description)
    for client in method.clients:
        train(client, 1)
        method.aggregator.receive(contribute(client, description))
    key = method.key_holder.open(description, method.aggregator.close_round())
    rnd, honest = vs.Round.from_bytes(description), method.aggregator.aggregate
    other = altered(honest, rnd)
    moved = read_sum(rnd, other, renamed(key, other))
    assert moved.sums["relative"] != read_sum(rnd, honest, key).sums["relative"]
    for index, client in enumerate(method.clients):
        told = (other, renamed(key, other)) if index == 0 else (honest, key)
        take(client, description, *told)
        # Without a cap one pass is all; the sums of another one over fewer clouds would differ by
        # the weight of who is left out.
        assert client.state.passes.settled
        assert client.state.due.purpose == UPDATES
        with pytest.raises(vs.RoundError, match=r"has another .*history.* than was agreed"):
            contribute(client, description)
    description = described(method, 1)
    with pytest.raises(vs.RoundError, match="another history than was agreed"):
        contribute(method.clients[0], description)
    for client in method.clients[1:]:
        contribute(client, description)


def test_clouds_without_a_part_in_a_pass_follow_it(
    make_config: Callable[..., TrainConfig], federation: Federation
) -> None:
    config = make_config(
        "aggregation.weights=dynamic",
        "aggregation.max_share=0.4",
        "training.participation=0.75",
    )
    method = EncryptedAveraging(config, federation.clouds)
    for number in (1, 2, 3, 4):
        assert not method.run_round(number).skipped
    for client in method.clients:
        assert client.state.history.head == method.clients[0].state.history.head


def test_a_cloud_that_was_left_out_of_a_pass_has_no_share(
    make_config: Callable[..., TrainConfig], federation: Federation
) -> None:
    # Beside the others' sum alone its weight would count more than it should.
    method = EncryptedAveraging(
        make_config(
            "aggregation.weights=dynamic",
            "aggregation.min_clients=3",
            "encryption.authority=single",
        ),
        federation.clouds,
    )
    description, other = described(method), described(method)
    method.aggregator.open_round(description)
    for client in method.clients:
        train(client, 1)
    for client in method.clients[1:]:
        method.aggregator.receive(contribute(client, description))
    # One weight goes nowhere, for the same round or for another one of the same place.
    contribute(method.clients[0], other)
    key = method.key_holder.open(description, method.aggregator.close_round())
    for client in method.clients:
        take(client, description, method.aggregator.aggregate, key)
    description = described(method)
    with pytest.raises(vs.RoundError, match="agreed on without this cloud; it has no weight"):
        contribute(method.clients[0], description)
    for client in method.clients[1:]:
        contribute(client, description)


def _fresh(config: TrainConfig, federation: Federation) -> Client:
    task = TabularTask(
        federation.clouds[0],
        config.model,
        config.training,
        seed=config.run.seed,
        cloud=0,
        device=torch.device("cpu"),
    )
    return Client(0, task, config.terms)


def test_steps_out_of_order_are_refused(config: TrainConfig, federation: Federation) -> None:
    client = _fresh(config, federation)
    for step in (
        lambda: contribute(client, b""),
        lambda: train(client, 1),
        lambda: take(client, b"", b"", b""),
        lambda: skip(client, 1),
        lambda: client.ask(Propose(0, 0)),
    ):
        with pytest.raises(vs.RoundError, match="that has not joined a training cannot"):
            step()
    with pytest.raises(vs.RoundError, match="has not joined a training; it has no model"):
        _ = client.state
    # Once it has counted its rows, it waits for their sum.
    counted = _counted(EncryptedAveraging(config, federation.clouds))
    for step in (lambda: train(counted, 1), lambda: skip(counted, 1)):
        with pytest.raises(vs.RoundError, match="waits for their sum cannot"):
            step()


def test_a_cloud_refuses_a_roster_without_it(config: TrainConfig, federation: Federation) -> None:
    client = _fresh(config, federation)
    others = [vs.Identity.generate().public.to_bytes() for _ in range(4)]
    with pytest.raises(vs.RoundError, match="another identity than cloud 1's own"):
        join(client, b"", (b"", b""), (b"", b""), others)
    with pytest.raises(vs.RoundError, match="the roster has 5 clouds; 4 were agreed on"):
        join(client, b"", (b"", b""), (b"", b""), [client.public_identity, *others])


def test_a_cloud_agrees_once(
    make_config: Callable[..., TrainConfig], federation: Federation, method: EncryptedAveraging
) -> None:
    """Whoever came second would have his key encrypted to, or a roster of strangers summed with."""
    client = _fresh(make_config("encryption.authority=single"), federation)
    plan = vs.Plan(4).to_bytes()
    roster = [client.public_identity] + [vs.Identity.generate().public.to_bytes() for _ in range(3)]

    def agree() -> None:
        key = vs.keygen(vs.Plan.from_bytes(plan))[1].to_bytes()
        join(client, bytes(32), (plan, key), (plan, key), roster)

    key = vs.keygen(vs.Plan(4))[1].to_bytes()
    with pytest.raises(vs.WireFormatError):
        join(client, bytes(32), (plan, key), (plan, b"damaged"), roster)
    with pytest.raises(vs.ParameterError, match="id has 31 bytes"):
        join(client, bytes(31), (plan, key), (plan, key), roster)
    # Nothing of an agreement that failed stands.
    with pytest.raises(vs.RoundError, match="has not joined"):
        train(client, 1)
    agree()
    before = client._stage
    with pytest.raises(vs.RoundError, match="cannot join"):
        agree()
    assert client._stage is before
    # In the middle of a run as well, where the same holds of the statistics.
    client = method.clients[0]
    with pytest.raises(vs.RoundError, match="cannot join"):
        agree()
    train(client, 1)
    contribute(client, described(method))
    state = client.state
    with pytest.raises(vs.RoundError, match="cannot make group"):
        client.ask(MakeGroup(bytes(32), tuple(roster)))
    assert client.state is state


def _other_authority(agreed: Agreement) -> dict[str, Any]:
    if not isinstance(agreed.authorities[1], vs.Committee):
        return {"authority": vs.keygen(agreed.plan)[1]}
    return {
        "authority": vs.Committee([*agreed.authorities[1].members[:-1], vs.Identity.generate()], 3)
    }


def _all_must_agree(agreed: Agreement) -> dict[str, Any]:
    committee = agreed.authorities[1]
    assert isinstance(committee, vs.Committee)
    return {"authority": vs.Committee(committee.members, 4)}


def _one_key_holder(agreed: Agreement) -> dict[str, Any]:
    return {"authority": vs.keygen(agreed.plan)[1]}


def _other_group(agreed: Agreement) -> dict[str, Any]:
    signer = vs.Identity.generate()
    return {"group": vs.Group.create(signer, vs.Roster([signer])).commitment}


def _no_tag(agreed: Agreement) -> dict[str, Any]:
    # Read by a server that is no cloud, and without a tag.
    return {"group": None, "reader": vs.Identity.generate()}


def _stranger(agreed: Agreement) -> dict[str, Any]:
    return {"roster": [*list(agreed._roster)[:-1], vs.Identity.generate()]}


def _fewer_clients(agreed: Agreement) -> dict[str, Any]:
    return {"min_clients": 2}


def _wider(agreed: Agreement) -> dict[str, Any]:
    return {"limit": 1e9}


def _nowhere(agreed: Agreement) -> dict[str, Any]:
    return {"step": None}


def _other_training(agreed: Agreement) -> dict[str, Any]:
    return {"step": vs.TrainingStep(bytes(32), 1, UPDATES, bytes(32))}


def _proposed(method: EncryptedAveraging) -> dict[str, Any]:
    """The arguments of the round that is due."""
    state = method.clients[0].state
    agreed, due = state.agreement, state.due
    return {
        "authority": agreed.authorities[1],
        "like": dict(due.like),
        "limit": dict(due.limits),
        "min_clients": 4,
        "roster": agreed._roster,
        "group": None if agreed.group is None else agreed.group.commitment,
        "step": agreed._step(state.history.place(UPDATES)),
    }


@pytest.mark.parametrize(
    ("authority", "change", "named"),
    [
        *(
            (authority, change, named)
            for authority in ("single", "clouds", "committee")
            for change, named in (
                (_other_authority, "authority"),
                (_stranger, "roster"),
                (_fewer_clients, "least number of clients"),
                (_wider, "ranges"),
                (_nowhere, "history"),
                (_other_training, "history"),
                (_other_group, "group"),
            )
        ),
        ("clouds", _all_must_agree, "authority"),
        ("clouds", _one_key_holder, "authority"),
        ("committee", _one_key_holder, "authority"),
        ("clouds", _no_tag, "group"),
    ],
)
def test_a_cloud_encrypts_for_no_round_that_was_not_agreed(
    make_config: Callable[..., TrainConfig],
    federation: Federation,
    authority: str,
    change: Callable[[Agreement], dict[str, Any]],
    named: str,
) -> None:
    config = make_config(f"encryption.authority={authority}")
    method = EncryptedAveraging(config, federation.clouds)
    agreed = method.clients[0].state.agreement
    options = _proposed(method) | change(agreed)
    opens = options.pop("authority")
    bad = vs.Round(agreed.plan, opens, **options)
    client = method.clients[0]
    train(client, 1)
    with pytest.raises(vs.RoundError, match=f"has another {named} than was agreed"):
        contribute(client, bad.to_bytes())
    # Refusing costs nothing: the right round is still possible.
    contribute(client, described(method))


def test_a_cloud_refuses_a_round_of_another_plan(single: EncryptedAveraging) -> None:
    plan = vs.Plan(clients=5, value_bits=16)
    options = _proposed(single) | {"authority": vs.keygen(plan)[1]}
    bad = vs.Round(plan, options.pop("authority"), **options)
    train(single.clients[0], 1)
    with pytest.raises(vs.RoundError, match="has another plan, authority than was agreed"):
        contribute(single.clients[0], bad.to_bytes())


def test_a_cloud_refuses_a_round_of_another_plan_for_its_committee(
    method: EncryptedAveraging,
) -> None:
    plan = vs.Plan(clients=5, value_bits=16)
    options = _proposed(method)
    bad = vs.Round(plan, options.pop("authority"), **options)
    train(method.clients[0], 1)
    with pytest.raises(vs.RoundError, match="has another plan than was agreed"):
        contribute(method.clients[0], bad.to_bytes())


def test_the_aggregator_takes_each_client_once(method: EncryptedAveraging) -> None:
    description = described(method)
    method.aggregator.open_round(description)
    made = uploads(method, description)
    method.aggregator.receive(made[0])
    with pytest.raises(vs.RoundError):
        method.aggregator.receive(made[0])
    assert [seen.client for seen in method.aggregator.seen] == [0]


def test_the_aggregator_refuses_damaged_and_late_uploads(method: EncryptedAveraging) -> None:
    description = described(method)
    made = uploads(method, description)
    with pytest.raises(vs.RoundError, match="no round is open"):
        method.aggregator.receive(made[0])
    with pytest.raises(vs.RoundError, match="no round is open"):
        method.aggregator.close_round()
    method.aggregator.open_round(description)
    for at in (0, len(made[0]) // 2, len(made[0]) - 1):
        damaged = bytearray(made[0])
        damaged[at] ^= 1
        with pytest.raises(vs.VeilsumError):
            method.aggregator.receive(bytes(damaged))
    method.aggregator.open_round(described(method))
    with pytest.raises(vs.RoundError):
        method.aggregator.receive(made[0])


def test_the_aggregator_does_not_close_a_round_of_too_few(method: EncryptedAveraging) -> None:
    description = described(method)
    method.aggregator.open_round(description)
    for upload in uploads(method, description)[:3]:
        method.aggregator.receive(upload)
    with pytest.raises(vs.RoundError, match="3 clients uploaded; the round needs 4"):
        method.aggregator.close_round()


def test_the_aggregator_wants_a_roster() -> None:
    plan = vs.Plan(clients=2)
    rnd = vs.Round(plan, vs.keygen(plan)[1], size=8)
    with pytest.raises(vs.RoundError, match="has no roster"):
        Aggregator().open_round(rnd.to_bytes())


def test_the_authority_opens_only_for_its_roster_and_number(single: EncryptedAveraging) -> None:
    agreed = single.clients[0].state.agreement
    identities = [vs.Identity.generate() for _ in range(4)]
    mine = [vs.Identity.generate() for _ in range(4)]
    authority = KeyHolder()
    public = vs.PublicKey.from_bytes(authority.issue_key(agreed.plan.to_bytes()))
    authority.enrol([one.public.to_bytes() for one in mine], 4)

    def request(signers: list[vs.Identity], least: int) -> tuple[bytes, bytes]:
        rnd = vs.Round(agreed.plan, public, size=16, min_clients=least, roster=signers)
        made = [vs.encrypt(rnd, np.zeros(16), signer=signer) for signer in signers]
        total = vs.weighted_sum(rnd, made)
        return rnd.to_bytes(), total.opening_request().to_bytes()

    with pytest.raises(vs.RoundError, match="opens sums of at least 4 of its own roster"):
        authority.open(*request(identities, 4))
    with pytest.raises(vs.RoundError, match="opens sums of at least 4 of its own roster"):
        authority.open(*request(mine, 2))
    assert authority.open(*request(mine, 4))
    with pytest.raises(vs.KeyMismatchError, match="does not hold"):
        authority.open(described(single), b"")
    with pytest.raises(vs.RoundError, match="fixed for the run"):
        authority.enrol([one.public.to_bytes() for one in mine], 4)


@pytest.mark.parametrize("least", [1, 5])
def test_impossible_numbers_of_clients_are_refused(least: int) -> None:
    keys = [vs.Identity.generate().public.to_bytes() for _ in range(4)]
    with pytest.raises(vs.ParameterError, match=f"min_clients is {least}"):
        KeyHolder().enrol(keys, least)
    plan = vs.Plan(clients=4)
    with pytest.raises(vs.ParameterError, match=f"min_clients is {least}"):
        pair = plan.to_bytes(), vs.keygen(plan)[1].to_bytes()
        Agreement(pair, pair, keys, least, bytes(32))
    with pytest.raises(vs.ParameterError, match="min_clients must be from 2 to the 4 clients"):
        IndependentMember().enrol(bytes(32), keys, least)


def test_uploads_look_random_and_hide_everything(method: EncryptedAveraging) -> None:
    method.run_round(1)
    for seen in method.aggregator.seen:
        # n random bytes have 8 bits a byte less 255 / (2 n ln 2) on average, with a standard
        # deviation of sqrt(510) / (2 n ln 2); eight of those leave room for headers.
        n = len(seen.sample)
        assert seen.entropy > 8 - (255 + 8 * math.sqrt(510)) / (2 * n * math.log(2))


def test_byte_entropy() -> None:
    assert byte_entropy(b"") == 0
    assert byte_entropy(b"\0" * 100) == 0
    assert byte_entropy(bytes(range(256))) == pytest.approx(8)


def test_statistics_agree_with_pooled_rows(
    method: EncryptedAveraging, federation: Federation
) -> None:
    from veilsum.data import MAX_ROWS, local_moments

    exact = [local_moments(study).to_mapping() for study in federation.clouds]
    opened = method.moments.to_mapping()
    step = MAX_ROWS / (2 ** (statistics.VALUE_BITS - 1) - 1)
    for name, values in opened.items():
        expected = sum(part[name] for part in exact)
        bound = len(exact) * step * 0.5001
        assert np.abs(values - expected).max() <= bound, name
    assert method.moments.rows == sum(len(study) for study in federation.clouds)
    # Every cloud derives the same inputs from them.
    for client, study in zip(method.clients, federation.clouds, strict=True):
        learner = client._stage._learner
        inputs = learner._inputs.numpy()
        np.testing.assert_array_equal(inputs, method.preprocessor.transform(study))
