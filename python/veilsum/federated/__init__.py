"""Federated training with encrypted aggregation.

Above the crypto API (`veilsum`) and the data sets (`veilsum.data`). Parties are separate objects
that exchange bytes: `client.Client`, `aggregator.AggregatorServer`, `authority.AuthorityService`.
`methods` moves the bytes between them, `loop.train` runs the whole, `command` is `veilsum train`.

    from veilsum.federated import TrainConfig, train

    run = train(TrainConfig.load("examples/train.toml"))
    print(run.summary["final"]["veilsum"]["auc"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from veilsum.federated.config import TrainConfig

if TYPE_CHECKING:
    from veilsum.federated.experiment import MethodRun, run_method
    from veilsum.federated.loop import TrainingRun, train
    from veilsum.federated.methods import METHODS, make_method

__all__ = [
    "METHODS",
    "MethodRun",
    "TrainConfig",
    "TrainingRun",
    "make_method",
    "run_method",
    "train",
]

_LAZY = {
    "METHODS": "methods",
    "MethodRun": "experiment",
    "TrainingRun": "loop",
    "make_method": "methods",
    "run_method": "experiment",
    "train": "loop",
}


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import; whoever only wants the configuration does not wait for it.
    if name in _LAZY:
        import importlib

        from veilsum.errors import missing_extra

        try:
            module = importlib.import_module(f"veilsum.federated.{_LAZY[name]}")
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise missing_extra("federated training", "torch", "train") from error
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
