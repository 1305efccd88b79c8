"""What a round costs over links of a given bandwidth: measured work and bytes, modelled links.

Comparison layer. Seconds of computing and bytes of messages are measured in a run; the link is a
model: each cloud has a link of its own of that bandwidth, sends and receives one after the other,
and waits for nobody else's transfer; no latency, no protocol overhead, no loss. The aggregator's
side is not the bottleneck. A cloud's computing and the server's are added, as one waits for the
other, and the slowest cloud counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veilsum.arguments import shown
from veilsum.errors import ParameterError

BANDWIDTHS_BPS = (10e6, 30e6, 100e6, 300e6, 1e9, 3e9, 10e9)
"""From 10 Mbit/s to 10 Gbit/s, two points a decade."""

_BITS = 8


@dataclass(frozen=True)
class RoundCost:
    """One typical round of a method: the medians of its rounds.

    Parameters
    ----------
    train_s : float
        Local training of the slowest cloud.
    protect_s : float
        What that cloud does besides training: packing or encrypting, reading or decrypting.
    server_s : float
        Summing and opening.
    up_bytes, down_bytes : float
        What the busiest cloud sends and receives in a round.
    setup_bytes : float
        What a cloud exchanged once before the first round, spread over the rounds.
    """

    train_s: float
    protect_s: float
    server_s: float
    up_bytes: float
    down_bytes: float
    setup_bytes: float

    @property
    def bytes(self) -> float:
        """Bytes over one cloud's link in a round."""
        return self.up_bytes + self.down_bytes + self.setup_bytes

    @property
    def compute_s(self) -> float:
        """Seconds of computing in a round, with the clouds side by side."""
        return self.train_s + self.protect_s + self.server_s

    def transfer_s(self, bandwidth_bps: float) -> float:
        """Return the seconds that one cloud's link is busy in a round.

        Parameters
        ----------
        bandwidth_bps : float
            Bits a second; above 0.

        Raises
        ------
        veilsum.ParameterError
            When it is not above 0.
        """
        if not bandwidth_bps > 0:
            raise ParameterError(f"a bandwidth of {shown(bandwidth_bps)} bit/s; must be above 0")
        return _BITS * self.bytes / bandwidth_bps

    def round_s(self, bandwidth_bps: float) -> float:
        """Return the seconds that machines are held by a round: computing and waiting.

        Parameters
        ----------
        bandwidth_bps : float
            Bits a second; above 0.
        """
        return self.compute_s + self.transfer_s(bandwidth_bps)


def round_cost(records: Sequence[Mapping[str, Any]], setup_bytes: float) -> RoundCost:
    """Summarise a method's rounds.

    Parameters
    ----------
    records : sequence of mapping
        The method's records in metrics.jsonl; at least one that was not skipped. The first round
        warms up and does not count when there are others.
    setup_bytes : float
        Of the whole run, for one cloud.

    Raises
    ------
    veilsum.ParameterError
        When no round was finished.
    """
    finished = [record for record in records if not record["skipped"]]
    if not finished:
        raise ParameterError("no round was finished; there is nothing to cost")
    warm = finished[1:] or finished

    def median(key: str) -> float:
        return statistics.median(float(record["cost"][key]) for record in warm)

    return RoundCost(
        train_s=median("train_s"),
        protect_s=median("protect_s"),
        server_s=median("server_s"),
        up_bytes=median("up_bytes"),
        down_bytes=median("down_bytes"),
        setup_bytes=setup_bytes / len(records),
    )


def time_ratio(
    records: Sequence[Mapping[str, Any]], reference: Sequence[Mapping[str, Any]]
) -> tuple[float, float, float] | None:
    """Compare two methods' rounds, paired by their number.

    Parameters
    ----------
    records, reference : sequence of mapping
        Records of each; the methods took turns, so a pair of rounds saw the same machine.

    Returns
    -------
    tuple of float or None
        Median and quartiles of the ratio of a round's whole measured time, all clouds one after
        another; None when no round but the first was finished by both.
    """
    theirs = {record["round"]: record["cost"]["round_s"] for record in reference}
    ratios = [
        record["cost"]["round_s"] / theirs[record["round"]]
        for record in records
        if record["round"] > 1 and record["round"] in theirs and not record["skipped"]
    ]
    if not ratios:
        return None
    if len(ratios) == 1:
        return ratios[0], ratios[0], ratios[0]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return middle, low, high
