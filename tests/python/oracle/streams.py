"""Labelled keys and the AES-CTR streams everything pseudorandom is drawn from.

Block i of the stream (key, index) is AES(key, LE64(i) || LE64(index)). The index says what the
bytes are for: domain << 56 | sub << 48 | block.
"""

from __future__ import annotations

import hashlib
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MATRIX, BLOCK_ERRORS, ROUNDING, UPLOAD_KEY = 1, 2, 3, 4

CBD_WIDTH = 8
WORD_BYTES = 6


def label_hash(label: str, *parts: bytes) -> bytes:
    """SHA-256 of the ASCII label followed by the parts."""
    return hashlib.sha256(label.encode("ascii") + b"".join(parts)).digest()


def matrix_key(round_seed: bytes) -> bytes:
    """Of the public polynomials, which one fixed key expands for all clients."""
    return label_hash("veilsum/2/matrix", round_seed)[:16]


def upload_key(round_id: bytes, upload_seed: bytes) -> bytes:
    """Of the upload keys and of the blocks' errors."""
    return label_hash("veilsum/2/upload", round_id, upload_seed)


def rounding_key(round_id: bytes, rounding_seed: bytes) -> bytes:
    """Of the words of stochastic rounding."""
    return label_hash("veilsum/2/rounding", round_id, rounding_seed)


def stream_index(domain: int, sub: int = 0, block: int = 0) -> int:
    assert 0 <= sub < 1 << 8 and 0 <= block < 1 << 48
    return domain << 56 | sub << 48 | block


def keystream(key: bytes, index: int, first: int, blocks: int) -> bytes:
    """Blocks first ... first + blocks - 1 of the stream (key, index)."""
    counters = b"".join(
        struct.pack("<QQ", i & 0xFFFFFFFFFFFFFFFF, index) for i in range(first, first + blocks)
    )
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(counters)


def stream_bytes(key: bytes, index: int, first: int, size: int) -> bytes:
    """Bytes [first, first + size) of the stream (key, index)."""
    block = first // 16
    data = keystream(key, index, block, -(-(first + size) // 16) - block)
    return data[first - 16 * block :][:size]


def words48(key: bytes, index: int, count: int, first: int = 0) -> list[int]:
    """Words first ... first + count - 1: word j is bytes [6 j, 6 j + 6), little-endian."""
    data = stream_bytes(key, index, WORD_BYTES * first, WORD_BYTES * count)
    return [
        int.from_bytes(data[at : at + WORD_BYTES], "little")
        for at in range(0, len(data), WORD_BYTES)
    ]


def words32(key: bytes, index: int, count: int) -> list[int]:
    blocks = -(-count // 4)
    return list(struct.unpack(f"<{4 * blocks}I", keystream(key, index, 0, blocks)))[:count]


def uniform(key: bytes, index: int, q: int, n: int) -> list[int]:
    """n residues below q: words 0 ... n - 1, rejected ones replaced by words n, n + 1, ..."""
    out = words48(key, index, n)
    spare = n
    for j, value in enumerate(out):
        while value >= q:
            (value,) = words48(key, index, 1, spare)
            spare += 1
        out[j] = value
    return out


def cbd_from_bytes(plus: int, minus: int) -> int:
    """popcount of one byte minus popcount of the next."""
    return plus.bit_count() - minus.bit_count()


def cbd(key: bytes, index: int, n: int) -> list[int]:
    """n centred binomial samples of width 8, two bytes each."""
    data = stream_bytes(key, index, 0, 2 * n)
    return [cbd_from_bytes(*pair) for pair in zip(data[0::2], data[1::2], strict=True)]
