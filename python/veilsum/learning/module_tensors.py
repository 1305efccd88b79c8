"""Which tensors of a PyTorch module travel, and how they leave it and come back.

Learning room, below the tasks that train modules. Parameters of a training are float32 arrays by
name; a module holds tensors of many types, some of them twice, some that never change. Knows no
data, no round and no party.

What travels follows from the module alone, as its factory returns it, so it is the same at every
cloud:

- **Weights**: each parameter with `requires_grad`, once, under its first name, however many
  modules share it. In the module it keeps its own type (float16, bfloat16, float64).
- **Running figures**: each persistent buffer of floats (BatchNorm's means and variances).
- **Counts**: each persistent buffer of integers or booleans. Parameters hold their weighted mean
  as float32; written into the module it is rounded to the nearest, ties to even. So a boolean is
  its weighted majority (False where both sides weigh the same) and a count the rounded mean.

What stays: parameters without `requires_grad` (a frozen base below adapters) and buffers that are
not persistent.

An update is what a weight moved by, from where it was written; of figures and counts it is the
local value minus the one that parameters hold, so that the mean of the updates takes each to the
mean of the local values, and no rounding of a round is left over for the next.

First ranges of updates. With 16 bits a value (32,767 levels a side) a range R has steps of
R / 32,767, and where weights average 1 a mean is within one step of the true one.

- Figures, 16: BatchNorm's figures of inputs of order 1 start at 0 and 1 and move by a few units in
  the first round; the step is 0.0005. Later ranges do not fall below 1 (step 0.00004): clouds that
  differ go on to move a figure whose mean stands still.
- Counts, 2^13: 8,192 training steps in one round of a cloud that weighs 1. The step is a quarter
  (0.250008), so a mean that is whole is written whole: where all clouds count the same, the count
  is exact.
- Booleans, 4: a flip is a change of 1, and a cloud may weigh 4 times the average. The step is
  0.00013: majorities by less are not told from ties.

Counts and booleans keep their first range: a flag may stand for many rounds and then flip.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parameter import is_lazy

from veilsum.arguments import shown
from veilsum.errors import ParameterError
from veilsum.learning.task import COUNT_LIMIT, FLAG_LIMIT, Parameters, Tensors

WEIGHT = "weight"
FIGURE = "figure"
COUNT = "count"

FIGURE_LIMIT = 16.0
FIGURE_LEAST = 1.0

LARGEST_COUNT = 2**24
"""The largest whole number below which float32 holds all others."""


@dataclass(frozen=True)
class Carried:
    """One tensor that travels.

    Parameters
    ----------
    role : str
        "weight", "figure" or "count".
    dtype : torch.dtype
        In the module.
    shape : tuple of int
        In the module; a scalar travels as one value.
    """

    role: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def travels_as(self) -> tuple[int, ...]:
        """Shape of its array."""
        return self.shape or (1,)


class ModuleTensors:
    """The tensors of a module that travel.

    Parameters
    ----------
    module : torch.nn.Module
        As its factory returned it.

    Raises
    ------
    veilsum.ParameterError
        When nothing in it can be averaged, or a tensor cannot travel.
    """

    def __init__(self, module: nn.Module) -> None:
        self.carried: dict[str, Carried] = {}
        self.left_out: tuple[str, ...] = ()
        for name, tensor in _all(module).items():
            _check(name, tensor)
            role = _role(tensor)
            if role:
                self.carried[name] = Carried(role, tensor.dtype, tuple(tensor.shape))
            else:
                self.left_out += (name,)
        if not any(one.role != COUNT for one in self.carried.values()):
            frozen = " (all its parameters have requires_grad=False)" if self.left_out else ""
            raise ParameterError(
                f"the model has no floating-point tensor that training changes{frozen}; there is "
                "nothing to average"
            )
        self._variances = frozenset(_variances(module)) & self.carried.keys()

    @property
    def tensors(self) -> Tensors:
        """What the parameters are, for whoever averages them."""
        first, least = {}, {}
        for name, one in self.carried.items():
            if one.role == FIGURE:
                first[name], least[name] = FIGURE_LIMIT, FIGURE_LEAST
            elif one.role == COUNT:
                limit = FLAG_LIMIT if one.dtype == torch.bool else COUNT_LIMIT
                first[name] = least[name] = limit
        return Tensors(frozenset(first), first, least)

    def describe(self) -> dict[str, list[Any]]:
        """Return each tensor's role, type and shape, as JSON holds them."""
        return {
            name: [one.role, str(one.dtype).removeprefix("torch."), list(one.shape)]
            for name, one in self.carried.items()
        }

    def read(self, module: nn.Module) -> Parameters:
        """Copy a module's tensors into float32 arrays.

        Parameters
        ----------
        module : torch.nn.Module
            On any device.

        Raises
        ------
        veilsum.ParameterError
            When float32 cannot hold a value.
        """
        there = _all(module)
        made: Parameters = {}
        for name, one in self.carried.items():
            array = _double(there[name]).reshape(one.travels_as)
            if one.role == COUNT and np.abs(array).max(initial=0.0) > LARGEST_COUNT:
                raise ParameterError(
                    f"buffer {name} holds whole numbers beyond 2^24, which parameters (float32) "
                    "cannot hold exactly; register it with persistent=False, and it stays at each "
                    "cloud"
                )
            with np.errstate(over="ignore"):
                made[name] = array.astype(np.float32)
            if not np.isfinite(made[name]).all():
                raise ParameterError(
                    f"tensor {name} of the initial model has values that are no finite float32 "
                    "numbers"
                )
        return made

    def write(self, module: nn.Module, parameters: Mapping[str, NDArray[np.float32]]) -> None:
        """Copy arrays into a module, and have gradients for weights alone, none there yet.

        A running variance that the sum's rounding has taken below 0 is written as 0.

        Parameters
        ----------
        module : torch.nn.Module
            Of the same factory, on any device.
        parameters : mapping of str to ndarray
            One array a tensor.
        """
        there = _all(module)
        module.zero_grad(set_to_none=True)
        for name in self.left_out:
            there[name].requires_grad_(False)
        with torch.no_grad():
            for name, one in self.carried.items():
                array = np.asarray(parameters[name], dtype=np.float32).reshape(one.shape)
                if one.role == COUNT:
                    array = _whole(array, one.dtype)
                elif name in self._variances:
                    array = np.maximum(array, np.float32(0))
                there[name].copy_(torch.from_numpy(np.ascontiguousarray(array).reshape(one.shape)))
        for name, one in self.carried.items():
            if one.role == WEIGHT:
                there[name].requires_grad_(True)

    def difference(
        self, module: nn.Module, parameters: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[np.float64]]:
        """Return what training changed, in double precision.

        Parameters
        ----------
        module : torch.nn.Module
            After training.
        parameters : mapping of str to ndarray
            What `write` took.
        """
        there = _all(module)
        update = {}
        for name, one in self.carried.items():
            start = np.asarray(parameters[name]).reshape(one.travels_as)
            if one.role == WEIGHT:
                # A weight of few bits started from the nearest that its type holds.
                start = torch.from_numpy(start).to(one.dtype).double().numpy()
            update[name] = _double(there[name]).reshape(one.travels_as) - start
        return update

    def check_kept(self, module: nn.Module, device: torch.device) -> None:
        """Refuse a module whose tensors are others, or elsewhere, after it was trained.

        Parameters
        ----------
        module : torch.nn.Module
            After training.
        device : torch.device
            Where it was before.

        Raises
        ------
        veilsum.ParameterError
            When a tensor is missing, of another shape or type, or on another device.
        """
        there = _all(module)
        expected = torch.empty(0, device=device).device
        for name, one in self.carried.items():
            tensor = there.get(name)
            if tensor is None or (tensor.dtype, tuple(tensor.shape)) != (one.dtype, one.shape):
                raise ParameterError(
                    f"after training, the model's tensor {name} is gone or of another shape or "
                    "type; train has to change the model that it is given in place"
                )
            if tensor.device != expected:
                raise ParameterError(
                    f"after training, the model's tensor {name} is on {tensor.device}; the task "
                    f"runs on {expected}: use context.device in train, and Task(device=...) to "
                    "choose another"
                )

    def left_out_versions(self, module: nn.Module) -> dict[str, int]:
        """Return a number for each tensor that stays, which grows when it is changed in place.

        Parameters
        ----------
        module : torch.nn.Module
            Of the same factory.
        """
        there = _all(module)
        return {name: there[name]._version for name in self.left_out if name in there}


