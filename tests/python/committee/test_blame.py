"""Spoiled rounds: who is named by what members say of single uploads, who never is, and what the
next sum of a training must hold."""

from __future__ import annotations

import itertools
import json
import struct

import pytest

import veilsum as vs
from committee.parties import Clinics
from oracle import blame as oracle
from oracle import shamir, sharing, tag, wire
from oracle.committee import read_request
from veilsum import _core
from veilsum.cli import main
from veilsum.keys import sealing


def prime_of(clinics):
    return shamir.sharing_prime(clinics.count, clinics.count)


def with_element(clinics, packed, change, place=0):
    """The bytes of a share with one element of its row changed."""
    p = prime_of(clinics)
    bits = p.bit_length()
    row = int.from_bytes(packed[:bits], "little")  # eight fields
    fields = [(row >> bits * i) % (1 << bits) for i in range(8)]
    fields[place] = (fields[place] + change) % p
    row = sum(field << bits * i for i, field in enumerate(fields))
    return row.to_bytes(bits, "little") + packed[bits:]


def crafted(clinics, client, bad, rnd=None, sealed_badly=()):
    """An upload whose shares for the members of `bad` have one element changed by as much."""
    rnd, person, members = rnd or clinics.round, clinics.people[client], iter(range(clinics.count))

    def seal(key, info, secret):
        member = next(members)
        if member in sealed_badly:
            info = b"another context" + info
        return sealing.seal(key, info, with_element(clinics, bytes(secret), bad.get(member, 0)))

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


def total_with(clinics, bad, rnd=None, **more):
    uploads = clinics.uploads(rnd)
    uploads[bad[0]] = crafted(clinics, *bad, rnd=rnd, **more)
    return vs.weighted_sum(rnd or clinics.round, uploads)


def opened(clinics, certificate, total, members=None):
    chosen = range(clinics.count) if members is None else members
    return [
        clinics.members[k].open_challenge(
            total.round, certificate, vs.request_for(total, clinics.people[k])
        )
        for k in chosen
    ]


def said(clinics, certificate, member, words):
    """What a member signs, whatever it is."""
    rnd = certificate.round
    payload = _core.challenge_payload(rnd, member, certificate.sum, words)
    signature = clinics.people[member].sign(payload)
    return vs.ChallengeAnswer(rnd, member, certificate.sum, words, signature)


def lied(clinics, certificate, answer, client, change=1, place=0):
    """The answer with one word of a client's combinations changed."""
    layout = layout_of(clinics)
    words = bytearray(answer.words)
    size = oracle.combinations_bytes(layout)
    at = size * certificate.clients.index(client) + 1 + 8 * place
    p = layout.prime if place < layout.masks else layout.tag_prime
    (word,) = struct.unpack_from("<Q", words, at)
    struct.pack_into("<Q", words, at, (word + change) % p)
    return said(clinics, certificate, answer.member, bytes(words))


def layout_of(clinics):
    wide = tag.prime_of(clinics.count * (2**16 - 1) + 1) if clinics.group_reads else None
    return sharing.Layout(clinics.count, clinics.committee.threshold, prime_of(clinics), 2048, wide)


def wrong_answer(clinics, certificate, total, member):
    """A member's answer with one element changed, signed as it should be."""
    person = clinics.people[member]
    request = vs.request_for(total, person)
    shares = _core.open_shares(request, lambda key, info, sealed: person.open(info, sealed))

    def seal(key, info, secret):
        return sealing.seal(key, info, with_element(clinics, bytes(secret), 1))

    sealed = _core.seal_answer(shares, member, seal)
    payload = _core.answer_payload(total.round, member, certificate.sum, sealed)
    return _core.Answer(total.round, member, certificate.sum, sealed, person.sign(payload))


# Whom a verdict names.


