"""A site's ClientApp: the researcher's functions, and Veilsum around them.

Flower's adapter. The train function is written as always (`@app.train()`); its reply never leaves
the process. The server's messages for Veilsum go to the site's party. A plain train message is
refused: an app of this kind sends updates encrypted or not at all.

The app's code runs where the keys are: it comes with Flower's app bundle, so whoever may change
that bundle is trusted by the site (docs/flower.md). The SuperLink and the ServerApp are not.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from veilsum.errors import ParameterError, RoundError, VeilsumError
from veilsum.flower.policy import SitePolicy
from veilsum.flower.site import Site, newest_training
from veilsum.transport.files import write_refusal
from veilsum.transport.flower.carrier import flower, hello_message, read_slip, write_slip
from veilsum.transport.flower.slips import Slip

if TYPE_CHECKING:
    from flwr.app import Context, Message
    from flwr.clientapp import ClientApp as _Base
else:
    try:
        from flwr.clientapp import ClientApp as _Base
    except ImportError:  # said in words when it is made
        _Base = object

LOG = logging.getLogger("veilsum.flower")

_PREFIX = "query.veilsum"
HOME = "veilsum-home"
"""In a SuperNode's configuration: the site's folder."""

SIMULATION = "VEILSUM_SIMULATION"
"""In the environment: 1 where sites are simulated, so that their server is trusted."""


class VeilsumClientApp(_Base):
    """A ClientApp whose updates leave it encrypted, and no other way.

    Parameters
    ----------
    rows : callable
        `rows(context)` returns how many rows the site trains on: what it counts by. The train
        function must say the same number as its `num-examples`.
    simulation : str or path, optional
        Collects the folders of simulated sites, whose server is trusted to say who they are.
        Sites of a deployment have `veilsum-home` in their SuperNode's configuration instead.

    Raises
    ------
    veilsum.BackendUnavailableError
        When Flower is not installed.

    Examples
    --------
    >>> app = VeilsumClientApp(rows=lambda context: len(load(context)))  # doctest: +SKIP
    >>> @app.train()  # doctest: +SKIP
    ... def train(message, context): ...
    """

    def __init__(
        self, rows: Callable[[Context], int], *, simulation: str | Path | None = None
    ) -> None:
        flower()
        super().__init__()
        self._rows = rows
        self._simulation = None if simulation is None else Path(simulation).absolute()

    def __call__(self, message: Message, context: Context) -> Message:
        """Execute the app: Flower calls it with each message.

        Parameters
        ----------
        message : Message
            From the server.
        context : Context
            Of the node; nothing of Veilsum's is kept in it.
        """
        kind = message.metadata.message_type
        if kind.startswith(_PREFIX):
            return self._answer(message, context)
        if kind.partition(".")[0] == "train":
            raise RoundError(
                "the server asks for an update in the clear; this app sends none: use "
                "VeilsumStrategy in the ServerApp"
            )
        if kind.partition(".")[0] == "evaluate":
            return self._evaluate(message, context)
        made: Message = super().__call__(message, context)
        return made

    def site(self, context: Context, training: bytes, message: Message | None = None) -> Site:
        """Return the site at its folder.

        Parameters
        ----------
        context : Context
            Of the node.
        training : bytes
            What names the training.
        message : Message, optional
            Whose metadata a train message gets.

        Raises
        ------
        veilsum.VeilsumError
            When the site has no folder, or one that is not complete.
        """
        home, trusted = self._home(context)
        policy = SitePolicy.load(home)
        if trusted:
            policy = SitePolicy(server_reads=True, metrics=("*",))

        def train(
            arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any], number: int
        ) -> tuple[Mapping[str, NDArray[Any]], int, float]:
            if message is None:
                raise RoundError("a site trains when it is asked to encrypt")
            return self._train(message, context, arrays, config, number)

        return Site(
            home,
            training,
            rows=lambda: self._rows(context),
            train=train,
            policy=policy,
            cloud=int(context.node_config.get("partition-id", -1)),
            trusted=trusted,
            run_config=context.run_config,
        )

    def _home(self, context: Context) -> tuple[Path, bool]:
        home = context.node_config.get(HOME)
        if home is not None:
            return Path(str(home)), False
        # The server of a simulation is trusted with everything. Whether this is one is for the
        # site's own machine to say: a folder that was misspelt must not make a hospital one.
        if self._simulation is None or os.environ.get(SIMULATION) != "1":
            raise ParameterError(
                f"this site has no folder: say {HOME}='\"/path\"' in the SuperNode's "
                f"--node-config; for a simulation, whose server is trusted with all updates, set "
                f"{SIMULATION}=1 where it runs"
            )
        number = context.node_config.get("partition-id", "none")
        return self._simulation / f"cloud-{number}", True

    def _answer(self, message: Message, context: Context) -> Message:
        try:
            slip = read_slip(message.content)
            training = slip.digest("training")
            site = self.site(context, training, message)
            if slip.kind == "hello":
                answer = _hello(site, slip, training, context.node_id)
            else:
                answer = site.handle(slip)
        except VeilsumError as reason:
            LOG.warning("refused: %s", reason)
            answer = Slip("refused", {}, write_refusal(reason))
        made: Message = flower().Message(write_slip(answer), reply_to=message)
        return made

    def _train(
        self,
        message: Message,
        context: Context,
        arrays: Mapping[str, NDArray[Any]],
        config: Mapping[str, Any],
        number: int,
    ) -> tuple[Mapping[str, NDArray[Any]], int, float]:
        """Hand the researcher's function a train message like Flower's."""
        app = flower()
        content = app.RecordDict(
            {
                "arrays": _record(arrays),
                "config": app.ConfigRecord({**config, "server-round": number}),
            }
        )
        try:
            reply = super().__call__(_as(message, "train", content), context)
        except VeilsumError:
            raise
        except Exception as error:
            # Its words may be of rows, and Flower would send them.
            LOG.exception("the train function raised an error")
            raise RoundError(
                f"the train function raised {type(error).__name__}; nothing was encrypted"
            ) from None
        if reply.has_error():
            raise RoundError("the train function replied with an error; nothing was encrypted")
        trained = _only(reply.content.array_records, "arrays")
        metrics: dict[str, Any] = {}
        for record in reply.content.metric_records.values():
            metrics.update(record)
        if "num-examples" not in metrics:
            raise ParameterError("the train function's reply has no metric num-examples")
        loss: Any = metrics.get("train_loss", metrics.get("loss", 0.0))
        return (
            {name: one.numpy() for name, one in trained.items()},
            int(metrics["num-examples"]),
            float(loss),
        )

    def _evaluate(self, message: Message, context: Context) -> Message:
        """Evaluate the model that the site itself has, and say what its policy lets out."""
        app = flower()
        home, trusted = self._home(context)
        site = self.site(context, newest_training(home))
        allowed = ("*",) if trusted else SitePolicy.load(home).metrics
        content = app.RecordDict(dict(message.content.items()))
        # Scores of a model of the server's choice would tell more of the rows than the policy lets
        # out.
        if site.reads_alone:
            for key in list(message.content.array_records) or ["arrays"]:
                content[key] = _record(site.model(summed=True))
        try:
            reply: Message = super().__call__(_as(message, "evaluate", content), context)
        except Exception as error:
            LOG.exception("the evaluation raised an error")
            raise RoundError(f"the evaluation raised {type(error).__name__}") from None
        if reply.has_error():
            raise RoundError("the evaluation replied with an error")
        kept: dict[str, Any] = {}
        for name, record in reply.content.metric_records.items():
            shown = {
                one: value
                for one, value in record.items()
                if "*" in allowed or one in allowed or one == "num-examples"
            }
            kept[name] = app.MetricRecord(shown)
        made: Message = app.Message(app.RecordDict(kept), reply_to=message)
        return made


def _hello(site: Site, slip: Slip, training: bytes, node: int) -> Slip:
    challenge = slip.digest("challenge")
    signed = site.identity.sign(hello_message(challenge, training, node, site.cloud))
    identity = site.identity.public.to_bytes()
    return Slip("hello", {"cloud": site.cloud, "identity": identity, "signature": signed})


def _record(arrays: Mapping[str, NDArray[Any]]) -> Any:
    app = flower()
    return app.ArrayRecord({name: app.Array(np.asarray(one)) for name, one in arrays.items()})


def _only(records: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the one record of arrays that a message has; empty where it has none."""
    if name in records:
        found: Mapping[str, Any] = records[name]
        return found
    if len(records) > 1:
        raise ParameterError(f"a message has {len(records)} records of arrays; one is the model")
    return next(iter(records.values()), {})


def _as(message: Message, kind: str, content: Any) -> Message:
    """Return a message like one of Flower's, with the metadata of the one that came."""
    from flwr.app.message import make_message

    metadata = copy.copy(message.metadata)
    metadata.__dict__["_message_type"] = kind
    return make_message(metadata=metadata, content=content)
