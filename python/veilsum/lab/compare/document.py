"""What a comparison's report says: sections of text, tables and figures, in order.

Comparison layer. The HTML page and the Markdown file are two renderings of this one document, so
that neither says what the other does not. Every number stands with its terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from veilsum.lab.compare import tables
from veilsum.lab.compare.contenders import CENTRALISED, DP_FL, HYBRID
from veilsum.lab.compare.costs import time_ratio
from veilsum.lab.compare.figures import attack_title, costs
from veilsum.lab.compare.files import Comparison
from veilsum.lab.compare.tables import Table


@dataclass(frozen=True)
class Figure:
    """A figure by name, with its terms.

    Parameters
    ----------
    name : str
        As `write_figures` names it.
    caption : str
        Below it.
    """

    name: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it.

    Parameters
    ----------
    title : str
        The heading.
    text : sequence of str
        Paragraphs.
    blocks : sequence of Figure or Table
        After the text.
    """

    title: str
    text: Sequence[str] = ()
    blocks: Sequence[Figure | Table] = field(default_factory=list)


def headline(run: Comparison) -> str:
    """Return what was compared, in a few sentences.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    summary = run.summary
    planned = summary["configuration"]["training"]["rounds"]
    done = max((int(record["round"]) for record in run.rounds), default=0)
    ended = {
        "finished": f"It ran all {planned} rounds",
        "interrupted": f"It was interrupted after {done} of {planned} rounds",
        "failed": f"It failed after {done} of {planned} rounds ({summary.get('error', '')})",
        "running": f"It had done {done} of {planned} rounds when this page was made",
    }[summary["status"]]
    text = (
        f"{len(run.ran)} ways to train one model over {len(summary['clouds'])} clouds, on the "
        f"same data ({summary['study']['title']}), model ({summary['model_values']:,} values), "
        f"seeds and rounds. {ended}, started {summary['started']}."
    )
    if summary["quick"]:
        text += (
            " This is a quick run: it shows that everything works; too few rounds, probes and "
            "repetitions for its numbers to be quoted."
        )
    for one in run.ran:
        skipped = [record for record in run.records(one["key"]) if record["skipped"]]
        if skipped:
            text += (
                f" {one['title']} skipped {_counted(len(skipped), 'round')}, which left its model "
                f"as it was and is in no cost; the last one, round {skipped[-1]['round']}: "
                f"{skipped[-1]['skipped']} (see aggregation.min_clients)."
            )
    return text


def warning(run: Comparison) -> str:
    """Return what must stand above everything; empty for real rows.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    if not run.synthetic:
        return ""
    return (
        "Synthetic data. The rows were made up; nobody is among them, and no number here says "
        "anything about medicine."
    )


