"""The engine that encrypts nothing sums like any other, and no release can be made to use it.

It lies among the tests. What names it, by name or by number, is refused by every process that did
not register it: plans, and rounds of such plans, in whatever bytes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import plain_cipher
import veilsum as vs
from security.stages import PRELUDE, Stage, register, unregister
from veilsum.engines import registry


@pytest.fixture(scope="module")
def plain(_plain_engine):
    return Stage("plain")


def test_sums_are_exact(plain):
    rnd = plain.round(like={"a": np.zeros((3, 50), np.float32), "b": np.zeros(2)}, limit=0.5)
    updates = [
        {"a": plain.update(k, 150).reshape(3, 50) / 2, "b": np.array([0.5, -0.25])}
        for k in range(3)
    ]
    uploads = [vs.encrypt(rnd, update) for update in updates]
    total = vs.weighted_sum(rnd, uploads)
    mean = vs.decrypt(plain.open(rnd, total, uploads), total, dtype="float64")
    for name in ("a", "b"):
        exact = np.mean([update[name] for update in updates], axis=0, dtype=np.float64)
        assert np.abs(mean[name] - exact).max() <= plain.tolerance(3, 0.5)


ELSEWHERE = """
import sys
import veilsum as vs
read = {"plan": vs.Plan, "round": vs.Round}
for kind, path in zip(("plan", "round"), sys.argv[1:]):
    data = open(path, "rb").read()
    for call in (lambda: read[kind].load(path), lambda: read[kind].from_bytes(data)):
        try:
            call()
            print("read")
        except vs.WireFormatError as error:
            print("refused" if "255" in str(error) else error)
try:
    vs.Plan(4, engine="plain")
except vs.ParameterError as error:
    print("refused" if "'plain' is unknown" in str(error) else error)
"""


def test_a_process_that_did_not_register_it_refuses_it(plain, tmp_path):
    paths = [str(tmp_path / name) for name in ("plan", "round")]
    plain.plan.save(paths[0])
    plain.round().save(paths[1])
    for code, expected in ((ELSEWHERE, ["refused"] * 5), (PRELUDE + ELSEWHERE, ["read"] * 4)):
        done = subprocess.run(
            [sys.executable, "-c", code, *paths], check=True, capture_output=True, text=True
        )
        assert done.stdout.split() == expected


def test_nothing_that_is_installed_knows_it():
    """Neither the cipher nor anybody who would register one."""
    root = Path(vs.__file__).parent
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert "plain_cipher" not in text, path
        assert "PlainCipher" not in text, path
        if path.name != "registry.py":
            assert "registry.register" not in text, path
            assert "registry import register" not in text, path
    unregister()
    try:
        assert registry.engine_names() == ["native", "openfhe"]
    finally:
        register()


class Another(plain_cipher.PlainCipher):
    """Says that it is some engine."""

    def __init__(self, name, number):
        self.name, self.number = name, number


@pytest.mark.parametrize(
    ("name", "number"),
    [("native", 7), ("openfhe", 7), ("other", 1), ("other", 2), ("plain", 7), ("other", 255)],
)
def test_no_engine_takes_anothers_place(name, number):
    before = registry.engine_names()
    with pytest.raises(vs.ParameterError, match="another's place"):
        registry.register(Another(name, number))
    assert registry.engine_names() == before
    registry.register(plain_cipher.CIPHER)  # the same one may come again
    assert registry.engine_names() == before


@pytest.mark.parametrize("call", ["rnd.pad_bytes", "vs.PadStore(rnd, budget_bytes=1 << 20)"])
def test_pads_are_the_native_engines_alone(call):
    """In a child: an error where none may be ends the process."""
    body = f"""
plan = vs.Plan(3, engine="plain")
rnd = vs.Round(plan, vs.keygen(plan)[1], size=10)
try:
    {call}
except vs.RoundError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + body], check=True, capture_output=True, text=True
    )
    assert "this is for the native engine's rounds" in done.stdout
