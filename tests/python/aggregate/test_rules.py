"""DESIGN 3's rules, each broken on purpose; what may be refused is refused, with its typed error.

Rule 5 (bytes) is in scheme/test_corrupted_bytes.py, rule 6 (secrets) in scheme/test_secrets.py,
rule 7 (constant time) is a property of the code that no test of this kind can show.
"""

import functools
import multiprocessing
import os
import stat
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from oracle import ring, scheme, sealed, wire  # noqa: E402
from parties import PLANS, Stage, seed_of, unseal  # noqa: E402
from veilsum.sealing import generate_key_pair, open_sealed  # noqa: E402

SIZE = 40
WEIGHTED = {"clients": 4, "value_bits": 8, "weight_bits": 4}


def verify(public_key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@functools.cache
def signer(number):
    return Ed25519PrivateKey.from_private_bytes(seed_of("signer", number))


def verification_key(number):
    return signer(number).public_key().public_bytes_raw()


@functools.cache
def stage_of(door, kind="plain", min_clients=2):
    arguments = WEIGHTED if kind == "weighted" else PLANS["n2048"]
    roster = [verification_key(k) for k in range(4)] if kind == "roster" else []
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
    return wire.make_sum(stage.oracle_plan, stage.round.id, parts, weights or [1] * len(uploads))


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


def test_rounds_and_keys_are_never_the_same_twice(door):
    stage = stage_of(door)
    rounds = [core.Round(stage.plan, stage.public, stage.segments) for _ in range(20)]
    assert len({r.id for r in rounds}) == len({r.seed for r in rounds}) == 20
    keys = [generate_key_pair() for _ in range(20)]
    assert len({secret.id for secret, _ in keys}) == 20
    halves = [(secret.to_bytes()[16:80], secret.to_bytes()[80:112]) for secret, _ in keys]
    assert all_different(halves)  # of ML-KEM and of X25519


# --- rule 2: enough distinct uploads, a faithful sum, opened once ---------------------------------


def test_an_upload_counts_once_in_a_sum(door, active_level):
    stage = stage_of(door)
    first, second = uploads_of(stage, 2)
    again = core.Upload.from_bytes(first.to_bytes(), stage.round)
    for repeated in (first, again):
        with pytest.raises(core.RoundError, match=r"once|already"):
            stage.sum_of([first, second, repeated])
        aggregator = core.Aggregator(stage.round)
        aggregator.add(first)
        with pytest.raises(core.RoundError, match=r"once|already"):
            aggregator.add(repeated)
        assert aggregator.count == 1
        aggregator.add(second)
        # The first stands: the refused one left no trace in the sum.
        assert aggregator.finish().to_bytes() == stage.sum_of([first, second]).to_bytes()


def test_the_same_key_under_other_blocks_is_the_same_upload(door):
    """A sealed key replayed with different blocks would reuse an upload key: refused too."""
    stage = stage_of(door)
    first = stage.encrypt(0, [0.5] * SIZE)
    replayed = stage.encrypt(0, [-0.5] * SIZE)
    assert replayed.digest == first.digest
    with pytest.raises(core.RoundError):
        stage.sum_of([first, replayed])


def test_a_manifest_with_one_upload_twice_is_refused(door):
    stage = stage_of(door)
    first, second = uploads_of(stage, 2)
    total = oracle_total(stage, [first, second, first])
    for kind, data in (
        (core.Aggregate, total.to_bytes()),
        (core.OpeningRequest, total.request().to_bytes()),
    ):
        with pytest.raises(core.RoundError, match=r"twice|once"):
            kind.from_bytes(data, stage.round)


@pytest.mark.parametrize(("least", "given"), [(2, 1), (3, 1), (3, 2), (10, 9)])
def test_fewer_than_min_clients(door, least, given):
    stage = stage_of(door, min_clients=least)
    uploads = uploads_of(stage, given)
    with pytest.raises(core.RoundError, match=str(least)):
        stage.sum_of(uploads)
    aggregator = core.Aggregator(stage.round)
    for upload in uploads:
        aggregator.add(upload)
    with pytest.raises(core.RoundError, match=str(least)):
        aggregator.finish()
    request = request_of(stage, oracle_total(stage, uploads))
    with pytest.raises(core.RoundError, match=str(least)):
        open_request(stage, request)
    aggregator.add(upload_of(stage, 100))
    for k in range(given + 1, least):
        aggregator.add(upload_of(stage, 100 + k))
    assert aggregator.finish().count == least


def test_an_empty_sum(door):
    stage = stage_of(door)
    with pytest.raises(core.RoundError):
        stage.sum_of([])
    with pytest.raises(core.RoundError):
        core.Aggregator(stage.round).finish()
    total = oracle_total(stage, uploads_of(stage, 1))
    empty = replace(total, entries=[])
    with pytest.raises(core.WireFormatError):
        core.Aggregate.from_bytes(empty.to_bytes(), stage.round)


def test_min_clients_below_two_is_no_round(door):
    stage = stage_of(door)
    for least in (0, 1, 11):
        with pytest.raises(core.ParameterError, match="min_clients"):
            core.Round(stage.plan, stage.public, stage.segments, b"", least)
    core.Round(stage.plan, stage.public, stage.segments, b"", 10)


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


def resealed(stage, number, *, rnd=None, nonce=None, public=None):
    """The head of client `number`, its seed sealed in another context than it says."""
    seed, _, own = stage.seeds(number)
    rnd = rnd or stage.oracle_round
    info = sealed.key_info(rnd.id, nonce or own, sealed.key_id(public or rnd.public))
    randomness = seed_of("reseal", number) + seed_of("reseal x", number)
    return wire.Head(own, sealed.seal(public or rnd.public, info, seed, randomness))


def flipped(head, byte):
    changed = bytearray(head.sealed_key)
    changed[byte] ^= 1
    return replace(head, sealed_key=bytes(changed))


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
        "another nonce beside it": replace(head, nonce=seed_of("nonce")[:16]),
        "another key holder": resealed(stage, number, public=stranger),
        "another upload's, copied": replace(donor, nonce=head.nonce),
        "zeros": replace(head, sealed_key=bytes(sealed.SEALED_BYTES)),
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


def test_a_copied_upload_counts_once(door):
    """Head and all: the sealed key, which names an upload, is in the sum already."""
    stage = stage_of(door)
    uploads = uploads_of(stage, 2)
    for copy in (
        with_head(stage, upload_of(stage, 2), stage.head(0)),
        with_head(stage, upload_of(stage, 2), replace(stage.head(0), nonce=bytes(16))),
    ):
        with pytest.raises(core.RoundError, match=uploads[0].digest[:4].hex()):
            stage.sum_of([*uploads, copy])
        total = oracle_total(stage, [*uploads, copy])
        with pytest.raises(core.RoundError, match="twice"):
            request_of(stage, total)


def test_an_opener_that_fails_fails_the_opening(door):
    """An exception in the callback travels out; a seed of another length is no seed."""
    stage = stage_of(door)
    request = stage.sum_of(uploads_of(stage, 2)).opening_request()

    def broken(key, info, data):
        raise LookupError("no such key")

    secret = stage.fresh_secret()
    with pytest.raises(LookupError, match="no such key"):
        core.open_sum(secret, stage.round, request, open=broken)
    for answer in (None, b"", bytes(31), bytes(33)):
        with pytest.raises((core.RoundError, core.ParameterError)):
            core.open_sum(secret, stage.round, request, open=lambda *_, seed=answer: seed)
    core.open_sum(secret, stage.round, request, open=unseal)


@pytest.mark.parametrize("signed_ones", [False, True])
def test_an_upload_that_does_not_fit_its_sealed_key(door, active_level, signed_ones):
    """Its client sealed another seed than it encrypted with, and signed it: the sum is refused."""
    stage = stage_of(door, "roster" if signed_ones else "plain")
    uploads = [signed(stage, k) if signed_ones else upload_of(stage, k) for k in range(2)]
    bad = with_head(stage, upload_of(stage, 2), stage.head(9))
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


def test_a_round_is_opened_for_one_sum(door):
    """Sums of {0, 1, 2} and {0, 1} would differ by upload 2 alone."""
    stage = stage_of(door)
    uploads = uploads_of(stage, 3)
    three, two = stage.sum_of(uploads), stage.sum_of(uploads[:2])
    secret = stage.fresh_secret()
    key = stage.open(three, secret)
    with pytest.raises(core.RoundError, match="opened"):
        stage.open(two, secret)
    again = stage.open(three, secret)
    assert again.to_bytes() == key.to_bytes()
    reordered = stage.sum_of(uploads[::-1])
    assert stage.open(reordered, secret).to_bytes() == key.to_bytes()
    # The next round of the same key is open to it.
    fresh = door.round_seeded(
        stage.plan, stage.public, stage.segments, b"", 2, [], 1, seed_of("next round")
    )
    values = np.zeros(SIZE, dtype=np.float64)
    more = [core.encrypt(fresh, [values], ["float64"], seal=stage.sealer(k)) for k in range(2)]
    total = core.weighted_sum(fresh, more)
    core.open_sum(secret, fresh, total.opening_request(), open=unseal)


def test_other_weights_are_another_sum(door):
    stage = stage_of(door, "weighted")
    uploads = uploads_of(stage, 2)
    secret = stage.fresh_secret()
    stage.open(stage.sum_of(uploads, [1, 1]), secret)
    with pytest.raises(core.RoundError, match="opened"):
        stage.open(stage.sum_of(uploads, [1, 2]), secret)


def test_a_refused_opening_is_not_remembered(door):
    """A forged request must not use up the round."""
    stage = stage_of(door)
    uploads = uploads_of(stage, 3)
    honest = oracle_total(stage, uploads)
    secret = stage.fresh_secret()
    foreign = (1, flipped(stage.head(0), 0))
    for entries in ([foreign, *honest.entries[1:]], [*honest.entries, foreign], honest.entries[:1]):
        with pytest.raises(core.RoundError):
            stage.open(replace_entries(stage, honest, entries), secret)
    stage.open(replace_entries(stage, honest, honest.entries), secret)


def test_the_memory_of_openings_survives_a_restart(door, tmp_path):
    stage = stage_of(door)
    uploads = uploads_of(stage, 3)
    three, two = stage.sum_of(uploads), stage.sum_of(uploads[:2])
    path = str(tmp_path / "authority.key")
    secret = stage.fresh_secret()
    secret.save(path)
    expected = stage.open(three, secret).to_bytes()
    ledger = tmp_path / "authority.key.opened"
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600
    assert ledger.read_text().split() == [stage.round.id.hex(), oracle_total(
        stage, uploads
    ).manifest_digest().hex()]  # fmt: skip
    loaded = core.SecretKey.load(path)
    with pytest.raises(core.RoundError, match="opened"):
        stage.open(two, loaded)
    assert stage.open(three, loaded).to_bytes() == expected
    assert len(ledger.read_text().splitlines()) == 1


def test_openings_before_the_first_save_are_remembered_too(door, tmp_path):
    stage = stage_of(door)
    uploads = uploads_of(stage, 3)
    secret = stage.fresh_secret()
    stage.open(stage.sum_of(uploads), secret)
    path = str(tmp_path / "late.key")
    secret.save(path)
    with pytest.raises(core.RoundError, match="opened"):
        stage.open(stage.sum_of(uploads[:2]), core.SecretKey.load(path))


def test_two_holders_of_one_file_share_its_memory(door, tmp_path):
    stage = stage_of(door)
    uploads = uploads_of(stage, 3)
    path = str(tmp_path / "shared.key")
    stage.fresh_secret().save(path)
    one, two = core.SecretKey.load(path), core.SecretKey.load(path)
    stage.open(stage.sum_of(uploads), one)
    with pytest.raises(core.RoundError, match="opened"):
        stage.open(stage.sum_of(uploads[:2]), two)


OPEN_IN_A_NEW_PROCESS = """
import sys
import veilsum._core as core
from veilsum.sealing import open_sealed
key, rnd, request = sys.argv[1:]
rnd = core.Round.load(rnd)
request = core.OpeningRequest.load(request, rnd)
try:
    core.open_sum(core.SecretKey.load(key), rnd, request, open=open_sealed)
    print("opened")
except core.RoundError as error:
    print("refused")
"""


def test_the_memory_of_openings_is_read_by_other_processes(door, tmp_path):
    stage = stage_of(door)
    uploads = uploads_of(stage, 3)
    paths = {name: str(tmp_path / name) for name in ("key", "round", "two", "three")}
    stage.fresh_secret().save(paths["key"])
    stage.round.save(paths["round"])
    stage.sum_of(uploads[:2]).opening_request().save(paths["two"])
    stage.sum_of(uploads).opening_request().save(paths["three"])

    def run(which):
        out = subprocess.run(
            [sys.executable, "-c", OPEN_IN_A_NEW_PROCESS, paths["key"], paths["round"], which],
            capture_output=True,
            text=True,
            check=True,
        )
        return out.stdout.strip()

    assert run(paths["three"]) == "opened"
    assert run(paths["two"]) == "refused"
    assert run(paths["three"]) == "opened"


def test_a_forked_child_opens_nothing_with_a_key_without_a_file(door, tmp_path):
    # Found in review: parent and child each opened another set of one round, and the difference of
    # the sums was one client's update.
    stage = stage_of(door)
    uploads = uploads_of(stage, 3)
    requests = [stage.sum_of(uploads[:count]).opening_request() for count in (2, 3)]
    memory, saved = stage.fresh_secret(), stage.fresh_secret()
    saved.save(str(tmp_path / "key"))
    core.open_sum(saved, stage.round, requests[1], open=unseal)

    def refusal(secret, request):
        try:
            core.open_sum(secret, stage.round, request, open=unseal)
        except core.RoundError as error:
            return str(error)
        return ""

    child = os.fork()
    if not child:
        try:
            good = "forked from" in refusal(memory, requests[0])
            good = good and "opened before" in refusal(saved, requests[0])
            good = good and refusal(saved, requests[1]) == ""
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    core.open_sum(memory, stage.round, requests[1], open=unseal)


def test_a_damaged_memory_of_openings(door, tmp_path):
    """A last line cut short by a crash opened nothing; anything else is not trusted."""
    stage = stage_of(door)
    uploads = uploads_of(stage, 3)
    path = tmp_path / "key"
    secret = stage.fresh_secret()
    secret.save(str(path))
    stage.open(stage.sum_of(uploads), secret)
    ledger = tmp_path / "key.opened"
    whole = ledger.read_text()
    ledger.write_text(whole + whole[:50])
    loaded = core.SecretKey.load(str(path))
    with pytest.raises(core.RoundError, match="opened"):
        stage.open(stage.sum_of(uploads[:2]), loaded)
    for damaged in ("x" * len(whole), whole.replace(" ", "_"), whole.upper(), "\n" * 130):
        ledger.write_text(damaged)
        with pytest.raises(core.WireFormatError):
            core.SecretKey.load(str(path))


# --- rule 2: rosters ------------------------------------------------------------------------------


def test_signed_uploads_pass_aggregator_and_authority(door):
    stage = stage_of(door, "roster")
    uploads = [signed(stage, k) for k in range(3)]
    assert [u.client for u in uploads] == [0, 1, 2]
    assert all(u.signed for u in uploads)
    total = stage.sum_of(uploads, verify=verify)
    assert total.clients == [0, 1, 2]
    aggregator = core.Aggregator(stage.round, verify)
    for upload in uploads:
        aggregator.add(core.Upload.from_bytes(upload.to_bytes(), stage.round))
    assert aggregator.finish().to_bytes() == total.to_bytes()
    open_request(stage, total.opening_request(), verify=verify)


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


def refused_everywhere(stage, good, bad, pattern):
    """By the aggregator's two ways, and by the authority if the aggregator looked away."""
    with pytest.raises(core.RoundError, match=pattern):
        stage.sum_of([*good, bad], verify=verify)
    aggregator = core.Aggregator(stage.round, verify)
    with pytest.raises(core.RoundError, match=pattern):
        aggregator.add(bad)
    request = request_of(stage, oracle_total(stage, [*good, bad]))
    with pytest.raises(core.RoundError, match=pattern):
        open_request(stage, request, verify=verify)


def test_unsigned_uploads_in_a_round_with_a_roster(door):
    stage = stage_of(door, "roster")
    refused_everywhere(
        stage, [signed(stage, 0), signed(stage, 1)], upload_of(stage, 2), "not signed"
    )


def test_signatures_of_somebody_else(door):
    stage = stage_of(door, "roster")
    good = [signed(stage, 0), signed(stage, 1)]
    outsider = signed(stage, 2, by=9, as_client=2)
    refused_everywhere(stage, good, outsider, "signature of client 2")
    impostor = signed(stage, 2, by=3, as_client=2)
    refused_everywhere(stage, good, impostor, "signature of client 2")


def test_clients_that_are_not_on_the_roster(door):
    stage = stage_of(door, "roster")
    good = [signed(stage, 0), signed(stage, 1)]
    for client in (4, 2**31, 2**32 - 1):
        refused_everywhere(stage, good, signed(stage, 2, by=2, as_client=client), "roster")


def test_one_client_uploads_once(door):
    """Two different, properly signed uploads of one client: the second is refused."""
    stage = stage_of(door, "roster")
    first, second, other = signed(stage, 0), signed(stage, 5, by=0), signed(stage, 1)
    with pytest.raises(core.RoundError, match="client 0"):
        stage.sum_of([first, other, second], verify=verify)
    aggregator = core.Aggregator(stage.round, verify)
    aggregator.add(first)
    with pytest.raises(core.RoundError, match="client 0"):
        aggregator.add(second)
    assert aggregator.count == 1
    total = oracle_total(stage, [first, other, second])
    with pytest.raises(core.RoundError, match="client 0"):
        request_of(stage, total)


def changed_signature(upload, stage, change):
    """The upload with its head rewritten by `change`, as bytes with a good checksum."""
    round_id, head, blocks = wire.read_upload(upload.to_bytes())
    head, blocks = change(head, blocks)
    return core.Upload.from_bytes(wire.upload_bytes(round_id, head, blocks), stage.round)


def test_a_signature_does_not_move_to_another_upload(door):
    stage = stage_of(door, "roster")
    good = [signed(stage, 0), signed(stage, 1)]
    _, donor, _ = wire.read_upload(signed(stage, 2).to_bytes())
    bad = changed_signature(
        upload_of(stage, 7), stage, lambda head, b: (replace(head, signature=donor.signature), b)
    )
    refused_everywhere(stage, good, bad, "client 2")


def test_a_signature_does_not_move_to_another_round(door):
    stage, other = stage_of(door, "roster"), stage_of(door, "roster", min_clients=3)
    good = [signed(stage, 0), signed(stage, 1)]
    _, donor, _ = wire.read_upload(signed(other, 2).to_bytes())
    bad = changed_signature(
        upload_of(stage, 2), stage, lambda head, b: (replace(head, signature=donor.signature), b)
    )
    refused_everywhere(stage, good, bad, "client 2")


def test_the_clip_count_is_signed(door):
    stage = stage_of(door, "roster")
    good = [signed(stage, 0), signed(stage, 1)]
    bad = changed_signature(signed(stage, 2), stage, lambda head, b: (replace(head, clipped=1), b))
    refused_everywhere(stage, good, bad, "signature of client 2")


def test_every_bit_of_a_signature_counts(door, rng):
    stage = stage_of(door, "roster")
    good = [signed(stage, 0), signed(stage, 1)]
    for bit in rng.sample(range(512), 8):

        def flip(head, blocks, bit=bit):
            raw = bytearray(head.signature.signature)
            raw[bit // 8] ^= 1 << bit % 8
            return replace(head, signature=replace(head.signature, signature=bytes(raw))), blocks

        refused_everywhere(
            stage, good, changed_signature(signed(stage, 2), stage, flip), "signature of client 2"
        )


def test_blocks_are_signed(door):
    """The aggregator sees the blocks and compares; the authority sees only what was signed."""
    stage = stage_of(door, "roster")
    good = [signed(stage, 0), signed(stage, 1)]
    _, _, other = wire.read_upload(upload_of(stage, 6).to_bytes())
    bad = changed_signature(signed(stage, 2), stage, lambda head, _: (head, other))
    with pytest.raises(core.RoundError, match="blocks of client 2"):
        stage.sum_of([*good, bad], verify=verify)
    aggregator = core.Aggregator(stage.round, verify)
    with pytest.raises(core.RoundError, match="blocks of client 2"):
        aggregator.add(bad)
    assert aggregator.count == 0
    fixed = wire.blocks_digest(other)
    forged = changed_signature(
        bad,
        stage,
        lambda head, b: (
            replace(head, signature=replace(head.signature, blocks_digest=fixed)),
            b,
        ),
    )
    refused_everywhere(stage, good, forged, "signature of client 2")


def test_a_roster_needs_a_verifier(door):
    stage = stage_of(door, "roster")
    uploads = [signed(stage, k) for k in range(2)]
    total = stage.sum_of(uploads, verify=verify)
    for call in (
        lambda: stage.sum_of(uploads),
        lambda: core.Aggregator(stage.round),
        lambda: open_request(stage, total.opening_request()),
    ):
        with pytest.raises(core.ParameterError, match="verif"):
            call()


def test_a_verifier_that_fails_fails_the_sum(door):
    """An exception in the callback travels out; it never counts as a good signature."""
    stage = stage_of(door, "roster")
    uploads = [signed(stage, k) for k in range(2)]

    def broken(public_key, signature, message):
        raise LookupError("no such key")

    with pytest.raises(LookupError, match="no such key"):
        stage.sum_of(uploads, verify=broken)
    with pytest.raises(core.RoundError):
        stage.sum_of(uploads, verify=lambda *_: False)


def test_signed_uploads_in_a_round_without_a_roster(door):
    """The signature could not be checked, so it must not look as if it had been."""
    stage = stage_of(door)
    upload = upload_of(stage, 0)
    payload = upload.signing_payload(stage.round, 0)
    upload.attach_signature(0, signer(0).sign(payload))
    with pytest.raises(core.RoundError, match="no roster"):
        stage.sum_of([upload, upload_of(stage, 1)])


def test_rosters_that_make_no_round(door):
    stage = stage_of(door)

    def make(roster, least=2):
        return core.Round(stage.plan, stage.public, stage.segments, b"", least, roster)

    keys = [verification_key(k) for k in range(11)]
    with pytest.raises(core.ParameterError, match="roster"):
        make(keys)
    with pytest.raises(core.ParameterError, match="roster"):
        make(keys[:1])
    with pytest.raises(core.ParameterError, match="roster"):
        make(keys[:2], least=3)
    with pytest.raises(core.ParameterError, match="twice"):
        make([keys[0], keys[1], keys[0]])
    with pytest.raises(core.ParameterError, match="32"):
        make([keys[0], keys[1][:31]])
    assert make(keys[:10]).roster == keys[:10]


# --- rule 3: weights ------------------------------------------------------------------------------


def test_a_weighted_sum_key_stays_where_it_was_opened(door, tmp_path):
    stage = stage_of(door, "weighted")
    uploads = uploads_of(stage, 3)
    total = stage.sum_of(uploads, [5, 1, 2])
    key = stage.open(total)
    assert not key.exportable
    path = tmp_path / "sum.key"
    with pytest.raises(core.RoundError, match="export"):
        key.to_bytes()
    with pytest.raises(core.RoundError, match="export"):
        key.save(str(path))
    assert not path.exists()
    mean = core.decrypt(key, total)
    exported = stage.open(total, export=True)
    assert exported.exportable
    again = core.SumKey.from_bytes(exported.to_bytes(), stage.round)
    assert core.decrypt(again, total).tobytes() == mean.tobytes()


def test_a_unit_sum_key_may_travel(door):
    for kind in ("plain", "weighted"):
        stage = stage_of(door, kind)
        total = stage.sum_of(uploads_of(stage, 3))
        key = stage.open(total)
        assert key.exportable
        assert core.SumKey.from_bytes(key.to_bytes(), stage.round).exportable


def test_a_plan_of_unit_weights_takes_no_others(door):
    stage = stage_of(door)
    uploads = uploads_of(stage, 2)
    for weights in ([2, 1], [1, 10], [3, 3]):
        with pytest.raises(core.HeadroomError, match="weight"):
            stage.sum_of(uploads, weights)
    aggregator = core.Aggregator(stage.round)
    with pytest.raises(core.HeadroomError, match="weight"):
        aggregator.add(uploads[0], 2)
    # An aggregator that does it all the same is refused by the authority.
    request = request_of(stage, oracle_total(stage, uploads, [1, 3]))
    with pytest.raises(core.RoundError, match="weight"):
        open_request(stage, request)


def test_weights_beyond_the_plan(door):
    """W = 64 here: refused before any work, whichever upload crosses the line."""
    stage = stage_of(door, "weighted")
    uploads = uploads_of(stage, 3)
    top = stage.plan.max_weight
    for weights in (
        [top, 1, 1],
        [1, 1, top - 1],
        [top - 1, 1, 1],
        [2**40, 1, 1],
        [2**63, 2**63, 1],
        [2**64 - 1, 2, 1],
    ):
        with pytest.raises(core.HeadroomError, match=str(top)):
            stage.sum_of(uploads, weights)
    stage.sum_of(uploads, [top - 2, 1, 1])
    aggregator = core.Aggregator(stage.round)
    aggregator.add(uploads[0], top - 1)
    with pytest.raises(core.HeadroomError):
        aggregator.add(uploads[1], 2)
    assert aggregator.total_weight == top - 1
    aggregator.add(uploads[1], 1)
    assert aggregator.finish().weights == [top - 1, 1]


def test_more_uploads_than_clients(door):
    arguments = {"clients": 2, "value_bits": 16}
    stage = Stage(door, arguments, [(SIZE, 1.0)], name="rules/two")
    with pytest.raises(core.HeadroomError, match="2"):
        stage.sum_of(uploads_of(stage, 3))


@pytest.mark.parametrize("weights", [[0, 1], [1, 0]])
def test_a_weight_of_zero(door, weights):
    stage = stage_of(door, "weighted")
    with pytest.raises(core.ParameterError, match="0"):
        stage.sum_of(uploads_of(stage, 2), weights)


@pytest.mark.parametrize("weights", [[-1, 1], [1.5, 1], ["1", 1], [None, 1], [2**64, 1]])
def test_weights_that_are_no_counts(door, weights):
    stage = stage_of(door, "weighted")
    with pytest.raises((TypeError, ValueError, OverflowError)):
        stage.sum_of(uploads_of(stage, 2), weights)


@pytest.mark.parametrize("weights", [[], [1], [1, 1, 1]])
def test_as_many_weights_as_uploads(door, weights):
    stage = stage_of(door, "weighted")
    with pytest.raises(core.ParameterError, match="weights"):
        stage.sum_of(uploads_of(stage, 2), weights)


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
        "roster": make(roster=[verification_key(0), verification_key(1)]),
        "upload keys": make(keys=2),
        "key": make(public=generate_key_pair()[1]),
    }  # fmt: skip


def test_a_round_id_covers_everything(door):
    others = strangers(door)
    ids = {rnd.id for rnd in others.values()} | {stage_of(door).round.id}
    assert len(ids) == len(others) + 1


def test_nothing_of_another_round_is_taken(door):
    stage = stage_of(door)
    uploads = uploads_of(stage, 2)
    total = stage.sum_of(uploads)
    key = stage.open(total)
    for name, other in strangers(door).items():
        with pytest.raises(core.RoundError, match="round"):
            core.Upload.from_bytes(uploads[0].to_bytes(), other)
        if name != "roster":
            with pytest.raises(core.RoundError, match="round"):
                core.weighted_sum(other, uploads)
            with pytest.raises(core.RoundError, match="round"):
                core.Aggregator(other).add(uploads[0])
        with pytest.raises(core.RoundError, match="round"):
            core.Aggregate.from_bytes(total.to_bytes(), other)
        with pytest.raises(core.RoundError, match="round"):
            core.OpeningRequest.from_bytes(total.opening_request().to_bytes(), other)
        with pytest.raises(core.RoundError, match="round"):
            core.open_sum(stage.fresh_secret(), other, total.opening_request(), open=unseal)
        with pytest.raises(core.KeyMismatchError, match="round"):
            core.SumKey.from_bytes(key.to_bytes(), other)


def test_one_foreign_upload_spoils_no_sum(door):
    stage, other = stage_of(door), stage_of(door, min_clients=3)
    mine, foreign = uploads_of(stage, 2), upload_of(other, 0)
    aggregator = core.Aggregator(stage.round)
    aggregator.add(mine[0])
    with pytest.raises(core.RoundError):
        aggregator.add(foreign)
    aggregator.add(mine[1])
    assert aggregator.finish().to_bytes() == stage.sum_of(mine).to_bytes()


def test_another_authoritys_key(door):
    stage = stage_of(door)
    total = stage.sum_of(uploads_of(stage, 2))
    stranger, _ = generate_key_pair()
    own = stage.oracle_secret
    # Half of the right key is another key: of either half.
    mixed = [
        sealed.SecretKey(own.mlkem_seed, seed_of("curve")),
        sealed.SecretKey(seed_of("d") + seed_of("z"), own.x25519_private),
    ]
    halves = [core.SecretKey(k.mlkem_seed + k.x25519_private, k.public) for k in mixed]
    for secret in (stranger, *halves):
        with pytest.raises(core.KeyMismatchError):
            core.open_sum(secret, stage.round, total.opening_request(), open=unseal)


def test_a_sum_key_of_another_sum(door):
    """Of the same round: three uploads against two, and other weights."""
    stage = stage_of(door)
    uploads = uploads_of(stage, 3)
    three, two = stage.sum_of(uploads), stage.sum_of(uploads[:2])
    key = stage.open(three)
    with pytest.raises(core.KeyMismatchError):
        core.decrypt(key, two)
    weighted = stage_of(door, "weighted")
    uploads = uploads_of(weighted, 2)
    key = weighted.open(weighted.sum_of(uploads, [2, 1]))
    with pytest.raises(core.KeyMismatchError):
        core.decrypt(key, weighted.sum_of(uploads, [1, 2]))


def test_a_sum_key_of_another_round(door):
    stage, other = stage_of(door), stage_of(door, min_clients=3)
    key = stage.open(stage.sum_of(uploads_of(stage, 3)))
    with pytest.raises(core.KeyMismatchError):
        core.decrypt(key, other.sum_of(uploads_of(other, 3)))


def test_a_finished_aggregator_takes_no_more(door):
    stage = stage_of(door)
    uploads = uploads_of(stage, 3)
    aggregator = core.Aggregator(stage.round)
    for upload in uploads[:2]:
        aggregator.add(upload)
    aggregator.finish()
    with pytest.raises(core.RoundError, match="finished"):
        aggregator.add(uploads[2])
    with pytest.raises(core.RoundError, match="finished"):
        aggregator.finish()
