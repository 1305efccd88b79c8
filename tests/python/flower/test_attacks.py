"""Servers and sites that do what they should not, over a grid in this process.

What each attack got, in a review of the first version: another site's update, the server's end, a
training that nobody could go on with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower is the extra veilsum[flower]")

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

import veilsum as vs
from flower.grid import ROWS, RUN, START, Grid, app_of, context, copied, record, simulated, target
from veilsum.api.rounds import Round
from veilsum.flower import VeilsumClientApp, VeilsumStrategy
from veilsum.flower.arrays import Packed
from veilsum.parties.messages import Lose, Proposal, Take, read_request
from veilsum.transport.files import read_refusal
from veilsum.transport.flower.carrier import read_slip, write_slip
from veilsum.transport.flower.slips import Slip, digest_of

pytestmark = pytest.mark.timeout(120)

OPTIONS = {"encryption": {"rounding": "nearest", "value_bits": 24}}


def strategy(folder: Path, **options: Any) -> VeilsumStrategy:
    inner = FedAvg(fraction_evaluate=0.0)
    return VeilsumStrategy(inner, clouds=4, home=folder / "server", **{**OPTIONS, **options})


def in_place_of(message: Message, slip: Slip) -> Message:
    made = Message(write_slip(slip), dst_node_id=1, message_type="query")
    made.metadata.__dict__.update(message.metadata.__dict__)
    return made


def send(grid: Grid, node: int, slip: Slip) -> Slip:
    message = Message(write_slip(slip), dst_node_id=node, message_type="query.veilsum")
    message.metadata.__dict__.update(_message_id="x", _run_id=RUN)
    make, of_node = grid.nodes[node]
    return read_slip(make()(copied(message), of_node).content)


def moving(folder: Path, step: Callable[[Message, Context], float]) -> Grid:
    """Sites that move by a step that the app reads from what the server sends."""

    def app(k: int) -> VeilsumClientApp:
        made = VeilsumClientApp(rows=lambda context: 10, simulation=folder / "sites")

        @made.train()
        def train(message: Message, context: Context) -> Message:
            arrays = {name: one.numpy() for name, one in message.content["arrays"].items()}
            by = step(message, context)
            trained = {
                n: (one + by * (target(k)[n] - one)).astype(one.dtype) for n, one in arrays.items()
            }
            metrics = MetricRecord({"num-examples": 10, "train_loss": 0.5})
            content = RecordDict({"arrays": record(trained), "metrics": metrics})
            return Message(content, reply_to=message)

        return made

    return Grid(
        {100 + k: ((lambda k=k: app(k)), context(100 + k, **{"partition-id": k})) for k in range(4)}
    )


def test_a_config_for_one_site_is_refused(tmp_path: Path) -> None:
    """With a rate of 0 at all other sites the mean would be one site's update."""
    grid = moving(tmp_path, lambda message, _: float(message.content["config"].get("lr", 0.5)))
    told: dict[int, Slip] = {}

    def way(direction: str, message: Message) -> Message:
        if direction == "down":
            slip, node = read_slip(message.content), message.metadata.dst_node_id
            if slip.fields.get("about") == "party" and node != 100 and node not in told:
                data = Packed({"round": 1, "config": {"lr": 0.0}}, {}).to_bytes()
                fields = {"training": slip.fields["training"], "request": digest_of(data)}
                told[node] = send(grid, node, Slip("ask", {**fields, "about": "model"}, data))
        return message

    grid.on_the_way = way
    made = strategy(tmp_path)
    made.start(grid, record(START), 1)
    assert {one.kind for one in told.values()} == {"refused"}
    assert len(told) == 3
    assert not made.played[0].skipped
    model = grid.nodes[101][0]().site(grid.nodes[101][1], _training(tmp_path, 1)).model()
    for name in START:  # all four moved
        wanted = sum(0.5 * target(k)[name] for k in range(4)) / 4
        np.testing.assert_allclose(model[name], wanted, atol=1e-5)


def _training(folder: Path, cloud: int) -> bytes:
    (found,) = (folder / "sites" / f"cloud-{cloud}" / "trainings").iterdir()
    return bytes.fromhex(found.name)


@pytest.mark.parametrize("result", ["clients", "server"])
def test_sites_whose_runs_are_configured_apart_do_not_sum(tmp_path: Path, result: str) -> None:
    """The SuperLink says what an app's run_config is, and could say something else to each."""
    grid = moving(tmp_path, lambda _, context: float(context.run_config.get("lr", 0.5)))
    for k in range(1, 4):
        grid.nodes[100 + k][1].run_config = {"lr": 0.0}
    grid.nodes[100][1].run_config = {"lr": 1.0}
    made = strategy(tmp_path, result=result, min_clients=2)
    with pytest.raises(vs.VeilsumError):
        made.start(grid, record(START), 1)
    assert not made.played


