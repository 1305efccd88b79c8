"""The raw data of a comparison as CSV, one file a kind of record.

Comparison layer. Numbers are written with all their digits and in SI base units; a missing one is
empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from veilsum.lab.compare.costs import BANDWIDTHS_BPS
from veilsum.lab.compare.figures import costs
from veilsum.lab.compare.files import Comparison
from veilsum.training.run_directory import write_whole

_ROUND_COLUMNS = (
    "method",
    "round",
    "skipped",
    "auc",
    "auc_standard_error",
    "accuracy",
    "log_loss",
    "train_loss",
    "clipped",
    "encrypted_fraction",
)


def write_csv(run: Comparison) -> list[Path]:
    """Write rounds.csv, leakage.csv, costs.csv, sweep.csv and aes.csv.

    Parameters
    ----------
    run : Comparison
        The comparison.

    Returns
    -------
    list of Path
        The files that have any rows.

    Raises
    ------
    OSError
        When one cannot be written.
    """
    tables: dict[str, list[dict[str, Any]]] = {
        "rounds": [_round(record) for record in run.rounds],
        "leakage": [dict(record) for record in run.leaks],
        "costs": _costs(run),
        "sweep": [dict(record) for record in run.sweep],
        "aes": [dict(record) for record in run.aes],
    }
    written = []
    for name, rows in tables.items():
        if rows:
            path = run.folder / f"{name}.csv"
            write_whole(path, _text(rows))
            written.append(path)
    return written


def _round(record: Mapping[str, Any]) -> dict[str, Any]:
    row = {key: record.get(key) for key in _ROUND_COLUMNS}
    privacy = record.get("privacy") or {}
    row["epsilon"] = privacy.get("epsilon")
    row |= record["cost"]
    return row | {f"{phase}_seconds": value for phase, value in record["seconds"].items()}


def _costs(run: Comparison) -> list[dict[str, Any]]:
    rows = []
    for key, cost in costs(run).items():
        for bandwidth in BANDWIDTHS_BPS:
            rows.append(
                {
                    "method": key,
                    "bandwidth_bps": bandwidth,
                    "bytes_a_round": cost.bytes,
                    "transfer_s": cost.transfer_s(bandwidth),
                    "compute_s": cost.compute_s,
                    "round_s": cost.round_s(bandwidth),
                }
            )
    return rows


def _text(rows: Iterable[Mapping[str, Any]]) -> str:
    listed = list(rows)
    # Methods have different phases: the union, in order of appearance.
    columns = list(dict.fromkeys(key for row in listed for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(listed)
    return buffer.getvalue()
