"""The methods by name.

Federated loop, methods, top. Whoever compares methods makes them here and needs to know none of
their classes.
"""

from __future__ import annotations

import dataclasses

from veilsum.arguments import shown
from veilsum.errors import ParameterError
from veilsum.lab.methods.dp_fl import DpFl
from veilsum.lab.methods.he_fl import HeFl
from veilsum.run_names import CENTRALISED, DP_FL, ENCRYPTED, HE_FL, PLAINTEXT
from veilsum.training.centralised import Centralised
from veilsum.training.config import TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.fedavg import FedAvg
from veilsum.training.federation import Federation
from veilsum.training.outcome import Method
from veilsum.training.setting import Setting, prepare
from veilsum.transport.conditions import Conditions

METHODS = (CENTRALISED, PLAINTEXT, HE_FL, DP_FL, ENCRYPTED)
"""Names of all methods, in the order of the paper's comparison."""


def make_method(
    name: str,
    config: TrainConfig,
    federation: Federation | None = None,
    *,
    setting: Setting | None = None,
    conditions: Conditions | None = None,
) -> Method:
    """Make a method over the same data, inputs, seeds and initial model as the others.

    Parameters
    ----------
    name : str
        One of `METHODS`.
    config : TrainConfig
        The run's configuration.
    federation : Federation, optional
        The rows; loaded and spread as the configuration says by default.
    setting : Setting, optional
        What `prepare` made, to prepare the inputs once for several methods.
    conditions : Conditions, optional
        What fails on the way; nothing by default.

    Raises
    ------
    veilsum.ParameterError
        When there is no such method.
    veilsum.BackendUnavailableError
        When the method's extra is not installed.
    """
    if name not in METHODS:
        raise ParameterError(f"method is {shown(name)}; must be one of {', '.join(METHODS)}")
    if setting is None:
        setting = prepare(config, federation)
    elif setting.config != config:
        setting = dataclasses.replace(setting, config=config)
    if name == CENTRALISED:
        return Centralised(setting)
    if name == PLAINTEXT:
        return FedAvg(setting, conditions)
    if name == HE_FL:
        return HeFl(setting, conditions)
    if name == DP_FL:
        return DpFl(setting, conditions)
    return EncryptedAveraging(config, setting.federation.clouds, conditions=conditions)
