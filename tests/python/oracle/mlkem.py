"""ML-KEM-768 as FIPS 203 writes it, with its randomness as an argument.

`cryptography` draws the randomness of an encapsulation itself; frozen vectors need it fixed. The
product of polynomials is the definition's negacyclic one; the transform serves only because keys
and ciphertexts travel in its order.
"""

from __future__ import annotations

import hashlib

Q, N, K = 3329, 256, 3
ETA, DU, DV = 2, 10, 4
SEED_BYTES, PUBLIC_BYTES, CIPHERTEXT_BYTES = 64, 1184, 1088

Polynomial = list[int]


def _reverse7(i: int) -> int:
    return int(f"{i:07b}"[::-1], 2)


#: Section 4.3: pair i of a transform is the residue modulo X^2 - zeta^(2 rev(i) + 1).
POINTS = [pow(17, 2 * _reverse7(i) + 1, Q) for i in range(N // 2)]


def ntt(f: Polynomial) -> Polynomial:
    """Residues modulo X^2 - z for each z of POINTS, by definition."""
    out = []
    for z in POINTS:
        even = odd = 0
        for j in reversed(range(N // 2)):
            even = (even * z + f[2 * j]) % Q
            odd = (odd * z + f[2 * j + 1]) % Q
        out += [even, odd]
    return out


def ntt_inverse(f: Polynomial) -> Polynomial:
    """Interpolation, by definition: the points are all 128 roots of X^128 + 1."""
    out = [0] * N
    scale = pow(N // 2, -1, Q)
    powers = [1] * len(POINTS)
    for j in range(N // 2):
        for parity in (0, 1):
            total = sum(p * f[2 * i + parity] for i, p in enumerate(powers))
            out[2 * j + parity] = total * scale % Q
        powers = [p * pow(z, -1, Q) % Q for p, z in zip(powers, POINTS, strict=True)]
    return out


def multiply(f: Polynomial, g: Polynomial) -> Polynomial:
    """Pair by pair modulo X^2 - z (algorithms 11 and 12)."""
    out = []
    for i, z in enumerate(POINTS):
        a0, a1, b0, b1 = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
        out += [(a0 * b0 + a1 * b1 * z) % Q, (a0 * b1 + a1 * b0) % Q]
    return out


def add(f: Polynomial, g: Polynomial) -> Polynomial:
    return [(a + b) % Q for a, b in zip(f, g, strict=True)]


def encode(f: Polynomial, bits: int) -> bytes:
    """Algorithm 5: one little-endian number."""
    return sum(x << bits * i for i, x in enumerate(f)).to_bytes(N * bits // 8, "little")


def decode(data: bytes, bits: int) -> Polynomial:
    whole = int.from_bytes(data, "little")
    return [whole >> bits * i & (1 << bits) - 1 for i in range(N)]


def compress(f: Polynomial, bits: int) -> Polynomial:
    """Section 4.2.1: round(2^bits x / q), halves upwards."""
    return [((x << bits + 1) + Q) // (2 * Q) % (1 << bits) for x in f]


def decompress(f: Polynomial, bits: int) -> Polynomial:
    return [(2 * x * Q + (1 << bits)) >> bits + 1 for x in f]


def sample_uniform(seed: bytes) -> Polynomial:
    """Algorithm 7, on a stretch of SHAKE128 that always suffices in practice."""
    out, stream = [], hashlib.shake_128(seed).digest(3 * 1024)
    for at in range(0, len(stream), 3):
        pair = int.from_bytes(stream[at : at + 3], "little")
        out += [x for x in (pair & 0xFFF, pair >> 12) if x < Q]
    assert len(out) >= N
    return out[:N]


def sample_small(seed: bytes, number: int) -> Polynomial:
    """Algorithm 8, eta = 2, on PRF(seed, number)."""
    stream = hashlib.shake_256(seed + bytes([number])).digest(64 * ETA)
    bits = int.from_bytes(stream, "little")
    return [
        (
            (bits >> 4 * i & 1)
            + (bits >> 4 * i + 1 & 1)
            - (bits >> 4 * i + 2 & 1)
            - (bits >> 4 * i + 3 & 1)
        )
        % Q
        for i in range(N)
    ]


def matrix(rho: bytes) -> list[list[Polynomial]]:
    """Row i, column j."""
    return [[sample_uniform(rho + bytes([j, i])) for j in range(K)] for i in range(K)]


def public_key(seed: bytes) -> bytes:
    """Algorithms 13 and 16, the public half; `seed` is d || z."""
    assert len(seed) == SEED_BYTES
    halves = hashlib.sha3_512(seed[:32] + bytes([K])).digest()
    rho, sigma = halves[:32], halves[32:]
    secret = [ntt(sample_small(sigma, i)) for i in range(K)]
    out = b""
    for i, row in enumerate(matrix(rho)):
        t = ntt(sample_small(sigma, K + i))
        for a, s in zip(row, secret, strict=True):
            t = add(t, multiply(a, s))
        out += encode(t, 12)
    return out + rho


def encapsulate(public: bytes, randomness: bytes) -> tuple[bytes, bytes]:
    """Algorithms 14 and 17: (shared secret, ciphertext) from 32 bytes of randomness."""
    assert len(public) == PUBLIC_BYTES
    assert len(randomness) == 32
    secret_and_coins = hashlib.sha3_512(randomness + hashlib.sha3_256(public).digest()).digest()
    shared, coins = secret_and_coins[:32], secret_and_coins[32:]
    t = [decode(public[384 * i : 384 * i + 384], 12) for i in range(K)]
    a = matrix(public[-32:])
    y = [ntt(sample_small(coins, i)) for i in range(K)]
    out = b""
    for j in range(K):
        u = sample_small(coins, K + j)
        total = [0] * N
        for i in range(K):
            total = add(total, multiply(a[i][j], y[i]))
        out += encode(compress(add(u, ntt_inverse(total)), DU), DU)
    total = [0] * N
    for i in range(K):
        total = add(total, multiply(t[i], y[i]))
    message = decompress(decode(randomness, 1), 1)
    v = add(add(ntt_inverse(total), sample_small(coins, 2 * K)), message)
    return shared, out + encode(compress(v, DV), DV)
