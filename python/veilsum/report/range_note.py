"""What to say about a run whose updates did not fit their ranges: too narrow, or far too wide.

Report layer, bottom. Made from records and configuration alone; the terminal and the page show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from veilsum.rounding import CLIPPED_SHARE

ZERO_SHARE = 0.99
"""An opened update with more zeros than this carries nothing: its values were lost in a step."""


def range_note(summary: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    """Say that many values were clipped or became 0, and which options help; empty where not.

    Parameters
    ----------
    summary : mapping
        As run.json has it.
    records : sequence of mapping
        Those of the encrypted method, as metrics.jsonl has them.
    """
    opened = [record for record in records if not record.get("skipped")]
    size = int(summary["model"]["values"])
    options = summary["configuration"]["encryption"]
    limit, bits = options["limit"], options["value_bits"]
    notes = []
    clipped = sum(record["clipped"] for record in opened)
    values = size * sum(len(record["clouds"]) for record in opened)
    if clipped > CLIPPED_SHARE * values:
        remedy = (
            f"raise encryption.limit (now {limit:g})"
            if options["range"] == "fixed"
            else f"raise encryption.limit (now {limit:g}) for the first round, or "
            f"encryption.range_margin (now {options['range_margin']:g}) for the later ones"
        )
        notes.append(
            f"{clipped / values:.1%} of the values in all uploads were clipped at the ends of "
            f"their ranges, so the sums are not those of the updates: {remedy}."
        )
    lost = [record for record in opened if record.get("zeroed", 0) > ZERO_SHARE * size]
    if lost:
        step = limit / (2 ** (bits - 1) - 1)
        notes.append(
            f"In {len(lost)} of {len(opened)} rounds the opened update was 0 nearly everywhere: "
            f"its values were lost in a step of their ranges. Lower encryption.limit (now "
            f"{limit:g}, a first step of {step:.2g}), or use more encryption.value_bits (now "
            f"{bits})."
        )
    return " ".join(notes)
