"""Charted values to the variables' units: numbers out of words, °F to °C, lb to kg, in to cm.

Data layer, part of the MIMIC-III loader. Works on frames of events that all have a known item id,
row by row without memory; knows nothing of stays and times. Each rule is a sentence in docs/data.md
and a case in the tests.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from veilsum.data.mimic3.variables import ITEMS, VARIABLE_INDEX, VARIABLES

POUND_KG: Final = 0.45359237
OUNCE_KG: Final = POUND_KG / 16
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
    """Convert numbers to the variables' units; a unit in VALUEUOM goes before the item's own."""
    unit, stated = pl.col("unit"), pl.col("stated")

    def says(*texts: str) -> pl.Expr:
        return stated.is_in(list(texts))

    kilograms = says("kg", "kgs")
    pounds = says("lb", "lbs", "lbs.", "lb.", "pounds") | (~kilograms & (unit == "lb"))
    ounces = says("oz", "oz.", "ounces") | (~kilograms & (unit == "oz") & ~says("lb", "lbs"))
    inches = says("in", "in.", "inch", "inches") | (~says("cm") & (unit == "in"))
    return (
        # A body has 14 to 47 °C, so 79 to 117 °F: the number itself says which of them it is.
        pl.when(_is("temperature") & ((value >= 79) | ((unit == "°F") & (value > 50))))
        .then((value - 32) * 5 / 9)
        .when(_is("weight") & ounces)
        .then(value * OUNCE_KG)
        .when(_is("weight") & pounds)
        .then(value * POUND_KG)
        .when(_is("height") & inches & (value <= MAX_INCHES))
        .then(value * INCH_CM)
        # 20 and more are percent; between 1 and 20 it is a flow in litres, typed into the wrong
        # field. A partial pressure is no fraction either.
        .when(_is("fio2") & (stated.str.contains("torr") | ((value > 1) & (value < 20))))
        .then(None)
        .when(_is("fio2") & (value >= 20))
        .then(value / 100)
        .when(_is("oxygen saturation") & (value > 0) & (value <= 1))
        .then(value * 100)
        .when(_is("glucose") & stated.str.contains("mmol"))
        .then(value * GLUCOSE_MG_DL)
        .otherwise(value)
    )
