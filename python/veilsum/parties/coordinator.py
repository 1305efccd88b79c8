"""The coordinator: who is asked what, and when; it reads no update, no sum and no model.

Parties. It stands with the aggregator and knows what that knows. Rounds are proposed by a cloud,
since ranges follow from opened means, which the coordinator never sees. It is a state machine
without I/O (`asking.Steps`): `begin` calls a training together and pools statistics, `round` plays
one training round. What it remembers from round to round is which sums each cloud has still to take
in.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from veilsum._core import Verdict
from veilsum.api.plans import Plan
from veilsum.api.rounds import Round
from veilsum.arguments import shown
from veilsum.errors import (
    RoundError,
    TamperedSumError,
    VeilsumError,
    WireFormatError,
    one_line,
)
from veilsum.keys.committee import Committee
from veilsum.keys.identity import PublicIdentity
from veilsum.parties.aggregator import Aggregator, SeenUpload
from veilsum.parties.asking import Ask, Occasion, Party, Reply, Steps
from veilsum.parties.messages import (
    Contribute,
    Endorse,
    Enrol,
    GiveShare,
    Introduce,
    IssueKey,
    Join,
    Lose,
    MakeGroup,
    Open,
    OpenChallenges,
    Proposal,
    Propose,
    Request,
    Skip,
    Take,
    Train,
    read_convicted,
    read_request,
    write_request,
)
from veilsum.protocol.authority import write_committee
from veilsum.protocol.history import SHARES, TRAINING_BYTES, UPDATES
from veilsum.protocol.opened import write_opening
from veilsum.protocol.participation import participants
from veilsum.protocol.statistics import VALUE_BITS
from veilsum.protocol.terms import Terms


@dataclass(frozen=True)
class Opening:
    """What opened a sum, and what that took.

    Members are asked until a threshold of them gave what holds; whoever is not named was not asked.

    Parameters
    ----------
    data : bytes
        For the clouds: certificate and answers, or the sum key.
    endorsed, answered : tuple of int
        Members whose endorsements are in the certificate, and whose answers were taken.
    silent : dict of int to str
        Members who were asked in vain, or are not there, and why.
    members : int
        Of the committee; 1 for a key holder.
    request_bytes, endorsement_bytes, certificate_bytes, answer_bytes : int
        Of one message of each kind.
    """

    data: bytes = field(repr=False)
    endorsed: tuple[int, ...] = ()
    answered: tuple[int, ...] = ()
    silent: dict[int, str] = field(default_factory=dict)
    members: int = 1
    request_bytes: int = 0
    endorsement_bytes: int = 0
    certificate_bytes: int = 0
    answer_bytes: int = 0


@dataclass(frozen=True)
class Loss:
    """Who spoiled a sum, as far as it shows: numbers are from 0.

    Parameters
    ----------
    purpose : str
        Of the sum.
    clouds : tuple of int
        Convicted: their shares are none of a sharing, whoever of the members lies.
    members : tuple of int
        Convicted by most of the clouds that could be asked, who read the answers: theirs are not
        the sums of their shares.
    suspects : tuple of (int, int)
        Pairs (cloud, member) of which one deviates.
    opened : tuple of int
        Members that opened the challenges.
    silent : dict of int to str
        Members that did not, and why.
    """

    purpose: str
    clouds: tuple[int, ...] = ()
    members: tuple[int, ...] = ()
    suspects: tuple[tuple[int, int], ...] = ()
    opened: tuple[int, ...] = ()
    silent: dict[int, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The same for people, who count from 1."""
        said = []
        if self.clouds:
            said.append(
                f"{_numbered('cloud', self.clouds)} dealt shares that are none of a sharing"
            )
        if self.members:
            said.append(f"{_numbered('member', self.members)} answered wrongly")
        for cloud in sorted({cloud for cloud, _ in self.suspects}):
            pairs = _numbered("member", [one for other, one in self.suspects if other == cloud])
            said.append(f"cloud {cloud + 1} dealt bad shares, or {pairs} said so wrongly")
        if not said:
            said.append("nobody can be named")
        return "; ".join(said)


def _numbered(kind: str, numbers: Sequence[int]) -> str:
    return f"{kind}{'s' * (len(numbers) > 1)} {', '.join(str(one + 1) for one in numbers)}"


@dataclass
class CloudRound:
    """One cloud's part of a round, as far as the coordinator can know it.

    Parameters
    ----------
    client : int
        The cloud's number, from 0.
    up_bytes, down_bytes : int
        What it sent and what it received.
    seconds : dict of str to float
        Its own wall time by phase.
    state : str
        "summed"; or why it is not in the sum: "not sampled", "absent", "lost", "damaged",
        "refused", "late", "round skipped", "round lost", "convicted".
    """

    client: int
    up_bytes: int = 0
    down_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    state: str = "summed"


