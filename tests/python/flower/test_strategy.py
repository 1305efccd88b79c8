"""The strategy and the app over a grid in this process: what is learned, and what travels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower is the extra veilsum[flower]")

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import strategy as theirs
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx

import veilsum as vs
from flower.grid import ROWS, RUN, START, Grid, app_of, context, plain, record, simulated, target
from veilsum.flower import VeilsumStrategy, prepare_site
from veilsum.flower.site import newest_training
from veilsum.transport.flower import carrier
from veilsum.transport.flower.carrier import read_slip, write_slip
from veilsum.transport.flower.slips import Slip

OPTIONS = {"encryption": {"rounding": "nearest", "value_bits": 24}}
STEP = 4 * 4 / 2**23
"""Grid: updates of at most 1, weighted by at most 4; 24 bits; four clouds."""


def strategy(folder: Path, inner: Any = None, **options: Any) -> VeilsumStrategy:
    made = FedAvg(fraction_evaluate=0.0) if inner is None else inner
    return VeilsumStrategy(made, clouds=4, home=folder / "server", **{**OPTIONS, **options})


def models(grid: Grid, folder: Path, clouds: tuple[int, ...] = (0, 1, 2, 3)) -> list[Any]:
    """Each site's model, from its folder."""
    made = []
    for k in clouds:
        make, of_node = grid.nodes[100 + k]
        training = newest_training(folder / f"cloud-{k}")
        made.append(make().site(of_node, training).model())
    return made


def same(one: Any, other: Any, atol: float) -> None:
    assert set(one) == set(other)
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], atol=atol, rtol=0)


def test_clouds_learn_what_plain_averaging_learns_and_the_server_nothing(tmp_path: Path) -> None:
    calls: list[Any] = []
    grid = simulated(tmp_path, calls=calls)
    made = strategy(tmp_path).start(grid, record(START), num_rounds=2)
    assert not made.arrays
    found = models(grid, tmp_path / "sites")
    for one in found:
        same(one, plain(2), 3 * STEP)
        same(one, found[0], 0)
    assert sorted((cloud, given["server-round"]) for cloud, given, _ in calls) == [
        (cloud, number) for cloud in range(4) for number in (1, 2)
    ]
    # The researcher's code finds nothing of Veilsum's in its context.
    assert all(not dict(seen.state) for _, _, seen in calls)
    secrets = [(tmp_path / "sites" / f"cloud-{k}" / "identity.key").read_bytes() for k in range(4)]
    told = [data_of(one) for one in (*grid.sent, *grid.replies)]
    for secret in secrets:
        middle = secret[40:72]
        assert not any(middle in one for one in told)
    # No reply holds a model: not the sum's, not a cloud's own.
    for model in (found[0], *(target(k) for k in range(4))):
        for array in model.values():
            assert not any(array.tobytes() in one for one in told)


def data_of(message: Message) -> bytes:
    slip = read_slip(message.content)
    return slip.data + b"".join(one for one in slip.fields.values() if isinstance(one, bytes))


def test_a_server_that_reads_gets_the_mean_as_one_reply(tmp_path: Path) -> None:
    seen: list[int] = []

    class Watched(FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            seen.append(len(list(replies)))
            return super().aggregate_train(server_round, replies)

    grid = simulated(tmp_path)
    inner = Watched(fraction_evaluate=0.0)
    made = strategy(tmp_path, inner, result="server").start(grid, record(START), num_rounds=2)
    same({name: one.numpy() for name, one in made.arrays.items()}, plain(2), 3 * STEP)
    assert seen == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "inner",
    [
        lambda: FedAvgM(fraction_evaluate=0.0, server_learning_rate=0.7, server_momentum=0.5),
        lambda: FedAdam(fraction_evaluate=0.0, eta=0.05, beta_1=0.0, beta_2=0.0, tau=0.01),
    ],
)
def test_sites_do_what_the_server_would_do(tmp_path: Path, inner: Any) -> None:
    """Without momenta of its own FedAdam's bias correction is 1, and both formulas agree."""
    grid = simulated(tmp_path / "a")
    one = strategy(tmp_path / "a", inner(), result="server").start(grid, record(START), 2)
    other = simulated(tmp_path / "b")
    strategy(tmp_path / "b", inner()).start(other, record(START), 2)
    arrays = {name: array.numpy() for name, array in one.arrays.items()}
    same(models(other, tmp_path / "b" / "sites")[0], arrays, 1e-3)


