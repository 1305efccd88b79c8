"""Privacy: clipping, accounting, and noise shares that add up inside the encrypted sum."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import veilsum as vs
from steps import skip, train
from veilsum.lab.methods.run import run_method
from veilsum.parties.client import noise_plan
from veilsum.privacy import distributed_noise as noise_module
from veilsum.privacy.accountant import Accountant, clip_to_norm, gaussian_rho, norm
from veilsum.privacy.distributed_noise import NoisePlan, concentrated_loss
from veilsum.training.config import TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.setting import prepare
from veilsum.transport.conditions import Reliable

Make = Callable[..., TrainConfig]
DISTRIBUTED = ("privacy.distributed=true", "aggregation.weights=uniform")


def needs_accounting() -> None:
    pytest.importorskip("opacus", reason="accounting needs the extra veilsum[dp]")


@given(
    hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6)), st.floats(1e-6, 1e3)
)
def test_clipping_bounds_the_norm_and_leaves_short_updates_alone(
    values: np.ndarray, bound: float
) -> None:
    update = {"a": values, "b": values[:1] * 2}
    clipped = clip_to_norm(update, bound)
    assert norm(clipped) <= bound
    if norm(update) <= bound * (1 - 1e-9):
        np.testing.assert_array_equal(clipped["a"], update["a"])
    elif norm(update) > 0:
        assert norm(clipped) >= min(bound, norm(update)) * (1 - 1e-9)


def test_clipping_refuses_what_is_not_finite() -> None:
    with pytest.raises(vs.ParameterError, match="not finite"):
        clip_to_norm({"a": np.array([1.0, np.inf])}, 1.0)


def exact_gaussian_delta(epsilon: float, mu: float) -> float:
    """Delta of a Gaussian mechanism with sensitivity over deviation mu (Balle and Wang 2018)."""
    from scipy.stats import norm as normal

    return float(
        normal.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * normal.cdf(-mu / 2 - epsilon / mu)
    )


@pytest.mark.parametrize(("multiplier", "rounds"), [(1.0, 1), (2.0, 10), (5.0, 25), (0.7, 3)])
def test_epsilon_bounds_the_exact_one_closely(multiplier: float, rounds: int) -> None:
    needs_accounting()
    accountant = Accountant(1e-5)
    assert accountant.epsilon() == 0
    for _ in range(rounds):
        accountant.add(gaussian_rho(multiplier))
    epsilon = accountant.epsilon()
    # Rounds of Gaussian noise together are one Gaussian; Renyi accounting is above, not far.
    mu = math.sqrt(rounds) / multiplier
    assert exact_gaussian_delta(epsilon, mu) <= 1e-5
    assert exact_gaussian_delta(0.8 * epsilon, mu) > 1e-5


def test_failures_use_up_delta() -> None:
    needs_accounting()
    plain, failing = Accountant(1e-5), Accountant(1e-5)
    plain.add(gaussian_rho(2.0))
    failing.add(gaussian_rho(2.0), 1e-7)
    assert failing.epsilon() > plain.epsilon()
    spent = failing.epsilon()
    assert (1 + math.exp(spent)) * 1e-7 < 1e-5
    failing.add(gaussian_rho(2.0), 1e-3)
    with pytest.raises(vs.ParameterError, match=r"larger privacy\.noise_tail"):
        failing.epsilon()


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_losses_out_of_range_are_refused(bad: float) -> None:
    needs_accounting()
    with pytest.raises(vs.ParameterError):
        Accountant(1e-5).add(bad)
    with pytest.raises(vs.ParameterError):
        gaussian_rho(bad)


def make_plan(**changes: float) -> NoisePlan:
    arguments = {
        "clip": 0.5, "noise_multiplier": 1.0, "values": 35_585, "value_bits": 16, "honest": 3,
        "tail": 10.0,
    } | changes  # fmt: skip
    return NoisePlan.make(**arguments)  # type: ignore[arg-type]


def test_the_range_holds_clip_and_tail_and_the_noise_covers_the_sensitivity() -> None:
    for changes in ({}, {"honest": 1}, {"clip": 7.0}, {"noise_multiplier": 5.0}, {"values": 89}):
        plan = make_plan(**changes)
        deviation = math.sqrt(plan.variance)
        assert plan.limit >= plan.clip + plan.step / 2 + plan.tail * deviation * plan.step
        multiplier = changes.get("noise_multiplier", 1.0)
        honest = changes.get("honest", 3)
        assert deviation * math.sqrt(honest) >= multiplier * plan.sensitivity
        assert deviation * math.sqrt(honest) <= multiplier * plan.sensitivity * 1.001
        # Rounding costs little: the bits are enough.
        assert plan.sensitivity <= 1.1 * plan.clip / plan.step


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 0.3, 1.0, 50.0]))
def test_no_update_s_integers_exceed_the_sensitivity(seed: int, scale: float) -> None:
    plan = make_plan(values=501)
    generator = np.random.default_rng(seed)
    update = {"a": scale * generator.standard_normal(500), "b": scale * generator.random(1)}
    integers = plan.integers(update)
    squared = sum(int((array**2).sum()) for array in integers.values())
    assert squared <= plan.sensitivity**2


def test_the_worst_case_of_rounding_is_reached() -> None:
    # Every value just above half a step: rounding adds sqrt(d) / 2 almost in full.
    plan = make_plan(values=10_000, clip=0.5)
    update = {"a": np.full(10_000, 0.5000001 * plan.step)}
    length = norm({"a": plan.integers(update)["a"].astype(np.float64)})
    assert length == 100
    assert length - norm(update) / plan.step > 0.499 * math.sqrt(10_000)
    assert length <= plan.sensitivity


def test_too_few_or_too_many_bits_are_refused() -> None:
    with pytest.raises(vs.ParameterError, match=r"more encryption.value_bits"):
        make_plan(value_bits=8)
    with pytest.raises(vs.ParameterError, match=r"fewer encryption.value_bits"):
        make_plan(value_bits=32)
    with pytest.raises(vs.ParameterError, match="standard deviation"):
        make_plan(noise_multiplier=1e-5, values=4)


def test_the_loss_is_that_of_proposition_14() -> None:
    # At 2 steps and more, sums of shares are as good as one discrete Gaussian.
    assert concentrated_loss(100.0, 2500.0, 4, 35_585) == pytest.approx(100**2 / (2 * 4 * 2500))
    # One share is one discrete Gaussian, exactly.
    assert concentrated_loss(3.0, 0.25, 1, 10) == 9 / (2 * 0.25)
    # Small shares pay for not being Gaussian: t = 10 exp(-pi^2 / 2 * ...), by hand.
    variance, values = 0.5, 100
    t = 10 * math.exp(-(math.pi**2) * variance)
    ratio = 3.0 / math.sqrt(2 * variance)
    expected = min(ratio**2 + 2 * t * values, (ratio + t * math.sqrt(values)) ** 2)
    assert expected > ratio**2 * 1.1
    assert concentrated_loss(3.0, variance, 2, values) == pytest.approx(expected / 2)
    with pytest.raises(vs.ParameterError, match="protect nothing"):
        concentrated_loss(1.0, 4.0, 0, 10)


def test_every_order_of_the_discrete_gaussian_is_within_the_loss() -> None:
    # Renyi divergence between N_Z(0, s^2) and its shift by 2, summed exactly, against a * rho.
    variance = 4.0
    x = np.arange(-200, 201, dtype=np.float64)
    p = np.exp(-(x**2) / (2 * variance))
    p /= p.sum()
    q = np.roll(p, 2)
    rho = concentrated_loss(2.0, variance, 1, 1)
    # Where densities leave the doubles; their share of the divergence is below 10^-100.
    inside = np.abs(x) < 50
    for order in (1.5, 2.0, 4.0, 8.0):
        logs = order * np.log(p[inside]) + (1 - order) * np.log(q[inside])
        assert math.log(np.exp(logs).sum()) / (order - 1) <= order * rho * (1 + 1e-9)


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Copies of the noise shares as they are drawn; the cloud's own are wiped."""
    caught: list[np.ndarray] = []
    drawn: list[np.ndarray] = []
    draw = noise_module.discrete_gaussian

    def watch(variance: int, count: int) -> np.ndarray:
        made = draw(variance, count)
        caught.append(made.copy())
        drawn.append(made)
        return made

    monkeypatch.setattr(noise_module, "discrete_gaussian", watch)
    yield caught  # type: ignore[misc]
    assert all(not array.any() for array in drawn), "noise must be wiped after use"


