"""Who takes part in a round, and what can go wrong on the way.

Federated loop. Clouds are drawn from the run's seed, so everybody knows who is to take part and
nobody can pick. `Conditions` is the seam for failures: a run in one process has none; tests script
them, and a network adapter would report what really happened.
"""

from __future__ import annotations

from typing import Protocol

from veilsum.federated.config import TrainConfig
from veilsum.federated.seeds import numpy_generator


def participants(config: TrainConfig, number: int) -> tuple[int, ...]:
    """Return the clouds that are drawn for a round, in order.

    Parameters
    ----------
    config : TrainConfig
        Its seed, number of clouds and training.participation.
    number : int
        The round, from 1.
    """
    clouds, count = config.data.clouds, config.participants
    if count >= clouds:
        return tuple(range(clouds))
    generator = numpy_generator(config.run.seed, "participants", number)
    return tuple(sorted(int(i) for i in generator.choice(clouds, count, replace=False)))


class Conditions(Protocol):
    """What happens to clouds and messages."""

    def trains(self, client: int, number: int) -> bool:
        """Return whether a cloud is there for the round; False: it drops before its upload.

        Parameters
        ----------
        client, number : int
            Cloud and round.
        """
        ...

    def delivers(self, client: int, number: int, upload: bytes) -> bytes | None:
        """Return what arrives of an upload: all of it, a part, or None for nothing.

        Parameters
        ----------
        client, number : int
            Cloud and round.
        upload : bytes
            What the cloud sent.
        """
        ...

    def delay_s(self, client: int, number: int) -> float:
        """Return how long the upload was on its way, on top of the cloud's computing time.

        Parameters
        ----------
        client, number : int
            Cloud and round.
        """
        ...

    def answers(self, member: int, number: int) -> bool:
        """Return whether a member of the committee is there to open the round's sums.

        Parameters
        ----------
        member, number : int
            Its place in the committee, and the round; 0 for the statistics.
        """
        ...

    def receives(self, client: int, number: int) -> bool:
        """Return whether the opened sum reaches the cloud; if not, it catches up later.

        Parameters
        ----------
        client, number : int
            Cloud and round.
        """
        ...


class Reliable:
    """Nothing goes wrong."""

    def trains(self, client: int, number: int) -> bool:  # noqa: ARG002
        """Return True.

        Parameters
        ----------
        client, number : int
            Cloud and round.
        """
        return True

    def delivers(self, client: int, number: int, upload: bytes) -> bytes | None:  # noqa: ARG002
        """Return the whole upload.

        Parameters
        ----------
        client, number : int
            Cloud and round.
        upload : bytes
            What the cloud sent.
        """
        return upload

    def delay_s(self, client: int, number: int) -> float:  # noqa: ARG002
        """Return 0.

        Parameters
        ----------
        client, number : int
            Cloud and round.
        """
        return 0.0

    def answers(self, member: int, number: int) -> bool:  # noqa: ARG002
        """Return True.

        Parameters
        ----------
        member, number : int
            Its place in the committee, and the round.
        """
        return True

    def receives(self, client: int, number: int) -> bool:  # noqa: ARG002
        """Return True.

        Parameters
        ----------
        client, number : int
            Cloud and round.
        """
        return True
