"""A network as a user brings one: `model.function = "own_network:make"`."""

from __future__ import annotations

from torch import nn


def make(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 4), nn.Tanh(), nn.Linear(4, outputs))


def convolutions(inputs: int, outputs: int) -> nn.Module:
    """For pictures of 8 x 8 points, one column a point; with batch normalisation."""
    assert inputs == 64
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 16, outputs),
    )  # fmt: skip