def test_a_cloud_answers_no_more_rounds_than_the_privacy_was_agreed_for(make_config: Make) -> None:
    needs_accounting()
    config = make_config(*DISTRIBUTED, "training.rounds=2")
    client = EncryptedAveraging(config, prepare(config).federation.clouds).clients[0]
    for number in (1, 2):
        train(client, number)
        skip(client, number)
    with pytest.raises(vs.RoundError, match="agreed on is of 2 rounds"):
        train(client, 3)


def test_the_opened_sum_is_clipped_updates_and_all_shares(
    make_config: Make, shares: list[np.ndarray]
) -> None:
    needs_accounting()
    config = make_config(*DISTRIBUTED, "privacy.clip=0.05", "privacy.noise_multiplier=2.0")
    setting = prepare(config)
    start = setting.initial_parameters()
    updates = [setting.trainer(i).train(start, 1).update for i in range(4)]
    method = EncryptedAveraging(config, setting.federation.clouds)
    outcome = method.run_round(1)
    assert len(shares) == 4
    plan = noise_plan(config.terms, sum(array.size for array in start.values()))
    total = np.sum(shares, axis=0)
    for update in updates:
        integers = plan.integers(update)
        total = total + np.concatenate([array.ravel() for array in integers.values()])
    mean = total * plan.step / 4
    moved = np.concatenate([outcome.parameters[n].ravel() for n in start])
    before = np.concatenate([array.ravel() for array in start.values()]).astype(np.float64)
    # The sum is exact; the model is float32.
    assert np.abs(moved - (before + mean)).max() <= np.abs(moved).max() * 2.0**-23
    # The four shares are independent, each of the planned variance: within 5 standard errors.
    for share in shares:
        assert abs(share.var() / plan.variance - 1) < 5 * math.sqrt(2 / share.size)
    assert outcome.train_loss is None
    assert all(cloud.loss is None for cloud in outcome.clouds)
    assert sum(upload.clipped for upload in outcome.uploads) == 0


