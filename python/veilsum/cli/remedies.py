"""Remedies of the package's messages, for who types commands: options in place of Python's calls.

Layer: command line, under dispatch. The package writes its messages for programs; a few words of
them mean nothing on a command line. A test runs the commands whose messages stand here.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["in_options"]

_REMEDIES: Final = [
    (re.compile(pattern), option)
    for pattern, option in (
        (r"limit=\{'([^']*)': \.\.\.\}", r"--limit \1=X"),
        (r" \(see RowMean\)", " (see veilsum round --most-rows)"),
        (
            r"\(encrypt\(\.\.\., weight=\.\.\.\), or RowMean to weigh by rows\)",
            "(encrypt --weight, or round --most-rows and encrypt --rows)",
        ),
        (r"encrypt\(\.\.\., weight=\.\.\.\)", "encrypt --weight"),
        (r"plan with weight_bits >= 1", "plan with --weight-bits 1 or more"),
        (r"plan with more weight_bits", "plan with more --weight-bits"),
        (r"a plan with more value_bits", "a plan with more --bits"),
        (
            r"make the round with like=state_dict to sum",
            "give the round --like FILE.safetensors to sum",
        ),
        (r"; pass a mapping of names$", "; give a .safetensors file"),
        (
            r"; pass (\d+ values?) or make a round with size=(\d+)",
            r"; give \1, or a round with --size \2",
        ),
        (r"dtype='(\w+)' \(--dtype \1\)", r"--dtype \1"),
        (r"\(roster=, --roster\), or leave the signer out", "(--roster), or leave --identity out"),
        (
            r"pass signer=Identity\.load\(path\), or --identity KEY on the command line",
            "give --identity KEY",
        ),
        (r"open_sum\(\.\.\., uploads=\[\.\.\.\]\); veilsum open --uploads", "open --uploads"),
        (r"open with export=True", "open with --export"),
        (r"with resume=True \(--resume\)", "with --resume"),
        (r"leave out resume$", "leave out --resume"),
        (r"with on_clip=\"count\"", "without --refuse-clipping"),
        # The names of what is out of range, where a message begins.
        (r"^value_bits (?=is |= )", "--bits "),
        (r"^(clients|limit|security|optimise|profile|engine) (?=is |= )", r"--\1 "),
        (r"^weight_bits (?=is |= )", "--weight-bits "),
        (r"^min_clients (?=is |= )", "--min-clients "),
        (r"^most_rows (?=is |= )", "--most-rows "),
        (r"fewer than min_clients = ", "fewer than --min-clients "),
    )
]


def in_options(message: str) -> str:
    """Name options where a message of the package names Python's arguments.

    Parameters
    ----------
    message : str
        Of an error or a warning.

    Returns
    -------
    str
        The same, for the command line.
    """
    for pattern, option in _REMEDIES:
        message = pattern.sub(option, message)
    return message
