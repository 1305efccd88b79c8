"""Primes, roots, the NTT by a recursive FFT, residues by CRT, `round` and `lift`, packed fields.

A polynomial is a list of Python integers. "Slots" are in storage order: slot k of the bit-reversed
order is the value at psi^(2 bitrev(k) + 1), and of each 16 slots the even ones are stored first.
`round` and `lift` take one coefficient; a residue vector is a tuple with one entry a prime.
"""

from __future__ import annotations

from functools import cache
from math import isqrt, prod

RESIDUE_BITS = 48
PRIME_STEP = 1 << 16
ROW_BITS = 52


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
    """The four largest primes below 2^48 that are 1 mod 2^16, largest first."""
    found: list[int] = []
    candidate = (1 << RESIDUE_BITS) - PRIME_STEP + 1
    while len(found) < 4:
        if is_prime(candidate):
            found.append(candidate)
        candidate -= PRIME_STEP
    return tuple(found)


@cache
def smallest_prime() -> int:
    """The smallest prime above 2^48 - 2^24 that is 1 mod 2^16: where the kernels' range ends."""
    candidate = (1 << RESIDUE_BITS) - (1 << 24) + 1
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


def round_one_limb(u: int, q: int, bits: int) -> int:
    """u in [0, q) -> about u 2^bits / q modulo 2^bits, with one 27-bit correction."""
    assert 0 <= u < q
    delta = (1 << RESIDUE_BITS) - q
    stretched = u + ((u >> 21) * delta >> 27)
    return (stretched + (1 << (RESIDUE_BITS - 1 - bits)) >> RESIDUE_BITS - bits) % (1 << bits)


def lift_one_limb(x: int, q: int, bits: int) -> int:
    """x in [0, 2^bits) -> about x q / 2^bits, as an integer (it may exceed q)."""
    assert 0 <= x < 1 << bits
    delta = (1 << RESIDUE_BITS) - q
    top = x >> (bits - 27) if bits >= 27 else x << (27 - bits)
    return (x << (RESIDUE_BITS - bits)) - (top * delta >> 27)


@cache
def _hat_inverses(moduli: tuple[int, ...]) -> tuple[int, ...]:
    """(q / q_i)^-1 mod q_i of each limb."""
    big_q = prod(moduli)
    return tuple(pow(big_q // q, -1, q) for q in moduli)


def round_residues(u: tuple[int, ...], moduli: tuple[int, ...], bits: int) -> int:
    """`round` for any number of limbs: residues in [0, q_i) -> field below 2^bits."""
    if len(moduli) == 1:
        return round_one_limb(u[0], moduli[0], bits)
    fraction_bits = RESIDUE_BITS * (len(moduli) + 1)
    total = 0
    for residue, q, hat_inverse in zip(u, moduli, _hat_inverses(moduli), strict=True):
        assert 0 <= residue < q
        total += residue * hat_inverse % q * ((1 << fraction_bits) // q)
    cut = fraction_bits - bits
    return (total + (1 << (cut - 1)) >> cut) % (1 << bits)


def lift(x: int, moduli: tuple[int, ...], bits: int) -> int:
    """`lift` for any number of limbs: x in [0, 2^bits) -> an integer near x q / 2^bits."""
    if len(moduli) == 1:
        return lift_one_limb(x, moduli[0], bits)
    assert 0 <= x < 1 << bits
    return x * prod(moduli) >> bits


def pack(fields: list[int], bits: int) -> bytes:
    """Field j at bits [bits j, bits j + bits) of a little-endian row."""
    assert len(fields) % 8 == 0
    out = bytearray()
    for group in range(0, len(fields), 8):
        part = 0
        for place, x in enumerate(fields[group : group + 8]):
            assert 0 <= x < 1 << bits
            part |= x << bits * place
        out += part.to_bytes(bits, "little")
    return bytes(out)


def unpack(data: bytes, bits: int) -> list[int]:
    """The fields of a packed row; any bytes are fields."""
    assert len(data) % bits == 0
    out = []
    mask = (1 << bits) - 1
    for start in range(0, len(data), bits):
        part = int.from_bytes(data[start : start + bits], "little")
        out.extend(part >> bits * place & mask for place in range(8))
    return out


def row_widths(bits: int) -> list[int]:
    """Wide fields travel in rows: 52 bits each, the last row the rest."""
    whole, rest = divmod(bits, ROW_BITS)
    return [ROW_BITS] * whole + [rest] * (rest > 0)


def pack_rows(fields: list[int], bits: int) -> bytes:
    """Fields of any width: row 0 holds the low 52 bits of every field, and so on."""
    out, shift = b"", 0
    for width in row_widths(bits):
        out += pack([x >> shift & (1 << width) - 1 for x in fields], width)
        shift += width
    return out


def unpack_rows(data: bytes, bits: int) -> list[int]:
    """The inverse of `pack_rows`."""
    assert len(data) % bits == 0
    groups = len(data) // bits
    out, shift, at = [0] * (8 * groups), 0, 0
    for width in row_widths(bits):
        row = unpack(data[at : at + groups * width], width)
        out = [x | part << shift for x, part in zip(out, row, strict=True)]
        at += groups * width
        shift += width
    return out


def centred(value: int, q: int) -> int:
    """The representative in (-q/2, q/2]."""
    value %= q
    return value - q if value > q // 2 else value
