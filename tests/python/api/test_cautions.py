"""What passes in silence no longer: clipped values, values lost in a step, dtypes that overflow."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import veilsum as vs
from veilsum.api import cautions
from veilsum.layout.files import read_update, write_update
from veilsum.layout.tensors import BFLOAT16


def stage(clients=2, *, value_bits=16, weight_bits=0, **options):
    plan = vs.Plan(clients, value_bits, weight_bits=weight_bits)
    secret, public = vs.keygen(plan)
    return SimpleNamespace(secret=secret, round=vs.Round(plan, public, **options))


def opened(here, uploads, weights=None):
    total = vs.weighted_sum(here.round, uploads, weights)
    return vs.open_sum(here.secret, here.round, total), total


@pytest.fixture
def silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def uniform(size, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)


def both_ways(here, update, folder, **options):
    """Encrypt in memory and from file to file; returns the warnings of each."""
    path = folder / ("update.safetensors" if isinstance(update, dict) else "update.npy")
    write_update(path, update)
    caught = []
    for work in (
        lambda: vs.encrypt(here.round, update, **options),
        lambda: vs.encrypt_file(here.round, path, folder / "out.up", **options),
    ):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            work()
        assert all(issubclass(one.category, vs.VeilsumWarning) for one in found)
        assert all(one.filename == __file__ for one in found)
        caught.append([str(one.message) for one in found])
    return caught


# --- clipped -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("beyond", "told"), [(0, False), (100, False), (101, True)])
def test_more_than_one_percent_clipped_is_told(tmp_path, beyond, told):
    update = np.full(10_000, 0.5, np.float32)
    update[:beyond] = 3
    for found in both_ways(stage(size=10_000), update, tmp_path):
        assert bool(found) == told
        if told:
            assert "101 of 10,000 values (1.0%) are beyond the round's limit" in found[0]
            assert "3" not in found[0].replace("101", "")  # no value of the update


def test_one_tensor_clipped_among_many_is_told_by_name(tmp_path):
    """A variance of batch normalisation, 25, under the default limit 1."""
    update = {
        "fc.weight": uniform((300, 300)),
        "bn.running_var": np.full(64, 25, np.float32),
        "fc.bias": np.zeros(3, np.float32),
    }
    for found in both_ways(stage(like=update), update, tmp_path):
        assert len(found) == 1
        assert "64 of 90,067 values (0.1%), of tensor 'bn.running_var' 100%," in found[0]
        assert "limit={'bn.running_var': ...}" in found[0]
        assert "25" not in found[0]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_every_dtype_is_looked_at(tmp_path, dtype):
    values = np.full(64, 2, np.float32)
    if dtype == "bfloat16":
        update = (values.view(np.uint32) >> 16).astype(np.uint16).view(BFLOAT16)
    else:
        update = values.astype(dtype)
    like = {"a": np.zeros(30_000, np.float32), "b": update}
    for found in both_ways(stage(like=like), like, tmp_path):
        assert "of tensor 'b' 100%" in found[0]


def test_weights_that_are_numbers_of_rows_clip_everything(tmp_path):
    here = stage(size=1000)
    for weight in (600, 400):
        for found in both_ways(here, uniform(1000) / 2, tmp_path, weight=weight):
            assert "beyond the round's limit" in found[0]
            assert "RowMean" in found[0]
            assert str(weight) not in found[0].replace("1,000", "")


def test_the_reader_of_the_sum_is_told_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = stage(size=100)
    with pytest.warns(vs.VeilsumWarning, match="100 of 100"):
        bad = vs.encrypt(here.round, np.full(100, 5, np.float32))
    key, total = opened(here, [bad, vs.encrypt(here.round, np.ones(100, np.float32))])
    with pytest.warns(vs.VeilsumWarning, match=r"100 of the 200 values in the 2 uploads"):
        vs.decrypt(key, total)
    total.save("total.vs")
    with pytest.warns(vs.VeilsumWarning, match=r"100 of the 200 values in the 2 uploads"):
        vs.decrypt_file(key, vs.AggregateFile("total.vs", here.round), "mean.npy")


def test_a_limit_that_fits_says_nothing(tmp_path, silent):
    update = uniform(5000)
    update[::2] = 0  # zeros are no lost values
    here = stage(size=5000)
    write_update(tmp_path / "in.npy", update)
    uploads = [
        vs.encrypt(here.round, update),
        vs.encrypt(here.round, update, rounding="stochastic"),
    ]
    vs.encrypt_file(here.round, tmp_path / "in.npy", tmp_path / "a.up")
    key, total = opened(here, uploads)
    vs.decrypt(key, total)


# --- lost in a step ------------------------------------------------------------------------------


@pytest.mark.parametrize(("small", "told"), [(500, False), (501, True), (1000, True)])
def test_values_that_become_zero_are_told(tmp_path, small, told):
    step = 1 / 32767
    update = np.full(1000, 0.7, np.float32)
    update[:small] = -0.49 * step
    for found in both_ways(stage(size=1000), update, tmp_path):
        assert bool(found) == told
        if told:
            assert "smaller than half a step" in found[0]
            assert "a step is 3.05e-05" in found[0]


def test_stochastic_rounding_loses_nothing_until_all_is_below_half_a_step(tmp_path):
    step = 1 / 32767
    update = np.full(1000, 0.4 * step, np.float32)
    for found in both_ways(stage(size=1000), update, tmp_path, rounding="stochastic"):
        assert "about 100%" in found[0]
    update[500] = step
    assert both_ways(stage(size=1000), update, tmp_path, rounding="stochastic") == [[], []]


def test_a_limit_far_too_wide_is_told_by_clients_and_readers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = stage(like={"a": uniform(70_000), "b": uniform(5)}, limit=1e9)
    update = {"a": uniform(70_000), "b": uniform(5)}
    for found in both_ways(here, update, tmp_path):
        assert "about 100%" in found[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", vs.VeilsumWarning)
        uploads = [vs.encrypt(here.round, update) for _ in range(2)]
    key, total = opened(here, uploads)
    with pytest.warns(vs.VeilsumWarning, match="all values of the sum are 0") as caught:
        mean = vs.decrypt(key, total)
    assert not mean["a"].any()
    assert caught[0].filename == __file__
    total.save("total.vs")
    with pytest.warns(vs.VeilsumWarning, match="all values of the sum are 0") as caught:
        vs.decrypt_file(key, vs.AggregateFile("total.vs", here.round), "mean.safetensors")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("at", [0, 511, 512, 16_895, 16_896, 199_999])
def test_one_value_is_enough_wherever_it_stands(tmp_path, silent, at):
    update = np.zeros(200_000, np.float16)
    update[at] = 0.5
    here = stage(like=update)
    write_update(tmp_path / "in.npy", update)
    for name in ("a.up", "b.up"):
        vs.encrypt_file(here.round, tmp_path / "in.npy", tmp_path / name)
    total = vs.sum_files(here.round, [tmp_path / "a.up", tmp_path / "b.up"], tmp_path / "total.vs")
    key = vs.open_sum(here.secret, here.round, total)
    vs.decrypt_file(key, total, tmp_path / "mean.npy")
    vs.decrypt(key, vs.Aggregate.load(tmp_path / "total.vs", here.round))
    assert np.flatnonzero(read_update(tmp_path / "mean.npy")).tolist() == [at]


def test_the_shares_are_the_stated_ones():
    assert (cautions.CLIPPED_SHARE, cautions.ZEROED_SHARE) == (0.01, 0.5)
    assert "more than 1 %" in vs.encrypt.__doc__
    assert "half of those" in vs.encrypt.__doc__


# --- dtypes that end below the sum ---------------------------------------------------------------


def test_float16_sums_never_overflow_to_infinity(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    update = np.full(4, 1.5, "f2")
    here = stage(like=update, limit=2.0, weight_bits=16)
    uploads = [vs.encrypt(here.round, update) for _ in range(2)]
    key, total = opened(here, uploads, [30000, 20000])
    total.save("total.vs")
    stored = vs.AggregateFile("total.vs", here.round)
    words = r"result is float16, which ends at 65504, but may come to 1e\+05"
    with pytest.raises(vs.HeadroomError, match=words):
        vs.decrypt(key, total, average=False)
    with pytest.raises(vs.HeadroomError, match=words):
        vs.decrypt_file(key, stored, "sum.npy", average=False)
    assert not (tmp_path / "sum.npy").exists()
    # The remedies of the message.
    for dtype in ("float32", np.float32):
        np.testing.assert_allclose(vs.decrypt(key, total, average=False, dtype=dtype), 75000, 1e-4)
        vs.decrypt_file(key, stored, "sum.npy", average=False, dtype=dtype)
        np.testing.assert_allclose(np.load("sum.npy"), 75000, 1e-4)
    mean = vs.decrypt(key, total)
    assert mean.dtype == np.float16
    np.testing.assert_allclose(mean, 1.5, 1e-3)


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize(("dtype", "largest"), [("float16", 65504.0), ("float32", 3.4e38)])
def test_both_edges_of_a_dtype(dtype, largest, average):
    update = {"a": np.zeros(2, dtype), "b": np.zeros(2, np.float64)}
    for factor, fits in ((1.0, True), (1.01, False)):
        limit = largest * factor / (1 if average else 2)
        here = stage(like=update, limit={"a": limit, "b": 1e100})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", vs.VeilsumWarning)
            key, total = opened(here, [vs.encrypt(here.round, update) for _ in range(2)])
            if fits:
                vs.decrypt(key, total, average=average)
                continue
            with pytest.raises(vs.HeadroomError, match=f"tensor 'a' is {dtype}"):
                vs.decrypt(key, total, average=average)
            vs.decrypt(key, total, average=average, dtype="float64")


def test_a_wide_limit_never_gives_infinity():
    """Values at the ends of a float32 range, where the quantised ones lie beyond it."""
    update = np.full(8, np.finfo(np.float32).max)
    here = stage(size=8, limit=3.5e38)
    key, total = opened(here, [vs.encrypt(here.round, update) for _ in range(2)])
    with pytest.raises(vs.HeadroomError, match=r"dtype='float64'"):
        vs.decrypt(key, total)
    out = np.zeros(8, np.float32)
    with pytest.raises(vs.HeadroomError):
        vs.decrypt(key, total, out=out)
    assert np.isfinite(vs.decrypt(key, total, dtype="float64")).all()
    vs.decrypt(key, total, out=np.zeros(8))


# --- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0, -1, 0.0, -0.5, np.float32(-2), float("nan"), float("inf")])
def test_a_client_weighs_more_than_nothing(tmp_path, weight):
    here = stage(size=3)
    np.save(tmp_path / "in.npy", np.ones(3, np.float32))
    for work in (
        lambda: vs.encrypt(here.round, np.ones(3), weight=weight),
        lambda: vs.encrypt_file(here.round, tmp_path / "in.npy", tmp_path / "a.up", weight=weight),
    ):
        with pytest.raises(vs.ParameterError, match=r"finite and above 0.*takes no part"):
            work()
    assert not (tmp_path / "a.up").exists()


@pytest.mark.parametrize(
    "weights", [[0.2, 0.3, 0.5], [2, 3, 5], [1, 1, 2], np.array([0.2, 0.3, 0.5])]
)
@pytest.mark.parametrize("clients", [3, 10])
def test_weights_that_a_plan_cannot_use_are_refused(tmp_path, monkeypatch, weights, clients):
    """Floats gave the plain mean in silence, where integers raised."""
    monkeypatch.chdir(tmp_path)
    here = stage(clients, size=5)
    names = []
    for index in range(3):
        names.append(f"{index}.up")
        vs.encrypt(here.round, uniform(5, index)).save(names[-1])
    uploads = [vs.Upload.load(name, here.round) for name in names]
    for work in (
        lambda: vs.weighted_sum(here.round, uploads, weights),
        lambda: vs.sum_files(here.round, names, "total.vs", weights),
    ):
        with pytest.raises(vs.HeadroomError, match=r"unit weights only.*weight_bits >= 1"):
            work()
    # Weights that are all the same are the plain mean, and mean it.
    vs.weighted_sum(here.round, uploads, [0.25, 0.25, 0.25])
    vs.weighted_sum(here.round, uploads, [1, 1, 1])


def test_weights_that_a_plan_holds_badly_are_told():
    here = stage(3, size=5, weight_bits=1)
    uploads = [vs.encrypt(here.round, uniform(5, index)) for index in range(3)]
    with pytest.warns(vs.VeilsumWarning, match=r"share of the sum is off by \d+\.\d% of the whole"):
        vs.weighted_sum(here.round, uploads, [0.01, 0.01, 0.98])
    wide = stage(3, size=5, weight_bits=12)
    uploads = [vs.encrypt(wide.round, uniform(5, index)) for index in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vs.weighted_sum(wide.round, uploads, [0.01, 0.01, 0.98])
        vs.weighted_sum(here.round, [vs.encrypt(here.round, uniform(5)) for _ in range(2)], [1, 3])
