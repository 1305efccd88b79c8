"""Compatibility: what version 2 wrote must be read, and written, for ever.

The files in tests/vectors/v2 are the oracle's (generate.py there); these tests use no oracle, so
they also stand when both implementations are changed together. A failure means that the format
changed.
"""

import functools
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, mlkem, x25519

core = pytest.importorskip("veilsum._core", reason="the core is not built")
veilsum = pytest.importorskip("veilsum")

VECTORS = Path(__file__).parents[2] / "vectors"
FOLDER = VECTORS / "v2"


@functools.cache
def load(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def rows(name, label):
    return [pytest.param(row, id=str(label(row))) for row in load(name)["rows"]]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def words_sha256(values):
    return sha256(np.array(values, dtype=np.int64).astype("<i8").tobytes())


def floats(texts):
    return [float.fromhex(text) for text in texts]


# --- kernels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", rows("ring", lambda r: f"{r['n']}-limb{r['limb']}"))
def test_ring(door, isa_level, row):
    n, q = row["n"], row["q"]
    assert door.primes()[row["limb"]] == q
    assert door.primitive_root_of_unity(q, n) == row["psi"]
    a = np.array([(0x9E3779B97F4A7C15 * (i + 1) + i * i) % q for i in range(n)], dtype=np.uint64)
    slots = door.ntt_forward(isa_level, a, q)
    assert slots[:4].tolist() == row["first_slots"]
    assert words_sha256(slots) == row["slots_sha256"]
    back = door.ntt_inverse_lazy(isa_level, slots, q) & np.uint64((1 << 52) - 1)
    assert [x * pow(n, -1, q) % q for x in back.tolist()] == a.tolist()


@pytest.mark.parametrize("row", rows("streams", lambda r: r["label"]))
def test_streams(door, isa_level, row):
    seed, context = bytes.fromhex(load("streams")["seed"]), bytes.fromhex(row["context"])
    key = bytes.fromhex(row["key"])
    round_keys = door.expander_round_keys(row["label"], context, seed, len(key))
    assert round_keys == door.aes_round_keys(key)
    assert door.aes_ctr(isa_level, round_keys, row["index"], 0, 4).hex() == row["keystream"]
    small = door.sample_cbd(isa_level, round_keys, row["index"], 2048)
    assert small[:24].tolist() == row["small"]
    assert words_sha256(small.view(np.uint8)) == row["small_sha256"]
    uniform = door.expand_uniform(isa_level, round_keys, row["index"], door.primes()[0], 2048)
    assert uniform[:8].tolist() == row["uniform_first"]
    assert words_sha256(uniform) == row["uniform_sha256"]


def unpack_fields(door, level, packed, bits):
    """Fields of any width from a block's rows."""
    groups = len(packed) // bits
    fields, shift, at = [0] * (8 * groups), 0, 0
    while shift < bits:
        width = min(52, bits - shift)
        row = door.unpack_fields(level, packed[at : at + groups * width], width)
        fields = [f | int(x) << shift for f, x in zip(fields, row, strict=True)]
        at += groups * width
        shift += width
    return fields


def in_groups(items):
    """Filled up to whole groups of eight with the first."""
    return items + [items[0]] * (-len(items) % 8)


def pack_pad(door, level, residues, limbs):
    return b"".join(
        door.pack_fields(level, np.array([r[i] for r in residues], dtype=np.uint64), 48)
        for i in range(limbs)
    )


@pytest.mark.parametrize("row", rows("rounding", lambda r: f"{r['limbs']}-{r['field_bits']}"))
def test_round(door, isa_level, row):
    """The field of a message of zeros is round(u)."""
    arithmetic = door.Arithmetic(row["limbs"], row["field_bits"], 2, 1)
    cases = in_groups(row["round"])
    pad = pack_pad(door, isa_level, [c["residues"] for c in cases], row["limbs"])
    out = door.encrypt_from_pad(isa_level, arithmetic, pad, None)
    fields = unpack_fields(door, isa_level, out, row["field_bits"])
    assert [str(f) for f in fields] == [c["field"] for c in cases]


@pytest.mark.parametrize("row", rows("rounding", lambda r: f"{r['limbs']}-{r['field_bits']}"))
def test_lift(door, isa_level, row):
    """u = step - lift(x) gives the field 1, one less 0: `lift` is neither larger nor smaller."""
    limbs, bits = row["limbs"], row["field_bits"]
    digits = bits if bits <= 96 else bits // 2
    base = 1 << bits // digits
    arithmetic = door.Arithmetic(limbs, bits, base, digits)
    cases = in_groups(row["lift"])
    message = np.array(
        [[int(c["x"]) // base**d % base for c in cases] for d in range(digits)], dtype=np.uint32
    )
    for field in (0, 1):
        residues = [
            [
                (step - 1 + field - lifted) % q
                for step, lifted, q in zip(
                    row["step"], c["residues"], door.primes()[:limbs], strict=True
                )
            ]
            for c in cases
        ]
        pad = pack_pad(door, isa_level, residues, limbs)
        out = door.encrypt_from_pad(isa_level, arithmetic, pad, message)
        assert set(unpack_fields(door, isa_level, out, bits)) == {field}


@pytest.mark.parametrize("row", rows("blocks", lambda r: f"{r['profile']}-{r['base']}"))
def test_blocks(door, isa_level, row):
    bits = row["field_bits"]
    arithmetic = door.Arithmetic(row["limbs"], bits, row["base"], row["digits"])
    pads = np.array(row["pads"], dtype=np.uint64)
    message = np.array(row["digit_rows"], dtype=np.uint32)
    pad = bytes.fromhex(row["u_packed"])
    out = door.encrypt_from_pad(isa_level, arithmetic, pad, message)
    assert out.hex() == row["packed"]
    assert [str(f) for f in unpack_fields(door, isa_level, out, bits)] == row["fields"]
    in_range, digits = door.decrypt_block(isa_level, arithmetic, out, pads, True)
    assert in_range
    assert digits.tolist() == row["digit_rows"]


def test_values(door, isa_level):
    vectors = load("values")
    values = np.array(floats(vectors["values"]), dtype=np.float32)
    for row in vectors["rows"]:
        random = row["random"] and np.array(row["random"], dtype=np.uint32)
        digits, clipped, finite = door.quantise(
            isa_level,
            values.tobytes(),
            "float32",
            float.fromhex(row["weight"]),
            float.fromhex(row["limit"]),
            row["value_bits"],
            random,
            row["in_float"],
        )
        assert finite
        assert digits.tolist() == row["digits"]
        assert clipped == row["clipped"]
    for row in vectors["back"]:
        out = door.dequantise(
            isa_level,
            np.array(row["digits"], dtype=np.uint64 if not row["in_float"] else np.uint32),
            row["offset"],
            float.fromhex(row["scale"]),
            row["dtype"],
            row["in_float"],
        )
        expected = np.array(floats(row["values"]), dtype=row["dtype"])
        assert out == expected.tobytes()


# --- plans, keys, whole objects -------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", rows("plans", lambda r: f"{r['profile']}-{r['clients']}-{r['value_bits']}")
)
def test_plans(row):
    wanted = {
        name: row[name]
        for name in ("clients", "value_bits", "weight_bits", "security", "profile", "optimise")
    }
    plan = core.Plan(**wanted)
    assert {name: getattr(plan, name) for name in wanted} == wanted
    for name in ("base", "digits", "field_bits", "delta", "noise_bound"):
        assert getattr(plan, name) == row[name]
    assert plan.id.hex() == row["id"]
    assert plan.fields.hex() == row["fields"]
    assert core.Plan.from_fields(plan.fields) == plan
    public = veilsum.Plan(**wanted)
    assert public.to_bytes()[16:-4].hex() == row["fields"]
    assert veilsum.Plan.from_bytes(public.to_bytes()) == public


@pytest.mark.parametrize("row", rows("sealed", lambda r: r["key_id"]))
def test_sealed_keys(row):
    """The package opens what another implementation sealed, in its context only."""
    sealing = pytest.importorskip("veilsum.keys.sealing", reason="the package is not installed")
    key = bytes.fromhex(row["mlkem_seed"] + row["x25519_private"])
    info, data = bytes.fromhex(row["info"]), bytes.fromhex(row["sealed"])
    assert sealing.open_sealed(key, info, data).hex() == row["seed"]
    assert sealing.open_sealed(key, info + b"x", data) is None
    assert sealing.open_sealed(key, info, data[:-1] + bytes([data[-1] ^ 1])) is None
    other = bytes([key[0] ^ 1]) + key[1:]
    assert sealing.open_sealed(other, info, data) is None


def opener_of(row):
    """What core.open_sum calls, knowing the seeds: HPKE is test_sealed_keys' matter."""
    seeds = {u["sealed_key"]: bytes.fromhex(u["upload_seed"]) for u in row["uploads"]}
    return lambda _key, _info, data: seeds.get(data.hex())


def public_half(row):
    """The public key's 1216 bytes from the private ones, by `cryptography`."""
    lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(row["mlkem_seed"]))
    curve = x25519.X25519PrivateKey.from_private_bytes(bytes.fromhex(row["x25519_private"]))
    return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()


@pytest.mark.parametrize("row", rows("scheme", lambda r: r["name"]))
def test_scheme(door, active_level, row):
    """Every object from its seeds, then the values."""
    vectors = load("scheme")
    segments = [(count, float.fromhex(limit)) for count, limit in vectors["segments"]]
    plan = core.Plan(**row["plan"])
    public_plan = veilsum.Plan(**row["plan"])
    private = bytes.fromhex(row["mlkem_seed"] + row["x25519_private"])
    secret = core.SecretKey(private, core.PublicKey(1, public_half(row)))
    rnd = door.round_seeded(
        plan,
        secret.public_key,
        segments,
        row["layout"].encode(),
        2,
        [],
        row["upload_keys"],
        bytes.fromhex(row["round_seed"]),
    )
    assert rnd.id.hex() == row["round_id"]
    made = {
        "plan": public_plan,
        "public_key": secret.public_key,
        "secret_key": secret,
        "round": rnd,
    }
    uploads = []
    for client, update in enumerate(vectors["updates"]):
        facts, values, pieces = row["uploads"][client], floats(update), []
        for count, _ in segments:
            pieces.append(np.array(values[:count]))
            values = values[count:]
        sealed_key = bytes.fromhex(facts["sealed_key"])
        upload = door.encrypt_seeded(
            rnd,
            pieces,
            ["float64"] * len(pieces),
            tuple(bytes.fromhex(facts[k]) for k in ("upload_seed", "rounding_seed", "nonce")),
            lambda _key, _info, _seed, sealed_key=sealed_key: sealed_key,
            rounding=facts["rounding"],
        )
        assert upload.clipped == facts["clipped"]
        assert upload.digest.hex() == facts["upload_digest"]
        keys = door.expand_keys(rnd, bytes.fromhex(facts["upload_seed"]))
        assert keys[0, :16].tolist() == facts["first_key"]
        uploads.append(upload)
        made[f"upload_{client}"] = upload
    total = core.weighted_sum(rnd, uploads, row["weights"])
    made["aggregate"] = total
    made["opening_request"] = total.opening_request()
    opener = opener_of(row)
    key = core.open_sum(secret, rnd, total, open=opener, export=True)
    made["sum_key"] = key
    assert {name: sha256(thing.to_bytes()) for name, thing in made.items()} == row["sha256"]
    assert core.decrypt(key, total).tolist() == floats(row["mean_float32"])
    out = core.decrypt(key, total, average=False, dtype="float64")
    assert out.tolist() == floats(row["sum_float64"])


def test_identities_and_a_round_with_both_kinds(door):
    """Public identities as the core reads them, what a client signs, and its upload."""
    vectors, row = load("identities"), row_of("n2048")
    made = []
    for facts in vectors["rows"]:
        public = core.PublicIdentity(bytes.fromhex(facts["public"]))
        assert public.id.hex() == facts["id"]
        assert public.post_quantum == (facts["kind"] == 2)
        assert public.signature_bytes == len(facts["signature"]) // 2
        assert sha256(public.to_bytes()) == facts["object_sha256"]
        assert core.PublicIdentity.from_bytes(public.to_bytes()) == public
        made.append(public)
    plan = core.Plan(**row["plan"])
    holder = core.SecretKey.from_bytes(objects()["secret_key"])
    segments = [(count, float.fromhex(limit)) for count, limit in load("scheme")["segments"]]
    rnd = door.round_seeded(
        plan,
        holder.public_key,
        segments,
        row["layout"].encode(),
        2,
        [one.fields for one in made],
        row["upload_keys"],
        bytes.fromhex(row["round_seed"]),
    )
    assert rnd.id.hex() == vectors["round_id"]
    assert sha256(rnd.to_bytes()) == vectors["round_sha256"]
    assert list(core.Round.from_bytes(rnd.to_bytes()).roster) == made
    for signed, facts, update in zip(
        vectors["uploads"], row["uploads"], load("scheme")["updates"], strict=True
    ):
        values, pieces = floats(update), []
        for count, _ in segments:
            pieces.append(np.array(values[:count]))
            values = values[count:]
        sealed_key = bytes.fromhex(signed["sealed_key"])
        upload = door.encrypt_seeded(
            rnd,
            pieces,
            ["float64"] * len(pieces),
            tuple(bytes.fromhex(facts[k]) for k in ("upload_seed", "rounding_seed", "nonce")),
            lambda _key, _info, _seed, sealed_key=sealed_key: sealed_key,
            rounding=facts["rounding"],
            client=signed["client"],
        )
        client = signed["client"]
        assert upload.signing_payload(rnd, client).hex() == signed["payload"]
        upload.attach_signature(client, bytes.fromhex(signed["signature"]))
        assert sha256(upload.to_bytes()) == signed["sha256"]
        # What the verifier is asked is what is in the file.
        asked = []
        core.Accumulator(rnd, verify=lambda *question, asked=asked: not asked.append(question)).add(
            core.Upload.from_bytes(upload.to_bytes(), rnd)
        )
        signature, payload = bytes.fromhex(signed["signature"]), bytes.fromhex(signed["payload"])
        assert asked == [(made[client].fields, signature, payload)]


def test_identities_of_the_package():
    """Seeds give the public half; a signature of the files holds, and ours hold for the same."""
    keys = pytest.importorskip("veilsum.keys.identity", reason="the package is not installed")
    for facts in load("identities")["rows"]:
        names = ("ed25519_private", "x25519_private", "mlkem_seed", "ml_dsa_seed")
        seeds = {name: bytes.fromhex(facts[name]) for name in names}
        lattice = seeds["ml_dsa_seed"]
        identity = keys.Identity(
            ed25519.Ed25519PrivateKey.from_private_bytes(seeds["ed25519_private"]),
            x25519.X25519PrivateKey.from_private_bytes(seeds["x25519_private"]),
            mlkem.MLKEM768PrivateKey.from_seed_bytes(seeds["mlkem_seed"]),
            mldsa.MLDSA65PrivateKey.from_seed_bytes(lattice) if lattice else None,
        )
        assert identity.public.fields.hex() == facts["public"]
        message = bytes.fromhex(facts["message"])
        assert identity.public.signing_input(message).hex() == facts["signing_input"]
        assert identity.public.verify(bytes.fromhex(facts["signature"]), message)
        assert identity.public.verify(identity.sign(message), message)
        assert identity.sign(message)[:64].hex() == facts["signature"][:128]


# --- rounds with rosters --------------------------------------------------------------------------


def identity_of(facts):
    """The package's identity of a party of committee.json."""
    lattice = bytes.fromhex(facts["ml_dsa_seed"])
    return veilsum.Identity(
        ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(facts["ed25519_private"])),
        x25519.X25519PrivateKey.from_private_bytes(bytes.fromhex(facts["x25519_private"])),
        mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(facts["mlkem_seed"])),
        mldsa.MLDSA65PrivateKey.from_seed_bytes(lattice) if lattice else None,
    )


