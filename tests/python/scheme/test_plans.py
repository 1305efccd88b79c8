"""Plans: every bound, checked in integers against the oracle; what is refused, and how."""

import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from oracle import plans

vs = pytest.importorskip("veilsum", reason="veilsum is not installed")

ALL_RINGS = tuple(plans.RINGS)


def oracle_plan(plan):
    return plans.Plan(plan.clients, plan.value_bits, plan.weight_bits, plan.security, plan.profile)


def assert_is(plan, expected):
    """Every number the plan shows is the oracle's for its ring."""
    assert (plan.ring_degree, plan.limbs) == (expected.degree, expected.limbs)
    assert plan.log2_modulus == 50 * expected.limbs
    assert plan.lanes == expected.lanes
    assert plan.lane_bits == expected.lane_bits
    assert plan.max_weight == expected.max_weight
    assert plan.error_bound == expected.error_bound
    assert plan.delta == expected.delta
    assert plan.bits_per_value == pytest.approx(expected.bits_per_value, rel=1e-15)
    assert plan.bytes_per_value == pytest.approx(expected.bits_per_value / 8, rel=1e-15)
    assert plan.expansion_fp32 == pytest.approx(expected.bits_per_value / 32, rel=1e-15)
    assert plan.expansion_bf16 == pytest.approx(expected.bits_per_value / 16, rel=1e-15)
    assert plan.failure_probability == 0.0
    assert plan.capsule_degree == expected.capsule.degree
    assert plan.capsule_limbs == expected.capsule.limbs
    assert plan.capsule_bytes == expected.capsule.total_bytes


def assert_holds(plan):
    """The bounds themselves, from the plan's own numbers: no lane carries, rounding never errs."""
    expected = oracle_plan(plan)
    w, lanes = plan.lane_bits, plan.lanes
    assert plan.max_weight * (2**plan.value_bits - 1) < 2**w
    assert plan.delta * 2 ** (lanes * w) <= expected.big_q
    assert plan.delta >= 2 * plan.error_bound + 1
    capsule = expected.capsule
    fresh_noise = 2 * capsule.degree * 21 * 21 + 21
    assert 42 * plan.max_weight < 2**capsule.lane_bits
    assert capsule.delta >= 2 * plan.max_weight * (fresh_noise + 2**capsule.message_bits) + 1
    assert capsule.ciphertexts * capsule.degree * capsule.lanes >= plan.ring_degree
    table = plans.SECURITY_TABLE[plan.security]
    assert 50 * plan.limbs <= table[plan.ring_degree]
    assert 50 * plan.capsule_limbs <= table[plan.capsule_degree]


def test_the_design_example():
    plan = vs.Plan(clients=10, value_bits=16)
    assert plan.profile == "n2048"
    assert plan.lane_bits == 20
    assert plan.lanes == 2
    assert plan.bits_per_value == 25.0
    assert plan.bytes_per_value == 3.125
    assert plan.expansion_fp32 == 0.78125
    assert plan.expansion_bf16 == 1.5625
    assert plan.capsule_bytes == 25_600
    assert plan.delta == plans.moduli(1)[0] >> 40
    assert_is(plan, plans.Plan(10, 16, 0, 128, "n2048"))


def test_the_goal_of_fewer_bytes():
    """DESIGN 8: at most 2.8 bytes a 16-bit value of 10 clients is within reach of `size`."""
    plan = vs.Plan(clients=10, value_bits=16, optimise="size")
    assert plan.profile == "n8192"
    assert plan.bytes_per_value <= 2.8


@pytest.mark.parametrize("security", [128, 192, 256])
def test_plans_of_every_level_hold(security):
    for optimise in ("speed", "size"):
        plan = vs.Plan(clients=10, value_bits=16, security=security, optimise=optimise)
        assert plan.security == security
        assert_is(plan, oracle_plan(plan))
        assert_holds(plan)


@pytest.mark.parametrize("security", [128, 192, 256])
@pytest.mark.parametrize("name", ALL_RINGS)
def test_both_edges_of_the_security_table(security, name):
    """Each ring at each level: admitted exactly when the table admits it."""
    degree, limbs = plans.RINGS[name]
    if 50 * limbs <= plans.SECURITY_TABLE[security].get(degree, 0):
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
@example(  # the capsule's noise bound for two lanes is 2^64: it once wrapped to a small number
    {"clients": 4, "value_bits": 2, "weight_bits": 15, "security": 128, "optimise": "speed"}
)
@settings(max_examples=400, deadline=None)
def test_every_plan_satisfies_its_bounds_and_every_refusal_is_right(request):
    arguments = dict(request)
    optimise = arguments.pop("optimise")
    held = plans.candidates(**arguments)
    if not held:
        with pytest.raises(vs.HeadroomError):
            vs.Plan(**request)
        return
    plan = vs.Plan(**request)
    assert plan.profile in plans.RINGS_OF[plan.security]
    assert_is(plan, oracle_plan(plan))
    assert_holds(plan)
    if optimise == "size":
        assert plan.bits_per_value == min(p.bits_per_value for p in held)


@given(requests, st.sampled_from(ALL_RINGS))
@settings(max_examples=200, deadline=None)
def test_a_named_ring_is_taken_or_refused(request, name):
    degree, limbs = plans.RINGS[name]
    arguments = dict(request)
    arguments.pop("optimise")
    expected = plans.Plan(**arguments, ring_name=name)
    if 50 * limbs > plans.SECURITY_TABLE[request["security"]].get(degree, 0):
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
        {"clients": 1 << 20, "value_bits": 32},
        {"clients": 10, "value_bits": 32, "weight_bits": 17},
        {"clients": 3, "value_bits": 8, "weight_bits": 20},
        {"clients": 100, "value_bits": 24, "weight_bits": 14},
        {"clients": 1000, "value_bits": 32, "weight_bits": 8},
        {"clients": 1000, "value_bits": 32, "profile": "n2048"},
    ],
)
def test_headroom_errors_name_a_plan_that_fits(request_):
    with pytest.raises(vs.HeadroomError) as caught:
        vs.Plan(**request_)
    text = str(caught.value)
    if "profile" in text and "auto" in text and "profile" in request_:
        del request_["profile"]
        vs.Plan(**request_)
        return
    found = re.search(r"(\d+) clients at (\d+) bits(?: with (\d+)-bit weights)?$", text)
    assert found, text
    clients, bits, weights = (int(g or 0) for g in found.groups())
    plan = vs.Plan(clients=clients, value_bits=bits, weight_bits=weights)
    assert_holds(plan)
    # Nearest: it gives up as little as it can of the one thing it changes.
    assert (clients, bits, weights) != (
        request_["clients"],
        request_["value_bits"],
        request_.get("weight_bits", 0),
    )


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
    for name in ("clients", "lanes", "security", "delta", "id"):
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
        "25 bits",
        "3.125",
        "0.78",
        "1.56",
        "128",
    ):
        assert fact in text, fact
    assert re.search(r"probability\D*0\b", text)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 4095, 4096, 4097, 10_000_000])
def test_upload_bytes(size):
    plan = vs.Plan(clients=10, value_bits=16)
    expected = oracle_plan(plan)
    blocks = sum(expected.block_bytes(n) for _, n in expected.block_sizes(size))
    framing = plan.upload_bytes(size) - blocks - expected.capsule.total_bytes
    assert 0 < framing <= 256
    if size == 10_000_000:
        assert plan.upload_bytes(size) / size <= 3.2


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
