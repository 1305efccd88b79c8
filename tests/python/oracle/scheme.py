"""Keys, capsules, uploads, sums, opening: the scheme as its equations read.

Nothing is optimised, nothing is constant time, nothing is wiped: this is for tests only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from . import codec, ring, streams
from .plans import ERROR_BOUND, Capsule, Plan

Rows = list[list[int]]


@dataclass
class PublicKey:
    """(a, b) with b = -(a s) + e; both as slots, one row per limb."""

    a: Rows
    b: Rows


@dataclass
class Keys:
    secret: list[int]
    public: PublicKey


def keygen(plan: Plan, key_seed: bytes, public_seed: bytes) -> Keys:
    """The authority's keys from their two seeds."""
    capsule = plan.capsule
    n = capsule.degree
    key = streams.secret_key_key(key_seed)
    secret = streams.cbd(key, streams.stream_index(streams.SECRET), n)
    error = streams.cbd(key, streams.stream_index(streams.KEY_ERROR), n)
    a_key = streams.public_matrix_key(public_seed)
    a_rows, b_rows = [], []
    for limb, q in enumerate(capsule.moduli):
        a = streams.uniform(a_key, streams.stream_index(streams.PUBLIC, limb), q, n)
        s_slots = ring.ntt([x % q for x in secret], q)
        e_slots = ring.ntt([x % q for x in error], q)
        a_rows.append(a)
        b_rows.append([(e - x * s) % q for x, s, e in zip(a, s_slots, e_slots, strict=True)])
    return Keys(secret, PublicKey(a_rows, b_rows))


def ephemeral_key(plan: Plan, round_id: bytes, capsule_seed: bytes) -> list[int]:
    key = streams.capsule_key(round_id, capsule_seed)
    return streams.cbd(key, streams.stream_index(streams.EPHEMERAL), plan.degree)


