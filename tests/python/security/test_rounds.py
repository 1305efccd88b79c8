"""Uploads, sums, requests and keys of another round never combine, whatever it is that differs.

Two rounds that differ in a single thing, the seed, the plan, a limit, the layout, who may upload or
which engine, are two rounds: at every step, in memory, on files and in pieces, what belongs to one
is refused by the other, and the sum that refused it is as it was.
"""

from __future__ import annotations

import gc
import itertools
import struct

import numpy as np
import pytest

import veilsum as vs
from security import forging
from security.adding import ONE_BY_ONE, WAYS, add_to, saved, sum_by
from security.stages import SIZE, Stage
from veilsum import _core


def with_seed(rnd, seed):
    """The round with another seed."""
    payload = bytearray(rnd.to_bytes()[16:-4])
    payload[16:48] = seed
    return vs.Round.from_bytes(forging.seal(forging.ROUND, bytes(payload)))


def with_field(rnd, at, letter, value):
    """The round with one field of its payload rewritten."""
    payload = bytearray(rnd.to_bytes()[16:-4])
    struct.pack_into("<" + letter, payload, at, value)
    return vs.Round.from_bytes(forging.seal(forging.ROUND, bytes(payload)))


def strangers(stage, rnd):
    """Rounds that differ from this one in a single thing; the seed is the same in all but one."""
    elsewhere = Stage(stage.engine)
    shape = np.zeros((SIZE // 2, 2), np.float32)
    halves = {name: np.zeros(SIZE // 2, np.float32) for name in "ab"}
    made = {
        "plan": vs.Round(stage.weighing.plan, stage.weighing.public, size=SIZE),
        "key": elsewhere.round(),
        "size": stage.round(SIZE - 1),
        "limit": stage.round(limit=1.0000001),
        "layout": stage.round(like=shape),
        "cut": stage.round(like=halves),
        "min_clients": stage.round(min_clients=3),
        "roster": stage.round(signed=True),
    }
    if stage.sums_again:
        made["trust"] = stage.round(trust_aggregator=True)
    else:
        made["optimise"] = vs.Round(
            vs.Plan(
                stage.plan.clients,
                stage.plan.value_bits,
                optimise="size",
                profile=stage.plan.profile,
            ),
            stage.public,
            size=SIZE,
        )
        made["upload keys"] = with_field(stage.round(), 16 + 32 + 1 + 4, "I", 2)
    out = {name: with_seed(other, rnd.seed) for name, other in made.items()}
    assert with_seed(stage.round(), rnd.seed).id == rnd.id  # and nothing else differs
    out["seed"] = stage.round()
    return out


def test_a_rounds_id_covers_everything(stage):
    rnd = stage.round()
    others = strangers(stage, rnd)
    assert len({rnd.id, *(other.id for other in others.values())}) == len(others) + 1


def test_nothing_of_another_round_is_taken(stage, tmp_path):
    rnd = stage.round()
    uploads = stage.uploads(rnd, 2)
    total = vs.weighted_sum(rnd, uploads)
    total.save(tmp_path / "total")
    request = stage.request(total, uploads)
    key = stage.open(rnd, total, uploads)
    for name, other in strangers(stage, rnd).items():
        with pytest.raises(vs.RoundError, match="round"):
            vs.Upload.from_bytes(uploads[0].to_bytes(), other)
        for way in WAYS:
            # By its size alone an upload in pieces may be no upload of that round.
            with pytest.raises((vs.RoundError, vs.WireFormatError), match="round"):
                sum_by(way, other, uploads, tmp_path)
        with pytest.raises(vs.RoundError, match="round"):
            vs.Aggregate.from_bytes(total.to_bytes(), other)
        with pytest.raises(vs.RoundError, match="round"):
            vs.AggregateFile(tmp_path / "total", other)
        with pytest.raises(vs.RoundError, match="round"):
            vs.OpeningRequest.from_bytes(request.to_bytes(), other)
        with pytest.raises((vs.RoundError, vs.KeyMismatchError), match="round"):
            stage.open(other, total, uploads)
        with pytest.raises((vs.RoundError, vs.KeyMismatchError), match="round"):
            vs.open_sum(stage.fresh_secret(), other, request)
        with pytest.raises(vs.KeyMismatchError, match="round"):
            vs.SumKey.from_bytes(key.to_bytes(), other)
        assert name


def test_a_sum_key_opens_no_sum_of_another_round(stage, tmp_path):
    sums = []
    for rnd in (stage.round(), stage.round()):
        uploads = stage.uploads(rnd, 2)
        total = vs.weighted_sum(rnd, uploads)
        path = tmp_path / rnd.id.hex()
        total.save(path)
        sums.append((stage.open(rnd, total, uploads), total, vs.AggregateFile(path, rnd)))
    (key, _, _), (_, other, other_file) = sums
    out = np.ones(SIZE, np.float32)
    with pytest.raises(vs.KeyMismatchError, match="round"):
        vs.decrypt(key, other, out=out)
    assert (out == 1).all()  # refused before any work
    with pytest.raises(vs.KeyMismatchError, match="round"):
        vs.decrypt_file(key, other_file, tmp_path / "mean.npy")
    assert not (tmp_path / "mean.npy").exists()


@pytest.mark.parametrize("way", ONE_BY_ONE)
def test_a_foreign_upload_spoils_no_sum(stage, tmp_path, way):
    rnd, other = stage.round(), stage.round(min_clients=3)
    mine = stage.uploads(rnd, 2)
    aggregator = vs.Accumulator(rnd)
    add_to(aggregator, way, mine[0], tmp_path)
    with pytest.raises(vs.RoundError, match="round"):
        add_to(aggregator, way, stage.upload(other), tmp_path)
    assert aggregator.count == 1
    add_to(aggregator, way, mine[1], tmp_path)
    assert aggregator.finish().to_bytes() == vs.weighted_sum(rnd, mine).to_bytes()


def test_a_round_has_one_engine(stages):
    """A key, an upload, a sum or a sum key of one is nothing to another."""
    for one, other in itertools.permutations(stages, 2):
        with pytest.raises(vs.RoundError, match=f"engine '{other.engine}'.*engine '{one.engine}'"):
            vs.Round(one.plan, other.public, size=SIZE)
        rnd, foreign = one.round(), other.round()
        payload = bytearray(rnd.to_bytes()[16:-4])
        mine, theirs = one.public.to_bytes()[16:-4], other.public.to_bytes()[16:-4]
        after = b"\0\0"  # no reader is named, and no step of a training
        assert payload.endswith(mine + after)
        with pytest.raises(vs.WireFormatError, match="engine"):
            vs.Round.from_bytes(
                forging.seal(forging.ROUND, payload[: -len(mine + after)] + theirs + after)
            )
        uploads = one.uploads(rnd, 2)
        total = vs.weighted_sum(rnd, uploads)
        key = one.open(rnd, total, uploads)
        with pytest.raises(vs.RoundError):
            vs.weighted_sum(foreign, uploads)
        with pytest.raises(vs.RoundError):
            vs.Accumulator(foreign).add(uploads[0])
        with pytest.raises(vs.RoundError):
            vs.Upload.from_bytes(uploads[0].to_bytes(), foreign)
        with pytest.raises(vs.RoundError):
            vs.Aggregate.from_bytes(total.to_bytes(), foreign)
        with pytest.raises(vs.KeyMismatchError):
            vs.SumKey.from_bytes(key.to_bytes(), foreign)
        with pytest.raises(vs.KeyMismatchError):
            one.open(rnd, total, uploads, other.fresh_secret())
        # The id of one round on the blocks of another: what is there is not what that round has.
        raw = forging.RawUpload.of(uploads[0], rnd)
        with pytest.raises((vs.WireFormatError, vs.RoundError)):
            vs.weighted_sum(
                foreign,
                [
                    forging.RawUpload(foreign.id, raw.head, raw.blocks).read(foreign),
                    other.upload(foreign),
                ],
            )


def test_an_engine_is_asked_for_by_a_name_that_there_is(stages):
    for name in ("paillier", "Native", "", "native "):
        with pytest.raises(vs.ParameterError, match="engine"):
            vs.Plan(2, engine=name)
    for number in {*range(256)} - {1, 2, 255}:
        plan = bytearray(stages[0].plan.to_bytes())
        plan[16] = number
        with pytest.raises(vs.WireFormatError, match=f"number {number} is unknown"):
            vs.Plan.from_bytes(forging.reseal(plan))


def test_uploads_of_another_round_do_not_fit_its_requests(stage):
    """The request of one round with the heads, or the blocks, of another's uploads."""
    rnd, other = stage.round(), stage.round()
    uploads, foreign = stage.uploads(rnd, 2), stage.uploads(other, 2)
    mixed = forging.RawSum.made(rnd, [uploads[0], foreign[1]])
    if stage.sums_again:
        # Blocks name no round: without signatures nobody can tell. The sum must be theirs.
        with pytest.raises(vs.RoundError, match="not the sum"):
            vs.open_sum(stage.fresh_secret(), rnd, mixed.request(rnd))
    else:
        with pytest.raises(vs.RoundError, match="was not made for this round and key"):
            vs.open_sum(stage.fresh_secret(), rnd, mixed.request(rnd))
    signed, signed_other = stage.round(signed=True), stage.round(signed=True)
    uploads, foreign = stage.uploads(signed, 2), stage.uploads(signed_other, 2)
    mixed = forging.RawSum.made(signed, [uploads[0], foreign[1]])
    with pytest.raises(vs.RoundError, match="signature of client 1"):
        vs.open_sum(stage.fresh_secret(), signed, mixed.request(signed))


def test_files_are_named_by_what_they_are_of(stage, tmp_path):
    """The message says which file is of another round."""
    rnd, other = stage.round(), stage.round()
    mine, foreign = saved(stage.upload(rnd), tmp_path), saved(stage.upload(other), tmp_path)
    with pytest.raises(vs.RoundError, match=rf"{foreign.name}.*belongs to round"):
        vs.sum_files(rnd, [mine, foreign], tmp_path / "x")


def test_the_same_bytes_are_read_once_and_others_anew(stage, monkeypatch):
    """A round that was read is known by all its bytes, as long as somebody holds it."""
    data = bytes(stage.round(signed=True).to_bytes())
    read = []

    def counting(data, facts):
        read.append(bytes(data))
        return real(data, facts)

    real = _core._read_round
    monkeypatch.setattr(_core, "_read_round", counting)
    first = vs.Round.from_bytes(data)
    assert vs.Round.from_bytes(data) is first
    assert len(read) == 1
    for copy in (bytearray(data), memoryview(data)):  # these may change under their reader
        assert vs.Round.from_bytes(copy) == first
    assert len(read) == 3
    for at in (4, 20, len(data) // 2, len(data) - 1):
        spoilt = bytearray(data)
        spoilt[at] ^= 1
        with pytest.raises(vs.WireFormatError):
            vs.Round.from_bytes(bytes(spoilt))
    assert len(read) == 7
    del first
    gc.collect()
    assert vs.Round.from_bytes(data).to_bytes() == data
    assert len(read) == 8
