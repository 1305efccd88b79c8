"""What a signature costs: `python -m bench.identities` prints times and bytes of both kinds.

Single calls, one thread, medians; each result is checked. The package `cryptography` does the work,
so its version and its OpenSSL are printed too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cryptography
import numpy as np
from cryptography.hazmat.backends.openssl import backend

import veilsum as vs

CALLS = 200
#: As long as what an upload's signature covers.
MESSAGE = bytes(range(182))


def median_us(call: Callable[[], object], calls: int = CALLS) -> float:
    """Median time of a call in microseconds, after a tenth as many to warm up."""
    for _ in range(calls // 10):
        call()
    times = []
    for _ in range(calls):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


def rows(post_quantum: bool) -> dict[str, float]:
    """Times in microseconds and bytes of one kind of identity, by what is done."""
    made = vs.Identity.generate(post_quantum=post_quantum)
    public, signature = made.public, made.sign(MESSAGE)
    assert public.verify(signature, MESSAGE)
    assert not public.verify(signature, MESSAGE[1:])
    sealed = public.seal(b"context", MESSAGE[:32])
    assert made.open(b"context", sealed) == MESSAGE[:32]
    plan = vs.Plan(2)
    others = [vs.Identity.generate(post_quantum=post_quantum)]
    rnd = vs.Round(plan, vs.keygen(plan)[1], size=1, roster=[made, *others])
    bare = vs.Round(plan, vs.keygen(plan)[1], size=1)
    one = np.ones(1, np.float32)
    signed = vs.encrypt(rnd, one, signer=made)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "me.key"
        made.save(path)
        load = median_us(lambda: vs.Identity.load(path), CALLS // 4)
        file_bytes = path.stat().st_size
    return {
        "generate, us": median_us(lambda: vs.Identity.generate(post_quantum=post_quantum), 50),
        "load a file, us": load,
        "sign, us": median_us(lambda: made.sign(MESSAGE)),
        "verify, us": median_us(lambda: public.verify(signature, MESSAGE)),
        "read and check a public identity, us": median_us(
            lambda: vs.PublicIdentity.from_bytes(public.to_bytes())
        ),
        "seal 32 bytes, us": median_us(lambda: public.seal(b"context", MESSAGE[:32])),
        "open, us": median_us(lambda: made.open(b"context", sealed)),
        "signature, bytes": len(signature),
        "public identity, bytes": len(public.to_bytes()),
        "secret file, bytes": file_bytes,
        "a client's part of a round, bytes": (len(rnd.to_bytes()) - len(bare.to_bytes())) / 2,
        "more in an upload, bytes": signed.nbytes - vs.encrypt(bare, one).nbytes,
    }


def main() -> None:
    """Print the table."""
    print(f"cryptography {cryptography.__version__}, {backend.openssl_version_text()}")
    first, second = rows(False), rows(True)
    print(f"{'':38}{'Ed25519':>12}{'and ML-DSA-65':>16}")
    for name, value in first.items():
        print(f"{name:38}{value:>12,.0f}{second[name]:>16,.0f}")


if __name__ == "__main__":
    main()
