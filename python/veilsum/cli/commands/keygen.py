"""Make the authority's key pair.

NAME.key opens sums and never leaves the authority (mode 0600); NAME.pub is what rounds carry.
NAME.key.opened records which rounds were opened: the key opens nothing without it, so keep it
beside the key.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import veilsum
from veilsum.cli.commands.plan import add_plan_options, plan_from
from veilsum.cli.common import add_force, add_json, check_ending, refuse_existing, report
from veilsum.errors import ParameterError
from veilsum.layout.files import check_apart

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument("--plan", metavar="FILE", help="plan made by: veilsum plan --out FILE")
    parser.add_argument(
        "--out", default="authority", metavar="NAME", help="name of the files (default: authority)"
    )
    add_force(parser, "a key pair")
    add_json(parser)
    add_plan_options(parser, required=False)


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
        When neither a plan file nor --clients is given, or both are, the name ends in .key or .pub,
        or a key is to overwrite the plan.
    FileExistsError
        When a file is in the way.
    """
    if (args.plan is None) == (args.clients is None):
        raise ParameterError("give either --plan FILE or --clients N with the other plan options")
    check_ending(args.out, ".key", ".pub")
    secret_path, public_path = f"{args.out}.key", f"{args.out}.pub"
    refuse_existing([secret_path, public_path, f"{secret_path}.opened"], force=args.force)
    for path in (secret_path, public_path):
        check_apart(path, [args.plan] if args.plan is not None else [])
    plan = veilsum.Plan.load(args.plan) if args.plan is not None else plan_from(args)
    secret, public = veilsum.keygen(plan)
    _set_aside(Path(f"{secret_path}.opened"))
    if args.force:
        Path(secret_path).unlink(missing_ok=True)  # nothing that is saved replaces a secret key
    secret.save(secret_path)
    public.save(public_path)
    report(
        args,
        f"key {public.id.hex()}\n  secret  {secret_path} (mode 0600: keep it, and show it nobody)\n"
        f"  public  {public_path}",
        {"id": public.id.hex(), "secret": secret_path, "public": public_path},
    )
    return 0


def _set_aside(ledger: Path) -> None:
    """Make room for a new key's ledger. What an old key opened is kept: copies of it may exist."""
    if ledger.is_symlink():
        ledger.unlink()
    elif ledger.exists():
        number = 1
        while (aside := Path(f"{ledger}.{number}")).exists():
            number += 1
        ledger.rename(aside)
