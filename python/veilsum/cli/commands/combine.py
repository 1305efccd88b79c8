"""Combine members' answers to the key of the sum they certified.

Whoever reads the sum does this: a client of the group (--group and --identity), or the server that
the round names (--identity alone). The sum key decrypts this sum and nothing else.
"""

from __future__ import annotations

import argparse

import veilsum
from veilsum._core import Answer, Certificate
from veilsum.api.large_files import aggregate_file
from veilsum.api.members import combine
from veilsum.cli.common import add_force, add_json, refuse_existing, report
from veilsum.cli.parties import add_group, group_of
from veilsum.layout.files import check_output

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument("round", metavar="ROUND", help="the round")
    parser.add_argument("certificate", metavar="CERTIFICATE", help="from: veilsum certify")
    parser.add_argument("total", metavar="SUM", help="the encrypted sum")
    parser.add_argument("answers", nargs="+", metavar="ANSWER", help="the members' files")
    parser.add_argument("--identity", required=True, metavar="KEY", help="the reader's identity")
    add_group(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="where to write the sum key")
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
    RoundError
        When the answers are too few, or not to this certificate.
    FileExistsError
        When a file is in the way.
    """
    inputs = [args.round, args.certificate, args.total, *args.answers, args.identity]
    check_output(args.out, [*inputs, *([args.group] if args.group else [])])
    refuse_existing([args.out], force=args.force)
    rnd = veilsum.Round.load(args.round)
    identity = veilsum.Identity.load(args.identity)
    group = group_of(args, rnd, identity)
    certificate = Certificate.load(args.certificate, rnd)
    answers = [Answer.load(path, rnd) for path in args.answers]
    total = aggregate_file(args.total, rnd)
    reader = None if rnd.group is not None else identity
    key = combine(rnd, certificate, answers, total, group=group, reader=reader)
    key.save(args.out)
    report(
        args,
        f"{args.out}: opens the sum of {key.count} uploads (mode 0600: for the readers of the sum)",
        {
            "round": rnd.id.hex(),
            "count": key.count,
            "members": sorted({answer.member for answer in answers}),
            "out": args.out,
        },
    )
    return 0
