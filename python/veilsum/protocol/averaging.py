"""How updates become what clouds encrypt, and an opened sum the mean of them.

Protocol. `WeightedMean` is the rule; differential privacy (`PrivateMean`) and plain coordinates
(`HybridMean`) wrap it, so neither is a condition inside it. An averaging belongs to one
participant, and takes in every opened sum: the ranges of the next round follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from veilsum.learning.task import LocalResult
from veilsum.privacy.distributed_noise import NoisePlan
from veilsum.protocol.contribution import (
    UPDATE,
    Contribution,
    OpenedMean,
    decode,
    encode,
    private_parts,
    sum_layout,
    sum_limits,
)
from veilsum.protocol.history import UPDATES, State
from veilsum.protocol.hybrid import hybrid_layout, noisy
from veilsum.protocol.masks import MaskState
from veilsum.protocol.opened import OpenedSum
from veilsum.protocol.options import EncryptionOptions, HybridOptions
from veilsum.protocol.ranges import RangePolicy
from veilsum.protocol.secure_sum import SecureSum


@dataclass(frozen=True)
class Parts:
    """What one cloud has for a sum of updates, ready to be encrypted and sealed.

    Parameters
    ----------
    encrypted : mapping of str to ndarray
        As the sum's layout names them.
    plain : ndarray or None
        What travels in the clear, signed, beside them; None where nothing does.
    plain_dtype : str
        Of the plain values on the wire.
    on_clip : str
        What becomes of values beyond their range.
    """

    encrypted: Mapping[str, NDArray[np.float64]] = field(repr=False)
    plain: NDArray[np.float64] | None = field(default=None, repr=False)
    plain_dtype: str = "float32"
    on_clip: str = "count"


class Averaging(Protocol):
    """From updates to a sum, and from the opened sum to their mean."""

    @property
    def weighs(self) -> bool:
        """Whether clouds count by their weights; else all the same."""
        ...

    @property
    def limits(self) -> dict[str, float]:
        """Ranges of the next round, before anything is taken out of it."""
        ...

    @property
    def sum(self) -> SecureSum:
        """The next round's sum."""
        ...

    @property
    def state(self) -> State:
        """All that later sums follow from, for the history."""
        ...

    def parts(
        self, result: LocalResult, weight: float, numbers: np.random.Generator | None
    ) -> Parts:
        """Return a cloud's part of the sum.

        Parameters
        ----------
        result : LocalResult
            Of its training.
        weight : float
            Its own.
        numbers : numpy.random.Generator or None
            Stochastic rounding with its numbers; None rounds to nearest.
        """
        ...

    def plain_values(self) -> int:
        """Return how many values of each upload travel in the clear."""
        ...

    def merged(self, opened: OpenedSum, plain: NDArray[np.float64] | None) -> OpenedSum:
        """Return an opened sum with the sum of plain parts put in.

        Parameters
        ----------
        opened : OpenedSum
            Of the encrypted parts.
        plain : ndarray or None
            Sum of the plain parts; None where there are none.
        """
        ...

    def mean(self, merged: OpenedSum) -> OpenedMean:
        """Take a whole sum in and return its mean.

        Parameters
        ----------
        merged : OpenedSum
            As `merged` returned it.
        """
        ...


