"""Ways to get from one global model to the next, behind one interface.

Federated loop. One class a file; `make_method` makes each by its name in `METHODS`, over the same
data, inputs, seeds and rounds (`setting.Setting`).
"""

from __future__ import annotations

from veilsum.federated.methods.base import CloudRound, Method, RoundOutcome, Stopwatch
from veilsum.federated.methods.centralised import Centralised
from veilsum.federated.methods.dp_fl import DpFl
from veilsum.federated.methods.encrypted import EncryptedAveraging
from veilsum.federated.methods.fedavg import FedAvg
from veilsum.federated.methods.he_fl import HeFl
from veilsum.federated.methods.plain import PlainMethod
from veilsum.federated.methods.registry import METHODS, make_method
from veilsum.federated.methods.setting import Setting, prepare

__all__ = [
    "METHODS",
    "Centralised",
    "CloudRound",
    "DpFl",
    "EncryptedAveraging",
    "FedAvg",
    "HeFl",
    "Method",
    "PlainMethod",
    "RoundOutcome",
    "Setting",
    "Stopwatch",
    "make_method",
    "prepare",
]
