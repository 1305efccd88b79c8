"""What a user does wrong, or a machine lacks, is a sentence and an exit code; never "a bug".

Standard streams that cannot show or hold what is printed, and disks that are full. The commands run
as processes of their own, because what counts is also what the interpreter says when it ends.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from veilsum.cli import main
from veilsum.cli.streams import steady_streams
from veilsum.errors import named_failures
from veilsum.layout.files import atomic_file, write_secret
from veilsum.training.metrics_log import MetricsLog

ASCII = {"PYTHONIOENCODING": "ascii"}


def veilsum(
    folder: Path,
    *words: str,
    shell: str = "",
    env: dict[str, str] | None = None,
    file_bytes: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; `shell` goes behind it, `file_bytes` is all that a file holds."""

    def limit() -> None:
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    line = f'"$@" {shell}'
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}", "bash", sys.executable, "-m", "veilsum", *words],
        cwd=folder,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )


def quiet_about_bugs(done: subprocess.CompletedProcess[str]) -> None:
    for said in ("bug", "Traceback", "Exception ignored"):
        assert said not in done.stdout + done.stderr, done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A round, and an update for it."""
    np.save(tmp_path / "update.npy", np.linspace(-1, 1, 5000).astype(np.float32))
    for words in (
        ["plan", "--clients", "2", "--out", "plan.vs"],
        ["keygen", "--plan", "plan.vs", "--out", "authority"],
        [
            "round", "--plan", "plan.vs", "--public", "authority.pub", "--like", "update.npy",
            "--limit", "1", "--out", "round.vs",
        ],
    ):  # fmt: skip
        done = veilsum(tmp_path, *words)
        assert done.returncode == 0, done.stderr
    return tmp_path


# Characters that the stream's encoding lacks.


def test_an_upload_with_a_name_that_ascii_lacks(folder: Path) -> None:
    done = veilsum(folder, "encrypt", "round.vs", "update.npy", "--out", "größe.up", env=ASCII)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("gr\\xf6\\xdfe.up: 5,000 values")
    assert (folder / "größe.up").stat().st_size > 5000
    quiet_about_bugs(done)


def test_errors_with_such_names(folder: Path) -> None:
    done = veilsum(folder, "encrypt", "fehlt-ü.vs", "update.npy", "--out", "a.up", env=ASCII)
    assert done.returncode == 4
    assert "fehlt-\\xfc.vs: " in done.stderr
    quiet_about_bugs(done)


def test_a_stream_that_is_strict_about_errors(folder: Path) -> None:
    done = veilsum(
        folder, "keygen", "--plan", "plan.vs", "--out", "ä",
        env={"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    quiet_about_bugs(done)


def test_bytes_that_are_no_text(folder: Path) -> None:
    name = os.fsdecode(b"\xff.up")
    done = veilsum(folder, "encrypt", "round.vs", "update.npy", "--out", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("\\udcff.up: 5,000 values")


@pytest.mark.parametrize("view", ["lines", "table"])
def test_a_training_on_an_ascii_terminal(tmp_path: Path, view: str) -> None:
    settings = [f"run.live={view}", "run.directory=läufe", "run.name=one", "training.rounds=1"]
    settings += ["model.hidden=[4]", "training.batch_size=512", "run.device=cpu"]
    words = [word for setting in settings for word in ("--set", setting)]
    done = veilsum(tmp_path, "train", *words, env=ASCII)
    assert done.returncode == 0, done.stderr
    assert "note" not in done.stderr
    assert "report: l\\xe4ufe/one/report.html" in done.stdout


# Readers that leave, streams that are closed or full.


@pytest.mark.parametrize(
    "words", [("plan", "--clients", "2"), ("--help",), ("train", "--print-config")]
)
def test_a_reader_that_leaves_early(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = veilsum(tmp_path, *words, shell="| head -c 1")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == 1
    assert done.stderr == ""
    # Nobody reads at all.
    done = veilsum(tmp_path, *words, shell="| true")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_leaves_does_not_end_a_training(tmp_path: Path) -> None:
    settings = ["run.live=lines", "run.name=one", "training.rounds=3", "model.hidden=[4]"]
    settings += ["training.batch_size=512", "run.device=cpu"]
    words = [word for setting in settings for word in ("--set", setting)]
    done = veilsum(tmp_path, "train", *words, shell="| head -1")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "one"
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3
    assert (folder / "report.html").exists()
    # Standard error may go there, too.
    done = veilsum(tmp_path, "train", *words, "--name", "two", shell="2>&1 | true")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stream", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(tmp_path: Path, stream: str) -> None:
    for code, words in ((0, ["plan", "--clients", "2"]), (0, ["--help"]), (2, ["nothing"])):
        done = veilsum(tmp_path, *words, shell=stream)
        assert done.returncode == code, done.stderr
        quiet_about_bugs(done)


def test_a_table_on_a_closed_stream(tmp_path: Path) -> None:
    assert veilsum(tmp_path, "doctor", shell=">&-").returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_full_streams(folder: Path) -> None:
    done = veilsum(folder, "plan", "--clients", "2", shell=">/dev/full")
    assert done.returncode == 4
    assert done.stderr == "veilsum: error: standard output: No space left on device\n"
    # The error of the command itself counts, also where nobody hears of it.
    assert veilsum(folder, "nothing", shell="2>/dev/full").returncode == 2


def test_the_streams_are_put_back() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    before = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = stream
    try:
        assert main(["plan", "--clients", "2"]) == 0
        assert sys.stdout is sys.stderr is stream
        with steady_streams():
            print("ö", file=sys.stdout)
        with pytest.raises(UnicodeEncodeError):
            print("ö", file=stream)
    finally:
        sys.stdout, sys.stderr = before
    stream.flush()
    assert b"Veilsum plan" in stream.buffer.getvalue()  # type: ignore[attr-defined]
    assert b"\\xf6\n" in stream.buffer.getvalue()  # type: ignore[attr-defined]


# Full disks.


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("plan", "--clients", "2", "--out", "out.vs"), "out.vs"),
        (("keygen", "--plan", "plan.vs", "--out", "other"), "other.key"),
        (("identity", "new", "me"), "me.key"),
        (("encrypt", "round.vs", "update.npy", "--out", "a.up"), "a.up"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_full_disk_is_named_with_the_file(
    folder: Path, words: tuple[str, ...], name: str
) -> None:
    before = {path.name for path in folder.iterdir()}
    done = veilsum(folder, *words, file_bytes=10)
    assert done.returncode == 4, done
    last = done.stderr.splitlines()[-1]
    assert name in last
    assert "File too large" in last
    quiet_about_bugs(done)
    # Nothing half-written is left.
    assert {path.name for path in folder.iterdir()} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_the_log_of_metrics_names_itself() -> None:
    with (
        MetricsLog(Path("/dev/full")) as log,
        pytest.raises(OSError, match="No space left on device: '/dev/full'"),
    ):
        log.append({"round": 1})


def test_files_that_are_written_whole_name_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"model\.npy"), atomic_file(tmp_path / "model.npy") as file:
        file.write(b"x")
    with pytest.raises(OSError, match="secret"):
        write_secret(tmp_path / "secret", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_known_stays() -> None:
    with pytest.raises(FileNotFoundError, match="inner"), named_failures("outer"):
        Path("inner").read_bytes()
    with pytest.raises(OSError, match="no number") as caught, named_failures("outer"):
        raise OSError("no number")
    assert caught.value.filename is None


def test_json_keeps_what_a_stream_cannot_show(folder: Path) -> None:
    done = veilsum(
        folder, "encrypt", "round.vs", "update.npy", "--out", "größe.up", "--json", env=ASCII
    )
    assert json.loads(done.stdout)["out"] == "größe.up"
