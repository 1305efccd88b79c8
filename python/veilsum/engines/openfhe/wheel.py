"""OpenFHE through the Python package `openfhe`: the slower way in, same calls and same residues.

Layer: OpenFHE engine, bottom. The package shows no residues, so they are cut out of, and put into,
OpenFHE's binary format: for one context, all objects of a kind have the same bytes apart from the
residues and the key's tag, and that form is learned from objects made here. What comes from outside
is checked residue by residue and put into such a form, so OpenFHE's deserialiser never meets a
received byte that is not a residue.

Values pass through Python lists, since the package takes nothing else; `threads` has no effect.
"""

from __future__ import annotations

import math
import os
from importlib.metadata import version
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import openfhe

from veilsum.engines.openfhe.backend import (
    ComplexValues,
    Context,
    ContextRequest,
    Values,
    Words,
)
from veilsum.errors import ParameterError, VeilsumError, WireFormatError

__all__ = ["make_backend"]

_SECURITY = {0: "HEStd_NotSet", 128: "HEStd_128_classic", 192: "HEStd_192_classic",
             256: "HEStd_256_classic"}  # fmt: skip
_SAMPLES = 2
_TAG_BYTES = 32
_TAG = "0" * _TAG_BYTES  # of what stays inside of this module


def _find_runs(raw: bytes, degree: int, moduli: list[int]) -> list[int]:
    """Find where the residues of each tower begin in an object's binary form.

    OpenFHE writes a tower as its length, its residues and its prime; what lies between towers
    depends on what they share in memory. Only objects made in this process are searched.
    """
    starts = []
    at = 0
    length = degree.to_bytes(8, "little")
    for modulus in moduli:
        while True:
            at = raw.find(length, at)
            if at < 0:
                raise VeilsumError("this OpenFHE writes residues in a way Veilsum does not know")
            end = at + 8 + 8 * degree
            if int.from_bytes(raw[end : end + 8], "little") == modulus:
                break
            at += 1
        starts.append(at + 8)
        at = end
    return starts


class _Form:
    """A kind's bytes apart from residues and tag, learned from samples made here."""

    def __init__(self, samples: list[Any], degree: int, moduli: list[int]) -> None:
        self._degree = degree
        self._moduli = moduli
        blanks = []
        for thing in samples:
            raw, name = _serialised(thing), str(thing.GetKeyTag()).encode("ascii")
            self._starts = _find_runs(raw, degree, moduli)
            self._tag_at = raw.find(name)
            if len(name) != _TAG_BYTES or self._tag_at < 0:
                raise VeilsumError("this OpenFHE writes key tags in a way Veilsum does not know")
            zeros = np.zeros(self.words, dtype=np.uint64)
            blanks.append(self._fill(raw, zeros, "\0" * _TAG_BYTES))
        if any(blank != blanks[0] for blank in blanks):
            raise VeilsumError("this OpenFHE writes objects of one kind in different ways")
        self._model = blanks[0]

    @property
    def words(self) -> int:
        """Residues of an object."""
        return self._degree * len(self._moduli)

    def cut(self, thing: Any) -> Words:
        """Return an object's residues."""
        raw = _serialised(thing)
        starts = _find_runs(raw, self._degree, self._moduli)
        return np.concatenate([np.frombuffer(raw, "<u8", self._degree, at) for at in starts])

    def fill(self, residues: Words, tag: str = _TAG) -> bytes:
        """Return the bytes of an object of these residues, each checked against its prime."""
        if residues.size != self.words:
            raise ParameterError(f"there are {residues.size} residues; an object has {self.words}")
        for index, prime in enumerate(self._moduli):
            bad = residues[index * self._degree :][: self._degree] >= np.uint64(prime)
            if bad.any():
                raise WireFormatError(
                    f"residue {int(np.argmax(bad))} of row {index} is not below its prime; the "
                    f"bytes were damaged or made up"
                )
        return self._fill(self._model, residues, tag)

    def _fill(self, model: bytes, residues: Words, tag: str) -> bytes:
        raw = bytearray(model)
        raw[self._tag_at : self._tag_at + _TAG_BYTES] = tag.encode("ascii")
        for index, start in enumerate(self._starts):
            part = residues[index * self._degree :][: self._degree]
            raw[start : start + 8 * self._degree] = part.astype("<u8", copy=False).tobytes()
        return bytes(raw)


