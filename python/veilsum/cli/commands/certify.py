"""Put a threshold of endorsements together: what members answer.

The aggregator does this; the certificate holds the list of uploads and the members' signatures.
"""

from __future__ import annotations

import argparse

import veilsum
from veilsum._core import Endorsement
from veilsum.api.large_files import aggregate_file
from veilsum.api.members import certify
from veilsum.cli.common import add_force, add_json, refuse_existing, report
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
    parser.add_argument("total", metavar="SUM", help="the encrypted sum")
    parser.add_argument("endorsements", nargs="+", metavar="ENDORSEMENT", help="the members' files")
    parser.add_argument("--out", required=True, metavar="FILE", help="where to write it")
    add_force(parser, "a certificate")
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
        When the endorsements are too few or of different sums.
    FileExistsError
        When a file is in the way.
    """
    check_output(args.out, [args.round, args.total, *args.endorsements])
    refuse_existing([args.out], force=args.force)
    rnd = veilsum.Round.load(args.round)
    total = aggregate_file(args.total, rnd)
    certificate = certify(rnd, total, [Endorsement.load(path, rnd) for path in args.endorsements])
    certificate.save(args.out)
    report(
        args,
        f"{args.out}: members {', '.join(map(str, certificate.members))} certify the sum of "
        f"{certificate.count} uploads",
        {
            "round": rnd.id.hex(),
            "members": certificate.members,
            "clients": certificate.clients,
            "out": args.out,
        },
    )
    return 0
