"""An engine that lives in Python, against the oracle: rounds, uploads, sums, requests and sum keys
byte for byte, and what the key holder's callable is given, keeps and gives."""

import functools
import gc
import hashlib
import random
import struct
import sys

import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from oracle import residues, sealed, wire  # noqa: E402
from parties import seed_of  # noqa: E402

PLAIN = 255
PRIME = (1 << 60) - 93
PLAN = residues.Plan(bytes([PLAIN]) + bytes(range(1, 16)), 7, (0, 2, PRIME), 5)
SIZE = 40
SEGMENTS = [(SIZE - 3, 1.0), (0, 2.0), (3, 0.5)]


def cipher(**changes):
    numbers = {
        "engine": PLAIN,
        "fields": PLAN.plan_fields,
        "clients": 10,
        "weight_bits": 3,
        "max_weight": 80,
        "block_values": PLAN.block_values,
        "moduli": list(PLAN.moduli),
        "row_words": PLAN.row_words,
    }
    return core.ResidueCipher(**(numbers | changes))


class Stage:
    """One round of the engine, for the core and for the oracle; the key is the second party's."""

    def __init__(self, trust_aggregator=False):
        self.parts = [seed_of("party")[:16]]
        self.body = seed_of("body") * 3
        self.public = core.PublicKey(PLAIN, self.body, self.parts)
        self.round = core.Round(
            cipher(), self.public, SEGMENTS, b"layout", trust_aggregator=trust_aggregator
        )
        self.oracle_round = wire.Round(
            PLAN,
            bytes(self.round.to_bytes()[32:64]),
            SEGMENTS,
            self.body,
            b"layout",
            upload_keys=0,
            trust_aggregator=int(trust_aggregator),
            engine=PLAIN,
            parts=self.parts,
        )

    def secret(self):
        return core.SecretKey(b"the secret of a party", self.public)

    def blocks(self, number):
        """Words of any size: nobody reduced them."""
        choice = random.Random(number)
        words = PLAN.payload_bytes(SIZE) // 8
        edges = (0, 1, PRIME - 1, PRIME, (1 << 64) - 1)
        return struct.pack(
            f"<{words}Q",
            *(choice.choice((*edges, choice.randrange(1 << 64))) for _ in range(words)),
        )

    def uploads(self, count):
        return [core.make_upload(self.round, k, self.blocks(k)) for k in range(count)]

    def oracle_sum(self, uploads, weights):
        heads, blocks = [], []
        for upload in uploads:
            _, head, own = residues.read_upload(upload.to_bytes())
            heads.append(head)
            blocks.append(own)
        entries = list(zip(weights, heads, strict=True))
        return wire.Sum(self.round.id, entries, PLAN.sum(blocks, weights)), blocks


@functools.cache
def stage_of(trust_aggregator=False):
    return Stage(trust_aggregator)


def body_of(secret, blocks):
    return hashlib.sha256(bytes(secret) + bytes(blocks)).digest()


@pytest.mark.parametrize("trust_aggregator", [False, True])
def test_keys_and_rounds(trust_aggregator):
    stage = stage_of(trust_aggregator)
    fields = sealed.public_fields(stage.body, PLAIN, stage.parts)
    assert stage.public.to_bytes() == wire.seal(wire.PUBLIC_KEY, fields)
    assert stage.public.id == sealed.key_id(stage.body, PLAIN, stage.parts)
    secret = stage.secret()
    assert secret.to_bytes() == wire.seal(wire.SECRET_KEY, fields + b"the secret of a party")
    data = stage.oracle_round.to_bytes()
    assert stage.round.to_bytes() == data
    assert stage.round.id == stage.oracle_round.id
    with pytest.raises(core.WireFormatError, match="engine, plain, is not available"):
        core.Round.from_bytes(data)
    asked = []

    def read_plan(fields):
        asked.append(bytes(fields))
        return cipher()

    assert core._read_round(data, read_plan).id == stage.round.id
    assert asked == [PLAN.plan_fields]
    for wrong in (None, cipher(fields=bytes([PLAIN]) + bytes(15)), core.Plan(clients=10)):
        with pytest.raises((core.WireFormatError, TypeError, core.ParameterError)):
            core._read_round(data, lambda _fields, wrong=wrong: wrong)


def test_a_round_needs_a_plan_and_a_key_of_one_engine():
    stage = stage_of()
    with pytest.raises((core.ParameterError, TypeError)):
        core.Round(None, stage.public, SEGMENTS)
    with pytest.raises(core.RoundError, match="of engine 'plain'"):
        core.Round(core.Plan(clients=10), stage.public, SEGMENTS)
    native = core.PublicKey(1, sealed.SecretKey(bytes(64), bytes(32)).public)
    with pytest.raises(core.RoundError, match="of engine 'native'"):
        core.Round(cipher(), native, SEGMENTS)


