"""AES as FIPS 197 writes it: S-box from the field inverse, one byte at a time.

Slow and plain. The streams use `cryptography`'s AES; this one gives the key schedule that the raw
kernels take, and a second opinion on the cipher itself.
"""

from __future__ import annotations


def _xtime(value: int) -> int:
    value <<= 1
    return value ^ 0x11B if value & 0x100 else value


def _multiply(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = _xtime(a), b >> 1
    return product


def _make_sbox() -> list[int]:
    inverse = [0] * 256
    for a in range(1, 256):
        for b in range(1, 256):
            if _multiply(a, b) == 1:
                inverse[a] = b
                break
    box = []
    for value in inverse:
        mixed = value
        for turn in range(1, 5):
            mixed ^= (value << turn | value >> (8 - turn)) & 0xFF
        box.append(mixed ^ 0x63)
    return box


SBOX = _make_sbox()


def expand_key(key: bytes) -> bytes:
    """FIPS 197 section 5.2: 11 round keys for 16 bytes of key, 15 for 32."""
    words_in_key = len(key) // 4
    rounds = words_in_key + 6
    words = [list(key[4 * i : 4 * i + 4]) for i in range(words_in_key)]
    round_constant = 1
    for i in range(words_in_key, 4 * (rounds + 1)):
        word = list(words[i - 1])
        if i % words_in_key == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= round_constant
            round_constant = _xtime(round_constant)
        elif words_in_key > 6 and i % words_in_key == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - words_in_key], word, strict=True)])
    return bytes(b for word in words for b in word)


def encrypt_block(key: bytes, block: bytes) -> bytes:
    """One block, FIPS 197 figure 5; the state is kept in the input's (column-major) order."""
    round_keys = expand_key(key)
    rounds = len(round_keys) // 16 - 1
    state = [a ^ b for a, b in zip(block, round_keys[:16], strict=True)]
    for turn in range(1, rounds + 1):
        state = [SBOX[state[4 * ((col + row) % 4) + row]] for col in range(4) for row in range(4)]
        if turn != rounds:
            mixed = []
            for col in range(4):
                a = state[4 * col : 4 * col + 4]
                for row in range(4):
                    mixed.append(
                        _multiply(a[row], 2)
                        ^ _multiply(a[(row + 1) % 4], 3)
                        ^ a[(row + 2) % 4]
                        ^ a[(row + 3) % 4]
                    )
            state = mixed
        state = [a ^ b for a, b in zip(state, round_keys[16 * turn : 16 * turn + 16], strict=True)]
    return bytes(state)
