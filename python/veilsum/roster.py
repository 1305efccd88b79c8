"""Identities and rosters: who may take part in a round, by Ed25519 signatures.

Layer: Python API, beside rounds. Signing and verifying are done by the package `cryptography`; the
core only says which bytes to sign and calls back to have a signature verified. An identity file is
a PKCS #8 PEM file of mode 0600, its public half a PEM file that may be published, so that other
tools can read both.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn, Protocol, TypeAlias, final, overload, runtime_checkable

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from veilsum import _core, files
from veilsum.arguments import type_name
from veilsum.errors import ParameterError, WireFormatError

__all__ = ["Identity", "Roster", "Signer", "load_public_key", "save_public_key"]

PathLike: TypeAlias = str | os.PathLike[str]

_KEY_BYTES = 32
# What `cryptography` raises for bytes that are no key: a private key of 31 bytes, for one, reaches
# OpenSSL and comes back as an InternalError.
_NOT_A_KEY = (ValueError, TypeError, UnsupportedAlgorithm, InternalError)
_PUBLIC_PEM = b"-----BEGIN PUBLIC KEY"
_RAW = serialization.Encoding.Raw
_PEM = serialization.Encoding.PEM


@runtime_checkable
class Signer(Protocol):
    """Anything that signs for one client: an `Identity`, or a wrapper around a hardware token."""

    @property
    def public_key(self) -> bytes:
        """The 32-byte Ed25519 verification key."""
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
            The 64-byte Ed25519 signature (RFC 8032).
        """
        ...


@final
class Identity:
    """A client's Ed25519 signing key.

    It never shows its secret: not in `repr`, not in a pickle, not in an error. Make one with
    `generate`, keep it with `save`, and hand `public_key` to whoever makes the round's roster.
    """

    __slots__ = ("_private", "_public")

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        """Wrap a private key of the package `cryptography`.

        Parameters
        ----------
        private_key : Ed25519PrivateKey
            The key to sign with.

        Raises
        ------
        ParameterError
            When it is anything else.
        """
        if not isinstance(private_key, Ed25519PrivateKey):
            raise ParameterError(
                "an Identity is made by Identity.generate() or Identity.load(path), or from an "
                "Ed25519PrivateKey of the package cryptography"
            )
        self._private = private_key
        self._public = _raw(private_key.public_key())

    @classmethod
    def generate(cls) -> Identity:
        """Make a new identity from the operating system's entropy.

        Returns
        -------
        Identity
            Not yet stored anywhere.
        """
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: PathLike) -> Identity:
        """Read an identity file.

        Parameters
        ----------
        path : str or path
            A PKCS #8 PEM file without a password, of mode 0600.

        Returns
        -------
        Identity
            The key in the file.

        Raises
        ------
        ParameterError
            When group or others can access the file.
        WireFormatError
            When it holds no Ed25519 private key.
        OSError
            When it cannot be read.
        """
        data = files.read_secret(path, public=_PUBLIC_PEM)
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except _NOT_A_KEY:
            # Not chained: the reason of a parser may quote what it was parsing.
            raise WireFormatError(_not_a_key(path, "private")) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise WireFormatError(_not_a_key(path, "private"))
        return cls(key)

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
        data = self._private.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files.write_secret(path, data, overwrite=overwrite)

    @property
    def public_key(self) -> bytes:
        """The 32-byte verification key: what a roster lists."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Sign a message.

        Parameters
        ----------
        message : bytes
            What to sign, whole; Ed25519 hashes it itself.

        Returns
        -------
        bytes
            The 64-byte signature (RFC 8032).
        """
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"<veilsum.Identity {self._public.hex()[:16]}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an Identity is a secret and cannot be pickled or copied; use save(path)")


