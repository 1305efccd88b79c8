"""AES-256 through `cryptography` (OpenSSL): in bulk, and once per record.

Comparison layer, bottom; the benchmark suite imports it too. Each function is written so that AES
does as well as the library lets it: outputs go into memory that is there already where the API
allows it, and records are made before the clock starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from veilsum.errors import ParameterError, VeilsumError

__all__ = ["BULK_MODES", "RECORD_MODES", "Bulk", "PerRecord", "Pieces"]

BLOCK = 16
NONCE = 12
TAG = 16
BULK_MODES = ("CBC", "CTR", "GCM")
RECORD_MODES = ("GCM", "CBC")
# One operation of OpenSSL through `cryptography` takes less than 2^31 bytes.
MAX_CALL = 1 << 30

Bytes = bytes | bytearray | memoryview


class Bulk:
    """One call over a long message, under a fresh key and a fresh nonce or IV.

    Parameters
    ----------
    mode : {"CBC", "CTR", "GCM"}
        GCM is authenticated; the other two are not.
    message : bytes-like
        A whole number of AES blocks, below 2^30 bytes; read in place.
    """

    def __init__(self, mode: str, message: Bytes) -> None:
        self.mode = mode
        self.message = memoryview(message).cast("B")
        if len(self.message) % BLOCK or len(self.message) > MAX_CALL:
            raise ParameterError(
                f"{len(self.message)} bytes: must be whole blocks, at most {MAX_CALL} bytes"
            )
        self._key = os.urandom(32)
        self._nonce = os.urandom(NONCE if mode == "GCM" else BLOCK)
        extra = TAG if mode == "GCM" else BLOCK
        self._sealed = memoryview(bytearray(len(self.message) + extra))
        self._opened = memoryview(bytearray(len(self.message) + extra))
        self.nbytes = len(self.message) + len(self._nonce) + (TAG if mode == "GCM" else 0)
        self._gcm = AESGCM(self._key)

    def encrypt(self) -> memoryview:
        """Encrypt the message; returns the ciphertext (and tag), overwritten by the next call."""
        size = len(self.message)
        if self.mode == "GCM":
            sealed = self._sealed[: size + TAG]
            if hasattr(self._gcm, "encrypt_into"):
                self._gcm.encrypt_into(self._nonce, self.message, None, sealed)
            else:
                sealed[:] = self._gcm.encrypt(self._nonce, self.message, None)
            return sealed
        context = self._cipher().encryptor()
        done = context.update_into(self.message, self._sealed)
        context.finalize()
        return self._sealed[:done]

    def decrypt(self) -> memoryview:
        """Decrypt what `encrypt` made last; returns the message, overwritten by the next call."""
        size = len(self.message)
        if self.mode == "GCM":
            opened = self._opened[:size]
            if hasattr(self._gcm, "decrypt_into"):
                self._gcm.decrypt_into(self._nonce, self._sealed[: size + TAG], None, opened)
            else:
                opened[:] = self._gcm.decrypt(self._nonce, self._sealed[: size + TAG], None)
            return opened
        context = self._cipher().decryptor()
        done = context.update_into(self._sealed[:size], self._opened)
        context.finalize()
        return self._opened[:done]

    def check(self) -> None:
        """Make sure that decryption gives the message and encryption hides it.

        Raises
        ------
        veilsum.VeilsumError
            When one of them does not.
        """
        message = np.frombuffer(self.message, dtype=np.uint8)
        if np.array_equal(np.frombuffer(self._sealed, np.uint8)[: len(message)], message):
            raise VeilsumError(f"AES-256-{self.mode} left the message as it was")
        if not np.array_equal(np.frombuffer(self.decrypt(), dtype=np.uint8), message):
            raise VeilsumError(f"AES-256-{self.mode} does not give the message back")

    def _cipher(self) -> Cipher[Any]:
        mode = modes.CBC(self._nonce) if self.mode == "CBC" else modes.CTR(self._nonce)
        return Cipher(algorithms.AES(self._key), mode)


class Pieces:
    """`Bulk` over a message of any length: several messages where one call cannot take it."""

    def __init__(self, mode: str, message: Bytes) -> None:
        view = memoryview(message).cast("B")
        starts = range(0, len(view), MAX_CALL)
        self._parts = [Bulk(mode, view[start : start + MAX_CALL]) for start in starts]
        self.nbytes = sum(part.nbytes for part in self._parts)

    def encrypt(self) -> None:
        """Encrypt all of it."""
        for part in self._parts:
            part.encrypt()

    def decrypt(self) -> None:
        """Decrypt all of it."""
        for part in self._parts:
            part.decrypt()

    def check(self) -> None:
        """Make sure that every part decrypts to its message.

        Raises
        ------
        veilsum.VeilsumError
            When one does not.
        """
        for part in self._parts:
            part.check()


class PerRecord:
    """One call for each record, the conventional way to encrypt a table.

    Each record gets a nonce or IV of its own, which travels with it: a counter for GCM, random
    bytes and PKCS #7 padding for CBC.

    Parameters
    ----------
    mode : {"GCM", "CBC"}
        With GCM one `AESGCM` object serves all records; CBC needs a `Cipher` for each IV.
    records : sequence of bytes
        The records, all of one length.
    """

    def __init__(self, mode: str, records: Sequence[bytes]) -> None:
        self.mode = mode
        self.records = records
        self._key = os.urandom(32)
        self._sealed: list[bytes] = []
        length = len(records[0])
        padding = BLOCK - length % BLOCK
        self._padding = bytes([padding]) * padding
        self.nbytes = len(records) * (
            NONCE + length + TAG if mode == "GCM" else BLOCK + length + padding
        )

    def encrypt(self) -> list[bytes]:
        """Encrypt all records, each to nonce or IV, ciphertext (and tag)."""
        self._sealed = self._gcm_encrypt() if self.mode == "GCM" else self._cbc_encrypt()
        return self._sealed

    def decrypt(self) -> list[bytes]:
        """Decrypt all records that `encrypt` made last."""
        return self._gcm_decrypt() if self.mode == "GCM" else self._cbc_decrypt()

    def check(self) -> None:
        """Make sure that every record comes back and no two ciphertexts are equal.

        Raises
        ------
        veilsum.VeilsumError
            When that is not so.
        """
        if self.decrypt() != list(self.records):
            raise VeilsumError(f"AES-256-{self.mode} does not give every record back")
        if len(set(self._sealed)) != len(self.records):
            raise VeilsumError(f"AES-256-{self.mode} made two equal ciphertexts")
        if sum(map(len, self._sealed)) != self.nbytes:
            raise VeilsumError(f"AES-256-{self.mode} ciphertexts have an unexpected size")

    def _gcm_encrypt(self) -> list[bytes]:
        encrypt: Callable[..., bytes] = AESGCM(self._key).encrypt
        sealed = []
        for number, record in enumerate(self.records):
            nonce = number.to_bytes(NONCE, "big")
            sealed.append(nonce + encrypt(nonce, record, None))
        return sealed

    def _gcm_decrypt(self) -> list[bytes]:
        decrypt: Callable[..., bytes] = AESGCM(self._key).decrypt
        return [decrypt(sealed[:NONCE], sealed[NONCE:], None) for sealed in self._sealed]

    def _cbc_encrypt(self) -> list[bytes]:
        key, padding = algorithms.AES(self._key), self._padding
        ivs = os.urandom(BLOCK * len(self.records))
        sealed = []
        for index, record in enumerate(self.records):
            iv = ivs[BLOCK * index : BLOCK * index + BLOCK]
            context = Cipher(key, modes.CBC(iv)).encryptor()
            sealed.append(iv + context.update(record + padding) + context.finalize())
        return sealed

    def _cbc_decrypt(self) -> list[bytes]:
        key, padding = algorithms.AES(self._key), len(self._padding)
        opened = []
        for sealed in self._sealed:
            context = Cipher(key, modes.CBC(sealed[:BLOCK])).decryptor()
            padded = context.update(sealed[BLOCK:]) + context.finalize()
            opened.append(padded[:-padding])
        return opened
