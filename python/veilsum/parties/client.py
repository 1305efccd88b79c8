"""A cloud: the only place where its rows, its updates and its signing key exist.

Parties. Everything that enters and leaves is bytes: public descriptions and encrypted sums come in;
signed uploads go out. A cloud checks each proposed round against what was agreed before it encrypts
for it, and encrypts once a round.

A cloud is at one of five stages, and each stage is a class that has the steps which are possible
then and no others: `_Invited` joins, `_Counting` contributes statistics, `_Counted` takes their
sum, `_Ready` trains, `_Trained` contributes what training gave. A step returns its reply and the
next stage. What steers a cloud comes from four places only: the terms, what it agreed to, its
public state, whose history every round names, and its own facts (rows, what training them gave, its
link).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from veilsum._core import Answer, MemberRequest, Verdict
from veilsum.api.encrypting import encrypt
from veilsum.api.members import Member, blame
from veilsum.api.pads import PadStore
from veilsum.api.rounds import Round
from veilsum.arguments import shown
from veilsum.errors import ParameterError, RoundError
from veilsum.keys.committee import Committee
from veilsum.keys.group import Group
from veilsum.keys.identity import Identity, PublicIdentity
from veilsum.keys.roster import Roster
from veilsum.learning.seeds import numpy_generator
from veilsum.learning.task import ROWS, Learner, LocalResult, LocalTask
from veilsum.parties.aggregator import join_parts
from veilsum.parties.ledger_folder import ledger_folder
from veilsum.parties.messages import (
    Contribute,
    Endorse,
    GiveShare,
    Introduce,
    Join,
    Lose,
    MakeGroup,
    OpenChallenges,
    Proposal,
    Propose,
    Request,
    Skip,
    Take,
    Train,
    read_request,
    write_convicted,
    write_request,
)
from veilsum.privacy.distributed_noise import NoisePlan
from veilsum.protocol import shares
from veilsum.protocol.agreement import Agreement
from veilsum.protocol.averaging import (
    Averaging,
    GivenModel,
    HybridMean,
    Parts,
    PrivateMean,
    WeightedMean,
)
from veilsum.protocol.history import MASK, SHARES, UPDATES, Genesis, History, Place, digest_state
from veilsum.protocol.hybrid import PlainPart
from veilsum.protocol.masks import MaskState
from veilsum.protocol.opened import OpenedSum
from veilsum.protocol.participation import participants
from veilsum.protocol.public_state import Beginning, PublicState
from veilsum.protocol.ranges import FixedRange, range_policy
from veilsum.protocol.server_step import server_optimiser
from veilsum.protocol.statistics import statistics_sum
from veilsum.protocol.terms import Terms
from veilsum.protocol.weights import (
    REFERENCE_BANDWIDTH_BPS,
    LocalFacts,
    WeightRule,
    exceeds,
    weight_rule,
)


@dataclass
class Log:
    """What a cloud did last, which stays with the cloud; a simulation may log it.

    Parameters
    ----------
    loss : float or None
        Training loss of the last training.
    weight : float or None
        Weight of the last upload.
    background_seconds : float
        Processor time that the last upload's pads took in the background.
    """

    loss: float | None = None
    weight: float | None = None
    background_seconds: float = 0.0

    def forget(self) -> None:
        """Begin a round's log anew."""
        self.loss, self.weight, self.background_seconds = None, None, 0.0


class _Pads:
    """Encryption that is prepared in the background, for one round at a time."""

    def __init__(self) -> None:
        self._store: PadStore | None = None

    def prepare(self, rnd: Round, budget_bytes: int) -> None:
        self.drop()
        self._store = PadStore(rnd, budget_bytes=budget_bytes)

    def of(self, rnd: Round) -> PadStore | None:
        """Return what was prepared, unless the round was proposed anew since."""
        store = self._store
        return store if store is not None and store.round_id == rnd.id else None

    def drop(self) -> None:
        """Wipe pads that nothing was encrypted with."""
        if self._store is not None:
            self._store.close()
        self._store = None