class _WheelContext:
    def __init__(self, request: ContextRequest) -> None:
        if request.security not in _SECURITY:
            raise ParameterError(f"security = {request.security} is unknown; use 128, 192 or 256")
        parameters = openfhe.CCParamsCKKSRNS()
        parameters.SetSecurityLevel(getattr(openfhe.SecurityLevel, _SECURITY[request.security]))
        parameters.SetMultiplicativeDepth(request.primes - 1)
        parameters.SetScalingTechnique(openfhe.ScalingTechnique.FIXEDMANUAL)
        parameters.SetKeySwitchTechnique(openfhe.KeySwitchTechnique.BV)
        # As in cpp/src/openfhe/engine.cpp: no noise of the decoder's own.
        parameters.SetCKKSDataType(openfhe.CKKSDataType.COMPLEX)
        parameters.SetFirstModSize(request.first_bits)
        parameters.SetScalingModSize(request.scale_bits)
        parameters.SetRingDim(request.ring_degree)
        try:
            self._context = openfhe.GenCryptoContext(parameters)
            for feature in ("PKE", "LEVELEDSHE", "MULTIPARTY"):
                self._context.Enable(getattr(openfhe.PKESchemeFeature, feature))
        except RuntimeError as error:
            raise ParameterError(
                f"OpenFHE refuses a CKKS context of ring degree {request.ring_degree} at "
                f"{request.security} bits: {_reason(error)}"
            ) from None
        self.ring_degree = request.ring_degree
        self._slots = request.ring_degree // 2
        self._scale = 2.0**request.scale_bits
        sizes = (request.first_bits, request.scale_bits)[: request.primes]
        self.moduli, self.roots = _primes(_serialised(self._context), self.ring_degree, sizes)
        self._learn()

    def _learn(self) -> None:
        zeros = self._context.MakeCKKSPackedPlaintext([0.0] * self._slots)
        pairs = [self._context.KeyGen() for _ in range(_SAMPLES)]
        ciphers = [self._context.Encrypt(pair.publicKey, zeros) for pair in pairs]
        shares = [
            self._context.MultipartyDecryptMain([cipher], pair.secretKey)[0]
            for cipher, pair in zip(ciphers, pairs, strict=True)
        ]
        degree, one, two = self.ring_degree, self.moduli, self.moduli * 2
        self._secret = _Form([pair.secretKey for pair in pairs], degree, one)
        self._public = _Form([pair.publicKey for pair in pairs], degree, two)
        self._cipher = _Form(ciphers, degree, two)
        self._share = _Form(shares, degree, one)

    # --- residues to OpenFHE's objects ------------------------------------------------------------

    def _public_key(self, words: Words) -> Any:
        return openfhe.DeserializePublicKeyString(self._public.fill(words), openfhe.BINARY)

    @staticmethod
    def _ciphers(form: _Form, words: Words) -> list[Any]:
        if words.size % form.words:
            raise ParameterError(f"{words.size} residues are not whole blocks of {form.words}")
        return [
            openfhe.DeserializeCiphertextString(form.fill(row), openfhe.BINARY)
            for row in words.reshape(-1, form.words)
        ]

    # --- steps ------------------------------------------------------------------------------------

    def keygen(self, earlier: Words) -> tuple[Words, Words]:
        if earlier.size:
            pair = self._context.MultipartyKeyGen(self._public_key(earlier))
        else:
            pair = self._context.KeyGen()
        return self._secret.cut(pair.secretKey), self._public.cut(pair.publicKey)

    def encrypt(self, key: Words, values: Values, threads: int = 0) -> Words:
        _ = threads
        if values.size % self._slots:
            raise ParameterError(f"{values.size} values are not whole blocks of {self._slots}")
        handle = self._public_key(key)
        out = np.empty((values.size // self._slots, self._cipher.words), dtype=np.uint64)
        try:
            for row, block in zip(out, values.reshape(-1, self._slots), strict=True):
                plain = self._context.MakeCKKSPackedPlaintext(block.tolist())
                row[:] = self._cipher.cut(self._context.Encrypt(handle, plain))
        except RuntimeError as error:
            _raise("encrypt a block", error)
        return out.reshape(-1)

    def share(self, key: Words, blocks: Words, deviation: float, threads: int = 0) -> Words:
        _ = threads
        if not 0 < deviation <= min(self.moduli) / 16:
            raise ParameterError("the deviation of a share's noise is out of range")
        handle = openfhe.DeserializePrivateKeyString(self._secret.fill(key), openfhe.BINARY)
        ciphers = self._ciphers(self._cipher, blocks)
        out = np.empty((len(ciphers), self._share.words), dtype=np.uint64)
        try:
            for row, cipher in zip(out, ciphers, strict=True):
                # OpenFHE's share has noise of deviation 2^20; what is wanted beyond is added to it.
                (share,) = self._context.MultipartyDecryptMain([cipher], handle)
                noise = self._context.MakeCKKSPackedPlaintext(self._noise(deviation).tolist())
                row[:] = self._share.cut(self._context.EvalAdd(share, noise))
        except RuntimeError as error:
            _raise("make a decryption share", error)
        return out.reshape(-1)

    def _noise(self, deviation: float) -> npt.NDArray[np.complex128]:
        """Return slots whose coefficients are Gaussian of this deviation, rounded.

        OpenFHE's sampler is out of the package's reach, its encoder is not: the embedding of N real
        coefficients in N / 2 complex slots keeps angles and lengths up to a factor, so independent
        Gaussian slots are independent Gaussian coefficients. Box and Muller (1958), from the
        operating system's entropy.
        """
        words = np.frombuffer(os.urandom(16 * self._slots), dtype="<u8").reshape(2, -1)
        uniform = ((words[0] >> np.uint64(11)) + np.uint64(1)) * 2.0**-53  # in (0, 1]
        turn = words[1] * (2 * math.pi * 2.0**-64)
        factor = deviation * math.sqrt(self._slots) / self._scale
        slots: npt.NDArray[np.complex128] = (
            factor * np.sqrt(-2 * np.log(uniform)) * np.exp(1j * turn)
        )
        return slots

    def decrypt(self, blocks: Words, shares: Words, threads: int = 0) -> ComplexValues:
        _ = threads
        pairs = (self._ciphers(self._cipher, blocks), self._ciphers(self._share, shares))
        if len(pairs[0]) != len(pairs[1]):
            raise ParameterError(f"{len(pairs[1])} shares do not fit {len(pairs[0])} blocks")
        out = np.empty((len(pairs[0]), self._slots), dtype=np.complex128)
        try:
            for row, cipher, share in zip(out, *pairs, strict=True):
                plain = self._context.MultipartyDecryptFusion([cipher, share])
                plain.SetLength(self._slots)
                row[:] = plain.GetCKKSPackedValue()
        except RuntimeError as error:
            _raise("decrypt a block", error)
        return out.reshape(-1)

    def block_bytes(self, block: Words, tag: str) -> bytes:
        return self._cipher.fill(block, tag)

    def public_bytes(self, key: Words, tag: str) -> bytes:
        return self._public.fill(key, tag)


class _Wheel:
    name = "Python package"

    def __init__(self) -> None:
        # 1.6.1.0.22.4 is OpenFHE 1.6.1, packaged as .0 for Ubuntu 22.04.
        self.version = ".".join(version("openfhe").split(".")[:3])

    def make(self, request: ContextRequest) -> Context:
        return _WheelContext(request)


def make_backend() -> _Wheel:
    """Return the way to OpenFHE through the Python package."""
    return _Wheel()


def _serialised(thing: Any) -> bytes:
    return bytes(openfhe.Serialize(thing, openfhe.BINARY))


def _reason(error: Exception) -> str:
    # OpenFHE's messages begin with a source line, which helps nobody.
    return str(error).split("(): ", 1)[-1].strip()


def _raise(doing: str, error: Exception) -> NoReturn:
    raise VeilsumError(f"OpenFHE could not {doing}: {_reason(error)}") from None


def _primes(raw: bytes, degree: int, sizes: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Find the context's primes and roots of unity in its binary form.

    A prime is written right before its root. A pair is accepted when the root has order 2N modulo
    that prime, which random bytes do not have.
    """
    moduli: list[int] = []
    roots: list[int] = []
    for at in range(len(raw) - 15):
        prime = int.from_bytes(raw[at : at + 8], "little")
        root = int.from_bytes(raw[at + 8 : at + 16], "little")
        wanted = sizes[min(len(moduli), len(sizes) - 1)]
        if (
            prime % (2 * degree) == 1
            and abs(math.log2(prime) - wanted) < 1
            and 1 < root < prime
            and pow(root, degree, prime) == prime - 1
        ):
            moduli.append(prime)
            roots.append(root)
    if len(moduli) != len(sizes):
        raise VeilsumError("this OpenFHE writes contexts in a way Veilsum does not know")
    return moduli, roots
