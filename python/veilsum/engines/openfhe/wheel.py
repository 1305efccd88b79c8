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
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NoReturn, cast

import numpy as np
import openfhe

from veilsum.engines.openfhe.backend import (
    Blocks,
    ComplexValues,
    Context,
    ContextRequest,
    Key,
    Values,
    Words,
)
from veilsum.errors import ParameterError, VeilsumError, WireFormatError

__all__ = ["make_backend"]

_SECURITY = {0: "HEStd_NotSet", 128: "HEStd_128_classic", 192: "HEStd_192_classic",
             256: "HEStd_256_classic"}  # fmt: skip
_SAMPLES = 2
_TAG_BYTES = 32
_STATISTICAL_BITS = 30  # OpenFHE's own, which it does not let CKKS change
_FIXED_DEVIATION = 2.0**20


@dataclass(frozen=True)
class _KeyOf:
    handle: Any

    @property
    def tag(self) -> str:
        return str(self.handle.GetKeyTag())

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an OpenFHE key cannot be pickled or copied")

    def __repr__(self) -> str:
        return "<OpenFHE key>"


@dataclass(frozen=True)
class _Run:
    items: list[Any]
    elements: int
    rescaled: bool

    def __len__(self) -> int:
        return len(self.items)


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

    def __init__(self, samples: list[tuple[bytes, str]], degree: int, moduli: list[int]) -> None:
        self._degree = degree
        self._starts = _find_runs(samples[0][0], degree, moduli)
        blanks = []
        for raw, tag in samples:
            name = tag.encode("ascii")
            self._tag_at = raw.find(name)
            if len(tag) != _TAG_BYTES or self._tag_at < 0:
                raise VeilsumError("this OpenFHE writes key tags in a way Veilsum does not know")
            blanks.append(self._fill(raw, b"\0" * _TAG_BYTES, None))
        if any(blank != blanks[0] for blank in blanks):
            raise VeilsumError("this OpenFHE writes objects of one kind in different ways")
        self._model = blanks[0]

    def fill(self, residues: Words, tag: str) -> bytes:
        return self._fill(self._model, tag.encode("ascii"), residues)

    def _fill(self, model: bytes, tag: bytes, residues: Words | None) -> bytes:
        raw = bytearray(model)
        raw[self._tag_at : self._tag_at + _TAG_BYTES] = tag
        size = 8 * self._degree
        for index, start in enumerate(self._starts):
            part = None if residues is None else residues[index * self._degree :][: self._degree]
            raw[start : start + size] = bytes(size) if part is None else part.tobytes()
        return bytes(raw)


