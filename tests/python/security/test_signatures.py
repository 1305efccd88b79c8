"""In a round with a roster every upload is signed by one of its clients, whole, and for that round.

A missing signature, somebody else's, another round's or another upload's, one over other blocks,
another clip count or nonce, or by a number beyond the roster: each is refused by the aggregator, in
every way of adding, and by the key holder, should the aggregator have looked away. No answer of a
verifier but True is a valid signature. Weak keys are in keys/test_weak_keys.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import veilsum as vs
from security import forging
from security.adding import ONE_BY_ONE, WAYS, add_to, sum_by
from veilsum import _core

#: In pieces, an upload of another size is none.
REFUSED = (vs.RoundError, vs.WireFormatError)


class Impostor:
    """Says it is one client and signs as another."""

    def __init__(self, claimed, actual):
        self.public = claimed.public
        self.sign = actual.sign


def signed_as(stage, rnd, number, signer):
    """An upload that `signer` signs with that client's number."""
    upload = stage.upload(rnd, 2)
    upload.attach_signature(number, signer.sign(upload.signing_payload(rnd, number)))
    return upload


def forgeries(stage, rnd):
    """Uploads of client 2 that are not what client 2 signed, and what is said of each."""
    people, good = stage.people, stage.upload(rnd, 2)
    raw = forging.RawUpload.of(good, rnd)
    other_round = stage.round(signed=True, min_clients=3)
    other_blocks = forging.RawUpload.of(stage.upload(rnd, 3), rnd).blocks
    moved = forging.renamed(forging.RawUpload(rnd.id, raw.head, other_blocks))
    wrong, beyond = "signature of client 2", "not on the roster"
    yield "missing", raw.with_head(signature=None), "not signed|unsigned"
    outsider = Impostor(people[2], vs.Identity.generate(post_quantum=True))
    yield "an outsider's", stage.upload(rnd, 2, signer=outsider), wrong
    yield "another client's", stage.upload(rnd, 2, signer=Impostor(people[2], people[3])), wrong
    yield "under another number", signed_as(stage, rnd, 2, people[3]), wrong
    donor = forging.RawUpload.of(stage.upload(rnd, 2), rnd).head.signature
    yield "another upload's", raw.with_head(signature=donor), f"{wrong}|blocks of client 2"
    donor = forging.RawUpload.of(stage.upload(other_round, 2), other_round).head.signature
    assert raw.head.signature is not None
    donor = replace(donor, blocks_digest=raw.head.signature.blocks_digest)
    yield "another round's", raw.with_head(signature=donor), wrong
    yield "another clip count", raw.with_head(clipped=1), wrong
    yield "another nonce", raw.with_head(nonce=bytes(16)), wrong
    flipped = bytes([raw.head.part[0] ^ 1]) + raw.head.part[1:]
    if not stage.sums_again:  # elsewhere the part is the digest of the blocks
        yield "another sealed key", raw.with_head(part=flipped), wrong
    mended = moved.with_signature(blocks_digest=forging.digest_of(other_blocks))
    yield "other blocks, mended", mended, wrong
    for client in (stage.plan.clients, 2**31, 2**32 - 1):
        yield f"client {client}", signed_as(stage, rnd, client, people[2]), beyond
        yield f"client {client}, said", raw.with_signature(client=client), beyond
    yield "another client, said", raw.with_signature(client=3), "signature of client 3"
    generator = np.random.default_rng(1)
    whole = raw.head.signature.signature
    for bit in (*generator.integers(0, 512, 4), *generator.integers(512, 8 * len(whole), 4)):
        signature = bytearray(whole)
        signature[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", raw.with_signature(signature=bytes(signature)), wrong
    other = people[2].sign(b"another message")
    for name, halves in (
        ("its second half zeros", whole[:64] + bytes(3309)),
        ("its first half zeros", bytes(64) + whole[64:]),
        ("another message's second half", whole[:64] + other[64:]),
        ("another message's first half", other[:64] + whole[64:]),
        ("halves swapped", whole[64:] + whole[:64]),
    ):
        yield name, raw.with_signature(signature=halves), wrong
    yield "of one key alone", signed_as(stage, rnd, 2, people[0]), "client 2 signed with Ed25519"
    twice = signed_as(stage, rnd, 0, people[2])
    yield "of two keys for one", twice, "client 0 signed with Ed25519 and ML-DSA-65"


@pytest.mark.parametrize("way", WAYS)
def test_aggregators_refuse_what_was_not_signed(stage, tmp_path, way):
    rnd = stage.round(signed=True)
    good = stage.uploads(rnd, 2)
    expected = vs.weighted_sum(rnd, good).to_bytes()
    aggregator = vs.Accumulator(rnd)
    for name, forged, words in forgeries(stage, rnd):
        bad = forged if isinstance(forged, vs.Upload) else forged.read(rnd)
        with pytest.raises(REFUSED, match=words):
            sum_by(way, rnd, [*good, bad], tmp_path)
        if way in ONE_BY_ONE:
            with pytest.raises(REFUSED, match=words):
                add_to(aggregator, way, bad, tmp_path)
            assert aggregator.count == 0, name
    if way in ONE_BY_ONE:
        for upload in good:
            add_to(aggregator, way, upload, tmp_path)
        assert aggregator.finish().to_bytes() == expected


def test_the_key_holder_refuses_what_was_not_signed(stage):
    """An aggregator that skips its check cannot get forged uploads opened, nor use up the round."""
    rnd = stage.round(signed=True)
    good = stage.uploads(rnd, 2)
    secret = stage.fresh_secret()
    for name, forged, words in forgeries(stage, rnd):
        bad = forged if isinstance(forged, vs.Upload) else forged.read(rnd)
        with pytest.raises(vs.RoundError, match=words):  # of another kind: when it is read
            vs.open_sum(secret, rnd, forging.RawSum.made(rnd, [*good, bad]).request(rnd))
        assert name
    lying = _core.weighted_sum(
        rnd,
        [*good, stage.upload(rnd, 2, signer=Impostor(stage.people[2], stage.people[3]))],
        verify=lambda *_: True,
    )
    uploads = [*good, stage.upload(rnd, 2)]
    if not stage.sums_again:
        with pytest.raises(vs.RoundError, match="signature of client 2"):
            stage.open(rnd, lying, uploads, secret)
    total = vs.weighted_sum(rnd, good)
    assert stage.open(rnd, total, good, secret).count == 2


@pytest.mark.parametrize("way", WAYS)
def test_blocks_are_what_was_signed(stage, tmp_path, way):
    """Damage that the checksum does not show."""
    rnd = stage.round(signed=True)
    good, raw = stage.uploads(rnd, 2), forging.RawUpload.of(stage.upload(rnd, 2), rnd)
    for at in (0, len(raw.blocks) // 2, len(raw.blocks) - 1):
        blocks = bytearray(raw.blocks)
        blocks[at] ^= 1
        changed = forging.RawUpload(rnd.id, raw.head, bytes(blocks))
        with pytest.raises(vs.RoundError, match=r"blocks of client 2 .*altered on the way"):
            sum_by(way, rnd, [*good, changed.read(rnd)], tmp_path)
        with pytest.raises(vs.RoundError, match="client 2"):
            sum_by(way, rnd, [*good, forging.renamed(changed).read(rnd)], tmp_path)
        if way in ONE_BY_ONE:
            aggregator = vs.Accumulator(rnd)
            with pytest.raises(vs.RoundError, match="blocks of client 2"):
                add_to(aggregator, way, changed.read(rnd), tmp_path)
            assert aggregator.count == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_signature_that_cannot_be_checked_is_refused(stage, tmp_path, way):
    """Signed uploads in a round without a roster must not look as if somebody had checked them."""
    rnd = stage.round()
    upload = stage.upload(rnd)
    signed = stage.upload(rnd, 1)
    signed.attach_signature(0, stage.people[0].sign(signed.signing_payload(rnd, 0)))
    with pytest.raises(REFUSED, match="no roster"):
        sum_by(way, rnd, [signed, upload], tmp_path)
    request = forging.RawSum.made(rnd, [signed, upload]).request(rnd)
    with pytest.raises(vs.RoundError, match="no roster"):
        vs.open_sum(stage.fresh_secret(), rnd, request)
    with pytest.raises(vs.ParameterError, match="no roster"):
        stage.upload(rnd, signer=stage.people[0])


def test_clients_that_cannot_sign_encrypt_nothing(stage, tmp_path):
    rnd = stage.round(signed=True)
    np.save(tmp_path / "a.npy", stage.update(0))
    for encrypt in (
        lambda **options: vs.encrypt(rnd, stage.update(0), **options),
        lambda **options: vs.encrypt_file(rnd, tmp_path / "a.npy", tmp_path / "a.up", **options),
    ):
        with pytest.raises(vs.RoundError, match=r"roster of 5 clients.*must be signed.*signer="):
            encrypt()
        with pytest.raises(vs.KeyMismatchError, match="not one of the 5 in the round's roster"):
            encrypt(signer=vs.Identity.generate())
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_a_signed_round_end_to_end(stage):
    """The aggregator sees bytes, and so does the key holder, of a round that came as bytes."""
    rnd = stage.round(signed=True)
    assert list(rnd.roster) == [person.public for person in stage.people]
    uploads = [stage.upload(rnd, client) for client in (3, 0, 2)]
    assert [(one.client, one.signed) for one in uploads] == [(3, True), (0, True), (2, True)]
    again = vs.Round.from_bytes(rnd.to_bytes())
    received = [vs.Upload.from_bytes(upload.to_bytes(), again) for upload in uploads]
    total = vs.weighted_sum(again, received)
    assert total.clients == [3, 0, 2]
    request = stage.request(total, received)
    request = vs.OpeningRequest.from_bytes(request.to_bytes(), again)
    mean = vs.decrypt(vs.open_sum(stage.fresh_secret(), again, request), total)
    exact = np.mean([stage.update(client) for client in (3, 0, 2)], axis=0, dtype=np.float64)
    assert np.abs(mean - exact).max() <= stage.tolerance(3)


def test_a_roster_needs_a_verifier(stage, tmp_path):
    rnd = stage.round(signed=True)
    uploads = stage.uploads(rnd, 2)
    request = stage.request(vs.weighted_sum(rnd, uploads), uploads)
    paths = [tmp_path / name for name in ("a", "b")]
    for upload, path in zip(uploads, paths, strict=True):
        upload.save(path)
    opener = rnd.plan.cipher.opener(rnd, rnd.plan.parameters)
    for call in (
        lambda: _core.weighted_sum(rnd, uploads),
        lambda: _core.sum_files(rnd, paths, tmp_path / "x"),
        lambda: _core.Accumulator(rnd),
        lambda: _core.open_sum(stage.fresh_secret(), rnd, request, open=opener),
    ):
        with pytest.raises(vs.ParameterError, match="verif"):
            call()


@pytest.mark.parametrize("verdict", [None, 1, "yes", b"", np.bool_(True), [True]], ids=repr)
def test_only_true_is_a_valid_signature(stage, tmp_path, verdict):
    rnd = stage.round(signed=True)
    uploads = stage.uploads(rnd, 2)
    path = tmp_path / "a.up"
    uploads[0].save(path)
    request = stage.request(vs.weighted_sum(rnd, uploads), uploads)
    opener = rnd.plan.cipher.opener(rnd, rnd.plan.parameters)

    def answer(*_):
        return verdict

    for call in (
        lambda: _core.weighted_sum(rnd, uploads, verify=answer),
        lambda: _core.sum_files(rnd, [path], tmp_path / "x", verify=answer),
        lambda: _core.Accumulator(rnd, verify=answer).add(uploads[0]),
        lambda: _core.Accumulator(rnd, verify=answer).add_file(path),
        lambda: _core.open_sum(stage.fresh_secret(), rnd, request, open=opener, verify=answer),
    ):
        with pytest.raises(vs.ParameterError, match="True or False"):
            call()
    with pytest.raises(vs.RoundError, match="signature of client 0"):
        _core.weighted_sum(rnd, uploads, verify=lambda *_: False)


def test_a_verifier_that_fails_fails_the_sum(stage):
    """An exception in the callback travels out; it never counts as a good signature."""
    rnd = stage.round(signed=True)
    uploads = stage.uploads(rnd, 2)
    request = stage.request(vs.weighted_sum(rnd, uploads), uploads)
    opener = rnd.plan.cipher.opener(rnd, rnd.plan.parameters)

    def broken(public_key, signature, message):
        raise LookupError("no such key")

    secret = stage.fresh_secret()
    for call in (
        lambda: _core.weighted_sum(rnd, uploads, verify=broken),
        lambda: _core.Accumulator(rnd, verify=broken).add(uploads[0]),
        lambda: _core.open_sum(secret, rnd, request, open=opener, verify=broken),
    ):
        with pytest.raises(LookupError, match="no such key"):
            call()
    assert vs.open_sum(secret, rnd, request).count == 2


def test_rosters_that_make_no_round(stage):
    keys = [vs.Identity.generate().public for _ in range(stage.plan.clients + 1)]

    def make(roster, **options):
        return _core.Round(stage.plan.facts, stage.public, [(8, 1.0)], b"", 2, roster, **options)

    for roster, words in (
        (keys, "roster"),
        (keys[:1], "roster"),
        ([keys[0], keys[1], keys[0]], "clients 0 and 2 of the roster have the same Ed25519 key"),
        ([keys[0], keys[1].fields], "types"),
    ):
        with pytest.raises(vs.ParameterError, match=words):
            make(roster)
    with pytest.raises(vs.ParameterError, match="roster"):
        stage.round(roster=keys[:2], min_clients=3)
    assert list(make(keys[:-1]).roster) == keys[:-1]
