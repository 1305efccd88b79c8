"""Engines that are added: their names are read once, and nobody takes another's place."""

from __future__ import annotations

from typing import Any

import pytest

import plain_cipher
import veilsum as vs
from veilsum import _core
from veilsum.engines import registry
from veilsum.engines.base import PlanRequest


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_added", {})


def make(name: Any = "mine", number: Any = 77) -> Any:
    """An engine of that name and number whose plans are the plain one's, of number 255."""
    made = type("Mine", (plain_cipher.PlainCipher,), {"name": name, "number": number})
    return made()


def test_an_engine_is_found_by_name_and_number():
    registry.register(plain_cipher.CIPHER)
    registry.register(plain_cipher.CIPHER)
    found = registry.engine_named("plain")
    assert found == ("plain", 255, plain_cipher.CIPHER) == registry.engine_by_number(255)
    assert vs.Plan(3, engine="plain").engine == "plain"
    assert registry.engine_names() == ["native", "openfhe", "plain"]


@pytest.mark.parametrize("number", [0, -1, 256, 1, 2, 77.0, True, "77", None, 1 << 70])
def test_numbers_that_are_none_or_another_ones(number):
    with pytest.raises(vs.ParameterError, match=r"from 1 to 255|another's place"):
        registry.register(make(number=number))
    assert registry.engine_names() == ["native", "openfhe"]


@pytest.mark.parametrize(
    "name",
    ["native", "openfhe", "Native", "native ", "", "n\u0430tive", "1a", "a-b", "a" * 33, "a\n", 5,
     None, b"mine", ["mine"], type("Text", (str,), {})("mine")],
)  # fmt: skip
def test_names_that_are_none_or_another_ones(name):
    with pytest.raises(vs.ParameterError, match=r"small letters|another's place"):
        registry.register(make(name))
    assert registry.engine_names() == ["native", "openfhe"]


@pytest.mark.parametrize("thing", [object(), None, 5, "plain", plain_cipher])
def test_what_is_no_cipher(thing):
    with pytest.raises(vs.ParameterError, match="is no engine: it has no plan"):
        registry.register(thing)


def test_the_edges_of_names_and_numbers():
    registry.register(make("a" * 32, 3))
    registry.register(make("z_9", 255))
    assert registry.engine_by_number(3).name == "a" * 32


@pytest.mark.parametrize("name, number", [("mine", 78), ("other", 77)])
def test_two_engines_share_nothing(name, number):
    registry.register(make("mine", 77))
    with pytest.raises(vs.ParameterError, match="another's place"):
        registry.register(make(name, number))


def test_a_name_that_changes_at_every_look():
    class Shifty(plain_cipher.PlainCipher):
        looks = 0
        number = 77

        @property
        def name(self) -> str:
            Shifty.looks += 1
            return "mine" if Shifty.looks == 1 else "native"

    registry.register(Shifty())
    assert Shifty.looks == 1
    assert type(registry.engine_named("native").cipher).__name__ == "NativeCipher"
    with pytest.raises(vs.ParameterError, match="another's place"):
        registry.register(registry.engine_named("mine").cipher)


def test_a_name_that_changes_later():
    class Renamed(plain_cipher.PlainCipher):
        pass

    cipher = Renamed()
    registry.register(cipher)
    plan = vs.Plan(3, engine="plain")
    Renamed.name, Renamed.number = "native", 1
    assert (plan.engine, vs.Plan.from_bytes(plan.to_bytes()).engine) == ("plain", "plain")
    assert registry.engine_by_number(255).cipher is cipher
    with pytest.raises(vs.ParameterError, match="another's place"):
        registry.register(cipher)


def test_plans_of_another_engines_number():
    registry.register(make("thief", 78))
    with pytest.raises(vs.ParameterError, match="made a plan of engine number 255"):
        vs.Plan(3, engine="thief")

    class Native(plain_cipher.PlainCipher):
        name, number = "foreign", 79

        def plan(self, request: PlanRequest) -> Any:
            return _core.Plan(request.clients, request.value_bits)

    registry.register(Native())
    with pytest.raises(vs.ParameterError, match="made a plan of engine number 1"):
        vs.Plan(3, engine="foreign")


def test_made_objects_are_not_made_again():
    registry.register(plain_cipher.CIPHER)
    plan = vs.Plan(3)
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=10)
    other = vs.Plan(3, engine="plain")
    before = rnd.to_bytes()
    again = {
        plan: lambda: plan.__init__(7, 8),
        rnd: lambda: rnd.__init__(other, vs.keygen(other)[1], size=20),
        secret: lambda: secret.__init__(bytes(96), public),
        public: lambda: public.__init__(1, public.body),
        "core": lambda: _core.Round.__init__(rnd, rnd),
        "sum": lambda: (lambda sums: sums.__init__(rnd))(vs.Accumulator(rnd)),
    }
    for call in again.values():
        with pytest.raises(vs.ParameterError, match="made already"):
            call()
    assert (plan.clients, rnd.plan.engine, rnd.layout.size) == (3, "native", 10)
    assert rnd.to_bytes() == before
    assert vs.Round.from_bytes(before) == rnd
