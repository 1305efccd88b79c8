"""Sealing of small secrets to a KEM key: HPKE with ML-KEM-768 and X25519.

Layer: Python API, keys. RFC 9180 in its base mode, single shot, by the package `cryptography`; the
suite is pinned in docs/wire-format.md. What is sealed, and in which context, is the caller's: the
callables here get bytes and give bytes. What `cryptography` keeps of a secret key is out of our
hands (SECURITY.md).
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

from veilsum import _core

__all__ = ["generate_key_pair", "open_sealed", "open_with", "public_half", "seal"]

_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_MLKEM_PUBLIC_BYTES = 1184
_MLKEM_SEED_BYTES = 64
_NATIVE = 1  # the engine's number


def generate_key_pair() -> tuple[_core.SecretKey, _core.PublicKey]:
    """Make a key pair from the operating system's entropy.

    Returns
    -------
    (SecretKey, PublicKey)
        Both halves.
    """
    lattice = mlkem.MLKEM768PrivateKey.generate()
    curve = x25519.X25519PrivateKey.generate()
    key = lattice.private_bytes_raw() + curve.private_bytes_raw()
    made = _core.PublicKey(_NATIVE, public_half(key))
    return _core.SecretKey(key, made), made


def public_half(key: bytes) -> bytes:
    """Compute the public half of a key pair.

    Parameters
    ----------
    key : bytes
        96 bytes: an ML-KEM-768 seed and an X25519 private key.

    Returns
    -------
    bytes
        1216 bytes.
    """
    lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(key[:_MLKEM_SEED_BYTES])
    curve = x25519.X25519PrivateKey.from_private_bytes(key[_MLKEM_SEED_BYTES:])
    return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()


def seal(key: bytes, info: bytes, secret: bytes) -> bytes:
    """Seal a secret to a public key.

    Parameters
    ----------
    key : bytes
        1216 bytes: an ML-KEM-768 encapsulation key and an X25519 public key.
    info : bytes
        The context; opening needs the same.
    secret : bytes
        What is sealed.

    Returns
    -------
    bytes
        1136 bytes more than the secret; other bytes at every call.

    Raises
    ------
    ValueError
        When `key` is not an encapsulation key.
    """
    return _SUITE.encrypt(secret, _public_key(key), info)


def open_sealed(key: bytes, info: bytes, sealed: bytes) -> bytes | None:
    """Open what was sealed.

    Parameters
    ----------
    key : bytes
        96 bytes: an ML-KEM-768 seed and an X25519 private key.
    info : bytes
        The context it was sealed in.
    sealed : bytes
        What `seal` gave.

    Returns
    -------
    bytes or None
        The secret; None when `sealed` was not made for this key and context.
    """
    lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(key[:_MLKEM_SEED_BYTES])
    curve = x25519.X25519PrivateKey.from_private_bytes(key[_MLKEM_SEED_BYTES:])
    return open_with(lattice, curve, info, sealed)


def open_with(
    lattice: mlkem.MLKEM768PrivateKey,
    curve: x25519.X25519PrivateKey,
    info: bytes,
    sealed: bytes,
) -> bytes | None:
    """Open what was sealed, with keys of the package `cryptography`.

    Parameters
    ----------
    lattice, curve : MLKEM768PrivateKey, X25519PrivateKey
        Both private keys.
    info : bytes
        The context it was sealed in.
    sealed : bytes
        What `seal` gave.

    Returns
    -------
    bytes or None
        The secret; None when `sealed` was not made for these keys and this context.
    """
    try:
        return _SUITE.decrypt(sealed, hpke.MLKEM768X25519PrivateKey(lattice, curve), info)
    except (InvalidTag, ValueError):
        return None


@lru_cache(maxsize=64)
def _public_key(key: bytes) -> hpke.MLKEM768X25519PublicKey:
    return hpke.MLKEM768X25519PublicKey(
        mlkem.MLKEM768PublicKey.from_public_bytes(key[:_MLKEM_PUBLIC_BYTES]),
        x25519.X25519PublicKey.from_public_bytes(key[_MLKEM_PUBLIC_BYTES:]),
    )


_core._set_public_half(public_half)
