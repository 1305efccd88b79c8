"""Give a member's share of a certified sum's key, sealed to the readers: step two of opening it.

Whoever forwards the answer learns nothing. A threshold of answers opens the sum for its readers.
"""

from __future__ import annotations

import argparse

from veilsum.cli.common import add_force, add_json, report
from veilsum.cli.parties import add_certified, certified_of

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    add_certified(parser)
    add_force(parser, "an answer")
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
        When the certificate does not hold, or is for another sum.
    FileExistsError
        When a file is in the way.
    """
    rnd, member, certificate, request = certified_of(args)
    answer = member.answer(rnd, certificate, request)
    answer.save(args.out)
    report(
        args,
        f"{args.out}: member {answer.member} answers for the sum of {certificate.count} uploads, "
        f"sealed to its readers",
        {
            "round": rnd.id.hex(),
            "member": answer.member,
            "count": certificate.count,
            "bytes": answer.nbytes,
            "out": args.out,
        },
    )
    return 0
