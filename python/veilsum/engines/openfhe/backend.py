"""Finds OpenFHE: the C++ extension of this build, or the Python package `openfhe`.

Layer: OpenFHE engine, bottom. Both offer the same `Context` over residues and give the same ones,
so nothing above knows which one runs. ``VEILSUM_OPENFHE_BACKEND=cpp|wheel`` forces one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from veilsum.errors import BackendUnavailableError, ParameterError

__all__ = [
    "Backend",
    "ComplexValues",
    "Context",
    "ContextRequest",
    "Values",
    "Words",
    "context_for",
    "describe",
    "drawn",
    "load",
]

Words: TypeAlias = npt.NDArray[np.uint64]
Values: TypeAlias = npt.NDArray[np.float64]
ComplexValues: TypeAlias = npt.NDArray[np.complex128]

_VARIABLE = "VEILSUM_OPENFHE_BACKEND"
_Made = TypeVar("_Made")


class Context(Protocol):
    """A CKKS context; cpp/src/openfhe/engine.h has the contract of each call."""

    @property
    def ring_degree(self) -> int:
        """N."""
        ...

    @property
    def moduli(self) -> list[int]:
        """The primes."""
        ...

    @property
    def roots(self) -> list[int]:
        """A primitive 2N-th root of unity for each."""
        ...

    def keygen(self, earlier: Words) -> tuple[Words, Words]:
        """Make a secret and a public key, on top of the public key of earlier parties, if any."""
        ...

    def encrypt(self, key: Words, values: Values, threads: int = 0) -> Words:
        """Encrypt whole blocks of values in [-1, 1]."""
        ...

    def share(self, key: Words, blocks: Words, deviation: float, threads: int = 0) -> Words:
        """Make a decryption share of each block, with noise of this deviation."""
        ...

    def decrypt(self, blocks: Words, shares: Words, threads: int = 0) -> ComplexValues:
        """Fuse blocks with the sum of all shares."""
        ...

    def block_bytes(self, block: Words, tag: str) -> bytes:
        """Return a block in OpenFHE's binary format."""
        ...

    def public_bytes(self, key: Words, tag: str) -> bytes:
        """Return a public key in OpenFHE's binary format."""
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
    primes: int
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
        return (
            f"Run pip install '.[openfhe]' in Veilsum's repository, or {build}; or use "
            f"engine='native'"
        )
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


_FIRST_PROCESS: Final = os.getpid()
_forked = threading.Event()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked.set)


def drawn(step: Callable[..., _Made], *arguments: Any) -> _Made:
    """Take a step that draws random numbers, such that no other process draws the same.

    OpenFHE has one generator a thread, which a fork copies: parent and children would encrypt under
    the same randomness, and the difference of two uploads would be that of the updates. A thread
    that was started after the fork seeds a generator of its own, from the operating system's
    entropy, and so a forked process takes each step on a new one.

    Parameters
    ----------
    step : callable
        Of a `Context`.
    *arguments
        What it takes.
    """
    if not _forked.is_set() and os.getpid() == _FIRST_PROCESS:
        return step(*arguments)
    made: list[_Made] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            made.append(step(*arguments))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="veilsum-openfhe")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
