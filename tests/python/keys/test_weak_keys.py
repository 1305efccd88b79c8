"""Keys that identify nobody or protect nothing: no identity has one, from wherever it comes.

The points are computed here, by the curves' equations in Python integers, and not taken from the
code that refuses them.
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import veilsum as vs
from oracle import mlkem as oracle_mlkem
from oracle import wire
from veilsum import _core

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


#: Where the keys of an identity begin.
ED25519, ML_KEM, X25519, ML_DSA = 1, 33, 1217, 1249


@pytest.fixture(scope="module")
def good():
    return vs.Identity.generate(post_quantum=True).public.fields


def with_key(fields: bytes, begin: int, key: bytes) -> bytes:
    return fields[:begin] + key + fields[begin + len(key) :]


def refuse(fields: bytes, says: str) -> None:
    """No constructor, no bytes and no round brings such an identity."""
    for make in (vs.PublicIdentity, _core.PublicIdentity):
        with pytest.raises(vs.ParameterError, match=says):
            make(fields)
    with pytest.raises(vs.WireFormatError, match=says):
        vs.PublicIdentity.from_bytes(wire.seal(wire.PUBLIC_IDENTITY, fields))
    assert not vs.Roster.verify(fields, bytes(3373), b"message")


def test_the_points_are_those_of_small_order():
    points = small_points()
    assert sorted(map(order, points)) == [1, 2, 4, 4, 8, 8, 8, 8]
    assert bytes([1, *[0] * 31]) in SMALL
    assert bytes([0xEE, *[0xFF] * 30, 0x7F]) in SMALL


def test_such_a_key_signs_for_anybody(good):
    """Why they are refused: the verifier itself takes this signature, for every message."""
    key = bytes([1, *[0] * 31])
    Ed25519PublicKey.from_public_bytes(key).verify(key + bytes(32), b"any message")
    alone = b"\x01" + good[1:1249]
    assert not vs.Roster.verify(with_key(alone, ED25519, key), key + bytes(32), b"any message")


@pytest.mark.parametrize("key", WEAK, ids=lambda key: key.hex()[:4] + key.hex()[-4:])
def test_no_identity_has_a_weak_signing_key(good, key):
    says = "Ed25519 key is (a point of small order|not in canonical form)"
    refuse(with_key(good, ED25519, key), says)


def test_other_signing_keys_are_taken(good):
    for _ in range(20):
        key = vs.Identity.generate().public.ed25519
        _core.PublicIdentity(with_key(good, ED25519, key))
        # Only the coordinate counts; the neighbours of the weak ones are ordinary.
        other = bytes([*key[:31], key[31] ^ 0x80])
        _core.PublicIdentity(with_key(good, ED25519, other))
    for y in (2, 3, P - 2):
        _core.PublicIdentity(with_key(good, ED25519, y.to_bytes(32, "little")))


# --- X25519 --------------------------------------------------------------------------------------


def low_coordinates() -> set[int]:
    """The u below p of points of order 1 ... 8 of the curve and its twist.

    Doubling takes u to (u^2 - 1)^2 / (4 u (u^2 + A u + 1)): twice a point has order 1 where the
    divisor is 0, and order 2 (u = 0, the only root that is a coordinate) where u = 1 or -1; those
    are of order 4. Of order 8 are the u that double to one of these.
    """
    a = 486662
    found = {0, 1, P - 1}
    assert root(a * a - 4) is None  # u^2 + A u + 1 has no root: 0 is all there is of order 2
    for target in (1, P - 1):
        # (u^2 - 1)^2 = 4 t u (u^2 + A u + 1); divided by u^2, with w = u + 1/u:
        # w^2 - 4 = 4 t (w + A), so w = 2 t +- 2 sqrt(t^2 + t A + 1)
        square = root((target * target + target * a + 1) % P)
        if square is None:
            continue
        for sign in (1, -1):
            w = (2 * target + sign * 2 * square) % P
            inner = root((w * w - 4) % P)
            if inner is None:
                continue
            for other in (1, -1):
                u = (w + other * inner) * pow(2, -1, P) % P
                assert (u * u - 1) ** 2 % P == 4 * target * u * (u * u + a * u + 1) % P
                found.add(u)
    return found


def exchange(u: bytes) -> bytes | None:
    """What X25519 gives for a point; None where it is 0, which `cryptography` refuses."""
    mine = x25519.X25519PrivateKey.generate()
    try:
        return mine.exchange(x25519.X25519PublicKey.from_public_bytes(u))
    except ValueError:
        return None


def test_the_points_of_low_order_share_no_secret(good):
    points = low_coordinates()
    assert len(points) == 5
    for u in sorted(points):
        for spelling in {u, u + P if u + P < 2**255 else u}:
            for top in (0, 1 << 255):
                key = (spelling + top).to_bytes(32, "little")
                assert exchange(key) is None
                says = "X25519 key is (a point of low order|not in canonical form)"
                refuse(with_key(good, X25519, key), says)


def test_an_exchange_key_has_one_spelling(good):
    for u in (*range(P, 2**255), 9 + 2**255, P - 2 + 2**255, 2**256 - 1):
        refuse(with_key(good, X25519, u.to_bytes(32, "little")), "X25519 key is not in canonical")
    for u in (2, 9, P - 2):
        key = u.to_bytes(32, "little")
        assert exchange(key) is not None
        _core.PublicIdentity(with_key(good, X25519, key))


# --- ML-KEM and ML-DSA ---------------------------------------------------------------------------


def packed(coefficients: list[int]) -> bytes:
    """ByteEncode_12 of FIPS 203."""
    bits = sum(c << 12 * i for i, c in enumerate(coefficients))
    return bits.to_bytes(len(coefficients) * 12 // 8, "little")


@pytest.mark.parametrize("place", [0, 1, 255, 256, 511, 766, 767])
@pytest.mark.parametrize("value", [3329, 3330, 4095])
def test_the_modulus_check_of_fips_203(good, place, value):
    """Section 7.2: the same keys as `cryptography` refuses."""
    coefficients = [7 * i % 3329 for i in range(768)]
    seed = good[1185:1217]
    for number in (0, 3328, value):
        coefficients[place] = number
        key = packed(coefficients) + seed
        if number == value:
            with pytest.raises(ValueError, match=r".*"):
                mlkem.MLKEM768PublicKey.from_public_bytes(key).encapsulate()
            refuse(with_key(good, ML_KEM, key), "a coefficient is not below 3329")
        else:
            mlkem.MLKEM768PublicKey.from_public_bytes(key).encapsulate()
            _core.PublicIdentity(with_key(good, ML_KEM, key))


def test_an_encapsulation_key_of_zeros_hides_nothing(good):
    """Why it is refused: the ciphertext's second part shows the message to anybody."""
    for seed in (bytes(32), bytes([255]) * 32):
        key = bytes(1152) + seed
        shared, ciphertext = mlkem.MLKEM768PublicKey.from_public_bytes(key).encapsulate()
        second = int.from_bytes(ciphertext[960:], "little")
        bits = [(second >> 4 * i & 15) in range(4, 12) for i in range(256)]
        message = sum(bit << i for i, bit in enumerate(bits)).to_bytes(32, "little")
        secret, again = oracle_mlkem.encapsulate(key, message)
        assert (secret, again) == (shared, ciphertext)
        refuse(with_key(good, ML_KEM, key), "no coefficient but 0")


