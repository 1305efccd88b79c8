"""Attacks on committees' rounds, kept: what each would give, in plain integers where that can be
shown, and what refuses it.

Bytes are the oracle's, so an attacker here writes what it likes. Attacks on the blocks are in
cipher/test_sum_tag.py (tags) and test_opening.py (all of a committee's round).
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import veilsum as vs
from committee import crafting
from committee.parties import Clinics
from oracle import committee, scheme, shamir, sharing, wire
from veilsum import _core

STEP = 1 / 32767


@pytest.fixture
def clinics(tmp_path):
    return Clinics(tmp_path)


def sum_by_oracle(rnd, key, blocks, size, tagged=True):
    """Digits that a key, given as its coefficients, decrypts from blocks."""
    info = crafting.oracle_of(rnd)
    rows = [key[i : i + info.plan.degree] for i in range(0, len(key), info.plan.degree)]
    return scheme.decrypt_digits(info.plan, info.seed, info.split(blocks), rows, size, tagged)


def digits_of(values):
    """What a client quantises to at 16 bits and limit 1."""
    return [round(float(v) * 32767) + 32767 for v in values]


# --- a manifest for each member -------------------------------------------------------------------

#: The victim's weight in what members 1 to 4 are asked to sum; every other upload has weight 1.
VICTIMS_WEIGHTS = (9, 3, 1, 0)
#: Third differences over 3: any sharing of degree 2 goes to 0, the one so weighted to its secret.
FACTORS = (Fraction(1, 3), Fraction(-1), Fraction(1), Fraction(-1, 3))


def test_why_members_answer_certificates_alone(tmp_path):
    """Four honest answers, each to a manifest of its own, are together one client's key.

    n = 4, t = 3. Nobody lies but the aggregator, which needs no member, and reads the update.
    """
    clinics = Clinics(tmp_path, 4, 3, size=40, plan={"clients": 16})
    rnd, victim = clinics.round, 2
    info = crafting.oracle_of(rnd)
    p = info.sharing.prime
    uploads = clinics.uploads()
    heads = [crafting.head_of(rnd, upload) for upload in uploads]
    answers = []
    for member, weight in enumerate(VICTIMS_WEIGHTS):
        dealt = [crafting.opened_share(clinics, rnd, head, member).keys for head in heads]
        weights = [weight if client == victim else 1 for client in range(4)]
        answers.append(
            [sum(w * x for w, x in zip(weights, column, strict=True)) % p
             for column in zip(*dealt, strict=True)]
        )  # fmt: skip
    factors = [f.numerator * pow(f.denominator, -1, p) % p for f in FACTORS]
    key = [
        shamir.centred(sum(f * x for f, x in zip(factors, column, strict=True)) % p, p)
        for column in zip(*answers, strict=True)
    ]
    assert max(map(abs, key)) <= 8
    blocks = crafting.blocks_of(rnd, uploads[victim])
    stolen = sum_by_oracle(rnd, key, blocks, clinics.size)
    wanted = digits_of(clinics.updates()[victim])
    assert max(abs(a - b) for a, b in zip(stolen, wanted, strict=True)) <= 1

    # And so members do not answer it. Weights are refused at once, whoever is asked.
    asked = []
    for member, weight in enumerate(VICTIMS_WEIGHTS):
        entries = [
            (weight if client == victim else 1, head)
            for client, head in enumerate(heads)
            if client != victim or weight
        ]
        data = crafting.request_bytes(rnd, entries, member)
        asked.append(vs.MemberRequest.from_bytes(data, rnd))
    for member in (0, 1):
        for call in (clinics.members[member].check, clinics.members[member].endorse):
            with pytest.raises(vs.RoundError, match="weighted"):
                call(rnd, asked[member])
    # The other two are sums as any: of all uploads, and of all but the victim's. Two words for
    # different sums are no certificate of either, and nothing else is answered.
    words = [clinics.members[member].endorse(rnd, asked[member]) for member in (2, 3)]
    assert words[0].sum != words[1].sum
    full, fewer = (
        vs.weighted_sum(rnd, uploads),
        vs.weighted_sum(rnd, [one for k, one in enumerate(uploads) if k != victim]),
    )
    for total in (full, fewer):
        with pytest.raises(vs.RoundError, match="another sum"):
            vs.certify(rnd, total, words)
    certificate = clinics.certify(full, [0, 1, 2])
    clinics.members[2].answer(rnd, certificate, asked[2])
    with pytest.raises(vs.RoundError, match="another sum"):
        clinics.members[3].answer(rnd, certificate, asked[3])
    for member in (0, 1):
        with pytest.raises(vs.RoundError, match="weighted"):
            clinics.members[member].answer(rnd, certificate, asked[member])


def test_manifests_of_equal_weights_give_another_members_share(tmp_path):
    """Leaving the victim out of one member's manifest alone already shows the aggregator something.

    With weights 1, 1, 1, 0 the same factors give the last member's share of the victim's key, from
    honest answers alone: t - 1 dishonest members have the others that are needed.
    """
    clinics = Clinics(tmp_path, 4, 3, size=10)
    rnd, victim = clinics.round, 1
    info = crafting.oracle_of(rnd)
    p = info.sharing.prime
    heads = [crafting.head_of(rnd, upload) for upload in clinics.uploads()]
    dealt = [
        [crafting.opened_share(clinics, rnd, head, member).keys for head in heads]
        for member in range(4)
    ]
    found = [0] * info.sharing.columns
    for member, factor in enumerate((1, -3, 3, -1)):
        for client, keys in enumerate(dealt[member]):
            if member < 3 or client != victim:
                found = [(a + factor * x) % p for a, x in zip(found, keys, strict=True)]
    assert found == dealt[3][victim]


# --- weights --------------------------------------------------------------------------------------


def test_unequal_weights_show_every_key_to_a_client_that_reads(tmp_path):
    """R = r_0 + 17 r_1 is two keys, since no coefficient is beyond 8: such rounds are not made."""
    digits = range(-8, 9)
    assert len({a + 17 * b for a in digits for b in digits}) == 17 * 17
    clinics = Clinics(tmp_path, 2, 2, size=30)
    weighing = vs.Plan(clients=2, value_bits=16, weight_bits=5)
    secret, public = vs.keygen(weighing)
    group = {"roster": clinics.roster, "group": clinics.group.commitment}
    for authority, options in (
        (public, group),
        (clinics.committee, group),
        (clinics.committee, {"roster": clinics.roster, "reader": clinics.server}),
    ):
        with pytest.raises(vs.RoundError, match="equal weights only"):
            vs.Round(weighing, authority, size=30, limit=1.0, **options)
    # With one key holder whose reader is none of the clients, it is what docs warn of: the key of a
    # weighted sum is exported by a decision only, since whoever has the uploads reads all of them.
    rnd = vs.Round(weighing, public, size=30, limit=1.0)
    updates = clinics.updates()
    uploads = [vs.encrypt(rnd, update) for update in updates]
    total = vs.weighted_sum(rnd, uploads, [1, 17])
    with pytest.raises(vs.VeilsumError, match="export"):
        vs.open_sum(secret, rnd, total).to_bytes()
    key = wire.read_sum_key(vs.open_sum(secret, rnd, total, export=True).to_bytes(),
                            crafting.oracle_of(rnd))  # fmt: skip
    coefficients = [c for row in key.keys for c in row]
    second = [(c + 8) // 17 if abs((c + 8) // 17) <= 8 else None for c in coefficients]
    assert None not in second
    first = [c - 17 * s for c, s in zip(coefficients, second, strict=True)]
    for upload, own, update in zip(uploads, (first, second), updates, strict=True):
        blocks = crafting.oracle_of(rnd).split(
            wire.read_upload(upload.to_bytes(), crafting.oracle_of(rnd))[2]
        )
        info = crafting.oracle_of(rnd)
        found = scheme.decrypt_digits(info.plan, info.seed, blocks, [own], 30)
        assert max(abs(a - b) for a, b in zip(found, digits_of(update), strict=True)) <= 1


# --- two quorums ----------------------------------------------------------------------------------


def test_two_quorums_for_two_sets(tmp_path):
    """For all n up to 9, t and f: two sums of a round are certified just when f >= 2t - n.

    f members are dishonest: they give their word twice, as a restored ledger or a clone does. The
    aggregator divides the others between the two sets as it likes, so each number of them is tried,
    on members' own ledgers: an honest one that was asked for one set refuses the other.
    """
    most = 9
    clinics = Clinics(tmp_path, most, size=4)
    sums = [b"first".ljust(32, b"."), b"second".ljust(32, b".")]
    ledgers = [
        _core.MemberLedger(tmp_path / f"{k}.ledger", one.public.id)
        for k, one in enumerate(clinics.people)
    ]
    given: dict[int, set[tuple[int, int]]] = {}  # by honest members: words for either set
    for honest in range(most + 1):
        given[honest] = set()
        for first in range(honest + 1):
            rnd, words = clinics.new_round(), [0, 0]  # ledgers are of rounds
            for k, ledger in enumerate(ledgers[:honest]):
                mine = int(k >= first)
                ledger.endorse(rnd, sums[mine], [])
                words[mine] += 1
                with pytest.raises(vs.RoundError, match="endorsed"):
                    ledger.endorse(rnd, sums[1 - mine], [])
            given[honest].add((words[0], words[1]))
    tried = 0
    for count in range(2, most + 1):
        for threshold in range(count // 2 + 1, count + 1):
            for dishonest in range(count + 1):
                certified = any(
                    min(words) + dishonest >= threshold for words in given[count - dishonest]
                )
                assert certified == (dishonest >= 2 * threshold - count)
                tried += 1
    assert tried == 178


@pytest.mark.parametrize(("count", "threshold"), [(3, 2), (4, 3), (5, 3), (5, 4), (9, 5)])
def test_two_quorums_with_certificates(tmp_path, count, threshold):
    """2t - n dishonest members: two certificates, one update. One fewer, and there is no second."""
    for dishonest in (2 * threshold - count - 1, 2 * threshold - count):
        folder = tmp_path / str(dishonest)
        folder.mkdir()
        clinics = Clinics(folder, count, threshold, size=12)
        rnd, uploads = clinics.round, clinics.uploads()
        totals = [vs.weighted_sum(rnd, uploads), vs.weighted_sum(rnd, uploads[1:])]
        blank = [(folder / f"{k}.ledger").read_bytes() for k in range(count)]
        first = range(threshold)
        second = [*range(dishonest), *range(threshold, count)][:threshold]
        keys = []
        for total, quorum in zip(totals, (first, second), strict=True):
            words = clinics.endorse(total, quorum)
            if len(quorum) < threshold:
                with pytest.raises(vs.RoundError, match=f"endorsements of {threshold}"):
                    vs.certify(rnd, total, words)
                # No honest member of the other quorum helps out.
                with pytest.raises(vs.RoundError, match="endorsed"):
                    clinics.endorse(total, [dishonest])
                break
            certificate = vs.certify(rnd, total, words)
            answers = clinics.answers(certificate, total, quorum)
            keys.append(clinics.combine(certificate, answers, total))
            for k in range(dishonest):  # the dishonest ones go back to an earlier ledger
                (folder / f"{k}.ledger").write_bytes(blank[k])
                clinics.members[k] = vs.Member(clinics.people[k], folder / f"{k}.ledger")
        if dishonest < 2 * threshold - count:
            assert len(keys) == 1
            continue
        sums = [
            clinics.decrypt(key, total, average=False, dtype="float64")
            for key, total in zip(keys, totals, strict=True)
        ]
        assert np.abs(sums[0] - sums[1] - clinics.updates()[0]).max() <= STEP / 2 + 1e-7


# --- sums that are none ---------------------------------------------------------------------------


def lying_requests(clinics):
    """(what, the entries of a request that no honest aggregator writes, what is said of it)."""
    rnd = clinics.round
    heads = [crafting.head_of(rnd, upload) for upload in clinics.uploads()]
    again = crafting.head_of(rnd, clinics.uploads(clients=[0])[0])
    other = clinics.new_round()
    foreign = crafting.head_of(other, clinics.uploads(other, [0])[0])
    fewer = clinics.new_round(min_clients=3)
    old = crafting.head_of(fewer, clinics.uploads(fewer, [3])[0])
    ones = [(1, head) for head in heads]
    yield "repeated", [*ones[:3], ones[0]], "counts once"
    yield "a client twice", [*ones[:3], (1, again)], "counts once|twice"
    yield "reweighted", [(2, heads[0]), *ones[1:3]], "weighted"
    yield "weighed beyond the plan", [(10**9, heads[0]), *ones[1:]], "weights"
    yield "weighed by nothing", [(0, heads[0]), *ones[1:]], "weights"
    yield "of another round", [*ones[1:], (1, foreign)], "signature of client 0"
    yield "replayed from a round before", [*ones[:3], (1, old)], "signature of client 3"
    yield "dropped to one", ones[:1], "fewer than|at least"
    yield "of nobody", [], "no uploads"
    for what, head in (
        ("another's number", wire.Signature(1, b"", heads[0].signature.signature)),
        ("beyond the roster", wire.Signature(9, b"", heads[0].signature.signature)),
    ):
        yield what, [(1, replace(heads[0], signature=head)), *ones[2:]], "client [19]"
    spoilt = replace(heads[0], clipped=7)
    yield "another clip count", [(1, spoilt), *ones[1:]], "signature of client 0"
    spoilt = replace(heads[0], nonce=bytes(16))
    yield "another nonce", [(1, spoilt), *ones[1:]], "signature of client 0"


def test_members_refuse_sums_that_are_none(clinics):
    rnd, told = clinics.round, []
    for what, entries, words in lying_requests(clinics):
        for k in (0, 2):
            with pytest.raises((vs.RoundError, vs.WireFormatError), match=words):
                data = crafting.request_bytes(rnd, entries, k)
                clinics.members[k].endorse(rnd, vs.MemberRequest.from_bytes(data, rnd))
        told.append(what)
    assert len(told) == 13
    # And nothing of it stands in their ledgers: an honest sum is endorsed.
    clinics.certify(clinics.total())


def test_sets_that_overlap_are_two_sums(clinics):
    """Of sets that have uploads in common, a member endorses one, whichever comes first."""
    rnd, uploads = clinics.round, clinics.uploads()
    subsets = [
        list(chosen) for size in (2, 3, 4) for chosen in itertools.combinations(uploads, size)
    ]
    totals = [vs.weighted_sum(rnd, chosen) for chosen in subsets]
    assert len({vs.request_for(total, clinics.people[0]).sum for total in totals}) == 11
    first = totals[5]
    certificate = clinics.certify(first)
    for total in totals:
        if total is first:
            continue
        for k, member in enumerate(clinics.members):
            request = vs.request_for(total, clinics.people[k])
            with pytest.raises(vs.RoundError, match="endorsed"):
                member.endorse(rnd, request)
            with pytest.raises(vs.RoundError, match="another sum"):
                member.answer(rnd, certificate, request)
    # The order of a sum is none of its names.
    turned = vs.weighted_sum(rnd, subsets[5][::-1])
    assert clinics.endorse(turned, [1])[0].sum == certificate.sum


# --- copies ---------------------------------------------------------------------------------------


def test_sealed_shares_are_of_one_client_round_and_member(clinics):
    """Copied by a client, which signs them; by the aggregator they would fit no root."""
    rnd, other = clinics.round, clinics.new_round()
    uploads = clinics.uploads()
    heads = [crafting.head_of(rnd, upload) for upload in uploads]
    before = crafting.head_of(other, clinics.uploads(other, [1])[0])
    again = crafting.head_of(rnd, clinics.uploads(clients=[1])[0])
    swapped = [heads[1].shares[k] for k in (1, 0, 2, 3)]
    own = heads[1].shares
    for what, shares, victims in (
        ("another client's", heads[0].shares, [0, 1, 2, 3]),
        ("its own of another round", before.shares, [0, 1, 2, 3]),
        ("its own of another upload", again.shares, [0, 1, 2, 3]),
        ("two members' exchanged", swapped, [0, 1]),
        ("one member's for all", [own[2]] * 4, [0, 1, 3]),
        ("one of another client's", [own[0], own[1], heads[0].shares[2], own[3]], [2]),
    ):
        head = crafting.resigned(clinics, rnd, 1, replace(heads[1], shares=list(shares)))
        copied = crafting.read_upload(rnd, head, crafting.blocks_of(rnd, uploads[1]))
        # Beside client 0's own it would be the same upload twice, for having the same root.
        total = vs.weighted_sum(rnd, [copied, *uploads[2:]])
        for k, member in enumerate(clinics.members):
            request = vs.request_for(total, clinics.people[k])
            assert member.check(rnd, request) == ([1] if k in victims else []), what
            if k in victims:
                with pytest.raises(vs.BadSharesError) as found:
                    member.endorse(rnd, request)
                assert found.value.clients == (1,)
        # By the aggregator: under the head that the client signed.
        with pytest.raises(vs.WireFormatError, match="sealed share"):
            crafting.read_upload(
                rnd,
                replace(heads[1], shares=list(shares)),
                crafting.blocks_of(rnd, uploads[1]),
            )
        entries = [(1, one) for one in (heads[0], heads[2])]
        lying = [*entries, (1, replace(heads[1], shares=list(shares)))]
        for k in victims:
            with pytest.raises(vs.WireFormatError, match="sealed share"):
                vs.MemberRequest.from_bytes(crafting.request_bytes(rnd, lying, k), rnd)
    clinics.certify(vs.weighted_sum(rnd, uploads))  # nobody gave a word for any of these


def sealed_in(info, answer):
    return committee.read_answer(answer.to_bytes(), info).sealed


def test_answers_are_of_one_member_sum_round_and_reader(tmp_path):
    """A sealed answer under another name is none: whoever reads names its member as missing."""
    clinics = Clinics(tmp_path, 4, 3)
    rnd, total = clinics.round, clinics.total()
    certificate = clinics.certify(total)
    answers = clinics.answers(certificate, total)
    info = crafting.oracle_of(rnd)
    sealed_by = [sealed_in(info, one) for one in answers]
    other = clinics.new_round()
    other_total = clinics.total(other)
    other_answers = clinics.answers(clinics.certify(other_total), other_total)
    another = Clinics(tmp_path / "another", 4, 3)
    foreign_total = another.total()
    foreign = another.answers(another.certify(foreign_total), foreign_total)
    stranger = crafting.oracle_of(another.round)
    for what, data in (
        ("another member's", sealed_by[0]),
        ("its own to another round", sealed_in(crafting.oracle_of(other), other_answers[1])),
        ("its own to another group", sealed_in(stranger, foreign[1])),
    ):
        copied = crafting.signed_answer(clinics, rnd, 1, certificate.sum, data)
        with pytest.raises(vs.RoundError, match=r"those of members 1, 3 are missing or cannot be"):
            clinics.combine(certificate, [answers[0], copied, answers[2]], total)
        key = clinics.combine(certificate, [copied, answers[0], answers[2], answers[3]], total)
        assert clinics.decrypt(key, total) is not None, what
    # Unsigned copies do not get so far: they are another round's, member's or sum's by their bytes.
    for one in (*other_answers, *foreign):
        with pytest.raises(vs.RoundError, match="belongs to round"):
            vs.Answer.from_bytes(one.to_bytes(), rnd)
    renamed = bytearray(answers[0].to_bytes())
    renamed[16 + 64] = 1  # member 1's, by its bytes; the signature is member 0's
    renamed = vs.Answer.from_bytes(wire.reseal(bytes(renamed)), rnd)
    with pytest.raises(vs.RoundError, match="members 1, 3 are missing"):
        clinics.combine(certificate, [answers[0], renamed, answers[2]], total)


# --- uploads of a client's own making -------------------------------------------------------------


def refused_everywhere(clinics, total):
    """Opens a sum that no key opens, in every way there is: one kind of error, and no number."""
    certificate = clinics.certify(total)
    answers = clinics.answers(certificate, total)
    t = total.round.committee.threshold
    out = np.full(clinics.size, 7, np.float32)
    for chosen in (answers, *itertools.combinations(answers, t)):
        with pytest.raises(vs.TamperedSumError) as found:
            key = clinics.combine(certificate, list(chosen), total)
            clinics.decrypt(key, total, out=out)
        assert not any(character.isdigit() for character in str(found.value))
        assert np.all((out == 7) | (out == 0))
    return certificate, answers


def test_a_key_of_zeros_gives_its_maker_away_and_nobody_else(clinics):
    """Its blocks are open to all; the sum is right, and R is that of the others' keys alone."""
    rnd = clinics.round
    info = crafting.oracle_of(rnd)
    honest = clinics.uploads(clients=[0, 1, 2])
    digits = digits_of(clinics.updates()[3])
    zeros = [[0] * info.plan.degree] * info.upload_keys
    total = vs.weighted_sum(rnd, [*honest, crafting.with_keys(clinics, rnd, 3, zeros, digits)])
    certificate = clinics.certify(total)
    key = clinics.combine(certificate, clinics.answers(certificate, total), total)
    found = clinics.decrypt(key, total, average=False)
    assert np.abs(found - clinics.updates().sum(axis=0)).max() <= 4 * STEP
    # What its maker learns is what it learns from any sum: the others' sum.
    heads = [crafting.head_of(rnd, upload) for upload in honest]
    layout = info.sharing
    shares = [
        sharing.add(layout, [crafting.opened_share(clinics, rnd, head, k) for head in heads])
        for k in range(3)
    ]
    alone, _ = sharing.reconstruct(layout, [0, 1, 2], shares)
    assert [c for row in wire.read_sum_key(key.to_bytes(), info).keys for c in row] == alone


