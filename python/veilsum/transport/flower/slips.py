"""What travels between server and site: slips, each small or one part of something large.

Transport, Flower's; bottom. A slip has a kind, some named fields, and at most `PART_BYTES` of data.
What it is about is named by SHA-256 digests, so that it may be sent again, arrive twice, or after
a restart, and mean the same.

| kind | from the server | the site's answer |
|---|---|---|
| put | bytes of a request from `offset` on | `have`: how many there are now |
| ask | `about` (party, begin, model, mean), the request or its digest | the reply, or its size |
| part | `length` bytes of a reply from `offset` on | those bytes |

Fields of strangers are read by `number` and `name`, which refuse what they are not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from veilsum.arguments import shown
from veilsum.errors import WireFormatError

PART_BYTES = 32 * 2**20
"""Most bytes of data in a slip; a site's process, which Flower starts for each, takes seconds."""

DIGEST_BYTES = 32

Field: TypeAlias = "int | str | bytes"


@dataclass(frozen=True)
class Slip:
    """One message's content.

    Parameters
    ----------
    kind : str
        What it is.
    fields : mapping
        Numbers, names and digests.
    data : bytes
        At most a part.
    """

    kind: str
    fields: Mapping[str, Field]
    data: bytes = field(default=b"", repr=False)

    def number(self, name: str) -> int:
        """Return a field that is a number from 0 to 2^62.

        Parameters
        ----------
        name : str
            The field's.

        Raises
        ------
        veilsum.WireFormatError
            When it is missing, or something else.
        """
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
            raise WireFormatError(f"a slip's {name} is no number in its range")
        return value

    def digest(self, name: str) -> bytes:
        """Return a field that is a digest.

        Parameters
        ----------
        name : str
            The field's.

        Raises
        ------
        veilsum.WireFormatError
            When it is missing, or something else.
        """
        value = self.fields.get(name)
        if not isinstance(value, bytes) or len(value) != DIGEST_BYTES:
            raise WireFormatError(f"a slip's {name} is no digest")
        return value

    def name(self, name: str, known: tuple[str, ...]) -> str:
        """Return a field that is one of some names.

        Parameters
        ----------
        name : str
            The field's.
        known : tuple of str
            What it may be.

        Raises
        ------
        veilsum.WireFormatError
            When it is missing, or something else.
        """
        value = self.fields.get(name)
        if not isinstance(value, str) or value not in known:
            raise WireFormatError(f"a slip's {name} is {shown(value)}; must be one of {known}")
        return value


def digest_of(data: bytes) -> bytes:
    """Return the digest that names some bytes.

    Parameters
    ----------
    data : bytes
        A request or a reply.
    """
    return hashlib.sha256(data).digest()


def file_digest(path: Path) -> bytes:
    """Return the digest that names a file's bytes.

    Parameters
    ----------
    path : Path
        The file; it is read in portions.
    """
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while portion := file.read(2**20):
            whole.update(portion)
    return whole.digest()