@dataclass
class PlayedRound:
    """What a round came to.

    Parameters
    ----------
    number : int
        The round.
    clouds : list of CloudRound
        Every cloud's part.
    seconds : dict of str to float
        Wall time of each phase, all parties together.
    uploads : list of SeenUpload
        What the aggregator saw of each upload in the sum.
    message_bytes : dict of str to int
        Bytes of one message of each kind that travels in the round.
    skipped : str
        Why the round was skipped; empty for a round that was summed.
    lost : Loss or None
        Who spoiled a sum of it, where one did not open; the round is skipped then.
    opening : Opening or None
        Of the sum of updates; None where nothing was opened.
    plain_values : int
        How many values of each upload travelled in the clear.
    """

    number: int
    clouds: list[CloudRound]
    seconds: dict[str, float] = field(default_factory=dict)
    uploads: list[SeenUpload] = field(default_factory=list)
    message_bytes: dict[str, int] = field(default_factory=dict)
    skipped: str = ""
    lost: Loss | None = None
    opening: Opening | None = None
    plain_values: int = 0

    def add(self, phase: str, reply: Reply, cloud: CloudRound | None = None) -> None:
        """Count a reply's time.

        Parameters
        ----------
        phase : str
            What it is counted as.
        reply : Reply
            The reply.
        cloud : CloudRound or None
            Whose time it is.
        """
        self.seconds[phase] = self.seconds.get(phase, 0.0) + reply.seconds
        if cloud is not None:
            cloud.seconds[phase] = cloud.seconds.get(phase, 0.0) + reply.seconds


class _Skip(Exception):  # noqa: N818 - no error: the round is skipped and the training goes on
    """Too few clouds are left in the round."""


class _Spoiled(Exception):  # noqa: N818 - no error: the round is lost and the training goes on
    """The last sum opens for nobody, whichever members are asked."""


@dataclass(frozen=True)
class _Due:
    """A proposed round, read once."""

    description: bytes
    plain_values: int
    purpose: str


def _read_proposal(data: bytes) -> _Due:
    read = Proposal.from_bytes(data)
    step = Round.from_bytes(read.description).step
    return _Due(read.description, read.plain_values, "" if step is None else step.purpose)


@dataclass
class _Answers:
    """What members answered for the last sum, and who was not asked."""

    description: bytes
    certificate: bytes
    requests: Sequence[bytes]
    given: dict[int, bytes]
    left: list[int]


_Told = Take | Skip | Lose
"""What a cloud must take in to follow."""