class _Own:
    """What a cloud has for itself, at every stage."""

    def __init__(
        self,
        index: int,
        task: LocalTask,
        terms: Terms,
        identity: Identity,
        member: Member,
        threads: int | None,
    ) -> None:
        self.index = index
        self.task = task
        self.terms = terms
        self.identity = identity
        self.member = member
        self.threads = threads
        configured = terms.aggregation.bandwidths_bps
        self.bandwidth_bps = configured[index] if configured else REFERENCE_BANDWIDTH_BPS
        self.pads = _Pads()
        self.log = Log()


_Step: TypeAlias = "tuple[bytes, _Stage]"


class _Stage:
    """Where a cloud stands; a subclass has a method for each step that is possible there."""

    stands = ""

    def __init__(self, own: _Own) -> None:
        self._own = own

    def introduce(self, asked: Introduce) -> _Step:
        del asked
        return self._own.identity.public.to_bytes(), self


class _Invited(_Stage):
    """Knows the terms; has agreed to no key and no roster."""

    stands = "has not joined a training"

    def make_group(self, asked: MakeGroup) -> _Step:
        clouds = Roster([PublicIdentity.from_bytes(one) for one in asked.roster])
        return Group.create(self._own.identity, clouds, asked.training).sealed, self

    def join(self, asked: Join) -> _Step:
        own, terms = self._own, self._own.terms
        roster = asked.roster
        mine = own.identity.public.to_bytes()
        if len(roster) <= own.index or roster[own.index] != mine:
            raise RoundError(
                f"the roster has another identity than cloud {own.index + 1}'s own at its place"
            )
        if len(roster) != terms.clouds:
            raise RoundError(f"the roster has {len(roster)} clouds; {terms.clouds} were agreed on")
        shared = None
        if asked.group:
            clouds = Roster([PublicIdentity.from_bytes(one) for one in roster])
            shared = Group.open(own.identity, asked.group, clouds, asked.training)
        agreement = Agreement(
            (asked.exact_plan, asked.exact_authority),
            (asked.updates_plan, asked.updates_authority),
            roster,
            terms.min_clients,
            asked.training,
            shared,
        )
        check_authority(terms, agreement)
        beginning = Beginning(
            agreement,
            new_history(terms, asked, own.task, shared),
            statistics_sum(own.task.statistics()),
            own.threads,
        )
        return b"", _Counting(own, beginning)


class _Inside(_Stage):
    """Has joined: opens sums of the training, as a member of the committee."""

    def __init__(self, own: _Own, agreement: Agreement, history: History) -> None:
        super().__init__(own)
        self.agreement = agreement
        self.history = history

    def endorse(self, asked: Endorse) -> _Step:
        rnd = self._opens(asked.description)
        request = MemberRequest.from_bytes(asked.request, rnd)
        return self._own.member.endorse(rnd, request).to_bytes(), self

    def answer(self, asked: GiveShare) -> _Step:
        rnd = self._opens(asked.description)
        certified = self.agreement.read_certificate(asked.certificate, rnd)
        request = MemberRequest.from_bytes(asked.request, rnd)
        return self._own.member.answer(rnd, certified, request).to_bytes(), self

    def open_challenges(self, asked: OpenChallenges) -> _Step:
        rnd = self._opens(asked.description)
        certified = self.agreement.read_certificate(asked.certificate, rnd)
        request = MemberRequest.from_bytes(asked.request, rnd)
        return self._own.member.open_challenge(rnd, certified, request).to_bytes(), self

    def _opens(self, description: bytes) -> Round:
        """Read a round that the cloud is asked to open, refusing what was not agreed."""
        rnd = Round.from_bytes(description)
        if rnd.step is None or rnd.step.history != self.history.head:
            raise RoundError(
                f"round {rnd.id.hex()[:16]} does not follow from this cloud's history; it opens "
                "none of it"
            )
        self.agreement.check_opening(rnd)
        return rnd

    def _encrypted(self, rnd: Round, parts: Parts, *, pads: PadStore | None = None) -> bytes:
        own = self._own
        upload = encrypt(
            rnd,
            dict(parts.encrypted),
            rounding="nearest",
            signer=own.identity,
            group=self.agreement.group,
            on_clip=parts.on_clip,
            threads=own.threads,
            pads=pads,
        )
        if parts.plain is None:
            return upload.to_bytes()
        plain = PlainPart.seal(rnd, own.index, parts.plain, parts.plain_dtype, own.identity)
        return join_parts(upload.to_bytes(), plain)


