"""Rounds with rosters, committees and tags, byte for byte: what test_against_oracle.py is to one
key holder. Every object on the way from seeds to values, and both ways between core and oracle.
"""

import functools
import random
from dataclasses import replace

import numpy as np
import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from cryptography.hazmat.primitives.asymmetric import (  # noqa: E402
    ed25519,
    mldsa,
    mlkem,
    x25519,
)

import veilsum as vs  # noqa: E402
from oracle import blame, committee, identity, sealed, shamir, sharing, tag, tree, wire  # noqa: E402
from oracle import group as oracle_group  # noqa: E402
from parties import (  # noqa: E402
    PLANS,
    RosterStage,
    floats_to_bytes,
    person_of,
    seed_of,
    unseal,
)

STEP = wire.Step(seed_of("training"), 7, b"update", seed_of("history"))
#: Sums of a plan this wide need the larger of the tag's primes.
WIDE = {"clients": 300_000, "value_bits": 32, "profile": "n4096"}
#: name: plan, members (3 are the clients; None: one key holder), threshold, keys, tagged, step.
CASES = {
    "clients open": (PLANS["n2048"], 3, 2, 1, True, STEP),
    "all must": (PLANS["n2048"], 2, 2, 2, True, None),
    "server reads": (PLANS["n2048"], 3, 3, 2, False, STEP),
    "two bits": (PLANS["n2048-two-bits"], 5, 3, 3, True, None),
    "one digit": (PLANS["n2048-one-digit"], 4, 3, 1, False, None),
    "n4096": (PLANS["n4096"], 4, 3, 1, True, None),
    "wide": (WIDE, 2, 2, 1, True, None),
    "n4096q48": (PLANS["n4096q48"], 7, 4, 1, False, None),
    "n8192": (PLANS["n8192-size"], 3, 2, 1, True, None),
    "key holder": (PLANS["n2048"], None, 1, 2, True, STEP),
    "key holder, wide": (WIDE, None, 1, 1, True, None),
    "key holder, no tags": (PLANS["n2048"], None, 1, 2, False, None),
}
COMMITTEES = [name for name, case in CASES.items() if case[1] is not None]
SEGMENTS = [(5, 1.0), (0, 2.0), (12, 0.25)]
CLIENTS = 3


@functools.cache
def stage_of(door, name):
    arguments, members, threshold, keys, tagged, step = CASES[name]
    return RosterStage(
        door,
        arguments,
        SEGMENTS,
        name=f"committee/{name}",
        clients=CLIENTS,
        members=members,
        threshold=threshold,
        tagged=tagged,
        upload_keys=keys,
        step=step,
        layout=b"layout",
    )


class Made:
    """What the oracle makes of a stage: uploads, their sum, requests."""

    def __init__(self, stage):
        self.stage, rnd = stage, stage.oracle_round
        self.updates = [stage.update(random.Random(f"{stage.name}/{k}")) for k in range(CLIENTS)]
        self.unsigned = [stage.oracle_encrypt(k, u) for k, u in enumerate(self.updates)]
        self.uploads = [stage.sign(k, upload) for k, upload in enumerate(self.unsigned)]
        self.total = stage.oracle_sum(self.uploads)
        self.digits = [
            sum(column) for column in zip(*(one.digits for one in self.uploads), strict=True)
        ]
        if not rnd.committee:
            self.key = stage.oracle_key(self.total)
            return
        count = len(rnd.committee.members)
        self.requests = [committee.make_request(rnd, self.total, k) for k in range(count)]
        self.certified = self.requests[0].sum_digest(rnd)
        self.shares = [
            committee.open_shares(rnd, request, secret)
            for request, secret in zip(self.requests, stage.members, strict=True)
        ]
        self.endorsements = [
            committee.endorse(rnd, k, secret, self.certified)
            for k, secret in enumerate(stage.members)
        ]
        self.certificate = committee.certify(rnd, self.total, self.endorsements)
        self.answers = [
            committee.answer(
                rnd,
                k,
                secret,
                self.certified,
                self.shares[k],
                stage.randomness("answer", bytes([k])),
            )
            for k, secret in enumerate(stage.members)
        ]
        self.key = committee.combine(rnd, self.certificate, self.answers, stage.reader)


