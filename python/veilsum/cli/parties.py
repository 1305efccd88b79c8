"""What the commands of clients, members and readers share: identities, groups and ledgers in files.

Layer: command line, under the commands, beside common.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import veilsum
from veilsum.api.members import Member
from veilsum.errors import ParameterError
from veilsum.keys.group import Group
from veilsum.keys.identity import Identity
from veilsum.keys.roster import Roster
from veilsum.layout.files import named_errors
from veilsum.outputs import open_input

__all__ = ["add_group", "add_member", "group_of", "ledger_path", "member_of", "read_bytes"]


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
