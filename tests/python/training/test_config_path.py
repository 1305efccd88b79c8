"""The way of a configuration through `veilsum train`: few files, and few steps back.

Nobody who reads the code should have to keep many files open to know what an option does. A watched
run notes each file whose functions hold the configuration, in the order in which they do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

pytest.importorskip("torch")

from veilsum.cli import main
from veilsum.training.config import TrainConfig

MOST_FILES = 8
MOST_RETURNS = 10


class Way:
    """Files in which the configuration is at hand, one after another."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def __call__(self, frame: FrameType | None, event: str, argument: Any) -> None:
        del argument
        if event == "return" and frame is not None:
            frame = frame.f_back  # control goes back to who called
        elif event != "call":
            return
        if frame is None or "veilsum" not in Path(frame.f_code.co_filename).parts:
            return
        if any(isinstance(value, TrainConfig) for value in frame.f_locals.values()):
            file = frame.f_code.co_filename
            if not self.files or self.files[-1] != file:
                self.files.append(file)


@pytest.mark.slow
def test_config_is_followed_with_few_steps_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (
        "training.rounds=1", "data.clouds=3", "run.live=off", "run.tensorboard=false",
        "run.baseline=true", "run.name=it", "model.hidden=[4]", "run.device=cpu",
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    arguments = [word for setting in settings for word in ("--set", setting)]
    way = Way()
    before = sys.getprofile()
    sys.setprofile(way)
    try:
        code = main(["train", *arguments])
    finally:
        sys.setprofile(before)
    assert code == 0
    assert len(way.files) > 8  # it was watched
    files = set(way.files)
    assert len(files) <= MOST_FILES, files
    assert len(way.files) - len(files) <= MOST_RETURNS, way.files
