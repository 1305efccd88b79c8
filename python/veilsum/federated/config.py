"""The configuration of a training run: sections, checks, TOML in and out.

Part of the federated loop. Knows names, types and rules of every option and nothing of what they
do; imports neither PyTorch nor the extension module's heavy parts, so that a wrong option is
reported before anything slow begins. The resolved configuration is written next to a run's
results, and reading it back gives the same run.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from veilsum.arguments import shown
from veilsum.errors import ParameterError, missing_extra

_T = TypeVar("_T")


@dataclass(frozen=True)
class Rule:
    """What an option's value must satisfy, in words and as a function.

    Parameters
    ----------
    text : str
        The rule as it appears in an error message after "must be".
    accepts : callable
        Returns whether a value, already of the right type, satisfies the rule.
    """

    text: str
    accepts: Callable[[Any], bool]


def _at_least(low: float) -> Rule:
    return Rule(f"at least {low}", lambda value: bool(value >= low))


def _above(low: float) -> Rule:
    return Rule(f"above {low}", lambda value: bool(value > low))


def _between(low: float, high: float) -> Rule:
    return Rule(f"between {low} and {high}", lambda value: bool(low <= value <= high))


def _below(low: float, high: float) -> Rule:
    return Rule(f"at least {low} and below {high}", lambda value: bool(low <= value < high))


_LARGEST = 1e30  # of what PyTorch takes as float32, with room for its own factors


def _up_to(high: float) -> Rule:
    return Rule(f"above 0 and at most {high:g}", lambda value: bool(0 < value <= high))


def _share() -> Rule:
    return Rule("above 0 and at most 1", lambda value: bool(0 < value <= 1))


def _strictly_between(low: float, high: float) -> Rule:
    return Rule(f"above {low} and below {high}", lambda value: bool(low < value < high))


def _one_of(*choices: Any) -> Rule:
    return Rule(
        "one of " + ", ".join(json.dumps(choice) for choice in choices),
        lambda value: value in choices,
    )


def _each(rule: Rule) -> Rule:
    return Rule(
        f"a list of values, each {rule.text}",
        lambda values: all(rule.accepts(value) for value in values),
    )


def _file_name(value: str) -> bool:
    return value not in (".", "..") and not any(sign in value for sign in '/\\\0:*?"<>|')


def _device_name(value: str) -> bool:
    return value in ("auto", "cpu", "cuda") or (
        value.startswith("cuda:") and value[len("cuda:") :].isdecimal()
    )


def _option(default: _T, text: str, rule: Rule | None = None) -> _T:
    """Declare one option: its default, its line of help and its rule."""
    # The dataclass decorator replaces the Field; the attribute then has the default's type.
    return field(default=default, metadata={"help": text, "rule": rule})


@dataclass(frozen=True)
class RunOptions:
    """Where a run goes and what it runs on."""

    name: str = _option(
        "",
        "folder of this run under `directory`; empty: the data set and the time",
        Rule('a plain file name, without slashes or any of : * ? " < > |', _file_name),
    )
    directory: str = _option(
        "runs",
        "folder that collects runs",
        Rule("a path that is not empty", lambda value: bool(value) and "\0" not in value),
    )
    seed: int = _option(
        7,
        "splits, initial model, batches, dropout and rounding follow from it",
        _between(0, 2**63 - 1),
    )
    device: str = _option(
        "auto",
        'where the model trains: "auto" (CUDA when there is one), "cpu", "cuda", "cuda:1"',
        Rule('"auto", "cpu", "cuda" or "cuda:" and a number', _device_name),
    )
    threads: int = _option(
        0,
        "for encryption and for PyTorch on the CPU; 0: all, or one where the network is small",
        _between(0, 4096),
    )
    live: str = _option(
        "auto",
        "progress; auto: a live table on a terminal, plain lines elsewhere",
        _one_of("auto", "table", "lines", "off"),
    )
    tensorboard: bool = _option(True, "write TensorBoard events")
    baseline: bool = _option(
        False, "train once more with plaintext averaging and show both in the report"
    )


@dataclass(frozen=True)
class DataOptions:
    """Which patients, and how they are spread over the clouds."""

    study: str = _option("flchain", "data set", _one_of("flchain", "mimic3"))
    directory: str = _option("", "of mimic3: the folder with MIMIC-III's CSV files")
    cache: str = _option(
        "",
        "of mimic3: folder for the prepared table, which holds patients' data; empty: the user's "
        'cache folder; "off": none',
    )
    leave_out: tuple[str, ...] = _option((), "feature columns to leave out")
    test_fraction: float = _option(
        0.2, "share of the patients held out for evaluation", _strictly_between(0, 1)
    )
    clouds: int = _option(4, "how many clouds hold the others", _between(2, 8192))
    imbalance: float = _option(
        1.0,
        "cloud k of K gets a share proportional to (K + 1 - k) ** imbalance; 0: equal shares",
        _between(0, 8),
    )
    shares: tuple[float, ...] = _option(
        (), "explicit shares of the clouds instead, summing to 1", _each(_above(0))
    )
    split: str = _option(
        "age",
        'who goes where; "age": the youngest to the first cloud; "random": clouds are alike; '
        '"care_unit" (mimic3): each unit is a cloud; "dirichlet": drawn shares of each class',
        _one_of("age", "random", "care_unit", "dirichlet"),
    )
    dirichlet_alpha: float = _option(
        0.5, "dirichlet: small: clouds differ much; large: clouds are alike", _above(0)
    )
    dirichlet_of: str = _option(
        "label", "dirichlet: what the classes are", _one_of("label", "care_unit")
    )
    age_overlap: float = _option(
        0.5,
        "noise on the age before sorting, in standard deviations; 0: clouds meet at sharp ages",
        _between(0, 100),
    )


@dataclass(frozen=True)
class ModelOptions:
    """The network: a multilayer perceptron with one logit."""

    hidden: tuple[int, ...] = _option(
        (256, 128), "widths of the hidden layers; []: a linear model", _each(_between(1, 65536))
    )
    activation: str = _option("relu", "between the layers", _one_of("relu", "gelu", "silu", "tanh"))
    dropout: float = _option(0.1, "share of hidden units left out while training", _below(0, 1))


@dataclass(frozen=True)
class TrainingOptions:
    """What each cloud does with its own rows in a round."""

    rounds: int = _option(25, "how often the clouds' updates are summed", _at_least(1))
    epochs: int = _option(2, "passes over a cloud's own rows in each round", _at_least(1))
    batch_size: int = _option(64, "rows a step", _between(1, 2**40))
    optimiser: str = _option("adam", "of the clouds; anew each round", _one_of("adam", "sgd"))
    learning_rate: float = _option(0.0003, "of the clouds' optimiser", _up_to(_LARGEST))
    momentum: float = _option(0.9, "of sgd; adam ignores it", _below(0, 1))
    weight_decay: float = _option(0.0001, "of the clouds' optimiser", _between(0, _LARGEST))
    proximal: float = _option(
        0.0,
        "FedProx: pull towards the global model, mu; 0: plain local training",
        _between(0, _LARGEST),
    )
    participation: float = _option(
        1.0, "share of the clouds drawn for each round, at least two of them", _share()
    )
    deadline_s: float = _option(
        0.0,
        "uploads later than this after the round's start are left out; 0: wait for all",
        _at_least(0),
    )


@dataclass(frozen=True)
class AggregationOptions:
    """How the clouds' updates become one step of the global model."""

    weights: str = _option(
        "samples",
        "weight of a cloud, applied by the cloud before it encrypts; dynamic: by loss, rows, link",
        _one_of("samples", "uniform", "dynamic"),
    )
    dynamic_form: str = _option(
        "text",
        "dynamic: rows * bandwidth^alpha / loss as the paper's text means, or its printed inverse",
        _one_of("text", "printed"),
    )
    bandwidth_exponent: float = _option(
        0.5, "dynamic: alpha, the effect of the bandwidth; 0: none", _between(0, 4)
    )
    bandwidths_bps: tuple[float, ...] = _option(
        (),
        "bits a second of each cloud's link; []: measured where a network is, else all equal",
        _each(_above(0)),
    )
    max_share: float = _option(
        1.0, "no cloud counts more than this share of a round; 1: no cap", _share()
    )
    refuse_above: float = _option(
        0.8,
        "a cloud encrypts no update that would count more than this share of the opened total of "
        "weights: such a sum is nearly its own update",
        _share(),
    )
    min_clients: int = _option(
        0,
        "fewest clouds whose sum may be opened; 0: all that take part in a round",
        _between(0, 8192),
    )
    server_optimiser: str = _option(
        "fedavg",
        "from the mean update to the global step",
        _one_of("fedavg", "fedavgm", "fedadam", "fedyogi"),
    )
    server_learning_rate: float = _option(
        0.0,
        "factor on the global step; 0: 1 for fedavg and fedavgm, 0.01 for fedadam and fedyogi",
        _at_least(0),
    )
    server_momentum: float = _option(0.9, "beta1 of fedavgm, fedadam and fedyogi", _below(0, 1))
    server_second_moment: float = _option(0.99, "beta2 of fedadam and fedyogi", _below(0, 1))
    server_adaptivity: float = _option(
        0.001, "tau of fedadam and fedyogi: smaller adapts more", _above(0)
    )


