"""The OpenFHE engine through the public calls: values, bounds, plans, several parties, exports.

The rules of rounds, ledgers and manifests are tested once for all engines, elsewhere.
"""

from __future__ import annotations

import math
import pickle
import struct

import numpy as np
import pytest

import veilsum as vs
from engines.conftest import uniform
from security import forging
from veilsum import _core
from veilsum.engines import openfhe
from veilsum.engines.base import PlanRequest
from veilsum.engines.openfhe import backend, opening
from veilsum.engines.openfhe import keys as openfhe_keys
from veilsum.engines.openfhe.backend import ContextRequest, context_for
from veilsum.engines.openfhe.plan import make_plan, read_plan

SIZE = 5000  # three blocks of one prime or two of two, the last not full


def run(parties, updates, weights=None, **options):
    rnd = parties.round(updates[0].size, **options)
    uploads = [vs.encrypt(rnd, update) for update in updates]
    total = vs.weighted_sum(rnd, uploads, weights)
    return rnd, total, vs.open_sum(parties.secret, rnd, total, uploads=uploads)


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


@pytest.mark.parametrize("weights", [[1, 2, 3], [1, 2, 1000], [2557, 2, 1]])
def test_integer_weights_of_the_aggregator(weighing, weights):
    updates = [uniform(SIZE, seed, 0.25) for seed in range(3)]
    _, total, key = run(weighing, updates, weights, limit=0.25)
    exact = np.average(np.array(updates, dtype=np.float64), axis=0, weights=weights)
    bound = weighing.plan.error_bound * 0.25
    whole = vs.decrypt(key, total, average=False, dtype="float64")
    assert np.abs(whole - exact * sum(weights)).max() <= bound
    mean = vs.decrypt(key, total, dtype="float64")
    assert np.abs(mean - exact).max() <= bound / sum(weights)
    assert total.total_weight == sum(weights)


@pytest.mark.parametrize("value", [1.0, -1.0])
def test_the_largest_sum_that_the_prime_holds(available, value):
    """15 clients fill 15/16 of half the modulus, all of it in one coefficient of each block."""
    plan = vs.Plan(clients=15, engine="openfhe")
    prime = plan.parameters.context.moduli[0]
    assert plan.limbs == 1
    assert 15 * plan.delta / (prime / 2) == pytest.approx(15 / 16)
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=SIZE)
    uploads = [vs.encrypt(rnd, np.full(SIZE, value, np.float32)) for _ in range(15)]
    total = vs.weighted_sum(rnd, uploads)
    key = vs.open_sum(secret, rnd, total, uploads=uploads)
    whole = vs.decrypt(key, total, average=False, dtype="float64")
    error = np.abs(whole - 15 * value).max()
    assert plan.error_bound / 4 < error <= plan.error_bound


def test_both_engines_give_the_same_average(parties):
    """Within the CKKS bound, plus the native engine's quantisation: half a step a client."""
    updates = [uniform(SIZE, seed, 0.5) for seed in range(4)]
    weights = [0.4, 0.8, 1.2, 1.6]
    native_plan = vs.Plan(clients=10)
    means = []
    for plan, keys in (
        (parties.plan, (parties.secret, parties.public)),
        (native_plan, vs.keygen(native_plan)),
    ):
        rnd = vs.Round(plan, keys[1], size=SIZE, limit=1.0)
        uploads = [vs.encrypt(rnd, u, weight=w) for u, w in zip(updates, weights, strict=True)]
        total = vs.weighted_sum(rnd, uploads)
        more = {} if plan is native_plan else {"uploads": uploads}
        means.append(vs.decrypt(vs.open_sum(keys[0], rnd, total, **more), total, dtype="float64"))
    step = 1 / (2**15 - 1)
    assert np.abs(means[0] - means[1]).max() <= parties.plan.error_bound / 4 + step / 2


