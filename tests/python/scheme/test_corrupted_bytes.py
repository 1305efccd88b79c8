"""Rule 5: bytes of the native engine, damaged by accident or rewritten with care.

What holds for the bytes of every engine is in security/test_untrusted_bytes.py; here are the native
fields and their ranges, and the kernels of every ISA level.

Damage (the checksum does not fit): always WireFormatError. Forgery (the checksum is made to fit):
WireFormatError, RoundError or KeyMismatchError, or an object, and then one that writes exactly the
bytes it was read from. Never another exception, a crash, or memory that the bytes do not justify.
"""

import functools
import struct
from dataclasses import replace

import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

import veilsum as vs  # noqa: E402
from oracle import blame, committee, identity, sealed, wire  # noqa: E402
from parties import PLANS, RosterStage, Stage, seed_of  # noqa: E402

SIZE = 3
FORGERY_ERRORS = (core.WireFormatError, core.RoundError, core.KeyMismatchError)
KINDS = (
    "plan", "public key", "secret key", "round", "upload", "signed upload", "aggregate",
    "opening request", "sum key",
)  # fmt: skip
#: Of a committee's round whose clients read, of one whose answers a server reads, and of one key
#: holder's with tags.
ROSTER_KINDS = (
    "round", "upload", "aggregate", "readers' aggregate", "opening request", "member request",
    "endorsement", "certificate", "answer", "challenge answer", "verdict", "sum key",
)  # fmt: skip
ROSTER_ROUNDS = {"clients": (3, True), "server": (4, False), "holder": (None, True)}
ROSTER_SPECIMENS = [
    (where, kind)
    for where, (members, _) in ROSTER_ROUNDS.items()
    for kind in ROSTER_KINDS
    if (kind in ("round", "upload", "aggregate", "sum key"))
    or (kind == "opening request") == (members is None)
]
ALL_KINDS = (*KINDS, *ROSTER_SPECIMENS)


@functools.cache
def stage_of(door, roster=False):
    keys = []
    for k in range(2 if roster else 0):
        parts = [seed_of("identity", k, part) for part in range(5)]
        lattice = parts[4] if k == 1 else b""
        keys.append(identity.Secret(parts[0], parts[1] + parts[2], parts[3], lattice).public)
    return Stage(
        door,
        PLANS["n2048"],
        [(2, 1.0), (0, 2.0), (SIZE - 2, 0.5)],
        name=f"corrupt/{roster}",
        layout=b"layout",
        roster=keys,
    )


@functools.cache
def roster_objects(door, where):
    """Small objects of a round with a roster, by the oracle."""
    members, tagged = ROSTER_ROUNDS[where]
    stage = RosterStage(
        door,
        PLANS["n2048"],
        [(SIZE, 1.0)],
        name=f"corrupt/{where}",
        members=members,
        threshold=3,
        tagged=tagged,
        step=wire.Step(bytes(32), 1, b"update", bytes(32)),
    )
    rnd = stage.oracle_round
    uploads = [stage.sign(k, stage.oracle_encrypt(k, [0.1 * k] * SIZE)) for k in range(2)]
    total = stage.oracle_sum(uploads)
    made = {"round": rnd, "upload": stage.oracle_bytes(uploads[0]), "aggregate": total}
    if members is None:
        made |= {"opening request": total.request(), "sum key": stage.oracle_key(total)}
    else:
        requests = [committee.make_request(rnd, total, k) for k in range(members)]
        certified = requests[0].sum_digest(rnd)
        words = [
            committee.endorse(rnd, k, secret, certified) for k, secret in enumerate(stage.members)
        ]
        certificate = committee.certify(rnd, total, words)
        answers = []
        for k, secret in enumerate(stage.members):
            share = committee.open_shares(rnd, requests[k], secret)
            drawn = stage.randomness("answer", bytes([k]))
            answers.append(committee.answer(rnd, k, secret, certified, share, drawn))
        opened = [
            blame.answer(rnd, k, one, certified, blame.open_challenges(rnd, request, one))
            for k, (request, one) in enumerate(zip(requests, stage.members, strict=True))
        ]
        made |= {
            "challenge answer": opened[1],
            "verdict": blame.verdict_bytes(certificate, opened),
            "readers' aggregate": replace(total, forwards=False),
            "member request": requests[1],
            "endorsement": words[1],
            "certificate": certificate,
            "answer": answers[0],
            "sum key": committee.combine(rnd, certificate, answers, stage.reader),
        }
    return stage.round, {
        kind: thing if isinstance(thing, bytes) else thing.to_bytes()
        for kind, thing in made.items()
    }


