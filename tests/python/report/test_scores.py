"""The part of the page about scores, for each kind of outcome, from files written by hand."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from veilsum.report import read_run, write_report
from veilsum.report.live import LinesView
from veilsum.report.measures import MEASURES, measures_of, signed
from veilsum.run_names import ENCRYPTED, PLAINTEXT

GENERATOR = np.random.default_rng(8)
NUMBERS = GENERATOR.normal(50, 10, 300)
CLASSES = GENERATOR.integers(9, size=300)
PREDICTIONS = {
    "yes_or_no": vs.Predictions.yes_or_no(CLASSES > 4, GENERATOR.random(300)),
    "classes": vs.Predictions.classes(
        CLASSES, GENERATOR.dirichlet(np.ones(9), 300), [f"<class> {i}" for i in range(9)]
    ),
    "number": vs.Predictions.numbers(NUMBERS, NUMBERS + GENERATOR.normal(0, 4, 300), "<mg>"),
}


def judged(folder: Path, kind: str, number: int = 3, **changes: Any) -> Path:
    """Give a run the records and the evaluation of a kind of outcome."""
    made = PREDICTIONS[kind]
    path = folder / "metrics.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        for name in ("auc", "auc_standard_error", "accuracy", "log_loss"):
            del record[name]
        record |= made.scores()
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    scored = {"rows": 40, "scores": made.scores()}
    evaluation = {
        "round": number,
        "held_out": made.details(),
        "clouds": [
            {"name": "cloud <1>", "trained_on": scored, "held_out": scored},
            {"name": "cloud 2", "trained_on": {"rows": 3, "scores": None}},
        ],
        "why_not": "",
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation | changes))
    return folder


FIGURES = {
    "yes_or_no": {"auc", "loss", "roc", "precision_recall", "calibration"},
    "classes": {"accuracy", "loss", "roc", "precision_recall", "confusion", "calibration"},
    "number": {"rmse", "r2", "predicted", "residuals"},
}


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_each_kind_has_figures_and_scores_that_fit(
    make_run: Callable[..., Path], kind: str
) -> None:
    folder = judged(make_run(methods=(ENCRYPTED, PLAINTEXT)), kind)
    page = write_report(folder).read_text()
    names = {one.stem for one in (folder / "plots").glob("*.png")}
    assert names == FIGURES[kind] | {"clouds", "bytes", "seconds"}
    assert page.count("<svg") == len(names)
    scores = PREDICTIONS[kind].scores()
    for measure in MEASURES[kind]:
        assert measure.show(scores[measure.key], "&lt;mg&gt;") in page, measure.name
        if measure.guess:
            assert measure.guess_name in page
    for words in ("cloud &lt;1&gt;", "where it has 1 to 4", "one process played all parties"):
        assert words in page
    assert "<mg>" not in page
    assert "<class>" not in page


def test_classes_are_named_where_there_are_few_colours(make_run: Callable[..., Path]) -> None:
    page = write_report(judged(make_run(), "classes")).read_text()
    assert "4 other classes, as good or better" in page
    assert page.count("&lt;class&gt; 8") > 2


def test_an_evaluation_of_an_earlier_round_is_no_longer_true(make_run: Callable[..., Path]) -> None:
    folder = judged(make_run(), "number", number=2)
    assert read_run(folder).evaluation == {}
    assert "How good the final model is" not in write_report(folder).read_text()


def test_why_clouds_have_no_scores(make_run: Callable[..., Path]) -> None:
    folder = judged(make_run(), "yes_or_no", clouds=[], why_not="Because <so>.")
    page = write_report(folder).read_text()
    assert "None were made. Because &lt;so&gt;." in page
    assert not (folder / "plots" / "clouds.png").exists()


def test_a_damaged_evaluation_is_named(make_run: Callable[..., Path]) -> None:
    folder = judged(make_run(), "number")
    (folder / "evaluation.json").write_text("[")
    with pytest.raises(vs.ParameterError, match=r"evaluation\.json is damaged"):
        read_run(folder)
    (folder / "evaluation.json").write_text("[]")
    with pytest.raises(vs.ParameterError, match="not made of objects"):
        read_run(folder)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_lines_of_each_kind(make_run: Callable[..., Path], kind: str) -> None:
    folder = judged(make_run(methods=(ENCRYPTED, PLAINTEXT)), kind)
    run = read_run(folder)
    stream = io.StringIO()
    view = LinesView(stream)
    view.run_started(folder, run.summary)
    for record in run.records:
        view.round_finished(record)
    view.run_ended(run.summary | {"final": run.final})
    scores, text = PREDICTIONS[kind].scores(), stream.getvalue()
    for measure in MEASURES[kind]:
        assert f"{measure.name.lower()} {measure.show(scores[measure.key])}" in text
        assert f"{measure.name} {measure.show(scores[measure.key])}" in text


def test_a_score_that_is_not_there_is_a_dash(make_run: Callable[..., Path]) -> None:
    """Held-out rows of one label alone have no AUC."""
    folder = judged(make_run(), "yes_or_no")
    one_label = vs.Predictions.yes_or_no(np.ones(20), np.full(20, 0.7))
    path = folder / "metrics.jsonl"
    records = [json.loads(line) | one_label.scores() for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    evaluation = json.loads((folder / "evaluation.json").read_text())
    evaluation["held_out"] = one_label.details()
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    page = write_report(folder).read_text()
    assert "<b>–</b>" in page
    assert not (folder / "plots" / "roc.png").exists()


def test_a_difference_that_rounds_to_nothing_has_no_minus() -> None:
    auc, rmse = MEASURES["yes_or_no"][0], MEASURES["number"][0]
    assert signed(auc, -1e-9) == "+0.00000"
    assert signed(auc, -2e-5) == "-0.00002"
    assert signed(rmse, -0.01234, "days") == "-0.0123 days"


def test_a_user_s_own_names_are_scores_as_they_are() -> None:
    found = measures_of({"method": "veilsum", "round": 1, "top_5": 0.9, "seconds": {"train": 1}})
    assert [(one.key, one.name) for one in found] == [("top_5", "top 5")]
