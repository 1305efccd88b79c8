"""Open the challenges of a spoiled round's uploads, so that `veilsum blame` can say who spoiled it.

The member's masked combinations of its shares say nothing of any update. Each upload is challenged
once, ever; the member notes it in its ledger first.
"""

from __future__ import annotations

import argparse

import veilsum
from veilsum._core import Certificate, MemberRequest
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
    parser.add_argument("certificate", metavar="CERTIFICATE", help="from: veilsum certify")
    parser.add_argument("request", metavar="REQUEST", help="what the aggregator sent")
    parser.add_argument("--out", required=True, metavar="FILE", help="where to write it")
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
    inputs = [args.identity, ledger_path(args), args.round, args.certificate, args.request]
    check_output(args.out, inputs)
    refuse_existing([args.out], force=args.force)
    rnd = veilsum.Round.load(args.round)
    member = member_of(args)
    certificate = Certificate.load(args.certificate, rnd)
    request = MemberRequest.load(args.request, rnd)
    check_writable(args.out)
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