@dataclass(frozen=True)
class EncryptionOptions:
    """The plan of the sums, and the codec's ranges."""

    value_bits: int = _option(16, "bits a value is rounded to", _between(2, 32))
    security: int = _option(128, "bits of security", _one_of(128, 192, 256))
    optimise: str = _option("speed", "what the planner prefers", _one_of("speed", "size"))
    profile: str = _option("auto", 'ring; "auto": the planner chooses')
    engine: str = _option("native", "implementation of the scheme", _one_of("native", "openfhe"))
    authority: str = _option(
        "clouds",
        "who opens sums; clouds: they themselves, together; committee: members of their own, for "
        "the clouds; single: one key holder, who could open every upload",
        _one_of("clouds", "committee", "single"),
    )
    members: int = _option(
        0, "of a committee of their own; 0: as many as clouds", _between(0, 1024)
    )
    threshold: int = _option(
        0, "members who must agree; 0: two thirds of them and one more", _between(0, 1024)
    )
    rounding: str = _option(
        "stochastic",
        "onto the grid of values; stochastic: unbiased, from the run's seed",
        _one_of("stochastic", "nearest"),
    )
    on_clip: str = _option(
        "count", "what happens to values beyond their range", _one_of("count", "error")
    )
    range: str = _option(
        "adaptive",
        "of a tensor's values; adaptive: follows the last opened mean; fixed: always `limit`",
        _one_of("adaptive", "fixed"),
    )
    limit: float = _option(
        0.25, "range of the first round (adaptive) or of every round (fixed)", _above(0)
    )
    range_margin: float = _option(
        8.0, "adaptive: range over the largest value of the last opened mean", _at_least(1)
    )
    clip_tolerance: float = _option(
        0.0, "adaptive: share of clipped values above which all ranges double", _below(0, 1)
    )
    pads_ahead: bool = _option(
        True, "prepare encryptions in the background while the clouds train; the same results"
    )
    pad_budget_mib: int = _option(
        256,
        "memory for what a cloud prepares, in MiB; the rest is made afterwards",
        _between(1, 2**20),
    )