def test_names_shapes_dtypes_limits_and_clipping(parties):
    update = {
        "w": np.array([[0.5, -3.0], [1.0, 0.25]], np.float32),
        "b": np.array([0.125, 0.5], np.float64),
        "e": np.zeros((0, 3), np.float32),
        "h": np.array([0.25], np.float16),
    }
    rnd = parties.round(like=update, limit={"w": 1.0, "b": 0.25, "e": 1.0, "h": 1.0})
    with pytest.warns(vs.VeilsumWarning, match="of tensor 'b' 50%"):
        uploads = [vs.encrypt(rnd, update) for _ in range(2)]
    assert [upload.clipped for upload in uploads] == [2, 2]
    total = vs.weighted_sum(rnd, uploads)
    with pytest.warns(vs.VeilsumWarning, match="4 of the 14 values in the 2 uploads"):
        mean = vs.decrypt(vs.open_sum(parties.secret, rnd, total, uploads=uploads), total)
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


def test_segments_that_end_inside_of_blocks_and_of_runs_of_blocks(parties, monkeypatch):
    monkeypatch.setattr(opening, "_CHUNK", 2)
    sizes = {"a": 1, "b": 2047, "c": 5000, "d": 2 * 2048 * 2, "e": 3}
    update = {
        name: uniform(size, index, 0.1 * (index + 1))
        for index, (name, size) in enumerate(sizes.items())
    }
    limits = {name: 0.1 * (index + 1) for index, name in enumerate(sizes)}
    rnd = parties.round(like=update, limit=limits)
    uploads = [vs.encrypt(rnd, update) for _ in range(2)]
    total = vs.weighted_sum(rnd, uploads)
    mean = vs.decrypt(vs.open_sum(parties.secret, rnd, total, uploads=uploads), total)
    for name, values in update.items():
        bound = parties.plan.error_bound / 2 * limits[name] + 1e-7
        np.testing.assert_allclose(mean[name], values, rtol=0, atol=bound)


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
    key = vs.open_sum(parties.secret, rnd, total, uploads=uploads)
    out = np.empty(SIZE)
    assert vs.decrypt(key, total, out=out, threads=2) is out
    # Whoever decrypts gets the same values, on any number of threads.
    assert (vs.decrypt(key, total, dtype="float64", threads=1) == out).all()
    np.testing.assert_allclose(out, update, atol=1e-5)

    def stop(done, whole):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vs.encrypt(rnd, update, progress=stop)


def test_pads_are_the_native_engines(parties):
    plan = vs.Plan(clients=2)
    native = vs.Round(plan, vs.keygen(plan)[1], size=4)
    with (
        vs.PadStore(native, budget_bytes=1 << 22, uploads=1) as pads,
        pytest.raises(vs.VeilsumError, match=r"native|round"),
    ):
        vs.encrypt(parties.round(4), np.zeros(4), pads=pads)


