"""Hybrid rounds of a run: one mask for all, means within bounds, what the aggregator reads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import veilsum as vs
from steps import contribute, described, skip, train
from veilsum.lab.methods.run import run_method
from veilsum.parties.aggregator import cut_parts, join_parts
from veilsum.protocol.history import MASK, UPDATES
from veilsum.protocol.hybrid import Mask
from veilsum.protocol.masks import exposure
from veilsum.rounding import Grid
from veilsum.training.config import TrainConfig
from veilsum.training.encrypted import EncryptedAveraging
from veilsum.training.setting import prepare
from veilsum.transport.conditions import Reliable

Make = Callable[..., TrainConfig]


def make_method(config: TrainConfig, **more: object) -> EncryptedAveraging:
    return EncryptedAveraging(config, prepare(config).federation.clouds, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("sensitivity", ["magnitude", "gradient", "fisher"])
def test_hybrid_means_agree_with_plaintext(make_config: Make, dtype: str, sensitivity: str) -> None:
    config = make_config(
        "hybrid.fraction=0.2", f"hybrid.plain_dtype={dtype}", f"hybrid.sensitivity={sensitivity}"
    )
    setting = prepare(config)
    start = setting.initial_parameters()
    results = [setting.trainer(i).train(start, 1) for i in range(4)]
    method = make_method(config)
    outcome = method.run_round(1)
    weights = [cloud.weight for cloud in outcome.clouds]
    masks = method.clients[0].state.masks
    assert masks is not None
    bits = masks.tensors(masks.mask.encrypted.astype(np.float64))
    assert outcome.encrypted_fraction == pytest.approx(0.2, abs=0.01)
    for name, after in outcome.parameters.items():
        exact = sum(w * one.update[name] for w, one in zip(weights, results, strict=True)) / 4
        off = np.abs(after - (start[name].astype(np.float64) + exact))
        grid = Grid(outcome.limits["update." + name], 16)
        weight_step = Grid(outcome.limits["weight"], 16).step
        largest = max(float(np.abs(one.update[name]).max()) for one in results)
        last = np.abs(after).max() * 2.0**-24 + 4 * weight_step * largest
        encrypted = bits[name] > 0
        assert (off[encrypted] <= grid.error_bound("stochastic") + last).all()
        # Each weighted value is rounded once, and their sum to float32.
        unit = 2.0**-9 if dtype == "bfloat16" else 2.0**-24
        assert (off[~encrypted] <= (unit + 2.0**-24) * 4 * largest * 1.01 + last).all()


def test_all_clouds_use_the_same_mask_and_follow(make_config: Make) -> None:
    config = make_config(
        "hybrid.fraction=0.3", "hybrid.renew_every=2", "training.participation=0.5",
        "training.rounds=4",
    )  # fmt: skip
    method = make_method(config)
    digests = []
    for number in range(1, 5):
        method.run_round(number)
        masks = [client.state.masks for client in method.clients]
        assert all(masks)
        found = {mask.mask.digest for mask in masks if mask}
        assert len(found) == 1
        digests.append(found.pop())
        for client in method.clients:
            for name, array in method.parameters.items():
                np.testing.assert_array_equal(client.state.parameters[name], array)
    assert digests[0] == digests[1]
    assert digests[1] != digests[2]
    assert digests[2] == digests[3]


def test_a_cloud_with_another_mask_encrypts_nothing(make_config: Make) -> None:
    method = make_method(make_config("hybrid.fraction=0.3"))
    method.run_round(1)
    description = described(method, 1)
    client = method.clients[0]
    masks = client.state.masks
    assert masks is not None
    flipped = ~masks.mask.encrypted
    masks._mask = Mask(flipped)
    train(client, 2)
    with pytest.raises(vs.RoundError, match="another layout"):
        contribute(client, description)
    # The others' masks are the agreed one.
    train(method.clients[1], 2)
    contribute(method.clients[1], description)


def test_what_the_aggregator_reads_is_the_plain_part_and_no_more(make_config: Make) -> None:
    config = make_config("hybrid.fraction=0.25")
    method = make_method(config)
    setting = prepare(config)
    start = setting.initial_parameters()
    outcome = method.run_round(1)
    assert set(outcome.visible) == {0, 1, 2, 3}
    values = sum(array.size for array in start.values())
    for i, tensors in outcome.visible.items():
        result = setting.trainer(i).train(start, 1)
        read = np.concatenate([array.ravel() for array in tensors.values()])
        true = np.concatenate([array.ravel() for array in result.update.values()])
        seen = np.isfinite(read)
        assert seen.sum() == values - np.ceil(0.25 * values)
        weight = outcome.clouds[i].weight
        np.testing.assert_allclose(read[seen], weight * true[seen], rtol=2.0**-8, atol=1e-7)


def test_patterns_decide_before_sensitivity(make_config: Make) -> None:
    method = make_method(make_config('hybrid.never=["3.*"]'))
    outcome = method.run_round(1)
    for tensors in outcome.visible.values():
        assert np.isfinite(tensors["3.weight"]).all()
        assert np.isnan(tensors["0.weight"]).all()
    with pytest.raises(vs.ParameterError, match="matches no tensor"):
        make_method(make_config('hybrid.never=["nothing.*"]'))
    with pytest.raises(vs.ParameterError, match="always and never"):
        make_method(make_config('hybrid.never=["0.*"]', 'hybrid.always=["0.*"]'))


def test_everything_is_encrypted_by_default_and_within_a_wide_budget(make_config: Make) -> None:
    assert not make_config().terms.is_hybrid
    outcome = make_method(make_config()).run_round(1)
    assert outcome.encrypted_fraction == 1
    assert outcome.visible == {}
    wide = make_config("hybrid.steer=budget", "hybrid.budget_s=100")
    outcome = make_method(wide).run_round(1)
    assert outcome.encrypted_fraction == 1
    assert outcome.visible == {}


def test_the_budget_steers_and_the_floor_holds(make_config: Make) -> None:
    def fraction(*settings: str) -> float:
        config = make_config("hybrid.steer=budget", "model.hidden=[256]", *settings)
        return make_method(config).run_round(1).encrypted_fraction

    links = "aggregation.bandwidths_bps=[1e6, 1e6, 1e6, 1e6]"
    slow = ("hybrid.budget_s=0.001", "hybrid.floor=0.05", links)
    assert fraction(*slow) == pytest.approx(0.05, abs=0.001)
    # 2,817 values beside 11,237 bytes of sealed key and check block: 16.9 kB at 2 bytes a value,
    # 18.1 kB at 2.4375.
    middle = fraction("hybrid.budget_s=0.14", links)
    assert 0.2 < middle < 0.9
    # One fast cloud among slow ones raises the fraction.
    assert (
        fraction("hybrid.budget_s=0.14", "aggregation.bandwidths_bps=[1e6, 1e6, 1e6, 1e9]") > middle
    )
    with pytest.raises(vs.ParameterError, match="budget_s is 0"):
        make_config("hybrid.steer=budget")


def test_exposure_counts_high_losses_and_few_rows() -> None:
    assert exposure(np.log(2), 100, 100) == pytest.approx(1)
    assert exposure(2 * np.log(2), 100, 100) == pytest.approx(2)
    assert exposure(np.log(2), 50, 100) == pytest.approx(2)
    assert exposure(0.0, 100, 100) == 0.25
    assert exposure(100.0, 1, 100) == 4


def test_bytes_saved_are_in_the_record(make_config: Make) -> None:
    settings = ("model.hidden=[256]", "training.rounds=1")
    whole = run_method("veilsum", make_config(*settings)).records[0]
    part = run_method("veilsum", make_config(*settings, "hybrid.fraction=0.1")).records[0]
    single = run_method(
        "veilsum", make_config(*settings, "hybrid.fraction=0.1", "hybrid.plain_dtype=float32")
    ).records[0]
    assert part["bytes"]["upload"] < whole["bytes"]["upload"] < single["bytes"]["upload"]
    assert part["encrypted_fraction"] == pytest.approx(0.1, abs=0.001)


def test_noise_on_the_plain_part_is_accounted(make_config: Make) -> None:
    pytest.importorskip("opacus", reason="accounting needs the extra veilsum[dp]")
    config = make_config(
        "hybrid.fraction=0.2", "hybrid.plain_noise_multiplier=4.0", "hybrid.plain_clip=0.01"
    )
    method = make_method(config)
    first, second = method.run_round(1).privacy, method.run_round(2).privacy
    assert first is not None and second is not None
    assert 0 < first.epsilon < second.epsilon
    assert first.model == "local"
    assert "not the encrypted parts" in first.covers


def test_a_damaged_half_leaves_the_whole_upload_out(make_config: Make) -> None:
    class Cutting(Reliable):
        def __init__(self, part: str) -> None:
            self.part = part

        def delivers(self, client: int, number: int, upload: bytes) -> bytes | None:
            if client:
                return upload
            encrypted, plain = cut_parts(upload)
            if self.part == "plain":
                return join_parts(encrypted, plain[:-1])
            if self.part == "encrypted":
                return join_parts(encrypted[:-1], plain)
            return upload[: len(upload) // 3]

    for part in ("plain", "encrypted", "both"):
        config = make_config("hybrid.fraction=0.2", "aggregation.min_clients=3")
        outcome = make_method(config, conditions=Cutting(part)).run_round(1)
        assert outcome.clouds[0].state == "damaged"
        assert set(outcome.visible) == {1, 2, 3}
        assert [upload.client for upload in outcome.uploads] == [1, 2, 3]
    with pytest.raises(vs.WireFormatError, match="cut off"):
        cut_parts(b"")


def test_sensitivities_are_encrypted_once_a_training_and_only_when_due(make_config: Make) -> None:
    method = make_method(make_config("hybrid.fraction=0.2", "hybrid.renew_every=5"))
    client = method.clients[0]
    train(client, 1)
    contribute(client, described(method, 1))
    with pytest.raises(vs.RoundError, match="mask of round 1 was encrypted before"):
        contribute(client, described(method, 1))
    # An update is not summed before the mask that the round is due, whoever describes its sum.
    state = client.state
    assert state.due.purpose == MASK
    early = state.agreement.propose(state.averaging.sum, state.history.place(UPDATES))
    with pytest.raises(vs.RoundError, match="another history, layout, ranges than was agreed"):
        contribute(client, early.to_bytes())
    masks = state.masks
    assert masks is not None
    skip(client, 1)
    train(client, 2)
    # In round 2 none is due: neither the description of round 1 nor one of its own place will do.
    assert client.state.due.purpose == UPDATES
    late = client.state.agreement.propose(masks.sum, client.state.history.place(MASK))
    for description in (described(method, 1), late.to_bytes()):
        with pytest.raises(vs.RoundError, match=r"has another .*history.* than was agreed"):
            contribute(client, description)


def test_the_report_says_what_travelled_in_the_clear(make_config: Make) -> None:
    from veilsum.report import write_report
    from veilsum.training import run as loop

    run = loop.train(make_config("hybrid.fraction=0.1", "model.hidden=[256]", "training.rounds=1"))
    page = write_report(run.folder).read_text()
    assert "10.0% of an update's values were encrypted" in page
    assert "the plain part of every update" in page
    assert "smaller; every 5 rounds" in page
    page = write_report(loop.train(make_config("training.rounds=1")).folder).read_text()
    assert "in the clear, as" not in page
    assert "any update, any mean, the model" in page
