"""The authority: whoever can open sealed keys.

Parties. It sees sealed keys, never updates: a kilobyte an upload, whatever the model's
size. It opens a round once, and only for the roster and the number of clients that it was told
when training began, whatever the aggregator asks for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from veilsum._core import OpeningRequest, SecretKey
from veilsum.api.opening import keygen, open_sum
from veilsum.api.plans import Plan
from veilsum.api.rounds import Round
from veilsum.arguments import shown
from veilsum.errors import KeyMismatchError, ParameterError, RoundError
from veilsum.keys.identity import PublicIdentity
from veilsum.keys.roster import Roster
from veilsum.parties.messages import Enrol, IssueKey, Open, read_request


class KeyHolder:
    """Holds one secret key a plan and hands out sum keys.

    Everything it receives and returns is bytes. The secret keys stay inside; they are wiped when
    the object is freed.

    Parameters
    ----------
    folder : Path, optional
        Where keys and ledgers are kept; by default nowhere: they go with the object.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._secrets: dict[bytes, SecretKey] = {}
        self._roster: tuple[PublicIdentity, ...] = ()
        self._min_clients = 0

    def handle(self, request: bytes) -> bytes:
        """Do what a request asks, and return the reply.

        Parameters
        ----------
        request : bytes
            As `messages.write_request` wrote it: to issue a key, to enrol, or to open a sum.

        Raises
        ------
        veilsum.VeilsumError
            When the request is malformed, or as `open` says.
        """
        asked = read_request(request)
        if isinstance(asked, IssueKey):
            return self.issue_key(asked.plan)
        if isinstance(asked, Enrol):
            self.enrol(asked.roster, asked.min_clients)
            return b""
        if isinstance(asked, Open):
            return self.open(asked.description, asked.request)
        raise RoundError(f"a key holder is not asked to {asked.verb.replace('_', ' ')}")

    def replay(self, request: bytes) -> None:
        """Come to where a request led before, when its reply has left already.

        Parameters
        ----------
        request : bytes
            In the order in which requests came the first time.
        """
        asked = read_request(request)
        if isinstance(asked, Enrol):
            self.handle(request)
        elif isinstance(asked, IssueKey) and self._folder is not None:
            secret = SecretKey.load(self._path(asked.plan))
            self._secrets[secret.id] = secret

    def notes(self) -> bytes:
        """Return nothing: all that counts is in the ledgers."""
        return b""

    def recall(self, notes: bytes) -> None:
        """Take nothing back.

        Parameters
        ----------
        notes : bytes
            What `notes` returned.
        """

    def issue_key(self, plan: bytes) -> bytes:
        """Make a key pair for a plan and return the public half.

        Parameters
        ----------
        plan : bytes
            The plan.

        Raises
        ------
        veilsum.WireFormatError
            When the plan is malformed.
        """
        if self._folder is None:
            secret, _ = keygen(Plan.from_bytes(plan))
        else:
            path = self._path(plan)
            if not path.exists():  # else it was made before, and no reply left
                keygen(Plan.from_bytes(plan))[0].save(path)
            secret = SecretKey.load(path)  # with its ledger
        self._secrets[secret.id] = secret
        return bytes(secret.public_key.to_bytes())

    def _path(self, plan: bytes) -> Path:
        folder = Path() if self._folder is None else self._folder
        return folder / f"{hashlib.sha256(plan).hexdigest()[:16]}.key"

    def enrol(self, roster: Sequence[bytes], min_clients: int) -> None:
        """Fix whose sums may be opened.

        Parameters
        ----------
        roster : sequence of bytes
            The clients' public identities, in order.
        min_clients : int
            Fewest clients whose sum may be opened, at least 2.

        Raises
        ------
        veilsum.WireFormatError
            When an identity is malformed.
        veilsum.ParameterError
            When the numbers do not fit each other.
        veilsum.RoundError
            When a roster was fixed before.
        """
        if self._roster:
            raise RoundError("the authority has a roster already; it is fixed for the run")
        clients = tuple(Roster([PublicIdentity.from_bytes(one) for one in roster]))
        if not 2 <= min_clients <= len(clients):
            raise ParameterError(
                f"min_clients is {shown(min_clients)}; must be from 2 to the {len(clients)} clients"
            )
        self._roster = clients
        self._min_clients = min_clients

    def open(self, round_description: bytes, request: bytes) -> bytes:
        """Open a sum and return its key, which decrypts that sum and nothing else.

        Parameters
        ----------
        round_description : bytes
            The round.
        request : bytes
            The aggregator's opening request.

        Raises
        ------
        veilsum.KeyMismatchError
            When the round was made for another key.
        veilsum.RoundError
            When the round has another roster or asks for fewer clients than was fixed, was opened
            before for another sum, or a sealed key was tampered with.
        veilsum.WireFormatError
            When either is malformed.
        """
        rnd = Round.from_bytes(round_description)
        secret = self._secrets.get(rnd.public.id)
        if secret is None:
            raise KeyMismatchError(
                f"round {rnd.id.hex()[:16]} was made for key {rnd.public.id.hex()}, which this "
                "authority does not hold"
            )
        if rnd.roster != self._roster or rnd.min_clients < self._min_clients:
            raise RoundError(
                f"round {rnd.id.hex()[:16]} asks for {len(rnd.roster)} clients, at least "
                f"{rnd.min_clients}; this authority opens sums of at least {self._min_clients} of "
                f"its own roster of {len(self._roster)}"
            )
        return open_sum(secret, rnd, OpeningRequest.from_bytes(request, rnd)).to_bytes()
