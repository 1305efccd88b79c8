"""A whole training run: configuration, rows, rounds, and what is written about them.

Above the parties and their transports, below the command line. `run.train` runs everything that a
`config.TrainConfig` says, and writes a run's folder.

    from veilsum.training import TrainConfig, train

    run = train(TrainConfig.load("examples/train.toml"))
    print(run.summary["final"]["veilsum"]["auc"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from veilsum.training.config import TrainConfig

if TYPE_CHECKING:
    from veilsum.training.run import TrainingRun, train

__all__ = ["TrainConfig", "TrainingRun", "train"]


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import; whoever only wants the configuration does not wait for it.
    if name in ("TrainingRun", "train"):
        import importlib

        from veilsum.errors import missing_extra

        try:
            module = importlib.import_module("veilsum.training.run")
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise missing_extra("federated training", "torch", "train") from error
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
