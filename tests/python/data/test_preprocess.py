"""Preprocessing from sums alone agrees with statistics of pooled rows, and never sees them."""

from __future__ import annotations

import numpy as np
import pytest

import veilsum as vs
from veilsum import data
from veilsum.data import Feature, Moments, Preprocessor, Study, local_moments
from veilsum.data.preprocess import from_unit, to_unit

FEATURES = (
    Feature("age", "numeric", 0, 120),
    Feature("sex", "binary", 0, 1),
    Feature("marker", "numeric", 0.1, 20, log=True, may_be_missing=True),
)


def make_study(rows: int, seed: int, **changes: object) -> Study:
    generator = np.random.default_rng(seed)
    marker = generator.lognormal(0, 0.5, rows)
    marker[generator.random(rows) < 0.2] = np.nan
    values = np.column_stack(
        [generator.uniform(50, 100, rows), generator.integers(0, 2, rows), marker]
    ).astype(float)
    options: dict[str, object] = {
        "name": "made up",
        "title": "",
        "source": "",
        "features": FEATURES,
        "values": values,
        "labels": generator.integers(0, 2, rows),
        "outcome": "outcome",
    }
    return Study(**(options | changes))  # type: ignore[arg-type]


def pooled(studies: list[Study]) -> Moments:
    parts = [local_moments(study).to_mapping() for study in studies]
    return Moments.from_mapping({name: sum(part[name] for part in parts) for name in parts[0]})


def test_pooled_moments_give_the_pooled_mean_and_deviation() -> None:
    studies = [make_study(rows, seed) for seed, rows in enumerate((50, 200, 3))]
    moments = pooled(studies)
    fitted = Preprocessor.fit(FEATURES, moments)
    together = np.concatenate([study.values for study in studies])
    inputs = np.concatenate([fitted.transform(study) for study in studies])
    assert moments.rows == 253
    assert moments.observed.tolist() == [253, 253, int((~np.isnan(together[:, 2])).sum())]
    np.testing.assert_allclose(
        inputs[:, 0], (together[:, 0] - together[:, 0].mean()) / together[:, 0].std(), atol=1e-5
    )
    logs = np.log(together[:, 2])
    expected = (logs - np.nanmean(logs)) / np.nanstd(logs)
    np.testing.assert_allclose(inputs[:, 2], np.nan_to_num(expected), atol=1e-5)


def test_inputs_have_indicators_and_no_gaps() -> None:
    study = make_study(100, 1)
    fitted = Preprocessor.fit(FEATURES, local_moments(study))
    inputs = fitted.transform(study)
    assert fitted.names == ("age", "sex", "marker", "marker missing")
    assert inputs.dtype == np.float32
    assert inputs.shape == (100, 4)
    assert np.isfinite(inputs).all()
    missing = np.isnan(study.column("marker"))
    np.testing.assert_array_equal(inputs[:, 3], missing)
    assert (inputs[missing, 2] == 0).all()
    np.testing.assert_array_equal(inputs[:, 1], study.column("sex"))


def test_values_beyond_the_public_range_are_bounded_in_sums_and_inputs() -> None:
    study = make_study(
        4, 1, values=np.array([[500.0, 1, 99], [-5, 0, 0.001], [60, 0, 1], [60, 1, 1]])
    )
    moments = local_moments(study)
    assert (np.abs(moments.sums) <= moments.observed).all()
    assert (moments.squares <= moments.observed).all()
    inputs = Preprocessor.fit(FEATURES, moments).transform(study)
    at_the_ends = make_study(
        4, 1, values=np.array([[120.0, 1, 20], [0, 0, 0.1], [60, 0, 1], [60, 1, 1]])
    )
    np.testing.assert_array_equal(
        inputs, Preprocessor.fit(FEATURES, moments).transform(at_the_ends)
    )


def test_a_constant_column_becomes_zero() -> None:
    study = make_study(50, 1)
    study.values[:, 0] = 70.0
    inputs = Preprocessor.fit(FEATURES, local_moments(study)).transform(study)
    np.testing.assert_allclose(inputs[:, 0], 0, atol=1e-6)


def test_a_feature_without_any_value_is_refused() -> None:
    study = make_study(5, 1)
    study.values[:, 2] = np.nan
    with pytest.raises(vs.ParameterError, match="marker has no value in any cloud"):
        Preprocessor.fit(FEATURES, local_moments(study))


def test_an_unexpected_gap_is_refused() -> None:
    study = make_study(5, 1)
    fitted = Preprocessor.fit(FEATURES, local_moments(study))
    study.values[3, 0] = np.nan
    with pytest.raises(vs.ParameterError, match="age lacks a value in row 3"):
        fitted.transform(study)


def test_another_study_is_refused() -> None:
    study = make_study(5, 1)
    fitted = Preprocessor.fit(FEATURES, local_moments(study))
    with pytest.raises(vs.ParameterError, match="other features"):
        fitted.transform(study.without(["sex"]))


def test_too_many_rows_are_refused() -> None:
    rows = data.MAX_ROWS + 1
    study = make_study(
        1, 1, values=np.broadcast_to(np.ones((1, 3)), (rows, 3)), labels=np.zeros(rows, dtype=int)
    )
    with pytest.raises(vs.ParameterError, match="at most 1048576"):
        local_moments(study)


def test_description_is_in_the_columns_units() -> None:
    study = make_study(2000, 3)
    age, sex, marker = Preprocessor.fit(FEATURES, local_moments(study)).describe()
    assert age["mean"] == pytest.approx(study.column("age").mean())
    assert age["deviation"] == pytest.approx(study.column("age").std())
    logs = np.log(study.column("marker"))
    assert marker["mean"] == pytest.approx(np.exp(np.nanmean(logs)))
    assert marker["deviation"] == pytest.approx(np.exp(np.nanstd(logs)))
    assert sex["kind"] == "binary"


