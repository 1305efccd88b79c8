"""Pads made ahead of time: the part of an encryption that does not depend on the values.

Layer: Python API, over rounds and the core. Adds to the core's store what only Python can: it ends
with the interpreter, and as a ``with`` block.
"""

from __future__ import annotations

import atexit
import weakref
from types import TracebackType

from veilsum import _core
from veilsum.api.rounds import Round
from veilsum.arguments import check_type, check_whole

__all__ = ["PadStore"]


class PadStore(_core.PadStore):
    """Pads of one round, prepared in the background while the process does something else.

    Starts at once; ``veilsum.encrypt(rnd, update, pads=store)`` takes what is ready by then, and
    makes the rest on the spot, so it is never wrong to call it early. The upload is the same as
    without a store. Background threads have the lowest priority where the system knows one
    (Linux), and never hold Python's lock.

    Each pad is used once: an encryption takes a whole prepared upload out of the store, also one
    that fails; what nobody took is wiped. Until then pads are as secret as the values that will be
    encrypted with them. A store cannot be pickled, and a forked child cannot encrypt with the pads
    of its parent. What no program can notice is a snapshot of the whole machine or process that is
    run twice: do not take one between making a store and using it up.
    """

    def __init__(
        self, rnd: Round, *, budget_bytes: int, uploads: int = 1, threads: int = 1
    ) -> None:
        """Start to prepare.

        Parameters
        ----------
        rnd : Round
            The round to be encrypted for.
        budget_bytes : int
            Bytes of pads that may be ready at a time. An upload's are `rnd.pad_bytes`. With
            less, the first blocks of the upload are prepared.
        uploads : int
            How many uploads to prepare, within the budget. One, unless this process plays several
            clients of the round.
        threads : int
            How many background threads.

        Raises
        ------
        ParameterError
            When the budget is too small for a single block, or a number is out of range.
        """
        check_type("PadStore(rnd, budget_bytes=...)", "rnd", rnd, Round)
        super().__init__(
            rnd,
            budget_bytes=check_whole("budget_bytes", budget_bytes),
            uploads=check_whole("uploads", uploads),
            threads=check_whole("threads", threads),
        )
        _open.add(self)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until everything that the budget allows is prepared.

        Parameters
        ----------
        timeout_s : float, optional
            At most so many seconds; without, as long as it takes.

        Returns
        -------
        bool
            False when time ran out, or when preparing ended early (closed, no memory).
        """
        return super().wait(timeout_s)

    def close(self) -> None:
        """End the background threads and wipe the pads that are left; also done by ``with``."""
        super().close()

    def __enter__(self) -> PadStore:
        """Return the store."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()


_open: weakref.WeakSet[PadStore] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Wipe what is left when the interpreter ends, before it takes itself apart."""
    for store in list(_open):
        store.close()
