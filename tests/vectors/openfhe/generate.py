"""Write cpp.json or wheel.json: keys, ciphertexts and values that OpenFHE made, for a small ring.

    PYTHONPATH=python python tests/vectors/openfhe/generate.py    (with a built engine)

N = 32 has no security: contexts of that size exist only here, below the checks of `Plan`.
Everything is residues in the order of OpenFHE's binary format, modulo q0 and then q1, where there
is one, for each polynomial.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from veilsum.engines.openfhe.backend import ContextRequest, context_for, describe

DEGREE = 32
WEIGHTS = [5, 3, 2]
DEVIATION = 2.0**30
#: Primes, bits of the first one and of the scale.
SETTINGS = ((1, 60, 55), (2, 60, 59))


def rows(words: np.ndarray) -> list[list[int]]:
    return [[int(word) for word in row] for row in words.reshape(-1, DEGREE)]


def record(primes: int, first_bits: int, scale_bits: int) -> dict[str, Any]:
    context = context_for(ContextRequest(DEGREE, 0, primes, first_bits, scale_bits))
    secret, public = context.keygen(np.empty(0, dtype=np.uint64))
    values = np.random.default_rng(20).uniform(-1, 1, (len(WEIGHTS), DEGREE // 2))
    uploads = [context.encrypt(public, row, 1) for row in values]
    moduli = np.repeat(np.array(context.moduli * 2, dtype=object), DEGREE)
    terms = [one.astype(object) * weight for one, weight in zip(uploads, WEIGHTS, strict=True)]
    total = (sum(terms) % moduli).astype(np.uint64)
    share = context.share(secret, total, DEVIATION, 1)
    return {
        "primes": primes,
        "first_bits": first_bits,
        "scale_bits": scale_bits,
        "moduli": context.moduli,
        "roots": context.roots,
        "secret": rows(secret),
        "public": rows(public),
        "values": values.tolist(),
        "uploads": [rows(one) for one in uploads],
        "sum": rows(total),
        "share": rows(share),
    }


def main() -> None:
    about = describe()
    name = "cpp.json" if "C++" in about else "wheel.json"
    record_of_all = {
        "made_by": about,
        "degree": DEGREE,
        "weights": WEIGHTS,
        "deviation": DEVIATION,
        "settings": [record(*setting) for setting in SETTINGS],
    }
    text = json.dumps(record_of_all, separators=(",", ":"))
    Path(__file__).with_name(name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
