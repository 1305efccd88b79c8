"""A study spread over clouds, as a configuration says.

Federated loop, bottom. Loads the rows, holds some out and gives the others to clouds; knows no
method and no party.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilsum import data
from veilsum.data import Study
from veilsum.errors import ParameterError
from veilsum.learning.seeds import numpy_generator
from veilsum.training.config import TrainConfig


@dataclass(frozen=True)
class Federation:
    """A study spread over clouds.

    Parameters
    ----------
    study : Study
        All rows; only its public part (features, title) is for everyone.
    clouds : tuple of Study
        Each cloud's own training rows.
    held_out : Study
        Rows that nobody trains on.
    names : tuple of str
        What to call each cloud.
    """

    study: Study
    clouds: tuple[Study, ...]
    held_out: Study
    names: tuple[str, ...]


def spread(config: TrainConfig, progress: Callable[[int, int], None] | None = None) -> Federation:
    """Load the study and spread it over the clouds, as the configuration says.

    Parameters
    ----------
    config : TrainConfig
        Its sections run (seed) and data.
    progress : callable or None
        Called with (bytes read, bytes in all) while a study is read that takes long.

    Raises
    ------
    veilsum.ParameterError
        When a feature to leave out does not exist, or a cloud would get no rows.
    veilsum.BackendUnavailableError
        When the study's package is not installed.
    """
    options, seed = config.data, config.run.seed
    study = data.load(
        options.study,
        directory=options.directory,
        cache=None if options.cache == "off" else options.cache,
        progress=progress,
        path=options.path,
        label=options.label,
        site=options.site,
        ranges=options.ranges,
    )
    ages = _ages(study) if options.split == "age" and not options.site else None
    study = study.without(options.leave_out)
    training, held_out = data.held_out_rows(
        study.labels,
        options.test_fraction,
        numpy_generator(seed, "held-out rows"),
        study.patients,
    )
    clouds, names = _clouds(
        config, study.subset(training), None if ages is None else ages[training]
    )
    return Federation(
        study,
        tuple(study.subset(training[rows]) for rows in clouds),
        study.subset(held_out),
        names,
    )


def _clouds(
    config: TrainConfig, study: Study, ages: NDArray[np.float64] | None
) -> tuple[tuple[NDArray[np.intp], ...], tuple[str, ...]]:
    """Return each cloud's rows of the training rows, and its name."""
    options = config.data
    generator = numpy_generator(config.run.seed, "clouds")
    numbered = tuple(f"cloud {i + 1}" for i in range(options.clouds))
    if options.split == "care_unit" or options.site:
        places = "sites" if options.site else "care units"
        clouds, units = data.rows_of_sites(_sites(study), study.site_names, options.clouds, places)
        pairs = zip(numbered, units, strict=True)
        return clouds, tuple(f"{number} ({unit})" for number, unit in pairs)
    if options.split == "dirichlet":
        classes = _sites(study) if options.dirichlet_of == "care_unit" else study.labels
        alpha = options.dirichlet_alpha
        return data.rows_by_dirichlet(classes, options.clouds, alpha, generator), numbered
    if ages is None:
        order = generator.permutation(len(study))
    else:
        order = data.rows_by_order(ages, options.age_overlap, generator)
    shares = options.shares or data.imbalanced_shares(options.clouds, options.imbalance)
    return data.rows_of_clouds(order, shares), numbered


def _ages(study: Study) -> NDArray[np.float64]:
    """Return the ages to split by."""
    if all(feature.name != "age" for feature in study.features):
        raise ParameterError(
            f'data.split is "age", but study {study.name} has no feature age; set data.split = '
            '"random" or "dirichlet"'
            + (", or data.site to a column" if study.sites is None else "")
        )
    ages = study.column("age")
    if np.isnan(ages).any():
        raise ParameterError(
            f'data.split is "age", but some rows of study {study.name} have no age; set '
            'data.split = "random"'
        )
    return ages


def _sites(study: Study) -> NDArray[np.int64]:
    if study.sites is None:
        raise ParameterError(
            f"the rows of study {study.name} come from no care units; choose another data.split"
        )
    return study.sites
