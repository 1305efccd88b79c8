"""Labelled keys and the AES-CTR streams everything pseudorandom is drawn from.

Block i of the stream (key, index) is AES(key, LE64(i) || LE64(index)); 64-bit word j is LE64 at
byte 8 j. The index says what the words are for: domain << 56 | sub << 48 | block.
"""

from __future__ import annotations

import hashlib
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MATRIX, ERRORS, ROUNDING = 1, 2, 3
EPHEMERAL, CAPSULE_U, CAPSULE_E0, CAPSULE_E1 = 4, 5, 6, 7
SECRET, KEY_ERROR, PUBLIC = 8, 9, 10

CBD_WIDTH = 21
RESIDUE_MASK = (1 << 50) - 1


def label_hash(label: str, *parts: bytes) -> bytes:
    """SHA-256 of the ASCII label followed by the parts."""
    return hashlib.sha256(label.encode("ascii") + b"".join(parts)).digest()


def matrix_key(round_seed: bytes) -> bytes:
    return label_hash("veilsum/1/matrix", round_seed)[:16]


def public_matrix_key(public_seed: bytes) -> bytes:
    return label_hash("veilsum/1/public-key", public_seed)[:16]


def secret_key_key(key_seed: bytes) -> bytes:
    return label_hash("veilsum/1/secret-key", key_seed)


def capsule_key(round_id: bytes, capsule_seed: bytes) -> bytes:
    return label_hash("veilsum/1/capsule", round_id, capsule_seed)


def error_key(round_id: bytes, error_seed: bytes) -> bytes:
    return label_hash("veilsum/1/errors", round_id, error_seed)


def rounding_key(round_id: bytes, rounding_seed: bytes) -> bytes:
    return label_hash("veilsum/1/rounding", round_id, rounding_seed)


def stream_index(domain: int, sub: int = 0, block: int = 0) -> int:
    assert 0 <= sub < 1 << 8 and 0 <= block < 1 << 48
    return domain << 56 | sub << 48 | block


def keystream(key: bytes, index: int, first: int, blocks: int) -> bytes:
    """Blocks first ... first + blocks - 1 of the stream (key, index)."""
    counters = b"".join(
        struct.pack("<QQ", i & 0xFFFFFFFFFFFFFFFF, index) for i in range(first, first + blocks)
    )
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(counters)


def words64(key: bytes, index: int, count: int, first_block: int = 0) -> list[int]:
    """`count` 64-bit words from the start of block `first_block`."""
    blocks = -(-count // 2)
    return list(struct.unpack(f"<{2 * blocks}Q", keystream(key, index, first_block, blocks)))[
        :count
    ]


def words32(key: bytes, index: int, count: int) -> list[int]:
    blocks = -(-count // 4)
    return list(struct.unpack(f"<{4 * blocks}I", keystream(key, index, 0, blocks)))[:count]


def uniform(key: bytes, index: int, q: int, n: int) -> list[int]:
    """n residues below q: word j's low 50 bits, rejected ones replaced by words n, n + 1, ..."""
    out = [w & RESIDUE_MASK for w in words64(key, index, n)]
    spare = _spare_words(key, index, n)
    for j, value in enumerate(out):
        while value >= q:
            value = next(spare) & RESIDUE_MASK
        out[j] = value
    return out


def _spare_words(key: bytes, index: int, n: int):
    block = n // 2
    assert n % 2 == 0
    while True:
        yield from words64(key, index, 2, first_block=block)
        block += 1


def cbd_from_word(word: int) -> int:
    """popcount of bits 0..20 minus popcount of bits 21..41."""
    mask = (1 << CBD_WIDTH) - 1
    return (word & mask).bit_count() - (word >> CBD_WIDTH & mask).bit_count()


def cbd(key: bytes, index: int, n: int) -> list[int]:
    return [cbd_from_word(w) for w in words64(key, index, n)]
