"""AES-256 on one process's share of the data, for the rows that use all cores.

Processes, not threads, so that Python's global lock never holds AES back, per record or in bulk.
Runs in this project's own interpreter. A share stays in its process: no
time is spent on bringing ciphertexts together, in AES's favour.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.peers.service import serve
from veilsum.lab.compare.aes import PerRecord, Pieces

work: dict[str, Pieces | PerRecord] = {}


def load(mode: str, style: str, records: int, record_bytes: int, seed: int) -> int:
    """Make this process's share; returns the bytes its ciphertext will have."""
    rng = random.Random(seed)
    data = rng.randbytes(min(records * record_bytes, 1 << 20))
    if style == "bulk":
        size = records * record_bytes // 16 * 16
        message = bytearray(data * (size // len(data) + 1))[:size]
        work["share"] = Pieces(mode, message)
    else:
        work["share"] = PerRecord(mode, cut(data, records, record_bytes))
    return work["share"].nbytes


def cut(data: bytes, records: int, record_bytes: int) -> list[bytes]:
    """Return `records` pieces of `record_bytes` each, from the start again where `data` ends."""
    whole = len(data) // record_bytes
    starts = (index % whole * record_bytes for index in range(records))
    return [data[start : start + record_bytes] for start in starts]


def encrypt() -> None:
    """Encrypt the share."""
    work["share"].encrypt()


def decrypt() -> None:
    """Decrypt the share."""
    work["share"].decrypt()


def check() -> bool:
    """Raise AssertionError unless the share comes back."""
    work["share"].check()
    return True


if __name__ == "__main__":
    serve({"load": load, "encrypt": encrypt, "decrypt": decrypt, "check": check})
