"""The HTML page of a run: one file that needs no other, for people who were not there.

Report layer. Every number stands with its terms. The page loads nothing: styles and figures are
inside it, and there is no script.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from veilsum.layout.files import atomic_file
from veilsum.report.drawing import Plot
from veilsum.report.page import figure, whole_page
from veilsum.report.page import table as _table
from veilsum.report.page import tile as _tile
from veilsum.report.plots import MESSAGES, PHASES, mean_seconds
from veilsum.report.range_note import range_note
from veilsum.report.run_files import METHOD_TITLES, RunFiles, phase_seconds
from veilsum.report.scores_page import at_clouds, judged, learned, score_tiles
from veilsum.report.units import format_bytes, format_loss, format_seconds, skipped_note
from veilsum.run_names import ENCRYPTED, NUMBER


def write_html(run: RunFiles, plots: dict[str, Plot]) -> Path:
    """Write report.html into a run's folder.

    Parameters
    ----------
    run : RunFiles
        The run.
    plots : dict of str to Plot
        Its figures, by name; empty when no round was finished.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    parts = [_head(run)]
    if run.opened(ENCRYPTED):
        parts += [
            _tiles(run),
            learned(run, plots),
            judged(run, plots),
            _clouds(run),
            at_clouds(run, plots),
            _protection(run),
            _traffic(run, plots),
            _time(run, plots),
            _ranges(run),
        ]
    else:
        if not run.rounds(ENCRYPTED):
            parts.append("<p>The run ended before its first round was finished.</p>")
        parts.append(_clouds(run))
    parts += [_inputs(run), _limits(run), _terms(run), _rounds(run)]
    name = f"{run.folder.resolve().name}{' (synthetic data)' if run.synthetic else ''}"
    page = whole_page(f"Veilsum training run {name}", parts)
    path = run.folder / "report.html"
    with atomic_file(path) as file:
        # A folder's name may hold bytes that are no text.
        file.write(page.encode(errors="xmlcharrefreplace"))
    return path


def _by(run: RunFiles) -> str:
    """Say who opened, where that was more than one."""
    if run.committee is None:
        return ""
    total, enough, kind = _together(run)
    return f", by {'all' if enough == total else f'{enough} of'} {total} {kind} together"


def _together(run: RunFiles) -> tuple[int, int, str]:
    """Members, threshold, and what the members are called."""
    committee = run.committee or {"members": 1, "threshold": 1, "kind": "single"}
    kind = "clouds" if committee["kind"] == "clouds" else "members"
    return committee["members"], committee["threshold"], kind


def _figure(plot: Plot, caption: str) -> str:
    return figure(plot.svg, caption)


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _head(run: RunFiles) -> str:
    summary = run.summary
    clouds = summary["clouds"]
    done, planned = len(run.opened(ENCRYPTED)), summary["configuration"]["training"]["rounds"]
    ended = {
        "finished": f"It ran all {planned} rounds"
        if done == planned
        else f"It summed {done} of {planned} rounds and skipped the others",
        "interrupted": f"It was interrupted after {done} of {planned} rounds",
        "failed": f"It failed after {done} of {planned} rounds ({summary.get('error', '')})",
        "running": f"It had done {done} of {planned} rounds when this page was made",
    }[summary["status"]]
    mine = run.rounds(ENCRYPTED)
    notes = [note for note in (skipped_note(summary, mine), range_note(summary, mine)) if note]
    lead = (
        f"{len(clouds)} clouds trained one model on {_what(run)}, without any cloud's rows or "
        "updates leaving it in readable form: in every round each cloud encrypted its update, an "
        "aggregator without any key summed the ciphertexts, and only the sum was "
        f"opened{_by(run)}. "
        f"{ended}, started {summary['started']}."
    )
    study = run.study
    source = (
        f"Model: {summary['task']['model']}, trained by vs.federate; model, training and "
        "evaluation are the caller's own."
        if study is None
        else f"{study['title']}. Source: {study['source']}."
    )
    return (
        f"<h1>Training report: {escape(run.folder.resolve().name)}"
        f'<span class="status {summary["status"]}">{summary["status"]}</span></h1>\n'
        + (_SYNTHETIC if run.synthetic else "")
        + f'<p class="lead">{escape(lead)}</p>\n'
        f'<p class="note">{escape(source)}</p>'
        + "".join(f'\n<p class="warning">{escape(note)}</p>' for note in notes)
    )


