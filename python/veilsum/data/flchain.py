"""The flchain study: serum free light chains and mortality of 7,874 residents of Olmsted County.

Data layer. The rows ship inside the scikit-survival package, so nothing is downloaded. The task
here is death during follow-up, from what was known when the blood was drawn.

Sources: Dispenzieri et al., "Use of nonclonal serum immunoglobulin free light chains to predict
overall survival in the general population", Mayo Clin Proc 87 (2012); Kyle et al., "Prevalence of
monoclonal gammopathy of undetermined significance", N Engl J Med 354 (2006).
"""

from __future__ import annotations

import numpy as np

from veilsum.data.study import Feature, Study
from veilsum.errors import BackendUnavailableError, VeilsumError, install_advice

ROWS = 7874

# Ranges are general medical knowledge, wide on purpose; none was read off the rows.
_FEATURES = (
    Feature("age", "numeric", 0, 120, unit="years", meaning="age at the blood sample"),
    Feature("sex", "binary", 0, 1, meaning="1 for male"),
    Feature("sample.yr", "numeric", 1990, 2010, unit="year", meaning="year of the blood sample"),
    Feature(
        "kappa", "numeric", 0.01, 100, log=True, unit="mg/dl", meaning="free light chain kappa"
    ),
    Feature(
        "lambda", "numeric", 0.01, 100, log=True, unit="mg/dl", meaning="free light chain lambda"
    ),
    Feature("flc.grp", "numeric", 1, 10, meaning="tenth of kappa + lambda, defined by the study"),
    Feature(
        "creatinine",
        "numeric",
        0.1,
        20,
        log=True,
        may_be_missing=True,
        unit="mg/dl",
        meaning="serum creatinine, missing for one patient in six",
    ),
    Feature("mgus", "binary", 0, 1, meaning="1 for monoclonal gammopathy diagnosed before"),
)

_LEFT_OUT = (
    ("chapter", "cause of death: known only after the outcome"),
    ("futime", "days until death or last contact: known only after the outcome"),
)


def load_flchain() -> Study:
    """Load the study from the scikit-survival package.

    Returns
    -------
    Study
        7,874 rows; label 1 is death during follow-up. `chapter` and `futime` are left out,
        missing creatinine values are NaN.

    Raises
    ------
    veilsum.BackendUnavailableError
        When scikit-survival is not installed.
    veilsum.VeilsumError
        When the installed package ships other rows or columns than expected.
    """
    try:
        from sksurv import datasets
    except ImportError as error:
        raise BackendUnavailableError(
            "the flchain study ships inside scikit-survival, which is not installed; "
            + install_advice("train")
        ) from error

    table, outcome = datasets.load_flchain()
    missing = [feature.name for feature in _FEATURES if feature.name not in table.columns]
    if len(table) != ROWS or missing or "death" not in (outcome.dtype.names or ()):
        raise VeilsumError(
            f"scikit-survival's flchain has {len(table)} rows and lacks columns {missing}; "
            f"expected {ROWS} rows, {', '.join(feature.name for feature in _FEATURES)} and death"
        )
    codes = {"sex": {"F": 0.0, "M": 1.0}, "mgus": {"no": 0.0, "yes": 1.0}}
    columns = []
    for feature in _FEATURES:
        column = table[feature.name]
        if feature.name in codes:
            column = column.map(codes[feature.name])
        columns.append(np.asarray(column.astype(float), dtype=np.float64))
        if not feature.may_be_missing and np.isnan(columns[-1]).any():
            raise VeilsumError(f"scikit-survival's flchain has unexpected values in {feature.name}")
    return Study(
        name="flchain",
        title="Mortality in the general population, from serum free light chains",
        source=(
            "Dispenzieri et al., Mayo Clinic Proceedings 87 (2012); rows as shipped in the "
            "scikit-survival package"
        ),
        features=_FEATURES,
        values=np.column_stack(columns),
        labels=np.asarray(outcome["death"], dtype=np.int64),
        outcome="death during follow-up",
        left_out=_LEFT_OUT,
    )
