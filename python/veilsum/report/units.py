"""Numbers with units, and notes on rounds, as people read them.

Report layer, bottom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def format_bytes(size: float) -> str:
    """Return a size for people, in decimal units.

    Parameters
    ----------
    size : float
        In bytes.
    """
    if size < 1000:
        return f"{size:.0f} B"
    unit = "kB"
    size /= 1000
    for larger in ("MB", "GB", "TB"):
        if size < 999.5:
            break
        unit, size = larger, size / 1000
    return f"{size:.0f} {unit}" if size >= 99.95 else f"{size:.1f} {unit}"


def format_seconds(seconds: float) -> str:
    """Return a duration for people.

    Parameters
    ----------
    seconds : float
        At least 0.
    """
    if seconds == 0:
        return "0 s"
    if seconds >= 90:
        whole = round(seconds)
        return f"{whole // 60} min {whole % 60} s"
    unit, number = "s", seconds
    for smaller in ("ms", "µs"):
        if number >= 0.9995:
            break
        unit, number = smaller, number * 1000
    return f"{number:.0f} {unit}" if number >= 9.95 else f"{number:.1f} {unit}"


def format_loss(loss: float | None) -> str:
    """Return a training loss, or a dash where none was opened.

    Parameters
    ----------
    loss : float or None
        None in a skipped round, or where differential privacy keeps losses in.
    """
    return "–" if loss is None else f"{loss:.4f}"


def skipped_note(summary: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    """Say which rounds were skipped, why, and which options decide; empty where none was.

    Parameters
    ----------
    summary : mapping
        As run.json has it.
    records : sequence of mapping
        One method's, as metrics.jsonl has them.
    """
    skipped = [record for record in records if record.get("skipped")]
    if not skipped:
        return ""
    numbers = [str(record["round"]) for record in skipped[:10]]
    more = ", ..." if len(skipped) > len(numbers) else ""
    which = f"{len(skipped)} of {len(records)} rounds were skipped and left the model as it was"
    last = skipped[-1]
    note = (
        f"{which}: {', '.join(numbers)}{more}. Why the last one, round {last['round']}: "
        f"{last['skipped']}."
    )
    lost = [record for record in skipped if record.get("lost") and record is not last]
    if lost:
        note += " " + " ".join(
            f"Round {record['round']}: {record['skipped']}." for record in lost[-10:]
        )
    # No option decides over these.
    if last.get("lost") or "a lost round" in last["skipped"]:
        return note
    if "aggregation.max_share" in last["skipped"]:
        return note
    options, least = summary["configuration"], int(summary["min_clients"])
    configured = options["aggregation"]["min_clients"]
    note += (
        f" aggregation.min_clients = {configured} decides how many clouds a sum needs"
        + (f"; 0 means all that take part in a round, here {least}" if not configured else "")
        + ". "
    )
    note += (
        "A lower number, 2 at least, lets rounds go on without missing clouds; each cloud then "
        "hides in a smaller crowd."
        if least > 2
        else "It cannot be lower: the sum of one upload is that upload."
    )
    deadline = options["training"].get("deadline_s")
    if deadline and "late: " in last["skipped"]:
        note += f" A cloud is late after training.deadline_s = {deadline:g} seconds."
    return note