class _Counting(_Inside):
    """Has joined; the statistics of its rows are due."""

    stands = "has contributed no statistics yet"

    def __init__(self, own: _Own, beginning: Beginning) -> None:
        super().__init__(own, beginning.agreement, beginning.history)
        self._beginning = beginning

    def propose(self, asked: Propose) -> _Step:
        _check_place(asked, self.history)
        return Proposal(self._beginning.propose().to_bytes()).to_bytes(), self

    def contribute(self, asked: Contribute) -> _Step:
        rnd = self._beginning.read(asked.description)
        upload = self._encrypted(rnd, Parts(self._own.task.statistics(), on_clip="error"))
        return upload, _Counted(self._own, self._beginning)


class _Counted(_Inside):
    """Has contributed its statistics, once; their sum is due."""

    # Two sums of the same statistics over different clouds would give away their difference, so
    # this stage has no `contribute`.
    stands = "has contributed its statistics, and waits for their sum"

    def __init__(self, own: _Own, beginning: Beginning) -> None:
        super().__init__(own, beginning.agreement, beginning.history)
        self._beginning = beginning

    def take(self, asked: Take) -> _Step:
        own, beginning = self._own, self._beginning
        rnd = beginning.read(asked.description)
        opened = beginning.open(rnd, asked.aggregate, asked.opening)
        learner = own.task.begin(opened.sums)
        state = new_state(own.terms, beginning, opened, learner)
        mean_rows = total_rows(opened) / self.agreement.clients
        return b"", _Ready(own, state, learner, mean_rows, 0)


class _Ready(_Inside):
    """Has the global model; nothing of it was trained that is still to be summed."""

    stands = "has not trained since its last upload"

    def __init__(
        self, own: _Own, state: PublicState, learner: Learner, mean_rows: float, trained: int
    ) -> None:
        super().__init__(own, state.agreement, state.history)
        self.state = state
        self._learner = learner
        self._mean_rows = mean_rows
        self._last = trained

    def _ready(self) -> _Ready:
        return _Ready(self._own, self.state, self._learner, self._mean_rows, self._last)

    def propose(self, asked: Propose) -> _Step:
        _check_place(asked, self.history)
        rnd = self.state.propose()
        plain = 0
        if rnd.step is not None and rnd.step.purpose == UPDATES:
            plain = self.state.averaging.plain_values()
        return Proposal(rnd.to_bytes(), plain).to_bytes(), self

    def train(self, asked: Train) -> _Step:
        own, terms, number = self._own, self._own.terms, asked.step
        # Training again would give the same update, and two sums of it over different clouds would
        # give away their difference, one cloud's own.
        if number <= self._last:
            raise RoundError(
                f"asked to train for round {shown(number)} after round {self._last}; each is "
                "trained once, and in order"
            )
        if terms.privacy.distributed and number > terms.rounds:
            raise RoundError(
                f"asked to train for round {shown(number)}; the privacy that was agreed on is of "
                f"{terms.rounds} rounds"
            )
        if number != self.history.step:
            raise RoundError(
                f"asked to train for round {shown(number)}, but the history has come to round "
                f"{self.history.step}: the sums of the rounds before, or word that they were "
                "skipped, come first"
            )
        # Whoever could ask other clouds than those drawn would choose whose updates are summed.
        if own.index not in participants(terms, number) and own.index not in self.state.owed:
            raise RoundError(f"the cloud was not drawn for round {number}")
        if asked.description:
            self._prepare(self.state.read(asked.description))
        parameters = self.state.parameters
        work = _Work(self.history.base, number, lambda: self._learner.train(parameters, number))
        return b"", _Trained(self, work)

    def _prepare(self, rnd: Round) -> None:
        options = self._own.terms.encryption
        self._own.pads.drop()
        if options.pads_ahead and options.engine == "native":
            self._own.pads.prepare(rnd, options.pad_budget_mib << 20)

    def take(self, asked: Take) -> _Step:
        rnd = self.state.read(asked.description)
        self.state.take(rnd, asked.aggregate, asked.opening, asked.plain)
        return b"", self._ready()

    def skip(self, asked: Skip) -> _Step:
        self.state.skip(asked.step)
        return b"", self._ready()

    def lose(self, asked: Lose) -> _Step:
        # What was trained goes with the step: its update is never encrypted again.
        rnd = self.state.read(asked.description)
        verdict = Verdict.from_bytes(asked.verdict, rnd)
        answers = [Answer.from_bytes(one, rnd) for one in asked.answers]
        seen = blame(
            rnd,
            verdict.certificate,
            verdict.challenge_answers,
            answers,
            group=self.agreement.group,
        )
        if self.agreement.opened_by_clients:
            self._own.member.record_lost(rnd, verdict.certificate, verdict)
        self.state.lose(rnd, verdict)
        return write_convicted(seen.members), self._ready()