def test_configurations_reach_the_sites(tmp_path: Path) -> None:
    calls: list[Any] = []
    grid = simulated(tmp_path, calls=calls)
    inner = FedProx(fraction_evaluate=1.0, proximal_mu=0.25)
    made = strategy(tmp_path, inner).start(
        grid, record(START), 1, train_config=ConfigRecord({"lr": 0.5})
    )
    for _, given, _ in calls:
        assert given == {"lr": 0.5, "proximal-mu": 0.25, "server-round": 1}
    # Evaluation uses the model that the sites have; rows weigh it.
    (metrics,) = made.evaluate_metrics_clientapp.values()
    assert metrics["bias"] == pytest.approx(plain(1)["bias"][0], abs=1e-4)


@pytest.mark.parametrize("name", ["FedMedian", "FedTrimmedAvg", "Krum", "MultiKrum", "Bulyan"])
def test_strategies_that_need_single_updates_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(vs.ParameterError, match="single update"):
        strategy(tmp_path, getattr(theirs, name)())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"result": "everybody"}, "result"),
        ({"weights": "dynamic"}, "dynamic"),
        ({"encryption": {"authority": "single"}}, "authority"),
        ({"hybrid": {"fraction": 0.5}}, "hybrid"),
        ({"min_clients": 1}, "min_clients"),
        ({"inner": theirs.FedAdagrad()}, 'result="server"'),
        ({"inner": theirs.QFedAvg(client_learning_rate=0.1)}, "own loss"),
        ({"inner": FedAvg(min_available_nodes=9)}, "waits for 9"),
        ({"inner": object()}, "averaging strategies"),
    ],
)
def test_what_cannot_be_is_said_when_it_is_made(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(vs.ParameterError, match=message):
        strategy(tmp_path, **options)


def test_an_update_never_leaves_in_the_clear(tmp_path: Path) -> None:
    app = app_of(0, tmp_path)
    asked = Message(RecordDict({"arrays": record(START)}), dst_node_id=1, message_type="train")
    with pytest.raises(vs.RoundError, match="in the clear"):
        app(asked, context(1, **{"partition-id": 0}))


# Sites of a deployment.


def deployed(folder: Path, policy: str = "", known: bool = True) -> Grid:
    """Sites with folders of their own, which know each other."""
    publics = [prepare_site(folder / f"cloud-{k}") for k in range(4)]
    for k in range(4):
        prepare_site(folder / f"cloud-{k}", publics if known else [])
        (folder / f"cloud-{k}" / "policy.toml").write_text(policy)
    return Grid(
        {
            100 + k: (
                lambda k=k: app_of(k, None),
                context(100 + k, **{"veilsum-home": str(folder / f"cloud-{k}")}),
            )
            for k in range(4)
        }
    )


def test_sites_that_know_each_other_train(tmp_path: Path) -> None:
    grid = deployed(tmp_path, 'min_clients = 4\nmetrics = ["bias"]')
    inner = FedAvg()
    made = strategy(tmp_path, inner).start(grid, record(START), 1)
    for one in models(grid, tmp_path):
        same(one, plain(1), 2 * STEP)
    (metrics,) = made.evaluate_metrics_clientapp.values()
    assert set(metrics) == {"bias"}  # and not "secret"
    # A model of the server's choice is not scored.
    other = {name: one + np.float32(5) for name, one in START.items()}
    asked = Message(
        RecordDict({"arrays": record(other), "config": ConfigRecord()}),
        dst_node_id=100,
        message_type="evaluate",
    )
    make, of_node = grid.nodes[100]
    scores = make()(asked, of_node).content["metrics"]
    assert scores["bias"] == pytest.approx(plain(1)["bias"][0], abs=1e-4)


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("min_clients = 4", {"min_clients": 3}, "min_clients is 3"),
        ("", {"result": "server"}, "server_reads is false"),
        ("trainings = 1", {}, "has had 1 trainings"),
        ("refuse_above = 0.5", {}, "refuse_above"),
        ("min_client = 4", {}, "unknown entry min_client"),
        ('min_clients = "4"', {}, "must be of type int"),
        ("min_clients", {}, "no TOML"),
    ],
)
def test_a_policy_refuses(
    tmp_path: Path, policy: str, options: dict[str, Any], message: str
) -> None:
    grid = deployed(tmp_path, policy)
    for k in range(4):
        before = tmp_path / f"cloud-{k}" / "trainings" / "another"
        before.mkdir(parents=True)
        (before / "begin").touch()
    with pytest.raises(vs.VeilsumError, match=message):
        strategy(tmp_path, gather_s=0.5, **options).start(grid, record(START), 1)


