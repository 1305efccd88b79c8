"""The command `veilsum train`: arguments in, a run and its report out.

Federated loop, the edge to the command line. Importing it is cheap; PyTorch is loaded when a run
begins, after the configuration was found right.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from veilsum.errors import ParameterError, RoundError, missing_extra, one_line
from veilsum.options import read_toml
from veilsum.training.config import TrainConfig, with_overrides

if TYPE_CHECKING:
    from veilsum.training.run import Observer, TrainingRun

_T = TypeVar("_T")

INTERRUPTED = 130
"""Exit status after an interrupt, as shells have it: 128 + SIGINT."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.description = (
        "Train one model over several clouds whose updates are only ever summed under encryption. "
        "Without arguments: four clouds, the flchain study, a report in runs/."
    )
    parser.add_argument(
        "config",
        nargs="?",
        type=Path,
        metavar="config.toml",
        help="options that differ from the defaults (see --print-config)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="SECTION.OPTION=VALUE",
        help="change one option, for example --set training.rounds=5; may be repeated",
    )
    parser.add_argument(
        "--baseline",
        action="store_true",
        help="train once more with plaintext averaging, and on all rows at one place, to compare",
    )
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help="native or openfhe (with encryption.authority=single); short for --set "
        "encryption.engine=NAME",
    )
    parser.add_argument("--name", metavar="NAME", help="folder of this run under runs/")
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print the whole resolved configuration as TOML, with explanations, and stop",
    )
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FOLDER",
        help="go on with a run that was killed or interrupted, to the same result",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="make plots and report of an earlier run again, and stop",
    )


