"""Committees: who opens a sum together.

Layer: Python API, keys, over roster and identity. A committee is a list of public identities and a
threshold; nothing is generated for it, and no member has to be there when it is made. It must not
know rounds.
"""

from __future__ import annotations

from collections.abc import Iterable

from veilsum import _core
from veilsum.arguments import check_whole
from veilsum.keys.identity import PublicIdentity, Signer
from veilsum.keys.roster import public_identity

__all__ = ["Committee"]


class Committee(_core.Committee):
    """The n members who open a round's sum, and the threshold t of them that it takes.

    Fewer than t learn nothing. The clients themselves may be the members, and then no other party
    exists at all; any other public identities will do as well. What breaks when members conspire
    stands in SECURITY.md: a dishonest aggregator needs 2t - n of them.

    Attributes
    ----------
    members : tuple of PublicIdentity
        In order; a member's number is its place.
    threshold : int
        How many must endorse, and how many must answer.
    id : bytes
        32 bytes that name it.
    """

    def __init__(
        self,
        members: Iterable[_core.PublicIdentity | Signer],
        threshold: int | None = None,
    ) -> None:
        """List the members.

        Parameters
        ----------
        members : Roster or iterable of PublicIdentity or Identity
            2 to 1024, without a key in common. Of an identity, its public half is taken.
        threshold : int, optional
            More than half of the members, at most all; by default floor(2n/3) + 1: with three
            members or fewer all must answer.

        Raises
        ------
        ParameterError
            When a number is out of range, a member is no identity, or two have a key in common.
        """
        listed = [
            public_identity(member, f"member {index} of the committee")
            for index, member in enumerate(members)
        ]
        given = 2 * len(listed) // 3 + 1 if threshold is None else threshold
        super().__init__(listed, check_whole("threshold", given))
        self._members = tuple(listed)

    @classmethod
    def of_core(cls, core: _core.Committee) -> Committee:
        """Make one of a core's object.

        Parameters
        ----------
        core : _core.Committee
            As the core's rounds have them.

        Returns
        -------
        Committee
            The same committee.
        """
        return core if isinstance(core, cls) else cls(core.members, core.threshold)

    @property
    def members(self) -> tuple[PublicIdentity, ...]:
        """The members, in order."""
        return self._members

    def index(self, identity: _core.PublicIdentity | Signer) -> int | None:
        """Find a member's number.

        Parameters
        ----------
        identity : PublicIdentity or Identity
            The member's.

        Returns
        -------
        int or None
            From 0; None for nobody of the committee.
        """
        wanted = public_identity(identity, "what is looked for")
        return self._members.index(wanted) if wanted in self._members else None

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return f"<veilsum.Committee of {len(self)}, threshold {self.threshold}>"
