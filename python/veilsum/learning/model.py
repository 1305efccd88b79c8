"""The network, and its parameters as plain arrays.

Federated loop. Parameters move between participants as float32 arrays by name; this module turns
them into a PyTorch module on a device and back. It knows nothing of rounds or encryption.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from veilsum.arguments import check_type, check_whole, shown
from veilsum.errors import BackendUnavailableError, ParameterError
from veilsum.learning.options import ModelOptions
from veilsum.learning.seeds import torch_seed

_MOST_INPUTS = 1 << 24

Parameters = dict[str, NDArray[np.float32]]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def build_network(options: ModelOptions, inputs: int) -> nn.Sequential:
    """Build a multilayer perceptron with one logit as output.

    Parameters
    ----------
    options : ModelOptions
        Widths, activation, dropout.
    inputs : int
        Number of input columns, 1 to 2^24.

    Raises
    ------
    veilsum.ParameterError
        When there are none, or more.
    """
    layers: list[nn.Module] = []
    width = check_whole("inputs", inputs)
    if not 1 <= width <= _MOST_INPUTS:
        raise ParameterError(f"inputs is {shown(width)}; a network has 1 to 2^24 input columns")
    for hidden in options.hidden:
        layers += [nn.Linear(width, hidden), _ACTIVATIONS[options.activation]()]
        if options.dropout:
            layers.append(nn.Dropout(options.dropout))
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, 1))


def blank_network(options: ModelOptions, inputs: int, device: torch.device) -> nn.Sequential:
    """Build a network on a device whose parameters will be written before use.

    PyTorch draws initial values all the same; its global generator is left as it was.

    Parameters
    ----------
    options : ModelOptions
        The network.
    inputs : int
        Number of input columns.
    device : torch.device
        Where to put it.
    """
    check_type("blank_network(options, inputs, device)", "device", device, torch.device)
    with torch.random.fork_rng(devices=[]):
        return build_network(options, inputs).to(device)


def count_values(options: ModelOptions, inputs: int) -> int:
    """Return how many parameters the network has.

    Parameters
    ----------
    options : ModelOptions
        The network.
    inputs : int
        Number of input columns.
    """
    widths = [inputs, *options.hidden, 1]
    return sum((widths[i] + 1) * widths[i + 1] for i in range(len(widths) - 1))


def initial_parameters(options: ModelOptions, inputs: int, seed: int) -> Parameters:
    """Return the parameters that every participant starts from.

    They are public, and follow from the configuration alone.

    Parameters
    ----------
    options : ModelOptions
        The network.
    inputs : int
        Number of input columns.
    seed : int
        The run's seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch_seed(seed, "initial model"))
        network = build_network(options, inputs)
    return read_parameters(network)


def read_parameters(network: nn.Module) -> Parameters:
    """Copy a module's parameters into float32 arrays.

    Parameters
    ----------
    network : torch.nn.Module
        On any device.
    """
    return {
        name: parameter.detach().cpu().numpy().astype(np.float32, copy=True)
        for name, parameter in network.named_parameters()
    }


def write_parameters(network: nn.Module, parameters: Mapping[str, NDArray[np.float32]]) -> None:
    """Copy arrays into a module's parameters.

    Parameters
    ----------
    network : torch.nn.Module
        On any device.
    parameters : mapping of str to ndarray
        One array a parameter, of its shape.
    """
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.from_numpy(parameters[name]))


def choose_device(name: str, asked_as: str = "run.device") -> torch.device:
    """Return the device that a configuration asks for.

    Parameters
    ----------
    name : str
        "auto", "cpu", "cuda" or "cuda:1".
    asked_as : str
        What the option is called, for messages.

    Raises
    ------
    veilsum.ParameterError
        When PyTorch knows no device of that name.
    veilsum.BackendUnavailableError
        When CUDA is asked for by name and PyTorch has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):  # PyTorch's words quote what it was given
        raise ParameterError(
            f'{asked_as} is {shown(name)}; use "auto", "cpu", "cuda" or "cuda:1"'
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BackendUnavailableError(
            f"{asked_as} is {name!r} but PyTorch {torch.__version__} sees "
            f'{torch.cuda.device_count()} CUDA devices here; use {asked_as} = "auto"'
        )
    return device
