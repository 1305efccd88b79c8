"""Opening by a committee: what opens, what is refused, and what each attack of the aggregator, of a
member or of a client comes to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import veilsum as vs
from committee.parties import Clinics, people
from veilsum import _core

STEP = 1 / 32767


@pytest.fixture
def clinics(tmp_path):
    return Clinics(tmp_path)


def opened(clinics, total, members=None):
    certificate = clinics.certify(total)
    return clinics.combine(certificate, clinics.answers(certificate, total, members), total)


# What opens.


@pytest.mark.parametrize("group_reads", [True, False])
@pytest.mark.parametrize(("count", "threshold"), [(2, 2), (3, 2), (3, 3), (4, 3), (5, 3), (7, 5)])
def test_any_threshold_of_members_opens(tmp_path, count, threshold, group_reads):
    """Each set of t members gives the same exact sum, read by the clients or by a server."""
    clinics = Clinics(tmp_path, count, threshold, size=90, group_reads=group_reads)
    total = clinics.total()
    exact = np.round(clinics.updates().astype(np.float64) / STEP).sum(axis=0) * STEP
    certificate = clinics.certify(total)
    every = clinics.answers(certificate, total)
    for chosen in itertools.islice(itertools.combinations(every, threshold), 12):
        key = clinics.combine(certificate, list(chosen), total)
        found = clinics.decrypt(key, total.without_shares(), average=False, dtype="float64")
        assert np.abs(found - exact).max() < 1e-9


@pytest.mark.parametrize("profile", ["n2048", "n4096", "n8192"])
@pytest.mark.parametrize("size", [1, 2047, 40_000])
def test_profiles_and_sizes(tmp_path, profile, size):
    clinics = Clinics(tmp_path, 3, size=size, plan={"profile": profile})
    total = clinics.total()
    found = clinics.decrypt(opened(clinics, total), total, average=False)
    assert np.abs(found - clinics.updates().sum(axis=0)).max() <= 1.5 * STEP + 1e-6


def test_everything_travels_as_bytes(clinics, tmp_path):
    """Every object read back is the same, and does the same."""
    rnd = vs.Round.from_bytes(clinics.round.to_bytes())
    uploads = [vs.Upload.from_bytes(one.to_bytes(), rnd) for one in clinics.uploads(rnd)]
    total = vs.Aggregate.from_bytes(vs.weighted_sum(rnd, uploads).to_bytes(), rnd)
    requests = [
        vs.MemberRequest.from_bytes(vs.request_for(total, one).to_bytes(), rnd)
        for one in clinics.people
    ]
    endorsements = [
        vs.Endorsement.from_bytes(member.endorse(rnd, request).to_bytes(), rnd)
        for member, request in zip(clinics.members, requests, strict=True)
    ]
    certificate = vs.Certificate.from_bytes(vs.certify(rnd, total, endorsements).to_bytes(), rnd)
    answers = [
        vs.Answer.from_bytes(member.answer(rnd, certificate, request).to_bytes(), rnd)
        for member, request in zip(clinics.members, requests, strict=True)
    ]
    small = vs.Aggregate.from_bytes(total.without_shares().to_bytes(), rnd)
    group = vs.Group.open(clinics.people[2], clinics.group.sealed, clinics.roster, "a test")
    key = vs.combine(rnd, certificate, answers[:3], small, group=group)
    key = vs.SumKey.from_bytes(key.to_bytes(), rnd)
    found = vs.decrypt(key, small, group=group, average=False)
    assert np.abs(found - clinics.updates().sum(axis=0)).max() <= 2 * STEP + 1e-6


def test_an_answer_goes_on_with_what_its_endorsement_opened(clinics, monkeypatch):
    """Shares are opened once for a sum that was just endorsed, and for any other request anew."""
    opened = []

    def counting(request, opener):
        opened.append(request.sum)
        return real(request, opener)

    real = _core.open_shares
    total, fewer = clinics.total(), clinics.total(clients=range(clinics.count - 1))
    member, me = clinics.members[1], clinics.people[1]
    certificate = clinics.certify(total, members=[0, 2, 3])
    asked, other = vs.request_for(total, me), vs.request_for(fewer, me)
    assert asked.sum != other.sum
    monkeypatch.setattr(_core, "open_shares", counting)
    member.endorse(clinics.round, asked)
    assert opened == [asked.sum]
    with pytest.raises(vs.RoundError, match="another sum"):
        member.answer(clinics.round, certificate, other)
    assert opened == [asked.sum, other.sum]
    again = vs.MemberRequest.from_bytes(asked.to_bytes(), clinics.round)
    first = member.answer(clinics.round, certificate, again)
    assert opened == [asked.sum, other.sum]
    # Dropped with the answer: asked once more, the member opens once more, and says the same.
    assert member._held is None
    assert member.answer(clinics.round, certificate, asked).to_bytes() == first.to_bytes()
    assert opened == [asked.sum, other.sum, asked.sum]


def test_files(tmp_path):
    """From file to file, in portions and resumable, with a tag and a committee."""
    clinics = Clinics(tmp_path, 3, size=70_000)
    rnd, updates = clinics.round, clinics.updates()
    paths = []
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", updates[k])
        path = tmp_path / f"{k}.up"
        vs.encrypt_file(
            rnd,
            tmp_path / f"{k}.npy",
            path,
            signer=clinics.people[k],
            group=clinics.group,
            resume=k == 1,
        )
        paths.append(path)
    total = vs.sum_files(rnd, paths, tmp_path / "total.vs")
    key = opened(clinics, total)
    vs.decrypt_file(key, total, tmp_path / "sum.npy", group=clinics.group, average=False)
    found = np.load(tmp_path / "sum.npy")
    assert np.abs(found - updates.sum(axis=0)).max() <= 1.5 * STEP + 1e-6
    spoilt = bytearray((tmp_path / "total.vs").read_bytes())
    loaded = vs.Aggregate.from_bytes(bytes(spoilt), rnd)
    assert loaded.count == 3
    with pytest.raises(vs.RoundError, match="group"):
        vs.decrypt_file(key, total, tmp_path / "no.npy", average=False)
    assert not (tmp_path / "no.npy").exists()


def test_members_of_their_own(tmp_path):
    """The members need not be the clients."""
    clinics = Clinics(tmp_path, 3)
    outside = people(8)[4:8]
    committee = vs.Committee(outside, 3)
    rnd = vs.Round(
        vs.Plan(clients=3, value_bits=16),
        committee,
        size=clinics.size,
        roster=clinics.roster,
        group=clinics.group.commitment,
    )
    assert vs.Round.from_bytes(rnd.to_bytes()) == rnd
    assert rnd.committee == committee
    assert rnd.committee.members == tuple(one.public for one in outside)
    total = clinics.total(rnd)
    members = [
        vs.Member.create(one, tmp_path / f"outside-{k}.ledger") for k, one in enumerate(outside)
    ]
    requests = [vs.request_for(total, one) for one in outside]
    words = [m.endorse(rnd, r) for m, r in zip(members, requests, strict=True)]
    certificate = vs.certify(rnd, total, words[:3])
    answers = [
        m.answer(rnd, certificate, r) for m, r in zip(members[1:], requests[1:], strict=True)
    ]
    key = vs.combine(rnd, certificate, answers, total, group=clinics.group)
    found = clinics.decrypt(key, total, average=False)
    assert np.abs(found - clinics.updates().sum(axis=0)).max() <= 1.5 * STEP + 1e-6


# What a member does again and again.


def test_asked_again_a_member_says_the_same(clinics):
    """The same endorsement of the same sum, the same answer byte for byte - after a restart too."""
    total = clinics.total()
    certificate = clinics.certify(total)
    first = clinics.answers(certificate, total, [1])[0]
    request = vs.request_for(total, clinics.people[1])
    again = vs.Member(clinics.people[1], clinics.folder / "1.ledger")
    second = again.answer(clinics.round, certificate, request)
    post_quantum = clinics.answers(certificate, total, [2, 2])
    assert post_quantum[0].to_bytes() == post_quantum[1].to_bytes()
    assert first.sum == second.sum
    assert first.to_bytes() == second.to_bytes()
    assert again.endorse(clinics.round, request).sum == total_sum(total, clinics.people[1])


def total_sum(total, person):
    return vs.request_for(total, person).sum


def test_one_sum_a_round(clinics):
    """A member endorses no other set of uploads, under its ledger read anew either."""
    total = clinics.total()
    clinics.endorse(total, [2])
    smaller = clinics.total(clients=[0, 1, 2])
    for member in (clinics.members[2], vs.Member(clinics.people[2], clinics.folder / "2.ledger")):
        with pytest.raises(vs.RoundError, match="endorsed"):
            member.endorse(clinics.round, vs.request_for(smaller, clinics.people[2]))
    # The same uploads, encrypted again, are another sum as well.
    with pytest.raises(vs.RoundError, match="endorsed"):
        clinics.endorse(clinics.total(), [2])


def test_one_round_a_step(clinics):
    """Of two rounds for one step of a training, a member endorses one."""
    step = vs.TrainingStep(b"t" * 32, 3, "update", b"h" * 32)
    first, second = (clinics.new_round(step=step) for _ in range(2))
    assert first.step == step
    clinics.endorse(clinics.total(first), [0])
    with pytest.raises(vs.RoundError, match="step"):
        clinics.endorse(clinics.total(second), [0])
    other = clinics.new_round(step=step._replace(purpose="statistics"))
    clinics.endorse(clinics.total(other), [0])


def test_a_ledger_is_what_makes_a_member_honest(tmp_path):
    """With a clone of a ledger a member endorses two sums; with n = 3, t = 2 one such is enough."""
    clinics = Clinics(tmp_path, 3, 2, size=20)
    blank = (tmp_path / "1.ledger").read_bytes()
    first = clinics.total(clients=[0, 1, 2])
    second = clinics.total(clients=[1, 2])
    one = clinics.certify(first, [0, 1])
    (tmp_path / "1.ledger").write_bytes(blank)
    clone = vs.Member(clinics.people[1], tmp_path / "1.ledger")
    words = [clone.endorse(clinics.round, vs.request_for(second, clinics.people[1]))]
    with pytest.raises(vs.RoundError, match="endorsements of 2"):
        vs.certify(clinics.round, second, words)
    words += clinics.endorse(second, [2])
    two = vs.certify(clinics.round, second, words)
    assert one.sum != two.sum


# The aggregator.


def test_a_manifest_for_each_member(clinics):
    """Endorsements of different sums do not go together, so no member answers any of them."""
    totals = [clinics.total(clients=kept) for kept in ([0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3])]
    words = [clinics.endorse(total, [k])[0] for k, total in enumerate(totals)]
    for total in totals:
        with pytest.raises(vs.RoundError):
            vs.certify(clinics.round, total, words)
        own = [word for word in words if word.sum == total_sum(total, clinics.people[0])]
        with pytest.raises(vs.RoundError, match="endorsements of 3"):
            vs.certify(clinics.round, total, own * 3)


def test_answers_go_with_their_certificate(clinics, tmp_path):
    total = clinics.total()
    certificate = clinics.certify(total)
    answers = clinics.answers(certificate, total)
    other_round = clinics.new_round()
    other = clinics.total(other_round)
    other_certificate = clinics.certify(other)
    with pytest.raises(vs.RoundError):
        vs.combine(other_round, other_certificate, answers, other, group=clinics.group)
    with pytest.raises(vs.RoundError, match="3 of 4 members"):
        clinics.combine(certificate, answers[:2], total)
    with pytest.raises(vs.RoundError, match="3 of 4 members"):
        clinics.combine(certificate, answers[:2] * 4, total)
    with pytest.raises(vs.RoundError):
        clinics.members[0].answer(
            clinics.round, other_certificate, vs.request_for(total, clinics.people[0])
        )
    with pytest.raises(vs.RoundError):
        clinics.members[0].answer(
            other_round, other_certificate, vs.request_for(total, clinics.people[0])
        )


def test_a_request_for_somebody_else(clinics):
    total = clinics.total()
    with pytest.raises(vs.KeyMismatchError):
        clinics.members[0].endorse(clinics.round, vs.request_for(total, clinics.people[1]))
    with pytest.raises(vs.KeyMismatchError, match="not one of the 4 members"):
        vs.request_for(total, clinics.server)


def test_too_few_uploads(clinics):
    """The round's number and the member's own both hold; the aggregator cannot go below 2."""
    with pytest.raises(vs.RoundError, match="at least"):
        clinics.total(clients=[1])
    strict = vs.Member(clinics.people[0], clinics.folder / "0.ledger", min_clients=4)
    total = clinics.total(clients=[0, 1, 2])
    with pytest.raises(vs.RoundError, match="fewer than 4"):
        strict.endorse(clinics.round, vs.request_for(total, clinics.people[0]))


def test_the_aggregator_learns_no_sum(clinics):
    """Answers open for the group alone: neither a member nor a server reads them."""
    total = clinics.total()
    certificate = clinics.certify(total)
    answers = clinics.answers(certificate, total)
    stranger = vs.Group.create(clinics.people[0], clinics.roster, "a test")
    with pytest.raises(vs.KeyMismatchError):
        vs.combine(clinics.round, certificate, answers, total, group=stranger)
    for person in (*clinics.people, clinics.server):
        with pytest.raises(vs.RoundError, match="missing or cannot be read"):
            _core.combine(
                certificate,
                answers,
                lambda key, info, sealed, person=person: person.open(info, sealed),
                vs.Roster.verify,
            )


def test_changed_heads(clinics):
    """A nonce or a clip count that is changed takes the client's signature with it."""
    uploads = clinics.uploads()
    data = bytearray(uploads[0].to_bytes())
    head = 16 + 32
    for at in (head + 1, head + 9 + 4 + 64 + 3):  # clip count, nonce
        spoilt = bytearray(data)
        spoilt[at] ^= 1
        mended = reseal(spoilt)
        with pytest.raises((vs.RoundError, vs.WireFormatError)):
            vs.weighted_sum(
                clinics.round, [vs.Upload.from_bytes(mended, clinics.round), *uploads[1:]]
            )