@dataclass(frozen=True)
class HybridOptions:
    """Which values are encrypted; all of them unless this section says otherwise."""

    fraction: float = _option(
        1.0, "share of the values that is encrypted, the most sensitive ones; 1: all", _share()
    )
    steer: str = _option(
        "fixed",
        "fixed: always `fraction`; budget: by loss, rows and link against `budget_s`",
        _one_of("fixed", "budget"),
    )
    budget_s: float = _option(
        0.0, "budget: seconds that a cloud's upload may take on its link", _at_least(0)
    )
    floor: float = _option(0.1, "budget: the fraction never falls below this", _share())
    sensitivity: str = _option(
        "magnitude",
        "of a coordinate: size of its update, root of its squared gradient or Fisher diagonal",
        _one_of("magnitude", "gradient", "fisher"),
    )
    renew_every: int = _option(
        5, "rounds until sensitivities are summed again, under encryption", _at_least(1)
    )
    always: tuple[str, ...] = _option((), "tensors that are always encrypted, as shell patterns")
    never: tuple[str, ...] = _option((), "tensors that are never encrypted, as shell patterns")
    plain_dtype: str = _option(
        "bfloat16", "of the plain values on the wire", _one_of("bfloat16", "float32")
    )
    plain_noise_multiplier: float = _option(
        0.0,
        "Gaussian noise on the plain part, over `plain_clip`; 0: none",
        Rule("0, or between 1e-6 and 1e6", lambda value: value == 0 or 1e-6 <= value <= 1e6),
    )
    plain_clip: float = _option(1.0, "largest L2 norm of a noisy plain part", _above(0))