def sections(run: Comparison) -> list[Section]:
    """Return the report's sections.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    made = [_results(run)]
    if run.leaks:
        made.append(_leakage(run))
    if costs(run):
        made += [_communication(run), _computation(run)]
    if run.aes:
        made.append(_aes(run))
    return [*made, _seen(run), _limits(), _terms(run)]


def _results(run: Comparison) -> Section:
    text = []
    missing = [one for one in run.methods if one.get("status") == "not run"]
    for one in missing:
        text.append(f"Not run: {one['title']}. {one['reason']}.".replace("..", "."))
    blocks: list[Figure | Table] = [tables.summary_table(run)]
    if costs(run):
        blocks.append(tables.cost_table(run))
    blocks.append(tables.claims_table(run))
    if run.rounds:
        blocks.append(
            Figure(
                "accuracy",
                "AUC of the global model after each round, on rows that no cloud trained on. "
                "The last round counts; no round was picked by its score. Where methods coincide, "
                "wider lines lie under narrower ones.",
            )
        )
    return Section("Results", text, blocks)


def _leakage(run: Comparison) -> Section:
    summary = run.summary
    options = summary["options"]
    text = [
        "An honest-but-curious aggregator attacks what it holds of each upload. Probes are "
        f"{options['probes']} training records of the clouds, drawn with the run's seed, the same "
        f"for every method; attacked rounds: {', '.join(map(str, summary['attacked']))}. A probe "
        f"counts as recovered when all its {len(summary['inputs'])} standardised features are "
        f"within {summary['tolerance']:g} of a standard deviation of one of the attacker's guesses "
        "(yes-or-no columns count as 0 and 1). Which guess is the right one is not asked, so the "
        "rate is an upper bound on what the attacker knows.",
        "One step: a cloud takes one step of plain gradient descent (no dropout, no momentum) on "
        "the probes' batch, from the round's global model, and sends it the way the method sends "
        "updates; this is what FedSGD shares, and the worst case. The real update of a round: the "
        "update that the clouds really made, of "
        f"{_counted(summary['configuration']['training']['epochs'], 'epoch')} in batches of "
        f"{summary['configuration']['training']['batch_size']} with "
        f"{summary['configuration']['training']['optimiser']}; the attack treats it as one step.",
        "The attack: analytic for the first layer (Phong et al. 2018; units that fire for one "
        "record of a batch give it away, Boenisch et al. 2023; missing coordinates are put "
        "together from several units; noise is averaged by a rank-one fit), and gradient matching "
        "where that does not explain what was seen (Zhu et al. 2019; Geiping et al. 2020; labels "
        f"by Zhao et al. 2020), in the last attacked round on up to "
        f"{_counted(options['optimised_batches'], 'batch', 'batches')}. Of a ciphertext the "
        "aggregator holds residues; they are read the way decryption reads them, without the pad "
        "being taken off, and attacked like any other numbers: 0 is a result and no assumption.",
    ]
    hybrid = run.attacks(HYBRID, "step-1")
    if hybrid:
        share = tables.over_rounds(hybrid)[2]
        text.append(
            f"Hybrid encryption and a batch of one: {tables.percent(share)} recovered. Each hidden "
            "unit repeats the record, so hiding the most sensitive coordinates does not hide it as "
            "long as one unit's weights and bias stay readable. Hybrid encryption lowers what "
            "leaks of larger batches; it is no substitute for encrypting everything."
        )
    noise = next((one.get("privacy") for one in run.ran if one["key"] == DP_FL), None)
    if noise and noise["model"] == "central" and run.attacks(DP_FL, "step-1"):
        text.append(
            "DP-FL: a server that adds the noise itself reads clipped updates, which give records "
            "away like FedAvg's; noise added by the clouds would hide them from it as well "
            "(privacy.baseline_noise). Where its rate falls, noise has made the model extreme: it "
            "is certain of many records, and their gradient is exactly 0."
        )
    caption = (
        "Figure 1. Data leakage rate per round: share of the probes recovered. Dotted: as many "
        "guesses drawn from held-out rows (null control). Centralised training hands over the "
        "rows, so its rate is 100 % by definition. Where methods coincide, wider lines lie under "
        "narrower ones."
    )
    by_share: list[Figure | Table] = []
    if run.sweep:
        sensitivity = summary["configuration"]["hybrid"]["sensitivity"]
        by_share.append(
            Figure(
                "leakage-by-share",
                f"Leakage of a hybrid upload in round {run.sweep[0]['round']}, against the share "
                f"of the coordinates that is encrypted (by sensitivity: {sensitivity}). One step "
                "on the same probes, analytic attack only.",
            )
        )
    return Section(
        "Figure 1: data leakage",
        text,
        [
            Figure("figure-1-leakage", caption),
            *tables.leakage_tables(run),
            Table((), [], notes=tables.LEAKAGE_NOTES),
            *by_share,
        ],
    )


def _counted(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def _communication(run: Comparison) -> Section:
    text = [
        "Bytes are measured: every message is real. Links are modelled: each cloud has a link of "
        "its own of that bandwidth, sends and receives one after the other; no latency, no "
        "protocol overhead, no loss, and the aggregator's side is never the bottleneck. So a "
        "line's slope is given and its height is the measured bytes."
    ]
    if CENTRALISED in costs(run):
        text.append(
            "Centralised training sends the largest cloud's rows once, spread over the rounds: for "
            "a table of few columns that is less than a model, and all of it is readable."
        )
    caption = (
        "Figure 2. Communication cost: time to send and receive a round's messages over one "
        "cloud's link (both axes logarithmic); at the right, bytes a round. What is exchanged once "
        "is spread over the rounds."
    )
    return Section(
        "Figure 2: communication cost against bandwidth",
        text,
        [
            Figure("figure-2-communication", caption),
            tables.bytes_table(run),
            tables.bandwidth_table(run, "communication"),
        ],
    )


def _computation(run: Comparison) -> Section:
    text = [
        "A round's arithmetic does not depend on the link. What falls with bandwidth is the time "
        "for which machines are held by a round, and that is how the paper's figure is read here: "
        "computing (measured, dotted) plus waiting for the link (modelled as in figure 2). Clouds "
        "work side by side, the slowest counts, and the servers work after it; medians of the "
        "rounds, the first left out."
    ]
    ratio = time_ratio(run.records("veilsum"), run.records("fedavg"))
    if ratio:
        text.append(
            f"With all clouds one after another on one machine, as measured, Veilsum's round takes "
            f"{ratio[0]:.3f} times plaintext FedAvg's (quartiles {ratio[1]:.3f} to {ratio[2]:.3f}, "
            "rounds paired)."
        )
    caption = (
        "Figure 3. Computation cost: time for which a round holds its machines (both axes "
        "logarithmic). Dotted: computing alone; at the right, the time at 10 Gbit/s."
    )
    return Section(
        "Figure 3: computation cost against bandwidth",
        text,
        [
            Figure("figure-3-computation", caption),
            tables.computing_table(run),
            tables.bandwidth_table(run, "computation"),
        ],
    )


def _aes(run: Comparison) -> Section:
    return Section("AES and Veilsum", tables.AES_NOTES, [*tables.aes_tables(run)])


def _seen(run: Comparison) -> Section:
    return Section(
        "What each aggregator sees",
        [
            "All clouds and whoever evaluates see every global model in every method. The "
            "membership AUC above is measured on the last one; encryption does not change it."
        ],
        [tables.describe_seen(run)],
    )


def _limits() -> Section:
    return Section(
        "What this does not show",
        [
            "Rates are of these attacks on this model and data, not of the best possible ones: a "
            "rate of 0 of a plaintext method (the real updates of a round) is no proof that "
            "nothing leaks. For ciphertexts the argument is the scheme's (SECURITY.md), and the "
            "attack only shows that nothing was left open by accident.",
            "The attacker is the aggregator alone. One that conspires with all clouds but one "
            "learns that cloud's update from the opened sum, in every method without noise.",
            "Times are of one machine on which all parties take turns; links are a model. Methods "
            "took turns round by round, so ratios are fairer than times.",
        ],
    )


def _terms(run: Comparison) -> Section:
    summary = run.summary
    rows = [*tables.terms(run), ("seconds in all", f"{summary.get('seconds', 0):.0f}")]
    study = summary["study"]
    return Section(
        "Terms",
        [
            f"Data: {study['title']}. Source: {study['source']}. {study['rows']:,} rows, "
            f"outcome: {study['outcome']}; clouds of "
            f"{', '.join(f'{rows:,}' for rows in summary['clouds'])} rows, "
            f"{summary['held_out']:,} held out.",
            "Raw data lie beside this file: rounds.csv, leakage.csv, costs.csv, aes.csv; the "
            "configuration that repeats the run is config.toml.",
        ],
        [Table(("term", "value"), rows, "What it ran on", 2)],
    )


def attack_names(run: Comparison) -> list[str]:
    """Return the attacks' names for people, in order.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    return [attack_title(name) for name in run.attack_names]
