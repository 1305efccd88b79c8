"""A table of the user's own as a study: what comes out, and what is said of a wrong cell."""

from __future__ import annotations

import gzip
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from veilsum import data
from veilsum.data.csv_study import load_csv
from veilsum.data.ranges import Column, main, read_ranges, template
from veilsum.data.table import open_table, table_header

ROWS = """\
age,smokes,colour,dose,note,hospital,died
61.5,0,red,0.5,x,North,1
48,1,blue,,y,South,0
70,true,,20,z,North,0
"""

RANGES = """\
column,kind,low,high,log,missing,levels,unit,meaning
age,numeric,0,120,no,no,,years,age at entry
smokes,binary,,,,,,,
colour,categorical,,,,yes,red|blue|green,,
dose,numeric,0.1,10,yes,yes,,mg,
note,ignore,,,,,,,
"""

RANGES_TOML = """\
[age]
low = 0
high = 120.0
unit = "years"
meaning = "age at entry"
[smokes]
kind = "binary"
[colour]
kind = "categorical"
levels = ["red", "blue", "green"]
missing = true
[dose]
low = 0.1
high = 10
log = true
missing = true
unit = "mg"
[note]
kind = "ignore"
"""


def write(folder: Path, rows: str = ROWS, ranges: str = RANGES) -> dict[str, Any]:
    (folder / "patients.csv").write_text(rows)
    (folder / "ranges.csv").write_text(ranges)
    return {"path": folder / "patients.csv", "label": "died", "ranges": folder / "ranges.csv"}


def test_a_table_becomes_a_study(tmp_path: Path) -> None:
    study = load_csv(**write(tmp_path), site="hospital")
    assert [(f.name, f.kind) for f in study.features] == [
        ("age", "numeric"), ("smokes", "binary"),
        ("colour=red", "binary"), ("colour=blue", "binary"), ("colour=green", "binary"),
        ("colour missing", "binary"), ("dose", "numeric"),
    ]  # fmt: skip
    dose = study.features[-1]
    assert (dose.low, dose.high, dose.log, dose.may_be_missing, dose.unit) == (
        0.1, 10, True, True, "mg",
    )  # fmt: skip
    np.testing.assert_array_equal(
        study.values,
        [
            [61.5, 0, 1, 0, 0, 0, 0.5],
            [48.0, 1, 0, 1, 0, 0, np.nan],
            [70.0, 1, 0, 0, 0, 1, 20.0],
        ],
    )
    assert study.labels.tolist() == [1, 0, 0]
    assert study.sites is not None
    assert [study.site_names[i] for i in study.sites] == ["North", "South", "North"]
    assert (study.name, study.outcome, study.rows_are) == ("patients", "died", "rows")
    assert [name for name, _ in study.left_out] == ["note"]
    assert study.notes == (
        "dose: 1 of 3 values are beyond the public range 0.1 to 10 and taken for its ends",
    )
    # The whole way to a model's inputs, missing cells included.
    moments = data.local_moments(study)
    inputs = data.Preprocessor.fit(study.features, moments).transform(study)
    assert np.isfinite(inputs).all()


def test_ranges_in_toml_say_the_same(tmp_path: Path) -> None:
    options = write(tmp_path)
    (tmp_path / "ranges.toml").write_text(RANGES_TOML)
    assert read_ranges(tmp_path / "ranges.toml") == read_ranges(options["ranges"])


def test_a_packed_table_is_read(tmp_path: Path) -> None:
    options = write(tmp_path)
    with gzip.open(tmp_path / "patients.csv.gz", "wt", encoding="utf-8") as file:
        file.write(ROWS)
    packed = load_csv(**(options | {"path": tmp_path / "patients.csv.gz"}), site="hospital")
    np.testing.assert_array_equal(packed.values, load_csv(**options, site="hospital").values)
    whole = (tmp_path / "patients.csv.gz").read_bytes()
    (tmp_path / "patients.csv.gz").write_bytes(whole[:-12])
    with pytest.raises(vs.WireFormatError, match=r"patients\.csv\.gz is not a whole \.gz file"):
        load_csv(**(options | {"path": tmp_path / "patients.csv.gz"}), site="hospital")


