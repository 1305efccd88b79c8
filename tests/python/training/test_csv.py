"""A table of the user's own in a training's configuration, and how it is spread over clouds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from veilsum.cli import main
from veilsum.data import Study
from veilsum.lab.compare.experiment import Experiment
from veilsum.lab.compare.options import CompareOptions
from veilsum.learning.evaluators import TabularEvaluator, tabular_evaluator
from veilsum.report import write_report
from veilsum.training.config import TrainConfig, with_overrides
from veilsum.training.federation import spread
from veilsum.training.run import train
from veilsum.training.setting import prepare

NEEDED = ("data.study=csv", "data.path=rows.csv", "data.label=y", "data.ranges=ranges.csv")


def config(*settings: str) -> TrainConfig:
    return TrainConfig.from_mapping(with_overrides({}, settings))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([*NEEDED[:1], *NEEDED[2:]], "csv. but data.path is empty; give the table"),
        ([*NEEDED[:2], *NEEDED[3:]], "csv. but data.label is empty; give the column with the"),
        (NEEDED[:3], "csv. but data.ranges is empty; give the file with the columns' public"),
        (["data.path=rows.csv"], r'data.path is "rows.csv" but data.study is "flchain"; set data'),
        (["data.site=ward"], 'data.site is "ward" but data.study is "flchain"'),
        ([*NEEDED, "data.directory=x"], 'data.directory is "x" but data.study is "csv"'),
        ([*NEEDED, "data.split=care_unit"], "the rows of csv come from no care units"),
        ([*NEEDED, "data.site=s", "data.split=random"], "is a cloud; leave out data.split"),
        ([*NEEDED, "data.site=s", "data.shares=[0.4, 0.3, 0.2, 0.1]"], "leave out data.shares"),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(settings: list[str], words: str) -> None:
    with pytest.raises(vs.ParameterError, match=words):
        config(*settings)


def test_where_the_files_are_is_each_cloud_s_own_business() -> None:
    agreed = config(*NEEDED).agreed()["data"]
    assert agreed["label"] == "y"
    assert not {"path", "ranges"} & set(agreed)


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., TrainConfig]:
    """A function from settings to a configuration of a table of 300 rows of three classes."""
    generator = np.random.default_rng(6)
    lines = ["x,age,place,y"]
    for row in range(300):
        x = generator.normal()
        said = "abc"[int(np.digitize(x, [-0.5, 0.5]))]
        lines.append(f"{x:.4f},{'' if row == 7 else 50},{'NSW'[row % 3]},{said}")
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "ranges.csv").write_text(
        "column,kind,low,high,missing,levels\nx,,-5,5,,\nage,,0,120,yes,\n"
        "place,categorical,,,,N|S|W\ny,categorical,,,,a|b|c\n"
    )

    def make(*settings: str) -> TrainConfig:
        return config(
            "data.study=csv", f"data.path={tmp_path}/rows.csv", "data.label=y",
            f"data.ranges={tmp_path}/ranges.csv", "run.device=cpu", "model.hidden=[8]",
            "training.epochs=20", "training.learning_rate=0.02", *settings,
        )  # fmt: skip

    return make


def test_each_site_is_a_cloud(table: Callable[..., TrainConfig]) -> None:
    federation = spread(table("data.site=place", "data.clouds=3"))
    assert federation.names == ("cloud 1 (N)", "cloud 2 (S)", "cloud 3 (W)")
    for number, cloud in enumerate(federation.clouds):
        assert cloud.sites is not None
        assert set(cloud.sites) == {number}
    assert sum(map(len, federation.clouds)) + len(federation.held_out) == 300
    with pytest.raises(vs.ParameterError, match=r"data.clouds is 4, but .* from 3 sites: N \(8"):
        spread(table("data.site=place"))


def test_a_split_by_age_needs_an_age_of_every_row(table: Callable[..., TrainConfig]) -> None:
    with pytest.raises(vs.ParameterError, match=r"some rows of study rows have no age; set"):
        spread(table())
    assert len(spread(table("data.split=random")).clouds) == 4
    assert len(spread(table("data.split=dirichlet", "data.dirichlet_alpha=5.0")).clouds) == 4
    path = Path(table().data.path)
    path.write_text(path.read_text().replace("age", "years"))
    ranges = Path(table().data.ranges)
    ranges.write_text(ranges.read_text().replace("age", "years"))
    with pytest.raises(vs.ParameterError, match=r"study rows has no feature age; set .* data.site"):
        spread(table())


def test_classes_train_like_any_outcome(table: Callable[..., TrainConfig]) -> None:
    setting = prepare(table("data.split=random"))
    parameters = setting.initial_parameters()
    assert parameters["3.bias"].shape == (3,)
    trainer, judge = setting.pooled_trainer(), setting.evaluator()
    for number in (1, 2):
        update = trainer.train(parameters, number).update
        parameters = {
            name: (array + update[name]).astype(np.float32) for name, array in parameters.items()
        }
    scores = judge.evaluate(parameters)
    assert scores["accuracy"] > 0.85 > scores["majority"]


@pytest.mark.slow
def test_five_clouds_learn_digits_from_a_table_with_a_network_of_their_own(tmp_path: Path) -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    pixels = [f"p{i}" for i in range(64)]
    lines = [",".join([*pixels, "digit"])]
    for row, said in zip(digits.data.astype(int), digits.target, strict=True):
        lines.append(",".join(map(str, [*row, said])))
    (tmp_path / "digits.csv").write_text("\n".join(lines) + "\n")
    levels = ", ".join(f'"{digit}"' for digit in range(10))
    (tmp_path / "ranges.toml").write_text(
        "".join(f"[{pixel}]\nlow = 0\nhigh = 16\n" for pixel in pixels)
        + f'[digit]\nkind = "categorical"\nlevels = [{levels}]\n'
    )
    settings = [
        "data.study=csv", f"data.path={tmp_path}/digits.csv", "data.label=digit",
        f"data.ranges={tmp_path}/ranges.toml", "data.clouds=5", "data.split=random",
        "model.function=own_network:convolutions", "training.rounds=6", "training.epochs=2",
        "training.batch_size=32", "training.learning_rate=0.003", "encryption.limit=1.0",
        "run.device=cpu", "run.threads=2", "run.live=off", "run.tensorboard=false",
        "run.baseline=true", f"run.directory={tmp_path}", "run.name=digits",
    ]  # fmt: skip
    arguments = [word for setting in settings for word in ("--set", setting)]
    assert main(["train", *arguments]) == 0
    written = (tmp_path / "digits" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in written]
    last = {record["method"]: record for record in records}
    assert last["veilsum"]["accuracy"] >= 0.96
    assert len(last["veilsum"]["classes"]) == 10
    assert (tmp_path / "digits" / "report.html").exists()


def test_a_label_that_is_a_number_has_a_report_that_fits(
    table: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """Every number of the report is scikit-learn's, of the model that the run left."""
    sklearn = pytest.importorskip("sklearn.metrics")
    made = table(
        "data.site=place", "data.clouds=3", f"run.directory={tmp_path}/runs", "training.rounds=2",
        "run.baseline=true",
    )  # fmt: skip
    (tmp_path / "ranges.csv").write_text(
        "column,kind,low,high,missing,levels\nx,,-5,5,,\nage,,0,120,yes,\n"
        "place,categorical,,,,N|S|W\ny,,0,10,,\n"
    )
    path = Path(made.data.path)
    path.write_text(path.read_text().replace(",a\n", ",1\n").replace(",b\n", ",2\n")
                    .replace(",c\n", ",3\n"))  # fmt: skip
    run = train(made)
    federation = spread(made)
    setting = prepare(made, federation)

    def predicted(rows: Study) -> np.ndarray:
        judge = tabular_evaluator(
            setting.preprocessor.transform(rows), rows, made.model, seed=made.run.seed,
            device=setting.device,
        )  # fmt: skip
        assert isinstance(judge, TabularEvaluator)
        return judge.predictions(run.parameters).said

    def check(scores: dict[str, Any], rows: Study) -> None:
        assert rows.numbers is not None
        true, said = rows.numbers, predicted(rows)
        assert scores["mae"] == pytest.approx(sklearn.mean_absolute_error(true, said))
        assert scores["rmse"] ** 2 == pytest.approx(sklearn.mean_squared_error(true, said))
        assert scores["r2"] == pytest.approx(sklearn.r2_score(true, said))
        assert scores["mean_rmse"] == pytest.approx(true.std())

    check(run.summary["final"]["veilsum"], federation.held_out)
    assert run.summary["linear_regression"]["r2"] > 0.5
    evaluation = json.loads((run.folder / "evaluation.json").read_text())
    for cloud, rows, name in zip(
        evaluation["clouds"], federation.clouds, federation.names, strict=True
    ):
        assert cloud["name"] == name
        check(cloud["trained_on"]["scores"], rows)
        assert rows.sites is not None
        assert federation.held_out.sites is not None
        theirs = np.flatnonzero(federation.held_out.sites == rows.sites[0])
        assert cloud["held_out"]["rows"] == len(theirs)
        check(cloud["held_out"]["scores"], federation.held_out.subset(theirs))
    page = write_report(run.folder).read_text().split("Terms of these numbers")[0]
    final = run.summary["final"]["veilsum"]
    for words in (f"{final['rmse']:.4g}", f"{final['r2']:.4f}", "linear regression", "Errors on"):
        assert words in page
    for words in ("AUC", "accuracy", "with the same rate of the outcome", "patients"):
        assert words not in page


def test_methods_are_compared_on_a_yes_or_no_only(table: Callable[..., TrainConfig]) -> None:
    with pytest.raises(vs.ParameterError, match="compared on an outcome of yes or no"):
        Experiment(table("data.split=random"), CompareOptions(), lambda _: None)