class _WheelContext:
    def __init__(self, request: ContextRequest) -> None:
        if request.security not in _SECURITY:
            raise ParameterError(f"security = {request.security} is unknown; use 128, 192 or 256")
        parameters = openfhe.CCParamsCKKSRNS()
        parameters.SetSecurityLevel(getattr(openfhe.SecurityLevel, _SECURITY[request.security]))
        parameters.SetMultiplicativeDepth(1)
        parameters.SetScalingTechnique(openfhe.ScalingTechnique.FIXEDMANUAL)
        parameters.SetKeySwitchTechnique(openfhe.KeySwitchTechnique.BV)
        # As in cpp/src/openfhe/engine.cpp: no noise of the decoder's own.
        parameters.SetCKKSDataType(openfhe.CKKSDataType.COMPLEX)
        parameters.SetFirstModSize(request.first_bits)
        parameters.SetScalingModSize(request.scale_bits)
        if request.ring_degree:
            parameters.SetRingDim(request.ring_degree)
        if request.flooding:
            parameters.SetDecryptionNoiseMode(openfhe.DecryptionNoiseMode.NOISE_FLOODING_DECRYPT)
            parameters.SetExecutionMode(openfhe.ExecutionMode.EXEC_EVALUATION)
            parameters.SetNoiseEstimate(request.noise_bits)
        try:
            self._context = openfhe.GenCryptoContext(parameters)
            for feature in ("PKE", "LEVELEDSHE", "MULTIPARTY"):
                self._context.Enable(getattr(openfhe.PKESchemeFeature, feature))
        except RuntimeError as error:
            raise ParameterError(
                f"OpenFHE refuses a CKKS context of ring degree {request.ring_degree} at "
                f"{request.security} bits: {_reason(error)}"
            ) from None
        self.ring_degree = int(self._context.GetRingDimension())
        self._raw = bytes(openfhe.Serialize(self._context, openfhe.BINARY))
        self.flooding_deviation = (
            2 ** (_STATISTICAL_BITS / 2 + math.log2(math.sqrt(12)) + request.noise_bits)
            if request.flooding
            else _FIXED_DEVIATION
        )
        sizes = (60, 59) if request.flooding else (request.first_bits, request.scale_bits)
        self.moduli, self.roots = _primes(self._raw, self.ring_degree, sizes)
        self._forms: dict[tuple[str, bool], _Form] = {}
        self._learn()

    @property
    def _slots(self) -> int:
        return self.ring_degree // 2

    def serialised(self) -> bytes:
        return self._raw

    # --- forms ------------------------------------------------------------------------------------

    def _learn(self) -> None:
        """Make objects of every kind, and learn what they share."""
        made: dict[tuple[str, bool], list[tuple[bytes, str]]] = {}
        zeros = [0.0] * self._slots
        for _ in range(_SAMPLES):
            pair = self._context.KeyGen()
            plain = self._context.MakeCKKSPackedPlaintext(zeros)
            full = self._context.Encrypt(pair.publicKey, plain)
            rescaled = self._context.Rescale(self._context.EvalMult(full, 0.5))
            things = {("public", False): pair.publicKey, ("secret", False): pair.secretKey}
            for is_rescaled, cipher in ((False, full), (True, rescaled)):
                things["cipher", is_rescaled] = cipher
                things["share", is_rescaled] = self._context.MultipartyDecryptMain(
                    [cipher], pair.secretKey
                )[0]
            for kind, thing in things.items():
                raw = bytes(openfhe.Serialize(thing, openfhe.BINARY))
                made.setdefault(kind, []).append((raw, str(thing.GetKeyTag())))
        for (name, is_rescaled), samples in made.items():
            runs = self._runs(1 if name in ("share", "secret") else 2, is_rescaled)
            self._forms[name, is_rescaled] = _Form(samples, self.ring_degree, runs)

    def _runs(self, elements: int, rescaled: bool) -> list[int]:
        """Return the prime of each tower, in the order of the binary form."""
        return (self.moduli[:1] if rescaled else self.moduli) * elements

    def _cut(self, thing: Any, elements: int, rescaled: bool) -> Words:
        raw = bytes(openfhe.Serialize(thing, openfhe.BINARY))
        starts = _find_runs(raw, self.ring_degree, self._runs(elements, rescaled))
        return np.concatenate(
            [np.frombuffer(raw, dtype="<u8", count=self.ring_degree, offset=at) for at in starts]
        )

    def _form(self, elements: int, rescaled: bool) -> _Form:
        return self._forms["share" if elements == 1 else "cipher", rescaled]

    def _check(self, residues: Words, elements: int, rescaled: bool) -> Words:
        """Check residues against their primes; returns them as (blocks, residues)."""
        moduli = self.moduli[:1] if rescaled else self.moduli
        each = elements * len(moduli) * self.ring_degree
        if residues.size % each:
            raise WireFormatError(f"{residues.size} residues are not whole blocks of {each}")
        table = np.ascontiguousarray(residues, dtype="<u8").reshape(
            -1, elements, len(moduli), self.ring_degree
        )
        for index, modulus in enumerate(moduli):
            bad = table[:, :, index, :] >= np.uint64(modulus)
            if bad.any():
                where = int(np.argwhere(bad)[0][-1])
                raise WireFormatError(
                    f"residue {where} of prime {index} is not below it; the bytes were damaged or "
                    f"made up"
                )
        return table.reshape(-1, each)

    # --- steps ------------------------------------------------------------------------------------

    def keygen(self, earlier: Key | None = None) -> tuple[Key, Key]:
        if earlier is None:
            pair = self._context.KeyGen()
        else:
            pair = self._context.MultipartyKeyGen(_handle(earlier))
        return _KeyOf(pair.secretKey), _KeyOf(pair.publicKey)

    def encrypt(self, key: Key, values: Values, threads: int = 0) -> Blocks:
        _ = threads
        table = values.reshape(-1, self._slots)
        handle = _handle(key)
        try:
            items = [
                self._context.Encrypt(handle, self._context.MakeCKKSPackedPlaintext(block.tolist()))
                for block in table
            ]
        except RuntimeError as error:
            _raise("encrypt a block", error)
        return _Run(items, 2, False)

    def sum(self, terms: list[Blocks], weights: list[float], threads: int = 0) -> Blocks:
        _ = threads
        runs = [cast(_Run, term) for term in terms]
        totals = []
        for column in zip(*(run.items for run in runs), strict=True):
            if weights:
                scaled = [
                    self._context.EvalMult(item, weight)
                    for item, weight in zip(column, weights, strict=True)
                ]
                total = scaled[0]
                for item in scaled[1:]:
                    self._context.EvalAddInPlace(total, item)
                total = self._context.Rescale(total)
            else:
                total = column[0].Clone()
                for item in column[1:]:
                    self._context.EvalAddInPlace(total, item)
            totals.append(total)
        return _Run(totals, 2, runs[0].rescaled or bool(weights))

    def share(self, key: Key, blocks: Blocks, threads: int = 0) -> Blocks:
        _ = threads
        run = cast(_Run, blocks)
        return _Run(self._context.MultipartyDecryptMain(run.items, _handle(key)), 1, run.rescaled)

    def add_shares(self, shares: list[Blocks], threads: int = 0) -> Blocks:
        _ = threads
        if len(shares) == 1:
            return shares[0]
        tables = [self.write(share, 0, len(share)) for share in shares]
        run = cast(_Run, shares[0])
        moduli = self.moduli[:1] if run.rescaled else self.moduli
        column = np.array(moduli, dtype=np.uint64)[None, :, None]
        total = np.zeros((len(run), len(moduli), self.ring_degree), dtype=np.uint64)
        for table in tables:
            total = (total + table.reshape(total.shape)) % column
        tag = str(run.items[0].GetKeyTag())
        return self._build(total.reshape(len(run), -1), tag, 1, run.rescaled)

    def decrypt(self, blocks: Blocks, shares: Blocks, threads: int = 0) -> ComplexValues:
        _ = threads
        out = np.empty((len(blocks), self._slots), dtype=np.complex128)
        pairs = zip(cast(_Run, blocks).items, cast(_Run, shares).items, strict=True)
        try:
            for row, pair in zip(out, pairs, strict=True):
                plain = self._context.MultipartyDecryptFusion(list(pair))
                plain.SetLength(self._slots)
                row[:] = plain.GetCKKSPackedValue()
        except RuntimeError as error:
            _raise("decrypt a block", error)
        return out.reshape(-1)

    # --- residues in and out ----------------------------------------------------------------------

    def write(self, blocks: Blocks, first: int, count: int, threads: int = 0) -> Words:
        _ = threads
        run = cast(_Run, blocks)
        items = run.items[first : first + count]
        return np.concatenate([self._cut(item, run.elements, run.rescaled) for item in items])

    def read(
        self, key: Key, residues: Words, elements: int, rescaled: bool, threads: int = 0
    ) -> Blocks:
        _ = threads
        return self._build(self._check(residues, elements, rescaled), key.tag, elements, rescaled)

    def _build(self, table: Words, tag: str, elements: int, rescaled: bool) -> Blocks:
        form = self._form(elements, rescaled)
        items = [
            openfhe.DeserializeCiphertextString(form.fill(row, tag), openfhe.BINARY)
            for row in table
        ]
        return _Run(items, elements, rescaled)

    def join(self, parts: list[Blocks]) -> Blocks:
        runs = [cast(_Run, part) for part in parts]
        items = [item for run in runs for item in run.items]
        return _Run(items, runs[0].elements, runs[0].rescaled)

    def block_bytes(self, blocks: Blocks, index: int) -> bytes:
        return bytes(openfhe.Serialize(cast(_Run, blocks).items[index], openfhe.BINARY))

    def write_public(self, key: Key) -> Words:
        return self._cut(_handle(key), 2, False)

    def read_public(self, residues: Words, tag: str) -> Key:
        raw = self._forms["public", False].fill(self._one(residues, 2), tag)
        return _KeyOf(openfhe.DeserializePublicKeyString(raw, openfhe.BINARY))

    def public_bytes(self, key: Key) -> bytes:
        return bytes(openfhe.Serialize(_handle(key), openfhe.BINARY))

    def write_secret(self, key: Key) -> Words:
        return self._cut(_handle(key), 1, False)

    def read_secret(self, residues: Words, tag: str) -> Key:
        raw = self._forms["secret", False].fill(self._one(residues, 1), tag)
        return _KeyOf(openfhe.DeserializePrivateKeyString(raw, openfhe.BINARY))

    def _one(self, residues: Words, elements: int) -> Words:
        table = self._check(residues, elements, False)
        if len(table) != 1:
            raise WireFormatError(f"a key has {residues.size} residues, which is not one key's")
        return cast(Words, table[0])


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


