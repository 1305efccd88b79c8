"""The three ways in, as examples/ shows them: each learns, in few lines, and opens plain means.

Every round of every example is checked against the updates that went into it, as they were before
their encryption: what a reader opened is their weighted mean within the bound of
protocol/contribution.py.
"""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from veilsum.cli import main
from veilsum.keys.identity import Identity
from veilsum.parties.client import Client
from veilsum.parties.messages import Take, read_request
from veilsum.protocol import averaging
from veilsum.rounding import Grid
from veilsum.run_names import METRICS, PARTIES
from veilsum.transport.files import requests_at

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BITS = 16
CLOUDS = 5
MOST_LINES = 40
LEAST_ACCURACY = 0.96

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Sums:
    """Holds what was opened against what had been put in.

    Clouds encode one contribution each, then readers decode the sum of those.
    """

    def __init__(self) -> None:
        self.encode, self.decode = averaging.encode, averaging.decode
        self.contributions: list[Any] = []
        self.limits: dict[str, float] = {}
        self.rounds = 0
        self._complete = False

    def encoded(self, contribution: Any, limits: Any, bits: int, numbers: Any) -> Any:
        assert bits == BITS
        if self._complete:
            self.contributions, self._complete = [], False
        self.contributions.append(contribution)
        self.limits = dict(limits)
        return self.encode(contribution, limits, bits, numbers)

    def decoded(self, sums: Any) -> Any:
        opened = self.decode(sums)
        if not self._complete:
            self._complete = True
            self.rounds += 1
        self.check(opened)
        return opened

    def check(self, opened: Any) -> None:
        assert len(self.contributions) == CLOUDS
        weights = [one.weight for one in self.contributions]
        total = sum(weights)
        # Each weight is moved by half a step of its grid at most.
        off = Grid(self.limits["weight"], BITS).error_bound("nearest")
        for name, mean in opened.update.items():
            updates = [one.update[name] for one in self.contributions]
            plain = sum(w * update for w, update in zip(weights, updates, strict=True)) / total
            largest = max(float(np.abs(update).max(initial=0.0)) for update in updates)
            assert largest * max(weights) < self.limits[f"update.{name}"], "nothing is clipped"
            error = CLOUDS * Grid(self.limits[f"update.{name}"], BITS).error_bound("stochastic")
            error /= opened.weight
            error += 2 * CLOUDS * off * largest / opened.weight
            assert np.abs(mean - plain).max(initial=0.0) <= error, name


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sums]:
    made = Sums()
    monkeypatch.setattr(averaging, "encode", made.encoded)
    monkeypatch.setattr(averaging, "decode", made.decoded)
    yield made
    assert made.rounds > 0


def own_lines(*files: str) -> int:
    """Count what a user writes: no imports, comments or documentation."""
    count = 0
    for name in files:
        source = (EXAMPLES / name).read_text()
        body = source.split('"""', 2)[2] if source.startswith('"""') else source
        count += sum(
            bool(line.strip()) and not line.startswith(("import", "from", "#"))
            for line in body.splitlines()
        )
    return count


@pytest.mark.parametrize(("example", "rounds"), [("digits.py", 12), ("own_loop.py", 12)])
def test_a_script(
    example: str,
    rounds: int,
    sums: Sums,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert own_lines(example) <= MOST_LINES
    monkeypatch.chdir(tmp_path)
    made = runpy.run_path(str(EXAMPLES / example))
    assert made["accuracy"] >= LEAST_ACCURACY
    assert "accuracy" in capsys.readouterr().out
    assert sums.rounds == rounds


def test_a_table(sums: Sums, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("make_table.py", "network.py", "config.toml")
    # The first makes the table, which a user has.
    assert own_lines(*(f"digits-csv/{name}" for name in names[1:])) <= MOST_LINES
    for name in names:
        shutil.copy(EXAMPLES / "digits-csv" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("make_table.py")
    assert main(["train", "config.toml", "--set", "run.name=it", "--set", "run.live=off"]) == 0
    assert sums.rounds == 8
    lines = (tmp_path / "runs/it" / METRICS).read_text().splitlines()
    records = [json.loads(line) for line in lines]
    last = [one for one in records if one["method"] == "veilsum"][-1]
    assert last["accuracy"] >= LEAST_ACCURACY > last["majority"]
    assert (tmp_path / "runs/it/report.html").exists()


def test_an_auditor_comes_to_the_same_network(tmp_path: Path) -> None:
    """The first example over folders: what one cloud's folder has gives the model again."""
    source, found, _ = (EXAMPLES / "digits.py").read_text().partition("run = vs.federate(")
    assert found
    made: dict[str, Any] = {}
    exec(compile(source, "digits.py", "exec"), made)
    task, data = made["task"], made["data"]
    run = vs.federate(task, data[:CLOUDS], rounds=2, folder=tmp_path, keep_messages=True)
    assert run.folder is not None
    at = run.folder / PARTIES / "cloud-2"
    told = [request for _, request in requests_at(at)]

    def audit(requests: list[bytes]) -> Any:
        auditor = Client(
            1, task.local(data[1], cloud=1), run.terms, identity=Identity.load(at / "identity.key")
        )
        for request in requests:
            auditor.replay(request)
        return auditor.state.parameters

    model = audit(told)
    assert model.keys() == run.parameters.keys()
    assert all(np.array_equal(model[name], array) for name, array in run.parameters.items())
    take = max(i for i, one in enumerate(told) if isinstance(read_request(one), Take))
    changed = bytearray(told[take])
    changed[len(changed) // 2] ^= 1
    with pytest.raises(vs.VeilsumError):
        audit([*told[:take], bytes(changed), *told[take + 1 :]])