class Parties:
    """Everybody of a row of committee.json, and the files of its round."""

    def __init__(self, row):
        self.row = row
        folder = FOLDER / "committee" / row["name"]
        self.files = {path.stem: path.read_bytes() for path in folder.glob("*.bin")}
        self.round = core.Round.from_bytes(self.files["round"])
        self.clients = [identity_of(one) for one in row["clients"]]
        self.members = [identity_of(one) for one in row.get("members", [])]
        self.roster = veilsum.Roster([one.public for one in self.clients])

    def group(self, place):
        return veilsum.Group.open(
            self.clients[place], self.files["group"], self.roster, "a training"
        )

    def open_answer(self, key, info, sealed):
        if "group" in self.row:
            return self.group(0).open_answer(key, info, sealed)
        return identity_of(self.row["server"]).open(info, sealed)

    @property
    def tag_key(self):
        group = self.row.get("group")
        return {"tag_key": bytes.fromhex(group["tag_key"])} if group else {}

    def holder(self):
        private = bytes.fromhex(
            self.row["holder"]["mlkem_seed"] + self.row["holder"]["x25519_private"]
        )
        return core.SecretKey(private, core.PublicKey(1, public_half(self.row["holder"])))

    def parts(self, client):
        """What a client sealed: shares in an upload's file, or the end of its head."""
        data = self.files[f"upload_{client}"]
        end = len(data) - 4 - len(self.read(f"upload_{client}").blocks) - 8
        if not self.members:
            return [data[end - 1136 - 48 : end]]
        each = (end - self.first_share(client)) // len(self.members)
        return [
            data[self.first_share(client) + each * k :][:each] for k in range(len(self.members))
        ]

    def first_share(self, client):
        named = 0 if self.round.tagged else 32
        return 48 + 1 + 8 + 4 + named + self.clients[client].public.signature_bytes + 16 + 32

    def read(self, kind):
        return read(kind, self.files[kind], self.round)

    def endorsements(self):
        return [self.read(f"endorsement_{k}") for k in range(len(self.members))]

    def answers(self):
        return [self.read(f"answer_{k}") for k in range(len(self.members))]

    def open_sum(self, request):
        sealing = pytest.importorskip("veilsum.keys.sealing", reason="the package is not installed")
        return core.open_sum(
            self.holder(),
            self.round,
            request,
            open=sealing.open_sealed,
            verify=veilsum.Roster.verify,
        )


