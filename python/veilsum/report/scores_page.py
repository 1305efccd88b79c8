"""The part of a run's page that is about scores: tiles, rounds, curves, and each cloud's own.

Report layer. What the outcome is decides what is shown (`measures`); a user's own scores are shown
by their names. Each section says on which rows, and who sees the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from veilsum.report.drawing import Plot
from veilsum.report.measures import MISSING, Measure, measures_of, signed
from veilsum.report.page import figure, table, tile
from veilsum.report.plots import measure_plots
from veilsum.report.run_files import LINEAR_MODELS, METHOD_TITLES, RunFiles
from veilsum.report.score_plots import FEW
from veilsum.run_names import CLASSES, ENCRYPTED, NUMBER, PLAINTEXT, YES_OR_NO


def score_tiles(run: RunFiles) -> list[str]:
    """Return a tile for each of the first scores of the final model.

    Parameters
    ----------
    run : RunFiles
        With at least one opened round.
    """
    mine = run.final[ENCRYPTED]
    rows = run.summary["held_out"].get("rows")
    where = f"on {rows:,} held-out {run.rows_are}" if rows else f"on held-out {run.rows_are}"
    tiles = []
    for i, measure in enumerate(run.measures[:3]):
        value = mine.get(measure.key)
        shown = measure.show(value, run.unit)
        if measure.share and value is not None:
            shown = f"{value:.1%}"
        said = [measure.name, where if not i else f"on the same {run.rows_are}"]
        error = mine.get("auc_standard_error") if measure.key == "auc" else None
        if error is not None:
            most = "at most " if run.kind == CLASSES else ""
            said.append(f"(standard error {most}{error:.3f})")
        label = " ".join(said)
        guess = mine.get(measure.guess) if measure.guess else None
        if guess is not None:
            baseline = f"{guess:.1%}" if measure.share else measure.show(guess, run.unit)
            label += f"; {measure.guess_name} gives {baseline}"
        tiles.append(tile(shown, f"{label}. {_sentence(measure.note)}" if measure.note else label))
    difference = run.plaintext_difference
    if difference is not None:
        name = run.measures[0].name
        tiles.append(
            tile(
                signed(run.measures[0], difference, run.unit),
                f"{name} compared with plaintext averaging of the same run",
            )
        )
    return tiles


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def learned(run: RunFiles, plots: Mapping[str, Plot]) -> str:
    """Return what was learned, round by round and against the yardsticks.

    Parameters
    ----------
    run : RunFiles
        With at least one opened round.
    plots : mapping of str to Plot
        By name.
    """
    if not run.measures:
        return (
            "<h2>What was learned</h2>\n<p>The model was not scored: no rows were held out for it. "
            f"The mean training loss of the last round was {_loss(run)}.</p>"
        )
    final, measures = run.final, run.measures
    rows: list[tuple[Any, ...]] = [
        (
            METHOD_TITLES[method],
            final[method]["round"],
            *(one.show(final[method].get(one.key), run.unit) for one in measures),
        )
        for method in run.methods
    ]
    for key, name in LINEAR_MODELS.items():
        found = run.summary.get(key)
        if found:
            rows.append((name, "", *(one.show(found.get(one.key), run.unit) for one in measures)))
    mine = final[ENCRYPTED]
    guesses = {one.guess_name: one for one in measures if mine.get(one.guess) is not None}
    for name, measure in guesses.items():
        shown = (
            one.show(mine[one.guess], run.unit) if one is measure else MISSING for one in measures
        )
        rows.append((f"{name} of these rows, without a model", "", *shown))
    text = (
        f"All scores are of the global model after the round, on {run.rows_are} that no cloud "
        "trained on. The last round counts; no round was picked by its score."
    )
    if PLAINTEXT in final:
        text += (
            " Plaintext averaging starts from the same model and sees the same batches; it differs "
            "only by the rounding of encrypted updates"
            + (" and by the noise of differential privacy." if run.privacy else ".")
        )
    elif run.study is not None:
        text += " To compare with plaintext averaging, run with --baseline."
    names = measure_plots(run)
    figures = "".join(
        figure(plots[name].svg, f"{_sentence(measure.note)}." if measure.note else "As evaluated.")
        for name, measure in names.items()
        if name in plots
    )
    columns = ("method", "rounds", *(measure.name for measure in measures))
    return (
        "<h2>What was learned</h2>\n"
        f'<p>{escape(text)}</p>\n<div class="figures">{figures}</div>\n' + table(columns, rows)
    )


def _loss(run: RunFiles) -> str:
    loss = run.final_encrypted.get("train_loss")
    return MISSING if loss is None else f"{loss:.4f}"


def judged(run: RunFiles, plots: Mapping[str, Plot]) -> str:
    """Return curves, calibration, confusion or errors of the final model; empty where not judged.

    Parameters
    ----------
    run : RunFiles
        With at least one opened round.
    plots : mapping of str to Plot
        By name.
    """
    details = run.evaluation.get("held_out") or {}
    if not details:
        return ""
    captions = _captions(run, details)
    figures = "".join(
        figure(plots[name].svg, caption) for name, caption in captions.items() if name in plots
    )
    text = (
        f"The final model on the {details['rows']:,} held-out {run.rows_are} together. Whoever "
        "evaluates sees this. Nothing here stands for a single row: points of a curve are five "
        f"rows or more apart, and groups of {FEW} rows are left out or marked as few."
    )
    return (
        f"<h2>How good the final model is</h2>\n<p>{escape(text)}</p>\n"
        f'<div class="figures">{figures}</div>\n' + _classes(run) + _parts(run, details)
    )


def _captions(run: RunFiles, details: Mapping[str, Any]) -> dict[str, str]:
    if run.kind == NUMBER:
        return {
            "predicted": "The stronger the colour, the more rows. The outer cells hold what "
            "lies beyond the axes, too. On the dotted line, predictions are right.",
            "residuals": f"Right of the line: predicted too high. Hollow: {FEW} rows. The outer "
            "bars hold larger errors, too: the axis ends at three times the RMSE.",
        }
    several = run.kind == CLASSES
    left_out = details.get("calibration_left_out", 0)
    return {
        "roc": "Each class against all others. "
        * several
        + "For every threshold: how many are found, and how many are taken for it that are not. "
        "Towards the upper left is better.",
        "precision_recall": "For every threshold: how many are found, and how many of those that "
        "were found are right. Towards the upper right is better.",
        "confusion": "Each line is what is true, each column what was said; the stronger the "
        f"colour, the larger its share of the line. <5: {FEW} {run.rows_are}.",
        "calibration": "Points on the line come true as often as said. Grey: how many "
        f"{run.rows_are} had such a probability. Mean distance from the line, each row counting "
        f"the same: {details['calibration_error']:.3f}."
        + (f" Not shown: {left_out} in bins of {FEW}." if left_out else ""),
    }


def _classes(run: RunFiles) -> str:
    classes = run.final_encrypted.get("classes") or ()
    if run.kind != CLASSES or not classes:
        return ""

    def shown(value: float | None) -> str:
        return MISSING if value is None else f"{value:.4f}"

    each = run.evaluation["held_out"]["each_class"]
    rows = [
        (
            one["name"],
            f"{one['rows']:,}",
            shown(one["recall"]),
            shown(one["precision"]),
            shown(one["auc"]),
            shown(each.get(one["name"], {}).get("average_precision")),
        )
        for one in classes
    ]
    columns = ("class", run.rows_are, "recall", "precision", "AUC", "average precision")
    return table(columns, rows, caption="Each class; AUC and average precision against the others")


def _parts(run: RunFiles, details: Mapping[str, Any]) -> str:
    parts = details.get("parts") or ()
    if not parts:
        return ""
    rows = [
        (i, part["rows"], f"{part['predicted']:.4g}", f"{part['observed']:.4g}")
        for i, part in enumerate(parts, 1)
    ]
    unit = f", {details['unit']}" if details["unit"] else ""
    return table(
        ("part", run.rows_are, f"mean predicted{unit}", f"mean true{unit}"),
        rows,
        caption=f"{_sentence(run.rows_are)} in parts of like size, from the lowest predictions on",
    )


def at_clouds(run: RunFiles, plots: Mapping[str, Plot]) -> str:
    """Return the final model's scores at each cloud; empty where nothing is known of them.

    Parameters
    ----------
    run : RunFiles
        With at least one opened round.
    plots : mapping of str to Plot
        By name.
    """
    clouds, why_not = run.evaluation.get("clouds", ()), run.evaluation.get("why_not", "")
    if not run.evaluation or not (clouds or why_not):
        return ""
    parts = [part for part in _PARTS if any(part in cloud for cloud in clouds)]
    if not parts:
        return f"<h2>Scores at each cloud</h2>\n<p>None were made. {escape(why_not)}</p>"
    text = (
        "This is known here because one process played all parties. In a deployment each cloud "
        "scores the global model on its own rows and sees its own line only; none of it is sent."
    )
    if "trained_on" in parts:
        text += " On rows that a cloud trained on, a model looks better than it is."
    if run.kind == YES_OR_NO:
        text += (
            " An AUC of one cloud leaves out what tells clouds apart, so each may be below that of "
            "all together."
        )
    if why_not:
        text += f" {why_not}"
    measures = _cloud_measures(run, clouds)
    tables = "".join(_cloud_table(run, clouds, part, measures) for part in parts)
    drawn = ""
    if "clouds" in plots:
        caption = f"{run.measures[0].name}: {run.measures[0].note or 'as evaluated'}."
        drawn = figure(plots["clouds"].svg, caption)
    return f"<h2>Scores at each cloud</h2>\n<p>{escape(text)}</p>\n{drawn}{tables}"


_PARTS = {"held_out": "its held-out rows", "trained_on": "the rows it trained on"}


def _cloud_measures(run: RunFiles, clouds: Sequence[Mapping[str, Any]]) -> tuple[Measure, ...]:
    """Return the run's scores, or the clouds' where only they were judged."""
    if run.measures:
        return run.measures
    for cloud in clouds:
        for part in _PARTS:
            found = (cloud.get(part) or {}).get("scores")
            if found:
                return measures_of(found)
    return ()


def _cloud_table(
    run: RunFiles, clouds: Sequence[Mapping[str, Any]], part: str, measures: Sequence[Measure]
) -> str:
    # Guessing stands beside what it is to be held against.
    columns, keys = ["", run.rows_are], []
    for measure in measures:
        columns.append(measure.name)
        keys.append((measure, measure.key))
        if measure.guess:
            columns.append(measure.guess_name)
            keys.append((measure, measure.guess))
    rows = []
    for cloud in clouds:
        if part not in cloud:
            continue
        scores = cloud[part]["scores"] or {}
        shown = (one.show(scores.get(key), run.unit) for one, key in keys)
        rows.append((cloud["name"], f"{cloud[part]['rows']:,}", *shown))
    few = any(cloud.get(part, {}).get("scores", {}) is None for cloud in clouds)
    note = f"; {MISSING} where it has {FEW}" if few else ""
    return table(columns, rows, caption=f"On {_PARTS[part]}{note}")
