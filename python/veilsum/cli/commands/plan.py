"""Choose the parameters of encrypted sums and explain them.

Ring, digits, bytes a value, security. With --out the plan is kept in a file, for keygen and round.
"""

from __future__ import annotations

import argparse
from typing import Any

import veilsum
from veilsum.cli.common import add_json, report
from veilsum.errors import ParameterError
from veilsum.layout.files import check_output
from veilsum.report.units import format_bytes

__all__ = ["add_arguments", "add_plan_options", "plan_from", "run"]


def add_plan_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add the options that describe a plan.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    required : bool
        Whether --clients must be given.
    """
    group = parser.add_argument_group("the plan")
    group.add_argument(
        "--clients", type=int, required=required, metavar="N", help="most uploads in one sum"
    )
    group.add_argument(
        "--bits", type=int, metavar="B", help="bits of a quantised value, 2 to 32 (default: 16)"
    )
    group.add_argument(
        "--weight-bits",
        type=int,
        metavar="B",
        help="bits of the aggregator's weights (default: 0, clients apply their weights)",
    )
    group.add_argument(
        "--security",
        type=int,
        choices=(128, 192, 256),
        metavar="BITS",
        help="128, 192 or 256 (default: 128)",
    )
    group.add_argument(
        "--optimise", choices=("speed", "size"), help="fastest (default) or smallest uploads"
    )
    group.add_argument("--profile", metavar="RING", help="ring, such as n4096 (default: auto)")
    group.add_argument("--engine", metavar="NAME", help="native (default) or openfhe")


def plan_from(args: argparse.Namespace) -> veilsum.Plan:
    """Make the plan that the options describe.

    Parameters
    ----------
    args : Namespace
        The parsed options.

    Returns
    -------
    Plan
        Checked.

    Raises
    ------
    ParameterError
        When an option is out of range.
    HeadroomError
        When no ring holds it; the message names the nearest plan that can be held.
    """
    options: dict[str, Any] = {
        "value_bits": args.bits,
        "weight_bits": args.weight_bits,
        "security": args.security,
        "optimise": args.optimise,
        "profile": args.profile,
        "engine": args.engine,
    }
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in [("clients", args.clients), *given.items()]:
        if isinstance(value, int) and value < 0:
            raise ParameterError(f"{name} is {value}; it cannot be negative")
    return veilsum.Plan(args.clients, **given)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options.

    Parameters
    ----------
    parser : ArgumentParser
        The command's parser.
    """
    add_plan_options(parser, required=True)
    parser.add_argument(
        "--size", type=int, metavar="VALUES", help="also say how large an upload of that many is"
    )
    parser.add_argument("--out", metavar="FILE", help="keep the plan in this file")
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
    """
    plan = plan_from(args)
    facts: dict[str, Any] = {
        "id": plan.id.hex(),
        "clients": plan.clients,
        "value_bits": plan.value_bits,
        "weight_bits": plan.weight_bits,
        "security": plan.security,
        "optimise": plan.optimise,
        "engine": plan.engine,
        "profile": plan.profile,
        "ring_degree": plan.ring_degree,
        "limbs": plan.limbs,
        "log2_modulus": plan.log2_modulus,
        "digits": plan.digits,
        "base": plan.base,
        "field_bits": plan.field_bits,
        "max_weight": plan.max_weight,
        "noise_bound": plan.noise_bound,
        "delta": str(plan.delta),  # up to 200 bits: a string, which every JSON reader keeps
        "bits_per_value": plan.bits_per_value,
        "bytes_per_value": plan.bytes_per_value,
        "expansion_fp32": plan.expansion_fp32,
        "expansion_bf16": plan.expansion_bf16,
        "failure_probability": plan.failure_probability,
        "fixed_bytes": plan.fixed_bytes,
    }
    text = str(plan).rstrip()
    if args.size is not None:
        if not 1 <= args.size <= 2**40:
            raise ParameterError(f"--size is {args.size}; it must be from 1 to 2^40 values")
        facts["upload_bytes"] = plan.upload_bytes(args.size)
        text += (
            f"\n\nAn upload of {args.size:,} values is {format_bytes(facts['upload_bytes'])} "
            f"({format_bytes(4 * args.size)} as fp32)."
        )
    if args.out:
        check_output(args.out, [])
        plan.save(args.out)
        facts["out"] = args.out
        text += f"\n\nSaved to {args.out}."
    report(args, text, facts)
    return 0