@pytest.mark.parametrize("group_reads", [True, False])
def test_nobody_is_named_where_all_is_consistent(tmp_path, group_reads):
    clinics = Clinics(tmp_path, 4, size=40, group_reads=group_reads)
    total = clinics.total()
    certificate = clinics.certify(total)
    answers = clinics.answers(certificate, total)
    words = opened(clinics, certificate, total)
    verdict = vs.blame(clinics.round, certificate, words, answers, **clinics.reads)
    assert (verdict.clients, verdict.members, verdict.suspects) == ([], [], [])
    assert "so do the answers" in verdict.sentence
    assert "cannot be told from a change by the aggregator" in verdict.sentence
    few = vs.blame(clinics.round, certificate, words[:3])
    assert "only more than 3 can contradict" in few.sentence


@pytest.mark.parametrize(
    ("count", "threshold", "bad", "convicted"),
    [
        (4, 3, 1, False),  # n - t = f: nobody is convicted, and nobody's place is known
        (5, 3, 1, False),
        (5, 3, 2, True),
        (6, 4, 1, False),
        (6, 4, 2, True),
        (7, 4, 1, False),
        (7, 4, 2, True),
        (7, 4, 7, True),
        (7, 5, 2, False),
    ],
)
def test_a_client_that_deals_bad_shares(tmp_path, count, threshold, bad, convicted):
    """To f members it looks like them lying; to more it is convicted where n - t > f."""
    clinics = Clinics(tmp_path, count, threshold, size=40)
    # Not a polynomial's values: one member's share moved by 1, others by more.
    moved = {count - 1 - k: 1 + k**5 for k in range(bad)}
    total = total_with(clinics, (2, moved))
    certificate = clinics.certify(total)
    verdict = vs.blame(clinics.round, certificate, opened(clinics, certificate, total))
    assert verdict.members == []
    if convicted:
        assert (verdict.clients, verdict.suspects) == ([2], [])
        assert "Convicted: client 2" in verdict.sentence
        return
    assert verdict.clients == []
    radius = (count - threshold) // 2
    named = sorted(moved) if bad <= radius else range(count)
    assert verdict.suspects == [(2, k) for k in named]
    assert "Client 2 dealt bad shares, or member" in verdict.sentence


def test_a_round_that_a_client_spoils(tmp_path):
    """Shares that are none of a sharing: no sum opens, and the client is convicted."""
    clinics = Clinics(tmp_path, 5, 3, size=40)
    total = total_with(clinics, (1, {k: (k * k * k * k + 1) % 97 for k in range(5)}))
    certificate = clinics.certify(total)
    answers = clinics.answers(certificate, total)
    with pytest.raises(vs.TamperedSumError):
        clinics.combine(certificate, answers, total)
    words = opened(clinics, certificate, total)
    verdict = vs.blame(clinics.round, certificate, words, answers, **clinics.reads)
    assert (verdict.clients, verdict.members, verdict.suspects) == ([1], [], [])


@pytest.mark.parametrize("place", [0, -1])
def test_a_member_that_lies_of_an_honest_client(tmp_path, place):
    """Its word alone convicts nobody: the two are a pair, in the tag's words too."""
    clinics = Clinics(tmp_path, 5, 3, size=40)
    total = clinics.total()
    certificate = clinics.certify(total)
    words = opened(clinics, certificate, total)
    layout = layout_of(clinics)
    at = place % (layout.masks + 2)
    words[3] = lied(clinics, certificate, words[3], 4, place=at)
    verdict = vs.blame(clinics.round, certificate, words)
    assert (verdict.clients, verdict.suspects) == ([], [(4, 3)])


def test_a_share_that_cannot_be_opened(tmp_path):
    """Counts as a departure: alone it is a pair, with one more the client is convicted."""
    clinics = Clinics(tmp_path, 5, 3, size=40)
    for bad, expected in (({}, ([], [(2, 4)])), ({3: 1}, ([2], []))):
        rnd = clinics.new_round()
        total = total_with(clinics, (2, bad), rnd, sealed_badly=[4])
        with pytest.raises(vs.BadSharesError):
            clinics.endorse(total, [4])
        certificate = clinics.certify(total, [0, 1, 2])
        words = opened(clinics, certificate, total)
        verdict = vs.blame(rnd, certificate, words)
        assert (verdict.clients, verdict.suspects) == expected