@dataclass
class _Work:
    """What a cloud made in one step: of no use under another history than it began under.

    Parameters
    ----------
    base : bytes
        The history's head whose model is trained.
    number : int
        The step.
    train : callable
        Trains; called once, when the result is first needed.
    claimed : set of str
        Purposes that the cloud has encrypted for; each once.
    share : list of OwnShare
        Where weights are agreed on: one from the first pass on, none when it has no part in it.
    """

    base: bytes
    number: int
    train: Callable[[], LocalResult] = field(repr=False)
    claimed: set[str] = field(default_factory=set)
    share: list[shares.OwnShare] = field(default_factory=list, repr=False)

    @cached_property
    def result(self) -> LocalResult:
        """What training gave."""
        return self.train()

    def claim(self, place: Place) -> None:
        """Note that the cloud encrypts for a place, before anything leaves it; once."""
        # Two sums of the same over different clouds would give away their difference, one cloud's
        # own; a history that moved on in between is no excuse.
        if place.purpose in self.claimed:
            raise RoundError(
                f"the {place.purpose} of round {self.number} was encrypted before; a retry sends "
                "the same bytes"
            )
        self.claimed.add(place.purpose)


class _Trained(_Ready):
    """Has an update that is to be summed, and what must be agreed on before that."""

    stands = "has trained"

    def __init__(self, ready: _Ready, work: _Work) -> None:
        super().__init__(ready._own, ready.state, ready._learner, ready._mean_rows, work.number)
        self.work = work

    def contribute(self, asked: Contribute) -> _Step:
        work, history = self.work, self.history
        if work.base != history.base:
            raise RoundError(
                f"the update of round {work.number} belongs to another history: a sum was taken in "
                "since, and the model is another one; train comes first"
            )
        rnd = self.state.read(asked.description)
        due = self.state.due
        parts = self._updates if due.purpose == UPDATES else self._agreed
        made, place = parts(due.purpose), history.place(due.purpose.partition(".")[0])
        work.claim(place)
        if due.purpose != UPDATES:
            return self._encrypted(rnd, made), self
        own = self._own
        pads = own.pads.of(rnd)
        upload = self._encrypted(rnd, made, pads=pads)
        own.log.background_seconds = 0.0 if pads is None else pads.background_seconds
        own.pads.drop()
        # Rule 1: an update is encrypted once, so the stage that has it ends here.
        return upload, self._ready()

    def claim(self, description: bytes) -> _Stage:
        """Note a part that was contributed before, without making it again; return the stage."""
        place = self.history.place(self.state.due.purpose.partition(".")[0])
        self.state.read(description)
        if place.purpose.startswith(SHARES) and not self.work.share:
            self.work.share.append(self._share())
        self.work.claim(place)
        return self._ready() if place.purpose == UPDATES else self

    def _facts(self) -> LocalFacts:
        result = self.work.result
        return LocalFacts(result.rows, result.loss, self._own.bandwidth_bps)

    def _share(self) -> shares.OwnShare:
        rule = self.state.rule
        return shares.OwnShare(rule.weight(self._facts()), rule.cap)

    def _agreed(self, purpose: str) -> Parts:
        """Return the cloud's part of a sum that something is agreed by."""
        work, masks = self.work, self.state.masks
        if purpose == MASK and masks is not None:
            result, options = work.result, self._own.terms.hybrid
            parts = masks.contribution(
                self._learner.sensitivity(options.sensitivity, self.state.parameters, result),
                loss=result.loss,
                rows=result.rows,
                mean_rows=self._mean_rows,
                bandwidth_bps=self._own.bandwidth_bps,
            )
            return Parts(parts, on_clip="error")
        if not work.share:
            if self.history.passes:
                raise RoundError(
                    "the cloud had no part in the first pass; it has no share to agree on"
                )
            work.share.append(self._share())
        return Parts(work.share[0].contribution(), on_clip="error")

    def _updates(self, purpose: str) -> Parts:
        """Weigh and round the update, and refuse to be nearly all of a sum."""
        del purpose
        own, work, averaging = self._own, self.work, self.state.averaging
        weight = self._weight() if averaging.weighs else 1.0
        numbers = None
        if own.terms.encryption.rounding == "stochastic":
            numbers = numpy_generator(own.terms.seed, "dither", own.index, work.number)
        parts = averaging.parts(work.result, weight, numbers)
        own.log.weight = weight
        return parts

    def _weight(self) -> float:
        """Return the cloud's weight, 1 on average; refuse to be nearly all of a sum."""
        rule, work = self.state.rule, self.work
        if rule.agreed:
            if not work.share:
                raise RoundError("shares were agreed on without this cloud; it has no weight")
            weight, clients = work.share[0].weight, work.share[0].clients
        else:
            weight, clients = rule.weight(self._facts()), self.agreement.clients
        most = self._own.terms.aggregation.refuse_above
        if exceeds(weight / clients, most):
            raise RoundError(
                f"the cloud would count more than {most:g} of the opened total of weights, and the "
                "sum would be nearly its own update: nothing was encrypted. Use uniform weights or "
                "a lower aggregation.max_share; or a higher aggregation.refuse_above, where all "
                "clouds agree to that"
            )
        return weight

    def take(self, asked: Take) -> _Step:
        rnd = self.state.read(asked.description)
        taken = self.state.take(rnd, asked.aggregate, asked.opening, asked.plain)
        if taken.mean is not None:
            return b"", self._ready()
        work = self.work
        if taken.totals is not None and work.share:
            # Beside a sum that its weight is not in, it would count more than its share.
            if taken.purpose in work.claimed and self._own.index in taken.members:
                work.share[0].observe(taken.totals)
            else:
                work.share.clear()
        return b"", self