def _what(run: RunFiles) -> str:
    """Say what the model was trained on, and for what."""
    study = run.study
    if study is None:
        return f"{_number(sum(cloud['rows'] for cloud in run.summary['clouds']))} rows of their own"
    return (
        f"{_number(study['rows'])} {run.rows_are} of the study “{study['name']}” to predict "
        f"{study['outcome']}"
    )


_SYNTHETIC = (
    '<p class="synthetic">Synthetic data. The rows were made up; no patient is among them, and '
    "no number on this page says anything about medicine.</p>\n"
)


def _tiles(run: RunFiles) -> str:
    last = run.opened(ENCRYPTED)[-1]
    means = mean_seconds(run)
    crypto = _crypto(means)
    clear = 4 * run.summary["model"]["values"]
    tiles = score_tiles(run)
    upload = last["bytes"].get("upload", 0)
    hidden = (
        f"; another {format_seconds(means['background'])} of processor time, for pads made ahead, "
        "were hidden behind training"
        if "background" in means
        else ""
    )
    tiles += [
        _tile(
            format_bytes(upload),
            f"encrypted upload of one cloud in one round; {upload / clear:.2f} times the update in "
            "clear fp32",
        ),
        _tile(
            format_seconds(crypto),
            "encrypting, summing, opening and decrypting in a round, all clouds together; "
            f"training takes {format_seconds(means.get('train', 0.0))}{hidden}",
        ),
    ]
    return '<div class="tiles">' + "".join(tiles) + "</div>"


def _crypto(means: dict[str, float]) -> float:
    return sum(means.get(phase, 0.0) for phase in ("encrypt", "aggregate", "open", "decrypt"))


def _clouds(run: RunFiles) -> str:
    held_out = run.summary["held_out"]
    total = sum(cloud["rows"] for cloud in run.summary["clouds"])
    rows: list[list[str]] = []
    columns = ["", run.rows_are, "share"]
    for cloud in [*run.summary["clouds"], held_out]:
        if cloud["rows"] is None:
            continue
        share = f"{cloud['rows'] / total:.1%}" if cloud is not held_out else ""
        cells = {columns[0]: cloud["name"], columns[1]: _number(cloud["rows"]), "share": share}
        cells |= _outcomes(run, cloud)
        if "age" in cloud:
            age = cloud["age"]
            cells["mean age"] = f"{age['mean']:.1f}"
            cells["5th to 95th percentile"] = f"{age['low']:.0f} to {age['high']:.0f}"
        columns += [name for name in cells if name not in columns]
        rows.append([cells.get(name, "") for name in columns])
    rows = [row + [""] * (len(columns) - len(row)) for row in rows]
    return (
        "<h2>The clouds</h2>\n"
        f"<p>{escape(_how_split(run))}This table can be shown because one process played all "
        "parties; in a deployment each cloud knows its own line only.</p>\n" + _table(columns, rows)
    )


_MANY_CLASSES = 8


def _outcomes(run: RunFiles, cloud: dict[str, Any]) -> dict[str, str]:
    """Return what the table of clouds says of a cloud's outcomes, by column."""
    if "positives" in cloud:
        outcome = str((run.study or {}).get("outcome", "label 1"))
        return {outcome: _number(cloud["positives"]), "rate": f"{cloud['rate']:.1%}"}
    if "classes" in cloud:
        counted = cloud["classes"]
        if len(counted) <= _MANY_CLASSES:
            return {name: _number(count) for name, count in counted.items()}
        commonest = max(counted, key=counted.get)
        present = sum(count > 0 for count in counted.values())
        return {
            "classes present": f"{present} of {len(counted)}",
            "commonest class": f"{commonest} ({counted[commonest] / cloud['rows']:.0%})",
        }
    if "outcome" in cloud:
        name, found = str((run.study or {}).get("outcome", "outcome")), cloud["outcome"]
        unit = f", {run.unit}" if run.unit and run.unit != name else ""
        return {
            f"mean {name}{unit}": f"{found['mean']:.4g}",
            "standard deviation": f"{found['deviation']:.4g}",
        }
    return {}


