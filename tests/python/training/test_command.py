"""`veilsum train` as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from veilsum import ParameterError
from veilsum.cli import main
from veilsum.layout.files import read_update
from veilsum.layout.tensors import NamedTensors
from veilsum.options import read_toml
from veilsum.training.config import TrainConfig

SMALL = [
    "--set",
    "training.rounds=2",
    "--set",
    "model.hidden=[4]",
    "--set",
    "training.batch_size=512",
    "--set",
    "run.device=cpu",
]


def test_print_config_is_a_configuration(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["train", "--print-config", "--set", "training.rounds=3", "--baseline"]) == 0
    text = capsys.readouterr().out
    path = tmp_path / "printed.toml"
    path.write_text(text)
    config = TrainConfig.load(path)
    assert config.training.rounds == 3
    assert config.run.baseline
    assert text.count("#") > 30


def test_the_command_line_goes_over_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[training]\nrounds = 5\nepochs = 4\n[run]\nname = 'from-file'\n")
    arguments = ["train", str(path), "--set", "training.rounds=6", "--name", "typed"]
    assert main([*arguments, "--print-config"]) == 0
    printed = tmp_path / "printed.toml"
    printed.write_text(capsys.readouterr().out)
    values = read_toml(printed)
    assert values["training"]["rounds"] == 6
    assert values["training"]["epochs"] == 4
    assert values["run"]["name"] == "typed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "training.round=1"], "did you mean 'rounds'?"),
        (["--set", "training.rounds"], "section.option=value"),
        (["missing.toml"], "missing.toml"),
        (["--report", "nowhere"], "is no folder of a training run"),
        (["--set", "data.leave_out=['futime']", *SMALL], "no feature 'futime'"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) not in (0, 1, 130)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_a_wrong_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[training]\nroundz = 5\n")
    assert main(["train", str(path), "--set", "training.epochs=1"]) == 3
    assert "wrong.toml: unknown option training.roundz" in capsys.readouterr().err


def test_a_small_run_and_its_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--name", "small", *SMALL]) == 0
    output = capsys.readouterr().out
    assert "round   2/2" in output
    assert "finished: AUC" in output
    folder = tmp_path / "runs" / "small"
    for name in ("config.toml", "run.json", "metrics.jsonl", "model.safetensors", "report.html"):
        assert (folder / name).stat().st_size > 0
    for plot in ("auc", "loss", "bytes", "seconds"):
        assert (folder / "plots" / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / "plots" / f"{plot}.svg").stat().st_size > 0
    assert list((folder / "events").rglob("events.out.tfevents.*"))

    (folder / "report.html").unlink()
    assert main(["train", "--report", str(folder)]) == 0
    assert (folder / "report.html").exists()

    assert main(["train", "--name", "small", *SMALL]) == 3
    assert "never overwritten" in capsys.readouterr().err


def test_a_report_that_fails_is_a_note_and_the_run_is_finished(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from veilsum import report

    def fail(folder: Path) -> Path:
        raise KeyError("background")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "write_report", fail)
    assert main(["train", "--name", "small", *SMALL]) == 0
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("veilsum: note: the run is whole, but no report could be made of it")
    assert "veilsum train --report runs/small" in error
    assert "KeyError: 'background'" in error
    summary = json.loads((tmp_path / "runs" / "small" / "run.json").read_text())
    assert summary["status"] == "finished"
    # Asked for alone, the report is the work, and its failure the command's.
    assert main(["train", "--report", "runs/small"]) == 1


@pytest.mark.parametrize("method", ["run_started", "round_finished", "run_ended"])
def test_a_view_that_fails_leaves_the_run_alone(
    method: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from veilsum.report.live import LinesView
    from veilsum.report.tensorboard import EventsWriter

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "events.1")

    monkeypatch.chdir(tmp_path)
    for observer in (LinesView, EventsWriter):
        monkeypatch.setattr(observer, method, fail)
    assert main(["train", "--name", "small", *SMALL, "--set", "run.live=lines"]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if "note" in line]
    assert notes == [
        f"veilsum: note: {what} ended, the run goes on: events.1: No space left on device"
        for what in ("the live view", "the writing of TensorBoard events")
    ]
    summary = json.loads((tmp_path / "runs" / "small" / "run.json").read_text())
    assert summary["status"] == "finished"
    assert (tmp_path / "runs" / "small" / "report.html").exists()


@pytest.mark.parametrize(
    "settings",
    [
        ["training.learning_rate=1e20"],
        ["training.learning_rate=1e8", "training.optimiser=sgd"],
        ["aggregation.server_learning_rate=1e30"],
        ["aggregation.server_learning_rate=1e300"],
    ],
)
def test_divergence_is_a_sentence(
    settings: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = [word for setting in settings for word in ("--set", setting)]
    assert main(["train", "--name", "far", *SMALL, *changes]) == 3
    error = capsys.readouterr().err.splitlines()[-1]
    assert "diverged" in error
    assert "lower training.learning_rate" in error
    assert "bug" not in error
    summary = json.loads((tmp_path / "runs" / "far" / "run.json").read_text())
    assert summary["status"] == "failed"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.learning_rate=1e39", "must be above 0 and at most 1e+30"),
        ("training.weight_decay=1e300", "must be between 0 and 1e+30"),
        ("training.proximal=1e300", "must be between 0 and 1e+30"),
        ("training.batch_size=1000000000000000000000", "must be between 1 and"),
        (
            "run.name=\udcff",
            r"run.name is a text of 1 characters; must be text that UTF-8 can hold",
        ),
    ],
)
def test_numbers_that_pytorch_cannot_hold_are_refused_before(
    setting: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--print-config", "--set", setting]) == 3
    assert message in capsys.readouterr().err


def test_no_memory_for_a_network_is_no_bug() -> None:
    from veilsum.errors import one_line

    said = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"
    assert one_line(RuntimeError(said)) == "out of memory"
    assert "a bug" in one_line(RuntimeError("shapes do not fit"))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_a_report(tmp_path: Path, how: signal.Signals) -> None:
    settings = [*SMALL[2:], "--set", "training.rounds=100000", "--name", "long"]
    process = subprocess.Popen(
        [sys.executable, "-m", "veilsum", "train", *settings],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    metrics = tmp_path / "runs" / "long" / "metrics.jsonl"
    try:
        deadline = time.monotonic() + 120
        while not metrics.exists() or metrics.read_bytes().count(b"\n") < 3:
            assert time.monotonic() < deadline, "no rounds were finished"
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        process.send_signal(how)
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, output
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [record["round"] for record in records] == list(range(1, len(records) + 1))
    assert json.loads((metrics.parent / "run.json").read_text())["status"] == "interrupted"
    page = (metrics.parent / "report.html").read_text()
    assert f"interrupted after {len(records)} of 100000 rounds" in page


def test_a_long_reading_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from veilsum.cli.commands import train as command

    now = [100.0]
    monkeypatch.setattr(command.time, "monotonic", lambda: now[0])
    report = command._reading()
    for second in range(30):
        now[0] = 100.0 + second
        report(int(second * 1e8), int(4e9))
    assert capsys.readouterr().err.splitlines() == [
        "reading: 25% of 4 GB, about 30 s left",
        "reading: 50% of 4 GB, about 20 s left",
    ]


def test_a_configuration_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    text = "[training]\nrounds = 5\n"
    path.write_text(text, encoding="utf-8-sig")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert read_toml(path) == {"training": {"rounds": 5}}
    path.write_text(text, encoding="utf-16")
    with pytest.raises(ParameterError, match="TOML is UTF-8: save the file with that encoding"):
        read_toml(path)


def test_a_run_that_summed_nothing_is_not_called_done(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    late = ["--set", "training.deadline_s=1e-9"]
    assert main(["train", "--name", "late", *SMALL, *late]) == 6
    said = capsys.readouterr()
    error = said.err.strip().splitlines()[-1]
    assert error.startswith("veilsum: error: no round was summed, and the model in runs/late is")
    assert "2 of 2 rounds were skipped" in error
    assert "training.deadline_s" in error
    assert (tmp_path / "runs" / "late" / "report.html").exists()


def test_a_limit_far_too_wide_is_told_in_terminal_and_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The opened mean was zero everywhere, and nothing said so."""
    monkeypatch.chdir(tmp_path)
    wide = ["--set", "encryption.limit=1e9", "--set", "encryption.rounding=nearest"]
    assert main(["train", "--name", "wide", *SMALL, *wide]) == 0
    said = capsys.readouterr()
    assert "In 2 of 2 rounds the opened update was 0 nearly everywhere" in said.out
    assert "Lower encryption.limit (now 1e+09" in said.out
    assert "veilsum: warning" not in said.err  # not once an upload
    page = (tmp_path / "runs" / "wide" / "report.html").read_text()
    assert "In 2 of 2 rounds the opened update was 0 nearly everywhere" in page

    assert main(["train", "--name", "narrow", *SMALL, "--set", "encryption.range=fixed",
                 "--set", "encryption.limit=1e-4"]) == 0  # fmt: skip
    said = capsys.readouterr()
    assert "of the values in all uploads were clipped" in said.out
    assert "raise encryption.limit (now 0.0001)" in said.out
    assert "veilsum: warning" not in said.err

    assert main(["train", "--name", "good", *SMALL]) == 0
    said = capsys.readouterr().out
    assert "clipped at the ends" not in said
    assert "nearly everywhere" not in said


def test_the_model_says_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--name", "small", *SMALL]) == 0
    model = read_update(tmp_path / "runs" / "small" / "model.safetensors")
    assert isinstance(model, NamedTensors)
    assert model.metadata == {"format": "pt"}
