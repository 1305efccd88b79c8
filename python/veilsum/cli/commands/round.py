r"""Describe a new sum.

Which plan, who opens it (one key holder, or a committee), how many values or tensors like which
file, clipped to which range, from which clients. The file is public: every client, the aggregator
and the authority need it. One round gives one sum.

  veilsum round --plan plan.vs --public authority.pub --size 100 --out round.vs
  veilsum round --plan plan.vs --roster a.pub b.pub c.pub --threshold 3 --group group.vs \
    --identity a.key --size 100 --out round.vs           the clients are the committee
"""

from __future__ import annotations

import argparse
from typing import Any

import veilsum
from veilsum.cli.common import add_force, add_json, refuse_existing, report
from veilsum.cli.parties import add_group, read_bytes
from veilsum.errors import ParameterError
from veilsum.keys.committee import Committee
from veilsum.keys.group import Group
from veilsum.keys.identity import Identity, PublicIdentity
from veilsum.keys.roster import Roster
from veilsum.layout.files import check_output, named_errors, read_update

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument("--plan", required=True, metavar="FILE", help="the plan")
    parser.add_argument("--public", metavar="FILE", help="one key holder's .pub, from: keygen")
    parser.add_argument(
        "--threshold",
        type=int,
        metavar="T",
        help="a committee opens: so many members must agree, more than half of them",
    )
    parser.add_argument(
        "--member",
        nargs="+",
        metavar="PUB",
        help="the committee's members by their public identities (default: the roster's clients)",
    )
    parser.add_argument(
        "--reader", metavar="PUB", help="a server that reads what a committee opens"
    )
    add_group(parser)
    parser.add_argument("--identity", metavar="KEY", help="of a client, to open --group")
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
    named = (args.public, args.like, args.reader, args.group, args.identity)
    inputs = [args.plan, *(args.roster or []), *(args.member or []), *filter(None, named)]
    check_output(args.out, inputs)
    refuse_existing([args.out], force=args.force)
    like = read_update(args.like) if args.like is not None else None
    plan = veilsum.Plan.load(args.plan)
    roster = Roster.load(args.roster) if args.roster else None
    authority = _authority(args, roster)
    options: dict[str, Any] = {
        "size": args.size,
        "like": like,
        "limit": _limits(args.limit or ["1.0"], like),
        "min_clients": args.min_clients,
        "roster": roster,
        "group": _group(args, roster),
        "reader": None if args.reader is None else PublicIdentity.load(args.reader),
    }
    if args.most_rows is None:
        rnd = veilsum.Round(plan, authority, **options)
    else:
        rnd = veilsum.RowMean.new(plan, authority, most_rows=args.most_rows, **options).round
    rnd.save(args.out)
    tensors = len(rnd.layout.tensors)
    what = f" in {tensors} tensors" if rnd.layout.named else ""
    if args.most_rows is not None:
        what += f", weighed by at most {args.most_rows} rows a client"
    who = f"signed by {len(rnd.roster)} clients" if rnd.roster else "no roster: anyone may upload"
    opens = "one key holder"
    if rnd.committee is not None:
        opens = f"{rnd.committee.threshold} of {len(rnd.committee)} members"
        opens += ", for the clients" if rnd.tagged else ", for one reader"
    report(
        args,
        f"round {rnd.id.hex()}\n  {rnd.size:,} values{what}, at least {rnd.min_clients} uploads, "
        f"{who}\n  opened by {opens}\n  written to {args.out}",
        {
            "id": rnd.id.hex(),
            "size": rnd.size,
            "tensors": tensors,
            "min_clients": rnd.min_clients,
            "roster": [client.id.hex() for client in rnd.roster],
            "members": 1 if rnd.committee is None else len(rnd.committee),
            "threshold": 1 if rnd.committee is None else rnd.committee.threshold,
            "tagged": rnd.tagged,
            "out": args.out,
        },
    )
    return 0


def _authority(args: argparse.Namespace, roster: Roster | None) -> veilsum.PublicKey | Committee:
    if args.public is not None:
        if args.threshold is not None or args.member is not None:
            raise ParameterError(
                "--public names one key holder, --threshold and --member a committee; give one"
            )
        return veilsum.PublicKey.load(args.public)
    members = Roster.load(args.member) if args.member is not None else roster
    if args.threshold is None or members is None:
        raise ParameterError(
            "say who opens the sum: --public FILE for one key holder, or --roster PUB ... "
            "--threshold T for a committee of the clients"
        )
    return Committee(members, args.threshold)


def _group(args: argparse.Namespace, roster: Roster | None) -> tuple[bytes, bytes] | None:
    if args.group is None:
        return None
    if args.identity is None or roster is None:
        raise ParameterError("--group takes --roster, and --identity KEY of a client to open it")
    with named_errors(args.group):
        return Group.open(Identity.load(args.identity), read_bytes(args.group), roster).commitment


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
