"""The made-up directory: the same rows for the same seed, marked, and awkward enough."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import veilsum as vs
from veilsum.data.mimic3 import SYNTHETIC_MARKER, SYNTHETIC_SUBJECTS, load_mimic3
from veilsum.data.mimic3.variables import ITEMS
from veilsum.data.synthetic_mimic import HEADERS, main, write_synthetic_mimic


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    one = write_synthetic_mimic(tmp_path / "one", stays=30, seed=4)
    two = write_synthetic_mimic(tmp_path / "two", stays=30, seed=4)
    other = write_synthetic_mimic(tmp_path / "other", stays=30, seed=5)
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted([SYNTHETIC_MARKER, *(f"{name}.csv.gz" for name in HEADERS)])
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    assert (one / "CHARTEVENTS.csv.gz").read_bytes() != (other / "CHARTEVENTS.csv.gz").read_bytes()


def test_plain_lower_case_tables_hold_the_same(tmp_path: Path) -> None:
    packed = load_mimic3(write_synthetic_mimic(tmp_path / "a", stays=30), cache=None)
    folder = write_synthetic_mimic(tmp_path / "b", stays=30, compressed=False, lower_case=True)
    assert (folder / "PATIENTS.csv").read_text().startswith("row_id,subject_id,gender")
    np.testing.assert_array_equal(load_mimic3(folder, cache=None).values, packed.values)


def test_it_has_what_makes_the_real_tables_laborious(tmp_path: Path) -> None:
    folder = write_synthetic_mimic(tmp_path / "made", stays=300)
    study = load_mimic3(folder, cache=None)
    stays, events, dropped, *_ = study.notes
    for rule in ("with a move", "not the only one", "younger than 18", "shorter than 48"):
        assert f" 0 {rule}" not in stays
        assert rule in stays
    for reason in ("outside of any admission", "marked as an error", "unreadable", "impossible"):
        assert f" 0 {reason}" not in dropped
    assert " 0 of them" not in events
    with gzip.open(folder / "CHARTEVENTS.csv.gz", "rt") as file:
        rows = list(csv.reader(file))[1:]
    items = Counter(int(row[4]) for row in rows)
    assert {item.itemid for item in ITEMS if item.table == "CHARTEVENTS"} <= set(items)
    assert len({tuple(row[1:]) for row in rows}) < len(rows)  # repeated rows
    assert all(int(row[1]) > SYNTHETIC_SUBJECTS for row in rows)
    assert 91.4 in study.column("age")
    missing = np.isnan(study.values).mean(axis=0)
    assert missing.max() > 0.2
    assert 0.05 < study.outcome_rate < 0.4
    assert study.patients is not None
    assert len(set(study.patients)) < len(study)


def test_the_outcome_can_be_learned(tmp_path: Path) -> None:
    study = load_mimic3(write_synthetic_mimic(tmp_path / "made", stays=400), cache=None)
    rates = study.column("respiratory rate mean")
    known = ~np.isnan(rates)
    died, lived = (rates[known & (study.labels == label)] for label in (1, 0))
    # The share of pairs in which who died breathed faster: an AUC from one column.
    auc = (died[:, None] > lived[None, :]).mean()
    assert auc > 0.65


def test_it_never_writes_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "ADMISSIONS.csv.gz").write_bytes(b"real")
    with pytest.raises(vs.ParameterError, match="is not empty"):
        write_synthetic_mimic(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ADMISSIONS.csv.gz"]
    with pytest.raises(vs.ParameterError, match="stays is 19; must be at least 20"):
        write_synthetic_mimic(tmp_path / "new", stays=19)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "made"), "--stays", "20", "--plain"]) == 0
    assert "SYNTHETIC" in capsys.readouterr().out
    assert (tmp_path / "made" / "CHARTEVENTS.csv").exists()
    assert main([str(tmp_path / "made")]) == 3
    assert "is not empty" in capsys.readouterr().err
