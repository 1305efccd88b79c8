"""Attacks succeed where they must and fail where they must."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import veilsum as vs
from veilsum.lab.leakage import (
    Victim,
    View,
    attack,
    choose_probes,
    leakage_rate,
    random_guesses,
)
from veilsum.lab.leakage.analytic import first_layer_guesses
from veilsum.lab.leakage.ciphertext import view_of_upload
from veilsum.lab.leakage.measure import NOTHING
from veilsum.lab.leakage.optimised import match_gradient, residual
from veilsum.learning.model import initial_parameters
from veilsum.learning.options import ModelOptions

Rows = tuple[NDArray[np.float32], NDArray[np.int64]]
RATE = 0.01


def gradient_of(victim: Victim, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> View:
    return View(victim.one_step(inputs, labels, RATE)).scaled(-1 / RATE)


def hide_largest(view: View, share: float) -> View:
    flat = np.concatenate([np.abs(array).ravel() for array in view.values.values()])
    cut = np.quantile(flat, 1 - share)
    return view.hidden({name: np.abs(array) > cut for name, array in view.values.items()})


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh"])
@pytest.mark.parametrize("hidden", [(), (16,), (64, 16)])
def test_plaintext_of_a_batch_of_one_gives_the_record(
    rows: Rows, generator: np.random.Generator, activation: str, hidden: tuple[int, ...]
) -> None:
    model = ModelOptions(hidden=hidden, activation=activation)
    victim = Victim(model, initial_parameters(model, rows[0].shape[1], seed=3))
    found = NOTHING
    for i in range(24):
        one = slice(i, i + 1)
        result = attack(victim, gradient_of(victim, rows[0][one], rows[1][one]), 1, generator)
        assert not result.optimised
        found += leakage_rate(rows[0][one], result.guesses)
    assert found.rate >= 0.9
    assert found.guesses <= 2 * found.probes


def test_the_update_is_what_a_cloud_would_send(rows: Rows) -> None:
    """The probe's step is the trainer's step: plain SGD, one batch, no dropout."""
    import torch

    from veilsum.learning.local_training import LocalTrainer
    from veilsum.learning.options import TrainingOptions

    model = ModelOptions(hidden=(16,), dropout=0.0)
    parameters = initial_parameters(model, rows[0].shape[1], seed=3)
    options = TrainingOptions(
        epochs=1, batch_size=8, optimiser="sgd", momentum=0.0, weight_decay=0.0, learning_rate=0.1
    )
    trainer = LocalTrainer(
        rows[0][:8], rows[1][:8], model, options, seed=1, cloud=0, device=torch.device("cpu")
    )
    theirs = trainer.train(parameters, 1).update
    ours = Victim(model, parameters).one_step(rows[0][:8], rows[1][:8], 0.1)
    for name, update in theirs.items():
        np.testing.assert_allclose(ours[name], update, atol=1e-6)


def test_a_batch_of_eight_gives_some_of_its_records(
    victim: Victim, rows: Rows, generator: np.random.Generator
) -> None:
    found = NOTHING
    for i in range(0, 64, 8):
        part = slice(i, i + 8)
        view = gradient_of(victim, rows[0][part], rows[1][part])
        result = attack(victim, view, 8, generator, optimise=False)
        found += leakage_rate(rows[0][part], result.guesses)
    assert 0.05 < found.rate < 1


def test_the_encrypted_upload_gives_nothing(
    victim: Victim, rows: Rows, generator: np.random.Generator
) -> None:
    """The attack runs on the bytes that the aggregator receives, and finds no record."""
    plan = vs.Plan(clients=4, value_bits=16)
    _, public = vs.keygen(plan)
    found = NOTHING
    for i in range(8):
        one = slice(i, i + 1)
        update = victim.one_step(rows[0][one], rows[1][one], RATE)
        rnd = vs.Round(plan, public, like=update, limit=0.25)
        view = view_of_upload(vs.encrypt(rnd, update).to_bytes(), rnd, update)
        assert view.readable == 1
        result = attack(victim, view.scaled(-1 / RATE), 1, generator)
        assert result.optimised
        assert len(result.guesses) > 10
        found += leakage_rate(rows[0][one], result.guesses)
    assert found.recovered == 0


def test_a_view_with_nothing_readable_gives_nothing(
    victim: Victim, rows: Rows, generator: np.random.Generator
) -> None:
    view = hide_largest(gradient_of(victim, rows[0][:1], rows[1][:1]), 1.0).hidden(
        {name: np.ones_like(a, dtype=bool) for name, a in victim.one_step(*rows, RATE).items()}
    )
    assert view.readable == 0
    result = attack(victim, view, 1, generator)
    assert leakage_rate(rows[0][:1], result.guesses).recovered == 0


def test_random_guesses_find_nobody(rows: Rows, generator: np.random.Generator) -> None:
    """The tolerance is not met by chance: guesses from the same population recover no record."""
    others = generator.standard_normal((5000, rows[0].shape[1])).astype(np.float32)
    others[:, 1] = generator.integers(0, 2, 5000)
    found = leakage_rate(rows[0], random_guesses(others, 1000, generator))
    assert found.recovered == 0


def test_partly_hidden_lies_between(
    victim: Victim, rows: Rows, generator: np.random.Generator
) -> None:
    """Of batches of eight: the more is hidden, the less is found, with all readable most."""
    rates = []
    for share in (0.0, 0.1, 0.5, 1.0):
        found = NOTHING
        for i in range(0, 64, 8):
            part = slice(i, i + 8)
            view = gradient_of(victim, rows[0][part], rows[1][part])
            if share:
                view = (
                    hide_largest(view, share)
                    if share < 1
                    else View({name: np.full_like(a, np.nan) for name, a in view.values.items()})
                )
            result = attack(victim, view, 8, generator, optimise=False)
            found += leakage_rate(rows[0][part], result.guesses)
        rates.append(found.rate)
    assert rates[0] > rates[2] >= rates[3] == 0
    assert rates == sorted(rates, reverse=True)


def test_missing_coordinates_are_put_together_from_several_units(generator) -> None:
    record = generator.standard_normal(6)
    slopes = generator.standard_normal(12)
    weight, bias = slopes[:, None] * record, slopes.copy()
    # No unit has all its coordinates, and some have no bias entry.
    weight[np.arange(12), np.arange(12) % 6] = np.nan
    bias[:3] = np.nan
    guesses = first_layer_guesses(weight, bias)
    assert leakage_rate(record[None], guesses, 1e-6).recovered == 1
    assert np.abs(guesses[0] - record).max() < 1e-6


def test_units_of_rounded_numbers_are_still_put_together(generator) -> None:
    """bfloat16 numbers agree less closely; told so, the attack merges them all the same."""
    record = generator.standard_normal(6)
    slopes = generator.uniform(0.5, 2, 12)
    weight, bias = slopes[:, None] * record, slopes.copy()
    weight[np.arange(12), np.arange(12) % 6] = np.nan
    rounding = generator.uniform(-1, 1, (12, 7)) * 2.0**-9
    weight, bias = weight * (1 + rounding[:, :6]), bias * (1 + rounding[:, 6])
    told = first_layer_guesses(weight, bias, 2.0**-8)
    # The first guess is the joint one; of units that agree, one is left.
    assert len(told) == 2
    assert leakage_rate(record[None], told[1:], 0.02).recovered == 1
    assert len(first_layer_guesses(weight, bias)) > 2


def test_noise_is_averaged_over_units(generator) -> None:
    """With the same noise on every entry the joint guess beats every unit's own quotient."""
    record = generator.standard_normal(6)
    slopes = generator.standard_normal(400)
    noise = 0.2
    weight = slopes[:, None] * record + noise * generator.standard_normal((400, 6))
    bias = slopes + noise * generator.standard_normal(400)
    guesses = first_layer_guesses(weight, bias)
    assert np.abs(guesses[0] - record).max() < 0.1
    assert (
        np.abs(weight / bias[:, None] - record).max(axis=1).min()
        > np.abs(guesses[0] - record).max()
    )


