"""Dispatch: finds the command, parses its options, turns errors into one line and an exit code.

Layer: command line, top. It knows the names of the commands and nothing of what they do.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final, NamedTuple, NoReturn, Protocol

from veilsum import __version__
from veilsum.cli.common import warnings_as_lines
from veilsum.cli.remedies import in_options
from veilsum.cli.streams import steady_streams
from veilsum.errors import (
    BackendUnavailableError,
    HeadroomError,
    KeyMismatchError,
    ParameterError,
    RoundError,
    WireFormatError,
    missing_extra,
    one_line,
)

__all__ = ["EXIT_CODES", "main"]


class _Command(NamedTuple):
    group: str
    module: str
    help: str


_COMMANDS: Final = {
    "doctor": _Command(
        "Start here", "veilsum.cli.commands.doctor", "Say what this machine and build can do."
    ),
    "plan": _Command(
        "Start here", "veilsum.cli.commands.plan", "Choose parameters and explain them."
    ),
    "keygen": _Command(
        "The authority", "veilsum.cli.commands.keygen", "Make the authority's key pair."
    ),
    "round": _Command("The authority", "veilsum.cli.commands.round", "Describe a new sum."),
    "open": _Command(
        "The authority", "veilsum.cli.commands.open", "Open an encrypted sum; gives its sum key."
    ),
    "identity": _Command(
        "A client", "veilsum.cli.commands.identity", "Make or show a party's identity."
    ),
    "encrypt": _Command("A client", "veilsum.cli.commands.encrypt", "Encrypt one update."),
    "decrypt": _Command(
        "A client", "veilsum.cli.commands.decrypt", "Decrypt a sum with its sum key."
    ),
    "group": _Command(
        "A client", "veilsum.cli.commands.group", "Make or check the keys that clients share."
    ),
    "combine": _Command(
        "A client", "veilsum.cli.commands.combine", "Combine members' answers to a sum key."
    ),
    "blame": _Command(
        "A client", "veilsum.cli.commands.blame", "Say who spoiled a round, as far as it shows."
    ),
    "sum": _Command("The aggregator", "veilsum.cli.commands.sum", "Sum uploads; needs no key."),
    "request": _Command(
        "The aggregator", "veilsum.cli.commands.request", "Ask each member of the committee."
    ),
    "certify": _Command(
        "The aggregator", "veilsum.cli.commands.certify", "Put endorsements together."
    ),
    "endorse": _Command(
        "A committee's member", "veilsum.cli.commands.endorse", "Give your word for one sum."
    ),
    "answer": _Command(
        "A committee's member", "veilsum.cli.commands.answer", "Answer a certificate."
    ),
    "challenge": _Command(
        "A committee's member",
        "veilsum.cli.commands.challenge",
        "Open the challenges of a spoiled round.",
    ),
    "lost": _Command(
        "A committee's member", "veilsum.cli.commands.lost", "Note that a certified sum was lost."
    ),
    "train": _Command(
        "The main job",
        "veilsum.cli.commands.train",
        "Train one model over several clouds, with encrypted aggregation.",
    ),
    "new": _Command(
        "The main job",
        "veilsum.cli.commands.new",
        "Write a project of your own: data, model, config.",
    ),
    "compare": _Command(
        "The main job",
        "veilsum.cli.commands.compare",
        "Run the paper's experiments: leakage, costs, AES, accuracy.",
    ),
}

#: Exit code and meaning; `--help` prints it and docs/command-line.md repeats it.
EXIT_CODES: Final = {
    0: "done, also where the reader of its output left early",
    1: "unexpected failure",
    2: "wrong usage of the command line",
    3: "an option does not fit: out of range, beyond the plan, or a file not to be used",
    4: "a file is missing, unreadable, in the way, or its content is not what it should be",
    5: "a key that does not belong to this round or sum",
    6: "a rule of the round refuses it (too few clients, no signature, opened before, ...)",
    7: "an engine, instruction set or optional package is missing",
    130: "interrupted",
}

_EXAMPLES: Final = """\
Example: three hospitals, one sum
  veilsum plan --clients 3 --bits 16 --out plan.vs
  veilsum keygen --plan plan.vs --out authority             # authority.key, authority.pub
  veilsum round --plan plan.vs --public authority.pub --like update.npy --limit 1.0 --out round.vs
  veilsum encrypt round.vs update-a.npy --out a.up          # at each hospital
  veilsum sum round.vs a.up b.up c.up --out total.vs        # at the aggregator: no key
  veilsum open --key authority.key round.vs total.vs --out sum.key
  veilsum decrypt sum.key round.vs total.vs --out mean.npy"""


class _UsageError(Exception):
    """Raised instead of argparse's exit, so that every error leaves by one door."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message} (see '{self.prog} --help')")


