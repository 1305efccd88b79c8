"""Rosters: who is on them, who shares a key, and rule 2 where both kinds of identities sign."""

from __future__ import annotations

import numpy as np
import pytest

import veilsum as vs
from oracle import wire
from veilsum import _core


@pytest.fixture(scope="module")
def people():
    """Three clients; the second signs with two keys."""
    return [vs.Identity.generate(post_quantum=k == 1) for k in range(3)]


# --- rosters -------------------------------------------------------------------------------------


def test_a_roster_numbers_its_clients(tmp_path, people):
    core = _core.PublicIdentity(people[2].public.fields)
    roster = vs.Roster([people[0].public, people[1], core])
    assert list(roster) == [person.public for person in people]
    assert all(isinstance(one, vs.PublicIdentity) for one in roster)
    assert [roster.index(person) for person in people] == [0, 1, 2]
    assert roster.index(people[1].public) == 1
    assert people[0].public in roster
    assert vs.Identity.generate().public not in roster
    assert roster[1] == people[1].public
    assert roster[1:] == (people[1].public, people[2].public)
    assert len(roster) == 3
    paths = []
    for index, person in enumerate(people):
        paths.append(tmp_path / f"{index}.pub")
        person.public.save(paths[-1])
    assert vs.Roster.load(paths) == roster
    assert hash(vs.Roster.load(paths)) == hash(roster)
    assert vs.Roster.load(paths[::-1]) != roster


@pytest.mark.parametrize(
    ("clients", "words"),
    [
        ([], ["empty"]),
        (["a" * 32], ["client 0", "str"]),
        ([None], ["client 0", "None"]),
        ([b"\x01" * 32], ["client 0", "bytes", "PublicIdentity.load(path)"]),
    ],
)
def test_a_bad_roster_says_which_client(clients, words):
    with pytest.raises(vs.ParameterError) as caught:
        vs.Roster(clients)
    for word in words:
        assert word in str(caught.value)


