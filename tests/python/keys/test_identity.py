"""Identities: secrets on disk and in memory, signatures of one and of two keys, sealed secrets."""

from __future__ import annotations

import copy
import os
import pickle
import stat
import subprocess
import traceback
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, rsa, x25519

import veilsum as vs
from oracle import identity as oracle
from oracle import wire
from veilsum import _core
from veilsum.keys.identity import Signer

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()
KINDS = pytest.mark.parametrize("post_quantum", [False, True], ids=["ed25519", "post-quantum"])


@pytest.fixture
def umask_zero():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def both():
    """One identity of each kind."""
    return vs.Identity.generate(), vs.Identity.generate(post_quantum=True)


def secrets_of(identity: vs.Identity) -> list[bytes]:
    keys = (identity._signing, identity._exchange, identity._kem, identity._lattice)
    return [key.private_bytes_raw() for key in keys if key is not None]


def with_signing_key(identity: vs.Identity, signing) -> vs.Identity:
    """The same identity but for its Ed25519 key."""
    return vs.Identity(signing, identity._exchange, identity._kem, identity._lattice)


# --- signatures ----------------------------------------------------------------------------------


def test_rfc_8032_vector():
    """Section 7.1, test 2: the key, the public key and the signature of one byte."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    identity = with_signing_key(
        vs.Identity.generate(), ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    )
    assert identity.public.ed25519.hex() == (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    )
    signature = identity.sign(b"\x72")
    assert signature.hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert identity.public.verify(signature, b"\x72")


@KINDS
def test_a_signature_holds_for_its_message_and_signer_alone(both, post_quantum):
    identity = both[post_quantum]
    other = vs.Identity.generate(post_quantum=post_quantum)
    signature = identity.sign(b"message")
    assert len(signature) == identity.public.signature_bytes == (3373 if post_quantum else 64)
    verify = identity.public.verify
    assert verify(signature, b"message")
    assert verify(bytearray(signature), memoryview(b"message"))
    assert not verify(signature, b"massage")
    assert not verify(signature, b"")
    assert not other.public.verify(signature, b"message")
    assert not verify(other.sign(b"message"), b"message")
    for size in (0, 1, 63, 64, 65, 3309, 3372, 3373, 3374):
        for made in (signature[:size], (signature + bytes(4000))[:size], bytes(size)):
            assert verify(made, b"message") == (made == signature)
    for malformed in (None, "a" * len(signature), 7, [signature]):
        assert not verify(malformed, b"message")
    # The identity of the oracle sees the same.
    assert oracle.verify(identity.public.fields, signature, b"message")


@KINDS
def test_every_byte_of_a_signature_counts(both, post_quantum):
    identity = both[post_quantum]
    signature = identity.sign(b"message")
    places = set(range(64)) | set(range(64, len(signature), 97)) | {len(signature) - 1}
    for at in places:
        damaged = bytearray(signature)
        damaged[at] ^= 1
        assert not identity.public.verify(bytes(damaged), b"message"), at


def test_both_halves_of_a_signature_must_hold(both):
    _, identity = both
    verify = identity.public.verify
    good, other = identity.sign(b"message"), identity.sign(b"other message")
    foreign = vs.Identity.generate(post_quantum=True).sign(b"message")
    first, second = good[:64], good[64:]
    assert verify(first + second, b"message")
    assert verify(first + identity.sign(b"message")[64:], b"message")  # ML-DSA's is randomised
    for wrong in (
        first,  # stripped
        second,
        second + first,  # swapped
        first + other[64:],
        other[:64] + second,
        first + foreign[64:],
        foreign[:64] + second,
        first + bytes(3309),
        bytes(64) + second,
        first + second[:-1],
        first + second + b"\0",
    ):
        assert not verify(wrong, b"message")


def test_no_half_holds_for_an_identity_that_has_the_same_key(both):
    """Whoever strips an identity of a key, or takes one over, gets no signature with it."""
    _, identity = both
    signature = identity.sign(b"message")
    stripped = vs.PublicIdentity(b"\x01" + identity.public.fields[1:1249])
    assert stripped.ed25519 == identity.public.ed25519
    assert not stripped.verify(signature[:64], b"message")
    assert not stripped.verify(signature, b"message")
    thief = vs.Identity.generate(post_quantum=True)
    for begin, end in ((1, 33), (1249, 3201)):
        fields = bytearray(thief.public.fields)
        fields[begin:end] = identity.public.fields[begin:end]
        assert not vs.PublicIdentity(bytes(fields)).verify(
            signature[:64] + thief.sign(b"message")[64:], b"message"
        )
        assert not vs.PublicIdentity(bytes(fields)).verify(
            thief.sign(b"message")[:64] + signature[64:], b"message"
        )
    # Nor does one that was made with Ed25519 alone count as half of two.
    alone = vs.Identity(identity._signing, identity._exchange, identity._kem)
    assert alone.public == stripped
    assert not identity.public.verify(alone.sign(b"message") + signature[64:], b"message")
    assert not identity.public.verify(alone.sign(b"message"), b"message")


def test_an_identity_is_a_signer(both):
    assert all(isinstance(one, Signer) for one in both)
    assert not isinstance(both[0].public, Signer)


@KINDS
def test_wrong_types_are_errors_that_name_the_parameter(both, post_quantum):
    identity = both[post_quantum]
    for call, name in (
        (lambda: identity.sign("text"), "message is a str"),
        (lambda: identity.public.verify(bytes(64), "text"), "message is a str"),
        (lambda: identity.public.seal("text", b""), "info is a str"),
        (lambda: identity.public.seal(b"", None), "secret is None"),
        (lambda: identity.open(b"", 3), "sealed is 3"),
    ):
        with pytest.raises(vs.ParameterError) as caught:
            call()
        assert name.split(" is ")[0] + " is " in str(caught.value)


def test_an_identity_is_made_of_private_keys_only():
    good = vs.Identity.generate(post_quantum=True)
    keys = [good._signing, good._exchange, good._kem, good._lattice]
    assert vs.Identity(*keys).public == good.public
    for wrong in (
        [b"\x01" * 32] * 3,
        [keys[1], keys[0], keys[2]],
        [keys[0], keys[1], keys[3]],
        [*keys[:3], keys[0]],
        [keys[0].public_key(), *keys[1:3]],
        [None, *keys[1:3]],
    ):
        with pytest.raises(vs.ParameterError, match=r"Identity.generate\(\)"):
            vs.Identity(*wrong)


# --- sealed secrets ------------------------------------------------------------------------------


@KINDS
def test_what_is_sealed_opens_in_its_context_for_its_identity(both, post_quantum):
    identity, other = both[post_quantum], both[not post_quantum]
    sealed = identity.public.seal(b"context", b"a secret")
    assert len(sealed) == 1136 + 8
    assert identity.open(b"context", sealed) == b"a secret"
    assert identity.public.seal(b"context", b"a secret") != sealed
    assert identity.open(b"another", sealed) is None
    assert identity.open(b"", sealed) is None
    assert other.open(b"context", sealed) is None
    for size in (0, 1, 1119, 1120, 1135, len(sealed) - 1):
        assert identity.open(b"context", sealed[:size]) is None
    assert identity.open(b"context", sealed + b"\0") is None
    for at in (0, 500, 1087, 1088, 1100, 1119, 1120, len(sealed) - 1):
        damaged = bytearray(sealed)
        damaged[at] ^= 1
        assert identity.open(b"context", bytes(damaged)) is None
    assert identity.public.seal(b"", b"") != b""
    assert identity.open(b"", identity.public.seal(b"", b"")) == b""


# --- public halves -------------------------------------------------------------------------------


@KINDS
def test_a_public_identity_lists_its_keys(both, post_quantum):
    identity = both[post_quantum]
    public = identity.public
    assert public.post_quantum is post_quantum
    made = oracle.Secret(
        identity._signing.private_bytes_raw(),
        identity._kem.private_bytes_raw(),
        identity._exchange.private_bytes_raw(),
        identity._lattice.private_bytes_raw() if post_quantum else b"",
    )
    assert public.fields == made.public
    assert public.id == oracle.identity_id(made.public)
    assert public.fields == bytes([1 + post_quantum]) + public.ed25519 + public.kem + public.ml_dsa
    assert public.to_bytes() == wire.seal(wire.PUBLIC_IDENTITY, public.fields)
    assert len(public.to_bytes()) == (3221 if post_quantum else 1269)
    assert public.signing_input(b"m") == oracle.signing_input(public.fields, b"m")


@KINDS
def test_public_identities_are_values(both, post_quantum, tmp_path):
    public, other = both[post_quantum].public, both[not post_quantum].public
    path = tmp_path / "a.pub"
    public.save(path)
    assert path.read_bytes() == public.to_bytes()
    copies = [
        vs.PublicIdentity.from_bytes(public.to_bytes()),
        vs.PublicIdentity.from_bytes(memoryview(public.to_bytes())),
        vs.PublicIdentity.load(path),
        vs.PublicIdentity(public.fields),
        _core.PublicIdentity(public.fields),
        copy.copy(public),
        copy.deepcopy(public),
        *(pickle.loads(pickle.dumps(public, k)) for k in range(pickle.HIGHEST_PROTOCOL + 1)),
    ]
    for again in copies:
        assert again == public
        assert hash(again) == hash(public)
        assert again != other
        assert {again: 1}[public] == 1
    assert public != public.fields
    assert isinstance(copies[-1], vs.PublicIdentity)
    assert (
        repr(public)
        == f"<veilsum.PublicIdentity {public.id.hex()[:16]}{', post-quantum' * post_quantum}>"
    )


def test_a_public_file_of_anything_else_is_refused(both, tmp_path):
    path = tmp_path / "a.pub"
    both[0].save(path)
    with pytest.raises(vs.WireFormatError, match=r"a.pub: this is a secret identity.*\.pub"):
        vs.PublicIdentity.load(path)
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    path.write_bytes(key.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(vs.WireFormatError, match=r"a\.pub: this is a public key in PEM form"):
        vs.PublicIdentity.load(path)
    _, public = vs.keygen(vs.Plan(2))
    for content in (b"", b"nonsense", public.to_bytes(), both[1].public.to_bytes()[:-1]):
        path.write_bytes(content)
        with pytest.raises(vs.WireFormatError, match=r"a\.pub"):
            vs.PublicIdentity.load(path)
    with pytest.raises(FileNotFoundError):
        vs.PublicIdentity.load(tmp_path / "none.pub")


# --- files ---------------------------------------------------------------------------------------


@KINDS
@pytest.mark.usefixtures("umask_zero")
def test_a_saved_identity_is_private_whatever_the_umask(tmp_path, both, post_quantum):
    identity = both[post_quantum]
    path = tmp_path / "a.key"
    identity.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = vs.Identity.load(path)
    assert again.public == identity.public
    assert secrets_of(again) == secrets_of(identity)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.key"]  # no temporary left
    sealed = identity.public.seal(b"context", b"secret")
    assert again.open(b"context", sealed) == b"secret"
    assert identity.public.verify(again.sign(b"message"), b"message")


def blocks_of(path) -> list[bytes]:
    """The PEM blocks of a file."""
    text = path.read_bytes()
    ends = [0]
    while (at := text.find(b"-----END ", ends[-1])) >= 0:
        ends.append(text.index(b"\n", at) + 1)
    return [text[a:b] for a, b in pairwise(ends)]


def test_other_tools_read_the_file(tmp_path, both):
    path = tmp_path / "a.key"
    both[1].save(path)
    kinds = (
        ed25519.Ed25519PrivateKey, x25519.X25519PrivateKey, mlkem.MLKEM768PrivateKey,
        mldsa.MLDSA65PrivateKey,
    )  # fmt: skip
    blocks = blocks_of(path)
    assert b"".join(blocks) == path.read_bytes()
    for block, kind, secret in zip(blocks[:-1], kinds, secrets_of(both[1]), strict=True):
        key = serialization.load_pem_private_key(block, password=None)
        assert isinstance(key, kind)
        assert key.private_bytes_raw() == secret
    assert blocks[-1].startswith(b"-----BEGIN VEILSUM IDENTITY-----\n")
    try:
        shown = subprocess.run(
            ["openssl", "pkey", "-in", str(path), "-pubout", "-outform", "DER"],
            capture_output=True,
            check=True,
        ).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no openssl command that reads PKCS #8")
    assert shown.endswith(both[1].public.ed25519)


def test_parts_of_two_identities_are_no_identity(tmp_path, both):
    """Each block is a good key; the id at the end says whose they are."""
    path, other_path = tmp_path / "a.key", tmp_path / "b.key"
    vs.Identity.generate(post_quantum=True).save(path)
    vs.Identity.generate(post_quantum=True).save(other_path)
    mine, theirs = blocks_of(path), blocks_of(other_path)
    assert len(mine) == 5
    for at in range(5):
        mixed = [*mine[:at], theirs[at], *mine[at + 1 :]]
        path.write_bytes(b"".join(mixed))
        with pytest.raises(vs.WireFormatError, match="does not hold the keys of one identity"):
            vs.Identity.load(path)
    # Without the second signing key it is not the same identity, and not silently another one.
    path.write_bytes(b"".join([*mine[:3], mine[4]]))
    with pytest.raises(vs.WireFormatError, match="does not hold the keys of one identity"):
        vs.Identity.load(path)
    for wrong in (
        mine[:4],  # no id
        mine[:2] + mine[4:],
        [mine[1], mine[0], *mine[2:]],  # another order
        [*mine[:3], *mine[3:4] * 2, mine[4]],
        [*mine, mine[4]],
        [mine[4], *mine[:4]],
        [b"something else\n", *mine],
        [*mine, b"something else\n"],
        [mine[0], b"something else\n", *mine[1:]],
        [*mine[:4], mine[4].replace(b"IDENTITY", b"IDENTITIES")],
    ):
        path.write_bytes(b"".join(wrong))
        with pytest.raises(vs.WireFormatError, match="holds no identity, or a damaged one"):
            vs.Identity.load(path)
    path.write_bytes(b"".join(block.replace(b"\n", b"\r\n") for block in mine))
    vs.Identity.load(path)


def test_a_saved_identity_is_not_overwritten_unless_asked(tmp_path, both):
    first, second = both
    path = tmp_path / "a.key"
    first.save(path)
    with pytest.raises(FileExistsError):
        second.save(path)
    assert vs.Identity.load(path).public == first.public
    second.save(path, overwrite=True)
    assert vs.Identity.load(path).public == second.public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o660, 0o644])
def test_a_file_that_others_can_access_is_refused(tmp_path, both, mode):
    path = tmp_path / "a.key"
    both[0].save(path)
    path.chmod(mode)
    with pytest.raises(vs.ParameterError) as caught:
        vs.Identity.load(path)
    for word in (str(path), f"{mode:04o}", "chmod 600"):
        assert word in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_that_only_the_owner_can_read_is_taken(tmp_path, both, mode):
    path = tmp_path / "a.key"
    both[0].save(path)
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
    yield "locked", ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, locked)
    lattice = mldsa.MLDSA65PrivateKey.generate()
    yield "ml-dsa", lattice.private_bytes(PEM, PKCS8, PLAIN)
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    yield "public", public.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    yield "large", b"-----BEGIN PRIVATE KEY-----\n" + b"AAAA" * 50000


@pytest.mark.parametrize("content", [pytest.param(c, id=name) for name, c in other_keys()])
def test_a_file_of_anything_else_is_refused_without_quoting_it(tmp_path, content):
    path = tmp_path / "a.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(vs.WireFormatError, match="holds no identity") as caught:
        vs.Identity.load(path)
    shown = "".join(traceback.format_exception(caught.value))
    for line in content.decode().splitlines()[1:-1]:
        assert line not in shown


def test_a_signing_key_alone_is_refused_by_name(tmp_path, both):
    """What version 0.1 called an identity."""
    path = tmp_path / "a.key"
    path.write_bytes(both[0]._signing.private_bytes(PEM, PKCS8, PLAIN))
    path.chmod(0o600)
    with pytest.raises(vs.WireFormatError, match=r"an Ed25519 private key alone.*identity new"):
        vs.Identity.load(path)


@KINDS
def test_the_public_half_in_the_place_of_the_secret_one(tmp_path, both, post_quantum):
    path = tmp_path / "a.pub"
    both[post_quantum].public.save(path)
    for mode in (0o644, 0o600):
        path.chmod(mode)
        with pytest.raises(vs.WireFormatError, match=r"a.pub holds a public identity.*\.key"):
            vs.Identity.load(path)


@KINDS
def test_a_damaged_identity_file_is_refused(tmp_path, both, post_quantum):
    """Damage never makes another identity.

    What goes unnoticed changes nothing: spaces, bits that X25519 ignores, and the half of ML-KEM's
    seed that only answers to damaged ciphertexts.
    """
    path = tmp_path / "a.key"
    both[post_quantum].save(path)
    good = path.read_bytes()
    taken = 0
    for at in range(0, len(good), 3):
        for damaged in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            path.write_bytes(damaged)
            try:
                assert vs.Identity.load(path).public == both[post_quantum].public
                taken += 1
            except vs.WireFormatError:
                pass
    assert taken < 25


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        vs.Identity.load(tmp_path / "none.key")
    with pytest.raises(vs.ParameterError, match="not a regular file"):
        vs.Identity.load("/dev/null")


# --- secrets stay put ----------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_identity_cannot_be_pickled(both, protocol):
    for identity in both:
        with pytest.raises(TypeError, match="secret"):
            pickle.dumps(identity, protocol)


def test_an_identity_cannot_be_copied(both):
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            duplicate(both[1])


@KINDS
def test_repr_shows_no_secret(both, post_quantum):
    identity = both[post_quantum]
    for text in (repr(identity), str(identity), f"{identity}", repr([identity])):
        for secret in secrets_of(identity):
            assert secret.hex()[:8] not in text
            assert repr(secret)[2:10] not in text
        assert identity.public.id.hex()[:16] in text
        assert ("post-quantum" in text) is post_quantum


def test_public_bytes_hold_no_secret(both):
    for identity in both:
        for secret in secrets_of(identity):
            assert secret not in identity.public.to_bytes()
            assert secret[:16] not in identity.public.to_bytes()