# --- plans ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "ring", "primes"),
    [
        ({}, 4096, 1),
        ({"value_bits": 8}, 2048, 1),
        ({"clients": 1000}, 8192, 2),
        ({"value_bits": 20}, 8192, 2),
        ({"weight_bits": 4, "value_bits": 8}, 4096, 1),
        ({"weight_bits": 8}, 8192, 2),
        ({"parties": 3}, 4096, 1),
        ({"security": 192}, 4096, 1),
        ({"security": 256}, 8192, 1),
        ({"security": 256, "value_bits": 8}, 4096, 1),
        ({"security": 256, "weight_bits": 8}, 16384, 2),
        ({"profile": "n16384"}, 16384, 1),
    ],
)
def test_the_smallest_ring_and_fewest_primes_that_hold_the_sums(wanted, ring, primes):
    plan = vs.Plan(**{"clients": 10, **wanted}, engine="openfhe")
    assert (plan.ring_degree, plan.limbs) == (ring, primes)
    # Two polynomials of whole words for half as many slots.
    assert plan.bytes_per_value == 32 * primes
    assert plan.parameters.statistical_bits == 40
    assert "40 statistical bits" in plan.explain()
    assert f"{32 * primes} bytes a value" in plan.explain()
    assert math.prod(plan.parameters.context.moduli).bit_length() == plan.log2_modulus
    assert plan.error_bound / plan.max_weight <= 0.5 / (2 ** (plan.value_bits - 1) - 1)
    assert plan.max_weight * plan.delta < math.prod(plan.parameters.context.moduli) / 2
    again = vs.Plan.from_bytes(plan.to_bytes())
    assert again == plan
    assert again.error_bound == plan.error_bound
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_every_plan_leaves_its_largest_sum_room_for_noise(available):
    """The docstring's argument, for the plans with least of it: coarse values, many clients."""
    for bits in (2, 3, 8, 16):
        for clients in (2, 3, 15, 16, 1000, 2**15, 2**20):
            for parties in (1, 8) if bits == 16 else (1, 64):
                plan = make_plan(PlanRequest(clients, bits, parties=parties))
                noise = plan.error_bound * plan.delta / math.sqrt(plan.ring_degree / 2)
                room = math.prod(plan.context.moduli) / 2
                assert plan.max_weight * plan.delta + noise < room
                assert plan.flooding_deviation < min(plan.context.moduli) / 16


@pytest.mark.parametrize("at", range(16))
def test_a_plans_bytes_are_those_that_this_version_writes(parties, at):
    fields = bytearray(parties.plan.facts.fields)
    for value in {0, 1, fields[at] ^ 1, fields[at] + 1 & 255, 255} - {fields[at]}:
        changed = bytes(fields[:at]) + bytes([value]) + bytes(fields[at + 1 :])
        try:
            made = read_plan(changed)
        except vs.WireFormatError:
            continue
        assert bytes(made.facts.fields) == changed


def test_a_ring_too_small_for_its_security_is_refused():
    with pytest.raises(vs.ParameterError, match="OpenFHE refuses"):
        vs.Plan(clients=4, value_bits=8, security=256, profile="n2048", engine="openfhe")


