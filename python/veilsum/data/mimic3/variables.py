"""The 17 variables of the MIMIC-III benchmark: item ids, units, scales and plausible ranges.

Data layer, a table to be checked by eye: facts only, no code that reads patients' rows. Everything
here was known before any row was looked at; none of it was computed from rows.

Sources. Item ids and labels: the resource `itemid_to_variable_map.csv` of Harutyunyan et al.,
"Multitask learning and benchmarking with clinical time series data", Sci Data 6:96 (2019), whose 17
variables these are; additions from the concepts of the MIMIC Code Repository (Johnson et al., J Am
Med Inform Assoc 25, 2018), each marked "added". `LEFT_OUT_ITEMS` lists what the benchmark's table
has and this one does not. Ranges start from the benchmark's `variable_ranges.csv` and are narrowed
where it admits what no adult has (no pulse, 300 breaths a minute).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Table = Literal["CHARTEVENTS", "LABEVENTS"]


@dataclass(frozen=True)
class Variable:
    """One of the 17 variables, in the unit that all its items are converted to.

    Parameters
    ----------
    name : str
        Short name, the first part of the features' names.
    meaning : str
        One line for reports.
    unit : str
        Unit after conversion; empty for scores and indicators.
    possible : tuple of float
        Values outside are mistakes and are dropped.
    plausible : tuple of float
        Values outside, but possible, are set to the nearest end. Also the features' public range.
    log : bool
        Whether models see the logarithm.
    scale : dict of str to float
        For variables charted in words: lower-case text -> value.
    """

    name: str
    meaning: str
    unit: str
    possible: tuple[float, float]
    plausible: tuple[float, float]
    log: bool = False
    scale: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """One item id of D_ITEMS or D_LABITEMS.

    Parameters
    ----------
    itemid : int
        ITEMID.
    variable : str
        Name of the variable it measures.
    label : str
        As D_ITEMS or D_LABITEMS has it.
    table : {"CHARTEVENTS", "LABEVENTS"}
        Where its rows are.
    system : {"CareVue", "MetaVision", "laboratory"}
        Who charted it.
    unit : str
        Unit of its numbers; `harmonise` has the sources, rule by rule.
    """

    itemid: int
    variable: str
    label: str
    table: Table
    system: Literal["CareVue", "MetaVision", "laboratory"]
    unit: str


_EYE = {
    "no response": 1, "none": 1, "to pain": 2, "to speech": 3, "spontaneously": 4,
}  # fmt: skip
_MOTOR = {
    "no response": 1, "abnorm extensn": 2, "abnormal extension": 2, "abnorm flexion": 3,
    "abnormal flexion": 3, "flex-withdraws": 4, "localizes pain": 5, "obeys commands": 6,
}  # fmt: skip
# Intubated patients cannot speak; the benchmark scores them as no response, and so do we.
_VERBAL = {
    "no response": 1, "no response-ett": 1, "et/trach": 1, "incomp sounds": 2,
    "incomprehensible sounds": 2, "inapprop words": 3, "inappropriate words": 3, "confused": 4,
    "oriented": 5,
}  # fmt: skip
_REFILL = {
    "brisk": 0, "normal <3 secs": 0, "normal <3 seconds": 0, "delayed": 1,
    "abnormal >3 secs": 1, "abnormal >3 seconds": 1,
}  # fmt: skip


def _scale(texts: dict[str, int]) -> dict[str, float]:
    return {text: float(value) for text, value in texts.items()}


VARIABLES = (
    Variable(
        "capillary refill", "capillary refill: 1 for longer than 3 seconds", "",
        (0, 1), (0, 1), scale=_scale(_REFILL),
    ),
    Variable("diastolic bp", "diastolic blood pressure", "mmHg", (5, 250), (10, 200)),
    Variable("fio2", "fraction of inspired oxygen", "", (0.2, 1.0), (0.21, 1.0)),
    Variable(
        "gcs eye", "Glasgow coma scale, eye opening", "", (1, 4), (1, 4), scale=_scale(_EYE)
    ),
    Variable(
        "gcs motor", "Glasgow coma scale, motor response", "", (1, 6), (1, 6), scale=_scale(_MOTOR)
    ),
    Variable("gcs total", "Glasgow coma scale, total", "", (3, 15), (3, 15)),
    Variable(
        "gcs verbal", "Glasgow coma scale, verbal response", "", (1, 5), (1, 5),
        scale=_scale(_VERBAL),
    ),
    Variable("glucose", "glucose in blood", "mg/dl", (5, 2200), (20, 2000), log=True),
    Variable("heart rate", "heart rate", "beats/min", (5, 350), (10, 300)),
    Variable("height", "height", "cm", (100, 250), (120, 220)),
    Variable("mean bp", "mean blood pressure", "mmHg", (5, 330), (14, 250)),
    Variable("oxygen saturation", "oxygen saturation", "%", (10, 105), (30, 100)),
    Variable("respiratory rate", "respiratory rate", "breaths/min", (0, 120), (2, 80)),
    Variable("systolic bp", "systolic blood pressure", "mmHg", (10, 375), (20, 300)),
    Variable("temperature", "body temperature", "°C", (14.2, 47), (26, 45)),
    Variable("weight", "weight", "kg", (20, 400), (30, 300), log=True),
    Variable("ph", "pH of blood", "", (6.3, 8.4), (6.6, 8.0)),
)  # fmt: skip
"""In the benchmark's order."""

