"""OpenFHE CKKS through its Python wheel: blocks of N/2 values, added under encryption.

Two settings. `adds`: no multiplicative depth, so the smallest ring that OpenFHE's own check admits
at 128 bits for one 50-bit prime; enough to sum, and the fastest. `weight`: depth 1, room for one
plaintext multiplication, as a weighted sum by the server needs. Scale 2^40 in both, fixed manual
scaling, BV key switching (nothing switches keys here; HYBRID would only enlarge the ring).

The Python lists that the wheel takes are made before the clock starts.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import openfhe
from service import serve

DEPTH = {"adds": 0, "weight": 1}
state: dict[str, Any] = {}


def setup(path: str, values: int, setting: str) -> dict[str, str]:
    """Read the first `values` values and make keys."""
    parameters = openfhe.CCParamsCKKSRNS()
    parameters.SetSecurityLevel(openfhe.SecurityLevel.HEStd_128_classic)
    parameters.SetMultiplicativeDepth(DEPTH[setting])
    parameters.SetFirstModSize(50)
    parameters.SetScalingModSize(40)
    parameters.SetScalingTechnique(openfhe.ScalingTechnique.FIXEDMANUAL)
    parameters.SetKeySwitchTechnique(openfhe.KeySwitchTechnique.BV)
    context = openfhe.GenCryptoContext(parameters)
    context.Enable(openfhe.PKESchemeFeature.PKE)
    context.Enable(openfhe.PKESchemeFeature.LEVELEDSHE)
    slots = context.GetRingDimension() // 2
    vector = np.load(path)[:values]
    blocks = [vector[start : start + slots].tolist() for start in range(0, values, slots)]
    state.update(context=context, keys=context.KeyGen(), vector=vector, blocks=blocks)
    return {
        "version": f"openfhe {version('openfhe')}",
        "parameters": f"CKKS, N = {2 * slots}, depth {DEPTH[setting]}, HEStd_128_classic",
    }


def encrypt() -> None:
    """Encode and encrypt every block."""
    context, key = state["context"], state["keys"].publicKey
    state["upload"] = [
        context.Encrypt(key, context.MakeCKKSPackedPlaintext(block)) for block in state["blocks"]
    ]


def add() -> None:
    """Add the upload to itself."""
    context = state["context"]
    state["total"] = [context.EvalAdd(block, block) for block in state["upload"]]


def decrypt() -> None:
    """Decrypt and decode every block of the sum."""
    context, key = state["context"], state["keys"].secretKey
    opened = []
    for total, block in zip(state["total"], state["blocks"], strict=True):
        plain = context.Decrypt(total, key)
        plain.SetLength(len(block))
        opened.append(plain.GetRealPackedValue())
    state["opened"] = opened


def check() -> dict[str, float]:
    """Return the largest error of the sum, and the bytes of the upload."""
    opened = np.concatenate([np.asarray(block) for block in state["opened"]])
    nbytes = sum(len(openfhe.Serialize(block, openfhe.BINARY)) for block in state["upload"])
    return {"error": float(np.abs(opened - 2 * state["vector"]).max()), "nbytes": nbytes}


if __name__ == "__main__":
    serve({"setup": setup, "encrypt": encrypt, "add": add, "decrypt": decrypt, "check": check})
