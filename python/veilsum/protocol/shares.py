"""From relative weights to shares of a round, when nobody sees anybody else's weight.

Protocol. Clouds encrypt their relative weights; only sums are opened. One pass gives the sum,
so each cloud knows its own share. With a cap, a cloud above it holds itself at the cap, and the
next pass opens the sum of those still free and the number of those held: that is all that
water-filling (`weights.capped`) needs. Passes end when the number held does not change, after at
most 1 / cap + 2.

What is opened: the sum of the free clouds' weights and the number of held clouds, each pass. When
one cloud is held between two passes, the difference of the sums is its relative weight, though not
whose it was. What holds: among those who took part in the last pass, honest clouds' shares are
those of `weights.capped`. A cloud that lies about its own weight is not found out, and when a
cloud drops after the last pass, the others' shares of what remains grow in proportion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veilsum.errors import ParameterError, RoundError
from veilsum.protocol.history import SHARES, State
from veilsum.protocol.opened import OpenedSum
from veilsum.protocol.secure_sum import SecureSum
from veilsum.protocol.statistics import VALUE_BITS
from veilsum.protocol.weights import exceeds
from veilsum.rounding import Grid

LIMIT = 4096.0
"""Public bound of relative weights; dimensionless and near 1 by construction (see `weights.py`)."""

_LIKE = {"relative": np.zeros(1), "held": np.zeros(1)}
_LIMITS = {"relative": LIMIT, "held": 1.0}
_GRID = Grid(LIMIT, VALUE_BITS)


@dataclass(frozen=True)
class Totals:
    """What one pass opens.

    Parameters
    ----------
    free : float
        Sum of the relative weights of clouds not held at the cap.
    held : int
        Number of those held.
    clients : int
        Number of both.
    """

    free: float
    held: int
    clients: int


class SharePasses:
    """The public side of a series of passes, the same at every participant.

    Parameters
    ----------
    cap : float
        Largest share; 1 for none.
    """

    def __init__(self, cap: float) -> None:
        self._cap = cap
        self._last: Totals | None = None
        self._settled = False

    @property
    def settled(self) -> bool:
        """Whether shares are final."""
        return self._settled

    @property
    def state(self) -> State:
        """What the passes so far have come to, for the history."""
        last = self._last
        free, held, clients = (0.0, 0, 0) if last is None else (last.free, last.held, last.clients)
        return {
            "cap": np.float64(self._cap),
            "free": np.float64(free),
            "held": np.int64(held),
            "clients": np.int64(clients),
            "settled": np.bool_(self._settled),
        }

    @property
    def totals(self) -> Totals | None:
        """What the last pass opened; None before the first."""
        return self._last

    @property
    def factor(self) -> float:
        """A free cloud's share is its relative weight times this."""
        if self._last is None:
            raise RoundError("no pass of the round's shares was opened yet")
        room = max(1 - self._cap * self._last.held, 0.0)
        return room / self._last.free if self._last.free > 0 else 0.0

    def observe(self, totals: Totals) -> None:
        """Take in what a pass opened.

        Parameters
        ----------
        totals : Totals
            Of the pass.

        Raises
        ------
        veilsum.RoundError
            When the numbers cannot come from honest clouds, or too few are left to keep the cap.
        """
        before = self._last
        if totals.clients * self._cap < 1 - 1e-9:
            raise RoundError(
                f"{totals.clients} clouds took part, too few for a largest share of {self._cap:g}"
            )
        wrong = totals.held < (0 if before is None else before.held) or totals.held > totals.clients
        # No passes without end: held clouds only grow, and 1 / cap of them fill the whole.
        if wrong or totals.held * self._cap > 1 + 1e-6:
            raise RoundError(
                f"{totals.held} of {totals.clients} clouds say they are held at a share of "
                f"{self._cap:g}; a cloud does not follow the protocol"
            )
        if before is not None and before.clients != totals.clients:
            raise RoundError("a cloud left while shares were agreed on")
        same = before is not None and before.held == totals.held
        self._last = totals
        self._settled = self._cap >= 1 or same


class OwnShare:
    """One cloud's side.

    Parameters
    ----------
    relative : float
        Its relative weight, above 0.
    cap : float
        Largest share; 1 for none.

    Raises
    ------
    veilsum.ParameterError
        When the weight is beyond the public bound, or vanishes next to it.
    """

    def __init__(self, relative: float, cap: float) -> None:
        if not 0 < relative <= LIMIT:
            raise ParameterError(
                f"a relative weight must be above 0 and at most {LIMIT:g}. Use a "
                "smaller aggregation.bandwidth_exponent, or other weights"
            )
        # Rounded to the grid first, so that the opened sum is the sum of what is used here.
        self._relative = float(_GRID.nearest(np.array([relative]))[0])
        if self._relative <= 0:
            raise ParameterError(
                f"a relative weight vanishes next to the bound of {LIMIT:g}; use a "
                "smaller aggregation.bandwidth_exponent, or other weights"
            )
        self._cap = cap
        self._held = False
        self._passes = SharePasses(cap)

    def contribution(self) -> dict[str, np.ndarray]:
        """Return what the cloud encrypts for the next pass."""
        return {
            "relative": np.array([0.0 if self._held else self._relative]),
            "held": np.array([1.0 if self._held else 0.0]),
        }

    def observe(self, totals: Totals) -> None:
        """Take in what a pass opened, and hold the share at the cap where it exceeds it.

        Parameters
        ----------
        totals : Totals
            Of the pass.
        """
        self._passes.observe(totals)
        if not self._held and exceeds(self._relative * self._passes.factor, self._cap):
            self._held = True

    @property
    def clients(self) -> int:
        """How many clouds the share is one of; 0 before a pass was opened."""
        totals = self._passes.totals
        return 0 if totals is None else totals.clients

    @property
    def weight(self) -> float:
        """The share times the number of clouds: 1 on average.

        Raises
        ------
        veilsum.RoundError
            When shares are not final yet.
        """
        totals = self._passes.totals
        if totals is None or not self._passes.settled:
            raise RoundError("shares of the round are not agreed yet; nothing was encrypted")
        share = self._cap if self._held else min(self._relative * self._passes.factor, self._cap)
        return totals.clients * share


def share_sum(number: int) -> SecureSum:
    """Define the sum of one pass.

    Parameters
    ----------
    number : int
        The pass in its step, from 1.
    """
    return SecureSum(f"{SHARES}.{number}", _LIKE, _LIMITS, exact=True)


def totals_of(opened: OpenedSum) -> Totals:
    """Read what a pass opened.

    Parameters
    ----------
    opened : OpenedSum
        The pass.
    """
    sums = opened.sums
    # "held" counts in whole clouds, at 32 bits: rounding is exact.
    return Totals(float(sums["relative"][0]), round(float(sums["held"][0])), len(opened.members))
