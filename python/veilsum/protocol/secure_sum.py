"""One sum of a training: what is summed, in which ranges, under which of the two plans.

Protocol. Everything that clouds ever sum is a `SecureSum`: pooled statistics (`statistics.py`),
weights (`shares.py`), sensitivities (`masks.py`) and updates (`averaging.py`) define theirs, and
one way to propose, contribute and read serves them all (`agreement.py`, `public_state.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class SecureSum:
    """What a sum is, before anybody has a part in it; the same for all clouds.

    Parameters
    ----------
    purpose : str
        What it is for, as the history has it (`history.STATISTICS` and so on).
    like : mapping of str to ndarray
        Names and shapes of what each cloud contributes.
    limits : mapping of str to float
        Range of each: values beyond plus or minus it are clipped.
    exact : bool
        Under the plan of counts (32 bits a value) instead of that of updates.
    """

    purpose: str
    like: Mapping[str, NDArray[Any]] = field(repr=False)
    limits: Mapping[str, float] = field(repr=False)
    exact: bool = False
