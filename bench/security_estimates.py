"""The security estimates that SECURITY.md states, made anew.

`python -m bench.security_estimates` prints the table: for every ring, what the cheapest of three
attacks costs, under the public lattice-estimator (github.com/malb/lattice-estimator; Albrecht,
Player and Scott 2015). It is run by hand, with a Python that imports Sage and the estimator, and
takes about ten minutes. Neither is a dependency of anything else here.
`python -m bench.security_estimates --residual` prints only what a sum of two errors leaves of one
of them, which needs nothing but Python.

Three columns, each with 2N samples:

- fresh: secret and error centred binomial of width 8, standard deviation 2.
- hints: an opened sum shows r_1 + r_2 and e_1 + e_2. Given the sum of two equal Gaussians, either
  is a Gaussian with half the variance: 2 / sqrt(2). That is the cost of an attack, not a proof: the
  reduction of Hint-RLWE (Kim et al. 2023) is for discrete Gaussians, and these are binomials. Two
  summands are the worst case, since more of them say less of each, and no sum of one is opened.
- least variance: a binomial is bounded, so an extreme sum says more of its summands than a common
  one, and the sums show the attacker which coefficients those are. Under one key there may be 2^34
  to choose from. He takes the N with the least conditional variance; what is known exactly among
  them takes a dimension away each. N of them are the fewest that determine a key; the estimate lets
  him have 2N as good as these.

Rounding hides more, and no column counts on it. This file imports nothing of Veilsum, which that
Python need not have; a test compares its constants with the core's.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

__all__ = [
    "ERROR_WIDTH",
    "KEY_COEFFICIENTS",
    "RINGS",
    "Residual",
    "Ring",
    "Selection",
    "binomial_probabilities",
    "least_variance",
    "residuals",
]

ERROR_WIDTH = 8  # of the centred binomial that keys and errors are drawn from
KEY_COEFFICIENTS = 2**34  # the most that one upload key serves


@dataclass(frozen=True)
class Ring:
    """One of the planner's rings.

    Attributes
    ----------
    name : str
        What `Plan(profile=...)` takes.
    degree : int
        N, the degree of X^N + 1.
    log2_modulus : int
        Bits of q, 48 a prime.
    """

    name: str
    degree: int
    log2_modulus: int


# The first three are for 128 bits, the others for 192 and 256.
RINGS = (
    Ring("n2048", 2048, 48),
    Ring("n4096", 4096, 96),
    Ring("n8192", 8192, 192),
    Ring("n4096q48", 4096, 48),
    Ring("n8192q96", 8192, 96),
    Ring("n16384q192", 16384, 192),
)


@dataclass(frozen=True)
class Residual:
    """What one value of the sum of two errors leaves of one of them.

    Attributes
    ----------
    total : int
        The sum of the two errors.
    probability : Fraction
        How often the sum has this value.
    variance : Fraction
        The variance of either error, given the sum.
    """

    total: int
    probability: Fraction
    variance: Fraction


@dataclass(frozen=True)
class Selection:
    """The errors that an attacker chooses.

    Attributes
    ----------
    known : int
        How many of them the sums give away.
    deviation : float
        The standard deviation of the others: the root of their mean variance.
    """

    known: int
    deviation: float


def binomial_probabilities(width: int) -> dict[int, Fraction]:
    """The centred binomial: ones among `width` random bits, less those among `width` others.

    Parameters
    ----------
    width : int
        At least 1.

    Returns
    -------
    dict of int to Fraction
        The probability of each value from -width to width.
    """
    ways = dict.fromkeys(range(-width, width + 1), 0)
    for ones in range(width + 1):
        for others in range(width + 1):
            ways[ones - others] += math.comb(width, ones) * math.comb(width, others)
    return {value: Fraction(count, 4**width) for value, count in ways.items()}


def residuals(width: int) -> list[Residual]:
    """What each sum of two errors leaves of one, by least variance.

    Parameters
    ----------
    width : int
        Of the centred binomial.

    Returns
    -------
    list of Residual
        One for each value of the sum; their probabilities add up to 1.
    """
    single = binomial_probabilities(width)
    found = []
    for total in range(-2 * width, 2 * width + 1):
        joint = {
            error: chance * single[total - error]
            for error, chance in single.items()
            if total - error in single
        }
        probability = sum(joint.values(), Fraction(0))
        mean = sum((error * chance for error, chance in joint.items()), Fraction(0)) / probability
        square = sum((error**2 * chance for error, chance in joint.items()), Fraction(0))
        found.append(Residual(total, probability, square / probability - mean**2))
    return sorted(found, key=lambda residual: (residual.variance, residual.total))


def least_variance(width: int, available: int, wanted: int) -> Selection:
    """The errors of least conditional variance among those whose sums were opened.

    Of each value of the sum as many occur as are expected; none is taken for certain that is
    expected less than once.

    Parameters
    ----------
    width : int
        Of the centred binomial.
    available : int
        Coefficients to choose from.
    wanted : int
        How many are chosen, at most `available`.

    Returns
    -------
    Selection
        How many of them are known, and the standard deviation of the others.

    Raises
    ------
    ValueError
        When more are wanted than there are.
    """
    if wanted > available:
        raise ValueError(f"{wanted} coefficients are wanted, but only {available} are available")
    known = 0
    variances = Fraction(0)
    missing = Fraction(wanted)
    for residual in residuals(width):
        taken = min(missing, residual.probability * available)
        if residual.variance == 0:
            taken = Fraction(math.floor(taken))
            known += int(taken)
        variances += taken * residual.variance
        missing -= taken
    return Selection(known, math.sqrt(variances / (wanted - known)) if known < wanted else 0.0)


def cheapest_attack(degree: int, log2_modulus: int, deviation: float) -> tuple[float, str]:
    """The cheapest of uSVP, BDD and dual hybrid.

    Parameters
    ----------
    degree : int
        Dimension of the secret; there are twice as many samples.
    log2_modulus : int
        Bits of q.
    deviation : float
        Standard deviation of secret and error.

    Returns
    -------
    float
        log2 of the attack's operations.
    str
        Its name.
    """
    from estimator import LWE, ND  # Sage takes seconds to import, and --residual does without

    small = ND.DiscreteGaussian(deviation)
    instance = LWE.Parameters(
        n=degree, q=2**log2_modulus, Xs=small, Xe=small, m=2 * degree
    ).normalize()
    attacks = {"uSVP": LWE.primal_usvp, "BDD": LWE.primal_bdd, "dual hybrid": LWE.dual_hybrid}
    costs = {name: math.log2(float(attack(instance)["rop"])) for name, attack in attacks.items()}
    name = min(costs, key=costs.__getitem__)
    return costs[name], name


def residual_lines() -> Iterator[str]:
    """Lines of text: what sums of two errors leave, and what is chosen in each ring."""
    yield f"Width {ERROR_WIDTH}, by least variance of an error given the sum of two:"
    for residual in residuals(ERROR_WIDTH)[:8]:
        count = float(residual.probability * KEY_COEFFICIENTS)
        yield (
            f"  sum {residual.total:+3d}: deviation {math.sqrt(residual.variance):.3f}, "
            f"probability 2^{math.log2(residual.probability):.1f}, {count:,.0f} among "
            f"2^{math.log2(KEY_COEFFICIENTS):.0f}"
        )
    for degree in sorted({ring.degree for ring in RINGS}):
        chosen = least_variance(ERROR_WIDTH, KEY_COEFFICIENTS, degree)
        yield f"  N = {degree:5d}: {chosen.known} known, the others {chosen.deviation:.3f}"


def table_lines() -> Iterator[str]:
    """Lines of a Markdown table: the estimates of every ring, in bits."""
    fresh = math.sqrt(ERROR_WIDTH / 2)
    yield "| ring | N | log2 q | fresh | hints | least variance |"
    yield "| :-- | --: | --: | --: | --: | --: |"
    for ring in RINGS:
        chosen = least_variance(ERROR_WIDTH, KEY_COEFFICIENTS, ring.degree)
        cells = []
        for degree, deviation in (
            (ring.degree, fresh),
            (ring.degree, fresh / math.sqrt(2)),
            (ring.degree - chosen.known, chosen.deviation),
        ):
            bits, name = cheapest_attack(degree, ring.log2_modulus, deviation)
            cells.append(f"{bits:.1f} ({name}, {deviation:.3f})")
        yield f"| {ring.name} | {ring.degree} | {ring.log2_modulus} | {' | '.join(cells)} |"


def main() -> None:
    """Print what the options ask for."""
    parser = argparse.ArgumentParser(
        description="The security estimates that SECURITY.md states, made anew."
    )
    parser.add_argument(
        "--residual", action="store_true", help="only what a sum of two errors leaves; no estimator"
    )
    options = parser.parse_args()
    for line in residual_lines():
        print(line, flush=True)
    if options.residual:
        return
    print()
    for line in table_lines():
        print(line, flush=True)


if __name__ == "__main__":
    main()
