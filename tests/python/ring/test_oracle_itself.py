"""The oracle against published vectors and definitions: who tests the tester."""

import hashlib

import pytest

from oracle import aes, crc, plans, ring, streams

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
    expected = hashlib.sha256(b"veilsum/1/errors" + b"r" * 32 + b"s" * 32).digest()
    assert streams.error_key(b"r" * 32, b"s" * 32) == expected
    assert len(streams.matrix_key(b"s" * 32)) == 16


def test_stream_domains_never_collide():
    domains = range(1, 11)
    indices = {streams.stream_index(d, s, b) for d in domains for s in range(8) for b in range(16)}
    assert len(indices) == 10 * 8 * 16


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
    candidate = 2**50 - 32768 + 1
    between = 0
    while candidate > found[-1]:
        between += ring.is_prime(candidate)
        candidate -= 32768
    assert between == 3
    assert all(p < 2**50 and p % 32768 == 1 for p in found)
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


@pytest.mark.parametrize("n", [64, 2048, 16384])
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


def test_packing_is_one_little_endian_number(rng):
    values = [rng.randrange(1 << 50) for _ in range(24)]
    whole = sum(v << 50 * j for j, v in enumerate(values))
    assert ring.pack(values) == whole.to_bytes(150, "little")
    assert ring.unpack(ring.pack(values)) == values


def test_crt_gives_back_the_integer(rng):
    moduli = ring.primes()
    big_q = moduli[0] * moduli[1] * moduli[2] * moduli[3]
    values = [0, 1, big_q - 1, *(rng.randrange(big_q) for _ in range(5))]
    assert ring.from_residues(ring.to_residues(values, moduli), moduli) == values


def test_design_example_of_the_plan():
    plan = plans.choose(10, 16)
    assert (plan.ring_name, plan.lane_bits, plan.lanes) == ("n2048", 20, 2)
    assert plan.bits_per_value == 25.0
    assert plan.capsule.total_bytes == 25_600