@pytest.mark.parametrize(("count", "threshold"), [(5, 3), (7, 4), (4, 3), (7, 5)])
def test_a_member_that_answers_wrongly(tmp_path, count, threshold):
    """Convicted where t + f others agree; never anybody else. Only a reader sees it."""
    clinics = Clinics(tmp_path, count, threshold, size=40)
    total = clinics.total()
    certificate = clinics.certify(total)
    words = opened(clinics, certificate, total)
    honest = clinics.answers(certificate, total)
    f = oracle.assumed_dishonest(count, threshold)
    for liar in (0, count - 1):
        answers = list(honest)
        answers[liar] = wrong_answer(clinics, certificate, total, liar)
        verdict = vs.blame(clinics.round, certificate, words, answers, **clinics.reads)
        assert (verdict.clients, verdict.suspects) == ([], [])
        if count - 1 >= threshold + f:
            assert verdict.members == [liar]
            assert f"Convicted: member {liar}" in verdict.sentence
        else:
            assert verdict.members == []
            assert "whose is wrong cannot be told" in verdict.sentence
        assert vs.blame(clinics.round, certificate, words).members == []
        # A member whose combinations do not fit is not said to have answered wrongly.
        moved = list(words)
        moved[liar] = lied(clinics, certificate, words[liar], 0)
        both = vs.blame(clinics.round, certificate, moved, answers, **clinics.reads)
        assert both.members == []


def test_an_answer_that_is_none(tmp_path):
    """Signed, and sealed to nobody: its member is convicted."""
    clinics = Clinics(tmp_path, 4, size=40)
    total = clinics.total()
    certificate = clinics.certify(total)
    answers = clinics.answers(certificate, total)
    sealed = bytes(len(answers[1].to_bytes()) - 20 - 68 - 64)
    payload = _core.answer_payload(clinics.round, 1, certificate.sum, sealed)
    answers[1] = _core.Answer(
        clinics.round, 1, certificate.sum, sealed, clinics.people[1].sign(payload)
    )
    verdict = vs.blame(clinics.round, certificate, [], answers, **clinics.reads)
    assert verdict.members == [1]


@pytest.mark.parametrize(("count", "threshold"), [(3, 2), (4, 3), (5, 3), (5, 4)])
def test_verdicts_against_the_oracle(tmp_path, count, threshold):
    """Every pattern of honest, lying and conspiring members, and of who is silent."""
    clinics = Clinics(tmp_path, count, threshold, size=10)
    total = clinics.total()
    certificate = clinics.certify(total)
    layout = layout_of(clinics)
    honest = opened(clinics, certificate, total)
    f = oracle.assumed_dishonest(count, threshold)

    def other_sharing(member):
        """The difference to another sharing, which the first t - 1 members share with this."""
        value = 1
        for point in range(1, threshold):
            value *= member + 1 - point
        return value

    versions = []
    for k, one in enumerate(honest):
        made = [one, lied(clinics, certificate, one, 1, 1 + k**4, place=1)]
        if k >= threshold - 1:
            made.append(lied(clinics, certificate, one, 1, other_sharing(k)))
        versions.append(made)
    place, convicted = certificate.clients.index(1), 0
    for pattern in itertools.product(*versions):
        for silent in itertools.chain([()], itertools.combinations(range(count), 1)):
            given = [one for one in pattern if one.member not in silent]
            verdict = vs.blame(clinics.round, certificate, given[::-1])
            members = [one.member for one in given]
            words = [oracle.read_words(layout, one.words)[place] for one in given]
            primes = (layout.prime, layout.tag_prime)
            found = oracle.judge(threshold, f, members, words, primes)
            assert verdict.clients == ([1] if found.convicted else [])
            assert verdict.suspects == [(1, k) for k in found.departing]
            liars = sum(one not in honest for one in given)
            assert not verdict.clients or liars > f  # the client is honest here
            convicted += found.convicted
    assert bool(convicted) == (count - threshold > f)


