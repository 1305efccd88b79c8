"""Objects that every reader must refuse: v2/bad, made from good ones; see generate.py.

Each is one good object with one fault, and (unless the fault is the checksum) a checksum that fits.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from oracle import identity, ring, sealed, streams, tag, wire

WIRE, ROUND, KEY = "WireFormatError", "RoundError", "KeyMismatchError"
TAMPERED = "TamperedSumError"


@dataclass(frozen=True)
class Bad:
    """One object: what it is read as, at which step it fails, with which error, and why."""

    name: str
    kind: str
    step: str
    error: str
    why: str
    data: bytes
    objects: str  # the folder with the good ones of the same round


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """`new` in the place of as many bytes, checksum made to fit."""
    return wire.reseal(data[:at] + new + data[at + len(new) :])


def resized(data: bytes, payload: bytes) -> bytes:
    """The same kind of object with another payload."""
    return wire.seal(struct.unpack("<H", data[6:8])[0], payload)


class Collection:
    """Bad objects as they are found."""

    def __init__(self, objects: dict[str, bytes], folder: str = "objects"):
        self.objects, self.folder = objects, folder
        self.rows: list[Bad] = []

    def add(
        self, kind: str, fault: str, why: str, data: bytes, error: str = WIRE, step: str = "read"
    ) -> None:
        assert data not in self.objects.values()
        where = "" if self.folder == "objects" else self.folder.replace("committee/", "_")
        name = f"bad{where}_{kind}_{fault}"
        self.rows.append(Bad(name, kind, step, error, why, data, self.folder))

    def patch(
        self, kind: str, fault: str, why: str, at: int, new: bytes, error: str = WIRE
    ) -> None:
        """`at` counts from the start of the payload."""
        data = self.objects.get(kind) or self.objects[f"{kind}_0"]
        self.add(kind, fault, why, patched(data, wire.HEADER_BYTES + at, new), error)


def envelopes(found: Collection) -> None:
    plan = found.objects["plan"]
    for fault, why, data in [
        ("magic", "the first four bytes are not VSUM", patched(plan, 0, b"VSUN")),
        ("version_1", "format version 1", patched(plan, 4, b"\x01\x00")),
        ("version_3", "format version 3", patched(plan, 4, b"\x03\x00")),
        ("kind", "the kind of a public key", patched(plan, 6, b"\x02\x00")),
        ("engine", "an engine's number in the kind", patched(plan, 6, b"\x01\x01")),
        ("share", "the kind of a decryption share", patched(plan, 6, b"\x09\x00")),
        ("unknown_kind", "a kind that does not exist", patched(plan, 6, b"\x63\x00")),
        ("length", "the envelope says one byte more", patched(plan, 8, b"\x25")),
        ("checksum", "the checksum does not fit", plan[:-1] + bytes([plan[-1] ^ 1])),
        ("truncated", "the last byte is missing", plan[:-1]),
        ("short", "shorter than an envelope", plan[:12]),
        ("empty", "no bytes", b""),
        ("trailing", "a byte after the object", plan + b"\x00"),
        ("long", "a byte after the last field", resized(plan, plan[16:-4] + b"\x00")),
    ]:
        found.add("plan", fault, why, data)


def plans(found: Collection) -> None:
    for fault, why, at, new in [
        ("engine_number", "engine 9", 0, b"\x09"),
        ("ring", "ring number 6", 1, b"\x06"),
        ("other_ring", "digits and field bits are not those of this ring", 1, b"\x01"),
        ("value_bits_1", "values of 1 bit", 2, b"\x01"),
        ("value_bits_33", "values of 33 bits", 2, b"\x21"),
        ("weight", "W above 2^20", 3, b"\x14"),
        ("one_client", "one client", 4, b"\x01\x00\x00\x00"),
        ("security", "security 129", 8, b"\x81\x00"),
        ("too_secure", "n2048 at 256 bits", 8, b"\x00\x01"),
        ("optimise", "optimise 2", 10, b"\x02"),
        ("digits", "one digit less than the plan has", 11, b"\x01"),
        ("field_bits", "fields one bit wider than the plan's", 12, b"\x2c"),
        ("reserved", "a reserved byte is not zero", 15, b"\x01"),
    ]:
        found.patch("plan", fault, why, at, new)


def keys(found: Collection) -> None:
    for kind in ("public_key", "secret_key"):
        data = found.objects[kind]
        found.add(kind, "short", "a byte is missing", resized(data, data[16:-5]))
        found.add(kind, "long", "a byte too many", resized(data, data[16:-4] + b"\x00"))
        found.patch(kind, "parts", "the native engine's keys have no parts", 1, b"\x01")
        found.patch(kind, "body_short", "a body of 1215 bytes", 2, b"\xbf\x04\x00\x00")
        found.patch(kind, "body_long", "a body longer than the object", 2, b"\xff\xff\xff\xff")


def rounds(found: Collection, rnd: wire.Round) -> None:
    def add(fault: str, why: str, **changes: object) -> None:
        found.add("round", fault, why, replace(rnd, **changes).to_bytes())

    add("one_client", "min_clients 1", min_clients=1)
    add("min_clients", "min_clients above the plan's clients", min_clients=11)
    add("no_keys", "no upload key", upload_keys=0)
    add("many_keys", "257 upload keys", upload_keys=257)
    add("no_values", "no values", segments=[(0, 1.0)])
    add("limit_zero", "a limit of zero", segments=[(5, 1.0), (0, 3.0), (12, 0.0)])
    add("limit_negative", "a negative limit", segments=[(5, -1.0)])
    add("limit_nan", "a limit that is not a number", segments=[(5, float("nan"))])
    add("limit_infinite", "an infinite limit", segments=[(5, float("inf"))])
    add("too_many_values", "more than 2^40 values", segments=[((1 << 40) + 1, 1.0)])
    people = [client(str(number), 1 + number % 2) for number in range(11)]
    add("one_in_roster", "a roster of fewer than min_clients", roster=people[:1])
    add("roster_twice", "one identity twice", roster=people[:1] * 2)
    add("long_roster", "more in the roster than clients", roster=people)
    for fault, why, copycat in shared_keys(people):
        add(fault, why, roster=[people[0], people[1], copycat])
    for fault, why, bad in weak_identities(people[1]):
        add(f"roster_{fault}", f"in the roster: {why}", roster=[people[0], bad])
    add("key_short", "the public key is one byte short", public=rnd.public[:-1])
    add("trust", "trust in the aggregator, which the native engine needs not", trust_aggregator=1)
    add("flag", "a flag that is neither 0 nor 1", trust_aggregator=2)
    authority = len(rnd.sums_fields())
    found.patch("round", "key_engine", "the public key of another engine", authority + 1, b"\x02")
    found.patch("round", "segments", "more segments than bytes", 16 + 32 + 9, b"\xff\xff\xff\xff")
    found.patch("round", "plan", "a plan that nobody would make", 11, b"\x01")


def client(name: str, kind: int = identity.ED25519) -> bytes:
    """A public identity."""
    parts = [
        streams.label_hash("veilsum bad vectors", f"{name} {part}".encode()) for part in range(5)
    ]
    lattice = parts[4] if kind == identity.POST_QUANTUM else b""
    return identity.Secret(parts[0], parts[1] + parts[2], parts[3], lattice).public


#: Where the keys of an identity begin and end.
KEYS = {"ed25519": (1, 33), "ml_kem": (33, 1217), "x25519": (1217, 1249), "ml_dsa": (1249, 3201)}


def with_key(fields: bytes, name: str, key: bytes) -> bytes:
    """`key` in the place of as many bytes of one of the keys."""
    begin, _ = KEYS[name]
    return fields[:begin] + key + fields[begin + len(key) :]


def shared_keys(people: list[bytes]) -> list[tuple[str, str, bytes]]:
    """Identities that have one key of `people[1]`."""
    other = client("copycat", identity.POST_QUANTUM)
    return [
        (f"same_{name}", f"two clients have one {name} key", with_key(other, name, key))
        for name, (begin, end) in KEYS.items()
        if (key := people[1][begin:end])
    ]


def weak_identities(good: bytes) -> list[tuple[str, str, bytes]]:
    """Identities with a key that identifies nobody or protects nothing."""
    quantum = client("quantum", identity.POST_QUANTUM)
    one, beyond = b"\x01" + bytes(31), b"\xed" + b"\xff" * 30 + b"\x7f"
    return [
        ("ed25519_small", "an Ed25519 point of small order", with_key(good, "ed25519", one)),
        ("ed25519_spelling", "an Ed25519 coordinate of p", with_key(good, "ed25519", beyond)),
        ("ml_kem_large", "a coefficient of 3329", with_key(good, "ml_kem", b"\x01\x0d")),
        ("ml_kem_zero", "an encapsulation key of zeros", with_key(good, "ml_kem", bytes(1152))),
        ("x25519_low", "an X25519 point of low order", with_key(good, "x25519", one)),
        ("x25519_spelling", "an X25519 coordinate of p", with_key(good, "x25519", beyond)),
        ("ml_dsa_zero", "an ML-DSA-65 key of zeros", with_key(quantum, "ml_dsa", bytes(1952))),
        ("kind_0", "identity of kind 0", b"\x00" + good[1:]),
        ("kind_3", "identity of kind 3", b"\x03" + good[1:]),
        ("stripped", "kind 2 without its ML-DSA-65 key", quantum[:1249]),
    ]


def identities(found: Collection) -> None:
    good = client("good")
    for fault, why, bad in [
        *weak_identities(good),
        ("long", "kind 1 with a byte too many", good + b"\x00"),
        ("empty", "no fields", b""),
    ]:
        found.add("public_identity", fault, why, wire.seal(wire.PUBLIC_IDENTITY, bad))


def uploads(found: Collection, rnd: wire.Round) -> None:
    good = found.objects["upload_0"]
    payload = good[16:-4]
    head = 1 + 8 + 16 + sealed.SEALED_BYTES
    found.patch("upload", "other_round", "another round's id", 0, b"\x00" * 32, ROUND)
    found.patch("upload", "signed_2", "the flag for a signature is 2", 32, b"\x02")
    found.patch("upload", "signed_3", "the flag for a signature is 3", 32, b"\x03")
    found.patch("upload", "signed", "a signature in a round without a roster", 32, b"\x01")
    found.patch("upload", "clipped", "more clipped values than values", 33, struct.pack("<Q", 18))
    blocks = len(payload) - 32 - head - 8
    found.patch(
        "upload",
        "blocks_length",
        "blocks longer than the object",
        32 + head,
        struct.pack("<Q", blocks + 1),
    )
    for fault, why, size in [
        ("blocks_short", "a byte of the blocks is missing", blocks - 1),
        ("no_check_block", "the check block is missing", blocks - rnd.plan.check_block_bytes),
        ("no_blocks", "no blocks", 0),
    ]:
        cut = payload[: 32 + head] + struct.pack("<Q", size) + payload[40 + head :][:size]
        found.add("upload", fault, why, resized(good, cut))
    longer = payload[: 32 + head] + struct.pack("<Q", blocks + 8) + payload[40 + head :] + bytes(8)
    found.add("upload", "blocks_long", "eight bytes too many", resized(good, longer))
    found.add("upload", "trailing", "a byte after the blocks", resized(good, payload + b"\x00"))


def sums(found: Collection, rnd: wire.Round) -> None:
    for kind in ("aggregate", "opening_request"):
        total = wire.read_sum(found.objects[kind])
        (_, first), (_, second) = total.entries

        def add(fault: str, why: str, error: str = WIRE, kind=kind, total=total, **changes) -> None:
            found.add(kind, fault, why, replace(total, **changes).to_bytes(), error)

        add("no_uploads", "no uploads", entries=[])
        add("weight_zero", "a weight of zero", entries=[(0, first), (1, second)])
        add("weight_above", "weights above W", entries=[(10, first), (1, second)])
        add(
            "weight_wraps",
            "weights that add up to 2 modulo 2^64",
            entries=[((1 << 64) - 1, first), (3, second)],
        )
        add("twice", "one upload twice", ROUND, entries=[(1, first), (1, first)])
        add("other_round", "another round's id", ROUND, round_id=bytes(32))
        found.patch(kind, "count", "more uploads than bytes", 32, b"\xff\xff\xff\xff")
    total = wire.read_sum(found.objects["aggregate"])
    assert total.blocks is not None
    found.add(
        "aggregate",
        "blocks_short",
        "a byte of the blocks is missing",
        replace(total, blocks=total.blocks[:-1]).to_bytes(),
    )
    request = found.objects["opening_request"]
    found.add(
        "opening_request", "trailing", "a byte too many", resized(request, request[16:-4] + b"\x00")
    )
    for fault, why, evidence in [
        ("evidence", "evidence of an unknown kind", b"\x03"),
        ("no_evidence", "the byte for the evidence is missing", b""),
        ("no_digest", "names no blocks", b"\x00"),
        ("shows_aggregate", "shows the native engine's aggregate", wire.evidence_of(total.blocks)),
        (
            "shows_uploads",
            "shows the native engine's uploads",
            wire.evidence_of(total.blocks, [total.blocks] * 2),
        ),
    ]:
        data = replace(wire.read_sum(request), evidence=evidence).to_bytes()
        found.add("opening_request", fault, why, data)
    (weight, first), other = wire.read_sum(request).entries
    for fault, why, head in [
        (
            "other_nonce",
            "a nonce that the sealed key is not bound to",
            replace(first, nonce=bytes(16)),
        ),
        (
            "sealed_key",
            "a byte of a sealed key differs",
            replace(first, part=flipped(first.part)),
        ),
    ]:
        shown = wire.read_sum(request).evidence
        data = wire.Sum(rnd.id, [(weight, head), other], evidence=shown).to_bytes()
        found.add("opening_request", fault, why, data, ROUND, "open")


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def altered_sums(found: Collection, rnd: wire.Round) -> None:
    """Sums whose blocks are not the ones that the key opens."""
    total = wire.read_sum(found.objects["aggregate"])
    assert total.blocks is not None
    check = len(total.blocks) - rnd.plan.check_block_bytes
    for fault, why, at in [
        ("check_block", "a bit of the check block differs", check + 5),
        ("value_bit", "a value differs: only what binds the key tells", 0),
        ("last_check_bit", "the last bit of the check block differs", len(total.blocks) - 1),
    ]:
        changed = bytearray(total.blocks)
        changed[at] ^= 0x80
        data = replace(total, blocks=bytes(changed)).to_bytes()
        found.add("aggregate", fault, why, data, TAMPERED, "decrypt")


def sum_keys(found: Collection, rnd: wire.Round) -> None:
    data = found.objects["sum_key"]
    key = wire.read_sum_key(data, rnd)
    found.patch("sum_key", "other_round", "another round's id", 0, bytes(32), KEY)
    found.patch("sum_key", "weight_zero", "a total weight of zero", 68, bytes(8))
    found.patch("sum_key", "one_upload", "the sum of one upload", 64, struct.pack("<I", 1))
    found.patch("sum_key", "count", "more uploads than weight", 64, struct.pack("<I", 3))
    found.patch("sum_key", "weight_above", "a total weight above W", 68, struct.pack("<Q", 11))
    found.add("sum_key", "short", "a byte is missing", resized(data, data[16:-5]))
    fields = [c + 16 for c in key.keys[0]]
    beyond = ring.pack([33, *fields[1:]], key.field_bits)
    at = 76 + len(key.bound)
    found.patch("sum_key", "coefficient", "a coefficient above 8 times the weight", at, beyond)
    for number in (0, 3):
        why = "bound to its blocks in no known way"
        found.patch("sum_key", f"binding_{number}", why, 76, bytes([number]))
    for word, place in (("first", at - 16), ("second", at - 8)):
        above = struct.pack("<Q", tag.PRIMES[0])
        why = f"the {word} value of the blocks' hash is not below P"
        found.patch("sum_key", f"{word}_value", why, place, above)
    for fault, why, place in (
        ("hash_key", "another key of the blocks' hash", 77),
        ("hash_value", "another value of the blocks' hash", at - 8),
    ):
        changed = patched(data, wire.HEADER_BYTES + place, bytes([data[16 + place] ^ 1]))
        found.add("sum_key", fault, why, changed, TAMPERED, "decrypt")
    other = replace(key, bound=wire.BY_DIGEST + bytes(32)).to_bytes()
    found.add("sum_key", "other_blocks", "of other blocks than these", other, TAMPERED, "decrypt")
    found.add(
        "sum_key",
        "other_sum",
        "the digest of another manifest",
        patched(data, wire.HEADER_BYTES + 32, bytes(32)),
        KEY,
        "decrypt",
    )
    wrong = replace(key, keys=[[c - 1 if c > 0 else c + 1 for c in row] for row in key.keys])
    found.add(
        "sum_key",
        "wrong",
        "coefficients that are not the key of this sum: the check block tells",
        wrong.to_bytes(),
        TAMPERED,
        "decrypt",
    )


def bad_objects(rnd: wire.Round, objects: dict[str, bytes]) -> list[Bad]:
    """All of them, from the good objects of one round."""
    found = Collection(objects)
    envelopes(found)
    plans(found)
    keys(found)
    identities(found)
    rounds(found, rnd)
    uploads(found, rnd)
    sums(found, rnd)
    altered_sums(found, rnd)
    sum_keys(found, rnd)
    names = [one.name for one in found.rows]
    assert len(set(names)) == len(names)
    return found.rows
