"""Plans: DESIGN's inequality, checked in fractions against the oracle; what is refused, and how."""

import json
import re
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle import plans

vs = pytest.importorskip("veilsum", reason="veilsum is not installed")

ALL_RINGS = tuple(plans.RINGS)
VECTORS = Path(__file__).parents[2] / "vectors" / "v2" / "plans.json"


def oracle_plan(plan):
    return plans.Plan(plan.clients, plan.value_bits, plan.weight_bits, plan.security, plan.profile)


def assert_is(plan, expected):
    """Every number the plan shows is the oracle's for its ring."""
    assert (plan.ring_degree, plan.limbs) == (expected.degree, expected.limbs)
    assert plan.log2_modulus == expected.log2_modulus
    assert plan.max_weight == expected.max_weight
    assert plan.base == expected.base
    assert (plan.digits, plan.field_bits) == expected.shape
    assert plan.delta == expected.delta
    assert plan.noise_bound == expected.noise_bound
    assert plan.bits_per_value == float(expected.bits_per_value)
    assert plan.bytes_per_value == float(expected.bits_per_value) / 8
    assert plan.expansion_fp32 == float(expected.bits_per_value) / 32
    assert plan.expansion_bf16 == float(expected.bits_per_value) / 16
    assert plan.failure_probability == 0.0


def assert_holds(plan):
    """The bounds themselves, from the plan's own numbers: no digit carries, rounding never errs."""
    weight, digits, bits = plan.max_weight, plan.digits, plan.field_bits
    assert weight * (2**plan.value_bits - 1) < plan.base
    assert plan.delta * plan.base**digits <= 2**bits < (plan.delta + 1) * plan.base**digits
    assert bits <= 48 * plan.limbs - 2
    noise = plans.noise_of(weight, plan.limbs, bits)
    assert plan.noise_bound <= noise < plan.noise_bound + 1
    assert plan.delta >= 2 * noise + 1
    assert plan.log2_modulus <= plans.SECURITY_TABLE[plan.security][plan.ring_degree]
    # No smaller B does for the same digits (far below, Delta is zero).
    for fewer in range((plan.base**digits).bit_length() - 1, bits):
        assert 2**fewer // plan.base**digits < 2 * plans.noise_of(weight, plan.limbs, fewer) + 1


def assert_no_better_digits(plan):
    """No number of digits gives fewer bits a value, and none that is larger gives the same."""
    own = (Fraction(plan.field_bits, plan.digits), -plan.digits)
    found = plans.shapes(plan.max_weight, plan.limbs, plan.base)
    assert own == min((Fraction(bits, digits), -digits) for digits, bits in found)


# DESIGN's table: clients, bits, ring, L, B, bits a value to its digits, log2 t.
DESIGN_TABLE = [
    (10, 16, "n2048", 2, 43, 21.5),
    (10, 16, "n4096", 4, 81, 20.25),
    (10, 16, "n8192", 9, 178, 19.8),
    (10, 8, "n2048", 3, 38, 12.7),
    (4, 8, "n2048", 4, 44, 11),
    (8, 6, "n2048", 4, 40, 10),
    (3, 4, "n2048", 7, 42, 6.0),
]


@pytest.mark.parametrize(
    ("clients", "bits", "name", "digits", "field_bits", "bits_per_value"), DESIGN_TABLE
)
def test_the_table_of_the_design(clients, bits, name, digits, field_bits, bits_per_value):
    plan = vs.Plan(clients=clients, value_bits=bits, profile=name)
    assert (plan.digits, plan.field_bits) == (digits, field_bits)
    assert plan.bits_per_value == pytest.approx(bits_per_value, abs=0.05)
    assert_is(plan, plans.Plan(clients, bits, 0, 128, name))
    assert_holds(plan)
    if name == "n2048":
        assert vs.Plan(clients=clients, value_bits=bits) == plan  # the default


def test_two_digits_of_a_thousand_clients_need_a_second_prime():
    assert vs.Plan(clients=1000, value_bits=16, profile="n2048").digits == 1
    plan = vs.Plan(clients=1000, value_bits=16)
    assert plan.profile == "n4096"
    assert plan.digits >= 2