def _how_split(run: RunFiles) -> str:
    """Say how rows came to clouds; empty where the caller gave each its own."""
    data = run.summary["configuration"].get("data")
    if data is None:
        return ""
    how = {
        "age": f"split by age (overlap {data['age_overlap']:g}): the youngest at the first cloud",
        "random": "split at random",
        "care_unit": "split by care unit: each unit is a cloud",
        "dirichlet": "split by Dirichlet shares of each "
        + str(data.get("dirichlet_of", "")).replace("_", " ")
        + f" (alpha {data.get('dirichlet_alpha', 0):g})",
    }[data["split"]]
    if data.get("site"):
        how = f"split by {data['site']}: each of its values is a cloud"
    alike = "" if run.kind == NUMBER else ", with the same rate of the outcome,"
    return (
        f"The {run.rows_are} to train on were {how}; {data['test_fraction']:.0%} of all "
        f"{run.rows_are}{alike} were held out. "
    )


def _protection(run: RunFiles) -> str:
    summary = run.summary
    last = run.opened(ENCRYPTED)[-1]
    least, clouds = summary["min_clients"], len(summary["clouds"])
    plain = last.get("encrypted_fraction", 1.0) < 1
    enough = f"all {clouds} clouds" if least == clouds else f"at least {least} of {clouds} clouds"
    parties = _table(
        ("party", "holds", "sees", "never sees"),
        [
            _cloud(run),
            (
                "aggregator",
                "no key, no model",
                "rounds (with the ranges of all tensors), uploads: ciphertext, signature, size, "
                "count of clipped values" + (", the plain part of every update" if plain else ""),
                "the encrypted part of any update or mean, the model"
                if plain
                else "any update, any mean, the model",
            ),
            *_openers(run),
        ],
        text=4,
    )
    seen = _table(
        ("upload of", "bytes", "clipped values", "entropy, bits a byte"),
        [
            (
                f"cloud {upload['client'] + 1}",
                _number(upload["payload_bytes"]),
                _number(upload["clipped"]),
                f"{entropy:.4f}",
            )
            for upload, entropy in zip(last["clouds"], last.get("entropy", []), strict=False)
        ],
        caption=f"What the aggregator saw in round {last['round']}, apart from unreadable bytes",
    )
    return (
        "<h2>What protects the updates</h2>\n"
        f"<p>A sum is opened only when {enough} signed an upload for it, each at most once; "
        f"{_checked(run)} Clouds apply their weights before "
        "they encrypt, so single weights are as hidden as single updates.</p>\n"
        + _hybrid(run)
        + _privacy(run)
        + parties
        + _opened_by(run)
        + _weights(run)
        + seen
        + '<p class="note">Bytes that look random have an entropy near 8; float32 updates have '
        "less. This illustrates, and proves nothing: security rests on the parameters below and "
        "on the assumptions that SECURITY.md lists.</p>\n"
        f"<h3>Parameters</h3>\n<pre>{escape(summary['plan']['explanation'])}</pre>"
    )


def _checked(run: RunFiles) -> str:
    if run.committee is None:
        return "the authority checks this itself, and opens a round once."
    total, enough, kind = _together(run)
    return (
        f"each of the {total} {kind} who open checks this itself and gives its word for one sum "
        f"of a step, and it takes {enough} of them for the same sum. A tag, whose key only the "
        "clouds have, shows whether the opened sum is that of what they encrypted."
    )


def _cloud(run: RunFiles) -> tuple[str, str, str, str]:
    holds, opened = "its rows, its updates, its signing key", "sum keys"
    if run.committee is not None:
        holds = "its rows, its updates, its identity, the clouds' group keys"
        opened = "certificates and answers"
        if run.committee["kind"] == "clouds":
            opened += ", the shares sealed to it"
    return (
        "cloud",
        holds,
        f"rounds, encrypted sums, {opened}, the global model",
        "another cloud's rows, update, loss or weight",
    )


