"""What a comparison measures, besides the training configuration.

Comparison layer, bottom. Knows numbers and their rules, and nothing of what they do.
"""

from __future__ import annotations

from dataclasses import dataclass

from veilsum.arguments import shown
from veilsum.errors import ParameterError


@dataclass(frozen=True)
class CompareOptions:
    """Every choice of a comparison that is no choice of the training.

    Parameters
    ----------
    methods : tuple of str
        Keys of the contenders; empty for all.
    probes : int
        Training records whose recovery is counted.
    batch_sizes : tuple of int
        Sizes of the batches that probes are put in, one attack each; 1 must be among them.
    attacked_rounds : int
        How many rounds are attacked, evenly spread, the first and the last among them.
    optimised_batches : int
        How many batches of each attack in the last round may be optimised, which takes about a
        second each; the analytic attack is tried on all.
    aes : bool
        Whether the AES table is measured.
    quick : bool
        A run for tests: little of everything. Its numbers show that it works.

    Raises
    ------
    ParameterError
        When a number is out of range.
    """

    methods: tuple[str, ...] = ()
    probes: int = 40
    batch_sizes: tuple[int, ...] = (1, 8)
    attacked_rounds: int = 9
    optimised_batches: int = 4
    aes: bool = True
    quick: bool = False

    def __post_init__(self) -> None:
        for name, least in (("probes", 1), ("attacked_rounds", 1), ("optimised_batches", 0)):
            value = getattr(self, name)
            if value < least:
                raise ParameterError(f"{name} is {shown(value)}; must be at least {least}")
        if 1 not in self.batch_sizes or min(self.batch_sizes) < 1:
            raise ParameterError(
                "batch_sizes must be whole numbers of at least 1, and 1 among them"
            )
        if len(set(self.batch_sizes)) != len(self.batch_sizes):
            raise ParameterError("one of batch_sizes is there twice")

    def rounds_to_attack(self, rounds: int) -> list[int]:
        """Return the rounds that are attacked, from 1 on.

        Parameters
        ----------
        rounds : int
            Of the run.
        """
        count = min(self.attacked_rounds, rounds)
        if count == 1:
            return [rounds]
        return sorted({round(1 + i * (rounds - 1) / (count - 1)) for i in range(count)})


QUICK_SETTINGS = (
    "training.rounds=4",
    "training.epochs=1",
    "training.batch_size=256",
    "training.learning_rate=0.003",
)
"""What --quick sets in the training configuration, under whatever the user sets."""

QUICK = CompareOptions(probes=16, attacked_rounds=3, optimised_batches=1, quick=True)
"""What --quick sets in the comparison."""
