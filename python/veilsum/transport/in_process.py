"""All parties in one process: the simulator, and what tests run on.

Transport. Parties still exchange bytes and nothing else. `Conditions` say what fails on the way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from veilsum.errors import VeilsumError
from veilsum.parties.asking import Ask, Party, Reply
from veilsum.parties.messages import Endorse, GiveShare, OpenChallenges, write_request
from veilsum.transport.conditions import Conditions, Reliable

Handler = Callable[[bytes], bytes]
"""A party's `handle`."""


class InProcess:
    """Calls each party in turn.

    Parameters
    ----------
    parties : mapping of Party to callable
        Each party's `handle`.
    conditions : Conditions, optional
        What fails on the way; nothing by default.
    """

    def __init__(
        self, parties: Mapping[Party, Handler], conditions: Conditions | None = None
    ) -> None:
        self._parties = dict(parties)
        self._conditions = Reliable() if conditions is None else conditions

    def deliver(self, asks: Sequence[Ask]) -> Iterator[Reply]:
        """Ask the parties, one after another, each when its reply is read.

        Parameters
        ----------
        asks : sequence of Ask
            Requests.
        """
        return map(self._one, asks)

    def _one(self, ask: Ask) -> Reply:
        if not self._reaches(ask):
            return Reply()
        request = write_request(ask.request)
        start = time.perf_counter()
        try:
            data: bytes | None = self._parties[ask.party](request)
        except (VeilsumError, OSError) as error:
            return Reply(error=error, seconds=time.perf_counter() - start)
        seconds, number, delay_s = time.perf_counter() - start, ask.party.number, 0.0
        if ask.occasion == "upload" and data is not None:
            data = self._conditions.delivers(number, ask.round, data)
            delay_s = self._conditions.delay_s(number, ask.round)
        return Reply(data, seconds=seconds, delay_s=delay_s)

    def _reaches(self, ask: Ask) -> bool:
        """Return whether a request gets to its party."""
        conditions, (kind, number) = self._conditions, ask.party
        if kind == "member" or isinstance(ask.request, (Endorse, GiveShare, OpenChallenges)):
            return ask.occasion == "setup" or conditions.answers(number, ask.round)
        if kind != "cloud":
            return True
        if ask.occasion == "open":
            return conditions.answers(number, ask.round)
        if ask.occasion == "distribute":
            return conditions.receives(number, ask.round)
        return ask.occasion != "train" or conditions.trains(number, ask.round)