def _openers(run: RunFiles) -> list[tuple[str, str, str, str]]:
    """Rows of the table of parties: who reads beside the clouds, and who opens."""
    size = format_bytes(run.opened(ENCRYPTED)[-1].get("bytes", {}).get("opening_request", 0))
    never = "any cloud's rows, update, loss or weight; a mean, or the model"
    # It stands with the aggregator and asks everybody; clouds themselves describe the rounds.
    coordinator = ("coordinator", "nothing secret", "what the aggregator sees", never)
    if run.committee is None:
        native = run.summary["configuration"]["encryption"]["engine"] == "native"
        authority = (
            (
                f"the sealed keys and heads of all uploads: {size} in the last round",
                "blocks, and so any update or mean",
            )
            if native
            else (
                f"all uploads, which it sums again: {size} in the last round",
                "a cloud's rows; it could decrypt an update, which the protocol does not ask it to",
            )
        )
        return [
            coordinator,
            ("authority", "the secret key", *authority),
        ]
    total, enough, kind = _together(run)
    own = "its identity" if kind == "members" else "as a cloud"
    hidden = "blocks" if kind == "members" else "another cloud's upload"
    return [
        coordinator,
        (
            f"who opens: {enough} of {total} {kind}",
            f"each: {own}, the ledger of what it endorsed",
            "each: its own sealed share of every key and the heads of all uploads: "
            f"{size} in the last round",
            f"{hidden}; and {f'{enough - 1} of them together' if enough > 2 else 'one alone'}: any "
            "key",
        ),
    ]


_MANY_ROUNDS = 10


def _opened_by(run: RunFiles) -> str:
    """Say for each round who endorsed and who answered; nothing with one key holder."""
    records = [record for record in run.opened(ENCRYPTED) if "opened_by" in record]
    if run.committee is None or not records:
        return ""
    one = "cloud" if run.committee["kind"] == "clouds" else "member"

    def listed(members: list[int]) -> str:
        return ", ".join(str(member + 1) for member in members)

    rows = [
        (
            record["round"],
            listed(by["endorsed"]),
            listed(by["answered"]),
            "; ".join(f"{one} {lost['member'] + 1}: {lost['reason']}" for lost in by["silent"]),
            format_seconds(phase_seconds(record, "open")),
        )
        for record in records
        for by in [record["opened_by"]]
    ]
    total, enough, kind = _together(run)
    table = _table(
        ("round", f"{one}s who endorsed", f"{one}s who answered", "silent or refused", "opening"),
        rows,
        text=4,
        caption=f"The sum of updates of each round. {enough} of {total} {kind} are enough; the "
        "others were not asked.",
    )
    if len(rows) > _MANY_ROUNDS:
        vain = sum(bool(record["opened_by"]["silent"]) for record in records)
        table = (
            f"<details><summary>All {len(rows)} rounds; in {vain} of them some were silent or "
            f"refused</summary>{table}</details>"
        )
    return f"<h3>Who opened</h3>\n{table}"


def _hybrid(run: RunFiles) -> str:
    """Say what travelled in the clear, and what that saved; nothing where all was encrypted."""
    last = run.opened(ENCRYPTED)[-1]
    fraction = last.get("encrypted_fraction", 1.0)
    if fraction >= 1:
        return ""
    plan, values = run.summary["plan"], run.summary["model"]["values"]
    whole = _fixed_bytes(run) + plan["bytes_per_value"] * values
    saved = whole - last["bytes"].get("upload", 0)
    return (
        f"<p><strong>{fraction:.1%} of an update's values were encrypted in round "
        f"{last['round']}; the others travelled in the clear, as "
        f"{escape(run.summary['configuration']['hybrid']['plain_dtype'])}, and the aggregator "
        "reads them.</strong> Against encrypting everything, an upload is "
        f"{format_bytes(abs(saved))} {'smaller' if saved >= 0 else 'larger'}; every "
        f"{run.summary['configuration']['hybrid']['renew_every']} rounds another sum chooses the "
        "values. What plain values give away is measured by veilsum compare.</p>\n"
    )


def _fixed_bytes(run: RunFiles) -> float:
    """Return what an upload has beside its values: as planned, or of a committee as measured."""
    plan, last = run.summary["plan"], run.opened(ENCRYPTED)[-1]
    if run.committee is None:
        return float(plan["fixed_bytes"])
    encrypted = last.get("encrypted_fraction", 1.0) * run.summary["model"]["values"]
    return float(max(0.0, _encrypted_bytes(run) - plan["bytes_per_value"] * encrypted))


def _encrypted_bytes(run: RunFiles) -> float:
    """Size of an upload without its plain part."""
    last = run.opened(ENCRYPTED)[-1]
    options = run.summary["configuration"]["hybrid"]
    plain = (1 - last.get("encrypted_fraction", 1.0)) * run.summary["model"]["values"]
    return float(
        last["bytes"].get("upload", 0) - plain * (2 if options["plain_dtype"] == "bfloat16" else 4)
    )


