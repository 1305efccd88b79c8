"""Write sum.json: keys, ciphertexts and expected values that OpenFHE made, for a small ring.

    PYTHONPATH=python python tests/vectors/openfhe/generate.py    (with a built engine)

N = 32 has no security: contexts of that size exist only here, below the checks of `Plan`.
Everything is residues in the order of OpenFHE's binary format, modulo q0 and then q1 for each
polynomial.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from veilsum.engines.openfhe.backend import ContextRequest, context_for, describe

DEGREE = 32
CLIENTS = 3
WEIGHTS = [0.5, 0.3, 0.2]
NOISE_BITS = 12.0


def rows(words: np.ndarray) -> list[list[int]]:
    return [[int(word) for word in row] for row in words.reshape(-1, DEGREE)]


def main() -> None:
    context = context_for(ContextRequest(DEGREE, 0, True, NOISE_BITS, 60, 59))
    secret, public = context.keygen()
    values = np.random.default_rng(20).uniform(-0.5, 0.5, (CLIENTS, DEGREE // 2))
    uploads = [context.encrypt(public, row, 1) for row in values]
    total, mean = context.sum(uploads, [], 1), context.sum(uploads, WEIGHTS, 1)
    record = {
        "made_by": describe(),
        "degree": DEGREE,
        "noise_bits": NOISE_BITS,
        "moduli": context.moduli,
        "roots": context.roots,
        "deviation": context.flooding_deviation,
        "scale_bits": 59,
        "secret": rows(context.write_secret(secret)),
        "public": rows(context.write_public(public)),
        "tag": public.tag,
        "values": values.tolist(),
        "weights": WEIGHTS,
        "uploads": [rows(context.write(one, 0, 1)) for one in uploads],
        "sum": rows(context.write(total, 0, 1)),
        "mean": rows(context.write(mean, 0, 1)),
        "sum_share": rows(context.write(context.share(secret, total), 0, 1)),
        "mean_share": rows(context.write(context.share(secret, mean), 0, 1)),
    }
    path = Path(__file__).with_name("sum.json")
    path.write_text(json.dumps(record, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