KEYS = {
    "Ed25519": (1, 33),
    "ML-KEM-768": (33, 1217),
    "X25519": (1217, 1249),
    "ML-DSA-65": (1249, 3201),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_client_that_lists_another_ones_key_is_refused(people, name):
    """Be it one of several: it would be sealed what is the other's, or be signed for by it."""
    begin, end = KEYS[name]
    copycats = [vs.Identity.generate(post_quantum=True)]
    if name != "ML-DSA-65":
        copycats.append(vs.Identity.generate())
    for copycat in copycats:
        fields = bytearray(copycat.public.fields)
        fields[begin:end] = people[1].public.fields[begin:end]
        listed = [people[0], people[1], people[2], vs.PublicIdentity(bytes(fields))]
        says = f"clients 1 and 3 of the roster have the same {name} key"
        with pytest.raises(vs.ParameterError, match=says):
            vs.Roster(listed)
        plan = vs.Plan(4)
        _, public = vs.keygen(plan)
        with pytest.raises(vs.ParameterError, match=says):
            vs.Round(plan, public, size=8, roster=listed)
        # Nor does the core take one that nobody checked, nor do bytes bring one.
        crafted = [_core.PublicIdentity(one.public.fields) for one in people] + [listed[3]]
        with pytest.raises(vs.ParameterError, match=says):
            _core.Round(plan.facts, public, [(8, 1.0)], b"", 2, crafted)
        good = vs.Round(plan, public, size=8, roster=[*people, copycat]).to_bytes()
        forged = good.replace(copycat.public.fields, bytes(fields))
        assert forged != good
        with pytest.raises(vs.WireFormatError, match=says):
            vs.Round.from_bytes(wire.reseal(forged))


def test_a_stranger_has_no_number():
    with pytest.raises(vs.ParameterError, match="not one of the roster's 1 clients"):
        vs.Roster([vs.Identity.generate()]).index(vs.Identity.generate())


def test_the_core_s_callback_refuses_whatever_is_wrong(people):
    verify = vs.Roster.verify
    for person in people:
        fields, signature = person.public.fields, person.sign(b"message")
        assert verify(fields, signature, b"message")
        assert verify(bytearray(fields), signature, b"message")
        assert not verify(fields, signature, b"massage")
        assert not verify(vs.Identity.generate().public.fields, signature, b"message")
        assert not verify(fields, signature[:-1], b"message")
        assert not verify(fields[:-1], signature, b"message")
        assert not verify(person.public.to_bytes(), signature, b"message")
        assert not verify(b"", signature, b"message")


# --- rounds with a roster ------------------------------------------------------------------------

SIZE = 50


@pytest.fixture
def signed_round(people):
    secret, public = vs.keygen(vs.Plan(3))
    rnd = vs.Round(vs.Plan(3), public, size=SIZE, roster=vs.Roster(people))
    return secret, rnd, people


def values(seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, SIZE).astype(np.float32)


def test_a_signed_round_end_to_end(signed_round):
    secret, rnd, people = signed_round
    updates = [values(seed) for seed in range(3)]
    uploads = [
        vs.encrypt(rnd, update, signer=person)
        for update, person in zip(updates, people, strict=True)
    ]
    assert [upload.client for upload in uploads] == [0, 1, 2]
    assert all(upload.signed for upload in uploads)
    # The aggregator sees bytes, and so does the authority.
    received = [vs.Upload.from_bytes(upload.to_bytes(), rnd) for upload in uploads]
    total = vs.weighted_sum(rnd, received)
    assert sorted(total.clients) == [0, 1, 2]
    request = vs.OpeningRequest.from_bytes(total.opening_request().to_bytes(), rnd)
    mean = vs.decrypt(vs.open_sum(secret, rnd, request), total)
    np.testing.assert_allclose(mean, np.mean(updates, axis=0), atol=0.5 / 32767 + 1e-6)


def test_a_round_read_back_still_checks_signatures(signed_round):
    _, rnd, people = signed_round
    again = vs.Round.from_bytes(rnd.to_bytes())
    assert list(again.roster) == [person.public for person in people]
    aggregator = vs.Accumulator(again)
    aggregator.add(vs.encrypt(again, values(), signer=people[0]))
    assert aggregator.count == 1


def test_an_unsigned_upload_is_refused_before_work(signed_round):
    _, rnd, _ = signed_round
    with pytest.raises(vs.RoundError, match=r"roster of 3 clients.*must be signed.*signer="):
        vs.encrypt(rnd, values())


def test_a_stranger_cannot_sign(signed_round):
    _, rnd, _ = signed_round
    with pytest.raises(vs.KeyMismatchError, match="not one of the 3 in the round's roster"):
        vs.encrypt(rnd, values(), signer=vs.Identity.generate())


def test_a_signer_without_a_roster_is_refused():
    _, public = vs.keygen(vs.Plan(2))
    rnd = vs.Round(vs.Plan(2), public, size=SIZE)
    with pytest.raises(vs.ParameterError, match="no roster"):
        vs.encrypt(rnd, values(), signer=vs.Identity.generate())


def test_a_client_uploads_once(signed_round):
    _, rnd, people = signed_round
    aggregator = vs.Accumulator(rnd)
    aggregator.add(vs.encrypt(rnd, values(0), signer=people[0]))
    with pytest.raises(vs.RoundError, match="client 0"):
        aggregator.add(vs.encrypt(rnd, values(1), signer=people[0]))
    assert aggregator.count == 1  # the first stands
    aggregator.add(vs.encrypt(rnd, values(1), signer=people[1]))
    assert aggregator.finish().count == 2


class Impostor:
    """Says it is one client and signs as another."""

    def __init__(self, claimed, actual):
        self.public = claimed.public
        self.sign = actual.sign


def test_a_signature_by_another_client_is_refused(signed_round):
    _, rnd, people = signed_round
    forged = vs.encrypt(rnd, values(), signer=Impostor(people[0], people[2]))
    honest = vs.encrypt(rnd, values(), signer=people[2])
    with pytest.raises(vs.RoundError, match="client 0"):
        vs.weighted_sum(rnd, [honest, forged])
    with pytest.raises(vs.RoundError, match="client 0"):
        vs.Accumulator(rnd).add(forged)


def test_a_signature_over_another_upload_is_refused(signed_round):
    _, rnd, people = signed_round
    first = vs.encrypt(rnd, values(0), signer=people[0])
    second = vs.encrypt(rnd, values(1), signer=people[0])
    second.attach_signature(0, people[0].sign(first.signing_payload(rnd, 0)))
    with pytest.raises(vs.RoundError):
        vs.Accumulator(rnd).add(second)
    # As is one made under another client's number.
    first.attach_signature(1, people[1].sign(first.signing_payload(rnd, 0)))
    with pytest.raises(vs.RoundError):
        vs.Accumulator(rnd).add(first)


def test_the_authority_checks_signatures_itself(signed_round):
    """An aggregator that skips its check cannot get forged uploads opened."""
    secret, rnd, people = signed_round
    uploads = [
        vs.encrypt(rnd, values(0), signer=Impostor(people[0], vs.Identity.generate())),
        vs.encrypt(rnd, values(1), signer=people[2]),
    ]
    lying = vs._core.weighted_sum(rnd, uploads, verify=lambda *_: True)
    with pytest.raises(vs.RoundError, match="client 0"):
        vs.open_sum(secret, rnd, lying)


def test_identities_go_straight_into_a_round():
    people = [vs.Identity.generate() for _ in range(2)]
    _, public = vs.keygen(vs.Plan(2))
    rnd = vs.Round(vs.Plan(2), public, size=SIZE, roster=people)
    assert list(rnd.roster) == [person.public for person in people]
    assert all(isinstance(one, vs.PublicIdentity) for one in rnd.roster)


# --- rosters of both kinds -----------------------------------------------------------------------


def both_ways(rnd, upload):
    """Add it in memory, as bytes, as a file and in pieces: every error there is."""
    for add in (
        lambda total: total.add(upload),
        lambda total: total.add(vs.Upload.from_bytes(upload.to_bytes(), rnd)),
    ):
        yield lambda add=add: add(vs.Accumulator(rnd))


def test_an_ed25519_signed_upload_keeps_its_size(people):
    plan = vs.Plan(3)
    _, public = vs.keygen(plan)
    bare = vs.encrypt(vs.Round(plan, public, size=SIZE), values()).nbytes
    for roster in (people, [people[0], people[2]], [people[1], vs.Identity.generate()]):
        rnd = vs.Round(plan, public, size=SIZE, roster=roster)
        for person in roster:
            upload = vs.encrypt(rnd, values(), signer=person)
            extra = 3309 if person.public.post_quantum else 0
            assert upload.nbytes == len(upload.to_bytes()) == bare + 100 + extra


def test_uploads_in_pieces_have_the_sizes_of_the_roster(signed_round, tmp_path):
    _, rnd, people = signed_round
    aggregator = vs.Accumulator(rnd)
    for person in people:
        data = vs.encrypt(rnd, values(), signer=person).to_bytes()
        incoming = aggregator.receive(len(data), tmp_path)
        incoming.write(0, data)
        incoming.finish()
    assert sorted(aggregator.finish().clients) == [0, 1, 2]
    plain = vs.Round(vs.Plan(3), vs.keygen(vs.Plan(3))[1], size=SIZE, roster=[people[0], people[2]])
    quantum = vs.encrypt(rnd, values(), signer=people[1]).nbytes
    with pytest.raises(vs.WireFormatError, match=f"has {quantum} bytes"):
        vs.Accumulator(plain).receive(quantum, tmp_path)
    with pytest.raises(vs.WireFormatError, match="size is that of an unsigned one"):
        vs.Accumulator(plain).receive(quantum - 3409, tmp_path)
    # The size of one client's, the contents of another's.
    good = vs.encrypt(rnd, values(), signer=people[0]).to_bytes()
    incoming = vs.Accumulator(rnd).receive(quantum, tmp_path)
    incoming.write(0, good + bytes(quantum - len(good)))
    with pytest.raises(vs.WireFormatError):
        incoming.finish()


def test_a_client_signs_as_its_identity_asks(signed_round, tmp_path):
    """With fewer keys, with more, with half: refused in memory, as bytes, from a file."""
    _, rnd, people = signed_round
    quantum = people[1]
    alone = vs.Identity(quantum._signing, quantum._exchange, quantum._kem)
    more = vs.Identity(people[0]._signing, people[0]._exchange, people[0]._kem, quantum._lattice)
    for client, signer in ((1, alone), (0, more), (1, people[0]), (0, quantum)):
        upload = vs.encrypt(rnd, values(), signer=people[client])
        upload.attach_signature(client, signer.sign(upload.signing_payload(rnd, client)))
        for add in both_ways(rnd, upload):
            with pytest.raises(vs.RoundError, match=f"client {client} signed with"):
                add()
        upload.save(tmp_path / "upload")
        with pytest.raises(vs.RoundError, match=f"client {client} signed with"):
            vs.Accumulator(rnd).add_file(tmp_path / "upload")
    good = vs.encrypt(rnd, values(), signer=quantum)
    payload = good.signing_payload(rnd, 1)
    signature = quantum.sign(payload)
    for wrong in (
        signature[:64] + bytes(3309),
        bytes(64) + signature[64:],
        alone.sign(payload) + signature[64:],
        signature[64:] + signature[:64],
        people[0].sign(payload) + signature[64:],
        quantum.sign(payload + b"x"),
        signature[:64] + quantum.sign(b"x")[64:],
    ):
        good.attach_signature(1, wrong)
        for add in both_ways(rnd, good):
            with pytest.raises(vs.RoundError, match="signature of client 1 is wrong"):
                add()
    for size in (0, 63, 65, 3309, 3372, 3374):
        with pytest.raises(vs.ParameterError, match="64 bytes"):
            good.attach_signature(1, bytes(size))
    good.attach_signature(1, signature)
    for add in both_ways(rnd, good):
        add()


def test_a_signer_that_gives_something_else_is_refused(signed_round, tmp_path):
    """Before the upload leaves: a token that signs with one key of two, or fails."""
    _, rnd, people = signed_round
    np.save(tmp_path / "update.npy", values())

    class Token:
        def __init__(self, public, made):
            self.public, self.made = public, made

        def sign(self, message):
            return self.made

    for made, says in (
        (bytes(64), "gave 64 bytes; signatures of its identity have 3373"),
        (b"", "gave 0 bytes"),
        (None, "gave None, not bytes"),
        ("s" * 3373, "not bytes"),
    ):
        token = Token(people[1].public, made)
        with pytest.raises(vs.ParameterError, match=says):
            vs.encrypt(rnd, values(), signer=token)
        with pytest.raises(vs.ParameterError, match=says):
            vs.encrypt_file(rnd, tmp_path / "update.npy", tmp_path / "upload", signer=token)
        assert not (tmp_path / "upload").exists()
    with pytest.raises(vs.ParameterError, match=r"signer\.public"):
        vs.encrypt(rnd, values(), signer=Token(people[1].public.fields, bytes(3373)))


def test_a_signature_for_one_round_is_none_for_another(signed_round, people):
    """Same clients, same payload but for the round; and another place in the roster."""
    _, rnd, _ = signed_round
    _, public = vs.keygen(vs.Plan(3))
    other = vs.Round(vs.Plan(3), public, size=SIZE, roster=people)
    turned = vs.Round(vs.Plan(3), public, size=SIZE, roster=people[::-1])
    for client, person in enumerate(people):
        upload = vs.encrypt(rnd, values(), signer=person)
        for foreign in (
            vs.encrypt(other, values(), signer=person).signing_payload(other, client),
            vs.encrypt(turned, values(), signer=person).signing_payload(turned, 2 - client),
            b"veilsum/2/another-label" + upload.signing_payload(rnd, client)[26:],
        ):
            upload.attach_signature(client, person.sign(foreign))
            with pytest.raises(vs.RoundError, match=f"signature of client {client} is wrong"):
                vs.Accumulator(rnd).add(upload)