def reseal(data):
    """Mend the checksum."""
    body = bytes(data[16:-4])
    before, after = _core._frame_around(int.from_bytes(data[6:8], "little"), [body])
    return before + body + after


# Tags.


def changed_sums(total, rnd):
    """The sum with other blocks, under the same manifest."""
    blocks = np.frombuffer(total.blocks, np.uint8)
    data = bytearray(total.to_bytes())
    start = len(data) - 4 - blocks.size

    def made(change):
        spoilt = bytearray(data)
        part = np.frombuffer(spoilt, np.uint8)[start:-4]
        changed = change(part.copy())
        spoilt[start : len(data) - 4] = changed.tobytes()
        return vs.Aggregate.from_bytes(reseal(spoilt), rnd)

    rng = np.random.default_rng(5)

    def flipped(count):
        def change(part):
            at = rng.choice(part.size, count, replace=False)
            part[at] ^= rng.integers(1, 256, count).astype(np.uint8)
            return part

        return change

    yield "a byte", made(flipped(1))
    yield "two bytes", made(flipped(2))
    yield "many bytes", made(flipped(100))
    yield "all zeros", made(lambda part: np.zeros_like(part))
    yield "doubled", made(lambda part: part + part)
    yield "reversed", made(lambda part: part[::-1])


