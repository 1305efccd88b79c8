# Types of the extension that only testing builds have (-DVEILSUM_TESTING=ON): raw kernels of every
# ISA level, and the door through which tests inject seeds. Import veilsum._core first.
# ruff: noqa: A002 - the arguments are called what the bindings call them
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from veilsum._core import PadStore, Plan, PublicKey, Round, SumKey, Upload

_Words = npt.NDArray[np.uint64]
_Digits = npt.NDArray[np.uint32]
_Coefficients = npt.NDArray[np.int64]

def levels() -> list[str]: ...
def active_level() -> str: ...
def set_level(level: str) -> None: ...
def aes_round_keys(key: bytes) -> bytes: ...
def aes_encrypt(level: str, round_keys: bytes, data: bytes, in_place: bool = False) -> bytes: ...
def aes_ctr(level: str, round_keys: bytes, index: int, first: int, blocks: int) -> bytes: ...
def sha256_padded(level: str, padded: bytes, split: int = 0) -> bytes: ...
def crc32c(level: str, crc: int, data: bytes) -> int: ...
def primes() -> list[int]: ...
def is_prime(n: int) -> bool: ...
def primitive_root_of_unity(q: int, n: int) -> int: ...
def shoup_companion_secret(w: int, q: int) -> int: ...
def ntt_tables(n: int, q: int) -> dict[str, Any]: ...
def ntt_forward(level: str, a: _Words, q: int) -> _Words: ...
def ntt_inverse_lazy(level: str, a: _Words, q: int) -> _Words: ...
def expand_uniform(level: str, round_keys: bytes, index: int, q: int, n: int) -> _Words: ...
def multiply_slots(
    level: str, a: _Words, slots: _Words, q: int, in_place: bool = False
) -> _Words: ...
def multiply_inverse(
    level: str, a: _Words, slots: _Words, q: int, in_place: bool = False, ahead: bool = False
) -> _Words: ...
def sample_cbd(level: str, round_keys: bytes, index: int, n: int) -> npt.NDArray[np.int8]: ...

class Arithmetic:
    def __init__(self, limbs: int, bits: int, base: int, digits: int) -> None: ...
    def constants(self) -> dict[str, Any]: ...

def encrypt_block(
    level: str,
    arithmetic: Arithmetic,
    pads: _Words,
    digits: _Digits | None,
    round_keys: bytes,
    error_index: int,
    coefficients: int,
) -> bytes: ...
def make_pad(
    level: str,
    arithmetic: Arithmetic,
    pads: _Words,
    round_keys: bytes,
    error_index: int,
    coefficients: int,
) -> bytes: ...
def encrypt_from_pad(
    level: str, arithmetic: Arithmetic, pad: bytes, digits: _Digits | None
) -> bytes: ...
def decrypt_block(
    level: str, arithmetic: Arithmetic, packed: bytes, pads: _Words, wide: bool = False
) -> tuple[bool, _Digits | _Words]: ...
def noise_in_bounds(
    level: str, arithmetic: Arithmetic, packed: bytes, pads: _Words, bound: int
) -> bool: ...
def sum_fields(
    level: str,
    arithmetic: Arithmetic,
    sources: Sequence[bytes],
    weights: Sequence[int] | None,
    subtract: bool = False,
    in_place: int | None = None,
) -> bytes: ...
def pack_fields(level: str, fields: _Words, bits: int) -> bytes: ...
def unpack_fields(level: str, packed: bytes, bits: int) -> _Words: ...
def quantise(
    level: str,
    values: bytes,
    dtype: str,
    weight: float,
    limit: float,
    value_bits: int,
    random: _Digits | None,
    in_float: bool = False,
) -> tuple[_Digits, int, bool]: ...
def dequantise(
    level: str,
    digits: _Digits | _Words,
    offset: int,
    scale: float,
    dtype: str,
    in_float: bool = False,
) -> bytes: ...
def max_log2_modulus(degree: int, security: int) -> int: ...
def expander_round_keys(label: str, context: bytes, seed: bytes, key_bytes: int) -> bytes: ...
def round_seeded(
    plan: Plan,
    public: PublicKey,
    segments: Sequence[tuple[int, float]],
    layout: bytes,
    min_clients: int,
    roster: Sequence[bytes],
    upload_keys: int,
    seed: bytes,
) -> Round: ...
def encrypt_seeded(
    round: Round,
    pieces: Sequence[npt.NDArray[Any]],
    dtypes: Sequence[str],
    seeds: tuple[bytes, bytes, bytes],
    seal: Callable[[bytes, bytes, bytes], bytes],
    *,
    weight: float = 1.0,
    rounding: str = "nearest",
    on_clip: str = "count",
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Upload: ...
def pad_store_seeded(
    round: Round,
    *,
    budget_bytes: int,
    uploads: int,
    threads: int,
    seeds: Sequence[tuple[bytes, bytes, bytes]],
) -> PadStore: ...
def expand_keys(round: Round, seed: bytes) -> _Coefficients: ...
def sum_key_coefficients(key: SumKey) -> _Coefficients: ...
def time_kernel(level: str, kernel: str, n: int, repeats: int) -> float: ...
