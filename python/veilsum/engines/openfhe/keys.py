"""Keys of the OpenFHE engine, one authority's or one party's of several, and the opened rounds.

Layer: OpenFHE engine, over plan. A party makes its key on top of the public key of those before it;
the last public key is the joint one, and every party has to open. OpenFHE holds the secret and does
not wipe it when it is freed: SECURITY.md says so.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, TypeAlias

import numpy as np

from veilsum import files
from veilsum.engines.openfhe.backend import Key, Words, load
from veilsum.engines.openfhe.blocks import as_bytes
from veilsum.engines.openfhe.plan import Plan, PlanObject, PublicObject
from veilsum.engines.openfhe.wire import Buffer, Kind, Reader, digest, open_envelope, seal
from veilsum.errors import KeyMismatchError, ParameterError, RoundError, WireFormatError

__all__ = ["PublicKey", "SecretKey", "keygen", "party_keygen"]

PathLike: TypeAlias = str | os.PathLike[str]

_TAG_BYTES = 32
_ID_BYTES = 16
_PLAN_BYTES = 16
_MAX_BLOB = 1 << 16
_LINE: Final = re.compile(rb"[0-9a-f]{64} [0-9a-f]{64}")
_CUT_LINE: Final = re.compile(rb"[0-9a-f]{0,63}|[0-9a-f]{64}( [0-9a-f]{0,64})?")


class PublicKey(PublicObject):
    """What clients encrypt to: OpenFHE's public key, with the context it belongs to.

    Attributes
    ----------
    plan : Plan
        The parameters it was made for.
    id : bytes
        16 bytes that name it.
    """

    __slots__ = ("_blob", "_chain", "_key", "_version", "_words", "plan")

    _KIND = Kind.PUBLIC_KEY

    def __init__(
        self,
        plan: Plan,
        key: Key,
        words: Words,
        chain: tuple[bytes, ...],
        version: str,
        blob: bytes,
    ) -> None:
        self.plan = plan
        self._key = key
        self._words = words
        self._chain = chain
        self._version = version
        self._blob = blob

    @property
    def handle(self) -> Key:
        """OpenFHE's key."""
        return self._key

    @property
    def chain(self) -> tuple[bytes, ...]:
        """What names each party's key, in order."""
        return self._chain

    @property
    def id(self) -> bytes:
        """16 bytes that name the key."""
        return self._chain[-1]

    def openfhe_bytes(self) -> bytes:
        """Return the key in OpenFHE's own binary format, context and all."""
        return self.plan.context.public_bytes(self._key)

    def pieces(self) -> list[Buffer]:
        """Return the fields, in pieces."""
        context = self.plan.context
        numbers = [*context.moduli, *context.roots]
        version = self._version.encode("ascii")
        return [
            self.plan.payload(),
            struct.pack(f"<{len(numbers)}Q", *numbers),
            bytes([len(version)]),
            version,
            struct.pack("<I", len(self._blob)),
            self._blob,
            bytes([len(self._chain)]),
            *self._chain,
            self._key.tag.encode("ascii"),
            as_bytes(self._words),
        ]

    @classmethod
    def read(cls, reader: Reader) -> PublicKey:
        """Read the fields.

        Parameters
        ----------
        reader : Reader
            Untrusted.

        Raises
        ------
        WireFormatError
            When they are malformed.
        """
        plan = Plan.from_payload(reader.take(_PLAN_BYTES))
        context = plan.context
        numbers = [*context.moduli, *context.roots]
        if list(reader.unpack(f"{len(numbers)}Q")) != numbers:
            raise reader.error("its primes are not those that OpenFHE takes for this plan")
        (length,) = reader.unpack("B")
        version = bytes(reader.take(length))
        (length,) = reader.unpack("I")
        if length > _MAX_BLOB or not version.isascii():
            raise reader.error("its context is no context of OpenFHE's")
        blob = bytes(reader.take(length))
        # The context is made again from the plan, never from these bytes; they are for those who
        # hand a round on to OpenFHE, and of the same version they must say the same.
        if version.decode() == load().version and blob != context.serialised():
            raise reader.error("its context is not the one of this plan")
        (parties,) = reader.unpack("B")
        if not 1 <= parties <= plan.parties:
            raise reader.error(f"it is of {parties} parties, the plan of {plan.parties}")
        chain = tuple(bytes(item) for item in reader.items(parties, _ID_BYTES))
        tag = _read_tag(reader)
        words = _read_words(reader, plan, 2)
        if chain[-1] != _key_id(plan, tag, words):
            raise reader.error("its id is not that of its content")
        key = context.read_public(words, tag)
        return cls(plan, key, words, chain, version.decode(), blob)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.id == other.id and self.plan == other.plan

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Callable[[bytes], PublicKey], tuple[bytes]]:
        return PublicKey.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        return f"<veilsum.PublicKey openfhe {self.id.hex()}>"


