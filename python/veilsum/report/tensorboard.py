"""TensorBoard events of a run.

Report layer. An observer of the training loop; it only reads records.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veilsum.errors import missing_extra
from veilsum.report.measures import measures_of
from veilsum.report.run_files import Record
from veilsum.run_names import EVENTS

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_ALWAYS = ("train_loss", "clipped")


class EventsWriter:
    """Writes scores, seconds and bytes, one series a method.

    Raises
    ------
    veilsum.BackendUnavailableError
        When tensorboard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing_extra("run.tensorboard", "tensorboard", "train") from error
        self._make = SummaryWriter
        self._folder = Path()
        self._mark = ""
        self._writers: dict[str, SummaryWriter] = {}

    def run_started(self, folder: Path, summary: Mapping[str, Any]) -> None:
        """Remember where to write, and whether the data are synthetic.

        Parameters
        ----------
        folder : Path
            The run's folder.
        summary : mapping
            As run.json has it.
        """
        self._folder = folder / EVENTS
        study = summary["study"]
        self._mark = str(study["title"]) if study.get("synthetic") else ""

    def round_finished(self, record: Record) -> None:
        """Write one round's numbers.

        Parameters
        ----------
        record : dict
            As metrics.jsonl has it.
        """
        method, number = record["method"], record["round"]
        if method not in self._writers:
            self._writers[method] = self._make(str(self._folder / method))
            if self._mark:
                self._writers[method].add_text("synthetic data", self._mark)
        writer = self._writers[method]
        for name in (*(measure.key for measure in measures_of(record)), *_ALWAYS):
            if record.get(name) is not None:  # a skipped round has no training loss
                writer.add_scalar(f"score/{name}", record[name], number)
        for group in ("seconds", "bytes"):
            for name, value in record[group].items():
                writer.add_scalar(f"{group}/{name}", value, number)
        writer.flush()

    def run_ended(self, summary: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Close the files.

        Parameters
        ----------
        summary : mapping
            As run.json has it.
        """
        for writer in self._writers.values():
            writer.close()
