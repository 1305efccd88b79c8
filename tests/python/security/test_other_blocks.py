"""A key without a tag decrypts the blocks that it was opened for, and is no oracle for others.

An aggregator that gets results back asked a key of before for blocks of its choice under the right
list of uploads: a few answers gave it the sum, or behind a weighted sum every update. Here it asks
in memory, from a file, in another process, by a request, and by opening the list a second time;
with blocks that nothing but what binds the key can tell from a sum.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import veilsum as vs
from oracle.crc import crc32c
from security import forging
from security.stages import PRELUDE, SIZE, Stage

WEIGHTS = {"plain": [1, 1, 1], "weighted": [1, 4, 16]}
REFUSAL = "no value is given out"


@pytest.fixture(scope="module")
def native(_plain_engine):
    return Stage("native").weighing


def shifted(plan: vs.Plan, blocks: bytes, steps: int) -> bytes:
    """Blocks whose first value is so many steps away, and nothing else."""
    mask = (1 << plan.field_bits) - 1
    first = int.from_bytes(blocks[:16], "little")
    field = ((first & mask) + steps * plan.delta) & mask
    return (first & ~mask | field).to_bytes(16, "little") + blocks[16:]


@pytest.fixture(params=WEIGHTS)
def case(native, request):
    """A round, its sum, and what it is a sum of."""
    rnd = native.round()
    uploads = native.uploads(rnd, 3)
    weights = WEIGHTS[request.param]
    return rnd, uploads, vs.weighted_sum(rnd, uploads, weights)


def questions(plan, total, rnd):
    """What the aggregator asks: the sum a few steps away, bits, a single upload, nothing."""
    raw = forging.RawSum.of(total, rnd)
    for power in range(4):
        for sign in (1, -1):
            yield replace(raw, blocks=shifted(plan, raw.blocks, sign * 3**power))
    for at in (0, len(raw.blocks) // 2, len(raw.blocks) - 1):
        bit = bytearray(raw.blocks)
        bit[at] ^= 1
        yield replace(raw, blocks=bytes(bit))
    yield replace(raw, blocks=bytes(len(raw.blocks)))


def keys_of(native, rnd, total, folder: Path):
    """The sum's key, however it was opened."""
    total.save(folder / "sum")
    asked = vs.OpeningRequest.from_bytes(total.opening_request().to_bytes(), rnd)
    for opened in (total, vs.AggregateFile(folder / "sum", rnd), asked):
        yield vs.open_sum(native.fresh_secret(), rnd, opened, export=True)


def test_a_step_is_what_an_unbound_key_would_have_shown(native, case):
    """The questions are good ones: opened on their own, they are sums with another number."""
    rnd, _, total = case
    right = vs.decrypt(vs.open_sum(native.fresh_secret(), rnd, total), total, dtype="float64")
    raw = forging.RawSum.of(total, rnd)
    asked = replace(raw, blocks=shifted(rnd.plan, raw.blocks, 3)).read(rnd)
    found = vs.decrypt(vs.open_sum(native.fresh_secret(), rnd, asked), asked, dtype="float64")
    assert found[0] > right[0]
    assert (found[1:] == right[1:]).all()


def test_no_question_is_answered_in_memory_or_from_a_file(native, case, tmp_path):
    rnd, _, total = case
    for key in keys_of(native, rnd, total, tmp_path):
        again = vs.SumKey.from_bytes(key.to_bytes(), rnd)
        for asking in (key, again):
            said = set()
            for asked in questions(rnd.plan, total, rnd):
                altered = asked.read(rnd)
                out = np.full(SIZE, 0.25, np.float32)
                with pytest.raises(vs.TamperedSumError, match=REFUSAL) as refusal:
                    vs.decrypt(asking, altered, out=out)
                said.add(str(refusal.value))
                assert not out.any()
                altered.save(tmp_path / "altered")
                mean = tmp_path / "mean.npy"
                for resume in (False, True):
                    with pytest.raises(vs.TamperedSumError, match=REFUSAL) as refusal:
                        vs.decrypt_file(
                            asking, vs.AggregateFile(tmp_path / "altered", rnd), mean, resume=resume
                        )
                    said.add(str(refusal.value))
                assert {path.name for path in tmp_path.iterdir()} == {"sum", "altered"}
            assert len(said) == 1
        mean = vs.decrypt(again, total)
        vs.decrypt_file(again, vs.AggregateFile(tmp_path / "sum", rnd), tmp_path / "mean.npy")
        assert (np.load(tmp_path / "mean.npy") == mean).all()
        (tmp_path / "mean.npy").unlink()
        (tmp_path / "altered").unlink()