def test_a_site_whose_folder_is_misspelt_trusts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("VEILSUM_SIMULATION")
    grid = simulated(tmp_path)
    with pytest.raises(vs.RoundError, match="no node said that it is cloud 1, 2, 3, 4"):
        strategy(tmp_path, gather_s=0.5).start(grid, record(START), 1)
    assert "this site has no folder" in caplog.text
    assert not list(tmp_path.rglob("*-contribute.reply"))


def test_one_site_that_lies_undoes_no_loss(tmp_path: Path) -> None:
    """It says that it took in what nobody can read; the others would wait for ever."""
    grid, asked = simulated(tmp_path), {}
    updates = {"open": False}

    def way(direction: str, message: Message) -> Message:
        if direction == "down":
            slip = read_slip(message.content)
            if slip.kind == "ask" and slip.fields.get("about") == "party" and slip.data:
                for request in _requests(slip.data):
                    if isinstance(request, Take) and _number(request) == 1:
                        asked[message.metadata.message_id] = message.metadata.dst_node_id
                    updates["open"] |= isinstance(request, Lose)
        elif asked.get(message.metadata.reply_to_message_id, 100) != 100 and not updates["open"]:
            words = json.dumps({"kind": "TamperedSumError", "why": "no answers open it"})
            return in_place_of(message, Slip("refused", {}, words.encode()))
        return message

    grid.on_the_way = way
    made = strategy(tmp_path, min_clients=2)
    made.start(grid, record(START), 2)
    first = made.played[0]
    assert first.lost is not None
    assert "no answers open its sum of updates" in first.skipped


def _requests(data: bytes) -> list[Any]:
    from veilsum.transport.flower.post import cut_requests

    return [read_request(one) for one in cut_requests(data)]


def _number(request: Any) -> int:
    step = Round.from_bytes(request.description).step
    return 0 if step is None else step.number


def test_a_proposal_that_cannot_be_leaves_its_site_out(tmp_path: Path) -> None:
    grid, asked = simulated(tmp_path), set()
    plan = vs.Plan(clients=4)
    strange = Round(plan, vs.keygen(plan)[1], size=8)  # without a roster

    def way(direction: str, message: Message) -> Message:
        if direction == "down":
            slip = read_slip(message.content)
            proposes = slip.kind == "ask" and b"propose" in slip.data[:40]
            if proposes and message.metadata.dst_node_id == 101:
                asked.add(message.metadata.message_id)
        elif message.metadata.reply_to_message_id in asked:
            data = Proposal(strange.to_bytes(), 0).to_bytes()
            fields = {"size": len(data), "digest": digest_of(data)}
            return in_place_of(message, Slip("reply", fields, data))
        return message

    grid.on_the_way = way
    made = strategy(tmp_path, min_clients=2)
    made.start(grid, record(START), 2)
    assert asked
    assert [one.skipped for one in made.played] == ["", ""]


def test_a_refusal_that_is_nested_deeply_is_malformed() -> None:
    with pytest.raises(vs.WireFormatError, match="malformed"):
        read_refusal(b"[" * 200_000)


def test_words_of_an_app_s_error_stay_at_the_site(tmp_path: Path) -> None:
    """They may be of rows; and the next round is the site's again."""

    def step(message: Message, context: Context) -> float:
        number = int(message.content["config"]["server-round"])
        if context.node_id == 103 and number == 1:
            raise ValueError("row 17: patient Jane Roe has no value")
        return 0.5

    grid = moving(tmp_path, step)
    made = strategy(tmp_path, min_clients=2)
    made.start(grid, record(START), 2)
    assert [one.state for one in made.played[0].clouds].count("summed") == 3
    assert not made.played[1].skipped
    assert [one.state for one in made.played[1].clouds].count("summed") == 4
    for reply in grid.replies:
        assert not reply.has_error()
        for config in reply.content.config_records.values():
            assert "Jane" not in repr(dict(config))


def test_nothing_is_evaluated_before_a_round_was_summed(tmp_path: Path) -> None:
    """Scores of a model of the server's choice would tell of the rows."""
    grid = simulated(tmp_path)
    site = app_of(0, tmp_path / "sites")
    with pytest.raises(vs.RoundError, match="has not begun a training"):
        _evaluate(site, grid)

    def way(direction: str, message: Message) -> Message:
        if direction == "down":
            slip = read_slip(message.content)
            if slip.kind == "ask" and b"propose" in slip.data[:40]:
                with pytest.raises(vs.RoundError) as refused:
                    _evaluate(site, grid)
                tried.append(str(refused.value))
        return message

    tried: list[str] = []
    grid.on_the_way = way
    strategy(tmp_path).start(grid, record(START), 1)
    assert any("no round of this training was summed" in one for one in tried), tried
    assert _evaluate(site, grid)["num-examples"] == ROWS[0]


def _evaluate(site: VeilsumClientApp, grid: Grid) -> dict[str, Any]:
    content = RecordDict({"arrays": record(START)})
    message = Message(content, dst_node_id=100, message_type="evaluate")
    message.metadata.__dict__.update(_message_id="x", _run_id=RUN)
    reply = site(copied(message), grid.nodes[100][1])
    return dict(reply.content.metric_records["metrics"])
