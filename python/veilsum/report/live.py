"""The view of a run in the terminal: a live table, or plain lines where there is no terminal.

Report layer. An observer of the training loop; it only reads records.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from veilsum.errors import missing_extra
from veilsum.report.measures import MEASURES, kind_of, measures_of, signed
from veilsum.report.range_note import range_note
from veilsum.report.run_files import METHOD_TITLES, Record, phase_seconds, plaintext_difference
from veilsum.report.units import format_bytes, format_loss, format_seconds, skipped_note
from veilsum.run_names import CLASSES, ENCRYPTED, YES_OR_NO

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

_CRYPTO = ("encrypt", "aggregate", "open", "decrypt")


def _crypto_seconds(record: Record) -> float:
    return sum(phase_seconds(record, phase) for phase in _CRYPTO)


def _of(records: Sequence[Record], method: str) -> list[Record]:
    return [record for record in records if record["method"] == method]


def _headline(summary: Mapping[str, Any]) -> str:
    plan, model = summary["plan"], summary["model"]
    rows = "/".join(str(cloud["rows"]) for cloud in summary["clouds"])
    study = summary["study"]
    mark = "SYNTHETIC DATA: " if study.get("synthetic") else ""
    return (
        f"{mark}{study['name']}: {len(summary['clouds'])} clouds "
        f"({rows} {study.get('rows_are', 'patients')}), "
        f"{model['values']:,} values an update at {plan['value_bits']} bits, "
        f"{plan['security']}-bit security"
    )


def _outcome(summary: Mapping[str, Any]) -> str:
    final = summary.get("final", {})
    if ENCRYPTED not in final:
        return "no round was finished"
    mine = final[ENCRYPTED]
    measures, unit = measures_of(mine), str(summary["study"].get("unit", ""))
    shown = []
    for measure in measures:
        error = mine.get("auc_standard_error") if measure.key == "auc" else None
        most = "at most " if kind_of(mine) == CLASSES else ""
        beside = "" if error is None else f" (standard error {most}{error:.3f})"
        guess = mine.get(measure.guess) if measure.guess else None
        if guess is not None:
            beside = f" ({measure.guess_name}: {measure.show(guess, unit)})"
        shown.append(f"{measure.name} {measure.show(mine.get(measure.key), unit)}{beside}")
    text = f"{', '.join(shown)} after round {mine['round']}"
    difference = plaintext_difference(final, measures)
    if difference is not None and summary["status"] == "finished":
        text += (
            f"; {measures[0].name} {signed(measures[0], difference, unit)} compared with plaintext "
            "averaging"
        )
    return text + (" (synthetic data)" if summary["study"].get("synthetic") else "")


def _scores(record: Record, unit: str) -> list[tuple[str, str]]:
    """Return a record's scores, by name, as they are shown."""
    return [(one.name, one.show(record.get(one.key), unit)) for one in measures_of(record)]


def _notes(summary: Mapping[str, Any], records: Sequence[Record]) -> list[str]:
    """Return what the user should know of a run that is over."""
    mine = _of(records, ENCRYPTED)
    notes = [skipped_note(summary, mine), range_note(summary, mine)]
    return [note for note in notes if note]


