"""Veilsum 0.1, the version before this one, installed from the repository's history."""

from __future__ import annotations

from typing import Any

import numpy as np
from service import serve

import veilsum as vs

state: dict[str, Any] = {}


def setup(path: str, clients: int) -> dict[str, str]:
    """Read the update, make keys and a round, and open the sum of two uploads."""
    vector = np.load(path)
    plan = vs.Plan(clients=clients, value_bits=16)
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=vector.size, limit=1.0)
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, vector), vs.encrypt(rnd, vector)])
    key = vs.open_sum(secret, rnd, total)
    state.update(vector=vector, round=rnd, total=total, key=key)
    return {"isa": vs.isa_level(), "plan": repr(plan)}


def encrypt() -> None:
    """Encrypt the update."""
    vs.encrypt(state["round"], state["vector"], threads=1)


def decrypt() -> None:
    """Decrypt the sum's mean."""
    state["mean"] = vs.decrypt(state["key"], state["total"], threads=1)


def check() -> dict[str, float]:
    """Return the largest error of the mean."""
    return {"error": float(np.abs(state["mean"] - state["vector"]).max())}


if __name__ == "__main__":
    serve({"setup": setup, "encrypt": encrypt, "decrypt": decrypt, "check": check})
