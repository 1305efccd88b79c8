"""Independent random streams from one seed, by purpose.

Federated loop, bottom. Two streams with different purposes never share numbers, and adding a new
purpose changes no other stream. None of this is for secrets: keys, errors and ephemeral
randomness of the encryption come from the operating system, never from a run's seed.
"""

from __future__ import annotations

import hashlib

import numpy as np

_LABEL = "veilsum/1/training-seed"


def _digest(seed: int, purpose: tuple[str | int, ...]) -> bytes:
    text = "/".join([_LABEL, str(seed), *(str(part) for part in purpose)])
    return hashlib.sha256(text.encode()).digest()


def numpy_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a NumPy generator for a purpose.

    Parameters
    ----------
    seed : int
        The run's seed.
    *purpose : str or int
        What the numbers are for, for example "dither", client 2, round 5.
    """
    return np.random.default_rng(int.from_bytes(_digest(seed, purpose), "big"))


def torch_seed(seed: int, *purpose: str | int) -> int:
    """Return a seed for a PyTorch generator, for a purpose.

    Parameters
    ----------
    seed : int
        The run's seed.
    *purpose : str or int
        What the numbers are for.
    """
    return int.from_bytes(_digest(seed, purpose)[:8], "big") >> 1
