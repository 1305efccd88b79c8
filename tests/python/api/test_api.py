"""The Python API end to end: what a user types, what comes back, and every way to get it wrong."""

from __future__ import annotations

import copy
import os
import pickle
import re
import signal
import stat
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import veilsum as vs
from veilsum.api.weights import integer_weights
from veilsum.layout.tensors import BFLOAT16

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed (extra 'train')")


@pytest.fixture(scope="module")
def plan():
    return vs.Plan(clients=4, value_bits=16)


@pytest.fixture(scope="module")
def keys(plan):
    return vs.keygen(plan)


def half_step(limit=1.0, bits=16):
    """The largest error of a mean of values rounded to nearest: half a quantisation step."""
    return limit / (2 ** (bits - 1) - 1) / 2


def uniform(size, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).uniform(-1, 1, size).astype(dtype)


def make_round(plan, keys, **options):
    return vs.Round(plan, keys[1], **options)


def mean_of(keys, rnd, updates, **options):
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, update) for update in updates])
    return vs.decrypt(vs.open_sum(keys[0], rnd, total), total, **options)


# --- as printed ----------------------------------------------------------------------------------


def test_the_printed_example():
    """DESIGN.md section 6, word for word, with fewer values."""
    updates = [uniform(1000, seed) for seed in range(10)]
    code = """\
import numpy as np, veilsum as vs

plan = vs.Plan(clients=10, value_bits=16)              # explains itself: print(plan)
secret, public = vs.keygen(plan)
rnd = vs.Round(plan, public, size=1000, limit=1.0)   # values are clipped to ±limit, and counted
uploads = [vs.encrypt(rnd, update) for update in updates]  # NumPy, torch CPU or CUDA tensors
total = vs.weighted_sum(rnd, uploads)                      # or weights=[...]
key = vs.open_sum(secret, rnd, total)
mean = vs.decrypt(key, total, average=True)                # float32, np.ndarray
"""
    scope = {"updates": updates}
    exec(code, scope)
    mean = scope["mean"]
    assert isinstance(mean, np.ndarray)
    assert mean.dtype == np.float32
    assert mean.shape == (1000,)
    np.testing.assert_allclose(mean, np.mean(updates, axis=0), rtol=0, atol=half_step() + 1e-6)


def test_the_quickstart_has_the_printed_calls():
    text = (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8")
    for line in (
        "import numpy as np, veilsum as vs",
        "plan = vs.Plan(clients=10, value_bits=16)",
        "secret, public = vs.keygen(plan)",
        "rnd = vs.Round(plan, public, size=10_000_000, limit=1.0)",
        "uploads = [vs.encrypt(rnd, update) for update in updates]",
        "total = vs.weighted_sum(rnd, uploads)",
        "key = vs.open_sum(secret, rnd, total)",
        "mean = vs.decrypt(key, total, average=True)",
    ):
        assert f"\n{line}" in text


@pytest.mark.slow
def test_the_quickstart_runs():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "quickstart.py"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "largest error of the mean" in done.stdout


def test_a_plan_explains_itself(plan):
    assert str(plan) == plan.explain()
    for word in ("clients", "digits", "security", "bytes a value"):
        assert word in str(plan)


# --- what goes in comes out ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 0, 3, 1), ()])
def test_one_array_comes_back_with_its_shape_and_dtype(plan, keys, dtype, shape):
    example = np.zeros(shape, dtype)
    if example.size == 0:
        with pytest.raises(vs.ParameterError, match="holds no value"):
            make_round(plan, keys, like=example)
        return
    updates = [np.asarray(uniform(shape, seed), dtype) for seed in range(3)]
    mean = mean_of(keys, make_round(plan, keys, like=example), updates)
    assert mean.dtype == dtype
    assert mean.shape == shape
    exact = np.mean(np.asarray(updates, np.float64), axis=0)
    slack = half_step() + np.finfo(dtype).eps
    np.testing.assert_allclose(np.asarray(mean, np.float64), exact, rtol=0, atol=slack)


def test_a_state_dict_of_mixed_dtypes(plan, keys):
    def state(seed):
        return {
            "w": uniform((4, 3), seed),
            "none": np.zeros((0, 7), np.float32),
            "scale": np.array(0.25 * seed, np.float64),
            "half": uniform(9, seed, np.float16),
        }

    updates = [state(seed) for seed in range(3)]
    mean = mean_of(keys, make_round(plan, keys, like=state(0)), updates)
    assert list(mean) == list(updates[0])
    for name, first in updates[0].items():
        assert mean[name].dtype == first.dtype
        assert mean[name].shape == first.shape
        exact = np.mean([np.asarray(update[name], np.float64) for update in updates], axis=0)
        slack = half_step() + np.finfo(first.dtype).eps
        np.testing.assert_allclose(
            np.asarray(mean[name], np.float64), exact, rtol=0, atol=slack, err_msg=name
        )


def test_a_torch_state_dict_comes_back_as_one(torch, plan, keys):
    def model(seed):
        torch.manual_seed(seed)
        layers = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.LayerNorm(4).bfloat16())
        layers.register_parameter("gain", torch.nn.Parameter(torch.rand(()).double()))
        return layers

    states = [model(seed).state_dict() for seed in range(3)]
    rnd = make_round(plan, keys, like=states[0], limit=dict.fromkeys(states[0], 2.0))
    mean = mean_of(keys, vs.Round.from_bytes(rnd.to_bytes()), states)
    assert list(mean) == list(states[0])
    for name, first in states[0].items():
        assert mean[name].dtype == first.dtype
        assert mean[name].shape == first.shape
        assert mean[name].device.type == "cpu"
        exact = torch.stack([state[name].double() for state in states]).mean(0)
        slack = half_step(2.0) + 2 * torch.finfo(first.dtype).eps
        assert (mean[name].double() - exact).abs().max() <= slack
    model(9).load_state_dict(mean)  # strict: names and shapes are those of the model


