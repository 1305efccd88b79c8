"""Configuration: TOML there and back, and errors that name the option, the rule and the remedy."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

import veilsum as vs
from veilsum.options import read_toml
from veilsum.training.config import TrainConfig, with_overrides

ROOT = Path(__file__).resolve().parents[3]


def test_defaults_survive_toml(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(TrainConfig().to_toml())
    assert TrainConfig.load(path) == TrainConfig()


def test_every_changed_option_survives_toml(tmp_path: Path) -> None:
    changed = with_overrides(
        {},
        [
            'run.name=o "quoted" \\ name'.replace('"', "'").replace("\\", ""),
            "run.seed=99",
            "run.threads=2",
            "run.tensorboard=false",
            "data.clouds=3",
            "data.shares=[0.5, 0.25, 0.25]",
            'data.leave_out=["mgus"]',
            "model.hidden=[]",
            "training.learning_rate=1e-5",
            "encryption.range=fixed",
        ],
    )
    config = TrainConfig.from_mapping(changed)
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml(comments=False))
    assert TrainConfig.load(path) == config
    assert TrainConfig.from_mapping(config.to_mapping()) == config
    assert config.training.learning_rate == 1e-5
    assert config.model.hidden == ()


def test_the_example_is_the_default_configuration() -> None:
    assert (ROOT / "examples" / "train.toml").read_text() == TrainConfig().to_toml()


def test_every_option_has_help() -> None:
    for section in dataclasses.fields(TrainConfig):
        for option in dataclasses.fields(getattr(TrainConfig(), section.name)):
            assert option.metadata["help"], f"{section.name}.{option.name}"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trainning.rounds=5", r"unknown section \[trainning\]; did you mean 'training'\?"),
        ("training.round=5", r"unknown option training.round; did you mean 'rounds'\?"),
        ("training.zzz=5", "unknown option training.zzz; known are batch_size, deadline_s, epochs"),
        ("training.rounds=0", "training.rounds is 0; must be at least 1"),
        ("training.rounds=many", "training.rounds is 'many'; must be a whole number"),
        ("training.rounds=2.5", "training.rounds is 2.5; must be a whole number"),
        ("training.rounds=true", "training.rounds is True; must be a whole number"),
        ("training.learning_rate=0", "training.learning_rate is 0.0; must be above 0"),
        ("training.learning_rate=inf", "training.learning_rate is inf; must be finite"),
        ("training.learning_rate=nan", "training.learning_rate is nan; must be finite"),
        (f"training.learning_rate=1{'0' * 400}", "is a whole number of 1329 bits; must be finite"),
        ("privacy.noise_multiplier=1e300", "must be between 1e-06 and 1000000.0"),
        ("privacy.noise_multiplier=1e-300", "must be between 1e-06 and 1000000.0"),
        ("hybrid.plain_noise_multiplier=1e-300", "must be 0, or between 1e-6 and 1e6"),
        (r'run.directory="a\u0000b"', "must be a path that is not empty"),
        (
            "training.optimiser=rmsprop",
            'training.optimiser is "rmsprop"; must be one of "adam", "sgd"',
        ),
        ("training.momentum=1", "must be at least 0 and below 1"),
        ("model.hidden=64", "model.hidden is 64; must be a list, each a whole number"),
        ("model.hidden=[64, 0]", "must be a list of values, each between 1 and 65536"),
        ("model.hidden=[64, 1.5]", r"model.hidden\[1\] is 1.5; must be a whole number"),
        ("model.dropout=1.0", "model.dropout is 1.0; must be at least 0 and below 1"),
        ("run.device=gpu", 'run.device is "gpu"; must be "auto", "cpu", "cuda" or'),
        ("run.name=../elsewhere", "run.name is .* must be a plain file name"),
        ("run.directory=", "run.directory is .* must be a path that is not empty"),
        ("run.tensorboard=1", "run.tensorboard is 1; must be true or false"),
        ("data.test_fraction=1.0", "must be above 0 and below 1"),
        ("data.clouds=1", "data.clouds is 1; must be between 2 and 8192"),
        ("data.shares=[0.5, 0.5]", "data.shares has 2 entries but data.clouds is 4"),
        ("data.shares=[0.1, 0.2, 0.3, 0.3]", "sums to 0.9; shares must sum to 1"),
        ("encryption.security=100", "must be one of 128, 192, 256"),
        ("encryption.value_bits=33", "must be between 2 and 32"),
        ("aggregation.min_clients=1", "the sum of one upload is that upload"),
        ("aggregation.min_clients=5", "but data.clouds is 4; no round could ever be opened"),
        ("aggregation.weights=equal", 'must be one of "samples", "uniform", "dynamic"'),
    ],
)
def test_wrong_values_are_named(setting: str, message: str) -> None:
    with pytest.raises(vs.ParameterError, match=message):
        TrainConfig.from_mapping(with_overrides({}, [setting]))


@pytest.mark.parametrize(
    "setting", ["rounds=5", "training.rounds", "=5", "a.b.c=1", ".x=1", "x.=1"]
)
def test_malformed_settings_are_refused(setting: str) -> None:
    with pytest.raises(vs.ParameterError, match=r"must look like section\.option=value"):
        with_overrides({}, [setting])


def test_an_option_outside_of_the_sections_is_told_its_place() -> None:
    with pytest.raises(vs.ParameterError, match=r"'rounds' stands outside .* below \[training\]"):
        TrainConfig.from_mapping({"rounds": 5})
    with pytest.raises(vs.ParameterError, match=r"'nonsense' stands outside of the sections$"):
        TrainConfig.from_mapping({"nonsense": 5})


def test_an_option_where_a_section_belongs() -> None:
    with pytest.raises(vs.ParameterError, match="training is a section"):
        TrainConfig.from_mapping({"training": 5})


def test_broken_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[training\nrounds = 5\n")
    with pytest.raises(vs.ParameterError, match=r"broken\.toml: not valid TOML"):
        read_toml(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(vs.ParameterError, match="not valid TOML"):
        read_toml(path)


def test_whole_numbers_pass_for_numbers() -> None:
    config = TrainConfig.from_mapping({"training": {"learning_rate": 1}})
    assert config.training.learning_rate == 1.0
    assert isinstance(config.training.learning_rate, float)


def test_direct_construction_is_checked_too() -> None:
    with pytest.raises(vs.ParameterError, match=r"training\.rounds is -1"):
        TrainConfig(training=dataclasses.replace(TrainConfig().training, rounds=-1))


def test_min_clients_zero_means_all() -> None:
    assert TrainConfig().terms.min_clients == 4
    config = TrainConfig.from_mapping({"aggregation": {"min_clients": 2}})
    assert config.terms.min_clients == 2


def test_the_configuration_does_not_load_pytorch() -> None:
    import subprocess

    code = "import veilsum.cli.commands.train, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
