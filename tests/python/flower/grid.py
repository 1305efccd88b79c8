"""A grid in this process: Flower's messages go to apps as they would, one process's work each.

Messages are written to bytes and read again, as on a network. What happens on the way is decided by
`on_the_way`, which gets each message and each reply.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity

from veilsum.flower import VeilsumClientApp

RUN = 7
# As Flower sets it in an app's process; messages take their run from it.
TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN, 1


def copied(message: Message) -> Message:
    """What arrives of a message that is sent."""
    contents = {name: one.deflate() for name, one in get_all_nested_objects(message).items()}
    made = inflate_object_from_contents(message.object_id, contents)
    assert isinstance(made, Message)
    made.metadata.__dict__["_message_id"] = message.metadata.message_id
    return made


class Grid:
    """Nodes that each run an app."""

    def __init__(self, nodes: dict[int, tuple[Callable[[], Any], Context]]) -> None:
        self.nodes = nodes
        self.sent: list[Message] = []
        self.replies: list[Message] = []
        self.on_the_way: Callable[[str, Message], Message | None] = lambda way, one: one
        self._waiting: dict[str, Message] = {}
        self._numbers = itertools.count(1)

    def get_node_ids(self) -> list[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        names = []
        for message in messages:
            name = f"message-{next(self._numbers)}"
            message.metadata.__dict__["_message_id"] = name
            message.metadata.__dict__["_run_id"] = RUN
            self._waiting[name] = message
            names.append(name)
        return names

    def pull_messages(self, names: Iterable[str]) -> Iterator[Message]:
        made = []
        for name in names:
            message = self._waiting.pop(name, None)
            if message is not None:
                reply = self._play(copied(message))
                if reply is not None:
                    made.append(reply)
        return iter(made)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        return list(self.pull_messages(self.push_messages(messages)))

    def _play(self, message: Message) -> Message | None:
        self.sent.append(message)
        node = self.nodes.get(message.metadata.dst_node_id)
        went = self.on_the_way("down", message)
        if node is None or went is None:
            return None
        make, context = node
        try:
            reply = make()(went, context)
        except Exception as reason:  # as Flower's process does
            reply = Message(Error(code=2, reason=repr(reason)), reply_to=went)
        reply.metadata.__dict__["_message_id"] = f"reply-{next(self._numbers)}"
        came = self.on_the_way("up", copied(reply))
        if came is not None:
            self.replies.append(came)
        return came


def context(node: int, **config: Any) -> Context:
    return Context(RUN, node, config, RecordDict(), {})


START = {"weight": np.zeros((3, 2), np.float32), "bias": np.zeros(2, np.float32)}
ROWS = (10, 20, 30, 40)


def target(cloud: int) -> dict[str, np.ndarray]:
    """Where a cloud's training pulls the model."""
    numbers = np.random.default_rng(cloud)
    return {
        name: numbers.uniform(-1, 1, one.shape).astype(np.float32) for name, one in START.items()
    }


def towards(arrays: dict[str, np.ndarray], cloud: int) -> dict[str, np.ndarray]:
    aim = target(cloud)
    return {name: (one + 0.5 * (aim[name] - one)).astype(one.dtype) for name, one in arrays.items()}


def app_of(cloud: int, simulation: Path | None, calls: list[Any] | None = None) -> VeilsumClientApp:
    """A fresh app, as in a process of its own; each cloud moves half way to its own target."""
    app = VeilsumClientApp(rows=lambda context: ROWS[cloud], simulation=simulation)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        if calls is not None:
            calls.append((cloud, dict(message.content["config"]), context))
        arrays = {name: one.numpy() for name, one in message.content["arrays"].items()}
        trained = ArrayRecord({name: _array(one) for name, one in towards(arrays, cloud).items()})
        metrics = MetricRecord({"num-examples": ROWS[cloud], "train_loss": 0.5})
        return Message(RecordDict({"arrays": trained, "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        arrays = {name: one.numpy() for name, one in message.content["arrays"].items()}
        metrics = {"num-examples": ROWS[cloud], "bias": float(arrays["bias"][0]), "secret": 1.0}
        return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)

    return app


def _array(array: np.ndarray) -> Any:
    from flwr.app import Array

    return Array(array)


def record(arrays: dict[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: _array(one) for name, one in arrays.items()})


def simulated(folder: Path, clouds: int = 4, calls: list[Any] | None = None) -> Grid:
    """A grid of simulated sites."""
    return Grid(
        {
            100 + k: (
                lambda k=k: app_of(k, folder / "sites", calls),
                context(100 + k, **{"partition-id": k, "num-partitions": clouds}),
            )
            for k in range(clouds)
        }
    )


def config(**values: Any) -> ConfigRecord:
    return ConfigRecord(values)


def plain(rounds: int, clouds: tuple[int, ...] = (0, 1, 2, 3)) -> dict[str, np.ndarray]:
    """What federated averaging without encryption gives."""
    model = {name: one.astype(np.float64) for name, one in START.items()}
    total = sum(ROWS[k] for k in clouds)
    for _ in range(rounds):
        moved = [towards({n: m.astype(np.float32) for n, m in model.items()}, k) for k in clouds]
        model = {
            name: sum(ROWS[k] / total * one[name] for k, one in zip(clouds, moved, strict=True))
            for name in START
        }
    return model