def test_a_site_without_a_roster_takes_no_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grid = deployed(tmp_path, known=False)
    with pytest.raises(vs.RoundError, match="no node said that it is cloud 1, 2, 3, 4"):
        strategy(tmp_path, gather_s=0.5).start(grid, record(START), 1)
    assert "whoever names them decides" in caplog.text


def test_a_server_cannot_put_strangers_beside_a_site(tmp_path: Path) -> None:
    """Three clouds of the server's own would leave a sum with one update to find."""
    grid = deployed(tmp_path)
    for k in (1, 2, 3):
        home = tmp_path / "fake" / f"cloud-{k}"
        prepare_site(home)
        publics = [tmp_path / "cloud-0" / "site.pub"]
        publics += [tmp_path / "fake" / f"cloud-{n}" / "site.pub" for n in range(1, k + 1)]
    fakes = [tmp_path / "fake" / f"cloud-{n}" for n in (1, 2, 3)]
    for home in fakes:
        prepare_site(home, [tmp_path / "cloud-0" / "site.pub"]
                     + [one / "site.pub" for one in fakes])  # fmt: skip
    for k, home in enumerate(fakes, 1):
        grid.nodes[100 + k] = (
            lambda k=k: app_of(k, None),
            context(100 + k, **{"veilsum-home": str(home)}),
        )
    with pytest.raises(vs.RoundError, match="names others to sum with"):
        strategy(tmp_path).start(grid, record(START), 1)
    uploads = tmp_path / "cloud-0" / "trainings"
    assert not list(uploads.rglob("*-contribute.reply"))


def test_a_node_that_is_no_cloud_is_asked_nothing(tmp_path: Path) -> None:
    """It claims a cloud's number: with its own key, or by what the cloud signs for another node."""
    grid = deployed(tmp_path)
    pinned = tmp_path / "server" / "roster"
    pinned.mkdir(parents=True)
    for k in range(4):
        public = tmp_path / f"cloud-{k}" / "site.pub"
        (pinned / f"{k}.pub").write_bytes(public.read_bytes())
    stranger = vs.Identity.generate()

    class Impostor:
        def __call__(self, message: Message, of_node: Any) -> Message:
            asked = read_slip(message.content)
            signed = carrier.hello_message(
                asked.digest("challenge"), asked.digest("training"), of_node.node_id, 1
            )
            answer = Slip("hello", {
                "cloud": 1, "identity": stranger.public.to_bytes(),
                "signature": stranger.sign(signed),
            })  # fmt: skip
            return Message(write_slip(answer), reply_to=message)

    class Relay:
        """Signs as cloud 2 for another node than the one that asks."""

        def __call__(self, message: Message, of_node: Any) -> Message:
            make, real = grid.nodes[101]
            return make()(message, real)

    grid.nodes = {
        50: (Impostor, context(50)), 51: (Relay, context(51)), **grid.nodes,
    }  # fmt: skip
    strategy(tmp_path).start(grid, record(START), 1)
    asked = [m.metadata.message_type for m in grid.sent if m.metadata.dst_node_id in (50, 51)]
    assert set(asked) == {"query.veilsum_hello"}