@pytest.mark.parametrize("weights", [[1, 1, 1], [2, 71, 7]])
def test_uploads_and_sums(weights):
    stage = stage_of()
    uploads = stage.uploads(3)
    for number, upload in enumerate(uploads):
        nonce = residues.read_upload(upload.to_bytes())[1].nonce
        head = residues.make_head(nonce, stage.blocks(number), number)
        expected = wire.upload_bytes(stage.round.id, head, stage.blocks(number))
        assert upload.to_bytes() == expected
        assert upload.digest == head.digest
        assert core.Upload.from_bytes(expected, stage.round).to_bytes() == expected
    total = core.weighted_sum(stage.round, uploads, weights)
    expected, _ = stage.oracle_sum(uploads, weights)
    assert total.to_bytes() == expected.to_bytes()
    assert total.manifest_digest == expected.manifest_digest()
    assert total.blocks_digest() == wire.blocks_digest(expected.blocks)


@pytest.mark.parametrize("trust_aggregator", [False, True])
def test_requests_and_openings(trust_aggregator):
    stage = stage_of(trust_aggregator)
    uploads, weights = stage.uploads(3), [3, 1, 2]
    total = core.weighted_sum(stage.round, uploads, weights)
    expected, blocks = stage.oracle_sum(uploads, weights)
    request = total.opening_request(uploads)
    whole = wire.Sum(
        expected.round_id, expected.entries, None, wire.evidence_of(expected.blocks, blocks)
    )
    assert request.to_bytes() == whole.to_bytes()
    requests = [request]
    if trust_aggregator:
        shown = wire.Sum(
            expected.round_id, expected.entries, None, wire.evidence_of(expected.blocks)
        )
        assert total.opening_request().to_bytes() == shown.to_bytes()
        requests.append(total.opening_request())
    else:
        with pytest.raises(core.RoundError, match="pass them"):
            total.opening_request()
        with pytest.raises(core.RoundError, match="in its order"):
            total.opening_request(uploads[::-1])
    for one in requests:
        arrived = core.OpeningRequest.from_bytes(one.to_bytes(), stage.round)
        key = core.open_sum(stage.secret(), stage.round, arrived, open=body_of)
        body = body_of(b"the secret of a party", expected.blocks)
        assert key.body == body
        assert key.to_bytes() == residues.sum_key_bytes(expected, body)
        core.check_sum_key(key, total)


def test_one_aggregate_is_opened_once():
    stage = stage_of()
    uploads = stage.uploads(3)
    request = core.weighted_sum(stage.round, uploads).opening_request(uploads)
    secret, calls = stage.secret(), []

    def opener(key, blocks):
        calls.append(bytes(blocks))
        return body_of(key, blocks) + bytes([len(calls)])

    bodies = {core.open_sum(secret, stage.round, request, open=opener).body for _ in range(3)}
    assert len(bodies) == len(calls) == 1
    fewer = core.weighted_sum(stage.round, uploads[:2]).opening_request(uploads[:2])
    with pytest.raises(core.RoundError, match="opened before"):
        core.open_sum(secret, stage.round, fewer, open=opener)
    assert len(calls) == 1


def test_blocks_that_an_opener_keeps_stay_readable():
    """Also when it fails, and its frame is all that is left of the opening."""
    stage = stage_of()
    uploads = stage.uploads(2)
    total = core.weighted_sum(stage.round, uploads)
    request, expected = total.opening_request(uploads), bytes(total.blocks)
    kept = []

    def fails(_key, blocks):
        kept.append(blocks)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        core.open_sum(stage.secret(), stage.round, request, open=fails)

    def keeps(_key, blocks):
        kept.append(memoryview(blocks)[8:])
        return b"body"

    core.open_sum(stage.secret(), stage.round, request, open=keeps)
    del uploads, total, request
    gc.collect()
    [bytes(len(expected)) for _ in range(50)]  # what was freed would be written over
    assert bytes(kept[0]) == expected
    assert bytes(kept[1]) == expected[8:]
    with pytest.raises(TypeError):
        kept[0][0] = 1


@pytest.mark.parametrize("made", [None, 5, "text", [b"body"]])
def test_what_an_opener_gives_must_be_bytes(made):
    stage = stage_of()
    uploads = stage.uploads(2)
    request = core.weighted_sum(stage.round, uploads).opening_request(uploads)
    with pytest.raises(core.ParameterError, match="bytes"):
        core.open_sum(stage.secret(), stage.round, request, open=lambda _key, _blocks: made)


def test_a_round_too_large_for_offsets_is_refused():
    wide = cipher(moduli=[0] * 256, row_words=1 << 20, block_values=1)
    public = stage_of().public
    assert core.Round(wide, public, [(1 << 31, 1.0)]).size == 1 << 31
    with pytest.raises(core.ParameterError, match=r"above 2\^62 bytes"):
        core.Round(wide, public, [((1 << 33) + 1, 1.0)])
    assert sys.getsizeof(wide) < 1000
