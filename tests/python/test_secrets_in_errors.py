"""No error shows what it was given: marked secrets in every place of every callable of the package.

Each kind of value that could be a secret (bytes of a key, a seed as text or number, an update) goes
into each parameter of whatever the package and its core define, the other parameters filled as far
as their types say how. Whatever is raised is searched for the marks, with all it was raised from.
It runs in a child process, in a folder of its own: some of what is called writes files.

Two things are shown on purpose: names of files, and names of tensors.
"""

from __future__ import annotations

import ast
import gc
import inspect
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
import types
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import surface
import veilsum as vs
from veilsum.arguments import shown, type_name

TEXT = "qzKxWvJpYhTfBnRmGdLs7531qzKxWvJp"
KEY = TEXT.encode()
NUMBER = 0x123456789ABCDEF0
VALUE = 0.47114711
#: What a message would contain if it rendered any part of a secret, in whichever way.
MARKS = (TEXT[:8], TEXT[-8:], KEY[:8].hex(), ", ".join(map(str, KEY[:4])), "13117684", "4711")


#: Parameters by which callers within the package name things: what a message calls them.
NAMES = (
    r"veilsum\.arguments\.check_\w+\.(name|call|remedy)",
    r"veilsum\.api\.weights\.check_weight\.index",
    r"veilsum\.keys\.\w+\.public_identity\.what",
    r"veilsum\.data\.(study\.Feature|synthetic_mimic\.write_table)\.name",
    r".*\.(check_round_id\.(what|found)|Ledger\.claim\.round_id)",
    r".*\.named_coordinates\.patterns",
    r".*\.Slip\.((digest|number)\.name|name\.(name|known))",
    r".*\.(Column\.column|options\.convert\.where|choose_device\.asked_as|import_function\.name)",
)


class Holder:
    """Prints as what it holds."""

    def __repr__(self) -> str:
        return TEXT

    __str__ = __repr__


def secrets() -> dict[str, Any]:
    """Each kind of secret, by what it is."""
    update = np.full(surface.SIZE, VALUE, np.float32)
    return {
        "bytes": KEY,
        "bytearray": bytearray(KEY),
        "memoryview": memoryview(KEY),
        "text": TEXT,
        "number": NUMBER,
        "long number": int.from_bytes(KEY, "little"),
        "value": VALUE,
        "large value": -VALUE * 1e13,
        "array": update,
        "array of one": update[:1],
        "wide array": np.full((2, 3), VALUE),
        "array of bytes": np.frombuffer(KEY, np.uint8),
        "scalar": np.float32(VALUE),
        "list": update.tolist(),
        "tuple": (KEY, TEXT),
        "mapping": {"w": update, "b": TEXT},
        "list of bytes": [KEY, KEY],
        "object": Holder(),
    }


def leaks(error: BaseException) -> list[str]:
    """The marks in an error, in all that it was raised from, and in its arguments."""
    found, queue, seen = [], [error], set()
    while queue:
        each = queue.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        texts = [str(each), *map(str, getattr(each, "__notes__", []))]
        if isinstance(each, OSError):
            texts = [text.replace(str(each.filename), "") for text in texts]
        else:
            texts += [str(part) for part in each.args]
        found += [text for text in texts if any(mark in text for mark in MARKS)]
        if each.__cause__ is not None:
            queue.append(each.__cause__)
        if each.__context__ is not None and not each.__suppress_context__:
            queue.append(each.__context__)
    return found