class Ledger:
    """The rounds that a key has opened, in memory and, for a key with a file, beside it."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._process = os.getpid()
        self._opened: dict[bytes, bytes] = {}

    def claim(self, round_id: bytes, what: bytes) -> None:
        """Note that a round is being opened.

        Parameters
        ----------
        round_id : bytes
            The round.
        what : bytes
            Digest of the aggregate.

        Raises
        ------
        RoundError
            When it was opened before; in a forked child, when there is no file.
        """
        if self._path is None:
            if self._process != os.getpid():
                raise RoundError(
                    "this key was made in the process that this one was forked from, and which "
                    "rounds it has opened is known to neither alone; save the key, and load it in "
                    "each process"
                )
            self._claim(round_id, what)
            return
        with self._file(self._path) as file:
            self._opened |= self._read(file)
            self._claim(round_id, what)
            self._append(file, {round_id: what})

    def attach(self, path: Path) -> None:
        """Keep the ledger in a file from now on, together with what is in memory.

        Parameters
        ----------
        path : Path
            Made when it is missing; what it lists already counts.

        Raises
        ------
        RoundError
            When it is no ledger.
        """
        with self._file(path) as file:
            listed = self._read(file)
            self._append(file, {k: v for k, v in self._opened.items() if k not in listed})
            self._opened |= listed
        self._path = path

    @contextmanager
    def _file(self, path: Path) -> Iterator[BinaryIO]:
        """Open the file, and keep other processes from it meanwhile."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    @staticmethod
    def _read(file: BinaryIO) -> dict[bytes, bytes]:
        text = file.read()
        # The last line may be one that a crash cut short: its opening never gave anything out.
        whole, _, cut = text.rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        if not (all(_LINE.fullmatch(line) for line in lines) and _CUT_LINE.fullmatch(cut)):
            raise RoundError(
                f"{file.name} is damaged; without it nobody can say which rounds were opened: "
                f"restore it, or make a new key"
            )
        file.truncate(len(text) - len(cut))
        pairs = (line.decode("ascii").split() for line in lines)
        return {bytes.fromhex(round_id): bytes.fromhex(what) for round_id, what in pairs}

    @staticmethod
    def _append(file: BinaryIO, entries: Mapping[bytes, bytes]) -> None:
        for round_id, what in entries.items():
            file.write(f"{round_id.hex()} {what.hex()}\n".encode("ascii"))
        file.flush()
        os.fsync(file.fileno())

    def _claim(self, round_id: bytes, what: bytes) -> None:
        if round_id in self._opened:
            same = self._opened[round_id] == what
            raise RoundError(
                f"round {round_id.hex()[:16]} was opened before, for "
                f"{'this' if same else 'another'} aggregate; "
                + (
                    "a second share of it would let its noise be averaged away: keep the sum key"
                    if same
                    else "the difference of two sums of one round gives single updates away"
                )
            )
        self._opened[round_id] = what