@pytest.mark.parametrize("filled", [0x00, 0xFF])
def test_a_lattice_key_that_nobody_filled_is_refused(good, filled):
    key = bytes([filled]) * 1952
    mldsa.MLDSA65PublicKey.from_public_bytes(key)  # the library takes it
    refuse(with_key(good, ML_DSA, key), "no coefficient but 0 and 1023")
    refuse(with_key(good, ML_DSA + 32, key[32:]), "no coefficient but 0 and 1023")
    _core.PublicIdentity(with_key(good, ML_DSA, key[:-1] + bytes([filled ^ 0x40])))


# --- lengths, kinds, rounds ----------------------------------------------------------------------


def test_lengths_and_kinds(good):
    alone = b"\x01" + good[1:1249]
    vs.PublicIdentity(alone)
    for fields in (
        b"", b"\x01", b"\x02", good[:1249], good[:-1], good + b"\0", alone[:-1], alone + b"\0",
        b"\x01" + good[1:], b"\x02" + alone[1:],
    ):  # fmt: skip
        refuse(fields, "bytes")
    for kind in (0, 3, 255):
        refuse(bytes([kind]) + good[1:], f"kind {kind} are unknown")


@pytest.mark.parametrize("key", WEAK[:3] + WEAK[-3:], ids=lambda key: key.hex()[:8])
def test_no_bytes_of_a_round_bring_one(key):
    plan = vs.Plan(3)
    _, public = vs.keygen(plan)
    people = [vs.Identity.generate().public for _ in range(2)]
    data = vs.Round(plan, public, size=8, roster=people).to_bytes()
    assert data.count(people[1].ed25519) == 1
    # With a checksum that fits: the check of the key is what refuses it.
    forged = wire.reseal(data.replace(people[1].ed25519, key))
    with pytest.raises(vs.WireFormatError, match="client 1 of the roster: its Ed25519 key"):
        vs.Round.from_bytes(forged)
