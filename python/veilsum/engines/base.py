"""What an engine is: a cipher. Rounds, rosters, manifests, signatures and ledgers are not its own.

Layer: engines, bottom. A plan names its engine; whoever needs the cipher of a plan, a round or an
upload asks the plan. The rules stand once, in the core, for every engine: what they must know of a
cipher is its `facts`. This module must not know any engine; `veilsum.engines.registry` lists them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

from veilsum import _core

__all__ = ["Cipher", "CipherPlan", "EncryptOptions", "Opener", "PlanRequest", "Progress"]

Progress: TypeAlias = Callable[[int, int], None]

#: Makes the engine's part of a sum key. The native one is asked for each sealed key with
#: (secret key, context, sealed bytes) and gives the seed, or None when it does not open; others are
#: asked once, with (secret key, the aggregate's blocks), after the rules have been checked.
Opener: TypeAlias = Callable[..., bytes | None]


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a user asks of a plan; types are checked, ranges are the engine's to check."""

    clients: int
    value_bits: int = 16
    weight_bits: int = 0
    security: int = 128
    optimise: str = "speed"
    profile: str = "auto"
    parties: int = 1


@dataclass(frozen=True, slots=True)
class EncryptOptions:
    """How a client encrypts; checked by `veilsum.encrypt`, whose words these are."""

    weight: float
    rounding: str
    on_clip: str
    threads: int  #: 0: all cores
    progress: Progress | None
    client: int | None = None  #: the client's number in the roster
    tag_key: bytes | None = None  #: the group's, secret, where the round has tags


class CipherPlan(Protocol):
    """The parameters of a plan as its engine checked them. Immutable."""

    @property
    def facts(self) -> _core.Cipher:
        """What the rules know of it: clients, weights, sizes, and how blocks are added."""
        ...

    @property
    def clients(self) -> int:
        """The most uploads of a sum."""
        ...

    @property
    def value_bits(self) -> int:
        """Bits of a value."""
        ...

    @property
    def weight_bits(self) -> int:
        """Bits of the aggregator's integer weights; 0: it applies none."""
        ...

    @property
    def security(self) -> int:
        """Classical bits of security."""
        ...

    @property
    def optimise(self) -> str:
        """What was asked for: "speed" or "size"."""
        ...

    @property
    def profile(self) -> str:
        """Name of the ring."""
        ...

    @property
    def parties(self) -> int:
        """How many hold a share of the secret key; all of them are needed."""
        ...

    @property
    def ring_degree(self) -> int:
        """N."""
        ...

    @property
    def limbs(self) -> int:
        """Primes of the modulus."""
        ...

    @property
    def log2_modulus(self) -> int:
        """Bits of the modulus."""
        ...

    @property
    def digits(self) -> int:
        """Values in a coefficient or a slot."""
        ...

    @property
    def base(self) -> int:
        """Base of the digits; 0 where values are not digits."""
        ...

    @property
    def field_bits(self) -> int:
        """Bits of a coefficient that travel; 0 where residues travel whole."""
        ...

    @property
    def delta(self) -> int:
        """What a value's integer is multiplied by, so that noise stays below it."""
        ...

    @property
    def max_weight(self) -> int:
        """Largest sum of the aggregator's integer weights."""
        ...

    @property
    def noise_bound(self) -> float:
        """Bound of a sum's noise, in the unit that `explain` names."""
        ...

    @property
    def error_bound(self) -> float:
        """Bound of what the cipher adds to a decrypted sum, in units of the limit; 0: exact."""
        ...

    @property
    def bits_per_value(self) -> float:
        """Ciphertext bits that a value costs in a full block."""
        ...

    @property
    def failure_probability(self) -> float:
        """Probability that a value of a sum is off by more than `error_bound`."""
        ...

    def explain(self) -> str:
        """Say in words what the plan holds, what it costs and why it is safe."""
        ...