# Nodes that lie or fail; enough others go on.


def contribute_replies(grid: Grid, folder: Path) -> dict[bytes, int]:
    """Uploads that were made, by their digest, and how often each was sent."""
    made = {one.read_bytes(): 0 for one in folder.rglob("*-contribute.reply")}
    for reply in grid.replies:
        data = read_slip(reply.content).data
        if data in made:
            made[data] += 1
    return made


def faulty(grid: Grid, change: Any, node: int = 101) -> None:
    """Change what a node replies to requests to contribute, from the first training round on."""
    kept: list[Slip] = []

    def way(direction: str, message: Message) -> Message | None:
        if direction == "down":
            request = read_slip(message.content).data
            if b"contribute" in request:
                grid.asked[message.metadata.message_id] = message.metadata.dst_node_id
            return message
        sender = grid.asked.get(message.metadata.reply_to_message_id)
        if sender is None:
            return message
        slip = read_slip(message.content)
        if slip.kind == "reply":
            kept.append(slip)
        if sender != node or len(kept) <= 4:
            return message
        changed = change(slip, kept)
        if changed is None:
            return None
        made = Message(write_slip(changed), dst_node_id=1, message_type="query")
        made.metadata.__dict__.update(message.metadata.__dict__)
        return made

    grid.asked = {}  # type: ignore[attr-defined]
    grid.on_the_way = way


REFUSAL = b'{"kind": "RoundError", "why": "I will not"}'

FAULTS: dict[str, Any] = {
    "garbage": lambda slip, kept: Slip("reply", {"size": 5, "digest": bytes(32)}, b"12345"),
    "garbage with its digest": lambda slip, kept: reply_of(b"\1" * 3000),
    "too short": lambda slip, kept: reply_of(slip.data[:-1]),
    "oversized": lambda slip, kept: Slip("reply", {"size": 2**45, "digest": bytes(32)}),
    "the last round's upload": lambda slip, kept: kept[1],
    "another cloud's upload": lambda slip, kept: next(
        one for one in kept[4:] if one.data != slip.data
    ),
    "a refusal": lambda slip, kept: Slip(
        "refused", {}, b'{"kind":"RoundError","why":"I will not"}'
    ),
    "no slip": lambda slip, kept: Slip("", {}),
}


