"""Encrypt one update (.npy or .safetensors) for a round.

The upload goes to the aggregator; it tells nobody anything without the authority. Files may be
larger than memory. With --resume the upload's secret seeds stand in OUT.journal (mode 0600) until
the upload is complete.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import veilsum
from veilsum.api.row_mean import is_row_mean
from veilsum.cli.common import (
    add_json,
    add_resume,
    check_threads,
    note,
    report,
    resumable,
)
from veilsum.cli.parties import add_group, group_of
from veilsum.cli.progress import Progress
from veilsum.errors import ParameterError, VeilsumWarning, named_update
from veilsum.layout.files import check_output, read_update
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
        "--weight",
        type=float,
        default=1.0,
        metavar="X",
        help="multiply by X, above 0, before clipping to the round's limit (default: 1). Weights "
        "that sum to the number of uploads make the decrypted mean a weighted one; weights that "
        "sum to 1 make the sum (decrypt --sum) that",
    )
    parser.add_argument(
        "--rows",
        type=int,
        metavar="N",
        help="for a round with --most-rows: how many rows the update was trained on",
    )
    parser.add_argument(
        "--rounding",
        choices=("nearest", "stochastic"),
        default="nearest",
        help="round to nearest (default), or unbiased at random",
    )
    parser.add_argument(
        "--identity", metavar="KEY", help="the client's secret identity, for rounds with a roster"
    )
    add_group(parser)
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
        When the output is one of the inputs, or an option does not fit the round.
    """
    named = filter(None, (args.identity, args.group))
    check_output(args.out, [args.round, args.update, *named])
    rnd = veilsum.Round.load(args.round)
    signer = veilsum.Identity.load(args.identity) if args.identity else None
    by_rows = _by_rows(args, rnd)
    with resumable(args), Progress(args, "encrypting") as progress:
        options: dict[str, Any] = {
            "rounding": args.rounding,
            "signer": signer,
            "group": group_of(args, rnd, signer),
            "on_clip": "error" if args.refuse_clipping else "count",
            "threads": check_threads(args),
            "progress": progress,
        }
        upload: Any
        with _noticed() as warned:
            if by_rows is not None:
                with named_update(args.update):
                    upload = by_rows.encrypt(read_update(args.update), args.rows, **options)
                upload.save(args.out)
            else:
                upload = veilsum.encrypt_file(
                    rnd, args.update, args.out, weight=args.weight, resume=args.resume, **options
                )
    if upload.clipped and not any("were clipped" in text for text in warned):
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


@contextmanager
def _noticed() -> Iterator[list[str]]:
    """Pass warnings on, and list them: what a warning says, no note says again."""
    texts: list[str] = []
    with warnings.catch_warnings():
        show = warnings.showwarning

        def notice(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, VeilsumWarning):
                texts.append(str(message))
            show(message, category, *place, **more)

        warnings.showwarning = notice
        yield texts


def _by_rows(args: argparse.Namespace, rnd: veilsum.Round) -> veilsum.RowMean | None:
    """Check --rows against the round; return what weighs by rows, where the round does."""
    if not is_row_mean(rnd.layout):
        if args.rows is not None:
            raise ParameterError(
                "--rows is for rounds that weigh by rows; make the round with --most-rows N, or "
                "use --weight"
            )
        return None
    if args.rows is None:
        raise ParameterError("the round weighs by rows; say how many the update has with --rows N")
    if args.weight != 1:
        raise ParameterError("the round weighs by rows; leave --weight out")
    if args.resume:
        raise ParameterError(
            "an update for a round that weighs by rows is encrypted in memory and not resumed; "
            "leave out --resume"
        )
    return veilsum.RowMean(rnd)