def _check_place(asked: Propose, history: History) -> None:
    if (asked.step, asked.sums) != (history.step, history.sums):
        raise RoundError(
            f"asked to propose sum {shown(asked.sums + 1)} of round {shown(asked.step)}, but the "
            f"history has come to sum {history.sums + 1} of round {history.step}"
        )


class Client:
    """One cloud.

    Parameters
    ----------
    index : int
        Its number, from 0; its place in the roster.
    task : LocalTask
        What it does with its own rows.
    terms : Terms
        What all clouds agree on.
    threads : int or None
        For encryption and decryption; None for the library's choice.
    identity : Identity, optional
        Its own; a fresh one by default.
    ledger : path, optional
        Where it records what it endorsed; by default in a folder that lasts as long as the object,
        as a fresh identity does.
    """

    def __init__(
        self,
        index: int,
        task: LocalTask,
        terms: Terms,
        *,
        threads: int | None = None,
        identity: Identity | None = None,
        ledger: Path | None = None,
    ) -> None:
        made = Identity.generate() if identity is None else identity
        if ledger is None:
            self._folder = ledger_folder()  # goes with the object
            ledger = Path(self._folder.name) / "ledger"
        opened = Member if ledger.exists() else Member.create
        member = opened(made, ledger, min_clients=terms.min_clients)
        self._own = _Own(index, task, terms, made, member, threads)
        self._stage: _Stage = _Invited(self._own)
        # Of the last request to take, skip or lose that was followed: its digest, and the reply.
        self._told = b"", b""

    @property
    def log(self) -> Log:
        """What the cloud did last; stays with the cloud (a simulation may log it)."""
        return self._own.log

    @property
    def public_identity(self) -> bytes:
        """Public half of the cloud's identity."""
        return self._own.identity.public.to_bytes()

    @property
    def state(self) -> PublicState:
        """The cloud's copy of the public state.

        Raises
        ------
        veilsum.RoundError
            When the statistics were not opened yet.
        """
        stage = self._stage
        if not isinstance(stage, _Ready):
            raise RoundError(f"the cloud {stage.stands}; it has no model yet")
        return stage.state

    def measure_bandwidth(self, bits_per_second: int) -> None:
        """Take in a measured bandwidth of the cloud's link, in place of the configured one.

        Parameters
        ----------
        bits_per_second : int
            Above 0.
        """
        if bits_per_second <= 0:
            raise ParameterError(
                f"a measured bandwidth is {shown(bits_per_second)} bit/s; must be above 0"
            )
        self._own.bandwidth_bps = float(bits_per_second)

    def handle(self, request: bytes) -> bytes:
        """Do what a request asks, and return the reply.

        Parameters
        ----------
        request : bytes
            As `messages.write_request` wrote it.

        Raises
        ------
        veilsum.VeilsumError
            When the request is malformed, impossible at this stage, or not as agreed; the cloud
            stands where it stood.
        """
        return self.ask(read_request(request))

    def ask(self, request: Request) -> bytes:
        """Do what a request asks, and return the reply.

        Parameters
        ----------
        request : Request
            One of a client's.

        Raises
        ------
        veilsum.VeilsumError
            As `handle`.
        """
        # Whoever asked may have lost the reply, which can be given again. Uploads are not made
        # again: whoever carries replies keeps them.
        told = _digest_of(request) if isinstance(request, (Take, Skip, Lose)) else b""
        if told and told == self._told[0]:
            return self._told[1]
        reply, stage = self._possible(request)(request)
        if told:
            self._told = told, reply
        if isinstance(request, Train) and isinstance(stage, _Trained):
            self._own.log.loss = stage.work.result.loss
        self._stage = stage
        return reply

    def replay(self, request: bytes) -> None:
        """Come to where a request led before, when its reply has left already.

        Nothing is encrypted, endorsed or answered again, and nothing is trained unless what it gave
        is still to be summed.

        Parameters
        ----------
        request : bytes
            In the order in which requests came the first time.
        """
        asked = read_request(request)
        stage = self._stage
        if isinstance(asked, (Endorse, GiveShare, OpenChallenges, Introduce, MakeGroup, Propose)):
            return
        if isinstance(asked, Contribute) and isinstance(stage, _Trained):
            self._stage = stage.claim(asked.description)
        elif isinstance(asked, Contribute) and isinstance(stage, _Counting):
            self._stage = _Counted(self._own, stage._beginning)
        elif isinstance(asked, (Take, Skip, Lose)):
            self.ask(asked)
        else:
            _, self._stage = self._possible(asked)(asked)

    def notes(self) -> bytes:
        """Return the cloud's log, which stays with the cloud."""
        return json.dumps(asdict(self._own.log)).encode()

    def recall(self, notes: bytes) -> None:
        """Take a log back.

        Parameters
        ----------
        notes : bytes
            What `notes` returned.
        """
        self._own.log = Log(**json.loads(notes))

    def _possible(self, request: Request) -> Callable[[Any], _Step]:
        step = getattr(self._stage, request.verb, None)
        if step is None:
            raise RoundError(
                f"a cloud that {self._stage.stands} cannot {request.verb.replace('_', ' ')}; its "
                "steps are out of order"
            )
        made: Callable[[Any], _Step] = step
        return made