@dataclass(frozen=True)
class PrivacyOptions:
    """Differential privacy: of the DP-FL baseline, and of Veilsum's own sums where it is on."""

    clip: float = _option(1.0, "largest L2 norm of a cloud's update; longer ones shrink", _above(0))
    noise_multiplier: float = _option(
        1.0, "standard deviation of the noise in the sum, over the clip", _between(1e-6, 1e6)
    )
    delta: float = _option(1e-5, "probability with which epsilon may fail", _strictly_between(0, 1))
    baseline_noise: str = _option(
        "central",
        "of DP-FL: added by a trusted server, or all of it by each cloud",
        _one_of("central", "local"),
    )
    distributed: bool = _option(
        False, "add a discrete Gaussian share of each cloud inside Veilsum's encrypted sums"
    )
    colluders: int = _option(
        1, "distributed: clouds whose noise may be known to the curious", _between(0, 8190)
    )
    noise_tail: float = _option(
        10.0, "distributed: standard deviations of noise that ranges have room for", _between(4, 40)
    )


LOCAL_OPTIONS = {
    "run": ("name", "directory", "device", "threads", "live", "tensorboard", "baseline"),
    "data": ("directory", "cache"),
    "encryption": ("pads_ahead", "pad_budget_mib"),
}
"""Options that may differ from cloud to cloud: where files are, what shows progress, how fast
things are done. Whatever else stands in a configuration is part of the training's history."""