@pytest.mark.parametrize("profile", ["n2048", "n4096", "n8192"])
def test_changed_blocks_are_refused(tmp_path, profile):
    """Whatever an aggregator makes of the blocks: one error, and no number."""
    clinics = Clinics(tmp_path, 3, size=30_000, plan={"profile": profile})
    total = clinics.total()
    key = opened(clinics, total)
    for what, spoilt in changed_sums(total, clinics.round):
        out = np.full(clinics.size, 7, np.float32)
        with pytest.raises(vs.TamperedSumError):
            clinics.decrypt(key, spoilt, out=out)
        assert not np.any(out * (out != 7)), what
    clinics.decrypt(key, total)


@pytest.mark.parametrize("profile", ["n2048", "n4096", "n8192"])
def test_blocks_of_other_uploads(tmp_path, profile):
    """The blocks of a sum with an upload replaced, missing or encrypted anew: refused.

    Such a change is well formed: h is linear, so only the clients' masks find it.
    """
    clinics = Clinics(tmp_path, 3, size=9000, plan={"profile": profile})
    uploads = clinics.uploads()
    total = vs.weighted_sum(clinics.round, uploads)
    key = opened(clinics, total)
    zeros = clinics.upload(0, np.zeros(clinics.size, np.float32))
    again = clinics.uploads(clients=[1])[0]
    for others in ([zeros, *uploads[1:]], uploads[:2], [uploads[0], again, uploads[2]]):
        blocks = vs.weighted_sum(clinics.round, others).blocks
        data = bytearray(total.to_bytes())
        data[len(data) - 4 - len(blocks) : len(data) - 4] = blocks
        forged = vs.Aggregate.from_bytes(reseal(data), clinics.round)
        with pytest.raises(vs.TamperedSumError):
            clinics.decrypt(key, forged)
    clinics.decrypt(key, total)


