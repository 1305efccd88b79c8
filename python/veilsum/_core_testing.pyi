# Types of the extension that only testing builds have (-DVEILSUM_TESTING=ON): raw kernels of every
# ISA level, and the door through which tests inject seeds. Import veilsum._core first.
# ruff: noqa: A002 - the arguments are called what the bindings call them
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from veilsum._core import (
    Aggregate,
    AggregateFile,
    PadStore,
    Plan,
    PublicKey,
    Round,
    SumKey,
    Upload,
)

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
def tag_primes() -> tuple[int, int]: ...
def tag_run(
    level: str,
    digits: _Digits | _Words,
    base: int,
    scale: _Words,
    prime: int,
    powers: _Words,
    steps: _Words,
) -> list[int]: ...
def tag_round_key(round_id: bytes, group_tag_key: bytes) -> bytes: ...
def tag_field(base: int) -> tuple[int, int]: ...
def tag_element(base: int, block: bytes) -> int: ...
def tag_arithmetic(base: int, a: int, b: int) -> tuple[int, int, int]: ...

class Tags:
    def __init__(self, base: int, digits: int, key: bytes) -> None: ...
    def block(self, number: int, digits: _Digits | _Words, coefficients: int) -> list[int]: ...
    def mask(self, client: int, nonce: bytes) -> list[int]: ...
    def combine(self, a: list[int], b: list[int], weight: int, c: list[int]) -> list[int]: ...
    @property
    def words_per_coefficient(self) -> int: ...

def sharing_prime(total_weight: int, members: int) -> int: ...
def uniform_elements(p: int, round_keys: bytes, index: int, count: int) -> _Words: ...
def pack_elements(p: int, elements: _Words) -> bytes: ...
def unpack_elements(p: int, packed: bytes, count: int) -> _Words: ...
def add_elements(p: int, a: _Words, b: _Words) -> _Words: ...
def centred_elements(p: int, elements: _Words) -> _Coefficients: ...
def all_within(values: _Coefficients, bound: int) -> bool: ...
def challenge_elements(p: int) -> int: ...
def combine_challenge(p: int, digest: bytes, share: _Words) -> _Words: ...
def trial_subsets(answers: int, threshold: int) -> list[list[int]]: ...

class Shamir:
    def __init__(self, p: int, members: int, threshold: int) -> None: ...
    def evaluate(self, coefficients: _Words) -> _Words: ...
    def share(self, secret: _Words, round_keys: bytes, index: int) -> _Words: ...
    def share_signed(self, secret: _Coefficients, round_keys: bytes, index: int) -> _Words: ...
    def reconstruct(self, members: Sequence[int], words: _Words) -> _Words: ...
    def decode(self, members: Sequence[int], words: _Words) -> tuple[_Words | None, list[int]]: ...
    def distance(self, members: Sequence[int], words: _Words, f: int) -> tuple[str, list[int]]: ...

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
    client: int | None = None,
) -> Upload: ...
def pad_store_seeded(
    round: Round,
    *,
    budget_bytes: int,
    uploads: int,
    threads: int,
    seeds: Sequence[tuple[bytes, bytes, bytes]],
) -> PadStore: ...
def encrypt_tagged(
    round: Round,
    key_round: Round,
    group_key: bytes,
    pieces: Sequence[npt.NDArray[Any]],
    dtypes: Sequence[str],
    seal: Callable[[bytes, bytes, bytes], bytes],
    *,
    seeds: tuple[bytes, bytes, bytes] | None = None,
    pads: PadStore | None = None,
    weight: float = 1.0,
    rounding: str = "nearest",
    on_clip: str = "count",
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
    client: int | None = None,
) -> tuple[Upload, list[int]]: ...
def encrypt_file_tagged(
    round: Round,
    group_key: bytes,
    sources: Sequence[tuple[str | os.PathLike[str], int, str, int]],
    target: str | os.PathLike[str],
    seal: Callable[[bytes, bytes, bytes], bytes],
    *,
    seeds: tuple[bytes, bytes, bytes],
    weight: float = 1.0,
    rounding: str = "nearest",
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
    resume: bool = False,
) -> list[int]: ...
def decrypt_tagged(
    key: SumKey,
    aggregate: Aggregate,
    blocks: bytes | memoryview,
    key_round: Round,
    group_key: bytes,
    expected: Sequence[int],
    out: npt.NDArray[Any],
    *,
    average: bool = True,
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None: ...
def decrypt_file_tagged(
    key: SumKey,
    aggregate: AggregateFile,
    target: str | os.PathLike[str],
    group_key: bytes,
    expected: Sequence[int],
    *,
    dtype: str = "float32",
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
    resume: bool = False,
) -> None: ...
def upload_tag(
    round: Round, group_key: bytes, hash: Sequence[int], client: int, nonce: bytes
) -> list[int]: ...
def expand_keys(round: Round, seed: bytes) -> _Coefficients: ...
def sum_key_coefficients(key: SumKey) -> _Coefficients: ...
def time_kernel(level: str, kernel: str, n: int, repeats: int) -> float: ...
