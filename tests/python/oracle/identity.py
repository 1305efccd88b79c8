"""Public identities and their signatures: the form in which rosters list them, and what is signed.

Ed25519, X25519 and ML-DSA-65 are `cryptography`'s; ML-KEM's key, the layout and the rules for weak
keys are written out here and in `mlkem`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, x25519

from . import mlkem, sealed, streams

ED25519, POST_QUANTUM = 1, 2
ED25519_BYTES, KEM_BYTES, ML_DSA_BYTES = 32, mlkem.PUBLIC_BYTES + 32, 1952
FIELDS_BYTES = {
    ED25519: 1 + ED25519_BYTES + KEM_BYTES,
    POST_QUANTUM: 1 + ED25519_BYTES + KEM_BYTES + ML_DSA_BYTES,
}
SIGNATURE_BYTES = {ED25519: 64, POST_QUANTUM: 64 + 3309}


@dataclass(frozen=True)
class Secret:
    """A party's private keys; `ml_dsa_seed` is empty where it signs with Ed25519 alone."""

    ed25519_private: bytes
    mlkem_seed: bytes
    x25519_private: bytes
    ml_dsa_seed: bytes = b""

    @cached_property
    def public(self) -> bytes:
        """What rosters list."""
        signing = ed25519.Ed25519PrivateKey.from_private_bytes(self.ed25519_private)
        exchange = x25519.X25519PrivateKey.from_private_bytes(self.x25519_private)
        out = bytes([POST_QUANTUM if self.ml_dsa_seed else ED25519])
        out += signing.public_key().public_bytes_raw()
        out += mlkem.public_key(self.mlkem_seed)
        out += exchange.public_key().public_bytes_raw()
        if self.ml_dsa_seed:
            out += self._lattice().public_key().public_bytes_raw()
        assert len(out) == FIELDS_BYTES[out[0]]
        return out

    @property
    def kem(self) -> sealed.SecretKey:
        """What opens what is sealed to this party."""
        return sealed.SecretKey(self.mlkem_seed, self.x25519_private)

    def sign(self, message: bytes) -> bytes:
        """Ed25519's signature is the same at every call, ML-DSA's is not."""
        signed = signing_input(self.public, message)
        signing = ed25519.Ed25519PrivateKey.from_private_bytes(self.ed25519_private)
        return signing.sign(signed) + (self._lattice().sign(signed) if self.ml_dsa_seed else b"")

    def _lattice(self) -> mldsa.MLDSA65PrivateKey:
        return mldsa.MLDSA65PrivateKey.from_seed_bytes(self.ml_dsa_seed)


def identity_id(public: bytes) -> bytes:
    """32 bytes that name a public identity."""
    return streams.label_hash("veilsum/2/identity-id", public)


def kem_key(public: bytes) -> bytes:
    """What is sealed to."""
    return public[33 : 33 + KEM_BYTES]


def signing_input(public: bytes, message: bytes) -> bytes:
    """What the keys sign."""
    if public[0] == ED25519:
        return message
    return b"veilsum/2/two-signatures" + identity_id(public) + message


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether every half holds."""
    if len(signature) != SIGNATURE_BYTES[public[0]]:
        return False
    signed = signing_input(public, message)
    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(public[1:33])
        key.verify(signature[:64], signed)
        if public[0] == POST_QUANTUM:
            lattice = mldsa.MLDSA65PublicKey.from_public_bytes(public[-ML_DSA_BYTES:])
            lattice.verify(signature[64:], signed)
    except InvalidSignature:
        return False
    return True
