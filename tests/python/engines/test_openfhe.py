"""The OpenFHE engine through the public calls: values, bounds, rules, several parties."""

from __future__ import annotations

import math
import os
import pickle

import numpy as np
import pytest

import veilsum as vs
from engines.conftest import uniform
from veilsum.engines import openfhe

SIZE = 5000  # two blocks, the second not full


def run(parties, updates, weights=None, **options):
    rnd = parties.round(updates[0].size, **options)
    uploads = [vs.encrypt(rnd, update) for update in updates]
    total = vs.weighted_sum(rnd, uploads, weights)
    return rnd, total, vs.open_sum(parties.secret, rnd, total)


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 10])
def test_a_mean_is_right_within_the_derived_bound(parties, count):
    updates = [uniform(SIZE, seed) for seed in range(count)]
    _, total, key = run(parties, updates)
    exact = np.mean(updates, axis=0, dtype=np.float64)
    mean = vs.decrypt(key, total, dtype="float64")
    bound = parties.plan.error_bound / count
    assert np.abs(mean - exact).max() <= bound
    # The bound is no fiction: eight deviations, of which 5000 values reach more than three.
    assert np.abs(mean - exact).max() > bound / 4
    whole = vs.decrypt(key, total, average=False, dtype="float64")
    assert np.abs(whole - count * exact).max() <= parties.plan.error_bound


@pytest.mark.parametrize("weights", [[0.2, 0.5, 1.7], [1, 2, 1000], [1e-5, 1, 2.5]])
def test_real_weights_at_the_aggregator(parties, weights):
    updates = [uniform(SIZE, seed, 0.25) for seed in range(3)]
    _, total, key = run(parties, updates, weights, limit=0.25)
    exact = np.average(np.array(updates, dtype=np.float64), axis=0, weights=weights)
    bound = parties.plan.weighted_error * 0.25
    assert np.abs(vs.decrypt(key, total, dtype="float64") - exact).max() <= bound
    whole = vs.decrypt(key, total, average=False, dtype="float64")
    assert np.abs(whole - exact * sum(weights)).max() <= bound * sum(weights)
    assert total.total_weight == pytest.approx(sum(weights), rel=1e-15)


def test_equal_weights_are_no_weights(parties):
    updates = [uniform(10, seed) for seed in range(2)]
    _, floats, key = run(parties, updates, [0.3, 0.3])
    assert floats.weights == [1.0, 1.0]
    _, integers, again = run(parties, updates, [3, 3])
    assert integers.weights == [3.0, 3.0]
    exact = np.sum(updates, axis=0, dtype=np.float64)
    bound = parties.plan.error_bound
    assert np.abs(vs.decrypt(key, floats, average=False) - exact).max() <= bound + 1e-6
    assert np.abs(vs.decrypt(again, integers, average=False) - 3 * exact).max() <= 3 * bound + 1e-6


def test_both_engines_give_the_same_average(parties):
    """Within the CKKS bound, plus the native engine's quantisation: half a step a client."""
    updates = [uniform(SIZE, seed, 0.5) for seed in range(4)]
    weights = [0.4, 0.8, 1.2, 1.6]
    _, total, key = run(parties, updates, limit=0.5)
    mean = vs.decrypt(key, total, dtype="float64")
    native_plan = vs.Plan(clients=10)
    secret, public = vs.keygen(native_plan)
    rnd = vs.Round(native_plan, public, size=SIZE, limit=0.5)
    native = vs.weighted_sum(rnd, [vs.encrypt(rnd, update) for update in updates])
    other = vs.decrypt(vs.open_sum(secret, rnd, native), native, dtype="float64")
    step = 0.5 / (2**15 - 1)
    bound = parties.plan.error_bound * 0.5 / len(updates) + step / 2
    assert np.abs(mean - other).max() <= bound
    # With the clients' weights, through the same calls.
    means = []
    for plan, keys in (
        (parties.plan, (parties.secret, parties.public)),
        (native_plan, (secret, public)),
    ):
        rnd = vs.Round(plan, keys[1], size=SIZE, limit=1.0)
        uploads = [vs.encrypt(rnd, u, weight=w) for u, w in zip(updates, weights, strict=True)]
        total = vs.weighted_sum(rnd, uploads)
        means.append(vs.decrypt(vs.open_sum(keys[0], rnd, total), total, dtype="float64"))
    step = 1 / (2**15 - 1)
    assert np.abs(means[0] - means[1]).max() <= parties.plan.error_bound / 4 + step / 2


