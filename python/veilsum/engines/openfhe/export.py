"""Ciphertexts and keys in OpenFHE's own binary format, to go on computing with OpenFHE.

Layer: OpenFHE engine, over opening. The way out only: nothing here reads that format.
"""

from __future__ import annotations

from collections.abc import Iterator

from veilsum import _core
from veilsum.engines.openfhe.keys import plan_of, public_words
from veilsum.engines.openfhe.opening import words_of
from veilsum.engines.openfhe.plan import read_plan

__all__ = ["export_blocks", "export_public_key"]


def export_blocks(total: _core.Aggregate) -> Iterator[bytes]:
    """Return each block in OpenFHE's binary format, context and all.

    Parameters
    ----------
    total : Aggregate
        Of a round of this engine. A slot holds the sum of weight * value / limit.

    Returns
    -------
    iterator of bytes
        One object a block, of a key that is named as `export_public_key` names it.

    Raises
    ------
    RoundError
        When it is another engine's.
    WireFormatError
        When a residue is not below its prime.
    """
    rnd = total.round
    plan = plan_of(rnd.cipher)
    tag, blocks, size = rnd.public.id.hex(), total.blocks, 16 * plan.polynomial
    return (
        plan.context.block_bytes(words_of(blocks[at : at + size]), tag)
        for at in range(0, blocks.nbytes, size)
    )


def export_public_key(public: _core.PublicKey) -> bytes:
    """Return a public key in OpenFHE's binary format, context and all.

    Parameters
    ----------
    public : PublicKey
        Of this engine.

    Raises
    ------
    WireFormatError
        When it is malformed.
    """
    plan = read_plan(public.body[:16])
    return plan.context.public_bytes(public_words(plan, public), public.id.hex())
