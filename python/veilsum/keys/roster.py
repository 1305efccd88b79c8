"""Rosters: who may take part in a round, by the public halves of their identities.

Layer: Python API, keys, over identity. The core calls `Roster.verify` back to have a signature
checked, and refuses lists in which two clients share a key. It must not know rounds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeAlias, overload

from veilsum import _core
from veilsum.arguments import type_name
from veilsum.errors import ParameterError
from veilsum.keys.identity import PublicIdentity, Signer

__all__ = ["Roster", "public_identity"]

PathLike: TypeAlias = str | os.PathLike[str]


class Roster:
    """The clients of a round, in order, by their public identities.

    A client's number in a round is its place in the roster. Identities with Ed25519 alone and
    post-quantum ones may stand in one roster: each signs as its own asks.
    """

    __slots__ = ("_identities",)

    def __init__(self, identities: Iterable[PublicIdentity | Signer]) -> None:
        """List the clients.

        Parameters
        ----------
        identities : iterable of PublicIdentity or Identity
            Of an identity, its public half is taken.

        Raises
        ------
        ParameterError
            When there is none, one is none of these, or two have a key in common.
        """
        self._identities = tuple(
            public_identity(identity, f"client {index} of the roster")
            for index, identity in enumerate(identities)
        )
        if not self._identities:
            raise ParameterError("the roster is empty; list one public identity for each client")
        _core.check_distinct(self._identities)

    @classmethod
    def load(cls, paths: Iterable[PathLike]) -> Roster:
        """Read a roster from files of public identities.

        Parameters
        ----------
        paths : iterable of str or path
            One file for each client, in order.

        Returns
        -------
        Roster
            The clients numbered as the files are.

        Raises
        ------
        ParameterError
            When there is none, one path stands for the list, or two have a key in common.
        WireFormatError
            When a file holds no public identity.
        OSError
            When a file cannot be read.
        """
        if isinstance(paths, (str, os.PathLike)):
            raise ParameterError(
                f"paths is one path, {os.fspath(paths)}; give a list with the file of each client"
            )
        return cls([PublicIdentity.load(path) for path in paths])

    def index(self, identity: PublicIdentity | Signer) -> int:
        """Find a client's number.

        Parameters
        ----------
        identity : PublicIdentity or Identity
            The client's.

        Returns
        -------
        int
            From 0.

        Raises
        ------
        ParameterError
            When the roster does not list it.
        """
        wanted = public_identity(identity, "what is looked for")
        if wanted not in self._identities:
            raise ParameterError(f"the identity is not one of the roster's {len(self)} clients")
        return self._identities.index(wanted)

    @staticmethod
    def verify(public: bytes, signature: bytes, message: bytes) -> bool:
        """Check a signature; this is the callback that the core is given.

        Parameters
        ----------
        public : bytes
            The signer's public identity, in the form in which rounds list it.
        signature : bytes
            As its kind asks: 64 or 3373 bytes.
        message : bytes
            What was signed.

        Returns
        -------
        bool
            Whether the signature is valid; malformed identities and signatures are just not valid,
            and neither is any signature of an identity that a roster would refuse.
        """
        try:
            identity = _parse(bytes(public))
        except ParameterError:
            return False
        return identity.verify(signature, message)

    def __len__(self) -> int:
        return len(self._identities)

    def __iter__(self) -> Iterator[PublicIdentity]:
        return iter(self._identities)

    @overload
    def __getitem__(self, index: int) -> PublicIdentity: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[PublicIdentity, ...]: ...
    def __getitem__(self, index: int | slice) -> PublicIdentity | tuple[PublicIdentity, ...]:
        return self._identities[index]

    def __contains__(self, identity: object) -> bool:
        return identity in self._identities

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Roster) and self._identities == other._identities

    def __hash__(self) -> int:
        return hash(self._identities)

    def __repr__(self) -> str:
        return f"<veilsum.Roster of {len(self)} clients>"


def public_identity(identity: object, what: str) -> PublicIdentity:
    """Take the public half of what may be a whole identity.

    Parameters
    ----------
    identity : PublicIdentity or Identity
        A party.
    what : str
        What messages call it.

    Returns
    -------
    PublicIdentity
        Its public half.

    Raises
    ------
    ParameterError
        When it is neither.
    """
    public = identity
    if not isinstance(identity, _core.PublicIdentity):
        public = getattr(identity, "public", None)
    if not isinstance(public, _core.PublicIdentity):
        raise ParameterError(
            f"{what} is {type_name(identity)}; give a PublicIdentity: Identity.public, "
            f"PublicIdentity.load(path) or PublicIdentity.from_bytes(data)"
        )
    return PublicIdentity.of_core(public)


@lru_cache(maxsize=1024)
def _parse(fields: bytes) -> PublicIdentity:
    return PublicIdentity(fields)
