"""CRC-32C (Castagnoli), bit by bit as RFC 3720 defines it, with a byte table for speed."""

from __future__ import annotations

REFLECTED_POLYNOMIAL = 0x82F63B78


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (REFLECTED_POLYNOMIAL if byte & 1 else 0)
    return byte


TABLE = [_entry(byte) for byte in range(256)]


def crc32c(data: bytes, crc: int = 0) -> int:
    """Continue `crc` (0 at the start) over `data`; chains like zlib.crc32."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