class WeightedMean:
    """Every value is encrypted; clouds weigh their updates themselves.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        Arrays of the model's shapes.
    ranges : RangePolicy
        This participant's own instance.
    weight_limit : float
        Of the weight rule.
    options : EncryptionOptions
        Bits a value, and what becomes of clipped values.
    """

    weighs = True

    def __init__(
        self,
        tensors: Mapping[str, NDArray[np.generic]],
        ranges: RangePolicy,
        weight_limit: float,
        options: EncryptionOptions,
    ) -> None:
        self._like = sum_layout(tensors)
        self._ranges = ranges
        self._weight_limit = weight_limit
        self._options = options

    @property
    def limits(self) -> dict[str, float]:
        """Ranges of the next round."""
        return sum_limits(self._ranges.limits(), self._weight_limit)

    @property
    def sum(self) -> SecureSum:
        """The next round's sum."""
        return SecureSum(UPDATES, self._like, self.limits)

    @property
    def state(self) -> State:
        """All that later ranges follow from."""
        return {f"ranges.{name}": array for name, array in self._ranges.state.items()}

    def parts(
        self, result: LocalResult, weight: float, numbers: np.random.Generator | None
    ) -> Parts:
        """Return a cloud's part of the sum.

        Parameters
        ----------
        result : LocalResult
            Of its training.
        weight : float
            Its own.
        numbers : numpy.random.Generator or None
            Stochastic rounding with its numbers; None rounds to nearest.

        Raises
        ------
        veilsum.RoundError
            When the weight is too small to be told from 0 with so few bits.
        """
        contribution = Contribution(result.update, weight, result.loss)
        options = self._options
        values = encode(contribution, self.limits, options.value_bits, numbers)
        return Parts(values, on_clip=options.on_clip)

    def plain_values(self) -> int:
        """Return 0: all is encrypted."""
        return 0

    def merged(self, opened: OpenedSum, plain: NDArray[np.float64] | None) -> OpenedSum:
        """Return the sum as it is.

        Parameters
        ----------
        opened : OpenedSum
            Of the encrypted parts.
        plain : None
            There are none.
        """
        del plain
        return opened

    def mean(self, merged: OpenedSum) -> OpenedMean:
        """Take a sum in and return its mean.

        Parameters
        ----------
        merged : OpenedSum
            The sum.

        Raises
        ------
        veilsum.RoundError
            When the weights do not sum to anything above 0.
        """
        mean = decode(merged.sums)
        self._ranges.observe(mean.update, merged.clipped, merged.values)
        return mean


class _Around:
    """What wraps another averaging and leaves to it what it does not change."""

    def __init__(self, averaging: Averaging) -> None:
        self._averaging = averaging

    @property
    def limits(self) -> dict[str, float]:
        """Ranges of the next round, of all coordinates."""
        return self._averaging.limits

    @property
    def sum(self) -> SecureSum:
        """The next round's sum."""
        return self._averaging.sum

    @property
    def state(self) -> State:
        """All that later sums follow from."""
        return self._averaging.state

    def plain_values(self) -> int:
        """Return how many values of each upload travel in the clear."""
        return self._averaging.plain_values()

    def merged(self, opened: OpenedSum, plain: NDArray[np.float64] | None) -> OpenedSum:
        """Return an opened sum with the sum of plain parts put in.

        Parameters
        ----------
        opened : OpenedSum
            Of the encrypted parts.
        plain : ndarray or None
            Sum of the plain parts; None where there are none.
        """
        return self._averaging.merged(opened, plain)

    def mean(self, merged: OpenedSum) -> OpenedMean:
        """Take a whole sum in and return its mean.

        Parameters
        ----------
        merged : OpenedSum
            Both parts.
        """
        return self._averaging.mean(merged)


class PrivateMean(_Around):
    """Another averaging in which every cloud clips its update and adds its share of the noise.

    Parameters
    ----------
    averaging : Averaging
        Whose ranges hold every point of the noise's grid.
    noise : NoisePlan
        Clip, range and noise.
    """

    weighs = False

    def __init__(self, averaging: WeightedMean, noise: NoisePlan) -> None:
        super().__init__(averaging)
        self._noise = noise

    def parts(
        self, result: LocalResult, weight: float, numbers: np.random.Generator | None
    ) -> Parts:
        """Return a cloud's clipped update with its share of noise; weight 1, and no loss.

        Parameters
        ----------
        result : LocalResult
            Of its training.
        weight : float
            Not used: the noise is sized for clouds that count the same.
        numbers : numpy.random.Generator or None
            Not used: noise comes from the operating system.
        """
        del weight, numbers
        # The loss stays at the cloud: opening it would be one more thing to account for. Ranges
        # hold every point of the grid, so the public count of clipped values is 0 for all.
        return Parts(private_parts(self._noise.private(result.update)), on_clip="error")


