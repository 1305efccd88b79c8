"""Hybrid rounds of a training run: agreeing on a mask, and taking updates apart and together.

Protocol. Every so many rounds clouds encrypt the sensitivities of their coordinates; the
opened sum, the same for everybody, gives everybody the same mask. With a budget, the same sum also
steers the fraction: each cloud adds the fraction that its link carries in the time, weighted by how
exposed its rows are (a high loss and few rows make single rows count more in an update).

What is opened besides the update: the sum of sensitivities over the clouds, coordinate by
coordinate, and with a budget two more sums. What the aggregator reads: the plain coordinates of
every cloud's weighted update, and which coordinates those are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum.api.plans import Plan
from veilsum.protocol.contribution import UPDATE
from veilsum.protocol.history import MASK, State
from veilsum.protocol.hybrid import Mask, budget_fraction, named_coordinates, top_fraction
from veilsum.protocol.opened import OpenedSum
from veilsum.protocol.options import HybridOptions
from veilsum.protocol.secure_sum import SecureSum

_LARGEST_EXPOSURE = 4.0
_PLAIN_BYTES = {"float32": 4.0, "bfloat16": 2.0}

Tensors = Mapping[str, NDArray[np.float64]]


class MaskState:
    """A participant's copy of what hybrid rounds have agreed: the mask.

    Parameters
    ----------
    options : HybridOptions
        The configuration's section.
    shapes : mapping of str to tuple of int
        The model's tensors.
    plan : Plan
        Of the sums of updates; sensitivities are summed with the same plan.

    Raises
    ------
    veilsum.ParameterError
        When a pattern matches no tensor, or a tensor is to be encrypted always and never.
    """

    def __init__(
        self,
        options: HybridOptions,
        shapes: Mapping[str, tuple[int, ...]],
        plan: Plan,
    ) -> None:
        self._options = options
        self._shapes = dict(shapes)
        self._sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        self._plan = plan
        self._always = named_coordinates(self._sizes, options.always)
        self._never = named_coordinates(self._sizes, options.never)
        size = self._always.size
        self._like: dict[str, NDArray[np.float64]] = {"sensitivity": np.zeros(size)}
        self._limits = {"sensitivity": 1.0}
        if options.steer == "budget":
            self._like |= {"wanted": np.zeros(1), "exposure": np.zeros(1)}
            self._limits |= {"wanted": _LARGEST_EXPOSURE, "exposure": _LARGEST_EXPOSURE}
        self._mask = Mask.everything(size)
        # Refuses contradictory patterns now, not in the first round.
        top_fraction(np.zeros(size), options.floor, always=self._always, never=self._never)

    @property
    def mask(self) -> Mask:
        """The mask of the next round; everything is encrypted before the first agreement."""
        return self._mask

    @property
    def state(self) -> State:
        """What was agreed, for the history."""
        return {"mask": self._mask.encrypted}

    def renews(self, number: int) -> bool:
        """Return whether sensitivities are summed in a round.

        Parameters
        ----------
        number : int
            The round, from 1.
        """
        return (number - 1) % self._options.renew_every == 0

    @property
    def sum(self) -> SecureSum:
        """The sum of sensitivities, under the plan of updates."""
        return SecureSum(MASK, self._like, self._limits)

    def contribution(
        self,
        scores: NDArray[np.float64],
        *,
        loss: float,
        rows: float,
        mean_rows: float,
        bandwidth_bps: float,
    ) -> dict[str, NDArray[np.float64]]:
        """Return what a cloud encrypts for the agreement.

        Parameters
        ----------
        scores : ndarray, shape (values,)
            From 0 to 1.
        loss, rows, mean_rows : float
            Training loss, rows of the cloud, mean rows of a cloud.
        bandwidth_bps : float
            Of the cloud's link.
        """
        parts = {"sensitivity": scores}
        if self._options.steer == "budget":
            plan = self._plan
            fraction = budget_fraction(
                scores.size,
                bandwidth_bps,
                self._options.budget_s,
                encrypted_bytes=plan.bytes_per_value,
                plain_bytes=_PLAIN_BYTES[self._options.plain_dtype],
                fixed_bytes=plan.fixed_bytes,
            )
            weight = exposure(loss, rows, mean_rows)
            parts |= {"wanted": np.array([weight * fraction]), "exposure": np.array([weight])}
        return parts

    def observe(self, opened: OpenedSum) -> None:
        """Take in the opened sum and set the mask from it.

        Parameters
        ----------
        opened : OpenedSum
            Of the sensitivities.
        """
        sums = opened.sums
        fraction = self._options.fraction
        if self._options.steer == "budget":
            wanted = float(sums["wanted"][0]) / max(float(sums["exposure"][0]), 1e-9)
            fraction = min(max(wanted, self._options.floor), 1.0)
        self._mask = top_fraction(
            np.asarray(sums["sensitivity"], dtype=np.float64),
            fraction,
            always=self._always,
            never=self._never,
        )

    def encrypted_part(self, whole: Tensors) -> dict[str, NDArray[np.float64]]:
        """Return the encrypted coordinates of each tensor, and everything that is no update.

        Parameters
        ----------
        whole : mapping of str to ndarray
            An upload's content.
        """
        masks = self._tensor_masks()
        return {
            name: array.ravel()[masks[name]] if name in masks else array
            for name, array in whole.items()
        }

    def plain_part(self, whole: Tensors) -> NDArray[np.float64]:
        """Return the plain coordinates of all tensors, in order.

        Parameters
        ----------
        whole : mapping of str to ndarray
            An upload's content.
        """
        masks = self._tensor_masks()
        return np.concatenate([whole[name].ravel()[~bits] for name, bits in masks.items()])

    def merge(self, encrypted: Tensors, plain: NDArray[np.float64]) -> dict[str, Any]:
        """Put sums of both parts back together.

        Parameters
        ----------
        encrypted : mapping of str to ndarray
            Sums, as `encrypted_part` names them.
        plain : ndarray
            Sum of plain parts.

        Raises
        ------
        veilsum.ParameterError
            When a length does not fit the mask.
        """
        updates = [np.asarray(encrypted[UPDATE + name]).ravel() for name in self._shapes]
        whole = self._mask.merge(np.concatenate(updates).astype(np.float64), plain)
        merged: dict[str, Any] = {UPDATE + n: array for n, array in self.tensors(whole).items()}
        return merged | {name: array for name, array in encrypted.items() if name not in merged}

    def tensors(self, vector: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Cut a vector of all coordinates into the model's tensors.

        Parameters
        ----------
        vector : ndarray, shape (values,)
            One number a coordinate.
        """
        parts = np.split(vector, np.cumsum(list(self._sizes.values()))[:-1])
        return {
            name: part.reshape(self._shapes[name])
            for name, part in zip(self._shapes, parts, strict=True)
        }

    def _tensor_masks(self) -> dict[str, NDArray[np.bool_]]:
        ends = np.cumsum(list(self._sizes.values()))[:-1]
        bits: Sequence[NDArray[np.bool_]] = np.split(self._mask.encrypted, ends)
        return {UPDATE + name: part for name, part in zip(self._sizes, bits, strict=True)}


def exposure(loss: float, rows: float, mean_rows: float) -> float:
    """Return how much a cloud's wish for encryption counts: high loss and few rows count more.

    Parameters
    ----------
    loss : float
        Training loss; relative to ln 2, a coin's.
    rows, mean_rows : float
        Of the cloud, and of the clouds on average.

    Returns
    -------
    float
        From 1/4 to 4.
    """
    raw = loss / math.log(2) * mean_rows / max(rows, 1.0)
    return min(max(raw, 1 / _LARGEST_EXPOSURE), _LARGEST_EXPOSURE)
