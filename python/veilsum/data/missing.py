"""Words that tables have where a value is missing: those of the programs that wrote them.

Data layer, bottom. Knows words, no table.
"""

from __future__ import annotations

from typing import Final

MISSING: Final = ("", "NULL", "null", "\\N", "NaN", "nan", "NaT", "NA", "<NA>", "N/A", "None")
"""Stand for a missing number or time. In a column of words some of them are words (the Glasgow
coma scale has "None")."""

MISSING_TEXT: Final = ("NULL", "\\N")
"""Stand for a missing text: what databases write when they export."""
