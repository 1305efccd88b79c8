"""How many threads encryption and PyTorch use.

Federated loop, bottom. A small network's layers, and its encryption too, take less time than waking
a second thread; on a busy machine, waiting for one costs many times the work itself. PyTorch and
the core may share one OpenMP runtime, where PyTorch's setting is the core's default as well; so the
core is always told its number.
"""

from __future__ import annotations

from typing import NamedTuple

from veilsum.learning.model import count_values
from veilsum.training.config import TrainConfig
from veilsum.training.environment import usable_cores

_SMALL_NETWORK = 1 << 20
"""Networks below this many parameters use one thread, unless configured otherwise."""


class Threads(NamedTuple):
    """Numbers of threads.

    Parameters
    ----------
    core : int
        For encryption, sums and decryption; at least 1.
    pytorch : int
        For training on the CPU; 0 for PyTorch's own choice.
    """

    core: int
    pytorch: int


def choose_threads(config: TrainConfig, inputs: int) -> Threads:
    """Resolve `run.threads`.

    Parameters
    ----------
    config : TrainConfig
        The run's configuration.
    inputs : int
        Number of the network's input columns.
    """
    if config.run.threads:
        return Threads(config.run.threads, config.run.threads)
    if not config.model.function and count_values(config.model, inputs) < _SMALL_NETWORK:
        return Threads(1, 1)
    return Threads(usable_cores(), 0)
