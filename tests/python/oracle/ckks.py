"""CKKS decryption in Python integers: the definition, with no OpenFHE and no clever transform.

Residues are in OpenFHE's order: place i of a polynomial in evaluation form is its value at
psi^(2 * rev(i) + 1), rev reversing the bits of i. Slot k of a plaintext is its value at the complex
root exp(i * pi * 5^k / N).
"""

from __future__ import annotations

import cmath
import math


def reverse(index: int, bits: int) -> int:
    return int(format(index, f"0{bits}b")[::-1], 2) if bits else 0


def coefficients(values: list[int], prime: int, root: int) -> list[int]:
    """Interpolate: evaluation form to coefficients."""
    degree = len(values)
    bits = degree.bit_length() - 1
    inverse = pow(root, -1, prime)
    points = [2 * reverse(i, bits) + 1 for i in range(degree)]
    scale = pow(degree, -1, prime)
    pairs = list(zip(values, points, strict=True))
    return [
        scale * sum(value * pow(inverse, j * point, prime) for value, point in pairs) % prime
        for j in range(degree)
    ]


def centred(rows: list[list[int]], moduli: list[int], roots: list[int]) -> list[int]:
    """Residue rows of one polynomial to coefficients around zero, by the remainder theorem."""
    whole = math.prod(moduli)
    out = [0] * len(rows[0])
    for row, prime, root in zip(rows, moduli, roots, strict=False):
        rest = whole // prime
        factor = rest * pow(rest, -1, prime)
        for j, value in enumerate(coefficients(row, prime, root)):
            out[j] = (out[j] + factor * value) % whole
    return [value - whole if value > whole // 2 else value for value in out]


def slots(polynomial: list[int], scale: float) -> list[complex]:
    degree = len(polynomial)
    out = []
    for k in range(degree // 2):
        power = pow(5, k, 2 * degree)
        out.append(
            sum(
                value * cmath.exp(1j * math.pi * (power * j % (2 * degree)) / degree)
                for j, value in enumerate(polynomial)
            )
            / scale
        )
    return out