class LinesView:
    """Prints one line a round.

    Parameters
    ----------
    stream : text file, optional
        Where to; standard output by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._rounds = 0
        self._unit = ""
        self._records: list[Record] = []

    def run_started(self, folder: Path, summary: Mapping[str, Any]) -> None:
        """Print what runs and where.

        Parameters
        ----------
        folder : Path
            The run's folder.
        summary : mapping
            As run.json has it.
        """
        self._rounds = int(summary["configuration"]["training"]["rounds"])
        self._unit = str(summary["study"].get("unit", ""))
        self._print(_headline(summary))
        self._print(f"writing to {folder}")

    def round_finished(self, record: Record) -> None:
        """Print one line.

        Parameters
        ----------
        record : dict
            As metrics.jsonl has it.
        """
        self._records.append(record)
        head = f"{METHOD_TITLES[record['method']]}  round {record['round']:>3}/{self._rounds}  "
        scores = [f"{name.lower()} {value}" for name, value in _scores(record, self._unit)]
        if record.get("skipped"):
            self._print(f"{head}{scores[0]} as before  skipped: {record['skipped']}")
            return
        line = f"{head}{'  '.join(scores)}  train loss {format_loss(record['train_loss'])}  "
        if record["clouds"]:
            line += (
                f"clipped {record['clipped']}  "
                f"upload {format_bytes(record['bytes'].get('upload', 0))}  "
                f"crypto {format_seconds(_crypto_seconds(record))}  "
            )
        self._print(line + f"round {format_seconds(phase_seconds(record, 'total'))}")

    def run_ended(self, summary: Mapping[str, Any]) -> None:
        """Print the final scores.

        Parameters
        ----------
        summary : mapping
            As run.json has it.
        """
        self._print(f"{summary['status']}: {_outcome(summary)}")
        for note in _notes(summary, self._records):
            self._print(note)

    def _print(self, line: str) -> None:
        # Flushed, so that a pipe shows rounds as they end.
        print(line, file=self._stream, flush=True)


class TableView:
    """Shows the last rounds in a table that follows the run, on a terminal.

    Raises
    ------
    veilsum.BackendUnavailableError
        When rich is not installed.
    """

    def __init__(self) -> None:
        try:
            from rich.console import Console
            from rich.live import Live
        except ImportError as error:
            raise missing_extra("the live table", "rich", "train") from error
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False)
        self._summary: Mapping[str, Any] = {}
        self._folder = Path()
        self._records: list[Record] = []
        self._started = 0.0

    def run_started(self, folder: Path, summary: Mapping[str, Any]) -> None:
        """Begin the table.

        Parameters
        ----------
        folder : Path
            The run's folder.
        summary : mapping
            As run.json has it.
        """
        self._folder, self._summary = folder, summary
        self._started = time.perf_counter()
        self._live.start()
        self._show()

    def round_finished(self, record: Record) -> None:
        """Add a row.

        Parameters
        ----------
        record : dict
            As metrics.jsonl has it.
        """
        self._records.append(record)
        self._show()

    def run_ended(self, summary: Mapping[str, Any]) -> None:
        """Leave the table as it is and print the final scores.

        Parameters
        ----------
        summary : mapping
            As run.json has it.
        """
        self._show(final=True)
        self._live.stop()
        colour = "green" if summary["status"] == "finished" else "yellow"
        self._console.print(
            f"[bold {colour}]{summary['status']}[/]: {_outcome(summary)}", highlight=False
        )
        for note in _notes(summary, self._records):
            self._console.print(note, style="yellow", highlight=False, markup=False)

    def _show(self, *, final: bool = False) -> None:
        self._live.update(self._render(final=final), refresh=True)

    def _render(self, *, final: bool) -> Group:
        from rich.console import Group
        from rich.text import Text

        parts: list[Any] = [
            Text(_headline(self._summary), style="bold"),
            Text(f"writing to {self._folder}", style="dim"),
        ]
        methods = list(dict.fromkeys(record["method"] for record in self._records))
        for method in methods[:-1]:
            last = _of(self._records, method)[-1]
            name, value = _scores(last, str(self._summary["study"].get("unit", "")))[0]
            parts.append(Text(f"{METHOD_TITLES[method]}: {name} {value} in round {last['round']}"))
        current = methods[-1] if methods else ENCRYPTED
        parts.append(self._table(current))
        skipped = [one for one in _of(self._records, current) if one.get("skipped")]
        if skipped and not final:
            last = skipped[-1]
            parts.append(
                Text(
                    f"{len(skipped)} skipped; the last, round {last['round']}: {last['skipped']}",
                    style="yellow",
                )
            )
        if not final:
            parts.append(self._progress())
        return Group(*parts)

    def _progress(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        options = self._summary["configuration"]
        methods = len(METHOD_TITLES) if options["run"]["baseline"] else 1
        planned, done = options["training"]["rounds"] * methods, len(self._records)
        text = f"{done} of {planned} rounds"
        if 0 < done < planned:
            left = (time.perf_counter() - self._started) / done * (planned - done)
            text += f", about {format_seconds(left)} left"
        line = Table.grid(padding=(0, 1))
        line.add_row(ProgressBar(total=planned, completed=done, width=32), Text(text, style="dim"))
        return line

    def _table(self, method: str) -> Table:
        from rich import box
        from rich.table import Table

        table = Table(
            box=box.SIMPLE_HEAD,
            padding=(0, 0, 0, 1),
            pad_edge=False,
            header_style="bold",
            title=METHOD_TITLES[method],
            title_justify="left",
            title_style="bold",
        )
        records = _of(self._records, method)
        measures = measures_of(records[-1]) if records else MEASURES[YES_OR_NO]
        columns = (
            "round",
            *(measure.name.replace(" ", "\n", 1) for measure in measures),
            "train\nloss",
            "clipped",
            "upload",
            "training",
        )
        for name in columns:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("crypto", justify="right", no_wrap=True, style="cyan")
        # Room for headline, header, progress and the shell's prompt; at least a few rows.
        for record in records[-max(self._console.height - 13, 3) :]:
            encrypted = bool(record["clouds"])
            sent = record["bytes"].get("upload")
            table.add_row(
                str(record["round"]),
                *(measure.show(record.get(measure.key)) for measure in measures),
                format_loss(record["train_loss"]),
                "skipped" if record.get("skipped") else str(record["clipped"]) if encrypted else "",
                format_bytes(sent) if sent else "",
                format_seconds(phase_seconds(record, "train")),
                format_seconds(_crypto_seconds(record)) if encrypted else "",
                style="yellow" if record.get("skipped") else None,
            )
        return table


def make_view(kind: str) -> LinesView | TableView | None:
    """Make the view that a configuration asks for.

    Parameters
    ----------
    kind : str
        "table", "lines", "off", or "auto": a table on a terminal, lines elsewhere.

    Raises
    ------
    veilsum.BackendUnavailableError
        When a table is asked for by name and rich is not installed.
    """
    if kind == "off":
        return None
    if kind == "table" or (kind == "auto" and sys.stdout.isatty()):
        return TableView()
    return LinesView()