def test_the_mean_of_nested_updates_weighted_by_rows(parties):
    rows = (1200, 50_000, 333)
    updates = [[uniform(6, seed).reshape(2, 3), np.ones(4)] for seed in range(3)]
    job = vs.RowMean.new(parties.plan, parties.public, like=updates[0], most_rows=50_000)
    job = vs.RowMean(vs.Round.from_bytes(job.round.to_bytes()))
    uploads = [job.encrypt(update, count) for update, count in zip(updates, rows, strict=True)]
    total = vs.weighted_sum(job.round, uploads)
    mean = job.decrypt(vs.open_sum(parties.secret, job.round, total), total)
    exact = np.average([update[0] for update in updates], axis=0, weights=rows)
    bound = parties.plan.error_bound * 50_000 / sum(rows) + 1e-6
    np.testing.assert_allclose(mean[0], exact, rtol=0, atol=bound)
    np.testing.assert_allclose(mean[1], 1, rtol=0, atol=bound)


def test_public_objects_are_pickled_and_secrets_are_not(parties):
    rnd, total, key = run(parties, [uniform(5, seed) for seed in range(2)])
    for thing in (rnd.plan, rnd.public, rnd, total, total.opening_request()):
        assert pickle.loads(pickle.dumps(thing)).to_bytes() == thing.to_bytes()
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(key)


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf])
def test_a_client_weighs_more_than_nothing(parties, weight):
    with pytest.raises(vs.ParameterError, match="finite and above 0"):
        vs.encrypt(parties.round(5), uniform(5, 0), weight=weight)


def test_float16_sums_never_overflow(parties):
    half = np.ones(4, np.float16)
    rnd = parties.round(like=half, limit=40_000.0)
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, half) for _ in range(2)])
    key = vs.open_sum(parties.secret, rnd, total)
    with pytest.raises(vs.HeadroomError, match="float16, which ends at 65504"):
        vs.decrypt(key, total, average=False)
    assert vs.decrypt(key, total, average=False, dtype=np.float32).dtype == np.float32


def test_names_shapes_dtypes_limits_and_clipping(parties):
    update = {
        "w": np.array([[0.5, -3.0], [1.0, 0.25]], np.float32),
        "b": np.array([0.125, 0.5], np.float64),
        "h": np.array([0.25], np.float16),
    }
    rnd = parties.round(like=update, limit={"w": 1.0, "b": 0.25, "h": 1.0})
    with pytest.warns(vs.VeilsumWarning, match="of tensor 'b' 50%") as told:
        uploads = [vs.encrypt(rnd, update) for _ in range(2)]
    assert [warning.filename for warning in told] == [__file__] * 2
    assert [upload.clipped for upload in uploads] == [2, 2]
    total = vs.weighted_sum(rnd, uploads)
    with pytest.warns(vs.VeilsumWarning, match="4 of the 14 values in the 2 uploads"):
        mean = vs.decrypt(vs.open_sum(parties.secret, rnd, total), total)
    assert {name: (a.shape, a.dtype) for name, a in mean.items()} == {
        name: (a.shape, a.dtype) for name, a in update.items()
    }
    np.testing.assert_allclose(mean["w"], [[0.5, -1], [1, 0.25]], atol=1e-5)
    np.testing.assert_allclose(mean["b"], [0.125, 0.25], atol=1e-5)
    np.testing.assert_allclose(mean["h"], [0.25], atol=1e-3)
    with pytest.raises(vs.ParameterError, match="beyond"):
        vs.encrypt(rnd, update, on_clip="error")
    update["w"][0, 1] = np.nan
    with pytest.raises(vs.ParameterError, match=r"'w'.*not finite"):
        vs.encrypt(rnd, update)


