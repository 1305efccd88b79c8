"""The surface of the extension and of the package: what can be called, by what stands there.

Nothing is listed by name, so that tests over the surface hold for whatever is bound or defined
next. A class that is new in the core needs an object in `samples`; without one its users fail and
say so.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import pkgutil
import re
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import veilsum
from veilsum import _core

SIZE = 8


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of the core, as pybind11 writes it into a docstring."""

    name: str
    kind: str
    keyword: bool = False
    required: bool = True


@dataclasses.dataclass(frozen=True)
class Target:
    """Something that can be called, with the parameters of each overload."""

    label: str
    call: Callable[..., Any]
    overloads: tuple[tuple[Parameter, ...], ...]


def samples(folder: Path) -> dict[str, Any]:
    """One object of each class of the core, by its name."""
    plan = veilsum.Plan(3)
    secret, public = veilsum.keygen(plan)
    residues = _core.ResidueCipher(
        engine=255, fields=b"\xff" + bytes(15), clients=3, weight_bits=0, max_weight=3,
        block_values=4, moduli=[0, 97], row_words=4,
    )  # fmt: skip
    client = _core.PublicIdentity(veilsum.Identity.generate().public)
    # With names of its own: the package's round is one of the core's too.
    rnd = veilsum.Round(plan, public, size=SIZE, limit=1.0)
    update = np.linspace(-0.5, 0.5, SIZE, dtype=np.float32)
    uploads = [veilsum.encrypt(rnd, update) for _ in range(2)]
    total = _core.weighted_sum(rnd, uploads)
    total.save(folder / "total.vs")
    aggregator = _core.Accumulator(rnd)
    found = [
        plan.facts, residues, secret, public, client, _core.Round(rnd), uploads[0], total,
        total.opening_request(), veilsum.open_sum(secret, rnd, total),
        _core.AggregateFile(folder / "total.vs", rnd),
        aggregator, aggregator.receive(uploads[0].nbytes),
        _core.PadStore(rnd, budget_bytes=1 << 20),
    ]  # fmt: skip
    found += committee_samples(folder)
    made = {type(thing).__name__: thing for thing in found}
    made["Cipher"] = residues  # of which there are kinds only
    missing = sorted({kind.__name__ for kind in core_classes()} - made.keys())
    assert not missing, f"surface.samples makes no {missing}"
    return made


def committee_samples(folder: Path) -> list[Any]:
    """What the members of a committee exchange."""
    people = [veilsum.Identity.generate() for _ in range(2)]
    group = veilsum.Group.create(people[0], veilsum.Roster(people))
    committee = veilsum.Committee(people)
    rnd = veilsum.Round(
        veilsum.Plan(2), committee, size=SIZE, roster=people, group=group.commitment
    )
    update = np.linspace(-0.5, 0.5, SIZE, dtype=np.float32)
    uploads = [veilsum.encrypt(rnd, update, signer=one, group=group) for one in people]
    total = veilsum.weighted_sum(rnd, uploads)
    apart = Path(tempfile.mkdtemp(dir=folder))  # a ledger is made once
    paths = [apart / f"{k}.ledger" for k in range(2)]
    members = [veilsum.Member.create(one, path) for one, path in zip(people, paths, strict=True)]
    requests = [veilsum.request_for(total, one) for one in people]
    words = [one.endorse(rnd, ask) for one, ask in zip(members, requests, strict=True)]
    certificate = veilsum.certify(rnd, total, words)
    answer = members[0].answer(rnd, certificate, requests[0])
    shares = _core.open_shares(requests[1], lambda _, info, sealed: people[1].open(info, sealed))
    ledger = _core.MemberLedger(paths[0], people[0].public.id)
    opened = members[0].open_challenge(rnd, certificate, requests[0])
    return [
        _core.Committee(committee), requests[0], words[0], certificate, answer, shares, ledger,
        opened, veilsum.blame(rnd, certificate, [opened]),
    ]  # fmt: skip


def core_classes() -> list[type]:
    """The classes that are bound, errors apart."""
    return [
        thing
        for thing in vars(_core).values()
        if isinstance(thing, type) and not issubclass(thing, BaseException)
    ]


def core_targets() -> Iterator[Target]:
    """Every function, constructor, method and property of the core."""
    for name, thing in vars(_core).items():
        if isinstance(thing, types.BuiltinFunctionType):
            yield Target(name, thing, _overloads(thing.__doc__))
    for kind in core_classes():
        name = kind.__name__
        constructor = _overloads(kind.__init__.__doc__)
        yield Target(name, kind, tuple(parameters[1:] for parameters in constructor) or ((),))
        for member, raw in vars(kind).items():
            if isinstance(raw, property):
                for part in ("fget", "fset", "fdel"):
                    function = getattr(raw, part)
                    if function is not None:
                        self = Parameter("self", f"veilsum._core.{name}")
                        yield Target(f"{name}.{member}.{part}", function, ((self,),))
            elif callable(raw) or isinstance(raw, staticmethod):
                function = getattr(kind, member)
                yield Target(f"{name}.{member}", function, _overloads(function.__doc__) or ((),))


