"""A table as a task: a cloud gets what it needs from its own rows and the pooled sums."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

import veilsum as vs
from veilsum import data
from veilsum.learning.tabular import TabularTask
from veilsum.learning.task import ROWS, Learner, LocalTask, Tensors
from veilsum.training.config import TrainConfig
from veilsum.training.federation import Federation
from veilsum.training.setting import prepare

CPU = torch.device("cpu")


def tasks(config: TrainConfig, federation: Federation) -> list[TabularTask]:
    return [
        TabularTask(
            study, config.model, config.training, seed=config.run.seed, cloud=cloud, device=CPU
        )
        for cloud, study in enumerate(federation.clouds)
    ]


def test_a_task_trains_as_every_method_of_a_comparison_does(
    config: TrainConfig, federation: Federation
) -> None:
    setting = prepare(config, federation)
    pooled = setting.moments.to_mapping()
    for cloud, task in enumerate(tasks(config, federation)):
        learner: Learner = task.begin(pooled)
        initial = learner.initial()
        expected = setting.initial_parameters()
        assert list(initial) == list(expected)
        for name in expected:
            assert initial[name].tobytes() == expected[name].tobytes()
        mine = learner.train(initial, 1)
        theirs = setting.trainer(cloud).train(expected, 1)
        assert (mine.loss, mine.rows) == (theirs.loss, theirs.rows)
        for name in expected:
            assert mine.update[name].tobytes() == theirs.update[name].tobytes()
        assert learner.tensors == Tensors()


def test_statistics_are_the_cloud_s_own_moments(
    config: TrainConfig, federation: Federation
) -> None:
    for study, task in zip(federation.clouds, tasks(config, federation), strict=True):
        one: LocalTask = task
        sums = one.statistics()
        expected = data.local_moments(study).to_mapping()
        assert list(sums) == list(expected)
        assert sums[ROWS] == len(study)
        for name in expected:
            np.testing.assert_array_equal(sums[name], expected[name])


def test_what_a_task_describes_is_public_and_alike(
    config: TrainConfig, federation: Federation
) -> None:
    described = [json.dumps(task.describe(), sort_keys=True) for task in tasks(config, federation)]
    assert len(set(described)) == 1
    features = json.loads(described[0])["features"]
    assert [one["name"] for one in features] == [one.name for one in federation.study.features]
    assert (features[0]["low"], features[0]["high"]) == (0, 120)


def test_a_feature_without_a_value_anywhere_is_named(
    make_config: Callable[..., TrainConfig], federation: Federation
) -> None:
    config = make_config()
    pooled = prepare(config, federation).moments.to_mapping()
    pooled["observed"] = pooled["observed"].copy()
    pooled["observed"][0] = 0.0
    with pytest.raises(vs.ParameterError, match=r"feature age has no value in any cloud"):
        tasks(config, federation)[0].begin(pooled)