def _privacy(run: RunFiles) -> str:
    """State epsilon with everything it depends on; nothing where none is claimed."""
    spent = run.privacy
    if not spent:
        return ""
    return (
        f"<p><strong>Differential privacy ({escape(spent['model'])}): epsilon "
        f"{spent['epsilon']:.2f} at delta {spent['delta']:g}</strong> after {spent['rounds']} "
        f"rounds. Unit: {escape(spent['unit'])}. Covers: {escape(spent['covers'])}. Assumes: "
        f"{escape(spent['assumes'])}. No amplification by sampling is claimed.</p>\n"
    )


def _weights(run: RunFiles) -> str:
    """Show the last round's weights, which only a simulation knows."""
    last = run.opened(ENCRYPTED)[-1]
    clouds = last.get("simulation", [])
    total = sum(cloud["weight"] for cloud in clouds)
    if not total:
        return ""
    rows = [
        (f"cloud {cloud['client'] + 1}", cloud["state"], f"{cloud['weight'] / total:.1%}")
        for cloud in clouds
    ]
    return _table(
        ("", "state", "share of the mean"),
        rows,
        caption=f"Weights of round {last['round']}: known here only because one process played all "
        "parties",
        text=2,
    )


def _traffic(run: RunFiles, plots: dict[str, Plot]) -> str:
    summary = run.summary
    sizes = run.opened(ENCRYPTED)[-1]["bytes"]
    clouds, values = len(summary["clouds"]), int(summary["model"]["values"])
    readers = "each cloud"
    # The others, the aggregator, and who opens.
    directions = {
        "round": ("a cloud", "everyone else", clouds + 1),
        "upload": ("each cloud", "aggregator", clouds),
        "opening_request": ("aggregator", "authority", 1),
        "sum_key": ("authority", readers, clouds),
        "aggregate": ("aggregator", readers, clouds),
        "plain_sum": ("aggregator", readers, clouds),
    }
    if run.committee is not None:
        total, enough, kind = _together(run)
        everyone = clouds + (total if kind == "members" else 0)
        directions |= {
            "round": ("a cloud", "everyone else", everyone),
            "opening_request": ("aggregator", f"{enough} {kind}", enough),
            "endorsement": (f"{enough} {kind}", "aggregator", enough),
            "certificate": ("aggregator", f"{enough} {kind}, {readers}", enough + clouds),
            "answer": (f"{enough} {kind}", f"{readers}, of each", enough * clouds),
        }
    rows = [
        (
            MESSAGES[key],
            *directions[key][:2],
            format_bytes(sizes[key]),
            f"× {directions[key][2]}",
            format_bytes(sizes[key] * directions[key][2]),
        )
        for key in MESSAGES
        if key in sizes
    ]
    plan = summary["plan"]
    beside = (
        "a sealed key and a check block"
        if run.committee is None
        else f"sealed shares for {run.committee['members']} {_together(run)[2]}"
    )
    sealed = (
        "The encrypted sum travels with the sealed keys of its uploads."
        if run.committee is None
        else "The encrypted sum travels to its readers without the sealed shares; requests take "
        "those to the members, each its own."
    )
    return (
        "<h2>What travels</h2>\n"
        f"<p>An update has {_number(values)} values. Encrypted at {plan['value_bits']} bits they "
        f"take {plan['bytes_per_value']:.3f} bytes each (4 in clear fp32) plus {beside}, "
        f"{format_bytes(_fixed_bytes(run))} that do not grow with the model. "
        "Messages were passed inside one process; sizes are measured, no network was "
        "involved.</p>\n"
        + _figure(
            plots["bytes"],
            f"Sizes in the last round, in decimal units. {sealed}",
        )
        + _table(("message", "from", "to", "size", "a round", "together"), rows, text=3)
    )