def test_a_server_that_reads_certifies_the_blocks(tmp_path):
    """Without a tag, other blocks under the same manifest are refused by the digest."""
    clinics = Clinics(tmp_path, 3, size=9000, group_reads=False)
    total = clinics.total()
    key = opened(clinics, total)
    for _, spoilt in changed_sums(total, clinics.round):
        with pytest.raises(vs.TamperedSumError):
            clinics.decrypt(key, spoilt)
    found = clinics.decrypt(key, total, average=False)
    assert np.abs(found - clinics.updates().sum(axis=0)).max() <= 1.5 * STEP + 1e-6


def test_one_key_holder_with_tags(tmp_path):
    """The tag does not need a committee: the key holder gets it sealed beside the seed."""
    clinics = Clinics(tmp_path, 3, size=9000)
    secret, public = vs.keygen(vs.Plan(clients=3))
    rnd = vs.Round(
        vs.Plan(clients=3),
        public,
        size=clinics.size,
        roster=clinics.roster,
        group=clinics.group.commitment,
    )
    total = clinics.total(rnd)
    key = vs.SumKey.from_bytes(vs.open_sum(secret, rnd, total).to_bytes(), rnd)
    assert (
        np.abs(clinics.decrypt(key, total, average=False) - clinics.updates().sum(axis=0)).max()
        <= 1.5 * STEP + 1e-6
    )
    for _, spoilt in changed_sums(total, rnd):
        with pytest.raises(vs.TamperedSumError):
            clinics.decrypt(key, spoilt)
    with pytest.raises(vs.RoundError, match="tag"):
        vs.decrypt(key, total)


