"""Rule 5: bytes from outside, damaged by accident or rewritten with care.

Damage (the checksum does not fit): always WireFormatError. Forgery (the checksum is made to fit):
WireFormatError, RoundError or KeyMismatchError, or an object, and then one that writes exactly the
bytes it was read from. Never another exception, a crash, or memory that the bytes do not justify.
"""

import functools
import itertools
import random
import struct
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from oracle import wire  # noqa: E402
from parties import PLANS, Stage, seed_of  # noqa: E402

SIZE = 3
FORGERY_ERRORS = (core.WireFormatError, core.RoundError, core.KeyMismatchError)
KINDS = (
    "plan", "public key", "secret key", "round", "upload", "signed upload", "aggregate",
    "opening request", "sum key",
)  # fmt: skip


@functools.cache
def stage_of(door, roster=False):
    keys = [seed_of("verification key", k) for k in range(2)] if roster else []
    return Stage(
        door,
        PLANS["n2048"],
        [(2, 1.0), (0, 2.0), (SIZE - 2, 0.5)],
        name=f"corrupt/{roster}",
        layout=b"layout",
        roster=keys,
    )


@functools.cache
def specimen(door, kind):
    """(bytes of a small object, its reader)."""
    stage = stage_of(door, kind == "signed upload")
    uploads = [stage.encrypt(k, [0.1 * k] * SIZE) for k in range(2)]
    if kind == "signed upload":
        uploads[0].attach_signature(1, bytes(range(64)))
        data = uploads[0].to_bytes()
        return data, lambda data: core.Upload.from_bytes(data, stage.round)
    total = stage.sum_of(uploads)
    key = stage.open(total)
    return {
        "plan": (stage.plan.to_bytes(), core.Plan.from_bytes),
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


@pytest.mark.parametrize("kind", KINDS)
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


@pytest.mark.parametrize("kind", ["upload", "signed upload"])
def test_an_upload_truncated_at_every_length(door, active_level, kind):
    data, read = specimen(door, kind)
    view = memoryview(data)
    for length in range(len(data)):
        refuses(read, view[:length])


@pytest.mark.parametrize("kind", KINDS)
def test_damage_to_every_kind(door, kind, rng):
    """Every byte of the first and last 600, every 41st between; bits, bytes and truncation."""
    data, read = specimen(door, kind)
    work, view = bytearray(data), memoryview(data)
    for place in sampled(len(data), 600, 41):
        pattern = 1 << rng.randrange(8)
        for change in (pattern, 0xFF, rng.randrange(1, 256)):
            work[place] ^= change
            refuses(read, work)
            work[place] ^= change
        refuses(read, view[:place])
    for extra in (b"\0", b"\0" * 16, data):
        refuses(read, data + extra)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_of_two_bytes_and_swapped_runs(door, kind, rng):
    data, read = specimen(door, kind)
    for _ in range(300):
        work = bytearray(data)
        for _ in range(2):
            work[rng.randrange(len(work))] ^= rng.randrange(1, 256)
        refuses(read, work)
        first, second = sorted(rng.sample(range(len(data) + 1), 2))
        work = bytearray(data[:first] + data[second:])
        refuses(read, work)


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


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("plan", "secret key")])
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
@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("plan", "secret key")])
def test_every_byte_of_every_kind_forged(door, kind):
    """Of sums every seventh, which meets every byte of a packed group of fifty."""
    data, read = specimen(door, kind)
    work = bytearray(data)
    step = 7 if kind in ("aggregate", "opening request") else 1
    for place in sampled(len(data) - 4, 300, step):
        for change in (0x01, 0x80):
            work[place] ^= change
            reseal(door, work)
            accepts_or_refuses(read, work)
            work[place] ^= change


@pytest.mark.parametrize("kind", KINDS)
def test_forged_lengths(door, kind, rng):
    """Truncated or padded, with total length and checksum made to fit."""
    data, read = specimen(door, kind)
    payload = data[16:-4]
    number = struct.unpack("<H", data[6:8])[0]
    lengths = {*range(min(200, len(payload))), *range(0, len(payload), 997)}
    for length in lengths | {len(payload) - k for k in range(1, 70) if k <= len(payload)}:
        refuses_or_belongs_elsewhere(read, wire.seal(number, payload[:length]))
    for extra in (b"\0", b"\xff", bytes(50), bytes(8), payload):
        refuses(read, wire.seal(number, payload + extra))


def refuses_or_belongs_elsewhere(read, data):
    with pytest.raises(FORGERY_ERRORS):
        read(data)


