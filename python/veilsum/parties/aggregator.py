"""The aggregator: the server that sums uploads it cannot read.

Parties. It holds no key, no model and no update: a round's public description, the running
sum of ciphertexts, and a transcript of what it saw. Everything it receives and returns is bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from veilsum._core import (
    Aggregate,
    Answer,
    Certificate,
    ChallengeAnswer,
    Endorsement,
    Upload,
    blame,
    check_answer,
    check_challenge_answer,
)
from veilsum.api.members import request_for
from veilsum.api.rounds import Round
from veilsum.api.summing import Accumulator
from veilsum.errors import RoundError, WireFormatError
from veilsum.keys.roster import Roster
from veilsum.protocol.hybrid import PlainPart
from veilsum.protocol.public_state import write_plain_sum

_ENTROPY_SAMPLE = 32 * 1024
_LENGTH = struct.Struct("<Q")
_HEAD_AT, _HEAD = 48, struct.Struct("<BQI")
"""Where an upload says whether it is signed, how many values were clipped, and its client."""


@dataclass(frozen=True)
class SeenUpload:
    """What the aggregator learns from one upload, apart from its unreadable bytes.

    Parameters
    ----------
    client : int
        Place in the roster.
    payload_bytes : int
        Length of the upload.
    clipped : int
        How many values were clipped, as the client says.
    sample : bytes
        The upload's last 32 KiB.
    """

    client: int
    payload_bytes: int
    clipped: int
    sample: bytes = field(repr=False)

    @property
    def entropy(self) -> float:
        """Empirical entropy of the sample, in bits a byte.

        Ciphertexts look random, so it is near 8; an update in float32 has less. It illustrates, and
        proves nothing; no step of the protocol waits for it.
        """
        return byte_entropy(self.sample)


class Aggregator:
    """Sums the uploads of one round at a time.

    Attributes
    ----------
    folder : Path or None
        Where a sum may lie for a moment, so that memory holds fewer copies of it.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._round: Round | None = None
        self._sum: Accumulator | None = None
        self._aggregate = b""
        self._seen: list[SeenUpload] = []
        self._plain_values = 0
        self._plain: dict[int, np.ndarray] = {}
        self._plain_sum = b""
        self._total: Aggregate | None = None
        self._certificate: Certificate | None = None
        # Signatures of members that hold: public half, signature, what was signed.
        self._held: set[tuple[bytes, bytes, bytes]] = set()

    @property
    def seen(self) -> tuple[SeenUpload, ...]:
        """What the aggregator learned from the current round's uploads."""
        return tuple(self._seen)

    @property
    def plain_parts(self) -> dict[int, np.ndarray]:
        """What the aggregator reads of each upload, by client; empty where all is encrypted."""
        return dict(self._plain)

    @property
    def plain_sum(self) -> bytes:
        """The sum of the plain parts of the last closed round; empty where all is encrypted."""
        return self._plain_sum

    def open_round(self, round_description: bytes, plain_values: int = 0) -> Round:
        """Begin a round; what remained of another one is dropped.

        Parameters
        ----------
        round_description : bytes
            The round.
        plain_values : int
            How many values of an upload travel in the clear beside the encrypted ones.

        Returns
        -------
        Round
            What was described.

        Raises
        ------
        veilsum.WireFormatError
            When it is malformed.
        veilsum.RoundError
            When it has no roster: the server takes signed uploads only.
        """
        rnd = Round.from_bytes(round_description)
        if not rnd.roster:
            raise RoundError(
                f"round {rnd.id.hex()[:16]} has no roster; this server sums signed uploads only"
            )
        self._round = rnd
        self._sum = Accumulator(rnd)
        self._aggregate = b""
        self._seen = []
        self._plain_values = plain_values
        self._plain = {}
        self._plain_sum = b""
        return rnd

    def receive(self, upload: bytes | Path, client: int | None = None) -> None:
        """Check an upload's form and signature, and add it to the sum.

        Parameters
        ----------
        upload : bytes or Path
            From a client; in a hybrid round its two parts, as `join_parts` put them together. From
            a file it is added in portions, and memory holds none of it.
        client : int, optional
            Who sent it, where a transport can say: another client's upload is refused then.

        Raises
        ------
        veilsum.WireFormatError
            When it is malformed.
        veilsum.RoundError
            When no round is open, the upload belongs to another one, its client has uploaded
            before, or its signature is missing, wrong or another client's.
        """
        if self._round is None or self._sum is None:
            raise RoundError("no round is open; the upload was not added")
        if isinstance(upload, Path):
            if self._plain_values:
                raise RoundError("an upload of two parts is added from memory only")
            self._receive_file(upload, self._sum, client)
            return
        size = len(upload)
        plain = None
        if self._plain_values:
            upload, part = cut_parts(upload)
            plain = PlainPart.from_bytes(part, self._round, self._plain_values)
        read = Upload.from_bytes(upload, self._round)
        if plain is not None and plain.client != read.client:
            raise RoundError("the two parts of an upload are signed by different clients")
        _sent_by(client, read.client)
        self._sum.add(read)
        # An upload that was added is signed by a client of the roster.
        client = -1 if read.client is None else read.client
        if plain is not None:
            self._plain[client] = plain.values
        self._seen.append(SeenUpload(client, size, read.clipped, upload[-_ENTROPY_SAMPLE:]))

    def _receive_file(self, path: Path, total: Accumulator, sender: int | None) -> None:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(_HEAD_AT)
            head = file.read(_HEAD.size)
            file.seek(max(0, size - _ENTROPY_SAMPLE))
            sample = file.read()
        if len(head) < _HEAD.size:
            raise WireFormatError(f"an upload of {size} bytes is cut off")
        signed, clipped, client = _HEAD.unpack(head)
        _sent_by(sender, client if signed else None)
        # It reads the same head, and checks that its signature is that client's.
        total.add_file(path)
        self._seen.append(SeenUpload(client, size, clipped, sample))

    def close_round(self) -> bytes:
        """End the round and return the opening request for the key holder.

        A committee is asked by `member_requests` instead, and nothing is returned.

        Raises
        ------
        veilsum.RoundError
            When no round is open, or too few clients uploaded.
        """
        if self._round is None or self._sum is None:
            raise RoundError("no round is open")
        if self._sum.count < self._round.min_clients:
            raise RoundError(
                f"{self._sum.count} clients uploaded; the round needs {self._round.min_clients}"
            )
        total = self._sum.finish()
        if self._plain_values:
            summed = np.sum(list(self._plain.values()), axis=0)
            self._plain_sum = write_plain_sum(self._round, summed)
        self._round = None
        self._sum = None
        self._total = total
        self._certificate = None
        self._held = set()
        self._aggregate = self._for_readers(total)
        if total.round.committee is not None:
            return b""
        return total.opening_request().to_bytes()

    def _for_readers(self, total: Aggregate) -> bytes:
        """Return a sum's bytes as readers get them: they need no sealed shares."""
        if self.folder is None:
            return total.without_shares().to_bytes()
        # Never three copies of it in memory at once.
        path = self.folder / "aggregate"
        total.without_shares().save(path)
        data = path.read_bytes()
        path.unlink()
        return data

    def member_requests(self) -> list[bytes]:
        """Return what each member of the committee is asked for the last closed round.

        Raises
        ------
        veilsum.RoundError
            When no round was closed, or it has one key holder.
        """
        total = self._closed()
        committee = total.round.committee
        if committee is None:
            raise RoundError("the last round has one key holder, who gets one opening request")
        return [request_for(total, member).to_bytes() for member in committee.members]

    def certify(self, endorsements: Sequence[bytes]) -> bytes:
        """Put members' endorsements of the last closed round together.

        Parameters
        ----------
        endorsements : sequence of bytes
            Of at least a threshold of members.

        Raises
        ------
        veilsum.RoundError
            When they are too few, of different sums, or one does not hold.
        """
        total = self._closed()
        rnd = total.round
        read = [Endorsement.from_bytes(one, rnd) for one in endorsements]
        self._certificate = Certificate(total, read, self._verify)
        return self._certificate.to_bytes()

    def _verify(self, public: bytes, signature: bytes, message: bytes) -> bool:
        """Check a signature of the last closed round once, however often it is asked for."""
        asked = (public, signature, message)
        if asked not in self._held and Roster.verify(public, signature, message):
            self._held.add(asked)
        return asked in self._held

    def check_endorsement(self, member: int, endorsement: bytes) -> None:
        """Refuse what is not a member's word for the last closed round's sum.

        Parameters
        ----------
        member : int
            Its place in the committee.
        endorsement : bytes
            From that member.

        Raises
        ------
        veilsum.RoundError
            When it is another member's, or for another round or sum, or its signature does not
            hold.
        veilsum.WireFormatError
            When it is malformed.
        """
        total = self._closed()
        read = Endorsement.from_bytes(endorsement, total.round)
        _from(member, read.member, "endorsement")
        before = len(self._held)
        try:
            Certificate(total, [read], self._verify)
        except RoundError:
            if len(self._held) == before:
                raise
            # Its signature holds; that one word alone is too few is no fault of it.

    def check_answer(self, member: int, answer: bytes) -> None:
        """Refuse what is not a member's answer to what `certify` made.

        What an answer holds is sealed to the readers, who find out whether it is right.

        Parameters
        ----------
        member : int
            Its place in the committee.
        answer : bytes
            From that member.

        Raises
        ------
        veilsum.RoundError
            When it is another member's, or for another round or sum, its signature does not hold,
            or nothing was certified.
        veilsum.WireFormatError
            When it is malformed.
        """
        if self._certificate is None:
            raise RoundError("no sum was certified")
        read = Answer.from_bytes(answer, self._certificate.round)
        _from(member, read.member, "answer")
        check_answer(read, self._certificate, Roster.verify)

    def check_challenge_answer(self, member: int, answer: bytes) -> None:
        """Refuse what does not open the challenges of what `certify` made.

        Parameters
        ----------
        member : int
            Its place in the committee.
        answer : bytes
            From that member.

        Raises
        ------
        veilsum.RoundError
            As `check_answer`.
        veilsum.WireFormatError
            When it is malformed.
        """
        if self._certificate is None:
            raise RoundError("no sum was certified")
        read = ChallengeAnswer.from_bytes(answer, self._certificate.round)
        _from(member, read.member, "challenges")
        check_challenge_answer(read, self._certificate, self._verify)

    def blame(self, opened: Sequence[bytes]) -> bytes:
        """Return the verdict: who spoiled the sum that `certify` was for, as far as it shows.

        Parameters
        ----------
        opened : sequence of bytes
            Challenge answers that `check_challenge_answer` let pass.

        Raises
        ------
        veilsum.RoundError
            When nothing was certified.
        """
        if self._certificate is None:
            raise RoundError("no sum was certified")
        rnd = self._certificate.round
        read = [ChallengeAnswer.from_bytes(one, rnd) for one in opened]
        return blame(self._certificate, read, [], None, self._verify).to_bytes()

    def _closed(self) -> Aggregate:
        if self._total is None:
            raise RoundError("no round was closed")
        return self._total

    @property
    def aggregate(self) -> bytes:
        """The last closed round's sum, still encrypted; empty before."""
        return self._aggregate