def test_what_other_programs_write_is_read(tmp_path: Path) -> None:
    # A byte order mark, quotes, line ends of Windows, an empty line, row numbers without a name.
    rows = '\ufeff,x,y\r\n0,"1.0",True\r\n\r\n1, 2e0 ,0\r\n2,NaN,FALSE\r\n'
    options = write(tmp_path, rows, "column,low,high,missing\nx,0,3,yes\n")
    study = load_csv(**(options | {"label": "y"}))
    np.testing.assert_array_equal(study.values, [[1.0], [2.0], [np.nan]])
    assert study.labels.tolist() == [1, 0, 0]


def test_an_outcome_may_be_a_class_or_a_number(tmp_path: Path) -> None:
    rows = "x,y\n0,low\n1,high\n0,middle\n"
    options = write(
        tmp_path, rows, "column,kind,levels\nx,binary,\ny,categorical,low|middle|high\n"
    )
    options["label"] = "y"
    study = load_csv(**options)
    assert study.classes == ("low", "middle", "high")
    assert study.labels.tolist() == [0, 2, 1]
    # Two levels are a yes or no: the second is yes.
    write(tmp_path, "x,y\n0,no\n1,yes\n", "column,kind,levels\nx,binary,\ny,categorical,no|yes\n")
    study = load_csv(**options)
    assert (study.classes, study.labels.tolist(), study.outcome) == ((), [0, 1], "y: yes")
    write(tmp_path, "x,y\n0,1.5\n1,20\n", "column,kind,low,high,log\nx,binary,,,\ny,,1,100,yes\n")
    study = load_csv(**options)
    assert study.target is not None
    assert (study.target.name, study.target.high, study.target.log) == ("y", 100, True)
    assert study.numbers is not None
    assert study.numbers.tolist() == [1.5, 20.0]
    assert study.labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("48,1", "48 y,1", r"patients\.csv, row 3, column age: '48 y' is not a number$"),
        ("61.5,0", '"61,5",0', r"row 2, column age: '61,5' is not a number \(a decimal comma"),
        ("48,1", "1_000,1", r"row 3, column age: '1_000' is not a finite number"),
        ("48,1", "inf,1", r"row 3, column age: 'inf' is not a finite number"),
        ("48,1", ",1", r"row 3, column age: '' stands for a missing value; allow it with missing"),
        ("48,1", "NA,1", r"row 3, column age: 'NA' stands for a missing value"),
        ("48,1", "48,2", r"row 3, column smokes: '2' is neither 0 nor 1; of a column with other"),
        ("48,1", "48,", r"row 3, column smokes: '' stands for a missing value"),
        ("blue", "Blue", r"column colour: 'Blue' is none of its levels \(red, blue, green\); add"),
        ("North,1", "North,yes", r"row 2, column died: 'yes' is neither 0 nor 1"),
        ("North,1", "North,", r"row 2, column died: '' stands for a missing value"),
        ("North,1", ",1", r"row 2, column hospital: the site is empty"),
        ("48,1", "48,1,1", r"row 3 has 8 cells; the header has 7"),
        ("20,z,North,0\n", "20,z", r"row 4 has 5 cells; the header has 7"),
        ("48,1", '"48,1', r"row 3 is no row of a CSV file .*a quotation mark is missing"),
        ("age,smokes", "age,age", r"has column age twice"),
        (
            ROWS,
            "a;b;died\n1;2;0\n",
            r"has one column, 'a;b;died'; its cells must be separated by c",
        ),
        (ROWS, ROWS.splitlines()[0], r"has a header but no rows"),
        (ROWS, "", r"patients\.csv has no header"),
    ],
)
def test_what_is_wrong_in_a_table_is_named_with_its_row(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert old in ROWS
    with pytest.raises(vs.WireFormatError, match=words):
        load_csv(**write(tmp_path, ROWS.replace(old, new, 1)), site="hospital")


def test_a_long_cell_is_shown_shortened(tmp_path: Path) -> None:
    with pytest.raises(vs.WireFormatError) as caught:
        load_csv(**write(tmp_path, ROWS.replace("61.5", "7" * 30 + "x" * 300)), site="hospital")
    assert "x" * 10 in str(caught.value)
    assert "x" * 11 not in str(caught.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    options = write(tmp_path)
    options["path"].write_bytes(ROWS.replace("North", "Nørd").encode("latin-1"))
    with pytest.raises(vs.WireFormatError, match="are not UTF-8; save the file with that"):
        load_csv(**options, site="hospital")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("age,numeric,0,120", "age,numeric,,120", "column age has no range: fill in low and high"),
        ("age,numeric,0,120", "age,numeric,nan,120", "column age has no range"),
        ("age,numeric,0,120", "age,numeric,120,0", "column age: range 120.0 to 0.0 is empty"),
        ("age,numeric,0,120", "age,numeric,none,120", r"row 2, column low: 'none' is not a number"),
        ("dose,numeric,0.1", "dose,numeric,0", "column dose: a logarithm needs a range above 0"),
        (
            "smokes,binary,,",
            "smokes,binary,0,1",
            "smokes is binary; low, high and log are for kind",
        ),
        ("smokes,binary", "smokes,boolean", "column smokes: kind is 'boolean'; must be one of num"),
        ("red|blue|green", "red", "column colour has 1 levels, or one twice"),
        ("red|blue|green", "red|blue|red", "column colour has 3 levels, or one twice"),
        ("no,no,,years", "no,no,a|b,years", "column age is numeric; levels are for kind"),
        ("0,120,no", "0,120,maybe", r"row 2, column log: 'maybe' is neither yes nor no"),
        ("smokes,binary", "age,binary", r"ranges\.csv: column age is there twice"),
        ("smokes,binary", ",binary", r"row 3: column is empty; it must name a column"),
        ("column,kind", "name,kind", "is no file of ranges: it has columns name, kind"),
        (
            RANGES,
            RANGES + "weight,numeric,1,200,,,,,\n",
            r"describes weight, which .* does not have",
        ),
        (RANGES, RANGES + "died,ignore,,,,,,,\n", "the label died cannot be of kind"),
        (RANGES, RANGES + "died,binary,,,,yes,,,\n", "the label died may not be missing"),
    ],
)
def test_what_is_wrong_in_a_file_of_ranges_is_named(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert old in RANGES
    with pytest.raises(vs.ParameterError, match=words):
        load_csv(**write(tmp_path, ranges=RANGES.replace(old, new, 1)), site="hospital")


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("age = 3\n", "age stands outside of the columns; write .age. and its range below it"),
        ("[age]\nlow = '0'\n", "column age: low is '0'; must be a number"),
        ("[age]\nlow = true\n", "column age: low is True; must be a number"),
        ("[age]\nlog = 1\n", "column age: log is 1; must be true or false"),
        ("[age]\nlevels = 'a|b'\n", "column age: levels is a str; must be a list of texts"),
        ("[age]\nunit = 3\n", "column age: unit is 3; must be a text"),
        ("[age]\nhihg = 3\n", "column age has an unknown entry hihg; known are kind, low, high"),
        ("[age]\nlow = 0\n", r"ranges\.toml: column age has no range"),
        ("[age\n", "not valid TOML"),
    ],
)
def test_what_is_wrong_in_a_toml_of_ranges_is_named(tmp_path: Path, toml: str, words: str) -> None:
    (tmp_path / "ranges.toml").write_text(toml)
    with pytest.raises(vs.ParameterError, match=words):
        read_ranges(tmp_path / "ranges.toml")


