"""The aggregator weighs only where the plan says so, by whole numbers, up to the plan's W in all.

In every way of adding; what is too much is refused before any work, with what would hold it. A
weighted sum decrypts to the weighted mean. Whose key could show single uploads, it stays with
whoever opened it, unless told otherwise. The clients' own weights are theirs: any that is finite
and above 0.
"""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import veilsum as vs
from security import forging
from security.adding import ONE_BY_ONE, WAYS, add_to, sum_by


@pytest.mark.parametrize("way", WAYS)
def test_a_plan_of_unit_weights_takes_no_others(stage, tmp_path, way):
    rnd = stage.round()
    uploads = stage.uploads(rnd, 2)
    for weights in ([2, 1], [1, 7], [3, 3]):
        with pytest.raises(vs.HeadroomError, match="weight_bits"):
            sum_by(way, rnd, uploads, tmp_path, weights)
    total = sum_by(way, rnd, uploads, tmp_path, [1, 1])
    assert (total.total_weight, total.weights) == (2, [1, 1])
    if way in ("weighted_sum", "sum_files"):  # proportions that are all the same are none
        assert sum_by(way, rnd, uploads, tmp_path, [0.3, 0.3]).weights == [1, 1]


def test_the_key_holder_looks_at_weights_too(stage):
    """An aggregator that weighs all the same, in a plan of unit weights."""
    rnd = stage.round()
    uploads = stage.uploads(rnd, 2)
    raw = forging.RawSum.made(rnd, uploads)
    secret = stage.fresh_secret()
    for weights in ((1, 3), (4, 1)):
        lying = replace(
            raw, entries=[(w, h) for w, (_, h) in zip(weights, raw.entries, strict=True)]
        )
        with pytest.raises(vs.RoundError, match="weighted, but this round's plan holds unit"):
            vs.open_sum(secret, rnd, lying.request(rnd))
    for weights in ((1, 5), (0, 2), (2**64 - 1, 3), (2**63, 2**63)):
        lying = replace(
            raw, entries=[(w, h) for w, (_, h) in zip(weights, raw.entries, strict=True)]
        )
        with pytest.raises(vs.WireFormatError, match="weights"):
            lying.request(rnd)
        with pytest.raises(vs.WireFormatError, match="weights"):
            lying.read(rnd)
    assert stage.open(rnd, vs.weighted_sum(rnd, uploads), uploads, secret).total_weight == 2


@pytest.mark.parametrize("way", WAYS)
def test_weights_beyond_the_plan(stage, tmp_path, way):
    """W = 80 here: refused before any work, whichever upload crosses the line."""
    weighing = stage.weighing
    rnd = weighing.round()
    uploads = weighing.uploads(rnd, 3)
    top = weighing.plan.max_weight
    assert top == 80
    for weights in (
        [top, 1, 1],
        [1, 1, top - 1],
        [top - 1, 1, 1],
        [2**40, 1, 1],
        [2**62, 2**62, 1],
    ):
        with pytest.raises(vs.HeadroomError, match=str(top)):
            sum_by(way, rnd, uploads, tmp_path, weights)
    total = sum_by(way, rnd, uploads, tmp_path, [top - 2, 1, 1])
    assert (total.total_weight, total.weights) == (top, [top - 2, 1, 1])
    if way not in ONE_BY_ONE:
        for huge in (2**63, 2**64, 2**70):
            with pytest.raises(vs.HeadroomError, match=str(top)):
                sum_by(way, rnd, uploads, tmp_path, [huge, 1, 1])
        return
    aggregator = vs.Accumulator(rnd)
    add_to(aggregator, way, uploads[0], tmp_path, top - 1)
    with pytest.raises(vs.HeadroomError):
        add_to(aggregator, way, uploads[1], tmp_path, 2)
    assert (aggregator.count, aggregator.total_weight) == (1, top - 1)
    add_to(aggregator, way, uploads[1], tmp_path, 1)
    assert aggregator.finish().weights == [top - 1, 1]


