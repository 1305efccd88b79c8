"""Make or show a client's Ed25519 signing key, for rounds with a roster.

NAME.key stays with the client (mode 0600), NAME.pub goes to whoever makes the round.

  veilsum identity new clinic-a        writes clinic-a.key and clinic-a.pub
  veilsum identity show clinic-a.key   prints the public key of a .key or .pub file
"""

from __future__ import annotations

import argparse
import errno
import os

from veilsum.cli.common import add_force, add_json, check_ending, refuse_existing, report
from veilsum.errors import ParameterError, WireFormatError
from veilsum.roster import Identity, load_public_key, save_public_key

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument("action", choices=("new", "show"), help="make a key, or show one")
    parser.add_argument("name", metavar="NAME", help="new: name of the files; show: the file")
    add_force(parser, "a signing key")
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
        When a new name ends in .key or .pub.
    """
    if args.action == "show":
        public_key = _read_public(args.name)
        report(args, public_key.hex(), {"public_key": public_key.hex()})
        return 0
    check_ending(args.name, ".key", ".pub")
    secret_path, public_path = f"{args.name}.key", f"{args.name}.pub"
    refuse_existing([secret_path, public_path], force=args.force)
    identity = Identity.generate()
    identity.save(secret_path, overwrite=args.force)
    save_public_key(public_path, identity.public_key)
    report(
        args,
        f"identity {identity.public_key.hex()}\n"
        f"  secret  {secret_path} (mode 0600: keep it, and show it nobody)\n"
        f"  public  {public_path}",
        {"public_key": identity.public_key.hex(), "secret": secret_path, "public": public_path},
    )
    return 0


def _read_public(path: str) -> bytes:
    """Read the public key from either half of an identity."""
    if not os.path.lexists(path):
        halves = [f"{path}{end}" for end in (".pub", ".key") if os.path.lexists(f"{path}{end}")]
        if halves:
            there = f"{os.strerror(errno.ENOENT)}; there is {' and '.join(halves)}"
            raise FileNotFoundError(errno.ENOENT, there, path)
    try:
        return load_public_key(path)
    except WireFormatError:
        pass
    try:
        return Identity.load(path).public_key
    except WireFormatError:
        raise WireFormatError(f"{path} is neither half of an identity (Ed25519, PEM)") from None
    except ParameterError:
        raise
