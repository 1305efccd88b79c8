"""Which tensors of a module travel, and that they come back as what they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import veilsum as vs
from veilsum.learning import module_tensors
from veilsum.learning.module_tensors import ModuleTensors, digest
from veilsum.rounding import Grid, dither


class Everything(nn.Module):
    """A module with each kind of tensor that can travel, and each that stays."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.norm = nn.BatchNorm1d(3)
        self.base = nn.Linear(3, 3).requires_grad_(False)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("flags", torch.tensor([True, False, False]))
        self.register_buffer("seen", torch.tensor([3, 4], dtype=torch.int8))
        self.register_buffer("cache", torch.zeros(7), persistent=False)


def test_each_tensor_travels_once_in_its_role() -> None:
    tensors = ModuleTensors(Everything())
    assert {name: one.role for name, one in tensors.carried.items()} == {
        "embedding.weight": "weight",
        "norm.weight": "weight",
        "norm.bias": "weight",
        "norm.running_mean": "figure",
        "norm.running_var": "figure",
        "norm.num_batches_tracked": "count",
        "flags": "count",
        "seen": "count",
    }
    assert tensors.left_out == ("base.weight", "base.bias")
    known = tensors.tensors
    assert known.averaged == {
        "norm.running_mean", "norm.running_var", "norm.num_batches_tracked", "flags", "seen",
    }  # fmt: skip
    assert set(known.first_limits) == set(known.least_limits) == known.averaged
    assert known.first_limits["flags"] == module_tensors.FLAG_LIMIT
    assert known.first_limits["seen"] == known.least_limits["seen"] == module_tensors.COUNT_LIMIT
    assert known.least_limits["norm.running_var"] == module_tensors.FIGURE_LEAST


def test_a_shared_buffer_travels_once() -> None:
    module = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    module[1].running_mean = module[0].running_mean
    carried = ModuleTensors(module).carried
    assert "0.running_mean" in carried
    assert "1.running_mean" not in carried


def test_tensors_go_out_and_in() -> None:
    one, other = Everything(), Everything()
    with torch.no_grad():
        one.norm.running_var.copy_(torch.tensor([0.5, 2.0, 9.0]))
        one.norm.num_batches_tracked.fill_(17)
    tensors = ModuleTensors(one)
    parameters = tensors.read(one)
    assert parameters["norm.num_batches_tracked"].shape == (1,)  # a scalar is one value
    assert all(array.dtype == np.float32 for array in parameters.values())
    tensors.write(other, parameters)
    for name in tensors.carried:
        torch.testing.assert_close(other.state_dict()[name], one.state_dict()[name], rtol=0, atol=0)
    assert other.head.weight is other.embedding.weight
    for name, array in tensors.difference(other, parameters).items():
        assert array.dtype == np.float64
        assert array.shape == parameters[name].shape
        assert not array.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_types_keep_them(dtype: torch.dtype) -> None:
    module = nn.Linear(2, 1, bias=False).to(dtype)
    tensors = ModuleTensors(module)
    parameters = {"weight": np.array([[1 + 2.0**-20, -0.3]], dtype=np.float32)}
    tensors.write(module, parameters)
    assert module.weight.dtype == dtype
    # Nothing was trained, so nothing moved, however coarse the type is.
    assert not tensors.difference(module, parameters)["weight"].any()
    with torch.no_grad():
        module.weight += 0.5
    moved = tensors.difference(module, parameters)["weight"]
    # One addition in the type: values below 2 have a spacing of eps, half of it either way.
    np.testing.assert_allclose(moved, 0.5, atol=torch.finfo(dtype).eps / 2)


def test_a_double_s_update_is_not_rounded_to_float32() -> None:
    module = nn.Linear(1, 1, bias=False).double()
    tensors = ModuleTensors(module)
    parameters = {"weight": np.ones((1, 1), dtype=np.float32)}
    tensors.write(module, parameters)
    with torch.no_grad():
        module.weight += 2.0**-40
    assert tensors.difference(module, parameters)["weight"][0, 0] == 2.0**-40


def test_counts_and_flags_are_rounded_to_the_nearest() -> None:
    module = nn.Module()
    module.weight = nn.Parameter(torch.zeros(1))
    module.register_buffer("flags", torch.zeros(5, dtype=torch.bool))
    module.register_buffer("small", torch.zeros(4, dtype=torch.int8))
    module.register_buffer("byte", torch.zeros(3, dtype=torch.uint8))
    tensors = ModuleTensors(module)
    parameters = {
        "weight": np.zeros(1, dtype=np.float32),
        # The mean of booleans is the share that is True: more than half is True, a tie is False.
        "flags": np.array([0.0, 0.49, 0.5, 0.51, 1.0001], dtype=np.float32),
        "small": np.array([2.4, 2.6, 130.0, -129.0], dtype=np.float32),
        "byte": np.array([-0.2, 1.5, 255.4], dtype=np.float32),
    }
    tensors.write(module, parameters)
    assert module.flags.tolist() == [False, False, False, True, True]
    assert module.small.tolist() == [2, 3, 127, -128]
    assert module.byte.tolist() == [0, 2, 255]
    # Of what parameters hold, not of what was written: the mean of the local values comes out.
    update = tensors.difference(module, parameters)
    for name in ("flags", "small", "byte"):
        local = module.state_dict()[name].double().numpy()
        np.testing.assert_array_equal(parameters[name] + update[name], local)


