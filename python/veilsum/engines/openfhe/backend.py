"""Finds OpenFHE: the C++ extension of this build, or the Python package `openfhe`.

Layer: OpenFHE engine, bottom. Both offer the same `Context` over arrays and give the same residues,
so nothing above knows which one runs. ``VEILSUM_OPENFHE_BACKEND=cpp|wheel`` forces one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from veilsum.errors import BackendUnavailableError, ParameterError

__all__ = ["Backend", "Context", "ContextRequest", "context_for", "describe", "load"]

Words: TypeAlias = npt.NDArray[np.uint64]
Values: TypeAlias = npt.NDArray[np.float64]
ComplexValues: TypeAlias = npt.NDArray[np.complex128]

_VARIABLE = "VEILSUM_OPENFHE_BACKEND"


class Blocks(Protocol):
    """A run of ciphertexts or decryption shares, one a block, held by OpenFHE."""

    @property
    def elements(self) -> int:
        """Polynomials a block: 2, or 1 for a share."""
        ...

    @property
    def rescaled(self) -> bool:
        """Whether one prime is left of the two."""
        ...

    def __len__(self) -> int: ...


class Key(Protocol):
    """A key held by OpenFHE."""

    @property
    def tag(self) -> str:
        """OpenFHE's name for the key pair, 32 hexadecimal digits."""
        ...


class Context(Protocol):
    """A CKKS context of depth 1; cpp/src/openfhe/engine.h has the contract of each call."""

    @property
    def ring_degree(self) -> int:
        """N."""
        ...

    @property
    def moduli(self) -> list[int]:
        """The two primes."""
        ...

    @property
    def roots(self) -> list[int]:
        """A primitive 2N-th root of unity for each."""
        ...

    @property
    def flooding_deviation(self) -> float:
        """Deviation of the noise on a share's coefficients."""
        ...

    def serialised(self) -> bytes:
        """Return the context in OpenFHE's binary format."""
        ...

    def keygen(self, earlier: Key | None = None) -> tuple[Key, Key]:
        """Make a key pair, on top of the public key of earlier parties."""
        ...

    def encrypt(self, key: Key, values: Values, threads: int = 0) -> Blocks:
        """Encrypt whole blocks of values in [-1, 1]."""
        ...

    def sum(self, terms: list[Blocks], weights: list[float], threads: int = 0) -> Blocks:
        """Sum blocks, weighted and rescaled where there are weights."""
        ...

    def share(self, key: Key, blocks: Blocks, threads: int = 0) -> Blocks:
        """Make a decryption share of each block."""
        ...

    def add_shares(self, shares: list[Blocks], threads: int = 0) -> Blocks:
        """Add shares of the same blocks."""
        ...

    def decrypt(self, blocks: Blocks, shares: Blocks, threads: int = 0) -> ComplexValues:
        """Fuse blocks with the sum of all shares."""
        ...

    def write(self, blocks: Blocks, first: int, count: int, threads: int = 0) -> Words:
        """Return the residues of a range of blocks."""
        ...

    def read(
        self, key: Key, residues: Words, elements: int, rescaled: bool, threads: int = 0
    ) -> Blocks:
        """Make blocks of residues, each checked against its prime."""
        ...

    def join(self, parts: list[Blocks]) -> Blocks:
        """Put runs of blocks one after the other."""
        ...

    def block_bytes(self, blocks: Blocks, index: int) -> bytes:
        """Return a block in OpenFHE's binary format."""
        ...

    def write_public(self, key: Key) -> Words:
        """Return the residues of a public key."""
        ...

    def read_public(self, residues: Words, tag: str) -> Key:
        """Make a public key of residues."""
        ...

    def public_bytes(self, key: Key) -> bytes:
        """Return a public key in OpenFHE's binary format."""
        ...

    def write_secret(self, key: Key) -> Words:
        """Return the residues of a secret key."""
        ...

    def read_secret(self, residues: Words, tag: str) -> Key:
        """Make a secret key of residues."""
        ...


class Backend(Protocol):
    """A way to OpenFHE."""

    name: str
    version: str

    def make(self, request: ContextRequest) -> Context:
        """Make a context; `ParameterError` when OpenFHE refuses the request."""
        ...


@dataclass(frozen=True)
class ContextRequest:
    """What a context is made from; see `veilsum::openfhe::ContextRequest`."""

    ring_degree: int
    security: int
    flooding: bool
    noise_bits: float
    first_bits: int
    scale_bits: int


class _Compiled:
    name = "C++"

    def __init__(self, module: Any) -> None:
        self._module = module
        self.version: str = module.library_version()

    def make(self, request: ContextRequest) -> Context:
        made: Context = self._module.Context(**vars(request))
        return made


def load() -> Backend:
    """Return the way to OpenFHE that this installation has.

    Raises
    ------
    BackendUnavailableError
        When there is none; the message says how to get one.
    ParameterError
        When VEILSUM_OPENFHE_BACKEND is neither empty, "cpp" nor "wheel".
    """
    return _load(os.environ.get(_VARIABLE, ""))


@lru_cache(maxsize=3)
def _load(forced: str) -> Backend:
    if forced not in ("", "cpp", "wheel"):
        raise ParameterError(f"{_VARIABLE} is {forced!r}; it must be 'cpp' or 'wheel', or unset")
    reasons = []
    if forced != "wheel":
        try:
            from veilsum import _openfhe  # type: ignore[attr-defined, unused-ignore]

            return _Compiled(_openfhe)
        except ImportError as reason:
            built = importlib.util.find_spec("veilsum._openfhe") is not None
            reasons.append(
                f"the C++ engine does not load ({reason})"
                if built
                else "this build has no C++ engine"
            )
    if forced != "cpp":
        try:
            from veilsum.engines.openfhe import wheel

            return wheel.make_backend()
        except ImportError as reason:
            if importlib.util.find_spec("openfhe") is None:
                reasons.append("the Python package 'openfhe' is not installed")
            else:
                reasons.append(f"the Python package 'openfhe' does not import here ({reason})")
    raise BackendUnavailableError(
        f"engine 'openfhe' is not available: {', and '.join(reasons)}. {_remedy()}"
    )


def _remedy() -> str:
    build = (
        "build Veilsum where CMake finds OpenFHE >= 1.3 "
        "(CMAKE_ARGS=-DCMAKE_PREFIX_PATH=PREFIX pip install .)"
    )
    if sys.version_info[:2] in ((3, 10), (3, 12)) and sys.platform == "linux":
        return f"Run pip install 'veilsum[openfhe]', or {build}; or use engine='native'"
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"The package 'openfhe' has wheels for CPython 3.10 and 3.12 on Linux x86-64 only, and "
        f"this is {running} on {sys.platform}: use one of those, or {build}; or use "
        f"engine='native'"
    )


@lru_cache(maxsize=32)
def _context(backend: str, request: ContextRequest) -> Context:
    return _load(backend).make(request)


def context_for(request: ContextRequest) -> Context:
    """Return a context, made once a process.

    Parameters
    ----------
    request : ContextRequest
        What it is made from.

    Raises
    ------
    BackendUnavailableError
        When there is no way to OpenFHE.
    ParameterError
        When OpenFHE refuses the request.
    """
    return _context(os.environ.get(_VARIABLE, ""), request)


def describe() -> str:
    """Say which OpenFHE this installation uses, in a few words.

    Raises
    ------
    BackendUnavailableError
        When there is none; the message says how to get one.
    """
    backend = load()
    return f"OpenFHE {backend.version} ({backend.name})"