def _digest_of(request: Take | Skip | Lose) -> bytes:
    return hashlib.sha256(write_request(request)).digest()


def total_rows(opened: OpenedSum) -> float:
    """Return how many rows all clouds have together.

    Parameters
    ----------
    opened : OpenedSum
        The statistics.

    Raises
    ------
    veilsum.RoundError
        When there are none.
    """
    rows = float(np.rint(np.asarray(opened.sums[ROWS]).ravel()[0]))
    if rows < 1:
        raise RoundError(f"the clouds have {rows:g} rows together; there is nothing to train on")
    return rows


def check_authority(terms: Terms, agreement: Agreement) -> None:
    """Refuse an authority of another kind than the one that was configured.

    Parameters
    ----------
    terms : Terms
        What was agreed on.
    agreement : Agreement
        What was proposed.

    Raises
    ------
    veilsum.RoundError
        When somebody else is to open than the terms say.
    """
    options = terms.encryption
    committees = [one for one in agreement.authorities if isinstance(one, Committee)]
    if options.authority == "single":
        fits = not committees and agreement.group is None
    else:
        fits = (
            len(committees) == len(agreement.authorities)
            and agreement.group is not None
            and all(
                one.threshold == terms.threshold and len(one) == terms.members for one in committees
            )
            and (options.authority == "committee" or agreement.opened_by_clients)
        )
    if not fits:
        raise RoundError(
            f"the sums are to be opened by another authority than was configured "
            f"(encryption.authority={options.authority}): nothing was agreed on"
        )