def test_torch_bfloat16_is_read_exactly(torch, plan, keys):
    values = torch.tensor([1.0, -0.5, 0.15625, 0.0], dtype=torch.bfloat16)
    rnd = make_round(plan, keys, size=4)
    as_bfloat16 = mean_of(keys, rnd, [values, values])
    again = make_round(plan, keys, size=4)
    np.testing.assert_array_equal(as_bfloat16, mean_of(keys, again, [values.float()] * 2))


@pytest.mark.gpu
def test_a_cuda_tensor_is_encrypted_like_a_cpu_one(torch, plan, keys):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    values = torch.rand(1000)
    on_cpu = mean_of(keys, make_round(plan, keys, size=1000), [values] * 2)
    on_gpu = mean_of(keys, make_round(plan, keys, size=1000), [values.cuda()] * 2)
    np.testing.assert_array_equal(on_cpu, on_gpu)


def test_numpy_clients_in_a_torch_round_and_the_reverse(torch, plan, keys):
    array = uniform((2, 3))
    mean = mean_of(keys, make_round(plan, keys, like=torch.zeros(2, 3)), [array, array])
    assert isinstance(mean, torch.Tensor)
    mean = mean_of(keys, make_round(plan, keys, like=array), [torch.from_numpy(array)] * 2)
    assert isinstance(mean, np.ndarray)
    rnd = make_round(plan, keys, like=torch.zeros(2, 3))
    assert isinstance(mean_of(keys, rnd, [array, array], output="numpy"), np.ndarray)


def test_strided_updates_are_summed_as_they_read(plan, keys):
    wide = uniform((6, 10))
    view = wide[::2, 1::3]
    mean = mean_of(keys, make_round(plan, keys, like=view), [view, view])
    np.testing.assert_allclose(mean, view, rtol=0, atol=half_step() + 1e-6)


def test_a_bfloat16_numpy_array_round_trips(plan, keys):
    bits = np.array([0x3F80, 0xBF00, 0x0000], np.uint16)  # 1, -0.5, 0
    update = {"x": bits.view(BFLOAT16), "y": uniform(3)}
    mean = mean_of(keys, make_round(plan, keys, like=update), [update, update])
    assert mean["x"].dtype.itemsize == 2
    np.testing.assert_array_equal(mean["x"].view(np.uint16), bits)


# --- weights, averages, dtypes -------------------------------------------------------------------


