"""Altering sums as whoever passes them on can, and the sum keys that travel with them."""

from __future__ import annotations

import veilsum as vs
from oracle import wire
from oracle.crc import crc32c


def altered(aggregate: bytes, rnd: vs.Round, steps: int = 1) -> bytes:
    """Add to the first coefficient's first digit, as whoever holds the sum can; no key is needed.

    Parameters
    ----------
    aggregate : bytes
        An encrypted sum.
    rnd : Round
        Its round.
    steps : int
        How much of the quantised value to add.
    """
    start = _blocks_start(aggregate)
    bits = rnd.plan.field_bits
    window = 8 * ((bits + 7) // 8)
    field = int.from_bytes(aggregate[start : start + window // 8], "little")
    low = (field + steps * rnd.plan.delta) % (1 << bits)
    field = (field >> bits << bits) | low
    changed = bytearray(aggregate)
    changed[start : start + window // 8] = field.to_bytes(window // 8, "little")
    changed[-4:] = crc32c(bytes(changed[:-4])).to_bytes(4, "little")
    return bytes(changed)


def renamed(sum_key: bytes, aggregate: bytes) -> bytes:
    """Let the key of a request without tags name other blocks, as whoever passes it on can.

    Such a key names its blocks by their digest. Only a checksum guards that from its bearer.
    """
    assert sum_key[16 + 76] == 1
    named = wire.blocks_digest(aggregate[_blocks_start(aggregate) : -4])
    changed = sum_key[: 16 + 77] + named + sum_key[16 + 77 + 32 : -4]
    return changed + crc32c(changed).to_bytes(4, "little")


def _blocks_start(aggregate: bytes) -> int:
    end = len(aggregate) - 4
    # The last place that says how many bytes follow: a random byte before a 1 may say so earlier.
    return max(
        at + 8
        for at in range(16, end - 7)
        if int.from_bytes(aggregate[at : at + 8], "little") == end - at - 8
    )