@functools.cache
def made_of(door, name):
    return Made(stage_of(door, name))


def opener(secret):
    """What the core opens with, by a key that it does not see."""
    key = secret.mlkem_seed + secret.x25519_private
    return lambda _key, info, data: unseal(key, info, data)


def core_uploads(made, stage, **options):
    """The core's, with the oracle's signatures: ML-DSA's differ from call to call."""
    out = []
    for number, expected in enumerate(made.uploads):
        upload = stage.encrypt(number, made.updates[number], **options)
        upload.attach_signature(number, expected.head.signature.signature)
        out.append(upload)
    return out


def core_sum(made, stage):
    uploads = [core.Upload.from_bytes(stage.oracle_bytes(u), stage.round) for u in made.uploads]
    return stage.sum_of(uploads, verify=identity.verify)


# --- rounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_rounds(door, name):
    stage = stage_of(door, name)
    rnd, found = stage.oracle_round, stage.round
    assert found.to_bytes() == rnd.to_bytes()
    assert found.id == rnd.id
    assert wire.read_round(rnd.to_bytes()) == rnd
    assert found.tagged == rnd.tagged
    assert found.check_blocks == rnd.check_blocks
    assert found.group == rnd.group
    assert (found.reader and found.reader.fields) == rnd.reader
    step = rnd.step and (STEP.training, STEP.step, STEP.purpose.decode(), STEP.history)
    assert found.step == step
    # Made by the core: the same but for the seed.
    if rnd.committee:
        members = [core.PublicIdentity(one) for one in rnd.committee.members]
        authority = core.Committee(members, rnd.committee.threshold)
        assert authority.id == found.committee.id == rnd.committee.id
        assert list(found.committee.members) == members
    else:
        authority = stage.public
        assert found.committee is None
    own = core.Round(
        stage.plan,
        authority,
        SEGMENTS,
        b"layout",
        roster=[core.PublicIdentity(one) for one in rnd.roster],
        upload_keys=rnd.upload_keys,
        group=rnd.group,
        reader=rnd.reader and core.PublicIdentity(rnd.reader),
        step=step,
    )
    assert own.to_bytes() == replace(rnd, seed=own.seed).to_bytes()


def test_a_round_id_covers_who_opens_and_who_reads(door):
    rnd = stage_of(door, "clients open").oracle_round
    server = person_of("server").public
    members = tuple(person_of("member", k).public for k in range(3))
    others = [
        replace(rnd, committee=replace(rnd.committee, threshold=3)),
        replace(rnd, committee=replace(rnd.committee, members=rnd.committee.members[::-1])),
        replace(rnd, committee=replace(rnd.committee, members=members)),
        replace(rnd, group=(bytes(32), rnd.group[1])),
        replace(rnd, group=(rnd.group[0], sealed.SecretKey(bytes(64), bytes(32)).public)),
        replace(rnd, group=None, reader=server),
        replace(rnd, group=None, reader=rnd.roster[0]),
        replace(rnd, step=None),
        replace(rnd, step=replace(STEP, training=bytes(32))),
        replace(rnd, step=replace(STEP, step=8)),
        replace(rnd, step=replace(STEP, purpose=b"statistics")),
        replace(rnd, step=replace(STEP, history=bytes(32))),
        replace(rnd, committee=None, public=stage_of(door, "key holder").oracle_round.public),
    ]
    found = {core.Round.from_bytes(one.to_bytes()).id for one in [rnd, *others]}
    assert found == {one.id for one in [rnd, *others]}
    assert len(found) == len(others) + 1


# --- uploads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_uploads(door, active_level, name):
    """Heads, sealed shares and blocks; what is signed; and back."""
    stage, made = stage_of(door, name), made_of(door, name)
    rnd = stage.oracle_round
    for number in range(2):
        unsigned, signed = made.unsigned[number], made.uploads[number]
        upload = stage.encrypt(number, made.updates[number], threads=1 + number)
        assert upload.to_bytes() == stage.oracle_bytes(unsigned)
        data = b"".join(unsigned.blocks)
        digest = b"" if rnd.tagged else wire.blocks_digest(data)
        payload = wire.signing_payload(rnd.id, number, unsigned.head, digest)
        assert upload.signing_payload(stage.round, number) == payload
        assert upload.digest == signed.head.digest
        upload.attach_signature(number, signed.head.signature.signature)
        expected = stage.oracle_bytes(signed)
        assert upload.to_bytes() == expected
        assert upload.nbytes == len(expected)
        assert wire.read_upload(expected, rnd) == (rnd.id, signed.head, data)
        assert core.Upload.from_bytes(expected, stage.round).to_bytes() == expected