def test_optimisation_alone_gives_the_record(
    victim: Victim, rows: Rows, generator: np.random.Generator
) -> None:
    """Without the first layer's bias the analytic attack has nothing; gradient matching works."""
    view = gradient_of(victim, rows[0][:1], rows[1][:1])
    hidden = {name: np.zeros_like(array, dtype=bool) for name, array in view.values.items()}
    hidden[victim.first_bias][:] = True
    blind = view.hidden(hidden)
    assert not len(
        first_layer_guesses(blind.values[victim.first_weight], blind.values[victim.first_bias])
    )
    found = match_gradient(victim, blind, 1, generator, random_starts=8)
    assert found.residual < 1e-2
    assert leakage_rate(rows[0][:1], found.guesses).recovered == 1


def test_the_residual_tells_right_from_wrong(victim: Victim, rows: Rows) -> None:
    view = gradient_of(victim, rows[0][:1], rows[1][:1])
    assert residual(victim, view, rows[0][0].astype(np.float64)) < 1e-12
    assert residual(victim, view, rows[0][1].astype(np.float64)) > 1e-2


def test_the_same_seed_gives_the_same_guesses(victim: Victim, rows: Rows) -> None:
    view = gradient_of(victim, rows[0][:2], rows[1][:2])
    one, two = (attack(victim, view, 2, np.random.default_rng(9)).guesses for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_probes_do_not_mix_clouds_and_repeat_with_the_seed(rows: Rows) -> None:
    inputs = [rows[0][:20], rows[0][20:30], rows[0][30:]]
    labels = [rows[1][:20], rows[1][20:30], rows[1][30:]]

    def chosen() -> list[list[float]]:
        batches = choose_probes(inputs, labels, 30, 4, np.random.default_rng(1))
        assert sum(len(batch) for batch in batches) == 32
        for batch in batches:
            mine = {tuple(row) for row in inputs[batch.cloud].tolist()}
            assert {tuple(row) for row in batch.inputs.tolist()} <= mine
        assert {batch.cloud for batch in batches} == {0, 1, 2}
        seen = [tuple(row) for batch in batches for row in batch.inputs.tolist()]
        assert len(set(seen)) == len(seen), "a probe was drawn twice"
        return [batch.inputs.tolist() for batch in batches]

    assert chosen() == chosen()


def test_too_many_probes_are_refused(rows: Rows) -> None:
    with pytest.raises(vs.ParameterError, match="no rows left"):
        choose_probes([rows[0]], [rows[1]], 65, 4, np.random.default_rng(1))
    with pytest.raises(vs.ParameterError, match="at least 1"):
        choose_probes([rows[0]], [rows[1]], 0, 4, np.random.default_rng(1))