def roster_specimen(door, where, kind):
    rnd, made = roster_objects(door, where)
    if kind == "round":
        return made[kind], core.Round.from_bytes
    of_kind = {
        "upload": core.Upload,
        "aggregate": core.Aggregate,
        "readers' aggregate": core.Aggregate,
        "opening request": core.OpeningRequest,
        "member request": core.MemberRequest,
        "endorsement": core.Endorsement,
        "certificate": core.Certificate,
        "answer": core.Answer,
        "challenge answer": core.ChallengeAnswer,
        "verdict": core.Verdict,
        "sum key": core.SumKey,
    }[kind]
    return made[kind], lambda data: of_kind.from_bytes(data, rnd)


@functools.cache
def specimen(door, kind):
    """(bytes of a small object, its reader)."""
    if kind in ROSTER_SPECIMENS:
        return roster_specimen(door, *kind)
    stage = stage_of(door, kind == "signed upload")
    uploads = [stage.encrypt(k, [0.1 * k] * SIZE) for k in range(2)]
    if kind == "signed upload":
        uploads[0].attach_signature(1, bytes(range(64)) + bytes(3309))
        data = uploads[0].to_bytes()
        return data, lambda data: core.Upload.from_bytes(data, stage.round)
    total = stage.sum_of(uploads)
    key = stage.open(total)
    return {
        "plan": (wire.seal(wire.PLAN, stage.plan.fields), vs.Plan.from_bytes),
        "public key": (stage.public.to_bytes(), core.PublicKey.from_bytes),
        "secret key": (stage.secret.to_bytes(), core.SecretKey.from_bytes),
        "round": (stage.round.to_bytes(), core.Round.from_bytes),
        "upload": (
            uploads[0].to_bytes(), lambda data: core.Upload.from_bytes(data, stage.round)
        ),
        "aggregate": (
            total.to_bytes(), lambda data: core.Aggregate.from_bytes(data, stage.round)
        ),
        "opening request": (
            total.opening_request().to_bytes(),
            lambda data: core.OpeningRequest.from_bytes(data, stage.round),
        ),
        "sum key": (key.to_bytes(), lambda data: core.SumKey.from_bytes(data, stage.round)),
    }[kind]  # fmt: skip


def sampled(length, ends, step):
    """Every place near both ends, and every `step`-th between."""
    return sorted(
        {*range(min(ends, length)), *range(0, length, step), *range(max(0, length - ends), length)}
    )


def refuses(read, data):
    try:
        read(data)
    except core.WireFormatError:
        return
    pytest.fail(f"{bytes(data[:32]).hex()}... was read as a good object")


def reseal(door, data):
    """The checksum made to fit, by the core's own (tested) CRC: much faster than the oracle's."""
    crc = door.crc32c(door.levels()[-1], 0, bytes(data[:-4]))
    data[-4:] = struct.pack("<I", crc)


def accepts_or_refuses(read, data):
    """True when a forged object was read; then it must be a faithful one."""
    try:
        made = read(data)
    except FORGERY_ERRORS:
        return False
    assert made.to_bytes() == bytes(data)
    return True


@pytest.mark.parametrize("kind", ALL_KINDS, ids=str)
def test_specimens_are_good(door, kind):
    data, read = specimen(door, kind)
    assert read(data).to_bytes() == data


@pytest.mark.parametrize("pattern", [0x01, 0x80, 0xFF])
def test_every_byte_of_an_upload_flipped(door, active_level, pattern):
    data, read = specimen(door, "upload")
    work = bytearray(data)
    for place in range(len(data)):
        work[place] ^= pattern
        refuses(read, work)
        work[place] ^= pattern


@pytest.mark.parametrize("kind", ROSTER_SPECIMENS, ids=str)
def test_objects_of_rosters_damaged(door, kind, rng):
    """Truncated, or a byte flipped, without a checksum that fits."""
    data, read = specimen(door, kind)
    view, work = memoryview(data), bytearray(data)
    for place in sampled(len(data), 100, 211):
        refuses(read, view[:place])
        change = 1 << rng.randrange(8)
        work[place] ^= change
        refuses(read, work)
        work[place] ^= change


