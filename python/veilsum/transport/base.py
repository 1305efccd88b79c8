"""What a transport is: it brings requests to parties and replies back, and does nothing else.

Transport. A coordinator says whom to ask what (`parties.asking`); `drive` plays it over one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from veilsum.parties.asking import Ask, Reply, Steps

_T = TypeVar("_T")


class Transport(Protocol):
    """Brings requests to parties."""

    def deliver(self, asks: Sequence[Ask]) -> Iterable[Reply]:
        """Bring requests to their parties, side by side where it can, and return the replies.

        Parameters
        ----------
        asks : sequence of Ask
            Requests that do not depend on each other.

        Returns
        -------
        iterable of Reply
            In the order of the requests; without data for whoever is not there. It is read once;
            a reply may be made when it is read.
        """
        ...


def drive(steps: Steps[_T], transport: Transport) -> _T:
    """Play a coordinator's steps over a transport.

    Parameters
    ----------
    steps : generator
        `Coordinator.begin` or `Coordinator.round`.
    transport : Transport
        Brings the requests.

    Returns
    -------
    object
        What the steps came to.

    Raises
    ------
    veilsum.VeilsumError
        As the steps do.
    """
    try:
        asks = next(steps)
        while True:
            asks = steps.send(transport.deliver(asks))
    except StopIteration as done:
        result: _T = done.value
        return result
