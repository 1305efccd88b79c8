"""How much memory the server of a federation on Flower takes for uploads of a given size.

    python -m bench.flower_memory 100        # MB an upload; four sites

The server's side alone: aggregator and transport fetch four uploads in parts, sum them and tell the
sum to all, over a carrier that reads and drops parts as Flower's messages would bring them. Sites
are another process, which made the uploads before. Prints the peak above the idle process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import veilsum as vs
from veilsum.parties.aggregator import Aggregator
from veilsum.parties.asking import Ask, Party
from veilsum.parties.messages import Contribute, Take
from veilsum.transport.flower.slips import PART_BYTES, Slip, file_digest
from veilsum.transport.flower.transport import FlowerTransport

CLOUDS = 4


def make(folder: Path, megabytes: int) -> None:
    """Make the round and the uploads."""
    identities = [vs.Identity.generate() for _ in range(CLOUDS)]
    roster = vs.Roster([one.public for one in identities])
    training = bytes(32)
    group = vs.Group.create(identities[0], roster, training)
    plan = vs.Plan(clients=CLOUDS, value_bits=16)
    size = int(megabytes * 1e6 / 2.6)
    rnd = vs.Round(
        plan, vs.Committee(roster, threshold=3), size=size, limit=1.0, roster=roster,
        group=group.commitment,
    )  # fmt: skip
    (folder / "round").write_bytes(rnd.to_bytes())
    values = np.random.default_rng(1).uniform(-1, 1, size).astype(np.float32)
    for k, one in enumerate(identities):
        own = group if k == 0 else vs.Group.open(one, group.sealed, roster, training)
        vs.encrypt(rnd, values, signer=one, group=own).save(folder / f"upload-{k}")


class Parts:
    """Gives parts of uploads, and takes parts of requests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waiting: dict[str, tuple[int, Slip]] = {}
        self.have: dict[int, int] = {}

    def send(self, party: Party, slip: Slip) -> str:
        name = f"{party.number}"
        self.waiting[name] = party.number, slip
        return name

    def collect(self, names: Sequence[str]) -> dict[str, Slip]:
        found = {}
        for name in [one for one in names if one in self.waiting]:
            site, slip = self.waiting.pop(name)
            found[name] = self.answer(site, slip)
        return found

    def answer(self, site: int, slip: Slip) -> Slip:
        if slip.kind == "put":
            self.have[site] = slip.number("offset") + len(slip.data)
            return Slip("have", {"have": self.have[site]})
        path = self.folder / f"upload-{site}"
        if slip.kind == "part":
            with path.open("rb") as file:
                file.seek(slip.number("offset"))
                data = file.read(slip.number("length"))
            return Slip("part", {"offset": slip.number("offset")}, data)
        if self.have.get(site):
            return Slip("reply", {"size": 0, "digest": _EMPTY})
        return Slip("reply", {"size": path.stat().st_size, "digest": file_digest(path)})

    def identity(self, party: Party) -> bytes:  # noqa: ARG002
        return b""

    def away_s(self, party: Party) -> float:  # noqa: ARG002
        return 0.0


_EMPTY = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


def peak() -> float:
    """Most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def serve(folder: Path) -> dict[str, Any]:
    """Sum the uploads, and tell the sum."""
    idle = peak()
    description = (folder / "round").read_bytes()
    transport = FlowerTransport(Parts(folder), folder / "replies")  # type: ignore[arg-type]
    aggregator = Aggregator()
    aggregator.folder = folder / "replies"
    aggregator.open_round(description)
    asked = Contribute(description)
    asks = [Ask(Party("cloud", k), asked, 1, "upload", "encrypt") for k in range(CLOUDS)]
    for reply in transport.deliver(asks):
        assert reply.file is not None
        aggregator.receive(reply.file)
    summed = peak()
    aggregator.close_round()
    take = Take(description, aggregator.aggregate, b"")
    asks = [Ask(Party("cloud", k), take, 1, "distribute", "decrypt") for k in range(CLOUDS)]
    assert all(reply.data == b"" for reply in transport.deliver(asks))
    return {
        "upload_mb": (folder / "upload-0").stat().st_size / 1e6,
        "summed_mb": summed - idle,
        "told_mb": peak() - idle,
        "part_mb": PART_BYTES / 1e6,
    }


def main() -> None:
    """Make uploads in one process, and serve in another."""
    if len(sys.argv) == 3:
        folder = Path(sys.argv[2])
        if sys.argv[1] == "serve":
            print(json.dumps(serve(folder)))
        else:
            make(folder, int(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        for what in (sys.argv[1], "serve"):
            subprocess.run([sys.executable, "-m", "bench.flower_memory", what, folder], check=True)


if __name__ == "__main__":
    main()
