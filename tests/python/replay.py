"""A run's messages as one cloud received them, to be played again in any order and form.

`record` runs a small training and keeps what each cloud was asked. `Player` asks a cloud the same
anew, and keeps what the cloud encrypts for which round, in the clear: what a cloud puts into a sum
is then compared with what it put there in the honest run, whatever it was told in between. Only
the requests are known here; nothing of how a cloud remembers them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import veilsum as vs
from altering import altered, renamed
from veilsum.learning.task import LocalTask
from veilsum.parties import client as client_module
from veilsum.parties.aggregator import cut_parts
from veilsum.parties.client import Client
from veilsum.parties.messages import Contribute, Endorse, GiveShare, Request, Take
from veilsum.protocol.history import UPDATES
from veilsum.protocol.terms import Terms
from veilsum.training.config import TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.run import Federation
from veilsum.transport.conditions import Conditions


class Recorder(Client):
    """A cloud that keeps what it is asked."""

    def __init__(self, index: int, task: LocalTask, terms: Terms, threads: int | None) -> None:
        super().__init__(index, task, terms, threads=threads)
        self.index = index
        self.messages: list[Request] = []

    def ask(self, request: Request) -> bytes:
        self.messages.append(request)
        return super().ask(request)


@dataclass(frozen=True)
class Transcript:
    """All that happened in a run, as far as one cloud had a part in it."""

    client: Recorder = field(repr=False)
    config: TrainConfig = field(repr=False)
    rounds: Mapping[bytes, vs.Round] = field(repr=False)
    method: EncryptedAveraging = field(repr=False)

    @property
    def messages(self) -> tuple[Request, ...]:
        """What the cloud was asked, in order."""
        return tuple(self.client.messages)

    def purpose(self, request: Request) -> str:
        """What a request's round is for: the purpose without the number of a pass."""
        assert isinstance(request, (Contribute, Take))
        step = vs.Round.from_bytes(request.description).step
        assert step is not None
        return step.purpose.partition(".")[0]

    def alter(self, request: Take) -> Take:
        """The same message with another sum, as whoever passes it on can make it."""
        rnd = vs.Round.from_bytes(request.description)
        # An eighth of the range: of the rows, of a weight, of a sensitivity, of an update's value.
        steps = 1 << (rnd.plan.value_bits - 4)
        other = altered(request.aggregate, rnd, steps)
        if self.config.encryption.authority == "clouds":
            return replace(request, aggregate=other)
        return replace(request, aggregate=other, opening=renamed(request.opening, other))


def record(
    config: TrainConfig,
    federation: Federation,
    cloud: int = 0,
    conditions: Conditions | None = None,
) -> Transcript:
    """Run a training and return what one cloud was told."""
    rounds: dict[bytes, vs.Round] = {}
    real = vs.Round.from_bytes

    def read(data: bytes) -> vs.Round:
        made = real(data)
        rounds[made.id] = made
        return made

    with mock.patch.object(vs.Round, "from_bytes", read):
        method = EncryptedAveraging(config, federation.clouds, Recorder, conditions)
        for number in range(1, config.training.rounds + 1):
            method.run_round(number)
    client = method.clients[cloud]
    assert isinstance(client, Recorder)
    return Transcript(client, config, rounds, method)


@contextmanager
def _watched(seen: list[tuple[vs.Round, str]]) -> Iterator[None]:
    real = vs.encrypt

    def encrypt(rnd: vs.Round, values: Mapping[str, Any], **options: Any) -> vs.Upload:
        made = real(rnd, values, **options)
        seen.append((rnd, digest(values)))
        return made

    with mock.patch.object(client_module, "encrypt", encrypt):
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
        own = transcript.client._own
        self._ledger_number = next(_LEDGERS)
        ledger = Path(transcript.client._folder.name) / f"again-{self._ledger_number}"
        self.client = Client(
            own.index, own.task, own.terms, threads=1, identity=own.identity, ledger=ledger
        )
        self.encrypted: list[tuple[bytes, str]] = []
        self.endorsed: dict[tuple[int, str], bytes] = {}
        self.refused: list[tuple[Request, vs.VeilsumError]] = []

    def tell(self, request: Request) -> bool:
        """Bring the cloud a message; return whether it took it."""
        seen: list[tuple[vs.Round, str]] = []
        try:
            with _watched(seen):
                sent = self.client.ask(request)
        except vs.VeilsumError as error:
            self.refused.append((request, error))
            return False
        if isinstance(request, (Endorse, GiveShare)):
            self._opens_one_sum(request)
        for rnd, what in seen:
            plain = b""
            assert rnd.step is not None
            if rnd.step.purpose == UPDATES and self.client._own.terms.is_hybrid:
                try:
                    plain = cut_parts(sent)[1]
                except vs.WireFormatError:
                    plain = b""  # a mask of everything: there is no plain part
            self.encrypted.append((rnd.id, hashlib.sha256(what.encode() + plain).hexdigest()))
        return True

    def _opens_one_sum(self, request: Endorse | GiveShare) -> None:
        """Fail where the cloud gave its word or its share for two sums of one step."""
        rnd = vs.Round.from_bytes(request.description)
        asked = vs.MemberRequest.from_bytes(request.request, rnd)
        assert rnd.step is not None
        before = self.endorsed.setdefault((rnd.step.number, rnd.step.purpose), asked.sum)
        assert before == asked.sum, "a cloud opened two sums of one step"

    def play(self, messages: Iterable[Request]) -> dict[bytes, str]:
        """Bring it all of them; return what it encrypted for each round."""
        for message in messages:
            self.tell(message)
        made = dict(self.encrypted)
        assert len(made) == len(self.encrypted), "a cloud encrypted twice for one round"
        return made


_LEDGERS = iter(range(1 << 30))