def _sent_by(sender: int | None, signed: int | None) -> None:
    if sender is not None and signed != sender:
        whose = "nobody" if signed is None else f"cloud {signed + 1}"
        raise RoundError(f"cloud {sender + 1} sent an upload that {whose} signed")


def _from(member: int, signed: int, what: str) -> None:
    if signed != member:
        raise RoundError(f"it sent the {what} of member {signed + 1}")


def join_parts(encrypted: bytes, plain: bytes) -> bytes:
    """Put the two parts of a hybrid upload together.

    Parameters
    ----------
    encrypted : bytes
        An upload.
    plain : bytes
        A plain part.
    """
    return _LENGTH.pack(len(encrypted)) + encrypted + plain


def cut_parts(data: bytes) -> tuple[bytes, bytes]:
    """Take the two parts of a hybrid upload apart.

    Parameters
    ----------
    data : bytes
        What `join_parts` made.

    Raises
    ------
    veilsum.WireFormatError
        When it is too short for the length that it states.
    """
    if len(data) < _LENGTH.size or _LENGTH.unpack_from(data)[0] > len(data) - _LENGTH.size:
        raise WireFormatError(f"a hybrid upload of {len(data)} bytes is cut off")
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    return data[_LENGTH.size : end], data[end:]


def byte_entropy(data: bytes) -> float:
    """Return the empirical entropy of a message's bytes, in bits a byte.

    Parameters
    ----------
    data : bytes
        Any message; 0 for an empty one.
    """
    counts = np.bincount(np.frombuffer(data, dtype=np.uint8), minlength=256)
    shares = counts[counts > 0] / max(len(data), 1)
    return float(-(shares * np.log2(shares)).sum()) + 0.0
