"""Committees at work: endorse a sum, answer its certificate, combine the answers; blame.

Layer: Python API, over rounds, keys and the core. An aggregator sends each member a request
(`request_for`); members endorse; t endorsements make a certificate; members answer it; whoever
reads combines t answers to the sum's key. Where they give none, the round is lost: members open one
challenge an upload, and `blame` says what that shows of whom. Nothing here sends anything:
requests, endorsements, certificates and answers are objects with bytes, in the order of
docs/committee.md. What a member signed and answered is in its ledger before it leaves.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, TypeAlias

from veilsum import _core
from veilsum.api.decrypting import decrypt_sum
from veilsum.api.rounds import Round
from veilsum.arguments import check_type, check_whole, type_name
from veilsum.errors import (
    BadSharesError,
    KeyMismatchError,
    ParameterError,
    RoundError,
    TamperedSumError,
)
from veilsum.keys.group import Group
from veilsum.keys.identity import Identity
from veilsum.keys.roster import Roster
from veilsum.keys.sealing import seal

__all__ = ["Member", "blame", "certify", "combine", "request_for"]

PathLike: TypeAlias = str | os.PathLike[str]
_Verify: TypeAlias = Callable[[bytes, bytes, bytes], bool]


class Member:
    """A member of a committee: it endorses one sum of a round, and answers its certificate.

    Its ledger is a file that goes with the identity: `create` makes it once, and a member without
    it is none. A ledger restored from a copy has forgotten what came after, and an identity used in
    two places has two: either can open two sums of a round, and counts as dishonest (SECURITY.md).

    Attributes
    ----------
    identity : PublicIdentity
        The public half of the member's identity.
    """

    __slots__ = ("_held", "_identity", "_least", "_ledger")

    def __init__(self, identity: Identity, ledger: PathLike, *, min_clients: int = 2) -> None:
        """Go on with a member's ledger.

        Parameters
        ----------
        identity : Identity
            The member's.
        ledger : str or path
            What `create` made for this identity.
        min_clients : int
            The member's own policy: it endorses no sum of fewer uploads, whatever the round says;
            at least 2.

        Raises
        ------
        ParameterError
            When the file is missing, belongs to another identity, or others can access it.
        WireFormatError
            When it is damaged.
        OSError
            When it cannot be read.
        """
        check_type("Member(identity, ledger)", "identity", identity, Identity)
        self._identity = identity
        self._least = check_whole("min_clients", min_clients)
        if self._least < 2:
            raise ParameterError("min_clients is below 2: a sum of one upload is that upload")
        self._ledger = _core.MemberLedger(os.fspath(ledger), identity.public.id)
        # What the last endorsement opened, for the answer that mostly follows: the digest of the
        # request, and its shares, which the core wipes when they are dropped.
        self._held: tuple[bytes, _core.OpenedShares] | None = None

    @classmethod
    def create(cls, identity: Identity, ledger: PathLike, *, min_clients: int = 2) -> Member:
        """Make the ledger of a member that has endorsed nothing yet.

        Parameters
        ----------
        identity : Identity
            The member's.
        ledger : str or path
            The file to make, of mode 0600.
        min_clients : int
            As `Member`.

        Returns
        -------
        Member
            Which goes on with it.

        Raises
        ------
        ParameterError
            When there is a file already.
        OSError
            When it cannot be made.
        """
        check_type("Member.create(identity, ledger)", "identity", identity, Identity)
        _core.create_member_ledger(os.fspath(ledger), identity.public.id)
        return cls(identity, ledger, min_clients=min_clients)

    @property
    def identity(self) -> Any:
        """The public half of the member's identity."""
        return self._identity.public

    def check(self, rnd: Round, request: _core.MemberRequest) -> list[int]:
        """Look at a sum without signing anything.

        Parameters
        ----------
        rnd : Round
            The round of the sum.
        request : MemberRequest
            What the aggregator sent to this member.

        Returns
        -------
        list of int
            The clients whose sealed share is none for this member; a sum without them can be
            endorsed.

        Raises
        ------
        KeyMismatchError
            When the request is for another member.
        RoundError
            When the sum is not one that a member endorses: too few uploads, a signature that does
            not hold, a client twice, another round.
        """
        return self._open(rnd, request).bad

    def endorse(self, rnd: Round, request: _core.MemberRequest) -> _core.Endorsement:
        """Give this member's word for a sum: once a round, and once a step of a training.

        Parameters
        ----------
        rnd : Round
            The round of the sum.
        request : MemberRequest
            What the aggregator sent to this member.

        Returns
        -------
        Endorsement
            For the aggregator. The same sum again gives it again.

        Raises
        ------
        BadSharesError
            When a client's share cannot be opened; nothing is signed then, and the error names the
            clients. The aggregator sums again without them.
        RoundError
            As `check`, and when this member endorsed another sum of the round, or another round of
            this step; when the round was lost, or the sum lacks a client of a lost round of this
            training (`record_lost`).
        KeyMismatchError
            When the request is for another member.
        OSError
            When the ledger cannot be written.
        """
        opened = self._open(rnd, request)
        _whole(opened)
        self._ledger.endorse(rnd, request.sum, request.clients)
        self._held = _digest(request), opened
        payload = _core.endorsement_payload(rnd, request.member, request.sum)
        return _core.Endorsement(rnd, request.member, request.sum, self._identity.sign(payload))

    def answer(
        self, rnd: Round, certificate: _core.Certificate, request: _core.MemberRequest
    ) -> _core.Answer:
        """Give this member's share of a certified sum's key, sealed to the round's reader.

        Parameters
        ----------
        rnd : Round
            The round of the sum.
        certificate : Certificate
            The word of a threshold of members for the sum.
        request : MemberRequest
            What the aggregator sent to this member, of the same sum.

        Returns
        -------
        Answer
            For the reader, through anybody's hands. Asked again, the same bytes.

        Raises
        ------
        BadSharesError, RoundError, KeyMismatchError, OSError
            As `endorse`; and when certificate and request are of different sums.
        """
        self._check_certificate("answer(rnd, certificate, request)", rnd, certificate)
        opened = self._opened_before(rnd, request)
        if opened is None:
            opened = self._open(rnd, request)
        _same_sum(certificate, request)
        _whole(opened)
        self._ledger.endorse(rnd, request.sum, request.clients)
        signed = self._ledger.answered(rnd, request.sum)
        if signed is None:
            sealed = _core.seal_answer(opened, request.member, seal)
            payload = _core.answer_payload(rnd, request.member, request.sum, sealed)
            # Hedged signatures differ from call to call, so what is kept is both.
            signed = self._identity.sign(payload) + sealed
            signed = self._ledger.answer(rnd, request.sum, signed, request.clients)
        self._held = None
        size = self._identity.public.signature_bytes
        return _core.Answer(rnd, request.member, request.sum, signed[size:], signed[:size])

    def open_challenge(
        self, rnd: Round, certificate: _core.Certificate, request: _core.MemberRequest
    ) -> _core.ChallengeAnswer:
        """Open the challenges of a spoiled round's uploads, so that `blame` can name who did it.

        What leaves are random linear combinations of this member's share of each upload, masked:
        they say nothing of any update. An upload is challenged once, ever, by a challenge that its
        manifest fixes; that is recorded first.

        Parameters
        ----------
        rnd : Round
            The round that was spoiled.
        certificate : Certificate
            The word of a threshold of members for its sum.
        request : MemberRequest
            What the aggregator sent to this member, of the same sum.

        Returns
        -------
        ChallengeAnswer
            Signed, and public. It says as well which clients sealed no share to this member. Asked
            again, the same bytes.

        Raises
        ------
        RoundError
            As `check`; when certificate and request are of different sums, or this member endorsed
            or challenged another sum of the round.
        KeyMismatchError
            When the request is for another member.
        OSError
            When the ledger cannot be written.
        """
        call = "open_challenge(rnd, certificate, request)"
        self._check_certificate(call, rnd, certificate)
        self._check_request(call, rnd, request)
        _same_sum(certificate, request)
        self._ledger.endorse_to_blame(rnd, request.sum)
        self._ledger.challenge(request)
        signed = self._ledger.challenges_answered(rnd, request.sum)
        if signed is None:
            words = _core.open_challenges(request, self._open_share)
            payload = _core.challenge_payload(rnd, request.member, request.sum, words)
            signed = self._identity.sign(payload) + words
            signed = self._ledger.challenge_answer(rnd, request.sum, signed)
        size = self._identity.public.signature_bytes
        return _core.ChallengeAnswer(rnd, request.member, request.sum, signed[size:], signed[:size])

    def record_lost(
        self, rnd: Round, certificate: _core.Certificate, verdict: _core.Verdict | None = None
    ) -> bool:
        """Note in the ledger that a certified sum was lost: its answers gave no sum that checks.

        From then on this member neither endorses nor answers it, and endorses no sum of the same
        training that lacks one of its clients, until it answered a sum with all of them that was
        endorsed later. Leaving one out, while updates repeat, would give that one away. Nothing
        joins rounds outside a training.

        Parameters
        ----------
        rnd : Round
            The lost round.
        certificate : Certificate
            Of the lost sum.
        verdict : Verdict, optional
            Of `blame`, for the same sum: clients that it convicts may be left out. It may come
            later than the first call.

        Returns
        -------
        bool
            False when the same was noted before.

        Raises
        ------
        RoundError
            When certificate or verdict are of another round or sum, or this member endorsed
            another sum of the round.
        OSError
            When the ledger cannot be written.
        """
        call = "record_lost(rnd, certificate, verdict)"
        self._check_certificate(call, rnd, certificate)
        convicted: set[int] = set()
        if verdict is not None:
            check_type(call, "verdict", verdict, _core.Verdict)
            if verdict.round.id != rnd.id or verdict.sum != certificate.sum:
                raise RoundError("the verdict is on another sum than the certificate's")
            convicted.update(verdict.clients)
        clients = [client for client in certificate.clients if client not in convicted]
        return self._ledger.lose(rnd, certificate.sum, clients)

    def _check_certificate(self, call: str, rnd: Round, certificate: _core.Certificate) -> None:
        check_type(call, "rnd", rnd, Round)
        check_type(call, "certificate", certificate, _core.Certificate)
        _same_round(rnd, certificate, "the certificate")

    def _open(self, rnd: Round, request: _core.MemberRequest) -> _core.OpenedShares:
        self._check_request("endorse(rnd, request)", rnd, request)
        return _core.open_shares(request, self._open_share)

    def _check_request(self, call: str, rnd: Round, request: _core.MemberRequest) -> None:
        check_type(call, "rnd", rnd, Round)
        check_type(call, "request", request, _core.MemberRequest)
        if request.round.id != rnd.id:
            raise RoundError(
                f"the request belongs to round {request.round.id.hex()[:16]}, not to round "
                f"{rnd.id.hex()[:16]}"
            )
        _core.check_request(request, self._identity.public, self._least, Roster.verify)

    def _opened_before(self, rnd: Round, request: _core.MemberRequest) -> _core.OpenedShares | None:
        """Return what `endorse` opened of these very bytes, which were checked then."""
        check_type("answer(rnd, certificate, request)", "rnd", rnd, Round)
        check_type("answer(rnd, certificate, request)", "request", request, _core.MemberRequest)
        if self._held is None or request.round.id != rnd.id:
            return None
        digest, opened = self._held
        return opened if digest == _digest(request) else None

    def _open_share(self, key: bytes, info: bytes, sealed: bytes) -> bytes | None:
        del key  # the identity knows its own
        return self._identity.open(info, sealed)

    def __repr__(self) -> str:
        return f"<veilsum.Member {self._identity.public.id.hex()[:16]}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Member holds secrets and cannot be pickled or copied")


