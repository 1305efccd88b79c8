"""Training on MIMIC-III's schema, end to end, with rows that were made up and say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import veilsum as vs
from veilsum.cli import main
from veilsum.data import MAX_ROWS, local_moments
from veilsum.data.synthetic_mimic import write_synthetic_mimic
from veilsum.protocol import statistics
from veilsum.training.config import TrainConfig, with_overrides
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.run import spread


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A made-up directory and a cache, for all tests here."""
    base = tmp_path_factory.mktemp("mimic")
    return write_synthetic_mimic(base / "made", stays=250, seed=3), base / "cache"


@pytest.fixture
def settings(folders: tuple[Path, Path]) -> list[str]:
    made, cache = folders
    return ["data.study=mimic3", f'data.directory="{made}"', f'data.cache="{cache}"']


def test_care_units_become_clouds(
    settings: list[str], make_config: Callable[..., TrainConfig]
) -> None:
    config = make_config(*settings, "data.split=care_unit", "data.clouds=5")
    federation = spread(config)
    units = ("CCU", "CSRU", "MICU", "SICU", "TSICU")
    assert federation.names == tuple(f"cloud {i + 1} ({unit})" for i, unit in enumerate(units))
    for i, cloud in enumerate(federation.clouds):
        assert cloud.sites is not None
        assert set(cloud.sites) == {i}
        assert cloud.site_names == units
    rows = sum(len(cloud) for cloud in federation.clouds) + len(federation.held_out)
    assert rows == len(federation.study)
    with pytest.raises(vs.ParameterError, match=r"data.clouds is 4, but .* set data.clouds = 5"):
        spread(make_config(*settings, "data.split=care_unit"))


def test_no_patient_is_trained_on_and_tested_on(
    settings: list[str], make_config: Callable[..., TrainConfig]
) -> None:
    federation = spread(make_config(*settings, "data.split=random"))
    trained = {p for cloud in federation.clouds for p in np.asarray(cloud.patients)}
    tested = set(np.asarray(federation.held_out.patients))
    assert len(trained) + len(tested) < len(federation.study)  # some have several stays
    assert not trained & tested


@pytest.mark.parametrize("of", ["label", "care_unit"])
def test_dirichlet_clouds_differ_in_what_was_asked(
    of: str, settings: list[str], make_config: Callable[..., TrainConfig]
) -> None:
    asked = [*settings, "data.split=dirichlet", f"data.dirichlet_of={of}", "data.clouds=3"]

    def unevenness(alpha: float) -> float:
        federation = spread(make_config(*asked, f"data.dirichlet_alpha={alpha}"))
        assert federation.names == ("cloud 1", "cloud 2", "cloud 3")
        classes = [
            np.asarray(c.sites if of == "care_unit" else c.labels) for c in federation.clouds
        ]
        number = max(int(c.max()) for c in classes) + 1
        shares = np.array([np.bincount(c, minlength=number) / len(c) for c in classes])
        return float(np.ptp(shares, axis=0).max())

    assert unevenness(0.3) > 2 * unevenness(1000)


def test_dirichlet_works_for_other_studies(make_config: Callable[..., TrainConfig]) -> None:
    federation = spread(make_config("data.split=dirichlet", "data.dirichlet_alpha=0.3"))
    rates = [cloud.outcome_rate for cloud in federation.clouds]
    assert max(rates) - min(rates) > 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data.study=mimic3"], "data.directory is empty; give the folder"),
        (['data.directory="/x"'], 'data.directory is "/x" but data.study is "flchain"'),
        (['data.cache="/x"'], 'data.cache is "/x" but data.study is "flchain"'),
        (["data.split=care_unit"], "the rows of flchain come from no care units"),
        (["data.dirichlet_of=care_unit"], "the rows of flchain come from no care units"),
        (
            ["data.split=dirichlet", "data.clouds=2", "data.shares=[0.5, 0.5]"],
            "decides the clouds'",
        ),
        (["data.split=dirichlet", "data.dirichlet_alpha=0"], "must be above 0"),
        (["data.study=mimic"], 'data.study is "mimic"; must be one of "flchain", "mimic3"'),
    ],
)
def test_options_that_contradict_each_other(changes: list[str], message: str) -> None:
    with pytest.raises(vs.ParameterError, match=message):
        TrainConfig.from_mapping(with_overrides({}, changes))


