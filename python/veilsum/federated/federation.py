"""A study spread over clouds, as a configuration says.

Federated loop, bottom. Loads the rows, holds some out and gives the others to clouds; knows no
method and no party.
"""

from __future__ import annotations

from dataclasses import dataclass

from veilsum import data
from veilsum.data import Study
from veilsum.federated.config import TrainConfig
from veilsum.federated.seeds import numpy_generator


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
    """

    study: Study
    clouds: tuple[Study, ...]
    held_out: Study


def spread(config: TrainConfig) -> Federation:
    """Load the study and spread it over the clouds, as the configuration says.

    Parameters
    ----------
    config : TrainConfig
        Its sections run (seed) and data.

    Raises
    ------
    veilsum.ParameterError
        When a feature to leave out does not exist, or a cloud would get no rows.
    veilsum.BackendUnavailableError
        When the study's package is not installed.
    """
    options, seed = config.data, config.run.seed
    study = data.load(options.study)
    ages = study.column("age") if options.split == "age" else None
    study = study.without(options.leave_out)
    training, held_out = data.held_out_rows(
        study.labels, options.test_fraction, numpy_generator(seed, "held-out rows")
    )
    generator = numpy_generator(seed, "clouds")
    if ages is None:
        order = generator.permutation(len(training))
    else:
        order = data.rows_by_order(ages[training], options.age_overlap, generator)
    shares = options.shares or data.imbalanced_shares(options.clouds, options.imbalance)
    clouds = data.rows_of_clouds(order, shares)
    return Federation(
        study,
        tuple(study.subset(training[rows]) for rows in clouds),
        study.subset(held_out),
    )