@functools.cache
def parties_of(name):
    (row,) = [r for r in load("committee")["rows"] if r["name"] == name]
    return Parties(row)


committee_rows = pytest.mark.parametrize("name", [r["name"] for r in load("committee")["rows"]])


@committee_rows
def test_objects_of_rosters_are_read_and_written_back(name):
    """The bytes themselves, without the door."""
    made = parties_of(name)
    row = made.row
    assert {kind: sha256(data) for kind, data in made.files.items()} == row["sha256"]
    assert made.round.id.hex() == row["round_id"]
    kinds = [kind for kind in made.files if kind != "group"]
    assert {kind: made.read(kind).to_bytes() for kind in kinds} == {
        kind: made.files[kind] for kind in kinds
    }
    uploads = [made.read(f"upload_{client}") for client in range(3)]
    for upload, facts in zip(uploads, row["uploads"], strict=True):
        assert upload.digest.hex() == facts["upload_digest"]
        client = row["uploads"].index(facts)
        assert upload.signing_payload(made.round, client).hex() == facts["payload"]
        own, signature = made.clients[client].public, bytes.fromhex(facts["signature"])
        assert own.verify(signature, bytes.fromhex(facts["payload"]))
    total = core.weighted_sum(made.round, uploads, verify=veilsum.Roster.verify)
    assert total.to_bytes() == made.files["aggregate"]
    assert total.manifest_digest.hex() == row["manifest_digest"]
    assert total.blocks_digest().hex() == row["blocks_digest"]
    key = made.read("sum_key")
    if made.members:
        assert made.round.committee.id.hex() == row["committee_id"]
        assert total.without_shares().to_bytes() == made.files["aggregate_for_readers"]
        words = made.endorsements()
        certificate = core.Certificate(total, words[::-1], verify=veilsum.Roster.verify)
        assert certificate.to_bytes() == made.files["certificate"]
        assert certificate.sum.hex() == row["sum"]
        for k, (word, answer) in enumerate(zip(words, made.answers(), strict=True)):
            request = core.member_request(total, k)
            assert request.to_bytes() == made.files[f"member_request_{k}"]
            payload = core.endorsement_payload(made.round, k, word.sum)
            assert payload.hex() == row["endorsements"][k]["payload"]
            core.check_answer(answer, certificate, veilsum.Roster.verify)
            core.check_request(request, made.members[k].public, 2, veilsum.Roster.verify)
        opened = [made.read(f"challenge_answer_{k}") for k in range(len(words))]
        verdict = core.blame(
            certificate, opened, made.answers(), made.open_answer, veilsum.Roster.verify
        )
        assert verdict.to_bytes() == made.files["verdict"]
        assert (verdict.clients, verdict.members, verdict.suspects) == ([], [], [])
        found = core.combine(certificate, made.answers(), made.open_answer, veilsum.Roster.verify)
        assert [(one.to_bytes(), wrong) for one, wrong in found] == [(key.to_bytes(), [])]
    else:
        assert total.opening_request().to_bytes() == made.files["opening_request"]
        assert made.open_sum(total.opening_request()).to_bytes() == key.to_bytes()
    out = core.decrypt(key, total, **made.tag_key)
    assert out.tolist() == floats(row["mean_float32"])


