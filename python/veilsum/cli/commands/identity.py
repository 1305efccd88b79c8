"""Make or show an identity: the keys that a party signs with and is sealed to.

NAME.key stays with the party (mode 0600), NAME.pub goes to whoever makes the round.

  veilsum identity new clinic-a        writes clinic-a.key and clinic-a.pub
  veilsum identity new clinic-a --post-quantum   signs with ML-DSA-65 as well as with Ed25519
  veilsum identity show clinic-a.key   prints the id of a .key or .pub file
  veilsum identity member clinic-a.key   makes clinic-a.ledger: a committee's member needs it
"""

from __future__ import annotations

import argparse
import errno
import os
from pathlib import Path

from veilsum.api.members import Member
from veilsum.cli.common import add_force, add_json, check_ending, refuse_existing, report
from veilsum.errors import ParameterError
from veilsum.keys.identity import Identity, PublicIdentity
from veilsum.outputs import open_input

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument(
        "action", choices=("new", "show", "member"), help="make, show, or make a member's ledger"
    )
    parser.add_argument(
        "name", metavar="NAME", help="new: name of the files; show, member: the file"
    )
    parser.add_argument(
        "--post-quantum",
        action="store_true",
        help="new: sign with ML-DSA-65 as well; 3.3 kB more for each upload",
    )
    add_force(parser, "an identity")
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
    FileExistsError
        When a file is in the way.
    FileNotFoundError
        When there is no such file to show; it names one that is likely meant.
    ParameterError
        When an option does not go with the action, or a new name ends in .key or .pub.
    WireFormatError
        When the file to show holds no identity.
    """
    if args.action == "show":
        if args.post_quantum:
            raise ParameterError("--post-quantum goes with: veilsum identity new NAME")
        public = _read_public(args.name)
        report(args, f"{public.id.hex()}\n  signs with {_kind(public)}", _facts(public))
        return 0
    if args.action == "member":
        ledger = str(Path(args.name).with_suffix(".ledger"))
        refuse_existing([ledger], force=False)
        member = Member.create(Identity.load(args.name), ledger)
        report(
            args,
            f"{ledger}: nothing endorsed yet (keep it with {args.name}, and never copy it back)",
            {**_facts(member.identity), "ledger": ledger},
        )
        return 0
    check_ending(args.name, ".key", ".pub")
    secret_path, public_path = f"{args.name}.key", f"{args.name}.pub"
    refuse_existing([secret_path, public_path], force=args.force)
    identity = Identity.generate(post_quantum=args.post_quantum)
    identity.save(secret_path, overwrite=args.force)
    identity.public.save(public_path)
    report(
        args,
        f"identity {identity.public.id.hex()}\n"
        f"  signs with {_kind(identity.public)}\n"
        f"  secret  {secret_path} (mode 0600: keep it, and show it nobody)\n"
        f"  public  {public_path}",
        {**_facts(identity.public), "secret": secret_path, "public": public_path},
    )
    return 0


def _kind(public: PublicIdentity) -> str:
    return "Ed25519 and ML-DSA-65" if public.post_quantum else "Ed25519"


def _facts(public: PublicIdentity) -> dict[str, object]:
    return {"id": public.id.hex(), "post_quantum": public.post_quantum}


def _read_public(path: str) -> PublicIdentity:
    """Read the public half from either half of an identity."""
    if not os.path.lexists(path):
        halves = [f"{path}{end}" for end in (".pub", ".key") if os.path.lexists(f"{path}{end}")]
        if halves:
            there = f"{os.strerror(errno.ENOENT)}; there is {' and '.join(halves)}"
            raise FileNotFoundError(errno.ENOENT, there, path)
    with open_input(path) as file:
        secret = file.read(5) == b"-----"
    return Identity.load(path).public if secret else PublicIdentity.load(path)