def test_out_dtype_progress_and_threads(parties):
    update = uniform(SIZE)
    rnd = parties.round()
    seen = []
    uploads = [
        vs.encrypt(rnd, update, threads=threads, progress=lambda *at: seen.append(at))
        for threads in (1, 2)
    ]
    assert seen[-1] == (SIZE, SIZE)
    total = vs.weighted_sum(rnd, uploads, threads=2)
    key = vs.open_sum(parties.secret, rnd, total)
    out = np.empty(SIZE)
    assert vs.decrypt(key, total, out=out, threads=2) is out
    # Whoever decrypts gets the same values, on any number of threads.
    assert (vs.decrypt(key, total, dtype="float64", threads=1) == out).all()
    np.testing.assert_allclose(out, update, atol=1e-5)

    def stop(done, whole):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vs.encrypt(rnd, update, progress=stop)


def test_encrypting_twice_is_unrelated(parties):
    rnd = parties.round(100)
    first, second = (vs.encrypt(rnd, np.zeros(100)) for _ in range(2))
    a, b = (np.frombuffer(one.to_bytes()[65:-4][: 8 * 1024], "<u8") for one in (first, second))
    assert (a == b).mean() < 0.01


# --- plans ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("security", "ring"), [(128, 8192), (192, 8192), (256, 16384)])
def test_openfhe_chooses_the_ring(security, ring):
    plan = vs.Plan(clients=4, security=security, engine="openfhe")
    assert plan.ring_degree == ring
    assert plan.statistical_bits >= 40
    assert plan.context.flooding_deviation == plan.flooding_deviation
    assert math.prod(plan.context.moduli).bit_length() == plan.log2_modulus
    assert plan.bytes_per_value == 64
    assert "40 statistical bits" in plan.explain()


def test_a_ring_too_small_for_its_security_is_refused():
    with pytest.raises(vs.ParameterError, match="OpenFHE refuses"):
        vs.Plan(clients=4, value_bits=8, security=256, profile="n4096", engine="openfhe")


@pytest.mark.parametrize(
    "wrong",
    [{"clients": 1}, {"value_bits": 1}, {"value_bits": 33}, {"security": 100}, {"profile": "n5"},
     {"parties": 0}, {"optimise": "fun"}, {"clients": True}],
)  # fmt: skip
def test_arguments_out_of_range(wrong):
    with pytest.raises(vs.ParameterError):
        vs.Plan(**{"clients": 4, **wrong}, engine="openfhe")


def test_precision_that_the_scale_cannot_hold_is_refused_with_what_can():
    with pytest.raises(vs.HeadroomError, match=r"value_bits = (\d+)") as caught:
        vs.Plan(clients=4, value_bits=24, engine="openfhe")
    fits = int(str(caught.value).split("use value_bits = ")[1].split(",")[0])
    assert vs.Plan(clients=4, value_bits=fits, engine="openfhe").value_bits == fits
    with pytest.raises(vs.HeadroomError):
        vs.Plan(clients=4, value_bits=fits + 1, engine="openfhe")


def test_weights_that_the_precision_cannot_hold_are_refused_before_any_work(parties):
    plan = vs.Plan(clients=1000, engine="openfhe")
    rnd = vs.Round(plan, vs.keygen(plan)[1], size=4)
    uploads = [vs.encrypt(rnd, np.zeros(4)) for _ in range(2)]
    with pytest.raises(vs.HeadroomError, match="value_bits"):
        vs.weighted_sum(rnd, uploads, [1, 2])
    assert vs.weighted_sum(rnd, uploads, [2, 2]).count == 2
    small = vs.Plan(clients=2, engine="openfhe")
    rnd = vs.Round(small, vs.keygen(small)[1], size=4)
    with pytest.raises(vs.HeadroomError, match="clients = 3"):
        vs.weighted_sum(rnd, [vs.encrypt(rnd, np.zeros(4)) for _ in range(3)])


@pytest.mark.parametrize("weights", [[1, 0], [1, -1], [1, math.nan], [1, math.inf], [1, "2"]])
def test_weights_out_of_range(parties, weights):
    rnd = parties.round(4)
    uploads = [vs.encrypt(rnd, np.zeros(4)) for _ in range(2)]
    with pytest.raises(vs.ParameterError):
        vs.weighted_sum(rnd, uploads, weights)


def test_a_weight_that_makes_an_upload_vanish_is_refused(parties):
    rnd = parties.round(4)
    uploads = [vs.encrypt(rnd, np.zeros(4)) for _ in range(2)]
    with pytest.raises(vs.ParameterError, match="2\\^-20"):
        vs.weighted_sum(rnd, uploads, [1, 2.0**-21])
    assert vs.weighted_sum(rnd, uploads, [1, 2.0**-20]).count == 2


