"""An upload counts once in a sum, and so does a client: the first stands.

In every way of adding, one after the other or at once, as the same object, read again from bytes,
or with a head that was rewritten as far as it can be. An aggregator that lists one twice is refused
by whoever reads the list.
"""

from __future__ import annotations

import threading

import pytest

import veilsum as vs
from security import forging
from security.adding import ONE_BY_ONE, WAYS, add_to, saved, sum_by

ONCE = r"once|already|not the ones its head names"


def repeats(rnd, upload):
    """The upload, and what of it one can change without its client: in a round without a roster."""
    raw = forging.RawUpload.of(upload, rnd)
    return {
        "itself": upload,
        "read again": vs.Upload.from_bytes(upload.to_bytes(), rnd),
        "another nonce": raw.with_head(nonce=bytes(16)).read(rnd),
        "another clip count": raw.with_head(clipped=3).read(rnd),
        # The part that names the upload stays: of native uploads, a key that must not serve twice.
        "other blocks": forging.RawUpload(rnd.id, raw.head, bytes(len(raw.blocks))).read(rnd),
    }


@pytest.mark.parametrize("way", WAYS)
def test_an_upload_counts_once_in_a_sum(stage, tmp_path, way):
    rnd = stage.round()
    first, second = stage.uploads(rnd, 2)
    expected = vs.weighted_sum(rnd, [first, second]).to_bytes()
    for change, repeated in repeats(rnd, first).items():
        with pytest.raises(vs.RoundError, match=ONCE):
            sum_by(way, rnd, [first, second, repeated], tmp_path)
        if way not in ONE_BY_ONE:
            continue
        aggregator = vs.Accumulator(rnd)
        add_to(aggregator, way, first, tmp_path)
        with pytest.raises(vs.RoundError, match=ONCE):
            add_to(aggregator, way, repeated, tmp_path)
        assert (aggregator.count, aggregator.total_weight) == (1, 1), change
        add_to(aggregator, way, second, tmp_path)
        # The first stands: the refused one left no trace in the sum.
        assert aggregator.finish().to_bytes() == expected, change


@pytest.mark.parametrize("way", WAYS)
def test_a_client_uploads_once(stage, tmp_path, way):
    """Two different uploads, properly signed."""
    rnd = stage.round(signed=True)
    first, other = stage.uploads(rnd, 2)
    second = stage.upload(rnd, 0)
    assert second.digest != first.digest
    with pytest.raises(vs.RoundError, match="client 0"):
        sum_by(way, rnd, [first, other, second], tmp_path)
    if way in ONE_BY_ONE:
        aggregator = vs.Accumulator(rnd)
        add_to(aggregator, way, first, tmp_path)
        with pytest.raises(vs.RoundError, match="client 0"):
            add_to(aggregator, way, second, tmp_path)
        assert aggregator.count == 1
        add_to(aggregator, way, other, tmp_path)
        assert aggregator.finish().to_bytes() == vs.weighted_sum(rnd, [first, other]).to_bytes()


@pytest.mark.parametrize("signed", [False, True])
def test_an_upload_that_was_refused_may_come_again(stage, tmp_path, signed):
    """Damaged on the way, and then whole: it was not counted."""
    rnd = stage.round(signed=signed)
    first, second = stage.uploads(rnd, 2)
    aggregator = vs.Accumulator(rnd)
    add_to(aggregator, "add", first, tmp_path)
    path = saved(second, tmp_path)
    whole = path.read_bytes()
    for at in (len(whole) - 1, len(whole) // 2, len(whole) - 900):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(vs.WireFormatError):
            aggregator.add_file(path)
        arriving = aggregator.receive(len(damaged), tmp_path)
        arriving.write(0, damaged)
        with pytest.raises(vs.WireFormatError):
            arriving.finish()
    assert aggregator.count == 1
    add_to(aggregator, "receive", second, tmp_path)
    assert aggregator.finish().to_bytes() == vs.weighted_sum(rnd, [first, second]).to_bytes()


@pytest.mark.parametrize("signed", [False, True])
def test_a_list_with_one_upload_or_client_twice_is_refused(stage, tmp_path, signed):
    rnd = stage.round(signed=signed)
    first, second = stage.uploads(rnd, 2)
    repeated = [first] if not signed else [first, stage.upload(rnd, 0)]
    for extra in repeated:
        total = forging.RawSum.made(rnd, [first, second, extra])
        with pytest.raises(vs.RoundError, match="twice"):
            total.read(rnd)
        with pytest.raises(vs.RoundError, match="twice"):
            total.request(rnd)
        (tmp_path / "total").write_bytes(total.to_bytes())
        with pytest.raises(vs.RoundError, match="twice"):
            vs.AggregateFile(tmp_path / "total", rnd)


@pytest.mark.parametrize("way", ONE_BY_ONE)
def test_many_threads_add_an_upload_once(stage, tmp_path, way):
    rnd = stage.round(signed=True)
    first, second = stage.uploads(rnd, 2)
    aggregator = vs.Accumulator(rnd)
    copies = [vs.Upload.from_bytes(first.to_bytes(), rnd) for _ in range(8)]
    outcomes = []
    barrier = threading.Barrier(len(copies))

    def client(upload):
        barrier.wait()
        try:
            add_to(aggregator, way, upload, tmp_path)
            outcomes.append("added")
        except vs.RoundError as error:
            outcomes.append("refused" if "already" in str(error) else str(error))
        except BaseException as error:
            outcomes.append(repr(error))

    threads = [threading.Thread(target=client, args=(copy,)) for copy in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Of the plan's 5 uploads in pieces at once, some may be turned away before they are looked at.
    late = [text for text in outcomes if "arriving already" in text]
    assert sorted(set(outcomes) - set(late)) == ["added", "refused"], outcomes
    assert outcomes.count("added") == 1
    assert aggregator.count == 1
    aggregator.add(second)
    assert aggregator.finish().to_bytes() == vs.weighted_sum(rnd, [first, second]).to_bytes()


def test_a_finished_aggregator_takes_no_more(stage, tmp_path):
    rnd = stage.round()
    uploads = stage.uploads(rnd, 3)
    aggregator = vs.Accumulator(rnd)
    arriving = aggregator.receive(uploads[2].nbytes, tmp_path)
    arriving.write(0, uploads[2].to_bytes())
    for upload in uploads[:2]:
        aggregator.add(upload)
    aggregator.finish()
    for way in ONE_BY_ONE:
        with pytest.raises(vs.RoundError, match="finished"):
            add_to(aggregator, way, uploads[2], tmp_path)
    with pytest.raises(vs.RoundError, match="finished"):
        arriving.finish()
    with pytest.raises(vs.RoundError, match="finished"):
        aggregator.finish()


@pytest.mark.parametrize("way", ONE_BY_ONE)
def test_a_repetition_in_a_full_sum_is_told_as_one(stage, tmp_path, way):
    """No other plan would help: neither with more clients nor with weights."""
    for signed in (False, True):
        rnd = stage.round(signed=signed)
        uploads = stage.uploads(rnd, rnd.plan.clients)
        aggregator = vs.Accumulator(rnd)
        for upload in uploads:
            add_to(aggregator, way, upload, tmp_path)
        again = [uploads[0], stage.upload(rnd, 1)] if signed else [uploads[0]]
        for repeated in again:
            for weight in (1, 2):
                with pytest.raises(vs.RoundError, match=ONCE):
                    add_to(aggregator, way, repeated, tmp_path, weight)
        if not signed:
            with pytest.raises(vs.HeadroomError, match="more clients"):
                add_to(aggregator, way, stage.upload(rnd, 1), tmp_path)
