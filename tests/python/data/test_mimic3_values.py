"""MIMIC-III's item table, and every charted unit brought to its variable's."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from veilsum.data.mimic3.harmonise import BOUNDED, GOOD, IMPOSSIBLE, UNREADABLE, harmonise
from veilsum.data.mimic3.loader import features
from veilsum.data.mimic3.variables import ITEMS, LEFT_OUT_ITEMS, VARIABLE_INDEX, VARIABLES


def test_there_are_the_17_variables_of_the_benchmark() -> None:
    assert len(VARIABLES) == len(VARIABLE_INDEX) == 17
    for variable in VARIABLES:
        low, high = variable.possible
        assert low <= variable.plausible[0] < variable.plausible[1] <= high
        assert all(low <= value <= high for value in variable.scale.values())
        assert all(text == text.lower() for text in variable.scale)
        assert variable.plausible[0] > 0 or not variable.log


def test_each_item_means_one_thing_and_both_systems_have_each_variable() -> None:
    ids = [item.itemid for item in ITEMS]
    assert len(set(ids)) == len(ids)
    assert not set(ids) & {itemid for itemid, _, _ in LEFT_OUT_ITEMS}
    of_system = {(item.variable, item.system) for item in ITEMS}
    for variable in VARIABLES:
        assert (variable.name, "CareVue") in of_system
        # MetaVision has no Glasgow total: the loader computes it.
        assert ((variable.name, "MetaVision") in of_system) == (variable.name != "gcs total")
    for item in ITEMS:
        assert item.variable in VARIABLE_INDEX
        assert (item.table == "LABEVENTS") == (item.system == "laboratory")
        assert (item.unit == "words") == bool(VARIABLES[VARIABLE_INDEX[item.variable]].scale)


def test_features_share_one_indicator_a_variable() -> None:
    found = features()
    assert [feature.name for feature in found[:3]] == ["age", "male", "capillary refill mean"]
    assert len(found) == 2 + 17 * 4
    assert sum(f.may_be_missing and not f.missing_with for f in found) == 17


Charted = tuple[int, "str | None", "float | None", "str | None"]


def outcomes(rows: list[Charted]) -> list[tuple[float | None, int]]:
    """`harmonise` of (ITEMID, VALUE, VALUENUM, VALUEUOM)."""
    schema = {"ITEMID": pl.Int64, "VALUE": pl.String, "VALUENUM": pl.Float64, "VALUEUOM": pl.String}
    frame = harmonise(pl.DataFrame(rows, schema=schema, orient="row"))
    return list(zip(frame["value"].to_list(), frame["outcome"].to_list(), strict=True))


def test_rows_keep_their_order_and_variable() -> None:
    rows: list[Charted] = [(item.itemid, "1", 1.0, None) for item in ITEMS]
    schema = {"ITEMID": pl.Int64, "VALUE": pl.String, "VALUENUM": pl.Float64, "VALUEUOM": pl.String}
    frame = harmonise(pl.DataFrame(rows, schema=schema, orient="row"))
    assert frame["ITEMID"].to_list() == [item.itemid for item in ITEMS]
    assert frame["variable"].to_list() == [VARIABLE_INDEX[item.variable] for item in ITEMS]


@pytest.mark.parametrize(
    ("row", "value"),
    [
        # Temperature: the item says the unit, unless no body could have that number.
        ((676, "37.2", 37.2, "Deg. C"), 37.2),
        ((223762, "36.5", 36.5, "?C"), 36.5),
        ((678, "98.6", 98.6, "Deg. F"), 37.0),
        ((223761, "102", 102.0, "?F"), (102 - 32) / 1.8),
        ((676, "98.6", 98.6, None), 37.0),
        ((678, "37", 37.0, None), 37.0),
        # Weight.
        ((763, "80", 80.0, "kg"), 80.0),
        ((226512, "80", 80.0, None), 80.0),
        ((226531, "200", 200.0, None), 90.718474),
        ((3581, "200", 200.0, "lb"), 90.718474),
        ((763, "200", 200.0, "lbs"), 90.718474),
        ((3581, "200", 200.0, "kg"), 90.718474),  # the item decides
        # Height.
        ((226730, "180", 180.0, "cm"), 180.0),
        ((226707, "70", 70.0, "Inch"), 177.8),
        ((920, "70", 70.0, None), 177.8),
        ((1394, "178", 178.0, None), 178.0),  # in the inches' field, but centimetres
        ((4187, "70", 70.0, "cm"), 177.8),  # VALUEUOM is wrong (mimic-code issue 412)
        ((4188, "178", 178.0, "inches"), 178.0),
        # Fraction of inspired oxygen: 0.5 and 50 are the same.
        ((223835, "50", 50.0, None), 0.5),
        ((3420, "50", 50.0, "%"), 0.5),
        ((190, "0.5", 0.5, None), 0.5),
        ((190, "1", 1.0, None), 1.0),
        ((223835, "100", 100.0, None), 1.0),
        # "torr" is wrong (mimic-code issue 211): it is a proportion, or percent.
        ((190, "0.5", 0.5, "torr"), 0.5),
        ((190, "1", 1.0, "Torr"), 1.0),
        ((190, "50", 50.0, "torr"), 0.5),
        ((189, "0.4", 0.4, "torr"), 0.4),
        # Saturation.
        ((220277, "97", 97.0, "%"), 97.0),
        ((646, "0.97", 0.97, None), 97.0),
        ((50817, "95", 95.0, "%"), 95.0),
        # Glucose.
        ((50931, "120", 120.0, "mg/dL"), 120.0),
        ((50809, "5.5", 5.5, "mmol/L"), 5.5 * 18.016),
        ((807, "120", None, None), 120.0),
        # Pressures, also as one text.
        ((51, "120", 120.0, "mmHg"), 120.0),
        ((455, "120/80", None, None), 120.0),
        ((8441, "120/80", None, None), 80.0),
        ((220181, "77", 77.0, "mmHg"), 77.0),
        # Scores in words.
        ((184, "4 Spontaneously", 4.0, None), 4.0),
        ((220739, "To Speech", 3.0, None), 3.0),
        ((220739, "None", None, None), 1.0),
        ((454, "6 Obeys Commands", None, None), 6.0),
        ((223901, "Abnormal extension", None, None), 2.0),
        ((723, "1.0 ET/Trach", 1.0, None), 1.0),
        ((223900, "No Response-ETT", 0.0, None), 1.0),
        ((223900, "Oriented", None, None), 5.0),
        ((454, "5", 5.0, None), 5.0),
        ((198, "14", 14.0, "points"), 14.0),
        ((3348, "Brisk", None, None), 0.0),
        ((3348, "Delayed", None, None), 1.0),
        ((115, "Normal <3 secs", None, None), 0.0),
        ((8377, "Abnormal >3 secs", None, None), 1.0),
        ((223951, "Normal <3 Seconds", None, None), 0.0),
        ((224308, " Abnormal >3 Seconds ", None, None), 1.0),
        # The rest, as charted.
        ((211, "80", 80.0, "BPM"), 80.0),
        ((220210, "18", 18.0, "insp/min"), 18.0),
        ((50820, "7.31", 7.31, "units"), 7.31),
        ((211, " 80 ", None, None), 80.0),
        ((50931, ">1000", None, "mg/dL"), 1000.0),
    ],
)
def test_units(row: Charted, value: float) -> None:
    ((found, outcome),) = outcomes([row])
    assert outcome == GOOD
    assert found is not None
    assert math.isclose(found, value, rel_tol=1e-12)


@pytest.mark.parametrize(
    "row",
    [
        (211, "ERROR", None, None),
        (211, None, None, None),
        (211, "", None, None),
        (50931, "see comment", None, "mg/dL"),
        (3348, "Other/Remarks", None, None),
        (3348, "1", 1.0, None),  # a number with no stated meaning
        (723, "Unable", None, None),
        (455, "120/80/60", None, None),
        (211, "120/80", None, None),
        (223835, "6", 6.0, None),  # litres a minute
        (190, "6", 6.0, "torr"),
        (211, "nan", float("nan"), None),
    ],
)
def test_what_holds_no_number_is_not_guessed(row: Charted) -> None:
    assert outcomes([row]) == [(None, UNREADABLE)]


SOURCE = {
    # An item of each variable whose numbers are in the variable's unit.
    variable.name: next(
        item.itemid
        for item in ITEMS
        if item.variable == variable.name and item.unit not in ("°F", "lb", "in")
    )
    for variable in VARIABLES
}


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_outliers_are_bounded_or_dropped(variable: object) -> None:
    from veilsum.data.mimic3.variables import Variable

    assert isinstance(variable, Variable)
    item = SOURCE[variable.name]
    if variable.name == "capillary refill":  # words only, so nothing lies outside
        return

    def charted(value: float) -> Charted:
        # fio2 is charted in percent here: small numbers there are flows.
        return (item, None, value * 100 if variable.name == "fio2" else value, None)

    (low, high), (first, last) = variable.plausible, variable.possible
    step = 1e-6 * (high - low)
    inside = outcomes([charted(low), charted(high)])
    assert [outcome for _, outcome in inside] == [GOOD, GOOD]
    cases = [(first, low), (last, high)]
    for possible, plausible in cases:
        ((value, outcome),) = outcomes([charted(possible)])
        if possible == plausible:
            assert outcome == GOOD
        else:
            assert (value, outcome) == (plausible, BOUNDED)
    if variable.name == "oxygen saturation":  # below 1 it is a fraction
        assert outcomes([charted(5.0)]) == [(None, IMPOSSIBLE)]
    beyond = [charted(last + step)]
    if first > step and variable.name != "fio2":
        beyond.append(charted(first - step))
    assert outcomes(beyond) == [(None, IMPOSSIBLE)] * len(beyond)


def test_a_unit_beyond_the_last_is_no_number_of_that_unit(
    make_mimic: Callable[..., object],
) -> None:
    del make_mimic
    assert outcomes([(226707, "108", 108.0, None)])[0][1] == IMPOSSIBLE  # 274 cm
    assert outcomes([(226707, "109", 109.0, None)]) == [(120.0, BOUNDED)]  # 109 cm
    assert outcomes([(678, "50", 50.0, None)]) == [(None, IMPOSSIBLE)]  # °C of nobody
    assert outcomes([(678, "50.5", 50.5, None)]) == [(None, IMPOSSIBLE)]  # 10 °C
    assert outcomes([(678, "70", 70.0, None)]) == [(None, IMPOSSIBLE)]
    assert outcomes([(678, "71", 71.0, None)]) == [(26.0, BOUNDED)]
    assert outcomes([(190, "120", 120.0, "torr")]) == [(None, IMPOSSIBLE)]  # a pressure
    assert outcomes([(226730, "70", 70.0, "inches")]) == [(None, IMPOSSIBLE)]
    assert outcomes([(676, "79", 79.0, None)]) == [(pytest.approx(26.111, abs=1e-3), GOOD)]


def test_the_documents_have_these_ranges() -> None:
    text = (Path(__file__).parents[3] / "docs" / "data.md").read_text()
    for variable in VARIABLES:
        unit = ", ".join(part for part in (variable.unit, "log" if variable.log else "") if part)
        possible, plausible = (
            f"{low:g} to {high:g}" for low, high in (variable.possible, variable.plausible)
        )
        line = " | ".join(["", variable.name, unit, possible, plausible]).strip()
        assert line.replace("|  |", "| |") in text, line
    for itemid, _, _ in LEFT_OUT_ITEMS:
        assert str(itemid) in text
