"""The OpenFHE engine's plan: ring, scale and flooding noise for a number of clients, explained.

Layer: OpenFHE engine, over backend and wire. Here are the bounds: how much noise a sum carries, how
much is added when it is opened, and what that leaves of a value. OpenFHE itself checks that ring
and modulus reach the security level.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias, TypeVar

from veilsum import files
from veilsum.arguments import shown
from veilsum.engines.base import EngineObject, Steps
from veilsum.engines.openfhe.backend import Context, ContextRequest, context_for, describe
from veilsum.engines.openfhe.wire import Buffer, Kind, Reader, digest, open_envelope, seal
from veilsum.errors import HeadroomError, ParameterError, WireFormatError

__all__ = ["HALVING", "Plan", "PlanObject"]

PathLike: TypeAlias = str | os.PathLike[str]

#: Values travel as value / limit * HALVING, so that the product with a weight of up to 1, at scale
#: 2^118, stays below half of the modulus of 119 bits.
HALVING = 0.5

_ENGINE_NUMBER = 2
_FIELDS = struct.Struct("<BBBBIHBBHH")
_DEVIATION = 3.19  # OpenFHE's error distribution
_STATISTICAL_BITS = 40
_OPENFHE_BITS = 30  # OpenFHE's own, fixed for CKKS: the rest is put into the noise estimate
#: A Gaussian exceeds this many deviations with probability 2^-49.
_TAIL = 8.0
_MAX_CLIENTS = 1 << 20
_MAX_PARTIES = 64
_RINGS = (4096, 8192, 16384, 32768, 65536)
#: First prime and scale in bits without parametrised flooding: what fits N = 4096 at 128 bits.
_SMALL = (60, 48)
_FLOODING = (60, 59)
_MAX_VALUES = 1 << 40


class PlanObject(EngineObject):
    """Base of this engine's objects."""

    __slots__ = ()

    engine: ClassVar[str] = "openfhe"

    @property
    def steps(self) -> Steps:
        """The module with this engine's steps."""
        from veilsum.engines import openfhe

        return openfhe


Made = TypeVar("Made", bound="PublicObject")


class PublicObject(PlanObject):
    """What is public and belongs to no round: kept in files as the bytes that travel."""

    __slots__ = ()

    _KIND: ClassVar[Kind]

    def pieces(self) -> list[Buffer]:
        """Return the content in pieces, to be put in an envelope."""
        raise NotImplementedError

    @classmethod
    def read(cls: type[Made], reader: Reader) -> Made:
        """Read the content.

        Parameters
        ----------
        reader : Reader
            Untrusted.
        """
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """Return the object as bytes."""
        return b"".join(seal(self._KIND, self.pieces()))

    @classmethod
    def from_bytes(cls: type[Made], data: Buffer) -> Made:
        """Read an object from untrusted bytes.

        Parameters
        ----------
        data : bytes-like
            What `to_bytes` wrote.

        Raises
        ------
        WireFormatError
            When they are malformed.
        """
        reader = open_envelope(data, cls._KIND)
        made = cls.read(reader)
        reader.finish()
        return made

    def save(self, path: PathLike) -> None:
        """Write the object to a file.

        Parameters
        ----------
        path : str or path
            Its name; an existing file is replaced.
        """
        with files.atomic_file(path) as file:
            file.write(self.to_bytes())

    @classmethod
    def load(cls: type[Made], path: PathLike) -> Made:
        """Read an object from a file.

        Parameters
        ----------
        path : str or path
            What `save` wrote.
        """
        return cls.from_bytes(Path(path).read_bytes())


@dataclass(frozen=True)
class _Choice:
    """A ring, and the precision it gives."""

    ring_degree: int
    flooding: bool
    quarters: int  # the noise estimate handed to OpenFHE, in quarter bits
    noise_bits: float
    deviation: float
    error_bound: float


