"""No sum of fewer uploads than the round's min_clients is made, opened or read; never fewer than 2.

The aggregator refuses to make it in every way of adding, the key holder refuses the request of an
aggregator that does not, and a sum key that says it is of fewer is none.
"""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

import veilsum as vs
from security import forging
from security.adding import WAYS, add_to, sum_by


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("least", "given"), [(2, 1), (3, 1), (3, 2), (5, 4)])
def test_fewer_than_min_clients(stage, tmp_path, way, least, given):
    rnd = stage.round(min_clients=least)
    uploads = stage.uploads(rnd, least)
    with pytest.raises(vs.RoundError, match=f"at least {least}"):
        sum_by(way, rnd, uploads[:given], tmp_path)
    assert sum_by(way, rnd, uploads, tmp_path).count == least


@pytest.mark.parametrize("signed", [False, True])
def test_the_key_holder_counts_too(stage, signed):
    rnd = stage.round(min_clients=3, signed=signed)
    uploads = stage.uploads(rnd, 3)
    secret = stage.fresh_secret()
    for given in (1, 2):
        total = forging.RawSum.made(rnd, uploads[:given])
        with pytest.raises(vs.RoundError, match="at least 3"):
            vs.open_sum(secret, rnd, total.request(rnd))
        with pytest.raises(vs.RoundError, match="at least 3"):
            stage.open(rnd, total.read(rnd), uploads[:given], secret)
    total = vs.weighted_sum(rnd, uploads)
    assert stage.open(rnd, total, uploads, secret).count == 3  # the refused ones opened nothing


@pytest.mark.parametrize("way", ["add", "add_file", "receive"])
def test_the_missing_one_may_still_come(stage, tmp_path, way):
    rnd = stage.round(min_clients=3)
    uploads = stage.uploads(rnd, 3)
    aggregator = vs.Accumulator(rnd)
    for upload in uploads[:2]:
        add_to(aggregator, way, upload, tmp_path)
    with pytest.raises(vs.RoundError, match="at least 3"):
        aggregator.finish()
    add_to(aggregator, way, uploads[2], tmp_path)
    assert aggregator.finish().to_bytes() == vs.weighted_sum(rnd, uploads).to_bytes()


def test_a_client_that_uploads_twice_is_one(stage):
    """Two uploads of one client do not make up for a client that is missing."""
    rnd = stage.round(min_clients=2, signed=True)
    twice = [stage.upload(rnd, 0), stage.upload(rnd, 0)]
    with pytest.raises(vs.RoundError, match="twice"):
        forging.RawSum.made(rnd, twice).request(rnd)


@pytest.mark.parametrize("way", WAYS)
def test_an_empty_sum(stage, tmp_path, way):
    rnd = stage.round()
    with pytest.raises(vs.RoundError, match="0 upload"):
        sum_by(way, rnd, [], tmp_path)
    raw = forging.RawSum.made(rnd, stage.uploads(rnd, 2))
    empty = replace(raw, entries=[], shown=[])
    with pytest.raises(vs.WireFormatError, match="no uploads"):
        empty.read(rnd)
    with pytest.raises(vs.WireFormatError, match="no uploads"):
        empty.request(rnd)


def test_a_sum_key_of_fewer_is_none(stage):
    rnd = stage.round(min_clients=3)
    uploads = stage.uploads(rnd, 3)
    data = bytearray(stage.open(rnd, vs.weighted_sum(rnd, uploads), uploads).to_bytes())
    for count in (0, 1, 2, 4, 2**32 - 1):  # and weight 3
        struct.pack_into("<I", data, 16 + 64, count)
        with pytest.raises(vs.WireFormatError, match="which this round cannot have"):
            vs.SumKey.from_bytes(forging.reseal(data), rnd)


@pytest.mark.parametrize("least", [-1, 0, 1, 6, 2**32 - 1])
def test_min_clients_has_a_floor_and_a_ceiling(stage, least):
    """From two to the plan's clients, in a call and in bytes."""
    with pytest.raises(vs.ParameterError, match=f"min_clients = {least}"):
        stage.round(min_clients=least)
    if least >= 0:
        data = bytearray(stage.round().to_bytes())
        struct.pack_into("<I", data, 16 + 16 + 32 + 1, least)
        with pytest.raises(vs.WireFormatError, match=f"min_clients = {least}"):
            vs.Round.from_bytes(forging.reseal(data))
    assert stage.round(min_clients=stage.plan.clients).min_clients == stage.plan.clients