def test_epsilon_is_accounted_with_those_who_took_part(make_config: Make) -> None:
    needs_accounting()

    class Dropping(Reliable):
        def trains(self, client: int, number: int) -> bool:
            return not (client == 3 and number == 1)

    settings = (*DISTRIBUTED, "aggregation.min_clients=3", "privacy.noise_multiplier=3.0")
    config = make_config(*settings)
    fewer = EncryptedAveraging(
        config, prepare(config).federation.clouds, conditions=Dropping()
    ).run_round(1)
    all_four = EncryptedAveraging(config, prepare(config).federation.clouds).run_round(1)
    assert fewer.privacy is not None
    assert all_four.privacy is not None
    assert all_four.privacy.epsilon < fewer.privacy.epsilon
    # Sized for two honest of three: with three of three there, two shares are the whole noise.
    accountant = Accountant(config.privacy.delta)
    accountant.add(gaussian_rho(3.0))
    assert fewer.privacy.epsilon == pytest.approx(accountant.epsilon(), rel=1e-3)


def test_a_round_with_too_little_noise_is_not_opened(make_config: Make) -> None:
    needs_accounting()

    class Losing(Reliable):
        def delivers(self, client: int, number: int, upload: bytes) -> bytes | None:
            return None if client == 2 else upload

    config = make_config(*DISTRIBUTED)
    method = EncryptedAveraging(config, prepare(config).federation.clouds, conditions=Losing())
    outcome = method.run_round(1)
    assert outcome.skipped
    assert outcome.privacy is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("aggregation.weights=samples", "the noise is sized for clouds that count the same"),
        ("aggregation.weights=dynamic", "the noise is sized for clouds that count the same"),
        ("hybrid.fraction=0.5", "in the clear beside a private sum"),
        ("privacy.colluders=3", "at least two must be honest"),
        ("aggregation.min_clients=2", "at least two must be honest"),
    ],
)
def test_unsafe_combinations_are_errors(make_config: Make, setting: str, message: str) -> None:
    with pytest.raises(vs.ParameterError, match=message):
        make_config(*DISTRIBUTED, setting)