class HybridMean(_Around):
    """Another averaging of which only the coordinates of a mask are encrypted.

    Parameters
    ----------
    averaging : Averaging
        Of all coordinates.
    masks : MaskState
        This participant's own instance.
    options : HybridOptions
        What becomes of the plain part.
    """

    weighs = True

    def __init__(self, averaging: WeightedMean, masks: MaskState, options: HybridOptions) -> None:
        super().__init__(averaging)
        self._masks = masks
        self._options = options

    @property
    def sum(self) -> SecureSum:
        """The next round's sum: encrypted coordinates, and empty tensors that name the mask."""
        whole, marks = self._averaging.sum, self._marks
        like = self._masks.encrypted_part(whole.like) | marks
        limits = {**whole.limits, **dict.fromkeys(marks, 1.0)}
        return SecureSum(whole.purpose, like, limits)

    @property
    def _marks(self) -> dict[str, NDArray[np.float64]]:
        return hybrid_layout(self._masks.mask)

    @property
    def state(self) -> State:
        """All that later sums follow from."""
        masks: dict[str, NDArray[Any]] = {
            f"masks.{name}": array for name, array in self._masks.state.items()
        }
        return {**self._averaging.state, **masks}

    def parts(
        self, result: LocalResult, weight: float, numbers: np.random.Generator | None
    ) -> Parts:
        """Return a cloud's part of the sum, encrypted and plain.

        Parameters
        ----------
        result : LocalResult
            Of its training.
        weight : float
            Its own.
        numbers : numpy.random.Generator or None
            Stochastic rounding with its numbers; None rounds to nearest.
        """
        whole = self._averaging.parts(result, weight, numbers)
        encrypted = self._masks.encrypted_part(whole.encrypted) | self._marks
        if not self.plain_values():
            return Parts(encrypted, on_clip=whole.on_clip)
        # With the weight as it was rounded and encrypted: both parts are divided by its sum.
        scale = float(whole.encrypted["weight"][0])
        plain = self._masks.plain_part(
            {UPDATE + name: scale * array for name, array in result.update.items()}
        )
        options = self._options
        if options.plain_noise_multiplier:
            plain = noisy(plain, options.plain_clip, options.plain_noise_multiplier)
        return Parts(encrypted, plain, options.plain_dtype, whole.on_clip)

    def plain_values(self) -> int:
        """Return how many values of each upload travel in the clear."""
        mask = self._masks.mask
        return mask.size - mask.count

    def merged(self, opened: OpenedSum, plain: NDArray[np.float64] | None) -> OpenedSum:
        """Return an opened sum with the sum of plain parts put in.

        Parameters
        ----------
        opened : OpenedSum
            Of the encrypted parts.
        plain : ndarray or None
            Sum of the plain parts; None where there are none.
        """
        values = np.zeros(0) if plain is None else plain
        return opened.merged(self._masks.merge(opened.sums, values))


class GivenModel(_Around):
    """Another averaging, of updates to a model that somebody outside gives for each round.

    What clouds train from is then no part of their history: a server that gave each of them
    another model could tell their updates apart in the sum. So the round's layout has an empty
    tensor whose name is the model's digest, and clouds that were given different ones expect
    different rounds.

    Parameters
    ----------
    averaging : Averaging
        Of the updates.
    given : callable
        Returns the digest of what was given for the round that is due.
    """

    def __init__(self, averaging: Averaging, given: Callable[[], bytes]) -> None:
        super().__init__(averaging)
        self._given = given
        self.weighs = averaging.weighs

    @property
    def _mark(self) -> dict[str, NDArray[np.float64]]:
        return {f"given.{self._given().hex()}": np.zeros(0)}

    @property
    def sum(self) -> SecureSum:
        """The next round's sum, with a tensor that names the model."""
        whole, mark = self._averaging.sum, self._mark
        limits = {**whole.limits, **dict.fromkeys(mark, 1.0)}
        return SecureSum(whole.purpose, {**whole.like, **mark}, limits)

    def parts(
        self, result: LocalResult, weight: float, numbers: np.random.Generator | None
    ) -> Parts:
        """Return a cloud's part of the sum.

        Parameters
        ----------
        result : LocalResult
            Of its training.
        weight : float
            Its own.
        numbers : numpy.random.Generator or None
            Stochastic rounding with its numbers; None rounds to nearest.
        """
        made = self._averaging.parts(result, weight, numbers)
        return replace(made, encrypted={**made.encrypted, **self._mark})
