"""`VeilsumStrategy`: an averaging strategy of Flower whose sum is encrypted.

Flower's adapter, at the server. It plays Veilsum's coordinator over Flower's messages, in place of
Flower's loop, which would hold every reply at once. Where the server reads (`result="server"`) the
mean arrives at the inner strategy as one reply; where only the clouds read, what the strategy does
with a mean is done by each cloud, and the server learns that a round was summed.

All that it needs to go on after it was killed is in its folder; the sites have the rest.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import check_whole, shown, type_name
from veilsum.errors import ParameterError, RoundError
from veilsum.flower.arrays import Packed
from veilsum.flower.policy import pinned_roster
from veilsum.flower.site import RESULTS, json_config
from veilsum.parties.asking import Party
from veilsum.parties.coordinator import Coordinator, PlayedRound
from veilsum.protocol.terms import Terms, read_sections
from veilsum.transport.base import drive
from veilsum.transport.files import write_whole
from veilsum.transport.flower.carrier import FlowerCarrier, flower
from veilsum.transport.flower.slips import digest_of
from veilsum.transport.flower.transport import FlowerTransport, Patience, printable

if TYPE_CHECKING:
    from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
    from flwr.serverapp import Grid
    from flwr.serverapp.strategy import Result
    from flwr.serverapp.strategy import Strategy as _Base
else:
    try:
        from flwr.serverapp.strategy import Strategy as _Base
    except ImportError:  # said in words when it is made
        _Base = object

LOG = logging.getLogger("veilsum.flower")

_COORDINATOR, _IDENTITIES = "coordinator.json", "identities.json"

_SINGLE = {
    "FedMedian": "a median needs every single update; a sum has none",
    "FedTrimmedAvg": "a trimmed mean needs every single update; a sum has none",
    "Krum": "Krum compares single updates; a sum has none",
    "MultiKrum": "Krum compares single updates; a sum has none",
    "Bulyan": "Bulyan compares single updates; a sum has none",
    "QFedAvg": "q-FedAvg needs every cloud's own loss and update",
    "FedXgbBagging": "trees are joined, not averaged",
    "FedXgbCyclic": "trees are handed on, not averaged",
}
_DIFFERENTIAL = "DifferentialPrivacy"


class VeilsumStrategy(_Base):
    """An averaging strategy in its encrypted form.

    Parameters
    ----------
    inner : Strategy
        FedAvg, FedProx, FedAvgM, FedAdam, FedYogi, or another that needs the mean alone (that only
        with ``result="server"``).
    clouds : int
        How many sites take part: at least 2.
    home : str or path
        The server's folder for this training. A training that is in it goes on.
    result : {"clients", "server"}
        Who learns the mean of each round. "clients": the sites alone, which then apply the
        strategy's server optimiser themselves; the server has no model, and `Result.arrays` is
        empty. "server": it is Flower's habit; each site's policy must allow it.
    min_clients : int
        Fewest sites whose sum may be opened; 0: all that take part in a round.
    limit : float
        Largest absolute value of an update in the first round; later ranges follow the means.
    weights : {"samples", "uniform"}
        What sites count by.
    seed : int
        Of draws of sites and of rounding.
    gather_s, away_s : float
        How long the server waits for all sites to come, and for one that is gone.
    **sections : mapping
        `aggregation`, `encryption`: options as `veilsum train` has them.

    Raises
    ------
    veilsum.BackendUnavailableError
        When Flower is not installed.
    veilsum.ParameterError
        When the inner strategy needs single updates, or an option is out of range.
    """

    def __init__(
        self,
        inner: Any,
        *,
        clouds: int,
        home: str | Path,
        result: str = "clients",
        min_clients: int = 0,
        limit: float = 1.0,
        weights: str = "samples",
        seed: int = 7,
        gather_s: float = 600.0,
        away_s: float = 120.0,
        **sections: Mapping[str, Any],
    ) -> None:
        flower()
        if result not in RESULTS:
            raise ParameterError(f"result is {shown(result)}; must be one of {', '.join(RESULTS)}")
        _check_inner(inner, result)
        self.inner = inner
        self._clouds = check_whole("clouds", clouds)
        if getattr(inner, "min_available_nodes", 0) > self._clouds:
            raise ParameterError(
                f"the inner strategy waits for {inner.min_available_nodes} nodes; clouds is "
                f"{shown(self._clouds)}"
            )
        self._home = Path(home).absolute()
        self._result = result
        self._gather_s = gather_s
        self._away_s = away_s
        self._seed = seed
        aggregation = {
            "weights": weights,
            "min_clients": min_clients,
            **(_optimiser(inner) if result == "clients" else {}),
            **sections.pop("aggregation", {}),
        }
        # What is encrypted is the update times its weight: 1 on average, at most `clouds`.
        scale = self._clouds if weights == "samples" else 1
        encryption = {"limit": limit * scale, **sections.pop("encryption", {})}
        self._sections = read_sections(
            {"aggregation": aggregation, "encryption": encryption, **sections}
        )
        self._terms(1)  # what is wrong is said now
        #: What each round came to, for whoever watches.
        self.played: list[PlayedRound] = []
        self._transport: list[FlowerTransport] = []

    def _terms(self, rounds: int) -> Terms:
        fraction = float(getattr(self.inner, "fraction_train", 1.0))
        drawn = max(int(self._clouds * fraction), int(getattr(self.inner, "min_train_nodes", 2)))
        terms = Terms(
            clouds=self._clouds,
            rounds=rounds,
            seed=self._seed,
            participation=min(1.0, drawn / self._clouds),
            **self._sections,
        )
        options = terms.aggregation
        if options.weights == "dynamic" or options.max_share < 1:
            raise ParameterError(
                "aggregation.weights = dynamic and max_share are agreed on by more sums, between "
                "which a site's process ends: use samples or uniform over Flower"
            )
        if terms.is_hybrid or terms.privacy.distributed:
            raise ParameterError("hybrid and privacy are not available over Flower yet")
        if terms.encryption.authority != "clouds":
            raise ParameterError('encryption.authority must be "clouds" over Flower: no party more')
        return terms

    # Flower's interface, for what still goes through its own loop.

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Refuse: training goes through `start`.

        Parameters
        ----------
        server_round : int
            Not used.
        arrays : ArrayRecord
            Not used.
        config : ConfigRecord
            Not used.
        grid : Grid
            Not used.
        """
        del server_round, arrays, config, grid
        raise RoundError("VeilsumStrategy plays its rounds itself: call start()")

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Refuse: there are no replies with updates.

        Parameters
        ----------
        server_round : int
            Not used.
        replies : iterable of Message
            Not used.
        """
        del server_round, replies
        raise RoundError("VeilsumStrategy plays its rounds itself: call start()")

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return the inner strategy's messages.

        Parameters
        ----------
        server_round : int
            The round.
        arrays : ArrayRecord
            The model; empty where the sites have it and the server does not.
        config : ConfigRecord
            For the sites.
        grid : Grid
            Flower's.
        """
        made: Iterable[Message] = self.inner.configure_evaluate(server_round, arrays, config, grid)
        return made

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return what the inner strategy makes of the sites' evaluations.

        Parameters
        ----------
        server_round : int
            The round.
        replies : iterable of Message
            With the metrics that sites' policies let out.
        """
        made: MetricRecord | None = self.inner.aggregate_evaluate(server_round, replies)
        return made

    def summary(self) -> None:
        """Log what is summed and who opens it."""
        terms = self._terms(1)
        LOG.info("sums are opened by %s; the mean goes to the %s", terms.who_opens, self._result)
        self.inner.summary()

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Any = None,
    ) -> Result:
        """Train.

        Parameters
        ----------
        grid : Grid
            Flower's.
        initial_arrays : ArrayRecord
            The initial model, the same for all sites.
        num_rounds : int
            How many rounds, counted from the training's beginning.
        timeout : float
            Seconds without any word from a site, its training included, until it counts as gone.
        train_config, evaluate_config : ConfigRecord, optional
            For the sites' functions.
        evaluate_fn : callable, optional
            `evaluate_fn(round, arrays)` with ``result="server"``; as Flower has it.

        Returns
        -------
        Result
            As Flower's; without arrays where only the clouds have the model.

        Raises
        ------
        veilsum.RoundError
            When sites are missing at the beginning, or too few members answer.
        veilsum.VeilsumError
            When a sum was changed.
        """
        from flwr.serverapp.strategy import Result as Made

        self.summary()
        run = _Run(self, grid, initial_arrays, num_rounds, timeout, train_config)
        self._transport = [run.transport]
        result: Result = Made()
        app = flower()
        if evaluate_fn is not None and self._result == "server":
            _note(result.evaluate_metrics_serverapp, 0, evaluate_fn(0, initial_arrays))
        for number in range(run.coordinator.played + 1, num_rounds + 1):
            played = run.round(number)
            self.played.append(played)
            metrics = app.MetricRecord({"clouds": len(played.uploads), **_seconds(played)})
            if run.metrics is not None:
                metrics = app.MetricRecord({**dict(run.metrics), **dict(metrics)})
            result.train_metrics_clientapp[number] = metrics
            LOG.info("round %d: %s", number, played.skipped or f"summed {len(played.uploads)}")
            arrays = run.arrays if self._result == "server" else app.ArrayRecord()
            self._evaluate(number, arrays, evaluate_config, grid, result, timeout)
            if evaluate_fn is not None and self._result == "server":
                _note(result.evaluate_metrics_serverapp, number, evaluate_fn(number, arrays))
        if self._result == "server":
            result.arrays = run.arrays
        return result

    def _evaluate(
        self,
        number: int,
        arrays: ArrayRecord,
        config: ConfigRecord | None,
        grid: Grid,
        result: Result,
        timeout: float,
    ) -> None:
        app = flower()
        asked = app.ConfigRecord() if config is None else config
        messages = list(self.configure_evaluate(number, arrays, asked, grid))
        if not messages:
            return
        replies = grid.send_and_receive(messages, timeout=min(timeout, self._away_s))
        _note(result.evaluate_metrics_clientapp, number, self.aggregate_evaluate(number, replies))


class _Run:
    """One run of the server: the coordinator, and what it gave and got beside the sums."""

    def __init__(
        self,
        strategy: VeilsumStrategy,
        grid: Grid,
        initial: ArrayRecord,
        rounds: int,
        timeout: float,
        config: ConfigRecord | None,
    ) -> None:
        self._strategy = strategy
        self._home = strategy._home
        self._reads = strategy._result == "server"
        self._grid = grid
        self.arrays = initial
        self.metrics: MetricRecord | None = None
        self._config = flower().ConfigRecord() if config is None else config
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        terms = strategy._terms(rounds)
        kept = self._home / _COORDINATOR
        begun = self._home / "begin"
        if kept.exists():
            # Rounds are counted from the beginning: more of them are no other training.
            old = json.loads((self._home / "rounds.json").read_bytes())
            terms = strategy._terms(int(old))
            self.coordinator = Coordinator.from_bytes(
                terms, time.perf_counter, kept.read_bytes(), self._left_out
            )
        else:
            self.coordinator = Coordinator(terms, time.perf_counter, leave_out=self._left_out)
            write_whole(self._home / "rounds.json", json.dumps(rounds).encode())
            write_whole(begun, self._begin(terms))
            self._keep()
        self.carrier = FlowerCarrier(
            grid, self.coordinator.training, terms.clouds, self._known_identities()
        )
        patience = Patience(reply_s=timeout, away_s=strategy._away_s)
        self.transport = FlowerTransport(self.carrier, self._home / "replies", patience)
        self.coordinator.aggregator.folder = self._home / "replies"
        self.transport.most_bytes = _most_bytes(begun.stat().st_size, terms)
        self.carrier.gather(strategy._gather_s)
        if self.coordinator.played < 0:
            self._setup(begun.read_bytes())
        for number in range(1, self.coordinator.played + 1):
            self._again(number)

    @property
    def _clouds(self) -> list[Party]:
        return [Party("cloud", number) for number in range(self.coordinator.terms.clouds)]

    def _known_identities(self) -> dict[int, bytes]:
        pinned = pinned_roster(self._home)
        if pinned:
            return dict(enumerate(pinned))
        path = self._home / _IDENTITIES
        found = json.loads(path.read_bytes()) if path.exists() else {}
        return {int(cloud): bytes.fromhex(one) for cloud, one in found.items()}

    def _left_out(self, cloud: int, reason: str) -> None:
        LOG.warning("cloud %d is left out: %s", cloud + 1, printable(reason))

    def _keep(self) -> None:
        write_whole(self._home / _COORDINATOR, self.coordinator.to_bytes())

    def _begin(self, terms: Terms) -> bytes:
        header = {
            "terms": terms.agreed(),
            "result": self._strategy._result,
            "config": json_config(self._configured(1)),
        }
        return Packed(header, _numpy(self.arrays)).to_bytes()

    def _setup(self, begun: bytes) -> None:
        identities = {str(k): one.hex() for k, one in self.carrier.identities.items()}
        write_whole(self._home / _IDENTITIES, json.dumps(identities).encode())
        replies = self.transport.call("begin", dict.fromkeys(self._clouds, begun))
        for party, reply in replies.items():
            if reply.refused().data is None:
                raise RoundError(f"{party} did not reply; no training begins without it")
        drive(self.coordinator.begin(), self.transport)
        self._keep()

    def _configured(self, number: int) -> Mapping[str, Any]:
        """Return what the inner strategy tells the sites for a round."""
        app = flower()
        config = app.ConfigRecord(dict(self._config))
        messages = self._strategy.inner.configure_train(
            number, self.arrays, config, _Nodes(self._strategy._clouds)
        )
        for message in messages:
            for record in message.content.config_records.values():
                made: Mapping[str, Any] = dict(record)
                return made
        return dict(config)

    # A round.

    def round(self, number: int) -> PlayedRound:
        """Play a round, and give the inner strategy its mean where the server reads."""
        if self._reads:
            self._give(number)
        start = time.perf_counter()
        played: PlayedRound = drive(self.coordinator.round(number), self.transport)
        played.seconds["round"] = time.perf_counter() - start
        if self._reads and not played.skipped:
            data = self._fetch_mean(number, played)
            write_whole(self._home / f"mean-{number:06d}", data)
            self._aggregate(number, data, len(played.uploads))
        self._keep()
        self.transport.forget()
        return played

    def _give(self, number: int) -> None:
        """Give the round's model to all sites that are there, with those that they missed."""
        path = self._home / f"model-{number:06d}"
        config = json_config(self._configured(number))
        if not path.exists():
            packed = Packed({"round": number, "config": config}, _numpy(self.arrays))
            write_whole(path, packed.to_bytes())
        for one in sorted(self._home.glob("model-*")):
            given = self._home / f"{one.name.replace('model', 'given')}.json"
            told = set(json.loads(given.read_bytes())) if given.exists() else set()
            left = [party for party in self._clouds if party.number not in told]
            if not left:
                continue
            replies = self.transport.call("model", dict.fromkeys(left, one.read_bytes()))
            told |= {party.number for party, reply in replies.items() if reply.data is not None}
            write_whole(given, json.dumps(sorted(told)).encode())

    def _fetch_mean(self, number: int, played: PlayedRound) -> bytes:
        """Return the mean that most clouds have; a threshold of them must have the same."""
        clouds = [Party("cloud", one.client) for one in played.clouds if one.state == "summed"]
        asked = Packed({"round": number, "whole": False}, {}).to_bytes()
        replies = self.transport.call("mean", dict.fromkeys(clouds, asked))
        votes = Counter(reply.data for reply in replies.values() if reply.data)
        needed = self.coordinator.terms.threshold
        digest, count = votes.most_common(1)[0] if votes else (b"", 0)
        if count < needed:
            raise RoundError(
                f"{count} clouds say the same of the mean of round {number}, and it takes {needed}"
            )
        whole = Packed({"round": number, "whole": True}, {}).to_bytes()
        for party in [one for one in clouds if replies[one].data == digest]:
            reply = self.transport.call("mean", {party: whole})[party]
            data = reply.data if reply.file is None else reply.file.read_bytes()
            if data is not None and digest_of(data) == digest:
                return data
        raise RoundError(f"no cloud sent the mean of round {number}")

    def _aggregate(self, number: int, data: bytes, clouds: int) -> None:
        """Hand the mean to the inner strategy as one reply."""
        app, inner = flower(), self._strategy.inner
        mean = Packed.from_bytes(data).arrays
        moved = {
            name: app.Array(_moved(array, mean[name]))
            for name, array in _numpy(self.arrays).items()
        }
        content = app.RecordDict(
            {
                inner.arrayrecord_key: app.ArrayRecord(moved),
                "metrics": app.MetricRecord({inner.weighted_by_key: clouds}),
            }
        )
        reply = app.Message(content, dst_node_id=1, message_type="train")
        arrays, self.metrics = inner.aggregate_train(number, [reply])
        if arrays is not None:
            self.arrays = arrays

    def _again(self, number: int) -> None:
        """Bring the inner strategy to where it stood before the server was restarted."""
        path = self._home / f"mean-{number:06d}"
        if self._reads and path.exists():
            self._configured(number)
            self._aggregate(number, path.read_bytes(), self._strategy._clouds)


