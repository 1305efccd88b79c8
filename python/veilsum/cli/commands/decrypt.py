"""Decrypt a sum with its sum key.

The mean of the updates (or their sum) is written as .npy, or as .safetensors when the round has
named tensors.
"""

from __future__ import annotations

import argparse
from typing import Any

import veilsum
from veilsum.api.large_files import aggregate_file
from veilsum.api.row_mean import is_row_mean
from veilsum.cli.common import (
    add_json,
    add_resume,
    check_threads,
    report,
    resumable,
)
from veilsum.cli.parties import add_group, group_of
from veilsum.cli.progress import Progress
from veilsum.errors import ParameterError
from veilsum.layout.files import check_output, check_suffix, write_update
from veilsum.report.units import format_bytes

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument("key", metavar="SUMKEY", help="the sum key, from: open or combine")
    parser.add_argument("round", metavar="ROUND", help="the round")
    parser.add_argument("total", metavar="SUM", help="the encrypted sum")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="where to write it, .npy or .safetensors"
    )
    parser.add_argument(
        "--sum", action="store_true", help="write the sum itself instead of the mean"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), help="one dtype instead of the round's"
    )
    add_group(parser)
    parser.add_argument("--identity", metavar="KEY", help="of a client, to open --group")
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
        When the output's name, or an option, does not fit the round.
    """
    secrets = filter(None, (args.identity, args.group))
    check_output(args.out, [args.key, args.round, args.total, *secrets])
    rnd = veilsum.Round.load(args.round)
    identity = veilsum.Identity.load(args.identity) if args.identity else None
    group = group_of(args, rnd, identity)
    by_rows = veilsum.RowMean(rnd) if is_row_mean(rnd.layout) else None
    layout = rnd.layout if by_rows is None else by_rows.layout
    check_suffix(args.out, mapping=layout.named)
    if by_rows is not None and (args.sum or args.resume):
        raise ParameterError(
            "the round weighs by rows, and what is decrypted is their mean, in memory; leave out "
            "--sum and --resume"
        )
    key = veilsum.SumKey.load(args.key, rnd)
    total: Any
    threads = check_threads(args)
    with resumable(args), Progress(args, "decrypting") as progress:
        if by_rows is not None:
            total = veilsum.Aggregate.load(args.total, rnd)
            mean = by_rows.decrypt(
                key,
                total,
                group=group,
                dtype=args.dtype,
                output="numpy",
                threads=threads,
                progress=progress,
            )
            named = layout.by_name(mean) if layout.named else mean
            write_update(args.out, named, layout.file_metadata)
        else:
            total = aggregate_file(args.total, rnd)
            veilsum.decrypt_file(
                key,
                total,
                args.out,
                group=group,
                average=not args.sum,
                dtype=args.dtype,
                threads=threads,
                progress=progress,
                resume=args.resume,
            )
    what = "sum" if args.sum else "mean" if by_rows is None else "mean by rows"
    report(
        args,
        f"{args.out}: {what} of {total.count} uploads, {layout.size:,} values, "
        f"{format_bytes(layout.size * 4)} as fp32",
        {
            "round": rnd.id.hex(),
            "count": total.count,
            "total_weight": total.total_weight,
            "size": layout.size,
            "average": not args.sum,
            "out": args.out,
        },
    )
    return 0