def _time(run: RunFiles, plots: dict[str, Plot]) -> str:
    records = run.opened(ENCRYPTED)
    means = mean_seconds(run)
    rows = []
    for phase, mean in means.items():
        times = [phase_seconds(record, phase) for record in records]
        rows.append(
            (
                PHASES[phase],
                format_seconds(min(times)),
                format_seconds(mean),
                format_seconds(max(times)),
                f"{sum(times):.3f} s",
            )
        )
    hidden = ""
    if "background" in means:
        hidden = (
            " While clouds trained, background threads of the lowest priority prepared their "
            f"encryptions, which took {format_seconds(means['background'])} of processor time a "
            f"round; encrypting and signing with what was ready took "
            f"{format_seconds(means.get('encrypt', 0.0))}. Training hides the former: it is no "
            "part of the sum above."
        )
    rest = means.get("train", 0.0) + means.get("evaluate", 0.0)
    added = (
        f"Encrypted aggregation added {_crypto(means) / rest:.1%} to the time of training and "
        "evaluation. "
        if rest
        else ""
    )
    clouds = len(run.summary["clouds"])
    return (
        "<h2>Where the time goes</h2>\n"
        f"<p>{added}Times are wall time on the machine below, the {clouds} clouds one after "
        f"another, with a decryption each; on machines of their own they would work side by side. "
        "The first round includes warming up."
        f"{hidden}</p>\n"
        + _figure(
            plots["seconds"],
            "Mean of all rounds; a round without a phase counts as 0."
            + (" Hollow: processor time in the background." if "background" in means else ""),
        )
        + _table(("phase", "least", "mean", "most", "whole run"), rows)
    )


def _ranges(run: RunFiles) -> str:
    options = run.summary["configuration"]["encryption"]
    records = run.opened(ENCRYPTED)
    last = records[-1]
    values = run.summary["model"]["values"] * len(run.summary["clouds"])
    clipped = sum(record["clipped"] for record in records)
    levels = 2 ** (options["value_bits"] - 1) - 1
    rows = [
        (
            name.removeprefix("update."),
            f"{records[0]['limits'][name]:.3g}" if name in records[0]["limits"] else "–",
            f"{limit:.3g}",
            f"{limit / levels:.2g}",
        )
        for name, limit in last["limits"].items()
    ]
    policy = (
        "Ranges follow the last opened mean and the public clip counts, as powers of two; the "
        "aggregator, which never sees the mean, learns from them each tensor's order of magnitude."
        if options["range"] == "adaptive"
        else "Ranges are fixed by the configuration and tell nobody anything."
    )
    return (
        "<h2>Rounding and clipping</h2>\n"
        f"<p>Each value is rounded to {options['value_bits']} bits within its tensor's range "
        f"({escape(options['rounding'])} rounding) and clipped at its ends. {escape(policy)} "
        f"{_number(clipped)} of {_number(values * len(records))} values were clipped in the whole "
        "run.</p>\n"
        "<details><summary>Ranges of all tensors</summary>"
        + _table(("tensor", "range, first round", "range, last round", "step, last round"), rows)
        + "</details>"
    )


_MANY_FEATURES = 20


def _inputs(run: RunFiles) -> str:
    """Say what the model sees of a table; nothing where the data are the caller's."""
    study = run.study
    if study is None:
        return ""
    rows = []
    for item in run.summary["inputs"]:
        if item["kind"] == "binary":
            spread = ("as it is", "")
        else:
            factor = "×/÷ " if item["scale"] == "log" else "± "
            spread = (f"{item['mean']:.4g}", f"{factor}{item['deviation']:.4g}")
        rows.append((item["name"], item["meaning"], item["unit"], *spread))
    scale = ""
    if any(item["scale"] == "log" for item in run.summary["inputs"]):
        scale = (
            "Where the deviation is a factor, the scale is logarithmic, and the mean geometric. "
        )
    left_out = "".join(
        f"<li><code>{escape(name)}</code>: {escape(why)}</li>" for name, why in study["left_out"]
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in study.get("notes", ()))
    table = _table(("feature", "meaning", "unit", "mean", "deviation"), rows, text=3)
    if len(rows) > _MANY_FEATURES:
        table = f"<details><summary>All {len(rows)} features</summary>{table}</details>"
    return (
        "<h2>What the model sees</h2>\n"
        f"<p>Means and deviations come from one encrypted sum over the "
        f"{_number(run.summary['pooled_rows'])} training rows of all clouds; no cloud's "
        f"own statistics were opened. {scale}A missing value becomes the mean and sets an "
        "indicator.</p>\n"
        + table
        + (f"<p>Left out:</p>\n<ul>{left_out}</ul>" if left_out else "")
        + (f"<p>Reading the tables came to:</p>\n<ul>{notes}</ul>" if notes else "")
    )