class Coordinator:
    """Calls a training together and plays its rounds.

    Parameters
    ----------
    terms : Terms
        What all clouds agree on.
    clock : callable
        Seconds, for the time of the aggregator's own work.
    training : bytes, optional
        32 bytes that name the training; random ones by default.
    leave_out : callable, optional
        For networks, where a cloud may lie or be broken: a cloud that refuses what others do, or
        sends what does not hold, is left out of the round as if it were away, and this hears of it
        (cloud and reason). By default a refusal ends the training: in one process it is a fault.
    """

    def __init__(
        self,
        terms: Terms,
        clock: Callable[[], float],
        training: bytes | None = None,
        leave_out: Callable[[int, str], None] | None = None,
    ) -> None:
        options = terms.encryption
        self.terms = terms
        self.plan = Plan(
            clients=terms.clouds,
            value_bits=options.value_bits,
            security=options.security,
            optimise=options.optimise,
            profile=options.profile,
            engine=options.engine,
        )
        # Statistics are counts and moments, which must be exact: always the native engine.
        self._exact = Plan(clients=terms.clouds, value_bits=VALUE_BITS, security=options.security)
        self.training = secrets.token_bytes(TRAINING_BYTES) if training is None else training
        self.aggregator = Aggregator()
        self.setup_bytes = 0
        #: The last round that was played; 0 before the first, -1 before the statistics.
        self.played = -1
        self._clock = clock
        self._leave_out = leave_out
        # Sums that some cloud has not taken in yet, oldest first, and how many each has.
        self._told: list[_Told] = []
        self._answers = _Answers(b"", b"", (), {}, [])
        self._followed = [0] * terms.clouds
        # Clouds of lost sums that the next sum of updates must hold, and those that need not be in
        # any; losses that members who are no clouds were not told of yet.
        self._owed: set[int] = set()
        self._convicted: set[int] = set()
        self._untold: list[list[Lose]] = [[] for _ in range(terms.members)]
        # What clouds replied to the last loss: whom the answers convict.
        self._named: list[tuple[int, ...]] = []

    def to_bytes(self) -> bytes:
        """Return what it remembers between rounds; nothing of it is secret."""
        kept = {
            "training": self.training.hex(),
            "setup_bytes": self.setup_bytes,
            "played": self.played,
            "told": [write_request(told).hex() for told in self._told],
            "followed": self._followed,
            "owed": sorted(self._owed),
            "convicted": sorted(self._convicted),
            "untold": [[write_request(one).hex() for one in some] for some in self._untold],
        }
        return json.dumps(kept).encode()

    @classmethod
    def from_bytes(
        cls,
        terms: Terms,
        clock: Callable[[], float],
        data: bytes,
        leave_out: Callable[[int, str], None] | None = None,
    ) -> Coordinator:
        """Return the coordinator that wrote this, between two rounds.

        Parameters
        ----------
        terms : Terms
            As they were.
        clock : callable
            Seconds.
        data : bytes
            What `to_bytes` returned.
        leave_out : callable, optional
            As for a new one.

        Raises
        ------
        veilsum.WireFormatError
            When it is malformed, or of other terms.
        """
        try:
            kept = json.loads(data)
            made = cls(terms, clock, bytes.fromhex(kept["training"]), leave_out)
            made.setup_bytes = int(kept["setup_bytes"])
            made.played = int(kept["played"])
            told = [read_request(bytes.fromhex(one)) for one in kept["told"]]
            made._told = [one for one in told if isinstance(one, (Take, Skip, Lose))]
            made._followed = [int(count) for count in kept["followed"]]
            made._owed = {int(cloud) for cloud in kept["owed"]}
            made._convicted = {int(cloud) for cloud in kept["convicted"]}
            untold = [[read_request(bytes.fromhex(one)) for one in some] for some in kept["untold"]]
            made._untold = [[one for one in some if isinstance(one, Lose)] for some in untold]
        except (ValueError, KeyError, TypeError) as reason:
            raise WireFormatError("what a coordinator kept is malformed") from reason
        fits = len(made._followed) == terms.clouds and all(
            0 <= count <= len(made._told) for count in made._followed
        )
        fits = fits and len(made._untold) == terms.members
        fits = fits and all(0 <= i < terms.clouds for i in made._owed | made._convicted)
        if not fits or len(made._told) != len(told):
            raise WireFormatError("what a coordinator kept is of another training")
        return made

    # What is the same in every step: asking.

    def _ask(
        self, party: Party, request: Request, number: int, occasion: Occasion, phase: str
    ) -> Steps[Reply]:
        (reply,) = yield [Ask(party, request, number, occasion, phase)]
        return reply

    def _setup(self, party: Party, request: Request) -> Steps[bytes]:
        """Ask somebody without whom there is no training."""
        (data,) = yield from self._setup_all([party], request)
        return data

    def _setup_all(self, parties: Sequence[Party], request: Request) -> Steps[list[bytes]]:
        """Ask several of them the same, side by side."""
        replies = yield [Ask(party, request, 0, "setup", "setup") for party in parties]
        made: list[bytes] = []
        for party, reply in zip(parties, replies, strict=True):
            data = reply.refused().data
            if data is None:
                raise RoundError(f"{party} did not reply; no training begins without it")
            made.append(data)
        return made

    @property
    def _members(self) -> list[Party]:
        """Who opens together, in the committee's order; empty with one key holder."""
        kind = self.terms.encryption.authority
        if kind == "single":
            return []
        if kind == "clouds":
            return self._clouds
        return [Party("member", number) for number in range(self.terms.members)]

    @property
    def _clouds(self) -> list[Party]:
        return [Party("cloud", number) for number in range(self.terms.clouds)]

    # Calling a training together.

    def begin(self) -> Steps[None]:
        """Call the training together, and pool the clouds' statistics."""
        roster = yield from self._setup_all(self._clouds, Introduce())
        joined = yield from self._agree(tuple(roster))
        yield from self._setup_all(self._clouds, joined)
        parts = (
            joined.training,
            joined.exact_plan,
            joined.exact_authority,
            joined.updates_plan,
            joined.updates_authority,
            *joined.roster,
            joined.group,
        )
        self.setup_bytes = sum(len(part) for part in parts)
        yield from self._statistics()
        self.played = 0

    def _agree(self, roster: tuple[bytes, ...]) -> Steps[Join]:
        exact, updates = self._exact.to_bytes(), self.plan.to_bytes()
        least = self.terms.min_clients
        group = b""
        if not self._members:
            holder = Party("key holder", 0)
            exact_authority = yield from self._setup(holder, IssueKey(exact))
            updates_authority = yield from self._setup(holder, IssueKey(updates))
            yield from self._setup(holder, Enrol(self.training, roster, least))
        else:
            identities = list(roster)
            if self.terms.encryption.authority == "committee":
                identities = []
                for member in self._members:
                    yield from self._setup(member, Enrol(self.training, roster, least))
                    identities.append((yield from self._setup(member, Introduce())))
            public = [PublicIdentity.from_bytes(one) for one in identities]
            committee = write_committee(Committee(public, self.terms.threshold))
            exact_authority = updates_authority = committee
            maker = self._clouds[0]
            group = yield from self._setup(maker, MakeGroup(self.training, roster))
        return Join(
            self.training, exact, exact_authority, updates, updates_authority, roster, group
        )

    def _statistics(self) -> Steps[None]:
        played = PlayedRound(0, [CloudRound(i) for i in range(self.terms.clouds)])
        proposed = yield from self._setup(self._clouds[0], Propose(0, 0))
        proposal = Proposal.from_bytes(proposed)
        self.aggregator.open_round(proposal.description)
        contribute = Contribute(proposal.description)
        for counts in (yield from self._setup_all(self._clouds, contribute)):
            self.aggregator.receive(counts)
        take, _ = yield from self._open(proposal.description, played)
        upload = max(one.payload_bytes for one in self.aggregator.seen)
        self.setup_bytes += upload + take.size
        self._told.append(take)
        try:
            follow = yield from self._catch_up(played.clouds, played, "setup")
        except _Spoiled:
            loss, _ = yield from self._judge(played)
            raise TamperedSumError(
                f"no answers open the sum of statistics: {loss.sentence}. Statistics are the same "
                "every time, so they are not encrypted again: this training is over"
            ) from None
        for one in played.clouds:
            if one not in follow:
                raise RoundError(f"cloud {one.client + 1} did not take in the statistics")
        self._forget()

    # A training round.

    def round(self, number: int) -> Steps[PlayedRound]:
        """Play a round, from 1 on, in order.

        A cloud that drops, or whose upload arrives damaged or late, is left out; the mean is that
        of the others. With fewer than `min_clients` the round is skipped: nothing is opened, and
        the model stays as it was. So it does where a sum opens for nobody: the round is lost, and
        the next one holds all clouds of the lost sum but those that its verdict convicts.

        Parameters
        ----------
        number : int
            The round.

        Returns
        -------
        PlayedRound
            By the generator: what it came to.

        Raises
        ------
        veilsum.VeilsumError
            When a party refuses what another sends, or training diverges.
        """
        clouds = [CloudRound(i, state="not sampled") for i in range(self.terms.clouds)]
        played = PlayedRound(number, clouds)
        try:
            yield from self._play(played)
        except _Skip as reason:
            played.skipped = str(reason)
            for cloud in clouds:
                cloud.state = "round skipped" if cloud.state == "summed" else cloud.state
            # Everybody takes note of it, those who are away now when they are back.
            self._told.append(Skip(number))
        except _Spoiled:
            yield from self._lose(played)
        self.played = number
        return played

    def _play(self, played: PlayedRound) -> Steps[None]:
        number = played.number
        for i in self._convicted:
            played.clouds[i].state = "convicted"
        chosen = self._owed.union(participants(self.terms, number)) - self._convicted
        drawn = [played.clouds[i] for i in sorted(chosen)]
        # Proposed before training, so that clouds can prepare their encryptions meanwhile, where
        # nothing else is to be agreed on first.
        sums = 0
        for cloud in drawn:
            cloud.state = "absent"
        current = yield from self._catch_up(drawn, played, "train")
        proposal = yield from self._propose(current, played, sums, "train")
        prepare = proposal.description if proposal.purpose == UPDATES else b""
        there: list[CloudRound] = []
        replies = yield from self._ask_all(
            current, Train(number, prepare), played, "train", "train"
        )
        for cloud, reply in zip(current, replies, strict=True):
            played.add("train", reply, cloud)
            if self._word(cloud, reply).data is not None:
                cloud.state = "summed"
                there.append(cloud)
        self._require_all(there, played)
        passed = 0
        while proposal.purpose != UPDATES:
            there = yield from self._agree_on(proposal, there, played, passed)
            self._require_all(there, played)
            passed = len(self.aggregator.seen) if proposal.purpose.startswith(SHARES) else 0
            sums += 1
            proposal = yield from self._propose(there, played, sums, "contribute")
        yield from self._sum_updates(proposal, there, played)

    def _require(self, count: int, least: int, played: PlayedRound) -> None:
        if count < least:
            raise _Skip(too_few(played.clouds, count, max(least, self.terms.min_clients)))

    def _require_all(self, there: Sequence[CloudRound], played: PlayedRound) -> None:
        """Skip the round where those who are left are too few for what was agreed."""
        self._require(len(there), self.terms.min_clients, played)
        cap = self.terms.aggregation.max_share
        if len(there) * cap < 1 - 1e-9:
            raise _Skip(
                f"{len(there)} clouds are left, too few for a largest share of {cap:g} "
                "(aggregation.max_share)"
            )
        self._require_owed(there)

    def _require_owed(self, there: Sequence[CloudRound]) -> None:
        """Skip the round where a cloud is missing that the sum after a lost one must hold."""
        missing = self._owed.difference(cloud.client for cloud in there)
        if missing:
            raise _Skip(
                f"missing of a lost round: {_numbered('cloud', sorted(missing))}; the next sum "
                "must hold all of its clouds, for leaving one out, while updates repeat, gives "
                "that one away"
            )

    def _ask_all(
        self,
        clouds: Sequence[CloudRound],
        request: Request,
        played: PlayedRound,
        occasion: Occasion,
        phase: str,
    ) -> Steps[Iterable[Reply]]:
        """Ask some clouds the same, side by side."""
        return (
            yield [
                Ask(Party("cloud", cloud.client), request, played.number, occasion, phase)
                for cloud in clouds
            ]
        )

    def _uploads(
        self,
        clouds: Sequence[CloudRound],
        description: bytes,
        played: PlayedRound,
        occasion: Occasion,
    ) -> Steps[None]:
        """Have clouds encrypt for a round, and add what arrives, one upload after another."""
        asked = Contribute(description)
        replies = yield from self._ask_all(clouds, asked, played, occasion, "encrypt")
        for cloud, upload in zip(clouds, replies, strict=True):
            played.add("encrypt", upload, cloud)
            cloud.state = self._arrived(cloud, self._word(cloud, upload), played)

    def _word(self, cloud: CloudRound, reply: Reply) -> Reply:
        """Return a cloud's reply; what it refuses ends the training, or leaves it out."""
        if reply.error is None or self._leave_out is None:
            return reply.refused()
        self._leave_out(cloud.client, one_line(reply.error))
        return Reply(seconds=reply.seconds)

    def _propose(
        self, clouds: Sequence[CloudRound], played: PlayedRound, sums: int, occasion: Occasion
    ) -> Steps[_Due]:
        """Have one of some clouds describe the sum that is due."""
        order = list(clouds)
        if self._leave_out is not None and order:
            # A cloud that describes what others refuse costs one round in so many.
            first = played.number % len(order)
            order = order[first:] + order[:first]
        for cloud in order:
            party, asked = Party("cloud", cloud.client), Propose(played.number, sums)
            reply = yield from self._ask(party, asked, played.number, occasion, "aggregate")
            played.add("aggregate", reply)  # done for all, not for the cloud's own upload
            data = self._word(cloud, reply).data
            if data is None:
                continue
            try:
                proposal = _read_proposal(data)
                # What the aggregator would refuse is this cloud's fault and ends nothing.
                self.aggregator.open_round(proposal.description)
            except VeilsumError as reason:
                if self._leave_out is None:
                    raise
                self._leave_out(cloud.client, one_line(reason))
            else:
                return proposal
        raise _Skip(too_few(played.clouds, 0, self.terms.min_clients))

    def _agree_on(
        self, proposal: _Due, there: Sequence[CloudRound], played: PlayedRound, passed: int
    ) -> Steps[list[CloudRound]]:
        """Sum what clouds agree by, before they can encrypt updates: shares, or sensitivities.

        Returns who has a part in the sum and took it in: beside it nobody else has a share.
        `passed` is how many had a part in the pass of agreeing on shares before; 0 for none.
        """
        self._timed(played, "aggregate", lambda: self.aggregator.open_round(proposal.description))
        yield from self._uploads(there, proposal.description, played, "contribute")
        count = len(self.aggregator.seen)
        self._require(count, self.terms.min_clients, played)
        self._require_owed([cloud for cloud in there if cloud.state == "summed"])
        # Totals of one pass say nothing of the clouds of another: no cloud would take them in.
        if proposal.purpose.startswith(SHARES) and passed and count != passed:
            raise _Skip(
                f"{count} of {passed} clouds are left ({_missing(played.clouds)}); shares are "
                "agreed on by the same clouds to the end"
            )
        take, _ = yield from self._open(proposal.description, played)
        self._told.append(take)
        follow = yield from self._catch_up(there, played, "contribute")
        for cloud in there:
            if cloud.state == "summed" and cloud not in follow:
                cloud.state = "lost"
        return [cloud for cloud in there if cloud.state == "summed"]

    def _sum_updates(
        self, proposal: _Due, there: Sequence[CloudRound], played: PlayedRound
    ) -> Steps[None]:
        description, aggregator = proposal.description, self.aggregator
        played.plain_values = proposal.plain_values
        self._timed(
            played,
            "aggregate",
            lambda: aggregator.open_round(description, proposal.plain_values),
        )
        yield from self._uploads(there, description, played, "upload")
        self._require(len(aggregator.seen), self.terms.min_clients, played)
        self._require_owed([cloud for cloud in there if cloud.state == "summed"])
        take, opening = yield from self._open(description, played)
        if proposal.plain_values:
            take = Take(take.description, take.aggregate, take.opening, aggregator.plain_sum)
        played.uploads = list(aggregator.seen)
        played.opening = opening
        self._told.append(take)
        yield from self._distribute(played)
        played.message_bytes = self._message_bytes(take, played.opening, played)
        self._owed.clear()
        self._forget()

    def _arrived(self, cloud: CloudRound, upload: Reply, played: PlayedRound) -> str:
        """Take in what came of an upload; return what became of it."""
        if upload.data is None and upload.file is None:
            return "lost"
        cloud.up_bytes += (
            len(upload.data or b"") if upload.file is None else upload.file.stat().st_size
        )
        deadline = self.terms.deadline_s
        if deadline and sum(cloud.seconds.values()) + upload.delay_s > deadline:
            return "late"
        try:
            self._receive(upload, played, cloud.client)
        except WireFormatError as reason:
            # Cut off or damaged on the way; a wrong signature or round is an attack, and raised.
            if self._leave_out is not None:
                self._leave_out(cloud.client, one_line(reason))
            return "damaged"
        except RoundError as reason:
            if self._leave_out is None:
                raise
            self._leave_out(cloud.client, one_line(reason))
            return "refused"
        return "summed"

    def _receive(self, upload: Reply, played: PlayedRound, client: int) -> None:
        sent: bytes | Path = (upload.data or b"") if upload.file is None else upload.file
        sender = None if self._leave_out is None else client
        self._timed(played, "aggregate", lambda: self.aggregator.receive(sent, sender))

    def _timed(self, played: PlayedRound, phase: str, work: Callable[[], object]) -> None:
        """Count the aggregator's own time."""
        start = self._clock()
        try:
            work()
        finally:
            spent = self._clock() - start
            played.seconds[phase] = played.seconds.get(phase, 0.0) + spent

    # Sums go out.

    def _distribute(self, played: PlayedRound) -> Steps[None]:
        """Tell all clouds of the sum: those that were not drawn follow too, or models part."""
        there = [cloud for cloud in played.clouds if cloud.state != "absent"]
        yield from self._catch_up(there, played, "distribute")

    def _catch_up(
        self, clouds: Sequence[CloudRound], played: PlayedRound, occasion: Occasion
    ) -> Steps[list[CloudRound]]:
        """Bring clouds all sums that they have not taken in; return those who have them all now."""
        gone: set[int] = set()
        while True:
            behind = [
                cloud
                for cloud in clouds
                if cloud.client not in gone and self._followed[cloud.client] < len(self._told)
            ]
            if not behind:
                return [cloud for cloud in clouds if cloud.client not in gone]
            told = [self._told[self._followed[cloud.client]] for cloud in behind]
            replies = yield [
                Ask(Party("cloud", cloud.client), one, played.number, occasion, "decrypt")
                for cloud, one in zip(behind, told, strict=True)
            ]
            # Whether a sum is lost is known when all who were asked have replied. The same words
            # open for all who are honest or for none, so it is lost where more of them could not
            # read it than say that they did: a single one that lies decides nothing.
            unable: list[tuple[CloudRound, _Told, Reply]] = []
            for cloud, one, reply in zip(behind, told, replies, strict=True):
                played.add("decrypt", reply, cloud)
                if (yield from self._told_anew(cloud, one, reply, played)):
                    continue
                if isinstance(reply.error, TamperedSumError):
                    unable.append((cloud, one, reply))
                elif self._word(cloud, reply).data is None:
                    gone.add(cloud.client)
                else:
                    self._took(cloud, one, reply)
            last = sum(one is self._told[-1] for _, one, _ in unable)
            taken = sum(number >= len(self._told) for number in self._followed)
            for cloud, one, reply in unable:
                if last > taken and self._spoiled(one):
                    raise _Spoiled
                self._word(cloud, reply)
                gone.add(cloud.client)

    def _took(self, cloud: CloudRound, told: _Told, reply: Reply) -> None:
        """Note that a cloud has taken in what it was told."""
        cloud.down_bytes += 0 if isinstance(told, Skip) else told.size
        if isinstance(told, Lose) and told is self._told[-1]:
            try:
                self._named.append(read_convicted(reply.data or b"", len(self._members)))
            except VeilsumError as reason:
                if self._leave_out is None:
                    raise
                self._leave_out(cloud.client, one_line(reason))  # it names nobody, then
        self._followed[cloud.client] += 1

    def _told_anew(
        self, cloud: CloudRound, told: _Told, reply: Reply, played: PlayedRound
    ) -> Steps[bool]:
        """Return whether a sum that a cloud could not open has more answers now."""
        # A member's share may be wrong under a right signature, or sealed so that nobody can
        # read it; more answers make up for that.
        if not isinstance(reply.error, (TamperedSumError, RoundError)):
            return False
        if told is not self._told[self._followed[cloud.client]]:
            return True  # another cloud that was asked side by side found it first
        return told is self._told[-1] and (yield from self._ask_more(played))

    def _spoiled(self, told: _Told) -> bool:
        """Return whether a sum that clouds cannot open is a committee's last, which can be lost."""
        return (
            isinstance(told, Take)
            and told is self._told[-1]
            and told.description == self._answers.description
        )

    def _judge(self, played: PlayedRound) -> Steps[tuple[Loss, Lose]]:
        """Have the challenges of the last sum's uploads opened, and make the verdict."""
        known, silent = self._answers, dict[int, str]()
        everybody = range(len(self._members))
        opened = yield from self._gather(
            everybody,
            lambda k: OpenChallenges(known.description, known.certificate, known.requests[k]),
            self.aggregator.check_challenge_answer,
            silent,
            played,
            len(everybody),
        )
        rnd = Round.from_bytes(known.description)
        written = self.aggregator.blame(list(opened.values()))
        verdict, step = Verdict.from_bytes(written, rnd), rnd.step
        loss = Loss(
            "" if step is None else step.purpose,
            tuple(verdict.clients),
            (),
            tuple(verdict.suspects),
            tuple(sorted(opened)),
            silent,
        )
        if self.terms.encryption.authority == "clouds":
            for k, words in opened.items():
                played.clouds[k].up_bytes += len(words)
        answers = tuple(known.given[k] for k in sorted(known.given))
        self._convicted |= set(verdict.clients)
        self._owed = (self._owed | set(verdict.certificate.clients)) - self._convicted
        return loss, Lose(known.description, written, answers)

    def _lose(self, played: PlayedRound) -> Steps[None]:
        """End a round whose last sum is lost: find out who did it, and tell everybody."""
        loss, told = yield from self._judge(played)
        self._told[-1] = told
        self._named = []
        yield from self._distribute(played)
        if self.terms.encryption.authority == "committee":
            for pending in self._untold:
                pending.append(told)
            yield from self._tell_members(played)
        members = tuple(
            k
            for k in range(len(self._members))
            if 2 * sum(k in named for named in self._named) > len(self._named)
        )
        played.lost = replace(loss, members=members)
        purpose = loss.purpose.partition(".")[0]
        played.skipped = f"no answers open its sum of {purpose}: {played.lost.sentence}"
        for cloud in played.clouds:
            cloud.state = "round lost" if cloud.state == "summed" else cloud.state
        self._forget()

    def _tell_members(self, played: PlayedRound) -> Steps[None]:
        """Tell members that are no clouds of losses, before they endorse anything else."""
        if self.terms.encryption.authority != "committee":
            return
        for k, pending in enumerate(self._untold):
            while pending:
                party = Party("member", k)
                reply = yield from self._ask(party, pending[0], played.number, "open", "open")
                played.add("open", reply)
                if reply.data is None:
                    break  # again before the next sum
                del pending[0]

    def _ask_more(self, played: PlayedRound) -> Steps[bool]:
        """Ask the members that were not needed; return whether the last sum has more answers now.

        Shares of a threshold agree on something whatever they are; with more of them, readers find
        a threshold whose shares open the sum, if there is one.
        """
        known, silent = self._answers, dict[int, str]()
        told = self._told[-1]
        if not known.left or not isinstance(told, Take):
            return False
        order, known.left = known.left, []
        more = yield from self._gather(
            order,
            lambda k: GiveShare(known.description, known.certificate, known.requests[k]),
            self.aggregator.check_answer,
            silent,
            played,
            len(order),
        )
        known.given |= more
        opening = write_opening(known.certificate, list(known.given.values()))
        if more:
            self._told[-1] = Take(told.description, told.aggregate, opening, told.plain)
        if self.terms.encryption.authority == "clouds":
            _count_answers(more, max(map(len, known.requests)), len(known.certificate), played)
        if played.opening is not None:
            answered = tuple(sorted(known.given))
            everyone = played.opening.silent | silent
            played.opening = replace(
                played.opening, data=opening, answered=answered, silent=everyone
            )
        return bool(more)

    def _forget(self) -> None:
        """Drop the sums that all clouds have."""
        least = min(self._followed)
        del self._told[:least]
        self._followed = [count - least for count in self._followed]

    # Sums are opened.

    def _open(self, description: bytes, played: PlayedRound) -> Steps[tuple[Take, Opening]]:
        """Close the aggregator's round and have it opened; return what clouds are told."""
        aggregator, number = self.aggregator, played.number
        if self.terms.encryption.authority == "clouds":
            # Members open what follows from their own history: whoever was not drawn, or was away,
            # takes in first what it missed.
            yield from self._catch_up(played.clouds, played, "open")
        requests: list[bytes] = []
        self._timed(played, "aggregate", lambda: requests.append(aggregator.close_round()))
        if self._members:
            opening = yield from self._open_together(description, played)
        else:
            holder, asked = Party("key holder", 0), Open(description, requests[0])
            reply = yield from self._ask(holder, asked, number, "open", "open")
            played.add("open", reply)
            if reply.refused().data is None:
                raise RoundError(f"{holder} did not reply; nothing was opened")
            opening = Opening(reply.data or b"", request_bytes=len(requests[0]))
        return Take(description, aggregator.aggregate, opening.data), opening

    def _open_together(self, description: bytes, played: PlayedRound) -> Steps[Opening]:
        """Have the aggregator's closed round opened by its committee."""
        aggregator, threshold = self.aggregator, self.terms.threshold
        requests: list[bytes] = []
        yield from self._tell_members(played)
        self._timed(played, "open", lambda: requests.extend(aggregator.member_requests()))
        silent: dict[int, str] = {}
        everybody = range(len(self._members))
        words = yield from self._gather(
            everybody,
            lambda k: Endorse(description, requests[k]),
            aggregator.check_endorsement,
            silent,
            played,
            threshold,
        )
        _enough(len(words), threshold, "endorse", silent)
        certified: list[bytes] = []
        self._timed(
            played, "open", lambda: certified.append(aggregator.certify(list(words.values())))
        )
        (certificate,) = certified
        # Those who endorsed first; the certificate moves members that have not, where some are
        # lost.
        answers = yield from self._gather(
            sorted(everybody, key=lambda k: k not in words),
            lambda k: GiveShare(description, certificate, requests[k]),
            aggregator.check_answer,
            silent,
            played,
            threshold,
        )
        _enough(len(answers), threshold, "answer", silent)
        left = [k for k in everybody if k not in answers and k not in silent]
        self._answers = _Answers(description, certificate, requests, dict(answers), left)
        opening = Opening(
            write_opening(certificate, list(answers.values())),
            tuple(words),
            tuple(sorted(answers)),
            silent,
            len(self._members),
            max(map(len, requests)),
            max(map(len, words.values())),
            len(certificate),
            max(map(len, answers.values())),
        )
        if self.terms.encryption.authority == "clouds":
            _count_opening(opening, played)
        return opening

    def _gather(
        self,
        order: Sequence[int],
        request: Callable[[int], Request],
        check: Callable[[int, bytes], None],
        silent: dict[int, str],
        played: PlayedRound,
        enough: int,
    ) -> Steps[dict[int, bytes]]:
        """Ask members until so many of them gave something that holds."""
        given: dict[int, bytes] = {}
        left = list(order)
        while left and len(given) < enough:
            # As many at once as are still missing: a network asks them side by side.
            now = left[: enough - len(given)]
            del left[: len(now)]
            replies = yield [
                Ask(self._members[k], request(k), played.number, "open", "open") for k in now
            ]
            for k, reply in zip(now, replies, strict=True):
                played.add("open", reply)
                try:
                    data = reply.refused().data
                    if data is None:
                        silent[k] = "not there"
                        continue
                    self._timed(played, "open", lambda k=k, data=data: check(k, data))  # type: ignore[misc]
                    given[k] = data
                except (VeilsumError, OSError) as reason:  # its ledger may be out of space
                    silent[k] = one_line(reason)
        return given

    def _message_bytes(self, take: Take, opening: Opening, played: PlayedRound) -> dict[str, int]:
        sizes = {
            "round": len(take.description),
            "upload": max(one.payload_bytes for one in played.uploads),
            "opening_request": opening.request_bytes,
        }
        if not self._members:
            sizes["sum_key"] = len(opening.data)
        sizes["aggregate"] = len(take.aggregate)
        if self._members:
            sizes |= {
                "endorsement": opening.endorsement_bytes,
                "certificate": opening.certificate_bytes,
                "answer": opening.answer_bytes,
            }
        if take.plain:
            sizes["plain_sum"] = len(take.plain)
        return sizes


