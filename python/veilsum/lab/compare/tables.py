"""The tables of a comparison, as cells: the page and the Markdown file show the same ones.

Comparison layer. Each table carries its terms. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from veilsum.lab.compare.aes_table import VALUES_OF
from veilsum.lab.compare.contenders import CENTRALISED, DP_FL, FEDAVG, HE_FL, HYBRID, VEILSUM
from veilsum.lab.compare.costs import BANDWIDTHS_BPS, RoundCost, time_ratio
from veilsum.lab.compare.figures import attack_title, costs
from veilsum.lab.compare.files import Comparison, Record
from veilsum.report.units import format_bytes, format_seconds


@dataclass(frozen=True)
class Table:
    """One table.

    Parameters
    ----------
    columns : tuple of str
        Heads.
    rows : sequence of tuple of str
        Cells.
    caption : str
        What it shows.
    text : int
        The first so many columns are words, the others numbers.
    notes : list of str
        Terms, one sentence or more each.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    caption: str = ""
    text: int = 1
    notes: list[str] = field(default_factory=list)


def _titles(run: Comparison) -> dict[str, str]:
    return {one["key"]: one["title"] for one in run.methods}


def percent(share: float) -> str:
    """Return a share as a percentage, without hiding that it is not quite 0 or 100.

    Parameters
    ----------
    share : float
        From 0 to 1.
    """
    if 0 < share < 0.001 or 0.999 < share < 1:
        return f"{share:.3%}"
    return f"{100 * share:.3g} %"


def over_rounds(records: Sequence[Record]) -> tuple[int, int, float]:
    """Return probes, those recovered, and the rate, of all attacked rounds together.

    Parameters
    ----------
    records : sequence of dict
        Of one method and attack.
    """
    probes = sum(int(one["probes"]) for one in records)
    recovered = sum(int(one["recovered"]) for one in records)
    return probes, recovered, recovered / probes if probes else 0.0


def summary_table(run: Comparison) -> Table:
    """Return the table of methods: accuracy and leakage.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    names = run.attack_names
    rows = []
    for one in run.methods:
        key, records = one["key"], run.records(one["key"])
        if not records:
            reason = one.get("reason", "no round was finished")
            rows.append((one["title"], f"not run: {reason}", *[""] * (2 + len(names))))
            continue
        last = records[-1]
        member = one.get("membership")
        cells = [one["title"], f"{last['auc']:.4f} ± {last['auc_standard_error']:.3f}"]
        cells.append(f"{last['accuracy']:.4f}")
        for name in names:
            attacks = run.attacks(key, name)
            cells.append(percent(over_rounds(attacks)[2]) if attacks else "")
        cells.append(f"{member['auc']:.3f}" if member else "")
        rows.append(tuple(cells))
    columns = (
        "method",
        "final AUC",
        "accuracy",
        *(f"leakage, {_short(name)}" for name in names),
        "membership AUC",
    )
    errors = [one["membership"]["standard_error"] for one in run.ran if one.get("membership")]
    notes = [
        "Final AUC: of the last round's model on held-out rows, ± its standard error (Hanley "
        "and McNeil); accuracy at threshold 0.5. All methods are scored on the same rows. "
        "Leakage: share of the probe records recovered, over all attacked rounds: of one step on a "
        "batch of that size, or of the real update of a round; figure 1 has the terms. "
        "Membership AUC: how well a threshold on the loss of the released model tells training "
        "rows from held-out ones (Yeom et al. 2018); 0.5 is guessing"
        + (f", with a standard error of {errors[0]:.3f}" if errors else "")
        + ". No encryption of updates changes it.",
    ]
    return Table(columns, rows, "Accuracy and leakage", 1, notes)


def cost_table(run: Comparison) -> Table:
    """Return the table of methods: wire and time.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    found = costs(run)
    reference = run.records(FEDAVG)
    titles = _titles(run)
    rows = []
    for key, cost in found.items():
        ratio = time_ratio(run.records(key), reference) if reference else None
        rows.append(
            (
                titles[key],
                format_bytes(cost.up_bytes),
                format_bytes(cost.down_bytes),
                _against(found, key),
                format_seconds(cost.compute_s),
                f"{ratio[0]:.2f} ×" if ratio and key != CENTRALISED else "",
            )
        )
    notes = [
        "Sent and received: measured bytes of one cloud in a round; traffic / FedAvg compares both "
        "together, without what is exchanged once. Computing: measured, the slowest cloud and the "
        "servers after it. Round / FedAvg: median over the rounds of a round's whole measured "
        "time, all clouds one after another on one machine, over FedAvg's same round; the first "
        "round does not count.",
    ]
    columns = ("method", "sent", "received", "traffic / FedAvg", "computing", "round / FedAvg")
    return Table(columns, rows, "Costs of a round", 1, notes)