def clients_signatures(data, rnd):
    """Where they stand in a certificate."""
    out = set()
    for _, head in committee.read_certificate(data, rnd).total.entries:
        at = data.index(head.signature.signature)
        out |= set(range(at, at + len(head.signature.signature)))
    return out


@pytest.mark.parametrize("where", ["clients", "server"])
def test_what_ties_a_certificate_together(door, where, rng):
    """Members' words are for all of it but clients' signatures, which are what members look at."""
    data, read = specimen(door, (where, "certificate"))
    theirs = clients_signatures(data, wire.read_round(specimen(door, (where, "round"))[0]))
    own = set(range(16, len(data) - 4)) - theirs
    for places, refused in ((own, True), (theirs, False)):
        for place in rng.sample(sorted(places), 60):
            work = bytearray(data)
            work[place] ^= 1 << rng.randrange(8)
            reseal(door, work)
            assert accepts_or_refuses(read, work) != refused


@pytest.mark.parametrize("where", ["clients", "server"])
def test_what_ties_a_member_request_together(door, where, rng):
    """A member's sealed shares, and their paths, are those that the heads name."""
    data, read = specimen(door, (where, "member request"))
    rnd = wire.read_round(specimen(door, (where, "round"))[0])
    request = committee.read_request(data, rnd)
    first = (
        len(data)
        - 4
        - sum(
            len(part) + 32 * len(path)
            for part, path in zip(request.parts, request.paths, strict=True)
        )
    )
    for place in rng.sample(range(first, len(data) - 4), 60):
        work = bytearray(data)
        work[place] ^= 1 << rng.randrange(8)
        reseal(door, work)
        refuses(read, work)


@pytest.mark.parametrize("kind", ["upload", "signed upload"])
def test_an_upload_truncated_at_every_length(door, active_level, kind):
    data, read = specimen(door, kind)
    view = memoryview(data)
    for length in range(len(data)):
        refuses(read, view[:length])


@pytest.mark.parametrize("kind", ["plan", "secret key"])
def test_every_value_of_every_byte_forged(door, kind):
    """Small enough to try all 255 other values everywhere."""
    data, read = specimen(door, kind)
    work = bytearray(data)
    accepted = 0
    values = range(1, 256) if kind == "plan" else (1, 2, 4, 8, 16, 32, 64, 128, 255)
    for place in range(len(data) - 4):
        for change in values:
            work[place] ^= change
            reseal(door, work)
            accepted += accepts_or_refuses(read, work)
            work[place] ^= change
    assert accepted > 0  # another number of clients is a plan, another seed is a key


@pytest.mark.parametrize("kind", [k for k in ALL_KINDS if k not in ("plan", "secret key")], ids=str)
def test_forgeries_of_every_kind(door, active_level, kind, rng):
    """As for damage, with the checksum made to fit."""
    data, read = specimen(door, kind)
    work = bytearray(data)
    for place in sampled(len(data) - 4, 300, 97):
        for change in (1 << rng.randrange(8), 0xFF):
            work[place] ^= change
            reseal(door, work)
            accepts_or_refuses(read, work)
            work[place] ^= change


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k for k in ALL_KINDS if k not in ("plan", "secret key")], ids=str)
def test_every_byte_of_every_kind_forged(door, kind):
    """Of sums every seventh, which meets every byte of a packed group of fifty."""
    data, read = specimen(door, kind)
    work = bytearray(data)
    step = 7 if kind in ("aggregate", "opening request") or kind in ROSTER_SPECIMENS else 1
    for place in sampled(len(data) - 4, 300, step):
        for change in (0x01, 0x80):
            work[place] ^= change
            reseal(door, work)
            accepts_or_refuses(read, work)
            work[place] ^= change


# --- fields that say what cannot be ---------------------------------------------------------------


def forged(door, kind, place, letter, value):
    """The specimen with one payload field rewritten, and the checksum made to fit."""
    data = bytearray(specimen(door, kind)[0])
    struct.pack_into("<" + letter, data, 16 + place, value)
    reseal(door, data)
    return data


# Of an unsigned upload: flag and clip count, nonce, sealed key; and of an entry of a manifest.
HEAD = 9 + 16 + 1168
ENTRY = 8 + HEAD

