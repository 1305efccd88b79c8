"""Capsules against whoever crafts them, and against the most noise their bound allows."""

import functools
import random

import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from oracle import ring, scheme, streams  # noqa: E402
from parties import PLANS, Stage, seed_of  # noqa: E402

NAMES = [n for n in PLANS if not n.startswith("n16384")]


@functools.cache
def stage_of(door, name="n2048", tag=""):
    return Stage(door, PLANS[name], [(100, 1.0)], name=f"capsules/{name}{tag}")


@functools.cache
def genuine(door, name="n2048", number=0):
    stage = stage_of(door, name)
    return stage.door.make_capsule(stage.round, seed_of("genuine", name, number))[0]


def refused(door, stage, capsule):
    with pytest.raises(core.RoundError) as caught:
        door.open_fresh_capsule(stage.secret, stage.round, capsule)
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_capsule_changed_anywhere_is_refused(door, active_level, name, rng):
    """One coefficient of any row moved by one or by a lot: no residue is outside its range."""
    stage = stage_of(door, name)
    shape = stage.oracle_plan.capsule
    good = genuine(door, name)
    row_bytes = shape.degree * 50 // 8
    for number in range(len(good) // row_bytes):
        q = shape.moduli[number % shape.limbs]
        for step in (1, q - 1, shape.delta % q, rng.randrange(1, q)):
            row = ring.unpack(good[number * row_bytes : (number + 1) * row_bytes])
            place = rng.randrange(shape.degree)
            row[place] = (row[place] + step) % q
            bad = good[: number * row_bytes] + ring.pack(row) + good[(number + 1) * row_bytes :]
            refused(door, stage, bad)
    door.open_fresh_capsule(stage.secret, stage.round, good)


def test_a_capsule_of_another_round_is_refused(door, active_level):
    """Same keys, same plan, other round: the seed in it derives another capsule there."""
    stage = stage_of(door)
    other = door.round_seeded(
        stage.plan, stage.public, stage.segments, b"", 2, [], seed_of("another round")
    )
    capsule = door.make_capsule(other, seed_of("genuine", "n2048", 0))[0]
    assert capsule != genuine(door)
    message = refused(door, stage, capsule)
    assert "round" in message


def test_a_capsule_for_another_key_is_refused(door, active_level):
    stage, other = stage_of(door), stage_of(door, tag="other key")
    refused(door, stage, door.make_capsule(other.round, seed_of("x"))[0])


@pytest.mark.parametrize("name", ["n2048", "n4096-weighted", "n4096q50"])
def test_probes_of_the_secret_key_are_refused(door, active_level, name):
    """c1 = t X^j, c0 = Delta m: a decryption of it would tell about one coefficient of s at a time.

    The classic reaction attack; without the re-derivation each accepted probe halves an interval.
    """
    stage = stage_of(door, name)
    shape = stage.oracle_plan.capsule
    n = shape.degree
    for j in (0, 1, n - 1):
        for probe in (1, shape.delta // 42, shape.delta // 2, shape.delta, shape.big_q // 2):
            for message in ([0] * n, [21] * n, [1 << shape.message_bits - 1] * n):
                c0 = [shape.delta * m for m in message]
                c1 = [probe if i == j else 0 for i in range(n)]
                rows = [ring.pack([x % q for x in c]) for c in (c0, c1) for q in shape.moduli]
                refused(door, stage, b"".join(rows) * shape.ciphertexts)


def test_degenerate_capsules_are_refused(door, active_level):
    stage = stage_of(door)
    good, second = genuine(door), genuine(door, number=1)
    half = len(good) // 2
    refused(door, stage, bytes(len(good)))
    refused(door, stage, good[half:] + good[:half])
    refused(door, stage, good[:half] + second[half:])
    refused(door, stage, good[:half] + bytes(half))
    refused(door, stage, bytes(half) + good[half:])
    summed = door.sum_capsules(stage.plan, [good, second], [1, 1])
    refused(door, stage, summed)
    refused(door, stage, door.sum_capsules(stage.plan, [good], [2]))
    (q,) = stage.oracle_plan.capsule.moduli
    negated = b"".join(
        ring.pack([-x % q for x in ring.unpack(row)]) for row in (good[:half], good[half:])
    )
    refused(door, stage, negated)


def test_self_chosen_keys_and_errors_are_refused(door, active_level, rng):
    """An encryption that is valid in every way, except that not all of it derives from the seed."""
    stage = stage_of(door)
    plan, public = stage.oracle_plan, stage.oracle_keys.public
    shape, n = plan.capsule, plan.capsule.degree
    seed = seed_of("rogue")
    key = streams.capsule_key(stage.round.id, seed)
    r = scheme.ephemeral_key(plan, stage.round.id, seed)
    u, e0, e1 = (
        streams.cbd(key, streams.stream_index(domain), n)
        for domain in (streams.CAPSULE_U, streams.CAPSULE_E0, streams.CAPSULE_E1)
    )

    def capsule(r=r, seed=seed, u=u, e0=e0, e1=e1):
        (message,) = scheme.capsule_messages(shape, r, seed)
        return scheme.encrypt_capsule_message(shape, public, message, u, e0, e1)

    assert door.open_fresh_capsule(stage.secret, stage.round, capsule()).tolist() == r

    def nudged(values):
        out = list(values)
        place = rng.randrange(n)
        out[place] += 1 if out[place] < 21 else -1
        return out

    refused(door, stage, capsule(r=nudged(r)))
    refused(door, stage, capsule(r=[0] * n))
    refused(door, stage, capsule(r=[21] * n))
    refused(door, stage, capsule(u=nudged(u)))
    refused(door, stage, capsule(u=[0] * n))
    refused(door, stage, capsule(e0=nudged(e0)))
    refused(door, stage, capsule(e1=nudged(e1)))
    refused(door, stage, capsule(seed=bytes(32)))
    for bit in (0, 7, 8, 255):
        flipped = bytearray(seed)
        flipped[bit // 8] ^= 1 << bit % 8
        refused(door, stage, capsule(seed=bytes(flipped)))
    # A bit above the 256 of the seed, where an honest capsule has none.
    (message,) = scheme.capsule_messages(shape, r, seed)
    message[256] += 1 << shape.message_bits - 1
    refused(door, stage, scheme.encrypt_capsule_message(shape, public, message, u, e0, e1))


def test_refusals_name_no_secret(door):
    """The message is the same for every kind of forgery: it cannot be used as an oracle."""
    stage = stage_of(door)
    good = genuine(door)
    texts = {
        refused(door, stage, bytes(len(good))),
        refused(door, stage, good[len(good) // 2 :] + good[: len(good) // 2]),
        refused(door, stage, door.sum_capsules(stage.plan, [good], [2])),
    }
    assert len(texts) == 1


@pytest.mark.parametrize("name", NAMES)
def test_fresh_noise_keeps_its_bound(door, name):
    """phase - Delta m of real capsules, in integers: at most 2 N 21^2 + 21."""
    stage = stage_of(door, name)
    shape = stage.oracle_plan.capsule
    bound = 2 * shape.degree * 21 * 21 + 21
    seed = seed_of("genuine", name, 0)
    r = scheme.ephemeral_key(stage.oracle_plan, stage.round.id, seed)
    data = genuine(door, name)
    size = shape.ciphertext_bytes
    secret = stage.oracle_keys.secret
    for number, message in enumerate(scheme.capsule_messages(shape, r, seed)):
        rows = scheme.unpack_rows(data[number * size : (number + 1) * size], 2 * shape.limbs)
        phase = []
        for limb, q in enumerate(shape.moduli):
            product = ring.multiply(rows[shape.limbs + limb], secret, q)
            phase.append([(x + y) % q for x, y in zip(rows[limb], product, strict=True)])
        noise = [
            ring.centred(x - shape.delta * m, shape.big_q)
            for x, m in zip(ring.from_residues(phase, shape.moduli), message, strict=True)
        ]
        assert max(map(abs, noise)) <= bound
        assert any(noise)


@pytest.mark.parametrize("name", [*NAMES, pytest.param("n16384q200", marks=pytest.mark.slow)])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_open_at_the_noise_bound(door, active_level, name, sign):
    """W (2 N 21^2 + 21) of noise on every coefficient, extreme digits, every wrap of the top bit.

    No seeds give such errors, so the summed ciphertext is built with c1 = 0 and the noise in c0.
    """
    stage = stage_of(door, name)
    plan = stage.oracle_plan
    shape, weight = plan.capsule, plan.max_weight
    noise = sign * weight * (2 * shape.degree * 21 * 21 + 21)
    choice = random.Random(name)
    expected, rows = [0] * plan.degree, []
    for number in range(shape.ciphertexts):
        message = [0] * shape.degree
        for j in range(shape.degree):
            for lane in range(shape.lanes):
                place = (number * shape.lanes + lane) * shape.degree + j
                if place < plan.degree:
                    digit = choice.choice((0, 1, 21 * weight, 42 * weight))
                    expected[place] = digit - 21 * weight
                    message[j] += digit << lane * shape.lane_bits
            if number == 0 and j < 256:
                wraps = choice.choice((0, 1, 2, weight - 1, weight))
                message[j] += wraps << shape.message_bits - 1
        for q in shape.moduli:
            rows.append(ring.pack([(shape.delta * m + noise) % q for m in message]))
        rows += [ring.pack([0] * shape.degree)] * shape.limbs
    opened = door.open_summed_capsule(stage.secret, stage.round, b"".join(rows), weight)
    assert opened.tolist() == expected
