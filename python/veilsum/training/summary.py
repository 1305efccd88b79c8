"""What run.json says of any run: who opens, the plan, the machine, the last scores.

Training. `train` and `federate` add what only they know.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from veilsum.learning.metrics import Record
from veilsum.protocol.terms import Terms
from veilsum.training import environment
from veilsum.training.encrypted import EncryptedRounds
from veilsum.training.rounds import FIELDS


def describe_run(
    method: EncryptedRounds,
    terms: Terms,
    configuration: Mapping[str, Any],
    device: torch.device,
    threads: int,
    started: float,
) -> dict[str, Any]:
    """Collect what is known of any run before its first round.

    Parameters
    ----------
    method : EncryptedRounds
        With its parties.
    terms : Terms
        What they agreed on.
    configuration : mapping
        Section -> option -> value.
    device : torch.device
        Where models train.
    threads : int
        That encryption uses.
    started : float
        Seconds since the epoch.
    """
    parameters, plan = method.parameters, method.plan
    return {
        "status": "running",
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(started)),
        "configuration": dict(configuration),
        "min_clients": terms.min_clients,
        "authority": {
            "kind": terms.encryption.authority,
            "members": terms.members,
            "threshold": terms.threshold,
        },
        "environment": environment.describe(device, threads),
        "model": {
            "tensors": {name: list(array.shape) for name, array in parameters.items()},
            "values": sum(array.size for array in parameters.values()),
        },
        "plan": {
            "explanation": plan.explain(),
            "security": plan.security,
            "value_bits": plan.value_bits,
            "ring_degree": plan.ring_degree,
            "log2_modulus": plan.log2_modulus,
            "bytes_per_value": plan.bytes_per_value,
            "fixed_bytes": plan.fixed_bytes,
            "id": plan.id.hex(),
        },
    }


def conclusion(records: Sequence[Record]) -> dict[str, Any]:
    """Return each method's last scores, and what was spent of privacy.

    Parameters
    ----------
    records : sequence of dict
        Those of the run.
    """
    if not records:
        return {}
    final = {
        record["method"]: {"round": record["round"]}
        | {name: value for name, value in record.items() if name not in FIELDS}
        for record in records
    }
    spent = {one["method"]: one["privacy"] for one in records if "privacy" in one}
    return {"final": final} | ({"privacy": spent} if spent else {})
