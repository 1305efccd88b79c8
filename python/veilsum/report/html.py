"""The HTML page of a run: one file that needs no other, for people who were not there.

Report layer. Every number stands with its terms. The page loads nothing: styles and figures are
inside it, and there is no script.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from veilsum.federated.run_directory import ENCRYPTED, PLAINTEXT
from veilsum.files import atomic_file
from veilsum.report.page import figure, whole_page
from veilsum.report.page import table as _table
from veilsum.report.page import tile as _tile
from veilsum.report.plots import (
    MESSAGES,
    PHASES,
    Plot,
    mean_seconds,
)
from veilsum.report.range_note import range_note
from veilsum.report.run_files import METHOD_TITLES, RunFiles, phase_seconds
from veilsum.report.units import format_bytes, format_loss, format_seconds, skipped_note


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
            _learning(run, plots),
            _clouds(run),
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


def _figure(plot: Plot, caption: str) -> str:
    return figure(plot.svg, caption)


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _head(run: RunFiles) -> str:
    summary = run.summary
    study, clouds = summary["study"], summary["clouds"]
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
        f"{len(clouds)} clouds trained one model on {_number(study['rows'])} {run.rows_are} of the "
        f"study {study['name']} to predict {study['outcome']}, without any cloud's rows or "
        "updates leaving it in readable form: in every round each cloud encrypted its update, an "
        "aggregator without any key summed the ciphertexts, and only the sum was opened. "
        f"{ended}, started {summary['started']}."
    )
    return (
        f"<h1>Training report: {escape(run.folder.resolve().name)}"
        f'<span class="status {summary["status"]}">{summary["status"]}</span></h1>\n'
        + (_SYNTHETIC if run.synthetic else "")
        + f'<p class="lead">{escape(lead)}</p>\n'
        f'<p class="note">{escape(study["title"])}. Source: {escape(study["source"])}.</p>'
        + "".join(f'\n<p class="warning">{escape(note)}</p>' for note in notes)
    )


_SYNTHETIC = (
    '<p class="synthetic">Synthetic data. The rows were made up; no patient is among them, and '
    "no number on this page says anything about medicine.</p>\n"
)


def _tiles(run: RunFiles) -> str:
    mine = run.final[ENCRYPTED]
    last = run.opened(ENCRYPTED)[-1]
    means = mean_seconds(run)
    crypto = _crypto(means)
    clear = 4 * run.summary["model"]["values"]
    tiles = [
        _tile(
            f"{mine['auc']:.4f}",
            f"AUC on {_number(run.summary['held_out']['rows'])} held-out {run.rows_are} "
            f"(standard error {mine['auc_standard_error']:.3f})",
        ),
        _tile(f"{mine['accuracy']:.1%}", f"accuracy on the same {run.rows_are}, at threshold 0.5"),
        _tile(
            f"{mine['log_loss']:.4f}",
            f"log loss on the same {run.rows_are} (natural logarithm; lower is better)",
        ),
    ]
    difference = run.plaintext_difference
    if difference is not None:
        tiles.append(
            _tile(f"{difference:+.5f}", "AUC compared with plaintext averaging of the same run")
        )
    upload = last["bytes"].get("upload", 0)
    tiles += [
        _tile(
            format_bytes(upload),
            f"encrypted upload of one cloud in one round; {upload / clear:.2f} times the update in "
            "clear fp32",
        ),
        _tile(
            format_seconds(crypto),
            "encrypting, summing, opening and decrypting in a round, all clouds together; "
            f"training takes {format_seconds(means.get('train', 0.0))}",
        ),
    ]
    if "background" in means:
        tiles.append(
            _tile(
                format_seconds(means["background"]),
                "of encryption in a round hidden behind training: processor time of making pads "
                "ahead, all clouds together",
            )
        )
    return '<div class="tiles">' + "".join(tiles) + "</div>"


def _crypto(means: dict[str, float]) -> float:
    return sum(means.get(phase, 0.0) for phase in ("encrypt", "aggregate", "open", "decrypt"))


def _learning(run: RunFiles, plots: dict[str, Plot]) -> str:
    final = run.final
    rows = [
        (
            METHOD_TITLES[method],
            final[method]["round"],
            f"{final[method]['auc']:.4f}",
            f"{final[method]['accuracy']:.4f}",
            f"{final[method]['log_loss']:.4f}",
        )
        for method in run.methods
    ]
    regression = run.summary.get("logistic_regression")
    if regression:
        rows.append(
            (
                "logistic regression, all rows at one place",
                "",
                f"{regression['auc']:.4f}",
                f"{regression['accuracy']:.4f}",
                f"{regression['log_loss']:.4f}",
            )
        )
    text = (
        "All scores are of the global model after the round, on patients that no cloud trained on. "
        "The last round counts; no round was picked by its score."
    )
    if PLAINTEXT in final:
        text += (
            " Plaintext averaging starts from the same model and sees the same batches; it differs "
            "only by the rounding of encrypted updates"
            + (" and by the noise of differential privacy." if run.privacy else ".")
        )
    else:
        text += " To compare with plaintext averaging, run with --baseline."
    return (
        "<h2>What was learned</h2>\n"
        f"<p>{escape(text)}</p>\n"
        '<div class="figures">'
        + _figure(plots["auc"], "Higher is better; 0.5 is guessing.")
        + _figure(
            plots["loss"], "Lower is better; mean negative log-likelihood, natural logarithm."
        )
        + "</div>\n"
        + _table(("method", "rounds", "AUC", "accuracy", "log loss"), rows)
    )


def _clouds(run: RunFiles) -> str:
    data = run.summary["configuration"]["data"]
    outcome = run.summary["study"]["outcome"]
    total = sum(cloud["rows"] for cloud in run.summary["clouds"])
    rows = []
    for cloud in [*run.summary["clouds"], run.summary["held_out"]]:
        row: list[str] = [
            cloud["name"],
            _number(cloud["rows"]),
            f"{cloud['rows'] / total:.1%}" if cloud["name"] != "held out" else "",
            _number(cloud["positives"]),
            f"{cloud['rate']:.1%}",
        ]
        if "age" in cloud:
            age = cloud["age"]
            row += [f"{age['mean']:.1f}", f"{age['low']:.0f} to {age['high']:.0f}"]
        rows.append(row)
    columns = ["", run.rows_are, "share", outcome, "rate"]
    if rows and len(rows[0]) == 7:
        columns += ["mean age", "5th to 95th percentile"]
    how = {
        "age": f"split by age (overlap {data['age_overlap']:g}): the youngest at the first cloud",
        "random": "split at random",
        "care_unit": "split by care unit: each unit is a cloud",
        "dirichlet": "split by Dirichlet shares of each "
        + str(data.get("dirichlet_of", "")).replace("_", " ")
        + f" (alpha {data.get('dirichlet_alpha', 0):g})",
    }[data["split"]]
    return (
        "<h2>The clouds</h2>\n"
        f"<p>The training rows ({run.rows_are}) were {escape(how)}; "
        f"{data['test_fraction']:.0%} of all patients, with the same rate of the outcome, were "
        "held out. This table can be shown "
        "because one process played all parties; in a deployment each cloud knows its own line "
        "only.</p>\n" + _table(columns, rows)
    )


def _protection(run: RunFiles) -> str:
    summary = run.summary
    last = run.opened(ENCRYPTED)[-1]
    least, clouds = summary["min_clients"], len(summary["clouds"])
    plain = last.get("encrypted_fraction", 1.0) < 1
    enough = f"all {clouds} clouds" if least == clouds else f"at least {least} of {clouds} clouds"
    request = last.get("bytes", {}).get("opening_request", 0)
    if summary["configuration"]["encryption"]["engine"] == "native":
        authority = (
            f"the sealed keys and heads of all uploads: {format_bytes(request)} in the last round",
            "blocks, and so any update or mean",
        )
    else:
        authority = (
            f"all uploads, which it sums again: {format_bytes(request)} in the last round",
            "a cloud's rows; it could decrypt an update, which the protocol does not ask it to",
        )
    parties = _table(
        ("party", "holds", "sees", "never sees"),
        [
            (
                "cloud",
                "its rows, its updates, its signing key",
                "rounds, encrypted sums, sum keys, the global model",
                "another cloud's rows, update, loss or weight",
            ),
            (
                "aggregator",
                "no key, no model",
                "rounds (with the ranges of all tensors), uploads: ciphertext, signature, size, "
                "count of clipped values" + (", the plain part of every update" if plain else ""),
                "the encrypted part of any update or mean, the model"
                if plain
                else "any update, any mean, the model",
            ),
            (
                "coordinator",
                "the held-out rows, no key",
                "rounds, encrypted sums, sum keys, the global model",
                "any cloud's rows, update, loss or weight",
            ),
            (
                "authority",
                "the secret key",
                *authority,
            ),
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
        f"<p>A sum is opened only when {enough} signed an upload for it, each at most once; the "
        "authority checks this itself, and opens a round once. Clouds apply their weights before "
        "they encrypt, so single weights are as hidden as single updates.</p>\n"
        + _hybrid(run)
        + _privacy(run)
        + parties
        + _weights(run)
        + seen
        + '<p class="note">Bytes that look random have an entropy near 8; float32 updates have '
        "less. This illustrates, and proves nothing: security rests on the parameters below and "
        "on the assumptions that SECURITY.md lists.</p>\n"
        f"<h3>Parameters</h3>\n<pre>{escape(summary['plan']['explanation'])}</pre>"
    )


def _hybrid(run: RunFiles) -> str:
    """Say what travelled in the clear, and what that saved; nothing where all was encrypted."""
    last = run.opened(ENCRYPTED)[-1]
    fraction = last.get("encrypted_fraction", 1.0)
    if fraction >= 1:
        return ""
    plan, values = run.summary["plan"], run.summary["model"]["values"]
    whole = plan["fixed_bytes"] + plan["bytes_per_value"] * values
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
    directions = {
        "round": ("coordinator", "everyone", clouds + 2),
        "upload": ("each cloud", "aggregator", clouds),
        "opening_request": ("aggregator", "authority", 1),
        "sum_key": ("authority", "each cloud, coordinator", clouds + 1),
        "aggregate": ("aggregator", "each cloud, coordinator", clouds + 1),
        "plain_sum": ("aggregator", "each cloud, coordinator", clouds + 1),
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
    return (
        "<h2>What travels</h2>\n"
        f"<p>An update has {_number(values)} values. Encrypted at {plan['value_bits']} bits they "
        f"take {plan['bytes_per_value']:.3f} bytes each (4 in clear fp32) plus a sealed key and a "
        f"check block of {format_bytes(plan['fixed_bytes'])} that does not grow with the model. "
        "Messages were passed inside one process; sizes are measured, no network was "
        "involved.</p>\n"
        + _figure(
            plots["bytes"],
            "Sizes in the last round, in decimal units. The encrypted sum travels with the "
            "sealed keys of its uploads.",
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
        f"another and {clouds + 1} decryptions a round (each cloud and the coordinator); clouds on "
        "machines of their own would work side by side. The first round includes warming up."
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
    rows = []
    for item in run.summary["inputs"]:
        if item["kind"] == "binary":
            spread = ("as it is", "")
        else:
            factor = "×/÷ " if item["scale"] == "log" else "± "
            spread = (f"{item['mean']:.4g}", f"{factor}{item['deviation']:.4g}")
        rows.append((item["name"], item["meaning"], item["unit"], *spread))
    left_out = "".join(
        f"<li><code>{escape(name)}</code>: {escape(why)}</li>"
        for name, why in run.summary["study"]["left_out"]
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in run.summary["study"].get("notes", ()))
    table = _table(("feature", "meaning", "unit", "mean", "deviation"), rows, text=3)
    if len(rows) > _MANY_FEATURES:
        table = f"<details><summary>All {len(rows)} features</summary>{table}</details>"
    return (
        "<h2>What the model sees</h2>\n"
        f"<p>Means and deviations come from one encrypted sum over the "
        f"{_number(run.summary['pooled_rows'])} training rows of all clouds; no cloud's "
        "own statistics were opened. Concentrations are on a logarithmic scale, so their mean is "
        "geometric and their deviation a factor. A missing value becomes the mean and sets an "
        "indicator.</p>\n"
        + table
        + f"<p>Left out:</p>\n<ul>{left_out}</ul>"
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
        "The authority is one key holder here. Together with the aggregator it could open single "
        "uploads; keep the two apart, or use a threshold authority when it is available.",
        "A cloud that sends wrong numbers spoils the sum unnoticed: ranges are applied on its own "
        "machine, and encrypted uploads cannot be inspected.",
        "All parties ran in one process, exchanging bytes. Sizes and computation are real; "
        "latency, bandwidth and failures of networks are not part of the run.",
        "Held-out patients were pooled to measure. Where that is not allowed, each cloud scores "
        "its own.",
        "The same seed on the same machine, versions and device gives the same model and scores; "
        "another machine may differ in the last bits of training.",
    ]
    listed = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<h2>What this does not show or protect against</h2>\n<ul>{listed}</ul>"


def _terms(run: RunFiles) -> str:
    rows = [*run.summary["environment"].items()]
    rows += [
        ("seed", run.summary["configuration"]["run"]["seed"]),
        ("randomness of the encryption", "from the operating system, never from the seed"),
        ("plan", run.summary["plan"]["id"]),
    ]
    if "seconds" in run.summary:
        rows.append(("whole run", format_seconds(run.summary["seconds"])))
    return (
        "<h2>Terms of these numbers</h2>\n"
        + _table(("", ""), rows, text=2)
        + "<details><summary>Configuration (config.toml repeats the run)</summary>"
        f"<pre>{escape(run.config)}</pre></details>"
    )


def _rounds(run: RunFiles) -> str:
    rows = [
        (
            METHOD_TITLES[record["method"]],
            record["round"],
            f"{record['auc']:.4f}",
            f"{record['accuracy']:.4f}",
            f"{record['log_loss']:.4f}",
            format_loss(record.get("train_loss")),
            record["clipped"] if record["clouds"] else "",
            format_seconds(phase_seconds(record, "total")),
        )
        for record in run.records
    ]
    columns = (
        "method",
        "round",
        "AUC",
        "accuracy",
        "log loss",
        "training loss",
        "clipped",
        "time",
    )
    return (
        f"<details><summary>All rounds</summary>{_table(columns, rows)}</details>" if rows else ""
    )