def test_a_missing_range_offers_a_template_that_asks_for_all(tmp_path: Path) -> None:
    options = write(tmp_path, ranges=RANGES.replace("smokes,binary,,,,,,,\n", ""))
    advice = r"not from the rows; a template .* python -m veilsum\.data\.ranges .*patients\.csv"
    with pytest.raises(vs.ParameterError, match="has no range of smokes, which .*" + advice):
        load_csv(**options, site="hospital")
    options["ranges"].unlink()
    with pytest.raises(vs.ParameterError, match=r"ranges\.csv does not exist: .*" + advice):
        load_csv(**options, site="hospital")
    run = [sys.executable, "-m", "veilsum.data.ranges", str(options["path"])]
    made = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert [line.split(",")[0] for line in made.splitlines()] == [
        "column", "age", "smokes", "colour", "dose", "note", "hospital", "died",
    ]  # fmt: skip
    # It is no answer as it is: nothing in it was read off the rows.
    options["ranges"].write_text(made)
    with pytest.raises(vs.ParameterError, match="column age has no range: fill in low and high"):
        load_csv(**options, site="hospital")


def test_a_template_has_names_with_commas_in_quotes(tmp_path: Path) -> None:
    (tmp_path / "filled.csv").write_text(
        template(["a,b", 'c"d']).replace("numeric,,", "numeric,0,1")
    )
    found = read_ranges(tmp_path / "filled.csv")
    assert list(found) == ["a,b", 'c"d']
    assert found["a,b"] == Column("a,b", low=0.0, high=1.0)