@committee_rows
def test_secrets_of_rosters(door, active_level, name):
    """Uploads, shares and answers from their seeds."""
    made = parties_of(name)
    row, vectors = made.row, load("committee")
    for client, (facts, update) in enumerate(zip(row["uploads"], vectors["updates"], strict=True)):
        parts, seen = made.parts(client), []

        def seal(key, info, secret, parts=parts, seen=seen):
            seen.append(bytes(secret))
            return parts[len(seen) - 1]

        values, pieces = floats(update), []
        for count, _ in vectors["segments"]:
            pieces.append(np.array(values[:count]))
            values = values[count:]
        seeds = tuple(bytes.fromhex(facts[k]) for k in ("upload_seed", "rounding_seed", "nonce"))
        options = {"rounding": facts["rounding"], "client": client}
        dtypes = ["float64"] * len(pieces)
        if made.round.tagged:
            upload, _ = door.encrypt_tagged(
                made.round,
                made.round,
                made.tag_key["tag_key"],
                pieces,
                dtypes,
                seal,
                seeds=seeds,
                **options,
            )
        else:
            upload = door.encrypt_seeded(made.round, pieces, dtypes, seeds, seal, **options)
        upload.attach_signature(client, bytes.fromhex(facts["signature"]))
        assert upload.to_bytes() == made.files[f"upload_{client}"]
        if made.members:
            assert [sha256(one) for one in seen] == [one["sha256"] for one in facts["shares"]]
        else:
            words = b"".join(int(value).to_bytes(8, "little") for value in facts["tag"])
            assert seen == [seeds[0] + words]
    for k, member in enumerate(made.members):
        request = made.read(f"member_request_{k}")
        shares = core.open_shares(
            request, lambda key, info, sealed, member=member: member.open(info, sealed)
        )
        assert shares.bad == []
        drawn, sealed = [], made.files[f"answer_{k}"]

        def seal(key, info, secret, drawn=drawn, sealed=sealed):
            drawn.append(bytes(secret))
            return sealed[-4 - 1136 - len(secret) : -4]

        core.seal_answer(shares, k, seal)
        assert [sha256(one) for one in drawn] == [row["answers"][k]["share_sha256"]]
        words = core.open_challenges(
            request, lambda key, info, sealed, member=member: member.open(info, sealed)
        )
        assert words == made.read(f"challenge_answer_{k}").words
        payload = core.challenge_payload(made.round, k, request.sum, words)
        assert payload.hex() == row["challenge_answers"][k]["payload"]
        payload = core.answer_payload(
            made.round, k, request.sum, sealed[-4 - 1136 - len(drawn[0]) : -4]
        )
        assert payload.hex() == row["answers"][k]["payload"]


