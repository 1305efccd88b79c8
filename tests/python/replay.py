"""A run's messages as one cloud received them, to be played again in any order and form.

`record` runs a small training and keeps what each cloud was told. `Player` tells it to a cloud
anew, and keeps what the cloud encrypts for which round, in the clear: what a cloud puts into a sum
is then compared with what it put there in the honest run, whatever it was told in between. Only
names of the messages are known here; nothing of how a cloud remembers them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import veilsum as vs
from oracle.crc import crc32c
from veilsum.data import Study
from veilsum.parties import client as client_module
from veilsum.parties.aggregator import cut_parts
from veilsum.parties.client import Client
from veilsum.protocol import statistics
from veilsum.training.config import TrainConfig
from veilsum.training.run import Federation
from veilsum.transport.conditions import Conditions
from veilsum.training.encrypted import EncryptedAveraging

SUMS = ("receive_statistics", "receive_weights", "follow_weights", "follow_mask", "receive",
        "follow")  # fmt: skip
UPLOADS = ("statistics_upload", "weight_upload", "sensitivity_upload", "upload")
OPENINGS = ("endorse", "answer")
OTHERS = ("agree", "prepare", "train", "skip")


@dataclass(frozen=True)
class Message:
    """What a cloud was told: the method that took it, and its arguments."""

    kind: str
    arguments: tuple[Any, ...]

    @property
    def aggregate(self) -> int:
        """Place of the encrypted sum among the arguments."""
        return 1 if self.kind.startswith("follow") else 0

    class Recorder(Client):
    """A cloud that keeps what it is told."""

    def __init__(self, index: int, study: Study, config: TrainConfig) -> None:
        super().__init__(index, study, config)
        self.messages: list[Message] = []


def _keeping(kind: str) -> Callable[..., Any]:
    def told(self: Recorder, *arguments: Any) -> Any:
        self.messages.append(Message(kind, arguments))
        return getattr(Client, kind)(self, *arguments)

    return told


for _kind in (*SUMS, *UPLOADS, *OPENINGS, *OTHERS):
    setattr(Recorder, _kind, _keeping(_kind))


@dataclass(frozen=True)
class Transcript:
    """All that happened in a run, as far as one cloud had a part in it."""

    client: Recorder = field(repr=False)
    study: Study = field(repr=False)
    config: TrainConfig = field(repr=False)
    rounds: Mapping[bytes, vs.Round] = field(repr=False)
    method: EncryptedAveraging = field(repr=False)

    @property
    def messages(self) -> tuple[Message, ...]:
        """What the cloud was told, in order."""
        return tuple(self.client.messages)

    def round_of(self, aggregate: bytes) -> vs.Round:
        """The round that a sum is of."""
        return next(rnd for name, rnd in self.rounds.items() if name in aggregate[:128])

    def alter(self, message: Message) -> Message:
        """The message with another sum in it."""
        return message.altered(self.round_of)


def record(
    config: TrainConfig,
    federation: Federation,
    cloud: int = 0,
    conditions: Conditions | None = None,
) -> Transcript:
    """Run a training and return what one cloud was told."""
    rounds: dict[bytes, vs.Round] = {}

    def make(index: int, study: Study, config: TrainConfig) -> Recorder:
        return Recorder(index, study, config)

    real = vs.Round.from_bytes

    def read(data: bytes) -> vs.Round:
        made = real(data)
        rounds[made.id] = made
        return made

    with mock.patch.object(vs.Round, "from_bytes", read):
        method = EncryptedAveraging(config, federation.clouds, make, conditions)
        for number in range(1, config.training.rounds + 1):
            method.run_round(number)
    client = method.clients[cloud]
    assert isinstance(client, Recorder)
    return Transcript(client, federation.clouds[cloud], config, rounds, method)


@contextmanager
def _watched(seen: list[tuple[bytes, str]]) -> Iterator[None]:
    real = vs.encrypt

    def encrypt(rnd: vs.Round, values: Mapping[str, Any], **options: Any) -> vs.Upload:
        made = real(rnd, values, **options)
        seen.append((rnd.id, digest(values)))
        return made

    with (
        mock.patch.object(client_module, "encrypt", encrypt),
        mock.patch.object(statistics, "encrypt", encrypt),
    ):
        yield


def digest(values: Mapping[str, Any], more: bytes = b"") -> str:
    """What an upload says, in the clear."""
    whole = hashlib.sha256(more)
    for name in sorted(values):
        array = np.asarray(values[name], dtype=np.float64)
        if array.size:
            whole.update(name.encode() + b"=" + array.tobytes())
    return whole.hexdigest()


class Player:
    """A cloud of a recorded run, from before it was told anything."""

    def __init__(self, transcript: Transcript) -> None:
        self.client = Client(transcript.client._index, transcript.study, transcript.config)
        identity = self.client._identity = transcript.client._identity
        ledger = Path(self.client._ledger.name) / "again"
        least = transcript.config.terms.min_clients
        self.client._member = vs.Member.create(identity, ledger, min_clients=least)
        self.encrypted: list[tuple[bytes, str]] = []
        self.endorsed: dict[tuple[int, str], bytes] = {}
        self.refused: list[tuple[Message, vs.VeilsumError]] = []

    def tell(self, message: Message) -> bool:
        """Bring the cloud a message; return whether it took it."""
        seen: list[tuple[bytes, str]] = []
        try:
            with _watched(seen):
                sent = getattr(self.client, message.kind)(*message.arguments)
        except vs.VeilsumError as error:
            self.refused.append((message, error))
            return False
        if message.kind in OPENINGS:
            self._opens_one_sum(message)
        for rnd, what in seen:
            plain = b""
            if message.kind == "upload" and self.client._config.is_hybrid:
                try:
                    plain = cut_parts(sent)[1]
                except vs.WireFormatError:
                    plain = b""  # a mask of everything: there is no plain part
            self.encrypted.append((rnd, hashlib.sha256(what.encode() + plain).hexdigest()))
        return True

    def _opens_one_sum(self, message: Message) -> None:
        """Fail where the cloud gave its word or its share for two sums of one step."""
        rnd = vs.Round.from_bytes(message.arguments[0])
        asked = vs.MemberRequest.from_bytes(message.arguments[-1], rnd)
        assert rnd.step is not None
        before = self.endorsed.setdefault((rnd.step.number, rnd.step.purpose), asked.sum)
        assert before == asked.sum, "a cloud opened two sums of one step"

    def play(self, messages: Iterable[Message]) -> dict[bytes, str]:
        """Bring it all of them; return what it encrypted for each round."""
        for message in messages:
            self.tell(message)
        made = dict(self.encrypted)
        assert len(made) == len(self.encrypted), "a cloud encrypted twice for one round"
        return made
