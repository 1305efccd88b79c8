"""Parties whose secrets and messages stay in a run's folder, so that a killed run goes on.

Training. Below `FOLDER` each party has a folder of its own (`transport/files.py`) with its
identity, its ledger and its messages; `coordinator.json` has what the coordinator remembers between
rounds.
A run that was killed in the middle of a round plays that round again from its start: whoever had
replied gives the same bytes, and nothing is encrypted, endorsed or opened twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from veilsum.keys.identity import Identity
from veilsum.parties.asking import Party
from veilsum.parties.coordinator import Coordinator
from veilsum.transport.files import Desk, Files, Replayable, folder_name, leave_out_uploads

_STATE = "coordinator.json"
_IDENTITY = "identity.key"
_LEDGER = "ledger"


def identity_at(folder: Path) -> tuple[Identity, Path]:
    """Return a party's identity and the path of its ledger; made where they are missing.

    Parameters
    ----------
    folder : Path
        The party's.

    Raises
    ------
    veilsum.VeilsumError
        When an identity is there that cannot be read, or that others can read.
    OSError
        When the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / _IDENTITY
    if path.exists():
        return Identity.load(path), folder / _LEDGER
    identity = Identity.generate()
    identity.save(path)
    return identity, folder / _LEDGER


def party_folder(folder: Path, party: Party) -> Path:
    """Return a party's folder.

    Parameters
    ----------
    folder : Path
        Of all parties.
    party : Party
        The party.
    """
    return folder / folder_name(party)


class KeptParties:
    """A transport over folders, with all parties in this process.

    Parameters
    ----------
    folder : Path
        Of all parties.
    parties : mapping of Party to Replayable
        Made with the secrets that are in their folders; they are told their requests again.
    keep_uploads : bool
        Keep uploads of rounds that are over, for auditors.
    """

    def __init__(
        self, folder: Path, parties: Mapping[Party, Replayable], *, keep_uploads: bool = False
    ) -> None:
        self._folder = folder
        self._keep_uploads = keep_uploads
        self._clouds: Sequence[Party] = [one for one in parties if one.kind == "cloud"]
        self._desks = {
            party: Desk(party_folder(folder, party), one) for party, one in parties.items()
        }
        self.transport = Files(folder, lambda party: self._desks[party].work())

    def save(self, coordinator: Coordinator) -> None:
        """Keep what the coordinator remembers; a run that goes on begins there.

        Parameters
        ----------
        coordinator : Coordinator
            Between two rounds.
        """
        temporary = self._folder / f".{_STATE}.part"
        temporary.write_bytes(coordinator.to_bytes())
        temporary.replace(self._folder / _STATE)
        if not self._keep_uploads:
            leave_out_uploads(self._folder, self._clouds)


def kept_coordinator(folder: Path) -> bytes:
    """Return what `KeptParties.save` kept; empty where nothing was yet.

    Parameters
    ----------
    folder : Path
        Of all parties.
    """
    path = folder / _STATE
    return path.read_bytes() if path.exists() else b""


def forget(folder: Path) -> None:
    """Remove all parties' folders, their identities included.

    Parameters
    ----------
    folder : Path
        Of all parties.
    """
    shutil.rmtree(folder, ignore_errors=True)