def _digest(request: _core.MemberRequest) -> bytes:
    """Name a request by its round and all its bytes."""
    return hashlib.sha256(request.round.id + request.to_bytes()).digest()


def request_for(
    total: _core.Aggregate | _core.AggregateFile, member: Identity | _core.PublicIdentity
) -> _core.MemberRequest:
    """Make what an aggregator sends to one member of the round's committee.

    Parameters
    ----------
    total : Aggregate or AggregateFile
        The encrypted sum, as the aggregator made it.
    member : PublicIdentity or Identity
        Whom to ask.

    Returns
    -------
    MemberRequest
        The manifest, the member's sealed share of every upload, and what ties each to its client's
        signature. No secret.

    Raises
    ------
    RoundError
        When the round has one key holder, or the aggregate comes without its sealed shares.
    KeyMismatchError
        When nobody of the committee has this identity.
    """
    check_type("request_for(total, member)", "total", total, _core.Aggregate, _core.AggregateFile)
    committee = total.round.committee
    if committee is None:
        raise RoundError(
            f"round {total.round_id.hex()[:16]} has one key holder, who opens it: open_sum(secret, "
            f"rnd, total)"
        )
    place = committee.index(member)
    if place is None:
        raise KeyMismatchError(
            f"the identity is not one of the {len(committee)} members of the round's committee"
        )
    return _core.member_request(total, place)