@dataclass(frozen=True)
class TrainConfig:
    """Every choice of a training run.

    Raises
    ------
    ParameterError
        When an option is unknown, of the wrong type or breaks its rule, or when two options
        contradict each other.
    """

    run: RunOptions = field(default_factory=RunOptions)
    data: DataOptions = field(default_factory=DataOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    aggregation: AggregationOptions = field(default_factory=AggregationOptions)
    encryption: EncryptionOptions = field(default_factory=EncryptionOptions)
    hybrid: HybridOptions = field(default_factory=HybridOptions)
    privacy: PrivacyOptions = field(default_factory=PrivacyOptions)

    def __post_init__(self) -> None:
        for section in dataclasses.fields(self):
            _check_section(section.name, getattr(self, section.name))
        data, aggregation = self.data, self.aggregation
        if data.shares and len(data.shares) != data.clouds:
            raise ParameterError(
                f"data.shares has {len(data.shares)} entries but data.clouds is {data.clouds}; "
                "give one share a cloud, or none"
            )
        if data.shares and not math.isclose(sum(data.shares), 1.0, rel_tol=0, abs_tol=1e-6):
            raise ParameterError(f"data.shares sums to {sum(data.shares):g}; shares must sum to 1")
        _check_data(data)
        if aggregation.min_clients == 1:
            raise ParameterError(
                "aggregation.min_clients is 1; must be at least 2, because the sum of one "
                "upload is that upload (0: all clouds)"
            )
        if aggregation.min_clients > data.clouds:
            raise ParameterError(
                f"aggregation.min_clients is {aggregation.min_clients} but data.clouds is "
                f"{data.clouds}; no round could ever be opened"
            )
        if aggregation.min_clients > self.participants:
            raise ParameterError(
                f"aggregation.min_clients is {aggregation.min_clients} but training.participation "
                f"{self.training.participation:g} of {data.clouds} clouds draws "
                f"{self.participants} a round; no round could ever be opened"
            )
        if aggregation.bandwidths_bps and len(aggregation.bandwidths_bps) != data.clouds:
            raise ParameterError(
                f"aggregation.bandwidths_bps has {len(aggregation.bandwidths_bps)} entries but "
                f"data.clouds is {data.clouds}; give one bandwidth a cloud, or none"
            )
        if aggregation.max_share * self.participants < 1 - 1e-9:
            raise ParameterError(
                f"aggregation.max_share is {aggregation.max_share:g}, but {self.participants} "
                f"clouds a round cannot all count less than 1/{self.participants}; use at least "
                f"{1 / self.participants:.4g}"
            )

        if self.hybrid.steer == "budget" and not self.hybrid.budget_s:
            raise ParameterError(
                'hybrid.steer is "budget" but hybrid.budget_s is 0; say how many seconds an upload '
                "may take"
            )

        self._check_authority()
        if self.privacy.distributed:
            self._check_distributed()

    def _check_authority(self) -> None:
        """Refuse a committee that could not open, or whose engine has none."""
        options = self.encryption
        if options.authority != "committee" and options.members:
            raise ParameterError(
                f"encryption.members is {options.members} with authority "
                f'{shown(options.authority)}; it is for authority = "committee"'
            )
        if options.authority == "single":
            if options.threshold:
                raise ParameterError(
                    "encryption.threshold is for committees; one key holder opens alone with "
                    'authority = "single"'
                )
            return
        if options.engine != "native":
            raise ParameterError(
                f"engine {shown(options.engine)} has no committees with a threshold and no sum "
                'tags; say encryption.authority = "single" with it'
            )
        if self.members < 2 or not self.members < 2 * self.threshold <= 2 * self.members:
            raise ParameterError(
                f"encryption.threshold is {self.threshold} of {self.members} members; it must be "
                f"more than half of them, and members at least 2"
            )

    def _check_distributed(self) -> None:
        """Refuse what would void the privacy that the noise is to give."""
        aggregation = self.aggregation
        if aggregation.weights != "uniform" or aggregation.max_share < 1:
            raise ParameterError(
                f'aggregation.weights is "{aggregation.weights}" and max_share '
                f"{aggregation.max_share:g} with privacy.distributed; the noise is sized for "
                'clouds that count the same: use weights = "uniform" and max_share = 1'
            )
        if self.encryption.engine != "native":
            raise ParameterError(
                f"privacy.distributed with engine {self.encryption.engine}: the noise is of whole "
                "numbers, and only the native engine sums exactly"
            )
        if self.is_hybrid:
            raise ParameterError(
                "privacy.distributed with hybrid aggregation: single updates would travel in the "
                "clear beside a private sum; use hybrid.fraction = 1"
            )
        if self.privacy.colluders > self.min_clients - 2:
            raise ParameterError(
                f"privacy.colluders is {self.privacy.colluders}, but a sum may have only "
                f"{self.min_clients} clouds; at least two must be honest"
            )

    @property
    def is_hybrid(self) -> bool:
        """Whether some values may travel in the clear."""
        hybrid = self.hybrid
        return hybrid.fraction < 1 or hybrid.steer == "budget" or bool(hybrid.never)

    @property
    def participants(self) -> int:
        """How many clouds are drawn for each round: at least two."""
        # A share like 0.3 of 10 is 3, although 0.3 * 10 may come out a rounding above it.
        return max(2, math.ceil(self.training.participation * self.data.clouds - 1e-9))

    @property
    def members(self) -> int:
        """How many open sums together; 1 with one key holder."""
        if self.encryption.authority == "single":
            return 1
        own = self.encryption.authority == "committee" and self.encryption.members
        return own or self.data.clouds

    @property
    def threshold(self) -> int:
        """How many of them it takes, with 0 resolved to two thirds and one more."""
        if self.encryption.authority == "single":
            return 1
        return self.encryption.threshold or 2 * self.members // 3 + 1

    @property
    def who_opens(self) -> str:
        """Who opens the sums, in words."""
        if self.encryption.authority == "single":
            return "one key holder, who could open every upload"
        kind = "clouds" if self.encryption.authority == "clouds" else "members of their own"
        if self.threshold == self.members:
            return f"all {self.members} {kind} together: every one of them must answer"
        return f"any {self.threshold} of {self.members} {kind} together"

    @property
    def min_clients(self) -> int:
        """Fewest clouds whose sum may be opened, with 0 resolved to all that take part."""
        return self.aggregation.min_clients or self.participants

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str = "configuration") -> TrainConfig:
        """Build a configuration from nested mappings, as a TOML reader returns them.

        Parameters
        ----------
        values : Mapping
            Section name -> option name -> value; what is missing keeps its default.
        source : str
            Where the values come from, for error messages.

        Raises
        ------
        ParameterError
            As the class says.
        """
        known = {item.name: item for item in dataclasses.fields(cls)}
        types = get_type_hints(cls)
        sections: dict[str, Any] = {}
        for name, options in values.items():
            if name not in known and not isinstance(options, Mapping):
                homes = [section for section in known if name in get_type_hints(types[section])]
                where = f"; put it below [{homes[0]}]" if homes else ""
                raise ParameterError(
                    f"{source}: option {name!r} stands outside of the sections{where}"
                )
            if name not in known:
                raise ParameterError(f"{source}: unknown section [{name}]{_suggest(name, known)}")
            if not isinstance(options, Mapping):
                raise ParameterError(
                    f"{source}: {name} is a section, not an option; write [{name}] and its "
                    "options below it"
                )
            sections[name] = _read_section(types[name], name, options, source)
        return cls(**sections)

    @classmethod
    def load(cls, path: str | Path) -> TrainConfig:
        """Read a TOML file.

        Parameters
        ----------
        path : str or Path
            The file.

        Raises
        ------
        ParameterError
            When it is no TOML, or as the class says.
        OSError
            When it cannot be read.
        """
        return cls.from_mapping(read_toml(path), str(path))

    def agreed(self) -> dict[str, dict[str, Any]]:
        """Return what all participants must have configured alike: all but `LOCAL_OPTIONS`."""
        return {
            section: {
                option: value
                for option, value in options.items()
                if option not in LOCAL_OPTIONS.get(section, ())
            }
            for section, options in self.to_mapping().items()
        }

    def to_mapping(self) -> dict[str, dict[str, Any]]:
        """Return section name -> option name -> value; tuples become lists."""
        return {
            section.name: {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in dataclasses.asdict(getattr(self, section.name)).items()
            }
            for section in dataclasses.fields(self)
        }

    def to_toml(self, *, comments: bool = True) -> str:
        """Return the whole configuration as TOML that `load` reads back to an equal object.

        Parameters
        ----------
        comments : bool
            Put each option's help above it.
        """
        lines: list[str] = []
        for section in dataclasses.fields(self):
            options = getattr(self, section.name)
            if lines:
                lines.append("")
            if comments:
                lines.append(f"# {(type(options).__doc__ or '').strip()}")
            lines.append(f"[{section.name}]")
            for item in dataclasses.fields(options):
                if comments:
                    lines.append(f"# {_explanation(item)}")
                lines.append(f"{item.name} = {_toml_value(getattr(options, item.name))}")
        return "\n".join(lines) + "\n"