def _limits(run: RunFiles) -> str:
    items = [
        "The opened mean and the final model are known to all clouds. Encryption does not keep a "
        "model from revealing something about its training rows (membership, attributes); that "
        "needs differential privacy, "
        + (
            "whose numbers for this run stand above, with what they leave out."
            if run.privacy
            else "which this run did not use."
        ),
        "Clouds that conspire can subtract their own updates from an opened sum: what remains is "
        "the sum of the others. So at least two clouds of every sum are assumed to be honest; with "
        f"at least {run.summary['min_clients']} clouds in a sum here, a single cloud is exposed "
        f"only if {run.summary['min_clients'] - 1} others conspire.",
        *_trust(run),
        "A cloud that sends wrong numbers spoils the sum unnoticed: ranges are applied on its own "
        "machine, and encrypted uploads cannot be inspected.",
        "All parties ran in one process, exchanging bytes. Sizes and computation are real; "
        "latency, bandwidth and failures of networks are not part of the run.",
        f"Held-out {run.rows_are} were pooled to measure. Where that is not allowed, each cloud "
        "scores its own.",
        "The same seed on the same machine, versions and device gives the same model and scores; "
        "another machine may differ in the last bits of training.",
    ]
    listed = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<h2>What this does not show or protect against</h2>\n<ul>{listed}</ul>"


def _trust(run: RunFiles) -> list[str]:
    """Say what breaks when those who open conspire."""
    if run.committee is None:
        return [
            "The authority is one key holder here. Together with the aggregator it could open "
            "single uploads; keep the two apart, or have the clouds open together "
            '(encryption.authority = "clouds").'
        ]
    total, enough, kind = _together(run)
    conspire = 2 * enough - total
    some = f"{conspire} of the {kind}" if conspire > 1 else f"one of the {kind}"
    items = [
        f"No single party can open anything here: an upload's key is shared among {total} {kind}, "
        f"and {enough - 1} of them learn nothing of it. {enough} who conspire can open every "
        f"upload that they get. An aggregator that conspires with {some} can have two sums of a "
        "round opened, and their difference is an update; with fewer it cannot. A member whose "
        "ledger was restored from a copy, or whose identity is in use twice, counts as one that "
        "conspires.",
        "Whoever has the group keys, which every cloud has, can read opened sums, and together "
        "with the aggregator make a wrong sum look right.",
    ]
    if enough == total:
        items.append(
            f"All {total} {kind} must answer here: a single one that is silent ends the run. With "
            "four or more, fewer are enough."
        )
    else:
        items.append(
            f"Up to {total - enough} of the {kind} may be silent; more than that end the run, and "
            "nothing of its last round is opened."
        )
    return items


def _terms(run: RunFiles) -> str:
    rows = [*run.summary["environment"].items()]
    rows += [
        ("seed", run.summary["configuration"]["run"]["seed"]),
        ("randomness of the encryption", "from the operating system, never from the seed"),
        ("plan", run.summary["plan"]["id"]),
    ]
    if "seconds" in run.summary:
        rows.append(("whole run", format_seconds(run.summary["seconds"])))
    configured = (
        "Configuration (config.toml repeats the run)" if run.config else "Options of vs.federate"
    )
    return (
        "<h2>Terms of these numbers</h2>\n"
        + _table(("", ""), rows, text=2)
        + f"<details><summary>{configured}</summary>"
        f"<pre>{escape(run.config or _options(run))}</pre></details>"
    )


def _options(run: RunFiles) -> str:
    """Write options as a configuration has them."""
    lines = []
    for section, options in run.summary["configuration"].items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {json.dumps(value)}" for name, value in options.items()]
        lines.append("")
    return "\n".join(lines)


def _rounds(run: RunFiles) -> str:
    measures = run.measures
    rows = [
        (
            METHOD_TITLES[record["method"]],
            record["round"],
            *(one.show(record.get(one.key), run.unit) for one in measures),
            format_loss(record.get("train_loss")),
            record["clipped"] if record["clouds"] else "",
            format_seconds(phase_seconds(record, "total")),
        )
        for record in run.records
    ]
    names = (one.name for one in measures)
    columns = ("method", "round", *names, "training loss", "clipped", "time")
    return (
        f"<details><summary>All rounds</summary>{_table(columns, rows)}</details>" if rows else ""
    )
