"""What several commands share: the report at the end, refusing to overwrite, number formats.

Layer: command line, under the commands. Results go to standard output, everything else to standard
error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from veilsum.api.large_files import journal_path
from veilsum.api.threads import core_threads
from veilsum.cli.remedies import in_options
from veilsum.errors import ParameterError, VeilsumWarning

__all__ = [
    "add_force",
    "add_json",
    "add_resume",
    "check_ending",
    "check_threads",
    "note",
    "print_table",
    "refuse_existing",
    "report",
    "resumable",
    "warnings_as_lines",
]


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json to a command.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument("--json", action="store_true", help="print one JSON object, for scripts")


def add_force(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --force to a command that refuses to overwrite.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    what : str
        What would be lost.
    """
    parser.add_argument("--force", action="store_true", help=f"overwrite {what} that exists")


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Add --resume to a command that writes a large file.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep a journal beside the output; after an interruption the same command goes on",
    )


@contextmanager
def resumable(args: argparse.Namespace) -> Iterator[None]:
    """Tell how to go on when work with --resume is interrupted.

    Parameters
    ----------
    args : Namespace
        The parsed options: --resume and --out.

    Yields
    ------
    None
        While the work is done.
    """
    try:
        yield
    except (KeyboardInterrupt, OSError, MemoryError) as error:
        journal = journal_path(args.out)
        if args.resume and os.path.lexists(journal):
            stopped = "interrupted" if isinstance(error, KeyboardInterrupt) else "stopped"
            note(args, f"{stopped}; the same command with --resume goes on from {journal}")
        raise


def check_threads(args: argparse.Namespace) -> int | None:
    """Read --threads.

    Parameters
    ----------
    args : Namespace
        The parsed options.

    Returns
    -------
    int or None
        The number, or None for all cores.

    Raises
    ------
    ParameterError
        When it is below 1, or more than the core takes.
    """
    threads: int | None = args.threads
    try:
        core_threads(threads)
    except ParameterError as reason:
        raise ParameterError(f"--{reason}") from None
    return threads


def check_ending(name: str, *endings: str) -> None:
    """Refuse a name that already ends as the files that are made from it will.

    Parameters
    ----------
    name : str
        What the user gave.
    *endings : str
        What is put behind it.

    Raises
    ------
    ParameterError
        Naming the file that it would make.
    """
    for ending in endings:
        if name.endswith(ending):
            raise ParameterError(
                f"{name} would make {name}{ending}; give the name without {ending}: {endings[0]} "
                f"and {endings[1]} are added to it"
            )


def refuse_existing(paths: Sequence[str], *, force: bool) -> None:
    """Refuse to overwrite files that cannot be made again.

    Parameters
    ----------
    paths : sequence of str
        What is about to be written.
    force : bool
        Whether the user said --force.

    Raises
    ------
    FileExistsError
        Naming the first file that exists.
    """
    if force:
        return
    for path in paths:
        if os.path.lexists(path):
            raise FileExistsError(
                17, "File exists; --force overwrites it, and what it holds is lost", path
            )


def report(args: argparse.Namespace, text: str, facts: Mapping[str, Any]) -> None:
    """Print what a command did.

    Parameters
    ----------
    args : Namespace
        The parsed options: --json prints `facts`, --quiet nothing, neither prints `text`.
    text : str
        For people.
    facts : mapping
        For scripts; must be JSON.
    """
    if getattr(args, "json", False):
        print(json.dumps(facts, indent=2))
    elif not args.quiet:
        print(text)


def note(args: argparse.Namespace, text: str) -> None:
    """Print something the user should know, to standard error.

    Parameters
    ----------
    args : Namespace
        The parsed options; --quiet does not silence a note.
    text : str
        One line.
    """
    del args
    print(f"veilsum: note: {text}", file=sys.stderr)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each warning of Veilsum as one line on standard error; --quiet does not silence it.

    Yields
    ------
    None
        While the command works.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always", VeilsumWarning)
        before = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, VeilsumWarning):
                print(f"veilsum: warning: {in_options(str(message))}", file=sys.stderr)
            else:
                before(message, category, *place, **more)

        warnings.showwarning = show
        yield


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values, in colour on a terminal that has the package rich.

    Parameters
    ----------
    rows : sequence of (str, str)
        An empty name continues the row above.
    """
    if sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.table import Table
        except ImportError:
            pass
        else:
            table = Table(box=None, show_header=False, pad_edge=False)
            table.add_column(style="bold cyan", no_wrap=True)
            table.add_column(overflow="fold")
            for name, value in rows:
                # Text, not markup: a compiler's name may hold brackets.
                table.add_row(name, value.replace("[", r"\["))
            Console().print(table)
            return
    width = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        print(f"{name:<{width}}{value}".rstrip())