def test_every_kind_is_read_as_itself_only(door):
    for kind, other in itertools.permutations(KINDS, 2):
        if {kind, other} == {"upload", "signed upload"}:
            continue
        data, _ = specimen(door, kind)
        _, read = specimen(door, other)
        with pytest.raises(core.WireFormatError, match=kind.split()[-1]):
            read(data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", [0, 1, 255, 256, 65535])
def test_other_versions(door, kind, version):
    data, read = specimen(door, kind)
    number = struct.unpack("<H", data[6:8])[0]
    with pytest.raises(core.WireFormatError, match=f"version {version} is not .*is version 2"):
        read(wire.seal(number, data[16:-4], version))


@pytest.mark.parametrize("kind", KINDS)
def test_other_kind_numbers(door, kind):
    data, read = specimen(door, kind)
    number = struct.unpack("<H", data[6:8])[0]
    for other in (0, 9, 255, 256 + number, 65535):
        with pytest.raises(core.WireFormatError):
            read(wire.seal(other, data[16:-4]))


@given(st.binary(max_size=200), st.sampled_from(KINDS))
@settings(max_examples=300, deadline=None)
def test_noise_is_no_object(door, noise, kind):
    data, read = specimen(door, kind)
    refuses(read, noise)
    refuses(read, data[:16] + noise)
    refuses_or_belongs_elsewhere(read, wire.seal(struct.unpack("<H", data[6:8])[0], noise))


@pytest.mark.parametrize("kind", KINDS)
def test_buffers_of_every_sort(door, kind):
    data, read = specimen(door, kind)
    for given_ in (data, bytearray(data), memoryview(data), memoryview(bytearray(data))):
        assert read(given_).to_bytes() == data
    with pytest.raises((TypeError, core.VeilsumError)):
        read(data.decode("latin-1"))
    doubled = memoryview(bytes(b for pair in zip(data, data, strict=True) for b in pair))[::2]
    assert bytes(doubled) == data
    with pytest.raises((core.VeilsumError, BufferError)):
        read(doubled)
    for empty in (b"", bytearray(), memoryview(b"")):
        refuses(read, empty)


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
    ("min_clients", 48, "I", (0, 1, 11, 2**32 - 1)),
    ("upload keys", 52, "I", (0, 257, 2**16, 2**32 - 1)),
    ("segments", 56, "I", (0, 1, 2, 4, 2**16, 2**28, 2**32 - 1)),
    ("count", 60, "Q", (2**40 + 1, 2**63, 2**64 - 1, 2**64 - 3)),
    ("limit", 68, "d", (0.0, -0.0, -1.0, float("inf"), float("-inf"), float("nan"), 5e-324, 1e308)),
    ("layout bytes", 108, "I", (0, 5, 7, 2**31, 2**32 - 1)),
    ("roster", 118, "I", (1, 2, 2**27, 2**32 - 1)),
]


@pytest.mark.parametrize(("field", "place", "letter", "values"), ROUND_FIELDS)
def test_round_fields(door, field, place, letter, values):
    _, read = specimen(door, "round")
    original = struct.unpack_from("<" + letter, specimen(door, "round")[0], 16 + place)[0]
    assert original in (2, 3, 1.0, 6, 0, 1)
    for value in values:
        refuses(read, forged(door, "round", place, letter, value))


def test_segment_counts_that_wrap_around(door):
    """Two counts that add up to 3 modulo 2^64."""
    data = bytearray(specimen(door, "round")[0])
    struct.pack_into("<Q", data, 16 + 60, 2**64 - 5)
    struct.pack_into("<Q", data, 16 + 76, 8)
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
    read = core.Plan.from_bytes(data)
    assert read.profile == "n4096q48"
    assert read.to_bytes() == data
    assert read != core.Plan.from_bytes(specimen(door, "plan")[0])


def test_keys_are_bytes_of_one_length(door):
    """Nothing in a key can be wrong but its length: whoever seals and opens finds out the rest."""
    for kind, length in (("public key", 1216), ("secret key", 96 + 1216)):
        data, read = specimen(door, kind)
        number = struct.unpack("<H", data[6:8])[0]
        assert len(data) == 16 + length + 4
        for content in (bytes(length), b"\xff" * length):
            sealed = wire.seal(number, content)
            assert read(sealed).to_bytes() == sealed
        for size in (0, length - 1, length + 1):
            refuses(read, wire.seal(number, bytes(size)))