def test_what_does_not_hold_counts_as_missing(tmp_path):
    """Of another sum, forged, in another's name; and of a member that says two things the first."""
    clinics = Clinics(tmp_path, 5, 3, size=40)
    total = clinics.total()
    certificate = clinics.certify(total)
    words = opened(clinics, certificate, total)
    other = lied(clinics, certificate, words[1], 0)
    forged = vs.ChallengeAnswer(clinics.round, 1, certificate.sum, other.words, bytes(64))
    theirs = vs.ChallengeAnswer(
        clinics.round, 0, certificate.sum, other.words, clinics.people[1].sign(b"x")
    )
    short = said(clinics, certificate, 1, other.words[: len(other.words) // 5])
    verdict = vs.blame(clinics.round, certificate, [forged, theirs, short, *words, other])
    assert verdict.suspects == []
    assert [one.member for one in verdict.challenge_answers] == [0, 1, 2, 3, 4]
    assert vs.blame(clinics.round, certificate, [other, *words]).suspects == [(0, 1)]
    with pytest.raises(vs.RoundError, match="belongs to round"):
        vs.blame(clinics.new_round(), certificate, words)
    with pytest.raises(vs.ParameterError, match="challenge answer 0"):
        vs.blame(clinics.round, certificate, [certificate])
    with pytest.raises(vs.RoundError, match="group"):
        vs.blame(clinics.round, certificate, words, clinics.answers(certificate, total))


# Challenges.


def test_combinations_are_the_oracles(tmp_path):
    """What a member says is what docs/wire-format.md says, from its shares alone."""
    clinics = Clinics(tmp_path, 4, size=40)
    uploads = [crafted(clinics, k, {}) for k in (3, 0, 2)]  # in no order
    total = vs.weighted_sum(clinics.round, uploads)
    certificate = clinics.certify(total)
    layout = layout_of(clinics)
    request = vs.request_for(total, clinics.people[1])
    dealt = []

    def open_share(key, info, sealed):
        dealt.append(clinics.people[1].open(info, sealed))
        return dealt[-1]

    words = _core.open_challenges(request, open_share)
    assert words == opened(clinics, certificate, total, [1])[0].words
    rnd = wire.read_round(clinics.round.to_bytes())
    digest = read_request(request.to_bytes(), rnd).total.manifest_digest()
    expected = b"".join(
        oracle.combine(
            layout, oracle.challenge(digest, client), sharing.read_share(layout, share)
        ).to_bytes()
        for client, share in zip(sorted(certificate.clients), dealt, strict=True)
    )
    assert words == expected


def test_asked_again_a_member_opens_the_same(tmp_path):
    clinics = Clinics(tmp_path, 4, size=40)
    total = clinics.total()
    certificate = clinics.certify(total)
    for k in (1, 2):  # the second signs with ML-DSA too, whose signatures differ
        (first,) = opened(clinics, certificate, total, [k])
        again = vs.Member(clinics.people[k], tmp_path / f"{k}.ledger")
        request = vs.request_for(total, clinics.people[k])
        found = again.open_challenge(clinics.round, certificate, request)
        assert found.to_bytes() == first.to_bytes()


def test_a_challenge_of_another_manifest(tmp_path):
    """One challenge an upload: by an endorsement or by the challenge, and after a restart."""
    clinics = Clinics(tmp_path, 4, size=40)
    total, uploads = clinics.total(), clinics.uploads()
    certificate = clinics.certify(total, [0, 1, 2])
    fewer = vs.weighted_sum(clinics.round, uploads[:3])
    (tmp_path / "clones").mkdir()
    clones = Clinics(tmp_path / "clones", 4, size=40)
    theirs = [
        clones.members[k].endorse(clinics.round, vs.request_for(fewer, clinics.people[k]))
        for k in (0, 1, 2)
    ]
    second = vs.certify(clinics.round, fewer, theirs)
    request = vs.request_for(fewer, clinics.people[1])
    with pytest.raises(vs.RoundError, match="endorsed"):
        clinics.members[1].open_challenge(clinics.round, second, request)
    # Member 3 endorsed nothing: the first that it is shown is the only one.
    opened(clinics, certificate, total, [3])
    for member in (clinics.members[3], vs.Member(clinics.people[3], tmp_path / "3.ledger")):
        request = vs.request_for(fewer, clinics.people[3])
        with pytest.raises(vs.RoundError, match="endorsed"):
            member.open_challenge(clinics.round, second, request)
        with pytest.raises(vs.RoundError, match="endorsed"):
            member.endorse(clinics.round, request)
    with pytest.raises(vs.RoundError, match="another sum"):
        clinics.members[3].open_challenge(clinics.round, certificate, request)
    with pytest.raises(vs.KeyMismatchError):
        clinics.members[0].open_challenge(
            clinics.round, certificate, vs.request_for(total, clinics.people[1])
        )


def distributions(challenges, p=5):
    """Of what t - 1 = 1 member of three and the public see, for each secret: exact."""
    out = {secret: {} for secret in range(p)}
    for secret, slope, mask, mask_slope in itertools.product(range(p), repeat=4):
        shares = [(secret + slope * x) % p for x in (1, 2, 3)]
        masks = [(mask + mask_slope * x) % p for x in (1, 2, 3)]
        told = [(c * s + m) % p for c in challenges for s, m in zip(shares, masks, strict=True)]
        view = (shares[1], masks[1], *told)
        out[secret][view] = out[secret].get(view, 0) + 1
    return out


def test_combinations_say_nothing_of_the_secret():
    """Over a small field, all views of a member and of everybody's combinations: the same for every
    secret. Two challenges of one upload would tell it."""
    for challenge in range(5):
        seen = distributions([challenge])
        assert all(seen[secret] == seen[0] for secret in seen)
    two = distributions([1, 2])
    assert not set(two[0]) & set(two[1])


# Bytes.


def test_bytes_of_a_verdict(tmp_path):
    """Who reads it comes to the same clients and suspects; who answered wrongly is not in it."""
    clinics = Clinics(tmp_path, 5, 3, size=40)
    total = total_with(clinics, (2, {3: 1}))
    certificate = clinics.certify(total)
    words = opened(clinics, certificate, total)
    words = [vs.ChallengeAnswer.from_bytes(one.to_bytes(), clinics.round) for one in words]
    answers = clinics.answers(certificate, total)
    verdict = vs.blame(clinics.round, certificate, words, answers, **clinics.reads)
    verdict.save(tmp_path / "verdict.vs")
    read = vs.Verdict.load(tmp_path / "verdict.vs", clinics.round)
    assert (read.clients, read.suspects) == (verdict.clients, verdict.suspects) == ([], [(2, 3)])
    assert read.members == []
    assert read.to_bytes() == verdict.to_bytes()
    assert read.sum == certificate.sum
    assert "suspects" in repr(read)
    data = verdict.to_bytes()
    step = max(1, len(data) // 200)
    for at in range(0, len(data), step):
        spoilt = bytearray(data)
        spoilt[at] ^= 1 << at % 8
        for candidate in (bytes(spoilt), wire.reseal(bytes(spoilt)), data[:at]):
            with pytest.raises(vs.VeilsumError):
                vs.Verdict.from_bytes(candidate, clinics.round)


# The next set.


def step_of(number, training=b"t" * 32, purpose="update"):
    return vs.TrainingStep(training, number, purpose, b"h" * 32)


def test_the_next_sum_holds_the_clients_of_a_lost_one(tmp_path):
    clinics = Clinics(tmp_path, 4, size=40)
    rnd = clinics.new_round(step=step_of(3))
    total = clinics.total(rnd)
    certificate = clinics.certify(total)
    clinics.answers(certificate, total)
    member, me = clinics.members[1], clinics.people[1]
    assert member.record_lost(rnd, certificate)
    assert not member.record_lost(rnd, certificate)
    later = clinics.new_round(step=step_of(4))
    fewer = clinics.total(later, [0, 1, 2])
    missing = clinics.people[3].public.id.hex()[:16]
    for again in (member, vs.Member(me, tmp_path / "1.ledger")):
        for other in (fewer, clinics.total(clinics.new_round(step=step_of(5)), [1, 2])):
            with pytest.raises(vs.RoundError, match=missing):
                again.endorse(other.round, vs.request_for(other, me))
    # Another training, and no training, are not bound by it.
    for step in (step_of(4, b"u" * 32), None):
        free = clinics.new_round(step=step) if step else clinics.new_round()
        member.endorse(free, vs.request_for(clinics.total(free, [0, 1, 2]), me))
    # Endorsed, but not answered: others still have to hold all.
    whole = clinics.total(later)
    certified = clinics.certify(whole)
    after = clinics.new_round(step=step_of(6))
    request = vs.request_for(clinics.total(after, [0, 1, 2]), me)
    with pytest.raises(vs.RoundError, match=missing):
        member.endorse(after, request)
    clinics.answers(certified, whole, [1])
    vs.Member(me, tmp_path / "1.ledger").endorse(after, request)


def test_a_lost_round_is_over(tmp_path):
    """Its answer is given again, and its challenges are opened; nothing new is said of it."""
    clinics = Clinics(tmp_path, 4, size=40)
    rnd = clinics.new_round(step=step_of(3))
    total = clinics.total(rnd)
    certificate = clinics.certify(total)
    first = clinics.answers(certificate, total, [0])
    for k in range(4):
        clinics.members[k].record_lost(rnd, certificate)
    assert clinics.answers(certificate, total, [0])[0].to_bytes() == first[0].to_bytes()
    for k in (1, 2):
        with pytest.raises(vs.RoundError, match="was lost"):
            clinics.answers(certificate, total, [k])
    assert len(opened(clinics, certificate, total)) == 4
    # Lost before the member endorsed it.
    other = clinics.new_round(step=step_of(4))
    total = clinics.total(other)
    certificate = clinics.certify(total, [0, 1, 2])
    clinics.members[3].record_lost(other, certificate)
    with pytest.raises(vs.RoundError, match="was lost"):
        clinics.endorse(total, [3])
    opened(clinics, certificate, total, [3])
    with pytest.raises(vs.RoundError, match="was lost"):
        clinics.answers(certificate, total, [3])


def test_convicted_clients_may_be_left_out(tmp_path):
    """By a verdict on this very sum, also one that comes later; suspects stay."""
    clinics = Clinics(tmp_path, 5, 3, size=40)
    rnd = clinics.new_round(step=step_of(3))
    total = total_with(clinics, (2, {k: k**4 + 1 for k in range(5)}), rnd)
    certificate = clinics.certify(total)
    words = opened(clinics, certificate, total)
    verdict = vs.Verdict.from_bytes(vs.blame(rnd, certificate, words).to_bytes(), rnd)
    assert verdict.clients == [2]
    later = clinics.new_round(step=step_of(4))
    without = clinics.total(later, [0, 1, 3, 4])
    less = clinics.total(later, [0, 1, 3])
    one, two = clinics.members[0], clinics.members[1]
    one.record_lost(rnd, certificate, verdict)
    two.record_lost(rnd, certificate)
    with pytest.raises(vs.RoundError, match=clinics.people[2].public.id.hex()[:16]):
        clinics.endorse(without, [1])
    assert two.record_lost(rnd, certificate, verdict)
    assert not two.record_lost(rnd, certificate)
    for k in (0, 1):
        with pytest.raises(vs.RoundError, match=clinics.people[4].public.id.hex()[:16]):
            clinics.endorse(less, [k])
        again = vs.Member(clinics.people[k], tmp_path / f"{k}.ledger")
        again.endorse(later, vs.request_for(without, clinics.people[k]))
    # A verdict on another sum.
    foreign = clinics.new_round(step=step_of(9))
    theirs = clinics.certify(clinics.total(foreign), [2, 3, 4])
    with pytest.raises(vs.RoundError, match="another sum"):
        clinics.members[2].record_lost(foreign, theirs, verdict)
    with pytest.raises(vs.ParameterError, match="verdict"):
        clinics.members[2].record_lost(foreign, theirs, words)


def test_a_sum_that_was_endorsed_before_the_loss(tmp_path):
    """Is not answered without the lost clients, and with them does not stand for the next one."""
    clinics = Clinics(tmp_path, 4, size=40)
    rounds = [clinics.new_round(step=step_of(k)) for k in range(4)]
    first = clinics.total(rounds[0])
    lost = clinics.certify(first)
    fewer, whole = clinics.total(rounds[1], [0, 1, 2]), clinics.total(rounds[2])
    early, also = clinics.certify(fewer), clinics.certify(whole)
    clinics.members[0].record_lost(rounds[0], lost)
    with pytest.raises(vs.RoundError, match="lacks 1 client"):
        clinics.answers(early, fewer, [0])
    clinics.answers(also, whole, [0])
    last = clinics.total(rounds[3], [0, 1, 2])
    with pytest.raises(vs.RoundError, match="lacks 1 client"):
        clinics.endorse(last, [0])


def test_the_command_notes_a_loss(tmp_path, capsys):
    """`veilsum lost`: what `record_lost` does, with a verdict that comes later, and twice."""
    clinics = Clinics(tmp_path, 5, 3, size=40)
    me = clinics.people[1]
    me.save(tmp_path / "1.key")
    for step, follows in (
        (step_of(3), "the next sum of its training holds clients"),
        (None, "it is no step of"),
    ):
        rnd = clinics.new_round(step=step) if step else clinics.new_round()
        total = total_with(clinics, (2, {k: k**4 + 1 for k in range(5)}), rnd)
        certificate = clinics.certify(total)
        verdict = vs.blame(rnd, certificate, opened(clinics, certificate, total))
        for name, thing in (("round", rnd), ("certificate", certificate), ("verdict", verdict)):
            (tmp_path / f"{name}.vs").write_bytes(thing.to_bytes())
        files = [str(tmp_path / f"{name}.vs") for name in ("round", "certificate")]
        command = ["lost", "--identity", str(tmp_path / "1.key"), *files]
        assert main(command) == 0
        assert follows in capsys.readouterr().out
        told = [*command, "--verdict", str(tmp_path / "verdict.vs"), "--json"]
        for noted in (True, False):
            assert main(told) == 0
            said = json.loads(capsys.readouterr().out)
            assert said == {"round": rnd.id.hex(), "noted": noted, "clients": [0, 1, 3, 4]}
    later = clinics.new_round(step=step_of(4))
    member = vs.Member(me, tmp_path / "1.ledger")
    with pytest.raises(vs.RoundError, match="lacks 1 client"):
        member.endorse(later, vs.request_for(clinics.total(later, [0, 2, 3, 4]), me))
    member.endorse(later, vs.request_for(clinics.total(later, [0, 1, 3, 4]), me))
    # A certificate of another round.
    assert main(["lost", "--identity", str(tmp_path / "1.key"), files[0], files[0]]) != 0