def test_sum_and_mean(plan, keys):
    updates = [uniform(100, seed) for seed in range(3)]
    rnd = make_round(plan, keys, size=100)
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, update) for update in updates])
    key = vs.open_sum(keys[0], rnd, total)
    mean = vs.decrypt(key, total, dtype="float64")
    whole = vs.decrypt(key, total, average=False, dtype="float64")
    assert mean.dtype == whole.dtype == np.float64
    np.testing.assert_allclose(whole, 3 * mean, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(whole, np.sum(updates, axis=0), rtol=0, atol=3 * half_step())


def test_homomorphic_weights():
    plan = vs.Plan(3, weight_bits=8)
    keys = vs.keygen(plan)
    updates = [uniform(50, seed) for seed in range(3)]

    def mean(weights):
        rnd = make_round(plan, keys, size=50)
        uploads = [vs.encrypt(rnd, update) for update in updates]
        total = vs.weighted_sum(rnd, uploads, weights)
        return total, vs.decrypt(vs.open_sum(keys[0], rnd, total), total)

    total, result = mean([1, 2, 5])
    assert (total.weights, total.total_weight) == ([1, 2, 5], 8)
    exact = np.average(updates, axis=0, weights=[1, 2, 5])
    np.testing.assert_allclose(result, exact, rtol=0, atol=half_step() + 1e-6)
    total, result = mean(np.array([0.125, 0.25, 0.625]))  # proportions fill the headroom
    assert total.total_weight == plan.max_weight == 3 * 2**8
    # Each weight is within 1 of its exact share of 768.
    np.testing.assert_allclose(result, exact, rtol=0, atol=half_step() + 3 / 768)
    total, _ = mean([0.5, 0.5, 0.5])
    assert total.weights == [1, 1, 1]


proportions = st.lists(
    st.floats(1e-6, 1e6, allow_nan=False, allow_infinity=False), min_size=2, max_size=12
)


@given(proportions, st.integers(0, 12))
def test_proportions_become_the_nearest_integers(weights, bits):
    capacity = len(weights) << bits
    result = integer_weights(weights, capacity)
    if len(set(weights)) == 1:
        assert result == [1] * len(weights)
        return
    assert sum(result) == capacity
    assert min(result) >= 1
    whole = sum(map(Fraction, weights))
    exact = [Fraction(weight) * capacity / whole for weight in weights]
    if all(share >= 1 for share in exact):
        worst = max(abs(got - want) for got, want in zip(result, exact, strict=True))
        assert worst < 1
    for low, small in zip(weights, result, strict=True):
        for high, large in zip(weights, result, strict=True):
            assert low >= high or small <= large


def test_integers_stay_as_they_are():
    assert integer_weights([1, 2, 10**6], 4) == [1, 2, 10**6]
    assert integer_weights(np.array([3, 4]), 100) == [3, 4]
    assert integer_weights([1, 2.0], 6) == [2, 4]


def test_out_is_filled_and_returned(plan, keys):
    rnd = make_round(plan, keys, like=np.zeros((4, 5), np.float32))
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, uniform((4, 5), s)) for s in range(2)])
    key = vs.open_sum(keys[0], rnd, total)
    expected = vs.decrypt(key, total)
    for dtype in (np.float32, np.float64):
        out = np.full((4, 5), np.nan, dtype)
        assert vs.decrypt(key, total, out=out) is out
        np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-9)
    for bad, words in [
        (np.zeros(19, np.float32), "19 values"),
        (np.zeros(20, np.float16), "float16"),
        (np.zeros((5, 4), np.float32).T, "C-contiguous"),
        (np.broadcast_to(np.float32(0), (4, 5)), "C-contiguous and writable"),
        ([0.0] * 20, "list"),
    ]:
        with pytest.raises(vs.ParameterError, match=words):
            vs.decrypt(key, total, out=bad)
    with pytest.raises(vs.ParameterError, match="another dtype"):
        vs.decrypt(key, total, out=np.zeros(20, np.float32), dtype="float64")


@pytest.mark.parametrize("option", [{"dtype": "float16"}, {"dtype": 3}, {"output": "jax"}])
def test_bad_options_of_decrypt(plan, keys, option):
    rnd = make_round(plan, keys, size=5)
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, uniform(5)) for _ in range(2)])
    key = vs.open_sum(keys[0], rnd, total)
    ((name, value),) = option.items()
    with pytest.raises(vs.ParameterError, match=re.escape(f"{name} is {value!r}")):
        vs.decrypt(key, total, **option)


# --- clipping, rounding, threads, progress -------------------------------------------------------


