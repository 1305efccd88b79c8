"""Plans: the checked parameters of encrypted sums, of whichever engine.

Layer: Python API, bottom, over engines. A plan says what a round may hold; its engine chose ring,
digits and bounds for that. Everything here is public.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, TypeAlias, final

from veilsum import _core
from veilsum.arguments import check_whole, shown
from veilsum.engines.base import Cipher, CipherPlan, PlanRequest
from veilsum.engines.registry import Engine, engine_by_number, engine_named
from veilsum.errors import ParameterError
from veilsum.layout import files
from veilsum.outputs import open_input

__all__ = ["Plan"]

PathLike: TypeAlias = str | os.PathLike[str]

_KIND: Final = 1  # of a plan's envelope: docs/wire-format.md


@final
class Plan:
    """Immutable, checked parameters of encrypted sums.

    A plan is chosen once by whoever organises the sums; everything else refers to it. `print(plan)`
    explains it: ring, size, security, and why decryption cannot fail.

    Parameters
    ----------
    clients : int
        Most uploads in one sum, 2 to 2^20.
    value_bits : int
        Bits of a quantised value, 2 to 32. A value keeps 2^(value_bits - 1) - 1 steps on each side.
    weight_bits : int
        Bits of the aggregator's integer weights: their sum may reach clients * 2^weight_bits. 0,
        the default, allows unit weights only; clients then apply their own
        (``encrypt(..., weight=...)``).
    security : int
        128, 192 or 256: bits of classical security against key recovery. The native engine goes by
        the stricter of the HE Standard (2018) and Bossuat et al., "Security Guidelines for
        Implementing Homomorphic Encryption" (2024).
    optimise : {"speed", "size"}
        The fastest ring that holds the sum, or the one with the smallest uploads.
    profile : str
        A ring by name, such as "n4096", or "auto".
    engine : {"native", "openfhe"}
        Which cipher. "openfhe" needs OpenFHE: docs/engines.md.
    parties : int
        How many key holders share the secret key, all of whom are needed to open a sum; more than
        1 with the engine "openfhe" only.

    Raises
    ------
    ParameterError
        When an argument is out of its range.
    HeadroomError
        When no admissible ring holds the sum; the message names the nearest plan that can be held.
    BackendUnavailableError
        When the engine is not available here.
    """

    __slots__ = ("_engine", "_parameters")

    _engine: Engine
    _parameters: CipherPlan

    def __init__(
        self,
        clients: int,
        value_bits: int = 16,
        *,
        weight_bits: int = 0,
        security: int = 128,
        optimise: str = "speed",
        profile: str = "auto",
        engine: str = "native",
        parties: int = 1,
    ) -> None:
        for name, word in (("optimise", optimise), ("profile", profile), ("engine", engine)):
            if not isinstance(word, str):
                raise ParameterError(f"{name} is {shown(word)}; it must be a text")
        request = PlanRequest(
            clients=check_whole("clients", clients),
            value_bits=check_whole("value_bits", value_bits),
            weight_bits=check_whole("weight_bits", weight_bits),
            security=check_whole("security", security),
            optimise=optimise,
            profile=profile,
            parties=check_whole("parties", parties),
        )
        found = engine_named(engine)
        self._fill(found, found.cipher.plan(request))

    def _fill(self, engine: Engine, parameters: CipherPlan) -> None:
        if hasattr(self, "_parameters"):
            raise ParameterError("this plan is made already, and plans do not change; make another")
        facts = parameters.facts
        if facts.engine != engine.number:
            raise ParameterError(
                f"engine {shown(engine.name)} of number {engine.number} made a plan of engine "
                f"number {facts.engine}, which is another's"
            )
        self._engine = engine
        self._parameters = parameters

    # --- what was asked ---------------------------------------------------------------------------

    @property
    def clients(self) -> int:
        """Most uploads in one sum."""
        return self._parameters.clients

    @property
    def value_bits(self) -> int:
        """Bits of a quantised value."""
        return self._parameters.value_bits

    @property
    def weight_bits(self) -> int:
        """Bits of the aggregator's integer weights; 0: unit weights only."""
        return self._parameters.weight_bits

    @property
    def security(self) -> int:
        """Classical bits of security."""
        return self._parameters.security

    @property
    def optimise(self) -> str:
        """Either "speed" or "size"."""
        return self._parameters.optimise

    @property
    def engine(self) -> str:
        """Name of the engine."""
        return self._engine.name

    @property
    def parties(self) -> int:
        """How many key holders share the secret key."""
        return self._parameters.parties

    # --- what was chosen --------------------------------------------------------------------------

    @property
    def profile(self) -> str:
        """Name of the ring."""
        return self._parameters.profile

    @property
    def ring_degree(self) -> int:
        """The ring's N."""
        return self._parameters.ring_degree

    @property
    def limbs(self) -> int:
        """Number of primes of the modulus."""
        return self._parameters.limbs

    @property
    def log2_modulus(self) -> int:
        """Bits of their product."""
        return self._parameters.log2_modulus

    @property
    def digits(self) -> int:
        """How many values a coefficient carries; with CKKS a slot carries 1."""
        return self._parameters.digits

    @property
    def base(self) -> int:
        """Base of the digits; 0 where values are not digits."""
        return self._parameters.base

    @property
    def field_bits(self) -> int:
        """Bits of a coefficient that travel; 0 where residues travel whole."""
        return self._parameters.field_bits

    @property
    def max_weight(self) -> int:
        """Largest sum of integer weights."""
        return self._parameters.max_weight

    @property
    def noise_bound(self) -> float:
        """Bound of what a sum's coefficient is off by: errors and rounding of all uploads."""
        return self._parameters.noise_bound

    @property
    def error_bound(self) -> float:
        """Bound of what the cipher adds to a value of a sum, in units of the limit; native: 0."""
        return self._parameters.error_bound

    @property
    def delta(self) -> int:
        """Scale of the message in a coefficient; with CKKS, of the limit in a slot."""
        return self._parameters.delta

    @property
    def bits_per_value(self) -> float:
        """Ciphertext bits a value costs in a full block."""
        return self._parameters.bits_per_value

    @property
    def bytes_per_value(self) -> float:
        """The same in bytes."""
        return self.bits_per_value / 8

    @property
    def expansion_fp32(self) -> float:
        """Size of an upload against float32 values."""
        return self.bits_per_value / 32

    @property
    def expansion_bf16(self) -> float:
        """Size of an upload against bfloat16 values."""
        return self.bits_per_value / 16

    @property
    def failure_probability(self) -> float:
        """Of decryption: native 0, because its noise bound is hard."""
        return self._parameters.failure_probability

    @property
    def fixed_bytes(self) -> int:
        """Bytes of an unsigned upload besides its values, while its vector is short.

        With the native engine: sealed key, names, one check block. Long vectors have a check block
        for each of their upload keys.
        """
        return self.facts.fixed_bytes

    @property
    def id(self) -> bytes:
        """32 bytes that name the plan."""
        return self.facts.id

    def upload_bytes(self, size: int) -> int:
        """Return the bytes of an unsigned upload; a signature adds 100.

        Parameters
        ----------
        size : int
            Values of the vector, 1 to 2^40.

        Returns
        -------
        int
            Bytes as it travels.

        Raises
        ------
        ParameterError
            When `size` is out of range.
        """
        return self.facts.upload_bytes(check_whole("size", size))

    def explain(self) -> str:
        """Say in words what the plan holds, what it costs and why it is safe.

        Returns
        -------
        str
            Several lines.
        """
        return self._parameters.explain()

    # --- for the package --------------------------------------------------------------------------

    @property
    def cipher(self) -> Cipher:
        """The engine's cipher."""
        return self._engine.cipher

    @property
    def parameters(self) -> CipherPlan:
        """The parameters in the engine's own class, which may say more about them."""
        return self._parameters

    @property
    def facts(self) -> _core.Cipher:
        """What the rules know of the plan."""
        return self._parameters.facts

    # --- bytes ------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return the plan as bytes.

        Returns
        -------
        bytes
            36 of them.
        """
        fields = self.facts.fields
        header, trailer = _core._frame_around(_KIND, [fields])
        return header + fields + trailer

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Plan:
        """Read a plan from untrusted bytes.

        Parameters
        ----------
        data : bytes-like
            What `to_bytes` wrote.

        Returns
        -------
        Plan
            An equal one.

        Raises
        ------
        WireFormatError
            When the bytes are malformed, or not what this version would have made.
        """
        return cls.of_fields(bytes(_core._open_envelope(data, _KIND)))

    @classmethod
    def of_fields(cls, fields: bytes) -> Plan:
        """Read the 16 bytes that stand for a plan inside other objects.

        Parameters
        ----------
        fields : bytes
            Untrusted.

        Returns
        -------
        Plan
            Of the engine that the first byte names.

        Raises
        ------
        WireFormatError
            When they are malformed.
        """
        engine = engine_by_number(fields[0] if fields else 0)
        made = cls.__new__(cls)
        made._fill(engine, engine.cipher.read_plan(fields))
        return made

    @classmethod
    def of_facts(cls, facts: _core.Cipher) -> Plan:
        """Find the plan that facts belong to.

        Parameters
        ----------
        facts : _core.Cipher
            Of any engine.

        Returns
        -------
        Plan
            With the same fields.
        """
        return cls.of_fields(facts.fields)

    def save(self, path: PathLike) -> None:
        """Write the plan to a file.

        Parameters
        ----------
        path : str or path
            Its name; an existing file is replaced.
        """
        with files.atomic_file(path) as file:
            file.write(self.to_bytes())

    @classmethod
    def load(cls, path: PathLike) -> Plan:
        """Read a plan from a file.

        Parameters
        ----------
        path : str or path
            What `save` wrote.

        Returns
        -------
        Plan
            An equal one.

        Raises
        ------
        WireFormatError
            When the content is malformed.
        OSError
            When the file cannot be read.
        """
        with files.named_errors(path), open_input(path) as file:
            return cls.from_bytes(file.read())

    def __reduce__(self) -> tuple[Callable[[bytes], Plan], tuple[bytes]]:
        return Plan.from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.explain()

    def __repr__(self) -> str:
        engine = "" if self.engine == "native" else f", engine={self.engine!r}"
        weights = f", weight_bits={self.weight_bits}" if self.weight_bits else ""
        return (
            f"Plan(clients={self.clients}, value_bits={self.value_bits}{weights}, "
            f"security={self.security}, profile={self.profile!r}, digits={self.digits}, "
            f"field_bits={self.field_bits}{engine})"
        )