def _count_opening(opening: Opening, played: PlayedRound) -> None:
    """Count what clouds sent and received as members."""
    for k in {*opening.endorsed, *opening.answered}:
        played.clouds[k].down_bytes += opening.request_bytes
    for k in opening.endorsed:
        played.clouds[k].up_bytes += opening.endorsement_bytes
    for k in opening.answered:
        played.clouds[k].down_bytes += opening.certificate_bytes
        played.clouds[k].up_bytes += opening.answer_bytes


def _count_answers(
    answers: Mapping[int, bytes], request_bytes: int, certificate_bytes: int, played: PlayedRound
) -> None:
    """Count what clouds sent and received that were asked later than the others."""
    for k, answer in answers.items():
        played.clouds[k].down_bytes += request_bytes + certificate_bytes
        played.clouds[k].up_bytes += len(answer)


def _enough(count: int, threshold: int, what: str, silent: dict[int, str]) -> None:
    if count < threshold:
        missing = "; ".join(f"member {k + 1}: {reason}" for k, reason in sorted(silent.items()))
        raise RoundError(
            f"{count} members {what} the sum, and it takes {shown(threshold)} ({missing}); nothing "
            "was opened"
        )


_MISSING = ("absent", "lost", "damaged", "refused", "late")
"""States of clouds that should be in a sum and are not."""


def too_few(clouds: Sequence[CloudRound], left: int, least: int) -> str:
    """Say why a round is skipped: who is missing, and how many a sum needs.

    Parameters
    ----------
    clouds : sequence of CloudRound
        All of them, with their states.
    left : int
        How many are left.
    least : int
        How many a sum needs.
    """
    drawn = left + sum(cloud.state in _MISSING for cloud in clouds)
    verb = "is" if left == 1 else "are"
    return f"{left} of {drawn} clouds {verb} left ({_missing(clouds)}); a sum needs {least}"


def _missing(clouds: Sequence[CloudRound]) -> str:
    """Name who should be in a sum and is not."""
    missing = {
        state: [str(cloud.client + 1) for cloud in clouds if cloud.state == state]
        for state in _MISSING
    }
    return "; ".join(
        f"{state}: cloud{'s' * (len(numbers) > 1)} {', '.join(numbers)}"
        for state, numbers in missing.items()
        if numbers
    )