def test_the_noise_on_a_share_is_as_wide_as_the_plan_says(parties):
    """Two openings' keys of one aggregate differ by the flooding alone."""
    plan = parties.plan
    rnd = parties.round(SIZE)
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, np.zeros(SIZE)) for _ in range(2)])
    copy = vs.SecretKey.from_bytes(parties.secret.to_bytes())  # with no memory of its openings
    values = [
        vs.decrypt(vs.open_sum(secret, rnd, total), total, average=False, dtype="float64")
        for secret in (parties.secret, copy)
    ]
    # A value's deviation is sqrt(N / 2) times a coefficient's (plan.py); the flooding is drawn anew
    # for each, and the sum's own noise is the same.
    measured = np.std(values[0] - values[1]) / math.sqrt(2)
    expected = math.sqrt(plan.ring_degree / 2) * plan.flooding_deviation / plan.delta
    # 10,000 correlated-by-block samples: 10 % is more than ten deviations of their deviation.
    assert measured == pytest.approx(expected, rel=0.1)


# --- rules ---------------------------------------------------------------------------------------


def test_fewer_than_min_clients_are_not_opened(parties):
    rnd = parties.round(4, min_clients=3)
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, np.zeros(4)) for _ in range(2)])
    with pytest.raises(vs.RoundError, match="at least 3"):
        vs.open_sum(parties.secret, rnd, total)
    for wrong in (1, 11, True):
        with pytest.raises(vs.ParameterError, match="min_clients"):
            parties.round(4, min_clients=wrong)


def test_an_upload_counts_once_and_in_its_round_only(parties):
    rnd, other = parties.round(4), parties.round(4)
    upload, foreign = vs.encrypt(rnd, np.zeros(4)), vs.encrypt(other, np.zeros(4))
    with pytest.raises(vs.RoundError, match="twice"):
        vs.weighted_sum(rnd, [upload, upload])
    copy = vs.Upload.from_bytes(upload.to_bytes(), rnd)
    with pytest.raises(vs.RoundError, match="twice"):
        vs.weighted_sum(rnd, [upload, copy])
    with pytest.raises(vs.RoundError, match="is of round"):
        vs.weighted_sum(rnd, [upload, foreign])
    with pytest.raises(vs.RoundError, match="is of round"):
        vs.Upload.from_bytes(foreign.to_bytes(), rnd)


def test_a_round_is_opened_once(parties, tmp_path):
    rnd = parties.round(4)
    uploads = [vs.encrypt(rnd, np.zeros(4)) for _ in range(3)]
    first, second = vs.weighted_sum(rnd, uploads[:2]), vs.weighted_sum(rnd, uploads)
    path = tmp_path / "key"
    again(parties.secret).save(path)
    secret = vs.SecretKey.load(path)
    key = vs.open_sum(secret, rnd, first)
    assert vs.open_sum(secret, rnd, first).to_bytes() == key.to_bytes()
    with pytest.raises(vs.RoundError, match="another aggregate"):
        vs.open_sum(secret, rnd, second)
    restarted = vs.SecretKey.load(path)
    with pytest.raises(vs.RoundError, match="another aggregate"):
        vs.open_sum(restarted, rnd, second)
    with pytest.raises(vs.RoundError, match="averaged away"):
        vs.open_sum(restarted, rnd, first)
    ledger = tmp_path / "key.opened"
    assert ledger.stat().st_mode & 0o777 == 0o600
    line = ledger.read_text()
    ledger.write_text(line + line[:70])  # a crash while appending: that opening gave nothing out
    with pytest.raises(vs.RoundError, match="averaged away"):
        vs.open_sum(vs.SecretKey.load(path), rnd, first)
    assert ledger.read_text() == line
    for damaged in ("nonsense\n", line[1:], line + "x", line[:64] + line[65:], "\n" + line):
        ledger.write_text(damaged)
        with pytest.raises(vs.RoundError, match="damaged"):
            vs.open_sum(vs.SecretKey.load(path), rnd, first)


def again(secret):
    """The same key, with a ledger of its own."""
    return vs.SecretKey.from_bytes(secret.to_bytes())


