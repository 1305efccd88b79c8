"""What of the rules is the native engine's own: seeds, sealed keys, check blocks, exact formats.

The rules themselves are tested once for all engines, in security/. Here they are broken with the
oracle's help, which makes what no public call makes: on every ISA level where kernels take part.
"""

import functools
import multiprocessing
import os
from dataclasses import replace

import numpy as np
import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from oracle import identity, ring, scheme, sealed, streams, wire  # noqa: E402
from parties import PLANS, Stage, seed_of, unseal  # noqa: E402
from veilsum.keys.sealing import generate_key_pair, open_sealed  # noqa: E402

SIZE = 40
WEIGHTED = {"clients": 4, "value_bits": 8, "weight_bits": 4}


verify = identity.verify


@functools.cache
def signer(number):
    """Every second one signs with ML-DSA-65 as well."""
    parts = [seed_of("signer", number, part) for part in range(5)]
    lattice = parts[4] if number % 2 else b""
    return identity.Secret(parts[0], parts[1] + parts[2], parts[3], lattice)


def public_identity(number):
    return signer(number).public


@functools.cache
def stage_of(door, kind="plain", min_clients=2):
    arguments = WEIGHTED if kind == "weighted" else PLANS["n2048"]
    roster = [public_identity(k) for k in range(4)] if kind == "roster" else []
    return Stage(
        door,
        arguments,
        [(SIZE, 1.0)],
        name=f"rules/{kind}/{min_clients}",
        min_clients=min_clients,
        roster=roster,
    )


def upload_of(stage, number):
    return stage.encrypt(number, [0.01 * number] * SIZE)


def uploads_of(stage, count):
    return [upload_of(stage, k) for k in range(count)]


def signed(stage, number, *, by=None, as_client=None):
    """Upload `number`, signed by client `by` who says to be `as_client`."""
    by = number if by is None else by
    as_client = by if as_client is None else as_client
    upload = upload_of(stage, number)
    payload = upload.signing_payload(stage.round, as_client)
    upload.attach_signature(as_client, signer(by).sign(payload))
    return upload


def split(stage, blocks):
    return scheme.split_blocks(stage.oracle_plan, SIZE, stage.upload_keys, blocks)


def oracle_total(stage, uploads, weights=None):
    """An aggregate as bytes that the core never checked."""
    parts = []
    for upload in uploads:
        _, head, blocks = wire.read_upload(upload.to_bytes())
        parts.append((head, split(stage, blocks)))
    return wire.make_sum(stage.oracle_round, parts, weights or [1] * len(uploads))


def request_of(stage, total):
    return core.OpeningRequest.from_bytes(total.request().to_bytes(), stage.round)


def replace_entries(stage, total, entries):
    """The aggregate with another manifest."""
    return core.Aggregate.from_bytes(replace(total, entries=entries).to_bytes(), stage.round)


def open_request(stage, request, **options):
    return core.open_sum(stage.fresh_secret(), stage.round, request, open=unseal, **options)


# --- rule 1: one seed, one use --------------------------------------------------------------------


def fresh_upload(rnd):
    """An upload under seeds of the system's, with the two that its sealed key shows."""
    drawn = []

    def seal(key, info, secret):
        drawn.append((bytes(secret), info[-32:-16]))  # the upload's seed, its nonce
        return bytes(sealed.SEALED_BYTES)

    values = np.zeros(SIZE, dtype=np.float32)
    upload = core.encrypt(rnd, [values], ["float32"], threads=1, seal=seal)
    ((seed, nonce),) = drawn
    _, head, blocks = wire.read_upload(upload.to_bytes())
    assert head.nonce == nonce
    return seed, nonce, blocks


def all_different(uploads):
    return all(len(set(column)) == len(uploads) for column in zip(*uploads, strict=True))


def test_every_encryption_draws_a_new_key(door):
    assert all_different([fresh_upload(stage_of(door).round) for _ in range(200)])


