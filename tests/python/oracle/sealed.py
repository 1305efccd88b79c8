"""Sealing of an upload's secrets: HPKE (RFC 9180), base mode, single shot, written out.

KEM 0x647A (ML-KEM-768 + X25519), KDF HKDF-SHA256, AEAD AES-256-GCM. X25519, AES-GCM, HMAC and the
opening of ML-KEM are `cryptography`'s and Python's; the combination is this file's, with the
sender's randomness as an argument.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric import mlkem as library_mlkem
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import mlkem, streams

ENGINE_NATIVE = 1
KEM, KDF, AEAD = 0x647A, 0x0001, 0x0002
KEM_LABEL = bytes([0x5C, 0x2E, 0x2F, 0x2F, 0x5E, 0x5C])
PUBLIC_BYTES = mlkem.PUBLIC_BYTES + 32
ENCAPSULATED_BYTES = mlkem.CIPHERTEXT_BYTES + 32
#: What sealing adds to a secret, and a sealed key without a tag.
SEAL_BYTES = ENCAPSULATED_BYTES + 16
SEALED_BYTES = SEAL_BYTES + 32


@dataclass(frozen=True)
class SecretKey:
    """The key holder's two private keys."""

    mlkem_seed: bytes
    x25519_private: bytes

    @cached_property
    def public(self) -> bytes:
        """The public key's body."""
        private = x25519.X25519PrivateKey.from_private_bytes(self.x25519_private)
        return mlkem.public_key(self.mlkem_seed) + private.public_key().public_bytes_raw()


def _x25519(private: bytes, public: bytes) -> bytes:
    key = x25519.X25519PrivateKey.from_private_bytes(private)
    return key.exchange(x25519.X25519PublicKey.from_public_bytes(public))


def _combine(secret_m: bytes, secret_x: bytes, sender: bytes, receiver: bytes) -> bytes:
    return hashlib.sha3_256(secret_m + secret_x + sender + receiver + KEM_LABEL).digest()


def _extract(suite: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
    labelled = b"HPKE-v1" + suite + label + key
    return hmac.digest(salt or bytes(32), labelled, "sha256")


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    assert size <= 32  # one block of HKDF
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(secret, labelled + b"\x01", "sha256")[:size]


def _key_and_nonce(shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Section 5.1, base mode."""
    suite = b"HPKE" + b"".join(x.to_bytes(2, "big") for x in (KEM, KDF, AEAD))
    context = (
        b"\x00"
        + _extract(suite, b"", b"psk_id_hash", b"")
        + _extract(suite, b"", b"info_hash", info)
    )
    secret = _extract(suite, shared, b"secret", b"")
    return (
        _expand(suite, secret, b"key", context, 32),
        _expand(suite, secret, b"base_nonce", context, 12),
    )


def seal(public: bytes, info: bytes, plaintext: bytes, randomness: bytes) -> bytes:
    """Encapsulated key || ciphertext; 64 bytes of randomness."""
    assert len(public) == PUBLIC_BYTES
    receiver = public[mlkem.PUBLIC_BYTES :]
    secret_m, ciphertext_m = mlkem.encapsulate(public[: mlkem.PUBLIC_BYTES], randomness[:32])
    ephemeral = x25519.X25519PrivateKey.from_private_bytes(randomness[32:64])
    sender = ephemeral.public_key().public_bytes_raw()
    shared = _combine(secret_m, _x25519(randomness[32:64], receiver), sender, receiver)
    key, nonce = _key_and_nonce(shared, info)
    return ciphertext_m + sender + AESGCM(key).encrypt(nonce, plaintext, b"")


def unseal(secret: SecretKey, info: bytes, sealed: bytes) -> bytes:
    """The plaintext; `cryptography`'s InvalidTag where key, info or bytes do not fit."""
    assert len(sealed) >= ENCAPSULATED_BYTES
    holder = library_mlkem.MLKEM768PrivateKey.from_seed_bytes(secret.mlkem_seed)
    sender = sealed[mlkem.CIPHERTEXT_BYTES : ENCAPSULATED_BYTES]
    shared = _combine(
        holder.decapsulate(sealed[: mlkem.CIPHERTEXT_BYTES]),
        _x25519(secret.x25519_private, sender),
        sender,
        secret.public[mlkem.PUBLIC_BYTES :],
    )
    key, nonce = _key_and_nonce(shared, info)
    return AESGCM(key).decrypt(nonce, sealed[ENCAPSULATED_BYTES:], b"")


def key_info(round_id: bytes, client: int, nonce: bytes, key_id: bytes) -> bytes:
    """What a sealed key is bound to."""
    return b"veilsum/2/sealed-key" + round_id + client.to_bytes(4, "little") + nonce + key_id


def share_info(
    round_id: bytes, client: int, nonce: bytes, member: int, identity_id: bytes
) -> bytes:
    """What a member's sealed share is bound to."""
    context = round_id + client.to_bytes(4, "little") + nonce
    return b"veilsum/2/sealed-share" + context + member.to_bytes(4, "little") + identity_id


def answer_info(round_id: bytes, certified: bytes, member: int) -> bytes:
    """What a member's sealed answer is bound to."""
    return b"veilsum/2/sealed-answer" + round_id + certified + member.to_bytes(4, "little")


def public_fields(body: bytes, engine: int = ENGINE_NATIVE, parts: Sequence[bytes] = ()) -> bytes:
    """A public key's payload: engine, ids of the parties before, its engine's own bytes."""
    head = bytes([engine, len(parts)]) + b"".join(parts)
    return head + len(body).to_bytes(4, "little") + body


def key_id(body: bytes, engine: int = ENGINE_NATIVE, parts: Sequence[bytes] = ()) -> bytes:
    """16 bytes that name a public key."""
    return streams.label_hash("veilsum/2/public-key-id", public_fields(body, engine, parts))[:16]
