"""What fails on the way, in a simulation: clouds that are away, messages that are lost or late.

Transport. Tests and studies of failures pass an object of this kind to `in_process`; a real network
needs none.
"""

from __future__ import annotations

from typing import Protocol


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