@committee_rows
def test_group_keys(name):
    made = parties_of(name)
    if "group" not in made.row:
        assert made.round.group is None
        return
    assert sha256(made.files["group"]) == made.row["sha256"]["group"]
    for place in range(3):
        group = made.group(place)
        assert group.commitment == made.round.group
        assert group.sealed == made.files["group"]
        assert group.tag_key_for(made.round).hex() == made.row["group"]["tag_key"]


READERS = {
    "public_identity": lambda data, _: core.PublicIdentity.from_bytes(data),
    "plan": lambda data, _: veilsum.Plan.from_bytes(data),
    "public_key": lambda data, _: core.PublicKey.from_bytes(data),
    "secret_key": lambda data, _: core.SecretKey.from_bytes(data),
    "round": lambda data, _: core.Round.from_bytes(data),
    "upload": lambda data, rnd: core.Upload.from_bytes(data, rnd),
    "aggregate": lambda data, rnd: core.Aggregate.from_bytes(data, rnd),
    "opening_request": lambda data, rnd: core.OpeningRequest.from_bytes(data, rnd),
    "sum_key": lambda data, rnd: core.SumKey.from_bytes(data, rnd),
    "member_request": lambda data, rnd: core.MemberRequest.from_bytes(data, rnd),
    "endorsement": lambda data, rnd: core.Endorsement.from_bytes(data, rnd),
    "certificate": lambda data, rnd: core.Certificate.from_bytes(data, rnd),
    "answer": lambda data, rnd: core.Answer.from_bytes(data, rnd),
    "challenge_answer": lambda data, rnd: core.ChallengeAnswer.from_bytes(data, rnd),
    "verdict": lambda data, rnd: core.Verdict.from_bytes(data, rnd),
}