@pytest.mark.parametrize(
    "wrong",
    [{"clients": 1}, {"value_bits": 1}, {"value_bits": 33}, {"security": 100}, {"profile": "n5"},
     {"parties": 0}, {"optimise": "fun"}, {"clients": True}, {"weight_bits": 21}],
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
    with pytest.raises(vs.HeadroomError, match="total weight"):
        vs.Plan(clients=4, weight_bits=20, engine="openfhe")


def test_the_noise_on_a_share_is_as_wide_as_the_plan_says(parties):
    """Two openings' keys of one aggregate differ by the flooding alone."""
    plan = parties.plan
    rnd = parties.round(SIZE)
    uploads = [vs.encrypt(rnd, np.zeros(SIZE)) for _ in range(2)]
    total = vs.weighted_sum(rnd, uploads)
    copy = vs.SecretKey.from_bytes(parties.secret.to_bytes())  # with no memory of its openings
    values = [
        vs.decrypt(
            vs.open_sum(secret, rnd, total, uploads=uploads), total, average=False, dtype="float64"
        )
        for secret in (parties.secret, copy)
    ]
    # A value's deviation is sqrt(N / 2) times a coefficient's (plan.py); the flooding is drawn anew
    # for each, and the sum's own noise is the same.
    measured = np.std(values[0] - values[1]) / math.sqrt(2)
    expected = math.sqrt(plan.ring_degree / 2) * plan.parameters.flooding_deviation / plan.delta
    # 5,000 independent samples: 10 % is ten deviations of their deviation.
    assert measured == pytest.approx(expected, rel=0.1)


# --- what a sum key opens ------------------------------------------------------------------------


def body_of(parties, secret_body, blocks, role=opening.WHOLE):
    return opening.open_blocks(parties.plan.parameters, secret_body, blocks, role)


def secret_body(plan):
    """A key that OpenFHE just made, as the core would hold it."""
    return plan.parameters.context.keygen(np.empty(0, np.uint64))[0].tobytes()


def test_a_sum_key_of_other_blocks_is_refused(parties):
    rnd, total, key = run(parties, [uniform(4), uniform(4, 1)])
    _, other, _ = run(parties, [uniform(4), uniform(4, 1)])
    body = body_of(parties, secret_body(parties.plan), other.blocks)
    wrong = _core.make_sum_key(rnd, key.manifest, 2, 2, body)
    with pytest.raises(vs.KeyMismatchError, match="other blocks"):
        vs.decrypt(wrong, total)
    with pytest.raises(vs.KeyMismatchError):
        vs.decrypt(key, other)


def test_a_share_of_a_wrong_key_is_an_error_and_not_a_wrong_mean(parties):
    rnd, total, key = run(parties, [uniform(4), uniform(4, 1)])
    body = body_of(parties, secret_body(parties.plan), total.blocks)
    wrong = _core.make_sum_key(rnd, key.manifest, 2, 2, body)
    out = np.ones(4)
    with pytest.raises(vs.TamperedSumError, match="N = 4096, a modulus of 60 bits"):
        vs.decrypt(wrong, total, out=out)
    assert not out.any()


def test_a_sum_that_no_clipped_updates_have_is_refused(parties):
    rnd = parties.round(4)
    honest, crafted = (vs.encrypt(rnd, np.zeros(4)) for _ in range(2))
    values = np.zeros(parties.plan.parameters.slots)
    values[2] = 3.0  # of the limit
    words = parties.plan.parameters.context.encrypt(
        np.frombuffer(parties.public.body[32:], "<u8").astype(np.uint64), values
    )
    crafted = _core.make_upload(rnd, 0, words.view(np.uint8))
    total = vs.weighted_sum(rnd, [honest, crafted])
    key = vs.open_sum(parties.secret, rnd, total, uploads=[honest, crafted])
    with pytest.raises(vs.TamperedSumError, match="value 2 of the sum"):
        vs.decrypt(key, total)


# --- several parties -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(available):
    plan = vs.Plan(clients=4, parties=3, engine="openfhe")
    secrets, public = [], None
    for _ in range(3):
        secret, public = openfhe.party_keygen(plan, public)
        secrets.append(secret)
    return plan, secrets, public


def test_all_of_three_parties_open_a_sum(three):
    plan, secrets, public = three
    with pytest.raises(vs.ParameterError, match="party_keygen"):
        vs.keygen(plan)
    with pytest.raises(vs.ParameterError, match="complete"):
        openfhe.party_keygen(plan, public)
    with pytest.raises(vs.KeyMismatchError, match="parties"):
        vs.Round(plan, secrets[1].public_key, size=4)
    rnd = vs.Round.from_bytes(vs.Round(plan, public, size=SIZE).to_bytes())
    updates = [uniform(SIZE, seed) for seed in range(2)]
    uploads = [vs.encrypt(rnd, update) for update in updates]
    total = vs.weighted_sum(rnd, uploads)
    with pytest.raises(vs.ParameterError, match="open_share"):
        vs.open_sum(secrets[0], rnd, total, uploads=uploads)
    shares = [openfhe.open_share(secret, rnd, total, uploads=uploads) for secret in secrets]
    assert [share.party for share in shares] == [0, 1, 2]
    again = openfhe.open_share(secrets[0], rnd, total.opening_request(uploads))
    assert again.to_bytes() == shares[0].to_bytes()
    shares = [openfhe.DecryptionShare.from_bytes(one.to_bytes(), rnd) for one in shares]
    with pytest.raises(vs.RoundError, match="one of each"):
        openfhe.combine_shares(rnd, shares[:2])
    with pytest.raises(vs.RoundError, match="one of each"):
        openfhe.combine_shares(rnd, [shares[0], shares[1], shares[1]])
    key = openfhe.combine_shares(rnd, shares)
    key = vs.SumKey.from_bytes(key.to_bytes(), rnd)
    mean = vs.decrypt(key, total, dtype="float64")
    assert np.abs(mean - np.mean(updates, axis=0, dtype=np.float64)).max() <= plan.error_bound / 2


def test_a_share_is_no_sum_key(three, tmp_path):
    plan, secrets, public = three
    rnd = vs.Round(plan, public, size=4)
    uploads = [vs.encrypt(rnd, np.zeros(4)) for _ in range(2)]
    total = vs.weighted_sum(rnd, uploads)
    shares = [openfhe.open_share(secret, rnd, total, uploads=uploads) for secret in secrets]
    with pytest.raises(vs.KeyMismatchError, match="share of party 1 of 3"):
        vs.decrypt(vs.SumKey.from_bytes(shares[1].to_bytes(), rnd), total)
    # Nor is a sum key a share.
    whole = openfhe.combine_shares(rnd, shares)
    with pytest.raises(vs.WireFormatError, match="whole sum key"):
        openfhe.DecryptionShare.from_bytes(whole.to_bytes(), rnd)
    # One that lies about its role lacks the others' noise and keys.
    body = bytearray(shares[1].key.body)
    body[32] = opening.WHOLE
    with pytest.raises(vs.TamperedSumError):
        vs.decrypt(_core.make_sum_key(rnd, whole.manifest, 2, 2, bytes(body)), total)
    shares[0].save(tmp_path / "share")
    assert (tmp_path / "share").stat().st_mode & 0o777 == 0o600
    assert openfhe.DecryptionShare.load(tmp_path / "share", rnd).party == 0
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(shares[0])


def test_shares_are_opened_under_the_rounds_rules(three, parties):
    plan, secrets, public = three
    rnd = vs.Round(plan, public, size=4, min_clients=3)
    uploads = [vs.encrypt(rnd, np.zeros(4)) for _ in range(4)]
    total = vs.weighted_sum(rnd, uploads[:3])
    with pytest.raises(vs.RoundError, match="summing"):
        openfhe.open_share(secrets[0], rnd, total)
    with pytest.raises(vs.RoundError, match="lists"):
        openfhe.open_share(secrets[0], rnd, total, uploads=uploads[1:])
    openfhe.open_share(secrets[0], rnd, total, uploads=uploads[:3])
    with pytest.raises(vs.RoundError, match="opened"):
        other = vs.weighted_sum(rnd, uploads)
        openfhe.open_share(secrets[0], rnd, other, uploads=uploads)
    stranger, _ = openfhe.party_keygen(plan)
    with pytest.raises(vs.KeyMismatchError):
        openfhe.open_share(stranger, rnd, total, uploads=uploads[:3])
    single = parties.round(4)
    with pytest.raises(vs.ParameterError, match="open_sum"):
        openfhe.open_share(parties.secret, single, total, uploads=uploads[:3])
    native = vs.Plan(clients=2)
    with pytest.raises(vs.RoundError, match="another engine"):
        openfhe.party_keygen(native)


# --- beside OpenFHE itself -----------------------------------------------------------------------


def python_package():
    """Return OpenFHE's Python package, which shares no process with the C++ engine's OpenFHE."""
    if backend.load().name != "Python package":
        pytest.skip("the C++ engine has loaded OpenFHE; `make test-openfhe` runs this")
    import openfhe as library

    return library


def test_the_cores_sums_are_openfhes_byte_for_byte(parties, weighing):
    """Blocks in OpenFHE's format, added by OpenFHE, hold the very residues that the core made."""
    library = python_package()

    def load(blocks):
        return [library.DeserializeCiphertextString(one, library.BINARY) for one in blocks]

    for some, weights in ((parties, None), (weighing, [3, 1, 7])):
        rnd = some.round(SIZE)
        uploads = [vs.encrypt(rnd, uniform(SIZE, seed)) for seed in range(3)]
        trusting = some.round(SIZE, trust_aggregator=True)
        total = vs.weighted_sum(rnd, uploads, weights)
        alone = [Alone(trusting, upload) for upload in uploads]
        columns = zip(*(load(openfhe.export_blocks(one)) for one in alone), strict=True)
        for column, ours in zip(columns, openfhe.export_blocks(total), strict=True):
            context = column[0].GetCryptoContext()
            terms = [
                cipher
                for cipher, weight in zip(column, weights or [1, 1, 1], strict=True)
                for _ in range(weight)
            ]
            theirs = terms[0].Clone()
            for term in terms[1:]:
                context.EvalAddInPlace(theirs, term)
            plan = some.plan.parameters
            raw = bytes(library.Serialize(theirs, library.BINARY))
            runs = [_runs(one, plan.ring_degree, plan.context.moduli) for one in (raw, ours)]
            assert len(runs[0]) == 2 * plan.limbs
            np.testing.assert_array_equal(runs[0], runs[1])


class Alone:
    """An upload as `export_blocks` takes sums: with its round."""

    def __init__(self, rnd, upload):
        self.round, self.blocks = rnd, upload.blocks


def _runs(block, degree, moduli):
    """Cut the residue rows out of a ciphertext in OpenFHE's binary format."""
    from veilsum.engines.openfhe.wheel import _find_runs  # needs the package

    starts = _find_runs(block, degree, moduli * 2)
    return [np.frombuffer(block, "<u8", degree, start) for start in starts]


def test_integer_weights_are_openfhes_multiplication_within_the_bound(weighing):
    library = python_package()
    plan = weighing.plan.parameters
    none = np.empty(0, np.uint64)
    secret, public = plan.context.keygen(none)
    values = uniform(plan.slots).astype(np.float64)
    block = plan.context.encrypt(public, values)
    cipher = library.DeserializeCiphertextString(
        plan.context.block_bytes(block, "0" * 32), library.BINARY
    )
    context = cipher.GetCryptoContext()
    product = context.Rescale(context.EvalMult(cipher, 7.0))
    raw = bytes(library.Serialize(product, library.BINARY))
    degree, prime = plan.ring_degree, plan.context.moduli[0]
    rows = _runs(raw, degree, [prime])
    # Theirs has lost the second prime: opened by hand in the first alone.
    key = secret[:degree].astype(object)
    phase = ((rows[0].astype(object) + rows[1].astype(object) * key) % prime).astype(np.uint64)
    single = context_for(ContextRequest(degree, plan.security, 1, 60, 59))
    assert single.moduli == [prime]
    blocks = np.concatenate([phase, np.zeros(degree, np.uint64)])
    theirs = single.decrypt(blocks, np.zeros(degree, np.uint64)).real
    primes = np.repeat(np.array(plan.context.moduli * 2, dtype=object), degree)
    ours = (block.astype(object) * 7 % primes).astype(np.uint64)
    share = plan.context.share(secret, ours, plan.flooding_deviation)
    ours = plan.context.decrypt(ours, share).real
    # The modulus of 60 bits holds +-0.5 at scale 2^59: values are compared modulo that.
    off = (theirs - 7 * values) / (prime / 2.0**59)
    bound = plan.error_bound
    assert np.abs(off - np.round(off)).max() <= bound
    assert np.abs(ours - 7 * values).max() <= bound


def test_blocks_and_keys_go_to_openfhe_in_its_own_format(parties):
    """The residues on the wire are those of OpenFHE's binary format, in its order."""
    rnd, total, _ = run(parties, [uniform(SIZE), uniform(SIZE, 1)])
    blocks = list(openfhe.export_blocks(total))
    assert len(blocks) == rnd.blocks
    size = 8 * parties.plan.ring_degree
    wire = bytes(total.blocks)
    for index, block in enumerate(blocks):
        at = 0
        for part in range(2):
            first = (2 * index + part) * size
            at = block.find(wire[first : first + size], at)
            assert at > 0
        assert parties.public.id.hex().encode() in block
    key = openfhe.export_public_key(parties.public)
    assert parties.public.id.hex().encode() in key
    assert parties.public.body[-size:] in key


# --- keys of another plan, and what errors say ---------------------------------------------------


def joint_key_that_lies(plan, part):
    """A last party's key of a plan, which names another plan's key as a part."""
    own = plan.parameters
    head = _core.PublicKey(2, openfhe_keys._head(own), [])
    words = own.context.keygen(np.empty(0, np.uint64))[1].astype("<u8").tobytes()
    return _core.PublicKey(2, head.body + words, [part.id])


@pytest.mark.parametrize(
    "made_for, used_in",
    [
        ({"clients": 5, "value_bits": 8, "parties": 2}, {"clients": 2, "value_bits": 2}),
        ({"clients": 5, "value_bits": 8, "parties": 1}, {"clients": 5, "value_bits": 8}),
        (
            # Two primes in the half of the ring: as many words.
            {"clients": 10, "value_bits": 16, "weight_bits": 8, "parties": 2, "profile": "n8192"},
            {"clients": 10, "value_bits": 8, "profile": "n16384"},
        ),
    ],
)
def test_a_partys_key_of_another_plan_opens_nothing(made_for, used_in):
    first = vs.Plan(**made_for, engine="openfhe")
    profile = {} if "profile" in used_in else {"profile": first.profile}
    plan = vs.Plan(**used_in, **profile, engine="openfhe", parties=2)
    assert plan.parameters.polynomial == first.parameters.polynomial
    secret, public = openfhe.party_keygen(first)
    joint = joint_key_that_lies(plan, public)
    rnd = vs.Round(plan, joint, size=10, trust_aggregator=True)
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, np.zeros(10, np.float32)) for _ in range(2)])
    with pytest.raises(vs.KeyMismatchError, match="made for another plan than the round's"):
        openfhe.open_share(secret, rnd, total)


