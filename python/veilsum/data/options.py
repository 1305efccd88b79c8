"""Which rows a run has, and how they are spread over clouds."""

from __future__ import annotations

from dataclasses import dataclass

from veilsum.options import above, between, each, one_of, option, strictly_between


@dataclass(frozen=True)
class DataOptions:
    """Which patients, and how they are spread over the clouds."""

    study: str = option("flchain", "data set", one_of("flchain", "mimic3", "csv"))
    directory: str = option("", "of mimic3: the folder with MIMIC-III's CSV files")
    cache: str = option(
        "",
        "of mimic3: folder for the prepared table, which holds patients' data; empty: the user's "
        'cache folder; "off": none',
    )
    path: str = option("", "of csv: the table, a .csv or .csv.gz file")
    label: str = option("", "of csv: the column with the outcome")
    site: str = option(
        "", "of csv: the column that says which cloud a row is of; empty: `split` decides"
    )
    ranges: str = option("", "of csv: the file with the columns' public ranges, .toml or .csv")
    leave_out: tuple[str, ...] = option((), "feature columns to leave out")
    test_fraction: float = option(
        0.2, "share of the patients held out for evaluation", strictly_between(0, 1)
    )
    clouds: int = option(4, "how many clouds hold the others", between(2, 8192))
    imbalance: float = option(
        1.0,
        "cloud k of K gets a share proportional to (K + 1 - k) ** imbalance; 0: equal shares",
        between(0, 8),
    )
    shares: tuple[float, ...] = option(
        (), "explicit shares of the clouds instead, summing to 1", each(above(0))
    )
    split: str = option(
        "age",
        'who goes where; "age": the youngest to the first cloud; "random": clouds are alike; '
        '"care_unit" (mimic3): each unit is a cloud; "dirichlet": drawn shares of each class',
        one_of("age", "random", "care_unit", "dirichlet"),
    )
    dirichlet_alpha: float = option(
        0.5, "dirichlet: small: clouds differ much; large: clouds are alike", above(0)
    )
    dirichlet_of: str = option(
        "label", "dirichlet: what the classes are", one_of("label", "care_unit")
    )
    age_overlap: float = option(
        0.5,
        "noise on the age before sorting, in standard deviations; 0: clouds meet at sharp ages",
        between(0, 100),
    )