def _check_data(data: DataOptions) -> None:
    """Refuse options of the data that contradict each other."""
    if data.study == "mimic3" and not data.directory:
        raise ParameterError(
            'data.study is "mimic3" but data.directory is empty; give the folder with MIMIC-III\'s '
            "CSV files (docs/data.md says how to get it)"
        )
    if data.study != "mimic3":
        for option in ("directory", "cache"):
            if getattr(data, option):
                raise ParameterError(
                    f"data.{option} is {json.dumps(getattr(data, option))} but data.study is "
                    f'{json.dumps(data.study)}, which reads no folder; set data.study = "mimic3" '
                    "or leave it out"
                )
        for option in ("split", "dirichlet_of"):
            if getattr(data, option) == "care_unit":
                raise ParameterError(
                    f'data.{option} is "care_unit" but the rows of {data.study} come from no care '
                    'units; set data.study = "mimic3" or choose another'
                )
    if data.shares and data.split in ("care_unit", "dirichlet"):
        raise ParameterError(
            f"data.shares is given but data.split is {json.dumps(data.split)}, which decides the "
            "clouds' sizes itself; leave one of them out"
        )


def _toml_reader() -> Any:
    """Return the standard library's TOML reader, or its twin before Python 3.11."""
    try:
        return importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ModuleNotFoundError as error:
        raise missing_extra("a TOML configuration", "tomli", "train") from error


