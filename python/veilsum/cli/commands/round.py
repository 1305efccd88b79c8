"""Describe a new sum.

Which plan and key, how many values or tensors like which file, clipped to which range, from which
clients. The file is public: every client, the aggregator and the authority need it. One round gives
one sum.
"""

from __future__ import annotations

import argparse
from typing import Any

import veilsum
from veilsum.cli.common import add_force, add_json, refuse_existing, report
from veilsum.errors import ParameterError
from veilsum.files import check_output, read_update
from veilsum.keys.roster import Roster

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument("--plan", required=True, metavar="FILE", help="the plan")
    parser.add_argument("--public", required=True, metavar="FILE", help="the authority's .pub")
    shape = parser.add_mutually_exclusive_group(required=True)
    shape.add_argument("--size", type=int, metavar="VALUES", help="a flat vector of that many")
    shape.add_argument(
        "--like",
        metavar="FILE",
        help="an example update (.npy, .safetensors): only names, shapes and dtypes are read, and "
        "the __metadata__ of a .safetensors file, which sums then have; all of it is public",
    )
    parser.add_argument(
        "--limit",
        action="append",
        metavar="[NAME=]X",
        help="clip values, after the client's weight, to ±X (default: 1.0); NAME=X for one tensor, "
        "and may be repeated. Choose it near the largest value: much smaller clips, much larger "
        "rounds to 0",
    )
    parser.add_argument(
        "--most-rows",
        type=int,
        metavar="N",
        help="weigh each update by its rows (encrypt --rows), of which no client has more than N; "
        "--limit is then that of the updates themselves",
    )
    parser.add_argument(
        "--min-clients", type=int, default=2, metavar="N", help="open no smaller sum (default: 2)"
    )
    parser.add_argument(
        "--roster",
        nargs="+",
        metavar="PUB",
        help="the clients' public identities (veilsum identity): uploads must then be signed",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="where to write the round")
    add_force(parser, "a round")
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
        When an option is out of range.
    FileExistsError
        When a file is in the way.
    """
    inputs = [args.plan, args.public, *(args.roster or []), *([args.like] if args.like else [])]
    check_output(args.out, inputs)
    refuse_existing([args.out], force=args.force)
    like = read_update(args.like) if args.like is not None else None
    plan, public = veilsum.Plan.load(args.plan), veilsum.PublicKey.load(args.public)
    options: dict[str, Any] = {
        "size": args.size,
        "like": like,
        "limit": _limits(args.limit or ["1.0"], like),
        "min_clients": args.min_clients,
        "roster": Roster.load(args.roster) if args.roster else None,
    }
    if args.most_rows is None:
        rnd = veilsum.Round(plan, public, **options)
    else:
        rnd = veilsum.RowMean.new(plan, public, most_rows=args.most_rows, **options).round
    rnd.save(args.out)
    tensors = len(rnd.layout.tensors)
    what = f" in {tensors} tensors" if rnd.layout.named else ""
    if args.most_rows is not None:
        what += f", weighed by at most {args.most_rows} rows a client"
    who = f"signed by {len(rnd.roster)} clients" if rnd.roster else "no roster: anyone may upload"
    report(
        args,
        f"round {rnd.id.hex()}\n  {rnd.size:,} values{what}, at least {rnd.min_clients} uploads, "
        f"{who}\n  written to {args.out}",
        {
            "id": rnd.id.hex(),
            "size": rnd.size,
            "tensors": tensors,
            "min_clients": rnd.min_clients,
            "roster": [client.id.hex() for client in rnd.roster],
            "out": args.out,
        },
    )
    return 0


def _limits(options: list[str], like: object) -> float | dict[str, float]:
    """Read --limit options: at most one plain number, and any number of NAME=X."""
    default: float | None = None
    named: dict[str, float] = {}
    for option in options:
        # Names of tensors may hold "="; numbers do not.
        name, equals, text = option.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            raise ParameterError(f"--limit {option}: {text!r} is not a number") from None
        if equals:
            named[name] = value
        elif default is not None:
            raise ParameterError(
                f"--limit is given twice without a name ({default} and {value}); one is for all"
            )
        else:
            default = value
    if not named:
        return 1.0 if default is None else default
    if not isinstance(like, dict):
        raise ParameterError("--limit NAME=X needs --like with a .safetensors file")
    unknown = next((name for name in named if name not in like), None)
    if unknown is not None:
        raise ParameterError(f"--limit {unknown}=...: the example has no tensor {unknown!r}")
    if default is None:
        missing = next((name for name in like if name not in named), None)
        if missing is not None:
            raise ParameterError(
                f"no --limit for tensor {missing!r}; add --limit {missing}=X, or one --limit X for "
                f"all the others"
            )
    return {name: named.get(name, default or 0.0) for name in like}