@pytest.mark.parametrize(
    ("low", "high", "log", "message"),
    [(1, 1, False, "is empty"), (2, 1, False, "is empty"), (0, 5, True, "above 0")],
)
def test_impossible_features_are_refused(low: float, high: float, log: bool, message: str) -> None:
    with pytest.raises(vs.ParameterError, match=message):
        Feature("bad", "numeric", low, high, log=log)


def test_a_study_of_another_shape_is_refused() -> None:
    with pytest.raises(vs.ParameterError, match="do not fit 3 features"):
        make_study(5, 1, labels=np.zeros(4, dtype=int))


TOGETHER = (
    Feature("low", "numeric", 0, 10, may_be_missing=True),
    Feature("high", "numeric", 0, 10, may_be_missing=True, missing_with="low"),
    Feature("last", "numeric", 0, 10, may_be_missing=True, missing_with="low"),
)


def together(missing: list[list[int]]) -> Study:
    values = np.where(np.array(missing) == 1, np.nan, 5.0)
    rows = {"features": TOGETHER, "values": values, "labels": np.zeros(len(values), np.int64)}
    return make_study(1, 1, **rows)


def test_features_missing_together_share_an_indicator() -> None:
    study = together([[0, 0, 0], [1, 1, 1]])
    fitted = Preprocessor.fit(TOGETHER, local_moments(study))
    assert fitted.names == ("low", "high", "last", "low missing")
    np.testing.assert_array_equal(fitted.transform(study)[:, 3], [0, 1])
    # Whoever carried it is left out: the next one does.
    left = study.without(["low"])
    fitted = Preprocessor.fit(left.features, local_moments(left))
    assert fitted.names == ("high", "last", "high missing")
    last = left.without(["high"])
    assert Preprocessor.fit(last.features, local_moments(last)).names == ("last", "last missing")
    assert study.without(["high"]).features == (TOGETHER[0], TOGETHER[2])


def test_what_is_missing_together_is_checked() -> None:
    with pytest.raises(vs.ParameterError, match="last is not missing in the same rows as low"):
        together([[0, 0, 0], [1, 1, 0]])
    with pytest.raises(vs.ParameterError, match="is missing with low, but may not be missing"):
        Feature("high", "numeric", 0, 10, missing_with="low")


def test_rows_of_patients_and_sites_must_fit() -> None:
    with pytest.raises(vs.ParameterError, match=r"patients \(2,\) do not fit 3 rows"):
        make_study(3, 1, patients=np.arange(2))
    with pytest.raises(vs.ParameterError, match="a row is of site 2, but only 2 have a name"):
        make_study(3, 1, sites=np.arange(3), site_names=("a", "b"))
    study = make_study(3, 1, sites=np.arange(3), site_names=("a", "b", "c"), patients=np.arange(3))
    part = study.subset(np.array([2, 0]))
    assert part.sites is not None
    assert part.patients is not None
    assert part.sites.tolist() == part.patients.tolist() == [2, 0]


def test_all_features_without_a_value_are_named_at_once() -> None:
    study = together([[1, 1, 1], [1, 1, 1]])
    with pytest.raises(vs.ParameterError, match=r'3 features have no.*= \["low", "high", "last"\]'):
        Preprocessor.fit(TOGETHER, local_moments(study))


TARGET = Feature("length", "numeric", 1, 100, log=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": ("a", "b")}, "two classes are a yes-or-no outcome"),
        (
            {"classes": ("a", "b", "c"), "labels": np.full(5, 3)},
            "labels are 3 to 3; must be 0 to 2",
        ),
        ({"labels": np.full(5, 2)}, "labels are 2 to 2; must be 0 to 1"),
        ({"labels": np.full(5, -1)}, "must be 0 to 1"),
        ({"target": TARGET}, "needs target and numbers, both"),
        ({"numbers": np.ones(5)}, "needs target and numbers, both"),
        ({"target": TARGET, "numbers": np.ones(4)}, r"numbers \(4,\) do not fit 5 rows"),
        (
            {"target": TARGET, "numbers": np.ones(5), "classes": ("a", "b", "c")},
            "the outcome is a number and cannot have classes",
        ),
    ],
)
def test_an_outcome_that_does_not_fit_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(vs.ParameterError, match=words):
        make_study(5, 1, **changes)


def test_an_outcome_of_numbers_goes_with_its_rows() -> None:
    study = make_study(5, 1, labels=np.zeros(5, int), target=TARGET, numbers=np.arange(5.0))
    assert study.outputs == 1
    part = study.subset(np.array([3, 1]))
    assert part.numbers is not None
    assert part.numbers.tolist() == [3.0, 1.0]
    assert make_study(5, 1, classes=("a", "b", "c", "d")).outputs == 4


def test_units_go_to_one_scale_and_back() -> None:
    values = np.array([0.5, 1.0, 10.0, 100.0, 300.0])
    units = to_unit(TARGET, values)
    np.testing.assert_allclose(units, [-1, -1, 0, 1, 1], atol=1e-15)
    np.testing.assert_allclose(from_unit(TARGET, units), np.clip(values, 1, 100))


def test_a_missing_yes_or_no_is_no_input_that_is_not_a_number() -> None:
    feature = Feature("smokes", "binary", 0, 1, may_be_missing=True)
    study = make_study(
        3,
        1,
        features=(feature,),
        values=np.array([[1.0], [np.nan], [0.0]]),
        labels=np.zeros(3, int),
    )
    inputs = Preprocessor.fit((feature,), local_moments(study)).transform(study)
    assert inputs.tolist() == [[1, 0], [0, 1], [0, 0]]
