"""What every method has in common: the interface, a round's outcome, and stopwatches.

Training. A method runs one round: the clouds train, and their updates become one
step of the global model. This file knows no way to do it; each other file here knows one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from veilsum.learning.task import Parameters
from veilsum.parties.aggregator import SeenUpload
from veilsum.parties.coordinator import CloudRound as PlayedCloud
from veilsum.parties.coordinator import Loss, Opening
from veilsum.privacy.accountant import PrivacyLoss


@dataclass
class CloudRound(PlayedCloud):
    """One cloud's part of a round, as only a process that plays all parties can know it.

    Parameters
    ----------
    client, up_bytes, down_bytes, seconds, state
        As the coordinator knows them.
    weight : float
        Its weight relative to the others'; 0 for a cloud that is not in the sum. Known here only
        because one process plays all parties: in a deployment nobody else sees it.
    loss : float or None
        Its own training loss; None when it did not train. Known here only, like the weight.
    """

    weight: float = 0.0
    loss: float | None = None


@dataclass
class RoundOutcome:
    """What a method's round gives.

    Parameters
    ----------
    parameters : dict of str to ndarray
        The new global model.
    train_loss : float or None
        Weighted mean of the training losses of those in the sum; None when the round was skipped,
        or when differential privacy keeps losses in.
    uploads : list of SeenUpload
        One a cloud in the sum; empty where nothing is encrypted by Veilsum.
    message_bytes : dict of str to int
        Bytes of one message of each kind that travels in the round.
    limits : dict of str to float
        Range of each tensor; empty without a codec.
    seconds : dict of str to float
        Wall time of each phase, all clouds together, one after another.
    clouds : list of CloudRound
        Traffic, time, weight and state of every cloud.
    skipped : str
        Why the round was skipped and the model left as it was; empty for a round that was summed.
    lost : Loss or None
        Who spoiled a sum of it, where a committee's answers did not open one; it is skipped then.
    privacy : PrivacyLoss or None
        What the rounds so far have spent, where a method is differentially private.
    encrypted_fraction : float
        Share of the update's values that travelled encrypted.
    visible : dict of int to dict of str to ndarray
        What the aggregator can read of each cloud's update, by cloud and tensor, NaN where it reads
        nothing; empty where it can read nothing at all. Leakage is measured on this.
    zeroed : int or None
        How many values of the opened update are 0; None where nothing is encrypted by Veilsum.
    opened_by : Opening or None
        Who endorsed and answered, where a committee opened the sum.
    """

    parameters: Parameters
    train_loss: float | None
    uploads: list[SeenUpload] = field(default_factory=list)
    message_bytes: dict[str, int] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    clouds: list[CloudRound] = field(default_factory=list)
    skipped: str = ""
    lost: Loss | None = None
    privacy: PrivacyLoss | None = None
    encrypted_fraction: float = 0.0
    visible: dict[int, Mapping[str, NDArray[np.float64]]] = field(default_factory=dict)
    zeroed: int | None = None
    opened_by: Opening | None = None


class Method(Protocol):
    """One way to train."""

    @property
    def name(self) -> str:
        """Short name, as in the log."""
        ...

    @property
    def parameters(self) -> Parameters:
        """The global model."""
        ...

    @property
    def setup_bytes(self) -> int:
        """What each cloud exchanged once, before the first round: keys, contexts, statistics."""
        ...

    def run_round(self, number: int) -> RoundOutcome:
        """Run a round, from 1 on, in order.

        Parameters
        ----------
        number : int
            The round.
        """
        ...


class Stopwatch:
    """Adds up wall time by phase, for the whole round and for each cloud."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, cloud: CloudRound | None = None) -> Iterator[None]:
        """Measure a phase.

        Parameters
        ----------
        name : str
            The phase.
        cloud : CloudRound, optional
            Whose time it is; nobody's by default (the aggregator's, the authority's).
        """
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.add(name, spent)
            if cloud is not None:
                cloud.seconds[name] = cloud.seconds.get(name, 0.0) + spent

    def add(self, name: str, seconds: float) -> None:
        """Add time that was measured elsewhere.

        Parameters
        ----------
        name : str
            The phase.
        seconds : float
            At least 0.
        """
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
