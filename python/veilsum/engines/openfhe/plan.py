"""The OpenFHE engine's plan: ring, primes, scale and flooding noise for what is asked, explained.

Layer: OpenFHE engine, over backend. Here are the bounds: how large a sum may be, how much noise it
carries, how much is added when it is opened, and what that leaves of a value. OpenFHE itself checks
that ring and modulus reach the security level.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from veilsum import _core
from veilsum.arguments import shown
from veilsum.engines.base import PlanRequest
from veilsum.engines.openfhe.backend import Context, ContextRequest, context_for, describe
from veilsum.errors import HeadroomError, ParameterError, WireFormatError

__all__ = ["NAME", "NUMBER", "STATISTICAL_BITS", "CkksPlan", "make_plan", "read_plan"]

NAME = "openfhe"
#: What the engine is on the wire.
NUMBER = 2
#: By how many statistical bits a share's noise hides the noise of the sum that it opens.
STATISTICAL_BITS = 40

#: Engine, value bits, weight bits, parties; clients; security; optimised for size, primes, log2 N,
#: bits of the first prime, bits of the scale, 0.
_FIELDS = struct.Struct("<BBBBIHBBBBBx")
_DEVIATION = 3.19  # OpenFHE's error distribution
#: A Gaussian exceeds this many deviations with probability 2^-49.
_TAIL = 8.0
#: Part of half the modulus that the largest sum may fill; its noise is far below the rest.
_FILLED = 15 / 16
_MAX_CLIENTS = _MAX_WEIGHT = 1 << 20  # the core's
_MAX_PARTIES = 64
_RINGS = {f"n{degree}": degree for degree in (2048, 4096, 8192, 16384, 32768, 65536)}
#: Ring degree and bits of the prime: the smallest rings that OpenFHE takes for a security level.
_ONE_PRIME = {
    128: ((2048, 53), (4096, 60)),
    192: ((4096, 60),),
    256: ((4096, 57), (8192, 60)),
}
#: The same with a second prime, of _TWO_PRIMES_SCALE bits: 119 bits in all.
_TWO_PRIMES = {128: 8192, 192: 8192, 256: 16384}
_TWO_PRIMES_SCALE = 59


@dataclass(frozen=True, slots=True)
class _Setting:
    """A ring and primes, and what they make of a request."""

    ring_degree: int
    primes: int
    first_bits: int
    scale_bits: int
    flooding_deviation: float
    error_bound: float


@dataclass(frozen=True, eq=False)
class CkksPlan:
    """Immutable, checked parameters of CKKS sums; see `veilsum.engines.base.CipherPlan`."""

    # What was asked for. `value_bits` is what a mean of the largest weight keeps at least;
    # `optimise` is a record only, since CKKS has nothing to choose between.
    clients: int
    value_bits: int
    weight_bits: int
    security: int
    optimise: str
    parties: int
    # What was chosen.
    context: Context  #: OpenFHE's
    facts: _core.Cipher
    ring_degree: int  #: N
    limbs: int
    scale_bits: int  #: value / limit is multiplied by 2^scale_bits
    flooding_deviation: float  #: of the noise on a share's coefficients
    #: Of a decrypted sum, in units of the limit; divided by the sum of the weights, of a mean. A
    #: single value exceeds it with `failure_probability`.
    error_bound: float
    # What is the same for all. A slot holds one real number, and residues travel whole. After Li,
    # Micciancio, Schultz and Sorrell (2022), `statistical_bits` are for one opening of one block.
    digits: int = 1
    base: int = 0
    field_bits: int = 0
    failure_probability: float = math.erfc(_TAIL / math.sqrt(2))
    statistical_bits: int = STATISTICAL_BITS

    @property
    def profile(self) -> str:
        """The ring: "n4096" and so on."""
        return f"n{self.ring_degree}"

    @property
    def slots(self) -> int:
        """Values a block: N / 2."""
        return self.ring_degree // 2

    @property
    def polynomial(self) -> int:
        """Words of one polynomial: a block or a public key is two, a share or a secret key one."""
        return self.limbs * self.ring_degree

    @property
    def log2_modulus(self) -> int:
        """Bits of the modulus."""
        return math.prod(self.context.moduli).bit_length()

    @property
    def delta(self) -> int:
        """The scale: what value / limit is multiplied by before it is rounded to an integer."""
        return 1 << self.scale_bits

    @property
    def max_weight(self) -> int:
        """Largest sum of the aggregator's integer weights."""
        return self.clients << self.weight_bits

    @property
    def noise_bound(self) -> float:
        """The same as `error_bound`: of real numbers the noise is the error."""
        return self.error_bound

    @property
    def bits_per_value(self) -> float:
        """Ciphertext bits that a value costs in a full block: two polynomials of whole words."""
        return 64 * 2 * self.polynomial / self.slots

    def blocks(self, size: int) -> int:
        """Return how many blocks a vector of `size` values takes."""
        return -(-size // self.slots)

    def explain(self) -> str:
        """Say in words what the plan holds, what it costs and why it is safe."""
        primes = "1 prime" if self.limbs == 1 else f"{self.limbs} primes"
        nbytes = self.bits_per_value / 8
        cost = f"{nbytes:g} bytes a value ({nbytes / 4:g} x fp32)"
        if self.limbs > 1:
            cost += ", twice what one prime would cost: its sums would be too coarse"
        weights = (
            f"integers, {self.max_weight} in all" if self.weight_bits else "none, all uploads equal"
        )
        return "\n".join(
            [
                f"engine     openfhe: CKKS, {describe()}",
                f"ring       N = {self.ring_degree}, {primes}, {self.log2_modulus} bits, "
                f"{self.security}-bit security by OpenFHE's check",
                f"slots      {self.slots} values a block, {cost}",
                f"clients    up to {self.clients}; the key is held by {self.parties}",
                f"weights    of the aggregator: {weights}",
                f"precision  a mean of weight {self.max_weight}: "
                f"{_bits(self.error_bound / self.max_weight)} bits",
                f"flooding   deviation 2^{math.log2(self.flooding_deviation):.1f} on a share: "
                f"{self.statistical_bits} statistical bits an opening",
            ]
        )


def make_plan(request: PlanRequest) -> CkksPlan:
    """Check a request and choose the cheapest ring and primes that keep its precision.

    Raises
    ------
    ParameterError
        When it is out of range, or OpenFHE refuses the ring at this security.
    HeadroomError
        When CKKS cannot hold sums at this precision; the message says what it can.
    BackendUnavailableError
        When OpenFHE is not available.
    """
    _check_range("clients", request.clients, 2, _MAX_CLIENTS)
    _check_range("value_bits", request.value_bits, 2, 32)
    _check_range("weight_bits", request.weight_bits, 0, 20)
    _check_range("parties", request.parties, 1, _MAX_PARTIES)
    if request.security not in _ONE_PRIME:
        raise ParameterError(
            f"security = {shown(request.security)} is unknown; use 128, 192 or 256"
        )
    if request.optimise not in ("speed", "size"):
        raise ParameterError(
            f"optimise = {shown(request.optimise)} is unknown; use 'speed' or 'size'"
        )
    settings = [_setting(request, *ring) for ring in _rings(request.profile, request.security)]
    weight = _max_weight(request)
    if weight > _MAX_WEIGHT:
        raise HeadroomError(
            f"clients = {request.clients} and weight_bits = {request.weight_bits} ask for a total "
            f"weight of {weight}; the most is {_MAX_WEIGHT}: use fewer clients or weight_bits"
        )
    half_step = 0.5 / (2 ** (request.value_bits - 1) - 1)
    fitting = [one for one in settings if one.error_bound / weight <= half_step]
    if not fitting:
        most = _bits(min(one.error_bound for one in settings) / weight)
        raise HeadroomError(
            f"CKKS at N = {settings[-1].ring_degree} opens means of weight {weight} to {most} "
            f"bits, fewer than value_bits = {request.value_bits}; use "
            + (f"value_bits = {most}" if most >= 2 else "fewer clients or weight_bits")
            + ", or the native engine"
        )
    return _plan_of(request, fitting[0])


def read_plan(fields: bytes) -> CkksPlan:
    """Read a plan's 16 bytes; only those that this version would have written.

    Raises
    ------
    WireFormatError
        When they are malformed.
    BackendUnavailableError
        When OpenFHE is not available.
    """
    if len(fields) != _FIELDS.size:
        raise WireFormatError(f"a plan has {_FIELDS.size} bytes, not {len(fields)}")
    _, value_bits, weight_bits, parties, clients, security, size, _, log2_degree, _, _ = (
        _FIELDS.unpack(fields)
    )
    request = PlanRequest(
        clients=clients,
        value_bits=value_bits,
        weight_bits=weight_bits,
        security=security,
        optimise="size" if size else "speed",
        profile=f"n{1 << min(log2_degree, 20)}",
        parties=parties,
    )
    try:
        made = make_plan(request)
    except (ParameterError, HeadroomError) as error:
        raise WireFormatError(f"the plan is malformed: {error}") from None
    if bytes(made.facts.fields) != fields:
        raise WireFormatError("the plan is malformed: this version would not have made it")
    return made


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ParameterError(
            f"{name} = {shown(value)}; it must be a whole number from {low} to {high}"
        )


def _max_weight(request: PlanRequest) -> int:
    return request.clients << request.weight_bits


def _bits(error: float) -> int:
    """Return the most value_bits whose half step is at least this error."""
    return max(0, math.floor(math.log2(0.5 / error + 1)) + 1)


def _rings(profile: str, security: int) -> list[tuple[int, int, int]]:
    """Return ring degree, primes and bits of the first prime of what may be tried, cheapest first.

    A ring that is too small for its security is among them when it is asked for by name, for
    OpenFHE to refuse.
    """
    one, two = _ONE_PRIME[security], _TWO_PRIMES[security]
    if profile == "auto":
        return [*((degree, 1, bits) for degree, bits in one), (two, 2, 60)]
    if profile not in _RINGS:
        raise ParameterError(
            f"profile {shown(profile)} is unknown to engine 'openfhe'; use 'auto' or one of "
            f"{', '.join(_RINGS)}"
        )
    degree = _RINGS[profile]
    bits = max((bits for ring, bits in one if ring <= degree), default=60)
    return [(degree, 1, bits), *([(degree, 2, 60)] if degree >= two else [])]


def _setting(request: PlanRequest, degree: int, primes: int, first_bits: int) -> _Setting:
    """Choose the scale, bound a sum's noise, choose the flooding, and bound what is left.

    Scale. A slot holds value / limit, in [-1, 1], times 2^p. A coefficient of the encoding is at
    most the largest slot, so those of a sum of weight W are at most W * 2^p, and p is the largest
    for which that fills at most 15/16 of half the modulus. The noise has the rest: its 8 deviations
    are at most W * 2^p / 2 in a slot, or the plan is refused, and 1/32 of that or less in a
    coefficient (see "Error"). With two primes there is room for whatever OpenFHE's encoder takes,
    p = 59.

    Noise. An upload's is v * e_pk + e0 + e1 * s, with v and every party's key ternary and uniform
    (variance 2/3) and e_pk, s sums over the parties; a coefficient of a product has N terms. That
    is a variance of sigma^2 * (1 + 4/3 * N * parties). Equal weights add variances, K times; of
    integer weights that sum to W one may be nearly W, so their squares sum to at most W^2.

    Flooding. The noise that each party adds to its share has sqrt(12) * 2^(40 / 2) times the sum's
    deviation.

    Error. A slot is the sum of N coefficients times roots of unity, and its real part counts: a
    value's deviation is sqrt(N / 2) times a coefficient's. The bound is 8 deviations over 2^p, and
    2^-44 a client for the doubles of encoding and decoding.
    """
    weight = _max_weight(request)
    scale_bits = _TWO_PRIMES_SCALE
    if primes == 1:
        scale_bits = max(1, math.floor(math.log2(_FILLED * 2 ** (first_bits - 1) / weight)))
    upload = _DEVIATION**2 * (1 + 4 / 3 * degree * request.parties)
    squares = weight**2 if request.weight_bits else request.clients
    own = math.sqrt(squares * upload)
    flood = math.sqrt(12) * 2 ** (STATISTICAL_BITS / 2) * own
    deviation = math.sqrt(request.parties * flood**2 + own**2)
    error = _TAIL * math.sqrt(degree / 2) * deviation / 2.0**scale_bits + weight * 2.0**-44
    return _Setting(degree, primes, first_bits, scale_bits, flood, error)


def _plan_of(request: PlanRequest, setting: _Setting) -> CkksPlan:
    context = context_for(
        ContextRequest(
            setting.ring_degree,
            request.security,
            setting.primes,
            setting.first_bits,
            setting.scale_bits,
        )
    )
    fields = _FIELDS.pack(
        NUMBER,
        request.value_bits,
        request.weight_bits,
        request.parties,
        request.clients,
        request.security,
        int(request.optimise == "size"),
        setting.primes,
        setting.ring_degree.bit_length() - 1,
        setting.first_bits,
        setting.scale_bits,
    )
    facts = _core.ResidueCipher(
        engine=NUMBER,
        fields=fields,
        clients=request.clients,
        weight_bits=request.weight_bits,
        max_weight=_max_weight(request),
        block_values=setting.ring_degree // 2,
        moduli=[*context.moduli, *context.moduli],
        row_words=setting.ring_degree,
    )
    return CkksPlan(
        request.clients,
        request.value_bits,
        request.weight_bits,
        request.security,
        request.optimise,
        request.parties,
        context,
        facts,
        setting.ring_degree,
        setting.primes,
        setting.scale_bits,
        setting.flooding_deviation,
        setting.error_bound,
    )