def test_the_design_example():
    plan = vs.Plan(clients=10, value_bits=16)
    assert plan.profile == "n2048"
    assert plan.base == 655_351
    assert plan.bits_per_value == 21.5
    assert plan.bytes_per_value == 2.6875
    assert plan.expansion_fp32 == 0.671875
    assert plan.expansion_bf16 == 1.34375
    assert plan.delta == 20
    assert plan.noise_bound == 8


def test_the_goal_of_fewer_bytes():
    """DESIGN 9: at most 2.70 bytes a 16-bit value of 10 clients, 2.50 with `size`."""
    assert vs.Plan(clients=10, value_bits=16).bytes_per_value <= 2.70
    plan = vs.Plan(clients=10, value_bits=16, optimise="size")
    assert plan.profile == "n8192"
    assert plan.bytes_per_value <= 2.50


@pytest.mark.parametrize("security", [128, 192, 256])
def test_plans_of_every_level_hold(security):
    for optimise in ("speed", "size"):
        plan = vs.Plan(clients=10, value_bits=16, security=security, optimise=optimise)
        assert plan.security == security
        assert_is(plan, oracle_plan(plan))
        assert_holds(plan)


@pytest.mark.parametrize("security", [128, 192, 256])
@pytest.mark.parametrize("name", ["auto", *ALL_RINGS])
def test_a_grid_of_all_kinds_of_plans(security, name):
    """Clients, bits and weights of every size, at each level, for each ring."""
    made = refused = 0
    for clients, bits, weight_bits in product(
        (2, 3, 10, 64, 1000, 31_623, 1_000_000), range(2, 33, 2), (0, 1, 6, 14, 20)
    ):
        request = {"weight_bits": weight_bits, "security": security, "profile": name}
        names = plans.RINGS_OF[security] if name == "auto" else [name]
        held = [
            p
            for p in (plans.Plan(clients, bits, weight_bits, security, n) for n in names)
            if p.fits and p.secure
        ]
        if not held:
            with pytest.raises((vs.HeadroomError, vs.ParameterError)):
                vs.Plan(clients, bits, **request)
            refused += 1
            continue
        plan = vs.Plan(clients, bits, **request)
        assert plan.profile in [p.ring_name for p in held]
        assert_is(plan, oracle_plan(plan))
        assert_holds(plan)
        assert_no_better_digits(plan)
        made += 1
    if all(not plans.Plan(2, 2, 0, security, n).secure for n in names):
        assert made == 0
    else:
        assert made > 100
        assert refused > 100


@pytest.mark.parametrize(
    "row", json.loads(VECTORS.read_text())["rows"], ids=lambda r: f"{r['profile']}-{r['base']}"
)
def test_frozen_plans_are_the_oracle_s(row):
    plan = plans.Plan(
        *(row[n] for n in ("clients", "value_bits", "weight_bits", "security", "profile"))
    )
    for name in ("base", "digits", "field_bits", "delta", "noise_bound", "check_block_bytes"):
        assert getattr(plan, name) == row[name]
    assert plan.fields(row["optimise"]).hex() == row["fields"]
    assert plans.plan_id(plan.fields(row["optimise"])).hex() == row["id"]


@pytest.mark.parametrize("security", [128, 192, 256])
@pytest.mark.parametrize("name", ALL_RINGS)
def test_both_edges_of_the_security_table(security, name):
    """Each ring at each level: admitted exactly when the table admits it."""
    degree, limbs = plans.RINGS[name]
    if 48 * limbs <= plans.SECURITY_TABLE[security].get(degree, 0):
        plan = vs.Plan(clients=3, value_bits=8, security=security, profile=name)
        assert plan.profile == name
        assert_is(plan, plans.Plan(3, 8, 0, security, name))
        assert_holds(plan)
    else:
        with pytest.raises(vs.ParameterError, match=name):
            vs.Plan(clients=3, value_bits=8, security=security, profile=name)


def test_security_table_itself(door):
    for security, rows in plans.SECURITY_TABLE.items():
        for degree, bits in rows.items():
            assert door.max_log2_modulus(degree, security) == bits
        assert door.max_log2_modulus(512, security) == 0
        assert door.max_log2_modulus(3000, security) == 0
    assert door.max_log2_modulus(1024, 192) == 0
    assert door.max_log2_modulus(2048, 100) == 0


