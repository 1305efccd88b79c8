"""The OpenFHE engine: CKKS with full SIMD packing, behind the calls of `veilsum`.

Choose it by ``vs.Plan(..., engine="openfhe")``. Here is what it offers beyond those calls: an
n-of-n authority (`party_keygen`, `open_share`, `combine_shares`), whether and how OpenFHE is
available (`describe`), and ciphertexts in OpenFHE's own format (``Aggregate.openfhe_blocks``).
docs/engines.md says what it is for and how it differs from the native engine.
"""

from __future__ import annotations

from veilsum.engines.openfhe.backend import describe
from veilsum.engines.openfhe.keys import PublicKey, SecretKey, keygen, party_keygen
from veilsum.engines.openfhe.opening import (
    DecryptionShare,
    OpeningRequest,
    SumKey,
    combine_shares,
    decrypt,
    open_share,
    open_sum,
)
from veilsum.engines.openfhe.plan import Plan
from veilsum.engines.openfhe.rounds import Round
from veilsum.engines.openfhe.sums import Aggregate, Aggregator, weighted_sum
from veilsum.engines.openfhe.uploads import Upload, encrypt

__all__ = [
    "Aggregate",
    "Aggregator",
    "DecryptionShare",
    "OpeningRequest",
    "Plan",
    "PublicKey",
    "Round",
    "SecretKey",
    "SumKey",
    "Upload",
    "combine_shares",
    "decrypt",
    "describe",
    "encrypt",
    "keygen",
    "open_share",
    "open_sum",
    "party_keygen",
    "weighted_sum",
]