class Plan(PublicObject):
    """Immutable, checked parameters of a CKKS sum.

    Parameters
    ----------
    clients : int
        The most uploads that a sum may have, up to 2^20.
    value_bits : int
        Precision that a mean must keep: an error of at most half a step of
        limit / (2^(value_bits - 1) - 1). From 2 to 32.
    weight_bits : int
        Accepted so that calls fit every engine. Real weights always have room here, at the
        precision that `weighted_error` gives.
    security : {128, 192, 256}
        Classical bits, by OpenFHE's own check against the Homomorphic Encryption Standard.
    optimise : {"speed", "size"}
        Accepted so that calls fit every engine; recorded.
    profile : str
        "auto", or a ring degree: "n4096", "n8192", "n16384", "n32768", "n65536". "n4096" leaves no
        room for the flooding noise that "auto" takes; see `statistical_bits`.
    parties : int
        How many share the authority's key. All of them are needed to open a sum.
    engine : str
        "openfhe".

    Raises
    ------
    ParameterError
        When an argument is out of range, or OpenFHE refuses the ring at this security.
    HeadroomError
        When the scale cannot hold sums at this precision; the message says what would.
    BackendUnavailableError
        When OpenFHE is not available.
    """

    __slots__ = ("_choice", "_context", "_fields")

    _KIND = Kind.PLAN

    def __init__(
        self,
        clients: int,
        value_bits: int = 16,
        *,
        weight_bits: int = 0,
        security: int = 128,
        optimise: str = "speed",
        profile: str = "auto",
        parties: int = 1,
        engine: str = "openfhe",
    ) -> None:
        if engine != "openfhe":
            raise ParameterError(f"engine {shown(engine)} is not this one; use veilsum.Plan")
        _check_range("clients", clients, 2, _MAX_CLIENTS)
        _check_range("value_bits", value_bits, 2, 32)
        _check_range("weight_bits", weight_bits, 0, 20)
        _check_range("parties", parties, 1, _MAX_PARTIES)
        if security not in (128, 192, 256):
            raise ParameterError(f"security = {shown(security)} is unknown; use 128, 192 or 256")
        if optimise not in ("speed", "size"):
            raise ParameterError(f"optimise = {shown(optimise)} is unknown; use 'speed' or 'size'")
        degree, flooding = _ring(profile, security)
        choice = _choose(degree, flooding, clients, parties)
        step = 1 / (2 ** (value_bits - 1) - 1)
        if choice.error_bound / clients > step / 2:
            most = _bits(choice.error_bound / clients)
            raise HeadroomError(
                f"CKKS at N = {degree} opens means of {clients} uploads to {most} bits, fewer than "
                f"value_bits = {value_bits}; use value_bits = {most}, or the native engine"
            )
        self._context = context_for(_request(choice, security))
        self._choice = choice
        self._fields = (clients, value_bits, weight_bits, security, optimise, profile, parties)

    # --- what was asked ---------------------------------------------------------------------------

    @property
    def clients(self) -> int:
        """The most uploads of a sum."""
        return self._fields[0]

    @property
    def value_bits(self) -> int:
        """Precision that a mean keeps at least."""
        return self._fields[1]

    @property
    def weight_bits(self) -> int:
        """A record of the request."""
        return self._fields[2]

    @property
    def security(self) -> int:
        """Classical bits of security."""
        return self._fields[3]

    @property
    def optimise(self) -> str:
        """A record of the request."""
        return self._fields[4]

    @property
    def profile(self) -> str:
        """The ring: "n8192" and so on."""
        return f"n{self.ring_degree}"

    @property
    def parties(self) -> int:
        """How many hold a share of the authority's key."""
        return self._fields[6]

    # --- what was chosen --------------------------------------------------------------------------

    @property
    def context(self) -> Context:
        """The CKKS context."""
        return self._context

    @property
    def ring_degree(self) -> int:
        """N."""
        return self._choice.ring_degree

    @property
    def slots(self) -> int:
        """Values a block: N / 2."""
        return self.ring_degree // 2

    @property
    def limbs(self) -> int:
        """Primes of a fresh ciphertext: depth 1 needs two."""
        return len(self._context.moduli)

    @property
    def log2_modulus(self) -> int:
        """Bits of their product."""
        return math.prod(self._context.moduli).bit_length()

    @property
    def digits(self) -> int:
        """Values a slot: one."""
        return 1

    @property
    def base(self) -> int:
        """Base of the digits: none, a slot holds a real number."""
        return 0

    @property
    def field_bits(self) -> int:
        """Bits that a coefficient is rounded to: none, residues travel whole."""
        return 0

    @property
    def delta(self) -> int:
        """The scale: what the limit is multiplied by before it is rounded to an integer."""
        return int(HALVING * 2.0 ** (_FLOODING if self._choice.flooding else _SMALL)[1])

    @property
    def fixed_bytes(self) -> int:
        """Bytes that every upload has besides its values: ciphertexts have no more."""
        return 0

    @property
    def max_weight(self) -> int:
        """The most uploads; weights themselves are real numbers."""
        return self.clients

    @property
    def flooding_deviation(self) -> float:
        """Standard deviation of the noise on a share's coefficients."""
        return self._context.flooding_deviation

    @property
    def statistical_bits(self) -> int:
        """Statistical bits by which a share's noise hides the noise of the sum it opens.

        After Li, Micciancio, Schultz and Sorrell (2022), as OpenFHE computes them, for one opening.
        """
        ratio = math.log2(self.flooding_deviation) - self._choice.noise_bits
        return max(0, math.floor(2 * (ratio - math.log2(math.sqrt(12)))))

    @property
    def noise_bound(self) -> float:
        """The same as `error_bound`: of real numbers the noise is the error."""
        return self.error_bound

    @property
    def error_bound(self) -> float:
        """Bound of the error of a decrypted sum, in units of the limit.

        A single value exceeds it with a probability below 2^-49. Divide by the number of uploads
        for a mean; `weighted_error` is that of a mean with weights of the aggregator's.
        """
        return self._choice.error_bound

    @property
    def weighted_error(self) -> float:
        """As `error_bound`, for a mean with weights of the aggregator's."""
        return self._choice.error_bound

    @property
    def bytes_per_value(self) -> float:
        """Of an upload."""
        return self.block_bytes / self.slots

    @property
    def bits_per_value(self) -> float:
        """Of an upload."""
        return 8 * self.bytes_per_value

    @property
    def expansion_fp32(self) -> float:
        """Bits a value against 32."""
        return self.bits_per_value / 32

    @property
    def expansion_bf16(self) -> float:
        """Bits a value against 16."""
        return self.bits_per_value / 16

    @property
    def failure_probability(self) -> float:
        """Probability that a value's error exceeds `error_bound`."""
        return math.erfc(_TAIL / math.sqrt(2))

    @property
    def block_bytes(self) -> int:
        """Bytes of a fresh block on the wire."""
        return self.words(2, rescaled=False) * 8

    def words(self, elements: int, *, rescaled: bool) -> int:
        """Return the residues of a block.

        Parameters
        ----------
        elements : int
            2, or 1 for a share.
        rescaled : bool
            Whether one prime is left.
        """
        return elements * (1 if rescaled else self.limbs) * self.ring_degree

    def blocks(self, size: int) -> int:
        """Return how many blocks a vector takes.

        Parameters
        ----------
        size : int
            Values.
        """
        return -(-size // self.slots)

    def upload_bytes(self, size: int) -> int:
        """Return the bytes of a signed upload.

        Parameters
        ----------
        size : int
            Values.

        Raises
        ------
        ParameterError
            When there are none, or more than 2^40.
        """
        _check_range("size", size, 1, _MAX_VALUES)
        return 16 + 32 + 1 + 8 + 4 + 64 + 4 + self.blocks(size) * self.block_bytes + 4

    def check_weighted(self) -> None:
        """Check that server-side weights keep the plan's precision.

        Raises
        ------
        HeadroomError
            When they do not; the message says what would.
        """
        step = 1 / (2 ** (self.value_bits - 1) - 1)
        if self.weighted_error > step / 2:
            raise HeadroomError(
                f"weights of the aggregator leave {_bits(self.weighted_error)} bits of a mean of "
                f"{self.clients} clients, fewer than value_bits = {self.value_bits}; let the "
                f"clients apply their weights (encrypt(..., weight=...)), or plan with value_bits "
                f"= {_bits(self.weighted_error)}"
            )

    def explain(self) -> str:
        """Say in words what the plan does."""
        mean = _bits(self.error_bound / self.clients)
        flooding = (
            f"{self.statistical_bits} statistical bits an opening"
            if self._choice.flooding
            else f"{self.statistical_bits} statistical bits an opening, OpenFHE's constant: fewer "
            f"than the {_STATISTICAL_BITS} of profile 'auto'"
        )
        return "\n".join(
            [
                f"engine     openfhe: CKKS, {describe()}",
                f"ring       N = {self.ring_degree}, {self.limbs} primes, {self.log2_modulus} "
                f"bits, {self.security}-bit security by OpenFHE's check",
                f"slots      {self.slots} values a block, {self.bytes_per_value:g} bytes a value "
                f"({self.expansion_fp32:g} x fp32)",
                f"clients    up to {self.clients}; the key is held by {self.parties}",
                f"precision  a mean of {self.clients}: {mean} bits; with weights of the "
                f"aggregator: {_bits(self.weighted_error)} bits",
                f"flooding   deviation 2^{math.log2(self.flooding_deviation):.1f} on a share: "
                f"{flooding}",
            ]
        )

    # --- bytes ------------------------------------------------------------------------------------

    def payload(self) -> bytes:
        """Return the 16 bytes of the plan's fields."""
        clients, value_bits, weight_bits, security, optimise, _, parties = self._fields
        return _FIELDS.pack(
            _ENGINE_NUMBER,
            value_bits,
            weight_bits,
            parties,
            clients,
            security,
            int(optimise == "size"),
            int(self._choice.flooding),
            self.ring_degree // 1024,
            self._choice.quarters,
        )

    @classmethod
    def from_payload(cls, data: Buffer) -> Plan:
        """Read a plan's fields; only those that this version would have made.

        Parameters
        ----------
        data : bytes-like
            What `payload` returned.

        Raises
        ------
        WireFormatError
            When they are malformed.
        BackendUnavailableError
            When OpenFHE is not available.
        """
        number, value_bits, weight_bits, parties, clients, security, size, _, kilo, _ = (
            _FIELDS.unpack(bytes(data))
        )
        if number != _ENGINE_NUMBER or size > 1:
            raise WireFormatError("the plan is malformed: it is not of engine 'openfhe'")
        try:
            made = cls(
                clients,
                value_bits,
                weight_bits=weight_bits,
                security=security,
                optimise="size" if size else "speed",
                profile=f"n{kilo * 1024}",
                parties=parties,
            )
        except (ParameterError, HeadroomError) as error:
            raise WireFormatError(f"the plan is malformed: {error}") from None
        if made.payload() != bytes(data):
            raise WireFormatError("the plan is malformed: this version would not have made it")
        return made

    @property
    def id(self) -> bytes:
        """32 bytes that name the plan."""
        return digest("veilsum/1/plan", self.payload())

    def pieces(self) -> list[Buffer]:
        """Return the fields, in one piece."""
        return [self.payload()]

    @classmethod
    def read(cls, reader: Reader) -> Plan:
        """Read the fields.

        Parameters
        ----------
        reader : Reader
            Untrusted.

        Raises
        ------
        WireFormatError
            When they are malformed.
        """
        return cls.from_payload(reader.take(_FIELDS.size))

    def __reduce__(self) -> tuple[Callable[[bytes], Plan], tuple[bytes]]:
        return Plan.from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.payload() == other.payload()

    def __hash__(self) -> int:
        return hash(self.payload())

    def __str__(self) -> str:
        return self.explain()

    def __repr__(self) -> str:
        return (
            f"<veilsum.Plan openfhe: {self.clients} clients, {self.value_bits} bits, "
            f"{self.profile}>"
        )


def _check_range(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ParameterError(
            f"{name} = {shown(value)}; it must be a whole number from {low} to {high}"
        )


def _bits(error: float) -> int:
    """Return the most value_bits whose half step is at least this error."""
    return max(0, math.floor(math.log2(0.5 / error + 1)) + 1)


def _ring(profile: str, security: int) -> tuple[int, bool]:
    """Return the ring degree, and whether flooding is parametrised there."""
    rings = {f"n{degree}": degree for degree in _RINGS}
    if profile == "auto":
        # The modulus has 119 bits whatever the noise, so any noise estimate gives OpenFHE's choice.
        request = ContextRequest(0, security, True, 8.0, *_FLOODING)
        return context_for(request).ring_degree, True
    if profile not in rings:
        raise ParameterError(
            f"profile {shown(profile)} is unknown to engine 'openfhe'; use 'auto' or one of "
            f"{', '.join(rings)}"
        )
    degree = rings[profile]
    return degree, degree > _RINGS[0]


def _choose(degree: int, flooding: bool, clients: int, parties: int) -> _Choice:
    """Bound the noise of a sum, choose the flooding, and bound what is left.

    An upload's noise is v * e_pk + e0 + e1 * s, with v and every party's key ternary and uniform
    (variance 2/3) and e_pk, s sums over the parties; a coefficient of a product has N terms. The
    flooding of every party's share is far wider. A slot is the sum of N coefficients times roots
    of unity, and its real part counts: a value's deviation is sqrt(N / 2) times a coefficient's.
    """
    upload = _DEVIATION**2 * (1 + 4 / 3 * degree * parties)
    rounding = (1 + 2 / 3 * degree * parties) / 12  # of rescaling
    noise_bits = math.log2(math.sqrt(clients * upload + rounding))
    quarters = 0
    flood = 2.0**20
    if flooding:
        quarters = math.ceil(4 * (noise_bits + (_STATISTICAL_BITS - _OPENFHE_BITS) / 2))
        flood = math.sqrt(12) * 2 ** (quarters / 4 + _OPENFHE_BITS / 2)
    deviation = math.sqrt(parties * flood**2 + clients * upload + rounding)
    scale = HALVING * 2.0 ** (_FLOODING if flooding else _SMALL)[1]
    # The last term is for the doubles of encoding and decoding.
    bound = _TAIL * math.sqrt(degree / 2) * deviation / scale + clients * 2.0**-44
    return _Choice(degree, flooding, quarters, noise_bits, deviation, bound)


def _request(choice: _Choice, security: int) -> ContextRequest:
    sizes = _FLOODING if choice.flooding else _SMALL
    noise = choice.quarters / 4
    return ContextRequest(choice.ring_degree, security, choice.flooding, noise, *sizes)