def test_another_process_asks_in_vain(native, case, tmp_path):
    rnd, _, total = case
    Path(tmp_path / "round").write_bytes(rnd.to_bytes())
    (asked, *_) = questions(rnd.plan, total, rnd)
    asked.read(rnd).save(tmp_path / "altered")
    for key in keys_of(native, rnd, total, tmp_path):
        key.save(tmp_path / "key")
        code = (
            f"{PRELUDE}\nrnd = vs.Round.load('round')\nkey = vs.SumKey.load('key', rnd)\n"
            "print(len(vs.decrypt(key, vs.Aggregate.load('sum', rnd))))\n"
            "try:\n    vs.decrypt(key, vs.Aggregate.load('altered', rnd))\n"
            "except vs.TamperedSumError as error:\n    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        count, said = done.stdout.strip().split("\n")
        assert int(count) == SIZE
        assert REFUSAL in said
        (tmp_path / "key").unlink()


def test_the_list_is_not_opened_again_for_other_blocks(native, case, tmp_path):
    """Nor in another process, nor by a request; the same blocks give the same key."""
    rnd, _, total = case
    secret = native.fresh_secret()
    key = vs.open_sum(secret, rnd, total, export=True)
    secret.save(tmp_path / "authority")
    total.save(tmp_path / "sum")
    holders = [secret, vs.SecretKey.load(tmp_path / "authority")]
    for asked in questions(rnd.plan, total, rnd):
        altered = asked.read(rnd)
        altered.save(tmp_path / "altered")
        for holder in holders:
            for opened in (
                altered, vs.AggregateFile(tmp_path / "altered", rnd), altered.opening_request(),
                total.opening_request(),  # whose word nobody can check
            ):  # fmt: skip
                with pytest.raises(vs.RoundError, match="opened before"):
                    vs.open_sum(holder, rnd, opened, export=True)
    for holder in holders:
        for opened in (total, vs.AggregateFile(tmp_path / "sum", rnd)):
            assert vs.open_sum(holder, rnd, opened, export=True).to_bytes() == key.to_bytes()


def test_a_request_is_opened_for_the_blocks_that_it_names(native, case):
    rnd, _, total = case
    secret = native.fresh_secret()
    key = vs.open_sum(secret, rnd, total.opening_request(), export=True)
    again = vs.open_sum(secret, rnd, total.opening_request(), export=True)
    assert again.to_bytes() == key.to_bytes()
    with pytest.raises(vs.RoundError, match="from its request"):
        vs.open_sum(secret, rnd, total)
    for asked in questions(rnd.plan, total, rnd):
        with pytest.raises(vs.RoundError, match="opened before"):
            vs.open_sum(secret, rnd, asked.request(rnd))


def test_a_damaged_file_opens_nothing(native, case, tmp_path):
    rnd, _, total = case
    data = bytearray(total.to_bytes())
    data[-9] ^= 1
    (tmp_path / "sum").write_bytes(data)
    secret = native.fresh_secret()
    with pytest.raises(vs.WireFormatError, match="checksum"):
        vs.open_sum(secret, rnd, vs.AggregateFile(tmp_path / "sum", rnd))
    vs.open_sum(secret, rnd, total)  # and nothing was noted


def test_nobody_sees_a_number_before_the_end(native, case):
    """What `progress` could look at while other blocks are decrypted."""
    rnd, _, total = case
    key = vs.open_sum(native.fresh_secret(), rnd, total)
    (asked, *_) = questions(rnd.plan, total, rnd)
    out, seen = np.full(SIZE, 0.25, np.float32), []
    with pytest.raises(vs.TamperedSumError):
        vs.decrypt(key, asked.read(rnd), out=out, progress=lambda *_: seen.append(out.copy()))
    assert all((array == 0.25).all() for array in seen)
    assert not out.any()


def read_bytes() -> int:
    """Bytes that this process has read so far."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").split("\n")
    return int(lines[0].removeprefix("rchar: "))


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system counts no reads")
def test_a_file_is_opened_and_decrypted_in_one_pass_each(native, tmp_path):
    rnd = native.round(size=3_000_000)
    uploads = native.uploads(rnd, 2)
    total = vs.weighted_sum(rnd, uploads)
    total.save(tmp_path / "sum")
    size = (tmp_path / "sum").stat().st_size
    file = vs.AggregateFile(tmp_path / "sum", rnd)
    before = read_bytes()
    key = vs.open_sum(native.fresh_secret(), rnd, file)
    opened = read_bytes()
    vs.decrypt_file(key, file, tmp_path / "mean.npy")
    decrypted = read_bytes()
    assert 0.99 * size <= opened - before < 1.1 * size
    assert 0.99 * size <= decrypted - opened < 1.3 * size  # a warning looks into the result


def unseen_edits(plan, data: bytes, at: int) -> list[tuple[int, bytes]]:
    """Changes of coefficients below `at` in a file that its CRC-32C does not show.

    The checksum is linear: of 33 changes some have the sum 0.
    """
    group = plan.field_bits  # bytes of eight coefficients
    places = [at + i * group for i in range(40)]
    end = places[-1] + 16
    rows = []
    for place in places:
        old = data[place : place + 16]
        new = shifted(plan, old, 3000)
        # What the change makes of a checksum over all that follows it up to a common end.
        difference = bytes(a ^ b for a, b in zip(old, new, strict=True)) + bytes(end - place - 16)
        rows.append((crc32c(difference) ^ crc32c(bytes(len(difference))), place, new))
    basis: dict[int, tuple[int, int]] = {}
    for i, (value, _, _) in enumerate(rows):
        members = 1 << i
        while value and value.bit_length() in basis:
            other, its = basis[value.bit_length()]
            value, members = value ^ other, members ^ its
        if not value:
            return [(place, new) for j, (_, place, new) in enumerate(rows) if members >> j & 1]
        basis[value.bit_length()] = value, members
    raise AssertionError("40 vectors of 32 bits are linearly dependent")


def test_a_file_that_is_changed_while_it_is_decrypted(native, tmp_path):
    """The digest is of a first reading, the numbers are of a second one: they must be the same."""
    size = 12_000_000
    rnd = native.round(size=size)
    for i in range(2):
        vs.encrypt(rnd, np.full(size, 0.1, np.float32)).save(tmp_path / f"{i}.vs")
    path = tmp_path / "sum"
    total = vs.sum_files(rnd, [tmp_path / "0.vs", tmp_path / "1.vs"], path)
    asked = vs.OpeningRequest.from_bytes(total.opening_request().to_bytes(), rnd)
    key = vs.open_sum(native.fresh_secret(), rnd, asked)
    vs.decrypt_file(key, total, tmp_path / "right.npy")
    right = path.read_bytes()
    edits = unseen_edits(rnd.plan, right, len(right) * 4 // 5)
    seen = []

    def edit(done: int, of: int) -> None:
        if not seen:
            assert done < of * 3 // 4
            with path.open("r+b") as file:
                for place, new in edits:
                    file.seek(place)
                    file.write(new)
        seen.append(done)

    with pytest.raises(vs.TamperedSumError, match=REFUSAL):
        vs.decrypt_file(key, total, tmp_path / "out.npy", threads=1, progress=edit)
    assert len(seen) > 1
    assert [one.name for one in tmp_path.glob("out*")] == []
    # It was no checksum that found it: what the file says of itself holds.
    vs.AggregateFile(path, rnd).verify()
    path.write_bytes(right)
    vs.decrypt_file(key, vs.AggregateFile(path, rnd), tmp_path / "out.npy")
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "right.npy").read_bytes()