class SecretKey(PlanObject):
    """An authority's key, or one party's share of it. Never shown, pickled or copied.

    Attributes
    ----------
    plan : Plan
        The parameters it was made for.
    """

    __slots__ = ("_key", "_last", "_ledger", "_public", "plan")

    def __init__(
        self, plan: Plan, key: Key, public: PublicKey, ledger: Ledger | None = None
    ) -> None:
        self.plan = plan
        self._key = key
        self._public = public
        self._ledger = ledger or Ledger()
        self._last: tuple[bytes, bytes, Any] | None = None

    @property
    def handle(self) -> Key:
        """OpenFHE's key."""
        return self._key

    @property
    def public_key(self) -> PublicKey:
        """The public key made with it; of several parties, only the last one's is joint."""
        return self._public

    @property
    def id(self) -> bytes:
        """16 bytes that name the key pair."""
        return self._public.id

    @property
    def party(self) -> int:
        """The party's number, from 0."""
        return len(self._public.chain) - 1

    def check(self, public: PublicKey) -> None:
        """Check that a round's public key is this one's, or one that this party took part in.

        Parameters
        ----------
        public : PublicKey
            The round's.

        Raises
        ------
        KeyMismatchError
            When it is not.
        """
        if self.plan != public.plan or public.chain[: self.party + 1] != self._public.chain:
            raise KeyMismatchError(
                f"the round was made for key {public.id.hex()}, which key {self.id.hex()} is no "
                f"part of; open it with the key that `keygen` gave together with the round's"
            )

    def open_once(self, round_id: bytes, what: bytes, make: Any) -> Any:
        """Make something once for a round; the same again is the same object.

        Parameters
        ----------
        round_id : bytes
            The round.
        what : bytes
            Digest of the aggregate.
        make : callable
            Makes it.

        Raises
        ------
        RoundError
            When the round was opened before and the result is gone.
        """
        if self._last is not None and self._last[:2] == (round_id, what):
            return self._last[2]
        self._ledger.claim(round_id, what)
        made = make()
        self._last = (round_id, what, made)
        return made

    def to_bytes(self) -> bytes:
        """Return the key as bytes: a secret."""
        parts: list[Buffer] = [
            self._key.tag.encode("ascii"),
            as_bytes(self.plan.context.write_secret(self._key)),
            *self._public.pieces(),
        ]
        # The public key leads, so that the plan is known when the rest is read.
        return b"".join(seal(Kind.SECRET_KEY, [*parts[2:], *parts[:2]]))

    @classmethod
    def from_bytes(cls, data: Buffer) -> SecretKey:
        """Read a key from bytes.

        Parameters
        ----------
        data : bytes-like
            What `to_bytes` wrote.

        Raises
        ------
        WireFormatError
            When they are malformed.
        """
        return cls._read(data, Ledger())

    @classmethod
    def _read(cls, data: Buffer, ledger: Ledger) -> SecretKey:
        reader = open_envelope(data, Kind.SECRET_KEY)
        public = PublicKey.read(reader)
        tag = _read_tag(reader)
        words = _read_words(reader, public.plan, 1)
        reader.finish()
        key = public.plan.context.read_secret(words, tag)
        words.fill(0)
        return cls(public.plan, key, public, ledger)

    def save(self, path: PathLike) -> None:
        """Write the key to a file of mode 0600.

        Parameters
        ----------
        path : str or path
            Its name; an existing file is replaced. From now on FILE.opened beside it lists the
            rounds that the key has opened.
        """
        files.write_secret(path, self.to_bytes(), overwrite=True)
        self._ledger.attach(Path(os.fspath(path) + ".opened"))

    @classmethod
    def load(cls, path: PathLike) -> SecretKey:
        """Read a key from a file, with the list of rounds that it has opened.

        Parameters
        ----------
        path : str or path
            What `save` wrote.

        Raises
        ------
        ParameterError
            When others can access the file.
        WireFormatError
            When the content is malformed.
        """
        data = files.read_secret(path)
        return cls._read(data, Ledger(Path(os.fspath(path) + ".opened")))

    def __repr__(self) -> str:
        return f"<veilsum.SecretKey openfhe {self.id.hex()}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a SecretKey is a secret and cannot be pickled or copied; use save(path)")


def keygen(plan: Plan) -> tuple[SecretKey, PublicKey]:
    """Make a single authority's key pair.

    Parameters
    ----------
    plan : Plan
        For one party.

    Returns
    -------
    (SecretKey, PublicKey)
        The first stays with the authority.

    Raises
    ------
    ParameterError
        When the plan is for several parties.
    """
    if plan.parties != 1:
        raise ParameterError(
            f"the plan is for {plan.parties} parties, who make their keys in turn: "
            f"veilsum.engines.openfhe.party_keygen(plan), then party_keygen(plan, previous)"
        )
    return party_keygen(plan)


def party_keygen(plan: Plan, previous: PublicKey | None = None) -> tuple[SecretKey, PublicKey]:
    """Make one party's key on top of the public key of the parties before it.

    Every party must follow this protocol: OpenFHE offers no proof that it did, and a last party
    that lies can make a "joint" key that is its own.

    Parameters
    ----------
    plan : Plan
        With `parties` set.
    previous : PublicKey, optional
        The public key of the party before; none for the first.

    Returns
    -------
    (SecretKey, PublicKey)
        The party's secret, and the public key so far: the last party's is the round's.

    Raises
    ------
    KeyMismatchError
        When `previous` was made for another plan.
    ParameterError
        When all parties have had their turn.
    """
    earlier = None
    chain: tuple[bytes, ...] = ()
    if previous is not None:
        if previous.plan != plan:
            raise KeyMismatchError("the previous public key was made for another plan")
        if len(previous.chain) >= plan.parties:
            raise ParameterError(
                f"the key is complete: all {plan.parties} parties of the plan are in it"
            )
        earlier, chain = previous.handle, previous.chain
    context = plan.context
    secret, public = context.keygen(earlier)
    words = context.write_public(public)
    chain = (*chain, _key_id(plan, public.tag, words))
    made = PublicKey(plan, public, words, chain, load().version, context.serialised())
    return SecretKey(plan, secret, made), made


def _key_id(plan: Plan, tag: str, words: Words) -> bytes:
    content = as_bytes(words)
    label = "veilsum/1/openfhe/public-key-id"
    return digest(label, plan.payload(), tag.encode("ascii"), content)[:_ID_BYTES]


def _read_tag(reader: Reader) -> str:
    tag = bytes(reader.take(_TAG_BYTES))
    if not all(byte in b"0123456789abcdef" for byte in tag):
        raise WireFormatError("a key's tag is not 32 hexadecimal digits")
    return tag.decode("ascii")


def _read_words(reader: Reader, plan: Plan, elements: int) -> Words:
    raw = reader.take(8 * plan.words(elements, rescaled=False))
    # A copy: aligned, and independent of the caller's buffer.
    return np.frombuffer(raw, dtype="<u8").astype(np.uint64)