def digest(module: nn.Module, names: tuple[str, ...] | None = None) -> str:
    """Return a digest of a module's parameters and persistent buffers, frozen ones too.

    Parameters
    ----------
    module : torch.nn.Module
        On any device.
    names : tuple of str, optional
        Of these tensors; of all by default.
    """
    made = hashlib.sha256(b"veilsum/1/initial-model")
    for name, tensor in _all(module).items():
        if names is not None and name not in names:
            continue
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        made.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        if flat.numel():
            made.update(flat.view(torch.uint8).numpy().data)
    return made.hexdigest()


def _all(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return parameters, then persistent buffers; each once, by its first name."""
    kept = module.state_dict(keep_vars=True).keys()
    found: dict[str, torch.Tensor] = dict(module.named_parameters())
    seen: set[int] = set()
    for name, buffer in module.named_buffers(remove_duplicate=False):
        if name in kept and id(buffer) not in seen:
            seen.add(id(buffer))
            found[name] = buffer
    return found


def _check(name: str, tensor: torch.Tensor) -> None:
    if is_lazy(tensor):
        raise ParameterError(
            f"tensor {name} of the model has no shape yet (a lazy module); let the factory run one "
            "batch through the model before it returns it"
        )
    if tensor.is_meta:
        raise ParameterError(
            f"tensor {name} of the model has no values (it is on the meta device); let the factory "
            "return a model with its initial values"
        )
    if tensor.is_complex():
        raise ParameterError(
            f"tensor {name} of the model is complex; keep its real and imaginary part instead "
            "(torch.view_as_real)"
        )
    if tensor.layout != torch.strided:
        raise ParameterError(
            f"tensor {name} of the model is sparse ({shown(str(tensor.layout))}); averaging needs "
            "dense ones"
        )


def _role(tensor: torch.Tensor) -> str:
    """Return what a tensor travels as; empty where it stays."""
    if isinstance(tensor, nn.Parameter):
        return WEIGHT if tensor.requires_grad else ""
    return FIGURE if tensor.is_floating_point() else COUNT


def _variances(module: nn.Module) -> list[str]:
    return [
        f"{name}.running_var" if name else "running_var"
        for name, one in module.named_modules()
        if isinstance(one, nn.modules.batchnorm._NormBase)
    ]


def _double(tensor: torch.Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.detach().to("cpu", torch.float64).numpy()
    return array


def _whole(array: NDArray[np.float32], dtype: torch.dtype) -> NDArray[Any]:
    """Round to what an integer or boolean type holds."""
    rounded = np.rint(np.asarray(array, dtype=np.float64))
    if dtype == torch.bool:
        return np.asarray(rounded >= 1)
    # Parameters are within float32's whole numbers of a count that the type held, give or take a
    # rounding at its ends.
    limits = torch.iinfo(dtype)
    low, high = max(limits.min, -(2**53)), min(limits.max, 2**53)
    return np.asarray(np.clip(rounded, low, high).astype(np.int64))
