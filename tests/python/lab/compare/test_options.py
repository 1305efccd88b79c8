"""What can be chosen, and what is refused before anything slow begins."""

from __future__ import annotations

import argparse

import pytest

import veilsum as vs
from veilsum.cli import main
from veilsum.cli.commands.compare import add_arguments, read_options
from veilsum.lab.compare.contenders import CONTENDERS, choose, configuration
from veilsum.lab.compare.options import QUICK_SETTINGS, CompareOptions
from veilsum.training.config import TrainConfig, with_overrides


def parse(*arguments: str) -> CompareOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return read_options(parser.parse_args(list(arguments)))


@pytest.mark.parametrize(
    ("rounds", "attacked", "expected"),
    [
        (25, 9, [1, 4, 7, 10, 13, 16, 19, 22, 25]),
        (5, 9, [1, 2, 3, 4, 5]),
        (4, 3, [1, 2, 4]),
        (7, 1, [7]),
        (1, 9, [1]),
    ],
)
def test_attacked_rounds_are_spread(rounds: int, attacked: int, expected: list[int]) -> None:
    assert CompareOptions(attacked_rounds=attacked).rounds_to_attack(rounds) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"probes": 0},
        {"attacked_rounds": 0},
        {"optimised_batches": -1},
        {"batch_sizes": (8,)},
        {"batch_sizes": (1, 0)},
        {"batch_sizes": (1, 8, 8)},
    ],
)
def test_wrong_options_are_refused(wrong: dict) -> None:
    with pytest.raises(vs.ParameterError):
        CompareOptions(**wrong)


def test_the_command_line_becomes_options() -> None:
    options = parse("--methods", "veilsum, fedavg", "--probes", "5", "--batch-sizes", "1,4")
    assert options.methods == ("veilsum", "fedavg")
    assert options.probes == 5
    assert options.batch_sizes == (1, 4)
    assert options.aes
    assert not options.quick
    quick = parse("--quick", "--no-aes", "--attacked-rounds", "2")
    assert quick.quick
    assert not quick.aes
    assert quick.attacked_rounds == 2
    assert quick.probes < options.probes or quick.probes < CompareOptions().probes


def test_quick_settings_are_settings() -> None:
    config = TrainConfig.from_mapping(with_overrides({}, QUICK_SETTINGS))
    assert config.training.rounds < TrainConfig().training.rounds


def test_contenders_come_in_the_order_of_the_page() -> None:
    assert [one.key for one in choose(())] == list(CONTENDERS)
    assert [one.key for one in choose(("veilsum", "fedavg"))] == ["fedavg", "veilsum"]
    with pytest.raises(vs.ParameterError, match="no method 'paillier'"):
        choose(("paillier",))
    with pytest.raises(vs.ParameterError, match="twice"):
        choose(("fedavg", "fedavg"))


def test_every_contender_has_a_configuration() -> None:
    for one in CONTENDERS.values():
        mine = configuration(TrainConfig(), one)
        assert mine.training == TrainConfig().training
        assert mine.data == TrainConfig().data


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "paillier"], "no method 'paillier'"),
        (["--batch-sizes", "one"], "whole numbers"),
        (["--batch-sizes", "8"], "1 among them"),
        (["--probes", "0"], "probes is 0"),
        (["--set", "training.round=3"], "training"),
    ],
)
def test_wrong_arguments_end_with_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *arguments]) == 3
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