@functools.cache
def objects():
    return {path.stem: path.read_bytes() for path in (FOLDER / "objects").glob("*.bin")}


def read(kind, data, rnd=None):
    names = [name for name in READERS if kind.startswith(name)]
    return READERS[max(names, key=len)](data, rnd)


def row_of(name):
    (row,) = [r for r in load("scheme")["rows"] if r["name"] == name]
    return row


def test_objects_are_read_and_written_back():
    """The bytes themselves, without the door: this also runs on a release build."""
    row, data = row_of("n2048"), objects()
    assert {name: sha256(content) for name, content in data.items()} == row["sha256"]
    rnd = core.Round.from_bytes(data["round"])
    found = {kind: read(kind, content, rnd) for kind, content in data.items()}
    assert {name: thing.to_bytes() for name, thing in found.items()} == data
    total = core.weighted_sum(rnd, [found["upload_0"], found["upload_1"]])
    assert total.to_bytes() == data["aggregate"]
    opener = opener_of(row)
    key = core.open_sum(found["secret_key"], rnd, found["aggregate"], open=opener)
    assert key.to_bytes() == data["sum_key"]
    fresh = core.SecretKey.from_bytes(data["secret_key"])
    asked = core.open_sum(fresh, rnd, found["opening_request"], open=opener)
    for made in (key, asked, found["sum_key"]):
        out = core.decrypt(made, found["aggregate"])
        assert out.tolist() == floats(row["mean_float32"])


