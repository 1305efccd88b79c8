"""TenSEAL CKKS with the parameters that NVFLARE's homomorphic encryption uses.

N = 8192, primes of 60, 40 and 40 bits, scale 2^40; vectors of N/2 values each. One thread. The
Python lists that TenSEAL takes are made before the clock starts.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import tenseal
from service import serve

DEGREE = 8192
PRIMES = (60, 40, 40)
state: dict[str, Any] = {}


def setup(path: str, values: int, setting: str) -> dict[str, str]:
    """Read the first `values` values and make keys."""
    assert setting == "nvflare", "there is one setting"
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=list(PRIMES), n_threads=1
    )
    context.global_scale = 2**40
    slots = DEGREE // 2
    vector = np.load(path)[:values]
    blocks = [vector[start : start + slots].tolist() for start in range(0, values, slots)]
    state.update(context=context, vector=vector, blocks=blocks)
    return {
        "version": f"tenseal {version('tenseal')}",
        "parameters": f"CKKS, N = {DEGREE}, primes {PRIMES}",
    }


def encrypt() -> None:
    """Encode and encrypt every block."""
    context = state["context"]
    state["upload"] = [tenseal.ckks_vector(context, block) for block in state["blocks"]]


def add() -> None:
    """Add the upload to itself."""
    state["total"] = [block + block for block in state["upload"]]


def decrypt() -> None:
    """Decrypt and decode every block of the sum."""
    state["opened"] = [block.decrypt() for block in state["total"]]


def check() -> dict[str, float]:
    """Return the largest error of the sum, and the bytes of the upload."""
    opened = np.concatenate([np.asarray(block) for block in state["opened"]])
    nbytes = sum(len(block.serialize()) for block in state["upload"])
    return {"error": float(np.abs(opened - 2 * state["vector"]).max()), "nbytes": nbytes}


if __name__ == "__main__":
    serve({"setup": setup, "encrypt": encrypt, "add": add, "decrypt": decrypt, "check": check})
