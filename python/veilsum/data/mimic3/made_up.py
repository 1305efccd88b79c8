"""What marks made-up rows in the form of MIMIC-III, for those who read and those who write them."""

from __future__ import annotations

SYNTHETIC_MARKER = "SYNTHETIC.txt"
"""A directory with this file holds made-up rows, and whatever is made from it says so."""

SYNTHETIC_SUBJECTS = 900_000_000
"""SUBJECT_IDs from here on are made up, in case the marker was lost; real ones have five digits."""
