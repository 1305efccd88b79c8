"""The flchain study as it is loaded: its size, its columns, and what must never be among them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import veilsum as vs
from veilsum import data
from veilsum.data.flchain import load_flchain


@pytest.fixture(scope="module")
def study() -> data.Study:
    return load_flchain()


def test_it_has_all_patients_and_deaths(study: data.Study) -> None:
    assert len(study) == 7874
    assert study.labels.sum() == 2169
    assert set(np.unique(study.labels)) == {0, 1}


def test_its_features_are_what_was_known_at_the_blood_sample(study: data.Study) -> None:
    names = [feature.name for feature in study.features]
    assert names == ["age", "sex", "sample.yr", "kappa", "lambda", "flc.grp", "creatinine", "mgus"]
    assert {name for name, _ in study.left_out} == {"chapter", "futime"}


def test_no_feature_tells_the_outcome(study: data.Study) -> None:
    # Follow-up time and cause of death separate the dead almost perfectly; nothing known at the
    # blood sample comes near. Age, the best single feature, has an AUC of about 0.81.
    for feature in study.features:
        values = study.column(feature.name)
        known = ~np.isnan(values)
        auc = _auc(study.labels[known], values[known])
        assert 0.15 < auc < 0.85, f"{feature.name} alone has AUC {auc:.3f}"


def _auc(labels: np.ndarray, values: np.ndarray) -> float:
    _, ranks, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    positives = labels.sum()
    total = middle[ranks][labels == 1].sum() - positives * (positives + 1) / 2
    return float(total / (positives * (len(labels) - positives)))


def test_only_creatinine_is_missing(study: data.Study) -> None:
    missing = {f.name: int(np.isnan(study.column(f.name)).sum()) for f in study.features}
    assert missing.pop("creatinine") == 1350
    assert not any(missing.values())
    assert [f.name for f in study.features if f.may_be_missing] == ["creatinine"]


def test_values_lie_in_the_public_ranges(study: data.Study) -> None:
    for feature in study.features:
        values = study.column(feature.name)
        assert feature.low <= np.nanmin(values)
        assert np.nanmax(values) <= feature.high
        if feature.kind == "binary":
            assert set(np.unique(values)) == {0.0, 1.0}


def test_known_rows(study: data.Study) -> None:
    # The first patient of the study: a woman of 97, sampled in 1997.
    assert study.values[0].tolist() == [97, 0, 1997, 5.7, 4.86, 10, 1.7, 0]
    assert study.column("sex").sum() == 7874 - 4350
    assert study.column("mgus").sum() == 7874 - 7759


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sksurv", None)
    with pytest.raises(vs.BackendUnavailableError, match=r"pip install .\.\[train\]. in Veilsum"):
        load_flchain()


def test_other_rows_than_expected_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from sksurv import datasets

    table, outcome = datasets.load_flchain()
    monkeypatch.setattr(datasets, "load_flchain", lambda: (table[:-1], outcome[:-1]))
    with pytest.raises(vs.VeilsumError, match="7873 rows"):
        load_flchain()


def test_an_unknown_study_is_refused() -> None:
    with pytest.raises(vs.ParameterError, match="known are flchain"):
        data.load("flchian")


def test_features_can_be_left_out(study: data.Study) -> None:
    fewer = study.without(["sample.yr", "mgus"])
    assert [f.name for f in fewer.features] == [
        "age",
        "sex",
        "kappa",
        "lambda",
        "flc.grp",
        "creatinine",
    ]
    assert ("mgus", "configuration") in fewer.left_out
    np.testing.assert_array_equal(fewer.column("kappa"), study.column("kappa"))
    with pytest.raises(vs.ParameterError, match="no feature 'futime'"):
        study.without(["futime"])
    with pytest.raises(vs.ParameterError, match="no feature would be left"):
        study.without([f.name for f in study.features])
