"""Wrong calls of the core: whatever is bound, with every wrong type, count and range.

A call that ends the process takes whoever made it along, so all of it runs in a child, which writes
down each call before it is made. Whatever is refused is refused by an error of Veilsum's, or of the
operating system for files.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import surface
import veilsum as vs
from veilsum import _core
from veilsum.api import rounds
from veilsum.keys import sealing


class OwnError(Exception):
    """Raised by an argument itself; it passes through."""


class Index:
    """Says that it is a whole number, and then is none."""

    def __index__(self):
        raise OwnError

    __int__ = __float__ = __index__


def refuse(*_):
    raise OwnError


class Silent:
    """Cannot be printed, nor opened."""

    def __repr__(self):
        raise OwnError

    def __fspath__(self):
        raise OwnError


class Endless:
    """A sequence longer than any memory."""

    def __len__(self):
        return 2**62

    def __getitem__(self, index):
        raise IndexError(index)


def closed_view():
    view = memoryview(b"1234")
    view.release()
    return view


def wrong_values(made):
    """What no parameter expects, and what some do."""
    deep: list = []
    deep.append(deep)
    yield from (None, True, 0, 1, -1, 7, 2**31, 2**32 + 1, -(2**63), 2**63, 2**64, 2**70, -(2**70))
    yield from (0.0, 1.0, -1.5, 1e308, float("nan"), float("inf"), 1j, Decimal("1.5"))
    yield from ("", "12", "float32", "nearest", "error", "\0", "\ud800", "x" * 5000)
    yield from (b"", b"12", bytes(32), bytearray(b"12"), memoryview(b"12"), closed_view())
    yield from (memoryview(b"123456")[::2], memoryview(b"1234").cast("H"))
    yield from (np.int64(-1), np.int8(3), np.uint64(2**64 - 1), np.float32(1.5), np.bool_(True))
    yield from (np.zeros(0), np.zeros(8, np.float32), np.zeros(8, ">f4"), np.zeros(8)[::2])
    yield from (np.zeros((2, 4), order="F"), np.array(3), np.array([None, {}]), np.zeros(8, "U2"))
    yield from ([], [0], [None], [2**70], [1.5], ["x"], [b"x"], [-1, -1], deep, (), (1,), (1, 2))
    yield from ([(1, 1.0)], [(-1, 1.0)], [("x", 0, "float32", 8)], [(0, "float32", 8)], {}, {1: 2})
    yield from (set(), {1}, range(3), iter([1]), object(), Index(), Silent(), Endless())
    yield from (lambda *_: None, lambda *_: "x", refuse)
    for kind in surface.core_classes():
        yield kind
        yield kind.__new__(kind)
        yield [kind.__new__(kind)]
        yield made[kind.__name__]
        yield [made[kind.__name__]]
    yield vs.Round.__new__(vs.Round)


def describe(value):
    try:
        return f"{type(value).__name__} {value!r}".replace("\n", " ")[:60]
    except Exception:
        return type(value).__name__


def attempts(folder):
    """All calls, each with what it is."""
    made = surface.samples(folder)
    values = list(wrong_values(made))
    for target in surface.core_targets():
        most = max((len(parameters) for parameters in target.overloads), default=0)
        for count in range(most + 2):
            for value in (None, 1, b"12", values[-1]):
                yield target, [value] * count, {}
        yield target, [], {"no_such_name": 1}
        for parameters in target.overloads:
            for positional, named in surface.variations(parameters, values, made, folder):
                yield target, positional, named


def use_empty(kind, made, folder):
    """Use an object that no constructor has filled wherever one of its class is asked for."""
    empty = kind.__new__(kind)
    # What a class has of another of the core's is its own.
    members = {
        member: raw
        for base in reversed(kind.__mro__)
        if base.__module__ == _core.__name__
        for member, raw in vars(base).items()
    }
    for member, raw in members.items():
        if isinstance(raw, property):
            with pytest.raises(vs.ParameterError, match="made by __new__ alone"):
                getattr(empty, member)
    kinds = {f"veilsum._core.{base.__name__}" for base in kind.__mro__}
    used = 0
    for target in surface.core_targets():
        if target.label.endswith("__init__"):
            continue  # which fills it
        for parameters in target.overloads:
            for at, parameter in enumerate(parameters):
                positional, named = surface.arguments(parameters, made, folder)
                wanted = parameter.kind in kinds
                if wanted and not parameter.keyword and at < len(positional):
                    positional[at] = empty
                    with pytest.raises(vs.ParameterError):
                        target.call(*positional, **named)
                    used += 1
    assert used


#: Python's own words, which name no value, where one of its protocols asks for that type of error.
PROTOCOL = (
    "operation forbidden on released memoryview object",
    "len() of unsized object",
    "No constructor defined",
    "descriptor '__init__'",
    "called with invalid or missing `self` argument",
    "cannot be pickled or copied",
)


def child(folder):
    """Make all calls; stops at the first that ends in another way than it should."""
    os.chdir(folder)
    log = Path("calls.txt").open("w", encoding="utf-8", buffering=1, errors="replace")  # noqa: SIM115
    faulthandler.enable(log)
    count = 0
    for target, positional, named in attempts(folder):
        what = ", ".join(
            [describe(value) for value in positional]
            + [f"{name}={describe(value)}" for name, value in named.items()]
        )
        log.write(f"{target.label}({what})\n")
        count += 1
        try:
            target.call(*positional, **named)
        except (vs.VeilsumError, OSError) as error:
            text = str(error)
            assert "Invoked with" not in text, text
        except OwnError:
            pass
        except (TypeError, ValueError) as error:
            assert any(words in str(error) for words in PROTOCOL), repr(error)
    # What the package tells the core when it is imported is anything by now.
    _core._set_round_type(rounds.Round.of_core)
    _core._set_signature_check(vs.Roster.verify)
    _core._set_public_half(sealing.public_half)
    for kind in surface.core_classes():
        log.write(f"an empty {kind.__name__}\n")
        use_empty(kind, surface.samples(folder), folder)
    log.write("freeing\n")
    gc.collect()
    log.write(f"done {count}\n")
    sys.stdout.write(f"done {count}")


def test_no_call_ends_the_process_or_fails_without_a_typed_error(tmp_path):
    """Neither with wrong values nor with objects that were made by `__new__` alone."""
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    calls = (tmp_path / "calls.txt").read_text(encoding="utf-8").splitlines()
    assert done.returncode == 0, f"the last call: {calls[-3:]}\n{done.stderr[-2000:]}"
    assert int(done.stdout.split()[-1]) > 5000


def test_every_function_of_the_core_is_covered():
    """The walk finds what Python finds, and each function has parameters that it understood."""
    labels = [target.label for target in surface.core_targets()]
    assert len(labels) == len(set(labels))
    for name in dir(_core):
        if callable(getattr(_core, name)) and not isinstance(getattr(_core, name), type):
            assert name in labels
    for kind in surface.core_classes():
        for member in {name for name in dir(kind) if not name.startswith("__")}:
            assert any(
                label.startswith(f"{base.__name__}.{member}")
                for label in labels
                for base in kind.__mro__
            )
    for target in surface.core_targets():
        conduit = target.label.endswith("_pybind11_conduit_v1_")
        slots = ("__init__", "fget")
        if not conduit and not target.label.endswith(slots) and "." in target.label:
            assert any(target.overloads), target.label


@pytest.mark.parametrize("value", [-1, None, "12", 1.0, 2**64, np.int64(-1)], ids=str)
def test_the_size_of_an_upload_that_arrives(value, tmp_path):
    made = surface.samples(tmp_path)
    with pytest.raises(vs.ParameterError) as caught:
        made["Accumulator"].receive(value)
    assert "total_bytes" in str(caught.value)


def test_pieces_keep_their_sum_alive():
    """What keep_alive did: the sum that an upload goes into outlives the one that asked for it."""
    plan = vs.Plan(2)
    _, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=8)
    upload = vs.encrypt(rnd, np.zeros(8, np.float32)).to_bytes()
    arriving = vs.Accumulator(rnd).receive(len(upload))
    gc.collect()
    arriving.write(0, upload)
    arriving.finish()
    assert arriving.received_bytes == len(upload)


def test_an_error_of_a_callback_passes_through():
    """Also a TypeError: only pybind11's own is replaced."""
    plan = vs.Plan(2)
    _, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=8)

    def broken(done, total):
        raise TypeError("progress(): incompatible function arguments. Invoked with: nothing")

    with pytest.raises(TypeError, match="Invoked with: nothing"):
        vs.encrypt(rnd, np.zeros(8, np.float32), progress=broken)


if __name__ == "__main__":
    child(Path(sys.argv[1]))