def test_the_template_command_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 2
    assert "usage: python -m veilsum.data.ranges" in capsys.readouterr().err
    assert main([str(tmp_path / "none.csv")]) == 2
    assert "none.csv does not exist" in capsys.readouterr().err


def test_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    options = write(tmp_path)
    with pytest.raises(
        vs.ParameterError, match=r"data\.label is 'dead', but .* it has age, smokes"
    ):
        load_csv(**(options | {"label": "dead"}))
    with pytest.raises(vs.ParameterError, match=r"data\.site is 'ward', but .* has no such column"):
        load_csv(**options, site="ward")
    with pytest.raises(vs.ParameterError, match="are both 'died'; give two columns"):
        load_csv(**options, site="died")
    with pytest.raises(vs.ParameterError, match="is a folder, not a file"):
        load_csv(**(options | {"path": tmp_path}))


def test_a_site_that_is_no_site_needs_a_range_as_any_column(tmp_path: Path) -> None:
    with pytest.raises(vs.ParameterError, match="has no range of hospital"):
        load_csv(**write(tmp_path))


def test_a_table_of_labels_alone_cannot_be_learned_from(tmp_path: Path) -> None:
    with pytest.raises(vs.ParameterError, match="no column that a model could learn from"):
        load_csv(**write(tmp_path, "died\n1\n", "column\n"))


def test_two_inputs_of_one_name_are_refused(tmp_path: Path) -> None:
    options = write(
        tmp_path,
        "c,c=a,died\na,1,0\n",
        "column,kind,levels\nc,categorical,a|b\nc=a,binary,\n",
    )
    with pytest.raises(vs.ParameterError, match="both make an input called c=a; rename one"):
        load_csv(**options)


def test_an_early_end_is_not_read_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    assert table_header(path) == ("a", "b")
    with open_table(path) as table:
        assert list(table.rows()) == [(2, ["1", "2"])]


def test_missing_words_are_nan_where_they_may_be(tmp_path: Path) -> None:
    words = ["", "NULL", "null", "\\N", "NaN", "nan", "NaT", "NA", "<NA>", "N/A", "None"]
    rows = "x,y\n" + "".join(f"{word},1\n" for word in words)
    options = write(tmp_path, rows, "column,low,high,missing\nx,0,1,yes\n")
    study = load_csv(**(options | {"label": "y"}))
    assert all(math.isnan(value) for value in study.values[:, 0])
