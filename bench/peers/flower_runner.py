"""Flower's SecAgg+: the masking step of a client, and the server's sum and unmasking.

Not an encryption: every pair of neighbouring clients agrees on a seed, and the masks made from it
cancel in the sum. The steps are those of `secaggplus_mod._collect_masked_vectors` and of
`SecAggPlusWorkflow`, on the same functions of the library; left out, in its favour, are the key
agreement, the secret shares and every message besides the masked vector. No client drops out.

10 clients, values clipped to 1 and quantised to 2^16 steps, masks modulo 2^32 (the default). The
setting is the number of neighbours a client shares masks with: 2, as in Flower's own example, or 9,
everybody.
"""

from __future__ import annotations

import logging
import os
from importlib.metadata import version
from typing import Any

import numpy as np
from flwr.common import bytes_to_ndarray, ndarray_to_bytes
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import dequantize, quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from service import serve

CLIENTS = 10
CLIP = 1.0
LEVELS = 1 << 16
MODULUS = 1 << 32
SEED_BYTES = 32
state: dict[str, Any] = {}


def setup(path: str, values: int, setting: str) -> dict[str, str]:
    """Read the first `values` values, draw the seeds, and sum the masked vectors of all clients."""
    logging.disable(logging.CRITICAL)
    neighbours = int(setting)
    reach = neighbours // 2
    offsets = range(1, CLIENTS) if neighbours == CLIENTS - 1 else range(1, reach + 1)
    pairs = {
        tuple(sorted((client, (client + offset) % CLIENTS)))
        for client in range(CLIENTS)
        for offset in offsets
    }
    state.update(
        vector=np.load(path)[:values],
        shared={pair: os.urandom(SEED_BYTES) for pair in pairs},
        private=[os.urandom(SEED_BYTES) for _ in range(CLIENTS)],
    )
    uploads = [mask(client) for client in range(CLIENTS)]
    total = [bytes_to_ndarray(uploads[0])]
    for payload in uploads[1:]:
        total = parameters_addition(total, [bytes_to_ndarray(payload)])
    state.update(second=uploads[1], sum=parameters_mod(total, MODULUS))
    return {
        "version": f"flwr {version('flwr')}",
        "parameters": f"SecAgg+, {CLIENTS} clients, {neighbours} neighbours, modulus 2^32",
    }


def mask(client: int) -> bytes:
    """Quantise and mask one client's vector, to the bytes that travel."""
    masked = quantize([state["vector"]], CLIP, LEVELS)
    shape = [state["vector"].shape]
    masked = parameters_addition(masked, pseudo_rand_gen(state["private"][client], MODULUS, shape))
    for pair, seed in state["shared"].items():
        if client in pair:
            pairwise = pseudo_rand_gen(seed, MODULUS, shape)
            larger = client == max(pair)
            masked = (parameters_addition if larger else parameters_subtraction)(masked, pairwise)
    payload: bytes = ndarray_to_bytes(parameters_mod(masked, MODULUS)[0])
    return payload


def encrypt() -> None:
    """Mask the first client's vector."""
    state["upload"] = mask(0)


def add() -> None:
    """Add one upload to another, as the server does when it arrives."""
    first, second = bytes_to_ndarray(state["upload"]), bytes_to_ndarray(state["second"])
    state["two"] = parameters_addition([first], [second])


def decrypt() -> None:
    """Remove the private masks from the sum of all uploads."""
    shape = [state["vector"].shape]
    total = state["sum"]
    for seed in state["private"]:
        total = parameters_subtraction(total, pseudo_rand_gen(seed, MODULUS, shape))
    opened = dequantize(parameters_mod(total, MODULUS), CLIP, LEVELS)[0]
    state["opened"] = opened - (CLIENTS - 1) * CLIP


def check() -> dict[str, float]:
    """Return the largest error of the mean, times two as for the others, and the bytes."""
    error = np.abs(state["opened"] / CLIENTS - state["vector"]).max()
    return {"error": float(2 * error), "nbytes": len(state["upload"])}


if __name__ == "__main__":
    serve({"setup": setup, "encrypt": encrypt, "add": add, "decrypt": decrypt, "check": check})
