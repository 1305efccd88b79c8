"""Identities and rosters: secrets on disk and in memory, and who is listed.

What a roster means to a round is tested for all engines in security/test_signatures.py.
"""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import stat
import traceback

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import veilsum as vs
from veilsum.roster import Signer, load_public_key, save_public_key

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()


@pytest.fixture
def umask_zero():
    before = os.umask(0)
    yield
    os.umask(before)


def secret_bytes(identity: vs.Identity) -> bytes:
    return identity._private.private_bytes_raw()


# --- identities ----------------------------------------------------------------------------------


def test_rfc_8032_vector():
    """Section 7.1, test 2: the key, the public key and the signature of one byte."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    identity = vs.Identity(Ed25519PrivateKey.from_private_bytes(seed))
    assert identity.public_key.hex() == (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    )
    signature = identity.sign(b"\x72")
    assert signature.hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert vs.Roster.verify(identity.public_key, signature, b"\x72")


def test_two_identities_differ():
    assert vs.Identity.generate().public_key != vs.Identity.generate().public_key


def test_an_identity_is_a_signer():
    assert isinstance(vs.Identity.generate(), Signer)


@pytest.mark.usefixtures("umask_zero")
def test_a_saved_identity_is_private_whatever_the_umask(tmp_path):
    identity = vs.Identity.generate()
    path = tmp_path / "a.key"
    identity.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert vs.Identity.load(path).public_key == identity.public_key
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.key"]  # no temporary left


def test_a_saved_identity_is_not_overwritten_unless_asked(tmp_path):
    first, second = vs.Identity.generate(), vs.Identity.generate()
    path = tmp_path / "a.key"
    first.save(path)
    with pytest.raises(FileExistsError):
        second.save(path)
    assert vs.Identity.load(path).public_key == first.public_key
    second.save(path, overwrite=True)
    assert vs.Identity.load(path).public_key == second.public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o660, 0o644])
def test_a_file_that_others_can_access_is_refused(tmp_path, mode):
    path = tmp_path / "a.key"
    vs.Identity.generate().save(path)
    path.chmod(mode)
    with pytest.raises(vs.ParameterError) as caught:
        vs.Identity.load(path)
    for word in (str(path), f"{mode:04o}", "chmod 600"):
        assert word in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_that_only_the_owner_can_read_is_taken(tmp_path, mode):
    path = tmp_path / "a.key"
    vs.Identity.generate().save(path)
    path.chmod(mode)
    vs.Identity.load(path)


def other_keys():
    yield "empty", b""
    yield "garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    curve = ec.generate_private_key(ec.SECP256R1())
    yield "curve", curve.private_bytes(PEM, PKCS8, PLAIN)
    big = rsa.generate_private_key(65537, 2048)
    yield "rsa", big.private_bytes(PEM, PKCS8, PLAIN)
    locked = serialization.BestAvailableEncryption(b"password")
    yield "locked", Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, locked)
    public = Ed25519PrivateKey.generate().public_key()
    yield "public", public.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("content", [pytest.param(c, id=name) for name, c in other_keys()])
def test_a_file_of_anything_else_is_refused_without_quoting_it(tmp_path, content):
    path = tmp_path / "a.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(vs.WireFormatError, match="holds no Ed25519 private key") as caught:
        vs.Identity.load(path)
    shown = "".join(traceback.format_exception(caught.value))
    for line in content.decode().splitlines()[1:-1]:
        assert line not in shown


def test_a_corrupted_identity_file_gives_an_error_or_another_key(tmp_path):
    path = tmp_path / "a.key"
    vs.Identity.generate().save(path)
    good = path.read_bytes()
    for at in range(len(good)):
        for damaged in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            path.write_bytes(damaged)
            with contextlib.suppress(vs.WireFormatError):
                vs.Identity.load(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        vs.Identity.load(tmp_path / "none.key")
    with pytest.raises(vs.ParameterError, match="not a regular file"):
        vs.Identity.load("/dev/null")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_identity_cannot_be_pickled(protocol):
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(vs.Identity.generate(), protocol)


def test_an_identity_cannot_be_copied():
    identity = vs.Identity.generate()
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            duplicate(identity)


def test_repr_shows_no_secret():
    identity = vs.Identity.generate()
    secret = secret_bytes(identity)
    for text in (repr(identity), str(identity), f"{identity}", repr([identity])):
        assert secret.hex()[:8] not in text
        assert repr(secret)[2:10] not in text
        assert identity.public_key.hex()[:16] in text


def test_an_identity_is_made_of_a_private_key_only():
    with pytest.raises(vs.ParameterError, match=r"Identity.generate\(\)"):
        vs.Identity(b"\x01" * 32)


def test_public_key_files(tmp_path):
    identity = vs.Identity.generate()
    path = tmp_path / "a.pub"
    save_public_key(path, identity.public_key)
    assert load_public_key(path) == identity.public_key
    assert secret_bytes(identity) not in path.read_bytes()
    path.write_bytes(b"nonsense")
    with pytest.raises(vs.WireFormatError, match="no Ed25519 public key"):
        load_public_key(path)
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    path.write_bytes(curve.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(vs.WireFormatError, match="no Ed25519 public key"):
        load_public_key(path)


# --- rosters -------------------------------------------------------------------------------------


def test_a_roster_numbers_its_clients(tmp_path):
    people = [vs.Identity.generate() for _ in range(3)]
    roster = vs.Roster([people[0].public_key, people[1], bytearray(people[2].public_key)])
    assert list(roster) == [person.public_key for person in people]
    assert [roster.index(person) for person in people] == [0, 1, 2]
    assert roster.index(people[1].public_key) == 1
    assert people[0].public_key in roster
    assert roster[1] == people[1].public_key
    assert len(roster) == 3
    paths = []
    for index, person in enumerate(people):
        paths.append(tmp_path / f"{index}.pub")
        save_public_key(paths[-1], person.public_key)
    assert vs.Roster.load(paths) == roster
    assert hash(vs.Roster.load(paths)) == hash(roster)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ([], ["empty"]),
        ([b"\x01" * 31], ["client 0", "31 bytes", "32"]),
        ([b"\x01" * 32, b"\x02" * 33], ["client 1", "33 bytes"]),
        ([b"\x01" * 32, b"\x02" * 32, b"\x01" * 32], ["clients 0 and 2", "same key"]),
        (["a" * 32], ["client 0", "str"]),
        ([None], ["client 0", "is None"]),
    ],
)
def test_a_bad_roster_says_which_client(keys, words):
    with pytest.raises(vs.ParameterError) as caught:
        vs.Roster(keys)
    for word in words:
        assert word in str(caught.value)


def test_a_stranger_has_no_number():
    with pytest.raises(vs.ParameterError, match="not one of the roster's 1 clients"):
        vs.Roster([vs.Identity.generate()]).index(vs.Identity.generate())


def test_verify_refuses_whatever_is_wrong():
    identity = vs.Identity.generate()
    signature = identity.sign(b"message")
    verify = vs.Roster.verify
    assert verify(identity.public_key, signature, b"message")
    assert not verify(identity.public_key, signature, b"massage")
    assert not verify(vs.Identity.generate().public_key, signature, b"message")
    assert not verify(identity.public_key, signature[:-1], b"message")
    assert not verify(identity.public_key[:-1], signature, b"message")
    for at in range(64):
        damaged = bytearray(signature)
        damaged[at] ^= 1
        assert not verify(identity.public_key, bytes(damaged), b"message")


def test_identities_go_straight_into_a_round():
    people = [vs.Identity.generate() for _ in range(2)]
    _, public = vs.keygen(vs.Plan(2))
    rnd = vs.Round(vs.Plan(2), public, size=50, roster=people)
    assert rnd.roster == [person.public_key for person in people]