# Clients.


def test_a_client_that_seals_to_one_member_something_else(clinics):
    """A sealed share that a member cannot open is reported, and nothing is signed."""
    uploads = clinics.uploads()
    bad = crafted(clinics, 3, {1: b"\x00" * 10})
    total = vs.weighted_sum(clinics.round, [*uploads[:3], bad])
    for member in (0, 2, 3):
        assert (
            clinics.members[member].check(
                clinics.round, vs.request_for(total, clinics.people[member])
            )
            == []
        )
    request = vs.request_for(total, clinics.people[1])
    assert clinics.members[1].check(clinics.round, request) == [3]
    with pytest.raises(vs.BadSharesError) as found:
        clinics.members[1].endorse(clinics.round, request)
    assert found.value.clients == (3,)
    # Nothing was signed: the sum without this client can be endorsed.
    clinics.endorse(vs.weighted_sum(clinics.round, uploads[:3]))


def crafted(clinics, client, replaced):
    """An upload of which the client seals something else than its share to some members."""
    from veilsum.keys import sealing

    rnd, person = clinics.round, clinics.people[client]
    seen = []

    def seal(key, info, secret):
        member = len(seen)
        seen.append(member)
        given = replaced.get(member)
        if given is None:
            return sealing.seal(key, info, secret)
        return sealing.seal(key, b"another context" + info, secret)

    upload = _core.encrypt(
        rnd,
        [clinics.updates()[client]],
        ["float32"],
        client=client,
        tag_key=clinics.group.tag_key_for(rnd),
        seal=seal,
    )
    upload.attach_signature(client, person.sign(upload.signing_payload(rnd, client)))
    return upload


