"""Who is compared: each contender is a method of the federated loop with its settings.

Comparison layer. A contender differs from the others only in how updates become a mean; data,
model, seeds, rounds and local training come from one configuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from veilsum.arguments import shown
from veilsum.errors import ParameterError
from veilsum.training.config import TrainConfig, with_overrides

CENTRALISED, FEDAVG, HE_FL, DP_FL, HYBRID, VEILSUM = (
    "centralised",
    "fedavg",
    "he-fl",
    "dp-fl",
    "hybrid",
    "veilsum",
)


@dataclass(frozen=True)
class Contender:
    """One line of the comparison.

    Parameters
    ----------
    key : str
        Its name in files and on the command line.
    title : str
        Its name on the page.
    method : str
        Name of the method in the federated loop.
    settings : tuple of str
        What is set besides the common configuration, as `--set` takes it.
    seen : str
        What the aggregator holds of one cloud's update, in words.
    """

    key: str
    title: str
    method: str
    settings: tuple[str, ...]
    seen: str


CONTENDERS = {
    one.key: one
    for one in (
        Contender(
            CENTRALISED,
            "Centralised",
            "centralised",
            (),
            "the rows themselves: everything by definition",
        ),
        Contender(FEDAVG, "FedAvg", "fedavg", (), "the whole update in float32"),
        Contender(
            HE_FL, "HE-FL (CKKS)", "he-fl", (), "one CKKS ciphertext a tensor, and the weight"
        ),
        Contender(DP_FL, "DP-FL", "dp-fl", (), ""),
        Contender(
            HYBRID,
            "Veilsum hybrid",
            "veilsum",
            ("hybrid.fraction=0.1",),
            "the less sensitive coordinates in the clear, ciphertext of the others",
        ),
        Contender(
            VEILSUM,
            "Veilsum",
            "veilsum",
            ("hybrid.fraction=1.0", "hybrid.steer=fixed", "hybrid.never=[]"),
            "ciphertext, its size, and how many values were clipped",
        ),
    )
}
"""All contenders, in the order of the page."""


def choose(keys: Iterable[str]) -> list[Contender]:
    """Return contenders by key, in the order of the page.

    Parameters
    ----------
    keys : iterable of str
        Their keys; none for all.

    Raises
    ------
    veilsum.ParameterError
        When a key is unknown or given twice.
    """
    wanted = list(keys) or list(CONTENDERS)
    for key in wanted:
        if key not in CONTENDERS:
            raise ParameterError(
                f"there is no method {shown(key)} to compare; choose from {', '.join(CONTENDERS)}"
            )
        if wanted.count(key) > 1:
            raise ParameterError(f"the method {shown(key)} is named twice")
    return [one for key, one in CONTENDERS.items() if key in wanted]


def configuration_settings(config: TrainConfig, contender: Contender) -> tuple[str, ...]:
    """Return what is set for a contender besides the common configuration.

    Parameters
    ----------
    config : TrainConfig
        The common one; where it is hybrid itself, the hybrid contender runs as it says.
    contender : Contender
        Whose.
    """
    return () if contender.key == HYBRID and config.terms.is_hybrid else contender.settings


def configuration(config: TrainConfig, contender: Contender) -> TrainConfig:
    """Return the configuration that a contender runs with.

    Parameters
    ----------
    config : TrainConfig
        The common one.
    contender : Contender
        Whose.
    """
    settings = configuration_settings(config, contender)
    if not settings:
        return config
    merged: dict[str, Any] = with_overrides(config.to_mapping(), settings)
    return TrainConfig.from_mapping(merged, f"the settings of {contender.title}")