def read_config(args: argparse.Namespace) -> TrainConfig:
    """Resolve defaults, file and command line into one configuration.

    Parameters
    ----------
    args : argparse.Namespace
        As `add_arguments` declared them.

    Returns
    -------
    TrainConfig
        Checked.

    Raises
    ------
    veilsum.ParameterError
        When an option is unknown, of the wrong type or out of range.
    OSError
        When the file cannot be read.
    """
    values = read_toml(args.config) if args.config is not None else {}
    source = str(args.config) if args.config is not None else "command line"
    # Checked once without the command line, so that a message names the file that is wrong.
    TrainConfig.from_mapping(values, source)
    settings = list(args.settings)
    if args.baseline:
        settings.append("run.baseline=true")
    if getattr(args, "engine", None) is not None:
        settings.append(f"encryption.engine={args.engine}")
    # The command line's common options; absent when someone else's parser is used.
    if getattr(args, "threads", None) is not None:
        settings.append(f"run.threads={args.threads}")
    if getattr(args, "quiet", False):
        settings.append("run.live=off")
    merged = with_overrides(values, settings)
    if args.name is not None:
        merged.setdefault("run", {})["name"] = args.name
    return TrainConfig.from_mapping(merged, "command line" if settings else source)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Parameters
    ----------
    args : argparse.Namespace
        As `add_arguments` declared them.

    Returns
    -------
    int
        Exit status: 0, or 130 when an interrupt ended the run early. A report that cannot be made
        is a note; the run is whole without it.

    Raises
    ------
    veilsum.RoundError
        When every round was skipped: the model is the one that the run began with.
    veilsum.VeilsumError
        As the configuration and the run do, and the report where it is all that was asked for.
    OSError
        When files cannot be read or written.
    """
    from veilsum.report import write_report

    quiet = bool(getattr(args, "quiet", False))
    if args.report is not None:
        print(f"report: {write_report(args.report)}")
        return 0
    if args.resume is not None:
        if args.config is not None or args.settings or args.name or args.baseline or args.engine:
            raise ParameterError(
                "--resume goes on with the configuration of the run; leave out config.toml, --set, "
                "--name, --baseline and --engine"
            )
        config = _config_of(args.resume)
    else:
        config = read_config(args)
    if args.print_config:
        print(config.to_toml(), end="")
        return 0
    with terminate_as_interrupt():
        result = _train(config, args.resume, quiet=quiet)
    page = made_or_noted(
        lambda: write_report(result.folder),
        f"the run is whole, but no report could be made of it (again with: veilsum train --report "
        f"{result.folder})",
        trace=bool(getattr(args, "traceback", False)),
    )
    if page is not None and not quiet:
        print(f"report: {page}")
    if result.interrupted:
        return INTERRUPTED
    _require_a_round(result)
    return 0


def _require_a_round(result: TrainingRun) -> None:
    """Refuse to call a run done that summed nothing."""
    from veilsum.report.units import skipped_note
    from veilsum.run_names import ENCRYPTED

    mine = [record for record in result.records if record["method"] == ENCRYPTED]
    if mine and all(record.get("skipped") for record in mine):
        raise RoundError(
            f"no round was summed, and the model in {result.folder} is untrained: "
            f"{skipped_note(result.summary, mine)}"
        )


def _config_of(folder: Path) -> TrainConfig:
    """Return the configuration of a run that is to go on."""
    path = folder / "config.toml"
    if not path.is_file():
        raise ParameterError(f"{folder} has no config.toml; it is no folder of veilsum train")
    return TrainConfig.load(path)


def _train(config: TrainConfig, before: Path | None, *, quiet: bool) -> TrainingRun:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise missing_extra("veilsum train", "torch", "train") from error
    from veilsum.report.live import make_view
    from veilsum.report.tensorboard import EventsWriter
    from veilsum.training.run import resume, train

    observers: list[Observer] = []
    view = make_view(config.run.live)
    if view is not None:
        observers.append(_Shielded(view, "the live view"))
    if config.run.tensorboard:
        observers.append(_Shielded(EventsWriter(), "the writing of TensorBoard events"))
    if not quiet:
        print(f"sums are opened by {config.terms.who_opens}", file=sys.stderr)
        print("preparing: data, keys, encrypted statistics", file=sys.stderr, flush=True)
    progress = None if quiet else _reading()
    if before is not None:
        return resume(before, observers, progress)
    return train(config, observers, progress)


def made_or_noted(make: Callable[[], _T], otherwise: str, *, trace: bool = False) -> _T | None:
    """Make what may be missing; where that fails, print a note instead of raising.

    Parameters
    ----------
    make : callable
        Makes it.
    otherwise : str
        What to say when it could not; the reason follows.
    trace : bool
        Print where the failure came from, too.

    Returns
    -------
    object or None
        What was made; None when it failed.
    """
    try:
        return make()
    except Exception as error:
        if trace:
            traceback.print_exc()
        print(f"veilsum: note: {otherwise}: {one_line(error)}", file=sys.stderr, flush=True)
        return None


class _Shielded:
    """An observer that, when it fails, says so once and leaves the run alone."""

    def __init__(self, observer: Observer, what: str) -> None:
        self._observer: Observer | None = observer
        self._what = what

    def run_started(self, folder: Path, summary: Mapping[str, Any]) -> None:
        self._pass_on(lambda observer: observer.run_started(folder, summary))

    def round_finished(self, record: dict[str, Any]) -> None:
        self._pass_on(lambda observer: observer.round_finished(record))

    def run_ended(self, summary: Mapping[str, Any]) -> None:
        self._pass_on(lambda observer: observer.run_ended(summary))

    def _pass_on(self, tell: Callable[[Observer], None]) -> None:
        observer = self._observer
        if observer is None:
            return

        def told() -> bool:
            tell(observer)
            return True

        if not made_or_noted(told, f"{self._what} ended, the run goes on"):
            self._observer = None


_REPORT_S = 10.0


def _reading() -> Callable[[int, int], None]:
    """Make a progress that says every ten seconds how far a long reading is."""
    started = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _REPORT_S:
            return
        last = now
        left = (now - started) * (total - done) / max(done, 1)
        print(
            f"reading: {done / max(total, 1):.0%} of {total / 1e9:.3g} GB, "
            f"about {left:,.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    return report


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end a run like Ctrl-C does: after the last whole record, with a report."""

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever embeds the command handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
