"""Ed25519 keys that identify nobody: no roster and no round takes one, from wherever it comes.

The keys are computed here, by the curve's equation in Python integers, and not taken from the code
that refuses them.
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import veilsum as vs
from veilsum import _core
from veilsum.roster import Roster

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def root(square: int) -> int | None:
    """A square root modulo p, which is 5 modulo 8."""
    found = pow(square, (P + 3) // 8, P)
    for candidate in (found, found * pow(2, (P - 1) // 4, P) % P):
        if candidate * candidate % P == square % P:
            return candidate
    return None


def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    (x, y), (u, v) = a, b
    cross = D * x * u * y * v
    return (
        (x * v + y * u) * pow(1 + cross, -1, P) % P,
        (y * v + x * u) * pow(1 - cross, -1, P) % P,
    )


def order(point: tuple[int, int]) -> int:
    """Of a point whose order divides 8; 0 for others."""
    sum_, count = point, 1
    while sum_ != (0, 1):
        sum_, count = add(sum_, point), count + 1
        if count > 8:
            return 0
    return count


def small_points() -> set[tuple[int, int]]:
    """The points of order 1, 2, 4 and 8: multiples of those of order 8."""
    # Doubling a point of order 8 gives one with y = 0, so x^2 = -y^2 and d y^4 + 2 y^2 - 1 = 0.
    points = {(0, 1)}
    both = root(1 + D)
    assert both is not None
    for sign in (1, -1):
        y = root((-1 + sign * both) * pow(D, -1, P) % P)
        if y is None:
            continue
        x = root(-y * y % P)
        for point in ((x, y), (-x % P, y), (x, -y % P), (-x % P, -y % P)):
            sum_ = point
            for _ in range(8):
                points.add(sum_)
                sum_ = add(sum_, point)
    return points


def spellings(point: tuple[int, int]) -> set[bytes]:
    """Every string of 32 bytes that decodes to the point in some implementation."""
    x, y = point
    signs = (0, 1) if x == 0 else (x & 1,)
    return {
        (value | sign << 255).to_bytes(32, "little")
        for value in (y, y + P)
        if value < 2**255
        for sign in signs
    }


SMALL = sorted(spelling for point in small_points() for spelling in spellings(point))
#: Coordinates that are not below p: other spellings of the points with y = 0 ... 18.
NOT_CANONICAL = sorted(
    (P + less | sign << 255).to_bytes(32, "little") for less in range(19) for sign in (0, 1)
)
WEAK = sorted({*SMALL, *NOT_CANONICAL})


def test_the_points_are_those_of_small_order():
    points = small_points()
    assert sorted(map(order, points)) == [1, 2, 4, 4, 8, 8, 8, 8]
    assert bytes([1, *[0] * 31]) in SMALL
    assert bytes([0xEE, *[0xFF] * 30, 0x7F]) in SMALL


def test_such_a_key_signs_for_anybody():
    """Why they are refused: the verifier itself takes this signature, for every message."""
    key = bytes([1, *[0] * 31])
    Ed25519PublicKey.from_public_bytes(key).verify(key + bytes(32), b"any message")
    assert not Roster.verify(key, key + bytes(32), b"any message")


@pytest.mark.parametrize("key", WEAK, ids=lambda key: key.hex()[:4] + key.hex()[-4:])
def test_no_roster_takes_one(key):
    good = vs.Identity.generate().public_key
    with pytest.raises(vs.ParameterError, match="client 1 of the roster") as caught:
        vs.Roster([good, key])
    assert ("small order" in str(caught.value)) != ("canonical" in str(caught.value))
    with pytest.raises(vs.ParameterError):
        vs.Roster([bytearray(key), good])
    with pytest.raises(vs.ParameterError):
        _core.check_verification_key(key)


def test_other_keys_are_taken():
    for _ in range(100):
        key = vs.Identity.generate().public_key
        _core.check_verification_key(key)
        # Only the coordinate counts; the neighbours of the weak ones are ordinary.
        _core.check_verification_key(bytes([*key[:31], key[31] ^ 0x80]))
    for y in (2, 3, P - 2):
        _core.check_verification_key(y.to_bytes(32, "little"))


@pytest.mark.parametrize("key", WEAK[:3] + WEAK[-3:], ids=lambda key: key.hex()[:8])
def test_no_round_takes_one_either(key):
    """A roster that was not checked, such as an unpickled one, does not get past the core."""
    plan = vs.Plan(3)
    _, public = vs.keygen(plan)
    good = [vs.Identity.generate().public_key for _ in range(2)]
    crafted = vs.Roster(good)
    crafted._keys = (good[0], key)
    with pytest.raises(vs.ParameterError, match="client 1 of the roster"):
        vs.Round(plan, public, size=8, roster=crafted)
    with pytest.raises(vs.ParameterError, match="client 1 of the roster"):
        _core.Round(plan.facts, public, [(8, 1.0)], b"", 2, [good[0], key])


@pytest.mark.parametrize("key", WEAK[:3] + WEAK[-3:], ids=lambda key: key.hex()[:8])
def test_no_bytes_bring_one(key):
    plan = vs.Plan(3)
    _, public = vs.keygen(plan)
    good = [vs.Identity.generate().public_key for _ in range(2)]
    data = vs.Round(plan, public, size=8, roster=good).to_bytes()
    assert data.count(good[1]) == 1
    # With a checksum that fits: the check of the key is what refuses it.
    body = data[:-4].replace(good[1], key)
    from oracle.crc import crc32c

    forged = body + crc32c(body).to_bytes(4, "little")
    with pytest.raises(vs.WireFormatError, match="client 1 of the roster"):
        vs.Round.from_bytes(forged)