@pytest.mark.parametrize("numbers", [(5, 5), (2, 2), (3, 4)])
def test_shares_must_say_the_same_of_one_aggregate(numbers):
    plan = vs.Plan(5, 8, weight_bits=1, engine="openfhe", parties=2)
    one, public = openfhe.party_keygen(plan)
    two, public = openfhe.party_keygen(plan, public)
    rnd = vs.Round(plan, public, size=10)
    uploads = [vs.encrypt(rnd, uniform(10, seed)) for seed in range(3)]
    total = vs.weighted_sum(rnd, uploads)
    shares = [openfhe.open_share(each, rnd, total, uploads=uploads) for each in (one, two)]
    raw = bytes(shares[0].to_bytes()[16:-4])
    lie = raw[:64] + struct.pack("<IQ", *numbers) + raw[76:]
    liar = openfhe.DecryptionShare.from_bytes(forging.seal(forging.SUM_KEY, lie), rnd)
    for given in ([liar, shares[1]], [shares[1], liar]):
        with pytest.raises(vs.RoundError, match="do not say the same"):
            openfhe.combine_shares(rnd, given)
    key = openfhe.combine_shares(rnd, shares)
    assert (key.count, key.total_weight) == (3, 3)


def test_no_message_has_a_decrypted_number(parties):
    """Under wrong keys, with the numbers that would have been found."""
    rnd, total, key = run(parties, [uniform(4), uniform(4, 1)])
    texts = set()
    for _ in range(3):
        body = body_of(parties, secret_body(parties.plan), total.blocks)
        with pytest.raises(vs.TamperedSumError) as caught:
            vs.decrypt(_core.make_sum_key(rnd, key.manifest, 2, 2, body), total)
        texts.add(str(caught.value))
    assert len(texts) == 1  # nothing in it depends on what was decrypted
