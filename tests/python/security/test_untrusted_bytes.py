"""Bytes from outside are refused by a typed error, or are exactly the object that they say.

Every kind of object of every engine: damaged by accident (the checksum does not fit: always
WireFormatError), or rewritten with care (it does: a typed error, or an object that writes the bytes
it was read from). Never another exception, a crash, or memory that the bytes do not justify. Where
the native engine's fields stand, and what each may hold, is in scheme/test_corrupted_bytes.py; what
only OpenFHE reads, in engines/test_wire.py.
"""

from __future__ import annotations

import functools
import itertools
import random
import struct
import subprocess
import sys

import numpy as np
import pytest

import veilsum as vs
from security import forging
from security.stages import PRELUDE
from veilsum import _core

SIZE = 3
FORGERY_ERRORS = (vs.WireFormatError, vs.RoundError, vs.KeyMismatchError)
KINDS = (
    "plan", "public key", "secret key", "public identity", "round", "upload", "signed upload",
    "doubly signed upload", "aggregate", "opening request", "sum key",
)  # fmt: skip
SECRET = ("secret key", "sum key")


def name_of(kind):
    return kind.removeprefix("doubly ").removeprefix("signed ")


@functools.cache
def specimens(stage):
    """Of each kind: a small object, its class, and what else reading takes."""
    like = {"a": np.zeros(2, np.float32), "b": np.zeros(SIZE - 2)}
    rnd = stage.round(like=like, limit={"a": 1.0, "b": 0.5})
    signed = stage.round(like=like, signed=True)
    update = {"a": np.array([0.25, -1], np.float32), "b": np.array([0.5])}
    uploads = [vs.encrypt(rnd, update) for _ in range(2)]
    total = vs.weighted_sum(rnd, uploads)
    return {
        "plan": (stage.plan, vs.Plan, ()),
        "public key": (stage.public, vs.PublicKey, ()),
        "secret key": (stage.fresh_secret(), vs.SecretKey, ()),
        "round": (rnd, vs.Round, ()),
        "upload": (uploads[0], vs.Upload, (rnd,)),
        "signed upload": (
            vs.encrypt(signed, update, signer=stage.people[1]), vs.Upload, (signed,)
        ),
        "doubly signed upload": (
            vs.encrypt(signed, update, signer=stage.people[2]), vs.Upload, (signed,)
        ),
        "public identity": (stage.people[2].public, vs.PublicIdentity, ()),
        "aggregate": (total, vs.Aggregate, (rnd,)),
        "opening request": (stage.request(total, uploads), vs.OpeningRequest, (rnd,)),
        "sum key": (stage.open(rnd, total, uploads), vs.SumKey, (rnd,)),
    }  # fmt: skip


def specimen(stage, kind):
    """(bytes, their reader)."""
    thing, made, context = specimens(stage)[kind]
    return thing.to_bytes(), lambda data: made.from_bytes(data, *context)


def sampled(length, ends, step):
    """Every place near both ends, and every `step`-th between."""
    near = {*range(min(ends, length)), *range(max(0, length - ends), length)}
    return sorted({*near, *range(0, length, step)})


def refuses(read, data):
    try:
        read(data)
    except vs.WireFormatError:
        return
    pytest.fail(f"{bytes(data[:32]).hex()}... was read as a good object")


def is_faithful_or_refused(read, data):
    """Whether a forged object was read; then it must be what the bytes say."""
    try:
        made = read(data)
    except FORGERY_ERRORS:
        return False
    assert made.to_bytes() == bytes(data)
    return True


def number_of(data):
    return int.from_bytes(data[6:8], "little")


def changed(data, at, value):
    return data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]


