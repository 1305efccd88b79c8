"""Open an encrypted sum with the authority's key.

The result, the sum key, decrypts this sum and nothing else; it goes to whoever may read the sum. A
round is opened once: KEY.opened remembers, and nothing is opened without it.
"""

from __future__ import annotations

import argparse

import veilsum
from veilsum.api.large_files import aggregate_file
from veilsum.cli.common import add_force, add_json, refuse_existing, report
from veilsum.layout.files import check_output, check_writable

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument("--key", required=True, metavar="KEY", help="the authority's secret key")
    parser.add_argument("round", metavar="ROUND", help="the round")
    parser.add_argument("total", metavar="SUM", help="the encrypted sum")
    parser.add_argument("--out", required=True, metavar="FILE", help="where to write the sum key")
    parser.add_argument(
        "--export",
        action="store_true",
        help="write the key even of a sum with weights; it must then go only to parties that do "
        "not hold the single uploads",
    )
    parser.add_argument(
        "--uploads",
        nargs="+",
        metavar="UPLOAD",
        help="engine openfhe: the uploads of the sum, in its order, which the authority sums again",
    )
    add_force(parser, "a sum key")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Parameters
    ----------
    args : Namespace
        The parsed options.

    Returns
    -------
    int
        0.

    Raises
    ------
    FileExistsError
        When a file is in the way.
    ParameterError
        When the output is one of the inputs.
    """
    check_output(args.out, [args.key, args.round, args.total, *(args.uploads or [])])
    refuse_existing([args.out], force=args.force)
    rnd = veilsum.Round.load(args.round)
    secret = veilsum.SecretKey.load(args.key)
    total = aggregate_file(args.total, rnd)
    check_writable(args.out)  # a round is opened once: a key that cannot be written would be lost
    key = veilsum.open_sum(secret, rnd, total, export=args.export, uploads=args.uploads)
    key.save(args.out)
    report(
        args,
        f"{args.out}: opens the sum of {key.count} uploads (mode 0600: for the readers of the sum)",
        {
            "round": rnd.id.hex(),
            "count": key.count,
            "total_weight": key.total_weight,
            "out": args.out,
        },
    )
    return 0
