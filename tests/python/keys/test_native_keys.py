"""Native key pairs: public keys that protect nothing, and halves that do not belong together."""

from __future__ import annotations

import pytest

import veilsum as vs
from security import forging
from veilsum import _core

LATTICE_BYTES = 1184
SECRET_BYTES = 96


@pytest.fixture(scope="module")
def pair() -> tuple[vs.SecretKey, vs.PublicKey]:
    return vs.keygen(vs.Plan(3))


def bodies(good: bytes) -> dict[str, bytes]:
    """Public keys that are none, by what is wrong with them."""
    lattice, curve = good[:LATTICE_BYTES], good[LATTICE_BYTES:]
    first = bytes([lattice[0] & 0, 0x0D | lattice[1] & 0xF0]) + lattice[2:]  # 3328: the largest
    beyond = bytes([1]) + first[1:]  # 3329
    assert _core.PublicKey(1, first + curve)
    return {
        "not below 3329": beyond + curve,
        "no coefficient but 0": bytes(1152) + lattice[1152:] + curve,
        "low order": lattice + bytes(32),
        "order": lattice + b"\1" + bytes(31),
        "canonical": lattice + curve[:31] + bytes([curve[31] | 0x80]),
        "not below 2^255 - 19": lattice + b"\xff" * 32,
    }


def test_public_keys_that_protect_nothing(pair):
    good = pair[1].body
    for why, body in bodies(good).items():
        message = why.replace("^", r"\^")
        with pytest.raises(vs.ParameterError, match=message):
            _core.PublicKey(1, body)
        data = bytearray(pair[1].to_bytes())
        data[-4 - len(body) : -4] = body
        with pytest.raises(vs.WireFormatError, match=message):
            vs.PublicKey.from_bytes(forging.reseal(data))
        assert _core.PublicKey(255, body).body == body  # other engines' keys mean something else


def test_rounds_and_secret_keys_that_carry_such_a_key(pair):
    secret, public = pair
    body = bodies(public.body)["low order"]
    rnd = vs.Round(vs.Plan(3), public, size=10)
    for read, data in (
        (vs.Round.from_bytes, rnd.to_bytes()),
        (vs.SecretKey.from_bytes, secret.to_bytes()),
    ):
        at = data.index(public.body)
        changed = data[:at] + body + data[at + len(body) :]
        with pytest.raises(vs.WireFormatError, match="low order"):
            read(forging.reseal(changed))


@pytest.mark.parametrize("half", ["lattice seed", "curve", "both"])
def test_halves_that_do_not_belong_together(pair, tmp_path, half):
    secret, public = pair
    own = bytes(secret.to_bytes()[-4 - SECRET_BYTES : -4])
    other = bytes(vs.keygen(vs.Plan(3))[0].to_bytes()[-4 - SECRET_BYTES : -4])
    mixed = {"lattice seed": other[:64] + own[64:], "curve": own[:64] + other[64:], "both": other}
    with pytest.raises(vs.ParameterError, match="halves do not belong together"):
        vs.SecretKey(mixed[half], public)
    data = bytearray(secret.to_bytes())
    data[-4 - SECRET_BYTES : -4] = mixed[half]
    with pytest.raises(vs.WireFormatError, match="halves do not belong together"):
        vs.SecretKey.from_bytes(forging.reseal(data))
    secret.save(tmp_path / "key")
    (tmp_path / "key").write_bytes(forging.reseal(data))
    with pytest.raises(vs.WireFormatError, match="halves do not belong together"):
        vs.SecretKey.load(tmp_path / "key")
    assert vs.SecretKey(own, public).to_bytes() == secret.to_bytes()