def test_an_upload_is_its_clients_own(clinics):
    """Client 1 cannot send client 0's upload as its own, nor keep its shares under another head."""
    theirs = clinics.uploads()[0]
    stolen = vs.Upload.from_bytes(theirs.to_bytes(), clinics.round)
    me = clinics.people[1]
    stolen.attach_signature(1, me.sign(stolen.signing_payload(clinics.round, 1)))
    total = vs.weighted_sum(clinics.round, [stolen, *clinics.uploads(clients=[2, 3])])
    for member in clinics.members:
        request = vs.request_for(total, member.identity)
        assert member.check(clinics.round, request) == [1]


def test_shares_of_another_round(clinics):
    other = clinics.new_round()
    theirs = clinics.uploads(other)[0].to_bytes()
    with pytest.raises(vs.RoundError, match="belongs to round"):
        vs.Upload.from_bytes(theirs, clinics.round)


# Members that answer wrongly.


def wrong_answer(clinics, certificate, total, member, change):
    """A member's answer to which it adds `change`, signed as it should be."""
    from veilsum.keys.sealing import seal

    person = clinics.people[member]
    request = vs.request_for(total, person)
    shares = _core.open_shares(request, lambda key, info, sealed: person.open(info, sealed))
    rnd = total.round

    def seal_changed(key, info, secret):
        spoilt = bytearray(secret)
        for at, value in change.items():
            spoilt[at] ^= value
        return seal(key, info, bytes(spoilt))

    sealed = _core.seal_answer(shares, member, seal_changed)
    payload = _core.answer_payload(rnd, member, certificate.sum, sealed)
    return _core.Answer(rnd, member, certificate.sum, sealed, person.sign(payload))


