"""The strategy and the app over a grid in this process: what is learned, and what travels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower is the extra veilsum[flower]")

from flwr.serverapp.strategy import FedAvg

from flower.grid import START, config, plain, record, simulated
from veilsum.flower import VeilsumStrategy


def strategy(folder: Path, inner: Any = None, **options: Any) -> VeilsumStrategy:
    made = FedAvg(fraction_evaluate=0.0) if inner is None else inner
    return VeilsumStrategy(made, clouds=4, home=folder / "server", **options)


@pytest.mark.parametrize("result", ["clients", "server"])
def test_training_gives_what_plain_averaging_gives(tmp_path: Path, result: str) -> None:
    grid = simulated(tmp_path)
    made = strategy(tmp_path, result=result).start(grid, record(START), num_rounds=2)
    expected = plain(2)
    if result == "server":
        for name, array in made.arrays.items():
            np.testing.assert_allclose(array.numpy(), expected[name], atol=2e-3)
    else:
        assert not made.arrays
    for k in range(4):
        make, context = grid.nodes[100 + k]
        app = make()
        from veilsum.flower.site import newest_training

        home = tmp_path / "sites" / f"cloud-{k}"
        model = app.site(context, newest_training(home)).model()
        for name, array in model.items():
            if result == "clients":
                np.testing.assert_allclose(array, expected[name], atol=2e-3)
