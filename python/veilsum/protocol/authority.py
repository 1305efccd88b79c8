"""Who opens a training's sums, as bytes: one key holder's public key, or a committee.

Protocol. The bytes are what all participants agree on; what a key holder or a member does is the
parties' business.
"""

from __future__ import annotations

import json

from veilsum._core import PublicKey
from veilsum.errors import ParameterError, WireFormatError
from veilsum.keys.committee import Committee
from veilsum.keys.identity import PublicIdentity


def write_committee(committee: Committee) -> bytes:
    """Write who opens the sums of a training, where that is a committee.

    Parameters
    ----------
    committee : Committee
        Its members.
    """
    members = [member.to_bytes().hex() for member in committee.members]
    return json.dumps({"threshold": committee.threshold, "members": members}).encode()


def read_authority(data: bytes) -> PublicKey | Committee:
    """Read who opens the sums of a training.

    Parameters
    ----------
    data : bytes
        A public key, or what `write_committee` wrote.

    Raises
    ------
    veilsum.WireFormatError
        When it is neither.
    """
    if not data.startswith(b"{"):
        return PublicKey.from_bytes(data)
    try:
        found = json.loads(data)
        members = [bytes.fromhex(member) for member in found["members"]]
        threshold = found["threshold"]
    except (ValueError, TypeError, KeyError) as reason:
        raise WireFormatError("the description of a committee is malformed") from reason
    try:
        return Committee([PublicIdentity.from_bytes(member) for member in members], threshold)
    except ParameterError as reason:
        raise WireFormatError(f"the description of a committee: {reason}") from reason