def _handle(key: Key) -> Any:
    return cast(_KeyOf, key).handle


def _reason(error: Exception) -> str:
    # OpenFHE's messages begin with a source line, which helps nobody.
    return str(error).split("(): ", 1)[-1].strip()


def _raise(doing: str, error: Exception) -> NoReturn:
    raise VeilsumError(f"OpenFHE could not {doing}: {_reason(error)}") from None


def _primes(raw: bytes, degree: int, sizes: tuple[int, int]) -> tuple[list[int], list[int]]:
    """Find the context's primes and roots of unity in its binary form.

    A prime is written right before its root. A pair is accepted when the root has order 2N modulo
    that prime, which random bytes do not have.
    """
    moduli: list[int] = []
    roots: list[int] = []
    for at in range(len(raw) - 15):
        prime = int.from_bytes(raw[at : at + 8], "little")
        root = int.from_bytes(raw[at + 8 : at + 16], "little")
        wanted = sizes[min(len(moduli), 1)]
        if (
            prime % (2 * degree) == 1
            and abs(math.log2(prime) - wanted) < 1
            and 1 < root < prime
            and pow(root, degree, prime) == prime - 1
        ):
            moduli.append(prime)
            roots.append(root)
    if len(moduli) != 2:
        raise VeilsumError("this OpenFHE writes contexts in a way Veilsum does not know")
    return moduli, roots
