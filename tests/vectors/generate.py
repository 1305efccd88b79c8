"""Regenerates the frozen vectors of v2/ from the oracle (tests/python/oracle).

    python tests/vectors/generate.py            rewrite every vector file
    python tests/vectors/generate.py --check    write nothing; fail when a file would change
    python tests/vectors/generate.py --search   also search uniform_rejections.json anew (a minute)

Only the oracle runs, never the C++ core, so the files are an independent statement of the format;
README.md beside this file says what each one holds. A change in any of them is a change of the
format: it needs a new version number, and a folder of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / "v2"
sys.path[:0] = [str(HERE), str(HERE.parent / "python")]

from generate_bad import bad_objects  # noqa: E402
from generate_bad_committee import bad_committee_objects  # noqa: E402
from generate_committee import (  # noqa: E402
    CASES,
    CommitteeRound,
    Kept,
    committee_vectors,
    signatures_in,
)
from generate_plans import plan_vectors  # noqa: E402

from oracle import blocks, identity, mlkem, ring, scheme, sealed, streams, wire  # noqa: E402
from oracle.plans import Plan  # noqa: E402

#: (clients, value bits, weight bits, security, ring, optimise), upload keys of the scheme vectors.
SCHEMES = {
    "n2048": ((10, 16, 0, 128, "n2048", "speed"), 1),
    "n2048-three-keys": ((3, 4, 0, 128, "n2048", "speed"), 3),
    "n4096": ((10, 16, 0, 128, "n4096", "speed"), 1),
    "n4096-weighted": ((5, 16, 12, 128, "n4096", "speed"), 2),
    "n8192": ((10, 16, 0, 128, "n8192", "size"), 1),
    "n4096q48": ((10, 16, 0, 192, "n4096q48", "speed"), 1),
    "n8192q96-weighted": ((3, 8, 14, 192, "n8192q96", "speed"), 1),
    "n16384q192": ((10, 16, 0, 256, "n16384q192", "size"), 1),
}
SEGMENTS = [(5, 1.0), (0, 3.0), (12, 0.25)]
UPDATES = [
    [((7 * place + 3 * client) % 23 - 11) / 10 for place in range(17)] for client in range(2)
]


def seed(*parts: object) -> bytes:
    return streams.label_hash("veilsum vectors", repr(parts).encode())


def digest(data: bytes) -> str:
    return streams.hashlib.sha256(data).hexdigest()


def words_digest(values: list[int]) -> str:
    return digest(b"".join(v.to_bytes(8, "little", signed=v < 0) for v in values))


def polynomial(q: int, n: int) -> list[int]:
    """A fixed polynomial whose coefficients spread over [0, q)."""
    return [(0x9E3779B97F4A7C15 * (i + 1) + i * i) % q for i in range(n)]


def ring_vectors() -> dict:
    rows = []
    for n in (64, 1024, 2048, 4096, 8192, 16384):
        for limb, q in enumerate(ring.primes()):
            slots = ring.ntt(polynomial(q, n), q)
            rows.append(
                {
                    "n": n,
                    "limb": limb,
                    "q": q,
                    "psi": ring.psi(q, n),
                    "first_slots": slots[:4],
                    "slots_sha256": words_digest(slots),
                }
            )
    return {
        "what": "forward transforms of a[i] = (0x9E3779B97F4A7C15 (i + 1) + i^2) mod q; slots in "
        "storage order, hashed as 64-bit little-endian words",
        "rows": rows,
    }


def stream_vectors() -> dict:
    a, b = seed("a"), seed("b")
    keys = {
        "matrix": streams.matrix_key(a),
        "upload": streams.upload_key(b, a),
        "rounding": streams.rounding_key(b, a),
    }
    q = ring.primes()[0]
    index = streams.stream_index(2, 3, 0x123456789ABC)
    rows = []
    for label, key in keys.items():
        rows.append(
            {
                "label": f"veilsum/2/{label}",
                "context": "" if label == "matrix" else b.hex(),
                "key": key.hex(),
                "index": index,
                "keystream": streams.keystream(key, index, 0, 4).hex(),
                "small_sha256": words_digest([v & 0xFF for v in streams.cbd(key, index, 2048)]),
                "small": streams.cbd(key, index, 24),
                "uniform_first": streams.uniform(key, index, q, 2048)[:8],
                "uniform_sha256": words_digest(streams.uniform(key, index, q, 2048)),
            }
        )
    return {
        "what": "keys of each label from the seed (after the context, a round id, where there is "
        "one), and what one stream of each gives: keystream, small values, residues below q_0; "
        "small_sha256 hashes each value's low byte as a word",
        "seed": a.hex(),
        "rows": rows,
    }


def first_one(moduli: tuple[int, ...], q: int, bits: int) -> int:
    """A u that rounds to 1 where u - 1 rounds to 0."""
    low, high = 0, q >> bits
    while high - low > 1:
        at = (low + high) // 2
        field = ring.round_residues(tuple(at % p for p in moduli), moduli, bits)
        low, high = (low, at) if field else (at, high)
    return high


def rounding_vectors() -> dict:
    """Both ends, the steps of one limb's corrections, and numbers in between."""
    choice = random.Random("rounding")
    rows = []
    for limbs, widths in ((1, (8, 26, 27, 43, 46)), (2, (52, 53, 81, 94)), (4, (104, 178, 190))):
        moduli = ring.primes()[:limbs]
        q = 1
        for p in moduli:
            q *= p
        for bits in widths:
            size = 1 << bits
            values = {0, 1, q // 2, q - 1, q // size // 2, q // size // 2 + 1, q - q // size // 2}
            values |= {(1 << 21) - 1, 1 << 21, q >> 21 << 21, choice.randrange(q)}
            messages = {0, 1, size - 1, size // 2, size // 3, choice.randrange(size)}
            if bits > 27:
                messages |= {(1 << bits - 27) - 1, 1 << bits - 27, size - (1 << bits - 27)}
            rows.append(
                {
                    "limbs": limbs,
                    "field_bits": bits,
                    "step": [first_one(moduli, q, bits) % p for p in moduli],
                    "round": [
                        {
                            "residues": [u % p for p in moduli],
                            "field": str(
                                ring.round_residues(tuple(u % p for p in moduli), moduli, bits)
                            ),
                        }
                        for u in sorted(values)
                    ],
                    "lift": [
                        {
                            "x": str(x),
                            "residues": [ring.lift(x, moduli, bits) % p for p in moduli],
                        }
                        for x in sorted(messages)
                    ],
                }
            )
    return {
        "what": "round(u) of u's residues, and the residues of lift(x); step: a u that rounds to "
        "1 where u - 1 rounds to 0; numbers that may exceed 64 bits are strings",
        "rows": rows,
    }


def block_vectors() -> dict:
    """Eight coefficients: residues of a pad, errors, digits, packed bytes, and back."""
    choice = random.Random("blocks")
    rows = []
    for (clients, bits, weights, security, name, _), _ in SCHEMES.values():
        plan = Plan(clients, bits, weights, security, name)
        pads = [
            [choice.choice((0, q - 1, choice.randrange(q))) for _ in range(8)] for q in plan.moduli
        ]
        errors = [choice.choice((-8, 8, choice.randint(-8, 8))) for _ in range(8)]
        top = 2 * plan.levels
        digits = [
            [choice.choice((0, top, choice.randint(0, top))) for _ in range(8)]
            for _ in range(plan.digits)
        ]
        messages = [sum(row[j] * plan.base**d for d, row in enumerate(digits)) for j in range(8)]
        fields = blocks.encrypt_block(plan, pads, errors, messages)
        # Decrypted under pads without the errors: what a key gives.
        assert blocks.decrypt_block(plan, pads, fields) == messages
        rows.append(
            {
                "profile": name,
                "limbs": plan.limbs,
                "base": plan.base,
                "digits": plan.digits,
                "field_bits": plan.field_bits,
                "pads": pads,
                "errors": errors,
                "digit_rows": digits,
                "u_packed": "".join(
                    ring.pack([(p + e) % q for p, e in zip(row, errors, strict=True)], 48).hex()
                    for row, q in zip(pads, plan.moduli, strict=True)
                ),
                "fields": [str(f) for f in fields],
                "packed": ring.pack_rows(fields, plan.field_bits).hex(),
            }
        )
    return {
        "what": "eight coefficients: u = pads + errors, digits by place, the fields and the packed "
        "block; decrypting the block under the pads gives the digits back",
        "rows": rows,
    }


def value_vectors() -> dict:
    """Digits of doubles and of floats, and values of digits."""
    exact = [0.0, -0.0, 1.0, -1.0, 0.5, 0.25, 1 / 3, -2 / 3, 1e-9, 0.999999, 1.000001, -7.5]
    values = [blocks.round_to_dtype(v, "float32") for v in exact]
    rows = []
    for bits in (2, 3, 8, 16, 24, 32):
        for limit in (1.0, 0.1, 3.0):
            for weight in (1.0, -0.7):
                for random_words in (None, [0, 2**32 - 1, 2**31, 12345] * 3):
                    for in_float in (False, True) if bits <= 16 else (False,):
                        digits, clipped = blocks.quantise(
                            values, weight, limit, bits, random_words, in_float
                        )
                        rows.append(
                            {
                                "in_float": in_float,
                                "value_bits": bits,
                                "limit": limit.hex(),
                                "weight": weight.hex(),
                                "random": random_words,
                                "digits": digits,
                                "clipped": clipped,
                            }
                        )
    back = []
    for offset in (0, 32767, 327670, (1 << 24) - 1, 1 << 40):
        digits = sorted({0, 1, offset // 2, offset, offset + 1, 2 * offset})
        for scale in (1.0, 1 / 3, 0.1 / 32767, 2.0**-60):
            for dtype, in_float in (("float64", False), ("float32", False), ("float32", True)):
                if in_float and offset >= 1 << 24:
                    continue
                kept = [d for d in digits if not in_float or abs(d - offset) < 1 << 24]
                back.append(
                    {
                        "dtype": dtype,
                        "in_float": in_float,
                        "offset": offset,
                        "scale": scale.hex(),
                        "digits": kept,
                        "values": [
                            blocks.dequantise_one(d, offset, scale, dtype, in_float).hex()
                            for d in kept
                        ],
                    }
                )
    return {
        "what": "digits of values that float32 holds, computed in double or in float; random null: "
        "to nearest. back: (digit - offset) * scale",
        "values": [v.hex() for v in values],
        "rows": rows,
        "back": back,
    }


def key_of(*parts: object) -> sealed.SecretKey:
    """A key holder's secret key."""
    return sealed.SecretKey(seed("d", *parts) + seed("z", *parts), seed("x25519", *parts))


def sealed_vectors() -> dict:
    rows = []
    for number in range(3):
        secret = key_of("sealed", number)
        client = (wire.NO_CLIENT, 0, 7)[number]
        nonce, key_id = seed("n", number)[:16], sealed.key_id(secret.public)
        info = sealed.key_info(seed("id", number), client, nonce, key_id)
        randomness = seed("m", number) + seed("ephemeral", number)
        plaintext = seed("plaintext", number)
        data = sealed.seal(secret.public, info, plaintext, randomness)
        assert sealed.unseal(secret, info, data) == plaintext
        rows.append(
            {
                "mlkem_seed": secret.mlkem_seed.hex(),
                "x25519_private": secret.x25519_private.hex(),
                "public_sha256": digest(secret.public),
                "key_id": sealed.key_id(secret.public).hex(),
                "info": info.hex(),
                "randomness": randomness.hex(),
                "seed": plaintext.hex(),
                "sealed": data.hex(),
            }
        )
    assert len(data) == mlkem.CIPHERTEXT_BYTES + 32 + 48
    return {
        "what": "sealed keys: HPKE single shot; randomness is ML-KEM's 32 bytes, then the sender's "
        "X25519 key",
        "rows": rows,
    }


def identity_of(name: str, kind: int) -> identity.Secret:
    """A client's secret keys."""
    lattice = seed("ml-dsa", name) if kind == identity.POST_QUANTUM else b""
    kem = seed("d", "identity", name) + seed("z", "identity", name)
    return identity.Secret(seed("ed25519", name), kem, seed("x25519", "identity", name), lattice)


def signature_of(signer: identity.Secret, message: bytes, kept: Collection[str]) -> bytes:
    """ML-DSA's signatures differ from call to call: one in the files that holds stays."""
    for known in sorted(kept):
        if identity.verify(signer.public, bytes.fromhex(known), message):
            return bytes.fromhex(known)
    return signer.sign(message)


class Scheme:
    """Two uploads of one round, their sum, its key: everything from seeds."""

    def __init__(
        self, name: str, clients: Sequence[identity.Secret] = (), kept: Collection[str] = ()
    ):
        (most, bits, weight_bits, security, ring_name, optimise), keys = SCHEMES[name]
        self.name = name
        self.plan = Plan(most, bits, weight_bits, security, ring_name)
        self.secret = key_of("key", name)
        self.round = wire.Round(
            self.plan,
            seed("round", name),
            SEGMENTS,
            self.secret.public,
            b"layout of the vectors",
            roster=[one.public for one in clients],
            optimise=optimise,
            upload_keys=keys,
        )
        self.weights = [2, 3] if weight_bits else [1, 1]
        self.uploads = [
            scheme.encrypt(
                self.plan,
                self.round.id,
                self.round.seed,
                [scheme.Run(count, limit) for count, limit in SEGMENTS],
                values,
                key_count=keys,
                rounding=("nearest", "stochastic")[client],
                upload_seed=self.seeds(client)["upload_seed"],
                rounding_seed=self.seeds(client)["rounding_seed"],
            )
            for client, values in enumerate(UPDATES)
        ]
        self.heads = [
            wire.make_head(
                self.round,
                self.seeds(client)["upload_seed"],
                self.seeds(client)["nonce"],
                self.seeds(client)["randomness"],
                upload.clipped,
                client if clients else wire.NO_CLIENT,
            )
            for client, upload in enumerate(self.uploads)
        ]
        for client, signer in enumerate(clients):
            digest_of = wire.blocks_digest(b"".join(self.uploads[client].blocks))
            payload = wire.signing_payload(self.round.id, client, self.heads[client], digest_of)
            signature = signature_of(signer, payload, kept)
            self.heads[client].signature = wire.Signature(client, digest_of, signature)
        pairs = [(h, u.blocks) for h, u in zip(self.heads, self.uploads, strict=True)]
        self.total = wire.make_sum(self.round, pairs, self.weights)
        self.sum_key = wire.open_sum(self.round, self.secret, self.total)

    def seeds(self, client: int) -> dict[str, bytes]:
        return {
            "upload_seed": seed("upload", self.name, client),
            "rounding_seed": seed("rounding", self.name, client),
            "nonce": seed("nonce", self.name, client)[:16],
            "randomness": seed("m", self.name, client) + seed("ephemeral", self.name, client),
        }

    def objects(self) -> dict[str, bytes]:
        """Each kind as it travels."""
        secret = wire.secret_key_fields(self.secret)
        out = {
            "plan": wire.seal(wire.PLAN, self.plan.fields(self.round.optimise)),
            "public_key": wire.seal(wire.PUBLIC_KEY, sealed.public_fields(self.secret.public)),
            "secret_key": wire.seal(wire.SECRET_KEY, secret),
            "round": self.round.to_bytes(),
        }
        for client, upload in enumerate(self.uploads):
            out[f"upload_{client}"] = wire.upload_bytes(
                self.round.id, self.heads[client], b"".join(upload.blocks)
            )
        out["aggregate"] = self.total.to_bytes()
        out["opening_request"] = self.total.request().to_bytes()
        out["sum_key"] = self.sum_key.to_bytes()
        return out

    def row(self) -> dict:
        size = len(UPDATES[0])
        packed = scheme.split_blocks(self.plan, size, self.round.upload_keys, self.total.blocks)
        digits = scheme.decrypt_digits(self.plan, self.round.seed, packed, self.sum_key.keys, size)
        expected = [
            sum(w * d for w, d in zip(self.weights, column, strict=True))
            for column in zip(*(u.digits for u in self.uploads), strict=True)
        ]
        assert digits == expected
        weight = sum(self.weights)
        (clients, bits, weight_bits, security, ring_name, optimise), keys = SCHEMES[self.name]
        return {
            "name": self.name,
            "plan": {
                "clients": clients,
                "value_bits": bits,
                "weight_bits": weight_bits,
                "security": security,
                "profile": ring_name,
                "optimise": optimise,
            },
            "upload_keys": keys,
            "mlkem_seed": self.secret.mlkem_seed.hex(),
            "x25519_private": self.secret.x25519_private.hex(),
            "round_seed": self.round.seed.hex(),
            "layout": self.round.layout.decode(),
            "round_id": self.round.id.hex(),
            "uploads": [
                {
                    "rounding": ("nearest", "stochastic")[client],
                    "clipped": upload.clipped,
                    "upload_digest": self.heads[client].digest.hex(),
                    "blocks_digest": wire.blocks_digest(b"".join(upload.blocks)).hex(),
                    "digits": upload.digits,
                    "first_key": upload.keys[0][:16],
                    **{k: v.hex() for k, v in self.seeds(client).items()},
                    "sealed_key": self.heads[client].part.hex(),
                }
                for client, upload in enumerate(self.uploads)
            ],
            "weights": self.weights,
            "manifest_digest": self.total.manifest_digest().hex(),
            "summed_digits": digits,
            "mean_float32": [
                v.hex() for v in scheme.dequantise(self.plan, SEGMENTS, digits, weight)
            ],
            "sum_float64": [
                v.hex()
                for v in scheme.dequantise(
                    self.plan, SEGMENTS, digits, weight, average=False, dtype="float64"
                )
            ],
            "sha256": {name: digest(data) for name, data in self.objects().items()},
        }


def identity_vectors() -> dict:
    """Two clients of a mixed roster, and the round `n2048` with it."""
    path = FOLDER / "identities.json"
    kept = set()
    if path.exists():
        found = json.loads(path.read_text())
        kept = {row["signature"] for row in found["rows"] + found["uploads"]}
    clients = [
        identity_of(name, kind)
        for name, kind in (("a", identity.ED25519), ("b", identity.POST_QUANTUM))
    ]
    rows = []
    for one in clients:
        message = b"a message of the vectors"
        rows.append(
            {
                "kind": one.public[0],
                "ed25519_private": one.ed25519_private.hex(),
                "mlkem_seed": one.mlkem_seed.hex(),
                "x25519_private": one.x25519_private.hex(),
                "ml_dsa_seed": one.ml_dsa_seed.hex(),
                "public": one.public.hex(),
                "id": identity.identity_id(one.public).hex(),
                "object_sha256": digest(wire.seal(wire.PUBLIC_IDENTITY, one.public)),
                "message": message.hex(),
                "signing_input": identity.signing_input(one.public, message).hex(),
                "signature": signature_of(one, message, kept).hex(),
            }
        )
    example = Scheme("n2048", clients, kept)
    uploads = []
    for client, head in enumerate(example.heads):
        data = b"".join(example.uploads[client].blocks)
        payload = wire.signing_payload(example.round.id, client, head, wire.blocks_digest(data))
        uploads.append(
            {
                "client": client,
                "sealed_key": head.part.hex(),
                "payload": payload.hex(),
                "signature": head.signature.signature.hex(),
                "sha256": digest(wire.upload_bytes(example.round.id, head, data)),
            }
        )
    return {
        "what": "identities from their seeds; a message, what their keys sign for it, and a "
        "signature; then scheme.json's row n2048 once more, with both on the roster: what each "
        "client signs, and its upload. ML-DSA's half of a signature differs from call to call",
        "rows": rows,
        "round_id": example.round.id.hex(),
        "round_sha256": digest(example.round.to_bytes()),
        "uploads": uploads,
    }


def scheme_vectors(made: dict[str, Scheme]) -> dict:
    return {
        "what": "two seeded uploads of doubles of one round, summed, opened, decrypted; SHA-256 of "
        "every object as it travels; objects/ holds those of n2048 themselves",
        "segments": [[count, limit.hex()] for count, limit in SEGMENTS],
        "updates": [[v.hex() for v in update] for update in UPDATES],
        "rows": [one.row() for one in made.values()],
    }


def search_rejections(per_limb: int = 2) -> dict:
    """Streams in which exactly one of n words is rejected, by trying indices of fixed keys."""
    import numpy as np
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    streams_at_once, words = 128, 32768
    counters = np.zeros((streams_at_once, words * streams.WORD_BYTES // 16, 2), dtype="<u8")
    counters[:, :, 0] = np.arange(counters.shape[1])
    cases = []
    for limb, q in enumerate(ring.primes()):
        key = streams.label_hash("veilsum tests", bytes([limb]))[:16]
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        index, found = 0, 0
        while found < per_limb:
            counters[:, :, 1] = np.arange(index, index + streams_at_once)[:, None]
            data = np.frombuffer(encryptor.update(counters.tobytes()), dtype="<u2")
            parts = data.reshape(streams_at_once, words, 3)
            rejected = [
                (int(row), int(word))
                for row, word in np.argwhere(parts[:, :, 2] == 0xFFFF)  # q is above 2^48 - 2^32
                if int.from_bytes(parts[row, word].tobytes(), "little") >= q
            ]
            for row, word in rejected:
                n = max(2048, 1 << word.bit_length())
                if found < per_limb and sum(r == row and w < n for r, w in rejected) == 1:
                    cases.append(
                        {"limb": limb, "key": key.hex(), "index": index + row, "word": word, "n": n}
                    )
                    found += 1
            index += streams_at_once
        print(f"limb {limb}: {index * words} words searched", file=sys.stderr)
    return {"what": "streams with one word >= q among the first n", "cases": cases}


def vectors(search: bool) -> dict[str, bytes]:
    """File name -> content."""
    schemes = {name: Scheme(name) for name in SCHEMES}
    example = schemes["n2048"]
    path = FOLDER / "committee.json"
    kept = Kept(signatures_in(json.loads(path.read_text())) if path.exists() else ())
    committees = {name: CommitteeRound(name, kept) for name in CASES}
    bad = bad_objects(example.round, example.objects()) + bad_committee_objects(committees)
    assert len({one.name for one in bad}) == len(bad)
    made = {
        "ring.json": ring_vectors(),
        "streams.json": stream_vectors(),
        "rounding.json": rounding_vectors(),
        "plans.json": plan_vectors(),
        "blocks.json": block_vectors(),
        "values.json": value_vectors(),
        "sealed.json": sealed_vectors(),
        "identities.json": identity_vectors(),
        "scheme.json": scheme_vectors(schemes),
        "committee.json": committee_vectors(committees),
        "bad.json": {
            "what": "objects that must be refused: bad/<name>.bin, read as `kind` (with the round "
            "of the folder `objects` where the kind needs one), fail at `step` with `error`. read: "
            "when they are read; a group's keys, when client 0 opens them. open: when the key "
            "holder opens the sum. endorse: when member 0 endorses. certify, combine, blame: "
            "beside the other members' good ones, t in all, combine with the decryption that "
            "follows. decrypt: when sum_key.bin and aggregate.bin of that folder, one of them "
            "replaced, decrypt",
            "rows": [
                {
                    "name": one.name,
                    "kind": one.kind,
                    "objects": one.objects,
                    "step": one.step,
                    "error": one.error,
                    "why": one.why,
                }
                for one in bad
            ],
        },
    }
    if search:
        made["uniform_rejections.json"] = search_rejections()
    out = {name: (json.dumps(content, indent=1) + "\n").encode() for name, content in made.items()}
    out |= {f"objects/{name}.bin": data for name, data in example.objects().items()}
    for name, made_round in committees.items():
        files = made_round.objects().items()
        out |= {f"committee/{name}/{kind}.bin": data for kind, data in files}
    out |= {f"bad/{one.name}.bin": one.data for one in bad}
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--search", action="store_true", help="search rejections anew")
    arguments = parser.parse_args()
    made = vectors(arguments.search)
    changed = [
        name
        for name, content in made.items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_bytes() != content
    ]
    kept = {"uniform_rejections.json", *made}
    stale = [
        str(path.relative_to(FOLDER))
        for path in FOLDER.rglob("*")
        if path.is_file() and str(path.relative_to(FOLDER)) not in kept
    ]
    if not arguments.check:
        for name in changed:
            (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
            (FOLDER / name).write_bytes(made[name])
        for name in stale:
            (FOLDER / name).unlink()
    print(f"changed: {', '.join([*changed, *stale]) or 'nothing'}")
    return 1 if (changed or stale) and arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