class _Nodes:
    """A grid of as many nodes as there are clouds, for strategies that draw some."""

    def __init__(self, count: int) -> None:
        self._count = count

    def get_node_ids(self) -> list[int]:
        return list(range(1, self._count + 1))


def _check_inner(inner: Any, result: str) -> None:
    from flwr.serverapp import strategy as known

    name = type(inner).__name__
    for refused, why in _SINGLE.items():
        kind = getattr(known, refused, None)
        if kind is not None and isinstance(inner, kind):
            raise ParameterError(f"{refused} cannot be encrypted: {why}")
    if name.startswith(_DIFFERENTIAL):
        raise ParameterError(
            f"{name} cannot be encrypted: its server clips single updates, or adds the noise to a "
            "mean that it has read"
        )
    if not isinstance(inner, known.FedAvg):
        raise ParameterError(
            f"inner is {type_name(inner)}; it must be one of Flower's averaging strategies"
        )
    if result == "clients" and type(inner).__name__ not in _RULES:
        raise ParameterError(
            f'with result="clients" the sites apply the strategy, and they know '
            f'{", ".join(_RULES)}; {name} takes result="server"'
        )


_RULES = ("FedAvg", "FedProx", "FedAvgM", "FedAdam", "FedYogi")


def _optimiser(inner: Any) -> dict[str, Any]:
    """Return the options that have each site do what a strategy does with a mean."""
    name = type(inner).__name__
    if name == "FedAvgM":
        return {
            "server_optimiser": "fedavgm",
            "server_learning_rate": inner.server_learning_rate,
            "server_momentum": inner.server_momentum,
        }
    if name in ("FedAdam", "FedYogi"):
        return {
            "server_optimiser": name.lower(),
            "server_learning_rate": inner.eta,
            "server_momentum": inner.beta_1,
            "server_second_moment": inner.beta_2,
            "server_adaptivity": inner.tau,
        }
    return {}


def _numpy(arrays: ArrayRecord) -> dict[str, NDArray[Any]]:
    return {name: array.numpy() for name, array in arrays.items()}


def _moved(array: NDArray[Any], mean: NDArray[Any]) -> NDArray[Any]:
    value = array.astype(np.float64) + mean
    made: NDArray[Any] = (np.rint(value) if array.dtype.kind != "f" else value).astype(array.dtype)
    return made


def _most_bytes(model_bytes: int, terms: Terms) -> int:
    """Return more than any right reply has: eight bytes a value, and each member's shares."""
    return 8 * model_bytes + terms.members * 2**20 + 2**26


def _seconds(played: PlayedRound) -> dict[str, float]:
    return {f"seconds.{name}": spent for name, spent in played.seconds.items()}


def _note(where: dict[int, Any], number: int, metrics: Any) -> None:
    if metrics is not None:
        where[number] = metrics