requests = st.fixed_dictionaries(
    {
        "clients": st.one_of(st.integers(2, 50), st.sampled_from((100, 1000, 5000, 2**19, 2**20))),
        "value_bits": st.integers(2, 32),
        "weight_bits": st.one_of(st.just(0), st.integers(0, 20)),
        "security": st.sampled_from((128, 192, 256)),
        "optimise": st.sampled_from(("speed", "size")),
    }
)


@given(requests)
@settings(max_examples=400, deadline=None)
def test_every_plan_satisfies_its_bounds_and_every_refusal_is_right(request):
    arguments = dict(request)
    optimise = arguments.pop("optimise")
    held = plans.candidates(**arguments)
    assert bool(held) == (request["clients"] << request["weight_bits"] <= plans.TOTAL_WEIGHT_MAX)
    if not held:
        with pytest.raises(vs.HeadroomError):
            vs.Plan(**request)
        return
    plan = vs.Plan(**request)
    assert plan.profile in plans.RINGS_OF[plan.security]
    assert_is(plan, oracle_plan(plan))
    assert_holds(plan)
    assert_no_better_digits(plan)
    if optimise == "size":
        best = min(p.bits_per_value for p in held)
        assert Fraction(plan.field_bits, plan.digits) == best
    else:  # never more primes for no more digits
        assert all(p.digits < plan.digits for p in held if p.limbs < plan.limbs)


@given(requests, st.sampled_from(ALL_RINGS))
@settings(max_examples=200, deadline=None)
def test_a_named_ring_is_taken_or_refused(request, name):
    degree, limbs = plans.RINGS[name]
    arguments = dict(request)
    arguments.pop("optimise")
    expected = plans.Plan(**arguments, ring_name=name)
    if 48 * limbs > plans.SECURITY_TABLE[request["security"]].get(degree, 0):
        with pytest.raises(vs.ParameterError):
            vs.Plan(**request, profile=name)
    elif not expected.fits:
        with pytest.raises(vs.HeadroomError):
            vs.Plan(**request, profile=name)
    else:
        plan = vs.Plan(**request, profile=name)
        assert plan.profile == name
        assert_is(plan, expected)
        assert_holds(plan)


@pytest.mark.parametrize(
    "request_",
    [
        {"clients": 1 << 20, "value_bits": 32, "weight_bits": 1},
        {"clients": 10, "value_bits": 32, "weight_bits": 17},
        {"clients": 3, "value_bits": 8, "weight_bits": 20},
        {"clients": 100, "value_bits": 24, "weight_bits": 14, "security": 256},
        {"clients": 1000, "value_bits": 32, "weight_bits": 8, "profile": "n2048"},
        {"clients": 1000, "value_bits": 32, "weight_bits": 12, "profile": "n2048"},
        {"clients": 1000, "value_bits": 32, "weight_bits": 12, "profile": "n4096"},
    ],
    ids=str,
)
def test_headroom_errors_name_a_plan_that_fits(request_):
    with pytest.raises(vs.HeadroomError) as caught:
        vs.Plan(**request_)
    text = str(caught.value)
    remedy = dict(request_)
    if 'profile at "auto"' in text:
        assert remedy.pop("profile") == "n2048"
    found = re.search(r"fits: (\d+) clients at (\d+) bits(?: with (\d+)-bit weights)?", text)
    if found:
        numbers = (int(g or 0) for g in found.groups())
        remedy.update(zip(("clients", "value_bits", "weight_bits"), numbers, strict=True))
    assert remedy != request_
    plan = vs.Plan(**remedy)
    assert_holds(plan)
    # Nearest: it gives up only the weight's bits, and as few as it can.
    assert (plan.clients, plan.value_bits) == (request_["clients"], request_["value_bits"])
    if plan.weight_bits != request_["weight_bits"]:
        assert 2 * plan.max_weight > plans.TOTAL_WEIGHT_MAX


