"""A group's keys: what makes tags, and what opens answers; sealed to each client of a training."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from . import identity, sealed, streams
from .wire import GROUP, Reader, payload_of, seal

SECRET_BYTES = 32 + 64 + 32


@dataclass(frozen=True)
class Secret:
    """What only the clients have."""

    tag_key: bytes
    reading: sealed.SecretKey

    @property
    def fields(self) -> bytes:
        return self.tag_key + self.reading.mlkem_seed + self.reading.x25519_private

    @property
    def commitment(self) -> tuple[bytes, bytes]:
        """What rounds say of the group."""
        named = streams.label_hash("veilsum/2/tag-key-commitment", self.tag_key)
        return named, self.reading.public

    @property
    def id(self) -> bytes:
        return streams.label_hash("veilsum/2/group-id", *self.commitment)


def training_id(name: bytes) -> bytes:
    return streams.label_hash("veilsum/2/training-id", name)


def roster_id(roster: list[bytes]) -> bytes:
    ids = [identity.identity_id(client) for client in roster]
    return streams.label_hash("veilsum/2/roster-id", *ids)


def key_info(head: bytes, place: int) -> bytes:
    """What a client's sealed keys are bound to."""
    return b"veilsum/2/group-keys" + hashlib.sha256(head).digest() + struct.pack("<I", place)


def signing_payload(body: bytes) -> bytes:
    return b"veilsum/2/group" + hashlib.sha256(body).digest()


@dataclass
class Group:
    """The keys as they travel."""

    training: bytes
    roster: bytes
    commitment: bytes  # of the tag key
    maker: int
    reading_key: bytes
    parts: list[bytes]
    signature: bytes = b""

    @property
    def head(self) -> bytes:
        lead = self.training + self.roster + self.commitment
        return lead + struct.pack("<I", self.maker) + self.reading_key

    @property
    def body(self) -> bytes:
        return self.head + b"".join(self.parts)

    def to_bytes(self) -> bytes:
        return seal(GROUP, self.body + self.signature)


def make(
    secret: Secret,
    maker: int,
    signer: identity.Secret,
    roster: list[bytes],
    training: bytes,
    randomness: list[bytes],
) -> Group:
    """What an honest client makes; `training` is its name."""
    named, reading = secret.commitment
    made = Group(training_id(training), roster_id(roster), named, maker, reading, [])
    made.parts = [
        sealed.seal(identity.kem_key(client), key_info(made.head, place), secret.fields, drawn)
        for place, (client, drawn) in enumerate(zip(roster, randomness, strict=True))
    ]
    made.signature = signer.sign(signing_payload(made.body))
    return made


def read(data: bytes, roster: list[bytes]) -> Group:
    reader: Reader = payload_of(data, GROUP)
    training, listed, named = reader.raw(32), reader.raw(32), reader.raw(32)
    maker, reading = reader.number("I"), reader.raw(sealed.PUBLIC_BYTES)
    assert listed == roster_id(roster)
    parts = [reader.raw(sealed.SEAL_BYTES + SECRET_BYTES) for _ in roster]
    out = Group(training, listed, named, maker, reading, parts)
    out.signature = reader.raw(identity.SIGNATURE_BYTES[roster[maker][0]])
    reader.end()
    assert identity.verify(roster[maker], out.signature, signing_payload(out.body))
    return out


def open_group(group: Group, place: int, secret: identity.Secret) -> Secret:
    """By the client of that place in the roster."""
    fields = sealed.unseal(secret.kem, key_info(group.head, place), group.parts[place])
    assert len(fields) == SECRET_BYTES
    out = Secret(fields[:32], sealed.SecretKey(fields[32:96], fields[96:]))
    assert out.commitment == (group.commitment, group.reading_key)
    return out