def test_what_was_opened_before_or_after_saving_is_in_the_file(parties, tmp_path):
    # Found in review: a key that was saved after an opening opened the round again from the file.
    secret, path = again(parties.secret), tmp_path / "key"
    rounds = [parties.round(4), parties.round(4)]
    sums = []
    for rnd in rounds:
        uploads = [vs.encrypt(rnd, np.zeros(4)) for _ in range(3)]
        sums.append([vs.weighted_sum(rnd, uploads[:count]) for count in (2, 3)])
    vs.open_sum(secret, rounds[0], sums[0][0])
    secret.save(path)
    vs.open_sum(secret, rounds[1], sums[1][0])
    for rnd, (_, other) in zip(rounds, sums, strict=True):
        with pytest.raises(vs.RoundError, match="another aggregate"):
            vs.open_sum(vs.SecretKey.load(path), rnd, other)


def test_a_forked_child_opens_nothing_with_a_key_without_a_file(parties):
    rnd = parties.round(4)
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, np.zeros(4)) for _ in range(2)])
    secret = again(parties.secret)
    child = os.fork()
    if not child:
        try:
            # The ledger is asked before OpenFHE, whose threads a child lacks, makes anything.
            secret.open_once(rnd.id, total.digest, lambda: os._exit(1))
        except vs.RoundError as error:
            os._exit(0 if "forked from" in str(error) else 2)
        finally:
            os._exit(3)
    assert os.waitpid(child, 0)[1] == 0
    vs.open_sum(secret, rnd, total)


def test_a_lying_aggregator_is_refused(parties):
    rnd = parties.round(4)
    a, b, c = (vs.encrypt(rnd, np.zeros(4)) for _ in range(3))
    honest, other = vs.weighted_sum(rnd, [a, b]), vs.weighted_sum(rnd, [a, c])
    liar = openfhe.Aggregate(honest.manifest, other.handle, [a, b])
    with pytest.raises(vs.RoundError, match="not the sum"):
        vs.open_sum(parties.secret, rnd, liar)
    alone = openfhe.Aggregate(honest.manifest, a.handle, [a, b])
    with pytest.raises(vs.RoundError, match="not the sum"):
        vs.open_sum(parties.secret, rnd, alone)
    swapped = openfhe.Aggregate(honest.manifest, honest.handle, [a, c])
    with pytest.raises(vs.RoundError, match="lists"):
        vs.open_sum(parties.secret, rnd, swapped)
    assert vs.open_sum(parties.secret, rnd, honest).count == 2


def test_an_aggregate_from_bytes_needs_its_uploads_or_trust(parties, tmp_path):
    rnd = parties.round(4)
    uploads = [vs.encrypt(rnd, np.full(4, 0.5)) for _ in range(2)]
    total = vs.weighted_sum(rnd, uploads)
    received = vs.Aggregate.from_bytes(total.to_bytes(), rnd)
    with pytest.raises(vs.RoundError, match="trust_aggregator"):
        vs.open_sum(parties.secret, rnd, received)
    uploads[1].save(tmp_path / "upload")
    key = vs.open_sum(parties.secret, rnd, received, uploads=[uploads[0], tmp_path / "upload"])
    np.testing.assert_allclose(vs.decrypt(key, total), 0.5, atol=1e-5)
    trusting = parties.round(4, trust_aggregator=True)
    total = vs.weighted_sum(trusting, [vs.encrypt(trusting, np.zeros(4)) for _ in range(2)])
    received = vs.Aggregate.from_bytes(total.to_bytes(), trusting)
    request = received.opening_request()
    assert len(request.to_bytes()) < 1.1 * len(total.to_bytes())
    assert vs.open_sum(parties.secret, trusting, request).count == 2


def test_rosters(parties):
    identities = [vs.Identity.generate() for _ in range(3)]
    rnd = parties.round(4, roster=identities)
    uploads = [vs.encrypt(rnd, np.zeros(4), signer=one) for one in identities]
    with pytest.raises(vs.RoundError, match="signer"):
        vs.encrypt(rnd, np.zeros(4))
    with pytest.raises(vs.KeyMismatchError):
        vs.encrypt(rnd, np.zeros(4), signer=vs.Identity.generate())
    again = vs.encrypt(rnd, np.ones(4), signer=identities[0])
    with pytest.raises(vs.RoundError, match="client 0"):
        vs.weighted_sum(rnd, [uploads[0], again])
    forged = vs.encrypt(rnd, np.ones(4), signer=identities[1])
    forged.attach_signature(2, forged.signature)
    with pytest.raises(vs.RoundError, match="signature of client 2"):
        vs.weighted_sum(rnd, [uploads[0], forged])
    total = vs.weighted_sum(rnd, uploads)
    request = vs.OpeningRequest.from_bytes(total.opening_request().to_bytes(), rnd)
    assert request.clients == [0, 1, 2]
    assert vs.open_sum(parties.secret, rnd, request).count == 3