def child_upload(stage_bytes, queue):
    queue.put(fresh_upload(core.Round.from_bytes(stage_bytes)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_repeats_no_key(door):
    """Entropy is the system's, not a generator's state that a fork would copy."""
    stage = stage_of(door)
    uploads = [fresh_upload(stage.round)]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [
        context.Process(target=child_upload, args=(stage.round.to_bytes(), queue)) for _ in range(3)
    ]
    for child in children:
        child.start()
    uploads += [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert all_different([*uploads, fresh_upload(stage.round)])


# --- rule 2: enough distinct uploads, a faithful sum, opened once ---------------------------------


def refused_without_values(key, total):
    """Decryption fails, and what it would have filled holds no value of the sum."""
    out = np.full(SIZE, 0.25, dtype=np.float32)
    with pytest.raises(core.TamperedSumError, match="no value is given out"):
        core.decrypt(key, total, out=out)
    assert not out.any()


def lying_totals(stage, uploads, weights):
    """What an aggregator may claim and hand over: manifests that are not of the blocks they head.

    Yields what the lie is, the aggregate that lies, and the honest one of the same blocks.
    """
    unit = [1] * len(uploads)
    stranger = upload_of(stage, 50)
    three = oracle_total(stage, uploads)
    yield "one left out", replace(three, entries=three.entries[:2]), three
    two = oracle_total(stage, uploads[:2])
    yield "one invented", replace(two, entries=three.entries), two
    exchanged = oracle_total(stage, [*uploads[:2], stranger])
    yield "one exchanged", replace(three, entries=exchanged.entries), three
    if stage.plan.weight_bits == 0:  # no honest aggregator makes these blocks
        for lie, factors in {
            "one counted twice": [2, 1, 1],
            "the victim's alone": [1, 0, 0],
            "the victim's times three": [3, 0, 0],
            "nothing": [0, 0, 0],
        }.items():
            blocks = oracle_total(stage, uploads, factors).blocks
            yield lie, replace(three, blocks=blocks), None
        return
    weighted = oracle_total(stage, uploads, weights)
    yield "reweighted", replace(weighted, entries=three.entries), weighted
    yield "weights made up", replace(three, entries=weighted.entries), three
    turned = oracle_total(stage, uploads, weights[::-1])
    yield "weights exchanged", replace(weighted, entries=turned.entries), weighted
    assert weights != unit


@pytest.mark.parametrize("kind", ["plain", "weighted"])
def test_an_aggregator_that_lies_in_the_manifest(door, active_level, kind):
    """The key is of the uploads that the manifest names: it opens no other sum of the round."""
    stage = stage_of(door, kind)
    for lie, claimed, honest in lying_totals(stage, uploads_of(stage, 3), [5, 1, 2]):
        total = core.Aggregate.from_bytes(claimed.to_bytes(), stage.round)
        key = open_request(stage, request_of(stage, claimed))
        refused_without_values(key, total)
        if honest is None:
            continue
        true = core.Aggregate.from_bytes(honest.to_bytes(), stage.round)
        with pytest.raises(core.KeyMismatchError):
            core.decrypt(key, true)
        assert core.decrypt(stage.open(true), true).any(), lie  # the honest one is fine


def with_head(stage, upload, head):
    """The upload's blocks under another head, as the core reads them."""
    round_id, _, blocks = wire.read_upload(upload.to_bytes())
    return core.Upload.from_bytes(wire.upload_bytes(round_id, head, blocks), stage.round)


def resealed(stage, number, *, rnd=None, nonce=None, public=None, client=wire.NO_CLIENT):
    """The head of client `number`, its seed sealed in another context than it says."""
    seed, _, own = stage.seeds(number)
    rnd = rnd or stage.oracle_round
    key_id = sealed.key_id(public or rnd.public)
    info = sealed.key_info(rnd.id, client, nonce or own, key_id)
    randomness = seed_of("reseal", number) + seed_of("reseal x", number)
    return wire.Head(own, sealed.seal(public or rnd.public, info, seed, randomness))


def flipped(head, byte):
    changed = bytearray(head.part)
    changed[byte] ^= 1
    return replace(head, part=bytes(changed))


def foreign_heads(stage, other, number):
    """Heads whose sealed key was altered, or made for another context; one a way."""
    head = stage.head(number)
    x25519 = sealed.ENCAPSULATED_BYTES - 32
    altered = {
        "lattice part": 0,
        "end of the lattice part": x25519 - 1,
        "curve part": x25519,
        "ciphertext": sealed.ENCAPSULATED_BYTES,
        "tag": sealed.SEALED_BYTES - 1,
    }
    stranger = sealed.SecretKey(seed_of("s") + seed_of("t"), seed_of("u")).public
    donor = stage.head(number + 20)
    return {
        **{f"altered {part}": flipped(head, byte) for part, byte in altered.items()},
        "another round": resealed(stage, number, rnd=other.oracle_round),
        "another nonce": resealed(stage, number, nonce=seed_of("nonce")[:16]),
        "another client": resealed(stage, number, client=1),
        "another nonce beside it": replace(head, nonce=seed_of("nonce")[:16]),
        "another key holder": resealed(stage, number, public=stranger),
        "another upload's, copied": replace(donor, nonce=head.nonce),
        "zeros": replace(head, part=bytes(sealed.SEALED_BYTES)),
    }


def test_a_sealed_key_of_another_context_is_named(door):
    """The aggregator, without a key, takes it; the key holder opens nothing and says whose."""
    stage, other = stage_of(door), stage_of(door, min_clients=3)
    uploads = uploads_of(stage, 3)
    honest = stage.sum_of(uploads)
    heads = foreign_heads(stage, other, 1)
    names = {head.digest[:4].hex() for head in [*heads.values(), stage.head(1)]}
    assert len(names) == len(heads)  # "another nonce beside it" alone keeps its sealed bytes
    for way, head in heads.items():
        bad = with_head(stage, uploads[1], head)
        total = stage.sum_of([uploads[0], bad, uploads[2]])
        secret = stage.fresh_secret()
        for opener in (unseal, open_sealed):
            with pytest.raises(core.RoundError, match=f"sealed key of .*{head.digest[:4].hex()}"):
                core.open_sum(secret, stage.round, total.opening_request(), open=opener)
        assert stage.open(honest, secret).count == 3, way  # nothing was opened, or remembered
    # Sealed again by the same hand in the right context it is taken.
    fine = with_head(stage, uploads[1], resealed(stage, 1))
    total = stage.sum_of([uploads[0], fine, uploads[2]])
    mean = core.decrypt(stage.open(total), total)
    assert mean.tobytes() == core.decrypt(stage.open(honest), honest).tobytes()


@pytest.mark.parametrize("signed_ones", [False, True])
def test_an_upload_that_does_not_fit_its_sealed_key(door, active_level, signed_ones):
    """Its client sealed another seed than it encrypted with, and signed it: the sum is refused."""
    stage = stage_of(door, "roster" if signed_ones else "plain")
    uploads = [signed(stage, k) if signed_ones else upload_of(stage, k) for k in range(2)]
    bad = with_head(stage, upload_of(stage, 2), stage.head(9, client=2 if signed_ones else None))
    options = {}
    if signed_ones:
        bad.attach_signature(2, signer(2).sign(bad.signing_payload(stage.round, 2)))
        options = {"verify": verify}
    total = stage.sum_of([*uploads, bad], **options)
    refused_without_values(stage.open(total, **options), total)


def test_changed_blocks(door, active_level, rng):
    """Every coefficient of a check block counts, by whatever it left the noise's bounds."""
    stage = stage_of(door)
    plan = stage.oracle_plan
    honest = oracle_total(stage, uploads_of(stage, 3))
    key = open_request(stage, request_of(stage, honest))
    value_block, check_block = split(stage, honest.blocks)
    fields = ring.unpack_rows(check_block, plan.field_bits)
    # A step of twice the bound and one leads out of the bounds from wherever the noise is.
    steps = [2 * plan.noise_bound + 1, plan.delta, 1 << (plan.field_bits - 1)]
    for place in [0, 7, 8, plan.degree - 1, *rng.sample(range(plan.degree), 12)]:
        for step in steps:
            moved = list(fields)
            moved[place] = (moved[place] + step) % (1 << plan.field_bits)
            data = value_block + ring.pack_rows(moved, plan.field_bits)
            changed = replace(honest, blocks=data)
            refused_without_values(key, core.Aggregate.from_bytes(changed.to_bytes(), stage.round))
    for data in (bytes(len(honest.blocks)), b"\xff" * len(honest.blocks)):
        changed = replace(honest, blocks=data)
        refused_without_values(key, core.Aggregate.from_bytes(changed.to_bytes(), stage.round))


def test_a_seed_of_another_length_is_none(door):
    stage = stage_of(door)
    request = stage.sum_of(uploads_of(stage, 2)).opening_request()
    secret = stage.fresh_secret()
    for answer in (None, b"", bytes(31), bytes(33)):
        with pytest.raises(core.RoundError, match="was not made for this round and key"):
            core.open_sum(secret, stage.round, request, open=lambda *_, seed=answer: seed)
    core.open_sum(secret, stage.round, request, open=unseal)


def test_the_ledger_is_what_the_format_says(door, tmp_path):
    stage = stage_of(door)
    uploads = uploads_of(stage, 3)
    secret = stage.fresh_secret()
    secret.save(str(tmp_path / "key"))
    for _ in range(2):
        opened = stage.open(stage.sum_of(uploads), secret).to_bytes()
        manifest = oracle_total(stage, uploads).manifest_digest()
        # What binds the key to the blocks is recorded, without the hash's key.
        bound = wire.read_sum_key(opened, stage.oracle_round).bound
        assert bound[:1] == wire.BY_CHECK
        what = streams.label_hash("veilsum/2/opened-hash", manifest, bound[-wire.TAG_BYTES :])
        expected = wire.ledger(wire.OPENED_ROUNDS, secret.id, [stage.round.id + what])
        assert (tmp_path / "key.opened").read_bytes() == expected


# --- rule 2: rosters ------------------------------------------------------------------------------


def test_what_is_signed_is_what_the_format_says(door):
    stage = stage_of(door, "roster")
    upload = upload_of(stage, 1)
    _, head, blocks = wire.read_upload(upload.to_bytes())
    expected = wire.signing_payload(stage.round.id, 3, head, wire.blocks_digest(blocks))
    for threads in (0, 1, 2):
        assert upload.signing_payload(stage.round, 3, threads) == expected


@pytest.mark.parametrize("size", [50_000, 370_000, 510_000])
def test_block_digests_of_more_than_one_piece(door, size):
    """Blocks above 64 KiB: the digest is over the digests of the pieces (3, 18, 25 of them)."""
    stage = Stage(door, PLANS["n2048"], [(size, 1.0)], name=f"rules/large {size}")
    upload = stage.encrypt(0, [0.25] * size)
    _, head, blocks = wire.read_upload(upload.to_bytes())
    assert len(blocks) > 2 * 65536
    expected = wire.signing_payload(stage.round.id, 0, head, wire.blocks_digest(blocks))
    for threads in (1, 2, 3):
        assert upload.signing_payload(stage.round, 0, threads) == expected


# --- rule 3: weights ------------------------------------------------------------------------------


def test_weights_whose_sum_wraps_around(door):
    """As the core takes them, 64 bits each; W = 64 here."""
    stage = stage_of(door, "weighted")
    uploads = uploads_of(stage, 3)
    top = stage.plan.max_weight
    for weights in ([2**63, 2**63, 1], [2**64 - 1, 2, 1], [1, 1, 2**64 - 1]):
        with pytest.raises(core.HeadroomError, match=str(top)):
            stage.sum_of(uploads, weights)
    for weights in ([-1, 1, 1], [1.5, 1, 1], ["1", 1, 1], [None, 1, 1], [2**64, 1, 1]):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            stage.sum_of(uploads, weights)


# --- rule 4: what belongs together ----------------------------------------------------------------


def strangers(door):
    """Rounds that differ from the plain one in a single thing."""
    stage = stage_of(door)
    seed = stage.oracle_round.seed

    def make(plan=stage.plan, public=stage.public, segments=stage.segments, layout=b"",
             least=2, roster=(), keys=1, seed=seed):  # fmt: skip
        return door.round_seeded(plan, public, segments, layout, least, list(roster), keys, seed)

    other_plan = core.Plan(clients=10, value_bits=15)
    assert make().id == stage.round.id
    return {
        "seed": make(seed=seed_of("other")),
        "plan": make(plan=other_plan),
        "optimise": make(plan=core.Plan(clients=10, value_bits=16, optimise="size",
                                        profile="n2048")),
        "limit": make(segments=[(SIZE, 1.0000001)]),
        "cut": make(segments=[(SIZE - 1, 1.0), (1, 1.0)]),
        "empty segment": make(segments=[(SIZE, 1.0), (0, 1.0)]),
        "layout": make(layout=b"other"),
        "min_clients": make(least=3),
        "roster": make(roster=[public_identity(0), public_identity(1)]),
        "upload keys": make(keys=2),
        "key": make(public=generate_key_pair()[1]),
    }  # fmt: skip


def test_a_round_id_covers_everything(door):
    others = strangers(door)
    ids = {rnd.id for rnd in others.values()} | {stage_of(door).round.id}
    assert len(ids) == len(others) + 1


def test_half_of_the_right_key_is_another_key(door):
    """Of either half: ML-KEM's and X25519's."""
    stage = stage_of(door)
    total = stage.sum_of(uploads_of(stage, 2))
    own = stage.oracle_secret
    mixed = [
        sealed.SecretKey(own.mlkem_seed, seed_of("curve")),
        sealed.SecretKey(seed_of("d") + seed_of("z"), own.x25519_private),
    ]
    for k in mixed:
        secret = core.SecretKey(k.mlkem_seed + k.x25519_private, core.PublicKey(1, k.public))
        with pytest.raises(core.KeyMismatchError):
            core.open_sum(secret, stage.round, total.opening_request(), open=unseal)
