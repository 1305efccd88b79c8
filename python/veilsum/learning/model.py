"""The network of a table, its initial parameters, and the device that it is on.

Learning room. What of a network travels is `module_tensors`' business. It knows nothing of rounds
or encryption.
"""

from __future__ import annotations

import torch
from torch import nn

from veilsum.arguments import check_type, check_whole, shown, type_name
from veilsum.errors import BackendUnavailableError, ParameterError
from veilsum.learning.module_tensors import ModuleTensors
from veilsum.learning.network_function import import_function
from veilsum.learning.options import ModelOptions
from veilsum.learning.seeds import torch_seed
from veilsum.learning.task import Parameters

_MOST_INPUTS = 1 << 24

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def build_network(options: ModelOptions, inputs: int, outputs: int = 1) -> nn.Module:
    """Build the network: a multilayer perceptron, or what the configured function returns.

    Parameters
    ----------
    options : ModelOptions
        Widths, activation, dropout; or the function.
    inputs : int
        Number of input columns, 1 to 2^24.
    outputs : int
        Numbers that the network says of a row: one logit, or one a class.

    Raises
    ------
    veilsum.ParameterError
        When there are no inputs, or more; or the function cannot be imported, or returns no module.
    """
    layers: list[nn.Module] = []
    width = check_whole("inputs", inputs)
    if not 1 <= width <= _MOST_INPUTS:
        raise ParameterError(f"inputs is {shown(width)}; a network has 1 to 2^24 input columns")
    if not 1 <= check_whole("outputs", outputs) <= _MOST_INPUTS:
        raise ParameterError(f"outputs is {shown(outputs)}; a network says 1 to 2^24 numbers")
    if options.function:
        made = import_function(options.function)(width, outputs)
        if not isinstance(made, nn.Module):
            raise ParameterError(
                f"model.function {options.function} returned {type_name(made)}; it must return a "
                "torch.nn.Module"
            )
        return made
    for hidden in options.hidden:
        layers += [nn.Linear(width, hidden), _ACTIVATIONS[options.activation]()]
        if options.dropout:
            layers.append(nn.Dropout(options.dropout))
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def blank_network(
    options: ModelOptions, inputs: int, device: torch.device, outputs: int = 1, seed: int = 0
) -> nn.Module:
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
    outputs : int
        Numbers that it says of a row.
    seed : int
        The run's seed; of tensors that are never written, because a function froze them.
    """
    check_type("blank_network(options, inputs, device)", "device", device, torch.device)
    return _initial_network(options, inputs, outputs, seed).to(device)


def _initial_network(options: ModelOptions, inputs: int, outputs: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch_seed(seed, "initial model"))
        return build_network(options, inputs, outputs)


def count_values(options: ModelOptions, inputs: int) -> int:
    """Return how many parameters the perceptron has.

    Parameters
    ----------
    options : ModelOptions
        The network.
    inputs : int
        Number of input columns.
    """
    widths = [inputs, *options.hidden, 1]
    return sum((widths[i] + 1) * widths[i + 1] for i in range(len(widths) - 1))


def initial_parameters(
    options: ModelOptions, inputs: int, seed: int, outputs: int = 1
) -> Parameters:
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
    outputs : int
        Numbers that the network says of a row.
    """
    network = _initial_network(options, inputs, outputs, seed)
    return ModuleTensors(network).read(network)


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