@pytest.mark.parametrize("name", ["clients open", "server reads", "key holder"])
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_uploads_of_several_blocks(door, active_level, name, rounding):
    """Tags over several blocks, check blocks where there are none."""
    arguments, members, threshold, keys, tagged, _ = CASES[name]
    size = 4096 + 1001
    stage = several_blocks(door, name, size, members, threshold, keys, tagged, arguments["clients"])
    values = stage.update(random.Random(f"{name}/{rounding}"))
    dtypes = ("float32", "float64")
    expected = stage.oracle_encrypt(1, values, dtypes, weight=0.75, rounding=rounding)
    for threads in (1, 3):
        options = {"weight": 0.75, "rounding": rounding, "threads": threads}
        upload = stage.encrypt(1, values, list(dtypes), **options)
        assert upload.to_bytes() == stage.oracle_bytes(expected)


@functools.cache
def several_blocks(door, name, size, members, threshold, keys, tagged, clients):
    return RosterStage(
        door,
        {"clients": clients, "value_bits": 16},
        [(3001, 1.0), (size - 3001, 0.5)],
        name=f"committee blocks/{name}",
        members=members,
        threshold=threshold,
        tagged=tagged,
        upload_keys=keys,
    )


@pytest.mark.parametrize(
    ("members", "threshold", "clients"),
    [(2, 2, 10), (9, 5, 3), pytest.param(70, 36, 2, marks=pytest.mark.slow)],
)
def test_sharings_of_many_members(door, members, threshold, clients):
    """Any t shares give the keys and the tag; for 70 members the prime is larger than for W."""
    stage = RosterStage(
        door,
        {"clients": clients, "value_bits": 4, "profile": "n2048"},
        [(3, 1.0)],
        name=f"committee/{members} of {clients}",
        clients=2,
        members=members + (members == 2),
        threshold=threshold,
    )
    rnd, layout = stage.oracle_round, stage.oracle_round.sharing
    values = [0.5, -0.25, 1.0]
    expected = stage.oracle_encrypt(0, values)
    upload = stage.encrypt(0, values)
    assert upload.to_bytes() == stage.oracle_bytes(expected)
    _, head, _ = wire.read_upload(upload.to_bytes(), rnd)
    shares = {}
    for number in random.Random(members).sample(range(len(stage.members)), threshold):
        own = stage.members[number]
        info = sealed.share_info(rnd.id, 0, head.nonce, number, identity.identity_id(own.public))
        data = sealed.unseal(own.kem, info, head.shares[number])
        shares[number] = sharing.read_share(layout, data)
        assert shares[number].to_bytes(layout) == data
    keys, found = sharing.reconstruct(layout, list(shares), list(shares.values()))
    assert keys == [c for row in stage.oracle_keys(0) for c in row]
    own_tag = tag.tag_of(
        stage.oracle_plan, rnd.id, stage.group.tag_key, expected.digits, 0, head.nonce
    )
    assert found == own_tag
    assert layout.prime == door.sharing_prime(stage.oracle_plan.max_weight, layout.members)
    assert shamir.sharing_prime(stage.oracle_plan.max_weight, 1) <= layout.prime


def test_a_tree_of_every_width():
    """The oracle's own: every path leads to the root, and to no other."""
    for count in range(1, 14):
        parts = [bytes([k]) * 5 for k in range(count)]
        top = tree.root(parts)
        for member, part in enumerate(parts):
            beside = tree.path(parts, member)
            assert len(beside) == tree.path_length(count, member)
            assert tree.root_of_path(part, beside, count, member) == top
            assert tree.root_of_path(b"other", beside, count, member) != top