def certify(
    rnd: Round,
    total: _core.Aggregate | _core.AggregateFile,
    endorsements: Iterable[_core.Endorsement],
) -> _core.Certificate:
    """Put the word of a threshold of members together.

    Parameters
    ----------
    rnd : Round
        The round of the sum.
    total : Aggregate or AggregateFile
        The sum they endorsed.
    endorsements : iterable of Endorsement
        Of at least the committee's threshold of members.

    Returns
    -------
    Certificate
        What members answer. It contains the manifest.

    Raises
    ------
    RoundError
        When they are too few, of different sums, or one does not hold.
    """
    call = "certify(rnd, total, endorsements)"
    check_type(call, "rnd", rnd, Round)
    check_type(call, "total", total, _core.Aggregate, _core.AggregateFile)
    _same_round(rnd, total, "total")
    given = _listed(call, "endorsement", endorsements, _core.Endorsement)
    return _core.Certificate(total, given, Roster.verify)


def combine(
    rnd: Round,
    certificate: _core.Certificate,
    answers: Iterable[_core.Answer],
    total: _core.Aggregate | _core.AggregateFile,
    *,
    group: Group | None = None,
    reader: Identity | None = None,
) -> _core.SumKey:
    """Combine members' answers to the key of the sum they certified.

    Answers that are to another certificate, or whose signature does not hold, count as missing.
    Wrong ones are corrected where there are enough right ones; where there are not, sets of answers
    are tried on the sum itself, at most 64.

    Parameters
    ----------
    rnd : Round
        The round of the sum.
    certificate : Certificate
        What was answered.
    answers : iterable of Answer
        Of at least the committee's threshold of members.
    total : Aggregate or AggregateFile
        The encrypted sum, with or without its sealed shares. One in a file is read into memory
        where there are more answers than it takes.
    group : Group, optional
        The clients' keys, where they read.
    reader : Identity, optional
        The reader's, where that is a server.

    Returns
    -------
    SumKey
        Decrypts this sum and nothing else.

    Raises
    ------
    RoundError
        When the answers that hold are too few, or certificate and sum do not go together.
    KeyMismatchError
        When group or reader are not the round's.
    TamperedSumError
        When the answers give no key that opens this sum.
    """
    call = "combine(rnd, certificate, answers, total)"
    check_type(call, "rnd", rnd, Round)
    check_type(call, "certificate", certificate, _core.Certificate)
    check_type(call, "total", total, _core.Aggregate, _core.AggregateFile)
    _same_round(rnd, total, "total")
    _same_round(rnd, certificate, "certificate")
    listed = _listed(call, "answer", answers, _core.Answer)
    opener = _opener_of(rnd, group, reader)
    verify = _remembering()
    given = [answer for answer in listed if _holds(answer, certificate, verify)]
    candidates = _core.combine(certificate, given, opener, verify)
    for key, _ in candidates:
        _core.check_sum_key(key, total)
    members = len({answer.member for answer in given})
    if members <= len(certificate.members):
        return candidates[0][0]  # no other set of answers could be tried
    blocks = (
        _core.Aggregate.load(total.path, rnd) if isinstance(total, _core.AggregateFile) else total
    )
    for every in (False, True):
        if every:
            tried = len(candidates)
            candidates = _core.combine(certificate, given, opener, verify, every=True)
            candidates = candidates[tried:]
        for key, _ in candidates:
            try:
                decrypt_sum(
                    key,
                    blocks,
                    group=group,
                    average=False,
                    dtype="float64",
                    output="numpy",
                    threads=None,
                    progress=None,
                )
            except TamperedSumError:
                continue
            return key
    raise TamperedSumError(
        "no set of the answers gives a key that opens this sum: members, clients or the aggregator "
        "deviate; no value is given out. The round is lost: blame() judges what members say when "
        "they open its challenges"
    )


