"""What a data set is to the rest of Veilsum: a table of numbers, labels, and what is public of it.

Data layer, no input or output of its own. The public part (names, units, plausible ranges) is
agreed before anyone looks at a row; it must hold nothing that was computed from patients' rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import shown
from veilsum.errors import ParameterError


@dataclass(frozen=True)
class Feature:
    """One column: what it means, and the public range that its values are bounded to.

    Parameters
    ----------
    name : str
        As in the study.
    kind : {"numeric", "binary"}
        Numeric columns are standardised, binary ones (0 or 1) pass as they are.
    low, high : float
        Plausible range in the column's own unit, from general knowledge and not from the rows.
    log : bool
        Whether the model sees the logarithm (for concentrations, which are skewed); needs low > 0.
    may_be_missing : bool
        Whether NaN may stand for a value; the model then gets an indicator column besides.
    unit : str
        Unit of the values, empty for none.
    meaning : str
        One line for reports.
    missing_with : str
        Another feature that is missing in exactly the same rows, whose indicator serves for both;
        empty when there is none.
    """

    name: str
    kind: Literal["numeric", "binary"]
    low: float
    high: float
    log: bool = False
    may_be_missing: bool = False
    unit: str = ""
    meaning: str = ""
    missing_with: str = ""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ParameterError(
                f"feature {self.name}: range {shown(self.low)} to {shown(self.high)} is empty"
            )
        if self.log and self.low <= 0:
            raise ParameterError(
                f"feature {self.name}: a logarithm needs a range above 0, got low = "
                f"{shown(self.low)}"
            )
        if self.missing_with and not self.may_be_missing:
            raise ParameterError(
                f"feature {self.name} is missing with {self.missing_with}, but may not be missing"
            )


@dataclass(frozen=True)
class Study:
    """Rows of patients with an outcome: yes or no, one of several classes, or a number.

    Parameters
    ----------
    name : str
        Short name.
    title : str
        One line for reports.
    source : str
        Citation and where the rows came from.
    features : tuple of Feature
        Columns of `values`, in order.
    values : ndarray, float64, shape (rows, features)
        In the columns' own units; NaN where a value is missing.
    labels : ndarray, int64, shape (rows,)
        0 or 1; an index into `classes` where there are any; 0 where the outcome is a number.
    outcome : str
        What label 1 means; what the classes, or the number, are.
    left_out : tuple of (str, str)
        Columns of the source that are no features, each with the reason.
    rows_are : str
        What a row is, in the plural.
    synthetic : bool
        Whether the rows were made up; name and title must say so too, and do when the loader made
        them.
    notes : tuple of str
        What reading the source came to, in sentences for reports.
    patients : ndarray of int64, shape (rows,), or None
        Number of the patient each row is of, where one patient may have several rows.
    sites : ndarray of int64, shape (rows,), or None
        Where each row comes from: an index into `site_names`.
    site_names : tuple of str
        Names of the places.
    classes : tuple of str
        Names of the labels, three or more; empty where the outcome is yes or no, or a number.
    target : Feature or None
        The number, with its public range, where the outcome is one.
    numbers : ndarray, float64, shape (rows,), or None
        The outcome in the target's unit, where it is a number.
    """

    name: str
    title: str
    source: str
    features: tuple[Feature, ...]
    values: NDArray[np.float64]
    labels: NDArray[np.int64]
    outcome: str
    left_out: tuple[tuple[str, str], ...] = ()
    rows_are: str = "patients"
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    patients: NDArray[np.int64] | None = None
    sites: NDArray[np.int64] | None = None
    site_names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    target: Feature | None = None
    numbers: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        rows, columns = self.values.shape
        if columns != len(self.features) or self.labels.shape != (rows,):
            raise ParameterError(
                f"study {self.name}: values {self.values.shape} and labels {self.labels.shape} do "
                f"not fit {len(self.features)} features"
            )
        each_row = (("patients", self.patients), ("sites", self.sites), ("numbers", self.numbers))
        for what, array in each_row:
            if array is not None and array.shape != (rows,):
                raise ParameterError(
                    f"study {self.name}: {what} {array.shape} do not fit {rows} rows"
                )
        self._check_outcome()
        if self.sites is not None and rows and self.sites.max() >= len(self.site_names):
            raise ParameterError(
                f"study {self.name}: a row is of site {self.sites.max()}, but only "
                f"{len(self.site_names)} have a name"
            )
        for i, feature in enumerate(self.features):
            if (
                feature.missing_with
                and (
                    np.isnan(self.values[:, i]) != np.isnan(self.column(feature.missing_with))
                ).any()
            ):
                raise ParameterError(
                    f"study {self.name}: {feature.name} is not missing in the same rows as "
                    f"{feature.missing_with}"
                )

    def _check_outcome(self) -> None:
        if (self.target is None) != (self.numbers is None):
            raise ParameterError(
                f"study {self.name}: an outcome that is a number needs target and numbers, both"
            )
        if self.target is not None and self.classes:
            raise ParameterError(
                f"study {self.name}: the outcome is a number and cannot have classes too"
            )
        if self.classes and len(self.classes) < 3:
            raise ParameterError(
                f"study {self.name}: two classes are a yes-or-no outcome; leave classes empty"
            )
        most = len(self.classes) or 2
        if len(self) and not 0 <= self.labels.min() <= self.labels.max() < most:
            raise ParameterError(
                f"study {self.name}: labels are {self.labels.min()} to {self.labels.max()}; must "
                f"be 0 to {most - 1}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def outputs(self) -> int:
        """How many numbers a model says of a row: one a class, or one."""
        return len(self.classes) or 1

    @property
    def outcome_rate(self) -> float:
        """Share of rows with label 1; NaN without rows."""
        return float((self.labels == 1).mean()) if len(self) else float("nan")

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one column's values.

        Parameters
        ----------
        name : str
            A feature's name.

        Raises
        ------
        veilsum.ParameterError
            When the study has no such feature.
        """
        return self.values[:, self._position(name)]

    def subset(self, rows: NDArray[np.intp]) -> Study:
        """Return a study of some of the rows.

        Parameters
        ----------
        rows : ndarray of int
            Row numbers, in the order wanted.
        """
        return replace(
            self,
            values=self.values[rows],
            labels=self.labels[rows],
            patients=None if self.patients is None else self.patients[rows],
            sites=None if self.sites is None else self.sites[rows],
            numbers=None if self.numbers is None else self.numbers[rows],
        )

    def without(self, names: Iterable[str]) -> Study:
        """Return a study without some of the features.

        Parameters
        ----------
        names : iterable of str
            Features to leave out.

        Raises
        ------
        veilsum.ParameterError
            When the study has no such feature, or none would be left.
        """
        gone = {self._position(name): name for name in names}
        keep = [i for i in range(len(self.features)) if i not in gone]
        if not keep:
            raise ParameterError(f"study {self.name}: no feature would be left")
        # An indicator that served for several features goes to the first of them that is left.
        bearers: dict[str, str] = {}
        features = []
        for feature in (self.features[i] for i in keep):
            bearer = feature.missing_with
            if bearer in gone.values():
                bearer = bearers.setdefault(bearer, feature.name)
                bearer = "" if bearer == feature.name else bearer
                feature = replace(feature, missing_with=bearer)
            features.append(feature)
        return replace(
            self,
            features=tuple(features),
            values=self.values[:, keep],
            left_out=self.left_out + tuple((name, "configuration") for name in gone.values()),
        )

    def _position(self, name: str) -> int:
        names = [feature.name for feature in self.features]
        if name not in names:
            raise ParameterError(
                f"study {self.name} has no feature {name!r}; it has {', '.join(names)}"
            )
        return names.index(name)
