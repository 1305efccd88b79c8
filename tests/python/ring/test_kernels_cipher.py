"""AES, SHA-256 and CRC-32C kernels of every level: published vectors, then the oracle."""

import hashlib

import pytest

from oracle import aes, crc, streams

# (key, plaintext blocks, ciphertext blocks): FIPS 197 C.1, C.3; SP 800-38A F.1.1 and F.1.5 (ECB).
SP800_38A_PLAIN = (
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
NIST_ECB = {
    "fips197-128": (
        "000102030405060708090a0b0c0d0e0f",
        "00112233445566778899aabbccddeeff",
        "69c4e0d86a7b0430d8cdb78070b4c55a",
    ),
    "fips197-256": (
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "00112233445566778899aabbccddeeff",
        "8ea2b7ca516745bfeafc49904b496089",
    ),
    "sp800-38a-128": (
        "2b7e151628aed2a6abf7158809cf4f3c",
        SP800_38A_PLAIN,
        "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
        "43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4",
    ),
    "sp800-38a-256": (
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        SP800_38A_PLAIN,
        "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870"
        "b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7",
    ),
}
# SP 800-38A F.5.1 and F.5.5 (CTR): key, ciphertext of SP800_38A_PLAIN from counter f0f1...ff.
NIST_CTR = {
    "ctr-128": (
        "2b7e151628aed2a6abf7158809cf4f3c",
        "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
        "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
    ),
    "ctr-256": (
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
    ),
}


@pytest.mark.parametrize("name", NIST_ECB)
def test_aes_nist_vectors(door, isa_level, name):
    key, plain, cipher = map(bytes.fromhex, NIST_ECB[name])
    assert door.aes_round_keys(key) == aes.expand_key(key)
    assert door.aes_encrypt(isa_level, door.aes_round_keys(key), plain) == cipher


@pytest.mark.parametrize("name", NIST_CTR)
def test_aes_nist_counter_vectors(door, isa_level, name):
    key, cipher = map(bytes.fromhex, NIST_CTR[name])
    first = int("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16)
    counters = b"".join((first + i).to_bytes(16, "big") for i in range(4))
    stream = door.aes_encrypt(isa_level, door.aes_round_keys(key), counters)
    plain = bytes.fromhex(SP800_38A_PLAIN)
    assert bytes(a ^ b for a, b in zip(plain, stream, strict=True)) == cipher


@pytest.mark.parametrize("key_bytes", [16, 32])
def test_key_schedule(door, key_bytes, rng):
    for key in (bytes(key_bytes), b"\xff" * key_bytes, *(rng.randbytes(key_bytes) for _ in "abcd")):
        assert door.aes_round_keys(key) == aes.expand_key(key)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("key_bytes", [16, 32])
def test_aes_of_any_number_of_blocks(door, isa_level, key_bytes, in_place, rng):
    key = rng.randbytes(key_bytes)
    round_keys = door.aes_round_keys(key)
    cipher = streams.Cipher(streams.algorithms.AES(key), streams.modes.ECB())
    for blocks in [*range(70), 127, 128, 129, 1000]:
        data = rng.randbytes(16 * blocks)
        expected = cipher.encryptor().update(data)
        assert door.aes_encrypt(isa_level, round_keys, data, in_place=in_place) == expected


@pytest.mark.parametrize("key_bytes", [16, 32])
def test_keystream_of_any_start_and_length(door, isa_level, key_bytes, rng):
    key = rng.randbytes(key_bytes)
    round_keys = door.aes_round_keys(key)
    starts = [0, 1, 7, 2**31 - 3, 2**32 - 9, 2**52, 2**63 - 5, 2**64 - 20]
    for blocks in [*range(40), 63, 64, 65, 511]:
        index = rng.getrandbits(64)
        first = rng.choice(starts)
        expected = streams.keystream(key, index, first, blocks)
        assert door.aes_ctr(isa_level, round_keys, index, first, blocks) == expected


def pad_sha256(message: bytes) -> bytes:
    zeros = -(len(message) + 9) % 64
    return message + b"\x80" + bytes(zeros) + (8 * len(message)).to_bytes(8, "big")


def test_sha256_of_every_length(door, isa_level, rng):
    for length in [*range(260), 1000, 4096, 4097]:
        message = rng.randbytes(length)
        padded = pad_sha256(message)
        expected = hashlib.sha256(message).digest()
        assert door.sha256_padded(isa_level, padded) == expected
        split = rng.randrange(len(padded) // 64 + 1)
        assert door.sha256_padded(isa_level, padded, split) == expected


def test_sha256_published_vectors(door, isa_level):
    # FIPS 180-4 examples: "abc", the 56-byte message, one million times "a".
    for message, digest in [
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (
            b"a" * 1_000_000,
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        ),
    ]:
        assert door.sha256_padded(isa_level, pad_sha256(message)).hex() == digest


def test_crc32c_of_every_length(door, isa_level, rng):
    for length in [*range(300), 1023, 1024, 1025, 4096, 10_000]:
        data = rng.randbytes(length)
        expected = crc.crc32c(data)
        assert door.crc32c(isa_level, 0, data) == expected
        cut = rng.randrange(length + 1)
        assert door.crc32c(isa_level, door.crc32c(isa_level, 0, data[:cut]), data[cut:]) == expected


def test_crc32c_rfc_3720(door, isa_level):
    assert door.crc32c(isa_level, 0, b"123456789") == 0xE3069283
    assert door.crc32c(isa_level, 0, bytes(32)) == 0x8A9136AA
    assert door.crc32c(isa_level, 0, b"\xff" * 32) == 0x62A8AB43
