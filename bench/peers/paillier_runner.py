"""python-paillier (phe): one Paillier ciphertext for each value, 3072-bit key (128-bit security).

Uses gmpy2 when it is installed beside it, which is several times faster.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from phe import paillier
from service import serve

KEY_BITS = 3072
# 2^-20 is finer than a float32 step of values near 1 quantised to 16 bits.
PRECISION = 2.0**-20
state: dict[str, Any] = {}


def setup(path: str, values: int, setting: str) -> dict[str, str]:
    """Read the first `values` values and make keys."""
    assert setting == "per value", "there is one setting"
    public, private = paillier.generate_paillier_keypair(n_length=KEY_BITS)
    vector = np.load(path)[:values].astype(np.float64)
    state.update(public=public, private=private, vector=vector, plain=vector.tolist())
    try:
        arithmetic = f"gmpy2 {version('gmpy2')}"
    except PackageNotFoundError:
        arithmetic = "Python integers"
    return {
        "version": f"phe {version('phe')}",
        "parameters": f"Paillier, {KEY_BITS}-bit key, {arithmetic}",
    }


def encrypt() -> None:
    """Encrypt every value by itself."""
    public = state["public"]
    state["upload"] = [public.encrypt(value, precision=PRECISION) for value in state["plain"]]


def add() -> None:
    """Add the upload to itself."""
    state["total"] = [value + value for value in state["upload"]]


def decrypt() -> None:
    """Decrypt every value of the sum."""
    private = state["private"]
    state["opened"] = [private.decrypt(value) for value in state["total"]]


def check() -> dict[str, float]:
    """Return the largest error of the sum, and the bytes of the upload."""
    opened = np.asarray(state["opened"])
    nbytes = sum((value.ciphertext().bit_length() + 7) // 8 for value in state["upload"])
    return {"error": float(np.abs(opened - 2 * state["vector"]).max()), "nbytes": nbytes}


if __name__ == "__main__":
    serve({"setup": setup, "encrypt": encrypt, "add": add, "decrypt": decrypt, "check": check})
