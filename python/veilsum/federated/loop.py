"""The training run: data, parties, rounds, yardsticks, and what is written about them.

Federated loop, top. `train` puts the parts together; each of them can be used without it. Whoever
wants to watch passes an `Observer`; the terminal view and TensorBoard are observers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from veilsum import data
from veilsum.data import Study
from veilsum.federated import environment
from veilsum.federated.config import TrainConfig
from veilsum.federated.methods import (
    EncryptedAveraging,
    Method,
    PlaintextAveraging,
    RoundOutcome,
)
from veilsum.federated.metrics import Evaluator, MetricsLog, Record, scores
from veilsum.federated.model import choose_device, initial_parameters
from veilsum.federated.run_directory import (
    CENTRALISED,
    METRICS,
    MODEL,
    PLAINTEXT,
    create_run_directory,
    write_summary,
)
from veilsum.federated.seeds import numpy_generator
from veilsum.federated.server import server_optimiser
from veilsum.federated.threads import choose_threads
from veilsum.federated.training import LocalTrainer
from veilsum.federated.weights import UniformWeights, weight_rule
from veilsum.files import write_update


class Observer(Protocol):
    """Watches a run; all methods are called from the thread that trains."""

    def run_started(self, folder: Path, summary: Mapping[str, Any]) -> None:
        """Hear that the parties exist and rounds are about to begin.

        Parameters
        ----------
        folder : Path
            The run's folder.
        summary : mapping
            As run.json has it so far.
        """
        ...

    def round_finished(self, record: Record) -> None:
        """Hear that a round was evaluated.

        Parameters
        ----------
        record : dict
            As metrics.jsonl has it.
        """
        ...

    def run_ended(self, summary: Mapping[str, Any]) -> None:
        """Hear that the run is over; also after an interrupt or an error.

        Parameters
        ----------
        summary : mapping
            As run.json has it.
        """
        ...


@dataclass
class TrainingRun:
    """What `train` returns.

    Parameters
    ----------
    folder : Path
        The run's folder.
    summary : dict
        As run.json has it.
    records : list of dict
        As metrics.jsonl has them.
    parameters : dict of str to ndarray
        The final global model; empty when no round was finished.
    """

    folder: Path
    summary: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    parameters: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt ended the run early."""
        return bool(self.summary["status"] == "interrupted")


@dataclass(frozen=True)
class Federation:
    """A study spread over clouds.

    Parameters
    ----------
    study : Study
        All rows; only its public part (features, title) is for everyone.
    clouds : tuple of Study
        Each cloud's own training rows.
    held_out : Study
        Rows that nobody trains on.
    """

    study: Study
    clouds: tuple[Study, ...]
    held_out: Study


def spread(config: TrainConfig) -> Federation:
    """Load the study and spread it over the clouds, as the configuration says.

    Parameters
    ----------
    config : TrainConfig
        Its sections run (seed) and data.

    Raises
    ------
    veilsum.ParameterError
        When a feature to leave out does not exist, or a cloud would get no rows.
    veilsum.BackendUnavailableError
        When the study's package is not installed.
    """
    options, seed = config.data, config.run.seed
    study = data.load(options.study)
    ages = study.column("age") if options.split == "age" else None
    study = study.without(options.leave_out)
    training, held_out = data.held_out_rows(
        study.labels, options.test_fraction, numpy_generator(seed, "held-out rows")
    )
    generator = numpy_generator(seed, "clouds")
    if ages is None:
        order = generator.permutation(len(training))
    else:
        order = data.rows_by_order(ages[training], options.age_overlap, generator)
    shares = options.shares or data.imbalanced_shares(options.clouds, options.imbalance)
    clouds = data.rows_of_clouds(order, shares)
    return Federation(
        study,
        tuple(study.subset(training[rows]) for rows in clouds),
        study.subset(held_out),
    )


