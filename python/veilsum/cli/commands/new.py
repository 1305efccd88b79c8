"""Write a project of your own: a table, its public ranges, a network and a configuration.

What is written runs as it is, on made-up rows; its README says what to put in their place.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from veilsum.training.project import write_project

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument("folder", type=Path, metavar="DIR", help="a new folder, or an empty one")


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Parameters
    ----------
    args : argparse.Namespace
        As `add_arguments` declared them.

    Returns
    -------
    int
        Exit status: 0.

    Raises
    ------
    veilsum.ParameterError
        When something is in the folder already.
    OSError
        When it cannot be written.
    """
    for path in write_project(args.folder):
        print(path)
    if not getattr(args, "quiet", False):
        print(f"next: cd {args.folder} && veilsum train config.toml")
    return 0