VARIABLE_INDEX = {variable.name: i for i, variable in enumerate(VARIABLES)}


def _items(variable: str, unit: str, *rows: tuple[int, str]) -> tuple[Item, ...]:
    """Make the items of one variable and unit; the id tells table and system."""
    found = []
    for itemid, label in rows:
        # Laboratory ids lie between CareVue's and MetaVision's.
        if itemid >= 220000:
            found.append(Item(itemid, variable, label, "CHARTEVENTS", "MetaVision", unit))
        elif itemid >= 50000:
            found.append(Item(itemid, variable, label, "LABEVENTS", "laboratory", unit))
        else:
            found.append(Item(itemid, variable, label, "CHARTEVENTS", "CareVue", unit))
    return tuple(found)


ITEMS = (
    *_items(
        "capillary refill", "words",
        (3348, "Capillary Refill"), (115, "Capillary Refill [Right]"),
        (8377, "Capillary Refill [Left]"),
        # Added: without them patients charted in MetaVision have none.
        (223951, "Capillary Refill R"), (224308, "Capillary Refill L"),
    ),
    *_items(
        "diastolic bp", "mmHg",
        (8368, "Arterial BP [Diastolic]"), (8441, "NBP [Diastolic]"),
        (8555, "Arterial BP #2 [Diastolic]"), (8502, "BP Cuff [Diastolic]"),
        (8440, "Manual BP [Diastolic]"), (8503, "BP Left Arm [Diastolic]"),
        (8504, "BP Left Leg [Diastolic]"), (8507, "BP Right Leg [Diastolic]"),
        (8506, "BP Right Arm [Diastolic]"), (220051, "Arterial Blood Pressure diastolic"),
        (225310, "ART BP Diastolic"), (220180, "Non Invasive Blood Pressure diastolic"),
        (224643, "Manual Blood Pressure Diastolic Left"),
    ),
    # Charted as 0.5 or as 50; see `harmonise`.
    *_items(
        "fio2", "fraction or %",
        (3420, "FIO2"), (3422, "FIO2 [Meas]"), (189, "FiO2 (Analyzed)"), (727, "Vision FiO2"),
        (190, "FiO2 Set"),  # added
        (223835, "Inspired O2 Fraction"),
    ),
    *_items("gcs eye", "words", (184, "Eye Opening"), (220739, "GCS - Eye Opening")),
    *_items("gcs motor", "words", (454, "Motor Response"), (223901, "GCS - Motor Response")),
    # MetaVision has no total: it is computed where all three parts were charted.
    *_items("gcs total", "", (198, "GCS Total")),
    *_items("gcs verbal", "words", (723, "Verbal Response"), (223900, "GCS - Verbal Response")),
    *_items(
        "glucose", "mg/dl",
        (807, "Fingerstick Glucose"), (811, "Glucose (70-105)"), (1529, "Glucose"),
        (3745, "BloodGlucose"), (225664, "Glucose finger stick"), (220621, "Glucose (serum)"),
        (226537, "Glucose (whole blood)"), (50931, "Glucose"), (50809, "Glucose"),
    ),
    *_items("heart rate", "beats/min", (211, "Heart Rate"), (220045, "Heart Rate")),
    *_items(
        "height", "in",
        (226707, "Height"), (1394, "Height Inches"),
        # Added: without them patients charted in CareVue have none.
        (920, "Admit Ht"), (4187, "Length Calc Inches"), (3486, "Length in Inches"),
    ),
    *_items(
        "height", "cm",
        (226730, "Height (cm)"),
        (3485, "Length Calc (cm)"), (4188, "Length in cm"),  # added
    ),
    *_items(
        "mean bp", "mmHg",
        (52, "Arterial BP Mean"), (456, "NBP Mean"), (6702, "Arterial BP Mean #2"),
        (224, "IABP Mean"), (3312, "BP Cuff [Mean]"), (3314, "BP Left Arm [Mean]"),
        (3316, "BP Left Leg [Mean]"), (3322, "BP Right Leg [Mean]"),
        (3320, "BP Right Arm [Mean]"), (220052, "Arterial Blood Pressure mean"),
        (225312, "ART BP mean"), (224322, "IABP Mean"),
        (220181, "Non Invasive Blood Pressure mean"),
    ),
    *_items(
        "oxygen saturation", "%",
        (646, "SpO2"), (834, "SaO2"), (8498, "O2 sat [Post]"),
        (220277, "O2 saturation pulseoxymetry"), (220227, "Arterial O2 Saturation"),
        (50817, "Oxygen Saturation"),
    ),
    *_items(
        "respiratory rate", "breaths/min",
        (618, "Respiratory Rate"), (3603, "Resp Rate"), (614, "Resp Rate (Spont)"),
        (651, "Spon RR (Mech.)"), (615, "Resp Rate (Total)"), (220210, "Respiratory Rate"),
        (224689, "Respiratory Rate (spontaneous)"), (224422, "Spont RR"),
        (224690, "Respiratory Rate (Total)"),
    ),
    *_items(
        "systolic bp", "mmHg",
        (51, "Arterial BP [Systolic]"), (455, "NBP [Systolic]"),
        (6701, "Arterial BP #2 [Systolic]"), (3313, "BP Cuff [Systolic]"),
        (442, "Manual BP [Systolic]"), (3315, "BP Left Arm [Systolic]"),
        (3317, "BP Left Leg [Systolic]"), (3323, "BP Right Leg [Systolic]"),
        (3321, "BP Right Arm [Systolic]"), (220050, "Arterial Blood Pressure systolic"),
        (225309, "ART BP Systolic"), (220179, "Non Invasive Blood Pressure systolic"),
        (224167, "Manual Blood Pressure Systolic Left"),
        (227243, "Manual Blood Pressure Systolic Right"),
    ),
    *_items(
        "temperature", "°C",
        (676, "Temperature C"), (677, "Temperature C (calc)"), (3655, "Temp Skin [C]"),
        (223762, "Temperature Celsius"),
    ),
    *_items(
        "temperature", "°F",
        (678, "Temperature F"), (679, "Temperature F (calc)"), (3654, "Temp Rectal [F]"),
        (223761, "Temperature Fahrenheit"),
    ),
    *_items(
        "weight", "kg",
        (763, "Daily Weight"), (3580, "Present Weight  (kg)"), (3693, "Weight Kg"),
        (762, "Admit Wt"),  # added: CareVue's weight at admission
        (224639, "Daily Weight"), (226512, "Admission Weight (Kg)"),
    ),
    *_items("weight", "lb", (3581, "Present Weight  (lb)"), (226531, "Admission Weight (lbs.)")),
    *_items(
        "ph", "",
        (780, "Arterial pH"), (1126, "Art.pH"), (4753, "pH (Art)"), (4202, "pH (cap)"),
        (860, "Venous pH"), (223830, "PH (Arterial)"), (220274, "PH (Venous)"), (50820, "pH"),
    ),
)  # fmt: skip

LEFT_OUT_ITEMS = (
    (51478, "Glucose", "measured in urine"),
    (51491, "pH", "measured in urine"),
    (51094, "pH", "measured in urine"),
    (50831, "pH", "measured in another body fluid"),
    (3839, "ph (other)", "does not say of which fluid"),
    (1673, "PH", "does not say of which fluid"),
    # concepts/durations/weight_durations.sql adds it to the pounds of 3581, which newborns have.
    (3582, "Present Weight  (oz)", "the ounces beside a weight's pounds, and no weight of its own"),
)
"""Items of the benchmark's table that are not used here, each with the reason."""
