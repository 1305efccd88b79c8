"""Names of a run's files, and of the methods and kinds of outcome in its records.

Layer: Python API, bottom. Whoever runs writes under these names and whoever reports reads them;
neither needs to know the other:

    config.toml         the resolved configuration; `veilsum train` repeats the run from it, and
                        `vs.federate`, which is called, writes none
    run.json            what the run was and came to; replaced as a whole
    metrics.jsonl       one record a round and method; only ever appended to
    evaluation.json     the final model's curves and each cloud's scores, made when the run ends
    model.safetensors   the final global model
    events/             TensorBoard
    parties/            keys and messages of a run that has not finished; `--resume` goes on there
    plots/, report.html made from the files above; can be made again at any time
"""

from __future__ import annotations

__all__ = [
    "CENTRALISED",
    "CLASSES",
    "CONFIG",
    "DP_FL",
    "ENCRYPTED",
    "EVALUATION",
    "EVENTS",
    "HE_FL",
    "METRICS",
    "MODEL",
    "NUMBER",
    "PARTIES",
    "PLAINTEXT",
    "SUMMARY",
    "YES_OR_NO",
]

CONFIG = "config.toml"
SUMMARY = "run.json"
METRICS = "metrics.jsonl"
EVALUATION = "evaluation.json"
MODEL = "model.safetensors"
EVENTS = "events"
PARTIES = "parties"

ENCRYPTED = "veilsum"
PLAINTEXT = "fedavg"
CENTRALISED = "centralised"
HE_FL = "he-fl"
DP_FL = "dp-fl"
"""Names of the methods in records."""

YES_OR_NO, CLASSES, NUMBER = "yes_or_no", "classes", "number"
"""Kinds of outcome, under "outcome" in records; without it, scores have a user's own names."""