# --- sums -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_sums(door, active_level, name):
    stage, made = stage_of(door, name), made_of(door, name)
    rnd = stage.oracle_round
    total = stage.sum_of(core_uploads(made, stage), verify=identity.verify)
    expected = made.total.to_bytes()
    assert total.to_bytes() == expected
    assert total.manifest_digest == made.total.manifest_digest()
    assert core.Aggregate.from_bytes(expected, stage.round).to_bytes() == expected
    assert wire.read_sum(expected, rnd) == made.total
    if not rnd.committee:
        request = made.total.request()
        assert total.opening_request().to_bytes() == request.to_bytes()
        assert wire.read_sum(request.to_bytes(), rnd) == request
        return
    # For readers: without what is sealed to the members.
    short = replace(made.total, forwards=False)
    assert total.without_shares().to_bytes() == short.to_bytes()
    assert core.Aggregate.from_bytes(short.to_bytes(), stage.round).to_bytes() == short.to_bytes()
    assert short.manifest_digest() == made.total.manifest_digest()
    for member, request in enumerate(made.requests):
        data = request.to_bytes()
        assert core.member_request(total, member).to_bytes() == data
        arrived = core.MemberRequest.from_bytes(data, stage.round)
        assert arrived.to_bytes() == data
        assert arrived.sum == made.certified
        assert committee.read_request(data, rnd).to_bytes() == data


@pytest.mark.parametrize("name", COMMITTEES)
def test_endorsements_certificates_and_answers(door, active_level, name):
    stage, made = stage_of(door, name), made_of(door, name)
    rnd, total = stage.oracle_round, core_sum(made, stage)
    arrived = []
    for member, expected in enumerate(made.endorsements):
        payload = committee.endorsement_payload(rnd, member, made.certified)
        assert core.endorsement_payload(stage.round, member, made.certified) == payload
        own = core.Endorsement(stage.round, member, made.certified, expected.signature)
        assert own.to_bytes() == expected.to_bytes()
        arrived.append(core.Endorsement.from_bytes(own.to_bytes(), stage.round))
        assert committee.read_endorsement(own.to_bytes(), rnd) == expected
    certificate = core.Certificate(total, arrived, verify=identity.verify)
    data = made.certificate.to_bytes()
    assert certificate.to_bytes() == data
    assert certificate.sum == made.certified
    assert core.Certificate.from_bytes(data, stage.round).to_bytes() == data
    assert committee.read_certificate(data, rnd).to_bytes() == data
    for member, expected in enumerate(made.answers):
        request = core.member_request(total, member)
        secret = stage.members[member]
        core.check_request(request, core.PublicIdentity(secret.public), 2, identity.verify)
        shares = core.open_shares(request, opener(secret.kem))
        assert shares.bad == []
        drawn = stage.randomness("answer", bytes([member]))
        seal = functools.partial(sealed.seal, randomness=drawn)
        made_sealed = core.seal_answer(shares, member, lambda k, i, s, seal=seal: seal(k, i, s))
        assert made_sealed == expected.sealed
        payload = committee.answer_payload(rnd, member, made.certified, made_sealed)
        own_payload = core.answer_payload(stage.round, member, made.certified, made_sealed)
        assert own_payload == payload
        one = core.Answer(stage.round, member, made.certified, made_sealed, expected.signature)
        assert one.to_bytes() == expected.to_bytes()
        core.check_answer(one, certificate, identity.verify)
        assert core.Answer.from_bytes(one.to_bytes(), stage.round).to_bytes() == one.to_bytes()
        assert committee.read_answer(one.to_bytes(), rnd) == expected


