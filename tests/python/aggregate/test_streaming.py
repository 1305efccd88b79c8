"""The accumulator from Python: uploads whole, from files and in pieces, from many threads."""

from __future__ import annotations

import itertools
import random
import threading

import numpy as np
import pytest

import veilsum as vs


def make(size, clients=4, *, signed=False, **plan):
    made = vs.Plan(clients, **plan)
    secret, public = vs.keygen(made)
    people = [vs.Identity.generate() for _ in range(clients)] if signed else [None] * clients
    roster = vs.Roster(people) if signed else None
    rnd = vs.Round(made, public, size=size, limit=1.0, roster=roster)
    rng = np.random.default_rng(size)
    updates = [rng.uniform(-1, 1, size).astype(np.float32) for _ in range(clients)]
    uploads = [
        vs.encrypt(rnd, update, signer=person)
        for update, person in zip(updates, people, strict=True)
    ]
    return secret, rnd, updates, uploads


def pieces_of(data, rng, most):
    cuts = [0]
    while cuts[-1] < len(data):
        cuts.append(min(len(data), cuts[-1] + rng.randint(1, most)))
    pieces = [(a, data[a:b]) for a, b in itertools.pairwise(cuts)]
    rng.shuffle(pieces)
    return pieces


@pytest.mark.parametrize("size", [5, 700_000])
@pytest.mark.parametrize("signed", [False, True])
def test_pieces_from_many_threads_give_the_sum_of_one_pass(size, signed, rng, tmp_path):
    secret, rnd, updates, uploads = make(size, signed=signed)
    aggregator = vs.Accumulator(rnd)
    failures = []

    def client(upload):
        try:
            data = upload.to_bytes()
            incoming = aggregator.receive(len(data), tmp_path)
            pieces = pieces_of(data, random.Random(len(data)), len(data) // 20 + 1)
            senders = [
                threading.Thread(target=lambda part=part: [incoming.write(*p) for p in part])
                for part in (pieces[::2], pieces[1::2])
            ]
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
            assert incoming.received_bytes == incoming.total_bytes == len(data)
            incoming.finish()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=client, args=(upload,)) for upload in uploads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(tmp_path.iterdir()) == []
    total = aggregator.finish()
    expected = vs.weighted_sum(rnd, uploads)
    key = vs.open_sum(secret, rnd, total)
    mean = vs.decrypt(key, total)
    # The order of arrival differs; the sum, and so the key that opens it, does not.
    assert mean.tobytes() == vs.decrypt(key, expected).tobytes()
    assert np.abs(mean - np.mean(updates, axis=0, dtype=float)).max() <= 0.5 / 32767 + 2.0**-23


def test_files_and_weights(tmp_path):
    _, rnd, _, uploads = make(30_000, 3, weight_bits=4)
    aggregator = vs.Accumulator(rnd)
    for index, (upload, weight) in enumerate(zip(uploads, (1, 5, 9), strict=True)):
        path = tmp_path / f"{index}.up"
        upload.save(path)
        aggregator.add_file(path, weight)
        with pytest.raises(vs.RoundError, match="already"):
            aggregator.add_file(path, weight)
        assert aggregator.count == index + 1
    assert aggregator.total_weight == 15
    total = aggregator.finish()
    assert total.to_bytes() == vs.weighted_sum(rnd, uploads, [1, 5, 9]).to_bytes()


def test_a_client_that_drops_or_sends_damaged_bytes_leaves_the_sum_untouched(tmp_path):
    _, rnd, _, uploads = make(400_000)
    aggregator = vs.Accumulator(rnd)
    aggregator.add(uploads[0])
    data = bytearray(uploads[1].to_bytes())
    gone = aggregator.receive(len(data), tmp_path)
    gone.write(0, data[:1000])
    del gone
    damaged = aggregator.receive(len(data), tmp_path)
    damaged.write(0, data)
    with pytest.raises(vs.WireFormatError, match="twice with different bytes"):
        damaged.write(7, b"x")
    data[-100] ^= 8
    damaged = aggregator.receive(len(data), tmp_path)
    damaged.write(0, data)
    with pytest.raises(vs.WireFormatError):
        damaged.finish()
    with pytest.raises(vs.WireFormatError, match=r"truncated: 0 of"):
        aggregator.receive(len(data)).finish()
    assert aggregator.count == 1
    aggregator.add(uploads[2])
    assert aggregator.finish().to_bytes() == (
        vs.weighted_sum(rnd, [uploads[0], uploads[2]]).to_bytes()
    )


def test_only_uploads_of_this_round_may_arrive():
    _, rnd, _, uploads = make(1000)
    _, _, _, others = make(1000)
    aggregator = vs.Accumulator(rnd)
    size = uploads[0].nbytes
    for wrong in (0, size - 1, size + 1, size + 100, 1 << 60):
        with pytest.raises(vs.WireFormatError):
            aggregator.receive(wrong)
    foreign = aggregator.receive(size)
    foreign.write(0, others[0].to_bytes())
    with pytest.raises(vs.RoundError, match="belongs to round"):
        foreign.finish()
    with pytest.raises(vs.WireFormatError, match="beyond"):
        aggregator.receive(size).write(size, b"x")


def test_an_upload_on_its_way_keeps_its_aggregator_alive():
    _, rnd, _, uploads = make(1000)
    incoming = vs.Accumulator(rnd).receive(uploads[0].nbytes)
    incoming.write(0, uploads[0].to_bytes())
    incoming.finish()


def send_again(incoming, data, failures):
    try:
        for _ in range(4):
            incoming.write(0, data)
    except vs.VeilsumError as error:
        failures.append(error)


def test_a_piece_that_comes_again_while_the_upload_is_finished():
    # Found in review: the piece was compared with bytes that finish() had let go of.
    _, rnd, _, uploads = make(2_000_000, 3)
    aggregator = vs.Accumulator(rnd)
    for upload in uploads:
        data = upload.to_bytes()
        incoming = aggregator.receive(len(data))
        incoming.write(0, data)
        failures = []
        threads = [
            threading.Thread(target=send_again, args=(incoming, data, failures)) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        incoming.finish()
        for thread in threads:
            thread.join()
        assert all("takes no more pieces" in str(error) for error in failures)
    assert aggregator.finish().to_bytes() == vs.weighted_sum(rnd, uploads).to_bytes()


def test_a_file_that_changes_while_its_damage_is_taken_back_never_spoils_the_sum_silently(tmp_path):
    _, rnd, _, uploads = make(1_000_000, 4)
    expected = vs.weighted_sum(rnd, uploads[:2]).to_bytes()
    path = tmp_path / "damaged.up"
    uploads[3].save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # found at the end, when all of it was added
    path.write_bytes(data)
    place = len(data) // 2
    for _ in range(8):
        aggregator = vs.Accumulator(rnd)
        aggregator.add(uploads[0])
        stop = threading.Event()

        def writer(stop=stop):
            with path.open("r+b", buffering=0) as file:
                byte = data[place]
                while not stop.is_set():
                    byte ^= 1
                    file.seek(place)
                    file.write(bytes([byte]))

        thread = threading.Thread(target=writer)
        thread.start()
        try:
            with pytest.raises(vs.WireFormatError):
                aggregator.add_file(path)
        finally:
            stop.set()
            thread.join()
        try:
            aggregator.add(uploads[1])
        except vs.RoundError as error:
            assert "this sum is lost" in str(error)
        else:
            assert aggregator.finish().to_bytes() == expected
