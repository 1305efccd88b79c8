"""The security estimates: everything that needs no estimator, and what the estimator is asked."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from fractions import Fraction
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest

import veilsum as vs
from bench import security_estimates as estimates

ROOT = Path(__file__).resolve().parents[3]
WIDTHS = range(1, 9)


def all_samples(width):
    """Every outcome of 2 * width fair bits, as the sampler reads them: ones less other ones."""
    return [sum(bits[:width]) - sum(bits[width:]) for bits in product((0, 1), repeat=2 * width)]


@pytest.mark.parametrize("width", (1, 2, 3, 4))
def test_probabilities_are_those_of_all_bit_strings(width):
    counted = Counter(all_samples(width))
    expected = {value: Fraction(count, 4**width) for value, count in counted.items()}
    assert estimates.binomial_probabilities(width) == expected


@pytest.mark.parametrize("width", (1, 2))
def test_residuals_are_those_of_all_pairs(width):
    pairs = {}
    for first, second in product(all_samples(width), repeat=2):
        pairs.setdefault(first + second, []).append(first)
    expected = {}
    for total, errors in pairs.items():
        mean = Fraction(sum(errors), len(errors))
        variance = sum((error - mean) ** 2 for error in errors) / len(errors)
        expected[total] = (Fraction(len(errors), 16**width), variance)
    found = estimates.residuals(width)
    assert {one.total: (one.probability, one.variance) for one in found} == expected


@pytest.mark.parametrize("width", WIDTHS)
def test_residuals_are_hypergeometric(width):
    # A sample is the number of ones among 2w bits, less w. Given K ones among the 4w bits of two,
    # the ones of the first are hypergeometric.
    bits = 4 * width
    for one in estimates.residuals(width):
        ones = one.total + 2 * width
        assert one.probability == Fraction(math.comb(bits, ones), 2**bits)
        assert one.variance == Fraction(ones * (bits - ones), 4 * (bits - 1))


@pytest.mark.parametrize("width", WIDTHS)
def test_on_average_half_the_variance_is_left(width):
    # Var(e1 | e1 + e2) averages Var(e1 - e2) / 4, for e1 - e2 and e1 + e2 are uncorrelated: what
    # the column "hints" takes for all of them.
    found = estimates.residuals(width)
    assert sum(one.probability for one in found) == 1
    assert sum(one.probability * one.variance for one in found) == Fraction(width, 2) / 2
    variances = [one.variance for one in found]
    assert variances == sorted(variances)


def expected_selection(width, available, wanted):
    """By the closed form, class by class from the extremes inwards, in floating point."""
    bits = 4 * width
    known = math.floor(min(wanted, 2 * available / 2**bits))
    left, total = wanted - known, 0.0
    for ones in range(1, 2 * width + 1):
        both = 1 if ones == 2 * width else 2
        taken = min(left, both * math.comb(bits, ones) * available / 2**bits)
        total += taken * ones * (bits - ones) / (4 * (bits - 1))
        left -= taken
    return known, math.sqrt(total / (wanted - known)) if known < wanted else 0.0


@pytest.mark.parametrize("width", (4, 8))
@pytest.mark.parametrize("wanted", (1024, 2048, 8192, 16384))
@pytest.mark.parametrize("available", (2**16, 2**24, 2**34))
def test_the_least_variance_is_chosen(width, available, wanted):
    chosen = estimates.least_variance(width, available, wanted)
    known, deviation = expected_selection(width, available, wanted)
    assert chosen.known == known
    # Two dozen roundings of double separate the two computations.
    assert chosen.deviation == pytest.approx(deviation, rel=1e-14)


def test_all_coefficients_leave_the_average():
    chosen = estimates.least_variance(8, 2048, 2048)
    assert chosen.known == 0
    assert chosen.deviation == pytest.approx(math.sqrt(2), rel=1e-14)


def test_a_choice_helps_the_attacker_and_a_wider_binomial_does_not():
    chosen = [estimates.least_variance(8, 2**bits, 2048).deviation for bits in range(11, 41)]
    assert chosen == sorted(chosen, reverse=True)
    assert (
        estimates.least_variance(4, 2**24, 2048).deviation
        < estimates.least_variance(8, 2**34, 2048).deviation
    )


def test_where_everything_is_known_nothing_is_left():
    assert estimates.least_variance(1, 2**20, 1024) == estimates.Selection(1024, 0.0)


def test_no_more_can_be_chosen_than_there_is():
    with pytest.raises(ValueError, match="2049 coefficients are wanted"):
        estimates.least_variance(8, 2048, 2049)


class FakeEstimator:
    """Records what the estimator is asked; each attack costs what the test says."""

    def __init__(self, **costs):
        self.asked = []
        attacks = {name: (lambda _, rop=rop: {"rop": rop}) for name, rop in costs.items()}
        self.ND = SimpleNamespace(DiscreteGaussian=lambda deviation: ("gaussian", deviation))
        self.LWE = SimpleNamespace(Parameters=self.parameters, **attacks)

    def parameters(self, **given):
        self.asked.append(given)
        return SimpleNamespace(normalize=lambda: given)


def test_the_cheapest_attack_counts(monkeypatch):
    fake = FakeEstimator(primal_usvp=2.0**140, primal_bdd=2.0**139, dual_hybrid=2.0**138.5)
    monkeypatch.setitem(sys.modules, "estimator", fake)
    assert estimates.cheapest_attack(2048, 48, 2.0) == (138.5, "dual hybrid")
    (asked,) = fake.asked
    assert asked == {
        "n": 2048,
        "q": 2**48,
        "Xs": ("gaussian", 2.0),
        "Xe": ("gaussian", 2.0),
        "m": 4096,
    }


def test_every_ring_has_three_estimates(monkeypatch):
    fake = FakeEstimator(primal_usvp=2.0**150, primal_bdd=2.0**151, dual_hybrid=2.0**152)
    monkeypatch.setitem(sys.modules, "estimator", fake)
    lines = list(estimates.table_lines())
    assert len(lines) == 2 + len(estimates.RINGS)
    assert all(line.count("150.0 (uSVP") == 3 for line in lines[2:])
    for ring, asked in zip(estimates.RINGS, zip(*[iter(fake.asked)] * 3, strict=True), strict=True):
        chosen = estimates.least_variance(
            estimates.ERROR_WIDTH, estimates.KEY_COEFFICIENTS, ring.degree
        )
        assert [one["n"] for one in asked] == [ring.degree] * 2 + [ring.degree - chosen.known]
        assert [one["q"] for one in asked] == [2**ring.log2_modulus] * 3
        fresh, hints, least = (one["Xe"][1] for one in asked)
        assert fresh**2 == pytest.approx(estimates.ERROR_WIDTH / 2)
        assert hints**2 == pytest.approx(fresh**2 / 2)
        assert least == chosen.deviation


def test_without_the_estimator_the_residual_is_printed(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "estimator", None)  # importing it is an error
    monkeypatch.setattr(sys, "argv", ["security_estimates", "--residual"])
    estimates.main()
    printed = capsys.readouterr().out
    assert "sum +16: deviation 0.000, probability 2^-32.0, 4 among 2^34" in printed
    assert "N =  2048: 8 known" in printed


def test_constants_are_the_cores():
    kernels = (ROOT / "cpp/src/isa/kernels.h").read_text(encoding="utf-8")
    (width,) = re.findall(r"kCbdWidth = (\d+);", kernels)
    assert int(width) == estimates.ERROR_WIDTH
    plans = (ROOT / "cpp/src/scheme/plan.h").read_text(encoding="utf-8")
    (bits,) = re.findall(r"kMaxKeyCoefficients = std::uint64_t\{1\} << (\d+);", plans)
    assert 2 ** int(bits) == estimates.KEY_COEFFICIENTS


@pytest.mark.parametrize("ring", estimates.RINGS, ids=lambda ring: ring.name)
def test_rings_are_the_planners(ring):
    plan = vs.Plan(clients=2, value_bits=2, profile=ring.name)
    assert (plan.ring_degree, plan.log2_modulus) == (ring.degree, ring.log2_modulus)


def test_security_md_states_the_rings_and_what_is_left():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    for ring in estimates.RINGS:
        (row,) = [row for row in rows if row[1:2] == [ring.name]]
        assert row[3:5] == [str(ring.degree), str(ring.log2_modulus)]
    smallest = min(ring.degree for ring in estimates.RINGS)
    chosen = estimates.least_variance(estimates.ERROR_WIDTH, estimates.KEY_COEFFICIENTS, smallest)
    assert f"σ = {chosen.deviation:.2f}" in text
