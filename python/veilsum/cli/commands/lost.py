"""Note in a member's ledger that a certified sum was lost: its answers gave no sum that checks.

The member then endorses no sum of the same training that lacks one of its clients, but convicted
ones (--verdict), until it answered a later one with all of them. Outside a training nothing joins
rounds.
"""

from __future__ import annotations

import argparse

import veilsum
from veilsum._core import Certificate, Verdict
from veilsum.cli.common import add_json, report
from veilsum.cli.parties import add_member, member_of

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    add_member(parser)
    parser.add_argument("round", metavar="ROUND", help="the lost round")
    parser.add_argument("certificate", metavar="CERTIFICATE", help="from: veilsum certify")
    parser.add_argument(
        "--verdict",
        metavar="FILE",
        help="from: veilsum blame; clients that it convicts may be left out. It may come later",
    )
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
        When certificate or verdict do not hold, or this member endorsed another sum of the round.
    """
    rnd = veilsum.Round.load(args.round)
    member = member_of(args)
    certificate = Certificate.load(args.certificate, rnd)
    verdict = Verdict.load(args.verdict, rnd) if args.verdict is not None else None
    noted = member.record_lost(rnd, certificate, verdict)
    convicted = [] if verdict is None else verdict.clients
    held = [client for client in certificate.clients if client not in convicted]
    clients = ", ".join(str(client) for client in sorted(held))
    follows = (
        "it is no step of a training, so no other round must hold its clients"
        if rnd.step is None
        else f"the next sum of its training holds clients {clients}"
    )
    report(
        args,
        f"round {rnd.id.hex()[:16]} is lost{'' if noted else ', as was noted before'}: {follows}",
        {"round": rnd.id.hex(), "noted": noted, "clients": sorted(held)},
    )
    return 0