class Filler:
    """Values for the parameters that a call is not about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = surface.samples(folder)
        self.instances: dict[type, Any] = {}
        plan, public = vs.Plan.of_facts(self.made["Plan"]), self.made["PublicKey"]
        self.rnd = vs.Round(plan, public, size=surface.SIZE)
        self.named: dict[str, Any] = {
            "rnd": self.rnd, "round": self.rnd, "plan": plan, "public": public,
            "secret": self.made["SecretKey"], "total": self.made["Aggregate"],
            "key": self.made["SumKey"], "upload": self.made["Upload"],
            "uploads": [self.made["Upload"]], "update": np.zeros(surface.SIZE, np.float32),
            "values": np.zeros(surface.SIZE, np.float32), "size": surface.SIZE, "limit": 1.0,
            "like": np.zeros(surface.SIZE, np.float32), "engine": "native",
        }  # fmt: skip

    def value(self, parameter: inspect.Parameter) -> Any:
        if parameter.name in self.named:
            return self.named[parameter.name]
        kind = str(parameter.annotation)
        if "Path" in kind:
            return self.folder / "some.file"
        for sign, value in {
            "bytes": bytes(32), "Mapping": {}, "dict": {}, "Sequence": [], "Iterable": [],
            "list": [], "ndarray": np.zeros(3), "NDArray": np.zeros(3), "bool": False, "int": 2,
            "float": 1.0, "str": "name",
        }.items():  # fmt: skip
            if kind.startswith(sign):
                return value
        for made in self.instances:
            if made.__name__ == kind.rsplit(".", maxsplit=1)[-1]:
                return self.instances[made]
        return None

    def make(self, kind: type) -> Any:
        """An instance of a class of the package, or None where none can be guessed."""
        if kind in self.instances:
            return self.instances[kind]
        native = self.made.get(kind.__name__)
        if native is not None:
            return native
        try:
            made = kind(*(self.value(parameter) for parameter in required(kind)))
        except Exception:
            return None
        self.instances[kind] = made
        return made


def parameters_of(function: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def required(function: Any) -> list[inspect.Parameter]:
    return [
        parameter
        for parameter in parameters_of(function)
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]


def takes_paths(parameter: inspect.Parameter) -> bool:
    names = ("path", "file", "folder", "directory", "source", "target", "root", "argv")
    text = f"{parameter.name} {parameter.annotation}".lower()
    return any(name in text for name in names)


def package_calls(filler: Filler) -> Iterator[tuple[str, Any, list[Any], dict[str, Any]]]:
    """Each secret in each parameter, and in all at once."""
    owners: dict[str, Any] = {}
    for label, function in surface.package_targets():
        if isinstance(function, type):
            owners[label] = filler.make(function)
        owner = owners.get(label.rsplit(".", 1)[0])
        given = parameters_of(function)
        if not given and isinstance(function, types.BuiltinFunctionType):
            continue  # the core's, which `core_calls` calls with all that it says it takes
        positional = [
            owner if parameter.name == "self" else filler.value(parameter)
            for parameter in required(function)
        ]
        names = [parameter.name for parameter in required(function)]
        for kind, secret in secrets().items():
            for parameter in given or [inspect.Parameter("x", inspect.Parameter.POSITIONAL_ONLY)]:
                if isinstance(secret, (str, tuple, Holder)) and takes_paths(parameter):
                    continue
                if any(re.fullmatch(pattern, f"{label}.{parameter.name}") for pattern in NAMES):
                    continue
                what = f"{label}({parameter.name}: {kind})"
                if parameter.name in names:
                    at = names.index(parameter.name)
                    yield what, function, [*positional[:at], secret, *positional[at + 1 :]], {}
                elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
                    yield what, function, [*positional, secret], {}
                elif parameter.kind == parameter.VAR_KEYWORD:
                    yield what, function, positional, {"option": secret}
                else:
                    yield what, function, positional, {parameter.name: secret}


def core_calls(filler: Filler) -> Iterator[tuple[str, Any, list[Any], dict[str, Any]]]:
    for target in surface.core_targets():
        for kind, secret in secrets().items():
            paths = [p for each in target.overloads for p in each if "PathLike" in p.kind]
            if not (paths and isinstance(secret, (str, tuple, Holder))):
                yield f"{target.label}({kind})", target.call, [secret], {}
                yield f"{target.label}({kind}, {kind})", target.call, [secret, secret], {}
            for parameters in target.overloads:
                names_files = isinstance(secret, (str, tuple, Holder))
                for positional, named in surface.variations(
                    parameters, [secret], filler.made, filler.folder,
                    lambda parameter, skip=names_files: skip and "PathLike" in parameter.kind,
                ):  # fmt: skip
                    yield f"{target.label}({kind} among others)", target.call, positional, named


class TimeIsUp(BaseException):
    pass


#: Seconds for one call, and for all calls of one callable: some of them would train a model.
ONE_CALL_S = 0.5
ONE_CALLABLE_S = 3.0


def child(folder: Path) -> None:
    os.chdir(folder)
    filler = Filler(folder)
    found: dict[str, str] = {}
    count, raised = 0, 0

    def stop(*_: object) -> None:
        raise TimeIsUp

    signal.signal(signal.SIGALRM, stop)
    spent: dict[int, float] = {}
    for what, function, positional, named in itertools.chain(
        core_calls(filler), package_calls(filler)
    ):
        if spent.get(id(function), 0) > ONE_CALLABLE_S:
            continue
        begin = time.perf_counter()
        count += 1
        sink = io.StringIO()
        try:
            with warnings.catch_warnings(record=True), redirect_stdout(sink), redirect_stderr(sink):
                signal.setitimer(signal.ITIMER_REAL, ONE_CALL_S)
                try:
                    made = function(*positional, **named)
                    if inspect.isgenerator(made):
                        next(made, None)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
        except TimeIsUp:
            pass
        except BaseException as error:
            raised += 1
            for text in leaks(error):
                where = traceback.extract_tb(error.__traceback__)[-1]
                found[what] = f"{type(error).__name__} at {where.filename}:{where.lineno}: {text}"
        spent[id(function)] = spent.get(id(function), 0) + time.perf_counter() - begin
        # A file that was made under a secret's name would be named by later errors.
        Path(os.fsdecode(KEY)).unlink(missing_ok=True)
    gc.collect()
    Path("found.json").write_text(
        json.dumps({"count": count, "raised": raised, "found": found}), encoding="utf-8"
    )
    os._exit(0)  # whatever was started in the background goes with the process


@pytest.mark.slow
def test_no_error_shows_a_secret(tmp_path):
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, timeout=1200,
        stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert not result["found"], json.dumps(result["found"], indent=1)[:6000]
    assert result["raised"] > 5000  # the calls do reach what they are about


#: What a message may name as it is: public names and places, none of them an argument's value.
SHOWN_NAMES = {
    "__name__", "asked_as", "call", "capacity", "cell[:40]", "client", "clients", "columns",
    "count", "directory", "doing", "engine", "extra", "feature", "folder", "forced", "function",
    "high", "index", "item.label", "key", "kind", "known", "label", "labels[item.itemid]", "low",
    "message", "min_clients", "missing", "name", "number", "other", "package", "party",
    "passed", "path", "path.suffix", "pattern", "places", "ranges", "remedy", "row", "section",
    "self.columns[0][:40]", "setting", "site", "size", "source", "step", "t.name", "target",
    "tensor.name", "unknown", "value_bits", "what", "where",
}  # fmt: skip


def parameters_in(function: ast.FunctionDef) -> set[str]:
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return {argument.arg for argument in given}


def test_messages_show_what_they_were_given_through_one_function():
    """A parameter, or any `!r`, in an error is how values leak: `shown` stands between them.

    The command line alone repeats what was typed, and readers of data files the start of a cell
    that they cannot read, with its place.
    """
    package = Path(__file__).resolve().parents[2] / "python" / "veilsum"
    checked = 0
    for path in sorted(package.rglob("*.py")):
        if "cli" in path.parts or "mimic3" in path.parts or path.name == "command.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            parameters = parameters_in(function)
            raises = [node for node in ast.walk(function) if isinstance(node, ast.Raise)]
            for part in itertools.chain.from_iterable(map(ast.walk, raises)):
                if not isinstance(part, ast.FormattedValue):
                    continue
                text = ast.unparse(part.value)
                checked += 1
                if part.conversion == ord("r") or text in parameters:
                    assert text in SHOWN_NAMES, f"{path}:{part.lineno} shows {text}"
    assert checked > 500


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (-5, "-5"),
        (2**48 - 1, str(2**48 - 1)),
        (2**48, "a whole number of 49 bits"),
        (-(2**70), "a whole number of 71 bits"),
        (np.int64(-7), "-7"),
        (0.5, "0.5"),
        (1e30, "1e+30"),
        (-10.0, "-10.0"),
        (VALUE, "a float"),
        (float("nan"), "nan"),
        (np.float32(VALUE), "a float32"),
        ("nearest", "'nearest'"),
        ("it's", "a text of 4 characters"),
        ("x" * 17, "a text of 17 characters"),
        (b"\x00", "bytes"),
        (np.zeros(3), "an ndarray"),
        ([1], "a list"),
        (Holder(), "a Holder"),
    ],
    ids=type_name,
)
def test_what_is_shown(value, text):
    assert shown(value) == text


def calls_of_the_issue(parts):
    """Calls that showed what they were given, before all messages went through one place."""
    key, update = parts["secret"].to_bytes(), np.full(8, VALUE, np.float32)
    rnd, total, sum_key = parts["rnd"], parts["total"], parts["key"]
    yield lambda: vs.Plan(key)
    yield lambda: vs.decrypt(sum_key, total, dtype=key)
    yield lambda: vs.PadStore(rnd, budget_bytes=key)
    yield lambda: vs.Accumulator(rnd).add(parts["upload"], key)
    yield lambda: parts["secret"].from_bytes(key, rnd)
    yield lambda: vs.SecretKey.to_bytes(key)
    yield lambda: parts["secret"].save("secret.key", key)
    yield lambda: vs.PadStore(rnd, budget_bytes=1 << 20).wait(key)
    for name in ("Plan", "PublicKey", "SecretKey", "Round", "Upload", "Aggregate", "SumKey"):
        yield lambda name=name: getattr(vs, name).from_bytes(sum_key.to_bytes(), sum_key.to_bytes())
        yield lambda name=name: getattr(vs, name).from_bytes(sum_key.to_bytes(), key=key)
    yield lambda: vs.Round(parts["plan"], parts["public"], size=update)
    yield lambda: vs.Layout.flat(update)
    yield lambda: vs.encrypt(rnd, update, threads=update)


def test_calls_that_once_showed_a_secret():
    plan = vs.Plan(3)
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=8)
    uploads = [vs.encrypt(rnd, np.zeros(8, np.float32)) for _ in range(2)]
    total = vs.weighted_sum(rnd, uploads)
    key = vs.open_sum(secret, rnd, total)
    parts = {
        "plan": plan, "secret": secret, "public": public, "rnd": rnd, "upload": uploads[0],
        "total": total, "key": key,
    }  # fmt: skip
    for call in calls_of_the_issue(parts):
        with pytest.raises((vs.VeilsumError, TypeError)) as caught:
            call()
        text = str(caught.value)
        assert len(text) < 300
        assert "4711" not in text
        assert "\\x" not in text
        assert key.to_bytes()[20:26].hex() not in text
        assert secret.to_bytes()[20:26].hex() not in text


def test_weights_that_are_out_of_range_are_typed_errors():
    plan = vs.Plan(3, weight_bits=8)
    _, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=8)
    uploads = [vs.encrypt(rnd, np.zeros(8, np.float32)) for _ in range(3)]
    for weight in (-1, -(2**62)):
        with pytest.raises(vs.ParameterError, match=r"weight = .* is negative"):
            vs.Accumulator(rnd).add(uploads[0], weight)
    with pytest.raises(vs.ParameterError, match="is 0"):
        vs.Accumulator(rnd).add(uploads[0], 0)
    for weight in (2**32, 2**62, 2**63 - 1):
        with pytest.raises(vs.HeadroomError, match="weight"):
            vs.Accumulator(rnd).add(uploads[0], weight)
    with pytest.raises(vs.ParameterError, match="far outside"):
        vs.Accumulator(rnd).add(uploads[0], 2**63)
    for weight in (2**63 - 1, 2**63, 2**64, 2**70):
        with pytest.raises(vs.HeadroomError, match="weight"):
            vs.weighted_sum(rnd, uploads, [weight, 1, 1])
    with pytest.raises(vs.ParameterError, match="weight 1 is -1"):
        vs.weighted_sum(rnd, uploads, [1, -1, 1])


if __name__ == "__main__":
    child(Path(sys.argv[1]))