@pytest.mark.filterwarnings("ignore::veilsum.VeilsumWarning")  # small on purpose
def test_stochastic_rounding_is_unbiased(plan, keys):
    # A value a quarter of a step above a grid point: to nearest it is always lost; at random its
    # mean over n values is within 5 sigma of it (false alarms: one run in 1.7 million).
    n, step = 40_000, 2 * half_step()
    value = np.full(n, 0.25 * step, np.float64)
    rnd = make_round(plan, keys, size=n)
    total = vs.weighted_sum(
        rnd, [vs.encrypt(rnd, value, rounding="stochastic"), vs.encrypt(rnd, np.zeros(n))]
    )
    mean = 2 * vs.decrypt(vs.open_sum(keys[0], rnd, total), total, dtype="float64")
    assert set(np.round(mean / step).astype(int)) == {0, 1}
    sigma = step * np.sqrt(0.25 * 0.75 / n)
    assert abs(mean.mean() - 0.25 * step) < 5 * sigma


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"rounding": "up"}, "rounding = 'up'"),
        ({"on_clip": "ignore"}, "on_clip = 'ignore'"),
        ({"weight": float("nan")}, "weight"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": -1}, "threads is -1"),
        ({"threads": 1.5}, "threads is 1.5"),
    ],
)
def test_bad_options_of_encrypt(plan, keys, option, words):
    rnd = make_round(plan, keys, size=5)
    with pytest.raises(vs.ParameterError, match=words):
        vs.encrypt(rnd, uniform(5), **option)


def test_any_number_of_threads_gives_the_same_values(plan, keys):
    rnd = make_round(plan, keys, size=200_000)
    uploads = [vs.encrypt(rnd, uniform(200_000, s), threads=s + 1) for s in range(3)]
    total = vs.weighted_sum(rnd, uploads, threads=1)
    key = vs.open_sum(keys[0], rnd, total)
    one, three = (vs.decrypt(key, total, threads=threads) for threads in (1, 3))
    assert one.tobytes() == three.tobytes()
    again = vs.weighted_sum(rnd, uploads, threads=3)
    assert again.to_bytes() == total.to_bytes()


def test_progress_counts_up_to_all_on_this_thread(plan, keys):
    size = 500_000
    rnd = make_round(plan, keys, size=size)
    calls = []

    def watch(done, total):
        calls.append((done, total, threading.get_ident()))

    upload = vs.encrypt(rnd, uniform(size), progress=watch, threads=2)
    total = vs.weighted_sum(rnd, [upload, vs.encrypt(rnd, uniform(size, 1))])
    key = vs.open_sum(keys[0], rnd, total)
    encrypting = list(calls)
    calls.clear()
    vs.decrypt(key, total, progress=watch)
    for seen in (encrypting, calls):
        assert {who for _, _, who in seen} == {threading.get_ident()}
        assert {whole for _, whole, _ in seen} == {size}
        amounts = [done for done, _, _ in seen]
        assert amounts == sorted(amounts)
        assert amounts[-1] == size


# --- three things users get wrong, and what they read --------------------------------------------


def test_mistake_nan_in_an_update(plan, keys, torch):
    """It is named, by tensor and place, in torch's own dtypes too; nothing is encrypted."""
    state = {"a": torch.zeros(3), "b": torch.zeros(2, 4, dtype=torch.bfloat16)}
    rnd = make_round(plan, keys, like=state)
    state["b"][1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"tensor 'b' at \[1, 2\] is not finite \(value 9"):
        vs.encrypt(rnd, state)


def test_mistake_forgetting_that_counters_are_not_averaged(torch, plan, keys):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    with pytest.raises(vs.ParameterError) as caught:
        make_round(plan, keys, like=model.state_dict())
    message = str(caught.value)
    assert "'1.num_batches_tracked'" in message  # the thing
    assert "torch.int64" in message  # the value received
    assert "floating-point" in message  # the rule
    assert "leave it out" in message  # the remedy


def test_mistake_a_model_that_has_grown(plan, keys):
    rnd = make_round(plan, keys, like={"w": np.zeros((3, 2), np.float32)})
    with pytest.raises(vs.ParameterError) as caught:
        vs.encrypt(rnd, {"w": np.zeros((4, 2), np.float32)})
    message = str(caught.value)
    assert "tensor 'w'" in message
    assert "[4, 2]" in message
    assert "[3, 2]" in message
    assert "every client's update must have the round's shapes" in message


