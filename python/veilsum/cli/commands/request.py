"""Write what each member of the committee is asked for a sum: one small file a member.

The aggregator does this with the sum it made; the files hold no secret and go to the members, who
run: veilsum endorse.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import veilsum
from veilsum.api.large_files import aggregate_file
from veilsum.api.members import request_for
from veilsum.cli.common import add_force, add_json, refuse_existing, report
from veilsum.errors import RoundError
from veilsum.layout.files import check_output
from veilsum.report.units import format_bytes

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument("round", metavar="ROUND", help="the round")
    parser.add_argument("total", metavar="SUM", help="the encrypted sum, from: veilsum sum")
    parser.add_argument(
        "--out", required=True, metavar="PREFIX", help="writes PREFIX-0.req, PREFIX-1.req, ..."
    )
    add_force(parser, "a request")
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
        When the round has one key holder.
    FileExistsError
        When a file is in the way.
    """
    rnd = veilsum.Round.load(args.round)
    committee = rnd.committee
    if committee is None:
        raise RoundError(f"{args.round} has one key holder, who opens the sum: veilsum open")
    paths = [f"{args.out}-{place}.req" for place in range(len(committee))]
    for path in paths:
        check_output(path, [args.round, args.total])
    refuse_existing(paths, force=args.force)
    total = aggregate_file(args.total, rnd)
    for path, member in zip(paths, committee.members, strict=True):
        request_for(total, member).save(path)
    report(
        args,
        f"{len(paths)} requests, {paths[0]} ... {Path(paths[-1]).name}, of "
        f"{format_bytes(Path(paths[0]).stat().st_size)} each: one for each member, in the "
        f"committee's order",
        {"round": rnd.id.hex(), "count": total.count, "requests": paths},
    )
    return 0
