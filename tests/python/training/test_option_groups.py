"""`veilsum train` with each group of its options on, and with each pair of them, to the report.

What one group adds to a round, another may take away: rounds differ in phases, messages and fields.
A run counts when it ends with 0, and with a report that nothing was noted about.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest

from veilsum import ParameterError
from veilsum.cli import main
from veilsum.data.synthetic_mimic import write_synthetic_mimic
from veilsum.training.config import TrainConfig, with_overrides

SMALL = (
    "run.device=cpu",
    "run.threads=1",
    "training.rounds=2",
    "training.epochs=1",
    "training.batch_size=512",
    "model.hidden=[4]",
)

#: Name -> settings. Together they name every option that changes what a run does.
GROUPS: dict[str, tuple[str, ...]] = {
    "baseline": ("run.baseline=true",),
    "views": ("run.live=table", "run.tensorboard=false", "run.seed=8"),
    "nothing kept": ("run.resumable=false",),
    "kept for auditors": ("run.keep_messages=true",),
    "random split": ("data.split=random", "data.imbalance=0.0", "data.test_fraction=0.3"),
    "age split": ("data.split=age", "data.age_overlap=0.0", "data.clouds=3"),
    "dirichlet": (
        "data.split=dirichlet",
        "data.dirichlet_alpha=2.0",
        "data.dirichlet_of=label",
    ),
    "shares": ("data.shares=[0.4, 0.3, 0.2, 0.1]", "data.leave_out=['kappa']"),
    "mimic3": (
        "data.study=mimic3",
        "data.directory={mimic3}",
        "data.cache=off",
        "data.split=care_unit",
        "data.clouds=5",
    ),
    "csv": (
        "data.study=csv",
        "data.path={csv}/patients.csv",
        "data.label=died",
        "data.site=hospital",
        "data.ranges={csv}/ranges.toml",
        "data.clouds=3",
    ),
    "csv of classes": (
        "data.study=csv",
        "data.path={csv}/patients.csv",
        "data.label=grade",
        "data.split=random",
        "data.ranges={csv}/ranges.toml",
        "run.baseline=true",
    ),
    "csv of numbers": (
        "data.study=csv",
        "data.path={csv}/patients.csv",
        "data.label=days",
        "data.site=hospital",
        "data.ranges={csv}/ranges.toml",
        "data.clouds=3",
        "run.baseline=true",
    ),
    "linear": ("model.hidden=[]",),
    "network": ("model.hidden=[8, 4]", "model.activation=gelu", "model.dropout=0.3"),
    "own network": ("model.function=own_network:make",),
    "sgd": (
        "training.optimiser=sgd",
        "training.learning_rate=0.01",
        "training.momentum=0.5",
        "training.weight_decay=0.0",
        "training.proximal=0.1",
    ),
    "longer": ("training.rounds=7", "training.epochs=2", "training.batch_size=1024"),
    "participation": ("training.participation=0.5", "aggregation.min_clients=2"),
    "skipped": ("training.deadline_s=1e-9",),
    "uniform": ("aggregation.weights=uniform",),
    "dynamic": (
        "aggregation.weights=dynamic",
        "aggregation.dynamic_form=printed",
        "aggregation.bandwidth_exponent=0.25",
        "aggregation.max_share=0.6",
        "aggregation.refuse_above=0.9",
    ),
    "links": ("aggregation.bandwidths_bps=[1e7, 2e7, 1e7, 1e6]",),
    "fedavgm": (
        "aggregation.server_optimiser=fedavgm",
        "aggregation.server_momentum=0.5",
        "aggregation.server_learning_rate=0.5",
    ),
    "fedyogi": (
        "aggregation.server_optimiser=fedyogi",
        "aggregation.server_second_moment=0.9",
        "aggregation.server_adaptivity=0.01",
    ),
    "plan": (
        "encryption.value_bits=12",
        "encryption.security=192",
        "encryption.optimise=size",
        "encryption.profile=auto",
    ),
    "fixed ranges": (
        "encryption.range=fixed",
        "encryption.limit=0.001",
        "encryption.rounding=nearest",
        "encryption.on_clip=count",
    ),
    "adaptive ranges": (
        "encryption.range=adaptive",
        "encryption.range_margin=2.0",
        "encryption.clip_tolerance=0.1",
    ),
    "no pads": ("encryption.pads_ahead=false",),
    "few pads": ("encryption.pad_budget_mib=1",),
    "openfhe": ("encryption.engine=openfhe", "encryption.authority=single"),
    "one key holder": ("encryption.authority=single",),
    "committee": (
        "encryption.authority=committee",
        "encryption.members=5",
        "encryption.threshold=3",
    ),
    "hybrid": (
        "hybrid.fraction=0.1",
        "hybrid.sensitivity=gradient",
        "hybrid.renew_every=2",
        "hybrid.always=['0.weight']",
        "hybrid.plain_dtype=float32",
    ),
    "hybrid budget": (
        "hybrid.steer=budget",
        "hybrid.budget_s=0.001",
        "hybrid.floor=0.2",
        "hybrid.never=['0.bias']",
    ),
    "plain noise": (
        "hybrid.fraction=0.5",
        "hybrid.plain_noise_multiplier=1.0",
        "hybrid.plain_clip=0.5",
    ),
    "privacy": (
        "privacy.distributed=true",
        "aggregation.weights=uniform",
        "privacy.clip=0.5",
        "privacy.noise_multiplier=2.0",
        "privacy.delta=1e-6",
        "privacy.colluders=0",
        "privacy.noise_tail=8.0",
    ),
}

#: Options without an effect on the rounds of `veilsum train`.
ELSEWHERE = {
    "run.name", "run.directory", "run.device", "run.threads",
    "privacy.baseline_noise",  # of the method dp-fl, which veilsum compare runs
}  # fmt: skip

NEEDS = {"plain noise": "opacus", "privacy": "opacus", "mimic3": "polars", "openfhe": "openfhe"}


def names_of(settings: tuple[str, ...]) -> set[str]:
    return {setting.partition("=")[0] for setting in settings}


@functools.cache
def allowed(one: str, other: str) -> bool:
    """Whether a user can combine two groups: no option with two values, and no contradiction."""
    merged: dict[str, str] = {}
    for setting in (*GROUPS[one], *GROUPS[other]):
        name, _, value = setting.partition("=")
        if merged.setdefault(name, value) != value:
            return False
    settings = [f"{name}={value}" for name, value in merged.items()]
    try:
        TrainConfig.from_mapping(with_overrides({}, [*SMALL, *settings]))
    except ParameterError:
        return False
    return True


MOST = 5  # groups in a run: more, and one of them may hide what two others do


def covering() -> list[tuple[str, ...]]:
    """Few runs that have each pair of groups that can be combined: greedily, in a fixed order."""
    # Where all rounds are skipped, nothing else can show: a run of its own, with all that fits.
    names = [name for name in GROUPS if name not in ("openfhe", "skipped")]
    skipped = ["skipped"]
    for name in names:
        if all(allowed(name, one) for one in skipped):
            skipped.append(name)
    runs = [tuple(skipped)]
    left = {pair for pair in itertools.combinations(names, 2) if allowed(*pair)}
    while left:
        run = list(min(left, key=lambda pair: (names.index(pair[0]), names.index(pair[1]))))
        while len(run) < MOST:
            gains = {
                name: sum((one, name) in left or (name, one) in left for one in run)
                for name in names
                if name not in run
                and all(allowed(*sorted((name, one), key=names.index)) for one in run)
            }
            best = max(gains, key=lambda name: gains[name], default="")
            if not best or not gains[best]:
                break
            run.append(best)
        left -= {*itertools.permutations(run, 2)}
        runs.append(tuple(sorted(run, key=names.index)))
    return runs


@pytest.fixture(scope="session")
def mimic3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_mimic(tmp_path_factory.mktemp("mimic") / "3", stays=300, seed=1)


@pytest.fixture(scope="session")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of 600 made-up rows from three hospitals, and its ranges."""
    folder = tmp_path_factory.mktemp("csv")
    generator = np.random.default_rng(4)
    lines = ["age,marker,colour,hospital,days,grade,died"]
    for row in range(600):
        age, marker = generator.uniform(40, 90), generator.lognormal()
        colour = ("red", "blue", "")[row % 3]
        died = int(age / 90 + marker / 5 + generator.random() > 1.7)
        days, grade = age / 10 * marker + generator.random(), int(marker > 0.6) + int(age > 70)
        lines.append(
            f"{age:.1f},{marker:.3f},{colour},{'AABCC'[row % 5]},{days:.2f},{'abc'[grade]},{died}"
        )
    (folder / "patients.csv").write_text("\n".join(lines) + "\n")
    (folder / "ranges.toml").write_text(
        "[age]\nlow = 0\nhigh = 120\n[marker]\nlow = 0.01\nhigh = 100\nlog = true\n"
        '[colour]\nkind = "categorical"\nlevels = ["red", "blue"]\nmissing = true\n'
        '[days]\nlow = 0.1\nhigh = 1000\nlog = true\nunit = "days"\n'
        '[grade]\nkind = "categorical"\nlevels = ["a", "b", "c"]\n'
        '[died]\nkind = "binary"\n[hospital]\nkind = "ignore"\n'
    )
    return folder