@pytest.mark.parametrize(
    "bad",
    [
        {"clients": 0},
        {"clients": 1},
        {"clients": (1 << 20) + 1},
        {"clients": 1 << 40},
        {"value_bits": 0},
        {"value_bits": 1},
        {"value_bits": 33},
        {"weight_bits": 21},
        {"weight_bits": 64},
        {"security": 0},
        {"security": 100},
        {"security": 129},
        {"optimise": "fast"},
        {"optimise": ""},
        {"profile": "n1024"},
        {"profile": "N2048"},
        {"profile": ""},
    ],
    ids=str,
)
def test_arguments_outside_their_range(bad):
    with pytest.raises(vs.ParameterError) as caught:
        vs.Plan(**{"clients": 10, **bad})
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, vs.VeilsumError)
    name, value = next(iter(bad.items()))
    assert name in str(caught.value)
    assert str(value) in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"clients": -1},
        {"value_bits": -16},
        {"weight_bits": -1},
        {"security": -128},
        {"clients": 2**64},
    ],
    ids=str,
)
def test_numbers_no_plan_could_mean(bad):
    with pytest.raises((ValueError, TypeError, OverflowError)):
        vs.Plan(**{"clients": 10, **bad})


@pytest.mark.parametrize(
    "bad", [{"clients": "10"}, {"clients": None}, {"value_bits": 16.5}, {"profile": 3}], ids=str
)
def test_arguments_of_the_wrong_type(bad):
    with pytest.raises(vs.ParameterError, match="it must be a"):
        vs.Plan(**{"clients": 10, **bad})


def test_an_engine_that_is_not_there():
    with pytest.raises(vs.VeilsumError, match=r"(?i)engine"):
        vs.Plan(clients=10, engine="seal")
    assert vs.Plan(clients=10).engine == "native"


def test_plans_are_immutable_values():
    plan, same, other = vs.Plan(clients=10), vs.Plan(clients=10), vs.Plan(clients=11)
    assert plan == same
    assert hash(plan) == hash(same)
    assert plan != other
    assert plan != "plan"
    assert len({plan, same, other}) == 2
    assert len(plan.id) == 32
    assert plan.id == same.id != other.id
    for name in ("clients", "digits", "security", "delta", "id"):
        with pytest.raises(AttributeError):
            setattr(plan, name, 3)


def test_ids_tell_all_plans_apart():
    ids = set()
    made = 0
    for clients in (2, 3, 10):
        for bits in (8, 16):
            for security in (128, 192, 256):
                for optimise in ("speed", "size"):
                    for weight_bits in (0, 4):
                        plan = vs.Plan(
                            clients,
                            bits,
                            weight_bits=weight_bits,
                            security=security,
                            optimise=optimise,
                        )
                        ids.add(plan.id)
                        made += 1
    assert len(ids) == made


def test_a_plan_explains_itself():
    plan = vs.Plan(clients=10, value_bits=16)
    text = str(plan)
    assert text == plan.explain()
    for fact in (
        "10 clients",
        "16-bit",
        "n2048",
        "2048",
        "21.5 bits",
        "2.688",
        "0.67",
        "1.34",
        "128",
        "8.32",
    ):
        assert fact in text, fact
    assert re.search(r"probability\D*0\b", text)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 4095, 4096, 4097, 10_000_000])
def test_upload_bytes(size):
    """Value blocks, one to eight check blocks, and what one key holder's upload always has."""
    plan = vs.Plan(clients=10, value_bits=16)
    expected = oracle_plan(plan)
    values = sum(expected.block_bytes(n) for _, n in expected.block_sizes(size))
    keys, fixed = divmod(plan.upload_bytes(size) - values, expected.check_block_bytes)
    assert 1 <= keys <= 8
    assert 0 < fixed <= 1600
    if size == 10_000_000:
        assert plan.upload_bytes(size) / size <= 2.70


def test_weighted_plans_hold_their_weights():
    plan = vs.Plan(clients=5, value_bits=12, weight_bits=10)
    assert plan.max_weight == 5 << 10
    assert_holds(plan)


@given(requests)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_plans_come_back_from_bytes(request):
    try:
        plan = vs.Plan(**request)
    except vs.HeadroomError:
        return
    again = vs.Plan.from_bytes(plan.to_bytes())
    assert again == plan
    assert again.id == plan.id
    assert again.explain() == plan.explain()
    assert again.to_bytes() == plan.to_bytes()