@pytest.mark.parametrize("kind", KINDS)
def test_specimens_are_good(stage, kind):
    data, read = specimen(stage, kind)
    assert read(data).to_bytes() == data
    assert forging.reseal(data) == data


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_damage_to_every_kind(stage, kind, rng):
    """The first and last 600 bytes, and samples between; bits, bytes and truncation."""
    data, read = specimen(stage, kind)
    work, view = bytearray(data), memoryview(data)
    for place in sampled(len(data), 600, max(41, len(data) // 400)):
        pattern = 1 << rng.randrange(8)
        for change in (pattern, 0xFF, rng.randrange(1, 256)):
            work[place] ^= change
            refuses(read, work)
            work[place] ^= change
        refuses(read, view[:place])
    for extra in (b"\0", b"\0" * 16, data):
        refuses(read, data + extra)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_of_two_bytes_and_swapped_runs(stage, kind, rng):
    data, read = specimen(stage, kind)
    for _ in range(300):
        work = bytearray(data)
        for place in rng.sample(range(len(work)), 2):
            work[place] ^= rng.randrange(1, 256)
        refuses(read, work)
        first, second = sorted(rng.sample(range(len(data) + 1), 2))
        refuses(read, data[:first] + data[second:])


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_no_object(stage, kind, rng):
    data, read = specimen(stage, kind)
    for _ in range(200):
        noise = rng.randbytes(rng.randrange(200))
        refuses(read, noise)
        refuses(read, data[:16] + noise)
        assert not is_faithful_or_refused(read, forging.seal(number_of(data), noise))


# --- forgeries ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_forgeries_of_every_kind(stage, kind, rng):
    """As for damage, with the checksum made to fit."""
    data, read = specimen(stage, kind)
    accepted = 0
    for place in sampled(len(data) - 4, 250, max(97, len(data) // 200)):
        for change in (1 << rng.randrange(8), 0xFF):
            forged = bytearray(changed(data, place, change))
            if place >= 16:
                forged = bytearray(forging.reseal(forged))
            accepted += is_faithful_or_refused(read, forged)
    if kind in ("secret key", "upload", "sum key"):
        assert accepted > 0  # other blocks are an upload, and other secrets a key


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_forgeries_of_every_kind(stage, kind):
    data, read = specimen(stage, kind)
    for place in sampled(len(data) - 4, 1000, max(1, len(data) // 4000)):
        for change in (0x01, 0x80):
            if place >= 16:
                is_faithful_or_refused(read, forging.reseal(changed(data, place, change)))


@pytest.mark.parametrize("kind", KINDS)
def test_forged_lengths(stage, kind):
    """Truncated or padded, with total length and checksum made to fit."""
    data, read = specimen(stage, kind)
    payload, number = data[16:-4], number_of(data)
    lengths = {*range(min(200, len(payload))), *range(0, len(payload), 997)}
    lengths |= {len(payload) - k for k in range(1, 70) if k <= len(payload)}
    # A secret key's length is known to its engine alone, which reads it when it is used; so is that
    # of a sum key, and a public key's body says its own.
    free = stage.sums_again and kind in SECRET
    for length in lengths:
        taken = is_faithful_or_refused(read, forging.seal(number, payload[:length]))
        assert free or not taken, length
    for extra in (b"\0", b"\xff", bytes(50), bytes(8), payload):
        if free:
            is_faithful_or_refused(read, forging.seal(number, payload + extra))
        else:
            refuses(read, forging.seal(number, payload + extra))


@pytest.mark.parametrize("cut", [1, 8, 33, 1000])
def test_secrets_of_another_length_open_nothing(stage, cut):
    """What is read only when it is used is refused then."""
    if not stage.sums_again:
        pytest.skip("the native engine's keys are checked when they are read")
    data, read = specimen(stage, "sum key")
    total = specimens(stage)["aggregate"][0]
    for payload in (data[16 : -4 - min(cut, len(data) - 100)], data[16:-4] + bytes(cut)):
        key = read(forging.seal(forging.SUM_KEY, payload))
        with pytest.raises((vs.WireFormatError, vs.KeyMismatchError)):
            vs.decrypt(key, total)


def test_every_kind_is_read_as_itself_only(stage):
    for kind, other in itertools.permutations(KINDS, 2):
        if name_of(kind) == name_of(other):
            continue
        data, _ = specimen(stage, kind)
        _, read = specimen(stage, other)
        with pytest.raises(vs.WireFormatError, match=kind.split()[-1]):
            read(data)


@pytest.mark.parametrize("version", [0, 1, 3, 255, 256, 65535])
def test_other_versions(stage, version):
    for kind in KINDS:
        data, read = specimen(stage, kind)
        other = data[:4] + struct.pack("<H", version) + data[6:]
        with pytest.raises(vs.WireFormatError, match=f"version {version} is not .*is version 2"):
            read(other)


def test_other_kind_numbers(stage):
    for kind in KINDS:
        data, read = specimen(stage, kind)
        for other in (0, 9, 11, 255, 256 + number_of(data), 65535):
            with pytest.raises(vs.WireFormatError):
                read(forging.seal(other, data[16:-4]))


@pytest.mark.parametrize("kind", KINDS)
def test_buffers_of_every_sort(stage, kind):
    data, read = specimen(stage, kind)
    for given in (data, bytearray(data), memoryview(data), memoryview(bytearray(data))):
        assert read(given).to_bytes() == data
    with pytest.raises((TypeError, vs.VeilsumError)):
        read(data.decode("latin-1"))
    doubled = memoryview(bytes(b for pair in zip(data, data, strict=True) for b in pair))[::2]
    assert bytes(doubled) == data
    with pytest.raises((vs.VeilsumError, BufferError)):
        read(doubled)
    for empty in (b"", bytearray(), memoryview(b"")):
        refuses(read, empty)


# --- numbers that say what cannot be --------------------------------------------------------------

LARGEST = (2**16, 2**28, 2**31, 2**32 - 1)


def oversized(stage):
    """Objects whose counts and lengths say more than there is: (kind, bytes)."""
    for kind in KINDS:
        data, _ = specimen(stage, kind)
        for total in (2**33, 2**63, 2**64 - 1):
            header = data[:8] + struct.pack("<Q", total)
            yield name_of(kind), header + data[16:]

    def forged(kind, place, letter, value):
        data = bytearray(specimen(stage, kind)[0])
        struct.pack_into("<" + letter, data, 16 + place, value)
        return name_of(kind), forging.reseal(data)

    rnd = specimens(stage)["round"][0]
    layout = 16 + 32 + 1 + 4 + 4 + 4 + len(rnd.segments) * 16
    roster = layout + 4 + len(rnd.layout_bytes)
    for value in LARGEST:
        yield forged("round", 16 + 32 + 1 + 4, "I", value)  # upload keys
        yield forged("round", 16 + 32 + 1 + 8, "I", value)  # segments
        yield forged("round", layout, "I", value)
        yield forged("round", roster, "I", value)
        yield forged("round", roster + 4 + 2, "I", value)  # bytes of the public key
        yield forged("public key", 2, "I", value)
        yield forged("secret key", 2, "I", value)
        for kind in ("aggregate", "opening request"):
            yield forged(kind, 32, "I", value)
        yield forged("sum key", 64, "I", value)
    for value in (2**33, 2**50, 2**63, 2**64 - 1):
        yield forged("round", 16 + 32 + 1 + 12, "Q", value)  # of the first segment
        yield forged("sum key", 68, "Q", value)
        head = 9 + 16 + forging.part_bytes(rnd)
        yield forged("upload", 32 + head, "Q", value)
        yield forged("signed upload", 32 + head + 100, "Q", value)
        yield forged("aggregate", 32 + 4 + 2 * (8 + head), "Q", value)
        for kind in ("aggregate", "opening request"):
            yield forged(kind, 36, "Q", value)
    for value in (64, 65, 255):  # parts of a key
        yield forged("public key", 1, "B", value)
        yield forged("secret key", 1, "B", value)


def test_numbers_beyond_what_there_is(stage):
    for kind, data in oversized(stage):
        _, read = specimen(stage, kind)
        if len(data) == specimens(stage)["signed upload"][0].nbytes and kind == "upload":
            _, read = specimen(stage, "signed upload")
        refuses(read, data)


def test_two_weights_that_wrap_around(stage):
    rnd = specimens(stage)["round"][0]
    entry = 8 + 9 + 16 + forging.part_bytes(rnd)
    for kind in ("aggregate", "opening request"):
        data, read = specimen(stage, kind)
        work = bytearray(data)
        struct.pack_into("<Q", work, 16 + 36, 2**64 - 1)
        struct.pack_into("<Q", work, 16 + 36 + entry, 3)
        refuses(read, forging.reseal(work))


LITTLE_MEMORY = """
import resource
signed, rnd = (vs.Round.load(path) for path in sys.argv[1:3])
readers = {
    "plan": vs.Plan.from_bytes,
    "public key": vs.PublicKey.from_bytes,
    "secret key": vs.SecretKey.from_bytes,
    "public identity": vs.PublicIdentity.from_bytes,
    "round": vs.Round.from_bytes,
    "upload": lambda data: vs.Upload.from_bytes(data, rnd),
    "aggregate": lambda data: vs.Aggregate.from_bytes(data, rnd),
    "opening request": lambda data: vs.OpeningRequest.from_bytes(data, rnd),
    "sum key": lambda data: vs.SumKey.from_bytes(data, rnd),
}
cases = []
with open(sys.argv[3], "rb") as source:
    while header := source.readline():
        kind, size = header.decode().rsplit(" ", 1)
        cases.append((kind, source.read(int(size))))
readers["upload"](cases[0][1])  # warms threads up

with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
limit = used + (32 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
refused = 0
for kind, data in cases[1:]:
    try:
        readers[kind](data)
    except vs.VeilsumError:
        refused += 1
print(refused, len(cases) - 1)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
def test_oversized_lengths_allocate_nothing(stage, tmp_path):
    """Every length at its largest, with 32 MiB of address space to spare."""
    cases = [("upload", specimen(stage, "upload")[0]), *oversized(stage)]
    specimens(stage)["signed upload"][2][0].save(tmp_path / "signed")
    specimens(stage)["round"][0].save(tmp_path / "round")
    with (tmp_path / "cases").open("wb") as out:
        for kind, data in cases:
            out.write(f"{kind} {len(data)}\n".encode() + data)
    result = subprocess.run(
        [sys.executable, "-c", PRELUDE + LITTLE_MEMORY,
         *(str(tmp_path / name) for name in ("signed", "round", "cases"))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    refused, given = map(int, result.stdout.split())
    assert refused == given == len(cases) - 1


def test_a_round_of_2_to_the_40_values_costs_nothing(stage):
    """Legal, and cheap to read; an upload for it must have its bytes, and a sum its room."""
    rnd = vs.Round(stage.plan, stage.public, size=2**40)
    again = vs.Round.from_bytes(rnd.to_bytes())
    assert again.size == 2**40
    payload = bytearray(specimen(stage, "upload")[0][16:-4])
    payload[:32] = rnd.id
    refuses(lambda data: vs.Upload.from_bytes(data, again), forging.seal(forging.UPLOAD, payload))
    payload = bytearray(specimen(stage, "aggregate")[0][16:-4])
    payload[:32] = rnd.id
    refuses(
        lambda data: vs.Aggregate.from_bytes(data, again), forging.seal(forging.AGGREGATE, payload)
    )
    with pytest.raises(vs.ParameterError):
        vs.Round(stage.plan, stage.public, size=2**40 + 1)


# --- files ----------------------------------------------------------------------------------------


def test_files_are_read_with_the_same_care(stage, tmp_path):
    """Every load() of a damaged, empty, short or missing file."""
    choice = random.Random(1)
    for kind, (thing, made, context) in specimens(stage).items():
        path = tmp_path / "file"
        path.touch(mode=0o600)
        if kind == "secret key":
            thing.save(path)  # its ledger, too
        data = thing.to_bytes()
        path.write_bytes(data)
        assert made.load(path, *context).to_bytes() == data
        damaged = changed(data, choice.randrange(len(data)), 4)
        for content in (b"", b"V", data[:-1], data[: len(data) // 2], data + b"\0", damaged):
            path.write_bytes(content)
            with pytest.raises(vs.WireFormatError):
                made.load(path, *context)
        path.unlink()
        with pytest.raises(OSError, match="file"):
            made.load(path, *context)
        with pytest.raises((OSError, vs.ParameterError)):
            made.load(tmp_path, *context)


@pytest.mark.parametrize("kind", ["upload", "signed upload", "doubly signed upload"])
def test_uploads_in_files_and_pieces_are_read_with_the_same_care(stage, tmp_path, kind, rng):
    """What is summed in portions is checked in portions, and leaves no trace in the sum."""
    thing, _, (rnd,) = specimens(stage)[kind]
    data = thing.to_bytes()
    update = {"a": np.zeros(2, np.float32), "b": np.zeros(1)}
    other = vs.encrypt(rnd, update, signer=stage.people[0] if rnd.roster else None)
    aggregator = vs.Accumulator(rnd)
    path = tmp_path / "x.up"
    places = sampled(len(data), 30, len(data) // 40)
    for place in places:
        for forged in (
            changed(data, place, 1 << rng.randrange(8)),
            forging.reseal(changed(data, place, 1 << rng.randrange(8)))
            if 16 <= place < len(data) - 4
            else b"",
            data[:place],
        ):
            # Without a signature, other native blocks or keys are another upload.
            if kind == "upload" and forged[-4:] != data[-4:] and len(forged) == len(data):
                continue
            path.write_bytes(forged)
            with pytest.raises(FORGERY_ERRORS):
                aggregator.add_file(path)
            with pytest.raises(FORGERY_ERRORS):
                vs.sum_files(rnd, [path, path], tmp_path / "sum")
            with pytest.raises(FORGERY_ERRORS):
                arriving = aggregator.receive(len(forged), tmp_path)
                arriving.write(0, forged)
                arriving.finish()
    assert aggregator.count == 0
    path.write_bytes(data)
    aggregator.add_file(path)
    aggregator.add(other)
    assert aggregator.finish().to_bytes() == vs.weighted_sum(rnd, [thing, other]).to_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.up"]


def test_sums_in_files_are_read_with_the_same_care(stage, tmp_path, rng):
    thing, _, (rnd,) = specimens(stage)["aggregate"]
    key = specimens(stage)["sum key"][0]
    data = thing.to_bytes()
    path, target = tmp_path / "total", tmp_path / "mean.safetensors"
    for place in sampled(len(data), 60, len(data) // 60):
        for damaged in (changed(data, place, 1 << rng.randrange(8)), data[:place]):
            path.write_bytes(damaged)
            with pytest.raises(FORGERY_ERRORS):
                vs.decrypt_file(key, vs.AggregateFile(path, rnd), target)
            assert not target.exists()
    path.write_bytes(data)
    vs.decrypt_file(key, vs.AggregateFile(path, rnd), target)
    assert target.exists()


def test_a_plan_that_was_read_as_another_one_is_refused(stage):
    """Whoever reads a round's plan for the core must give that plan."""
    data, _ = specimen(stage, "round")
    other = stage.weighing.plan.facts
    if stage.engine == "native":
        pytest.skip("the core reads its own plans")
    for answer in (other, vs.Plan(2).facts):
        with pytest.raises(vs.WireFormatError, match="read as another one"):
            _core._read_round(data, lambda _, answer=answer: answer)
    for answer in (None, 7, "plan", stage.plan):
        with pytest.raises(vs.WireFormatError, match="read as no plan"):
            _core._read_round(data, lambda _, answer=answer: answer)
