"""A run's folder: made fresh, never overwritten, whole after every interruption.

Training, bottom. `veilsum.run_names` says what the files are called and what each is.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from veilsum.errors import ParameterError
from veilsum.layout.files import atomic_file
from veilsum.run_names import CONFIG, SUMMARY
from veilsum.training.config import TrainConfig


def create_run_directory(config: TrainConfig, study: str = "") -> Path:
    """Make the folder of a new run and write its configuration.

    Parameters
    ----------
    config : TrainConfig
        `run.directory` and `run.name` say where; without a name it is the study and the time,
        with a number after it when that is taken.
    study : str
        The study's own name for that, such as that of synthetic rows; empty for the configured.

    Returns
    -------
    Path
        The new folder.

    Raises
    ------
    veilsum.ParameterError
        When the configured name is taken.
    OSError
        When the folder cannot be made.
    """
    parent = Path(config.run.directory)
    parent.mkdir(parents=True, exist_ok=True)
    if config.run.name:
        folder = parent / config.run.name
        try:
            folder.mkdir()
        except FileExistsError:
            raise ParameterError(
                f"{folder} exists; runs are never overwritten: choose another run.name, or leave "
                "it out to get a fresh one"
            ) from None
    else:
        folder = fresh_folder(parent, study or config.data.study)
    write_whole(folder / CONFIG, config.to_toml())
    return folder


def fresh_folder(parent: Path, name: str) -> Path:
    """Make a folder named after something and the time, with a number where that is taken.

    Parameters
    ----------
    parent : Path
        Where to make it; made where it is missing.
    name : str
        What it is named after.

    Raises
    ------
    OSError
        When it cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    number = 1
    while True:
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that readers see the old content or the new, never a part.

    Parameters
    ----------
    path : Path
        The file.
    text : str
        Its content.

    Raises
    ------
    OSError
        When it cannot be written; an old file stays as it was.
    """
    with atomic_file(path) as file:
        file.write(text.encode())


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write run.json.

    Parameters
    ----------
    folder : Path
        The run's folder.
    summary : dict
        JSON values.
    """
    write_whole(folder / SUMMARY, json.dumps(summary, indent=2, allow_nan=False) + "\n")
