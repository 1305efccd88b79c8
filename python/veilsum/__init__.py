"""Veilsum: sums of model updates that nobody but their owners can read.

Clients encrypt their updates for a round, an aggregator that holds no key sums the ciphertexts, and
the authority opens the sum, and only the sum::

    import numpy as np, veilsum as vs

    plan = vs.Plan(clients=10, value_bits=16)
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=10_000_000, limit=1.0)
    uploads = [vs.encrypt(rnd, update) for update in updates]
    total = vs.weighted_sum(rnd, uploads)
    key = vs.open_sum(secret, rnd, total)
    mean = vs.decrypt(key, total, average=True)

Plans, keys, public identities, rounds, uploads and sums have ``to_bytes``, ``from_bytes``,
``save`` and ``load``. SECURITY.md says what this protects against and what not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

try:
    import veilsum._core  # noqa: F401 - here for the sake of its error
except ModuleNotFoundError as reason:
    if reason.name != "veilsum._core":
        raise
    from pathlib import Path

    raise ImportError(
        f"{Path(__file__).parent} has no compiled core: it is the source folder, or was built for "
        f"another Python. Install the package (pip install . in the repository) and start Python "
        f"in another folder than the one that holds the source folder veilsum"
    ) from None

from veilsum._core import (
    Aggregate,
    AggregateFile,
    Answer,
    Certificate,
    ChallengeAnswer,
    Endorsement,
    MemberRequest,
    OpeningRequest,
    PublicKey,
    SecretKey,
    SumKey,
    Upload,
    Verdict,
    build_info,
    isa_level,
    isa_levels,
    max_threads,
)
from veilsum.api.decrypting import decrypt
from veilsum.api.encrypting import encrypt
from veilsum.api.large_files import UploadFile, decrypt_file, encrypt_file, sum_files
from veilsum.api.members import Member, blame, certify, combine, request_for
from veilsum.api.opening import keygen, open_sum
from veilsum.api.pads import PadStore
from veilsum.api.pickling import register as _register
from veilsum.api.plans import Plan
from veilsum.api.rounds import Round, TrainingStep
from veilsum.api.row_mean import RowMean
from veilsum.api.summing import Accumulator, weighted_sum
from veilsum.errors import (
    BackendUnavailableError,
    BadSharesError,
    HeadroomError,
    KeyMismatchError,
    ParameterError,
    RoundError,
    TamperedSumError,
    VeilsumError,
    VeilsumWarning,
    WireFormatError,
)
from veilsum.keys.committee import Committee
from veilsum.keys.group import Group
from veilsum.keys.identity import Identity, PublicIdentity
from veilsum.keys.roster import Roster
from veilsum.layout.tensors import Layout

if TYPE_CHECKING:
    from veilsum.learning.module_task import Task
    from veilsum.learning.predictions import Predictions
    from veilsum.training.averager import FederatedAverager
    from veilsum.training.federate import federate

_register()

__version__: str = build_info()["version"]


_TRAINING = {
    "FederatedAverager": "veilsum.training.averager",
    "Predictions": "veilsum.learning.predictions",
    "Task": "veilsum.learning.module_task",
    "federate": "veilsum.training.federate",
}


def __getattr__(name: str) -> Any:
    # What trains is loaded when it is asked for: whoever only sums does not wait for it.
    if name in _TRAINING:
        return getattr(importlib.import_module(_TRAINING[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names: what completion offers is what a user may rely on."""
    return sorted(__all__)


__all__ = [
    "Accumulator",
    "Aggregate",
    "AggregateFile",
    "Answer",
    "BackendUnavailableError",
    "BadSharesError",
    "Certificate",
    "ChallengeAnswer",
    "Committee",
    "Endorsement",
    "FederatedAverager",
    "Group",
    "HeadroomError",
    "Identity",
    "KeyMismatchError",
    "Layout",
    "Member",
    "MemberRequest",
    "OpeningRequest",
    "PadStore",
    "ParameterError",
    "Plan",
    "Predictions",
    "PublicIdentity",
    "PublicKey",
    "Roster",
    "Round",
    "RoundError",
    "RowMean",
    "SecretKey",
    "SumKey",
    "TamperedSumError",
    "Task",
    "TrainingStep",
    "Upload",
    "UploadFile",
    "VeilsumError",
    "VeilsumWarning",
    "Verdict",
    "WireFormatError",
    "__version__",
    "blame",
    "build_info",
    "certify",
    "combine",
    "decrypt",
    "decrypt_file",
    "encrypt",
    "encrypt_file",
    "federate",
    "isa_level",
    "isa_levels",
    "keygen",
    "max_threads",
    "open_sum",
    "request_for",
    "sum_files",
    "weighted_sum",
]