ROUND_FIELDS = [
    ("trust in the aggregator", 48, "B", (1, 2, 128, 255)),
    ("min_clients", 49, "I", (0, 1, 11, 2**32 - 1)),
    ("upload keys", 53, "I", (0, 257, 2**16, 2**32 - 1)),
    ("segments", 57, "I", (0, 1, 2, 4, 2**16, 2**28, 2**32 - 1)),
    ("count", 61, "Q", (2**40 + 1, 2**63, 2**64 - 1, 2**64 - 3)),
    ("limit", 69, "d", (0.0, -0.0, -1.0, float("inf"), float("-inf"), float("nan"), 5e-324, 1e308)),
    ("layout bytes", 109, "I", (0, 5, 7, 2**31, 2**32 - 1)),
    ("roster", 119, "I", (1, 2, 2**27, 2**32 - 1)),
    ("authority", 123, "B", (0, 2, 3, 255)),
    ("the key's engine", 124, "B", (0, 2, 255)),
    ("the key's parts", 125, "B", (1, 2, 64, 65, 255)),
    ("the key's bytes", 126, "I", (0, 1215, 1217, 2**27, 2**31, 2**32 - 1)),
    ("reader", 130 + 1216, "B", (1, 2, 3, 255)),
    ("step", 131 + 1216, "B", (1, 2, 255)),
]


@pytest.mark.parametrize(("field", "place", "letter", "values"), ROUND_FIELDS)
def test_round_fields(door, field, place, letter, values):
    _, read = specimen(door, "round")
    original = struct.unpack_from("<" + letter, specimen(door, "round")[0], 16 + place)[0]
    assert original in (2, 3, 1.0, 6, 0, 1, 1216)
    for value in values:
        refuses(read, forged(door, "round", place, letter, value))


def test_segment_counts_that_wrap_around(door):
    """Two counts that add up to 3 modulo 2^64."""
    data = bytearray(specimen(door, "round")[0])
    struct.pack_into("<Q", data, 16 + 61, 2**64 - 5)
    struct.pack_into("<Q", data, 16 + 77, 8)
    reseal(door, data)
    refuses(core.Round.from_bytes, data)


PLAN_FIELDS = [
    ("engine", 0, "B", (0, 2, 255)),
    ("ring", 1, "B", (1, 2, 4, 5, 6, 255)),
    ("value bits", 2, "B", (0, 1, 8, 17, 33, 255)),
    ("weight bits", 3, "B", (1, 20, 21, 64, 255)),
    ("clients", 4, "I", (0, 1, 2**20 + 1, 2**32 - 1)),
    ("security", 8, "H", (0, 127, 192, 256, 65535)),
    ("optimise", 10, "B", (2, 255)),
    ("digits", 11, "B", (0, 1, 3, 255)),
    ("field bits", 12, "B", (0, 42, 44, 255)),
    ("zero", 13, "B", (1, 2, 255)),
    ("reserved", 14, "H", (1, 256, 65535)),
]


@pytest.mark.parametrize(("field", "place", "letter", "values"), PLAN_FIELDS)
def test_plan_fields(door, field, place, letter, values):
    for kind in ("plan", "round"):
        _, read = specimen(door, kind)
        for value in values:
            refuses(read, forged(door, kind, place, letter, value))


def test_a_ring_with_the_same_numbers_is_another_plan(door):
    """n4096q48 holds the same digits in the same fields: read, but another plan than written."""
    data = forged(door, "plan", 1, "B", 3)
    read = vs.Plan.from_bytes(data)
    assert read.profile == "n4096q48"
    assert read.to_bytes() == data
    assert read != vs.Plan.from_bytes(specimen(door, "plan")[0])


def test_keys_have_one_length_and_protect_something(door):
    """Of one length; a public part that seals nothing, or to everybody, is refused as well."""
    lead = b"\x01\x00" + struct.pack("<I", 1216)
    for kind, length in (("public key", 1216), ("secret key", 1216 + 96)):
        data, read = specimen(door, kind)
        number = struct.unpack("<H", data[6:8])[0]
        assert data[16 : 16 + len(lead)] == lead
        assert len(data) == 16 + len(lead) + length + 4
        assert read(data).to_bytes() == data
        for content in (bytes(length), b"\xff" * length):
            refuses(read, wire.seal(number, lead + content))
        for size in (0, length - 1, length + 1):
            refuses(read, wire.seal(number, lead + bytes(size)))
        for size in range(len(lead)):
            refuses(read, wire.seal(number, lead[:size]))