def test_the_aggregator_takes_uploads_one_by_one(parties):
    rnd = parties.round(4)
    aggregator = vs.Aggregator(rnd)
    uploads = [vs.encrypt(rnd, np.full(4, value)) for value in (0.25, 0.75)]
    aggregator.add(uploads[0], 1)
    with pytest.raises(vs.RoundError, match="already"):
        aggregator.add(uploads[0])
    aggregator.add(uploads[1], 3)
    assert (aggregator.count, aggregator.total_weight) == (2, 4)
    total = aggregator.finish()
    key = vs.open_sum(parties.secret, rnd, total)
    np.testing.assert_allclose(vs.decrypt(key, total), 0.625, atol=2e-5)


def test_a_sum_key_opens_its_aggregate_and_nothing_else(parties):
    first, second = (run(parties, [uniform(4, s), uniform(4, s + 1)]) for s in (0, 2))
    with pytest.raises(vs.KeyMismatchError):
        vs.decrypt(first[2], second[1])
    other = vs.keygen(parties.plan)[0]
    with pytest.raises(vs.KeyMismatchError):
        vs.open_sum(other, first[0], first[1])


def test_a_share_of_a_wrong_key_is_an_error_and_not_a_wrong_mean(parties):
    rnd, total, key = run(parties, [uniform(4), uniform(4, 1)])
    stranger = vs.keygen(parties.plan)[0]
    blocks = parties.plan.context.share(stranger.handle, total.handle)
    wrong = openfhe.SumKey(rnd, key.aggregate, blocks, 2, 2.0)
    with pytest.raises(vs.HeadroomError, match="N = 8192, a modulus of 120 bits"):
        vs.decrypt(wrong, total)


# --- several parties -----------------------------------------------------------------------------


def test_all_of_three_parties_open_a_sum():
    plan = vs.Plan(clients=4, parties=3, engine="openfhe")
    with pytest.raises(vs.ParameterError, match="party_keygen"):
        vs.keygen(plan)
    secrets, public = [], None
    for _ in range(3):
        secret, public = openfhe.party_keygen(plan, public)
        secrets.append(secret)
    with pytest.raises(vs.ParameterError, match="complete"):
        openfhe.party_keygen(plan, public)
    with pytest.raises(vs.KeyMismatchError, match="parties"):
        vs.Round(plan, secrets[1].public_key, size=4)
    rnd = vs.Round.from_bytes(vs.Round(plan, public, size=SIZE).to_bytes())
    updates = [uniform(SIZE, seed) for seed in range(2)]
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, update) for update in updates])
    with pytest.raises(vs.ParameterError, match="open_share"):
        vs.open_sum(secrets[0], rnd, total)
    shares = [openfhe.open_share(secret, rnd, total) for secret in secrets]
    shares = [openfhe.DecryptionShare.from_bytes(one.to_bytes(), rnd) for one in shares]
    with pytest.raises(vs.RoundError, match="one of each"):
        openfhe.combine_shares(rnd, shares[:2])
    with pytest.raises(vs.RoundError, match="one of each"):
        openfhe.combine_shares(rnd, [shares[0], shares[1], shares[1]])
    key = openfhe.combine_shares(rnd, shares)
    mean = vs.decrypt(key, total, dtype="float64")
    assert np.abs(mean - np.mean(updates, axis=0, dtype=np.float64)).max() <= plan.error_bound / 2
    # Without one of them there is nothing.
    two = plan.context.add_shares([one.handle for one in shares[:2]])
    with pytest.raises(vs.HeadroomError, match="approximation error"):
        vs.decrypt(openfhe.SumKey(rnd, key.aggregate, two, 2, 2.0), total)


# --- engines apart, bytes, secrets ---------------------------------------------------------------


