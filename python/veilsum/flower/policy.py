"""A site's folder and what it agrees to, whatever a server asks.

Flower's adapter. A site's folder has its identity, its ledger, the public identities of everybody
that it sums with (`roster/`), its policy (`policy.toml`), and a folder a training. Who is in the
roster decides whom a sum hides its update among: a server that could name them could name itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from veilsum.errors import ParameterError, RoundError
from veilsum.keys.identity import PublicIdentity
from veilsum.protocol.terms import Terms
from veilsum.training.parties_kept import identity_at

_POLICY, _ROSTER, _PUBLIC = "policy.toml", "roster", "site.pub"


@dataclass(frozen=True)
class SitePolicy:
    """What a site agrees to.

    Parameters
    ----------
    min_clients : int
        Fewest clouds whose sum may be opened, at least 2.
    refuse_above : float
        The site encrypts no update that counts more than this share of a sum.
    trainings : int
        How many trainings the site takes part in; 0: any number. A server that begins anew gets
        sums of the same rows over other sites.
    server_reads : bool
        Whether the server may have the mean of each round (`result="server"`).
    metrics : tuple of str
        Names of the numbers that an evaluation may tell the server in the clear; "*" for all.
    """

    min_clients: int = 2
    refuse_above: float = 0.8
    trainings: int = 0
    server_reads: bool = False
    metrics: tuple[str, ...] = ()

    @classmethod
    def load(cls, home: Path) -> SitePolicy:
        """Read a site's policy; the defaults where it has none.

        Parameters
        ----------
        home : Path
            The site's folder.

        Raises
        ------
        veilsum.ParameterError
            When it is malformed, or has an unknown entry.
        """
        path = home / _POLICY
        if not path.exists():
            return cls()
        import tomllib  # Python 3.11, as Flower is

        try:
            found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except ValueError as reason:
            raise ParameterError(f"{path} is no TOML: {reason}") from reason
        known = {one.name: type(one.default) for one in fields(cls)}
        for name, value in found.items():
            wanted = known.get(name)
            if wanted is None:
                raise ParameterError(f"{path} has the unknown entry {name}; known: {list(known)}")
            if wanted is tuple:
                found[name] = tuple(map(str, value))
            elif type(value) is not wanted:
                raise ParameterError(f"{path}: {name} must be of type {wanted.__name__}")
        return cls(**found)

    def check(self, terms: Terms, result: str) -> None:
        """Refuse terms that the site does not agree to.

        Parameters
        ----------
        terms : Terms
            As the server has them.
        result : str
            Who gets the mean.

        Raises
        ------
        veilsum.RoundError
            When something is refused; it names what.
        """
        wrong = []
        if terms.min_clients < max(2, self.min_clients):
            wrong.append(f"min_clients is {terms.min_clients}, at least {self.min_clients} here")
        if terms.aggregation.refuse_above > self.refuse_above:
            wrong.append(f"refuse_above is above this site's {self.refuse_above:g}")
        if terms.encryption.authority != "clouds":
            wrong.append("sums are opened by others than the clouds")
        if terms.is_hybrid:
            wrong.append("some values would travel in the clear")
        if result != "clients" and not self.server_reads:
            wrong.append("the server wants the mean, and server_reads is false here")
        if wrong:
            raise RoundError(f"this site's policy refuses the training: {'; '.join(wrong)}")


def pinned_roster(home: Path) -> tuple[bytes, ...]:
    """Return the identities that a site sums with, by the names of their files; or none.

    Parameters
    ----------
    home : Path
        The site's folder.

    Raises
    ------
    veilsum.VeilsumError
        When a file is no public identity.
    """
    folder = home / _ROSTER
    if not folder.is_dir():
        return ()
    return tuple(PublicIdentity.load(one).to_bytes() for one in sorted(folder.iterdir()))


def prepare_site(home: str | Path, roster: Sequence[str | Path] = ()) -> Path:
    """Make a site's folder, and return the file with its public identity, for the others.

    Parameters
    ----------
    home : str or path
        The folder; an identity that is there stays.
    roster : sequence of str or path
        Files with the public identities of all sites, this one's too, in the same order at each
        site; they replace those that are there. Empty: leaves them.

    Returns
    -------
    Path
        The file with the public identity. Bring it to the others by a way that nobody can change.

    Raises
    ------
    veilsum.VeilsumError
        When a file is no public identity.
    OSError
        When the folder cannot be written.
    """
    folder = Path(home)
    identity, _ = identity_at(folder)
    public = folder / _PUBLIC
    if not public.exists():
        identity.public.save(public)
    if roster:
        for path in roster:
            PublicIdentity.load(path)
        kept = folder / _ROSTER
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(mode=0o700)
        for number, path in enumerate(roster):
            shutil.copyfile(path, kept / f"{number:04d}.pub")
    return public
