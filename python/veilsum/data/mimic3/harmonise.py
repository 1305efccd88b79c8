"""Charted values to the variables' units: numbers out of words, °F to °C, lb to kg, in to cm.

Data layer, part of the MIMIC-III loader. Works on frames of events that all have a known item id,
row by row without memory; knows nothing of stays and times. Each rule is a sentence in docs/data.md
and a case in the tests.

Rules of units were checked one by one against what the data set's maintainers say: the
concepts of the MIMIC Code Repository (github.com/MIT-LCP/mimic-code at 8bcbd19; "concepts" below is
its folder mimic-iii/concepts) and their answers in its issues. The benchmark (Harutyunyan et al.
2019, preprocessing.py) is named where a rule is its own. Both take the unit from the item; VALUEUOM
is known to be wrong for some items, so no rule lets it overrule an item.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from veilsum.data.mimic3.variables import ITEMS, VARIABLE_INDEX, VARIABLES

POUND_KG: Final = 0.45359237
INCH_CM: Final = 2.54
GLUCOSE_MG_DL: Final = 18.016  # of one mmol/l
MAX_INCHES: Final = 108.0
"""Heights above this many inches (2.74 m) were charted in centimetres."""

UNREADABLE, IMPOSSIBLE, BOUNDED, GOOD = range(4)
"""What became of a value: no number in it, a mistake, set to the end of the range, or kept."""

#: One row an item; joined to events by ITEMID.
ITEM_FRAME: Final = pl.DataFrame(
    {
        "ITEMID": [item.itemid for item in ITEMS],
        "variable": [VARIABLE_INDEX[item.variable] for item in ITEMS],
        "unit": [item.unit for item in ITEMS],
    },
    schema={"ITEMID": pl.Int64, "variable": pl.Int64, "unit": pl.String},
)

_SCALES: Final = pl.DataFrame(
    [
        (index, text, value)
        for index, variable in enumerate(VARIABLES)
        for text, value in variable.scale.items()
    ],
    schema={"variable": pl.Int64, "words": pl.String, "scored": pl.Float64},
    orient="row",
)

_RANGES: Final = pl.DataFrame(
    [(i, *variable.possible, *variable.plausible) for i, variable in enumerate(VARIABLES)],
    schema={
        "variable": pl.Int64,
        "possible_low": pl.Float64,
        "possible_high": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
    },
    orient="row",
)

_NUMBER: Final = r"^[<>]?\s*(-?(?:\d+\.?\d*|\.\d+))$"
_PRESSURES: Final = r"^(\d+)/(\d+)$"


def _is(name: str) -> pl.Expr:
    return pl.col("variable") == VARIABLE_INDEX[name]


def harmonise(events: pl.DataFrame) -> pl.DataFrame:
    """Turn charted values into numbers in the variables' units.

    Parameters
    ----------
    events : polars.DataFrame
        With ITEMID, VALUE, VALUENUM and VALUEUOM; every ITEMID is one of `ITEMS`.

    Returns
    -------
    polars.DataFrame
        The same rows in the same order, with two columns more: `value` (float, null where there is
        none) and `outcome`, one of `UNREADABLE`, `IMPOSSIBLE`, `BOUNDED`, `GOOD`; and `variable`,
        the index into `VARIABLES`.
    """
    text = pl.col("VALUE").str.strip_chars()
    stated = pl.col("VALUEUOM").fill_null("").str.to_lowercase().str.strip_chars()
    frame = (
        events.with_row_index("position")
        .join(ITEM_FRAME, on="ITEMID", how="left")
        .with_columns(
            # "4 Spontaneously" and "1.0 ET/Trach" carry the score in front of the words.
            text.str.to_lowercase().str.replace(r"^\d+(\.0)?\s+", "").alias("words"),
            stated.alias("stated"),
        )
        .join(_SCALES, on=["variable", "words"], how="left")
        .join(_RANGES, on="variable", how="left")
        .sort("position")
    )
    pressure = (
        pl.when(_is("systolic bp"))
        .then(text.str.extract(_PRESSURES, 1))
        .when(_is("diastolic bp"))
        .then(text.str.extract(_PRESSURES, 2))
    )
    number = pl.coalesce(
        pl.col("VALUENUM"),
        text.str.extract(_NUMBER, 1).cast(pl.Float64, strict=False),
        pressure.cast(pl.Float64, strict=False),
    )
    spoken = pl.col("variable").is_in(_SCALES["variable"].unique().to_list())
    # Capillary refill has words only: a number beside them has no stated meaning.
    number = pl.when(_is("capillary refill")).then(None).otherwise(number)
    frame = frame.with_columns(
        pl.when(spoken).then(pl.coalesce("scored", number)).otherwise(number).alias("value")
    )
    frame = frame.with_columns(_converted(pl.col("value")).alias("value"))
    value = pl.col("value")
    return frame.with_columns(
        pl.when(value.is_null() | value.is_nan())
        .then(UNREADABLE)
        .when((value < pl.col("possible_low")) | (value > pl.col("possible_high")))
        .then(IMPOSSIBLE)
        .when((value < pl.col("low")) | (value > pl.col("high")))
        .then(BOUNDED)
        .otherwise(GOOD)
        .alias("outcome"),
    ).select(
        *events.columns,
        "variable",
        "outcome",
        pl.when(pl.col("outcome") >= BOUNDED)
        .then(pl.max_horizontal(pl.min_horizontal(value, "high"), "low"))
        .alias("value"),
    )


def _converted(value: pl.Expr) -> pl.Expr:
    """Convert numbers to the variables' units; variables that are not named here need none."""
    unit, stated = pl.col("unit"), pl.col("stated")

    def says(*texts: str) -> pl.Expr:
        return stated.is_in(list(texts))

    return (
        # Temperature. concepts/pivot/pivoted_vital.sql: items in °F hold (70, 120), items in °C
        # (10, 50); cookbook/temp.sql and issue 501: 677 and 679 are the same in the unit of their
        # label. They drop what was charted into the other unit's item; the benchmark's rule, from
        # 79 on it is °F, and its mirror image keep it: a body has 14 to 47 °C, 79 to 117 °F.
        pl.when(_is("temperature") & ((value >= 79) | ((unit == "°F") & (value > 70))))
        .then((value - 32) * 5 / 9)
        # Weight. concepts/durations/weight_durations.sql: 762, 763, 226512, 224639 and 3580 are kg,
        # 3581 is pounds, whatever VALUEUOM says. Pounds that VALUEUOM names: the benchmark.
        .when(_is("weight") & (says("lb", "lbs", "lbs.", "lb.", "pounds") | (unit == "lb")))
        .then(value * POUND_KG)
        # Height. concepts/pivot/pivoted_height.sql and demographics/heightweight.sql: 920, 1394,
        # 4187, 3486 and 226707 are inches, 3485, 4188 and 226730 cm. VALUEUOM is not asked: issue
        # 412 reports wrong ones for 4187 and 4188. No adult has so many inches: those are cm.
        .when(_is("height") & (unit == "in") & (value <= MAX_INCHES))
        .then(value * INCH_CM)
        # FiO2. concepts/pivot/pivoted_fio2.sql: fractions in 190 and up to 1 in 223835, percent in
        # 3420, 3422 and from 21 on in 223835; between them it is a flow in litres, typed into the
        # wrong field. 20 is air, rounded down (the same file on laboratory values). VALUEUOM is not
        # asked: the "torr" of 190 is wrong (issue 211: the number is a proportion), and no pressure
        # of inspired oxygen is as low as 100 torr, so a number up to 100 cannot be one.
        .when(_is("fio2") & (value > 1) & (value < 20))
        .then(None)
        .when(_is("fio2") & (value >= 20))
        .then(value / 100)
        # Saturation. concepts/pivot/pivoted_vital.sql (646, 220277) and pivoted_bg.sql (50817):
        # percent in all items. The few fractions: the benchmark.
        .when(_is("oxygen saturation") & (value > 0) & (value <= 1))
        .then(value * 100)
        # Glucose. concepts/firstday/labs_first_day.sql: mg/dl in 50809 and 50931, and
        # pivot/pivoted_vital.sql joins the charted items to them as they are. mmol/l is our own
        # rule, for tables of which some rows say so; none of MIMIC-III's is known to.
        .when(_is("glucose") & stated.str.contains("mmol"))
        .then(value * GLUCOSE_MG_DL)
        # The others as they are. Pressures (mmHg), heart rate, respiratory rate:
        # concepts/pivot/pivoted_vital.sql converts none of them. pH: pivot/pivoted_bg.sql. Glasgow
        # scores: pivot/pivoted_gcs.sql takes VALUENUM, and knows "1.0 ET/Trach" and "No
        # Response-ETT" as intubated (it then assumes a total of 15; the benchmark, and so we, score
        # no response). Capillary refill: no concept; the words are the benchmark's.
        .otherwise(value)
    )
