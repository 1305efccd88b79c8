"""Training on all rows at one place: what federated methods are measured against.

Federated loop, methods. Nothing travels in a round; the rows themselves did, once, before the
first.
"""

from __future__ import annotations

from veilsum.learning.server_optimisers import FederatedAveraging
from veilsum.learning.task import Parameters
from veilsum.run_names import CENTRALISED
from veilsum.training.outcome import CloudRound, RoundOutcome, Stopwatch
from veilsum.training.setting import Setting


class Centralised:
    """The same network, epochs and rounds on the pooled rows.

    Parameters
    ----------
    setting : Setting
        Data, inputs, initial model.
    """

    name = CENTRALISED

    def __init__(self, setting: Setting) -> None:
        self._trainer = setting.pooled_trainer()
        self._parameters: Parameters = setting.initial_parameters()
        # A local result is the new model itself: there is nothing to optimise at a server.
        self._optimiser = FederatedAveraging()
        columns = len(setting.preprocessor.names) + 1
        self._row_bytes = [4 * columns * len(rows) for rows in setting.inputs]

    @property
    def parameters(self) -> Parameters:
        """The model."""
        return self._parameters

    @property
    def setup_bytes(self) -> int:
        """The largest cloud's rows and labels as float32."""
        return max(self._row_bytes)

    def run_round(self, number: int) -> RoundOutcome:
        """Run a round, from 1 on, in order.

        Parameters
        ----------
        number : int
            The round.

        Raises
        ------
        veilsum.VeilsumError
            When training diverges.
        """
        watch = Stopwatch()
        place = CloudRound(0)
        with watch.phase("train", place):
            result = self._trainer.train(self._parameters, number)
            self._parameters = self._optimiser.step(self._parameters, result.update)
        place.loss, place.weight = result.loss, 1.0
        return RoundOutcome(
            parameters=self._parameters,
            train_loss=result.loss,
            seconds=watch.seconds,
            clouds=[place],
        )
