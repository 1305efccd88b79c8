"""Encrypt one update (.npy or .safetensors) for a round.

The upload goes to the aggregator; it tells nobody anything without the authority. Files may be
larger than memory. With --resume the upload's secret seeds stand in OUT.journal (mode 0600) until
the upload is complete.
"""

from __future__ import annotations

import argparse

import veilsum
from veilsum.cli.common import (
    add_json,
    add_resume,
    check_threads,
    note,
    report,
    resumable,
)
from veilsum.cli.progress import Progress
from veilsum.files import check_output
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
    parser.add_argument("update", metavar="UPDATE", help="the update, .npy or .safetensors")
    parser.add_argument("--out", required=True, metavar="FILE", help="where to write the upload")
    parser.add_argument(
        "--weight", type=float, default=1.0, metavar="X", help="multiply by X first (default: 1)"
    )
    parser.add_argument(
        "--rounding",
        choices=("nearest", "stochastic"),
        default="nearest",
        help="round to nearest (default), or unbiased at random",
    )
    parser.add_argument(
        "--identity", metavar="KEY", help="the client's signing key, for rounds with a roster"
    )
    parser.add_argument(
        "--refuse-clipping",
        action="store_true",
        help="fail when a value is beyond the round's limit instead of clipping it",
    )
    add_resume(parser)
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
        When the output is one of the inputs.
    """
    check_output(args.out, [args.round, args.update, *([args.identity] if args.identity else [])])
    rnd = veilsum.Round.load(args.round)
    signer = veilsum.Identity.load(args.identity) if args.identity else None
    with resumable(args), Progress(args, "encrypting") as progress:
        upload = veilsum.encrypt_file(
            rnd,
            args.update,
            args.out,
            weight=args.weight,
            rounding=args.rounding,
            signer=signer,
            on_clip="error" if args.refuse_clipping else "count",
            threads=check_threads(args),
            progress=progress,
            resume=args.resume,
        )
    if upload.clipped:
        note(
            args,
            f"{upload.clipped:,} of {rnd.size:,} values were beyond the round's limit and clipped",
        )
    report(
        args,
        f"{args.out}: {rnd.size:,} values in {format_bytes(upload.nbytes)} "
        f"({upload.nbytes / rnd.size:.3g} B a value), {upload.clipped:,} clipped",
        {
            "round": rnd.id.hex(),
            "size": rnd.size,
            "bytes": upload.nbytes,
            "clipped": upload.clipped,
            "client": upload.client,
            "signed": upload.signed,
            "out": args.out,
        },
    )
    return 0