def capsule_messages(capsule: Capsule, r: list[int], seed: bytes) -> list[list[int]]:
    """Message coefficients of each ciphertext: lanes of r + 21, and the seed in the top bits."""
    out = []
    per_ciphertext = capsule.degree * capsule.lanes
    for first in range(0, len(r), per_ciphertext):
        message = [0] * capsule.degree
        for j, value in enumerate(r[first : first + per_ciphertext]):
            message[j % capsule.degree] += (value + ERROR_BOUND) << (
                j // capsule.degree * capsule.lane_bits
            )
        if first == 0:
            for k in range(8 * len(seed)):
                bit = seed[k // 8] >> k % 8 & 1
                message[k] += bit << capsule.lanes * capsule.lane_bits
        out.append(message)
    return out


def make_capsule(plan: Plan, public: PublicKey, round_id: bytes, capsule_seed: bytes) -> bytes:
    """All ciphertexts, packed: c0 rows then c1 rows of each."""
    capsule = plan.capsule
    n = capsule.degree
    key = streams.capsule_key(round_id, capsule_seed)
    r = ephemeral_key(plan, round_id, capsule_seed)
    out = b""
    for number, message in enumerate(capsule_messages(capsule, r, capsule_seed)):
        u, e0, e1 = (
            streams.cbd(key, streams.stream_index(domain, number), n)
            for domain in (streams.CAPSULE_U, streams.CAPSULE_E0, streams.CAPSULE_E1)
        )
        out += encrypt_capsule_message(capsule, public, message, u, e0, e1)
    return out


def encrypt_capsule_message(
    capsule: Capsule,
    public: PublicKey,
    message: list[int],
    u: list[int],
    e0: list[int],
    e1: list[int],
) -> bytes:
    """One ciphertext c0 = b u + e0 + Delta m, c1 = a u + e1 with randomness of one's choice."""
    rows0, rows1 = b"", b""
    for limb, q in enumerate(capsule.moduli):
        u_slots = ring.ntt([x % q for x in u], q)
        bu = ring.intt([x * y % q for x, y in zip(public.b[limb], u_slots, strict=True)], q)
        au = ring.intt([x * y % q for x, y in zip(public.a[limb], u_slots, strict=True)], q)
        rows0 += ring.pack(
            [(x + e + capsule.delta * m) % q for x, e, m in zip(bu, e0, message, strict=True)]
        )
        rows1 += ring.pack([(x + e) % q for x, e in zip(au, e1, strict=True)])
    return rows0 + rows1


def unpack_rows(data: bytes, rows: int) -> Rows:
    size = len(data) // rows
    return [ring.unpack(data[i * size : (i + 1) * size]) for i in range(rows)]


def decrypt_capsule_message(capsule: Capsule, secret: list[int], data: bytes) -> list[int]:
    """floor((c0 + c1 s + Delta/2) / Delta) mod 2^P of one ciphertext."""
    rows = unpack_rows(data, 2 * capsule.limbs)
    phase = []
    for limb, q in enumerate(capsule.moduli):
        c1_s = ring.multiply(rows[capsule.limbs + limb], [x % q for x in secret], q)
        phase.append([(x + y) % q for x, y in zip(rows[limb], c1_s, strict=True)])
    half = capsule.delta // 2
    mask = (1 << capsule.message_bits) - 1
    return [
        (x + half) % capsule.big_q // capsule.delta & mask
        for x in ring.from_residues(phase, capsule.moduli)
    ]


def open_capsule_sum(plan: Plan, secret: list[int], data: bytes, total_weight: int) -> list[int]:
    """R = sum of weight * r from the (summed) capsule bytes."""
    capsule = plan.capsule
    mask = (1 << capsule.lane_bits) - 1
    out = []
    for number in range(capsule.ciphertexts):
        size = capsule.ciphertext_bytes
        message = decrypt_capsule_message(
            capsule, secret, data[number * size : (number + 1) * size]
        )
        for lane in range(capsule.lanes):
            out.extend(
                (m >> lane * capsule.lane_bits & mask) - ERROR_BOUND * total_weight for m in message
            )
    return out[: plan.degree]


def open_capsule_seed(plan: Plan, secret: list[int], data: bytes) -> bytes:
    """The 32-byte seed in the top bits of ciphertext 0 of one client's capsule."""
    capsule = plan.capsule
    message = decrypt_capsule_message(capsule, secret, data[: capsule.ciphertext_bytes])
    top = capsule.lanes * capsule.lane_bits
    bits = sum((message[k] >> top & 1) << k for k in range(256))
    return bits.to_bytes(32, "little")


def matrix(plan: Plan, round_seed: bytes, block: int, limb: int) -> list[int]:
    """Public slots of block and limb, the same for all clients."""
    return streams.uniform(
        streams.matrix_key(round_seed),
        streams.stream_index(streams.MATRIX, limb, block),
        plan.moduli[limb],
        plan.degree,
    )


def pad(plan: Plan, round_seed: bytes, block: int, r: list[int]) -> Rows:
    """INTT(a o NTT(r)) per limb, in the coefficient domain."""
    rows = []
    for limb, q in enumerate(plan.moduli):
        r_slots = ring.ntt([x % q for x in r], q)
        a = matrix(plan, round_seed, block, limb)
        rows.append(ring.intt([x * y % q for x, y in zip(a, r_slots, strict=True)], q))
    return rows


def block_errors(key: bytes, block: int, coefficients: int) -> list[int]:
    return streams.cbd(key, streams.stream_index(streams.ERRORS, 0, block), coefficients)


def encrypt_message_block(
    plan: Plan, pad_rows: Rows, errors: list[int], messages: list[int]
) -> bytes:
    """c = pad + e + Delta m mod q for the block's first len(messages) coefficients."""
    out = b""
    for limb, q in enumerate(plan.moduli):
        out += ring.pack(
            [
                (p + e + plan.delta * m) % q
                for p, e, m in zip(pad_rows[limb][: len(messages)], errors, messages, strict=True)
            ]
        )
    return out


@dataclass
class Upload:
    """What an encryption produces, before it is framed."""

    capsule: bytes
    blocks: list[bytes]
    clipped: int
    digits: list[int] = field(default_factory=list)


def encrypt(
    plan: Plan,
    public: PublicKey,
    round_id: bytes,
    round_seed: bytes,
    segments: list[tuple[int, float]],
    values: list[float],
    *,
    capsule_seed: bytes,
    error_seed: bytes,
    rounding_seed: bytes,
    weight: float = 1.0,
    rounding: str = "nearest",
) -> Upload:
    """A whole upload from its seeds. `values` are doubles that the update's dtype holds exactly."""
    assert len(values) == sum(count for count, _ in segments)
    limits = [limit for count, limit in segments for _ in range(count)]
    r = ephemeral_key(plan, round_id, capsule_seed)
    errors_key = streams.error_key(round_id, error_seed)
    dither_key = streams.rounding_key(round_id, rounding_seed)
    upload = Upload(make_capsule(plan, public, round_id, capsule_seed), [], 0)
    first = 0
    for number, (count, coefficients) in enumerate(plan.block_sizes(len(values))):
        dither = None
        if rounding == "stochastic":
            dither = streams.words32(
                dither_key,
                streams.stream_index(streams.ROUNDING, 0, number),
                plan.lanes * coefficients,
            )
        digits = []
        for i in range(count):
            step = codec.Step(limits[first + i], plan.levels)
            digit, clipped = codec.quantise_one(
                values[first + i], weight, step, None if dither is None else dither[i]
            )
            digits.append(digit)
            upload.clipped += clipped
        upload.digits += digits
        messages = codec.encode_block(digits, plan, coefficients)
        errors = block_errors(errors_key, number, coefficients)
        pad_rows = pad(plan, round_seed, number, r)
        upload.blocks.append(encrypt_message_block(plan, pad_rows, errors, messages))
        first += count
    return upload


def weighted_sum_rows(rows: list[bytes], weights: list[int], moduli: tuple[int, ...]) -> bytes:
    """Sum of packed rows; each entry holds one row per modulus, in that order."""
    out = b""
    size = len(rows[0]) // len(moduli)
    for limb, q in enumerate(moduli):
        total = [0] * (size // 50 * 8)
        for row, weight in zip(rows, weights, strict=True):
            for j, x in enumerate(ring.unpack(row[limb * size : (limb + 1) * size])):
                total[j] += weight * x
        out += ring.pack([x % q for x in total])
    return out


def decrypt_block(plan: Plan, pad_rows: Rows, data: bytes) -> list[int]:
    """Message coefficients floor((c - pad + Delta/2) / Delta), exact integers below 2^P."""
    rows = unpack_rows(data, plan.limbs)
    difference = [
        [(c - p) % q for c, p in zip(row, pad_row[: len(row)], strict=True)]
        for row, pad_row, q in zip(rows, pad_rows, plan.moduli, strict=True)
    ]
    half = plan.delta // 2
    mask = (1 << plan.lanes * plan.lane_bits) - 1
    return [
        (x + half) % plan.big_q // plan.delta & mask
        for x in ring.from_residues(difference, plan.moduli)
    ]


def decrypt_digits(
    plan: Plan, round_seed: bytes, blocks: list[bytes], total_r: list[int], size: int
) -> list[int]:
    """Summed digits of every value."""
    out: list[int] = []
    for number, (count, _) in enumerate(plan.block_sizes(size)):
        pad_rows = pad(plan, round_seed, number, total_r)
        messages = decrypt_block(plan, pad_rows, blocks[number])
        out += codec.decode_block(messages, plan, count)
    return out


def dequantise(
    plan: Plan,
    segments: list[tuple[int, float]],
    digits: list[int],
    total_weight: int,
    *,
    average: bool = True,
    dtype: str = "float32",
) -> list[float]:
    """(digit - W L) * step, the step divided by the weight for an average."""
    limits = [limit for count, limit in segments for _ in range(count)]
    out = []
    for digit, limit in zip(digits, limits, strict=True):
        scale = limit / plan.levels
        if average:
            scale /= total_weight
        out.append(codec.dequantise_one(digit, total_weight * plan.levels, scale, dtype))
    return out
