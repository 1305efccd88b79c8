"""`veilsum new`: what it writes runs, and it writes over nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import veilsum as vs
from veilsum.cli import main
from veilsum.training.project import write_project


def test_what_is_written_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    project = tmp_path / "mine"
    assert main(["new", str(project)]) == 0
    assert "veilsum train config.toml" in capsys.readouterr().out
    monkeypatch.chdir(project)
    settings = ["run.live=off", "run.device=cpu", "run.name=first", "training.rounds=2"]
    assert main(["train", "config.toml", *(f"--set={one}" for one in settings)]) == 0
    run = json.loads((project / "runs" / "first" / "run.json").read_text())
    assert run["status"] == "finished"
    assert [cloud["name"] for cloud in run["clouds"]] == [
        "cloud 1 (coast)", "cloud 2 (north)", "cloud 3 (south)",
    ]  # fmt: skip
    assert (project / "runs" / "first" / "report.html").is_file()


def test_the_table_is_the_same_each_time_and_within_its_ranges(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_project(tmp_path / name)
    one, two = (tmp_path / name / "example.csv" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    rows = list(csv.DictReader(one.open()))
    assert len(rows) == 600
    assert {row["outcome"] for row in rows} == {"0", "1"}
    assert all(18 <= float(row["age"]) <= 100 for row in rows)
    assert any(not row["pressure"] for row in rows)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(vs.ParameterError, match="is there and not empty"):
        write_project(tmp_path)
    with pytest.raises(vs.ParameterError, match="is there and not empty"):
        write_project(tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
