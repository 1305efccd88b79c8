"""Regenerates the frozen vectors beside this file from the oracle (tests/python/oracle).

    python tests/vectors/generate.py            rewrite every vector file
    python tests/vectors/generate.py --check    write nothing; fail when a file would change
    python tests/vectors/generate.py --search   also search uniform_rejections.json anew (minutes)

Only the oracle runs, never the C++ core, so the files are an independent statement of the format.
A change in any of them is a change of the format: it needs a new version number.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "python"))

from oracle import codec, plans, ring, scheme, streams, wire  # noqa: E402

#: (clients, value bits, weight bits, security, ring, optimise) of the whole-scheme vectors.
SCHEMES = {
    "n2048": (10, 16, 0, 128, "n2048", "speed"),
    "n2048-two-bits": (3, 2, 0, 128, "n2048", "speed"),
    "n4096": (10, 16, 0, 128, "n4096", "speed"),
    "n4096-weighted": (5, 16, 12, 128, "n4096", "speed"),
    "n8192": (10, 16, 0, 128, "n8192", "size"),
    "n4096q50": (10, 16, 0, 192, "n4096q50", "speed"),
    "n8192q100-weighted": (3, 8, 14, 192, "n8192q100", "speed"),
    "n16384q200": (10, 16, 0, 256, "n16384q200", "size"),
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
        "public-key": streams.public_matrix_key(a),
        "secret-key": streams.secret_key_key(a),
        "capsule": streams.capsule_key(b, a),
        "errors": streams.error_key(b, a),
        "rounding": streams.rounding_key(b, a),
    }
    q = ring.primes()[0]
    index = streams.stream_index(2, 3, 0x123456789ABC)
    rows = []
    for label, key in keys.items():
        rows.append(
            {
                "label": f"veilsum/1/{label}",
                "key": key.hex(),
                "index": index,
                "keystream": streams.keystream(key, index, 0, 4).hex(),
                "small_sha256": words_digest([v & 0xFF for v in streams.cbd(key, index, 2048)]),
                "small": streams.cbd(key, index, 24),
                "uniform_sha256": words_digest(streams.uniform(key, index, q, 2048)),
            }
        )
    return {
        "what": "keys of each label from seed a (and round id b where the label takes one), and "
        "what one stream of each gives; small_sha256 hashes each value's low byte as a word",
        "seed": a.hex(),
        "round_id": b.hex(),
        "rows": rows,
    }


def plan_vectors() -> dict:
    rows = []
    for clients, bits, weights, security, name, optimise in (
        *SCHEMES.values(),
        (2, 2, 0, 128, "n8192", "speed"),
        (1000, 24, 0, 128, "n2048", "speed"),
        (100, 32, 0, 128, "n4096", "speed"),
        (16, 8, 16, 128, "n8192", "size"),
        (1 << 20, 2, 0, 128, "n4096", "speed"),
    ):
        plan = plans.Plan(clients, bits, weights, security, name)
        assert plan.fits
        fields = wire.plan_fields(plan, optimise)
        rows.append(
            {
                "clients": clients,
                "value_bits": bits,
                "weight_bits": weights,
                "security": security,
                "profile": name,
                "optimise": optimise,
                "lanes": plan.lanes,
                "lane_bits": plan.lane_bits,
                "delta": str(plan.delta),
                "capsule_degree": plan.capsule.degree,
                "capsule_limbs": plan.capsule.limbs,
                "capsule_bytes": plan.capsule.total_bytes,
                "bytes": wire.seal(wire.PLAN, fields).hex(),
                "id": wire.plan_id(fields).hex(),
            }
        )
    return {"what": "plans: their numbers, their bytes, their ids", "rows": rows}


def codec_vectors() -> dict:
    rows = []
    values = [0.0, -0.0, 1.0, -1.0, 0.5, 0.25, 1 / 3, -2 / 3, 1e-9, 0.999999, 1.000001, -7.5]
    for bits in (2, 3, 8, 16, 24, 32):
        for limit in (1.0, 0.1, 3.0):
            for weight in (1.0, -0.7):
                for random in (None, [0, 2**32 - 1, 2**31, 12345] * 3):
                    digits, clipped = codec.quantise(values, weight, limit, bits, random)
                    rows.append(
                        {
                            "value_bits": bits,
                            "limit": limit.hex(),
                            "weight": weight.hex(),
                            "random": random,
                            "digits": digits,
                            "clipped": clipped,
                        }
                    )
    return {
        "what": "digits of doubles; random null: to nearest",
        "values": [v.hex() for v in values],
        "rows": rows,
    }


class Scheme:
    """Two uploads of one round, their sum, its key: everything from seeds."""

    def __init__(self, name: str):
        clients, bits, weight_bits, security, ring_name, optimise = SCHEMES[name]
        self.name = name
        self.plan = plans.Plan(clients, bits, weight_bits, security, ring_name)
        self.key_seed, self.public_seed = seed("key", name), seed("public", name)
        self.keys = scheme.keygen(self.plan, self.key_seed, self.public_seed)
        self.round = wire.Round(
            self.plan,
            seed("round", name),
            SEGMENTS,
            self.public_seed,
            self.keys.public,
            b"layout of the vectors",
            optimise=optimise,
        )
        self.weights = [2, 3] if weight_bits else [1, 1]
        self.uploads = [
            scheme.encrypt(
                self.plan,
                self.keys.public,
                self.round.id,
                self.round.seed,
                SEGMENTS,
                values,
                rounding=("nearest", "stochastic")[client],
                **self.seeds(client),
            )
            for client, values in enumerate(UPDATES)
        ]
        heads = [(wire.Head(u.capsule, u.clipped), u.blocks) for u in self.uploads]
        self.total = wire.make_sum(self.plan, self.round.id, heads, self.weights)
        self.sum_key = wire.SumKey(
            self.round.id,
            self.total.manifest_digest(),
            2,
            sum(self.weights),
            scheme.open_capsule_sum(
                self.plan, self.keys.secret, self.total.capsule_sum, sum(self.weights)
            ),
        )

    def seeds(self, client: int) -> dict[str, bytes]:
        return {
            f"{kind}_seed": seed(kind, self.name, client)
            for kind in ("capsule", "error", "rounding")
        }

    def objects(self) -> dict[str, bytes]:
        """Each kind as it travels."""
        public = wire.public_key_fields(self.plan, self.public_seed, self.keys.public)
        secret = wire.secret_key_fields(self.plan, self.key_seed, self.public_seed)
        out = {
            "plan": wire.seal(wire.PLAN, wire.plan_fields(self.plan, self.round.optimise)),
            "public_key": wire.seal(wire.PUBLIC_KEY, public),
            "secret_key": wire.seal(wire.SECRET_KEY, secret),
            "round": self.round.to_bytes(),
        }
        for client, upload in enumerate(self.uploads):
            out[f"upload_{client}"] = wire.upload_bytes(
                self.round.id, wire.Head(upload.capsule, upload.clipped), b"".join(upload.blocks)
            )
        out["aggregate"] = self.total.to_bytes()
        out["opening_request"] = self.total.request().to_bytes()
        out["sum_key"] = self.sum_key.to_bytes()
        return out

    def row(self) -> dict:
        blocks = wire.split_blocks(self.plan, len(UPDATES[0]), self.total.blocks)
        digits = scheme.decrypt_digits(
            self.plan, self.round.seed, blocks, self.sum_key.coefficients, len(UPDATES[0])
        )
        expected = [
            sum(w * d for w, d in zip(self.weights, column, strict=True))
            for column in zip(*(u.digits for u in self.uploads), strict=True)
        ]
        assert digits == expected
        weight = sum(self.weights)
        clients, bits, weight_bits, security, ring_name, optimise = SCHEMES[self.name]
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
            "key_seed": self.key_seed.hex(),
            "public_seed": self.public_seed.hex(),
            "round_seed": self.round.seed.hex(),
            "layout": self.round.layout.decode(),
            "round_id": self.round.id.hex(),
            "uploads": [
                {
                    "rounding": ("nearest", "stochastic")[client],
                    "clipped": upload.clipped,
                    "capsule_digest": self.total.entries[client][1].digest.hex(),
                    "digits": upload.digits,
                    **{k: v.hex() for k, v in self.seeds(client).items()},
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


def scheme_vectors() -> dict:
    return {
        "what": "two seeded uploads of one round, summed, opened, decrypted; SHA-256 of every "
        "object as it travels; objects/ holds those of n2048 themselves",
        "segments": [[count, limit.hex()] for count, limit in SEGMENTS],
        "updates": [[v.hex() for v in update] for update in UPDATES],
        "rows": [Scheme(name).row() for name in SCHEMES],
    }


def search_rejections(per_limb: int = 2) -> dict:
    """Streams in which exactly one of n words is rejected, by trying indices of fixed keys."""
    import numpy as np
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    streams_at_once, words = 256, 16384
    counters = np.zeros((streams_at_once, words // 2, 2), dtype="<u8")
    counters[:, :, 0] = np.arange(words // 2)
    cases = []
    for limb, q in enumerate(ring.primes()):
        key = streams.label_hash("veilsum tests", bytes([limb]))[:16]
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        index, found = 0, 0
        while found < per_limb:
            counters[:, :, 1] = np.arange(index, index + streams_at_once)[:, None]
            stream = np.frombuffer(encryptor.update(counters.tobytes()), dtype="<u8")
            low = (stream & np.uint64(streams.RESIDUE_MASK)).reshape(streams_at_once, words)
            for row, word in np.argwhere(low >= q):
                n = max(2048, 1 << int(word).bit_length())
                if found < per_limb and np.count_nonzero(low[row, :n] >= q) == 1:
                    cases.append(
                        {
                            "limb": limb,
                            "key": key.hex(),
                            "index": int(index + row),
                            "word": int(word),
                            "n": n,
                        }
                    )
                    found += 1
            index += streams_at_once
        print(f"limb {limb}: {index * words} words searched", file=sys.stderr)
    return {"what": "streams with one word >= q among the first n", "cases": cases}


def vectors(search: bool) -> dict[str, bytes]:
    """File name -> content."""
    made = {
        "ring.json": ring_vectors(),
        "streams.json": stream_vectors(),
        "plans.json": plan_vectors(),
        "codec.json": codec_vectors(),
        "scheme.json": scheme_vectors(),
    }
    if search:
        made["uniform_rejections.json"] = search_rejections()
    out = {name: (json.dumps(content, indent=1) + "\n").encode() for name, content in made.items()}
    for name, data in Scheme("n2048").objects().items():
        out[f"objects/{name}.bin"] = data
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--search", action="store_true", help="search rejections anew")
    arguments = parser.parse_args()
    changed = []
    for name, content in vectors(arguments.search).items():
        path = HERE / name
        if not path.exists() or path.read_bytes() != content:
            changed.append(name)
            if not arguments.check:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
    print(f"changed: {', '.join(changed) or 'nothing'}")
    return 1 if changed and arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