def run_and_report(
    groups: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    for name in groups:
        if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
            pytest.skip(f"{name} needs the package {NEEDS[name]}")
    settings = [*SMALL, f'run.directory="{tmp_path}"', "run.name=grouped"]
    for name in groups:
        settings += GROUPS[name]
    if "mimic3" in groups:
        folder = request.getfixturevalue("mimic3")
        settings = [setting.replace("{mimic3}", str(folder)) for setting in settings]
    if any("{csv}" in setting for setting in settings):
        folder = request.getfixturevalue("csv")
        settings = [setting.replace("{csv}", str(folder)) for setting in settings]
    arguments = [word for setting in settings for word in ("--set", setting)]
    code = main(["train", *arguments])
    printed = capsys.readouterr()
    # A run in which no round was summed says so by its exit code, and has its report all the same.
    assert code == (6 if "skipped" in groups else 0), printed.err
    assert "note:" not in printed.err
    page = (tmp_path / "grouped" / "report.html").read_text()
    assert "What was learned" in page or "skipped" in page


def test_the_groups_have_every_option() -> None:
    config = TrainConfig()
    known = {
        f"{section.name}.{item.name}"
        for section in dataclasses.fields(config)
        for item in dataclasses.fields(getattr(config, section.name))
    }
    named = set().union(*map(names_of, GROUPS.values()))
    assert named | ELSEWHERE == known
    assert not named & ELSEWHERE


@pytest.mark.parametrize("group", GROUPS)
def test_a_group(
    group: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    run_and_report((group,), capsys, tmp_path, request)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("groups", covering(), ids=" + ".join)
def test_groups_together(
    groups: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    run_and_report(groups, capsys, tmp_path, request)
