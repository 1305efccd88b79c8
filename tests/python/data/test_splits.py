"""Splits: every row in one place, the shares asked for, the same rows for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import veilsum as vs
from veilsum import data


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(
    positives=st.integers(10, 200),
    negatives=st.integers(10, 200),
    fraction=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**32),
)
def test_held_out_rows_keep_the_rate(
    positives: int, negatives: int, fraction: float, seed: int
) -> None:
    labels = np.array([1] * positives + [0] * negatives)
    training, test = data.held_out_rows(labels, fraction, generator(seed))
    assert sorted([*training, *test]) == list(range(len(labels)))
    assert labels[test].sum() == round(fraction * positives)
    assert (1 - labels[test]).sum() == round(fraction * negatives)
    again = data.held_out_rows(labels, fraction, generator(seed))
    np.testing.assert_array_equal(test, again[1])


def test_another_seed_holds_out_other_rows() -> None:
    labels = np.arange(1000) % 2
    one, two = (data.held_out_rows(labels, 0.2, generator(seed))[1] for seed in (1, 2))
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_a_side_without_a_label_is_refused(fraction: float) -> None:
    with pytest.raises(vs.ParameterError, match="leaves one side without any"):
        data.held_out_rows(np.arange(20) % 2, fraction, generator())


def test_imbalanced_shares() -> None:
    assert data.imbalanced_shares(4, 1.0) == pytest.approx((0.4, 0.3, 0.2, 0.1))
    assert data.imbalanced_shares(5, 0.0) == pytest.approx((0.2,) * 5)


@given(
    rows=st.integers(50, 2000),
    weights=st.lists(st.floats(1, 10), min_size=2, max_size=6),
    seed=st.integers(0, 2**32),
)
def test_clouds_take_every_row_once_in_their_shares(
    rows: int, weights: list[float], seed: int
) -> None:
    order = generator(seed).permutation(rows)
    clouds = data.rows_of_clouds(order, weights)
    assert sorted(np.concatenate(clouds)) == list(range(rows))
    for weight, cloud in zip(weights, clouds, strict=True):
        assert abs(len(cloud) - rows * weight / sum(weights)) <= 1


def test_a_cloud_without_rows_is_refused() -> None:
    with pytest.raises(vs.ParameterError, match="cloud 2 of 2 would get none"):
        data.rows_of_clouds(np.arange(10), [0.99, 0.01])


def test_order_without_noise_is_sorted_and_with_noise_is_not() -> None:
    ages = generator().uniform(50, 100, 500)
    sharp = data.rows_by_order(ages, 0.0, generator())
    assert (np.diff(ages[sharp]) >= 0).all()
    noisy = data.rows_by_order(ages, 0.5, generator())
    assert (np.diff(ages[noisy]) < 0).any()
    # Still ordered on the whole: the first quarter is younger than the last by far.
    assert ages[noisy[:125]].mean() + 20 < ages[noisy[-125:]].mean()


@given(
    patients=st.integers(20, 200),
    rows=st.integers(1, 5),
    fraction=st.floats(0.15, 0.5),
    seed=st.integers(0, 2**32),
)
def test_no_patient_is_on_both_sides(patients: int, rows: int, fraction: float, seed: int) -> None:
    numbers = generator(seed).integers(0, patients, patients * rows)
    labels = (generator(seed + 1).random(len(numbers)) < 0.3).astype(np.int64)
    labels[:8] = [0, 0, 0, 0, 1, 1, 1, 1]
    numbers[:8] = patients + np.arange(8)
    training, test = data.held_out_rows(labels, fraction, generator(seed), numbers)
    assert sorted([*training, *test]) == list(range(len(labels)))
    assert not set(numbers[training]) & set(numbers[test])
    # The share is exact in patients of each kind (those with a 1 in some row, and the others).
    positive = {number for number in set(numbers) if labels[numbers == number].max()}
    held_out = set(numbers[test])
    assert len(held_out & positive) == round(fraction * len(positive))
    others = set(numbers) - positive
    assert len(held_out - positive) == round(fraction * len(others))


def test_each_site_is_a_cloud() -> None:
    sites = np.array([2, 0, 2, 3, 0, 2])
    rows, names = data.rows_of_sites(sites, ("a", "b", "c", "d"), 3)
    assert [cloud.tolist() for cloud in rows] == [[1, 4], [0, 2, 5], [3]]
    assert names == ("a", "c", "d")
    with pytest.raises(vs.ParameterError, match=r"3 care units: a \(2\), c \(3\), d \(1\); set"):
        data.rows_of_sites(sites, ("a", "b", "c", "d"), 4)


@given(
    rows=st.integers(100, 2000),
    clouds=st.integers(2, 6),
    alpha=st.floats(0.3, 100),
    seed=st.integers(0, 2**32),
)
def test_dirichlet_clouds_take_every_row_once(
    rows: int, clouds: int, alpha: float, seed: int
) -> None:
    classes = generator(seed).integers(0, 3, rows)
    found = data.rows_by_dirichlet(classes, clouds, alpha, generator(seed))
    assert sorted(np.concatenate(found)) == list(range(rows))
    assert len(found) == clouds
    assert min(map(len, found)) >= 10
    again = data.rows_by_dirichlet(classes, clouds, alpha, generator(seed))
    assert all((one == two).all() for one, two in zip(found, again, strict=True))


def test_alpha_says_how_much_clouds_differ() -> None:
    labels = (np.arange(4000) % 4 == 0).astype(np.int64)

    def spread(alpha: float) -> float:
        rates = [
            np.ptp(
                [labels[c].mean() for c in data.rows_by_dirichlet(labels, 4, alpha, generator(i))]
            )
            for i in range(20)
        ]
        return float(np.mean(rates))

    assert spread(0.3) > 0.4
    assert spread(1000) < 0.05


def test_a_dirichlet_split_that_cannot_be_is_refused() -> None:
    with pytest.raises(vs.ParameterError, match="use a larger alpha or fewer clouds"):
        data.rows_by_dirichlet(np.zeros(39, np.int64), 4, 1.0, generator())
    with pytest.raises(vs.ParameterError, match=r"dirichlet_alpha = 0\.001"):
        data.rows_by_dirichlet(np.zeros(100, np.int64), 5, 0.001, generator())
    exact = data.rows_by_dirichlet(np.zeros(40, np.int64), 4, 1e6, generator())
    assert [len(cloud) for cloud in exact] == [10] * 4
