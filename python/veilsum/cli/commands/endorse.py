"""Give a member's word for a sum: step one of opening it.

The member checks the round, every signature, the number of uploads and its own sealed shares, notes
the sum in its ledger, and signs it: one sum a round. Nothing of the sum is opened by this.
"""

from __future__ import annotations

import argparse

import veilsum
from veilsum._core import MemberRequest
from veilsum.cli.common import add_force, add_json, refuse_existing, report
from veilsum.cli.parties import add_member, ledger_path, member_of
from veilsum.layout.files import check_output, check_writable

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    add_member(parser)
    parser.add_argument("round", metavar="ROUND", help="the round")
    parser.add_argument("request", metavar="REQUEST", help="what the aggregator sent")
    parser.add_argument("--out", required=True, metavar="FILE", help="where to write it")
    add_force(parser, "an endorsement")
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
    BadSharesError
        When clients sealed no share to this member; the aggregator sums again without them.
    FileExistsError
        When a file is in the way.
    """
    check_output(args.out, [args.identity, ledger_path(args), args.round, args.request])
    refuse_existing([args.out], force=args.force)
    rnd = veilsum.Round.load(args.round)
    member = member_of(args)
    request = MemberRequest.load(args.request, rnd)
    check_writable(args.out)
    endorsement = member.endorse(rnd, request)
    endorsement.save(args.out)
    report(
        args,
        f"{args.out}: member {endorsement.member} endorses the sum of {request.count} uploads",
        {
            "round": rnd.id.hex(),
            "member": endorsement.member,
            "sum": endorsement.sum.hex(),
            "count": request.count,
            "out": args.out,
        },
    )
    return 0
