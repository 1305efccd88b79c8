"""The leakage rate counts what it says, and membership inference is an AUC."""

from __future__ import annotations

import numpy as np
import pytest

import veilsum as vs
from veilsum.lab.leakage import View, leakage_rate, membership, random_guesses
from veilsum.lab.leakage.measure import NOTHING


def test_every_feature_must_be_within_the_tolerance() -> None:
    records = np.array([[0.0, 1.0], [2.0, 3.0], [5.0, 5.0]])
    guesses = np.array([[0.05, 0.95], [2.0, 3.2], [9.0, 9.0]])
    found = leakage_rate(records, guesses, 0.1)
    assert (found.probes, found.recovered, found.guesses) == (3, 1, 3)
    assert found.rate == pytest.approx(1 / 3)
    # Features of the nearest guess: 2 of 2, 1 of 2, 0 of 2.
    assert found.feature_share == pytest.approx(0.5)


def test_parts_of_two_guesses_are_no_recovery() -> None:
    found = leakage_rate(np.array([[0.0, 1.0]]), np.array([[0.0, 9.0], [9.0, 1.0]]))
    assert found.recovered == 0
    assert found.feature_share == 0.5


def test_rates_add_up() -> None:
    one = leakage_rate(np.array([[0.0]]), np.array([[0.0]]))
    none = leakage_rate(np.array([[0.0], [1.0], [2.0]]), np.empty((0, 1)))
    total = NOTHING + one + none
    assert (total.probes, total.recovered, total.guesses) == (4, 1, 1)
    assert total.feature_share == pytest.approx(0.25)
    assert NOTHING.rate == 0


@pytest.mark.parametrize(
    ("records", "guesses", "tolerance"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4)), 0.1),
        (np.zeros(3), np.zeros((1, 3)), 0.1),
        (np.zeros((2, 3)), np.zeros((2, 3)), 0.0),
        (np.zeros((2, 3)), np.zeros((2, 3)), float("nan")),
    ],
)
def test_wrong_arguments_are_refused(records, guesses, tolerance) -> None:
    with pytest.raises(vs.ParameterError):
        leakage_rate(records, guesses, tolerance)


def test_random_guesses_are_rows_of_the_population() -> None:
    population = np.arange(12, dtype=np.float32).reshape(4, 3)
    guesses = random_guesses(population, 50, np.random.default_rng(1))
    assert guesses.shape == (50, 3)
    assert {tuple(row) for row in guesses} <= {tuple(row) for row in population.tolist()}


def test_a_view_keeps_gaps_and_refuses_infinities() -> None:
    view = View({"a": np.array([1.0, np.nan, 3.0]), "b": np.array([2.0])})
    assert view.readable == 0.75
    assert view.scaled(-2).values["b"][0] == -4
    masked = view.hidden({"a": np.array([True, False, False]), "b": np.array([False])})
    assert masked.readable == 0.5
    with pytest.raises(vs.ParameterError, match="infinite"):
        View({"a": np.array([np.inf])})


def test_membership_is_the_auc_of_lower_losses() -> None:
    assert membership(np.array([0.1, 0.2]), np.array([0.3, 0.4, 0.5])).auc == 1
    assert membership(np.array([0.9]), np.array([0.3, 0.4])).auc == 0
    assert membership(np.array([0.3, 0.3]), np.array([0.3])).auc == 0.5
    by_hand = membership(np.array([0.1, 0.4]), np.array([0.2, 0.4]))
    assert by_hand.auc == pytest.approx((2 + 0.5) / 4)


def test_membership_of_alike_rows_is_guessing() -> None:
    generator = np.random.default_rng(2)
    found = membership(generator.exponential(size=4000), generator.exponential(size=2000))
    assert abs(found.auc - 0.5) < 5 * found.standard_error
    assert found.standard_error == pytest.approx(np.sqrt(6001 / (12 * 4000 * 2000)))


def test_an_overfitted_model_is_seen_through() -> None:
    generator = np.random.default_rng(3)
    found = membership(generator.exponential(0.1, 500), generator.exponential(1.0, 500))
    assert found.auc > 0.8


@pytest.mark.parametrize(
    ("members", "others"), [([], [1.0]), ([1.0], []), ([np.nan], [1.0]), ([1.0], [np.inf])]
)
def test_membership_refuses_what_it_cannot_score(members, others) -> None:
    with pytest.raises(vs.ParameterError):
        membership(np.array(members), np.array(others))