def _short(name: str) -> str:
    return "round" if name == "round" else f"batch of {name.removeprefix('step-')}"


def _against(found: dict[str, RoundCost], key: str) -> str:
    if key not in found or FEDAVG not in found or key == CENTRALISED:
        return ""
    mine, theirs = found[key], found[FEDAVG]
    ratio = (mine.up_bytes + mine.down_bytes) / (theirs.up_bytes + theirs.down_bytes)
    return f"{ratio:.2f} ×" if ratio < 10 else f"{ratio:.1f} ×"


@dataclass(frozen=True)
class Claim:
    """Something that must hold, and whether it did.

    Parameters
    ----------
    text : str
        What.
    measured, required : str
        The number, and the rule.
    holds : bool or None
        None where it could not be checked.
    timing : bool
        Whether it depends on the machine's load.
    """

    text: str
    measured: str
    required: str
    holds: bool | None
    timing: bool = False


def claims(run: Comparison) -> list[Claim]:
    """Check what the paper and the design claim against the records.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    return [*_agreement_claims(run), *_cost_claims(run), *_leakage_claims(run)]


def _agreement_claims(run: Comparison) -> list[Claim]:
    made = []
    for one in run.ran:
        if one["key"] == CENTRALISED:
            continue
        checks = one.get("agreement", [])
        text = f"{one['title']}: a round's mean is the plaintext mean, within the derived bound"
        if not checks:
            made.append(Claim(text, f"not checked: {one.get('unchecked')}", "≤ 1 bound", None))
            continue
        worst = max(checks, key=lambda check: float(check["share"]))
        made.append(
            Claim(
                text,
                f"{worst['share']:.2f} of the bound ({worst['error']:.1e} of {worst['bound']:.1e}),"
                f" worst entry of {len(checks)} rounds",
                "≤ 1 bound",
                worst["share"] <= 1,
            )
        )
    return made


def _cost_claims(run: Comparison) -> list[Claim]:
    made = []
    found = costs(run)
    if run.records(VEILSUM) and run.records(FEDAVG):
        ratio = time_ratio(run.records(VEILSUM), run.records(FEDAVG))
        if ratio is not None:
            made.append(
                Claim(
                    "Veilsum: time of a round over plaintext FedAvg's",
                    f"{ratio[0]:.3f} × (quartiles {ratio[1]:.3f} to {ratio[2]:.3f})",
                    "≤ 1.10 ×",
                    None if run.summary["quick"] else ratio[0] <= 1.10,
                    timing=True,
                )
            )
    if {HE_FL, FEDAVG} <= found.keys():
        ratio_up = found[HE_FL].up_bytes / found[FEDAVG].up_bytes
        made.append(
            Claim(
                "HE-FL by TenSEAL: upload over the plaintext update in float32",
                f"{ratio_up:.1f} ×",
                "≥ 15 ×",
                ratio_up >= 15,
            )
        )
    if {HE_FL, VEILSUM} <= found.keys():
        ratio_up = found[HE_FL].up_bytes / found[VEILSUM].up_bytes
        both = (found[HE_FL].up_bytes + found[HE_FL].down_bytes) / (
            found[VEILSUM].up_bytes + found[VEILSUM].down_bytes
        )
        made.append(
            Claim(
                "HE-FL by TenSEAL: upload over Veilsum's",
                f"{ratio_up:.1f} × (both directions together {both:.1f} ×)",
                "≥ 15 ×",
                ratio_up >= 15,
            )
        )
    return made


def _leakage_claims(run: Comparison) -> list[Claim]:
    made = []
    plain = over_rounds(run.attacks(FEDAVG, "step-1"))
    if plain[0]:
        made.append(
            Claim(
                "Plaintext, one step on a batch of one: the attack recovers the probes",
                f"{percent(plain[2])} ({plain[1]} of {plain[0]})",
                "≥ 90 %",
                plain[2] >= 0.9,
            )
        )
    for key, title in ((VEILSUM, "Veilsum's ciphertext"), (HE_FL, "HE-FL's ciphertext")):
        counts = [over_rounds(run.attacks(key, name)) for name in run.attack_names]
        probes, recovered = sum(one[0] for one in counts), sum(one[1] for one in counts)
        if probes:
            made.append(
                Claim(
                    f"{title}: the same attacks recover nothing",
                    f"{recovered} of {probes} probes",
                    "0",
                    recovered == 0,
                )
            )
    for name in run.attack_names:
        low, middle, high = (
            over_rounds(run.attacks(key, name)) for key in (VEILSUM, HYBRID, FEDAVG)
        )
        if not (low[0] and middle[0] and high[0]) or name == "round":
            continue
        between = low[2] < middle[2] < high[2]
        made.append(
            Claim(
                f"Veilsum hybrid, {attack_title(name)}: leakage between encrypted and plaintext",
                f"encrypted {percent(low[2])}, hybrid {percent(middle[2])}, plaintext "
                f"{percent(high[2])}",
                "between" if name != "step-1" else "none: see figure 1",
                between if name != "step-1" else None,
            )
        )
    chance = [over_rounds(run.attacks("chance", name)) for name in run.attack_names]
    probes, recovered = sum(one[0] for one in chance), sum(one[1] for one in chance)
    if probes:
        made.append(
            Claim(
                "Null control: as many guesses drawn from the held-out rows",
                f"{recovered} of {probes} probes",
                "about 0",
                recovered <= 0.02 * probes,
            )
        )
    return made


def _verdict(claim: Claim) -> str:
    if claim.holds is None:
        return "too short to judge" if claim.timing else "not judged"
    word = "holds" if claim.holds else "DOES NOT HOLD"
    return f"{word} (timing)" if claim.timing else word


def claims_table(run: Comparison) -> Table:
    """Return the checks as a table.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    rows = [(one.text, one.measured, one.required, _verdict(one)) for one in claims(run)]
    return Table(
        ("claim", "measured", "required", "verdict"),
        rows,
        "What must hold, checked on this run",
        4,
        [
            "Timing depends on the load of the machine and, more than that, on how long local "
            "training takes beside the aggregation: a quick run trains too little to judge it."
        ],
    )