class Cipher(Protocol):
    """An engine: how keys are made, blocks encrypted and decrypted. Adding them is in the facts.

    Everything else about a sum is the same for all engines and not here: who may take part, what is
    signed, which uploads a sum holds, how often a round is opened, what objects look like as bytes.
    """

    @property
    def name(self) -> str:
        """What users call it: "native"."""
        ...

    @property
    def number(self) -> int:
        """What it is on the wire: the first byte of a plan's fields."""
        ...

    def plan(self, request: PlanRequest) -> CipherPlan:
        """Check a request and choose parameters.

        Parameters
        ----------
        request : PlanRequest
            What the user asks for.

        Raises
        ------
        ParameterError
            When it is out of range.
        HeadroomError
            When no parameters of this engine hold such sums.
        BackendUnavailableError
            When the engine is not available here.
        """
        ...

    def read_plan(self, fields: bytes) -> CipherPlan:
        """Read a plan's 16 bytes; only those that this version would have written.

        Parameters
        ----------
        fields : bytes
            Untrusted.

        Raises
        ------
        WireFormatError
            When they are malformed.
        BackendUnavailableError
            When the engine is not available here.
        """
        ...

    def keygen(self, plan: CipherPlan) -> tuple[_core.SecretKey, _core.PublicKey]:
        """Make a key pair for one key holder, from the operating system's entropy.

        Parameters
        ----------
        plan : CipherPlan
            Of this engine.
        """
        ...

    def check_public_key(self, plan: CipherPlan, public: _core.PublicKey) -> None:
        """Refuse a key that was not made for this plan, or that parties still have to join.

        Parameters
        ----------
        plan : CipherPlan
            Of the round.
        public : PublicKey
            Of this engine; its content is untrusted.

        Raises
        ------
        KeyMismatchError
            When it is another plan's, or not every party's.
        WireFormatError
            When its body is malformed.
        """
        ...

    def encrypt(
        self,
        rnd: _core.Round,
        plan: CipherPlan,
        pieces: list[npt.NDArray[Any]],
        dtypes: list[str],
        options: EncryptOptions,
        pads: _core.PadStore | None,
    ) -> _core.Upload:
        """Encrypt one contiguous vector for each segment of the round; the upload is not signed.

        Parameters
        ----------
        rnd : Round
            The round.
        plan : CipherPlan
            Its plan.
        pieces : list of ndarray
            One contiguous vector for each segment; bfloat16 as uint16 bits. Values may be anything.
        dtypes : list of str
            Of the pieces.
        options : EncryptOptions
            Checked.
        pads : PadStore or None
            Of this round, for engines that have pads.

        Raises
        ------
        ParameterError
            When a value is not finite, or clipped though `on_clip` is "error".
        """
        ...

    def opener(self, rnd: _core.Round, plan: CipherPlan) -> Opener:
        """Return what makes the cipher's part of a sum key of this round.

        Parameters
        ----------
        rnd : Round
            The round.
        plan : CipherPlan
            Its plan.
        """
        ...

    def decrypt(
        self,
        key: _core.SumKey,
        total: _core.Aggregate,
        plan: CipherPlan,
        *,
        average: bool,
        dtype: str,
        threads: int,
        progress: Progress | None,
        out: npt.NDArray[Any] | None,
        tag_key: bytes | None,
    ) -> npt.NDArray[Any]:
        """Decrypt a sum to a flat vector, which is `out` when that is given.

        Parameters
        ----------
        key : SumKey
            Opened for this sum: the core has compared the manifests.
        total : Aggregate
            The encrypted sum.
        plan : CipherPlan
            Of its round.
        average : bool
            Divide by the total weight.
        dtype : {"float32", "float64"}
            Of the result.
        threads : int
            0 for all cores.
        progress : callable or None
            Called with (values done, values in all) on this thread; an exception in it cancels.
        out : ndarray or None
            A flat vector of `dtype`.
        tag_key : bytes or None
            The group's, secret, where the round has tags, which the core allows its own engine
            alone.

        Raises
        ------
        KeyMismatchError
            When the key was made for other blocks.
        TamperedSumError
            When the blocks are not a sum of what clients encrypted; no value is given out.
        """
        ...
