"""Worker processes: answers, failures, deaths, teams."""

from __future__ import annotations

import sys

import pytest

from bench.peers.environments import PEERS, find
from bench.peers.worker import FOLDER, Worker, WorkerError, team

SCRIPT = """
import os, sys, time
sys.path.insert(0, {folder!r})
from service import serve

def speak(): print("not an answer")
def fail(): raise RuntimeError("as asked")
def die(): sys.stderr.write("last words\\n"); sys.stderr.flush(); os._exit(3)
def nap(seconds): time.sleep(seconds); return os.environ["OMP_NUM_THREADS"]

serve({{"speak": speak, "fail": fail, "die": die, "nap": nap}})
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "test_runner.py"
    path.write_text(SCRIPT.format(folder=str(FOLDER)), encoding="utf-8")
    return path


@pytest.fixture
def worker(script):
    made = Worker(sys.executable, script, threads=3, timeout_s=20)
    yield made
    made.close()


def test_the_seconds_are_the_workers_own(worker):
    answer = worker.call("nap", seconds=0.05)
    assert answer.value == "3"
    assert 0.05 <= answer.seconds < 5


def test_what_a_library_prints_is_no_answer(worker):
    assert worker.call("speak").value is None
    assert worker.call("nap", seconds=0).value == "3"


def test_an_exception_is_reported_and_the_worker_lives_on(worker):
    with pytest.raises(WorkerError, match="RuntimeError: as asked"):
        worker.call("fail")
    with pytest.raises(WorkerError, match="KeyError"):
        worker.call("no such command")
    assert worker.call("nap", seconds=0).value == "3"


def test_a_death_is_reported_with_the_last_words(worker):
    with pytest.raises(WorkerError, match="died: last words"):
        worker.call("die")
    with pytest.raises(WorkerError, match="died"):
        worker.call("nap", seconds=0)


def test_a_hang_is_ended(script):
    worker = Worker(sys.executable, script, timeout_s=0.5)
    with pytest.raises(WorkerError, match="longer than"):
        worker.call("nap", seconds=60)
    worker.close()


def test_a_team_works_at_once(script):
    with team(sys.executable, script, 3) as workers:
        workers.call("nap", [{"seconds": 0}] * 3)  # all are up
        answer = workers.call("nap", [{"seconds": 0.2}] * 3)
    assert answer.value == ["1", "1", "1"]
    assert answer.seconds < 0.55, "one after another would take 0.6 s"


def test_aes_in_a_team():
    with team(sys.executable, FOLDER / "aes_runner.py", 2) as workers:
        for style in ("bulk", "per record"):
            share = {"mode": "GCM", "style": style, "records": 40, "record_bytes": 4}
            sizes = workers.call("load", [{**share, "seed": seed} for seed in (1, 2)]).value
            assert sizes == [{"bulk": 160 + 28, "per record": 40 * 32}[style]] * 2
            workers.call("encrypt")
            workers.call("decrypt")
            assert workers.call("check").value == [True, True]


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_has_a_runner_and_is_found_or_explained(peer, monkeypatch, tmp_path):
    assert peer.runner.is_file()
    monkeypatch.setenv(f"VEILSUM_BENCH_{peer.name.upper()}", str(tmp_path / "no such python"))
    python, reason = find(peer)
    assert python is not None or peer.module in reason
    assert "/" not in reason.replace("bench/README.md", ""), "a reason names this machine's folders"
