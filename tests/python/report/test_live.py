"""The terminal views and TensorBoard, fed with a run's records."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import veilsum as vs
from veilsum.report import live
from veilsum.report.live import LinesView, TableView, make_view
from veilsum.report.range_note import range_note
from veilsum.report.tensorboard import EventsWriter
from veilsum.report.units import skipped_note
from veilsum.run_names import CENTRALISED, ENCRYPTED, PLAINTEXT

ALL = (ENCRYPTED, PLAINTEXT, CENTRALISED)


def replay(view: Any, folder: Path) -> None:
    summary = json.loads((folder / "run.json").read_text())
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    view.run_started(folder, summary)
    for record in records:
        view.round_finished(record)
    view.run_ended(summary | {"final": {record["method"]: record for record in records}})


def test_lines(make_run: Callable[..., Path]) -> None:
    stream = io.StringIO()
    replay(LinesView(stream), make_run(methods=ALL))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 + 9 + 1
    assert "35,585 values" in lines[0]
    assert "auc 0.8300" in lines[4]
    assert "clipped 1" in lines[2]
    assert "clipped" not in lines[5]
    assert "+0.00000 compared with plaintext" in lines[-1]


def test_lines_of_a_run_without_rounds(make_run: Callable[..., Path]) -> None:
    stream = io.StringIO()
    replay(LinesView(stream), make_run(rounds=0, status="interrupted"))
    assert stream.getvalue().splitlines()[-1] == "interrupted: no round was finished"


REASON = "3 of 4 clouds are left (late: cloud 2); a sum needs 4"


def skip_rounds(folder: Path, *numbers: int) -> Path:
    """Rewrite a run's log so that these rounds were skipped."""
    path = folder / "metrics.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        if record["round"] in numbers:
            record |= {"skipped": REASON, "train_loss": None, "clouds": [], "bytes": {}}
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_lines_of_a_run_with_skipped_rounds(make_run: Callable[..., Path]) -> None:
    stream = io.StringIO()
    replay(LinesView(stream), skip_rounds(make_run(methods=(ENCRYPTED,)), 2, 3))
    lines = stream.getvalue().splitlines()
    assert lines[3].endswith(f"as before  skipped: {REASON}")
    assert lines[-1].startswith("2 of 3 rounds were skipped and left the model as it was: 2, 3. ")
    assert f"round 3: {REASON}. aggregation.min_clients = 0 " in lines[-1]


def test_the_table_marks_skipped_rounds(
    make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    stream = io.StringIO()
    view = TableView()
    view._console = Console(file=stream, width=80, height=40, force_terminal=True)
    monkeypatch.setattr(view._live, "console", view._console)
    replay(view, skip_rounds(make_run(methods=(ENCRYPTED,)), 2))
    text = " ".join(re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", stream.getvalue()).split())
    assert f"1 skipped; the last, round 2: {REASON}" in text
    assert "aggregation.min_clients = 0" in text


def test_the_note_names_the_option_that_decided() -> None:
    summary = {
        "min_clients": 2,
        "configuration": {
            "aggregation": {"min_clients": 2},
            "training": {"deadline_s": 1.5},
        },
    }
    record = {"round": 1, "skipped": "1 of 3 clouds is left (late: clouds 2, 3); a sum needs 2"}
    note = skipped_note(summary, [record])
    assert "It cannot be lower" in note
    assert note.endswith("training.deadline_s = 1.5 seconds.")
    capped = {"round": 1, "skipped": "2 clouds are left, too few for aggregation.max_share"}
    assert "min_clients" not in skipped_note(summary, [capped])
    assert skipped_note(summary, [{"round": 1}]) == ""
    # No option decides over a lost round; who spoiled one is said, whatever came later.
    lost = {
        "round": 1,
        "skipped": "no answers open its sum of updates: cloud 3",
        "lost": {"purpose": "updates"},
    }
    assert "min_clients" not in skipped_note(summary, [lost])
    missing = {"round": 2, "skipped": "missing of a lost round: cloud 3"}
    both = skipped_note(summary, [lost, missing])
    assert "Round 1: no answers open its sum of updates: cloud 3." in both
    assert "min_clients" not in both


@pytest.mark.parametrize("height", [5, 24, 100])
def test_the_table_fits_eighty_columns(
    make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, height: int
) -> None:
    from rich.console import Console

    stream = io.StringIO()
    view = TableView()
    view._console = Console(file=stream, width=80, height=height, force_terminal=True)
    monkeypatch.setattr(view._live, "console", view._console)
    replay(view, make_run(rounds=30, methods=ALL))
    text = stream.getvalue()
    assert "…" not in text
    assert "encrypted sums" in text
    assert "all rows at one place" in text
    assert "finished" in text


def test_which_view(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_view("off") is None
    assert isinstance(make_view("lines"), LinesView)
    assert isinstance(make_view("table"), TableView)
    monkeypatch.setattr(live.sys.stdout, "isatty", lambda: False, raising=False)
    assert isinstance(make_view("auto"), LinesView)
    monkeypatch.setattr(live.sys.stdout, "isatty", lambda: True, raising=False)
    assert isinstance(make_view("auto"), TableView)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)
    with pytest.raises(vs.BackendUnavailableError, match=r"pip install .\.\[train\]. in Veilsum"):
        TableView()


def test_tensorboard_reads_the_events_back(make_run: Callable[..., Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = make_run(methods=(ENCRYPTED, PLAINTEXT))
    replay(EventsWriter(), folder)
    for method in (ENCRYPTED, PLAINTEXT):
        events = EventAccumulator(str(folder / "events" / method))
        events.Reload()
        points = [(event.step, event.value) for event in events.Scalars("score/auc")]
        assert points == [
            (1, pytest.approx(0.81)),
            (2, pytest.approx(0.82)),
            (3, pytest.approx(0.83)),
        ]
        assert events.Scalars("bytes/upload")[0].value == pytest.approx(137_019)
        assert events.Scalars("seconds/train")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"clipped": 700}, ""),  # 1 % of 2 * 35,585 values is 711
        ({"clipped": 712}, "1.0% of the values in all uploads were clipped"),
        ({"zeroed": 35_200}, ""),
        ({"zeroed": 35_300}, "In 3 of 3 rounds the opened update was 0 nearly everywhere"),
        ({"zeroed": 35_300, "skipped": REASON}, ""),
    ],
)
def test_ranges_that_did_not_fit_are_told(
    make_run: Callable[..., Path], change: dict[str, Any], words: str
) -> None:
    folder = make_run()
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    records = [record | change for record in records]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    stream = io.StringIO()
    replay(LinesView(stream), folder)
    note = range_note(json.loads((folder / "run.json").read_text()), records)
    assert note.startswith(words)
    assert bool(note) == bool(words)
    assert not note or note in stream.getvalue()
