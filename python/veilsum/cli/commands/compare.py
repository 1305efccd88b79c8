"""Run the paper's experiments: figures 1 to 3, the AES table, accuracy.

All methods on the same data, model, seeds and rounds, on this machine. Writes a new folder with
report.html, report.md, figures and CSV files.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from veilsum.cli.commands.train import (
    INTERRUPTED,
    made_or_noted,
    read_config,
    terminate_as_interrupt,
)
from veilsum.errors import ParameterError, missing_extra
from veilsum.lab.compare.contenders import CONTENDERS, choose
from veilsum.lab.compare.options import QUICK, QUICK_SETTINGS, CompareOptions
from veilsum.training.config import TrainConfig

if TYPE_CHECKING:
    from veilsum.lab.compare.files import Comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument(
        "config",
        nargs="?",
        type=Path,
        metavar="config.toml",
        help="the training that all methods have in common, as for veilsum train",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="SECTION.OPTION=VALUE",
        help="change one option of the training, for example --set training.rounds=5",
    )
    parser.add_argument(
        "--methods",
        metavar="NAMES",
        help=f"only these, separated by commas: {', '.join(CONTENDERS)} (default: all)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few rounds, probes and repetitions: under two minutes, to see that it works",
    )
    parser.add_argument(
        "--probes", type=int, metavar="N", help="training records to attack (default: 40)"
    )
    parser.add_argument(
        "--batch-sizes",
        metavar="SIZES",
        help="sizes of the attacked batches, separated by commas, 1 among them (default: 1,8)",
    )
    parser.add_argument(
        "--attacked-rounds",
        type=int,
        metavar="N",
        help="how many rounds are attacked, evenly spread (default: 9)",
    )
    parser.add_argument("--no-aes", action="store_true", help="leave the AES table out")
    parser.add_argument("--name", metavar="NAME", help="folder of this comparison under runs/")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="make figures and reports of an earlier comparison again, and stop",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Parameters
    ----------
    args : argparse.Namespace
        As `add_arguments` declared them.

    Returns
    -------
    int
        Exit status: 0, or 130 when an interrupt ended the comparison early. A report that cannot
        be made is a note; the records are whole without it.

    Raises
    ------
    veilsum.VeilsumError
        As the configuration and the comparison do, and the report where it is all that was asked
        for.
    OSError
        When files cannot be read or written.
    """
    quiet = bool(getattr(args, "quiet", False))
    if args.report is not None:
        from veilsum.lab.compare.report import write_report

        print(f"report: {write_report(args.report)}")
        return 0
    options = read_options(args)
    choose(options.methods)
    config = _config(args)
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise missing_extra("veilsum compare", "torch", "train") from error
    from veilsum.lab.compare.experiment import Experiment
    from veilsum.lab.compare.files import read_comparison
    from veilsum.lab.compare.report import write_report

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    say("preparing: data, keys, encrypted statistics")
    with terminate_as_interrupt():
        folder = Experiment(config, options, say).run()
    page = made_or_noted(
        lambda: write_report(folder),
        f"the comparison is whole, but not all of its report could be made (again with: veilsum "
        f"compare --report {folder})",
        trace=bool(getattr(args, "traceback", False)),
    )
    result = read_comparison(folder)
    if page is not None and not quiet:
        _print_claims(result)
        print(f"report: {page}")
    return INTERRUPTED if result.summary["status"] == "interrupted" else 0


def read_options(args: argparse.Namespace) -> CompareOptions:
    """Resolve what is measured.

    Parameters
    ----------
    args : argparse.Namespace
        The parsed options.

    Returns
    -------
    CompareOptions
        Checked.

    Raises
    ------
    veilsum.ParameterError
        When an option is out of range.
    """
    options = QUICK if args.quick else CompareOptions()
    changes: dict[str, object] = {}
    if args.methods:
        changes["methods"] = tuple(part.strip() for part in args.methods.split(","))
    if args.probes is not None:
        changes["probes"] = args.probes
    if args.attacked_rounds is not None:
        changes["attacked_rounds"] = args.attacked_rounds
    if args.batch_sizes:
        try:
            changes["batch_sizes"] = tuple(int(part) for part in args.batch_sizes.split(","))
        except ValueError:
            raise ParameterError(
                f"--batch-sizes is {args.batch_sizes!r}; write whole numbers with commas between"
            ) from None
    if args.no_aes:
        changes["aes"] = False
    return dataclasses.replace(options, **changes)  # type: ignore[arg-type]


def _config(args: argparse.Namespace) -> TrainConfig:
    settings = list(args.settings)
    if args.quick:
        # What the user sets himself goes over what --quick sets.
        settings = [*QUICK_SETTINGS, *settings]
    return read_config(
        argparse.Namespace(**{**vars(args), "settings": settings, "baseline": False})
    )


def _print_claims(run: Comparison) -> None:
    from veilsum.lab.compare.tables import claims_table

    for text, measured, required, verdict in claims_table(run).rows:
        rule = f" (required: {required})" if required else ""
        print(f"{verdict}: {text}: {measured}{rule}")
