"""The terms of a training: what all its clouds agree on before the first sum.

Protocol. The parties read these and nothing of where a configuration came from. Messages name
options as configuration files do (`aggregation.min_clients`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from veilsum.arguments import shown
from veilsum.errors import ParameterError
from veilsum.options import check_section
from veilsum.privacy.options import PrivacyOptions
from veilsum.protocol.options import AggregationOptions, EncryptionOptions, HybridOptions

SECTIONS: dict[str, type[Any]] = {
    "aggregation": AggregationOptions,
    "encryption": EncryptionOptions,
    "hybrid": HybridOptions,
    "privacy": PrivacyOptions,
}
"""Sections of options, as in a configuration of `veilsum train`."""


def read_sections(given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Read options by section; what is missing keeps its default.

    Parameters
    ----------
    given : mapping of str to mapping
        Section name -> option name -> value.

    Raises
    ------
    veilsum.ParameterError
        When a section or an option is unknown.
    """
    made: dict[str, Any] = {}
    for name, options in given.items():
        kind = SECTIONS.get(name)
        if kind is None:
            raise ParameterError(
                f"unknown argument {name!r}; sections of options are {', '.join(SECTIONS)}"
            )
        unknown = sorted(set(options) - set(kind.__dataclass_fields__))
        if unknown:
            raise ParameterError(
                f"unknown option {name}.{unknown[0]}; known are "
                f"{', '.join(sorted(kind.__dataclass_fields__))}"
            )
        made[name] = kind(**options)
    return made


LOCAL_ENCRYPTION = ("pads_ahead", "pad_budget_mib")
"""Options of encryption that may differ from cloud to cloud: how fast things are done."""


@dataclass(frozen=True)
class Terms:
    """What all clouds of a training agree on.

    Parameters
    ----------
    clouds : int
        How many there are: at least 2.
    rounds : int
        How often updates are summed; privacy with distributed noise is accounted for so many.
    seed : int
        Draws of clouds, initial model and rounding follow from it.
    participation : float
        Share of the clouds drawn for each round, above 0 and at most 1.
    deadline_s : float
        Uploads later than this after the round's start are left out; 0 waits for all.
    aggregation, encryption, hybrid, privacy
        Their options.
    task : mapping
        What else every cloud must have alike, as JSON holds it: the model and its training.

    Raises
    ------
    veilsum.ParameterError
        When an option breaks its rule, or options contradict each other.
    """

    clouds: int
    rounds: int
    seed: int = 7
    participation: float = 1.0
    deadline_s: float = 0.0
    aggregation: AggregationOptions = field(default_factory=AggregationOptions)
    encryption: EncryptionOptions = field(default_factory=EncryptionOptions)
    hybrid: HybridOptions = field(default_factory=HybridOptions)
    privacy: PrivacyOptions = field(default_factory=PrivacyOptions)
    task: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for section in ("aggregation", "encryption", "hybrid", "privacy"):
            check_section(section, getattr(self, section))
        if self.clouds < 2:
            raise ParameterError(
                f"{shown(self.clouds)} clouds; it takes at least 2, because the sum of one upload "
                "is that upload"
            )
        if self.rounds < 1:
            raise ParameterError(f"{shown(self.rounds)} rounds; must be at least 1")
        if not 0 < self.participation <= 1:
            raise ParameterError(
                f"training.participation is {shown(self.participation)}; must be above 0 and at "
                "most 1"
            )
        aggregation = self.aggregation
        if aggregation.min_clients == 1:
            raise ParameterError(
                "aggregation.min_clients is 1; must be at least 2, because the sum of one "
                "upload is that upload (0: all clouds)"
            )
        if aggregation.min_clients > self.clouds:
            raise ParameterError(
                f"aggregation.min_clients is {aggregation.min_clients} but data.clouds is "
                f"{self.clouds}; no round could ever be opened"
            )
        if aggregation.min_clients > self.participants:
            raise ParameterError(
                f"aggregation.min_clients is {aggregation.min_clients} but training.participation "
                f"{self.participation:g} of {self.clouds} clouds draws "
                f"{self.participants} a round; no round could ever be opened"
            )
        if aggregation.bandwidths_bps and len(aggregation.bandwidths_bps) != self.clouds:
            raise ParameterError(
                f"aggregation.bandwidths_bps has {len(aggregation.bandwidths_bps)} entries but "
                f"data.clouds is {self.clouds}; give one bandwidth a cloud, or none"
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
        return max(2, math.ceil(self.participation * self.clouds - 1e-9))

    @property
    def members(self) -> int:
        """How many open sums together; 1 with one key holder."""
        if self.encryption.authority == "single":
            return 1
        own = self.encryption.authority == "committee" and self.encryption.members
        return own or self.clouds

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

    def agreed(self) -> dict[str, Any]:
        """Return what goes into the history: all but `LOCAL_ENCRYPTION`, as JSON holds it."""
        sections = {
            name: _listed(dataclasses.asdict(getattr(self, name)))
            for name in ("aggregation", "encryption", "hybrid", "privacy")
        }
        for name in LOCAL_ENCRYPTION:
            del sections["encryption"][name]
        return {
            "clouds": self.clouds,
            "rounds": self.rounds,
            "seed": self.seed,
            "participation": self.participation,
            "deadline_s": self.deadline_s,
            "task": dict(self.task),
            **sections,
        }


def _listed(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in options.items()
    }