def blame(
    rnd: Round,
    certificate: _core.Certificate,
    challenge_answers: Iterable[_core.ChallengeAnswer],
    answers: Iterable[_core.Answer] = (),
    *,
    group: Group | None = None,
    reader: Identity | None = None,
) -> _core.Verdict:
    """Find out who spoiled a round, as far as what members signed shows it.

    With f = max(1, 2t - n - 1, floor((n - t) / 2)) dishonest members assumed at most: a client is
    convicted whose shares are none of a sharing, whichever f members lie, which n' challenge
    answers can show where n' - t > f. Otherwise a client that deals bad shares looks like members
    that say so, and the pairs are suspects. A member is convicted whose combinations fit every
    upload while its answer does not. What is consistently shared but wrong (a key, a tag), and
    wrong blocks, cannot be told from a change by the aggregator: nobody is named.

    Parameters
    ----------
    rnd : Round
        The round that was spoiled.
    certificate : Certificate
        Of its sum.
    challenge_answers : iterable of ChallengeAnswer
        Of as many members as there are. Those that do not hold count as missing.
    answers : iterable of Answer, optional
        The members' answers to the certificate, for a reader.
    group : Group, optional
        The clients' keys, where they read; needed with answers.
    reader : Identity, optional
        The reader's, where that is a server; needed with answers.

    Returns
    -------
    Verdict
        `clients` and `members` are convicted; `suspects` are pairs (client, member) of which one
        deviates; `sentence` says it for people. Its bytes hold the certificate and the challenge
        answers, from which anybody comes to the same clients and suspects; `members` are a
        reader's finding, and not in the bytes.

    Raises
    ------
    RoundError
        When the certificate is of another round, or a client's signature in it does not hold.
    KeyMismatchError
        When group or reader are not the round's.
    """
    call = "blame(rnd, certificate, challenge_answers)"
    check_type(call, "rnd", rnd, Round)
    check_type(call, "certificate", certificate, _core.Certificate)
    _same_round(rnd, certificate, "the certificate")
    words = _listed(call, "challenge answer", challenge_answers, _core.ChallengeAnswer)
    listed = _listed(call, "answer", answers, _core.Answer)
    opener = _opener_of(rnd, group, reader) if listed else None
    verify = _remembering()
    return _core.blame(
        certificate,
        [word for word in words if _holds(word, certificate, verify, _core.check_challenge_answer)],
        [answer for answer in listed if _holds(answer, certificate, verify)],
        opener,
        verify,
    )