def leakage_tables(run: Comparison) -> list[Table]:
    """Return the attacks of the last attacked round in detail, one table an attack.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    titles = _titles(run) | {"chance": "chance (null control)"}
    last = max((int(one["round"]) for one in run.leaks), default=0)
    made = []
    for name in run.attack_names:
        rows = []
        for key in [*(one["key"] for one in run.ran), "chance"]:
            for one in run.attacks(key, name):
                if one["round"] != last:
                    continue
                rows.append(
                    (
                        titles[key],
                        "" if key == "chance" else percent(one["readable"]),
                        f"{one['recovered']} of {one['probes']}",
                        percent(one["rate"]),
                        percent(one["feature_share"]),
                        f"{one['most_guesses']:,}",
                        f"{one['optimised']}",
                    )
                )
        columns = (
            "method",
            "numbers to read",
            "recovered",
            "rate",
            "features right",
            "guesses a batch",
            "optimised",
        )
        made.append(Table(columns, rows, f"Round {last}: {attack_title(name)}"))
    return made


LEAKAGE_NOTES = [
    "Numbers to read: share of an upload's coordinates for which the aggregator has a number. Of a "
    "ciphertext it has all residues, read as if nothing had been added to them, so encrypted "
    "methods have no 0 % there. Features right: share of features within the tolerance in each "
    "probe's nearest guess; guessing from the population gets many right, one at a time, and a "
    "record counts only when all are right at once. Guesses a batch: how many records the attacker "
    "names. Optimised: batches on which gradient matching ran.",
]


def bandwidth_table(run: Comparison, what: str) -> Table:
    """Return figure 2 or 3 as numbers.

    Parameters
    ----------
    run : Comparison
        The comparison.
    what : str
        "communication" or "computation".
    """
    titles = _titles(run)
    rows = []
    for key, cost in costs(run).items():
        first = (
            format_bytes(cost.bytes) if what == "communication" else format_seconds(cost.compute_s)
        )
        times = [
            cost.transfer_s(rate) if what == "communication" else cost.round_s(rate)
            for rate in BANDWIDTHS_BPS
        ]
        rows.append((titles[key], first, *(format_seconds(value) for value in times)))
    head = "bytes a round" if what == "communication" else "computing alone"
    return Table(
        ("method", head, *(format_bandwidth(rate) for rate in BANDWIDTHS_BPS)),
        rows,
        "Transfer time of a round over one cloud's link"
        if what == "communication"
        else "Time of a round: computing, and waiting for the link",
    )


def format_bandwidth(bits_per_s: float) -> str:
    """Return a bandwidth for people.

    Parameters
    ----------
    bits_per_s : float
        Above 0.
    """
    if bits_per_s >= 1e9:
        return f"{bits_per_s / 1e9:g} Gbit/s"
    return f"{bits_per_s / 1e6:g} Mbit/s"


def bytes_table(run: Comparison) -> Table:
    """Return what travels, by method.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    titles = _titles(run)
    clear = 4 * int(run.summary["model_values"])
    rows = []
    for key, cost in costs(run).items():
        rows.append(
            (
                titles[key],
                format_bytes(cost.up_bytes),
                f"{cost.up_bytes / clear:.2f} ×",
                format_bytes(cost.down_bytes),
                format_bytes(cost.setup_bytes),
                format_bytes(cost.bytes),
            )
        )
    return Table(
        ("method", "sent", "sent / fp32 update", "received", "once, spread", "together"),
        rows,
        "Bytes over the busiest cloud's link in a round, measured",
        1,
        [
            f"The update has {run.summary['model_values']:,} values, {format_bytes(clear)} in "
            "float32. 'Once, spread' is what a cloud exchanges before the first round (rows, "
            "keys, contexts, encrypted statistics), divided by the number of rounds."
        ],
    )