def train(config: TrainConfig, observers: Sequence[Observer] = ()) -> TrainingRun:
    """Train a model over clouds whose updates are only ever summed under encryption.

    Everything about the run is written to a new folder as it happens. An interrupt (Ctrl-C) ends
    the run after the last whole record and is reported in the result, not raised.

    Parameters
    ----------
    config : TrainConfig
        Every choice.
    observers : sequence of Observer
        Who watches.

    Returns
    -------
    TrainingRun
        Folder, summary, records and final model.

    Raises
    ------
    veilsum.VeilsumError
        When a choice cannot be held, a party refuses what another sends, or training diverges.
    OSError
        When the folder cannot be written.
    """
    device = choose_device(config.run.device)
    federation = spread(config)
    threads = choose_threads(config, len(federation.study.features))
    with _reproducible(threads.pytorch):
        started = time.time()
        method = EncryptedAveraging(config, federation.clouds)
        evaluator = Evaluator(
            method.preprocessor.transform(federation.held_out),
            federation.held_out.labels,
            config.model,
            device,
        )
        folder = create_run_directory(config)
        summary = _describe(config, federation, method, device, threads.core, started)
        run = TrainingRun(folder, summary)
        write_summary(folder, summary)
        with MetricsLog(folder / METRICS) as log:
            try:
                for observer in observers:
                    observer.run_started(folder, summary)
                _rounds(method, config, evaluator, run, log, observers)
                if config.run.baseline:
                    _yardsticks(config, federation, method, evaluator, run, log, observers, device)
                summary["status"] = "finished"
            except KeyboardInterrupt:
                summary["status"] = "interrupted"
            except BaseException as error:
                summary["status"] = "failed"
                summary["error"] = f"{type(error).__name__}: {error}"
                raise
            finally:
                _conclude(run, method.parameters)
                summary["seconds"] = time.time() - started
                write_summary(folder, summary)
                for observer in observers:
                    observer.run_ended(summary)
    return run


def _rounds(
    method: Method,
    config: TrainConfig,
    evaluator: Evaluator,
    run: TrainingRun,
    log: MetricsLog,
    observers: Sequence[Observer],
) -> None:
    for number in range(1, config.training.rounds + 1):
        start = time.perf_counter()
        outcome = method.run_round(number)
        evaluation = time.perf_counter()
        result = evaluator.evaluate(outcome.parameters)
        end = time.perf_counter()
        record = _record(method.name, number, outcome)
        record |= asdict(result)
        record["seconds"] = outcome.seconds | {"evaluate": end - evaluation, "total": end - start}
        log.append(record)
        run.records.append(record)
        for observer in observers:
            observer.round_finished(record)


def _record(method: str, number: int, outcome: RoundOutcome) -> Record:
    return {
        "method": method,
        "round": number,
        "train_loss": outcome.train_loss,
        "clipped": sum(upload.clipped for upload in outcome.uploads),
        "clouds": [
            {
                "client": upload.client,
                "payload_bytes": upload.payload_bytes,
                "clipped": upload.clipped,
            }
            for upload in outcome.uploads
        ],
        "bytes": outcome.message_bytes,
        "limits": outcome.limits,
        "entropy": [upload.entropy for upload in outcome.uploads],
    }


def _yardsticks(
    config: TrainConfig,
    federation: Federation,
    method: EncryptedAveraging,
    evaluator: Evaluator,
    run: TrainingRun,
    log: MetricsLog,
    observers: Sequence[Observer],
    device: torch.device,
) -> None:
    """Train again in the clear, over the clouds and on all rows at one place."""
    preprocessor = method.preprocessor
    inputs = [preprocessor.transform(study) for study in federation.clouds]
    labels = [study.labels for study in federation.clouds]
    parameters = initial_parameters(config.model, len(preprocessor.names), config.run.seed)

    def trainer(rows: NDArray[np.float32], marks: NDArray[np.int64], cloud: int) -> LocalTrainer:
        return LocalTrainer(
            rows,
            marks,
            config.model,
            config.training,
            seed=config.run.seed,
            cloud=cloud,
            device=device,
        )

    weights = weight_rule(config.aggregation.weights, len(inputs), method.moments.rows)
    clouds = [trainer(inputs[i], labels[i], i) for i in range(len(inputs))]
    pooled_inputs, pooled_labels = np.concatenate(inputs), np.concatenate(labels)
    pooled = trainer(pooled_inputs, pooled_labels, len(inputs))
    run.summary["logistic_regression"] = _logistic_regression(
        pooled_inputs,
        pooled_labels,
        preprocessor.transform(federation.held_out),
        federation.held_out.labels,
    )
    for yardstick in (
        PlaintextAveraging(
            PLAINTEXT, clouds, weights, parameters, server_optimiser(config.aggregation)
        ),
        PlaintextAveraging(
            CENTRALISED,
            [pooled],
            UniformWeights(),
            parameters,
            server_optimiser(config.aggregation),
        ),
    ):
        _rounds(yardstick, config, evaluator, run, log, observers)


