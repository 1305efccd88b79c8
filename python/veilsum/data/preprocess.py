"""From a study's units to a model's inputs, with statistics that come from sums alone.

Data layer. Each cloud computes `local_moments` of its own rows; whoever receives the sum of all
clouds' moments (through encrypted sums in the training loop) builds the same `Preprocessor`. No row
and no cloud's own moments are needed.

Values are bounded to the feature's public range, put on a logarithmic scale where the feature says
so, and standardised by the pooled mean and standard deviation. A missing value becomes the pooled
mean (0 after standardising; the geometric mean of a logarithmic feature) and sets an indicator.

Accuracy: moments are sums of values in [-1, 1] (see `to_unit`), so a sum over n rows is within n of
zero; the codec's step for `MAX_ROWS` at 32 bits is below 0.0005, and with K clouds the pooled mean
of N rows is within K * 0.00025 / N of the exact one, in units of half the public range.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import check_whole
from veilsum.data.study import Feature, Study
from veilsum.errors import ParameterError

MAX_ROWS = 2**20
"""Most rows a cloud may have: the public range of the statistics' sums."""

_SMALLEST_VARIANCE = 1e-8
"""Below this, in units of half the range squared, a column counts as constant."""


@dataclass(frozen=True)
class Moments:
    """Sums over rows, a cloud's own or all clouds' together.

    Parameters
    ----------
    rows : float
        Number of rows.
    observed : ndarray, float64, shape (features,)
        Number of rows with a value, of each feature.
    sums, squares : ndarray, float64, shape (features,)
        Sums of the values, and of their squares, on the scale [-1, 1] of the public range.
    """

    rows: float
    observed: NDArray[np.float64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]

    def to_mapping(self) -> dict[str, NDArray[np.float64]]:
        """Return the four parts as named arrays, in the order in which they are summed."""
        return {
            "rows": np.array([self.rows], dtype=np.float64),
            "observed": self.observed,
            "sums": self.sums,
            "squares": self.squares,
        }

    @classmethod
    def from_mapping(cls, parts: dict[str, NDArray[np.float64]]) -> Moments:
        """Read moments from named arrays; counts are rounded to whole rows.

        Parameters
        ----------
        parts : dict of ndarray
            As `to_mapping` returns them.
        """
        return cls(
            rows=float(np.rint(parts["rows"][0])),
            observed=np.rint(np.asarray(parts["observed"], dtype=np.float64)),
            sums=np.asarray(parts["sums"], dtype=np.float64),
            squares=np.asarray(parts["squares"], dtype=np.float64),
        )

    @staticmethod
    def layout(features: int) -> dict[str, NDArray[np.float64]]:
        """Return zeros in the shape of `to_mapping`, to describe the sum before it exists.

        Parameters
        ----------
        features : int
            Number of features.
        """
        count = check_whole("features", features)
        return Moments(0.0, *(np.zeros(count) for _ in range(3))).to_mapping()


def local_moments(study: Study) -> Moments:
    """Sum one cloud's rows.

    Parameters
    ----------
    study : Study
        The cloud's own rows.

    Raises
    ------
    veilsum.ParameterError
        When there are more than `MAX_ROWS` rows.
    """
    if len(study) > MAX_ROWS:
        raise ParameterError(f"a cloud holds {len(study)} rows; at most {MAX_ROWS} are supported")
    units = np.column_stack(
        [to_unit(feature, study.values[:, i]) for i, feature in enumerate(study.features)]
    )
    present = ~np.isnan(units)
    filled = np.where(present, units, 0.0)
    return Moments(
        rows=float(len(study)),
        observed=present.sum(axis=0).astype(np.float64),
        sums=filled.sum(axis=0),
        squares=np.square(filled).sum(axis=0),
    )