def _explanation(item: dataclasses.Field[Any]) -> str:
    """Return an option's help, with its choices where it has few."""
    rule: Rule | None = item.metadata["rule"]
    choices = f" ({rule.text})" if rule is not None and rule.text.startswith("one of ") else ""
    return f"{item.metadata['help']}{choices}"


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file into nested dictionaries.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    ParameterError
        When it is no TOML; the message has line and column.
    OSError
        When it cannot be read.
    """
    toml = _toml_reader()
    data = Path(path).read_bytes()
    try:
        # Some editors put a byte order mark before UTF-8, which TOML does not know.
        values: dict[str, Any] = toml.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ParameterError(
            f"{path}: not valid TOML: {error}; TOML is UTF-8: save the file with that encoding"
        ) from error
    except toml.TOMLDecodeError as error:
        raise ParameterError(f"{path}: not valid TOML: {error}") from error
    return values


def with_overrides(values: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Return nested option values with `section.option=value` settings laid over them.

    Parameters
    ----------
    values : Mapping
        Section name -> option name -> value.
    settings : iterable of str
        Each "section.option=value", the value written as in TOML; a bare word is a string.

    Raises
    ------
    ParameterError
        When a setting does not have that form.
    """
    merged: dict[str, Any] = {
        name: dict(options) if isinstance(options, Mapping) else options
        for name, options in values.items()
    }
    for setting in settings:
        path, equals, text = setting.partition("=")
        section, dot, option = path.strip().partition(".")
        if not equals or not dot or not section or not option or "." in option:
            raise ParameterError(
                f"--set {setting!r}: must look like section.option=value, "
                "for example training.rounds=5"
            )
        options = merged.setdefault(section, {})
        if not isinstance(options, dict):
            options = merged[section] = {}
        options[option] = _parse_value(text.strip())
    return merged


def _parse_value(text: str) -> Any:
    toml = _toml_reader()
    try:
        parsed = toml.loads(f"value = {text}")
    except toml.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def _suggest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return "; known are " + ", ".join(sorted(names))


def _read_section(cls: type[Any], section: str, options: Mapping[str, Any], source: str) -> Any:
    types = get_type_hints(cls)
    read: dict[str, Any] = {}
    for name, value in options.items():
        if name not in types:
            raise ParameterError(
                f"{source}: unknown option {section}.{name}{_suggest(name, types)}"
            )
        read[name] = _convert(types[name], value, f"{source}: {section}.{name}")
    return cls(**read)


_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


def _convert(wanted: Any, value: Any, where: str) -> Any:
    """Return `value` as `wanted`; only int -> float and list -> tuple are conversions."""
    if get_origin(wanted) is tuple:
        inner = get_args(wanted)[0]
        if not isinstance(value, (list, tuple)):
            raise ParameterError(
                f"{where} is {shown(value)}; must be a list, each {_TYPE_NAMES[inner]}"
            )
        return tuple(_convert(inner, item, f"{where}[{i}]") for i, item in enumerate(value))
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ParameterError(f"{where} is {shown(value)}; must be finite") from None
    # bool is a subclass of int, so an exact comparison keeps `true` out of whole numbers.
    if type(value) is not wanted:
        raise ParameterError(f"{where} is {shown(value)}; must be {_TYPE_NAMES[wanted]}")
    return value


def _check_section(section: str, options: Any) -> None:
    types = get_type_hints(type(options))
    for item in dataclasses.fields(options):
        name = f"{section}.{item.name}"
        value = getattr(options, item.name)
        converted = _convert(types[item.name], value, name)
        if converted != value or type(converted) is not type(value):
            object.__setattr__(options, item.name, converted)
        flat = converted if isinstance(converted, tuple) else (converted,)
        if any(isinstance(number, float) and not math.isfinite(number) for number in flat):
            raise ParameterError(f"{name} is {shown(value)}; must be finite")
        if any(isinstance(text, str) and not _is_text(text) for text in flat):
            # Bytes that are no UTF-8, as a shell may pass them on; TOML could not hold them.
            raise ParameterError(f"{name} is {shown(value)}; must be text that UTF-8 can hold")
        rule: Rule | None = item.metadata["rule"]
        if rule is not None and not rule.accepts(converted):
            given = ", ".join(map(_given, flat))
            if isinstance(converted, tuple):
                given = f"[{given}]"
            raise ParameterError(f"{name} is {given}; must be {rule.text}")


def _given(value: object) -> str:
    """Say what was given as a configuration file writes it, where it can be shown."""
    text = shown(value)
    return json.dumps(value) if text == repr(value) else text


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML basic string, except that TOML also forbids a raw DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
