"""Say who spoiled a round, as far as the challenges that members opened show it.

Anybody can do this, and whoever reads the verdict computes it again. A reader of the sum
(--identity, and --group where the clients read) looks at the members' answers too (--answers).
"""

from __future__ import annotations

import argparse

import veilsum
from veilsum._core import Answer, Certificate, ChallengeAnswer
from veilsum.api.members import blame
from veilsum.cli.common import add_force, add_json, refuse_existing, report
from veilsum.cli.parties import add_group, group_of
from veilsum.errors import ParameterError
from veilsum.layout.files import check_output

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    parser.add_argument("round", metavar="ROUND", help="the round")
    parser.add_argument("certificate", metavar="CERTIFICATE", help="from: veilsum certify")
    parser.add_argument("challenges", nargs="+", metavar="CHALLENGE", help="the members' files")
    parser.add_argument(
        "--answers", nargs="+", default=[], metavar="ANSWER", help="for a reader: their answers"
    )
    parser.add_argument("--identity", metavar="KEY", help="the reader's identity, with --answers")
    add_group(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="where to write the verdict")
    add_force(parser, "a verdict")
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
        When there are answers and nobody who can read them.
    RoundError
        When the certificate does not hold.
    FileExistsError
        When a file is in the way.
    """
    inputs = [args.round, args.certificate, *args.challenges, *args.answers]
    check_output(args.out, [*inputs, *filter(None, (args.identity, args.group))])
    refuse_existing([args.out], force=args.force)
    if args.answers and args.identity is None:
        raise ParameterError("--answers are sealed to the readers; --identity KEY opens them")
    rnd = veilsum.Round.load(args.round)
    identity = veilsum.Identity.load(args.identity) if args.identity is not None else None
    group = group_of(args, rnd, identity)
    certificate = Certificate.load(args.certificate, rnd)
    challenges = [ChallengeAnswer.load(path, rnd) for path in args.challenges]
    answers = [Answer.load(path, rnd) for path in args.answers]
    reader = None if rnd.group is not None else identity
    verdict = blame(rnd, certificate, challenges, answers, group=group, reader=reader)
    verdict.save(args.out)
    report(
        args,
        f"{args.out}: {verdict.sentence}",
        {
            "round": rnd.id.hex(),
            "clients": verdict.clients,
            "members": verdict.members,
            "suspects": [list(pair) for pair in verdict.suspects],
            "sentence": verdict.sentence,
            "out": args.out,
        },
    )
    return 0
