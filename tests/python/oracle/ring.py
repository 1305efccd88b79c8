"""Primes, roots, the NTT by a recursive FFT, residues by CRT, 50-bit packing.

A polynomial is a list of Python integers. "Slots" are in storage order: slot k of the bit-reversed
order is the value at psi^(2 bitrev(k) + 1), and of each 16 slots the even ones are stored first.
"""

from __future__ import annotations

from functools import cache
from math import isqrt, prod

RESIDUE_BITS = 50
PRIME_STEP = 32768


@cache
def is_prime(n: int) -> bool:
    """Miller-Rabin with the first twelve primes: exact below 3.3e24."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if n < 2:
        return False
    for p in bases:
        if n % p == 0:
            return n == p
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in bases:
        x = pow(base, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def is_prime_by_division(n: int) -> bool:
    """The definition; only for small n."""
    return n > 1 and all(n % d for d in range(2, isqrt(n) + 1))


@cache
def primes() -> tuple[int, int, int, int]:
    """The four largest primes below 2^50 that are 1 mod 32768, largest first."""
    found: list[int] = []
    candidate = (1 << RESIDUE_BITS) - PRIME_STEP + 1
    while len(found) < 4:
        if is_prime(candidate):
            found.append(candidate)
        candidate -= PRIME_STEP
    return tuple(found)


@cache
def small_test_prime() -> int:
    """The smallest prime above 2^49 that is 1 mod 32768: half of all words are rejected by it."""
    candidate = (1 << 49) + 1
    while not is_prime(candidate):
        candidate += PRIME_STEP
    return candidate


@cache
def psi(q: int, n: int) -> int:
    """The primitive 2n-th root of unity: g^((q-1)/2n) for the smallest g >= 2 that gives one."""
    g = 2
    while True:
        r = pow(g, (q - 1) // (2 * n), q)
        if pow(r, n, q) == q - 1:
            return r
        g += 1


def bit_reverse(k: int, bits: int) -> int:
    return int(f"{k:0{bits}b}"[::-1], 2) if bits else 0


@cache
def _storage_exponents(n: int) -> tuple[int, ...]:
    """Place i of the storage order holds the value at psi^(2 e + 1): this gives e."""
    bits = n.bit_length() - 1
    places = []
    for block in range(0, n, 16):
        for slot in [*range(0, 16, 2), *range(1, 16, 2)]:
            places.append(bit_reverse(block + slot, bits))
    return tuple(places)


@cache
def _powers(base: int, q: int, count: int) -> tuple[int, ...]:
    out, value = [], 1
    for _ in range(count):
        out.append(value)
        value = value * base % q
    return tuple(out)


def _fft(a: list[int], root: int, q: int) -> list[int]:
    """Values of a at 1, root, root^2, ... by splitting even and odd coefficients."""
    n = len(a)
    if n == 2:
        return [(a[0] + a[1]) % q, (a[0] - a[1]) % q]
    even = _fft(a[0::2], root * root % q, q)
    odd = _fft(a[1::2], root * root % q, q)
    turned = [w * x % q for w, x in zip(_powers(root, q, n // 2), odd, strict=True)]
    return [(e + t) % q for e, t in zip(even, turned, strict=True)] + [
        (e - t) % q for e, t in zip(even, turned, strict=True)
    ]


def ntt(a: list[int], q: int) -> list[int]:
    """Coefficients mod q -> slots in storage order."""
    n = len(a)
    root = psi(q, n)
    twisted = [x * p % q for x, p in zip(a, _powers(root, q, n), strict=True)]
    values = _fft(twisted, root * root % q, q)
    return [values[e] for e in _storage_exponents(n)]


def ntt_by_definition(a: list[int], q: int) -> list[int]:
    """The same by evaluating the polynomial; quadratic."""
    n = len(a)
    root = psi(q, n)
    out = []
    for e in _storage_exponents(n):
        point = pow(root, 2 * e + 1, q)
        value = 0
        for coefficient in reversed(a):
            value = (value * point + coefficient) % q
        out.append(value)
    return out


def intt(slots: list[int], q: int) -> list[int]:
    """Slots in storage order -> coefficients in [0, q)."""
    n = len(slots)
    values = [0] * n
    for place, e in enumerate(_storage_exponents(n)):
        values[e] = slots[place]
    back = pow(psi(q, n), -1, q)
    coefficients = _fft(values, back * back % q, q)
    scale = pow(n, -1, q)
    return [x * p % q * scale % q for x, p in zip(coefficients, _powers(back, q, n), strict=True)]


def multiply_by_definition(a: list[int], b: list[int], q: int) -> list[int]:
    """The negacyclic product, schoolbook."""
    n = len(a)
    out = [0] * n
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            if i + j < n:
                out[i + j] += x * y
            else:
                out[i + j - n] -= x * y
    return [x % q for x in out]


def multiply(a: list[int], b: list[int], q: int) -> list[int]:
    """The negacyclic product by one big-integer product (Kronecker), for any length."""
    n = len(a)
    room = 8 * ((2 * q.bit_length() + n.bit_length() + 8) // 8)
    packed_a = int.from_bytes(b"".join((x % q).to_bytes(room // 8, "little") for x in a), "little")
    packed_b = int.from_bytes(b"".join((x % q).to_bytes(room // 8, "little") for x in b), "little")
    raw = (packed_a * packed_b).to_bytes(2 * n * room // 8, "little")
    step = room // 8
    full = [int.from_bytes(raw[i * step : (i + 1) * step], "little") for i in range(2 * n)]
    return [(full[i] - full[i + n]) % q for i in range(n)]


def to_residues(values: list[int], moduli: tuple[int, ...]) -> list[list[int]]:
    """Integers -> one row of residues per limb."""
    return [[x % q for x in values] for q in moduli]


def from_residues(rows: list[list[int]], moduli: tuple[int, ...]) -> list[int]:
    """The integers in [0, Q) with these residues (textbook CRT)."""
    big_q = prod(moduli)
    lift = [big_q // q * pow(big_q // q, -1, q) for q in moduli]
    return [
        sum(x * t for x, t in zip(column, lift, strict=True)) % big_q
        for column in zip(*rows, strict=True)
    ]


def pack(residues: list[int]) -> bytes:
    """Coefficient j at bits [50 j, 50 j + 50) of a little-endian row."""
    assert len(residues) % 8 == 0
    out = bytearray()
    for group in range(0, len(residues), 8):
        part = 0
        for place, x in enumerate(residues[group : group + 8]):
            assert 0 <= x < 1 << RESIDUE_BITS
            part |= x << RESIDUE_BITS * place
        out += part.to_bytes(50, "little")
    return bytes(out)


def unpack(data: bytes) -> list[int]:
    """The fields of a packed row; they may be anything below 2^50."""
    assert len(data) % 50 == 0
    out = []
    mask = (1 << RESIDUE_BITS) - 1
    for start in range(0, len(data), 50):
        part = int.from_bytes(data[start : start + 50], "little")
        out.extend(part >> RESIDUE_BITS * place & mask for place in range(8))
    return out


def centred(value: int, q: int) -> int:
    """The representative in (-q/2, q/2]."""
    value %= q
    return value - q if value > q // 2 else value