class Roster:
    """The clients of a round, in order, by their verification keys.

    A client's number in a round is its place in the roster.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[bytes | Signer]) -> None:
        """List the clients.

        Parameters
        ----------
        keys : iterable of bytes or Identity
            32-byte Ed25519 verification keys; of an identity, its public key is taken.

        Raises
        ------
        ParameterError
            When there is none, one is malformed or identifies nobody, or one is listed twice.
        """
        self._keys = tuple(_check_key(key, index) for index, key in enumerate(keys))
        if not self._keys:
            raise ParameterError("the roster is empty; list one public key for each client")
        seen: dict[bytes, int] = {}
        for index, key in enumerate(self._keys):
            if key in seen:
                raise ParameterError(
                    f"clients {seen[key]} and {index} of the roster have the same key; "
                    f"every client signs with a key of its own"
                )
            seen[key] = index

    @classmethod
    def load(cls, paths: Iterable[PathLike]) -> Roster:
        """Read a roster from public key files.

        Parameters
        ----------
        paths : iterable of str or path
            One PEM file for each client, in order.

        Returns
        -------
        Roster
            The clients numbered as the files are.

        Raises
        ------
        ParameterError
            When there is none, one path stands for the list, or two hold the same key.
        WireFormatError
            When a file holds no Ed25519 public key.
        OSError
            When a file cannot be read.
        """
        if isinstance(paths, (str, os.PathLike)):
            raise ParameterError(
                f"paths is one path, {os.fspath(paths)}; give a list with the file of each client"
            )
        return cls([load_public_key(path) for path in paths])

    def index(self, key: bytes | Signer) -> int:
        """Find a client's number.

        Parameters
        ----------
        key : bytes or Identity
            The client's verification key.

        Returns
        -------
        int
            From 0.

        Raises
        ------
        ParameterError
            When the roster does not list it.
        """
        wanted = _check_key(key, 0)
        if wanted not in self._keys:
            raise ParameterError(f"the key is not one of the roster's {len(self)} clients")
        return self._keys.index(wanted)

    @staticmethod
    def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Check an Ed25519 signature; this is the callback that the core is given.

        Parameters
        ----------
        public_key : bytes
            32 bytes.
        signature : bytes
            64 bytes.
        message : bytes
            What was signed.

        Returns
        -------
        bool
            Whether the signature is valid; malformed keys and signatures are just not valid, and
            neither is any signature of a key that a roster would refuse.
        """
        try:
            _core.check_verification_key(public_key)
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except (InvalidSignature, ValueError):  # ParameterError is a ValueError
            return False
        return True

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._keys)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[bytes, ...]: ...
    def __getitem__(self, index: int | slice) -> bytes | tuple[bytes, ...]:
        return self._keys[index]

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Roster) and self._keys == other._keys

    def __hash__(self) -> int:
        return hash(self._keys)

    def __repr__(self) -> str:
        return f"<veilsum.Roster of {len(self)} clients>"


def load_public_key(path: PathLike) -> bytes:
    """Read a client's public key file.

    Parameters
    ----------
    path : str or path
        A PEM file.

    Returns
    -------
    bytes
        The 32-byte verification key.

    Raises
    ------
    WireFormatError
        When it holds no Ed25519 public key.
    OSError
        When it cannot be read.
    """
    with Path(path).open("rb") as file:
        data = file.read(1 << 16)
    try:
        key = serialization.load_pem_public_key(data)
    except _NOT_A_KEY:
        raise WireFormatError(_not_a_key(path, "public")) from None
    if not isinstance(key, Ed25519PublicKey):
        raise WireFormatError(_not_a_key(path, "public"))
    return _raw(key)


def save_public_key(path: PathLike, public_key: bytes) -> None:
    """Write a client's public key file.

    Parameters
    ----------
    path : str or path
        Its name; an existing file is replaced.
    public_key : bytes
        The 32-byte verification key.

    Raises
    ------
    ParameterError
        When the key is malformed.
    OSError
        When it cannot be written.
    """
    key = Ed25519PublicKey.from_public_bytes(_check_key(public_key, 0))
    data = key.public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with files.atomic_file(path) as file:
        file.write(data)


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(_RAW, serialization.PublicFormat.Raw)


def _check_key(key: object, index: int) -> bytes:
    public = key if isinstance(key, (bytes, bytearray)) else getattr(key, "public_key", None)
    if not isinstance(public, (bytes, bytearray)):
        raise ParameterError(
            f"client {index} of the roster is {type_name(key)}; give the "
            f"{_KEY_BYTES}-byte public_key of its Identity"
        )
    if len(public) != _KEY_BYTES:
        raise ParameterError(
            f"client {index} of the roster has a key of {len(public)} bytes; an Ed25519 public key "
            f"has {_KEY_BYTES}"
        )
    try:
        _core.check_verification_key(public)
    except ParameterError as reason:
        raise ParameterError(
            f"client {index} of the roster: {reason}; ask the client for the public key of its "
            f"identity"
        ) from None
    return bytes(public)


def _not_a_key(path: PathLike, half: str) -> str:
    return (
        f"{os.fspath(path)} holds no Ed25519 {half} key in PEM form; make one with: veilsum "
        f"identity new NAME"
    )