@dataclass(frozen=True)
class Preprocessor:
    """Turns rows into a model's inputs, the same way at every cloud.

    Parameters
    ----------
    features : tuple of Feature
        The columns it expects.
    means, deviations : ndarray, float64, shape (features,)
        On the scale [-1, 1] of the public range; 0 and 1 for binary features.
    """

    features: tuple[Feature, ...]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]

    @classmethod
    def fit(cls, features: tuple[Feature, ...], moments: Moments) -> Preprocessor:
        """Compute means and standard deviations from pooled moments.

        Parameters
        ----------
        features : tuple of Feature
            The columns.
        moments : Moments
            Of all clouds together.

        Raises
        ------
        veilsum.ParameterError
            When a feature has no value in any cloud.
        """
        counts = zip(features, moments.observed, strict=True)
        empty = [feature.name for feature, count in counts if count < 1]
        if empty:
            what = f"feature {empty[0]} has" if len(empty) == 1 else f"{len(empty)} features have"
            raise ParameterError(
                f"{what} no value in any cloud; leave them out: data.leave_out = "
                f"{json.dumps(empty)}"
            )
        means = moments.sums / moments.observed
        # Quantisation may push a constant column's variance slightly below zero.
        variances = np.maximum(moments.squares / moments.observed - np.square(means), 0.0)
        deviations = np.where(variances > _SMALLEST_VARIANCE, np.sqrt(variances), 1.0)
        binary = np.array([feature.kind == "binary" for feature in features])
        return cls(features, np.where(binary, 0.0, means), np.where(binary, 1.0, deviations))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs: the features, then an indicator for each that may be missing.

        Features that are missing together share the indicator of the first.
        """
        return input_names(self.features)

    def transform(self, study: Study) -> NDArray[np.float32]:
        """Return the inputs of a study's rows.

        Parameters
        ----------
        study : Study
            Rows with this object's features.

        Returns
        -------
        ndarray, float32, shape (rows, len(names))
            No NaN.

        Raises
        ------
        veilsum.ParameterError
            When the features differ, or a value is missing where none may be.
        """
        if study.features != self.features:
            raise ParameterError(
                f"study {study.name} has other features than the preprocessing was made for"
            )
        columns: list[NDArray[np.float64]] = []
        indicators: list[NDArray[np.float64]] = []
        for i, feature in enumerate(self.features):
            raw = study.values[:, i]
            missing = np.isnan(raw)
            if feature.may_be_missing:
                if not feature.missing_with:
                    indicators.append(missing.astype(np.float64))
            elif missing.any():
                raise ParameterError(
                    f"feature {feature.name} lacks a value in row {int(np.argmax(missing))}, and "
                    "the study does not say that it may"
                )
            if feature.kind == "binary":
                columns.append(np.where(missing, 0.0, raw))
            else:
                standard = (to_unit(feature, raw) - self.means[i]) / self.deviations[i]
                columns.append(np.where(missing, 0.0, standard))
        return np.column_stack(columns + indicators).astype(np.float32)

    def describe(self) -> list[dict[str, float | str]]:
        """Return each feature's pooled mean and deviation in its own unit, for reports.

        The mean of a logarithmic feature is geometric, its deviation a factor.
        """
        rows: list[dict[str, float | str]] = []
        for i, feature in enumerate(self.features):
            low, high = _scale(feature)
            half = (high - low) / 2
            mean = (low + high) / 2 + half * float(self.means[i])
            deviation = half * float(self.deviations[i])
            rows.append(
                {
                    "name": feature.name,
                    "kind": feature.kind,
                    "unit": feature.unit,
                    "meaning": feature.meaning,
                    "scale": "log" if feature.log else "linear",
                    "mean": float(np.exp(mean)) if feature.log else mean,
                    "deviation": float(np.exp(deviation)) if feature.log else deviation,
                }
            )
        return rows


def input_names(features: Sequence[Feature]) -> tuple[str, ...]:
    """Return what a model's inputs are called: the features, then indicators of missing values.

    Parameters
    ----------
    features : sequence of Feature
        The columns.
    """
    return tuple(feature.name for feature in features) + tuple(
        f"{feature.name} missing"
        for feature in features
        if feature.may_be_missing and not feature.missing_with
    )


def to_unit(feature: Feature, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map a feature's public range to [-1, 1], on its own scale; values beyond it to the ends.

    Parameters
    ----------
    feature : Feature
        Range and scale.
    values : ndarray
        In the feature's unit; NaN stays.
    """
    bounded = np.clip(values, feature.low, feature.high)
    low, high = _scale(feature)
    scaled = np.log(bounded) if feature.log else bounded
    # The clip undoes the last rounding of log and division, so that no sum exceeds its row count.
    return np.asarray(np.clip((scaled - (low + high) / 2) / ((high - low) / 2), -1.0, 1.0))


def from_unit(feature: Feature, units: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map [-1, 1] back to a feature's public range; the inverse of `to_unit` within it.

    Parameters
    ----------
    feature : Feature
        Range and scale.
    units : ndarray
        Any numbers; beyond [-1, 1] they are beyond the range.
    """
    low, high = _scale(feature)
    scaled = (low + high) / 2 + (high - low) / 2 * np.asarray(units, dtype=np.float64)
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(scaled) if feature.log else scaled)


def _scale(feature: Feature) -> tuple[float, float]:
    if feature.log:
        return float(np.log(feature.low)), float(np.log(feature.high))
    return float(feature.low), float(feature.high)
