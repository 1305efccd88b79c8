"""The OpenFHE engine: CKKS with full SIMD packing, behind the calls of `veilsum`.

Choose it by ``vs.Plan(..., engine="openfhe")``. Here is what it offers beyond those calls: keys
that n of n parties share (`party_keygen`, `open_share`, `combine_shares`), whether and how OpenFHE
is available (`describe`), and ciphertexts in OpenFHE's own format (`export_blocks`,
`export_public_key`). docs/engines.md says what it is for and how it differs from the native engine.
"""

from __future__ import annotations

from veilsum.engines.openfhe.backend import describe
from veilsum.engines.openfhe.export import export_blocks, export_public_key
from veilsum.engines.openfhe.keys import party_keygen
from veilsum.engines.openfhe.shares import DecryptionShare, combine_shares, open_share

__all__ = [
    "DecryptionShare",
    "combine_shares",
    "describe",
    "export_blocks",
    "export_public_key",
    "open_share",
    "party_keygen",
]