def test_privacy_stands_in_every_record_that_claims_it(make_config: Make) -> None:
    needs_accounting()
    run = run_method("veilsum", make_config(*DISTRIBUTED, "privacy.noise_multiplier=4.0"))
    spent = [record["privacy"] for record in run.records]
    assert [one["rounds"] for one in spent] == [1, 2]
    assert spent[0]["epsilon"] < spent[1]["epsilon"]
    for one in spent:
        assert one["model"] == "distributed"
        assert one["delta"] == 1e-5
        assert "not the pooled statistics" in one["covers"]
        assert "at most 1 of a sum's clouds" in one["assumes"]
    plain = run_method("veilsum", make_config())
    assert all("privacy" not in record for record in plain.records)


def test_sums_of_two_shares_are_within_the_loss() -> None:
    # Two small shares convolved exactly: every order stays below the bound of the sum.
    variance = 0.5
    x = np.arange(-60, 61, dtype=np.float64)
    one = np.exp(-(x**2) / (2 * variance))
    one /= one.sum()
    p = np.convolve(one, one)
    q = np.roll(p, 1)
    rho = concentrated_loss(1.0, variance, 2, 1)
    inside = (p > 1e-200) & (q > 1e-200)
    for order in (1.5, 2.0, 3.0):
        logs = order * np.log(p[inside]) + (1 - order) * np.log(q[inside])
        assert math.log(np.exp(logs).sum()) / (order - 1) <= order * rho * (1 + 1e-9)


def test_a_report_that_claims_privacy_states_epsilon_and_its_terms(make_config: Make) -> None:
    needs_accounting()
    from veilsum.report import write_report
    from veilsum.training import run as loop

    run = loop.train(make_config(*DISTRIBUTED, "privacy.noise_multiplier=8.0"))
    spent = run.records[-1]["privacy"]
    assert run.summary["privacy"]["veilsum"] == spent
    page = write_report(run.folder).read_text()
    assert f"epsilon {spent['epsilon']:.2f} at delta 1e-05" in page
    assert "not the pooled statistics" in page
    page = write_report(loop.train(make_config()).folder).read_text()
    assert "Differential privacy (" not in page
    assert "which this run did not use" in page


def test_no_loss_is_logged_where_privacy_is_claimed(make_config: Make) -> None:
    needs_accounting()

    class Losing(Reliable):
        def delivers(self, client: int, number: int, upload: bytes) -> bytes | None:
            return None if number == 2 else upload

    config = make_config(*DISTRIBUTED)
    for name in ("veilsum", "dp-fl"):
        run = run_method(name, config, conditions=Losing())
        assert [bool(record.get("skipped")) for record in run.records] == [False, True]
        for record in run.records:
            assert record["train_loss"] is None
            assert all(cloud["loss"] is None for cloud in record["simulation"])