@pytest.mark.parametrize("way", WAYS)
def test_more_uploads_than_clients(stage, tmp_path, way):
    rnd = stage.round()
    uploads = [stage.upload(rnd, k) for k in range(stage.plan.clients + 1)]
    with pytest.raises(vs.HeadroomError, match=str(stage.plan.clients)):
        sum_by(way, rnd, uploads, tmp_path)


NO_WEIGHTS = (0, -1, -(2**63), 0.0, -1.5, float("nan"), float("inf"), "2", None, True, [1])


@pytest.mark.parametrize("way", WAYS)
def test_weights_that_are_none(stage, tmp_path, way):
    weighing = stage.weighing
    rnd = weighing.round()
    uploads = weighing.uploads(rnd, 2)
    for bad in NO_WEIGHTS:
        if bad is True and way == "receive":
            continue  # there, as everywhere in Python, it is 1
        for at, weights in enumerate(([bad, 1], [1, bad])):
            words = "weight" if way in ONE_BY_ONE else re.escape(f"weight {at} is ")
            with pytest.raises(vs.ParameterError, match=words):
                sum_by(way, rnd, uploads, tmp_path, weights)


@pytest.mark.parametrize("weights", [[], [1], [1, 1, 1]])
def test_as_many_weights_as_uploads(stage, tmp_path, weights):
    weighing = stage.weighing
    rnd = weighing.round()
    uploads = weighing.uploads(rnd, 2)
    for way in ("weighted_sum", "sum_files"):
        with pytest.raises(
            vs.ParameterError, match=rf"weights has {len(weights)} numbers? for 2 uploads"
        ):
            sum_by(way, rnd, uploads, tmp_path, weights)
    with pytest.raises(vs.ParameterError, match="weights is an int"):
        vs.weighted_sum(rnd, uploads, 3)


@pytest.mark.parametrize("weights", [[1, 1, 1], [5, 1, 2], [78, 1, 1], [1, 39, 40]])
def test_a_weighted_sum_decrypts_to_the_weighted_mean(stage, tmp_path, weights):
    weighing = stage.weighing
    rnd = weighing.round(limit=0.5)
    updates = [weighing.update(k) / 2 for k in range(3)]
    uploads = [vs.encrypt(rnd, update) for update in updates]
    sums = {way: sum_by(way, rnd, uploads, tmp_path, weights) for way in WAYS}
    assert len({total.to_bytes() for total in sums.values()}) == 1
    total = sums["add"]
    key = weighing.open(rnd, total, uploads)
    exact = np.average(np.array(updates, dtype=np.float64), axis=0, weights=weights)
    mean = vs.decrypt(key, total, dtype="float64")
    whole = vs.decrypt(key, total, average=False, dtype="float64")
    bound = weighing.tolerance(sum(weights), 0.5)
    assert np.abs(mean - exact).max() <= bound
    assert np.abs(whole - exact * sum(weights)).max() <= bound * sum(weights)


def test_weights_that_the_clients_apply(stage):
    """No headroom is needed: whoever sums sees equal weights."""
    rnd = stage.round(limit=2.0)
    shares = (0.5, 0.3, 0.2)
    updates = [stage.update(k) for k in range(3)]
    uploads = [
        vs.encrypt(rnd, update, weight=3 * share)
        for update, share in zip(updates, shares, strict=True)
    ]
    total = vs.weighted_sum(rnd, uploads)
    mean = vs.decrypt(stage.open(rnd, total, uploads), total)
    exact = np.average(np.array(updates, dtype=np.float64), axis=0, weights=shares)
    assert np.abs(mean - exact).max() <= stage.tolerance(3, 2.0)
    for bad in (0, 0.0, -1, float("nan"), float("inf"), float("-inf"), "1", None, True):
        with pytest.raises(vs.ParameterError, match="weight"):
            vs.encrypt(rnd, updates[0], weight=bad)