@pytest.mark.parametrize("count", [4, 5, 7])
def test_wrong_answers(tmp_path, count):
    """One liar: the sum stands with t + 1 others' help, and is refused without; never a number."""
    clinics = Clinics(tmp_path, count, count // 2 + 1, size=60)
    total = clinics.total()
    exact = clinics.updates().sum(axis=0)
    certificate = clinics.certify(total)
    honest = clinics.answers(certificate, total)
    # The lowest bit of a coefficient stays within every bound: only the tag tells.
    for change in ({5: 1}, {0: 255, 1: 255, 9: 3}):
        liar = wrong_answer(clinics, certificate, total, 0, change)
        key = clinics.combine(certificate, [liar, *honest[1:]], total)
        found = clinics.decrypt(key, total, average=False)
        assert np.abs(found - exact).max() <= count * STEP
        threshold = count // 2 + 1
        # Of an answer that is none at all, the error says whose it is.
        with pytest.raises((vs.TamperedSumError, vs.RoundError)):
            key = clinics.combine(certificate, [liar, *honest[1:threshold]], total)
            clinics.decrypt(key, total)


def test_combining_asks_for_each_signature_once(clinics, monkeypatch):
    """Whether an answer counts is asked before combining, which checks all that it is given."""
    total = clinics.total()
    certificate = clinics.certify(total)
    answers = clinics.answers(certificate, total)
    asked = []

    def counting(public, signature, message):
        asked.append((bytes(public), bytes(signature), bytes(message)))
        return real(public, signature, message)

    real = vs.Roster.verify
    monkeypatch.setattr(vs.Roster, "verify", staticmethod(counting))
    key = clinics.combine(certificate, answers, total)
    assert len(asked) == len(set(asked)) == len(answers)
    # What was found true of one is said of no other: of a wrong signature it is asked again.
    asked.clear()
    spoilt = vs.Answer.from_bytes(reseal(flipped_signature(answers[0].to_bytes())), clinics.round)
    others = [spoilt, *answers]
    assert clinics.combine(certificate, others, total).to_bytes() == key.to_bytes()
    assert len(asked) == len(set(asked)) == len(others)
    with pytest.raises(vs.RoundError, match="members 0, 3 are missing"):
        clinics.combine(certificate, [answers[1], answers[2], spoilt], total)


def flipped_signature(data):
    spoilt = bytearray(data)
    spoilt[16 + 32 + 32 + 4 + 5] ^= 1  # after the header, round, sum and member
    return spoilt


# Sizes.


def test_bytes(tmp_path):
    """DESIGN section 9, and the default model of `veilsum train`."""
    clinics = Clinics(tmp_path, 4, size=35_585)
    upload = clinics.uploads(clients=[0])[0]
    assert upload.nbytes <= 110_000
    total = clinics.total()
    certificate = clinics.certify(total)
    answers = clinics.answers(certificate, total, [0, 1, 3])
    download = len(total.without_shares().to_bytes()) + len(certificate.to_bytes())
    assert download + sum(answer.nbytes for answer in answers) <= 130_000
    ten = people(10)
    rnd = vs.Round(
        vs.Plan(clients=10),
        vs.Committee(ten[:2] + ten[3:5] + ten[6:8]),
        size=1000,
        roster=vs.Roster(ten),
        group=clinics.group.commitment,
    )
    more = vs.Round(
        vs.Plan(clients=10),
        vs.Committee(ten[:2] + ten[3:5] + ten[6:7]),
        size=1000,
        roster=vs.Roster(ten),
        group=clinics.group.commitment,
    )
    group = clinics.group
    sizes = []
    for one in (rnd, more):
        made = _core.encrypt(
            one,
            [np.zeros(1000, np.float32)],
            ["float32"],
            client=0,
            tag_key=group.tag_key_for(one),
            seal=lambda key, info, secret: bytes(1136 + len(secret)),
        )
        sizes.append(made.nbytes)
    assert sizes[0] - sizes[1] <= 3_600


def test_progress_sees_no_number_before_the_tag_holds(tmp_path):
    """Whoever watches `out` while a tagged sum is decrypted sees what was there before."""
    clinics = Clinics(tmp_path, 2, size=3000)
    total = clinics.total()
    key = opened(clinics, total)
    out = np.full(clinics.size, 7, np.float32)
    seen = []
    found = clinics.decrypt(key, total, out=out, progress=lambda *_: seen.append(out.copy()))
    assert found is out
    assert seen
    assert all(np.all(one == 7) for one in seen)
    assert not np.any(out == 7)
