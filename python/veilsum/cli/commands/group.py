"""Make the keys that the clients of a training share, or check a file of them.

One client makes them, sealed to every client of the roster; the file holds no secret and may pass
through anybody's hands. A round made with --group has tags, which find every change of the sum, and
is read by these clients alone.

  veilsum group new --identity a.key --roster a.pub b.pub c.pub --out group.vs
  veilsum group show --identity b.key --roster a.pub b.pub c.pub group.vs
"""

from __future__ import annotations

import argparse

from veilsum.cli.common import add_force, add_json, refuse_existing, report
from veilsum.cli.parties import read_bytes
from veilsum.errors import ParameterError
from veilsum.keys.group import Group
from veilsum.keys.identity import Identity
from veilsum.keys.roster import Roster
from veilsum.layout.files import atomic_file, check_output, named_errors

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument("action", choices=("new", "show"), help="make keys, or open and check them")
    parser.add_argument("file", nargs="?", metavar="FILE", help="show: the file")
    parser.add_argument("--identity", required=True, metavar="KEY", help="the client's identity")
    parser.add_argument(
        "--roster", nargs="+", required=True, metavar="PUB", help="all clients, in order"
    )
    parser.add_argument(
        "--training",
        metavar="NAME",
        help="name of the training; keys of one training are refused in another",
    )
    parser.add_argument("--out", metavar="FILE", help="new: where to write them")
    add_force(parser, "a group")
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
    ParameterError
        When an option does not go with the action.
    FileExistsError
        When a file is in the way.
    """
    if args.action == "new":
        if args.out is None or args.file is not None:
            raise ParameterError("veilsum group new takes --out FILE, and no other file")
        check_output(args.out, [args.identity, *args.roster])
        refuse_existing([args.out], force=args.force)
        roster = Roster.load(args.roster)
        group = Group.create(Identity.load(args.identity), roster, args.training or "")
        with atomic_file(args.out) as file:
            file.write(group.sealed)
        what = f"written to {args.out} (sealed to the clients: no secret)"
    else:
        if args.file is None or args.out is not None:
            raise ParameterError("veilsum group show takes the file to show, and no --out")
        roster = Roster.load(args.roster)
        with named_errors(args.file):
            group = Group.open(
                Identity.load(args.identity), read_bytes(args.file), roster, args.training
            )
        what = "opened by this identity; its maker's signature holds"
    report(
        args,
        f"group {group.id.hex()}\n  {len(roster)} clients\n  {what}",
        {"id": group.id.hex(), "clients": len(roster), "out": args.out},
    )
    return 0