class _CommandModule(Protocol):
    """What a command's module offers."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, without the program's name; by default those of the process.

    Returns
    -------
    int
        The exit code, one of `EXIT_CODES`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    want_traceback = "--traceback" in arguments or os.environ.get("VEILSUM_TRACEBACK") == "1"
    with steady_streams():
        try:
            code = _dispatch(arguments)
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = _tell("interrupted", 130)
        except Exception as error:
            if want_traceback:
                traceback.print_exc()
            usage = isinstance(error, _UsageError)
            text = " ".join(str(error).splitlines()) if usage else in_options(one_line(error))
            code = _tell(f"error: {text}", _exit_code(error))
    return code


def _tell(message: str, code: int) -> int:
    # Where standard error cannot be written either, the exit code is all that is left to say.
    with contextlib.suppress(OSError):
        print(f"veilsum: {message}", file=sys.stderr, flush=True)
    return code


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        print(_overview())
        return 2
    first, rest = arguments[0], arguments[1:]
    if first in ("-h", "--help"):
        print(_overview())
        return 0
    if first == "help":
        if not rest:
            print(_overview())
            return 0
        first, rest = rest[0], ["--help"]
    if first in ("-V", "--version"):
        print(f"veilsum {__version__}")
        return 0
    if first.startswith("-"):
        raise _UsageError(f"{first} must come after a command (see 'veilsum --help')")
    if first not in _COMMANDS:
        close = difflib.get_close_matches(first, _COMMANDS, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise _UsageError(f"there is no command '{first}'{hint} (see 'veilsum --help')")
    module = _import(first)
    parser = _Parser(
        prog=f"veilsum {first}",
        description=_description(module),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # A command may give one of the common options a meaning of its own.
        conflict_handler="resolve",
    )
    _add_common(parser)
    module.add_arguments(parser)
    try:
        options = parser.parse_args(rest)
    except SystemExit as leave:  # argparse after --help
        return leave.code if isinstance(leave.code, int) else 0
    with warnings_as_lines():
        return module.run(options)


def _import(name: str) -> _CommandModule:
    module = _COMMANDS[name].module
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as reason:
        missing = reason.name or "?"
        if missing.split(".")[0] == "veilsum":
            raise
        raise missing_extra(f"veilsum {name}", missing, "train") from reason


def _add_common(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("common options")
    group.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    group.add_argument(
        "--threads", type=int, metavar="N", help="threads to use (default: all cores)"
    )
    group.add_argument(
        "--traceback", action="store_true", help="show where an error came from, for a bug report"
    )


def _description(module: _CommandModule) -> str:
    """Take a command's description from its module's docstring."""
    return (module.__doc__ or "").strip()


def _overview() -> str:
    lines = [
        "usage: veilsum COMMAND [options]",
        "",
        "Sum model updates that nobody but their owners can read.",
    ]
    group = ""
    for name, command in _COMMANDS.items():
        if command.group != group:
            group = command.group
            lines += ["", group]
        lines.append(f"  {name:<10}{command.help}")
    lines += ["", *_EXAMPLES.splitlines(), "", "Exit codes"]
    lines += [f"  {code:<5}{meaning}" for code, meaning in EXIT_CODES.items()]
    lines += [
        "",
        "veilsum COMMAND --help explains a command; veilsum --version prints the version.",
        "Every command takes -q/--quiet, --threads N and --traceback (or VEILSUM_TRACEBACK=1).",
    ]
    return "\n".join(lines)


def _exit_code(error: Exception) -> int:
    """Return the exit code of an exception."""
    codes: list[tuple[type[Exception], int]] = [
        (_UsageError, 2),
        (ParameterError, 3),
        (HeadroomError, 3),
        (WireFormatError, 4),
        (KeyMismatchError, 5),
        (RoundError, 6),
        (BackendUnavailableError, 7),
        (OSError, 4),
    ]
    return next((code for kind, code in codes if isinstance(error, kind)), 1)