@pytest.mark.parametrize("size", ["just beyond", "as large as can be"])
def test_a_huge_key_is_no_key(clinics, size):
    """Beyond what four keys can sum to, by one coefficient or by all: refused before any block."""
    rnd = clinics.round
    info = crafting.oracle_of(rnd)
    p = info.sharing.prime
    digits = digits_of(clinics.updates()[3])
    keys = [[0] * info.plan.degree for _ in range(info.upload_keys)]
    if size == "just beyond":
        keys[0][5] = 8 * 4 + 8 * 3 + 1  # whatever the others have there
    else:
        keys = [[p // 2] * info.plan.degree for _ in keys]
    bad = crafting.with_keys(clinics, rnd, 3, keys, digits)
    refused_everywhere(clinics, vs.weighted_sum(rnd, [*clinics.uploads(clients=[0, 1, 2]), bad]))


#: How member k's share (coefficients r modulo p, words w modulo q) is changed: to sharings that are
#: none, or of something else.
CRAFTED_KEYS = {
    "another key, shared as it should be": lambda k, r, p: [(r[0] + 1) % p, *r[1:]],
    "of too high a degree": lambda k, r, p: [(r[0] + (k + 1) ** 3) % p, *r[1:]],
    "the same for all": lambda k, r, p: [1] * len(r),
    "zeros for half of them": lambda k, r, p: [0] * len(r) if k % 2 else r,
    "the largest elements": lambda k, r, p: [p - 1] * len(r),
}
CRAFTED_TAGS = {
    "another tag, shared as it should be": lambda k, w, q: [(w[0] + 1) % q, w[1]],
    "a tag of too high a degree": lambda k, w, q: [w[0], (w[1] + (k + 1) ** 3) % q],
}


@pytest.mark.parametrize("what", [*CRAFTED_KEYS, *CRAFTED_TAGS])
def test_shares_that_do_not_fit_spoil_the_sum_and_tell_nothing(clinics, what):
    """Each is refused; and answers are honest answers plus what the client dealt itself.

    So whoever reads them learns of the others what it learns from their sum: every answer is the
    share of a sum that it could have been given without the crafted upload.
    """
    rnd = clinics.round
    layout = crafting.oracle_of(rnd).sharing
    p, q = layout.prime, layout.tag_prime

    def change(k, share):
        if what in CRAFTED_KEYS:
            return replace(share, keys=CRAFTED_KEYS[what](k, share.keys, p))
        return replace(share, tag=CRAFTED_TAGS[what](k, share.tag, q))

    bad = crafting.dealing(clinics, rnd, 3, change)
    honest = clinics.uploads(clients=[0, 1, 2])
    _, answers = refused_everywhere(clinics, vs.weighted_sum(rnd, [*honest, bad]))
    heads = [crafting.head_of(rnd, upload) for upload in (*honest, bad)]
    for answer in answers:
        dealt = [crafting.opened_share(clinics, rnd, head, answer.member) for head in heads]
        alone, own = sharing.add(layout, dealt[:3]), dealt[3]
        found = crafting.read_answer(clinics, rnd, answer)
        assert found.keys == [(a + b) % p for a, b in zip(alone.keys, own.keys, strict=True)]
        assert found.tag == [(a + b) % q for a, b in zip(alone.tag, own.tag, strict=True)]


def test_shares_in_no_form_are_reported(clinics):
    """Elements beyond the field, places that must be empty, short ones: named, nothing signed."""
    rnd = clinics.round
    layout = crafting.oracle_of(rnd).sharing

    class Raw:
        def __init__(self, data):
            self.data = data

        def to_bytes(self, _layout):
            return self.data

    whole = len(crafting.opened_share(
        clinics, rnd, crafting.head_of(rnd, clinics.uploads(clients=[3])[0]), 0
    ).to_bytes(layout))  # fmt: skip
    for data in (b"\xff" * whole, bytes(whole - 16) + b"\xff" * 16):
        bad = crafting.dealing(clinics, rnd, 3, lambda k, s, d=data: Raw(d) if k == 1 else s)
        total = vs.weighted_sum(rnd, [*clinics.uploads(clients=[0, 1, 2]), bad])
        request = vs.request_for(total, clinics.people[1])
        assert clinics.members[1].check(rnd, request) == [3]
        with pytest.raises(vs.BadSharesError) as found:
            clinics.members[1].endorse(rnd, request)
        assert found.value.clients == (3,)
        other = vs.request_for(total, clinics.people[0])
        assert clinics.members[0].check(rnd, other) == []
    clinics.certify(clinics.total())


# --- wrong keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tagged", [True, False])
def test_wrong_keys_where_digits_fill_their_range(tmp_path, tagged):
    """4 clients at 16 bits: a wrong coefficient is in range but for 2 in 10^5, so the range finds
    next to no wrong key; the tag, or check blocks, find each."""
    clinics = Clinics(tmp_path, 4, 3, size=4096, group_reads=tagged)
    rnd = clinics.round
    info = crafting.oracle_of(rnd)
    plan = info.plan
    beyond = 1 - plan.delta * plan.base**plan.digits / 2**plan.field_bits
    assert 0 < beyond < 3e-5
    total = clinics.total()
    certificate = clinics.certify(total)
    key = clinics.combine(certificate, clinics.answers(certificate, total), total)
    right = wire.read_sum_key(key.to_bytes(), info)
    rng = np.random.default_rng(11)
    drawn = rng.binomial(16, 0.5, (4, plan.degree)).sum(axis=0) - 32  # as keys of four uploads are
    row = right.keys[0]
    wrong = {
        "one coefficient, by one": [row[0] + (1 if row[0] < 32 else -1), *row[1:]],
        "the last one, by two": [*row[:-1], row[-1] + (2 if row[-1] < 31 else -2)],
        "two exchanged": next(
            [row[i], *row[1:i], row[0], *row[i + 1 :]] for i in range(1, 99) if row[i] != row[0]
        ),
        "of another sum": [int(c) for c in drawn],
        "negative": [-c for c in row],
        "zeros": [0] * plan.degree,
    }
    in_range = 0
    for what, coefficients in wrong.items():
        liar = replace(right, keys=[coefficients])
        try:
            found = scheme.decrypt_digits(
                plan, info.seed, info.split(bytes(total.blocks)), liar.keys, rnd.size, True
            )
            in_range += found is not None
        except scheme.WrongKeyError:
            pass
        out = np.full(rnd.size, 7, np.float32)
        with pytest.raises(vs.TamperedSumError):
            clinics.decrypt(vs.SumKey.from_bytes(liar.to_bytes(), rnd), total, out=out)
        assert np.all((out == 7) | (out == 0)), what
    assert in_range >= 4  # the range of digits alone would have let these through
    assert clinics.decrypt(vs.SumKey.from_bytes(right.to_bytes(), rnd), total) is not None