@pytest.mark.parametrize("name", COMMITTEES)
def test_challenges_and_verdicts(door, active_level, name):
    stage, made = stage_of(door, name), made_of(door, name)
    rnd, total = stage.oracle_round, core_sum(made, stage)
    certificate = core.Certificate.from_bytes(made.certificate.to_bytes(), stage.round)
    expected = []
    for member, secret in enumerate(stage.members):
        words = blame.open_challenges(rnd, made.requests[member], secret)
        expected.append(blame.answer(rnd, member, secret, made.certified, words))
        request = core.member_request(total, member)
        assert core.open_challenges(request, opener(secret.kem)) == words
        payload = blame.challenge_payload(rnd, member, made.certified, words)
        assert core.challenge_payload(stage.round, member, made.certified, words) == payload
        data = expected[-1].to_bytes()
        one = core.ChallengeAnswer.from_bytes(data, stage.round)
        assert one.to_bytes() == data
        core.check_challenge_answer(one, certificate, identity.verify)
        assert blame.read_challenge_answer(data, rnd) == expected[-1]
    opened = [core.ChallengeAnswer.from_bytes(one.to_bytes(), stage.round) for one in expected]
    verdict = core.blame(certificate, opened[::-1], [], None, identity.verify)
    assert (verdict.clients, verdict.suspects) == ([], [])
    data = blame.verdict_bytes(made.certificate, expected)
    assert verdict.to_bytes() == data
    assert core.Verdict.from_bytes(data, stage.round).to_bytes() == data
    # The oracle finds the combinations of every upload consistent, in both fields.
    layout = rnd.sharing
    for column in zip(*(blame.read_words(layout, one.words) for one in expected), strict=True):
        primes = (layout.prime, layout.tag_prime)
        members = list(range(layout.members))
        assert blame.judge(layout.threshold, 1, members, list(column), primes).departing == []


@pytest.mark.parametrize("name", CASES)
def test_sum_keys_and_values(door, active_level, name):
    """The key, from whoever opens, and what it decrypts."""
    stage, made = stage_of(door, name), made_of(door, name)
    rnd, total = stage.oracle_round, core_sum(made, stage)
    expected = made.key.to_bytes()
    if rnd.committee:
        certificate = core.Certificate.from_bytes(made.certificate.to_bytes(), stage.round)
        answers = [core.Answer.from_bytes(a.to_bytes(), stage.round) for a in made.answers]
        chosen = answers[-rnd.committee.threshold :]
        for some in (answers, chosen, chosen[::-1]):
            found = core.combine(certificate, some, opener(stage.reader), identity.verify)
            assert [(key.to_bytes(), wrong) for key, wrong in found] == [(expected, [])]
        last = committee.combine(
            rnd, made.certificate, made.answers[-rnd.committee.threshold :], stage.reader
        )
        assert last == made.key
    else:
        shown = total.opening_request() if rnd.tagged else total
        key = core.open_sum(
            stage.fresh_secret(), stage.round, shown, open=unseal, verify=identity.verify
        )
        assert key.to_bytes() == expected
    key = core.SumKey.from_bytes(expected, stage.round)
    assert key.to_bytes() == expected
    assert wire.read_sum_key(expected, rnd) == made.key
    assert stage.oracle_digits(made.total, made.key) == made.digits
    options = {"tag_key": stage.group.tag_key} if rnd.tagged else {}
    for dtype in ("float32", "float64"):
        out = core.decrypt(key, total, dtype=dtype, **options)
        values = stage.oracle_values(made.digits, CLIENTS, dtype=dtype)
        assert out.tobytes() == floats_to_bytes(values, dtype)


def test_a_tag_that_does_not_hold(door):
    """What the oracle calls a changed sum, the core refuses."""
    stage, made = stage_of(door, "clients open"), made_of(door, "clients open")
    rnd = stage.oracle_round
    total, tag_key = core_sum(made, stage), stage.group.tag_key
    assert wire.tag_holds(rnd, made.key, made.total, tag_key, made.digits)
    wrong_digits = [made.digits[0] + 1, *made.digits[1:]]
    assert not wire.tag_holds(rnd, made.key, made.total, tag_key, wrong_digits)
    for e in range(2):
        values = list(made.key.tag)
        values[e] ^= 1
        wrong = replace(made.key, tag=tuple(values))
        assert not wire.tag_holds(rnd, wrong, made.total, tag_key, made.digits)
        key = core.SumKey.from_bytes(wrong.to_bytes(), stage.round)
        with pytest.raises(core.TamperedSumError):
            core.decrypt(key, total, tag_key=tag_key)


# --- what the package makes, and what it opens ----------------------------------------------------


