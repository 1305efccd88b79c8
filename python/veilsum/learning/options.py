"""The network, and what each cloud does with its own rows in a round."""

from __future__ import annotations

from dataclasses import dataclass

from veilsum.options import (
    LARGEST,
    Rule,
    at_least,
    below,
    between,
    each,
    one_of,
    option,
    share,
    up_to,
)


def _function_name(value: str) -> bool:
    if not value:
        return True
    module, _, function = value.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), *function.split(".")))


@dataclass(frozen=True)
class ModelOptions:
    """The network: a multilayer perceptron, or what a function of your own returns."""

    function: str = option(
        "",
        'your own network instead: "module:function", called with the numbers of its inputs and '
        "of its outputs; empty: the perceptron of the options below",
        Rule('"module:function", such as "my_model:make", or empty', _function_name),
    )
    hidden: tuple[int, ...] = option(
        (256, 128), "widths of the hidden layers; []: a linear model", each(between(1, 65536))
    )
    activation: str = option("relu", "between the layers", one_of("relu", "gelu", "silu", "tanh"))
    dropout: float = option(0.1, "share of hidden units left out while training", below(0, 1))


@dataclass(frozen=True)
class TrainingOptions:
    """What each cloud does with its own rows in a round."""

    rounds: int = option(25, "how often the clouds' updates are summed", at_least(1))
    epochs: int = option(2, "passes over a cloud's own rows in each round", at_least(1))
    batch_size: int = option(64, "rows a step", between(1, 2**40))
    optimiser: str = option("adam", "of the clouds; anew each round", one_of("adam", "sgd"))
    learning_rate: float = option(0.0003, "of the clouds' optimiser", up_to(LARGEST))
    momentum: float = option(0.9, "of sgd; adam ignores it", below(0, 1))
    weight_decay: float = option(0.0001, "of the clouds' optimiser", between(0, LARGEST))
    proximal: float = option(
        0.0,
        "FedProx: pull towards the global model, mu; 0: plain local training",
        between(0, LARGEST),
    )
    participation: float = option(
        1.0, "share of the clouds drawn for each round, at least two of them", share()
    )
    deadline_s: float = option(
        0.0,
        "uploads later than this after the round's start are left out; 0: wait for all",
        at_least(0),
    )
