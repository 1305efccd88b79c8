"""The oracle against published vectors and definitions: who tests the tester."""

import hashlib
import math
from fractions import Fraction

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem as library_mlkem
from cryptography.hazmat.primitives.asymmetric import x25519

from oracle import aes, blocks, crc, mlkem, plans, ring, scheme, sealed, streams

# FIPS 197 appendix C.1 and C.3.
FIPS197 = [
    (
        "000102030405060708090a0b0c0d0e0f",
        "00112233445566778899aabbccddeeff",
        "69c4e0d86a7b0430d8cdb78070b4c55a",
    ),
    (
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "00112233445566778899aabbccddeeff",
        "8ea2b7ca516745bfeafc49904b496089",
    ),
]


@pytest.mark.parametrize(("key", "plain", "cipher"), FIPS197)
def test_plain_aes_matches_fips_197(key, plain, cipher):
    assert aes.encrypt_block(bytes.fromhex(key), bytes.fromhex(plain)).hex() == cipher


def test_key_schedule_matches_fips_197_appendix_a():
    schedule = aes.expand_key(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
    assert schedule[-16:].hex() == "d014f9a8c9ee2589e13f0cc8b6630ca6"
    schedule = aes.expand_key(
        bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    )
    assert schedule[-16:].hex() == "fe4890d1e6188d0b046df344706c631e"


@pytest.mark.parametrize("key_bytes", [16, 32])
def test_streams_use_the_same_aes(key_bytes, rng):
    key = rng.randbytes(key_bytes)
    stream = streams.keystream(key, 0x0102030405060708, 41, 3)
    for i in range(3):
        counter = (41 + i).to_bytes(8, "little") + 0x0102030405060708.to_bytes(8, "little")
        assert stream[16 * i : 16 * i + 16] == aes.encrypt_block(key, counter)


def test_labels_are_hashed_before_the_parts():
    expected = hashlib.sha256(b"veilsum/2/upload" + b"r" * 32 + b"s" * 32).digest()
    assert streams.upload_key(b"r" * 32, b"s" * 32) == expected
    assert len(streams.matrix_key(b"s" * 32)) == 16


def test_stream_domains_never_collide():
    domains = range(1, 5)
    indices = {streams.stream_index(d, s, b) for d in domains for s in range(8) for b in range(16)}
    assert len(indices) == 4 * 8 * 16


def test_words_of_48_bits_follow_each_other_across_blocks(rng):
    key = rng.randbytes(16)
    stream = streams.keystream(key, 7, 0, 6)
    words = streams.words48(key, 7, 16)
    assert b"".join(w.to_bytes(6, "little") for w in words) == stream
    assert streams.words48(key, 7, 3, 5) == words[5:8]
    samples = streams.cbd(key, 7, 48)
    assert samples == [
        bin(stream[2 * j]).count("1") - bin(stream[2 * j + 1]).count("1") for j in range(48)
    ]


def test_rejected_words_are_replaced_in_order(rng):
    """The rule written a second time, as one pass over a long list of words."""
    key, n, q = rng.randbytes(16), 64, (1 << 47) + 1
    words = streams.words48(key, 3, 40 * n)
    spare = iter(words[n:])
    expected = []
    for word in words[:n]:
        kept = word
        while kept >= q:
            kept = next(spare)
        expected.append(kept)
    assert streams.uniform(key, 3, q, n) == expected


# RFC 3720 appendix B.4, and the check value of the CRC catalogues.
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_crc_matches_rfc_3720(data, expected):
    assert crc.crc32c(data) == expected
    assert crc.crc32c(data[5:], crc.crc32c(data[:5])) == expected


def test_primes_are_the_four_largest():
    found = [p for p in ring.primes() if ring.is_prime(p)]
    assert len(found) == 4
    candidate = 2**48 - 2**16 + 1
    between = 0
    while candidate > found[-1]:
        between += ring.is_prime(candidate)
        candidate -= 2**16
    assert between == 3
    assert all(2**48 - 2**24 < p < 2**48 and p % 2**16 == 1 for p in found)
    # A witness that needs no trust in Miller-Rabin: Lucas' theorem, p - 1 factored by division.
    for p in found:
        m, factors, d = p - 1, set(), 2
        while d * d <= m:
            while m % d == 0:
                factors.add(d)
                m //= d
            d += 1
        factors |= {m} if m > 1 else set()
        assert any(
            pow(g, p - 1, p) == 1 and all(pow(g, (p - 1) // f, p) != 1 for f in factors)
            for g in range(2, 100)
        )


def test_small_primes_agree_with_division():
    assert [n for n in range(2000) if ring.is_prime(n)] == [
        n for n in range(2000) if ring.is_prime_by_division(n)
    ]


@pytest.mark.parametrize("n", [64, 2048, 16384, 32768])
def test_psi_is_a_primitive_root_from_the_smallest_g(n):
    for q in ring.primes():
        root = ring.psi(q, n)
        assert pow(root, n, q) == q - 1
        for g in range(2, 100):
            r = pow(g, (q - 1) // (2 * n), q)
            if pow(r, n, q) == q - 1:
                assert r == root
                break


def test_fft_is_the_definition(rng):
    q = ring.primes()[1]
    a = [rng.randrange(q) for _ in range(64)]
    b = [rng.randrange(q) for _ in range(64)]
    assert ring.ntt(a, q) == ring.ntt_by_definition(a, q)
    assert ring.intt(ring.ntt(a, q), q) == a
    product = ring.multiply_by_definition(a, b, q)
    assert ring.multiply(a, b, q) == product
    slots = [x * y % q for x, y in zip(ring.ntt(a, q), ring.ntt(b, q), strict=True)]
    assert ring.intt(slots, q) == product


def test_storage_order_is_even_slots_then_odd_in_each_sixteen():
    # The polynomial X has the value psi^(2 bitrev(k) + 1) in slot k.
    q, n = ring.primes()[0], 64
    root = ring.psi(q, n)
    slots = ring.ntt([0, 1] + [0] * (n - 2), q)
    for block in range(n // 16):
        for i in range(8):
            for place, k in ((i, 2 * i), (8 + i, 2 * i + 1)):
                e = ring.bit_reverse(16 * block + k, 6)
                assert slots[16 * block + place] == pow(root, 2 * e + 1, q)


@pytest.mark.parametrize("bits", [1, 7, 8, 43, 48, 52])
def test_packing_is_one_little_endian_number(bits, rng):
    values = [rng.getrandbits(bits) for _ in range(24)]
    whole = sum(v << bits * j for j, v in enumerate(values))
    assert ring.pack(values, bits) == whole.to_bytes(3 * bits, "little")
    assert ring.unpack(ring.pack(values, bits), bits) == values


def test_wide_fields_travel_in_rows_of_52_bits(rng):
    for bits, rows in [
        (52, [52]),
        (53, [52, 1]),
        (81, [52, 29]),
        (104, [52, 52]),
        (178, [52] * 3 + [22]),
    ]:
        assert ring.row_widths(bits) == rows
        values = [rng.getrandbits(bits) for _ in range(16)]
        data = ring.pack_rows(values, bits)
        assert len(data) == 2 * bits
        assert data[: 2 * rows[0]] == ring.pack([v % 2 ** rows[0] for v in values], rows[0])
        assert ring.unpack_rows(data, bits) == values


def test_crt_gives_back_the_integer(rng):
    moduli = ring.primes()
    big_q = moduli[0] * moduli[1] * moduli[2] * moduli[3]
    values = [0, 1, big_q - 1, *(rng.randrange(big_q) for _ in range(5))]
    assert ring.from_residues(ring.to_residues(values, moduli), moduli) == values


def test_float32_of_rounds_once(rng):
    """Against the hardware's rounding where a double holds the number, and at ties where not."""
    for _ in range(2000):
        x = math.ldexp(rng.uniform(-1, 1), rng.randrange(-60, 60))
        assert blocks.float32_of(Fraction(x)) == blocks.round_to_dtype(x, "float32")
    tie = Fraction(1) + Fraction(1, 2**24)
    assert blocks.float32_of(tie) == 1.0
    assert blocks.float32_of(tie + Fraction(1, 2**200)) == 1.0 + 2.0**-23
    assert blocks.float32_of(tie + Fraction(2, 2**24)) == 1.0 + 2.0**-22
    assert blocks.float32_of(2 - Fraction(1, 2**30)) == 2.0


# DESIGN's table of plans: clients, bits, ring, L, B.
DESIGN_TABLE = [
    (10, 16, "n2048", 2, 43),
    (10, 16, "n4096", 4, 81),
    (10, 16, "n8192", 9, 178),
    (10, 8, "n2048", 3, 38),
    (4, 8, "n2048", 4, 44),
    (8, 6, "n2048", 4, 40),
    (3, 4, "n2048", 7, 42),
]


@pytest.mark.parametrize(("clients", "bits", "name", "digits", "field_bits"), DESIGN_TABLE)
def test_design_table_of_plans(clients, bits, name, digits, field_bits):
    plan = plans.Plan(clients, bits, 0, 128, name)
    assert (plan.digits, plan.field_bits) == (digits, field_bits)


def test_ml_kem_is_the_librarys(rng):
    """Keys from one seed are equal, and the library opens what is encapsulated here."""
    for _ in range(3):
        seed = rng.randbytes(64)
        holder = library_mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)
        public = mlkem.public_key(seed)
        assert public == holder.public_key().public_bytes_raw()
        shared, ciphertext = mlkem.encapsulate(public, rng.randbytes(32))
        assert holder.decapsulate(ciphertext) == shared


def test_ml_kem_transform_is_a_ring_isomorphism(rng):
    f, g = ([rng.randrange(mlkem.Q) for _ in range(mlkem.N)] for _ in range(2))
    assert mlkem.ntt_inverse(mlkem.ntt(f)) == f
    product = mlkem.ntt_inverse(mlkem.multiply(mlkem.ntt(f), mlkem.ntt(g)))
    assert product == ring.multiply_by_definition(f, g, mlkem.Q)


def test_sealed_keys_are_hpke(rng):
    """Both ways with the library's HPKE; another info, key or byte does not open."""
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    secret = sealed.SecretKey(rng.randbytes(64), rng.randbytes(32))
    library = hpke.MLKEM768X25519PrivateKey(
        library_mlkem.MLKEM768PrivateKey.from_seed_bytes(secret.mlkem_seed),
        x25519.X25519PrivateKey.from_private_bytes(secret.x25519_private),
    )
    info, seed = b"any context", rng.randbytes(32)
    ours = sealed.seal(secret.public, info, seed, rng.randbytes(64))
    assert len(ours) == sealed.SEALED_BYTES
    assert suite.decrypt(ours, library, info) == seed
    theirs = suite.encrypt(seed, library.public_key(), info)
    assert sealed.unseal(secret, info, theirs) == seed
    other = sealed.SecretKey(rng.randbytes(64), rng.randbytes(32))
    for key, context, data in [
        (other, info, ours),
        (secret, b"another", ours),
        (secret, info, bytes([ours[0] ^ 1]) + ours[1:]),
        (secret, info, ours[:-1] + bytes([ours[-1] ^ 1])),
    ]:
        with pytest.raises(InvalidTag):
            sealed.unseal(key, context, data)


SCHEME_PLANS = [
    plans.Plan(10, 16, 0, 128, "n2048"),
    plans.Plan(3, 4, 0, 128, "n2048"),
    plans.Plan(5, 16, 12, 128, "n4096"),
    plans.Plan(4, 8, 16, 128, "n8192"),
]


@pytest.mark.parametrize(
    ("plan", "key_count"),
    list(zip(SCHEME_PLANS, (1, 3, 2, 1), strict=True)),
    ids=lambda p: getattr(p, "ring_name", str(p)),
)
def test_the_schemes_sums_are_sums(plan, key_count, rng):
    """Two uploads through blocks and back: digits add up, and nobody else's key opens them."""
    round_id, seed = rng.randbytes(32), rng.randbytes(32)
    size = plan.block_capacity // 2 + 5 if plan.degree < 8192 else 50
    weights = [2, 3] if plan.weight_bits else [1, 1]
    runs = [scheme.Run(3, 0.5, "float32"), scheme.Run(size - 3, 2.0)]
    uploads = []
    for _ in weights:
        values = [blocks.round_to_dtype(rng.uniform(-3, 3), "float32") for _ in range(size)]
        uploads.append(
            scheme.encrypt(
                plan,
                round_id,
                seed,
                runs,
                values,
                key_count=key_count,
                upload_seed=rng.randbytes(32),
                rounding_seed=rng.randbytes(32),
                rounding="stochastic",
            )
        )
    total = scheme.sum_uploads(plan, [u.blocks for u in uploads], weights)
    keys = scheme.sum_keys([u.keys for u in uploads], weights)
    assert scheme.decrypt_digits(plan, seed, total, keys, size) == [
        sum(w * d for w, d in zip(weights, column, strict=True))
        for column in zip(*(u.digits for u in uploads), strict=True)
    ]
    assert [len(b) for b in total] == [
        length // 8 * plan.field_bits for length in scheme.block_lengths(plan, size, key_count)
    ]
    with pytest.raises(scheme.WrongKeyError):
        scheme.decrypt_digits(plan, seed, total, uploads[0].keys, size)
