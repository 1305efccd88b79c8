"""The configuration of a training run: sections, checks, TOML in and out.

Part of the federated loop. Knows names, types and rules of every option and nothing of what they
do; imports neither PyTorch nor the extension module's heavy parts, so that a wrong option is
reported before anything slow begins. The resolved configuration is written next to a run's
results, and reading it back gives the same run.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from veilsum.data.options import DataOptions
from veilsum.errors import ParameterError
from veilsum.learning.options import ModelOptions, TrainingOptions
from veilsum.options import (
    Rule,
    between,
    check_section,
    convert,
    one_of,
    option,
    read_toml,
    toml_reader,
)
from veilsum.privacy.options import PrivacyOptions
from veilsum.protocol.options import AggregationOptions, EncryptionOptions, HybridOptions
from veilsum.protocol.terms import Terms

_T = TypeVar("_T")


def _file_name(value: str) -> bool:
    return value not in (".", "..") and not any(sign in value for sign in '/\\\0:*?"<>|')


def _device_name(value: str) -> bool:
    return value in ("auto", "cpu", "cuda") or (
        value.startswith("cuda:") and value[len("cuda:") :].isdecimal()
    )


@dataclass(frozen=True)
class RunOptions:
    """Where a run goes and what it runs on."""

    name: str = option(
        "",
        "folder of this run under `directory`; empty: the data set and the time",
        Rule('a plain file name, without slashes or any of : * ? " < > |', _file_name),
    )
    directory: str = option(
        "runs",
        "folder that collects runs",
        Rule("a path that is not empty", lambda value: bool(value) and "\0" not in value),
    )
    seed: int = option(
        7,
        "splits, initial model, batches, dropout and rounding follow from it",
        between(0, 2**63 - 1),
    )
    device: str = option(
        "auto",
        'where the model trains: "auto" (CUDA when there is one), "cpu", "cuda", "cuda:1"',
        Rule('"auto", "cpu", "cuda" or "cuda:" and a number', _device_name),
    )
    threads: int = option(
        0,
        "for encryption and for PyTorch on the CPU; 0: all, or one where the network is small",
        between(0, 4096),
    )
    live: str = option(
        "auto",
        "progress; auto: a live table on a terminal, plain lines elsewhere",
        one_of("auto", "table", "lines", "off"),
    )
    tensorboard: bool = option(True, "write TensorBoard events")
    baseline: bool = option(
        False, "train once more with plaintext averaging and show both in the report"
    )
    resumable: bool = option(
        True, "keep what a killed run needs to go on (veilsum train --resume) until it has finished"
    )
    keep_messages: bool = option(
        False, "of a resumable run: keep all messages and the parties' keys for auditors, forever"
    )


LOCAL_OPTIONS = {
    "run": (
        "name",
        "directory",
        "device",
        "threads",
        "live",
        "tensorboard",
        "baseline",
        "resumable",
        "keep_messages",
    ),
    "data": ("directory", "cache", "path", "ranges"),
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
            check_section(section.name, getattr(self, section.name))
        data = self.data
        if data.shares and len(data.shares) != data.clouds:
            raise ParameterError(
                f"data.shares has {len(data.shares)} entries but data.clouds is {data.clouds}; "
                "give one share a cloud, or none"
            )
        if data.shares and not math.isclose(sum(data.shares), 1.0, rel_tol=0, abs_tol=1e-6):
            raise ParameterError(f"data.shares sums to {sum(data.shares):g}; shares must sum to 1")
        _check_data(data)
        _ = self.terms  # checks the sections that belong together

    @cached_property
    def terms(self) -> Terms:
        """What the clouds agree on, as the parties need it."""
        agreed = self.agreed()
        return Terms(
            clouds=self.data.clouds,
            rounds=self.training.rounds,
            seed=self.run.seed,
            participation=self.training.participation,
            deadline_s=self.training.deadline_s,
            aggregation=self.aggregation,
            encryption=self.encryption,
            hybrid=self.hybrid,
            privacy=self.privacy,
            task={name: agreed[name] for name in ("data", "model", "training")},
        )

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
    _check_csv(data)
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


def _check_csv(data: DataOptions) -> None:
    if data.study != "csv":
        for option in ("path", "label", "site", "ranges"):
            if getattr(data, option):
                raise ParameterError(
                    f"data.{option} is {json.dumps(getattr(data, option))} but data.study is "
                    f'{json.dumps(data.study)}; set data.study = "csv" or leave it out'
                )
        return
    needed = {
        "path": "the table",
        "label": "the column with the outcome",
        "ranges": "the file with the columns' public ranges (docs/data.md says what it holds)",
    }
    for option, what in needed.items():
        if not getattr(data, option):
            raise ParameterError(f'data.study is "csv" but data.{option} is empty; give {what}')
    # "age" is the default, so nobody need have written it.
    if data.site and (data.shares or data.split != "age"):
        raise ParameterError(
            f"data.site is {json.dumps(data.site)}, so each of its values is a cloud; leave out "
            f"data.{'shares' if data.shares else 'split'}"
        )


def _explanation(item: dataclasses.Field[Any]) -> str:
    """Return an option's help, with its choices where it has few."""
    rule: Rule | None = item.metadata["rule"]
    choices = f" ({rule.text})" if rule is not None and rule.text.startswith("one of ") else ""
    return f"{item.metadata['help']}{choices}"


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
    toml = toml_reader()
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
        read[name] = convert(types[name], value, f"{source}: {section}.{name}")
    return cls(**read)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML basic string, except that TOML also forbids a raw DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