def _split(text: str) -> list[str]:
    depth, start, parts = 0, 0, []
    for at, character in enumerate(text):
        depth += (character in "[({") - (character in "])}")
        if character == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [part for part in [*parts, text[start:].strip()] if part]


def _overloads(doc: str | None) -> tuple[tuple[Parameter, ...], ...]:
    found = []
    for line in (doc or "").splitlines():
        match = re.match(r"(?:\d+\. )?\w*\((.*)\) -> ", line)
        if not match or "*args" in line:
            continue
        parameters, keyword = [], False
        for part in _split(match[1]):
            if part == "*":
                keyword = True
                continue
            name, _, rest = part.partition(":")
            kind, default, _ = rest.partition(" = ")
            parameters.append(Parameter(name, kind.strip(), keyword, not default))
        found.append(tuple(parameters))
    return tuple(found)


def plausible(kind: str, made: dict[str, Any], folder: Path) -> Any:
    """A value that fits a parameter of the core, by the type in its signature."""
    outer = kind.split("[")[0]
    inner = kind[len(outer) + 1 : kind.rfind("]")]
    if outer.endswith("Sequence"):
        return [plausible(inner, made, folder)]
    if outer == "tuple":
        return tuple(plausible(part, made, folder) for part in _split(inner))
    if outer.startswith("veilsum._core."):
        return made[outer.removeprefix("veilsum._core.").split(" ")[0]]
    for sign, value in {
        "SupportsInt": 1,
        "SupportsFloat": 1.0,
        "bool": True,
        "str": "float32",
        "bytes": b"",
        "ndarray": np.zeros(SIZE, np.float32),
        "Buffer": bytes(32),
        "Callable": lambda *_: True,
        "object": None,
    }.items():
        if sign in outer and "PathLike" not in outer:
            return value
    assert "PathLike" in outer, f"no value is known for a parameter of type {kind}"
    return str(folder / "file.bin")


def arguments(
    parameters: tuple[Parameter, ...], made: dict[str, Any], folder: Path
) -> tuple[list[Any], dict[str, Any]]:
    """Values for every parameter that has no default."""
    positional = [
        plausible(parameter.kind, made, folder)
        for parameter in parameters
        if parameter.required and not parameter.keyword
    ]
    named = {
        parameter.name: plausible(parameter.kind, made, folder)
        for parameter in parameters
        if parameter.required and parameter.keyword
    }
    return positional, named


def variations(
    parameters: tuple[Parameter, ...],
    values: list[Any],
    made: dict[str, Any],
    folder: Path,
    leave_out: Callable[[Parameter], bool] = lambda _: False,
) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """Each value in each place, inside of lists too, the other places filled as they should be."""
    for at, parameter in enumerate(parameters):
        if leave_out(parameter):
            continue
        for value in _spoilt(parameter.kind, values, made, folder):
            positional, named = arguments(parameters, made, folder)
            if parameter.keyword or at > len(positional):
                named[parameter.name] = value
            else:
                positional[at : at + 1] = [value]
            yield positional, named


def _spoilt(kind: str, values: list[Any], made: dict[str, Any], folder: Path) -> Iterator[Any]:
    yield from values
    outer = kind.split("[")[0]
    inner = kind[len(outer) + 1 : kind.rfind("]")]
    if outer.endswith("Sequence"):
        for value in _spoilt(inner, values, made, folder):
            yield [value]
    elif outer == "tuple":
        whole = plausible(kind, made, folder)
        for at, part in enumerate(_split(inner)):
            for value in _spoilt(part, values, made, folder):
                yield (*whole[:at], value, *whole[at + 1 :])


def package_modules() -> list[types.ModuleType]:
    """Every module of the package that can be imported here."""
    found = []
    for info in pkgutil.walk_packages(veilsum.__path__, "veilsum."):
        if info.name.endswith("__main__") or "._core" in info.name:
            continue
        try:
            found.append(importlib.import_module(info.name))
        except ImportError:  # an extra that is not installed
            continue
    return [veilsum, *found]


def package_targets() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function, class, method and property that the package defines."""
    seen: set[int] = set()
    for module in package_modules():
        for name, thing in sorted(vars(module).items()):
            home = getattr(thing, "__module__", "") or ""
            if name.startswith("_") or not home.startswith("veilsum") or id(thing) in seen:
                continue
            seen.add(id(thing))
            label = f"{module.__name__}.{name}"
            if inspect.isclass(thing):
                if not issubclass(thing, (BaseException, enum.Enum)):
                    yield label, thing
                    yield from _members(label, thing)
            elif callable(thing):
                yield label, thing


def _members(label: str, kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for member in sorted(dir(kind)):
        if member.startswith("_") and member not in ("__getitem__", "__contains__", "__eq__"):
            continue
        raw = inspect.getattr_static(kind, member, None)
        if isinstance(raw, property):
            continue
        function = getattr(kind, member, None)
        if callable(function) and not isinstance(function, type):
            yield f"{label}.{member}", function