def reply_of(data: bytes) -> Slip:
    from veilsum.transport.flower.slips import digest_of

    return Slip("reply", {"size": len(data), "digest": digest_of(data)}, data)


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_node_that_sends_what_does_not_hold_is_left_out(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    grid = simulated(tmp_path)
    faulty(grid, FAULTS[fault])
    made = strategy(tmp_path, min_clients=3)
    made.start(grid, record(START), 1)
    (played,) = made.played
    states = [one.state for one in played.clouds]
    assert [states[k] for k in (0, 2, 3)] == ["summed"] * 3
    assert states[1] in ("refused", "lost", "damaged")
    assert any("cloud 2" in line for line in caplog.messages)
    for model in models(grid, tmp_path / "sites"):
        same(model, plain(1, (0, 2, 3)), 2 * STEP)


def test_too_few_that_are_left_end_the_round_not_the_training(tmp_path: Path) -> None:
    grid = simulated(tmp_path)
    faulty(grid, FAULTS["too short"])
    made = strategy(tmp_path)
    made.start(grid, record(START), 1)
    assert "damaged: cloud 2" in made.played[0].skipped
    for model in models(grid, tmp_path / "sites"):
        same(model, START, 0)


@pytest.mark.parametrize("silent", [{103}, {100}])
def test_a_member_that_will_not_open_is_done_without(tmp_path: Path, silent: set[int]) -> None:
    grid = simulated(tmp_path)
    refuse_opening(grid, silent)
    made = strategy(tmp_path, min_clients=3)
    made.start(grid, record(START), 1)
    assert made.played[0].opening is not None
    assert len(made.played[0].opening.answered) == 3
    for model in models(grid, tmp_path / "sites"):
        same(model, plain(1), 2 * STEP)


def test_too_few_members_end_in_an_error_that_names_them(tmp_path: Path) -> None:
    grid = simulated(tmp_path)
    refuse_opening(grid, {101, 103})
    with pytest.raises(vs.RoundError, match=r"member 2: .*; member 4: "):
        strategy(tmp_path, min_clients=3).start(grid, record(START), 1)


def test_a_cloud_that_says_it_cannot_read_a_sum_does_not_undo_it(tmp_path: Path) -> None:
    """The first of those who are asked side by side; the others have taken the sum in."""
    said: set[str] = set()

    def way(direction: str, message: Message) -> Message | None:
        if direction == "down":
            head = read_slip(message.content).data[:30]
            if b"take" in head and message.metadata.dst_node_id == 100 and len(calls) == 4:
                said.add(message.metadata.message_id)
        elif message.metadata.reply_to_message_id in said:
            slip = Slip("refused", {}, b'{"kind": "TamperedSumError", "why": "it was changed"}')
            made = Message(write_slip(slip), dst_node_id=1, message_type="query")
            made.metadata.__dict__.update(message.metadata.__dict__)
            return made
        return message

    calls: list[Any] = []
    grid = simulated(tmp_path, calls=calls)
    grid.on_the_way = way
    made = strategy(tmp_path, min_clients=3)
    made.start(grid, record(START), 1)
    assert said
    assert made.played[0].skipped == ""
    assert made.played[0].lost is None
    for model in models(grid, tmp_path / "sites", (1, 2, 3)):
        same(model, plain(1), 2 * STEP)


def refuse_opening(grid: Grid, nodes: set[int]) -> None:
    """Nodes that answer requests to open with a refusal of their own."""
    opening: set[str] = set()

    def way(direction: str, message: Message) -> Message | None:
        if direction == "down":
            head = read_slip(message.content).data[:60]
            if (b"endorse" in head or b"answer" in head) and message.metadata.dst_node_id in nodes:
                opening.add(message.metadata.message_id)
        elif message.metadata.reply_to_message_id in opening:
            slip = Slip("refused", {}, REFUSAL)
            made = Message(write_slip(slip), dst_node_id=1, message_type="query")
            made.metadata.__dict__.update(message.metadata.__dict__)
            return made
        return message

    grid.on_the_way = way


# Restarts.


@pytest.mark.parametrize("at", [26, 34, 45])
@pytest.mark.parametrize("result", ["clients", "server"])
def test_a_server_that_is_killed_goes_on(tmp_path: Path, at: int, result: str) -> None:
    """At many a message: nothing is lost, nothing counted twice, and nothing encrypted twice."""
    calls: list[Any] = []
    grid = simulated(tmp_path, calls=calls)

    def stop(direction: str, message: Message) -> Message:
        if direction == "up" and len(grid.sent) == at:
            raise KeyboardInterrupt
        return message

    grid.on_the_way = stop
    with pytest.raises(KeyboardInterrupt):
        strategy(tmp_path, result=result).start(grid, record(START), 2)
    grid.on_the_way = lambda direction, message: message
    made = strategy(tmp_path, result=result)
    run = made.start(grid, record(START), 2)
    assert made.played[-1].number == 2
    if result == "server":
        same({name: one.numpy() for name, one in run.arrays.items()}, plain(2), 3 * STEP)
    else:
        for model in models(grid, tmp_path / "sites"):
            same(model, plain(2), 3 * STEP)
    assert len(calls) == 8
    # Two sums of updates and one of rows, of four clouds each.
    assert len(contribute_replies(grid, tmp_path / "sites")) == 12


def test_a_training_can_be_made_longer(tmp_path: Path) -> None:
    grid = simulated(tmp_path)
    strategy(tmp_path).start(grid, record(START), 1)
    again = strategy(tmp_path)
    again.start(grid, record(START), 2)
    assert [one.number for one in again.played] == [2]
    for model in models(grid, tmp_path / "sites"):
        same(model, plain(2), 3 * STEP)


def test_clouds_that_were_given_other_models_do_not_sum(tmp_path: Path) -> None:
    """A server that gives each cloud a model of its own could tell updates apart in their sum."""
    grid = simulated(tmp_path)
    made = strategy(tmp_path, result="server", min_clients=2)
    grid.on_the_way = other_model(grid)
    made.start(grid, record(START), 1)
    assert made.played[0].skipped == "" and len(made.played[0].uploads) == 3
    assert [one.state for one in made.played[0].clouds].count("summed") == 3


def other_model(grid: Grid) -> Any:
    """Cloud 3 is given another model for the first round."""
    from veilsum.flower.arrays import Packed
    from veilsum.transport.flower.slips import digest_of

    def way(direction: str, message: Message) -> Message:
        slip = read_slip(message.content)
        about = direction == "down" and slip.fields.get("about")
        if about == "model" and message.metadata.dst_node_id == 102:
            packed = Packed.from_bytes(slip.data)
            arrays = {name: one + np.float32(1) for name, one in packed.arrays.items()}
            data = Packed(packed.header, arrays).to_bytes()
            fields = {**slip.fields, "request": digest_of(data)}
            made = Message(write_slip(Slip("ask", fields, data)), dst_node_id=1,
                           message_type="query")  # fmt: skip
            made.metadata.__dict__.update(message.metadata.__dict__)
            return made
        return message

    return way


def test_large_uploads_go_through_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from veilsum.parties import aggregator
    from veilsum.transport.flower import post, transport

    small = 5000
    for defaults in (post.Post.__init__, transport.FlowerTransport.__init__):
        monkeypatch.setitem(defaults.__kwdefaults__, "part_bytes", small)
    from veilsum.flower.site import Site

    monkeypatch.setitem(Site.__init__.__kwdefaults__, "part_bytes", small)
    files: list[Path] = []
    real = aggregator.Aggregator._receive_file

    def watched(self: Any, path: Path, *others: Any) -> None:
        files.append(path)
        real(self, path, *others)

    monkeypatch.setattr(aggregator.Aggregator, "_receive_file", watched)
    grid = simulated(tmp_path)
    made = strategy(tmp_path)
    made.start(grid, record(START), 1)
    assert len(files) >= 4
    assert [one.client for one in made.played[0].uploads] == [0, 1, 2, 3]
    assert all(one.entropy > 7.5 for one in made.played[0].uploads)
    assert max(len(read_slip(one.content).data) for one in grid.replies) <= small
    for model in models(grid, tmp_path / "sites"):
        same(model, plain(1), 2 * STEP)
    assert not list((tmp_path / "server" / "replies").iterdir())


def test_rows_that_change_are_refused(tmp_path: Path) -> None:
    grid = simulated(tmp_path)
    real = grid.nodes[100]

    def other() -> Any:
        app = app_of(0, tmp_path / "sites")
        app._rows = lambda of_node: ROWS[0] + 1
        return app

    grid.nodes[100] = (other, real[1])
    made = strategy(tmp_path, min_clients=3)
    made.start(grid, record(START), 1)
    assert made.played[0].clouds[0].state == "lost"
    assert RUN == 7
    assert json.loads((tmp_path / "server" / "rounds.json").read_text()) == 1