# --- what must be refused -------------------------------------------------------------------------


def use(row, data):
    """What the step does with the object."""
    if row["objects"] != "objects":
        return use_of_roster(parties_of(row["objects"].removeprefix("committee/")), row, data)
    good = objects()
    rnd = core.Round.from_bytes(good["round"])
    if row["step"] == "read":
        return read(row["kind"], data, rnd)
    if row["step"] == "open":
        sealing = pytest.importorskip("veilsum.keys.sealing", reason="the package is not installed")
        secret = core.SecretKey.from_bytes(good["secret_key"])
        request = core.OpeningRequest.from_bytes(data, rnd)
        return core.open_sum(secret, rnd, request, open=sealing.open_sealed)
    assert row["step"] == "decrypt"
    replaced = {**good, row["kind"]: data}
    key = core.SumKey.from_bytes(replaced["sum_key"], rnd)
    return core.decrypt(key, core.Aggregate.from_bytes(replaced["aggregate"], rnd))


def use_of_roster(made, row, data):
    kind, step = row["kind"], row["step"]
    if kind == "group":
        return veilsum.Group.open(made.clients[0], data, made.roster, "a training")
    if step == "read":
        return read(kind, data, made.round)
    if step == "open":
        return made.open_sum(read(kind, data, made.round))
    if step == "decrypt":
        replaced = {**made.files, kind: data}
        key = core.SumKey.from_bytes(replaced["sum_key"], made.round)
        total = core.Aggregate.from_bytes(replaced["aggregate"], made.round)
        return core.decrypt(key, total, **made.tag_key)
    if step == "endorse":
        return endorse(made, read(kind, data, made.round))
    threshold = made.row["threshold"]
    total = made.read("aggregate")
    if step == "certify":
        words = [read(kind, data, made.round), *made.endorsements()[1:]]
        return core.Certificate(total, words[:threshold], verify=veilsum.Roster.verify)
    if step == "blame":
        certificate = made.read("certificate")
        opened = [made.read(f"challenge_answer_{k}") for k in range(1, len(made.members))]
        given = [read(kind, data, made.round), *opened]
        return core.blame(certificate, given, [], None, veilsum.Roster.verify)
    assert step == "combine"
    answers = [read(kind, data, made.round), *made.answers()[1:]]
    found = core.combine(
        made.read("certificate"), answers[:threshold], made.open_answer, veilsum.Roster.verify
    )
    return [core.decrypt(key, total, **made.tag_key) for key, _ in found]


