"""Damaged and made-up bytes for the OpenFHE engine: a typed error, or an object that is sound.

A checksum stops accidents only, so most damage here gets a right checksum: what must hold is that
no bytes reach OpenFHE but residues below their primes.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest

import veilsum as vs
from veilsum.engines import openfhe
from veilsum.engines.openfhe import wire


@pytest.fixture(scope="module")
def things(parties):
    """One of everything, and how to read it back."""
    identities = [vs.Identity.generate() for _ in range(2)]
    rnd = parties.round(8, roster=identities)
    uploads = [vs.encrypt(rnd, np.full(8, 0.5), signer=one) for one in identities]
    total = vs.weighted_sum(rnd, uploads, [1, 2])
    key = vs.open_sum(parties.secret, rnd, total)
    share = openfhe.open_share(parties.secret, rnd, total)
    return {
        "plan": (parties.plan, vs.Plan.from_bytes),
        "public": (parties.public, vs.PublicKey.from_bytes),
        "secret": (parties.secret, vs.SecretKey.from_bytes),
        "round": (rnd, vs.Round.from_bytes),
        "upload": (uploads[0], lambda data: vs.Upload.from_bytes(data, rnd)),
        "total": (total, lambda data: vs.Aggregate.from_bytes(data, rnd)),
        "request": (
            total.opening_request(), lambda data: vs.OpeningRequest.from_bytes(data, rnd)
        ),
        "key": (key, lambda data: vs.SumKey.from_bytes(data, rnd)),
        "share": (share, lambda data: openfhe.DecryptionShare.from_bytes(data, rnd)),
    }  # fmt: skip


NAMES = ("plan", "public", "secret", "round", "upload", "total", "request", "key", "share")


def reseal(data: bytes | bytearray) -> bytes:
    """Right length and right checksum around whatever the payload is."""
    return b"".join(wire.seal(wire.Kind(data[6] + 256 * data[7]), [bytes(data[16:-4])]))


def test_resealing_changes_nothing(things):
    for thing, read in things.values():
        data = thing.to_bytes()
        assert reseal(data) == data
        assert read(data).to_bytes() == data


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_of_the_head_and_some_others_fail_the_checksum(things, name):
    thing, read = things[name]
    data = thing.to_bytes()
    generator = np.random.default_rng(1)
    for at in [*range(24), *generator.integers(24, len(data), 20)]:
        broken = bytearray(data)
        broken[at] ^= 1 << int(generator.integers(8))
        with pytest.raises(vs.WireFormatError):
            read(bytes(broken))


@pytest.mark.parametrize("name", NAMES)
def test_truncated_and_extended_bytes(things, name):
    thing, read = things[name]
    data = thing.to_bytes()
    generator = np.random.default_rng(2)
    lengths = [*range(0, min(len(data), 130), 3), *generator.integers(0, len(data), 10)]
    for length in lengths:
        with pytest.raises(vs.WireFormatError):
            read(data[:length])
        if length >= 20:
            with pytest.raises(vs.VeilsumError):
                read(reseal(data[:length]))
    with pytest.raises(vs.WireFormatError):
        read(data + b"\0")
    with pytest.raises(vs.WireFormatError):
        read(reseal(data[:-4] + b"\0\0\0\0\0"))


def mutate(data: bytes, generator: np.random.Generator, head: int) -> bytes:
    """Damage some bytes, mostly near the front where the fields are, and seal again."""
    broken = bytearray(data)
    for _ in range(int(generator.integers(1, 4))):
        high = min(head, len(data) - 4) if generator.random() < 0.8 else len(data) - 4
        at = int(generator.integers(16, high))
        kind = int(generator.integers(4))
        if kind == 0:
            broken[at] = int(generator.integers(256))
        elif kind == 1:
            broken[at : at + 4] = b"\xff\xff\xff\xff"[: len(data) - 4 - at]
        elif kind == 2:
            broken[at : at + 8] = bytes(8)[: len(data) - 4 - at]
        else:
            broken[at : at + 8] = struct.pack("<Q", 1 << int(generator.integers(64)))[
                : len(data) - 4 - at
            ]
    return reseal(broken)


def check_mutations(thing, read, rounds: int, seed: int) -> None:
    data = thing.to_bytes()
    generator = np.random.default_rng(seed)
    refused = 0
    for _ in range(rounds):
        broken = mutate(data, generator, 900)
        try:
            made = read(broken)
        except vs.VeilsumError:
            refused += 1
        else:  # sound, and exactly what the bytes say
            assert made.to_bytes() == broken
    assert refused > rounds // 20


@pytest.mark.parametrize("name", NAMES)
def test_mutations_with_a_right_checksum(things, name):
    check_mutations(*things[name], rounds=60, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_mutations_with_a_right_checksum(things, name):
    check_mutations(*things[name], rounds=1500, seed=4)


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("prime", [0, 1])
def test_a_residue_not_below_its_prime_is_refused(things, parties, prime, place):
    thing, read = things["upload"]
    data = bytearray(thing.to_bytes())
    degree = parties.plan.ring_degree
    start = len(data) - 4 - parties.plan.block_bytes + 8 * degree * prime
    at = start if place == "first" else start + 8 * (degree - 1)
    data[at : at + 8] = struct.pack("<Q", parties.plan.context.moduli[prime] - 1)
    assert read(reseal(data)).to_bytes() == reseal(data)
    for residue in (parties.plan.context.moduli[prime], (1 << 64) - 1):
        data[at : at + 8] = struct.pack("<Q", residue)
        with pytest.raises(vs.WireFormatError, match="not below"):
            read(reseal(data))


def test_counts_that_promise_more_than_there_is(things):
    """A number in a field never leads to an allocation of that size."""
    for name, at in (
        ("round", 16 + 16 + 32 + 1 + 4),
        ("total", 16 + 32),
        ("upload", 16 + 32 + 9 + 68),
    ):
        thing, read = things[name]
        data = bytearray(thing.to_bytes())
        data[at : at + 4] = b"\xff\xff\xff\xff"
        with pytest.raises(vs.VeilsumError):
            read(reseal(data))


def test_bytes_of_a_native_object_are_named(things):
    plan = vs.Plan(clients=2)
    _, public = vs.keygen(plan)
    _, read = things["upload"]
    with pytest.raises(vs.WireFormatError, match="public key of engine 'native'"):
        read(public.to_bytes())
    with pytest.raises(vs.WireFormatError, match="plan of engine 'openfhe'"):
        read(things["plan"][0].to_bytes())