def computing_table(run: Comparison) -> Table:
    """Return where a round's computing goes, by method.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    titles = _titles(run)
    rows = [
        (
            titles[key],
            format_seconds(cost.train_s),
            format_seconds(cost.protect_s),
            format_seconds(cost.server_s),
            format_seconds(cost.compute_s),
        )
        for key, cost in costs(run).items()
    ]
    return Table(
        ("method", "training", "packing, encrypting, decrypting", "servers", "together"),
        rows,
        "Computing in a round, measured: the slowest cloud, and the servers after it",
        1,
        [
            "Local training is the same work in all federated methods; where it differs here, the "
            "machine was disturbed (and a model that noise has driven to extremes computes slowly)."
        ],
    )


def aes_tables(run: Comparison) -> list[Table]:
    """Return the paper's AES table, one for each kind and number of records.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    made = []
    cases = list(dict.fromkeys((row["kind"], row["records"]) for row in run.aes))
    for kind, records in cases:
        chosen = [r for r in run.aes if (r["kind"], r["records"]) == (kind, records)]
        times = {(r["method"], r["threads"], r["operation"]): r for r in chosen}
        base = {
            operation: times.get(("AES-256-CBC in bulk", 1, operation))
            for operation in ("encrypt", "decrypt")
        }
        rows = []
        for method, threads in dict.fromkeys((r["method"], r["threads"]) for r in chosen):
            cells = [method, str(threads)]
            for operation in ("encrypt", "decrypt"):
                row, reference = times.get((method, threads, operation)), base[operation]
                if row is None:
                    cells += ["", ""]
                    continue
                star = "*" if row["measured"] < row["records"] else ""
                cells.append(f"{format_seconds(row['seconds'])}{star}")
                cells.append(_factor(row["seconds"] / reference["seconds"]) if reference else "")
            sizes = times.get((method, threads, "encrypt"))
            cells.append(f"{sizes['nbytes'] / records:.4g} B" if sizes else "")
            rows.append(tuple(cells))
        what = "one float32 value" if VALUES_OF[kind] == 1 else f"a row of {VALUES_OF[kind]} values"
        made.append(
            Table(
                (
                    "method",
                    "threads",
                    "encrypt",
                    "/ bulk CBC",
                    "decrypt",
                    "/ bulk CBC",
                    "a record",
                ),
                rows,
                f"{records:,} records, each {what}",
            )
        )
    return made


def _factor(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f} ×"
    return f"{value:.2g} ×" if value < 10 else f"{value:.0f} ×"


AES_NOTES = [
    "Medians of at least three runs; AES-256 by OpenSSL through the package cryptography, from "
    "plaintext in memory to ciphertext in memory. Per record: one call, one nonce or IV for each "
    "record, which is how tables are conventionally encrypted; most of its time is the calls. In "
    "bulk: one call over all records. GCM is authenticated, CBC and CTR are not.",
    "Veilsum's ciphertexts can be summed without a key, AES's cannot; its decryption is of a sum "
    "of two uploads. Rows with more than one thread are Veilsum's blocks in parallel; AES in bulk "
    "could be cut up in the same way, which make bench measures with one process a core.",
    "* measured on fewer records and scaled.",
]


def describe_seen(run: Comparison) -> Table:
    """Return what the aggregator sees of an update, by method.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    rows = []
    for one in run.ran:
        seen = one["seen"]
        privacy = one.get("privacy")
        if one["key"] == DP_FL and privacy:
            seen = (
                "the clipped update in the clear: it is trusted to add the noise to the sum"
                if privacy["model"] == "central"
                else "the clipped update with the cloud's own noise on it"
            )
        epsilon = ""
        if privacy:
            epsilon = (
                f"ε = {privacy['epsilon']:.3g}, δ = {privacy['delta']:g} ({privacy['model']}) "
                f"after {privacy['rounds']} rounds; hides {privacy['unit']}; covers "
                f"{privacy['covers']}; assumes {privacy['assumes']}"
            )
        rows.append((one["title"], seen, epsilon or "none claimed"))
    return Table(
        ("method", "the aggregator sees of one cloud's update", "differential privacy"), rows, "", 3
    )


def terms(run: Comparison) -> list[tuple[str, str]]:
    """Return what the numbers were measured on.

    Parameters
    ----------
    run : Comparison
        The comparison.
    """
    found: dict[str, Any] = run.summary["environment"]
    return [(str(name), str(value)) for name, value in found.items()]