def test_upload_fields(door):
    _, read = specimen(door, "upload")
    blocks_at = 32 + HEAD
    length = struct.unpack_from("<Q", specimen(door, "upload")[0], 16 + blocks_at)[0]
    assert length == stage_of(door).oracle_plan.check_block_bytes + 43  # and eight coefficients
    for value in (2, 128, 255):
        refuses(read, forged(door, "upload", 32, "B", value))
    refuses(read, forged(door, "upload", 32, "B", 1))  # says it is signed, has no room for it
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
    # Two uploads: coefficients from -16 to 16, as 0 ... 32 in six bits.
    for place in (0, 1, 2047):
        for value in range(64):
            data = bytearray(specimen(door, "sum key")[0])
            row = int.from_bytes(data[16 + 76 : -4], "little")
            row = row & ~(63 << 6 * place) | value << 6 * place
            data[16 + 76 : -4] = row.to_bytes(2048 * 6 // 8, "little")
            reseal(door, data)
            if value <= 32:
                assert accepts_or_refuses(read, data)
            else:
                refuses(read, data)


LITTLE_MEMORY = """
import resource, sys
import veilsum._core as core

rnd = core.Round.load(sys.argv[1])
core.Plan(clients=10).id, core.isa_level()
readers = {
    "plan": core.Plan.from_bytes,
    "public key": core.PublicKey.from_bytes,
    "secret key": core.SecretKey.from_bytes,
    "round": core.Round.from_bytes,
    "upload": lambda data: core.Upload.from_bytes(data, rnd),
    "aggregate": lambda data: core.Aggregate.from_bytes(data, rnd),
    "opening request": lambda data: core.OpeningRequest.from_bytes(data, rnd),
    "sum key": lambda data: core.SumKey.from_bytes(data, rnd),
}
cases = []
with open(sys.argv[2], "rb") as source:
    while header := source.readline():
        kind, size = header.decode().rsplit(" ", 1)
        cases.append((kind, source.read(int(size))))
readers["upload"](next(data for kind, data in cases if kind == "upload"))  # warms threads up

with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
limit = used + (32 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
refused = 0
for kind, data in cases[1:]:
    try:
        readers[kind](data)
    except core.VeilsumError:
        refused += 1
print(refused, len(cases) - 1)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
def test_oversized_lengths_allocate_nothing(door, tmp_path):
    """Every length field at its largest, with 32 MiB of address space to spare."""
    cases = [("upload", bytes(specimen(door, "upload")[0]))]
    for _, place, letter, values in ROUND_FIELDS:
        cases += [("round", forged(door, "round", place, letter, v)) for v in values]
    for value in (2**28, 2**32 - 1):
        cases.append(("round", forged(door, "round", 56, "I", value)))
        for kind in ("aggregate", "opening request"):
            cases.append((kind, forged(door, kind, 32, "I", value)))
        cases.append(("sum key", forged(door, "sum key", 64, "I", value)))
    for value in (2**33, 2**50, 2**63, 2**64 - 1):
        cases.append(("upload", forged(door, "upload", 32 + HEAD, "Q", value)))
        at = 32 + 4 + 2 * ENTRY
        cases.append(("aggregate", forged(door, "aggregate", at, "Q", value)))
    for kind in KINDS:
        data = bytearray(specimen(door, kind)[0])
        for total in (2**33, 2**63, 2**64 - 1):
            struct.pack_into("<Q", data, 8, total)
            reseal(door, data)
            cases.append((kind.removeprefix("signed "), bytes(data)))
    stage_of(door).round.save(str(tmp_path / "round"))
    with (tmp_path / "cases").open("wb") as out:
        for kind, data in cases:
            out.write(f"{kind} {len(data)}\n".encode() + data)
    result = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY, str(tmp_path / "round"), str(tmp_path / "cases")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    refused, given_ = map(int, result.stdout.split())
    assert refused == given_ == len(cases) - 1


def test_a_round_of_2_to_the_40_values_costs_nothing(door):
    """Legal, and cheap to read; an upload for it must have its bytes."""
    stage = stage_of(door)
    rnd = core.Round(stage.plan, stage.public, [(2**40, 1.0)])
    again = core.Round.from_bytes(rnd.to_bytes())
    assert again.size == 2**40
    data = bytearray(specimen(door, "upload")[0])
    data[16:48] = rnd.id
    reseal(door, data)
    refuses(lambda data: core.Upload.from_bytes(data, again), data)
    with pytest.raises(core.ParameterError):
        core.Round(stage.plan, stage.public, [(2**40 + 1, 1.0)])


def test_files_are_read_with_the_same_care(door, tmp_path):
    """Every load() of a damaged, empty, short or missing file."""
    stage = stage_of(door)
    loaders = {
        "plan": core.Plan.load,
        "public key": core.PublicKey.load,
        "secret key": core.SecretKey.load,
        "round": core.Round.load,
        "upload": lambda path: core.Upload.load(path, stage.round),
        "aggregate": lambda path: core.Aggregate.load(path, stage.round),
        "opening request": lambda path: core.OpeningRequest.load(path, stage.round),
        "sum key": lambda path: core.SumKey.load(path, stage.round),
    }
    choice = random.Random(1)
    for kind, load in loaders.items():
        path = tmp_path / "file"
        path.touch(mode=0o600)
        data = specimen(door, kind)[0]
        path.write_bytes(data)
        assert load(str(path)).to_bytes() == data
        damaged = bytearray(data)
        damaged[choice.randrange(len(data))] ^= 4
        for content in (b"", b"V", data[:-1], data[: len(data) // 2], data + b"\0", bytes(damaged)):
            path.write_bytes(content)
            with pytest.raises(core.WireFormatError):
                load(str(path))
        path.unlink()
        with pytest.raises(OSError, match="file"):
            load(str(path))
        with pytest.raises((OSError, core.ParameterError), match="not a regular file"):
            load(str(tmp_path))
