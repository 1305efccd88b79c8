"""One site at work: its party, what it is told beside the party's requests, and its policy.

Flower's adapter. Rebuilt from the site's folder for every message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.api.rounds import Round
from veilsum.arguments import shown
from veilsum.errors import ParameterError, RoundError, WireFormatError
from veilsum.flower.arrays import Packed
from veilsum.flower.policy import SitePolicy, pinned_roster
from veilsum.flower.task import FlowerTask
from veilsum.keys.identity import Identity
from veilsum.parties.client import Client
from veilsum.parties.messages import (
    Introduce,
    Join,
    MakeGroup,
    Propose,
    Request,
    Skip,
    Train,
    read_request,
)
from veilsum.protocol.terms import Terms, read_sections
from veilsum.training.parties_kept import identity_at
from veilsum.transport.files import Desk, write_whole
from veilsum.transport.flower.post import Post
from veilsum.transport.flower.slips import PART_BYTES, Slip, digest_of

Train_ = Callable[
    [Mapping[str, NDArray[Any]], Mapping[str, Any], int],
    tuple[Mapping[str, NDArray[Any]], int, float],
]
"""`train(arrays, config, round)` returns trained arrays, number of rows, loss."""

RESULTS = ("clients", "server")

_NOTHING_AHEAD = {"pads_ahead": False}


def terms_of(agreed: Mapping[str, Any]) -> Terms:
    """Read terms as `Terms.agreed` returned them.

    Parameters
    ----------
    agreed : mapping
        From a stranger.

    Raises
    ------
    veilsum.WireFormatError
        When it is malformed.
    veilsum.ParameterError
        When an option breaks its rule.
    """
    try:
        sections = {
            name: {
                option: tuple(value) if isinstance(value, list) else value
                for option, value in agreed[name].items()
            }
            for name in ("aggregation", "encryption", "hybrid", "privacy")
        }
        made = Terms(
            clouds=int(agreed["clouds"]),
            rounds=int(agreed["rounds"]),
            seed=int(agreed["seed"]),
            participation=float(agreed["participation"]),
            deadline_s=float(agreed["deadline_s"]),
            task=dict(agreed["task"]),
            # Nothing is prepared ahead: a site's process ends with its message.
            **read_sections(sections | {"encryption": sections["encryption"] | _NOTHING_AHEAD}),
        )
    except ParameterError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as reason:
        raise WireFormatError("the terms of a training are malformed") from reason
    return made


class _Party:
    """A client that knows which round each request is about, and whom it may sum with."""

    def __init__(self, client: Client, task: FlowerTask, roster: tuple[bytes, ...]) -> None:
        self.client = client
        self._task = task
        self._roster = roster

    def handle(self, request: bytes) -> bytes:
        asked = self._read(request)
        if isinstance(asked, Train):
            # Training waits until its update is asked for: what it gives would go with the process.
            self.client.replay(request)
            return b""
        return self.client.ask(asked)

    def replay(self, request: bytes) -> None:
        self._read(request)
        self.client.replay(request)

    def notes(self) -> bytes:
        return self.client.notes()

    def recall(self, notes: bytes) -> None:
        self.client.recall(notes)

    def _read(self, request: bytes) -> Request:
        asked = read_request(request)
        if isinstance(asked, (Join, MakeGroup)) and self._roster and asked.roster != self._roster:
            raise RoundError(
                "the server names others to sum with than this site's roster/ has: nothing was "
                "agreed on"
            )
        if isinstance(asked, (Propose, Train, Skip)):
            self._task.step = asked.step
        elif not isinstance(asked, (Introduce, Join, MakeGroup)) and hasattr(asked, "description"):
            step = Round.from_bytes(asked.description).step
            self._task.step = 0 if step is None else step.number
        return asked


class Site:
    """A site, for one message of one training.

    Parameters
    ----------
    home : Path
        The site's folder.
    training : bytes
        32 bytes that name the training.
    rows : callable
        Returns how many rows the site trains on.
    train : callable
        As `Train_` says.
    policy : SitePolicy
        What the site agrees to.
    cloud : int
        The site's number in a simulation; elsewhere its place in the roster is.
    trusted : bool
        Whether the server may name the roster: in a simulation only.
    run_config : mapping, optional
        What the app reads of the run. It is part of what all sites agree on: a server that gives
        one of them another has no sum of theirs.
    part_bytes : int
        Most bytes of a slip's data.
    """

    def __init__(
        self,
        home: Path,
        training: bytes,
        *,
        rows: Callable[[], int],
        train: Train_,
        policy: SitePolicy,
        cloud: int = -1,
        trusted: bool = False,
        run_config: Mapping[str, Any] | None = None,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._home = home
        self._run_config = json.dumps(dict(run_config or {}), sort_keys=True).encode()
        self._training = training
        self._folder = home / "trainings" / training.hex()[:32]
        self._rows = rows
        self._train = train
        self._policy = policy
        self.identity, self._ledger = identity_at(home)
        self._roster = pinned_roster(home)
        self.cloud = self._number(self.identity, cloud, trusted)
        self._part_bytes = part_bytes

    def _number(self, identity: Identity, cloud: int, trusted: bool) -> int:
        mine = identity.public.to_bytes()
        if mine in self._roster:
            return self._roster.index(mine)
        if self._roster or not trusted:
            raise RoundError(
                f"{self._home}/roster has not this site's own identity; put the public identities "
                "of all sites there, the same files at each (veilsum.flower.prepare_site): whoever "
                "names them decides whom a sum hides your update among"
            )
        if cloud < 0:
            raise ParameterError("a simulated site needs its number: partition-id in node_config")
        return cloud

    def handle(self, slip: Slip) -> Slip:
        """Do what a slip asks, and return the answer.

        Parameters
        ----------
        slip : Slip
            From the server.
        """
        others = {"begin": self._begin, "model": self._model, "mean": self._mean}
        return Post(self._folder, self._party, others, part_bytes=self._part_bytes).handle(slip)

    # What the server says beside requests.

    @property
    def _begun(self) -> Packed:
        path = self._folder / "begin"
        if not path.exists():
            raise RoundError("the training has not begun at this site")
        return Packed.from_bytes(path.read_bytes())

    def _begin(self, data: bytes) -> bytes:
        packed = Packed.from_bytes(data)
        terms, result = terms_of(packed.header.get("terms", {})), packed.header.get("result")
        if result not in RESULTS:
            raise WireFormatError(f"result is {shown(result)}; must be one of {RESULTS}")
        self._policy.check(terms, str(result))
        if self._roster and terms.clouds != len(self._roster):
            raise RoundError(
                f"the training has {terms.clouds} clouds, this site's roster {len(self._roster)}"
            )
        path = self._folder / "begin"
        others = [one for one in self._folder.parent.glob("*/begin") if one != path]
        if self._policy.trainings and len(others) >= self._policy.trainings:
            raise RoundError(
                f"this site has had {len(others)} trainings, and its policy allows "
                f"{self._policy.trainings}: its operator may raise that, or remove old ones"
            )
        if path.exists() and path.read_bytes() != data:
            raise RoundError(
                "this training began with another model or other terms; begin a new one"
            )
        write_whole(path, data)
        return b""

    def _model_at(self, number: int) -> Path:
        return self._folder / f"model-{number:06d}"

    def _model(self, data: bytes) -> bytes:
        if self._begun.header["result"] != "server":
            # A round's config comes with it: with one of its own a site's update would be told
            # from the others'.
            raise RoundError("this training's models are the clouds'; none is taken from a server")
        number = Packed.from_bytes(data).header.get("round")
        if type(number) is not int or number < 1:
            raise WireFormatError("a model is for no round")
        path = self._model_at(number)
        # Training from a second one would give a second update of one round.
        if path.exists() and path.read_bytes() != data:
            raise RoundError(f"another model was given for round {number}")
        write_whole(path, data)
        return b""

    def _mean(self, data: bytes) -> bytes:
        asked = Packed.from_bytes(data).header
        if self._begun.header["result"] != "server" or not self._policy.server_reads:
            raise RoundError("the mean stays with the clouds in this training")
        client = self.party().client
        mean, number = client.state.last, client.state.history.step - 1
        if mean is None or asked.get("round") != number:
            raise RoundError("this site has not the mean of that round")
        packed = Packed(
            {"round": number},
            {name: array.astype(np.float32) for name, array in mean.update.items()},
        ).to_bytes()
        return packed if asked.get("whole") else digest_of(packed)

    # The party.

    def _given(self, number: int) -> tuple[Mapping[str, NDArray[Any]], bytes]:
        path = self._model_at(number)
        if not path.exists():
            raise RoundError(f"no model was given for round {number}")
        data = path.read_bytes()
        return Packed.from_bytes(data).arrays, digest_of(data)

    def _config(self, number: int) -> Mapping[str, Any]:
        begun, path = self._begun, self._model_at(number)
        own = begun.header["result"] == "server" and path.exists()
        header = (Packed.from_bytes(path.read_bytes()) if own else begun).header
        config: Mapping[str, Any] = header["config"]
        return config

    def _party(self) -> _Party:
        begun = self._begun
        task = FlowerTask(
            begun.arrays,
            digest_of(begun.to_bytes() + self._run_config),
            self._rows,
            lambda arrays, number: self._train(arrays, self._config(number), number),
            self._given if begun.header["result"] == "server" else None,
        )
        client = Client(
            self.cloud,
            task,
            terms_of(begun.header["terms"]),
            identity=self.identity,
            ledger=self._ledger,
        )
        return _Party(client, task, self._roster)

    def party(self) -> _Party:
        """Return the party where it stands now."""
        made = self._party()
        Desk(self._folder / "messages", made)
        return made

    @property
    def reads_alone(self) -> bool:
        """Whether only the clouds have the model."""
        return bool(self._begun.header["result"] == "clients")

    def model(self, *, summed: bool = False) -> dict[str, NDArray[Any]]:
        """Return the global model as the site has it, in its own types.

        Parameters
        ----------
        summed : bool
            Only one that came of a sum, not the one that the server began with.

        Raises
        ------
        veilsum.RoundError
            When the training has not come so far.
        """
        party = self.party()
        if summed and party.client.state.last is None:
            # Until then it is what the server sent, and scores of it would tell of the rows.
            raise RoundError("no round of this training was summed yet; nothing is evaluated")
        return party._task.typed(party.client.state.parameters)


def newest_training(home: Path) -> bytes:
    """Return the id's first half of the training that a site worked for last.

    Parameters
    ----------
    home : Path
        The site's folder.

    Raises
    ------
    veilsum.RoundError
        When it has begun none.
    """
    begun = sorted((home / "trainings").glob("*/begin"), key=lambda one: one.stat().st_mtime)
    if not begun:
        raise RoundError("this site has not begun a training; there is nothing to evaluate")
    return bytes.fromhex(begun[-1].parent.name)


def json_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Flower configuration as JSON holds it.

    Parameters
    ----------
    config : mapping
        A ConfigRecord.

    Raises
    ------
    veilsum.ParameterError
        When a value is none that JSON holds.
    """
    try:
        made: dict[str, Any] = json.loads(json.dumps(dict(config), allow_nan=False))
    except (TypeError, ValueError):
        raise ParameterError(
            "train_config has a value that is no number, text, truth value or list of them"
        ) from None
    return made