def endorse(made, request):
    """As member 0, who has a ledger of its own for each try."""
    with tempfile.TemporaryDirectory() as folder:
        member = veilsum.Member.create(made.members[0], Path(folder) / "ledger")
        return member.endorse(veilsum.Round.from_bytes(made.files["round"]), request)


@pytest.mark.parametrize("row", rows("bad", lambda r: r["name"]))
def test_bad_objects_are_refused(row):
    """At the step and with the error that the vectors give, and with a sentence that says more."""
    data = (FOLDER / "bad" / f"{row['name']}.bin").read_bytes()
    with pytest.raises(core.VeilsumError) as refused:
        use(row, data)
    assert type(refused.value) is getattr(veilsum, row["error"])
    assert len(str(refused.value)) > 20
    if row["step"] != "read":
        # It was not refused when it was read. The good one in its place goes through.
        folder = FOLDER / row["objects"]
        names = [row["kind"], f"{row['kind']}_0"]
        (good,) = [folder / f"{name}.bin" for name in names if (folder / f"{name}.bin").exists()]
        use(row, good.read_bytes())


def test_every_bad_object_has_a_row():
    names = {row["name"] for row in load("bad")["rows"]}
    assert {path.stem for path in (FOLDER / "bad").glob("*.bin")} == names


@pytest.mark.parametrize("path", sorted((VECTORS / "v1").glob("*.bin")), ids=lambda p: p.stem)
def test_objects_of_version_1_are_refused_by_name(path):
    """One sentence that names both versions."""
    rnd = core.Round.from_bytes(objects()["round"])
    with pytest.raises(core.WireFormatError, match=r"version 1\b.*version 2\b"):
        read(path.stem, path.read_bytes(), rnd)


@pytest.mark.slow
def test_the_oracle_still_generates_them():
    result = subprocess.run(
        [sys.executable, str(VECTORS / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