def test_a_count_is_exact_where_all_clouds_count_the_same() -> None:
    # Five clouds of unequal weights, 8 rounds of 3 steps each, summed at 16 bits with stochastic
    # rounding in the first range: the mean is off by up to a step, and the count never is.
    module = nn.BatchNorm1d(2)
    tensors = ModuleTensors(module)
    parameters = tensors.read(module)
    name = "num_batches_tracked"
    grid = Grid(tensors.tensors.first_limits[name], 16)
    assert grid.step < 0.5
    weights = np.array([0.1, 0.4, 0.9, 1.3, 2.3])
    generator = np.random.default_rng(1)
    off = 0.0
    for number in range(1, 9):
        total = np.zeros(1)
        for weight in weights:
            tensors.write(module, parameters)
            module.num_batches_tracked += 3
            update = {name: weight * tensors.difference(module, parameters)[name]}
            total += dither(update, {name: grid}, generator)[name]
        mean = total / weights.sum()
        parameters[name] = (parameters[name] + mean).astype(np.float32)
        tensors.write(module, parameters)
        assert int(module.num_batches_tracked) == 3 * number
        off = max(off, abs(float(parameters[name][0]) - 3 * number))
    assert 0 < off <= grid.step


def test_first_ranges_have_the_steps_that_are_stated() -> None:
    steps = {
        module_tensors.FIGURE_LIMIT: 0.0005,
        module_tensors.FIGURE_LEAST: 0.00004,
        module_tensors.COUNT_LIMIT: 0.25001,
        module_tensors.FLAG_LIMIT: 0.00013,
    }
    for limit, step in steps.items():
        assert 0.7 * step < Grid(limit, 16).step <= step


def test_a_variance_below_zero_is_written_as_zero() -> None:
    module = nn.BatchNorm1d(2)
    tensors = ModuleTensors(module)
    parameters = tensors.read(module)
    parameters["running_var"] = np.array([-1e-4, 0.25], dtype=np.float32)
    parameters["running_mean"] = np.array([-1e-4, 0.25], dtype=np.float32)
    tensors.write(module, parameters)
    assert module.running_var.tolist() == [0.0, 0.25]
    assert module.running_mean[0] < 0
    assert torch.isfinite(module.eval()(torch.ones(3, 2))).all()


def test_gradients_and_flags_of_the_last_round_are_gone() -> None:
    module = Everything()
    tensors = ModuleTensors(module)
    parameters = tensors.read(module)
    module.head.weight.grad = torch.ones_like(module.head.weight)
    module.norm.weight.requires_grad_(False)
    module.base.weight.requires_grad_(True)
    tensors.write(module, parameters)
    assert module.head.weight.grad is None
    assert module.norm.weight.requires_grad
    assert not module.base.weight.requires_grad


def test_the_digest_covers_what_stays() -> None:
    torch.manual_seed(1)
    module = Everything()
    before = digest(module)
    assert digest(module) == before
    with torch.no_grad():
        module.base.bias[0] += 1
    assert digest(module) != before
    assert digest(module, ("head.weight",)) == digest(module, ("head.weight",))


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.phase = nn.Parameter(torch.zeros(2, dtype=torch.complex64))


class Large(nn.Linear):
    def __init__(self) -> None:
        super().__init__(1, 1)
        self.register_buffer("salt", torch.tensor([2**24 + 1]))


def counters() -> nn.Module:
    module = nn.Module()
    module.register_buffer("count", torch.zeros(1, dtype=torch.int64))
    return module


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Linear(2, 2).requires_grad_(False), r"requires_grad=False\); there is nothing"),
        (nn.ReLU(), "no floating-point tensor that training changes; there is nothing"),
        (counters(), "nothing to average"),
        (Complex(), "phase of the model is complex; keep its real"),
        (nn.LazyLinear(3), "lazy module.*run one batch"),
        (nn.Linear(2, 2, device="meta"), "no values .it is on the meta device"),
    ],
)
def test_what_cannot_travel_is_named(module: nn.Module, words: str) -> None:
    with pytest.raises(vs.ParameterError, match=words):
        ModuleTensors(module)


def test_values_that_float32_cannot_hold_are_named() -> None:
    module = Large()
    with pytest.raises(vs.ParameterError, match=r"salt .*2\^24.*persistent=False"):
        ModuleTensors(module).read(module)
    module.salt.fill_(2**24)
    assert ModuleTensors(module).read(module)["salt"][0] == 2**24
    double = nn.Linear(1, 1).double()
    with torch.no_grad():
        double.weight.fill_(1e300)
    with pytest.raises(vs.ParameterError, match=r"weight of the initial model .*float32"):
        ModuleTensors(double).read(double)


def test_a_module_that_was_rebuilt_or_moved_is_refused() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    tensors = ModuleTensors(module)
    tensors.check_kept(module, torch.device("cpu"))
    module[0] = nn.Linear(2, 3)
    with pytest.raises(vs.ParameterError, match=r"tensor 0\.weight is gone or of another shape"):
        tensors.check_kept(module, torch.device("cpu"))
    module[0] = nn.Linear(2, 2, device="meta")
    with pytest.raises(vs.ParameterError, match=r"is on meta; the task runs on cpu"):
        tensors.check_kept(module, torch.device("cpu"))
