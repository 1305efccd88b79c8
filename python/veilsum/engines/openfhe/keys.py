"""Keys of the OpenFHE engine: one holder's, or one party's of several who open together.

Layer: OpenFHE engine, over plan. A key is the core's, and its body is here: residues, after the
plan and the primes that they were made for. A party makes its key on top of the public key of those
before it; the last public key is the joint one, and every party has to open. OpenFHE keeps copies
of the secret while it works and does not wipe them: SECURITY.md says so.
"""

from __future__ import annotations

import struct
from typing import Protocol

import numpy as np

from veilsum import _core
from veilsum.engines.openfhe.backend import Words, drawn
from veilsum.engines.openfhe.plan import NUMBER, CkksPlan, read_plan
from veilsum.errors import KeyMismatchError, ParameterError, RoundError, WireFormatError

__all__ = [
    "HasFacts",
    "check_public_key",
    "check_secret_key",
    "keygen",
    "party_keygen",
    "plan_of",
    "public_words",
    "secret_words",
]

_FIELDS_BYTES = 16
_NO_KEY: Words = np.empty(0, dtype=np.uint64)


class HasFacts(Protocol):
    """A plan: `veilsum.Plan`, or this engine's own."""

    @property
    def facts(self) -> _core.Cipher:
        """What the rules know of it."""
        ...


def plan_of(facts: _core.Cipher) -> CkksPlan:
    """Return the plan that a plan's `facts` or a round's `cipher` belong to.

    Raises
    ------
    RoundError
        When it is another engine's.
    """
    if facts.engine != NUMBER:
        raise RoundError("this is of another engine; OpenFHE's calls take its own plans and rounds")
    return read_plan(bytes(facts.fields))


def keygen(plan: CkksPlan) -> tuple[_core.SecretKey, _core.PublicKey]:
    """Make a single key holder's key pair.

    Raises
    ------
    ParameterError
        When the plan is for several parties.
    """
    if plan.parties != 1:
        raise ParameterError(
            f"the plan is for {plan.parties} parties, who make their keys in turn: "
            f"veilsum.engines.openfhe.party_keygen(plan), then party_keygen(plan, previous)"
        )
    return party_keygen(plan)


def party_keygen(
    plan: HasFacts, previous: _core.PublicKey | None = None
) -> tuple[_core.SecretKey, _core.PublicKey]:
    """Make one party's key on top of the public key of the parties before it.

    Every party must follow this protocol: OpenFHE offers no proof that it did, and a last party
    that lies can make a "joint" key that is its own.

    Parameters
    ----------
    plan : Plan
        With `parties` set.
    previous : PublicKey, optional
        The public key of the party before; none for the first.

    Returns
    -------
    (SecretKey, PublicKey)
        The party's secret, and the public key so far: the last party's is the round's.

    Raises
    ------
    KeyMismatchError
        When `previous` was made for another plan.
    ParameterError
        When all parties have had their turn.
    """
    own = plan_of(plan.facts)
    earlier, parts = _NO_KEY, []
    if previous is not None:
        earlier, parts = public_words(own, previous), [*previous.parts, previous.id]
    if len(parts) >= own.parties:
        raise ParameterError(
            f"the key is complete: all {own.parties} parties of the plan are in it"
        )
    secret, public = drawn(own.context.keygen, earlier)
    key = _core.PublicKey(NUMBER, _head(own) + public.astype("<u8").tobytes(), parts)
    made = _core.SecretKey(secret.astype("<u8", copy=False).data.cast("B"), key)
    secret.fill(0)
    return made, key


def check_public_key(plan: CkksPlan, public: _core.PublicKey) -> None:
    """Refuse a key that was not made for this plan, or that parties still have to join.

    Raises
    ------
    KeyMismatchError
        When it does not fit the plan.
    WireFormatError
        When it is malformed.
    """
    words = public_words(plan, public)
    rows = words.reshape(2 * plan.limbs, -1)
    primes = np.array([*plan.context.moduli, *plan.context.moduli], dtype=np.uint64)
    if (rows >= primes[:, None]).any():
        raise WireFormatError("the public key is malformed: a residue is not below its prime")
    joined = len(public.parts) + 1
    if joined != plan.parties:
        raise KeyMismatchError(
            f"the public key is of {joined} parties, the plan of {plan.parties}: a round takes the "
            f"last party's"
        )


def check_secret_key(plan: CkksPlan, secret: _core.SecretKey) -> None:
    """Refuse a party's key of another plan, though the round's key names it as a part.

    Its residues would be taken for those of another ring or prime, or be hidden by the noise that
    this plan asks for, which may be far too little for that one.

    Raises
    ------
    KeyMismatchError
        When it was made for another plan.
    WireFormatError
        When its public half is malformed.
    """
    try:
        public_words(plan, secret.public_key)
    except KeyMismatchError:
        raise KeyMismatchError(
            "the secret key was made for another plan than the round's; whoever made the round's "
            "key named it as a part all the same: make the key anew, with all parties"
        ) from None


def public_words(plan: CkksPlan, public: _core.PublicKey) -> Words:
    """Return the residues of a key of this plan, not yet checked against their primes.

    Raises
    ------
    KeyMismatchError
        When it does not fit the plan.
    WireFormatError
        When it is malformed.
    """
    body, head = public.body, _head(plan)
    if public.engine != NUMBER or body[:_FIELDS_BYTES] != head[:_FIELDS_BYTES]:
        raise KeyMismatchError("the public key was made for another plan")
    if body[: len(head)] != head:
        raise WireFormatError(
            "the public key is malformed: its primes are not those that OpenFHE takes for its plan"
        )
    if len(body) != len(head) + 16 * plan.polynomial:
        raise WireFormatError(f"the public key is malformed: it has {len(body)} bytes")
    return np.frombuffer(body, dtype="<u8", offset=len(head)).astype(np.uint64)


def secret_words(plan: CkksPlan, body: bytes) -> Words:
    """Return a secret key's residues: a copy, which the caller wipes.

    Raises
    ------
    WireFormatError
        When it has another length than the plan's.
    """
    if len(body) != 8 * plan.polynomial:
        raise WireFormatError("the secret key is malformed: it has another plan's length")
    return np.frombuffer(body, dtype="<u8").astype(np.uint64)


def _head(plan: CkksPlan) -> bytes:
    """Return what leads a public key's body: the plan, and what OpenFHE chose for it."""
    numbers = [*plan.context.moduli, *plan.context.roots]
    return bytes(plan.facts.fields) + struct.pack(f"<{len(numbers)}Q", *numbers)
