"""Open the challenges of a spoiled round's uploads, so that `veilsum blame` can say who spoiled it.

The member's masked combinations of its shares say nothing of any update. Each upload is challenged
once, ever; the member notes it in its ledger first.
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
    add_force(parser, "an opened challenge")
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
        When the certificate does not hold, or another sum of the round was endorsed or challenged.
    FileExistsError
        When a file is in the way.
    """
    rnd, member, certificate, request = certified_of(args)
    opened = member.open_challenge(rnd, certificate, request)
    opened.save(args.out)
    report(
        args,
        f"{args.out}: member {opened.member} opens the challenges of {certificate.count} uploads",
        {
            "round": rnd.id.hex(),
            "member": opened.member,
            "count": certificate.count,
            "out": args.out,
        },
    )
    return 0
