"""Methods behind one interface: same inputs, and means that agree within derived bounds."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

import veilsum as vs
from veilsum.lab.methods import he_fl
from veilsum.lab.methods.he_fl import ERROR_BOUND, HeFl
from veilsum.lab.methods.registry import METHODS, make_method
from veilsum.lab.methods.run import run_method
from veilsum.rounding import Grid
from veilsum.training.config import TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.fedavg import FedAvg
from veilsum.training.outcome import Method
from veilsum.training.plain import PlainMethod, from_float32, to_float32
from veilsum.training.setting import prepare

Make = Callable[..., TrainConfig]


def needs(name: str) -> None:
    if name == "he-fl":
        pytest.importorskip("tenseal", reason="the method he-fl needs the extra veilsum[he]")
    if name == "dp-fl":
        pytest.importorskip("opacus", reason="the method dp-fl needs the extra veilsum[dp]")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_and_says_what_it_costs(config: TrainConfig, name: str) -> None:
    needs(name)
    run = run_method(name, config)
    assert [record["round"] for record in run.records] == [1, 2]
    assert run.setup_bytes >= 0
    for record in run.records:
        assert record["method"] == name
        assert record["seconds"]["train"] > 0
        assert record["encrypted_fraction"] == (1 if name in ("he-fl", "veilsum") else 0)
        if name == "centralised":
            continue
        assert len(record["simulation"]) == 4
        for cloud in record["simulation"]:
            assert cloud["state"] == "summed"
            assert cloud["up_bytes"] >= record["bytes"]["upload"] * 0.99
            assert cloud["down_bytes"] >= record["bytes"]["aggregate"]
            assert cloud["weight"] > 0


def test_all_methods_start_from_the_same_inputs_and_model(config: TrainConfig) -> None:
    setting = prepare(config)
    method = EncryptedAveraging(config, setting.federation.clouds)
    # The pooled statistics in the clear are bit for bit those that the encrypted sum opens.
    for name, values in method.moments.to_mapping().items():
        np.testing.assert_array_equal(values, setting.moments.to_mapping()[name])
    for name in METHODS:
        if name in ("he-fl", "dp-fl"):
            continue
        parameters = make_method(name, config, setting=setting).parameters
        for key, array in setting.initial_parameters().items():
            np.testing.assert_array_equal(parameters[key], array)


def test_an_unknown_method_is_named(config: TrainConfig) -> None:
    with pytest.raises(vs.ParameterError, match="'fedsgd'; must be one of centralised, fedavg"):
        make_method("fedsgd", config)


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("he-fl", "tenseal", "he"), ("dp-fl", "opacus", "dp")]
)
def test_a_missing_package_names_its_extra(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    for module in list(sys.modules):
        if module.split(".")[0] == package:
            monkeypatch.delitem(sys.modules, module)

    class Absent:
        def find_spec(self, wanted: str, path: object = None, target: object = None) -> None:
            if wanted.split(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {wanted!r}", name=wanted)

    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(
        vs.BackendUnavailableError, match=rf"pip install .\.\[{extra}\]. in Veilsum"
    ):
        make_method(name, config)


def one_round(method: Method) -> dict[str, np.ndarray]:
    before = method.parameters
    after = method.run_round(1).parameters
    return {name: after[name].astype(np.float64) - before[name] for name in before}


WEIGHTS = [
    ["aggregation.weights=uniform"],
    ["aggregation.weights=samples"],
    ["aggregation.weights=dynamic", "aggregation.bandwidths_bps=[1e7, 1e8, 1e9, 1e10]"],
    ["aggregation.weights=dynamic", "aggregation.dynamic_form=printed"],
    ["aggregation.weights=samples", "aggregation.max_share=0.3"],
    ["aggregation.weights=dynamic", "aggregation.max_share=0.26"],
]


def exact_mean(config: TrainConfig) -> tuple[dict[str, np.ndarray], dict[int, float]]:
    """The weighted mean update in double precision, from the same local training."""
    setting = prepare(config)
    method: PlainMethod = FedAvg(setting)
    start = setting.initial_parameters()
    results = {i: setting.trainer(i).train(start, 1) for i in range(4)}
    weights = method.weigh(results)
    total = sum(weights.values())
    mean = {
        name: sum(weights[i] * one.update[name] for i, one in results.items()) / total
        for name in start
    }
    return mean, weights


@pytest.mark.parametrize("settings", WEIGHTS)
def test_encrypted_and_plaintext_means_agree_within_the_quantisation_bound(
    make_config: Make, settings: list[str]
) -> None:
    config = make_config("training.rounds=1", *settings)
    mean, weights = exact_mean(config)
    method = EncryptedAveraging(config, prepare(config).federation.clouds)
    before = method.parameters
    outcome = method.run_round(1)
    total = sum(weights.values())
    assert sum(upload.clipped for upload in outcome.uploads) == 0
    got = {cloud.client: cloud.weight for cloud in outcome.clouds}
    weight_step = Grid(outcome.limits["weight"], 16).step
    for i, weight in weights.items():
        # Relative weights were rounded at 32 bits before they became shares.
        assert got[i] == pytest.approx(weight, rel=1e-4)
    for name, exact in mean.items():
        step = Grid(outcome.limits["update." + name], 16).error_bound("stochastic")
        # Each weight is off by half its step at most, and by the rounding of the agreed shares.
        largest = max(
            float(np.abs(prepared.update[name]).max()) for prepared in local_results(config)
        )
        off = 4 * (weight_step / 2 + 1e-4 * max(weights.values())) * 2 * largest / total
        bound = 4 * step / total * 1.001 + off
        last = np.abs(outcome.parameters[name]).max() * 2.0**-24
        difference = outcome.parameters[name] - (before[name].astype(np.float64) + exact)
        assert np.abs(difference).max() <= bound + last


def local_results(config: TrainConfig) -> list:
    setting = prepare(config)
    start = setting.initial_parameters()
    return [setting.trainer(i).train(start, 1) for i in range(4)]


@pytest.mark.parametrize("settings", WEIGHTS[:3])
def test_plaintext_averaging_rounds_to_float32_and_no_more(
    make_config: Make, settings: list[str]
) -> None:
    config = make_config(*settings)
    mean, _ = exact_mean(config)
    moved = one_round(FedAvg(prepare(config)))
    start = prepare(config).initial_parameters()
    largest = max(np.abs(array).max() for one in local_results(config)
                  for array in one.update.values())  # fmt: skip
    for name, exact in mean.items():
        # Update, mean and model are each rounded to float32 once.
        bound = 2 * largest * 2.0**-24 + np.abs(start[name] + exact).max() * 2.0**-24
        assert np.abs(moved[name] - exact).max() <= bound * 1.01


@pytest.mark.parametrize("settings", WEIGHTS[:3])
def test_he_fl_agrees_within_the_ckks_bound(make_config: Make, settings: list[str]) -> None:
    needs("he-fl")
    config = make_config(*settings)
    mean, weights = exact_mean(config)
    moved = one_round(HeFl(prepare(config)))
    start = prepare(config).initial_parameters()
    for name, exact in mean.items():
        bound = 4 * ERROR_BOUND / sum(weights.values())
        last = np.abs(start[name] + exact).max() * 2.0**-24
        assert np.abs(moved[name] - exact).max() <= bound + last


def test_he_fl_is_at_least_15_times_larger_on_the_wire() -> None:
    needs("he-fl")
    config = TrainConfig.from_mapping({"training": {"rounds": 1, "epochs": 1, "batch_size": 4096}})
    setting = prepare(config)
    sizes = {
        name: make_method(name, config, setting=setting).run_round(1).message_bytes["upload"]
        for name in ("fedavg", "he-fl", "veilsum")
    }
    # The default network: 35,585 values.
    assert sizes["he-fl"] >= 15 * sizes["fedavg"]
    assert sizes["he-fl"] >= 15 * sizes["veilsum"]
    assert sizes["veilsum"] < sizes["fedavg"]


def test_what_the_aggregator_reads(config: TrainConfig) -> None:
    setting = prepare(config)
    seen = make_method("fedavg", config, setting=setting).run_round(1).visible
    results = local_results(config)
    assert set(seen) == {0, 1, 2, 3}
    for i, tensors in seen.items():
        for name, array in tensors.items():
            np.testing.assert_array_equal(array, results[i].update[name].astype(np.float32))
    assert make_method("veilsum", config, setting=setting).run_round(1).visible == {}
    if pytest.importorskip("tenseal"):
        assert make_method("he-fl", config, setting=setting).run_round(1).visible == {}


@pytest.mark.parametrize("noise", ["central", "local"])
def test_dp_fl_clips_adds_noise_and_accounts(make_config: Make, noise: str) -> None:
    needs("dp-fl")
    config = make_config(
        "privacy.clip=0.01", "privacy.noise_multiplier=2.0", f"privacy.baseline_noise={noise}"
    )
    setting = prepare(config)
    method = make_method("dp-fl", config, setting=setting)
    before = method.parameters
    outcome = method.run_round(1)
    assert outcome.privacy is not None
    assert outcome.privacy.model == noise
    assert outcome.train_loss is None
    assert all(cloud.weight == 1 for cloud in outcome.clouds)
    lengths = [
        np.sqrt(sum(np.square(array).sum() for array in tensors.values()))
        for tensors in outcome.visible.values()
    ]
    values = sum(array.size for array in before.values())
    if noise == "central":
        assert max(lengths) <= 0.01
    else:
        assert min(lengths) > 0.02 * np.sqrt(values) * 0.7
    moved = np.concatenate([(outcome.parameters[n] - before[n]).ravel() for n in before])
    spread = 0.02 / 4 if noise == "central" else 0.02 / 2
    # The noise dominates; its sample deviation is within 5 standard errors of it, plus the signal.
    assert abs(np.sqrt(np.mean(np.square(moved))) - spread) < spread * 5 / np.sqrt(
        2 * values
    ) + 0.01 / np.sqrt(values)
    again = make_method("dp-fl", config, setting=setting).run_round(1)
    assert any(not np.array_equal(again.parameters[n], outcome.parameters[n]) for n in before), (
        "noise must not follow from the run's seed"
    )


@pytest.mark.parametrize("optimiser", ["fedavgm", "fedadam", "fedyogi"])
def test_server_optimisers_work_with_the_encrypted_mean(make_config: Make, optimiser: str) -> None:
    config = make_config(f"aggregation.server_optimiser={optimiser}", "training.rounds=8")
    one, two = run_method("veilsum", config), run_method("fedavg", config)
    assert one.records[-1]["log_loss"] < one.records[0]["log_loss"]
    # Adaptive steps divide by small numbers, so no bound is derived here; the scores must agree.
    assert one.records[-1]["auc"] == pytest.approx(two.records[-1]["auc"], abs=0.02)
    method = EncryptedAveraging(config, prepare(config).federation.clouds)
    for number in (1, 2):
        method.run_round(number)
    for client in method.clients:
        for name, array in method.parameters.items():
            np.testing.assert_array_equal(client.state.parameters[name], array)


def test_cut_messages_of_he_fl_are_refused() -> None:
    parts = [b"abc", b"", b"0123456789"]
    joined = he_fl._join(parts)
    assert he_fl._cut(joined, 3) == parts
    for length in range(len(joined)):
        with pytest.raises(vs.WireFormatError, match="ends"):
            he_fl._cut(joined[:length], 3)
    with pytest.raises(vs.WireFormatError, match="goes on"):
        he_fl._cut(joined + b"\0", 3)


def test_plaintext_messages_are_checked() -> None:
    shapes = {"a": (2, 2), "b": (1,)}
    tensors = {"a": np.arange(4.0).reshape(2, 2), "b": np.array([7.0])}
    data = to_float32(tensors)
    for name, array in from_float32(data, shapes).items():
        np.testing.assert_array_equal(array, tensors[name])
    with pytest.raises(vs.WireFormatError, match="the model has 20"):
        from_float32(data[:-1], shapes)
    with pytest.raises(vs.WireFormatError, match="not finite"):
        from_float32(to_float32(tensors | {"b": np.array([np.nan])}), shapes)
