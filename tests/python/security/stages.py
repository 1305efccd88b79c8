"""What the rules' tests have of each engine: its plan, keys, rounds, uploads, and how to open.

A rule is tested on a `Stage`, which knows what differs between engines, so that the tests need not:
whether the key holder has to see the uploads, what a decrypted mean may be off by, and what the
blocks of a sum may be called. Only public calls are used: the suite runs on a release build too.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import plain_cipher
import veilsum as vs
from veilsum.engines import registry

ENGINES = ("native", "plain", "openfhe")
SIZE = 200  # one block of OpenFHE's, one of the native engine's, four of the plain one's
CLIENTS = 5
#: The weighing plans hold weights up to 5 * 2^4 in all.
WEIGHT_BITS = 4

#: What a child process says first: where the tests lie, and that there is a plain engine.
PRELUDE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
import plain_cipher
from veilsum.engines import registry
registry.register(plain_cipher.CIPHER)
import veilsum as vs
"""


#: What a child process that measures itself says next. `kib()` is the memory that it has now: what
#: getrusage calls the most of a process is its parent's, too.
MEASURING = """
import os
def kib():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 10
"""


def register() -> None:
    """Make the plain engine known to this process."""
    registry.register(plain_cipher.CIPHER)


def unregister() -> None:
    """Make it unknown again: as in a release."""
    registry._added.pop(plain_cipher.NAME, None)


def why_not(engine: str) -> str:
    """Say why an engine cannot be tested here; empty when it can."""
    try:
        vs.Plan(2, engine=engine)
    except vs.BackendUnavailableError:
        return "OpenFHE is not available here; `make test-openfhe` has it from a wheel"
    return ""


class Stage:
    """One engine: a plan and a key pair, and what is made with them."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.plan = vs.Plan(CLIENTS, 16 if engine != "openfhe" else 8, engine=engine)
        self.secret, self.public = vs.keygen(self.plan)
        # Clients 2 and 3 sign with two keys: what is forged is mostly theirs.
        self.people = [vs.Identity.generate(post_quantum=k in (2, 3)) for k in range(CLIENTS)]
        self._weighing: Stage | None = None

    def __repr__(self) -> str:
        return f"<{self.engine}>"

    @property
    def weighing(self) -> Stage:
        """The same engine with a plan that holds weights of the aggregator."""
        if self._weighing is None:
            made = Stage.__new__(Stage)
            made.engine, made.people, made._weighing = self.engine, self.people, None
            made.plan = vs.Plan(CLIENTS, 8, weight_bits=WEIGHT_BITS, engine=self.engine)
            made.secret, made.public = vs.keygen(made.plan)
            self._weighing = made
        return self._weighing

    @property
    def sums_again(self) -> bool:
        """Whether the key holder has to see the uploads."""
        return self.engine != "native"

    @property
    def encrypts(self) -> bool:
        """Whether the engine hides anything."""
        return self.engine != "plain"

    def fresh_secret(self) -> vs.SecretKey:
        """Return the same key without a memory of what it opened."""
        return vs.SecretKey.from_bytes(self.secret.to_bytes())

    def round(self, size: int | None = SIZE, *, signed: bool = False, **options: Any) -> vs.Round:
        """Make a round; with a roster of all `people`, if it is to be signed."""
        if signed:
            options.setdefault("roster", self.people)
        if "like" in options:
            size = None
        return vs.Round(self.plan, self.public, size=size, **options)

    def update(self, seed: int, size: int = SIZE) -> Any:
        """Return an update within ±1."""
        return np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)

    def upload(self, rnd: vs.Round, client: int = 0, **options: Any) -> vs.Upload:
        """Encrypt the update of a client's number, signed where the round has a roster."""
        if rnd.roster:
            options.setdefault("signer", self.people[client])
        return vs.encrypt(rnd, self.update(client, rnd.size), **options)

    def uploads(self, rnd: vs.Round, count: int) -> list[vs.Upload]:
        """Encrypt the updates of the first clients."""
        return [self.upload(rnd, client) for client in range(count)]

    def shown(self, uploads: Sequence[Any]) -> dict[str, Any]:
        """Return what opening an aggregate takes besides it."""
        return {"uploads": list(uploads)} if self.sums_again else {}

    def open(
        self,
        rnd: vs.Round,
        total: Any,
        uploads: Sequence[Any],
        secret: vs.SecretKey | None = None,
        **options: Any,
    ) -> vs.SumKey:
        """Open a sum; with a key that has opened nothing yet, if none is given."""
        return vs.open_sum(
            secret or self.fresh_secret(), rnd, total, **self.shown(uploads), **options
        )

    def request(self, total: Any, uploads: Sequence[vs.Upload]) -> vs.OpeningRequest:
        """Return what travels to the key holder."""
        return total.opening_request(uploads) if self.sums_again else total.opening_request()

    def tolerance(self, weight: int, limit: float = 1.0) -> float:
        """Return the bound of a mean's error: half a step or the cipher's, and float32's."""
        step = 0.0 if self.engine == "openfhe" else limit / (2 ** (self.plan.value_bits - 1) - 1)
        return step / 2 + self.plan.error_bound * limit / weight + limit * 2.0**-22


def in_child(work: Any, *, timeout_s: int = 60) -> bytes:
    """Return the bytes that `work()` gives in a forked child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(timeout_s)  # ends a child that waits for what nobody there will give
            os.close(reader)
            with os.fdopen(writer, "wb") as out:
                out.write(work())
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as source:
        data = source.read()
    ended = os.waitpid(child, 0)[1]
    assert ended == 0, f"the child ended with {ended}"
    return data
