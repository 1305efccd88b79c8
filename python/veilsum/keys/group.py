"""Groups: the two keys that the clients of a training share and nobody else has.

Layer: Python API, keys, over roster, identity and sealing. The tag key is what makes the sum's tag;
the reading key is what committees seal their answers to. One client makes both, signs what it made,
and seals it to every identity of the roster; its bytes may pass through anybody's hands. Which keys
a round uses stands in the round, as commitments. It must not know rounds.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Iterable
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from veilsum import _core
from veilsum.arguments import check_type, type_name
from veilsum.errors import KeyMismatchError, ParameterError, RoundError, WireFormatError
from veilsum.keys import sealing
from veilsum.keys.identity import Identity, PublicIdentity, Signer
from veilsum.keys.roster import Roster

__all__ = ["Group"]

_KIND: Final = 15  # of the envelope
_TAG_KEY_BYTES: Final = 32
_SECRET_BYTES: Final = _TAG_KEY_BYTES + 64 + 32  # with an ML-KEM-768 seed and an X25519 key
_SEALED_BYTES: Final = _SECRET_BYTES + 1136
_READING_KEY_BYTES: Final = 1184 + 32
_HEAD: Final = struct.Struct("<32s32s32sI")  # training, roster, tag key's commitment, maker


class Group:
    """The keys that the clients of one training share.

    One client makes them (`create`), and hands `sealed` to all others, through the aggregator or
    anybody else; each opens it with its identity (`open`). A round made with ``group=g.commitment``
    has tags, which find every change of the sum, and is read by these clients alone.

    Attributes
    ----------
    commitment : (bytes, bytes)
        What rounds say of the group: a hash of the tag key, and the public reading key.
    sealed : bytes
        The keys, sealed to each identity of the roster and signed by the client that made them; no
        secret. Keep it: `open` gives the keys again.
    training : bytes
        32 bytes that name the training.
    """

    __slots__ = ("_curve", "_lattice", "_reading_key", "_sealed", "_tag_key", "_training")

    def __init__(
        self,
        training: bytes,
        tag_key: bytes,
        lattice: MLKEM768PrivateKey,
        curve: X25519PrivateKey,
        sealed: bytes,
    ) -> None:
        """Hold keys; `create` makes them and `open` opens them.

        Parameters
        ----------
        training : bytes
            32 bytes that name the training.
        tag_key : bytes
            32 bytes, secret.
        lattice, curve : MLKEM768PrivateKey, X25519PrivateKey
            The reading key.
        sealed : bytes
            Both, as they travel.
        """
        self._training = training
        self._tag_key = tag_key
        self._lattice = lattice
        self._curve = curve
        self._reading_key = (
            lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        )
        self._sealed = sealed

    @classmethod
    def create(
        cls,
        me: Identity | Signer,
        roster: Roster | Iterable[PublicIdentity],
        training: str | bytes = b"",
    ) -> Group:
        """Make a group's keys from the operating system's entropy.

        Parameters
        ----------
        me : Identity
            Of the client that makes them, who is on the roster.
        roster : Roster or iterable of PublicIdentity
            All clients.
        training : str or bytes
            Names the training: keys of one training are refused in another.

        Returns
        -------
        Group
            With `sealed`, for the other clients.

        Raises
        ------
        ParameterError
            When `me` is not on the roster.
        """
        clients = roster if isinstance(roster, Roster) else Roster(roster)
        check_type("Group.create(me, roster)", "me", me, Signer)
        maker = clients.index(me)
        name = _training_id(training)
        lattice, curve = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        tag_key = os.urandom(_TAG_KEY_BYTES)
        made = cls(name, tag_key, lattice, curve, b"")
        secret = tag_key + lattice.private_bytes_raw() + curve.private_bytes_raw()
        head = _HEAD.pack(name, _roster_id(clients), _commitment_of(tag_key), maker)
        head += made._reading_key
        parts = [client.seal(_info(head, place), secret) for place, client in enumerate(clients)]
        body = head + b"".join(parts)
        signature = me.sign(_signed(body))
        before, after = _core._frame_around(_KIND, [body, signature])
        made._sealed = before + body + signature + after
        return made

    @classmethod
    def open(
        cls,
        identity: Identity,
        sealed: bytes | bytearray | memoryview,
        roster: Roster | Iterable[PublicIdentity],
        training: str | bytes | None = None,
    ) -> Group:
        """Open a group's keys.

        Parameters
        ----------
        identity : Identity
            Of a client on the roster.
        sealed : bytes-like
            What `sealed` of the client that made them says; untrusted.
        roster : Roster or iterable of PublicIdentity
            All clients, as the maker listed them.
        training : str or bytes, optional
            As the maker named it; by default any will do. Rounds say which keys they use.

        Returns
        -------
        Group
            The same keys.

        Raises
        ------
        WireFormatError
            When the bytes are malformed.
        KeyMismatchError
            When they were made for another training or roster, or are not sealed to this identity.
        RoundError
            When the maker's signature does not hold, or what it sealed is not what it says.
        ParameterError
            When `identity` is not on the roster.
        """
        clients = roster if isinstance(roster, Roster) else Roster(roster)
        check_type("Group.open(identity, sealed, roster)", "identity", identity, Identity)
        place = clients.index(identity)
        data = bytes(sealed)
        payload = bytes(_core._open_envelope(data, _KIND))
        body_bytes = _HEAD.size + _READING_KEY_BYTES + _SEALED_BYTES * len(clients)
        if len(payload) < _HEAD.size:
            raise WireFormatError(f"group keys: truncated: {len(payload)} bytes")
        name, listed, commitment, maker = _HEAD.unpack_from(payload)
        other = training is not None and name != _training_id(training)
        if other or listed != _roster_id(clients):
            raise KeyMismatchError(
                "the group's keys were made for another training or another roster than these"
            )
        if maker >= len(clients) or len(payload) != body_bytes + clients[maker].signature_bytes:
            raise WireFormatError("group keys: their length is not that of this roster's")
        body, signature = payload[:body_bytes], payload[body_bytes:]
        if not clients[maker].verify(signature, _signed(body)):
            raise RoundError(
                f"the signature of client {maker}, who made the group's keys, does not hold: they "
                f"were altered, or somebody else made them"
            )
        head = body[: _HEAD.size + _READING_KEY_BYTES]
        first = len(head) + _SEALED_BYTES * place
        secret = identity.open(_info(head, place), body[first : first + _SEALED_BYTES])
        if secret is None or len(secret) != _SECRET_BYTES:
            raise KeyMismatchError(
                f"the group's keys that client {maker} sealed for client {place} are not for this "
                f"identity"
            )
        tag_key, seed, curve = secret[:32], secret[32:96], secret[96:]
        made = cls(
            name,
            tag_key,
            MLKEM768PrivateKey.from_seed_bytes(seed),
            X25519PrivateKey.from_private_bytes(curve),
            data,
        )
        if made.commitment != (commitment, head[_HEAD.size :]):
            raise RoundError(
                f"client {maker} sealed other group keys than those it signed for; it deviates"
            )
        return made

    @property
    def commitment(self) -> tuple[bytes, bytes]:
        """What rounds say of the group: the tag key's hash, 32 bytes, and the reading key."""
        return _commitment_of(self._tag_key), self._reading_key

    @property
    def sealed(self) -> bytes:
        """The keys, sealed to every client and signed by the one that made them. No secret."""
        return self._sealed

    @property
    def training(self) -> bytes:
        """32 bytes that name the training."""
        return self._training

    @property
    def id(self) -> bytes:
        """32 bytes that name both keys, for histories and messages."""
        commitment, reading = self.commitment
        return hashlib.sha256(b"veilsum/2/group-id" + commitment + reading).digest()

    def tag_key_for(self, rnd: _core.Round) -> bytes:
        """Give the tag key to the core, for a round of this group.

        Parameters
        ----------
        rnd : Round
            The round.

        Returns
        -------
        bytes
            32 bytes, secret.

        Raises
        ------
        KeyMismatchError
            When the round was made for another group, or for none.
        """
        self.check(rnd)
        return self._tag_key

    def check(self, rnd: _core.Round) -> None:
        """Refuse a round of another group.

        Parameters
        ----------
        rnd : Round
            The round.

        Raises
        ------
        KeyMismatchError
            When it was made for another group, or for none.
        """
        if rnd.group != self.commitment:
            raise KeyMismatchError(
                f"round {rnd.id.hex()[:16]} was made for "
                f"{'another group' if rnd.group else 'no group'}, not for this one"
            )

    def open_answer(self, key: bytes, info: bytes, sealed: bytes) -> bytes | None:
        """Open what a member sealed to the reading key; the callback that the core is given.

        Parameters
        ----------
        key : bytes
            Empty: the group knows its own.
        info : bytes
            The context.
        sealed : bytes
            What was sealed.

        Returns
        -------
        bytes or None
            The secret; None when it was not sealed to this group in this context.
        """
        del key
        return sealing.open_with(self._lattice, self._curve, info, sealed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and hmac.compare_digest(self.id, other.id)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<veilsum.Group {self.id.hex()[:16]}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "a Group holds secrets and cannot be pickled or copied; keep `sealed`, and open it "
            "with Group.open(identity, sealed, roster)"
        )


def _training_id(training: str | bytes) -> bytes:
    if not isinstance(training, (str, bytes)):
        raise ParameterError(f"training is {type_name(training)}, but must be a text or bytes")
    name = training.encode() if isinstance(training, str) else training
    return hashlib.sha256(b"veilsum/2/training-id" + name).digest()


def _roster_id(roster: Roster) -> bytes:
    return hashlib.sha256(
        b"veilsum/2/roster-id" + b"".join(client.id for client in roster)
    ).digest()


def _commitment_of(tag_key: bytes) -> bytes:
    return hashlib.sha256(b"veilsum/2/tag-key-commitment" + tag_key).digest()


def _info(head: bytes, place: int) -> bytes:
    return b"veilsum/2/group-keys" + hashlib.sha256(head).digest() + struct.pack("<I", place)


def _signed(body: bytes) -> bytes:
    return b"veilsum/2/group" + hashlib.sha256(body).digest()
