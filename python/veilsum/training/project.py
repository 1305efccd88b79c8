"""A project of a user's own, to begin with: a table, its public ranges, a network, a configuration.

Training. What is written runs as it is; each file says what to put in its place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from veilsum.errors import ParameterError

_SITES = ("north", "south", "coast")
_ROWS = 200
"""Of each site."""

_CONFIG = """\
# veilsum train config.toml
#
# Every other option keeps its default: veilsum train config.toml --print-config shows them all.

[run]
name = ""                       # of its folder below runs/; empty: the table's name and the time

[data]
study = "csv"
path = "example.csv"            # made-up rows: put your table here, one row a person
ranges = "ranges.toml"          # what is public of each column
label = "outcome"
site = "site"                   # each of its values is a cloud
clouds = 3

[model]
function = "network:make"       # network.py; leave this out for a perceptron

[training]
rounds = 10
epochs = 3
batch_size = 32
learning_rate = 0.003
"""

_NETWORK = '''\
"""The network that the clouds train."""

from torch import nn


def make(inputs, outputs):
    """Return the network; it is called once a cloud and must be the same each time."""
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs))
'''

_RANGES = """\
# What is public of each column. A range is what is plausible, from general knowledge: never the
# smallest and largest value of your rows, which would tell of them.

[age]
low = 18
high = 100
unit = "years"

[pressure]
low = 60
high = 260
unit = "mmHg"
missing = true                  # cells may be empty

[marker]
low = 0.01
high = 100.0
log = true                      # the model sees the logarithm

[smokes]
kind = "binary"                 # 0 or 1

[ward]
kind = "categorical"
levels = ["A", "B"]

[outcome]
kind = "binary"
"""

_README = """\
# A federated training of your own

    veilsum train config.toml

trains `network.py` on `example.csv`, whose rows are made up: each site is a cloud, every update is
encrypted before it leaves its cloud, and the clouds open sums together. The report is
`runs/<name>/report.html`.

| file | put there |
|---|---|
| `example.csv` | your table; `path`, `label` and `site` in `config.toml` name it and its columns |
| `ranges.toml` | what is public of each column (a template: `python -m veilsum.data.ranges`) |
| `network.py` | your network |
| `config.toml` | how long it trains, how clouds count, who opens |

For other data than tables, and a training function of your own, there is `veilsum.Task` with
`veilsum.federate`.
"""


def write_project(folder: Path) -> list[Path]:
    """Write a project that runs.

    Parameters
    ----------
    folder : Path
        Where; it is made, and must be empty where it is there.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    veilsum.ParameterError
        When something is there already.
    OSError
        When it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ParameterError(f"{folder} is there and not empty; a new project wants a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "README.md": _README,
        "config.toml": _CONFIG,
        "example.csv": _table(),
        "network.py": _NETWORK,
        "ranges.toml": _RANGES,
    }
    written = []
    for name, text in texts.items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def _table() -> str:
    """Make rows up: the same each time, and sites that differ."""
    generator = np.random.default_rng(20)
    lines = ["site,age,pressure,marker,smokes,ward,outcome"]
    for number, site in enumerate(_SITES):
        for _ in range(_ROWS):
            age = generator.normal(50 + 8 * number, 12)
            pressure = generator.normal(120 + 0.4 * (age - 50), 15)
            marker = np.exp(generator.normal(0.02 * (age - 50), 0.8))
            smokes = int(generator.random() < 0.3)
            risk = 0.05 * (age - 58) + 0.6 * np.log(marker) + 0.8 * smokes
            outcome = int(generator.random() < 1 / (1 + np.exp(-risk)))
            shown = "" if generator.random() < 0.05 else f"{pressure:.0f}"
            ward = "AB"[int(generator.random() < 0.5)]
            age = min(max(age, 18), 100)
            lines.append(f"{site},{age:.0f},{shown},{marker:.3f},{smokes},{ward},{outcome}")
    return "\n".join(lines) + "\n"