@pytest.mark.filterwarnings("ignore::veilsum.VeilsumWarning")  # all clipped, or all lost
def test_a_clients_weight_may_be_huge_or_tiny(stage):
    rnd = stage.round(2)
    uploads = [
        vs.encrypt(rnd, np.array([3e38, -1.0]), weight=weight) for weight in (1.7e308, 5e-324)
    ]
    assert [upload.clipped for upload in uploads] == [2, 0]
    total = vs.weighted_sum(rnd, uploads)
    mean = vs.decrypt(stage.open(rnd, total, uploads), total)
    assert np.abs(mean - [0.5, -0.5]).max() <= stage.tolerance(2)


def test_other_weights_are_another_sum(stage):
    weighing = stage.weighing
    rnd = weighing.round()
    uploads = weighing.uploads(rnd, 2)
    totals = [vs.weighted_sum(rnd, uploads, weights) for weights in ([1, 1], [1, 2], [2, 1])]
    secret = weighing.fresh_secret()
    key = weighing.open(rnd, totals[1], uploads, secret)
    for other in (totals[0], totals[2]):
        with pytest.raises(vs.RoundError, match="opened before"):
            weighing.open(rnd, other, uploads, secret)
        with pytest.raises(vs.KeyMismatchError):
            vs.decrypt(key, other)


def test_a_weighted_sum_key_stays_where_it_could_show_uploads(stage, tmp_path):
    """Of the native engine, R of unequal weights shows every key; other engines' hold none."""
    weighing = stage.weighing
    rnd = weighing.round()
    uploads = weighing.uploads(rnd, 3)
    total = vs.weighted_sum(rnd, uploads, [5, 1, 2])
    key = weighing.open(rnd, total, uploads)
    mean = vs.decrypt(key, total)
    if stage.sums_again:
        assert key.exportable
    else:
        assert not key.exportable
        path = tmp_path / "sum.key"
        with pytest.raises(vs.RoundError, match="export"):
            key.to_bytes()
        with pytest.raises(vs.RoundError, match="export"):
            key.save(path)
        assert not path.exists()
        key = weighing.open(rnd, total, uploads, export=True)
        assert key.exportable
    again = vs.SumKey.from_bytes(key.to_bytes(), rnd)
    assert vs.decrypt(again, total).tobytes() == mean.tobytes()


def test_a_unit_sum_key_may_travel(stage):
    for some in (stage, stage.weighing):
        rnd = some.round()
        uploads = some.uploads(rnd, 3)
        total = vs.weighted_sum(rnd, uploads)
        key = some.open(rnd, total, uploads)
        assert key.exportable
        again = vs.SumKey.from_bytes(key.to_bytes(), rnd)
        assert vs.decrypt(again, total).tobytes() == vs.decrypt(key, total).tobytes()


@pytest.mark.parametrize(
    "weights",
    [[1.7e308, 1.0e308], [10**400, 0.5], [10**400, 10**400], [1.0, 10**309],
     [Fraction(10**400), 1.5], [5e-324, 1.7e308]],
    ids=["floats", "int and float", "ints", "float and int", "fraction", "far apart"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::veilsum.VeilsumWarning")  # proportions that no plan holds
def test_weights_beyond_any_float(stage, weights):
    """Proportions are exact, whatever their sum; what is no number of a plan is refused by name."""
    own = stage.weighing
    rnd = own.round()
    uploads = own.uploads(rnd, 2)
    if weights in ([10**400, 10**400], [Fraction(10**400), 1.5]):
        with pytest.raises((vs.HeadroomError, vs.ParameterError), match="weight 0 is"):
            vs.weighted_sum(rnd, uploads, weights)
        return
    most = rnd.plan.max_weight
    total = vs.weighted_sum(rnd, uploads, weights)
    assert total.total_weight == most
    share = Fraction(weights[0]) / (Fraction(weights[0]) + Fraction(weights[1]))
    assert abs(total.weights[0] - share * most) <= 1
