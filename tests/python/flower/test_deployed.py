"""The example as it is deployed: SuperLink and SuperNodes with TLS, in processes that are killed.

Everything listens on the loopback address. Processes take seconds to start for each message, so
these tests take minutes.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower is the extra veilsum[flower]")
pytest.importorskip("torch", reason="the example trains with PyTorch")

import veilsum as vs

EXAMPLE = Path(__file__).parents[3] / "examples" / "flower-clinical"
PATIENCE_S = 1500.0
"""How long one step may take on a machine that is busy; on an idle one it takes a minute."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def module(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def clinical(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield
    for name in [one for one in sys.modules if one.partition(".")[0] == "clinical"]:
        del sys.modules[name]


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Any]:
    made = module("deploy", EXAMPLE / "deploy.py").Deployment(tmp_path / "federation")
    yield made
    made.stop()


def in_process(rounds: int) -> float:
    """The score of the same training with all parties in this process."""
    from clinical import data, task

    parts, held_out = data.split(4)
    model = {name: one.numpy() for name, one in task.network().state_dict().items()}
    averager = vs.FederatedAverager(model, clouds=4)
    for number in range(1, rounds + 1):
        updates = []
        for k, (inputs, labels) in enumerate(parts):
            trained, _ = task.train(model, inputs, labels, 1000 * number + k)
            updates.append({name: trained[name] - model[name] for name in model})
        mean = averager.average(updates, rows=[len(labels) for _, labels in parts])
        model = {name: np.float32(model[name] + mean[name]) for name in model}
    return float(task.auc(model, *held_out))


def until(what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.3)


def messages(made: Any, site: int, kind: str) -> list[str]:
    """Names of a site's messages of a kind, such as `contribute.reply`."""
    return sorted(one.name for one in made.site(site).glob(f"trainings/*/messages/*-{kind}"))


def played(made: Any) -> int:
    try:
        return int(json.loads((made.folder / "server" / "coordinator.json").read_text())["played"])
    except (OSError, ValueError):
        return -1


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="simulation needs Ray")
def test_the_example_in_simulation(deployment: Any, clinical: None) -> None:
    deployment.start_simulation()
    deployment.run(rounds=2, result="server")
    deployment.wait(deployment.folder / "server" / "scores.json", PATIENCE_S)
    scores = json.loads((deployment.folder / "server" / "scores.json").read_text())
    assert scores["2"]["auc"] == pytest.approx(in_process(2), abs=0.005)


def test_a_federation_whose_processes_are_killed_trains_as_well(
    deployment: Any, clinical: None
) -> None:
    made, rounds = deployment, 2
    made.prepare()
    made.start()
    made.run(rounds=rounds)
    # A site before its upload: it is there again before it counts as gone.
    until("the first round", lambda: played(made) == 0)
    made.kill("supernode-3")
    # A site whose upload is made, on its way or not.
    until("an upload", lambda: len(messages(made, 2, "contribute.reply")) == 2)
    made.kill("supernode-2")
    made.restart_supernode(2)
    made.start_supernode(3)
    until("the first sum", lambda: played(made) == 1)
    # The SuperLink, and with it the ServerApp, while uploads of a round arrive.
    until("an upload", lambda: len(messages(made, 0, "contribute.reply")) == 3)
    made.kill("superlink")
    time.sleep(3)
    made.start_superlink()
    made.run(rounds=rounds)
    made.wait(made.folder / "server" / "scores.json", PATIENCE_S)
    scores = json.loads((made.folder / "server" / "scores.json").read_text())
    assert scores[str(rounds)]["auc"] == pytest.approx(in_process(rounds), abs=0.005)
    assert played(made) == rounds
    for site in range(4):
        # The rows, and each round once: nothing was lost, and nothing encrypted twice.
        assert len(messages(made, site, "contribute.reply")) == rounds + 1
        assert len(messages(made, site, "take.reply")) == rounds + 1