def test_mistake_both_or_neither_of_size_and_like(plan, keys):
    with pytest.raises(vs.ParameterError, match=r"either size .* or like .* neither is given"):
        make_round(plan, keys)
    with pytest.raises(vs.ParameterError, match="both are given"):
        make_round(plan, keys, size=3, like=np.zeros(3))


# --- bytes and files -----------------------------------------------------------------------------


@pytest.fixture
def parts(plan, keys):
    """One of everything, and how to read it back."""
    rnd = make_round(plan, keys, like={"w": np.zeros((2, 3), np.float32)})
    upload = vs.encrypt(rnd, {"w": uniform((2, 3))})
    total = vs.weighted_sum(rnd, [upload, vs.encrypt(rnd, {"w": uniform((2, 3), 1)})])
    key = vs.open_sum(keys[0], rnd, total)
    return {
        "plan": (plan, ()),
        "public": (keys[1], ()),
        "secret": (keys[0], ()),
        "round": (rnd, ()),
        "upload": (upload, (rnd,)),
        "total": (total, (rnd,)),
        "request": (total.opening_request(), (rnd,)),
        "sum_key": (key, (rnd,)),
    }


NAMES = ["plan", "public", "secret", "round", "upload", "total", "request", "sum_key"]
SECRET = ["secret", "sum_key"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("as_path", [Path, str])
def test_bytes_and_files_round_trip(parts, tmp_path, name, as_path):
    thing, context = parts[name]
    data = thing.to_bytes()
    again = type(thing).from_bytes(data, *context)
    assert type(again) is type(thing)
    assert again.to_bytes() == data
    assert type(thing).from_bytes(bytearray(data), *context).to_bytes() == data
    path = as_path(tmp_path / "thing")
    thing.save(path)
    assert type(thing).load(path, *context).to_bytes() == data
    mode = stat.S_IMODE((tmp_path / "thing").stat().st_mode)
    assert (mode & 0o077 == 0) == (name in SECRET)


def test_a_round_with_a_bad_layout_is_refused(plan, keys):
    """Well-formed for the core, which does not read layouts, and still not for Python."""
    for layout in (b"{}", b'{"kind":"flat","layout":1,"size":6}', b"\xff"):
        core = vs._core.Round(plan.facts, keys[1], [(5, 1.0)], layout)
        with pytest.raises(vs.WireFormatError):
            vs.Round.from_bytes(core.to_bytes())
        with pytest.raises(vs.WireFormatError):
            vs.Round.of_core(core)
    split = b'{"kind":"mapping","layout":1,"library":"numpy","tensors":[["a","float32",[5]]]}'
    core = vs._core.Round(plan.facts, keys[1], [(2, 1.0), (3, 1.0)], split)
    with pytest.raises(vs.WireFormatError, match="does not fit its segments"):
        vs.Round.from_bytes(core.to_bytes())


def test_a_round_without_a_layout_sums_a_flat_vector(plan, keys):
    core = vs._core.Round(plan.facts, keys[1], [(5, 1.0)])
    rnd = vs.Round.from_bytes(core.to_bytes())
    assert rnd.layout.kind == "flat"
    assert mean_of(keys, rnd, [uniform(5), uniform(5)]).shape == (5,)


def test_the_layout_travels_in_the_round(plan, keys):
    state = {"w": uniform((2, 3)), "b": np.zeros((), np.float64)}
    rnd = make_round(plan, keys, like=state, limit={"w": 1.0, "b": 2.0}, min_clients=3)
    again = vs.Round.from_bytes(rnd.to_bytes())
    assert again == rnd
    assert hash(again) == hash(rnd)
    assert again.layout == rnd.layout
    assert again.segments == [(6, 1.0), (1, 2.0)]
    assert again.min_clients == 3
    assert pickle.loads(pickle.dumps(rnd)) == rnd
    assert copy.deepcopy(rnd).layout == rnd.layout
    assert rnd != make_round(plan, keys, like=state)
    assert "7 values in 2 tensors" in repr(rnd)


# --- secrets -------------------------------------------------------------------------------------


def test_numbers_and_dtypes_of_numpy_and_torch(plan, keys, tmp_path, monkeypatch):
    """What comes out of array code goes in: np.int64(1) threads, np.float32 as a dtype."""
    monkeypatch.chdir(tmp_path)
    rnd = make_round(plan, keys, size=5)
    np.save("a.npy", uniform(5))
    uploads = [vs.encrypt(rnd, uniform(5), threads=np.int64(1)) for _ in range(2)]
    total = vs.weighted_sum(rnd, uploads, threads=np.uint8(2))
    vs.encrypt_file(rnd, "a.npy", "a.up", threads=np.int32(1))
    key = vs.open_sum(keys[0], rnd, total)
    dtypes = [("float32", np.float32), ("float64", np.float64), ("float64", np.dtype("float64"))]
    dtypes += [("float64", float), ("float32", np.dtype("<f4"))]
    torch = sys.modules.get("torch")
    dtypes += [] if torch is None else [("float32", torch.float32), ("float64", torch.float64)]
    total.save("total.vs")
    for name, dtype in dtypes:
        mean = vs.decrypt(key, total, dtype=dtype)
        assert mean.dtype == name
        vs.decrypt_file(key, vs.AggregateFile("total.vs", rnd), "mean.npy", dtype=dtype)
        np.testing.assert_array_equal(np.load("mean.npy"), mean)
    for bad in (np.float16, np.int64, object, ">f4", uniform(5)):
        with pytest.raises(vs.ParameterError, match="must be 'float32' or 'float64'"):
            vs.decrypt(key, total, dtype=bad)
    for bad in (np.int64(0), True, np.bool_(True), 1.0, np.float64(1), "1"):
        with pytest.raises(vs.ParameterError, match=r"threads is .*whole number of at least 1"):
            vs.encrypt(rnd, uniform(5), threads=bad)


def test_every_error_is_a_veilsum_error():
    for name in vs.__all__:
        thing = getattr(vs, name)
        if isinstance(thing, type) and issubclass(thing, Exception):
            if issubclass(thing, Warning):
                assert name == "VeilsumWarning"
                continue
            assert issubclass(thing, vs.VeilsumError)
            assert thing.__module__ == "veilsum"
    assert issubclass(vs.ParameterError, ValueError)


# --- missing extras ------------------------------------------------------------------------------


def test_torch_missing_where_torch_is_wanted(torch, plan, keys, tmp_path):
    """The sum of a torch round is asked for on a machine without torch."""
    code = """
import sys
sys.modules["torch"] = None  # what an import meets when the package is missing
import veilsum as vs, numpy as np
rnd = vs.Round.load(sys.argv[1])
total = vs.Aggregate.load(sys.argv[2], rnd)
key = vs.SumKey.load(sys.argv[3], rnd)
assert vs.decrypt(key, total, output="numpy").shape == (2, 3)
try:
    vs.decrypt(key, total)
except vs.BackendUnavailableError as error:
    print(error)
"""
    rnd = make_round(plan, keys, like=torch.zeros(2, 3))
    total = vs.weighted_sum(rnd, [vs.encrypt(rnd, torch.rand(2, 3)) for _ in range(2)])
    key = vs.open_sum(keys[0], rnd, total)
    paths = [str(tmp_path / name) for name in ("round", "total", "key")]
    for thing, path in zip((rnd, total, key), paths, strict=True):
        thing.save(path)
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], check=True, capture_output=True, text=True
    )
    assert "'torch'" in done.stdout
    assert "pip install '.[train]' in Veilsum's repository" in done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_others_encrypt_can_encrypt():
    """The core keeps large buffers behind a lock, which a fork must not leave locked."""
    plan = vs.Plan(clients=4)
    rnd = vs.Round(plan, vs.keygen(plan)[1], size=3_000_000, limit=1.0)  # 9.4 MB an upload
    update = np.zeros(3_000_000, np.float32)
    stop = threading.Event()

    def others():
        while not stop.is_set():
            vs.encrypt(rnd, update, threads=1)

    threads = [threading.Thread(target=others) for _ in range(2)]
    for thread in threads:
        thread.start()
    endings = []
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                signal.alarm(60)  # ends a child that waits for a lock nobody holds there
                status = 1
                try:
                    vs.encrypt(rnd, update, threads=1)
                    status = 0
                finally:
                    os._exit(status)
            endings.append(os.waitpid(child, 0)[1])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert endings == [0] * 10