@functools.cache
def package_identity(secret):
    """The package's, of the oracle's private keys."""
    lattice = secret.ml_dsa_seed
    return vs.Identity(
        ed25519.Ed25519PrivateKey.from_private_bytes(secret.ed25519_private),
        x25519.X25519PrivateKey.from_private_bytes(secret.x25519_private),
        mlkem.MLKEM768PrivateKey.from_seed_bytes(secret.mlkem_seed),
        mldsa.MLDSA65PrivateKey.from_seed_bytes(lattice) if lattice else None,
    )


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize(("clients", "members"), [(3, 3), (2, 5)])
def test_a_round_of_the_package(tmp_path, tagged, clients, members):
    """Everything by the package, under the system's entropy; the oracle opens all of it."""
    people = [person_of("client", k, post_quantum=k % 3 == 2) for k in range(clients)]
    judges = people if members == clients else [person_of("member", k) for k in range(members)]
    server = person_of("server")
    roster = vs.Roster([package_identity(one).public for one in people])
    group = vs.Group.create(package_identity(people[0]), roster, "a training")
    reads = {"group": group.commitment} if tagged else {"reader": package_identity(server).public}
    rnd = vs.Round(
        vs.Plan(clients=10),
        vs.Committee([package_identity(one).public for one in judges]),
        size=40,
        limit=1.0,
        roster=roster,
        **reads,
    )
    info = wire.read_round(rnd.to_bytes())
    assert info.id == rnd.id
    updates = np.random.default_rng(7).uniform(-1, 1, (clients, 40)).astype(np.float32)
    uploads = [
        vs.encrypt(rnd, update, signer=package_identity(one), group=group if tagged else None)
        for one, update in zip(people, updates, strict=True)
    ]
    total = vs.weighted_sum(rnd, uploads)
    read = wire.read_sum(total.to_bytes(), info)
    party = [
        vs.Member.create(package_identity(one), tmp_path / f"{k}.ledger")
        for k, one in enumerate(judges)
    ]
    requests = [vs.request_for(total, package_identity(one)) for one in judges]
    endorsements = [one.endorse(rnd, request) for one, request in zip(party, requests, strict=True)]
    certificate = vs.certify(rnd, total, endorsements)
    answers = [
        one.answer(rnd, certificate, request) for one, request in zip(party, requests, strict=True)
    ]
    reader = {"group": group} if tagged else {"reader": package_identity(server)}
    key = vs.combine(rnd, certificate, answers, total, **reader)

    for member, request in enumerate(requests):
        assert request.to_bytes() == committee.make_request(info, read, member).to_bytes()
        own = committee.read_endorsement(endorsements[member].to_bytes(), info)
        assert committee.endorsed(info, own)
        share = committee.open_shares(
            info, committee.read_request(request.to_bytes(), info), judges[member]
        )
        one = committee.read_answer(answers[member].to_bytes(), info)
        secret = (
            oracle_group.open_group(
                oracle_group.read(group.sealed, info.roster), 1, people[1]
            ).reading
            if tagged
            else server.kem
        )
        opened = committee.open_answer(info, one, secret)
        assert (opened.keys, opened.tag) == (share.keys, share.tag)
        # The member's file has its word and its answer.
        at = bytes([1]) + info.id + one.certified + info.id + bytes(8) + bytes(32)
        answered = bytes([2]) + info.id + one.certified + committee.reader_id(info)
        answered += one.signature + one.sealed
        owner = identity.identity_id(judges[member].public)
        ledger = wire.ledger(wire.MEMBER_SIGNED, owner, [at, answered])
        assert (tmp_path / f"{member}.ledger").read_bytes() == ledger
    oracle_certificate = committee.read_certificate(certificate.to_bytes(), info)
    oracle_answers = [committee.read_answer(a.to_bytes(), info) for a in answers]
    found = committee.combine(info, oracle_certificate, oracle_answers, secret)
    assert found.to_bytes() == key.to_bytes()
    group_key = (
        oracle_group.open_group(oracle_group.read(group.sealed, info.roster), 1, people[1]).tag_key
        if tagged
        else None
    )
    values = vs.decrypt(key, total, group=group if tagged else None)
    plan = info.plan
    digits = scheme_digits(info, read, found)
    if tagged:
        assert wire.tag_holds(info, found, read, group_key, digits)
    offset, scale = clients * plan.levels, 1.0 / plan.levels / clients
    assert np.abs(values - (np.array(digits) - offset) * scale).max() < 1e-6
    assert np.abs(values - updates.mean(axis=0)).max() < 1e-4