def configured_weights(terms: Terms, total_rows: float) -> WeightRule:
    """Make the weight rule of a training.

    Parameters
    ----------
    terms : Terms
        What was agreed on.
    total_rows : float
        Rows of all clouds together.
    """
    options = terms.aggregation
    return weight_rule(
        options.weights,
        terms.clouds,
        total_rows,
        exponent=options.bandwidth_exponent,
        form=options.dynamic_form,
        max_share=options.max_share,
    )


def noise_plan(terms: Terms, values: int) -> NoisePlan:
    """Size range and noise of a training with distributed noise.

    Parameters
    ----------
    terms : Terms
        What was agreed on.
    values : int
        Number of the model's values.
    """
    options = terms.privacy
    return NoisePlan.make(
        clip=options.clip,
        noise_multiplier=options.noise_multiplier,
        values=values,
        value_bits=terms.encryption.value_bits,
        honest=terms.min_clients - options.colluders,
        tail=options.noise_tail,
    )


def new_history(terms: Terms, joined: Join, task: LocalTask, group: Group | None) -> History:
    """Begin a participant's history: what is fixed before the first sum.

    Parameters
    ----------
    terms : Terms
        What was agreed on.
    joined : Join
        What the cloud joined.
    task : LocalTask
        What is public of it is part of the history.
    group : Group or None
        The clouds' shared keys, where a committee opens.
    """
    described = json.dumps(dict(task.describe()), sort_keys=True)
    return History(
        Genesis(
            training=joined.training,
            configuration=terms.agreed(),
            roster=joined.roster,
            plans=(joined.exact_plan, joined.updates_plan),
            authority=(joined.exact_authority, joined.updates_authority),
            threshold=terms.threshold,
            min_clients=terms.min_clients,
            group=() if group is None else group.commitment,
            # The model follows from the terms and the statistics, whose record has it.
            initial=digest_state({"task": np.frombuffer(described.encode(), dtype=np.uint8)}),
        )
    )


def new_state(
    terms: Terms, beginning: Beginning, opened: OpenedSum, learner: Learner
) -> PublicState:
    """Make a participant's copy of the public state, as it is before the first round.

    Parameters
    ----------
    terms : Terms
        What was agreed on.
    beginning : Beginning
        The participant's own.
    opened : OpenedSum
        The statistics.
    learner : Learner
        Its initial parameters and what they are.
    """
    parameters = learner.initial()
    rule = configured_weights(terms, total_rows(opened))
    values = sum(array.size for array in parameters.values())
    tensors = learner.tensors
    averaging: Averaging
    masks = None
    if terms.privacy.distributed:
        if tensors.averaged:
            raise ParameterError(
                f"privacy.distributed with {min(tensors.averaged)}, which is no weight: running "
                "figures and counts would take most of an update's clipped norm. Use layers "
                "without them (GroupNorm in place of BatchNorm), or freeze them"
            )
        noise = noise_plan(terms, values)
        fixed = FixedRange(parameters, noise.limit)
        averaging = PrivateMean(
            WeightedMean(parameters, fixed, rule.limit, terms.encryption), noise
        )
    else:
        ranges = range_policy(terms.encryption, parameters, tensors)
        averaging = weighted = WeightedMean(parameters, ranges, rule.limit, terms.encryption)
        if terms.is_hybrid:
            shapes = {name: array.shape for name, array in parameters.items()}
            masks = MaskState(terms.hybrid, shapes, beginning.agreement.plan)
            averaging = HybridMean(weighted, masks, terms.hybrid)
    if tensors.given is not None:
        averaging = GivenModel(averaging, tensors.given)
    return beginning.state(
        opened,
        parameters,
        averaging,
        server_optimiser(terms.aggregation, tensors.averaged),
        rule,
        masks,
    )