def _holds(
    answer: Any,
    certificate: _core.Certificate,
    verify: _Verify,
    check: Callable[..., None] = _core.check_answer,
) -> bool:
    try:
        check(answer, certificate, verify)
    except RoundError:
        return False
    return True


def _remembering() -> _Verify:
    """Return `Roster.verify` that asks about the same key, signature and message once.

    Which answers count is found before they are combined, and combining checks them all again.
    """
    held: set[tuple[bytes, bytes, bytes]] = set()

    def verify(public: bytes, signature: bytes, message: bytes) -> bool:
        asked = bytes(public), bytes(signature), bytes(message)
        if asked not in held:
            if not Roster.verify(*asked):
                return False
            held.add(asked)
        return True

    return verify


def _opener_of(rnd: Round, group: Group | None, reader: Identity | None) -> Any:
    if rnd.group is not None:
        if reader is not None:
            raise ParameterError("reader= is given, but the round is read by its group: group=...")
        if group is None:
            raise RoundError(
                "the round is read by its group; pass group=Group.open(identity, sealed, roster)"
            )
        check_type("combine(..., group=group)", "group", group, Group)
        group.check(rnd)
        return group.open_answer
    if group is not None:
        raise ParameterError("group= is given, but the round is read by a server: reader=...")
    if reader is None:
        raise ParameterError("the round is read by a server; pass reader=Identity.load(path)")
    check_type("combine(..., reader=identity)", "reader", reader, Identity)
    if reader.public != rnd.reader:
        raise KeyMismatchError("the reader's identity is not the one that the round names")

    def opened(key: bytes, info: bytes, sealed: bytes) -> bytes | None:
        del key
        return reader.open(info, sealed)

    return opened


def _whole(opened: _core.OpenedShares) -> None:
    if opened.bad:
        raise BadSharesError(opened.bad)


def _same_sum(certificate: _core.Certificate, request: _core.MemberRequest) -> None:
    if certificate.sum != request.sum:
        raise RoundError(
            "the certificate is for another sum of this round than the request; members answer "
            "what a threshold of them endorsed"
        )


def _same_round(rnd: Round, thing: Any, name: str) -> None:
    if thing.round.id != rnd.id:
        raise RoundError(
            f"{name} belongs to round {thing.round.id.hex()[:16]}, not to round {rnd.id.hex()[:16]}"
        )


def _listed(call: str, what: str, things: Iterable[Any], kind: type) -> list[Any]:
    if not isinstance(things, Iterable):
        raise ParameterError(f"{what}s is {type_name(things)}, but must be a list: call {call}")
    items: Sequence[Any] = list(things)
    for index, item in enumerate(items):
        check_type(call, f"{what} {index}", item, kind)
    return list(items)
