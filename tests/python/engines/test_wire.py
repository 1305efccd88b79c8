"""Damaged and made-up bytes inside of the OpenFHE engine's objects: a typed error, or sound ones.

Envelopes and heads are the core's, and are tested there. Here damage gets a right checksum and lies
in what only this engine reads: plans, bodies of keys, blocks, sum keys, shares. What must hold is
that no bytes reach OpenFHE but residues below their primes.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest

import veilsum as vs
from veilsum import _core
from veilsum.engines import openfhe


@pytest.fixture(scope="module")
def things(parties):
    """What this engine reads, and how: the object, its reader, and a use that needs its content."""
    plan = vs.Plan(clients=4, parties=2, engine="openfhe")
    secrets, public = [], None
    for _ in range(2):
        secret, public = openfhe.party_keygen(plan, public)
        secrets.append(secret)
    rnd = vs.Round(plan, public, size=8)
    uploads = [vs.encrypt(rnd, np.full(8, 0.5)) for _ in range(2)]
    total = vs.weighted_sum(rnd, uploads)
    shares = [openfhe.open_share(one, rnd, total, uploads=uploads) for one in secrets]
    key = openfhe.combine_shares(rnd, shares)

    def open_with(secret):  # one of another id is refused by the core
        openfhe.open_share(secret, rnd, total, uploads=uploads)

    return {
        "plan": (plan, vs.Plan.from_bytes, str),
        "public": (
            public, vs.PublicKey.from_bytes, lambda one: vs.encrypt(
                vs.Round(plan, one, size=8), np.zeros(8)
            )
        ),
        "secret": (secrets[0], vs.SecretKey.from_bytes, open_with),
        "total": (
            total, lambda data: vs.Aggregate.from_bytes(data, rnd),
            lambda one: list(openfhe.export_blocks(one)),
        ),
        "key": (
            key, lambda data: vs.SumKey.from_bytes(data, rnd), lambda one: vs.decrypt(one, total)
        ),
        "share": (
            shares[1], lambda data: openfhe.DecryptionShare.from_bytes(data, rnd),
            lambda one: openfhe.combine_shares(rnd, [shares[0], one]),
        ),
    }  # fmt: skip


NAMES = ("plan", "public", "secret", "total", "key", "share")


def reseal(data: bytes | bytearray) -> bytes:
    """Right length and right checksum around whatever the payload is."""
    header, trailer = _core._frame_around(data[6] + 256 * data[7], [bytes(data[16:-4])])
    return bytes(header) + bytes(data[16:-4]) + bytes(trailer)


@pytest.mark.parametrize("name", NAMES)
def test_resealing_changes_nothing(things, name):
    thing, read, use = things[name]
    data = thing.to_bytes()
    assert reseal(data) == data
    assert read(data).to_bytes() == data
    use(read(data))


@pytest.mark.parametrize("name", NAMES)
def test_truncated_and_extended_bytes(things, name):
    thing, read, use = things[name]
    data = thing.to_bytes()
    generator = np.random.default_rng(2)
    for length in [*range(0, min(len(data), 130), 7), *generator.integers(0, len(data), 10)]:
        with pytest.raises(vs.VeilsumError):
            read(data[:length])
        if length >= 20:
            with pytest.raises(vs.VeilsumError):
                use(read(reseal(data[:length])))
    with pytest.raises(vs.VeilsumError):
        use(read(reseal(data[:-4] + b"\0\0\0\0\0")))


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


def check_mutations(thing, read, use, rounds: int, seed: int) -> None:
    data = thing.to_bytes()
    generator = np.random.default_rng(seed)
    refused = 0
    for _ in range(rounds):
        broken = mutate(data, generator, 400)
        try:
            made = read(broken)
            assert made.to_bytes() == broken  # exactly what the bytes say
            use(made)
        except vs.VeilsumError:
            refused += 1
    assert refused > rounds // 20


@pytest.mark.parametrize("name", NAMES)
def test_mutations_with_a_right_checksum(things, name):
    check_mutations(*things[name], rounds=40, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_mutations_with_a_right_checksum(things, name):
    check_mutations(*things[name], rounds=1500, seed=4)


@pytest.mark.parametrize("name", ["public", "total", "key", "share"])
def test_a_residue_not_below_its_prime_is_refused(things, name):
    thing, read, use = things[name]
    prime = things["plan"][0].parameters.context.moduli[0]
    data = bytearray(thing.to_bytes())
    at = len(data) - 4 - 8
    data[at : at + 8] = struct.pack("<Q", prime - 1)
    assert read(reseal(data)).to_bytes() == reseal(data)
    for residue in (prime, (1 << 64) - 1):
        data[at : at + 8] = struct.pack("<Q", residue)
        with pytest.raises(vs.WireFormatError, match="not below"):
            use(read(reseal(data)))


def test_a_public_key_of_another_plan_or_other_primes_is_refused(things, parties):
    plan, public = things["plan"][0], things["public"][0]
    with pytest.raises(vs.KeyMismatchError, match="another plan"):
        vs.Round(parties.plan, public, size=4)
    body = bytearray(public.body)
    body[16] ^= 2
    other = _core.PublicKey(2, bytes(body), public.parts)
    with pytest.raises(vs.WireFormatError, match="primes"):
        vs.Round(plan, other, size=4)