def scheme_digits(rnd, total, key):
    from oracle import scheme

    blocks = rnd.split(total.blocks)
    return scheme.decrypt_digits(rnd.plan, rnd.seed, blocks, key.keys, rnd.size, rnd.tagged)


def test_a_step_is_what_a_members_ledger_notes(door, tmp_path):
    """Of a round of a training, its step and the digest of its purpose; then its challenges, what
    they were answered with, and that it was lost, twice."""
    stage, made = stage_of(door, "clients open"), made_of(door, "clients open")
    me = stage.members[1]
    own = identity.identity_id(me.public)
    core.create_member_ledger(tmp_path / "ledger", own)
    ledger = core.MemberLedger(tmp_path / "ledger", own)
    ledger.endorse(stage.round, made.certified, [0, 1, 2])
    purpose = wire.streams.label_hash("veilsum/2/purpose", STEP.purpose)
    noted = STEP.training + STEP.step.to_bytes(8, "little") + purpose
    round_id, manifest = stage.oracle_round.id, made.total.manifest_digest()
    records = [bytes([1]) + round_id + made.certified + noted]

    def written() -> bool:
        expected = wire.ledger(wire.MEMBER_SIGNED, own, records)
        return (tmp_path / "ledger").read_bytes() == expected

    assert written()
    request = core.MemberRequest.from_bytes(made.requests[1].to_bytes(), stage.round)
    for _ in range(2):
        ledger.challenge(request)
    for client in range(CLIENTS):
        asked = blame.challenge(manifest, client)
        records.append(bytes([3]) + round_id + client.to_bytes(4, "little") + asked)
    assert written()
    assert ledger.challenge_answer(stage.round, made.certified, b"said") == b"said"
    records.append(bytes([4]) + round_id + made.certified + b"said")
    assert written()
    ids = [identity.identity_id(one) for one in stage.oracle_round.roster]
    for clients in ([0, 1, 2], [0, 2], [0, 1, 2]):
        assert ledger.lose(stage.round, made.certified, clients) == (len(records) < 7)
        if len(records) < 7:
            lost = b"".join(sorted(ids[client] for client in clients))
            records.append(bytes([5]) + round_id + made.certified + STEP.training + lost)
        assert written()


# --- group keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", [0, 2])
def test_group_keys_of_the_oracle(maker):
    people = [person_of("client", k, post_quantum=k % 3 == 2) for k in range(3)]
    listed = [one.public for one in people]
    secret = oracle_group.Secret(seed_of("tag key"), person_of("reading").kem)
    randomness = [seed_of("g", k) + seed_of("h", k) for k in range(3)]
    made = oracle_group.make(secret, maker, people[maker], listed, b"a training", randomness)
    data = made.to_bytes()
    roster = vs.Roster([package_identity(one).public for one in people])
    for place, one in enumerate(people):
        group = vs.Group.open(package_identity(one), data, roster, "a training")
        assert group.commitment == secret.commitment
        assert group.id == secret.id
        assert group.training == oracle_group.training_id(b"a training")
        assert group.sealed == data
        assert oracle_group.open_group(oracle_group.read(data, listed), place, one) == secret
    for name, error in (("another", vs.KeyMismatchError), ("a training", None)):
        if error:
            with pytest.raises(error):
                vs.Group.open(package_identity(people[0]), data, roster, name)


def test_group_keys_of_the_package():
    people = [person_of("client", k, post_quantum=k % 3 == 2) for k in range(3)]
    roster = vs.Roster([package_identity(one).public for one in people])
    for maker in (1, 2):
        made = vs.Group.create(package_identity(people[maker]), roster, b"t")
        read = oracle_group.read(made.sealed, [one.public for one in people])
        assert read.to_bytes() == made.sealed
        assert read.maker == maker
        for place, one in enumerate(people):
            opened = oracle_group.open_group(read, place, one)
            assert opened.commitment == made.commitment
            assert opened.id == made.id