def _logistic_regression(
    inputs: NDArray[np.float32],
    labels: NDArray[np.int64],
    held_out_inputs: NDArray[np.float32],
    held_out_labels: NDArray[np.int64],
) -> dict[str, float]:
    """Score scikit-learn's logistic regression on all rows at one place."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000).fit(inputs, labels)
    return asdict(scores(held_out_labels, model.predict_proba(held_out_inputs)[:, 1]))


def _describe(
    config: TrainConfig,
    federation: Federation,
    method: EncryptedAveraging,
    device: torch.device,
    threads: int,
    started: float,
) -> dict[str, Any]:
    """Collect what is known of a run before its first round."""
    study = federation.study
    parameters = method.parameters
    return {
        "status": "running",
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(started)),
        "configuration": config.to_mapping(),
        "min_clients": config.min_clients,
        "environment": environment.describe(device, threads),
        "study": {
            "name": study.name,
            "title": study.title,
            "source": study.source,
            "outcome": study.outcome,
            "rows": len(study),
            "left_out": [list(pair) for pair in study.left_out],
        },
        "inputs": method.preprocessor.describe(),
        # Known here only because one process plays all parties; see the report's limitations.
        "clouds": [
            _describe_rows(f"cloud {i + 1}", rows) for i, rows in enumerate(federation.clouds)
        ],
        "held_out": _describe_rows("held out", federation.held_out),
        "pooled_rows": method.moments.rows,
        "model": {
            "tensors": {name: list(array.shape) for name, array in parameters.items()},
            "values": sum(array.size for array in parameters.values()),
        },
        "plan": {
            "explanation": method.plan.explain(),
            "security": method.plan.security,
            "value_bits": method.plan.value_bits,
            "ring_degree": method.plan.ring_degree,
            "log2_modulus": method.plan.log2_modulus,
            "bytes_per_value": method.plan.bytes_per_value,
            "capsule_bytes": method.plan.capsule_bytes,
            "id": method.plan.id.hex(),
        },
    }


def _describe_rows(name: str, study: Study) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": name,
        "rows": len(study),
        "positives": int(study.labels.sum()),
        "rate": study.outcome_rate,
    }
    if any(feature.name == "age" for feature in study.features):
        ages = study.column("age")
        described["age"] = {
            "mean": float(ages.mean()),
            "low": float(np.quantile(ages, 0.05)),
            "high": float(np.quantile(ages, 0.95)),
        }
    return described


def _conclude(run: TrainingRun, parameters: dict[str, NDArray[np.float32]]) -> None:
    """Keep the model of the last opened round, and each method's last scores."""
    if not run.records:
        return
    run.parameters = parameters
    write_update(run.folder / MODEL, parameters)
    keys = ("round", "auc", "auc_standard_error", "accuracy", "log_loss")
    run.summary["final"] = {
        record["method"]: {key: record[key] for key in keys} for record in run.records
    }


@contextmanager
def _reproducible(threads: int) -> Iterator[None]:
    """Have PyTorch use algorithms that give the same bits each time; restored afterwards."""
    before = bool(torch.are_deterministic_algorithms_enabled())
    threads_before = torch.get_num_threads()
    # cuBLAS reads it when it starts; without it, its results may differ between runs.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.set_num_threads(threads_before)
