"""What the commands of clients, members and readers share: identities, groups and ledgers in files.

Layer: command line, under the commands, beside common.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import veilsum
from veilsum._core import Certificate, MemberRequest
from veilsum.api.members import Member
from veilsum.cli.common import refuse_existing
from veilsum.errors import ParameterError
from veilsum.keys.group import Group
from veilsum.keys.identity import Identity
from veilsum.keys.roster import Roster
from veilsum.layout.files import check_output, check_writable, named_errors
from veilsum.outputs import open_input

__all__ = [
    "add_certified",
    "add_group",
    "add_member",
    "certified_of",
    "group_of",
    "ledger_path",
    "member_of",
    "read_bytes",
]


def add_group(parser: argparse.ArgumentParser) -> None:
    """Add --group to a command that takes part in a group's round.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument(
        "--group",
        metavar="FILE",
        help="the group's sealed keys (veilsum group), for a round that was made with them; "
        "--identity opens them",
    )


def add_member(parser: argparse.ArgumentParser) -> None:
    """Add what a command of a committee's member needs.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument(
        "--identity", required=True, metavar="KEY", help="the member's secret identity"
    )
    parser.add_argument(
        "--ledger",
        metavar="FILE",
        help="what the member endorsed and answered (default: NAME.ledger beside NAME.key); made "
        "once by: veilsum identity member KEY",
    )
    parser.add_argument(
        "--min-clients",
        type=int,
        default=2,
        metavar="N",
        help="endorse no smaller sum, whatever the round says (default: 2)",
    )


def ledger_path(args: argparse.Namespace) -> str:
    """Say where a member's ledger stands.

    Parameters
    ----------
    args : Namespace
        The parsed options: --identity and --ledger.

    Returns
    -------
    str
        The path.
    """
    if args.ledger is not None:
        return str(args.ledger)
    return str(Path(args.identity).with_suffix(".ledger"))


def member_of(args: argparse.Namespace) -> Member:
    """Load the member that a command is run for.

    Parameters
    ----------
    args : Namespace
        The parsed options of `add_member`.

    Returns
    -------
    Member
        With its ledger.

    Raises
    ------
    ParameterError
        When the ledger is missing, or an option is out of range.
    """
    ledger = ledger_path(args)
    if not os.path.lexists(ledger):
        raise ParameterError(
            f"{ledger} is missing: a member needs the ledger of what it endorsed. A new member "
            f"makes it once: veilsum identity member {args.identity}. Was it lost? Then retire "
            f"this identity: without its ledger it could open two sums of a round"
        )
    return Member(Identity.load(args.identity), ledger, min_clients=args.min_clients)


def add_certified(parser: argparse.ArgumentParser) -> None:
    """Add the options of a member's command about a certified sum.

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


def certified_of(
    args: argparse.Namespace,
) -> tuple[veilsum.Round, Member, Certificate, MemberRequest]:
    """Read what a member's command about a certified sum is given, and see that it can write.

    Parameters
    ----------
    args : Namespace
        The parsed options.

    Returns
    -------
    tuple of Round, Member, Certificate, MemberRequest
        What was asked about.

    Raises
    ------
    RoundError
        When the certificate does not hold.
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
    return rnd, member, certificate, request


def group_of(
    args: argparse.Namespace, rnd: veilsum.Round, identity: Identity | None
) -> Group | None:
    """Open the group's keys that a command was given.

    Parameters
    ----------
    args : Namespace
        The parsed options: --group.
    rnd : Round
        The round, whose roster says who the clients are.
    identity : Identity or None
        The client's.

    Returns
    -------
    Group or None
        None without --group.

    Raises
    ------
    ParameterError
        When there is a group and no identity.
    """
    if args.group is None:
        return None
    if identity is None:
        raise ParameterError("--group holds sealed keys; --identity KEY of a client opens them")
    with named_errors(args.group):
        return Group.open(identity, read_bytes(args.group), Roster(rnd.roster))


def read_bytes(path: str) -> bytes:
    """Read a small public file.

    Parameters
    ----------
    path : str
        Its name.

    Returns
    -------
    bytes
        What it holds.
    """
    with open_input(path) as file:
        return file.read()
