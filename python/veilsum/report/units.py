"""Numbers with units, as people read them.

Report layer, bottom.
"""

from __future__ import annotations


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