def test_keys_of_an_engine_that_is_not_here_are_bytes_of_any_length(door):
    """With up to 64 parts; a secret key's own bytes are what follows the public key."""
    for engine, parts, size in ((2, 0, 0), (255, 1, 7), (9, 64, 3000)):
        ids = [bytes([k]) * 16 for k in range(parts)]
        fields = sealed.public_fields(bytes(size), engine, ids)
        public = core.PublicKey.from_bytes(wire.seal(wire.PUBLIC_KEY, fields))
        assert (public.engine, public.parts, public.body) == (engine, ids, bytes(size))
        assert public.id == sealed.key_id(bytes(size), engine, ids)
        for secret in (b"", b"s", bytes(5000)):
            data = wire.seal(wire.SECRET_KEY, fields + secret)
            assert core.SecretKey.from_bytes(data).to_bytes() == data
            assert core.SecretKey.from_bytes(data).id == public.id
        refuses(core.PublicKey.from_bytes, wire.seal(wire.PUBLIC_KEY, fields + b"\0"))
        refuses(core.SecretKey.from_bytes, wire.seal(wire.SECRET_KEY, fields[:-1]))
    too_many = sealed.public_fields(b"", 255, [bytes(16)] * 65)
    refuses(core.PublicKey.from_bytes, wire.seal(wire.PUBLIC_KEY, too_many))


@pytest.mark.parametrize("evidence", [1, 2, 3, 128, 255])
def test_a_request_of_the_native_engine_shows_no_blocks(door, evidence):
    data, read = specimen(door, "opening request")
    at = len(data) - 4 - 32 - 1  # before the digest of the blocks
    assert data[at] == 0
    total = wire.read_sum(specimen(door, "aggregate")[0])
    shown = wire.evidence_of(total.blocks, [total.blocks] * 2)
    for rest in (b"", shown[1:33], shown[1:]):
        refuses(read, wire.seal(wire.OPENING_REQUEST, data[16:at] + bytes([evidence]) + rest))


def test_upload_fields(door):
    _, read = specimen(door, "upload")
    blocks_at = 32 + HEAD
    length = struct.unpack_from("<Q", specimen(door, "upload")[0], 16 + blocks_at)[0]
    assert length == stage_of(door).oracle_plan.check_block_bytes + 43  # and eight coefficients
    for value in (3, 128, 255):
        refuses(read, forged(door, "upload", 32, "B", value))
    for value in (1, 2):  # says it is signed, has no room for it
        refuses(read, forged(door, "upload", 32, "B", value))
    for value in (SIZE + 1, 2**32, 2**64 - 1):
        refuses(read, forged(door, "upload", 33, "Q", value))
    assert accepts_or_refuses(read, forged(door, "upload", 33, "Q", SIZE))
    for value in (0, 1, 43, length - 1, length + 1, 2**32, 2**63, 2**64 - 1):
        refuses(read, forged(door, "upload", blocks_at, "Q", value))


def test_manifest_fields(door):
    for kind in ("aggregate", "opening request"):
        _, read = specimen(door, kind)
        for value in (0, 1, 3, 10, 2**16, 2**31, 2**32 - 1):
            refuses(read, forged(door, kind, 32, "I", value))
        for value in (0, 11, 2**63, 2**64 - 1):
            refuses(read, forged(door, kind, 36, "Q", value))
    # Two weights that wrap around to a small sum.
    data = forged(door, "aggregate", 36, "Q", 2**64 - 1)
    struct.pack_into("<Q", data, 16 + 36 + ENTRY, 3)
    reseal(door, data)
    refuses(specimen(door, "aggregate")[1], data)


def test_sum_key_fields(door):
    _, read = specimen(door, "sum key")
    for value in (0, 1, 11, 2**32 - 1):
        refuses(read, forged(door, "sum key", 64, "I", value))
    for value in (0, 1, 11, 2**63, 2**64 - 1):
        refuses(read, forged(door, "sum key", 68, "Q", value))
    # Two uploads: coefficients from -16 to 16, as 0 ... 32 in six bits, behind what binds the key.
    begin = 16 + 76 + 1 + 32 + 16
    for place in (0, 1, 2047):
        for value in range(64):
            data = bytearray(specimen(door, "sum key")[0])
            row = int.from_bytes(data[begin:-4], "little")
            row = row & ~(63 << 6 * place) | value << 6 * place
            data[begin:-4] = row.to_bytes(2048 * 6 // 8, "little")
            reseal(door, data)
            if value <= 32:
                assert accepts_or_refuses(read, data)
            else:
                refuses(read, data)
