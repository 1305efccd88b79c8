"""Sum uploads of a round.

The aggregator needs no key and learns nothing; uploads may be larger than memory.
"""

from __future__ import annotations

import argparse
from typing import Any

import veilsum
from veilsum.api.weights import plan_weights
from veilsum.arguments import counted
from veilsum.cli.common import (
    add_json,
    add_resume,
    check_threads,
    note,
    report,
    resumable,
)
from veilsum.cli.progress import Progress
from veilsum.errors import ParameterError
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
    parser.add_argument("uploads", nargs="+", metavar="UPLOAD", help="the uploads")
    parser.add_argument("--out", required=True, metavar="FILE", help="where to write the sum")
    parser.add_argument(
        "--weights",
        metavar="W,W,...",
        help="one weight above 0 for each upload, in a plan with --weight-bits: integers as they "
        "are, other numbers as proportions (a plan without holds equal weights only; let clients "
        "weigh, with encrypt --weight or round --most-rows)",
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
    check_output(args.out, [args.round, *args.uploads])
    rnd = veilsum.Round.load(args.round)
    weights = _weights(args.weights, len(args.uploads), rnd.plan)
    with resumable(args), Progress(args, "summing") as progress:
        total = veilsum.sum_files(
            rnd,
            args.uploads,
            args.out,
            weights,
            threads=check_threads(args),
            progress=progress,
            resume=args.resume,
        )
    if rnd.plan.engine == "native" and any(weight != 1 for weight in weights):
        note(
            args,
            "the sum has weights: its key may go only to parties that do not hold the uploads",
        )
    report(
        args,
        f"{args.out}: {total.count} uploads, total weight {total.total_weight}, "
        f"{format_bytes(total.nbytes)}, {sum(total.clipped):,} clipped values",
        {
            "round": rnd.id.hex(),
            "count": total.count,
            "total_weight": total.total_weight,
            "weights": weights,
            "clipped": total.clipped,
            "bytes": total.nbytes,
            "out": args.out,
        },
    )
    return 0


def _weights(option: str | None, count: int, plan: veilsum.Plan) -> list[Any]:
    if option is None:
        return [1] * count
    numbers: list[float] = []
    for text in option.split(","):
        try:
            numbers.append(int(text))
        except ValueError:
            try:
                numbers.append(float(text))
            except ValueError:
                raise ParameterError(f"--weights: {text!r} is not a number") from None
    if len(numbers) != count:
        raise ParameterError(
            f"--weights has {counted(len(numbers), 'number')} for {counted(count, 'upload')}; give "
            f"one for each"
        )
    return plan_weights(plan, numbers, count)