def test_engines_do_not_mix(parties):
    plan = vs.Plan(clients=10)
    secret, public = vs.keygen(plan)
    native = vs.Round(plan, public, size=4)
    ours = parties.round(4)
    there = [vs.encrypt(native, np.zeros(4)) for _ in range(2)]
    here = [vs.encrypt(ours, np.zeros(4)) for _ in range(2)]
    totals = vs.weighted_sum(native, there), vs.weighted_sum(ours, here)
    with pytest.raises(vs.RoundError, match="engine"):
        vs.weighted_sum(native, here)
    with pytest.raises(vs.RoundError, match="engine"):
        vs.weighted_sum(ours, there)
    with pytest.raises(vs.RoundError, match="engine"):
        vs.Round(parties.plan, public, size=4)
    for wrong in (
        (secret, ours, totals[1]),
        (parties.secret, ours, totals[0]),
        (parties.secret, native, totals[0]),
        (secret, native, totals[1]),
    ):
        with pytest.raises(vs.RoundError, match="engine"):
            vs.open_sum(*wrong)
    keys = vs.open_sum(secret, native, totals[0]), vs.open_sum(parties.secret, ours, totals[1])
    for key, total in ((keys[0], totals[1]), (keys[1], totals[0])):
        with pytest.raises(vs.RoundError, match="engine"):
            vs.decrypt(key, total)
    # As bytes: the kind in the envelope names the engine.
    for thing, rnd in ((there[0], ours), (here[0], native)):
        with pytest.raises(vs.WireFormatError):
            vs.Upload.from_bytes(thing.to_bytes(), rnd)
    for thing, rnd in ((totals[0], ours), (totals[1], native)):
        with pytest.raises(vs.WireFormatError):
            vs.Aggregate.from_bytes(thing.to_bytes(), rnd)


def test_everything_survives_bytes_and_files(parties, tmp_path):
    rnd, total, key = run(parties, [uniform(4), uniform(4, 1)])
    upload = vs.encrypt(rnd, uniform(4))
    things = {
        vs.Plan: (parties.plan, ()),
        vs.PublicKey: (parties.public, ()),
        vs.SecretKey: (parties.secret, ()),
        vs.Round: (rnd, ()),
        vs.Upload: (upload, (rnd,)),
        vs.Aggregate: (total, (rnd,)),
        vs.OpeningRequest: (total.opening_request(), (rnd,)),
        vs.SumKey: (key, (rnd,)),
    }
    for cls, (thing, more) in things.items():
        assert isinstance(thing, cls)
        assert thing.engine == "openfhe"
        data = thing.to_bytes()
        assert cls.from_bytes(data, *more).to_bytes() == data
        if more:
            assert cls.from_bytes(data, round=rnd).to_bytes() == data
        path = tmp_path / cls.__name__
        thing.save(path)
        assert path.read_bytes() == data
        assert cls.load(path, *more).to_bytes() == data
    assert upload.nbytes == len(upload.to_bytes())
    assert total.nbytes == len(total.to_bytes())
    assert vs.Round.load(tmp_path / "Round") == rnd
    for thing in (parties.plan, rnd):
        assert pickle.loads(pickle.dumps(thing)) == thing


def test_secrets_stay_secret(parties, tmp_path):
    with pytest.raises(TypeError):
        pickle.dumps(parties.secret)
    assert parties.secret.id.hex() in repr(parties.secret)
    path = tmp_path / "key"
    again(parties.secret).save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(vs.ParameterError, match="chmod 600"):
        vs.SecretKey.load(path)


def test_blocks_go_to_openfhe_in_its_own_format(parties):
    """The residues on the wire are those of OpenFHE's binary format, in its order."""
    rnd, total, _ = run(parties, [uniform(SIZE), uniform(SIZE, 1)])
    blocks = list(total.openfhe_blocks())
    assert len(blocks) == rnd.blocks
    degree = parties.plan.ring_degree
    wire = total.to_bytes()[-4 - len(blocks) * parties.plan.block_bytes : -4]
    runs = [wire[at : at + 8 * degree] for at in range(0, len(wire), 8 * degree)]
    for index, block in enumerate(blocks):
        at = 0
        for run_bytes in runs[4 * index : 4 * index + 4]:
            at = block.find(run_bytes, at)
            assert at > 0
    assert parties.public.openfhe_bytes().find(parties.public.handle.tag.encode()) > 0
