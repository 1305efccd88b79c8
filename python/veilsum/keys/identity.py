"""Identities: a party's signing keys and KEM key, secret half and public half.

Layer: Python API, keys. An identity signs with Ed25519 and, where it was made so, with ML-DSA-65 as
well; secrets are sealed to its ML-KEM-768 and X25519 keys together. All of that is done by the
package `cryptography`; the core checks the bytes of public halves. An identity file holds one PKCS
#8 PEM block a key, so that other tools read it, and the id of their public half, so that a mixed or
damaged file is found. It must not know rounds.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NoReturn, Protocol, TypeAlias, cast, final, runtime_checkable

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from veilsum import _core
from veilsum.arguments import type_name
from veilsum.errors import BackendUnavailableError, ParameterError, WireFormatError
from veilsum.keys import sealing
from veilsum.layout import files
from veilsum.outputs import open_input

__all__ = ["Identity", "PublicIdentity", "Signer"]

PathLike: TypeAlias = str | os.PathLike[str]
_PrivateKey: TypeAlias = (
    Ed25519PrivateKey | X25519PrivateKey | MLKEM768PrivateKey | MLDSA65PrivateKey
)

_ED25519_SIGNATURE: Final = 64
_ED25519_ALONE: Final = b"\x01"
_POST_QUANTUM: Final = b"\x02"
#: What both keys of a post-quantum identity sign begins with, so that neither half of a signature
#: is one of another identity that has the same key.
_BOTH: Final = b"veilsum/2/two-signatures"
#: What an identity file holds, in order; the last one may be missing.
_KINDS: Final = (Ed25519PrivateKey, X25519PrivateKey, MLKEM768PrivateKey, MLDSA65PrivateKey)
_BLOCK: Final = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n([A-Za-z0-9+/=\r\n]*)-----END \1-----\s*"
)
_PRIVATE: Final = b"PRIVATE KEY"
_ID: Final = b"VEILSUM IDENTITY"
#: Kind and version of a public identity's envelope.
_PUBLIC_FILE: Final = b"VSUM\x02\x00\x0a\x00"
_MOST_BYTES: Final = 1 << 16
# What `cryptography` raises for bytes that are no key: a private key of 31 bytes, for one, reaches
# OpenSSL and comes back as an InternalError.
_NOT_A_KEY: Final = (ValueError, TypeError, UnsupportedAlgorithm, InternalError)


@runtime_checkable
class Signer(Protocol):
    """Anything that signs for one party: an `Identity`, or a wrapper around a hardware token."""

    @property
    def public(self) -> PublicIdentity:
        """The public half, as rosters list it."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Sign a message.

        Parameters
        ----------
        message : bytes
            What to sign, whole.

        Returns
        -------
        bytes
            What ``public.verify`` accepts: each key's signature of
            ``public.signing_input(message)``, the Ed25519 one first.
        """
        ...


class PublicIdentity(_core.PublicIdentity):
    """The public half of an identity: what rosters list, and what may be published.

    It checks signatures, of which all must hold, and seals secrets that only the secret half opens.
    A client's keys are all its own: no roster takes two identities that share one.

    Attributes
    ----------
    id : bytes
        32 bytes that name it: a hash of all its keys.
    post_quantum : bool
        Whether it signs with ML-DSA-65 as well as with Ed25519.
    signature_bytes : int
        Length of its signatures: 64, or 3373.
    fields : bytes
        The form in which rounds list it (docs/wire-format.md).
    ed25519, kem, ml_dsa : bytes
        Its keys: 32 bytes; 1216 (ML-KEM-768, then X25519); 1952, or none.
    """

    @classmethod
    def of_core(cls, core: _core.PublicIdentity) -> PublicIdentity:
        """Make one of a core's object.

        Parameters
        ----------
        core : _core.PublicIdentity
            As the core's rounds have them.

        Returns
        -------
        PublicIdentity
            The same identity.
        """
        return core if isinstance(core, cls) else cls(core)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> PublicIdentity:
        """Read a public identity from untrusted bytes.

        Parameters
        ----------
        data : bytes-like
            What `to_bytes` wrote.

        Returns
        -------
        PublicIdentity
            Equal to the one that was written.

        Raises
        ------
        WireFormatError
            When the bytes are malformed, or one of the keys protects nothing or identifies nobody.
        """
        return cls(_core.PublicIdentity.from_bytes(data))

    @classmethod
    def load(cls, path: PathLike) -> PublicIdentity:
        """Read a public identity from a file.

        Parameters
        ----------
        path : str or path
            What `save` wrote.

        Returns
        -------
        PublicIdentity
            Equal to the one that was saved.

        Raises
        ------
        WireFormatError
            When the content is malformed, or is the secret half.
        OSError
            When the file cannot be read.
        """
        with files.named_errors(path), open_input(path) as file:
            data = file.read(_MOST_BYTES)
            if data.startswith(b"-----BEGIN PRIVATE KEY"):
                raise WireFormatError(
                    "this is a secret identity, which stays with its owner; give the public half, "
                    "the file that ends in .pub"
                )
            if data.startswith(b"-----BEGIN PUBLIC KEY"):
                raise WireFormatError(
                    "this is a public key in PEM form, and no public identity: those have a KEM "
                    "key too; make a new one with: veilsum identity new NAME"
                )
            return cls.from_bytes(data)

    def save(self, path: PathLike) -> None:
        """Write the public identity to a file, which may be published.

        Parameters
        ----------
        path : str or path
            Its name; an existing file is replaced.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        with files.atomic_file(path) as file:
            file.write(self.to_bytes())

    def signing_input(self, message: bytes) -> bytes:
        """Say which bytes the keys sign for a message.

        Parameters
        ----------
        message : bytes
            What is to be signed.

        Returns
        -------
        bytes
            With Ed25519 alone the message itself. With two keys the message after a label and the
            identity's id: a half of such a signature holds for no other identity.
        """
        return _BOTH + self.id + message if self.post_quantum else message

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Check a signature; with two keys, both halves must hold.

        Parameters
        ----------
        signature : bytes
            What the identity's `sign` gave.
        message : bytes
            What was signed.

        Returns
        -------
        bool
            Whether it holds; of a malformed signature it does not.

        Raises
        ------
        ParameterError
            When `message` is no bytes.
        """
        message = self.signing_input(_bytes("message", message))
        if not _is_bytes(signature) or len(signature := bytes(signature)) != self.signature_bytes:
            return False
        first, second = signature[:_ED25519_SIGNATURE], signature[_ED25519_SIGNATURE:]
        try:
            _ed25519(self.ed25519).verify(first, message)
            if self.post_quantum:
                _ml_dsa(self.ml_dsa).verify(second, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def seal(self, info: bytes, secret: bytes) -> bytes:
        """Seal a secret, so that only this identity's secret half opens it.

        Parameters
        ----------
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
        ParameterError
            When either is no bytes.
        """
        return sealing.seal(self.kem, _bytes("info", info), _bytes("secret", secret))

    def __reduce__(self) -> tuple[Callable[[bytes], PublicIdentity], tuple[bytes]]:
        return PublicIdentity.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        how = ", post-quantum" if self.post_quantum else ""
        return f"<veilsum.PublicIdentity {self.id.hex()[:16]}{how}>"


@final
class Identity:
    """A party's secret keys: it signs, and opens what was sealed to its public half.

    It never shows its secrets: not in `repr`, not in a pickle, not in an error. Make one with
    `generate`, keep it with `save`, and hand `public` to whoever makes the round's roster.
    """

    __slots__ = ("_exchange", "_kem", "_lattice", "_public", "_signing")

    def __init__(
        self,
        signing: Ed25519PrivateKey,
        exchange: X25519PrivateKey,
        kem: MLKEM768PrivateKey,
        lattice: MLDSA65PrivateKey | None = None,
    ) -> None:
        """Wrap private keys of the package `cryptography`.

        Parameters
        ----------
        signing : Ed25519PrivateKey
            Signs.
        exchange, kem : X25519PrivateKey, MLKEM768PrivateKey
            Open together what is sealed to the identity.
        lattice : MLDSA65PrivateKey, optional
            Signs as well.

        Raises
        ------
        ParameterError
            When one is anything else.
        """
        if not _are_keys([signing, exchange, kem, *([] if lattice is None else [lattice])]):
            raise ParameterError(
                "an Identity is made by Identity.generate() or Identity.load(path), or from "
                "private keys of the package cryptography: Ed25519, X25519, ML-KEM-768 and, for a "
                "post-quantum one, ML-DSA-65"
            )
        self._signing = signing
        self._exchange = exchange
        self._kem = kem
        self._lattice = lattice
        fields = _ED25519_ALONE if lattice is None else _POST_QUANTUM
        fields += signing.public_key().public_bytes_raw()
        fields += kem.public_key().public_bytes_raw() + exchange.public_key().public_bytes_raw()
        if lattice is not None:
            fields += lattice.public_key().public_bytes_raw()
        self._public = PublicIdentity(fields)

    @classmethod
    def generate(cls, *, post_quantum: bool = False) -> Identity:
        """Make a new identity from the operating system's entropy.

        Parameters
        ----------
        post_quantum : bool
            Sign with ML-DSA-65 as well as with Ed25519. Signatures then have 3373 bytes in place of
            64. What is sealed to an identity is safe from quantum computers either way.

        Returns
        -------
        Identity
            Not yet stored anywhere.

        Raises
        ------
        BackendUnavailableError
            When the package `cryptography` was built without ML-KEM or ML-DSA.
        """
        try:
            return cls(
                Ed25519PrivateKey.generate(),
                X25519PrivateKey.generate(),
                MLKEM768PrivateKey.generate(),
                MLDSA65PrivateKey.generate() if post_quantum else None,
            )
        except UnsupportedAlgorithm:
            raise BackendUnavailableError(
                "the package cryptography was built without ML-KEM or ML-DSA; install one of its "
                "own wheels: pip install --upgrade cryptography"
            ) from None

    @classmethod
    def load(cls, path: PathLike) -> Identity:
        """Read an identity file.

        Parameters
        ----------
        path : str or path
            What `save` wrote, of mode 0600.

        Returns
        -------
        Identity
            The keys in the file.

        Raises
        ------
        ParameterError
            When group or others can access the file.
        WireFormatError
            When it holds no identity, or parts of several.
        OSError
            When it cannot be read.
        """
        name = os.fspath(path)
        data = files.read_secret(path, public=_PUBLIC_FILE)
        blocks = _blocks(data) if len(data) <= _MOST_BYTES else []
        labels = [label for label, _ in blocks]
        keys = [_private_key(block) for label, block in blocks if label == _PRIVATE]
        # Not chained to what a parser says: it may quote what it was parsing.
        if labels == [_PRIVATE] and isinstance(keys[0], Ed25519PrivateKey):
            raise WireFormatError(
                f"{name} holds an Ed25519 private key alone; an identity has a KEM key too: make a "
                f"new one with: veilsum identity new NAME"
            )
        if labels not in ([_PRIVATE] * 3 + [_ID], [_PRIVATE] * 4 + [_ID]) or not _are_keys(keys):
            raise WireFormatError(
                f"{name} holds no identity, or a damaged one; make one with: veilsum identity new "
                f"NAME"
            )
        identity = cls(
            cast(Ed25519PrivateKey, keys[0]),
            cast(X25519PrivateKey, keys[1]),
            cast(MLKEM768PrivateKey, keys[2]),
            cast(MLDSA65PrivateKey, keys[3]) if len(keys) == 4 else None,
        )
        if _content(blocks[-1][1]) != identity.public.id:
            raise WireFormatError(
                f"{name} does not hold the keys of one identity: the file is damaged, or parts of "
                f"several were mixed"
            )
        return identity

    def save(self, path: PathLike, *, overwrite: bool = False) -> None:
        """Write the identity to a file of mode 0600.

        Parameters
        ----------
        path : str or path
            Its name.
        overwrite : bool
            Whether an existing file may be replaced.

        Raises
        ------
        FileExistsError
            When it exists and `overwrite` is false.
        OSError
            When it cannot be written.
        """
        keys = (self._signing, self._exchange, self._kem, self._lattice)
        blocks = [
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            for key in keys
            if key is not None
        ]
        blocks.append(
            b"-----BEGIN %b-----\n%b\n-----END %b-----\n"
            % (_ID, base64.b64encode(self._public.id), _ID)
        )
        files.write_secret(path, b"".join(blocks), overwrite=overwrite)

    @property
    def public(self) -> PublicIdentity:
        """The public half: what a roster lists."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Sign a message.

        Parameters
        ----------
        message : bytes
            What to sign, whole.

        Returns
        -------
        bytes
            The Ed25519 signature of ``public.signing_input(message)``, 64 bytes; of a post-quantum
            identity, ML-DSA-65's 3309 bytes follow (empty context).

        Raises
        ------
        ParameterError
            When `message` is no bytes.
        """
        message = self._public.signing_input(_bytes("message", message))
        signature = self._signing.sign(message)
        return signature if self._lattice is None else signature + self._lattice.sign(message)

    def open(self, info: bytes, sealed: bytes) -> bytes | None:
        """Open what was sealed to the public half.

        Parameters
        ----------
        info : bytes
            The context it was sealed in.
        sealed : bytes
            What ``public.seal`` gave.

        Returns
        -------
        bytes or None
            The secret; None when it was not sealed to this identity in this context.

        Raises
        ------
        ParameterError
            When either is no bytes.
        """
        return sealing.open_with(
            self._kem, self._exchange, _bytes("info", info), _bytes("sealed", sealed)
        )

    def __repr__(self) -> str:
        how = ", post-quantum" if self._public.post_quantum else ""
        return f"<veilsum.Identity {self._public.id.hex()[:16]}{how}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an Identity is a secret and cannot be pickled or copied; use save(path)")


# Parsed once: a member checks the signatures of the same clients round after round.
@lru_cache(maxsize=1024)
def _ed25519(key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(key)


@lru_cache(maxsize=1024)
def _ml_dsa(key: bytes) -> MLDSA65PublicKey:
    return MLDSA65PublicKey.from_public_bytes(key)


def _is_bytes(data: object) -> bool:
    return isinstance(data, (bytes, bytearray, memoryview))


def _bytes(name: str, data: bytes) -> bytes:
    if not _is_bytes(data):
        raise ParameterError(f"{name} is {type_name(data)}, but must be bytes")
    return bytes(data)


def _are_keys(keys: Sequence[object]) -> bool:
    """Whether these are an identity's private keys, in its order; three or four."""
    return all(isinstance(key, kind) for key, kind in zip(keys, _KINDS, strict=False))


def _blocks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Label and text of each PEM block; nothing when there is anything else in the file."""
    found, end = [], 0
    for match in _BLOCK.finditer(data):
        if match.start() != end:
            return []
        found.append((match[1], match[0]))
        end = match.end()
    return found if end == len(data) else []


def _content(block: bytes) -> bytes:
    match = _BLOCK.fullmatch(block)
    try:
        return base64.b64decode(match[2], validate=False) if match else b""
    except binascii.Error:
        return b""


def _private_key(block: bytes) -> _PrivateKey | None:
    try:
        key = serialization.load_pem_private_key(block, password=None)
    except _NOT_A_KEY:
        return None
    return key if isinstance(key, _KINDS) else None