def test_statistics_by_encrypted_sums_are_those_of_pooled_rows(
    settings: list[str], make_config: Callable[..., TrainConfig]
) -> None:
    config = make_config(*settings, "data.split=care_unit", "data.clouds=5")
    federation = spread(config)
    method = EncryptedAveraging(config, federation.clouds)
    rows = np.concatenate([cloud.values for cloud in federation.clouds])
    # Each cloud rounds to the nearest step; sums are exact.
    step = MAX_ROWS / (2 ** (statistics.VALUE_BITS - 1) - 1)
    bound = len(federation.clouds) * step * 0.5001
    exact = [local_moments(cloud).to_mapping() for cloud in federation.clouds]
    for name, opened in method.moments.to_mapping().items():
        assert np.abs(opened - sum(part[name] for part in exact)).max() <= bound, name
    assert method.moments.rows == len(rows)
    np.testing.assert_array_equal(method.moments.observed, (~np.isnan(rows)).sum(axis=0))
    for i, feature in enumerate(federation.study.features):
        if feature.kind == "binary":
            continue
        low, high = feature.low, feature.high
        values = np.clip(rows[:, i], low, high)
        if feature.log:
            values, low, high = np.log(values), np.log(low), np.log(high)
        unit = (values - (low + high) / 2) / ((high - low) / 2)
        observed = method.moments.observed[i]
        # mean = sums / n and variance = squares / n - mean**2, with |mean| <= 1.
        error = bound / observed
        assert abs(method.preprocessor.means[i] - np.nanmean(unit)) <= error + 1e-12
        variance = np.nanvar(unit)
        assert abs(method.preprocessor.deviations[i] ** 2 - variance) <= 3 * error + error**2 + 1e-9
    inputs = method.preprocessor.transform(federation.held_out)
    assert not np.isnan(inputs).any()
    assert inputs.shape[1] == 2 + 17 * 4 + 17


def test_a_run_says_everywhere_that_it_is_synthetic(
    settings: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["training.rounds=2", "model.hidden=[8]", "run.device=cpu"]
    chosen = [*settings, *small, "data.split=care_unit", "data.clouds=5"]
    arguments = [part for setting in chosen for part in ("--set", setting)]
    assert main(["train", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("SYNTHETIC DATA: mimic3-synthetic: 5 clouds (")
    assert any(line.startswith("finished") and "(synthetic data)" in line for line in lines)
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("mimic3-synthetic-")
    summary = json.loads((folder / "run.json").read_text())
    study = summary["study"]
    assert study["synthetic"] is True
    assert study["name"] == "mimic3-synthetic"
    assert "SYNTHETIC" in study["title"]
    assert "SYNTHETIC" in study["source"]
    assert "stays are taken in" in study["notes"][0]
    assert summary["clouds"][0]["name"] == "cloud 1 (CCU)"
    assert len(summary["clouds"]) == 5
    page = (folder / "report.html").read_text()
    assert '<p class="synthetic">Synthetic data. The rows were made up' in page
    assert "synthetic data)</title>" in page
    assert "each unit is a cloud" in page
    assert "stays are taken in" in page
    (events,) = (folder / "events").rglob("events*")
    assert b"SYNTHETIC data in the schema" in events.read_bytes()
    for plot in (folder / "plots").glob("*.svg"):
        assert ">synthetic data</text>" in plot.read_text(), plot.name


def test_a_wrong_directory_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--set", "data.study=mimic3", "--set", f'data.directory="{tmp_path}"']
    assert main(["train", *arguments]) == 3
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{tmp_path} has no table PATIENTS" in said
    assert not (tmp_path / "runs").exists()
